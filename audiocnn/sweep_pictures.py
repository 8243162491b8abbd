"""The picture of a sweep: how good a model is over thresholds and silences, where it was, and where it is best."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from audiocnn.pictures import new_figure, save_figure
from audiocnn.sweeping import LOWER_IS_BETTER, SECONDS, Tuned

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW_INCHES = 3.6
DARK_SHARE = 0.55  # of the colours: on darker ones numbers are white


def draw_sweep(found: Sequence[Tuned], path: Path) -> None:
    """A row a label: the heat map where there is one, and the curves over the threshold."""
    wide = any(one.grid is not None for one in found)
    figure = new_figure(11.0 if wide else 6.0, ROW_INCHES * len(found) + 0.4)
    rows = figure.subplots(len(found), 2 if wide else 1, squeeze=False)
    for axes, one in zip(rows, found, strict=True):
        if wide:
            draw_grid(figure, axes[0], one)
        draw_curves(axes[-1], one)
    save_figure(figure, path)


def draw_grid(figure: Figure, axes: Axes, one: Tuned) -> None:
    """Values over threshold and min_silence; a cross where the best rule is nearest."""
    axes.set_title(f"{one.label}: {one.goal.replace('_', ' ')}")
    if one.grid is None:
        axes.set_axis_off()
        return
    thresholds, silences, values = one.grid
    colours = "viridis_r" if one.goal in LOWER_IS_BETTER else "viridis"
    image = axes.imshow(values, origin="lower", aspect="auto", cmap=colours)
    axes.set_xticks(range(1, len(thresholds), 2), [f"{x:g}" for x in thresholds[1::2]])
    axes.set_yticks(range(len(silences)), [f"{x:g}" for x in silences])
    axes.set_xlabel("threshold")
    axes.set_ylabel("min-silence, s")
    rule = one.best.rule
    column = min(range(len(thresholds)), key=lambda k: abs(thresholds[k] - rule.threshold))
    row = min(range(len(silences)), key=lambda k: abs(silences[k] - rule.min_silence_seconds))
    axes.plot(column, row, marker="x", color="white", markersize=11, markeredgewidth=4)
    axes.plot(column, row, marker="x", color="black", markersize=10, markeredgewidth=2)
    figure.colorbar(image, ax=axes)


def draw_curves(axes: Axes, one: Tuned) -> None:
    """The figure, misses and false alarms over the threshold, all else as in the best rule."""
    thresholds = [tried.rule.threshold for tried in one.over_threshold]
    goal = one.goal.replace("_", " ")
    axes.plot(
        thresholds, [tried.value for tried in one.over_threshold], color="C2", marker="o", markersize=3, label=goal
    )
    for name, colour in (("miss_rate", "C0"), ("false_alarm_rate", "C1")):
        values = [tried.figures[name] for tried in one.over_threshold]
        axes.plot(thresholds, values, color=colour, linestyle="--", label=name.replace("_", " "))
    before, best = one.before, one.best
    axes.plot(before.rule.threshold, before.value, "s", color="0.4", markersize=7, label=f"now {before.value:.4f}")
    axes.plot(best.rule.threshold, best.value, "*", color="C2", markersize=13, label=f"best {best.value:.4f}")
    axes.set_xlabel("threshold")
    axes.set_xlim(0.0, 1.0)
    axes.grid(visible=True, alpha=0.3)
    axes.legend(loc="best", fontsize="small")
    told = [f"ends below {best.rule.closing_threshold:g}"]
    told += [f"{name.removesuffix('_seconds').replace('_', '-')} {getattr(best.rule, name):g} s" for name in SECONDS]
    axes.set_title(f"{one.label}: {', '.join(told)}" if one.grid is not None else one.label, fontsize="medium")
