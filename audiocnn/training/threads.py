"""The number of threads for a training on a CPU, chosen by timing steps with each number.

If other processes keep the cores busy, threads wait for each other, and two can be slower than one.
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

AUTO_THREADS = 0  # as the number of threads: measure
_TIMED_STEPS = 3  # with each number, after one that is not counted
_MOST_SECONDS = 10.0  # for a number whose steps are slow
_HOPELESS = 3.0  # times as long as with fewer threads: larger numbers are not tried
_LEAST_GAIN = 0.9  # more threads are used if a step takes less than this share of its time with fewer


@dataclass(frozen=True)
class ThreadChoice:
    """step_seconds: of a step with each number of threads tried; empty if nothing was measured."""

    threads: int
    step_seconds: dict[int, float]

    def __str__(self) -> str:
        times = ", ".join(f"{seconds:.2g} s with {threads}" for threads, seconds in self.step_seconds.items())
        return f"{count_noun(self.threads, 'thread')}: a step takes {times}; --threads overrides this"


def check_threads(threads: int | None) -> None:
    """UsageError for more threads than this machine has cores."""
    cores = usable_cores()
    if threads is not None and not 1 <= threads <= cores:
        raise UsageError(f"--threads {threads}: not possible with {count_noun(cores, 'core')}; give 1 to {cores}")


@contextmanager
def keep_threads() -> Iterator[None]:
    """Restores torch's number of threads afterwards."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def choose_threads(recipe: Recipe, training_set: TrainingSet) -> ThreadChoice:
    """The number of threads, up to torch's default, with which steps are fast. They are run by a separate trainer; the
    random state and the number of threads are unchanged afterwards."""
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
    except RecipeError:  # the training itself reports the problem
        return ThreadChoice(most, {})
    finally:
        torch.set_rng_state(random)
    return ThreadChoice(pick_threads(times), times)


def pick_threads(step_seconds: dict[int, float]) -> int:
    """The fewest threads, unless more bring a clear gain."""
    chosen = min(step_seconds)
    for number in sorted(step_seconds):
        if step_seconds[number] < _LEAST_GAIN * step_seconds[chosen]:
            chosen = number
    return chosen


def _time_step(trainer: Trainer, batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor], best: float) -> float:
    """The median, in seconds. best: of other numbers; if the first step takes many times that, it is enough."""
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
