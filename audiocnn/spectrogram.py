"""What a front end sees, for pictures: the power of each band, made with numpy as the samples come.

The constants are those of `features.py`, so the picture shows what the network is given. A network on samples has no
bands; its picture is a log-mel spectrogram with the usual constants.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from audiocnn.features import (
    InputSpec,
    band_edges_hertz,
    cqt_kernels,
    default_input,
    hann,
    mel_matrix,
)

Array = NDArray[np.float64]
Samples = NDArray[np.float32]


class Spectrogram:
    """Samples in, powers out. Column k is of the frame in whose middle [k * hop, (k + 1) * hop) lies; what a frame
    sees beyond the ends is silence.

    band_hertz: (bands + 1,) the borders of the bands as they are drawn. floor: the softest power that counts.
    """

    def __init__(self, spec: InputSpec) -> None:
        self.spec = spec = shown_spec(spec)
        self.hop, self.floor = spec.hop_samples, spec.floor
        edges = band_edges_hertz(spec)
        assert edges is not None  # bands that are shown are frequencies
        self.band_hertz: Array = np.concatenate([edges[:1, 0], (edges[1:, 0] + edges[:-1, 1]) / 2, edges[-1:, 1]])
        self._powers = powers_of(spec)
        self._frame = spec.frame_samples
        self._rest: Samples | None = None  # (channels, n) that the next frames begin with
        self._left = 0  # columns that are still due
        self._partial = 0  # samples of the last, unfinished hop

    def push(self, samples: Samples) -> Samples:
        """(channels, n) -> (channels, columns, bands): the powers of the columns whose frames are complete."""
        if self._rest is None:
            self._rest = np.zeros((len(samples), max(0, (self._frame - self.hop) // 2)), np.float32)
        whole, self._partial = divmod(self._partial + samples.shape[1], self.hop)
        self._left += whole
        return self._columns(np.concatenate([self._rest, samples], axis=1))

    def finish(self) -> Samples:
        """The last columns: their frames are filled up with silence."""
        if self._rest is None:
            return np.zeros((0, 0, len(self.band_hertz) - 1), np.float32)
        self._left += self._partial > 0
        missing = self._left * self.hop + self._frame - self._rest.shape[1]
        return self._columns(np.pad(self._rest, ((0, 0), (0, max(0, missing)))))

    def _columns(self, samples: Samples) -> Samples:
        count = max(0, min(self._left, (samples.shape[1] - self._frame) // self.hop + 1))
        self._left -= count
        self._rest = samples[:, count * self.hop :]
        if not count:
            return np.zeros((len(samples), 0, len(self.band_hertz) - 1), np.float32)
        frames = np.lib.stride_tricks.sliding_window_view(samples, self._frame, axis=1)[
            :, : count * self.hop : self.hop
        ]
        return self._powers(frames)


def shown_spec(spec: InputSpec) -> InputSpec:
    """The features that can be looked at: of `mfcc` the log-mel before the DCT, of a waveform a log-mel."""
    if spec.features == "waveform":
        return default_input("log_mel", spec.sample_rate)
    return dataclasses.replace(spec, features="log_mel") if spec.features == "mfcc" else spec


def powers_of(spec: InputSpec) -> Callable[[Samples], Samples]:
    """(..., frame_samples) -> (..., bands): the power of each band of each frame."""
    if spec.features == "cqt":
        cosines, sines = np.split(cqt_kernels(spec).astype(np.float32), 2)
        return lambda frames: (frames @ cosines.T) ** 2 + (frames @ sines.T) ** 2
    window = hann(spec.frame_samples).astype(np.float32)
    matrix = None if spec.features == "stft" else mel_matrix(spec).T.astype(np.float32)

    def powers(frames: Samples) -> Samples:
        bins = np.fft.rfft(frames * window, spec.fft_samples, axis=-1)
        power = (bins.real**2 + bins.imag**2).astype(np.float32)
        return power if matrix is None else power @ matrix

    return powers
