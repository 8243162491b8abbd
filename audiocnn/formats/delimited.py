"""Tables in CSV and TSV."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from audiocnn.errors import LabelError
from audiocnn.filenames import show_name
from audiocnn.formats.text import not_utf8, read_text

Row = dict[str, str]
NAMES = ("filename",)  # a file's name may be any bytes, and begin or end with a space; nothing else does on purpose


@dataclass(frozen=True)
class DelimitedTable:
    """A table with a header; rows are (line number, column -> cell)."""

    path: Path
    columns: tuple[str, ...]
    rows: list[tuple[int, Row]]


def read_cells(path: Path) -> list[tuple[int, list[str]]]:
    """(line number, cells) of the lines that are not blank; cut at tabs if the first has one."""
    text = read_text(path, any_bytes=True)  # `named_row` lets bytes pass in names of files alone
    first = text.lstrip("\r\n").split("\n", 1)[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter="\t" if "\t" in first else ",", strict=True)
    try:
        return [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        where = f"{show_name(path)}:{reader.line_num}"
        raise LabelError(f"{where}: not a table that can be read ({show_name(error)}); check the quotes") from None


def read_table(path: Path) -> DelimitedTable:
    """A table with a header. LabelError: empty, a column named twice, a row longer or shorter than that."""
    cells = read_cells(path)
    name = show_name(path)
    if not cells:
        raise LabelError(f"{name}: empty; expected a header such as filename,label and a row for each recording")
    columns = tuple(column.strip() for column in cells[0][1])
    if not _is_text("".join(columns)):
        raise not_utf8(path, cells[0][0])
    twice = next((column for column in columns if columns.count(column) > 1), None)
    if twice is not None:
        raise LabelError(f'{name}:{cells[0][0]}: two columns are named "{show_name(twice)}"; rename one')
    return DelimitedTable(path, columns, [(line, named_row(path, line, columns, row)) for line, row in cells[1:]])


def named_row(
    path: Path, line: int, columns: tuple[str, ...], row: list[str], as_they_are: tuple[str, ...] = NAMES
) -> Row:
    """column -> cell; LabelError where there are more cells than columns or fewer, or cells that are no text."""
    if len(row) != len(columns):
        names = show_name(" ".join(columns[:6])) + (" ..." if len(columns) > 6 else "")
        raise LabelError(f"{show_name(path)}:{line}: found {len(row)} cells, expected {len(columns)} ({names})")
    pairs = list(zip(columns, row, strict=True))
    if not _is_text("".join(cell for column, cell in pairs if column not in ("filename", "file"))):
        raise not_utf8(path, line)
    return {column: cell if column in as_they_are else cell.strip() for column, cell in pairs}


def _is_text(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)
