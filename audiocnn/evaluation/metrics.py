"""Metrics of scores and segments. This module knows nothing of files or models.

Conventions. Times are in seconds. Frame k of the grid is centred on (k + 0.5) * grid. It is positive if its centre is
in an annotation (onset <= centre < offset), and its score is that of the row that contains the centre. Overlapping or
touching annotations of one label count once, and what is past the end of the recording does not count. Durations are
measured exactly, without a grid. A collar is an interval centred on each edge of the reference (half before, half
after) that is not evaluated, as in pyannote.metrics; one metric uses it, the others do not. Unsure time, where nobody
knows whether the label is present, is not evaluated in any metric of frames or seconds; a segment detected only there
is not a false one.

    auroc, average_precision          area under the ROC; mean precision over recall (scikit-learn)
    tpr_at_5pct_fpr, .._31_5pct_fpr   share of the positive frames found at that false positive rate
    fpr_at_5pct_miss, eer             false positive rate at 5 % missed; the rate at which both errors are equal
    calibration_error                 mean over frames of |mean score - share of positives| in their bin, of 15 bins of
                                      equal width (expected calibration error, Guo et al. 2017, equation 3)
    detection_error_rate              (false alarm + miss) / reference, in seconds
    detection_error_rate_collar       the same with a collar
    miss_rate, false_alarm_rate       miss / reference; false alarm / time without reference, in seconds
    detection_cost                    0.75 miss_rate + 0.25 false_alarm_rate (while tuning, 0 / 0 counts as 0)
    f1                                2 hit / (2 hit + false alarm + miss), in seconds
    segment_f1                        the same for whole segments, paired one to one. A pair is right within 0.2 s at
                                      the onset, and within 0.2 s or a fifth of the length at the offset
    false_segment_share               of the recordings that certainly have nothing of the label, the share with a
                                      detected segment
    edges_within_50ms, .._100ms       share of the reference's onsets and offsets that are paired, one to one,
                                      with a detected one within this distance
    onset_error_ms, offset_error_ms   median distance to the nearest detected one, if it is within 0.5 s
    onset_bias_ms, offset_bias_ms     the same with its sign: positive if it is detected too late

A value that is undefined (no positive frame, nothing detected) is None.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from audiocnn.segments.segment import EPSILON_SECONDS, Annotation, Bools, Floats, inside, merge

CURVE_FIGURES = (
    "auroc",
    "average_precision",
    "tpr_at_5pct_fpr",
    "tpr_at_31_5pct_fpr",
    "fpr_at_5pct_miss",
    "eer",
)
CURVE_POINTS = 500
LEAST_PROBABILITY = 1e-6
_HISTOGRAM_BINS = 50
_CALIBRATION_BINS = 15
_LEVEL_TOLERANCE = 1e-12  # of rates: 1 - 0.95 is a little more than 0.05
_EDGE_REACH_SECONDS = 0.5
_MATCH_SECONDS, _MATCH_SHARE = 0.2, 0.2
_MISS_WEIGHT, _FALSE_ALARM_WEIGHT = 0.75, 0.25


class Frames(NamedTuple):
    """The frames of one recording: positive (rows,) bool, scores (rows,) float."""

    positive: Bools
    scores: NDArray[Any]


class SegmentSums(NamedTuple):
    """Sums over recordings: seconds, then numbers of segments, then of pairs of edges.

    collar_reference, collar_errors: seconds of reference, and of false alarm and miss, outside collars. empty,
    empty_found: 1 for a recording that certainly has nothing of the label, and for one in which something was detected.
    """

    hit: Any
    miss: Any
    false_alarm: Any
    rest: Any
    references: Any = 0
    detections: Any = 0
    matches: Any = 0
    edges_50ms: Any = 0
    edges_100ms: Any = 0
    collar_reference: Any = 0
    collar_errors: Any = 0
    empty: Any = 0
    empty_found: Any = 0


class SegmentCounts(NamedTuple):
    """The counts of one recording, and the errors of its edges in signed seconds, positive if too late."""

    sums: SegmentSums
    onset_errors: Floats
    offset_errors: Floats


# Frames
def grid_rows(duration_seconds: float, grid_seconds: float) -> int:
    """Number of frames whose centre is inside the recording."""
    return max(0, math.ceil(duration_seconds / grid_seconds - 0.5 - EPSILON_SECONDS))


def frame_labels(annotations: Iterable[Annotation], label: str, rows: int, grid_seconds: float) -> Bools:
    """(rows,) bool: whether the centre of each frame is in an annotation of `label`."""
    return frames_inside([(a.onset, a.offset) for a in annotations if a.label == label], rows, grid_seconds)


def frames_inside(stretches: Iterable[tuple[float, float]], rows: int, grid_seconds: float) -> Bools:
    """(rows,) bool: whether the centre of each frame is in one of the (onset, offset) pairs."""
    # A centre that equals an onset up to rounding is inside; one that equals an offset is outside.
    return inside(merge(stretches), _centres(rows, grid_seconds) + EPSILON_SECONDS)


def scores_on_grid(scores: NDArray[Any], hop_seconds: float, rows_on_grid: int, grid_seconds: float) -> NDArray[Any]:
    """(rows,) -> (rows_on_grid,): the score of the row that contains each frame's centre. ValueError without a row."""
    if rows_on_grid and not len(scores):
        raise ValueError("a recording has a duration but no scores")
    centres = _centres(rows_on_grid, grid_seconds)
    rows = np.floor((centres + EPSILON_SECONDS) / hop_seconds).astype(np.int64)
    found: NDArray[Any] = scores[np.minimum(rows, len(scores) - 1)]
    return found


