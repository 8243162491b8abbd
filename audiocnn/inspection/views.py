"""The window that a score depends on, as values over time and frequency, and the score with lowered patches.

A view has the `values` (channels, bins, frames) of a window, and `quiet`: the same values lowered to the background
level of their bin, unless they are already below it. An occluded input takes a patch of time and frequency from `quiet`
and the rest from `values`.

- FeatureView: the features at the input of the network (for `mfcc` the log-mel spectrum before the DCT).
- SoundView: the short-time Fourier transform, for a network on samples and for an ensemble. Samples are reconstructed
  from it (Griffin and Lim 1984, eq. 6), so that a patch is removed from the sound itself, and a gradient has a position
  in time and frequency (Vielhaben et al. 2023, virtual inspection layers).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from audiocnn.audio.pcm import Samples
from audiocnn.inspection.spectrogram import band_borders_hertz, visible_features
from audiocnn.model.frontend import FrontEnd
from audiocnn.model.network import Network, append_background
from audiocnn.model.weights import Ensemble
from audiocnn.spec.features import Array, InputSpec
from audiocnn.spec.geometry import Geometry
from audiocnn.spec.librosa_import import import_librosa
from audiocnn.units import to_samples

FILL_LEVELS = ("background", "mean", "silence")
BACKGROUND_QUANTILE = 0.1  # the level of a bin in its pauses
_NUMBERS_AT_ONCE = 2**23  # in the largest layer, over all items of a batch
_MOST_AT_ONCE = 64
_DECIBELS_PER_NEPER = 10.0 / math.log(10.0)  # of power
_AROUND_SECONDS = 15.0  # on both sides of the window, to estimate the background level


@dataclass(frozen=True)
class ScoreWindow:
    """The explained scores, rows [row, row + rows) of the label `column`, and their position in the recording, in
    samples. They depend on [begin, end) and, with a padded level normalisation, on how loud the surroundings are. The
    network is run on [first, stop), which gives `drop` rows before them."""

    column: int
    row: int
    rows: int
    drop: int
    first: int
    stop: int
    begin: int
    end: int

    def around(self, geometry: Geometry, total: int) -> tuple[int, int]:
        """The samples [start, stop) of the recording that are needed, with a margin for the background."""
        more = max(to_samples(_AROUND_SECONDS, geometry.sample_rate), geometry.window_samples + geometry.hop_samples)
        return max(0, min(self.first, self.begin) - more), min(total, max(self.stop, self.end) + more)


@dataclass(frozen=True)
class Excerpt:
    """Samples (channels, n) of a recording of `total` samples, starting at its sample `start`."""

    samples: Samples
    start: int
    total: int

    def cut(self, first: int, stop: int) -> Samples:
        """The samples [first, stop), with zeros outside the recording."""
        low, high = max(first, 0), max(min(stop, self.total), 0)
        inside = self.samples[:, low - self.start : max(high, low) - self.start]
        return np.pad(inside, ((0, 0), (low - first, stop - max(high, low))))


def score_window(geometry: Geometry, column: int, row: int, rows: int, total: int) -> ScoreWindow:
    """The samples that rows [row, row + rows) need, as in `engine.ChunkPlan`, and those that they depend on."""
    hop, (before, after) = geometry.hop_samples, geometry.margin_rows
    from_row = max(0, row - before)
    core = geometry.core_samples
    stop = (row + rows + after - 1) * hop - geometry.extend_start + core
    if stop >= total + min(0, geometry.extend_end):
        stop = total + geometry.extend_end
    start = row * hop - geometry.back_samples
    level_start, level_end = geometry.level_samples
    begin, end = start + level_start, start + (rows - 1) * hop + geometry.window_samples - level_end
    return ScoreWindow(column, row, rows, row - from_row, from_row * hop - geometry.extend_start, stop, begin, end)


@dataclass(frozen=True)
class CellBox:
    """Bands [low, high) and frames [first, last) of a view."""

    low: int
    high: int
    first: int
    last: int

    def overlaps(self, other: CellBox) -> bool:
        bands = self.low < other.high and other.low < self.high
        return bands and self.first < other.last and other.first < self.last


class View:
    """A window of sound as it is shown and occluded. Subclasses convert samples to values, and values to scores.

    values, quiet: (channels, bins, frames). Band b consists of the bins [bins[b], bins[b + 1]) and covers hertz[b] to
    hertz[b + 1]. The middle of frame f is `middle + f * hop` samples after the first sample.
    shown_features: the features with these bands.
    """

    bins: NDArray[np.int64]
    hertz: Array
    middle: float
    hop: int
    shown_features: str

    def __init__(self, network: Network | Ensemble, window: ScoreWindow) -> None:
        self.networks = network.networks if isinstance(network, Ensemble) else [network]
        self.window = window
        self.device = next(iter(network.parameters())).device
        self.values = self.quiet = torch.zeros(0)
        self.samples = 0

    def look(self, samples: Samples, around: Samples, level: str) -> None:
        """Set the samples (channels, n), and the surrounding recording, which gives the background level of each bin:
        one of FILL_LEVELS."""
        self.samples = samples.shape[-1]
        with torch.no_grad():
            self.values = self.show(torch.from_numpy(samples).to(self.device)[None])[0]
            heard = around if level != "silence" else np.zeros_like(samples)
            loud = self.loudness(self.show(torch.from_numpy(heard).to(self.device)[None])[0]).cpu().numpy()
            quantile = level == "background"
            floor = np.quantile(loud, BACKGROUND_QUANTILE, axis=-1) if quantile else loud.mean(axis=-1)
            floors = torch.from_numpy(floor[..., None].astype(np.float32)).to(self.device)
            self.quiet = self.limit(self.values, floors)

    def show(self, samples: Tensor) -> Tensor:
        """(batch, channels, samples) -> (batch, channels, bins, frames)."""
        raise NotImplementedError

    def log_scores(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, channels, bins, frames) -> log p and log(1 - p) of the label's score, each (batch, positions)."""
        raise NotImplementedError

    def decibels(self) -> Samples:
        """(bands, frames): the power of each cell in dB, averaged over the channels."""
        raise NotImplementedError

    def loudness(self, values: Tensor) -> Tensor:
        """Values as real numbers that increase with the sound level."""
        return values

    def limit(self, values: Tensor, floor: Tensor) -> Tensor:
        return torch.minimum(values, floor)

    def log_odds(self, values: Tensor) -> Tensor:
        """(batch, channels, bins, frames) -> (batch,) log(P / (1 - P)), where P is the mean score over the rows. For
        one row and a sigmoid, this is the logit. Computed in logarithms, so that scores near 0 and 1 do not
        overflow."""
        rows = slice(self.window.drop, self.window.drop + self.window.rows)
        for_it, against = self.log_scores(values)
        return for_it[:, rows].logsumexp(dim=1) - against[:, rows].logsumexp(dim=1)

    def sound_and_quiet(self) -> tuple[float, float]:
        """The log-odds of the sound, and the log-odds with everything lowered."""
        with torch.no_grad():
            return float(self.log_odds(self.values[None])), float(self.log_odds(self.quiet[None]))

    @property
    def frames(self) -> int:
        return int(self.values.shape[-1])

    @property
    def batch_size(self) -> int:
        """Number of items to run at once, so that the largest layer stays within bounds."""
        largest = 1.0
        for network in self.networks:
            size, windows = network.spec.window_size(), max(1.0, self.samples / network.geometry.window_samples)
            for layer in network.spec.body:
                size = layer.out(size)
                largest = max(largest, size.channels * size.positions * windows)
        return max(1, min(_MOST_AT_ONCE, int(_NUMBERS_AT_ONCE / largest)))

    def without(self, boxes: Sequence[CellBox], step: Callable[[int], None]) -> Array:
        """(boxes,) the log-odds with each single box lowered. `step` is called with the number of boxes done."""
        left = [np.zeros(0)]
        for begin in range(0, len(boxes), self.batch_size):
            some = boxes[begin : begin + self.batch_size]
            values = self.values.expand(len(some), *self.values.shape).clone()
            for item, box in zip(values, some, strict=True):
                bins, frames = slice(self.bins[box.low], self.bins[box.high]), slice(box.first, box.last)
                item[:, bins, frames] = self.quiet[:, bins, frames]
            with torch.no_grad():
                left.append(self.log_odds(values).cpu().double().numpy())
            step(len(some))
        return np.concatenate(left)

    def gradient(self, points: int, step: Callable[[int], None]) -> Array:
        """(bands, frames): gradients of the log-odds times the lowered amount, summed over channels: the first-order
        contribution of each cell. With one point, the gradients are those at the recording (Simonyan et al. 2013). With
        more, they are averaged between the background and the recording (Sundararajan et al. 2017, eq. 3, at
        midpoints), so that the contributions sum to the difference of the log-odds of the two."""
        away = self.values - self.quiet
        shares = [(point + 0.5) / points for point in range(points)] if points > 1 else [1.0]
        total = torch.zeros_like(away)
        with torch.backends.cudnn.flags(enabled=False):  # it has no backward pass for recurrent layers in use
            for share in shares:
                at = (self.quiet + share * away).requires_grad_()
                (slope,) = torch.autograd.grad(self.log_odds(at[None]).sum(), at)
                total += slope / points
                step(1)
        product = (total.conj() * away).real if away.is_complex() else total * away
        return np.add.reduceat(product.sum(dim=0).cpu().double().numpy(), self.bins[:-1], axis=0)


