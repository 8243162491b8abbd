"""Training examples mixed on the fly: labelled recordings with random gaps over a background.

Segments whose content is unknown (`Dataset.unsure`) have the target NaN.

The annotated recordings of a dataset are divided automatically: foreground recordings have a segment with one of the
labels; background recordings have none, or only `background_labels`. An example of `seconds` contains foreground
recordings one after another with gaps. Background or coloured noise is added at a signal-to-noise ratio drawn from a
range. The result passes through room reverberation, a telephone band and an overloaded input. Example `index` of epoch
`epoch` depends only on these two numbers and the seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from audiocnn.audio.pcm import Samples
from audiocnn.augment import effects
from audiocnn.augment.background import FADE_SECONDS, ActiveMask, Backgrounds, MarkedSpan, Sampler
from audiocnn.augment.effects import Random
from audiocnn.augment.settings import MixSettings, check_backgrounds
from audiocnn.data.dataset import Dataset, Entry
from audiocnn.errors import DatasetError
from audiocnn.units import to_samples

Targets = NDArray[np.float32]
_ROOMS = 64
_CREST_DB = 10.0  # crest factor of a voice: the loudest 5 ms relative to its mean


@dataclass(frozen=True)
class Example:
    """One mixture: samples float32 (channels, samples), targets float32 (rows, labels) in [0, 1], NaN if unknown.

    span: [start, stop) in samples of a clip surrounded by silence; its score is that of the positions inside.
    """

    samples: NDArray[np.float32]
    targets: Targets
    span: tuple[int, int] | None = None

    @property
    def length(self) -> int:
        """The span in samples."""
        return int(self.samples.shape[1])

    @property
    def values(self) -> NDArray[np.float32]:
        """The input of the network."""
        return self.samples


@dataclass(frozen=True)
class _Voices:
    """The foreground of a mixture: sound (n,); active (labels, n), where each label is active; unsure (n,), where the
    content is unknown; likely (n,), the unsure part whose target is `unsure_target`. All are filled in place."""

    sound: Samples
    active: ActiveMask
    unsure: NDArray[np.bool_]
    likely: NDArray[np.bool_]


class Mixer:
    """Makes examples from the entries of a dataset. They are mono; a network with several channels gets the same audio
    in each."""

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
        self.marks = {entry.id: self.find_marks(entry) for entry in annotated}
        check_backgrounds(settings, labels, f"{dataset.folder}: [mix]")
        behind = {self.labels[label] for label in settings.background_labels}
        columns = {entry.id: {column for column, _, _ in self.marks[entry.id]} for entry in annotated}
        self.unsure = {entry.id: self.find_unsure(entry) for entry in annotated} if dataset.unsure else {}
        self.in_front = np.array([label not in settings.background_labels for label in labels])
        foreground = [entry for entry in annotated if columns[entry.id] - behind]
        # Recordings whose only possible labels are unsure are used neither as foreground nor as background.
        background = [e for e in annotated if not columns[e.id] - behind and not self.unsure.get(e.id)]
        if not foreground:
            names = ", ".join(label for label in labels if label not in settings.background_labels)
            raise DatasetError(f"{dataset.folder}: no recording has a segment labelled {names}; check labels and split")
        self.foreground = Sampler(dataset, foreground, settings.balance)
        self.background = Sampler(dataset, background, settings.balance) if background else None
        kinds: dict[str, list[Entry]] = {}
        for entry in background:
            kinds.setdefault(labels[min(columns[entry.id])] if columns[entry.id] else "", []).append(entry)
        samplers = {name: Sampler(dataset, kinds[name], settings.balance) for name in sorted(kinds)}
        bank = np.random.default_rng([seed, 0x6E6F])
        self.backgrounds = Backgrounds(dataset, samplers, self.marks, self.labels, settings, bank)
        self.rooms = [self.draw_room(bank) for _ in range(_ROOMS)]

    def draw_room(self, random: Random) -> Samples:
        s = self.settings
        return effects.draw_room(random, self.rate, random.uniform(*s.room_seconds), random.uniform(*s.direct_db))

    def find_marks(self, entry: Entry) -> list[tuple[int, int, int]]:
        """(label column, onset, offset) in samples, for the labels that are learned."""
        return [
            (self.labels[note.label], to_samples(note.onset, self.rate), to_samples(note.offset, self.rate))
            for note in self.dataset.annotations(entry)
            if note.label in self.labels
        ]

    def find_unsure(self, entry: Entry) -> list[tuple[int, int]]:
        """(onset, offset) in samples of segments whose content is unknown."""
        notes = [note for note in self.dataset.annotations(entry) if note.label == self.dataset.unsure]
        return [(to_samples(note.onset, self.rate), to_samples(note.offset, self.rate)) for note in notes]

    def example(self, epoch: int, index: int) -> Example:
        """Example `index` of an epoch, deterministic for a given seed."""
        random = np.random.default_rng([self.seed, epoch, index])
        s, voices = self.settings, self.no_voices()
        if s.silence_share and random.random() < s.silence_share:
            return Example(effects.draw_silence(random, self.length)[None, :], self.make_targets(voices.active))
        conversation = bool(s.conversation_share) and random.random() < s.conversation_share
        noisy, snr_db = random.random() < s.background_share, random.uniform(*s.snr_db)
        below_db = float(np.clip(snr_db + _CREST_DB, *s.audible_db)) if noisy else s.audible_db[1]
        if self.background is None or random.random() < s.foreground_share:
            bridged = bool(s.bridged_share) and random.random() < s.bridged_share
            self.place_foreground(random, voices, below_db, bridged)
            if random.random() < s.overlap_share or conversation:  # another voice that speaks at the same time
                self.place_foreground(random, voices, below_db, bridged)
        floor_db = random.uniform(*s.floor_db) if s.floor_share and random.random() < s.floor_share else None
        floor_db = random.uniform(*s.conversation_floor_db) if conversation else floor_db
        sound, active, unsure, likely = voices.sound, voices.active, voices.unsure, voices.likely
        spoken = active.any(axis=0)
        if self.background is not None and random.random() < s.event_share:
            events = self.backgrounds.draw_events(random)
            sound, active = sound + events.samples, active | events.active
        loud = float(np.sqrt(effects.power(sound[spoken] if spoken.any() else sound)))
        if random.random() < s.room_share and loud:
            sound = effects.convolve(sound, self.rooms[random.integers(_ROOMS)])
        if loud and random.random() < s.murmur_share:
            below_db = random.uniform(*s.murmur_db)
            far = self.draw_murmur(random, loud, below_db)
            sound = sound + far.sound
            if below_db <= s.murmur_heard_db:
                # Unsure audio that noise covers stays unknown.
                ratios = ([snr_db] if noisy else []) + ([] if floor_db is None else [floor_db])
                covered = any(ratio - below_db < s.snr_db[0] for ratio in ratios)
                unsure = unsure | far.unsure | (far.active.any(axis=0) if covered else False)
                likely = likely if covered else likely | far.likely
                active = active if covered else active | far.active
        if noisy or not loud:
            sound, name = self.add_background(random, sound, active, (loud, snr_db))
            if s.background_labels and random.random() < s.second_share:  # music and noise at the same time
                ratio = (loud or 0.1, random.uniform(*s.snr_db))
                sound, _ = self.add_background(random, sound, active, ratio, name)
        if floor_db is not None:
            floor = self.backgrounds.draw_noise(random)
            sound = sound + floor.samples * np.float32((loud or 0.1) * effects.db_to_amplitude(-floor_db) / floor.level)
        if conversation:
            active = self.mark_as_people(active)
            unsure = unsure & ~active[self.in_front].any(axis=0)
        sound = record_with_microphone(random, sound, self.rate, s)
        return Example(sound[None, :], self.make_targets(active, unsure, likely))

    def mark_as_people(self, active: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """(labels, samples): foreground marks are joined across pauses and extended a little at both ends."""
        s, marked = self.settings, active.copy()
        pad = to_samples(s.conversation_pad_seconds, self.rate)
        longest = max(0, to_samples(s.conversation_bridged_seconds, self.rate))
        for column in np.flatnonzero(self.in_front):
            edges = np.flatnonzero(np.diff(active[column].astype(np.int8), prepend=0, append=0)).reshape(-1, 2)
            spans = [(0, int(onset), int(offset)) for onset, offset in edges]
            for _, onset, offset in bridge_marks(spans, longest):
                marked[column, max(0, onset - pad) : offset + pad] = True
        return marked

    def no_voices(self) -> _Voices:
        nowhere = np.zeros((len(self.labels) + 2, self.length), dtype=bool)
        return _Voices(np.zeros(self.length, dtype=np.float32), nowhere[:-2], nowhere[-2], nowhere[-1])

    def place_foreground(self, random: Random, voices: _Voices, below_db: float, bridged: bool = False) -> None:
        """Place recordings one after another, with gaps, until the example is full. bridged: short pauses within a
        recording carry the label too."""
        s, fade = self.settings, to_samples(FADE_SECONDS, self.rate)
        at = -int(random.uniform(0.0, 0.5) * self.rate)
        while at < self.length:
            at += to_samples(random.uniform(*s.gap_seconds), self.rate) * int(random.random() < 0.7)
            clip, marks, unsure = self.cut_foreground(random, self.foreground.draw(random), below_db)
            if bridged:
                marks = bridge_marks(marks, to_samples(s.bridged_seconds, self.rate))
            start, stop = max(0, at), min(self.length, at + len(clip))
            if stop - start > fade:
                cut = effects.fade_edges(clip[start - at : stop - at], fade)
                moved = [(column, onset + at, offset + at) for column, onset, offset in marks]
                self.add_clip(random, cut, moved, voices, start)
                for onset, offset, heard in unsure:
                    span = slice(max(start, onset + at), max(start, min(stop, offset + at)))
                    voices.unsure[span] = True
                    voices.likely[span] |= heard
            at += max(1, len(clip))  # a speed change may leave nothing of a very short clip

    def cut_foreground(
        self, random: Random, entry: Entry, below_db: float
    ) -> tuple[Samples, list[MarkedSpan], list[tuple[int, int, bool]]]:
        """A cut of a foreground recording at another speed, with its marks (column, onset, offset) in samples, and its
        unsure segments (onset, offset, whether their peak is within `below_db` of the loudest).

        Marks are trimmed to where the level is within `below_db` of the loudest, because audio covered by noise cannot
        be learned.
        """
        begin = int(random.integers(0, entry.samples - self.length)) if entry.samples > self.length else 0
        clip = self.dataset.waveform(entry, begin, begin + self.length, in_scale=True)[0]
        speed = random.uniform(*self.settings.speed)
        moved = []
        for column, onset, offset in self.marks[entry.id]:
            mark = (onset - begin, offset - begin)
            if mark[0] < len(clip) and mark[1] > 0:
                mark = effects.trim_mark(clip, mark, self.rate, below_db)
            moved.append((column, round(mark[0] / speed), round(mark[1] / speed)))
        least = float(np.abs(clip).max(initial=0.0)) * effects.db_to_amplitude(-below_db)
        unsure = []
        for onset, offset in self.unsure.get(entry.id, ()):
            heard = float(np.abs(clip[max(0, onset - begin) : max(0, offset - begin)]).max(initial=0.0)) > least
            unsure.append((round((onset - begin) / speed), round((offset - begin) / speed), heard))
        return effects.change_speed(clip, speed), moved, unsure

    def add_clip(
        self,
        random: Random,
        clip: Samples,
        marks: Sequence[MarkedSpan],
        voices: _Voices,
        start: int,
    ) -> None:
        """Add one recording at its own level, measured where its labels are active."""
        inside = np.zeros(len(clip), dtype=bool)
        for column, onset, offset in marks:  # a cut may begin or end inside a segment
            onset, offset = max(onset, start), min(offset, start + len(clip))
            if onset < offset:
                voices.active[column, onset:offset] = True
                inside[onset - start : offset - start] = True
        measured = effects.power(clip[inside]) if inside.any() else effects.power(clip)
        gain = 0.1 * effects.db_to_amplitude(random.uniform(*self.settings.level_db)) / np.sqrt(max(measured, 1e-8))
        voices.sound[start : start + len(clip)] += clip * np.float32(min(gain, 100.0))

    def draw_murmur(self, random: Random, loud: float, below_db: float) -> _Voices:
        """Distant voices, `below_db` below the main voice. If these carry no label, a network learns not to report
        speech that leaks in from the next room."""
        far = self.no_voices()
        self.place_foreground(random, far, self.settings.audible_db[1])
        sound = effects.convolve(far.sound, self.rooms[random.integers(_ROOMS)])
        level = np.sqrt(max(effects.power(sound), effects.QUIET))
        return replace(far, sound=sound * np.float32(loud * effects.db_to_amplitude(-below_db) / level))

    def add_background(
        self,
        random: Random,
        sound: Samples,
        active: ActiveMask,
        ratio: tuple[float, float],
        other_than: str | None = None,
    ) -> tuple[Samples, str]:
        """The sound with a background added, and the label that was drawn for it. The background's labels are marked in
        `active`, unless it is too quiet to be heard. ratio: the foreground level (0: no foreground) and the SNR."""
        (loud, snr_db), (noise, name) = ratio, self.backgrounds.draw(random, other_than)
        wanted = loud * effects.db_to_amplitude(-snr_db) if loud else 0.1
        if not loud or snr_db <= self.settings.heard_db:
            active |= noise.active
        return sound + noise.samples * np.float32(wanted / noise.level), name

    def make_targets(
        self,
        active: NDArray[np.bool_],
        unsure: NDArray[np.bool_] | None = None,
        likely: NDArray[np.bool_] | None = None,
    ) -> Targets:
        """(rows, labels): 1 if at least half of the hop carries the label; NaN if that depends on unsure segments;
        `unsure_target` if the label is likely. Background labels are always known."""
        there = self.share_of_rows(active) >= 0.5
        targets = there.T.astype(np.float32)
        if unsure is not None and unsure.any():
            perhaps = (self.share_of_rows(active | unsure) >= 0.5) & ~there
            perhaps &= self.in_front[:, None]
            targets[perhaps.T] = np.nan
            if self.settings.unsure_target and likely is not None:
                soft = perhaps & (self.share_of_rows(active | likely) >= 0.5)
                targets[soft.T] = self.settings.unsure_target
        return np.ascontiguousarray(targets)

    def share_of_rows(self, active: NDArray[np.bool_]) -> NDArray[np.float32]:
        """(labels, samples) -> (labels, rows): the active share of each hop."""
        rows = -(-self.length // self.hop_samples)
        padded = np.zeros((len(active), rows * self.hop_samples), dtype=np.float32)
        padded[:, : self.length] = active
        share: NDArray[np.float32] = padded.reshape(len(active), rows, self.hop_samples).mean(axis=2)
        return share


def bridge_marks(marks: Sequence[MarkedSpan], longest: int) -> list[MarkedSpan]:
    """Marks of one recording; marks of the same label up to `longest` samples apart are joined."""
    bridged: list[MarkedSpan] = []
    for column, onset, offset in sorted(marks):
        if bridged and bridged[-1][0] == column and onset - bridged[-1][2] <= longest:
            bridged[-1] = (column, bridged[-1][1], max(offset, bridged[-1][2]))
        else:
            bridged.append((column, onset, offset))
    return bridged


def record_with_microphone(
    random: Random, sound: Samples, rate: int, settings: MixSettings, scales: Sequence[float] = (1.0,)
) -> Samples:
    """Simulate the recording device: telephone band, tilt, clipping, gain, and 16-bit quantisation (not for
    `float_share`). scales: of the recordings in the mixture, see `Entry`; they are taken into account so that levels
    above full scale are not clipped and quiet ones are not rounded away."""
    if random.random() < settings.telephone_share:
        top = random.uniform(2800.0, 3800.0)
        sound = effects.limit_band(sound, rate, random.uniform(150.0, 400.0), min(top, rate / 2.2))
    elif settings.tilt_db and random.random() < 0.5:
        sound = effects.tilt_spectrum(sound, rate, random.uniform(-settings.tilt_db, settings.tilt_db))
    if random.random() < settings.clip_share:
        sound = effects.clip_peaks(sound, random.uniform(*settings.clip_peak))
    sound = sound * np.float32(effects.db_to_amplitude(random.uniform(*settings.gain_db)))
    if settings.float_share and random.random() < settings.float_share:
        return sound
    step, most = min(1.0, *scales) / 32768.0, max(1.0, *scales)
    whole = np.clip(np.round(sound * np.float32(1.0 / step)), -most / step, most / step - 1.0)
    return whole.astype(np.float32) * np.float32(step)
