"""Augmentation of features: frequency warping, a random equaliser, masking of bands and frames.

Frequencies are warped by vocal tract length perturbation (Jaitly and Hinton 2013, section 3). Each example draws a
factor by which frequencies are multiplied. Near the top of the spectrum the map bends so that the highest frequency
stays fixed. A speed change (`[mix] speed`) alters pitch, formants and pace of a voice together; warping alters only the
formants.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from audiocnn.augment.settings import MixSettings
from audiocnn.spec.features import Array, InputSpec, band_edges_hertz

_BENDS_AT = 0.6  # of the highest frequency: 4,800 of 8,000 Hz in the paper


def warp_bands(values: Tensor, spec: InputSpec, factors: Array) -> Tensor:
    """(batch, ..., bands, frames) with the frequencies of each example multiplied by its factor (batch,). Features
    whose bands are not frequencies, such as mfcc, are returned unchanged."""
    edges = band_edges_hertz(spec)
    if edges is None or len(edges) < 2:
        return values
    places = np.stack([warped_positions(edges.mean(axis=1), spec.sample_rate / 2, factor) for factor in factors])
    below = np.clip(np.floor(places), 0, len(edges) - 2)
    apart = values.reshape(len(values), -1, len(edges), values.shape[-1])  # 1-D networks merge channels and bands
    share = torch.from_numpy(places - below).to(values)[:, None, :, None]
    lower = torch.from_numpy(below.astype(np.int64)).to(values.device)[:, None, :, None].expand(apart.shape)
    return torch.lerp(apart.gather(2, lower), apart.gather(2, lower + 1), share).reshape(values.shape)


def warped_positions(centres: Array, highest: float, factor: float) -> Array:
    """(bands,): the fractional band number from which each band takes its new content, i.e. the band that `factor`
    moves there. centres: in Hz, ascending."""
    bend = _BENDS_AT * highest * min(factor, 1.0)
    moved = np.interp(centres, [0.0, bend / factor, highest], [0.0, bend, highest])
    return np.asarray(np.interp(centres, moved, np.arange(len(centres))), dtype=np.float64)


_EQUALISER_KNOTS = 6


class BatchShare(NamedTuple):
    """The rows of this process in a batch of `total` examples, and the mean over the whole batch."""

    mine: range
    total: int
    mean: Callable[[Tensor], Tensor] = torch.mean


def whole_batch(values: Tensor) -> BatchShare:
    return BatchShare(range(len(values)), len(values))


def augment_features(
    values: Tensor, mix: MixSettings, spec: InputSpec, random: np.random.Generator, rows: BatchShare | None = None
) -> Tensor:
    """Features warped, equalised and masked according to `mix`; waveforms are unchanged. rows: the rows of this part of
    a batch, which gets the same augmentation as it would within the whole batch."""
    rows = rows or whole_batch(values)
    if mix.band_warp != (1.0, 1.0):
        factors = random.uniform(*mix.band_warp, rows.total)[rows.mine.start : rows.mine.stop]
        values = warp_bands(values, spec, factors)
    if spec.logarithmic:
        values = equalise(values, mix, random, rows)
    if spec.features == "waveform":
        return values
    return mask_frames(mask_bands(values, mix, random, rows), mix, random, rows)


def equalise(
    values: Tensor, settings: MixSettings, random: np.random.Generator, rows: BatchShare | None = None
) -> Tensor:
    """A smooth random curve over the bands of each example, like another microphone's response, at most `equaliser_db`
    up or down, added to the log power (batch, [channels,] bands, frames)."""
    bands, rows = values.shape[-2], rows or whole_batch(values)
    if not settings.equaliser_db or bands < 2:
        return values
    knots = np.linspace(0, bands - 1, _EQUALISER_KNOTS)
    gains = random.uniform(-settings.equaliser_db, settings.equaliser_db, (rows.total, _EQUALISER_KNOTS))
    gains = gains[rows.mine.start : rows.mine.stop]
    curves = np.stack([np.interp(np.arange(bands), knots, row) for row in gains]) * np.log(10.0) / 10.0
    added = torch.from_numpy(curves).to(values)
    return values + added.reshape(len(values), *[1] * (values.dim() - 3), bands, 1)


def mask_bands(
    values: Tensor, settings: MixSettings, random: np.random.Generator, rows: BatchShare | None = None
) -> Tensor:
    """SpecAugment's frequency masks (Park et al. 2019, section 2): bands of (batch, [channels,] bands, frames) set to
    the mean of the batch, other bands for each example."""
    return _mask_axis(values, settings.band_masks, settings.band_mask_width, random, -2, rows)


def mask_frames(
    values: Tensor, settings: MixSettings, random: np.random.Generator, rows: BatchShare | None = None
) -> Tensor:
    """SpecAugment's time masks (Park et al. 2019, section 2): frames of (batch, [channels,] bands, frames) set to the
    mean of the batch, other frames for each example."""
    return _mask_axis(values, settings.time_masks, settings.time_mask_width, random, -1, rows)


def _mask_axis(
    values: Tensor, masks: int, width: float, random: np.random.Generator, axis: int, rows: BatchShare | None = None
) -> Tensor:
    """Set `masks` segments of an axis, each up to the share `width` of it, to the mean of the batch. An axis shorter
    than 8 is unchanged."""
    size, rows = values.shape[axis], rows or whole_batch(values)
    widest = int(width * size)
    if widest < 1 or masks < 1 or size < 8:
        return values
    keep = np.ones((rows.total, size), dtype=bool)
    for row in keep:
        for _ in range(masks):
            length = int(random.integers(0, widest + 1))
            start = int(random.integers(0, size - length + 1))
            row[start : start + length] = False
    shape = [len(values)] + [1] * (values.dim() - 1)
    shape[axis] = size
    mask = torch.from_numpy(keep[rows.mine.start : rows.mine.stop]).to(values.device).reshape(shape)
    return torch.where(mask, values, rows.mean(values))
