"""One training as the command runs it, by one process or several, shown on stderr; and the folder of its run.

Epochs are printed as rows, not redrawn: they stay when the window is small, and off a terminal they are a log.
"""

from __future__ import annotations

import dataclasses
import io
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from audiocnn.errors import AudiocnnError, UsageError, printable, show_name
from audiocnn.units import clock
from audiocnn_cli.app.exits import LostProcessError
from audiocnn_cli.app.options import flag_of
from audiocnn_cli.app.progress import Bar
from audiocnn_cli.app.terminal import Terminal

if TYPE_CHECKING:
    from audiocnn.data.dataset import Dataset
    from audiocnn.recipe.recipe import Recipe
    from audiocnn.training.distributed import ProcessGroup
    from audiocnn.training.events import EpochReport, StepReport, TrainReport
    from audiocnn.training.interrupt import StopSignals
    from audiocnn.training.log import TensorBoardWriter
    from audiocnn.training.transfer import Origin
    from audiocnn_cli.commands.train.options import RunOptions

_Report = TypeVar("_Report")
_LOST = (
    "another process of this training has ended, or cannot be reached; look at what it said, then go on with --resume"
)


@dataclass(frozen=True)
class Training:
    recipe: Recipe
    dataset: Dataset
    folder: Path
    device: str
    resume: bool
    tensorboard: bool = False
    moved: bool = False


def run_training(training: Training, terminal: Terminal) -> TrainReport:
    """Train, and show it. The first Ctrl-C (or SIGTERM) ends it when the step in hand is done and all is saved; then
    the signal does what it does everywhere."""
    from audiocnn.training.distributed import ProcessGroup
    from audiocnn.training.interrupt import StopSignals

    reports = log_to_tensorboard(
        training_reports(training, terminal, StopSignals(), ProcessGroup()), training.folder, training.tensorboard
    )
    return show_training(reports, terminal, training.folder, training.device)


def run_in_group(training: Training, terminal: Terminal, group: ProcessGroup) -> TrainReport | None:
    """The same by several processes; None in those that do not lead."""
    from audiocnn.training.interrupt import StopSignals

    reports = training_reports(training, terminal, StopSignals(several=True), group)
    if group.is_leader:
        reports = log_to_tensorboard(reports, training.folder, training.tensorboard)
        return show_training(reports, terminal, training.folder, f"{group.world_size} processes, {training.device}")
    for _ in reports:
        pass
    return None


def training_reports(
    training: Training, terminal: Terminal, stop_signals: StopSignals, group: ProcessGroup
) -> Iterator[Origin | StepReport | EpochReport | TrainReport]:
    """The reports of a training; its notes are printed."""
    from audiocnn.training.events import Note, StopReport
    from audiocnn.training.train import train

    t, stopped = training, False
    for report in train(t.recipe, t.dataset, t.folder, t.device, t.resume, stop_signals, group, t.moved):
        if isinstance(report, Note) and report.warning:
            terminal.error(report.text, "warning")
        elif isinstance(report, Note):
            terminal.say(printable(report.text))
        elif isinstance(report, StopReport):
            terminal.say(f"stopped at epoch {report.epoch}, step {report.step} of {report.steps}: saved")
            stopped = True
        else:
            yield report
    if stopped:
        stop_signals.raise_first()


def find_process_group(terminal: Terminal) -> ProcessGroup | None:
    """None where this process is alone."""
    if terminal.environ.get("WORLD_SIZE", "1") == "1":
        return None
    from audiocnn.training.distributed import process_group_of

    group = process_group_of(terminal.environ)
    return group if group.world_size > 1 else None


@contextmanager
def joined_group(group: ProcessGroup, terminal: Terminal) -> Iterator[None]:
    """Join the other processes: only the leader prints, an error that all find is printed once, and where one process
    is lost all end with one line."""
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
    """rank: where the window is narrow, the column of the highest rank is left out first. text: what it is."""

    title: str
    width: int
    rank: int
    text: str


_FIGURE = "FIGURE"
_COLUMNS = (
    _Column("epoch", 7, 0, "of how many at most"),
    _Column("loss", 7, 1, "of what is learned from"),
    _Column("val loss", 8, 2, "of what is held out"),
    _Column(_FIGURE, 8, 0, "of what is held out, * the best so far"),
    _Column("rate", 8, 4, "learning rate"),
    _Column("x real", 7, 3, "seconds of sound learned from in a second"),
    _Column("waiting", 7, 5, "share of the time without examples"),
    _Column("left", 8, 2, "time to the last epoch"),
)