def _centres(rows: int, grid_seconds: float) -> Floats:
    return np.asarray((np.arange(rows) + 0.5) * grid_seconds, dtype=np.float64)


# Segments
def detection_seconds(
    true: Floats,
    found: Floats,
    duration_seconds: float,
    collar_seconds: float = 0.0,
    unsure: Iterable[tuple[float, float]] = (),
) -> tuple[float, float, float, float]:
    """(hit, miss, false alarm, rest) of merged intervals, in seconds; the rest is in neither. Unsure time that is not
    in the reference is in none of the four."""
    half = collar_seconds / 2
    collars = merge(((edge - half, edge + half) for edge in true.ravel().tolist()), duration_seconds)
    doubtful = merge(unsure, duration_seconds)
    cells = np.unique(np.concatenate([a.ravel() for a in (true, found, collars, doubtful)] + [[0.0, duration_seconds]]))
    middles = (cells[1:] + cells[:-1]) / 2
    judged = np.where(inside(collars, middles), 0.0, np.diff(cells))
    is_true, is_found = inside(true, middles), inside(found, middles)
    if len(doubtful):
        judged[inside(doubtful, middles) & ~is_true] = 0.0
    kinds = (is_true & is_found, is_true & ~is_found, ~is_true & is_found, ~is_true & ~is_found)
    hit, miss, false_alarm, rest = (float(judged[kind].sum()) for kind in kinds)
    return hit, miss, false_alarm, rest


def count_segments(
    reference: Iterable[tuple[float, float]],
    detected: Iterable[tuple[float, float]],
    duration_seconds: float,
    collar_seconds: float = 0.0,
    unsure: Sequence[tuple[float, float]] = (),
) -> SegmentCounts:
    """Counts of one recording and label. Reference, detections and unsure time are (start, end) pairs.

    The collar is used only for counts that have it in their names.
    """
    true, found = merge(reference, duration_seconds), merge(detected, duration_seconds)
    empty = not len(true) and not len(merge(unsure, duration_seconds))
    hit, miss, false_alarm, _ = detection_seconds(true, found, duration_seconds, collar_seconds, unsure)
    seconds = detection_seconds(true, found, duration_seconds, unsure=unsure)
    sums = SegmentSums(
        *seconds,
        references=len(true),
        detections=len(found),
        matches=_matches(true, found),
        edges_50ms=sum(_pairs(true[:, side], found[:, side], 0.05) for side in (0, 1)),
        edges_100ms=sum(_pairs(true[:, side], found[:, side], 0.1) for side in (0, 1)),
        collar_reference=hit + miss,
        collar_errors=false_alarm + miss,
        empty=int(empty),
        empty_found=int(empty and seconds[2] > 0),
    )
    onsets, offsets = (_edge_errors(true[:, side], found[:, side]) for side in (0, 1))
    return SegmentCounts(sums, onsets, offsets)


def _matches(true: Floats, found: Floats) -> int:
    """Number of segments that are right at both edges, paired one to one in order of time."""
    matches, position = 0, 0
    for onset, offset in true.tolist():
        slack = max(_MATCH_SECONDS, _MATCH_SHARE * (offset - onset)) + EPSILON_SECONDS
        for k in range(position, len(found)):
            if found[k, 0] > onset + _MATCH_SECONDS + EPSILON_SECONDS:
                break
            if abs(found[k, 0] - onset) <= _MATCH_SECONDS + EPSILON_SECONDS and abs(found[k, 1] - offset) <= slack:
                matches, position = matches + 1, k + 1
                break
    return matches


def _pairs(true: Floats, found: Floats, tolerance_seconds: float) -> int:
    """The largest number of one-to-one pairs of sorted times that are within the tolerance."""
    pairs = i = k = 0
    while i < len(true) and k < len(found):
        distance = found[k] - true[i]
        if abs(distance) <= tolerance_seconds + EPSILON_SECONDS:
            pairs, i, k = pairs + 1, i + 1, k + 1
        elif distance < 0:
            k += 1
        else:
            i += 1
    return pairs


