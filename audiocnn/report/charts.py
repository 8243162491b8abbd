"""The charts of the pages, as SVG: curves, calibration, results by condition and by label, confusions, learning curves.

All are drawn from the contents of report.json. A column is one of the evaluated models and peers. Its marks have a
class of `style.column_class`, which sets their colour and line pattern.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from audiocnn.errors import show_name
from audiocnn.report.style import column_class
from audiocnn.report.svg import BOTTOM_PIXELS, TOP_PIXELS, Axis, Plot, axis_between

ReportColumn = tuple[int, str, Mapping[str, Any]]
"""Column of the report, name of the model, and the part of report.json on one label, condition or set of clips."""
MOST_CONFUSION_LABELS = 120  # with more, a cell would be smaller than a dot
NUMBERED_LABELS = 40  # up to this number, cells contain numbers
_LEAST_SHARE = 1e-4  # the smallest share that histograms show
_ROW_PIXELS = 13
_MOST_LABEL_ROWS = 60
_LETTER_PIXELS = 6.6
_LONGEST_NAME = 24


def roc_plot(columns: Sequence[ReportColumn], corner: float = 1.0) -> str:
    """TPR over FPR of frames, with a dot for the segments. `corner`: the shown part of both axes, from the upper
    left."""
    plot = Plot(axis_between("false positive rate", 0.0, corner), axis_between("true positive rate", 1.0 - corner, 1.0))
    plot.line((0, 1), (0, 1), "guide")
    for column, name, found in columns:
        fpr, tpr = found["curves"]["roc"]
        if fpr:
            plot.line(fpr, tpr, column_class(column))
        missed, false = _value(found, "miss_rate"), _value(found, "false_alarm_rate")
        if missed is not None and false is not None:
            tip = f"{name}: at {found['threshold']:g} segments find {1 - missed:.3f}, with {false:.3f} false alarms"
            plot.dot(false, 1 - missed, column_class(column), tip, 5)
    return plot.to_svg("ROC" if corner == 1 else "ROC, enlarged corner")


def precision_recall_plot(columns: Sequence[ReportColumn]) -> str:
    plot = Plot(axis_between("recall"), axis_between("precision"))
    for column, _, found in columns:
        recall, precision = found["curves"]["precision_recall"]
        if recall:
            plot.line(recall, precision, column_class(column))
    return plot.to_svg("precision and recall")


def calibration_plot(columns: Sequence[ReportColumn]) -> str:
    curves = [(column, name, found["curves"]["calibration"]) for column, name, found in columns]
    return _draw_reliability("calibration", "share of positive frames", ("frames", "positive"), curves)


def reliability_plot(columns: Sequence[ReportColumn]) -> str:
    curves = [(column, name, clip["reliability"]) for column, name, clip in columns]
    return _draw_reliability("reliability", "share of right answers", ("answers", "right"), curves)


def _draw_reliability(title: str, y_title: str, words: tuple[str, str], curves: Sequence[tuple[int, str, Any]]) -> str:
    """curves: (means, shares, counts) of the bins of each column; a larger dot means more. words: what is counted, and
    what the shares are of."""
    unit, kind = words
    plot = Plot(axis_between("mean score"), axis_between(y_title))
    plot.line((0, 1), (0, 1), "guide")
    for column, name, curve in curves:
        bins = [row for row in zip(*curve, strict=True) if row[2]]
        if not bins:
            continue
        means, shares, counts = zip(*bins, strict=True)
        plot.line(means, shares, column_class(column))
        for mean, share, count in bins:
            tip = f"{name}: {count:,} {unit} with a mean score of {mean:.3f}, {share:.3f} of them {kind}"
            plot.dot(mean, share, column_class(column), tip, 2 + 5 * math.sqrt(count / sum(counts)))
    return plot.to_svg(title)


def histogram_plot(side: ReportColumn) -> str:
    """The scores of positive and of negative frames, each normalised to their number."""
    column, name, found = side
    edges, positive, negative = found["curves"]["histogram"]
    digits = {0.0001: "0.01 %", 0.001: "0.1 %", 0.01: "1 %", 0.1: "10 %", 1.0: "100 %"}
    plot = Plot(axis_between("score"), Axis("", _LEAST_SHARE, 1.0, digits, log=True), 420, 210, 60)
    for counts, classes in ((negative, "negative"), (positive, f"positive {column_class(column)}")):
        if sum(counts):
            plot.area(edges, [max(count / sum(counts), _LEAST_SHARE) for count in counts], classes)
    plot.upright(found["threshold"], "threshold", f"threshold {found['threshold']:g}")
    return plot.to_svg(f"scores of {name}")


def condition_plot(figure: str, title: str, rows: Sequence[tuple[str, Sequence[ReportColumn]]]) -> str:
    """A result by condition, with a dot and an interval for each column. Empty if it is undefined everywhere."""
    defined = [(value, [one for one in columns if _value(one[2], figure) is not None]) for value, columns in rows]
    defined = [(value, columns) for value, columns in defined if columns]
    ends = [_ends(found["figures"][figure]) for _, columns in defined for _, _, found in columns]
    if not ends:
        return ""
    height = sum(_height(columns) for _, columns in defined)
    names, marks, y = {}, [], 0.0
    for value, columns in defined:
        names[height - y - _height(columns) / 2] = value or "(none)"
        for k, (column, name, found) in enumerate(columns, start=1):
            marks.append((height - (y + _ROW_PIXELS * k), column, f"{value}, {name}", found["figures"][figure]))
        y += _height(columns)
    left = min(240, 24 + 7 * max(len(name) for name in names.values()))
    axis = _fit_axis(title, min(low for low, _ in ends), max(high for _, high in ends))
    plot = Plot(axis, Axis("", 0.0, height, names), left + 420, height + TOP_PIXELS + BOTTOM_PIXELS, left)
    for at, column, name, values in marks:
        tip = f"{name}: {format_interval(values)}"
        plot.stretch(*_ends(values), at, column_class(column), tip)
        plot.dot(values["value"], at, column_class(column), tip)
    return plot.to_svg(f"{title} by condition")


def format_interval(figure: Mapping[str, float | None]) -> str:
    """A value and its interval: `0.9000 [0.8500, 0.9500]`."""
    value, low, high = figure["value"], figure["low"], figure["high"]
    if value is None:
        return "undefined"
    return f"{value:.4f}" + ("" if low is None or high is None else f" [{low:.4f}, {high:.4f}]")


def _value(found: Mapping[str, Any], figure: str) -> float | None:
    value: float | None = found["figures"].get(figure, {}).get("value")
    return value


def _ends(figure: Mapping[str, float]) -> tuple[float, float]:
    """The ends of the interval; without one, the value twice."""
    value = figure["value"]
    low, high = figure["low"], figure["high"]
    return (value if low is None else min(low, value), value if high is None else max(high, value))


def _height(columns: Sequence[ReportColumn]) -> int:
    return _ROW_PIXELS * (len(columns) + 1)


def _fit_axis(title: str, low: float, high: float) -> Axis:
    """An axis with 4 to 8 round ticks around the values."""
    spread = max(high - low, 0.01)
    step = 10.0 ** math.floor(math.log10(spread))
    step = next(step * factor for factor in (0.2, 0.25, 0.5, 1.0, 2.0) if spread / (step * factor) <= 6)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    last = max(last, first + 1)
    ticks = {k * step: f"{k * step:.4g}" for k in range(first, last + 1)}
    return Axis(title, first * step, last * step, ticks)


def confusion_plot(confusion: Mapping[str, Any], name: str) -> str:
    """One row per label, one column per answer; a darker cell is a larger share of its row. Empty for too many
    labels."""
    labels, counts = confusion["labels"], confusion["counts"]
    if len(labels) > MOST_CONFUSION_LABELS:
        return ""
    numbered = len(labels) <= NUMBERED_LABELS
    side = max(22, 6 + 7 * len(str(max(max(row) for row in counts))), min(44, 400 // len(labels))) if numbered else 12
    shown = [_shorten(label) for label in labels]
    left = 24 + round(_LETTER_PIXELS * max(len(label) for label in shown))
    size = side * len(labels)
    cells = []
    for row, (label, clips) in enumerate(zip(labels, counts, strict=True)):
        top, total = left + row * side, sum(clips)
        cells.append(_row_name(shown[row], left - 8, top + side / 2 + 4))
        for column, count in enumerate(clips):
            if count:
                place = (left + column * side, top)
                tip = f"{label}: {count} of {total} clips answered {labels[column]}"
                cells.append(_cell(place, side, count, count / total, row == column, tip, numbered))
    for column, label in enumerate(shown):
        cells.append(_column_name(label, left + column * side + side / 2 + 4, left - 8))
    grid = f'<rect class="grid" x="{left}" y="{left}" width="{size}" height="{size}"/>'
    width = left + size + 4
    view = f'viewBox="0 0 {width} {width}" width="{width}" height="{width}"'
    description = escape(f"answers of {name} for the clips of each label", quote=True)
    axes = f'<text class="axis" x="4" y="{left - 8}">label ↓ answer →</text>' if left >= 120 else ""
    return f'<svg {view} role="img" aria-label="{description}">{grid}{axes}{"".join(cells)}</svg>'


def _cell(
    place: tuple[float, float], side: float, count: int, share: float, right: bool, tip: str, numbered: bool
) -> str:
    left, top = place
    kind = "right" if right else "wrong"
    box = f'x="{left}" y="{top}" width="{side}" height="{side}"'
    opacity = 0.1 + 0.75 * math.sqrt(share)
    middle = f'x="{left + side / 2}" y="{top + side / 2 + 4}" text-anchor="middle"'
    number = f'<text class="count" {middle}>{count}</text>' if numbered else ""
    return f'<g><title>{escape(tip)}</title><rect class="cell {kind}" {box} fill-opacity="{opacity:.2f}"/>{number}</g>'


def _row_name(label: str, right: float, middle: float) -> str:
    return f'<text class="tick" x="{right}" y="{middle}" text-anchor="end">{escape(label)}</text>'


def _column_name(label: str, middle: float, bottom: float) -> str:
    turned = f'transform="rotate(-90 {middle} {bottom})"'
    return f'<text class="tick" x="{middle}" y="{bottom}" {turned}>{escape(label)}</text>'


def _shorten(label: str) -> str:
    label = show_name(label)
    return label if len(label) <= _LONGEST_NAME else label[: _LONGEST_NAME - 1] + "…"


def label_plot(figure: str, title: str, columns: Sequence[ReportColumn]) -> tuple[str, int]:
    """A result by label, a dot per column, worst first. Also returns the number of labels drawn, if not all fit."""
    labels = dict.fromkeys(label for _, _, clip in columns for label in clip["labels"])
    found = {
        label: [(column, name, clip["labels"][label]) for column, name, clip in columns if label in clip["labels"]]
        for label in labels
    }

    def worst(label: str) -> float:
        values = [part["figures"].get(figure, {}).get("value") for _, _, part in found[label]]
        return min((value for value in values if value is not None), default=math.inf)

    order = sorted(found, key=worst)[:_MOST_LABEL_ROWS]
    return condition_plot(figure, title, [(_shorten(label), found[label]) for label in order]), len(order)


def learning_plot(title: str, lines: Mapping[str, Sequence[tuple[float, float, float | None, float | None]]]) -> str:
    """Named lines of points (clips, value, low, high), such as accuracy over the number of training clips."""
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
    plot = Plot(Axis("training clips", least, most, ticks, log=True), axis_between(title, low, 1.0, steps))
    for column, (name, line) in enumerate(lines.items()):
        ordered = sorted(line)
        plot.line([p[0] for p in ordered], [p[1] for p in ordered], column_class(column))
        for clips, value, bottom, top in ordered:
            tip = f"{name}: {value:.4f} with {clips:,.0f} clips"
            if bottom is not None and top is not None:
                plot.line((clips, clips), (bottom, top), f"{column_class(column)} interval-line")
                tip += f" [{bottom:.4f}, {top:.4f}]"
            plot.dot(clips, value, column_class(column), tip)
    return plot.to_svg(f"{title} by number of training clips")
