"""Batches for training: examples made by worker processes while the network computes, in an order that is keyed."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from audiocnn.ahead import Ahead
from audiocnn.clip_examples import Clips, HeldOut
from audiocnn.cutting import divide
from audiocnn.dataset import Dataset, Entry
from audiocnn.errors import DatasetError, RecipeError
from audiocnn.label_check import check_labels
from audiocnn.mixing import Example, Mixer, MixSettings
from audiocnn.ranks import Ranks, rows_or_one
from audiocnn.recipe import LEAST_BATCHES, Recipe, TrainSettings
from audiocnn.tuning import tuning_examples
from audiocnn.warping import warp_bands

Key = tuple[int, int]
EQUALISER_KNOTS = 6
BATCHES_AHEAD = 2
ALONE = Ranks()


class Source(Protocol):
    """Makes example `index` of an epoch."""

    def example(self, epoch: int, index: int) -> Example: ...


@dataclass(frozen=True)
class Material:
    """What a recipe trains on: the labels, the source of examples, and the examples it stops early on."""

    labels: tuple[str, ...]
    source: Source
    validation: Sequence[Example]
    clips: bool  # labels of whole recordings, rather than segments
    groups: dict[str, int]  # how many groups went to training and to validation
    seconds: float  # of recordings that are trained on
    several: bool = False  # a clip may have more than one label, or none
    balanced: bool = False  # rare labels count as much as frequent ones
    counts: tuple[int, ...] = ()  # of clips: how many of each label are trained on


Batch = tuple[Tensor, Tensor, Tensor]


class Examples(torch.utils.data.Dataset[Batch]):
    """Examples by (epoch, index), as torch wants them: samples, targets, and the positions [first, stop) that count."""

    def __init__(self, source: Source, channels: int, hop_samples: int) -> None:
        self.source, self.channels, self.hop_samples = source, channels, hop_samples

    def __getitem__(self, key: Key) -> Batch:
        example = self.source.example(*key)
        return *as_tensors(example, self.channels), positions_of(example, self.hop_samples)


class Order(torch.utils.data.Sampler[list[Key]]):
    """The keys of one epoch's batches, from a step on; of several processes, this one's share of each batch."""

    def __init__(self, examples: int, batch_size: int, ranks: Ranks = ALONE) -> None:
        self.examples, self.batch_size, self.ranks = examples, batch_size, ranks
        self.epoch, self.first_step = 0, 0

    def __len__(self) -> int:
        return math.ceil(self.examples / self.batch_size)

    def __iter__(self) -> Iterator[list[Key]]:
        for step in range(self.first_step, len(self)):
            yield list(rows_or_one(self.batch(step), self.ranks))

    def batch(self, step: int) -> list[Key]:
        """The keys of the whole batch of a step."""
        first = step * self.batch_size
        return [(self.epoch, i) for i in range(first, min(first + self.batch_size, self.examples))]


def as_tensors(example: Example, channels: int) -> tuple[Tensor, Tensor]:
    """(channels, samples) and (rows, labels). Mono is repeated; any other count of channels becomes mono first."""
    samples = example.samples
    if len(samples) != channels:
        samples = np.repeat(samples.mean(axis=0, keepdims=True), channels, axis=0)
    return torch.from_numpy(np.ascontiguousarray(samples)), torch.from_numpy(example.targets)


def positions_of(example: Example, hop_samples: int) -> Tensor:
    """(2,) [first, stop) of the positions that hold some of the clip, at least one; of a mixture all."""
    count = max(1, -(-example.samples.shape[1] // hop_samples))
    if example.span is None:
        return torch.tensor([0, count])
    first = min(example.span[0] // hop_samples, count - 1)
    return torch.tensor([first, max(first + 1, -(-example.span[1] // hop_samples))])


def examples_of(settings: TrainSettings, clips: int) -> int:
    """How many examples an epoch has; where nothing is said, each of the clips once, and at least a few batches."""
    if settings.examples_per_epoch:
        return settings.examples_per_epoch
    if not clips:
        raise RecipeError("[train] examples_per_epoch = 0 is for whole clips, each once; say how many mixtures")
    return max(clips, LEAST_BATCHES * settings.batch_size)


def make_loader(
    recipe: Recipe, source: Source, ranks: Ranks = ALONE
) -> tuple[Order, torch.utils.data.DataLoader[Batch]]:
    """The loader of training batches, and the order that says which epoch comes next."""
    settings = recipe.train
    clips = len(source.entries) if isinstance(source, Clips) else 0
    order = Order(examples_of(settings, clips), settings.batch_size, ranks)
    loader = torch.utils.data.DataLoader(
        Examples(source, recipe.spec.input.channels, recipe.spec.geometry().hop_samples),
        batch_sampler=order,
        # Without a generator of its own a loader draws from the random state that dropout uses, and a run that was
        # resumed inside an epoch would not be the run that went straight through.
        generator=torch.Generator(),
        num_workers=settings.workers,
        prefetch_factor=4 if settings.workers else None,
        worker_init_fn=leave_quietly_when_told,
    )
    return order, loader


@contextmanager
def ahead_of(loader: Iterable[Batch]) -> Iterator[Iterator[Batch]]:
    """The batches of a loader. Where no worker processes make them, a thread does, while the network learns."""
    if getattr(loader, "num_workers", 1):
        yield iter(loader)
        return
    batches = Ahead(iter(loader), BATCHES_AHEAD)
    try:
        yield batches
    finally:
        batches.close()


def leave_quietly_when_told(worker: int) -> None:
    """In a worker process: end on SIGTERM as if all were done. Where a whole process group is told to end, torch would
    else raise in the main process that a worker died, on top of what that does about the signal itself."""
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(0))


def prepare(recipe: Recipe, dataset: Dataset, judges: bool = True) -> Material:
    """Divide a dataset by group, and set up the examples. DatasetError where it does not fit the recipe. judges: False
    in a process that leaves validation to another one."""
    wanted = recipe.spec.input.sample_rate
    if dataset.sample_rate != wanted:
        fact = f"{dataset.folder}: has {dataset.sample_rate} Hz and the spec wants {wanted}"
        raise DatasetError(f"{fact}; ingest with --sample-rate {wanted}")
    entries = chosen(recipe, dataset)
    labels = (recipe.data.labels if recipe.data else None) or dataset.labels
    if not labels or not entries:
        raise DatasetError(f"{dataset.folder}: nothing to train on: {len(entries)} recordings, {len(labels)} labels")
    clips = are_clips(entries)
    recipe = recipe.settled(clips)

    division = divide(dataset, recipe)
    train, held_out = division.train, division.validation
    if recipe.evaluate.conditions is None:
        check_labels(recipe, dataset, division, labels)
    groups = {"train": len({entry.group for entry in train}), "validation": len({entry.group for entry in held_out})}
    seconds = sum(dataset.duration_seconds(entry) for entry in train)
    if clips:
        return whole_clips(recipe, dataset, (train, held_out), labels, Facts(groups, seconds))
    examples_of(recipe.train, 0)
    hop = recipe.spec.geometry().hop_samples
    source = Mixer(dataset, train, labels, recipe.mix, hop, recipe.seed)
    if not judges:
        validation = []
    elif recipe.evaluate.conditions is not None:
        validation = tuning_examples(recipe, dataset, train)
    elif not held_out:
        validation = []
    else:
        mixer = Mixer(dataset, held_out, labels, recipe.mix, hop, recipe.seed + 1)
        validation = [mixer.example(0, index) for index in range(recipe.train.validation_examples)]
    return Material(tuple(labels), source, validation, False, groups, seconds)


def chosen(recipe: Recipe, dataset: Dataset) -> list[Entry]:
    """The recordings of the recipe's split."""
    split = recipe.data.split if recipe.data else None
    return [entry for entry in dataset.entries if split is None or entry.split in (split, None)]


