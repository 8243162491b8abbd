"""Raven selection tables: cells separated by tabs below a header, times in seconds, channels from 1.

The format follows the manual of Raven Pro (Cornell Lab of Ornithology). `Begin Time (s)` and `End Time (s)` count from
the start of what is open in Raven, which may be several files in a row; `File Offset (s)` counts from the start of the
file `Begin Path`. Raven supports neither quotes nor escapes, so characters that would break a cell are escaped (see
`text.py`).

A selection has a frequency band; the ones we write reach from 0 to half the sample rate. Tables of other programs, such
as BirdNET-Analyzer, are read too, with columns in any order. The label is in `Annotation`, or in the only other column
with text (see `columns.py`). A selection that is listed once for each view counts once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from audiocnn.errors import LabelError, show_name
from audiocnn.labels.formats.base import (
    MOST_CHANNEL,
    NO_SCORE,
    ColumnFormat,
    LabelCollector,
    LabelledRecording,
    has_score,
    round_score,
)
from audiocnn.labels.formats.columns import LabelColumn, NamedCells, choose_label_column
from audiocnn.labels.formats.text import escape_cell, read_lines, read_seconds, unescape, wrong_line
from audiocnn.segments.segment import Segment
from audiocnn.units import parse_number, round_seconds

_BEGIN, _END, _OFFSET = "Begin Time (s)", "End Time (s)", "File Offset (s)"
_BAND = ("Low Freq (Hz)", "High Freq (Hz)")
_COLUMNS = ("Selection", "View", "Channel", _BEGIN, _END, *_BAND, "Begin Path", _OFFSET, "Annotation", "Score")
_FILE_COLUMNS = ("Begin Path", "Begin File")
# Measurements that Raven and other programs add; those with a unit in their name are recognised by it.
_OTHER_COLUMNS = frozenset(
    {"Selection", "View", "Channel", "Begin Path", "Begin File", "End Path", "End File", "Begin Clock Time"}
    | {"End Clock Time", "Begin Date", "End Date", "Begin Date Time", "End Date Time"}
)
_MEASURED = re.compile(r"\(.*\)\s*$")
_SCORE_COLUMNS = ("Score", "Confidence")
_VIEW = "Spectrogram 1"
_NO_RATE_HZ = 48000  # half of it is the top of the band if the sample rate is unknown
_OWN_SUFFIX = re.compile(r"(\.Table\.\d+)?\.(selections|BirdNET\.selection\.table)$", re.IGNORECASE)
_END_DIGITS = 8  # for times that are sums


class Raven(ColumnFormat):
    """A row for each segment. Files are treated as opened in a row, so begin times continue from one to the next."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = 0
        self.seconds = 0.0  # total duration of the previous recordings

    def begin(self) -> str:
        return "\t".join(_COLUMNS) + "\n"

    def recording(self, recording: LabelledRecording) -> str:
        if recording.segments and recording.sample_rate is None:
            self.note(f"unknown sample rate: selections reach from 0 to {_NO_RATE_HZ // 2} Hz")
        tracks = recording.tracks.items()
        text = "".join(self._row(recording, channel, one) for channel, track in tracks for one in track)
        self.seconds += recording.last_seconds
        return text

    def _row(self, recording: LabelledRecording, channel: int, segment: Segment) -> str:
        self.rows += 1
        offset, end = round_seconds(segment.start), round_seconds(segment.end)
        begin = round_seconds(self.seconds + segment.start)
        cells = [str(self.rows), _VIEW, str(channel + 1), f"{begin:.4f}", f"{begin + (end - offset):.4f}"]
        cells += ["0", f"{(recording.sample_rate or _NO_RATE_HZ) / 2:g}", escape_cell(recording.file), f"{offset:.4f}"]
        score = f"{round_score(segment.score):.4f}" if has_score(segment) else ""
        return "\t".join([*cells, escape_cell(segment.label), score]) + "\n"

    @staticmethod
    def read(path: Path, label_column: str | None = None) -> list[LabelledRecording]:
        """Recordings by the path or name in the table, or else by the stem of the table. An empty file has none."""
        collector = LabelCollector()
        seen: set[tuple[object, ...]] = set()
        rows = _rows(path)
        labels = _label_column(path, rows, label_column)
        for number, row in rows:
            begin, end = (read_seconds(row[column], path, number, column) for column in (_BEGIN, _END))
            onset = begin
            file = next((row[column] for column in _FILE_COLUMNS if row.get(column)), "")
            if file and row.get(_OFFSET):
                onset = read_seconds(row[_OFFSET], path, number, _OFFSET)
                end = round(onset + (end - begin), _END_DIGITS)
            label = next(iter(labels.labels_in(row)) if labels else iter(()), "")
            if not label:
                raise wrong_line(path, number, "", f'a label in the column "{labels.name if labels else ""}"')
            score = next((row[column] for column in _SCORE_COLUMNS if row.get(column)), None)
            segment = Segment(onset, end, label, NO_SCORE if score is None else _number(score, path, number, "score"))
            channel = _channel(row.get("Channel", ""), path, number)
            name = file or own_stem(path)
            listed = (row.get("Selection") or number, name, channel, onset, end)
            if listed not in seen:
                seen.add(listed)
                collector.add(name, channel, segment)
        return collector.recordings()

    @staticmethod
    def label_column(path: Path, label_column: str | None = None) -> LabelColumn | None:
        return _label_column(path, _rows(path), label_column)


def _label_column(path: Path, rows: Sequence[tuple[int, NamedCells]], wanted: str | None) -> LabelColumn | None:
    """The column with labels; None for a table without selections."""
    if not rows:
        return None
    columns = list(rows[0][1])
    others = [one for one in columns if one in _OTHER_COLUMNS or _MEASURED.search(one)]
    return choose_label_column(show_name(path), columns, [row for _, row in rows], wanted, others, any_text=True)


def own_stem(path: Path) -> str:
    """The recording that a table belongs to: `a.wav` has `a.Table.1.selections.txt`."""
    return _OWN_SUFFIX.sub("", path.stem) or path.stem


def _rows(path: Path) -> list[tuple[int, NamedCells]]:
    """(line, column -> cell) of a table."""
    lines = read_lines(path)
    if not lines:
        return []
    header, columns = lines[0][0], [cell.strip() for cell in lines[0][1].split("\t")]
    for column in (_BEGIN, _END):
        if column not in columns:
            raise wrong_line(path, header, lines[0][1], f'a header with "{column}", and cells separated by tabs')
    rows: list[tuple[int, NamedCells]] = []
    for number, line in lines[1:]:
        cells = [unescape(cell.strip()) for cell in line.split("\t")]
        if len(cells) != len(columns):
            name = f"{show_name(path)}:{number}"
            raise LabelError(f"{name}: found {len(cells)} cells, expected {len(columns)} as in the header; correct it")
        if any("\0" in cell for cell in cells):
            raise wrong_line(path, number, line, "text without a zero byte")
        rows.append((number, dict(zip(columns, cells, strict=True))))
    return rows


def _number(word: str, path: Path, line: int, what: str) -> float:
    try:
        return parse_number(word)
    except ValueError:
        raise wrong_line(path, line, word, f"a {what}, such as 0.93") from None


def _channel(word: str, path: Path, line: int) -> int:
    """The channel, from 0; the first one if the table has no such column or the cell is empty."""
    if not word:
        return 0
    if not (word.isascii() and word.isdigit() and len(word) < 6 and 1 <= int(word) <= MOST_CHANNEL):
        raise wrong_line(path, line, word, "a channel, from 1")
    return int(word) - 1
