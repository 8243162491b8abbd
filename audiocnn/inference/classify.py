"""One answer for a whole clip: the scores at every hop are pooled, and the model's rule turns them into labels.

    recording -> scores at every hop -> one per label -> the label with the highest, or all that reach their thresholds

`inference.pooling` does the pooling. A long recording can instead be answered window by window.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np

from audiocnn.audio.arrays import AnyArray
from audiocnn.audio.recording import Selection
from audiocnn.errors import RecordingError, UsageError
from audiocnn.inference.batcher import Scores
from audiocnn.inference.engine import Engine, engine_of, load_engine
from audiocnn.inference.frames import data_frame
from audiocnn.inference.pooling import MeanPool, ScorePool, pool_of
from audiocnn.inference.scores import (
    RecordingLike,
    RecordingResult,
    ScoreBlock,
    ScoredRecording,
    follow_results,
    map_many,
    scoring,
)
from audiocnn.model.model import DEFAULT_CLASSIFIER, Model, ModelLike, Thresholds, find_model, threshold_of_each
from audiocnn.progress import ProgressCallback
from audiocnn.units import round_seconds

if TYPE_CHECKING:
    import pandas


class Window(NamedTuple):
    """Start and end in seconds, and the scores (classes,) of the window."""

    start: float
    end: float
    scores: Scores


class WindowScores:
    """The scores of the windows of one channel, each as soon as it is final. `every_seconds` None: one window for the
    whole recording. pool: creates the pool for the rows of a window.

    A row belongs to the window that contains its middle. The remainder at the end is a window of its own if it has at
    least half as many rows as the others; otherwise it is added to the previous window.
    """

    def __init__(
        self, hop_seconds: float, every_seconds: float | None, pool: Callable[[], ScorePool] = MeanPool
    ) -> None:
        self.hop_seconds, self.every_seconds, self.pool = hop_seconds, every_seconds, pool
        self.number = 0  # of the window of the next row
        self.row = 0
        self.now = pool()
        self.full: ScorePool | None = None  # the previous window, to which the remainder at the end may be added

    def push(self, scores: Scores) -> list[Window]:
        """Add the next rows (rows, classes). Returns the windows that are now final."""
        certain = []
        while len(scores):
            first, end = self._first_row(self.number), self._first_row(self.number + 1)
            part, scores = scores[: end - self.row], scores[end - self.row :]
            self.now.add(part)
            self.row += len(part)
            if self.full is not None and 2 * self.now.rows >= end - first:
                certain.append(self._window(self.number - 1, self.number, self.full))
                self.full = None
            if self.row == end:
                self.number, self.full, self.now = self.number + 1, self.now, self.pool()
        return certain

    def finish(self, duration_seconds: float) -> list[Window]:
        """The remaining windows, given the end of the recording. Nothing may be pushed afterwards."""
        left, number = self.now, self.number
        if self.full is not None:
            self.full.join(left)
            left, number = self.full, self.number - 1
        return [self._window(number, None, left, duration_seconds)] if left.rows else []

    def _window(self, number: int, end: int | None, pool: ScorePool, duration_seconds: float = 0.0) -> Window:
        """A finished window. The last one ends with the recording."""
        every = self.every_seconds or 0.0
        return Window(number * every, duration_seconds if end is None else end * every, pool.scores)

    def _first_row(self, number: int) -> int:
        if self.every_seconds is None:
            return sys.maxsize if number else 0
        return math.ceil(number * self.every_seconds / self.hop_seconds - 0.5)


class LabelScore(NamedTuple):
    label: str
    score: float


@dataclass(frozen=True)
class AnswerRule:
    """How the scores of a clip become its labels: the best label only, or every label that reaches its threshold.

    thresholds: one per label. If only one label is the answer and its score is below its threshold, there is no answer.
    background: there is also no answer if "none of these" (1 minus the sum of the scores) has a higher share.
    """

    labels: tuple[str, ...]
    thresholds: tuple[float, ...]
    several: bool
    background: bool = False

    def reached(self, scores: Scores) -> tuple[LabelScore, ...]:
        """The labels of a clip, best first: at most one, or any number. scores: (classes,)."""
        known = dict(zip(self.labels, self.thresholds, strict=True))
        found = self.ranked(scores, None if self.several else 1)
        if self.background and found[0].score < 1.0 - float(scores.sum()):
            return ()
        return tuple(answer for answer in found if answer.score >= known[answer.label])

    def ranked(self, scores: Scores, most: int | None = None) -> tuple[LabelScore, ...]:
        """The labels by score, highest first, at most `most`. Ties keep the model's order."""
        order = np.argsort(-scores, kind="stable")[:most]
        return tuple(LabelScore(self.labels[column], float(scores[column])) for column in order)