def are_clips(entries: Sequence[Entry]) -> bool:
    """Whether these carry labels as wholes: of none it is known where in it something is."""
    return not any(entry.annotated for entry in entries)


class Facts(NamedTuple):
    """What was divided."""

    groups: dict[str, int]
    seconds: float


def whole_clips(
    recipe: Recipe, dataset: Dataset, parts: tuple[list[Entry], list[Entry]], labels: Sequence[str], facts: Facts
) -> Material:
    """Clips to train on and to stop early on."""
    several, sigmoid = has_several(recipe, dataset), recipe.spec.f.output == "sigmoid"
    if recipe.evaluate.conditions is not None:
        raise RecipeError(
            f"{recipe.name}: [evaluate] conditions are for segments, and these are whole clips; leave it out"
        )
    if recipe.spec.localises:
        fact = f'{recipe.name}: output = "{recipe.spec.f.output}" needs onsets and offsets, and these are whole clips'
        raise RecipeError(f'{fact}; mark where in them the labels are, or take output = "sigmoid" or "softmax" in [f]')
    if several and not sigmoid:
        fact = f'{recipe.name}: labels_per_clip = "several" and output = "{recipe.spec.f.output}" exclude each other'
        raise RecipeError(f'{fact}, since the scores of one clip then add up to 1; take output = "sigmoid" in [f]')
    even = recipe.train.balance_power if recipe.train.balance == "sampling" else 0.0
    source = Clips(dataset, parts[0], labels, recipe.mix, recipe.seed, even, sigmoid)
    stop = Clips(dataset, parts[1], labels, recipe.mix, recipe.seed, others=sigmoid) if parts[1] else None
    held_out: Sequence[Example] = [] if stop is None else HeldOut(stop)
    counts = tuple(source.counts().tolist())
    balanced = recipe.train.balance != "none"
    return Material(tuple(labels), source, held_out, True, *facts, several, balanced, counts)


