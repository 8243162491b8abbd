"""Differences between evaluations: paired, with known answers, and against plain resampling."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from audiocnn.errors import UsageError
from audiocnn.evaluation.bootstrap import draw_recordings
from audiocnn.evaluation.compare import compare, is_sure
from audiocnn.evaluation.results import EvaluationSettings, Figure
from audiocnn.evaluation.segments import JudgedRecording, evaluate_scores
from audiocnn.segments.finder import SegmentRule
from audiocnn.segments.segment import Annotation

HOP = 0.02
RULES = {"speech": SegmentRule(pad_seconds=0.0), "music": SegmentRule(pad_seconds=0.0)}
SETTINGS = EvaluationSettings(resamples=200, group_by=("source",))
FEW = replace(SETTINGS, resamples=5)


def recordings(shift, seed=0, count=16):
    """Hard and easy recordings, the same for every shift; speech scores higher by `shift` where there is speech."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(count):
        middles = (np.arange(500) + 0.5) * HOP
        inside = (middles > 2) & (middles < 6)
        log_odds = rng.normal(0, 1, 500) + (shift + rng.normal(1, 0.7)) * inside - 1
        scores = (1 / (1 + np.exp(-log_odds))).astype(np.float32)
        tags = {"source": "ab"[number % 2]}
        made.append(JudgedRecording(f"{number}.wav", scores[:, None], HOP, 10.0, [Annotation(2, 6, "speech")], tags))
    return made


def judged(made, settings=SETTINGS, labels=("speech",)):
    return evaluate_scores(made, labels, RULES, settings)


def test_a_difference_is_second_less_first_and_narrower_than_the_two():
    worse, better = judged(recordings(0.2)), judged(recordings(0.4))
    found = compare(worse, better).labels["speech"]
    for seconds in (None, 0.2, 0.6):
        first, second, difference = (
            (part.smoothed[seconds] if seconds else part.figures)["auroc"]
            for part in (worse.labels["speech"], better.labels["speech"], found)
        )
        assert difference.value == pytest.approx(second.value - first.value, abs=1e-12)
        assert 0 < difference.low < difference.value < difference.high
        assert is_sure(difference)
        # Drawn apart, the two would tell less: their intervals overlap, and that of the difference would be as wide as
        # the two at a right angle.
        assert first.high > second.low
        apart = math.hypot(first.high - first.low, second.high - second.low)
        assert difference.high - difference.low < 0.4 * apart
    assert list(found.figures) == list(worse.labels["speech"].figures)


@pytest.mark.long
def test_the_interval_is_that_of_plain_resampling():
    held = [recordings(shift, count=6) for shift in (0.5, 1.0)]
    settings = replace(SETTINGS, resamples=60, group_by=(), smoothing_seconds=())
    found = compare(*(judged(made, settings) for made in held)).labels["speech"].figures
    none = replace(settings, resamples=0)
    plain = {"miss_rate": [], "onset_error_ms": [], "auroc": [], "calibration_error": []}
    for draw in draw_recordings(6, 60, seed=0):
        first, second = (
            judged([r for r, times in zip(made, draw, strict=True) for _ in range(times)], none).labels["speech"]
            for made in held
        )
        for name, values in plain.items():
            values.append(second.figures[name].value - first.figures[name].value)
    for name, values in plain.items():
        tolerance = {"auroc": 2e-4, "onset_error_ms": 20.0}.get(name, 1e-9)  # bins; the lower of two middles
        low, high = np.percentile(values, (2.5, 97.5))
        assert (found[name].low, found[name].high) == pytest.approx((low, high), abs=tolerance), name


def test_the_same_twice_differs_by_nothing():
    once = judged(recordings(1.0))
    found = compare(once, once)
    for labels in (found.labels, *found.groups["source"].values()):
        for figures in (labels["speech"].figures, *labels["speech"].smoothed.values()):
            for name, figure in figures.items():
                none = name == "false_segment_share"  # every recording holds speech
                expected = (None, None, None) if none else (0.0, 0.0, 0.0)
                assert (figure.value, figure.low, figure.high) == expected, name
                assert not is_sure(figure)


def test_groups_are_compared_each_for_itself():
    first, second = recordings(0.2), recordings(2.0)
    mixed = [second[k] if made.tags["source"] == "b" else made for k, made in enumerate(first)]
    found = compare(judged(first), judged(mixed)).groups["source"]
    assert list(found) == ["a", "b"]
    assert found["a"]["speech"].figures["auroc"].value == 0.0
    assert found["b"]["speech"].figures["auroc"].low > 0.1