@dataclass(frozen=True)
class ClassifySettings:
    """Settings of `classify`.

    - `threshold`: replaces the thresholds of the model, for all labels or by label, as in `DetectSettings`. If None, a
      model with one answer per clip returns the best label regardless of its score.
    - `every_seconds`: one answer for each window of this length, instead of one for the whole recording.
    - `channel`, `sensitivity`: as in `DetectSettings`.
    """

    threshold: Thresholds = None
    every_seconds: float | None = None
    channel: str | int = "mix"
    sensitivity: str | None = None

    def __post_init__(self) -> None:
        given = self.threshold.values() if isinstance(self.threshold, Mapping) else [self.threshold]
        wrong = [value for value in given if value is not None and not 0.0 <= value <= 1.0]
        if wrong:
            raise UsageError(f"--threshold {wrong[0]:g}: not between 0 and 1; give a probability such as 0.5")
        if self.every_seconds is not None and not 0.0 < self.every_seconds < math.inf:
            raise UsageError(f"--every {self.every_seconds:g}: not a valid duration; give a number of seconds above 0")

    def rule(self, model: Model) -> AnswerRule:
        """The rule that turns scores of a model into answers. Raises UsageError for windows shorter than the hop of the
        model, and for an operating point that it does not have."""
        hop = model.geometry.hop_seconds
        if self.every_seconds is not None and self.every_seconds < hop:
            raise UsageError(f"--every {self.every_seconds:g}: {model.name} gives one score every {hop:g} s; give more")
        several = model.answer == "several"
        model.check_sensitivity(self.sensitivity)
        if self.sensitivity is not None and not several:
            what = f"{model.name} always answers with the label that scores highest"
            raise UsageError(f"--sensitivity {self.sensitivity}: {what}; remove the option")
        chosen = thresholds_of_clips(model, self.threshold, self.sensitivity)
        if not several:
            chosen = tuple(given or 0.0 for given in threshold_of_each(self.threshold, model.labels))
        return AnswerRule(model.labels, chosen, several, model.background)


def thresholds_of_clips(
    model: Model, threshold: Thresholds = None, sensitivity: str | None = None
) -> tuple[float, ...]:
    """The threshold of each label for whole clips: the given one, else the model's."""
    given = zip(model.labels, threshold_of_each(threshold, model.labels), strict=True)
    return tuple(model.clip_threshold(label, sensitivity) if own is None else own for label, own in given)


@dataclass(frozen=True, eq=False)
class Clip:
    """A recording or a window of one: its times in seconds, and the score of each label (classes,)."""

    rule: AnswerRule
    channel: int
    start: float
    end: float
    scores: Scores

    @property
    def labels(self) -> tuple[LabelScore, ...]:
        """All labels of the answer, the best first; at most one if labels exclude each other."""
        return self.rule.reached(self.scores)

    @property
    def label(self) -> str | None:
        """The answer: the best of `labels`; None if no score reaches its threshold."""
        return next((answer.label for answer in self.labels), None)

    @property
    def score(self) -> float:
        """The score of the answer, or the highest score if there is none."""
        return next((answer.score for answer in self.labels), float(self.scores.max()))

    @property
    def none_score(self) -> float | None:
        """The probability that the clip has none of the labels; None if the model does not estimate it."""
        return max(0.0, 1.0 - float(self.scores.sum())) if self.rule.background else None

    def top(self, most: int | None = None) -> tuple[LabelScore, ...]:
        """The given number of labels, or all, the highest score first, whether or not they reach a threshold."""
        return self.rule.ranked(self.scores, most)


@dataclass(frozen=True)
class Classification(RecordingResult):
    """The answers for one recording, channel by channel, in order of time. There is one per channel unless
    `every_seconds` asks for more.

    - `note`: that the recording is damaged or cut short, and how far it could be read.
    - `remarks`: other observations about a recording that was read completely.
    """

    rule: AnswerRule
    clips: tuple[Clip, ...]
    note: str | None = None
    remarks: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Clip]:
        return iter(self.clips)

    @property
    def label(self) -> str | None:
        """The answer for the first clip."""
        return self.clips[0].label

    @property
    def score(self) -> float:
        return self.clips[0].score

    @property
    def labels(self) -> tuple[LabelScore, ...]:
        return self.clips[0].labels

    def to_dataframe(self) -> pandas.DataFrame:
        """One row per answer: file, channel, start, end, label, score. Raises UsageError without pandas."""
        clips = self.clips
        return data_frame(
            {
                "file": [self.file] * len(clips),
                "channel": [one.channel for one in clips],
                "start": [one.start for one in clips],
                "end": [one.end for one in clips],
                "label": [one.label for one in clips],
                "score": [one.score for one in clips],
            }
        )

    def top(self, most: int | None = None) -> tuple[LabelScore, ...]:
        """The labels of the first clip, the highest score first."""
        return self.clips[0].top(most)


