"""Two clips heard as one: shares, powers, and what is equally loud to the ear."""

from __future__ import annotations

import numpy as np
import pytest

from audiocnn.augment.clips import (
    a_weights,
    apply_a_weighting,
    draw_mixup_share,
    loudness_db,
    mix_between_classes,
    mix_clips,
)

RATE = 8000
TIMES = np.arange(RATE) / RATE


def tone(hertz, amplitude=0.1):
    return (amplitude * np.sin(2 * np.pi * hertz * TIMES)).astype(np.float32)[None]


def test_the_weights_are_those_of_the_standard():
    # IEC 61672-1, table 3, A-weighting
    hertz = np.array([31.5, 63.0, 125.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0, 16000.0])
    wanted = [-39.4, -26.2, -16.1, -8.6, -3.2, 0.0, 1.2, 1.0, -1.1, -6.6]
    np.testing.assert_allclose(20 * np.log10(a_weights(hertz)), wanted, atol=0.15)


def test_loudness_is_that_of_the_loudest_tenth_of_a_second():
    assert loudness_db(tone(1000.0, 1.0), RATE) == pytest.approx(-3.01, abs=0.05)
    assert loudness_db(tone(125.0, 1.0), RATE) == pytest.approx(-3.01 - 16.1, abs=0.2)
    short = tone(1000.0, 1.0) * (TIMES < 0.1)
    assert loudness_db(short, RATE) == pytest.approx(-3.0, abs=0.1)
    assert loudness_db(np.zeros((1, 0), np.float32), RATE) == pytest.approx(-100.0)
    assert loudness_db(np.zeros((2, 50), np.float32), RATE) == pytest.approx(-100.0)
    assert apply_a_weighting(np.zeros(0, np.float32), RATE).shape == (0,)


def test_equal_shares_of_unequal_clips_sound_alike_and_keep_the_power_of_one():
    loud, quiet = tone(1000.0, 0.8), tone(2000.0, 0.02)
    both = mix_between_classes(loud, quiet, 0.5, RATE)
    spectrum = np.abs(np.fft.rfft(both[0]))
    heard = spectrum[[1000, 2000]] * a_weights(np.array([1000.0, 2000.0]))
    assert 20 * np.log10(heard[0] / heard[1]) == pytest.approx(0.0, abs=0.1)
    same = mix_between_classes(tone(1000.0), tone(1000.0) * 1.0, 0.3, RATE)
    other = np.roll(tone(1000.0), 2, axis=1)  # a quarter of a period: independent of the first
    assert np.sqrt(np.mean(mix_between_classes(tone(1000.0), other, 0.3, RATE) ** 2)) == pytest.approx(
        0.1 / np.sqrt(2), rel=1e-3
    )
    assert np.abs(same).max() == pytest.approx(0.1 / np.sqrt(0.3**2 + 0.7**2), rel=1e-3)


def test_a_share_of_all_is_one_of_the_two():
    assert mix_between_classes(tone(500.0), tone(900.0), 1.0, RATE).tobytes() == tone(500.0).tobytes()
    assert mix_between_classes(tone(500.0), tone(900.0), 0.0, RATE).tobytes() == tone(900.0).tobytes()


def test_mixup_takes_the_first_as_the_main_one():
    shares = [draw_mixup_share(np.random.default_rng(seed), 0.3) for seed in range(300)]
    assert 0.5 <= min(shares) < 0.6
    assert max(shares) > 0.999
    assert np.mean(np.array(shares) > 0.9) > 0.4  # a beta of 0.3 is mostly at its ends
    np.testing.assert_allclose(mix_clips(np.ones((1, 4)), -np.ones((1, 4)), 0.75), 0.5)
