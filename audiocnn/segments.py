"""Scores to segments: the one place with hysteresis, minimum durations, cutting and padding.

Score row k covers [k * hop, (k + 1) * hop) seconds; the rows tile the recording from 0 to its end, and the
end of the recording may cut the last row. The rule, in this order:

1. A segment opens at the first row with score >= threshold. It closes when the score has stayed below
   neg_threshold for at least min_silence or until the recording ends; its end is where the score first fell
   below. Shorter gaps are bridged.
2. A segment shorter than min_speech is dropped.
3. A segment longer than max_speech is cut, from its start on, with the first of these that exists: at the
   longest bridged gap that reaches into the second half of what may be kept (the gap belongs to neither
   part); before the lowest row below threshold in the second half; at max_speech. The later of equals wins.
   Nothing that was found is lost by a cut: its parts are kept even where they are shorter than min_speech.
4. Both sides are padded: never past 0 or the end of the recording, never past max_speech, and never into a
   neighbour: where the gap is small, the two pads meet in its middle.

The score of a segment is the mean over its rows before padding, bridged gaps included. Durations are compared
with a tolerance of 1e-9 seconds, for what floating point does to `rows * hop`.
"""

from __future__ import annotations

import itertools
import math
import sys
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from audiocnn.errors import UsageError

EPSILON_SECONDS = 1e-9


@dataclass(frozen=True, slots=True)
class Segment:
    """Start and end in seconds, the label, and the mean score over it."""

    start: float
    end: float
    label: str
    score: float


@dataclass(frozen=True)
class SegmentRule:
    """How scores become segments. Raises UsageError, naming the option, for values that cannot be."""

    threshold: float = 0.5
    neg_threshold: float | None = None
    min_speech_seconds: float = 0.25
    min_silence_seconds: float = 0.1
    pad_seconds: float = 0.03
    max_speech_seconds: float = math.inf

    def __post_init__(self) -> None:
        _check_probability("--threshold", self.threshold)
        if self.neg_threshold is not None:
            _check_probability("--neg-threshold", self.neg_threshold)
            if self.neg_threshold > self.threshold:
                raise UsageError(
                    f"--neg-threshold {self.neg_threshold:g} is above --threshold {self.threshold:g}; "
                    "a segment closes below where it opens: lower the first or raise the second"
                )
        _check_seconds("--min-speech", self.min_speech_seconds)
        _check_seconds("--min-silence", self.min_silence_seconds)
        _check_seconds("--pad", self.pad_seconds)
        if not self.max_speech_seconds > 0:
            raise UsageError(f"--max-speech {self.max_speech_seconds:g}: give seconds above 0, or inf")
        if self.max_speech_seconds < self.min_speech_seconds:
            raise UsageError(
                f"--max-speech {self.max_speech_seconds:g} is below "
                f"--min-speech {self.min_speech_seconds:g}: raise the first or lower the second"
            )

    @property
    def closing_threshold(self) -> float:
        """`neg_threshold`; where it is not given threshold - 0.15, at least 0.01, at most threshold."""
        if self.neg_threshold is not None:
            return self.neg_threshold
        return min(self.threshold, max(self.threshold - 0.15, 0.01))


def _check_probability(option: str, value: float) -> None:
    if not 0.0 <= value <= 1.0:
        raise UsageError(f"{option} {value:g}: not between 0 and 1; give a probability such as 0.5")


def _check_seconds(option: str, value: float) -> None:
    if not 0.0 <= value < math.inf:
        raise UsageError(f"{option} {value:g}: not a length of time; give seconds, 0 or more")


def find_segments(
    scores: ArrayLike, hop_seconds: float, duration_seconds: float, label: str, rule: SegmentRule
) -> list[Segment]:
    """The segments of `label` in a whole recording; scores (rows,) in [0, 1]. ValueError for NaN."""
    finder = SegmentFinder(label, hop_seconds, rule)
    return finder.push(scores) + finder.finish(duration_seconds)


