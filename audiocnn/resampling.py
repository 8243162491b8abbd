"""How sure a figure is: 95 % intervals, from drawing groups of recordings with replacement.

Whole groups are drawn, for the frames and segments of one recording are alike, and so are recordings of one voice.
So that a thousand draws cost little, what was counted in each recording is weighted, not counted again: a curve by
histograms of its scores, in 2,048 bins that hold as many frames each; segments by their sums. Figures keep what each
draw gave, so that models that were judged on the same draws can be compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiocnn.figures import Figure
from audiocnn.intervals import Bools, Floats
from audiocnn.metrics import (
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

BINS = 2048
CHUNK_RECORDINGS = 256
CHUNK_DRAWS = 128
PERCENTILES = (2.5, 97.5)

Draws = NDArray[np.uint16]


def draw_recordings(recordings: int, resamples: int, seed: int, groups: Sequence[str] = ()) -> Draws:
    """(resamples, recordings): how often each recording was drawn; none drawn where there is only one group.

    groups: of each recording its group, which is drawn as a whole; one without a group (""), or all if none are given,
    stand alone.
    """
    owners = group_numbers(groups or [""] * recordings)
    count = int(owners.max(initial=-1)) + 1
    generator = np.random.default_rng(seed)
    draws = np.zeros((resamples if count > 1 else 0, recordings), np.uint16)
    for row in draws:
        row += np.bincount(generator.integers(0, count, count), minlength=count).astype(np.uint16)[owners]
    return draws


def group_numbers(groups: Sequence[str]) -> NDArray[np.int64]:
    """(recordings,) the group of each, as a number from 0 on, in the order in which they come."""
    numbers: dict[str | int, int] = {}
    found = [numbers.setdefault(group or k, len(numbers)) for k, group in enumerate(groups)]
    return np.array(found, dtype=np.int64)


def no_intervals(groups: Sequence[str], what: str) -> str | None:
    """Why there is no interval, None where there is one; groups: of each `what`, at least one."""
    if len(groups) == 1:
        return f"intervals need more than one {what}"
    if not group_numbers(groups).any():
        return f'each {what} is of group "{groups[0]}", and intervals need more than one group'
    return None


def curve_figures(recordings: Sequence[Frames], draws: Draws) -> dict[str, Figure]:
    """The figures of the ROC over all frames, with intervals."""
    pooled = pool(recordings)
    values = curve_values(pooled)
    if values["auroc"] is None:
        return {name: Figure(None) for name in CURVE_FIGURES}
    cuts = np.unique(np.quantile(pooled.scores, np.linspace(0, 1, BINS + 1)[1:-1]))
    resampled = np.full((len(CURVE_FIGURES), len(draws)), np.nan)
    for rows, (positives, negatives) in _drawn_histograms(recordings, cuts, draws):
        found = _binned_curves(positives, negatives)
        resampled[:, rows] = [found[name] for name in CURVE_FIGURES]
    return {name: with_interval(value, drawn) for (name, value), drawn in zip(values.items(), resampled, strict=True)}


def pool(recordings: Sequence[Frames]) -> Frames:
    """The frames of all of them, one behind the other."""
    return Frames(
        np.concatenate([frames.positive for frames in recordings]),
        np.concatenate([frames.scores for frames in recordings]),
    )


def _drawn_histograms(
    recordings: Sequence[Frames], cuts: Floats, draws: Draws
) -> Iterator[tuple[slice, tuple[Floats, Floats]]]:
    """Some draws at a time, how many positive and negative frames lie in each bin: two of (some draws, bins)."""
    if not len(draws):
        return
    bins = len(cuts) + 1
    totals = np.zeros((2, len(draws), bins), np.float32)  # whole numbers below 2 ** 24 are exact
    for begin in range(0, len(recordings), CHUNK_RECORDINGS):
        chunk = recordings[begin : begin + CHUNK_RECORDINGS]
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
    """The figures of the ROCs of (draws, bins) counts, the lowest scores first; NaN where one is missing."""
    hits, alarms = (np.cumsum(counts[:, ::-1], axis=1) for counts in (positives, negatives))
    figures = {name: np.full(len(hits), np.nan) for name in CURVE_FIGURES}
    known = (hits[:, -1] > 0) & (alarms[:, -1] > 0)
    if not known.any():
        return figures
    hits, alarms = hits[known], alarms[known]
    tpr, fpr = (np.pad(counts / counts[:, -1:], ((0, 0), (1, 0))) for counts in (hits, alarms))
    precision = hits / np.maximum(hits + alarms, 1.0)
    found = {
        "auroc": np.sum(np.diff(fpr) * (tpr[:, 1:] + tpr[:, :-1]) / 2, axis=1),
        "average_precision": np.sum(np.diff(tpr) * precision, axis=1),
    }
    read = [read_roc(*curve) for curve in zip(fpr, tpr, strict=True)]
    found |= {name: np.array([values[name] for values in read]) for name in read[0]}
    for name, values in found.items():
        figures[name][known] = values
    return figures


def ranked_values(positive: Bools, scores: NDArray[Any], draws: Draws) -> dict[str, Floats]:
    """One score a recording, (recordings,) each -> AUROC, average precision and EER of each draw, (draws,); NaN where
    not defined. Equal scores are one step of the curve; beyond 2,048 steps neighbours are taken together."""
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    steps = np.flatnonzero(np.append(True, ordered[1:] > ordered[:-1])) if len(ordered) else np.zeros(0, np.int64)
    if len(steps) > BINS:
        steps = steps[np.unique(np.linspace(0, len(steps), BINS, endpoint=False).astype(np.int64))]
    found = {name: np.full(len(draws), np.nan) for name in ("auroc", "average_precision", "eer")}
    for begin in range(0, len(draws), CHUNK_DRAWS):
        weights = draws[begin : begin + CHUNK_DRAWS, order].astype(np.float64)
        hits = np.add.reduceat(weights * positive[order], steps, axis=1)
        alarms = np.add.reduceat(weights * ~positive[order], steps, axis=1)
        for name, values in _ranked(hits, alarms).items():
            found[name][begin : begin + CHUNK_DRAWS] = values
    return found


def _ranked(positives: Floats, negatives: Floats) -> dict[str, Floats]:
    """(draws, steps) of counts, the lowest scores first -> (draws,); NaN where one is missing."""
    hits, alarms = (np.cumsum(counts[:, ::-1], axis=1) for counts in (positives, negatives))
    known = (hits[:, -1] > 0) & (alarms[:, -1] > 0)
    values = {name: np.full(len(hits), np.nan) for name in ("auroc", "average_precision", "eer")}
    if not known.any():
        return values
    hits, alarms = hits[known], alarms[known]
    tpr, fpr = (np.pad(counts / counts[:, -1:], ((0, 0), (1, 0))) for counts in (hits, alarms))
    values["auroc"][known] = np.sum(np.diff(fpr) * (tpr[:, 1:] + tpr[:, :-1]) / 2, axis=1)
    values["average_precision"][known] = np.sum(np.diff(tpr) * hits / np.maximum(hits + alarms, 1.0), axis=1)
    more = fpr - (1.0 - tpr)  # false alarms above misses, rising from -1 to 1
    at = np.argmax(more >= 0, axis=1)[:, None]
    after, before = (np.take_along_axis(more, place, axis=1)[:, 0] for place in (at, at - 1))
    high, low = (np.take_along_axis(fpr, place, axis=1)[:, 0] for place in (at, at - 1))
    values["eer"][known] = low + (high - low) * -before / (after - before)
    return values


def calibration_figure(recordings: Sequence[Frames], draws: Draws) -> Figure:
    """The calibration error of all frames."""
    table = np.stack([calibration_sums(frames) for frames in recordings])
    value = calibration_error(table.sum(axis=0))
    return with_interval(_defined(value), calibration_error(draws @ table))


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
    medians = np.full(len(draws), np.nan)
    for begin in range(0, len(draws), CHUNK_DRAWS):
        weights = np.cumsum(draws[begin : begin + CHUNK_DRAWS, owners], axis=1, dtype=np.int32)
        middles = np.sum(weights < weights[:, -1:] / 2, axis=1)
        found = np.where(weights[:, -1] > 0, pooled[order[middles]], np.nan)
        medians[begin : begin + CHUNK_DRAWS] = found
    return with_interval(float(np.median(pooled)), medians)


def mean_figure(values: Floats, draws: Draws) -> Figure:
    """The mean of one value a recording; NaN is left out."""
    known = ~np.isnan(values)
    if not known.any():
        return Figure(None)
    weights = draws[:, known].astype(np.float64)
    drawn = weights.sum(axis=1)
    means = np.divide(weights @ values[known], drawn, out=np.full(len(draws), np.nan), where=drawn > 0)
    return with_interval(float(values[known].mean()), means)


def with_interval(value: float | None, resampled: Floats) -> Figure:
    """The value and what holds 95 % of the resampled ones that are defined."""
    defined = resampled[~np.isnan(resampled)]
    if value is None or not len(defined):
        return Figure(value)
    low, high = np.percentile(defined, PERCENTILES)
    return Figure(value, float(low), float(high), resampled)


def _defined(value: Floats) -> float | None:
    return None if np.isnan(value) else float(value)
