"""Runs one training loop for some seconds, in a separate process; the last line printed has the figures.

python -m benchmarks.training_loops LOOP RECIPE DATASET SECONDS

- `ours`: the loop of `audiocnn train`, with examples made by worker processes.
- `synthetic`: the same loop on one batch in memory: the upper limit set by the network.
- `plain`: a typical hand-written loop: a DataLoader with two workers, files read and converted to log-mel bands with
  librosa, the same network, AdamW, float32. For mixtures it adds one noise to one voice, for clips it takes a random
  part. There is no other augmentation, no teacher and no averaging of weights.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from audiocnn.data.dataset import Dataset, Entry
from audiocnn.model.network import Network
from audiocnn.recipe.recipe import Recipe, read_recipe
from audiocnn.training.batches import BatchTensors, TrainingSet, make_training_set
from audiocnn.training.events import StepReport
from audiocnn.training.trainer import Trainer
from audiocnn.units import to_samples

LOOPS = ("ours", "synthetic", "plain")
WARM_STEPS = 4
ENDLESS = 10**6  # examples per epoch, so that no epoch ends and nothing is validated or saved meanwhile
PLAIN_WORKERS = 2
Figures = dict[str, float]


class Watched:
    """A loader that measures how long the loop waits for it."""

    def __init__(self, batches: Iterable[BatchTensors]) -> None:
        self.batches, self.waited = batches, 0.0

    def __iter__(self) -> Iterator[BatchTensors]:
        source = iter(self.batches)
        while True:
            asked = time.perf_counter()
            batch = next(source)
            self.waited += time.perf_counter() - asked
            yield batch


class Again:
    """The same batch again and again."""

    def __init__(self, batch: BatchTensors) -> None:
        self.batch = batch

    def __iter__(self) -> Iterator[BatchTensors]:
        while True:
            yield self.batch


def measured_recipe(path: Path) -> Recipe:
    """The recipe with an endless epoch and few examples for validation, otherwise unchanged. The teacher of a speech
    detector may not exist; it is replaced by the released one, which has the same network and takes the same time."""
    recipe = read_recipe(path)
    teacher = "speech_2d" if recipe.train.teacher else ""
    train = dataclasses.replace(recipe.train, examples_per_epoch=ENDLESS, validation_examples=8, teacher=teacher)
    evaluate = dataclasses.replace(recipe.evaluate, conditions=None)
    return dataclasses.replace(recipe, train=train, evaluate=evaluate)


def loop_of_ours(recipe: Recipe, dataset: Dataset, seconds: float, synthetic: bool) -> Figures:
    """The loop of `audiocnn train`, with its examples or with one batch of them."""
    training_set = make_training_set(recipe, dataset)
    recipe = recipe.with_defaults(training_set.clips)
    with tempfile.TemporaryDirectory() as run:
        trainer = Trainer(recipe, training_set, Path(run), "cpu")
        batches: Iterable[BatchTensors] = Again(next(iter(trainer.loader))) if synthetic else trainer.loader
        trainer.loader = watched = Watched(batches)  # type: ignore[assignment]
        steps = (report for report in trainer.epochs() if isinstance(report, StepReport))
        return timed(steps, watched, recipe, seconds)


def timed(steps: Iterator[Any], watched: Watched, recipe: Recipe, seconds: float) -> Figures:
    """Run steps for some seconds, after the first few, which include one-time costs."""
    for _ in range(WARM_STEPS):
        next(steps)
    watched.waited, count, begin = 0.0, 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        next(steps)
        count += 1
    took = time.perf_counter() - begin
    sound = count * recipe.train.batch_size * recipe.mix.seconds
    return {"speed": sound / took, "waiting": watched.waited / took, "step_seconds": took / count}


class Plain(torch.utils.data.Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """(bands, frames) and a label or target, read from the files."""

    def __init__(self, recipe: Recipe, dataset: Dataset, training_set: TrainingSet) -> None:
        self.spec, self.seconds, self.clips = recipe.spec.input, recipe.mix.seconds, training_set.clips
        geometry = recipe.spec.geometry()
        self.silence = max(0, geometry.extend_start), max(0, geometry.extend_end)
        assert recipe.data is not None
        self.root, self.labels = Path(recipe.data.source), training_set.labels
        entries = [entry for entry in dataset.entries if entry.split in ("train", None)]
        voiced = {entry.id for entry in entries if dataset.annotations(entry)}
        self.first = [entry for entry in entries if training_set.clips or entry.id in voiced]
        self.noises = [entry for entry in entries if not training_set.clips and entry.id not in voiced]

    def __len__(self) -> int:
        return ENDLESS

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        import librosa

        random, spec = np.random.default_rng([7, index]), self.spec
        entry = self.first[random.integers(len(self.first))]
        sound = self.read(entry, random)
        if self.noises:
            noise = self.read(self.noises[random.integers(len(self.noises))], random)
            sound = sound + noise * np.float32(10.0 ** (-random.uniform(-5.0, 30.0) / 20.0))
        power = librosa.feature.melspectrogram(
            y=np.pad(sound, self.silence), sr=spec.sample_rate, n_fft=spec.fft_samples, win_length=spec.frame_samples,
            hop_length=spec.hop_samples, n_mels=spec.mels, fmin=spec.low_hertz, fmax=spec.high_hertz, center=False,
        )  # fmt: skip
        label = self.labels.index(entry.labels[0]) if self.clips else 0
        return torch.from_numpy(np.log(np.maximum(power, 1e-8))), torch.tensor(label)

    def read(self, entry: Entry, random: np.random.Generator) -> NDArray[np.float32]:
        """A random part of a file, or the whole file padded with silence."""
        import librosa

        wanted = to_samples(self.seconds, self.spec.sample_rate)
        sound, _ = librosa.load(self.root / entry.filename, sr=self.spec.sample_rate, mono=True)
        begin = int(random.integers(max(0, len(sound) - wanted) + 1))
        part: NDArray[np.float32] = sound[begin : begin + wanted]
        return np.pad(part, (0, wanted - len(part)))


def loop_of_others(recipe: Recipe, dataset: Dataset, seconds: float) -> Figures:
    """A plain loop over a DataLoader."""
    training_set = make_training_set(recipe, dataset)
    recipe = recipe.with_defaults(training_set.clips)
    network = Network(recipe.spec.with_classes(len(training_set.labels))).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    loader = torch.utils.data.DataLoader(
        Plain(recipe, dataset, training_set), batch_size=recipe.train.batch_size, num_workers=PLAIN_WORKERS
    )
    watched = Watched(loader)  # type: ignore[arg-type]

    def steps() -> Iterator[float]:
        for values, labels in watched:  # type: ignore[misc]
            pictures = values[:, None] if recipe.spec.dims == 2 else values
            logits = network.logits_of(network.laid_out(pictures))
            if training_set.clips:
                loss = torch.nn.functional.cross_entropy(logits.mean(dim=1), labels)
            else:
                loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.zeros_like(logits))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            yield float(loss.detach())

    return timed(steps(), watched, recipe, seconds)


def main(loop: str, recipe: str, dataset: str, seconds: str) -> None:
    """Run a loop, and print its figures."""
    plan, data = measured_recipe(Path(recipe)), Dataset.open(Path(dataset))
    if loop == "plain":
        figures = loop_of_others(plan, data, float(seconds))
    else:
        figures = loop_of_ours(plan, data, float(seconds), loop == "synthetic")
    print(json.dumps(figures))


if __name__ == "__main__":
    main(*sys.argv[1:])
