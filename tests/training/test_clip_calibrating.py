"""Mean scores of clips as probabilities, and thresholds of clips with several labels."""

from __future__ import annotations

import numpy as np
import pytest

from audiocnn.evaluation.operating_points import best_threshold, clip_thresholds
from audiocnn.training.calibrate import fit_clip_calibration


def sure_logits(random, clips, labels, gain):
    """Logits of clips whose softmax says the truth at gain 1: labels are drawn from it."""
    true = random.normal(0, 1.5, (clips, labels))
    shares = np.exp(true) / np.exp(true).sum(axis=1, keepdims=True)
    drawn = np.array([random.choice(labels, p=share) for share in shares])
    logits = [np.repeat(row[None] * gain, 1 + number % 3, axis=0).astype(np.float32) for number, row in enumerate(true)]
    return logits, np.eye(labels, dtype=np.float32)[drawn]


@pytest.mark.parametrize("gain", [0.5, 4.0])
def test_a_network_that_is_too_sure_or_not_sure_enough_is_put_right(gain):
    logits, targets = sure_logits(np.random.default_rng(1), 1500, 4, gain)
    fitted = fit_clip_calibration(logits, targets, softmax=True)
    assert fitted.gain == pytest.approx((1 / gain,) * 4, rel=0.12)
    assert fitted.shift == (0.0,) * 4


def test_no_mistake_on_few_clips_is_no_proof():
    targets = np.eye(2, dtype=np.float32)[np.arange(20) % 2]
    logits = [np.log(0.6 * row + 0.2)[None].astype(np.float32) for row in targets]
    gain = fit_clip_calibration(logits, targets, softmax=True).gain[0]
    doubt = 1 / 22
    odds = (1 - doubt / 2) / (doubt / 2)
    assert gain == pytest.approx(np.log(odds) / np.log(4), rel=0.01)


def test_labels_that_stand_alone_have_a_gain_and_a_shift_each():
    random = np.random.default_rng(2)
    true = random.normal(-1.0, 2.0, (3000, 2))
    targets = (random.random((3000, 2)) < 1 / (1 + np.exp(-true))).astype(np.float32)
    logits = [np.repeat((row * [2.0, 0.5] + [1.0, -2.0])[None], 2, axis=0).astype(np.float32) for row in true]
    fitted = fit_clip_calibration(logits, targets, softmax=False)
    assert fitted.gain == pytest.approx((0.5, 2.0), rel=0.1)
    assert fitted.shift == pytest.approx((-0.5, 4.0), abs=0.25)


def test_a_label_that_all_clips_have_stays():
    fitted = fit_clip_calibration([np.zeros((2, 1), np.float32)] * 3, np.ones((3, 1), np.float32), softmax=False)
    assert (fitted.gain, fitted.shift) == ((1.0,), (0.0,))
    alone = fit_clip_calibration([np.zeros((2, 1), np.float32)] * 3, np.ones((3, 1), np.float32), softmax=True)
    assert (alone.gain, alone.shift) == ((1.0,), (0.0,))


def test_what_is_put_right_is_the_mean_score_not_that_of_a_position():
    # half the positions of each clip are sure of its label, the others know nothing: the mean is right in 3 of 4
    random = np.random.default_rng(3)
    labels = (random.random(2000) < 0.5).astype(int)
    heard = np.where(random.random(2000) < 0.75, labels, 1 - labels)
    logits = [np.array([[8.0 * (1 - h), 8.0 * h], [0.0, 0.0]], np.float32) for h in heard]
    fitted = fit_clip_calibration(logits, np.eye(2, dtype=np.float32)[labels], softmax=True)
    assert fitted.gain[0] > 0.6  # of positions alone it would be 0.14, where their odds are 3


def test_the_best_threshold_lies_between_two_scores():
    scores, positive = np.array([0.9, 0.7, 0.6, 0.2]), np.array([True, True, False, False])
    assert best_threshold(scores, positive) == pytest.approx(0.65)
    assert best_threshold(scores, np.array([True, False, True, False])) == pytest.approx(0.4)
    assert best_threshold(np.array([0.5, 0.5, 0.5]), np.array([True, False, True])) == pytest.approx(0.25)
    assert best_threshold(scores / 1000, positive) == pytest.approx(0.65e-3)


def test_clips_are_missed_or_found_wrongly_as_seldom_as_is_promised():
    random = np.random.default_rng(0)
    positive = np.arange(2000) < 1000
    scores = np.clip(np.where(positive, random.normal(0.6, 0.15, 2000), random.normal(0.4, 0.15, 2000)), 0, 1)
    found = clip_thresholds(scores, positive)
    missed = {name: np.mean(scores[positive] < x) for name, x in found.items()}
    wrong = {name: np.mean(scores[~positive] >= x) for name, x in found.items()}
    assert missed["sensitive"] == pytest.approx(0.03) and wrong["precise"] == pytest.approx(0.005)
    assert found["balanced"] == best_threshold(scores, positive)
    assert found["sensitive"] < found["balanced"] < found["precise"]
    apart = clip_thresholds(np.array([0.9, 0.8, 0.2, 0.1]), np.array([True, True, False, False]))
    assert apart == pytest.approx(dict.fromkeys(apart, 0.5)), "one threshold makes no mistake"
