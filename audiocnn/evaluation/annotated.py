"""Scores the entries of a dataset and evaluates them: `evaluate`, or `score_entries` for the scores alone.

Recordings with known segments are evaluated by `segments`, entries with labels for the whole clip by `clips`.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from audiocnn.audio.channels import mix_rows
from audiocnn.data.dataset import Dataset, Entry
from audiocnn.data.parts import is_of_split
from audiocnn.errors import AudiocnnError, DatasetError, did_you_mean, format_command, show_name
from audiocnn.evaluation.clips import ScoredClip, evaluate_clips
from audiocnn.evaluation.operating_points import measure_rules
from audiocnn.evaluation.results import AnswerMode, Evaluation, EvaluationSettings
from audiocnn.evaluation.segments import JudgedRecording, evaluate_scores
from audiocnn.inference.classify import thresholds_of_clips
from audiocnn.inference.engine import Engine
from audiocnn.inference.pooling import MeanPool, ScorePool, clip_scores, pool_of
from audiocnn.labels.formats.columns import LABEL_OPTION
from audiocnn.labels.mapping import MAP_OPTION
from audiocnn.model.model import split_outputs
from audiocnn.segments.finder import FindSegments, SegmentRule, find_segments
from audiocnn.segments.onset_offset import Localiser
from audiocnn.segments.segment import is_background_label

_NAMED_LABELS = 5  # in a message


@dataclass(frozen=True)
class Scorer:
    """The parts of a model that `evaluate` needs. Its score function: (channels, samples) float32 -> (rows, classes).

    sample_rate: the input rate of the function. labels: of the classes, in order; each has a rule. jobs: number of
    recordings that may be scored at once, in threads. find: converts scores to segments, for a detector that does it in
    its own way. answer: how the scores of whole clips are read. localiser: whether edges follow the scores,
    (rows, outputs). points: the rules of operating points by name, for labels that have them. background: a clip may
    have none of the labels. pool: creates the pool for the scores of a whole clip. clip_thresholds: thresholds of
    pooled scores by label; if empty, those of the rules are used.
    """

    score: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    sample_rate: int
    hop_seconds: float
    labels: Sequence[str]
    rules: Mapping[str, SegmentRule]
    jobs: int = 1
    find: FindSegments = find_segments
    answer: AnswerMode = "one"
    localiser: Localiser | None = None
    points: Mapping[str, Mapping[str, SegmentRule]] = field(default_factory=dict)
    background: bool = False
    pool: Callable[[], ScorePool] = MeanPool
    clip_thresholds: Mapping[str, float] = field(default_factory=dict)


def engine_scorer(
    engine: Engine, rules: Mapping[str, SegmentRule] | None = None, thresholds: Sequence[float] = ()
) -> Scorer:
    """A scorer for an engine. Its function takes any number of channels, as the network does. rules, thresholds (for
    whole clips, in the order of the labels): the model's own by default."""
    model, wanted, sample_rate = engine.model, engine.channels, engine.geometry.sample_rate

    def score(samples: NDArray[np.float32]) -> NDArray[np.float32]:
        if wanted == 1 and len(samples) > 1:
            samples = mix_rows(samples, sample_rate)
        elif wanted > len(samples):
            samples = samples.repeat(wanted, axis=0)
        return engine.outputs(samples)

    return Scorer(
        score,
        sample_rate,
        engine.hop_seconds,
        model.labels,
        rules or {label: model.rule(label) for label in model.labels},
        2 * engine.jobs,  # twice the threads of the network, so that clips of one length can wait and form a batch
        answer="several" if model.answer == "several" else "one",
        localiser=model.localiser,
        points={label: {name: model.rule(label, name) for name in own} for label, own in model.points.items()},
        background=model.background,
        pool=pool_of(model),
        clip_thresholds=dict(zip(model.labels, thresholds or thresholds_of_clips(model), strict=True)),
    )


