"""Several trainings on the same clips as one page: a learning curve over how much was learned from, or folds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from audiocnn.clip_pictures import learning_plot
from audiocnn.report_parts import Said, figure_cell, picture, table
from audiocnn.report_pictures import condition_plot, legend
from audiocnn.report_style import style_sheet

CURVE, FOLDS = "learning_curve.json", "folds.json"  # in the folder of the run that holds all trainings
SHOWN = ("accuracy", "balanced_accuracy", "macro_f1", "mean_average_precision", "subset_accuracy")


def to_page(said: Said, titles: Mapping[str, str]) -> str:
    """HTML of what learning_curve.json or folds.json holds; `titles` are those of the figures."""
    curve = said["type"] == "learning_curve"
    name = "Learning curve" if curve else f"{len(said['folds'])} folds"
    parts = [
        "<!doctype html>",
        '<html lang="en">',
        '<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
        f"<title>{name}</title><style>{style_sheet()}</style></head>",
        f"<body><h1>{name}</h1>",
        *(curve_section(said, titles) if curve else fold_section(said, titles)),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def curve_section(said: Said, titles: Mapping[str, str]) -> Iterator[str]:
    """How good a model gets with how many clips."""
    points = sorted(said["points"], key=lambda point: point["clips"])
    names = shown_figures(points)
    lines = {}
    for name in names:
        held = [(point["clips"], point["figures"].get(name)) for point in points]
        known = [(float(clips), figure) for clips, figure in held if figure and figure["value"] is not None]
        lines[title_of(name, titles)] = [(clips, f["value"], f.get("low"), f.get("high")) for clips, f in known]
    yield legend(list(enumerate(lines)))
    yield '<div class="plots">'
    if drawn := learning_plot("share", lines):
        what = "where it still rises on the right, more clips make it better"
        yield picture("Over how many clips were learned from", what, drawn)
    yield "</div>"
    rows = [[f"{point['clips']:,}", f"{100 * point['share']:g} %", *cells(point, names)] for point in points]
    yield table(["clips", "share", *(escape(title_of(name, titles)) for name in names)], rows)


def fold_section(said: Said, titles: Mapping[str, str]) -> Iterator[str]:
    """Each fold is judged by a model that learned from all others."""
    folds = said["folds"]
    names = shown_figures(folds)
    yield '<div class="plots">'
    for name in names:
        dots = [(str(fold["fold"]), [(0, str(fold["fold"]), fold)]) for fold in folds]
        if drawn := condition_plot(name, title_of(name, titles), dots):
            yield picture(title_of(name, titles), "of each fold, with 95 % intervals", drawn)
    yield "</div>"
    rows = [[escape(str(fold["fold"])), f"{fold['clips']:,}", *cells(fold, names)] for fold in folds]
    summary = said.get("figures", {})
    means = [summary.get(name) for name in names]
    spread = ["-" if mean is None else f"{mean['mean']:.4f} ± {mean['spread']:.4f}" for mean in means]
    rows.append(["mean ± spread", "", *spread])
    yield table(["fold", "clips", *(escape(title_of(name, titles)) for name in names)], rows)


def cells(part: Said, names: Sequence[str]) -> list[str]:
    """Values with their intervals."""
    figures = [part["figures"].get(name) for name in names]
    return [figure_cell({"low": None, "high": None, **figure, "digits": 4} if figure else None) for figure in figures]


def shown_figures(parts: Sequence[Said]) -> list[str]:
    """The figures of the whole that any of them has."""
    known = {name for part in parts for name in part["figures"]}
    return [name for name in SHOWN if name in known]


def title_of(name: str, titles: Mapping[str, str]) -> str:
    """What a figure is called."""
    return titles.get(name, name.replace("_", " "))


def curve_near(folder: Path) -> dict[str, Any] | None:
    """The learning curve that a model is a part of, from the run above its folder; None where there is none, or none
    that can be read."""
    for place in (folder, *folder.absolute().parents[:2]):
        try:
            said = json.loads((place / CURVE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(said, dict) and said.get("type") == "learning_curve" and said.get("points"):
            return said
    return None
