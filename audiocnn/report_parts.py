"""What the sections of an evaluation's page are made of: tables of figures with their intervals, and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from audiocnn.report_pictures import side_class

Said = Mapping[str, Any]
"""A report, or a part of one, as report.json has it."""

Figures = Mapping[str, Said]
"""By title: value, low and high, and how many digits behind the point to show."""


def figures_of(found: Said | None, titles: Mapping[str, str]) -> Figures:
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


def figure_table(reports: Sequence[Said], found: Sequence[Figures], differences: Sequence[Figures]) -> str:
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
            row.append(figure_cell(figures.get(title)))
            if less:
                row.append(figure_cell(less.get(title), signed=True))
        rows.append(row)
    return table(heads, rows)


def figure_cell(figure: Said | None, signed: bool = False) -> str:
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


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Cells are HTML; the first of each row is its head."""
    top = "".join(f'<th scope="col">{head}</th>' for head in heads)
    body = "\n".join(
        f'<tr><th scope="row">{row[0]}</th>{"".join(f"<td>{cell}</td>" for cell in row[1:])}</tr>' for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead>\n<tbody>{body}</tbody></table></div>'


def picture(title: str, text: str, svg: str) -> str:
    return f"<figure><figcaption><b>{escape(title)}</b> {escape(text)}</figcaption>\n{svg}\n</figure>"


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
