"""What `evaluate` writes: report.json, or tables of figures with their intervals, models side by side."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from audiocnn.figures import Evaluation, Figure
from audiocnn.model import Model
from audiocnn.units import clock
from audiocnn_cli.findings import plural, share
from audiocnn_cli.progress import rate
from audiocnn_cli.terminal import Terminal, printable

TITLES = {
    "auroc": "AUROC",
    "average_precision": "average precision",
    "tpr_at_5pct_fpr": "TPR at 5 % FPR",
    "tpr_at_31_5pct_fpr": "TPR at 31.5 % FPR",
    "fpr_at_5pct_miss": "FPR at 5 % miss",
    "eer": "EER",
    "detection_error_rate": "detection error rate",
    "miss_rate": "miss rate",
    "false_alarm_rate": "false alarm rate",
    "detection_cost": "detection cost",
    "f1": "F1",
    "segment_f1": "segment F1",
    "edges_within_50ms": "edges within 50 ms",
    "edges_within_100ms": "edges within 100 ms",
}


@dataclass(frozen=True)
class Report:
    """One model on one set of recordings. `sound_seconds` were scored in `seconds`."""

    model: Model
    data: str
    split: str | None
    evaluation: Evaluation
    sound_seconds: float
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """report.json."""
        about = {
            "model": self.model.name,
            "folder": str(self.model.folder),
            "tuned_on": self.model.tuned_on,
            "data": self.data,
            "split": self.split,
            "sound_seconds": round(self.sound_seconds, 4),
            "times_real_time": round(self.sound_seconds / self.seconds, 1) if self.seconds > 0 else None,
        }
        said = self.evaluation.to_dict()
        return {"schema": said.pop("schema"), "type": said.pop("type"), **about, **said}


def write_json(reports: Sequence[Report], write: Callable[[str], object], pretty: bool) -> None:
    """One report as an object; several as a list in a file, as lines on stdout."""
    said = [report.to_dict() for report in reports]
    if pretty:
        write(json.dumps(said[0] if len(said) == 1 else said, indent=2, ensure_ascii=False) + "\n")
    else:
        write("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in said))


def write_table(reports: Sequence[Report], terminal: Terminal) -> None:
    """The figures of every label, a column a model."""
    with terminal.paused():
        head = reports[0]
        split = f", split {head.split}" if head.split else ""
        speed = ", ".join(f"{report.model.name} {rate(report.sound_seconds, report.seconds)}" for report in reports)
        facts = f"{clock(head.sound_seconds)} scored; {speed}"
        terminal.out.print(f"{printable(head.data)}{split}: {facts}", style="bold", soft_wrap=True)
        for label in known_labels(reports):
            show(f"{label}: {amounts(head, label)}", label_rows(reports, label), reports, terminal)
        for tag, values in head.evaluation.groups.items():
            for value in values:
                for label in values[value]:
                    title = f"{tag} = {value or '(none)'}: {label}"
                    found = [figures_of(r.evaluation.groups[tag].get(value, {}), label) for r in reports]
                    show(title, figure_rows(found), reports, terminal)
        if head.evaluation.clip:
            show(f"clips: {head.evaluation.clip.clips}", clip_rows(reports), reports, terminal)
        for note in notes_of(reports):
            terminal.out.print(f"note: {note}", style="yellow", soft_wrap=True)


def show(title: str, rows: list[tuple[str, list[str]]], reports: Sequence[Report], terminal: Terminal) -> None:
    """A table: a row a figure, a column a model; where the window is narrow, intervals go below their value."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    if not rows:
        return
    edges = box.SIMPLE_HEAD if terminal.unicode else box.ASCII
    table = Table(box=edges, pad_edge=False, show_edge=False, title=Text(printable(title)), title_justify="left")
    table.add_column("")
    for report in reports:
        table.add_column(Text(printable(report.model.name)), min_width=6)
    for name, cells in rows:
        table.add_row(name, *[Text(cell) for cell in cells])
    terminal.out.print()
    terminal.out.print(table)


def known_labels(reports: Sequence[Report]) -> list[str]:
    """The labels of all models, in order."""
    return list(dict.fromkeys(label for report in reports for label in report.evaluation.labels))


def figures_of(labels: Any, label: str) -> dict[str, Figure]:
    """The figures of a label; none where the model does not have it."""
    return labels[label].figures if label in labels else {}


def label_rows(reports: Sequence[Report], label: str) -> list[tuple[str, list[str]]]:
    """The figures, then the thresholds and where they come from."""
    rows = figure_rows([figures_of(report.evaluation.labels, label) for report in reports])
    rules = [report.evaluation.labels[label].rule if label in report.evaluation.labels else None for report in reports]
    rows.append(("threshold", [f"{rule.threshold:g}" if rule else "-" for rule in rules]))
    origins = []
    for report, rule in zip(reports, rules, strict=True):
        own = rule is not None and rule.threshold == report.model.thresholds.get(label)
        origins.append(report.model.tuned_on or "not tuned" if own else "given" if rule else "-")
    rows.append(("tuned on", origins))
    return rows


def figure_rows(found: Sequence[dict[str, Figure]]) -> list[tuple[str, list[str]]]:
    """A row for each figure that any model has."""
    names = dict.fromkeys(name for figures in found for name in figures)
    return [
        (TITLES.get(name, name.replace("_", " ")), [shown(figures.get(name), name) for figures in found])
        for name in names
    ]


def clip_rows(reports: Sequence[Report]) -> list[tuple[str, list[str]]]:
    """Accuracy, then the figures of each label."""
    clips = [report.evaluation.clip for report in reports]
    rows = [("accuracy", [shown(clip.accuracy, "accuracy") if clip else "-" for clip in clips])]
    for label in dict.fromkeys(label for clip in clips if clip for label in clip.labels):
        found = [clip.labels.get(label, {}) if clip else {} for clip in clips]
        rows += [(f"{label}: {name}", cells) for name, cells in figure_rows(found)]
    return rows


def shown(figure: Figure | None, name: str) -> str:
    """A value and its interval."""
    if figure is None or figure.value is None:
        return "-"
    digits = 1 if name.endswith("_ms") else 4
    value = f"{figure.value:.{digits}f}"
    if figure.low is None or figure.high is None:
        return value
    return f"{value}  [{figure.low:.{digits}f}, {figure.high:.{digits}f}]"


def amounts(report: Report, label: str) -> str:
    """How much was judged."""
    found = report.evaluation.labels.get(label)
    if found is None:
        return "not a label of this model"
    part = share(found.reference_seconds, found.seconds)
    return f"{plural(found.recordings, 'recording')}, {clock(found.seconds)}, {part} of it annotated"


def notes_of(reports: Sequence[Report]) -> list[str]:
    """What is not defined, and why; each once."""
    notes = [note for r in reports for found in r.evaluation.labels.values() for note in found.notes]
    notes += [note for r in reports if r.evaluation.clip for note in r.evaluation.clip.notes]
    return list(dict.fromkeys(notes))
