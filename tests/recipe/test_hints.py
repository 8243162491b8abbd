"""What a spec wants of its training: read as strictly as the rest of it, behind options and recipe, before defaults."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest
import tomli_w
import torch
from fixtures_cli import audiocnn
from fixtures_models import TINY, network_of, recipe_of, tone_task

from audiocnn.errors import SpecError
from audiocnn.model.model import MODEL_FORMAT, Model, spec_folders
from audiocnn.recipe.recipe import read_recipe
from audiocnn.recipe.settings import TrainSettings
from audiocnn.spec.describe import describe
from audiocnn.spec.hints import HINT_KEYS
from audiocnn.spec.spec import load_spec, spec_at_rate, spec_from_table, spec_with_window, with_background
from audiocnn.training.dry_run import dry_run
from audiocnn.training.train import train
from audiocnn_cli.app.exits import ExitStatus

HINTS = {
    "optimizer": "sgd", "learning_rate": 3e-4, "weight_decay": 0.5, "momentum": 0.5, "schedule": "one_cycle",
    "warmup_share": 0.2, "gradient_clip": 1.0, "initialisation": "orthogonal",
}  # fmt: skip
OTHERS = {
    "optimizer": "adam", "learning_rate": 1e-4, "weight_decay": 0.1, "momentum": 0.8, "schedule": "constant",
    "warmup_share": 0.1, "gradient_clip": 2.0, "initialisation": "glorot",
}  # fmt: skip
DEFAULTS = TrainSettings()
SHIPPED = sorted(path for folder in spec_folders() for path in folder.glob("*.toml"))


def hinted(**hints):
    return spec_from_table({**TINY, "train": hints}, "tiny")


def written(folder, content):
    path = folder / "audiocnn.toml"
    path.write_text(tomli_w.dumps(content), encoding="utf-8")
    return path


def recipe_with(folder, hints, train):
    """A recipe file whose spec has hints."""
    return read_recipe(written(folder, {"spec": {**TINY, "train": hints}, "train": train}))


def test_the_examples_name_every_key_with_values_that_differ():
    assert HINTS.keys() == OTHERS.keys() == set(HINT_KEYS)
    for key in HINT_KEYS:
        assert len({HINTS[key], OTHERS[key], getattr(DEFAULTS, key)}) == 3


@pytest.mark.parametrize("key", HINT_KEYS)
def test_every_hint_is_read_and_kept(key):
    spec = hinted(**{key: HINTS[key]})
    assert spec.hints == {key: HINTS[key]}
    others = (spec_at_rate(spec, 8000), spec_with_window(spec, 0.3), spec.with_classes(3))
    assert all(one.hints == spec.hints for one in others)
    softmax = spec_from_table({**spec.table, "f": {**spec.table["f"], "output": "softmax"}}, "tiny")
    assert with_background(softmax).hints == spec.hints
    assert hinted().hints == {}


@pytest.mark.parametrize("key", HINT_KEYS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0, "loud", True, [1.0], 10**400], ids=str)
def test_a_hint_that_no_recipe_could_have_is_refused(key, value):
    with pytest.raises(SpecError, match=rf'^tiny: \[train\]: "{key}" (must|cannot) be'):
        hinted(**{key: value})


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"learning_rat": 1e-3}, 'unknown key "learning_rat"; did you mean "learning_rate"?'),
        ({"epochs": 3}, 'unknown key "epochs"'),
        ({"schedule": "plateau"}, '"schedule" cannot be "plateau"'),
        ({"schedule": "step"}, '"schedule" cannot be "step"'),
        (3, "expected a table, not 3"),
    ],
)
def test_what_is_no_hint_is_refused(table, words):
    with pytest.raises(SpecError) as caught:
        spec_from_table({**TINY, "train": table}, "tiny")
    assert str(caught.value).startswith(f"tiny: [train]: {words}")


# Who is before whom


@pytest.mark.parametrize("clips", [True, False])
@pytest.mark.parametrize("key", HINT_KEYS)
def test_a_hint_is_behind_the_recipe_and_before_the_default(tmp_path, key, clips):
    def used(hints, train):
        recipe = recipe_with(tmp_path, hints, train)
        return getattr(recipe.with_defaults(clips).train, key), recipe.given_by()[key]

    hint, stated, default = HINTS[key], OTHERS[key], getattr(DEFAULTS, key)
    assert used({}, {}) == (default, "default")
    assert used({key: hint}, {}) == (hint, "spec")
    assert used({key: hint}, {key: stated}) == (stated, "recipe")
    assert used({key: hint}, {key: default}) == (default, "recipe")  # who says the default means it


@pytest.mark.parametrize("key", HINT_KEYS)
def test_an_option_is_before_all(tmp_path, key):
    for stated in ({}, {key: OTHERS[key]}):
        recipe = recipe_with(tmp_path, {key: HINTS[key]}, stated)
        for value in (OTHERS[key], getattr(DEFAULTS, key)):
            told = recipe.with_options(**{key: value})
            assert getattr(told.with_defaults(clips=True).train, key) == value
            assert told.given_by()[key] == "option"
        assert recipe.with_options(**{key: None}) == recipe


def test_other_keys_stay_what_they_are(tmp_path):
    recipe = recipe_with(tmp_path, HINTS, {}).with_defaults(clips=False)
    assert recipe.train == dataclasses.replace(DEFAULTS, **HINTS)
    assert recipe.with_defaults(clips=True) == recipe  # what is settled is settled


@pytest.mark.long
def test_a_run_learns_by_hints_and_keeps_what_it_used(tmp_path):
    task = tone_task(tmp_path / "d", groups=4)
    spec = hinted(learning_rate=3e-4, schedule="constant", warmup_share=0.0, initialisation="orthogonal")
    unset = frozenset(f"train.{key}" for key in HINT_KEYS)
    plain = recipe_of(epochs=1, examples_per_epoch=16, validation_examples=8)
    recipe = dataclasses.replace(plain, spec=spec, train=dataclasses.replace(plain.train, learning_rate=2e-3))
    recipe = dataclasses.replace(recipe, unset=unset)
    reports = list(train(recipe, task, tmp_path / "run"))
    kept = read_recipe(tmp_path / "run" / "recipe.toml")
    assert {key: getattr(kept.train, key) for key in spec.hints} == spec.hints
    assert kept.unset.isdisjoint(unset) and kept.spec.hints == spec.hints
    row = json.loads((tmp_path / "run" / "metrics.jsonl").read_text())
    assert row["learning_rate"] == 3e-4
    note = next(report.text for report in reports if "the spec" in getattr(report, "text", ""))
    assert "learning_rate 0.0003" in note
    again = list(train(kept, task, tmp_path / "run", resume=True))  # the recipe of the run is the same
    assert not any("the spec" in getattr(report, "text", "") for report in again)


# What is said of them


def test_describe_says_what_a_spec_wants(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(tomli_w.dumps({**TINY, "train": {"learning_rate": 3e-4, "schedule": "one_cycle"}}))
    done = audiocnn("describe", str(path), "--format", "table")
    assert done.status is ExitStatus.OK, done.err
    assert "learning_rate 0.0003, schedule one_cycle" in " ".join(done.out.split())
    done = audiocnn("describe", str(path), "--format", "json")
    assert json.loads(done.out)["train"] == {"learning_rate": 3e-4, "schedule": "one_cycle"}
    plain = tmp_path / "plain.toml"
    plain.write_text(tomli_w.dumps(TINY))
    assert "training" not in audiocnn("describe", str(plain), "--format", "table").out


def test_a_dry_run_says_where_a_value_comes_from(tmp_path):
    task = tone_task(tmp_path / "d", groups=4)
    recipe = recipe_with(tmp_path, {"learning_rate": 3e-4, "momentum": 0.5}, {"weight_decay": 0.5, "workers": 0})
    plain = recipe_of()
    recipe = dataclasses.replace(recipe, mix=plain.mix).with_options(gradient_clip=2.0, batch_size=4)
    found = dry_run(recipe, task, "cpu").settings
    assert found["learning_rate"] == (3e-4, "spec")
    assert found["weight_decay"] == (0.5, "recipe")
    assert found["gradient_clip"] == (2.0, "option")
    assert found["schedule"] == (DEFAULTS.schedule, "default")
    assert found.keys() == set(HINT_KEYS)


# A model


def test_a_model_keeps_hints_and_old_readers_are_told_by_its_format():
    plain, spec = spec_from_table(TINY, "tiny"), hinted(learning_rate=3e-4)
    model = Model("m", None, spec, ("tone",), {})
    assert model.to_table()["format"] == 3 <= MODEL_FORMAT
    assert model.to_table()["spec"]["train"] == {"learning_rate": 3e-4}
    without = dataclasses.replace(model, spec=plain).to_table()
    assert without["format"] == 1 and "train" not in without["spec"]


def test_hints_change_no_score():
    samples = torch.randn(1, 1, 4000)
    torch.manual_seed(1)
    one = network_of(spec_from_table(TINY, "tiny"))
    torch.manual_seed(1)
    other = network_of(hinted(**HINTS))
    with torch.no_grad():
        assert torch.equal(one(samples), other(samples))
    assert describe(hinted(**HINTS)).rows == describe(spec_from_table(TINY, "tiny")).rows


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_hints_of_the_specs_that_ship_are_no_defaults(path):
    """A hint that says what the program would do anyway says nothing."""
    for key, value in load_spec(path).hints.items():
        assert value != getattr(DEFAULTS, key)
