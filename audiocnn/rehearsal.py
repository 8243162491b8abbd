"""What is tried before a training: one step of it (`--dry-run`), or whether it can learn a few examples by heart
(`--overfit`). Neither writes anything.

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
from torch import Tensor, nn

from audiocnn.batch_fit import fitting, largest_batch, too_much
from audiocnn.batches import Batch, Examples, Material, are_clips, chosen, make_loader, prepare
from audiocnn.dataset import Dataset
from audiocnn.learning import Learner
from audiocnn.optimizing import rate_at
from audiocnn.recipe import AUTO, Recipe
from audiocnn.run_reports import StepReport
from audiocnn.transfer import begin_from, check_transfer

TIMED_STEPS = 3
OVERFIT_STEPS = 400
LEARNED = 0.05  # of the first loss, and as a loss: what counts as next to nothing


@dataclass(frozen=True)
class Rehearsal:
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
        """Whether the loss went to next to nothing."""
        return self.last_loss <= max(LEARNED, LEARNED * self.first_loss)


def rehearse(recipe: Recipe, dataset: Dataset, device: str) -> Rehearsal:
    """Check everything that `train` checks, and make a few steps whose weights are thrown away."""
    recipe, material, learner = set_up(recipe, dataset, torch.device(device))
    order, _ = make_loader(recipe, material.source)
    began = time.monotonic()
    batch = batch_of(recipe, material, recipe.train.batch_size)
    making = (time.monotonic() - began) / len(batch[0])
    losses, times = [], []
    for step in range(TIMED_STEPS):
        began = time.monotonic()
        try:
            losses.append(learner.learn(*batch, place=(0, step), rate=recipe.train.learning_rate))
        except torch.OutOfMemoryError:
            raise too_much(recipe, material, torch.device(device), 1) from None
        times.append(time.monotonic() - began)
    with torch.no_grad():
        features = learner.features(batch[0])
        logits = learner.network.logits_of(features[:1])
    each = min(times)
    waiting = making * recipe.train.batch_size / max(1, recipe.train.workers)
    epoch = (max(each, waiting) if recipe.train.workers else each + waiting) * len(order)
    network = learner.network
    return Rehearsal(
        labels=material.labels,
        groups=material.groups,
        weights=sum(weight.numel() for weight in network.parameters()),
        learned_weights=sum(weight.numel() for weight in network.parameters() if weight.requires_grad),
        batch_size=recipe.train.batch_size,
        steps=len(order),
        samples=tuple(batch[0].shape),
        features=tuple(features.shape),
        logits=(len(batch[0]), *logits.shape[1:]),
        targets=tuple(batch[1].shape),
        loss=losses[0],
        memory_bytes=memory_bytes(torch.device(device)),
        step_seconds=each,
        example_seconds=making,
        epoch_seconds=epoch + each * len(material.validation) / recipe.train.batch_size / 3,  # a forward pass alone
    )


def overfit(recipe: Recipe, dataset: Dataset, examples: int, device: str) -> Iterator[StepReport | Overfit]:
    """Learn the same few examples over and over: no augmentation, no dropout, nothing that keeps a loss above 0. Ends
    when the loss is next to nothing, or after `OVERFIT_STEPS` steps."""
    plain = dataclasses.replace(
        recipe.train, batch_size=examples, examples_per_epoch=examples, epochs=OVERFIT_STEPS, schedule="constant",
        label_smoothing=0.0, edge_seconds=0.0, teacher="", weight_decay=0.0, warmup_share=0.05, balance="none",
    )  # fmt: skip
    recipe = dataclasses.replace(recipe.settled(are_clips(chosen(recipe, dataset))), train=plain)
    recipe, material, learner = set_up(as_recorded(recipe), dataset, torch.device(device))
    for module in learner.network.modules():
        if isinstance(module, nn.Dropout | nn.Dropout1d | nn.Dropout2d):
            module.p = 0.0
    batch = batch_of(recipe, material, examples)
    losses: list[float] = []
    for step in range(OVERFIT_STEPS):
        rate = rate_at(recipe.train, step, 0, 1)
        losses.append(learner.learn(*batch, place=(0, step), rate=rate))
        yield StepReport(1, step + 1, OVERFIT_STEPS, losses[-1])
        if Overfit(examples, step + 1, losses[0], losses[-1]).learned:
            break
    yield Overfit(examples, len(losses), losses[0], losses[-1])


def as_recorded(recipe: Recipe) -> Recipe:
    """Examples without anything that changes their sound, but for what makes mixtures of recordings."""
    mix = dataclasses.replace(
        recipe.mix, speed=(1.0, 1.0), room_share=0.0, telephone_share=0.0, tilt_db=0.0, clip_share=0.0,
        equaliser_db=0.0, band_masks=0, time_masks=0, mixup=0.0, between_share=0.0, gain_db=(0.0, 0.0),
    )  # fmt: skip
    return dataclasses.replace(recipe, mix=mix)


def set_up(recipe: Recipe, dataset: Dataset, device: torch.device) -> tuple[Recipe, Material, Learner]:
    """As `train` begins, without a run."""
    recipe = recipe.settled(are_clips(chosen(recipe, dataset)))
    source = check_transfer(recipe) if recipe.transfer is not None else None
    material = prepare(recipe, dataset)
    if recipe.train.batch_size == AUTO:
        size = largest_batch(recipe, material, device)
        recipe = dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, batch_size=size))
    fitting(recipe, material, device)
    torch.manual_seed(recipe.seed)
    learner = Learner(recipe, material, device)
    if source is not None and recipe.transfer is not None:
        begin_from(source, material.labels, recipe.transfer.freeze, learner.network)
    return recipe, material, learner


def batch_of(recipe: Recipe, material: Material, size: int) -> Batch:
    """The first examples of the first epoch."""
    examples = Examples(material.source, recipe.spec.input.channels, recipe.spec.geometry().hop_samples)
    found = [examples[0, index] for index in range(size)]
    parts: list[Tensor] = [torch.stack(part) for part in zip(*found, strict=True)]
    samples, targets, spans = parts
    return samples, targets, spans


def memory_bytes(device: torch.device) -> float:
    """The most that this process has held at a time: on a GPU there, else altogether."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device))
    return 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
