"""What is tried before a training, how large a batch may be, and a training with nothing held out."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fixtures_cli import PATH, audiocnn
from fixtures_models import BATCH, LOG_MEL, recipe_of, table_of, tone_task
from sounds import sine, write

from audiocnn.augment.mixture import Example
from audiocnn.errors import AudiocnnError, RecipeError
from audiocnn.files import check_run_writable
from audiocnn.model.model import CARD, read_model
from audiocnn.recipe.recipe import read_recipe
from audiocnn.training import batches, memory
from audiocnn.training.batches import TrainingSet, make_training_set, plan_workers
from audiocnn.training.dry_run import Overfit, dry_run, overfit
from audiocnn.training.events import EpochReport, Note, TrainReport
from audiocnn.training.memory import (
    bytes_of_example,
    check_batch_fits,
    floor_to_power_of_two,
    free_bytes,
    largest_batch,
)
from audiocnn.training.train import train
from audiocnn_cli.app.exits import ExitStatus

CPU = "cpu"
DROPPING = table_of(
    {**LOG_MEL, "mels": 12},
    [{"conv": 8, "kernel": 3}, {"dropout": 0.3}],
    {"window_seconds": 0.15, "layers": [{"dense": 16, "dropout": 0.5}]},
    defaults=BATCH,
)
RECIPE = """
name = "small"
[data]
source = "sounds"
sample_rate = 8000
[mix]
seconds = 0.5
[train]
epochs = 1
batch_size = 4
workers = 0
[spec.input]
features = "log_mel"
mels = 8
sample_rate = 8000
[[spec.groups]]
name = "A"
layers = [{ conv = 4, kernel = 3 }]
[spec.f]
window_seconds = 0.2
output = "softmax"
"""


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return tone_task(tmp_path_factory.mktemp("task") / "dataset", groups=4)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """A folder of two labels, and a recipe."""
    folder = tmp_path_factory.mktemp("sounds")
    for label, hertz in (("low", 300), ("high", 2000)):
        for number in range(5):
            write(folder / f"sounds/{label}/{number}.wav", sine(hertz + 5 * number, 0.5, 8000, 0.3), 8000)
    (folder / "small.toml").write_text(RECIPE)
    return folder


def everything_in(folder):
    return sorted((path.relative_to(folder).as_posix(), path.stat().st_mtime_ns) for path in folder.rglob("*"))


# A dry run


def test_a_dry_run_has_the_shapes_of_the_training(task):
    recipe = recipe_of(DROPPING, batch_size=5, examples_per_epoch=22)
    found = dry_run(recipe, task, "cpu")
    spec = recipe.spec.with_classes(1)
    assert (found.labels, found.groups) == (("tone",), {"train": 6, "validation": 2})
    assert (found.weights, found.learned_weights) == (spec.parameters(), spec.parameters())
    assert (found.batch_size, found.steps) == (5, 5)
    assert found.samples == (5, 1, 3000)
    assert found.features[:2] == (5, 12)
    assert found.logits == found.targets == (5, 150, 1)
    assert 0.2 < found.loss < 2.0
    assert found.memory_bytes > 1e6
    assert found.epoch_seconds >= found.step_seconds > 0


def test_the_command_writes_nothing(sounds, monkeypatch):
    monkeypatch.chdir(sounds)
    before = everything_in(sounds)
    done = audiocnn("train", "--recipe", "small.toml", "--dry-run", "--device", "cpu")
    assert done.status is ExitStatus.OK, done.err
    words = dict(line.split(maxsplit=1) for line in done.out.splitlines())
    assert words["labels"] == "high, low"
    assert words["samples"] == "4 x 1 x 4000"
    assert words["targets"] == "4 x 1 x 2"
    assert done.out.endswith("nothing was written\n")
    done = audiocnn("train", "--recipe", "small.toml", "--overfit", "2", "--device", "cpu")
    assert done.status is ExitStatus.OK, done.err
    assert re.match(r"2 examples memorised: loss \d\.\d+ -> 0\.\d+ in \d+ steps\n$", done.out)
    assert everything_in(sounds) == before


# A few examples by heart


def test_a_network_that_can_learns_a_few_examples_by_heart(task):
    *steps, last = overfit(recipe_of(DROPPING, label_smoothing=0.2, learning_rate=2e-2), task, 3, "cpu")
    assert isinstance(last, Overfit)
    assert last.learned
    assert (last.examples, last.steps) == (3, len(steps))
    assert last.last_loss == steps[-1].loss <= 0.05 < last.first_loss
    again = list(overfit(recipe_of(DROPPING, label_smoothing=0.2, learning_rate=2e-2), task, 3, "cpu"))[-1]
    assert again == last


def test_one_that_cannot_says_so(task, monkeypatch):
    monkeypatch.setattr("audiocnn.training.dry_run.OVERFIT_STEPS", 5)
    *_, last = overfit(recipe_of(DROPPING, learning_rate=1e-9), task, 3, "cpu")
    assert (last.learned, last.steps) == (False, 5)
    assert not Overfit(1, 1, 0.7, 0.06).learned
    assert Overfit(1, 1, 0.7, 0.05).learned
    assert Overfit(1, 1, 8.0, 0.39).learned


@pytest.mark.long
def test_the_command_shows_epochs_with_nothing_held_out(sounds, monkeypatch):
    monkeypatch.chdir(sounds)
    (sounds / "all.toml").write_text(RECIPE.replace("workers = 0", "workers = 0\nvalidation_share = 0"))
    done = audiocnn("train", "--recipe", "all.toml", "--epochs", "1", "-o", "run", "--device", "cpu")
    assert done.status is ExitStatus.OK
    assert re.search(r"^ +1/1  +\d\.\d{4}  +-  +-  ", done.err, re.MULTILINE)
    assert "the last, since there were no validation data" in done.err + done.out


def test_the_command_says_that_nothing_was_learned(sounds, monkeypatch):
    monkeypatch.chdir(sounds)
    monkeypatch.setattr("audiocnn.training.dry_run.OVERFIT_STEPS", 2)
    (sounds / "slow.toml").write_text(RECIPE.replace("workers = 0", "workers = 0\nlearning_rate = 1e-9"))
    done = audiocnn("train", "--recipe", "slow.toml", "--overfit", "2", "--device", "cpu")
    assert done.status is ExitStatus.SOME_FAILED
    assert "2 examples not memorised" in done.out
    assert "the loss did not fall to zero; check labels, spec and [train] learning_rate" in done.err


# How large a batch


def test_memory_of_an_example_grows_with_it(task):
    short, wide = recipe_of(DROPPING), recipe_of(DROPPING)
    wide = dataclasses.replace(wide, mix=dataclasses.replace(wide.mix, seconds=6.0))
    state = torch.get_rng_state()
    each = bytes_of_example(short, make_training_set(short, task))
    assert torch.equal(torch.get_rng_state(), state)
    # 8 maps of 150 positions, 16 neurons, of 4 bytes each, are there at least
    assert 4 * 24 * 150 < each < 1e6
    assert bytes_of_example(wide, make_training_set(wide, task)) == pytest.approx(4 * each, rel=0.2)


@pytest.mark.parametrize(("free", "examples", "fits"), [(2e9, 640, 64), (2e9, 10**6, 128), (100.0, 10**6, 1)])
def test_the_largest_batch_follows_memory_and_the_length_of_an_epoch(task, monkeypatch, free, examples, fits):
    monkeypatch.setattr(memory, "free_bytes", lambda: free)
    recipe = recipe_of(DROPPING, examples_per_epoch=examples)
    assert largest_batch(recipe, make_training_set(recipe, task), CPU) == fits


def test_a_batch_that_cannot_fit_is_refused_with_one_that_does(task, monkeypatch):
    recipe = recipe_of(DROPPING, batch_size=2**13)
    training_set = make_training_set(recipe, task)
    each = bytes_of_example(recipe, training_set)
    monkeypatch.setattr(memory, "free_bytes", lambda: each * 2**11)
    fact = (
        r"batch_size 8192 needs about .* GB of memory, but .* GB are free; use --batch-size 2048, or .* accumulate = 4"
    )
    with pytest.raises(RecipeError, match=fact):
        check_batch_fits(recipe, training_set, CPU)
    check_batch_fits(recipe_of(DROPPING, batch_size=2**13, accumulate=4), training_set, CPU)
    check_batch_fits(recipe_of(DROPPING, batch_size=2**11), training_set, CPU)


class Ones:
    """Examples that cost nothing."""

    def example(self, epoch, index):
        return Example(np.ones((1, SAMPLES), np.float32), np.zeros((ROWS, 1), np.float32))


SAMPLES, ROWS = 3000, -(-3000 // recipe_of(DROPPING).spec.geometry().hop_samples)
# Batches that shared memory holds, processes that are wanted, steps of an epoch: processes, and batches ahead of each.
PLANS = {
    "plenty": (100, 4, 30, (4, 4)),
    "fewer ahead": (10, 4, 30, (4, 2)),
    "one ahead": (6, 4, 30, (4, 1)),
    "fewer processes": (5, 4, 30, (3, 1)),
    "one process": (3, 4, 30, (1, 1)),
    "none": (2, 4, 30, (0, 1)),
    "no room at all": (0, 2, 30, (0, 1)),
    "few batches": (4, 4, 4, (4, 4)),
    "no process wanted": (0, 0, 30, (0, 4)),
}


@pytest.mark.parametrize(("room", "workers", "steps", "expected"), PLANS.values(), ids=PLANS)
def test_worker_processes_are_as_many_as_shared_memory_holds(tmp_path, monkeypatch, room, workers, steps, expected):
    batch = 64 * 4 * (SAMPLES + ROWS)
    monkeypatch.setattr(batches, "SHARED_MEMORY", tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=(room + 0.5) * batch / 0.9))
    recipe = recipe_of(DROPPING, batch_size=64, examples_per_epoch=64 * steps, workers=workers)
    plan = plan_workers(recipe, TrainingSet(("tone",), Ones(), [], False, {}, 1.0))
    assert (plan.workers, plan.ahead) == expected
    assert bool(plan.note) is (plan.workers < workers)
    assert not plan.note or ("--shm-size" in plan.note and "\n" not in plan.note)


def test_a_training_goes_on_without_shared_memory(task, tmp_path, monkeypatch):
    monkeypatch.setattr(batches, "SHARED_MEMORY", tmp_path)
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)  # root may write anywhere
    recipe = recipe_of(DROPPING, workers=2, epochs=1, examples_per_epoch=32, validation_examples=4)
    notes = [one.text for one in train(recipe, task, tmp_path / "run") if isinstance(one, Note)]
    assert any("a thread makes the batches" in note for note in notes)


IN_64_MB = """
import sys, time
from test_checks import DROPPING, Ones
from fixtures_models import recipe_of
from audiocnn.training.batches import TrainingSet, make_loader, plan_workers, prefetch_batches

