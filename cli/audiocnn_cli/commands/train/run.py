"""A training by one process or several, shown on stderr.

Epochs are printed as rows and not redrawn. They stay visible in a small window, and form a log in a file.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audiocnn.errors import AudiocnnError, as_argument, format_command, printable
from audiocnn.units import clock
from audiocnn_cli.app.exits import LostProcessError
from audiocnn_cli.app.options import option_words
from audiocnn_cli.app.progress import Bar
from audiocnn_cli.app.terminal import Terminal
from audiocnn_cli.io.listener import TerminalListener

if TYPE_CHECKING:
    from audiocnn.training.distributed import ProcessGroup
    from audiocnn.training.events import EpochReport, StepReport, TrainReport
    from audiocnn.training.transfer import Origin
    from audiocnn.workflows.train import Training

_LOST = (
    "another process of this training has ended or cannot be reached; check its messages, then continue with --resume"
)


def run_training(training: Training, terminal: Terminal) -> TrainReport:
    """Train and show the progress. The first Ctrl-C or SIGTERM ends the training after the current step, when the state
    is saved; then the signal is raised as usual."""
    from audiocnn.training.distributed import ProcessGroup
    from audiocnn.training.interrupt import StopSignals
    from audiocnn.workflows.train import training_reports

    reports = training_reports(training, TerminalListener(terminal), StopSignals(), ProcessGroup())
    return show_training(reports, terminal, training.folder, training.device)


def run_in_group(training: Training, terminal: Terminal, group: ProcessGroup) -> TrainReport | None:
    """Train with several processes. Returns None in all processes except the leader."""
    from audiocnn.training.interrupt import StopSignals
    from audiocnn.workflows.train import training_reports

    reports = training_reports(training, TerminalListener(terminal), StopSignals(several=True), group)
    if group.is_leader:
        return show_training(reports, terminal, training.folder, f"{group.world_size} processes, {training.device}")
    for _ in reports:
        pass
    return None


def find_process_group(terminal: Terminal) -> ProcessGroup | None:
    """The process group; None if this is the only process."""
    if terminal.environ.get("WORLD_SIZE", "1") == "1":
        return None
    from audiocnn.training.distributed import process_group_of

    group = process_group_of(terminal.environ)
    return group if group.world_size > 1 else None


@contextmanager
def joined_group(group: ProcessGroup, terminal: Terminal) -> Iterator[None]:
    """Join the other processes. Only the leader prints. An error in all processes is printed once. If a process is
    lost, the others end with a single message."""
    from audiocnn.training.distributed import is_lost, join_processes, leave_processes

    if not group.is_leader:
        terminal.verbosity, terminal.animate = -1, False
    try:
        join_processes(group)
        yield
        leave_processes()
    except AudiocnnError as problem:
        if not group.is_first_to_say(str(problem)):
            terminal.stderr = io.StringIO()
        raise
    except (RuntimeError, OSError) as problem:
        if not is_lost(problem):
            raise
        if not group.is_first_to_say(_LOST):
            terminal.stderr = io.StringIO()
        raise LostProcessError(_LOST) from None


@dataclass(frozen=True)
class _Column:
    """A column of the table. rank: in a narrow window, the column with the highest rank is left out first. text: its
    explanation."""

    title: str
    width: int
    rank: int
    text: str


_FIGURE = "FIGURE"
_COLUMNS = (
    _Column("epoch", 7, 0, "epoch and maximum"),
    _Column("loss", 7, 1, "training loss"),
    _Column("val loss", 8, 2, "validation loss"),
    _Column(_FIGURE, 8, 0, "on the validation data, * marks the best"),
    _Column("rate", 8, 4, "learning rate"),
    _Column("x real", 7, 3, "seconds of sound per second of training"),
    _Column("waiting", 7, 5, "time spent waiting for examples"),
    _Column("left", 8, 2, "time to the last epoch"),
)


def show_training(
    reports: Iterable[Origin | StepReport | EpochReport | TrainReport], terminal: Terminal, run: Path, device: str
) -> TrainReport:
    """Show each report as it arrives, and return the last one, that of the training."""
    from audiocnn.training.events import EpochReport, StepReport
    from audiocnn.training.transfer import Origin

    terminal.say(f"training on {device} into {printable(str(run))}")
    table = EpochTable(terminal)
    with Bar(terminal, "epoch") as bar:
        for report in reports:
            if isinstance(report, StepReport):
                bar.what = f"epoch {report.epoch}"
                last = report.step == report.steps
                bar.update(report.step, report.steps, "validating" if last else f"loss {report.loss:.4f}")
            elif isinstance(report, EpochReport):
                table.row(report)
                bar.restart()
            elif isinstance(report, Origin):
                terminal.say(describe_origin(report))
            else:
                return report
    raise AssertionError("a training ends with its report")


def describe_origin(origin: Origin) -> str:
    """The model that the training started from: groups that were copied, frozen, and new."""
    parts = [f"groups {', '.join(origin.groups)}"]
    parts += [f"frozen {', '.join(origin.frozen)}"] if origin.frozen else []
    parts += [f"new {', '.join(origin.new)}"] if origin.new else []
    head = "F kept, since the labels are the same" if origin.f == "kept" else "F new"
    return f"started from {origin.model}: {'; '.join([*parts, head])}"


def _format_or_dash(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


class EpochTable:
    """A table with one row per epoch and the columns that fit. Epochs that are the best so far are marked."""

    def __init__(self, terminal: Terminal) -> None:
        self.terminal = terminal
        self.begun = False
        room = terminal.width(terminal.stderr) - 2
        chosen = sorted(range(len(_COLUMNS)), key=lambda i: _COLUMNS[i].rank)
        while chosen and sum(_COLUMNS[i].width + 2 for i in chosen) > room:
            chosen.pop()
        self.columns = sorted(chosen)

    def row(self, report: EpochReport) -> None:
        if self.terminal.quiet:
            return
        if not self.begun:
            titles = [column.title.replace(_FIGURE, report.figure_name) for column in _COLUMNS]
            self.explain(titles)
            self.show(titles, "dim")
            self.begun = True
        cells = [
            f"{report.epoch}/{report.epochs}",
            f"{report.loss:.4f}",
            _format_or_dash(report.validation_loss),
            _format_or_dash(report.figure),
            f"{report.learning_rate:.1e}",
            f"{report.audio_seconds_per_second:.0f}",
            f"{100 * report.waiting:.0f} %",
            clock(report.seconds_left),
        ]
        self.show(cells, "bold green" if report.best else "", " *" if report.best else "")

    def explain(self, titles: list[str]) -> None:
        """Explain the columns on a terminal, in lines that break between words."""
        from rich.text import Text

        if self.terminal.watched:
            said = "; ".join(f"{titles[i]}: {_COLUMNS[i].text}" for i in self.columns if titles[i])
            with self.terminal.paused():
                self.terminal.err.print(Text(printable(said), style="dim"))

    def show(self, cells: list[str], style: str, mark: str = "") -> None:
        from rich.text import Text

        line = "  ".join(f"{cells[i]:>{_COLUMNS[i].width}}" for i in self.columns) + mark
        if self.terminal.watched:
            with self.terminal.paused():
                self.terminal.err.print(Text(line.rstrip(), style=style), soft_wrap=True)
        else:
            self.terminal.line(line.rstrip())


_NOT_REPEATED = ("output", "resume", "force", "moved")


def resume_command(folder: Path, data: str | None, options: list[Any], repeated: bool, device: str) -> str:
    """The command that continues an interrupted run. If the folder contains the recipe, the folder is sufficient;
    otherwise, and for folds and shares, all options are repeated."""
    from audiocnn.recipe.recipe import RECIPE_FILE

    if (folder / RECIPE_FILE).exists():
        where = [] if device == "auto" else ["--device", device]
        where += ["--tensorboard"] if any(getattr(part, "tensorboard", False) for part in options) else []
        return format_command(["audiocnn", "train", "-o", as_argument(folder), *where, "--resume"])
    whole = repeat_command(folder, data, options, device)
    return format_command([*whole, "--resume"] if repeated else whole)


def repeat_command(folder: Path, data: str | None, options: list[Any], device: str) -> list[str]:
    """The words of the command that trains in the same way into this folder."""
    from audiocnn.recipe.recipe import DEFAULT_RECIPE

    words = option_words(options, _NOT_REPEATED)
    words += ["--recipe", DEFAULT_RECIPE] if data is None and "--recipe" not in words else []
    words += [] if device == "auto" else ["--device", device]
    return ["audiocnn", "train", *([as_argument(data)] if data else []), "-o", as_argument(folder), *words]
