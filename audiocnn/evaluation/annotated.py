"""Scores the entries of a dataset, and judges them: `evaluate`, and `score_entries` for the scores alone.

Recordings whose segments are known are judged by `segments`, entries that are labelled as a whole by `clips`.
"""

from __future__ import annotations

import shlex
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from audiocnn.audio.channels import mix_rows
from audiocnn.data.dataset import Dataset, Entry
from audiocnn.data.parts import is_of_split
from audiocnn.errors import AudiocnnError, DatasetError, did_you_mean, show_name
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
    """What `evaluate` needs of a model: its score function, (channels, samples) float32 -> (rows, classes).

    sample_rate: what the function wants. labels: of the classes, in order; each has a rule. jobs: how many recordings
    may be scored at a time, in threads. find: how scores become segments, where a detector has a way of its own.
    answer: how the scores of whole clips are read. localiser: where edges come behind the scores, (rows, outputs).
    points: of labels that have operating points, their rules by name. background: a clip may be none of the labels.
    pool: makes what pools the scores of a whole clip. clip_thresholds: of these, by label; empty: those of the rules.
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
    """What evaluates a model: its score function takes any number of channels, as the network wants them. rules,
    thresholds (of whole clips, in the order of the labels): the model's own unless given."""
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
        2 * engine.jobs,  # twice as many as the network has threads: clips of one length wait together, and are a batch
        answer="several" if model.answer == "several" else "one",
        localiser=model.localiser,
        points={label: {name: model.rule(label, name) for name in own} for label, own in model.points.items()},
        background=model.background,
        pool=pool_of(model),
        clip_thresholds=dict(zip(model.labels, thresholds or thresholds_of_clips(model), strict=True)),
    )


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

    Raises DatasetError where there is nothing to judge, not one label that is known to both, or nothing that could be
    scored.
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
    # Where nobody marked music, none is known to be missing: such a label is not judged.
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
    """Labels of what is judged that a scorer does not know -> how many clips and annotations have them, the most first.
    What is called background counts as none of the labels, where a clip may be none.

    Raises DatasetError where the recordings have labels, and not one that the scorer knows: figures would stand on
    nothing. `name` is what the message calls it.
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
        rename = f"map the labels with {MAP_OPTION} {shlex.quote(f'{unknown[0]}={scorer.labels[0]}')}"
        remedy = f"{hint}{rename}, name their column with {LABEL_OPTION}, or use a model with these labels"
        raise DatasetError(f"{dataset.folder}: {what}; {remedy}")
    return dict(sorted(((one, counts[one]) for one in unknown), key=lambda pair: (-pair[1], pair[0])))


def _named(labels: Sequence[str]) -> str:
    return ", ".join(map(show_name, labels[:_NAMED_LABELS])) + (", ..." if len(labels) > _NAMED_LABELS else "")


def score_entries(
    dataset: Dataset, scorer: Scorer, split: str | None = None, kept: dict[str, NDArray[np.float32]] | None = None
) -> Iterator[tuple[EvaluationProgress, JudgedRecording | ScoredClip | None]]:
    """The scores of each entry whose answer is known, with what is known of it; None where it could not be scored.
    kept: scores of an earlier time, by the name of the recording; what is not there is added.

    Raises DatasetError where there is none, and at the end where not one could be scored.
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
    # Where clips have any number of labels, one without has been listened to as well.
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
    """The scores of each entry in order, or the error; `jobs` are scored at a time, and as many again wait to be
    taken."""

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
