"""Audacity label tracks: `onset offset label`, separated by tabs; a line after a backslash holds frequencies.

A label may not contain tabs or line ends, and Audacity strips spaces at its ends: see `text.py`. Channels and scores
are not stored; segments are ordered by time.
"""

from __future__ import annotations

from pathlib import Path

from audiocnn.labels.formats.base import DEFAULT_LABEL, NO_SCORE, LabelFormat, LabelledRecording
from audiocnn.labels.formats.text import escape_cell, read_lines, read_seconds, unescape, wrong_line
from audiocnn.segments.segment import Segment


class Audacity(LabelFormat):
    def recording(self, recording: LabelledRecording) -> str:
        """Six decimals, as Audacity itself writes."""
        lines = (f"{s.start:.6f}\t{s.end:.6f}\t{escape_cell(s.label)}\n" for s in recording.in_time())
        return "".join(lines)

    @staticmethod
    def read(path: Path) -> list[LabelledRecording]:
        """One recording, named after the stem of the file. A label without text is "speech"."""
        found: list[Segment] = []
        for number, line in read_lines(path):
            cells = [cell.strip() for cell in line.split("\t")]
            if cells[0] == "\\":
                continue
            if len(cells) not in (2, 3):
                raise wrong_line(path, number, line, "onset, offset and label separated by tabs")
            onset = read_seconds(cells[0], path, number, "onset")
            offset = read_seconds(cells[1], path, number, "offset")
            found.append(Segment(onset, offset, unescape("".join(cells[2:])) or DEFAULT_LABEL, NO_SCORE))
        return [LabelledRecording(path.stem, {0: tuple(found)} if found else {})]
