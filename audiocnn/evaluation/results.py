"""The results of an evaluation as plain data, and the names of metrics.

`Evaluation` has `LabelEvaluation` by label and condition, each with `Figure` values, and for whole clips a
`ClipEvaluation` with its `Confusion`. Each `to_dict` returns a part of report.json.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from audiocnn.data.sources.corrections import LABEL_SEPARATOR
from audiocnn.errors import UsageError
from audiocnn.evaluation.metrics import Curves
from audiocnn.inference.frames import data_frame
from audiocnn.segments.finder import SegmentRule
from audiocnn.segments.segment import Floats
from audiocnn.units import round_seconds

if TYPE_CHECKING:
    import pandas

_REPORT_SCHEMA = 1
_EXAMPLES_WRONG, _EXAMPLES_RIGHT = 20, 10
_MOST_HEARD_PAIRS = 10
MOST_MATRIX_LABELS = 200  # for more, report.json has only the pairs, because the matrix grows with the square
_MOST_PAIRS = 20
_FILES_A_PAIR = 5
AnswerMode = Literal["one", "several"]
"""Either the label with the highest score is the answer, or every label that reaches its threshold."""
MAIN_CLIP_FIGURES: dict[AnswerMode, tuple[str, ...]] = {  # the most informative ones
    "one": ("accuracy", "balanced_accuracy", "macro_f1"),
    "several": ("mean_average_precision", "macro_f1", "subset_accuracy"),
}
_TITLES = {  # of metrics whose title differs from their name
    "auroc": "AUROC",
    "tpr_at_5pct_fpr": "TPR at 5 % FPR",
    "tpr_at_31_5pct_fpr": "TPR at 31.5 % FPR",
    "fpr_at_5pct_miss": "FPR at 5 % miss",
    "eer": "EER",
    "f1": "F1",
    "segment_f1": "segment F1",
    "false_segment_share": "clips with a false segment",
    "edges_within_50ms": "edges within 50 ms",
    "edges_within_100ms": "edges within 100 ms",
    "subset_accuracy": "all labels right",
    "micro_f1": "micro F1",
    "macro_f1": "macro F1",
    "top_3_accuracy": "top-3 accuracy",
    "top_5_accuracy": "top-5 accuracy",
    "mean_auroc": "mean AUROC",
}


BY_RECORDING = "recording"  # as a tag to group by, unless the data has a column of this name


def value_of_tag(tag: str, tags: Mapping[str, str], filename: str) -> str:
    """The value that a recording is grouped by. For BY_RECORDING, its name."""
    return tags.get(tag, filename if tag == BY_RECORDING else "")


def figure_title(name: str, collar_seconds: float | None = None) -> str:
    """The title of a metric in tables and pictures, with the collar if it uses one."""
    if name == "detection_error_rate_collar" and collar_seconds is not None:
        return f"detection error rate, collar {collar_seconds:g} s"
    return _TITLES.get(name, name.replace("_", " "))


@dataclass(frozen=True, slots=True)
class Figure:
    """A value and its 95 % interval; None if undefined.

    `resampled` has the value of each bootstrap draw, NaN if undefined, for computing differences.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    resampled: Floats | None = field(default=None, repr=False, compare=False)

    def to_dict(self) -> dict[str, float | None]:
        """Value and interval by name, rounded to six digits."""
        numbers = {"value": self.value, "low": self.low, "high": self.high}
        return {name: None if number is None else round(number, 6) for name, number in numbers.items()}


@dataclass(frozen=True)
class EvaluationSettings:
    """Settings of `evaluate`.

    - `grid_seconds`: length of a frame.
    - `resamples`: bootstrap draws; 0 for no intervals.
    - `group_by`: columns for whose values figures are also computed. "recording" computes them for each recording, the
      worst first, without intervals.
    - `collar_seconds`: collar of the one figure that has a collar.
    - `smoothing_seconds`: curves are also computed for scores smoothed over each of these lengths.
    """

    grid_seconds: float = 0.01
    resamples: int = 1000
    seed: int = 0
    collar_seconds: float = 0.5
    smoothing_seconds: tuple[float, ...] = (0.2, 0.6)
    group_by: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.grid_seconds < math.inf:
            raise UsageError(f"grid_seconds {self.grid_seconds:g}: give a number of seconds above 0, such as 0.01")
        if not 0 <= self.collar_seconds < math.inf:
            raise UsageError(f"--collar {self.collar_seconds:g}: give a number of seconds, 0 or more")
        for seconds in self.smoothing_seconds:
            if not 0 < seconds < math.inf:
                raise UsageError(f"--smooth {seconds:g}: give a number of seconds above 0, such as 0.6")
        if self.resamples < 0:
            raise UsageError(f"--resamples {self.resamples}: give a number, or 0 for no confidence intervals")


