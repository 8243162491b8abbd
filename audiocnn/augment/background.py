"""Backgrounds of mixtures: recordings, coloured noise, or synthetic sounds.

`Backgrounds` draws them. If they have labels, the labels follow the audio through every change: speed, reversal,
looping, cutting. Synthetic sounds (tones, strokes and gusts, drawn at random) have the pitch, harmonics or rhythm of a
voice, one or two of these at a time, but never a sequence of vowels. They are needed because a few hours of recordings
contain few instruments and machines, which a network learns by heart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audiocnn.audio.pcm import Samples
from audiocnn.augment import effects
from audiocnn.augment.effects import Random
from audiocnn.augment.hard_negatives import HardNegativeSampler, read_hard_negatives
from audiocnn.augment.settings import MixSettings
from audiocnn.data.dataset import Dataset, Entry
from audiocnn.units import to_samples

LOWEST_HERTZ, HIGHEST_HERTZ = 40.0, 3000.0
_MOST_PARTIALS = 30


def synthesize_sound(random: Random, sample_rate: int, seconds: float) -> Samples:
    """(samples,) of one synthetic sound, with power 1."""
    samples = max(2, int(seconds * sample_rate))
    kind = (_synthesize_tone, _synthesize_stroke, _synthesize_gust)[int(random.integers(3))]
    sound = kind(random, sample_rate, samples) * _draw_envelope(random, sample_rate, samples)
    return np.asarray(sound / np.sqrt(max(effects.power(sound), effects.QUIET)), dtype=np.float32)


def _synthesize_tone(random: Random, sample_rate: int, samples: int) -> Samples:
    """Harmonics of one pitch (or of a chord) that is steady, glides, wavers or jumps, with fixed resonances."""
    sound = np.zeros(samples, dtype=np.float32)
    base = np.exp(random.uniform(np.log(LOWEST_HERTZ), np.log(HIGHEST_HERTZ / 2)))
    steps = random.choice([0, 3, 4, 5, 7, 12, 16, 19], size=int(random.integers(1, 4)), replace=False)
    slope, even = random.uniform(0.3, 2.0), random.random() < 0.7
    centres = np.exp(random.uniform(np.log(200.0), np.log(0.4 * sample_rate), 3))
    strength = random.uniform(0.0, 3.0)
    for step in steps:
        hertz = _draw_pitch(random, sample_rate, samples, float(base * 2.0 ** (step / 12.0)))
        phase = np.cumsum(2.0 * np.pi / sample_rate * hertz)
        top = int(min(_MOST_PARTIALS, 0.45 * sample_rate / max(float(hertz.max()), 1.0)))
        for number in range(1, max(1, top) + 1):
            if number % 2 == 0 and not even:
                continue
            octaves = np.log2(number * base / centres)
            gain = number**-slope * (1.0 + strength * float(np.exp(-8.0 * octaves**2).sum()))
            sound += np.float32(gain) * np.sin(number * phase + random.uniform(0.0, 6.3)).astype(np.float32)
    return sound


def _draw_pitch(random: Random, sample_rate: int, samples: int, hertz: float) -> Samples:
    """(samples,) in Hz: steady, a glide, vibrato, steps like those of an arpeggio, or a random walk."""
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


def _synthesize_stroke(random: Random, sample_rate: int, samples: int) -> Samples:
    """Decaying modes, as of metal, wood or a string, struck once or several times."""
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


def _synthesize_gust(random: Random, sample_rate: int, samples: int) -> Samples:
    """Noise in a band: a scrape, a hiss, a wave."""
    noise = effects.draw_noise(random, samples, random.uniform(-1.0, 2.0))
    low = np.exp(random.uniform(np.log(50.0), np.log(0.2 * sample_rate)))
    return effects.limit_band(noise, sample_rate, low, min(0.48 * sample_rate, low * random.uniform(1.5, 12.0)))


def _draw_envelope(random: Random, sample_rate: int, samples: int) -> Samples:
    """(samples,) from 0 to 1: an attack and a decay, in half of the cases repeated in a rhythm of 1 to 20 beats a
    second."""
    seconds = np.arange(samples) / sample_rate
    attack = np.exp(random.uniform(np.log(0.002), np.log(0.3)))
    shape = np.minimum(1.0, seconds / attack) * np.minimum(1.0, (seconds[-1] - seconds) / random.uniform(0.005, 0.3))
    if random.random() < 0.5:
        shape = shape * np.exp(-seconds / np.exp(random.uniform(np.log(0.1), np.log(3.0))))
    if random.random() < 0.5:
        beat = 0.5 + 0.5 * np.sin(2.0 * np.pi * random.uniform(1.0, 20.0) * seconds + random.uniform(0.0, 6.3))
        shape = shape * (1.0 - random.uniform(0.3, 1.0) * (1.0 - beat ** random.uniform(0.5, 3.0)))
    return np.asarray(shape, dtype=np.float32)


ActiveMask = NDArray[np.bool_]
MarkedSpan = tuple[int, int, int]  # label column, onset, offset in samples
FADE_SECONDS = 0.005
_NOISE_BANK_SECONDS = 20.0
_MADE_SECONDS = (0.1, 2.5)


@dataclass(frozen=True)
class Background:
    """samples: float32 (n,). active: (labels, n), true where a label is active."""

    samples: Samples
    active: ActiveMask

    @property
    def level(self) -> float:
        """Root mean square where a label is active, or of everything if none is."""
        inside = self.active.any(axis=0)
        power = effects.power(self.samples[inside] if inside.any() else self.samples)
        return float(np.sqrt(max(power, effects.QUIET)))

    def cut(self, start: int, stop: int) -> Background:
        return Background(self.samples[start:stop], self.active[:, start:stop])

    def fade(self, edge_samples: int) -> Background:
        return Background(effects.fade_edges(self.samples, edge_samples), self.active)

    def change_speed(self, speed: float) -> Background:
        samples = effects.change_speed(self.samples, speed)
        from_index = np.minimum((np.arange(len(samples)) * speed).astype(np.int64), len(self.samples) - 1)
        return Background(samples, self.active[:, from_index])

    def reverse(self) -> Background:
        return Background(self.samples[::-1], self.active[:, ::-1])

    def loop(self, gap_samples: int, length: int, shift: int) -> Background:
        """Repeated with silent gaps to `length` samples, and rolled by `shift`."""
        gap = np.zeros(gap_samples, dtype=np.float32)
        samples = np.resize(np.concatenate([self.samples, gap]), length)
        silent = np.zeros((len(self.active), gap_samples), dtype=bool)
        round_once = np.concatenate([self.active, silent], axis=1)
        if not round_once.size:
            return Background(samples, np.zeros((len(self.active), length), dtype=bool))
        active = round_once[:, np.arange(length) % round_once.shape[1]]
        return Background(np.roll(samples, shift), np.roll(active, shift, axis=1))


class Sampler:
    """Draws recordings. Every second of audio is equally likely; with the column `balance`, each value of the column is
    drawn in proportion to the square root of its seconds, so that a large source does not dominate small ones."""

    def __init__(self, dataset: Dataset, entries: Sequence[Entry], balance: str) -> None:
        self.entries = list(entries)
        seconds = np.array([dataset.duration_seconds(entry) for entry in self.entries])
        self.seconds = float(seconds.sum())
        if balance:
            names = np.array([entry.tags.get(balance, "") for entry in self.entries])
            for name in np.unique(names):
                seconds[names == name] /= np.sqrt(seconds[names == name].sum())
        self.cumulative = np.cumsum(seconds)

    def draw(self, random: Random) -> Entry:
        return self.entries[int(np.searchsorted(self.cumulative, random.random() * self.cumulative[-1], "right"))]


class Backgrounds:
    """Draws backgrounds. samplers: samplers of recordings, by the label that they carry, "" for none."""

    def __init__(
        self,
        dataset: Dataset,
        samplers: Mapping[str, Sampler],
        marks: Mapping[int, Sequence[MarkedSpan]],
        labels: Mapping[str, int],
        settings: MixSettings,
        bank: Random,
    ) -> None:
        self.dataset, self.marks, self.labels, self.settings = dataset, marks, labels, settings
        self.rate = dataset.sample_rate
        self.length = to_samples(settings.seconds, self.rate)
        self.names, self.samplers = list(samplers), list(samplers.values())
        # In proportion to the square root of the seconds, so that much noise does not dominate a little music.
        weights = np.sqrt([sampler.seconds for sampler in self.samplers])
        self.chances = weights / weights.sum() if len(weights) else weights
        size = to_samples(_NOISE_BANK_SECONDS, self.rate)
        self.hard: dict[str, HardNegativeSampler] = {}
        for name, sampler in samplers.items() if settings.hard_negatives and settings.hard_share else ():
            if stretches := read_hard_negatives(Path(settings.hard_negatives), dataset, sampler.entries):
                self.hard[name] = HardNegativeSampler(stretches)
        self.coloured = [effects.draw_noise(bank, size, slope) for slope in np.linspace(-0.5, 2.0, 6)]

    def draw(self, random: Random, other_than: str | None = None) -> tuple[Background, str]:
        """A background as long as the mixture, and the label that it was drawn for. It is a recording, repeated if it
        is short, or coloured noise."""
        s = self.settings
        if not self.samplers or (random.random() < s.coloured_share and other_than != s.coloured_label):
            return self.draw_noise(random), s.coloured_label
        name, sampler = self.draw_sampler(random, other_than)
        clip = self.draw_clip(random, name, sampler).fade(to_samples(FADE_SECONDS, self.rate))
        if len(clip.samples) >= self.length:
            return clip.cut(0, self.length), name
        gap = int(random.uniform(0.0, 0.5) * self.rate)
        return clip.loop(gap, self.length, int(random.integers(self.length))), name

    def draw_noise(self, random: Random) -> Background:
        """Coloured noise. It carries `coloured_label`, if set."""
        bank = self.coloured[random.integers(len(self.coloured))]
        start = int(random.integers(0, max(1, len(bank) - self.length)))
        active = np.zeros((len(self.labels), self.length), dtype=bool)
        if self.settings.coloured_label:
            active[self.labels[self.settings.coloured_label]] = True
        return Background(np.resize(bank[start : start + self.length], self.length), active)

    def draw_sampler(self, random: Random, other_than: str | None = None) -> tuple[str, Sampler]:
        """A label and its sampler, if possible for another label than `other_than`. With a single candidate, no random
        number is drawn."""
        at = [number for number, name in enumerate(self.names) if name != other_than] or list(range(len(self.names)))
        if len(at) == 1:
            return self.names[at[0]], self.samplers[at[0]]
        chances = np.cumsum(self.chances[at])
        number = at[min(int(np.searchsorted(chances, random.random() * chances[-1], "right")), len(at) - 1)]
        return self.names[number], self.samplers[number]

    def draw_clip(self, random: Random, name: str, sampler: Sampler) -> Background:
        """A cut of a recording at another speed, sometimes reversed. A hard negative is contained in the cut as far as
        it fits."""
        s = self.settings
        hard = self.hard[name].draw(random) if name in self.hard and random.random() < s.hard_share else None
        entry = hard.entry if hard else sampler.draw(random)
        speed = random.uniform(*s.background_speed)
        wanted = int(self.length * speed) + 1
        first, last = 0, max(0, entry.samples - wanted)
        if hard:
            ends = sorted((hard.onset, hard.offset - wanted))
            first, last = (int(np.clip(end, first, last)) for end in ends)
        begin = int(random.integers(first, last)) if first < last else first
        samples = self.dataset.waveform(entry, begin, begin + wanted, in_scale=True)[0]
        active = np.zeros((len(self.labels), len(samples)), dtype=bool)
        for column, onset, offset in self.marks[entry.id]:
            active[column, max(0, onset - begin) : max(0, offset - begin)] = True
        played = Background(samples, active).change_speed(speed)
        return played.reverse() if random.random() < s.reversed_share else played

    def synthesize(self, random: Random) -> Background:
        sound = synthesize_sound(random, self.rate, random.uniform(*_MADE_SECONDS))
        return Background(sound, np.zeros((len(self.labels), len(sound)), dtype=bool))

    def draw_events(self, random: Random) -> Background:
        """Recordings placed like foreground recordings: one after another, separated by silence, each at its own level.
        Unlike looped backgrounds, they have onsets and offsets."""
        s, fade = self.settings, to_samples(FADE_SECONDS, self.rate)
        out = np.zeros(self.length, dtype=np.float32)
        active = np.zeros((len(self.labels), self.length), dtype=bool)
        at = -int(random.uniform(0.0, 0.5) * self.rate)
        while at < self.length and self.samplers:
            at += to_samples(random.uniform(*s.gap_seconds), self.rate) * int(random.random() < 0.7)
            made = s.made_share > 0 and random.random() < s.made_share
            clip = self.synthesize(random) if made else self.draw_clip(random, *self.draw_sampler(random))
            start, stop = max(0, at), min(self.length, at + len(clip.samples))
            if stop - start > fade:
                cut = clip.cut(start - at, stop - at).fade(fade)
                gain = 0.1 * effects.db_to_amplitude(random.uniform(*s.level_db)) / max(cut.level, 1e-4)
                out[start:stop] += cut.samples * np.float32(min(gain, 100.0))
                active[:, start:stop] |= cut.active
            at += max(1, len(clip.samples))
        return Background(out, active)
