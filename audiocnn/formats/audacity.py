"""Audacity label tracks: `onset offset label` between tabs; a line after a backslash holds frequencies.

A label may hold no tab and no end of a line, and Audacity cuts blanks off its ends: see `escapes.py`. There is no place
for channels and scores: segments stand in the order of time.
"""

from __future__ import annotations

from pathlib import Path

from audiocnn.formats.escapes import escape_cell, unescape
from audiocnn.formats.found import NO_LABEL, NO_SCORE, Found
from audiocnn.formats.text import read_lines, read_seconds, wrong_line
from audiocnn.segments import Segment


class Writer:
    """One line a segment."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def begin(self) -> str:
        """Nothing."""
        return ""

    def recording(self, found: Found) -> str:
        """The one recording; Audacity itself writes six digits."""
        lines = (f"{s.start:.6f}\t{s.end:.6f}\t{escape_cell(s.label)}\n" for s in found.in_time())
        return "".join(lines)

    def end(self) -> str:
        """Nothing."""
        return ""


def read_found(path: Path) -> list[Found]:
    """The file's own stem. A label without text is named "speech"."""
    found: list[Segment] = []
    for number, line in read_lines(path):
        cells = [cell.strip() for cell in line.split("\t")]
        if cells[0] == "\\":
            continue
        if len(cells) not in (2, 3):
            raise wrong_line(path, number, line, "onset, offset and label between tabs")
        onset = read_seconds(cells[0], path, number, "onset")
        offset = read_seconds(cells[1], path, number, "offset")
        found.append(Segment(onset, offset, unescape("".join(cells[2:])) or NO_LABEL, NO_SCORE))
    return [Found(path.stem, {0: tuple(found)} if found else {})]
