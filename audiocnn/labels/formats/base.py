"""Labelled recordings, and the common parts of the formats: a `Writer` makes text, and a `LabelFormat` also reads
it."""

from __future__ import annotations

import base64
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Generic, TypeVar

from audiocnn.audio.find import AUDIO_SUFFIXES
from audiocnn.labels.formats.columns import LabelColumn
from audiocnn.segments.segment import Annotation, Segment

NO_SCORE = math.nan  # of a segment labelled by a person, or from a format without scores
DEFAULT_LABEL = "speech"  # for segments without a label
MOST_CHANNEL = 1 << 16  # more than any recording has
_SEGMENT_SCORE_DIGITS = 4
ResultT = TypeVar("ResultT")
Labels = dict[str, list[Annotation]]  # file name, or its stem if the format stores only that -> annotations


@dataclass(frozen=True)
class LabelledRecording:
    """One recording and its segments, channel (from 0) by channel. None stands for unknown facts.

    file: a path, or its stem if the format stores only that. Labels are not empty; a score may be `NO_SCORE`. note:
    states that the recording is damaged or cut short, and up to where it was read. start_seconds: the position at which
    reading began. remarks: other notes.
    """

    file: str
    tracks: Mapping[int, Sequence[Segment]] = field(default_factory=dict)
    duration_seconds: float | None = None
    sample_rate: int | None = None
    channels: int | None = None
    model: str = ""
    thresholds: Mapping[str, float] = field(default_factory=dict)
    note: str | None = None
    start_seconds: float = 0.0
    remarks: Sequence[str] = ()

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The segments of all channels, channel by channel."""
        return tuple(segment for track in self.tracks.values() for segment in track)

    def in_time(self) -> list[Segment]:
        """The segments of all channels ordered by time, for formats without channels."""
        return sorted(self.segments, key=lambda segment: (segment.start, segment.end))

    @property
    def last_seconds(self) -> float:
        """The duration, or if unknown the end of the last segment; never less than that end."""
        return max([self.duration_seconds or 0.0, *(segment.end for segment in self.segments)])


def has_score(segment: Segment) -> bool:
    return not math.isnan(segment.score)


def round_score(score: float) -> float:
    """The score of a segment or clip, rounded to the digits that all formats write."""
    return round(float(score), _SEGMENT_SCORE_DIGITS)


class Writer(Generic[ResultT]):
    """Makes the text of one output: `begin`, each recording (or each part of it, as it becomes final), `end`.

    The output of a format that may hold several recordings is complete after each: its `end` is empty. notes: changes
    that were necessary because of limits of the format, each line once. drawn: the text is for a terminal, with
    colours. tells_total: the end states the total.
    """

    drawn = False
    tells_total = False

    def __init__(self) -> None:
        self.notes: list[str] = []

    def begin(self) -> str:
        return ""

    def recording(self, recording: ResultT) -> str:
        raise NotImplementedError

    def failed(self, file: str, problem: str) -> str:
        """A recording that could not be read, if the format can store that."""
        return ""

    def end(self) -> str | bytes:
        """Text after the last recording; bytes if the format is binary."""
        return ""

    def note(self, line: str) -> None:
        if line not in self.notes:
            self.notes.append(line)


class LabelFormat(Writer[LabelledRecording]):
    """A label format. An instance writes one file."""

    @staticmethod
    def read(path: Path) -> list[LabelledRecording]:
        """Raises LabelError, with file and line, if parsing fails; whether the times make sense is not checked."""
        raise NotImplementedError

    @classmethod
    def read_annotations(cls, path: Path) -> Labels:
        """Recording -> its annotations, ordered by channel."""
        return annotations_of(cls.read(path))


class ColumnFormat(LabelFormat):
    """A format whose labels are in a column of any name, or in one with another usual meaning."""

    @staticmethod
    def read(path: Path, label_column: str | None = None) -> list[LabelledRecording]:
        """Like `LabelFormat.read`. Also raises LabelError if the label column is ambiguous."""
        raise NotImplementedError

    @classmethod
    def read_annotations(cls, path: Path, label_column: str | None = None) -> Labels:
        return annotations_of(cls.read(path, label_column))

    @staticmethod
    def label_column(path: Path, label_column: str | None = None) -> LabelColumn | None:
        """The column from which labels are read, or None. Raises LabelError."""
        raise NotImplementedError


def annotations_of(recordings: Iterable[LabelledRecording]) -> Labels:
    """Recording -> its annotations, ordered by channel."""
    labels: Labels = {}
    for one in recordings:
        labels.setdefault(one.file, []).extend(Annotation(s.start, s.end, s.label) for s in one.segments)
    return labels


class LabelCollector:
    """Collects rows of a file: recordings are kept in the order of their first row."""

    def __init__(self) -> None:
        self.tracks: dict[str, dict[int, list[Segment]]] = {}

    def name(self, file: str) -> None:
        self.tracks.setdefault(file, {})

    def add(self, file: str, channel: int, segment: Segment) -> None:
        self.tracks.setdefault(file, {}).setdefault(channel, []).append(segment)

    def recordings(self) -> list[LabelledRecording]:
        return [
            LabelledRecording(file, {channel: tuple(track) for channel, track in sorted(tracks.items())})
            for file, tracks in self.tracks.items()
        ]


def base_name(file: str) -> str:
    """The name of a recording without folder and audio suffix; never empty."""
    name = PurePath(file).name
    path = PurePath(name)
    return (path.stem if path.suffix.lower() in AUDIO_SUFFIXES else name) or file


def free_name(wanted: str, names: dict[str, int]) -> str:
    """The name, or the first of `name (2)`, `name (3)`, ... that no other tier has; `names` records the names in
    use."""
    name, number = wanted, names.get(wanted, 1)
    while name in names:
        number += 1
        name = f"{wanted} ({number})"
    names[name] = 1
    names[wanted] = number
    return name


class ShortNames:
    """Gives each recording its base name, or its whole name if another one has that base name; `writer` then gets a
    note."""

    def __init__(self, writer: LabelFormat) -> None:
        self.writer = writer
        self.taken: dict[str, str] = {}

    def of(self, file: str) -> str:
        short = base_name(file)
        if self.taken.setdefault(short, file) == file:
            return short
        same = "recordings in different folders have the same base name"
        self.writer.note(f"{same}; all but the first are written with their whole name")
        whole = file
        while self.taken.setdefault(whole, file) != file:  # `a.flac`, if this is also the base name of `a.flac.wav`
            whole += "+"
        return whole


def file_fields(key: str, name: str) -> dict[str, str]:
    """A file name as a field, with its bytes in another field if they are not UTF-8."""
    shown = readable(name)
    whole = {} if shown == name else {f"{key}_base64": base64.b64encode(os.fsencode(name)).decode()}
    return {key: shown, **whole}


def readable(name: str) -> str:
    """A name with replacement characters for bytes that are not UTF-8."""
    return name if is_utf8(name) else name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def is_utf8(text: str) -> bool:
    """Whether a text can be encoded as UTF-8: false for half of a surrogate pair, which JSON can contain."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
