"""`audiocnn train`: sounds in, a model out."""

from __future__ import annotations

import shlex
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from audiocnn.errors import UsageError
from audiocnn_cli.exits import ExitStatus, Terminated
from audiocnn_cli.options import Device
from audiocnn_cli.repeating import PartOptions, repeat, with_parts
from audiocnn_cli.run_folder import check_folder, clear, going_on
from audiocnn_cli.terminal import Terminal
from audiocnn_cli.training_checks import CheckOptions, check, check_options
from audiocnn_cli.training_options import Data, LearningOptions, RunOptions
from audiocnn_cli.training_run import Training, joined, ranks_here, run_together, run_training

if TYPE_CHECKING:
    from audiocnn.dataset import Dataset
    from audiocnn.ranks import Ranks
    from audiocnn.recipe import Recipe


def train(
    terminal: Terminal,
    data: Data = None,
    run: RunOptions = RunOptions(),  # noqa: B008
    learning: LearningOptions = LearningOptions(),  # noqa: B008
    parts: PartOptions = PartOptions(),  # noqa: B008
    checks: CheckOptions = CheckOptions(),  # noqa: B008
    device: Device = "auto",
) -> ExitStatus:
    """Of a folder with a subfolder for each label it says what is in it, chooses network and settings that fit, trains,
    and judges the model by clips that were kept apart. Without DATA it does what ./audiocnn.toml says. The run is a
    folder: the model, a report, a log of the epochs, checkpoints and the recipe in full; interrupted, it goes on with
    --resume.

    \b
    audiocnn train sounds/
    audiocnn train --recipe recipes/speech.toml -o runs/speech
    audiocnn train -o runs/speech --resume
    audiocnn train words/ --from speech_1d --freeze A
    """
    repeated = bool(parts.folds or parts.learning_curve)
    options = Given(data, run, learning, parts, checks, device)
    ranks = ranks_here(terminal)
    check_options(checks, ranks is None, repeated)
    if ranks is not None:
        if repeated:
            raise UsageError("--folds and --learning-curve are for one process; train each alone, without torchrun")
        with joined(ranks, terminal):
            return train_together(options, terminal, ranks)
    from audiocnn_cli.training_data import tell_notes
    from audiocnn_cli.training_end import finish

    if checks.asked:
        with tempfile.TemporaryDirectory(prefix="audiocnn-") as scratch:
            plan = planned(options, terminal, Path(scratch))
            return check(plan.recipe, plan.dataset, plan.device, checks, terminal)
    plan = planned(options, terminal)

    def command() -> str:
        return going_on(plan.folder, data, [run, learning, parts], repeated, device)

    with told_how_to_go_on(command, terminal):
        if repeated:
            status = repeat(plan.recipe, plan.dataset, plan.folder, plan.device, run, parts, terminal)
        else:
            training = Training(plan.recipe, plan.dataset, plan.folder, plan.device, run.resume, run.tensorboard)
            tell_notes(plan.recipe, plan.dataset, terminal)
            status = finish(plan.recipe, plan.dataset, run_training(training, terminal), plan.folder, terminal)
    return ExitStatus.SOME_FAILED if plan.refused else status


@dataclass(frozen=True)
class Given:
    """What was asked for."""

    data: str | None
    run: RunOptions
    learning: LearningOptions
    parts: PartOptions
    checks: CheckOptions
    device: str


@dataclass(frozen=True)
class Plan:
    """What is trained, on what, where. refused: how many files of the data could not be taken."""

    recipe: Recipe
    dataset: Dataset
    folder: Path
    device: str
    refused: int


