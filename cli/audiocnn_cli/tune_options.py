"""The options of `audiocnn tune`: what is tuned for, what stays, and how a search goes on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import typer

from audiocnn_cli.options import OUTPUT, SegmentOptions, score_option, seconds_option

SEARCH = "Search"


class Goal(StrEnum):
    """What a sweep looks for."""

    f1 = "f1"
    segment_f1 = "segment_f1"
    detection_error = "detection_error"
    detection_cost = "detection_cost"


class Pruner(StrEnum):
    """When a training is ended early."""

    median = "median"
    hyperband = "hyperband"
    none = "none"


@dataclass(frozen=True)
class SweepOptions:
    """What to tune a model for, and on what."""

    goal: Annotated[
        Goal,
        typer.Option(
            "--for",
            metavar="FIGURE",
            help="f1 (of time), segment_f1, detection_error or detection_cost.",
        ),
    ] = Goal.f1
    label: Annotated[
        list[str] | None, typer.Option("--label", metavar="LABEL", help="Only this one. May be repeated.")
    ] = None
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            metavar="NAME",
            help="One split of the data. [default: of a recipe validation, of conditions tune, else all]",
        ),
    ] = None
    scores: Annotated[
        str | None,
        typer.Option("--scores", metavar="FILE", help="Keep the scores in this .npz: the next time takes seconds."),
    ] = None
    plot: Annotated[
        str | None,
        typer.Option("--plot", metavar="FILE", help="Draw what was tried: .png, .svg or .pdf.", rich_help_panel=OUTPUT),
    ] = None
    save: Annotated[
        bool, typer.Option("--save", help="Write what is best into the model folder.", rich_help_panel=OUTPUT)
    ] = False


@dataclass(frozen=True)
class RuleOptions(SegmentOptions):
    """What is given is not tuned; pads and cuts never are."""

    threshold: Annotated[float | None, score_option("--threshold", "Leave it at this. [default: tuned]")] = None
    neg_threshold: Annotated[float | None, score_option("--neg-threshold", "Leave it at this. [default: tuned]")] = None
    min_speech: Annotated[float | None, seconds_option("--min-speech", "Leave it at this. [default: tuned]")] = None
    min_silence: Annotated[float | None, seconds_option("--min-silence", "Leave it at this. [default: tuned]")] = None
    pad: Annotated[float | None, seconds_option("--pad", "Widen segments on both sides. [default: 0]")] = 0.0


@dataclass(frozen=True)
class SearchOptions:
    """Which trainings are tried."""

    recipe: Annotated[
        str | None,
        typer.Option("--recipe", metavar="FILE", help="Train what its [tune] names.", rich_help_panel=SEARCH),
    ] = None
    trials: Annotated[
        int,
        typer.Option("--trials", min=1, metavar="N", help="Trainings, of all processes.", rich_help_panel=SEARCH),
    ] = 20
    epochs: Annotated[
        int | None,
        typer.Option("--epochs", min=1, metavar="N", help="Of each. [default: the recipe's]", rich_help_panel=SEARCH),
    ] = None
    pruner: Annotated[
        Pruner,
        typer.Option(
            "--pruner",
            metavar="NAME",
            help="What ends a training that falls behind: median, hyperband or none.",
            rich_help_panel=SEARCH,
        ),
    ] = Pruner.median
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="The folder to make: a run a trial, best.toml, trials.png. [default: runs/NAME.tune]",
            rich_help_panel=SEARCH,
        ),
    ] = None
    study: Annotated[
        str | None,
        typer.Option(
            "--study", metavar="FILE", help="The SQLite file. [default: study.sqlite in it]", rich_help_panel=SEARCH
        ),
    ] = None
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on with the study, join it, or begin it if there is none.", rich_help_panel=SEARCH
        ),
    ] = False
