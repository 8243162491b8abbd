"""Drawing on a terminal: tracks of segments above a ruler, bars, times and tables of figures.

    speech |  .#####  ###      ####### .##|
           0      5      10     15     20 s

The height of a cell in a track is the share of its time that segments cover. A track of an hour therefore shows where
speech is dense, and a track of a second shows where it begins.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TextIO, cast

from audiocnn.errors import printable
from audiocnn.segments.segment import Segment
from audiocnn.units import clock
from audiocnn_cli.app.terminal import Terminal, spell

if TYPE_CHECKING:
    from rich.console import Console

    from audiocnn.evaluation.results import Figure
    from audiocnn.inference.classify import Classification
    from audiocnn.inference.detect import Detection
    from audiocnn.segments.finder import SegmentRule

_BLOCKS = " ▁▂▃▄▅▆▇█"
_ASCII_BLOCKS = " .:=#"
_STEPS_SECONDS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400)


def draw_track(
    segments: Sequence[Segment], duration_seconds: float, cells: int, unicode: bool = True, start_seconds: float = 0.0
) -> str:
    """One character per cell. A cell with any coverage is never drawn empty."""
    shares = [0.0] * cells
    length = duration_seconds - start_seconds
    scale = cells / length if length > 0 else 0.0
    for segment in segments:
        start, end = (segment.start - start_seconds) * scale, min((segment.end - start_seconds) * scale, cells)
        for cell in range(int(start), min(math.ceil(end), cells)):
            shares[cell] += min(end, cell + 1) - max(start, cell)
    blocks = _BLOCKS if unicode else _ASCII_BLOCKS
    most = len(blocks) - 1
    return "".join(blocks[0 if share <= 0 else max(1, min(most, round(share * most)))] for share in shares)


def draw_bar(share: float, cells: int, unicode: bool = True) -> str:
    """A bar whose length is `share` of `cells`, to an eighth of a cell."""
    eighths = round(min(max(share, 0.0), 1.0) * cells * 8)
    if not unicode:
        return "#" * round(eighths / 8)
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


def draw_ruler(duration_seconds: float, cells: int, start_seconds: float = 0.0) -> str:
    """Round times below their cells, with the unit after the last one. Never wider than the track."""
    length = duration_seconds - start_seconds
    if length <= 0:
        return ""
    widest = max(len(_ruler_mark(duration_seconds, duration_seconds)), 2) + 6
    least = widest * length / cells
    step = next((s for s in _STEPS_SECONDS if s >= least), math.ceil(least / _STEPS_SECONDS[-1]) * _STEPS_SECONDS[-1])
    line = [" "] * cells
    first, last = math.ceil(start_seconds / step - 1e-9), math.floor(duration_seconds / step + 1e-9)
    for number in range(first, last + 1):
        text = _ruler_mark(number * step, duration_seconds, step)
        cell = round((number * step - start_seconds) / length * cells)
        if cell + len(text) <= cells:
            line[cell : cell + len(text)] = text
    text = "".join(line).rstrip()
    return text + " s" if duration_seconds < 60 and len(text) + 2 <= cells + 2 else text


def _ruler_mark(seconds: float, longest: float, step: float = 1.0) -> str:
    """A round time on the ruler: `5`, `0.5`, `1:30`, `2:00:00`."""
    if longest < 60:
        return f"{seconds:.1f}" if step < 1 else f"{seconds:.0f}"
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02d}:{rest:02d}" if longest >= 3600 else f"{whole // 60}:{rest:02d}"


def format_moment(seconds: float, longest: float) -> str:
    """A time in a table, to the hundredth: `7.25`, `1:07.25`, `2:01:07.25`."""
    hundredths = round(seconds * 100)
    rest = f"{hundredths % 6000 / 100:05.2f}"
    if longest < 60:
        return f"{hundredths / 100:.2f}"
    minutes = hundredths // 6000
    return f"{minutes // 60}:{minutes % 60:02d}:{rest}" if longest >= 3600 else f"{minutes}:{rest}"


def pad_name(file: str, width: int, terminal: Terminal) -> str:
    """A name padded to a width. A long name is cut at its beginning, since its end is more informative."""
    shown = spell(printable(file), terminal.stdout)
    if len(shown) > width:
        shown = ("…" if terminal.unicode else "~") + shown[len(shown) - width + 1 :]
    return f"{shown:<{width}}"


def pad_label(label: str, width: int, unicode: bool) -> str:
    """A label padded to a width. A long label is cut at its end."""
    shown = printable(label)
    if len(shown) > width:
        shown = shown[: width - 1] + ("…" if unicode else "~")
    return f"{shown:<{width}}"


def format_share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f} %" if whole > 0 else "0 %"


FigureRow = tuple[str, list[str]]
"""The name of a row, and its cells."""


def print_table(title: str, rows: list[FigureRow], heads: Sequence[str], terminal: Terminal) -> None:
    """A table with a row per figure and a column per heading. In a narrow window, intervals go below their value."""
    from rich.text import Text

    if not rows:
        return
    table = terminal.new_table(title=Text(printable(title)), title_justify="left")
    table.add_column("")
    for head in heads:
        table.add_column(Text(printable(head)), min_width=6)
    for name, cells in rows:
        table.add_row(name, *[Text(cell) for cell in cells])
    terminal.out.print()
    terminal.out.print(table)


def point_rows(rules: Mapping[str, SegmentRule], figures: Mapping[str, Mapping[str, float]]) -> list[FigureRow]:
    """Rows of a table of operating points, one per column: their figures, then their rules."""
    rows = figure_rows({name: figures.get(name, {}) for name in rules})
    each = list(rules.values())
    rows.append(("threshold", [f"{rule.threshold:g}" for rule in each]))
    rows.append(("neg-threshold", [f"{rule.closing_threshold:g}" for rule in each]))
    rows.append(("min-duration", [f"{rule.min_speech_seconds:g} s" for rule in each]))
    rows.append(("min-silence", [f"{rule.min_silence_seconds:g} s" for rule in each]))
    return [*rows, ("pad", [f"{rule.pad_seconds:g} s" for rule in each])]


def figure_rows(figures: Mapping[str, Mapping[str, float]]) -> list[FigureRow]:
    """Rows of figures; the columns are operating points."""
    from audiocnn.evaluation.results import figure_title
    from audiocnn.model.model import POINT_FIGURES

    return [
        (figure_title(key), [f"{own[key]:.4f}" if key in own else "-" for own in figures.values()])
        for key in POINT_FIGURES
    ]


def print_headline(found: Detection | Classification, console: Console) -> None:
    from rich.text import Text

    channels = {1: "mono", 2: "stereo"}.get(found.channels, f"{found.channels} channels")
    line = Text(spell(printable(found.file), cast(TextIO, console.file)), style="bold")
    line.append(f"  {clock(found.duration_seconds)}, {found.sample_rate} Hz, {channels}", style="not bold dim")
    console.print(line)


def format_figure(figure: Figure | None, name: str, signed: bool = False) -> str:
    """A value and its interval. A difference (signed) has a sign, and a star if it is significant."""
    from audiocnn.evaluation.compare import is_sure

    if figure is None or figure.value is None:
        return "-"
    form = f"{'+' if signed else ''}.{1 if name.endswith('_ms') else 4}f"
    star = " *" if signed and is_sure(figure) else ""
    value = f"{figure.value:{form}}{star}"
    if figure.low is None or figure.high is None:
        return value
    return f"{value}  [{figure.low:{form}}, {figure.high:{form}}]"
