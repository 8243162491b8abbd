"""`audiocnn train`: train a network on your own recordings."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audiocnn.errors import UsageError, as_argument, format_command
from audiocnn.files import free_path
from audiocnn.units import clock, plural
from audiocnn_cli.app.exits import ExitStatus, Terminated
from audiocnn_cli.app.options import Device, LabelOptions
from audiocnn_cli.app.terminal import Terminal
from audiocnn_cli.commands.train.options import CheckOptions, LearningOptions, PartOptions, RunOptions, TrainData
from audiocnn_cli.commands.train.run import (
    find_process_group,
    joined_group,
    repeat_command,
    resume_command,
    run_in_group,
    run_training,
)
from audiocnn_cli.io.listener import TerminalListener

if TYPE_CHECKING:
    from audiocnn.data.dataset import Dataset
    from audiocnn.recipe.recipe import Recipe
    from audiocnn.training.distributed import ProcessGroup
    from audiocnn.training.dry_run import DryRun
    from audiocnn.workflows.plan import TrainingRequest


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
    from audiocnn.workflows.plan import FinishedError, plan_training, run_to_resume, say_notes
    from audiocnn.workflows.train import Training

    request = run_to_resume(request_training(data, device, run, learning, parts, labels))
    data, run, repeated = request.data, replace(run, output=request.output), request.repeated
    listener = TerminalListener(terminal)
    group = find_process_group(terminal)
    check_trial_options(checks, group is None, repeated)
    if group is not None:
        if repeated:
            raise UsageError("--folds and --learning-curve need a single process; run them without torchrun")
        if learning.minutes is not None:
            raise UsageError("--minutes needs a single process; with torchrun, use --epochs")
        with joined_group(group, terminal):
            return train_in_group(request, [run, learning, parts, labels], terminal, group)
    from audiocnn_cli.commands.train.summary import finish_run

    if checks.asked:
        with tempfile.TemporaryDirectory(prefix="audiocnn-") as scratch:
            plan = plan_training(request, listener, Path(scratch))
            if repeated:
                from audiocnn_cli.commands.train.folds import plan_repeats

                _, repeats = plan_repeats(plan.recipe, plan.dataset, parts)
                terminal.say(f"{plural(len(repeats), 'training')}; of {repeats[-1].name}:")
                plan = replace(plan, recipe=repeats[-1].recipe)
            return try_training(plan.recipe, plan.dataset, plan.device, checks, terminal)
    alike = [run, learning, parts, labels]
    try:
        plan = plan_training(
            request,
            listener,
            beside=lambda folder: format_command(repeat_command(folder, data, alike, device)),
            again=False,
        )
    except FinishedError as ended:
        terminal.say(str(ended))
        return ExitStatus.OK

    def command() -> str:
        return resume_command(plan.folder, data, alike, repeated, device)

    with hint_resume(command, terminal):
        if repeated:
            from audiocnn_cli.commands.train.folds import train_repeats

            status = train_repeats(plan.recipe, plan.dataset, plan.folder, plan.device, run, parts, terminal)
        else:
            say_notes(plan.recipe, plan.dataset, listener)
            report = run_training(Training.planned(plan, request), terminal)
            again = command_again(plan.folder, request, alike)
            status = finish_run(plan.recipe, plan.dataset, report, plan.folder, terminal, again)
    return ExitStatus.SOME_FAILED if plan.refused else status


def command_again(folder: Path, request: TrainingRequest, options: list[Any]) -> list[str]:
    """The command that trains again in the same way, on the data as it is then, into a free folder."""
    place = free_path(folder)
    if request.resume:
        return ["audiocnn", "train", "--recipe", as_argument(folder / "recipe.toml"), "-o", as_argument(place)]
    return repeat_command(place, request.data, options, request.device)


def request_training(
    data: str | None, device: str, *parts: RunOptions | LearningOptions | PartOptions | LabelOptions
) -> TrainingRequest:
    """The request that all options together describe."""
    from audiocnn.workflows.plan import TrainingRequest

    given = {field.name: getattr(part, field.name) for part in parts for field in fields(part)}
    return TrainingRequest(data=data, device=device, **given)


def train_in_group(request: TrainingRequest, options: list[Any], terminal: Terminal, group: ProcessGroup) -> ExitStatus:
    """Train as one of several processes. The leader plans the training and tests the model. options: of the command."""
    from audiocnn.workflows.plan import FinishedError, TrainingPlan, choose_device, plan_training, say_notes
    from audiocnn.workflows.train import Training
    from audiocnn_cli.commands.train.summary import finish_run

    listener = TerminalListener(terminal)
    started = ["torchrun", "--nproc-per-node", str(group.world_size), "-m", "audiocnn_cli"]

    def command_beside(folder: Path) -> str:
        return format_command([*started, *repeat_command(folder, request.data, options, request.device)[1:]])

    def plan_or_end() -> TrainingPlan | str:
        try:
            return plan_training(request, listener, beside=command_beside, again=False)
        except FinishedError as ended:
            return str(ended)

    plan = group.from_leader(plan_or_end)
    if isinstance(plan, str):
        terminal.say(plan)
        return ExitStatus.OK
    training = Training.planned(plan, request, choose_device(request.device, group.local_rank))
    command = format_command([*started, "train", "-o", as_argument(plan.folder), "--resume"])
    with hint_resume(lambda: command, terminal):
        if group.is_leader:
            say_notes(plan.recipe, plan.dataset, listener)
        report = run_in_group(training, terminal, group)
        if report is not None:
            again = [*started, *command_again(plan.folder, request, options)[1:]]
            finish_run(plan.recipe, plan.dataset, report, plan.folder, terminal, again)
    return ExitStatus.SOME_FAILED if plan.refused else ExitStatus.OK


@contextmanager
def hint_resume(command: Callable[[], str], terminal: Terminal) -> Iterator[None]:
    try:
        yield
    except (KeyboardInterrupt, Terminated):
        terminal.say(f"audiocnn: interrupted; continue with `{command()}`")
        raise


def check_trial_options(checks: CheckOptions, alone: bool, repeated: bool) -> None:
    """Raises UsageError for options that --dry-run and --overfit do not support."""
    if checks.dry_run and checks.overfit is not None:
        raise UsageError("--dry-run and --overfit cannot be combined; use one of them")
    if checks.asked and not alone:
        raise UsageError("--dry-run and --overfit need a single process; run them without torchrun")
    if checks.overfit is not None and repeated:
        raise UsageError("--overfit needs a single training; omit --folds and --learning-curve")


def try_training(recipe: Recipe, dataset: Dataset, device: str, checks: CheckOptions, terminal: Terminal) -> ExitStatus:
    """`--dry-run` and `--overfit`: a check before a training, with its result on stdout."""
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
        terminal.write(f"{plural(found.examples, 'example')} memorised: {fell}\n")
        return ExitStatus.OK
    terminal.write(f"{plural(found.examples, 'example')} not memorised: {fell}\n")
    terminal.error("the loss did not fall to zero; check labels, spec and [train] learning_rate", "warning")
    return ExitStatus.SOME_FAILED


def dry_run_lines(found: DryRun, device: str) -> list[str]:
    from audiocnn.spec.hints import format_setting

    shown = {
        "labels": ", ".join(found.labels[:10])
        + (f" and {len(found.labels) - 10} more" if len(found.labels) > 10 else ""),
        "parts": f"{plural(found.groups['train'], 'group')} for training, {found.groups['validation']} for validation",
        "network": f"{found.weights:,} weights, {found.learned_weights:,} of them trained",
        "batch": f"{plural(found.batch_size, 'example')}; {plural(found.steps, 'step')} per epoch",
        "samples" if len(found.samples) == 3 else "powers": _format_shape(found.samples),
        "features": _format_shape(found.features),
        "logits": _format_shape(found.logits),
        "targets": _format_shape(found.targets),
        "loss": f"{found.loss:.4f}, gradients are finite",
        "memory": f"{found.memory_bytes / 1e9:.2f} GB on {device}",
        "step": f"{found.step_seconds:.3f} s, plus {found.example_seconds:.4f} s to generate each example",
        "epoch": f"about {clock(found.epoch_seconds)}",
    }
    lines = [f"{name:9} {text}" for name, text in shown.items()]
    rows = [(key, format_setting(value), who) for key, (value, who) in found.settings.items()]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for number, (key, value, who) in enumerate(rows):
        head = "" if number else "[train]"
        lines.append(f"{head:9} {key:{widths[0]}}  {value:{widths[1]}}  {GIVEN_BY[who]}")
    return [*lines, *([found.reading] if found.reading else []), "nothing was written"]


# The origin of a setting, as printed.
GIVEN_BY = {
    "option": "from the command line",
    "recipe": "from the recipe",
    "spec": "from the network",
    "default": "default",
}


def _format_shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
