"""Writing of datasets: crash-safe, one writer at a time, one block of samples in memory."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from audiocnn.audio.remote import Remote
from audiocnn.data.dataset import (
    FORMAT_VERSION,
    INDEX_NAME,
    damaged_index,
    name_to_sql,
    open_index,
    read_meta,
    whole_number,
)
from audiocnn.data.features import FeatureLayout, parse_layout
from audiocnn.data.parts import PartNotes
from audiocnn.data.shards import ShardWriter, Slice
from audiocnn.errors import DatasetError
from audiocnn.files import lock
from audiocnn.segments.segment import Annotation, composed

# `_begin` commits this together with the rows of `meta`.
_SCHEMA = """
BEGIN;
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE shards (kind TEXT, number INTEGER, length INTEGER, PRIMARY KEY (kind, number));
CREATE TABLE recordings (
    id INTEGER PRIMARY KEY, filename NOT NULL,
    path NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    shard INTEGER NOT NULL, start INTEGER NOT NULL, samples INTEGER NOT NULL,
    feature_shard INTEGER, feature_start INTEGER, frames INTEGER,
    label TEXT, annotated INTEGER NOT NULL DEFAULT 0, "group" NOT NULL DEFAULT '', split TEXT,
    tags TEXT NOT NULL DEFAULT '{}', digest TEXT NOT NULL DEFAULT '',
    labels TEXT NOT NULL DEFAULT '', file_rate INTEGER NOT NULL DEFAULT 0,
    file_channels INTEGER NOT NULL DEFAULT 0, scale REAL NOT NULL DEFAULT 1);
CREATE INDEX recordings_by_filename ON recordings (filename);
CREATE TABLE annotations (
    recording INTEGER NOT NULL REFERENCES recordings,
    onset REAL NOT NULL, offset REAL NOT NULL, label TEXT NOT NULL);
CREATE INDEX annotations_by_recording ON annotations (recording);
CREATE TABLE labels (label TEXT PRIMARY KEY, position INTEGER NOT NULL);
CREATE TABLE refused (filename NOT NULL, reason TEXT NOT NULL);
CREATE VIEW splits AS
    SELECT split, count(*) AS recordings, sum(samples) AS samples FROM recordings GROUP BY split;
CREATE VIEW groups AS
    SELECT "group", split, count(*) AS recordings FROM recordings GROUP BY "group", split;
"""
# Errors of the disk or of another process, with an intact index.
_DISK_FAULTS = (
    *(sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY),
    *(sqlite3.SQLITE_BUSY, sqlite3.SQLITE_NOMEM),
)
# Migrations from one version to the next.
_UPGRADES = {
    1: """
