"""The training loop: `Trainer.epochs` is the loop, `Trainer.train_step` is one step of it.

    for each epoch:
        for each batch: features -> augmented -> logits -> loss -> gradients -> weights -> their moving average
        validate
        log and save

Every random draw of a step depends on the seed, the epoch and the step, and the learning rate on epoch and step only,
so that a resumed run is the same as an uninterrupted one.
"""

from __future__ import annotations

import contextlib
import copy
import math
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from audiocnn.augment.spectral import BatchShare, augment_features
from audiocnn.errors import AudiocnnError, RecipeError
from audiocnn.model.model import Model
from audiocnn.model.network import Network
from audiocnn.recipe.recipe import Recipe
from audiocnn.recipe.settings import AUTO_PRECISION
from audiocnn.training.batches import (
    TrainingSet,
    first_examples,
    list_names,
    make_loader,
    plan_workers,
    prefetch_batches,
    recordings_of_examples,
)
from audiocnn.training.checkpoint import (
    BEST_CHECKPOINT,
    LAST_CHECKPOINT,
    TrainingState,
    explain_write_errors,
    read_checkpoint,
    restore_checkpoint,
    save_checkpoint,
)
from audiocnn.training.dead_units import LayerUnits, warn_of_dead_units
from audiocnn.training.distill import find_teacher
from audiocnn.training.distributed import SINGLE_PROCESS, ProcessGroup, share_or_one
from audiocnn.training.events import EpochReport, Note, StepReport, StopReport, TrainReport
from audiocnn.training.features import features_of
from audiocnn.training.initialise import initialise
from audiocnn.training.interrupt import StopRequestedError, StopSignals
from audiocnn.training.log import JSONL, write_log
from audiocnn.training.losses import count_terms, make_clip_loss, soften_targets, training_loss
from audiocnn.training.optimizer import learning_rate_at, make_optimizer, update_ema
from audiocnn.training.release import describe_machine, release
from audiocnn.training.transfer import Origin, begin_from, freeze_groups, freeze_norms
from audiocnn.training.validate import ValidationResult, lengths_of, validate
from audiocnn.units import clock, plural

