"""Segments drawn as wide as the terminal: one line a track, a ruler in seconds below.

    speech |  .#####  ###      ####### .##|
           0      5      10     15     20 s

A cell of the line is as high as the share of its time that is covered, so that an hour shows where speech is dense
and a second shows where it begins.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from audiocnn.segments import Segment

BLOCKS = " ▁▂▃▄▅▆▇█"
ASCII_BLOCKS = " .:=#"
STEPS_SECONDS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400)


def draw_track(segments: Sequence[Segment], duration_seconds: float, cells: int, unicode: bool = True) -> str:
    """One character a cell; what is covered at all is never drawn as nothing."""
    shares = [0.0] * cells
    scale = cells / duration_seconds if duration_seconds > 0 else 0.0
    for segment in segments:
        start, end = segment.start * scale, min(segment.end * scale, cells)
        for cell in range(int(start), min(math.ceil(end), cells)):
            shares[cell] += min(end, cell + 1) - max(start, cell)
    blocks = BLOCKS if unicode else ASCII_BLOCKS
    most = len(blocks) - 1
    return "".join(blocks[0 if share <= 0 else max(1, min(most, round(share * most)))] for share in shares)


def draw_bar(share: float, cells: int, unicode: bool = True) -> str:
    """A bar that is so much of so many cells long, to an eighth of a cell."""
    eighths = round(min(max(share, 0.0), 1.0) * cells * 8)
    if not unicode:
        return "#" * round(eighths / 8)
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


def draw_ruler(duration_seconds: float, cells: int) -> str:
    """Round times under the cells where they lie, with the unit at the last; never wider than the track."""
    if duration_seconds <= 0:
        return ""
    widest = max(len(mark(duration_seconds, duration_seconds)), 2) + 6
    least = widest * duration_seconds / cells
    step = next((s for s in STEPS_SECONDS if s >= least), math.ceil(least / STEPS_SECONDS[-1]) * STEPS_SECONDS[-1])
    line = [" "] * cells
    last = math.floor(duration_seconds / step + 1e-9)
    for number in range(last + 1):
        text, cell = mark(number * step, duration_seconds, step), round(number * step / duration_seconds * cells)
        if cell + len(text) <= cells:
            line[cell : cell + len(text)] = text
    text = "".join(line).rstrip()
    return text + " s" if duration_seconds < 60 and len(text) + 2 <= cells + 2 else text


def mark(seconds: float, longest: float, step: float = 1.0) -> str:
    """A round time on the ruler: `5`, `0.5`, `1:30`, `2:00:00`."""
    if longest < 60:
        return f"{seconds:.1f}" if step < 1 else f"{seconds:.0f}"
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02d}:{rest:02d}" if longest >= 3600 else f"{whole // 60}:{rest:02d}"


def moment(seconds: float, longest: float) -> str:
    """A time in a table, to the hundredth: `7.25`, `1:07.25`, `2:01:07.25`."""
    hundredths = round(seconds * 100)
    rest = f"{hundredths % 6000 / 100:05.2f}"
    if longest < 60:
        return f"{hundredths / 100:.2f}"
    minutes = hundredths // 6000
    return f"{minutes // 60}:{minutes % 60:02d}:{rest}" if longest >= 3600 else f"{minutes}:{rest}"
