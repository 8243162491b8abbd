"""A test set: the dataset that a conditions file makes from the recordings of a part, with the reference of each
mixture.

Mixture `k` of a condition depends only on the seed, the part, the name of the condition and `k`, so that other
conditions and counts do not change it. A set is made once, and made again if the conditions or the recordings have
changed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import re
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from audiocnn.data.dataset import Dataset, Entry, as_int16, open_index
from audiocnn.data.ingest import IngestSettings, cached_dataset
from audiocnn.data.sources import read_source
from audiocnn.data.splits import hold_out_groups, stratum_by
from audiocnn.data.writer import DatasetWriter, Item
from audiocnn.errors import DatasetError, RecipeError, show_name
from audiocnn.evaluation.conditions import Condition, Conditions
from audiocnn.evaluation.mixtures import Mixture, MixtureMaker, matches_tags, read_mono
from audiocnn.labels.formats.base import Labels
from audiocnn.labels.formats.dcase import Dcase

_VERSION = 2  # increase when the same conditions make different sets
MADE_OF = ".conditions"  # in the folder of a set: what it was made of
SOURCES = ".sources"  # inside it, while it is made: ingested sources of conditions
_SET_FILES = re.compile(
    rf"{re.escape(MADE_OF)}|{re.escape(SOURCES)}|[.]lock|index[.]sqlite(-journal|-wal|-shm)?|samples-[0-9]{{5,}}[.]npy"
)
_Follow = Callable[[int, int, str], None]
"""How many are done, how many there are, and the name of the last."""


def part_entries(conditions: Conditions, dataset: Dataset, part: str) -> list[Entry]:
    """The recordings that a part is made from. DatasetError if there are none.

    The held-out groups are those that a training holds out of these recordings: the first ones in a fixed order.
    """
    wanted, data = conditions.part(part), conditions.data
    dropped = [{column: values} for column, values in data.drop.items()]
    kept = [entry for entry in dataset.entries if matches_tags(entry, data.keep)]
    chosen = [entry for entry in kept if not any(matches_tags(entry, one) for one in dropped)]
    # A recording without a split is used for training: it may be held out, and is in no other part.
    splits = (wanted.split, None) if wanted.held_out else (wanted.split,)
    entries = [entry for entry in chosen if entry.split in splits]
    if entries and wanted.held_out:
        kind = stratum_by(dataset, data.labels or (), conditions.balance)
        entries = hold_out_groups(entries, wanted.held_out, kind, bool(conditions.balance))[1]
    if not entries:
        what = f'has no recording for part "{part}" of {conditions.where} (split "{wanted.split}")'
        raise DatasetError(f"{dataset.folder}: {what}; ingest the sources named in its [data]")
    return entries


def make_set(
    conditions: Conditions, dataset: Dataset, part: str, folder: Path, follow: _Follow | None = None
) -> Dataset:
    """The set of a part, made in `folder` unless it exists already. DatasetError if `folder` has other contents.

    Tags: condition; for mixtures source and language of the voice, snr_db, background, background_file; for unmixed
    recordings, their own tags.
    """
    entries = part_entries(conditions, dataset, part)
    sounding = conditions.sounding_part(part)
    wanted = [one for one in conditions.conditions if not one.parts or {part, sounding} & set(one.parts)]
    judge = read_judge(conditions, part, entries)
    maker = MixtureMaker(dataset, entries, conditions.data.labels or (), conditions.balance, judge)
    made_of, marker = _digest(conditions, wanted, maker, part), folder / MADE_OF
    try:
        if marker.is_file():
            if marker.read_text() == made_of:
                with contextlib.suppress(DatasetError):  # it may be unfinished
                    return Dataset.open(folder)
            _remove_set(folder)
        elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            what = f"does not contain a set of {conditions.where}"
            raise DatasetError(f"{folder}: {what}; choose another folder")
        folder.mkdir(parents=True, exist_ok=True)
        marker.write_text(made_of)
        _fill(folder, conditions, wanted, maker, part, follow)
    except (OSError, sqlite3.Error) as error:
        raise DatasetError(f"{folder}: cannot be written ({error}); free space, or choose another folder") from None
    return Dataset.open(folder)


def read_judge(conditions: Conditions, part: str, entries: Sequence[Entry]) -> Labels:
    """The reference of the recordings of a part, by filename, if the part has a table for it. RecipeError if the table
    lists none of them."""
    path = conditions.part(part).judge
    if path is None:
        return {}
    judge = Dcase.read_annotations(path)
    if not any(entry.filename in judge for entry in entries):
        raise RecipeError(f'{conditions.where}: part "{part}": {show_name(path)} lists none of its recordings')
    return judge


def _remove_set(folder: Path) -> None:
    """Remove a set to be made again. DatasetError, and nothing is removed, if there are other files."""
    foreign = next((path for path in sorted(folder.iterdir()) if not _SET_FILES.fullmatch(path.name)), None)
    if foreign is not None:
        what = f"is a set of other recordings, and contains other files, such as {show_name(foreign.name)}"
        raise DatasetError(f"{folder}: {what}; move them, or choose another folder")
    shutil.rmtree(folder)


def _fill(
    folder: Path,
    conditions: Conditions,
    wanted: Sequence[Condition],
    maker: MixtureMaker,
    part: str,
    follow: _Follow | None,
) -> None:
    labels = conditions.data.labels or ()
    steps: list[tuple[Condition, int | tuple[Dataset, Entry]]] = []
    for condition in wanted:
        if condition.as_they_are is None:
            steps += [(condition, number) for number in range(condition.mix.mixtures)]
        else:
            steps += [(condition, one) for one in _whole_recordings(condition, maker, folder)]
    with DatasetWriter(folder, maker.rate, 1) as writer:
        writer.start_again()
        for done, (condition, what) in enumerate(steps, start=1):
            if isinstance(what, int):
                name = f"{condition.name}/{what:04d}"
                sounding = conditions.sounding_part(part)
                made = maker.mixture(condition.mix, conditions.seed, sounding, condition.name, what)
            else:
                name, made = f"{condition.name}/{what[1].filename}", unmixed(*what, maker)
            kind = "mixture" if condition.as_they_are is None else condition.name
            tags = {"source": condition.name, "kind": kind, **made.tags, "condition": condition.name}
            item = Item(Path(name), name, None, True, made.annotations, made.group, part, tags)
            number, _ = writer.add(item, (0, 0), [made.samples], scale=made.scale)
            writer.describe(number, item, item.digest())
            if follow is not None:
                follow(done, len(steps), name)
        shutil.rmtree(folder / SOURCES, ignore_errors=True)
        writer.finish(labels, [conditions.where], unsure=maker.dataset.unsure)


def _whole_recordings(condition: Condition, maker: MixtureMaker, folder: Path) -> list[tuple[Dataset, Entry]]:
    dataset, entries = maker.dataset, maker.entries
    if condition.source is not None:
        settings = IngestSettings(sample_rate=maker.rate, replace=True)
        dataset = cached_dataset(condition.source, folder / SOURCES / condition.name, settings)
        entries = dataset.entries
    wanted = condition.as_they_are or {}
    known = [entry for entry in entries if entry.annotated and entry.samples > 0]
    found = [(dataset, entry) for entry in known if matches_tags(entry, wanted)]
    if not found:
        raise DatasetError(f'{dataset.folder}: no recording matches condition "{condition.name}"; change the condition')
    return found


def unmixed(dataset: Dataset, entry: Entry, maker: MixtureMaker) -> Mixture:
    """A recording without mixing. If it is from another dataset than that of the maker, with that dataset's
    reference."""
    if dataset is maker.dataset:
        notes = tuple(maker.annotations(entry))
    else:
        unsure = {dataset.unsure: maker.dataset.unsure} if dataset.unsure and maker.dataset.unsure else {}
        renamed = [replace(note, label=unsure.get(note.label, note.label)) for note in dataset.annotations(entry)]
        notes = tuple(note for note in renamed if note.label in {*maker.labels, *unsure.values()})
    samples = as_int16(read_mono(dataset, entry, 0, entry.samples), entry.scale)[None, :]
    return Mixture(samples, notes, entry.group, entry.tags, entry.scale)


def _digest(conditions: Conditions, wanted: Sequence[Condition], maker: MixtureMaker, part: str) -> str:
    """Equal if a set would come out the same. Depends on the settings, the annotations and the files, which count as
    unchanged if size and time are the same, as in an ingest."""
    dataset, entries = maker.dataset, maker.entries
    index = open_index(dataset.folder)
    try:
        files = {number: known for number, *known in index.execute("SELECT id, size, mtime_ns FROM recordings")}
    finally:
        index.close()
    labels = conditions.data.labels
    facts: list[Any] = [_VERSION, conditions.seed, conditions.balance, labels, dataset.sample_rate, part]
    for entry in entries:
        own = [entry.filename, entry.samples, files[entry.id], entry.group, entry.tags]
        annotations = [(note.onset, note.offset, note.label) for note in dataset.annotations(entry)]
        facts.append([own, annotations])
        if maker.judge:
            facts.append([(note.onset, note.offset, note.label) for note in maker.annotations(entry)])
    for one in wanted:
        facts.append(dataclasses.asdict(dataclasses.replace(one, source=None, parts=())))
        items = read_source(one.source).items if one.source is not None else []
        facts += [[item.digest(), *item.identity()] for item in items]
    return hashlib.blake2b(json.dumps(facts).encode(), digest_size=16).hexdigest()
