"""Pools the scores of the rows of a recording into one score per label, with constant memory.

`pool_of(model)` returns the pool that the model asks for:

    MeanPool      the mean; for models without pooling settings
    LabelPool     for models trained on segments: for each label, the highest mean over a stretch of some length,
                  calibrated
    ClipPool      for models trained on whole clips: the mean, if the recording is about as long as the clips. In a
                  longer recording, a stretch of it may give an answer that the mean does not.

A stretch is k consecutive rows at any position. In a recording with fewer rows, it is the whole recording.
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
_SMALLEST = 1e-12  # avoids infinite log-odds at scores of 0 or 1


class ScorePool(Protocol):
    """Takes blocks of rows (rows, classes). `scores` (classes,) is the pooled result of at least one row."""

    @property
    def rows(self) -> int: ...

    def add(self, scores: Scores) -> None: ...

    def join(self, other: Self) -> None:
        """Add the rows of another pool, which directly follow these. Nothing may be added to the other one
        afterwards."""

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
    """The highest mean over `length` consecutive rows: for each class separately or, if `together`, the means of all
    classes in the stretch where one of them is highest. Stores `length` rows of the start, to join earlier rows, and of
    the end."""

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
        self.add(other.head)  # all rows of the other pool, or as many as a stretch across the border can contain
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
    """The pool for `ClipPooling`. If labels exclude each other (`together`), a part of 1 may be left for none of them.

    A recording N times as long as a stretch has N chances of a false answer. The odds of a stretch are therefore
    divided by N, as in multiple testing (Dunn 1961, "Multiple comparisons among means"). If labels exclude each other
    and the mean gives an answer (without a background it always does), the mean is used. Otherwise the higher of the
    two counts.
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
    """The pool for a `LabelPooling` of each label."""

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
    """Multiply the log-odds of the scores by `gain` and add `shift`. Scores of 1 and 0 are unchanged."""
    if np.all(np.equal(gain, 1.0)) and not np.any(shift):
        return np.asarray(scores, np.float64)
    clipped = np.clip(np.asarray(scores, np.float64), _SMALLEST, 1.0 - _SMALLEST)
    moved: _Rows = 1.0 / (1.0 + np.exp(-(gain * np.log(clipped / (1.0 - clipped)) + shift)))
    return moved


def count_rows(seconds: float, hop_seconds: float) -> int:
    return max(1, round(seconds / hop_seconds))


def pool_of(model: Model) -> Callable[[], ScorePool]:
    """Creates pools for recordings, or windows of recordings, as the model asks for."""
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
