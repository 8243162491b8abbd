"""The curves of frames, thinned to what a picture shows: ROC, precision over recall, histograms, calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from audiocnn.intervals import Floats
from audiocnn.metrics import CALIBRATION_BINS, Frames, calibration_sums

CURVE_POINTS = 500
HISTOGRAM_BINS = 50


@dataclass(frozen=True, eq=False)
class Curves:
    """Of the frames of one label.

    roc: false and true positive rates, rising from (0, 0) to (1, 1). precision_recall: recall, rising from 0 to 1, and
    precision. Both have at most CURVE_POINTS points, and none where all frames or no frames are positive. histogram:
    the (51,) edges of bins in [0, 1], then how many positive and negative frames lie in each. calibration: for each of
    15 bins that hold a frame the mean score, the share of positive frames, and the number of frames.
    """

    roc: tuple[Floats, Floats]
    precision_recall: tuple[Floats, Floats]
    histogram: tuple[Floats, Floats, Floats]
    calibration: tuple[Floats, Floats, Floats]

    def to_dict(self) -> dict[str, Any]:
        """A part of report.json: lists, rates with six digits behind the point, numbers of frames as integers."""
        edges, *counts = self.histogram
        means, shares, frames = self.calibration
        return {
            "roc": _rounded(self.roc),
            "precision_recall": _rounded(self.precision_recall),
            "histogram": [*_rounded([edges]), *_counted(counts)],
            "calibration": [*_rounded([means, shares]), *_counted([frames])],
        }


def curves_of(frames: Frames) -> Curves:
    """The curves of frames with scores in [0, 1]; in the histogram, what rounding puts beyond an end counts there."""
    edges, scores = np.linspace(0.0, 1.0, HISTOGRAM_BINS + 1), frames.scores.clip(0.0, 1.0)
    kinds = (scores[frames.positive], scores[~frames.positive])
    positive, negative = (np.histogram(kind, edges)[0].astype(np.float64) for kind in kinds)
    counts, sums, positives = calibration_sums(frames).reshape(3, CALIBRATION_BINS)
    held = counts > 0
    calibration = (sums[held] / counts[held], positives[held] / counts[held], counts[held])
    none = np.zeros(0)
    roc, precision_recall = (none, none), (none, none)
    if frames.positive.any() and not frames.positive.all():
        roc, precision_recall = _roc(frames), _precision_recall(frames)
    return Curves(roc, precision_recall, (edges, positive, negative), calibration)


def _roc(frames: Frames) -> tuple[Floats, Floats]:
    from sklearn.metrics import roc_curve

    fpr, tpr, _ = roc_curve(frames.positive, frames.scores)
    kept = _thinned(fpr + tpr)
    return fpr[kept], tpr[kept]


def _precision_recall(frames: Frames) -> tuple[Floats, Floats]:
    from sklearn.metrics import precision_recall_curve

    precision, recall, _ = precision_recall_curve(frames.positive, frames.scores)
    kept = _thinned(recall[::-1])
    return recall[::-1][kept], precision[::-1][kept]


def _thinned(way: Floats) -> Any:
    """Which points to keep of a curve, given the way (points,) that never falls: about evenly apart, with both ends."""
    wanted = np.linspace(way[0], way[-1], CURVE_POINTS - 1)
    return np.unique(np.append(np.searchsorted(way, wanted), len(way) - 1))


def _rounded(columns: Sequence[Floats]) -> list[list[float]]:
    return [[round(value, 6) for value in column.tolist()] for column in columns]


def _counted(columns: Sequence[Floats]) -> list[list[int]]:
    return [[round(value) for value in column.tolist()] for column in columns]
