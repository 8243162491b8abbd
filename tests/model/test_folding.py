"""Folded kernels give the powers of the plain ones, whatever the frame and the transform."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from audiocnn.model.frontend import FrontEnd, PowerSpectrum, power_plan
from audiocnn.spec.features import InputSpec, cqt_kernels, default_input, hann, mel_matrix

RATE = 16_000


def dft_kernels(spec):
    """(2 * bins, frame_samples): windowed cosines, then windowed sines, of the bins 0 ... fft_samples / 2."""
    spectra = np.fft.rfft(np.diag(hann(spec.frame_samples)), spec.fft_samples).T
    return np.concatenate([spectra.real, spectra.imag])


def stft(frame, fft=None, hop=160, features="stft"):
    spec = dataclasses.replace(default_input(features, RATE), hop_seconds=hop / RATE, scale="power")
    return dataclasses.replace(spec, frame_seconds=frame / RATE, fft_samples=fft or frame)


def plain(spec, frames):
    """(frames, frame_samples) -> (bins, frames) with the kernels as they are."""
    kernels = cqt_kernels(spec) if spec.features == "cqt" else dft_kernels(spec)
    real, imaginary = np.split(kernels @ frames.T, 2)
    return real**2 + imaginary**2


def frames_of(samples, spec):
    return np.lib.stride_tricks.sliding_window_view(samples, spec.frame_samples)[:: spec.hop_samples]


SPECS = [
    *(stft(frame) for frame in (1, 2, 3, 4, 5, 6, 8, 98, 99, 100, 400)),
    *(stft(frame, fft) for frame, fft in ((400, 512), (399, 512), (25, 26), (24, 28))),
    *(stft(64, hop=hop) for hop in (1, 5, 16, 63, 64, 65, 200)),
    dataclasses.replace(default_input("cqt", RATE), scale="power", frame_seconds=0.1),
    dataclasses.replace(default_input("cqt", RATE), scale="power", frame_seconds=0.1 + 1 / RATE, channels=2),
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.features}-{spec.frame_samples}-{spec.fft_samples}")
def test_powers_are_those_of_the_plain_kernels(spec):
    samples = np.random.default_rng(0).normal(0, 0.1, 7 * spec.hop_samples + spec.frame_samples + 3).astype(np.float32)
    wanted = plain(spec, frames_of(samples.astype(np.float64), spec))
    got = FrontEnd(spec)(torch.from_numpy(np.stack([samples, -samples]))[:, None])[:, 0].numpy()
    assert got.shape == (2, *wanted.shape)
    np.testing.assert_allclose(got[0], wanted, rtol=1e-4, atol=1e-6 * max(wanted.max(), 1e-12))
    np.testing.assert_allclose(got[1], got[0], rtol=1e-4, atol=1e-6 * max(wanted.max(), 1e-12))


@pytest.mark.parametrize("frame", [100, 400, 1024])
def test_powers_are_those_of_numpys_fast_transform(frame):
    spec = stft(frame, hop=frame)
    samples = np.random.default_rng(1).normal(0, 0.1, 5 * frame)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(frame) / frame)
    wanted = np.abs(np.fft.rfft(samples.reshape(5, frame) * window)).T ** 2
    got = FrontEnd(spec)(torch.from_numpy(samples.astype(np.float32))[None, None])[0, 0].numpy()
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-6 * wanted.max())


def test_a_transform_as_long_as_its_frame_takes_a_quarter_of_the_products():
    plan = power_plan(stft(400))
    assert plan.second is not None
    assert plan.multiply_adds < 0.26 * dft_kernels(stft(400)).size
    assert power_plan(stft(400, 512)).multiply_adds < 0.51 * dft_kernels(stft(400, 512)).size


def test_bins_that_no_band_hears_are_left_out():
    spec = dataclasses.replace(stft(400, features="log_mel"), low_hertz=1000.0, high_hertz=2000.0)
    plan = power_plan(spec)
    assert sorted(plan.bins) == list(np.flatnonzero(mel_matrix(spec).any(axis=0)))
    assert 1000 < plan.bins.min() * 40 <= plan.bins.max() * 40 < 2000


def test_bands_between_two_bins_hear_nothing_and_say_so_quietly():
    spec = dataclasses.replace(stft(400, features="log_mel"), low_hertz=1001.0, high_hertz=1039.0, mels=2)
    values = FrontEnd(spec)(torch.randn(1, 1, 4000))
    np.testing.assert_allclose(values.numpy(), np.log(spec.floor), rtol=1e-6)


def test_a_pure_tone_lies_in_its_bin():
    spec = stft(400, hop=400)
    tone = np.cos(2 * np.pi * 1000 * np.arange(4000) / RATE).astype(np.float32)
    powers = PowerSpectrum(spec)(torch.from_numpy(tone)[None])[0].numpy()
    assert (powers.argmax(axis=0) == 25).all()
    np.testing.assert_allclose(powers[25], 100.0**2, rtol=1e-4)  # half of the window's sum, squared
    assert powers[:23].max() < 1e-4


def test_no_weight_of_it_is_trained_or_saved():
    module = FrontEnd(InputSpec("mfcc"))
    assert not list(module.parameters())
    assert not module.state_dict()
