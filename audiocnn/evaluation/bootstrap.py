"""95 % confidence intervals from the bootstrap: groups of recordings are resampled with replacement.

Whole groups are resampled, because the frames and segments of one recording are similar, as are recordings of one
voice. To make a thousand samples cheap, counts per recording are weighted instead of recomputed: for curves, histograms
of its scores in 2,048 bins of equal numbers of frames; for segments, sums. Each value keeps its bootstrap samples, so
that models evaluated with the same samples can be compared.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiocnn.evaluation.metrics import (
    CURVE_FIGURES,
    Frames,
    SegmentCounts,
    SegmentSums,
    calibration_error,
    calibration_sums,
    curve_values,
    read_roc,
    segment_values,
)
from audiocnn.evaluation.results import Figure
from audiocnn.segments.segment import Bools, Floats

_BINS = 2048
_FEW_GROUPS = 30
_CHUNK_RECORDINGS = 256
CHUNK_DRAWS = 128
_PERCENTILES = (2.5, 97.5)
Draws = NDArray[np.uint16]


def draw_recordings(recordings: int, resamples: int, seed: int, groups: Sequence[str] = ()) -> Draws:
    """(resamples, recordings): how often each recording was drawn. Empty if there is only one group.

    groups: the group of each recording, which is drawn as a whole. A recording without a group (""), or all if none are
    given, are groups of their own.
    """
    owners = _number_groups(groups or [""] * recordings)
    count = int(owners.max(initial=-1)) + 1
    generator = np.random.default_rng(seed)
    draws = np.zeros((resamples if count > 1 else 0, recordings), np.uint16)
    for row in draws:
        row += np.bincount(generator.integers(0, count, count), minlength=count).astype(np.uint16)[owners]
    return draws


def _number_groups(groups: Sequence[str]) -> NDArray[np.int64]:
    """(recordings,) the group of each as a number from 0, in order of appearance."""
    numbers: dict[str | int, int] = {}
    found = [numbers.setdefault(group or k, len(numbers)) for k, group in enumerate(groups)]
    return np.array(found, dtype=np.int64)


def why_no_interval(groups: Sequence[str], what: str) -> str | None:
    """The reason why there are no confidence intervals, or None. groups: that of each `what`, at least one."""
    if len(groups) == 1:
        return f"confidence intervals need more than one {what}"
    if not _number_groups(groups).any():
        return f'every {what} is in group "{groups[0]}", but confidence intervals need more than one group'
    return None


def curve_figures(recordings: Sequence[Frames], draws: Draws) -> dict[str, Figure]:
    pooled = pool_frames(recordings)
    values = curve_values(pooled)
    if values["auroc"] is None:
        return {name: Figure(None) for name in CURVE_FIGURES}
    cuts = np.unique(np.quantile(pooled.scores, np.linspace(0, 1, _BINS + 1)[1:-1]))
    resampled = np.full((len(CURVE_FIGURES), len(draws)), np.nan)
    for rows, (positives, negatives) in _drawn_histograms(recordings, cuts, draws):
        found = _binned_curves(positives, negatives)
        resampled[:, rows] = [found[name] for name in CURVE_FIGURES]
    return {name: with_interval(value, drawn) for (name, value), drawn in zip(values.items(), resampled, strict=True)}


def pool_frames(recordings: Sequence[Frames]) -> Frames:
    return Frames(
        np.concatenate([frames.positive for frames in recordings]),
        np.concatenate([frames.scores for frames in recordings]),
    )


def _drawn_histograms(
    recordings: Sequence[Frames], cuts: Floats, draws: Draws
) -> Iterator[tuple[slice, tuple[Floats, Floats]]]:
    """Yields some draws at a time, with the positive and negative frames in each bin, (draws, bins) each."""
    if not len(draws):
        return
    bins = len(cuts) + 1
    totals = np.zeros((2, len(draws), bins), np.float32)  # whole numbers below 2 ** 24 are exact
    for begin in range(0, len(recordings), _CHUNK_RECORDINGS):
        chunk = recordings[begin : begin + _CHUNK_RECORDINGS]
        counts = np.zeros((2, len(chunk), bins), np.float32)
        for k, frames in enumerate(chunk):
            places = np.searchsorted(cuts, frames.scores, side="right")
            counts[0, k] = np.bincount(places[frames.positive], minlength=bins)
            counts[1, k] = np.bincount(places[~frames.positive], minlength=bins)
        weights = draws[:, begin : begin + len(chunk)].astype(np.float32)
        totals += weights @ counts
    for begin in range(0, len(draws), CHUNK_DRAWS):
        rows = slice(begin, begin + CHUNK_DRAWS)
        positives, negatives = totals[:, rows].astype(np.float64)
        yield rows, (positives, negatives)


def _binned_curves(positives: Floats, negatives: Floats) -> dict[str, Floats]:
    """The values of the ROC curves of (draws, bins) counts, lowest scores first. NaN if one kind is missing."""
    known, fpr, tpr, found = _summed_curves(positives, negatives)
    if len(fpr):
        read = [read_roc(*curve) for curve in zip(fpr, tpr, strict=True)]
        found |= {name: np.array([values[name] for values in read]) for name in read[0]}
    return {name: _spread_values(found.get(name), known) for name in CURVE_FIGURES}


def _summed_curves(positives: Floats, negatives: Floats) -> tuple[Bools, Floats, Floats, dict[str, Floats]]:
    """Counts (draws, bins), lowest scores first -> (draws,) whether both kinds occur; for these draws, false and true
    positive rates (draws, bins + 1), AUROC and average precision."""
    hits, alarms = (np.cumsum(counts[:, ::-1], axis=1) for counts in (positives, negatives))
    known = (hits[:, -1] > 0) & (alarms[:, -1] > 0)
    hits, alarms = hits[known], alarms[known]
    tpr, fpr = (np.pad(counts / counts[:, -1:], ((0, 0), (1, 0))) for counts in (hits, alarms))
    precision = hits / np.maximum(hits + alarms, 1.0)
    areas = {
        "auroc": np.sum(np.diff(fpr) * (tpr[:, 1:] + tpr[:, :-1]) / 2, axis=1),
        "average_precision": np.sum(np.diff(tpr) * precision, axis=1),
    }
    return known, fpr, tpr, areas


def _spread_values(values: Floats | None, known: Bools) -> Floats:
    spread = np.full(len(known), np.nan)
    if values is not None:
        spread[known] = values
    return spread


def ranked_values(positive: Bools, scores: NDArray[Any], draws: Draws) -> dict[str, Floats]:
    """One score per recording, (recordings,) each -> AUROC, average precision and EER of each draw, (draws,); NaN if
    undefined. Equal scores are one step of the curve; above 2,048 steps, neighbours are merged."""
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    steps = np.flatnonzero(np.append(True, ordered[1:] > ordered[:-1])) if len(ordered) else np.zeros(0, np.int64)
    if len(steps) > _BINS:
        steps = steps[np.unique(np.linspace(0, len(steps), _BINS, endpoint=False).astype(np.int64))]
    found = {name: np.full(len(draws), np.nan) for name in ("auroc", "average_precision", "eer")}
    for begin in range(0, len(draws), CHUNK_DRAWS):
        weights = draws[begin : begin + CHUNK_DRAWS, order].astype(np.float64)
        hits = np.add.reduceat(weights * positive[order], steps, axis=1)
        alarms = np.add.reduceat(weights * ~positive[order], steps, axis=1)
        for name, values in _ranked(hits, alarms).items():
            found[name][begin : begin + CHUNK_DRAWS] = values
    return found


def _ranked(positives: Floats, negatives: Floats) -> dict[str, Floats]:
    """(draws, steps) of counts, lowest scores first -> (draws,); NaN if one kind is missing."""
    known, fpr, tpr, found = _summed_curves(positives, negatives)
    more = fpr - (1.0 - tpr)  # false alarms minus misses, rising from -1 to 1
    at = np.argmax(more >= 0, axis=1)[:, None]
    after, before = (np.take_along_axis(more, place, axis=1)[:, 0] for place in (at, at - 1))
    high, low = (np.take_along_axis(fpr, place, axis=1)[:, 0] for place in (at, at - 1))
    found["eer"] = low + (high - low) * -before / (after - before)
    return {name: _spread_values(values, known) for name, values in found.items()}


def calibration_figure(recordings: Sequence[Frames], draws: Draws) -> Figure:
    table = np.stack([calibration_sums(frames) for frames in recordings])
    value = calibration_error(table.sum(axis=0))
    return with_interval(value, calibration_error(draws @ table))


def segment_figures(recordings: Sequence[SegmentCounts], draws: Draws) -> dict[str, Figure]:
    table = np.array([counts.sums for counts in recordings], dtype=np.float64)
    values = segment_values(SegmentSums(*table.sum(axis=0)))
    resampled = segment_values(SegmentSums(*(draws @ table).T))
    figures = {name: with_interval(values[name], resampled[name]) for name in values}
    if figures["miss_rate"].value is None:  # half of the cost would be undefined
        figures["detection_cost"] = Figure(None)
    onsets = [counts.onset_errors * 1000 for counts in recordings]
    offsets = [counts.offset_errors * 1000 for counts in recordings]
    return figures | {
        "onset_error_ms": _median_figure([np.abs(errors) for errors in onsets], draws),
        "offset_error_ms": _median_figure([np.abs(errors) for errors in offsets], draws),
        "onset_bias_ms": _median_figure(onsets, draws),
        "offset_bias_ms": _median_figure(offsets, draws),
    }


def _median_figure(values: Sequence[Floats], draws: Draws) -> Figure:
    pooled = np.concatenate(values)
    if not len(pooled):
        return Figure(None)
    order = np.argsort(pooled, kind="stable")
    owners = np.repeat(np.arange(len(values)), [len(held) for held in values])[order]
    medians = np.full(len(draws), np.nan)
    for begin in range(0, len(draws), CHUNK_DRAWS):
        weights = np.cumsum(draws[begin : begin + CHUNK_DRAWS, owners], axis=1, dtype=np.int32)
        middles = np.sum(weights < weights[:, -1:] / 2, axis=1)
        found = np.where(weights[:, -1] > 0, pooled[order[middles]], np.nan)
        medians[begin : begin + CHUNK_DRAWS] = found
    return with_interval(float(np.median(pooled)), medians)


def mean_figure(values: Floats, draws: Draws) -> Figure:
    """The mean of one value per recording, without NaN."""
    known = ~np.isnan(values)
    if not known.any():
        return Figure(None)
    weights = draws[:, known].astype(np.float64)
    drawn = weights.sum(axis=1)
    means = np.divide(weights @ values[known], drawn, out=np.full(len(draws), np.nan), where=drawn > 0)
    return with_interval(float(values[known].mean()), means)


def share_figure(right: Floats, draws: Draws) -> Figure:
    """The share of right answers, from 1 or 0 per recording, without NaN. If there are few, or all are equal,
    resampling says nothing about unseen cases. The interval is then that of Wilson (1927), "Probable Inference", for as
    many independent answers as there are groups."""
    figure = mean_figure(right, draws)
    if figure.value is None or figure.low is None:
        return figure
    groups = len({column.tobytes() for column in draws[:, ~np.isnan(right)].T})
    if groups >= _FEW_GROUPS and figure.low != figure.high:
        return figure
    low, high = wilson_interval(figure.value, groups)
    return replace(figure, low=low, high=high)


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a share of `count` independent cases, at least one."""
    z = 1.959964
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return max(0.0, middle - half), min(1.0, middle + half)


def without_point_interval(figure: Figure) -> Figure:
    """Remove an interval in which every draw has the same value: it means too little data, not certainty."""
    return replace(figure, low=None, high=None) if figure.low is not None and figure.low == figure.high else figure


def with_interval(value: float | Floats | None, resampled: Floats) -> Figure:
    """The value (undefined if NaN), and the range that contains 95 % of the defined resampled values."""
    if value is None or np.isnan(value):
        return Figure(None)
    defined = resampled[~np.isnan(resampled)]
    if not len(defined):
        return Figure(float(value))
    low, high = np.percentile(defined, _PERCENTILES)
    return Figure(float(value), float(low), float(high), resampled)
