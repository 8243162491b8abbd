"""What a recipe changes in what a source says: labels corrected by a person, and other groups.

A table of corrections has the columns `filename` and `label`, and any others. A label takes the place of all that the
clip had; "-" leaves the clip out. An empty one leaves it out, too, where clips have one label; where they have several,
which stand between semicolons, it says that the clip has none of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from audiocnn.dataset import Dataset, Entry
from audiocnn.dataset_writer import Item
from audiocnn.errors import LabelError, RecipeError, did_you_mean
from audiocnn.filenames import show_name
from audiocnn.formats import dcase
from audiocnn.formats.delimited import read_table
from audiocnn.sources.grouping import groups_by_pattern
from audiocnn.sources.settings import DEFAULT_GROUP, FILENAME_GROUP, DataSettings
from audiocnn.sources.tables import Refused, labels_in_cell

LEFT_OUT = "-"
SHOWN = 5  # of new labels
SEPARATOR = ";"  # as `evaluate --doubtful` writes it, whatever the tables of the data have

Corrections = dict[str, tuple[str, ...] | None]
"""File name -> the labels that it has; None: it is left out."""


def read_corrections(path: Path, settings: DataSettings) -> Corrections:
    """A table of corrections. LabelError: a column is missing, or a clip has several labels where it may have one."""
    table = read_table(path)
    for column in ("filename", "label"):
        if column not in table.columns:
            near = did_you_mean(column, table.columns)
            raise LabelError(f'{show_name(path)}:1: no column "{column}"; {near}')
    several = settings.labels_per_clip == "several"
    cells = replace(settings, separator=SEPARATOR if several else "")
    found: Corrections = {}
    for line, row in table.rows:
        if not row["filename"].strip():
            raise LabelError(f"{show_name(path)}:{line}: found no file name; give it one, or remove the row")
        name = dcase.normal_name(row["filename"])
        cell = row["label"].strip()
        if cell == LEFT_OUT or not (cell or several):
            found.setdefault(name, None)
            continue
        labels = tuple(dict.fromkeys((*(found.get(name) or ()), *labels_in_cell(cell, cells))))
        if len(labels) > 1 and not several:
            raise LabelError(f"{show_name(path)}:{line}: {name} has {len(labels)} labels; keep one")
        found[name] = labels
    return found


def correct_items(items: Sequence[Item], settings: DataSettings) -> tuple[list[Item], Refused]:
    """Items with the labels that the corrections give them, without those they leave out; and what is wrong with
    them."""
    if settings.corrections is None:
        return list(items), []
    corrections = read_corrections(settings.corrections, settings)
    table = show_name(settings.corrections)
    refused = [
        (name, f"{table} names it, but there is no such recording; correct the name")
        for name in sorted(corrections.keys() - {item.filename for item in items})
    ]
    kept: list[Item] = []
    for item in items:
        labels = corrections.get(item.filename, item.labels)
        if item.filename not in corrections:
            kept.append(item)
        elif labels is None:
            continue
        elif item.annotated:
            refused.append((item.filename, f"{table} gives it a label, but its segments are marked; correct those"))
            kept.append(item)
        else:
            kept.append(replace(item, label=labels[0] if labels else None, more=labels[1:]))
    return kept, refused


def changes_line(before: Sequence[Item | Entry], after: Sequence[Item | Entry]) -> str:
    """What corrections did, from the same recordings without them and with them."""
    labels = {one.filename: set(one.labels) for one in before}
    changed = sum(labels[one.filename] != set(one.labels) for one in after)
    left_out = len(before) - len(after)
    new = sorted({label for one in after for label in one.labels}.difference(*labels.values()))
    said = [f"{_count(changed, 'clip')} relabelled"] if changed or not left_out else []
    said += [f"{_count(left_out, 'clip')} left out"] if left_out else []
    said += [f"{_count(len(new), 'new label')}: {', '.join(new[:SHOWN])}{' ...' if new[SHOWN:] else ''}"] if new else []
    return f"corrections: {', '.join(said)}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def regroup_items(items: Sequence[Item], settings: DataSettings) -> list[Item]:
    """Items with the groups that a pattern finds in their names."""
    if settings.group_pattern is None:
        return list(items)
    groups = groups_by_pattern([item.filename for item in items], settings.group_pattern, settings.where)
    return [replace(item, group=group) for item, group in zip(items, groups, strict=True)]


def apply_settings(dataset: Dataset, settings: DataSettings) -> Dataset:
    """A dataset that was made before, with the corrections and groups of a recipe; nothing on the disk changes.

    RecipeError: a column that it has not, a pattern that fits no name, corrections that name none of its recordings.
    """
    if dataset.several:
        settings = replace(settings, labels_per_clip="several")
    entries = _corrected(dataset, settings)
    if settings.group_pattern is not None:
        names = [entry.filename for entry in entries]
        groups = groups_by_pattern(names, settings.group_pattern, settings.where)
        entries = [replace(entry, group=group or entry.filename) for entry, group in zip(entries, groups, strict=True)]
    elif settings.group == FILENAME_GROUP:
        entries = [replace(entry, group=entry.filename) for entry in entries]
    elif settings.group != DEFAULT_GROUP:
        _check_tag(dataset, settings.group, settings.where)
        entries = [replace(entry, group=entry.tags.get(settings.group) or entry.filename) for entry in entries]
    if settings.fold is not None:
        _check_tag(dataset, settings.fold, settings.where)
    changed = dataset.with_entries(entries)
    before, used = _used(dataset, dataset.entries), _used(dataset, entries)
    kept = [label for label in dataset.labels if label in used or label not in before]
    changed.labels = (*kept, *sorted(used - set(dataset.labels)))
    return changed


def _used(dataset: Dataset, entries: Sequence[Entry]) -> set[str]:
    """The labels that clips or their segments have."""
    marks = (note.label for entry in entries for note in dataset.annotations(entry))
    return {label for entry in entries for label in entry.labels}.union(marks)


def _corrected(dataset: Dataset, settings: DataSettings) -> list[Entry]:
    if settings.corrections is None:
        return list(dataset.entries)
    corrections = read_corrections(settings.corrections, settings)
    known = {entry.filename for entry in dataset.entries}
    unknown = sorted(name for name, labels in corrections.items() if labels is not None and name not in known)
    if unknown:
        what = f"{show_name(settings.corrections)} names {show_name(unknown[0])}"
        near = did_you_mean(unknown[0], known)
        raise RecipeError(f"{settings.where}: {what}, which is not in {dataset.folder}; {near}")
    kept = []
    for entry in dataset.entries:
        labels = corrections.get(entry.filename, entry.labels)
        if labels is None:
            continue
        if entry.filename in corrections and not entry.annotated:
            entry = replace(entry, label=labels[0] if labels else None, labels=labels)
        kept.append(entry)
    return kept


def _check_tag(dataset: Dataset, column: str, where: str) -> None:
    columns = {column for entry in dataset.entries for column in entry.tags}
    if column not in columns:
        near = did_you_mean(column, columns) if columns else "it has no columns"
        raise RecipeError(f'{where}: {dataset.folder} has no column "{column}"; {near}')
