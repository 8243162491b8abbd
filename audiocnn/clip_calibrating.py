"""Scores of whole clips that can be read as probabilities, and the thresholds of clips with several labels.

As in calibrating.py, but what is fitted is the mean score of a clip, not that of each position: the positions of a clip
all say the same, and their mean is less sure than each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from audiocnn.calibrating import Calibration, bounded, least

MOST_POSITIONS = 64  # of a clip: those of long ones are thinned out
LEAST_THRESHOLD = 1e-6  # a rare label may have no higher score than some thousandths


def fit_clips(logits: Sequence[NDArray[np.float32]], targets: NDArray[np.float32], softmax: bool) -> Calibration:
    """(rows, labels) logits of each clip, (clips, labels) targets -> the gains and shifts that make the mean scores
    probabilities: one temperature of a softmax, a gain and a shift for each other label.

    Targets are drawn in by one clip in all (Platt 1999, section 2.2), so that a network which made no mistake on few
    clips is not made surer than they prove.
    """
    kept = [thinned(rows) for rows in logits]
    given = torch.zeros(len(kept), max(map(len, kept)), targets.shape[1], dtype=torch.float64)
    there = torch.zeros(given.shape[:2], dtype=torch.bool)
    for number, rows in enumerate(kept):
        given[number, : len(rows)], there[number, : len(rows)] = torch.from_numpy(rows).double(), True
    wanted = torch.from_numpy(targets).double()
    return clip_temperature(given, there, wanted) if softmax else clip_scaling(given, there, wanted)


def thinned(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """(rows, labels) -> some of the rows, evenly spread, where there are more than are needed."""
    return rows[:: -(-len(rows) // MOST_POSITIONS)]


def clip_temperature(given: Tensor, there: Tensor, wanted: Tensor) -> Calibration:
    """One gain for all labels."""
    labels = wanted.shape[1]
    carried = wanted.sum(dim=1) > 0
    given, there, wanted = given[carried], there[carried], wanted[carried]
    if not len(wanted) or labels == 1:
        return Calibration((1.0,) * labels, (0.0,) * labels)
    doubt = 1.0 / (len(wanted) + 2.0)
    wanted = wanted / wanted.sum(dim=1, keepdim=True) * (1.0 - doubt) + doubt / labels
    log_gain = torch.zeros((), dtype=torch.float64, requires_grad=True)

    def loss() -> Tensor:
        logs = (given * bounded(log_gain)).log_softmax(dim=-1)
        return functional.cross_entropy(mean_of(logs, there), wanted)

    least(loss, [log_gain])
    return Calibration((float(bounded(log_gain.detach())),) * labels, (0.0,) * labels)


def clip_scaling(given: Tensor, there: Tensor, wanted: Tensor) -> Calibration:
    """A gain and a shift for each label that some clips have and some have not."""
    gains, shifts = [], []
    for column in range(wanted.shape[1]):
        has = wanted[:, column]
        positives = float(has.sum())
        negatives = len(has) - positives
        if not positives or not negatives:
            gains.append(1.0)
            shifts.append(0.0)
            continue
        drawn_in = has * ((positives + 1) / (positives + 2)) + (1 - has) / (negatives + 2)
        gain, shift = scaling_of(given[:, :, column], there, drawn_in)
        gains.append(gain)
        shifts.append(shift)
    return Calibration(tuple(gains), tuple(shifts))


def scaling_of(given: Tensor, there: Tensor, wanted: Tensor) -> tuple[float, float]:
    """(clips, positions) logits of one label, (clips,) targets -> gain and shift."""
    middle = given[there].mean()
    log_gain = torch.zeros((), dtype=torch.float64, requires_grad=True)
    centre = torch.zeros((), dtype=torch.float64, requires_grad=True)

    def loss() -> Tensor:
        moved = (given - middle) * bounded(log_gain) + centre
        yes = mean_of(functional.logsigmoid(moved)[..., None], there)
        no = mean_of(functional.logsigmoid(-moved)[..., None], there)
        return functional.binary_cross_entropy_with_logits((yes - no)[:, 0], wanted)

    least(loss, [log_gain, centre])
    gain = float(bounded(log_gain.detach()))
    return gain, float(centre.detach() - gain * middle)


def mean_of(logs: Tensor, there: Tensor) -> Tensor:
    """(clips, positions, labels) log probabilities -> (clips, labels), the log of their means over what is there."""
    kept = logs.masked_fill(~there[..., None], -math.inf)
    return kept.logsumexp(dim=1) - there.sum(dim=1, keepdim=True).log()


def best_threshold(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """The threshold of (clips,) scores with the best F1 of clips, in the middle between two scores; of several equally
    good ones the lowest."""
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(positive[order])
    f1 = 2.0 * hits / (np.arange(1, len(hits) + 1) + positive.sum())
    f1[:-1][ranked[:-1] == ranked[1:]] = -1.0  # equal scores are on one side of every threshold
    best = len(f1) - 1 - int(np.argmax(f1[::-1]))
    below = ranked[best + 1] if best + 1 < len(ranked) else 0.0
    return float(np.clip((ranked[best] + below) / 2.0, LEAST_THRESHOLD, 1.0 - LEAST_THRESHOLD))
