"""Subtitles in SRT and WebVTT: cues, each with its times and the label as lines of text, separated by empty lines.

SubRip: a number, `HH:MM:SS,mmm --> HH:MM:SS,mmm`, and the text. There is no specification; this is what players read. A
label may contain line ends, but not blank lines, and spaces at its ends are lost. These are escaped as in `text.py`,
and so is `<`, which begins a tag. When reading, the tags that SubRip knows (`<b>`, `<i>`, `<u>`, `<font ...>`) are
removed.

WebVTT of the W3C: `WEBVTT`, then `HH:MM:SS.mmm --> HH:MM:SS.mmm` and the text. `&`, `<` and `>` are written as
character references according to the specification (section 4.2.2), and so are spaces at the ends of the text and line
ends that would make a blank line. Control characters, which cannot be written that way, are escaped. When reading, tags
such as `<v Ann>` are removed. A line of spaces does not end a cue (section 6.1), unless the times of another one follow
directly.

Neither format stores channels and scores.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from audiocnn.labels.formats.base import DEFAULT_LABEL, NO_SCORE, LabelFormat, LabelledRecording
from audiocnn.labels.formats.text import escape_cell, escape_controls, read_text, unescape, wrong_line
from audiocnn.segments.segment import Segment
from audiocnn.units import to_samples

_TIME = r"(?:(\d{1,6}):)?([0-5]?\d):([0-5]\d)[.,](\d{1,3})"
_TIMES = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}(?:\s.*)?")
# A line end is kept as it is if there is text on both sides of it.
_LOST_END = re.compile(r"(?<!\S)\n|\n(?!\S)")
_SUBRIP_TAG = re.compile(r"</?[biu]>|</?font[^<>]*>", re.IGNORECASE)
_WEBVTT_TAG = re.compile(r"<[^<>]*>")
_NO_CUES = re.compile(r"(?:NOTE|STYLE|REGION)(?:\s.*)?")  # how a block that is not a cue begins
_EDGES = re.compile(r"^\s|\s$")
_PLAIN = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\t": "&#9;", "\u2028": "&#8232;", "\u2029": "&#8233;"})
Cue = tuple[float, float, str]


class SubRip(LabelFormat):
    def recording(self, recording: LabelledRecording) -> str:
        cues = (
            f"{number}\n{_clock_time(s.start, ',')} --> {_clock_time(s.end, ',')}\n{_subrip_text(s.label)}\n\n"
            for number, s in enumerate(recording.in_time(), 1)
        )
        return "".join(cues)

    @staticmethod
    def read(path: Path) -> list[LabelledRecording]:
        cues = []
        for block in _blocks_in(path):
            start, end, lines = _cue_in(path, block, "a cue such as 00:00:01,250 --> 00:00:03,500")
            cues.append((start, end, unescape(_SUBRIP_TAG.sub("", "\n".join(lines)).strip())))
        return _recording_of(path, cues)


def _subrip_text(label: str) -> str:
    lines = [label] if _LOST_END.search(label) else label.split("\n")
    return "\n".join(escape_cell(line) for line in lines).replace("<", "%3C")


class WebVtt(LabelFormat):
    def begin(self) -> str:
        return "WEBVTT\n\n"

    def recording(self, recording: LabelledRecording) -> str:
        cues = (
            f"{_clock_time(s.start, '.')} --> {_clock_time(s.end, '.')}\n{_webvtt_text(s.label)}\n\n"
            for s in recording.in_time()
        )
        return "".join(cues)

    @staticmethod
    def read(path: Path) -> list[LabelledRecording]:
        cues = []
        for number, block in enumerate(_blocks_in(path)):
            if not number:
                if not re.fullmatch(r"WEBVTT(?:[ \t].*)?", block.lines[0]):
                    raise wrong_line(path, block.line, block.lines[0], "WEBVTT at the start of the file")
                # Other text there is a header; the first cue ends it, with or without a blank line before it.
                header = next((k for k, line in enumerate(block.lines) if k and "-->" in line), None)
                if header is None:
                    continue
                block = _Block(block.line + header, block.lines[header:])
            if not _NO_CUES.fullmatch(block.lines[0]) or any("-->" in line for line in block.lines[:2]):
                start, end, lines = _cue_in(path, block, "a cue such as 00:01.250 --> 00:03.500")
                text = _WEBVTT_TAG.sub("", "\n".join(lines)).strip()
                cues.append((start, end, unescape(html.unescape(text))))
        return _recording_of(path, cues)


def _webvtt_text(label: str) -> str:
    plain = escape_controls(label).translate(_PLAIN)
    if _LOST_END.search(plain):
        plain = plain.replace("\n", "&#10;")
    return "\n".join(_EDGES.sub(lambda found: f"&#{ord(found[0])};", line) for line in plain.split("\n"))


def _clock_time(seconds: float, point: str) -> str:
    """`HH:MM:SS.mmm`, to the nearest millisecond; hours may have more than two digits."""
    whole, milliseconds = divmod(to_samples(seconds, 1000), 1000)
    minutes, rest = divmod(whole, 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest:02d}{point}{milliseconds:03d}"


@dataclass(frozen=True)
class _Block:
    """Consecutive lines that are not empty, and the number of the first."""

    line: int
    lines: list[str]


def _blocks_in(path: Path) -> Iterator[_Block]:
    """The blocks of a file, without blank lines at their beginning."""
    lines = read_text(path).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    begun: list[str] = []
    for number, line in enumerate([*lines, ""], 1):
        if line.strip() or (line and begun and not _begins_cue(lines[number : number + 2])):
            begun.append(line)
        elif begun:
            yield _Block(number - len(begun), begun)
            begun = []


def _begins_cue(lines: list[str]) -> bool:
    """Whether times are in the first line, or in the second after a number."""
    return any(_TIMES.fullmatch(line) for line in lines[: 2 if lines and lines[0].strip().isdigit() else 1])


def _cue_in(path: Path, block: _Block, expected: str) -> tuple[float, float, list[str]]:
    """(start, end, lines of text) of a cue, whose first line may be a number or a name. Raises LabelError if there are
    no times."""
    for number, line in enumerate(block.lines[:2]):
        if times := _TIMES.fullmatch(line):
            parts = times.groups()
            return _seconds(*parts[:4]), _seconds(*parts[4:]), block.lines[number + 1 :]
    raise wrong_line(path, block.line, block.lines[0], expected)


def _recording_of(path: Path, cues: list[Cue]) -> list[LabelledRecording]:
    """The one recording of a file, named after its stem; a cue without text is speech."""
    track = tuple(Segment(start, end, text or DEFAULT_LABEL, NO_SCORE) for start, end, text in cues)
    return [LabelledRecording(path.stem, {0: track} if track else {})]


def _seconds(hours: str | None, minutes: str, seconds: str, thousandths: str) -> float:
    whole = (int(hours or 0) * 60 + int(minutes)) * 60 + int(seconds)
    return (whole * 1000 + int(thousandths.ljust(3, "0"))) / 1000