@dataclass(frozen=True)
class LabelEvaluation:
    """The results of one label.

    reference_seconds: annotated time. figures: by the names and in the order of `metrics`. smoothed: those of curves,
    by the smoothing time in seconds. curves: of all recordings, not of groups of them. notes: what is undefined, and
    why.
    points: results at each operating point of the model, by name.
    """

    label: str
    recordings: int
    seconds: float
    reference_seconds: float
    rule: SegmentRule
    figures: dict[str, Figure]
    smoothed: dict[float, dict[str, Figure]] = field(default_factory=dict)
    curves: Curves | None = field(default=None, repr=False, compare=False)
    notes: tuple[str, ...] = ()
    points: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def best_point(self) -> str | None:
        """The operating point with the lowest detection error, or the lowest false alarm if nothing is annotated."""
        for name in ("detection_error_rate", "false_alarm_rate"):
            if values := {point: figures[name] for point, figures in self.points.items() if name in figures}:
                return min(values, key=values.__getitem__)
        return None

    def to_dict(self) -> dict[str, Any]:
        longest = self.rule.max_speech_seconds
        return {
            "recordings": self.recordings,
            "seconds": round_seconds(self.seconds),
            "reference_seconds": round_seconds(self.reference_seconds),
            "threshold": self.rule.threshold,
            "neg_threshold": round(self.rule.closing_threshold, 6),
            "min_speech": self.rule.min_speech_seconds,
            "min_silence": self.rule.min_silence_seconds,
            "pad": self.rule.pad_seconds,
            **({} if self.rule.end_pad_seconds is None else {"end_pad": self.rule.end_pad_seconds}),
            "max_speech": longest if math.isfinite(longest) else None,
            "figures": figures_to_dict(self.figures),
            "smoothed": {f"{seconds:g}": figures_to_dict(figures) for seconds, figures in self.smoothed.items()},
            **({"curves": self.curves.to_dict()} if self.curves else {}),
            **(self._points_to_dict() if self.points else {}),
            "notes": list(self.notes),
        }

    def _points_to_dict(self) -> dict[str, Any]:
        rounded = {name: {key: round(x, 6) for key, x in figures.items()} for name, figures in self.points.items()}
        return {"operating_points": rounded, "best_operating_point": self.best_point}


@dataclass(frozen=True, slots=True)
class RecordingErrors:
    """Missed and falsely detected time of one label in a recording, in seconds."""

    filename: str
    seconds: float
    reference_seconds: float
    missed_seconds: float
    false_seconds: float

    @property
    def wrong_seconds(self) -> float:
        return self.missed_seconds + self.false_seconds

    @property
    def error_rate(self) -> float:
        """Relative to the reference or, without one, to the recording."""
        whole = self.reference_seconds or self.seconds
        return self.wrong_seconds / whole if whole else 0.0


