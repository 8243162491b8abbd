"""An evaluation as one self-contained page: results with confidence intervals, curves and conditions, side by side.

The page is made from the contents of report.json, so that the two agree. It loads nothing and runs no script: it
consists of text, a style sheet, SVG and the sounds of some clips, and can be opened from a disk without a network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from audiocnn.data.dataset import Dataset
from audiocnn.errors import show_name
from audiocnn.evaluation.report import EvaluationReport
from audiocnn.evaluation.results import BY_RECORDING, figure_title
from audiocnn.report.charts import (
    ReportColumn,
    calibration_plot,
    condition_plot,
    histogram_plot,
    precision_recall_plot,
    roc_plot,
)
from audiocnn.report.clips import Sounds, clip_section
from audiocnn.report.folds import curve_section, find_learning_curve
from audiocnn.report.page import (
    ReportPart,
    column_name,
    figure_cell,
    figure_table,
    format_count,
    html_figure,
    html_legend,
    html_table,
    natural_key,
    render_page,
    titled_figures,
)
from audiocnn.report.sound import clip_sounds
from audiocnn.report.style import style_sheet
from audiocnn.units import clock

_CONDITION_FIGURES = ("auroc", "false_segment_share")
_RECORDING_FIGURES = ("miss_rate", "false_alarm_rate", "detection_error_rate")
_OPEN_RECORDINGS = 40  # more are folded
_CORNER = 0.25
_Choose = Callable[[ReportPart], ReportPart | None]
"""A part of a report, or the difference of one to the first report, with the same keys; None if there is none."""


def render_evaluation(
    reports: Sequence[ReportPart],
    sounds: Sounds | None = None,
    curve: ReportPart | None = None,
    pictures: Sequence[str] = (),
) -> str:
    """HTML of reports on the same recordings, one per model. sounds: those of clips, by file name. curve: the learning
    curve that a model belongs to. pictures: files beside the page, which it links to."""
    title = f"{', '.join(str(report['model']) for report in reports)} on {reports[0]['data']}"
    labels = dict.fromkeys(label for report in reports for label in report["labels"])
    body = [
        *_head(reports),
        *_advice(reports),
        *_pictures(pictures),
        *(part for label in labels for part in _label(reports, label)),
        *clip_section(reports, sounds or {}),
        *(["<h2>Learning curve</h2>", *curve_section(curve, figure_title)] if curve else []),
        *_notes(reports),
    ]
    return render_page(title, style_sheet(), body)


def evaluation_page(
    reports: Sequence[EvaluationReport], dataset: Dataset | None = None, pictures: Sequence[str] = ()
) -> str:
    """HTML of an evaluation. With a dataset, the page can play some of its clips. pictures: files beside it."""
    clips = [report.evaluation.clip for report in reports if report.evaluation.clip]
    files = list(dict.fromkeys(file for clip in clips for file in clip.files_to_hear()))
    sounds = clip_sounds(dataset, files) if dataset is not None else {}
    curves = (find_learning_curve(Path(report.folder)) for report in reports if report.folder is not None)
    curve = next((found for found in curves if found), None)
    return render_evaluation([report.to_dict() for report in reports], sounds, curve, pictures)


def _head(reports: Sequence[ReportPart]) -> Iterator[str]:
    first = reports[0]
    names = ", ".join(column_name(column, report["model"]) for column, report in enumerate(reports))
    split = f", split {escape(first['split'])}" if first["split"] else ""
    yield f"<h1>{names}</h1>"
    yield f'<p class="soft">on {escape(str(first["data"]))}{split}: {clock(first["sound_seconds"])} of sound</p>'
    rows = [cells for column, report in enumerate(reports) for cells in _segment_rows(column, report)]
    if rows:
        heads = ["", "label", "threshold", "tuned on", "shortest segment", "shortest gap", "pad", "speed"]
        yield html_table(heads, rows)
    else:  # whole clips have no segments
        speeds = ", ".join(f"{r['model']} {_speed(r)}" for r in reports if r["times_real_time"])
        yield f'<p class="soft">{escape(speeds)}</p>'
    draws = first["resamples"]
    drawn = f" In brackets: 95 % confidence intervals from {draws:,} bootstrap samples of the recordings."
    intervals = drawn if draws else ""
    starred = (
        f" Differences are paired with {escape(first['model'])}, sample by sample;"
        " * marks those whose interval excludes 0."
    )
    frames = f"Curves use frames of {1000 * first['grid']:g} ms." if rows else ""
    yield f"<p>{frames}{intervals}{starred if intervals and len(reports) > 1 else ''}</p>"


def _advice(reports: Sequence[ReportPart]) -> Iterator[str]:
    """The next steps: each fact with the command that helps."""
    found = [one for report in reports for one in report.get("advice", ())]
    if found:
        yield "<h2>Next steps</h2>"
        lines = (f"<li>{escape(one['fact'])}:<br><code>{escape(one['command'])}</code></li>" for one in found)
        yield f"<ol>{''.join(lines)}</ol>"


def _pictures(names: Sequence[str]) -> Iterator[str]:
    if names:
        links = ", ".join(f'<a href="{quote(name)}">{escape(name)}</a>' for name in names)
        yield f'<p class="soft">Pictures beside this page: {links}</p>'


def _segment_rows(column: int, report: ReportPart) -> Iterator[list[str]]:
    """One row per label: the model, and the rule of its segments."""
    version = f' <span class="soft">{escape(report["version"])}</span>' if report.get("version") else ""
    name = f"{column_name(column, report['model'])}{version}"
    for label, found in report["labels"].items():
        origin = found.get("tuned_on", report["tuned_on"])
        lengths = [f"{found[key]:g} s" for key in ("min_speech", "min_silence", "pad")]
        lengths[-1] += f", {found['end_pad']:g} s" if "end_pad" in found else ""
        yield [name, escape(label), f"{found['threshold']:g}", escape(origin or "not tuned"), *lengths, _speed(report)]


def _speed(report: ReportPart) -> str:
    return f"{report['times_real_time']:,.0f} times real time" if report["times_real_time"] else "-"


def _label(reports: Sequence[ReportPart], label: str) -> Iterator[str]:
    columns = _columns(reports, lambda report: report["labels"].get(label))
    first = columns[0][2]
    share = first["reference_seconds"] / first["seconds"] if first["seconds"] else 0.0
    yield f"<h2>{escape(label)}</h2>"
    yield f'<p class="soft">{_amount(first)}, {100 * share:.0f} % annotated with this label</p>'
    yield from _best_points(columns)
    yield _figures(reports, lambda report: report["labels"].get(label))
    yield from _curves(columns)
    for tag in reports[0]["groups"]:
        yield from (_recordings if tag == BY_RECORDING else _conditions)(reports, label, tag)


def _best_points(columns: Sequence[ReportColumn]) -> Iterator[str]:
    """The operating point of each model that is best on these recordings."""
    for _, name, found in columns:
        if best := found.get("best_operating_point"):
            figures = found["operating_points"][best]
            key = next(key for key in ("detection_error_rate", "false_alarm_rate") if key in figures)
            said = f"{escape(name)} does best with --sensitivity {escape(best)}: {figure_title(key)} {figures[key]:.3f}"
            yield f'<p class="soft">{said}</p>'


def _curves(columns: Sequence[ReportColumn]) -> Iterator[str]:
    yield html_legend([(column, name) for column, name, _ in columns])
    yield '<div class="plots">'
    what = "true positive rate against false positive rate of frames; dots: segments"
    yield html_figure("ROC", what, roc_plot(columns))
    yield html_figure("ROC, enlarged", "the corner with few misses and few false alarms", roc_plot(columns, _CORNER))
    yield html_figure("Precision and recall", "as the threshold changes", precision_recall_plot(columns))
    yield html_figure("Calibration", "on the dotted line, scores are equal to probabilities", calibration_plot(columns))
    for column in columns:
        what = "coloured: frames with the label; grey: frames without it; dashed: threshold"
        yield html_figure(f"Scores of {column[1]}", what, histogram_plot(column))
    yield "</div>"


def _conditions(reports: Sequence[ReportPart], label: str, tag: str) -> Iterator[str]:
    """A tag: charts of the main results, then all results of each of its values."""

    def part_of(value: str) -> _Choose:
        return lambda report: report["groups"].get(tag, {}).get(value, {}).get(label)

    values = sorted({value for report in reports for value in report["groups"].get(tag, {})}, key=natural_key)
    rows = [(value, _columns(reports, part_of(value))) for value in values]
    yield f"<h3>{escape(label)} by {escape(tag)}</h3>"
    yield '<div class="plots">'
    for name in _CONDITION_FIGURES:
        if drawn := condition_plot(name, figure_title(name), rows):
            yield html_figure(figure_title(name), "with 95 % confidence intervals", drawn)
    yield "</div>"
    for value, columns in rows:
        if columns:
            amount = _amount(columns[0][2])
            yield f"<details><summary>{escape(tag)} = {escape(value or '(none)')}: {amount}</summary>"
            yield _figures(reports, part_of(value))
            yield "</details>"


def _recordings(reports: Sequence[ReportPart], label: str, tag: str) -> Iterator[str]:
    """One row per recording, in the order of the first report: worst first."""
    found = [{value: part.get(label) for value, part in r["groups"].get(tag, {}).items()} for r in reports]
    rows = []
    for value, first in found[0].items():
        if first is None:
            continue
        cells = [escape(show_name(value)), clock(first["seconds"]), f"{first['reference_seconds']:.1f} s"]
        for own in (of_model.get(value) for of_model in found):
            figures = own["figures"] if own else {}
            cells += [figure_cell(figures.get(name)) for name in _RECORDING_FIGURES]
        rows.append(cells)
    heads = ["recording", "length", "annotated"]
    for column, report in enumerate(reports):
        whose = f" {column_name(column, report['model'])}" if len(reports) > 1 else ""
        heads += [f"{escape(figure_title(name))}{whose}" for name in _RECORDING_FIGURES]
    yield f"<h3>{escape(label)} by recording, worst first</h3>"
    opened = " open" if len(rows) <= _OPEN_RECORDINGS else ""
    title = f"<summary>{format_count(len(rows), 'recording')}</summary>"
    yield f"<details{opened}>{title}{html_table(heads, rows)}</details>"


def _notes(reports: Sequence[ReportPart]) -> Iterator[str]:
    """Undefined results, and recordings that could not be scored, each once."""
    notes = [note for r in reports for found in r["labels"].values() for note in found["notes"]]
    notes += [note for r in reports if r["clip"] for note in r["clip"]["notes"]]
    notes += [f"{failure['file']}: {failure['error']}" for r in reports for failure in r["failures"]]
    yield from (f'<p class="note">{escape(note)}</p>' for note in dict.fromkeys(notes))


def _columns(reports: Sequence[ReportPart], choose: _Choose) -> list[ReportColumn]:
    found = ((column, str(report["model"]), choose(report)) for column, report in enumerate(reports))
    return [(column, name, part) for column, name, part in found if part is not None]


def _figures(reports: Sequence[ReportPart], choose: _Choose) -> str:
    collar_seconds = reports[0]["collar"]
    parts = [choose(report) for report in reports]
    differences = [choose(r["difference_to"]) if r.get("difference_to") else None for r in reports]
    found = [[titled_figures(part, collar_seconds) for part in row] for row in (parts, differences)]
    return figure_table(reports, *found)


def _amount(part: ReportPart) -> str:
    return f"{format_count(part['recordings'], 'recording')}, {clock(part['seconds'])}"