class Classifier:
    """Scores of one recording in, answers out, each as soon as it is certain.

    It keeps none, so that a stream may be endless. count: how many there were so far.
    """

    def __init__(self, engine: Engine, settings: ClassifySettings) -> None:
        self.engine, self.every_seconds = engine, settings.every_seconds
        self.rule = settings.rule(engine.model)
        self.pool = pool_of(engine.model)
        self.windows: dict[int, WindowScores] = {}
        self.count = 0

    def push(self, block: ScoreBlock) -> list[Clip]:
        if block.channel not in self.windows:
            self.windows[block.channel] = WindowScores(self.engine.hop_seconds, self.every_seconds, self.pool)
        return self._clips(block.channel, self.windows[block.channel].push(block.scores), block.start_seconds)

    def finish(self, scored: ScoredRecording) -> list[Clip]:
        """What is left of each channel at the end of the recording. RecordingError where it held nothing at all."""
        seconds, start = scored.duration_seconds, scored.start_seconds
        left = [
            clip for channel, own in self.windows.items() for clip in self._clips(channel, own.finish(seconds), start)
        ]
        if not self.count:
            raise RecordingError(
                f"{scored.name}: contains no sound, so there is nothing to classify; remove it from the list"
            )
        return left

    def _clips(self, channel: int, windows: Sequence[Window], start_seconds: float) -> list[Clip]:
        self.count += len(windows)
        return [
            Clip(
                self.rule,
                channel,
                round_seconds(start_seconds + window.start),
                round_seconds(start_seconds + window.end),
                window.scores,
            )
            for window in windows
        ]

    def classification(self, scored: ScoredRecording, clips: Iterable[Clip]) -> Classification:
        found = sorted(clips, key=lambda clip: (clip.channel, clip.start))
        return Classification(**scored.facts(), rule=self.rule, clips=tuple(found))


def classify_scored(
    scored: ScoredRecording,
    settings: ClassifySettings,
    progress: Callable[[ScoredRecording, ScoreBlock], object] | None = None,
) -> Classification:
    """The answers for an open recording. Raises RecordingError. `progress` is called after each block of scores."""
    classifier = Classifier(scored.engine, settings)
    return classifier.classification(scored, scored.results(classifier, progress))


def classify(
    file: str | Path | BinaryIO | AnyArray,
    model: ModelLike = DEFAULT_CLASSIFIER,
    settings: ClassifySettings | None = None,
    device: str = "auto",
    *,
    sample_rate: int | None = None,
    start_seconds: float = 0.0,
    end_seconds: float | None = None,
    track: int | None = None,
) -> Classification:
    """Classify one recording, or an excerpt of it, with a model. `file` and `sample_rate` are as in `detect`. Raises
    RecordingError.

    >>> found = audiocnn.classify("seven.wav", model="digits")
    >>> found.label, found.score
    ('seven', 0.98)
    """
    settings, excerpt = settings or ClassifySettings(), Selection(start_seconds, end_seconds, track)
    engine = load_engine(find_model(model), device)
    settings.rule(engine.model)  # what cannot be is refused before the file is opened
    with scoring(file, engine, settings.channel, excerpt=excerpt, sample_rate=sample_rate) as scored:
        return classify_scored(scored, settings)


def classify_many(
    files: Iterable[RecordingLike],
    engine: Engine | ModelLike = DEFAULT_CLASSIFIER,
    settings: ClassifySettings | None = None,
    idle: Callable[[], object] = lambda: None,
    progress: ProgressCallback | None = None,
) -> Generator[Classification | RecordingError]:
    """Classify many files: returns the answers for each, or the error that stopped it, in order. A bad file does not
    stop the others.

    `engine`, `files`, `idle` and `progress` are as in `detect_many`.
    """
    settings, engine = settings or ClassifySettings(), engine_of(engine)
    settings.rule(engine.model)  # what cannot be is refused before a file is opened
    found = map_many(lambda scored: classify_scored(scored, settings), files, engine, settings.channel, idle)
    yield from follow_results(found, files, "classify", progress)
