"""Occlusion (Zeiler and Fergus 2014, section 4.2) of sound: a patch of time and band is turned down to the background,
and the fall of the score is the effect of what was there.

An effect is a difference of log-odds, log(P / (1 - P)): positive where the patch speaks for the label, negative where
it speaks against it. Patches overlap by half. Whole stretches of time, and whole bands, are turned down likewise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from audiocnn.inspection.views import Array, Box, View

PATCHES_A_WINDOW, PATCHES_A_STRETCH, PATCHES_OVER_BANDS = 16, 24, 8  # side by side, at most
LEAST_EFFECT = 0.01  # of log-odds: less is not worth a line
KINDS = ((False, False), (True, False), (False, True))  # patches; tall: stretches; long: bands


@dataclass(frozen=True)
class Grid:
    """Where patches lie: how many bands and frames one has, all bands, and the frames [first, last) that are the
    recording's."""

    all_bands: int
    bands: int
    frames: int
    first: int
    last: int

    def boxes(self, tall: bool, long: bool) -> list[Box]:
        """All patches; `tall` over all bands, `long` over all the time."""
        rows = [(0, self.all_bands)] if tall else spans(0, self.all_bands, self.bands)
        columns = [(self.first, self.last)] if long else spans(self.first, self.last, self.frames)
        return [Box(*row, *column) for row in rows for column in columns]

    @property
    def count(self) -> int:
        """Patches of all kinds."""
        return sum(len(self.boxes(*kind)) for kind in KINDS)


@dataclass(frozen=True)
class Patch:
    """What turning a patch down does: the log-odds fall by `effect`, and the score to `without`. Times in seconds; a
    stretch in all bands has no hertz, a band over all the time no times."""

    start: float | None
    end: float | None
    low_hertz: float | None
    high_hertz: float | None
    effect: float
    without: float


@dataclass(frozen=True)
class Occlusion:
    """map (bands, frames): the mean effect of the patches over a cell, NaN where there are none. over_time (frames,)
    and over_bands (bands,): the same of whole stretches and of whole bands. patches, stretches, bands: the strongest,
    which do not overlap, the strongest first."""

    map: Array
    over_time: Array
    over_bands: Array
    patches: tuple[Patch, ...]
    stretches: tuple[Patch, ...]
    bands: tuple[Patch, ...]
    patch_seconds: float
    patch_bands: int

    def cut(self, frames: slice) -> Occlusion:
        """The same for these frames only."""
        return replace(self, map=self.map[:, frames], over_time=self.over_time[frames])


@dataclass(frozen=True)
class Axes:
    """What cells of a view mean: the borders of its frames (frames + 1,) in seconds, those of its bands (bands + 1,) in
    Hz, and where the recording ends."""

    seconds: Array
    hertz: Array
    duration_seconds: float


def occlude(view: View, grid: Grid, axes: Axes, log_odds: float, top: int, step: Callable[[int], None]) -> Occlusion:
    """Turn down every patch of the grid, every stretch and every band. `log_odds` is what the whole sound has."""
    found = []
    for tall, long in KINDS:
        boxes = grid.boxes(tall, long)
        effects = log_odds - view.without(boxes, step)
        shape = (len(view.bins) - 1, view.frames)
        best = strongest(boxes, effects, top)
        patches = [patch_of(boxes[n], effects[n], log_odds, axes, tall, long) for n in best]
        found.append((mean_over(boxes, effects, shape), tuple(patches)))
    (whole, patches_), (tall_map, stretches), (long_map, bands) = found
    hop = float(axes.seconds[1] - axes.seconds[0])
    return Occlusion(
        map=whole,
        over_time=tall_map[0],
        over_bands=long_map[:, grid.first],
        patches=patches_,
        stretches=stretches,
        bands=bands,
        patch_seconds=grid.frames * hop,
        patch_bands=grid.bands,
    )


def grid_of(view: View, heard: slice, window_samples: int, seconds: float | None, bands: int | None) -> Grid:
    """The grid for the frames that are the recording's, with patches of so many seconds and bands, or as usual."""
    there, all_bands = heard.stop - heard.start, len(view.bins) - 1
    wide = max(window_samples / view.hop / PATCHES_A_WINDOW, there / PATCHES_A_STRETCH)
    if seconds is not None:
        wide = seconds * view.networks[0].geometry.sample_rate / view.hop
    tall = round(all_bands / PATCHES_OVER_BANDS) if bands is None else bands
    return Grid(all_bands, min(max(1, tall), all_bands), min(max(1, round(wide)), there), heard.start, heard.stop)


def spans(first: int, last: int, size: int) -> list[tuple[int, int]]:
    """Spans of so many cells that overlap by half and cover [first, last), the last one moved in to fit."""
    size = min(size, last - first)
    starts = [*range(first, last - size, max(1, size // 2)), last - size]
    return [(start, start + size) for start in starts]


def mean_over(boxes: Sequence[Box], effects: Array, shape: tuple[int, int]) -> Array:
    """(bands, frames): the mean effect of the boxes that cover each cell."""
    sums, counts = np.zeros(shape), np.zeros(shape)
    for box, effect in zip(boxes, effects.tolist(), strict=True):
        place = (slice(box.low, box.high), slice(box.first, box.last))
        sums[place] += effect
        counts[place] += 1
    mean: Array = np.divide(sums, counts, out=np.full(shape, np.nan), where=counts > 0)
    return mean


def strongest(boxes: Sequence[Box], effects: Array, top: int) -> list[int]:
    """The numbers of the strongest boxes, for or against, that do not overlap a stronger one."""
    kept: list[int] = []
    for number in np.argsort(-np.abs(effects), kind="stable").tolist():
        if len(kept) == top or abs(effects[number]) < LEAST_EFFECT:
            break
        if not any(boxes[number].overlaps(boxes[other]) for other in kept):
            kept.append(number)
    return kept


def patch_of(box: Box, effect: float, log_odds: float, axes: Axes, tall: bool, long: bool) -> Patch:
    """A box in seconds and Hz, with what is left of the score."""
    start, end = max(axes.seconds[box.first], 0.0), min(axes.seconds[box.last], axes.duration_seconds)
    low, high = axes.hertz[box.low], axes.hertz[box.high]
    return Patch(
        start=None if long else float(start),
        end=None if long else float(end),
        low_hertz=None if tall else float(low),
        high_hertz=None if tall else float(high),
        effect=float(effect),
        without=probability(log_odds - effect),
    )


def probability(log_odds: float) -> float:
    """The score that has these log-odds."""
    small = math.exp(-abs(log_odds))
    return (1.0 if log_odds >= 0 else small) / (1.0 + small)
