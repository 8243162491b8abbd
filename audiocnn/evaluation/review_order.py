"""The order of clips in a review: uncertain clips, doubtful ones, and those unlike all that were heard so far.

Clips are compared by a cheap embedding (`embed_clip`). Without a model, a logistic regression on the embeddings is used
instead. It is fitted to the known labels, and again as more come in (`ReviewOrder.fit`).

The first dozen clips represent most others: each next one is the clip that brings all clips nearest to one that was
heard (greedy facility location: Nemhauser, Wolsey and Fisher 1978, "An analysis of approximations for maximizing
submodular set functions"). Unlike the farthest clip, it is not an outlier. Later, three kinds alternate: a doubtful
clip (`doubts_between`), a clip with the smallest margin between its two best labels, and a new one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from audiocnn.audio.pcm import Samples
from audiocnn.evaluation.doubtful import doubts_between
from audiocnn.inspection.spectrogram import Spectrogram
from audiocnn.segments.segment import Bools, Floats
from audiocnn.spec.features import default_input

Reason = Literal["doubtful", "uncertain", "new"]
EMBEDDED_SECONDS = 60.0  # of a clip, from its start
_PARTS = 4  # of a clip, each with its mean spectrum
_BELOW_LOUDEST = math.log(1e4)  # quieter frames at both ends are silence
_DIMENSIONS = 24  # of the embeddings that are compared
_LEAST_LABELLED = 12  # needed before the regression can say where it is uncertain
_STRENGTH = 1.0  # of the regression: the inverse of its penalty
_MOST_FITTED = 3000  # clips; keeps a fit within a second
_MOST_COMPARED = 2000  # clips, pairwise


def embed_clip(samples: Samples, sample_rate: int) -> Floats:
    """(samples,) -> (values,): the mean log-mel spectrum of each quarter of the part with sound, and the overall
    deviation.

    The level of the clip is removed."""
    spectrogram = Spectrogram(default_input("log_mel", sample_rate))
    powers = [spectrogram.push(np.asarray(samples, np.float32)[None]), spectrogram.finish()]
    bands = np.log(np.maximum(np.concatenate(powers, axis=1)[0], spectrogram.floor).astype(np.float64))
    if not len(bands):
        return np.zeros((_PARTS + 1) * bands.shape[1])
    loudness = np.log(np.exp(bands).mean(axis=1))
    heard = np.flatnonzero(loudness >= loudness.max() - _BELOW_LOUDEST)
    bands = bands[heard[0] : heard[-1] + 1] - loudness.max()
    edges = np.linspace(0, len(bands), _PARTS + 1)
    parts = [bands[int(low) : max(int(high), int(low) + 1)].mean(axis=0) for low, high in pairwise(edges)]
    found: Floats = np.concatenate([*parts, bands.std(axis=0)])
    return found


@dataclass(frozen=True)
class Choice:
    """A clip to listen to, and why. suggested: its most likely label with the probability, if anything is known."""

    index: int
    reason: Reason
    suggested: str | None = None
    score: float = 0.0


@dataclass(frozen=True, eq=False)
class _Guesses:
    """probabilities (clips, labels). known (clips,): whether a clip has any."""

    labels: tuple[str, ...]
    probabilities: Floats
    known: Bools


@dataclass(frozen=True, eq=False)
class OrderFit:
    """points (clips, dimensions): the positions of the clips, NaN if unknown; and their likely labels."""

    points: Floats
    guesses: _Guesses | None = None


class ReviewOrder:
    """The order of `count` clips. Embeddings, and scores of a model, may be added later, clip by clip.

    `fit` may run in another thread on a copy; `adopt` then takes over the result.
    """

    def __init__(self, count: int, model_labels: Sequence[str] = ()) -> None:
        self.count, self.model_labels = count, tuple(model_labels)
        self._embeddings: dict[int, Floats] = {}
        self._scores: dict[int, Floats] = {}
        self._fit = OrderFit(np.zeros((count, 0)))
        self._turn = 0

    def add(self, index: int, embedding: Floats | None, scores: Samples | None = None) -> None:
        """Add the data of a clip: (values,) of `embed_clip`, (labels,) of the model."""
        if embedding is not None:
            self._embeddings[index] = embedding
        if scores is not None:
            self._scores[index] = np.asarray(scores, np.float64)

    def __len__(self) -> int:
        """Number of clips that were added."""
        return len(self._embeddings)

    def copy(self) -> ReviewOrder:
        other = ReviewOrder(self.count, self.model_labels)
        other._embeddings, other._scores, other._fit = dict(self._embeddings), dict(self._scores), self._fit
        return other

    def fit(self, labels: Mapping[int, str]) -> OrderFit:
        """Fit to all known labels, those of the data and those that were given."""
        known = sorted(self._embeddings)
        if not known:
            return OrderFit(np.zeros((self.count, 0)))
        points = self._fit.points
        if int(_located(points).sum()) < len(known):  # otherwise positions are unchanged
            compressed = _compressed(np.stack([self._embeddings[k] for k in known]))
            points = np.full((self.count, compressed.shape[1]), np.nan)
            points[known] = compressed
        if self.model_labels:
            return OrderFit(points, self._of_model())
        return OrderFit(points, _fitted(points, {k: label for k, label in labels.items() if k in self._embeddings}))

    def adopt(self, fit: OrderFit) -> None:
        self._fit = fit

    def suggestion(self, index: int) -> tuple[str | None, float]:
        """The most likely label of a clip and its probability. None if nothing is known."""
        guesses = self._fit.guesses
        if guesses is None or not guesses.known[index]:
            return None, 0.0
        best = int(guesses.probabilities[index].argmax())
        return guesses.labels[best], float(guesses.probabilities[index, best])

    def next(self, given: Mapping[int, str], heard: Iterable[int], left_out: Iterable[int] = ()) -> Choice | None:
        """The clip to hear next. None if all were heard. given: labels of the data, by clip. heard: those reviewed.
        left_out: others that are not wanted now."""
        heard = set(heard)
        open_clips = np.array(sorted(set(range(self.count)) - heard - set(left_out)), np.int64)
        if not len(open_clips):
            return None
        for reason in self._reasons(len(heard)):
            found = self._best(reason, open_clips, given, heard)
            if found is not None:
                self._turn += 1
                return Choice(found, reason, *self.suggestion(found))
        return Choice(int(open_clips[0]), "new", *self.suggestion(int(open_clips[0])))

    def _reasons(self, heard: int) -> Sequence[Reason]:
        """The kinds of usefulness, the one that is next in turn first."""
        turns: tuple[Reason, ...] = ("doubtful", "uncertain", "new")
        if not self.model_labels and heard < _LEAST_LABELLED:
            return ("doubtful", "new", "uncertain") if self._turn % 2 else ("new", "doubtful", "uncertain")
        first = self._turn % len(turns)
        return (*turns[first:], *turns[:first])

    def _best(
        self, reason: Reason, open_clips: NDArray[np.int64], given: Mapping[int, str], heard: set[int]
    ) -> int | None:
        if reason == "new":
            return self._newest(open_clips, heard)
        guesses = self._fit.guesses
        if guesses is None:
            return None
        candidates = open_clips[guesses.known[open_clips]]
        if reason == "uncertain":
            if not len(candidates) or len(guesses.labels) < 2:
                return None
            best = np.sort(guesses.probabilities[candidates], axis=1)
            return int(candidates[(best[:, -1] - best[:, -2]).argmin()])
        candidates = np.array([k for k in candidates if given.get(int(k)) in guesses.labels], np.int64)
        if not len(candidates):
            return None
        truth = np.array([[label == given[int(k)] for label in guesses.labels] for k in candidates])
        doubts = doubts_between(guesses.probabilities[candidates], truth)
        return int(candidates[doubts.argmax()]) if doubts.max() > 0 else None

    def _newest(self, open_clips: NDArray[np.int64], heard: set[int]) -> int | None:
        """The clip that brings all others nearest to one that was heard."""
        located = _located(self._fit.points)
        candidates = _thinned(open_clips[located[open_clips]])
        if not len(candidates):
            return None
        targets = self._fit.points[_thinned(np.flatnonzero(located))]
        known = self._fit.points[[k for k in heard if located[k]]]
        gaps = _distances(self._fit.points[candidates], targets)
        nearest = _distances(known, targets).min(axis=0) if len(known) else np.full(len(targets), gaps.max())
        return int(candidates[np.maximum(nearest - gaps, 0.0).sum(axis=1).argmax()])

    def _of_model(self) -> _Guesses:
        probabilities: Floats = np.zeros((self.count, len(self.model_labels)))
        for k, scores in self._scores.items():
            probabilities[k] = scores
        known = np.isin(np.arange(self.count), list(self._scores))
        return _Guesses(self.model_labels, probabilities, known)


def _located(points: Floats) -> Bools:
    """(clips, dimensions) -> (clips,): whether the position of a clip is known."""
    found: Bools = np.isfinite(points).all(axis=1) & (points.shape[1] > 0)
    return found


def _thinned(clips: NDArray[np.int64]) -> NDArray[np.int64]:
    return clips[:: len(clips) // _MOST_COMPARED + 1]


def _distances(points: Floats, others: Floats) -> Floats:
    """(n, values), (m, values) -> (n, m)."""
    squares = (points**2).sum(axis=1)[:, None] + (others**2).sum(axis=1) - 2.0 * points @ others.T
    found: Floats = np.sqrt(np.maximum(squares, 0.0))
    return found


def _compressed(embeddings: Floats) -> Floats:
    """(clips, values) -> (clips, dimensions): principal components of the standardised values."""
    centred: Floats = embeddings - embeddings.mean(axis=0)
    deviations = centred.std(axis=0)
    centred /= np.where(deviations > 1e-9, deviations, 1.0)
    if len(centred) < 3:
        return centred
    from sklearn.decomposition import PCA

    points: Floats = PCA(min(_DIMENSIONS, *centred.shape), random_state=0).fit_transform(centred)
    points /= max(float(points[:, 0].std()), 1e-9)
    return points


def _fitted(points: Floats, labels: Mapping[int, str]) -> _Guesses | None:
    """Probabilities of all clips from the known labels. Labelled clips use a fit without them."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import KFold

    rows = np.array(sorted(labels))[:_MOST_FITTED]
    names = tuple(sorted({labels[k] for k in rows}))
    if len(names) < 2:
        return None
    truth = np.array([names.index(labels[k]) for k in rows])
    known = _located(points)
    probabilities = np.zeros((len(points), len(names)))

    def fit(some: NDArray[np.int64], where: NDArray[np.int64]) -> None:
        classes = np.unique(truth[some])
        if len(classes) < 2:
            probabilities[np.ix_(where, classes)] = 1.0
            return
        regression = LogisticRegression(C=_STRENGTH, max_iter=300).fit(points[rows[some]], truth[some])
        probabilities[np.ix_(where, regression.classes_)] = regression.predict_proba(points[where])

    fit(np.arange(len(rows)), np.flatnonzero(known))
    if len(rows) >= _LEAST_LABELLED:
        for some, others in KFold(5, shuffle=True, random_state=0).split(rows):
            probabilities[rows[others]] = 0.0
            fit(some, rows[others])
    return _Guesses(names, probabilities, known)
