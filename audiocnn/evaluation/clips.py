"""Evaluates recordings with labels for the whole clip: how often the answer is right, and which labels are confused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiocnn.evaluation.bootstrap import (
    calibration_figure,
    draw_recordings,
    pool_frames,
    share_figure,
    why_no_interval,
    without_point_interval,
)
from audiocnn.evaluation.clip_metrics import decision_figures, label_curve_figures, top_figures
from audiocnn.evaluation.metrics import Frames, compute_curves
from audiocnn.evaluation.results import (
    BY_RECORDING,
    AnswerMode,
    ClipEvaluation,
    ClipGroup,
    ClipLabel,
    Confusion,
    EvaluationSettings,
    Figure,
    JudgedClip,
    count_confusions,
    value_of_tag,
)
from audiocnn.segments.segment import NONE_OF_THESE, Bools, Floats, is_background_label

_NAMED_LABELS = 3  # for more, a note gives their number


@dataclass(frozen=True)
class ScoredClip:
    """One clip, its score of each class (classes,), and the group that it is resampled with ("": none).

    label: its only label, or the first one. labels: all of them, if it has several.
    """

    filename: str
    scores: NDArray[np.floating[Any]]
    label: str
    group: str = ""
    labels: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def all_labels(self) -> tuple[str, ...]:
        """Empty if the labels of the clip are unknown."""
        return self.labels or ((self.label,) if self.label else ())


@dataclass(frozen=True)
class _Decisions:
    """Reference and answers of clips: (clips, classes). `classes` are the labels; with one label also "not" it, with a
    background also "none of these". known: (clips,) whether the model can be right. own, given: (clips,) scores of the
    reference label and of the answer.
    """

    classes: tuple[str, ...]
    truth: Bools
    answered: Bools
    known: Bools
    own: Floats
    given: Floats

    @property
    def right(self) -> Floats:
        """(clips,) 1 or 0; NaN if unknown."""
        return np.where(self.known, (self.truth == self.answered).all(axis=1), np.nan)

    def select(self, clips: NDArray[np.int64]) -> _Decisions:
        own, given = self.own[clips], self.given[clips]
        return _Decisions(self.classes, self.truth[clips], self.answered[clips], self.known[clips], own, given)


def evaluate_clips(
    clips: Sequence[ScoredClip],
    labels: Sequence[str],
    thresholds: Mapping[str, float],
    settings: EvaluationSettings | None = None,
    answer: AnswerMode = "one",
    known: Sequence[str] | None = None,
    background: bool = False,
) -> ClipEvaluation:
    """Evaluate at least one clip. The answer is the label with the highest score or, with `several`, each label whose
    score reaches its threshold. Of these labels, only `known` ones are evaluated: if nobody listened for music, it is
    not known to be absent. background: a clip has no answer if "none of these" (1 minus the sum of its scores) is more
    likely than every label.

    A model with one label cannot choose another one. Its answer is whether the score reaches the threshold.
    """
    settings = settings or EvaluationSettings()
    kept = [k for k, label in enumerate(labels) if answer == "one" or known is None or label in known]
    labels = [labels[k] for k in kept]
    scores = np.stack([clip.scores for clip in clips])[:, kept].astype(np.float64)
    least = np.array([thresholds[label] for label in labels])
    if len(labels) == 1:
        answer = "one"
    decisions = _decide(clips, labels, scores, least, answer, background)
    groups = [clip.group for clip in clips]
    draws = draw_recordings(len(clips), settings.resamples, settings.seed, groups)
    figures, decided = _decision_figures(decisions, clips, scores, draws, answer)
    truth = decisions.truth[:, : len(labels)]
    means, ranked = label_curve_figures(truth, scores, draws)
    calibration, reliability = _calibration(decisions, scores, draws, answer)
    shown = least if answer == "several" or len(labels) == 1 else None
    return ClipEvaluation(
        len(clips),
        _honest(figures | means | {"calibration_error": calibration}),
        {
            label: ClipLabel(
                int(truth[:, k].sum()),
                _honest(decided[k] | ranked[k]),
                None if shown is None else round(float(shown[k]), 6),
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


def _honest(figures: Mapping[str, Figure]) -> dict[str, Figure]:
    return {name: without_point_interval(figure) for name, figure in figures.items()}


def _decide(
    clips: Sequence[ScoredClip],
    labels: Sequence[str],
    scores: Floats,
    thresholds: Floats,
    answer: AnswerMode,
    background: bool,
) -> _Decisions:
    """thresholds: (labels,), not used if one of several labels is the answer."""
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
        answered = scores >= thresholds
        return _decisions(tuple(labels), truth, answered, scores, np.ones(len(clips), np.bool_))
    known: tuple[str, ...] = tuple(labels)
    if background:
        rest = 1.0 - scores.sum(axis=1, keepdims=True)
        others = [not any(row) and is_background(clip) for row, clip in zip(truth, clips, strict=True)]
        known, scores = (*known, NONE_OF_THESE), np.hstack([scores, rest])
        truth = np.hstack([truth, np.array(others, np.bool_)[:, None]])
    answered = np.zeros(scores.shape, np.bool_)
    answered[np.arange(len(clips)), scores.argmax(axis=1)] = True
    return _decisions(known, truth, answered, scores)


def is_background(clip: ScoredClip) -> bool:
    """Whether the labels of a clip only say that it is something else."""
    return bool(clip.all_labels) and all(is_background_label(label) for label in clip.all_labels)


def _decisions(
    classes: tuple[str, ...], truth: Bools, answered: Bools, scores: Floats, known: Bools | None = None
) -> _Decisions:
    """The scores of the label and of the answer, the lowest of several. Without a label 0; without an answer the
    strongest evidence against that."""
    own = np.where(truth, scores, np.inf).min(axis=1, initial=np.inf)
    given = np.where(answered, scores, np.inf).min(axis=1, initial=np.inf)
    own = np.where(np.isinf(own), 0.0, own)
    given = np.where(np.isinf(given), 1.0 - scores.max(axis=1), given)
    held = np.asarray(truth.any(axis=1)) if known is None else known
    return _Decisions(classes, truth, answered, held, own, given)


def _decision_figures(
    decisions: _Decisions, clips: Sequence[ScoredClip], scores: Floats, draws: Any, answer: AnswerMode
) -> tuple[dict[str, Figure], list[dict[str, Figure]]]:
    """Metrics of answers, without clips whose label the model does not know."""
    right, known, columns = decisions.right, decisions.known, max(2, scores.shape[1])
    overall, labels = decision_figures(
        decisions.truth[known, :columns], decisions.answered[known, :columns], draws[:, known], answer == "several"
    )
    if answer == "several":
        figures = {"subset_accuracy": share_figure(right, draws), **overall}
        if all(len(clip.all_labels) == 1 for clip in clips) and decisions.truth.any(axis=1).all():
            best = decisions.truth[np.arange(len(clips)), scores.argmax(axis=1)]
            figures = {"accuracy": share_figure(best.astype(np.float64), draws), **figures}
        return figures, labels
    top: Mapping[str, Figure] = {}
    labelled = known & decisions.truth[:, :columns].any(axis=1)
    if labelled.any() and scores.shape[1] > 1:
        top = top_figures(scores[labelled], decisions.truth[labelled, :columns].argmax(axis=1), draws[:, labelled])
    return {"accuracy": share_figure(right, draws), **overall, **top}, labels


def _calibration(
    decisions: _Decisions, scores: Floats, draws: Any, answer: AnswerMode
) -> tuple[Figure, tuple[Floats, Floats, Floats]]:
    """For the answers; for independent labels, for each label of each clip."""
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
    return calibration_figure(frames, draws), compute_curves(pool_frames(frames)).calibration


def _confusion(decisions: _Decisions, clips: Sequence[ScoredClip]) -> Confusion:
    known = np.flatnonzero(decisions.known)
    truth, answered = decisions.truth[known].argmax(axis=1), decisions.answered[known].argmax(axis=1)
    names = [clips[int(k)].filename for k in known]
    return count_confusions(decisions.classes, truth, answered, names, (decisions.given - decisions.own)[known])


def _by_tag(
    decisions: _Decisions,
    clips: Sequence[ScoredClip],
    scores: Floats,
    settings: EvaluationSettings,
    answer: AnswerMode,
) -> dict[str, dict[str, ClipGroup]]:
    """Metrics of answers for each value of the requested columns."""
    found: dict[str, dict[str, ClipGroup]] = {}
    for tag in settings.group_by:
        if tag == BY_RECORDING and not any(tag in clip.tags for clip in clips):
            found[tag] = _by_clip(decisions, clips)
            continue
        values = np.array([value_of_tag(tag, clip.tags, clip.filename) for clip in clips])
        found[tag] = {}
        for value in np.unique(values).tolist():
            held = np.flatnonzero(values == value)
            mine = [clips[int(k)] for k in held]
            draws = draw_recordings(len(mine), settings.resamples, settings.seed, [clip.group for clip in mine])
            figures, _ = _decision_figures(decisions.select(held), mine, scores[held], draws, answer)
            found[tag][value] = ClipGroup(len(mine), _honest(figures))
    return found


def _by_clip(decisions: _Decisions, clips: Sequence[ScoredClip]) -> dict[str, ClipGroup]:
    """Whether each clip was answered right; wrong ones first, the most confident at the top."""
    right, sure = decisions.right, decisions.given - decisions.own
    order = sorted(range(len(clips)), key=lambda k: (bool(right[k]), -sure[k], clips[k].filename))
    values = {k: None if np.isnan(right[k]) else float(right[k]) for k in order}
    return {clips[k].filename: ClipGroup(1, {"accuracy": Figure(value)}) for k, value in values.items()}


def _answers(decisions: _Decisions, clips: Sequence[ScoredClip], scores: Floats) -> list[JudgedClip]:
    right = decisions.right
    answered: list[list[str]] = [[] for _ in clips]
    for row, column in np.argwhere(decisions.answered[:, : max(2, scores.shape[1])]).tolist():
        answered[row].append(decisions.classes[column])
    return [
        JudgedClip(
            clip.filename,
            clip.all_labels,
            tuple(answered[k]),
            scores[k],
            float(decisions.given[k]),
            float(decisions.own[k]),
            None if np.isnan(right[k]) else bool(right[k]),
        )
        for k, clip in enumerate(clips)
    ]


def _notes(
    clips: Sequence[ScoredClip], labels: Sequence[str], truth: Bools, decisions: _Decisions, answer: AnswerMode
) -> list[str]:
    notes = [note for note in [why_no_interval([clip.group for clip in clips], "clip")] if note]
    counts = truth.sum(axis=0)
    for share, lacking in (("no", counts == 0), ("every", counts == len(clips))):
        named = [label for label, lacks in zip(labels, lacking, strict=True) if lacks]
        if len(named) > _NAMED_LABELS:
            shown = ", ".join(f'"{label}"' for label in named[:_NAMED_LABELS])
            notes.append(f"{share} clip has {len(named)} of the labels ({shown}, ...), so their curves are undefined")
        else:
            notes += [f'{share} clip has the label "{label}", so its curves are undefined' for label in named]
    if unknown := int((~decisions.known).sum()):
        who, them = ("1 clip has", "it") if unknown == 1 else (f"{unknown} clips have", "them")
        notes.append(f"{who} a label unknown to the model; accuracy excludes {them}")
        if decisions.classes[-1] == NONE_OF_THESE:
            rejected = int(decisions.answered[~decisions.known, -1].sum())
            notes[-1] += f". {rejected} of {unknown} got no answer, which is right if no label of the model applies"
    elif answer == "several" and (strange := {x for clip in clips for x in clip.all_labels} - set(labels)):
        shown = ", ".join(f'"{label}"' for label in sorted(strange)[:_NAMED_LABELS])
        notes.append(f"labels unknown to the model, not evaluated: {shown}{', ...' * (len(strange) > _NAMED_LABELS)}")
    return notes
