"""Training examples from clips: recordings that are labelled as a whole.

A clip is played at another speed, placed at random, and may be mixed with another clip (mixup or between-class
learning), in which case the labels carry each clip's share. It then passes the same recording chain as mixtures: noise,
room, telephone, microphone, gain. `[mix]` sets the probability and strength of each step. Samples are float32
(channels, samples).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiocnn.audio.pcm import Samples
from audiocnn.augment import effects
from audiocnn.augment.effects import QUIET, Random, power
from audiocnn.augment.mixture import Example, Targets, record_with_microphone
from audiocnn.augment.nothing import NothingExamples
from audiocnn.augment.settings import MixSettings
from audiocnn.data.dataset import Dataset, Entry
from audiocnn.errors import DatasetError
from audiocnn.units import to_samples

_LEVEL_SECONDS = 0.1
_A_POLES = (20.598997, 107.65265, 737.86223, 12194.217)  # in Hz, IEC 61672-1, annex E


def draw_mixup_share(random: Random, alpha: float) -> float:
    """The share of the first clip, from a beta distribution (Zhang et al. 2018, "mixup", section 2). It is at least one
    half, so that the clip that was drawn dominates."""
    share = float(random.beta(alpha, alpha))
    return max(share, 1.0 - share)


def mix_clips(first: Samples, second: Samples, share: float) -> Samples:
    return (np.float32(share) * first + np.float32(1.0 - share) * second).astype(np.float32)


def mix_between_classes(first: Samples, second: Samples, share: float, sample_rate: int) -> Samples:
    """Mix two clips so that the first has this share of the loudness, with the power of a single clip: equations 1 and
    2 of Tokozume, Ushiku and Harada 2018, "Learning from Between-class Examples for Deep Sound Recognition"."""
    if not 0.0 < share < 1.0:
        return first if share >= 0.5 else second
    over = loudness_db(first, sample_rate) - loudness_db(second, sample_rate)
    part = 1.0 / (1.0 + 10.0 ** (over / 20.0) * (1.0 - share) / share)
    blend = part * first + (1.0 - part) * second
    return np.asarray(blend / np.sqrt(part**2 + (1.0 - part) ** 2), dtype=np.float32)


def loudness_db(sound: Samples, sample_rate: int) -> float:
    """The A-weighted level of the loudest 0.1 s of (channels, samples), in dB (Tokozume et al., section 3.2)."""
    weighted = apply_a_weighting(sound.mean(axis=0), sample_rate)
    size = min(len(weighted), to_samples(_LEVEL_SECONDS, sample_rate))
    if size == 0:
        return float(10.0 * np.log10(QUIET))
    count = len(weighted) // size
    loudest = max(power(piece) for piece in weighted[: count * size].reshape(count, size))
    return float(10.0 * np.log10(max(loudest, QUIET)))


def apply_a_weighting(samples: Samples, sample_rate: int) -> Samples:
    """(samples,) filtered with A-weighting."""
    if not len(samples):
        return samples
    weights = a_weights(np.fft.rfftfreq(len(samples), 1.0 / sample_rate))
    return np.fft.irfft(np.fft.rfft(samples) * weights, len(samples)).astype(np.float32)


def a_weights(hertz: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Amplitude ratios of the A-weighting (IEC 61672-1, equation E.6), 1 at 1 kHz."""

    def shape(values: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        f = values**2
        one, two, three, four = (pole**2 for pole in _A_POLES)
        return np.asarray(four * f**2 / ((f + one) * np.sqrt((f + two) * (f + three)) * (f + four)), dtype=np.float64)

    return np.asarray(shape(hertz) / shape(np.array([1000.0])), dtype=np.float64)


_DRAWS = 8  # to find a clip with another label; if none is found, one with the same label is used
WHOLE_CLIP_SECONDS = 60.0  # of a clip of the validation set: its middle


class ClipExamples:
    """Makes examples, like Mixer, from whole recordings that are cut or padded with silence to one length.

    An epoch uses every clip once before it uses one twice, in a new order each time. With `evenness` above 0, clips are
    drawn at random instead, and the probability of a label is proportional to its count to the power 1 - evenness.
    others: clips with none of the labels are used as negatives instead of being omitted; if clips may have several
    labels, this includes clips without a label.
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
        self.chances = self.cumulative_chances(evenness) if evenness else None
        self.order: tuple[tuple[int, int], NDArray[np.int64]] | None = None
        self.nothing = NothingExamples(dataset, self.entries, self.length)
        every = [entry.scale for entry in self.entries]
        self.scales = min(every), max(every)

    def example(self, epoch: int, index: int) -> Example:
        """Example `index` of an epoch, deterministic for a given seed."""
        random = np.random.default_rng([self.seed, epoch, index])
        s = self.settings
        before, behind = (int(count * s.nothing_share) for count in (index, index + 1))
        if behind > before:
            target = np.zeros((1, len(self.columns)), dtype=np.float32)
            return Example(self.record(random, self.nothing.draw(random), self.scales), target, (0, self.length))
        number = self.choose(random, epoch, index - before)
        example, scales = self.cut_clip(random, number), [self.entries[number].scale]
        if random.random() < s.between_share:
            number = self.draw_unlike(random, number)
            other, scales = self.cut_clip(random, number), [*scales, self.entries[number].scale]
            share, level = float(random.random()), np.float32(min(1.0, *scales))
            first, second = match_channels(example.samples, other.samples)
            sound = mix_between_classes(first / level, second / level, share, self.dataset.sample_rate) * level
            example = combine_examples(example, other, share, sound)
        elif s.mixup:
            number = self.draw(random)
            other, scales = self.cut_clip(random, number), [*scales, self.entries[number].scale]
            share = draw_mixup_share(random, s.mixup)
            example = combine_examples(
                example, other, share, mix_clips(*match_channels(example.samples, other.samples), share)
            )
        return Example(self.record(random, example.samples, scales), example.targets, example.span)

    @property
    def round(self) -> int:
        """The number of examples that use every clip once."""
        return math.ceil(len(self.entries) / (1.0 - self.settings.nothing_share))

    @property
    def rest_share(self) -> float:
        """The share of examples that carry none of the labels."""
        drawn = np.ones(len(self.entries)) if self.chances is None else np.diff(self.chances, prepend=0.0)
        rest = ~self.targets().any(axis=1)
        share = self.settings.nothing_share
        return float(share + (1.0 - share) * drawn[rest].sum() / drawn.sum())

    def choose(self, random: Random, epoch: int, index: int) -> int:
        if self.chances is not None:
            return self.draw(random)
        turn, place = divmod(index, len(self.entries))
        if self.order is None or self.order[0] != (epoch, turn):
            self.order = (
                (epoch, turn),
                np.random.default_rng([self.seed, epoch, turn, 1]).permutation(len(self.entries)),
            )
        return int(self.order[1][place])

    def draw(self, random: Random) -> int:
        if self.chances is None:
            return int(random.integers(len(self.entries)))
        return int(np.searchsorted(self.chances, random.random() * self.chances[-1], "right"))

    def draw_unlike(self, random: Random, number: int) -> int:
        mine = self.entries[number].labels
        drawn = [self.draw(random) for _ in range(_DRAWS)]
        return next((other for other in drawn if self.entries[other].labels != mine), drawn[0])

    def cut_clip(self, random: Random, number: int) -> Example:
        """A cut of a recording, or the whole recording with silence around it, at another speed."""
        entry, speed = self.entries[number], random.uniform(*self.settings.speed)
        wanted = round(self.length * speed)
        begin = int(random.integers(max(0, entry.samples - wanted) + 1))
        clip = self.dataset.waveform(entry, begin, begin + wanted)
        clip = np.stack([effects.change_speed(channel, speed) for channel in clip])[:, : self.length]
        start = int(random.integers(self.length - clip.shape[1] + 1))
        out = np.zeros((len(clip), self.length), dtype=np.float32)
        out[:, start : start + clip.shape[1]] = clip
        return Example(out, self.make_target(entry), (start, start + clip.shape[1]))

    def record(self, random: Random, sound: Samples, scales: Sequence[float] = (1.0,)) -> Samples:
        """Add noise, a room and a microphone. Channels share the room and the microphone but have independent noise.
        scales: see `record_with_microphone`."""
        s, rate = self.settings, self.dataset.sample_rate
        if random.random() < s.room_share:
            room = effects.draw_room(random, rate, random.uniform(*s.room_seconds), random.uniform(*s.direct_db))
            sound = np.stack([effects.convolve(channel, room) for channel in sound])
        if random.random() < s.background_share:
            tilt = random.uniform(0.0, 2.0)
            noise = np.stack([effects.draw_noise(random, self.length, tilt) for _ in sound])
            least = effects.QUIET * min(1.0, *scales) ** 2
            wanted = np.sqrt(max(effects.power(sound.reshape(-1)), least)) * effects.db_to_amplitude(
                -random.uniform(*s.snr_db)
            )
            sound = sound + noise * np.float32(wanted)
        same = int(random.integers(2**32))
        return np.stack(
            [record_with_microphone(np.random.default_rng(same), channel, rate, s, scales) for channel in sound]
        )

    def whole_clip(self, index: int) -> Example:
        """Recording `index` unchanged, as `classify` receives it; the middle if it is very long."""
        entry, length = self.entries[index], self.whole_length(index)
        begin = (entry.samples - length) // 2
        return Example(self.dataset.waveform(entry, begin, begin + length), self.make_target(entry))

    def whole_values(self, index: int, length: int) -> NDArray[np.float32]:
        """Network input for `whole_clip`, followed by silence up to this number of samples."""
        samples = self.whole_clip(index).samples
        return np.pad(samples, ((0, 0), (0, length - samples.shape[1])))

    def whole_length(self, index: int) -> int:
        """The length of `whole_clip` in samples, without reading it."""
        return min(self.entries[index].samples, to_samples(WHOLE_CLIP_SECONDS, self.dataset.sample_rate))

    def make_target(self, entry: Entry) -> Targets:
        """(1, labels): 1 for each label of the clip."""
        row = np.zeros((1, len(self.columns)), dtype=np.float32)
        row[0, [self.columns[label] for label in entry.labels if label in self.columns]] = 1.0
        return row

    def cumulative_chances(self, evenness: float) -> NDArray[np.float64]:
        """(clips,) cumulative weights. The weight of a clip is the largest of its labels; a clip with none of the
        labels weighs as much as one with the most frequent label."""
        weights = np.maximum(self.counts(), 1).astype(np.float64) ** -evenness
        least = float(weights.min())
        of_label = {label: float(weights[column]) for label, column in self.columns.items()}
        own = [
            max((of_label[name] for name in entry.labels if name in of_label), default=least) for entry in self.entries
        ]
        return np.cumsum(own)

    def targets(self) -> Targets:
        """(clips, labels) for all clips."""
        rows = np.zeros((len(self.entries), len(self.columns)), dtype=np.float32)
        for row, entry in zip(rows, self.entries, strict=True):
            row[[self.columns[label] for label in entry.labels if label in self.columns]] = 1.0
        return rows

    def counts(self) -> NDArray[np.int64]:
        """(labels,): the number of clips with each label."""
        counts = np.zeros(len(self.columns), dtype=np.int64)
        for entry in self.entries:
            counts[[self.columns[label] for label in entry.labels if label in self.columns]] += 1
        return counts


class ValidationClips(Sequence[Example]):
    """The validation clips, or every n-th of them. Each is read when it is indexed, to save memory."""

    def __init__(self, clips: ClipExamples, every: int = 1) -> None:
        self.clips, self.numbers = clips, range(0, len(clips.entries), every)

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> Example:  # type: ignore[override]
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.clips.whole_clip(self.numbers[index])

    def values(self, index: int, length: int) -> NDArray[np.float32]:
        """See `ClipExamples.whole_values`."""
        return self.clips.whole_values(self.numbers[index], length)

    def lengths(self) -> list[int]:
        return [self.clips.whole_length(number) for number in self.numbers]

    def targets(self) -> Targets:
        """(clips, labels)."""
        return self.clips.targets()[:: self.numbers.step]


def match_channels(first: Samples, second: Samples) -> tuple[Samples, Samples]:
    """Two clips with the same number of channels; both become mono if their numbers differ."""
    if len(first) == len(second):
        return first, second
    return first.mean(axis=0, keepdims=True), second.mean(axis=0, keepdims=True)


def combine_examples(first: Example, second: Example, share: float, samples: Samples) -> Example:
    """`samples` as an example. The labels are weighted by the shares, and the span reaches from the first start of the
    two clips to the last end."""
    targets = np.float32(share) * first.targets + np.float32(1.0 - share) * second.targets
    spans = [span for span in (first.span, second.span) if span]
    span = (min(start for start, _ in spans), max(stop for _, stop in spans))
    return Example(samples, targets.astype(np.float32), span)