def has_several(recipe: Recipe, dataset: Dataset) -> bool:
    """Whether a clip may have several labels."""
    return dataset.several or (recipe.data is not None and recipe.data.labels_per_clip == "several")


class Rows(NamedTuple):
    """Which examples of a whole batch of `total` these are, and how the mean over all of it is found."""

    mine: range
    total: int
    mean: Callable[[Tensor], Tensor] = torch.mean


def all_of(values: Tensor) -> Rows:
    """A whole batch."""
    return Rows(range(len(values)), len(values))


def varied(values: Tensor, recipe: Recipe, random: np.random.Generator, rows: Rows | None = None) -> Tensor:
    """Features as of another throat and another microphone, with bands and frames hidden; a waveform stays as it is.
    rows: of a share of a batch, which then gets what it would get as a part of the whole."""
    rows = rows or all_of(values)
    warp = recipe.mix.band_warp
    if warp != (1.0, 1.0):
        factors = random.uniform(*warp, rows.total)[rows.mine.start : rows.mine.stop]
        values = warp_bands(values, recipe.spec.input, factors)
    if recipe.spec.input.logarithmic:
        values = equalise(values, recipe.mix, random, rows)
    if recipe.spec.input.features == "waveform":
        return values
    return mask_frames(mask_bands(values, recipe.mix, random, rows), recipe.mix, random, rows)


def equalise(values: Tensor, settings: MixSettings, random: np.random.Generator, rows: Rows | None = None) -> Tensor:
    """Another microphone for each example: a smooth random curve over the bands, up to so many dB up or down, added to
    the log power (batch, [channels,] bands, frames)."""
    bands, rows = values.shape[-2], rows or all_of(values)
    if not settings.equaliser_db or bands < 2:
        return values
    knots = np.linspace(0, bands - 1, EQUALISER_KNOTS)
    gains = random.uniform(-settings.equaliser_db, settings.equaliser_db, (rows.total, EQUALISER_KNOTS))
    gains = gains[rows.mine.start : rows.mine.stop]
    curves = np.stack([np.interp(np.arange(bands), knots, row) for row in gains]) * np.log(10.0) / 10.0
    added = torch.from_numpy(curves).to(values)
    return values + added.reshape(len(values), *[1] * (values.dim() - 3), bands, 1)


def mask_bands(values: Tensor, settings: MixSettings, random: np.random.Generator, rows: Rows | None = None) -> Tensor:
    """SpecAugment's frequency masks (Park et al. 2019, section 2): bands of (batch, [channels,] bands, frames) set to
    the mean of the batch, other bands for each example."""
    return hidden(values, settings.band_masks, settings.band_mask_width, random, -2, rows)


def mask_frames(values: Tensor, settings: MixSettings, random: np.random.Generator, rows: Rows | None = None) -> Tensor:
    """SpecAugment's time masks (Park et al. 2019, section 2): frames of (batch, [channels,] bands, frames) set to the
    mean of the batch, other frames for each example."""
    return hidden(values, settings.time_masks, settings.time_mask_width, random, -1, rows)


def hidden(
    values: Tensor, masks: int, width: float, random: np.random.Generator, axis: int, rows: Rows | None = None
) -> Tensor:
    """So many stretches of an axis, each up to a share of it, set to the mean of the batch; an axis of fewer than 8
    stays as it is."""
    size, rows = values.shape[axis], rows or all_of(values)
    widest = int(width * size)
    if widest < 1 or masks < 1 or size < 8:
        return values
    keep = np.ones((rows.total, size), dtype=bool)
    for row in keep:
        for _ in range(masks):
            length = int(random.integers(0, widest + 1))
            start = int(random.integers(0, size - length + 1))
            row[start : start + length] = False
    shape = [len(values)] + [1] * (values.dim() - 1)
    shape[axis] = size
    mask = torch.from_numpy(keep[rows.mine.start : rows.mine.stop]).to(values.device).reshape(shape)
    return torch.where(mask, values, rows.mean(values))