size, workers = map(int, sys.argv[1:])
recipe = recipe_of(DROPPING, batch_size=size, examples_per_epoch=10 * size, workers=workers)
training_set = TrainingSet(("tone",), Ones(), [], False, {}, 1.0)
loader = make_loader(recipe, training_set.source, plan=plan_workers(recipe, training_set))[1]
with prefetch_batches(loader) as found:
    for count, _ in enumerate(found, 1):
        time.sleep(0.1)  # so that all is made that is made ahead
print(count)
"""


@pytest.mark.long
@pytest.mark.skipif(not Path("/dev/shm").is_dir() or os.geteuid() != 0, reason="mounts a /dev/shm of its own")
@pytest.mark.parametrize(("size", "workers"), [(500, 4), (1500, 2), (4000, 2)])
def test_64_mb_of_shared_memory_are_enough(tmp_path, size, workers):
    (tmp_path / "run.py").write_text(IN_64_MB)
    inner = f"mount -t tmpfs -o size=64m tmpfs /dev/shm && {sys.executable} {tmp_path / 'run.py'} {size} {workers}"
    tests = Path(__file__).parent
    env = os.environ | {"PYTHONPATH": f"{PATH}:{tests}:{tests.parent / 'helpers'}"}
    mounting = ["unshare", "-m", "bash", "-c", inner]
    done = subprocess.run(mounting, env=env, capture_output=True, text=True, check=False)
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip("this machine lets nobody mount")
    assert (done.returncode, done.stdout.strip()) == (0, "10"), done.stderr


def test_a_worker_that_was_killed_is_one_line(task, tmp_path, monkeypatch):
    def killed(self, key):
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr("audiocnn.training.batches.ExampleDataset.__getitem__", killed)
    with pytest.raises(AudiocnnError, match=r"run: a process that prepares examples died \(.*\); .* --resume"):
        list(train(recipe_of(DROPPING, workers=1), task, tmp_path / "run"))


@pytest.mark.parametrize("folder", ["/proc/none/x", "/proc/x", "file/x"])
def test_a_run_where_nothing_can_be_written_is_one_line(task, tmp_path, monkeypatch, folder):
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AudiocnnError, match=r"cannot be written .*; .*folder with -o"):
        next(train(recipe_of(DROPPING), task, Path(folder)))
    done = audiocnn("train", task.folder, "-o", folder)
    assert done.status is ExitStatus.USAGE and "cannot be written" in done.err


def test_a_folder_without_the_right_to_write_is_refused_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(AudiocnnError, match=r"x: cannot be written .*; .*folder with -o"):
        check_run_writable(tmp_path / "x")


def test_powers_of_two():
    assert [floor_to_power_of_two(most) for most in (0.3, 1, 2, 3.9, 4, 1000)] == [1, 1, 2, 2, 4, 512]
    assert free_bytes() > 0


def test_the_batch_size_that_was_chosen_stays(task, tmp_path):
    recipe = recipe_of(DROPPING, batch_size=0, examples_per_epoch=160, epochs=2)
    reports = train(recipe, task, tmp_path / "run")
    assert next(reports) == Note("batch size: 16 (the largest power of two that fits, with at least 10 steps an epoch)")
    next(report for report in reports if isinstance(report, EpochReport))
    reports.close()
    assert read_recipe(tmp_path / "run/recipe.toml").train.batch_size == 16
    assert next(train(recipe, task, tmp_path / "run", resume=True)) == Note("continuing at epoch 2, step 1 of 10")


# Nothing held out


@pytest.mark.long
def test_with_nothing_held_out_the_last_weights_stay(task, tmp_path):
    from safetensors.torch import load_file

    recipe = recipe_of(DROPPING, validation_share=0.0, epochs=2, examples_per_epoch=32, patience=1)
    *reports, last = train(recipe, task, tmp_path / "run")
    assert isinstance(last, TrainReport)
    epochs = [report for report in reports if isinstance(report, EpochReport)]
    assert [(report.validation_loss, report.figure, report.figure_name) for report in epochs] == [(None, None, "")] * 2
    assert (last.best_epoch, last.figure, last.stopped_early) == (2, None, False)
    model = read_model(tmp_path / "run")
    assert (model.thresholds, model.tuned_on) == ({"tone": 0.5}, "")
    weights, state = (
        load_file(model.folder / "model.safetensors"),
        load_file(tmp_path / "run/checkpoints/last.safetensors"),
    )
    assert all(torch.equal(tensor, state[f"averaged.{name}"]) for name, tensor in weights.items())
    assert "nothing was held out" in (model.folder / CARD).read_text()
