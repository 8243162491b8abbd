"""The page of a review, and its pictures. It gets its data from `review_server`, and sends answers there."""

from __future__ import annotations

import dataclasses
from html import escape

import numpy as np

from audiocnn.audio.pcm import Samples
from audiocnn.errors import show_name
from audiocnn.inspection.plot import DYNAMIC_RANGE_DECIBELS
from audiocnn.inspection.spectrogram import Spectrogram
from audiocnn.report.page import key_help, read_asset, render_script_page
from audiocnn.report.plot_page import to_png
from audiocnn.report.style import style_sheet
from audiocnn.spec.features import default_input

PIECE_SECONDS = 30.0  # of a recording, shown at a time
_COLUMNS = 800  # approximate width of a picture
_HOP_SECONDS = (0.002, 0.02)
_CLIP_KEYS = (
    ("1", "…", "choose that label"),
    ("t", "type a label"),
    ("enter", "accept the suggestion"),
    ("n", "none of these"),
    ("x", "leave out"),
    ("s", "later"),
    ("u", "undo"),
    ("space", "play"),
    ("←", "→", "previous, next"),
)
_SEGMENT_KEYS = (
    ("drag", "mark a segment; move an edge"),
    ("1", "…", "label of a segment"),
    ("t", "type a label"),
    ("delete", "remove"),
    ("enter", "accept, next"),
    ("x", "leave the recording out"),
    ("s", "later"),
    ("u", "undo"),
    ("space", "play"),
    ("←", "→", "recordings"),
    ("page ↑", "page ↓", "previous, next piece"),
)


def render_review(title: str, command: str, timed: bool) -> str:
    """HTML. command: trains with the table, ready to paste. timed: segments are marked instead of clips being
    labelled."""
    keys = _SEGMENT_KEYS if timed else _CLIP_KEYS
    body = [
        f'<header><h1>{escape(show_name(title))}</h1><div id="track" aria-hidden="true"><div id="bar"></div></div>'
        '<span id="count" class="num"></span></header>',
        '<main><div id="head"><b id="name"></b><span id="why"></span><span id="given" class="soft"></span></div>',
        '<div id="view" tabindex="-1"><canvas id="spectrum"></canvas><div id="marks"></div><div id="playhead"></div>'
        '<p id="note" role="status"></p></div>',
        '<div id="below"><button id="play">play</button><span id="time" class="num soft"></span>'
        '<span class="gap"></span>'
        '<button id="before" hidden>‹ piece</button><button id="after" hidden>piece ›</button>'
        '<label class="soft"><input type="checkbox" id="autoplay" checked> play automatically</label></div>',
        '<div id="labels"></div>',
        '<form id="typing" autocomplete="off"><input id="word" list="known" maxlength="100" aria-label="label"'
        ' placeholder="type a label, Enter"><datalist id="known"></datalist><span class="gap"></span>'
        '<button type="button" id="none"></button><button type="button" id="out"><kbd>x</kbd> leave out</button>'
        '<button type="button" id="later"><kbd>s</kbd> later</button>'
        '<button type="button" id="undo"><kbd>u</kbd> undo</button></form></main>',
        f'<footer><p class="soft keys">{key_help(keys)}</p>',
        f'<p id="saved"><span id="state"></span> <code id="command">{escape(command)}</code>'
        ' <button id="copy">copy</button></p></footer>',
        "<noscript><p class='note'>This page needs JavaScript, which is disabled.</p></noscript>",
    ]
    style = style_sheet() + read_asset("review_page.css")
    script = "\n".join(map(read_asset, ("spectrum.js", "review_page.js")))
    allowed = "img-src blob:; media-src blob:; connect-src 'self'"
    return render_script_page(f"review of {show_name(title)}", style, body, script, {"piece": PIECE_SECONDS}, allowed)


def draw_piece(samples: Samples, sample_rate: int) -> bytes:
    """(samples,) -> a grey PNG of their log-mel spectrogram, lowest band at the bottom."""
    seconds = max(len(samples), 1) / sample_rate
    hop = float(np.clip(seconds / _COLUMNS, *_HOP_SECONDS))
    spectrogram = Spectrogram(dataclasses.replace(default_input("log_mel", sample_rate), hop_seconds=hop))
    powers = [spectrogram.push(np.asarray(samples, np.float32)[None]), spectrogram.finish()]
    decibels = 10.0 * np.log10(np.maximum(np.concatenate(powers, axis=1)[0], spectrogram.floor)).T
    loudest = max(float(decibels.max(initial=-np.inf)), 10.0 * np.log10(spectrogram.floor) + DYNAMIC_RANGE_DECIBELS / 2)
    grey = np.clip((decibels - loudest) / DYNAMIC_RANGE_DECIBELS + 1.0, 0.0, 1.0) * 255.0
    return to_png(np.rint(grey[::-1]).astype(np.uint8))