class FeatureView(View):
    def __init__(self, network: Network, window: ScoreWindow) -> None:
        super().__init__(network, window)
        self.network, spec = network, network.spec.input
        self.spec = visible_features(spec)
        self.front_end = FrontEnd(self.spec).to(self.device)
        self.hertz = band_borders_hertz(self.spec)
        self.bins = np.arange(self.spec.bands + 1)
        self.hop, self.middle = spec.hop_samples, spec.frame_samples / 2
        self.shown_features = self.spec.features

    def show(self, samples: Tensor) -> Tensor:
        short = self.spec.frame_samples - samples.shape[-1]
        shown: Tensor = self.front_end(functional.pad(samples, (0, max(0, short))))
        return shown

    def log_scores(self, values: Tensor) -> tuple[Tensor, Tensor]:
        return _label_log_scores(self.network, self.features(values), self.window.column)

    def features(self, values: Tensor) -> Tensor:
        if self.network.spec.input.features == "mfcc":
            flat = functional.conv1d(values.flatten(0, 1), self.network.front_end.dct)
            values = flat.reshape(*values.shape[:2], *flat.shape[1:])
        return values.flatten(1, 2) if self.network.spec.dims == 1 else values

    def decibels(self) -> Samples:
        values = self.values
        if not self.spec.logarithmic:
            # `mel` is always of the power; its scale is not used.
            magnitude = self.spec.features != "mel" and self.spec.scale == "magnitude"
            values = (values.square() if magnitude else values).clamp(min=1e-10).log()
        decibels: Samples = (values * _DECIBELS_PER_NEPER).mean(dim=0).cpu().numpy()
        return decibels


