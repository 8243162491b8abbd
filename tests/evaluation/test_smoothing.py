"""Smoothed scores against answers by hand and against a plain sum."""

from __future__ import annotations

import math

import numpy as np
import pytest

from audiocnn.evaluation.metrics import Frames, curve_values, frame_labels, grid_rows, scores_on_grid, smooth_scores
from audiocnn.evaluation.segments import JudgedRecording, evaluate_scores
from audiocnn.segments.finder import SegmentRule
from audiocnn.segments.segment import Annotation


def chances(log_odds):
    return 1 / (1 + np.exp(-np.asarray(log_odds, dtype=np.float64)))


def test_the_mean_is_that_of_the_log_odds():
    # 30 ms of 10 ms rows: three count in full; at the ends two are there.
    scores = chances([0.0, 3.0, 0.0, -6.0, 0.0])
    assert smooth_scores(scores, 0.01, 0.03) == pytest.approx(chances([1.5, 1.0, -1.0, -2.0, -3.0]), abs=1e-6)


def test_an_even_number_of_rows_has_halves_at_its_ends():
    scores = chances([0.0, 0.0, 4.0, 0.0, 0.0])
    assert smooth_scores(scores, 0.01, 0.02) == pytest.approx(chances([0, 1, 2, 1, 0]), abs=1e-6)


@pytest.mark.parametrize("over_seconds", [0.01, 0.2, 0.6, 0.33, 100.0])
def test_it_is_a_plain_mean_over_what_is_there(over_seconds):
    log_odds = np.random.default_rng(0).normal(0, 3, 150)
    smoothed = smooth_scores(chances(log_odds), 0.01, over_seconds)
    fine = np.repeat(log_odds, 100)  # 0.1 ms each
    for row in (0, 3, 75, 120, 149):
        middle, half = row * 100 + 50, round(over_seconds / 2 / 1e-4)
        mean = fine[max(0, middle - half) : middle + half].mean()
        assert smoothed[row] == pytest.approx(chances(mean), abs=1e-5)


def test_ones_and_zeros_are_held_off_their_ends():
    limit = math.log(1e-6) - math.log1p(-1e-6)
    smoothed = smooth_scores(np.array([0.0, 1.0, 0.5], np.float32), 0.01, 0.03)
    assert smoothed == pytest.approx(chances([0.0, 0.0, -limit / 2]), abs=1e-4)
    assert np.isfinite(smoothed).all()
    assert smooth_scores(np.zeros(0, np.float32), 0.01, 0.2).shape == (0,)


@pytest.mark.parametrize("over_seconds", [1e-18, 1e-300, 0.001])
def test_less_than_a_row_smooths_nothing(over_seconds):
    scores = np.random.default_rng(1).random(1000).astype(np.float32)
    assert np.array_equal(smooth_scores(scores, 0.01, over_seconds), smooth_scores(scores, 0.01, 0.01))


def test_order_stays_where_nothing_is_smoothed():
    scores = np.random.default_rng(1).random(1000).astype(np.float32)
    assert smooth_scores(scores, 0.01, 0.01) == pytest.approx(scores, abs=1e-6)


def test_an_evaluation_smooths_the_scores_on_the_grid():
    rng = np.random.default_rng(2)
    recordings = []
    for number in range(4):
        inside = (np.arange(500) >= 100) & (np.arange(500) < 300)
        scores = chances(rng.normal(0, 2, 500) + 2 * inside).astype(np.float32)
        speech = [Annotation(2.0, 6.0, "speech")]
        recordings.append(JudgedRecording(f"{number}.wav", scores[:, None], 0.02, 10.0, speech))
    found = evaluate_scores(recordings, ["speech"], {"speech": SegmentRule()}).labels["speech"]
    assert list(found.smoothed) == [0.2, 0.6]
    rows = grid_rows(10.0, 0.01)
    for seconds, figures in found.smoothed.items():
        scores = [smooth_scores(scores_on_grid(r.scores[:, 0], 0.02, rows, 0.01), 0.01, seconds) for r in recordings]
        positive = np.tile(frame_labels(recordings[0].annotations, "speech", rows, 0.01), 4)
        assert {name: figure.value for name, figure in figures.items()} == curve_values(
            Frames(positive, np.concatenate(scores))
        )
    areas = [found.figures["auroc"], found.smoothed[0.2]["auroc"], found.smoothed[0.6]["auroc"]]
    assert areas[0].high < areas[1].low < areas[1].value < areas[2].value
