"""A plot as a picture: waveform, spectrogram, scores and segments of each channel, on one time axis."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from audiocnn.errors import show_name
from audiocnn.inspection.plot import DYNAMIC_RANGE_DECIBELS, PlotData, Series, Track
from audiocnn.report.figure import MOST_PLAIN_SECONDS, new_figure, save_figure, show_spectrogram
from audiocnn.report.style import LIGHT
from audiocnn.units import clock

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH_INCHES = 12.0
_ROWS = {"waveform": 0.8, "spectrum": 1.7, "scores": 0.9}
_LABEL_ROW_INCHES = 0.24
_WAVE, _FRAME = "#8b949b", "#c3c9ce"


def draw_plot(plotted: PlotData, path: Path) -> None:
    """Write the picture. UsageError if that fails."""
    heights = [*_ROWS.values(), 0.08 + _LABEL_ROW_INCHES * len(plotted.thresholds)] * len(plotted.tracks)
    figure = new_figure(_WIDTH_INCHES, 1.0 + sum(heights))
    axes = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    figure.suptitle(_plot_title(plotted), fontsize=12, parse_math=False)
    for one in axes:
        one.spines[:].set_color(_FRAME)
        one.tick_params(color=_FRAME)
    for number, track in enumerate(plotted.tracks):
        wave, spectrum, scores, segments = axes[4 * number : 4 * number + 4]
        _draw_wave(wave, plotted, track)
        _draw_spectrum(spectrum, plotted, track)
        _draw_scores(scores, plotted, track)
        _draw_segments(segments, plotted, track)
    last = axes[-1]
    last.set_xlim(plotted.start, max(plotted.end, plotted.start + 1e-3))
    last.set_xlabel("seconds" if plotted.end - plotted.start <= MOST_PLAIN_SECONDS else "")
    save_figure(figure, path)


def _plot_title(plotted: PlotData) -> str:
    name = show_name(plotted.detection.file)
    where = clock(plotted.detection.duration_seconds)
    if plotted.end - plotted.start < plotted.detection.duration_seconds - 1e-6:
        where = f"{plotted.start:g} to {plotted.end:g} of {where}"
    return f"{PurePath(name).name or name}: {where}, by {plotted.detection.model}"


def _label_colour(plotted: PlotData, label: str) -> str:
    return LIGHT[list(plotted.thresholds).index(label) % len(LIGHT)]


def _column_edges(series: Series, columns: int, end: float) -> Any:
    """(columns + 1,) borders of the columns, in seconds."""
    edges = series.start + series.step * np.arange(columns + 1.0)
    return np.minimum(edges, max(end, series.start))


def _draw_wave(axes: Axes, plotted: PlotData, track: Track) -> None:
    count = len(track.low)
    edges = _column_edges(plotted.waveform, count, plotted.end)
    peak = max(plotted.peak, 1e-4)
    middles, owner = (edges[:-1] + edges[1:]) / 2, np.full(count, -1)
    for number, label in reversed(list(enumerate(plotted.thresholds))):
        for segment in (s for s in track.segments if s.label == label):
            owner[np.searchsorted(middles, segment.start) : np.searchsorted(middles, segment.end)] = number
    thick = 0.004 * peak  # so that silence is visible as a line
    for number, colour in enumerate([_WAVE, *(_label_colour(plotted, label) for label in plotted.thresholds)], -1):
        low, high = (np.where(owner == number, side, np.nan) for side in (track.low - thick, track.high + thick))
        axes.fill_between(middles, low, high, color=colour, linewidth=0)
    axes.set(ylim=(-1.04 * peak, 1.04 * peak), yticks=[])
    axes.set_ylabel(track.name or "waveform", fontsize=9)


def _draw_spectrum(axes: Axes, plotted: PlotData, track: Track) -> None:
    bands, count = track.decibels.shape
    seconds = plotted.spectrum.start + plotted.spectrum.step * np.arange(max(1, count) + 1.0)
    values, top = track.decibels if count else np.zeros((bands, 1)), plotted.loudest
    colours = {"cmap": "magma", "vmin": top - DYNAMIC_RANGE_DECIBELS, "vmax": top}
    mesh = show_spectrogram(axes, values, seconds, plotted.band_hertz, plotted.features, **colours)
    mesh.set_visible(count > 0)
    axes.tick_params(axis="y", labelsize=8)
    axes.set_ylabel("Hz", fontsize=9)


def _draw_scores(axes: Axes, plotted: PlotData, track: Track) -> None:
    for label, low, high in zip(plotted.thresholds, track.score_low, track.score_high, strict=True):
        colour = _label_colour(plotted, label)
        edges = _column_edges(plotted.scores, len(low), plotted.end)
        middles = (edges[:-1] + edges[1:]) / 2
        axes.fill_between(middles, low, high, color=colour, alpha=0.35, linewidth=0)
        axes.plot(middles, (low + high) / 2, color=colour, linewidth=1.1)
        axes.axhline(plotted.thresholds[label][0], color=colour, linewidth=0.8, linestyle="--")
    axes.set(ylim=(-0.04, 1.04), yticks=[0, 0.5, 1])
    axes.tick_params(labelsize=8)
    axes.set_ylabel("score", fontsize=9)


def _draw_segments(axes: Axes, plotted: PlotData, track: Track) -> None:
    labels = list(plotted.thresholds)
    for row, label in enumerate(labels):
        spans = [(s.start, s.end - s.start) for s in track.segments if s.label == label]
        axes.broken_barh(spans, (len(labels) - 1 - row + 0.12, 0.76), color=_label_colour(plotted, label))
    axes.set_yticks([len(labels) - row - 0.5 for row in range(len(labels))], [show_name(label) for label in labels])
    axes.tick_params(axis="y", labelsize=9, length=0)
    axes.set_ylim(0, len(labels))
