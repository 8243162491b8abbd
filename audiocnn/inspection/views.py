"""What a network looks at, and what is left of its score when patches of it are turned down to the background.

A view holds `values`, what a stretch of sound looks like (channels, bins, frames), and `quiet`, the same with every
value turned down to the background of its bin; what is softer already stays. An occluded input takes a patch of time
and band from `quiet` and the rest from `values`.

- A network with features is shown its own features (of `mfcc` the log-mel before the DCT).
- A network on samples, and an ensemble, is shown the short-time Fourier transform; samples are made from it again
  (Griffin and Lim 1984, eq. 6), so that a patch is taken out of the sound itself, and a gradient has a place in time
  and in frequency (Vielhaben et al. 2023, virtual inspection layers).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from audiocnn.features import InputSpec, band_edges_hertz, hertz_to_mel, mel_to_hertz
from audiocnn.front_end import FrontEnd
from audiocnn.network import Network
from audiocnn.weights import Ensemble

Array = NDArray[np.float64]
Samples = NDArray[np.float32]

LEVELS = ("background", "mean", "silence")
BACKGROUND_QUANTILE = 0.1  # as loud as a bin is in its pauses
NUMBERS_AT_ONCE = 2**23  # of the largest layer, over all items of a batch
MOST_AT_ONCE = 64
DECIBELS_PER_NEPER = 10.0 / math.log(10.0)  # of power


@dataclass(frozen=True)
class Target:
    """What is explained: the mean score of one label over some rows of what the network gives."""

    column: int
    drop: int  # rows before
    rows: int


@dataclass(frozen=True)
class Box:
    """Bands [low, high) and frames [first, last) of a view."""

    low: int
    high: int
    first: int
    last: int

    def overlaps(self, other: Box) -> bool:
        """Whether they share a cell."""
        bands = self.low < other.high and other.low < self.high
        return bands and self.first < other.last and other.first < self.last


class View:
    """A stretch of sound as it is shown and occluded. Subclasses say how samples become values, and values scores.

    values, quiet: (channels, bins, frames). Band b is made of the bins [bins[b], bins[b + 1]) and hears from hertz[b]
    to hertz[b + 1]. The middle of frame f lies `middle + f * hop` samples after the first sample of the stretch.
    """

    bins: NDArray[np.int64]
    hertz: Array
    middle: float
    hop: int

    def __init__(self, network: Network | Ensemble, target: Target) -> None:
        self.networks = members_of(network)
        self.target = target
        self.device = next(iter(network.parameters())).device
        self.values = self.quiet = torch.zeros(0)
        self.samples = 0

    def look(self, samples: Samples, around: Samples, level: str) -> None:
        """Take in the stretch (channels, samples), and the recording around it, which says how loud the background of
        each bin is: its low quantile, its mean, or silence."""
        self.samples = samples.shape[-1]
        with torch.no_grad():
            self.values = self.show(torch.from_numpy(samples).to(self.device)[None])[0]
            heard = around if level != "silence" else np.zeros_like(samples)
            loud = self.loudness(self.show(torch.from_numpy(heard).to(self.device)[None])[0]).cpu().numpy()
            quantile = level == "background"
            floor = np.quantile(loud, BACKGROUND_QUANTILE, axis=-1) if quantile else loud.mean(axis=-1)
            floors = torch.from_numpy(floor[..., None].astype(np.float32)).to(self.device)
            self.quiet = self.turned_down(self.values, floors)

    def show(self, samples: Tensor) -> Tensor:
        """(batch, channels, samples) -> (batch, channels, bins, frames)."""
        raise NotImplementedError

    def log_scores(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, channels, bins, frames) -> log p and log(1 - p), each (batch, positions), of the label's score."""
        raise NotImplementedError

    def decibels(self) -> Samples:
        """(bands, frames): the power of each cell in dB, the mean of the channels."""
        raise NotImplementedError

    def loudness(self, values: Tensor) -> Tensor:
        """Values as real numbers that grow with the sound."""
        return values

    def turned_down(self, values: Tensor, floor: Tensor) -> Tensor:
        """Values no louder than the floor."""
        return torch.minimum(values, floor)

    def log_odds(self, values: Tensor) -> Tensor:
        """(batch, channels, bins, frames) -> (batch,) log(P / (1 - P)), P the mean score over the rows. Of one row with
        a sigmoid it is the logit. In logarithms, so that no score is too sure for it."""
        rows = slice(self.target.drop, self.target.drop + self.target.rows)
        for_it, against = self.log_scores(values)
        return for_it[:, rows].logsumexp(dim=1) - against[:, rows].logsumexp(dim=1)

    def sound_and_quiet(self) -> tuple[float, float]:
        """The log-odds of the sound, and those that are left with everything turned down."""
        with torch.no_grad():
            return float(self.log_odds(self.values[None])), float(self.log_odds(self.quiet[None]))

    @property
    def frames(self) -> int:
        """Frames of the stretch."""
        return int(self.values.shape[-1])

    @property
    def batch_size(self) -> int:
        """Items to run at once, so that the largest layer keeps within bounds."""
        largest = 1.0
        for network in self.networks:
            size, windows = network.spec.window_size(), max(1.0, self.samples / network.geometry.window_samples)
            for layer in network.spec.body:
                size = layer.out(size)
                largest = max(largest, size.channels * size.positions * windows)
        return max(1, min(MOST_AT_ONCE, int(NUMBERS_AT_ONCE / largest)))

    def without(self, boxes: Sequence[Box], step: Callable[[int], None]) -> Array:
        """(boxes,) the log-odds that are left when each box, one after the other, is turned down. Calls `step` with how
        many more are done."""
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
        """(bands, frames): slopes of the log-odds times what is turned down, over all channels: what each cell adds, to
        first order. With one point the slopes are those at the sound itself (Simonyan et al. 2013). With more, their
        mean on the way from the background to the sound (Sundararajan et al. 2017, eq. 3, at midpoints): the cells then
        sum to the difference between the log-odds of the two."""
        away = self.values - self.quiet
        shares = [(point + 0.5) / points for point in range(points)] if points > 1 else [1.0]
        total = torch.zeros_like(away)
        with torch.backends.cudnn.flags(enabled=False):  # which has no way back through a recurrent layer in use
            for share in shares:
                at = (self.quiet + share * away).requires_grad_()
                (slope,) = torch.autograd.grad(self.log_odds(at[None]).sum(), at)
                total += slope / points
                step(1)
        product = (total.conj() * away).real if away.is_complex() else total * away
        return np.add.reduceat(product.sum(dim=0).cpu().double().numpy(), self.bins[:-1], axis=0)


