"""Batches: divided by group, in an order that is keyed; and what is done to features while training."""

from __future__ import annotations

import dataclasses
import itertools
import math
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from fixtures_models import RATE, mark, recipe_of, tone_task, write_dataset

from audiocnn.augment.clips import ClipExamples
from audiocnn.augment.mixture import Example, Mixer
from audiocnn.augment.settings import MixSettings
from audiocnn.augment.spectral import equalise, mask_bands
from audiocnn.data.sources.settings import DataSettings
from audiocnn.errors import DatasetError
from audiocnn.segments.segment import Annotation
from audiocnn.training.batches import (
    BatchSampler,
    example_tensors,
    make_loader,
    make_training_set,
    prefetch_batches,
    read_example,
)

SILENCE = np.zeros(RATE)


# Preparing


def test_annotated_recordings_are_mixed(tmp_path):
    dataset = tone_task(tmp_path / "d")
    training_set = make_training_set(recipe_of(), dataset)
    assert (training_set.labels, training_set.clips) == (("tone",), False)
    assert isinstance(training_set.source, Mixer)
    assert training_set.groups == {"train": 18, "validation": 6}
    assert len(training_set.validation) == 24
    assert any(example.targets.any() for example in training_set.validation)
    assert training_set.seconds == pytest.approx(9 * 0.8 + 9 * 3.0)
    again = make_training_set(recipe_of(), dataset)
    pairs = zip(training_set.validation, again.validation, strict=True)
    assert all(np.array_equal(one.samples, two.samples) for one, two in pairs)


def test_there_is_always_something_to_stop_by(tmp_path):
    """However the hashes fall: both parts have recordings with the label and recordings without."""
    dataset = tone_task(tmp_path / "d", groups=3)
    for seed in range(8):
        training_set = make_training_set(recipe_of(seed=seed, validation_share=0.1, validation_examples=2), dataset)
        assert training_set.groups == {"train": 4, "validation": 2}


def test_labelled_recordings_are_clips(tmp_path):
    names = itertools.product(("high", "low"), range(5))
    dataset = write_dataset(tmp_path / "d", [(f"{label}/{i}.wav", SILENCE, {"label": label}) for label, i in names])
    training_set = make_training_set(recipe_of(), dataset)
    assert (training_set.labels, training_set.clips) == (("high", "low"), True)
    assert isinstance(training_set.source, ClipExamples)
    assert [example.targets.tolist() for example in training_set.validation] == [[[1.0, 0.0]], [[0.0, 1.0]]]
    assert training_set.groups == {"train": 8, "validation": 2}


def test_what_does_not_fit_is_refused(tmp_path):
    wrong = write_dataset(tmp_path / "rate", [("a.wav", SILENCE, {"label": "x"})], sample_rate=8000)
    with pytest.raises(
        DatasetError, match=r"rate: has 8000 Hz, but the spec expects 2000; ingest with --sample-rate 2000$"
    ):
        make_training_set(recipe_of(), wrong)
    none = write_dataset(tmp_path / "none", [("a.wav", SILENCE, {})])
    with pytest.raises(DatasetError, match=r"none: nothing to train on: 1 recordings, 0 labels$"):
        make_training_set(recipe_of(), none)
    one = write_dataset(tmp_path / "one", [("a.wav", SILENCE, mark("tone", 0.0, 0.5))])
    with pytest.raises(DatasetError, match="one recording is too few"):
        make_training_set(recipe_of(), one)


# The order


def test_an_order_has_every_example_once_and_can_begin_anywhere():
    order = BatchSampler(10, 4)
    assert len(order) == 3
    assert list(order) == [[(0, 0), (0, 1), (0, 2), (0, 3)], [(0, 4), (0, 5), (0, 6), (0, 7)], [(0, 8), (0, 9)]]
    whole = list(order)
    order.first_step = 2
    assert list(order) == whole[2:]
    order.first_step, order.epoch = 3, 5
    assert list(order) == []
    order.first_step = 0
    assert next(iter(order)) == [(5, 0), (5, 1), (5, 2), (5, 3)]


class Counting:
    """Examples that say which they are."""

    def example(self, epoch, index):
        return Example(np.full((1, 2), 100 * epoch + index, np.float32), np.zeros((1, 1), np.float32))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_keeps_the_order_and_leaves_torchs_random_state(workers):
    order, loader = make_loader(recipe_of(examples_per_epoch=10, batch_size=4, workers=workers), Counting())
    order.epoch, order.first_step = 2, 1
    before = torch.get_rng_state()
    got = [samples[:, 0, 0].tolist() for samples, *_ in loader]
    assert got == [[204.0, 205.0, 206.0, 207.0], [208.0, 209.0]]
    assert torch.equal(torch.get_rng_state(), before)


def test_a_mono_example_is_the_same_in_every_channel():
    example = Example(np.arange(4, dtype=np.float32)[None], np.zeros((1, 1), np.float32))
    samples, _ = example_tensors(example, 3)
    assert samples.tolist() == [[0.0, 1.0, 2.0, 3.0]] * 3
    assert example_tensors(example, 1)[0].shape == (1, 4)


# Features while training


@pytest.mark.parametrize("shape", [(5, 40, 7), (5, 2, 40, 7)])
def test_masks_are_bands_of_the_mean_and_others_for_each_example(shape):
    values = torch.from_numpy(np.random.default_rng(0).normal(3.0, 1.0, shape).astype(np.float32))
    settings = MixSettings(band_masks=2, band_mask_width=0.25)
    got = mask_bands(values, settings, np.random.default_rng(1))
    changed = (got != values).flatten(1, -3) if len(shape) == 4 else got != values
    masked = (got != values).any(dim=-1).reshape(5, -1, 40)
    widths = masked[:, 0].sum(dim=1)
    assert (widths <= 20).all()
    assert widths.any()
    assert len({tuple(row) for row in masked[:, 0].tolist()}) > 1
    assert torch.equal(masked.any(dim=1), masked.all(dim=1))  # the same bands in every channel
    assert torch.allclose(got[got != values], values.mean(), atol=1e-5)
    assert changed.any()


