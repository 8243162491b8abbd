"""Training examples from recordings with labels of the whole: a folder a label, or a table of labels.

A clip is played at another speed, put at a random place, perhaps blended with another one, and then recorded as
mixtures are: noise, room, telephone, microphone, gain. Which of these, and how much, is said by `[mix]`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from audiocnn import augment
from audiocnn.augment import Random, Samples
from audiocnn.blending import between, mixed_up, mixup_share
from audiocnn.dataset import Dataset, Entry
from audiocnn.errors import DatasetError
from audiocnn.mixing import Example, MixSettings, Targets, microphone
from audiocnn.units import to_samples

DRAWS = 8  # for a clip of another label; where there is hardly any, one of the same is taken
HELD_OUT_SECONDS = 60.0  # of a clip that stops the training early: its middle


class Clips:
    """Whole recordings with their labels, cut or extended with silence to one length, in all their channels; the same
    interface as Mixer.

    An epoch takes each clip once before it takes one twice, in another order every time; with `evenness` above 0 it
    draws them instead: a label's chance goes with its count to the power 1 - evenness. `held_out` gives each as it is.
    `others`: what has none of the labels counts as none of them, instead of being left out; where clips may have
    several, so does what has no label at all.
    """

    def __init__(
        self,
        dataset: Dataset,
        entries: Sequence[Entry],
        labels: Sequence[str],
        settings: MixSettings,
        seed: int,
        evenness: float = 0.0,
        others: bool = False,
    ) -> None:
        self.dataset, self.settings, self.seed = dataset, settings, seed
        self.columns = {label: column for column, label in enumerate(labels)}
        sounding = [entry for entry in entries if (entry.labels or dataset.several) and entry.samples > 0]
        learned = [entry for entry in sounding if self.columns.keys() & set(entry.labels)]
        if not learned:
            names = ", ".join(labels)
            raise DatasetError(f"{dataset.folder}: no recording is labelled {names}; check labels and split")
        self.entries = sounding if others else learned
        self.length = to_samples(settings.seconds, dataset.sample_rate)
        self.chances = self.chances_of(evenness) if evenness else None
        self.order: tuple[tuple[int, int], NDArray[np.int64]] | None = None

    def example(self, epoch: int, index: int) -> Example:
        """A recording at a random place, speed, gain and noise, or two of them."""
        random = np.random.default_rng([self.seed, epoch, index])
        number, s = self.number_of(random, epoch, index), self.settings
        example = self.heard(random, number)
        if random.random() < s.between_share:
            other = self.heard(random, self.unlike(random, number))
            share = float(random.random())
            sound = between(*alike(example.samples, other.samples), share, self.dataset.sample_rate)
            example = joined(example, other, share, sound)
        elif s.mixup:
            other = self.heard(random, self.drawn(random))
            share = mixup_share(random, s.mixup)
            example = joined(example, other, share, mixed_up(*alike(example.samples, other.samples), share))
        return Example(self.recorded(random, example.samples), example.targets, example.span)

    def number_of(self, random: Random, epoch: int, index: int) -> int:
        """Which clip example `index` of an epoch is."""
        if self.chances is not None:
            return self.drawn(random)
        turn, place = divmod(index, len(self.entries))
        if self.order is None or self.order[0] != (epoch, turn):
            self.order = (
                (epoch, turn),
                np.random.default_rng([self.seed, epoch, turn, 1]).permutation(len(self.entries)),
            )
        return int(self.order[1][place])

    def drawn(self, random: Random) -> int:
        """Any clip."""
        if self.chances is None:
            return int(random.integers(len(self.entries)))
        return int(np.searchsorted(self.chances, random.random() * self.chances[-1], "right"))

    def unlike(self, random: Random, number: int) -> int:
        """A clip with other labels."""
        mine = self.entries[number].labels
        drawn = [self.drawn(random) for _ in range(DRAWS)]
        return next((other for other in drawn if self.entries[other].labels != mine), drawn[0])

    def heard(self, random: Random, number: int) -> Example:
        """A cut of a recording, or all of it between silence, at another speed."""
        entry, speed = self.entries[number], random.uniform(*self.settings.speed)
        whole, wanted = self.dataset.samples(entry), round(self.length * speed)
        begin = int(random.integers(max(0, entry.samples - wanted) + 1))
        clip = whole[:, begin : begin + wanted].astype(np.float32) / 32768.0
        clip = np.stack([augment.at_speed(channel, speed) for channel in clip])[:, : self.length]
        start = int(random.integers(self.length - clip.shape[1] + 1))
        out = np.zeros((len(clip), self.length), dtype=np.float32)
        out[:, start : start + clip.shape[1]] = clip
        return Example(out, self.target(entry), (start, start + clip.shape[1]))

    def recorded(self, random: Random, sound: Samples) -> Samples:
        """With noise, a room, a microphone: the same one in all channels, noise of its own in each."""
        s, rate = self.settings, self.dataset.sample_rate
        if random.random() < s.room_share:
            room = augment.room(random, rate, random.uniform(*s.room_seconds), random.uniform(*s.direct_db))
            sound = np.stack([augment.convolved(channel, room) for channel in sound])
        if random.random() < s.background_share:
            tilt = random.uniform(0.0, 2.0)
            noise = np.stack([augment.coloured_noise(random, self.length, tilt) for _ in sound])
            wanted = np.sqrt(max(augment.power(sound.reshape(-1)), augment.QUIET)) * augment.decibels(
                -random.uniform(*s.snr_db)
            )
            sound = sound + noise * np.float32(wanted)
        same = int(random.integers(2**32))
        return np.stack([microphone(np.random.default_rng(same), channel, rate, s) for channel in sound])

    def held_out(self, index: int) -> Example:
        """Recording `index` as it is, as `classify` hears it; of a very long one the middle."""
        entry, length = self.entries[index], self.held_out_length(index)
        begin = (entry.samples - length) // 2
        samples = self.dataset.samples(entry)[:, begin : begin + length].astype(np.float32) / 32768.0
        return Example(samples, self.target(entry))

    def held_out_length(self, index: int) -> int:
        """How many samples that has, without reading it."""
        return min(self.entries[index].samples, to_samples(HELD_OUT_SECONDS, self.dataset.sample_rate))

    def target(self, entry: Entry) -> Targets:
        """(1, labels): 1 for each label that it has."""
        row = np.zeros((1, len(self.columns)), dtype=np.float32)
        row[0, [self.columns[label] for label in entry.labels if label in self.columns]] = 1.0
        return row

    def chances_of(self, evenness: float) -> NDArray[np.float64]:
        """(clips,) cumulative: what each clip is drawn by, the largest weight among its labels; a clip with none of the
        labels counts as often as those of the most frequent."""
        weights = np.maximum(self.counts(), 1).astype(np.float64) ** -evenness
        least = float(weights.min())
        of_label = {label: float(weights[column]) for label, column in self.columns.items()}
        own = [
            max((of_label[name] for name in entry.labels if name in of_label), default=least) for entry in self.entries
        ]
        return np.cumsum(own)

    def targets(self) -> Targets:
        """(clips, labels) of all."""
        rows = np.zeros((len(self.entries), len(self.columns)), dtype=np.float32)
        for row, entry in zip(rows, self.entries, strict=True):
            row[[self.columns[label] for label in entry.labels if label in self.columns]] = 1.0
        return rows

    def counts(self) -> NDArray[np.int64]:
        """(labels,): how many clips have each."""
        counts = np.zeros(len(self.columns), dtype=np.int64)
        for entry in self.entries:
            counts[[self.columns[label] for label in entry.labels if label in self.columns]] += 1
        return counts


class HeldOut(Sequence[Example]):
    """The clips that stop a training early, or every n-th of them, read when they are wanted: thousands of them need no
    memory."""

    def __init__(self, clips: Clips, every: int = 1) -> None:
        self.clips, self.numbers = clips, range(0, len(clips.entries), every)

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> Example:  # type: ignore[override]
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.clips.held_out(self.numbers[index])

    def lengths(self) -> list[int]:
        """Samples of each."""
        return [self.clips.held_out_length(number) for number in self.numbers]

    def targets(self) -> Targets:
        """(clips, labels)."""
        return self.clips.targets()[:: self.numbers.step]


def alike(first: Samples, second: Samples) -> tuple[Samples, Samples]:
    """Two clips in as many channels: where they differ, mono."""
    if len(first) == len(second):
        return first, second
    return first.mean(axis=0, keepdims=True), second.mean(axis=0, keepdims=True)


def joined(first: Example, second: Example, share: float, samples: Samples) -> Example:
    """Two clips as one: labels by their shares, from where the first of them begins to where the last ends."""
    targets = np.float32(share) * first.targets + np.float32(1.0 - share) * second.targets
    spans = [span for span in (first.span, second.span) if span]
    span = (min(start for start, _ in spans), max(stop for _, stop in spans))
    return Example(samples, targets.astype(np.float32), span)