class SoundView(View):
    """The short-time Fourier transform, for networks on samples. Its bins are shown in mel bands."""

    def __init__(self, network: Network | Ensemble, window: ScoreWindow) -> None:
        super().__init__(network, window)
        self.network, spec = network, self.networks[0].spec.input
        self.width = max(16, 2 ** round(math.log2(0.032 * spec.sample_rate)))
        self.hop, self.middle = self.width // 4, 0.0
        self.hann = torch.hann_window(self.width, device=self.device)
        self.bins, self.hertz = _mel_bins(spec, self.width)
        self.shown_features = "mel"

    def show(self, samples: Tensor) -> Tensor:
        flat = samples.flatten(0, 1)
        shown = torch.stft(flat, self.width, self.hop, window=self.hann, pad_mode="constant", return_complex=True)
        return shown.reshape(*samples.shape[:2], *shown.shape[1:])

    def log_scores(self, values: Tensor) -> tuple[Tensor, Tensor]:
        sound = torch.istft(values.flatten(0, 1), self.width, self.hop, window=self.hann, length=self.samples)
        sound = sound.reshape(*values.shape[:2], -1)
        column = self.window.column
        if not isinstance(self.network, Ensemble):
            return _label_log_scores(self.network, self.network.features(sound), column)
        ensemble = self.network
        pairs = []
        for network, share, order, crop in zip(
            self.networks, ensemble.shares, ensemble.orders, ensemble.geometry.crops, strict=True
        ):
            own = sound[..., crop[0] : sound.shape[-1] - crop[1]]
            pair = _label_log_scores(network, network.features(own), order[column])
            pairs.append(torch.stack(pair) + math.log(share))
        for_it, against = torch.stack(pairs).logsumexp(dim=0)
        return for_it, against

    def loudness(self, values: Tensor) -> Tensor:
        return values.abs()

    def limit(self, values: Tensor, floor: Tensor) -> Tensor:
        loud = values.abs()
        return values * torch.where(loud > floor, floor / loud.clamp(min=1e-20), torch.ones_like(loud))

    def decibels(self) -> Samples:
        power = self.values.abs().square().mean(dim=0).cpu().numpy()
        mean = np.add.reduceat(power, self.bins[:-1], axis=0) / np.diff(self.bins)[:, None]
        return np.asarray(10.0 * np.log10(np.maximum(mean, 1e-10)), dtype=np.float32)


