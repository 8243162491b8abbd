"""The options of `audiocnn train`: run folder, learning, division of the data, and checks."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from audiocnn_cli.app.options import BASIC, flag, option

TrainData = Annotated[
    str | None,
    typer.Argument(
        metavar="DATA",
        help="A folder with one subfolder for each label, a table, a dataset, or a recipe.",
        show_default=False,
    ),
]


@dataclasses.dataclass(frozen=True)
class RunOptions:
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", metavar="FILE", help="Recipe of the training. [default: ./audiocnn.toml]"),
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
            "--from",
            "MODEL",
            "Start from the weights of this model; none: from random weights. F is copied only if the labels are the "
            "same. [default: what fits]",
        ),
        BASIC,
    ] = None
    freeze: Annotated[
        str | None, typer.Option("--freeze", metavar="A,B", help="Groups of that model whose weights are not trained.")
    ] = None
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="RUN", help="Run folder to create. [default: runs/NAME]"),
        BASIC,
    ] = None
    tensorboard: Annotated[
        bool, flag("--tensorboard", "Also write curves for TensorBoard, into the folder `tensorboard` of the run.")
    ] = False
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run."), BASIC] = False
    moved: Annotated[
        str | None, option("--data", "PLACE", "With --resume: the new place of the data, if they were moved.")
    ] = None
    threads: Annotated[
        int | None,
        option("--threads", "N", "Number of threads. [default: as many as help, measured in a few steps]", least=1),
    ] = None
    force: Annotated[bool, typer.Option("--force", help="Delete an earlier run in that folder and start again.")] = (
        False
    )


@dataclasses.dataclass(frozen=True)
class LearningOptions:
    epochs: Annotated[
        int | None,
        typer.Option(
            "--epochs", min=1, metavar="N", help="Most epochs to train. [default: the recipe's, else what fits]"
        ),
    ] = None
    minutes: Annotated[
        float | None,
        option("--minutes", "N", "Train for about this long; not with --folds. [default: until it stops improving]"),
        BASIC,
    ] = None
    batch_size: Annotated[
        str | None,
        option(
            "--batch-size",
            "N|auto",
            "Batch size, or auto: as large as memory allows. [default: the recipe's, else what fits]",
            short="-b",
        ),
    ] = None
    learning_rate: Annotated[
        float | None,
        option(
            "--learning-rate",
            "RATE",
            "Highest learning rate. [default: the recipe's, else the network's, else {learning_rate}]",
        ),
    ] = None
    sample_rate: Annotated[
        int | None,
        option(
            "--sample-rate", "HERTZ", "Sample rate of the network. [default: the recipe's, else what fits]", least=1000
        ),
    ] = None
    seed: Annotated[
        int | None,
        typer.Option("--seed", min=0, metavar="N", help="Seed of the random numbers. [default: the recipe's, else 0]"),
    ] = None


@dataclasses.dataclass(frozen=True)
class PartOptions:
    group: Annotated[
        str | None,
        option(
            "--group", "COLUMN", "Column whose values are kept in one split, such as speaker. [default: the recipe's]"
        ),
    ] = None
    group_pattern: Annotated[
        str | None,
        option(
            "--group-pattern",
            "REGEX",
            "Take groups from file names by a pattern, such as '^([^_]+)_'; one with a slash is matched against paths.",
        ),
    ] = None
    label_pattern: Annotated[
        str | None,
        option("--label-pattern", "REGEX", "Take labels from file names by a pattern, instead of from folders."),
    ] = None
    keep_label: Annotated[
        list[str] | None,
        option(
            "--keep-label",
            "LABEL",
            "Treat this folder as a label, although it is called other, noise, background, silence or none.",
        ),
    ] = None
    corrections: Annotated[
        list[str] | None,
        option(
            "--corrections",
            "FILE",
            "Table of corrected labels (filename, label, onset, offset); label - leaves a recording out. May be "
            "repeated; the last table takes precedence.",
        ),
    ] = None
    only_corrected: Annotated[
        bool, flag("--only-corrected", "Leave out all recordings that these tables do not list.")
    ] = False
    folds: Annotated[
        int | None,
        option("--folds", "K", "Cross-validate: train K times, each time testing on another part.", least=2),
        BASIC,
    ] = None
    fold: Annotated[
        str | None, option("--fold", "FOLD", "Test on this fold of the data. [default: the recipe's, else the last]")
    ] = None
    learning_curve: Annotated[
        str | None,
        option("--learning-curve", "SHARES", "Train on several shares of the clips, for a learning curve: 0.1,0.3,1."),
    ] = None


@dataclasses.dataclass(frozen=True)
class CheckOptions:
    dry_run: Annotated[
        bool, flag("--dry-run", "Check everything, run one step, report the time of an epoch; write nothing."), BASIC
    ] = False
    overfit: Annotated[
        int | None,
        option("--overfit", "N", "Try to memorise N examples, as a test of the network; write nothing.", least=1),
    ] = None

    @property
    def asked(self) -> bool:
        return self.dry_run or self.overfit is not None
