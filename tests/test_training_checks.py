"""What is tried before a training, how large a batch may be, and a training with nothing held out."""

from __future__ import annotations

import dataclasses
import re

import pytest
import torch
from fixtures_cli import audiocnn
from fixtures_models import BATCH, LOG_MEL, recipe_of, table_of, tone_task
from sounds import sine, write

from audiocnn import batch_fit
from audiocnn.batch_fit import bytes_of_example, fitting, free_bytes, largest_batch, power_of_two
from audiocnn.batches import prepare
from audiocnn.errors import RecipeError
from audiocnn.model import CARD, read_model
from audiocnn.recipe import read_recipe
from audiocnn.rehearsal import Overfit, overfit, rehearse
from audiocnn.training import EpochReport, Note, TrainReport, train
from audiocnn_cli.exits import ExitStatus

CPU = torch.device("cpu")
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
    found = rehearse(recipe, task, "cpu")
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
    assert re.match(r"2 examples learned by heart: loss \d\.\d+ -> 0\.\d+ in \d+ steps\n$", done.out)
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
    monkeypatch.setattr("audiocnn.rehearsal.OVERFIT_STEPS", 5)
    *_, last = overfit(recipe_of(DROPPING, learning_rate=1e-9), task, 3, "cpu")
    assert (last.learned, last.steps) == (False, 5)
    assert not Overfit(1, 1, 0.7, 0.06).learned
    assert Overfit(1, 1, 0.7, 0.05).learned
    assert Overfit(1, 1, 8.0, 0.39).learned


def test_the_command_shows_epochs_with_nothing_held_out(sounds, monkeypatch):
    monkeypatch.chdir(sounds)
    (sounds / "all.toml").write_text(RECIPE.replace("workers = 0", "workers = 0\nvalidation_share = 0"))
    done = audiocnn("train", "--recipe", "all.toml", "--epochs", "1", "-o", "run", "--device", "cpu")
    assert done.status is ExitStatus.OK
    assert re.search(r"^ +1/1  +\d\.\d{4}  +-  +-  ", done.err, re.MULTILINE)
    assert "the last, since nothing was held out" in done.err + done.out


def test_the_command_says_that_nothing_was_learned(sounds, monkeypatch):
    monkeypatch.chdir(sounds)
    monkeypatch.setattr("audiocnn.rehearsal.OVERFIT_STEPS", 2)
    (sounds / "slow.toml").write_text(RECIPE.replace("workers = 0", "workers = 0\nlearning_rate = 1e-9"))
    done = audiocnn("train", "--recipe", "slow.toml", "--overfit", "2", "--device", "cpu")
    assert done.status is ExitStatus.SOME_FAILED
    assert "2 examples not learned by heart" in done.out
    assert "the loss did not go to nothing; look at labels, spec and [train] learning_rate" in done.err


# How large a batch


def test_memory_of_an_example_grows_with_it(task):
    short, wide = recipe_of(DROPPING), recipe_of(DROPPING)
    wide = dataclasses.replace(wide, mix=dataclasses.replace(wide.mix, seconds=6.0))
    state = torch.get_rng_state()
    each = bytes_of_example(short, prepare(short, task))
    assert torch.equal(torch.get_rng_state(), state)
    # 8 maps of 150 positions, 16 neurons, of 4 bytes each, are there at least
    assert 4 * 24 * 150 < each < 1e6
    assert bytes_of_example(wide, prepare(wide, task)) == pytest.approx(4 * each, rel=0.2)


@pytest.mark.parametrize(("free", "examples", "fits"), [(2e9, 640, 64), (2e9, 10**6, 128), (100.0, 10**6, 1)])
def test_the_largest_batch_follows_memory_and_the_length_of_an_epoch(task, monkeypatch, free, examples, fits):
    monkeypatch.setattr(batch_fit, "free_bytes", lambda: free)
    recipe = recipe_of(DROPPING, examples_per_epoch=examples)
    assert largest_batch(recipe, prepare(recipe, task), CPU) == fits


def test_a_batch_that_cannot_fit_is_refused_with_one_that_does(task, monkeypatch):
    recipe = recipe_of(DROPPING, batch_size=2**13)
    material = prepare(recipe, task)
    each = bytes_of_example(recipe, material)
    monkeypatch.setattr(batch_fit, "free_bytes", lambda: each * 2**11)
    fact = (
        r"batch_size 8192 needs some .* GB of memory, and .* GB are free; take --batch-size 2048, or .* accumulate = 4"
    )
    with pytest.raises(RecipeError, match=fact):
        fitting(recipe, material, CPU)
    fitting(recipe_of(DROPPING, batch_size=2**13, accumulate=4), material, CPU)
    fitting(recipe_of(DROPPING, batch_size=2**11), material, CPU)


def test_powers_of_two():
    assert [power_of_two(most) for most in (0.3, 1, 2, 3.9, 4, 1000)] == [1, 1, 2, 2, 4, 512]
    assert free_bytes() > 0


def test_the_batch_size_that_was_chosen_stays(task, tmp_path):
    recipe = recipe_of(DROPPING, batch_size=0, examples_per_epoch=160, epochs=2)
    reports = train(recipe, task, tmp_path / "run")
    assert next(reports) == Note("batch size: 16: what memory holds, a power of two, and 10 steps an epoch at least")
    next(report for report in reports if isinstance(report, EpochReport))
    reports.close()
    assert read_recipe(tmp_path / "run/recipe.toml").train.batch_size == 16
    assert next(train(recipe, task, tmp_path / "run", resume=True)) == Note("going on at epoch 2, step 1 of 10")


# Nothing held out


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
