"""The sounds that move each filter most as a picture: a row a filter, itself first, then what it saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from audiocnn.inspection.filter_cells import Grid, paint_patch, paint_waveform, plain
from audiocnn.inspection.filter_figures import Array
from audiocnn.inspection.filters import FilterBank
from audiocnn.inspection.strongest_sounds import Found
from audiocnn.pictures import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_ROWS = 24  # of a picture that can still be looked at
WIDTH, CELL = 12.5, 0.56  # inches
LETTERS = 14  # of a label above a patch

Rows = Mapping[int, Sequence[tuple[Found, Array]]]


def rows_of(found: Sequence[Sequence[Found]], bank: FilterBank | None, most: int) -> list[int]:
    """The filters of the picture, in its order: the first layer's of the largest norm, sorted as in the picture of
    filters; of a deeper group those that are moved most."""
    most = min(most, MOST_ROWS)
    moved = {places[0].filter: places[0].activation for places in found if places}
    if bank is None:
        return sorted(sorted(moved, key=lambda number: (-moved[number], number))[:most])
    strong = sorted((one for one in bank.filters if one.index in moved), key=lambda one: (-one.strength, one.index))
    kept = {one.index for one in strong[:most]}
    return [one.index for one in bank.filters if one.index in kept]


def draw_strongest(rows: Rows, bank: FilterBank | None, title: str, waveform: bool) -> Figure:
    """`rows`: for each filter its places with what it saw, (channels, bands, frames) of features, or (channels, 1,
    samples) of a waveform. Without a bank, as for a deeper group, the filters themselves are left out."""
    filters = {one.index: one for one in bank.filters} if bank else {}
    top = max((len(places) for places in rows.values()), default=1)
    wide = top + bool(bank)
    blocks = max(1, min(len(rows), int(WIDTH / ((wide + 1) * CELL))))
    lines = -(-max(1, len(rows)) // blocks)
    height = CELL * shape_of(rows, waveform)
    grid = Grid(blocks * (wide + 1), lines, CELL, height + 0.3)
    figure = new_figure(max(7.5, grid.columns * CELL + 0.4), lines * grid.height + 1.1)
    axes = figure.subplots()
    axes.set(xlim=(0, grid.columns), ylim=(lines, 0))
    axes.axis("off")
    for number, (index, places) in enumerate(rows.items()):
        block, line = divmod(number, lines)
        cell = line * grid.columns + block * (wide + 1)
        label = f"{index}"
        if index in filters:
            one = filters[index]
            paint(axes, grid, cell + 1, one.kernel, (bank is not None and bank.view == "waveform", True))
            if "centre_hertz" in one.figures:
                label += f"\n{one.figures['centre_hertz']:.0f} Hz"
        left, _, bottom, top_edge = grid.box(cell)
        axes.text(left + 0.85, (bottom + top_edge) / 2, label, fontsize=7, ha="right", va="center", fontweight="bold")
        for place, (found, patch) in enumerate(places, 1 + bool(bank)):
            paint(axes, grid, cell + place, patch, (waveform, False))
            name = found.sound.label or found.sound.short.rpartition(".")[0] or found.sound.short
            box = grid.box(cell + place)
            axes.text(box[0], box[3] - 0.02, plain(name[-LETTERS:]), fontsize=5, va="bottom")
    figure.suptitle("\n".join(map(plain, title.splitlines())), fontsize=10)
    return figure


def shape_of(rows: Rows, waveform: bool) -> float:
    """Height / width of the cells."""
    shapes = [patch.shape for places in rows.values() for _, patch in places]
    if waveform or not shapes:
        return 0.6
    return float(np.clip(np.median([shape[1] / shape[2] / shape[0] for shape in shapes]), 0.5, 1.7))


def paint(axes: Axes, grid: Grid, cell: int, values: Array, how: tuple[bool, bool]) -> None:
    """A filter or what it saw; `how`: whether it is a waveform, whether it is weights with a sign."""
    waveform, signed = how
    if waveform:
        paint_waveform(axes, grid.box(cell), values[:, 0], values.shape[-1])
    else:
        paint_patch(axes, grid.box(cell), values, signed)
