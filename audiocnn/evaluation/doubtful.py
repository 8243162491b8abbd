"""Clips whose label and score disagree most, to find wrong labels by listening to few clips.

The doubt of a clip is the log-odds of the best other label against its own, ln(p_other / p_own). Two measures of
confident learning are based on the same ratio (Northcutt, Jiang and Chuang 2021, "Confident Learning: Estimating
Uncertainty in Dataset Labels"): self-confidence p_own and the normalised margin p_own - p_other. `benchmarks.doubtful`
compares the three. For independent labels, the doubt is that of the label furthest on the wrong side of its threshold.

`find_likely_wrong` counts errors as they do. Of the labels whose score is at least the mean score of the clips with
that label, take the one with the highest score. The clip is an error if that is not its own label. A clip whose label
is the model's answer is never an error; otherwise a label that is rarely answered would make errors of right clips.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from audiocnn.data.sources.corrections import (
    CHECKED_COLUMN,
    DOUBT_COLUMN,
    LABEL_SEPARATOR,
    LEFT_OUT,
    ORIGINAL_COLUMN,
    Corrections,
)
from audiocnn.errors import UsageError
from audiocnn.evaluation.metrics import LEAST_PROBABILITY, log_odds
from audiocnn.evaluation.results import ClipEvaluation, JudgedClip
from audiocnn.segments.segment import NONE_OF_THESE, Bools, Floats

DOUBT_COLUMNS = (
    "filename",
    "label",
    "suggested",
    "score",
    "label_score",
    DOUBT_COLUMN,
    "likely_wrong",
    ORIGINAL_COLUMN,
    CHECKED_COLUMN,
)


@dataclass(frozen=True)
class Doubt:
    """A clip. labels: its labels. suggested: those that the model gives it. score: of the suggestion. label_score: of
    its labels (the lowest of several). doubt: log-odds of another answer, above 0 if the model prefers another.
    doubted: the model's answer differs from the label."""

    filename: str
    labels: tuple[str, ...]
    suggested: tuple[str, ...]
    score: float
    label_score: float
    doubt: float
    likely_wrong: bool
    doubted: bool = True

    def row(self) -> list[str]:
        return [
            self.filename,
            LABEL_SEPARATOR.join(self.labels),
            LABEL_SEPARATOR.join(self.suggested) or NONE_OF_THESE,
            f"{self.score:.4f}",
            f"{self.label_score:.4f}",
            f"{self.doubt:.3f}",
            "yes" if self.likely_wrong else "no",
            LABEL_SEPARATOR.join(self.labels),
            "",
        ]


def find_doubtful(evaluation: ClipEvaluation, count: int, of: Collection[str] = ()) -> list[Doubt]:
    """The `count` most doubtful clips, most doubtful first. of: if given, only clips with one of these labels.
    UsageError if the model knows none of the labels."""
    labels = list(evaluation.labels)
    answers = evaluation.answers
    truth = np.array([[label in answer.labels for label in labels] for answer in answers], np.bool_)
    if not truth.any():
        seen = ", ".join(sorted({label for answer in answers for label in answer.labels})[:3])
        raise UsageError(f"the model knows none of the labels ({seen}); use a model that was trained on them")
    scores = np.stack([answer.scores for answer in answers])
    if evaluation.answer == "several" or len(labels) == 1:
        thresholds = np.array([evaluation.labels[label].threshold for label in labels], np.float64)
        doubts = _doubts_alone(scores, truth, thresholds)
    else:
        doubts = doubts_between(scores, truth)
    wrong = find_likely_wrong(scores, truth, evaluation.answer == "several" or len(labels) == 1)
    chosen = [k for k, answer in enumerate(answers) if not of or set(of).intersection(answer.labels)]
    order = sorted(chosen, key=lambda k: (-doubts[k], answers[k].filename))[:count]
    return [_describe_doubt(answers[k], labels, float(doubts[k]), bool(wrong[k])) for k in order]


def _describe_doubt(answer: JudgedClip, labels: Sequence[str], doubt: float, wrong: bool) -> Doubt:
    """The answer "not" a label is not a label to suggest."""
    suggested = tuple(label for label in answer.answers if label in labels)
    wrong = wrong and set(suggested) != set(answer.labels).intersection(labels)
    doubted = wrong or answer.right is not True
    return Doubt(answer.filename, answer.labels, suggested, answer.score, answer.own_score, doubt, wrong, doubted)


def doubts_between(scores: Floats, truth: Bools) -> Floats:
    """(clips, labels) -> (clips,): the best other label against the clip's own. A label that the model does not know
    has the lowest score."""
    held = np.maximum(scores, LEAST_PROBABILITY)
    own = np.where(truth, held, LEAST_PROBABILITY).max(axis=1)
    other = np.where(truth, LEAST_PROBABILITY, held).max(axis=1)
    doubts: Floats = np.log(other) - np.log(own)
    return doubts


def _doubts_alone(scores: Floats, truth: Bools, thresholds: Floats) -> Floats:
    """(clips, labels) and (labels,) -> (clips,): how far the worst label is on the wrong side of its threshold."""
    past: Floats = log_odds(scores) - log_odds(thresholds)
    doubts: Floats = np.where(truth, -past, past).max(axis=1)
    return doubts


def find_likely_wrong(scores: Floats, truth: Bools, alone: bool) -> Bools:
    """(clips,): those off the diagonal of the confident joint. alone: each label is compared with its absence."""
    if alone:
        sides = np.stack([1.0 - scores, scores])  # (2, clips, labels)
        given = np.stack([~truth, truth])
        usual = _mean_where(sides, given, axis=1)
        sure = np.where(sides >= usual[:, None, :], sides, -1.0)
        taken = sure.argmax(axis=0) == 1
        wrong: Bools = ((taken != truth) & (sure.max(axis=0) >= 0)).any(axis=1)
        return wrong
    usual = _mean_where(scores, truth, axis=0)
    sure = np.where(scores >= usual, scores, -1.0)
    taken = np.eye(scores.shape[1], dtype=np.bool_)[sure.argmax(axis=1)]
    found: Bools = ~(taken & truth).any(axis=1) & (sure.max(axis=1) >= 0)
    return found


def _mean_where(values: Floats, chosen: Bools, axis: int) -> Floats:
    """The mean of the chosen values; infinity if there are none."""
    counts = chosen.sum(axis=axis)
    sums = np.where(chosen, values, 0.0).sum(axis=axis)
    found: Floats = np.divide(sums, counts, out=np.full(sums.shape, np.inf), where=counts > 0)
    return found


def settled_rows(settled: Corrections) -> list[list[str]]:
    """Clips that were corrected earlier, as rows of the same table. Clips with segments cannot be in it."""
    rows = []
    for name, right in settled.items():
        if right is None or right.annotations is None:
            label = LEFT_OUT if right is None else LABEL_SEPARATOR.join(right.labels)
            rows.append([name, label, *[""] * (len(DOUBT_COLUMNS) - 3), "yes"])
    return rows


def doubts_to_tsv(doubts: Iterable[Doubt], settled: Sequence[Sequence[str]] = ()) -> str:
    """A TSV table to correct: change `label`, or set it to "-" to leave the clip out. settled: rows to append."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow(DOUBT_COLUMNS)
    writer.writerows(doubt.row() for doubt in doubts)
    writer.writerows(settled)
    return text.getvalue()
