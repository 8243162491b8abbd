"""Where windows lie: which samples a score depends on, and how a recording of any length is cut into chunks.

Score k is centred on its window and stands for one hop, the samples [k * hop, (k + 1) * hop); the rows tile the
recording. Row k needs the samples [k * hop - before, k * hop - before + core), zeros outside the recording. A chunk of
rows is fed with exactly the samples its rows need, and for a network with padding in time with so many rows more on
both sides, which are dropped. So the scores are those of the recording read whole.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Geometry:
    """Where scores sit, in samples. Score k is centred on the samples [k * hop, (k + 1) * hop)."""

    sample_rate: int
    window_samples: int  # the receptive field of one score
    hop_samples: int
    positions: int  # of the last group's output under one window: the width of F
    hop_positions: int
    pad_start: int  # what padding inside the network adds at the two ends, in samples
    pad_end: int

    @property
    def hop_seconds(self) -> float:
        """The distance between two scores."""
        return self.hop_samples / self.sample_rate

    @property
    def window_seconds(self) -> float:
        """The stretch that one score depends on."""
        return self.window_samples / self.sample_rate

    @property
    def shift_exact(self) -> bool:
        """Whether a score depends on its window alone, however much is read at once: no padding in time."""
        return self.pad_start == self.pad_end == 0

    @property
    def extend_start(self) -> int:
        """Zeros before the true start of a recording: the first score is centred half a hop after it."""
        return (self.window_samples - self.hop_samples) // 2 - self.pad_start

    @property
    def extend_end(self) -> int:
        """Zeros after the true end, so that ceil(samples / hop) scores come out."""
        return self.window_samples - 1 - (self.window_samples - self.hop_samples) // 2 - self.pad_end

    @property
    def margin_rows(self) -> int:
        """Scores at an inner edge of a chunk that padding inside the network has touched."""
        return 0 if self.shift_exact else -(-self.window_samples // self.hop_samples)

    def rows(self, samples: int) -> int:
        """Scores for a recording of so many samples; they tile it, the last may be cut."""
        return -(-samples // self.hop_samples)


class ChunkPlan:
    """Which samples of a growing recording the next rows need. Holds no more than a chunk, a window and a block."""

    def __init__(self, geometry: Geometry, chunk_rows: int, channels: int) -> None:
        self.geometry, self.chunk_rows, self.channels = geometry, chunk_rows, channels
        self.core = geometry.window_samples - geometry.pad_start - geometry.pad_end
        self.blocks: deque[Samples] = deque()
        self.start = 0  # the recording's sample that the first block begins with
        self.end = 0  # samples seen so far
        self.row = 0  # rows done

    def push(self, block: Samples) -> None:
        """More samples (channels, samples), which nobody may change afterwards."""
        if block.shape[0] != self.channels:
            raise ValueError(f"{block.shape[0]} channels for a network of {self.channels}")
        self.blocks.append(block)
        self.end += block.shape[1]

    def next_chunk(self, last: bool, live: bool = False) -> tuple[Samples, int, int] | None:
        """(samples, rows to drop at the start, rows to keep), or None if there is nothing (yet) to run. `live` takes
        less than a chunk: all rows that have their samples."""
        geometry, hop, margin = self.geometry, self.geometry.hop_samples, self.geometry.margin_rows
        begin = max(0, self.row - margin)
        rows = self.chunk_rows
        if last:
            rows = min(geometry.rows(self.end) - self.row, rows)
        elif live:
            ready = (self.end + geometry.extend_start - self.core) // hop + 1 - margin
            rows = min(min(ready, self.end // hop) - self.row, rows)
        if rows <= 0:
            return None
        first = begin * hop - geometry.extend_start
        stop = (self.row + rows + margin - 1) * hop - geometry.extend_start + self.core
        if last and stop >= self.end + min(0, geometry.extend_end):
            stop = self.end + geometry.extend_end
        elif stop > self.end:
            return None
        drop = self.row - begin
        self.row += rows
        keep = max(0, self.row - margin) * hop - geometry.extend_start
        return self.cut(first, stop, keep), drop, rows

    def cut(self, first: int, stop: int, keep: int) -> Samples:
        """The samples [first, stop), zeros where there is no recording; forgets the blocks before `keep`."""
        chunk = np.zeros((self.channels, stop - first), dtype=np.float32)
        begin = self.start
        for block in self.blocks:
            end = begin + block.shape[1]
            low, high = max(first, begin), min(stop, end)
            if low < high:
                chunk[:, low - first : high - first] = block[:, low - begin : high - begin]
            begin = end
        while self.blocks and self.start + self.blocks[0].shape[1] <= keep:
            self.start += self.blocks.popleft().shape[1]
        return chunk
