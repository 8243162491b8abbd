"""Two clips heard as one, with a share of each in the labels: mixup, and between-class learning.

Samples are float32 (channels, samples) at one rate; both clips have the same shape.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiocnn.augment import QUIET, Random, Samples, power
from audiocnn.units import to_samples

LEVEL_SECONDS = 0.1
A_POLES = (20.598997, 107.65265, 737.86223, 12194.217)  # in hertz, of IEC 61672-1, annex E


def mixup_share(random: Random, alpha: float) -> float:
    """How much of the first clip: from a beta distribution (Zhang et al. 2018, "mixup", section 2), the larger part
    first, so that the clip which was drawn stays the main one."""
    share = float(random.beta(alpha, alpha))
    return max(share, 1.0 - share)


def mixed_up(first: Samples, second: Samples, share: float) -> Samples:
    """The weighted mean of two clips."""
    return (np.float32(share) * first + np.float32(1.0 - share) * second).astype(np.float32)


def between(first: Samples, second: Samples, share: float, sample_rate: int) -> Samples:
    """Two clips with so much of the first to the ear, at the power of one: equations 1 and 2 of Tokozume, Ushiku and
    Harada 2018, "Learning from Between-class Examples for Deep Sound Recognition"."""
    if not 0.0 < share < 1.0:
        return first if share >= 0.5 else second
    over = loudness_db(first, sample_rate) - loudness_db(second, sample_rate)
    part = 1.0 / (1.0 + 10.0 ** (over / 20.0) * (1.0 - share) / share)
    blend = part * first + (1.0 - part) * second
    return np.asarray(blend / np.sqrt(part**2 + (1.0 - part) ** 2), dtype=np.float32)


def loudness_db(sound: Samples, sample_rate: int) -> float:
    """The A-weighted level of the loudest 0.1 s of (channels, samples), in dB (Tokozume et al., section 3.2)."""
    weighted = a_weighted(sound.mean(axis=0), sample_rate)
    size = min(len(weighted), to_samples(LEVEL_SECONDS, sample_rate))
    if size == 0:
        return float(10.0 * np.log10(QUIET))
    count = len(weighted) // size
    loudest = max(power(piece) for piece in weighted[: count * size].reshape(count, size))
    return float(10.0 * np.log10(max(loudest, QUIET)))


def a_weighted(samples: Samples, sample_rate: int) -> Samples:
    """(samples,) as loud as each frequency is to the ear."""
    if not len(samples):
        return samples
    weights = a_weights(np.fft.rfftfreq(len(samples), 1.0 / sample_rate))
    return np.fft.irfft(np.fft.rfft(samples) * weights, len(samples)).astype(np.float32)


def a_weights(hertz: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Amplitude ratios of the A-weighting (IEC 61672-1, equation E.6), 1 at 1 kHz."""

    def shape(values: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        f = values**2
        one, two, three, four = (pole**2 for pole in A_POLES)
        return np.asarray(four * f**2 / ((f + one) * np.sqrt((f + two) * (f + three)) * (f + four)), dtype=np.float64)

    return np.asarray(shape(hertz) / shape(np.array([1000.0])), dtype=np.float64)
