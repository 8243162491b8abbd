"""One mixture of a condition: voices of one speaker over a background, with the truth to the sample.

A set that models are compared on must not change when the examples of training do, so nothing here draws as `mixing`
does: only the plain functions of `augment` are shared.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audiocnn import augment
from audiocnn.augment import Random, Samples
from audiocnn.conditions import Choice, MixtureSettings
from audiocnn.dataset import Dataset, Entry, as_int16
from audiocnn.errors import DatasetError
from audiocnn.labels import Annotation
from audiocnn.units import to_samples, to_seconds

FADE_SECONDS = 0.005
LEAD_SECONDS = 0.2  # of room around the labels of a piece, where there is that much
SPEECH_RMS = 0.1  # -20 dB of full scale, where the labels are, before `gain_db`
COLOURED = "coloured"
SLOPES = (-0.5, 2.0)  # of coloured noise: 0 is white, 1 pink, 2 brown
TRIES = 50  # for a background that is heard where the voices are
MOST_ELSEWHERE = 0.5  # of a background's power: what is 3 dB quieter behind the voices than on the whole is not taken

Mark = tuple[int, int, str]  # onset, offset in samples, label


@dataclass(frozen=True)
class Mixture:
    """samples int16 (1, samples); annotations in seconds; group: of the voice; tags: what there is to judge by."""

    samples: NDArray[np.int16]
    annotations: tuple[Annotation, ...]
    group: str
    tags: dict[str, str]


@dataclass(frozen=True)
class Piece:
    """A cut of a recording that begins and ends between its labels: samples, and marks that count from its start."""

    samples: Samples
    marks: list[Mark]


class Lot:
    """Things to draw from, by weight."""

    def __init__(self, weights: Sequence[float]) -> None:
        self.cumulative = np.cumsum(np.asarray(weights, dtype=np.float64))

    def draw(self, random: Random) -> int:
        """The number of one of them."""
        return int(np.searchsorted(self.cumulative, random.random() * self.cumulative[-1], "right"))


class Maker:
    """Makes mixtures of the entries of one part of a dataset."""

    def __init__(self, dataset: Dataset, entries: Sequence[Entry], labels: Sequence[str], balance: str) -> None:
        self.dataset, self.rate, self.labels = dataset, dataset.sample_rate, set(labels)
        self.entries, self.balance = list(entries), balance
        known = [entry for entry in entries if entry.annotated and entry.samples > 0]
        self.marks = {entry.id: self.known(entry) for entry in known}
        self.groups: dict[str, list[Entry]] = {}
        for entry in known:
            if self.marks[entry.id]:
                self.groups.setdefault(entry.group, []).append(entry)
        self.without = [entry for entry in known if not self.marks[entry.id]]
        if not self.groups:
            names = ", ".join(labels)
            raise DatasetError(f"{dataset.folder}: no recording of the part has a stretch labelled {names}")
        voices = [entry for entries in self.groups.values() for entry in entries]
        weight = self.weights(voices)
        self.names = list(self.groups)
        self.voices = Lot([sum(weight[entry.id] for entry in self.groups[name]) for name in self.names])
        self.backgrounds: dict[str, tuple[list[Entry], Lot]] = {}

    def known(self, entry: Entry) -> list[Mark]:
        """The marks of the labels that count."""
        notes = [note for note in self.dataset.annotations(entry) if note.label in self.labels]
        marks = [
            (to_samples(n.onset, self.rate), min(to_samples(n.offset, self.rate), entry.samples), n.label)
            for n in notes
        ]
        return [mark for mark in marks if mark[0] < mark[1]]

    def weights(self, entries: Sequence[Entry]) -> dict[int, float]:
        """Entry id -> weight: its samples, over the root of the samples that have its value of `balance`."""
        totals: dict[str, int] = {}
        for entry in entries:
            value = entry.tags.get(self.balance, "")
            totals[value] = totals.get(value, 0) + entry.samples
        return {entry.id: entry.samples / totals[entry.tags.get(self.balance, "")] ** 0.5 for entry in entries}

    def mixture(self, settings: MixtureSettings, *key: str | int) -> Mixture:
        """The mixture with this key; of the same entries, always the same."""
        random, length = keyed(*key), to_samples(settings.seconds, self.rate)
        group = self.names[self.voices.draw(random)]
        sound, marks = self.spoken(random, self.groups[group], settings, length)
        if settings.room_seconds is not None:
            seconds, direct_db = random.uniform(*settings.room_seconds), random.uniform(*settings.direct_db)
            sound = augment.convolved(sound, augment.room(random, self.rate, seconds, direct_db))
        inside = np.concatenate([sound[onset:offset] for onset, offset in joined(marks)])
        sound = sound * np.float32(SPEECH_RMS / np.sqrt(max(augment.power(inside), augment.QUIET)))
        tags = {key: value for key, value in self.groups[group][0].tags.items() if key in ("source", "language")}
        if settings.snr_db is not None:
            noise, said = self.background(random, settings, length, joined(marks))
            sound = sound + noise * np.float32(SPEECH_RMS * augment.decibels(-settings.snr_db))
            tags |= {"snr_db": f"{settings.snr_db:g}"} | said
        if settings.floor_db is not None:
            floor = augment.coloured_noise(random, length, random.uniform(*SLOPES))
            sound = sound + floor * np.float32(SPEECH_RMS * augment.decibels(-settings.floor_db))
        samples = as_int16(self.microphone(random, settings, sound))[None, :]
        notes = [Annotation(to_seconds(a, self.rate), to_seconds(b, self.rate), label) for a, b, label in marks]
        return Mixture(samples, tuple(notes), group, tags)

    def spoken(
        self, random: Random, entries: Sequence[Entry], settings: MixtureSettings, length: int
    ) -> tuple[Samples, list[Mark]]:
        """(length,) of pieces one after another, with gaps, and their marks. No recording comes twice: where a speaker
        has too few, the rest is silence, before and behind."""
        placed: list[tuple[int, Piece]] = []
        at = to_samples(random.uniform(*settings.gap_seconds), self.rate)
        for number in random.permutation(len(entries)):
            piece = self.piece(random, entries[number], settings)
            placed.append((at, piece))
            end = at + len(piece.samples)
            at = end + to_samples(random.uniform(*settings.gap_seconds), self.rate)
            if at >= length:
                break
        shift = int(random.uniform(0, max(0, length - end)))
        sound, marks = np.zeros(length, dtype=np.float32), []
        fade = to_samples(FADE_SECONDS, self.rate)
        for start, piece in placed:
            start += shift
            level = np.concatenate([piece.samples[onset:offset] for onset, offset, _ in piece.marks])
            gain = augment.decibels(random.uniform(*settings.level_db)) / np.sqrt(max(augment.power(level), 1e-8))
            cut = augment.faded(piece.samples[: length - start], fade)
            sound[start : start + len(cut)] = cut * np.float32(gain)
            moved = [(start + onset, min(start + offset, length), label) for onset, offset, label in piece.marks]
            marks += [mark for mark in moved if mark[0] < mark[1]]
        return sound, marks

    def piece(self, random: Random, entry: Entry, settings: MixtureSettings) -> Piece:
        """A cut from a stretch with labels on, as many stretches as `piece_seconds` holds, at least one; around them
        what is there up to the next ones, or 0.2 s of it."""
        stretches = joined(self.marks[entry.id])
        most = to_samples(random.uniform(*settings.piece_seconds), self.rate)
        first = last = int(random.integers(len(stretches)))
        while last + 1 < len(stretches) and stretches[last + 1][1] - stretches[first][0] <= most:
            last += 1
        lead = to_samples(LEAD_SECONDS, self.rate)
        before = stretches[first - 1][1] if first else 0
        behind = stretches[last + 1][0] if last + 1 < len(stretches) else entry.samples
        begin, end = max(before, stretches[first][0] - lead), min(behind, stretches[last][1] + lead)
        marks = [(a - begin, b - begin, label) for a, b, label in self.marks[entry.id] if begin <= a < end]
        return Piece(read(self.dataset, entry, begin, end), marks)

    def background(
        self, random: Random, settings: MixtureSettings, length: int, where: Sequence[tuple[int, int]]
    ) -> tuple[Samples, dict[str, str]]:
        """(length,) of power 1 in the stretches `where`, and the tags that say what it is: background (its value of
        `balance`, or "coloured"), background_file. Another one is drawn where it is hardly heard in these stretches."""
        entries, lot = self.among(settings.background)
        silent = ""
        for _ in range(TRIES):
            if not entries or random.random() < settings.coloured_share:
                sound, said = augment.coloured_noise(random, length, random.uniform(*SLOPES)), {"background": COLOURED}
            else:
                entry = entries[lot.draw(random)]
                sound = self.lasting(random, entry, length)
                said = {"background": entry.tags.get(self.balance, ""), "background_file": entry.filename}
            heard = augment.power(np.concatenate([sound[onset:offset] for onset, offset in where]))
            if heard > max(augment.QUIET, MOST_ELSEWHERE * augment.power(sound)):
                return sound / np.float32(np.sqrt(heard)), {key: value for key, value in said.items() if value}
            silent = said.get("background_file", silent)
        if silent:
            raise DatasetError(f"{self.dataset.folder}: {silent} and others to be added are silent; drop them")
        what = f"coloured noise was hardly heard behind a voice, {TRIES} times over"
        raise DatasetError(f'{self.dataset.folder}: {what}; ask for longer "piece_seconds"')

    def lasting(self, random: Random, entry: Entry, length: int) -> Samples:
        """(length,) of a recording; a short one is repeated, with a pause."""
        begin = int(random.integers(0, entry.samples - length)) if entry.samples > length else 0
        sound = read(self.dataset, entry, begin, begin + length)
        if len(sound) == length:
            return sound
        sound = augment.faded(sound, to_samples(FADE_SECONDS, self.rate))
        pause = np.zeros(int(random.uniform(0.0, 0.5) * self.rate), dtype=np.float32)
        return np.roll(np.resize(np.concatenate([sound, pause]), length), int(random.integers(length)))

    def among(self, background: Choice) -> tuple[list[Entry], Lot]:
        """The recordings without labels that have these values. DatasetError: there are none."""
        key = json.dumps(sorted(background.items()))
        if key not in self.backgrounds:
            entries = [entry for entry in self.without if has(entry, background)]
            if background and not entries:
                asked = ", ".join(f"{column} {' '.join(values)}" for column, values in background.items())
                raise DatasetError(f"{self.dataset.folder}: no recording without labels has {asked}; ask for others")
            weight = self.weights(entries)
            self.backgrounds[key] = entries, Lot([weight[entry.id] for entry in entries])
        return self.backgrounds[key]

    def microphone(self, random: Random, settings: MixtureSettings, sound: Samples) -> Samples:
        """Band, clipping, gain; what would not fit into 16 bits is made quieter, not cut."""
        if settings.band_hertz is not None:
            low, high = settings.band_hertz
            sound = augment.band_limited(sound, self.rate, low, min(high, self.rate / 2.2))
        if settings.clip_peak is not None:
            sound = augment.clipped(sound, random.uniform(*settings.clip_peak))
        sound = sound * np.float32(augment.decibels(random.uniform(*settings.gain_db)))
        peak = float(np.max(np.abs(sound), initial=0.0))
        return sound * np.float32(min(1.0, 0.999 / max(peak, 1e-9)))


def keyed(*key: str | int) -> Random:
    """A generator that depends on the key alone."""
    digest = hashlib.blake2b(json.dumps(key).encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))


def read(dataset: Dataset, entry: Entry, begin: int, end: int) -> Samples:
    """Samples [begin, end), the mean of the channels, float32 in [-1, 1]."""
    mean: Samples = dataset.samples(entry)[:, begin:end].astype(np.float32).mean(axis=0)
    return mean / np.float32(32768.0)


def joined(marks: Sequence[Mark]) -> list[tuple[int, int]]:
    """[onset, offset) of the stretches that carry any label, in order."""
    stretches: list[tuple[int, int]] = []
    for onset, offset, _ in sorted(marks):
        if stretches and onset <= stretches[-1][1]:
            stretches[-1] = (stretches[-1][0], max(offset, stretches[-1][1]))
        else:
            stretches.append((onset, offset))
    return stretches


def has(entry: Entry, wanted: Choice) -> bool:
    """Whether an entry has one of the values in each column."""
    own = {"filename": entry.filename, "split": entry.split or "", "group": entry.group}
    return all(own.get(column, entry.tags.get(column, "")) in values for column, values in wanted.items())
