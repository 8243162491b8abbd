"""Clips as they are played on a page: a file of sound inside of it, for as many as fit."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audiocnn.dataset import Dataset, Entry

MOST_SECONDS = 10.0  # of a longer clip the loudest stretch of this length
MOST_BYTES = 8 * 2**20  # of all clips of one page, as they stand in it
LEAST_RATE, MOST_RATE = 8000, 48000  # that every browser plays


@dataclass(frozen=True)
class ClipSound:
    """A clip as a data URI. start, seconds: the stretch that is heard; duration: of the whole."""

    uri: str
    start: float
    seconds: float
    duration: float

    @property
    def note(self) -> str:
        """What is heard of a clip that is longer; nothing for others."""
        if self.seconds >= self.duration:
            return ""
        return f"{self.start:.1f} to {self.start + self.seconds:.1f} s of {self.duration:.1f} s, the loudest"


def sounds_of(dataset: Dataset, filenames: Iterable[str], most_bytes: int = MOST_BYTES) -> dict[str, ClipSound]:
    """The sounds of recordings, in their order, for as many bytes; those that would be more are left out."""
    entries = {entry.filename: entry for entry in dataset.entries}
    found: dict[str, ClipSound] = {}
    held = 0
    for name in dict.fromkeys(filenames):
        if name not in entries:
            continue
        sound = sound_of(dataset, entries[name])
        if sound is None or held + len(sound.uri) > most_bytes:
            continue
        held += len(sound.uri)
        found[name] = sound
    return found


def sound_of(dataset: Dataset, entry: Entry) -> ClipSound | None:
    """FLAC, mono, nothing lost of what the dataset keeps; None for a clip without samples."""
    import soundfile

    samples, rate = dataset.samples(entry), dataset.sample_rate
    if not samples.shape[1]:
        return None
    start, stop = loudest(samples, round(MOST_SECONDS * rate))
    heard, playing = played(samples[:, start:stop], rate)
    target = io.BytesIO()
    soundfile.write(target, heard, playing, format="FLAC", subtype="PCM_16")
    uri = f"data:audio/flac;base64,{base64.b64encode(target.getvalue()).decode()}"
    return ClipSound(uri, start / rate, (stop - start) / rate, samples.shape[1] / rate)


def loudest(samples: NDArray[np.int16], most: int) -> tuple[int, int]:
    """int16 (channels, samples) -> the stretch of `most` samples with the most energy, in steps of a tenth of it; all
    where there are no more."""
    total = samples.shape[1]
    if total <= most:
        return 0, total
    step = max(1, most // 10)
    edges = np.arange(0, total, step)
    powers = np.array([np.square(samples[:, k : k + step], dtype=np.float64).sum() for k in edges])
    sums = np.convolve(powers, np.ones(10), "valid") if len(powers) >= 10 else powers[:1]
    start = min(int(edges[int(sums.argmax())]), total - most)
    return start, start + most


def played(samples: NDArray[np.int16], rate: int) -> tuple[NDArray[np.int16], int]:
    """(channels, samples) -> (samples,) at a rate that browsers play."""
    mono = samples[0] if len(samples) == 1 else samples.mean(axis=0).astype(np.int16)
    playing = min(max(rate, LEAST_RATE), MOST_RATE)
    if playing == rate:
        return np.ascontiguousarray(mono), rate
    import soxr

    turned: NDArray[np.int16] = soxr.resample(mono, rate, playing)
    return turned, playing
