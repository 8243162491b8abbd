"""Scores to segments: the one place with hysteresis, minimum durations, cutting and padding.

Score row k covers [k * hop, (k + 1) * hop) seconds; the rows tile the recording from 0 to its end, and the
end of the recording may cut the last row. The rule, in this order:

1. A segment opens at the first row with score >= threshold, and starts where the score rose to neg_threshold before
   it: the rows from there on stay at neg_threshold or above, and are 0.3 s at most (`RISE_SECONDS`). It closes when the
   score has stayed below neg_threshold for at least min_silence or until the recording ends; its end is where the score
   first fell below. Shorter gaps are bridged. (Hysteresis at both ends, as of edges in Canny 1986; the rise is bounded
   so that little is held back of a stream.)
2. A segment shorter than min_speech is dropped.
3. A segment longer than max_speech, the pad before it included, is cut, from its start on, with the first of
   these that exists: at the longest bridged gap that reaches into the second half of what may be kept (the gap
   belongs to neither part); before the lowest row below threshold in the second half; at max_speech. The later of
   equals wins. Nothing that was found is lost by a cut: its parts are kept even where they are shorter than min_speech.
4. Both sides are padded: never past 0 or the end of the recording, never past max_speech, and never into a
   neighbour: where the gap is small, the two pads meet in its middle. The pad before a segment does not depend on
   what comes later, so that its start is known when it is known not to be dropped: that is an onset. A segment that
   is cut has one onset; the parts after the first have none of their own.

The score of a segment is the mean over its rows before padding, bridged gaps included. Durations are compared
with a tolerance of 1e-9 seconds, for what floating point does to `rows * hop`.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from audiocnn.errors import UsageError
from audiocnn.segments.segment import EPSILON_SECONDS, Segment

RISE_SECONDS = (
    0.3  # from neg_threshold to threshold; longer rises of the score gain nothing (docs/background/quality.md)
)
CLOSING_DROP, LEAST_CLOSING = 0.15, 0.01  # the closing threshold below the opening one, and its least value


@dataclass(frozen=True)
class SegmentRule:
    """The rule that turns scores into segments. Raises UsageError, naming the option, for invalid values."""

    threshold: float = 0.5
    neg_threshold: float | None = None
    min_speech_seconds: float = 0.25
    min_silence_seconds: float = 0.1
    pad_seconds: float = 0.03
    max_speech_seconds: float = math.inf
    end_pad_seconds: float | None = None  # None: as the pad at the start, which is pad_seconds

    def __post_init__(self) -> None:
        _check_probability("--threshold", self.threshold)
        if self.neg_threshold is not None:
            _check_probability("--neg-threshold", self.neg_threshold)
            if self.neg_threshold > self.threshold:
                raise UsageError(
                    f"--neg-threshold {self.neg_threshold:g} is above --threshold {self.threshold:g}; "
                    "a segment closes below where it opens: lower the first or raise the second"
                )
        _check_seconds("--min-duration", self.min_speech_seconds)
        _check_seconds("--min-silence", self.min_silence_seconds)
        for seconds in (self.pad_seconds, self.end_pad):
            _check_seconds("--pad", seconds)
        if not self.max_speech_seconds > 0:
            raise UsageError(f"--max-duration {self.max_speech_seconds:g}: give seconds above 0, or inf")
        if self.max_speech_seconds < self.min_speech_seconds:
            raise UsageError(
                f"--max-duration {self.max_speech_seconds:g} is below "
                f"--min-duration {self.min_speech_seconds:g}: raise the first or lower the second"
            )

    @property
    def end_pad(self) -> float:
        return self.pad_seconds if self.end_pad_seconds is None else self.end_pad_seconds

    @property
    def closing_threshold(self) -> float:
        """`neg_threshold`, or by default the threshold minus 0.15, at least 0.01 and at most the threshold."""
        if self.neg_threshold is not None:
            return self.neg_threshold
        return min(self.threshold, max(self.threshold - CLOSING_DROP, LEAST_CLOSING))

    def check_hop(self, hop_seconds: float) -> None:
        """Raise UsageError if segments cannot be short enough: the shortest possible segment is one hop."""
        if self.max_speech_seconds < hop_seconds - EPSILON_SECONDS:
            what = f"--max-duration {self.max_speech_seconds:g} is below the hop of the model, {hop_seconds:g} s"
            raise UsageError(f"{what}; the shortest segment is one score long: raise it")

    def keeps(self, start_seconds: float, end_seconds: float) -> bool:
        """Whether a segment, before padding, is at least as long as min_speech_seconds."""
        return end_seconds - start_seconds >= self.min_speech_seconds - EPSILON_SECONDS


def _check_probability(option: str, value: float) -> None:
    if not 0.0 <= value <= 1.0:
        raise UsageError(f"{option} {value:g}: not between 0 and 1; give a probability such as 0.5")


def _check_seconds(option: str, value: float) -> None:
    if not 0.0 <= value < math.inf:
        raise UsageError(f"{option} {value:g}: not a length of time; give seconds, 0 or more")


_FEW_ROWS = 8  # from here on arrays take less time than numbers
_Totals = NDArray[np.float64] | list[float]


class _Point(NamedTuple):
    row: int
    total: float


class RowSegment(NamedTuple):
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
    reported: bool  # its onset, to the caller
    cut_off: bool


class RowFinder:
    """Opens, bridges, closes and cuts, in rows; reads runs of rows, not single ones, to be fast.

    spare_seconds: what a segment may still gain before its first row; it is kept free under max_speech.
    """

    def __init__(self, hop_seconds: float, rule: SegmentRule, spare_seconds: float = 0.0) -> None:
        rule.check_hop(hop_seconds)
        self.seen = 0
        self._hop_seconds, self._rule, self._spare_seconds = hop_seconds, rule, spare_seconds
        self._total = 0.0
        self._threshold = rule.threshold
        self.closing = rule.closing_threshold
        # Compared in the precision of scores: 0.35 in float32 is not below a closing threshold of 0.35.
        self._opens_from, self._stays_from = (float(np.float32(one)) for one in (rule.threshold, self.closing))
        self.silence_rows = max(1, math.ceil((rule.min_silence_seconds - EPSILON_SECONDS) / hop_seconds))
        spare = rule.max_speech_seconds - rule.min_speech_seconds - hop_seconds
        self.most_pad = min(rule.pad_seconds, max(spare, 0.0))  # what is kept is not cut shorter than min_speech
        self.rise_rows = self._most_rise_rows()
        self._rise = 0  # the row at which the score rose to the closing threshold, where it is not below
        self._last_totals = [0.0]  # before the last rows, those of a rise, and behind them
        self._max_rows = self._half_rows = sys.maxsize  # of the open segment, or of its current part
        self._previous_end = -math.inf  # in seconds, of the last segment that was kept
        self.start: _Point | None = None  # of the open segment, or of its current part
        self.padded_start: float | None = None  # of the open segment in seconds; None in later parts
        self.reported = False  # whether the onset of the open segment is known to the caller
        self._part_of_cut = False
        self._gap: _Point | None = None  # where the score fell below the closing threshold
        self._last_gap: tuple[_Point, _Point] | None = None  # the last bridged one
        self._best_gap: tuple[_Point, _Point] | None = None  # the longest that a cut may use
        self._lowest: tuple[float, _Point] | None = None

    def push(self, block: NDArray[Any]) -> list[RowSegment]:
        """Takes scores (rows,); returns the segments that closed or were cut off."""
        if len(block) <= _FEW_ROWS:
            return [closed for score in block for closed in self._push_row(score)]
        # Compared in their own precision: 0.35 in float32 is not below a closing threshold of 0.35.
        levels = (block >= self.closing).astype(np.int8) + (block >= self._threshold)
        bounds = [0, *(np.flatnonzero(levels[1:] != levels[:-1]) + 1).tolist(), len(block)]
        totals = np.add.accumulate(np.concatenate(([self._total], block)), dtype=np.float64)
        found: list[RowSegment] = []
        for begin, end in itertools.pairwise(bounds):
            level = int(levels[begin])
            if level == 0:
                found += self._low_run(begin, end, totals)
                self._rise = self.seen + end
            elif level == 2 or self.start is not None:
                found += self._high_run(begin, end, totals, block if level == 1 else None)
        self.seen += len(block)
        self._total = float(totals[-1])
        newest = totals[-1 - self.rise_rows :].tolist()
        self._last_totals = [*self._last_totals[:-1], *newest][-1 - self.rise_rows :]
        return found

    def passes(self, scores: Sequence[float]) -> bool:
        """Takes a few rows of float32 if they change nothing but counts: all below the closing threshold where no
        segment is open, or all at the threshold or above in one whose onset was told. False: they are not taken."""
        if len(scores) > _FEW_ROWS:
            return False
        if self.start is None:
            if max(scores) >= self._stays_from:
                return False
            self._rise = self.seen + len(scores)
        elif (
            not self.reported
            or self._gap is not None
            or min(scores) < self._opens_from
            or self.seen + len(scores) > self.start.row + self._max_rows
        ):
            return False
        self.seen += len(scores)
        for score in scores:
            self._total += score
        self._last_totals = [self._total]
        return True

    def _push_row(self, score: np.floating[Any]) -> list[RowSegment]:
        """As `push` of one row, without arrays: live sound has few at a time."""
        level = int(score >= self.closing) + int(score >= self._threshold)
        totals = [self._total, self._total + float(score)]
        found: list[RowSegment] = []
        if level == 0:
            found = self._low_run(0, 1, totals)
            self._rise = self.seen + 1
        elif level == 2 or self.start is not None:
            found = self._high_run(0, 1, totals, np.array([score]) if level == 1 else None)
        self.seen += 1
        self._total = totals[-1]
        self._last_totals.append(self._total)
        if len(self._last_totals) > self.rise_rows + 1:
            del self._last_totals[0]
        return found

    def finish(self) -> list[RowSegment]:
        """The segment that is still open, up to where its score fell or the rows end."""
        return self._close(self._gap or _Point(self.seen, self._total)) if self.start else []

    def earliest_start(self) -> int:
        """No segment that is open, or opens with the rows to come, starts before this row."""
        # The last row seen may be the one that the end of the recording cuts.
        row = self.seen - 1
        if self.start is not None:
            return min(row, self.start.row)
        return min(row, max(self._rise, self.seen - self.rise_rows))

    def _most_rise_rows(self) -> int:
        """How many rows a segment may have before the one that opens it: half of what fits before it would be cut."""
        room = self._rule.max_speech_seconds - self.most_pad - self._spare_seconds
        seconds = min(RISE_SECONDS, max(room, 0.0) / 2)
        return math.floor((seconds + EPSILON_SECONDS) / self._hop_seconds)

    def _point(self, index: int, totals: _Totals) -> _Point:
        """Where a row begins; `index` is of the block, and below 0 for the rows before it."""
        total = totals[index] if index >= 0 else self._last_totals[index - 1]
        return _Point(self.seen + index, float(total))

    def _low_run(self, begin: int, end: int, totals: _Totals) -> list[RowSegment]:
        """Rows [begin, end) of the block are below the closing threshold."""
        if self.start is None:
            return []
        if self._gap is None:
            self._gap = self._point(begin, totals)
        return self._close(self._gap) if self.seen + end - self._gap.row >= self.silence_rows else []

    def _high_run(self, begin: int, end: int, totals: _Totals, block: NDArray[Any] | None) -> list[RowSegment]:
        """Rows [begin, end) belong to a segment; `block` is given where they are below the threshold."""
        if self.start is None:
            opens = self.seen + begin
            self._open(self._point(max(self._rise, opens - self.rise_rows) - self.seen, totals))
        if self._gap is not None:
            self._last_gap = (self._gap, self._point(begin, totals))
            self._gap = None
            self._offer_gap(self._last_gap)
        found: list[RowSegment] = []
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

    def _open(self, start: _Point) -> None:
        """Begins a segment. What may be kept of it counts from its padded start."""
        seconds = start.row * self._hop_seconds
        self.start, self.reported = start, False
        self.padded_start = max(seconds - self.most_pad, (self._previous_end + seconds) / 2, 0.0)
        self._limit_rows(seconds - self.padded_start + self._spare_seconds)

    def _limit_rows(self, pad_seconds: float) -> None:
        """Sets how many rows the part that begins may have."""
        self._max_rows = self.most_rows(pad_seconds)
        self._half_rows = (self._max_rows + 1) // 2

    def most_rows(self, pad_seconds: float) -> int:
        """How many rows a part may have besides its pad; more are seen before it is cut off."""
        most = self._rule.max_speech_seconds - pad_seconds
        return max(1, math.floor((most + EPSILON_SECONDS) / self._hop_seconds)) if math.isfinite(most) else sys.maxsize

    def certain_start(self, heard_seconds: float) -> float | None:
        """The padded start of the open segment, once, as soon as it cannot be dropped any more; else None."""
        if self.start is None or self.padded_start is None or self.reported:
            return None
        hop = self._hop_seconds
        # It ends where its score fell or later; and the recording, at the earliest, inside of the last row.
        end = (self._gap.row if self._gap else self.seen) * hop
        lasts_at_least = min(end, max((self.seen - 1) * hop, heard_seconds))
        if not self._rule.keeps(self.start.row * hop, lasts_at_least):
            return None
        self.reported = True
        return self.padded_start

    def _offer_gap(self, gap: tuple[_Point, _Point]) -> None:
        """Remembers a bridged gap that reaches into the second half, if none before it is longer."""
        if self.start is None or gap[1].row <= self.start.row + self._half_rows:
            return
        if self._best_gap is None or _rows(gap) >= _rows(self._best_gap):
            self._best_gap = gap

    def _offer_lowest(self, score: float, point: _Point) -> None:
        if self._lowest is None or score <= self._lowest[0]:
            self._lowest = (score, point)

    def _cut(self, limit: int, totals: _Totals) -> RowSegment:
        """Cuts a part off the open segment, which is known to go on past `limit` (in the block)."""
        if self._best_gap is not None:
            end, start = self._best_gap
        elif self._lowest is not None:
            end = start = self._lowest[1]
        else:
            # No gap reaches here, so the row at the limit is in the run that is being read.
            end = start = self._point(limit, totals)
        part = self._row_segment(end, part_of_cut=True, cut_off=True)
        self.start, self._part_of_cut, self.padded_start = start, True, None
        self._limit_rows(0.0)
        self._best_gap = self._lowest = None
        # A gap behind the cut is the only thing seen so far that can lie in the new second half.
        if self._last_gap is not None and self._last_gap[0].row > start.row:
            self._offer_gap(self._last_gap)
        return part

    def _close(self, end: _Point) -> list[RowSegment]:
        closed = self._row_segment(end, part_of_cut=self._part_of_cut)
        self.start = self._gap = self._last_gap = self._best_gap = self._lowest = None
        self._part_of_cut = False
        return [closed]

    def _row_segment(self, end: _Point, *, part_of_cut: bool, cut_off: bool = False) -> RowSegment:
        start = self.start
        assert start is not None  # only an open segment is closed or cut
        mean = (end.total - start.total) / (end.row - start.row)
        edges = (self._previous_end, self.padded_start)
        closed = RowSegment(start.row, end.row, mean, part_of_cut, *edges, reported=self.reported, cut_off=cut_off)
        end_seconds = end.row * self._hop_seconds
        if part_of_cut or self._rule.keeps(start.row * self._hop_seconds, end_seconds):
            self._previous_end = end_seconds
        return closed


def _rows(gap: tuple[_Point, _Point]) -> int:
    return gap[1].row - gap[0].row


class HeldSegment(NamedTuple):
    """A segment before padding, its start after it, and whether both of its pads give way to max_speech."""

    bare: Segment
    start: float
    both_give_way: bool


def find_segments(
    scores: ArrayLike, hop_seconds: float, duration_seconds: float, label: str, rule: SegmentRule
) -> list[Segment]:
    """The segments of `label` in a whole recording; scores (rows,) in [0, 1]. Raises ValueError for NaN."""
    finder = SegmentFinder(label, hop_seconds, rule)
    return finder.push(scores) + finder.finish(duration_seconds)


FindSegments = Callable[[NDArray[np.float32], float, float, str, SegmentRule], list[Segment]]
"""Another way to do what `find_segments` does: scores (rows,), hop and duration in seconds, label, rule -> segments."""


class SegmentFinder:
    """`find_segments` for a recording that comes in blocks: the same segments for any cut into blocks.

    Memory is constant: a few numbers, however long the recording or a segment in it.
    """

    def __init__(self, label: str, hop_seconds: float, rule: SegmentRule, spare_seconds: float = 0.0) -> None:
        self._label = label
        self._hop_seconds = hop_seconds
        self._rule = rule
        self._rows = RowFinder(hop_seconds, rule, spare_seconds)
        self._held: HeldSegment | None = None  # closed; waits for its right neighbour
        self._onsets: list[float] = []  # of segments that closed before they were reported

    def onsets(self, heard_seconds: float = 0.0) -> list[float]:
        """The starts of segments that since the last call have become certain: not to be dropped any more.

        Each equals the start of its segment, which `push` or `finish` returns later or has returned just now. Where
        the recording is known to last `heard_seconds` at least, an onset is known a row earlier: a recording that ends
        inside of the last row could still have made its segment too short.
        """
        onsets, self._onsets = self._onsets, []
        start = self._rows.certain_start(heard_seconds)
        return onsets if start is None else [*onsets, start]

    def earliest_onset(self) -> float:
        """No onset that `onsets` has still to tell starts before this, in seconds."""
        rows = self._rows
        if rows.start is not None and rows.padded_start is not None and not rows.reported:
            return rows.padded_start
        row = rows.seen if rows.start is not None else rows.earliest_start()
        return max(0.0, row * self._hop_seconds - self._rule.pad_seconds)

    def push(self, scores: ArrayLike) -> list[Segment]:
        """Takes the next scores (rows,), of any number; returns the segments that are now certain."""
        block = np.asarray(scores)
        if block.ndim != 1:
            raise ValueError(f"scores of shape {block.shape}; expected (rows,)")
        if np.isnan(block[0]) if len(block) == 1 else np.isnan(block).any():
            raise ValueError("scores hold NaN")
        found = [s for closed in self._rows.push(block) for s in self._close(closed, math.inf)]
        return found + self._release_if_certain()

    def passes(self, scores: Sequence[float]) -> bool:
        """As of `RowFinder`: takes a few scores of which `push` and `onsets` would have nothing to tell, and says
        whether they are such. Live sound is so most of the time."""
        return self._held is None and not self._onsets and self._rows.passes(scores)

    def finish(self, duration_seconds: float) -> list[Segment]:
        """The segments that are left, given where the recording ends. Nothing may be pushed after it."""
        found = [s for closed in self._rows.finish() for s in self._close(closed, duration_seconds)]
        return found + self._release(math.inf, duration_seconds)

    def _close(self, closed: RowSegment, duration_seconds: float) -> list[Segment]:
        """Holds a segment of rows if it is long enough, and releases what was held before it."""
        start = closed.start * self._hop_seconds
        end = min(closed.end * self._hop_seconds, duration_seconds)
        if end <= start or not (closed.part_of_cut or self._rule.keeps(start, end)):
            return []
        released = self._release(start, duration_seconds)
        if closed.padded_start is not None and not closed.reported:
            self._onsets.append(closed.padded_start)
        padded = closed.padded_start
        if padded is None:
            padded = self._padded_part(start, end, closed.previous_end)
        self._held = HeldSegment(Segment(start, end, self._label, closed.mean), padded, closed.padded_start is None)
        return released

    def _padded_part(self, start: float, end: float, previous_end: float) -> float:
        """Where a later part of a cut begins with its pad: both its pads give way to max_speech alike."""
        room = self._rule.max_speech_seconds - (end - start)
        return max(start - min(self._rule.pad_seconds, max(room / 2, 0.0)), (previous_end + start) / 2)

    def _release_if_certain(self) -> list[Segment]:
        """Releases the held segment once nothing that may still come can reach its pad."""
        if self._held is None:
            return []
        reach = self._held.bare.end + 2 * self._rule.end_pad + EPSILON_SECONDS
        return self._release(math.inf, math.inf) if self._next_seconds() > reach else []

    def _next_seconds(self) -> float:
        """No segment that is still to be held begins before this."""
        return self._rows.earliest_start() * self._hop_seconds

    def _release(self, next_start: float, duration_seconds: float) -> list[Segment]:
        if self._held is None:
            return []
        bare, start, both_give_way = self._held
        room = self._rule.max_speech_seconds - (bare.end - (bare.start if both_give_way else start))
        pad = min(self._rule.end_pad, max(room / 2 if both_give_way else room, 0.0))
        end = min(bare.end + pad, (bare.end + next_start) / 2, duration_seconds)
        self._held = None
        return [Segment(start, end, bare.label, bare.score)]
