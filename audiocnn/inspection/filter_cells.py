"""What one cell of a picture of filters holds: a waveform, a spectrum or a patch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from audiocnn.features import hertz_to_mel
from audiocnn.inspection.filter_figures import Array, response

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Box = tuple[float, float, float, float]  # left, right, bottom, top

# Okabe and Ito 2008: told apart with every kind of colour vision. One for each input channel.
CHANNEL_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
SIGNED = "RdBu_r"  # blue and red, white at 0: differs in lightness alone, too
POWER = "viridis"
FLOOR_DB = -40.0
WIDTH, HEIGHT, WIDEST_CELL = 12.0, 9.0, 2.4  # inches
LABEL = 0.17  # inches above each cell
MEL_STEPS = 100  # of a spectrum


def plain(text: str) -> str:
    """A name as a picture can show it: what the font may lack becomes a question mark, and a dollar no formula."""
    return "".join(c if c.isprintable() and ord(c) < 0x250 else "?" for c in text).replace("$", "\\$")


@dataclass(frozen=True)
class Grid:
    """Cells in rows. Cell n is one unit wide and high; what is drawn in it leaves room for a label above."""

    columns: int
    rows: int
    width: float  # of a cell, in inches
    height: float

    @classmethod
    def of(cls, count: int, shape: float, width: float = WIDTH, height: float = HEIGHT) -> Grid:
        """For so many cells of height / width = `shape`, as large as fit."""
        columns = min(count, math.ceil(width / WIDEST_CELL))
        while columns < count and math.ceil(count / columns) * (width / columns * shape + LABEL) > height:
            columns += 1
        cell = min(width / columns, WIDEST_CELL)
        return cls(columns, math.ceil(count / columns), cell, cell * shape + LABEL)

    def box(self, number: int) -> Box:
        """(left, right, bottom, top) of what is drawn in a cell; y grows downward."""
        row, column = divmod(number, self.columns)
        return column + 0.04, column + 0.96, row + 0.97, row + LABEL / self.height

    @property
    def font(self) -> float:
        """The size of a label, in points, so that about ten letters fit."""
        return min(8.0, max(4.0, self.width * 72 / 7.5))


def decibels(kernel: Array, step_seconds: float) -> Array:
    """(channels, MEL_STEPS): the mean power of the response in equal steps of the mel scale, from 0 to half the rate,
    in dB below the largest of all channels, not below the floor."""
    hertz, magnitude = response(kernel, step_seconds)
    mels = hertz_to_mel(hertz, "slaney")
    at = (np.arange(MEL_STEPS) + 0.5) / MEL_STEPS * mels[-1]
    steps = np.minimum((mels / mels[-1] * MEL_STEPS).astype(int), MEL_STEPS - 1)
    counts = np.bincount(steps, minlength=MEL_STEPS)
    rows = []
    for row in magnitude**2:
        sums = np.bincount(steps, row, MEL_STEPS)
        # The lowest steps may be narrower than two points of the response.
        rows.append(np.where(counts > 0, sums / np.maximum(counts, 1), np.interp(at, mels, row)))
    power = np.array(rows)
    levels: Array = np.maximum(10 * np.log10(np.maximum(power / max(power.max(), 1e-30), 1e-12)), FLOOR_DB)
    return levels


def paint_waveform(axes: Axes, box: Box, values: Array, taps: int) -> None:
    """(channels, samples) as lines in a box that is `taps` wide, the shorter in the middle."""
    left, right, bottom, top = box
    scale = max(float(np.abs(values).max()), 1e-30)
    places = left + (np.arange(values.shape[-1]) + 0.5 + (taps - values.shape[-1]) / 2) / taps * (right - left)
    axes.plot([left, right], [(bottom + top) / 2] * 2, color="0.85", lw=0.5, zorder=0)
    marker = "o" if values.shape[-1] <= 16 else ""
    for channel, row in enumerate(values):
        colour = CHANNEL_COLOURS[channel % len(CHANNEL_COLOURS)]
        heights = (bottom + top) / 2 + row / scale * (top - bottom) / 2
        axes.plot(places, heights, color=colour, lw=0.7, marker=marker, ms=2)


def paint_spectrum(axes: Axes, box: Box, kernel: Array, step_seconds: float) -> None:
    """The response of each channel over a mel scale, from the floor to the peak of all."""
    left, right, bottom, top = box
    levels = decibels(kernel, step_seconds)
    places = left + (np.arange(levels.shape[1]) + 0.5) / levels.shape[1] * (right - left)
    for channel, row in enumerate(levels):
        heights = bottom + (1 - row / FLOOR_DB) * (top - bottom)
        colour = CHANNEL_COLOURS[channel % len(CHANNEL_COLOURS)]
        axes.plot(places, heights, color=colour, lw=0.6)
        if len(levels) == 1:
            axes.fill_between(places, bottom, heights, color=colour, alpha=0.25, lw=0)


def paint_patch(axes: Axes, box: Box, values: Array, signed: bool = True) -> None:
    """(channels, bands, taps) as colours, low bands below; channels one beside the other."""
    left, right, bottom, top = box
    least, largest = float(np.nanmin(values)), float(np.nanmax(values))
    limit = max(abs(least), abs(largest), 1e-30)
    width = (right - left) / len(values)
    for channel, patch in enumerate(values):
        edges = (left + channel * width, left + (channel + 1 - 0.06 * (len(values) > 1)) * width)
        axes.imshow(
            patch[::-1],
            cmap=SIGNED if signed else POWER,
            vmin=-limit if signed else least,
            vmax=limit if signed else max(largest, least + 1e-12),
            extent=(*edges, bottom, top),
            aspect="auto",
            interpolation="nearest",
        )
        axes.plot([edges[0], edges[0], edges[1], edges[1], edges[0]], [bottom, top, top, bottom, bottom], "0.6", lw=0.4)
