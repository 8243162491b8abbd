"""Measures how long a training takes on this machine in a few steps, and plans a training of a given duration.

recipe -> timed steps -> seconds per example, per validation, and for the end -> as many examples as fit
"""

from __future__ import annotations

import dataclasses
import math
import time
from dataclasses import dataclass

import torch

from audiocnn.augment.clips import ClipExamples
from audiocnn.data.dataset import Dataset
from audiocnn.errors import UsageError
from audiocnn.recipe.division import divide
from audiocnn.recipe.recipe import Recipe
from audiocnn.recipe.settings import AUTO_BATCH_SIZE, LEAST_BATCHES
from audiocnn.training.batches import TrainingSet, are_clips, first_examples, make_training_set, select_entries
from audiocnn.training.memory import batch_too_large, check_batch_fits, largest_batch
from audiocnn.training.threads import choose_threads, keep_threads
from audiocnn.training.trainer import FORWARD_SHARE, Clock, Trainer
from audiocnn.training.transfer import check_transfer
from audiocnn.training.validate import lengths_of

_WARM_UP_STEPS, TIMED_STEPS = 1, 4
PLANNED_EPOCHS = (8, 60)  # of a planned training, unless validation takes too large a share
_VALIDATION_SHARE = 0.2  # of the time, at most


@dataclass(frozen=True)
class Pace:
    """Measured seconds. step: of a batch, including the wait for its examples. example: to make one. validation: of an
    epoch. end: calibration, thresholds and test. steps: per epoch of the recipe. losses: of the measured steps."""

    step_seconds: float
    example_seconds: float
    validation_seconds: float
    end_seconds: float
    steps: int
    losses: tuple[float, ...]
    threads: int | None = None

    @property
    def epoch_seconds(self) -> float:
        return self.steps * self.step_seconds + self.validation_seconds


def measure_pace(
    recipe: Recipe,
    training_set: TrainingSet,
    trainer: Trainer,
    test_clips: int = 0,
    threads: int | None = None,
    clock: Clock = time.monotonic,
) -> Pace:
    """Run a few steps, which change the weights of `trainer`. threads: None chooses the fastest number, as a training
    does. AudiocnnError if a batch does not fit into memory."""
    with keep_threads():
        if trainer.device.type == "cpu":
            threads = threads or choose_threads(recipe, training_set).threads
            torch.set_num_threads(threads)
        return dataclasses.replace(_measure_steps(recipe, training_set, trainer, test_clips, clock), threads=threads)


def _measure_steps(recipe: Recipe, training_set: TrainingSet, trainer: Trainer, test_clips: int, clock: Clock) -> Pace:
    train, device = recipe.train, trainer.device
    started = clock()
    batch = first_examples(recipe, training_set, train.batch_size)
    making = (clock() - started) / len(batch[0])
    losses, times = [], []
    for _ in range(_WARM_UP_STEPS + TIMED_STEPS):
        started = clock()
        try:
            losses.append(trainer.train_step(*batch))
        except torch.OutOfMemoryError:
            raise batch_too_large(recipe, training_set, str(device), 1) from None
        times.append(clock() - started)
    step = sorted(times[_WARM_UP_STEPS:])[TIMED_STEPS // 2]
    waiting = making * train.batch_size / max(1, train.workers)
    forward = step * FORWARD_SHARE / (train.batch_size * recipe.mix.seconds)  # per second of sound
    validation = forward * _validation_seconds(recipe, training_set)
    end = 2 * validation + forward * test_clips * recipe.mix.seconds
    step = max(step, waiting) if train.workers else step + waiting
    return Pace(step, making, validation, end, trainer.steps, tuple(losses))


def _validation_seconds(recipe: Recipe, training_set: TrainingSet) -> float:
    """Seconds of sound in a validation."""
    examples = training_set.validation
    return sum(lengths_of(examples)) / recipe.spec.input.sample_rate if len(examples) else 0.0


def fit_minutes(recipe: Recipe, pace: Pace, clips: int, minutes: float) -> Recipe:
    """The recipe with as many epochs as fit, within `PLANNED_EPOCHS`, and with as many examples per epoch as fill the
    time. clips: number of examples that use each clip once; 0 for mixtures, which are never the same.

    UsageError if not even a few batches fit.
    """
    train = recipe.train
    seconds = 60.0 * minutes - pace.end_seconds
    epochs = PLANNED_EPOCHS[1]
    if clips:
        once = max(LEAST_BATCHES, math.ceil(clips / train.batch_size))
        epochs = min(
            max(PLANNED_EPOCHS[0], int(seconds / (once * pace.step_seconds + pace.validation_seconds))), epochs
        )
    if pace.validation_seconds:
        epochs = min(epochs, max(1, int(_VALIDATION_SHARE * seconds / pace.validation_seconds)))
    if not clips:  # for mixtures, as many as have a few batches each
        epochs = min(epochs, max(1, int(seconds / (LEAST_BATCHES * pace.step_seconds + pace.validation_seconds))))
    batches = int((seconds / epochs - pace.validation_seconds) / pace.step_seconds)
    if batches < LEAST_BATCHES:
        least = pace.end_seconds + PLANNED_EPOCHS[0] * (LEAST_BATCHES * pace.step_seconds + pace.validation_seconds)
        given = f"--minutes {minutes:g}: too few for this network and these recordings"
        raise UsageError(f"{given}; give {math.ceil(least / 6.0) / 10.0:g} or more")
    settings = dataclasses.replace(
        train,
        epochs=epochs,
        examples_per_epoch=batches * train.batch_size,
        patience=max(train.patience, epochs // 2),
    )
    return dataclasses.replace(recipe, train=settings)


def measure(recipe: Recipe, dataset: Dataset, device: str, threads: int | None = None) -> tuple[Recipe, Pace, int]:
    """The recipe with its defaults and its batch size, its pace on a dataset, and the number of examples that use each
    clip once. threads: as in `measure_pace`. Nothing is written."""
    recipe, training_set, trainer = set_up(recipe, dataset, device)
    tested = len(divide(dataset, recipe).test) if training_set.clips else 0
    pace = measure_pace(recipe, training_set, trainer, tested, threads)
    clips = training_set.source.round if isinstance(training_set.source, ClipExamples) else 0
    return recipe, pace, clips


def set_up(recipe: Recipe, dataset: Dataset, device: str) -> tuple[Recipe, TrainingSet, Trainer]:
    """The start of `train`, without a run folder."""
    recipe = recipe.with_defaults(are_clips(select_entries(recipe, dataset)))
    source = check_transfer(recipe) if recipe.transfer is not None else None
    training_set = make_training_set(recipe, dataset)
    if recipe.train.batch_size == AUTO_BATCH_SIZE:
        size = largest_batch(recipe, training_set, device)
        recipe = dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, batch_size=size))
    check_batch_fits(recipe, training_set, device)
    torch.manual_seed(recipe.seed)
    trainer = Trainer(recipe, training_set, device=device)
    if source is not None:
        trainer.begin_from(source)
    return recipe, training_set, trainer
