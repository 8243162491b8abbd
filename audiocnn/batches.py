"""Batches for training: examples made by worker processes while the network computes, in an order that is keyed."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from audiocnn.clip_examples import Clips
from audiocnn.cutting import cut_by_group, kind_by
from audiocnn.dataset import Dataset
from audiocnn.errors import DatasetError, RecipeError
from audiocnn.mixing import Example, Mixer, MixSettings
from audiocnn.recipe import Recipe
from audiocnn.tuning import tuning_examples

Key = tuple[int, int]
EQUALISER_KNOTS = 6


class Source(Protocol):
    """Makes example `index` of an epoch."""

    def example(self, epoch: int, index: int) -> Example: ...


@dataclass(frozen=True)
class Material:
    """What a recipe trains on: the labels, the source of examples, and the examples it stops early on."""

    labels: tuple[str, ...]
    source: Source
    validation: list[Example]
    clips: bool  # one label a recording, rather than segments
    groups: dict[str, int]  # how many groups went to training and to validation
    seconds: float  # of recordings that are trained on


class Examples(torch.utils.data.Dataset[tuple[Tensor, Tensor]]):
    """Examples by (epoch, index), as torch wants them."""

    def __init__(self, source: Source, channels: int) -> None:
        self.source, self.channels = source, channels

    def __getitem__(self, key: Key) -> tuple[Tensor, Tensor]:
        return as_tensors(self.source.example(*key), self.channels)


class Order(torch.utils.data.Sampler[list[Key]]):
    """The keys of one epoch's batches, from a step on."""

    def __init__(self, examples: int, batch_size: int) -> None:
        self.examples, self.batch_size = examples, batch_size
        self.epoch, self.first_step = 0, 0

    def __len__(self) -> int:
        return math.ceil(self.examples / self.batch_size)

    def __iter__(self) -> Iterator[list[Key]]:
        for step in range(self.first_step, len(self)):
            first = step * self.batch_size
            yield [(self.epoch, i) for i in range(first, min(first + self.batch_size, self.examples))]


def as_tensors(example: Example, channels: int) -> tuple[Tensor, Tensor]:
    """(channels, samples) and (rows, labels). Mono is repeated; any other count of channels becomes mono first."""
    samples = example.samples
    if len(samples) != channels:
        samples = np.repeat(samples.mean(axis=0, keepdims=True), channels, axis=0)
    return torch.from_numpy(np.ascontiguousarray(samples)), torch.from_numpy(example.targets)


def make_loader(recipe: Recipe, source: Source) -> tuple[Order, torch.utils.data.DataLoader[tuple[Tensor, Tensor]]]:
    """The loader of training batches, and the order that says which epoch comes next."""
    settings = recipe.train
    order = Order(settings.examples_per_epoch, settings.batch_size)
    loader = torch.utils.data.DataLoader(
        Examples(source, recipe.spec.input.channels),
        batch_sampler=order,
        # Without a generator of its own a loader draws from the random state that dropout uses, and a run that was
        # resumed inside an epoch would not be the run that went straight through.
        generator=torch.Generator(),
        num_workers=settings.workers,
        prefetch_factor=4 if settings.workers else None,
        worker_init_fn=leave_quietly_when_told,
    )
    return order, loader


def leave_quietly_when_told(worker: int) -> None:
    """In a worker process: end on SIGTERM as if all were done. Where a whole process group is told to end, torch would
    else raise in the main process that a worker died, on top of what that does about the signal itself."""
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(0))


def prepare(recipe: Recipe, dataset: Dataset) -> Material:
    """Divide a dataset by group, and set up the examples. DatasetError where it does not fit the recipe."""
    wanted = recipe.spec.input.sample_rate
    if dataset.sample_rate != wanted:
        fact = f"{dataset.folder}: has {dataset.sample_rate} Hz and the spec wants {wanted}"
        raise DatasetError(f"{fact}; ingest with --sample-rate {wanted}")
    split = recipe.data.split if recipe.data else None
    entries = [entry for entry in dataset.entries if split is None or entry.split in (split, None)]
    labels = (recipe.data.labels if recipe.data else None) or dataset.labels
    if not labels or not entries:
        raise DatasetError(f"{dataset.folder}: nothing to train on: {len(entries)} recordings, {len(labels)} labels")
    clips = not any(entry.annotated for entry in entries)

    kind = kind_by(dataset, labels, recipe.mix.balance, clips)
    train, held_out = cut_by_group(entries, recipe.train.validation_share, kind, bool(recipe.mix.balance))
    groups = {"train": len({entry.group for entry in train}), "validation": len({entry.group for entry in held_out})}
    seconds = sum(dataset.duration_seconds(entry) for entry in train)
    if clips and recipe.evaluate.conditions is not None:
        raise RecipeError(
            f"{recipe.name}: [evaluate] conditions are for segments, and these are whole clips; leave it out"
        )
    if clips:
        source: Source = Clips(dataset, train, labels, recipe.mix, recipe.seed)
        whole = Clips(dataset, held_out, labels, recipe.mix, recipe.seed)
        validation = [whole.clip(index) for index in range(len(whole.entries))]
    else:
        hop = recipe.spec.geometry().hop_samples
        source = Mixer(dataset, train, labels, recipe.mix, hop, recipe.seed)
        if recipe.evaluate.conditions is not None:
            validation = tuning_examples(recipe, dataset, train)
        else:
            mixer = Mixer(dataset, held_out, labels, recipe.mix, hop, recipe.seed + 1)
            validation = [mixer.example(0, index) for index in range(recipe.train.validation_examples)]
    return Material(tuple(labels), source, validation, clips, groups, seconds)


def equalise(values: Tensor, settings: MixSettings, random: np.random.Generator) -> Tensor:
    """Another microphone for each example: a smooth random curve over the bands, up to so many dB up or down, added to
    the log power (batch, [channels,] bands, frames)."""
    bands = values.shape[-2]
    if not settings.equaliser_db or bands < 2:
        return values
    knots = np.linspace(0, bands - 1, EQUALISER_KNOTS)
    gains = random.uniform(-settings.equaliser_db, settings.equaliser_db, (len(values), EQUALISER_KNOTS))
    curves = np.stack([np.interp(np.arange(bands), knots, row) for row in gains]) * np.log(10.0) / 10.0
    added = torch.from_numpy(curves).to(values)
    return values + added.reshape(len(values), *[1] * (values.dim() - 3), bands, 1)


def mask_bands(values: Tensor, settings: MixSettings, random: np.random.Generator) -> Tensor:
    """SpecAugment's frequency masks (Park et al. 2019, section 2): bands of (batch, [channels,] bands, frames) set to
    the mean of the batch, other bands for each example."""
    bands = values.shape[-2]
    widest = int(settings.band_mask_width * bands)
    if widest < 1 or settings.band_masks < 1 or bands < 8:
        return values
    keep = np.ones((len(values), bands), dtype=bool)
    for row in keep:
        for _ in range(settings.band_masks):
            width = int(random.integers(0, widest + 1))
            start = int(random.integers(0, bands - width + 1))
            row[start : start + width] = False
    shape = (len(values), *[1] * (values.dim() - 3), bands, 1)
    mask = torch.from_numpy(keep).to(values.device).reshape(shape)
    return torch.where(mask, values, values.mean())
