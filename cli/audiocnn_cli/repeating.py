"""`train --folds` and `--learning-curve`: one recipe trained several times, each tested, and a table of it all."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from audiocnn.errors import UsageError
from audiocnn_cli.exits import ExitStatus
from audiocnn_cli.terminal import Terminal
from audiocnn_cli.training_options import RunOptions

if TYPE_CHECKING:
    from audiocnn.dataset import Dataset
    from audiocnn.recipe import Recipe
    from audiocnn.repeats import Repeat, Result

SHOWN = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced",
    "macro_f1": "macro F1",
    "mean_average_precision": "mean AP",
    "subset_accuracy": "all right",
}

WHOLES = ("mean", "spread")


@dataclasses.dataclass(frozen=True)
class PartOptions:
    """Which clips are learned from and which are tested on."""

    group: Annotated[
        str | None,
        typer.Option("--group", metavar="COLUMN", help="What is not parted, such as speaker. [default: the recipe's]"),
    ] = None
    group_pattern: Annotated[
        str | None,
        typer.Option(
            "--group-pattern", metavar="REGEX", help="The same from file names: its first group, '^([^_]+)_'."
        ),
    ] = None
    corrections: Annotated[
        str | None,
        typer.Option("--corrections", metavar="FILE", help="A table: filename, label. Labels here win; - leaves out."),
    ] = None
    folds: Annotated[
        int | None,
        typer.Option("--folds", min=2, metavar="K", help="Train K times, each tested on another part."),
    ] = None
    learning_curve: Annotated[
        str | None,
        typer.Option("--learning-curve", metavar="SHARES", help="Train on these shares of the clips: 0.1,0.3,1."),
    ] = None


def with_parts(recipe: Recipe, parts: PartOptions) -> Recipe:
    """The recipe with what the options say of its data."""
    if parts.folds and parts.learning_curve:
        raise UsageError("--folds and --learning-curve both train several times; name one")
    if parts.learning_curve is not None:
        shares_of(parts.learning_curve)
    if parts.group and parts.group_pattern:
        raise UsageError("--group and --group-pattern both say what is kept together; name one")
    values: dict[str, Any] = {}
    if parts.group:
        values |= {"group": parts.group, "group_pattern": None}
    if parts.group_pattern:
        values |= {"group_pattern": parts.group_pattern, "group": "group"}
    if parts.corrections:
        if not Path(parts.corrections).is_file():
            raise UsageError(f"--corrections {parts.corrections}: no such file; check the name")
        values["corrections"] = Path(parts.corrections)
    if not values or recipe.data is None:
        return recipe
    return dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, **values))


def repeat(
    recipe: Recipe,
    dataset: Dataset,
    folder: Path,
    device: str,
    run: RunOptions,
    parts: PartOptions,
    terminal: Terminal,
) -> ExitStatus:
    """Train and test each; the table is on stdout, and folds.json or learning_curve.json in the folder."""
    from audiocnn.repeats import CURVE, FOLDS, curve_repeats, fold_repeats, summary
    from audiocnn.repeats_page import to_page
    from audiocnn.whole_files import write_whole

    kind = FOLDS if parts.folds else CURVE
    if parts.folds:
        repeats = fold_repeats(recipe, dataset, parts.folds)
    else:
        repeats = curve_repeats(recipe, dataset, shares_of(parts.learning_curve or ""))
    results = [one(each, dataset, folder / each.name, device, run, terminal) for each in repeats]
    table = summary(kind, results)
    write_whole(folder / f"{kind}.json", (json.dumps(table, indent=2) + "\n").encode())
    write_whole(folder / f"{kind}.html", to_page(table, SHOWN).encode())
    terminal.write("\n".join(table_of(kind, results, table)) + "\n")
    terminal.say(f"all figures: {folder / kind}.json and .html")
    return ExitStatus.OK


def shares_of(text: str) -> list[float]:
    """0.1,0.3,1 as numbers. UsageError for what is none, or no share."""
    from audiocnn.repeats import check_shares

    try:
        shares = [float(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"--learning-curve {text}: expected shares such as 0.1,0.3,1") from None
    check_shares(shares)
    return shares


def one(each: Repeat, dataset: Dataset, folder: Path, device: str, run: RunOptions, terminal: Terminal) -> Result:
    """Train one, and test it. A run that is there is gone on with, or begun anew, as the options say."""
    from audiocnn.cutting import divide
    from audiocnn.engine import load_engine
    from audiocnn.figures import EvaluationSettings
    from audiocnn.repeats import Result
    from audiocnn_cli.curves import draw
    from audiocnn_cli.evaluate import JudgedSegments, judged, scorer_of
    from audiocnn_cli.run_folder import clear
    from audiocnn_cli.training_data import tell_notes
    from audiocnn_cli.training_run import Training, run_training

    if run.force:
        clear(folder)
    resume = run.resume and (folder / "recipe.toml").exists()
    division = divide(dataset, each.recipe)
    tell_notes(each.recipe, dataset, terminal)
    report = run_training(Training(each.recipe, dataset, folder, device, resume, run.tensorboard), terminal)
    draw(folder, each.recipe.name, terminal)
    scorer = scorer_of(load_engine(report.model, "cpu", None), JudgedSegments())
    part = dataset.with_entries(division.test)
    evaluation, *_ = judged(part, scorer, EvaluationSettings(), None, each.name, terminal)
    assert evaluation.clip is not None
    figures = {name: figure for name, figure in evaluation.clip.figures.items() if name in SHOWN}
    return Result(each, (len(division.train), len(division.validation), len(division.test)), figures)


def table_of(kind: str, results: list[Result], table: dict[str, Any]) -> list[str]:
    """A row for each training; of folds the mean, and the spread over them."""
    names = [name for name in SHOWN if any(name in result.figures for result in results)]
    titles = [SHOWN[name] for name in names]
    rows = [["fold" if kind == "folds" else "share", "learned", "tested", *titles]]
    for result in results:
        learned, _, tested = result.clips
        value = result.repeat.value
        figures = [spoken(result.value(name)) for name in names]
        rows.append([value if isinstance(value, str) else f"{value:g}", str(learned), str(tested), *figures])
    summed = table.get("figures", {})
    if summed:
        wholes = [[what, "", "", *(spoken(summed.get(name, {}).get(what)) for name in names)] for what in WHOLES]
        rows += wholes
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def spoken(value: float | None) -> str:
    """A figure; a dash where it is not defined."""
    return "-" if value is None else f"{value:.4f}"
