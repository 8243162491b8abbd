"""How many threads a training takes: measured, given, or those of the run that goes on; never other weights."""

from __future__ import annotations

import json
import time

import pytest
import torch
from fixtures_cli import audiocnn
from fixtures_models import recipe_of, tone_task

from audiocnn.errors import UsageError
from audiocnn.inference.engine import usable_cores
from audiocnn.training import threads as threads_module
from audiocnn.training.batches import make_training_set
from audiocnn.training.checkpoint import LAST_CHECKPOINT, read_checkpoint
from audiocnn.training.events import EpochReport, Note
from audiocnn.training.threads import AUTO_THREADS, check_threads, choose_threads, keep_threads, pick_threads
from audiocnn.training.train import train
from audiocnn_cli.app.exits import ExitStatus


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return tone_task(tmp_path_factory.mktemp("task") / "dataset")


@pytest.fixture
def two_threads():
    with keep_threads():
        torch.set_num_threads(2)
        yield


def weights_of(run):
    return (run / "model" / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("step_seconds", "chosen"),
    [
        ({1: 1.0, 2: 0.55}, 2),
        ({1: 1.0, 2: 0.95}, 1),
        ({1: 0.3, 2: 1.3}, 1),  # a busy machine
        ({1: 1.0, 2: 0.6, 4: 0.4, 8: 0.39}, 4),
        ({1: 1.0, 2: 1.2, 4: 0.5}, 4),
        ({1: 1.0, 2: 0.5, 4: 0.9}, 2),
        ({1: 1.0, 3: 0.4}, 3),
    ],
)
def test_the_fewest_threads_but_for_a_clear_gain(step_seconds, chosen):
    assert pick_threads(step_seconds) == chosen


def test_measuring_leaves_nothing_behind(task, two_threads):
    recipe = recipe_of(epochs=1)
    random = torch.get_rng_state()
    choice = choose_threads(recipe, make_training_set(recipe, task))
    assert torch.equal(torch.get_rng_state(), random) and torch.get_num_threads() == 2
    assert list(choice.step_seconds) == [1, 2] and min(choice.step_seconds.values()) > 0.0
    assert choice.threads == pick_threads(choice.step_seconds)


def test_a_number_that_is_many_times_as_slow_costs_one_step(monkeypatch):
    made = []

    class Slow:
        def train_step(self, *batch):
            made.append(torch.get_num_threads())
            time.sleep(0.01 if torch.get_num_threads() == 1 else 0.2)

    monkeypatch.setattr(threads_module, "Trainer", lambda *_: Slow())
    monkeypatch.setattr(threads_module, "first_examples", lambda *_: ())
    with keep_threads():
        torch.set_num_threads(2)
        choice = choose_threads(recipe_of(epochs=1), None)
    assert (choice.threads, made.count(2)) == (1, 1) and made.count(1) > 2


def test_one_thread_is_not_measured(task, monkeypatch):
    monkeypatch.setattr(threads_module, "Trainer", None)
    recipe = recipe_of(epochs=1)
    with keep_threads():
        torch.set_num_threads(1)
        assert choose_threads(recipe, make_training_set(recipe, task)).threads == 1


@pytest.mark.long
@pytest.mark.parametrize("number", [1, 2])
def test_the_weights_are_those_of_as_many_threads_given(task, tmp_path, two_threads, monkeypatch, number):
    monkeypatch.setattr(threads_module, "pick_threads", lambda times: number)
    recipe = recipe_of(epochs=2, examples_per_epoch=32, validation_examples=8)
    reports = [*train(recipe, task, tmp_path / "measured", threads=AUTO_THREADS)]
    said = [report.text for report in reports if isinstance(report, Note)]
    assert any(f"{number} thread" in text and "s with 1" in text and "s with 2" in text for text in said)
    for _ in train(recipe, task, tmp_path / "given", threads=number):
        pass
    assert weights_of(tmp_path / "measured") == weights_of(tmp_path / "given")
    assert torch.get_num_threads() == 2
    for run in ("measured", "given"):
        assert json.loads((tmp_path / run / "run.json").read_text())["threads"] == number
        assert read_checkpoint(tmp_path / run / LAST_CHECKPOINT).progress["threads"] == number


@pytest.mark.long
@pytest.mark.parametrize("later", [1, 2])
def test_a_run_that_goes_on_measures_nothing_and_ends_alike(task, tmp_path, two_threads, monkeypatch, later):
    recipe = recipe_of(epochs=2, examples_per_epoch=32, validation_examples=8)
    for _ in train(recipe, task, tmp_path / "straight", threads=1):
        pass
    reports = train(recipe, task, tmp_path / "run", threads=1)
    next(report for report in reports if isinstance(report, EpochReport))
    reports.close()
    torch.set_num_threads(later)
    monkeypatch.setattr("audiocnn.training.train.choose_threads", None)
    for _ in train(recipe, task, tmp_path / "run", resume=True, threads=AUTO_THREADS):
        pass
    assert weights_of(tmp_path / "run") == weights_of(tmp_path / "straight")


def test_a_number_that_is_given_wins_over_that_of_the_run(task, tmp_path, two_threads):
    recipe = recipe_of(epochs=2, examples_per_epoch=32, validation_examples=8)
    reports = train(recipe, task, tmp_path / "run", threads=1)
    next(report for report in reports if isinstance(report, EpochReport))
    reports.close()
    again = [*train(recipe, task, tmp_path / "run", resume=True, threads=2)]
    assert any("2 thread(s) instead of 1" in one.text for one in again if isinstance(one, Note))
    assert read_checkpoint(tmp_path / "run" / LAST_CHECKPOINT).progress["threads"] == 2


@pytest.mark.parametrize("given", ["0", "-1", "1000", "x", "1.5", ""])
def test_a_number_that_cannot_be_is_one_line(tmp_path, monkeypatch, given):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sounds").mkdir()
    done = audiocnn("train", "sounds", "--threads", given)
    assert done.status is ExitStatus.USAGE
    assert "--threads" in done.err and done.err.count("\n") == 1 and "Traceback" not in done.err
    assert not (tmp_path / "runs").exists()


def test_as_many_as_there_are_cores_may_be_given():
    check_threads(None)
    check_threads(1)
    check_threads(usable_cores())
    with pytest.raises(UsageError, match=f"give 1 to {usable_cores()}$"):
        check_threads(usable_cores() + 1)
