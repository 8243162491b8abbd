"""A plot as one self-contained page: pictures drawn by its script, clickable segments, and the sound."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterator
from html import escape
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiocnn.audio.pcm import Samples
from audiocnn.errors import show_name
from audiocnn.inspection.plot import DYNAMIC_RANGE_DECIBELS, PlotData, Track
from audiocnn.report.page import key_help, read_asset, render_script_page
from audiocnn.report.sound import PageSound, data_uri
from audiocnn.units import clock, round_seconds

_SPEEDS = (0.5, 0.75, 1, 1.25, 1.5, 2)
_GO, _STOP = "M4 2 14 8 4 14Z", "M3 2H7V14H3ZM9 2H13V14H9Z"
_BACK, _ON = "M2 2H4V14H2ZM14 2V14L5 8Z", "M12 2H14V14H12ZM2 2V14L11 8Z"
_HALF = "M8 1A7 7 0 1 0 8 15A7 7 0 1 0 8 1ZM8 2.5A5.5 5.5 0 0 1 8 13.5Z"
_KEYS = (
    ("space", "play, pause"),
    ("←", "→", "1 s (5 s with shift)"),
    ("n", "p", "next, previous segment"),
    ("+", "−", "0", "zoom (also ctrl + wheel)"),
    ("d", "light, dark"),
)


def render_plot(plotted: PlotData, sound: PageSound | None, silent: str = "") -> str:
    """HTML of a plot. `silent`: the reason if there is no sound."""
    name = show_name(plotted.detection.file)
    body = [
        *_head(plotted, name, sound, silent),
        *_bar(plotted, sound),
        '<div class="board"><div></div><div id="overview"><canvas></canvas><div id="window"></div></div>',
        '<div class="names" id="names"></div>',
        '<div id="view"><div id="content">',
        '<div id="hair"></div><div id="chosen"></div><div id="head"></div></div></div>',
        "</div>",
        "<noscript><p>This page needs JavaScript, which is disabled.</p></noscript>",
        '<p class="keys">Click a segment to hear it. Click anywhere else to play from there, or drag to hear a part.'
        f" {key_help(_KEYS)}</p>",
        *_segment_table(plotted),
    ]
    style = read_asset("plot_page.css")
    script = "\n".join(map(read_asset, ("plot_page.js", "spectrum.js", "plot_page_play.js")))
    title = PurePath(name).name or name
    return render_script_page(title, style, body, script, _plot_data(plotted), "img-src data:; media-src data:")


def _head(plotted: PlotData, name: str, sound: PageSound | None, silent: str) -> Iterator[str]:
    found = plotted.detection
    channels = {1: "mono", 2: "stereo"}.get(found.channels, f"{found.channels} channels")
    facts = [clock(found.duration_seconds), f"{found.sample_rate:,} Hz", channels]
    if plotted.end - plotted.start < found.duration_seconds - 1e-6:
        facts.append(f"here {plotted.start:g} to {plotted.end:g} s")
    facts += [f"by {found.model}", f"sound: {sound.what}" if sound else "without sound"]
    yield f"<h1>{escape(PurePath(name).name or name)}</h1>"
    yield f'<p class="soft">{escape(" · ".join(facts))}</p>'
    yield f"<p>{escape(_summarise(plotted))}</p>"
    if silent:
        yield f'<p class="note">{escape(silent)}</p>'
    if found.note:
        yield f'<p class="note">{escape(show_name(found.note))}; copy the file again</p>'
    if plotted.more_tracks:
        yield f'<p class="note">{plotted.more_tracks} more channels are not shown; choose one with --channel</p>'


def _summarise(plotted: PlotData) -> str:
    whole = (plotted.end - plotted.start) * len(plotted.tracks)
    parts = []
    for label in plotted.thresholds:
        mine = [s for track in plotted.tracks for s in track.segments if s.label == label]
        seconds = sum(min(s.end, plotted.end) - max(s.start, plotted.start) for s in mine)
        share = f" ({100 * seconds / whole:.0f} %)" if whole else ""
        many = f"{len(mine)} segment{'s' * (len(mine) != 1)}"
        parts.append(f"{many} of {show_name(label)}, {clock(seconds)}{share}" if mine else f"no {show_name(label)}")
    return "; ".join(parts)


def _bar(plotted: PlotData, sound: PageSound | None) -> Iterator[str]:
    off = "" if sound else " disabled"
    still = "" if plotted.segments else " disabled"
    speeds = "".join(f"<option value={s:g}{' selected' * (s == 1)}>{s:g}×</option>" for s in _SPEEDS)
    if sound is not None:
        yield f'<audio id="sound" preload="auto" src="{data_uri(sound.kind, sound.content)}"></audio>'
    yield '<div class="bar">'
    yield f'<button id="play" aria-label="play"{off}>{_icon("go", _GO)}{_icon("stop", _STOP)}</button>'
    yield f'<span class="clock"><span id="now"></span> <span class="soft">/ {_format_time(plotted.end)}</span></span>'
    yield f'<button id="before" title="previous segment (p)"{still}>{_icon("", _BACK)}</button>'
    yield f'<button id="after" title="next segment (n)"{still}>{_icon("", _ON)}</button>'
    yield f'<select id="speed" aria-label="speed"{off}>{speeds}</select>'
    yield '<span class="gap"></span><span id="readout" class="soft num"></span>'
    yield '<button id="out" title="zoom out (-)">−</button><button id="fit" title="whole recording (0)">fit</button>'
    yield '<button id="in" title="zoom in (+)">+</button>'
    yield f'<button id="turn" title="light, dark (d)">{_icon("", _HALF)}</button>'
    yield "</div>"


def _icon(name: str, path: str) -> str:
    """As SVG, because fonts do not have all of these signs."""
    return f'<svg class="icon {name}" viewBox="0 0 16 16" aria-hidden="true"><path d="{path}"/></svg>'


def _format_time(seconds: float) -> str:
    """A time in hundredths of a second: `0:07.25`, `2:01:07.25`."""
    hundredths = round(seconds * 100)
    minutes, rest = hundredths // 6000, f"{hundredths % 6000 / 100:05.2f}"
    return f"{minutes // 60}:{minutes % 60:02d}:{rest}" if minutes >= 60 else f"{minutes}:{rest}"


def _segment_table(plotted: PlotData) -> Iterator[str]:
    """One row per segment, in the order of their numbers on the page: by track, then by label."""
    if not plotted.segments:
        return
    several = len(plotted.tracks) > 1
    head = '<th class="left">channel</th>' if several else ""
    yield f'<div class="table"><table><thead><tr>{head}<th class="left">label</th><th>start</th><th>end</th>'
    yield '<th>length</th><th>score</th></tr></thead><tbody id="rows">'
    for track in plotted.tracks:
        for number, label in enumerate(plotted.thresholds):
            for segment in track.segments:
                if segment.label != label:
                    continue
                channel = f'<td class="left">{track.channel}</td>' if several else ""
                yield (
                    f'<tr>{channel}<td class="left label c{number % 6}">{escape(show_name(label))}</td>'
                    f"<td>{_format_time(segment.start)}</td><td>{_format_time(segment.end)}</td>"
                    f"<td>{segment.end - segment.start:.2f} s</td><td>{segment.score:.2f}</td></tr>"
                )
    yield "</tbody></table></div>"


def _plot_data(plotted: PlotData) -> dict[str, Any]:
    """Samples are int8 relative to the peak, scores uint8 relative to 1, spectrograms grey pictures."""
    return {
        "start": plotted.start,
        "end": plotted.end,
        **{name: vars(getattr(plotted, name)) for name in ("waveform", "spectrum", "scores")},
        "hertz": [round(float(hertz), 2) for hertz in plotted.band_hertz],
        "labels": [{"name": show_name(k), "threshold": opening} for k, (opening, _) in plotted.thresholds.items()],
        "tracks": [_track_data(track, plotted) for track in plotted.tracks],
    }


def _track_data(track: Track, plotted: PlotData) -> dict[str, Any]:
    labels = list(plotted.thresholds)
    scale = 127.0 / max(plotted.peak, 1e-4)
    grey = np.clip((track.decibels - plotted.loudest) / DYNAMIC_RANGE_DECIBELS + 1.0, 0.0, 1.0) * 255.0
    return {
        "name": track.name,
        "low": _to_base64(np.rint(track.low * scale).astype(np.int8)),
        "high": _to_base64(np.rint(track.high * scale).astype(np.int8)),
        "spectrum": data_uri("image/png", to_png(np.rint(grey[::-1]).astype(np.uint8))),
        "scores": [
            {"low": _to_base64(_scores_to_bytes(low)), "high": _to_base64(_scores_to_bytes(high))}
            for low, high in zip(track.score_low, track.score_high, strict=True)
        ],
        "segments": [
            [round_seconds(s.start), round_seconds(s.end), labels.index(s.label), round(float(s.score), 4)]
            for s in track.segments
        ],
    }


def _scores_to_bytes(scores: Samples) -> NDArray[np.uint8]:
    whole: NDArray[np.uint8] = np.rint(np.clip(scores, 0.0, 1.0) * 255.0).astype(np.uint8)
    return whole


def _to_base64(values: NDArray[Any]) -> str:
    return base64.b64encode(values.tobytes()).decode()


def to_png(grey: NDArray[np.uint8]) -> bytes:
    """uint8 (rows, columns), top row first, as a grey picture (PNG, W3C 2003; filter 1 stores differences)."""
    rows, columns = max(1, grey.shape[0]), max(1, grey.shape[1])
    cells = np.zeros((rows, columns), np.uint8)
    cells[: grey.shape[0], : grey.shape[1]] = grey
    lines = np.empty((rows, columns + 1), np.uint8)
    lines[:, 0], lines[:, 1] = 1, cells[:, 0]
    lines[:, 2:] = cells[:, 1:] - cells[:, :-1]  # modulo 256, as the filter requires
    size = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", size), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(inside)) + kind + inside + struct.pack(">I", zlib.crc32(kind + inside))
        for kind, inside in chunks
    )
