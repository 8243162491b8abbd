"""`audiocnn train`: sounds in, a model out."""

from __future__ import annotations

import shlex
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from audiocnn.errors import UsageError
from audiocnn.files import check_run_writable, settled
from audiocnn.units import clock, plural
from audiocnn_cli.app.exits import ExitStatus, Terminated
from audiocnn_cli.app.options import Device, LabelOptions, choose_device
from audiocnn_cli.app.terminal import Terminal
from audiocnn_cli.commands.train.options import CheckOptions, LearningOptions, PartOptions, RunOptions, TrainData
from audiocnn_cli.commands.train.run import (
    Training,
    check_run_folder,
    clear_run,
    find_process_group,
    joined_group,
    resume_command,
    run_in_group,
    run_training,
)

if TYPE_CHECKING:
    from audiocnn.data.dataset import Dataset
    from audiocnn.recipe.recipe import Recipe
    from audiocnn.training.distributed import ProcessGroup
    from audiocnn.training.dry_run import DryRun


def train(
    terminal: Terminal,
    data: TrainData = None,
    run: RunOptions = RunOptions(),  # noqa: B008
    learning: LearningOptions = LearningOptions(),  # noqa: B008
    parts: PartOptions = PartOptions(),  # noqa: B008
    labels: LabelOptions = LabelOptions(),  # noqa: B008
    checks: CheckOptions = CheckOptions(),  # noqa: B008
    device: Device = "auto",
) -> ExitStatus:
    """Give it a folder with one subfolder for each label: it summarises the recordings, chooses a network and
    settings that fit, trains, and tests the model on clips that it held out. Without DATA, it follows
    ./audiocnn.toml. The output is a run folder with the model, a report, a log, checkpoints and the complete recipe.
    An interrupted run continues with --resume.

    \b
    audiocnn train sounds/
    audiocnn train --recipe recipes/speech.toml -o runs/speech
    audiocnn train -o runs/speech --resume
    audiocnn train words/ --from speech_1d --freeze A
    """
    repeated = bool(parts.folds or parts.learning_curve)
    data, run = run_to_resume(data, run)
    options = TrainOptions(data, run, learning, parts, labels, checks, device)
    group = find_process_group(terminal)
    check_trial_options(checks, group is None, repeated)
    if group is not None:
        if repeated:
            raise UsageError("--folds and --learning-curve are for one process; train each alone, without torchrun")
        if learning.minutes is not None:
            raise UsageError("--minutes measures one process; give --epochs with torchrun")
        with joined_group(group, terminal):
            return train_in_group(options, terminal, group)
    from audiocnn_cli.commands.train.recipe import say_notes
    from audiocnn_cli.commands.train.summary import finish_run

    if checks.asked:
        with tempfile.TemporaryDirectory(prefix="audiocnn-") as scratch:
            plan = plan_training(options, terminal, Path(scratch))
            return try_training(plan.recipe, plan.dataset, plan.device, checks, terminal)
    plan = plan_training(options, terminal)

    def command() -> str:
        return resume_command(plan.folder, data, [run, learning, parts, labels], repeated, device)

    with hint_resume(command, terminal):
        if repeated:
            from audiocnn_cli.commands.train.folds import train_repeats

            status = train_repeats(plan.recipe, plan.dataset, plan.folder, plan.device, run, parts, terminal)
        else:
            moved = run.moved is not None
            training = Training(plan.recipe, plan.dataset, plan.folder, plan.device, run.resume, run.tensorboard, moved)
            say_notes(plan.recipe, plan.dataset, terminal)
            status = finish_run(plan.recipe, plan.dataset, run_training(training, terminal), plan.folder, terminal)
    return ExitStatus.SOME_FAILED if plan.refused else status


def run_to_resume(data: str | None, run: RunOptions) -> tuple[str | None, RunOptions]:
    """DATA that is a run is the run to resume: `train runs/x --resume`."""
    if run.resume and run.output is None and data is not None and (Path(data) / "recipe.toml").is_file():
        data, run = None, replace(run, output=data)
    return data, replace(run, output=str(settled(Path(run.output))) if run.output else None)


@dataclass(frozen=True)
class TrainOptions:
    data: str | None
    run: RunOptions
    learning: LearningOptions
    parts: PartOptions
    labels: LabelOptions
    checks: CheckOptions
    device: str


