"""TextGrid of Praat ("TextGrid file formats" and "Text files" in its manual): tiers of intervals with text.

The long form is written, with one tier for each label (and channel, if there are several); overlapping segments go to a
second tier. Both the long and the short form are read. As the manual says, only quoted texts, free-standing numbers and
flags count. A label is the text of an interval; intervals without text and points are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from pathlib import Path

from audiocnn.errors import LabelError, show_name
from audiocnn.labels.formats.base import (
    DEFAULT_LABEL,
    MOST_CHANNEL,
    NO_SCORE,
    LabelCollector,
    LabelFormat,
    LabelledRecording,
    free_name,
)
from audiocnn.labels.formats.text import escape_cell, escape_controls, read_seconds, read_text, unescape, wrong_line
from audiocnn.segments.segment import Segment
from audiocnn.units import SECONDS_DIGITS, round_seconds

_SHORTEST_SECONDS = 10.0**-SECONDS_DIGITS
_HEAD = 'File type = "ooTextFile"\nObject class = "TextGrid"\n\n'
_CHANNEL = re.compile(r", channel ([1-9]\d{0,4})(?: \(\d+\))?$")
# Quoted text | flag | number | comment.
_TOKEN = re.compile(r'(?<!\S)(?:"((?:[^"]++|"")*+)"|<(\w+)>|([-+]?[\d.][-+\w.]*)(?=\s|$|%)|(!)[^\n]*)')
_Interval = tuple[float, float, str]


class TextGrid(LabelFormat):
    def recording(self, recording: LabelledRecording) -> str:
        """The tiers, from 0 to the end of the recording, or to that of the last segment if the duration is unknown."""
        end = max(round_seconds(recording.last_seconds), _SHORTEST_SECONDS)
        tiers = list(self.tiers(recording))
        lines = [f"xmin = 0 \nxmax = {_number(end)} \ntiers? <exists> \nsize = {len(tiers)} \nitem []: \n"]
        for number, (name, intervals) in enumerate(tiers, 1):
            lines.append(f"    item [{number}]:\n" + _tier(name, list(_filled(intervals, end)), end))
        return _HEAD + "".join(lines)

    def tiers(self, recording: LabelledRecording) -> Iterator[tuple[str, list[_Interval]]]:
        """(name, intervals without overlap) of each tier; a label without segments has an empty tier."""
        names: dict[str, int] = {}
        several = len(recording.tracks) > 1 or any(channel > 0 for channel in recording.tracks)
        for channel, track in sorted(recording.tracks.items()) or [(0, ())]:
            labels = dict.fromkeys([*recording.thresholds, *(segment.label for segment in track)])
            for label in labels or [DEFAULT_LABEL]:
                name = label + (f", channel {channel + 1}" if several else "")
                rows = _apart([s for s in track if s.label == label], self.note)
                yield from ((free_name(name, names), row) for row in rows)

    @staticmethod
    def read(path: Path) -> list[LabelledRecording]:
        """The stem of the file, its duration, and every interval with text; a tier name may end in `, channel N`."""
        collector = LabelCollector()
        collector.name(path.stem)
        tokens = _Tokens(path)
        tokens.header()
        tokens.seconds("xmin")
        duration = tokens.seconds("xmax")
        if tokens.word("<exists>") == "exists":
            for _ in range(tokens.count()):
                _read_tier(tokens, collector, path.stem)
        (found,) = collector.recordings()
        tracks = {
            channel: tuple(sorted(track, key=lambda s: (s.start, s.end))) for channel, track in found.tracks.items()
        }
        return [LabelledRecording(path.stem, tracks, duration)]


def _apart(segments: list[Segment], note: Callable[[str], None]) -> list[list[_Interval]]:
    """Rows of intervals without overlap, as few as possible, at least one."""
    rows: list[list[_Interval]] = [[]]
    ends = [(0.0, 0)]  # (its end, row), the earliest first
    for segment in sorted(segments, key=lambda s: (s.start, s.end)):
        start, end = round_seconds(segment.start), round_seconds(segment.end)
        if end <= start:
            note("segments without length are omitted, because a tier cannot contain them")
            continue
        if ends and ends[0][0] <= start:
            which = heappop(ends)[1]
        else:
            which = len(rows)
            rows.append([])
        rows[which].append((start, end, segment.label))
        heappush(ends, (end, which))
    return rows


def _filled(intervals: list[_Interval], end: float) -> Iterator[_Interval]:
    """The intervals, and empty ones between them, because a tier has no gaps."""
    at = 0.0
    for interval in intervals:
        if interval[0] > at:
            yield at, interval[0], ""
        yield interval
        at = interval[1]
    if at < end:
        yield at, end, ""


def _tier(name: str, intervals: list[_Interval], end: float) -> str:
    inside = " " * 8
    lines = ['class = "IntervalTier"', f"name = {_quoted(name)}", "xmin = 0", f"xmax = {_number(end)}"]
    lines.append(f"intervals: size = {len(intervals)}")
    for number, (start, stop, text) in enumerate(intervals, 1):
        lines.append(f"intervals [{number}]:")
        lines += [f"    xmin = {_number(start)}", f"    xmax = {_number(stop)}", f"    text = {_quoted(text)}"]
    return "".join(f"{inside}{line} \n" if not line.endswith("]:") else f"{inside}{line}\n" for line in lines)


def _number(seconds: float) -> str:
    """As Praat writes numbers: whole seconds without a decimal point."""
    return repr(seconds).removesuffix(".0")


def _quoted(text: str) -> str:
    """Quotes are doubled. Bytes that are not text are escaped, as are labels of spaces only, which would be read as
    empty, and line ends, which Praat accepts but line-based readers do not."""
    safe = escape_controls(text).replace("\n", "%0A") if text.strip() else escape_cell(text)
    return '"' + safe.replace('"', '""') + '"'


def _read_tier(tokens: _Tokens, collector: LabelCollector, file: str) -> None:
    kind = tokens.text("the class of a tier")
    if kind not in ("IntervalTier", "TextTier"):
        raise tokens.wrong(kind, "IntervalTier or TextTier")
    named = _CHANNEL.search(tokens.text("the name of a tier"))
    channel = min(int(named[1]), MOST_CHANNEL) - 1 if named else 0
    tokens.seconds("xmin")
    tokens.seconds("xmax")
    for _ in range(tokens.count()):
        start = tokens.seconds("start")
        end = tokens.seconds("end") if kind == "IntervalTier" else start
        text = tokens.text("the text")
        if kind == "IntervalTier" and text.strip():
            collector.add(file, channel, Segment(start, end, unescape(text), NO_SCORE))


class _Tokens:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.all = read_text(path).replace("\r\n", "\n").replace("\r", "\n")
        self.found = (token for token in _TOKEN.finditer(self.all) if token[4] is None)
        self.at = self.counted = 0
        self.lines = 1  # up to `counted`, so that lines are not counted again for each number

    def header(self) -> None:
        """Raises LabelError for another kind of file."""
        first = next(self.found, None)
        if first is None or first[1] != "ooTextFile":
            raise LabelError(
                f"{show_name(self.path)}: not a Praat text file; save it as a text file or short text file"
            )
        if self.text("TextGrid").split(" ")[0] != "TextGrid":
            raise self.wrong("another Praat object", "a TextGrid")

    def next(self, what: str) -> re.Match[str]:
        """Raises LabelError at the end of the file."""
        token = next(self.found, None)
        if token is None:
            self.at = len(self.all)
            raise self.wrong("the end of the file", what)
        self.at = token.start()
        return token

    def text(self, what: str) -> str:
        token = self.next(what)
        if token[1] is None:
            raise self.wrong(token[0], f"{what} in quotes")
        return token[1].replace('""', '"')

    def word(self, what: str) -> str:
        token = self.next(what)
        if token[2] is None:
            raise self.wrong(token[0], what)
        return token[2]

    def seconds(self, what: str) -> float:
        token = self.next(f"the {what} in seconds")
        return read_seconds(token[3] or token[0], self.path, self.line(), what)

    def count(self) -> int:
        """The number of items that follow. If it is too large, the end of the file is reached too early."""
        token = self.next("a count")
        if token[3] is None or not token[3].isascii() or not token[3].isdecimal() or len(token[3]) > 9:
            raise self.wrong(token[0], "a count")
        return int(token[3])

    def line(self) -> int:
        self.lines += self.all.count("\n", self.counted, self.at)
        self.counted = self.at
        return self.lines

    def wrong(self, found: str, expected: str) -> LabelError:
        return wrong_line(self.path, self.line(), found, expected)
