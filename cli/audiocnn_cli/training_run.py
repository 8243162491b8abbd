"""One training as the command does it: watched for Ctrl-C, and by one or several processes."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from audiocnn.errors import AudiocnnError
from audiocnn_cli.terminal import Terminal, printable

if TYPE_CHECKING:
    from audiocnn.dataset import Dataset
    from audiocnn.ranks import Ranks
    from audiocnn.recipe import Recipe
    from audiocnn.stopping import Stopping
    from audiocnn.training import EpochReport, StepReport, TrainReport
    from audiocnn.transfer import Origin

LOST = (
    "another process of this training has ended, or cannot be reached; look at what it said, then go on with --resume"
)


@dataclass(frozen=True)
class Training:
    """What is to be trained, on what, where."""

    recipe: Recipe
    dataset: Dataset
    folder: Path
    device: str
    resume: bool
    tensorboard: bool = False


def run_training(training: Training, terminal: Terminal) -> TrainReport:
    """Train, and show it. The first Ctrl-C (or SIGTERM) ends it when the step in hand is done and all is saved; then
    the signal does what it does everywhere."""
    from audiocnn.ranks import Ranks
    from audiocnn.stopping import Stopping
    from audiocnn_cli.curves import boarded
    from audiocnn_cli.training_table import follow

    reports = boarded(told(training, terminal, Stopping(), Ranks()), training.folder, training.tensorboard)
    return follow(reports, terminal, training.folder, training.device)


def run_together(training: Training, terminal: Terminal, ranks: Ranks) -> TrainReport | None:
    """The same by several processes; None in those that do not lead."""
    from audiocnn.stopping import Stopping
    from audiocnn_cli.curves import boarded
    from audiocnn_cli.training_table import follow

    reports = told(training, terminal, Stopping(several=True), ranks)
    if ranks.leads:
        reports = boarded(reports, training.folder, training.tensorboard)
        return follow(reports, terminal, training.folder, f"{ranks.world} processes, {training.device}")
    for _ in reports:
        pass
    return None


def told(
    training: Training, terminal: Terminal, stopping: Stopping, ranks: Ranks
) -> Iterator[Origin | StepReport | EpochReport | TrainReport]:
    """The reports of a training; its notes are said."""
    from audiocnn.training import Note, StopReport, train

    t, stopped = training, False
    for report in train(t.recipe, t.dataset, t.folder, t.device, t.resume, stopping, ranks):
        if isinstance(report, Note):
            terminal.say(printable(report.text))
        elif isinstance(report, StopReport):
            terminal.say(f"stopped at epoch {report.epoch}, step {report.step} of {report.steps}: saved")
            stopped = True
        else:
            yield report
    if stopped:
        stopping.obey()


def ranks_here(terminal: Terminal) -> Ranks | None:
    """Which of several processes this is; None where it is alone."""
    if terminal.environ.get("WORLD_SIZE", "1") == "1":
        return None
    from audiocnn.ranks import ranks_of

    ranks = ranks_of(terminal.environ)
    return ranks if ranks.world > 1 else None


@contextmanager
def joined(ranks: Ranks, terminal: Terminal) -> Iterator[None]:
    """Among the other processes: those that do not lead say nothing, what all find is said once, and where one is lost
    all end with one line."""
    from audiocnn.ranks import is_lost, join, leave

    if not ranks.leads:
        terminal.verbosity, terminal.animate = -1, False
    try:
        join(ranks)
        yield
        leave()
    except AudiocnnError as problem:
        if not ranks.says(str(problem)):
            terminal.stderr = io.StringIO()
        raise
    except (RuntimeError, OSError) as problem:
        if not is_lost(problem):
            raise
        if not ranks.says(LOST):
            terminal.stderr = io.StringIO()
        raise AudiocnnError(LOST) from None
