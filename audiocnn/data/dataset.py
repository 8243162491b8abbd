"""A dataset: a folder of memory-mapped int16 samples with an SQLite index.

    samples-00000.npy    (samples, channels) int16, whole recordings one after another, each with its scale
    features-00000.npy   (frames, channels * bands) float32 powers, if requested: see `features.py`
    index.sqlite         meta, recordings, annotations, labels, refused, shards; views splits, groups

Everything that the index lists is complete: samples are written to disk first, then one transaction makes them visible.
This file reads; `writer.py` writes.
"""

from __future__ import annotations

import copy
import json
import math
import os
import re
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiocnn.audio.pcm import Samples, from_int16
from audiocnn.data.features import FeatureLayout, parse_layout
from audiocnn.data.parts import PartNotes, UnusedPart
from audiocnn.data.shards import ShardReader, Slice, rebuild_hint
from audiocnn.errors import DatasetError, as_argument, format_command, show_name
from audiocnn.files import parse_json, path_beside
from audiocnn.segments.segment import Annotation
from audiocnn.toml import is_number, repr_value
from audiocnn.units import count_noun

# Older formats that are still read: 1, with one label a clip and without the rate and channels of the file; 2, without
# scales.
FORMAT_VERSION = 3
INDEX_NAME = "index.sqlite"
_TABLES = {"meta", "shards", "recordings", "annotations", "labels", "refused"}
_PLAIN_TABLE = re.compile(r"CREATE TABLE\b((?!\bAS\b).)*", re.IGNORECASE | re.DOTALL)
_MOST_VALUE_BYTES = 10_000_000  # of a text in the index
_MOST_NAMED = 5  # files listed for a lost label
_FULL_SCALE = 32768
_LEAST_PEAK = 0.25  # of the scale, so that the rounding error is at most 1 / 16,384 of the peak
_SMALLEST_SCALE, _LARGEST_SCALE = 2.0**-64, 2.0**64


@dataclass(frozen=True, slots=True)
class Entry:
    """One recording of a dataset.

    samples: per channel. label: of the whole clip, the only one or the first of `labels`. annotated: its segments are
    known, so a part without an annotation carries none of the labels. group: recordings of one group (such as a speaker
    or a take) stay in one part; by default the filename. file_rate (Hz), file_channels: of the original file; 0 if
    unknown. scale: the level that int16 full scale stands for, relative to full scale 1; a power of two.
    """

    id: int
    filename: str
    samples: int
    label: str | None
    annotated: bool
    group: str
    split: str | None
    tags: dict[str, str] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    file_rate: int = 0
    file_channels: int = 0
    scale: float = 1.0

    def __post_init__(self) -> None:
        if self.label is not None and not self.labels:
            object.__setattr__(self, "labels", (self.label,))


