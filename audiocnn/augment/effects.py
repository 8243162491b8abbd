"""Audio effects: noise, rooms, filters, speed, clipping, as plain functions of samples and a random generator.

Samples are float32 (samples,) in [-1, 1]; nothing is changed in place. The same generator gives the same result in any
process.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from audiocnn.audio.pcm import Samples

Random = np.random.Generator
QUIET = 1e-10  # power below which a signal is not scaled


def db_to_amplitude(value: float) -> float:
    return float(10.0 ** (value / 20.0))


def power(samples: Samples) -> float:
    return float(np.dot(samples, samples) / max(1, len(samples)))


def fast_length(samples: int) -> int:
    return 1 << max(1, samples - 1).bit_length()


def apply_gains(samples: Samples, size: int, gain: NDArray[np.float64]) -> Samples:
    """(samples,) with each frequency bin of a transform of `size` multiplied by its gain (size // 2 + 1,)."""
    from scipy import fft

    spectrum = fft.rfft(samples, size) * gain.astype(np.float32)
    return np.asarray(fft.irfft(spectrum, size)[: len(samples)], dtype=np.float32)


def convolve(samples: Samples, kernel: Samples) -> Samples:
    """(samples,) filtered with a causal kernel, at the original length."""
    from scipy import fft

    size = fft.next_fast_len(len(samples) + len(kernel) - 1, real=True)
    product = fft.rfft(samples, size) * fft.rfft(kernel, size)
    return np.asarray(fft.irfft(product, size)[: len(samples)], dtype=np.float32)


def draw_noise(random: Random, samples: int, slope: float) -> Samples:
    """(samples,) of power 1 whose power spectrum is proportional to frequency to the power -`slope`: 0 white, 1 pink, 2
    brown."""
    from scipy import fft

    size = fast_length(samples)
    spectrum = fft.rfft(random.standard_normal(size).astype(np.float32))
    spectrum *= np.maximum(np.arange(len(spectrum)), 1.0) ** (-slope / 2.0)
    spectrum[0] = 0.0
    noise = np.asarray(fft.irfft(spectrum, size)[:samples], dtype=np.float32)
    return np.asarray(noise / np.sqrt(max(power(noise), QUIET)), dtype=np.float32)


def draw_silence(random: Random, samples: int) -> Samples:
    """(samples,) as in a silent 16-bit file: zeros, or dither of one or two bits."""
    kind = int(random.integers(3))
    dither = sum(random.uniform(-0.5, 0.5, samples) for _ in range(kind)) * (1.0 + random.random() * (kind > 0))
    return np.asarray(np.round(dither) if kind else np.zeros(samples), dtype=np.float32) / np.float32(32768.0)


def draw_room(random: Random, sample_rate: int, seconds: float, direct_db: float) -> Samples:
    """An impulse response: the direct sound, and a noise tail that starts a few ms later and decays by 60 dB in
    `seconds`.

    `direct_db` is the power of the direct sound relative to that of the tail.
    """
    length = max(2, int(seconds * sample_rate))
    tail = random.standard_normal(length) * 10.0 ** (-3.0 * np.arange(length) / length)
    tail[: int(random.uniform(0.001, 0.02) * sample_rate)] = 0.0
    tail *= db_to_amplitude(-direct_db) / np.sqrt(max(float(np.sum(tail * tail)), QUIET))
    tail[0] = 1.0
    return np.asarray(tail / np.sqrt(np.sum(tail * tail)), dtype=np.float32)


def limit_band(samples: Samples, sample_rate: int, low_hertz: float, high_hertz: float) -> Samples:
    """A band-pass filter with edges a quarter of an octave wide."""
    size = fast_length(len(samples))
    hertz = np.maximum(np.fft.rfftfreq(size, 1.0 / sample_rate), 1e-3)
    octaves = np.minimum(np.log2(hertz / low_hertz), np.log2(high_hertz / hertz))
    gain = np.clip(octaves * 4.0 + 1.0, 0.0, 1.0)
    return apply_gains(samples, size, gain)


def tilt_spectrum(samples: Samples, sample_rate: int, db_per_octave: float) -> Samples:
    """A linear tilt of the spectrum around 1 kHz, like that of another microphone."""
    size = fast_length(len(samples))
    hertz = np.maximum(np.fft.rfftfreq(size, 1.0 / sample_rate), 50.0)
    gain = 10.0 ** (db_per_octave * np.log2(hertz / 1000.0) / 20.0)
    return apply_gains(samples, size, gain)


def trim_mark(samples: Samples, mark: tuple[int, int], sample_rate: int, below_db: float) -> tuple[int, int]:
    """Trim a mark [onset, offset) in samples at each end to where the level is within `below_db` of the loudest 5 ms in
    its first (or last) 0.4 s. This removes ends that noise would cover and the reverberant tail."""
    frame, look = max(1, sample_rate // 200), 80
    onset, offset = max(0, mark[0]), min(len(samples), mark[1])
    count = (offset - onset) // frame
    if count < 2:
        return mark
    powers = np.mean(samples[onset : onset + count * frame].reshape(count, frame) ** 2, axis=1)
    first = np.flatnonzero(powers[:look] >= powers[:look].max() * 10.0 ** (-below_db / 10.0))[0]
    last = np.flatnonzero(powers[-look:] >= powers[-look:].max() * 10.0 ** (-below_db / 10.0))[-1]
    last += max(0, count - look) + 1
    # A mark that crosses an edge of the cut is not trimmed on that side.
    start = onset + int(first) * frame if mark[0] >= 0 else mark[0]
    stop = onset + int(last) * frame if mark[1] <= len(samples) and last < count else mark[1]
    return (start, stop) if start < stop else mark


def change_speed(samples: Samples, speed: float) -> Samples:
    """Play faster or slower: pitch and formants change too, as for another vocal tract."""
    if speed == 1.0 or not len(samples):
        return samples
    import soxr

    return np.asarray(soxr.resample(samples, 1000 * speed, 1000, quality="LQ"), dtype=np.float32)


def clip_peaks(samples: Samples, share_of_peak: float) -> Samples:
    limit = float(np.max(np.abs(samples), initial=0.0)) * share_of_peak
    return np.clip(samples, -limit, limit)


def fade_edges(samples: Samples, edge_samples: int) -> Samples:
    """A short fade at both ends, so that a cut does not click."""
    edge = min(edge_samples, len(samples) // 2)
    out = samples.astype(np.float32, copy=True)
    if edge:
        ramp = np.linspace(0.0, 1.0, edge, dtype=np.float32)
        out[:edge] *= ramp
        out[-edge:] *= ramp[::-1]
    return out
