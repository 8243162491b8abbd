"""Scores and annotations to figures with intervals: what `evaluate` reports, what thresholds are tuned by.

`evaluate` scores a dataset and judges it: recordings whose segments are known by `judging`, entries that have one label
for the whole clip by `clips`. `metrics` defines the figures, `resampling` their intervals.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from audiocnn.clip_evaluation import Answer
from audiocnn.clip_means import clip_scores
from audiocnn.clips import ScoredClip, evaluate_clips
from audiocnn.dataset import Dataset, Entry
from audiocnn.errors import AudiocnnError, DatasetError, did_you_mean
from audiocnn.figures import Evaluation, EvaluationSettings
from audiocnn.intervals import merge
from audiocnn.judging import ScoredRecording, detected_in, evaluate_scores, reference_of
from audiocnn.localising import Localiser, apart
from audiocnn.metrics import SegmentSums, detection_seconds, segment_values
from audiocnn.segments import FindSegments, SegmentRule, find_segments

__all__ = ["ScoredRecording", "Scorer", "evaluate", "evaluate_scores", "tune_threshold"]

Measure = Literal["detection_cost", "detection_error", "f1"]
MEASURES = {"detection_cost": "detection_cost", "detection_error": "detection_error_rate", "f1": "f1"}


@dataclass(frozen=True)
class Scorer:
    """What `evaluate` needs of a model: its score function, (channels, samples) float32 -> (rows, classes).

    sample_rate: what the function wants. labels: of the classes, in order; each has a rule. jobs: how many recordings
    may be scored at a time, in threads. find: how scores become segments, where a detector has a way of its own.
    answer: how the scores of whole clips are read. localiser: where edges come behind the scores, (rows, outputs).
    """

    score: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    sample_rate: int
    hop_seconds: float
    labels: Sequence[str]
    rules: Mapping[str, SegmentRule]
    jobs: int = 1
    find: FindSegments = find_segments
    answer: Answer = "one"
    localiser: Localiser | None = None


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
    """Scores what is annotated or labelled in a dataset (or one split of it), then judges it. For some of the entries
    alone: `dataset.with_entries(entries)`.

    Raises DatasetError where there is nothing to judge, or nothing that could be scored.
    """
    recordings: list[ScoredRecording] = []
    clips: list[ScoredClip] = []
    failures: list[tuple[str, str]] = []
    for step, scored in score_entries(dataset, scorer, split):
        if step.error is not None:
            failures.append((step.filename, step.error))
        elif isinstance(scored, ScoredRecording):
            recordings.append(scored)
        elif scored is not None:
            clips.append(scored)
        yield step
    settings = settings or EvaluationSettings()
    # Where nobody marked music, none is known to be missing: such a label is not judged.
    known = [label for label in scorer.labels if label in dataset.labels] or None
    evaluation = evaluate_scores(recordings, scorer.labels, scorer.rules, settings, known)
    clip = evaluate_clips(clips, scorer.labels, scorer.rules, settings, scorer.answer, known) if clips else None
    evaluation = replace(evaluation, clip=clip, failures=tuple(failures))
    yield EvaluationProgress(step.total, step.total, "", 0.0, evaluation=evaluation)


def score_entries(
    dataset: Dataset, scorer: Scorer, split: str | None = None, kept: dict[str, NDArray[np.float32]] | None = None
) -> Iterator[tuple[EvaluationProgress, ScoredRecording | ScoredClip | None]]:
    """The scores of each entry whose answer is known, with what is known of it; None where it could not be scored.
    kept: scores of an earlier time, by the name of the recording; what is not there is added.

    Raises DatasetError where there is none, and at the end where not one could be scored.
    """
    entries = _entries(dataset, split)
    first: AudiocnnError | None = None
    failed = 0
    for done, (entry, scores) in enumerate(_scored(dataset, entries, scorer, kept), start=1):
        error: str | None = None
        scored: ScoredRecording | ScoredClip | None = None
        if isinstance(scores, AudiocnnError):
            error, first, failed = str(scores), first or scores, failed + 1
        elif entry.annotated:
            scored = _recording(dataset, entry, scores, scorer)
        else:
            scored = _clip(entry, apart(scores, len(scorer.labels))[0])
        yield EvaluationProgress(done, len(entries), entry.filename, dataset.duration_seconds(entry), error), scored
    if failed == len(entries):
        raise DatasetError(f"{dataset.folder}: not one recording could be scored; the first: {first}")


def _entries(dataset: Dataset, split: str | None) -> list[Entry]:
    entries = [entry for entry in dataset.entries if split is None or entry.split == split]
    if not entries:
        splits = {entry.split for entry in dataset.entries if entry.split is not None}
        hint = did_you_mean(split or "", splits) if splits else "it has no splits"
        what = "no recordings" if split is None else f'no recordings in split "{split}"; {hint}'
        raise DatasetError(f"{dataset.folder}: {what}")
    # Where clips have any number of labels, one without has been listened to as well.
    judged = [entry for entry in entries if entry.annotated or entry.label is not None or dataset.several]
    if not judged:
        remedy = "ingest them with segments or labels"
        raise DatasetError(f"{dataset.folder}: no recording says what is in it; {remedy}")
    return judged


def _scored(
    dataset: Dataset,
    entries: Sequence[Entry],
    scorer: Scorer,
    kept: dict[str, NDArray[np.float32]] | None = None,
) -> Iterator[tuple[Entry, NDArray[np.float32] | AudiocnnError]]:
    """The scores of each, or why there are none, in order; `jobs` at a time, as many again wait to be taken."""

    def score(entry: Entry) -> NDArray[np.float32] | AudiocnnError:
        if kept is not None and entry.filename in kept:
            return kept[entry.filename]
        try:
            scores = scorer.score(_samples(dataset, entry, scorer.sample_rate))
            if kept is not None:
                kept[entry.filename] = scores
            return scores
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


def _recording(dataset: Dataset, entry: Entry, scores: NDArray[np.float32], scorer: Scorer) -> ScoredRecording:
    seconds, annotations = dataset.duration_seconds(entry), dataset.annotations(entry)
    hop_seconds, tags, find = scorer.hop_seconds, entry.tags, scorer.find
    scores, edges = apart(scores, len(scorer.labels))
    if edges is not None and scorer.localiser is not None:
        find = scorer.localiser.find(edges, scorer.labels)
    return ScoredRecording(entry.filename, scores, hop_seconds, seconds, annotations, tags, find, entry.group)


def _clip(entry: Entry, scores: NDArray[np.float32]) -> ScoredClip:
    means = clip_scores([scores])
    return ScoredClip(entry.filename, means, entry.label or "", entry.group, entry.labels, entry.tags)


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
    references = [merge(reference_of(recording, label), recording.duration_seconds) for recording in mine]
    if not any(len(reference) for reference in references):
        raise DatasetError(f'no recording to tune on has "{label}"; give annotated ones, or a threshold')

    def loss(threshold: float) -> float:
        lower = None if rule.neg_threshold is None else min(rule.neg_threshold, threshold)
        tried = replace(rule, threshold=threshold, neg_threshold=lower)
        seconds = [
            detection_seconds(true, merge(detected_in(r, label, tried), r.duration_seconds), r.duration_seconds)
            for r, true in zip(mine, references, strict=True)
        ]
        values = segment_values(SegmentSums(*np.sum(seconds, axis=0)))
        return -float(values["f1"]) if measure == "f1" else float(values[MEASURES[measure]])

    coarse = _least(loss, range(5, 100, 5))
    best = _least(loss, range(max(5, coarse - 4), min(95, coarse + 4) + 1))
    return best / 100, abs(loss(best / 100))


def _least(loss: Callable[[float], float], percents: range) -> int:
    """Where the loss is least; of equals, what is nearest to 50."""
    return min(percents, key=lambda percent: (round(loss(percent / 100), 12), abs(percent - 50)))
