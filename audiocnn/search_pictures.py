"""The picture of a search: which values matter, and how good the trials were, one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from audiocnn.pictures import new_figure, save_figure
from audiocnn.searching import Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TRIALS = "trials.png"  # in the folder of a search
FEW = "trials are too few, or too alike, to say what matters"


def draw_trials(trials: Sequence[Trial], importances: Mapping[str, float], path: Path) -> None:
    """Importances on the left, values over the number of the trial on the right."""
    figure = new_figure(11.0, max(3.5, 0.4 * len(importances) + 1.6))
    left, right = figure.subplots(1, 2)
    draw_importances(left, importances)
    draw_history(right, trials)
    save_figure(figure, path)


def draw_importances(axes: Axes, importances: Mapping[str, float]) -> None:
    """A bar a key, the longest on top."""
    axes.set_title("what the figure depends on (fANOVA)", fontsize="medium")
    if not importances:
        axes.text(0.5, 0.5, FEW, ha="center", va="center", wrap=True)
        axes.set_axis_off()
        return
    names, shares = list(importances)[::-1], list(importances.values())[::-1]
    bars = axes.barh(names, shares, color="C0")
    axes.bar_label(bars, [f"{share:.2f}" for share in shares], padding=3)
    axes.set_xlim(0.0, 1.1)
    axes.set_xlabel("share of what trials differ by")


def draw_history(axes: Axes, trials: Sequence[Trial]) -> None:
    """Trials as dots, and the best so far as a line."""
    from matplotlib.ticker import MaxNLocator

    complete = [one for one in trials if one.state == "complete" and one.value is not None]
    pruned = [one for one in trials if one.state == "pruned" and one.value is not None]
    failed = [one for one in trials if one.state == "failed"]
    axes.plot([x.number for x in complete], [x.value or 0.0 for x in complete], "o", color="C2", label="to the end")
    axes.plot([x.number for x in pruned], [x.value or 0.0 for x in pruned], "x", color="0.5", label="ended early")
    if complete:
        best = list(accumulate((one.value or 0.0 for one in complete), max))
        axes.step([one.number for one in complete], best, where="post", color="C2", linewidth=1, label="best so far")
    for number, one in enumerate(failed):
        axes.axvline(one.number, color="C3", linewidth=1, linestyle=":", label="" if number else "failed")
    axes.set_xlabel("trial")
    axes.set_ylabel(figure_name(trials))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(visible=True, alpha=0.3)
    axes.legend(loc="best", fontsize="small")


def figure_name(trials: Sequence[Trial]) -> str:
    """What trials were judged by."""
    names = [one.facts["figure"] for one in trials if "figure" in one.facts]
    return names[0].replace("_", " ") if names else "figure"
