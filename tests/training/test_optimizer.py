"""Optimizers and schedules: equal to torch's where it has them, to the formula where it has not."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from fixtures_models import BATCH, LOG_MEL, recipe_of, table_of, tone_task

from audiocnn.errors import RecipeError
from audiocnn.model.network import Network
from audiocnn.recipe.settings import TrainSettings
from audiocnn.spec.hints import OPTIMIZERS, SCHEDULES
from audiocnn.training.batches import make_training_set
from audiocnn.training.checkpoint import LAST_CHECKPOINT
from audiocnn.training.events import EpochReport
from audiocnn.training.optimizer import learning_rate_at, make_optimizer
from audiocnn.training.trainer import Trainer, choose_precision
from audiocnn.training.validate import ValidationResult

EPOCHS, STEPS = 6, 5
PLAIN = table_of(
    {**LOG_MEL, "mels": 12}, [{"conv": 8, "kernel": 3}], {"window_seconds": 0.15, "layers": [{"dense": 8}]}
)
NORMED = table_of(
    {**LOG_MEL, "mels": 12}, [{"conv": 8, "kernel": 3}], {"window_seconds": 0.15, "layers": [{"dense": 8}]},
    defaults=BATCH,
)  # fmt: skip


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return tone_task(tmp_path_factory.mktemp("task") / "dataset", groups=4)


def rates(**settings):
    chosen = TrainSettings(epochs=EPOCHS, learning_rate=0.5, **settings)
    return [learning_rate_at(chosen, epoch, step, STEPS) for epoch in range(EPOCHS) for step in range(STEPS)]


def torch_rates(make, steps):
    """The rates that a schedule of torch gives."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    schedule, found = make(optimizer), []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_one_cycle_is_that_of_torch():
    total = EPOCHS * STEPS
    wanted = torch_rates(
        lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.5, total, pct_start=0.3), total
    )
    assert rates(schedule="one_cycle", warmup_share=0.3) == pytest.approx(wanted, rel=1e-6)


def test_cosine_without_warm_up_is_that_of_torch():
    total = EPOCHS * STEPS
    wanted = torch_rates(lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total), total)
    assert rates(schedule="cosine", warmup_share=0.0) == pytest.approx(wanted, rel=1e-6)


def test_steps_are_those_of_torch():
    wanted = torch_rates(lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.1), EPOCHS)
    found = rates(schedule="step", schedule_epochs=2, schedule_factor=0.1, warmup_share=0.0)
    assert found == pytest.approx([rate for rate in wanted for _ in range(STEPS)])


def test_every_schedule_but_one_cycle_warms_up_in_a_straight_line():
    for schedule in SCHEDULES:
        found = rates(schedule=schedule, warmup_share=0.2)
        if schedule != "one_cycle":
            assert found[:6] == pytest.approx([0.5 * (n / 6 + 1e-3) for n in range(6)])
    assert rates(schedule="constant", warmup_share=0.0) == [0.5] * (EPOCHS * STEPS)


def test_a_plateau_lowers_the_rate_and_a_better_epoch_does_not(task, tmp_path):
    recipe = recipe_of(epochs=20, schedule="plateau", schedule_epochs=2, schedule_factor=0.5, warmup_share=0.0)
    trainer = Trainer(recipe, make_training_set(recipe, task), tmp_path / "run", "cpu")
    found = []
    for figure in (0.5, 0.4, 0.6, 0.5, 0.5, 0.5, 0.5, 0.7, 0.1):
        trainer.end_epoch(ValidationResult(1.0, "auroc", figure), 1.0, 0.0, 1.0)
        trainer.save(LAST_CHECKPOINT)
        found.append(trainer.learning_rate / recipe.train.learning_rate)
    assert found == [1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.25, 0.25, 0.25]
    again = Trainer(recipe, make_training_set(recipe, task), tmp_path / "run", "cpu")
    again.resume()
    assert again.learning_rate == trainer.learning_rate