def _edge_errors(true: Floats, found: Floats) -> Floats:
    """Signed seconds from each reference edge to the nearest detected one, if there is one in reach."""
    if not len(true) or not len(found):
        return np.zeros(0)
    behind = np.searchsorted(found, true).clip(1, max(1, len(found) - 1))
    after, before = found[np.minimum(behind, len(found) - 1)] - true, found[behind - 1] - true
    nearest: Floats = np.where(np.abs(after) < np.abs(before), after, before)
    within: Floats = nearest[np.abs(nearest) <= _EDGE_REACH_SECONDS + EPSILON_SECONDS]
    return within


# Metrics
def curve_values(frames: Frames) -> dict[str, float | None]:
    """The exact values of the ROC; None if all frames, or none, are positive."""
    from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

    if not len(frames.positive) or frames.positive.all() or not frames.positive.any():
        return dict.fromkeys(CURVE_FIGURES)
    fpr, tpr, _ = roc_curve(frames.positive, frames.scores)
    values = {
        "auroc": float(roc_auc_score(frames.positive, frames.scores)),
        "average_precision": float(average_precision_score(frames.positive, frames.scores)),
        **read_roc(fpr, tpr),
    }
    return {name: values[name] for name in CURVE_FIGURES}


def read_roc(fpr: Floats, tpr: Floats) -> dict[str, float]:
    """Points of a ROC that runs from (0, 0) to (1, 1), on straight lines between its corners."""
    return {
        "tpr_at_5pct_fpr": _tpr_at(fpr, tpr, 0.05),
        "tpr_at_31_5pct_fpr": _tpr_at(fpr, tpr, 0.315),
        # Seen from the opposite corner, a miss rate is a false positive rate.
        "fpr_at_5pct_miss": 1.0 - _tpr_at(1.0 - tpr[::-1], 1.0 - fpr[::-1], 0.05),
        "eer": _equal_error(fpr, 1.0 - tpr),
    }


def _tpr_at(fpr: Floats, tpr: Floats, level: float) -> float:
    """The highest point of the curve at `level`, which is below 1."""
    k = int(np.searchsorted(fpr, level + _LEVEL_TOLERANCE, side="right"))
    share = max(0.0, (level - fpr[k - 1]) / (fpr[k] - fpr[k - 1]))
    return float(tpr[k - 1] + share * (tpr[k] - tpr[k - 1]))


def _equal_error(fpr: Floats, miss: Floats) -> float:
    k = int(np.argmax(fpr >= miss))
    before, after = miss[k - 1] - fpr[k - 1], fpr[k] - miss[k]
    return float(fpr[k - 1] + before / (before + after) * (fpr[k] - fpr[k - 1]))


def calibration_sums(frames: Frames) -> Floats:
    """(3 * bins,): for each bin of scores in [0, 1], its frames, the sum of their scores, and the positive frames.

    The last bin includes its upper end.
    """
    scores = frames.scores.astype(np.float64)
    places = (scores * _CALIBRATION_BINS).astype(np.int64).clip(0, _CALIBRATION_BINS - 1)
    weights = (None, scores, frames.positive.astype(np.float64))
    return np.concatenate([np.bincount(places, held, _CALIBRATION_BINS).astype(np.float64) for held in weights])


def calibration_error(sums: Floats) -> Floats:
    """(..., 3 * bins), sums of `calibration_sums` -> (...); NaN without frames."""
    frames, scores, positive = np.split(sums, 3, axis=-1)
    return divide_or_nan(np.abs(scores - positive).sum(axis=-1), frames.sum(axis=-1))


def segment_values(sums: SegmentSums) -> dict[str, Floats]:
    """The metrics of sums of any shape; NaN if undefined. Without a reference there is no F1, and the cost is that of
    the false alarms."""
    s = SegmentSums(*(np.asarray(column, dtype=np.float64) for column in sums))
    reference, other = s.hit + s.miss, s.rest + s.false_alarm
    miss_rate, false_alarm_rate = divide_or_nan(s.miss, reference), divide_or_nan(s.false_alarm, other)
    cost = _MISS_WEIGHT * np.nan_to_num(miss_rate) + _FALSE_ALARM_WEIGHT * np.nan_to_num(false_alarm_rate)
    return {
        "detection_error_rate": divide_or_nan(s.false_alarm + s.miss, reference),
        "detection_error_rate_collar": divide_or_nan(s.collar_errors, s.collar_reference),
        "miss_rate": miss_rate,
        "false_alarm_rate": false_alarm_rate,
        "detection_cost": np.where(reference + other > 0, cost, np.nan),
        "f1": np.where(reference > 0, divide_or_nan(2 * s.hit, 2 * s.hit + s.false_alarm + s.miss), np.nan),
        "segment_f1": np.where(s.references > 0, divide_or_nan(2 * s.matches, s.references + s.detections), np.nan),
        "false_segment_share": divide_or_nan(s.empty_found, s.empty),
        "edges_within_50ms": divide_or_nan(s.edges_50ms, 2 * s.references),
        "edges_within_100ms": divide_or_nan(s.edges_100ms, 2 * s.references),
    }


