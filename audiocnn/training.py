"""Training: one visible loop. A recipe and a dataset in, a run out; each epoch is yielded as it ends.

A run is a folder: `recipe.toml` in full, `log.jsonl` (one line an epoch), `checkpoints/last.safetensors` and
`best.safetensors`, and at the end `model/`. Killed at any moment, it goes on from the last checkpoint.
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
import torch
from torch import Tensor

from audiocnn.batches import Material, are_clips, chosen, make_loader, prepare, varied
from audiocnn.checkpoint import load_checkpoint, progress_in, save_checkpoint
from audiocnn.cutting import divide
from audiocnn.dataset import Dataset
from audiocnn.distilling import find_teacher
from audiocnn.errors import AudiocnnError, RecipeError
from audiocnn.losses import clip_loss, loss_of, soften
from audiocnn.model import Model, write_whole
from audiocnn.network import Network
from audiocnn.recipe import KEPT, Recipe, check_run
from audiocnn.release import machine_of, release
from audiocnn.transfer import Origin, begin_from, check_transfer, freeze_groups
from audiocnn.validation import Figures, validate

CHECKPOINT_SECONDS = 60.0
LAST, BEST = Path("checkpoints/last.safetensors"), Path("checkpoints/best.safetensors")


@dataclass(frozen=True)
class EpochReport:
    """One epoch. Losses are means over examples; `waiting` is the share of time the loop waited for data."""

    epoch: int
    epochs: int
    loss: float
    validation_loss: float
    figure_name: str
    figure: float
    best: bool
    learning_rate: float
    audio_seconds_per_second: float
    waiting: float
    seconds: float
    seconds_left: float


@dataclass(frozen=True)
class StepReport:
    """A step inside an epoch, for a progress bar."""

    epoch: int
    step: int
    steps: int
    loss: float


@dataclass(frozen=True)
class TrainReport:
    """The end: the model, and how it came about."""

    model: Model
    epochs: int
    best_epoch: int
    figure_name: str
    figure: float
    seconds: float
    export_difference: float
    stopped_early: bool


@dataclass
class State:
    """What changes while training, besides the weights; saved with each checkpoint as JSON."""

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    best: float = -math.inf
    best_loss: float = math.inf  # of equal figures the lower loss is better
    best_epoch: int = 0
    seconds: float = 0.0
    division: str = ""  # a digest of what is learned from, stops the training, and is tested on
    origin: dict[str, Any] = field(default_factory=dict)
    log: list[dict[str, Any]] = field(default_factory=list)


def train(
    recipe: Recipe, dataset: Dataset, run: Path, device: str = "cpu", resume: bool = False
) -> Iterator[Origin | StepReport | EpochReport | TrainReport]:
    """Train a recipe on a dataset into the folder `run`; the last report holds the model.

    Raises AudiocnnError before any time is spent: a run that exists (without `resume`), data that does not fit, a model
    to begin from that does not.
    """
    recipe = recipe.settled(are_clips(chosen(recipe, dataset)))
    check_run(recipe, run, resume)
    source = check_source(recipe, run, resume)
    material = prepare(recipe, dataset)
    division = divide(dataset, recipe).digest()
    check_division(division, run, resume)
    torch.manual_seed(recipe.seed)
    trainer = Trainer(recipe, material, run, device)
    trainer.state.division = division
    if not (run / KEPT).exists():
        write_whole(run / KEPT, tomli_w.dumps(recipe.to_table()).encode())
    if resume and (run / LAST).exists():
        trainer.resume()
    elif source is not None:
        yield trainer.begin(source)
    yield from trainer.epochs()
    yield trainer.finish()


def check_division(division: str, run: Path, resume: bool) -> None:
    """AudiocnnError where a run that has learned something would go on with other recordings, labels or parts: it would
    be tested on what it learned from. A run of a version that kept no digest goes on."""
    before = progress_in(run / LAST).get("division") if resume and (run / LAST).exists() else None
    if before and before != division:
        what = "the recordings, their labels or their parts are not those of this run"
        raise AudiocnnError(f"{run}: {what}; begin anew with --force instead of --resume, or name another -o")


def check_source(recipe: Recipe, run: Path, resume: bool) -> Model | None:
    """The model to begin from, if there is one that fits; none for a run that has weights of its own to go on with."""
    return None if recipe.transfer is None or (resume and (run / LAST).exists()) else check_transfer(recipe)


class Trainer:
    """The state of one training, and its loop."""

    def __init__(self, recipe: Recipe, material: Material, run: Path, device: str) -> None:
        self.recipe, self.material, self.run, self.settings = recipe, material, run, recipe.train
        self.device = torch.device(device)
        spec = recipe.spec.with_classes(len(material.labels))
        self.network = Network(spec).to(self.device)
        if spec.dims == 2:  # three times as fast on the CPU
            self.network = self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.averaged = copy.deepcopy(self.network)
        self.teacher = find_teacher(recipe, material.labels, self.device)
        self.frozen = freeze_groups(self.network, recipe.transfer.freeze if recipe.transfer else ())
        learned = [weight for weight in self.network.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.AdamW(
            learned, lr=self.settings.learning_rate, weight_decay=self.settings.weight_decay
        )
        self.order, self.loader = make_loader(recipe, material.source)
        self.steps = len(self.order)
        t, softmax = self.settings, spec.f.output == "softmax"
        counts = np.array(material.counts or (1,) * len(material.labels))
        self.clip_loss = clip_loss(t.label_smoothing, t.balance, t.balance_power, counts, softmax)
        self.state = State()
        self.saved_at = time.monotonic()

    @property
    def parts(self) -> dict[str, Network]:
        """What a checkpoint holds."""
        return {"network": self.network, "averaged": self.averaged}

    def begin(self, source: Model) -> Origin:
        """Take the weights of another model's groups."""
        freeze = self.recipe.transfer.freeze if self.recipe.transfer else ()
        origin = begin_from(source, self.material.labels, freeze, self.network)
        self.averaged.load_state_dict(self.network.state_dict())
        self.state.origin = origin.to_table()
        return origin

    def epochs(self) -> Iterator[StepReport | EpochReport]:
        """The loop: epochs, until the last or until nothing has become better for `patience` of them."""
        state = self.state
        while state.epoch < self.settings.epochs and not self.out_of_patience:
            self.order.epoch, self.order.first_step = state.epoch, state.step
            begin, waited, first = time.monotonic(), 0.0, state.step
            batches = iter(self.loader)
            while state.step < self.steps:
                asked = time.monotonic()
                samples, targets, spans = next(batches)
                waited += time.monotonic() - asked
                loss = self.learn(samples, targets, spans)
                state.loss_sum, state.step = state.loss_sum + loss, state.step + 1
                if time.monotonic() - self.saved_at > CHECKPOINT_SECONDS:
                    self.save(LAST)
                yield StepReport(state.epoch + 1, state.step, self.steps, state.loss_sum / state.step)
            seconds = max(1e-9, time.monotonic() - begin)
            audio = (self.steps - first) * self.settings.batch_size * self.recipe.mix.seconds
            figures = validate(self.averaged, self.material, self.settings.batch_size)
            seconds_whole = time.monotonic() - begin
            yield self.end_epoch(figures, audio / seconds, waited / seconds, seconds_whole)

    @property
    def out_of_patience(self) -> bool:
        """Whether `patience` epochs have passed without a better one."""
        return self.state.epoch - self.state.best_epoch >= self.settings.patience

    def learn(self, samples: Tensor, targets: Tensor, spans: Tensor | None = None) -> float:
        """One step on a batch (batch, channels, samples), (batch, rows, labels), and the positions of each clip
        (batch, 2); returns the loss."""
        rate = self.learning_rate()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.network.train()
        self.frozen.rest()
        random = np.random.default_rng([self.recipe.seed, self.state.epoch, self.state.step, 1])
        with torch.no_grad():
            values = self.network.features(self.network.extended(samples.to(self.device)))
            values = varied(values, self.recipe, random)
        values = self.network.laid_out(values)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.precision == "bfloat16"):
            logits = self.network.logits_of(values)
        targets = soften(targets.to(self.device), self.settings.edge_seconds / self.network.geometry.hop_seconds)
        if self.teacher is not None:
            targets = self.teacher.taught(samples.to(self.device), targets)
        loss = loss_of(self.network, logits.float(), targets, spans, self.clip_loss)
        if not torch.isfinite(loss):
            raise RecipeError(
                f"the loss is not finite at epoch {self.state.epoch + 1}, step {self.state.step + 1};"
                " lower [train] learning_rate"
            )
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.gradient_clip)
        self.optimizer.step()
        self.average()
        return float(loss.detach())

    def learning_rate(self) -> float:
        """Warm-up in a straight line, then half a cosine down to nothing."""
        done = (self.state.epoch * self.steps + self.state.step) / (self.settings.epochs * self.steps)
        warm = self.settings.warmup_share
        if done < warm:
            return self.settings.learning_rate * (done / warm + 1e-3)
        return self.settings.learning_rate * 0.5 * (1.0 + math.cos(math.pi * (done - warm) / max(1e-9, 1.0 - warm)))

    @torch.no_grad()
    def average(self) -> None:
        """Move the averaged weights a little towards the new ones; less patient at first, when all is new."""
        steps = self.state.epoch * self.steps + self.state.step + 1
        keep = min(self.settings.averaging, steps / (steps + 10))
        means = self.averaged.state_dict()
        for name, new in self.network.state_dict().items():
            if new.dtype.is_floating_point and name not in self.frozen.names:
                means[name].lerp_(new, 1.0 - keep)
            else:
                means[name].copy_(new)

    def end_epoch(self, figures: Figures, audio: float, waiting: float, seconds: float) -> EpochReport:
        """Log, checkpoint, and report an epoch."""
        state = self.state
        rate, loss = self.learning_rate(), state.loss_sum / self.steps
        state.epoch, state.step, state.loss_sum = state.epoch + 1, 0, 0.0
        state.seconds += seconds
        better = (figures.figure, -figures.loss) > (state.best, -state.best_loss)
        if better:
            state.best, state.best_loss, state.best_epoch = figures.figure, figures.loss, state.epoch
        left = (self.settings.epochs - state.epoch) * state.seconds / state.epoch
        report = EpochReport(
            state.epoch, self.settings.epochs, loss, figures.loss, figures.name, figures.figure, better, rate,
            audio, waiting, seconds, left,
        )  # fmt: skip
        state.log.append(asdict(report))
        if better:
            self.save(BEST)
        self.save(LAST)
        write_whole(self.run / "log.jsonl", "".join(json.dumps(line) + "\n" for line in state.log).encode())
        return report

    def save(self, name: Path) -> None:
        """Write a checkpoint."""
        save_checkpoint(self.run / name, self.parts, self.optimizer, asdict(self.state))
        self.saved_at = time.monotonic()

    def resume(self) -> None:
        """Go on from the last checkpoint."""
        self.state = State(**load_checkpoint(self.run / LAST, self.parts, self.optimizer))

    def finish(self) -> TrainReport:
        """The best weights as a model folder."""
        state = self.state
        load_checkpoint(self.run / BEST, {"averaged": self.averaged})
        name = state.log[-1]["figure_name"]
        training = {
            "epochs": state.epoch, "best_epoch": state.best_epoch, "seconds": round(state.seconds, 1),
            "validation": {name: round(state.best, 5)}, "device": str(self.device), "torch": torch.__version__,
            "threads": torch.get_num_threads(), "machine": machine_of(self.device),
        } | ({"from": state.origin} if state.origin else {})  # fmt: skip
        if self.teacher is not None:
            training["teacher"] = self.teacher.name
        model, difference = release(self.recipe, self.material, self.averaged, self.run / "model", training)
        stopped = state.epoch < self.settings.epochs
        return TrainReport(
            model, state.epoch, state.best_epoch, name, state.best, state.seconds, difference, stopped
        )  # fmt: skip
