"""Operating points in a model: formats 1, 2 and 3, what is read back, what is refused, and what its card says."""

from __future__ import annotations

import dataclasses
import shutil

import pytest
from fixtures_cli import RULES, copy_with_points, tone_model  # noqa: F401
from fixtures_models import SPECS, network_of, write_folder

from audiocnn.errors import ModelError, UsageError
from audiocnn.inference.classify import ClassifySettings
from audiocnn.inference.detect import DetectSettings
from audiocnn.model.card import POINTS_TITLE, operating_points_section, with_section
from audiocnn.model.model import MODEL_FORMAT, SENSITIVITIES, TOML, Member, read_model, shipped_models, write_model
from audiocnn.segments.finder import SegmentRule
from audiocnn.spec.spec import spec_from_table
from audiocnn.toml import read_toml


@pytest.fixture
def folder(tone_model, tmp_path):  # noqa: F811
    """A model with operating points."""
    return copy_with_points(tone_model, tmp_path / "tone")


def test_a_model_has_three_rules_for_a_label(folder):
    model = read_model(folder)
    assert {name: model.rule("tone", name) for name in SENSITIVITIES} == RULES
    assert model.rule("tone") == RULES["balanced"], "[thresholds] and [segments] hold it"
    assert model.points["tone"]["sensitive"].figures == {"miss_rate": 0.03}
    assert model.points["tone"]["balanced"].measured_on == "ten meetings"


def test_what_was_written_is_read_back(folder):
    model = read_model(folder)
    write_model(model)
    table = read_toml(folder / TOML, ModelError)
    assert table["format"] == 3 and read_model(folder) == model
    assert set(table["operating_points"]["tone"]["balanced"]) == {"detection_error_rate", "miss_rate", "measured_on"}


def test_an_ensemble_can_have_operating_points(folder, tmp_path):
    model = read_model(folder)
    members = tuple(Member(name, model.spec, model.labels) for name in ("one", "two"))
    both = dataclasses.replace(model, folder=tmp_path / "both", members=members)
    write_model(both)
    found = read_model(both.folder)
    assert (found.points, len(found.members)) == (model.points, 2)
    assert read_toml(both.folder / TOML, ModelError)["format"] == 3


def test_formats_without_operating_points_are_written_as_they_were(tone_model, tmp_path):  # noqa: F811
    plain = read_model(tone_model)
    assert (plain.to_table()["format"], plain.points) == (1, {})
    members = tuple(Member(name, plain.spec, plain.labels) for name in ("one", "two"))
    both = dataclasses.replace(plain, folder=tmp_path / "both", members=members)
    write_model(both)
    both = read_model(both.folder)
    assert (both.to_table()["format"], both.points) == (2, {})
    for model in (plain, both):
        assert "operating_points" not in model.to_table()
        assert model.rule(model.labels[0]) == SegmentRule(model.thresholds[model.labels[0]])


@pytest.mark.parametrize("path", list(shipped_models()), ids=lambda path: path.name)
def test_a_released_model_comes_back_as_its_file_says(path, tmp_path):
    model = read_model(path)
    write_model(dataclasses.replace(model, folder=tmp_path))
    written, shipped = (read_toml(folder / TOML, ModelError) for folder in (tmp_path, path))
    assert written | {"thresholds": shipped["thresholds"]} == shipped
    assert written["thresholds"] == model.thresholds, "a label without one has 0.5"


@pytest.mark.parametrize("name", SENSITIVITIES)
@pytest.mark.parametrize(
    "given",
    [
        {"threshold": 0.95},
        {"neg_threshold": 0.01},
        {"min_speech_seconds": 0.33},
        {"min_silence_seconds": 0.33},
        {"pad_seconds": 0.33},
        {"max_speech_seconds": 7.0},
        {"end_pad_seconds": 0.33},
    ],
    ids=lambda given: next(iter(given)),
)
def test_what_is_given_wins_over_the_operating_point(folder, name, given):
    rule = DetectSettings(sensitivity=name, **given).rules(read_model(folder))["tone"]
    wanted = dataclasses.replace(RULES[name], **given)
    # Where a segment ends belongs to the threshold that it was tuned with.
    assert rule == (dataclasses.replace(wanted, neg_threshold=None) if "threshold" in given else wanted)


