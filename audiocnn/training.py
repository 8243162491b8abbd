"""Training: one visible loop. A recipe and a dataset in, a run out; each epoch is yielded as it ends.

A run is a folder: `recipe.toml` in full, `run.json` (when, where, which revision), `metrics.jsonl` and `metrics.csv`
(a row an epoch), `checkpoints/last.safetensors` and `best.safetensors`, and at the end `model/`. Killed at any moment,
it goes on from the last checkpoint.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import tomli_w
import torch
from torch import Tensor

from audiocnn.batch_fit import fitting, largest_batch, too_much
from audiocnn.batches import ALONE, Material, ahead_of, are_clips, chosen, make_loader, prepare
from audiocnn.beginning import begun, check_division, check_source
from audiocnn.blaming import named, recordings_in
from audiocnn.checkpoint import BEST, LAST, put_back, read_checkpoint, save_checkpoint, writing
from audiocnn.cutting import divide
from audiocnn.dataset import Dataset
from audiocnn.errors import AudiocnnError, RecipeError
from audiocnn.learning import Learner, NotFiniteError
from audiocnn.losses import ClipLoss
from audiocnn.model import Model
from audiocnn.network import Network
from audiocnn.optimizing import rate_at
from audiocnn.ranks import Ranks, rows_or_one
from audiocnn.recipe import AUTO, KEPT, LEAST_BATCHES, Recipe
from audiocnn.release import machine_of, release
from audiocnn.run_lock import locked
from audiocnn.run_log import FACTS, JSONL, facts_of, write_facts, write_log
from audiocnn.run_reports import EpochReport, Note, State, StepReport, StopReport, TrainReport
from audiocnn.stopping import StopAskedError, Stopping, Unstopped
from audiocnn.transfer import Origin, begin_from, check_transfer
from audiocnn.validation import Figures, validate
from audiocnn.whole_files import write_whole

__all__ = [
    "BEST", "LAST", "EpochReport", "Note", "StepReport", "StopReport", "TrainReport",
    "Trainer", "check_source", "train",
]  # fmt: skip

CHECKPOINT_SECONDS = 60.0


def train(
    recipe: Recipe,
    dataset: Dataset,
    run: Path,
    device: str = "cpu",
    resume: bool = False,
    stopping: Stopping | None = None,
    ranks: Ranks = ALONE,
) -> Iterator[Origin | Note | StepReport | EpochReport | StopReport | TrainReport]:
    """Train a recipe on a dataset into the folder `run`; the last report holds the model, or says where it stopped.

    Raises AudiocnnError before any time is spent: a run that exists (without `resume`) or that another process is at,
    data that does not fit, a model to begin from that does not. stopping: watches signals while steps are made. ranks:
    of several processes only the first writes, and only it ends with a model.
    """
    recipe = recipe.settled(are_clips(chosen(recipe, dataset)))
    with locked(run, ranks.leads):
        recipe, going_on = ranks.first(lambda: begun(recipe, run, resume))
        source = check_transfer(recipe) if recipe.transfer is not None and not going_on else None
        material = prepare(recipe, dataset, ranks.leads)
        division = divide(dataset, recipe).digest()
        ranks.first(lambda: check_division(division, run, resume))
        if recipe.train.batch_size == AUTO:
            size = ranks.first(lambda: largest_batch(recipe, material, torch.device(device))) * ranks.world
            recipe = replace(recipe, train=replace(recipe.train, batch_size=size))
            yield Note(
                f"batch size: {size}: what memory holds, a power of two, and {LEAST_BATCHES} steps an epoch at least"
            )
        else:
            ranks.first(lambda: fitting(recipe, material, torch.device(device), ranks.world))
        torch.manual_seed(recipe.seed)
        trainer = Trainer(recipe, material, run, device, stopping, ranks)
        trainer.state.division = division
        if ranks.leads and not (run / KEPT).exists():
            with writing(run / KEPT):
                write_whole(run / KEPT, tomli_w.dumps(recipe.to_table()).encode())
        if ranks.leads:
            with writing(run / FACTS):
                write_facts(run, facts_of(recipe, material, device, ranks.world))
        if going_on:
            yield from trainer.resume()
        elif resume:
            yield Note("nothing was learned here yet: the run begins")
        if source is not None:
            yield trainer.begin(source)
        yield from trainer.epochs()
        if ranks.leads and not trainer.stopped:
            yield trainer.finish()


class Trainer:
    """The state of one training, and its loop."""

    def __init__(
        self,
        recipe: Recipe,
        material: Material,
        run: Path,
        device: str,
        stopping: Stopping | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self.recipe, self.material, self.run, self.settings = recipe, material, run, recipe.train
        self.device, self.ranks, self.stopping = torch.device(device), ranks, stopping or Unstopped()
        self.learner = Learner(recipe, material, self.device, ranks)
        self.network, self.averaged = self.learner.network, self.learner.averaged
        self.order, self.loader = make_loader(recipe, material.source, ranks)
        self.steps = len(self.order)
        self.state = State(threads=torch.get_num_threads(), processes=ranks.world)
        self.stopped = False
        self.saved_at = time.monotonic()

    @property
    def parts(self) -> dict[str, Network]:
        """What a checkpoint holds."""
        return {"network": self.network, "averaged": self.averaged}

    @property
    def clip_loss(self) -> ClipLoss:
        """What is otherwise in the loss of whole clips."""
        return self.learner.clip_loss

    def begin(self, source: Model) -> Origin:
        """Take the weights of another model's groups."""
        freeze = self.recipe.transfer.freeze if self.recipe.transfer else ()
        origin = begin_from(source, self.material.labels, freeze, self.network)
        self.averaged.load_state_dict(self.network.state_dict())
        self.state.origin = origin.to_table()
        return origin

    def epochs(self) -> Iterator[Note | StepReport | EpochReport | StopReport]:
        """The loop: epochs, until the last, until nothing has become better for `patience` of them, or until a signal
        asks to stop."""
        state = self.state
        yield from map(Note, self.learner.notes)
        with self.stopping.watched():
            while state.epoch < self.settings.epochs and not self.out_of_patience:
                self.order.epoch, self.order.first_step = state.epoch, state.step
                begin, waited, first = time.monotonic(), 0.0, state.step
                with ahead_of(self.loader) as batches:
                    while state.step < self.steps:
                        asked = time.monotonic()
                        samples, targets, spans = next(batches)
                        waited += time.monotonic() - asked
                        loss = self.learn(samples, targets, spans)
                        state.loss_sum, state.step = state.loss_sum + loss, state.step + 1
                        if self.told_to_stop():
                            break
                        if time.monotonic() - self.saved_at > CHECKPOINT_SECONDS:
                            self.save(LAST)
                        yield StepReport(state.epoch + 1, state.step, self.steps, state.loss_sum / state.step)
                if self.stopped:
                    break
                seconds = max(1e-9, time.monotonic() - begin)
                audio = (self.steps - first) * self.settings.batch_size * self.recipe.mix.seconds
                try:
                    figures = self.ranks.first(self.judged)
                except StopAskedError:
                    self.stopped = True
                    break
                seconds_whole = time.monotonic() - begin
                yield self.end_epoch(figures, audio / seconds, waited / seconds, seconds_whole)
        if self.stopped:
            self.save(LAST)
            yield StopReport(state.epoch + 1, state.step, self.steps)

    @property
    def out_of_patience(self) -> bool:
        """Whether `patience` epochs have passed without a better one."""
        return self.state.epoch - self.state.best_epoch >= self.settings.patience

    def learn(self, samples: Tensor, targets: Tensor, spans: Tensor | None = None) -> float:
        """One step; returns the loss. RecipeError, with the recordings, where that is no number."""
        state = self.state
        place, batch = (state.epoch, state.step), self.order.batch(state.step)
        total = len(batch) if self.ranks.world > 1 else None
        try:
            loss = self.learner.learn(samples, targets, spans, place=place, rate=self.learning_rate(), total=total)
        except NotFiniteError as problem:
            mine = rows_or_one(batch, self.ranks)
            names = recordings_in(self.material.source, [mine[row] for row in problem.bad if row < len(mine)])
            where = f"at epoch {state.epoch + 1}, step {state.step + 1}" + (f" ({named(names)})" if names else "")
            raise RecipeError(f"{problem.what} {where}; lower [train] learning_rate") from None
        except torch.OutOfMemoryError:
            self.learner.optimizer.zero_grad()
            raise too_much(self.recipe, self.material, self.device, self.ranks.world) from None
        self.learner.average(state.epoch * self.steps + state.step + 1)
        return loss

    def learning_rate(self) -> float:
        """That of the next step."""
        return rate_at(self.settings, self.state.epoch, self.state.step, self.steps, self.state.drops)

    def judged(self) -> Figures | None:
        """The figures of the averaged weights; None where nothing is held out."""
        if not len(self.material.validation):
            return None
        return validate(self.averaged, self.material, self.settings.batch_size, self.stopping.check)

    def told_to_stop(self) -> bool:
        """Whether a signal came, to any of the processes."""
        self.stopped = self.ranks.total(float(self.stopping.asked))[0] > 0.0
        return self.stopped

    def end_epoch(self, figures: Figures | None, audio: float, waiting: float, seconds: float) -> EpochReport:
        """Log, checkpoint, and report an epoch."""
        state = self.state
        rate, loss = self.learning_rate(), state.loss_sum / self.steps
        state.epoch, state.step, state.loss_sum = state.epoch + 1, 0, 0.0
        state.seconds += seconds
        first = state.best_epoch == 0 or math.isnan(state.best)  # a figure that is no number is better than none
        better = figures is None or first or (figures.figure, -figures.loss) > (state.best, -state.best_loss)
        if better:
            state.best_epoch = state.epoch
        if better and figures is not None:
            state.best, state.best_loss = figures.figure, figures.loss
        if state.epoch - max(state.best_epoch, state.dropped_at) >= self.settings.schedule_epochs:
            state.drops, state.dropped_at = state.drops + 1, state.epoch
        left = (self.settings.epochs - state.epoch) * state.seconds / state.epoch
        of, name, figure = (None, "", None) if figures is None else (figures.loss, figures.name, figures.figure)
        report = EpochReport(
            state.epoch, self.settings.epochs, loss, of, name, figure, better, rate, audio, waiting, seconds, left
        )
        state.log.append(asdict(report))
        if better:
            self.save(BEST)
        self.save(LAST)
        self.write_log()
        return report

    def write_log(self) -> None:
        """A row an epoch."""
        if self.ranks.leads:
            with writing(self.run / JSONL):
                write_log(self.run, self.state.log)

    def save(self, name: Path) -> None:
        """Write a checkpoint."""
        if self.ranks.leads:
            self.state.scaler = self.learner.scaler.state_dict()
            save_checkpoint(self.run / name, self.parts, self.learner.optimizer, asdict(self.state))
        self.saved_at = time.monotonic()

    def resume(self) -> list[Note]:
        """Go on from the last checkpoint, with as many threads as it was made with: sums of floating-point numbers
        depend on their order."""
        kept = self.ranks.first(lambda: read_checkpoint(self.run / LAST))
        progress = put_back(kept, self.parts, self.learner.optimizer, self.run / LAST)
        try:
            self.state = state = State(**progress)
        except TypeError:
            raise AudiocnnError(f"{self.run / LAST}: is of a newer audiocnn; install that, or begin anew") from None
        if state.scaler:
            self.learner.scaler.load_state_dict(state.scaler)
        self.write_log()
        where = f"epoch {state.epoch + 1}, step {min(state.step + 1, self.steps)} of {self.steps}"
        notes = [f"going on at {where}"] if state.epoch < self.settings.epochs else []
        threads = torch.get_num_threads()
        if self.device.type == "cpu" and state.threads and state.threads != threads:
            torch.set_num_threads(state.threads)
            what = f"with {state.threads} thread(s), as before, instead of {threads}"
            notes.append(f"{what}: the weights come out the same")
        if state.processes != self.ranks.world:
            what = f"with {self.ranks.world} process(es), before {state.processes}"
            notes.append(f"{what}: the same training but for rounding, and for the batches of batch norms")
        state.threads, state.processes = torch.get_num_threads(), self.ranks.world
        return [Note(text) for text in notes]

    def finish(self) -> TrainReport:
        """The best weights as a model folder; the last ones where nothing was held out."""
        state = self.state
        put_back(read_checkpoint(self.run / BEST), {"averaged": self.averaged}, None, self.run / BEST)
        name = state.log[-1]["figure_name"]
        training: dict[str, Any] = {
            "epochs": state.epoch, "best_epoch": state.best_epoch, "seconds": round(state.seconds, 1),
            "validation": {name: round(state.best, 5)} if name else {}, "device": str(self.device),
            "torch": torch.__version__, "threads": torch.get_num_threads(), "machine": machine_of(self.device),
        } | ({"from": state.origin} if state.origin else {})  # fmt: skip
        training |= {"processes": state.processes} if state.processes > 1 else {}
        if self.learner.teacher is not None:
            training["teacher"] = self.learner.teacher.name
        with writing(self.run / "model"):
            model, difference = release(self.recipe, self.material, self.averaged, self.run / "model", training)
        stopped, figure = state.epoch < self.settings.epochs, state.best if name else None
        return TrainReport(
            model, state.epoch, state.best_epoch, name, figure, state.seconds, difference, stopped
        )  # fmt: skip
