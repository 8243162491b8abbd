"""The picture of a training, `curves.png`: losses, the figure it stops by and the learning rate, over epochs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from audiocnn.pictures import new_figure, save_figure
from audiocnn.run_log import Row, best_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CURVES = "curves.png"
MOST_MARKED = 40  # epochs whose points are drawn; of more, the line is enough


def draw_curves(rows: Sequence[Row], path: Path, name: str) -> None:
    """Draw the rows of a run; the file is written whole."""
    from matplotlib.ticker import MaxNLocator

    figure = new_figure(9.0, 6.0)
    losses, judged, rates = figure.subplots(3, 1, sharex=True, height_ratios=(3, 3, 1))
    figure.suptitle(name)
    epochs = [row["epoch"] for row in rows]
    mark = "o" if len(rows) <= MOST_MARKED else ""
    losses.plot(epochs, column(rows, "loss"), marker=mark, markersize=3, color="C0", label="training")
    losses.plot(
        epochs, column(rows, "validation_loss"), marker=mark, markersize=3, color="C1", linestyle="--", label="held out"
    )
    losses.set_ylabel("loss")
    judged.plot(epochs, column(rows, "figure"), marker=mark, markersize=3, color="C2")
    judged.set_ylabel((rows[-1]["figure_name"] or "nothing held out").replace("_", " "))
    rates.plot(epochs, column(rows, "learning_rate"), color="C3")
    rates.set_ylabel("learning rate")
    rates.set_xlabel("epoch")
    rates.xaxis.set_major_locator(MaxNLocator(integer=True))
    mark_best(rows, losses, judged)
    losses.legend(loc="upper right")
    for axes in (losses, judged, rates):
        axes.grid(visible=True, alpha=0.3)
    save_figure(figure, path)


def column(rows: Sequence[Row], name: str) -> list[float]:
    """Values as matplotlib has them: what is not known is a gap."""
    return [float("nan") if row.get(name) is None else float(row[name]) for row in rows]


def mark_best(rows: Sequence[Row], losses: Axes, judged: Axes) -> None:
    """A line through the best epoch, and its figure."""
    best = best_of(rows)
    if best is None or best["figure"] is None:
        return
    for axes in (losses, judged):
        axes.axvline(best["epoch"], color="0.5", linewidth=1, linestyle=":")
    said = f"best: epoch {best['epoch']}, {best['figure']:.4f}"
    judged.plot(best["epoch"], best["figure"], marker="*", markersize=11, color="C2", linestyle="", label=said)
    judged.legend(loc="lower right")