@dataclass(frozen=True)
class Evaluation:
    """All results: by label; by tag, value and label; of clips. Also (file, reason) of entries that were not scored.

    recordings: the names of those evaluated by segments, in the order of the bootstrap counts. drawn: the group that
    each was resampled with. unknown: labels of the reference that the model does not know -> number of entries. errors:
    by label, of each recording, worst first.
    """

    settings: EvaluationSettings
    labels: dict[str, LabelEvaluation] = field(default_factory=dict)
    groups: dict[str, dict[str, dict[str, LabelEvaluation]]] = field(default_factory=dict)
    clip: ClipEvaluation | None = None
    failures: tuple[tuple[str, str], ...] = ()
    recordings: tuple[str, ...] = ()
    drawn: tuple[str, ...] = ()
    unknown: Mapping[str, int] = field(default_factory=dict)
    errors: Mapping[str, tuple[RecordingErrors, ...]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The contents of report.json. The command adds the names of model and data."""
        return {
            "schema": _REPORT_SCHEMA,
            "type": "evaluation",
            "grid": self.settings.grid_seconds,
            "collar": self.settings.collar_seconds,
            "smoothing": list(self.settings.smoothing_seconds),
            "resamples": self.settings.resamples,
            "seed": self.settings.seed,
            "labels": _to_dicts(self.labels),
            "groups": {
                tag: {value: _to_dicts(labels) for value, labels in values.items()}
                for tag, values in self.groups.items()
            },
            "clip": self.clip.to_dict() if self.clip else None,
            "unknown_labels": dict(self.unknown),
            "failures": [{"file": name, "error": error} for name, error in self.failures],
        }


def figures_to_dict(figures: Mapping[str, Figure]) -> dict[str, Any]:
    return {name: figure.to_dict() for name, figure in figures.items()}


def _to_dicts(labels: Mapping[str, LabelEvaluation]) -> dict[str, Any]:
    return {label: evaluation.to_dict() for label, evaluation in labels.items()}


@dataclass(frozen=True)
class _ConfusedPair:
    """Clips with `label` that got `answer`: their number, their share of the clips of the label, and some of them, most
    confident wrong answer first."""

    label: str
    answer: str
    clips: int
    share: float
    files: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        about = {"label": self.label, "answer": self.answer, "clips": self.clips, "share": round(self.share, 6)}
        return {**about, "files": list(self.files)}


@dataclass(frozen=True)
class Confusion:
    """cells: (label, answer), as indexes into `labels`, -> number of clips, without zeros."""

    labels: tuple[str, ...]
    cells: dict[tuple[int, int], int]
    pairs: tuple[_ConfusedPair, ...]

    def counts(self) -> NDArray[np.int64]:
        found = np.zeros((len(self.labels), len(self.labels)), np.int64)
        for (row, column), clips in self.cells.items():
            found[row, column] = clips
        return found

    def to_dataframe(self) -> pandas.DataFrame:
        """Number of clips of each label (rows) that got each answer (columns). UsageError without pandas."""
        counts, names = self.counts(), list(self.labels)
        columns = {name: counts[:, column].tolist() for column, name in enumerate(names)}
        return data_frame(columns).set_axis(names, axis="index")

    def to_dict(self) -> dict[str, Any] | None:
        """A part of report.json. None if there are too many labels for a matrix."""
        if len(self.labels) > MOST_MATRIX_LABELS:
            return None
        return {"labels": list(self.labels), "counts": self.counts().tolist()}


def count_confusions(
    labels: Sequence[str],
    truth: NDArray[np.int64],
    answer: NDArray[np.int64],
    filenames: Sequence[str],
    sureness: NDArray[np.floating[Any]],
) -> Confusion:
    """truth, answer: (clips,) indexes of labels. sureness: the score of the answer minus that of the label."""
    counted, cells = np.unique(truth * len(labels) + answer, return_counts=True)
    found = {divmod(int(cell), len(labels)): int(clips) for cell, clips in zip(counted, cells, strict=True)}
    totals = np.bincount(truth, minlength=len(labels))
    wrong = sorted(
        ((row, column, clips, clips / totals[row]) for (row, column), clips in found.items() if row != column),
        key=lambda cell: (-cell[2], -cell[3], cell[0], cell[1]),
    )
    pairs = []
    for row, column, clips, share in wrong[:_MOST_PAIRS]:
        held = np.flatnonzero((truth == row) & (answer == column))
        held = held[np.argsort(-sureness[held], kind="stable")][:_FILES_A_PAIR]
        files = tuple(filenames[int(k)] for k in held)
        pairs.append(_ConfusedPair(labels[row], labels[column], clips, float(share), files))
    return Confusion(tuple(labels), found, tuple(pairs))


@dataclass(frozen=True)
class ClipLabel:
    """The results of one label. clips: the number that have it. threshold: None if none is used."""

    clips: int
    figures: dict[str, Figure]
    threshold: float | None = None

    def to_dict(self) -> dict[str, Any]:
        return {"clips": self.clips, "threshold": self.threshold, "figures": figures_to_dict(self.figures)}


@dataclass(frozen=True, eq=False)
class JudgedClip:
    """One clip. labels: those that it has. answers: those that it was given. scores: (classes,), in the order of the
    labels.

    score: of the answer (the lowest of several); own_score: of the label that it has (the lowest of several). right:
    None if the model does not know the label.
    """

    filename: str
    labels: tuple[str, ...]
    answers: tuple[str, ...]
    scores: NDArray[np.floating[Any]]
    score: float
    own_score: float
    right: bool | None

    def to_dict(self) -> dict[str, Any]:
        return {
            "file": self.filename,
            "labels": list(self.labels),
            "answers": list(self.answers),
            "score": round(self.score, 6),
            "own_score": round(self.own_score, 6),
        }


@dataclass(frozen=True)
class ClipGroup:
    clips: int
    figures: dict[str, Figure]

    def to_dict(self) -> dict[str, Any]:
        return {"clips": self.clips, "figures": figures_to_dict(self.figures)}


@dataclass(frozen=True)
class ClipEvaluation:
    """The results of whole clips, by their mean scores.

    reliability: for each of 15 bins with answers, the mean score, the share of right answers, and their number. groups:
    by tag and value. answers: one per clip, in the order of the bootstrap counts. drawn: the group of each.
    """

    clips: int
    figures: dict[str, Figure]
    labels: dict[str, ClipLabel]
    answer: AnswerMode = "one"
    confusion: Confusion | None = None
    reliability: tuple[Floats, Floats, Floats] | None = field(default=None, repr=False, compare=False)
    groups: Mapping[str, Mapping[str, ClipGroup]] = field(default_factory=dict)
    answers: tuple[JudgedClip, ...] = field(default=(), repr=False, compare=False)
    drawn: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def to_dataframe(self) -> pandas.DataFrame:
        """One row per clip: file, labels, answers, score, right, and the score of each label. UsageError without
        pandas."""
        answers = self.answers
        return data_frame(
            {
                "file": [one.filename for one in answers],
                "labels": [LABEL_SEPARATOR.join(one.labels) for one in answers],
                "answers": [LABEL_SEPARATOR.join(one.answers) for one in answers],
                "score": [round(one.score, 6) for one in answers],
                "right": [one.right for one in answers],
                **{label: [float(one.scores[k]) for one in answers] for k, label in enumerate(self.labels)},
            }
        )

    def examples(self) -> tuple[list[JudgedClip], list[JudgedClip]]:
        """Clips to listen to: the most confident wrong answers, then right ones, half of them the least confident and
        the rest the most confident."""
        wrong = [answer for answer in self.answers if answer.right is False]
        wrong.sort(key=lambda answer: (answer.own_score - answer.score, answer.filename))
        right = sorted((a for a in self.answers if a.right), key=lambda answer: (answer.score, answer.filename))
        unsure = right[: _EXAMPLES_RIGHT // 2]
        return wrong[:_EXAMPLES_WRONG], unsure + right[len(unsure) :][-(_EXAMPLES_RIGHT - len(unsure)) :]

    def files_to_hear(self) -> list[str]:
        """The clips that the page plays, most important first."""
        wrong, right = self.examples()
        pairs = self.confusion.pairs if self.confusion else ()
        confused = [file for pair in pairs[:_MOST_HEARD_PAIRS] for file in pair.files]
        return list(dict.fromkeys([*(a.filename for a in wrong), *(a.filename for a in right), *confused]))

    def to_dict(self) -> dict[str, Any]:
        wrong, right = self.examples()
        means, shares, counts = self.reliability or (np.zeros(0),) * 3
        return {
            "clips": self.clips,
            "answer": self.answer,
            "figures": figures_to_dict(self.figures),
            "labels": {label: found.to_dict() for label, found in self.labels.items()},
            "confusion": self.confusion.to_dict() if self.confusion else None,
            "pairs": [pair.to_dict() for pair in self.confusion.pairs] if self.confusion else [],
            "reliability": [
                [round(value, 6) for value in means.tolist()],
                [round(value, 6) for value in shares.tolist()],
                [round(count) for count in counts.tolist()],
            ],
            "groups": {
                tag: {value: found.to_dict() for value, found in values.items()} for tag, values in self.groups.items()
            },
            "examples": {
                "wrong": [answer.to_dict() for answer in wrong],
                "right": [answer.to_dict() for answer in right],
            },
            "notes": list(self.notes),
        }
