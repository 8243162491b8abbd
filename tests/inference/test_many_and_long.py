"""Ten thousand labels, and clips of an hour: what is chosen, cut, kept in memory, and answered."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from fixtures_models import recipe_of
from sounds import write

from audiocnn.augment.clips import WHOLE_CLIP_SECONDS, ClipExamples, ValidationClips
from audiocnn.augment.settings import CLIP_MIX, MixSettings
from audiocnn.data.dataset import Dataset
from audiocnn.data.ingest import IngestSettings, ingest
from audiocnn.data.sources.settings import DataSettings
from audiocnn.evaluation.clips import ScoredClip, evaluate_clips
from audiocnn.evaluation.results import EvaluationSettings
from audiocnn.inference.classify import ClassifySettings, classify
from audiocnn.model.export import export_onnx
from audiocnn.model.model import WEIGHTS, Model, write_model
from audiocnn.model.network import Network
from audiocnn.model.weights import save_weights
from audiocnn.recipe.choose import choose_settings, collect_clip_facts, explain_choice
from audiocnn.recipe.division import divide
from audiocnn.segments.finder import SegmentRule

MANY = 10_000
RATE = 1000
HOUR = 3600
SMALL = {
    "input": {"features": "stft", "sample_rate": RATE, "frame_seconds": 0.25, "hop_seconds": 0.25, "fft_samples": 250},
    "groups": [{"name": "A", "layers": [{"conv": 4, "kernel": 3}]}],
    "f": {"window_seconds": 1.0, "output": "softmax"},
}
SETTINGS = dataclasses.replace(MixSettings(), **CLIP_MIX, seconds=0.5)


def test_ten_thousand_labels_are_drawn_from_without_a_matrix(monkeypatch):
    labels = [f"label{number}" for number in range(MANY)]
    entries = [SimpleNamespace(labels=(label,), samples=100, scale=1.0) for label in labels for _ in range(3)]
    dataset = SimpleNamespace(sample_rate=RATE, several=False, folder="many")
    monkeypatch.setattr(ClipExamples, "targets", None)  # 30,000 clips x 10,000 labels: more than a gigabyte
    clips = ClipExamples(dataset, entries, labels, SETTINGS, 1, evenness=1.0)
    assert (len(clips.entries), clips.counts().sum()) == (3 * MANY, 3 * MANY)
    drawn = [clips.draw(np.random.default_rng(seed)) for seed in range(200)]
    assert len(set(drawn)) > 190
    assert len(clips.make_target(entries[7])[0]) == MANY


def test_figures_of_ten_thousand_labels_are_those_of_the_labels_that_occur():
    labels = [f"label{number}" for number in range(MANY)]
    rng = np.random.default_rng(0)
    clips = []
    for number in range(60):
        scores = rng.uniform(0.0, 0.1, MANY).astype(np.float32)
        scores[number // 2 if number % 3 else 9_000] = 0.9
        clips.append(ScoredClip(f"{number}.wav", scores, labels[number // 2]))
    rules = dict.fromkeys(labels, SegmentRule(threshold=0.5))
    found = evaluate_clips(clips, labels, rules, EvaluationSettings(resamples=10))
    assert found.figures["accuracy"].value == pytest.approx(40 / 60)
    assert found.figures["balanced_accuracy"].value == pytest.approx(40 / 60)  # of 30 labels with two clips each
    assert found.confusion.to_dict() is None
    assert found.confusion.pairs[0].answer == "label9000"
    assert any(note.startswith("no clip has 9970 of the labels (") for note in found.notes)


@pytest.fixture(scope="module")
def hours(tmp_path_factory):
    """Two clips of an hour, silence with a tone, and short ones, ingested at 1 kHz."""
    folder = tmp_path_factory.mktemp("hours")
    for label, hertz in (("low", 50), ("high", 200)):
        for number, seconds in enumerate((HOUR, 2, 3)):
            sound = np.zeros(seconds * RATE, np.float32)
            middle = len(sound) // 2
            sound[middle - RATE // 2 : middle + RATE // 2] = 0.4 * np.sin(2 * np.pi * hertz * np.arange(RATE) / RATE)
            write(folder / f"clips/{label}/{number}.wav", sound, RATE)
    data = DataSettings(folder / "clips", sample_rate=RATE)
    list(ingest([data], folder / "dataset", IngestSettings(sample_rate=RATE)))
    return folder


def recipe_for(folder):
    return dataclasses.replace(recipe_of(SMALL, SETTINGS), data=DataSettings(folder / "clips", sample_rate=RATE))


def test_an_hour_is_cut_chosen_for_and_read_in_pieces(hours):
    dataset, recipe = Dataset.open(hours / "dataset"), recipe_for(hours)
    assert sorted(dataset.duration_seconds(entry) for entry in dataset.entries) == [2, 2, 3, 3, HOUR, HOUR]
    division = divide(dataset, recipe)
    assert (len(division.train) + len(division.validation), division.test) == (6, [])
    facts = collect_clip_facts(dataset, recipe)
    choice = choose_settings(facts, recipe.spec)
    assert (choice.spec.f.window_seconds, choice.mix.seconds) == (8.0, 16.0)  # at 1 kHz; four times those of 4 kHz
    assert explain_choice(facts, choice.recipe(recipe))
    long = [entry for entry in dataset.entries if entry.samples == HOUR * RATE]
    clips = ClipExamples(dataset, long, ("low", "high"), SETTINGS, 1)
    assert [clips.example(0, index).samples.shape for index in range(2)] == [(1, RATE // 2)] * 2
    held_out = ValidationClips(clips)
    assert held_out.lengths() == [WHOLE_CLIP_SECONDS * RATE] * 2
    assert np.abs(held_out[0].samples[0, 28 * RATE : 32 * RATE]).max() > 0.3  # its middle, where the tone is


def test_an_hour_is_classified_as_a_whole_or_by_stretches(hours):
    network = Network(recipe_for(hours).spec.with_classes(2)).eval()
    model = Model("own", hours / "model", network.spec, ("low", "high"), {}, "")
    write_model(model)
    save_weights(network, model.folder / WEIGHTS)
    export_onnx(model, network)
    path = hours / "clips/low/0.wav"
    whole = classify(path, model=str(model.folder))
    assert [(clip.start, clip.end) for clip in whole.clips] == [(0.0, HOUR)]
    parts = classify(path, str(model.folder), ClassifySettings(every_seconds=600.0))
    assert [(clip.start, clip.end) for clip in parts.clips] == [(600.0 * k, 600.0 * (k + 1)) for k in range(6)]
    means = [sum(clip.scores) for clip in (*whole.clips, *parts.clips)]
    assert means == pytest.approx([1.0] * 7, abs=1e-3)
