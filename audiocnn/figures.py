"""What an evaluation says, as plain data: figures with intervals, by label and condition, and of clips."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from audiocnn.curves import Curves
from audiocnn.errors import UsageError
from audiocnn.intervals import Floats
from audiocnn.segments import SegmentRule
from audiocnn.units import round_seconds

if TYPE_CHECKING:
    from audiocnn.clip_evaluation import ClipEvaluation

REPORT_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Figure:
    """A value and the ends of its 95 % interval; None where not defined.

    resampled: the value of each draw, NaN where not defined, for differences; no part of what the figure says.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    resampled: Floats | None = field(default=None, repr=False, compare=False)

    def to_dict(self) -> dict[str, float | None]:
        """The three by name, with six digits behind the point."""
        numbers = {"value": self.value, "low": self.low, "high": self.high}
        return {name: None if number is None else round(number, 6) for name, number in numbers.items()}


@dataclass(frozen=True)
class EvaluationSettings:
    """grid_seconds: of the frames. resamples: 0 for no intervals. group_by: tags to give figures by, too.

    collar_seconds: of the one figure that has a collar. smoothing_seconds: the curves are given for smoothed scores,
    too, each of these lengths for itself.
    """

    grid_seconds: float = 0.01
    resamples: int = 1000
    seed: int = 0
    collar_seconds: float = 0.5
    smoothing_seconds: tuple[float, ...] = (0.2, 0.6)
    group_by: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.grid_seconds < math.inf:
            raise UsageError(f"--grid {self.grid_seconds:g}: give seconds above 0, such as 0.01")
        if not 0 <= self.collar_seconds < math.inf:
            raise UsageError(f"--collar {self.collar_seconds:g}: give seconds, 0 or more")
        for seconds in self.smoothing_seconds:
            if not 0 < seconds < math.inf:
                raise UsageError(f"--smooth {seconds:g}: give seconds above 0, such as 0.6")
        if self.resamples < 0:
            raise UsageError(f"--resamples {self.resamples}: give a number, 0 for no intervals")


@dataclass(frozen=True)
class LabelEvaluation:
    """How well one label was found.

    reference_seconds: what the reference holds. figures: by the names that `metrics` explains, in its order. smoothed:
    those of curves, by the seconds that scores were smoothed over. curves: of all recordings, not of groups of them.
    notes: what is not defined, and why.
    """

    label: str
    recordings: int
    seconds: float
    reference_seconds: float
    rule: SegmentRule
    figures: dict[str, Figure]
    smoothed: dict[float, dict[str, Figure]] = field(default_factory=dict)
    curves: Curves | None = field(default=None, repr=False, compare=False)
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """A part of report.json."""
        longest = self.rule.max_speech_seconds
        return {
            "recordings": self.recordings,
            "seconds": round_seconds(self.seconds),
            "reference_seconds": round_seconds(self.reference_seconds),
            "threshold": self.rule.threshold,
            "neg_threshold": round(self.rule.closing_threshold, 6),
            "min_speech": self.rule.min_speech_seconds,
            "min_silence": self.rule.min_silence_seconds,
            "pad": self.rule.pad_seconds,
            "max_speech": longest if math.isfinite(longest) else None,
            "figures": figures_to_dict(self.figures),
            "smoothed": {f"{seconds:g}": figures_to_dict(figures) for seconds, figures in self.smoothed.items()},
            **({"curves": self.curves.to_dict()} if self.curves else {}),
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class Evaluation:
    """All figures: by label; by tag, value and label; of clips. And (file, why) of what was not scored.

    recordings: the names of those that were judged by segments, in the order that draws count them in. drawn: the group
    that each was drawn with.
    """

    settings: EvaluationSettings
    labels: dict[str, LabelEvaluation] = field(default_factory=dict)
    groups: dict[str, dict[str, dict[str, LabelEvaluation]]] = field(default_factory=dict)
    clip: ClipEvaluation | None = None
    failures: tuple[tuple[str, str], ...] = ()
    recordings: tuple[str, ...] = ()
    drawn: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """What report.json holds; the command adds the names of model and data."""
        return {
            "schema": REPORT_SCHEMA,
            "type": "evaluation",
            "grid": self.settings.grid_seconds,
            "collar": self.settings.collar_seconds,
            "smoothing": list(self.settings.smoothing_seconds),
            "resamples": self.settings.resamples,
            "seed": self.settings.seed,
            "labels": _to_dicts(self.labels),
            "groups": {
                tag: {value: _to_dicts(labels) for value, labels in values.items()}
                for tag, values in self.groups.items()
            },
            "clip": self.clip.to_dict() if self.clip else None,
            "failures": [{"file": name, "error": error} for name, error in self.failures],
        }


def figures_to_dict(figures: Mapping[str, Figure]) -> dict[str, Any]:
    """A part of report.json."""
    return {name: figure.to_dict() for name, figure in figures.items()}


def _to_dicts(labels: Mapping[str, LabelEvaluation]) -> dict[str, Any]:
    return {label: evaluation.to_dict() for label, evaluation in labels.items()}
