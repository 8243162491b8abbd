"""The files of trials: every trial is a recipe that can be read, and another one than the first."""

from __future__ import annotations

from pathlib import Path

import pytest

from audiocnn.errors import RecipeError
from audiocnn.spec.spec import load_spec
from audiocnn.toml import read_toml
from benchmarks.trials import changed, recipe_with

ROOT = Path(__file__).resolve().parents[2]
SPECS = ROOT / "models/audiocnn_models/specs"
FILES = ("trials.toml", "level_trials.toml", "front.toml")
TABLES = {name: read_toml(ROOT / "benchmarks" / name, RecipeError) for name in FILES}
TRIALS = [(name, number) for name, table in TABLES.items() for number in range(len(table["trials"]))]


@pytest.mark.parametrize(("name", "number"), TRIALS)
def test_every_trial_is_a_recipe(name, number):
    table, base = TABLES[name], ROOT / "benchmarks" / TABLES[name]["recipe"]
    trial = table["trials"][number]
    recipe = recipe_with(base, changed(table["change"], trial.get("change", {})))
    assert recipe.train.examples_per_epoch == table["change"]["train"]["examples_per_epoch"]
    if "change" in trial:
        assert recipe.to_table() != recipe_with(base, table["change"]).to_table()


@pytest.mark.parametrize("name", ["speech_1d", "speech_2d"])
def test_what_the_detectors_began_with_is_the_same_without_a_level_norm(name):
    """The same layers and weights; the level of 30 s less."""
    plain, level = load_spec(ROOT / f"benchmarks/specs/{name}_plain.toml"), load_spec(SPECS / f"{name}.toml")
    (first, *others) = level.layers
    assert first.text() == "level norm over 3000 (30 s), 1500 ahead, padded, 30 dB, to -28 dB"
    assert others == list(plain.layers)
    assert level.parameters() == plain.parameters()
    longer = level.geometry().window_seconds - plain.geometry().window_seconds
    assert longer == pytest.approx(30.0, abs=0.03)
    assert level.geometry().positions == plain.geometry().positions
