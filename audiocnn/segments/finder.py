"""From scores to segments: the only place with hysteresis, minimum durations, cutting and padding.

Score row k covers [k * hop, (k + 1) * hop) seconds. The rows cover the recording from 0 to its end, which may cut the
last row. The rule has these steps, in this order:

1. A segment opens at the first row with score >= threshold. Its start is moved back to where the score rose to
   neg_threshold, as long as all rows from there on are at or above neg_threshold, by at most 0.3 s (`RISE_SECONDS`).
   It closes when the score has stayed below neg_threshold for at least min_silence, or until the end of the recording;
   its end is where the score first fell below. Shorter gaps are bridged. (This is hysteresis at both ends, as for edges
   in Canny 1986. The rise is limited so that little of a stream is held back.)
2. A segment shorter than min_speech is dropped.
3. A segment longer than max_speech, including the pad before it, is cut repeatedly from its start, at the first of
   these places that exists: at the longest bridged gap that reaches into the second half of the permitted length (the
   gap belongs to neither part); before the lowest row below threshold in the second half; at max_speech. Of equal
   candidates, the later one is used. A cut loses no detected rows: parts are kept even if they are shorter than
   min_speech.
4. Both sides are padded, but never past 0 or the end of the recording, past max_speech, or into a neighbour: in a
   small gap, the two pads meet in the middle. The pad before a segment does not depend on later scores. The start is
   therefore known as soon as the segment can no longer be dropped; this is its onset. A segment that is cut has one
   onset, and its later parts have none.

The score of a segment is the mean over its rows before padding, including bridged gaps. Durations are compared with a
tolerance of 1e-9 seconds, because `rows * hop` is rounded.
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
    end_pad_seconds: float | None = None  # None: the same as pad_seconds

    def __post_init__(self) -> None:
        _check_probability("--threshold", self.threshold)
        if self.neg_threshold is not None:
            _check_probability("--neg-threshold", self.neg_threshold)
            if self.neg_threshold > self.threshold:
                raise UsageError(
                    f"--neg-threshold {self.neg_threshold:g} is above --threshold {self.threshold:g}, but "
                    "a segment must close below the score at which it opens: lower the first or raise the second"
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
            what = f"--max-duration {self.max_speech_seconds:g} is below the hop of the model ({hop_seconds:g} s)"
            raise UsageError(f"{what}, which is the shortest possible segment; raise it")

    def keeps(self, start_seconds: float, end_seconds: float) -> bool:
        """Whether a segment, before padding, is at least as long as min_speech_seconds."""
        return end_seconds - start_seconds >= self.min_speech_seconds - EPSILON_SECONDS


def _check_probability(option: str, value: float) -> None:
    if not 0.0 <= value <= 1.0:
        raise UsageError(f"{option} {value:g}: not between 0 and 1; give a probability such as 0.5")


def _check_seconds(option: str, value: float) -> None:
    if not 0.0 <= value < math.inf:
        raise UsageError(f"{option} {value:g}: not a duration; give seconds, 0 or more")


_FEW_ROWS = 8  # from this number of rows on, arrays are faster than Python numbers
_Totals = NDArray[np.float64] | list[float]


class _Point(NamedTuple):
    row: int
    total: float


class RowSegment(NamedTuple):
    """Rows [start, end) of one segment, before the minimum duration and padding are applied.

    previous_end: end of the previous segment in seconds. padded_start: in seconds; None for the later parts of a cut.
    cut_off: the segment ends by a cut, and its sound continues or returns.
    """

    start: int
    end: int
    mean: float
    part_of_cut: bool
    previous_end: float
    padded_start: float | None
    reported: bool  # whether the caller knows its onset
    cut_off: bool


class RowFinder:
    """Opens, bridges, closes and cuts segments, in rows. For speed it processes runs of rows, not single ones.

    spare_seconds: the most that may later be added before the first row of a segment; it is reserved within max_speech.
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
        self.most_pad = min(rule.pad_seconds, max(spare, 0.0))  # limits the pad so that cuts leave room for min_speech
        self.rise_rows = self._most_rise_rows()
        self._rise = 0  # the first row of the present run at or above the closing threshold
        self._last_totals = [0.0]  # running totals before each of the last rows, as many as a rise has, and after them
        self._max_rows = self._half_rows = sys.maxsize  # for the open segment, or its current part
        self._previous_end = -math.inf  # in seconds, of the last segment that was kept
        self.start: _Point | None = None  # of the open segment, or of its current part
        self.padded_start: float | None = None  # of the open segment in seconds; None in later parts
        self.reported = False  # whether the caller knows the onset of the open segment
        self._part_of_cut = False
        self._gap: _Point | None = None  # where the score fell below the closing threshold
        self._last_gap: tuple[_Point, _Point] | None = None  # the last bridged gap
        self._best_gap: tuple[_Point, _Point] | None = None  # the longest gap that a cut may use
        self._lowest: tuple[float, _Point] | None = None

    def push(self, block: NDArray[Any]) -> list[RowSegment]:
        """Process scores (rows,); returns the segments that were closed or cut off."""
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
        """Process a few float32 rows if they only change counters: no segment is open and all are below the closing
        threshold, or the open segment's onset was reported and all are at or above the threshold. Otherwise returns
        False, and the rows are not processed."""
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
        """Like `push` for one row, without arrays: live audio brings few rows at a time."""
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
        """The segment that is still open, up to where its score fell, or to the last row."""
        return self._close(self._gap or _Point(self.seen, self._total)) if self.start else []

    def earliest_start(self) -> int:
        """No segment that is open, or that later rows may open, starts before this row."""
        # The last row seen may be cut by the end of the recording.
        row = self.seen - 1
        if self.start is not None:
            return min(row, self.start.row)
        return min(row, max(self._rise, self.seen - self.rise_rows))

    def _most_rise_rows(self) -> int:
        """The maximum number of rows before the one that opens a segment: half of what fits before it would be cut."""
        room = self._rule.max_speech_seconds - self.most_pad - self._spare_seconds
        seconds = min(RISE_SECONDS, max(room, 0.0) / 2)
        return math.floor((seconds + EPSILON_SECONDS) / self._hop_seconds)

    def _point(self, index: int, totals: _Totals) -> _Point:
        """The start of a row; `index` counts within the block, and is negative for earlier rows."""
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
        """Rows [begin, end) belong to a segment; `block` is given if they are below the threshold."""
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
        """Open a segment. Its maximum length counts from its padded start."""
        seconds = start.row * self._hop_seconds
        self.start, self.reported = start, False
        self.padded_start = max(seconds - self.most_pad, (self._previous_end + seconds) / 2, 0.0)
        self._limit_rows(seconds - self.padded_start + self._spare_seconds)

    def _limit_rows(self, pad_seconds: float) -> None:
        """Set the maximum number of rows of the part that begins."""
        self._max_rows = self.most_rows(pad_seconds)
        self._half_rows = (self._max_rows + 1) // 2

    def most_rows(self, pad_seconds: float) -> int:
        """The maximum number of rows of a part, without its pad. More rows may be read before it is cut off."""
        most = self._rule.max_speech_seconds - pad_seconds
        return max(1, math.floor((most + EPSILON_SECONDS) / self._hop_seconds)) if math.isfinite(most) else sys.maxsize

    def certain_start(self, heard_seconds: float) -> float | None:
        """The padded start of the open segment, returned once, as soon as it can no longer be dropped; otherwise
        None."""
        if self.start is None or self.padded_start is None or self.reported:
            return None
        hop = self._hop_seconds
        # The segment ends where its score fell or later, and the recording ends within the last row at the earliest.
        end = (self._gap.row if self._gap else self.seen) * hop
        lasts_at_least = min(end, max((self.seen - 1) * hop, heard_seconds))
        if not self._rule.keeps(self.start.row * hop, lasts_at_least):
            return None
        self.reported = True
        return self.padded_start

    def _offer_gap(self, gap: tuple[_Point, _Point]) -> None:
        """Remember a bridged gap that reaches into the second half, unless an earlier one is longer."""
        if self.start is None or gap[1].row <= self.start.row + self._half_rows:
            return
        if self._best_gap is None or _rows(gap) >= _rows(self._best_gap):
            self._best_gap = gap

    def _offer_lowest(self, score: float, point: _Point) -> None:
        if self._lowest is None or score <= self._lowest[0]:
            self._lowest = (score, point)

    def _cut(self, limit: int, totals: _Totals) -> RowSegment:
        """Cut a part off the open segment, which is known to continue past `limit` (in the block)."""
        if self._best_gap is not None:
            end, start = self._best_gap
        elif self._lowest is not None:
            end = start = self._lowest[1]
        else:
            # There is no gap at this point, so the row at the limit is in the current run.
            end = start = self._point(limit, totals)
        part = self._row_segment(end, part_of_cut=True, cut_off=True)
        self.start, self._part_of_cut, self.padded_start = start, True, None
        self._limit_rows(0.0)
        self._best_gap = self._lowest = None
        # Of what was seen so far, only a gap after the cut can lie in the new second half.
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
    """A segment before padding, its padded start, and whether max_speech shortens both pads or only the second."""

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
"""A function in place of `find_segments`: scores (rows,), hop and duration in seconds, label, rule -> segments."""


