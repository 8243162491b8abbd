"""Whole clips from the recipe to the model: defaults, one or several labels, thresholds, balance."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fixtures_models import RATE, TINY, network_of, recipe_of, tone_of, write_dataset

from audiocnn.augment.clips import ClipExamples, ValidationClips
from audiocnn.augment.settings import CLIP_MIX, MixSettings
from audiocnn.data.sources.settings import DataSettings
from audiocnn.errors import RecipeError
from audiocnn.inference.classify import ClassifySettings, classify_scored
from audiocnn.inference.engine import load_engine
from audiocnn.inference.scores import scoring
from audiocnn.model.model import SENSITIVITIES, read_model
from audiocnn.model.weights import load_network
from audiocnn.recipe.recipe import EvaluateSettings, check_run, find_unset_keys, read_recipe
from audiocnn.recipe.settings import CLIP_TRAIN, TrainSettings
from audiocnn.spec.spec import spec_from_table
from audiocnn.training.batches import make_training_set
from audiocnn.training.release import highest_threshold, shortest_event, tune_clip_thresholds
from audiocnn.training.train import train
from audiocnn.training.trainer import Trainer
from audiocnn.training.validate import clip_figure, clip_logits, example_logits, validate

SIGMOID = {**TINY, "f": {**TINY["f"], "output": "sigmoid"}}
SOFTMAX = {**TINY, "f": {**TINY["f"], "output": "softmax"}}
BACKGROUND = {**TINY, "f": {**TINY["f"], "output": "softmax", "background": True}}
MIX = dataclasses.replace(
    MixSettings(),
    **CLIP_MIX | {"gain_db": (-6.0, 0.0), "equaliser_db": 0.0, "time_masks": 0},
    seconds=0.5,
    band_masks=0,
)
KINDS = {"low": (300,), "high": (900,), "both": (300, 900)}


def clips_of(folder, kinds=("low", "high"), each=24):
    """A dataset of tones of 0.3 to 0.5 s over a little noise, their names as labels; "both" has two."""
    random, rows = np.random.default_rng(3), []
    for kind in kinds:
        for number in range(each if isinstance(each, int) else each[kind]):
            seconds = random.uniform(0.3, 0.5)
            tones = [tone_of(seconds, 0, seconds, hertz * random.uniform(0.95, 1.05)) for hertz in KINDS[kind]]
            labels = {"label": "low", "more": ("high",)} if kind == "both" else {"label": kind}
            rows.append((f"{kind}/{number}.wav", sum(tones) + random.normal(0, 0.02, len(tones[0])), labels))
    return write_dataset(folder, rows)


def recipe_for(table, several=False, **changes):
    recipe = recipe_of(table, MIX, epochs=6, examples_per_epoch=0, batch_size=8, learning_rate=1e-2, **changes)
    kind = "several" if several else "one"
    data = DataSettings(source=Path("clips"), labels_per_clip=kind)
    return dataclasses.replace(recipe, data=data, evaluate=EvaluateSettings(test_share=0.0))


def pooled(model, dataset, recipe):
    """(held-out clips, labels) mean scores, and what is there."""
    training_set = make_training_set(recipe, dataset)
    network = load_network(model)
    rows = example_logits(network, training_set.validation, 8)
    scores = [network.scores_of(torch.from_numpy(row)).mean(dim=0).numpy() for row in rows]
    return np.array(scores), np.concatenate([example.targets for example in training_set.validation])


def test_clips_have_defaults_of_their_own_where_the_recipe_says_nothing(tmp_path):
    path = tmp_path / "audiocnn.toml"
    path.write_text("[mix]\nsnr_db = [0, 9]\ngain_db = [-22, 6]\n[train]\npatience = 10\n")
    recipe = read_recipe(path)
    assert (recipe.mix.equaliser_db, recipe.train.examples_per_epoch) == (10.0, 3000)
    clips, segments = recipe.with_defaults(clips=True), recipe.with_defaults(clips=False)
    assert (segments.mix, segments.train) == (recipe.mix, recipe.train)
    said = {"snr_db": (0.0, 9.0), "gain_db": (-22.0, 6.0)}  # the second as it would be for segments
    assert clips.mix == dataclasses.replace(MixSettings(), **CLIP_MIX | said)
    assert clips.train == dataclasses.replace(TrainSettings(), **CLIP_TRAIN | {"patience": 10})
    assert clips.with_defaults(clips=False) == clips
    path.write_text("")
    changed = dataclasses.replace(read_recipe(path), train=TrainSettings(patience=3))  # by an option, say
    assert changed.with_defaults(clips=True).train == TrainSettings(**CLIP_TRAIN | {"patience": 3})
    assert find_unset_keys({"mix": 3}) == find_unset_keys({})


def test_clips_of_one_label_are_answered_by_one_and_the_run_keeps_what_was_taken(tmp_path):
    dataset, recipe = clips_of(tmp_path / "d"), recipe_for(SOFTMAX)
    mix = MixSettings(seconds=0.5, band_masks=0)
    unset = find_unset_keys({"mix": {"seconds": 0, "band_masks": 0}})
    recipe = dataclasses.replace(recipe, data=None, mix=mix, unset=unset)
    *_, report = train(recipe, dataset, tmp_path / "run")
    model = report.model
    assert report.figure_name == "accuracy"
    assert report.figure > 0.8
    assert (model.answer, model.thresholds, model.tuned_on) == ("one", {}, "")
    scores, targets = pooled(model, dataset, recipe)
    assert np.mean(scores.argmax(axis=1) == targets.argmax(axis=1)) == pytest.approx(report.figure)
    kept = read_recipe(tmp_path / "run" / "recipe.toml")
    assert (kept.mix, kept.unset) == (dataclasses.replace(mix, **CLIP_MIX), frozenset())
    check_run(recipe.with_defaults(clips=True), tmp_path / "run", resume=True)  # is the one that goes on


def test_labels_that_stand_alone_are_answered_by_one_too_if_a_clip_has_one(tmp_path):
    dataset = clips_of(tmp_path / "d", each=4)
    assert not make_training_set(dataclasses.replace(recipe_for(SIGMOID), data=None), dataset).several
    assert make_training_set(recipe_for(SIGMOID, several=True), dataset).several


@pytest.mark.long
def test_clips_of_several_labels_have_a_threshold_each(tmp_path):
    dataset, recipe = clips_of(tmp_path / "d", ("low", "high", "both"), 40), recipe_for(SIGMOID, several=True)
    recipe = dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, validation_share=0.2))
    *_, report = train(recipe, dataset, tmp_path / "run")
    model = report.model
    assert report.figure_name == "average_precision"
    assert report.figure > 0.95
    assert (model.answer, set(model.thresholds)) == ("several", {"low", "high"})
    assert model.tuned_on.endswith(" clips held out from training, f1")
    for label in model.labels:
        points = {name: model.points[label][name] for name in SENSITIVITIES}
        thresholds = [point.values["threshold"] for point in points.values()]
        assert thresholds[1] <= thresholds[0] <= thresholds[2]
        assert points["sensitive"].figures["miss_rate"] <= 0.03
        assert points["precise"].figures["false_alarm_rate"] <= 0.005
    scores, targets = pooled(model, dataset, recipe)
    thresholds = np.array([model.thresholds[label] for label in model.labels])
    assert np.mean((scores >= thresholds) == (targets > 0.5)) > 0.9


def test_several_labels_need_scores_that_stand_alone(tmp_path):
    with pytest.raises(RecipeError, match=r'tiny: labels_per_clip = "several" cannot be used with output = "softmax"'):
        make_training_set(recipe_for(SOFTMAX, several=True), clips_of(tmp_path / "d", each=4))


@pytest.mark.parametrize("balance", ["none", "sampling", "loss", "prior"])
def test_rare_labels_count_for_the_figure_that_stops_the_training(tmp_path, balance):
    dataset = clips_of(tmp_path / "d", each={"low": 20, "high": 4})
    recipe = dataclasses.replace(recipe_for(SOFTMAX, balance=balance, balance_power=1.0), data=None)
    trainer = Trainer(recipe, make_training_set(recipe, dataset), tmp_path / "run", "cpu")
    figures = validate(trainer.ema, trainer.training_set, 8)
    assert figures.name == ("accuracy" if balance == "none" else "balanced_accuracy")
    rule = trainer.clip_loss
    assert ((rule.weights is not None), (rule.start is not None)) == (balance == "loss", balance == "prior")
    assert (trainer.training_set.source.chances is not None) == (balance == "sampling")
    assert np.isfinite(trainer.train_step(*next(iter(trainer.loader))))


def test_figures_of_clips_have_known_values():
    targets = np.eye(2, dtype=np.float32)[[0, 0, 0, 1]]
    logits = np.array([[2, 1], [2, 1], [1, 2], [1, 2]], np.float32)
    assert clip_figure(logits, targets, False, False) == ("accuracy", 0.75)
    assert clip_figure(logits, targets, False, True) == ("balanced_accuracy", pytest.approx((2 / 3 + 1) / 2))
    none = np.concatenate([targets, np.zeros((1, 2), np.float32)])
    assert clip_figure(np.concatenate([logits, [[9, 0]]]), none, False, False) == ("accuracy", 0.75)
    name, value = clip_figure(np.array([[3, 0], [2, 0], [1, 0]]), np.array([[1, 1], [0, 1], [1, 1]]), True, False)
    assert (name, value) == ("average_precision", pytest.approx((1 + 2 / 3) / 2))  # the second label is everywhere


def test_the_figure_of_a_single_label_can_become_better():
    targets = np.array([[1], [0], [1]], np.float32)
    figures = [
        clip_figure(np.array(rows, np.float32), targets, False, False) for rows in ([[2], [1], [3]], [[1], [2], [3]])
    ]
    assert figures == [("average_precision", 1.0), ("average_precision", pytest.approx((1 + 2 / 3) / 2))]


def test_each_held_out_clip_is_read_once_and_only_its_mean_is_kept(tmp_path, monkeypatch):
    dataset, recipe = clips_of(tmp_path / "d"), dataclasses.replace(recipe_for(SOFTMAX), data=None)
    trainer = Trainer(recipe, make_training_set(recipe, dataset), tmp_path / "run", "cpu")
    held_out, reading, read = trainer.training_set.validation, ClipExamples.whole_clip, []
    examples = list(held_out)
    assert held_out.lengths() == [example.samples.shape[1] for example in examples]
    assert np.array_equal(held_out.targets(), np.concatenate([example.targets for example in examples]))
    monkeypatch.setattr(ClipExamples, "whole_clip", lambda clips, index: read.append(index) or reading(clips, index))
    monkeypatch.setattr("audiocnn.training.validate.example_logits", None)  # that of all positions is not asked for
    validate(trainer.ema, trainer.training_set, 8)
    assert sorted(read) == list(range(len(examples)))


def test_clips_are_scored_in_batches_as_each_alone(tmp_path):
    dataset, recipe = clips_of(tmp_path / "d", each=8), dataclasses.replace(recipe_for(SOFTMAX), data=None)
    training_set = make_training_set(recipe, dataset)
    network = Trainer(recipe, training_set, tmp_path / "run", "cpu").ema
    alone = [
        network.pooled(torch.from_numpy(rows)[None])[0, 0].numpy()
        for rows in example_logits(network, training_set.validation, 1)
    ]
    assert clip_logits(network, training_set.validation, 8) == pytest.approx(np.stack(alone), abs=1e-5)
    every = ValidationClips(training_set.validation.clips, 2)
    assert (len(every), len(every.lengths()), len(every.targets())) == ((len(training_set.validation) + 1) // 2,) * 3
    assert np.array_equal(every[1].samples, training_set.validation[2].samples)


def test_a_threshold_below_a_thousandth_stays_between_the_scores(tmp_path, monkeypatch):
    dataset = clips_of(tmp_path / "d", ("low", "high", "both"), 40)
    recipe = recipe_for(SIGMOID, several=True, validation_share=0.2)
    recipe = dataclasses.replace(recipe, evaluate=dataclasses.replace(recipe.evaluate, calibrate=False))
    training_set = make_training_set(recipe, dataset)
    targets = training_set.validation.targets()
    low = np.log(np.where(targets > 0.5, 4e-4, 2e-4)).astype(np.float32)  # of rare labels: some ten-thousandths
    monkeypatch.setattr("audiocnn.training.release.pooled_scores", lambda *_: 1.0 / (1.0 + np.exp(-low[None])))
    network = Trainer(recipe, training_set, tmp_path / "run", "cpu").ema
    thresholds, _, _ = tune_clip_thresholds(recipe, training_set, network, None)
    assert thresholds == pytest.approx({"low": 3e-4, "high": 3e-4}, abs=1e-6)


def show_default(value):
    if isinstance(value, tuple):
        return f"[{value[0]:g}, {value[1]:g}]"
    return value if isinstance(value, str) else f"{value:g}"


@pytest.mark.parametrize(("part", "values"), [("mix", CLIP_MIX), ("train", CLIP_TRAIN)])
def test_the_manual_has_the_defaults_for_clips(part, values):
    page = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "recipes.md").read_text(encoding="utf-8")
    table = page.split(f"| of `[{part}]` | clips |\n|---|---|\n")[1].split("\n\n")[0]
    shown = [show_default(value) for value in values.values()]
    assert table.splitlines() == [f"| `{key}` | {value} |" for key, value in zip(values, shown, strict=True)]


@pytest.mark.parametrize("others", [pytest.param(False, marks=pytest.mark.long), True])
def test_what_is_none_of_the_labels_is_learned(tmp_path, others):
    """Noise and another tone have no answer; the labels have theirs. Beside made sounds alone, and with clips of a
    folder `other`, which is no label."""
    rows = [
        (f"{entry}/{number}.wav", tone_of(0.4, 0, 0.4, hertz * random.uniform(0.97, 1.03)), {"label": entry})
        for random in [np.random.default_rng(3)]
        for entry, hertz in (("low", 300), ("high", 900), *([("Other", 600)] if others else []))
        for number in range(24)
    ]
    dataset = write_dataset(tmp_path / "d", rows)
    recipe = recipe_for(BACKGROUND)
    mix = dataclasses.replace(recipe.mix, nothing_share=0.4)
    recipe = dataclasses.replace(recipe, mix=mix, train=dataclasses.replace(recipe.train, epochs=40))
    training_set = make_training_set(recipe, dataset)
    assert training_set.labels == ("high", "low")
    assert training_set.background_share == pytest.approx(0.4 + 0.6 * others / 3, abs=0.02)
    report = list(train(recipe, dataset, tmp_path / "run", device="cpu"))[-1]
    engine = load_engine(read_model(tmp_path / "run"), "cpu")
    assert report.model.background
    assert list(report.model.labels) == ["high", "low"]

    def answer(sound):
        return classify_one(np.asarray(sound, np.float32), engine)

    assert (answer(tone_of(0.4, 0, 0.4, 300)), answer(tone_of(0.4, 0, 0.4, 900))) == ("low", "high")
    noise = np.random.default_rng(1).normal(0, 0.1, (2, RATE))
    assert [answer(noise[0]), answer(0.01 * noise[1])] == [None] * 2
    if others:
        assert answer(tone_of(0.4, 0, 0.4, 600)) is None


def classify_one(samples, engine):
    with scoring(samples, engine, sample_rate=engine.model.geometry.sample_rate) as scored:
        return classify_scored(scored, ClassifySettings()).label


def test_a_plain_softmax_has_no_use_for_sounds_of_no_label(tmp_path):
    recipe = recipe_for(SOFTMAX)
    recipe = dataclasses.replace(recipe, mix=dataclasses.replace(recipe.mix, nothing_share=0.2))
    with pytest.raises(RecipeError, match=r"nothing_share.*add background = true"):
        make_training_set(recipe, clips_of(tmp_path / "d"))


@pytest.mark.parametrize(
    ("known", "wrong", "threshold"),
    [
        ([0.9] * 9, 0, 0.75),  # too few to say anything
        ([0.9] * 12, 0, 0.9),
        ([0.9] * 12, 30, 0.9),  # of clips that are taken for others nothing is asked
        ([0.999] * 12, 0, 0.95),  # no higher where few clips say so
        ([0.999] * 120, 0, 0.98),
        ([0.7] * 2 + [0.97] * 98, 0, 0.97),  # nearly all
        ([0.8] * 10 + [0.97] * 90, 0, 0.8),
        ([0.4] * 20, 0, 0.75),  # no lower
    ],
)
def test_the_threshold_of_segments_is_as_high_as_clips_allow(tmp_path, monkeypatch, known, wrong, threshold):
    dataset = write_dataset(
        tmp_path / "d",
        [(f"{n}.wav", tone_of(0.1, 0, 0.1, 300), {"label": "low"}) for n in range(len(known) + wrong)]
        + [("high.wav", tone_of(0.1, 0, 0.1, 900), {"label": "high"})],
    )
    clips = ClipExamples(dataset, dataset.entries, ("low", "high"), MIX, 1, others=True)
    # Each has its peak at one of three positions, and little elsewhere.
    scores = [[[0.1, 0.1], [peak, (1.0 - peak) / 4], [0.2, 0.1]] for peak in known]
    scores += [[[0.1, 0.6], [0.1, 0.6], [0.1, 0.6]]] * wrong + [[[0.1, 0.1]] * 3]
    logits = [np.log(np.float32(one)) - np.log1p(-np.float32(one).sum(axis=1, keepdims=True)) for one in scores]
    monkeypatch.setattr("audiocnn.training.release.thinned_logits", lambda *_: logits)
    network = network_of(spec_from_table(BACKGROUND, "small", 2))
    training_set = SimpleNamespace(validation=ValidationClips(clips))
    assert highest_threshold(training_set, network, 8) == pytest.approx(threshold, abs=0.011)


def test_the_shortest_segment_goes_by_window_and_clips(tmp_path):
    rows = [(f"{n}.wav", tone_of(0.4, 0, 0.3, 300), {"label": "low"}) for n in range(3)]
    rows += [(f"other{n}.wav", tone_of(2.0, 0, 0.3, 300), {"label": "other"}) for n in range(9)]
    dataset = write_dataset(tmp_path / "d", rows)
    clips = ClipExamples(dataset, dataset.entries, ("low",), MIX, 1, others=True)
    assert shortest_event(clips, 1.0) == pytest.approx(0.14)
    assert shortest_event(clips, 0.2) == pytest.approx(0.07)
