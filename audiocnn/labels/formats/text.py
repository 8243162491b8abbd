"""Common parts of text formats: reading lines and tables, errors with line numbers, escapes, and columns of numbers.

Escapes are used for names and labels in formats that cannot hold them: characters that would split a line into words
are written as `%` and two hex digits, as in URIs (RFC 3986, section 2.1), for each byte of UTF-8. A name without
spaces, control characters and bytes that are not text is unchanged, and in files of other programs only what looks like
such a byte is decoded. A `%` is escaped if it would be taken for one of these escapes.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from audiocnn.errors import LabelError, show_name
from audiocnn.labels.formats.columns import NamedCells, find_roles
from audiocnn.units import parse_number

MOST_LABEL_BYTES = 1 << 27  # of a label file; in memory it takes several times as much
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def read_text(path: Path, *, any_bytes: bool = False) -> str:
    """The whole file as UTF-8, or as UTF-16 with a byte order mark. Raises LabelError if it is missing, unreadable, too
    large, or not text.

    any_bytes: bytes that are not UTF-8 are decoded like in `os.fsdecode`, for file names.
    """
    name = show_name(path)
    try:
        data = read_bytes(path)
        if data.startswith(_UTF16):
            text = data.decode("utf-16")
        else:
            text = data.decode("utf-8-sig", "surrogateescape" if any_bytes else "strict")
    except FileNotFoundError:
        raise LabelError(f"{name}: no such file; check the name") from None
    except OSError as error:
        raise LabelError(f"{name}: cannot be read ({error.strerror}); check the name and its permissions") from None
    except UnicodeDecodeError as error:
        raise not_utf8(path, error.object[: error.start].count(b"\n") + 1) from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise LabelError(f"{name}:{line}: contains a zero byte; check that this is a label file")
    return text


def read_bytes(path: Path) -> bytes:
    """The whole file. Raises OSError, or LabelError if it has more than MOST_LABEL_BYTES, whatever size the system
    reports."""
    with path.open("rb") as file:
        data = file.read(MOST_LABEL_BYTES + 1)
    if len(data) > MOST_LABEL_BYTES:
        most = f"more than {MOST_LABEL_BYTES >> 20} MiB"
        raise LabelError(f"{show_name(path)}: {most}; check that this is a label file, or split it")
    return data


def read_lines(path: Path) -> list[tuple[int, str]]:
    """(number from 1, text) of the lines that are not blank."""
    # Not splitlines(), which also splits at form feeds and Unicode separators, which a label may contain.
    lines = read_text(path).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return [(number, line) for number, line in enumerate(lines, 1) if line.strip()]


def not_utf8(path: Path, line: int) -> LabelError:
    return LabelError(f"{show_name(path)}:{line}: not UTF-8 text; save it as UTF-8")


def wrong_line(path: Path, line: int, found: str, expected: str) -> LabelError:
    shown = show_name(found.strip())
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    return LabelError(
        f"{show_name(path)}:{line}: found " + (f'"{shown}"' if shown else "nothing") + f", expected {expected}"
    )


def read_seconds(word: str, path: Path, line: int, what: str) -> float:
    """A time in seconds. Raises LabelError if it is not a number. NaN and infinity are checked later, with the
    recording."""
    try:
        return parse_number(word)
    except ValueError:
        raise wrong_line(path, line, word, f"the {what} in seconds, such as 1.25") from None


_OURS = "(?:[01][0-9A-F]|2[025]|3C|7F|[89A-F][0-9A-F])"  # bytes that may be escaped: 00-20, quote, "%", "<", 7F-FF
_ESCAPED = re.compile(f"(?:%{_OURS})+")
_PERCENT = re.compile(f"%(?={_OURS})")
_NOT_IN_A_WORD = re.compile(r"[\s\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_NOT_IN_A_CELL = re.compile(r'[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]|^[\s"]|\s$')
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def escape_word(text: str) -> str:
    """A single word for any reader, whatever characters it takes for spaces. An empty text stays empty."""
    return _NOT_IN_A_WORD.sub(_as_bytes, _PERCENT.sub("%25", text))


def escape_cell(text: str) -> str:
    """A cell of a table without quoting: tabs and line ends are escaped, and spaces and quotes at the edges."""
    return _NOT_IN_A_CELL.sub(_as_bytes, _PERCENT.sub("%25", text))


def escape_controls(text: str) -> str:
    """A text that may contain line ends and tabs, but no other control characters."""
    return _CONTROLS.sub(_as_bytes, _PERCENT.sub("%25", text))


def unescape(text: str) -> str:
    """The inverse of `escape_word` and `escape_cell`; bytes that are not UTF-8 are decoded as in `os.fsdecode`."""
    return _ESCAPED.sub(lambda found: _decoded(found[0]), text)


def _as_bytes(found: re.Match[str]) -> str:
    # Half of a surrogate pair, which JSON may contain, becomes three bytes that are not UTF-8.
    character = found[0]
    error = "surrogateescape" if "\udc80" <= character <= "\udcff" else "surrogatepass"
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", error))


def _decoded(escaped: str) -> str:
    return bytes.fromhex(escaped.replace("%", "")).decode("utf-8", "surrogateescape")


_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_SAID_SEPARATOR = re.compile(r'"?sep=(.)"?', re.IGNORECASE)  # the first line of tables that are meant for Excel


def cell_separator(line: str) -> str:
    """The separator of a table, from its first line: a tab if there is one; a semicolon if there are at least as many
    as commas, which are then decimal commas, as in 0,5;1,5;dog; otherwise a comma."""
    plain = _QUOTED.sub("", line)
    if "\t" in plain:
        return "\t"
    return ";" if plain.count(";") >= max(1, plain.count(",")) else ","


@dataclass(frozen=True)
class DelimitedTable:
    """A table with a header; rows are (line number, column -> cell)."""

    path: Path
    columns: tuple[str, ...]
    rows: list[tuple[int, NamedCells]]


def read_cells(path: Path) -> list[tuple[int, list[str]]]:
    """(line number, cells) of the lines that are not blank, split like the first line: see `cell_separator`."""
    text = read_text(path, any_bytes=True)  # `named_row` accepts such bytes in file names only
    first = text.lstrip("\r\n").split("\n", 1)[0]
    said = _SAID_SEPARATOR.fullmatch(first.strip("\r"))
    separator = said[1] if said else cell_separator(first)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
        return rows[1:] if said else rows
    except csv.Error as error:
        where = f"{show_name(path)}:{reader.line_num}"
        raise LabelError(f"{where}: not a valid table ({show_name(error)}); check the quotes") from None


def read_table(path: Path) -> DelimitedTable:
    """A table with a header. Raises LabelError if it is empty, has two columns of the same name, or has a row of
    another length."""
    cells = read_cells(path)
    if not cells:
        what = "empty; it needs a header such as filename,label and a row for each recording"
        raise LabelError(f"{show_name(path)}: {what}")
    return table_of(path, cells)


def table_of(path: Path, cells: list[tuple[int, list[str]]]) -> DelimitedTable:
    """The table of (line number, cells), whose first row is the header. Raises LabelError like `read_table`."""
    name = show_name(path)
    columns = tuple(column.strip() for column in cells[0][1])
    if not _is_text("".join(columns)):
        raise not_utf8(path, cells[0][0])
    twice = next((column for column in columns if columns.count(column) > 1), None)
    if twice is not None:
        raise LabelError(f'{name}:{cells[0][0]}: two columns are named "{show_name(twice)}"; rename one')
    file = find_roles(columns).file
    return DelimitedTable(
        path, columns, [(line, named_row(path, line, columns, row, (file or "",))) for line, row in cells[1:]]
    )


def named_row(
    path: Path, line: int, columns: tuple[str, ...], row: list[str], as_they_are: tuple[str, ...]
) -> NamedCells:
    """column -> cell. Raises LabelError if the number of cells differs from that of the columns, or if a cell is
    not text. File names in the column `as_they_are` may have any bytes, and spaces at their ends; other cells are
    stripped."""
    if len(row) != len(columns):
        names = show_name(" ".join(columns[:6])) + (" ..." if len(columns) > 6 else "")
        raise LabelError(f"{show_name(path)}:{line}: found {len(row)} cells, expected {len(columns)} ({names})")
    pairs = list(zip(columns, row, strict=True))
    if not _is_text("".join(cell for column, cell in pairs if column not in as_they_are or column == "label")):
        raise not_utf8(path, line)
    return {column: cell if column in as_they_are else cell.strip() for column, cell in pairs}


def _is_text(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


_NEAR_TIE = 1e-3  # far above the rounding error of the product below, for any time and score


def round_values(values: ArrayLike, digits: int) -> list[float]:
    """`round(value, digits)` of each of (n,) numbers, but faster."""
    exact = np.asarray(values, dtype=np.float64)
    scaled = exact * 10.0**digits
    whole = np.rint(scaled)
    found: list[float] = (whole / 10.0**digits).tolist()
    # Python rounds the number itself; its product with a power of ten may be on the other side of a half.
    for k in np.flatnonzero(np.abs(scaled - whole) > 0.5 - _NEAR_TIE).tolist():
        found[k] = round(float(exact[k]), digits)
    return found


def format_values(values: ArrayLike, digits: int) -> list[str]:
    return list(map(repr, round_values(values, digits)))


def join_columns(rows: int, columns: Sequence[str | list[str]]) -> str:
    """This number of rows; a column is a list with a text for each row, or one text for all of them."""
    parts = [""] * (rows * len(columns))
    for k, column in enumerate(columns):
        parts[k :: len(columns)] = [column] * rows if isinstance(column, str) else column
    return "".join(parts)
