"""The mean score of a clip, or of each stretch of a long recording, from scores that come in blocks."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float32]


class MeanScore:
    """A mean over rows that come in blocks, in constant memory."""

    def __init__(self) -> None:
        self.rows = 0
        self.total: NDArray[np.float64] | float = 0.0

    def add(self, scores: Scores) -> None:
        """More rows (rows, classes)."""
        self.total = self.total + scores.sum(axis=0, dtype=np.float64)
        self.rows += len(scores)

    def join(self, other: MeanScore) -> None:
        """All rows of another."""
        self.total, self.rows = self.total + other.total, self.rows + other.rows

    @property
    def mean(self) -> Scores:
        """(classes,)."""
        return np.asarray(self.total / self.rows, np.float32)


def clip_scores(blocks: Iterable[Scores]) -> Scores:
    """Blocks of rows (rows, classes), at least one row -> the scores of the clip (classes,), their mean."""
    mean = MeanScore()
    for block in blocks:
        mean.add(block)
    return mean.mean


class Stretch(NamedTuple):
    """From where to where, in seconds, and the mean score (classes,)."""

    start: float
    end: float
    scores: Scores


class StretchMeans:
    """The mean scores of each stretch of one channel, as soon as they are certain. None for `every_seconds`: of all.

    A row belongs to the stretch that its middle lies in. What is left at the end is a stretch of its own where it has
    half as many rows as the others or more; else it belongs to the one before.
    """

    def __init__(self, hop_seconds: float, every_seconds: float | None) -> None:
        self.hop_seconds, self.every_seconds = hop_seconds, every_seconds
        self.number = 0  # of the stretch that the next row belongs to
        self.row = 0
        self.now = MeanScore()
        self.full: MeanScore | None = None  # the stretch before; what is left at the end may still join it

    def push(self, scores: Scores) -> list[Stretch]:
        """Takes the next rows (rows, classes); returns what is certain."""
        certain = []
        while len(scores):
            first, end = self.edge(self.number), self.edge(self.number + 1)
            part, scores = scores[: end - self.row], scores[end - self.row :]
            self.now.add(part)
            self.row += len(part)
            if self.full is not None and 2 * self.now.rows >= end - first:
                certain.append(self.stretch(self.number - 1, self.number, self.full))
                self.full = None
            if self.row == end:
                self.number, self.full, self.now = self.number + 1, self.now, MeanScore()
        return certain

    def finish(self, duration_seconds: float) -> list[Stretch]:
        """What is left, given where the recording ends; nothing may be pushed after it."""
        left, number = self.now, self.number
        if self.full is not None:
            self.full.join(left)
            left, number = self.full, self.number - 1
        return [self.stretch(number, None, left, duration_seconds)] if left.rows else []

    def stretch(self, number: int, end: int | None, mean: MeanScore, duration_seconds: float = 0.0) -> Stretch:
        """One that is done; the last one ends with the recording."""
        every = self.every_seconds or 0.0
        return Stretch(number * every, duration_seconds if end is None else end * every, mean.mean)

    def edge(self, number: int) -> int:
        """The first row of a stretch."""
        if self.every_seconds is None:
            return sys.maxsize if number else 0
        return math.ceil(number * self.every_seconds / self.hop_seconds - 0.5)
