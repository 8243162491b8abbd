"""Audacity label tracks: `onset offset label` between tabs; a line after a backslash holds frequencies."""

from __future__ import annotations

from pathlib import Path

from audiocnn.formats.text import read_lines, read_seconds, wrong_line
from audiocnn.labels import Annotation


def read(path: Path) -> dict[str, list[Annotation]]:
    """The file's own stem -> its annotations. A label without text is named "speech"."""
    found: list[Annotation] = []
    for number, line in read_lines(path):
        cells = [cell.strip() for cell in line.split("\t")]
        if cells[0] == "\\":
            continue
        if len(cells) not in (2, 3):
            raise wrong_line(path, number, line, "onset, offset and label between tabs")
        onset = read_seconds(cells[0], path, number, "onset")
        offset = read_seconds(cells[1], path, number, "offset")
        found.append(Annotation(onset, offset, "".join(cells[2:]) or "speech"))
    return {path.stem: found}
