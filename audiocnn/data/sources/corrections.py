"""Changes that a recipe makes to the items of a source or the entries of a dataset: corrected labels, and other groups.

A table of corrections has the columns `filename` and `label`, and may have others. A label replaces all labels of the
clip, "-" excludes the clip, and "none of these" makes it a sound with none of the labels. If clips have one label each,
an empty label excludes the clip too. If they have several, separated by semicolons, an empty label means that the clip
has none of them.

If the table also has the columns `onset` and `offset`, a row with times is a segment. The segments of a recording in
the table replace all its previous ones; a row without label and times states that it has none.

`audiocnn review` writes such tables: see `correction_table.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from audiocnn.data.dataset import Dataset, Entry
from audiocnn.data.sources.settings import DEFAULT_GROUP, FILENAME_GROUP, DataSettings, find_by_pattern
from audiocnn.data.sources.tables import Refused, labels_in_cell
from audiocnn.data.writer import Item
from audiocnn.errors import LabelError, RecipeError, did_you_mean, show_name
from audiocnn.labels.formats import dcase
from audiocnn.labels.formats.columns import find_roles
from audiocnn.labels.formats.text import DelimitedTable, read_table, unescape
from audiocnn.segments.segment import NONE_LABEL, NONE_OF_THESE, Annotation, composed
from audiocnn.units import count_noun

LEFT_OUT = "-"  # in place of a label
_MOST_EXAMPLES = 5  # new labels
LABEL_SEPARATOR = ";"  # as `doubtful` writes it, whatever the tables of the data use
TIME_COLUMNS = ("onset", "offset")
DOUBT_COLUMN, ORIGINAL_COLUMN, CHECKED_COLUMN = "doubt", "original", "checked"  # of a table that `doubtful` wrote


@dataclass(frozen=True)
class Correction:
    """The entry of a table for a recording: the labels of the whole clip, or its segments if they are not None."""

    labels: tuple[str, ...] = ()
    annotations: tuple[Annotation, ...] | None = None


Corrections = Mapping[str, Correction | None]
"""File name -> correct labels; None: excluded."""


def read_corrections(path: Path, settings: DataSettings) -> Corrections:
    """Read a table of corrections. Raises LabelError if a column is missing, or if a clip has several labels but may
    have only one."""
    return corrections_in(read_table(path), settings.labels_per_clip == "several")


def corrections_in(table: DelimitedTable, several: bool = False) -> Corrections:
    """Interpret a table that was read already. several: a clip may have no label, or several. Raises LabelError."""
    path = table.path
    for column in ("filename", "label"):
        if column not in table.columns:
            near = did_you_mean(column, table.columns)
            raise LabelError(f'{show_name(path)}:1: no column "{column}"; {near}')
    timed, roles = set(TIME_COLUMNS) <= set(table.columns), find_roles(table.columns)
    separator = LABEL_SEPARATOR if several else ""
    found: dict[str, Correction | None] = {}
    for line, row in table.rows:
        if not row["filename"].strip():
            raise LabelError(f"{show_name(path)}:{line}: no file name; add it, or remove the row")
        name = dcase.normal_name(row["filename"])
        cell, before = row["label"].strip(), found.get(name) or Correction()
        if timed and (row["onset"] or row["offset"]):
            segment = dcase.annotation_in(row, composed(unescape(row["label"])), path, line, roles)
            found[name] = Correction((), (*(before.annotations or ()), segment))
        elif timed and not cell:
            found[name] = Correction((), before.annotations or ())
        elif cell == LEFT_OUT or not (cell or several):
            found.setdefault(name, None)
        elif cell.casefold() == NONE_OF_THESE:  # as `doubtful` shows it
            found[name] = Correction(() if several else (NONE_LABEL,))
        else:
            labels = tuple(dict.fromkeys((*before.labels, *map(composed, labels_in_cell(cell, separator)))))
            if len(labels) > 1 and not several:
                raise LabelError(f"{show_name(path)}:{line}: {name} has {len(labels)} labels; keep one")
            found[name] = Correction(labels)
    return found


def read_settled(
    path: Path, several: bool, labels: Mapping[str, Sequence[str]], of_doubtful: bool = False
) -> Corrections:
    """The corrections that a table settles: all that it lists. In a table that `doubtful` wrote, each row is initially
    a question; only rows with a changed label, or with "yes" in the column `checked`, are settled.

    labels: of the data, by file name. of_doubtful: accept only a table that `doubtful` wrote. Raises LabelError like
    `read_corrections`.
    """
    table = read_table(path)
    if of_doubtful and DOUBT_COLUMN not in table.columns:
        raise LabelError(
            f'{show_name(path)}:1: no column "{DOUBT_COLUMN}"; name a table that `audiocnn doubtful` wrote'
        )
    found = corrections_in(table, several)
    if DOUBT_COLUMN not in table.columns:
        return found
    asked = {  # the labels that each question is about: those of the data may have been corrected since
        dcase.normal_name(row["filename"]): set(labels_in_cell(row[ORIGINAL_COLUMN], LABEL_SEPARATOR))
        for _, row in table.rows
        if row.get(ORIGINAL_COLUMN)
    }
    checked = {dcase.normal_name(row["filename"]) for _, row in table.rows if row.get(CHECKED_COLUMN) == "yes"}

    def is_changed(name: str, right: Correction | None) -> bool:
        before = asked.get(name) or set(labels.get(name, right.labels if right else ()))
        return right is None or set(right.labels) != before

    return {name: right for name, right in found.items() if name in checked or is_changed(name, right)}


def read_all_corrections(settings: DataSettings) -> tuple[Corrections, Mapping[str, Path]]:
    """The merged corrections of all tables, and the table of each; for a recording in several tables, the last one
    counts. Raises LabelError."""
    found: dict[str, Correction | None] = {}
    said_by: dict[str, Path] = {}
    for path in settings.correction_tables:
        table = read_corrections(path, settings)
        found |= table
        said_by |= dict.fromkeys(table, path)
    return found, said_by


def correct_items(items: Sequence[Item], settings: DataSettings) -> tuple[list[Item], Refused]:
    """Items with corrected labels, without excluded clips and clips without a label; and the corrections that could not
    be applied."""
    if not settings.correction_tables:
        return list(items), []
    corrections, said_by = read_all_corrections(settings)
    refused = [
        (name, f"listed in {show_name(said_by[name])}, but there is no such recording; correct the name")
        for name in sorted(corrections.keys() - {item.filename for item in items})
    ]
    kept: list[Item] = []
    for item in items:
        if item.filename not in corrections:
            if not settings.only_corrected and (is_labelled(item) or settings.labels_per_clip == "several"):
                kept.append(item)
            continue
        correction = corrections[item.filename]
        if correction is None:
            continue
        if correction.annotations is not None:
            kept.append(replace(item, label=None, more=(), annotated=True, annotations=correction.annotations))
        elif item.annotated:
            table = show_name(said_by[item.filename])
            refused.append(
                (item.filename, f"{table} gives it a label, but it has labelled segments; correct those instead")
            )
            kept.append(item)
        else:
            labels = correction.labels
            kept.append(replace(item, label=labels[0] if labels else None, more=labels[1:]))
    return kept, refused


def is_labelled(item: Item | Entry) -> bool:
    return bool(item.labels) or item.annotated


def describe_changes(before: Sequence[Item | Entry], after: Sequence[Item | Entry]) -> str:
    labels = {one.filename: set(one.labels) for one in before}
    marked = {one.filename: one.annotations for one in before if isinstance(one, Item)}
    bare = {one.filename for one in before if not is_labelled(one)}
    kept = {one.filename for one in after}
    changed = sum(
        labels[one.filename] != set(one.labels) or (isinstance(one, Item) and marked[one.filename] != one.annotations)
        for one in after
        if one.filename not in bare
    )
    without, first = len(bare - kept), len(bare & kept)
    left_out = len(before) - len(after) - without
    new = sorted({label for one in after for label in one.labels}.difference(*labels.values()))
    parts = [f"{count_noun(first, 'clip')} labelled"] if first else []
    parts += [f"{count_noun(changed, 'clip')} relabelled"] if changed or not (left_out or bare) else []
    parts += [f"{count_noun(without, 'clip')} without a label excluded"] if without else []
    parts += [f"{count_noun(left_out, 'clip')} excluded"] if left_out else []
    if new:
        names = ", ".join(new[:_MOST_EXAMPLES]) + (" ..." if new[_MOST_EXAMPLES:] else "")
        parts.append(f"{count_noun(len(new), 'new label')}: {names}")
    return f"corrections: {', '.join(parts)}"


def regroup_items(items: Sequence[Item], settings: DataSettings) -> list[Item]:
    """Items with the groups that `group_pattern` finds in their names."""
    if settings.group_pattern is None:
        return list(items)
    groups = find_by_pattern([item.filename for item in items], settings.group_pattern, settings.where)
    return [replace(item, group=group) for item, group in zip(items, groups, strict=True)]


def apply_settings(dataset: Dataset, settings: DataSettings) -> Dataset:
    """An existing dataset with the corrections and groups of a recipe applied; files on disk do not change.

    Raises RecipeError for an unknown column, a pattern that matches no name, or corrections of a recording that is not
    in the dataset.
    """
    if dataset.several:
        settings = replace(settings, labels_per_clip="several")
    if settings.label_map:
        raise RecipeError(
            f"{settings.where}: label_map applies to sources, but this is a dataset; ingest its source again"
        )
    if settings.label_pattern is not None:
        raise RecipeError(
            f"{settings.where}: label_pattern applies to folders, but this is a dataset; ingest its source again"
        )
    entries, marked = _corrected(dataset, settings)
    if settings.group_pattern is not None:
        names = [entry.filename for entry in entries]
        groups = find_by_pattern(names, settings.group_pattern, settings.where)
        entries = [replace(entry, group=group or entry.filename) for entry, group in zip(entries, groups, strict=True)]
    elif settings.group == FILENAME_GROUP:
        entries = [replace(entry, group=entry.filename) for entry in entries]
    elif settings.group != DEFAULT_GROUP:
        _check_tag(dataset, settings.group, settings.where)
        entries = [replace(entry, group=entry.tags.get(settings.group) or entry.filename) for entry in entries]
    if settings.fold is not None:
        _check_tag(dataset, settings.fold, settings.where)
    changed = dataset.with_entries(entries, marked)
    before, used = _used(dataset, dataset.entries), _used(changed, entries)
    kept = [label for label in dataset.labels if label in used or label not in before]
    changed.labels = (*kept, *sorted(used - set(dataset.labels)))
    changed.lost = {label: names for label, names in dataset.lost.items() if label not in used}
    return changed


def _used(dataset: Dataset, entries: Sequence[Entry]) -> set[str]:
    marks = (note.label for entry in entries for note in dataset.annotations(entry))
    return {label for entry in entries for label in entry.labels}.union(marks) - {dataset.unsure}


def _corrected(dataset: Dataset, settings: DataSettings) -> tuple[list[Entry], dict[int, list[Annotation]]]:
    """The entries that are kept, with their labels, and the segments of those that have new ones."""
    if not settings.correction_tables:
        return list(dataset.entries), {}
    corrections, said_by = read_all_corrections(settings)
    known = {entry.filename for entry in dataset.entries}
    unknown = sorted(name for name, found in corrections.items() if found is not None and name not in known)
    if unknown:
        what = f"{show_name(said_by[unknown[0]])} names {show_name(unknown[0])}"
        near = did_you_mean(unknown[0], known)
        raise RecipeError(f"{settings.where}: {what}, which is not in {dataset.folder}; {near}")
    kept: list[Entry] = []
    marked: dict[int, list[Annotation]] = {}
    for entry in dataset.entries:
        if entry.filename not in corrections:
            kept += [] if settings.only_corrected else [entry]
            continue
        correction = corrections[entry.filename]
        if correction is None:
            continue
        if correction.annotations is not None:
            entry = replace(entry, label=None, labels=(), annotated=True)
            marked[entry.id] = sorted(correction.annotations, key=lambda one: (one.onset, one.offset, one.label))
        elif not entry.annotated:
            labels = correction.labels
            entry = replace(entry, label=labels[0] if labels else None, labels=labels)
        kept.append(entry)
    return kept, marked


def _check_tag(dataset: Dataset, column: str, where: str) -> None:
    columns = {column for entry in dataset.entries for column in entry.tags}
    if column not in columns:
        near = did_you_mean(column, columns) if columns else "it has no columns"
        raise RecipeError(f'{where}: {dataset.folder} has no column "{column}"; {near}')
