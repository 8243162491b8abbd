"""Selection tables of Raven: cells between tabs under a header, times in seconds, channels from 1.

As the manual of Raven Pro has them (Cornell Lab of Ornithology): `Begin Time (s)` and `End Time (s)` count from the
start of what is open, which may be several files in a row; `File Offset (s)` counts from the start of the file
`Begin Path`. Raven knows no quotes and no escapes: what would break a cell is escaped (see `escapes.py`).

A selection has a band of frequencies; ours reach from 0 to half the sample rate. Tables of others are read too, such as
those of BirdNET-Analyzer: the columns in any order, the label by the name that its column has there; a selection that
is listed once for each view counts once.
"""

from __future__ import annotations

import re
from pathlib import Path

from audiocnn.errors import LabelError
from audiocnn.filenames import show_name
from audiocnn.formats.escapes import escape_cell, unescape
from audiocnn.formats.found import NO_LABEL, NO_SCORE, Found, has_score
from audiocnn.formats.gathering import Gathered
from audiocnn.formats.jsonl import SEGMENT_SCORE_DIGITS
from audiocnn.formats.text import read_lines, read_seconds, wrong_line
from audiocnn.segments import Segment
from audiocnn.units import round_seconds

BEGIN, END, OFFSET = "Begin Time (s)", "End Time (s)", "File Offset (s)"
_BAND = ("Low Freq (Hz)", "High Freq (Hz)")
COLUMNS = ("Selection", "View", "Channel", BEGIN, END, *_BAND, "Begin Path", OFFSET, "Annotation", "Score")
FILE_COLUMNS = ("Begin Path", "Begin File")
LABEL_COLUMNS = ("Annotation", "Label", "Common Name", "Species", "Species Code", "Class")
SCORE_COLUMNS = ("Score", "Confidence")
VIEW = "Spectrogram 1"
NO_RATE_HZ = 48000  # whose half is the band where the sample rate is not known
MOST_CHANNEL = 1 << 16
_OWN_SUFFIX = re.compile(r"(\.Table\.\d+)?\.(selections|BirdNET\.selection\.table)$", re.IGNORECASE)
_END_DIGITS = 8  # of times that are sums

Row = dict[str, str]


class Writer:
    """A row for each segment. Files follow each other, as Raven opens several: begin times go on where one ends."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.rows = 0
        self.seconds = 0.0  # of the recordings before

    def begin(self) -> str:
        """The header."""
        return "\t".join(COLUMNS) + "\n"

    def recording(self, found: Found) -> str:
        """Its segments, channel by channel."""
        if found.segments and found.sample_rate is None:
            note = f"the sample rate is not known: selections reach from 0 to {NO_RATE_HZ // 2} Hz"
            self.notes += [] if note in self.notes else [note]
        text = "".join(self._row(found, channel, one) for channel, track in found.tracks.items() for one in track)
        self.seconds += found.last_seconds
        return text

    def end(self) -> str:
        """Nothing."""
        return ""

    def _row(self, found: Found, channel: int, segment: Segment) -> str:
        self.rows += 1
        offset, end = round_seconds(segment.start), round_seconds(segment.end)
        begin = round_seconds(self.seconds + segment.start)
        cells = [str(self.rows), VIEW, str(channel + 1), f"{begin:.4f}", f"{begin + (end - offset):.4f}"]
        cells += ["0", f"{(found.sample_rate or NO_RATE_HZ) / 2:g}", escape_cell(found.file), f"{offset:.4f}"]
        score = f"{round(float(segment.score), SEGMENT_SCORE_DIGITS):.4f}" if has_score(segment) else ""
        return "\t".join([*cells, escape_cell(segment.label), score]) + "\n"


def read_found(path: Path) -> list[Found]:
    """Recordings by the path or name in the table, else by the stem of the table. An empty file has none."""
    found = Gathered()
    seen: set[tuple[object, ...]] = set()
    for number, row in _rows(path):
        begin, end = (read_seconds(row[column], path, number, column) for column in (BEGIN, END))
        onset = begin
        file = next((row[column] for column in FILE_COLUMNS if row.get(column)), "")
        if file and row.get(OFFSET):
            onset = read_seconds(row[OFFSET], path, number, OFFSET)
            end = round(onset + (end - begin), _END_DIGITS)
        label = next((row[column] for column in LABEL_COLUMNS if row.get(column)), NO_LABEL)
        score = next((row[column] for column in SCORE_COLUMNS if row.get(column)), None)
        segment = Segment(onset, end, label, NO_SCORE if score is None else _number(score, path, number, "score"))
        channel = _channel(row.get("Channel", ""), path, number)
        name = file or own_stem(path)
        listed = (row.get("Selection") or number, name, channel, onset, end)
        if listed not in seen:
            seen.add(listed)
            found.add(name, channel, segment)
    return found.found()


def own_stem(path: Path) -> str:
    """The recording that a table is of: `a.wav` has `a.Table.1.selections.txt`."""
    return _OWN_SUFFIX.sub("", path.stem) or path.stem


def _rows(path: Path) -> list[tuple[int, Row]]:
    """(line, column -> cell) of a table."""
    lines = read_lines(path)
    if not lines:
        return []
    header, columns = lines[0][0], [cell.strip() for cell in lines[0][1].split("\t")]
    for column in (BEGIN, END):
        if column not in columns:
            raise wrong_line(path, header, lines[0][1], f'a header with "{column}", the cells between tabs')
    rows: list[tuple[int, Row]] = []
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
        return float(word)
    except ValueError:
        raise wrong_line(path, line, word, f"a {what}, such as 0.93") from None


def _channel(word: str, path: Path, line: int) -> int:
    """From 0; a table without the column, or a cell without a number, is of the first."""
    if not word:
        return 0
    if not (word.isascii() and word.isdigit() and len(word) < 6 and 1 <= int(word) <= MOST_CHANNEL):
        raise wrong_line(path, line, word, "a channel, from 1")
    return int(word) - 1
