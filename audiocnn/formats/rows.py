"""CSV and TSV: segments and scores, one row each under a header. The twin of `jsonl.py`, with the same digits.

    file,channel,start,end,label,score          segments
    file,channel,start,end,LABEL,...            scores, one row a hop
    file,channel,start,end,label,score,[labels,]top_1,score_1,top_2,...    answers, one row a clip

A name with a separator, a quote or an end of a line stands in quotes (RFC 4180); an empty score is one that is not
known. Errors and recordings without a segment have no place here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from audiocnn.errors import LabelError
from audiocnn.filenames import show_name
from audiocnn.formats.columns import side_by_side, texts
from audiocnn.formats.delimited import Row, named_row, read_cells
from audiocnn.formats.found import NO_LABEL, NO_SCORE, Found, has_score
from audiocnn.formats.gathering import Gathered
from audiocnn.formats.jsonl import SCORE_DIGITS, SEGMENT_SCORE_DIGITS, ClipAnswer
from audiocnn.formats.text import read_seconds, wrong_line
from audiocnn.segments import Segment
from audiocnn.units import SECONDS_DIGITS, round_seconds

SEPARATORS = {"csv": ",", "tsv": "\t"}
PLACE_COLUMNS = ("file", "channel", "start", "end")
SEGMENT_COLUMNS = (*PLACE_COLUMNS, "label", "score")
MOST_CHANNEL = 1 << 16  # more than any recording has
NAMES = ("file", "label")  # stand as they are, spaces and all


def row(cells: Sequence[object], separator: str) -> str:
    """One row without its end, quoted where it must be."""
    return separator.join(_cell(str(cell), separator) for cell in cells)


def _cell(text: str, separator: str) -> str:
    # Python's own writer leaves ends of lines without quotes before its version 3.13.
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in (separator, '"', "\n", "\r")) else text


def segment_header(separator: str) -> str:
    """The first row of a table of segments."""
    return row(SEGMENT_COLUMNS, separator)


def segment_row(file: str, channel: int, segment: Segment, separator: str) -> str:
    """One segment."""
    times = [round_seconds(segment.start), round_seconds(segment.end)]
    score = round(float(segment.score), SEGMENT_SCORE_DIGITS) if has_score(segment) else ""
    return row([file, channel, *times, segment.label, score], separator)


def score_header(labels: Sequence[str], separator: str) -> str:
    """The first row of a table of scores."""
    return row([*PLACE_COLUMNS, *labels], separator)


def score_text(file: str, channel: int, edges: NDArray[np.float64], scores: NDArray[np.float32], separator: str) -> str:
    """Rows of scores, each with its end of line; edges and scores as in `jsonl.score_text`."""
    times = texts(edges, SECONDS_DIGITS)
    columns: list[str | list[str]] = [row([file, channel], separator) + separator, times[:-1], separator, times[1:]]
    for values in scores.T:
        columns += [separator, texts(values, SCORE_DIGITS)]
    return side_by_side(len(scores), [*columns, "\n"])


def clip_header(most: int, several: bool, separator: str) -> str:
    """The first row of a table of answers, with the columns of so many labels."""
    best = [name for number in range(1, most + 1) for name in (f"top_{number}", f"score_{number}")]
    return row([*SEGMENT_COLUMNS, *(["labels"] if several else []), *best], separator)


def clip_row(file: str, answer: ClipAnswer, top: Sequence[tuple[str, float]], separator: str) -> str:
    """One answer. No label is an empty cell; several are joined by `;`, as a table to train on may have them."""
    cells: list[object] = [file, answer.channel, round_seconds(answer.start), round_seconds(answer.end)]
    cells += ["" if answer.label is None else answer.label, round(float(answer.score), SEGMENT_SCORE_DIGITS)]
    if answer.labels is not None:
        cells.append(";".join(label for label, _, _ in answer.labels))
    cells += [cell for label, score in top for cell in (label, round(float(score), SEGMENT_SCORE_DIGITS))]
    return row(cells, separator)


class RowsWriter:
    """Segments as rows; each of the two formats has its separator."""

    separator: ClassVar[str]

    def __init__(self) -> None:
        self.notes: list[str] = []

    def begin(self) -> str:
        """The header."""
        return segment_header(self.separator) + "\n"

    def recording(self, found: Found) -> str:
        """One row a segment."""
        rows = (
            segment_row(found.file, channel, segment, self.separator) + "\n"
            for channel, track in found.tracks.items()
            for segment in track
        )
        return "".join(rows)

    def end(self) -> str:
        """Nothing."""
        return ""


def read_found(path: Path) -> list[Found]:
    """Rows of segments, cut at tabs or commas as the header is; the columns in any order, others beside them.

    Without `channel` it is 0; without `label`, or where that is empty, it is speech.
    """
    cells = read_cells(path)
    if not cells:
        raise LabelError(f"{show_name(path)}: empty; expected the header {row(SEGMENT_COLUMNS, ' ')}")
    columns = tuple(cell.strip() for cell in cells[0][1])
    if not {"file", "start", "end"} <= set(columns) or len(set(columns)) < len(columns):
        raise wrong_line(path, cells[0][0], " ".join(columns), f"the columns {row(SEGMENT_COLUMNS, ' ')}")
    if "label" not in columns and "channel" in columns:
        where = f"{show_name(path)}:{cells[0][0]}"
        raise LabelError(f'{where}: no column "label"; if these are scores, take what `detect` wrote')
    gathered = Gathered()
    for line, found in cells[1:]:
        named = named_row(path, line, columns, found, NAMES)
        gathered.add(_name_in(named, path, line), _channel_in(named, path, line), _segment_in(named, path, line))
    return gathered.found()


def _name_in(named: Row, path: Path, line: int) -> str:
    if not named["file"]:
        raise wrong_line(path, line, "", "the name of a file")
    return named["file"]


def _channel_in(named: Row, path: Path, line: int) -> int:
    word = named.get("channel", "") or "0"
    if not (word.isascii() and word.isdecimal() and len(word) < 6 and int(word) < MOST_CHANNEL):
        raise wrong_line(path, line, word, "a channel, from 0")
    return int(word)


def _segment_in(named: Row, path: Path, line: int) -> Segment:
    start, end = (read_seconds(named[column], path, line, column) for column in ("start", "end"))
    score = named.get("score", "")
    try:
        return Segment(start, end, named.get("label", "") or NO_LABEL, float(score) if score else NO_SCORE)
    except ValueError:
        raise wrong_line(path, line, score, "a score between 0 and 1") from None
