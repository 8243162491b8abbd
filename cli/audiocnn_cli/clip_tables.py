"""What `evaluate` shows of whole clips on a terminal: figures, labels, which answers each label got."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from audiocnn.clip_evaluation import ClipEvaluation, ClipLabel
from audiocnn.confusion import Confusion
from audiocnn.figures import Figure
from audiocnn_cli.figure_table import TITLES, Row, show, shown
from audiocnn_cli.findings import plural
from audiocnn_cli.terminal import Terminal, printable

if TYPE_CHECKING:
    from rich.text import Text

    from audiocnn_cli.reports import Report

LABEL_COLUMNS = {
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "average_precision": "av. prec.",
    "auroc": "AUROC",
}
NARROW_COLUMNS = ("recall", "f1")
WIDE = 64  # columns of a terminal for the whole table of labels
MOST_LABELS = 40  # beyond, the worst of them
WORST_LABELS = 20
MOST_PAIRS = 5
LEAST_NAME, MOST_NAME = 4, 20


def write_clips(reports: Sequence[Report], terminal: Terminal) -> None:
    """All that is said of clips."""
    clips = [report.evaluation.clip for report in reports]
    first = next((clip for clip in clips if clip), None)
    if first is None:
        return
    show(f"clips: {first.clips}", overall_rows(reports), heads_of(reports), terminal)
    for tag in first.groups:
        for value in sorted({value for clip in clips if clip for value in clip.groups.get(tag, {})}):
            parts = [clip.groups.get(tag, {}).get(value) if clip else None for clip in clips]
            count = next(part.clips for part in parts if part)
            title = f"{tag} = {value or '(none)'}: {plural(count, 'clip')}"
            show(title, rows_of([part.figures if part else {} for part in parts]), [r.name for r in reports], terminal)
    for report, clip in zip(reports, clips, strict=True):
        if clip:
            name = f"{report.name}: " if len(reports) > 1 else ""
            write_labels(clip, name, terminal)
            if clip.confusion:
                write_confusion(clip.confusion, name, terminal)
                write_pairs(clip.confusion, name, terminal)


def heads_of(reports: Sequence[Report]) -> list[str]:
    """A column a model, and behind those that were compared their difference."""
    heads = []
    for report in reports:
        heads += [report.name, "difference"] if compared(report) else [report.name]
    return heads


def compared(report: Report) -> Mapping[str, Figure] | None:
    """By how much its clips are answered better than by the first."""
    return report.difference.clip if report.difference else None


def overall_rows(reports: Sequence[Report]) -> list[Row]:
    """Figures of all clips together."""
    columns: list[tuple[Mapping[str, Figure], bool]] = []
    for report in reports:
        clip, difference = report.evaluation.clip, compared(report)
        columns.append((clip.figures if clip else {}, False))
        if difference:
            columns.append((difference, True))
    names = dict.fromkeys(name for figures, _ in columns for name in figures)
    return [(title(name), [shown(figures.get(name), name, signed) for figures, signed in columns]) for name in names]


def rows_of(columns: Sequence[Mapping[str, Figure]]) -> list[Row]:
    """A row for each figure that any column has."""
    names = dict.fromkeys(name for figures in columns for name in figures)
    return [(title(name), [shown(figures.get(name), name) for figures in columns]) for name in names]


def title(name: str) -> str:
    """What a figure is called."""
    return TITLES.get(name, name.replace("_", " "))


def write_labels(clip: ClipEvaluation, name: str, terminal: Terminal) -> None:
    """A row a label, values alone: intervals are in report.json and on the page."""
    labels = list(clip.labels)
    what = f"{name}{plural(len(labels), 'label')}"
    if len(labels) > MOST_LABELS:
        labels = sorted(labels, key=lambda label: f1_of(clip.labels[label]))[:WORST_LABELS]
        what = f"{name}the {len(labels)} worst of {len(clip.labels)} labels"
    wide = terminal.width(terminal.stdout) >= WIDE
    shown_figures = [figure for figure in LABEL_COLUMNS if wide or figure in NARROW_COLUMNS]
    thresholds = any(part.threshold is not None for part in clip.labels.values())
    rows: list[Row] = []
    for label in labels:
        part = clip.labels[label]
        cells = [f"{part.clips:,}"]
        if thresholds:
            cells.append("-" if part.threshold is None else f"{part.threshold:g}")
        values = [part.figures[figure].value if figure in part.figures else None for figure in shown_figures]
        rows.append((printable(label), cells + ["-" if value is None else f"{value:.3f}" for value in values]))
    heads = ["clips", *(["threshold"] if thresholds else []), *(LABEL_COLUMNS[figure] for figure in shown_figures)]
    show(what, rows, heads, terminal)


def f1_of(part: ClipLabel) -> float:
    """To sort by; labels without clips and answers come last."""
    value = part.figures["f1"].value
    return math.inf if value is None else value


def write_confusion(confusion: Confusion, name: str, terminal: Terminal) -> None:
    """A row a label, a column an answer, where that fits the terminal; pairs alone where it does not."""
    lines = confusion_lines(confusion, terminal.width(terminal.stdout))
    if not lines:
        return
    terminal.out.print()
    terminal.out.print(f"{printable(name)}answers (columns) to the clips of each label (rows)", style="italic")
    for line in lines:
        terminal.out.print(line, soft_wrap=True)


def confusion_lines(confusion: Confusion, width: int) -> list[Text]:
    """Columns have the names of labels where these fit, else their numbers; none where numbers do not fit."""
    from rich.text import Text

    if not confusion.labels or 2 * len(confusion.labels) > width:  # two letters a column at least; else all in vain
        return []
    counts, labels = confusion.counts(), [printable(label) for label in confusion.labels]
    longest = max(len(label) for label in labels)
    digits = max(len(str(int(counts.max()))), 1)
    by_name = 1 + max(digits, longest)
    if min(longest, MOST_NAME) + len(labels) * by_name <= width:
        names, cell, heads = [clipped(label, MOST_NAME) for label in labels], by_name, labels
    else:
        cell = 1 + max(digits, len(str(len(labels))))
        room = width - len(labels) * cell - len(str(len(labels))) - 1
        if room < LEAST_NAME:
            return []
        wide = min(room, longest, MOST_NAME)
        numbers = [str(k + 1) for k in range(len(labels))]
        names = [f"{k:>{len(numbers[-1])}} {clipped(label, wide)}" for k, label in zip(numbers, labels, strict=True)]
        heads = numbers
    wide = max(len(each) for each in names)
    lines = [Text(" " * wide + "".join(f"{head:>{cell}}" for head in heads), style="dim")]
    for row, each in enumerate(names):
        line = Text(f"{each:<{wide}}")
        for column, count in enumerate(counts[row].tolist()):
            style = "dim" if not count else "green" if row == column else "bold red"
            line.append(f"{count or '.':>{cell}}", style=style)
        lines.append(line)
    return lines


def clipped(label: str, width: int) -> str:
    """At most so many letters."""
    return label if len(label) <= width else label[: width - 1] + "~"


def write_pairs(confusion: Confusion, name: str, terminal: Terminal) -> None:
    """The labels that are taken for each other most, with clips to listen to."""
    if not confusion.pairs:
        return
    arrow = "→" if terminal.unicode else "->"
    terminal.out.print()
    terminal.out.print(f"{printable(name)}taken for each other most, with clips to listen to", style="italic")
    for pair in confusion.pairs[:MOST_PAIRS]:
        said = f"{printable(pair.label)} {arrow} {printable(pair.answer)}: {plural(pair.clips, 'clip')}"
        share = f" ({100 * pair.share:.0f} % of {printable(pair.label)})"
        terminal.out.print(f"{said}{share}", soft_wrap=True)
        for file in pair.files:
            terminal.out.print(f"  {printable(file)}", style="dim", soft_wrap=True)
