"""Stretches of time that neither overlap nor touch: (n, 2) float64, start and end in seconds, sorted."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

EPSILON_SECONDS = 1e-9

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def merge(stretches: Iterable[tuple[float, float]], duration_seconds: float = math.inf) -> Floats:
    """(start, end) pairs in any order -> (n, 2): clipped to the recording, empty ones left out, joined."""
    pairs = np.array(sorted(stretches), dtype=np.float64).reshape(-1, 2).clip(0.0, duration_seconds)
    pairs = pairs[pairs[:, 1] > pairs[:, 0]]
    if not len(pairs):
        return pairs
    ends = np.maximum.accumulate(pairs[:, 1])
    first = np.concatenate(([True], pairs[1:, 0] > ends[:-1] + EPSILON_SECONDS))
    last = np.concatenate((first[1:], [True]))
    return np.stack((pairs[first, 0], ends[last]), axis=1)


def inside(intervals: Floats, times: Floats) -> Bools:
    """Whether each of `times` lies in one of the merged intervals."""
    odd: Bools = np.searchsorted(intervals.ravel(), times, side="right") % 2 == 1
    return odd
