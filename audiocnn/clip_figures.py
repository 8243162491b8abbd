"""The figures of whole clips, with intervals from drawing groups of clips anew.

    accuracy                          share of clips whose answer is right
    subset_accuracy                   the same where labels stand alone: all of them right
    balanced_accuracy                 mean of the recalls of the labels that a clip has
    macro_f1, micro_f1                mean of the F1 of the labels that a clip has or got; F1 of all decisions together
    top_3_accuracy, top_5_accuracy    share of clips whose label is among the 3 (5) with the highest scores
    mean_average_precision, mean_auroc   means over the labels of which both kinds of clips are there
    calibration_error                 mean over answers of |mean score - share that is right| in their bin, of 15 bins
                                      (expected calibration error of the top label, Guo et al. 2017, equation 3)
    precision, recall, f1             of a label: hits / answers, hits / clips, 2 hits / (answers + clips)
    auroc, average_precision, eer     of a label's scores against those of all other clips

scikit-learn gives the values of the curves, of balanced accuracy and of F1; draws are weighed sums of the same counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from audiocnn.figures import Figure
from audiocnn.intervals import Bools, Floats
from audiocnn.metrics import Frames, curve_values
from audiocnn.resampling import CHUNK_DRAWS, Draws, mean_figure, ranked_values, with_interval

CURVES = ("auroc", "average_precision", "eer")
TOP_RANKS = (3, 5)
MOST_CURVE_STEPS = 3e8  # clips x labels x draws: beyond, which is some minutes, curves have no intervals
MOST_LABEL_STEPS = 2e7  # labels x draws: beyond, figures of single labels have no intervals


class Tallies(NamedTuple):
    """(..., labels): clips that have a label, that got it, and both."""

    clips: Any
    answers: Any
    hits: Any


def decision_figures(
    truth: Bools, said: Bools, draws: Draws, several: bool
) -> tuple[dict[str, Figure], list[dict[str, Figure]]]:
    """(clips, labels) of what clips have and what they got -> figures of all, and of each label."""
    whole = tally(truth, said)
    values = {**averages_of(truth, said, several)}
    drawn: dict[str, list[Floats]] = {name: [] for name in values}
    keep = truth.shape[1] * len(draws) <= MOST_LABEL_STEPS
    parts: list[Tallies] = []
    for tallies in drawn_tallies(truth, said, draws):
        for name, found in averages(tallies, several).items():
            drawn[name].append(found)
        if keep:
            parts.append(tallies)
    overall = {name: with_interval(value, joined(drawn[name])) for name, value in values.items()}
    resampled = Tallies(*(np.concatenate(columns) for columns in zip(*parts, strict=True))) if parts else None
    labels = []
    for k in range(truth.shape[1]):
        ours = rates(Tallies(*(column[k] for column in whole)))
        theirs = rates(Tallies(*(column[:, k] for column in resampled))) if resampled else {}
        nothing = np.zeros(0)
        labels.append({name: with_interval(defined(v), theirs.get(name, nothing)) for name, v in ours.items()})
    return overall, labels


def averages_of(truth: Bools, said: Bools, several: bool) -> dict[str, float | None]:
    """The values of `averages` as scikit-learn has them."""
    from sklearn.metrics import balanced_accuracy_score, f1_score

    if not len(truth):
        return dict.fromkeys(averages(tally(truth, said), several))
    used = np.flatnonzero(truth.any(axis=0) | said.any(axis=0))
    if several:
        if not len(used):
            return {"micro_f1": None, "macro_f1": None}
        labels = np.arange(len(used))
        spare = np.zeros((len(truth), 1), np.bool_)  # one column alone would be taken for two classes
        columns = (np.hstack([truth[:, used], spare]), np.hstack([said[:, used], spare]))
        return {f"{how}_f1": float(f1_score(*columns, labels=labels, average=how)) for how in ("micro", "macro")}
    import warnings

    true, answer = truth.argmax(axis=1), said.argmax(axis=1)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "y_pred contains classes not in y_true")  # is no fault: it is counted wrong
        warnings.filterwarnings("ignore", "A single label was found")
        balanced = float(balanced_accuracy_score(true, answer))
    return {
        "balanced_accuracy": balanced,
        "macro_f1": float(f1_score(true, answer, average="macro", zero_division=0.0)),
    }


def averages(tallies: Tallies, several: bool) -> dict[str, Floats]:
    """(..., labels) -> (...)."""
    f1 = rates(tallies)["f1"]
    if several:
        both = ratio(2 * tallies.hits.sum(axis=-1), (tallies.clips + tallies.answers).sum(axis=-1))
        return {"micro_f1": both, "macro_f1": mean_of_defined(f1)}
    return {"balanced_accuracy": mean_of_defined(rates(tallies)["recall"]), "macro_f1": mean_of_defined(f1)}


def rates(tallies: Tallies) -> dict[str, Floats]:
    """Of each label; NaN where not defined."""
    clips, answers, hits = (np.asarray(column, np.float64) for column in tallies)
    return {
        "precision": ratio(hits, answers),
        "recall": ratio(hits, clips),
        "f1": ratio(2 * hits, clips + answers),
    }


def tally(truth: Bools, said: Bools) -> Tallies:
    """(clips, labels) -> (labels,)."""
    return Tallies(truth.sum(axis=0), said.sum(axis=0), (truth & said).sum(axis=0))


def drawn_tallies(truth: Bools, said: Bools, draws: Draws) -> Iterator[Tallies]:
    """Some draws at a time: (draws, labels). Most clips have few labels of many, so that sparse sums are fast."""
    from scipy.sparse import csr_array

    held = [csr_array(columns.T.astype(np.float64)) for columns in (truth, said, truth & said)]
    for begin in range(0, len(draws), CHUNK_DRAWS):
        weights = draws[begin : begin + CHUNK_DRAWS].T.astype(np.float64)
        yield Tallies(*(np.asarray(columns @ weights).T for columns in held))


def curve_figures_of(
    truth: Bools, scores: NDArray[np.floating[Any]], draws: Draws
) -> tuple[dict[str, Figure], list[dict[str, Figure]]]:
    """(clips, labels) -> the means over labels, and the figures of each label."""
    few = scores.size * len(draws) <= MOST_CURVE_STEPS
    labels, resampled = [], []
    for positive, column in zip(truth.T, scores.T, strict=True):
        values = curve_values(Frames(positive, column))
        drawn = ranked_values(positive, column, draws if few and values["auroc"] is not None else draws[:0])
        labels.append({name: with_interval(values[name], drawn[name]) for name in CURVES})
        if values["auroc"] is not None:
            resampled.append(drawn)
    means = {}
    for title, name in (("mean_average_precision", "average_precision"), ("mean_auroc", "auroc")):
        known = [value for figures in labels if (value := figures[name].value) is not None]
        drawn_means = mean_of_defined(np.stack([drawn[name] for drawn in resampled], axis=-1)) if resampled else None
        empty = np.zeros(0)
        means[title] = with_interval(
            float(np.mean(known)) if known else None, empty if drawn_means is None else drawn_means
        )
    return means, labels


def top_figures(scores: NDArray[np.floating[Any]], truth: NDArray[np.int64], draws: Draws) -> Mapping[str, Figure]:
    """Of clips whose label has the number `truth`; ranks only where there are more labels. Of equal scores, others come
    first: a network that says the same of all knows nothing."""
    own = np.take_along_axis(scores, truth[:, None], axis=1)
    rank = (scores >= own).sum(axis=1)
    ranks = [k for k in TOP_RANKS if k < scores.shape[1]]
    return {f"top_{k}_accuracy": mean_figure((rank <= k).astype(np.float64), draws) for k in ranks}


def ratio(part: Floats, whole: Floats) -> Floats:
    """NaN where there is nothing."""
    found: Floats = np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=np.asarray(whole) > 0)
    return found


def mean_of_defined(values: Floats) -> Floats:
    """(..., n) -> (...): the mean of what is no NaN; NaN where all are."""
    known = ~np.isnan(values)
    return ratio(np.where(known, values, 0.0).sum(axis=-1), known.sum(axis=-1).astype(np.float64))


def joined(parts: list[Floats]) -> Floats:
    """One behind the other."""
    return np.concatenate(parts) if parts else np.zeros(0)


def defined(value: Floats) -> float | None:
    """None for NaN."""
    return None if np.isnan(value) else float(value)
