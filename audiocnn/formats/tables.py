"""Tables: CSV and TSV with a header line."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from audiocnn.errors import LabelError, did_you_mean
from audiocnn.formats.text import read_text

Row = dict[str, str]


@dataclass(frozen=True)
class Table:
    """A table as it was read; rows are (line number, column -> cell)."""

    path: Path
    columns: tuple[str, ...]
    rows: list[tuple[int, Row]]

    def need(self, column: str) -> None:
        """LabelError where the column is missing."""
        if column not in self.columns:
            raise LabelError(f'{self.path}:1: no column "{column}"; {did_you_mean(column, self.columns)}')


def read_cells(path: Path) -> list[tuple[int, list[str]]]:
    """(line number, cells) of the lines that are not blank, cut at tabs if the first line has one, else at commas."""
    text = read_text(path)
    first = text.lstrip("\r\n").split("\n", 1)[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter="\t" if "\t" in first else ",", strict=True)
    cells: list[tuple[int, list[str]]] = []
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                cells.append((reader.line_num, row))
    except csv.Error as error:
        raise LabelError(f"{path}:{reader.line_num}: not a table that can be read ({error}); check the quotes") from None
    return cells


def read_table(path: Path) -> Table:
    """A table with a header; LabelError: empty, a column named twice, a row with more or fewer cells than the header."""
    cells = read_cells(path)
    if not cells:
        raise LabelError(f"{path}: empty; expected a header such as filename,label and one row a recording")
    columns = tuple(name.strip() for name in cells[0][1])
    twice = next((name for name in columns if columns.count(name) > 1), None)
    if twice is not None:
        raise LabelError(f'{path}:1: two columns are named "{twice}"; rename one')
    rows: list[tuple[int, Row]] = []
    for number, row in cells[1:]:
        if len(row) != len(columns):
            raise LabelError(f"{path}:{number}: found {len(row)} cells, expected {len(columns)} as in the header")
        # A file's name may begin or end with a space; nothing else does on purpose.
        pairs = zip(columns, row, strict=True)
        rows.append((number, {name: cell if name == "filename" else cell.strip() for name, cell in pairs}))
    return Table(path, columns, rows)
