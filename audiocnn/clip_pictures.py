"""The pictures of whole clips, as SVG, from what report.json holds: confusions, reliability, labels, learning."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from audiocnn.filenames import show_name
from audiocnn.report_pictures import Side, condition_plot, side_class
from audiocnn.svg import Axis, Plot, axis_between

MOST_CONFUSION_LABELS = 120  # of more, a cell would be smaller than a dot
NUMBERED_LABELS = 40  # up to here cells hold numbers
MOST_LABEL_ROWS = 60
LETTER_PIXELS = 6.6
LONGEST_NAME = 24


def confusion_plot(confusion: Mapping[str, Any], name: str) -> str:
    """A row a label, a column an answer; a cell is as dark as its share of the row. Empty for too many labels."""
    labels, counts = confusion["labels"], confusion["counts"]
    if len(labels) > MOST_CONFUSION_LABELS:
        return ""
    numbered = len(labels) <= NUMBERED_LABELS
    side = max(22, 6 + 7 * len(str(max(max(row) for row in counts))), min(44, 400 // len(labels))) if numbered else 12
    shown = [shortened(label) for label in labels]
    left = 24 + round(LETTER_PIXELS * max(len(label) for label in shown))
    size = side * len(labels)
    cells = []
    for row, (label, clips) in enumerate(zip(labels, counts, strict=True)):
        top, total = left + row * side, sum(clips)
        cells.append(row_name(shown[row], left - 8, top + side / 2 + 4))
        for column, count in enumerate(clips):
            if count:
                place = (left + column * side, top)
                tip = f"{label}: {count} of {total} clips answered {labels[column]}"
                cells.append(cell(place, side, count, count / total, row == column, tip, numbered))
    for column, label in enumerate(shown):
        cells.append(column_name(label, left + column * side + side / 2 + 4, left - 8))
    grid = f'<rect class="grid" x="{left}" y="{left}" width="{size}" height="{size}"/>'
    width = left + size + 4
    view = f'viewBox="0 0 {width} {width}" width="{width}" height="{width}"'
    said = escape(f"answers of {name} to the clips of each label", quote=True)
    axes = f'<text class="axis" x="4" y="{left - 8}">label ↓ answer →</text>' if left >= 120 else ""
    return f'<svg {view} role="img" aria-label="{said}">{grid}{axes}{"".join(cells)}</svg>'


def cell(
    place: tuple[float, float], side: float, count: int, share: float, right: bool, tip: str, numbered: bool
) -> str:
    """A square, its number, and what the mouse says of it."""
    left, top = place
    kind = "right" if right else "wrong"
    box = f'x="{left}" y="{top}" width="{side}" height="{side}"'
    opacity = 0.1 + 0.75 * math.sqrt(share)
    middle = f'x="{left + side / 2}" y="{top + side / 2 + 4}" text-anchor="middle"'
    number = f'<text class="count" {middle}>{count}</text>' if numbered else ""
    return f'<g><title>{escape(tip)}</title><rect class="cell {kind}" {box} fill-opacity="{opacity:.2f}"/>{number}</g>'


def row_name(label: str, right: float, middle: float) -> str:
    """At the left of a row."""
    return f'<text class="tick" x="{right}" y="{middle}" text-anchor="end">{escape(label)}</text>'


def column_name(label: str, middle: float, bottom: float) -> str:
    """Above a column, from the bottom up."""
    turned = f'transform="rotate(-90 {middle} {bottom})"'
    return f'<text class="tick" x="{middle}" y="{bottom}" {turned}>{escape(label)}</text>'


def shortened(label: str) -> str:
    """So that a long name leaves room for the cells."""
    label = show_name(label)
    return label if len(label) <= LONGEST_NAME else label[: LONGEST_NAME - 1] + "…"


def reliability_plot(sides: Sequence[Side]) -> str:
    """The share of answers that are right over their mean score; large dots stand for many answers."""
    plot = Plot(axis_between("mean score"), axis_between("share that is right"))
    plot.line((0, 1), (0, 1), "guide")
    for column, name, clip in sides:
        bins = list(zip(*clip["reliability"], strict=True))
        if not bins:
            continue
        means, shares, counts = zip(*bins, strict=True)
        plot.line(means, shares, side_class(column))
        for mean, share, count in bins:
            tip = f"{name}: {count:,} answers with a mean score of {mean:.3f}, {share:.3f} of them right"
            plot.dot(mean, share, side_class(column), tip, 2 + 5 * math.sqrt(count / sum(counts)))
    return plot.to_svg("reliability")


def label_plot(figure: str, title: str, sides: Sequence[Side]) -> tuple[str, int]:
    """A figure of each label, a dot a side, the worst first; and of how many labels, where there are too many."""
    labels = dict.fromkeys(label for _, _, clip in sides for label in clip["labels"])
    found = {
        label: [(column, name, clip["labels"][label]) for column, name, clip in sides if label in clip["labels"]]
        for label in labels
    }

    def worst(label: str) -> float:
        values = [part["figures"].get(figure, {}).get("value") for _, _, part in found[label]]
        return min((value for value in values if value is not None), default=math.inf)

    order = sorted(found, key=worst)[:MOST_LABEL_ROWS]
    return condition_plot(figure, title, [(shortened(label), found[label]) for label in order]), len(order)


def learning_plot(title: str, lines: Mapping[str, Sequence[tuple[float, float, float | None, float | None]]]) -> str:
    """Lines by name, of points (clips, value, low, high), such as accuracy over how many clips were learned from."""
    points = [point for line in lines.values() for point in line]
    if not points:
        return ""
    least, most = min(point[0] for point in points), max(point[0] for point in points)
    if least <= 0 or least == most:
        least, most = max(least, 1.0) / 2, max(most, 1.0) * 2
    ends = [end for point in points for end in (point[2], point[3], point[1]) if end is not None]
    low = min(0.9, math.floor(10 * min(ends)) / 10)
    steps = round((1.0 - low) * 10)
    ticks = {clips: f"{clips:,.0f}" for clips in sorted({point[0] for point in points})}
    plot = Plot(Axis("clips to learn from", least, most, ticks, log=True), axis_between(title, low, 1.0, steps))
    for column, (name, line) in enumerate(lines.items()):
        ordered = sorted(line)
        plot.line([p[0] for p in ordered], [p[1] for p in ordered], side_class(column))
        for clips, value, bottom, top in ordered:
            tip = f"{name}: {value:.4f} with {clips:,.0f} clips"
            if bottom is not None and top is not None:
                plot.line((clips, clips), (bottom, top), f"{side_class(column)} interval-line")
                tip += f" [{bottom:.4f}, {top:.4f}]"
            plot.dot(clips, value, side_class(column), tip)
    return plot.to_svg(f"{title} over clips to learn from")
