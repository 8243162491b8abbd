"""A network of two channels hears where a sound comes from: trained on sounds from the left and from the right."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from fixtures_models import TASK_MIX, TASK_TRAIN

from audiocnn.augment.mixture import Example
from audiocnn.data.dataset import Dataset
from audiocnn.data.writer import DatasetWriter, Item
from audiocnn.inference.detect import detect
from audiocnn.model.model import spec_folders
from audiocnn.recipe.recipe import Recipe
from audiocnn.spec.spec import find_spec
from audiocnn.training.batches import example_tensors, make_training_set
from audiocnn.training.train import train

RATE = 16_000
SIDES = {"left": (1.0, 0.1), "right": (0.1, 1.0)}


def burst(random, seconds, side):
    """(2, samples) of noise from one side."""
    noise = random.normal(0, 0.1, round(seconds * RATE))
    return np.stack([noise * gain for gain in SIDES[side]])


def stereo_dataset(folder):
    """Forty bursts, as `ingest --channels 2` would have written them."""
    random = np.random.default_rng(0)
    with DatasetWriter(folder, RATE, 2) as writer:
        for number in range(40):
            side = ("left", "right")[number % 2]
            item = Item(Path(f"{side}/{number}.wav"), f"{side}/{number}.wav", label=side, group=str(number))
            pcm = np.rint(burst(random, 0.8, side) * 32768).astype(np.int16)
            row, _ = writer.add(item, (pcm.nbytes, 0), [pcm])
            writer.describe(row, item, item.digest())
        writer.finish(["left", "right"], [])
    return Dataset.open(folder)


def recipe():
    settings = dataclasses.replace(TASK_TRAIN, epochs=6, examples_per_epoch=320, learning_rate=1e-2)
    mix = dataclasses.replace(TASK_MIX, seconds=0.8, background_share=0.3)
    return Recipe("sides", find_spec("stereo_8_4", spec_folders()), None, mix, settings, seed=0)


def test_clips_keep_their_channels(tmp_path):
    training_set = make_training_set(recipe(), stereo_dataset(tmp_path / "d"))
    for index in range(6):
        example = training_set.source.example(0, index)
        assert example.samples.shape == (2, round(0.8 * RATE))
        left, right = np.sqrt(np.mean(np.square(example.samples), axis=1))
        assert training_set.labels[int(example.targets[0].argmax())] == ("left" if left > right else "right")


@pytest.mark.parametrize(("given", "wanted"), [(1, 1), (1, 2), (2, 2), (2, 1), (3, 2)])
def test_channels_are_repeated_or_made_one(given, wanted):
    samples = np.arange(given, dtype=np.float32)[:, None] + np.zeros((1, 5), np.float32)
    got, _ = example_tensors(Example(samples, np.zeros((1, 1), np.float32)), wanted)
    expected = samples if given == wanted else np.full((wanted, 5), (given - 1) / 2, np.float32)
    assert torch.equal(got, torch.from_numpy(expected))


@pytest.mark.long
def test_a_stereo_net_finds_sides_in_a_stereo_file(tmp_path):
    *_, last = train(recipe(), stereo_dataset(tmp_path / "d"), tmp_path / "run")
    assert last.figure == 1.0
    random = np.random.default_rng(1)
    file = tmp_path / "both.wav"
    soundfile.write(file, np.concatenate([burst(random, 2, "left"), burst(random, 3, "right")], axis=1).T, RATE)
    found = detect(file, tmp_path / "run")
    assert [segment.label for segment in found] == ["left", "right"]
    for segment, (start, end) in zip(found, ((0.0, 2.0), (2.0, 5.0)), strict=True):
        assert segment.start == pytest.approx(start, abs=0.3)
        assert segment.end == pytest.approx(end, abs=0.3)
    soundfile.write(file, burst(random, 2, "right").T[:, ::-1], RATE)
    assert [segment.label for segment in detect(file, tmp_path / "run")] == ["left"]
