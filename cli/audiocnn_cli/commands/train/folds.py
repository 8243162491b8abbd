"""`train --folds` and `--learning-curve`: train and test a recipe several times, and print a table of the results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audiocnn.errors import as_argument, format_command
from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.app.terminal import Terminal
from audiocnn_cli.commands.train.options import PartOptions, RunOptions
from audiocnn_cli.io.listener import TerminalListener

if TYPE_CHECKING:
    from audiocnn.data.dataset import Dataset
    from audiocnn.recipe.folds import Repeat, RepeatResult
    from audiocnn.recipe.recipe import Recipe

_SUMMARY_ROWS = ("mean", "spread")


def train_repeats(
    recipe: Recipe,
    dataset: Dataset,
    folder: Path,
    device: str,
    run: RunOptions,
    parts: PartOptions,
    terminal: Terminal,
) -> ExitStatus:
    """Train and test each; the table goes to stdout, and folds.json or learning_curve.json to the folder."""
    from audiocnn.files import write_whole
    from audiocnn.recipe.folds import summarize_repeats
    from audiocnn.report.folds import render_folds

    kind, repeats = plan_repeats(recipe, dataset, parts)
    results = [train_repeat(each, dataset, folder / each.name, device, run, terminal) for each in repeats]
    table = summarize_repeats(kind, results)
    write_whole(folder / f"{kind}.json", (json.dumps(table, indent=2) + "\n").encode())
    write_whole(folder / f"{kind}.html", render_folds(table).encode())
    terminal.write("\n".join(repeat_table(kind, results, table)) + "\n")
    terminal.say(f"all figures: {folder / kind}.json and .html")
    if parts.folds:
        doubt = format_command(["audiocnn", "doubtful", as_argument(folder)])
        terminal.say(f"to find wrong labels with models that were not trained on these clips: {doubt}")
    return ExitStatus.OK


def plan_repeats(recipe: Recipe, dataset: Dataset, parts: PartOptions) -> tuple[str, list[Repeat]]:
    """The kind of repeats, folds or learning curve, and the trainings."""
    from audiocnn.recipe.folds import CURVE_REPEATS, FOLD_REPEATS, curve_repeats, fold_repeats
    from audiocnn.workflows.plan import parse_shares

    if parts.folds:
        return FOLD_REPEATS, fold_repeats(recipe, dataset, parts.folds)
    return CURVE_REPEATS, curve_repeats(recipe, dataset, parse_shares(parts.learning_curve or ""))


def train_repeat(
    each: Repeat, dataset: Dataset, folder: Path, device: str, run: RunOptions, terminal: Terminal
) -> RepeatResult:
    """Train one and test it. An existing run is continued or started again, depending on the options."""
    from audiocnn.evaluation.results import EvaluationSettings
    from audiocnn.inference.engine import load_engine
    from audiocnn.recipe.division import divide
    from audiocnn.recipe.folds import RepeatResult
    from audiocnn.report.folds import FOLD_FIGURES
    from audiocnn.workflows.judge import judge_dataset, make_scorer
    from audiocnn.workflows.plan import say_notes
    from audiocnn.workflows.run_folder import clear_run
    from audiocnn.workflows.train import Training, draw_curves
    from audiocnn_cli.commands.train.run import run_training

    listener = TerminalListener(terminal)
    if run.force:
        clear_run(folder)
    resume = run.resume and (folder / "recipe.toml").exists()
    division = divide(dataset, each.recipe)
    say_notes(each.recipe, dataset, listener)
    training = Training(
        each.recipe,
        dataset,
        folder,
        device,
        resume,
        tensorboard=run.tensorboard,
        moved=run.moved is not None,
        threads=run.threads,
    )
    report = run_training(training, terminal)
    draw_curves(folder, each.recipe.name, listener)
    scorer = make_scorer(load_engine(report.model, "cpu", None))
    part = dataset.with_entries(division.test)
    evaluation, *_ = judge_dataset(part, scorer, EvaluationSettings(), None, each.name, listener)
    assert evaluation.clip is not None
    figures = {name: figure for name, figure in evaluation.clip.figures.items() if name in FOLD_FIGURES}
    return RepeatResult(each, (len(division.train), len(division.validation), len(division.test)), figures)


def repeat_table(kind: str, results: list[RepeatResult], table: dict[str, Any]) -> list[str]:
    """A row for each training; for folds, also mean and spread."""
    from audiocnn.report.folds import FOLD_FIGURES

    names = [name for name in FOLD_FIGURES if any(name in result.figures for result in results)]
    titles = [FOLD_FIGURES[name] for name in names]
    rows = [["fold" if kind == "folds" else "share", "learned", "tested", *titles]]
    for result in results:
        learned, _, tested = result.clips
        value = result.repeat.value
        figures = [_format_value(result.value(name)) for name in names]
        rows.append([value if isinstance(value, str) else f"{value:g}", str(learned), str(tested), *figures])
    summed = table.get("figures", {})
    if summed:
        wholes = [
            [what, "", "", *(_format_value(summed.get(name, {}).get(what)) for name in names)] for what in _SUMMARY_ROWS
        ]
        rows += wholes
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _format_value(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
