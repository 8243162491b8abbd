"""`audiocnn search`: search for better settings of a recipe. Prints a line per trial, and at the end the best."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audiocnn.audio.remote import refuse_urls
from audiocnn.errors import UsageError, as_argument, format_command, printable
from audiocnn.files import check_run_writable, free_path, settled
from audiocnn.units import clock, plural
from audiocnn.workflows.label_place import label_words
from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.app.options import BASIC, Device, LabelOptions, ReportFormat, TableFormat, flag, option
from audiocnn_cli.app.progress import Bar
from audiocnn_cli.app.terminal import Terminal
from audiocnn_cli.io.batch import batch_status

if TYPE_CHECKING:
    from audiocnn.recipe.recipe import Recipe
    from audiocnn.training.search import Search, Trial
    from audiocnn.training.study import Study

STUDY_FILE = "study.sqlite"
_MOST_ROWS = 10
_PLAIN_PARTS = ("train", "mix", "spec", "groups", "layers")  # parts of keys that are omitted in tables
_STATE_TITLES = {"pruned": "ended early", "cut off": "cut off"}


class Pruner(StrEnum):
    """The rule for ending trainings early."""

    median = "median"
    hyperband = "hyperband"
    none = "none"


_RecipeFile = Annotated[
    str,
    typer.Argument(metavar="RECIPE", help="Recipe whose [tune] section lists the settings to try.", show_default=False),
]
_TrainingData = Annotated[
    str | None,
    typer.Argument(
        metavar="DATA",
        help="A dataset, or a source as for `ingest`, instead of the data of the recipe.",
        show_default=False,
    ),
]


@dataclass(frozen=True)
class SearchOptions:
    trials: Annotated[
        int,
        typer.Option("--trials", min=1, metavar="N", help="Number of trainings, over all processes."),
        BASIC,
    ] = 20
    epochs: Annotated[
        int | None, option("--epochs", "N", "Epochs of each training. [default: the recipe's]", least=1), BASIC
    ] = None
    pruner: Annotated[
        Pruner,
        typer.Option(
            "--pruner",
            metavar="NAME",
            help="Rule that stops trainings that fall behind: median, hyperband or none.",
        ),
    ] = Pruner.median
    output: Annotated[
        str | None,
        option(
            "--output",
            "FOLDER",
            "Folder to create, with a run for each trial, best.toml and trials.png. [default: runs/NAME.tune]",
            short="-o",
        ),
        BASIC,
    ] = None
    study: Annotated[
        str | None, option("--study", "FILE", "SQLite file of the study. [default: study.sqlite in that folder]")
    ] = None
    resume: Annotated[bool, flag("--resume", "Continue or join the study; begin it if there is none."), BASIC] = False


def search(
    terminal: Terminal,
    recipe_file: _RecipeFile,
    data: _TrainingData = None,
    labels: LabelOptions = LabelOptions(),  # noqa: B008 - frozen
    options: SearchOptions = SearchOptions(),
    format: TableFormat = ReportFormat.auto,
    device: Device = "auto",
) -> ExitStatus:
    """Trains with different values of the settings listed in [tune] of the recipe. Each trial is a run; trials that
    fall behind are stopped early. A study continues with --resume, and several processes can work on it.

    \b
    audiocnn search speech.toml --trials 40 -o tuned
    audiocnn search speech.toml --trials 80 -o tuned --resume
    """
    if data is not None:
        refuse_urls(data)
    from audiocnn.training.study import STUDY_LOCK, Study, exclusive, open_study

    recipe = read_search_recipe(recipe_file, data, labels, options)
    folder = settled(Path(options.output or f"runs/{recipe.name}.tune"))
    check_run_writable(folder)
    path = Path(options.study) if options.study else folder / STUDY_FILE
    check_search_folder(folder, path, options.resume)

    from audiocnn.training.search import make_search
    from audiocnn.workflows.plan import choose_device
    from audiocnn.workflows.sources import dataset_for
    from audiocnn_cli.io.listener import TerminalListener

    where = choose_device(device)
    dataset = dataset_for(recipe, folder, TerminalListener(terminal))
    wanted = make_search(recipe, recipe.tune, dataset, folder, where)
    (folder / STUDY_LOCK).mkdir(parents=True, exist_ok=True)  # never removed: other processes may still start
    with exclusive(folder / STUDY_LOCK):  # of several processes that start together, one creates the study
        opened = open_study(path, options.pruner.value, recipe.train.epochs, wanted.facts, options.resume)
    study = Study(opened, folder, wanted.space, recipe.seed)
    terminal.say(
        f"searching {', '.join(parameter.key for parameter in wanted.space)} on {where} into {printable(str(folder))}"
    )
    went_on = search_command(recipe_file, data, labels, options, folder)
    failed = show_search(wanted, study, options.trials, went_on, terminal)
    return finish_search(wanted, study, failed, format, terminal)


def read_search_recipe(file: str, data: str | None, labels: LabelOptions, options: SearchOptions) -> Recipe:
    """The recipe, with the given data if any."""
    from audiocnn.recipe.recipe import read_recipe
    from audiocnn.workflows.plan import with_data, with_recipe_labels

    recipe = read_recipe(Path(file))
    if options.epochs:
        recipe = dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, epochs=options.epochs))
    recipe = recipe if data is None else with_data(recipe, Path(data))
    return with_recipe_labels(recipe, labels)


def check_search_folder(folder: Path, study: Path, resume: bool) -> None:
    """Raises UsageError, before any work, for a folder with other files, and for an existing study without --resume. If
    there is no study, --resume creates one, so that several processes can be started by the same command."""
    from audiocnn.training.study import LOCKS

    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: not a folder; give another one with -o")
    held = [path.name for path in folder.iterdir()] if folder.is_dir() else []  # first: another process may add a study
    if study.exists() and not resume:
        raise UsageError(f"{study}: the study already exists; continue with --resume, or change -o or --study")
    others = [name for name in held if name != LOCKS and not name.startswith(study.name)]
    if others and not study.exists():
        raise UsageError(f"{folder}: contains other files; give a new folder with -o")


def search_command(
    recipe_file: str, data: str | None, labels: LabelOptions, options: SearchOptions, folder: Path
) -> str:
    """The command that continues an interrupted search."""
    words = ["audiocnn", "search", as_argument(recipe_file), *([as_argument(data)] if data else [])]
    words += ["-o", as_argument(folder)]
    words += label_words(labels)
    words += ["--trials", str(options.trials)]
    words += ["--epochs", str(options.epochs)] if options.epochs else []
    words += ["--study", options.study] if options.study else []
    words += ["--pruner", options.pruner.value] if options.pruner != SearchOptions.pruner else []
    return format_command([*words, "--resume"])


def show_search(wanted: Search, study: Study, trials: int, went_on: str, terminal: Terminal) -> int:
    """Show the trials as they end, and return how many failed in this process. If interrupted, the current trial is
    saved."""
    from audiocnn.training.events import EpochReport, StepReport, StopReport
    from audiocnn.training.interrupt import StopSignals
    from audiocnn.training.search import Trial, TrialBegun
    from audiocnn.training.search import search as search_space
    from audiocnn_cli.app.exits import Terminated

    stop_signals, failed = StopSignals(), 0
    try:
        with Bar(terminal, "trial") as bar:
            for report in search_space(wanted, study, trials, stop_signals):
                if isinstance(report, TrialBegun):
                    bar.what = f"trial {report.number}"
                    bar.restart()
                    terminal.detail(
                        f"trial {report.number}: {format_params(report.params)}{' (continued)' * report.again}"
                    )
                elif isinstance(report, StepReport):
                    bar.update(report.step, report.steps, f"epoch {report.epoch}")
                elif isinstance(report, EpochReport):
                    figure = "unknown" if report.figure is None else f"{report.figure:.4f}"
                    said = f"{report.figure_name} {figure}, loss {report.loss:.4f}"
                    terminal.detail(f"  epoch {report.epoch}/{report.epochs}: {said}")
                elif isinstance(report, StopReport):
                    terminal.say(f"stopped at epoch {report.epoch}, step {report.step} of {report.steps}: saved")
                    stop_signals.raise_first()
                elif isinstance(report, Trial):
                    failed += report.state == "failed"
                    say_trial(report, wanted, study, terminal)
    except (KeyboardInterrupt, Terminated):
        terminal.say(f"audiocnn: interrupted; continue with `{went_on}`")
        raise
    return failed


def say_trial(trial: Trial, wanted: Search, study: Study, terminal: Terminal) -> None:
    from audiocnn.training.search import best_trial

    if trial.state == "failed":
        terminal.error(f"trial {trial.number}: {trial.facts.get('error', 'failed')} ({format_params(trial.params)})")
        return
    best = best_trial(wanted, study)
    mark = " *" if best is not None and best.number == trial.number else ""
    early = ", ended early" if trial.state == "pruned" else ""
    figure = f"{str(trial.facts['figure']).replace('_', ' ')} {trial.value:.4f}"
    spent = f"{plural(trial.facts['epochs'], 'epoch')} in {clock(trial.facts['seconds'])}{early}"
    terminal.say(f"trial {trial.number}: {figure}, {spent}: {format_params(trial.params)}{mark}")


def format_params(params: dict[str, object]) -> str:
    """Parameters as short text, with the last parts of their keys."""
    return ", ".join(f"{short_key(key)} {_format_param(value)}" for key, value in params.items())


def short_key(key: str) -> str:
    """train.learning_rate -> learning_rate; spec.groups.A.layers.0.conv -> A.0.conv."""
    return ".".join(part for part in key.split(".") if part not in _PLAIN_PARTS) or key


def _format_param(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def finish_search(wanted: Search, study: Study, failed: int, format: ReportFormat, terminal: Terminal) -> ExitStatus:
    from audiocnn.report.train_picture import TRIALS_FILE, draw_trials
    from audiocnn.training.search import best_trial, list_trials, write_best

    trials = list_trials(wanted, study)
    best, recipe = best_trial(wanted, study), write_best(wanted, study)
    importances = study.importances()
    draw_trials(trials, importances, wanted.folder / TRIALS_FILE)
    ranked = sorted(trials, key=lambda one: (one.state != "complete", -(one.value or 0.0), one.number))
    if not terminal.wants_table(format):
        records = [one.to_dict() for one in ranked]
        records += [{"schema": 1, "type": "importance", "shares": importances}]
        terminal.write("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))
    else:
        draw_trial_table(ranked, terminal)
    complete = [one for one in trials if one.state in ("complete", "pruned")]
    if best is None or recipe is None:
        terminal.error(f"{wanted.folder}: no trial was completed; check their messages and [tune] in the recipe")
        return ExitStatus.USAGE
    for key, share in importances.items():
        terminal.detail(f"{key}: importance {share:.2f}")
    words, run = ["audiocnn", "train", "--recipe"], free_path(wanted.folder.with_name(f"{wanted.folder.name}-best"))
    lines = [
        f"best: trial {best.number}, {best.facts['figure'].replace('_', ' ')} {best.value:.4f}; picture of all trials:"
        f" {wanted.folder / TRIALS_FILE}",
        f"its model:      {format_command(['audiocnn', 'describe', as_argument(best.folder)])}",
        f"train with it:  {format_command([*words, as_argument(recipe), '-o', as_argument(run)])}",
    ]
    for line in lines:
        terminal.say(line)
    return batch_status(len(complete), failed)


def draw_trial_table(ranked: list[Trial], terminal: Terminal) -> None:
    from rich.text import Text

    shown = ranked[:_MOST_ROWS]
    keys = list(dict.fromkeys(key for one in shown for key in one.params))
    table = terminal.new_table()
    titles = ["trial", "figure", "epochs", "time", "weights", *map(short_key, keys), ""]
    for title in titles:
        table.add_column(Text(printable(title)), justify="left" if not title else "right", overflow="fold")
    for one in shown:
        weights = one.facts.get("parameters")
        cells = [
            str(one.number),
            "-" if one.value is None else f"{one.value:.4f}",
            str(one.facts.get("epochs", "")),
            clock(one.facts["seconds"]) if "seconds" in one.facts else "",
            f"{weights:,}" if weights else "",
            *(_format_param(one.params.get(key, "")) for key in keys),
            "" if one.state == "complete" else _STATE_TITLES.get(one.state, one.state),
        ]
        table.add_row(*(Text(printable(cell)) for cell in cells), style="" if one.state == "complete" else "dim")
    terminal.out.print(table)
    if len(ranked) > len(shown):
        terminal.out.print(Text(f"and {len(ranked) - len(shown)} more", style="dim"))
