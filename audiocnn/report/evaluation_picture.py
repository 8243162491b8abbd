"""Pictures of an evaluation: the confusion matrix, and precision and recall."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from audiocnn.errors import show_name
from audiocnn.evaluation.results import (
    MAIN_CLIP_FIGURES,
    ClipEvaluation,
    Confusion,
    Evaluation,
    LabelEvaluation,
    figure_title,
)
from audiocnn.report.figure import new_figure, save_figure
from audiocnn.report.style import LIGHT
from audiocnn.units import count_noun

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CONFUSION_FILE = "confusion.png"  # in the folder of a run
PRECISION_RECALL_FILE = "precision_recall.png"
_MOST_LABELS = 80  # in a readable matrix; of more labels, those that are confused most are shown
_NUMBERED_LABELS = 30  # up to this number, cells contain numbers
_NAMED_CURVES = 6  # the worst ones; others are grey
_MOST_CURVES = 60  # approximate number in grey
_MOST_BARS = 30  # labels with precision and recall, the worst ones
_LETTERS = 22
_DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
_MARKERS = {"balanced": "o", "sensitive": "^", "precise": "s"}
Points = Mapping[str, Mapping[str, float]]
"""Label -> name of an operating point -> its threshold."""


def draw_confusion(clip: ClipEvaluation, path: Path, name: str) -> None:
    """One row per label, one column per answer: right in blue, wrong in orange, darker for a larger share of the
    row."""
    assert clip.confusion is not None
    labels, counts = _matrix_of(clip.confusion)
    count = len(labels)
    totals = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    shares, right = counts / totals, np.eye(count, dtype=bool)
    inches = min(14.0, max(3.6, (0.42 if count <= _NUMBERED_LABELS else 0.17) * count))
    figure = new_figure(inches + 2.2, inches + 1.5)
    axes = figure.subplots()
    for hidden, colours in ((~right, "Blues"), (right, "Oranges")):
        axes.imshow(np.ma.array(shares, mask=hidden | (counts == 0)), cmap=colours, vmin=0.0, vmax=1.0, aspect="equal")
    size = 9 if count <= 12 else 8 if count <= _NUMBERED_LABELS else 6
    names = [_shorten(label) for label in labels]
    axes.set_xticks(range(count), names, rotation=90 if count > 4 else 0, fontsize=size)
    axes.set_yticks(range(count), names, fontsize=size)
    axes.set_xlabel("answer\n(blue: right, orange: wrong; darker: larger share of the row)")
    axes.set_ylabel("label")
    if count <= _NUMBERED_LABELS:
        for row, column in np.argwhere(counts):
            dark = shares[row, column] > 0.55
            axes.text(
                column,
                row,
                f"{counts[row, column]:,}",
                ha="center",
                va="center",
                fontsize=size,
                color="white" if dark else "black",
            )
    axes.set_xticks(np.arange(count + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(count + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="0.9", linewidth=0.5)
    axes.tick_params(which="minor", length=0)
    some = (
        f"; the {count} of {len(clip.confusion.labels)} labels that are confused most"
        if count < len(clip.confusion.labels)
        else ""
    )
    main = MAIN_CLIP_FIGURES[clip.answer][0]
    value = clip.figures[main].value
    said = "" if value is None else f", {figure_title(main)} {value:.3f}"
    axes.set_title(f"{name}: {count_noun(clip.clips, 'clip')}{said}{some}", fontsize="medium", wrap=True)
    save_figure(figure, path)


def _matrix_of(confusion: Confusion) -> tuple[list[str], NDArray[np.int64]]:
    """Labels and counts of a readable matrix: of many labels, those with the most wrong answers, without empty rows and
    columns."""
    labels, wrong = list(confusion.labels), np.zeros(len(confusion.labels))
    held = np.zeros(len(labels), dtype=bool)
    for (row, column), clips in confusion.cells.items():
        held[[row, column]] = True
        if row != column:
            wrong[[row, column]] += clips
    order = sorted(np.flatnonzero(held), key=lambda k: -wrong[k])[:_MOST_LABELS]
    kept = {int(k): place for place, k in enumerate(sorted(order))}
    counts = np.zeros((len(kept), len(kept)), np.int64)
    for (row, column), clips in confusion.cells.items():
        if row in kept and column in kept:
            counts[kept[row], kept[column]] = clips
    return [labels[k] for k in kept], counts


def can_draw_precision_recall(evaluation: Evaluation) -> bool:
    """Whether there are curves, of the segments of a label or of clips."""
    labels = evaluation.labels.values()
    return any(found.curves is not None for found in labels) if labels else evaluation.clip is not None


def draw_precision_recall(evaluation: Evaluation, points: Points, path: Path, name: str) -> None:
    """For segments, precision and recall of frames over the threshold, with the operating points. For clips, the curve
    of each label, and precision and recall of the actual answers."""
    if evaluation.labels:
        _draw_segments(evaluation.labels, points, path, name)
    elif evaluation.clip is not None:
        _draw_clips(evaluation.clip, path, name)


def _draw_segments(labels: Mapping[str, LabelEvaluation], points: Points, path: Path, name: str) -> None:
    shown = [found for found in labels.values() if found.curves is not None][:_NAMED_CURVES]
    figure = new_figure(10.0, 3.6 * len(shown) + 0.6)
    figure.suptitle(
        f"{name}: frames of {count_noun(max(one.recordings for one in shown), 'recording')}", fontsize="medium"
    )
    for (over, curve), found in zip(figure.subplots(len(shown), 2, squeeze=False), shown, strict=True):
        assert found.curves is not None
        edges, positive, other = found.curves.histogram
        found_, false = (np.cumsum(np.asarray(count)[::-1])[::-1] for count in (positive, other))
        with np.errstate(invalid="ignore", divide="ignore"):
            recall, precision = found_ / np.sum(positive), found_ / (found_ + false)
        starts = np.asarray(edges)[:-1]
        over.plot(starts, precision, color=LIGHT[0], label="precision")
        over.plot(starts, recall, color=LIGHT[1], linestyle="--", label="recall")
        over.set_xlabel("score threshold")
        over.set_title(f"{show_name(found.label)}: by threshold", fontsize="medium")
        recalls, precisions = found.curves.precision_recall
        curve.plot(recalls, precisions, color=LIGHT[2])
        curve.set_xlabel("recall: share of the annotated that is detected")
        curve.set_ylabel("precision: share of the detected that is right")
        average = found.figures["average_precision"].value
        curve.set_title("" if average is None else f"average precision {average:.3f}", fontsize="medium")
        own = points.get(found.label) or {"threshold": found.rule.threshold}
        for point, threshold in own.items():
            over.axvline(threshold, color="0.35", linewidth=1, linestyle=":")
            over.annotate(
                f"{point} {threshold:g}",
                (threshold, 0.03),
                rotation=90,
                ha="right",
                va="bottom",
                fontsize=8,
                xycoords=("data", "axes fraction"),
            )
            bin_ = min(int(np.searchsorted(starts, threshold, side="right")) - 1, len(starts) - 1)
            if np.isfinite(recall[bin_]) and np.isfinite(precision[bin_]):
                mark = _MARKERS.get(point, "o")
                curve.plot(
                    recall[bin_], precision[bin_], mark, color=LIGHT[1], markersize=8, label=f"{point} {threshold:g}"
                )
        for axes in (over, curve):
            axes.set(xlim=(0.0, 1.0), ylim=(0.0, 1.02))
            axes.grid(visible=True, alpha=0.3)
            if axes.get_legend_handles_labels()[0]:
                axes.legend(loc="center" if axes is over else "lower left", fontsize="small")
    save_figure(figure, path)


def _draw_clips(clip: ClipEvaluation, path: Path, name: str) -> None:
    judged = [label for label, found in clip.labels.items() if found.clips]
    bars = sorted(judged, key=lambda label: _value(clip, label, "f1"))[:_MOST_BARS]
    figure = new_figure(11.0, max(4.2, 0.24 * len(bars) + 1.6))
    figure.suptitle(f"{name}: {count_noun(clip.clips, 'clip')}, {count_noun(len(judged), 'label')}", fontsize="medium")
    curves, dots = figure.subplots(1, 2)
    _draw_clip_curves(curves, clip, judged)
    _draw_label_dots(dots, clip, bars, len(judged))
    save_figure(figure, path)


def _draw_clip_curves(axes: Axes, clip: ClipEvaluation, judged: Sequence[str]) -> None:
    """Precision over recall of each label's score. The worst labels have colours and names."""
    from sklearn.metrics import precision_recall_curve

    columns = {label: column for column, label in enumerate(clip.labels)}
    worst = sorted(judged, key=lambda label: _value(clip, label, "average_precision"))
    worst = [*worst[:_NAMED_CURVES], *worst[_NAMED_CURVES :: max(1, len(worst) // _MOST_CURVES)]]
    for place, label in reversed([*enumerate(worst)]):
        truth = np.array([label in answer.labels for answer in clip.answers])
        scores = np.array([answer.scores[columns[label]] for answer in clip.answers])
        precision, recall, _ = precision_recall_curve(truth, scores)
        if place >= _NAMED_CURVES:
            axes.plot(recall, precision, color="0.75", linewidth=0.8)
            continue
        value = _value(clip, label, "average_precision")
        axes.plot(
            recall, precision, color=LIGHT[place], linestyle=_DASHES[place], label=f"{_shorten(label)} {value:.2f}"
        )
    axes.set(xlim=(0.0, 1.0), ylim=(0.0, 1.02))
    axes.set_xlabel("recall: share of the clips with a label that are found")
    axes.set_ylabel("precision: share of the found clips that have it")
    axes.set_title("as the threshold changes (average precision)", fontsize="medium")
    axes.grid(visible=True, alpha=0.3)
    handles, names = axes.get_legend_handles_labels()
    rest = len(judged) - len(handles)
    title = f"the worst; {rest} more in grey" if rest else None
    axes.legend(handles[::-1], names[::-1], loc="best", fontsize="small", title=title, title_fontsize="small")


def _draw_label_dots(axes: Axes, clip: ClipEvaluation, labels: Sequence[str], of_all: int) -> None:
    """Precision and recall of each label for the actual answers, worst at the top."""
    places = range(len(labels))
    values = {name: [_value(clip, label, name) for label in labels] for name in ("precision", "recall")}
    low, high = (pick(values["precision"], values["recall"]) for pick in (np.minimum, np.maximum))
    axes.hlines(places, low, high, color="0.8", linewidth=2, zorder=1)
    axes.plot(values["precision"], places, "o", color=LIGHT[0], label="precision")
    axes.plot(values["recall"], places, "D", color=LIGHT[1], label="recall", markersize=5)
    axes.set_yticks(places, [f"{_shorten(label)} ({clip.labels[label].clips})" for label in labels], fontsize=8)
    axes.set(xlim=(-0.03, 1.03), ylim=(len(labels) - 0.5, -0.5))
    some = f"the {len(labels)} worst of {of_all} labels" if len(labels) < of_all else "worst first"
    axes.set_title(f"at the model's own decisions, {some} (clips)", fontsize="medium")
    axes.set_xlabel("share")
    axes.grid(visible=True, axis="x", alpha=0.3)
    axes.legend(loc="best", fontsize="small")


def _value(clip: ClipEvaluation, label: str, name: str) -> float:
    """0 if the value is undefined, because the label was never the answer."""
    figure = clip.labels[label].figures.get(name)
    return 0.0 if figure is None or figure.value is None else figure.value


def _shorten(label: str) -> str:
    text = show_name(label)
    return text if len(text) <= _LETTERS else text[: _LETTERS - 1] + "…"
