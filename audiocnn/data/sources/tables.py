"""Reading of tables of recordings, with labels inside or in other files: `read_recordings`, `with_segments`."""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from audiocnn.audio.find import is_url
from audiocnn.audio.remote import Remote
from audiocnn.data.parts import (
    AUDIO_FOLDERS,
    PartFolders,
    PartNotes,
    find_part_column,
    find_part_folders,
    fold_column,
    fold_line,
    is_of_split,
    names_recordings,
)
from audiocnn.data.sources.settings import DEFAULT_GROUP, FILENAME_GROUP, TABLE_SUFFIXES, DataSettings
from audiocnn.data.writer import Item
from audiocnn.errors import LabelError, RecipeError, RecordingError, did_you_mean, show_name
from audiocnn.labels.convert import find_label_files
from audiocnn.labels.formats import FORMATS, TABLES, dcase, find_label_column, label_format, read_labels, recording_stem
from audiocnn.labels.formats.base import DEFAULT_LABEL, base_name
from audiocnn.labels.formats.columns import (
    FIRST_LABEL_COLUMNS,
    LabelColumn,
    NamedCells,
    Roles,
    SeveralColumnsError,
    choose_label_column,
    find_column,
    find_roles,
)
from audiocnn.labels.formats.sniff import lists_recordings, sniff_file
from audiocnn.labels.formats.table import SEGMENT_COLUMNS
from audiocnn.labels.formats.text import DelimitedTable, read_cells, table_of, unescape
from audiocnn.labels.lookup import Recordings, from_windows, has_same_end, without_suffix
from audiocnn.segments.segment import Annotation

Refused = list[tuple[str, str]]
"""(name, reason)"""
_OWN_COLUMNS = frozenset({"filename", "onset", "offset", "split", "group", *FIRST_LABEL_COLUMNS})
_TIMED_COLUMNS = frozenset({"channel", "score"})  # of a segment, not of the recording


@dataclass(frozen=True)
class ReadTable:
    """The content of a table. notes: how it was interpreted, if that is ambiguous. several: columns of 0 and 1 show
    that a clip may have several labels, or none. parts: information on parts and folds. origin: where the labels come
    from. makers: models that made them, if stated."""

    items: list[Item]
    refused: Refused
    notes: tuple[str, ...] = ()
    several: bool = False
    parts: PartNotes = field(default_factory=PartNotes)
    origin: str = ""
    makers: tuple[str, ...] = ()


def is_table(path: Path) -> bool:
    """Whether a file is a table of recordings, by its name, or for .txt files by their beginning."""
    if path.suffix.lower() in TABLE_SUFFIXES:
        return True
    return path.suffix.lower() == ".txt" and (sniff_file(path) or "dcase") in TABLES and lists_recordings(path)


def names_in_table(path: Path) -> tuple[list[str], bool]:
    """The names of recordings in a table, and whether a column may contain their labels. Raises LabelError if no column
    has names, or if the table cannot be read."""
    table, roles = _known_columns(DataSettings(path))
    names = [row["filename"] for _, row in table.rows if row["filename"].strip()]
    try:
        _label_column(DataSettings(path), table, roles)
    except SeveralColumnsError:
        return names, True
    except LabelError:
        return names, False
    return names, True


def read_recordings(settings: DataSettings) -> ReadTable:
    """Items of the rows that keep, drop and split select, in the order of the table."""
    table, roles = _known_columns(settings)
    table, folders, parts, part_columns = _with_parts(table, settings, roles)
    _check_columns(settings, table)
    labels = _label_column(settings, table, roles, part_columns)
    several = labels is not None and any(len(labels.labels_in(row)) != 1 for _, row in table.rows)
    if labels is not None and labels.one_hot and several:
        settings = replace(settings, labels_per_clip="several")
    find = _Finder(settings.source if settings.source.is_dir() else table.path.parent)
    rows: dict[str, list[tuple[int, NamedCells]]] = {}
    refused: Refused = []
    for line, row in table.rows:
        if not row["filename"].strip():
            if _is_chosen(row, settings):
                refused.append((f"{show_name(table.path)}:{line}", "no file name; add it"))
            continue
        rows.setdefault(dcase.normal_name(row["filename"]), []).append((line, row))
    items: list[Item] = []
    chosen = {name: found for name, found in rows.items() if _is_chosen(found[0][1], settings)}
    if not chosen:
        raise RecipeError(
            f"{settings.where}: keep, drop and split leave no row of {show_name(table.path)}; select more"
        )
    for name, (path, found) in _with_places(chosen, find).items():
        try:
            item = _item(settings, table, path, name, found, (roles, labels))
        except RecordingError as error:
            refused.append((name, str(error)))
            continue
        items.append(replace(item, tags=item.tags | folders.tags(_names(name))) if folders else item)
    told = labels is not None and labels.told
    one_hot = labels is not None and bool(labels.one_hot) and several
    rest = "; some clips have several labels, or none" if one_hot else ""
    notes = (f"{show_name(table.path)}: {labels.describe()}{rest}",) if labels is not None and told else ()
    if settings.segments is None:
        return ReadTable(items, refused, notes, one_hot, parts)
    found_in = with_segments(items, settings.segments, set(rows))
    return replace(found_in, refused=refused + found_in.refused, parts=parts)