def divide_or_nan(part: Floats, whole: Floats) -> Floats:
    """part / whole; NaN unless the whole is above 0."""
    ratio: Floats = np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=np.asarray(whole) > 0)
    return ratio


def log_odds(probabilities: NDArray[Any]) -> Floats:
    """ln(p / (1 - p)) of probabilities that are first limited to 1e-6 .. 1 - 1e-6."""
    held = np.clip(np.asarray(probabilities, np.float64), LEAST_PROBABILITY, 1.0 - LEAST_PROBABILITY)
    odds: Floats = np.log(held) - np.log1p(-held)
    return odds


def smooth_scores(scores: NDArray[Any], row_seconds: float, over_seconds: float) -> NDArray[np.float32]:
    """(rows,) in [0, 1] -> (rows,) in (0, 1): the centred mean of the log-odds over some seconds.

    This makes detectors with different time resolutions comparable. Each row is weighted by the part of it that is
    inside: of 60 rows around a middle, 59 count fully and two by half. At the ends of a recording, the mean is over the
    rows that exist. A time below one row is taken as one row.
    """
    if not len(scores):
        return scores.astype(np.float32)
    # The integral of the log-odds at the borders of rows, linear in between; times are in rows.
    integral, borders = np.append(0.0, np.cumsum(log_odds(scores))), np.arange(len(scores) + 1.0)
    middles, half = np.arange(len(scores)) + 0.5, max(over_seconds / row_seconds, 1.0) / 2
    begins, ends = (middles - half).clip(0.0), (middles + half).clip(None, len(scores))
    sums = np.interp(ends, borders, integral) - np.interp(begins, borders, integral)
    smoothed: NDArray[np.float32] = (1.0 / (1.0 + np.exp(-sums / (ends - begins)))).astype(np.float32)
    return smoothed


@dataclass(frozen=True, eq=False)
class Curves:
    """The curves of the frames of one label, reduced to the resolution of a picture.

    roc: false and true positive rates, rising from (0, 0) to (1, 1). precision_recall: recall, rising from 0 to 1, and
    precision. Both have at most CURVE_POINTS points, and none if all or no frames are positive. histogram: the (51,)
    edges of bins in [0, 1], then the numbers of positive and negative frames in each. calibration: for each of 15 bins
    with frames, the mean score, the share of positive frames, and the number of frames.
    """

    roc: tuple[Floats, Floats]
    precision_recall: tuple[Floats, Floats]
    histogram: tuple[Floats, Floats, Floats]
    calibration: tuple[Floats, Floats, Floats]

    def to_dict(self) -> dict[str, Any]:
        """A part of report.json: lists, rates with six decimals, numbers of frames as integers."""
        edges, *counts = self.histogram
        means, shares, frames = self.calibration
        return {
            "roc": _rounded(self.roc),
            "precision_recall": _rounded(self.precision_recall),
            "histogram": [*_rounded([edges]), *_counted(counts)],
            "calibration": [*_rounded([means, shares]), *_counted([frames])],
        }


def compute_curves(frames: Frames) -> Curves:
    """The curves of frames with scores in [0, 1]. Values beyond an end by rounding are counted at that end."""
    edges, scores = np.linspace(0.0, 1.0, _HISTOGRAM_BINS + 1), frames.scores.clip(0.0, 1.0)
    kinds = (scores[frames.positive], scores[~frames.positive])
    positive, negative = (np.histogram(kind, edges)[0].astype(np.float64) for kind in kinds)
    counts, sums, positives = calibration_sums(frames).reshape(3, _CALIBRATION_BINS)
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
    """Indexes of the points of a curve to keep, about evenly spaced, with both ends; way (points,) never falls."""
    wanted = np.linspace(way[0], way[-1], CURVE_POINTS - 1)
    return np.unique(np.append(np.searchsorted(way, wanted), len(way) - 1))


def _rounded(columns: Sequence[Floats]) -> list[list[float]]:
    return [[round(value, 6) for value in column.tolist()] for column in columns]


def _counted(columns: Sequence[Floats]) -> list[list[int]]:
    return [[round(value) for value in column.tolist()] for column in columns]
