"""Scores to segments: the one place with hysteresis, minimum durations, cutting and padding.

Score row k covers [k * hop, (k + 1) * hop) seconds; the rows tile the recording from 0 to its end, and the
end of the recording may cut the last row. The rule, in this order:

1. A segment opens at the first row with score >= threshold. It closes when the score has stayed below
   neg_threshold for at least min_silence or until the recording ends; its end is where the score first fell
   below. Shorter gaps are bridged.
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

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from audiocnn.segment_rows import RowFinder, Stretch
from audiocnn.segment_rule import EPSILON_SECONDS, SegmentRule

__all__ = ["EPSILON_SECONDS", "FindSegments", "Segment", "SegmentFinder", "SegmentRule", "find_segments"]


@dataclass(frozen=True, slots=True)
class Segment:
    """Start and end in seconds, the label, and the mean score over it."""

    start: float
    end: float
    label: str
    score: float


class HeldSegment(NamedTuple):
    """A segment before padding, its start after it, and whether both of its pads give way to max_speech."""

    bare: Segment
    start: float
    both_give_way: bool


def find_segments(
    scores: ArrayLike, hop_seconds: float, duration_seconds: float, label: str, rule: SegmentRule
) -> list[Segment]:
    """The segments of `label` in a whole recording; scores (rows,) in [0, 1]. ValueError for NaN."""
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
        self._onsets: list[float] = []  # of segments that closed, and were not told

    def onsets(self, heard_seconds: float = 0.0) -> list[float]:
        """The starts of segments that since the last call have become certain: not to be dropped any more.

        Each equals the start of its segment, which `push` or `finish` returns later or has returned just now. Where
        the recording is known to last `heard_seconds` at least, an onset is known a row earlier: a recording that ends
        inside of the last row could still have made its segment too short.
        """
        told, self._onsets = self._onsets, []
        start = self._rows.certain_start(heard_seconds)
        return told if start is None else [*told, start]

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

    def _close(self, stretch: Stretch, duration_seconds: float) -> list[Segment]:
        """Holds the stretch if it is long enough, and releases what was held before it."""
        start = stretch.start * self._hop_seconds
        end = min(stretch.end * self._hop_seconds, duration_seconds)
        if end <= start or not (stretch.part_of_cut or self._rule.keeps(start, end)):
            return []
        released = self._release(start, duration_seconds)
        if stretch.padded_start is not None and not stretch.told:
            self._onsets.append(stretch.padded_start)
        padded = stretch.padded_start
        if padded is None:
            padded = self._padded_part(start, end, stretch.previous_end)
        self._held = HeldSegment(Segment(start, end, self._label, stretch.mean), padded, stretch.padded_start is None)
        return released

    def _padded_part(self, start: float, end: float, previous_end: float) -> float:
        """Where a later part of a cut begins with its pad: both its pads give way to max_speech alike."""
        room = self._rule.max_speech_seconds - (end - start)
        return max(start - min(self._rule.pad_seconds, max(room / 2, 0.0)), (previous_end + start) / 2)

    def _release_if_certain(self) -> list[Segment]:
        """Releases the held segment once nothing that may still come can reach its pad."""
        if self._held is None:
            return []
        reach = self._held.bare.end + 2 * self._rule.pad_seconds + EPSILON_SECONDS
        return self._release(math.inf, math.inf) if self._next_seconds() > reach else []

    def _next_seconds(self) -> float:
        """No segment that is still to be held begins before this."""
        # The last row seen may be the one that the end of the recording cuts.
        row = self._rows.seen - 1
        if self._rows.start is not None:
            row = min(row, self._rows.start.row)
        return row * self._hop_seconds

    def _release(self, next_start: float, duration_seconds: float) -> list[Segment]:
        if self._held is None:
            return []
        bare, start, both_give_way = self._held
        room = self._rule.max_speech_seconds - (bare.end - (bare.start if both_give_way else start))
        pad = min(self._rule.pad_seconds, max(room / 2 if both_give_way else room, 0.0))
        end = min(bare.end + pad, (bare.end + next_start) / 2, duration_seconds)
        self._held = None
        return [Segment(start, end, bare.label, bare.score)]
