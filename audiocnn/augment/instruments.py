"""Synthetic instruments, for sounds that carry none of the labels: a note, a melody or chords of one instrument.

Strings, pipes, bells and synthesisers are made of harmonics with body resonances, slightly stretched like those of
stiff strings (Fletcher and Rossing 1998, "The Physics of Musical Instruments"), or by frequency modulation (Chowning
1973, "The Synthesis of Complex Audio Spectra by Means of Frequency Modulation"). Notes are either struck and decay, or
are held.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audiocnn.audio.pcm import Samples
from audiocnn.augment import effects
from audiocnn.augment.effects import Random
from audiocnn.units import to_samples

_ROOT_HERTZ = (45.0, 1500.0)  # of the base note of a melody
_MOST_PARTIALS, _HIGHEST_SHARE = 40, 0.45  # highest partial, as a share of the sample rate
_STEPS = (-5, -3, 0, 2, 4, 5, 7, 9, 12, 16)  # semitones from the base note
_RATIOS = (0.5, 1.0, 1.41, 2.0, 3.0)  # ratios of modulator to carrier frequency
_NOTE_SECONDS = (0.08, 0.3)  # the minimum, and the lower limit of the maximum


@dataclass(frozen=True)
class Instrument:
    """The sound of one instrument, in seconds, hertz and semitones.

    modulated: synthesised by frequency modulation with this index and ratio instead of by partials. struck: the note
    decays. odd: without even harmonics. slope: partial n has amplitude n to the power -slope. stiffness: of the string.
    damping: how much faster high partials decay. body: the resonances.
    """

    modulated: bool
    struck: bool
    odd: bool
    slope: float
    stiffness: float
    damping: float
    decay_seconds: float
    attack_seconds: float
    release_seconds: float
    vibrato_semitones: float
    vibrato_hertz: float
    bend_semitones: float
    ratio: float
    index: float
    body_hertz: NDArray[np.float64]

    @classmethod
    def draw(cls, random: Random, sample_rate: int) -> Instrument:
        return cls(
            modulated=random.random() < 0.3,
            struck=random.random() < 0.55,
            odd=random.random() < 0.2,
            slope=random.uniform(0.2, 1.8),
            stiffness=_draw_even(random, 1e-6, 3e-3),
            damping=_draw_even(random, 0.02, 0.5),
            decay_seconds=_draw_even(random, 0.08, 3.0),
            attack_seconds=_draw_even(random, 0.002, 0.2),
            release_seconds=random.uniform(0.01, 0.3),
            vibrato_semitones=random.uniform(0.05, 0.6) * float(random.random() < 0.5),
            vibrato_hertz=random.uniform(3.0, 8.0),
            bend_semitones=random.uniform(-4.0, 4.0) * float(random.random() < 0.33),
            ratio=float(random.choice(_RATIOS)) if random.random() < 0.8 else random.uniform(0.3, 5.0),
            index=random.uniform(0.3, 6.0),
            body_hertz=np.exp(random.uniform(np.log(150.0), np.log(0.35 * sample_rate), int(random.integers(1, 4)))),
        )

    def note(self, random: Random, hertz: float, seconds: float, sample_rate: int) -> Samples:
        """(samples,) of one note."""
        along = np.arange(max(2, to_samples(seconds, sample_rate))) / sample_rate
        vibrato = self.vibrato_semitones * np.sin(2.0 * np.pi * self.vibrato_hertz * along + random.uniform(0.0, 6.3))
        semitones = vibrato * np.minimum(1.0, along / 0.3) + self.bend_semitones * np.exp(-along / 0.05)
        phase = 2.0 * np.pi * np.cumsum(hertz * 2.0 ** (semitones / 12.0)) / sample_rate
        fading = np.exp(-along / self.decay_seconds) if self.struck else np.ones(len(along))
        make = self._modulated if self.modulated else self._partials
        wave = make(random, hertz, phase, fading, sample_rate)
        shape = np.minimum(1.0, along / self.attack_seconds) * np.minimum(
            1.0, (along[-1] - along) / self.release_seconds
        )
        return np.asarray(wave * shape, dtype=np.float32)

    def _modulated(
        self, random: Random, hertz: float, phase: NDArray[np.float64], fading: NDArray[np.float64], sample_rate: int
    ) -> NDArray[np.float64]:
        highest = hertz * (1.0 + self.ratio * (1.0 + self.index))  # Carson's rule
        index = self.index if highest < _HIGHEST_SHARE * sample_rate else 0.0
        wave: NDArray[np.float64] = fading * np.sin(phase + index * fading * np.sin(self.ratio * phase))
        return wave

    def _partials(
        self, random: Random, hertz: float, phase: NDArray[np.float64], fading: NDArray[np.float64], sample_rate: int
    ) -> NDArray[np.float64]:
        wave = np.zeros(len(phase))
        for number in range(1, _MOST_PARTIALS + 1, 2 if self.odd else 1):
            ratio = number * np.sqrt(1.0 + self.stiffness * number**2)
            if ratio * hertz > _HIGHEST_SHARE * sample_rate:
                break
            octaves = np.log2(ratio * hertz / self.body_hertz)
            gain = number**-self.slope * (0.15 + np.exp(-4.0 * octaves**2).sum())
            wave += gain * fading ** (1.0 + self.damping * number) * np.sin(ratio * phase + random.uniform(0.0, 6.3))
        return wave


def draw_tune(random: Random, sample_rate: int, length: int) -> Samples:
    """(length,) samples of one instrument: a note, which may be cut off, a melody, or chords."""
    out = np.zeros(length, dtype=np.float32)
    seconds = length / sample_rate
    instrument = Instrument.draw(random, sample_rate)
    lowest, highest = _ROOT_HERTZ
    root = _draw_even(random, lowest, min(highest, 0.1 * sample_rate))
    shortest, least = _NOTE_SECONDS
    lasts = _draw_even(random, shortest, max(least, 2.0 * seconds))
    begun = random.random() < 0.5
    at = -random.uniform(0.0, min(lasts, seconds)) if begun else random.uniform(0.0, 0.5 * seconds)
    chords, more = random.random() < 0.3, random.random() < 0.6
    while at < seconds:
        for step in random.choice(_STEPS, size=int(random.integers(2, 4)) if chords else 1, replace=False):
            hertz = float(np.clip(root * 2.0 ** (step / 12.0), lowest / 2.0, 0.2 * sample_rate))
            note = instrument.note(random, hertz, min(lasts, 2.5 * seconds), sample_rate)
            start = round(at * sample_rate)
            heard = note[max(0, -start) :][: length - max(0, start)]
            out[max(0, start) : max(0, start) + len(heard)] += heard * np.float32(random.uniform(0.4, 1.0))
        if not more:
            break
        at += lasts * random.uniform(0.5, 1.2)
    if random.random() < 0.3:
        room = effects.draw_room(random, sample_rate, random.uniform(0.1, 1.0), random.uniform(-3.0, 10.0))
        out = effects.convolve(out, room)
    return out


def _draw_even(random: Random, least: float, most: float) -> float:
    """Draw evenly on a logarithmic scale."""
    return float(np.exp(random.uniform(np.log(least), np.log(most))))