def show_training(
    reports: Iterable[Origin | StepReport | EpochReport | TrainReport], terminal: Terminal, run: Path, device: str
) -> TrainReport:
    """Show each report as it comes; the last, of the training, is returned."""
    from audiocnn.training.events import EpochReport, StepReport
    from audiocnn.training.transfer import Origin

    terminal.say(f"training on {device} into {printable(str(run))}")
    table = EpochTable(terminal)
    with Bar(terminal, "epoch") as bar:
        for report in reports:
            if isinstance(report, StepReport):
                bar.what = f"epoch {report.epoch}"
                last = report.step == report.steps
                bar.update(report.step, report.steps, "judging" if last else f"loss {report.loss:.4f}")
            elif isinstance(report, EpochReport):
                table.row(report)
                bar.restart()
            elif isinstance(report, Origin):
                terminal.say(describe_origin(report))
            else:
                return report
    raise AssertionError("a training ends with its report")


def describe_origin(origin: Origin) -> str:
    """What the training began from: what was taken, what stays as it is, what is new."""
    parts = [f"groups {', '.join(origin.groups)}"]
    parts += [f"frozen {', '.join(origin.frozen)}"] if origin.frozen else []
    parts += [f"new {', '.join(origin.new)}"] if origin.new else []
    head = "F as there: the labels are the same" if origin.f == "kept" else "F new"
    return f"began from {origin.model}: {'; '.join([*parts, head])}"


