"""What an evaluation says, as plain data: figures with intervals, by label and condition, and of clips."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from audiocnn.errors import UsageError
from audiocnn.segments import SegmentRule
from audiocnn.units import round_seconds

REPORT_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Figure:
    """A value and the ends of its 95 % interval; None where not defined."""

    value: float | None
    low: float | None = None
    high: float | None = None

    def to_dict(self) -> dict[str, float | None]:
        """The three by name, with six digits behind the point."""
        numbers = {"value": self.value, "low": self.low, "high": self.high}
        return {name: None if number is None else round(number, 6) for name, number in numbers.items()}


@dataclass(frozen=True)
class EvaluationSettings:
    """grid_seconds: of the frames. resamples: 0 for no intervals. group_by: tags to give figures by, too."""

    grid_seconds: float = 0.01
    resamples: int = 1000
    seed: int = 0
    collar_seconds: float = 0.0
    group_by: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.grid_seconds < math.inf:
            raise UsageError(f"--grid {self.grid_seconds:g}: give seconds above 0, such as 0.01")
        if not 0 <= self.collar_seconds < math.inf:
            raise UsageError(f"--collar {self.collar_seconds:g}: give seconds, 0 or more")
        if self.resamples < 0:
            raise UsageError(f"--resamples {self.resamples}: give a number, 0 for no intervals")


@dataclass(frozen=True)
class LabelEvaluation:
    """How well one label was found.

    reference_seconds: what the reference holds, without what a collar excludes. figures: by the names that
    `metrics` explains, in its order. notes: what is not defined, and why.
    """

    label: str
    recordings: int
    seconds: float
    reference_seconds: float
    rule: SegmentRule
    figures: dict[str, Figure]
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
            "figures": {name: figure.to_dict() for name, figure in self.figures.items()},
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class ClipEvaluation:
    """How well whole clips were told apart, by their mean score; `labels` has the figures of each label."""

    clips: int
    accuracy: Figure
    labels: dict[str, dict[str, Figure]]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """A part of report.json."""
        return {
            "clips": self.clips,
            "figures": {"accuracy": self.accuracy.to_dict()},
            "labels": {
                label: {"figures": {name: figure.to_dict() for name, figure in figures.items()}}
                for label, figures in self.labels.items()
            },
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class Evaluation:
    """All figures: by label; by tag, value and label; of clips. And (file, why) of what was not scored."""

    settings: EvaluationSettings
    labels: dict[str, LabelEvaluation] = field(default_factory=dict)
    groups: dict[str, dict[str, dict[str, LabelEvaluation]]] = field(default_factory=dict)
    clip: ClipEvaluation | None = None
    failures: tuple[tuple[str, str], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """What report.json holds; the command adds the names of model and data."""
        return {
            "schema": REPORT_SCHEMA,
            "type": "evaluation",
            "grid": self.settings.grid_seconds,
            "collar": self.settings.collar_seconds,
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


def _to_dicts(labels: Mapping[str, LabelEvaluation]) -> dict[str, Any]:
    return {label: evaluation.to_dict() for label, evaluation in labels.items()}
