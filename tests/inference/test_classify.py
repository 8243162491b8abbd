"""One answer a clip: the mean of its scores, read by the model's rule; and one for each stretch of a long recording."""

from __future__ import annotations

import dataclasses
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from fixtures_cli import RATE, tone, tone_model  # noqa: F401
from fixtures_models import SPECS, network_of, spec_named, torch_engine, write_folder
from sounds import write

import audiocnn
from audiocnn.data.ingest import cached_dataset
from audiocnn.data.sources.settings import data_settings
from audiocnn.errors import ModelError, RecordingError, UsageError
from audiocnn.evaluation.annotated import engine_scorer, evaluate
from audiocnn.inference.classify import (
    AnswerRule,
    Classifier,
    ClassifySettings,
    Clip,
    WindowScores,
    classify,
    classify_many,
)
from audiocnn.inference.engine import load_engine
from audiocnn.inference.pooling import clip_scores
from audiocnn.inference.scores import ScoreBlock
from audiocnn.model.ensemble import make_ensemble
from audiocnn.model.model import ONNX, SENSITIVITIES, TOML, Model, find_model, read_model, write_model
from audiocnn.model.pooling import ClipPooling, LabelPooling
from audiocnn.spec.spec import spec_from_table

RANDOM = np.random.default_rng(7)


def spec_with(output, classes):
    """A small spec with this output."""
    table = SPECS["valid_2d"]
    return spec_from_table({**table, "f": {**table["f"], "output": output}}, "small", classes)


def cut(rows, size):
    """Rows in blocks of so many."""
    return [rows[first : first + size] for first in range(0, len(rows), size)]


# The mean


@pytest.mark.parametrize("size", [1, 7, 100, 1000])
def test_the_score_of_a_clip_is_the_mean_of_its_rows_however_they_come(size):
    rows = RANDOM.random((1000, 4), dtype=np.float32)
    assert clip_scores(cut(rows, size)) == pytest.approx(rows.mean(axis=0), abs=1e-6)
    assert clip_scores(cut(rows, size)).dtype == np.float32


@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
def test_it_is_the_score_that_training_pools(output):
    network = network_of(spec_with(output, 3))
    assert network.spec.f.output == output
    logits = 4.0 * torch.randn(1, 50, 3, generator=torch.Generator().manual_seed(3))
    pooled = network.scores_of(network.pooled(logits))[0, 0]
    assert clip_scores([network.scores_of(logits)[0].numpy()]) == pytest.approx(pooled.numpy(), abs=1e-6)


def test_memory_does_not_grow_with_the_recording():
    block = np.full((10_000, 10), 0.25, np.float32)
    tracemalloc.start()
    found = clip_scores(block for _ in range(200))  # 80 MB of scores
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.tolist() == [0.25] * 10
    assert most < 2_000_000


# Stretches

# rows of 0.1 s, an answer each second -> (start, end, rows); what is left is a stretch of its own from half a second on
STRETCHES = {
    0: [],
    3: [(0.0, 0.3, range(3))],
    10: [(0.0, 1.0, range(10))],
    14: [(0.0, 1.4, range(14))],
    15: [(0.0, 1.0, range(10)), (1.0, 1.5, range(10, 15))],
    20: [(0.0, 1.0, range(10)), (1.0, 2.0, range(10, 20))],
    24: [(0.0, 1.0, range(10)), (1.0, 2.4, range(10, 24))],
    29: [(0.0, 1.0, range(10)), (1.0, 2.0, range(10, 20)), (2.0, 2.9, range(20, 29))],
}


@pytest.mark.parametrize("size", [1, 4, 100])
@pytest.mark.parametrize("rows", STRETCHES)
def test_stretches_are_cut_where_they_should_be(rows, size):
    scores = RANDOM.random((rows, 2), dtype=np.float32)
    means = WindowScores(0.1, 1.0)
    found = [stretch for block in cut(scores, size) for stretch in means.push(block)] + means.finish(rows / 10)
    assert [(start, end) for start, end, _ in found] == [(start, end) for start, end, _ in STRETCHES[rows]]
    for (_, _, mean), (_, _, inside) in zip(found, STRETCHES[rows], strict=True):
        assert mean == pytest.approx(scores[list(inside)].mean(axis=0), abs=1e-6)


