"""Several trainings on the same clips as one page: a learning curve over the training share, or folds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

from audiocnn.files import read_json
from audiocnn.recipe.folds import CURVE_REPEATS
from audiocnn.report.charts import condition_plot, learning_plot
from audiocnn.report.page import ReportPart, figure_cell, html_figure, html_legend, html_table, render_page
from audiocnn.report.style import style_sheet
from audiocnn.toml import is_number

LEARNING_CURVE_FILE = f"{CURVE_REPEATS}.json"  # in the folder of the run that contains all trainings
FOLD_FIGURES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced",
    "macro_f1": "macro F1",
    "mean_average_precision": "mean AP",
    "subset_accuracy": "all right",
}
"""The results of a complete training that are shown, with short titles for a narrow table."""


def render_folds(found: ReportPart) -> str:
    """HTML of the contents of learning_curve.json or folds.json."""
    curve = found["type"] == CURVE_REPEATS
    name = "Learning curve" if curve else f"{len(found['folds'])} folds"
    section = curve_section(found, FOLD_FIGURES.__getitem__) if curve else _fold_section(found)
    return render_page(name, style_sheet(), [f"<h1>{name}</h1>", *section])


def curve_section(found: ReportPart, title_of: Callable[[str], str]) -> Iterator[str]:
    """HTML of the results by number of training clips."""
    points = sorted(found["points"], key=lambda point: point["clips"])
    names = _used_figures(points)
    lines = {}
    for name in names:
        held = [(point["clips"], point["figures"].get(name)) for point in points]
        known = [(float(clips), figure) for clips, figure in held if figure and figure["value"] is not None]
        lines[title_of(name)] = [(clips, f["value"], f.get("low"), f.get("high")) for clips, f in known]
    yield html_legend(list(enumerate(lines)))
    yield '<div class="plots">'
    if drawn := learning_plot("share", lines):
        what = "a curve that still rises at its right end means that more clips would help"
        yield html_figure("By number of training clips", what, drawn)
    yield "</div>"
    rows = [[f"{point['clips']:,}", f"{100 * point['share']:g} %", *_cells(point, names)] for point in points]
    yield html_table(["clips", "share", *(escape(title_of(name)) for name in names)], rows)


def _fold_section(found: ReportPart) -> Iterator[str]:
    """Each fold is evaluated with a model trained on all others."""
    folds = found["folds"]
    names = _used_figures(folds)
    titles = [FOLD_FIGURES[name] for name in names]
    yield '<div class="plots">'
    for name, title in zip(names, titles, strict=True):
        dots = [(str(fold["fold"]), [(0, str(fold["fold"]), fold)]) for fold in folds]
        if drawn := condition_plot(name, title, dots):
            yield html_figure(title, "of each fold, with 95 % confidence intervals", drawn)
    yield "</div>"
    rows = [[escape(str(fold["fold"])), f"{fold['clips']:,}", *_cells(fold, names)] for fold in folds]
    means = [found.get("figures", {}).get(name) for name in names]
    spread = ["-" if mean is None else f"{mean['mean']:.4f} ± {mean['spread']:.4f}" for mean in means]
    rows.append(["mean ± spread", "", *spread])
    yield html_table(["fold", "clips", *map(escape, titles)], rows)


def _cells(part: ReportPart, names: Sequence[str]) -> list[str]:
    return [figure_cell(part["figures"].get(name)) for name in names]


def _used_figures(parts: Sequence[ReportPart]) -> list[str]:
    known = {name for part in parts for name in part["figures"]}
    return [name for name in FOLD_FIGURES if name in known]


def find_learning_curve(folder: Path) -> dict[str, Any] | None:
    """The learning curve that a model belongs to, from the run above its folder. None if there is none, or it is
    unreadable."""
    for place in (folder, *folder.absolute().parents[:2]):
        try:
            found = read_json(place / LEARNING_CURVE_FILE)
        except (OSError, ValueError):
            continue
        if isinstance(found, dict) and found.get("type") == CURVE_REPEATS and _are_points(found.get("points")):
            return found
    return None


def _are_points(points: Any) -> bool:
    """Whether these are the points of a curve, at least one. A file of that name may contain anything."""
    if not isinstance(points, list) or not all(isinstance(point, dict) for point in points):
        return False
    figures = [point.get("figures") for point in points]
    if not all(isinstance(found, dict) for found in figures):
        return False
    known = [figure for found in figures for name in FOLD_FIGURES if (figure := found.get(name)) is not None]
    numbers = [point.get(key) for point in points for key in ("clips", "share")]
    if not all(isinstance(figure, dict) and "value" in figure and "digits" not in figure for figure in known):
        return False
    numbers += [value for figure in known for key in ("value", "low", "high") if (value := figure.get(key)) is not None]
    return bool(points) and all(map(is_number, numbers)) and all(point["clips"] > 0 for point in points)
