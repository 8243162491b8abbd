"""Rows of scores to stretches: where a segment opens, what is bridged, where it closes or is cut. See `segments`."""

from __future__ import annotations

import itertools
import math
import sys
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from audiocnn.segment_rule import EPSILON_SECONDS, SegmentRule


class Point(NamedTuple):
    """A row, and the sum of all scores before it."""

    row: int
    total: float


class Stretch(NamedTuple):
    """Rows [start, end) of one segment, before minimum duration and padding.

    previous_end: in seconds, of the segment before it. padded_start: in seconds; None for the later parts of a cut.
    cut_off: it ends by a cut, and its sound goes on or comes back.
    """

    start: int
    end: int
    mean: float
    part_of_cut: bool
    previous_end: float
    padded_start: float | None
    told: bool  # as an onset
    cut_off: bool


class RowFinder:
    """Opens, bridges, closes and cuts, in rows; reads runs of rows, not single ones, to be fast.

    spare_seconds: what a segment may still gain before its first row; it is kept free under max_speech.
    """

    def __init__(self, hop_seconds: float, rule: SegmentRule, spare_seconds: float = 0.0) -> None:
        self.seen = 0
        self._hop_seconds, self._rule, self._spare_seconds = hop_seconds, rule, spare_seconds
        self._total = 0.0
        self._threshold = rule.threshold
        self.closing = rule.closing_threshold
        self.silence_rows = max(1, math.ceil((rule.min_silence_seconds - EPSILON_SECONDS) / hop_seconds))
        spare = rule.max_speech_seconds - rule.min_speech_seconds - hop_seconds
        self.most_pad = min(rule.pad_seconds, max(spare, 0.0))  # what is kept is not cut shorter than min_speech
        self._max_rows = self._half_rows = sys.maxsize  # of the open segment, or of its current part
        self._previous_end = -math.inf  # in seconds, of the last segment that was kept
        self.start: Point | None = None  # of the open segment, or of its current part
        self.padded_start: float | None = None  # of the open segment in seconds; None in later parts
        self.told = False  # whether the onset of the open segment is known to the caller
        self._part_of_cut = False
        self._gap: Point | None = None  # where the score fell below the closing threshold
        self._last_gap: tuple[Point, Point] | None = None  # the last bridged one
        self._best_gap: tuple[Point, Point] | None = None  # the longest that a cut may use
        self._lowest: tuple[float, Point] | None = None

    def push(self, block: NDArray[Any]) -> list[Stretch]:
        """Takes scores (rows,); returns the stretches that closed or were cut off."""
        if not block.size:
            return []
        # Compared in their own precision: 0.35 in float32 is not below a closing threshold of 0.35.
        levels = (block >= self.closing).astype(np.int8) + (block >= self._threshold)
        bounds = [0, *(np.flatnonzero(levels[1:] != levels[:-1]) + 1).tolist(), len(block)]
        totals = np.add.accumulate(np.concatenate(([self._total], block)), dtype=np.float64)
        found: list[Stretch] = []
        for begin, end in itertools.pairwise(bounds):
            level = int(levels[begin])
            if level == 0:
                found += self._low_run(begin, end, totals)
            elif level == 2 or self.start is not None:
                found += self._high_run(begin, end, totals, block if level == 1 else None)
        self.seen += len(block)
        self._total = float(totals[-1])
        return found

    def finish(self) -> list[Stretch]:
        """The stretch that is still open, up to where its score fell or the rows end."""
        return self._close(self._gap or Point(self.seen, self._total)) if self.start else []

    def _point(self, index: int, totals: NDArray[np.float64]) -> Point:
        return Point(self.seen + index, float(totals[index]))

    def _low_run(self, begin: int, end: int, totals: NDArray[np.float64]) -> list[Stretch]:
        """Rows [begin, end) of the block are below the closing threshold."""
        if self.start is None:
            return []
        if self._gap is None:
            self._gap = self._point(begin, totals)
        return self._close(self._gap) if self.seen + end - self._gap.row >= self.silence_rows else []

    def _high_run(self, begin: int, end: int, totals: NDArray[np.float64], block: NDArray[Any] | None) -> list[Stretch]:
        """Rows [begin, end) belong to a segment; `block` is given where they are below the threshold."""
        if self.start is None:
            self._open(self._point(begin, totals))
        if self._gap is not None:
            self._last_gap = (self._gap, self._point(begin, totals))
            self._gap = None
            self._offer_gap(self._last_gap)
        found: list[Stretch] = []
        while True:
            assert self.start is not None
            limit = self.start.row + self._max_rows - self.seen
            low, high = max(begin, limit - self._max_rows + self._half_rows), min(end, limit)
            if block is not None and low < high:
                last_lowest = high - 1 - int(np.argmin(block[low:high][::-1]))
                self._offer_lowest(float(block[last_lowest]), self._point(last_lowest, totals))
            if end <= limit:
                return found
            found.append(self._cut(limit, totals))

    def _open(self, start: Point) -> None:
        """Begins a segment. What may be kept of it counts from its padded start."""
        seconds = start.row * self._hop_seconds
        self.start, self.told = start, False
        self.padded_start = max(seconds - self.most_pad, (self._previous_end + seconds) / 2, 0.0)
        self._limit_rows(seconds - self.padded_start + self._spare_seconds)

    def _limit_rows(self, pad_seconds: float) -> None:
        """Sets how many rows the part that begins may have."""
        most = self._rule.max_speech_seconds - pad_seconds
        if math.isfinite(most):
            self._max_rows = max(1, math.floor((most + EPSILON_SECONDS) / self._hop_seconds))
            self._half_rows = (self._max_rows + 1) // 2

    def certain_start(self, heard_seconds: float) -> float | None:
        """The padded start of the open segment, once, as soon as it cannot be dropped any more; else None."""
        if self.start is None or self.padded_start is None or self.told:
            return None
        hop = self._hop_seconds
        # It ends where its score fell or later; and the recording, at the earliest, inside of the last row.
        end = (self._gap.row if self._gap else self.seen) * hop
        lasts_at_least = min(end, max((self.seen - 1) * hop, heard_seconds))
        if not self._rule.keeps(self.start.row * hop, lasts_at_least):
            return None
        self.told = True
        return self.padded_start

    def _offer_gap(self, gap: tuple[Point, Point]) -> None:
        """Remembers a bridged gap that reaches into the second half, if none before it is longer."""
        if self.start is None or gap[1].row <= self.start.row + self._half_rows:
            return
        if self._best_gap is None or _rows(gap) >= _rows(self._best_gap):
            self._best_gap = gap

    def _offer_lowest(self, score: float, point: Point) -> None:
        if self._lowest is None or score <= self._lowest[0]:
            self._lowest = (score, point)

    def _cut(self, limit: int, totals: NDArray[np.float64]) -> Stretch:
        """Cuts a part off the open segment, which is known to go on past `limit` (in the block)."""
        if self._best_gap is not None:
            end, start = self._best_gap
        elif self._lowest is not None:
            end = start = self._lowest[1]
        else:
            # No gap reaches here, so the row at the limit is in the run that is being read.
            end = start = self._point(limit, totals)
        part = self._stretch(end, part_of_cut=True, cut_off=True)
        self.start, self._part_of_cut, self.padded_start = start, True, None
        self._limit_rows(0.0)
        self._best_gap = self._lowest = None
        # A gap behind the cut is the only thing seen so far that can lie in the new second half.
        if self._last_gap is not None and self._last_gap[0].row > start.row:
            self._offer_gap(self._last_gap)
        return part

    def _close(self, end: Point) -> list[Stretch]:
        stretch = self._stretch(end, part_of_cut=self._part_of_cut)
        self.start = self._gap = self._last_gap = self._best_gap = self._lowest = None
        self._part_of_cut = False
        return [stretch]

    def _stretch(self, end: Point, *, part_of_cut: bool, cut_off: bool = False) -> Stretch:
        start = self.start
        assert start is not None  # only an open segment is closed or cut
        mean = (end.total - start.total) / (end.row - start.row)
        edges = (self._previous_end, self.padded_start)
        stretch = Stretch(start.row, end.row, mean, part_of_cut, *edges, told=self.told, cut_off=cut_off)
        end_seconds = end.row * self._hop_seconds
        if part_of_cut or self._rule.keeps(start.row * self._hop_seconds, end_seconds):
            self._previous_end = end_seconds
        return stretch


def _rows(gap: tuple[Point, Point]) -> int:
    return gap[1].row - gap[0].row
