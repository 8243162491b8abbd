"""The torch side of the features: samples in, bands by frames out. Constants, nothing is trained.

What the constants are stands in `features.py`, how spectra are made of them in `folding.py`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from audiocnn import features
from audiocnn.features import InputSpec
from audiocnn.folding import Fold, power_plan


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
        spec = self.spec
        if spec.features == "waveform":
            return samples.unsqueeze(2)
        batch, channels, time = samples.shape
        values: Tensor = self.powers(samples.reshape(batch * channels, time))
        if spec.features in ("mel", "log_mel", "mfcc"):
            values = functional.conv1d(values, self.mel)
        if spec.logarithmic or spec.features == "mfcc":
            values = torch.log(torch.clamp(values, min=spec.floor))
        elif spec.features in ("stft", "cqt") and spec.scale == "magnitude":
            values = torch.sqrt(values + 1e-12)
        if spec.features == "mfcc":
            values = functional.conv1d(values, self.dct)
        return values.reshape(batch, channels, -1, values.shape[-1])


class PowerSpectrum(nn.Module):
    """(batch, samples) -> (batch, bins, frames): the power of each bin of `plan.bins`, of a `stft` of all in order."""

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
        # The sine is odd where the cosine is even, about the first mirror and about the second.
        powers = [self.power(0, even_sum, odd_difference), self.power(1, even_difference, odd_sum)]
        joined = torch.cat(powers, dim=1)
        return joined if self.in_order else joined.index_select(1, self.order)

    def frames_of(self, samples: Tensor) -> Tensor:
        """(batch, samples) -> (batch, frame_samples, frames). Each row is a stretch of samples a hop apart, so the rows
        of a hop are the samples written hop by hop, turned on their side; later rows are the same, a frame later."""
        rows = -(-self.frame // self.hop)  # hops that a frame spans
        count = (samples.shape[1] - self.frame) // self.hop + 1
        samples = samples[:, : (count - 1) * self.hop + self.frame]
        samples = functional.pad(samples, (0, rows * self.hop - self.frame))
        hops = samples.reshape(samples.shape[0], count + rows - 1, self.hop).transpose(1, 2)
        parts = [hops[:, : self.frame - row * self.hop, row : row + count] for row in range(rows)]
        return torch.cat(parts, dim=1)

    def power(self, number: int, for_cosines: Tensor, for_sines: Tensor) -> Tensor:
        """(batch, rows, frames) twice -> (batch, bins, frames)."""
        real = getattr(self, f"cosines_{number}") @ for_cosines
        imaginary = getattr(self, f"sines_{number}") @ for_sines
        power: Tensor = real * real + imaginary * imaginary
        return power


class Folding(nn.Module):
    """(batch, n, frames) -> two of (batch, rows, frames): what is even about the mirror, and what is odd; each twice
    over."""

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
    """Register numbers that follow from the spec and are not saved with the weights."""
    module.register_buffer(name, torch.from_numpy(values).float(), persistent=False)
