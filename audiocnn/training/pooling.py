"""How a trained model pools the scores of recordings, chosen on held-out recordings (`inference.pooling`).

`tune_label_pooling` is for labels trained on segments, where an event may be short or fill the recording. Each length
of `POOL_SECONDS` is tried with calibrated scores of whole recordings, and the one with the lowest cross-entropy is
used; recordings with and without the label have equal total weight. The score of a recording is then the probability
that it has the label, assuming that half of all recordings do.

`learned_pooling` and `choose_clip_pooling` are for models trained on whole clips.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from audiocnn.augment.mixture import Example
from audiocnn.evaluation.operating_points import clip_thresholds
from audiocnn.evaluation.segments import JudgedRecording
from audiocnn.inference.pooling import ClipPool, LabelPool, MeanPool, ScorePool, calibrate_scores, clip_scores
from audiocnn.model.model import SENSITIVITIES
from audiocnn.model.network import Network
from audiocnn.model.pooling import ClipPooling, LabelPooling
from audiocnn.training.calibrate import fit_calibration
from audiocnn.training.validate import lengths_of, logits_by_batch

POOL_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, math.inf)
EVENT_POOLING = LabelPooling(0.2)  # for a label with too few held-out recordings
_LEAST_RECORDINGS = 10  # with a label, and the same number without
_LONG_SHARE = 0.95  # share of the clips that are at most as long as the length assumed for clips
_GAINS = tuple(2.0 ** (step / 4) for step in range(-8, 9))
_SMALLEST = 1e-6
_Floats = NDArray[np.float64]


def tune_label_pooling(recordings: Sequence[JudgedRecording], labels: Sequence[str], label: str) -> LabelPooling:
    """The pooling of a label, and its thresholds by operating point: those of `clip_thresholds`, with `balanced` at
    least one half. Recordings in which only unsure parts may have the label are left out."""
    column = list(labels).index(label)
    marks = [any(note.label == label for note in one.annotations) for one in recordings]
    judged = [k for k, one in enumerate(recordings) if len(one.scores) and (marks[k] or not one.unsure)]
    has = np.array([marks[k] for k in judged], np.bool_)
    if min(has.sum(), (~has).sum()) < _LEAST_RECORDINGS:
        return EVENT_POOLING
    found: list[tuple[float, LabelPooling, _Floats]] = []
    for seconds in POOL_SECONDS:
        pool = partial(LabelPool, [LabelPooling(seconds)], recordings[0].hop_seconds)
        raw = np.array([clip_scores([recordings[k].scores[:, [column]]], pool)[0] for k in judged], np.float64)
        gain, shift = _fit_evenly(raw, has)
        scores = calibrate_scores(raw, gain, shift)
        found.append((_even_loss(scores, has), LabelPooling(seconds, gain, shift), scores))
    _, pooling, scores = min(found, key=lambda one: one[0])
    best, sensitive, precise = clip_thresholds(scores, has).values()
    balanced = max(0.5, best)  # for a rare label, more recordings without it than with it would reach one half
    thresholds = (balanced, min(balanced, sensitive), max(balanced, precise))
    rounded = {name: round(x, 4) for name, x in zip(SENSITIVITIES, thresholds, strict=True)}
    return LabelPooling(pooling.seconds, pooling.gain, pooling.shift, rounded)


def _fit_evenly(scores: _Floats, has: NDArray[np.bool_]) -> tuple[float, float]:
    """The gain and shift of (recordings,) scores. Those with and without the label have equal total weight."""
    logits = np.log(np.clip(scores, _SMALLEST, 1.0 - _SMALLEST) / np.clip(1.0 - scores, _SMALLEST, 1.0))
    sets = [logits[has].astype(np.float32)[:, None], logits[~has].astype(np.float32)[:, None]]
    targets = [np.ones_like(sets[0]), np.zeros_like(sets[1])]
    fitted = fit_calibration([[rows] for rows in sets], [[rows] for rows in targets], softmax=False)
    return round(fitted.gain[0], 4), round(fitted.shift[0], 4)


def _even_loss(scores: _Floats, has: NDArray[np.bool_]) -> float:
    clipped = np.clip(scores, _SMALLEST, 1.0 - _SMALLEST)
    return float(-np.log(clipped[has]).mean() - np.log(1.0 - clipped[~has]).mean()) / 2


def learned_pooling(clip_seconds: Sequence[float], window_seconds: float) -> ClipPooling:
    """For a network trained on clips of these lengths. `clip_seconds` is the length that nearly all stay within, or the
    window if that is longer. A stretch has their median length, or that of the window if that is shorter."""
    median, longest = (float(x) for x in np.quantile(clip_seconds, [0.5, _LONG_SHARE]))
    return ClipPooling(round(max(longest, window_seconds), 3), round(max(0.001, min(window_seconds, median)), 3))


def choose_clip_pooling(
    network: Network, clips: Sequence[Example], targets: NDArray[np.float32], learned: ClipPooling, batch_size: int
) -> tuple[ClipPooling, float]:
    """The best pooling for held-out clips, and a gain for the logits: `learned` and 1, unless stretches of another
    length are better for clips of any length. targets: (clips, labels).

    Better means a lower cross-entropy by more than two standard errors. Otherwise the labelled sound is about as long
    as the clips, and their mean is the best choice.
    """
    longest = max(lengths_of(clips)) / network.geometry.sample_rate
    tried = [learned]
    seconds = learned.pool_seconds
    while seconds < longest:
        tried.append(ClipPooling(seconds, seconds))
        seconds *= 2.0
    if len(tried) == 1:
        return learned, 1.0
    together = network.spec.f.output == "softmax" and network.spec.classes > 1
    pools = [partial(ClipPool, one, network.geometry.hop_seconds, together) for one in tried]
    losses = clip_losses(pooled_scores(network, clips, batch_size, pools), targets, together)
    better = losses[:1] - losses[1:]
    gained = better.mean(axis=1) - 2.0 * better.std(axis=1) / math.sqrt(len(targets))
    if not (gained > 0.0).any():
        return learned, 1.0
    best = 1 + int(np.where(gained > 0.0, losses[1:].mean(axis=1), np.inf).argmin())
    calibrated = pooled_scores(network, clips, batch_size, [pools[best]] * len(_GAINS), _GAINS)
    return tried[best], _GAINS[int(clip_losses(calibrated, targets, together).mean(axis=1).argmin())]


def pooled_scores(
    network: Network,
    clips: Sequence[Example],
    batch_size: int,
    pools: Sequence[Callable[[], ScorePool]] = (MeanPool,),
    gains: Sequence[float] = (),
) -> NDArray[np.float32]:
    """(pools, clips, labels): the scores of each clip by each pool, with its logits multiplied by the gain of the pool
    (1 by default). Each clip is read once."""
    found = np.empty((len(pools), len(clips), network.spec.classes), np.float32)
    for numbers, logits in logits_by_batch(network, clips, batch_size):
        for place, pool in enumerate(pools):
            scores = network.scores_of(logits * (gains[place] if gains else 1.0)).numpy()
            for number, rows in zip(numbers, scores, strict=True):
                found[place, number] = clip_scores([rows], pool)
    return found


def clip_losses(scores: NDArray[np.float32], targets: NDArray[np.float32], together: bool) -> _Floats:
    """(..., clips, labels) scores -> (..., clips) cross-entropy. together: 1 minus their sum is the score of none."""
    given, wanted = scores.astype(np.float64), np.broadcast_to(targets.astype(np.float64), scores.shape)
    logs = np.log(np.clip(given, _SMALLEST, 1.0))
    if not together:
        others = np.log(np.clip(1.0 - given, _SMALLEST, 1.0))
        return np.asarray(-(wanted * logs + (1.0 - wanted) * others).sum(axis=-1))
    rest = np.log(np.clip(1.0 - given.sum(axis=-1), _SMALLEST, 1.0))
    lacking = np.maximum(0.0, 1.0 - wanted.sum(axis=-1))
    return np.asarray(-(wanted * logs).sum(axis=-1) - lacking * rest)
