"""DCASE event lists: TSV or CSV rows `[filename] onset offset event_label`, with or without a header. Other tables may
name their columns differently: see `columns.py`.

A row with only a filename states that the recording contains none of the events. Channels and scores are not stored.
Names with tabs, quotes or line ends are quoted, and such labels are escaped: see `text.py`.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from audiocnn.audio.find import is_url
from audiocnn.errors import show_name
from audiocnn.labels.formats.base import NO_SCORE, ColumnFormat, LabelledRecording, Labels
from audiocnn.labels.formats.columns import LabelColumn, NamedCells, Roles, choose_label_column, find_roles
from audiocnn.labels.formats.manifest import END_DIGITS
from audiocnn.labels.formats.table import table_row as table_row
from audiocnn.labels.formats.text import (
    DelimitedTable,
    escape_cell,
    read_cells,
    read_seconds,
    table_of,
    unescape,
    wrong_line,
)
from audiocnn.segments.segment import Annotation, Segment
from audiocnn.units import is_numeric, round_seconds

_COLUMNS = ("filename", "onset", "offset", "event_label")


class Dcase(ColumnFormat):
    """TSV with a header. A recording without segments is a row with only its name."""

    def begin(self) -> str:
        return "\t".join(_COLUMNS) + "\n"

    def recording(self, recording: LabelledRecording) -> str:
        rows: list[list[object]] = [
            [recording.file, round_seconds(s.start), round_seconds(s.end), escape_cell(s.label)]
            for s in recording.in_time()
        ]
        return "".join(table_row(cells, "\t") + "\n" for cells in rows or [[recording.file, "", "", ""]])

    @staticmethod
    def read(path: Path, label_column: str | None = None) -> list[LabelledRecording]:
        """By filename, unchanged; without that column, by the stem of the list."""
        tracks = {
            name: tuple(Segment(a.onset, a.offset, a.label, NO_SCORE) for a in known)
            for name, known in _read(path, label_column).items()
        }
        return [LabelledRecording(name, {0: track} if track else {}) for name, track in tracks.items()]

    @classmethod
    def read_annotations(cls, path: Path, label_column: str | None = None) -> Labels:
        """By filename as in a dataset: see `normal_name`."""
        labels: Labels = {}
        for name, known in _read(path, label_column).items():
            labels.setdefault(normal_name(name), []).extend(known)
        return labels

    @staticmethod
    def label_column(path: Path, label_column: str | None = None) -> LabelColumn | None:
        cells = read_cells(path)
        return _columns(_table(path, cells), label_column)[1] if cells else None


def _read(path: Path, label_column: str | None) -> Labels:
    cells = read_cells(path)
    if not cells:
        return {path.stem: []}
    table = _table(path, cells)
    roles, labels = _columns(table, label_column)
    found: Labels = {}
    for line, row in table.rows:
        annotations = found.setdefault(row[roles.file] if roles.file else path.stem, [])
        named = [unescape(label) for label in labels.labels_in(row)]
        if is_timed(row, roles) or named:
            annotations.extend(annotation_in(row, label, path, line, roles) for label in named or [""])
    return found or {path.stem: []}


def _columns(table: DelimitedTable, label_column: str | None) -> tuple[Roles, LabelColumn]:
    roles = find_roles(table.columns)
    rows = [row for _, row in table.rows]
    return roles, choose_label_column(f"{show_name(table.path)}:1", table.columns, rows, label_column, roles.columns)


def is_timed(row: NamedCells, roles: Roles) -> bool:
    return any(row[one] for one in (roles.onset, roles.offset, roles.duration) if one)


def annotation_in(row: NamedCells, label: str, path: Path, line: int, roles: Roles) -> Annotation:
    """The annotation of a row. Raises LabelError if a part is empty or not a number."""
    if not label:
        raise wrong_line(path, line, "", "a label")
    onset = read_seconds(row.get(roles.onset or "", ""), path, line, "onset")
    if roles.duration:
        duration = read_seconds(row[roles.duration], path, line, "duration")
        return Annotation(onset, round(onset + duration, END_DIGITS), label)
    return Annotation(onset, read_seconds(row.get(roles.offset or "", ""), path, line, "offset"), label)


def normal_name(name: str) -> str:
    """A file name as in a dataset: without `./` and double slashes; addresses are unchanged."""
    return name if is_url(name) else str(PurePosixPath(name))


def _table(path: Path, cells: list[tuple[int, list[str]]]) -> DelimitedTable:
    """The table, whose columns are identified by the first row or by their number. Raises LabelError if that fails."""
    table = table_of(path, with_header(cells))
    if not find_roles(table.columns).timed:
        raise wrong_line(path, cells[0][0], " ".join(table.columns), f"the columns {' '.join(_COLUMNS)}")
    return table


def with_header(cells: list[tuple[int, list[str]]]) -> list[tuple[int, list[str]]]:
    """Event rows below a header, which DCASE lists may omit; other rows unchanged."""
    line, first = cells[0]
    if len(first) in (3, 4) and is_numeric(first[-3]) and is_numeric(first[-2]):
        return [(line, list(_COLUMNS[-len(first) :])), *cells]
    return cells
