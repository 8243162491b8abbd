"""Pieces of sound: a mix is the mean, joined and cut pieces hold the same samples."""

from __future__ import annotations

import numpy as np
import pytest

from audiocnn.pieces import in_blocks, joined, pick


def piece(frames, channels):
    return np.random.default_rng(frames + channels).normal(0, 0.3, (frames, channels)).astype(np.float32)


@pytest.mark.parametrize("channels", [1, 2, 3, 7, 8, 64])
def test_a_mix_is_the_mean_and_changes_nothing(channels):
    given = piece(100, channels)
    before = given.copy()
    np.testing.assert_array_equal(pick(given, "mix"), given.mean(axis=1, keepdims=True, dtype=np.float32))
    np.testing.assert_array_equal(given, before)


def test_one_channel_or_each():
    given = piece(10, 3)
    assert np.array_equal(pick(given, 2), given[:, 2:])
    assert pick(given, "each") is given


@pytest.mark.parametrize("sizes", [[], [1], [5, 5, 5], [1, 2, 3, 100, 1], [0, 7, 0], [64]])
def test_cut_or_joined_the_samples_are_the_same(sizes):
    pieces = [piece(size, 2) for size in sizes]
    whole = np.concatenate([np.zeros((0, 2), np.float32), *pieces])
    blocks = list(in_blocks(pieces, 7))
    assert [block.shape for block in blocks] == [(2, min(7, len(whole) - at)) for at in range(0, len(whole), 7)]
    assert np.array_equal(np.concatenate([np.zeros((2, 0)), *blocks], axis=1).T, whole)
    together = list(joined(pieces, 6))
    assert all(len(part) >= 6 for part in together[:-1])
    assert np.array_equal(np.concatenate([np.zeros((0, 2)), *together]), whole)
