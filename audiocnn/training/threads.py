"""How many threads a training on a processor takes: as many as help, by steps that are timed with each number.

Where other processes keep the cores busy, threads wait for each other, and two can take longer than one.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch

from audiocnn.errors import RecipeError, UsageError
from audiocnn.inference.engine import usable_cores
from audiocnn.recipe.recipe import Recipe
from audiocnn.training.batches import TrainingSet, first_examples
from audiocnn.training.trainer import Trainer
from audiocnn.units import count_noun

AUTO_THREADS = 0  # as the number of threads: measured
_TIMED_STEPS = 3  # with each number, behind one that is not counted
_MOST_SECONDS = 10.0  # of a number whose steps are slow
_HOPELESS = 3.0  # times as long as with fewer: not tried any further
_LEAST_GAIN = 0.9  # more threads are taken where a step takes less than this of its time with fewer


@dataclass(frozen=True)
class ThreadChoice:
    """step_seconds: of a step with each number of threads that was tried; empty where nothing was measured."""

    threads: int
    step_seconds: dict[int, float]

    def __str__(self) -> str:
        times = ", ".join(f"{seconds:.2g} s with {threads}" for threads, seconds in self.step_seconds.items())
        return f"{count_noun(self.threads, 'thread')}: a step takes {times}; --threads overrides this"


def check_threads(threads: int | None) -> None:
    """UsageError for a number of threads that this machine has no cores for."""
    cores = usable_cores()
    if threads is not None and not 1 <= threads <= cores:
        raise UsageError(f"--threads {threads}: not possible with {count_noun(cores, 'core')}; give 1 to {cores}")


@contextmanager
def keep_threads() -> Iterator[None]:
    """The number of threads of torch is afterwards what it was before."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def choose_threads(recipe: Recipe, training_set: TrainingSet) -> ThreadChoice:
    """The number of threads, up to what torch would take, with which steps are fast. They are made by a trainer of
    their own; random draws that follow, and the number of threads, are as before."""
    most = torch.get_num_threads()
    numbers = [*(2**power for power in range(most.bit_length()) if 2**power < most), most]
    if len(numbers) == 1:
        return ThreadChoice(most, {})
    random = torch.get_rng_state()
    try:
        with keep_threads():
            plain = replace(recipe, train=replace(recipe.train, compile=False))
            trainer = Trainer(plain, training_set)
            batch = first_examples(recipe, training_set, recipe.train.batch_size)
            times: dict[int, float] = {}
            for number in numbers:
                torch.set_num_threads(number)
                times[number] = _time_step(trainer, batch, min(times.values(), default=math.inf))
    except RecipeError:  # the training itself says what is wrong
        return ThreadChoice(most, {})
    finally:
        torch.set_rng_state(random)
    return ThreadChoice(pick_threads(times), times)


def pick_threads(step_seconds: dict[int, float]) -> int:
    """The fewest threads but for those that bring a clear gain."""
    chosen = min(step_seconds)
    for number in sorted(step_seconds):
        if step_seconds[number] < _LEAST_GAIN * step_seconds[chosen]:
            chosen = number
    return chosen


def _time_step(trainer: Trainer, batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor], best: float) -> float:
    """The median, in seconds. best: of other numbers; where the first step takes many times that, it is enough."""
    started = time.monotonic()
    trainer.train_step(*batch)
    first = time.monotonic() - started
    if first > _HOPELESS * best:
        return first
    times: list[float] = []
    while len(times) < _TIMED_STEPS and sum(times) < _MOST_SECONDS:
        started = time.monotonic()
        trainer.train_step(*batch)
        times.append(time.monotonic() - started)
    return statistics.median(times)