def _label_log_scores(network: Network, features: Tensor, column: int) -> tuple[Tensor, Tensor]:
    """log p and log(1 - p) of the score of a label, each (batch, positions)."""
    logits = network.logits_of(features)
    odds = logits[..., column]
    if network.spec.f.output == "softmax" and network.spec.classes > 1:
        others = [number for number in range(network.spec.classes) if number != column]
        against = logits[..., others]
        if network.spec.f.background:  # also one of the others
            against = append_background(against)
        odds = odds - against.logsumexp(dim=-1)
    return functional.logsigmoid(odds), functional.logsigmoid(-odds)


def _mel_bins(spec: InputSpec, width: int, most: int = 64) -> tuple[NDArray[np.int64], Array]:
    """(bands + 1,) first bins of bands that are about as wide as mel bands, and the same borders in Hz."""
    librosa = import_librosa()
    step, top = spec.sample_rate / width, spec.sample_rate / 2
    wanted = librosa.mel_frequencies(most + 1, fmin=0.0, fmax=top) / step
    bins = np.unique(np.concatenate([[0], np.rint(wanted[1:-1]).astype(np.int64), [width // 2 + 1]]))
    return bins, np.clip((bins - 0.5) * step, 0.0, top)


def make_view(network: Network | Ensemble, window: ScoreWindow) -> View:
    if isinstance(network, Ensemble) or network.spec.input.features == "waveform":
        return SoundView(network, window)
    return FeatureView(network, window)


def frames_between(middles: NDArray[np.floating[Any]], first: float, stop: float) -> slice:
    """The frames whose middles are in [first, stop), at least the nearest one."""
    low, high = np.searchsorted(middles, [first, stop]).tolist()
    if high > low:
        return slice(low, high)
    nearest = int(np.argmin(np.abs(middles - (first + stop) / 2)))
    return slice(nearest, nearest + 1)
