"""DCASE event lists: TSV (or CSV) rows `[filename] onset offset event_label`, with or without a header.

A row with a filename alone says that the recording holds none of the events.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from audiocnn.errors import LabelError
from audiocnn.formats.tables import Row, read_cells
from audiocnn.formats.text import seconds
from audiocnn.labels import Annotation

LABEL_COLUMNS = ("event_label", "label")


def read(path: Path) -> dict[str, list[Annotation]]:
    """Filename (the file's own stem where there is no such column) -> its annotations."""
    cells = read_cells(path)
    found: dict[str, list[Annotation]] = {}
    if not cells:
        return {path.stem: []}
    columns, rows = _header(path, cells)
    for number, row in rows:
        if len(row) != len(columns):
            raise LabelError(f"{path}:{number}: found {len(row)} cells, expected {len(columns)}: {' '.join(columns)}")
        named = dict(zip(columns, row, strict=True))
        annotations = found.setdefault(normal_name(named.get("filename", path.stem)), [])
        annotation = annotation_of(named, path, number)
        if annotation is not None:
            annotations.append(annotation)
    return found or {path.stem: []}


def annotation_of(row: Row, path: Path, line: int) -> Annotation | None:
    """The annotation in a row; None where onset, offset and label are all empty."""
    label = label_in(row)
    if not (row.get("onset", "").strip() or row.get("offset", "").strip() or label):
        return None
    if not label:
        raise LabelError(f"{path}:{line}: no label; expected a word in the column event_label or label")
    onset = seconds(row.get("onset", ""), path, line, "onset")
    return Annotation(onset, seconds(row.get("offset", ""), path, line, "offset"), label)


def label_in(row: Row) -> str:
    """The label of a row, whichever of the two names its column has."""
    return next((row[name].strip() for name in LABEL_COLUMNS if row.get(name, "").strip()), "")


def normal_name(name: str) -> str:
    """A file name as the dataset has it: without `./` and double slashes."""
    return str(PurePosixPath(name))


def _header(path: Path, cells: list[tuple[int, list[str]]]) -> tuple[list[str], list[tuple[int, list[str]]]]:
    first = cells[0][1]
    names = {name.strip() for name in first}
    if {"onset", "offset"} <= names and names & set(LABEL_COLUMNS):
        return [name.strip() for name in first], cells[1:]
    if len(first) in (3, 4) and _is_number(first[-3]) and _is_number(first[-2]):
        return ["filename", "onset", "offset", "event_label"][-len(first) :], cells
    raise LabelError(f'{path}:1: found "{" ".join(first)}", expected the columns filename onset offset event_label')


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
