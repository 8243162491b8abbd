"""One score a label for a whole recording: the mean, the loudest stretch, and what a model says of them."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from fixtures_cli import RATE, tone, tone_model  # noqa: F401
from fixtures_models import SPECS
from sounds import write

from audiocnn.inference.classify import ClassifySettings, WindowScores, classify, classify_many
from audiocnn.inference.engine import load_engine
from audiocnn.inference.pooling import (
    ClipPool,
    LabelPool,
    LoudestStretch,
    MeanPool,
    calibrate_scores,
    clip_scores,
    pool_of,
)
from audiocnn.model.model import SENSITIVITIES, Model, OperatingPoint, find_model
from audiocnn.model.pooling import ClipPooling, LabelPooling
from audiocnn.spec.spec import spec_from_table

HOP = 0.1
RANDOM = np.random.default_rng(11)
POOLS = {
    "mean": MeanPool,
    "labels": partial(LabelPool, [LabelPooling(0.5, 1.3, -1.0), LabelPooling(), LabelPooling(2.0)], HOP),
    "clips": partial(ClipPool, ClipPooling(1.0, 0.7), HOP, False),
    "clips that exclude each other": partial(ClipPool, ClipPooling(1.0, 0.7), HOP, True),
}


def shares(rows, total=1.0):
    """Scores of three labels that add up to less than `total`."""
    drawn = RANDOM.random((rows, 4))
    return (total * drawn[:, :3] / drawn.sum(axis=1, keepdims=True)).astype(np.float32)


def cut(rows, size):
    return [rows[first : first + size] for first in range(0, len(rows), size)]


def loudest(scores, length, together=False):
    """By trying every stretch."""
    means = np.array([scores[k : k + length].mean(axis=0, dtype=np.float64) for k in range(len(scores) - length + 1)])
    return means[means.max(axis=1).argmax()] if together else means.max(axis=0)


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize("length", [1, 2, 7, 40])
def test_the_loudest_stretch_is_found_however_rows_come(length, size, together):
    scores = shares(60)
    found = LoudestStretch(length, together)
    for block in cut(scores, size):
        found.add(block)
    assert found.best == pytest.approx(loudest(scores, length, together), abs=1e-9)


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("rows", [0, 1, 4, 6, 7, 30])
@pytest.mark.parametrize("first", [0, 3, 6, 50])
def test_stretches_across_a_border_are_found_when_two_are_joined(first, rows, together):
    scores, tail = shares(first + rows + 9), 9
    parts = scores[:first], scores[first : first + rows], scores[first + rows :]
    joined, other = LoudestStretch(7, together), LoudestStretch(7, together)
    joined.add(parts[0])
    for block in cut(parts[1], 2):
        other.add(block)
    joined.join(other)
    for block in cut(parts[2], tail):
        joined.add(block)
    assert joined.best == pytest.approx(loudest(scores, 7, together), abs=1e-9)


@pytest.mark.parametrize("rows", [1, 4, 7, 10, 11, 33])
@pytest.mark.parametrize("name", POOLS)
def test_pools_take_rows_in_any_blocks_and_give_probabilities(name, rows):
    scores = shares(rows)
    whole = clip_scores([scores], POOLS[name])
    assert (whole.dtype, whole.shape) == (np.float32, (3,))
    assert ((whole >= 0) & (whole <= 1)).all()
    assert clip_scores(cut(scores, 3), POOLS[name]) == pytest.approx(whole, abs=1e-6)
    first, second = POOLS[name](), POOLS[name]()
    first.add(scores[: rows // 2])
    second.add(scores[rows // 2 :])
    first.join(second)
    assert (first.rows, first.scores) == (rows, pytest.approx(whole, abs=1e-6))


@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_what_is_certain_everywhere_stays_certain(name, value):
    scores = np.full((50, 3), value, np.float32)
    if "exclude" in name:
        scores[:, 1:] = 0.0
    assert clip_scores([scores], POOLS[name])[0] == pytest.approx(value, abs=1e-6)


def test_each_label_has_its_own_stretch():
    scores = np.zeros((100, 3), np.float32)
    scores[40:45] = scores[70:90] = 0.9
    found = clip_scores([scores], POOLS["labels"])
    assert found[0] == pytest.approx(float(calibrate_scores(np.array(0.9), 1.3, -1.0)), abs=1e-6)
    assert found[1] == pytest.approx(scores[:, 1].mean(), abs=1e-6)
    assert found[2] == pytest.approx(0.9, abs=1e-6)


def test_calibration_moves_log_odds():
    assert calibrate_scores(np.array([0.2, 0.5]), 1.0, 0.0).tolist() == [0.2, 0.5]
    moved = calibrate_scores(np.array([0.5, 0.8]), 2.0, -1.0)
    assert np.log(moved / (1 - moved)) == pytest.approx([-1.0, 2.0 * np.log(4.0) - 1.0])


@pytest.mark.parametrize("name", ["clips", "clips that exclude each other"])
def test_a_clip_as_long_as_those_that_were_learned_has_its_mean(name):
    scores = shares(10)
    scores[2:9, 0] = 1.0
    assert clip_scores([scores], POOLS[name]) == pytest.approx(scores.mean(axis=0, dtype=np.float64), abs=1e-6)


@pytest.mark.parametrize(("score", "heard"), [(0.9999, True), (0.95, False)])
def test_a_second_in_a_minute_is_heard_where_it_is_surer_than_a_minute_of_chances(score, heard):
    pool = partial(ClipPool, ClipPooling(1.0, 1.0), HOP, True)
    scores = np.zeros((600, 3), np.float32)
    scores[300:310, 1] = score
    found = clip_scores([scores], pool)
    assert found[1] == pytest.approx(score / (score + 60 * (1 - score)), rel=1e-3)  # 60 seconds, 60 chances
    assert (found[1] >= 1 - found.sum()) == heard
    alone = clip_scores([scores], partial(ClipPool, ClipPooling(1.0, 1.0), HOP, False))
    assert alone == pytest.approx(found, abs=1e-6)


def test_what_fills_a_long_recording_is_the_answer_rather_than_a_glimpse():
    scores = np.zeros((600, 3), np.float32)
    scores[:, 0], scores[200:210] = 0.8, [0.0, 1.0, 0.0]
    together, alone = (
        clip_scores([scores], partial(ClipPool, ClipPooling(1.0, 1.0), HOP, one)) for one in (True, False)
    )
    assert together == pytest.approx(scores.mean(axis=0, dtype=np.float64), abs=1e-6)
    assert alone[0] == pytest.approx(scores[:, 0].mean(dtype=np.float64), abs=1e-6)
    assert alone[1] == pytest.approx(1.0)


def test_labels_that_must_be_one_keep_their_mean():
    scores = shares(500)
    scores /= scores.sum(axis=1, keepdims=True)
    assert clip_scores([scores], POOLS["clips that exclude each other"]) == pytest.approx(
        scores.mean(axis=0, dtype=np.float64), abs=1e-6
    )


@pytest.mark.parametrize("name", POOLS)
def test_memory_does_not_grow_with_the_recording(name):
    block = np.full((10_000, 3), 0.25, np.float32)
    tracemalloc.start()
    clip_scores((block for _ in range(100)), POOLS[name])
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 5_000_000


@pytest.mark.parametrize("name", POOLS)
def test_windows_are_pooled_each_for_itself(name):
    scores = shares(230)
    windows = WindowScores(HOP, 5.0, POOLS[name])
    found = [window for block in cut(scores, 7) for window in windows.push(block)] + windows.finish(23.0)
    assert [(one.start, one.end) for one in found] == [(0, 5), (5, 10), (10, 15), (15, 20), (20, 23)]
    for one in found:
        inside = scores[round(one.start / HOP) : round(one.end / HOP)]
        assert one.scores == pytest.approx(clip_scores([inside], POOLS[name]), abs=1e-6)


# Models


def model_of(output, labels, **more):
    table = SPECS["valid_2d"]
    spec = spec_from_table({**table, "f": {**table["f"], "output": output}}, "small", len(labels))
    return Model("m", None, spec, labels, {}, **more)


def test_a_model_says_how_it_pools():
    assert pool_of(model_of("sigmoid", ("a", "b"))) is MeanPool
    pool = pool_of(model_of("sigmoid", ("a", "b"), label_pooling={"b": LabelPooling(0.6, 2.0)}))()
    assert isinstance(pool, LabelPool)
    assert [(columns, stretch.length) for columns, stretch in pool.stretches] == [([1], 10)]
    assert pool.gain.tolist() == [1.0, 2.0]
    for output, together in (("softmax", True), ("sigmoid", False)):
        clip = pool_of(model_of(output, ("a", "b"), clip_pooling=ClipPooling(1.2, 0.6)))()
        assert isinstance(clip, ClipPool)
        assert (clip.together, clip.clip_rows, clip.stretch.length) == (together, 20, 10)


@pytest.fixture
def minute(tmp_path):
    """Half a second of what the model hears, in a minute."""
    return write(tmp_path / "minute.wav", tone((31.0, 31.5), seconds=60.0), RATE)


THRESHOLDS = {"balanced": 0.5, "sensitive": 0.2, "precise": 0.8}


def test_half_a_second_in_a_minute_is_found(minute, tone_model):  # noqa: F811
    model = find_model(tone_model)
    pooled = replace(model, label_pooling={"tone": LabelPooling(0.2, 1.2, -0.5, THRESHOLDS)})
    quiet = write(minute.parent / "quiet.wav", tone(seconds=60.0), RATE)
    assert classify(minute, tone_model).label is None  # by the mean
    found, other = classify_many([minute, quiet], load_engine(pooled))
    assert (found.label, other.label) == ("tone", None)
    assert found.score > 0.9 > 0.1 > other.score


def test_thresholds_are_those_of_pooled_scores(tone_model):  # noqa: F811
    points = {"tone": {name: OperatingPoint({"threshold": 0.4}) for name in SENSITIVITIES}}
    model = replace(find_model(tone_model), thresholds={"tone": 0.3}, points=points)
    plain = replace(model, label_pooling={"tone": LabelPooling(0.2)})
    pooled = replace(model, label_pooling={"tone": LabelPooling(0.2, thresholds=THRESHOLDS)})
    for name in (None, *SENSITIVITIES):
        settings = ClassifySettings(sensitivity=name)
        assert settings.rule(plain).thresholds == (0.4 if name else 0.3,)
        assert settings.rule(pooled).thresholds == (THRESHOLDS[name or "balanced"],)
        assert ClassifySettings(0.7, sensitivity=name).rule(pooled).thresholds == (0.7,)
        assert pooled.rule("tone", name).threshold == (0.4 if name else 0.3), "of segments"
