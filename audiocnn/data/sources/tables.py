"""Read a table of recordings, with labels in it or in a table of segments: read_recordings."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path, PurePosixPath

from audiocnn.audio.find import is_url
from audiocnn.audio.remote import Remote
from audiocnn.data.parts import (
    PartFolders,
    PartNotes,
    find_part_column,
    find_part_folders,
    fold_column,
    fold_line,
    is_of_split,
)
from audiocnn.data.sources.settings import DEFAULT_GROUP, FILENAME_GROUP, DataSettings
from audiocnn.data.writer import Item
from audiocnn.errors import LabelError, RecipeError, RecordingError, did_you_mean, show_name
from audiocnn.labels.formats import dcase
from audiocnn.labels.formats.text import DelimitedTable, NamedCells, read_table
from audiocnn.labels.lookup import Recordings
from audiocnn.segments.segment import Annotation

Refused = list[tuple[str, str]]
"""(name, reason)"""
_OWN_COLUMNS = frozenset({"filename", "onset", "offset", "split", "group", *dcase.LABEL_COLUMNS})
# As tables of public data sets call them, in the order of preference.
_FILENAME_COLUMNS = ("file_name", "slice_file_name", "fname", "file", "path", "filepath", "file_path")
_CLIP_LABEL_COLUMNS = ("class", "category", "class_name", "genre", "species")
_AUDIO_FOLDERS = ("audio", "wav", "wavs", "clips", "sounds", "recordings")  # beside the folder of a table


def read_recordings(settings: DataSettings) -> tuple[list[Item], Refused, PartNotes]:
    """Items of the rows that keep, drop and split leave, in the order of the table."""
    table = with_known_columns(read_table(settings.recordings or settings.source), settings)
    if "filename" not in table.columns:
        raise LabelError(f'{show_name(table.path)}:1: no column "filename"; {did_you_mean("filename", table.columns)}')
    table, folders, notes = _with_parts(table, settings)
    _check_columns(settings, table)
    find = _Finder(settings.source if settings.source.is_dir() else table.path.parent)
    rows: dict[str, list[tuple[int, NamedCells]]] = {}
    refused: Refused = []
    for line, row in table.rows:
        if not row["filename"].strip():
            if _is_chosen(row, settings):
                refused.append((f"{show_name(table.path)}:{line}", "found no file name; give it one"))
            continue
        rows.setdefault(dcase.normal_name(row["filename"]), []).append((line, row))
    items: list[Item] = []
    chosen = {name: found for name, found in rows.items() if _is_chosen(found[0][1], settings)}
    if not chosen:
        raise RecipeError(
            f"{settings.where}: keep, drop and split leave no row of {show_name(table.path)}; ask for less"
        )
    for name, found in chosen.items():
        try:
            item = _item(settings, table, find(name), name, found)
        except RecordingError as error:
            refused.append((name, str(error)))
            continue
        items.append(replace(item, tags=item.tags | folders.tags(_names(name))) if folders else item)
    if settings.segments is None:
        return items, refused, notes
    items, strangers = with_segments(items, settings.segments, set(rows))
    return items, refused + strangers, notes


def with_known_columns(table: DelimitedTable, settings: DataSettings) -> DelimitedTable:
    """The table with `filename` and `label` where it calls them otherwise."""
    given = settings.label is not None or settings.segments is not None or bool(settings.whole)
    known: dict[str, str] = {}
    if "filename" not in table.columns:
        known["filename"] = _first_of(_FILENAME_COLUMNS, table.columns)
    if not given and not set(dcase.LABEL_COLUMNS) & set(table.columns):
        known["label"] = _first_of(_CLIP_LABEL_COLUMNS, table.columns)
    known = {name: column for name, column in known.items() if column}
    if not known:
        return table
    rows = [(line, row | {name: row[column] for name, column in known.items()}) for line, row in table.rows]
    return DelimitedTable(table.path, (*table.columns, *known), rows)


def _first_of(names: Iterable[str], columns: Iterable[str]) -> str:
    """The first of the names that a column has, however it is written; "" for none."""
    plain = {column.lower(): column for column in columns}
    return next((plain[name] for name in names if name in plain), "")


def _with_parts(table: DelimitedTable, settings: DataSettings) -> tuple[DelimitedTable, PartFolders | None, PartNotes]:
    """The table with parts as the code knows them in `split`: by a column, or else by the folders in the names of
    files, which may be folds, too."""
    asked = {*settings.keep, *settings.drop, settings.group, settings.label, settings.fold}
    asked |= {*_FILENAME_COLUMNS, *_CLIP_LABEL_COLUMNS, *_OWN_COLUMNS} - {"split"}
    cells = {one: {row[one] for _, row in table.rows} for one in table.columns if one not in asked}
    found, notes = find_part_column(cells)
    column = None if settings.fold else fold_column(row for _, row in table.rows)
    if column:
        notes += PartNotes(
            folds=(fold_line({row[column] for _, row in table.rows if row[column]}, f'column "{column}"'),)
        )
    if found:
        meaning = found.meaning
        own = found.column == "split"
        rows = [
            (line, row | {"split": meaning.get(cell := row[found.column], cell if own else "")})
            for line, row in table.rows
        ]
        return DelimitedTable(table.path, tuple(dict.fromkeys((*table.columns, "split"))), rows), None, notes
    if column or settings.fold or "split" in table.columns:
        return table, None, notes
    folders = find_part_folders([_names(row["filename"]) for _, row in table.rows if row["filename"].strip()])
    if not folders:
        return table, None, notes
    rows = [(line, row | {"split": folders.split(_names(row["filename"])) or ""}) for line, row in table.rows]
    return DelimitedTable(table.path, (*table.columns, "split"), rows), folders, notes + folders.notes


def _names(filename: str) -> tuple[str, ...]:
    """The folders and the name in the name of a file; of an address nothing but itself."""
    return (filename,) if is_url(filename) else PurePosixPath(dcase.normal_name(filename)).parts


class _Finder:
    """Finds the recordings of a table: where it says, else below its folder, or in a folder such as `audio` beside
    that, where one alone has this name."""

    def __init__(self, root: Path) -> None:
        self.root, self.known = root, Recordings(root)
        beside = [root.resolve().parent / name for name in _AUDIO_FOLDERS]
        self.places = [self.known, *(Recordings(folder) for folder in beside if folder.is_dir() and folder != root)]

    def __call__(self, name: str) -> Path | Remote:
        if is_url(name):
            return Remote(name)
        path = self.root / name
        if path.is_file():
            return path
        return next((found for place in self.places if (found := place.below(name))), path)


def with_segments(items: list[Item], segments: Path, known: set[str]) -> tuple[list[Item], Refused]:
    """Items with the annotations of a table in DCASE order, and the names in it that are not `known`."""
    found = dcase.Dcase.read_annotations(segments)
    why = f"{show_name(segments)} names it, but there is no such recording; correct the name"
    strangers = [(name, why) for name in sorted(found.keys() - known)]
    return [replace(item, annotations=tuple(found.get(item.filename, ()))) for item in items], strangers


def _check_columns(settings: DataSettings, table: DelimitedTable) -> None:
    name = show_name(table.path)
    asked = [*settings.keep, *settings.drop, *(column for entry in settings.whole for column in entry.where)]
    asked += ["split"] if settings.split is not None else []
    asked += [settings.group] if settings.group not in (DEFAULT_GROUP, FILENAME_GROUP) else []
    asked += [settings.fold] if settings.fold is not None else []
    asked += [settings.label] if settings.label not in (None, "folder") else []
    for column in asked:
        if column not in table.columns:
            raise RecipeError(
                f'{settings.where}: {name} has no column "{column}"; {did_you_mean(column, table.columns)}'
            )
    _check_whole(settings, table)
    given = settings.label is not None or settings.segments is not None or bool(settings.whole)
    if not given and not set(dcase.LABEL_COLUMNS) & set(table.columns):
        found = " ".join(table.columns)
        raise LabelError(
            f"{name}:1: found the columns {found}, expected one named label; add it, or name it in a recipe"
        )


def _check_whole(settings: DataSettings, table: DelimitedTable) -> None:
    """RecipeError: a value of `whole` that matches no row, which must be a typing error."""
    for number, entry in enumerate(settings.whole, 1):
        for column, patterns in entry.where.items():
            values = {row[column] for _, row in table.rows}
            for pattern in patterns:
                if not fnmatch.filter(values, pattern):
                    what = f'whole {number}: no {column} in {show_name(table.path)} is "{pattern}"'
                    near = did_you_mean(pattern, values)
                    remedy = "correct it, or leave it out" if set(pattern) & set("*?[") else near
                    raise RecipeError(f"{settings.where}: {what}; {remedy}")


def _whole_label(settings: DataSettings, row: NamedCells) -> str | None:
    """The label of the first entry of `whole` that matches in every column."""
    for entry in settings.whole:
        if all(
            any(fnmatch.fnmatchcase(row[column], one) for one in patterns) for column, patterns in entry.where.items()
        ):
            return entry.label
    return None


def _is_chosen(row: NamedCells, settings: DataSettings) -> bool:
    kept = all(row[column] in values for column, values in settings.keep.items())
    dropped = any(row[column] in values for column, values in settings.drop.items())
    wanted = settings.split
    return kept and not dropped and (wanted is None or is_of_split(row.get("split"), wanted))


def _item(
    settings: DataSettings, table: DelimitedTable, path: Path | Remote, name: str, rows: list[tuple[int, NamedCells]]
) -> Item:
    """The item of all rows of one recording. RecordingError: there is no such file, or its rows disagree."""
    if isinstance(path, Path) and not path.is_file():
        raise RecordingError(f"no such file, but {show_name(table.path)}:{rows[0][0]} names it; correct the name")
    labels, annotations = _labels_in(settings, table, path, rows)
    timed = "onset" in table.columns and not labels
    first = rows[0][1]
    return Item(
        path=path,
        filename=name,
        label=labels[0] if labels else None,
        more=labels[1:],
        annotated=settings.segments is not None or timed or bool(settings.whole),
        annotations=tuple(annotations),
        group=first.get(settings.group, ""),
        split=first.get("split") or None,
        tags={column: cell for column, cell in first.items() if column not in _OWN_COLUMNS and cell},
        whole=_whole_label(settings, first),
    )


def _labels_in(
    settings: DataSettings, table: DelimitedTable, path: Path | Remote, rows: list[tuple[int, NamedCells]]
) -> tuple[tuple[str, ...], list[Annotation]]:
    """The labels of the whole clip, and the annotations of rows with times."""
    several = settings.labels_per_clip == "several"
    labels: dict[str, None] = {}
    annotations: list[Annotation] = []
    for line, row in rows:
        label = _label_in(settings, row, path)
        if settings.segments is None and (row.get("onset") or row.get("offset")):
            annotations.append(dcase.annotation_in(row, label, table.path, line))
        elif label:
            labels |= dict.fromkeys(labels_in_cell(label, settings))
        elif settings.segments is None and "onset" not in table.columns and not settings.whole and not several:
            raise LabelError(f"{show_name(table.path)}:{line}: found no label, expected a word; give it one")
    if len(labels) > 1 and not several:
        what = f"{show_name(table.path)} gives it {len(labels)} labels ({', '.join(labels)})"
        raise RecordingError(f'{what}; keep one, or write labels_per_clip = "several" in [data] of a recipe')
    return tuple(labels), annotations


def labels_in_cell(cell: str, settings: DataSettings) -> tuple[str, ...]:
    """The labels in a cell of a table, separated by `settings.separator` if there is one."""
    parts = cell.split(settings.separator) if settings.separator else [cell]
    return tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))


def _label_in(settings: DataSettings, row: NamedCells, path: Path | Remote) -> str:
    if settings.label == "folder":
        return (path.place if isinstance(path, Remote) else path).parent.name
    if settings.label is not None:
        return row[settings.label]
    return dcase.label_in(row) if settings.segments is None else ""
