"""Examples of whole clips: order, labels, spans, blends, and what is drawn how often."""

from __future__ import annotations

import collections
import dataclasses

import numpy as np
import pytest
from fixtures_models import RATE, tone_of, write_dataset

from audiocnn.augment.clips import ClipExamples, ValidationClips
from audiocnn.augment.mixture import Example
from audiocnn.augment.settings import CLIP_MIX, MixSettings
from audiocnn.augment.spectral import _mask_axis, mask_frames
from audiocnn.errors import RecipeError
from audiocnn.recipe.settings import TrainSettings
from audiocnn.training.batches import clip_positions, count_examples

PLAIN = dataclasses.replace(
    MixSettings(), **CLIP_MIX | {"background_share": 0.0, "gain_db": (0.0, 0.0)}, seconds=0.5, speed=(1.0, 1.0)
)
LABELS = ("low", "high")


def sounds(counts, seconds=0.2):
    return [
        (f"{label}/{number}.wav", tone_of(seconds, 0.0, seconds, hertz), {"label": label})
        for label, hertz in (("low", 300), ("high", 600), ("other", 900))
        for number in range(counts.get(label, 0))
    ]


def clips_of(folder, counts, settings=PLAIN, **more):
    dataset = write_dataset(folder, sounds(counts))
    return ClipExamples(dataset, dataset.entries, LABELS, settings, 1, **more)


def test_an_epoch_has_each_clip_once_in_an_order_of_its_own(tmp_path):
    clips = clips_of(tmp_path / "d", {"low": 5, "high": 4})
    orders = [[clips.choose(None, epoch, index) for index in range(9)] for epoch in (0, 1)]
    assert [sorted(order) for order in orders] == [list(range(9))] * 2
    assert orders[0] != orders[1]
    second = [clips.choose(None, 0, index) for index in range(9, 18)]
    assert sorted(second) == list(range(9))
    assert second != orders[0]


def test_balanced_sampling_draws_labels_as_its_power_says(tmp_path):
    counts = {"low": 18, "high": 2}
    for evenness, wanted in ((1.0, 0.5), (0.5, np.sqrt(2) / (np.sqrt(2) + np.sqrt(18)))):
        clips = clips_of(tmp_path / str(evenness), counts, evenness=evenness)
        drawn = [clips.entries[clips.draw(np.random.default_rng(seed))].label for seed in range(2000)]
        assert collections.Counter(drawn)["high"] / 2000 == pytest.approx(wanted, abs=0.04)


def test_others_count_as_none_of_the_labels_where_that_can_be_said(tmp_path):
    counts = {"low": 2, "high": 1, "other": 3}
    assert clips_of(tmp_path / "a", counts).counts().tolist() == [2, 1]
    assert len(clips_of(tmp_path / "b", counts).entries) == 3
    with_others = clips_of(tmp_path / "c", counts, others=True, evenness=1.0)
    assert (len(with_others.entries), with_others.counts().tolist()) == (6, [2, 1])
    assert with_others.targets().sum(axis=1).tolist().count(0.0) == 3
    assert np.isfinite(with_others.chances).all()


def test_a_clip_with_several_labels_has_them_all(tmp_path):
    dataset = write_dataset(tmp_path / "d", sounds({"low": 1}))
    both = [dataclasses.replace(entry, labels=("high", "low")) for entry in dataset.entries]
    assert ClipExamples(dataset, both, LABELS, PLAIN, 1).targets().tolist() == [[1.0, 1.0]]


def test_the_span_is_where_the_clip_sounds(tmp_path):
    clips = clips_of(tmp_path / "d", {"low": 3, "high": 3})
    for index in range(6):
        example = clips.example(0, index)
        sounding = np.flatnonzero(example.samples[0])
        start, stop = example.span
        assert stop - start == round(0.2 * RATE)
        assert start <= sounding[0] <= start + 2
        assert stop - 2 <= sounding[-1] + 1 <= stop


