"""Number of examples that fit into memory at once: on a GPU by trying, on a CPU from what a step stores for gradients.

A CPU gains nothing from large batches, and an epoch of few steps learns little, so the size has upper limits as well.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from audiocnn.augment.clips import ClipExamples
from audiocnn.errors import RecipeError
from audiocnn.recipe.recipe import Recipe
from audiocnn.recipe.settings import LEAST_BATCHES
from audiocnn.training.batches import TrainingSet, count_examples, first_examples
from audiocnn.training.trainer import Trainer

_MOST_ON_CPU, _MOST_ON_GPU = 128, 4096
_FEW_SAMPLES = 2**24  # of a batch that is not checked: 64 MB
_GRADIENT_FACTOR = 2.0  # on what is stored for gradients: the gradients themselves, and the spectra of the front end
_MEMORY_SHARE = 0.5  # of the free memory that an automatic batch size uses
CGROUP = Path("/sys/fs/cgroup")


def check_batch_fits(recipe: Recipe, training_set: TrainingSet, device: str, world: int = 1) -> None:
    """RecipeError, before time is spent, if a batch cannot fit into the memory of this machine. On a GPU only the first
    step shows this."""
    size = recipe.train.batch_size
    samples = recipe.mix.seconds * recipe.spec.input.sample_rate * size
    if device != "cpu" or samples < _FEW_SAMPLES:
        return
    part = math.ceil(size / world / recipe.train.accumulate)
    each, free = bytes_of_example(recipe, training_set), free_bytes()
    if each * part * world > free:
        fits = floor_to_power_of_two(free / each) * recipe.train.accumulate
        parts = math.ceil(each * size / free)
        need = f"batch_size {size} needs about {each * part * world / 1e9:.1f} GB of memory"
        raise RecipeError(
            f"{need}, but {free / 1e9:.1f} GB are free; use --batch-size {fits}, or [train] accumulate = {parts}"
        )


def largest_batch(recipe: Recipe, training_set: TrainingSet, device: str, below: int | None = None) -> int:
    """The largest power of two of examples that fits, in the parts set by the recipe. below: a size that does not
    fit."""
    clips = training_set.source.round if isinstance(training_set.source, ClipExamples) else 0
    examples = count_examples(replace(recipe.train, batch_size=1), clips)
    most = floor_to_power_of_two(max(1.0, examples / LEAST_BATCHES))
    if not device.startswith("cuda"):
        fits = _MEMORY_SHARE * free_bytes() / bytes_of_example(recipe, training_set)
        return min(most, _MOST_ON_CPU, floor_to_power_of_two(fits) * recipe.train.accumulate)
    most = min(most if below is None else below - 1, _MOST_ON_GPU)
    size = 1
    while 2 * size <= most and fits_gpu(recipe, training_set, device, 2 * size):
        size *= 2
    return size


def batch_too_large(recipe: Recipe, training_set: TrainingSet, device: str, world: int) -> RecipeError:
    """An error that names the batch size that fits into a GPU."""
    size = recipe.train.batch_size
    fits = largest_batch(recipe, training_set, device, -(-size // world)) * world
    fact = f"batch_size {size} does not fit into the memory of {device}"
    return RecipeError(f"{fact}; use --batch-size {fits}, or [train] accumulate = {-(-size // fits)}")


def fits_gpu(recipe: Recipe, training_set: TrainingSet, device: str, size: int) -> bool:
    """Whether a step with this many examples fits, by running one."""
    try:
        recipe = replace(recipe, train=replace(recipe.train, batch_size=size, compile=False))
        trainer = Trainer(recipe, training_set, device=device)
        two = first_examples(recipe, training_set, 2)
        trainer.train_step(*(torch.cat([part] * -(-size // 2))[:size] for part in two))
    except torch.OutOfMemoryError:
        return False
    finally:
        torch.cuda.empty_cache()
    return True


def bytes_of_example(recipe: Recipe, training_set: TrainingSet) -> float:
    """Bytes that one example takes in a step on a CPU, measured from what autograd stores for two."""
    plain = replace(recipe.train, batch_size=2, compile=False, accumulate=1, precision="float32")
    before = torch.get_rng_state()
    trainer = Trainer(replace(recipe, train=plain), training_set)
    weights = {weight.untyped_storage().data_ptr() for weight in trainer.network.parameters()}
    samples, targets, spans = first_examples(recipe, training_set, 2)
    with torch.no_grad():
        values = trainer.features(samples)
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    trainer.network.train()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = trainer.loss(values, trainer.soft_targets(samples, targets), spans)
    del loss
    torch.set_rng_state(before)
    made = sum(tensor.numel() * tensor.element_size() for tensor in (samples, values))
    return (_GRADIENT_FACTOR * sum(kept.values()) + 4.0 * made) / len(samples)


def free_bytes() -> float:
    """Bytes that this process may still use, limited by machine and control group; infinity if unknown."""
    found = math.inf
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found = next(1024.0 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
        most, now = ((CGROUP / name).read_text(encoding="ascii").strip() for name in ("memory.max", "memory.current"))
        if most != "max":
            found = min(found, float(most) - float(now))
    except (OSError, ValueError, StopIteration):
        pass  # another system: the limit is unknown
    return max(0.0, found)


def floor_to_power_of_two(most: float) -> int:
    """The largest power of two up to this, at least 1."""
    return 2 ** int(math.log2(min(most, 2.0**30))) if most >= 1.0 else 1