class Dataset:
    """A dataset opened for reading. It can be pickled for a worker process, which reopens the files."""

    def __init__(self, folder: Path, meta: dict[str, str], rows: dict[str, list[tuple[Any, ...]]]) -> None:
        self.folder = folder
        self.sample_rate = whole_number(int(meta["sample_rate"]), least=1)
        self.channels = whole_number(int(meta["channels"]), least=1)
        text = meta.get("features", "")
        self.layout: FeatureLayout | None = parse_layout(text)  # layout of the stored features, if any
        self.feature_name = self.layout.spec if self.layout else text or None
        self.labels: tuple[str, ...] = tuple(_text(row[0]) for row in rows["labels"])
        self.several = meta.get("labels_per_clip") == "several"  # a clip may have no label, or several
        self.unsure = meta.get("unsure", "")  # label of segments whose content is unknown
        self.sources: tuple[str, ...] = _texts(meta.get("sources", "[]"))  # absolute paths
        self.parts = _parts(meta.get("parts", "[[], [], []]"))  # how the sources' parts were interpreted
        self.moved_sources = moved_sources(meta, folder)
        self.refused = [(_text(name), str(reason)) for name, reason in rows["refused"]]
        self.lost = _lost(meta.get("lost", "{}"))  # labels without a recording, because all their files were refused
        self.entries: list[Entry] = []
        self._slices: dict[int, Slice] = {}
        self._feature_slices: dict[int, Slice] = {}
        self._annotations: dict[int, list[Annotation]] = {}
        self._samples = ShardReader(folder, "samples")
        self._features = ShardReader(folder, "features")
        self._add_rows(rows)

    @classmethod
    def open(cls, folder: str | Path, unfinished: bool = False) -> Dataset:
        """Open a dataset. Raises DatasetError if there is none, or if it has a newer format, is damaged or (unless
        `unfinished`) is incomplete."""
        path = Path(folder)
        if not is_dataset(path):
            what = "not a dataset" if path.exists() else "no such folder"
            raise DatasetError(
                f"{path}: {what}; create one with `audiocnn ingest SOURCE -o {format_command([as_argument(path)])}`"
            )
        try:
            meta, rows = _read_index(path)
            dataset = cls(path, meta, rows)
        except (sqlite3.Error, KeyError, ValueError, TypeError) as error:
            raise damaged_index(path, error) from None
        if meta.get("complete") != "1" and not unfinished:
            what = f"its ingest was interrupted after {len(dataset.entries)} recordings"
            raise DatasetError(f"{path}: {what}; run it again to continue")
        return dataset

    def samples(self, entry: Entry) -> NDArray[np.int16]:
        """(channels, samples) int16 as stored, a read-only view of the file; 32,768 stands for the scale of the
        entry."""
        return self._samples.view(self._slices[entry.id])

    def waveform(self, entry: Entry, begin: int = 0, end: int | None = None, in_scale: bool = False) -> Samples:
        """(channels, n) float32 of the samples [begin, end) at their original level, with full scale 1.

        in_scale: divide by the scale of the entry, for callers that set the level themselves. Limits of gains then mean
        the same for quiet and loud recordings.
        """
        return from_int16(self.samples(entry)[:, begin:end], 1.0 if in_scale else entry.scale)

    def has_features(self, entry: Entry) -> bool:
        """Whether all frames of a recording that `layout` defines are stored."""
        rows = self._feature_slices.get(entry.id)
        return rows is not None and self.layout is not None and rows.length == self.layout.frames(entry.samples)

    def features(self, entry: Entry) -> NDArray[np.floating[Any]]:
        """(channels * bands, frames) float32 view, as in `layout`; float16 in datasets made by older versions. Raises
        DatasetError if the dataset stores no features."""
        rows = self._feature_slices.get(entry.id)
        if rows is None:
            what = f"no features of {entry.filename}"
            raise DatasetError(f"{self.folder}: {what}; ingest again with --features SPEC")
        return self._features.view(rows)

    def annotations(self, entry: Entry) -> list[Annotation]:
        """Annotations sorted by onset, as a new list."""
        return list(self._annotations.get(entry.id, ()))

    @property
    def opened(self) -> object:
        """The same object for all views of a dataset that was opened once."""
        return self._samples

    def with_entries(
        self, entries: Iterable[Entry], annotations: Mapping[int, Sequence[Annotation]] | None = None
    ) -> Dataset:
        """The same dataset restricted to these entries, which may be modified. annotations: replacements, by entry
        id."""
        other = copy.copy(self)
        other.entries = list(entries)
        if annotations:
            other._annotations = self._annotations | {number: list(own) for number, own in annotations.items()}
        return other

    def duration_seconds(self, entry: Entry) -> float:
        return entry.samples / self.sample_rate

    def _add_rows(self, rows: dict[str, list[tuple[Any, ...]]]) -> None:
        tags_seen: dict[str, dict[str, str]] = {}
        for row in rows["recordings"]:
            number, name, samples, label, annotated, group, split, tags, labels, rate, channels, scale, *slices = row
            if tags not in tags_seen:
                tags_seen[tags] = _tags(tags)
            known = (_text_or_none(label), bool(annotated), _text(group), _text_or_none(split), tags_seen[tags])
            more = (_texts(labels) if labels else (), whole_number(rate), whole_number(channels), _scale(scale))
            self.entries.append(Entry(number, _text(name), whole_number(samples), *known, *more))
            self._slices[number] = Slice(whole_number(slices[0]), whole_number(slices[1]), samples)
            if slices[2] is not None:
                self._feature_slices[number] = Slice(*map(whole_number, slices[2:]))
        for number, onset, offset, label in rows["annotations"]:
            times = _seconds(onset), _seconds(offset)
            self._annotations.setdefault(number, []).append(Annotation(*times, _text(label)))


