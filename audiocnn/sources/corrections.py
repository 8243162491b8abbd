"""What a recipe changes in what a source says: labels corrected by a person, and other groups.

A table of corrections has the columns `filename` and `label`, and any others. A label takes the place of all that the
clip had; an empty one, or "-", leaves the clip out.
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

LEFT_OUT = ("", "-")

Corrections = dict[str, tuple[str, ...]]
"""File name -> the labels that it has; none: it is left out."""


def read_corrections(path: Path, settings: DataSettings) -> Corrections:
    """A table of corrections. LabelError: a column is missing, or a clip has several labels where it may have one."""
    table = read_table(path)
    for column in ("filename", "label"):
        if column not in table.columns:
            near = did_you_mean(column, table.columns)
            raise LabelError(f'{show_name(path)}:1: no column "{column}"; {near}')
    # `evaluate --doubtful` puts ; between several labels, whatever the tables of the data have.
    several = settings.labels_per_clip == "several" and not settings.separator
    cells = replace(settings, separator=";") if several else settings
    found: Corrections = {}
    for line, row in table.rows:
        name = dcase.normal_name(row["filename"])
        cell = row["label"].strip()
        labels = () if cell in LEFT_OUT else labels_in_cell(cell, cells)
        labels = tuple(dict.fromkeys((*found.get(name, ()), *labels)))
        if len(labels) > 1 and settings.labels_per_clip == "one":
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
        labels = corrections.get(item.filename)
        if labels is None:
            kept.append(item)
        elif item.annotated and labels:
            refused.append((item.filename, f"{table} gives it a label, but its segments are marked; correct those"))
            kept.append(item)
        elif labels:
            kept.append(replace(item, label=labels[0], more=labels[1:]))
    return kept, refused


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
    used = {label for entry in entries for label in entry.labels}
    changed.labels = (*dataset.labels, *sorted(used - set(dataset.labels)))
    return changed


def _corrected(dataset: Dataset, settings: DataSettings) -> list[Entry]:
    if settings.corrections is None:
        return list(dataset.entries)
    corrections = read_corrections(settings.corrections, settings)
    known = {entry.filename for entry in dataset.entries}
    unknown = sorted(name for name, labels in corrections.items() if labels and name not in known)
    if unknown:
        what = f"{show_name(settings.corrections)} names {show_name(unknown[0])}"
        near = did_you_mean(unknown[0], known)
        raise RecipeError(f"{settings.where}: {what}, which is not in {dataset.folder}; {near}")
    kept = [entry for entry in dataset.entries if corrections.get(entry.filename, (None,))]
    return [
        replace(entry, label=corrections[entry.filename][0], labels=corrections[entry.filename])
        if entry.filename in corrections and not entry.annotated
        else entry
        for entry in kept
    ]


def _check_tag(dataset: Dataset, column: str, where: str) -> None:
    columns = {column for entry in dataset.entries for column in entry.tags}
    if column not in columns:
        near = did_you_mean(column, columns) if columns else "it has no columns"
        raise RecipeError(f'{where}: {dataset.folder} has no column "{column}"; {near}')
