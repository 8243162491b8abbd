"""RTTM of NIST: `SPEAKER file channel onset duration <NA> <NA> name <NA> <NA>`, times in seconds."""

from __future__ import annotations

from pathlib import Path

from audiocnn.formats.text import read_lines, read_seconds, wrong_line
from audiocnn.labels import Annotation

_EXPECTED = "SPEAKER file channel onset duration <NA> <NA> name"


def read(path: Path, speakers: bool = False) -> dict[str, list[Annotation]]:
    """Stem of a recording -> its annotations, labelled "speech" or, with `speakers`, by who speaks.

    Lines of other types and comments (`;;`) are left out; overlapping turns stay as they are.
    """
    found: dict[str, list[Annotation]] = {}
    for number, line in read_lines(path):
        words = line.split()
        if words[0].startswith(";;"):
            continue
        if not words[0].replace("-", "").isupper() or (words[0] == "SPEAKER" and len(words) < 8):
            raise wrong_line(path, number, line, _EXPECTED)
        if words[0] != "SPEAKER":
            continue
        onset = read_seconds(words[3], path, number, "onset")
        duration = read_seconds(words[4], path, number, "duration")
        label = words[7] if speakers else "speech"
        found.setdefault(words[1], []).append(Annotation(onset, onset + duration, label))
    return found