@dataclass(frozen=True)
class EvaluationProgress:
    """Entry `done` of `total` was scored, or failed with `error`. The last progress has the evaluation."""

    done: int
    total: int
    filename: str
    seconds: float
    error: str | None = None
    evaluation: Evaluation | None = None


def evaluate(
    dataset: Dataset, scorer: Scorer, settings: EvaluationSettings | None = None, split: str | None = None
) -> Iterator[EvaluationProgress]:
    """Score the annotated or labelled entries of a dataset (or of one split) and evaluate them. To use only some of the
    entries: `dataset.with_entries(entries)`.

    Raises DatasetError if there is nothing to evaluate, if the dataset and the model share no label, or if nothing
    could be scored.
    """
    unknown = find_unknown_labels(dataset, scorer, split)
    recordings: list[JudgedRecording] = []
    clips: list[ScoredClip] = []
    failures = []
    for step, scored in score_entries(dataset, scorer, split):
        if step.error is not None:
            failures.append((step.filename, step.error))
        elif isinstance(scored, JudgedRecording):
            recordings.append(scored)
        elif scored is not None:
            clips.append(scored)
        yield step
    settings = settings or EvaluationSettings()
    # If nobody marked music, it is not known to be absent. So such a label is not evaluated.
    known = [label for label in scorer.labels if label in dataset.labels] or None
    evaluation = evaluate_scores(recordings, scorer.labels, scorer.rules, settings, known)
    measured = {
        label: replace(found, points=measure_rules([recordings], scorer.labels, label, scorer.points[label]))
        for label, found in evaluation.labels.items()
        if label in scorer.points
    }
    evaluation = replace(evaluation, labels=evaluation.labels | measured)
    how = (scorer.answer, known, scorer.background)
    thresholds = scorer.clip_thresholds or {label: rule.threshold for label, rule in scorer.rules.items()}
    clip = evaluate_clips(clips, scorer.labels, thresholds, settings, *how) if clips else None
    evaluation = replace(evaluation, clip=clip, failures=tuple(failures), unknown=unknown)
    yield EvaluationProgress(step.total, step.total, "", 0.0, evaluation=evaluation)


def find_unknown_labels(
    dataset: Dataset, scorer: Scorer, split: str | None = None, name: str = "the model"
) -> dict[str, int]:
    """Labels of the evaluated data that the scorer does not know -> number of clips and annotations, largest first.
    Labels that mean background count as none of the labels, if a clip may have none.

    Raises DatasetError if the recordings have labels but the scorer knows none of them, because the results would mean
    nothing. `name` is the name of the model in the message.
    """
    counts = Counter[str]()
    entries = _entries(dataset, split)
    for entry in entries:
        counts.update(entry.labels if not entry.annotated else ())
        counts.update(note.label for note in dataset.annotations(entry) if note.label != dataset.unsure)
    may_be_none = scorer.background or scorer.answer == "several" or len(scorer.labels) == 1
    strange = [one for one in counts if one not in scorer.labels]
    unknown = [one for one in strange if not (may_be_none and is_background_label(one))]
    if unknown and len(unknown) == len(counts) and not set(scorer.labels) & set(dataset.labels):
        theirs, ours = _named(unknown), _named(scorer.labels)
        what = f"has no label that {name} knows ({ours}), only {theirs}"
        near = did_you_mean(unknown[0], scorer.labels)
        hint = f"{near} " if near.startswith("did") else ""
        mapping = format_command([MAP_OPTION, f"{unknown[0]}={scorer.labels[0]}"])
        rename = f"if one of them means {scorer.labels[0]}, map it with {mapping}"
        remedy = f"{hint}{rename}, name their column with {LABEL_OPTION}, or use a model with these labels"
        raise DatasetError(f"{dataset.folder}: {what}; {remedy}")
    return dict(sorted(((one, counts[one]) for one in unknown), key=lambda pair: (-pair[1], pair[0])))


