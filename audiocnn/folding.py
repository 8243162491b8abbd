"""Power spectra with a quarter of the multiplications: the kernels are even or odd, so samples are added up first.

A power |X|^2 does not change when time is counted from the middle of the frame. From there a windowed cosine is even
and a sine is odd, so that with u[m] = x[c + m] + x[c - m] and v[m] = x[c + m] - x[c - m]

    |X|^2 = (sum of cos * u)^2 + (sum of sin * v)^2

over half the frame: the first fold. Where the frame is as long as the transform, bin k of N has cos(2 pi k m / N),
which about m = N / 4 is even for even k and odd for odd k (the sine the other way round): the second fold. These are
the first two steps of a fast Fourier transform (Cooley and Tukey 1965); more of them would cost more in moving samples
about than they save, for a matrix product is what processors do best. The result differs from the plain product by
rounding alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audiocnn.features import Array, InputSpec, cqt_kernels, hann, mel_matrix

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Fold:
    """Rows are added to and taken from their mirror images: row `here[m]` and row `there[m]`."""

    here: Indices
    there: Indices

    @property
    def halves(self) -> Array:
        """(rows,) what a sum has to be multiplied with: a half where a row is its own mirror image, for it counts
        twice."""
        return np.where(self.here == self.there, 0.5, 1.0)


@dataclass(frozen=True)
class PowerPlan:
    """How the powers of all bins that are wanted come from one frame.

    window: (frame_samples,) or None where the matrices hold it. first: the fold of the frame. second: the fold of each
    of the two results, or None. matrices: (bins, rows) pairs for cosines and sines; with a second fold those of the
    even bins, then of the odd ones. bins: which bins come out, in this order.
    """

    window: Array | None
    first: Fold
    second: Fold | None
    matrices: tuple[tuple[Array, Array], ...]
    bins: Indices

    @property
    def multiply_adds(self) -> int:
        """Of one frame, in the matrices."""
        return sum(cosines.size + sines.size for cosines, sines in self.matrices)


def power_plan(spec: InputSpec) -> PowerPlan:
    """The plan for `stft`, `mel`, `log_mel`, `mfcc` and `cqt`. Bins that no mel band hears are left out."""
    if spec.features == "cqt":
        return cqt_plan(spec)
    bins = np.arange(spec.fft_samples // 2 + 1)
    if spec.features != "stft":
        heard = mel_matrix(spec).any(axis=0)
        bins = bins[heard] if heard.any() else bins[:1]
    frame = spec.frame_samples
    if spec.fft_samples == frame and frame % 4 == 0:
        return twice_folded(frame, bins)
    first = mirror_of_frame(frame)
    turns = np.outer(bins, first.here - frame / 2) / spec.fft_samples
    weights = hann(frame)[first.here] * first.halves
    return PowerPlan(None, first, None, (waves(turns, weights, weights),), bins)


def cqt_plan(spec: InputSpec) -> PowerPlan:
    """The kernels lie in the middle of the frame: one fold."""
    kernels = cqt_kernels(spec).reshape(2, spec.bins, -1)
    frame = kernels.shape[-1]
    here = np.arange(frame // 2, frame)
    first = Fold(here, frame - 1 - here)
    cosines, sines = kernels[..., here] * first.halves
    return PowerPlan(None, first, None, ((cosines, sines),), np.arange(spec.bins))


def mirror_of_frame(frame: int) -> Fold:
    """The samples of a frame about its middle, frame / 2. Sample 0 has no mirror image, and the window is 0 there."""
    here = np.arange((frame + 1) // 2, frame) if frame > 1 else np.zeros(1, np.int64)
    return Fold(here, (frame - here) % frame)


def twice_folded(frame: int, bins: Indices) -> PowerPlan:
    """A transform as long as its frame. The window has to come first, for it is not alike on both sides of the second
    mirror. Row m of the first fold is m samples from the middle; the last, m = frame / 2, is made of sample 0 alone,
    where the window is 0."""
    middle, quarter = frame // 2, frame // 4
    steps = np.arange(middle)
    first = Fold(np.append(middle + steps, 0), np.append(middle - steps, 0))
    steps = np.arange(quarter + 1)
    second = Fold(steps, middle - steps)
    even, odd = bins[bins % 2 == 0], bins[bins % 2 == 1]
    # Row 0 of the first fold holds the middle sample twice, and row `quarter` of the second its own mirror image. A
    # difference is 0 there, so its factor does not matter.
    weights = first.halves[steps] * second.halves
    matrices = tuple(waves(np.outer(some, steps) / frame, weights, weights) for some in (even, odd))
    return PowerPlan(hann(frame), first, second, matrices, np.concatenate([even, odd]))


def waves(turns: Array, cosine_weights: Array, sine_weights: Array) -> tuple[Array, Array]:
    """Cosines and sines of so many turns, weighted along the last axis."""
    angle = 2 * np.pi * (turns % 1.0)
    return np.cos(angle) * cosine_weights, np.sin(angle) * sine_weights