def test_masks_can_be_turned_off():
    values = torch.rand(3, 40, 7)
    for settings in (MixSettings(band_masks=0), MixSettings(band_mask_width=0.0)):
        assert mask_bands(values, settings, np.random.default_rng(0)) is values
    few = torch.rand(3, 7, 7)
    assert mask_bands(few, MixSettings(), np.random.default_rng(0)) is few


@pytest.mark.parametrize("shape", [(4, 40, 7), (4, 2, 40, 7)])
def test_an_equaliser_adds_one_smooth_curve_to_every_frame(shape):
    values = torch.rand(shape)
    got = equalise(values, MixSettings(equaliser_db=10.0), np.random.default_rng(0))
    added = got - values
    curve = added[..., 0]
    torch.testing.assert_close(added, curve[..., None].expand(shape), atol=1e-5, rtol=0)
    limit = 10.0 * math.log(10.0) / 10.0  # dB of power, as a natural logarithm
    assert curve.abs().max() <= limit + 1e-5
    assert curve.abs().max() > 0.3 * limit
    assert (curve.diff(dim=-1).abs() <= 2 * limit / 7).all()  # seven bands and more from knot to knot
    assert not torch.allclose(curve[0], curve[1], atol=0.1)
    assert equalise(values, MixSettings(equaliser_db=0.0), np.random.default_rng(0)) is values


# Labels that cannot be learned


def clips_with(tmp_path, **parts):
    """Clips of labels: label=[split, ...]."""
    rows = [
        (f"{label}/{i}.wav", SILENCE, {"label": label, "split": split, "group": f"{label}{i}"})
        for label, splits in parts.items()
        for i, split in enumerate(splits)
    ]
    return write_dataset(tmp_path / "d", rows)


def with_labels(*labels):
    recipe = recipe_of()
    return dataclasses.replace(recipe, data=DataSettings(Path("d"), labels=labels or None, where="d"))


def test_a_label_that_only_what_is_tested_or_stops_the_training_has_is_refused(tmp_path):
    dataset = clips_with(tmp_path, high=["train"] * 4 + ["dev"], low=["train"] * 4 + ["dev"], only=["dev"] * 3)
    fact = 'd: no recording in the training part has the label "only", only ones in the test part; add recordings of it'
    with pytest.raises(DatasetError, match=fact):
        make_training_set(recipe_of(), dataset)
    assert make_training_set(with_labels("high", "low"), dataset).labels == ("high", "low")
    dataset = clips_with(tmp_path / "2", high=["train"] * 4 + ["test", "dev"], low=["train"] * 4, only=["dev"] * 3)
    with pytest.raises(DatasetError, match='has the label "only", only ones in the validation part'):
        make_training_set(recipe_of(), dataset)


def test_a_label_that_nothing_has_is_refused_with_the_nearest(tmp_path):
    dataset = clips_with(tmp_path, high=[None] * 4, low=[None] * 4)
    with pytest.raises(DatasetError, match='has the label "hihg", nor does any other; did you mean "high"'):
        make_training_set(with_labels("hihg", "low"), dataset)


def test_with_a_share_of_0_all_is_learned_and_nothing_is_held_out(tmp_path):
    training_set = make_training_set(recipe_of(validation_share=0.0), tone_task(tmp_path / "tones", groups=4))
    assert (training_set.groups, len(training_set.validation)) == ({"train": 8, "validation": 0}, 0)
    dataset = clips_with(tmp_path, high=["train"] * 4 + ["dev"], low=["train"] * 4 + ["dev"])
    recipe = with_labels()
    recipe = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, split="train"))
    recipe = dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, validation_share=0.0))
    training_set = make_training_set(recipe, dataset)
    assert (training_set.groups["validation"], len(training_set.source.entries), len(training_set.validation)) == (
        0,
        8,
        0,
    )


def test_where_no_process_makes_batches_a_thread_does_and_ends_with_the_loop():
    order, loader = make_loader(recipe_of(examples_per_epoch=10, batch_size=2, workers=0), Counting())
    order.epoch, order.first_step = 2, 1
    plain = [samples[:, 0, 0].tolist() for samples, *_ in loader]
    before = threading.active_count()
    with prefetch_batches(loader) as batches:
        assert (
            [samples[:, 0, 0].tolist() for samples, *_ in batches]
            == plain
            == [[202.0 + i, 203.0 + i] for i in (0, 2, 4, 6)]
        )
    with prefetch_batches(loader) as batches:
        next(batches)
        assert threading.active_count() == before + 1
    assert threading.active_count() == before


def test_a_whole_recording_has_no_target_where_nobody_is_sure(tmp_path):
    notes = tuple(Annotation(*note) for note in ((0.1, 0.3, "tone"), (0.2, 0.5, "?"), (0.6, 0.7, "other")))
    recordings = [("a.wav", SILENCE, {"annotated": True, "annotations": notes})]
    dataset = write_dataset(tmp_path / "d", recordings, unsure="?")
    targets = read_example(dataset, dataset.entries[0], ("tone", "other"), RATE // 10).targets
    unknown = np.nan
    expected = [[0, 0], [1, 0], [1, unknown], *[[unknown, unknown]] * 2, [0, 0], [0, 1], *[[0, 0]] * 3]
    np.testing.assert_array_equal(targets, np.array(expected, np.float32))
