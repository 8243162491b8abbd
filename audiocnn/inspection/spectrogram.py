"""The spectrogram of a network's features, for pictures: the power of each band, computed with numpy block by block.

The constants are those of `features.py`, so the picture shows the input of the network. A network on samples has no
bands; its picture is a log-mel spectrogram with the usual constants.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from audiocnn.audio.pcm import Samples
from audiocnn.spec.features import Array, InputSpec, band_edges_hertz, cqt_kernels, default_input, hann, mel_matrix


class Spectrogram:
    """Takes samples in blocks and returns powers. Column k belongs to the frame whose middle is in [k * hop, (k + 1) *
    hop). Beyond the ends of the recording there is silence.

    band_hertz: (bands + 1,) the band borders as drawn. floor: the lowest power that counts.
    """

    def __init__(self, spec: InputSpec) -> None:
        spec = default_input("log_mel", spec.sample_rate) if spec.features == "waveform" else visible_features(spec)
        self.spec, self.hop, self.floor = spec, spec.hop_samples, spec.floor
        self.band_hertz = band_borders_hertz(spec)
        self._powers = _power_function(spec)
        self._frame = spec.frame_samples
        self._rest: Samples | None = None  # (channels, n) at the start of the next frames
        self._left = 0  # columns still to be returned
        self._partial = 0  # samples of the last, unfinished hop

    def push(self, samples: Samples) -> Samples:
        """(channels, n) -> (channels, columns, bands): the powers of the columns whose frames are complete."""
        if self._rest is None:
            self._rest = np.zeros((len(samples), max(0, (self._frame - self.hop) // 2)), np.float32)
        whole, self._partial = divmod(self._partial + samples.shape[1], self.hop)
        self._left += whole
        return self._columns(np.concatenate([self._rest, samples], axis=1))

    def finish(self) -> Samples:
        """The last columns, whose frames are completed with silence."""
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


def visible_features(spec: InputSpec) -> InputSpec:
    """Features whose bands are frequencies. For `mfcc`, the log-mel spectrum before the DCT."""
    return dataclasses.replace(spec, features="log_mel") if spec.features == "mfcc" else spec


def band_borders_hertz(spec: InputSpec) -> Array:
    """(bands + 1,) borders of the bands as drawn: neighbours overlap, so the border is halfway between them."""
    edges = band_edges_hertz(spec)
    assert edges is not None
    borders: Array = np.concatenate([edges[:1, 0], (edges[1:, 0] + edges[:-1, 1]) / 2, edges[-1:, 1]])
    return borders


def _power_function(spec: InputSpec) -> Callable[[Samples], Samples]:
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
