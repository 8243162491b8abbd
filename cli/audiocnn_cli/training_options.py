"""The options of `audiocnn train`: what to make, from what, and what overrides the recipe."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

Data = Annotated[
    str | None,
    typer.Argument(metavar="DATA", help="A dataset, a source as for `ingest`, or a recipe.", show_default=False),
]


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """What to make, from what, and where."""

    recipe: Annotated[
        str | None, typer.Option("--recipe", metavar="FILE", help="How the model is made. [default: ./audiocnn.toml]")
    ] = None
    spec: Annotated[
        str | None,
        typer.Option(
            "--spec", metavar="SPEC", help="A name from `audiocnn models`, or a TOML file. [default: what fits]"
        ),
    ] = None
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="MODEL", help="Begin with the groups of this model; F is new for new labels."),
    ] = None
    freeze: Annotated[
        str | None, typer.Option("--freeze", metavar="A,B", help="Groups of that model that stay as they are.")
    ] = None
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="RUN", help="The folder to make. [default: runs/NAME]")
    ] = None
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Curves for TensorBoard, too, in the folder `tensorboard` of the run.")
    ] = False
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was interrupted.")] = False
    force: Annotated[bool, typer.Option("--force", help="Remove what an earlier run made there, and begin anew.")] = (
        False
    )


@dataclasses.dataclass(frozen=True)
class LearningOptions:
    """What overrides the recipe."""

    epochs: Annotated[
        int | None, typer.Option("--epochs", min=1, metavar="N", help="[default: the recipe's, else what fits]")
    ] = None
    batch_size: Annotated[
        str | None,
        typer.Option(
            "--batch-size",
            "-b",
            metavar="N|auto",
            help="Or what memory holds. [default: the recipe's, else what fits]",
        ),
    ] = None
    sample_rate: Annotated[
        int | None,
        typer.Option(
            "--sample-rate", min=1000, metavar="HERTZ", help="Rate to learn at. [default: the recipe's, else what fits]"
        ),
    ] = None
    seed: Annotated[int | None, typer.Option("--seed", min=0, metavar="N", help="[default: the recipe's, else 0]")] = (
        None
    )
