"""Resampling of live sound: the samples of the whole, and little held back."""

from __future__ import annotations

import numpy as np
import pytest
import soxr

from audiocnn.audio.resampling import LiveResampler


@pytest.mark.parametrize("rates", [(8000, 16000), (44100, 16000), (48000, 16000), (16000, 8000), (7999, 16000)])
@pytest.mark.parametrize("channels", [1, 2])
def test_pieces_of_any_size_give_the_samples_of_the_whole(rates, channels):
    rate_in, rate_out = rates
    random = np.random.default_rng(rate_in)
    sound = random.normal(0, 0.1, (2 * rate_in + 17, channels)).astype(np.float32)
    wanted = soxr.resample(sound, rate_in, rate_out)
    resampler, found, heard, most = LiveResampler(rate_in, rate_out, channels), [], 0, 0.0
    while heard < len(sound):
        count = int(random.integers(0, rate_in // 20))
        found.append(resampler.resample_chunk(sound[heard : heard + count]))
        heard = min(heard + count, len(sound))
        most = max(most, heard / rate_in - sum(map(len, found)) / rate_out)
    found.append(resampler.resample_chunk(sound[:0], last=True))
    np.testing.assert_allclose(np.concatenate(found), wanted, atol=2e-5)
    assert most <= resampler.held_back_seconds + 1 / min(rates)
    assert resampler.held_back_seconds <= 0.0105 * 16000 / max(8000, min(16000, *rates)) + 1e-9


def test_nothing_and_little_come_out_whole():
    assert LiveResampler(8000, 16000, 1).resample_chunk(np.zeros((0, 1), np.float32), last=True).shape == (0, 1)
    one = LiveResampler(8000, 16000, 1)
    assert len(one.resample_chunk(np.ones((3, 1), np.float32))) == 0
    assert len(one.resample_chunk(np.zeros((0, 1), np.float32), last=True)) == 6


def test_memory_does_not_grow():
    resampler = LiveResampler(48000, 16000, 1)
    for _ in range(500):
        resampler.resample_chunk(np.zeros((960, 1), np.float32))
    assert len(resampler._kept) < 3 * 960


@pytest.mark.parametrize("rates", [(0, 16000), (16000, 0)])
def test_rates_that_cannot_be(rates):
    with pytest.raises((ValueError, ZeroDivisionError, RuntimeError)):
        LiveResampler(*rates, 1).resample_chunk(np.ones((9999, 1), np.float32), last=True)
