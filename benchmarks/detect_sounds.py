"""The recordings on which detectors are compared. Each is made from real meetings when it is first needed.

python -m benchmarks.detect_sounds NAME FOLDER MEETINGS SECONDS CLIPS    makes one, in a separate process

The meetings are joined and repeated to fill the time. The hour lasts SECONDS: 3600, or less in a trial.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measuring import BenchmarkError, environment, module

RATE, MUSIC_RATE = 16000, 44100
CLIPS = 10_000
FLAC, VORBIS, OPUS = "hour.flac", "hour.vorbis.ogg", "hour.opus.ogg"
FORMATS = {FLAC: ("FLAC", "PCM_16"), VORBIS: ("OGG", "VORBIS"), OPUS: ("OGG", "OPUS")}
HOUR, HOURS = "hour.wav", "ten_hours.wav"
MINUTES, SECONDS, STEREO, CLIP_FOLDER = "ten_minutes.wav", "ten_seconds.wav", "stereo.mp3", "clips"


@dataclass(frozen=True)
class Sounds:
    """The folder of the recordings, the meetings they are made from, and the length of the hour."""

    folder: Path
    meetings: Path
    seconds: float = 3600.0
    clips: int = CLIPS

    def get(self, name: str) -> Path:
        """The recording (or folder of clips) of that name, made if it does not exist."""
        path = self.folder / name
        if path.exists():
            return path
        if not any(self.meetings.glob("*.flac")):
            raise BenchmarkError(f"{self.meetings}: has no recordings (*.flac); name their folder with --data")
        self.folder.mkdir(parents=True, exist_ok=True)
        command = module("detect_sounds", name, self.folder, self.meetings, self.seconds, self.clips)
        done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchmarkError(f"{path}: cannot be made ({done.stderr.strip().splitlines()[-1:]})")
        return path

    def seconds_of(self, name: str) -> float:
        """Its length in seconds."""
        return {HOURS: 10 * self.seconds, MINUTES: self.seconds / 6, SECONDS: self.seconds / 360}.get(
            name, self.seconds
        )


def meeting_samples(sounds: Sounds) -> Any:
    """All meetings, joined, int16."""
    import numpy as np
    import soundfile

    return np.concatenate([soundfile.read(path, dtype="int16")[0] for path in sorted(sounds.meetings.glob("*.flac"))])


def blocks_of(sounds: Sounds, seconds: float) -> Iterator[Any]:
    """A number of seconds of meetings, in pieces."""
    meetings = meeting_samples(sounds)
    left = round(seconds * RATE)
    while left:
        yield meetings[:left]
        left -= len(meetings[:left])


def write_mono(name: str, path: Path, sounds: Sounds) -> None:
    """16 kHz, in the format given by the file name."""
    import soundfile

    kind, subtype = FORMATS.get(name, ("WAV", "PCM_16"))
    with soundfile.SoundFile(path, "w", RATE, 1, subtype, format=kind) as file:
        for block in blocks_of(sounds, sounds.seconds_of(name)):
            for start in range(0, len(block), RATE):  # libsndfile writes Vorbis reliably only in small pieces
                file.write(block[start : start + RATE])


def write_stereo(name: str, path: Path, sounds: Sounds) -> None:
    """44.1 kHz, stereo, MP3; the right channel is the left, softer and 5 ms later, so that the two differ."""
    import numpy as np
    import soundfile
    import soxr

    resampler = soxr.ResampleStream(RATE, MUSIC_RATE, 1, dtype="float32")
    late = round(0.005 * MUSIC_RATE)
    before = np.zeros(late, np.float32)
    with soundfile.SoundFile(path, "w", MUSIC_RATE, 2, "MPEG_LAYER_III", format="MP3") as file:
        for block in blocks_of(sounds, sounds.seconds_of(name)):
            left = resampler.resample_chunk((block / 32768).astype(np.float32))
            right = np.concatenate([before, left])
            before = right[len(left) :]
            file.write(np.stack([left, 0.7 * right[: len(left)]], axis=1))


def write_clips(name: str, path: Path, sounds: Sounds) -> None:
    """WAV files of one second each, from all over the hour."""
    import numpy as np
    import soundfile

    samples = np.concatenate(list(blocks_of(sounds, sounds.seconds_of(name))))
    path.mkdir()
    for number in range(sounds.clips):
        start = number * (len(samples) - RATE) // sounds.clips
        soundfile.write(path / f"{number:05}.wav", samples[start : start + RATE], RATE, "PCM_16")


def make(name: str, sounds: Sounds) -> None:
    """Make a file under another name first, so that an existing file is complete."""
    path = sounds.folder / name
    part = path.with_name(f"part.{name}")
    shutil.rmtree(part) if part.is_dir() else part.unlink(missing_ok=True)
    write = {STEREO: write_stereo, CLIP_FOLDER: write_clips}.get(name, write_mono)
    write(name, part, sounds)
    part.rename(path)


def main(arguments: list[str]) -> int:
    name, folder, meetings, seconds, clips = arguments
    make(name, Sounds(Path(folder), Path(meetings), float(seconds), int(clips)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
