"""Labelled recordings, and what the formats have in common: a `Writer` makes text, a `LabelFormat` reads it, too."""

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

NO_SCORE = math.nan  # of a segment that a person marked, or that a format without scores holds
DEFAULT_LABEL = "speech"  # the label of a segment that has none of its own
MOST_CHANNEL = 1 << 16  # more than any recording has
_SEGMENT_SCORE_DIGITS = 4
ResultT = TypeVar("ResultT")
Labels = dict[str, list[Annotation]]  # file name, or stem where the format knows no more -> what is in it


@dataclass(frozen=True)
class LabelledRecording:
    """One recording and its segments, channel (from 0) by channel; None is what is not known.

    file: a path, or the stem of one where the format knows no more. Labels are not empty; a score may be `NO_SCORE`.
    note: that the recording is damaged or cut short, and how far it could be read. start_seconds: from where on it was.
    remarks: what else is to be said of it.
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
        """The segments of all channels in the order of time, for formats without channels."""
        return sorted(self.segments, key=lambda segment: (segment.start, segment.end))

    @property
    def last_seconds(self) -> float:
        """The duration, or where that is not known the end of the last segment; never less than that end."""
        return max([self.duration_seconds or 0.0, *(segment.end for segment in self.segments)])


def has_score(segment: Segment) -> bool:
    return not math.isnan(segment.score)


def round_score(score: float) -> float:
    """The score of a segment or a clip, to the digits that all formats write."""
    return round(float(score), _SEGMENT_SCORE_DIGITS)


class Writer(Generic[ResultT]):
    """Makes the text of one output: `begin`, each recording (or each part of one, as it becomes certain), `end`.

    A format that may hold several recordings is whole after each: its `end` is empty. notes: what had to be changed
    because the format cannot hold it, each line once. drawn: the text is for a terminal, with colours and the like.
    tells_total: the end says how much there was.
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
        """A recording that could not be read, where the format has a place for that."""
        return ""

    def end(self) -> str | bytes:
        """What stands after the last recording; bytes where the format is no text."""
        return ""

    def note(self, line: str) -> None:
        if line not in self.notes:
            self.notes.append(line)


class LabelFormat(Writer[LabelledRecording]):
    """A format of labels. An instance writes one file."""

    @staticmethod
    def read(path: Path) -> list[LabelledRecording]:
        """LabelError, with file and line, for what cannot be parsed; whether the times make sense is not judged."""
        raise NotImplementedError

    @classmethod
    def read_annotations(cls, path: Path) -> Labels:
        """Recording -> its annotations, channel by channel."""
        return annotations_of(cls.read(path))


class ColumnFormat(LabelFormat):
    """A format whose labels stand in a column that may have any name, or in one that may mean something else."""

    @staticmethod
    def read(path: Path, label_column: str | None = None) -> list[LabelledRecording]:
        """As `LabelFormat.read`; LabelError also where it is not known which column says the label."""
        raise NotImplementedError

    @classmethod
    def read_annotations(cls, path: Path, label_column: str | None = None) -> Labels:
        return annotations_of(cls.read(path, label_column))

    @staticmethod
    def label_column(path: Path, label_column: str | None = None) -> LabelColumn | None:
        """Which column the labels are read from; None where nothing is read from one. LabelError."""
        raise NotImplementedError


def annotations_of(recordings: Iterable[LabelledRecording]) -> Labels:
    """Recording -> its annotations, channel by channel."""
    labels: Labels = {}
    for one in recordings:
        labels.setdefault(one.file, []).extend(Annotation(s.start, s.end, s.label) for s in one.segments)
    return labels


class LabelCollector:
    """Collects what a reader finds row by row: recordings in the order in which they are first named."""

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
    """The name of a recording without its folder and without a suffix of audio; never empty."""
    name = PurePath(file).name
    path = PurePath(name)
    return (path.stem if path.suffix.lower() in AUDIO_SUFFIXES else name) or file


def free_name(wanted: str, names: dict[str, int]) -> str:
    """The name, or the first of `name (2)`, `name (3)`, ... that no other tier has; `names` keeps them."""
    name, number = wanted, names.get(wanted, 1)
    while name in names:
        number += 1
        name = f"{wanted} ({number})"
    names[name] = 1
    names[wanted] = number
    return name


class ShortNames:
    """Gives each recording its base name, or its whole name where another one has that; `writer` then gets a note."""

    def __init__(self, writer: LabelFormat) -> None:
        self.writer = writer
        self.taken: dict[str, str] = {}

    def of(self, file: str) -> str:
        short = base_name(file)
        if self.taken.setdefault(short, file) == file:
            return short
        same = "recordings of different folders have the same name"
        self.writer.note(f"{same}; all but the first stand with their whole name")
        whole = file
        while self.taken.setdefault(whole, file) != file:  # `a.flac`, where `a.flac.wav` is called so
            whole += "+"
        return whole


def file_fields(key: str, name: str) -> dict[str, str]:
    """A file name as a field, and its bytes beside it where they are no UTF-8."""
    shown = readable(name)
    whole = {} if shown == name else {f"{key}_base64": base64.b64encode(os.fsencode(name)).decode()}
    return {key: shown, **whole}


def readable(name: str) -> str:
    """A name with replacement characters for what is not UTF-8."""
    return name if is_utf8(name) else name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def is_utf8(text: str) -> bool:
    """Whether a text can be written as UTF-8: not a half of a surrogate pair, which JSON can hold."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
