"""Three labels that stand alone, two of them behind the third: from a table of recordings to a model, and its answers.

Speech is a tone of 300 to 500 Hz, music one of 750 Hz, noise is white; a tiny network tells them apart in seconds.
"""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from fixtures_cli import audiocnn
from fixtures_models import LOG_MEL, RATE, TASK_MIX, TASK_TRAIN, recipe_of, table_of, tone_of
from sounds import write

from audiocnn.data.dataset import Dataset
from audiocnn.data.ingest import cached_dataset
from audiocnn.data.sources.settings import data_settings
from audiocnn.training.batches import make_training_set
from audiocnn.training.train import train
from audiocnn.training.transfer import Origin

LABELS = ["speech", "music", "noise"]
DATA = {
    "recordings": "recordings.tsv",
    "segments": "segments.tsv",
    "labels": LABELS,
    "whole": [
        {"label": "music", "where": {"filename": ["*/tune*"]}},
        {"label": "noise", "where": {"source": ["street"]}},
    ],
    "sample_rate": RATE,
}
MIX = dataclasses.replace(
    TASK_MIX, background_labels=("music", "noise"), coloured_share=0.0, snr_db=(0.0, 10.0), foreground_share=0.6,
    event_share=0.3, second_share=0.3, background_speed=(1.0, 1.0), reversed_share=0.2, equaliser_db=0.0, band_masks=0,
)  # fmt: skip
TINY = table_of(
    {**LOG_MEL, "mels": 16},
    [{"conv": 12, "kernel": 3}, {"conv": 12, "kernel": 3}],
    {"window_seconds": 0.15, "layers": [{"dense": 12}]},
    defaults={"norm": "batch"},
)


def hiss(seconds, seed):
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * RATE))


def write_sounds(folder, count=8):
    """Recordings of each label, and the tables that say where."""
    rows, segments = ["filename\tsource\tgroup"], ["filename\tonset\toffset\tevent_label"]
    for i in range(count):
        write(folder / f"a/voice{i}.wav", tone_of(0.8, 0.1, 0.7, 300 + 25 * i), RATE)
        write(folder / f"b/tune{i}.wav", tone_of(2.0, 0.2, 1.9, 750), RATE)
        write(folder / f"b/rain{i}.wav", hiss(2.0, i), RATE)
        rows += [f"a/voice{i}.wav\tstudio\tv{i}", f"b/tune{i}.wav\tstreet\tt{i}", f"b/rain{i}.wav\tstreet\tr{i}"]
        segments.append(f"a/voice{i}.wav\t0.1\t0.7\tspeech")
    (folder / "recordings.tsv").write_text("\n".join(rows) + "\n")
    (folder / "segments.tsv").write_text("\n".join(segments) + "\n")
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(dataset, the report at the end of the training)"""
    folder = tmp_path_factory.mktemp("together")
    settings = data_settings({"source": "sounds", **DATA}, write_sounds(folder / "sounds").parent, "r.toml: [data]")
    dataset = cached_dataset(settings, folder / "dataset")
    settings_of_train = {"epochs": 8, "examples_per_epoch": 2 * TASK_TRAIN.examples_per_epoch}
    recipe = dataclasses.replace(recipe_of(TINY, MIX, **settings_of_train), data=settings)
    *_, last = train(recipe, dataset, folder / "run")
    assert not isinstance(last, Origin)
    return dataset, last


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """Two seconds of each: noise, music, speech over music."""
    folder = tmp_path_factory.mktemp("scene")
    sound = np.concatenate([hiss(2.0, 99), tone_of(4.0, 0.0, 4.0, 750, 0.2)])
    sound += tone_of(6.0, 4.0, 6.0, 410, 0.3)
    return write(folder / "scene.wav", sound, RATE)


@pytest.mark.long
def test_every_recording_has_the_label_of_its_kind(made):
    dataset, _ = made
    assert dataset.labels == tuple(LABELS)
    kinds = {"voice": ("speech", 0.1, 0.7), "tune": ("music", 0.2, 1.9), "rain": ("noise", 0.0, 2.0)}
    for entry in dataset.entries:
        label, onset, offset = next(kinds[kind] for kind in kinds if kind in entry.filename)
        (note,) = dataset.annotations(entry)
        assert note.label == label
        assert (note.onset, note.offset) == pytest.approx((onset, offset), abs=0.02)


def test_every_label_is_learned_and_has_a_threshold(made):
    _, report = made
    assert report.model.labels == tuple(LABELS)
    assert report.figure > 0.95  # the mean of the three
    assert set(report.model.thresholds) == set(LABELS)


def test_segments_of_every_label_are_found_where_it_sounds(made, scene):
    done = audiocnn("detect", "-m", made[1].model.folder, scene, "--pad", "0")
    lines = [json.loads(line) for line in done.out.splitlines()]
    times = (np.arange(600) + 0.5) / 100
    for label, (onset, offset) in {"noise": (0.0, 2.0), "music": (2.0, 6.0), "speech": (4.0, 6.0)}.items():
        spans = [(line["start"], line["end"]) for line in lines if line.get("label") == label]
        found = np.any([(start <= times) & (times < end) for start, end in spans], axis=0)
        assert np.mean(found == ((onset <= times) & (times < offset))) > 0.95, label


def test_scores_and_figures_come_for_every_label(made, scene, tmp_path):
    model = made[1].model.folder
    assert audiocnn("score", "-m", model, scene).out.splitlines()[0] == "file,channel,start,end,speech,music,noise"
    report = tmp_path / "report.json"
    done = audiocnn("evaluate", made[0].folder, "-m", model, "-o", report, "--resamples", "10")
    assert done.status == 0, done.err
    text = report.read_text()
    assert all(f'"{label}"' in text for label in LABELS)
    described = json.loads(audiocnn("describe", model, "-f", "json").out)
    assert described["classes"] == 3


def test_labels_that_nobody_marked_are_not_judged(made, tmp_path):
    folder = write_sounds(tmp_path / "sounds")
    settings = data_settings({"source": "sounds", **DATA, "labels": ["speech"]}, folder.parent, "r.toml: [data]")
    cached_dataset(settings, tmp_path / "dataset")
    report = tmp_path / "report.json"
    done = audiocnn("evaluate", tmp_path / "dataset", "-m", made[1].model.folder, "-o", report, "--resamples", "10")
    assert done.status == 0, done.err
    (judged,) = json.loads(f"[{report.read_text()}]")
    assert set(judged["labels"]) == {"speech"}


def test_without_a_balance_every_label_is_in_both_parts(made):
    """A part that is held out has voices, music and noise, though they are of one source."""
    dataset = Dataset.open(made[0].folder)
    recipe = dataclasses.replace(recipe_of(TINY, MIX, validation_share=0.1, validation_examples=30))
    targets = np.concatenate([example.targets for example in make_training_set(recipe, dataset).validation])
    assert targets.any(axis=0).tolist() == [True, True, True]
