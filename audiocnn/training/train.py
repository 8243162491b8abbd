"""A run: trains a recipe on a dataset and produces a model. `train` checks, starts or resumes it, using `Trainer`.

A run is a folder: the complete `recipe.toml`, `run.json` (when, where, which revision), `clips.tsv` (the parts),
`metrics.jsonl` and `metrics.csv` (one row per epoch), `checkpoints/last.safetensors` and `best.safetensors`, and at the
end `model/`. If it is killed at any moment, it can continue from the last checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import tomli_w
import torch

from audiocnn.data.dataset import Dataset
from audiocnn.errors import AudiocnnError
from audiocnn.files import RUN_FILE, locked, settled, write_whole
from audiocnn.model.model import Model
from audiocnn.recipe.division import divide
from audiocnn.recipe.heard import PARTS_FILE, write_parts
from audiocnn.recipe.recipe import RECIPE_FILE, Recipe, check_run, read_recipe
from audiocnn.recipe.settings import AUTO_BATCH_SIZE, LEAST_BATCHES
from audiocnn.spec.hints import format_hints
from audiocnn.training.batches import are_clips, is_worker_loss, make_training_set, select_entries
from audiocnn.training.checkpoint import LAST_CHECKPOINT, clear_temporaries, explain_write_errors, read_progress
from audiocnn.training.distributed import SINGLE_PROCESS, ProcessGroup
from audiocnn.training.events import EpochReport, Note, StepReport, StopReport, TrainReport
from audiocnn.training.interrupt import StopSignals
from audiocnn.training.log import describe_run, write_facts
from audiocnn.training.memory import batch_too_large, check_batch_fits, largest_batch
from audiocnn.training.threads import choose_threads, keep_threads
from audiocnn.training.trainer import Clock, Trainer
from audiocnn.training.transfer import Origin, check_transfer


def train(
    recipe: Recipe,
    dataset: Dataset,
    run: Path,
    device: str = "cpu",
    resume: bool = False,
    stop_signals: StopSignals | None = None,
    group: ProcessGroup = SINGLE_PROCESS,
    moved: bool = False,
    threads: int | None = None,
    budget_seconds: float | None = None,
    clock: Clock = time.monotonic,
) -> Iterator[Origin | Note | StepReport | EpochReport | StopReport | TrainReport]:
    """Train a recipe on a dataset in the folder `run`. The last report has the model, or says where training stopped.

    Raises AudiocnnError before time is spent: the run exists (without `resume`) or is in use by another process, or the
    data or the model to start from does not fit. stop_signals: watched while steps are run. group: of several
    processes, only the leader writes, and only it returns a model. moved: the data of the run to resume has another
    place now.
    threads: AUTO_THREADS measures the fastest number; None uses that of torch. A resumed run keeps its number, unless
    one is given. budget_seconds: the time for all epochs; a resumed run keeps its plan.
    """
    run, wanted = settled(run), recipe.used_hints()
    recipe = recipe.with_defaults(are_clips(select_entries(recipe, dataset)))
    with locked(run, group.is_leader), keep_threads():
        recipe, resumed = group.from_leader(lambda: open_run(recipe, run, resume, moved))
        source = check_transfer(recipe) if recipe.transfer is not None and not resumed else None
        training_set = make_training_set(recipe, dataset, group.is_leader)
        if training_set.features:
            yield Note(training_set.features)
        parts = divide(dataset, recipe)
        division = parts.digest()
        group.from_leader(lambda: check_division(division, run, resumed))
        if recipe.train.batch_size == AUTO_BATCH_SIZE:
            size = group.from_leader(lambda: largest_batch(recipe, training_set, device)) * group.world_size
            recipe = replace(recipe, train=replace(recipe.train, batch_size=size))
            yield Note(
                f"batch size: {size} (the largest power of two that fits, with at least {LEAST_BATCHES} steps an epoch)"
            )
        else:
            group.from_leader(lambda: check_batch_fits(recipe, training_set, device, group.world_size))
        if threads:
            torch.set_num_threads(threads)
        elif threads is not None and device == "cpu" and group.world_size == 1 and not resumed:
            choice = choose_threads(recipe, training_set)
            torch.set_num_threads(choice.threads)
            if choice.step_seconds:
                yield Note(str(choice))
        torch.manual_seed(recipe.seed)
        trainer = Trainer(recipe, training_set, run, device, stop_signals, group, budget_seconds, clock)
        trainer.state.division = division
        if group.is_leader:
            write_recipe(recipe, run)
            with explain_write_errors(run / RUN_FILE):
                write_facts(run, describe_run(recipe, training_set, device, group.world_size))
                if not (resumed and (run / PARTS_FILE).is_file()):
                    write_parts(dataset, parts, run)
        if wanted:
            yield Note(f"{format_hints(wanted)}: set by the spec {recipe.spec.name}")
        if resumed:
            yield from trainer.resume(threads or None)
        elif resume:
            yield Note("no checkpoint yet: the run starts from the beginning")
        if source is not None:
            yield trainer.begin_from(source)
        try:
            for report in trainer.epochs():
                if trainer.recipe is not recipe and group.is_leader:
                    recipe = trainer.recipe  # with the number of epochs that fits into the budget
                    write_recipe(recipe, run)
                yield report
        except torch.OutOfMemoryError:
            trainer.optimizer.zero_grad()
            raise batch_too_large(recipe, training_set, device, group.world_size) from None
        except (RuntimeError, OSError) as problem:
            if not is_worker_loss(problem):
                raise
            said = " ".join(str(problem).split())[:120]
            what = f"a process that prepares examples died ({said})"
            remedy = "memory is probably short: use fewer [train] workers or a smaller batch, then add --resume"
            raise AudiocnnError(f"{run}: {what}; {remedy}") from None
        if group.is_leader and not trainer.stopped:
            yield trainer.finish()


def open_run(recipe: Recipe, run: Path, resume: bool, moved: bool = False) -> tuple[Recipe, bool]:
    """The recipe, with the batch size of the run if it was left open, and whether there is a checkpoint to resume.
    AudiocnnError: it is another run, or has more epochs than the recipe wants."""
    if recipe.train.batch_size == AUTO_BATCH_SIZE and resume and (run / RECIPE_FILE).exists():
        size = read_recipe(run / RECIPE_FILE).train.batch_size
        recipe = replace(recipe, train=replace(recipe.train, batch_size=size))
    clear_temporaries(run)
    clear_temporaries(run / LAST_CHECKPOINT.parent)
    check_run(recipe, run, resume, moved=moved)
    resumed = has_checkpoint(run, resume)
    learned = read_progress(run / LAST_CHECKPOINT).get("epoch", 0) if resumed else 0
    if learned > recipe.train.epochs:
        remedy = f"use --epochs {learned} or more, or omit it"
        raise AudiocnnError(f"{run}: already trained for {learned} epochs, not {recipe.train.epochs}; {remedy}")
    return recipe, resumed


def write_recipe(recipe: Recipe, run: Path) -> None:
    """Write the complete recipe into the folder of a run, unless it is there. In a continued run, the number of epochs
    and the places of its data may differ."""
    path, content = run / RECIPE_FILE, tomli_w.dumps(recipe.to_table()).encode()
    with explain_write_errors(path):
        if not path.exists() or path.read_bytes() != content:
            write_whole(path, content)


def has_checkpoint(run: Path, resume: bool) -> bool:
    return resume and (run / LAST_CHECKPOINT).exists()


def check_division(division: str, run: Path, resumed: bool) -> None:
    """AudiocnnError if a run with a checkpoint would continue with other recordings, labels or parts, because it would
    be tested on its training data. A run of a version without the digest may continue."""
    before = read_progress(run / LAST_CHECKPOINT).get("division") if resumed else None
    if before and before != division:
        what = "the recordings, labels or parts differ from those of this run"
        raise AudiocnnError(f"{run}: {what}; start again with --force instead of --resume, or choose another -o")


def check_source(recipe: Recipe, run: Path, resume: bool) -> Model | None:
    """The model to start from, if there is one and it fits. None for a run with a checkpoint to continue from."""
    return None if recipe.transfer is None or has_checkpoint(run, resume) else check_transfer(recipe)
