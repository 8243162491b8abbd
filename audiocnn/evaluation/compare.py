"""Differences between two models with confidence intervals, paired by bootstrap sample over the same recordings.

Recordings that are hard for both models cancel out. The interval of a difference is therefore often far narrower than
those of the two results.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from audiocnn.errors import UsageError
from audiocnn.evaluation.bootstrap import with_interval
from audiocnn.evaluation.results import ClipEvaluation, Evaluation, Figure, LabelEvaluation, figures_to_dict


@dataclass(frozen=True)
class LabelDifference:
    """For one label: the differences, and those of smoothed scores by the smoothing time in seconds."""

    figures: dict[str, Figure]
    smoothed: dict[float, dict[str, Figure]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        smoothed = {f"{seconds:g}": figures_to_dict(figures) for seconds, figures in self.smoothed.items()}
        return {"figures": figures_to_dict(self.figures), "smoothed": smoothed}


@dataclass(frozen=True)
class Comparison:
    """Differences by label, and by tag, value and label, as in an `Evaluation`. clip: of whole clips, if both
    evaluations have them."""

    labels: dict[str, LabelDifference]
    groups: dict[str, dict[str, dict[str, LabelDifference]]]
    clip: dict[str, Figure] | None = None

    def to_dict(self) -> dict[str, Any]:
        groups = {
            tag: {value: _to_dicts(found) for value, found in values.items()} for tag, values in self.groups.items()
        }
        clip = {"figures": figures_to_dict(self.clip)} if self.clip is not None else None
        return {"labels": _to_dicts(self.labels), "groups": groups, "clip": clip}


def _to_dicts(labels: Mapping[str, LabelDifference]) -> dict[str, Any]:
    return {label: found.to_dict() for label, found in labels.items()}


def compare(first: Evaluation, second: Evaluation) -> Comparison:
    """Each result of `second` minus that of `first`, for the labels that both have.

    Raises UsageError unless both evaluated the same recordings in the same order, with the same bootstrap samples.
    """
    if first.settings != second.settings:
        raise UsageError("the evaluations have different settings and cannot be compared; use the same for both")
    if first.recordings != second.recordings:
        raise UsageError(f"{_what_differs(first.recordings, second.recordings)}; evaluate both on the same recordings")
    if first.drawn != second.drawn:
        raise UsageError("the recordings are grouped differently and cannot be compared; use the same groups for both")
    groups = {
        tag: {value: _labels(labels, second.groups[tag].get(value, {})) for value, labels in parts.items()}
        for tag, parts in first.groups.items()
    }
    return Comparison(_labels(first.labels, second.labels), groups, _clips(first.clip, second.clip))


def _clips(first: ClipEvaluation | None, second: ClipEvaluation | None) -> dict[str, Figure] | None:
    """For the metrics that both have. UsageError unless both evaluated the same clips with the same bootstrap
    samples."""
    if first is None or second is None:
        return None
    names = [tuple(answer.filename for answer in clip.answers) for clip in (first, second)]
    if names[0] != names[1]:
        raise UsageError(f"{_what_differs(*names)}; evaluate both on the same clips")
    if first.drawn != second.drawn:
        raise UsageError("the clips are grouped differently and cannot be compared; use the same groups for both")
    both = [name for name in first.figures if name in second.figures]
    return {name: _figure(first.figures[name], second.figures[name]) for name in both}


def _what_differs(first: tuple[str, ...], second: tuple[str, ...]) -> str:
    alone = [name for name in (*first, *second) if (name in first) != (name in second)]
    what = f"{alone[0]} is in one evaluation only" if alone else "the order of the recordings differs"
    return f"evaluations of {len(first)} and {len(second)} recordings cannot be compared: {what}"


def _labels(first: Mapping[str, LabelEvaluation], second: Mapping[str, LabelEvaluation]) -> dict[str, LabelDifference]:
    return {label: _difference(found, second[label]) for label, found in first.items() if label in second}


def _difference(first: LabelEvaluation, second: LabelEvaluation) -> LabelDifference:
    smoothed = {
        seconds: {name: _figure(figure, second.smoothed[seconds][name]) for name, figure in figures.items()}
        for seconds, figures in first.smoothed.items()
    }
    return LabelDifference({name: _figure(f, second.figures[name]) for name, f in first.figures.items()}, smoothed)


def _figure(first: Figure, second: Figure) -> Figure:
    """Draws in which either value is undefined are left out."""
    if first.value is None or second.value is None:
        return Figure(None)
    value = second.value - first.value
    if first.resampled is None or second.resampled is None:
        return Figure(value)
    return with_interval(value, np.subtract(second.resampled, first.resampled))


def is_sure(difference: Figure) -> bool:
    """Whether the interval of a difference excludes 0."""
    low, high = difference.low, difference.high
    return low is not None and high is not None and (low > 0 or high < 0)
