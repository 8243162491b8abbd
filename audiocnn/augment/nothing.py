"""Examples that carry none of the labels, for networks that learn from whole clips.

A network that has only heard six words takes rain for one of them. It is therefore also trained on audio that need not
be recorded: synthetic sounds, coloured noise, silence, and the pauses within the clips themselves. Sounds are designed
for audible rates; at other sample rates they are made higher and shorter, or lower and longer, in proportion.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from audiocnn.audio.pcm import Samples
from audiocnn.augment import effects
from audiocnn.augment.background import FADE_SECONDS, synthesize_sound
from audiocnn.augment.effects import Random
from audiocnn.augment.instruments import draw_tune
from audiocnn.data.dataset import Dataset, Entry
from audiocnn.units import heard_rate, to_samples

_FRAME_SECONDS = 0.05
_QUIET_DB = 20.0  # below the loudest frame of a clip, what remains is background noise
_LEAST_QUIET_SECONDS, _LOOKED_AT_SECONDS = 0.2, 20.0
_LEVEL_DB = (-50.0, -6.0)  # relative to full scale, of synthetic sounds
_MADE_SECONDS = (0.1, 2.5)
_MOST_MADE, _MOST_HARMONICS = 4, 40
_SILENCE_SHARE, _BETWEEN_SHARE = 0.08, 0.17
_KIND_SHARES = (0.22, 0.18, 0.22, 0.1, 0.28)  # synthetic sounds, hits, calls, noise, melodies
_TRIES = 4


class NothingExamples:
    """Draws examples of one length, (1, samples) float32, that carry none of the labels."""

    def __init__(self, dataset: Dataset, entries: Sequence[Entry], length: int) -> None:
        self.dataset, self.entries, self.length = dataset, list(entries), length
        self.rate = heard_rate(dataset.sample_rate)

    def draw(self, random: Random) -> Samples:
        kind = random.random()
        if kind < _SILENCE_SHARE:
            return effects.draw_silence(random, self.length)[None, :]
        if kind < _SILENCE_SHARE + _BETWEEN_SHARE and (between := self.draw_between(random)) is not None:
            return between[None, :]
        kinds = (self.draw_made, self.draw_hits, self.draw_calls, self.draw_noise, self.draw_tune)
        make = kinds[int(random.choice(len(kinds), p=_KIND_SHARES))]
        sound = make(random)
        gain = effects.db_to_amplitude(random.uniform(*_LEVEL_DB)) / np.sqrt(max(effects.power(sound), effects.QUIET))
        return (sound * np.float32(gain))[None, :]

    def draw_made(self, random: Random) -> Samples:
        """Synthetic sounds at random positions, in half of the cases over noise."""
        out = np.zeros(self.length, dtype=np.float32)
        for _ in range(int(random.integers(1, _MOST_MADE + 1))):
            sound = synthesize_sound(random, self.rate, random.uniform(*_MADE_SECONDS))[: self.length]
            start = int(random.integers(self.length - len(sound) + 1))
            faded = effects.fade_edges(sound, to_samples(FADE_SECONDS, self.rate))
            out[start : start + len(sound)] += faded * np.float32(effects.db_to_amplitude(random.uniform(-20.0, 0.0)))
        if random.random() < 0.5:
            out += self.draw_noise(random) * np.float32(effects.db_to_amplitude(random.uniform(-40.0, -5.0)))
        return out

    def draw_hits(self, random: Random) -> Samples:
        """Knocks, clicks and steps: short decaying noise, single, at random times or in a rhythm."""
        out = np.zeros(self.length, dtype=np.float32)
        seconds = self.length / self.rate
        count = int(random.integers(1, 2 + int(8 * seconds)))
        rhythm = random.uniform(0.06, 0.8)
        starts = random.uniform(0.0, seconds, count) if random.random() < 0.5 else np.arange(count) * rhythm
        decay = np.exp(random.uniform(np.log(0.003), np.log(0.15)))
        slope, low = random.uniform(-0.5, 2.0), np.exp(random.uniform(np.log(40.0), np.log(0.25 * self.rate)))
        high = min(0.48 * self.rate, low * random.uniform(1.5, 40.0))
        for start in (to_samples(one, self.rate) for one in starts if one < seconds):
            size = min(self.length - start, to_samples(8.0 * decay, self.rate))
            if size < 2:
                continue
            shape = np.exp(-np.arange(size) / (decay * self.rate)) * random.uniform(0.3, 1.0)
            noise = effects.draw_noise(random, max(size, 64), slope)
            burst = effects.limit_band(noise, self.rate, low, high)[:size]
            out[start : start + size] += (burst * shape).astype(np.float32)
        return out

    def draw_calls(self, random: Random) -> Samples:
        """Vocal sounds that are not words: harmonics whose pitch and resonances glide, with some breath noise, once or
        repeatedly. (Source and filter as in Fant 1960, "Acoustic Theory of Speech Production".)"""
        out = np.zeros(self.length, dtype=np.float32)
        base = np.exp(random.uniform(np.log(80.0), np.log(min(2000.0, 0.1 * self.rate))))
        formants = np.exp(random.uniform(np.log(250.0), np.log(0.4 * self.rate), (int(random.integers(2, 5)), 2)))
        glide, breath = random.uniform(-12.0, 12.0, 3), random.uniform(0.0, 0.3)
        size = min(self.length, to_samples(np.exp(random.uniform(np.log(0.06), np.log(0.9))), self.rate))
        start = int(random.integers(max(1, self.length - size)))
        while size > 1 and start < self.length:
            count = min(size, self.length - start)
            along = np.arange(size) / size
            hertz = base * 2.0 ** (np.interp(along, [0.0, 0.5, 1.0], glide) / 12.0)
            centres = np.log2(formants[:, :1] + (formants[:, 1:] - formants[:, :1]) * along)
            phase = 2.0 * np.pi * np.cumsum(hertz) / self.rate
            call = breath * effects.draw_noise(random, max(64, size), 0.5)[:size].astype(np.float64)
            for number in range(1, 1 + min(_MOST_HARMONICS, int(0.45 * self.rate / hertz.max()))):
                octaves = np.log2(number * hertz) - centres
                call += np.exp(-6.0 * octaves**2).sum(axis=0) / np.sqrt(number) * np.sin(number * phase)
            call *= np.minimum(1.0, 12.0 * np.minimum(along, 1.0 - along))
            out[start : start + count] += call[:count].astype(np.float32)
            start += size + int(size * random.exponential(1.0)) if random.random() < 0.7 else self.length
        return out

    def draw_tune(self, random: Random) -> Samples:
        """One instrument, in two of five cases over noise."""
        tune = draw_tune(random, self.rate, self.length)
        if random.random() < 0.4:
            level = effects.db_to_amplitude(random.uniform(-40.0, -10.0)) * np.sqrt(
                max(effects.power(tune), effects.QUIET)
            )
            tune = tune + self.draw_noise(random) * np.float32(level)
        return tune

    def draw_noise(self, random: Random) -> Samples:
        """Coloured noise, in half of the cases band-limited, and in half of the cases varying in level."""
        sound = effects.draw_noise(random, self.length, random.uniform(-0.5, 2.0))
        if random.random() < 0.5:
            low = np.exp(random.uniform(np.log(50.0), np.log(0.2 * self.rate)))
            sound = effects.limit_band(sound, self.rate, low, min(0.48 * self.rate, low * random.uniform(2.0, 20.0)))
        if random.random() < 0.5:
            knots = max(2, int(self.length / self.rate * random.uniform(1.0, 12.0)) + 1)
            levels = effects.db_to_amplitude(1.0) ** random.uniform(-25.0, 0.0, knots)
            sound *= np.interp(np.linspace(0, knots - 1, self.length), np.arange(knots), levels).astype(np.float32)
        return sound

    def draw_between(self, random: Random) -> Samples | None:
        """A pause of a clip, far below its loudest part, repeated. None if no pause is found in a few clips."""
        for _ in range(_TRIES):
            entry = self.entries[int(random.integers(len(self.entries)))]
            size = min(entry.samples, to_samples(_LOOKED_AT_SECONDS, self.rate))
            begin = int(random.integers(entry.samples - size + 1))
            clip = self.dataset.waveform(entry, begin, begin + size).mean(axis=0)
            if (stretch := longest_quiet(clip, self.rate)) is not None:
                first, end = stretch
                sound = effects.fade_edges(clip[first:end], to_samples(FADE_SECONDS, self.rate))
                return np.roll(np.resize(sound, self.length), int(random.integers(self.length)))
        return None


def longest_quiet(clip: Samples, sample_rate: int) -> tuple[int, int] | None:
    """[begin, end) of the longest part of (samples,) that stays far below the loudest; None if that is short."""
    size = max(1, to_samples(_FRAME_SECONDS, sample_rate))
    count = len(clip) // size
    if count < 2:
        return None
    powers = np.square(clip[: count * size], dtype=np.float64).reshape(count, size).mean(axis=1)
    quiet = powers < powers.max() * 10.0 ** (-_QUIET_DB / 10.0)
    edges = np.flatnonzero(np.diff(quiet.astype(np.int8), prepend=0, append=0)).reshape(-1, 2)
    if not len(edges):
        return None
    begin, end = edges[np.argmax(edges[:, 1] - edges[:, 0])]
    # The frames at both ends contain the edges of events.
    begin, end = (begin + 1 if begin else begin), (end - 1 if end < count else end)
    return (int(begin * size), int(end * size)) if (end - begin) * size >= _LEAST_QUIET_SECONDS * sample_rate else None
