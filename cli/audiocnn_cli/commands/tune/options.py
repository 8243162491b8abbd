"""The options of `audiocnn tune`, and the commands it suggests."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import typer

from audiocnn.errors import as_argument, format_command
from audiocnn.workflows.label_place import label_words
from audiocnn_cli.app.options import (
    BASIC,
    OUTPUT,
    JudgedPad,
    LabelOptions,
    SegmentRuleOptions,
    flag,
    option,
    score_option,
    seconds_option,
)


class Goal(StrEnum):
    f1 = "f1"
    segment_f1 = "segment_f1"
    detection_error = "detection_error"
    detection_cost = "detection_cost"


@dataclass(frozen=True)
class SweepOptions:
    goal: Annotated[
        Goal | None,
        option(
            "--for",
            "FIGURE",
            "Figure to optimise: f1 (of time), segment_f1, detection_error or detection_cost. "
            "[default: f1; for operating points detection_error]",
        ),
        BASIC,
    ] = None
    operating_points: Annotated[
        bool,
        flag(
            "--operating-points", "Tune the settings of --sensitivity balanced, sensitive and precise on all of DATA."
        ),
        BASIC,
    ] = False
    cross_fit: Annotated[
        bool, flag("--cross-fit", "Measure by cross-fitting: tune on one half of the recordings, measure on the other.")
    ] = False
    label: Annotated[
        list[str] | None, typer.Option("--label", metavar="LABEL", help="Tune only this label. May be repeated."), BASIC
    ] = None
    split: Annotated[
        str | None,
        option(
            "--split",
            "NAME",
            "Use only this split of the data. [default: for a recipe validation, for conditions tune, else all]",
        ),
        BASIC,
    ] = None
    scores: Annotated[
        str | None, option("--scores", "FILE", "Keep the scores in this .npz file; the next run then takes seconds.")
    ] = None
    plot: Annotated[str | None, option("--plot", "FILE", "Plot what was tried: .png, .svg or .pdf.", OUTPUT), BASIC] = (
        None
    )
    save: Annotated[bool, flag("--save", "Write the best settings into the model folder.", OUTPUT), BASIC] = False
    save_as: Annotated[
        str | None,
        option("--save-as", "FOLDER", "Write the best settings into a copy of the model, in a new folder.", OUTPUT),
        BASIC,
    ] = None


@dataclass(frozen=True)
class RuleOptions(SegmentRuleOptions):
    """Values that are given are not tuned. Pads and the maximum duration are never tuned, except for the pads of
    operating points."""

    threshold: Annotated[str | None, score_option("--threshold", "Keep this value. [default: tuned]")] = None
    neg_threshold: Annotated[float | None, score_option("--neg-threshold", "Keep this value. [default: tuned]")] = None
    min_duration: Annotated[float | None, seconds_option("--min-duration", "Keep this value. [default: tuned]")] = None
    min_silence: Annotated[float | None, seconds_option("--min-silence", "Keep this value. [default: tuned]")] = None
    pad: JudgedPad = None


@dataclass(frozen=True)
class TuneCommand:
    """The tuned model and its data, for commands to run next."""

    data: str
    model: str
    labels: LabelOptions
    split: str | None = None

    def evaluate(self, *more: str) -> str:
        """The command that evaluates the model on this data, with more options."""
        words = ["audiocnn", "evaluate", as_argument(self.data), "--model", as_argument(self.model)]
        split = ["--split", self.split] if self.split else []
        return format_command([*words, *label_words(self.labels), *split, *more])
