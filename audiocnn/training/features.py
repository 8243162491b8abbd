"""Training on the stored features of a dataset, without the front end: when this works, and examples from them.

They are computed from unchanged recordings. So they fit whole clips whose samples are only changed in gain: no speed
change, noise, room, telephone, mixture or synthetic sound. Augmentation of features (equaliser, warp, masks) works as
usual. Clips are placed so that their frames match those of the example; the loss is then the same as from samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from audiocnn.audio.pcm import from_int16
from audiocnn.augment.clips import ClipExamples
from audiocnn.augment.effects import Random
from audiocnn.augment.mixture import Targets
from audiocnn.augment.settings import find_sample_changes
from audiocnn.data.dataset import Dataset, Entry
from audiocnn.data.features import BandPowers, FeatureLayout, Powers, cut_padded
from audiocnn.model.network import Network
from audiocnn.recipe.recipe import Recipe
from audiocnn.spec.features import FEATURE_KEYS
from audiocnn.spec.spec import Spec
from audiocnn.units import to_samples


@dataclass(frozen=True)
class StoredExample:
    """As `Example`, of `length` samples. values: their powers (channels, bands, frames), extended as the network
    needs."""

    values: Powers
    targets: Targets
    span: tuple[int, int]
    length: int


@dataclass(frozen=True)
class Placement:
    """`count` samples of a recording from `begin` on, placed at sample `start` and surrounded by silence."""

    entry: Entry
    begin: int
    count: int
    start: int


class StoredClips(ClipExamples):
    """The same from stored features. A frame that is cut through is computed from samples."""

    def __init__(self, spec: Spec, dataset: Dataset, *about: Any, **more: Any) -> None:
        """about, more: as in `ClipExamples`."""
        super().__init__(dataset, *about, **more)
        assert dataset.layout is not None
        self.layout, self.geometry = dataset.layout, spec.geometry()
        self.offset = self.layout.offset(self.geometry.extend_start)
        self.powers = BandPowers(self.layout.input)

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of the values of an example."""
        return self.dataset.channels, self.layout.input.bands, self.frames(self.length)

    def frames(self, length: int) -> int:
        """Number of frames of this many samples, extended."""
        extended = length + self.geometry.extend_start + self.geometry.extend_end
        return (extended - self.layout.input.frame_samples) // self.layout.input.hop_samples + 1

    def example(self, epoch: int, index: int) -> StoredExample:  # type: ignore[override]
        """Example `index` of an epoch, always the same for the same seed."""
        random = np.random.default_rng([self.seed, epoch, index])
        place = self.place(random, self.entries[self.choose(random, epoch, index)])
        gain = np.float32(10.0 ** (random.uniform(*self.settings.gain_db) / 10.0))
        span = (place.start, place.start + place.count)
        return StoredExample(gain * self.read(place, self.length), self.make_target(place.entry), span, self.length)

    def place(self, random: Random, entry: Entry) -> Placement:
        """A part of a recording, or all of it at a random place, such that frames match. If a recording is as long as
        the example, and frames do not match at its start, it starts up to one hop later."""
        hop, spare = self.layout.input.hop_samples, self.length - entry.samples
        begins = range(self.offset, 1 - spare, hop) if spare < 0 else range(0)
        starts = range(-self.offset % hop, 1 + spare, hop)
        if starts:
            begin, start = 0, starts[int(random.integers(len(starts)))]
        else:
            begin, start = begins[int(random.integers(len(begins)))] if begins else self.offset, 0
        return Placement(entry, begin, min(entry.samples - begin, self.length - start), start)

    def whole_values(self, index: int, length: int) -> Powers:
        """As in `ClipExamples`. Of a very long clip the middle, to the frame. Samples, if frames do not match."""
        if self.offset:
            return super().whole_values(index, length)
        entry, count, hop = self.entries[index], self.whole_length(index), self.layout.input.hop_samples
        return self.read(Placement(entry, (entry.samples - count) // 2 // hop * hop, count, 0), length)

    def read(self, place: Placement, length: int) -> Powers:
        """(channels, bands, frames) of an example of this many samples."""
        frame, hop = self.layout.input.frame_samples, self.layout.input.hop_samples
        zero = place.begin - place.start - self.geometry.extend_start  # where frame 0 starts in the recording
        end, frames = place.begin + place.count, self.frames(length)

        def frames_before(sample: int) -> int:
            """Number of frames that start before a sample of the recording."""
            return min(max(0, -((zero - sample) // hop)), frames)

        reach, stop = frames_before(place.begin - frame + 1), frames_before(end)
        first = reach if place.begin == 0 else frames_before(place.begin)
        last = stop if end == place.entry.samples else max(first, frames_before(end - frame + 1))
        out = np.zeros((self.dataset.channels, self.layout.input.bands, frames), np.float32)
        if first < last:
            at = (zero - self.layout.first) // hop
            stored = self.dataset.features(place.entry)[:, at + first : at + last]
            out[..., first:last] = stored.reshape(out.shape[0], out.shape[1], -1)
        cut = self.dataset.samples(place.entry)[:, place.begin : end] if reach < first or last < stop else None
        for one, other in ((reach, first), (last, stop)):
            if cut is not None and one < other:
                offset = zero - place.begin
                piece = cut_padded(cut, offset + one * hop, offset + (other - 1) * hop + frame)
                out[..., one:other] = self.powers(from_int16(piece, place.entry.scale))
        return out


def features_of(network: Network, values: Tensor) -> Tensor:
    """Samples (batch, channels, samples) of whole recordings, or powers (batch, channels, bands, frames) of an example
    -> (batch, [channels,] bands, frames)."""
    if values.dim() == 4:
        return network.features_of_powers(values)
    return network.features(network.extended(values))


def find_misfits(recipe: Recipe, dataset: Dataset, entries: Sequence[Entry]) -> list[str]:
    """The reasons why stored features cannot be used for these whole clips: each setting that differs. recipe: with its
    defaults."""
    if dataset.layout is None:
        return ["they have an older format; ingest again with --features SPEC"]
    spec, mine, kept = recipe.spec.input, recipe.spec.input.powers, dataset.layout.input
    if spec.features == "waveform":
        return [f"{recipe.spec.name} takes samples"]
    if mine.features != kept.features:
        return [f"{recipe.spec.name} takes {spec.features}, but they are {kept.features}"]
    keys = [key for key in FEATURE_KEYS[kept.features] if getattr(mine, key) != getattr(kept, key)]
    found = [f"[input] {key} is {getattr(mine, key)}, but theirs is {getattr(kept, key)}" for key in keys]
    if dataset.channels not in (1, spec.channels):
        found.append(f"[input] channels is {spec.channels}, but they have {dataset.channels}")
    if changes := [f"{key} = {_show(value)}" for key, value in find_sample_changes(recipe.mix).items()]:
        found.append(f"[mix] {', '.join(changes)} change{'s' * (len(changes) == 1)} the samples")
    if recipe.mix.gain_db != (0.0, 0.0) and recipe.mix.float_share < 1.0:
        found.append(f"[mix] gain_db = {_show(recipe.mix.gain_db)} rounds to 16 bits unless float_share = 1")
    if to_samples(recipe.mix.seconds, spec.sample_rate) < 2 * kept.hop_samples:
        found.append(f"[mix] seconds = {recipe.mix.seconds:g} is less than two frames")
    if recipe.train.teacher:
        found.append("[train] teacher takes samples")
    if missing := sum(not dataset.has_features(entry) for entry in entries):
        found.append(f"{missing} of {len(entries)} clips have none; ingest again with --features SPEC")
    return found


def _show(value: Any) -> str:
    return f"[{value[0]:g}, {value[1]:g}]" if isinstance(value, tuple) else f"{value:g}"


def describe_reading(recipe: Recipe, layout: FeatureLayout) -> str:
    """A note that stored features are used, and which."""
    spec = recipe.spec.input
    low, high = (f"{hertz:g}" for hertz in (spec.low_hertz, spec.high_hertz))
    bands = f"{layout.input.bands} bands" + (f" of {low} to {high} Hz" if layout.input.features == "mel" else "")
    every = f"{1000 * spec.hop_samples / spec.sample_rate:.3g} ms"
    which = f"{spec.features}, {bands}, every {every}, stored for {layout.spec}"
    apart = layout.offset(recipe.spec.geometry().extend_start)
    held_out = f" (except for validation clips: their frames are {apart} samples apart)" if apart else ""
    return f"stored features of the dataset are used: {which}; no mixing{held_out}"
