"""How a trained model pools the scores of recordings, chosen on recordings that were held out (`inference.pooling`).

`tune_label_pooling` is for labels that were learned from segments: an event may be short, or fill the recording. Each
length of `POOL_SECONDS` is tried, the scores of whole recordings are calibrated, and the one with the least
cross-entropy is taken, where recordings with the label count as much as those without. From then on the score of a
recording is the probability that it holds the label, if half of all do.

`learned_pooling` and `choose_clip_pooling` are for models that learned whole clips.
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
EVENT_POOLING = LabelPooling(0.2)  # of a label of which too little was held out
_LEAST_RECORDINGS = 10  # with a label, and as many without
_LONG_SHARE = 0.95  # of the clips are no longer than a clip is taken to be
_GAINS = tuple(2.0 ** (step / 4) for step in range(-8, 9))
_SMALLEST = 1e-6
_Floats = NDArray[np.float64]


def tune_label_pooling(recordings: Sequence[JudgedRecording], labels: Sequence[str], label: str) -> LabelPooling:
    """The pooling of a label, and its thresholds by operating point: those of `clip_thresholds`, `balanced` one half at
    least. Recordings where only unsure stretches may hold it are left out."""
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
    balanced = max(0.5, best)  # of a rare label one half would be reached by more recordings without it than with it
    thresholds = (balanced, min(balanced, sensitive), max(balanced, precise))
    rounded = {name: round(x, 4) for name, x in zip(SENSITIVITIES, thresholds, strict=True)}
    return LabelPooling(pooling.seconds, pooling.gain, pooling.shift, rounded)


def _fit_evenly(scores: _Floats, has: NDArray[np.bool_]) -> tuple[float, float]:
    """The gain and shift of (recordings,) scores; those with the label count as much as those without."""
    logits = np.log(np.clip(scores, _SMALLEST, 1.0 - _SMALLEST) / np.clip(1.0 - scores, _SMALLEST, 1.0))
    sets = [logits[has].astype(np.float32)[:, None], logits[~has].astype(np.float32)[:, None]]
    targets = [np.ones_like(sets[0]), np.zeros_like(sets[1])]
    fitted = fit_calibration([[rows] for rows in sets], [[rows] for rows in targets], softmax=False)
    return round(fitted.gain[0], 4), round(fitted.shift[0], 4)


def _even_loss(scores: _Floats, has: NDArray[np.bool_]) -> float:
    clipped = np.clip(scores, _SMALLEST, 1.0 - _SMALLEST)
    return float(-np.log(clipped[has]).mean() - np.log(1.0 - clipped[~has]).mean()) / 2


def learned_pooling(clip_seconds: Sequence[float], window_seconds: float) -> ClipPooling:
    """Of a network that learned clips of these lengths: `clip_seconds` is what nearly all are no longer than, or its
    window if that is longer; a stretch is as long as they are in the middle, or its window if that is shorter."""
    median, longest = (float(x) for x in np.quantile(clip_seconds, [0.5, _LONG_SHARE]))
    return ClipPooling(round(max(longest, window_seconds), 3), round(max(0.001, min(window_seconds, median)), 3))


def choose_clip_pooling(
    network: Network, clips: Sequence[Example], targets: NDArray[np.float32], learned: ClipPooling, batch_size: int
) -> tuple[ClipPooling, float]:
    """What pools held-out clips best, and a gain for the logits: `learned` and 1, unless stretches of another length
    do better in clips of any length. targets: (clips, labels).

    Better is a lower cross-entropy, by more than two standard errors: else what clips are named after is about as long
    as they are, and their mean says most.
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
    """(pools, clips, labels): the scores of each clip by each pool, its logits times the gain of that (1 unless given).
    Each clip is read once."""
    found = np.empty((len(pools), len(clips), network.spec.classes), np.float32)
    for numbers, logits in logits_by_batch(network, clips, batch_size):
        for place, pool in enumerate(pools):
            scores = network.scores_of(logits * (gains[place] if gains else 1.0)).numpy()
            for number, rows in zip(numbers, scores, strict=True):
                found[place, number] = clip_scores([rows], pool)
    return found


def clip_losses(scores: NDArray[np.float32], targets: NDArray[np.float32], together: bool) -> _Floats:
    """(..., clips, labels) scores -> (..., clips) cross-entropy; together: what scores lack of 1 is that of none."""
    given, wanted = scores.astype(np.float64), np.broadcast_to(targets.astype(np.float64), scores.shape)
    logs = np.log(np.clip(given, _SMALLEST, 1.0))
    if not together:
        others = np.log(np.clip(1.0 - given, _SMALLEST, 1.0))
        return np.asarray(-(wanted * logs + (1.0 - wanted) * others).sum(axis=-1))
    rest = np.log(np.clip(1.0 - given.sum(axis=-1), _SMALLEST, 1.0))
    lacking = np.maximum(0.0, 1.0 - wanted.sum(axis=-1))
    return np.asarray(-(wanted * logs).sum(axis=-1) - lacking * rest)
