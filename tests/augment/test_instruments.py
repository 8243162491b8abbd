"""Made instruments: notes of a pitch, that die away or not; tunes of any length at any rate."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from audiocnn.augment.instruments import Instrument, draw_tune

RATE = 16_000
PLAIN = dataclasses.replace(
    Instrument.draw(np.random.default_rng(0), RATE),
    modulated=False, struck=False, odd=False, stiffness=0.0, vibrato_semitones=0.0, bend_semitones=0.0,
    attack_seconds=0.01, release_seconds=0.01, body_hertz=np.array([500.0]),
)  # fmt: skip


def peaks(samples):
    """Hertz of all that is no more than 40 dB below the strongest."""
    power = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
    inside = (power[1:-1] > power[:-2]) & (power[1:-1] > power[2:]) & (power[1:-1] > 1e-4 * power.max())
    return (np.flatnonzero(inside) + 1) * RATE / len(samples)


def note(instrument, hertz=400.0, seconds=1.0):
    return instrument.note(np.random.default_rng(1), hertz, seconds, RATE)


@pytest.mark.parametrize("odd", [False, True])
def test_a_note_has_the_harmonics_of_its_pitch(odd):
    found = peaks(note(dataclasses.replace(PLAIN, odd=odd, slope=0.2)))
    numbers = found / 400.0
    np.testing.assert_allclose(numbers, numbers.round(), atol=0.01)
    assert {1, 3} <= set(numbers.round())
    assert (2 in numbers.round()) != odd


def test_stiff_strings_have_stretched_harmonics():
    found = peaks(note(dataclasses.replace(PLAIN, stiffness=1e-3, slope=0.2)))
    third = found[np.argmin(np.abs(found - 1200.0))]
    assert third == pytest.approx(1200.0 * np.sqrt(1.0 + 9e-3), abs=1.5)


@pytest.mark.parametrize("modulated", [False, True])
def test_what_is_struck_dies_away_and_what_is_held_does_not(modulated):
    for struck in (False, True):
        sound = note(dataclasses.replace(PLAIN, modulated=modulated, struck=struck, decay_seconds=0.2, ratio=2.0))
        early, late = (float(np.mean(part**2)) for part in (sound[1600:4800], sound[11200:14400]))
        assert (late < 0.01 * early) == struck


@pytest.mark.parametrize("hertz", [45.0, 700.0, 3200.0])
def test_no_partial_is_above_half_of_the_rate(hertz):
    for seed in range(40):
        random = np.random.default_rng(seed)
        instrument = dataclasses.replace(Instrument.draw(random, RATE), bend_semitones=0.0, attack_seconds=0.05)
        sound = instrument.note(random, hertz, 0.5, RATE)
        power = np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) ** 2
        assert np.isfinite(sound).all()
        assert power[int(0.98 * len(power)) :].sum() < 0.01 * power.sum()


@pytest.mark.parametrize(("rate", "length"), [(16000, 16000), (16000, 100), (8000, 5200), (2000, 20000)])
def test_tunes_have_their_length_and_are_the_same_for_the_same_numbers(rate, length):
    tunes = [[draw_tune(np.random.default_rng(seed), rate, length) for seed in range(30)] for _ in range(2)]
    for one, other in zip(*tunes, strict=True):
        assert (one.shape, one.dtype) == ((length,), np.float32)
        assert np.isfinite(one).all()
        assert np.array_equal(one, other)
    assert sum(bool(np.abs(one).max() > 0) for one in tunes[0]) >= 20