class SegmentFinder:
    """`find_segments` for a recording that arrives in blocks. The division into blocks does not affect the result.

    Memory use is constant: a few numbers, however long the recording or a segment is.
    """

    def __init__(self, label: str, hop_seconds: float, rule: SegmentRule, spare_seconds: float = 0.0) -> None:
        self._label = label
        self._hop_seconds = hop_seconds
        self._rule = rule
        self._rows = RowFinder(hop_seconds, rule, spare_seconds)
        self._held: HeldSegment | None = None  # closed, but its right neighbour is not yet known
        self._onsets: list[float] = []  # of segments that closed before they were reported

    def onsets(self, heard_seconds: float = 0.0) -> list[float]:
        """The starts of segments that have become certain since the last call: they can no longer be dropped.

        Each equals the start of its segment, which `push` or `finish` returns later, or has just returned. If the
        recording is known to last at least `heard_seconds`, an onset is certain one row earlier, because otherwise the
        recording might end within the last row and make the segment too short.
        """
        onsets, self._onsets = self._onsets, []
        start = self._rows.certain_start(heard_seconds)
        return onsets if start is None else [*onsets, start]

    def earliest_onset(self) -> float:
        """A time in seconds before which no onset starts that `onsets` has not yet returned."""
        rows = self._rows
        if rows.start is not None and rows.padded_start is not None and not rows.reported:
            return rows.padded_start
        row = rows.seen if rows.start is not None else rows.earliest_start()
        return max(0.0, row * self._hop_seconds - self._rule.pad_seconds)

    def push(self, scores: ArrayLike) -> list[Segment]:
        """Process the next scores (rows,), any number of them; returns the segments that are now final."""
        block = np.asarray(scores)
        if block.ndim != 1:
            raise ValueError(f"scores of shape {block.shape}; expected (rows,)")
        if np.isnan(block[0]) if len(block) == 1 else np.isnan(block).any():
            raise ValueError("scores contain NaN")
        found = [s for closed in self._rows.push(block) for s in self._close(closed, math.inf)]
        return found + self._release_if_certain()

    def passes(self, scores: Sequence[float]) -> bool:
        """As in `RowFinder`: process a few scores if `push` and `onsets` would return nothing for them; returns whether
        it did. This is the usual case for live audio."""
        return self._held is None and not self._onsets and self._rows.passes(scores)

    def finish(self, duration_seconds: float) -> list[Segment]:
        """The remaining segments, given the end of the recording. `push` must not be called afterwards."""
        found = [s for closed in self._rows.finish() for s in self._close(closed, duration_seconds)]
        return found + self._release(math.inf, duration_seconds)

    def _close(self, closed: RowSegment, duration_seconds: float) -> list[Segment]:
        """Hold a segment of rows if it is long enough, and release the one that was held before it."""
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
        """The padded start of a later part of a cut; max_speech limits both of its pads equally."""
        room = self._rule.max_speech_seconds - (end - start)
        return max(start - min(self._rule.pad_seconds, max(room / 2, 0.0)), (previous_end + start) / 2)

    def _release_if_certain(self) -> list[Segment]:
        """Release the held segment once no later segment can reach its pad."""
        if self._held is None:
            return []
        reach = self._held.bare.end + 2 * self._rule.end_pad + EPSILON_SECONDS
        return self._release(math.inf, math.inf) if self._next_seconds() > reach else []

    def _next_seconds(self) -> float:
        """A time before which no later segment begins."""
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
