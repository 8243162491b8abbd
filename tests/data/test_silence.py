"""Where a recording sounds: known stretches of a sine between silence, to the frame of 20 ms."""

from __future__ import annotations

import numpy as np
import pytest

from audiocnn.data import ingest as module
from audiocnn.data.ingest import find_sound, frame_powers

RATE = 8000
FRAME = module.SOUND_FRAME_SECONDS


def sound(seconds, *stretches, channels=1):
    """int16 (channels, samples): a sine at each (onset, offset, amplitude), silence elsewhere."""
    times = np.arange(round(seconds * RATE)) / RATE
    out = np.zeros(len(times))
    for onset, offset, amplitude in stretches:
        inside = (times >= onset) & (times < offset)
        out[inside] = amplitude * np.sin(2 * np.pi * 500 * times[inside])
    return np.repeat(np.rint(out * 32767).astype(np.int16)[None, :], channels, axis=0)


@pytest.mark.parametrize("channels", [1, 2])
def test_silence_around_a_sound_does_not_count(channels):
    assert find_sound(sound(2.0, (0.5, 1.5, 0.3), channels=channels), RATE) == [(0.5, 1.5)]


def test_a_short_pause_belongs_to_the_sound_and_a_long_one_does_not():
    """A pause of 0.3 s, then one of 0.32 s; all edges lie on frames."""
    found = find_sound(sound(3.0, (0.2, 0.5, 0.3), (0.8, 1.0, 0.3), (1.32, 2.0, 0.3)), RATE)
    assert found == [(0.2, 1.0), (1.32, 2.0)]


@pytest.mark.parametrize(("below_db", "heard"), [(39.0, True), (41.0, False)])
def test_what_lies_40_db_below_the_loudest_is_silent(below_db, heard):
    quiet = 0.9 * 10 ** (-below_db / 20)
    found = find_sound(sound(3.0, (0.2, 1.0, 0.9), (2.0, 2.5, quiet)), RATE)
    assert found == [(0.2, 1.0), (2.0, 2.5)] if heard else [(0.2, 1.0)]


def test_nothing_sounds_in_silence_and_in_nothing():
    assert find_sound(sound(1.0), RATE) == []
    assert find_sound(np.zeros((1, 0), np.int16), RATE) == []


def test_the_end_is_that_of_the_recording():
    """1.01 s end inside a frame."""
    assert find_sound(sound(1.01, (0.0, 2.0, 0.5)), RATE) == [(0.0, 1.01)]


def test_powers_are_the_same_however_long_the_blocks(monkeypatch):
    random = np.random.default_rng(0)
    samples = random.integers(-32768, 32768, (2, 1234)).astype(np.int16)
    whole = frame_powers(samples, 100)
    assert whole == pytest.approx(
        [np.mean(samples[:, start : start + 100].astype(float) ** 2) for start in range(0, 1234, 100)], rel=1e-12
    )
    monkeypatch.setattr(module, "_BLOCK_FRAMES", 3)
    assert np.array_equal(frame_powers(samples, 100), whole)
