"""Pictures of trainings: the curves of a run, the trials of a search, and a sweep over thresholds and silences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from audiocnn.evaluation.thresholds import LOWER_IS_BETTER, TRIED_SECONDS, TunedRule
from audiocnn.report.figure import new_figure, save_figure
from audiocnn.training.log import LogRow, best_row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from audiocnn.training.search import Trial

CURVES_FILE = "curves.png"  # in the folder of a run
TRIALS_FILE = "trials.png"  # in the folder of a search
_MOST_MARKED = 40  # epochs with marked points; with more, only the line is drawn
_FEW = "there are too few trials, or they are too similar, to estimate importances"
_ROW_INCHES = 3.6


def draw_training_curves(rows: Sequence[LogRow], path: Path, name: str) -> None:
    """Losses, the metric for early stopping and the learning rate, over epochs."""
    from matplotlib.ticker import MaxNLocator

    figure = new_figure(9.0, 6.0)
    losses, judged, rates = figure.subplots(3, 1, sharex=True, height_ratios=(3, 3, 1))
    figure.suptitle(name)
    epochs = [row["epoch"] for row in rows]
    dots = {"marker": "o" if len(rows) <= _MOST_MARKED else "", "markersize": 3}
    losses.plot(epochs, _column(rows, "loss"), color="C0", label="training", **dots)
    losses.plot(epochs, _column(rows, "validation_loss"), color="C1", linestyle="--", label="held out", **dots)
    losses.set_ylabel("loss")
    judged.plot(epochs, _column(rows, "figure"), color="C2", **dots)
    judged.set_ylabel((rows[-1]["figure_name"] or "nothing held out").replace("_", " "))
    rates.plot(epochs, _column(rows, "learning_rate"), color="C3")
    rates.set_ylabel("learning rate")
    rates.set_xlabel("epoch")
    rates.xaxis.set_major_locator(MaxNLocator(integer=True))
    _mark_best(rows, losses, judged)
    losses.legend(loc="upper right")
    for axes in (losses, judged, rates):
        axes.grid(visible=True, alpha=0.3)
    save_figure(figure, path)


def _column(rows: Sequence[LogRow], name: str) -> list[float]:
    """Values for matplotlib; unknown ones are gaps."""
    return [float("nan") if row.get(name) is None else float(row[name]) for row in rows]


def _mark_best(rows: Sequence[LogRow], losses: Axes, judged: Axes) -> None:
    best = best_row(rows)
    if best is None or best["figure"] is None:
        return
    for axes in (losses, judged):
        axes.axvline(best["epoch"], color="0.5", linewidth=1, linestyle=":")
    label = f"best: epoch {best['epoch']}, {best['figure']:.4f}"
    judged.plot(best["epoch"], best["figure"], marker="*", markersize=11, color="C2", linestyle="", label=label)
    judged.legend(loc="lower right")


def draw_trials(trials: Sequence[Trial], importances: Mapping[str, float], path: Path) -> None:
    """Importances on the left, values by trial number on the right."""
    figure = new_figure(11.0, max(3.5, 0.4 * len(importances) + 1.6))
    left, right = figure.subplots(1, 2)
    _draw_importances(left, importances)
    _draw_history(right, trials)
    save_figure(figure, path)


def _draw_importances(axes: Axes, importances: Mapping[str, float]) -> None:
    axes.set_title("importance of the searched keys (fANOVA)", fontsize="medium")
    if not importances:
        axes.text(0.5, 0.5, _FEW, ha="center", va="center", wrap=True)
        axes.set_axis_off()
        return
    names, shares = list(importances)[::-1], list(importances.values())[::-1]
    bars = axes.barh(names, shares, color="C0")
    axes.bar_label(bars, [f"{share:.2f}" for share in shares], padding=3)
    axes.set_xlim(0.0, 1.1)
    axes.set_xlabel("share of the variance between trials")


def _draw_history(axes: Axes, trials: Sequence[Trial]) -> None:
    from matplotlib.ticker import MaxNLocator

    complete = [one for one in trials if one.state == "complete" and one.value is not None]
    pruned = [one for one in trials if one.state == "pruned" and one.value is not None]
    failed = [one for one in trials if one.state == "failed"]
    axes.plot([x.number for x in complete], [x.value or 0.0 for x in complete], "o", color="C2", label="completed")
    axes.plot([x.number for x in pruned], [x.value or 0.0 for x in pruned], "x", color="0.5", label="stopped early")
    if complete:
        best = list(accumulate((one.value or 0.0 for one in complete), max))
        axes.step([one.number for one in complete], best, where="post", color="C2", linewidth=1, label="best so far")
    for number, one in enumerate(failed):
        axes.axvline(one.number, color="C3", linewidth=1, linestyle=":", label="" if number else "failed")
    axes.set_xlabel("trial")
    names = [one.facts["figure"] for one in trials if "figure" in one.facts]
    axes.set_ylabel(names[0].replace("_", " ") if names else "figure")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(visible=True, alpha=0.3)
    axes.legend(loc="best", fontsize="small")


def draw_sweep(found: Sequence[TunedRule], path: Path) -> None:
    """One row per label: the heat map, if there is one, and the curves over the threshold."""
    wide = any(one.grid is not None for one in found)
    figure = new_figure(11.0 if wide else 6.0, _ROW_INCHES * len(found) + 0.4)
    rows = figure.subplots(len(found), 2 if wide else 1, squeeze=False)
    for axes, one in zip(rows, found, strict=True):
        if wide:
            _draw_grid(figure, axes[0], one)
        _draw_sweep_curves(axes[-1], one)
    save_figure(figure, path)


def _draw_grid(figure: Figure, axes: Axes, one: TunedRule) -> None:
    """Values over threshold and min_silence, with a cross at the point nearest to the best rule."""
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


def _draw_sweep_curves(axes: Axes, one: TunedRule) -> None:
    thresholds = [tried.rule.threshold for tried in one.over_threshold]
    goal = one.goal.replace("_", " ")
    axes.plot(
        thresholds, [tried.value for tried in one.over_threshold], color="C2", marker="o", markersize=3, label=goal
    )
    for name, colour in (("miss_rate", "C0"), ("false_alarm_rate", "C1")):
        values = [tried.figures[name] for tried in one.over_threshold]
        axes.plot(thresholds, values, color=colour, linestyle="--", label=name.replace("_", " "))
    before, best = one.before, one.best
    axes.plot(before.rule.threshold, before.value, "s", color="0.4", markersize=7, label=f"current {before.value:.4f}")
    axes.plot(best.rule.threshold, best.value, "*", color="C2", markersize=13, label=f"best {best.value:.4f}")
    axes.set_xlabel("threshold")
    axes.set_xlim(0.0, 1.0)
    axes.grid(visible=True, alpha=0.3)
    axes.legend(loc="best", fontsize="small")
    times = {name.removesuffix("_seconds").replace("_", "-"): getattr(best.rule, name) for name in TRIED_SECONDS}
    rule = [f"ends below {best.rule.closing_threshold:g}", *(f"{name} {value:g} s" for name, value in times.items())]
    axes.set_title(f"{one.label}: {', '.join(rule)}" if one.grid is not None else one.label, fontsize="medium")
