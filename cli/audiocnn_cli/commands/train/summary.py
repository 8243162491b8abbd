"""The end of a training: curves, the test on held-out recordings, and the next commands."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from audiocnn.errors import as_argument, format_command, printable
from audiocnn.evaluation.results import MAIN_CLIP_FIGURES, figure_title
from audiocnn.units import clock, plural
from audiocnn_cli.app.draw import format_figure
from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.app.terminal import Terminal
from audiocnn_cli.io.listener import TerminalListener

if TYPE_CHECKING:
    from audiocnn.data.dataset import Dataset
    from audiocnn.evaluation.advice import Subject
    from audiocnn.evaluation.results import Evaluation
    from audiocnn.recipe.division import Division
    from audiocnn.recipe.recipe import Recipe
    from audiocnn.training.events import TrainReport


_MOST_PAIRS = 3
_ENOUGH_TESTED = 100  # clips: the interval of a share is then at most 0.2 wide
_NOTHING_HELD_OUT = "the last, since there were no validation data"


def finish_run(
    recipe: Recipe, dataset: Dataset, report: TrainReport, run: Path, terminal: Terminal, again: Sequence[str] = ()
) -> ExitStatus:
    """Test the model, and print results and next commands. again: the command that trains again."""
    from audiocnn.evaluation.advice import advise
    from audiocnn.workflows.train import finish_training

    end = finish_training(recipe, dataset, report, run, TerminalListener(terminal), again)
    tested, clips, subject = end.evaluation, end.clips, end.subject
    evaluation = tested.evaluation if tested is not None else None
    lines = []
    if evaluation is not None:
        lines += test_lines(evaluation, end.recordings, end.judged_on, bool(end.division.test), run)
        lines += [*more_tests(evaluation, recipe, dataset, run, report.seconds), ""]
    elif clips:
        lines += [f"not tested: {why_untested(recipe, end.division)}", ""]
    lines += training_lines(report, clips, len(end.division.validation))
    lines += [f"plots in {run}: {', '.join(end.pictures)}"] if end.pictures else []
    _show_panel("trained", lines, terminal)
    advice = tested.advice if tested is not None else advise(None, subject)
    use = use_commands(subject, clips, evaluation is not None, report.model.must_choose)
    terminal.say_block("use it", [line for line in use if not any(line.endswith(one.command_line) for one in advice)])
    terminal.say_block("next", [one.line for one in advice])
    return ExitStatus.SOME_FAILED if evaluation is not None and evaluation.failures else ExitStatus.OK


def test_lines(evaluation: Evaluation, recordings: int, judged_on: str, tested: bool, run: Path) -> list[str]:
    """The most important figures, and the most frequent confusions. tested: on data that was not used in training."""
    from audiocnn.workflows.train import PAGE

    clip = evaluation.clip
    noun = "recording" if clip is None else "clip"
    lines = [f"of {plural(recordings, noun)} ({judged_on}) not used in training:"]
    if not tested:
        fact = f"evaluated on {plural(recordings, noun)} ({judged_on})"
        lines = [f"{fact}; evaluate on other recordings for a reliable result:"]
    elif clip is not None and (share := clip.figures.get("accuracy")) and share.value is not None:
        judged = [answer.right for answer in clip.answers if answer.right is not None]
        words = f"{lines[0].removesuffix(':')}, {sum(judged)} are right ({share.value:.2f})"
        between = "" if share.low is None else f", 95 % interval {share.low:.2f} to {share.high:.2f}"
        lines = [words + between]
    if clip is None:
        figures = {f"{label}: F1": found.figures["f1"] for label, found in evaluation.labels.items()}
    else:
        names = [name for name in MAIN_CLIP_FIGURES[clip.answer] if name in clip.figures]
        figures = {figure_title(name): clip.figures[name] for name in names}
    width = max(map(len, figures), default=0)
    lines += [f"  {title:{width}}  {format_figure(figure, title)}" for title, figure in figures.items()]
    pairs = clip.confusion.pairs[:_MOST_PAIRS] if clip and clip.confusion else ()
    lines += [
        f"  {pair.label} mistaken for {pair.answer}: {pair.clips} of {round(pair.clips / pair.share)}" for pair in pairs
    ]
    return [*lines, f"  all figures, and clips to listen to: {run / PAGE}"]


def more_tests(evaluation: Evaluation, recipe: Recipe, dataset: Dataset, run: Path, seconds: float) -> list[str]:
    """The command that tests on more clips, if few were held out. seconds: that the training took."""
    clip, data = evaluation.clip, recipe.data
    if clip is None or data is None or clip.clips >= _ENOUGH_TESTED or data.split or data.test_fold:
        return []
    from audiocnn.workflows.heard import FOLDS, folds_command

    fact = f"{plural(clip.clips, 'clip')} give a rough estimate"
    amount = f"all {len(dataset.entries)}, in about {clock(FOLDS * seconds)}"
    return [f"{fact}; `{folds_command(run)}` tests on {amount}"]


def why_untested(recipe: Recipe, division: Division) -> str:
    if division.notes:
        return "; ".join(division.notes)
    return "the recipe gives the split to train on" if recipe.data and recipe.data.split else "no clips were held out"


def training_lines(report: TrainReport, clips: bool = False, held_out: int = 0) -> list[str]:
    """The results of the training. For clips, the figures of the final model, as in `evaluate`, instead of that of the
    best epoch, which was measured before calibration. held_out: number of validation clips."""
    training = report.model.training
    thresholds = ", ".join(f"{label} {value:g}" for label, value in report.model.thresholds.items())
    early = ", stopped early" if report.stopped_early else ""
    groups = training["groups"]["validation"]
    said = f"thresholds: {thresholds} (tuned on {report.model.tuned_on})" if report.model.tuned_on else ""
    best, figures = f"best epoch {report.best_epoch} of {report.epochs}{early}", ""
    if report.figure is None:
        best += f": {_NOTHING_HELD_OUT}"
    elif clips:
        named = [f"{figure_title(name)} {figure:.4f}" for name, figure in training["validation"].items()]
        what = plural(groups, "clip" if groups == held_out else "group")
        figures = f"on the {what} used to choose the epoch, so slightly optimistic: {', '.join(named)}"
    else:
        best += f": {report.figure_name} {report.figure:.4f} on {plural(groups, 'group')} held out for validation"
    lines = [
        figures,
        f"{best}, in {clock(report.seconds)}",
        said,
        f"model: {report.model.folder} (ONNX and PyTorch scores differ by at most {report.export_difference:.0e})",
    ]
    return [line for line in lines if line]


def use_commands(subject: Subject, clips: bool, tested: bool, must_choose: bool = False) -> list[str]:
    """Commands that use the model. must_choose: the model assigns one of its labels to every sound, so `detect` is not
    suggested for clips."""
    model, recording = ["--model", as_argument(subject.model)], [as_argument(subject.example)]
    commands = [["classify", *model, *recording]] if clips and subject.example else []
    commands += [["detect", *model, *recording]] if subject.example and not (clips and must_choose) else []
    commands += [["evaluate", as_argument(subject.data), *model, *subject.options]] if tested else []
    return [format_command(["audiocnn", *words]) for words in [*commands, ["export", as_argument(subject.model)]]]


def _show_panel(title: str, lines: list[str], terminal: Terminal) -> None:
    """Print lines to stderr, on a terminal in a frame."""
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
