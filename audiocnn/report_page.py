"""An evaluation as one page that needs nothing else: figures with their intervals, curves, conditions, side by side.

Made from what report.json holds, so that the two cannot disagree. Nothing on it is loaded from anywhere, and nothing
runs: it is text, a style sheet and SVG, and opens from a disk, without a network.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

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

Said = Mapping[str, Any]
"""A report, or a part of one, as report.json has it."""

Figures = Mapping[str, Said]
"""By title: value, low and high, and how many digits behind the point to show."""

CONDITION_FIGURES = ("auroc", "false_segment_share")
CORNER = 0.25


def to_page(reports: Sequence[Said], titles: Mapping[str, str]) -> str:
    """HTML of reports on the same recordings, of one model each; `titles` are those of the figures."""
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
        *_clips(reports, titles),
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
    yield _table(["", "label", "threshold", "tuned on", "shortest segment", "shortest gap", "pad", "speed"], rows)
    draws = first["resamples"]
    intervals = f" In brackets: 95 % intervals, from drawing the recordings anew {draws:,} times." if draws else ""
    starred = (
        f" Differences are paired, draw by draw, to {escape(first['model'])};"
        " * marks those whose interval does not hold 0."
    )
    said = f"Curves are of frames of {1000 * first['grid']:g} ms.{intervals}"
    yield f"<p>{said}{starred if intervals and len(reports) > 1 else ''}</p>"


def _about(column: int, report: Said) -> Iterator[list[str]]:
    """A row a label: whose it is, and how its segments were made."""
    version = f' <span class="soft">{escape(report["version"])}</span>' if report.get("version") else ""
    name = f'<span class="{side_class(column)} name">{escape(report["model"])}</span>{version}'
    speed = f"{report['times_real_time']:,.0f} times real time" if report["times_real_time"] else "-"
    for label, found in report["labels"].items():
        origin = found.get("tuned_on", report["tuned_on"])
        lengths = [f"{found[key]:g} s" for key in ("min_speech", "min_silence", "pad")]
        yield [name, escape(label), f"{found['threshold']:g}", escape(origin or "not tuned"), *lengths, speed]


def _label(reports: Sequence[Said], label: str, titles: Mapping[str, str]) -> Iterator[str]:
    """A label: its figures, its curves, and the same by condition."""
    sides = _sides(reports, lambda report: report["labels"].get(label))
    amounts = sides[0][2]
    share = amounts["reference_seconds"] / amounts["seconds"] if amounts["seconds"] else 0.0
    yield f"<h2>{escape(label)}</h2>"
    yield (
        f'<p class="soft">{_plural(amounts["recordings"], "recording")}, {clock(amounts["seconds"])},'
        f" {100 * share:.0f} % of it annotated</p>"
    )
    found = [_figures(report["labels"].get(label), titles) for report in reports]
    yield _figure_table(reports, found, [_figures(_difference(r, label), titles) for r in reports])
    yield from _curves(sides)
    for tag in reports[0]["groups"]:
        yield from _conditions(reports, label, tag, titles)


def _curves(sides: Sequence[Side]) -> Iterator[str]:
    yield legend([(column, name) for column, name, _ in sides])
    yield '<div class="plots">'
    yield _picture("ROC", "what is found against what is wrongly taken; the dots are the segments", roc_plot(sides))
    yield _picture("The corner of it", "where few are missed and few are wrong", roc_plot(sides, CORNER))
    yield _picture("Precision and recall", "how much of what is taken is right", precision_recall_plot(sides))
    yield _picture("Calibration", "on the dotted line scores mean what they say", calibration_plot(sides))
    for side in sides:
        what = "in colour: frames with the label; grey: without; dashed: the threshold"
        yield _picture(f"Scores of {side[1]}", what, histogram_plot(side))
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
    yield from (_picture(title, "with 95 % intervals", picture) for title, picture in pictures if picture)
    yield "</div>"
    for value, sides in rows:
        if not sides:
            continue
        amount = f"{_plural(sides[0][2]['recordings'], 'recording')}, {clock(sides[0][2]['seconds'])}"
        found = [_figures(_in_group(r, tag, value, label), titles) for r in reports]
        differences = [_figures(_difference(r, label, tag, value), titles) for r in reports]
        yield f"<details><summary>{escape(tag)} = {escape(value or '(none)')}: {amount}</summary>"
        yield _figure_table(reports, found, differences)
        yield "</details>"


def _clips(reports: Sequence[Said], titles: Mapping[str, str]) -> Iterator[str]:
    """Whole clips, where there were such."""
    clips = [report["clip"] for report in reports]
    first = next((clip for clip in clips if clip), None)
    if first is None:
        return
    yield f"<h2>Clips</h2><p class='soft'>{_plural(first['clips'], 'clip')}, told apart by their mean score</p>"
    yield _figure_table(reports, [_figures(clip, titles) for clip in clips], [{}] * len(reports))
    for label in dict.fromkeys(label for clip in clips if clip for label in clip["labels"]):
        yield f"<h3>{escape(label)}</h3>"
        found = [_figures((clip or {"labels": {}})["labels"].get(label), titles) for clip in clips]
        yield _figure_table(reports, found, [{}] * len(reports))


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


def _figures(found: Said | None, titles: Mapping[str, str]) -> Figures:
    """All figures, those of smoothed scores behind those that they belong to."""
    if found is None:
        return {}
    smoothed = found.get("smoothed", {})
    rows: dict[str, Said] = {}
    for name, figure in found["figures"].items():
        title = titles.get(name, name.replace("_", " "))
        rows[title] = {**figure, "digits": 1 if name.endswith("_ms") else 4}
        for seconds, figures in smoothed.items():
            if name in figures:
                rows[f"{title}, smoothed {seconds} s"] = {**figures[name], "digits": 4}
    return rows


# Tables


def _figure_table(reports: Sequence[Said], found: Sequence[Figures], differences: Sequence[Figures]) -> str:
    """A row a figure; for each report a column, and one of differences where it has any."""
    heads = [""]
    for column, report in enumerate(reports):
        heads.append(f'<span class="{side_class(column)} name">{escape(report["model"])}</span>')
        if differences[column]:
            heads.append("difference")
    rows = []
    for title in dict.fromkeys(title for figures in found for title in figures):
        row = [escape(title)]
        for figures, less in zip(found, differences, strict=True):
            row.append(_cell(figures.get(title)))
            if less:
                row.append(_cell(less.get(title), signed=True))
        rows.append(row)
    return _table(heads, rows)


def _cell(figure: Said | None, signed: bool = False) -> str:
    """A value with its interval; a difference with its sign, and a star where it is sure."""
    if figure is None or figure["value"] is None:
        return "-"
    form = f"{'+' if signed else ''}.{figure['digits']}f"
    value, low, high = figure["value"], figure["low"], figure["high"]
    said = f"{value:{form}}"
    if low is None or high is None:
        return said
    sure = signed and (low > 0 or high < 0)
    interval = f'<span class="interval">[{low:{form}}, {high:{form}}]</span>'
    return (f'<span class="sure">{said} *</span>' if sure else said) + interval


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Cells are HTML; the first of each row is its head."""
    top = "".join(f'<th scope="col">{head}</th>' for head in heads)
    body = "\n".join(
        f'<tr><th scope="row">{row[0]}</th>{"".join(f"<td>{cell}</td>" for cell in row[1:])}</tr>' for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead>\n<tbody>{body}</tbody></table></div>'


def _picture(title: str, text: str, svg: str) -> str:
    return f"<figure><figcaption><b>{escape(title)}</b> {escape(text)}</figcaption>\n{svg}\n</figure>"


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