def _format_or_dash(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


class EpochTable:
    """One row an epoch, of the columns that fit; the best so far are marked."""

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
        """What the columns are, for who watches, in lines that break between words."""
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


def log_to_tensorboard(reports: Iterable[_Report], run: Path, wanted: bool) -> Iterator[_Report]:
    """The reports as they are; where it is wanted, each epoch goes to TensorBoard, too."""
    if not wanted:
        yield from reports
        return
    from audiocnn.training.events import EpochReport

    board = None
    try:
        for report in reports:
            if isinstance(report, EpochReport):
                board = board or _open_tensorboard(run, report.epoch)
                board.epoch(report)
            yield report
    finally:
        if board is not None:
            board.close()


def _open_tensorboard(run: Path, epoch: int) -> TensorBoardWriter:
    """The event files of a run, from an epoch on; a new run shows its recipe, and one that was begun without
    TensorBoard the epochs before."""
    from audiocnn.training.log import TENSORBOARD_FOLDER, TensorBoardWriter, read_log

    new = not (run / TENSORBOARD_FOLDER).is_dir()
    board = TensorBoardWriter(run, 1 if new else epoch)
    if new:
        board.recipe((run / "recipe.toml").read_text(encoding="utf-8"))
        for row in read_log(run):
            if row["epoch"] < epoch:
                board.row(row)
    return board


_RECIPE_FILE = "recipe.toml"
_OTHER_REPORTS = ("report.json", "report.html", "curves.png")
# The files that a run makes, and no others: what --force may remove. Of a folder, those in it.
RUN_FILES = {
    ".": (_RECIPE_FILE, "run.json", "metrics.csv", "metrics.jsonl", "log.jsonl", *_OTHER_REPORTS),
    "checkpoints": ("last.safetensors", "best.safetensors"),
    "model": ("model.toml", "model.safetensors", "model.onnx", "README.md", _RECIPE_FILE),
    "tensorboard": ("events.out.tfevents.*",),
}
_REPEAT_FILES = ("folds.json", "folds.html", "learning_curve.json", "learning_curve.html")
# What a process that was killed while it wrote NAME leaves beside it (`write_whole`, `part_path`).
_HALF_WRITTEN = re.compile(r"[.](?P<name>.+)[.]([a-z0-9_]{8}|audiocnn-part)")
_REPEAT_NAMES = re.compile("(fold|share)-.+")
_NOT_REPEATED = ("output", "resume", "force", "moved")


def check_run_folder(recipe: Recipe, folder: Path, run: RunOptions, repeated: bool) -> None:
    """Refuse, before recordings are read, a folder that a run cannot be made in, or gone on with. repeated: folds or
    shares, which have folders of their own in it."""
    from audiocnn.recipe.recipe import check_run

    if run.resume and run.force:
        raise UsageError("--resume goes on with a run and --force begins anew; name one")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is no folder; name another one with -o")
    if run.force or (run.resume and repeated):
        return
    if not repeated or (folder / _RECIPE_FILE).exists():
        check_run(recipe, folder, run.resume, ("data",), run.moved is not None)
    elif folder.exists():
        foreign = next(find_foreign_files(folder), None)
        if foreign is not None:
            what = f"holds other files, such as {show_name(foreign.relative_to(folder))}"
            raise UsageError(f"{folder}: {what}; name a new folder with -o, or go on with --resume")
        if any(folder.iterdir()):
            what = "there are runs already; go on with --resume, begin anew with --force, or name another -o"
            raise UsageError(f"{folder}: {what}")


def clear_run(run: Path) -> None:
    """Remove what a run makes, and nothing else. UsageError, and all is left, where something else lies there, or no
    run."""
    if not run.is_dir() or not any(run.iterdir()):
        return
    contents = list(_run_contents(run))
    foreign = next((path for path, made in contents if not made), None)
    if foreign is not None:
        what = f"{run}: holds other files, such as {show_name(foreign.relative_to(run))}"
        raise UsageError(f"{what}; nothing is removed: move them, or name a new folder with -o")
    if not _holds_run(run):
        raise UsageError(f"{run}: holds no run; nothing is removed: name a new folder with -o")
    try:
        for path, _ in contents:  # and not what somebody puts there meanwhile
            path.unlink(missing_ok=True)
    except OSError as problem:
        raise UsageError(f"{run}: cannot be removed ({problem.strerror}); name a new folder with -o") from None
    for folder in sorted((path for path in run.rglob("*") if path.is_dir()), reverse=True):
        with suppress(OSError):
            folder.rmdir()


def _holds_run(folder: Path) -> bool:
    from audiocnn.training.runs import is_run

    own = (folder / _RECIPE_FILE).is_file() and is_run(folder)
    return own or any((folder / name).is_file() for name in _REPEAT_FILES) or any(map(is_repeat, folder.iterdir()))


def find_foreign_files(run: Path) -> Iterator[Path]:
    """What no run makes, in the folder and in those of its folds and shares."""
    return (path for path, made in _run_contents(run) if not made)


def _run_contents(run: Path) -> Iterator[tuple[Path, bool]]:
    """All that lies in the folder of a run, and of each whether a run makes it."""
    for path in sorted(run.iterdir()):
        if is_repeat(path):
            yield from _run_contents(path)
        elif path.name in RUN_FILES and path.is_dir() and not path.is_symlink():
            yield from ((file, _is_made(file, RUN_FILES[path.name])) for file in sorted(path.iterdir()))
        else:
            yield path, _is_made(path, (*RUN_FILES["."], *_REPEAT_FILES))


def _is_made(path: Path, names: Sequence[str]) -> bool:
    """Whether a run gives a file this name, or left it half written under that name."""
    half = _HALF_WRITTEN.fullmatch(path.name)
    file = path.is_symlink() or not path.is_dir()
    return file and any(fnmatchcase(half["name"] if half else path.name, name) for name in names)


def is_repeat(path: Path) -> bool:
    return bool(_REPEAT_NAMES.fullmatch(path.name)) and not path.is_symlink() and (path / _RECIPE_FILE).is_file()


def resume_command(folder: Path, data: str | None, options: list[Any], repeated: bool, device: str) -> str:
    """The command that goes on with an interrupted run: its folder says all once its recipe is there; until then, and
    for folds and shares, what was given is given again."""
    from audiocnn.recipe.recipe import DEFAULT_RECIPE

    said = {field.name: getattr(part, field.name) for part in options for field in dataclasses.fields(part)}
    where = [] if device == "auto" else ["--device", device]
    where += ["--tensorboard"] if said.get("tensorboard") else []
    if (folder / _RECIPE_FILE).exists():
        return shlex.join(["audiocnn", "train", "-o", str(folder), *where, "--resume"])
    stated = {name: value for name, value in said.items() if not isinstance(value, bool) and value is not None}
    given = {name: str(value) for name, value in stated.items() if name not in _NOT_REPEATED}
    if data is None:
        given.setdefault("recipe", DEFAULT_RECIPE)
    words = [word for name, value in given.items() for word in (flag_of(name), value)]
    words += [flag_of("only_corrected")] if said.get("only_corrected") else []
    whole = ["audiocnn", "train", *([data] if data else []), "-o", str(folder), *words, *where]
    return shlex.join([*whole, "--resume"] if repeated else whole)