def _named(labels: Sequence[str]) -> str:
    return ", ".join(map(show_name, labels[:_NAMED_LABELS])) + (", ..." if len(labels) > _NAMED_LABELS else "")


def score_entries(
    dataset: Dataset, scorer: Scorer, split: str | None = None, kept: dict[str, NDArray[np.float32]] | None = None
) -> Iterator[tuple[EvaluationProgress, JudgedRecording | ScoredClip | None]]:
    """The scores of each entry with a known reference, together with the reference; None if scoring failed. kept:
    scores from earlier, by recording name; new ones are added.

    Raises DatasetError if there is no such entry, and at the end if none could be scored.
    """
    entries = _entries(dataset, split)
    first: AudiocnnError | None = None
    failed = 0
    for done, (entry, scores) in enumerate(_scored(dataset, entries, scorer, kept), start=1):
        error: str | None = None
        scored: JudgedRecording | ScoredClip | None = None
        if isinstance(scores, AudiocnnError):
            error, first, failed = str(scores), first or scores, failed + 1
        elif entry.annotated:
            scored = _recording(dataset, entry, scores, scorer)
        else:
            scored = _clip(entry, split_outputs(scores, len(scorer.labels))[0], scorer)
        yield EvaluationProgress(done, len(entries), entry.filename, dataset.duration_seconds(entry), error), scored
    if failed == len(entries):
        raise DatasetError(f"{dataset.folder}: none of the recordings could be scored; the first problem: {first}")


def _entries(dataset: Dataset, split: str | None) -> list[Entry]:
    entries = [entry for entry in dataset.entries if split is None or is_of_split(entry.split, split)]
    if not entries:
        splits = {entry.split for entry in dataset.entries if entry.split is not None}
        hint = did_you_mean(split or "", splits) if splits else "it has no splits"
        what = "no recordings" if split is None else f'no recordings in split "{split}"; {hint}'
        raise DatasetError(f"{dataset.folder}: {what}")
    # If clips may have any number of labels, a clip without labels was listened to as well.
    judged = [entry for entry in entries if entry.annotated or entry.label is not None or dataset.several]
    if not judged:
        remedy = "ingest them with segments or labels"
        raise DatasetError(f"{dataset.folder}: no recording has a reference label; {remedy}")
    return judged


def _scored(
    dataset: Dataset,
    entries: Sequence[Entry],
    scorer: Scorer,
    kept: dict[str, NDArray[np.float32]] | None = None,
) -> Iterator[tuple[Entry, NDArray[np.float32] | AudiocnnError]]:
    """The scores of each entry in order, or the error. `jobs` entries are scored at once, and the same number may wait
    to be taken."""

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
    samples = dataset.waveform(entry)
    if dataset.sample_rate == sample_rate:
        return samples
    import soxr

    resampled: NDArray[np.float32] = soxr.resample(samples.T, dataset.sample_rate, sample_rate).T
    return np.ascontiguousarray(resampled)


def _recording(dataset: Dataset, entry: Entry, scores: NDArray[np.float32], scorer: Scorer) -> JudgedRecording:
    seconds, annotations = dataset.duration_seconds(entry), dataset.annotations(entry)
    hop_seconds, tags, find = scorer.hop_seconds, entry.tags, scorer.find
    scores, edges = split_outputs(scores, len(scorer.labels))
    if edges is not None and scorer.localiser is not None:
        find = scorer.localiser.find(edges, scorer.labels)
    unsure = [(note.onset, note.offset) for note in annotations if dataset.unsure and note.label == dataset.unsure]
    annotations = [note for note in annotations if not dataset.unsure or note.label != dataset.unsure]
    return JudgedRecording(entry.filename, scores, hop_seconds, seconds, annotations, tags, find, entry.group, unsure)


def _clip(entry: Entry, scores: NDArray[np.float32], scorer: Scorer) -> ScoredClip:
    pooled = clip_scores([scores], scorer.pool)
    return ScoredClip(entry.filename, pooled, entry.label or "", entry.group, entry.labels, entry.tags)