def planned(given: Given, terminal: Terminal, scratch: Path | None = None) -> Plan:
    """Everything that is found out, read and removed before a training. scratch: where samples of recordings that are
    no dataset yet are kept for a moment, where nothing else may be written; the run is then not looked at."""
    from audiocnn_cli.training_data import dataset_for, fitted, tell_corrections
    from audiocnn_cli.training_recipe import changed, choose_recipe

    run = given.run
    recipe, plain = choose_recipe(given.data, run)
    recipe = with_parts(changed(recipe, given.learning), given.parts)
    folder = Path(run.output or f"runs/{recipe.name}")
    if scratch is not None:
        folder = scratch / folder.name
    repeated = bool(given.parts.folds or given.parts.learning_curve)
    check_alone(folder)
    check_folder(recipe, folder, run.resume and scratch is None, run.force, repeated)
    check_transfer(recipe, folder, run)
    if run.tensorboard:
        from audiocnn.run_board import check_board

        check_board()
    where = choose_device(given.device)
    if run.force:
        clear(folder)
    counts = Counter[str]()
    if plain:
        recipe, dataset = fitted(recipe, folder, run, given.learning, terminal, counts, scratch is None)
    else:
        dataset = dataset_for(recipe, folder, terminal, counts, scratch is None)
    tell_corrections(recipe, terminal)
    return Plan(recipe, dataset, folder, where, counts["refused"])


def train_together(given: Given, terminal: Terminal, ranks: Ranks) -> ExitStatus:
    """As one of several processes: the first one plans, and tests what came out."""
    from audiocnn_cli.training_data import tell_notes
    from audiocnn_cli.training_end import finish

    plan = ranks.first(lambda: planned(given, terminal))
    where, run = choose_device(given.device, ranks.local), given.run
    training = Training(plan.recipe, plan.dataset, plan.folder, where, run.resume, run.tensorboard)
    command = (
        f"torchrun --nproc-per-node {ranks.world} -m audiocnn_cli train -o {shlex.quote(str(plan.folder))} --resume"
    )
    with told_how_to_go_on(lambda: command, terminal):
        if ranks.leads:
            tell_notes(plan.recipe, plan.dataset, terminal)
        report = run_together(training, terminal, ranks)
        if report is not None:
            finish(plan.recipe, plan.dataset, report, plan.folder, terminal)
    return ExitStatus.SOME_FAILED if plan.refused else ExitStatus.OK


def check_alone(folder: Path) -> None:
    """Refuse a folder that another process is training in, before recordings are read and anything is removed. What a
    killed one left half written goes."""
    from audiocnn.checkpoint import clear_temporaries
    from audiocnn.run_lock import is_locked

    if is_locked(folder):
        raise UsageError(f"{folder}: another process is training here; wait for it, or name another -o")
    for place in (folder, *folder.glob("fold-*"), *folder.glob("share-*")):
        clear_temporaries(place)


@contextmanager
def told_how_to_go_on(command: Callable[[], str], terminal: Terminal) -> Iterator[None]:
    """A line on how an interrupted run goes on."""
    try:
        yield
    except (KeyboardInterrupt, Terminated):
        terminal.say(f"audiocnn: interrupted; `{command()}` goes on")
        raise


def check_transfer(recipe: Recipe, folder: Path, run: RunOptions) -> None:
    """Refuse a model to begin from that does not fit, before recordings are read and before anything is removed."""
    if recipe.transfer is None:
        return
    from audiocnn.training import check_source

    if run.force and Path(recipe.transfer.model).is_relative_to(folder.resolve()):
        raise UsageError(f"{folder}: the model of --from lies in it; name another -o")
    check_source(recipe, folder, run.resume)


def choose_device(name: str, local: int = 0) -> str:
    """A device that is there: `auto` takes a GPU if there is one. local: of several processes on a machine each takes
    the GPU of its number."""
    import torch

    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind, there in found.items() if there)
    if name == "cuda" and local:
        name = f"cuda:{local}"
    kind, _, number = name.partition(":")
    if kind not in found or (number and not (kind == "cuda" and number.isdecimal())):
        raise UsageError(f'--device cannot be "{name}"; use auto, cpu, cuda, cuda:N or mps')
    if not found[kind] or (number and int(number) >= torch.cuda.device_count()):
        raise UsageError(f"--device {name}: there is no such device here; use --device cpu")
    return name
