"""Noise made with numpy: each function gives `length` samples of one kind, float64, mean power 1.

Signature of all: (rng, length in samples, sample_rate in Hz) -> float64 (samples,). None of it is speech.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float64]


def with_unit_power(samples: Samples) -> Samples:
    """The same sound with mean power 1; silence stays silence."""
    power = float(np.mean(np.square(samples))) if samples.size else 0.0
    return samples / np.sqrt(power) if power > 0 else samples


def coloured(rng: np.random.Generator, length: int, sample_rate: int, exponent: float) -> Samples:
    """Noise whose power falls as 1 / frequency ** exponent above 30 Hz: 0 white, 1 pink, 2 brown."""
    spectrum = np.fft.rfft(rng.standard_normal(length))
    frequencies = np.fft.rfftfreq(length, 1 / sample_rate)
    spectrum *= np.maximum(frequencies, 30.0) ** (-exponent / 2) * (frequencies > 15.0)
    return with_unit_power(np.fft.irfft(spectrum, length))


def white(rng: np.random.Generator, length: int, sample_rate: int) -> Samples:
    return coloured(rng, length, sample_rate, 0.0)


def pink(rng: np.random.Generator, length: int, sample_rate: int) -> Samples:
    return coloured(rng, length, sample_rate, 1.0)


def brown(rng: np.random.Generator, length: int, sample_rate: int) -> Samples:
    return coloured(rng, length, sample_rate, 2.0)


def hum(rng: np.random.Generator, length: int, sample_rate: int) -> Samples:
    """Mains at 50 or 60 Hz with harmonics, over a little pink noise."""
    phase = 2 * np.pi * rng.choice([50.0, 60.0]) * np.arange(length) / sample_rate
    orders = np.arange(1, 16)
    weights = rng.uniform(0.3, 1.0, orders.size) / orders**0.8
    shifts = rng.uniform(0, 2 * np.pi, orders.size)
    tones = sum(w * np.sin(k * phase + s) for k, w, s in zip(orders, weights, shifts, strict=True))
    return with_unit_power(with_unit_power(np.asarray(tones)) + 0.3 * pink(rng, length, sample_rate))


def fan(rng: np.random.Generator, length: int, sample_rate: int) -> Samples:
    """Falling noise, beaten slowly by the blades, and the tone of the blades."""
    times = np.arange(length) / sample_rate
    blades_hz = rng.uniform(70, 140)
    air = coloured(rng, length, sample_rate, 1.4) * (1 + 0.25 * np.sin(2 * np.pi * rng.uniform(0.5, 6) * times))
    tone = np.sin(2 * np.pi * blades_hz * times) + 0.4 * np.sin(2 * np.pi * 2 * blades_hz * times)
    return with_unit_power(air + 0.35 * tone)


def engine(rng: np.random.Generator, length: int, sample_rate: int) -> Samples:
    """Harmonics of a firing rate that wanders between about 25 and 60 Hz, and rough noise in its rhythm."""
    times = np.arange(length) / sample_rate
    sway = np.sin(2 * np.pi * rng.uniform(0.05, 0.25) * times + rng.uniform(0, 2 * np.pi))
    phase = 2 * np.pi * np.cumsum(rng.uniform(32, 50) * (1 + 0.2 * sway)) / sample_rate
    tones = np.zeros(length)
    for order in range(1, 25):
        tones += rng.uniform(0.3, 1.0) / order**0.7 * np.sin(order * phase + rng.uniform(0, 2 * np.pi))
    rough = pink(rng, length, sample_rate) * (1 + np.sin(phase))
    return with_unit_power(with_unit_power(tones) + 0.5 * rough)


def _at_random(
    rng: np.random.Generator, length: int, starts: NDArray[np.int64], make: Callable[[], Samples]
) -> Samples:
    """Adds one sound of `make` at each start, cut at the end."""
    out = np.zeros(length)
    for start in starts:
        sound = make()[: length - start]
        out[start : start + sound.size] += rng.uniform(0.4, 1.0) * sound
    return out


def _starts(rng: np.random.Generator, length: int, sample_rate: int, rate_hz: float) -> NDArray[np.int64]:
    """At least one start, `rate_hz` a second on average."""
    count = max(1, int(rng.poisson(rate_hz * length / sample_rate)))
    return np.sort(rng.integers(0, max(1, length - sample_rate // 20), count))


def rain(rng: np.random.Generator, length: int, sample_rate: int) -> Samples:
    """A bright hiss and a hundred drops a second."""
    times = np.arange(int(0.012 * sample_rate)) / sample_rate

    def drop() -> Samples:
        return np.sin(2 * np.pi * rng.uniform(900, 3200) * times) * np.exp(-times / rng.uniform(0.0008, 0.003))

    drops = _at_random(rng, length, _starts(rng, length, sample_rate, 100.0), drop)
    return with_unit_power(coloured(rng, length, sample_rate, 0.4) + 0.8 * with_unit_power(drops))


def knocks(rng: np.random.Generator, length: int, sample_rate: int) -> Samples:
    """Clicks and knocks: short decaying resonances, two a second."""
    times = np.arange(int(0.15 * sample_rate)) / sample_rate

    def knock() -> Samples:
        burst = np.zeros(times.size)
        decay = rng.uniform(0.004, 0.03)
        for frequency in rng.uniform(120, 2500, 4):
            burst += np.sin(2 * np.pi * frequency * times + rng.uniform(0, 2 * np.pi)) * np.exp(-times / decay)
        return burst + rng.standard_normal(times.size) * np.exp(-times / 0.002)

    return with_unit_power(_at_random(rng, length, _starts(rng, length, sample_rate, 2.0), knock))


def _ramped(sound: Samples, sample_rate: int) -> Samples:
    """The sound with 5 ms ramps at both ends, so that a tone does not click."""
    ramp = np.minimum(1.0, np.arange(sound.size) / (0.005 * sample_rate))
    return sound * ramp * ramp[::-1]


def beeps(rng: np.random.Generator, length: int, sample_rate: int) -> Samples:
    """Single tones of 0.08 to 0.5 s, one and a half a second."""

    def beep() -> Samples:
        times = np.arange(int(rng.uniform(0.08, 0.5) * sample_rate)) / sample_rate
        return _ramped(np.sin(2 * np.pi * rng.uniform(400, 2600) * times), sample_rate)

    return with_unit_power(_at_random(rng, length, _starts(rng, length, sample_rate, 1.5), beep))


def tune(rng: np.random.Generator, length: int, sample_rate: int) -> Samples:
    """An arpeggio over changing chords, each note a plucked tone with harmonics."""
    note_samples = int(rng.uniform(0.15, 0.3) * sample_rate)
    times = np.arange(3 * note_samples) / sample_rate
    root_hz = rng.uniform(110, 330)
    chords = np.array([[0, 4, 7, 12], [-3, 0, 4, 9], [-7, -3, 0, 5], [-5, -1, 2, 7]])
    out = np.zeros(length + times.size)
    for index, start in enumerate(range(0, length, note_samples)):
        step = chords[index // 8 % 4, rng.integers(0, 4)]
        phase = 2 * np.pi * root_hz * 2 ** (step / 12) * times
        tone = sum(np.sin(k * phase) * np.exp(-times * (2 + 2 * k)) / k for k in range(1, 7))
        out[start : start + times.size] += _ramped(np.asarray(tone), sample_rate)
    return with_unit_power(out[:length])


BEDS: dict[str, Callable[[np.random.Generator, int, int], Samples]] = {
    "white": white,
    "pink": pink,
    "brown": brown,
    "hum": hum,
    "fan": fan,
    "engine": engine,
    "rain": rain,
}
"""Noise that goes on and on."""

EVENTS: dict[str, Callable[[np.random.Generator, int, int], Samples]] = {
    "knocks": knocks,
    "beeps": beeps,
    "tune": tune,
}
"""Sounds that come and go."""