def test_draws_in_which_one_is_not_defined_are_left_out():
    first = judged(recordings(1.0, count=4))
    figure = first.labels["speech"].figures["auroc"]
    gaps = figure.resampled.copy()
    gaps[:150] = np.nan
    label = replace(first.labels["speech"], figures={"auroc": replace(figure, resampled=gaps)})
    found = compare(replace(first, labels={"speech": label}), first).labels["speech"].figures
    assert (found["auroc"].low, found["auroc"].high) == (0.0, 0.0)
    assert np.isnan(found["auroc"].resampled).sum() == 150
    undefined = replace(label, figures={"auroc": Figure(None)})
    found = compare(replace(first, labels={"speech": undefined}), first).labels["speech"].figures
    assert found["auroc"] == Figure(None)


def test_a_label_that_one_does_not_have_is_not_there():
    made = recordings(1.0, count=4)
    both = [replace(r, scores=np.repeat(r.scores, 2, axis=1)) for r in made]
    found = compare(judged(both, labels=("speech", "music")), judged(made))
    assert list(found.labels) == list(found.groups["source"]["a"]) == ["speech"]
    found = compare(judged(made), evaluate_scores(made, ("speech",), RULES, SETTINGS, known=()))
    assert (found.labels, found.groups) == ({}, {"source": {"a": {}, "b": {}}})


def test_without_intervals_there_is_the_difference_alone():
    one = replace(SETTINGS, resamples=0)
    figure = compare(judged(recordings(0.5), one), judged(recordings(1.0), one)).labels["speech"].figures["auroc"]
    assert figure.value > 0.01
    assert (figure.low, figure.high) == (None, None)


@pytest.mark.parametrize(
    ("others", "message"),
    [
        (slice(1, None), r"^evaluations of 16 and 15 recordings cannot be compared: 0.wav is in one"),
        (slice(None, None, -1), r"^evaluations of 16 and 16 .*: the order of the recordings differs; evaluate both"),
    ],
)
def test_other_recordings_cannot_be_compared(others, message):
    made = recordings(1.0)
    with pytest.raises(UsageError, match=message):
        compare(judged(made, FEW), judged(made[others], FEW))


def test_other_settings_cannot_be_compared():
    made = recordings(1.0)
    with pytest.raises(UsageError, match=r"different settings and cannot be compared"):
        compare(judged(made, FEW), judged(made, replace(FEW, seed=1)))


def test_other_groups_cannot_be_compared():
    made = recordings(1.0)
    paired = [replace(recording, group="ab"[k % 2]) for k, recording in enumerate(made)]
    message = r"the recordings are grouped differently and cannot be compared"
    with pytest.raises(UsageError, match=message):
        compare(judged(made, FEW), judged(paired, FEW))


def test_groups_that_are_drawn_are_paired():
    """Of the same recordings in the same groups, each draw is the same for both."""
    first, second = (
        judged([replace(r, group=f"g{k // 4}") for k, r in enumerate(recordings(shift))]) for shift in (0.2, 0.4)
    )
    found = compare(first, second).labels["speech"].figures["auroc"]
    before, after = first.labels["speech"].figures["auroc"], second.labels["speech"].figures["auroc"]
    assert np.array_equal(found.resampled, after.resampled - before.resampled)
    assert found.high - found.low < 0.4 * math.hypot(before.high - before.low, after.high - after.low)


def test_a_comparison_is_plain_json_as_an_evaluation_is():
    first, second = judged(recordings(0.5), FEW), judged(recordings(1.0), FEW)
    said, shape = compare(first, second).to_dict(), first.to_dict()
    assert said == json.loads(json.dumps(said, allow_nan=False))
    assert list(said) == ["labels", "groups", "clip"]
    assert said["clip"] is None
    for ours, theirs in (
        (said["labels"]["speech"], shape["labels"]["speech"]),
        (said["groups"]["source"]["a"]["speech"], shape["groups"]["source"]["a"]["speech"]),
    ):
        assert list(ours) == ["figures", "smoothed"]
        assert list(ours["figures"]) == list(theirs["figures"])
        assert {key: list(figures) for key, figures in ours["smoothed"].items()} == {
            key: list(figures) for key, figures in theirs["smoothed"].items()
        }
