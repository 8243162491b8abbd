"""Tables in CSV and TSV."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from audiocnn.errors import LabelError
from audiocnn.filenames import show_name
from audiocnn.formats.text import read_text

Row = dict[str, str]


@dataclass(frozen=True)
class DelimitedTable:
    """A table with a header; rows are (line number, column -> cell)."""

    path: Path
    columns: tuple[str, ...]
    rows: list[tuple[int, Row]]


def read_cells(path: Path) -> list[tuple[int, list[str]]]:
    """(line number, cells) of the lines that are not blank; cut at tabs if the first has one."""
    text = read_text(path)
    first = text.lstrip("\r\n").split("\n", 1)[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter="\t" if "\t" in first else ",", strict=True)
    try:
        return [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        where = f"{show_name(path)}:{reader.line_num}"
        raise LabelError(f"{where}: not a table that can be read ({error}); check the quotes") from None


def read_table(path: Path) -> DelimitedTable:
    """A table with a header. LabelError: empty, a column named twice, a row longer or shorter than that."""
    cells = read_cells(path)
    name = show_name(path)
    if not cells:
        raise LabelError(f"{name}: empty; expected a header such as filename,label and a row for each recording")
    columns = tuple(column.strip() for column in cells[0][1])
    twice = next((column for column in columns if columns.count(column) > 1), None)
    if twice is not None:
        raise LabelError(f'{name}:{cells[0][0]}: two columns are named "{twice}"; rename one')
    return DelimitedTable(path, columns, [(line, named_row(path, line, columns, row)) for line, row in cells[1:]])


def named_row(path: Path, line: int, columns: tuple[str, ...], row: list[str]) -> Row:
    """column -> cell; LabelError where there are more cells than columns or fewer."""
    if len(row) != len(columns):
        names = " ".join(columns[:6]) + (" ..." if len(columns) > 6 else "")
        raise LabelError(f"{show_name(path)}:{line}: found {len(row)} cells, expected {len(columns)} ({names})")
    # A file's name may begin or end with a space; nothing else does on purpose.
    pairs = zip(columns, row, strict=True)
    return {column: cell if column == "filename" else cell.strip() for column, cell in pairs}
