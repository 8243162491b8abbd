"""The mixtures of a condition: voices of one speaker over a background, with a sample-accurate reference.

A set for comparing models must not change when the training examples do. So nothing here draws as `augment.mixture`
does; only the effects are shared.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audiocnn.audio.pcm import Samples
from audiocnn.augment import effects
from audiocnn.augment.effects import Random
from audiocnn.data.dataset import Dataset, Entry, as_int16
from audiocnn.errors import DatasetError
from audiocnn.evaluation.conditions import MixtureSettings, TagFilter
from audiocnn.segments.segment import Annotation
from audiocnn.units import to_samples, to_seconds

_FADE_SECONDS = 0.005
_LEAD_SECONDS = 0.2  # around the labels of a piece, if available
_SPEECH_RMS = 0.1  # -20 dB of full scale, within the labels, before `gain_db`
_COLOURED = "coloured"
_SLOPES = (-0.5, 2.0)  # of coloured noise: 0 is white, 1 pink, 2 brown
_TRIES = 50  # attempts to find a background that is audible under the voices
_MOST_ELSEWHERE = 0.5  # of a background's power; those 3 dB quieter under the voices than overall are rejected
_Mark = tuple[int, int, str]  # onset, offset in samples, label


@dataclass(frozen=True)
class Mixture:
    """samples: int16 (1, samples). annotations: in seconds. group: that of the voice. tags: for results by tag. scale:
    see `Entry`."""

    samples: NDArray[np.int16]
    annotations: tuple[Annotation, ...]
    group: str
    tags: dict[str, str]
    scale: float = 1.0


@dataclass(frozen=True)
class _Cut:
    """A part of a recording that starts and ends between its labels. Marks and reference are relative to its start."""

    samples: Samples
    marks: list[_Mark]
    truth: list[_Mark]


class _WeightedSampler:
    def __init__(self, weights: Sequence[float]) -> None:
        self.cumulative = np.cumsum(np.asarray(weights, dtype=np.float64))

    def draw(self, random: Random) -> int:
        return int(np.searchsorted(self.cumulative, random.random() * self.cumulative[-1], "right"))


class MixtureMaker:
    """Makes mixtures of entries from their annotations. judge: the reference for the recordings that it lists, by
    filename; for others it is that of the dataset. Unsure parts belong to the reference."""

    def __init__(
        self,
        dataset: Dataset,
        entries: Sequence[Entry],
        labels: Sequence[str],
        balance: str,
        judge: Mapping[str, Sequence[Annotation]] | None = None,
    ) -> None:
        self.judge = judge or {}
        self.dataset, self.rate, self.labels = dataset, dataset.sample_rate, set(labels)
        self.entries, self.balance = list(entries), balance
        known = [entry for entry in entries if entry.annotated and entry.samples > 0]
        self.marks = {entry.id: self._marks_of(entry) for entry in known}
        self.groups: dict[str, list[Entry]] = {}
        for entry in known:
            if self.marks[entry.id]:
                self.groups.setdefault(entry.group, []).append(entry)
        self.without = [entry for entry in known if not self.marks[entry.id] and not self._is_unsure(entry)]
        if not self.groups:
            names = ", ".join(labels)
            raise DatasetError(f"{dataset.folder}: no recording of the part has a segment labelled {names}")
        voices = [entry for entries in self.groups.values() for entry in entries]
        weight = self._weights(voices)
        self.names = list(self.groups)
        self.voices = _WeightedSampler([sum(weight[entry.id] for entry in self.groups[name]) for name in self.names])
        self.samplers: dict[str, tuple[list[Entry], _WeightedSampler]] = {}

    def annotations(self, entry: Entry) -> list[Annotation]:
        """The reference of a recording: its labels, and the parts that are unsure."""
        unsure = self.dataset.unsure
        notes = self.judge.get(entry.filename, self.dataset.annotations(entry))
        return [note for note in notes if note.label in self.labels or (unsure and note.label == unsure)]

    def _is_unsure(self, entry: Entry) -> bool:
        unsure = self.dataset.unsure
        return bool(unsure) and any(note.label == unsure for note in self.dataset.annotations(entry))

    def _marks_of(self, entry: Entry) -> list[_Mark]:
        return self._to_marks(entry, [note for note in self.dataset.annotations(entry) if note.label in self.labels])

    def _to_marks(self, entry: Entry, notes: Sequence[Annotation]) -> list[_Mark]:
        marks = [
            (to_samples(n.onset, self.rate), min(to_samples(n.offset, self.rate), entry.samples), n.label)
            for n in notes
        ]
        return [mark for mark in marks if mark[0] < mark[1]]

    def _weights(self, entries: Sequence[Entry]) -> dict[int, float]:
        """Entry id -> weight: its samples, divided by the square root of all samples with its value of `balance`."""
        totals: dict[str, int] = {}
        for entry in entries:
            value = entry.tags.get(self.balance, "")
            totals[value] = totals.get(value, 0) + entry.samples
        return {entry.id: entry.samples / totals[entry.tags.get(self.balance, "")] ** 0.5 for entry in entries}

    def mixture(self, settings: MixtureSettings, *key: str | int) -> Mixture:
        """The mixture with this key, which is always the same for the same entries."""
        digest = hashlib.blake2b(json.dumps(key).encode(), digest_size=16).digest()
        random = np.random.default_rng(int.from_bytes(digest, "little"))
        length = to_samples(settings.seconds, self.rate)
        group = self.names[self.voices.draw(random)]
        sound, marks, truth = self._place_voices(random, self.groups[group], settings, length)
        if settings.room_seconds is not None:
            seconds, direct_db = random.uniform(*settings.room_seconds), random.uniform(*settings.direct_db)
            sound = effects.convolve(sound, effects.draw_room(random, self.rate, seconds, direct_db))
        inside = np.concatenate([sound[onset:offset] for onset, offset in _merge_marks(marks)])
        sound = sound * np.float32(_SPEECH_RMS / np.sqrt(max(effects.power(inside), effects.QUIET)))
        tags = {key: value for key, value in self.groups[group][0].tags.items() if key in ("source", "language")}
        if settings.snr_db is not None:
            noise, origin = self._draw_background(random, settings, length, _merge_marks(marks))
            sound = sound + noise * np.float32(_SPEECH_RMS * effects.db_to_amplitude(-settings.snr_db))
            tags |= {"snr_db": f"{settings.snr_db:g}"} | origin
        if settings.floor_db is not None:
            floor = effects.draw_noise(random, length, random.uniform(*_SLOPES))
            sound = sound + floor * np.float32(_SPEECH_RMS * effects.db_to_amplitude(-settings.floor_db))
        samples = as_int16(self._record(random, settings, sound))[None, :]
        notes = [Annotation(to_seconds(a, self.rate), to_seconds(b, self.rate), label) for a, b, label in truth]
        return Mixture(samples, tuple(notes), group, tags)

    def _place_voices(
        self, random: Random, entries: Sequence[Entry], settings: MixtureSettings, length: int
    ) -> tuple[Samples, list[_Mark], list[_Mark]]:
        """(length,) with cuts in sequence and gaps between them, their marks, and their reference. No recording is used
        twice; if a speaker has too few, there is silence before and after them."""
        placed: list[tuple[int, _Cut]] = []
        at = to_samples(random.uniform(*settings.gap_seconds), self.rate)
        for number in random.permutation(len(entries)):
            piece = self._cut(random, entries[number], settings)
            placed.append((at, piece))
            end = at + len(piece.samples)
            at = end + to_samples(random.uniform(*settings.gap_seconds), self.rate)
            if at >= length:
                break
        shift = int(random.uniform(0, max(0, length - end)))
        sound, marks, truth = np.zeros(length, dtype=np.float32), list[_Mark](), list[_Mark]()
        fade = to_samples(_FADE_SECONDS, self.rate)
        for start, piece in placed:
            start += shift
            level = np.concatenate([piece.samples[onset:offset] for onset, offset, _ in piece.marks])
            gain = effects.db_to_amplitude(random.uniform(*settings.level_db)) / np.sqrt(
                max(effects.power(level), 1e-8)
            )
            cut = effects.fade_edges(piece.samples[: length - start], fade)
            sound[start : start + len(cut)] = cut * np.float32(gain)
            for found, of_piece in ((marks, piece.marks), (truth, piece.truth)):
                moved = [(start + onset, min(start + offset, length), label) for onset, offset, label in of_piece]
                found += [mark for mark in moved if mark[0] < mark[1]]
        return sound, marks, truth

    def _cut(self, random: Random, entry: Entry, settings: MixtureSettings) -> _Cut:
        """One segment with labels, and as many after it as fit into `piece_seconds`, with up to 0.2 s without labels
        around them."""
        stretches = _merge_marks(self.marks[entry.id])
        most = to_samples(random.uniform(*settings.piece_seconds), self.rate)
        first = last = int(random.integers(len(stretches)))
        while last + 1 < len(stretches) and stretches[last + 1][1] - stretches[first][0] <= most:
            last += 1
        lead = to_samples(_LEAD_SECONDS, self.rate)
        before = stretches[first - 1][1] if first else 0
        behind = stretches[last + 1][0] if last + 1 < len(stretches) else entry.samples
        begin, end = max(before, stretches[first][0] - lead), min(behind, stretches[last][1] + lead)
        marks = [(a - begin, b - begin, label) for a, b, label in self.marks[entry.id] if begin <= a < end]
        truth = [
            (max(a, begin) - begin, min(b, end) - begin, label)
            for a, b, label in self._to_marks(entry, self.annotations(entry))
            if a < end and b > begin
        ]
        return _Cut(read_mono(self.dataset, entry, begin, end, in_scale=True), marks, truth)

    def _draw_background(
        self, random: Random, settings: MixtureSettings, length: int, where: Sequence[tuple[int, int]]
    ) -> tuple[Samples, dict[str, str]]:
        """(length,) of power 1 within the intervals `where`, and its tags: background (its value of `balance`, or
        "coloured"), background_file. If it is hardly audible there, another one is drawn."""
        entries, sampler = self._backgrounds(settings.background)
        silent = ""
        for _ in range(_TRIES):
            if not entries or random.random() < settings.coloured_share:
                sound = effects.draw_noise(random, length, random.uniform(*_SLOPES))
                origin = {"background": _COLOURED}
            else:
                entry = entries[sampler.draw(random)]
                sound = self._fill(random, entry, length)
                origin = {"background": entry.tags.get(self.balance, ""), "background_file": entry.filename}
            heard = effects.power(np.concatenate([sound[onset:offset] for onset, offset in where]))
            if heard > max(effects.QUIET, _MOST_ELSEWHERE * effects.power(sound)):
                return sound / np.float32(np.sqrt(heard)), {key: value for key, value in origin.items() if value}
            silent = origin.get("background_file", silent)
        if silent:
            raise DatasetError(f"{self.dataset.folder}: {silent} and other backgrounds are silent; remove them")
        what = f"coloured noise was nearly inaudible under the voice in {_TRIES} attempts"
        raise DatasetError(f'{self.dataset.folder}: {what}; set a longer "piece_seconds"')

    def _fill(self, random: Random, entry: Entry, length: int) -> Samples:
        """(length,) of a recording. A short one is repeated, with a pause."""
        begin = int(random.integers(0, entry.samples - length)) if entry.samples > length else 0
        sound = read_mono(self.dataset, entry, begin, begin + length, in_scale=True)
        if len(sound) == length:
            return sound
        sound = effects.fade_edges(sound, to_samples(_FADE_SECONDS, self.rate))
        pause = np.zeros(int(random.uniform(0.0, 0.5) * self.rate), dtype=np.float32)
        return np.roll(np.resize(np.concatenate([sound, pause]), length), int(random.integers(length)))

    def _backgrounds(self, background: TagFilter) -> tuple[list[Entry], _WeightedSampler]:
        """The unlabelled recordings that have these values. DatasetError if there are none."""
        key = json.dumps(sorted(background.items()))
        if key not in self.samplers:
            entries = [entry for entry in self.without if matches_tags(entry, background)]
            if background and not entries:
                wanted = ", ".join(f"{column} {' '.join(values)}" for column, values in background.items())
                raise DatasetError(f"{self.dataset.folder}: no unlabelled recording has {wanted}; use other values")
            weight = self._weights(entries)
            self.samplers[key] = entries, _WeightedSampler([weight[entry.id] for entry in entries])
        return self.samplers[key]

    def _record(self, random: Random, settings: MixtureSettings, sound: Samples) -> Samples:
        """Band, clipping, gain. A signal that would exceed 16 bits is scaled down, not clipped."""
        if settings.band_hertz is not None:
            low, high = settings.band_hertz
            sound = effects.limit_band(sound, self.rate, low, min(high, self.rate / 2.2))
        if settings.clip_peak is not None:
            sound = effects.clip_peaks(sound, random.uniform(*settings.clip_peak))
        sound = sound * np.float32(effects.db_to_amplitude(random.uniform(*settings.gain_db)))
        peak = float(np.max(np.abs(sound), initial=0.0))
        return sound * np.float32(min(1.0, 0.999 / max(peak, 1e-9)))


def read_mono(dataset: Dataset, entry: Entry, begin: int, end: int, in_scale: bool = False) -> Samples:
    """Samples [begin, end) as the mean of the channels, float32. in_scale: as in `Dataset.waveform`."""
    mean: Samples = dataset.waveform(entry, begin, end, in_scale).mean(axis=0)
    return mean


def _merge_marks(marks: Sequence[_Mark]) -> list[tuple[int, int]]:
    """[onset, offset) of the intervals with any label, in order."""
    stretches: list[tuple[int, int]] = []
    for onset, offset, _ in sorted(marks):
        if stretches and onset <= stretches[-1][1]:
            stretches[-1] = (stretches[-1][0], max(offset, stretches[-1][1]))
        else:
            stretches.append((onset, offset))
    return stretches


def matches_tags(entry: Entry, wanted: TagFilter) -> bool:
    """Whether an entry has one of the values in each column."""
    own = {"filename": entry.filename, "split": entry.split or "", "group": entry.group}
    return all(own.get(column, entry.tags.get(column, "")) in values for column, values in wanted.items())