@pytest.mark.parametrize("name", SENSITIVITIES)
def test_a_label_without_points_keeps_its_one_rule(folder, name):
    model = read_model(folder)
    two = dataclasses.replace(model, labels=("tone", "hum"), thresholds={"tone": 0.5, "hum": 0.6})
    assert DetectSettings(sensitivity=name).rules(two) == {"tone": RULES[name], "hum": SegmentRule(0.6)}
    assert ClassifySettings(sensitivity=name).rule(two).thresholds == (RULES[name].threshold, 0.6)


@pytest.mark.parametrize("wrong", ["", "Balanced", "loud", "sensitiv"])
@pytest.mark.parametrize("settings", [DetectSettings, ClassifySettings])
def test_an_unknown_sensitivity_names_the_three(folder, tone_model, wrong, settings):  # noqa: F811
    for model in (read_model(folder), read_model(tone_model)):
        ask = settings(sensitivity=wrong)
        with pytest.raises(UsageError) as caught:
            ask.rules(model) if settings is DetectSettings else ask.rule(model)
        assert all(name in str(caught.value) for name in SENSITIVITIES)


@pytest.mark.parametrize("name", SENSITIVITIES)
def test_a_model_without_operating_points_says_what_makes_them(tone_model, tmp_path, name, monkeypatch):  # noqa: F811
    monkeypatch.setattr("audiocnn.model.model.shipped_folder", lambda: tmp_path)
    released = shutil.copytree(tone_model, tmp_path / "released")
    for path, said in ((tone_model, f"--model {tone_model}"), (released, "--operating-points --save-as FOLDER`")):
        with pytest.raises(UsageError) as caught:
            DetectSettings(sensitivity=name).rules(read_model(path))
        assert said in str(caught.value) and "audiocnn tune DATA --model" in str(caught.value)
        assert "--operating-points --save" in str(caught.value)


@pytest.mark.parametrize(("spec", "why"), [("two_channels", "mutually exclusive"), ("onset_offset", "onsets")])
def test_a_model_that_cannot_have_them_says_why(tmp_path, spec, why):
    network = network_of(spec_from_table(SPECS[spec], spec, 2))
    model = write_folder(network, tmp_path / "m", spec, ("a", "b"))
    with pytest.raises(UsageError, match=why):
        DetectSettings(sensitivity="precise").rules(model)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[operating_points.tone.precise]", "[operating_points.tone.precize]", '"threshold" is missing'),
        ("threshold = 0.9\n", "", r'\[precise\]: .*"threshold"'),
        ("threshold = 0.9\n", "threshold = 1.9\n", r'\[precise\]: "threshold" must be a number'),
        ("neg_threshold = 0.8", "neg_threshold = 0.95", r"\[operating_points\]: tone: precise: --neg-threshold 0\.95"),
        ("min_silence = 0.02", "min_silense = 0.02", r'unknown key "min_silense"; did you mean "min_silence"\?'),
        ("pad = 0.0", "pad = -1.0", r'"pad" must be a number at least 0'),
        ("[operating_points.tone.", "[operating_points.tune.", r'\[operating_points\]: unknown key "tune"'),
        ('measured_on = "ten meetings"', "threshold = 0.3", r'\[balanced\]: unknown key "threshold"'),
        ("format = 3", "format = 1", r'unknown key "pad"'),
        ("format = 3", f"format = {MODEL_FORMAT + 1}", "is newer than the newest that this audiocnn reads"),
    ],
)
def test_damaged_operating_points_are_told(folder, old, new, said):
    (folder / TOML).write_text((folder / TOML).read_text().replace(old, new))
    with pytest.raises(ModelError, match=said):
        read_model(folder)


def test_the_card_has_a_row_for_each_and_is_written_again_whole(folder):
    model = read_model(folder)
    section = operating_points_section(model)
    assert [line.split("|")[2].strip() for line in section.splitlines() if line.startswith("| tone")] == [
        *SENSITIVITIES
    ]
    assert "15.0 %" in section and "Measured on ten meetings." in section
    for rest in ("", "\n## Figures\n\n| a |\n", "\nWhat it is.\n"):
        card = f"# tone\n\n| | |\n|---|---|\n{rest}"
        once = with_section(card, POINTS_TITLE, section)
        assert section in once and rest.strip() in once
        changed = section.replace("ten meetings", "two meetings")
        assert with_section(once, POINTS_TITLE, changed) == once.replace("ten meetings", "two meetings")
    without = dataclasses.replace(model, points={})
    assert operating_points_section(without) == ""
