"""Recordings that have one label as a whole: how often the answer is right, and how well each label ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiocnn.figures import ClipEvaluation, EvaluationSettings
from audiocnn.metrics import Frames
from audiocnn.resampling import curve_figures, draw_recordings, mean_figure, no_intervals
from audiocnn.segments import SegmentRule

CLIP_FIGURES = ("auroc", "average_precision", "eer")


@dataclass(frozen=True)
class ScoredClip:
    """One clip, its mean score of each class (classes,), its one label, and what is drawn with it ("": it alone)."""

    filename: str
    scores: NDArray[np.floating[Any]]
    label: str
    group: str = ""


def evaluate_clips(
    clips: Sequence[ScoredClip],
    labels: Sequence[str],
    rules: Mapping[str, SegmentRule],
    settings: EvaluationSettings | None = None,
) -> ClipEvaluation:
    """Judges whole clips, at least one. The answer is the label with the highest mean score.

    A model with one label has no other to give: its answer is whether the mean score reaches the threshold.
    """
    settings = settings or EvaluationSettings()
    groups = [clip.group for clip in clips]
    draws = draw_recordings(len(clips), settings.resamples, settings.seed, groups)
    notes = [note for note in [no_intervals(groups, "clip")] if note]
    figures = {}
    for column, label in enumerate(labels):
        frames = [Frames(np.array([c.label == label]), c.scores[column : column + 1]) for c in clips]
        curve = curve_figures(frames, draws)
        figures[label] = {name: curve[name] for name in CLIP_FIGURES}
        if curve["auroc"].value is None:
            share = "every" if clips[0].label == label else "no"
            notes.append(f'{share} clip has the label "{label}", so its curves are not defined')
    if len(labels) == 1:
        threshold = rules[labels[0]].threshold
        right = [float((clip.scores[0] >= threshold) == (clip.label == labels[0])) for clip in clips]
    else:
        known = set(labels)
        answers = [labels[int(np.argmax(clip.scores))] for clip in clips]
        right = [
            float(answer == clip.label) if clip.label in known else np.nan
            for answer, clip in zip(answers, clips, strict=True)
        ]
        if unknown := sum(clip.label not in known for clip in clips):
            who, them = ("1 clip has", "it") if unknown == 1 else (f"{unknown} clips have", "them")
            notes.append(f"{who} a label that the model does not know; accuracy is without {them}")
    return ClipEvaluation(len(clips), mean_figure(np.array(right), draws), figures, tuple(notes))
