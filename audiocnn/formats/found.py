"""What is in recordings, as every format takes it and gives it: segments by channel, and what is known of the file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from audiocnn.segments import Segment

NO_SCORE = math.nan  # of a segment that a person marked, or that a format without scores holds
NO_LABEL = "speech"  # what a stretch without a word of its own is called
Tracks = Mapping[int, Sequence[Segment]]


@dataclass(frozen=True)
class Found:
    """One recording and its segments, channel (from 0) by channel; None is what is not known.

    file: a path, or the stem of one where the format knows no more. Labels are not empty; a score may be `NO_SCORE`.
    note: that the recording is damaged or cut short, and how far it could be read.
    """

    file: str
    tracks: Tracks = field(default_factory=dict)
    duration_seconds: float | None = None
    sample_rate: int | None = None
    channels: int | None = None
    model: str = ""
    thresholds: Mapping[str, float] = field(default_factory=dict)
    note: str | None = None

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The segments of all channels, channel by channel."""
        return tuple(segment for track in self.tracks.values() for segment in track)

    def in_time(self) -> list[Segment]:
        """The segments of all channels in the order of time, for formats without channels."""
        return sorted(self.segments, key=lambda segment: (segment.start, segment.end))

    @property
    def last_seconds(self) -> float:
        """The duration; where that is not known, the end of the last segment. Never less than that end."""
        return max([self.duration_seconds or 0.0, *(segment.end for segment in self.segments)])


class Writer(Protocol):
    """Makes the text of a format, recording by recording. `notes`: what had to be changed, each line once."""

    notes: list[str]

    def begin(self) -> str:
        """What stands before the first recording."""

    def recording(self, found: Found) -> str:
        """One recording."""

    def end(self) -> str:
        """What stands after the last one: nothing, where a file may hold several, so that it is whole after each."""


def has_score(segment: Segment) -> bool:
    """Whether a segment came with a score."""
    return not math.isnan(segment.score)