@dataclass(frozen=True)
class TrainingPlan:
    """refused: how many files of the data could not be read."""

    recipe: Recipe
    dataset: Dataset
    folder: Path
    device: str
    refused: int


def plan_training(given: TrainOptions, terminal: Terminal, scratch: Path | None = None) -> TrainingPlan:
    """Check, read and remove everything before a training. scratch: a folder for the samples of recordings that are no
    dataset yet, where nothing else may be written; the run is then not looked at."""
    from audiocnn_cli.commands.train.recipe import (
        check_minutes,
        choose_recipe,
        fit_recipe,
        keep_labels,
        plan_minutes,
        say_corrections,
        with_learning_options,
        with_part_options,
        with_recipe_labels,
    )
    from audiocnn_cli.io.ingest import dataset_for

    run = given.run
    repeated = bool(given.parts.folds or given.parts.learning_curve)
    check_minutes(given.learning.minutes, given.learning.epochs, run.resume, repeated)
    recipe, plain = choose_recipe(given.data, run)
    recipe = with_part_options(with_learning_options(recipe, given.learning), given.parts)
    recipe = with_recipe_labels(recipe, given.labels)
    folder = Path(run.output or f"runs/{recipe.name}")
    if scratch is not None:
        folder = scratch / folder.name
    if scratch is None:
        check_run_writable(folder)
    check_unlocked(folder)
    check_run_folder(recipe, folder, replace(run, resume=run.resume and scratch is None), repeated)
    check_source_model(recipe, folder, run)
    if run.tensorboard:
        from audiocnn.training.log import check_tensorboard

        check_tensorboard()
    where = choose_device(given.device)
    if run.force:
        clear_run(folder)
    counts = Counter[str]()
    if plain:
        fit = (given.learning, terminal, counts, scratch is None, given.parts.keep_label)
        recipe, dataset = fit_recipe(recipe, folder, run, *fit)
    else:
        dataset = dataset_for(recipe, folder, terminal, counts, scratch is None, run.moved is not None)
        recipe = keep_labels(recipe, dataset, given.parts.keep_label)
    say_corrections(recipe, terminal)
    if given.learning.minutes is not None:
        recipe = plan_minutes(recipe, dataset, where, given.learning.minutes, terminal)
    return TrainingPlan(recipe, dataset, folder, where, counts["refused"])


def train_in_group(given: TrainOptions, terminal: Terminal, group: ProcessGroup) -> ExitStatus:
    """As one of several processes: the first one plans, and tests what came out."""
    from audiocnn_cli.commands.train.recipe import say_notes
    from audiocnn_cli.commands.train.summary import finish_run

    plan = group.from_leader(lambda: plan_training(given, terminal))
    where, run = choose_device(given.device, group.local_rank), given.run
    moved = run.moved is not None
    training = Training(plan.recipe, plan.dataset, plan.folder, where, run.resume, run.tensorboard, moved)
    command = f"torchrun --nproc-per-node {group.world_size} -m audiocnn_cli train"
    command += f" -o {shlex.quote(str(plan.folder))} --resume"
    with hint_resume(lambda: command, terminal):
        if group.is_leader:
            say_notes(plan.recipe, plan.dataset, terminal)
        report = run_in_group(training, terminal, group)
        if report is not None:
            finish_run(plan.recipe, plan.dataset, report, plan.folder, terminal)
    return ExitStatus.SOME_FAILED if plan.refused else ExitStatus.OK


def check_unlocked(folder: Path) -> None:
    """Refuse a folder that another process is training in, before recordings are read and anything is removed. What a
    killed one left half written goes."""
    from audiocnn.files import is_locked
    from audiocnn.training.checkpoint import clear_temporaries

    if is_locked(folder):
        raise UsageError(f"{folder}: another process is training here; wait for it, or name another -o")
    for place in (folder, *folder.glob("fold-*"), *folder.glob("share-*")):
        clear_temporaries(place)


@contextmanager
def hint_resume(command: Callable[[], str], terminal: Terminal) -> Iterator[None]:
    try:
        yield
    except (KeyboardInterrupt, Terminated):
        terminal.say(f"audiocnn: interrupted; `{command()}` goes on")
        raise


