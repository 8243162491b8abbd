"""Recordings that are labelled as a whole: how often the answer is right, what is taken for what, how labels rank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiocnn.clip_evaluation import Answer, ClipAnswer, ClipEvaluation, ClipGroup, ClipLabel
from audiocnn.clip_figures import curve_figures_of, decision_figures, top_figures
from audiocnn.confusion import Confusion, confuse
from audiocnn.curves import curves_of
from audiocnn.figures import EvaluationSettings, Figure
from audiocnn.intervals import Bools, Floats
from audiocnn.metrics import Frames
from audiocnn.resampling import calibration_figure, draw_recordings, mean_figure, no_intervals, pool
from audiocnn.segments import SegmentRule

NAMED_LABELS = 3  # beyond, a note counts them


@dataclass(frozen=True)
class ScoredClip:
    """One clip, its mean score of each class (classes,), and what is drawn with it ("": it alone).

    label: its only label, or the first. labels: all of them, where it has several.
    """

    filename: str
    scores: NDArray[np.floating[Any]]
    label: str
    group: str = ""
    labels: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def all_labels(self) -> tuple[str, ...]:
        """One at least where anything is known of it."""
        return self.labels or ((self.label,) if self.label else ())


@dataclass(frozen=True)
class Decisions:
    """What clips have and what they got: (clips, classes). `classes` are the labels; of a model with one label also
    "not" it. known: (clips,) whether the model can be right. own, given: (clips,) scores of the label and the answer.
    """

    classes: tuple[str, ...]
    truth: Bools
    said: Bools
    known: Bools
    own: Floats
    given: Floats

    @property
    def right(self) -> Floats:
        """(clips,) 1 or 0, NaN where not known."""
        return np.where(self.known, (self.truth == self.said).all(axis=1), np.nan)

    def of(self, clips: NDArray[np.int64]) -> Decisions:
        """Some of the clips."""
        own, given = self.own[clips], self.given[clips]
        return Decisions(self.classes, self.truth[clips], self.said[clips], self.known[clips], own, given)


def evaluate_clips(
    clips: Sequence[ScoredClip],
    labels: Sequence[str],
    rules: Mapping[str, SegmentRule],
    settings: EvaluationSettings | None = None,
    answer: Answer = "one",
    known: Sequence[str] | None = None,
) -> ClipEvaluation:
    """Judges whole clips, at least one. The answer is the label with the highest mean score, or with `several` each
    label whose mean score reaches its threshold; of these only `known` ones are judged, since where nobody listened for
    music none is known to be missing.

    A model with one label has no other to give: its answer is whether the mean score reaches the threshold.
    """
    settings = settings or EvaluationSettings()
    kept = [k for k, label in enumerate(labels) if answer == "one" or known is None or label in known]
    labels = [labels[k] for k in kept]
    scores = np.stack([clip.scores for clip in clips])[:, kept].astype(np.float64)
    thresholds = np.array([rules[label].threshold for label in labels])
    if len(labels) == 1:
        answer = "one"
    decisions = decide(clips, labels, scores, thresholds, answer)
    groups = [clip.group for clip in clips]
    draws = draw_recordings(len(clips), settings.resamples, settings.seed, groups)
    figures, decided = _decision_figures(decisions, clips, scores, draws, answer)
    truth = decisions.truth[:, : len(labels)]
    means, ranked = curve_figures_of(truth, scores, draws)
    calibration, reliability = _calibration(decisions, scores, draws, answer)
    shown = thresholds if answer == "several" or len(labels) == 1 else None
    return ClipEvaluation(
        len(clips),
        figures | means | {"calibration_error": calibration},
        {
            label: ClipLabel(
                int(truth[:, k].sum()), decided[k] | ranked[k], None if shown is None else round(float(shown[k]), 6)
            )
            for k, label in enumerate(labels)
        },
        answer,
        _confusion(decisions, clips) if answer == "one" else None,
        reliability,
        _by_tag(decisions, clips, scores, settings, answer),
        tuple(_answers(decisions, clips, scores)),
        tuple(groups),
        tuple(_notes(clips, labels, truth, decisions, answer)),
    )


def decide(
    clips: Sequence[ScoredClip],
    labels: Sequence[str],
    scores: Floats,
    thresholds: Floats,
    answer: Answer,
) -> Decisions:
    """What each clip gets. thresholds: (labels,), unused where one of several labels is the answer."""
    numbers = {label: k for k, label in enumerate(labels)}
    rows, columns = [], []
    for row, clip in enumerate(clips):
        mine = {numbers[label] for label in clip.all_labels if label in numbers}
        rows += [row] * len(mine)
        columns += sorted(mine)
    truth = np.zeros(scores.shape, np.bool_)
    truth[rows, columns] = True
    if len(labels) == 1:
        hit = scores >= thresholds
        sure = np.concatenate([scores, 1.0 - scores], axis=1)
        classes = (labels[0], f"not {labels[0]}")
        return _decisions(classes, np.hstack([truth, ~truth]), np.hstack([hit, ~hit]), sure)
    if answer == "several":
        said = scores >= thresholds
        return _decisions(tuple(labels), truth, said, scores, np.ones(len(clips), np.bool_))
    said = np.zeros(scores.shape, np.bool_)
    said[np.arange(len(clips)), scores.argmax(axis=1)] = True
    return _decisions(tuple(labels), truth, said, scores)


def _decisions(
    classes: tuple[str, ...], truth: Bools, said: Bools, scores: Floats, known: Bools | None = None
) -> Decisions:
    """The scores of the label and of the answer: the least of several; without one 0 for a label, and what is most
    against having none for an answer."""
    own = np.where(truth, scores, np.inf).min(axis=1, initial=np.inf)
    given = np.where(said, scores, np.inf).min(axis=1, initial=np.inf)
    own = np.where(np.isinf(own), 0.0, own)
    given = np.where(np.isinf(given), 1.0 - scores.max(axis=1), given)
    held = np.asarray(truth.any(axis=1)) if known is None else known
    return Decisions(classes, truth, said, held, own, given)


def _decision_figures(
    decisions: Decisions, clips: Sequence[ScoredClip], scores: Floats, draws: Any, answer: Answer
) -> tuple[dict[str, Figure], list[dict[str, Figure]]]:
    """Figures of answers; those of clips whose label the model does not know are left out."""
    right, known = decisions.right, decisions.known
    overall, labels = decision_figures(
        decisions.truth[known], decisions.said[known], draws[:, known], answer == "several"
    )
    if answer == "several":
        figures = {"subset_accuracy": mean_figure(right, draws), **overall}
        if all(len(clip.all_labels) == 1 for clip in clips) and decisions.truth.any(axis=1).all():
            best = decisions.truth[np.arange(len(clips)), scores.argmax(axis=1)]
            figures = {"accuracy": mean_figure(best.astype(np.float64), draws), **figures}
        return figures, labels
    top: Mapping[str, Figure] = {}
    if known.any() and scores.shape[1] > 1:
        top = top_figures(scores[known], decisions.truth[known].argmax(axis=1), draws[:, known])
    return {"accuracy": mean_figure(right, draws), **overall, **top}, labels


def _calibration(
    decisions: Decisions, scores: Floats, draws: Any, answer: Answer
) -> tuple[Figure, tuple[Floats, Floats, Floats]]:
    """Of the answer, or where labels stand alone of each label of each clip."""
    if answer == "several" or scores.shape[1] == 1:
        truth = decisions.truth[:, : scores.shape[1]]
        frames = [Frames(positive, row) for positive, row in zip(truth, scores, strict=True)]
    else:
        known = np.flatnonzero(decisions.known)
        frames = [Frames(np.array([decisions.right[k] == 1.0]), decisions.given[k : k + 1]) for k in known]
        draws = draws[:, known]
    if not frames:
        nothing = np.zeros(0)
        return Figure(None), (nothing, nothing, nothing)
    return calibration_figure(frames, draws), curves_of(pool(frames)).calibration


def _confusion(decisions: Decisions, clips: Sequence[ScoredClip]) -> Confusion:
    known = np.flatnonzero(decisions.known)
    truth, said = decisions.truth[known].argmax(axis=1), decisions.said[known].argmax(axis=1)
    names = [clips[int(k)].filename for k in known]
    return confuse(decisions.classes, truth, said, names, (decisions.given - decisions.own)[known])


def _by_tag(
    decisions: Decisions,
    clips: Sequence[ScoredClip],
    scores: Floats,
    settings: EvaluationSettings,
    answer: Answer,
) -> dict[str, dict[str, ClipGroup]]:
    """The figures of answers for each value of the columns that were asked for."""
    found: dict[str, dict[str, ClipGroup]] = {}
    for tag in settings.group_by:
        values = np.array([clip.tags.get(tag, "") for clip in clips])
        found[tag] = {}
        for value in np.unique(values).tolist():
            held = np.flatnonzero(values == value)
            mine = [clips[int(k)] for k in held]
            draws = draw_recordings(len(mine), settings.resamples, settings.seed, [clip.group for clip in mine])
            figures, _ = _decision_figures(decisions.of(held), mine, scores[held], draws, answer)
            found[tag][value] = ClipGroup(len(mine), figures)
    return found


def _answers(decisions: Decisions, clips: Sequence[ScoredClip], scores: Floats) -> list[ClipAnswer]:
    right = decisions.right
    said: list[list[str]] = [[] for _ in clips]
    for row, column in np.argwhere(decisions.said).tolist():
        said[row].append(decisions.classes[column])
    return [
        ClipAnswer(
            clip.filename,
            clip.all_labels,
            tuple(said[k]),
            scores[k],
            float(decisions.given[k]),
            float(decisions.own[k]),
            None if np.isnan(right[k]) else bool(right[k]),
        )
        for k, clip in enumerate(clips)
    ]


def _notes(
    clips: Sequence[ScoredClip], labels: Sequence[str], truth: Bools, decisions: Decisions, answer: Answer
) -> list[str]:
    """What is not defined, and why."""
    notes = [note for note in [no_intervals([clip.group for clip in clips], "clip")] if note]
    counts = truth.sum(axis=0)
    for share, lacking in (("no", counts == 0), ("every", counts == len(clips))):
        named = [label for label, lacks in zip(labels, lacking, strict=True) if lacks]
        if len(named) > NAMED_LABELS:
            shown = ", ".join(f'"{label}"' for label in named[:NAMED_LABELS])
            notes.append(f"{share} clip has {len(named)} of the labels ({shown}, ...), so their curves are not defined")
        else:
            notes += [f'{share} clip has the label "{label}", so its curves are not defined' for label in named]
    if unknown := int((~decisions.known).sum()):
        who, them = ("1 clip has", "it") if unknown == 1 else (f"{unknown} clips have", "them")
        notes.append(f"{who} a label that the model does not know; accuracy is without {them}")
    elif answer == "several" and (strange := {x for clip in clips for x in clip.all_labels} - set(labels)):
        shown = ", ".join(f'"{label}"' for label in sorted(strange)[:NAMED_LABELS])
        notes.append(f"the model does not know {shown}{', ...' * (len(strange) > NAMED_LABELS)}; not judged")
    return notes