class SegmentFinder:
    """`find_segments` for a recording that comes in blocks: the same segments for any cut into blocks.

    Memory is constant: a few numbers, however long the recording or a segment in it.
    """

    def __init__(self, label: str, hop_seconds: float, rule: SegmentRule) -> None:
        self._label = label
        self._hop_seconds = hop_seconds
        self._rule = rule
        self._rows = _RowFinder(hop_seconds, rule)
        self._held: Segment | None = None  # closed, unpadded; waits for its right neighbour
        self._previous_end = -math.inf  # unpadded, of the segment before the held one

    def push(self, scores: ArrayLike) -> list[Segment]:
        """Takes the next scores (rows,), of any number; returns the segments that are now certain."""
        block = np.asarray(scores)
        if block.ndim != 1:
            raise ValueError(f"scores of shape {block.shape}; expected (rows,)")
        if np.isnan(block).any():
            raise ValueError("scores hold NaN")
        found = [s for stretch in self._rows.push(block) for s in self._close(stretch, math.inf)]
        return found + self._release_if_certain()

    def finish(self, duration_seconds: float) -> list[Segment]:
        """The segments that are left, given where the recording ends. Nothing may be pushed after it."""
        found = [s for stretch in self._rows.finish() for s in self._close(stretch, duration_seconds)]
        return found + self._release(math.inf, duration_seconds)

    def _close(self, stretch: _Stretch, duration_seconds: float) -> list[Segment]:
        """Holds the stretch if it is long enough, and releases what was held before it."""
        start = stretch.start * self._hop_seconds
        end = min(stretch.end * self._hop_seconds, duration_seconds)
        long_enough = end - start >= self._rule.min_speech_seconds - EPSILON_SECONDS
        if end <= start or not (long_enough or stretch.part_of_cut):
            return []
        released = self._release(start, duration_seconds)
        self._held = Segment(start, end, self._label, stretch.mean)
        return released

    def _release_if_certain(self) -> list[Segment]:
        """Releases the held segment once nothing that may still come can reach its pad."""
        if self._held is None:
            return []
        reach = self._held.end + 2 * self._rule.pad_seconds + EPSILON_SECONDS
        # The last row seen may be the one that the end of the recording cuts.
        seen = (self._rows.seen - 1) * self._hop_seconds
        if self._rows.start is not None:
            seen = min(seen, self._rows.start.row * self._hop_seconds)
        return self._release(math.inf, math.inf) if seen > reach else []

    def _release(self, next_start: float, duration_seconds: float) -> list[Segment]:
        if (held := self._held) is None:
            return []
        room = self._rule.max_speech_seconds - (held.end - held.start)
        pad = min(self._rule.pad_seconds, max(room / 2, 0.0))
        start = max(held.start - pad, (self._previous_end + held.start) / 2, 0.0)
        end = min(held.end + pad, (held.end + next_start) / 2, duration_seconds)
        self._previous_end = held.end
        self._held = None
        return [Segment(start, end, held.label, held.score)]


class _Point(NamedTuple):
    """A row, and the sum of all scores before it."""

    row: int
    total: float


class _Stretch(NamedTuple):
    """Rows [start, end) of one segment, before minimum duration and padding."""

    start: int
    end: int
    mean: float
    part_of_cut: bool


