"""Occlusion of sound (Zeiler and Fergus 2014, section 4.2): a patch of time and frequency is lowered to the background,
and the decrease of the score is its effect.

An effect is a difference of log-odds, log(P / (1 - P)): positive if the patch supports the label, negative if it speaks
against it. Patches overlap by half. Stretches of time over all bands, and bands over the whole time, are lowered in the
same way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from audiocnn.inspection.views import CellBox, View
from audiocnn.spec.features import Array

_PATCHES_A_WINDOW, _PATCHES_A_STRETCH, _PATCHES_OVER_BANDS = 16, 24, 8  # at most, side by side
_LEAST_EFFECT = 0.01  # of log-odds; smaller effects are not listed
_ROUNDING = 1e-5  # relative, of log-odds
_KINDS = ((False, False), (True, False), (False, True))  # patches; tall: stretches; long: bands


@dataclass(frozen=True)
class PatchGrid:
    """The positions of patches, of `bands` of `all_bands` and of `frames` frames each, in the frames [first, last)."""

    all_bands: int
    bands: int
    frames: int
    first: int
    last: int

    def boxes(self, tall: bool, long: bool) -> list[CellBox]:
        """All patches: `tall` over all bands, `long` over the whole time."""
        rows = [(0, self.all_bands)] if tall else spans(0, self.all_bands, self.bands)
        columns = [(self.first, self.last)] if long else spans(self.first, self.last, self.frames)
        return [CellBox(*row, *column) for row in rows for column in columns]

    @property
    def count(self) -> int:
        return sum(len(self.boxes(*kind)) for kind in _KINDS)


@dataclass(frozen=True)
class Patch:
    """The effect of a patch: when it is lowered, the log-odds fall by `effect` and the score falls to `without`. Times
    are in seconds. A stretch over all bands has no frequencies, a band over the whole time has no times."""

    start: float | None
    end: float | None
    low_hertz: float | None
    high_hertz: float | None
    effect: float
    without: float


@dataclass(frozen=True)
class Occlusion:
    """map (bands, frames): the mean effect of the patches over a cell, NaN where there are none. over_time (frames,)
    and over_bands (bands,): the same for stretches and for bands. patches, stretches, bands: the non-overlapping ones
    with the largest effects, largest first."""

    map: Array
    over_time: Array
    over_bands: Array
    patches: tuple[Patch, ...]
    stretches: tuple[Patch, ...]
    bands: tuple[Patch, ...]
    patch_seconds: float
    patch_bands: int

    def cut(self, frames: slice) -> Occlusion:
        return replace(self, map=self.map[:, frames], over_time=self.over_time[frames])


@dataclass(frozen=True)
class CellAxes:
    """The cell borders of a view: of frames (frames + 1,) in seconds, of bands (bands + 1,) in Hz."""

    seconds: Array
    hertz: Array
    duration_seconds: float


def occlude(
    view: View, grid: PatchGrid, axes: CellAxes, log_odds: float, top: int, step: Callable[[int], None]
) -> Occlusion:
    """Lower every patch of the grid, every stretch and every band. `log_odds`: of the unchanged sound."""
    found = []
    for tall, long in _KINDS:
        boxes = grid.boxes(tall, long)
        effects = without_rounding(log_odds - view.without(boxes, step), log_odds)
        shape = (len(view.bins) - 1, view.frames)
        best = _strongest_apart(boxes, effects, top)
        patches = [_make_patch(boxes[n], effects[n], log_odds, axes, tall, long) for n in best]
        found.append((_mean_effect(boxes, effects, shape), tuple(patches)))
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


def without_rounding(effects: Array, log_odds: float) -> Array:
    """Set effects to zero that are smaller than the rounding of single precision between batch sizes."""
    return np.where(np.abs(effects) > _ROUNDING * max(1.0, abs(log_odds)), effects, 0.0)


def patch_grid(view: View, heard: slice, window_samples: int, seconds: float | None, bands: int | None) -> PatchGrid:
    """The grid over the frames `heard` of the recording. seconds, bands: the size of a patch; None for the default."""
    there, all_bands = heard.stop - heard.start, len(view.bins) - 1
    wide = max(window_samples / view.hop / _PATCHES_A_WINDOW, there / _PATCHES_A_STRETCH)
    if seconds is not None:
        wide = seconds * view.networks[0].geometry.sample_rate / view.hop
    tall = round(all_bands / _PATCHES_OVER_BANDS) if bands is None else bands
    return PatchGrid(all_bands, min(max(1, tall), all_bands), min(max(1, round(wide)), there), heard.start, heard.stop)


def spans(first: int, last: int, size: int) -> list[tuple[int, int]]:
    """Spans of `size` cells that overlap by half and cover [first, last); the last one is shifted to fit."""
    size = min(size, last - first)
    starts = [*range(first, last - size, max(1, size // 2)), last - size]
    return [(start, start + size) for start in starts]


def _mean_effect(boxes: Sequence[CellBox], effects: Array, shape: tuple[int, int]) -> Array:
    """(bands, frames): the mean effect of the boxes that cover each cell."""
    sums, counts = np.zeros(shape), np.zeros(shape)
    for box, effect in zip(boxes, effects.tolist(), strict=True):
        cells = (slice(box.low, box.high), slice(box.first, box.last))
        sums[cells] += effect
        counts[cells] += 1
    mean: Array = np.divide(sums, counts, out=np.full(shape, np.nan), where=counts > 0)
    return mean


def _strongest_apart(boxes: Sequence[CellBox], effects: Array, top: int) -> list[int]:
    """The indexes of the strongest boxes, for or against, that do not overlap a stronger one."""
    kept: list[int] = []
    for number in np.argsort(-np.abs(effects), kind="stable").tolist():
        if len(kept) == top or abs(effects[number]) < _LEAST_EFFECT:
            break
        if not any(boxes[number].overlaps(boxes[other]) for other in kept):
            kept.append(number)
    return kept


def _make_patch(box: CellBox, effect: float, log_odds: float, axes: CellAxes, tall: bool, long: bool) -> Patch:
    """A box in seconds and Hz, with the score without it."""
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
    small = math.exp(-abs(log_odds))
    return (1.0 if log_odds >= 0 else small) / (1.0 + small)
