"""How a trained model pools whole recordings: chosen on what was held out, and the same for `train` and `evaluate`."""

from __future__ import annotations

import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fixtures_models import TINY, network_of, recipe_of, tone_of, write_dataset

from audiocnn.augment.settings import CLIP_MIX, MixSettings
from audiocnn.evaluation.annotated import engine_scorer, evaluate
from audiocnn.evaluation.segments import JudgedRecording
from audiocnn.inference.engine import load_engine
from audiocnn.inference.pooling import LabelPool, clip_scores
from audiocnn.model.model import SENSITIVITIES, read_model
from audiocnn.model.pooling import ClipPooling
from audiocnn.recipe.division import divide
from audiocnn.recipe.recipe import EvaluateSettings
from audiocnn.segments.segment import Annotation
from audiocnn.spec.spec import spec_from_table
from audiocnn.training.pooling import (
    EVENT_POOLING,
    POOL_SECONDS,
    choose_clip_pooling,
    clip_losses,
    learned_pooling,
    tune_label_pooling,
)
from audiocnn.training.train import train

HOP = 0.02
LABELS = ("other", "sound")


def recordings(event_seconds, count=40, seconds=10.0, seed=0):
    """Half of them hold the label for so long. Behind it is a level of its own in each, and glimpses that last an
    eighth of an event."""
    random, found = np.random.default_rng(seed), []
    rows, size = round(seconds / HOP), round(event_seconds / HOP)
    for number in range(count):
        scores = (random.uniform(0.0, 0.5) * random.uniform(0.6, 1.0, (rows, 2))).astype(np.float32)
        glimpse = max(1, size // 8)
        for start in random.integers(0, rows - glimpse, 3):
            scores[start : start + glimpse, 1] = random.uniform(0.7, 0.95)
        notes = []
        if number % 2:
            start = int(random.integers(0, rows - size + 1))
            scores[start : start + size, 1] = random.uniform(0.6, 0.95)
            notes = [Annotation(start * HOP, (start + size) * HOP, "sound")]
        found.append(JudgedRecording(str(number), scores, HOP, seconds, notes))
    return found


@pytest.mark.parametrize(("event", "shortest", "longest"), [(0.3, 0.1, 0.5), (2.0, 0.5, 2.0), (10.0, 1.0, math.inf)])
def test_a_label_is_pooled_over_about_as_long_as_it_lasts(event, shortest, longest):
    pooling = tune_label_pooling(recordings(event), LABELS, "sound")
    assert shortest <= pooling.seconds <= longest
    assert list(pooling.thresholds) == list(SENSITIVITIES)
    assert pooling.thresholds["sensitive"] <= pooling.thresholds["balanced"] == 0.5 <= pooling.thresholds["precise"]
    others = recordings(event, seed=1)
    scores = np.array([clip_scores([one.scores[:, 1:]], lambda: LabelPool([pooling], HOP))[0] for one in others])
    has = np.array([bool(one.annotations) for one in others])
    assert ((scores >= 0.5) == has).mean() > 0.9
    assert abs(scores.mean() - 0.5) < 0.1  # half of them have it, and so it is said


def test_recordings_that_are_rare_count_as_much():
    many = recordings(0.3, 400)
    rare = [one for k, one in enumerate(many) if not one.annotations or k < 60]
    assert len(rare) < 250
    pooling = tune_label_pooling(rare, LABELS, "sound")
    scores = np.array([clip_scores([one.scores[:, 1:]], lambda: LabelPool([pooling], HOP))[0] for one in rare])
    has = np.array([bool(one.annotations) for one in rare])
    assert (scores[has].mean() + scores[~has].mean()) / 2 == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("kept", [18, 0])
def test_too_little_held_out_is_pooled_over_a_fixed_length(kept):
    assert tune_label_pooling(recordings(0.3)[:kept], LABELS, "sound") == EVENT_POOLING
    assert 0 < EVENT_POOLING.seconds <= max(POOL_SECONDS)


def test_what_is_unsure_is_no_recording_without_the_label():
    sure = recordings(0.3)
    unsure = [dataclasses.replace(one, annotations=[], unsure=[(0.0, 1.0)]) for one in recordings(0.3, seed=2)]
    assert tune_label_pooling([*sure, *unsure], LABELS, "sound") == tune_label_pooling(sure, LABELS, "sound")


# Whole clips


@pytest.mark.parametrize(
    ("lengths", "window", "clip", "pool"),
    [([0.4] * 9 + [0.6], 1.0, 1.0, 0.4), ([10.0] * 20, 0.5, 10.0, 0.5), ([1.0] * 99 + [60.0], 1.0, 1.0, 1.0)],
)
def test_a_clip_is_about_as_long_as_those_that_were_learned(lengths, window, clip, pool):
    assert learned_pooling(lengths, window) == ClipPooling(clip, pool)


def clip_network(monkeypatch, logits):
    """A network whose logits of held-out clips are these, (clips, rows, labels), at a hop of 0.1 s."""
    table = {**TINY, "f": {**TINY["f"], "output": "softmax", "background": True}}
    network = network_of(spec_from_table(table, "small", 2))
    batch = [(list(range(len(logits))), torch.from_numpy(logits))]
    monkeypatch.setattr("audiocnn.training.pooling.logits_by_batch", lambda *_: batch)
    hop = network.geometry.hop_seconds
    clips = [SimpleNamespace(samples=np.zeros((1, round(logits.shape[1] * hop * network.geometry.sample_rate))))]
    return network, clips * len(logits), hop


@pytest.mark.parametrize("brief", [False, True])
def test_clips_with_a_brief_event_are_pooled_over_it(monkeypatch, brief):
    random = np.random.default_rng(0)
    logits = random.normal(-4.0 if brief else 2.0, 0.5, (60, 200, 2)).astype(np.float32)
    targets = np.eye(2, dtype=np.float32)[np.arange(60) % 2]
    logits[:, :, 1] -= 3.0 if not brief else 0.0
    logits[1::2] = logits[1::2, :, ::-1]
    if brief:
        for number in range(60):
            logits[number, 50:60, number % 2] = 9.0
    network, clips, hop = clip_network(monkeypatch, logits)
    learned = ClipPooling(200 * hop, 10 * hop)
    pooling, gain = choose_clip_pooling(network, clips, targets, learned, 8)
    assert (pooling == learned) == (not brief)
    if brief:
        assert pooling.clip_seconds == pooling.pool_seconds < 50 * hop
    else:
        assert gain == 1.0


def test_the_loss_of_clips_has_what_is_none_of_the_labels():
    scores = np.array([[[0.6, 0.3], [0.1, 0.1]]], np.float32)
    targets = np.array([[1, 0], [0, 0]], np.float32)
    assert clip_losses(scores, targets, True)[0] == pytest.approx([-math.log(0.6), -math.log(0.8)], abs=1e-6)
    alone = [-math.log(0.6) - math.log(0.7), -2 * math.log(0.9)]
    assert clip_losses(scores, targets, False)[0] == pytest.approx(alone, abs=1e-6)


MIX = dataclasses.replace(MixSettings(), **CLIP_MIX | {"equaliser_db": 0.0, "time_masks": 0}, seconds=0.5, band_masks=0)


@pytest.mark.parametrize(
    "output", [pytest.param({"output": "softmax"}, marks=pytest.mark.long), {"output": "softmax", "background": True}]
)
def test_a_training_says_what_evaluate_says(tmp_path, output):
    """Noisy clips of two tones, few epochs: the figures are far from 1."""
    random, rows = np.random.default_rng(3), []
    for number in range(120):
        label, hertz = (("low", 300), ("high", 420))[number % 2]
        seconds = random.uniform(0.3, 0.5)
        sound = tone_of(seconds, 0, seconds, hertz * random.uniform(0.8, 1.2))
        rows.append((f"{label}/{number}.wav", sound + random.normal(0, 0.2, len(sound)), {"label": label}))
    dataset = write_dataset(tmp_path / "d", rows)
    table = {**TINY, "f": {**TINY["f"], **output}}
    recipe = recipe_of(table, MIX, epochs=2, examples_per_epoch=0, batch_size=8, learning_rate=1e-2)
    recipe = dataclasses.replace(
        recipe,
        train=dataclasses.replace(recipe.train, validation_share=0.4),
        evaluate=EvaluateSettings(test_share=0.0),
    )
    *_, report = train(recipe, dataset, tmp_path / "run")
    model = read_model(tmp_path / "run" / "model")
    assert (model.training, model.clip_pooling) == (report.model.training, report.model.clip_pooling)
    assert (model.clip_pooling is None) == ("background" not in output)
    held_out = dataset.with_entries(divide(dataset, recipe).validation)
    *_, last = evaluate(held_out, engine_scorer(load_engine(model, "cpu")))
    said = model.training["validation"]
    assert {"accuracy", "balanced_accuracy"} <= said.keys()
    assert {name: round(last.evaluation.clip.figures[name].value, 5) for name in said} == said
    assert f"| validation: accuracy | {said['accuracy']:.4f} |" in (model.folder / "README.md").read_text()
