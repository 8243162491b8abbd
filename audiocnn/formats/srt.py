"""SubRip subtitles: a number, `HH:MM:SS,mmm --> HH:MM:SS,mmm`, and the label as the text, between blank lines.

There is no specification; this is what players read. A label may have ends of lines, but no blank line, and blanks at
its ends are lost: such ones are escaped, see `escapes.py`, and so is `<`, which begins a tag. Read, the tags that
SubRip knows (`<b>`, `<i>`, `<u>`, `<font ...>`) are taken out. There is no place for channels and scores.
"""

from __future__ import annotations

import re
from pathlib import Path

from audiocnn.formats.cues import blocks_in, clock_time, cue_in, found_in, lost_ends
from audiocnn.formats.escapes import escape_cell, unescape
from audiocnn.formats.found import Found

_EXPECTED = "a cue such as 00:00:01,250 --> 00:00:03,500"
_TAG = re.compile(r"</?[biu]>|</?font[^<>]*>", re.IGNORECASE)


class Writer:
    """One recording, cue by cue."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def begin(self) -> str:
        """Nothing."""
        return ""

    def recording(self, found: Found) -> str:
        """Its segments in the order of time."""
        cues = (
            f"{number}\n{clock_time(s.start, ',')} --> {clock_time(s.end, ',')}\n{_text(s.label)}\n\n"
            for number, s in enumerate(found.in_time(), 1)
        )
        return "".join(cues)

    def end(self) -> str:
        """Nothing."""
        return ""


def read_found(path: Path) -> list[Found]:
    """The file's own stem."""
    cues = []
    for block in blocks_in(path):
        start, end, lines = cue_in(path, block, _EXPECTED)
        cues.append((start, end, unescape(_TAG.sub("", "\n".join(lines)).strip())))
    return found_in(path, cues)


def _text(label: str) -> str:
    """Ends of lines stay where they can."""
    lines = [label] if lost_ends(label) else label.split("\n")
    return "\n".join(escape_cell(line) for line in lines).replace("<", "%3C")
