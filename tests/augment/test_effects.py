"""Augmentation as arithmetic: powers, SNR, causality, bands; and the same sound for the same seed."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
from sounds import sine

from audiocnn.augment import effects

RATE = 16_000


def random(seed=0):
    return np.random.default_rng(seed)


def decibels_of(samples, other):
    return 10 * math.log10(effects.power(samples) / effects.power(other))


def test_decibels_are_of_amplitude():
    assert effects.db_to_amplitude(20.0) == pytest.approx(10.0)
    assert effects.db_to_amplitude(-6.0) == pytest.approx(0.5012, abs=1e-4)
    assert effects.db_to_amplitude(0.0) == 1.0


def test_the_power_of_a_sine_is_half_its_amplitude_squared():
    assert effects.power(sine(100.0, 1.0, RATE, 0.4)) == pytest.approx(0.08, rel=1e-4)
    assert effects.power(np.zeros(0, np.float32)) == 0.0


@pytest.mark.parametrize("samples", [0, 1, 2, 3, 1000, 1024, 1025])
def test_a_fast_length_is_a_power_of_two_that_is_long_enough(samples):
    fast = effects.fast_length(samples)
    assert fast >= max(samples, 2)
    assert fast & (fast - 1) == 0
    assert fast < 2 * max(samples, 2)


def test_a_convolution_is_numpys_and_causal():
    sound, kernel = random(1).normal(size=500).astype(np.float32), random(2).normal(size=120).astype(np.float32)
    got = effects.convolve(sound, kernel)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, np.convolve(sound, kernel)[:500], atol=1e-4)
    late = np.zeros(500, np.float32)
    late[300] = 1.0
    assert np.abs(effects.convolve(late, kernel)[:300]).max() < 1e-6


@pytest.mark.parametrize("slope", [-0.5, 0.0, 1.0, 2.0])
def test_coloured_noise_has_power_1_and_the_slope(slope):
    noise = effects.draw_noise(random(), 2**16, slope)
    assert (noise.dtype, len(noise)) == (np.float32, 2**16)
    assert effects.power(noise) == pytest.approx(1.0, rel=1e-4)
    spectrum = np.abs(np.fft.rfft(noise)) ** 2
    octaves = [spectrum[2**k : 2 ** (k + 1)].mean() for k in range(6, 15)]
    fitted = -np.polyfit(np.arange(6, 15), np.log2(octaves), 1)[0]
    assert fitted == pytest.approx(slope, abs=0.1)


@pytest.mark.parametrize("direct_db", [-3.0, 0.0, 12.0])
def test_a_room_has_energy_1_and_the_direct_sound_first(direct_db):
    room = effects.draw_room(random(), RATE, 0.5, direct_db)
    assert (room.dtype, len(room)) == (np.float32, 8000)
    assert np.sum(room * room) == pytest.approx(1.0, rel=1e-5)
    direct, tail = room[0] ** 2, np.sum(room[1:] ** 2)
    assert 10 * math.log10(direct / tail) == pytest.approx(direct_db, abs=0.01)
    assert not room[1:17].any()  # the first reflection comes a millisecond later, or more


def test_the_tail_of_a_room_falls_by_60_db_in_its_seconds():
    tails = [effects.draw_room(random(seed), RATE, 0.5, -30.0)[400:].astype(np.float64) ** 2 for seed in range(40)]
    levels = 10 * np.log10(np.mean(tails, axis=0))
    slope = np.polyfit(np.arange(400, 8000) / RATE, levels, 1)[0]
    assert slope * 0.5 == pytest.approx(-60.0, abs=1.5)


def test_a_room_of_no_length_is_the_direct_sound():
    np.testing.assert_allclose(effects.draw_room(random(), RATE, 0.0, 0.0), [1.0, 0.0], atol=1e-6)


@pytest.mark.parametrize(
    ("hertz", "kept"),
    [(50, False), (230, False), (310, True), (1000, True), (3300, True), (4300, False), (7000, False)],
)
def test_band_limiting_keeps_a_sine_or_takes_it_away(hertz, kept):
    """Between 300 and 3400 Hz nothing changes; a quarter of an octave outside nothing is left."""
    tone = sine(hertz, 2**15 / RATE, RATE)
    got = effects.limit_band(tone, RATE, 300.0, 3400.0)
    middle = slice(4000, -4000)
    if kept:
        assert decibels_of(got[middle], tone[middle]) == pytest.approx(0.0, abs=0.05)
    else:
        assert decibels_of(got[middle] + np.float32(1e-9), tone[middle]) < -50


def test_a_tilt_is_a_straight_line_around_1_khz():
    for hertz, wanted in ((250, -6.0), (500, -3.0), (1000, 0.0), (4000, 6.0)):
        tone = sine(hertz, 2**15 / RATE, RATE)
        assert decibels_of(effects.tilt_spectrum(tone, RATE, 3.0)[4000:-4000], tone[4000:-4000]) == pytest.approx(
            wanted, abs=0.1
        )


@pytest.mark.parametrize(
    ("mark", "heard"),
    [
        ((1000, 12_000), (4000, 8000)),  # to where it is within 20 dB of the loudest
        ((4000, 8000), (4000, 8000)),
        ((4000, 8077), (4000, 8000)),
        ((4007, 7993), (4007, 7993)),  # a mark that is right stays, to the sample
        ((-500, 16_500), (-500, 16_500)),  # a mark that goes on beyond the cut stays
        ((-500, 12_000), (-500, 8000)),
        ((4000, 4100), (4000, 4100)),  # too short to judge
        ((12_000, 14_000), (12_000, 14_000)),  # nothing to be heard at all
    ],
)
def test_a_mark_is_drawn_in_to_where_the_sound_is_audible(mark, heard):
    sound = np.zeros(16_000, np.float32)
    sound[4000:8000] = 0.5
    sound[8000:9000] = 0.02  # 28 dB below
    assert effects.trim_mark(sound, mark, RATE, 20.0) == pytest.approx(heard, abs=RATE // 200)
    if heard == mark:
        assert effects.trim_mark(sound, mark, RATE, 20.0) == mark


@pytest.mark.parametrize("speed", [0.9, 1.1, 0.5, 2.0])
def test_another_speed_moves_the_pitch_and_the_length(speed):
    tone = sine(440.0, 1.0, RATE)
    got = effects.change_speed(tone, speed)
    assert got.dtype == np.float32
    assert abs(len(got) - RATE / speed) <= 2
    spectrum = np.abs(np.fft.rfft(got * np.hanning(len(got))))
    assert spectrum.argmax() * RATE / len(got) == pytest.approx(440.0 * speed, abs=1.5)


def test_the_same_speed_and_no_sound_are_left_alone():
    tone = sine(440.0, 0.1, RATE)
    assert effects.change_speed(tone, 1.0) is tone
    assert len(effects.change_speed(np.zeros(0, np.float32), 1.1)) == 0


def test_clipping_cuts_at_a_share_of_the_peak():
    got = effects.clip_peaks(np.array([0.1, -0.8, 0.5], np.float32), 0.5)
    assert got.tolist() == pytest.approx([0.1, -0.4, 0.4])
    assert effects.clip_peaks(np.zeros(0, np.float32), 0.5).shape == (0,)


def test_fades_are_ramps_at_both_ends_and_do_not_change_what_they_are_given():
    ones = np.ones(10, np.float32)
    assert effects.fade_edges(ones, 3).tolist() == [0.0, 0.5, 1, 1, 1, 1, 1, 1, 0.5, 0.0]
    assert ones.all()
    assert effects.fade_edges(ones, 0).tolist() == [1.0] * 10
    assert effects.fade_edges(np.ones(3, np.float32), 100).tolist() == [0.0, 1.0, 0.0]
    assert effects.fade_edges(np.ones(0, np.float32), 5).shape == (0,)


def test_nothing_is_changed_in_place():
    tone = sine(440.0, 0.2, RATE)
    kept = tone.copy()
    effects.convolve(tone, np.ones(3, np.float32))
    effects.limit_band(tone, RATE, 300.0, 3400.0)
    effects.tilt_spectrum(tone, RATE, 3.0)
    effects.clip_peaks(tone, 0.1)
    effects.change_speed(tone, 1.1)
    assert np.array_equal(tone, kept)


@pytest.mark.parametrize(
    "make", [lambda r: effects.draw_noise(r, 5000, 1.0), lambda r: effects.draw_room(r, RATE, 0.3, 3.0)]
)
def test_the_same_seed_makes_the_same_sound(make):
    one, two, other = (hashlib.sha256(make(random(seed)).tobytes()).digest() for seed in (1, 1, 2))
    assert one == two
    assert one != other
