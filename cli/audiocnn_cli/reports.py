"""What `evaluate` writes: report.json, or tables of figures with their intervals, models side by side."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from audiocnn.comparing import Comparison, LabelDifference, compare
from audiocnn.errors import UsageError
from audiocnn.figures import Evaluation, LabelEvaluation
from audiocnn.segments import SegmentRule
from audiocnn.units import clock
from audiocnn_cli.clip_tables import write_clips
from audiocnn_cli.figure_table import TITLES, Row, show, shown
from audiocnn_cli.findings import plural, share
from audiocnn_cli.progress import rate
from audiocnn_cli.terminal import Terminal, printable

SMOOTHED_ROWS = ("auroc", "fpr_at_5pct_miss")
DEFAULT_THRESHOLD = SegmentRule.threshold


@dataclass(frozen=True)
class Report:
    """One model or peer on one set of recordings. `sound_seconds` were scored in `seconds`.

    folder: where the model lies; a peer has none, and a version. tuned_on: what its thresholds were chosen on; where a
    rule has another threshold than these, it was given. difference: to the first report, `difference_to`.
    """

    name: str
    folder: str | None
    tuned_on: str
    thresholds: Mapping[str, float]
    data: str
    split: str | None
    evaluation: Evaluation
    sound_seconds: float
    seconds: float
    version: str | None = None
    difference_to: str | None = None
    difference: Comparison | None = None

    def origin(self, label: str) -> str:
        """Where the threshold of a label comes from."""
        own = self.evaluation.labels[label].rule.threshold == self.thresholds.get(label, DEFAULT_THRESHOLD)
        return self.tuned_on or "not tuned" if own else "given"

    def to_dict(self) -> dict[str, Any]:
        """report.json."""
        about = {
            "model": self.name,
            **({"version": self.version} if self.version else {}),
            "folder": self.folder,
            "tuned_on": self.tuned_on,
            "data": self.data,
            "split": self.split,
            "sound_seconds": round(self.sound_seconds, 4),
            "times_real_time": round(self.sound_seconds / self.seconds, 1) if self.seconds > 0 else None,
        }
        said = self.evaluation.to_dict()
        for label, found in said["labels"].items():
            found["tuned_on"] = self.origin(label)
        if self.difference is not None:
            said["difference_to"] = {"model": self.difference_to, **self.difference.to_dict()}
        return {"schema": said.pop("schema"), "type": said.pop("type"), **about, **said}


def write_json(reports: Sequence[Report], write: Callable[[str], object], pretty: bool) -> None:
    """One report as an object; several as a list in a file, as lines on stdout."""
    said = [report.to_dict() for report in reports]
    if pretty:
        write(json.dumps(said[0] if len(said) == 1 else said, indent=2, ensure_ascii=False) + "\n")
    else:
        write("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in said))


def with_differences(reports: Sequence[Report], terminal: Terminal) -> list[Report]:
    """Each after the first with its difference to that; where they cannot be compared, a warning says why."""
    first, *others = reports
    found = [first]
    for report in others:
        try:
            difference = compare(first.evaluation, report.evaluation)
        except UsageError as problem:
            terminal.error(f"{report.name}: no difference to {first.name}: {problem}", "warning")
            found.append(report)
        else:
            found.append(replace(report, difference_to=first.name, difference=difference))
    return found


def write_table(reports: Sequence[Report], terminal: Terminal) -> None:
    """The figures of every label, a column a model, and one of its difference to the first."""
    with terminal.paused():
        head = reports[0]
        split = f", split {head.split}" if head.split else ""
        speed = ", ".join(f"{report.name} {rate(report.sound_seconds, report.seconds)}" for report in reports)
        facts = f"{clock(head.sound_seconds)} scored; {speed}"
        terminal.out.print(f"{printable(head.data)}{split}: {facts}", style="bold", soft_wrap=True)
        heads = heads_of(reports)
        for label in known_labels(reports):
            show(f"{label}: {amounts(reports, label)}", label_rows(reports, label), heads, terminal)
        for tag in head.evaluation.groups:
            for value, label in groups_of(reports, tag):
                parts = [report.evaluation.groups[tag].get(value, {}).get(label) for report in reports]
                less = [r.difference.groups[tag].get(value, {}).get(label) if r.difference else None for r in reports]
                title = f"{tag} = {value or '(none)'}: {label}, {spoken(parts)}"
                show(title, figure_rows(reports, parts, less), heads, terminal)
        write_clips(reports, terminal)
        for note in notes_of(reports):
            terminal.out.print(f"note: {note}", style="yellow", soft_wrap=True)


def heads_of(reports: Sequence[Report]) -> list[str]:
    """The names of the columns: each model, and behind those that were compared their difference."""
    return [
        head for report in reports for head in ([report.name, "difference"] if report.difference else [report.name])
    ]


def known_labels(reports: Sequence[Report]) -> list[str]:
    """The labels of all models, in order."""
    return list(dict.fromkeys(label for report in reports for label in report.evaluation.labels))


def groups_of(reports: Sequence[Report], tag: str) -> list[tuple[str, str]]:
    """The values of a tag, with the labels that any model has there."""
    groups = [report.evaluation.groups[tag] for report in reports]
    return list(dict.fromkeys((value, label) for group in groups for value, found in group.items() for label in found))


def label_rows(reports: Sequence[Report], label: str) -> list[Row]:
    """The figures, then the thresholds, where they come from, and by how much segments were widened."""
    parts = [report.evaluation.labels.get(label) for report in reports]
    rows = figure_rows(reports, parts, [r.difference.labels.get(label) if r.difference else None for r in reports])
    facts = {
        "threshold": [f"{part.rule.threshold:g}" if part else "-" for part in parts],
        "tuned on": [r.origin(label) if part else "-" for r, part in zip(reports, parts, strict=True)],
        "pad": [f"{part.rule.pad_seconds:g} s" if part else "-" for part in parts],
    }
    blanks = [[""] if report.difference else [] for report in reports]
    for name, cells in facts.items():
        rows.append((name, [one for cell, blank in zip(cells, blanks, strict=True) for one in (cell, *blank)]))
    return rows


def figure_rows(
    reports: Sequence[Report],
    parts: Sequence[LabelEvaluation | None],
    less: Sequence[LabelDifference | None],
) -> list[Row]:
    """A row for each figure that any model has; cells as `heads_of` has them."""
    titles = titles_of(reports)
    columns = []
    for report, part, difference in zip(reports, parts, less, strict=True):
        columns.append(cells_of(part, titles))
        if report.difference:
            columns.append(cells_of(difference, titles, signed=True))
    names = dict.fromkeys(name for column in columns for name in column)
    return [(name, [column.get(name, "-") for column in columns]) for name in names]


def cells_of(
    part: LabelEvaluation | LabelDifference | None, titles: Mapping[str, str], signed: bool = False
) -> dict[str, str]:
    """The figures by their titles, those of smoothed scores behind those that they belong to."""
    if part is None:
        return {}
    cells = {}
    for name, figure in part.figures.items():
        title = titles.get(name, name.replace("_", " "))
        cells[title] = shown(figure, name, signed)
        for seconds, figures in part.smoothed.items() if name in SMOOTHED_ROWS else ():
            cells[f"{title}, smoothed {seconds:g} s"] = shown(figures[name], name, signed)
    return cells


def titles_of(reports: Sequence[Report]) -> dict[str, str]:
    """What figures are called, with the collar that one of them has."""
    collar = reports[0].evaluation.settings.collar_seconds
    return TITLES | {"detection_error_rate_collar": f"detection error rate, collar {collar:g} s"}


def amounts(reports: Sequence[Report], label: str) -> str:
    """How much was judged."""
    return spoken([report.evaluation.labels.get(label) for report in reports])


def spoken(parts: Sequence[LabelEvaluation | None]) -> str:
    """How much was judged, as the first says that has the label; all judged the same."""
    found = next(part for part in parts if part is not None)
    part = share(found.reference_seconds, found.seconds)
    return f"{plural(found.recordings, 'recording')}, {clock(found.seconds)}, {part} of it annotated"


def notes_of(reports: Sequence[Report]) -> list[str]:
    """What is not defined, and why; each once."""
    notes = [note for r in reports for found in r.evaluation.labels.values() for note in found.notes]
    notes += [note for r in reports if r.evaluation.clip for note in r.evaluation.clip.notes]
    return list(dict.fromkeys(notes))
