"""A plot as a picture: for each channel its waveform, spectrogram, scores and segments, over one axis of time."""

from __future__ import annotations

import warnings
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from audiocnn.filenames import show_name
from audiocnn.inspection.plotting import SHOWN_DECIBELS, Plotted, Series, Track
from audiocnn.pictures import new_figure, save_figure
from audiocnn.report_style import LIGHT
from audiocnn.units import clock

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH_INCHES = 12.0
ROWS = {"waveform": 0.8, "spectrum": 1.7, "scores": 0.9}
ROW_OF_A_LABEL = 0.24
ROUND_HERTZ = (50, 100, 200, 500, 1000, 2000, 4000, 8000, 16000, 32000, 64000, 128000)
WAVE, FRAME = "#8b949b", "#c3c9ce"


def draw_plot(plotted: Plotted, path: Path) -> None:
    """Write the picture. UsageError where it cannot be written."""
    heights = [*ROWS.values(), 0.08 + ROW_OF_A_LABEL * len(plotted.thresholds)] * len(plotted.tracks)
    figure = new_figure(WIDTH_INCHES, 1.0 + sum(heights))
    axes = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    figure.suptitle(title_of(plotted), fontsize=12, parse_math=False)
    for one in axes:
        one.spines[:].set_color(FRAME)
        one.tick_params(color=FRAME)
    for number, track in enumerate(plotted.tracks):
        wave, spectrum, scores, segments = axes[4 * number : 4 * number + 4]
        draw_wave(wave, plotted, track)
        draw_spectrum(spectrum, plotted, track)
        draw_scores(scores, plotted, track)
        draw_segments(segments, plotted, track)
    last = axes[-1]
    last.set_xlim(plotted.start, max(plotted.end, plotted.start + 1e-3))
    last.set_xlabel("seconds")
    if plotted.end > 120:
        last.xaxis.set_major_formatter(lambda value, _position: clock(max(0.0, value)))
        last.set_xlabel("")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a file name may have letters that the font does not have
        save_figure(figure, path)


def title_of(plotted: Plotted) -> str:
    """File, length, model."""
    name = show_name(plotted.detection.file)
    where = clock(plotted.detection.duration_seconds)
    if plotted.end - plotted.start < plotted.detection.duration_seconds - 1e-6:
        where = f"{plotted.start:g} to {plotted.end:g} of {where}"
    return f"{PurePath(name).name or name}: {where}, by {plotted.detection.model}"


def colour_of(plotted: Plotted, label: str) -> str:
    """The colour of a label."""
    return LIGHT[list(plotted.thresholds).index(label) % len(LIGHT)]


def edges_of(series: Series, columns: int, end: float) -> Any:
    """(columns + 1,) where columns begin and end, in seconds."""
    edges = series.start + series.step * np.arange(columns + 1.0)
    return np.minimum(edges, max(end, series.start))


def draw_wave(axes: Axes, plotted: Plotted, track: Track) -> None:
    """The range of the samples, in the colour of the segment that they are in."""
    count = len(track.low)
    edges = edges_of(plotted.waveform, count, plotted.end)
    peak = max(plotted.peak, 1e-4)
    middles, owner = (edges[:-1] + edges[1:]) / 2, np.full(count, -1)
    for number, label in reversed(list(enumerate(plotted.thresholds))):
        for segment in (s for s in track.segments if s.label == label):
            owner[np.searchsorted(middles, segment.start) : np.searchsorted(middles, segment.end)] = number
    thick = 0.004 * peak  # so that silence is a line
    for number, colour in enumerate([WAVE, *(colour_of(plotted, label) for label in plotted.thresholds)], -1):
        low, high = (np.where(owner == number, side, np.nan) for side in (track.low - thick, track.high + thick))
        axes.fill_between(middles, low, high, color=colour, linewidth=0)
    axes.set(ylim=(-1.04 * peak, 1.04 * peak), yticks=[])
    axes.set_ylabel(track.name or "waveform", fontsize=9)


def draw_spectrum(axes: Axes, plotted: Plotted, track: Track) -> None:
    """The power of the bands."""
    bands, count = track.decibels.shape
    axes.set_ylabel("Hz", fontsize=9)
    ticks = [hertz for hertz in ROUND_HERTZ if plotted.band_hertz[0] <= hertz <= plotted.band_hertz[-1]]
    places = [float(np.interp(hertz, plotted.band_hertz, np.arange(bands + 1.0))) for hertz in ticks]
    kept = [n for n, place in enumerate(places) if not n or place - places[n - 1] > 0.07 * bands]
    axes.set_yticks([places[n] for n in kept], [f"{ticks[n]:,}" for n in kept], fontsize=8)
    axes.set_ylim(0, bands)
    if not count:
        return
    end = plotted.spectrum.start + count * plotted.spectrum.step
    top = plotted.loudest
    axes.imshow(
        track.decibels, origin="lower", aspect="auto", interpolation="nearest", cmap="magma",
        extent=(plotted.spectrum.start, end, 0, bands), vmin=top - SHOWN_DECIBELS, vmax=top,
    )  # fmt: skip


def draw_scores(axes: Axes, plotted: Plotted, track: Track) -> None:
    """The scores of each label, and its threshold as a dashed line."""
    for label, low, high in zip(plotted.thresholds, track.score_low, track.score_high, strict=True):
        colour = colour_of(plotted, label)
        edges = edges_of(plotted.scores, len(low), plotted.end)
        middles = (edges[:-1] + edges[1:]) / 2
        axes.fill_between(middles, low, high, color=colour, alpha=0.35, linewidth=0)
        axes.plot(middles, (low + high) / 2, color=colour, linewidth=1.1)
        axes.axhline(plotted.thresholds[label][0], color=colour, linewidth=0.8, linestyle="--")
    axes.set(ylim=(-0.04, 1.04), yticks=[0, 0.5, 1])
    axes.tick_params(labelsize=8)
    axes.set_ylabel("score", fontsize=9)


def draw_segments(axes: Axes, plotted: Plotted, track: Track) -> None:
    """A row of bars for each label."""
    labels = list(plotted.thresholds)
    for row, label in enumerate(labels):
        spans = [(s.start, s.end - s.start) for s in track.segments if s.label == label]
        axes.broken_barh(spans, (len(labels) - 1 - row + 0.12, 0.76), color=colour_of(plotted, label))
    axes.set_yticks([len(labels) - row - 0.5 for row in range(len(labels))], [show_name(label) for label in labels])
    axes.tick_params(axis="y", labelsize=9, length=0)
    axes.set_ylim(0, len(labels))
