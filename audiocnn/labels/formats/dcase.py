"""DCASE event lists: TSV or CSV rows `[filename] onset offset event_label`, with or without a header.

A row with a filename alone says that the recording holds none of the events. There is no place for channels and scores.
A name with a tab, a quote or an end of a line stands in quotes; labels with them are escaped: see `text.py`.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from audiocnn.audio.find import is_url
from audiocnn.labels.formats.base import NO_SCORE, LabelFormat, LabelledRecording, Labels
from audiocnn.labels.formats.table import table_row as table_row
from audiocnn.labels.formats.text import (
    NamedCells,
    escape_cell,
    named_row,
    read_cells,
    read_seconds,
    unescape,
    wrong_line,
)
from audiocnn.segments.segment import Annotation, Segment
from audiocnn.units import round_seconds

LABEL_COLUMNS = ("event_label", "label")
_COLUMNS = ("filename", "onset", "offset", "event_label")


class Dcase(LabelFormat):
    """TSV with a header; a recording without a segment is a row with its name alone."""

    def begin(self) -> str:
        return "\t".join(_COLUMNS) + "\n"

    def recording(self, recording: LabelledRecording) -> str:
        rows: list[list[object]] = [
            [recording.file, round_seconds(s.start), round_seconds(s.end), escape_cell(s.label)]
            for s in recording.in_time()
        ]
        return "".join(table_row(cells, "\t") + "\n" for cells in rows or [[recording.file, "", "", ""]])

    @staticmethod
    def read(path: Path) -> list[LabelledRecording]:
        """By filename, as it stands there; of a list without that column, the file's own stem."""
        tracks = {
            name: tuple(Segment(a.onset, a.offset, a.label, NO_SCORE) for a in known)
            for name, known in _read(path).items()
        }
        return [LabelledRecording(name, {0: track} if track else {}) for name, track in tracks.items()]

    @classmethod
    def read_annotations(cls, path: Path) -> Labels:
        """By filename as a dataset has it: see `normal_name`."""
        labels: Labels = {}
        for name, known in _read(path).items():
            labels.setdefault(normal_name(name), []).extend(known)
        return labels


def _read(path: Path) -> Labels:
    cells = read_cells(path)
    if not cells:
        return {path.stem: []}
    columns = _header(path, *cells[0])
    found: Labels = {}
    for line, row in cells[1:] if set(columns) <= {cell.strip() for cell in cells[0][1]} else cells:
        named = named_row(path, line, columns, row)
        annotations = found.setdefault(named.get("filename", path.stem), [])
        if named.get("onset") or named.get("offset") or label_in(named):
            annotations.append(annotation_in(named, label_in(named), path, line))
    return found or {path.stem: []}


def annotation_in(row: NamedCells, label: str, path: Path, line: int) -> Annotation:
    """The annotation of a row. LabelError: a part of it is empty or no number."""
    if not label:
        raise wrong_line(path, line, "", "a label")
    onset = read_seconds(row.get("onset", ""), path, line, "onset")
    return Annotation(onset, read_seconds(row.get("offset", ""), path, line, "offset"), label)


def label_in(row: NamedCells) -> str:
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
