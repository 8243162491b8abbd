"""Checks before a training: `dry_run` runs a few steps, `overfit` memorises a few examples. Neither writes anything.

A network that cannot memorise eight examples has a problem in its data, its spec or its learning rate, which a training
of hours would not show sooner.
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
LEARNED = 0.05  # relative to the first loss, and absolute: counts as learned


@dataclass(frozen=True)
class DryRun:
    """One step of a training. Shapes are those of torch; the seconds of an epoch are estimated from a few steps.
    settings: keys of `[train]` that a spec may set, with their values and sources. samples: or stored powers of the
    dataset. reading: whether these are used, and if not, why."""

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
    """Whether some examples were memorised. Losses are means over them."""

    examples: int
    steps: int
    first_loss: float
    last_loss: float

    @property
    def learned(self) -> bool:
        return self.last_loss <= max(LEARNED, LEARNED * self.first_loss)


def dry_run(recipe: Recipe, dataset: Dataset, device: str) -> DryRun:
    """Check everything that `train` checks, and run a few steps whose weights are discarded."""
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
    """Train on the same few examples repeatedly, without augmentation, dropout or anything else that keeps the loss
    above 0. Ends when the loss is close to 0, or after `OVERFIT_STEPS` steps."""
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
    """Examples without anything that changes their sound, except for mixing recordings."""
    kept = ("background_share", "nothing_share")
    plain = {key: nothing for key, nothing in SAMPLE_CHANGES.items() if key not in kept}
    mix = dataclasses.replace(recipe.mix, equaliser_db=0.0, band_masks=0, time_masks=0, gain_db=(0.0, 0.0), **plain)
    return dataclasses.replace(recipe, mix=mix)


def peak_memory_bytes(device: str) -> float:
    """The peak memory of this process: on a GPU that of the GPU, else all of it."""
    if device.startswith("cuda"):
        return float(torch.cuda.max_memory_allocated(device))
    return 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