def _known_columns(settings: DataSettings) -> tuple[DelimitedTable, Roles]:
    """The table with a column `filename`, whatever its original name; and the roles of its columns. Raises LabelError
    if there is no such column, or if the table cannot be read."""
    path = settings.recordings or settings.source
    cells = read_cells(path)
    if not cells:
        what = "empty; it needs a header such as filename,label and a row for each recording"
        raise LabelError(f"{show_name(path)}: {what}")
    table = table_of(path, dcase.with_header(cells))
    roles = find_roles(table.columns)
    if roles.file is None:
        raise LabelError(f'{show_name(path)}:1: no column "filename"; {did_you_mean("filename", table.columns)}')
    if roles.file == "filename":
        return table, roles
    return replace(table, rows=[(line, row | {"filename": row[roles.file]}) for line, row in table.rows]), roles


def _with_places(
    rows: Mapping[str, list[tuple[int, NamedCells]]], find: _Finder
) -> dict[str, tuple[Path | Remote, list[tuple[int, NamedCells]]]]:
    """Names with their files and rows. A name without a file under the root may be that of a file that was moved, or a
    Windows path. Rows of the same file are grouped."""
    found: dict[str, tuple[Path | Remote, list[tuple[int, NamedCells]]]] = {}
    names: dict[Path | Remote, str] = {}
    for name, own in rows.items():
        path: Path | Remote = Remote(name) if is_url(name) else find.root / name
        if isinstance(path, Path) and not path.is_file():
            if "\\" in name and not (path := find.root / from_windows(name)).is_file():
                path = find(from_windows(name)) or path
            elif not path.is_file():
                path = find(name) or path
        name = names.setdefault(path, from_windows(name) if "\\" in name and path != find.root / name else name)
        found.setdefault(name, (path, []))[1].extend(own)
    return found


def _with_parts(
    table: DelimitedTable, settings: DataSettings, roles: Roles
) -> tuple[DelimitedTable, PartFolders | None, PartNotes, set[str]]:
    """The table with normalised parts in the column `split`, taken from a column, or else from the folders in file
    names, which may also be folds; and the columns of parts or folds."""
    asked = {*settings.keep, *settings.drop, settings.group, settings.label, settings.fold}
    asked |= {*roles.columns, *_OWN_COLUMNS} - {"split"}
    cells = {one: {row[one] for _, row in table.rows} for one in table.columns if one not in asked}
    found, notes = find_part_column(cells)
    column = None if settings.fold else fold_column(row for _, row in table.rows)
    used = {one for one in (found.column if found else None, column) if one}
    if column:
        folds = {row[column] for _, row in table.rows if row[column]}
        notes += PartNotes(folds=(fold_line(folds, f'column "{column}"'),))
    if found:
        meaning = found.meaning
        own = found.column == "split"
        rows = [
            (line, row | {"split": meaning.get(cell := row[found.column], cell if own else "")})
            for line, row in table.rows
        ]
        return replace(table, columns=_with_split(table), rows=rows), None, notes, used
    if column or settings.fold or "split" in table.columns:
        return table, None, notes, used
    folders = find_part_folders([_names(row["filename"]) for _, row in table.rows if row["filename"].strip()])
    if not folders:
        return table, None, notes, used
    rows = [(line, row | {"split": folders.split(_names(row["filename"])) or ""}) for line, row in table.rows]
    return replace(table, columns=_with_split(table), rows=rows), folders, notes + folders.notes, used


def _with_split(table: DelimitedTable) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*table.columns, "split")))


def _names(filename: str) -> tuple[str, ...]:
    """The folders and the name in a file name; an address is kept as a whole."""
    return (filename,) if is_url(filename) else PurePosixPath(dcase.normal_name(filename)).parts


