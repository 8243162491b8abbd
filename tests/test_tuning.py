"""The tuning set of a recipe: made of what training holds out, with the truth for each hop."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from fixtures_models import RATE, recipe_of, tone_task

from audiocnn.batches import prepare
from audiocnn.errors import RecipeError
from audiocnn.labels import Annotation
from audiocnn.recipe import EvaluateSettings, read_recipe
from audiocnn.training import train
from audiocnn.tuning import targets_of

TEXT = """
seed = 3
[data]
source = "."
labels = ["tone"]
[parts.tune]
split = "train"
held_out = {share}
[parts.seen]
split = "train"
[mix]
seconds = 4.0
gap_seconds = [0.1, 0.5]
[[conditions]]
name = "clean"
mixtures = 3
[[conditions]]
name = "noisy"
mixtures = 2
snr_db = 10
[[conditions]]
name = "whole"
as_they_are = {{ filename = [{names}] }}
"""
NAMES = ", ".join(f'"noise{number:02}.wav"' for number in range(12))


def recipe_with(folder, share=0.25, part="tune", **train_settings):
    path = folder / "conditions.toml"
    path.write_text(TEXT.format(share=share, names=NAMES))
    recipe = recipe_of(**train_settings)
    return dataclasses.replace(recipe, evaluate=EvaluateSettings(conditions=path, part=part))


def test_what_is_held_out_is_what_one_tunes_on(tmp_path):
    material = prepare(recipe_with(tmp_path), tone_task(tmp_path / "d"))
    lengths = [example.samples.shape[1] for example in material.validation]
    assert lengths == [4 * RATE] * 5 + [3 * RATE] * 3  # of 12 noises a quarter is held out
    spoken = [bool(example.targets.any()) for example in material.validation]
    assert spoken == [True] * 5 + [False] * 3
    hop = recipe_of().spec.geometry().hop_samples
    assert all(len(e.targets) == -(-e.samples.shape[1] // hop) for e in material.validation)
    tone, rest = (
        np.concatenate(
            [e.samples[0, : len(e.targets) * hop][np.repeat(e.targets[:, 0], hop)[: e.samples.shape[1]] == value]
             for e in material.validation[:3]]
        )
        for value in (1, 0)
    )  # fmt: skip
    assert np.std(tone) > 10 * np.std(rest)


def test_a_training_is_tuned_and_calibrated_on_it(tmp_path):
    dataset = tone_task(tmp_path / "d")
    *_, last = train(recipe_with(tmp_path), dataset, tmp_path / "run")
    assert last.model.tuned_on == 'part "tune" of conditions.toml (8 recordings), f1'
    assert 'part "tune" of conditions.toml' in (tmp_path / "run" / "model" / "README.md").read_text()
    kept = read_recipe(tmp_path / "run" / "recipe.toml")
    assert kept.evaluate.conditions == tmp_path / "conditions.toml"


def test_what_was_learned_from_is_refused(tmp_path):
    dataset = tone_task(tmp_path / "d")
    with pytest.raises(RecipeError, match=r'part "tune" holds out 0\.5 .* the recipe 0\.25 .* make them the same'):
        prepare(recipe_with(tmp_path, share=0.5), dataset)
    with pytest.raises(RecipeError, match='no part "tuning"'):
        prepare(recipe_with(tmp_path, part="tuning"), dataset)


def test_the_middle_of_a_hop_decides():
    notes = [Annotation(0.011, 0.03, "a"), Annotation(0.0, 0.009, "b"), Annotation(0.02, 0.03, "other")]
    targets = targets_of(notes, ("a", "b"), 450, 100, 10_000)
    assert targets.tolist() == [[0, 1], [1, 0], [1, 0], [0, 0], [0, 0]]


def test_a_recipe_names_its_conditions(tmp_path):
    (tmp_path / "some.toml").write_text("")
    path = tmp_path / "recipe.toml"
    path.write_text('[evaluate]\nconditions = "some.toml"\npart = "other"\ncalibrate = false\n')
    assert read_recipe(path).evaluate == EvaluateSettings("f1", (tmp_path / "some.toml").resolve(), "other", False)
    path.write_text('[evaluate]\nconditions = "none.toml"\n')
    with pytest.raises(RecipeError, match=r'"conditions" names .*none\.toml, which is no file'):
        read_recipe(path)
