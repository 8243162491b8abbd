"""Sounds that nobody recorded: tones, strokes and gusts, drawn at random, of which there is no end.

A few hours of recordings hold few instruments and machines, and a network learns those few by heart. What is drawn here
has the pitch, the harmonics or the rhythm of a voice, one or two of them at a time, and never vowels one after another.
"""

from __future__ import annotations

import numpy as np

from audiocnn import augment
from audiocnn.augment import Random, Samples

LOWEST_HERTZ, HIGHEST_HERTZ = 40.0, 3000.0
MOST_PARTIALS = 30


def made_sound(random: Random, sample_rate: int, seconds: float) -> Samples:
    """(samples,) of one sound of this length, of power 1."""
    samples = max(2, int(seconds * sample_rate))
    kind = (tone, stroke, gust)[int(random.integers(3))]
    sound = kind(random, sample_rate, samples) * envelope(random, sample_rate, samples)
    return np.asarray(sound / np.sqrt(max(augment.power(sound), augment.QUIET)), dtype=np.float32)


def tone(random: Random, sample_rate: int, samples: int) -> Samples:
    """Harmonics of one pitch (or of a chord) that stays, glides, wavers or jumps, with resonances that stay."""
    sound = np.zeros(samples, dtype=np.float32)
    base = np.exp(random.uniform(np.log(LOWEST_HERTZ), np.log(HIGHEST_HERTZ / 2)))
    steps = random.choice([0, 3, 4, 5, 7, 12, 16, 19], size=int(random.integers(1, 4)), replace=False)
    slope, even = random.uniform(0.3, 2.0), random.random() < 0.7
    centres = np.exp(random.uniform(np.log(200.0), np.log(0.4 * sample_rate), 3))
    strength = random.uniform(0.0, 3.0)
    for step in steps:
        hertz = pitch(random, sample_rate, samples, float(base * 2.0 ** (step / 12.0)))
        phase = np.cumsum(2.0 * np.pi / sample_rate * hertz)
        top = int(min(MOST_PARTIALS, 0.45 * sample_rate / max(float(hertz.max()), 1.0)))
        for number in range(1, max(1, top) + 1):
            if number % 2 == 0 and not even:
                continue
            octaves = np.log2(number * base / centres)
            gain = number**-slope * (1.0 + strength * float(np.exp(-8.0 * octaves**2).sum()))
            sound += np.float32(gain) * np.sin(number * phase + random.uniform(0.0, 6.3)).astype(np.float32)
    return sound


def pitch(random: Random, sample_rate: int, samples: int, hertz: float) -> Samples:
    """(samples,) in Hz: steady, a glide, vibrato, steps as of an arpeggio, or a walk."""
    seconds = np.arange(samples) / sample_rate
    kind = int(random.integers(5))
    semitones = np.zeros(samples)
    if kind == 1:
        semitones = np.linspace(0.0, random.uniform(-24.0, 24.0), samples)
    elif kind == 2:
        semitones = random.uniform(0.2, 3.0) * np.sin(2.0 * np.pi * random.uniform(2.0, 10.0) * seconds)
    elif kind == 3:
        notes = random.integers(-12, 13, int(seconds[-1] * random.uniform(2.0, 15.0)) + 1)
        semitones = np.repeat(notes, -(-samples // len(notes)))[:samples].astype(np.float64)
    elif kind == 4:
        knots = max(2, int(seconds[-1] * random.uniform(1.0, 8.0)) + 1)
        walk = np.cumsum(random.normal(0.0, 2.5, knots))
        semitones = np.interp(np.linspace(0, knots - 1, samples), np.arange(knots), walk)
    return np.clip(hertz * 2.0 ** (semitones / 12.0), LOWEST_HERTZ / 2, HIGHEST_HERTZ).astype(np.float32)


def stroke(random: Random, sample_rate: int, samples: int) -> Samples:
    """Modes that ring and die, as of metal, wood or a string, struck once or several times."""
    sound = np.zeros(samples, dtype=np.float32)
    modes = int(random.integers(2, 12))
    hertz = np.exp(random.uniform(np.log(60.0), np.log(0.45 * sample_rate), modes))
    decay = np.exp(random.uniform(np.log(0.01), np.log(0.6), modes))
    gains = random.exponential(1.0, modes)
    for _ in range(int(random.integers(1, 2 + int(4 * samples / sample_rate)))):
        start = int(random.integers(0, max(1, samples - samples // 4)))
        seconds = np.arange(samples - start) / sample_rate
        loud = random.uniform(0.2, 1.0)
        for mode in range(modes):
            ring = np.exp(-seconds / decay[mode]) * np.sin(2.0 * np.pi * hertz[mode] * seconds)
            sound[start:] += np.float32(loud * gains[mode]) * ring.astype(np.float32)
    return sound


def gust(random: Random, sample_rate: int, samples: int) -> Samples:
    """Noise in a band: a scrape, a hiss, a wave."""
    noise = augment.coloured_noise(random, samples, random.uniform(-1.0, 2.0))
    low = np.exp(random.uniform(np.log(50.0), np.log(0.2 * sample_rate)))
    return augment.band_limited(noise, sample_rate, low, min(0.48 * sample_rate, low * random.uniform(1.5, 12.0)))


def envelope(random: Random, sample_rate: int, samples: int) -> Samples:
    """(samples,) from 0 to 1: an attack and a decay, and half of the time a rhythm of 1 to 20 beats a second."""
    seconds = np.arange(samples) / sample_rate
    attack = np.exp(random.uniform(np.log(0.002), np.log(0.3)))
    shape = np.minimum(1.0, seconds / attack) * np.minimum(1.0, (seconds[-1] - seconds) / random.uniform(0.005, 0.3))
    if random.random() < 0.5:
        shape = shape * np.exp(-seconds / np.exp(random.uniform(np.log(0.1), np.log(3.0))))
    if random.random() < 0.5:
        beat = 0.5 + 0.5 * np.sin(2.0 * np.pi * random.uniform(1.0, 20.0) * seconds + random.uniform(0.0, 6.3))
        shape = shape * (1.0 - random.uniform(0.3, 1.0) * (1.0 - beat ** random.uniform(0.5, 3.0)))
    return np.asarray(shape, dtype=np.float32)
