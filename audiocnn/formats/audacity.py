"""Audacity label tracks: `onset<TAB>offset<TAB>label`, with an optional line `\\<TAB>low<TAB>high` of frequencies."""

from __future__ import annotations

from pathlib import Path

from audiocnn.errors import LabelError
from audiocnn.formats.text import read_lines, seconds
from audiocnn.labels import Annotation


def read(path: Path) -> dict[str, list[Annotation]]:
    """The file's own stem -> its annotations. A label without a text is named "speech"."""
    found: list[Annotation] = []
    for number, line in read_lines(path):
        cells = line.split("\t")
        if cells[0].strip() == "\\":
            continue
        if len(cells) not in (2, 3):
            raise LabelError(f'{path}:{number}: found "{line.strip()}", expected onset, offset, label between tabs')
        onset = seconds(cells[0].strip(), path, number, "onset")
        offset = seconds(cells[1].strip(), path, number, "offset")
        label = cells[2].strip() if len(cells) == 3 else ""
        found.append(Annotation(onset, offset, label or "speech"))
    return {path.stem: found}