class _Finder:
    """Finds recordings of a table that are not at the given place: below its folder, or in a folder beside it such as
    `audio` or `FSD50K.dev_audio`, if exactly one file has this name."""

    def __init__(self, root: Path) -> None:
        self.root = root
        around = root.resolve().parent
        beside = sorted(
            (one for one in around.iterdir() if one != root.resolve() and names_recordings(one.name) and one.is_dir()),
            key=lambda one: (one.name not in AUDIO_FOLDERS, one.name),
        )
        self.places = [Recordings(root), *map(Recordings, beside)]

    def __call__(self, name: str) -> Path | None:
        return next((found for place in self.places if (found := place.below(name))), None)


def with_segments(items: list[Item], segments: Path, known: set[str], label_column: str | None = None) -> ReadTable:
    """Items with the annotations of a label file, or of a folder of them; names in it that are not `known` are refused.
    A recording without a row in a single file has no annotation; in a folder, each recording must be named in one of
    the files."""
    found, refused, notes = _read_segments(segments, label_column)
    kept: dict[str, list[Annotation]] = {}
    by_base: dict[str, list[str]] = {}
    for one in items:
        by_base.setdefault(base_name(one.filename), []).append(one.filename)
    names = {one.filename for one in items}
    why = f"listed in {show_name(segments)}, but there is no such recording; correct the name"
    for name, known_in in sorted(found.items()):
        if own := _item_named(name, names, by_base):
            kept.setdefault(own, []).extend(known_in)
        elif name not in known:
            refused.append((name, why))
    if segments.is_dir():
        lost = f"{show_name(segments)} has no label file for it; add one, which may be empty"
        refused += [(one.filename, lost) for one in items if one.filename not in kept]
        items = [one for one in items if one.filename in kept]
    annotated = [replace(one, annotated=True, annotations=tuple(kept.get(one.filename, ()))) for one in items]
    return ReadTable(annotated, refused, notes)


def _item_named(name: str, names: set[str], by_base: Mapping[str, Sequence[str]]) -> str | None:
    """The recording that labels refer to by a name: the one with this name, or else the only one whose path ends in
    it."""
    for one in (name, from_windows(name)):
        if one in names:
            return one
        near = by_base.get(base_name(one), ())
        near = (
            near
            if len(near) == 1
            else [other for other in near if has_same_end(without_suffix(other), without_suffix(one))]
        )
        if len(near) == 1:
            return near[0]
    return None


def _read_segments(
    segments: Path, label_column: str | None
) -> tuple[dict[str, list[Annotation]], Refused, tuple[str, ...]]:
    """Annotations by the recording names that labels use, files that could not be read, and how columns were
    interpreted."""
    found: dict[str, list[Annotation]] = {}
    refused: Refused = []
    notes: dict[str, None] = {}
    for path in find_label_files(segments):
        if not isinstance(path, Path):
            refused.append((path.path.relative_to(segments).as_posix(), path.reason))
            continue
        try:
            kind = label_format(path)
            column = find_label_column(path, kind, label_column)
            labels = read_labels(path, kind, label_column)
        except LabelError as error:
            if not segments.is_dir():
                raise
            refused.append((path.relative_to(segments).as_posix(), str(error)))
            continue
        if column is not None and column.told:
            notes[f"{show_name(segments)}: {column.describe()}"] = None
        if not FORMATS[kind].many or not labels:
            own = (path.relative_to(segments) if segments.is_dir() else path).with_name(recording_stem(path, kind))
            labels = {own.as_posix(): [one for known in labels.values() for one in known]}
        for name, known in labels.items():
            found.setdefault(name, []).extend(known)
    return found, refused, tuple(notes)


def _check_columns(settings: DataSettings, table: DelimitedTable) -> None:
    name = show_name(table.path)
    asked = [*settings.keep, *settings.drop, *(column for entry in settings.whole for column in entry.where)]
    asked += ["split"] if settings.split is not None else []
    asked += [settings.group] if settings.group not in (DEFAULT_GROUP, FILENAME_GROUP) else []
    asked += [settings.fold] if settings.fold is not None else []
    if settings.label not in (None, "folder") and find_column(table.columns, settings.label or "") is None:
        asked.append(settings.label or "")
    for column in asked:
        if column not in table.columns:
            raise RecipeError(
                f'{settings.where}: {name} has no column "{column}"; {did_you_mean(column, table.columns)}'
            )
    _check_whole(settings, table)