ALTER TABLE recordings ADD COLUMN labels TEXT NOT NULL DEFAULT '';
ALTER TABLE recordings ADD COLUMN file_rate INTEGER NOT NULL DEFAULT 0;
ALTER TABLE recordings ADD COLUMN file_channels INTEGER NOT NULL DEFAULT 0;
""",
    2: "ALTER TABLE recordings ADD COLUMN scale REAL NOT NULL DEFAULT 1;",
}


@dataclass(frozen=True, slots=True)
class Item:
    """One recording as a source describes it. `path` is the audio file or its address, `filename` its name in the
    dataset.

    whole: a label for all of its sound, which becomes annotations when the samples are read. more: labels of the whole
    clip besides `label`.
    """

    path: Path | Remote
    filename: str
    label: str | None = None
    annotated: bool = False
    annotations: tuple[Annotation, ...] = ()
    group: str = ""
    split: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    whole: str | None = None
    more: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Normalise labels to NFC, so that equal text is one label: macOS decomposes file names (NFD)."""
        for name in ("label", "whole"):
            if (label := getattr(self, name)) is not None:
                object.__setattr__(self, name, composed(label))
        object.__setattr__(self, "more", tuple(map(composed, self.more)))
        if any(one.label != composed(one.label) for one in self.annotations):
            notes = tuple(replace(one, label=composed(one.label)) for one in self.annotations)
            object.__setattr__(self, "annotations", notes)

    @property
    def labels(self) -> tuple[str, ...]:
        return () if self.label is None else (self.label, *self.more)

    def all_labels(self) -> set[str]:
        """All labels: of the clip, of its sound, and of its annotations."""
        return {*self.labels, *filter(None, [self.whole]), *(note.label for note in self.annotations)}

    def identity(self) -> tuple[int, int]:
        """The size in bytes and the modification time in ns of the file, used to notice changes; for an address, a hash
        instead of the time. Raises OSError or RecordingError."""
        if isinstance(self.path, Remote):
            return self.path.identity()
        status = self.path.stat()
        return status.st_size, status.st_mtime_ns

    def digest(self) -> str:
        """A hash of all that is stored about the recording, except its samples."""
        times = [(a.onset, a.offset, a.label) for a in self.annotations]
        facts: list[Any] = [self.filename, self.label, self.annotated, times, self.group, self.split, self.tags]
        facts += [self.whole] if self.whole else []
        facts += [list(self.more)] if self.more else []
        return hashlib.blake2b(json.dumps(facts).encode(), digest_size=16).hexdigest()


class StoredRecording(NamedTuple):
    id: int
    filename: str
    path: str
    size: int
    mtime_ns: int
    samples: int
    has_features: bool
    digest: str


