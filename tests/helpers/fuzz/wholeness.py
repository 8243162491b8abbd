"""Reads recordings that are joined, cut, or full of chunks: they may be reported as whole only if all of it was read.

python -m tests.helpers.fuzz.wholeness --kind joined|cut|chunks --count 2000 --seed 0

Each file is read by its name, through a pipe and from memory; the three results must be the same.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile

from audiocnn.audio.recording import open_recording
from audiocnn.errors import RecordingError

MOST_SECONDS = 5.0  # for one file
NEAR_SECONDS = 0.13  # codecs add up to this much at the ends of each part
# Formats without a length or end mark, so that a missing end cannot be detected.
ENDLESS = {"PAF", "PVF", "IRCAM", "aac", "ac3", "ts", "mpg", "mp3"}
# Codecs that ffmpeg has everywhere, by the suffix of their container.
OUTSIDE = {"m4a": "aac", "aac": "aac", "mka": "flac", "wma": "wmav2", "avi": "pcm_s16le", "flv": "flv-pcm"} | {
    "tta": "tta", "webm": "libopus", "ts": "mp2", "mpg": "mp2", "ac3": "ac3", "wv": "wavpack",
}  # fmt: skip
JOINED = ("WAV", "WAVEX", "RF64", "AIFF", "AU", "W64", "FLAC", "OGG", "MP3", "CAF")


@dataclass
class Figures:
    """Outcomes of the files."""

    said: Counter[str] = field(default_factory=Counter)
    slowest_seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)

    def lines(self) -> str:
        said = ", ".join(f"{count} {what}" for what, count in sorted(self.said.items()))
        wrong = "".join(f"  wrong: {one}\n" for one in self.wrong)
        return (
            f"{self.said.total()} files: {said}; slowest {self.slowest_seconds:.1f} s; {len(self.wrong)} wrong\n{wrong}"
        )


@dataclass(frozen=True)
class Seed:
    """An intact recording: its bytes, and its duration when read."""

    kind: str
    data: bytes
    seconds: float
    subtype: str = ""


def seeds(random: np.random.Generator) -> list[Seed]:
    """Several recordings of each container and subtype, with various lengths, rates and channels."""
    made = []
    for kind in sorted(set(soundfile.available_formats()) - {"RAW", "SD2", "XI"}):
        for subtype in sorted(soundfile.available_subtypes(kind)):
            for rate, channels in ((8000, 1), (16000, 2)):
                sound = random.uniform(-0.5, 0.5, (int(random.uniform(0.3, 2.0) * rate), channels))
                file = io.BytesIO()
                try:
                    with soundfile.SoundFile(file, "w", rate, channels, subtype, format=kind) as out:
                        for start in range(0, len(sound), 512):
                            out.write(sound[start : start + 512])
                except (soundfile.SoundFileError, ValueError):
                    continue
                made.append((kind, file.getvalue(), subtype))
    made += outside_seeds(random)
    good = []
    for kind, data, subtype in made:
        seconds, status, _ = heard(io.BytesIO(data))
        if status == "ok":
            good.append(Seed(kind, data, seconds, subtype))
    return good


def outside_seeds(random: np.random.Generator) -> list[tuple[str, bytes, str]]:
    program, made = shutil.which("ffmpeg"), []
    if program is None:
        return made
    with tempfile.TemporaryDirectory() as folder:
        for suffix, codec in OUTSIDE.items():
            for number in range(2):
                path = Path(folder) / f"{number}.{suffix}"
                seconds = random.uniform(0.5, 2.0)
                sound = ["-f", "lavfi", "-i", f"anoisesrc=d={seconds:.2f}:r=44100:a=0.3", "-strict", "-2"]
                sound += ["-c:a", codec] if codec != "flv-pcm" else ["-c:a", "pcm_s16le", "-ar", "44100"]
                command = [program, "-v", "quiet", *sound, str(path)]
                if subprocess.run(command, check=False, stdin=subprocess.DEVNULL).returncode == 0:
                    made.append((suffix, path.read_bytes(), codec))
    return made


def heard(source: object) -> tuple[float, str, str]:
    """(seconds, status, message) of a recording."""
    try:
        with open_recording(source, name="x") as recording:
            samples = sum(block.shape[1] for block in recording.blocks())
            said = "; ".join([*recording.remarks, recording.note or ""])
            return samples / recording.info.sample_rate, "damaged" if recording.note else "ok", said
    except RecordingError as error:
        return 0.0, "refused", str(error)
    except Exception as error:  # noqa: BLE001 - whatever it is, the file is to be kept
        return 0.0, "crashed", f"{type(error).__name__}: {error}"


def heard_in_a_pipe(data: bytes) -> tuple[float, str, str]:
    reader, writer = os.pipe()

    def send() -> None:
        try:
            with os.fdopen(writer, "wb") as stream:
                stream.write(data)
        except BrokenPipeError:
            pass

    thread = threading.Thread(target=send)
    thread.start()
    with os.fdopen(reader, "rb") as stream:
        found = heard(stream)
    thread.join()
    return found


def joined(all_seeds: list[Seed], random: np.random.Generator) -> tuple[Seed, bool]:
    """Two to four joined recordings of one container, with a tag between some. All of it must be read."""
    first = all_seeds[random.integers(len(all_seeds))]
    alike = [seed for seed in all_seeds if seed.kind == first.kind]
    parts = [first] + [alike[random.integers(len(alike))] for _ in range(random.integers(1, 4))]
    tag = b""
    if first.kind == "MP3" and random.random() < 0.5:
        tag = [b"TAG" + bytes(125), b"ID3\4\0\0\0\0\0\x0a" + bytes(10)][random.integers(2)]
    return Seed(first.kind, tag.join(part.data for part in parts), sum(part.seconds for part in parts)), False


def cut(all_seeds: list[Seed], random: np.random.Generator) -> tuple[Seed, bool]:
    """A recording without its end. If less is read, this must be reported."""
    seed = all_seeds[random.integers(len(all_seeds))]
    return Seed(seed.kind, seed.data[: int(random.uniform(0.2, 0.97) * len(seed.data))], seed.seconds), True


def chunks(all_seeds: list[Seed], random: np.random.Generator) -> tuple[Seed, bool]:
    """A recording with up to many thousands of chunks before the samples. It must be read or refused."""
    kinds = ("WAV", "AIFF", "RF64", "CAF", "FLAC")
    plain = [seed for seed in all_seeds if seed.kind in kinds and seed.subtype.startswith("PCM")]
    seed = plain[random.integers(len(plain))]
    count, body = int(10 ** random.uniform(0, 4.5)), bytes(2 * int(random.integers(0, 9)))
    name = [b"LIST", b"JUNK", b"bext", b"abcd", b"free"][random.integers(5)]
    if seed.kind == "FLAC":
        block = b"\x02" + (4 + len(body)).to_bytes(3) + b"test" + body  # APPLICATION: RFC 9639, section 8.4
        data = bytearray(seed.data)
        data[4] &= 0x7F
        tail = bytes(data[42:])
        return Seed(seed.kind, bytes(data[:42]) + block * count + tail, seed.seconds), False
    place = {"WAV": 12, "RF64": 12 + 36, "AIFF": 12, "CAF": 8 + 12 + 32}[seed.kind]
    size = {"AIFF": struct.Struct(">I"), "CAF": struct.Struct(">q")}.get(seed.kind, struct.Struct("<I"))
    data = seed.data[:place] + (name + size.pack(len(body)) + body) * count + seed.data[place:]
    return Seed(seed.kind, data, seed.seconds), False


def judge(seed: Seed, is_cut: bool, found: tuple[float, str, str], parts: int) -> str:
    """The error in an answer; empty if there is none."""
    seconds, status, said = found
    if status == "crashed":
        return said
    lacks = seconds < seed.seconds - NEAR_SECONDS * parts
    if status == "ok" and lacks and not (is_cut and seed.kind in ENDLESS):
        return f"{seconds:.2f} s of {seed.seconds:.2f} s without a word"
    if not is_cut and status == "damaged" and not lacks and "followed by another recording" not in said:
        return f"nothing is missing in it: {said}"
    if not is_cut and seconds > seed.seconds + NEAR_SECONDS * parts:
        return f"{seconds:.2f} s of {seed.seconds:.2f} s"
    return ""


KINDS = {"joined": joined, "cut": cut, "chunks": chunks}


def fuzz(kind: str, count: int, seed: int, folder: Path, kept: Path | None = None) -> Figures:
    """Make `count` files of a kind in a folder and read them."""
    random, figures = np.random.default_rng(seed), Figures()
    all_seeds = seeds(random)
    if kind == "joined":
        all_seeds = [seed for seed in all_seeds if seed.kind in JOINED or seed.kind in OUTSIDE]
    for number in range(count):
        made, is_cut = KINDS[kind](all_seeds, random)
        path = folder / f"{number:06d}.{made.kind.lower()}"
        path.write_bytes(made.data)
        begun = time.process_time()
        found = heard(path)
        figures.slowest_seconds = max(figures.slowest_seconds, seconds := time.process_time() - begun)
        figures.said[found[1]] += 1
        troubles = [judge(made, is_cut, found, 4)]
        troubles += [f"takes {seconds:.1f} s"] if seconds > MOST_SECONDS else []
        for way, answer in (("a pipe", heard_in_a_pipe(made.data)), ("memory", heard(io.BytesIO(made.data)))):
            if answer[:2] != found[:2]:
                troubles.append(f"another answer from {way}: {answer} and {found}")
        for trouble in filter(None, troubles):
            figures.wrong.append(f"{path.name}: {trouble}")
            if kept is not None:
                shutil.copy(path, kept)
        path.unlink()
    return figures


def main() -> int:
    """Print the figures; exit code 1 if something went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=KINDS, required=True)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="a folder for files that go wrong")
    given = parser.parse_args()
    if given.keep:
        given.keep.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        figures = fuzz(given.kind, given.count, given.seed, Path(folder), given.keep)
    sys.stdout.write(figures.lines())
    return 1 if figures.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
