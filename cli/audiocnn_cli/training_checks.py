"""`train --dry-run` and `train --overfit N`: what is tried before a training, without a trace."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer

from audiocnn.errors import UsageError
from audiocnn.units import clock
from audiocnn_cli.exits import ExitStatus
from audiocnn_cli.findings import plural
from audiocnn_cli.terminal import Terminal

if TYPE_CHECKING:
    from audiocnn.dataset import Dataset
    from audiocnn.recipe import Recipe
    from audiocnn.rehearsal import Rehearsal

MOST_LABELS = 10


@dataclasses.dataclass(frozen=True)
class CheckOptions:
    """What is tried instead of a training."""

    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, make one step, say what an epoch takes; write nothing.")
    ] = False
    overfit: Annotated[
        int | None,
        typer.Option("--overfit", min=1, metavar="N", help="Try to learn N examples by heart; write nothing."),
    ] = None

    @property
    def asked(self) -> bool:
        """Whether one of them is."""
        return self.dry_run or self.overfit is not None


def check_options(checks: CheckOptions, alone: bool, repeated: bool) -> None:
    """UsageError for what cannot be tried."""
    if checks.dry_run and checks.overfit is not None:
        raise UsageError("--dry-run makes one step and --overfit many; name one")
    if checks.asked and (repeated or not alone):
        with_what = "--folds and --learning-curve" if repeated else "torchrun"
        raise UsageError(f"--dry-run and --overfit try one training in one process; leave {with_what} away")


def check(recipe: Recipe, dataset: Dataset, device: str, checks: CheckOptions, terminal: Terminal) -> ExitStatus:
    """Do what was asked, and say what came out on stdout."""
    from audiocnn.rehearsal import Overfit, overfit, rehearse
    from audiocnn_cli.progress import Bar

    if checks.overfit is None:
        terminal.write("\n".join(lines_of(rehearse(recipe, dataset, device), device)) + "\n")
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


def lines_of(found: Rehearsal, device: str) -> list[str]:
    """A dry run in words."""
    shown = {
        "labels": ", ".join(found.labels[:10])
        + (f" and {len(found.labels) - 10} more" if len(found.labels) > 10 else ""),
        "parts": f"{plural(found.groups['train'], 'group')} learned from, {found.groups['validation']} stop it",
        "network": f"{found.weights:,} weights, {found.learned_weights:,} of them learn",
        "batch": f"{plural(found.batch_size, 'example')}; {plural(found.steps, 'step')} an epoch",
        "samples": by(found.samples),
        "features": by(found.features),
        "logits": by(found.logits),
        "targets": by(found.targets),
        "loss": f"{found.loss:.4f}, gradients are finite",
        "memory": f"{found.memory_bytes / 1e9:.2f} GB on {device}",
        "step": f"{found.step_seconds:.3f} s, and {found.example_seconds:.4f} s to make each example",
        "epoch": f"some {clock(found.epoch_seconds)}",
    }
    return [f"{name:9} {text}" for name, text in shown.items()] + ["nothing was written"]


def by(shape: tuple[int, ...]) -> str:
    """32 x 1 x 16000"""
    return " x ".join(map(str, shape))
