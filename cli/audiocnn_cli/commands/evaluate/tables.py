"""Tables of `evaluate`: figures with their intervals, models side by side.

For whole clips there are also tables of labels, and a confusion matrix.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from audiocnn.errors import UsageError, printable
from audiocnn.evaluation.compare import LabelDifference, compare
from audiocnn.evaluation.report import EvaluationReport
from audiocnn.evaluation.results import (
    BY_RECORDING,
    MAIN_CLIP_FIGURES,
    ClipEvaluation,
    ClipGroup,
    ClipLabel,
    Confusion,
    Figure,
    LabelEvaluation,
    figure_title,
)
from audiocnn.segments.segment import NONE_OF_THESE
from audiocnn.units import clock, format_speed, plural
from audiocnn_cli.app.draw import FigureRow, format_figure, format_share, print_table
from audiocnn_cli.app.terminal import Terminal

if TYPE_CHECKING:
    from rich.text import Text

_BASIC = ("miss_rate", "false_alarm_rate", "false_segment_share", "detection_error_rate", "f1", "auroc")
_BASIC_CLIP = (*dict.fromkeys(name for names in MAIN_CLIP_FIGURES.values() for name in names), "mean_auroc")
_BASIC_RULE = ("threshold", "best --sensitivity")
_NO_ERROR = 1e-6
_SMOOTHED_ROWS = ("auroc", "fpr_at_5pct_miss")
_LABEL_COLUMNS = {
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "average_precision": "av. prec.",
    "auroc": "AUROC",
}
_NARROW_COLUMNS = ("recall", "f1")
_WIDE = 64  # terminal columns needed for the full table of labels
_MOST_LABELS = 40  # labels or recordings; of more, only the worst are shown
_WORST_LABELS = 20
_MOST_PAIRS = 5
_LEAST_NAME, _MOST_NAME = 4, 20
_Part = LabelEvaluation | LabelDifference | ClipEvaluation | ClipGroup
_NONE = LabelDifference({})


def with_differences(reports: Sequence[EvaluationReport], terminal: Terminal) -> list[EvaluationReport]:
    """The reports, each after the first with its difference to the first. Warns if they cannot be compared."""
    first, *others = reports
    found = [first]
    for report in others:
        try:
            difference = compare(first.evaluation, report.evaluation)
        except UsageError as problem:
            terminal.error(f"{report.name}: no comparison with {first.name}: {problem}", "warning")
            found.append(report)
        else:
            found.append(replace(report, difference_to=first.name, difference=difference))
    return found


def warn_of_no_error(reports: Sequence[EvaluationReport], terminal: Terminal) -> None:
    """Warn about labels without a single error, which were probably made by the model itself."""
    for report in reports:
        for label, part in report.evaluation.labels.items():
            error = part.figures.get("detection_error_rate")
            if error is not None and error.value is not None and error.value < _NO_ERROR:
                fact = f'{report.name} has no error for "{label}" on {plural(part.recordings, "recording")}'
                remedy = "if `audiocnn detect` wrote these labels, evaluate on labels made by a person"
                terminal.error(f"{report.data}: {fact}; {remedy}", "warning")


def with_titles(reports: Sequence[EvaluationReport]) -> list[EvaluationReport]:
    """The reports; models with the same name get their folder name or full path as title."""
    count = Counter(report.name for report in reports)
    folders = Counter(Path(folder).name for folder in {report.folder for report in reports} if folder)
    titled = []
    for report in reports:
        folder = Path(report.folder) if report.folder and count[report.name] > 1 else None
        name = folder.name or folder.resolve().name if folder else ""
        titled.append(replace(report, title=str(folder) if folder and folders[folder.name] > 1 else name))
    return titled


def write_table(reports: Sequence[EvaluationReport], terminal: Terminal, every: bool = False) -> None:
    """Print the figures of every label, with a column for each model and for its difference to the first, and the same
    for clips. every: all figures instead of the most important ones."""
    reports = with_titles(reports)
    with terminal.paused():
        first = reports[0]
        split = f", split {first.split}" if first.split else ""
        speed = ", ".join(f"{report.head} {format_speed(report.sound_seconds, report.seconds)}" for report in reports)
        facts = f"{clock(first.sound_seconds)} scored; {speed}"
        terminal.out.print(f"{printable(first.data)}{split}: {facts}", style="bold")
        for label in dict.fromkeys(label for report in reports for label in report.evaluation.labels):
            parts = [report.evaluation.labels.get(label) for report in reports]
            less = [r.difference.labels.get(label, _NONE) if r.difference else None for r in reports]
            rows, heads = _figure_rows(reports, parts, less, every)
            rows += _rule_rows(reports, label, every)
            print_table(f"{label}: {_describe_amount(parts)}", rows, heads, terminal)
        if BY_RECORDING in first.evaluation.groups:
            _write_recordings(reports, terminal)
        for tag in first.evaluation.groups:
            if tag == BY_RECORDING:
                continue
            groups = [report.evaluation.groups[tag] for report in reports]
            keys = dict.fromkeys((value, label) for group in groups for value, held in group.items() for label in held)
            for value, label in keys:
                parts = [group.get(value, {}).get(label) for group in groups]
                compared = [r.difference.groups[tag].get(value, {}) if r.difference else None for r in reports]
                less = [None if found is None else found.get(label, _NONE) for found in compared]
                title = f"{tag} = {value or '(none)'}: {label}, {_describe_amount(parts)}"
                print_table(title, *_figure_rows(reports, parts, less, every), terminal)
        _write_clips(reports, terminal, every)
        notes = [note for r in reports for found in r.evaluation.labels.values() for note in found.notes]
        notes += [note for r in reports if r.evaluation.clip for note in r.evaluation.clip.notes]
        notes += [price for r in reports for price in r.prices()]
        for note in dict.fromkeys(notes):
            terminal.out.print(f"note: {note}", style="yellow")
        if not every:
            terminal.out.print("more figures with --all-figures", style="dim")


def _figure_rows(
    reports: Sequence[EvaluationReport],
    parts: Sequence[_Part | None],
    differences: Sequence[LabelDifference | None],
    every: bool,
) -> tuple[list[FigureRow], list[str]]:
    """Rows of figures, all or the most important ones, and the column headings: each model, followed by its difference
    if it was compared."""
    collar_seconds = reports[0].evaluation.settings.collar_seconds
    heads, columns = [], []
    for report, part, difference in zip(reports, parts, differences, strict=True):
        heads.append(report.head)
        columns.append(_cells(part or _NONE, collar_seconds, every))
        if difference is not None:
            heads.append("difference")
            columns.append(_cells(difference, collar_seconds, every, signed=True))
    titles = dict.fromkeys(title for column in columns for title in column)
    return [(title, [column.get(title, "-") for column in columns]) for title in titles], heads


def _cells(part: _Part, collar_seconds: float, every: bool, signed: bool = False) -> dict[str, str]:
    """The figures by title; figures of smoothed scores follow the unsmoothed figure."""
    smoothed = part.smoothed if every and isinstance(part, LabelEvaluation | LabelDifference) else {}
    cells = {}
    named = part.figures
    if not every:
        named = {name: named[name] for name in (*_BASIC, *_BASIC_CLIP) if name in named and _is_known(named[name])}
    for name, figure in named.items():
        title = figure_title(name, collar_seconds)
        cells[title] = format_figure(figure, name, signed)
        for seconds, figures in smoothed.items() if name in _SMOOTHED_ROWS else ():
            cells[f"{title}, smoothed {seconds:g} s"] = format_figure(figures[name], name, signed)
    return cells


def _is_known(figure: Figure | None) -> bool:
    return figure is not None and figure.value is not None


def _rule_rows(reports: Sequence[EvaluationReport], label: str, every: bool) -> list[FigureRow]:
    """Rows of thresholds, their origin, the pads of segments, and the best operating point."""
    rows: dict[str, list[str]] = {"threshold": [], "tuned on": [], "pad": [], "best --sensitivity": []}
    for report in reports:
        part = report.evaluation.labels.get(label)
        cells = ("-",) * len(rows)
        if part:
            pads = dict.fromkeys((part.rule.pad_seconds, part.rule.end_pad))
            cells = (
                f"{part.rule.threshold:g}",
                report.origin(label),
                ", ".join(f"{pad:g} s" for pad in pads),
                _best_point(part),
            )
        for row, cell in zip(rows.values(), cells, strict=True):
            row += [cell, ""] if report.difference else [cell]
    shown = {title: cells for title, cells in rows.items() if every or title in _BASIC_RULE}
    return [(title, cells) for title, cells in shown.items() if title != "best --sensitivity" or {*cells} - {"-", ""}]


def _best_point(part: LabelEvaluation) -> str:
    """The operating point that fits these recordings best, with its figure."""
    best = part.best_point
    if best is None:
        return "-"
    name = next(key for key in ("detection_error_rate", "false_alarm_rate") if key in part.points[best])
    return f"{best}: {figure_title(name)} {part.points[best][name]:.4f}"


def _describe_amount(parts: Sequence[LabelEvaluation | None]) -> str:
    """The amount evaluated, from the first report with the label; it is the same for all."""
    found = next(part for part in parts if part is not None)
    part = format_share(found.reference_seconds, found.seconds)
    return f"{plural(found.recordings, 'recording')}, {clock(found.seconds)}, {part} of it annotated"


def _write_clips(reports: Sequence[EvaluationReport], terminal: Terminal, every: bool) -> None:
    clips = [report.evaluation.clip for report in reports]
    first = next((clip for clip in clips if clip), None)
    if first is None:
        return
    less = [LabelDifference(r.difference.clip) if r.difference and r.difference.clip else None for r in reports]
    print_table(f"clips: {first.clips}", *_figure_rows(reports, clips, less, every), terminal)
    if BY_RECORDING in first.groups:
        _write_wrong_clips(reports, terminal)
    for tag in first.groups:
        if tag == BY_RECORDING:
            continue
        for value in sorted({value for clip in clips if clip for value in clip.groups.get(tag, {})}):
            parts = [clip.groups.get(tag, {}).get(value) if clip else None for clip in clips]
            count = next(part.clips for part in parts if part)
            title = f"{tag} = {value or '(none)'}: {plural(count, 'clip')}"
            print_table(title, *_figure_rows(reports, parts, [None] * len(reports), every), terminal)
    for report, clip in zip(reports, clips, strict=True):
        if clip:
            name = f"{report.head}: " if len(reports) > 1 else ""
            _write_labels(clip, name, terminal)
            if clip.confusion:
                _write_confusion(clip.confusion, name, terminal)
                _write_pairs(clip.confusion, name, terminal)


def _write_recordings(reports: Sequence[EvaluationReport], terminal: Terminal) -> None:
    """Print a row per recording, the worst of the first model first: missed time and false alarms."""
    several = len(reports) > 1
    for label, ranked in reports[0].evaluation.errors.items():
        found = [{one.filename: one for one in r.evaluation.errors.get(label, ())} for r in reports]
        rows: list[FigureRow] = []
        for one in ranked[:_MOST_LABELS]:
            cells = [clock(one.seconds), f"{one.reference_seconds:.1f} s"]
            for own in (of_model.get(one.filename) for of_model in found):
                if own is None:
                    cells += ["-"] * (1 if several else 3)
                else:
                    cells += [] if several else [f"{own.missed_seconds:.1f} s", f"{own.false_seconds:.1f} s"]
                    cells += [f"{own.error_rate:.3f}"]
            rows.append((printable(one.filename), cells))
        heads = [report.head for report in reports] if several else ["missed", "false alarm", "error"]
        some = f", {len(rows)} of {len(ranked)}" if len(rows) < len(ranked) else ""
        print_table(f"{label} by recording, worst first{some}", rows, ["length", "annotated", *heads], terminal)


def _write_wrong_clips(reports: Sequence[EvaluationReport], terminal: Terminal) -> None:
    """Print the clips with wrong answers, the most confident answer of the first model first."""
    clips = [report.evaluation.clip for report in reports if report.evaluation.clip]
    held = [{one.filename: one for one in clip.answers} for clip in clips]
    wrong = [
        held[0][name] for name, group in clips[0].groups[BY_RECORDING].items() if group.figures["accuracy"].value == 0
    ]
    rows: list[FigureRow] = []
    for one in wrong[:_MOST_LABELS]:
        given = [of_model[one.filename] for of_model in held if one.filename in of_model]
        said = [f"{' '.join(map(printable, answer.answers)) or '-'} {answer.score:.2f}" for answer in given]
        rows.append((printable(one.filename), [" ".join(map(printable, one.labels)) or "-", *said]))
    names = [report.head for report in reports if report.evaluation.clip] if len(clips) > 1 else ["answer"]
    title = f"by recording: {plural(len(wrong), 'clip')} of {clips[0].clips:,} wrong, most confident first"
    print_table(title, rows, ["label", *names], terminal)


def _write_labels(clip: ClipEvaluation, name: str, terminal: Terminal) -> None:
    """Print a row per label, without intervals, which are in the JSON report and on the page."""
    labels = list(clip.labels)
    what = f"{name}{plural(len(labels), 'label')}"
    if len(labels) > _MOST_LABELS:
        labels = sorted(labels, key=lambda label: _f1(clip.labels[label]))[:_WORST_LABELS]
        what = f"{name}the {len(labels)} worst of {len(clip.labels)} labels"
    wide = terminal.width(terminal.stdout) >= _WIDE
    shown_figures = [figure for figure in _LABEL_COLUMNS if wide or figure in _NARROW_COLUMNS]
    thresholds = any(part.threshold is not None for part in clip.labels.values())
    rows: list[FigureRow] = []
    for label in labels:
        part = clip.labels[label]
        cells = [f"{part.clips:,}"]
        if thresholds:
            cells.append("-" if part.threshold is None else f"{part.threshold:g}")
        values = [part.figures[figure].value if figure in part.figures else None for figure in shown_figures]
        rows.append((printable(label), cells + ["-" if value is None else f"{value:.3f}" for value in values]))
    heads = ["clips", *(["threshold"] if thresholds else []), *(_LABEL_COLUMNS[figure] for figure in shown_figures)]
    print_table(what, rows, heads, terminal)


def _f1(part: ClipLabel) -> float:
    """A sort key; labels without clips and answers come last."""
    value = part.figures["f1"].value
    return math.inf if value is None else value


def _write_confusion(confusion: Confusion, name: str, terminal: Terminal) -> None:
    """Print the confusion matrix, one row per label and one column per answer, if it fits the terminal."""
    lines = confusion_lines(confusion, terminal.width(terminal.stdout))
    if not lines:
        return
    terminal.out.print()
    terminal.out.print(f"{printable(name)}answers (columns) for the clips of each label (rows)", style="italic")
    for line in lines:
        terminal.out.print(line, soft_wrap=True)


def confusion_lines(confusion: Confusion, width: int) -> list[Text]:
    """The lines of a confusion matrix. Columns are headed by labels if these fit, else by numbers; no lines if numbers
    do not fit either."""
    from rich.text import Text

    if not confusion.labels or 2 * len(confusion.labels) > width:  # a column needs at least two characters
        return []
    counts, labels = confusion.counts(), [printable(label) for label in confusion.labels]
    longest = max(len(label) for label in labels)
    digits = max(len(str(int(counts.max()))), 1)
    cells = [1 + max(digits, len(label)) for label in labels]
    if min(longest, _MOST_NAME) + sum(cells) <= width:
        names, heads = [_clip_text(label, _MOST_NAME) for label in labels], labels
    else:
        cell = 1 + max(digits, len(str(len(labels))))
        cells = [cell] * len(labels)
        room = width - sum(cells) - len(str(len(labels))) - 1
        if room < _LEAST_NAME:
            return []
        wide = min(room, longest, _MOST_NAME)
        numbers = [str(k + 1) for k in range(len(labels))]
        names = [f"{k:>{len(numbers[-1])}} {_clip_text(label, wide)}" for k, label in zip(numbers, labels, strict=True)]
        heads = numbers
    wide = max(len(each) for each in names)
    told = [k for k, label in enumerate(confusion.labels) if label != NONE_OF_THESE or counts[:, k].any()]
    lines = [Text(" " * wide + "".join(f"{heads[k]:>{cells[k]}}" for k in told), style="dim")]
    for row, each in enumerate(names):
        if confusion.labels[row] == NONE_OF_THESE and not counts[row].any():
            continue  # all clips have a label
        line = Text(f"{each:<{wide}}")
        for column in told:
            count = int(counts[row, column])
            style = "dim" if not count else "green" if row == column else "bold red"
            line.append(f"{count or '.':>{cells[column]}}", style=style)
        lines.append(line)
    return lines


def _clip_text(label: str, width: int) -> str:
    return label if len(label) <= width else label[: width - 1] + "~"


def _write_pairs(confusion: Confusion, name: str, terminal: Terminal) -> None:
    """Print the labels confused most often, with clips to listen to."""
    if not confusion.pairs:
        return
    arrow = "→" if terminal.unicode else "->"
    terminal.out.print()
    terminal.out.print(f"{printable(name)}most frequent confusions, with clips to listen to", style="italic")
    for pair in confusion.pairs[:_MOST_PAIRS]:
        names = f"{printable(pair.label)} {arrow} {printable(pair.answer)}: {plural(pair.clips, 'clip')}"
        part = f" ({100 * pair.share:.0f} % of {printable(pair.label)})"
        terminal.out.print(f"{names}{part}")
        for file in pair.files:
            terminal.out.print(f"  {printable(file)}", style="dim")
