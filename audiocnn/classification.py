"""One answer for a whole clip: the mean of its scores over all positions, read as the model says.

    recording -> scores at every hop -> their mean -> the label with the highest, or all that reach their thresholds

The mean of scores is what a network is trained on where clips have labels as a whole (`Network.pooled`). It is kept as
a sum, so that memory does not grow with the recording. A long recording can have an answer for each stretch instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from audiocnn.clip_means import Stretch, StretchMeans, clip_scores
from audiocnn.detection import ScoreBlock, ScoredRecording, scoring
from audiocnn.engine import Engine, load_engine
from audiocnn.errors import RecordingError, UsageError, bare
from audiocnn.model import DEFAULT_CLASSIFIER, Model, find_model
from audiocnn.parallel import File, Reading, score_many
from audiocnn.segments import SegmentRule

__all__ = [
    "Answer", "AnswerRule", "Classification", "Classifier", "ClassifySettings", "Clip", "classify", "classify_many",
    "classify_reading", "clip_scores",
]  # fmt: skip

Scores = NDArray[np.float32]


class Answer(NamedTuple):
    """A label and its mean score over a clip."""

    label: str
    score: float


@dataclass(frozen=True)
class AnswerRule:
    """How the mean scores of a clip are read: the best label alone, or all that reach a threshold of their own.

    thresholds: one a label. Where one label is the answer, all are alike, and a best score below is no answer.
    """

    labels: tuple[str, ...]
    thresholds: tuple[float, ...]
    several: bool

    def reached(self, scores: Scores) -> tuple[Answer, ...]:
        """The labels of a clip, the best first: at most one, or any number. scores: (classes,)."""
        known = dict(zip(self.labels, self.thresholds, strict=True))
        found = self.ranked(scores, None if self.several else 1)
        return tuple(answer for answer in found if answer.score >= known[answer.label])

    def ranked(self, scores: Scores, most: int | None = None) -> tuple[Answer, ...]:
        """So many labels, or all, the highest score first; of equals that which the model names first."""
        order = np.argsort(-scores, kind="stable")[:most]
        return tuple(Answer(self.labels[column], float(scores[column])) for column in order)


@dataclass(frozen=True)
class ClassifySettings:
    """What is asked of a clip.

    threshold: in place of the model's own; None leaves those, and where one label is the answer, takes the best in any
    case. every_seconds: an answer for each stretch of this length, rather than one for all. channel: as in
    `DetectSettings`.
    """

    threshold: float | None = None
    every_seconds: float | None = None
    channel: str | int = "mix"

    def __post_init__(self) -> None:
        if self.threshold is not None and not 0.0 <= self.threshold <= 1.0:
            raise UsageError(f"--threshold {self.threshold:g}: not between 0 and 1; give a probability such as 0.5")
        if self.every_seconds is not None and not 0.0 < self.every_seconds < math.inf:
            raise UsageError(f"--every {self.every_seconds:g}: not a length of time; give seconds above 0")

    def rule(self, model: Model) -> AnswerRule:
        """How the scores of a model are read. UsageError for stretches that are shorter than its hop."""
        hop = model.geometry.hop_seconds
        if self.every_seconds is not None and self.every_seconds < hop:
            raise UsageError(f"--every {self.every_seconds:g}: {model.name} has one score each {hop:g} s; give more")
        several = model.answer == "several"
        usual = [model.thresholds.get(label, SegmentRule.threshold) if several else 0.0 for label in model.labels]
        chosen = usual if self.threshold is None else [self.threshold] * len(usual)
        return AnswerRule(model.labels, tuple(chosen), several)


@dataclass(frozen=True, eq=False)
class Clip:
    """A recording, or a stretch of one, in seconds, with its mean score of each label (classes,)."""

    rule: AnswerRule
    channel: int
    start: float
    end: float
    scores: Scores

    @property
    def labels(self) -> tuple[Answer, ...]:
        """What is in it, the best first; where labels exclude each other at most one."""
        return self.rule.reached(self.scores)

    @property
    def label(self) -> str | None:
        """The answer: the best of its labels; None where no score reaches its threshold."""
        return next((answer.label for answer in self.labels), None)

    @property
    def score(self) -> float:
        """That of the answer; where there is none, the highest there is."""
        return next((answer.score for answer in self.labels), float(self.scores.max()))

    def top(self, most: int | None = None) -> tuple[Answer, ...]:
        """So many labels, or all, the highest score first, whether or not they reach a threshold."""
        return self.rule.ranked(self.scores, most)


@dataclass(frozen=True)
class Classification:
    """The answers for one recording, channel by channel, in order of time: one, unless more were asked for.

    note: that the recording is damaged or cut short, and how far it could be read.
    """

    file: str
    duration_seconds: float
    sample_rate: int
    channels: int
    model: str
    device: str
    rule: AnswerRule
    clips: tuple[Clip, ...]
    note: str | None = None

    def __iter__(self) -> Iterator[Clip]:
        return iter(self.clips)

    @property
    def label(self) -> str | None:
        """The answer for the first clip."""
        return self.clips[0].label

    @property
    def score(self) -> float:
        """Its score."""
        return self.clips[0].score

    @property
    def labels(self) -> tuple[Answer, ...]:
        """All labels of the first clip."""
        return self.clips[0].labels

    def top(self, most: int | None = None) -> tuple[Answer, ...]:
        """The labels of the first clip by their scores, the highest first."""
        return self.clips[0].top(most)


class Classifier:
    """Scores of one recording in, answers out: each as soon as it is certain.

    It keeps none, so that a stream may be endless. count: how many there were so far.
    """

    def __init__(self, engine: Engine, settings: ClassifySettings) -> None:
        self.engine, self.every_seconds = engine, settings.every_seconds
        self.rule = settings.rule(engine.model)
        self.means: dict[int, StretchMeans] = {}
        self.count = 0

    def push(self, block: ScoreBlock) -> list[Clip]:
        """Takes the next rows of a channel; returns what is now certain."""
        if block.channel not in self.means:
            self.means[block.channel] = StretchMeans(self.engine.hop_seconds, self.every_seconds)
        return self.clips(block.channel, self.means[block.channel].push(block.scores))

    def finish(self, scored: ScoredRecording) -> list[Clip]:
        """The recording is over: what is left of each channel. RecordingError where it held nothing at all."""
        seconds = scored.duration_seconds
        left = [clip for channel, means in self.means.items() for clip in self.clips(channel, means.finish(seconds))]
        if not self.count:
            raise RecordingError(f"{scored.name}: holds no sound, so there is nothing to classify; leave it out")
        return left

    def clips(self, channel: int, stretches: Sequence[Stretch]) -> list[Clip]:
        """These as clips."""
        self.count += len(stretches)
        return [Clip(self.rule, channel, *stretch) for stretch in stretches]

    def classification(self, scored: ScoredRecording, clips: Iterable[Clip]) -> Classification:
        """A recording that is over, and its clips."""
        info = scored.recording.info
        return Classification(
            file=scored.name,
            duration_seconds=scored.duration_seconds,
            sample_rate=info.sample_rate,
            channels=info.channels,
            model=self.engine.model.name,
            device=self.engine.device,
            rule=self.rule,
            clips=tuple(sorted(clips, key=lambda clip: (clip.channel, clip.start))),
            note=scored.recording.note,
        )


def classify_reading(
    reading: Reading,
    engine: Engine,
    settings: ClassifySettings,
    progress: Callable[[ScoredRecording, ScoreBlock], object] | None = None,
) -> Classification:
    """The answers for one of many recordings. Raises RecordingError. `progress` is called after each block."""
    classifier, clips = Classifier(engine, settings), []
    for block in reading.blocks():
        clips += classifier.push(block)
        if progress is not None:
            progress(reading.scored, block)
    return classifier.classification(reading.scored, clips + classifier.finish(reading.scored))


def classify_many(
    files: Iterable[File],
    engine: Engine,
    settings: ClassifySettings | None = None,
    idle: Callable[[], object] = lambda: None,
) -> Generator[Classification | RecordingError]:
    """Each file's answers, or the error that stopped it, in order; a bad file does not stop the others.

    `files` and `idle` as for `score_many`.
    """
    if isinstance(files, str | bytes):
        raise TypeError(f"files: one name, {files!r}; give a list of names")
    settings = settings or ClassifySettings()
    settings.rule(engine.model)  # what cannot be is refused before a file is opened
    with closing(score_many(files, engine, settings.channel, idle)) as readings:
        for reading in readings:
            found: Classification | RecordingError
            try:
                found = classify_reading(reading, engine, settings)
            except RecordingError as problem:
                found = bare(problem)
            yield found


def classify(
    file: str | Path | BinaryIO,
    model: str | Path = DEFAULT_CLASSIFIER,
    settings: ClassifySettings | None = None,
    device: str = "auto",
) -> Classification:
    """What one recording is, as the model says.

    >>> found = audiocnn.classify("seven.wav", model="digits")
    >>> found.label, found.score
    ('seven', 0.98)
    """
    settings, engine = settings or ClassifySettings(), load_engine(find_model(model), device)
    classifier = Classifier(engine, settings)
    with scoring(file, engine, settings.channel) as scored:
        clips = [clip for block in scored.blocks() for clip in classifier.push(block)]
        return classifier.classification(scored, clips + classifier.finish(scored))
