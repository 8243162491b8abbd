"""Building blocks of the pages: the frame of a self-contained page, tables of results, charts with captions.

A page with a script has a security policy that allows only that script, and showing and playing the contents of the
page. Names from outside are inserted as text, never as code.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from audiocnn.errors import show_controls, show_name
from audiocnn.evaluation.results import figure_title
from audiocnn.report.style import column_class

ReportPart = Mapping[str, Any]
"""A report, or a part of one, as stored in report.json."""
TitledFigures = Mapping[str, ReportPart]
"""By title: value, low and high, and the number of decimals to show."""
_ASSETS = Path(__file__).with_name("assets")


def read_asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


def render_page(title: str, style: str, body: Iterable[str]) -> str:
    """HTML of a page without scripts; `body` is HTML, `title` is text."""
    return _frame(title, style, "", body)


def render_script_page(title: str, style: str, body: Iterable[str], script: str, data: Any, media: str) -> str:
    """HTML of a page with a script, which finds `data` in the element with that id. media: further permissions of the
    policy, such as `media-src data:`."""
    policy = f"default-src 'none'; style-src {_policy_hash(style)}; script-src {_policy_hash(script)}; {media}"
    scripts = (f'<script type="application/json" id="data">{to_json(data)}</script>', f"<script>{script}</script>")
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    return _frame(title, style, meta, [*body, *scripts])


def _frame(title: str, style: str, meta: str, body: Iterable[str]) -> str:
    parts = [
        "<!doctype html>",
        '<html lang="en">',
        f'<head><meta charset="utf-8">{meta}',
        '<meta name="viewport" content="width=device-width">',
        f"<title>{escape(title)}</title>",
        f"<style>{style}</style></head>",
        "<body>",
        *body,
        "</body>",
        "</html>",
    ]
    return show_controls("\n".join(parts) + "\n")


def _policy_hash(text: str) -> str:
    """The hash source of a script or a style in a security policy (Content Security Policy Level 3)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def to_json(values: Any) -> str:
    """JSON for use in a page: it cannot end its element or start another."""
    text = json.dumps(values, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def key_help(keys: Iterable[Sequence[str]]) -> str:
    """The keys of a page and their effects; each entry is one or more keys, and their effect."""
    shown = (" ".join(f"<kbd>{key}</kbd>" for key in names) + f" {what}" for *names, what in keys)
    return " &nbsp; ".join(f'<span class="key">{one}</span>' for one in shown)


def titled_figures(found: ReportPart | None, collar_seconds: float | None = None) -> TitledFigures:
    """All results of a part; those of smoothed scores follow the ones that they belong to."""
    if found is None:
        return {}
    rows: dict[str, ReportPart] = {}
    for name, figure in found["figures"].items():
        title = figure_title(name, collar_seconds)
        rows[title] = {**figure, "digits": 1 if name.endswith("_ms") else 4}
        for seconds, figures in found.get("smoothed", {}).items():
            if name in figures:
                rows[f"{title}, smoothed {seconds} s"] = figures[name]
    return rows


def figure_table(
    reports: Sequence[ReportPart], found: Sequence[TitledFigures], differences: Sequence[TitledFigures]
) -> str:
    """One row per result; for each report a column, and one of differences if it has any."""
    heads = [""]
    for column, report in enumerate(reports):
        heads.append(column_name(column, report["model"]))
        if differences[column]:
            heads.append("difference")
    rows = []
    for title in dict.fromkeys(title for figures in found for title in figures):
        row = [escape(title)]
        for figures, less in zip(found, differences, strict=True):
            row.append(figure_cell(figures.get(title)))
            if less:
                row.append(figure_cell(less.get(title), signed=True))
        rows.append(row)
    return html_table(heads, rows)


def figure_cell(figure: ReportPart | None, signed: bool = False) -> str:
    """A value with its interval; a difference with its sign, and a star if its interval excludes 0."""
    if figure is None or figure["value"] is None:
        return "-"
    form = f"{'+' if signed else ''}.{figure.get('digits', 4)}f"
    low, high = figure.get("low"), figure.get("high")
    value = f"{figure['value']:{form}}"
    if low is None or high is None:
        return value
    sure = signed and (low > 0 or high < 0)
    interval = f'<span class="interval">[{low:{form}}, {high:{form}}]</span>'
    return (f'<span class="sure">{value} *</span>' if sure else value) + interval


def html_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Cells are HTML; the first of each row is its heading."""
    top = "".join(f'<th scope="col">{head}</th>' for head in heads)
    body = "\n".join(
        f'<tr><th scope="row">{row[0]}</th>{"".join(f"<td>{cell}</td>" for cell in row[1:])}</tr>' for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead>\n<tbody>{body}</tbody></table></div>'


def html_figure(title: str, text: str, svg: str) -> str:
    return f"<figure><figcaption><b>{escape(title)}</b> {escape(text)}</figcaption>\n{svg}\n</figure>"


def html_legend(names: Sequence[tuple[int, str]]) -> str:
    items = [
        '<li><svg width="30" height="10" aria-hidden="true">'
        f'<path class="line {column_class(column)}" d="M1 5H29"/></svg> {escape(name)}</li>'
        for column, name in names
    ]
    return f'<ul class="legend">{"".join(items)}</ul>'


def column_name(column: int, name: str) -> str:
    return f'<span class="{column_class(column)} name">{escape(name)}</span>'


def html_labels(labels: Sequence[str]) -> str:
    return escape(show_name(", ".join(labels))) or "<i>none</i>"


def natural_key(text: str) -> list[tuple[int, float, str]]:
    """A sort key that compares numbers in names by value, so that -5 is before 0 and 10 after 5. A hyphen after a
    letter or a digit is not a sign."""
    parts = re.split(r"((?:(?<![^\W_])-)?\d+(?:\.\d+)?)", text)
    return [(0, float(part), "") if k % 2 else (1, 0.0, part) for k, part in enumerate(parts)]


def format_count(count: int, noun: str) -> str:
    """`1 clip`, `1,200 clips`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
