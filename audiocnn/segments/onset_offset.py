"""Onset and offset in addition to the score: each position predicts where its event begins and ends, and votes for the
edges.

A network with `output = "onset_offset"` gives for each position and label the probability that an event is present, how
long ago it began and when it will end: [p, onset, offset], as in "You Only Hear Once" (Venkatesh, Moffat, Miranda 2022,
section 2.3), but at every hop and not in bins. A distance is at most half a window, the limit of what a position hears.

rows (rows, 3 * classes) -> scores, edges -> segments of rows, by the rule of `finder` -> votes -> segments

The scores alone determine which rows form a segment, by the same rule as for every model. Then its edges move. The rows
after its start vote for the onset, up to the first row below neg_threshold and for at most `VOTE_SECONDS`; the rows
before its end vote likewise for the offset. Votes are weighted by their scores, and the weighted median is used. A
distance of half a window means "not in sight" and is not a vote. Without votes, an edge stays at its row. An edge moves
by at most half a window, and never past the middle of its own rows or into a neighbour. Edges made by `max_speech` cuts
do not move. min_speech applies to the rows, so that an onset can be reported before its segment ends.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiocnn.segments.finder import FindSegments, HeldSegment, RowSegment, SegmentFinder, SegmentRule
from audiocnn.segments.segment import Segment

VOTE_SECONDS = 0.25
_IN_SIGHT = 0.95  # of half a window; predictions are at most 1, and near that they mean anything beyond
_Rows = NDArray[np.float32]


@dataclass(frozen=True)
class Localiser:
    """How a model with onsets and offsets makes segments. furthest_seconds: the distance that means "not in sight"."""

    furthest_seconds: float

    def finder(self, label: str, hop_seconds: float, rule: SegmentRule) -> VotingFinder:
        """A finder of the segments of one label, for a recording that arrives in blocks."""
        return VotingFinder(label, hop_seconds, rule, self.furthest_seconds)

    def find(self, edges: _Rows, labels: Sequence[str]) -> FindSegments:
        """A function like `find_segments` for one recording with known edges (rows, classes, 2)."""
        return Votes({label: edges[:, column] for column, label in enumerate(labels)}, self)


@dataclass(frozen=True, eq=False)
class Votes:
    """A replacement for `find_segments` for one recording: label -> edges (rows, 2)."""

    edges: Mapping[str, _Rows]
    localiser: Localiser

    def __call__(
        self, scores: _Rows, hop_seconds: float, duration_seconds: float, label: str, rule: SegmentRule
    ) -> list[Segment]:
        """The segments of a label in a whole recording, scores (rows,)."""
        finder = self.localiser.finder(label, hop_seconds, rule)
        rows = np.concatenate([np.asarray(scores)[:, None], self.edges[label]], axis=1)
        return finder.push(rows) + finder.finish(duration_seconds)


@dataclass(frozen=True)
class _OpenSegment:
    """The open segment: its first row, its start according to the votes, and the padded start, in seconds."""

    row: int
    start: float
    padded: float


class VotingFinder(SegmentFinder):
    """A `SegmentFinder` whose rows are (rows, 3): score, onset, offset. Its memory use is constant too."""

    def __init__(self, label: str, hop_seconds: float, rule: SegmentRule, furthest_seconds: float) -> None:
        # The maximum shift of the onset is reserved, so that no segment becomes longer than max_speech.
        self._most_move = min(furthest_seconds, rule.max_speech_seconds / 4)
        super().__init__(label, hop_seconds, rule, spare_seconds=self._most_move)
        self._in_sight = _IN_SIGHT * furthest_seconds
        self._voters = max(1, round(min(VOTE_SECONDS, furthest_seconds, self._most_move) / hop_seconds))
        self._kept = np.zeros((0, 3), np.float32)  # the rows that may still vote, and the number of the first
        self._first = 0
        self._begun: _OpenSegment | None = None
        self._reported_row = -1
        self._previous_end = -math.inf

    def push(self, scores: Any) -> list[Segment]:
        """Process the next rows (rows, 3), any number of them; returns the segments that are now final."""
        block = np.asarray(scores, dtype=np.float32)
        if block.ndim != 2 or block.shape[1] != 3:
            raise ValueError(f"rows of shape {block.shape}; expected (rows, 3)")
        if np.isnan(block).any():
            raise ValueError(
                "onsets or offsets contain NaN" if not np.isnan(block[:, 0]).any() else "scores contain NaN"
            )
        self._kept = np.concatenate([self._kept, block])
        found = super().push(block[:, 0])
        start = self._rows.start
        if start is not None and self._rows.padded_start is not None and self._rows.seen >= start.row + self._voters:
            self._begin(start.row, self._rows.padded_start)
        most = 2 * self._voters + self._rows.silence_rows + self._rows.rise_rows
        self._first += max(0, len(self._kept) - most)
        self._kept = self._kept[-most:]
        return found

    def earliest_onset(self) -> float:
        """As in the base class; votes may still move it back."""
        unreported = self._begun is not None and self._reported_row != self._begun.row
        earliest = self._begun.padded if self._begun is not None and unreported else super().earliest_onset()
        return max(0.0, earliest - self._most_move)

    def onsets(self, heard_seconds: float = 0.0) -> list[float]:
        """As in the base class, but only once its votes are complete."""
        onsets, self._onsets = self._onsets, []
        self._rows.certain_start(heard_seconds)
        start, begun = self._rows.start, self._begun
        if start is None or not self._rows.reported or begun is None or begun.row != start.row:
            return onsets
        return onsets if self._reported_row == begun.row else [*onsets, self._report(begun)]

    def _report(self, begun: _OpenSegment) -> float:
        self._reported_row = begun.row
        return begun.padded

    def _begin(self, row: int, padded_start: float) -> _OpenSegment:
        """The onset according to the votes, which is final once they are complete. Only rows seen before a part can be
        cut off have a vote, so that the division into blocks does not matter."""
        if self._begun is None or self._begun.row != row:
            hop = self._hop_seconds
            voters = min(self._voters, self._rows.most_rows(row * self._hop_seconds - padded_start + self._most_move))
            rows = self._kept[max(0, row - self._first) :][:voters]
            low = np.flatnonzero(rows[:, 0] < self._rows.closing)
            rows = rows[: low[0]] if len(low) else rows
            middles = (row + np.arange(len(rows)) + 0.5) * hop
            start = self._vote(row * hop, middles - rows[:, 1], rows[:, 0], rows[:, 1])
            # The end of the recording may cut the last row; the others are complete.
            start = max(min(start, (row + (len(rows) - 1) / 2) * hop), self._previous_end, 0.0)
            padded = max(start - self._rows.most_pad, (self._previous_end + start) / 2, 0.0)
            self._begun = _OpenSegment(row, start, padded)
        return self._begun

    def _voted_end(self, closed: RowSegment) -> float:
        """The end of a segment that is not cut off, by the votes of its last rows."""
        hop, stop = self._hop_seconds, closed.end - self._first
        begin = max(0, stop - self._voters, closed.start - self._first)
        rows = self._kept[begin:stop]
        low = np.flatnonzero(rows[:, 0] < self._rows.closing)
        if len(low):
            begin += int(low[-1]) + 1
            rows = rows[int(low[-1]) + 1 :]
        middles = (self._first + begin + np.arange(len(rows)) + 0.5) * hop
        end = self._vote(closed.end * hop, middles + rows[:, 2], rows[:, 0], rows[:, 2])
        # The rows after it were silent, so the next segment cannot begin before them.
        return min(end, (closed.end + self._rows.silence_rows) * hop)

    def _vote(self, here: float, votes: NDArray[Any], weights: _Rows, distances: _Rows) -> float:
        """The weighted median of votes in seconds, limited to the permitted distance from `here`."""
        valid = (distances < self._in_sight) & (weights > 0)
        if not valid.any():
            return here
        median = weighted_median(votes[valid], weights[valid])
        return min(max(median, here - self._most_move), here + self._most_move)

    def _close(self, closed: RowSegment, duration_seconds: float) -> list[Segment]:
        """Move the edges of a segment that is kept, hold it, and release the one that was held before it."""
        hop = self._hop_seconds
        row_start, row_end = closed.start * hop, min(closed.end * hop, duration_seconds)
        if row_end <= row_start or not (closed.part_of_cut or self._rule.keeps(row_start, row_end)):
            self._begun = None
            return []
        middle = (row_start + row_end) / 2
        begun = None if closed.padded_start is None else self._begin(closed.start, closed.padded_start)
        start = begun.start if begun else max(row_start, self._previous_end)
        end = row_end if closed.cut_off else min(max(self._voted_end(closed), middle), duration_seconds)
        padded = begun.padded if begun else self._padded_part(start, end, self._previous_end)
        end = min(end, padded + self._rule.max_speech_seconds)
        released = self._release(start, duration_seconds)
        if begun is not None and self._reported_row != begun.row:
            self._onsets.append(self._report(begun))
        self._begun, self._previous_end = None, end
        self._held = HeldSegment(Segment(start, end, self._label, closed.mean), padded, begun is None)
        return released

    def _next_seconds(self) -> float:
        """The onset of a later segment may still move back."""
        return super()._next_seconds() - self._most_move


def weighted_median(values: NDArray[Any], weights: NDArray[Any]) -> float:
    """The value with half of the weight below and half above it; between two values, their mean."""
    order = np.argsort(values, kind="stable")
    values, shares = values[order], np.cumsum(weights[order], dtype=np.float64)
    half = shares[-1] / 2
    at = int(np.searchsorted(shares, half))
    if shares[at] == half and at + 1 < len(values):
        return float((values[at] + values[at + 1]) / 2)
    return float(values[at])
