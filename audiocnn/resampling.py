"""How sure a figure is: 95 % intervals, from drawing recordings with replacement.

Whole recordings are drawn, for the frames and segments of one recording are alike. So that a thousand draws
cost little, what was counted in each recording is weighted, not counted again: a curve by histograms of its
scores, in 2,048 bins that hold as many frames each; segments by their sums.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from audiocnn.figures import Figure
from audiocnn.metrics import (
    CURVE_FIGURES,
    Floats,
    Frames,
    SegmentCounts,
    SegmentSums,
    curve_values,
    read_roc,
    segment_values,
)

BINS = 2048
CHUNK_RECORDINGS = 256
PERCENTILES = (2.5, 97.5)

Draws = NDArray[np.uint16]


def draw_recordings(recordings: int, resamples: int, seed: int) -> Draws:
    """(resamples, recordings): how often each recording was drawn; none drawn where there is only one."""
    generator = np.random.default_rng(seed)
    draws = np.zeros((resamples if recordings > 1 else 0, recordings), np.uint16)
    for row in draws:
        row += np.bincount(generator.integers(0, recordings, recordings), minlength=recordings).astype(np.uint16)
    return draws


def curve_figures(recordings: Sequence[Frames], draws: Draws) -> dict[str, Figure]:
    """The figures of the ROC over all frames, with intervals."""
    pooled = Frames(
        np.concatenate([frames.positive for frames in recordings]),
        np.concatenate([frames.scores for frames in recordings]),
    )
    values = curve_values(pooled)
    if values["auroc"] is None:
        return {name: Figure(None) for name in CURVE_FIGURES}
    cuts = np.unique(np.quantile(pooled.scores, np.linspace(0, 1, BINS + 1)[1:-1]))
    positives, negatives = _drawn_histograms(recordings, cuts, draws)
    resampled = [_binned_curve(p, n) for p, n in zip(positives, negatives, strict=True) if p.any() and n.any()]
    return {
        name: with_interval(value, np.array([figures[name] for figures in resampled])) for name, value in values.items()
    }


def _drawn_histograms(recordings: Sequence[Frames], cuts: Floats, draws: Draws) -> tuple[Floats, Floats]:
    """For each resample, how many positive and negative frames lie in each bin: two of (resamples, bins)."""
    bins = len(cuts) + 1
    totals = np.zeros((2, len(draws), bins))
    for begin in range(0, len(recordings) if len(draws) else 0, CHUNK_RECORDINGS):
        chunk = recordings[begin : begin + CHUNK_RECORDINGS]
        counts = np.zeros((2, len(chunk), bins), np.float32)
        for k, frames in enumerate(chunk):
            places = np.searchsorted(cuts, frames.scores, side="right")
            counts[0, k] = np.bincount(places[frames.positive], minlength=bins)
            counts[1, k] = np.bincount(places[~frames.positive], minlength=bins)
        weights = draws[:, begin : begin + len(chunk)].astype(np.float32)
        totals += weights @ counts
    return totals[0], totals[1]


def _binned_curve(positives: Floats, negatives: Floats) -> dict[str, float]:
    """The figures of the ROC of (bins,) counts, the lowest scores first; both hold something."""
    hits, alarms = np.cumsum(positives[::-1]), np.cumsum(negatives[::-1])
    tpr, fpr = np.append(0.0, hits / hits[-1]), np.append(0.0, alarms / alarms[-1])
    precision = hits / np.maximum(hits + alarms, 1.0)
    return {
        "auroc": float(np.sum(np.diff(fpr) * (tpr[1:] + tpr[:-1]) / 2)),
        "average_precision": float(np.sum(np.diff(tpr) * precision)),
        **read_roc(fpr, tpr),
    }


def segment_figures(recordings: Sequence[SegmentCounts], draws: Draws) -> dict[str, Figure]:
    """The figures of segments over all recordings, with intervals."""
    table = np.array([counts.sums for counts in recordings], dtype=np.float64)
    values = segment_values(SegmentSums(*table.sum(axis=0)))
    resampled = segment_values(SegmentSums(*(draws @ table).T))
    figures = {name: with_interval(_defined(values[name]), resampled[name]) for name in values}
    onsets = [counts.onset_errors * 1000 for counts in recordings]
    offsets = [counts.offset_errors * 1000 for counts in recordings]
    return figures | {
        "onset_error_ms": _median_figure([np.abs(errors) for errors in onsets], draws),
        "offset_error_ms": _median_figure([np.abs(errors) for errors in offsets], draws),
        "onset_bias_ms": _median_figure(onsets, draws),
        "offset_bias_ms": _median_figure(offsets, draws),
    }


def _median_figure(values: Sequence[Floats], draws: Draws) -> Figure:
    """The median of what all recordings hold."""
    pooled = np.concatenate(values)
    if not len(pooled):
        return Figure(None)
    order = np.argsort(pooled, kind="stable")
    owners = np.repeat(np.arange(len(values)), [len(held) for held in values])[order]
    medians = []
    for draw in draws:
        weights = np.cumsum(draw[owners], dtype=np.int64)
        if weights[-1]:
            medians.append(pooled[order[np.searchsorted(weights, weights[-1] / 2)]])
    return with_interval(float(np.median(pooled)), np.array(medians))


def mean_figure(values: Floats, draws: Draws) -> Figure:
    """The mean of one value a recording; NaN is left out."""
    known = ~np.isnan(values)
    if not known.any():
        return Figure(None)
    weights = draws[:, known].astype(np.float64)
    drawn = weights.sum(axis=1)
    means = (weights @ values[known])[drawn > 0] / drawn[drawn > 0]
    return with_interval(float(values[known].mean()), means)


def with_interval(value: float | None, resampled: Floats) -> Figure:
    """The value and what holds 95 % of the resampled ones that are defined."""
    defined = resampled[~np.isnan(resampled)]
    if value is None or not len(defined):
        return Figure(value)
    low, high = np.percentile(defined, PERCENTILES)
    return Figure(value, float(low), float(high))


def _defined(value: Floats) -> float | None:
    return None if np.isnan(value) else float(value)
