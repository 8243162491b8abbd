"""Changes by a recipe to the items of a source or the entries of a dataset: corrected labels, and other groups.

A table of corrections has the columns `filename` and `label`, and any others. A label replaces all labels of the clip;
"-" leaves the clip out. If clips have one label each, an empty label leaves the clip out, too. If they have several,
separated by semicolons, an empty label means that the clip has none of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from audiocnn.data.dataset import Dataset, Entry
from audiocnn.data.sources.settings import DEFAULT_GROUP, FILENAME_GROUP, DataSettings, groups_by_pattern
from audiocnn.data.sources.tables import Refused, labels_in_cell
from audiocnn.data.writer import Item
from audiocnn.errors import LabelError, RecipeError, did_you_mean, show_name
from audiocnn.labels.formats import dcase
from audiocnn.labels.formats.text import read_table
from audiocnn.units import count_noun

_LEFT_OUT = "-"
_MOST_EXAMPLES = 5  # new labels
LABEL_SEPARATOR = ";"  # as `evaluate --doubtful` writes it, whatever the tables of the data have
_Corrections = dict[str, tuple[str, ...] | None]
"""File name -> its labels; None: it is left out."""


def read_corrections(path: Path, settings: DataSettings) -> _Corrections:
    """A table of corrections. LabelError: a column is missing, or a clip has several labels where it may have one."""
    table = read_table(path)
    for column in ("filename", "label"):
        if column not in table.columns:
            near = did_you_mean(column, table.columns)
            raise LabelError(f'{show_name(path)}:1: no column "{column}"; {near}')
    several = settings.labels_per_clip == "several"
    cells = replace(settings, separator=LABEL_SEPARATOR if several else "")
    found: _Corrections = {}
    for line, row in table.rows:
        if not row["filename"].strip():
            raise LabelError(f"{show_name(path)}:{line}: found no file name; give it one, or remove the row")
        name = dcase.normal_name(row["filename"])
        cell = row["label"].strip()
        if cell == _LEFT_OUT or not (cell or several):
            found.setdefault(name, None)
            continue
        labels = tuple(dict.fromkeys((*(found.get(name) or ()), *labels_in_cell(cell, cells))))
        if len(labels) > 1 and not several:
            raise LabelError(f"{show_name(path)}:{line}: {name} has {len(labels)} labels; keep one")
        found[name] = labels
    return found


def correct_items(items: Sequence[Item], settings: DataSettings) -> tuple[list[Item], Refused]:
    """Items with corrected labels, without those that are left out; and corrections that could not be applied."""
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


def describe_changes(before: Sequence[Item | Entry], after: Sequence[Item | Entry]) -> str:
    labels = {one.filename: set(one.labels) for one in before}
    changed = sum(labels[one.filename] != set(one.labels) for one in after)
    left_out = len(before) - len(after)
    new = sorted({label for one in after for label in one.labels}.difference(*labels.values()))
    parts = [f"{count_noun(changed, 'clip')} relabelled"] if changed or not left_out else []
    parts += [f"{count_noun(left_out, 'clip')} left out"] if left_out else []
    if new:
        names = ", ".join(new[:_MOST_EXAMPLES]) + (" ..." if new[_MOST_EXAMPLES:] else "")
        parts.append(f"{count_noun(len(new), 'new label')}: {names}")
    return f"corrections: {', '.join(parts)}"


def regroup_items(items: Sequence[Item], settings: DataSettings) -> list[Item]:
    """Items with the groups that `group_pattern` finds in their names."""
    if settings.group_pattern is None:
        return list(items)
    groups = groups_by_pattern([item.filename for item in items], settings.group_pattern, settings.where)
    return [replace(item, group=group) for item, group in zip(items, groups, strict=True)]


def apply_settings(dataset: Dataset, settings: DataSettings) -> Dataset:
    """An existing dataset with the corrections and groups of a recipe; nothing changes on the disk.

    RecipeError: an unknown column, a pattern that fits no name, corrections of a recording that it does not have.
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
    marks = (note.label for entry in entries for note in dataset.annotations(entry))
    return {label for entry in entries for label in entry.labels}.union(marks) - {dataset.unsure}


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