class _RowFinder:
    """Opens, bridges, closes and cuts, in rows; reads runs of rows, not single ones, to be fast."""

    def __init__(self, hop_seconds: float, rule: SegmentRule) -> None:
        self.seen = 0
        self._total = 0.0
        self._threshold = rule.threshold
        self._closing = rule.closing_threshold
        self._silence_rows = max(1, math.ceil((rule.min_silence_seconds - EPSILON_SECONDS) / hop_seconds))
        self._max_rows = sys.maxsize
        if math.isfinite(rule.max_speech_seconds):
            self._max_rows = max(1, math.floor((rule.max_speech_seconds + EPSILON_SECONDS) / hop_seconds))
        self._half_rows = (self._max_rows + 1) // 2
        self.start: _Point | None = None  # of the open segment, or of its current part
        self._part_of_cut = False
        self._gap: _Point | None = None  # where the score fell below the closing threshold
        self._last_gap: tuple[_Point, _Point] | None = None  # the last bridged one
        self._best_gap: tuple[_Point, _Point] | None = None  # the longest that a cut may use
        self._lowest: tuple[float, _Point] | None = None

    def push(self, block: NDArray[Any]) -> list[_Stretch]:
        """Takes scores (rows,); returns the stretches that closed or were cut off."""
        if not block.size:
            return []
        # Compared in their own precision: 0.35 in float32 is not below a closing threshold of 0.35.
        levels = (block >= self._closing).astype(np.int8) + (block >= self._threshold)
        bounds = [0, *(np.flatnonzero(levels[1:] != levels[:-1]) + 1).tolist(), len(block)]
        totals = np.add.accumulate(np.concatenate(([self._total], block)), dtype=np.float64)
        found: list[_Stretch] = []
        for begin, end in itertools.pairwise(bounds):
            level = int(levels[begin])
            if level == 0:
                found += self._low_run(begin, end, totals)
            elif level == 2 or self.start is not None:
                found += self._high_run(begin, end, totals, block if level == 1 else None)
        self.seen += len(block)
        self._total = float(totals[-1])
        return found

    def finish(self) -> list[_Stretch]:
        """The stretch that is still open, up to where its score fell or the rows end."""
        return self._close(self._gap or _Point(self.seen, self._total)) if self.start else []

    def _point(self, index: int, totals: NDArray[np.float64]) -> _Point:
        return _Point(self.seen + index, float(totals[index]))

    def _low_run(self, begin: int, end: int, totals: NDArray[np.float64]) -> list[_Stretch]:
        """Rows [begin, end) of the block are below the closing threshold."""
        if self.start is None:
            return []
        if self._gap is None:
            self._gap = self._point(begin, totals)
        return self._close(self._gap) if self.seen + end - self._gap.row >= self._silence_rows else []

    def _high_run(
        self, begin: int, end: int, totals: NDArray[np.float64], block: NDArray[Any] | None
    ) -> list[_Stretch]:
        """Rows [begin, end) belong to a segment; `block` is given where they are below the threshold."""
        if self.start is None:
            self.start = self._point(begin, totals)
        if self._gap is not None:
            self._last_gap = (self._gap, self._point(begin, totals))
            self._gap = None
            self._offer_gap(self._last_gap)
        found: list[_Stretch] = []
        while True:
            limit = self.start.row + self._max_rows - self.seen
            low, high = max(begin, limit - self._max_rows + self._half_rows), min(end, limit)
            if block is not None and low < high:
                last_lowest = high - 1 - int(np.argmin(block[low:high][::-1]))
                self._offer_lowest(float(block[last_lowest]), self._point(last_lowest, totals))
            if end <= limit:
                return found
            found.append(self._cut(limit, totals))

    def _offer_gap(self, gap: tuple[_Point, _Point]) -> None:
        """Remembers a bridged gap that reaches into the second half, if none before it is longer."""
        if self.start is None or gap[1].row <= self.start.row + self._half_rows:
            return
        if self._best_gap is None or _rows(gap) >= _rows(self._best_gap):
            self._best_gap = gap

    def _offer_lowest(self, score: float, point: _Point) -> None:
        if self._lowest is None or score <= self._lowest[0]:
            self._lowest = (score, point)

    def _cut(self, limit: int, totals: NDArray[np.float64]) -> _Stretch:
        """Cuts a part off the open segment, which is known to go on past `limit` (in the block)."""
        if self._best_gap is not None:
            end, start = self._best_gap
        elif self._lowest is not None:
            end = start = self._lowest[1]
        else:
            # No gap reaches here, so the row at the limit is in the run that is being read.
            end = start = self._point(limit, totals)
        part = self._stretch(end, part_of_cut=True)
        self.start, self._part_of_cut = start, True
        self._best_gap = self._lowest = None
        # A gap behind the cut is the only thing seen so far that can lie in the new second half.
        if self._last_gap is not None and self._last_gap[0].row > start.row:
            self._offer_gap(self._last_gap)
        return part

    def _close(self, end: _Point) -> list[_Stretch]:
        stretch = self._stretch(end, part_of_cut=self._part_of_cut)
        self.start = self._gap = self._last_gap = self._best_gap = self._lowest = None
        self._part_of_cut = False
        return [stretch]

    def _stretch(self, end: _Point, *, part_of_cut: bool) -> _Stretch:
        start = self.start
        assert start is not None  # only an open segment is closed or cut
        mean = (end.total - start.total) / (end.row - start.row)
        return _Stretch(start.row, end.row, mean, part_of_cut)


def _rows(gap: tuple[_Point, _Point]) -> int:
    return gap[1].row - gap[0].row
