"""What sounds behind the foreground of a mixture: recordings or coloured noise, with their own labels if they have any.

Marks go along with the sound through every change of it: played at another speed, backwards, looped, cut.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from audiocnn import augment
from audiocnn.augment import Random, Samples
from audiocnn.dataset import Dataset
from audiocnn.errors import RecipeError, did_you_mean
from audiocnn.made_sounds import made_sound
from audiocnn.units import to_samples

if TYPE_CHECKING:
    from audiocnn.mixing import MixSettings, Pile

Active = NDArray[np.bool_]
Mark = tuple[int, int, int]  # label column, onset, offset in samples
FADE_SECONDS = 0.005
NOISE_BANK_SECONDS = 20.0
MADE_SECONDS = (0.1, 2.5)


@dataclass(frozen=True)
class Background:
    """samples float32 (n,), active (labels, n): where each label sounds."""

    samples: Samples
    active: Active

    @property
    def level(self) -> float:
        """Root mean square where a label sounds; of the whole where none does."""
        inside = self.active.any(axis=0)
        power = augment.power(self.samples[inside] if inside.any() else self.samples)
        return float(np.sqrt(max(power, augment.QUIET)))

    def cut(self, start: int, stop: int) -> Background:
        """[start, stop), with short ramps at both ends."""
        return Background(self.samples[start:stop], self.active[:, start:stop])

    def faded(self, edge_samples: int) -> Background:
        """With a short ramp at both ends."""
        return Background(augment.faded(self.samples, edge_samples), self.active)

    def at_speed(self, speed: float) -> Background:
        """Played faster or slower."""
        samples = augment.at_speed(self.samples, speed)
        from_index = np.minimum((np.arange(len(samples)) * speed).astype(np.int64), len(self.samples) - 1)
        return Background(samples, self.active[:, from_index])

    def backwards(self) -> Background:
        """From its end to its beginning."""
        return Background(self.samples[::-1], self.active[:, ::-1])

    def looped(self, gap_samples: int, length: int, shift: int) -> Background:
        """Again and again with gaps between, for `length` samples, rolled on by `shift`; in the gaps nothing sounds."""
        gap = np.zeros(gap_samples, dtype=np.float32)
        samples = np.resize(np.concatenate([self.samples, gap]), length)
        silent = np.zeros((len(self.active), gap_samples), dtype=bool)
        round_once = np.concatenate([self.active, silent], axis=1)
        if not round_once.size:
            return Background(samples, np.zeros((len(self.active), length), dtype=bool))
        active = round_once[:, np.arange(length) % round_once.shape[1]]
        return Background(np.roll(samples, shift), np.roll(active, shift, axis=1))


class Backgrounds:
    """Draws backgrounds. `piles` holds the recordings by the label they carry, "" for those without any."""

    def __init__(
        self,
        dataset: Dataset,
        piles: Mapping[str, Pile],
        marks: Mapping[int, Sequence[Mark]],
        labels: Mapping[str, int],
        settings: MixSettings,
        bank: Random,
    ) -> None:
        self.dataset, self.marks, self.labels, self.settings = dataset, marks, labels, settings
        self.rate = dataset.sample_rate
        self.length = to_samples(settings.seconds, self.rate)
        self.names, self.piles = list(piles), list(piles.values())
        # By the root of the seconds, as within a pile: much noise does not drown a little music.
        weights = np.sqrt([pile.seconds for pile in self.piles])
        self.chances = weights / weights.sum() if len(weights) else weights
        size = to_samples(NOISE_BANK_SECONDS, self.rate)
        self.coloured = [augment.coloured_noise(bank, size, slope) for slope in np.linspace(-0.5, 2.0, 6)]

    def behind(self, random: Random, other_than: str | None = None) -> tuple[Background, str]:
        """A background of the length of the mixture, and the label it was drawn for: a recording, repeated if it is
        short, or coloured noise."""
        s = self.settings
        if not self.piles or (random.random() < s.coloured_share and other_than != s.coloured_label):
            return self.hiss(random), s.coloured_label
        name, pile = self.drawn(random, other_than)
        clip = self.clip(random, pile).faded(to_samples(FADE_SECONDS, self.rate))
        if len(clip.samples) >= self.length:
            return clip.cut(0, self.length), name
        gap = int(random.uniform(0.0, 0.5) * self.rate)
        return clip.looped(gap, self.length, int(random.integers(self.length))), name

    def hiss(self, random: Random) -> Background:
        """Coloured noise; it carries `coloured_label`, if that is given."""
        bank = self.coloured[random.integers(len(self.coloured))]
        start = int(random.integers(0, max(1, len(bank) - self.length)))
        active = np.zeros((len(self.labels), self.length), dtype=bool)
        if self.settings.coloured_label:
            active[self.labels[self.settings.coloured_label]] = True
        return Background(np.resize(bank[start : start + self.length], self.length), active)

    def drawn(self, random: Random, other_than: str | None = None) -> tuple[str, Pile]:
        """A pile, if possible of another label; of one alone nothing is drawn."""
        at = [number for number, name in enumerate(self.names) if name != other_than] or list(range(len(self.names)))
        if len(at) == 1:
            return self.names[at[0]], self.piles[at[0]]
        chances = np.cumsum(self.chances[at])
        number = at[min(int(np.searchsorted(chances, random.random() * chances[-1], "right")), len(at) - 1)]
        return self.names[number], self.piles[number]

    def clip(self, random: Random, pile: Pile) -> Background:
        """A cut of a recording, at another speed, sometimes backwards: it stays what it is."""
        s, entry = self.settings, pile.draw(random)
        speed = random.uniform(*s.background_speed)
        wanted = int(self.length * speed) + 1
        begin = int(random.integers(0, entry.samples - wanted)) if entry.samples > wanted else 0
        samples = self.dataset.samples(entry)[0, begin : begin + wanted].astype(np.float32) / 32768.0
        active = np.zeros((len(self.labels), len(samples)), dtype=bool)
        for column, onset, offset in self.marks[entry.id]:
            active[column, max(0, onset - begin) : max(0, offset - begin)] = True
        played = Background(samples, active).at_speed(speed)
        return played.backwards() if random.random() < s.reversed_share else played

    def made(self, random: Random) -> Background:
        """A sound that nobody recorded; it carries no label."""
        sound = made_sound(random, self.rate, random.uniform(*MADE_SECONDS))
        return Background(sound, np.zeros((len(self.labels), len(sound)), dtype=bool))

    def events(self, random: Random) -> Background:
        """Recordings as voices are placed: one after another, out of silence, each at a level of its own. Behind a
        voice, looped, a sound has neither beginning nor end; a recording of it has both."""
        s, fade = self.settings, to_samples(FADE_SECONDS, self.rate)
        out = np.zeros(self.length, dtype=np.float32)
        active = np.zeros((len(self.labels), self.length), dtype=bool)
        at = -int(random.uniform(0.0, 0.5) * self.rate)
        while at < self.length and self.piles:
            at += to_samples(random.uniform(*s.gap_seconds), self.rate) * int(random.random() < 0.7)
            made = s.made_share > 0 and random.random() < s.made_share
            clip = self.made(random) if made else self.clip(random, self.drawn(random)[1])
            start, stop = max(0, at), min(self.length, at + len(clip.samples))
            if stop - start > fade:
                cut = clip.cut(start - at, stop - at).faded(fade)
                gain = 0.1 * augment.decibels(random.uniform(*s.level_db)) / max(cut.level, 1e-4)
                out[start:stop] += cut.samples * np.float32(min(gain, 100.0))
                active[:, start:stop] |= cut.active
            at += max(1, len(clip.samples))
        return Background(out, active)


def check_backgrounds(settings: MixSettings, labels: Sequence[str], place: str) -> None:
    """Refuse labels of `[mix]` that are not learned, and backgrounds that leave no label to stand in front."""
    for key, names in (
        ("background_labels", settings.background_labels),
        ("coloured_label", (settings.coloured_label,)),
    ):
        for name in names:
            if name and name not in labels:
                raise RecipeError(f'{place}: "{key}": "{name}" is not learned; {did_you_mean(name, labels)}')
    if settings.background_labels and settings.made_share:
        raise RecipeError(
            f'{place}: "made_share": made sounds have no label, and "background_labels" wants one; take 0'
        )
    if settings.background_labels and set(labels) <= set(settings.background_labels):
        raise RecipeError(f'{place}: "background_labels" names every label; leave out one that stands in front')