def test_at_double_speed_a_clip_is_half_as_long_and_an_octave_higher(tmp_path):
    fast = clips_of(tmp_path / "d", {"low": 1, "high": 1}, dataclasses.replace(PLAIN, speed=(2.0, 2.0)))
    for index in range(2):
        example = fast.example(0, index)
        start, stop = example.span
        assert stop - start == pytest.approx(0.1 * RATE, abs=2)
        peak = np.argmax(np.abs(np.fft.rfft(example.samples[0], RATE)))
        hertz = 600 if example.targets[0, 0] else 1200
        assert min(peak, 2 * RATE - peak) == pytest.approx(hertz if hertz <= RATE / 2 else RATE - hertz, abs=15)


def test_blends_have_the_labels_of_both_and_the_span_of_both(tmp_path):
    counts = {"low": 3, "high": 3}
    between = clips_of(tmp_path / "a", counts, dataclasses.replace(PLAIN, between_share=1.0))
    for index in range(6):
        example = between.example(0, index)
        assert example.targets.sum() == pytest.approx(1.0)
        assert example.targets.min() > 0.0
        assert example.span[1] - example.span[0] >= round(0.2 * RATE)
    mixed = clips_of(tmp_path / "b", counts, dataclasses.replace(PLAIN, mixup=1.0))
    targets = np.concatenate([mixed.example(0, index).targets for index in range(60)])
    np.testing.assert_allclose(targets.sum(axis=1), 1.0, rtol=1e-5)
    assert np.mean((targets > 0.0).all(axis=1)) == pytest.approx(0.5, abs=0.2)


def test_room_and_microphone_are_the_same_in_both_channels(tmp_path):
    dataset = write_dataset(tmp_path / "d", sounds({"low": 1}))
    mono = dataset.samples
    dataset.samples = lambda entry: np.repeat(mono(entry), 2, axis=0)
    settings = dataclasses.replace(PLAIN, room_share=1.0, tilt_db=6.0, gain_db=(-12.0, 0.0), telephone_share=0.5)
    clips = ClipExamples(dataset, dataset.entries, LABELS, settings, 1)
    for index in range(4):
        left, right = clips.example(index, 0).samples
        assert left.tobytes() == right.tobytes()
        assert left.any()


def test_held_out_clips_are_read_when_they_are_wanted(tmp_path):
    held_out = ValidationClips(clips_of(tmp_path / "d", {"low": 2, "high": 1}))
    assert [example.samples.shape for example in held_out] == [(1, round(0.2 * RATE))] * 3
    with pytest.raises(IndexError):
        held_out[3]


def test_positions_that_hold_the_clip():
    def positions(length, span):
        return clip_positions(Example(np.zeros((1, length)), np.zeros((1, 1)), span), 100).tolist()

    assert positions(1000, None) == [0, 10]
    assert positions(1050, None) == [0, 11]
    assert positions(1000, (250, 499)) == [2, 5]
    assert positions(1000, (300, 300)) == [3, 4]
    assert positions(1000, (1000, 1000)) == [9, 10]


def test_an_epoch_has_each_clip_once_and_at_least_ten_batches():
    settings = TrainSettings(examples_per_epoch=0, batch_size=8)
    assert [count_examples(settings, clips) for clips in (3, 80, 81, 5000)] == [80, 80, 81, 5000]
    assert count_examples(dataclasses.replace(settings, examples_per_epoch=12), 5000) == 12
    with pytest.raises(RecipeError, match=r"examples_per_epoch = 0 is only for whole clips"):
        count_examples(settings, 0)


def test_time_masks_hide_frames_of_each_example():
    import torch

    values = torch.arange(4 * 10 * 40, dtype=torch.float32).reshape(4, 1, 10, 40)
    got = mask_frames(values, MixSettings(time_masks=1, time_mask_width=0.5), np.random.default_rng(2))
    changed = got != values
    assert (changed.any(dim=2) == changed.all(dim=2)).all()  # a frame is hidden in all bands, or in none
    shares = changed.all(dim=2)[:, 0].float().mean(dim=1)
    assert shares.max() <= 0.5
    assert len(set(shares.tolist())) > 1
    assert got[changed].eq(values.mean()).all()
    assert mask_frames(values, MixSettings(), np.random.default_rng(0)) is values
    assert _mask_axis(values[..., :7], 3, 0.9, np.random.default_rng(0), -1).shape[-1] == 7
