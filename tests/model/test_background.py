"""A softmax with a background: none of the labels is an answer, too. Spec, network, loss, file, answers."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from fixtures_models import SPECS, network_of, noise, write_folder
from torch.nn import functional

from audiocnn.errors import SpecError
from audiocnn.inference.classify import AnswerRule, classify
from audiocnn.inference.detect import detect
from audiocnn.inference.engine import load_engine
from audiocnn.model.export import export_onnx
from audiocnn.model.model import find_model, read_model
from audiocnn.recipe.settings import TrainSettings
from audiocnn.spec.spec import spec_from_table, with_background
from audiocnn.training.losses import make_clip_loss, training_loss
from audiocnn.training.validate import clip_figure, cross_entropy

LABELS = ("cat", "dog", "hen")


def spec_of(**f):
    table = SPECS["valid_2d"]
    return spec_from_table({**table, "f": {**table["f"], "output": "softmax", **f}}, "small", len(LABELS))


@pytest.fixture(scope="module")
def network():
    network = network_of(spec_of(background=True))
    with torch.no_grad():  # so that scores are neither 0 nor 1
        list(network.f.parameters())[-2].mul_(0.01)
    return network.eval()


def test_the_spec_says_it_for_a_softmax_alone():
    assert spec_of(background=True).f.background
    assert with_background(spec_of()).table == spec_of(background=True).table
    assert not spec_of().f.background
    with pytest.raises(SpecError, match=r'\[f\]: "background" is for output = "softmax"'):
        spec_of(background=True, output="sigmoid")
    alone = spec_of(background=True).with_classes(1)
    assert (alone.f.output, alone.f.background) == ("sigmoid", False)  # which is the same
    assert spec_of(background=True).parameters() == spec_of().parameters()


def test_scores_are_those_of_a_softmax_with_one_logit_more(network):
    logits = torch.randn(4, 7, 3)
    wanted = torch.cat([logits, torch.zeros(4, 7, 1)], -1).softmax(-1)
    assert torch.allclose(network.scores_of(logits), wanted[..., :3])
    pooled = network.scores_of(network.pooled(logits))
    assert torch.allclose(pooled, wanted[..., :3].mean(dim=1, keepdim=True), atol=1e-6)


def test_the_loss_is_cross_entropy_with_what_is_left_as_one_more_label(network):
    logits = torch.randn(4, 1, 3)
    targets = torch.tensor([[1.0, 0, 0], [0, 0, 0], [0, 0.5, 0.2], [0, 0, 1]])[:, None]
    full = torch.cat([targets, 1 - targets.sum(-1, keepdim=True)], -1)[:, 0]
    wanted = functional.cross_entropy(functional.pad(logits, (0, 1))[:, 0], full)
    assert float(training_loss(network, logits, targets)) == pytest.approx(float(wanted), rel=1e-5)
    rows = targets.expand(4, 5, 3).contiguous()
    rows[0, 2] = torch.nan  # not known
    many = torch.randn(4, 5, 3)
    known = ~rows.isnan().any(-1)
    given, left = functional.pad(many, (0, 1))[known], 1 - rows[known].sum(-1, keepdim=True)
    wanted = functional.cross_entropy(given, torch.cat([rows[known], left], -1))
    assert float(training_loss(network, many, rows)) == pytest.approx(float(wanted), rel=1e-5)


def test_how_frequent_the_background_is_need_not_be_learned():
    counts, settings = np.array([10, 10, 10]), TrainSettings()
    assert make_clip_loss(settings, counts, True).start is None
    start = make_clip_loss(settings, counts, True, 0.4).start
    share = start.softmax(0)
    assert share.tolist() == pytest.approx([0.2, 0.2, 0.2, 0.4])


def test_figures_count_no_answer_as_one(network):
    pooled = np.array([[2.0, 1.0, 0.0], [-1.0, -2.0, -3.0], [-1.0, -2.0, -3.0]], np.float32)
    targets = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)
    assert clip_figure(pooled, targets, False, False, False) == ("accuracy", pytest.approx(2 / 3))
    assert clip_figure(pooled, targets, False, False, True) == ("accuracy", pytest.approx(1 / 3))
    sure = cross_entropy(np.array([[-9.0, -9.0, -9.0]], np.float32), np.zeros((1, 3), np.float32), True, True)
    assert sure == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize(
    ("scores", "label"),
    [((0.6, 0.2, 0.1), "cat"), ((0.3, 0.2, 0.1), None), ((0.34, 0.33, 0.0), "cat"), ((0.0, 0.0, 0.0), None)],
)
def test_the_answer_is_a_label_where_none_of_them_is_less_likely(scores, label):
    scores = np.array(scores, np.float32)
    reached = AnswerRule(LABELS, (0.0,) * 3, several=False, background=True).reached(scores)
    assert [one.label for one in reached] == ([label] if label else [])
    assert AnswerRule(LABELS, (0.0,) * 3, several=False).reached(scores)[0].label == "cat"


def test_the_file_has_the_labels_alone_and_says_its_format(network, tmp_path):
    model = write_folder(network, tmp_path / "model", labels=LABELS)
    export_onnx(model, network)
    assert "format = 3" in (tmp_path / "model" / "model.toml").read_text()
    read = read_model(tmp_path / "model")
    assert read.background
    assert not read.must_choose
    assert read.spec.table == model.spec.table
    samples = noise(network.spec, 1, 3 * network.geometry.window_samples)
    with torch.no_grad():
        wanted = network(network.extended(torch.from_numpy(samples))).numpy()[0]
    scores = load_engine(read, "cpu").outputs(samples[0])
    assert scores.shape[1] == 3
    assert np.max(np.abs(scores - wanted)) <= 1e-5
    assert (scores > 0.0).all()
    assert (scores.sum(axis=1) < 1.0).all()


def test_a_clip_that_is_none_of_them_has_no_label(network, tmp_path):
    network = copy.deepcopy(network)
    with torch.no_grad():
        list(network.f.parameters())[-1].sub_(50.0)
    export_onnx(write_folder(network, tmp_path / "model", labels=LABELS), network)
    rate = network.geometry.sample_rate
    found = classify(np.zeros(rate, np.float32), tmp_path / "model", sample_rate=rate)
    assert found.label is None
    assert found.score < 1e-6


@pytest.mark.parametrize(
    ("labels", "chooses"),
    [
        (LABELS, True),
        (("cat", "dog", "Noise"), False),
        (("cat", "dog", "_background_noise_"), False),
        (("cat", "noisette", "noise"), False),
        (("cat", "noise", "white noise"), True),
        (("cat", "Noise", "engine_noise"), True),
        (("silence", "before the silence", "dog"), True),
        (("silence", "white noise", "noise"), False),
    ],
)
def test_a_model_must_choose_unless_a_label_means_the_rest(labels, chooses, tmp_path):
    assert write_folder(network_of(spec_of()), tmp_path / "model", labels=labels).must_choose == chooses


@pytest.mark.parametrize("name", ["digits", "commands", "speech_1d", "speech_music_noise", "sounds"])
def test_of_the_released_models_only_the_one_to_begin_with_must_choose(name):
    assert find_model(name).must_choose == (name == "sounds")


@pytest.mark.parametrize("name", ["digits", "commands"])
def test_released_models_have_no_answer_to_silence_noise_and_tones(name):
    random, seconds = np.random.default_rng(0), np.arange(32000) / 16000
    sounds = {
        "digital silence": np.zeros(32000),
        "dither": random.integers(-1, 2, 32000) / 32768,
        "soft noise": random.normal(0, 0.001, 32000),
        "loud noise": random.normal(0, 0.2, 32000),
        "a tone": 0.3 * np.sin(2 * np.pi * 440 * seconds),
        "a click": np.where(seconds == 1.0, 0.9, 0.0),
        "hum": 0.1 * np.sign(np.sin(2 * np.pi * 50 * seconds)),
    }
    for what, samples in sounds.items():
        sound = samples.astype(np.float32)
        assert classify(sound, name, sample_rate=16000).label is None, what
        assert detect(sound, name, sample_rate=16000).segments == (), what
