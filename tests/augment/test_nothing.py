"""Sounds that are none of the labels."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from fixtures_models import RATE, tone_of, write_dataset

from audiocnn.augment.clips import ClipExamples
from audiocnn.augment.nothing import NothingExamples, longest_quiet
from audiocnn.augment.settings import CLIP_MIX, MixSettings

PLAIN = dataclasses.replace(
    MixSettings(), **CLIP_MIX | {"background_share": 0.0, "gain_db": (0.0, 0.0)}, seconds=0.5, speed=(1.0, 1.0)
)


def clip(event=(0.6, 0.9), hiss=0.001, seconds=1.5):
    """A loud tone in soft noise."""
    samples = tone_of(seconds, *event, 300)
    return samples + hiss * np.random.default_rng(0).normal(0, 1, len(samples))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    recordings = [(f"{label}{n}.wav", clip(), {"label": label}) for label in ("low", "high") for n in range(7)]
    return write_dataset(tmp_path_factory.mktemp("nothing") / "d", recordings)


def test_every_kind_has_the_length_and_is_the_same_for_the_same_numbers(dataset):
    draws = [
        [NothingExamples(dataset, dataset.entries, 4000).draw(np.random.default_rng(n)) for n in range(60)]
        for _ in range(2)
    ]
    for one, other in zip(*draws, strict=True):
        assert (one.shape, one.dtype) == ((1, 4000), np.float32)
        assert np.isfinite(one).all()
        assert np.array_equal(one, other)
    levels = [float(np.sqrt(np.mean(one**2))) for one in draws[0]]
    assert min(levels) < 1e-4 < 0.1 < max(levels) < 1.0
    assert len({one.tobytes() for one in draws[0]}) > 50


@pytest.mark.parametrize("name", ["draw_made", "draw_hits", "draw_calls", "draw_noise", "draw_tune"])
@pytest.mark.parametrize("length", [100, 1600, 16000])
def test_what_is_made_sounds_at_any_length(dataset, name, length):
    nothing = NothingExamples(dataset, dataset.entries, length)
    made = [getattr(nothing, name)(np.random.default_rng(n)) for n in range(20)]
    assert all(one.shape == (length,) and np.isfinite(one).all() for one in made)
    assert sum(np.abs(one).max() > 0 for one in made) > 15


def test_what_lies_between_events_holds_none_of_them(dataset):
    nothing = NothingExamples(dataset, dataset.entries, RATE)
    for seed in range(10):
        between = nothing.draw_between(np.random.default_rng(seed))
        assert between.shape == (RATE,)
        assert 0.0005 < np.sqrt(np.mean(between**2)) < 0.0015
        assert np.abs(between).max() < 0.01  # the tone has 0.3


def test_a_dataset_without_a_quiet_place_has_none(tmp_path):
    steady = [("a.wav", 0.3 * np.random.default_rng(0).normal(0, 0.3, RATE), {"label": "rain"})]
    made = write_dataset(tmp_path / "d", steady)
    nothing = NothingExamples(made, made.entries, RATE)
    assert nothing.draw_between(np.random.default_rng(0)) is None
    assert np.isfinite([nothing.draw(np.random.default_rng(seed)) for seed in range(10)]).all()


@pytest.mark.parametrize(
    ("event", "found"),
    [((0.6, 0.9), (0.0, 0.55)), ((0.1, 0.4), (0.45, 1.5)), ((0.0, 1.5), None), ((0.1, 1.4), None)],
)
def test_the_longest_quiet_stretch(event, found):
    stretch = longest_quiet(clip(event).astype(np.float32), RATE)
    if found is None:
        assert stretch is None
    else:
        assert np.array(stretch) / RATE == pytest.approx(found, abs=0.051)


@pytest.mark.parametrize("samples", [np.zeros(0), np.zeros(10), np.zeros(RATE)])
def test_silence_and_clicks_have_no_quiet_stretch(samples):
    assert longest_quiet(samples.astype(np.float32), RATE) is None


@pytest.mark.parametrize("share", [0.2, 0.3, 0.5])
def test_a_round_has_each_clip_once_and_its_share_of_nothing(dataset, share):
    settings = dataclasses.replace(PLAIN, nothing_share=share)
    clips = ClipExamples(dataset, dataset.entries, ("low", "high"), settings, 1, others=True)
    chosen, choose = [], clips.choose
    clips.choose = lambda random, epoch, index: chosen.append(choose(random, epoch, index)) or chosen[-1]
    examples = [clips.example(0, index) for index in range(clips.round)]
    empty = [not example.targets.any() for example in examples]
    assert set(chosen) == set(range(14))
    assert len(chosen) in (14, 15)  # no more than what is needed for a whole number of examples
    assert sum(empty) == clips.round - len(chosen)
    assert sum(empty) / clips.round == pytest.approx(share, abs=1 / clips.round)
    assert clips.rest_share == pytest.approx(share)
    spans = {example.span for example, none in zip(examples, empty, strict=True) if none}
    assert spans == {(0, clips.length)}


def test_clips_of_other_labels_count_to_the_share_of_nothing(tmp_path):
    labels = ["low"] * 3 + ["high"] * 3 + ["other"] * 2
    made = write_dataset(tmp_path / "d", [(f"{n}.wav", clip(), {"label": label}) for n, label in enumerate(labels)])
    settings = dataclasses.replace(PLAIN, nothing_share=0.5)
    assert ClipExamples(made, made.entries, ("low", "high"), settings, 1, others=True).rest_share == 0.625
    even = ClipExamples(made, made.entries, ("low", "high"), settings, 1, evenness=1.0, others=True)
    assert even.rest_share == pytest.approx(0.625)