def _label_column(
    settings: DataSettings, table: DelimitedTable, roles: Roles, part_columns: Collection[str] = ()
) -> LabelColumn | None:
    """The column with labels. None if the table has no labels, or has times and no label column."""
    wanted = settings.label
    if wanted == "folder" or (wanted is None and (settings.whole or settings.segments is not None)):
        return None
    if wanted is None and roles.timed and set(table.columns) <= {*SEGMENT_COLUMNS} - {"label", "channel"}:
        return LabelColumn(speech=True, told=True)
    taken = [
        *roles.columns,
        *part_columns,
        "split",
        settings.group,
        settings.fold or "",
        *settings.keep,
        *settings.drop,
    ]
    rows = [row for _, row in table.rows]
    return choose_label_column(f"{show_name(table.path)}:1", table.columns, rows, wanted, taken)


def _check_whole(settings: DataSettings, table: DelimitedTable) -> None:
    """Raises RecipeError for a value of `whole` that matches no row, which must be a typing error."""
    for number, entry in enumerate(settings.whole, 1):
        for column, patterns in entry.where.items():
            values = {row[column] for _, row in table.rows}
            for pattern in patterns:
                if not fnmatch.filter(values, pattern):
                    what = f'whole {number}: no {column} in {show_name(table.path)} is "{pattern}"'
                    near = did_you_mean(pattern, values)
                    remedy = "correct it, or remove it" if set(pattern) & set("*?[") else near
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
    settings: DataSettings,
    table: DelimitedTable,
    path: Path | Remote,
    name: str,
    rows: list[tuple[int, NamedCells]],
    meaning: tuple[Roles, LabelColumn | None],
) -> Item:
    """The item of all rows of one recording. Raises RecordingError if the file does not exist, or if its rows
    disagree."""
    if isinstance(path, Path) and not path.is_file():
        raise RecordingError(
            f"listed in {show_name(table.path)}:{rows[0][0]}, but there is no such file; correct the name"
        )
    labels, annotations = _labels_in(settings, table, path, rows, meaning)
    roles = meaning[0]
    timed = roles.timed and not labels
    first = rows[0][1]
    own = _OWN_COLUMNS | roles.columns | (_TIMED_COLUMNS if timed else frozenset())
    return Item(
        path=path,
        filename=name,
        label=labels[0] if labels else None,
        more=labels[1:],
        annotated=settings.segments is not None or timed or bool(settings.whole),
        annotations=tuple(annotations),
        group=first.get(settings.group, ""),
        split=first.get("split") or None,
        tags={column: cell for column, cell in first.items() if column not in own and cell},
        whole=_whole_label(settings, first),
    )


def _labels_in(
    settings: DataSettings,
    table: DelimitedTable,
    path: Path | Remote,
    rows: list[tuple[int, NamedCells]],
    meaning: tuple[Roles, LabelColumn | None],
) -> tuple[tuple[str, ...], list[Annotation]]:
    """The labels of the whole clip, and the annotations of rows with times."""
    several, roles = settings.labels_per_clip == "several", meaning[0]
    labels: dict[str, None] = {}
    annotations: list[Annotation] = []
    for line, row in rows:
        named = _named_in(settings, meaning, row, path)
        if settings.segments is None and roles.timed and dcase.is_timed(row, roles):
            annotations.extend(dcase.annotation_in(row, one, table.path, line, roles) for one in named or [""])
        elif named:
            labels |= dict.fromkeys(label for one in named for label in labels_in_cell(one, settings.separator))
        elif settings.segments is None and not roles.timed and not settings.whole and not several:
            raise LabelError(f"{show_name(table.path)}:{line}: no label; add it")
    if len(labels) > 1 and not several:
        what = f"{show_name(table.path)} gives it {len(labels)} labels ({', '.join(labels)})"
        raise RecordingError(f'{what}; keep one, or write labels_per_clip = "several" in [data] of a recipe')
    return tuple(labels), annotations


def labels_in_cell(cell: str, separator: str) -> tuple[str, ...]:
    """The labels in a cell of a table; without a separator, the whole cell is one label."""
    parts = cell.split(separator) if separator else [cell]
    return tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))


def _named_in(
    settings: DataSettings, meaning: tuple[Roles, LabelColumn | None], row: NamedCells, path: Path | Remote
) -> list[str]:
    """The labels that a row names. In DCASE lists, which call recordings `filename`, they may be escaped."""
    roles, column = meaning
    if settings.label == "folder":
        return [(path.place if isinstance(path, Remote) else path).parent.name]
    if column is None:
        return []
    if column.speech:
        return [DEFAULT_LABEL]
    named = column.labels_in(row)
    return list(map(unescape, named)) if column.name in FIRST_LABEL_COLUMNS and roles.file == "filename" else named
