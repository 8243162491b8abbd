"""The options of `audiocnn train`: what to make, from what, what overrides the recipe, and what is only tried."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from audiocnn_cli.app.options import BASIC, flag, option

TrainData = Annotated[
    str | None,
    typer.Argument(metavar="DATA", help="A dataset, a source as for `ingest`, or a recipe.", show_default=False),
]


@dataclasses.dataclass(frozen=True)
class RunOptions:
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", metavar="FILE", help="How the model is made. [default: ./audiocnn.toml]"),
        BASIC,
    ] = None
    spec: Annotated[
        str | None,
        option("--spec", "SPEC", "A name from `audiocnn models`, or a TOML file. [default: what fits]"),
        BASIC,
    ] = None
    source: Annotated[
        str | None,
        option(
            "--from", "MODEL", "Begin with its groups, or with `none`; F is new for new labels. [default: what fits]"
        ),
        BASIC,
    ] = None
    freeze: Annotated[
        str | None, typer.Option("--freeze", metavar="A,B", help="Groups of that model that stay as they are.")
    ] = None
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="RUN", help="The folder to make. [default: runs/NAME]"),
        BASIC,
    ] = None
    tensorboard: Annotated[
        bool, flag("--tensorboard", "Curves for TensorBoard, too, in the folder `tensorboard` of the run.")
    ] = False
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was interrupted."), BASIC] = False
    moved: Annotated[
        str | None, option("--data", "PLACE", "With --resume: where the data are now, if they have moved.")
    ] = None
    force: Annotated[bool, typer.Option("--force", help="Remove what an earlier run made there, and begin anew.")] = (
        False
    )


@dataclasses.dataclass(frozen=True)
class LearningOptions:
    epochs: Annotated[
        int | None, typer.Option("--epochs", min=1, metavar="N", help="[default: the recipe's, else what fits]")
    ] = None
    minutes: Annotated[
        float | None,
        option("--minutes", "N", "Train for about so long, as measured in a few steps. [default: until it is good]"),
        BASIC,
    ] = None
    batch_size: Annotated[
        str | None,
        option("--batch-size", "N|auto", "Or what memory holds. [default: the recipe's, else what fits]", short="-b"),
    ] = None
    learning_rate: Annotated[
        float | None,
        option("--learning-rate", "RATE", "The highest. [default: the recipe's, else the network's, else 0.002]"),
    ] = None
    sample_rate: Annotated[
        int | None,
        option("--sample-rate", "HERTZ", "Rate to learn at. [default: the recipe's, else what fits]", least=1000),
    ] = None
    seed: Annotated[int | None, typer.Option("--seed", min=0, metavar="N", help="[default: the recipe's, else 0]")] = (
        None
    )


@dataclasses.dataclass(frozen=True)
class PartOptions:
    group: Annotated[
        str | None, option("--group", "COLUMN", "What is not parted, such as speaker. [default: the recipe's]")
    ] = None
    group_pattern: Annotated[
        str | None,
        option(
            "--group-pattern",
            "REGEX",
            "The same from file names: its first group, '^([^_]+)_'; with a slash in it from paths.",
        ),
    ] = None
    label_pattern: Annotated[
        str | None, option("--label-pattern", "REGEX", "Labels from file names, in the same way, instead of folders.")
    ] = None
    keep_label: Annotated[
        list[str] | None,
        option("--keep-label", "LABEL", "Learn it, though it is called other, noise, background, silence or none."),
    ] = None
    corrections: Annotated[
        str | None,
        option("--corrections", "FILE", "A table: filename, label, maybe onset, offset. It wins; - leaves out."),
    ] = None
    only_corrected: Annotated[
        bool, flag("--only-corrected", "Leave out what that table does not name, whatever folder it lies in.")
    ] = False
    folds: Annotated[
        int | None, option("--folds", "K", "Train K times, each tested on another part.", least=2), BASIC
    ] = None
    fold: Annotated[
        str | None, option("--fold", "FOLD", "Test on this fold of the data. [default: the recipe's, else the last]")
    ] = None
    learning_curve: Annotated[
        str | None, option("--learning-curve", "SHARES", "Train on these shares of the clips: 0.1,0.3,1.")
    ] = None


@dataclasses.dataclass(frozen=True)
class CheckOptions:
    dry_run: Annotated[
        bool, flag("--dry-run", "Check everything, make one step, say what an epoch takes; write nothing."), BASIC
    ] = False
    overfit: Annotated[
        int | None, option("--overfit", "N", "Try to learn N examples by heart; write nothing.", least=1)
    ] = None

    @property
    def asked(self) -> bool:
        return self.dry_run or self.overfit is not None
