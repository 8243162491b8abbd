"""An evaluation as one page that needs nothing else: figures with their intervals, curves, conditions, side by side.

Made from what report.json holds, so that the two cannot disagree. Nothing on it is loaded from anywhere, and nothing
runs: it is text, a style sheet, SVG and the sounds of some clips, and opens from a disk, without a network.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from audiocnn.clip_page import Sounds, clip_section
from audiocnn.repeats_page import curve_section
from audiocnn.report_parts import Said, figure_table, figures_of, picture, plural, table
from audiocnn.report_pictures import (
    Side,
    calibration_plot,
    condition_plot,
    histogram_plot,
    legend,
    natural,
    precision_recall_plot,
    roc_plot,
    side_class,
)
from audiocnn.report_style import style_sheet
from audiocnn.units import clock

CONDITION_FIGURES = ("auroc", "false_segment_share")
CORNER = 0.25


def to_page(
    reports: Sequence[Said], titles: Mapping[str, str], sounds: Sounds | None = None, curve: Said | None = None
) -> str:
    """HTML of reports on the same recordings, of one model each; `titles` are those of the figures, `sounds` those of
    clips, by their file names; `curve`: the learning curve that a model is a part of."""
    names = [str(report["model"]) for report in reports]
    head = f"<title>{escape(', '.join(names))} on {escape(str(reports[0]['data']))}</title>"
    parts = [
        "<!doctype html>",
        '<html lang="en">',
        f'<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">{head}',
        f"<style>{style_sheet()}</style></head>",
        "<body>",
        *_head(reports),
        *(part for label in _labels(reports) for part in _label(reports, label, titles)),
        *clip_section(reports, titles, sounds or {}),
        *(["<h2>Learning curve</h2>", *curve_section(curve, titles)] if curve else []),
        *_notes(reports),
        "</body>",
        "</html>",
    ]
    return "\n".join(parts) + "\n"


def _head(reports: Sequence[Said]) -> Iterator[str]:
    first = reports[0]
    names = ", ".join(f'<span class="{side_class(k)} name">{escape(r["model"])}</span>' for k, r in enumerate(reports))
    split = f", split {escape(first['split'])}" if first["split"] else ""
    yield f"<h1>{names}</h1>"
    yield f'<p class="soft">on {escape(str(first["data"]))}{split}: {clock(first["sound_seconds"])} of sound</p>'
    rows = [cells for column, report in enumerate(reports) for cells in _about(column, report)]
    if rows:
        yield table(["", "label", "threshold", "tuned on", "shortest segment", "shortest gap", "pad", "speed"], rows)
    else:  # clips alone have no segments
        speeds = ", ".join(f"{r['model']} {_speed(r)}" for r in reports if r["times_real_time"])
        yield f'<p class="soft">{escape(speeds)}</p>'
    draws = first["resamples"]
    intervals = f" In brackets: 95 % intervals, from drawing the recordings anew {draws:,} times." if draws else ""
    starred = (
        f" Differences are paired, draw by draw, to {escape(first['model'])};"
        " * marks those whose interval does not hold 0."
    )
    said = f"Curves are of frames of {1000 * first['grid']:g} ms." if rows else ""
    yield f"<p>{said}{intervals}{starred if intervals and len(reports) > 1 else ''}</p>"


def _about(column: int, report: Said) -> Iterator[list[str]]:
    """A row a label: whose it is, and how its segments were made."""
    version = f' <span class="soft">{escape(report["version"])}</span>' if report.get("version") else ""
    name = f'<span class="{side_class(column)} name">{escape(report["model"])}</span>{version}'
    speed = _speed(report)
    for label, found in report["labels"].items():
        origin = found.get("tuned_on", report["tuned_on"])
        lengths = [f"{found[key]:g} s" for key in ("min_speech", "min_silence", "pad")]
        yield [name, escape(label), f"{found['threshold']:g}", escape(origin or "not tuned"), *lengths, speed]


def _speed(report: Said) -> str:
    return f"{report['times_real_time']:,.0f} times real time" if report["times_real_time"] else "-"


def _label(reports: Sequence[Said], label: str, titles: Mapping[str, str]) -> Iterator[str]:
    """A label: its figures, its curves, and the same by condition."""
    sides = _sides(reports, lambda report: report["labels"].get(label))
    amounts = sides[0][2]
    share = amounts["reference_seconds"] / amounts["seconds"] if amounts["seconds"] else 0.0
    yield f"<h2>{escape(label)}</h2>"
    yield (
        f'<p class="soft">{plural(amounts["recordings"], "recording")}, {clock(amounts["seconds"])},'
        f" {100 * share:.0f} % of it annotated</p>"
    )
    found = [figures_of(report["labels"].get(label), titles) for report in reports]
    yield figure_table(reports, found, [figures_of(_difference(r, label), titles) for r in reports])
    yield from _curves(sides)
    for tag in reports[0]["groups"]:
        yield from _conditions(reports, label, tag, titles)


def _curves(sides: Sequence[Side]) -> Iterator[str]:
    yield legend([(column, name) for column, name, _ in sides])
    yield '<div class="plots">'
    yield picture("ROC", "what is found against what is wrongly taken; the dots are the segments", roc_plot(sides))
    yield picture("The corner of it", "where few are missed and few are wrong", roc_plot(sides, CORNER))
    yield picture("Precision and recall", "how much of what is taken is right", precision_recall_plot(sides))
    yield picture("Calibration", "on the dotted line scores mean what they say", calibration_plot(sides))
    for side in sides:
        what = "in colour: frames with the label; grey: without; dashed: the threshold"
        yield picture(f"Scores of {side[1]}", what, histogram_plot(side))
    yield "</div>"


def _conditions(reports: Sequence[Said], label: str, tag: str, titles: Mapping[str, str]) -> Iterator[str]:
    """A tag: pictures of the figures that matter most, then all figures of each of its values."""
    values = sorted({value for report in reports for value in report["groups"].get(tag, {})}, key=natural)
    rows = [(value, _sides(reports, lambda r, v=value: _in_group(r, tag, v, label))) for value in values]
    pictures = [
        (titles.get(name, name), condition_plot(name, titles.get(name, name), rows)) for name in CONDITION_FIGURES
    ]
    yield f"<h3>{escape(label)} by {escape(tag)}</h3>"
    yield '<div class="plots">'
    yield from (picture(title, "with 95 % intervals", drawn) for title, drawn in pictures if drawn)
    yield "</div>"
    for value, sides in rows:
        if not sides:
            continue
        amount = f"{plural(sides[0][2]['recordings'], 'recording')}, {clock(sides[0][2]['seconds'])}"
        found = [figures_of(_in_group(r, tag, value, label), titles) for r in reports]
        differences = [figures_of(_difference(r, label, tag, value), titles) for r in reports]
        yield f"<details><summary>{escape(tag)} = {escape(value or '(none)')}: {amount}</summary>"
        yield figure_table(reports, found, differences)
        yield "</details>"


def _notes(reports: Sequence[Said]) -> Iterator[str]:
    """What is not defined, and what could not be scored; each once."""
    notes = [note for r in reports for found in r["labels"].values() for note in found["notes"]]
    notes += [note for r in reports if r["clip"] for note in r["clip"]["notes"]]
    notes += [f"{failure['file']}: {failure['error']}" for r in reports for failure in r["failures"]]
    yield from (f'<p class="note">{escape(note)}</p>' for note in dict.fromkeys(notes))


# Parts of reports


def _labels(reports: Sequence[Said]) -> list[str]:
    return list(dict.fromkeys(label for report in reports for label in report["labels"]))


def _sides(reports: Sequence[Said], part: Any) -> list[Side]:
    """Those that have the part, with the column that they stand in."""
    found = [(column, str(report["model"]), part(report)) for column, report in enumerate(reports)]
    return [side for side in found if side[2] is not None]


def _in_group(report: Said, tag: str, value: str, label: str) -> Said | None:
    found: Said | None = report["groups"].get(tag, {}).get(value, {}).get(label)
    return found


def _difference(report: Said, label: str, tag: str | None = None, value: str = "") -> Said | None:
    """The figures of a label as differences to the first report; None where there are none."""
    found = report.get("difference_to")
    if found is None:
        return None
    return found["labels"].get(label) if tag is None else _in_group(found, tag, value, label)