def test_a_stretch_is_told_as_soon_as_nothing_can_join_it():
    means = WindowScores(0.1, 1.0)
    told = [len(means.push(np.zeros((1, 1), np.float32))) for _ in range(30)]
    assert np.flatnonzero(told).tolist() == [14, 24]  # the fifth row of the next one


@pytest.mark.parametrize(("hop", "every"), [(0.3, 1.0), (0.016, 1.0), (0.02, 0.02), (0.02, 5.0), (0.0125, 0.04)])
def test_a_row_belongs_to_the_stretch_that_its_middle_lies_in(hop, every):
    rows = 2000
    means = WindowScores(hop, every)
    scores = np.arange(rows, dtype=np.float32)[:, None]
    found = means.push(scores) + means.finish(rows * hop)
    middles = (np.arange(rows) + 0.5) * hop
    for number, (start, _, mean) in enumerate(found[:-2]):  # the last may have taken what was left
        assert start == pytest.approx(number * every)
        inside = np.flatnonzero((middles >= start - 1e-9) & (middles < start + every - 1e-9))
        assert mean[0] == pytest.approx(inside.mean(), abs=1e-3 * rows)
        assert abs(mean[0] - inside.mean()) <= 0.5 + 1e-3, "a tie may fall to either side"
    assert found[-1].end == pytest.approx(rows * hop)


# How scores are read


def clip_with(scores, thresholds, several, labels=("a", "b", "c")):
    return Clip(AnswerRule(labels, thresholds, several), 0, 0.0, 1.0, np.array(scores, np.float32))


def test_one_label_is_the_best_even_where_it_is_low():
    clip = clip_with([0.2, 0.45, 0.35], (0.0,) * 3, several=False)
    assert (clip.label, [answer.label for answer in clip.labels]) == ("b", ["b"])
    assert clip.score == pytest.approx(0.45)
    assert [answer.label for answer in clip.top()] == ["b", "c", "a"]
    assert [answer.label for answer in clip.top(2)] == ["b", "c"]


def test_below_the_threshold_there_is_no_answer_and_the_score_is_told():
    clip = clip_with([0.2, 0.45, 0.35], (0.5,) * 3, several=False)
    assert (clip.label, clip.labels) == (None, ())
    assert clip.score == pytest.approx(0.45)
    assert clip_with([0.2, 0.5, 0.3], (0.5,) * 3, several=False).label == "b"


def test_several_labels_each_have_a_threshold():
    clip = clip_with([0.6, 0.5, 0.1], (0.7, 0.35, 0.05), several=True)
    assert [answer.label for answer in clip.labels] == ["b", "c"]
    assert (clip.label, clip.score) == ("b", pytest.approx(0.5))
    assert [answer.label for answer in clip.top()] == ["a", "b", "c"]
    assert clip_with([0.6, 0.3, 0.0], (0.7, 0.35, 0.05), several=True).label is None