class FeatureView(View):
    """The features that the network begins with."""

    def __init__(self, network: Network, target: Target) -> None:
        super().__init__(network, target)
        self.network, spec = network, network.spec.input
        self.spec = dataclasses.replace(spec, features="log_mel") if spec.features == "mfcc" else spec
        self.front_end = FrontEnd(self.spec).to(self.device)
        edges = band_edges_hertz(self.spec)
        assert edges is not None
        self.hertz = np.concatenate([edges[:1, 0], (edges[1:, 0] + edges[:-1, 1]) / 2, edges[-1:, 1]])
        self.bins = np.arange(self.spec.bands + 1)
        self.hop, self.middle = spec.hop_samples, spec.frame_samples / 2

    def show(self, samples: Tensor) -> Tensor:
        short = self.spec.frame_samples - samples.shape[-1]
        shown: Tensor = self.front_end(functional.pad(samples, (0, max(0, short))))
        return shown

    def log_scores(self, values: Tensor) -> tuple[Tensor, Tensor]:
        return log_scores_of(self.network, self.features(values), self.target.column)

    def features(self, values: Tensor) -> Tensor:
        """Values as the groups take them."""
        if self.network.spec.input.features == "mfcc":
            flat = functional.conv1d(values.flatten(0, 1), self.network.front_end.dct)
            values = flat.reshape(*values.shape[:2], *flat.shape[1:])
        return values.flatten(1, 2) if self.network.spec.dims == 1 else values

    def decibels(self) -> Samples:
        values = self.values
        if not self.spec.logarithmic:
            # `mel` is of the power always; its scale is not used.
            magnitude = self.spec.features != "mel" and self.spec.scale == "magnitude"
            values = (values.square() if magnitude else values).clamp(min=1e-10).log()
        decibels: Samples = (values * DECIBELS_PER_NEPER).mean(dim=0).cpu().numpy()
        return decibels


