"""DCASE event lists: TSV or CSV rows `[filename] onset offset event_label`, with or without a header.

A row with a filename alone says that the recording holds none of the events. There is no place for channels and scores.
A name with a tab, a quote or an end of a line stands in quotes; labels with them are escaped: see `escapes.py`.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from audiocnn.addresses import is_url
from audiocnn.formats.delimited import Row, named_row, read_cells
from audiocnn.formats.escapes import escape_cell, unescape
from audiocnn.formats.found import NO_SCORE, Found
from audiocnn.formats.rows import row as table_row
from audiocnn.formats.text import read_seconds, wrong_line
from audiocnn.labels import Annotation
from audiocnn.segments import Segment
from audiocnn.units import round_seconds

LABEL_COLUMNS = ("event_label", "label")
_COLUMNS = ("filename", "onset", "offset", "event_label")


class Writer:
    """TSV with a header; a recording without a segment is a row with its name alone."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def begin(self) -> str:
        """The header."""
        return "\t".join(_COLUMNS) + "\n"

    def recording(self, found: Found) -> str:
        """Its segments, in the order of time."""
        rows: list[list[object]] = [
            [found.file, round_seconds(s.start), round_seconds(s.end), escape_cell(s.label)] for s in found.in_time()
        ]
        return "".join(table_row(cells, "\t") + "\n" for cells in rows or [[found.file, "", "", ""]])

    def end(self) -> str:
        """Nothing."""
        return ""


def read_found(path: Path) -> list[Found]:
    """By filename, as it stands there; of a list without that column, the file's own stem."""
    return [
        Found(name, {0: tuple(Segment(a.onset, a.offset, a.label, NO_SCORE) for a in known)} if known else {})
        for name, known in _read(path).items()
    ]


def read(path: Path) -> dict[str, list[Annotation]]:
    """Filename, as a dataset has it (the file's own stem where there is no such column) -> its annotations."""
    found: dict[str, list[Annotation]] = {}
    for name, known in _read(path).items():
        found.setdefault(normal_name(name), []).extend(known)
    return found


def _read(path: Path) -> dict[str, list[Annotation]]:
    cells = read_cells(path)
    if not cells:
        return {path.stem: []}
    columns = _header(path, *cells[0])
    found: dict[str, list[Annotation]] = {}
    for line, row in cells[1:] if set(columns) <= {cell.strip() for cell in cells[0][1]} else cells:
        named = named_row(path, line, columns, row)
        annotations = found.setdefault(named.get("filename", path.stem), [])
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
    return unescape(next((row[column] for column in LABEL_COLUMNS if row.get(column)), ""))


def normal_name(name: str) -> str:
    """A file name as the dataset has it: without `./` and double slashes; an address as it is."""
    return name if is_url(name) else str(PurePosixPath(name))


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
