"""The samples that the rows of a growing recording need, chunk by chunk."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np

from audiocnn.audio.pcm import Samples
from audiocnn.errors import ModelError
from audiocnn.inference.batcher import Scores
from audiocnn.spec.geometry import Crop, Geometry

_DAMAGED = "the weights are damaged: copy the model folder again, or retrain the model"


class Chunk(NamedTuple):
    """Input of the network: samples (channels, n), and the number of frames that it crops after its level
    normalisation. Of the resulting rows, `drop` are dropped at the start and `rows` are kept. frames: if not None, the
    range [first, stop) of frames of the recording to run on; the samples are then only those of frames that no earlier
    chunk had."""

    samples: Samples
    crop: Crop
    drop: int
    rows: int
    frames: tuple[int, int] | None = None


class FrameSizes(NamedTuple):
    """Frame length and frame hop of the features, in samples."""

    samples: int
    hop_samples: int


class ChunkPlan:
    """Finds the samples that the next rows of a growing recording need. Holds at most a chunk, a window and a block.

    frames: if given, recordings of several chunks are cut at frame borders, so that no frame is computed twice.
    """

    def __init__(self, geometry: Geometry, chunk_rows: int, channels: int, frames: FrameSizes | None = None) -> None:
        self.geometry, self.chunk_rows, self.channels = geometry, chunk_rows, channels
        self.frames, self.framed = frames, 0  # number of frames given to chunks so far
        self.blocks: deque[Samples] = deque()
        self.start = 0  # position in the recording of the first stored sample
        self.end = 0  # number of samples received
        self.row = 0  # number of rows done

    def push(self, block: Samples) -> None:
        """Add samples (channels, samples). They must not be modified afterwards."""
        if block.shape[0] != self.channels:
            raise ValueError(f"{block.shape[0]} channels, but the network expects {self.channels}")
        self.blocks.append(block)
        self.end += block.shape[1]

    def next_chunk(self, last: bool, partial: bool = False, live: bool = False) -> Chunk | None:
        """The next chunk, or None if there is nothing to run (yet). `partial` allows less than a full chunk: all rows
        whose samples have arrived. `live` does not wait for samples that the level normalisation would look ahead
        to."""
        geometry, hop, (before, after) = self.geometry, self.geometry.hop_samples, self.geometry.margin_rows
        after = geometry.live_margin_rows if live else after
        begin = max(0, self.row - before)
        rows = self.chunk_rows
        if last:
            rows = min(geometry.rows(self.end) - self.row, rows)
        elif partial:
            ready = (self.end - geometry.known_samples) // hop + 1 - after
            rows = min(min(ready, self.end // hop) - self.row, rows)
        if rows <= 0:
            return None
        first = begin * hop - geometry.extend_start
        stop = (self.row + rows + after - 1) * hop + geometry.known_samples
        if last and stop >= self.end + min(0, geometry.extend_end):
            stop = self.end + geometry.extend_end
        elif stop > self.end:
            return None
        drop = self.row - begin
        whole = last and self.row == 0
        self.row += rows
        keep = max(0, self.row - before) * hop - geometry.extend_start
        crop = geometry.crop(stop - first, drop, rows)
        frames = None
        if self.frames is not None and not whole:
            frames, first, stop = self.new_frames(first, stop, self.frames)
            keep = max(keep, self.framed * self.frames.hop_samples - geometry.extend_start)
        return Chunk(self.cut(first, stop, keep), crop, 0 if any(crop) else drop, rows, frames)

    def new_frames(self, first: int, stop: int, frames: FrameSizes) -> tuple[tuple[int, int], int, int]:
        """The frames within the samples [first, stop), and the range of samples that the new ones among them need. The
        range is empty if all frames are known already."""
        start = -self.geometry.extend_start
        first_frame = (first - start) // frames.hop_samples
        stop_frame = first_frame + max(0, (stop - first - frames.samples) // frames.hop_samples + 1)
        new = max(self.framed, first_frame)
        self.framed = max(self.framed, stop_frame)
        first = start + new * frames.hop_samples
        stop = start + (stop_frame - 1) * frames.hop_samples + frames.samples
        return (first_frame, stop_frame), first, stop if new < stop_frame else first

    def cut(self, first: int, stop: int, keep: int) -> Samples:
        """The samples [first, stop), with zeros outside the recording. Forgets blocks that end before `keep`."""
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


def kept_rows(scores: Scores, drop: int, rows: int) -> Scores:
    """(tracks, rows, outputs) without the rows that only gave context. ModelError if the output is not plausible."""
    kept = scores[:, drop : drop + rows]
    if kept.shape[1] != rows:
        raise ModelError(f"the network returned {kept.shape[1]} rows of scores instead of {rows}; {_DAMAGED}")
    if not np.isfinite(kept).all():
        raise ModelError(f"the network returned scores that are not finite; {_DAMAGED}")
    return kept
