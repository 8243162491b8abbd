"""Checks before a training: `dry_run` makes a few steps, `overfit` learns a few examples by heart. Neither writes.

A network that cannot learn eight examples by heart has a fault in its data, its spec or its learning rate, and a
training of hours would not show it sooner.
"""

from __future__ import annotations

import dataclasses
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from audiocnn.data.dataset import Dataset
from audiocnn.recipe.recipe import Recipe
from audiocnn.recipe.settings import AUTO_BATCH_SIZE
from audiocnn.training.batches import TrainingSet, are_clips, first_examples, make_training_set, select_entries
from audiocnn.training.events import StepReport
from audiocnn.training.memory import batch_too_large, check_batch_fits, check_shared_memory, largest_batch
from audiocnn.training.trainer import Trainer
from audiocnn.training.transfer import check_transfer

TIMED_STEPS = 3
OVERFIT_STEPS = 400
LEARNED = 0.05  # of the first loss, and as a loss: what counts as next to nothing


@dataclass(frozen=True)
class DryRun:
    """One step of a training. Shapes as torch has them; seconds of an epoch are an estimate from a few steps."""

    labels: tuple[str, ...]
    groups: dict[str, int]
    weights: int
    learned_weights: int
    batch_size: int
    steps: int
    samples: tuple[int, ...]
    features: tuple[int, ...]
    logits: tuple[int, ...]
    targets: tuple[int, ...]
    loss: float
    memory_bytes: float
    step_seconds: float
    example_seconds: float
    epoch_seconds: float


@dataclass(frozen=True)
class Overfit:
    """Whether so many examples were learned by heart. Losses are means over them."""

    examples: int
    steps: int
    first_loss: float
    last_loss: float

    @property
    def learned(self) -> bool:
        return self.last_loss <= max(LEARNED, LEARNED * self.first_loss)


def dry_run(recipe: Recipe, dataset: Dataset, device: str) -> DryRun:
    """Check everything that `train` checks, and make a few steps whose weights are thrown away."""
    recipe, training_set, trainer = set_up(recipe, dataset, device)
    started = time.monotonic()
    batch = first_examples(recipe, training_set, recipe.train.batch_size)
    making = (time.monotonic() - started) / len(batch[0])
    losses, times = [], []
    for _ in range(TIMED_STEPS):
        started = time.monotonic()
        try:
            losses.append(trainer.train_step(*batch))
        except torch.OutOfMemoryError:
            raise batch_too_large(recipe, training_set, device, 1) from None
        times.append(time.monotonic() - started)
    network, step = trainer.network, min(times)
    with torch.no_grad():
        features = trainer.features(batch[0])
        logits = network.logits_of(features[:1])
    waiting = making * recipe.train.batch_size / max(1, recipe.train.workers)
    epoch = (max(step, waiting) if recipe.train.workers else step + waiting) * trainer.steps
    epoch += step * len(training_set.validation) / recipe.train.batch_size / 3  # a forward pass alone
    return DryRun(
        labels=training_set.labels,
        groups=training_set.groups,
        weights=sum(weight.numel() for weight in network.parameters()),
        learned_weights=sum(weight.numel() for weight in network.parameters() if weight.requires_grad),
        batch_size=recipe.train.batch_size,
        steps=trainer.steps,
        samples=tuple(batch[0].shape),
        features=tuple(features.shape),
        logits=(len(batch[0]), *logits.shape[1:]),
        targets=tuple(batch[1].shape),
        loss=losses[0],
        memory_bytes=peak_memory_bytes(device),
        step_seconds=step,
        example_seconds=making,
        epoch_seconds=epoch,
    )


def overfit(recipe: Recipe, dataset: Dataset, examples: int, device: str) -> Iterator[StepReport | Overfit]:
    """Learn the same few examples over and over: no augmentation, no dropout, nothing that keeps a loss above 0. Ends
    when the loss is next to nothing, or after `OVERFIT_STEPS` steps."""
    plain = dataclasses.replace(
        recipe.train, batch_size=examples, examples_per_epoch=examples, epochs=OVERFIT_STEPS, schedule="constant",
        label_smoothing=0.0, edge_seconds=0.0, teacher="", weight_decay=0.0, warmup_share=0.05, balance="none",
    )  # fmt: skip
    recipe = dataclasses.replace(recipe.with_defaults(are_clips(select_entries(recipe, dataset))), train=plain)
    recipe, training_set, trainer = set_up(without_augmentation(recipe), dataset, device)
    for module in trainer.network.modules():
        if isinstance(module, nn.Dropout | nn.Dropout1d | nn.Dropout2d):
            module.p = 0.0
    batch = first_examples(recipe, training_set, recipe.train.batch_size)
    losses: list[float] = []
    for step in range(OVERFIT_STEPS):
        trainer.state.epoch = step  # an epoch is one step
        losses.append(trainer.train_step(*batch))
        yield StepReport(1, step + 1, OVERFIT_STEPS, losses[-1])
        if Overfit(examples, step + 1, losses[0], losses[-1]).learned:
            break
    yield Overfit(examples, len(losses), losses[0], losses[-1])


def without_augmentation(recipe: Recipe) -> Recipe:
    """Examples without anything that changes their sound, but for what makes mixtures of recordings."""
    mix = dataclasses.replace(
        recipe.mix, speed=(1.0, 1.0), room_share=0.0, telephone_share=0.0, tilt_db=0.0, clip_share=0.0,
        equaliser_db=0.0, band_masks=0, time_masks=0, mixup=0.0, between_share=0.0, gain_db=(0.0, 0.0),
    )  # fmt: skip
    return dataclasses.replace(recipe, mix=mix)


def set_up(recipe: Recipe, dataset: Dataset, device: str) -> tuple[Recipe, TrainingSet, Trainer]:
    """As `train` begins, without a run."""
    recipe = recipe.with_defaults(are_clips(select_entries(recipe, dataset)))
    source = check_transfer(recipe) if recipe.transfer is not None else None
    training_set = make_training_set(recipe, dataset)
    if recipe.train.batch_size == AUTO_BATCH_SIZE:
        size = largest_batch(recipe, training_set, device)
        recipe = dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, batch_size=size))
    check_batch_fits(recipe, training_set, device)
    check_shared_memory(recipe, training_set)
    torch.manual_seed(recipe.seed)
    trainer = Trainer(recipe, training_set, device=device)
    if source is not None:
        trainer.begin_from(source)
    return recipe, training_set, trainer


def peak_memory_bytes(device: str) -> float:
    """The peak of this process: on a GPU of its memory there, else of all."""
    if device.startswith("cuda"):
        return float(torch.cuda.max_memory_allocated(device))
    return 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
