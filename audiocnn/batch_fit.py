"""How many examples fit into memory at a time: on a GPU by trying, on the processor by what a step keeps for gradients.

A processor gains nothing by large batches, and an epoch of few steps learns little; so there are bounds, too.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from audiocnn.batches import Batch, Examples, Material, examples_of
from audiocnn.clip_examples import Clips
from audiocnn.errors import RecipeError
from audiocnn.learning import Learner
from audiocnn.recipe import LEAST_BATCHES, Recipe

MOST_ON_CPU, MOST_ON_GPU = 128, 4096
SURELY = 2**24  # samples in a batch that need not be counted: 64 MB
FACTOR = 2.0  # of what is kept for gradients: there are gradients of it, too, and the front end's spectra
SHARE = 0.5  # of the free memory that a batch is chosen to take
CGROUP = Path("/sys/fs/cgroup")


def fitting(recipe: Recipe, material: Material, device: torch.device, world: int = 1) -> None:
    """RecipeError, before any time is spent, where a batch cannot fit into the memory of this machine. On a GPU the
    first step says so."""
    size = recipe.train.batch_size
    samples = recipe.mix.seconds * recipe.spec.input.sample_rate * size
    if device.type != "cpu" or samples < SURELY:
        return
    part = math.ceil(size / world / recipe.train.accumulate)
    each, free = bytes_of_example(recipe, material), free_bytes()
    if each * part * world > free:
        fits = power_of_two(free / each) * recipe.train.accumulate
        parts = math.ceil(each * size / free)
        need = f"batch_size {size} needs some {each * part * world / 1e9:.1f} GB of memory"
        raise RecipeError(
            f"{need}, and {free / 1e9:.1f} GB are free; take --batch-size {fits}, or [train] accumulate = {parts}"
        )


def largest_batch(recipe: Recipe, material: Material, device: torch.device, below: int | None = None) -> int:
    """The largest power of two of examples that fits, in as many parts as the recipe has. below: one that does not."""
    clips = len(material.source.entries) if isinstance(material.source, Clips) else 0
    examples = examples_of(replace(recipe.train, batch_size=1), clips)
    most = power_of_two(max(1.0, examples / LEAST_BATCHES))
    if device.type != "cuda":
        fits = SHARE * free_bytes() / bytes_of_example(recipe, material)
        return min(most, MOST_ON_CPU, power_of_two(fits) * recipe.train.accumulate)
    most = min(most if below is None else below - 1, MOST_ON_GPU)
    size = 1
    while 2 * size <= most and fits_gpu(recipe, material, device, 2 * size):
        size *= 2
    return size


def too_much(recipe: Recipe, material: Material, device: torch.device, world: int) -> RecipeError:
    """That a batch does not fit into a GPU, and what does."""
    size = recipe.train.batch_size
    fits = largest_batch(recipe, material, device, -(-size // world)) * world
    fact = f"batch_size {size} does not fit into the memory of {device}"
    return RecipeError(f"{fact}; take --batch-size {fits}, or [train] accumulate = {-(-size // fits)}")


def fits_gpu(recipe: Recipe, material: Material, device: torch.device, size: int) -> bool:
    """Whether a step on so many examples can be made."""
    try:
        learner = Learner(replace(recipe, train=replace(recipe.train, compile=False)), material, device)
        samples, targets, spans = (torch.cat([part] * -(-size // 2))[:size] for part in two_examples(recipe, material))
        learner.learn(samples, targets, spans, rate=0.0)
    except torch.OutOfMemoryError:
        return False
    finally:
        torch.cuda.empty_cache()
    return True


def bytes_of_example(recipe: Recipe, material: Material) -> float:
    """Memory that one example takes in a step on the processor, by what autograd keeps of two."""
    plain = replace(recipe.train, compile=False, accumulate=1, precision="float32")
    before = torch.get_rng_state()
    learner = Learner(replace(recipe, train=plain), material, torch.device("cpu"))
    weights = {weight.untyped_storage().data_ptr() for weight in learner.network.parameters()}
    samples, targets, spans = two_examples(recipe, material)
    with torch.no_grad():
        values = learner.features(samples)
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    learner.network.train()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = learner.loss(values, learner.wanted(samples, targets), spans)
    del loss
    torch.set_rng_state(before)
    made = sum(tensor.numel() * tensor.element_size() for tensor in (samples, values))
    return (FACTOR * sum(kept.values()) + 4.0 * made) / len(samples)


def two_examples(recipe: Recipe, material: Material) -> Batch:
    """A batch of two."""
    hop = recipe.spec.geometry().hop_samples
    examples = Examples(material.source, recipe.spec.input.channels, hop)
    found = [examples[0, 0], examples[0, 1]]
    samples, targets, spans = (torch.stack(parts) for parts in zip(*found, strict=True))
    return samples, targets, spans


def free_bytes() -> float:
    """Memory that this process may still take: of the machine, and of the control group that it is in."""
    found = math.inf
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found = next(1024.0 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
        most, now = ((CGROUP / name).read_text(encoding="ascii").strip() for name in ("memory.max", "memory.current"))
        if most != "max":
            found = min(found, float(most) - float(now))
    except (OSError, ValueError, StopIteration):
        pass  # another system: no bound is known
    return max(0.0, found)


def power_of_two(most: float) -> int:
    """The largest power of two that is no more than this, at least 1."""
    return 2 ** int(math.log2(min(most, 2.0**30))) if most >= 1.0 else 1
