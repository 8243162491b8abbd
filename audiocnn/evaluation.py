"""Scores and annotations to figures with intervals: what `evaluate` reports and what thresholds are tuned by.

`evaluate_scores` judges recordings whose segments are known; `evaluate` scores a dataset first, and also judges
entries that have one label for the whole clip. Both leave the definitions to `metrics` and the intervals to
`resampling`. Scores are judged as they are, on a grid of 10 ms, segments by the rule of their label.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from audiocnn.dataset import Dataset, Entry
from audiocnn.errors import AudiocnnError, DatasetError, did_you_mean
from audiocnn.labels import Annotation
from audiocnn.metrics import (
    Figure,
    Frames,
    SegmentCounts,
    SegmentSums,
    count_segments,
    frame_labels,
    grid_rows,
    scores_on_grid,
    segment_values,
)
from audiocnn.resampling import (
    curve_figures,
    draw_recordings,
    figures_to_dict,
    mean_figure,
    segment_figures,
)
from audiocnn.segments import SegmentRule, find_segments
from audiocnn.units import round_seconds

Measure = Literal["detection_cost", "detection_error", "f1"]


@dataclass(frozen=True)
class EvaluationSettings:
    """grid_seconds: of the frames. resamples: 0 for no intervals. group_by: tags to give figures by, too."""

    grid_seconds: float = 0.01
    resamples: int = 1000
    seed: int = 0
    collar_seconds: float = 0.0
    group_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class ScoredRecording:
    """One recording: scores (rows, classes) float32 that tile it, and what is known to be in it.

    Annotations of other labels than the model's do not matter; none at all say that nothing is in it.
    """

    filename: str
    scores: NDArray[np.float32]
    hop_seconds: float
    duration_seconds: float
    annotations: list[Annotation]
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ScoredClip:
    """One clip with one label for the whole of it, and its mean score for each class (classes,)."""

    filename: str
    scores: NDArray[np.floating[Any]]
    label: str


@dataclass(frozen=True)
class LabelEvaluation:
    """How well one label was found. Figures by the names that `metrics` explains; notes are whole sentences."""

    label: str
    recordings: int
    seconds: float
    reference_seconds: float
    rule: SegmentRule
    figures: dict[str, Figure]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """A part of report.json."""
        return {
            "recordings": self.recordings,
            "seconds": round_seconds(self.seconds),
            "reference_seconds": round_seconds(self.reference_seconds),
            "threshold": self.rule.threshold,
            "neg_threshold": round(self.rule.closing_threshold, 6),
            "min_speech": self.rule.min_speech_seconds,
            "min_silence": self.rule.min_silence_seconds,
            "pad": self.rule.pad_seconds,
            "figures": figures_to_dict(self.figures),
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class ClipEvaluation:
    """How well whole clips were told apart, by their mean score; `labels` has the figures of each."""

    clips: int
    figures: dict[str, Figure]
    labels: dict[str, dict[str, Figure]]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """A part of report.json."""
        return {
            "clips": self.clips,
            "figures": figures_to_dict(self.figures),
            "labels": {label: figures_to_dict(figures) for label, figures in self.labels.items()},
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class Evaluation:
    """All figures: by label; by tag, value and label; of whole clips; and what could not be scored, and why."""

    settings: EvaluationSettings
    labels: dict[str, LabelEvaluation] = field(default_factory=dict)
    groups: dict[str, dict[str, dict[str, LabelEvaluation]]] = field(default_factory=dict)
    clip: ClipEvaluation | None = None
    failures: tuple[tuple[str, str], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """What report.json holds; the command adds the names of model and data."""
        return {
            "schema": 1,
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


def evaluate_scores(
    recordings: Sequence[ScoredRecording],
    labels: Sequence[str],
    rules: Mapping[str, SegmentRule],
    settings: EvaluationSettings = EvaluationSettings(),
) -> Evaluation:
    """Judges recordings whose segments are known; class c of their scores is labels[c], and has a rule."""
    groups: dict[str, dict[str, dict[str, LabelEvaluation]]] = {}
    for tag in settings.group_by:
        values = sorted({recording.tags.get(tag, "") for recording in recordings})
        parts = {v: [r for r in recordings if r.tags.get(tag, "") == v] for v in values}
        groups[tag] = {v: _evaluate_labels(part, labels, rules, settings) for v, part in parts.items()}
    return Evaluation(settings, _evaluate_labels(recordings, labels, rules, settings), groups)


def _evaluate_labels(
    recordings: Sequence[ScoredRecording],
    labels: Sequence[str],
    rules: Mapping[str, SegmentRule],
    settings: EvaluationSettings,
) -> dict[str, LabelEvaluation]:
    if not recordings:
        return {}
    draws = draw_recordings(len(recordings), settings.resamples, settings.seed)
    found = {}
    for column, label in enumerate(labels):
        frames = [_frames(recording, column, label, settings.grid_seconds) for recording in recordings]
        counts = [_counts(r, column, label, rules[label], settings.collar_seconds) for r in recordings]
        figures = curve_figures(frames, draws) | segment_figures(counts, draws)
        seconds = sum(recording.duration_seconds for recording in recordings)
        reference = sum(held.reference_seconds for held in counts)
        notes = _notes(recordings, label, figures)
        found[label] = LabelEvaluation(
            label, len(recordings), seconds, reference, rules[label], figures, notes
        )
    return found


def _frames(recording: ScoredRecording, column: int, label: str, grid_seconds: float) -> Frames:
    rows = grid_rows(recording.duration_seconds, grid_seconds)
    return Frames(
        frame_labels(recording.annotations, label, rows, grid_seconds),
        scores_on_grid(recording.scores[:, column], recording.hop_seconds, rows, grid_seconds),
    )


def _counts(
    recording: ScoredRecording, column: int, label: str, rule: SegmentRule, collar_seconds: float
) -> SegmentCounts:
    scores, hop_seconds = recording.scores[:, column], recording.hop_seconds
    segments = find_segments(scores, hop_seconds, recording.duration_seconds, label, rule)
    return count_segments(
        [(a.onset, a.offset) for a in recording.annotations if a.label == label],
        [(segment.start, segment.end) for segment in segments],
        recording.duration_seconds,
        collar_seconds,
    )
