"""Metrics of whole clips, with confidence intervals from resampling groups of clips.

    accuracy                          share of clips with the right answer
    subset_accuracy                   the same for independent labels: all of them right
    balanced_accuracy                 mean recall over the labels that occur
    macro_f1, micro_f1                mean F1 over the labels that occur; F1 of all decisions together
    top_3_accuracy, top_5_accuracy    share of clips whose label is among the 3 (5) with the highest scores
    mean_average_precision, mean_auroc   means over the labels that some clips have and some do not
    calibration_error                 mean over answers of |mean score - share of right answers| in their bin, of 15
                                      bins (expected calibration error of the top label, Guo et al. 2017, equation 3)
    precision, recall, f1             of a label: hits / answers, hits / clips, 2 hits / (answers + clips); undefined
                                      without a clip of it
    auroc, average_precision, eer     of a label's scores, against those of all other clips

scikit-learn computes the curves, balanced accuracy and F1. Bootstrap samples are weighted sums of the same counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from audiocnn.evaluation.bootstrap import CHUNK_DRAWS, Draws, ranked_values, share_figure, with_interval
from audiocnn.evaluation.metrics import Frames, curve_values, divide_or_nan
from audiocnn.evaluation.results import Figure
from audiocnn.segments.segment import Bools, Floats

_CURVES = ("auroc", "average_precision", "eer")
_TOP_RANKS = (3, 5)
MOST_CURVE_STEPS = 3e8  # clips x labels x draws: above this (some minutes), curves have no intervals
MOST_LABEL_STEPS = 2e7  # labels x draws: above this, results of single labels have no intervals


class _Tallies(NamedTuple):
    """(..., labels) each: number of clips that have a label, that were given it, and both."""

    clips: Any
    answers: Any
    hits: Any


def decision_figures(
    truth: Bools, answered: Bools, draws: Draws, several: bool
) -> tuple[dict[str, Figure], list[dict[str, Figure]]]:
    """(clips, labels) of reference and given labels -> overall metrics, and metrics of each label."""
    whole = _tally(truth, answered)
    values, nothing = _sklearn_averages(truth, answered, several), np.zeros(0)
    drawn: dict[str, list[Floats]] = {name: [] for name in values}
    keep = truth.shape[1] * len(draws) <= MOST_LABEL_STEPS
    parts: list[_Tallies] = []
    for tallies in _drawn_tallies(truth, answered, draws):
        for name, found in _averages(tallies, several).items():
            drawn[name].append(found)
        if keep:
            parts.append(tallies)
    overall = {name: with_interval(value, np.concatenate([nothing, *drawn[name]])) for name, value in values.items()}
    resampled = _Tallies(*(np.concatenate(columns) for columns in zip(*parts, strict=True))) if parts else None
    labels = []
    for k in range(truth.shape[1]):
        ours = _rates(_Tallies(*(column[k] for column in whole)))
        theirs = _rates(_Tallies(*(column[:, k] for column in resampled))) if resampled else {}
        labels.append({name: with_interval(value, theirs.get(name, nothing)) for name, value in ours.items()})
    return overall, labels


def _sklearn_averages(truth: Bools, answered: Bools, several: bool) -> dict[str, float | None]:
    """The values of `_averages`, computed by scikit-learn."""
    from sklearn.metrics import f1_score, recall_score

    if not len(truth):
        return dict.fromkeys(_averages(_tally(truth, answered), several))
    there = np.flatnonzero(truth.any(axis=0))
    if several:
        if not len(there):
            return {"micro_f1": None, "macro_f1": None}
        used = {"micro": np.flatnonzero(truth.any(axis=0) | answered.any(axis=0)), "macro": there}
        spare = np.zeros((len(truth), 1), np.bool_)  # a single column would be read as two classes
        found: dict[str, float | None] = {}
        for how, own in used.items():
            columns = (np.hstack([truth[:, own], spare]), np.hstack([answered[:, own], spare]))
            found[f"{how}_f1"] = float(f1_score(*columns, labels=np.arange(len(own)), average=how))
        return found
    none = truth.shape[1]  # an index that stands for no label
    true, answer = (np.where(one.any(axis=1), one.argmax(axis=1), none) for one in (truth, answered))
    if not len(there):
        return {"balanced_accuracy": None, "macro_f1": None}
    return {
        "balanced_accuracy": float(recall_score(true, answer, labels=there, average="macro")),
        "macro_f1": float(f1_score(true, answer, labels=there, average="macro", zero_division=0.0)),
    }


def _averages(tallies: _Tallies, several: bool) -> dict[str, Floats]:
    f1 = _rates(tallies)["f1"]
    if several:
        clips = tallies.clips.sum(axis=-1)
        sums = np.where(clips > 0, clips + tallies.answers.sum(axis=-1), 0)
        both = divide_or_nan(2 * tallies.hits.sum(axis=-1), sums)
        return {"micro_f1": both, "macro_f1": _mean_of_defined(f1)}
    return {"balanced_accuracy": _mean_of_defined(_rates(tallies)["recall"]), "macro_f1": _mean_of_defined(f1)}


def _rates(tallies: _Tallies) -> dict[str, Floats]:
    """Precision, recall and F1 of each label. NaN if undefined, as for a label without a clip."""
    clips, answers, hits = (np.asarray(column, np.float64) for column in tallies)
    return {
        "precision": divide_or_nan(hits, np.where(clips > 0, answers, 0.0)),
        "recall": divide_or_nan(hits, clips),
        "f1": divide_or_nan(2 * hits, np.where(clips > 0, clips + answers, 0.0)),
    }


def _tally(truth: Bools, answered: Bools) -> _Tallies:
    return _Tallies(truth.sum(axis=0), answered.sum(axis=0), (truth & answered).sum(axis=0))


def _drawn_tallies(truth: Bools, answered: Bools, draws: Draws) -> Iterator[_Tallies]:
    """Some draws at a time: (draws, labels). Most clips have few of many labels, which makes sparse sums fast."""
    from scipy.sparse import csr_array

    held = [csr_array(columns.T.astype(np.float64)) for columns in (truth, answered, truth & answered)]
    for begin in range(0, len(draws), CHUNK_DRAWS):
        weights = draws[begin : begin + CHUNK_DRAWS].T.astype(np.float64)
        yield _Tallies(*(np.asarray(columns @ weights).T for columns in held))


def label_curve_figures(
    truth: Bools, scores: NDArray[np.floating[Any]], draws: Draws
) -> tuple[dict[str, Figure], list[dict[str, Figure]]]:
    """(clips, labels) -> means over labels, and metrics of each label."""
    few = scores.size * len(draws) <= MOST_CURVE_STEPS
    labels, resampled = [], []
    for positive, column in zip(truth.T, scores.T, strict=True):
        values = curve_values(Frames(positive, column))
        drawn = ranked_values(positive, column, draws if few and values["auroc"] is not None else draws[:0])
        labels.append({name: with_interval(values[name], drawn[name]) for name in _CURVES})
        if values["auroc"] is not None:
            resampled.append(drawn)
    means = {}
    for title, name in (("mean_average_precision", "average_precision"), ("mean_auroc", "auroc")):
        known = [value for figures in labels if (value := figures[name].value) is not None]
        drawn_means = np.zeros(0)
        if resampled:
            drawn_means = _mean_of_defined(np.stack([drawn[name] for drawn in resampled], axis=-1))
        means[title] = with_interval(float(np.mean(known)) if known else None, drawn_means)
    return means, labels


def top_figures(scores: NDArray[np.floating[Any]], truth: NDArray[np.int64], draws: Draws) -> Mapping[str, Figure]:
    """For clips whose label has the index `truth`; rank metrics only if there are more labels. Of equal scores, other
    labels come first, because a network with the same score for all labels knows nothing."""
    own = np.take_along_axis(scores, truth[:, None], axis=1)
    rank = (scores >= own).sum(axis=1)
    ranks = [k for k in _TOP_RANKS if k < scores.shape[1]]
    return {f"top_{k}_accuracy": share_figure((rank <= k).astype(np.float64), draws) for k in ranks}


def _mean_of_defined(values: Floats) -> Floats:
    """(..., n) -> (...): the mean without NaN; NaN if all are NaN."""
    known = ~np.isnan(values)
    return divide_or_nan(np.where(known, values, 0.0).sum(axis=-1), known.sum(axis=-1).astype(np.float64))
