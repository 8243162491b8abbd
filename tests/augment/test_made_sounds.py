"""Sounds that nobody recorded: always of power 1, always other ones, and what their kind says."""

from __future__ import annotations

import numpy as np
import pytest

from audiocnn.augment import background
from audiocnn.augment.background import (
    HIGHEST_HERTZ,
    LOWEST_HERTZ,
    _draw_envelope,
    _draw_pitch,
    _synthesize_gust,
    _synthesize_stroke,
    _synthesize_tone,
    synthesize_sound,
)

RATE = 16000


def draw(seed):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("seconds", [0.0, 0.01, 0.1, 2.5])
@pytest.mark.parametrize("rate", [2000, 16000, 44100])
def test_sounds_have_the_length_and_power_asked_for(rate, seconds):
    for seed in range(12):
        sound = synthesize_sound(draw(seed), rate, seconds)
        assert (sound.dtype, len(sound)) == (np.float32, max(2, int(seconds * rate)))
        assert np.isfinite(sound).all()
        if seconds >= 0.1:
            assert np.mean(sound.astype(np.float64) ** 2) == pytest.approx(1.0, rel=1e-3)


def test_the_same_seed_draws_the_same_and_another_another():
    assert np.array_equal(synthesize_sound(draw(3), RATE, 0.5), synthesize_sound(draw(3), RATE, 0.5))
    assert not np.allclose(synthesize_sound(draw(3), RATE, 0.5), synthesize_sound(draw(4), RATE, 0.5))


def test_a_steady_tone_has_its_power_at_its_harmonics(monkeypatch):
    monkeypatch.setattr(
        background, "_draw_pitch", lambda random, rate, samples, hertz: np.full(samples, 200.0, np.float32)
    )
    power = np.abs(np.fft.rfft(_synthesize_tone(draw(1), RATE, RATE) * np.hanning(RATE))) ** 2
    near = sum(power[200 + shift :: 200].sum() for shift in range(-3, 4))
    assert near > 0.999 * power.sum()


def test_pitch_stays_where_tones_are():
    for seed in range(40):
        hertz = _draw_pitch(draw(seed), RATE, RATE // 2, 400.0)
        assert len(hertz) == RATE // 2
        assert hertz.min() >= LOWEST_HERTZ / 2
        assert hertz.max() <= HIGHEST_HERTZ


def test_what_is_struck_dies_away():
    """Behind the last stroke, which comes before three quarters of the time, the sound is quieter than before."""
    falls = 0
    for seed in range(20):
        sound = _synthesize_stroke(draw(seed), RATE, 2 * RATE)
        falls += np.square(sound[-RATE // 8 :]).mean() < 0.5 * np.square(sound).mean()
    assert falls >= 18


def test_a_gust_lies_in_a_band():
    """Between some frequencies lies nearly all of it: not more than four octaves."""
    for seed in range(10):
        power = np.cumsum(np.abs(np.fft.rfft(_synthesize_gust(draw(seed), RATE, RATE))) ** 2)
        low, high = np.searchsorted(power / power[-1], [0.02, 0.98]) + 1
        assert np.log2(high / low) < 4.2


def test_an_envelope_begins_and_ends_in_silence():
    for seed in range(20):
        shape = _draw_envelope(draw(seed), RATE, RATE)
        assert shape[0] == pytest.approx(0.0, abs=1e-6)
        assert shape[-1] == pytest.approx(0.0, abs=1e-6)
        assert 0.0 <= shape.min() <= shape.max() <= 1.0
