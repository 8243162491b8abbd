"""`[classify]` of `model.toml`: written in a format of its own, read again, checked, and kept by ensembles."""

from __future__ import annotations

import dataclasses
import math

import pytest
from fixtures_cli import copy_with_points, tone_model  # noqa: F401
from fixtures_models import network_of, spec_named, write_folder

from audiocnn.errors import ModelError
from audiocnn.evaluation.operating_points import TunedPoint, as_points
from audiocnn.evaluation.save_thresholds import save_tuned, with_operating_points
from audiocnn.model.ensemble import make_ensemble
from audiocnn.model.model import CARD, SENSITIVITIES, TOML, read_model, shipped_models, write_model
from audiocnn.model.pooling import ClipPooling, LabelPooling
from audiocnn.segments.finder import SegmentRule

THRESHOLDS = {"balanced": 0.5, "sensitive": 0.25, "precise": 0.75}
POOLINGS = {
    "clips": {"clip_pooling": ClipPooling(1.5, 0.4)},
    "labels": {"label_pooling": {"a": LabelPooling(0.2, 1.25, -0.5, THRESHOLDS), "b": LabelPooling()}},
}


@pytest.fixture
def model(tmp_path):
    """Two labels that stand alone."""
    network = network_of(spec_named("valid_2d").with_classes(2))
    return write_folder(network, tmp_path / "m", labels=("a", "b"))


@pytest.mark.parametrize("name", POOLINGS)
def test_it_is_written_and_read_again(model, name):
    assert "format = 1\n" in (model.folder / TOML).read_text()
    assert "classify" not in (model.folder / TOML).read_text()
    write_model(dataclasses.replace(model, **POOLINGS[name]))
    assert "format = 4\n" in (model.folder / TOML).read_text()
    again = read_model(model.folder)
    assert {key: getattr(again, key) for key in POOLINGS[name]} == POOLINGS[name]
    assert math.isinf(LabelPooling().seconds)


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("clips", "clip_seconds = 1.5\n", "", '"clip_seconds"'),
        ("clips", "pool_seconds = 0.4", "pool_seconds = 0", '"pool_seconds" must be a number above 0'),
        ("clips", "pool_seconds = 0.4", "pool_second = 0.4", 'did you mean "pool_seconds"'),
        ("clips", "pool_seconds = 0.4", "pool_seconds = 0.4\nlabels = { a = {} }", "on clips or on segments"),
        ("clips", "format = 4", "format = 3", 'unknown key "classify"'),
        ("labels", "[classify.labels.b]", "[classify.labels.c]", 'unknown key "c"'),
        ("labels", "gain = 1.25", "gain = -1.25", '"gain" must be a number above 0'),
        ("labels", "sensitive = 0.25\n", "", '"sensitive" is missing'),
        ("labels", "precise = 0.75", "precise = 1.75", '"precise" must be a number at least 0 and at most 1'),
        ("labels", "[spec.f]\n", '[spec.f]\noutput = "softmax"\n', "mutually exclusive labels"),
    ],
)
def test_what_cannot_be_is_refused(model, name, old, new, said):
    write_model(dataclasses.replace(model, **POOLINGS[name]))
    text = (model.folder / TOML).read_text()
    assert old in text
    (model.folder / TOML).write_text(text.replace(old, new))
    with pytest.raises(ModelError, match=said):
        read_model(model.folder)


def test_an_ensemble_pools_where_all_members_do(tmp_path, monkeypatch):
    monkeypatch.setattr("audiocnn.model.ensemble.export_onnx", lambda *_: 0.0)
    monkeypatch.setattr("audiocnn.model.ensemble._PARTS", ("model.safetensors", CARD, TOML))
    network = network_of(spec_named("valid_2d").with_classes(2))
    plain, first, second = (write_folder(network, tmp_path / name, labels=("a", "b")) for name in ("p", "f", "s"))
    first, second = (
        dataclasses.replace(one, label_pooling={"a": LabelPooling(seconds, gain, 0.0, THRESHOLDS)})
        for one, seconds, gain in ((first, 0.2, 1.0), (second, 0.4, 2.0))
    )
    both, _ = make_ensemble([first, second], tmp_path / "both", weights=[3.0, 1.0])
    assert both.label_pooling == {"a": LabelPooling(pytest.approx(0.25), 1.25, 0.0, THRESHOLDS)}
    assert make_ensemble([first, plain], tmp_path / "mixed")[0].label_pooling == {}
    clips = [
        dataclasses.replace(one, clip_pooling=ClipPooling(*own)) for one, own in ((first, (1, 0.2)), (plain, (3, 1.0)))
    ]
    clips = [dataclasses.replace(one, label_pooling={}) for one in clips]
    assert make_ensemble(clips, tmp_path / "clips")[0].clip_pooling == ClipPooling(2.0, 0.6)


def test_thresholds_of_clips_are_saved_beside_those_of_segments(tone_model, tmp_path):  # noqa: F811
    model = read_model(copy_with_points(tone_model, tmp_path / "tone"))
    pooled = dataclasses.replace(model, label_pooling={"tone": LabelPooling(0.2, 1.0, 0.0, THRESHOLDS)})
    write_model(pooled)
    (model.folder / CARD).write_text("# tone\n\n| | |\n|---|---|\n| thresholds | none |\n\n## Limits\n\n- few\n")
    found = {
        name: TunedPoint(SegmentRule(x), {"miss_rate": 0.1})
        for name, x in zip(SENSITIVITIES, (0.6, 0.1, 0.9), strict=True)
    }
    save_tuned(with_operating_points(pooled, {"tone": as_points(found, "clips", clips=True)}, "clips", clips=True))
    again = read_model(model.folder)
    assert again.label_pooling["tone"].thresholds == {"balanced": 0.6, "sensitive": 0.1, "precise": 0.9}
    assert (again.points, again.thresholds, again.segments) == (model.points, model.thresholds, model.segments)
    card = (model.folder / CARD).read_text()
    assert "| tone | highest mean over 0.2 s | 0.6 | 0.1 | 0.9 |" in card
    assert card.index("## Whole recordings") < card.index("## Limits")
    save_tuned(again)
    assert (model.folder / CARD).read_text().count("## Whole recordings") == 1


@pytest.mark.parametrize("folder", [pytest.param(folder, id=folder.name) for folder in shipped_models()])
def test_released_models_say_how_they_pool(folder):
    model = read_model(folder)
    if model.spec.f.output == "softmax" and not model.background:  # its mean has an answer for any recording
        assert not model.label_pooling
        assert model.clip_pooling is None
        return
    assert (model.clip_pooling is None) != (not model.label_pooling)
    assert model.label_pooling.keys() in ({*model.labels}, set())
    assert "## Whole recordings" in (folder / CARD).read_text(encoding="utf-8")
