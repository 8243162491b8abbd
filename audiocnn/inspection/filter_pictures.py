"""The filters of a layer as a picture: waveforms with their spectra, or patches; towers side by side."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from audiocnn.features import hertz_to_mel
from audiocnn.inspection.filter_cells import (
    CHANNEL_COLOURS,
    FLOOR_DB,
    POWER,
    SIGNED,
    WIDTH,
    Box,
    Grid,
    decibels,
    paint_patch,
    paint_spectrum,
    paint_waveform,
    plain,
)
from audiocnn.inspection.filter_figures import SHARES
from audiocnn.inspection.filters import Filter, FilterBank, tower_figures
from audiocnn.pictures import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


FAINT = 0.1  # of the strongest


def draw_filters(bank: FilterBank, most: int) -> Figure:
    """The figure of a bank with at least one filter; of more than `most` the strongest."""
    shown = bank.strongest(most)
    if bank.view != "waveform":  # a cell holds the kernels of all channels one beside the other
        shown = dataclasses.replace(shown, filters=tuple(framed(shown.filters)))
    towers = [shown.of_tower(tower + 1 if bank.towers > 1 else None) for tower in range(bank.towers)]
    shape, count = cell_shape(bank.view, shown.filters), max(1, *map(len, towers))
    grid = Grid.of(count, shape, WIDTH / len(towers))
    overview = 2.6 if bank.view == "waveform" else 0.0
    width = max(6.0, len(towers) * (grid.columns * grid.width + 0.6) + 0.9)
    figure = new_figure(width, grid.rows * grid.height + overview + 1.4)
    rows = [overview, grid.rows * grid.height] if overview else [grid.rows * grid.height]
    axes = figure.subplots(len(rows), len(towers), squeeze=False, height_ratios=rows)
    strongest = max(one.strength for one in shown.filters)
    for column, filters in enumerate(towers):
        if overview and filters:
            draw_responses(axes[0, column], filters, bank, first=column == 0)
        draw_cells(axes[-1, column], filters, grid, (bank, strongest))
        axes[0, column].set_title(tower_title(bank, filters, column), fontsize=10)
    figure.suptitle(title_of(bank, len(shown.filters)), fontsize=11)
    colour_bar(figure, list(axes[0] if overview else axes[-1]), bank.view)
    return figure


def framed(filters: Sequence[Filter]) -> Iterable[Filter]:
    """Kernels of several shapes, as those of branches, in the middle of equal ones; NaN is left white."""
    bands, taps = (max(one.kernel.shape[axis] for one in filters) for axis in (1, 2))
    for one in filters:
        more = [
            (0, 0),
            *(((n - k) // 2, n - k - (n - k) // 2) for n, k in zip((bands, taps), one.kernel.shape[1:], strict=True)),
        ]
        yield dataclasses.replace(one, kernel=np.pad(one.kernel, more, constant_values=np.nan))


def cell_shape(view: str, filters: Sequence[Filter]) -> float:
    """Height / width of a cell."""
    if view == "waveform":
        return 0.85
    channels, bands, taps = filters[0].kernel.shape
    return float(np.clip(bands / taps / channels, 0.4, 1.0 if view == "patch" else 2.2))


def title_of(bank: FilterBank, shown: int) -> str:
    """What the picture shows."""
    order = {
        "waveform": "sorted by centre frequency",
        "bands": "sorted by " + ("frequency" if bank.edges_hertz is not None else "band"),
        "patch": "sorted from changes in time to changes in frequency",
    }[bank.view]
    total = len(bank.filters)
    count = f"{total} filters" if shown == total else f"the {shown} strongest of {total} filters"
    return f"{plain(bank.model)}, group {plain(bank.group)}: {bank.layer}\n{count}, {order}, each on its own scale"


def tower_title(bank: FilterBank, filters: Sequence[Filter], column: int) -> str:
    """Which tower, and what its filters have in common."""
    if bank.towers == 1:
        return ""
    words = [f"tower {column + 1}: {len(filters)} filters"]
    means = tower_figures(bank)[0][column].means
    if "centre_hertz" in means:
        words.append(f"mean centre {means['centre_hertz']:.0f} Hz")
    elif "time" in means:
        words += [f"{name} {means[name]:.0%}" for name in SHARES]
    if "between_channels" in means:
        words.append(f"between channels {means['between_channels']:.0%}")
    return ", ".join(words)


def draw_responses(axes: Axes, filters: Sequence[Filter], bank: FilterBank, first: bool) -> None:
    """The magnitude response of every filter as a column of colour, over a mel scale; dots are the centres."""
    top = float(hertz_to_mel(np.array(0.5 / bank.step_seconds), "slaney"))
    columns = [decibels(one.kernel, bank.step_seconds).max(axis=0) for one in filters]
    axes.imshow(
        np.array(columns).T,
        origin="lower",
        aspect="auto",
        cmap=POWER,
        vmin=FLOOR_DB,
        vmax=0.0,
        extent=(-0.5, len(filters) - 0.5, 0.0, top),
        interpolation="nearest",
    )
    centres = [one.figures.get("centre_hertz", np.nan) for one in filters]
    size = min(4.0, 120 / len(filters))
    axes.plot(hertz_to_mel(np.array(centres), "slaney"), "o", color="white", mec="black", mew=0.5, ms=size)
    marks, names = mel_ticks(0.5 / bank.step_seconds)
    axes.set_yticks([mark * top for mark in marks], names, fontsize=7)
    axes.set_ylabel("Hz (mel scale)" if first else "", fontsize=8)
    every = math.ceil(len(filters) / 24)
    numbers = range(0, len(filters), every)
    axes.set_xticks(list(numbers), [str(filters[number].index) for number in numbers], fontsize=7)
    axes.set_xlabel("filter; dots: centre frequency", fontsize=8)


def draw_cells(axes: Axes, filters: Sequence[Filter], grid: Grid, about: tuple[FilterBank, float]) -> None:
    """Every filter in its cell, with its number and what it is tuned to; grey where it is faint."""
    (bank, strongest), step = about, about[0].step_seconds
    axes.set(xlim=(-0.04, grid.columns), ylim=(grid.rows, 0))
    taps = max((one.kernel.shape[-1] for one in bank.filters), default=1)
    for number, one in enumerate(filters):
        box = grid.box(number)
        if bank.view == "waveform":
            paint_waveform(axes, (box[0], box[1], box[3] + 0.5 * (box[2] - box[3]), box[3]), one.kernel[:, 0], taps)
            paint_spectrum(axes, (box[0], box[1], box[2], box[3] + 0.6 * (box[2] - box[3])), one.kernel, step)
        else:
            paint_patch(axes, box, one.kernel)
            paint_range(axes, box, one)
        colour = "black" if one.strength > FAINT * strongest else "0.6"
        axes.text(box[0], box[3] - 0.02, label_of(one, grid), fontsize=grid.font, color=colour, va="bottom")
    axes.set_frame_on(False)
    if bank.view == "waveform":
        waveform_ticks(axes, grid, taps * bank.step_seconds, 0.5 / bank.step_seconds)
        if bank.channels > 1:
            for channel in range(bank.channels):
                axes.plot([], [], color=CHANNEL_COLOURS[channel % len(CHANNEL_COLOURS)], label=f"channel {channel}")
            axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=4, fontsize=7, frameon=False)
    elif filters:
        patch_ticks(axes, grid, filters[0].kernel.shape, bank)


def label_of(one: Filter, grid: Grid) -> str:
    """The number, and if there is room the frequency or the largest share."""
    if grid.width < 0.5:
        return str(one.index)
    if "centre_hertz" in one.figures:
        return f"{one.index}: {one.figures['centre_hertz']:.0f} Hz"
    if "time" not in one.figures:
        return f"{one.index}: zero" if one.strength == 0 else str(one.index)
    name = max(SHARES, key=lambda share: one.figures[share])
    return f"{one.index}: {name} {one.figures[name]:.0%}"


def paint_range(axes: Axes, box: Box, one: Filter) -> None:
    """A bar beside the bands that hold half of the energy."""
    if "low_band" in one.figures:
        height = (box[2] - box[3]) / one.kernel.shape[1]
        ends = [box[2] - one.figures["low_band"] * height, box[2] - (one.figures["high_band"] + 1) * height]
        axes.plot([box[0] - 0.02] * 2, ends, color="black", lw=1.2, solid_capstyle="butt")


def mel_ticks(nyquist: float, few: bool = False) -> tuple[list[float], list[str]]:
    """Shares of a mel scale from 0 to half the rate, and the Hz there."""
    all_ticks = (0, 125, 250, 500, 1000, 2000, 4000, 8000, 16000, 32000)
    inside = [tick for tick in all_ticks if tick <= nyquist]
    ticks = [0, *[tick for tick in (1000,) if tick < nyquist / 2], round(nyquist)] if few else inside
    shares = hertz_to_mel(np.array(ticks, float), "slaney") / hertz_to_mel(np.array(nyquist), "slaney")
    return [float(share) for share in shares], [f"{tick / 1000:g}k" if tick >= 1000 else str(tick) for tick in ticks]


def waveform_ticks(axes: Axes, grid: Grid, seconds: float, nyquist: float) -> None:
    """Milliseconds above the top row, where the waveforms are; Hz below the last, where the spectra are."""
    few = range(grid.columns if grid.width > 1.5 else 1)
    places = [x for column in few for x in (column + 0.04, column + 0.96)]
    marks, names = mel_ticks(nyquist, few=True)
    below = [column + 0.04 + 0.92 * mark for column in few for mark in marks]
    axes.set_xticks(below, names * len(few), fontsize=6)
    axes.set_xlabel(f"below in each cell: spectrum, Hz (mel scale), {-FLOOR_DB:g} dB high", fontsize=8)
    above: Any = axes.secondary_xaxis("top")
    above.set_xticks(places, ["0", f"{seconds * 1000:.3g}"] * len(few), fontsize=6)
    above.set_xlabel("above in each cell: waveform, ms", fontsize=8)
    above.spines["top"].set_visible(False)
    axes.set_yticks([])


def patch_ticks(axes: Axes, grid: Grid, shape: tuple[int, ...], bank: FilterBank) -> None:
    """Time offsets in ms below the columns; bands or Hz beside the rows."""
    channels, bands, taps = shape
    half = (taps - 1) / 2 * bank.step_seconds * 1000
    few = range(grid.columns if grid.width > 0.7 else 1)
    width = 0.92 / channels
    offsets = (-half, half) if taps > 1 else (0.0,)
    within = [(0.5 + (taps - 1) * i) / taps * width * (0.94 if channels > 1 else 1) for i in range(len(offsets))]
    places = [column + 0.04 + x for column in few for x in within]
    axes.set_xticks(places, [f"{offset:+g}" for offset in offsets] * len(few), fontsize=6)
    words = "time, ms" + (f"; {channels} channels side by side" if channels > 1 else "")
    more = "; the bar beside a filter: where half of its energy lies" if bank.view == "bands" else ""
    axes.set_xlabel(words + more, fontsize=8)
    rows, names = band_ticks(bands, bank)
    box = grid.box(0)
    height = box[2] - box[3]
    marks = [row + box[2] - (band + 0.5) / bands * height for row in range(grid.rows) for band in rows]
    axes.set_yticks(marks, names * grid.rows, fontsize=6 if grid.height > 0.8 else 4)
    words = "Hz" if bank.view == "bands" and bank.edges_hertz is not None else "band"
    axes.set_ylabel(words if bank.view == "bands" else "bands from the middle", fontsize=8)


def band_ticks(bands: int, bank: FilterBank) -> tuple[list[float], list[str]]:
    """Where marks stand among so many bands, and what they say."""
    if bank.view == "patch":
        half = (bands - 1) / 2
        return ([0.0, bands - 1.0], [f"{-half:+g}", f"{half:+g}"]) if bands > 1 else ([0.0], ["0"])
    if bank.edges_hertz is None:
        return [0.0, bands - 1.0], ["0", str(bands - 1)]
    centres = bank.edges_hertz.mean(axis=1)
    ticks = [tick for tick in (250, 500, 1000, 2000, 4000, 8000) if centres[0] <= tick <= centres[-1]]
    return [float(np.interp(tick, centres, np.arange(bands))) for tick in ticks], [f"{tick:g}" for tick in ticks]


def colour_bar(figure: Figure, axes: list[Axes], view: str) -> None:
    """What the colours mean."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    if view == "waveform":
        bar = figure.colorbar(ScalarMappable(Normalize(FLOOR_DB, 0), POWER), ax=axes, fraction=0.03, pad=0.01)
        bar.set_label("dB below the peak", fontsize=8)
    else:
        bar = figure.colorbar(ScalarMappable(Normalize(-1, 1), SIGNED), ax=axes, fraction=0.03, pad=0.01, shrink=0.5)
        bar.set_ticks([-1, 0, 1], labels=["-max", "0", "+max"])
        bar.set_label("weight", fontsize=8)
    bar.ax.tick_params(labelsize=7)