# Values of an index, which may come from anywhere. Invalid ones raise ValueError or TypeError.


def whole_number(value: object, least: int = 0) -> int:
    if type(value) is not int or not least <= value < 2**48:
        raise ValueError(f"{repr_value(value)} instead of an integer of at least {least}")
    return value


def _seconds(value: object) -> float:
    if not is_number(value):
        raise ValueError(f"{repr_value(value)} instead of a time in seconds")
    return value  # type: ignore[return-value]


def _scale(value: object) -> float:
    known = is_number(value) and _SMALLEST_SCALE <= value <= _LARGEST_SCALE  # type: ignore[operator]
    if not known or math.frexp(value)[0] != 0.5:  # type: ignore[arg-type]
        raise ValueError(f"{repr_value(value)} instead of a power of two")
    return float(value)  # type: ignore[arg-type]


def _text(value: str | bytes) -> str:
    return os.fsdecode(value)


def _text_or_none(value: str | None) -> str | None:
    return None if value is None else _text(value)


def _texts(value: str) -> tuple[str, ...]:
    """A JSON list of strings."""
    return _as_texts(parse_json(value))


def _as_texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise ValueError(f"{repr_value(value)} instead of a list of strings")
    return tuple(value)


def _parts(value: str) -> PartNotes:
    parts, folds, said, *unused = map(_as_texts, parse_json(value))
    return PartNotes(parts, folds, said, tuple(UnusedPart(row[0], row[1:]) for row in unused if row))


def _lost(value: str) -> dict[str, tuple[str, ...]]:
    """JSON labels with file names."""
    found = parse_json(value)
    if not isinstance(found, dict):
        raise ValueError(f"{repr_value(value)} instead of labels")
    return {label: _texts(json.dumps(names)) for label, names in found.items()}


def _tags(value: str) -> dict[str, str]:
    found = parse_json(value)
    if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
        raise ValueError(f"{repr_value(value)} instead of tags")
    return found


def is_dataset(folder: str | Path) -> bool:
    return (Path(folder) / INDEX_NAME).is_file()


def as_int16(samples: Samples, scale: float = 1.0) -> NDArray[np.int16]:
    """float32 in [-scale, scale] -> int16, any shape, clipped. Exact for 16-bit sources."""
    scaled = np.rint(samples * np.float32(_FULL_SCALE / scale)).clip(-_FULL_SCALE, _FULL_SCALE - 1)
    whole: NDArray[np.int16] = scaled.astype(np.int16)
    return whole


class ScaleFinder:
    """Finds the scale of a recording, a power of two with which int16 keeps its precision. Blocks are added as they
    arrive.

    The scale is 1 for 16-bit sources, which it keeps exactly, and for recordings that are loud enough. It is larger for
    floats above full scale, and smaller for quiet recordings that 16 bits would round to a few levels.
    """

    def __init__(self) -> None:
        self.peak, self._is_whole = 0.0, True

    def add(self, samples: Samples) -> None:
        """Add a float32 block of any shape."""
        self.peak = max(self.peak, float(np.abs(samples).max(initial=0.0)))
        if self._is_whole and self.peak < _LEAST_PEAK:
            steps = samples * np.float32(_FULL_SCALE)
            self._is_whole = bool(np.array_equal(steps, np.rint(steps)))

    @property
    def scale(self) -> float:
        """The scale for all blocks added."""
        if self.fits(1.0):
            return 1.0
        return min(max(2.0 ** math.ceil(math.log2(self.peak)), _SMALLEST_SCALE), _LARGEST_SCALE)

    @property
    def likely_scale(self) -> float:
        """A provisional scale after a quiet beginning, which leaves room for twice the level."""
        return 2.0 * self.scale if self.scale < 1.0 else self.scale

    def fits(self, scale: float) -> bool:
        """Whether this scale suits all blocks added."""
        if scale == 1.0 and self.peak < _LEAST_PEAK and self._is_whole:
            return True
        return self.peak <= scale and (self.peak >= _LEAST_PEAK * scale or scale <= _SMALLEST_SCALE)


