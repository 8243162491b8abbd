"""What subtitles in SRT and WebVTT share: cues, each with its times and some lines of text, between empty lines.

A line of blanks does not end a cue (WebVTT, section 6.1), unless the times of another one follow it at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from audiocnn.formats.found import NO_LABEL, NO_SCORE, Found
from audiocnn.formats.text import read_text, wrong_line
from audiocnn.segments import Segment
from audiocnn.units import to_samples

_TIME = r"(?:(\d{1,6}):)?([0-5]?\d):([0-5]\d)[.,](\d{1,3})"
_TIMES = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}(?:\s.*)?")
# An end of a line may stand as it is where a text is on both of its sides.
_LOST_END = re.compile(r"(?<!\S)\n|\n(?!\S)")


@dataclass(frozen=True)
class Block:
    """Lines without an empty one between them, and the number of the first."""

    line: int
    lines: list[str]


def clock_time(seconds: float, point: str) -> str:
    """`HH:MM:SS.mmm`, to the nearest millisecond; of more than 99 hours, as many digits as it takes."""
    whole, milliseconds = divmod(to_samples(seconds, 1000), 1000)
    minutes, rest = divmod(whole, 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest:02d}{point}{milliseconds:03d}"


def lost_ends(text: str) -> bool:
    """Whether a text has ends of lines that a cue cannot hold."""
    return _LOST_END.search(text) is not None


def blocks_in(path: Path) -> Iterator[Block]:
    """The blocks of a file, without the lines of blanks that they begin with."""
    lines = read_text(path).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    begun: list[str] = []
    for number, line in enumerate([*lines, ""], 1):
        if line.strip() or (line and begun and not _begins_cue(lines[number : number + 2])):
            begun.append(line)
        elif begun:
            yield Block(number - len(begun), begun)
            begun = []


def _begins_cue(lines: list[str]) -> bool:
    """Whether times stand in the first line, or in the second behind a number."""
    return any(_TIMES.fullmatch(line) for line in lines[: 2 if lines and lines[0].strip().isdigit() else 1])


def cue_in(path: Path, block: Block, expected: str) -> tuple[float, float, list[str]]:
    """(start, end, lines of text) of a cue, whose first line may be a number or a name. LabelError: no times."""
    for number, line in enumerate(block.lines[:2]):
        if times := _TIMES.fullmatch(line):
            parts = times.groups()
            return _seconds(*parts[:4]), _seconds(*parts[4:]), block.lines[number + 1 :]
    raise wrong_line(path, block.line, block.lines[0], expected)


def found_in(path: Path, cues: list[tuple[float, float, str]]) -> list[Found]:
    """The one recording of a file, named by its stem; a cue without a text is speech."""
    track = tuple(Segment(start, end, text or NO_LABEL, NO_SCORE) for start, end, text in cues)
    return [Found(path.stem, {0: track} if track else {})]


def _seconds(hours: str | None, minutes: str, seconds: str, thousandths: str) -> float:
    whole = (int(hours or 0) * 60 + int(minutes)) * 60 + int(seconds)
    return (whole * 1000 + int(thousandths.ljust(3, "0"))) / 1000