class DatasetWriter:
    """Creates or continues a dataset; a context manager. Additions become visible with `commit`.

    features: layout of the features to store; None for what the dataset has already, if anything. Raises DatasetError
    for a folder with other content, another rate or channel count, or a second writer.
    """

    def __init__(self, folder: Path, sample_rate: int, channels: int, features: FeatureLayout | None = None) -> None:
        self.folder, self.features = folder, features
        self.meta: dict[str, str] = {}
        self._lock = _lock_folder(folder)
        index: sqlite3.Connection | None = None
        try:
            (folder / INDEX_NAME).touch()
            self._index = index = open_index(folder)
            self._begin({"sample_rate": str(sample_rate), "channels": str(channels)})
            self._samples = ShardWriter(folder, "samples", channels, "<i2", self._lengths("samples"))
            self._features: ShardWriter | None = None
            if self.features is not None:
                rows = channels * self.features.input.bands
                self._features = ShardWriter(folder, "features", rows, "<f4", self._lengths("features"))
        except BaseException as error:
            if index is not None:
                index.close()
            self._lock.close()
            is_disk = isinstance(error, sqlite3.DatabaseError) and error.sqlite_errorcode & 0xFF in _DISK_FAULTS
            if isinstance(error, (sqlite3.DatabaseError, ValueError, TypeError, KeyError)) and not is_disk:
                raise damaged_index(folder, error) from None
            raise

    def __enter__(self) -> DatasetWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # After an error, the rows of a recording may be incomplete, so uncommitted changes are rolled back. A closed
        # generator stands between two recordings.
        self.close(keep=kind in (None, GeneratorExit))

    def close(self, keep: bool = True) -> None:
        """Commit, or with `keep` false roll back, and close."""
        try:
            if keep:
                self.commit()
            else:
                self._index.rollback()
            for _, shards in self._shards():
                shards.close(keep)
        finally:
            self._index.close()
            self._lock.close()

    def stored(self) -> list[StoredRecording]:
        rows = self._index.execute(
            "SELECT id, filename, path, size, mtime_ns, samples, feature_shard, digest FROM recordings"
        )
        try:
            return [
                StoredRecording(
                    *(number, os.fsdecode(name), os.fsdecode(path), size, mtime),
                    *(whole_number(samples), shard is not None, digest),
                )
                for number, name, path, size, mtime, samples, shard, digest in rows
            ]
        except (sqlite3.Error, TypeError, ValueError) as error:
            raise damaged_index(self.folder, error) from None

    def add(
        self,
        item: Item,
        identity: tuple[int, int],
        parts: Iterable[NDArray[np.int16]],
        file_format: tuple[int, int] = (0, 0),
        scale: float = 1.0,
    ) -> tuple[int, int]:
        """Store consecutive int16 (channels, n) parts as one recording, described in the next call; return its id and
        samples.

        identity: see `Item.identity`. file_format: rate in Hz and channels of the file. scale: see `Entry.scale`. If
        reading the parts fails, nothing is stored.
        """
        rows = self._samples.append(part.T for part in parts)
        cursor = self._index.execute(
            "INSERT INTO recordings"
            " (filename, path, size, mtime_ns, file_rate, file_channels, scale, shard, start, samples)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (name_to_sql(item.filename), name_to_sql(str(item.path)), *identity, *file_format, scale, *rows),
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid, rows.length

    def describe(self, number: int, item: Item, digest: str) -> None:
        """Set all facts about a recording except its samples. Annotations must lie within the recording.

        digest: of the item as the source gave it, before annotations were fitted.
        """
        name, path = name_to_sql(item.filename), name_to_sql(str(item.path))
        labels = json.dumps(item.labels) if item.more else ""
        facts = (item.label, labels, item.annotated, item.group or name, item.split, json.dumps(item.tags), digest)
        self._index.execute(
            "UPDATE recordings SET filename=?, path=?, label=?, labels=?, annotated=?,"
            ' "group"=?, split=?, tags=?, digest=? WHERE id=?',
            (name, path, *facts, number),
        )
        self._index.execute("DELETE FROM annotations WHERE recording=?", (number,))
        rows = [(number, a.onset, a.offset, a.label) for a in item.annotations]
        self._index.executemany("INSERT INTO annotations VALUES (?, ?, ?, ?)", rows)

    def samples(self, number: int) -> NDArray[np.int16]:
        """int16 (channels, samples) of a stored recording, in its own scale."""
        row = self._index.execute("SELECT shard, start, samples FROM recordings WHERE id=?", (number,)).fetchone()
        return self._samples.view(Slice(*row))

    def scale(self, number: int) -> float:
        (scale,) = self._index.execute("SELECT scale FROM recordings WHERE id=?", (number,)).fetchone()
        return float(scale)

    def add_features(self, number: int, parts: Iterable[NDArray[np.float32]]) -> None:
        """Store float32 (frames, channels * bands) parts as the features of a stored recording."""
        assert self._features is not None
        written = self._features.append(parts)
        self._index.execute(
            "UPDATE recordings SET feature_shard=?, feature_start=?, frames=? WHERE id=?", (*written, number)
        )

    def refuse(self, filename: str, reason: str) -> None:
        self._index.execute("INSERT INTO refused VALUES (?, ?)", (name_to_sql(filename), reason))

    def remove(self, number: int) -> None:
        """Remove a recording from the index. Its samples remain until their shard holds nothing else."""
        self._index.execute("DELETE FROM annotations WHERE recording=?", (number,))
        self._index.execute("DELETE FROM recordings WHERE id=?", (number,))

    def start_again(self, sources: Iterable[str] = ()) -> None:
        """Mark the dataset as unfinished, made from these sources, until `finish`; clear the list of refused files."""
        self._set_meta(complete="0", sources=json.dumps(list(sources)), folder=str(self.folder.resolve()))
        self._index.execute("DELETE FROM refused")

    def finish(
        self,
        labels: Iterable[str],
        sources: Iterable[str],
        several: bool = False,
        unsure: str = "",
        parts: PartNotes = PartNotes(),  # noqa: B008
        lost: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Mark the dataset as complete and remove empty shards. several: a clip may have several labels. unsure: the
        label of segments whose content is unknown. parts: how the parts of the sources were interpreted. lost: see
        `Dataset.lost`."""
        self._index.execute("DELETE FROM labels")
        self._index.executemany("INSERT INTO labels VALUES (?, ?)", [(name, i) for i, name in enumerate(labels)])
        per_clip = "several" if several else "one"
        said = json.dumps(
            [parts.parts, parts.folds, parts.said, *([one.line, *one.labels] for one in parts.unused)],
            ensure_ascii=True,
        )
        known = {"sources": json.dumps(list(sources)), "labels_per_clip": per_clip, "unsure": unsure, "parts": said}
        self._set_meta(complete="1", lost=json.dumps(dict(lost or {})), **known)
        self.commit()
        for kind, shards in self._shards():
            column = {"samples": "shard", "features": "feature_shard"}[kind]
            query = f"SELECT DISTINCT {column} FROM recordings WHERE {column} IS NOT NULL"
            used = {number for (number,) in self._index.execute(query)}
            empty = [(kind, number) for number in set(shards.lengths) - used]
            self._index.executemany("DELETE FROM shards WHERE kind=? AND number=?", empty)
            self._index.commit()
            shards.drop(used)

    def commit(self) -> None:
        """Flush samples and features to disk, then make all of them visible at once."""
        for kind, shards in self._shards():
            shards.flush()
            rows = [(kind, number, length) for number, length in shards.lengths.items()]
            self._index.executemany("INSERT OR REPLACE INTO shards VALUES (?, ?, ?)", rows)
        self._index.commit()

    def _begin(self, wanted: dict[str, str]) -> None:
        self.meta = read_meta(self._index, self.folder)
        if not self.meta:
            self._index.executescript(_SCHEMA)
            self._set_meta(format_version=str(FORMAT_VERSION), complete="0", **wanted)
        for version in range(whole_number(int(self.meta["format_version"]), least=1), FORMAT_VERSION):
            self._index.executescript(f"BEGIN;{_UPGRADES[version]}")
            self._set_meta(format_version=str(version + 1))
        for key, value in wanted.items():
            have = self.meta.get(key, "?")
            if have != value:
                what = f"made with {key.replace('_', ' ')} {have}, but {value} was requested"
                raise DatasetError(f"{self.folder}: {what}; choose another folder")
        kept = parse_layout(self.meta.get("features", ""))
        if self.features is None:
            self.features = kept
        elif self.features != kept:
            self._index.execute("UPDATE recordings SET feature_shard=NULL, feature_start=NULL, frames=NULL")
            self._index.execute("DELETE FROM shards WHERE kind='features'")
            # Versions that stored other features use `feature_rows` to decide whether to continue with them.
            self._set_meta(features=self.features.to_json(), feature_rows="0")
        self._index.commit()

    def _shards(self) -> Iterator[tuple[str, ShardWriter]]:
        yield "samples", self._samples
        if self._features is not None:
            yield "features", self._features

    def _set_meta(self, **values: str) -> None:
        self._index.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", list(values.items()))
        self.meta = {**self.meta, **values}

    def _lengths(self, kind: str) -> dict[int, int]:
        rows: list[Any] = self._index.execute("SELECT number, length FROM shards WHERE kind=?", (kind,)).fetchall()
        return {whole_number(number): whole_number(length) for number, length in rows}


def _lock_folder(folder: Path) -> IO[str]:
    """Create the folder if needed, and lock it for this writer until the file is closed or the process ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        inside = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
        if inside and INDEX_NAME not in inside:
            raise DatasetError(f"{folder}: contains something other than a dataset; choose a new or empty folder")
        file = (folder / ".lock").open("a")
    except OSError as error:
        raise DatasetError(f"{folder}: cannot be written ({error.strerror}); choose another folder") from None
    if lock(file.fileno()) is False:
        file.close()
        raise DatasetError(f"{folder}: another ingest is writing to it; wait until it ends")
    return file
