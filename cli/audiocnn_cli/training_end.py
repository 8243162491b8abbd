"""What comes after a training: the test by recordings that were kept apart for it, and how to go on."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from audiocnn.units import clock
from audiocnn_cli.curves import draw
from audiocnn_cli.exits import ExitStatus
from audiocnn_cli.findings import plural
from audiocnn_cli.terminal import Terminal, printable

if TYPE_CHECKING:
    from audiocnn.cutting import Division
    from audiocnn.dataset import Dataset
    from audiocnn.figures import Evaluation, Figure
    from audiocnn.model import Model
    from audiocnn.recipe import Recipe
    from audiocnn.training import TrainReport

REPORT, PAGE = "report.json", "report.html"  # in the folder of a run
MOST_PAIRS = 3
LAST = "the last, since nothing was held out"
CLIP_ROWS = {
    "one": {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "macro_f1": "macro F1"},
    "several": {
        "mean_average_precision": "mean average precision",
        "macro_f1": "macro F1",
        "subset_accuracy": "all labels right",
    },
}


def finish(recipe: Recipe, dataset: Dataset, report: TrainReport, run: Path, terminal: Terminal) -> ExitStatus:
    """Test the model, and say what came out and what to do with it."""
    from audiocnn.cutting import divide

    division = divide(dataset, recipe)
    clips = not any(entry.annotated for entry in dataset.entries)
    evaluation = tested(dataset, division, recipe, report.model, run, terminal) if division.test else None
    lines = [*outcome(report), *draw(run, recipe.name, terminal)]
    if evaluation is not None:
        lines += ["", *test_lines(evaluation, division, run)]
    elif clips:
        lines += ["", f"not tested: {untested(recipe, division)}"]
    show("trained", [*lines, "", *commands(run, clips)], terminal)
    return ExitStatus.SOME_FAILED if evaluation is not None and evaluation.failures else ExitStatus.OK


def tested(
    dataset: Dataset, division: Division, recipe: Recipe, model: Model, run: Path, terminal: Terminal
) -> Evaluation:
    """Judge the model by the test part; report.json and report.html in the run have all of it."""
    from audiocnn.engine import load_engine
    from audiocnn.figures import EvaluationSettings
    from audiocnn_cli.evaluate import JudgedSegments, judged, scorer_of
    from audiocnn_cli.output import open_output
    from audiocnn_cli.reports import Report, write_json
    from audiocnn_cli.sides import write_page

    scorer = scorer_of(load_engine(model, "cpu", None), JudgedSegments())
    part = dataset.with_entries(division.test)
    found = judged(part, scorer, EvaluationSettings(), None, "test", terminal)
    data = str(recipe.data.source if recipe.data else dataset.folder)
    about = (model.name, str(model.folder), model.tuned_on, model.thresholds, data, division.tested_on)
    reports = [Report(*about, *found)]
    with open_output(run / REPORT, terminal) as out:
        write_json(reports, out.write, pretty=True)
    write_page(reports, run / PAGE, part)
    return found[0]


def test_lines(evaluation: Evaluation, division: Division, run: Path) -> list[str]:
    """The figures that say most, and which labels are taken for each other."""
    lines = [
        f"tested on {plural(len(division.test), 'recording')} ({division.tested_on}) that nothing was learned from:"
    ]
    clip = evaluation.clip
    if clip is None:
        figures = {f"{label}: F1": found.figures["f1"] for label, found in evaluation.labels.items()}
    else:
        figures = {title: clip.figures[name] for name, title in CLIP_ROWS[clip.answer].items() if name in clip.figures}
    width = max(map(len, figures), default=0)
    lines += [f"  {title:{width}}  {spoken(figure)}" for title, figure in figures.items()]
    pairs = clip.confusion.pairs[:MOST_PAIRS] if clip and clip.confusion else ()
    lines += [
        f"  {pair.label} taken for {pair.answer}: {pair.clips} of {whole(pair.clips, pair.share)}" for pair in pairs
    ]
    return [*lines, f"  all figures, and clips to listen to: {run / PAGE}"]


def whole(clips: int, share: float) -> int:
    """How many clips these are a share of."""
    return round(clips / share)


def spoken(figure: Figure) -> str:
    """A value and its 95 % interval."""
    if figure.value is None:
        return "-"
    if figure.low is None or figure.high is None:
        return f"{figure.value:.4f}"
    return f"{figure.value:.4f}  [{figure.low:.4f}, {figure.high:.4f}]"


def untested(recipe: Recipe, division: Division) -> str:
    """Why there is no test."""
    if division.notes:
        return "; ".join(division.notes)
    return (
        "the recipe names the split to learn from" if recipe.data and recipe.data.split else "no clips were kept apart"
    )


def outcome(report: TrainReport) -> list[str]:
    """What the training made."""
    thresholds = ", ".join(f"{label} {value:g}" for label, value in report.model.thresholds.items())
    early = ", stopped early" if report.stopped_early else ""
    count = report.model.training["groups"]["validation"]
    held_out = plural(count, "group")
    best = f"{report.figure_name} {report.figure:.4f} on {held_out} held out" if report.figure is not None else LAST
    said = f"thresholds: {thresholds} (tuned on {report.model.tuned_on})" if thresholds else ""
    return [
        f"best epoch {report.best_epoch} of {report.epochs}{early}: {best}, in {clock(report.seconds)}",
        *([said] if said else []),
        f"model: {report.model.folder} (ONNX and torch at most {report.export_difference:.0e} apart)",
    ]


def commands(run: Path, clips: bool) -> list[str]:
    """What to do with it."""
    name = shlex.quote(f"./{run}" if str(run).startswith("-") else str(run))
    if not clips:
        return [f"try it:  audiocnn detect --model {name} FILE"]
    return [
        f"name sounds:  audiocnn classify --model {name} FILE...",
        f"find them:    audiocnn detect --model {name} FILE",
        f"judge it:     audiocnn evaluate NEW_SOUNDS --model {name}",
        f"hand it on:   audiocnn export {name}",
    ]


def show(title: str, lines: list[str], terminal: Terminal) -> None:
    """Lines on stderr, in a frame where a person looks."""
    if not terminal.watched:
        for line in lines:
            if line:
                terminal.say(line)
        return
    if terminal.quiet:
        return
    from rich import box
    from rich.panel import Panel

    edges = box.ROUNDED if terminal.unicode else box.ASCII
    with terminal.paused():
        terminal.err.print(Panel("\n".join(map(printable, lines)), title=title, box=edges, expand=False))
