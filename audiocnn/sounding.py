"""Where a recording sounds: the stretches that carry the label of a recording that has one as a whole."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FRAME_SECONDS = 0.02
BELOW_DB = 40.0  # under the loudest frame nothing counts: a note has faded, a room is still
BRIDGED_SECONDS = 0.3  # a pause up to this long belongs to the sound
_BLOCK_FRAMES = 3000


def sounding(samples: NDArray[np.int16], sample_rate: int) -> list[tuple[float, float]]:
    """int16 (channels, samples) -> (onset, offset) in seconds: frames of 20 ms at most 40 dB below the loudest, over
    pauses of up to 0.3 s. Silence throughout has none."""
    size = max(1, round(FRAME_SECONDS * sample_rate))
    powers = frame_powers(samples, size)
    loudest = float(powers.max(initial=0.0))
    if loudest == 0.0:
        return []
    heard = np.flatnonzero(powers >= loudest * 10.0 ** (-BELOW_DB / 10.0))
    parted = np.flatnonzero(np.diff(heard) * size > BRIDGED_SECONDS * sample_rate + size)
    firsts = heard[np.concatenate([[0], parted + 1])]
    lasts = heard[np.concatenate([parted, [len(heard) - 1]])]
    total = samples.shape[1]
    return [
        (int(first) * size / sample_rate, min(int(last + 1) * size, total) / sample_rate)
        for first, last in zip(firsts, lasts, strict=True)
    ]


def frame_powers(samples: NDArray[np.int16], size: int) -> NDArray[np.float64]:
    """(frames,) mean square of each `size` samples over all channels, the last maybe of fewer; a minute at a time."""
    powers = []
    for start in range(0, samples.shape[1], size * _BLOCK_FRAMES):
        block = samples[:, start : start + size * _BLOCK_FRAMES].astype(np.float64) ** 2
        edges = np.arange(0, block.shape[1], size)
        counts = np.diff(np.append(edges, block.shape[1])) * len(block)
        powers.append(np.add.reduceat(block.sum(axis=0), edges) / counts)
    return np.concatenate(powers) if powers else np.zeros(0)
