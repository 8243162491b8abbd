"""Checks before a training: `dry_run` makes a few steps, `overfit` learns a few examples by heart. Neither writes.

A network that cannot learn eight examples by heart has a fault in its data, its spec or its learning rate, and a
training of hours would not show it sooner.
"""

from __future__ import annotations

import dataclasses
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from audiocnn.augment.settings import SAMPLE_CHANGES
from audiocnn.data.dataset import Dataset
from audiocnn.recipe.recipe import GivenBy, Recipe
from audiocnn.training.batches import are_clips, first_examples, select_entries
from audiocnn.training.budget import measure_pace, set_up
from audiocnn.training.events import StepReport

OVERFIT_STEPS = 400
LEARNED = 0.05  # of the first loss, and as a loss: what counts as next to nothing


@dataclass(frozen=True)
class DryRun:
    """One step of a training. Shapes as torch has them; seconds of an epoch are an estimate from a few steps. settings:
    keys of `[train]` that a spec may give, with their values and who gave them. samples: or the powers that a dataset
    keeps; reading: whether these are read, and if not, why."""

    labels: tuple[str, ...]
    settings: dict[str, tuple[Any, GivenBy]]
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
    reading: str = ""


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
    given_by = recipe.given_by()
    recipe, training_set, trainer = set_up(recipe, dataset, device)
    pace = measure_pace(recipe, training_set, trainer)
    batch = first_examples(recipe, training_set, 1)
    network = trainer.network
    with torch.no_grad():
        features = trainer.features(batch[0])
        logits = network.logits_of(features)
    size = recipe.train.batch_size
    return DryRun(
        labels=training_set.labels,
        settings={key: (getattr(recipe.train, key), who) for key, who in given_by.items()},
        groups=training_set.groups,
        weights=sum(weight.numel() for weight in network.parameters()),
        learned_weights=sum(weight.numel() for weight in network.parameters() if weight.requires_grad),
        batch_size=recipe.train.batch_size,
        steps=trainer.steps,
        samples=(size, *batch[0].shape[1:]),
        features=(size, *features.shape[1:]),
        logits=(size, *logits.shape[1:]),
        targets=(size, *batch[1].shape[1:]),
        loss=pace.losses[0],
        memory_bytes=peak_memory_bytes(device),
        step_seconds=pace.step_seconds,
        example_seconds=pace.example_seconds,
        epoch_seconds=pace.epoch_seconds,
        reading=training_set.features,
    )


def overfit(recipe: Recipe, dataset: Dataset, examples: int, device: str) -> Iterator[StepReport | Overfit]:
    """Learn the same few examples over and over: no augmentation, no dropout, nothing that keeps a loss above 0. Ends
    when the loss is next to nothing, or after `OVERFIT_STEPS` steps."""
    recipe = recipe.with_defaults(are_clips(select_entries(recipe, dataset)))
    plain = dataclasses.replace(
        recipe.train, batch_size=examples, examples_per_epoch=examples, epochs=OVERFIT_STEPS, schedule="constant",
        label_smoothing=0.0, edge_seconds=0.0, teacher="", weight_decay=0.0, warmup_share=0.05, balance="none",
    )  # fmt: skip
    recipe = dataclasses.replace(recipe, train=plain)
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
    kept = ("background_share", "nothing_share")
    plain = {key: nothing for key, nothing in SAMPLE_CHANGES.items() if key not in kept}
    mix = dataclasses.replace(recipe.mix, equaliser_db=0.0, band_masks=0, time_masks=0, gain_db=(0.0, 0.0), **plain)
    return dataclasses.replace(recipe, mix=mix)


def peak_memory_bytes(device: str) -> float:
    """The peak of this process: on a GPU of its memory there, else of all."""
    if device.startswith("cuda"):
        return float(torch.cuda.max_memory_allocated(device))
    return 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
