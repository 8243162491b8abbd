"""A model is a folder: read and written whole, refused part by part, found by name, folder or run."""

from __future__ import annotations

import shutil

import pytest
import tomli_w
import torch
from fixtures_models import network_of, spec_named, write_folder

from audiocnn.errors import ModelError, UsageError
from audiocnn.files import write_whole
from audiocnn.inference.engine import load_engine
from audiocnn.model.model import (
    CARD,
    MODEL_FORMAT,
    ONNX,
    STREAM_ONNX,
    TOML,
    WEIGHTS,
    find_model,
    read_model,
    shipped_folder,
    shipped_models,
    spec_folders,
    write_model,
)
from audiocnn.model.weights import load_network, save_weights
from audiocnn.recipe.recipe import RECIPE_FILE
from audiocnn.segments.finder import SegmentRule
from audiocnn.spec.spec import load_spec
from audiocnn.toml import read_toml


@pytest.fixture
def folder(tmp_path):
    """A model folder without its ONNX file."""
    network = network_of(spec_named("valid_2d"))
    labels = {"labels": ("dog", "cat"), "thresholds": {"dog": 0.3}, "tuned_on": "10 mixtures"}
    more = {"training": {"seed": 1, "validation": {"auroc": 0.9}}, "evaluation": {"meetings": {"auroc": 0.8}}}
    return write_folder(network, tmp_path / "pets", "pets", **labels, **more).folder


def change(folder, **parts):
    """Write model.toml with other parts; None takes one away."""
    table = read_toml(folder / TOML, ModelError) | parts
    (folder / TOML).write_bytes(
        tomli_w.dumps({key: value for key, value in table.items() if value is not None}).encode()
    )


