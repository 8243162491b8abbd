"""The pictures of an evaluation, as SVG, from what report.json holds: curves of a label, and figures by condition.

A side is one of the models and peers that were judged; its marks have the class m0, m1, ... in the order of the report,
and its lines a pattern of their own, so that colour is not all that tells them apart.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from audiocnn.svg import BOTTOM, TOP, Axis, Plot, axis_between

Side = tuple[int, str, Mapping[str, Any]]
"""Which column of the report, the name of the model, and what report.json says of one label."""

SIDES = 6  # patterns and colours; a seventh side has those of the first
LEAST_SHARE = 1e-4  # what the histograms still show
ROW_PIXELS = 13


def side_class(column: int) -> str:
    """The class that gives a side its colour."""
    return f"m{column % SIDES}"


def roc_plot(sides: Sequence[Side], corner: float = 1.0) -> str:
    """TPR over FPR of frames; a dot is where the segments are. `corner`: how much of both axes, from the upper left."""
    plot = Plot(axis_between("false positive rate", 0.0, corner), axis_between("true positive rate", 1.0 - corner, 1.0))
    plot.line((0, 1), (0, 1), "guide")
    for column, name, found in sides:
        fpr, tpr = found["curves"]["roc"]
        if fpr:
            plot.line(fpr, tpr, side_class(column))
        missed, false = _value(found, "miss_rate"), _value(found, "false_alarm_rate")
        if missed is not None and false is not None:
            tip = f"{name}: segments at {found['threshold']:g} find {1 - missed:.3f}, with false alarms of {false:.3f}"
            plot.dot(false, 1 - missed, side_class(column), tip, 5)
    return plot.to_svg("ROC" if corner == 1 else "the corner of the ROC")


def precision_recall_plot(sides: Sequence[Side]) -> str:
    """Precision over recall of frames."""
    plot = Plot(axis_between("recall"), axis_between("precision"))
    for column, _, found in sides:
        recall, precision = found["curves"]["precision_recall"]
        if recall:
            plot.line(recall, precision, side_class(column))
    return plot.to_svg("precision and recall")


def calibration_plot(sides: Sequence[Side]) -> str:
    """The share of frames that are positive over their mean score; large dots stand for many frames."""
    plot = Plot(axis_between("mean score"), axis_between("share of positive frames"))
    plot.line((0, 1), (0, 1), "guide")
    for column, name, found in sides:
        bins = [row for row in zip(*found["curves"]["calibration"], strict=True) if row[2]]
        if not bins:
            continue
        means, shares, frames = zip(*bins, strict=True)
        plot.line(means, shares, side_class(column))
        for mean, share, count in bins:
            tip = f"{name}: {count:,} frames with a mean score of {mean:.3f}, {share:.3f} of them positive"
            plot.dot(mean, share, side_class(column), tip, 2 + 5 * math.sqrt(count / sum(frames)))
    return plot.to_svg("calibration")


def histogram_plot(side: Side) -> str:
    """The scores of the frames that are positive and of those that are not, each as shares of their number."""
    column, name, found = side
    edges, positive, negative = found["curves"]["histogram"]
    digits = {0.0001: "0.01 %", 0.001: "0.1 %", 0.01: "1 %", 0.1: "10 %", 1.0: "100 %"}
    plot = Plot(axis_between("score"), Axis("", LEAST_SHARE, 1.0, digits, log=True), 420, 210, 60)
    for counts, classes in ((negative, "negative"), (positive, f"positive {side_class(column)}")):
        if sum(counts):
            plot.area(edges, [max(count / sum(counts), LEAST_SHARE) for count in counts], classes)
    plot.upright(found["threshold"], "threshold", f"threshold {found['threshold']:g}")
    return plot.to_svg(f"scores of {name}")


def condition_plot(figure: str, title: str, rows: Sequence[tuple[str, Sequence[Side]]]) -> str:
    """A figure by condition: a dot a side, with its interval. Empty where it is defined nowhere."""
    shown = [(value, [side for side in sides if _value(side[2], figure) is not None]) for value, sides in rows]
    shown = [(value, sides) for value, sides in shown if sides]
    ends = [_ends(side[2]["figures"][figure]) for _, sides in shown for side in sides]
    if not ends:
        return ""
    height = sum(_height(sides) for _, sides in shown)
    axis = _fitting(title, min(low for low, _ in ends), max(high for _, high in ends))
    names, y = {}, 0.0
    plots = []
    for value, sides in shown:
        names[height - y - _height(sides) / 2] = value or "(none)"
        for k, (column, name, found) in enumerate(sides):
            at = height - (y + ROW_PIXELS * (k + 1))
            plots.append((at, column, f"{value}, {name}: {spoken(found['figures'][figure])}", found["figures"][figure]))
        y += _height(sides)
    left = min(240, 24 + 7 * max(len(name) for name in names.values()))
    plot = Plot(axis, Axis("", 0.0, height, names), left + 420, height + TOP + BOTTOM, left)
    for at, column, tip, said in plots:
        low, high = _ends(said)
        plot.stretch(low, high, at, side_class(column), tip)
        plot.dot(said["value"], at, side_class(column), tip)
    return plot.to_svg(f"{title} by condition")


def legend(sides: Sequence[tuple[int, str]]) -> str:
    """The names with their lines."""
    items = [
        '<li><svg width="30" height="10" aria-hidden="true">'
        f'<path class="line {side_class(column)}" d="M1 5H29"/></svg> {escape(name)}</li>'
        for column, name in sides
    ]
    return f'<ul class="legend">{"".join(items)}</ul>'


def natural(text: str) -> list[tuple[int, float, str]]:
    """A key to sort by: numbers in names count as numbers, so that -5 is before 0 and 10 behind 5. A hyphen behind a
    letter or a digit is no sign."""
    parts = re.split(r"((?:(?<![^\W_])-)?\d+(?:\.\d+)?)", text)
    return [(0, float(part), "") if k % 2 else (1, 0.0, part) for k, part in enumerate(parts)]


def spoken(figure: Mapping[str, float | None], digits: int = 4) -> str:
    """A value and its interval, in words."""
    value, low, high = figure["value"], figure["low"], figure["high"]
    if value is None:
        return "not defined"
    return f"{value:.{digits}f}" + ("" if low is None or high is None else f" [{low:.{digits}f}, {high:.{digits}f}]")


def _value(found: Mapping[str, Any], figure: str) -> float | None:
    value: float | None = found["figures"].get(figure, {}).get("value")
    return value


def _ends(figure: Mapping[str, float]) -> tuple[float, float]:
    """The ends of the interval; where there is none, the value twice."""
    value = figure["value"]
    low, high = figure["low"], figure["high"]
    return (value if low is None else min(low, value), value if high is None else max(high, value))


def _height(sides: Sequence[Side]) -> int:
    return ROW_PIXELS * (len(sides) + 1)


def _fitting(title: str, low: float, high: float) -> Axis:
    """An axis with round ticks around all that is to be seen, 4 to 8 of them."""
    spread = max(high - low, 0.01)
    step = 10.0 ** math.floor(math.log10(spread))
    step = next(step * factor for factor in (0.2, 0.25, 0.5, 1.0, 2.0) if spread / (step * factor) <= 6)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    last = max(last, first + 1)
    ticks = {k * step: f"{k * step:.4g}" for k in range(first, last + 1)}
    return Axis(title, first * step, last * step, ticks)
