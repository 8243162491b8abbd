"""The filters of a layer as pictures.

`draw_filters`: waveforms with their spectra, or patches, with towers side by side. `draw_strongest`: one row per
filter, with the filter first, followed by the sounds that activate it most.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from audiocnn.inspection.filters import SHARES, Filter, FilterBank, frequency_response, tower_figures
from audiocnn.inspection.strongest import TopActivation
from audiocnn.report.figure import new_figure, show_bands
from audiocnn.spec.features import Array
from audiocnn.spec.librosa_import import import_librosa

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_Box = tuple[float, float, float, float]  # left, right, bottom, top
# Okabe and Ito 2008: distinguishable with every kind of colour vision. One for each input channel.
_CHANNEL_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
_SIGNED = "RdBu_r"  # blue and red, white at 0; also distinguishable by lightness alone
_POWER = "viridis"
RESPONSE_FLOOR_DB = -40.0
_WIDTH_INCHES, _HEIGHT_INCHES, _WIDEST_CELL_INCHES = 12.0, 9.0, 2.4
_LABEL_INCHES = 0.17  # above each cell
RESPONSE_MEL_STEPS = 100  # per spectrum
_FAINT = 0.1  # of the strongest
_MOST_ROWS = 24  # in a picture that is still readable
_STRONGEST_WIDTH_INCHES, _CELL_INCHES = 12.5, 0.56
_LETTERS = 14  # in a label above a patch
_SeenByFilter = Mapping[int, Sequence[tuple[TopActivation, Array]]]


def plain_text(text: str) -> str:
    """A name for use in a picture: letters that the font may lack become question marks, and a dollar does not start a
    formula."""
    return "".join(c if c.isprintable() and ord(c) < 0x250 else "?" for c in text).replace("$", "\\$")


@dataclass(frozen=True)
class CellGrid:
    """Cells in rows. Cell n is one unit wide and high; its drawing leaves room for a label above."""

    columns: int
    rows: int
    width: float  # of a cell, in inches
    height: float

    @classmethod
    def of(cls, count: int, shape: float, width: float = _WIDTH_INCHES, height: float = _HEIGHT_INCHES) -> CellGrid:
        """For this number of cells with height / width = `shape`, as large as possible."""
        columns = min(count, math.ceil(width / _WIDEST_CELL_INCHES))
        while columns < count and math.ceil(count / columns) * (width / columns * shape + _LABEL_INCHES) > height:
            columns += 1
        cell = min(width / columns, _WIDEST_CELL_INCHES)
        return cls(columns, math.ceil(count / columns), cell, cell * shape + _LABEL_INCHES)

    def box(self, number: int) -> _Box:
        """(left, right, bottom, top) of the drawing in a cell; y grows downward."""
        row, column = divmod(number, self.columns)
        return column + 0.04, column + 0.96, row + 0.97, row + _LABEL_INCHES / self.height

    @property
    def font(self) -> float:
        """The font size of a label in points, such that about ten letters fit."""
        return min(8.0, max(4.0, self.width * 72 / 7.5))


def response_decibels(kernel: Array, step_seconds: float) -> Array:
    """(channels, MEL_STEPS): the mean power of the response in equal steps of the mel scale, from 0 to half the sample
    rate, in dB below the maximum over all channels, limited to the floor."""
    librosa = import_librosa()

    hertz, magnitude = frequency_response(kernel, step_seconds)
    mels = librosa.hz_to_mel(hertz)
    at = (np.arange(RESPONSE_MEL_STEPS) + 0.5) / RESPONSE_MEL_STEPS * mels[-1]
    steps = np.minimum((mels / mels[-1] * RESPONSE_MEL_STEPS).astype(int), RESPONSE_MEL_STEPS - 1)
    counts = np.bincount(steps, minlength=RESPONSE_MEL_STEPS)
    rows = []
    for row in magnitude**2:
        sums = np.bincount(steps, row, RESPONSE_MEL_STEPS)
        # The lowest steps may be narrower than two points of the response.
        rows.append(np.where(counts > 0, sums / np.maximum(counts, 1), np.interp(at, mels, row)))
    power = np.array(rows)
    levels: Array = np.maximum(10 * np.log10(np.maximum(power / max(power.max(), 1e-30), 1e-12)), RESPONSE_FLOOR_DB)
    return levels


def _paint_waveform(axes: Axes, box: _Box, values: Array, taps: int) -> None:
    """(channels, samples) as lines in a box that is `taps` wide; shorter ones are centred."""
    left, right, bottom, top = box
    scale = max(float(np.abs(values).max()), 1e-30)
    places = left + (np.arange(values.shape[-1]) + 0.5 + (taps - values.shape[-1]) / 2) / taps * (right - left)
    axes.plot([left, right], [(bottom + top) / 2] * 2, color="0.85", lw=0.5, zorder=0)
    marker = "o" if values.shape[-1] <= 16 else ""
    for channel, row in enumerate(values):
        colour = _CHANNEL_COLOURS[channel % len(_CHANNEL_COLOURS)]
        heights = (bottom + top) / 2 + row / scale * (top - bottom) / 2
        axes.plot(places, heights, color=colour, lw=0.7, marker=marker, ms=2)


def _paint_spectrum(axes: Axes, box: _Box, kernel: Array, step_seconds: float) -> None:
    """The response of each channel over a mel scale, from the floor to the overall peak."""
    left, right, bottom, top = box
    levels = response_decibels(kernel, step_seconds)
    places = left + (np.arange(levels.shape[1]) + 0.5) / levels.shape[1] * (right - left)
    for channel, row in enumerate(levels):
        heights = bottom + (1 - row / RESPONSE_FLOOR_DB) * (top - bottom)
        colour = _CHANNEL_COLOURS[channel % len(_CHANNEL_COLOURS)]
        axes.plot(places, heights, color=colour, lw=0.6)
        if len(levels) == 1:
            axes.fill_between(places, bottom, heights, color=colour, alpha=0.25, lw=0)


def _paint_patch(axes: Axes, box: _Box, values: Array, signed: bool = True) -> None:
    """(channels, bands, taps) as colours, low bands at the bottom, channels side by side."""
    left, right, bottom, top = box
    least, largest = float(np.nanmin(values)), float(np.nanmax(values))
    limit = max(abs(least), abs(largest), 1e-30)
    width = (right - left) / len(values)
    for channel, patch in enumerate(values):
        edges = (left + channel * width, left + (channel + 1 - 0.06 * (len(values) > 1)) * width)
        axes.imshow(
            patch[::-1],
            cmap=_SIGNED if signed else _POWER,
            vmin=-limit if signed else least,
            vmax=limit if signed else max(largest, least + 1e-12),
            extent=(*edges, bottom, top),
            aspect="auto",
            interpolation="nearest",
        )
        axes.plot([edges[0], edges[0], edges[1], edges[1], edges[0]], [bottom, top, top, bottom, bottom], "0.6", lw=0.4)


def draw_filters(bank: FilterBank, most: int) -> Figure:
    """The figure of a bank with at least one filter; of more than `most`, the strongest."""
    shown = bank.strongest(most)
    if bank.view != "waveform":  # a cell has the kernels of all channels side by side
        shown = dataclasses.replace(shown, filters=tuple(pad_kernels(shown.filters)))
    towers = [shown.of_tower(tower + 1 if bank.towers > 1 else None) for tower in range(bank.towers)]
    shape, count = _cell_shape(bank.view, shown.filters), max(1, *map(len, towers))
    grid = CellGrid.of(count, shape, _WIDTH_INCHES / len(towers))
    overview = 2.6 if bank.view == "waveform" else 0.0
    width = max(6.0, len(towers) * (grid.columns * grid.width + 0.6) + 0.9)
    figure = new_figure(width, grid.rows * grid.height + overview + 1.4)
    rows = [overview, grid.rows * grid.height] if overview else [grid.rows * grid.height]
    axes = figure.subplots(len(rows), len(towers), squeeze=False, height_ratios=rows)
    strongest = max(one.strength for one in shown.filters)
    for column, filters in enumerate(towers):
        if overview and filters:
            _draw_responses(axes[0, column], filters, bank, first=column == 0)
        _draw_cells(axes[-1, column], filters, grid, (bank, strongest))
        axes[0, column].set_title(_tower_title(bank, filters, column), fontsize=10)
    figure.suptitle(_bank_title(bank, len(shown.filters)), fontsize=11)
    _colour_bar(figure, list(axes[0] if overview else axes[-1]), bank.view)
    return figure


def pad_kernels(filters: Sequence[Filter]) -> Iterable[Filter]:
    """Kernels of different shapes, as in branches, centred in equal ones; NaN is left white."""
    bands, taps = (max(one.kernel.shape[axis] for one in filters) for axis in (1, 2))
    for one in filters:
        more = [
            (0, 0),
            *(((n - k) // 2, n - k - (n - k) // 2) for n, k in zip((bands, taps), one.kernel.shape[1:], strict=True)),
        ]
        yield dataclasses.replace(one, kernel=np.pad(one.kernel, more, constant_values=np.nan))


def _cell_shape(view: str, filters: Sequence[Filter]) -> float:
    if view == "waveform":
        return 0.85
    channels, bands, taps = filters[0].kernel.shape
    return float(np.clip(bands / taps / channels, 0.4, 1.0 if view == "patch" else 2.2))


def _bank_title(bank: FilterBank, shown: int) -> str:
    order = {
        "waveform": "sorted by centre frequency",
        "bands": "sorted by " + ("frequency" if bank.edges_hertz is not None else "band"),
        "patch": "sorted from changes over time to changes over frequency",
    }[bank.view]
    total = len(bank.filters)
    count = f"{total} filters" if shown == total else f"the {shown} strongest of {total} filters"
    name = f"{plain_text(bank.model)}, group {plain_text(bank.group)}: {bank.layer}"
    return f"{name}\n{count}, {order}, each scaled separately"


def _tower_title(bank: FilterBank, filters: Sequence[Filter], column: int) -> str:
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


def _draw_responses(axes: Axes, filters: Sequence[Filter], bank: FilterBank, first: bool) -> None:
    """The magnitude response of every filter as a column of colours, over a mel scale; dots are the centres."""
    librosa = import_librosa()

    columns = [response_decibels(one.kernel, bank.step_seconds).max(axis=0) for one in filters]
    places = np.arange(len(filters) + 1) - 0.5
    hertz = librosa.mel_frequencies(RESPONSE_MEL_STEPS + 1, fmin=0.0, fmax=0.5 / bank.step_seconds)
    show_bands(axes, np.array(columns).T, places, hertz, "mel", cmap=_POWER, vmin=RESPONSE_FLOOR_DB, vmax=0.0)
    centres = [one.figures.get("centre_hertz", np.nan) for one in filters]
    size = min(4.0, 120 / len(filters))
    axes.plot(centres, "o", color="white", mec="black", mew=0.5, ms=size)
    axes.tick_params(axis="y", labelsize=7)
    axes.set_ylabel("Hz (mel scale)" if first else "", fontsize=8)
    every = math.ceil(len(filters) / 24)
    numbers = range(0, len(filters), every)
    axes.set_xticks(list(numbers), [str(filters[number].index) for number in numbers], fontsize=7)
    axes.set_xlabel("filter; dots: centre frequency", fontsize=8)


def _draw_cells(axes: Axes, filters: Sequence[Filter], grid: CellGrid, about: tuple[FilterBank, float]) -> None:
    """Every filter in its cell, with its number and tuning; grey if it is faint."""
    (bank, strongest), step = about, about[0].step_seconds
    axes.set(xlim=(-0.04, grid.columns), ylim=(grid.rows, 0))
    taps = max((one.kernel.shape[-1] for one in bank.filters), default=1)
    for number, one in enumerate(filters):
        box = grid.box(number)
        if bank.view == "waveform":
            _paint_waveform(axes, (box[0], box[1], box[3] + 0.5 * (box[2] - box[3]), box[3]), one.kernel[:, 0], taps)
            _paint_spectrum(axes, (box[0], box[1], box[2], box[3] + 0.6 * (box[2] - box[3])), one.kernel, step)
        else:
            _paint_patch(axes, box, one.kernel)
            _paint_range(axes, box, one)
        colour = "black" if one.strength > _FAINT * strongest else "0.6"
        axes.text(box[0], box[3] - 0.02, _cell_label(one, grid), fontsize=grid.font, color=colour, va="bottom")
    axes.set_frame_on(False)
    if bank.view == "waveform":
        _waveform_ticks(axes, grid, taps * bank.step_seconds, 0.5 / bank.step_seconds)
        if bank.channels > 1:
            for channel in range(bank.channels):
                axes.plot([], [], color=_CHANNEL_COLOURS[channel % len(_CHANNEL_COLOURS)], label=f"channel {channel}")
            axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=4, fontsize=7, frameon=False)
    elif filters:
        _patch_ticks(axes, grid, filters[0].kernel.shape, bank)


def _cell_label(one: Filter, grid: CellGrid) -> str:
    """The number and, if there is room, the frequency or the largest share."""
    if grid.width < 0.5:
        return str(one.index)
    if "centre_hertz" in one.figures:
        return f"{one.index}: {one.figures['centre_hertz']:.0f} Hz"
    if "time" not in one.figures:
        return f"{one.index}: zero" if one.strength == 0 else str(one.index)
    name = max(SHARES, key=lambda share: one.figures[share])
    return f"{one.index}: {name} {one.figures[name]:.0%}"


def _paint_range(axes: Axes, box: _Box, one: Filter) -> None:
    """A bar beside the bands with half of the energy."""
    if "low_band" in one.figures:
        height = (box[2] - box[3]) / one.kernel.shape[1]
        ends = [box[2] - one.figures["low_band"] * height, box[2] - (one.figures["high_band"] + 1) * height]
        axes.plot([box[0] - 0.02] * 2, ends, color="black", lw=1.2, solid_capstyle="butt")


def _mel_ticks(nyquist: float) -> tuple[list[float], list[str]]:
    """Positions on a mel scale from 0 to half the sample rate, and the Hz there."""
    librosa = import_librosa()

    ticks = [0, *[tick for tick in (1000,) if tick < nyquist / 2], round(nyquist)]
    shares = librosa.hz_to_mel(ticks) / librosa.hz_to_mel(nyquist)
    return [float(share) for share in shares], [f"{tick / 1000:g}k" if tick >= 1000 else str(tick) for tick in ticks]


def _waveform_ticks(axes: Axes, grid: CellGrid, seconds: float, nyquist: float) -> None:
    """Milliseconds above the top row, for the waveforms; Hz below the last row, for the spectra."""
    few = range(grid.columns if grid.width > 1.5 else 1)
    places = [x for column in few for x in (column + 0.04, column + 0.96)]
    marks, names = _mel_ticks(nyquist)
    below = [column + 0.04 + 0.92 * mark for column in few for mark in marks]
    axes.set_xticks(below, names * len(few), fontsize=6)
    axes.set_xlabel(f"lower half of each cell: spectrum, Hz (mel scale), {-RESPONSE_FLOOR_DB:g} dB high", fontsize=8)
    above: Any = axes.secondary_xaxis("top")
    above.set_xticks(places, ["0", f"{seconds * 1000:.3g}"] * len(few), fontsize=6)
    above.set_xlabel("upper half of each cell: waveform, ms", fontsize=8)
    above.spines["top"].set_visible(False)
    axes.set_yticks([])


def _patch_ticks(axes: Axes, grid: CellGrid, shape: tuple[int, ...], bank: FilterBank) -> None:
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
    more = "; bar beside a filter: the range with half of its energy" if bank.view == "bands" else ""
    axes.set_xlabel(words + more, fontsize=8)
    rows, names = _band_ticks(bands, bank)
    box = grid.box(0)
    height = box[2] - box[3]
    marks = [row + box[2] - (band + 0.5) / bands * height for row in range(grid.rows) for band in rows]
    axes.set_yticks(marks, names * grid.rows, fontsize=6 if grid.height > 0.8 else 4)
    words = "Hz" if bank.view == "bands" and bank.edges_hertz is not None else "band"
    axes.set_ylabel(words if bank.view == "bands" else "bands from the middle", fontsize=8)


def _band_ticks(bands: int, bank: FilterBank) -> tuple[list[float], list[str]]:
    if bank.view == "patch":
        half = (bands - 1) / 2
        return ([0.0, bands - 1.0], [f"{-half:+g}", f"{half:+g}"]) if bands > 1 else ([0.0], ["0"])
    if bank.edges_hertz is None:
        return [0.0, bands - 1.0], ["0", str(bands - 1)]
    centres = bank.edges_hertz.mean(axis=1)
    ticks = [tick for tick in (250, 500, 1000, 2000, 4000, 8000) if centres[0] <= tick <= centres[-1]]
    return [float(np.interp(tick, centres, np.arange(bands))) for tick in ticks], [f"{tick:g}" for tick in ticks]


def _colour_bar(figure: Figure, axes: list[Axes], view: str) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    if view == "waveform":
        bar = figure.colorbar(ScalarMappable(Normalize(RESPONSE_FLOOR_DB, 0), _POWER), ax=axes, fraction=0.03, pad=0.01)
        bar.set_label("dB below the peak", fontsize=8)
    else:
        bar = figure.colorbar(ScalarMappable(Normalize(-1, 1), _SIGNED), ax=axes, fraction=0.03, pad=0.01, shrink=0.5)
        bar.set_ticks([-1, 0, 1], labels=["-max", "0", "+max"])
        bar.set_label("weight", fontsize=8)
    bar.ax.tick_params(labelsize=7)


def choose_filters(found: Sequence[Sequence[TopActivation]], bank: FilterBank | None, most: int) -> list[int]:
    """The filters of the picture, in its order: for the first layer those with the largest norm, sorted as in the
    picture of filters; for a deeper group those with the strongest activations."""
    most = min(most, _MOST_ROWS)
    moved = {places[0].filter: places[0].activation for places in found if places}
    if bank is None:
        return sorted(sorted(moved, key=lambda number: (-moved[number], number))[:most])
    strong = sorted((one for one in bank.filters if one.index in moved), key=lambda one: (-one.strength, one.index))
    kept = {one.index for one in strong[:most]}
    return [one.index for one in bank.filters if one.index in kept]


def draw_strongest(rows: _SeenByFilter, bank: FilterBank | None, title: str, waveform: bool) -> Figure:
    """`rows`: for each filter its places with the input there, (channels, bands, frames) of features, or (channels, 1,
    samples) of a waveform. Without a bank, as for a deeper group, the filters themselves are left out."""
    filters = {one.index: one for one in bank.filters} if bank else {}
    top = max((len(places) for places in rows.values()), default=1)
    wide = top + bool(bank)
    blocks = max(1, min(len(rows), int(_STRONGEST_WIDTH_INCHES / ((wide + 1) * _CELL_INCHES))))
    lines = -(-max(1, len(rows)) // blocks)
    height = _CELL_INCHES * _seen_shape(rows, waveform)
    grid = CellGrid(blocks * (wide + 1), lines, _CELL_INCHES, height + 0.3)
    figure = new_figure(max(7.5, grid.columns * _CELL_INCHES + 0.4), lines * grid.height + 1.1)
    axes = figure.subplots()
    axes.set(xlim=(0, grid.columns), ylim=(lines, 0))
    axes.axis("off")
    for number, (index, places) in enumerate(rows.items()):
        block, line = divmod(number, lines)
        cell = line * grid.columns + block * (wide + 1)
        label = f"{index}"
        if index in filters:
            one = filters[index]
            _paint(axes, grid, cell + 1, one.kernel, (bank is not None and bank.view == "waveform", True))
            if "centre_hertz" in one.figures:
                label += f"\n{one.figures['centre_hertz']:.0f} Hz"
        left, _, bottom, top_edge = grid.box(cell)
        axes.text(left + 0.85, (bottom + top_edge) / 2, label, fontsize=7, ha="right", va="center", fontweight="bold")
        for place, (found, patch) in enumerate(places, 1 + bool(bank)):
            _paint(axes, grid, cell + place, patch, (waveform, False))
            name = found.sound.label or found.sound.short.rpartition(".")[0] or found.sound.short
            box = grid.box(cell + place)
            axes.text(box[0], box[3] - 0.02, plain_text(name[-_LETTERS:]), fontsize=5, va="bottom")
    figure.suptitle("\n".join(map(plain_text, title.splitlines())), fontsize=10)
    return figure


def _seen_shape(rows: _SeenByFilter, waveform: bool) -> float:
    shapes = [patch.shape for places in rows.values() for _, patch in places]
    if waveform or not shapes:
        return 0.6
    return float(np.clip(np.median([shape[1] / shape[2] / shape[0] for shape in shapes]), 0.5, 1.7))


def _paint(axes: Axes, grid: CellGrid, cell: int, values: Array, how: tuple[bool, bool]) -> None:
    """A filter or its input. how: whether it is a waveform, and whether it is signed."""
    waveform, signed = how
    if waveform:
        _paint_waveform(axes, grid.box(cell), values[:, 0], values.shape[-1])
    else:
        _paint_patch(axes, grid.box(cell), values, signed)
