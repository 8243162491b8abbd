"""DCASE event lists: TSV or CSV rows `[filename] onset offset event_label`, with or without a header.

A row with a filename alone says that the recording holds none of the events.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from audiocnn.formats.delimited import Row, named_row, read_cells
from audiocnn.formats.text import read_seconds, wrong_line
from audiocnn.labels import Annotation

LABEL_COLUMNS = ("event_label", "label")
_COLUMNS = ("filename", "onset", "offset", "event_label")


def read(path: Path) -> dict[str, list[Annotation]]:
    """Filename (the file's own stem where there is no such column) -> its annotations."""
    cells = read_cells(path)
    if not cells:
        return {path.stem: []}
    columns = _header(path, *cells[0])
    found: dict[str, list[Annotation]] = {}
    for line, row in cells[1:] if set(columns) <= {cell.strip() for cell in cells[0][1]} else cells:
        named = named_row(path, line, columns, row)
        annotations = found.setdefault(normal_name(named.get("filename", path.stem)), [])
        if not is_empty_row(named):
            annotations.append(annotation_in(named, label_in(named), path, line))
    return found or {path.stem: []}


def is_empty_row(row: Row) -> bool:
    """Whether onset, offset and label are all empty: none of the events."""
    return not (row.get("onset") or row.get("offset") or label_in(row))


def annotation_in(row: Row, label: str, path: Path, line: int) -> Annotation:
    """The annotation of a row. LabelError: a part of it is empty or no number."""
    if not label:
        raise wrong_line(path, line, "", "a label")
    onset = read_seconds(row.get("onset", ""), path, line, "onset")
    return Annotation(onset, read_seconds(row.get("offset", ""), path, line, "offset"), label)


def label_in(row: Row) -> str:
    """The label of a row, whichever of the two names its column has."""
    return next((row[column] for column in LABEL_COLUMNS if row.get(column)), "")


def normal_name(name: str) -> str:
    """A file name as the dataset has it: without `./` and double slashes."""
    return str(PurePosixPath(name))


def _header(path: Path, line: int, row: list[str]) -> tuple[str, ...]:
    """The columns: named by the first row, or known by their number."""
    names = tuple(cell.strip() for cell in row)
    if {"onset", "offset"} <= set(names) and set(names) & set(LABEL_COLUMNS):
        return names
    if len(row) in (3, 4) and _is_number(row[-3]) and _is_number(row[-2]):
        return _COLUMNS[-len(row) :]
    raise wrong_line(path, line, " ".join(names), f"the columns {' '.join(_COLUMNS)}")


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