def describe_lost(lost: Mapping[str, Sequence[str]]) -> str:
    """A message about labels that no recording has and their files; "" if there are none."""
    if not lost:
        return ""
    label, names = next(iter(lost.items()))
    shown = ", ".join(show_name(name) for name in names[:_MOST_NAMED])
    shown += f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    others = f", and {count_noun(len(lost) - 1, 'other label')}" if len(lost) > 1 else ""
    files = "its only file cannot" if len(names) == 1 else f"none of its {len(names)} files can"
    return f'"{show_name(label)}": {files} be read ({shown}){others}'


def damaged_index(folder: Path, problem: Exception) -> DatasetError:
    return DatasetError(f"{folder / INDEX_NAME}: damaged ({str(problem)[:120]}); {rebuild_hint(folder)}")


def open_index(folder: Path) -> sqlite3.Connection:
    """Open the index, which must exist. It is opened for writing because a killed ingest leaves a journal to roll
    back."""
    index = sqlite3.connect(f"{(folder / INDEX_NAME).absolute().as_uri()}?mode=rw", uri=True, timeout=60)
    index.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MOST_VALUE_BYTES)
    index.execute("PRAGMA trusted_schema=OFF")
    return index


def read_meta(index: sqlite3.Connection, folder: Path) -> dict[str, str]:
    """The settings of a dataset; empty if it was never started. Raises DatasetError for a newer format, ValueError or
    TypeError for invalid values."""
    tables = {name: sql or "" for kind, name, sql in index.execute("SELECT type, name, sql FROM sqlite_master")}
    if not tables:
        return {}
    # Views and computed columns might never end.
    for name in _TABLES & tables.keys():
        if not _PLAIN_TABLE.fullmatch(tables[name]):
            raise DatasetError(f"{folder / INDEX_NAME}: {name} is not a plain table; {rebuild_hint(folder)}")
    if "meta" not in tables:
        raise DatasetError(f"{folder / INDEX_NAME}: not the index of a dataset; choose another folder")
    meta: dict[str, str] = {_text(key): _text(value) for key, value in index.execute("SELECT key, value FROM meta")}
    _texts(meta.get("sources", "[]"))
    version = meta.get("format_version", "?")
    if not version.isdecimal():
        raise DatasetError(f"{folder / INDEX_NAME}: not the index of a dataset; choose another folder")
    if int(version) > FORMAT_VERSION:
        what = f"dataset format {version} is not supported (this audiocnn reads formats up to {FORMAT_VERSION})"
        raise DatasetError(f"{folder}: {what}; update audiocnn")
    return meta


def moved_sources(meta: dict[str, str], folder: Path) -> tuple[str, ...]:
    """The present paths of the sources of a dataset, if they were moved together with its folder."""
    sources, before = _texts(meta.get("sources", "[]")), meta.get("folder", "")
    return tuple(path_beside(folder, before, source) or source for source in sources)


def name_to_sql(name: str) -> str | bytes:
    """Names that are not UTF-8 are stored as bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return os.fsencode(name)
    return name


def _read_index(folder: Path) -> tuple[dict[str, str], dict[str, list[tuple[Any, ...]]]]:
    index = open_index(folder)
    try:
        meta = read_meta(index, folder)
        if not meta:
            raise DatasetError(f"{folder}: its ingest was interrupted at the start; run it again to continue")
        version = int(meta["format_version"])
        newer = "labels, file_rate, file_channels" if version > 1 else "'', 0, 0"
        newer += ", scale" if version > 2 else ", 1.0"
        queries = {
            "recordings": f'SELECT id, filename, samples, label, annotated, "group", split, tags, {newer},'
            " shard, start, feature_shard, feature_start, frames FROM recordings ORDER BY filename",
            "annotations": "SELECT recording, onset, offset, label FROM annotations ORDER BY 1, 2, 3",
            "labels": "SELECT label FROM labels ORDER BY position",
            "refused": "SELECT filename, reason FROM refused ORDER BY filename, rowid",
        }
        return meta, {name: index.execute(query).fetchall() for name, query in queries.items()}
    finally:
        index.close()
