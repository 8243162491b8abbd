"""Resampling of live sound, which holds back as little as the filter needs.

A stream of soxr works in blocks, so that from 8 to 16 kHz up to 0.12 s lie in it. Here each piece is resampled together
with what came just before it, at once, and what its missing neighbours would change is kept for the next time: the same
samples as of the whole to 1e-5, and 10 ms held back from 8 kHz, 5 ms from 16 kHz on.
"""

from __future__ import annotations

import math

import numpy as np

from audiocnn.audio.pcm import Samples

_MARGIN = 80  # samples of the slower rate: the filter of quality HQ is below 1e-5 beyond


class LiveResampler:
    """(n, channels) float32 pieces at one rate -> pieces at another, as of `soxr.ResampleStream`; raises its errors.
    held_back_seconds: how much of what it got is not given yet, at most."""

    def __init__(self, rate_in: int, rate_out: int, channels: int) -> None:
        self.rate_in, self.rate_out = rate_in, rate_out
        self.step = rate_in // math.gcd(rate_in, rate_out)  # input samples after which both grids meet
        self.margin = math.ceil(_MARGIN * rate_in / min(rate_in, rate_out))
        self.held_back_seconds = (self.margin + 1) / rate_in
        self._kept = np.zeros((0, channels), np.float32)
        self._first = self._made = 0  # of the input the first that is kept; of the output how many were given
        self.resample_chunk(self._kept)  # rates that cannot be are told now

    def resample_chunk(self, samples: Samples, last: bool = False) -> Samples:
        import soxr

        self._kept = np.concatenate([self._kept, samples])
        end = self._first + len(self._kept)
        whole = -(-end * self.rate_out // self.rate_in) if last else (end - self.margin) * self.rate_out // self.rate_in
        if len(self._kept) == 0 or whole <= self._made:
            return np.zeros((0, self._kept.shape[1]), np.float32)
        base = self._first * self.rate_out // self.rate_in
        made: Samples = soxr.resample(self._kept, self.rate_in, self.rate_out, quality="HQ")
        out = np.ascontiguousarray(made[self._made - base : whole - base])
        self._made += len(out)
        needed = self._made * self.rate_in // self.rate_out - self.margin
        if (drop := (needed - self._first) // self.step * self.step) > 0:
            self._kept, self._first = self._kept[drop:].copy(), self._first + drop
        return out
