"""The scores of a recording, row by row, as one score a label for all of it, in memory that does not grow with it.

`pool_of(model)` gives what does it as the model says:

    MeanPool      the mean; of models that say nothing
    LabelPool     of models that learned segments: of each label the highest mean over so many seconds, calibrated
    ClipPool      of models that learned whole clips: the mean while a recording is about as long as these; in a longer
                  one a stretch may have the answer that the mean has not

A stretch is k rows on end, wherever it begins. In a recording of fewer rows it is all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from audiocnn.inference.batcher import Scores
from audiocnn.model.model import Model
from audiocnn.model.pooling import ClipPooling, LabelPooling

_Rows = NDArray[np.float64]
_SMALLEST = 1e-12  # a score of 0 or 1 has no log-odds


class ScorePool(Protocol):
    """Takes rows (rows, classes) in blocks; `scores` (classes,) is what they are together, of at least one row."""

    @property
    def rows(self) -> int: ...

    def add(self, scores: Scores) -> None: ...

    def join(self, other: Self) -> None:
        """Take what another one took, whose rows follow on these. Nothing may be added to the other one then."""

    @property
    def scores(self) -> Scores: ...


class MeanPool:
    """The mean over all rows."""

    def __init__(self) -> None:
        self.rows = 0
        self.total: _Rows | float = 0.0

    def add(self, scores: Scores) -> None:
        self.total = self.total + scores.sum(axis=0, dtype=np.float64)
        self.rows += len(scores)

    def join(self, other: MeanPool) -> None:
        self.total, self.rows = self.total + other.total, self.rows + other.rows

    @property
    def mean(self) -> _Rows:
        """(classes,)."""
        return np.asarray(self.total / self.rows)

    @property
    def scores(self) -> Scores:
        return self.mean.astype(np.float32)


class LoudestStretch:
    """The highest mean over `length` rows on end: of each class for itself, or `together`, of all where one of them is
    highest. It keeps that many rows of the beginning, for what comes before, and of the end."""

    def __init__(self, length: int, together: bool = False) -> None:
        self.length, self.together = length, together
        self.head: _Rows | None = None
        self.tail: _Rows | None = None
        self.best: _Rows | None = None

    def add(self, scores: NDArray[np.floating]) -> None:
        if not len(scores):
            return
        rows = np.asarray(scores, np.float64) if self.tail is None else np.concatenate([self.tail, scores])
        if self.head is None or len(self.head) < self.length - 1:
            head = rows if self.head is None else np.concatenate([self.head, scores[: self.length]])
            self.head = head[: self.length - 1].copy()
        if len(rows) >= self.length:
            sums = np.cumsum(rows, axis=0)
            sums[self.length :] -= sums[: -self.length].copy()
            self._take(sums[self.length - 1 :] / self.length)
        self.tail = rows[max(0, len(rows) - self.length + 1) :].copy()

    def join(self, other: LoudestStretch) -> None:
        if other.head is None or other.tail is None:
            return
        self.add(other.head)  # all rows of the other one, or as many as a stretch across the border has of it
        if other.best is not None:
            self._take(other.best[None])
            self.tail = other.tail

    def _take(self, means: _Rows) -> None:
        best = means[means.max(axis=1).argmax()] if self.together else means.max(axis=0)
        if self.best is None:
            self.best = best
        elif self.together:
            self.best = best if best.max() > self.best.max() else self.best
        else:
            self.best = np.maximum(self.best, best)


class ClipPool:
    """Of `ClipPooling`. Labels that exclude each other (`together`) leave a share of 1 to none of them.

    A recording N times as long as a stretch has N chances to be taken for something that is not in it. So the odds of a
    stretch are divided by N, as those of N tests are (Dunn 1961, "Multiple comparisons among means"). Where labels
    exclude each other the mean is left where it has an answer, as it always has without a background; else the higher
    of both counts.
    """

    def __init__(self, pooling: ClipPooling, hop_seconds: float, together: bool) -> None:
        self.clip_rows = count_rows(pooling.clip_seconds, hop_seconds)
        self.together = together
        self.all = MeanPool()
        self.stretch = LoudestStretch(count_rows(pooling.pool_seconds, hop_seconds), together)

    @property
    def rows(self) -> int:
        return self.all.rows

    def add(self, scores: Scores) -> None:
        self.all.add(scores)
        self.stretch.add(scores)

    def join(self, other: ClipPool) -> None:
        self.all.join(other.all)
        self.stretch.join(other.stretch)

    @property
    def scores(self) -> Scores:
        mean, best = self.all.mean, self.stretch.best
        if best is None or self.rows <= self.clip_rows or (self.together and mean.max() >= 1.0 - mean.sum()):
            return mean.astype(np.float32)
        chances = max(1.0, self.rows / self.stretch.length)
        some = best.sum() if self.together else best
        spread = best / (some + chances * np.maximum(0.0, 1.0 - some))
        return np.asarray(spread if self.together else np.maximum(mean, spread), np.float32)


class LabelPool:
    """Of a `LabelPooling` each label."""

    def __init__(self, poolings: Sequence[LabelPooling], hop_seconds: float) -> None:
        self.rows = 0
        self.gain = np.array([own.gain for own in poolings])
        self.shift = np.array([own.shift for own in poolings])
        self.all = MeanPool()
        lengths = [None if math.isinf(own.seconds) else count_rows(own.seconds, hop_seconds) for own in poolings]
        self.stretches = [
            ([column for column, own in enumerate(lengths) if own == length], LoudestStretch(length))
            for length in dict.fromkeys(lengths)
            if length is not None
        ]

    def add(self, scores: Scores) -> None:
        self.rows += len(scores)
        self.all.add(scores)
        for columns, stretch in self.stretches:
            stretch.add(scores[:, columns])

    def join(self, other: LabelPool) -> None:
        self.rows += other.rows
        self.all.join(other.all)
        for (_, mine), (_, theirs) in zip(self.stretches, other.stretches, strict=True):
            mine.join(theirs)

    @property
    def scores(self) -> Scores:
        pooled = self.all.mean.copy()
        for columns, stretch in self.stretches:
            if stretch.best is not None:
                pooled[columns] = stretch.best
        return calibrate_scores(pooled, self.gain, self.shift).astype(np.float32)


def calibrate_scores(
    scores: NDArray[np.floating], gain: NDArray[np.float64] | float, shift: NDArray[np.float64] | float
) -> _Rows:
    """Scores whose log-odds are those of the given times `gain`, plus `shift`; they stay as they are at 1 and 0."""
    if np.all(np.equal(gain, 1.0)) and not np.any(shift):
        return np.asarray(scores, np.float64)
    clipped = np.clip(np.asarray(scores, np.float64), _SMALLEST, 1.0 - _SMALLEST)
    moved: _Rows = 1.0 / (1.0 + np.exp(-(gain * np.log(clipped / (1.0 - clipped)) + shift)))
    return moved


def count_rows(seconds: float, hop_seconds: float) -> int:
    return max(1, round(seconds / hop_seconds))


def pool_of(model: Model) -> Callable[[], ScorePool]:
    """What makes a pool for a recording, or a window of one, as the model says."""
    hop_seconds = model.geometry.hop_seconds
    if model.clip_pooling is not None:
        return partial(ClipPool, model.clip_pooling, hop_seconds, model.usual_answer == "one")
    if model.label_pooling:
        whole = LabelPooling()
        return partial(LabelPool, [model.label_pooling.get(label, whole) for label in model.labels], hop_seconds)
    return MeanPool


def clip_scores(blocks: Iterable[Scores], pool: Callable[[], ScorePool] = MeanPool) -> Scores:
    """Blocks of rows (rows, classes), at least one row -> the scores of the clip (classes,)."""
    own = pool()
    for block in blocks:
        own.add(block)
    return own.scores
