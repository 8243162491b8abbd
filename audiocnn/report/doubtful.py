"""Doubtful clips as one self-contained page: listen, choose the right label, download the corrected table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape

from audiocnn.data.sources.corrections import LABEL_SEPARATOR
from audiocnn.errors import show_name
from audiocnn.evaluation.doubtful import DOUBT_COLUMNS, Doubt
from audiocnn.report.page import html_labels, key_help, read_asset, render_script_page
from audiocnn.report.sound import ClipSound
from audiocnn.report.style import style_sheet
from audiocnn.segments.segment import NONE_OF_THESE

_KEYS = (
    ("space", "play, pause"),
    ("↓", "↑", "next, previous"),
    ("1", "the label is right"),
    ("2", "use the suggestion"),
    ("3", "type another label"),
    ("x", "leave the clip out"),
    ("z", "undo"),
)


def render_doubtful(
    doubts: Sequence[Doubt],
    sounds: Mapping[str, ClipSound],
    labels: Sequence[str],
    about: tuple[str, str],
    table: str,
    several: bool = False,
    settled: Sequence[Sequence[str]] = (),
) -> str:
    """HTML. labels: the choices. about: the names of model and data. table: file name of the corrected table when it is
    downloaded. several: clips may have more than one label, or none. settled: rows of that table for clips that are not
    shown."""
    model, data = about
    body = [
        *_head(doubts, sounds, model, data, several),
        '<ol id="clips">',
        *(
            line
            for number, doubt in enumerate(doubts)
            for line in _clip(number, doubt, sounds.get(doubt.filename), several)
        ),
        "</ol>",
        f'<datalist id="labels">{"".join(f"<option value={_quote(label)}>" for label in labels)}</datalist>',
        '<div id="bar"><span id="state"></span> <button id="save" disabled>Download the corrected TSV</button></div>',
        "<noscript><p class='note'>This page needs JavaScript, which is disabled. Correct the TSV file beside this page"
        " instead.</p></noscript>",
    ]
    rows = [doubt.row() for doubt in doubts]
    contents: dict[str, object] = {
        "columns": DOUBT_COLUMNS,
        "rows": rows,
        "suggested": [LABEL_SEPARATOR.join(doubt.suggested) or ("" if several else NONE_OF_THESE) for doubt in doubts],
        "settled": [*map(list, settled)],
        "labels": list(labels),
    }
    contents |= {"table": table, "several": several}
    style = style_sheet() + read_asset("doubtful_page.css")
    title = f"{len(doubts)} doubtful clips of {show_name(data)}"
    return render_script_page(title, style, body, read_asset("doubtful_page.js"), contents, "media-src data:")


def _head(
    doubts: Sequence[Doubt], sounds: Mapping[str, ClipSound], model: str, data: str, several: bool
) -> Iterator[str]:
    other = sum(set(doubt.labels) != set(doubt.suggested) for doubt in doubts)
    likely = sum(doubt.likely_wrong for doubt in doubts)
    yield f"<h1>{len(doubts)} doubtful clips</h1>"
    yield f'<p class="soft">{escape(show_name(data))}, scored by {escape(model)}; largest disagreement first</p>'
    yield (
        f"<p>For {other} clips the model disagrees with the label; {likely} are likely wrong by confident learning."
        " Listen to each clip and choose, then download the table and train again with <code>--corrections</code>."
        " A clip without a choice keeps its label.</p>"
    )
    if several:
        yield (
            f"<p>Separate several labels of one clip with <code>{LABEL_SEPARATOR}</code>. An empty label means that the"
            " clip has none of them.</p>"
        )
    if silent := sum(doubt.filename not in sounds for doubt in doubts):
        yield f'<p class="note">{silent} clips have no sound here, because they would make the page too large.</p>'
    yield f'<p class="soft">{key_help(_KEYS)}</p>'


def _clip(number: int, doubt: Doubt, sound: ClipSound | None, several: bool) -> Iterator[str]:
    """One clip with its buttons; the script identifies it by its number."""
    name = escape(show_name(doubt.filename))
    label, suggested = html_labels(doubt.labels), html_labels(doubt.suggested or (() if several else (NONE_OF_THESE,)))
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
    yield '<div class="choices">'
    yield f'<button data-do="keep">{label} is right</button>'
    if set(doubt.suggested) != set(doubt.labels):
        yield f'<button data-do="suggested">it is {suggested}</button>'
    written = _quote(LABEL_SEPARATOR.join(doubt.labels))
    yield f'<input list="labels" aria-label="label" placeholder="another label" value={written}>'
    yield '<button data-do="out">leave out</button>'
    yield "</div></li>"


def _quote(text: str) -> str:
    return f'"{escape(show_name(text), quote=True)}"'
