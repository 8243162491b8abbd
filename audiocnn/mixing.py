"""Training examples made on the fly: what carries labels, with random gaps, over what does not.

A dataset's annotated recordings fall into two kinds by themselves: foreground (some stretch has one of the labels) and
background (none has, or none but `background_labels`). An example of `seconds` takes foreground recordings one after
another with gaps, adds background or coloured noise at an SNR drawn from a range, and sends it through a room, a
telephone, an overloaded input. Example `index` of epoch `epoch` depends on the seed and these two numbers alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiocnn import augment
from audiocnn.augment import Random, Samples
from audiocnn.backgrounds import FADE_SECONDS, Active, Backgrounds, check_backgrounds
from audiocnn.dataset import Dataset, Entry
from audiocnn.errors import DatasetError
from audiocnn.units import to_samples

Targets = NDArray[np.float32]
ROOMS = 64
CREST_DB = 10.0  # the loudest 5 ms of a voice over its mean


@dataclass(frozen=True)
class MixSettings:
    """The `[mix]` of a recipe. Shares are probabilities; ranges are drawn from evenly; levels in dB."""

    seconds: float = 4.0
    foreground_share: float = 0.78
    gap_seconds: tuple[float, float] = (0.0, 1.5)
    level_db: tuple[float, float] = (-8.0, 6.0)
    audible_db: tuple[float, float] = (120.0, 120.0)
    speed: tuple[float, float] = (0.9, 1.1)
    overlap_share: float = 0.15
    background_share: float = 0.9
    coloured_share: float = 0.15
    background_speed: tuple[float, float] = (0.7, 1.4)
    reversed_share: float = 0.3
    background_labels: tuple[str, ...] = ()
    coloured_label: str = ""
    second_share: float = 0.15
    heard_db: float = 25.0
    event_share: float = 0.3
    made_share: float = 0.0
    snr_db: tuple[float, float] = (-5.0, 30.0)
    murmur_share: float = 0.4
    murmur_db: tuple[float, float] = (18.0, 40.0)
    gain_db: tuple[float, float] = (-22.0, 6.0)
    room_share: float = 0.45
    room_seconds: tuple[float, float] = (0.1, 0.8)
    direct_db: tuple[float, float] = (-3.0, 12.0)
    telephone_share: float = 0.15
    tilt_db: float = 3.0
    clip_share: float = 0.15
    clip_peak: tuple[float, float] = (0.05, 0.7)
    equaliser_db: float = 10.0
    band_masks: int = 1
    band_mask_width: float = 0.15
    band_warp: tuple[float, float] = (1.0, 1.0)
    time_masks: int = 0
    time_mask_width: float = 0.15
    mixup: float = 0.0
    between_share: float = 0.0
    balance: str = ""


# What is otherwise where whole clips are learned, and the recipe does not say: a clip has its noise and its room in it,
# and often it is a sound that a telephone or a band of 10 dB would make another one.
CLIP_MIX: dict[str, Any] = {
    "background_share": 0.3,
    "snr_db": (10.0, 40.0),
    "gain_db": (-12.0, 6.0),
    "room_share": 0.0,
    "telephone_share": 0.0,
    "tilt_db": 0.0,
    "clip_share": 0.0,
    "equaliser_db": 6.0,
    "time_masks": 1,
}


@dataclass(frozen=True)
class Example:
    """One mixture: samples float32 (channels, samples), targets float32 (rows, labels) in {0, 1}.

    span: [start, stop) in samples, where a clip is between silence; its score is that of the positions there.
    """

    samples: NDArray[np.float32]
    targets: Targets
    span: tuple[int, int] | None = None


class Pile:
    """Recordings to draw from: each second of the pile equally likely, or each value of `balance` by the square root
    of its seconds, so that a large source does not drown the small ones."""

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
        """A recording."""
        return self.entries[int(np.searchsorted(self.cumulative, random.random() * self.cumulative[-1], "right"))]


class Mixer:
    """Makes examples from the entries of a dataset. Mono; a network of more channels gets the same in each."""

    def __init__(
        self,
        dataset: Dataset,
        entries: Sequence[Entry],
        labels: Sequence[str],
        settings: MixSettings,
        hop_samples: int,
        seed: int,
    ) -> None:
        self.dataset, self.settings, self.seed = dataset, settings, seed
        self.labels = {label: column for column, label in enumerate(labels)}
        self.rate, self.hop_samples = dataset.sample_rate, hop_samples
        self.length = to_samples(settings.seconds, self.rate)
        annotated = [entry for entry in entries if entry.annotated and entry.samples > 0]
        self.marks = {entry.id: self.known(entry) for entry in annotated}
        check_backgrounds(settings, labels, f"{dataset.folder}: [mix]")
        behind = {self.labels[label] for label in settings.background_labels}
        columns = {entry.id: {column for column, _, _ in self.marks[entry.id]} for entry in annotated}
        foreground = [entry for entry in annotated if columns[entry.id] - behind]
        background = [entry for entry in annotated if not columns[entry.id] - behind]
        if not foreground:
            names = ", ".join(label for label in labels if label not in settings.background_labels)
            raise DatasetError(f"{dataset.folder}: no recording has a stretch labelled {names}; check labels and split")
        self.foreground = Pile(dataset, foreground, settings.balance)
        self.background = Pile(dataset, background, settings.balance) if background else None
        kinds: dict[str, list[Entry]] = {}
        for entry in background:
            kinds.setdefault(labels[min(columns[entry.id])] if columns[entry.id] else "", []).append(entry)
        piles = {name: Pile(dataset, kinds[name], settings.balance) for name in sorted(kinds)}
        bank = np.random.default_rng([seed, 0x6E6F])
        self.backgrounds = Backgrounds(dataset, piles, self.marks, self.labels, settings, bank)
        self.rooms = [self.new_room(bank) for _ in range(ROOMS)]

    def new_room(self, random: Random) -> Samples:
        """A room of the bank."""
        s = self.settings
        return augment.room(random, self.rate, random.uniform(*s.room_seconds), random.uniform(*s.direct_db))

    def known(self, entry: Entry) -> list[tuple[int, int, int]]:
        """(label column, onset, offset) in samples, of the labels that are learned."""
        return [
            (self.labels[note.label], to_samples(note.onset, self.rate), to_samples(note.offset, self.rate))
            for note in self.dataset.annotations(entry)
            if note.label in self.labels
        ]

    def example(self, epoch: int, index: int) -> Example:
        """Example `index` of an epoch, always the same for the same seed."""
        random = np.random.default_rng([self.seed, epoch, index])
        s, active = self.settings, np.zeros((len(self.labels), self.length), dtype=bool)
        sound = np.zeros(self.length, dtype=np.float32)
        noisy, snr_db = random.random() < s.background_share, random.uniform(*s.snr_db)
        below_db = float(np.clip(snr_db + CREST_DB, *s.audible_db)) if noisy else s.audible_db[1]
        if self.background is None or random.random() < s.foreground_share:
            self.place_foreground(random, sound, active, below_db)
            if random.random() < s.overlap_share:  # another voice, speaking at the same time
                self.place_foreground(random, sound, active, below_db)
        spoken = active.any(axis=0)
        if self.background is not None and random.random() < s.event_share:
            events = self.backgrounds.events(random)
            sound, active = sound + events.samples, active | events.active
        loud = float(np.sqrt(augment.power(sound[spoken] if spoken.any() else sound)))
        if random.random() < s.room_share and loud:
            sound = augment.convolved(sound, self.rooms[random.integers(ROOMS)])
        if loud and random.random() < s.murmur_share:
            sound = sound + self.murmur(random, loud)
        if noisy or not loud:
            sound, name = self.with_background(random, sound, active, (loud, snr_db))
            if s.background_labels and random.random() < s.second_share:  # music and noise at the same time
                ratio = (loud or 0.1, random.uniform(*s.snr_db))
                sound, _ = self.with_background(random, sound, active, ratio, name)
        sound = microphone(random, sound, self.rate, s)
        return Example(sound[None, :], self.targets(active))

    def place_foreground(self, random: Random, sound: Samples, active: NDArray[np.bool_], below_db: float) -> None:
        """Put recordings one after another, with gaps, until the example is full."""
        s, fade = self.settings, to_samples(FADE_SECONDS, self.rate)
        at = -int(random.uniform(0.0, 0.5) * self.rate)
        while at < self.length:
            at += to_samples(random.uniform(*s.gap_seconds), self.rate) * int(random.random() < 0.7)
            clip, marks = self.spoken(random, self.foreground.draw(random), below_db)
            start, stop = max(0, at), min(self.length, at + len(clip))
            if stop - start > fade:
                cut = augment.faded(clip[start - at : stop - at], fade)
                moved = [(column, onset + at, offset + at) for column, onset, offset in marks]
                self.add_clip(random, cut, moved, (sound, active, start))
            at += max(1, len(clip))  # at another speed nothing may be left of a click

    def spoken(self, random: Random, entry: Entry, below_db: float) -> tuple[Samples, list[tuple[int, int, int]]]:
        """A cut of a foreground recording, at another speed, with its marks (column, onset, offset) in samples.

        They are drawn in to where the sound is `below_db` under its loudest: what noise will cover cannot be learned.
        """
        begin = int(random.integers(0, entry.samples - self.length)) if entry.samples > self.length else 0
        clip = self.dataset.samples(entry)[0, begin : begin + self.length].astype(np.float32) / 32768.0
        speed = random.uniform(*self.settings.speed)
        moved = []
        for column, onset, offset in self.marks[entry.id]:
            mark = (onset - begin, offset - begin)
            if mark[0] < len(clip) and mark[1] > 0:
                mark = augment.audible(clip, mark, self.rate, below_db)
            moved.append((column, round(mark[0] / speed), round(mark[1] / speed)))
        return augment.at_speed(clip, speed), moved

    def add_clip(
        self,
        random: Random,
        clip: Samples,
        marks: Sequence[tuple[int, int, int]],
        into: tuple[Samples, NDArray[np.bool_], int],
    ) -> None:
        """Add one recording at a level of its own, measured where its labels are."""
        sound, active, start = into
        inside = np.zeros(len(clip), dtype=bool)
        for column, onset, offset in marks:  # a cut may begin or end inside a segment
            onset, offset = max(onset, start), min(offset, start + len(clip))
            if onset < offset:
                active[column, onset:offset] = True
                inside[onset - start : offset - start] = True
        measured = augment.power(clip[inside]) if inside.any() else augment.power(clip)
        gain = 0.1 * augment.decibels(random.uniform(*self.settings.level_db)) / np.sqrt(max(measured, 1e-8))
        sound[start : start + len(clip)] += clip * np.float32(min(gain, 100.0))

    def murmur(self, random: Random, loud: float) -> Samples:
        """(length,) of someone else, far away behind the main voice: without it a network learns that any trace of a
        voice counts, and takes what leaks in from the next room."""
        far = np.zeros(self.length, dtype=np.float32)
        active = np.zeros((len(self.labels), self.length), dtype=bool)
        self.place_foreground(random, far, active, self.settings.audible_db[1])
        far = augment.convolved(far, self.rooms[random.integers(ROOMS)])
        level = np.sqrt(max(augment.power(far), augment.QUIET))
        return far * np.float32(loud * augment.decibels(-random.uniform(*self.settings.murmur_db)) / level)

    def with_background(
        self, random: Random, sound: Samples, active: Active, ratio: tuple[float, float], other_than: str | None = None
    ) -> tuple[Samples, str]:
        """The sound with a background behind it, and the label that was drawn; its labels are marked in `active`,
        unless it lies too far below to be heard. ratio: the level of what stands in front (0: nothing does), SNR."""
        (loud, snr_db), (noise, name) = ratio, self.backgrounds.behind(random, other_than)
        wanted = loud * augment.decibels(-snr_db) if loud else 0.1
        if not loud or snr_db <= self.settings.heard_db:
            active |= noise.active
        return sound + noise.samples * np.float32(wanted / noise.level), name

    def targets(self, active: NDArray[np.bool_]) -> Targets:
        """(rows, labels): 1 where at least half of the hop carries the label."""
        rows = -(-self.length // self.hop_samples)
        padded = np.zeros((len(active), rows * self.hop_samples), dtype=np.float32)
        padded[:, : self.length] = active
        share = padded.reshape(len(active), rows, self.hop_samples).mean(axis=2)
        return np.ascontiguousarray((share >= 0.5).T, dtype=np.float32)


def microphone(random: Random, sound: Samples, rate: int, settings: MixSettings) -> Samples:
    """What the input does: telephone band, tilt, clipping, gain, 16 bits."""
    if random.random() < settings.telephone_share:
        top = random.uniform(2800.0, 3800.0)
        sound = augment.band_limited(sound, rate, random.uniform(150.0, 400.0), min(top, rate / 2.2))
    elif settings.tilt_db and random.random() < 0.5:
        sound = augment.tilted(sound, rate, random.uniform(-settings.tilt_db, settings.tilt_db))
    if random.random() < settings.clip_share:
        sound = augment.clipped(sound, random.uniform(*settings.clip_peak))
    sound = sound * np.float32(augment.decibels(random.uniform(*settings.gain_db)))
    return np.clip(np.round(sound * 32768.0), -32768, 32767).astype(np.float32) / np.float32(32768.0)
