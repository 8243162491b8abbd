"""Pieces of sound: a mix is the mean, joined and cut pieces hold the same samples."""

from __future__ import annotations

import numpy as np
import pytest

from audiocnn.audio.channels import select_channels
from audiocnn.audio.recording import concatenate_blocks, cut_blocks

RATE = 16000


def selected(pieces, channel):
    return np.concatenate(list(select_channels(pieces, channel, RATE)))


def piece(frames, channels):
    return np.random.default_rng(frames + channels).normal(0, 0.3, (frames, channels)).astype(np.float32)


def channels_of(*gains, noise=0.0):
    """Two seconds and a bit of one sound in several channels, each with some noise of its own."""
    sound = piece(2 * RATE + 777, 1)
    return (sound * np.array(gains) + noise * piece(len(sound), len(gains))).astype(np.float32)


MIXES = {
    "the other polarity": channels_of(1, -1),
    "nearly the other polarity": channels_of(-0.9, 1, noise=0.01),
    "one of four": channels_of(1, 1, -1, 1),
    "two of four, loud": channels_of(0.01, 1, -1, 0.01, noise=0.001),
    "in part": np.concatenate([channels_of(1, 1), channels_of(1, -1), channels_of(0, 0), channels_of(-1, 1)]),
    "unrelated": piece(2 * RATE + 777, 2),
    "one is silent": channels_of(0, 1),
    "silence": channels_of(0, 0, 0),
    "half as loud": channels_of(1, -0.5),
    "wide": channels_of(1, -0.8, noise=0.7),
    "the same": channels_of(1, 1, 1, 1, 1, 1, 1, 1, 1),
    "many, half of them turned over": channels_of(*[1, -1] * 8),
}


@pytest.mark.parametrize("channels", [1, 2, 3, 7, 8, 64])
def test_a_mix_is_the_mean_and_changes_nothing(channels):
    given = piece(100, channels)
    before = given.copy()
    mean = given.mean(axis=1, keepdims=True, dtype=np.float32)
    np.testing.assert_array_equal(selected([given], "mix"), mean)
    np.testing.assert_array_equal(given, before)


def test_one_channel_or_each():
    given = piece(10, 3)
    assert np.array_equal(selected([given], 2), given[:, 2:])
    assert next(select_channels([given], "each", RATE)) is given


@pytest.mark.parametrize("kind", MIXES)
@pytest.mark.parametrize(
    "sizes",
    [pytest.param([1], marks=pytest.mark.long), [4095], [16384], [100, 1, 0, 7001], [2048 * 3 - 1, 1]],
)
def test_a_mix_does_not_depend_on_the_pieces(kind, sizes):
    given, cuts = MIXES[kind], np.cumsum(sizes * (1 + len(MIXES[kind]) // sum(sizes)))
    pieces = np.split(given, cuts[cuts < len(given)])
    assert np.array_equal(selected(pieces, "mix"), selected([given], "mix"))


@pytest.mark.parametrize("kind", MIXES)
def test_a_mix_is_never_much_fainter_than_its_channels(kind):
    given, frame = MIXES[kind], 4096
    mix = selected([given], "mix")
    assert mix.shape == (len(given), 1)
    for at in range(0, len(given), frame):
        part, mixed = given[at : at + frame].astype(np.float64), mix[at : at + frame].astype(np.float64)
        assert (mixed**2).sum() >= 0.1 * (part**2).sum() / part.shape[1] ** 2 * (1 - 1e-5)


@pytest.mark.parametrize("gain", [-1.0, -0.9, -0.7])
def test_a_channel_of_the_other_polarity_is_turned_over(gain):
    sound = piece(RATE, 1)
    mix = selected([np.concatenate([gain * sound, sound], axis=1)], "mix")
    np.testing.assert_allclose(np.abs(mix), (1 - gain) / 2 * np.abs(sound), rtol=1e-5)
    assert len(set(np.sign(mix[sound != 0] / sound[sound != 0]))) == 1


@pytest.mark.parametrize("kind", ["unrelated", "one is silent", "silence", "half as loud", "wide", "the same"])
def test_channels_that_do_not_cancel_have_their_mean(kind):
    given = MIXES[kind]
    assert np.array_equal(selected([given], "mix"), given.mean(axis=1, keepdims=True, dtype=np.float32))


@pytest.mark.parametrize("sample_rate", [1, 100, 8000, 44100, 384000])
@pytest.mark.parametrize("channels", [2, 3, 1024])
def test_a_mix_holds_little_at_any_rate(sample_rate, channels):
    given, held = np.zeros((1 << 20) // channels, np.float32)[:, None] + np.zeros(channels, np.float32), 0
    for number, mixed in enumerate(select_channels(np.array_split(given, 50), "mix", sample_rate), 1):
        held += len(mixed)
        assert (number * len(given) / 50 - held) * channels <= max(1 << 21, 512 * channels)


@pytest.mark.parametrize("sizes", [[], [1], [5, 5, 5], [1, 2, 3, 100, 1], [0, 7, 0], [64]])
def test_cut_or_joined_the_samples_are_the_same(sizes):
    pieces = [piece(size, 2) for size in sizes]
    whole = np.concatenate([np.zeros((0, 2), np.float32), *pieces])
    blocks = list(cut_blocks(pieces, 7))
    assert [block.shape for block in blocks] == [(2, min(7, len(whole) - at)) for at in range(0, len(whole), 7)]
    assert np.array_equal(np.concatenate([np.zeros((2, 0)), *blocks], axis=1).T, whole)
    together = list(concatenate_blocks(pieces, 6))
    assert all(len(part) >= 6 for part in together[:-1])
    assert np.array_equal(np.concatenate([np.zeros((0, 2)), *together]), whole)
