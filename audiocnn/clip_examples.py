"""Training examples from recordings that carry one label each: a folder a label."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from audiocnn import augment
from audiocnn.augment import Samples
from audiocnn.dataset import Dataset, Entry
from audiocnn.errors import DatasetError
from audiocnn.mixing import Example, MixSettings, Targets
from audiocnn.units import to_samples


class Clips:
    """Whole recordings with one label each, cut or extended with silence to one length, in all their channels; the
    same interface as Mixer.

    `example` draws at random (training); `clip` takes each once, from its start (validation).
    """

    def __init__(
        self, dataset: Dataset, entries: Sequence[Entry], labels: Sequence[str], settings: MixSettings, seed: int
    ) -> None:
        self.dataset, self.settings, self.seed = dataset, settings, seed
        self.columns = {label: column for column, label in enumerate(labels)}
        self.entries = [entry for entry in entries if entry.label in self.columns and entry.samples > 0]
        self.length = to_samples(settings.seconds, dataset.sample_rate)
        if not self.entries:
            names = ", ".join(labels)
            raise DatasetError(f"{dataset.folder}: no recording is labelled {names}; check labels and split")

    def example(self, epoch: int, index: int) -> Example:
        """A random recording at a random place, gain and noise."""
        random = np.random.default_rng([self.seed, epoch, index])
        entry = self.entries[int(random.integers(len(self.entries)))]
        s = self.settings

        def place(spare: int) -> int:
            return int(random.integers(spare + 1))

        sound = self.fitted(entry, place)
        if random.random() < s.background_share:
            tilt = random.uniform(0.0, 2.0)
            noise = np.stack([augment.coloured_noise(random, self.length, tilt) for _ in sound])
            wanted = np.sqrt(max(augment.power(sound.reshape(-1)), augment.QUIET)) * augment.decibels(
                -random.uniform(*s.snr_db)
            )
            sound = sound + noise * np.float32(wanted)
        sound = np.clip(sound * np.float32(augment.decibels(random.uniform(*s.gain_db))), -1.0, 1.0)
        return Example(sound.astype(np.float32), self.target(entry))

    def clip(self, index: int) -> Example:
        """Recording `index` as it is, in the middle."""
        entry = self.entries[index]
        return Example(self.fitted(entry, lambda spare: spare // 2), self.target(entry))

    def fitted(self, entry: Entry, place: Callable[[int], int]) -> Samples:
        """(channels, length): a cut of the recording, or all of it between silence."""
        whole = self.dataset.samples(entry)
        begin = place(max(0, entry.samples - self.length))
        clip = whole[:, begin : begin + self.length].astype(np.float32) / 32768.0
        out = np.zeros((len(clip), self.length), dtype=np.float32)
        start = place(self.length - clip.shape[1])
        out[:, start : start + clip.shape[1]] = clip
        return out

    def target(self, entry: Entry) -> Targets:
        """(1, labels) one-hot."""
        row = np.zeros((1, len(self.columns)), dtype=np.float32)
        row[0, self.columns[str(entry.label)]] = 1.0
        return row