def check_source_model(recipe: Recipe, folder: Path, run: RunOptions) -> None:
    """Refuse a model to begin from that does not fit, before recordings are read and before anything is removed; and a
    model to learn from that would be removed."""
    source = recipe.transfer.model if recipe.transfer else ""
    for model, what in ((source, "--from"), (recipe.train.teacher, "teacher")):
        if run.force and model and Path(model).resolve().is_relative_to(folder.resolve()):
            raise UsageError(f"{folder}: the model of {what} lies in it; name another -o")
    if recipe.transfer is None:
        return
    from audiocnn.training.train import check_source

    check_source(recipe, folder, run.resume)


def check_trial_options(checks: CheckOptions, alone: bool, repeated: bool) -> None:
    """UsageError for what cannot be tried."""
    if checks.dry_run and checks.overfit is not None:
        raise UsageError("--dry-run makes one step and --overfit many; name one")
    if checks.asked and (repeated or not alone):
        with_what = "--folds and --learning-curve" if repeated else "torchrun"
        raise UsageError(f"--dry-run and --overfit try one training in one process; leave {with_what} away")


def try_training(recipe: Recipe, dataset: Dataset, device: str, checks: CheckOptions, terminal: Terminal) -> ExitStatus:
    """`--dry-run` and `--overfit`: what is tried before a training, with its result on stdout."""
    from audiocnn.training.dry_run import Overfit, dry_run, overfit
    from audiocnn_cli.app.progress import Bar

    if checks.overfit is None:
        terminal.write("\n".join(dry_run_lines(dry_run(recipe, dataset, device), device)) + "\n")
        return ExitStatus.OK
    found = None
    with Bar(terminal, "overfit") as bar:
        for report in overfit(recipe, dataset, checks.overfit, device):
            if isinstance(report, Overfit):
                found = report
            else:
                bar.update(report.step, report.steps, f"loss {report.loss:.4f}")
    assert found is not None
    fell = f"loss {found.first_loss:.4f} -> {found.last_loss:.4f} in {plural(found.steps, 'step')}"
    if found.learned:
        terminal.write(f"{plural(found.examples, 'example')} learned by heart: {fell}\n")
        return ExitStatus.OK
    terminal.write(f"{plural(found.examples, 'example')} not learned by heart: {fell}\n")
    terminal.error("the loss did not go to nothing; look at labels, spec and [train] learning_rate", "warning")
    return ExitStatus.SOME_FAILED


def dry_run_lines(found: DryRun, device: str) -> list[str]:
    from audiocnn.spec.hints import format_setting

    shown = {
        "labels": ", ".join(found.labels[:10])
        + (f" and {len(found.labels) - 10} more" if len(found.labels) > 10 else ""),
        "parts": f"{plural(found.groups['train'], 'group')} learned from, {found.groups['validation']} stop it",
        "network": f"{found.weights:,} weights, {found.learned_weights:,} of them learn",
        "batch": f"{plural(found.batch_size, 'example')}; {plural(found.steps, 'step')} an epoch",
        "samples" if len(found.samples) == 3 else "powers": _format_shape(found.samples),
        "features": _format_shape(found.features),
        "logits": _format_shape(found.logits),
        "targets": _format_shape(found.targets),
        "loss": f"{found.loss:.4f}, gradients are finite",
        "memory": f"{found.memory_bytes / 1e9:.2f} GB on {device}",
        "step": f"{found.step_seconds:.3f} s, and {found.example_seconds:.4f} s to make each example",
        "epoch": f"some {clock(found.epoch_seconds)}",
    }
    lines = [f"{name:9} {text}" for name, text in shown.items()]
    rows = [(key, format_setting(value), who) for key, (value, who) in found.settings.items()]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for number, (key, value, who) in enumerate(rows):
        head = "" if number else "[train]"
        lines.append(f"{head:9} {key:{widths[0]}}  {value:{widths[1]}}  {GIVEN_BY[who]}")
    return [*lines, *([found.reading] if found.reading else []), "nothing was written"]


# Who gave a setting, for a person.
GIVEN_BY = {
    "option": "of the command",
    "recipe": "of the recipe",
    "spec": "of the network",
    "default": "by default",
}


def _format_shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