Clock = Callable[[], float]  # seconds from an arbitrary start
CHECKPOINT_SECONDS = 60.0
FORWARD_SHARE = 1 / 3  # of the time of a step: validating the same amount, without gradients
_TIMED_STEPS = (2, 8)  # the first step is slow; after this many, the rest can be predicted
_OVER_BUDGET, _UNDER_BUDGET = 1.1, 0.85  # of the planned seconds: outside, the plan is changed
_MOST_OVER_BUDGET = 1.2
_SOON_SECONDS, _LONG_SECONDS = 60.0, 300.0  # shorter is not announced; for longer, a short try is suggested
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Trainer:
    """A network, its optimizer, and the state of their training.

    `network` changes with each step; `ema`, the exponential moving average of its weights, is validated and released.
    run: the folder of the log and the checkpoints; not needed to run single steps. stop_signals: watched while steps
    are run. group: of several processes, only the leader writes. budget_seconds: the time for all epochs; if they are
    slower than planned, there are fewer.
    """

    def __init__(
        self,
        recipe: Recipe,
        training_set: TrainingSet,
        run: Path = Path(),
        device: str = "cpu",
        stop_signals: StopSignals | None = None,
        group: ProcessGroup = SINGLE_PROCESS,
        budget_seconds: float | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self.budget_seconds, self.clock, self.planned_epochs = budget_seconds, clock, recipe.train.epochs
        self.recipe, self.settings, self.training_set, self.run = recipe, recipe.train, training_set, run
        self.device, self.group, self.stop_signals = torch.device(device), group, stop_signals or StopSignals(())
        self.precision = choose_precision(self.settings.precision, self.device)
        spec, labels = recipe.spec.with_classes(len(training_set.labels)), training_set.labels
        self.network = Network(spec).to(self.device)
        if spec.dims == 2:  # three times as fast on the CPU
            self.network = self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        initialise(self.network, self.settings.initialisation, self.first_features)
        self.ema = copy.deepcopy(self.network)
        self.teacher = find_teacher(recipe, labels, self.device, self.precision == "bfloat16")
        self.frozen = freeze_groups(self.network, recipe.transfer.freeze if recipe.transfer else ())
        if recipe.transfer and recipe.transfer.freeze_norms:
            self.frozen += freeze_norms(self.network)
        self.optimizer = make_optimizer(self.network, self.settings)
        half = self.precision == "float16"  # avoids that small gradients become 0
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=half)
        counts = np.array(training_set.counts or (1,) * len(labels))
        softmax, nothing = spec.f.output == "softmax", training_set.background_share
        self.clip_loss = make_clip_loss(self.settings, counts, softmax, nothing)
        self.notes: list[str] = []
        if self.settings.precision not in (AUTO_PRECISION, self.precision):
            asked = self.settings.precision
            self.notes.append(f"{asked} is slower than {self.precision} on this device: training uses {self.precision}")
        self.logits = group.data_parallel(self.compile(_Logits(self.network)), self.device)
        plan = plan_workers(recipe, training_set)
        self.notes += [plan.note] if plan.note and group.is_leader else []
        self.sampler, self.loader = make_loader(recipe, training_set.source, group, plan)
        self.steps = len(self.sampler)  # per epoch
        self.state = TrainingState(threads=torch.get_num_threads(), processes=group.world_size)
        self.stopped = False
        self.saved_at = time.monotonic()

    def epochs(self) -> Iterator[Note | StepReport | EpochReport | StopReport]:
        """Train until the last epoch, until `patience` epochs without improvement, or until a signal."""
        state = self.state
        yield from map(Note, self.notes)
        began, times = self.clock(), list[float]()
        with self.stop_signals.watched():
            while state.epoch < self.settings.epochs and not self.out_of_patience:
                started, waited, first_step = time.monotonic(), 0.0, state.step
                clocked = self.clock()
                timed = started
                self.sampler.epoch, self.sampler.first_step = state.epoch, state.step
                with prefetch_batches(self.loader) as batches:
                    while state.step < self.steps:
                        asked = time.monotonic()
                        samples, targets, spans = next(batches)
                        waited += time.monotonic() - asked
                        state.loss_sum += self.train_step(samples, targets, spans)
                        state.step += 1
                        if self.stop_requested():
                            break
                        if time.monotonic() - self.saved_at > CHECKPOINT_SECONDS:
                            self.save(LAST_CHECKPOINT)
                        if not state.log and state.step - first_step == _TIMED_STEPS[0]:
                            timed = time.monotonic()
                        if not state.log and state.step - first_step == _TIMED_STEPS[1]:
                            yield from self.foretell((time.monotonic() - timed) / (_TIMED_STEPS[1] - _TIMED_STEPS[0]))
                        yield StepReport(state.epoch + 1, state.step, self.steps, state.loss_sum / state.step)
                if self.stopped:
                    break
                seconds = max(1e-9, time.monotonic() - started)
                audio_seconds = (self.steps - first_step) * self.settings.batch_size * self.recipe.mix.seconds

                try:
                    result = self.group.from_leader(self.validate)
                except StopRequestedError:
                    self.stopped = True
                    break
                whole_seconds = time.monotonic() - started
                report = self.end_epoch(result, audio_seconds / seconds, waited / seconds, whole_seconds)

                times.append(self.clock() - clocked)
                replanned = self.keep_to_budget(self.clock() - began, times)

                state.log.append(asdict(report))
                if report.best:
                    self.save(BEST_CHECKPOINT)
                self.save(LAST_CHECKPOINT)
                self.write_log()
                yield report
                yield from map(Note, replanned)
                if state.epoch == 1 and result is not None:
                    yield from self.dead_unit_warnings(result.dead, "after the first epoch")
        if self.stopped:
            self.save(LAST_CHECKPOINT)
            yield StopReport(state.epoch + 1, state.step, self.steps)
        elif state.epoch > 1:
            best = [LayerUnits(**row) for row in state.dead]
            yield from self.dead_unit_warnings(best, f"in epoch {state.best_epoch}, the best,")

    def foretell(self, step_seconds: float) -> Iterator[Note]:
        """Announce the total time of all epochs, if it is long. step_seconds: measured time of one step."""
        settings, state = self.settings, self.state
        held_out = sum(lengths_of(self.training_set.validation)) / self.recipe.spec.input.sample_rate
        validation = FORWARD_SHARE * held_out / (settings.batch_size * self.recipe.mix.seconds)  # in steps
        epochs = settings.epochs - state.epoch
        seconds = step_seconds * (epochs * (self.steps + validation) + 2 * validation)  # the end takes two more
        if seconds > _SOON_SECONDS:
            shorter = "; use --minutes 3 for a first try" if seconds > _LONG_SECONDS else ""
            yield Note(f"about {plural(math.ceil(seconds / 60), 'minute')} on this machine{shorter}")

    def keep_to_budget(self, spent_seconds: float, times: Sequence[float]) -> list[str]:
        """Plan fewer epochs if they are slower than the budget allows, and up to the planned number if they become
        faster again. Returns the change. The learning rate schedule is adapted, so that it still falls to the end.
        times: of the epochs so far, in seconds."""
        settings, state, budget = self.settings, self.state, self.budget_seconds
        if budget is None:
            return []
        epoch_seconds = max(1e-9, sum(times[-2:]) / len(times[-2:]))
        whole = spent_seconds + (settings.epochs - state.epoch) * epoch_seconds
        as_planned = settings.epochs == self.planned_epochs
        if whole <= _OVER_BUDGET * budget and (as_planned or whole >= _UNDER_BUDGET * budget):
            return []
        left = budget - spent_seconds
        most = (left + (_MOST_OVER_BUDGET - 1.0) * budget) / epoch_seconds
        epochs = state.epoch + max(0, min(round(left / epoch_seconds), int(most)))
        epochs = min(epochs, self.planned_epochs)
        if epochs == settings.epochs:
            return []
        self.settings = replace(settings, epochs=epochs)
        self.recipe = replace(self.recipe, train=self.settings)
        how = "slower" if epochs < settings.epochs else "faster again"
        what = f"{how} than measured: {plural(epochs, 'epoch')} instead of {settings.epochs}"
        return [f"{what}, to stay within {clock(budget)}"]

    def train_step(self, samples: Tensor, targets: Tensor, spans: Tensor | None = None) -> float:
        """One step at the epoch and step of `state`; returns the mean loss over the batch of all processes.

        samples: (batch, channels, samples), or powers as in `features`. targets: (batch, rows, labels). spans: (batch,
        2), the positions [first, stop) of each clip. All are this process's share of the batch. RecipeError, with the
        recordings, if the loss or its gradients are not finite; the weights are then unchanged.
        """
        seed, epoch, step, group = self.recipe.seed, self.state.epoch, self.state.step, self.group
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = self.learning_rate
        self.network.train()
        self.frozen.set_evaluation_mode()
        torch.manual_seed(
            int(np.random.SeedSequence([seed, epoch, step, 2, group.rank]).generate_state(1, np.uint64)[0] >> 1)
        )
        # A process without a share gets one example of weight 0, because all processes must take part.
        total = len(self.sampler.batch(step)) if group.world_size > 1 else len(samples)
        mine = group.share(total)
        counts = 1.0 if mine else 0.0
        share = BatchShare(mine or range(1), total, lambda values: group.mean(values if mine else values[:0]))

        with torch.no_grad():
            random = np.random.default_rng([seed, epoch, step, 1])
            features = self.features(samples)
            features = augment_features(features, self.recipe.mix, self.recipe.spec.input, random, share)
            features = self.network.laid_out(features)
            targets = self.soft_targets(samples, targets)

        # With `accumulate`, gradients are summed over parts of the batch. Processes exchange them after the last one.
        self.optimizer.zero_grad()
        size = self.part_size(features)
        terms = group.sum(counts * count_terms(self.network, targets))[0] or 1.0
        loss = 0.0
        for first in range(0, len(features), size):
            part = slice(first, first + size)
            last = first + size >= len(features)
            with contextlib.nullcontext() if last or group.world_size == 1 else self.logits.no_sync():  # type: ignore[operator]
                mean = self.loss(features[part], targets[part], None if spans is None else spans[part])
                partial = mean * (counts * count_terms(self.network, targets[part]) / terms)
                self.scaler.scale(partial * group.world_size).backward()  # type: ignore[no-untyped-call]
            loss += float(partial.detach())
        loss = group.sum(loss)[0]

        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.gradient_clip)
        if not math.isfinite(loss) or not (self.scaler.is_enabled() or torch.isfinite(norm)):
            raise self.not_finite_error("gradients are" if math.isfinite(loss) else "loss is", features)
        self.scaler.step(self.optimizer)
        self.scaler.update()

        steps, decay = epoch * self.steps + step + 1, self.settings.averaging
        if not self.goes_on:  # at first, with random initial weights, the mean follows faster
            decay = min(decay, steps / (steps + 10))
        update_ema(self.ema, self.network, decay, self.frozen.names)
        return loss

    def features(self, samples: Tensor) -> Tensor:
        """(batch, channels, samples), or stored powers (batch, channels, bands, frames) -> (batch, [channels,] bands,
        frames), in as many parts as the step."""
        parts = [
            features_of(self.network, part.to(self.device)) for part in torch.split(samples, self.part_size(samples))
        ]
        return self.network.laid_out(parts[0] if len(parts) == 1 else torch.cat(parts))

    def first_features(self) -> Tensor:
        """Features of the first batch, as returned by `features`."""
        samples, *_ = first_examples(self.recipe, self.training_set, max(2, self.settings.batch_size))
        with torch.no_grad():
            return self.features(samples)

    def soft_targets(self, samples: Tensor, targets: Tensor) -> Tensor:
        """Targets with softened edges, mixed with the scores of the teacher."""
        targets = soften_targets(
            targets.to(self.device), self.settings.edge_seconds / self.network.geometry.hop_seconds
        )
        return targets if self.teacher is None else self.teacher.mix_targets(samples.to(self.device), targets)

    def loss(self, features: Tensor, targets: Tensor, spans: Tensor | None) -> Tensor:
        with self.autocast():
            logits = self.logits(features)
        return training_loss(self.network, logits.float(), targets, spans, self.clip_loss)

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, _DTYPES[self.precision], enabled=self.precision != "float32")

    def part_size(self, batch: Tensor) -> int:
        return math.ceil(len(batch) / self.settings.accumulate)

    @property
    def learning_rate(self) -> float:
        return learning_rate_at(self.settings, self.state.epoch, self.state.step, self.steps, self.state.drops)

    @property
    def out_of_patience(self) -> bool:
        return self.state.epoch - max(self.state.best_epoch, self.state.extended_at) >= self.settings.patience

    def stop_requested(self) -> bool:
        """Whether any of the processes received a signal."""
        self.stopped = self.group.sum(float(self.stop_signals.requested))[0] > 0.0
        return self.stopped

    def validate(self) -> ValidationResult | None:
        """None if nothing is held out."""
        if not len(self.training_set.validation):
            return None
        check = self.stop_signals.raise_if_requested
        return validate(self.ema, self.training_set, self.settings.batch_size, check)

    def end_epoch(self, result: ValidationResult | None, speed: float, waiting: float, seconds: float) -> EpochReport:
        """Advance to the next epoch, remember the best one, and lower the learning rate at a plateau. speed: seconds of
        sound per second; waiting: share of the time without a batch."""
        state, epochs = self.state, self.settings.epochs
        rate, loss = self.learning_rate, state.loss_sum / self.steps
        state.epoch, state.step, state.loss_sum = state.epoch + 1, 0, 0.0
        state.seconds += seconds
        first = state.best_epoch == 0 or math.isnan(state.best)  # NaN is better than no result
        best = result is None or first or result.is_better_than(state.best, state.best_loss)
        if best:
            state.best_epoch = state.epoch
        if best and result is not None:
            state.best, state.best_loss = result.figure, result.loss
            state.dead = [asdict(layer) for layer in result.dead]
        if state.epoch - max(state.best_epoch, state.dropped_at) >= self.settings.schedule_epochs:
            state.drops, state.dropped_at = state.drops + 1, state.epoch
        left = (epochs - state.epoch) * state.seconds / state.epoch
        validation_loss, name, figure = (result.loss, result.name, result.figure) if result else (None, "", None)
        dead = None if result is None else sum(layer.dead for layer in result.dead)
        layers = "" if result is None else "; ".join(map(str, result.dead))
        return EpochReport(
            state.epoch, epochs, loss, validation_loss, name, figure, best, rate, speed, waiting, seconds, left,
            dead, layers,
        )  # fmt: skip

    def dead_unit_warnings(self, layers: Sequence[LayerUnits], when: str) -> Iterator[Note]:
        if text := warn_of_dead_units(layers, when, self.settings.learning_rate):
            yield Note(text, warning=True)

    def not_finite_error(self, what: str, features: Tensor) -> RecipeError:
        keys = share_or_one(self.sampler.batch(self.state.step), self.group)
        bad = [keys[row] for row in self.find_not_finite(features) if row < len(keys)]
        names = recordings_of_examples(self.training_set.source, bad)
        where = f"at epoch {self.state.epoch + 1}, step {self.state.step + 1}"
        where += f" ({list_names(names)})" if names else ""
        return RecipeError(f"the {what} not finite {where}; lower [train] learning_rate")

    @torch.no_grad()
    def find_not_finite(self, features: Tensor) -> list[int]:
        """The examples whose scores are not finite; all of them if there are none."""
        self.network.eval()
        parts = torch.split(features, self.part_size(features))
        finite = torch.cat([self.network.logits_of(part).isfinite().flatten(1).all(dim=1) for part in parts])
        bad: list[int] = (~finite).nonzero().flatten().tolist()
        return bad or list(range(len(features)))

    def save(self, name: Path) -> None:
        if self.group.is_leader:
            self.state.scaler, self.state.epochs = self.scaler.state_dict(), self.settings.epochs
            parts = {"network": self.network, "averaged": self.ema}
            save_checkpoint(self.run / name, parts, self.optimizer, asdict(self.state))
        self.saved_at = time.monotonic()

    def write_log(self) -> None:
        if self.group.is_leader:
            with explain_write_errors(self.run / JSONL):
                write_log(self.run, self.state.log)

    def resume(self, threads_given: int | None = None) -> list[Note]:
        """Continue from the last checkpoint, with the same number of threads unless one is given, because sums of
        floating-point numbers depend on their order."""
        path = self.run / LAST_CHECKPOINT
        checkpoint = self.group.from_leader(lambda: read_checkpoint(path))
        restore_checkpoint(checkpoint, {"network": self.network, "averaged": self.ema}, self.optimizer, path)
        try:
            self.state = state = TrainingState(**checkpoint.progress)
            state.check()
        except (TypeError, ValueError, KeyError):
            what = "was written by a newer audiocnn, or is damaged"
            raise AudiocnnError(f"{path}: {what}; install that version, or start again with --force") from None
        if state.scaler:
            self.scaler.load_state_dict(state.scaler)
        self.write_log()
        notes = [*self.change_epochs(), self.describe_position()]
        threads = torch.get_num_threads()
        if threads_given and state.threads not in (0, threads):
            what = f"{threads} thread(s) instead of {state.threads}"
            notes.append(f"{what}: results differ only by rounding")
        elif self.device.type == "cpu" and state.threads and state.threads != threads:
            torch.set_num_threads(state.threads)
            what = f"{state.threads} thread(s) as before, instead of {threads}"
            notes.append(f"{what}: the weights stay reproducible")
        if state.processes != self.group.world_size:
            what = f"{self.group.world_size} process(es) instead of {state.processes}"
            notes.append(f"{what}: results differ only by rounding and by the batch statistics of batch norms")
        state.threads, state.processes = torch.get_num_threads(), self.group.world_size
        return [Note(text) for text in notes]

    def change_epochs(self) -> list[str]:
        """Use the wanted number of epochs, with the learning rates for it. Returns a note on the change."""
        state, wanted = self.state, self.settings.epochs
        before = state.epochs or (int(state.log[-1]["epochs"]) if state.log else wanted)
        if wanted > before:
            state.extended_at = state.epoch
        if wanted == before:
            return []
        old = learning_rate_at(replace(self.settings, epochs=before), state.epoch, state.step, self.steps, state.drops)
        rate = f", now {self.learning_rate:.1e} instead of {old:.1e}" if old != self.learning_rate else ""
        return [f"{wanted} epochs instead of {before}: the learning rate schedule is that of {wanted} epochs{rate}"]

    def describe_position(self) -> str:
        state, wanted = self.state, self.settings.epochs
        if state.epoch >= wanted:
            return f"all {wanted} epochs are done, the model is exported again; a larger --epochs continues training"
        if self.out_of_patience:
            what = f"stopped early after epoch {state.epoch}: no improvement for {self.settings.patience} epochs"
            return f"{what}; the model is exported again; --epochs above {wanted} continues training"
        return f"continuing at epoch {state.epoch + 1}, step {min(state.step + 1, self.steps)} of {self.steps}"

    @property
    def goes_on(self) -> bool:
        """Whether all weights come from another model, so that they belong in the mean."""
        return bool(self.state.origin) and not self.state.origin["new"] and self.state.origin["f"] == "kept"

    def begin_from(self, source: Model) -> Origin:
        freeze = self.recipe.transfer.freeze if self.recipe.transfer else ()
        origin = begin_from(source, self.training_set.labels, freeze, self.network)
        self.ema.load_state_dict(self.network.state_dict())
        self.state.origin = origin.to_table()
        return origin

    def finish(self) -> TrainReport:
        """Export the best weights as a model folder; the last ones if nothing was held out."""
        state, path = self.state, self.run / BEST_CHECKPOINT
        restore_checkpoint(read_checkpoint(path), {"averaged": self.ema}, None, path)
        name = state.log[-1]["figure_name"]
        training: dict[str, Any] = {
            "epochs": state.epoch, "best_epoch": state.best_epoch, "seconds": round(state.seconds, 1),
            "validation": {name: round(state.best, 5)} if name else {}, "device": str(self.device),
            "torch": torch.__version__, "threads": torch.get_num_threads(), "machine": describe_machine(self.device),
        } | ({"from": state.origin} if state.origin else {})  # fmt: skip
        training |= {"processes": state.processes} if state.processes > 1 else {}
        if self.teacher is not None:
            training["teacher"] = self.teacher.name
        with explain_write_errors(self.run / "model"):
            model, difference = release(self.recipe, self.training_set, self.ema, self.run / "model", training)
        stopped, figure = state.epoch < self.settings.epochs, state.best if name else None
        return TrainReport(model, state.epoch, state.best_epoch, name, figure, state.seconds, difference, stopped)

    def compile(self, module: nn.Module) -> nn.Module:
        """The module, compiled if the recipe wants it and a compiler is available. A step on silence tests it,
        including gradients, and leaves no trace. Each batch size is compiled separately: with dynamic sizes, the
        compiler of torch 2.13 fails for some networks."""
        if not self.settings.compile:
            return module
        size = math.ceil(self.settings.batch_size / self.group.world_size / self.settings.accumulate)
        spec = self.recipe.spec
        silence = torch.zeros(size, spec.input.channels, round(self.recipe.mix.seconds * spec.input.sample_rate))
        weights, random = copy.deepcopy(self.network.state_dict()), torch.get_rng_state()
        try:
            compiled: Any = torch.compile(module, dynamic=False)
            self.network.train()
            with torch.no_grad():
                features = self.features(silence)
            with self.autocast():
                compiled(features).sum().backward()
        except Exception as problem:  # noqa: BLE001 - whatever the compiler raises: training works without it
            said = " ".join(str(problem).split())[:100]
            self.notes.append(f"[train] compile: not available here ({said}); training continues without it")
            return module
        finally:
            self.network.load_state_dict(weights)
            self.network.zero_grad()
            torch.set_rng_state(random)
        return compiled  # type: ignore[no-any-return]


class _Logits(nn.Module):
    """Features -> logits, as a module that can be compiled and shared between processes."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, features: Tensor) -> Tensor:
        """(batch, [channels,] bands, frames) -> (batch, positions, outputs)."""
        return self.network.logits_of(features)


def choose_precision(precision: str, device: torch.device) -> str:
    """The precision for training. "auto" is bfloat16 if the device has instructions for it; without them it would take
    twice as long as float32, which is then used. RecipeError if the device does not support the precision."""
    if precision == AUTO_PRECISION:
        there = device.type == "cpu" and has_bfloat16()
        there = there or (device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False))
        return "bfloat16" if there else "float32"
    if precision == "float16" and device.type != "cuda":
        raise RecipeError(f'[train] precision = "float16" is for GPUs, but this is {device.type}; use "bfloat16"')
    if precision == "bfloat16" and device.type == "cpu" and not has_bfloat16():
        return "float32"
    return precision


def has_bfloat16() -> bool:
    """Whether this CPU has instructions for bfloat16 multiplication."""
    if platform.machine().lower() in ("x86_64", "amd64"):
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
