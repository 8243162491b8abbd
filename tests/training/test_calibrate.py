"""Calibration: log-odds that were bent on purpose are found straight again, and the last layer does it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fixtures_models import SPECS, network_of, noise, spec_named

from audiocnn.training.calibrate import Calibration, fit_calibration, fold_calibration

FOLDS = [name for name in SPECS if "global" not in name and name != "short_window"]


def draw(logits, seed=0):
    """Targets drawn from logits: those are calibrated by themselves."""
    random = np.random.default_rng(seed)
    return (random.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(np.float32)


def test_a_gain_and_a_shift_are_found():
    true = np.random.default_rng(1).normal(-1.0, 2.0, (200_000, 1)).astype(np.float32)
    found = fit_calibration([[(true - 0.6) / 0.4]], [[draw(true)]], softmax=False)
    assert found.gain[0] == pytest.approx(0.4, rel=0.02)
    assert found.shift[0] == pytest.approx(0.6, abs=0.03)


@pytest.mark.parametrize(("low", "high"), [((3.0, 4.9), (5.0, 7.0)), ((0.0, 0.01), (0.01, 0.02)), ((-9, -8), (8, 9))])
def test_what_is_told_apart_without_a_fault_stays_so(low, high):
    """The gain has a bound; where it is reached, scores still lie on both sides of 0.5."""
    random = np.random.default_rng(3)
    given = np.concatenate([random.uniform(*low, 500), random.uniform(*high, 500)]).astype(np.float32)[:, None]
    targets = np.repeat([0.0, 1.0], 500).astype(np.float32)[:, None]
    found = fit_calibration([[given]], [[targets]], softmax=False)
    scores = 1 / (1 + np.exp(-(given.astype(np.float64) * found.gain[0] + found.shift[0])))
    assert scores[500:].mean() > 0.5 > scores[:500].mean()
    assert abs(scores.mean() - 0.5) < 0.02


def test_each_label_gets_its_own_and_what_never_occurs_stays():
    true = np.random.default_rng(1).normal(0.0, 2.0, (100_000, 3)).astype(np.float32)
    targets = draw(true)
    targets[:, 2] = 0.0
    found = fit_calibration([[true * np.float32([2.0, 0.5, 1.0])]], [[targets]], softmax=False)
    assert found.gain == pytest.approx((0.5, 2.0, 1.0), rel=0.03)
    assert (found.gain[2], found.shift[2]) == (1.0, 0.0)


def test_softmax_gets_one_temperature():
    random = np.random.default_rng(2)
    true = random.normal(0.0, 2.0, (100_000, 3)).astype(np.float32)
    shares = np.exp(true) / np.exp(true).sum(axis=1, keepdims=True)
    drawn = (shares.cumsum(axis=1) > random.random((len(true), 1))).argmax(axis=1)
    found = fit_calibration([[3.0 * true]], [[np.eye(3, dtype=np.float32)[drawn]]], softmax=True)
    assert found.gain == pytest.approx((1 / 3,) * 3, rel=0.03)
    assert found.shift == (0.0,) * 3


@pytest.mark.parametrize("softmax", [False, True])
def test_rows_that_nobody_is_sure_of_do_not_count(softmax):
    random = np.random.default_rng(4)
    given = random.normal(0.0, 2.0, (2000, 2)).astype(np.float32)
    targets = draw(given)
    unsure = targets.copy()
    unsure[1000:] = np.nan
    found = fit_calibration([[given]], [[unsure]], softmax)
    assert found == fit_calibration([[given[:1000]]], [[targets[:1000]]], softmax)


@pytest.mark.parametrize("softmax", [False, True])
def test_sets_count_the_same_however_long_they_are(softmax):
    random = np.random.default_rng(5)
    given = random.normal(0.0, 2.0, (4000, 2)).astype(np.float32)
    wide, narrow = draw(2.0 * given, 1), draw(0.5 * given, 2)
    even = fit_calibration([[given], [given]], [[wide], [narrow]], softmax)
    longer = fit_calibration([[given], [given] * 5], [[wide], [narrow] * 5], softmax)
    assert longer.gain == pytest.approx(even.gain, rel=1e-3)
    one_set = fit_calibration([[given] * 6], [[wide, *[narrow] * 5]], softmax)
    assert one_set.gain != pytest.approx(even.gain, rel=0.05)


def test_nothing_known_changes_nothing():
    rows = np.ones((10, 2), np.float32)
    assert fit_calibration([[rows]], [[np.zeros_like(rows)]], False) == Calibration((1.0, 1.0), (0.0, 0.0))
    assert fit_calibration([[rows]], [[np.zeros_like(rows)]], True) == Calibration((1.0, 1.0), (0.0, 0.0))


@pytest.mark.parametrize("name", FOLDS)
def test_the_last_layer_does_it(name):
    network = network_of(spec_named(name))
    samples = network.extended(torch.from_numpy(noise(network.spec, 2, 3000)))
    outputs = network.spec.outputs
    gain, shift = tuple(0.5 + number for number in range(outputs)), tuple(-1.0 + number for number in range(outputs))
    with torch.no_grad():
        before = network.logits_of(network.features(samples))
        assert fold_calibration(network, Calibration(gain, shift))
        after = network.logits_of(network.features(samples))
    assert torch.allclose(after, before * torch.tensor(gain) + torch.tensor(shift), atol=1e-5)


def test_what_ends_in_pooling_is_left_alone():
    network = network_of(spec_named("global_l2"))
    state = {name: value.clone() for name, value in network.state_dict().items()}
    assert not fold_calibration(network, Calibration((2.0,) * 3, (1.0,) * 3))
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
