"""Low-latency resampling of live audio.

soxr's streams work in blocks, which delays audio by up to 0.12 s from 8 to 16 kHz. Here, each piece is resampled at
once together with the samples just before it, and output that depends on samples still to come is held back. The output
equals that of the whole recording to 1e-5. The delay is 10 ms from 8 kHz, and 5 ms from 16 kHz or more.
"""

from __future__ import annotations

import math

import numpy as np

from audiocnn.audio.pcm import Samples

_MARGIN = 80  # samples at the lower rate: beyond this, the filter of quality HQ is below 1e-5


class LiveResampler:
    """(n, channels) float32 pieces at one rate -> pieces at another, like `soxr.ResampleStream`, with the same errors.
    held_back_seconds: the maximum delay."""

    def __init__(self, rate_in: int, rate_out: int, channels: int) -> None:
        self.rate_in, self.rate_out = rate_in, rate_out
        self.step = rate_in // math.gcd(rate_in, rate_out)  # input samples after which both sampling grids coincide
        self.margin = math.ceil(_MARGIN * rate_in / min(rate_in, rate_out))
        self.held_back_seconds = (self.margin + 1) / rate_in
        self._kept = np.zeros((0, channels), np.float32)
        self._first = self._made = 0  # first input sample kept, and number of output samples returned
        self.resample_chunk(self._kept)  # raises an error now for impossible rates

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
