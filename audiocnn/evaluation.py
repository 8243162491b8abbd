"""Scores and annotations to figures with intervals: what `evaluate` reports, what thresholds are tuned by.

`evaluate_scores` judges recordings whose segments are known. `evaluate` scores a dataset first; entries that
have one label for the whole clip go to `clips`. `metrics` defines the figures, `resampling` their intervals.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from audiocnn.clips import ScoredClip, evaluate_clips
from audiocnn.dataset import Dataset, Entry
from audiocnn.errors import AudiocnnError, DatasetError, did_you_mean
from audiocnn.figures import Evaluation, EvaluationSettings, LabelEvaluation
from audiocnn.labels import Annotation
from audiocnn.metrics import (
    Frames,
    SegmentCounts,
    SegmentSums,
    count_segments,
    detection_seconds,
    frame_labels,
    grid_rows,
    merge,
    scores_on_grid,
    segment_values,
)
from audiocnn.resampling import curve_figures, draw_recordings, segment_figures
from audiocnn.segments import SegmentRule, find_segments

Measure = Literal["detection_cost", "detection_error", "f1"]
MEASURES = {"detection_cost": "detection_cost", "detection_error": "detection_error_rate", "f1": "f1"}


@dataclass(frozen=True)
class ScoredRecording:
    """One recording: scores (rows, classes) float32 that tile it, and what is known to be in it.

    Annotations of labels that the model does not have are ignored; without any, nothing is in it.
    """

    filename: str
    scores: NDArray[np.float32]
    hop_seconds: float
    duration_seconds: float
    annotations: list[Annotation]
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Scorer:
    """What `evaluate` needs of a model: its score function, (channels, samples) float32 -> (rows, classes).

    sample_rate: what the function wants. labels: of the classes, in order; each has a rule. jobs: how many recordings
    may be scored at a time, in threads.
    """

    score: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    sample_rate: int
    hop_seconds: float
    labels: Sequence[str]
    rules: Mapping[str, SegmentRule]
    jobs: int = 1


@dataclass(frozen=True)
class EvaluationProgress:
    """Entry `done` of `total` is scored, or could not be: `error`. The last progress holds the evaluation."""

    done: int
    total: int
    filename: str
    seconds: float
    error: str | None = None
    evaluation: Evaluation | None = None


def evaluate(
    dataset: Dataset, scorer: Scorer, settings: EvaluationSettings | None = None, split: str | None = None
) -> Iterator[EvaluationProgress]:
    """Scores what is annotated or labelled in a dataset (or one split of it), then judges it.

    Raises DatasetError where there is nothing to judge, or nothing that could be scored.
    """
    entries = _entries(dataset, split)
    recordings: list[ScoredRecording] = []
    clips: list[ScoredClip] = []
    failures: list[tuple[str, str]] = []
    for done, (entry, scores) in enumerate(_scored(dataset, entries, scorer), start=1):
        error = None
        if isinstance(scores, AudiocnnError):
            error = str(scores)
            failures.append((entry.filename, error))
        elif entry.annotated:
            recordings.append(_recording(dataset, entry, scores, scorer.hop_seconds))
        else:
            clips.append(ScoredClip(entry.filename, scores.mean(axis=0), entry.label or ""))
        seconds = dataset.duration_seconds(entry)
        yield EvaluationProgress(done, len(entries), entry.filename, seconds, error)
    if not recordings and not clips:
        raise DatasetError(f"{dataset.folder}: not one recording could be scored; the first: {failures[0][1]}")
    settings = settings or EvaluationSettings()
    evaluation = evaluate_scores(recordings, scorer.labels, scorer.rules, settings)
    clip = evaluate_clips(clips, scorer.labels, scorer.rules, settings) if clips else None
    evaluation = replace(evaluation, clip=clip, failures=tuple(failures))
    yield EvaluationProgress(len(entries), len(entries), "", 0.0, evaluation=evaluation)


def _entries(dataset: Dataset, split: str | None) -> list[Entry]:
    entries = [entry for entry in dataset.entries if split is None or entry.split == split]
    if not entries:
        splits = {entry.split for entry in dataset.entries if entry.split is not None}
        hint = did_you_mean(split or "", splits) if splits else "it has no splits"
        what = "no recordings" if split is None else f'no recordings in split "{split}"; {hint}'
        raise DatasetError(f"{dataset.folder}: {what}")
    judged = [entry for entry in entries if entry.annotated or entry.label is not None]
    if not judged:
        remedy = "ingest them with segments or labels"
        raise DatasetError(f"{dataset.folder}: no recording says what is in it; {remedy}")
    return judged


def _scored(
    dataset: Dataset, entries: Sequence[Entry], scorer: Scorer
) -> Iterator[tuple[Entry, NDArray[np.float32] | AudiocnnError]]:
    """The scores of each, or why there are none, in order; `jobs` at a time, as many again wait to be taken."""

    def score(entry: Entry) -> NDArray[np.float32] | AudiocnnError:
        try:
            return scorer.score(_samples(dataset, entry, scorer.sample_rate))
        except AudiocnnError as problem:
            return problem

    ahead: deque[tuple[Entry, Future[NDArray[np.float32] | AudiocnnError]]] = deque()
    pool = ThreadPoolExecutor(scorer.jobs)
    try:
        for entry in entries:
            ahead.append((entry, pool.submit(score, entry)))
            if len(ahead) >= 2 * scorer.jobs:
                entry, future = ahead.popleft()
                yield entry, future.result()
        while ahead:
            entry, future = ahead.popleft()
            yield entry, future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _samples(dataset: Dataset, entry: Entry, sample_rate: int) -> NDArray[np.float32]:
    samples = dataset.samples(entry).astype(np.float32) / np.float32(32768)
    if dataset.sample_rate == sample_rate:
        return samples
    import soxr

    resampled: NDArray[np.float32] = soxr.resample(samples.T, dataset.sample_rate, sample_rate).T
    return np.ascontiguousarray(resampled)


def _recording(dataset: Dataset, entry: Entry, scores: NDArray[np.float32], hop_seconds: float) -> ScoredRecording:
    seconds, annotations = dataset.duration_seconds(entry), dataset.annotations(entry)
    return ScoredRecording(entry.filename, scores, hop_seconds, seconds, annotations, entry.tags)


def evaluate_scores(
    recordings: Sequence[ScoredRecording],
    labels: Sequence[str],
    rules: Mapping[str, SegmentRule],
    settings: EvaluationSettings | None = None,
) -> Evaluation:
    """Judges recordings whose segments are known; class c of their scores is labels[c], and has a rule."""
    settings = settings or EvaluationSettings()
    groups: dict[str, dict[str, dict[str, LabelEvaluation]]] = {}
    for tag in settings.group_by:
        parts: dict[str, list[ScoredRecording]] = {}
        for recording in recordings:
            parts.setdefault(recording.tags.get(tag, ""), []).append(recording)
        groups[tag] = {v: _evaluate_labels(parts[v], labels, rules, settings) for v in sorted(parts)}
    return Evaluation(settings, _evaluate_labels(recordings, labels, rules, settings), groups)


def _evaluate_labels(
    recordings: Sequence[ScoredRecording],
    labels: Sequence[str],
    rules: Mapping[str, SegmentRule],
    settings: EvaluationSettings,
) -> dict[str, LabelEvaluation]:
    if not recordings:
        return {}
    found = {}
    for column, label in enumerate(labels):
        mine = [replace(recording, scores=recording.scores[:, column]) for recording in recordings]
        found[label] = _evaluate_label(mine, label, rules[label], settings)
    return found


def _evaluate_label(
    recordings: Sequence[ScoredRecording], label: str, rule: SegmentRule, settings: EvaluationSettings
) -> LabelEvaluation:
    """Judges recordings whose scores are (rows,), of this label."""
    draws = draw_recordings(len(recordings), settings.resamples, settings.seed)
    frames = [_frames(recording, label, settings.grid_seconds) for recording in recordings]
    counts = [
        count_segments(
            _reference(recording, label),
            _detected(recording, label, rule),
            recording.duration_seconds,
            settings.collar_seconds,
        )
        for recording in recordings
    ]
    return LabelEvaluation(
        label,
        recordings=len(recordings),
        seconds=sum(recording.duration_seconds for recording in recordings),
        reference_seconds=sum(count.sums.hit + count.sums.miss for count in counts),
        rule=rule,
        figures=curve_figures(frames, draws) | segment_figures(counts, draws),
        notes=tuple(_notes(recordings, label, frames, counts)),
    )


def _frames(recording: ScoredRecording, label: str, grid_seconds: float) -> Frames:
    rows = grid_rows(recording.duration_seconds, grid_seconds)
    return Frames(
        frame_labels(recording.annotations, label, rows, grid_seconds),
        scores_on_grid(recording.scores, recording.hop_seconds, rows, grid_seconds),
    )


def _reference(recording: ScoredRecording, label: str) -> list[tuple[float, float]]:
    return [(a.onset, a.offset) for a in recording.annotations if a.label == label]


def _detected(recording: ScoredRecording, label: str, rule: SegmentRule) -> list[tuple[float, float]]:
    seconds = recording.duration_seconds
    segments = find_segments(recording.scores, recording.hop_seconds, seconds, label, rule)
    return [(segment.start, segment.end) for segment in segments]


def _notes(
    recordings: Sequence[ScoredRecording],
    label: str,
    frames: Sequence[Frames],
    counts: Sequence[SegmentCounts],
) -> Iterator[str]:
    if not any(held.positive.any() for held in frames):
        present = {annotation.label for r in recordings for annotation in r.annotations}
        hint = f"; {did_you_mean(label, present)}" if present else ""
        yield f'nothing is annotated as "{label}", so curves and misses are not defined{hint}'
    elif all(held.positive.all() for held in frames):
        yield f'everything is annotated as "{label}", so curves and false alarms are not defined'
    if not any(count.sums.detections for count in counts):
        yield f'no segment of "{label}" was found'
    if len(recordings) == 1:
        yield "intervals need more than one recording"


def tune_threshold(
    recordings: Sequence[ScoredRecording],
    labels: Sequence[str],
    label: str,
    rule: SegmentRule,
    measure: Measure = "detection_cost",
) -> tuple[float, float]:
    """The threshold in 0.05 to 0.95, in steps of 0.01, whose segments are best, and how good they are.

    Only the threshold of `rule` is swept (and neg_threshold with it where that is not given). Equals: the one
    nearest to 0.5. Raises DatasetError where nothing is annotated as `label`.
    """
    column = list(labels).index(label)
    mine = [replace(recording, scores=recording.scores[:, column]) for recording in recordings]
    references = [merge(_reference(recording, label), recording.duration_seconds) for recording in mine]
    if not any(len(reference) for reference in references):
        raise DatasetError(f'no recording to tune on has "{label}"; give annotated ones, or a threshold')

    def loss(threshold: float) -> float:
        lower = None if rule.neg_threshold is None else min(rule.neg_threshold, threshold)
        tried = replace(rule, threshold=threshold, neg_threshold=lower)
        seconds = [
            detection_seconds(true, merge(_detected(r, label, tried), r.duration_seconds), r.duration_seconds)
            for r, true in zip(mine, references, strict=True)
        ]
        values = segment_values(SegmentSums(*np.sum(seconds, axis=0), *[0.0] * 5))
        return -float(values["f1"]) if measure == "f1" else float(values[MEASURES[measure]])

    coarse = _least(loss, range(5, 100, 5))
    best = _least(loss, range(max(5, coarse - 4), min(95, coarse + 4) + 1))
    return best / 100, abs(loss(best / 100))


def _least(loss: Callable[[float], float], percents: range) -> int:
    """Where the loss is least; of equals, what is nearest to 50."""
    return min(percents, key=lambda percent: (round(loss(percent / 100), 12), abs(percent - 50)))
