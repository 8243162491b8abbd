"""A set: the dataset that a file of conditions and a part make of recordings, with the truth of every mixture.

Mixture `k` of a condition depends on the seed, the part, the condition's name and `k` alone, so that other conditions
and counts leave it as it is. A set is made once, and made again when the conditions or the recordings have changed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from audiocnn.condition_mixtures import Maker, Mixture, has, read
from audiocnn.conditions import Condition, Conditions
from audiocnn.cutting import cut_by_group, kind_by
from audiocnn.dataset import Dataset, Entry, as_int16, connect
from audiocnn.dataset_writer import DatasetWriter, Item
from audiocnn.errors import DatasetError
from audiocnn.ingest import IngestSettings, cached_dataset
from audiocnn.labels import Annotation
from audiocnn.sources import read_source

VERSION = 2  # counts up when the same conditions make other sets
MADE_OF = ".conditions"  # in the folder of a set: what it was made of
SOURCES = ".sources"  # in it, while it is made: what conditions take from elsewhere, ingested

Follow = Callable[[int, int, str], None]  # so many of so many are done, the last of this name


def part_entries(conditions: Conditions, dataset: Dataset, part: str) -> list[Entry]:
    """The recordings that a part is made of. DatasetError: there are none.

    What is held out is what `training` holds out of the same recordings: the groups that come first by a fixed order.
    """
    wanted, data = conditions.part(part), conditions.data
    dropped = [{column: values} for column, values in data.drop.items()]
    chosen = [e for e in dataset.entries if has(e, data.keep) and not any(has(e, one) for one in dropped)]
    # A recording of no split is learned from: it may be held out, and it is in no other part.
    splits = (wanted.split, None) if wanted.held_out else (wanted.split,)
    entries = [entry for entry in chosen if entry.split in splits]
    if entries and wanted.held_out:
        kind = kind_by(dataset, data.labels or (), conditions.balance)
        entries = cut_by_group(entries, wanted.held_out, kind, bool(conditions.balance))[1]
    if not entries:
        what = f'has no recording for part "{part}" of {conditions.where} (split "{wanted.split}")'
        raise DatasetError(f"{dataset.folder}: {what}; ingest what its [data] names")
    return entries


def make_set(
    conditions: Conditions, dataset: Dataset, part: str, folder: Path, follow: Follow | None = None
) -> Dataset:
    """The set of a part, made into `folder` unless it is there already. DatasetError: `folder` holds something else.

    Tags: condition; of mixtures source and language of the voice, snr_db, background, background_file; of recordings as
    they are, their own.
    """
    entries = part_entries(conditions, dataset, part)
    wanted = [one for one in conditions.conditions if not one.parts or part in one.parts]
    made_of, marker = digest(conditions, wanted, dataset, part, entries), folder / MADE_OF
    maker = Maker(dataset, entries, conditions.data.labels or (), conditions.balance)
    try:
        if marker.is_file():
            if marker.read_text() == made_of:
                with contextlib.suppress(DatasetError):  # it was not finished
                    return Dataset.open(folder)
            shutil.rmtree(folder)
        elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            what = f"holds something else than a set of {conditions.where}"
            raise DatasetError(f"{folder}: {what}; choose another folder")
        folder.mkdir(parents=True, exist_ok=True)
        marker.write_text(made_of)
        fill(folder, conditions, wanted, maker, part, follow)
    except (OSError, sqlite3.Error) as error:
        raise DatasetError(f"{folder}: cannot be written ({error}); make room, or choose another folder") from None
    return Dataset.open(folder)


def fill(
    folder: Path, conditions: Conditions, wanted: Sequence[Condition], maker: Maker, part: str, follow: Follow | None
) -> None:
    """Write the set of a part into an empty folder."""
    labels = conditions.data.labels or ()
    steps: list[tuple[Condition, int | tuple[Dataset, Entry]]] = []
    for condition in wanted:
        if condition.as_they_are is None:
            steps += [(condition, number) for number in range(condition.mix.mixtures)]
        else:
            steps += [(condition, one) for one in whole_recordings(condition, maker, folder)]
    with DatasetWriter(folder, maker.rate, 1) as writer:
        writer.start_again()
        for done, (condition, what) in enumerate(steps, start=1):
            if isinstance(what, int):
                name = f"{condition.name}/{what:04d}"
                made = maker.mixture(condition.mix, conditions.seed, part, condition.name, what)
            else:
                name, made = f"{condition.name}/{what[1].filename}", as_it_is(*what, labels)
            kind = "mixture" if condition.as_they_are is None else condition.name
            tags = {"source": condition.name, "kind": kind, **made.tags, "condition": condition.name}
            item = Item(Path(name), name, None, True, made.annotations, made.group, part, tags)
            number, _ = writer.add(item, (0, 0), [made.samples])
            writer.describe(number, item, item.digest())
            if follow is not None:
                follow(done, len(steps), name)
        shutil.rmtree(folder / SOURCES, ignore_errors=True)
        writer.finish(labels, [conditions.where])


def whole_recordings(condition: Condition, maker: Maker, folder: Path) -> list[tuple[Dataset, Entry]]:
    """The recordings that a condition takes as they are."""
    dataset, entries = maker.dataset, maker.entries
    if condition.source is not None:
        settings = IngestSettings(sample_rate=maker.rate, replace=True)
        dataset = cached_dataset(condition.source, folder / SOURCES / condition.name, settings)
        entries = dataset.entries
    asked = condition.as_they_are or {}
    found = [(dataset, entry) for entry in entries if entry.annotated and entry.samples > 0 and has(entry, asked)]
    if not found:
        raise DatasetError(f'{dataset.folder}: no recording for condition "{condition.name}"; ask for others')
    return found


def as_it_is(dataset: Dataset, entry: Entry, labels: Sequence[str]) -> Mixture:
    """A recording as an entry of a set."""
    notes = tuple(note for note in dataset.annotations(entry) if note.label in labels)
    samples = as_int16(read(dataset, entry, 0, entry.samples))[None, :]
    return Mixture(samples, notes, entry.group, entry.tags)


def digest(
    conditions: Conditions, wanted: Sequence[Condition], dataset: Dataset, part: str, entries: Sequence[Entry]
) -> str:
    """Equal where a set would come out the same: by the settings, and all that is known of the recordings and their
    files, which an ingest, too, takes for unchanged by size and time."""
    index = connect(dataset.folder)
    try:
        files = {number: known for number, *known in index.execute("SELECT id, size, mtime_ns FROM recordings")}
    finally:
        index.close()
    said: list[Any] = [VERSION, conditions.seed, conditions.balance, conditions.data.labels, dataset.sample_rate, part]
    for entry in entries:
        own = [entry.filename, entry.samples, files[entry.id], entry.group, entry.tags]
        said.append([own, times(dataset.annotations(entry))])
    for one in wanted:
        said.append(dataclasses.asdict(dataclasses.replace(one, source=None, parts=())))
        items = read_source(one.source).items if one.source is not None else []
        said += [[item.digest(), *item.identity()] for item in items]
    return hashlib.blake2b(json.dumps(said).encode(), digest_size=16).hexdigest()


def times(annotations: Sequence[Annotation]) -> list[tuple[float, float, str]]:
    """As JSON has them."""
    return [(note.onset, note.offset, note.label) for note in annotations]
