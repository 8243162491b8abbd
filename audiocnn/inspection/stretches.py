"""Which samples some rows of scores need, and which they depend on: what `windows.ChunkPlan` does for all rows of a
recording, for a few in the middle of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiocnn.units import to_samples
from audiocnn.windows import Geometry

Samples = NDArray[np.float32]

AROUND_SECONDS = 15.0  # on both sides of the window: what tells the background


@dataclass(frozen=True)
class Place:
    """What is explained, in samples of the recording: `rows` rows from `row` on. The network is run on [first, stop),
    which gives `drop` rows before them; they depend on the window [begin, end)."""

    column: int
    row: int
    rows: int
    drop: int
    first: int
    stop: int
    begin: int
    end: int

    def around(self, geometry: Geometry, total: int) -> tuple[int, int]:
        """The samples of the recording that are needed, and some on both sides."""
        more = max(to_samples(AROUND_SECONDS, geometry.sample_rate), geometry.window_samples + geometry.hop_samples)
        return max(0, min(self.first, self.begin) - more), min(total, max(self.stop, self.end) + more)


@dataclass(frozen=True)
class Sound:
    """A part of a recording of `total` samples that begins with its sample `start`: (channels, samples)."""

    samples: Samples
    start: int
    total: int

    def stretch(self, first: int, stop: int) -> Samples:
        """The samples [first, stop), zeros where there is no recording."""
        low, high = max(first, 0), max(min(stop, self.total), 0)
        inside = self.samples[:, low - self.start : max(high, low) - self.start]
        return np.pad(inside, ((0, 0), (low - first, stop - max(high, low))))


def place_of(geometry: Geometry, column: int, row: int, rows: int, total: int) -> Place:
    """The samples that rows need, as `windows.ChunkPlan` has them, and those that they depend on."""
    hop, margin = geometry.hop_samples, geometry.margin_rows
    from_row = max(0, row - margin)
    core = geometry.window_samples - geometry.pad_start - geometry.pad_end
    stop = (row + rows + margin - 1) * hop - geometry.extend_start + core
    if stop >= total + min(0, geometry.extend_end):
        stop = total + geometry.extend_end
    begin = row * hop - (geometry.window_samples - hop) // 2
    end = begin + (rows - 1) * hop + geometry.window_samples
    return Place(column, row, rows, row - from_row, from_row * hop - geometry.extend_start, stop, begin, end)


def between(middles: NDArray[np.floating[Any]], first: float, stop: float) -> slice:
    """The frames whose middles lie in [first, stop), at least the one that is nearest."""
    low, high = np.searchsorted(middles, [first, stop]).tolist()
    if high > low:
        return slice(low, high)
    nearest = int(np.argmin(np.abs(middles - (first + stop) / 2)))
    return slice(nearest, nearest + 1)
