"""Evaluates recordings with known segments: metrics with confidence intervals, by label and by tag.

Each recording is counted once. Groups of recordings are then pooled from these counts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from audiocnn.errors import did_you_mean
from audiocnn.evaluation.bootstrap import (
    calibration_figure,
    curve_figures,
    draw_recordings,
    pool_frames,
    segment_figures,
    why_no_interval,
)
from audiocnn.evaluation.metrics import (
    Frames,
    SegmentCounts,
    compute_curves,
    count_segments,
    frame_labels,
    frames_inside,
    grid_rows,
    scores_on_grid,
    smooth_scores,
)
from audiocnn.evaluation.results import (
    BY_RECORDING,
    Evaluation,
    EvaluationSettings,
    LabelEvaluation,
    RecordingErrors,
    value_of_tag,
)
from audiocnn.segments.finder import FindSegments, SegmentRule, find_segments
from audiocnn.segments.segment import Annotation


@dataclass(frozen=True)
class JudgedRecording:
    """Scores (rows, classes) float32 that tile a recording, and its reference.

    Annotations of labels that the model does not have are ignored; no annotations means that nothing is present. find:
    converts scores to segments. group: resampled as a whole for intervals (a speaker, a take); "" for a group of its
    own. unsure: (onset, offset) of time that is not evaluated, because nobody knows whether labels are present.
    """

    filename: str
    scores: NDArray[np.float32]
    hop_seconds: float
    duration_seconds: float
    annotations: list[Annotation]
    tags: dict[str, str] = field(default_factory=dict)
    find: FindSegments = find_segments
    group: str = ""
    unsure: Sequence[tuple[float, float]] = ()


def evaluate_scores(
    recordings: Sequence[JudgedRecording],
    labels: Sequence[str],
    rules: Mapping[str, SegmentRule],
    settings: EvaluationSettings | None = None,
    known: Collection[str] | None = None,
) -> Evaluation:
    """Class c of the scores is labels[c], and has a rule. known: the labels to evaluate, by default all."""
    settings = settings or EvaluationSettings()
    names = tuple(recording.filename for recording in recordings)
    if not recordings:
        return Evaluation(settings, recordings=names)
    found: dict[str, LabelEvaluation] = {}
    groups: dict[str, dict[str, dict[str, LabelEvaluation]]] = {tag: {} for tag in settings.group_by}
    errors: dict[str, tuple[RecordingErrors, ...]] = {}
    for column, label in enumerate(labels):
        if known is not None and label not in known:
            continue
        rule = rules[label]
        everything = [_count(recording, column, label, rule, settings) for recording in recordings]
        frames = pool_frames([held.frames for held in everything])
        found[label] = replace(_pool_counts(everything, label, rule, settings), curves=compute_curves(frames))
        errors[label] = rank_errors(everything)
        for tag in settings.group_by:
            parts: dict[str, list[_RecordingCounts]] = {}
            for judged in everything:
                parts.setdefault(value_of_tag(tag, judged.tags, judged.filename), []).append(judged)
            how = replace(settings, resamples=0) if tag == BY_RECORDING else settings
            for value in sorted(parts):
                groups[tag].setdefault(value, {})[label] = _pool_counts(parts[value], label, rule, how)
    if held := groups.get(BY_RECORDING):
        worst: dict[str, float] = {}
        for one in chain.from_iterable(errors.values()):
            worst[one.filename] = max(worst.get(one.filename, 0.0), one.error_rate)
        groups[BY_RECORDING] = {
            value: held[value] for value in sorted(held, key=lambda name: (-worst.get(name, 0.0), name))
        }
    drawn = tuple(recording.group for recording in recordings)
    return Evaluation(settings, found, groups, recordings=names, drawn=drawn, errors=errors)


def rank_errors(judged: Sequence[_RecordingCounts]) -> tuple[RecordingErrors, ...]:
    """The errors in each recording, worst first."""
    sums = [(held.filename, held.seconds, held.counts.sums) for held in judged]
    found = [RecordingErrors(name, seconds, s.hit + s.miss, s.miss, s.false_alarm) for name, seconds, s in sums]
    return tuple(sorted(found, key=lambda one: (-one.error_rate, one.filename)))


@dataclass(frozen=True)
class _RecordingCounts:
    """The counts of one recording and label. smoothed: its frames by the smoothing time in seconds."""

    filename: str
    seconds: float
    group: str
    tags: dict[str, str]
    other_labels: frozenset[str]
    frames: Frames
    smoothed: dict[float, Frames]
    counts: SegmentCounts


def _count(
    recording: JudgedRecording, column: int, label: str, rule: SegmentRule, settings: EvaluationSettings
) -> _RecordingCounts:
    scores, seconds, grid = recording.scores[:, column], recording.duration_seconds, settings.grid_seconds
    rows = grid_rows(seconds, grid)
    positive = frame_labels(recording.annotations, label, rows, grid)
    on_grid = scores_on_grid(scores, recording.hop_seconds, rows, grid)
    detected = detect_intervals(replace(recording, scores=scores), label, rule)
    judged = positive | ~frames_inside(recording.unsure, rows, grid)
    return _RecordingCounts(
        recording.filename,
        seconds,
        recording.group,
        recording.tags,
        frozenset(annotation.label for annotation in recording.annotations) - {label},
        Frames(positive[judged], on_grid[judged]),
        {
            over: Frames(positive[judged], smooth_scores(on_grid, grid, over)[judged])
            for over in settings.smoothing_seconds
        },
        count_segments(
            reference_intervals(recording, label), detected, seconds, settings.collar_seconds, recording.unsure
        ),
    )


def _pool_counts(
    judged: Sequence[_RecordingCounts], label: str, rule: SegmentRule, settings: EvaluationSettings
) -> LabelEvaluation:
    draws = draw_recordings(len(judged), settings.resamples, settings.seed, [held.group for held in judged])
    frames, counts = [held.frames for held in judged], [held.counts for held in judged]
    calibration = {"calibration_error": calibration_figure(frames, draws)}
    smoothed = {
        seconds: curve_figures([held.smoothed[seconds] for held in judged], draws)
        for seconds in settings.smoothing_seconds
    }
    return LabelEvaluation(
        label,
        recordings=len(judged),
        seconds=sum(held.seconds for held in judged),
        reference_seconds=sum(count.sums.hit + count.sums.miss for count in counts),
        rule=rule,
        figures=curve_figures(frames, draws) | calibration | segment_figures(counts, draws),
        smoothed=smoothed,
        notes=tuple(_notes(judged, label)),
    )


def reference_intervals(recording: JudgedRecording, label: str) -> list[tuple[float, float]]:
    """(onset, offset) of each annotation of `label`."""
    return [(a.onset, a.offset) for a in recording.annotations if a.label == label]


def detect_intervals(recording: JudgedRecording, label: str, rule: SegmentRule) -> list[tuple[float, float]]:
    """(start, end) of the segments of `label` in a recording with scores (rows,)."""
    seconds = recording.duration_seconds
    segments = recording.find(recording.scores, recording.hop_seconds, seconds, label, rule)
    return [(segment.start, segment.end) for segment in segments]


def _notes(judged: Sequence[_RecordingCounts], label: str) -> Iterator[str]:
    if not any(held.frames.positive.any() for held in judged):
        present = {other for held in judged for other in held.other_labels}
        hint = f"; {did_you_mean(label, present)}" if present else ""
        yield f'no segment is annotated as "{label}", so curves and misses are undefined{hint}'
    elif all(held.frames.positive.all() for held in judged):
        yield f'every frame is annotated as "{label}", so curves and false alarms are undefined'
    if not any(held.counts.sums.detections for held in judged):
        yield f'no segment of "{label}" was detected'
    if note := why_no_interval([held.group for held in judged], "recording"):
        yield note