def test_of_equals_the_first_label_of_the_model_wins():
    assert clip_with([0.3, 0.3, 0.3], (0.0,) * 3, several=False).label == "a"
    assert [answer.label for answer in clip_with([0.1, 0.3, 0.3], (0.0,) * 3, False).top()] == ["b", "c", "a"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threshold": 1.5}, r"--threshold 1\.5: not between 0 and 1"),
        ({"threshold": float("nan")}, "--threshold nan: not between"),
        ({"every_seconds": 0.0}, "--every 0: not a valid duration"),
        ({"every_seconds": float("inf")}, "--every inf: not a valid duration"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        ClassifySettings(**settings)


# What a model says of its answers


def model_of(output, labels, **more):
    return Model("m", Path("nowhere"), spec_with(output, len(labels)), labels, {"a": 0.3}, **more)


@pytest.mark.parametrize(
    ("output", "labels", "given", "answer"),
    [
        ("softmax", ("a", "b"), "", "one"),
        ("sigmoid", ("a", "b"), "", "several"),
        ("sigmoid", ("a", "b"), "one", "one"),
        ("softmax", ("a", "b"), "several", "several"),
        ("sigmoid", ("a",), "one", "several"),
    ],
)
def test_how_a_model_answers(output, labels, given, answer):
    model = model_of(output, labels, answer=given)
    assert model.answer == answer
    rule = ClassifySettings().rule(model)
    assert rule.several == (answer == "several")
    assert rule.thresholds == ((0.3, 0.5)[: len(labels)] if answer == "several" else (0.0,) * len(labels))
    assert set(ClassifySettings(threshold=0.8).rule(model).thresholds) == {0.8}


def test_the_key_is_written_where_it_says_something_and_read_again(tmp_path):
    network = network_of(spec_named("valid_2d").with_classes(2))  # a sigmoid
    for given, written in (("", None), ("several", None), ("one", "one")):
        folder = write_folder(network, tmp_path / f"m{given}", labels=("a", "b"), answer=given).folder
        assert read_model(folder).to_table().get("answer") == written
        assert ('answer = "one"' in (folder / TOML).read_text()) == (written == "one")
        assert read_model(folder).answer == (given or "several")
    path = tmp_path / "mone" / TOML
    path.write_text(path.read_text().replace('answer = "one"', 'answer = "on"'))
    with pytest.raises(ModelError, match=r'"answer" cannot be "on"; did you mean "one"\?'):
        read_model(path.parent)


def test_an_ensemble_answers_as_its_models_do(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "audiocnn.model.ensemble.export_onnx", lambda model, _: float((model.folder / ONNX).write_bytes(b""))
    )
    network = network_of(spec_with("sigmoid", 2))
    one, several = (
        read_model(write_folder(network, tmp_path / name, labels=("a", "b"), answer=name).folder)
        for name in ("one", "several")
    )
    for models, answer in (((one, one), "one"), ((one, several), "several"), ((several, several), "several")):
        assert make_ensemble(models, tmp_path / "both", force=True)[0].answer == answer
        assert read_model(tmp_path / "both").answer == answer


def test_segments_of_labels_that_exclude_each_other_end_at_one_half():
    soft, free = model_of("softmax", ("a", "b")), model_of("sigmoid", ("a", "b"))
    assert (soft.rule("b").closing_threshold, free.rule("b").closing_threshold) == (0.5, 0.35)
    assert soft.rule("b", threshold=0.8).closing_threshold == pytest.approx(0.65)
    assert soft.rule("b", neg_threshold=0.2).closing_threshold == 0.2
    assert soft.rule("a").closing_threshold == pytest.approx(0.15)  # its own threshold is below one half


# Recordings


@pytest.fixture
def half(tmp_path):
    """Two seconds, half a second of which is what the model of 1 kHz hears."""
    return write(tmp_path / "half.wav", tone((0.5, 1.0)), RATE)


def test_a_clip_has_the_share_of_it_that_sounds(half, tone_model):  # noqa: F811
    found = classify(half, tone_model)
    assert (found.label, found.labels) == (None, ())
    assert found.score == pytest.approx(0.25, abs=0.03)
    assert (found.duration_seconds, found.sample_rate, found.channels, found.model) == (2.0, RATE, 1, "tone")
    assert [(clip.channel, clip.start, clip.end) for clip in found] == [(0, 0.0, 2.0)]
    assert audiocnn.classify(half, tone_model, ClassifySettings(threshold=0.2)).label == "tone"
    with half.open("rb") as file:
        assert classify(file, tone_model).score == found.score


def test_a_long_recording_by_stretches(half, tone_model):  # noqa: F811
    found = classify(half, tone_model, ClassifySettings(every_seconds=0.5))
    assert [(clip.start, clip.end, clip.label) for clip in found] == [
        (0.0, 0.5, None), (0.5, 1.0, "tone"), (1.0, 1.5, None), (1.5, 2.0, None),
    ]  # fmt: skip
    whole = classify(half, tone_model)
    assert np.mean([clip.scores for clip in found]) == pytest.approx(whole.clips[0].scores[0], abs=1e-6)


def test_each_channel_has_its_answer(tmp_path, tone_model):  # noqa: F811
    stereo = np.stack([tone(), tone((0.0, 2.0))], axis=1)
    path = write(tmp_path / "stereo.wav", stereo, RATE)
    found = classify(path, tone_model, ClassifySettings(channel="each", every_seconds=1.0))
    assert [(clip.channel, clip.start, clip.label) for clip in found] == [
        (0, 0.0, None), (0, 1.0, None), (1, 0.0, "tone"), (1, 1.0, "tone"),
    ]  # fmt: skip
    assert classify(path, tone_model, ClassifySettings(channel=1)).label == "tone"


def test_many_at_once_are_as_one_by_one_and_a_bad_one_costs_itself(tmp_path, half, tone_model):  # noqa: F811
    engine = load_engine(find_model(tone_model))
    full = write(tmp_path / "full.wav", tone((0.0, 2.0)), RATE)
    (tmp_path / "bad.wav").write_text("no audio")
    found = list(classify_many([half, tmp_path / "bad.wav", full], engine))
    assert isinstance(found[1], RecordingError)
    assert [found[n].score for n in (0, 2)] == pytest.approx([classify(f, tone_model).score for f in (half, full)])
    with pytest.raises(TypeError, match="give a list of names"):
        next(classify_many("a.wav", engine))
    with pytest.raises(UsageError, match=r"tone gives one score every 0\.01 s"):
        next(classify_many([half], engine, ClassifySettings(every_seconds=0.001)))


def test_a_recording_of_nothing_has_no_answer(tmp_path, tone_model):  # noqa: F811
    path = write(tmp_path / "nothing.wav", np.zeros(0, np.float32), RATE)
    with pytest.raises(RecordingError, match=r"nothing\.wav: "):
        classify(path, tone_model)


def test_nothing_is_kept_of_a_stream_but_sums():
    engine = torch_engine(network_of(spec_named("valid_2d")))
    classifier = Classifier(engine, ClassifySettings(every_seconds=10 * engine.hop_seconds))
    count = 0
    for number in range(50):
        rows = np.full((25, len(engine.model.labels)), 0.5, np.float32)
        count += len(classifier.push(ScoreBlock(0, 25 * number, rows)))
    assert classifier.count == count == 124  # the last one may still be joined
    assert not any(isinstance(value, (list, tuple)) and len(value) > 2 for value in vars(classifier).values())


@pytest.mark.parametrize(
    "pooling",
    [
        {},
        {"label_pooling": {"tone": LabelPooling(0.2, 0.5, -0.3, dict.fromkeys(SENSITIVITIES, 0.45))}},
        {"clip_pooling": ClipPooling(0.5, 0.3)},
    ],
)
def test_evaluate_reads_clips_as_classify_does(tmp_path, tone_model, pooling):  # noqa: F811
    for number in range(3):
        write(tmp_path / "sounds" / "tone" / f"{number}.wav", tone((0.0, 0.3 + number / 3)), RATE)
        write(tmp_path / "sounds" / "none" / f"{number}.wav", tone(seconds=1.5), RATE)
    settings = data_settings({"source": "sounds", "sample_rate": RATE}, tmp_path, "r.toml: [data]")
    dataset = cached_dataset(settings, tmp_path / "dataset")
    engine = load_engine(dataclasses.replace(find_model(tone_model), **pooling))
    *_, last = evaluate(dataset, engine_scorer(engine))
    answers = {one.filename: one for one in last.evaluation.clip.answers}
    found = dict(zip(answers, classify_many([tmp_path / "sounds" / name for name in answers], engine), strict=True))
    assert len(answers) == 6
    assert last.evaluation.clip.labels["tone"].threshold == found["tone/0.wav"].rule.thresholds[0]
    for name, one in answers.items():
        assert one.scores[0] == pytest.approx(found[name].score, abs=1e-4)
        assert one.answers == ((found[name].label or "not tone"),)


def test_a_model_is_written_with_its_answer(tmp_path):
    network = network_of(spec_named("valid_2d").with_classes(2))
    model = write_folder(network, tmp_path / "m", labels=("a", "b"))
    write_model(dataclasses.replace(model, answer="one"))
    assert read_model(model.folder).answer == "one"
