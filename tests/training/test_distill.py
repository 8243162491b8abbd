"""A teacher: its scores are learned besides the marks, and what cannot teach is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from fixtures_models import RATE, TINY, network_of, noise, recipe_of, table_of, write_folder

from audiocnn.errors import RecipeError
from audiocnn.model.ensemble import make_ensemble
from audiocnn.model.model import find_model
from audiocnn.model.weights import load_network
from audiocnn.recipe.recipe import read_recipe
from audiocnn.recipe.settings import TrainSettings
from audiocnn.spec.spec import spec_from_table
from audiocnn.training.calibrate import Calibration, fold_calibration
from audiocnn.training.distill import find_teacher
from audiocnn.training.events import EpochReport
from audiocnn.training.train import train

CPU = torch.device("cpu")


def teacher_folder(folder, labels=("tone",), table=TINY):
    spec = spec_from_table(table, "wise", len(labels))
    network = network_of(spec, seed=5)
    write_folder(network, folder, "wise", labels)
    return network


def test_targets_lie_between_marks_and_teacher(tmp_path):
    network = teacher_folder(tmp_path / "wise", ("other", "tone"))
    recipe = recipe_of(teacher=str(tmp_path / "wise"), teacher_share=0.25)
    teacher = find_teacher(recipe, ("tone",), CPU)
    samples = torch.from_numpy(noise(recipe.spec, 3, 2 * RATE))
    with torch.no_grad():
        scores = network(network.extended(samples))[..., 1:]
    marks = torch.from_numpy(np.random.default_rng(0).integers(0, 2, scores.shape).astype(np.float32))
    assert torch.allclose(teacher.mix_targets(samples, marks), 0.75 * marks + 0.25 * scores, atol=1e-6)
    assert not any(weight.requires_grad for weight in teacher.network.parameters())


def test_a_clip_is_taught_the_mean_score(tmp_path):
    network = teacher_folder(tmp_path / "wise")
    recipe = recipe_of(teacher=str(tmp_path / "wise"), teacher_share=1.0)
    samples = torch.from_numpy(noise(recipe.spec, 3, 2 * RATE))
    with torch.no_grad():
        scores = network(network.extended(samples))
    taught = find_teacher(recipe, ("tone",), CPU).mix_targets(samples, torch.zeros(3, 1, 1))
    assert torch.allclose(taught, scores.mean(dim=1, keepdim=True), atol=1e-6)


@pytest.mark.parametrize(
    ("members", "precision"),
    [
        (1, "float32"),
        (1, "bfloat16"),
        *(pytest.param(2, precision, marks=pytest.mark.long) for precision in ("float32", "bfloat16")),
    ],
)
def test_features_of_a_teacher_are_made_in_single_precision_and_all_else_in_the_recipes(tmp_path, precision, members):
    network, folder = teacher_folder(tmp_path / "wise"), tmp_path / "wise"
    if members > 1:
        folder = tmp_path / "wiser"
        make_ensemble([find_model(tmp_path / "wise")] * members, folder)
    recipe = recipe_of(teacher=str(folder), teacher_share=1.0, precision=precision)
    teacher = find_teacher(recipe, ("tone",), CPU, precision == "bfloat16")
    seen = {"features": [], "convolutions": []}
    for one in teacher.network.networks if members > 1 else [teacher.network]:
        one.front_end.register_forward_hook(lambda module, given, made: seen["features"].append(made.dtype))
        convolution = next(
            module for module in one.groups.modules() if isinstance(module, torch.nn.Conv1d | torch.nn.Conv2d)
        )
        convolution.register_forward_hook(lambda module, given, made: seen["convolutions"].append(made.dtype))
    samples = torch.from_numpy(noise(recipe.spec, 2, RATE))
    with torch.no_grad():
        wanted = network(network.extended(samples))
    got = teacher.mix_targets(samples, torch.zeros_like(wanted))
    assert seen == {"features": [torch.float32] * members, "convolutions": [getattr(torch, precision)] * members}
    assert torch.allclose(got, wanted, atol=0.02)


def test_a_recipe_without_teacher_has_none():
    assert find_teacher(recipe_of(), ("tone",), CPU) is None


def test_who_cannot_teach_is_refused(tmp_path):
    with pytest.raises(RecipeError, match=r"teacher .*: .*gone.*; or name a model folder"):
        find_teacher(recipe_of(teacher=str(tmp_path / "gone")), ("tone",), CPU)
    teacher_folder(tmp_path / "wise")
    recipe = recipe_of(teacher=str(tmp_path / "wise"))
    with pytest.raises(RecipeError, match=r'teacher: wise has no label "hum", only tone; use another model'):
        find_teacher(recipe, ("hum",), CPU)
    slow = table_of(TINY["input"], TINY["groups"][0]["layers"], {"window_seconds": 0.2, "hop_seconds": 0.05})
    teacher_folder(tmp_path / "slow", table=slow)
    with pytest.raises(RecipeError, match=r"teacher: wise gives one score every 0\.05 s at 2000 Hz .* use a model"):
        find_teacher(recipe_of(teacher=str(tmp_path / "slow")), ("tone",), CPU)


def test_what_a_teacher_says_is_learned(trained, tmp_path):
    """The student of a teacher who is always wrong becomes wrong."""
    last, _, _, dataset = trained
    wrong = tmp_path / "wrong"
    turned = load_network(last.model)
    assert fold_calibration(turned, Calibration((-1.0,), (0.0,)))
    write_folder(turned, wrong, "wrong", ("tone",))
    recipe = recipe_of(teacher=str(wrong), teacher_share=1.0)
    *reports, end = train(recipe, dataset, tmp_path / "run")
    figures = [report.figure for report in reports if isinstance(report, EpochReport)]
    assert figures[-1] < 0.3
    assert end.model.training["teacher"] == "wrong"


def test_a_teacher_lies_beside_the_recipe(tmp_path):
    teacher_folder(tmp_path / "models" / "wise")
    path = tmp_path / "recipe.toml"
    path.write_text('spec = "speech_1d"\n[train]\nteacher = "models/wise"\nteacher_share = 0.7\n')
    settings = read_recipe(path).train
    assert settings.teacher == str((tmp_path / "models" / "wise").resolve())
    assert settings.teacher_share == 0.7
    assert dataclasses.replace(settings, teacher="", teacher_share=0.5) == TrainSettings()
