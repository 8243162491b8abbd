"""The numbers of a filter: what it is tuned to, and which way it lies.

- waveform: kernels on samples. The centre is the peak of the magnitude response, the bandwidth that of a rectangle of
  the same peak and power (the equivalent rectangular bandwidth, as in Glasberg and Moore 1990).
- bands: kernels that see every band. The range is the shortest run of bands that holds half of the energy, the centre
  its middle.
- patch: kernels that move over the bands, so that they have no frequency of their own.

Bands and patches have shares, which add up to 1: of their energy so much is in the `level` (the mean), in the mean over
time that changes along the `frequency`, in the mean over frequency that changes along the `time`, and in what changes
along `both`: slopes and corners. It is the analysis of variance of a table with two ways, and exact. With several input
channels, `between_channels` is the share of the energy in differences between them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SHARES = ("level", "frequency", "time", "both")
FIGURES = ("centre_hertz", "bandwidth_hertz", *SHARES, "between_channels")  # of which a tower has means
LEAST_FFT = 2**14  # the response is looked at this finely, at least


def figures_of(kernel: Array, view: str, step_seconds: float, edges: Array | None) -> dict[str, float]:
    """The numbers of one kernel (channels, bands, taps); none for one of zeros."""
    energy = float((kernel**2).sum())
    if energy == 0.0:
        return {}
    found: dict[str, float] = {}
    if len(kernel) > 1:
        found["between_channels"] = 1.0 - len(kernel) * float((kernel.mean(axis=0) ** 2).sum()) / energy
    if view == "waveform":
        return found | tuning(kernel, step_seconds)
    if view == "bands":
        found |= band_range((kernel**2).sum(axis=(0, 2)), edges)
    return found | shares(kernel, energy)


def response(kernel: Array, step_seconds: float) -> tuple[Array, Array]:
    """Hertz (points,) and magnitude (channels, points) of a kernel (channels, 1, taps)."""
    points = max(LEAST_FFT, 1 << (4 * kernel.shape[-1] - 1).bit_length())
    hertz = np.fft.rfftfreq(points, step_seconds)
    magnitude: Array = np.abs(np.fft.rfft(kernel[:, 0], points))
    return hertz.astype(np.float64), magnitude


def tuning(kernel: Array, step_seconds: float) -> dict[str, float]:
    """Centre and bandwidth in Hz, over all channels together."""
    hertz, magnitude = response(kernel, step_seconds)
    power = (magnitude**2).sum(axis=0)
    peak = int(power.argmax())
    return {"centre_hertz": float(hertz[peak]), "bandwidth_hertz": float(power.sum() / power[peak] * hertz[1])}


def band_range(energy: Array, edges: Array | None) -> dict[str, float]:
    """The shortest run of bands with half of the energy (bands,); the first of several."""
    sums = np.concatenate([[0.0], np.cumsum(energy)])
    stops = np.searchsorted(sums, sums[:-1] + sums[-1] / 2 * (1 - 1e-12))
    inside = stops < len(sums)
    starts = np.flatnonzero(inside)
    first = int(starts[np.argmin(stops[inside] - starts)])
    last = int(stops[first]) - 1
    middle = (first + last) / 2
    found = {"low_band": float(first), "high_band": float(last)}
    if edges is None:
        return found
    low, high = float(edges[first, 0]), float(edges[last, 1])
    centre = float(np.interp(middle, np.arange(len(edges)), edges.mean(axis=1)))
    range_hertz = {"low_hertz": low, "high_hertz": high, "bandwidth_hertz": high - low}
    return found | {"centre_hertz": centre} | range_hertz


def shares(kernel: Array, energy: float) -> dict[str, float]:
    """How much of the energy is in the level, in changes along frequency, along time, and along both."""
    mean = kernel.mean(axis=(1, 2), keepdims=True)
    along_frequency, along_time = kernel.mean(axis=2, keepdims=True) - mean, kernel.mean(axis=1, keepdims=True) - mean
    rest = kernel - mean - along_frequency - along_time
    parts = (np.broadcast_to(part, kernel.shape) for part in (mean, along_frequency, along_time, rest))
    return {name: float((part**2).sum()) / energy for name, part in zip(SHARES, parts, strict=True)}


def tower_means(values: Array, weights: Array, towers: NDArray[np.int64], count: int) -> Array:
    """(filters, figures) -> (towers, figures), weighted; of a tower whose filters are all zero, zeros."""
    means: Array = np.zeros((count, values.shape[1]))
    for tower in range(count):
        mine = towers == tower
        total = weights[mine].sum()
        if total > 0:
            means[tower] = weights[mine] @ values[mine] / total
    return means
