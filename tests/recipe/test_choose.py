"""What is chosen for clips, by enumeration: labels, counts, lengths, rates, unevenness."""

from __future__ import annotations

import dataclasses
import tomllib

import pytest
import tomli_w

from audiocnn.augment.settings import MixSettings
from audiocnn.errors import DatasetError
from audiocnn.model.model import spec_folders
from audiocnn.recipe.choose import (
    DEFAULT_CLIP_SPEC,
    EXAMPLES,
    MULTIPLY_ADDS,
    ClipFacts,
    SegmentFacts,
    choose_rate,
    choose_segment_settings,
    choose_settings,
    explain_choice,
)
from audiocnn.recipe.recipe import Recipe, read_recipe
from audiocnn.recipe.settings import LEAST_BATCHES, TrainSettings
from audiocnn.spec.describe import per_second
from audiocnn.spec.spec import find_spec, spec_at_rate

RATES = (4_000, 8_000, 11_025, 16_000)


def spec_named(name=DEFAULT_CLIP_SPEC):
    return find_spec(name, spec_folders())


def facts(labels=4, clips=50, seconds=1.0, rate=16_000, **more):
    """Labels of so many clips each, all of one length."""
    counts = {f"label{number}": clips for number in range(labels)}
    return ClipFacts(counts, (seconds, seconds, seconds, seconds), rate, **more)


def choice_of(known, name=DEFAULT_CLIP_SPEC):
    return choose_settings(known, spec_at_rate(spec_named(name), known.sample_rate))


def examples_in(choice, known):
    """Of the whole training."""
    train = choice.train
    each = train.examples_per_epoch or max(known.total, LEAST_BATCHES * train.batch_size)
    return train.epochs * each


@pytest.mark.parametrize(
    ("rates", "chosen"),
    [
        ({}, 16_000),
        ({8_000: 10}, 8_000),
        ({16_000: 10}, 16_000),
        ({44_100: 10}, 16_000),
        ({11_025: 10}, 11_025),
        ({2_000: 1}, 2_000),
        ({200: 1}, 200),
        ({8_000: 3, 16_000: 2}, 8_000),
        ({8_000: 2, 44_100: 3}, 16_000),
        ({8_000: 1, 16_000: 1}, 8_000),
        ({192_000: 1}, 16_000),
    ],
)
def test_the_rate_is_that_of_the_recordings_and_never_one_that_most_do_not_have(rates, chosen):
    assert choose_rate(rates) == chosen


@pytest.mark.parametrize("rate", [*RATES, 32_000, 44_100])
@pytest.mark.parametrize("name", [DEFAULT_CLIP_SPEC, "bc_resnet_1", "conv_ab_2d"])
def test_a_network_takes_any_rate(rate, name):
    spec = spec_at_rate(spec_named(name), rate)
    assert spec.input.sample_rate == rate
    assert spec.input.high_hertz <= rate / 2
    assert spec.input.fft_samples >= spec.input.frame_samples
    again = spec_at_rate(spec, rate)
    assert again is spec


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("seconds", [0.01, 0.1, 0.43, 1.0, 4.0, 60.0, 3600.0])
@pytest.mark.parametrize(("labels", "clips"), [(2, 1), (2, 6), (10, 270), (35, 3000), (10_000, 2)])
def test_every_choice_is_a_network_and_a_training_of_bounded_cost(rate, seconds, labels, clips):
    known = facts(labels, clips, seconds, rate)
    choice = choice_of(known)
    assert choice.spec.f.output == "softmax"
    assert choice.spec.input.sample_rate == rate
    assert 0.2 <= choice.spec.f.window_seconds <= 2.0
    assert choice.spec.f.window_seconds <= choice.mix.seconds <= 4.0
    examples = examples_in(choice, known)
    assert 0.6 * EXAMPLES[0] <= examples <= 1.5 * EXAMPLES[1]
    cost = examples * choice.mix.seconds * per_second(choice.spec.with_classes(labels), choice.spec.geometry())
    assert cost <= 1.5 * MULTIPLY_ADDS or examples <= 1.5 * EXAMPLES[0]
    before = Recipe("own", spec_named(), None, MixSettings(), TrainSettings())
    assert len(explain_choice(known, choice.recipe(before))) == 4


@pytest.mark.parametrize(
    ("seconds", "window", "example"),
    [(0.1, 0.2, 0.2), (0.43, 0.45, 0.45), (1.0, 1.0, 1.0), (3.0, 2.0, 3.0), (3600, 2.0, 4.0)],
)
def test_a_window_holds_nine_in_ten_clips_up_to_two_seconds(seconds, window, example):
    choice = choice_of(facts(seconds=seconds))
    assert (choice.spec.f.window_seconds, choice.mix.seconds) == (window, example)


