"""CSV and TSV: segments or scores, one a row, with a header. The tabular counterpart of `jsonl.py`, with the same
digits.

    file,channel,start,end,label,score          segments
    file,channel,start,end,LABEL,...            scores, one row a hop

A name with a separator, a quote or a line end is quoted (RFC 4180). An empty score means that it is unknown. Errors and
recordings without segments are not stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audiocnn.errors import LabelError, show_name
from audiocnn.labels.formats.base import (
    DEFAULT_LABEL,
    MOST_CHANNEL,
    NO_SCORE,
    ColumnFormat,
    LabelCollector,
    LabelledRecording,
    ResultT,
    Writer,
    has_score,
    round_score,
)
from audiocnn.labels.formats.columns import LabelColumn, NamedCells, choose_label_column
from audiocnn.labels.formats.jsonl import SCORE_DIGITS
from audiocnn.labels.formats.text import (
    format_values,
    join_columns,
    named_row,
    read_cells,
    read_seconds,
    read_table,
    wrong_line,
)
from audiocnn.segments.segment import Segment
from audiocnn.units import SECONDS_DIGITS, parse_number, round_seconds

CELL_SEPARATORS = {"csv": ",", "tsv": "\t"}
PLACE_COLUMNS = ("file", "channel", "start", "end")
SEGMENT_COLUMNS = (*PLACE_COLUMNS, "label", "score")
_ROW_COLUMNS = {"file", "start", "end"}
_NAMES = ("file", "label")  # kept as they are, including spaces
Cells = Sequence[object]


class TableWriter(Writer[ResultT]):
    """Writes a table: `columns`, then the `rows` of each recording, with cells separated by `separator`."""

    def __init__(self, columns: Sequence[str], rows: Callable[[ResultT], Iterable[Cells]], separator: str) -> None:
        super().__init__()
        self.columns, self.rows, self.separator = columns, rows, separator

    def begin(self) -> str:
        return table_row(self.columns, self.separator) + "\n"

    def recording(self, recording: ResultT) -> str:
        return "".join(table_row(cells, self.separator) + "\n" for cells in self.rows(recording))


def table_row(cells: Cells, separator: str) -> str:
    """One row without a line end, quoted where necessary."""
    return separator.join(_cell(str(cell), separator) for cell in cells)


def _cell(text: str, separator: str) -> str:
    # Python's csv writer does not quote line ends before version 3.13.
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in (separator, '"', "\n", "\r")) else text


def segment_cells(file: str, channel: int, segment: Segment) -> Cells:
    """A segment with the columns `SEGMENT_COLUMNS`."""
    times = round_seconds(segment.start), round_seconds(segment.end)
    return [file, channel, *times, segment.label, round_score(segment.score) if has_score(segment) else ""]


def segment_rows(recording: LabelledRecording) -> Iterator[Cells]:
    for channel, track in recording.tracks.items():
        for segment in track:
            yield segment_cells(recording.file, channel, segment)


def score_rows(file: str, channel: int, edges: NDArray[np.float64], scores: NDArray[np.float32], separator: str) -> str:
    """Rows of scores, each with its line end; edges and scores as in `jsonl.score_lines`."""
    times = format_values(edges, SECONDS_DIGITS)
    columns: list[str | list[str]] = [
        table_row([file, channel], separator) + separator,
        times[:-1],
        separator,
        times[1:],
    ]
    for values in scores.T:
        columns += [separator, format_values(values, SCORE_DIGITS)]
    return join_columns(len(scores), [*columns, "\n"])


class Csv(TableWriter[LabelledRecording], ColumnFormat):
    def __init__(self) -> None:
        super().__init__(SEGMENT_COLUMNS, segment_rows, CELL_SEPARATORS["csv"])

    @staticmethod
    def read(path: Path, label_column: str | None = None) -> list[LabelledRecording]:
        """Rows of segments, with the separator of the header. Columns may have any order, and extra columns are
        ignored.

        Without `channel`, it is 0. Without a label column, or if a label is empty, it is speech.
        """
        cells = read_cells(path)
        if not cells:
            raise LabelError(f"{show_name(path)}: empty; it needs the header {table_row(SEGMENT_COLUMNS, ' ')}")
        columns = tuple(cell.strip() for cell in cells[0][1])
        if not set(columns) >= _ROW_COLUMNS or len(set(columns)) < len(columns):
            raise wrong_line(path, cells[0][0], " ".join(columns), f"the columns {table_row(SEGMENT_COLUMNS, ' ')}")
        rows = [(line, named_row(path, line, columns, found, _NAMES)) for line, found in cells[1:]]
        labels = _label_column(path, cells[0][0], columns, [row for _, row in rows], label_column)
        collector = LabelCollector()
        for line, row in rows:
            name, channel = _name_in(row, path, line), _channel_in(row, path, line)
            for label in (labels.labels_in(row) if labels else []) or [DEFAULT_LABEL]:
                collector.add(name, channel, _segment_in(row, label, path, line))
        return collector.recordings()

    @staticmethod
    def label_column(path: Path, label_column: str | None = None) -> LabelColumn | None:
        table = read_table(path)
        return _label_column(path, 1, table.columns, [row for _, row in table.rows], label_column)


def _label_column(
    path: Path, line: int, columns: Sequence[str], rows: Sequence[NamedCells], wanted: str | None
) -> LabelColumn | None:
    """The column with labels; None if there is none. Raises LabelError if there are several, or columns of scores."""
    where = f"{show_name(path)}:{line}"
    if wanted is None and "label" in columns:
        return LabelColumn("label")
    if wanted is None and "channel" in columns:
        raise LabelError(
            f'{where}: no column "label"; if these are scores, give the segments that `detect` wrote instead'
        )
    if wanted is None and set(columns) <= {*SEGMENT_COLUMNS}:
        return None
    return choose_label_column(where, columns, rows, wanted, PLACE_COLUMNS)


class Tsv(Csv):
    def __init__(self) -> None:
        super().__init__()
        self.separator = CELL_SEPARATORS["tsv"]


def _name_in(named: NamedCells, path: Path, line: int) -> str:
    if not named["file"]:
        raise wrong_line(path, line, "", "a file name")
    return named["file"]


def _channel_in(named: NamedCells, path: Path, line: int) -> int:
    word = named.get("channel", "") or "0"
    if not (word.isascii() and word.isdecimal() and len(word) < 6 and int(word) < MOST_CHANNEL):
        raise wrong_line(path, line, word, "a channel, from 0")
    return int(word)


def _segment_in(named: NamedCells, label: str, path: Path, line: int) -> Segment:
    start, end = (read_seconds(named[column], path, line, column) for column in ("start", "end"))
    score = named.get("score", "")
    try:
        return Segment(start, end, label, parse_number(score) if score else NO_SCORE)
    except ValueError:
        raise wrong_line(path, line, score, "a score between 0 and 1") from None
