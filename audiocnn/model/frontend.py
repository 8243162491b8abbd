"""The front end in PyTorch: samples in, bands by frames out. It applies the constants of `spec.features` and is not
trained.

Power spectra take a quarter of the multiplications of the plain product. The kernels are even or odd, so samples can be
added first. A power |X|^2 does not change if time is counted from the middle of the frame. From there, a windowed
cosine is even and a sine is odd, so that with u[m] = x[c + m] + x[c - m] and v[m] = x[c + m] - x[c - m]

|X|^2 = (sum of cos * u)^2 + (sum of sin * v)^2

over half the frame: the first fold. If the frame is as long as the transform, bin k of N has cos(2 pi k m / N), which
around m = N / 4 is even for even k and odd for odd k (the sine the other way round): the second fold. These are the
first two steps of a fast Fourier transform (Cooley and Tukey 1965); further steps would cost more in moving samples
than they save. The result differs from the plain product only by rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from audiocnn.spec import features
from audiocnn.spec.features import Array, InputSpec, cqt_kernels, hann, mel_matrix

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Fold:
    """Rows are added to and subtracted from their mirror images: row `here[m]` and row `there[m]`."""

    here: Indices
    there: Indices

    @property
    def halves(self) -> Array:
        """(rows,) factors for the sums: a half if a row is its own mirror image, because it is counted twice."""
        return np.where(self.here == self.there, 0.5, 1.0)


@dataclass(frozen=True)
class PowerPlan:
    """How the powers of all requested bins are computed from one frame.

    window: (frame_samples,), or None if the matrices contain it. first: the fold of the frame. second: the fold of each
    of the two results, or None. matrices: (bins, rows) pairs for cosines and sines; with a second fold, those of the
    even bins, then of the odd ones. bins: the bins that are computed, in this order.
    """

    window: Array | None
    first: Fold
    second: Fold | None
    matrices: tuple[tuple[Array, Array], ...]
    bins: Indices

    @property
    def multiply_adds(self) -> int:
        """For one frame, in the matrices."""
        return sum(cosines.size + sines.size for cosines, sines in self.matrices)


def power_plan(spec: InputSpec) -> PowerPlan:
    """The plan for `stft`, `mel`, `log_mel`, `mfcc` and `cqt`. Bins outside all mel bands are not computed."""
    if spec.features == "cqt":
        return _cqt_plan(spec)
    bins = np.arange(spec.fft_samples // 2 + 1)
    if spec.features != "stft":
        heard = mel_matrix(spec).any(axis=0)
        bins = bins[heard] if heard.any() else bins[:1]
    frame = spec.frame_samples
    if spec.fft_samples == frame and frame % 4 == 0:
        return _twice_folded(frame, bins)
    first = _mirror_of_frame(frame)
    turns = np.outer(bins, first.here - frame / 2) / spec.fft_samples
    weights = hann(frame)[first.here] * first.halves
    return PowerPlan(None, first, None, (_waves(turns, weights, weights),), bins)


def _cqt_plan(spec: InputSpec) -> PowerPlan:
    """The kernels are centred in the frame, so there is one fold. In an odd frame, sample 0 has no mirror image, and no
    kernel reaches it."""
    kernels = cqt_kernels(spec).reshape(2, spec.bins, -1)
    frame = kernels.shape[-1]
    here = np.arange((frame + 1) // 2, frame)
    first = Fold(here, frame - 1 + frame % 2 - here)
    cosines, sines = kernels[..., here]
    return PowerPlan(None, first, None, ((cosines, sines),), np.arange(spec.bins))


def _mirror_of_frame(frame: int) -> Fold:
    """The fold of a frame around its middle, frame / 2. Sample 0 has no mirror image, and the window is 0 there."""
    here = np.arange((frame + 1) // 2, frame) if frame > 1 else np.zeros(1, np.int64)
    return Fold(here, (frame - here) % frame)


def _twice_folded(frame: int, bins: Indices) -> PowerPlan:
    """A transform as long as its frame. The window must be applied first, because it is not symmetric around the second
    mirror. Row m of the first fold is m samples from the middle; the last, m = frame / 2, consists of sample 0 alone,
    where the window is 0."""
    middle, quarter = frame // 2, frame // 4
    steps = np.arange(middle)
    first = Fold(np.append(middle + steps, 0), np.append(middle - steps, 0))
    steps = np.arange(quarter + 1)
    second = Fold(steps, middle - steps)
    even, odd = bins[bins % 2 == 0], bins[bins % 2 == 1]
    # Row 0 of the first fold contains the middle sample twice, and so does row `quarter` of the second with its own
    # mirror image. The difference is 0 there, so its factor does not matter.
    weights = first.halves[steps] * second.halves
    matrices = tuple(_waves(np.outer(some, steps) / frame, weights, weights) for some in (even, odd))
    return PowerPlan(hann(frame), first, second, matrices, np.concatenate([even, odd]))


def _waves(turns: Array, cosine_weights: Array, sine_weights: Array) -> tuple[Array, Array]:
    """Cosines and sines of these numbers of turns, weighted along the last axis."""
    angle = 2 * np.pi * (turns % 1.0)
    return np.cos(angle) * cosine_weights, np.sin(angle) * sine_weights


class FrontEnd(nn.Module):
    """(batch, channels, samples) in [-1, 1] -> (batch, channels, bands, frames)."""

    mel: Tensor
    dct: Tensor

    def __init__(self, spec: InputSpec) -> None:
        super().__init__()
        self.spec = spec
        kind = spec.features
        if kind == "waveform":
            return
        self.powers = PowerSpectrum(spec)
        if kind in ("mel", "log_mel", "mfcc"):
            constant(self, "mel", features.mel_matrix(spec)[:, self.powers.plan.bins, None])
        if kind == "mfcc":
            constant(self, "dct", features.dct_matrix(spec.coefficients, spec.mels)[..., None])

    def forward(self, samples: Tensor) -> Tensor:
        if self.spec.features == "waveform":
            return samples.unsqueeze(2)
        batch, channels, time = samples.shape
        values = self.of_powers(self.band_powers(samples.reshape(batch * channels, time)))
        return values.reshape(batch, channels, -1, values.shape[-1])

    def band_powers(self, samples: Tensor) -> Tensor:
        """(batch, samples) -> (batch, bands, frames), the power of each band; not for waveforms."""
        values: Tensor = self.powers(samples)
        return functional.conv1d(values, self.mel) if self.spec.powers.features == "mel" else values

    def of_powers(self, values: Tensor) -> Tensor:
        """(batch, bands, frames) from `band_powers` -> the features, (batch, bands, frames)."""
        values = self.scaled(values)
        return functional.conv1d(values, self.dct) if self.spec.features == "mfcc" else values

    def scaled(self, powers: Tensor) -> Tensor:
        """Convert powers, of any shape, to the scale of the spec."""
        spec = self.spec
        if spec.logarithmic or spec.features == "mfcc":
            return torch.log(torch.clamp(powers, min=spec.floor))
        if spec.features in ("stft", "cqt") and spec.scale == "magnitude":
            return torch.sqrt(powers + 1e-12)
        return powers


class PowerSpectrum(nn.Module):
    """(batch, samples) -> (batch, bins, frames): the power of each bin of `plan.bins`; for `stft`, of all bins in
    order."""

    window: Tensor
    order: Tensor

    def __init__(self, spec: InputSpec) -> None:
        super().__init__()
        self.frame, self.hop = spec.frame_samples, spec.hop_samples
        self.plan = plan = power_plan(spec)
        if plan.window is not None:
            constant(self, "window", plan.window[:, None])
        self.first = Folding(plan.first)
        self.second = None if plan.second is None else Folding(plan.second)
        for number, (cosines, sines) in enumerate(plan.matrices):
            constant(self, f"cosines_{number}", cosines)
            constant(self, f"sines_{number}", sines)
        self.in_order = spec.features != "stft" or plan.second is None
        if not self.in_order:
            self.register_buffer("order", torch.from_numpy(plan.bins.argsort()), persistent=False)

    def forward(self, samples: Tensor) -> Tensor:
        frames = self.frames_of(samples)
        if self.plan.window is not None:
            frames = frames * self.window
        even, odd = self.first(frames)
        if self.second is None:
            return self.power(0, even, odd)
        even_sum, even_difference = self.second(even)
        odd_sum, odd_difference = self.second(odd)
        # Around both mirrors, the sine is odd where the cosine is even.
        powers = [self.power(0, even_sum, odd_difference), self.power(1, even_difference, odd_sum)]
        joined = torch.cat(powers, dim=1)
        return joined if self.in_order else joined.index_select(1, self.order)

    def frames_of(self, samples: Tensor) -> Tensor:
        """(batch, samples) -> (batch, frame_samples, frames). Each row consists of samples a hop apart, so the rows of
        a hop are the samples, written hop by hop and transposed; later rows are the same, a frame later."""
        rows = -(-self.frame // self.hop)  # hops that a frame covers
        count = (samples.shape[1] - self.frame) // self.hop + 1
        samples = samples[:, : (count - 1) * self.hop + self.frame]
        samples = functional.pad(samples, (0, rows * self.hop - self.frame))
        hops = samples.reshape(samples.shape[0], count + rows - 1, self.hop).transpose(1, 2)
        parts = [hops[:, : self.frame - row * self.hop, row : row + count] for row in range(rows)]
        return torch.cat(parts, dim=1)

    def power(self, number: int, for_cosines: Tensor, for_sines: Tensor) -> Tensor:
        """(batch, rows, frames) for cosines and for sines -> (batch, bins, frames)."""
        real = getattr(self, f"cosines_{number}") @ for_cosines
        imaginary = getattr(self, f"sines_{number}") @ for_sines
        power: Tensor = real * real + imaginary * imaginary
        return power


class Folding(nn.Module):
    """(batch, n, frames) -> two of (batch, rows, frames): twice the even and twice the odd part around the mirror."""

    here: Tensor
    there: Tensor

    def __init__(self, fold: Fold) -> None:
        super().__init__()
        self.register_buffer("here", torch.from_numpy(fold.here.copy()), persistent=False)
        self.register_buffer("there", torch.from_numpy(fold.there.copy()), persistent=False)

    def forward(self, values: Tensor) -> tuple[Tensor, Tensor]:
        here, there = values.index_select(1, self.here), values.index_select(1, self.there)
        return here + there, here - there


def constant(module: nn.Module, name: str, values: features.Array) -> None:
    """Register constants that follow from the spec and are not saved with the weights."""
    module.register_buffer(name, torch.from_numpy(values).float(), persistent=False)