def test_long_clips_do_not_make_a_window_for_short_ones():
    known = dataclasses.replace(facts(), seconds=(0.2, 0.4, 0.6, 900.0))
    assert choice_of(known).spec.f.window_seconds == 0.6


@pytest.mark.parametrize(("labels", "said"), [(0, "found no label"), (1, 'found only one label, "label0"')])
def test_with_less_than_two_labels_there_is_nothing_to_tell_apart(labels, said):
    with pytest.raises(
        DatasetError, match=f'{said}: nothing to distinguish; add a folder of other sounds, such as "other"'
    ):
        choice_of(facts(labels))


def test_one_label_may_stand_alone_where_a_clip_may_have_none():
    choice = choice_of(facts(1, several=True))
    assert choice.spec.f.output == "sigmoid"


def test_a_few_clips_are_trained_on_fast_and_warned_about():
    choice = choice_of(facts(2, 6))
    assert examples_in(choice, facts(2, 6)) <= 2_600
    assert choice.train.batch_size == 8
    [line] = choice.warnings
    assert line.startswith("2 labels have fewer than 20 clips, the rarest 6 clips: enough to try things out")
    assert choice_of(facts(2, 500)).warnings == ()


def test_uneven_labels_are_evened_out():
    known = ClipFacts({"rain": 1000, "bat": 10}, (1.0, 1.0, 1.0, 1.0), 16_000)
    assert known.unevenness == 100
    uneven, even = choice_of(known).train, choice_of(facts(2, 500)).train
    assert (uneven.balance, even.balance) == ("sampling", "none")


@pytest.mark.parametrize("keep", ["sizes", "all"])
def test_a_network_that_was_named_keeps_its_sizes(keep):
    spec = spec_named("speech_1d")
    choice = choose_settings(facts(), spec, keep)
    assert choice.spec.table == spec.table
    assert choose_settings(facts(several=True), spec_named("matchbox"), "sizes").spec.f.output == "sigmoid"
    assert choose_settings(facts(several=True), spec_named("matchbox"), "all").spec.f.output == "softmax"


def test_all_that_was_chosen_stands_in_the_recipe(tmp_path):
    before = Recipe("own", spec_named(), None, MixSettings(), TrainSettings())
    made = choice_of(facts(3, 100, 0.7, 8_000)).recipe(before)
    (tmp_path / "recipe.toml").write_text(tomli_w.dumps(made.to_table()), encoding="utf-8")
    read = read_recipe(tmp_path / "recipe.toml")
    assert (read.mix, read.train, read.spec.table) == (made.mix, made.train, made.spec.table)
    assert tomllib.loads((tmp_path / "recipe.toml").read_text(encoding="utf-8"))["spec"]["f"]["window_seconds"] == 0.7


def segment_facts(seconds, marked=None, recordings=8):
    return SegmentFacts({"speech": seconds / 2 if marked is None else marked}, seconds, recordings, recordings)


@pytest.mark.parametrize("seconds", [10, 80, 1_000, 36_000, 1_000_000])
@pytest.mark.parametrize("name", ["speech_1d", "speech_2d"])
def test_a_detector_is_trained_as_long_as_clips_of_that_length_would_be(seconds, name):
    spec = spec_named(name)
    train = choose_segment_settings(segment_facts(seconds), spec).train
    examples = train.epochs * train.examples_per_epoch
    cost = MixSettings().seconds * per_second(spec.with_classes(1), spec.geometry())
    assert EXAMPLES[0] <= examples <= 1.2 * max(EXAMPLES[0], min(EXAMPLES[1], MULTIPLY_ADDS / cost))
    assert train.examples_per_epoch >= LEAST_BATCHES * train.batch_size
    assert 50 <= train.validation_examples <= 400
    default = TrainSettings()
    if seconds <= 1_000:  # what was 40 epochs of 3000 for whatever there was
        assert examples < 0.1 * default.epochs * default.examples_per_epoch


@pytest.mark.parametrize(("marked", "few"), [(30.0, True), (119.0, True), (121.0, False)])
def test_little_that_is_marked_is_warned_of_with_how_much_it_is(marked, few):
    warnings = choose_segment_settings(segment_facts(1_000, marked), spec_named("speech_1d")).warnings
    assert bool(warnings) == few
    assert not few or ("speech" in warnings[0] and "8 recordings" in warnings[0])