def test_optimizers_are_what_they_are_called():
    network = Network(recipe_of(NORMED).spec)
    kinds = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam, "sgd": torch.optim.SGD}
    assert set(kinds) == set(OPTIMIZERS)
    for name, kind in kinds.items():
        made = make_optimizer(network, TrainSettings(optimizer=name, momentum=0.8, weight_decay=0.3))
        assert type(made) is kind
        assert [group["weight_decay"] for group in made.param_groups] == [0.3]
    sgd = make_optimizer(network, TrainSettings(optimizer="sgd", momentum=0.8)).param_groups[0]
    assert (sgd["momentum"], sgd["nesterov"]) == (0.8, True)
    assert not make_optimizer(network, TrainSettings(optimizer="sgd", momentum=0.0)).param_groups[0]["nesterov"]
    first, second = make_optimizer(network, TrainSettings(decay_norms=False, weight_decay=0.3)).param_groups
    assert (first["weight_decay"], second["weight_decay"]) == (0.3, 0.0)
    assert {weight.dim() for weight in second["params"]} == {1}
    assert 1 not in {weight.dim() for weight in first["params"]}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_learns_and_goes_on_where_it_was(task, tmp_path, name):
    settings = {"epochs": 4, "examples_per_epoch": 24, "batch_size": 8, "validation_examples": 4}
    recipe = recipe_of(PLAIN, optimizer=name, decay_norms=False, **settings)
    training_set = make_training_set(recipe, task)
    straight = Trainer(recipe, training_set, tmp_path / "straight", "cpu")
    start = {key: value.clone() for key, value in straight.network.state_dict().items()}
    losses = [report.loss for report in straight.epochs() if isinstance(report, EpochReport)]
    assert losses[-1] < losses[0]
    first = Trainer(recipe, training_set, tmp_path / "run", "cpu")
    first.network.load_state_dict(start)
    first.ema.load_state_dict(start)
    next(report for report in first.epochs() if isinstance(report, EpochReport) and report.epoch == 2)
    second = Trainer(recipe, training_set, tmp_path / "run", "cpu")
    second.resume()
    list(second.epochs())
    for key, tensor in straight.network.state_dict().items():
        assert torch.equal(second.network.state_dict()[key], tensor)


# One batch in several parts


def test_a_batch_in_parts_has_the_gradients_of_the_whole(task, tmp_path):
    ends, start = [], {}
    for parts in (1, 3):
        recipe = recipe_of(PLAIN, accumulate=parts, batch_size=7, workers=0)
        trainer = Trainer(recipe, make_training_set(recipe, task), tmp_path / f"{parts}", "cpu")
        start = start or {key: value.clone() for key, value in trainer.network.state_dict().items()}
        trainer.network.load_state_dict(start)
        batch = next(iter(trainer.loader))
        loss = trainer.train_step(*batch)
        ends.append((loss, [weight.grad.clone() for weight in trainer.network.parameters()]))
    assert ends[0][0] == pytest.approx(ends[1][0], rel=1e-6)
    for one, other in zip(ends[0][1], ends[1][1], strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-7)


# What is no number


def test_gradients_that_are_no_numbers_leave_the_weights_alone(task):
    recipe = recipe_of(PLAIN)
    trainer = Trainer(recipe, make_training_set(recipe, task))
    weight = next(iter(trainer.network.parameters()))
    weight.register_hook(lambda gradient: gradient * math.nan)
    before = {key: value.clone() for key, value in trainer.network.state_dict().items()}
    with pytest.raises(RecipeError, match="the gradients are not finite"):
        trainer.train_step(torch.randn(2, 1, 3000), torch.zeros(2, 150, 1))
    assert all(torch.equal(before[key], value) for key, value in trainer.network.state_dict().items())


def test_only_what_is_no_number_is_blamed(task):
    recipe = recipe_of(PLAIN)
    trainer = Trainer(recipe, make_training_set(recipe, task))
    samples = torch.randn(4, 1, 3000)
    samples[2] = math.inf
    assert 2 in trainer.find_not_finite(trainer.features(samples))


def test_half_precision_is_for_gpus():
    with pytest.raises(
        RecipeError, match=r'\[train\] precision = "float16" is for GPUs, but this is cpu; use "bfloat16"'
    ):
        choose_precision("float16", torch.device("cpu"))
    assert choose_precision("float16", torch.device("cuda")) == "float16"


@pytest.mark.parametrize("has", [True, False])
def test_bfloat16_where_the_processor_has_it(monkeypatch, has):
    monkeypatch.setattr("audiocnn.training.trainer.has_bfloat16", lambda: has)
    assert choose_precision("bfloat16", torch.device("cpu")) == ("bfloat16" if has else "float32")
    assert choose_precision("bfloat16", torch.device("cuda")) == "bfloat16"


def test_without_a_compiler_training_goes_on(task, monkeypatch):
    def missing(*_, **__):
        raise RuntimeError("no C++ compiler")

    recipe = recipe_of(PLAIN, compile=True)
    monkeypatch.setattr(torch, "compile", missing)
    trainer = Trainer(recipe, make_training_set(recipe, task))
    assert trainer.notes == ["[train] compile: not available here (no C++ compiler); training continues without it"]
    assert trainer.train_step(torch.randn(2, 1, 3000), torch.zeros(2, 150, 1)) > 0
    assert dataclasses.replace(recipe.train, compile=False) != recipe.train