class SoundView(View):
    """The short-time Fourier transform, for what begins with samples; its bins are shown in mel bands."""

    def __init__(self, network: Network | Ensemble, target: Target) -> None:
        super().__init__(network, target)
        self.network, spec = network, self.networks[0].spec.input
        self.width = max(16, 2 ** round(math.log2(0.032 * spec.sample_rate)))
        self.hop, self.middle = self.width // 4, 0.0
        self.window = torch.hann_window(self.width, device=self.device)
        self.bins, self.hertz = mel_bins(spec, self.width)

    def show(self, samples: Tensor) -> Tensor:
        flat = samples.flatten(0, 1)
        shown = torch.stft(flat, self.width, self.hop, window=self.window, pad_mode="constant", return_complex=True)
        return shown.reshape(*samples.shape[:2], *shown.shape[1:])

    def log_scores(self, values: Tensor) -> tuple[Tensor, Tensor]:
        sound = torch.istft(values.flatten(0, 1), self.width, self.hop, window=self.window, length=self.samples)
        sound = sound.reshape(*values.shape[:2], -1)
        column = self.target.column
        if not isinstance(self.network, Ensemble):
            return log_scores_of(self.network, self.network.features(sound), column)
        ensemble = self.network
        pairs = []
        for network, share, order, crop in zip(
            self.networks, ensemble.shares, ensemble.orders, ensemble.geometry.crops, strict=True
        ):
            own = sound[..., crop[0] : sound.shape[-1] - crop[1]]
            pair = log_scores_of(network, network.features(own), order[column])
            pairs.append(torch.stack(pair) + math.log(share))
        for_it, against = torch.stack(pairs).logsumexp(dim=0)
        return for_it, against

    def loudness(self, values: Tensor) -> Tensor:
        return values.abs()

    def turned_down(self, values: Tensor, floor: Tensor) -> Tensor:
        loud = values.abs()
        return values * torch.where(loud > floor, floor / loud.clamp(min=1e-20), torch.ones_like(loud))

    def decibels(self) -> Samples:
        power = self.values.abs().square().mean(dim=0).cpu().numpy()
        mean = np.add.reduceat(power, self.bins[:-1], axis=0) / np.diff(self.bins)[:, None]
        return np.asarray(10.0 * np.log10(np.maximum(mean, 1e-10)), dtype=np.float32)


def log_scores_of(network: Network, features: Tensor, column: int) -> tuple[Tensor, Tensor]:
    """log p and log(1 - p), each (batch, positions), of the score of a label."""
    logits = network.logits_of(features)
    odds = logits[..., column]
    if network.spec.f.output == "softmax" and network.spec.classes > 1:
        others = [number for number in range(network.spec.classes) if number != column]
        odds = odds - logits[..., others].logsumexp(dim=-1)
    return functional.logsigmoid(odds), functional.logsigmoid(-odds)


def members_of(network: Network | Ensemble) -> list[Network]:
    """The networks of an ensemble, or the one."""
    if isinstance(network, Ensemble):
        return [member for member in network.members if isinstance(member, Network)]
    return [network]


def mel_bins(spec: InputSpec, width: int, most: int = 64) -> tuple[NDArray[np.int64], Array]:
    """(bands + 1,) where bands of whole bins begin, about as wide as mel bands, and the same borders in Hz."""
    step, top = spec.sample_rate / width, spec.sample_rate / 2
    low, high = hertz_to_mel(np.array([0.0, top]), "slaney")
    wanted = mel_to_hertz(np.linspace(low, high, most + 1), "slaney") / step
    bins = np.unique(np.concatenate([[0], np.rint(wanted[1:-1]).astype(np.int64), [width // 2 + 1]]))
    return bins, np.clip((bins - 0.5) * step, 0.0, top)


def view_of(network: Network | Ensemble, target: Target) -> View:
    """The view for a network."""
    if isinstance(network, Ensemble) or network.spec.input.features == "waveform":
        return SoundView(network, target)
    return FeatureView(network, target)
