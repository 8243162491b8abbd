"""WebVTT of the W3C: `WEBVTT`, then `HH:MM:SS.mmm --> HH:MM:SS.mmm` and the label as the text, between blank lines.

In a text `&`, `<` and `>` stand as character references, as the specification has it (section 4.2.2), and so do blanks
at its ends and ends of lines that would make a blank line; control characters, which these cannot name, are escaped as
in `escapes.py`. Read, tags such as `<v Ann>` are taken out. There is no place for channels and scores.
"""

from __future__ import annotations

import html
import re
from pathlib import Path

from audiocnn.formats.cues import Block, blocks_in, clock_time, cue_in, found_in, lost_ends
from audiocnn.formats.escapes import escape_controls, unescape
from audiocnn.formats.found import Found
from audiocnn.formats.text import wrong_line

_EXPECTED = "a cue such as 00:01.250 --> 00:03.500"
_NO_CUES = re.compile(r"(?:NOTE|STYLE|REGION)(?:\s.*)?")  # what a block that holds no cue begins with
_TAG = re.compile(r"<[^<>]*>")
_EDGES = re.compile(r"^\s|\s$")
_PLAIN = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\t": "&#9;", "\u2028": "&#8232;", "\u2029": "&#8233;"})


class Writer:
    """One recording, cue by cue."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def begin(self) -> str:
        """What says that it is WebVTT."""
        return "WEBVTT\n\n"

    def recording(self, found: Found) -> str:
        """Its segments in the order of time."""
        cues = (
            f"{clock_time(s.start, '.')} --> {clock_time(s.end, '.')}\n{_text(s.label)}\n\n" for s in found.in_time()
        )
        return "".join(cues)

    def end(self) -> str:
        """Nothing."""
        return ""


def read_found(path: Path) -> list[Found]:
    """The file's own stem."""
    cues = []
    for number, block in enumerate(blocks_in(path)):
        if not number:
            if not re.fullmatch(r"WEBVTT(?:[ \t].*)?", block.lines[0]):
                raise wrong_line(path, block.line, block.lines[0], "WEBVTT, with which such a file begins")
            # What else stands there is a header, which the first cue ends, with or without a blank line before it.
            header = next((k for k, line in enumerate(block.lines) if k and "-->" in line), None)
            if header is None:
                continue
            block = Block(block.line + header, block.lines[header:])
        if not _NO_CUES.fullmatch(block.lines[0]) or any("-->" in line for line in block.lines[:2]):
            start, end, lines = cue_in(path, block, _EXPECTED)
            text = _TAG.sub("", "\n".join(lines)).strip()
            cues.append((start, end, unescape(html.unescape(text))))
    return found_in(path, cues)


def _text(label: str) -> str:
    """Ends of lines stay where they can."""
    plain = escape_controls(label).translate(_PLAIN)
    if lost_ends(plain):
        plain = plain.replace("\n", "&#10;")
    return "\n".join(_EDGES.sub(lambda found: f"&#{ord(found[0])};", line) for line in plain.split("\n"))