def refused(call, *words):
    with pytest.raises(ModelError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert str(word) in message
    return message


def test_what_was_written_is_read(folder):
    model = read_model(folder)
    assert (model.name, model.folder, model.labels) == ("pets", folder, ("dog", "cat"))
    assert model.thresholds == {"dog": 0.3, "cat": 0.5}
    assert (model.tuned_on, model.training["seed"], model.evaluation["meetings"]) == ("10 mixtures", 1, {"auroc": 0.8})
    assert model.spec.table == spec_named("valid_2d").table
    assert model.spec.classes == 2
    write_model(model)
    assert read_model(folder) == model


def test_the_toml_has_the_format_and_the_whole_spec(folder):
    table = read_toml(folder / TOML, ModelError)
    assert table["format"] == 1  # older versions read it, too
    assert table["spec"]["input"]["floor"] == 1e-8
    assert table["spec"]["groups"][0]["name"] == "A"


def test_weights_are_plain_tensors_and_come_back_bit_by_bit(folder):
    network = network_of(spec_named("valid_2d"))
    loaded = load_network(read_model(folder))
    assert not loaded.training
    wanted, got = network.state_dict(), loaded.state_dict()
    assert wanted.keys() == got.keys()
    assert all(torch.equal(wanted[key], got[key]) for key in wanted)


# What is missing, damaged or too new


@pytest.mark.parametrize(
    ("part", "call", "said"),
    [
        (
            TOML,
            find_model,
            "not a model folder (no model.toml); name a model folder or one of",
        ),
        (
            WEIGHTS,
            lambda folder: load_network(read_model(folder)),
            "model.safetensors is missing; copy the folder again",
        ),
        (
            ONNX,
            lambda folder: load_engine(read_model(folder)),
            "model.onnx is missing; make it again with `audiocnn export",
        ),
        (CARD, lambda folder: read_model(folder).part(CARD), "README.md is missing; copy the folder again"),
    ],
)
def test_a_part_that_is_missing_is_named_with_the_remedy(folder, part, call, said):
    (folder / part).unlink(missing_ok=True)
    refused(lambda: call(folder), folder, said)


def test_without_its_card_a_model_still_works(folder):
    (folder / CARD).unlink()
    assert load_network(read_model(folder)).spec.classes == 2


@pytest.mark.parametrize("content", [b"", b"no tensors here", None], ids=["empty", "text", "cut"])
def test_damaged_weights_are_refused(folder, content):
    whole = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(whole[: len(whole) // 2] if content is None else content)
    refused(lambda: load_network(read_model(folder)), folder / WEIGHTS, ": damaged: ", "copy the folder again")


def test_weights_of_another_network_are_refused(folder):
    save_weights(network_of(spec_named("causal")), folder / WEIGHTS)
    refused(lambda: load_network(read_model(folder)), folder / WEIGHTS, "does not fit the spec in model.toml")


def test_more_labels_than_weights_are_refused(folder):
    change(folder, labels=["dog", "cat", "bird"])
    refused(lambda: load_network(read_model(folder)), "does not fit the spec in model.toml")


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (
            {"format": MODEL_FORMAT + 1},
            f"newer than the newest that this audiocnn reads ({MODEL_FORMAT}); upgrade with",
        ),
        ({"format": 0}, '"format" must be a whole number from 1'),
        ({"format": None}, '"format" is missing'),
        ({"labels": None}, '"labels" is missing'),
        ({"labels": []}, '"labels" must name each label once'),
        ({"labels": ["a", "a"]}, '"labels" must name each label once'),
        ({"labels": ["a", 1]}, '"labels" must be a list of strings'),
        ({"name": None}, '"name" is missing'),
        ({"spec": None}, '"spec" is missing'),
        ({"spec": "speech_1d"}, "the spec inside is damaged: pets: expected a table"),
        ({"spec": {"f": {"window_seconds": 1}}}, 'the spec inside is damaged: pets: [input]: "features" is missing'),
        ({"thresholds": {"bird": 0.5}}, '[thresholds]: unknown key "bird"; known: cat, dog'),
        ({"thresholds": {"dog": 1.5}}, '[thresholds]: "dog" must be a number at least 0 and at most 1'),
        ({"treshold": 0.5}, 'unknown key "treshold"; did you mean "thresholds"?'),
    ],
    ids=str,
)
def test_a_toml_that_is_wrong_is_refused(folder, parts, said):
    change(folder, **parts)
    message = refused(lambda: read_model(folder), said)
    assert message.startswith(f"{folder / TOML}: ")


@pytest.mark.parametrize("content", [b"", b"format = ", b"\xff\xfe"], ids=["empty", "cut", "bytes"])
def test_a_damaged_toml_is_refused(folder, content):
    (folder / TOML).write_bytes(content)
    refused(lambda: read_model(folder), folder / TOML)


# Thresholds


def test_a_flag_wins_over_the_model_and_the_model_over_the_default(folder):
    model = read_model(folder)
    assert model.rule("dog") == SegmentRule(threshold=0.3)
    assert model.rule("cat") == SegmentRule()
    assert model.rule("dog", threshold=0.7, pad_seconds=None).threshold == 0.7
    assert model.rule("dog", min_speech_seconds=1.0) == SegmentRule(threshold=0.3, min_speech_seconds=1.0)
    with pytest.raises(UsageError, match="--threshold"):
        model.rule("dog", threshold=1.5)


# Finding


def test_a_model_is_found_by_its_folder_or_by_that_of_a_run(folder, tmp_path, monkeypatch):
    assert find_model(folder).name == find_model(str(folder)).name == "pets"
    run = tmp_path / "run"
    shutil.move(folder, run / "model")
    assert find_model(run).folder == run / "model"
    assert read_model(run).labels == ("dog", "cat")
    monkeypatch.chdir(tmp_path)
    assert find_model("run").labels == ("dog", "cat")


def test_an_unknown_model_gets_the_nearest_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # away from runs that somebody made here
    fake = tmp_path / "shipped"
    for name in ("speech_2d", "speech_1d", "birds"):
        write_folder(network_of(spec_named("causal")), fake / name, name)
    monkeypatch.setattr("audiocnn.model.model.shipped_folder", lambda: fake)
    assert [path.name for path in shipped_models()] == ["speech_1d", "birds", "speech_2d"]
    assert find_model("birds").folder == fake / "birds"
    refused(lambda: find_model("brids"), 'no model is called "brids"; did you mean "birds"?; or name a model folder')
    refused(lambda: find_model("zzz"), "known: birds, speech_1d, speech_2d; or name a model folder")
    (tmp_path / "empty").mkdir()
    refused(lambda: find_model(tmp_path / "empty"), tmp_path / "empty", "not a model folder (no model.toml)")
    (tmp_path / "file").touch()
    refused(lambda: find_model(tmp_path / "file"), "not a model folder")
    # A folder that happens to have the name of a released model, but is none, does not stand in its way.
    (tmp_path / "birds").mkdir()
    monkeypatch.chdir(tmp_path)
    assert find_model("birds").folder == fake / "birds"


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "", "."])
def test_names_that_cannot_be_are_one_line(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(lambda: find_model(name))


def test_specs_and_models_ship_in_one_package():
    assert spec_folders() == [shipped_folder() / "specs"]
    assert {"speech_1d", "speech_2d", "speech_wave"} <= {path.stem for path in spec_folders()[0].glob("*.toml")}


@pytest.mark.parametrize("folder", list(shipped_models()), ids=lambda folder: folder.name)
def test_every_released_model_is_whole(folder):
    model = read_model(folder)
    assert model.name == folder.name
    live = {STREAM_ONNX} if model.spec.f.look_ahead_seconds is not None else set()
    assert {path.name for path in folder.iterdir()} == {TOML, WEIGHTS, ONNX, CARD, RECIPE_FILE} | live
    assert model.thresholds.keys() == set(model.labels)
    assert load_network(model).spec == model.spec
    assert load_engine(model, jobs=1).hop_seconds == model.spec.geometry().hop_seconds
    if (spec := spec_folders()[0] / f"{folder.name}.toml").exists():
        assert load_spec(spec, len(model.labels)).table == model.spec.table


# Writing


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "deep" / "file"
    write_whole(path, b"one")
    write_whole(path, b"two")
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o644

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_whole(path, b"three")
    assert path.read_bytes() == b"two"
    assert [inside.name for inside in path.parent.iterdir()] == ["file"]


def test_a_model_with_look_ahead_is_not_read_by_versions_that_know_none(tmp_path):
    network = network_of(spec_named("look_ahead"))
    model = write_folder(network, tmp_path / "live")
    assert "format = 3\n" in (model.folder / TOML).read_text()
    assert read_model(model.folder).spec.f.look_ahead_seconds == 0.03
