"""Doubtful clips as one page: listen, choose the right label, download the corrected table. It needs nothing else.

What the page may do is said in its own security policy: run the one script that is in it, play the sounds that are in
it, and nothing else. Names from outside are text on it, never code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from audiocnn.clip_sounds import ClipSound
from audiocnn.doubtful import COLUMNS, SEPARATOR, Doubt
from audiocnn.filenames import show_name
from audiocnn.inspection.plot_page import digest, to_json
from audiocnn.report_style import style_sheet

HERE = Path(__file__).parent
KEYS = (
    ("space", "play, pause"),
    ("↓", "↑", "next, previous"),
    ("1", "the label is right"),
    ("2", "take the suggested one"),
    ("3", "write another"),
    ("x", "leave the clip out"),
    ("z", "undo"),
)


def to_page(
    doubts: Sequence[Doubt],
    sounds: Mapping[str, ClipSound],
    labels: Sequence[str],
    about: tuple[str, str],
    table: str,
    several: bool = False,
) -> str:
    """HTML. labels: those to choose from; about: the names of model and data; table: what the corrected table is called
    when it is downloaded; several: clips of the data may have more than one label, or none."""
    model, data = about
    style = style_sheet() + (HERE / "doubtful_page.css").read_text(encoding="utf-8")
    script = (HERE / "doubtful_page.js").read_text(encoding="utf-8")
    policy = f"default-src 'none'; style-src {digest(style)}; script-src {digest(script)}; media-src data:"
    parts = [
        "<!doctype html>",
        '<html lang="en">',
        f'<head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width">',
        f"<title>{len(doubts)} doubtful clips of {escape(show_name(data))}</title>",
        f"<style>{style}</style></head>",
        "<body>",
        *head_of(doubts, sounds, model, data, several),
        '<ol id="clips">',
        *(
            line
            for number, doubt in enumerate(doubts)
            for line in clip_of(number, doubt, sounds.get(doubt.filename), several)
        ),
        "</ol>",
        f'<datalist id="labels">{"".join(f"<option value={quoted(label)}>" for label in labels)}</datalist>',
        '<div id="bar"><span id="state"></span> <button id="save" disabled>Download the corrected TSV</button></div>',
        "<noscript><p class='note'>The choices need the script of this page, which is turned off here: correct the TSV"
        " that lies beside it.</p></noscript>",
        f'<script type="application/json" id="data">{to_json(data_of(doubts, labels, table, several))}</script>',
        f"<script>{script}</script>",
        "</body>",
        "</html>",
    ]
    return "\n".join(parts) + "\n"


def head_of(
    doubts: Sequence[Doubt], sounds: Mapping[str, ClipSound], model: str, data: str, several: bool
) -> Iterator[str]:
    """What this is, and what the keys do."""
    other = sum(set(doubt.labels) != set(doubt.suggested) for doubt in doubts)
    likely = sum(doubt.likely_wrong for doubt in doubts)
    yield f"<h1>{len(doubts)} doubtful clips</h1>"
    yield f'<p class="soft">of {escape(show_name(data))}, by {escape(model)}: where label and score disagree most</p>'
    yield (
        f"<p>The model says something else than the label of {other}; {likely} are likely wrong by confident learning."
        " Listen, choose, download the table, and train again with <code>--corrections</code>."
        " A clip that is not touched keeps its label.</p>"
    )
    if several:
        yield (
            f"<p>Several labels of one clip are written with <code>{SEPARATOR}</code> between them; an empty label says"
            " that it has none of them.</p>"
        )
    if silent := sum(doubt.filename not in sounds for doubt in doubts):
        yield f'<p class="note">{silent} of them would make the page too large and stand here without sound.</p>'
    said = " &nbsp; ".join(" ".join(f"<kbd>{key}</kbd>" for key in keys) + f" {what}" for *keys, what in KEYS)
    yield f'<p class="soft">{said}</p>'


def clip_of(number: int, doubt: Doubt, sound: ClipSound | None, several: bool) -> Iterator[str]:
    """One clip with its buttons; the script knows it by its number."""
    name = escape(show_name(doubt.filename))
    label, suggested = (shown(labels) for labels in (doubt.labels, doubt.suggested))
    flag = ' <span class="flag">likely wrong</span>' if doubt.likely_wrong else ""
    yield f'<li class="clip" data-clip="{number}" tabindex="0">'
    yield f'<div class="name"><b>{name}</b>{flag}</div>'
    if sound is None:
        yield '<div class="soft">no sound on this page</div>'
    else:
        yield f'<audio controls preload="none" src="{sound.uri}"></audio>'
        if sound.note:
            yield f'<div class="soft">{escape(sound.note)}</div>'
    yield (
        f'<div class="said">label <b>{label}</b> <span class="soft">{doubt.label_score:.2f}</span>'
        f' · model <b>{suggested}</b> <span class="soft">{doubt.score:.2f}</span></div>'
    )
    off = "" if doubt.suggested or several else " disabled"
    yield '<div class="choices">'
    yield f'<button data-do="keep">{label} is right</button>'
    if set(doubt.suggested) != set(doubt.labels):
        yield f'<button data-do="suggested"{off}>it is {suggested}</button>'
    yield f'<input list="labels" aria-label="label" placeholder="another label" value={quoted(written(doubt.labels))}>'
    yield '<button data-do="out">leave out</button>'
    yield "</div></li>"


def shown(labels: Sequence[str]) -> str:
    """Labels as HTML."""
    return escape(show_name(", ".join(labels))) if labels else "<i>none</i>"


def written(labels: Sequence[str]) -> str:
    """Labels as the table has them."""
    return SEPARATOR.join(labels)


def quoted(text: str) -> str:
    """The value of an attribute."""
    return f'"{escape(show_name(text), quote=True)}"'


def data_of(doubts: Sequence[Doubt], labels: Sequence[str], table: str, several: bool) -> dict[str, Any]:
    """What the script writes the corrected table from."""
    rows = [doubt.row() for doubt in doubts]
    return {"columns": COLUMNS, "rows": rows, "labels": list(labels), "table": table, "several": several}
