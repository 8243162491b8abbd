"""The sound in pages: `clip_sounds` for the clips of an evaluation, `read_page_sound` for the recording of a plot,
`read_piece` for a review.

Clips are FLAC. In a plot, short recordings are WAV, which is lossless and can be played from any sample; Chromium
failed to seek in FLAC without a seek table. Longer ones are Ogg Vorbis, which libsndfile writes about ten times as fast
as Opus; the longest are mixed to mono at a lower sample rate. Beyond that there is no sound.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from audiocnn.audio.pcm import Samples, from_int16
from audiocnn.audio.recording import Selection, open_recording
from audiocnn.data.dataset import Dataset, Entry
from audiocnn.inspection.plot import PlotData
from audiocnn.units import clock

MOST_CLIP_SECONDS = 10.0  # of a longer clip, the loudest part of this length
_MOST_BYTES = 8 * 2**20  # of all clips of one page, as encoded in it
_LEAST_RATE, _MOST_RATE = 8000, 48000  # sample rates that every browser plays
LOSSLESS_BYTES = 8 * 2**20  # of 16-bit samples: 4 minutes at 16 kHz
FULL_SECONDS = 1800.0  # longer ones are mixed, and have at most LONG_RATE
_LONG_RATE = 16000
MOST_PAGE_SECONDS = 3 * 3600.0  # about 45 MB
_BLOCK_SECONDS = 0.5  # libsndfile crashed when writing Vorbis in one large block


@dataclass(frozen=True)
class ClipSound:
    """A clip as a data URI. start, seconds: the part that is played; duration: of the whole clip."""

    uri: str
    start: float
    seconds: float
    duration: float

    @property
    def note(self) -> str:
        if self.seconds >= self.duration:
            return ""
        return f"the loudest part: {self.start:.1f} to {self.start + self.seconds:.1f} s of {self.duration:.1f} s"


def clip_sounds(dataset: Dataset, filenames: Iterable[str], most_bytes: int = _MOST_BYTES) -> dict[str, ClipSound]:
    """The sounds of recordings, in order, as many as fit into this number of bytes."""
    entries = {entry.filename: entry for entry in dataset.entries}
    found: dict[str, ClipSound] = {}
    held = 0
    for name in dict.fromkeys(filenames):
        if name not in entries:
            continue
        sound = _read_clip_sound(dataset, entries[name])
        if sound is None or held + len(sound.uri) > most_bytes:
            continue
        held += len(sound.uri)
        found[name] = sound
    return found


def _read_clip_sound(dataset: Dataset, entry: Entry) -> ClipSound | None:
    """FLAC, mono, lossless with respect to the dataset. None for a clip without samples."""
    import soundfile

    samples, rate = dataset.samples(entry), dataset.sample_rate
    if not samples.shape[1]:
        return None
    start, stop = find_loudest(samples, round(MOST_CLIP_SECONDS * rate))
    heard, playing = _to_playable(samples[:, start:stop], rate)
    target = io.BytesIO()
    # A sound that exceeds full scale is scaled down as a whole.
    quiet = entry.scale < 1.0
    sound = from_int16(heard, entry.scale) if quiet else heard
    soundfile.write(target, sound, playing, format="FLAC", subtype="PCM_24" if quiet else "PCM_16")
    return ClipSound(
        data_uri("audio/flac", target.getvalue()), start / rate, (stop - start) / rate, samples.shape[1] / rate
    )


def data_uri(kind: str, content: bytes) -> str:
    """A file embedded in a page. kind: its MIME type."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def find_loudest(samples: NDArray[np.int16], most: int) -> tuple[int, int]:
    """int16 (channels, samples) -> the part of `most` samples with the most energy, in steps of a tenth of it. All
    samples if there are no more."""
    total = samples.shape[1]
    if total <= most:
        return 0, total
    step = max(1, most // 10)
    edges = np.arange(0, total, step)
    powers = np.array([np.square(samples[:, k : k + step], dtype=np.float64).sum() for k in edges])
    sums = np.convolve(powers, np.ones(10), "valid") if len(powers) >= 10 else powers[:1]
    start = min(int(edges[int(sums.argmax())]), total - most)
    return start, start + most


def _to_playable(samples: NDArray[np.int16], rate: int) -> tuple[NDArray[np.int16], int]:
    """(channels, samples) -> (samples,) at a sample rate that browsers play."""
    mono = samples[0] if len(samples) == 1 else samples.mean(axis=0).astype(np.int16)
    playing = min(max(rate, _LEAST_RATE), _MOST_RATE)
    if playing == rate:
        return np.ascontiguousarray(mono), rate
    import soxr

    turned: NDArray[np.int16] = soxr.resample(mono, rate, playing)
    return turned, playing


@dataclass(frozen=True)
class PageSound:
    """A sound file in memory. what: a description for the user."""

    content: bytes
    kind: str
    what: str


def read_page_sound(file: str | Path | BinaryIO, plotted: PlotData, channel: str | int) -> PageSound | None:
    """The sound of a plot. None if it is too long to be embedded. Raises RecordingError.

    Two channels are both kept, more are mixed; a requested channel is used alone. A sound that exceeds full scale is
    scaled down as a whole.
    """
    start, end = plotted.start, plotted.end
    if not 0 < end - start <= MOST_PAGE_SECONDS:
        return None
    with open_recording(file, name=plotted.detection.file, excerpt=Selection(track=plotted.track)) as recording:
        info = recording.info
        long = end - start > FULL_SECONDS
        taken: str | int = channel
        if not isinstance(channel, int):
            taken = "each" if info.channels <= 2 and not long else "mix"
        rate = min(max(info.sample_rate, _LEAST_RATE), _LONG_RATE if long else _MOST_RATE)
        rows = info.channels if taken == "each" else 1
        lossless = (end - start) * rate * rows * 2 <= LOSSLESS_BYTES
        gain = 1.0 / max(1.0, plotted.peak)
        content = _encode(recording.blocks(rate, taken, _BLOCK_SECONDS), rate, rows, (start, end), gain, lossless)
    kind, name = ("audio/wav", "WAV") if lossless else ("audio/ogg", "Ogg Vorbis")
    turned = "" if gain == 1.0 else f", lowered by {-20 * math.log10(gain):.0f} dB"
    return PageSound(content, kind, f"{name}, {rate:,} Hz, {'stereo' if rows == 2 else 'mono'}{turned}")


def _encode(
    blocks: Iterable[Samples], rate: int, rows: int, stretch: tuple[float, float], gain: float, lossless: bool
) -> bytes:
    """Blocks (rows, samples) of a recording -> a file with the time range, in seconds."""
    import soundfile

    target = io.BytesIO()
    how = {"format": "WAV", "subtype": "PCM_16"} if lossless else {"format": "OGG", "subtype": "VORBIS"}
    at, first, stop = 0, round(stretch[0] * rate), math.ceil(stretch[1] * rate)
    with soundfile.SoundFile(target, "w", rate, rows, **how) as out:
        for block in blocks:
            inside = block[:, max(0, first - at) : max(0, stop - at)]
            at += block.shape[1]
            if inside.shape[1]:
                out.write(np.clip(inside.T * gain, -1.0, 1.0))
            if at >= stop:
                break
    return target.getvalue()


def read_piece(path: Path, start: float, seconds: float) -> tuple[Samples, int]:
    """(samples,) of a part of a recording, with all channels mixed, and a sample rate that browsers play. Empty after
    the end. Raises RecordingError."""
    pieces: list[Samples] = []
    with open_recording(path, excerpt=Selection(start, start + seconds)) as recording:
        rate = min(max(recording.info.sample_rate, _LEAST_RATE), _MOST_RATE)
        pieces.extend(block[0] for block in recording.blocks(rate, "mix"))
    return (np.concatenate(pieces) if pieces else np.zeros(0, np.float32)), rate


def to_wav(samples: Samples, rate: int) -> bytes:
    """(samples,) as a 16-bit WAV. A sound that exceeds full scale is scaled down as a whole."""
    import soundfile

    target = io.BytesIO()
    loudest = max(1.0, float(np.abs(samples).max(initial=0.0)))
    soundfile.write(target, samples / loudest, rate, format="WAV", subtype="PCM_16")
    return target.getvalue()


def explain_silence(plotted: PlotData) -> str:
    long = clock(plotted.end - plotted.start)
    return (
        f"the page has no sound: {long} is longer than the limit of {clock(MOST_PAGE_SECONDS)}; choose a part with"
        " --from --to"
    )
