"""Features against librosa and scipy, and against sounds whose answer is known.

Tolerances. Constants of released models agree with librosa's to 1e-6 of the largest. The front end runs in float32:
powers agree with librosa to 5e-6 of the frame's largest, natural logarithms of mel powers to 5e-5 where the power lies
above the floor by a factor of 100.
"""

from __future__ import annotations

import dataclasses
import math

import librosa
import numpy as np
import onnx
import pytest
import scipy.fft
import scipy.signal
import torch
from sounds import sine

from audiocnn.errors import SpecError
from audiocnn.model.frontend import FrontEnd
from audiocnn.model.model import find_model, shipped_models
from audiocnn.model.network import Network
from audiocnn.spec import features
from audiocnn.spec.features import COMMON_KEYS, FEATURE_KEYS, FEATURES, InputSpec, default_input, read_input
from audiocnn.toml import TomlTable

CONSTANT = 1e-6  # of the largest
POWER = 5e-6  # of the largest in the frame
LOG = 5e-5


def spec_of(kind, **changes):
    changes = {"sample_rate": 16_000, **changes}
    return dataclasses.replace(default_input(kind, changes["sample_rate"]), **changes)


def noise(seconds=0.5, sample_rate=16_000, seed=0):
    """Noise with a tone in it, float32 (samples,), of about the loudness of speech."""
    samples = np.random.default_rng(seed).normal(0, 0.05, round(seconds * sample_rate))
    return (samples + sine(440.0, seconds, sample_rate, 0.3)).astype(np.float32)


def run(spec, samples):
    """(bands, frames) of mono samples."""
    return FrontEnd(spec)(torch.from_numpy(samples)[None, None])[0, 0].numpy()


def assert_close_to_the_loudest(got, wanted):
    """Within `POWER` of the largest of each frame."""
    assert got.shape == wanted.shape
    assert np.max(np.abs(got - wanted) / wanted.max(axis=0)) <= POWER


# The constants


@pytest.mark.parametrize("samples", [1, 2, 5, 400, 401])
def test_the_window_is_scipys_periodic_hann(samples):
    wanted = scipy.signal.get_window("hann", samples, fftbins=True)
    np.testing.assert_allclose(features.hann(samples), wanted, atol=1e-15)


@pytest.mark.parametrize("scale", ["slaney", "htk"])
def test_mel_scales_are_librosas_and_have_inverses(scale):
    hertz = np.array([0.0, 20.0, 999.0, 1000.0, 1001.0, 4000.0, 8000.0, 24000.0])
    mels = features.hz_to_mel(hertz, scale)
    np.testing.assert_allclose(mels, librosa.hz_to_mel(hertz, htk=scale == "htk"), rtol=1e-12)
    np.testing.assert_allclose(features.mel_to_hz(mels, scale), hertz, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("norm", ["slaney", "none"])
@pytest.mark.parametrize("scale", ["slaney", "htk"])
@pytest.mark.parametrize(
    ("rate", "fft", "mels", "low", "high"),
    [
        (16_000, 400, 64, 0.0, 8000.0),
        (16_000, 512, 40, 50.0, 7600.0),
        (44_100, 2048, 128, 20.0, 22_050.0),
        (8000, 255, 20, 0.0, 4000.0),
    ],
)
def test_the_mel_matrix_is_librosas(scale, norm, rate, fft, mels, low, high):
    edges = {"mels": mels, "low_hertz": low, "high_hertz": high}
    spec = spec_of("mel", sample_rate=rate, fft_samples=fft, mel_scale=scale, mel_norm=norm, **edges)
    wanted = librosa.filters.mel(
        sr=rate, n_fft=fft, n_mels=mels, fmin=low, fmax=high, htk=scale == "htk",
        norm=None if norm == "none" else "slaney", dtype=np.float64,
    )  # fmt: skip
    np.testing.assert_array_equal(features.mel_matrix(spec), wanted)
    corners = librosa.mel_frequencies(mels + 2, fmin=low, fmax=high, htk=scale == "htk")
    np.testing.assert_allclose(features.mel_edges(spec), corners, rtol=1e-12, atol=1e-9)


def test_a_band_that_hears_nothing_is_no_reason_to_warn(recwarn):
    spec = spec_of("mel", mels=2, low_hertz=1001.0, high_hertz=1039.0)
    assert not features.mel_matrix(spec).any()
    assert not list(recwarn)


@pytest.mark.parametrize("folder", list(shipped_models()), ids=lambda folder: folder.name)
def test_released_models_hold_the_constants_of_librosa(folder):
    """What a network is made with today is what was exported."""
    model = find_model(folder.name)
    made = dict(Network(model.spec).front_end.named_buffers(prefix="front_end"))
    constants = onnx.load(folder / "model.onnx").graph.initializer
    # Behind a level a graph is joined of two.
    kept = {one.name.removeprefix("front.network."): onnx.numpy_helper.to_array(one) for one in constants}
    names = [name for name in made if made[name].is_floating_point()]
    assert names
    for name in names:
        wanted = made[name].numpy()
        np.testing.assert_allclose(kept[name], wanted, rtol=0, atol=CONSTANT * np.abs(wanted).max(), err_msg=name)


@pytest.mark.parametrize("bands", [1, 2, 13, 64])
def test_the_dct_is_orthonormal_and_scipys(bands):
    matrix = features.dct_matrix(bands, bands)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(bands), atol=1e-12)
    np.testing.assert_allclose(matrix, scipy.fft.dct(np.eye(bands), type=2, norm="ortho", axis=0), atol=1e-12)


# The spectrum


@pytest.mark.parametrize(
    ("rate", "frame", "hop"), [(16_000, 0.025, 0.010), (44_100, 0.04, 0.02), (8000, 0.0325, 0.011)]
)
def test_the_power_is_librosas_where_the_frame_is_the_fft(rate, frame, hop):
    spec = spec_of("stft", sample_rate=rate, frame_seconds=frame, hop_seconds=hop, scale="power")
    spec = dataclasses.replace(spec, fft_samples=spec.frame_samples)
    samples = noise(sample_rate=rate)
    wanted = np.abs(librosa.stft(samples, n_fft=spec.fft_samples, hop_length=spec.hop_samples, center=False)) ** 2
    got = run(spec, samples)
    assert got.shape == wanted.shape == (spec.bands, spec.receptive_field.out(len(samples)))
    assert_close_to_the_loudest(got, wanted)


@pytest.mark.parametrize("fft", [512, 401, 1000])
def test_the_power_is_librosas_where_the_fft_is_longer(fft):
    """librosa sets the window in the middle of the FFT; ours begins where the frame does. The power is the same once
    the samples before the window are left away."""
    spec = spec_of("stft", fft_samples=fft, scale="power")
    samples = noise()
    stft = librosa.stft(samples, n_fft=fft, win_length=400, hop_length=160, center=False)
    got = run(spec, samples[(fft - 400) // 2 :])[:, : stft.shape[1]]
    wanted = np.abs(stft) ** 2
    assert_close_to_the_loudest(got, wanted)


def test_a_tone_in_the_middle_of_a_bin_has_the_power_of_its_window():
    """A sine of amplitude a under a Hann window of n samples: |X| = a / 2 * n / 2 in its bin."""
    spec = spec_of("stft", scale="power")
    got = run(spec, sine(1000.0, 0.2, 16_000, 0.5))
    assert got.argmax(axis=0).tolist() == [25] * got.shape[1]  # 1000 Hz / (16000 Hz / 400)
    np.testing.assert_allclose(got[25], (0.5 / 2 * 400 / 2) ** 2, rtol=1e-5)


@pytest.mark.parametrize("kind", ["stft", "cqt"])
def test_the_scales_are_power_its_root_and_its_logarithm(kind):
    samples = noise(0.6, 8000)
    power, magnitude, log = (
        run(spec_of(kind, sample_rate=8000, scale=scale), samples) for scale in ("power", "magnitude", "log")
    )
    np.testing.assert_allclose(magnitude, np.sqrt(power), atol=2e-6, rtol=1e-6)
    np.testing.assert_allclose(log, np.log(np.maximum(power, 1e-8)), atol=1e-5)


# Mel, and what is made of it


@pytest.mark.parametrize("scale", ["slaney", "htk"])
def test_mel_and_log_mel_are_librosas_from_end_to_end(scale):
    spec = spec_of("mel", mel_scale=scale)
    samples = noise()
    wanted = librosa.feature.melspectrogram(
        y=samples, sr=16_000, n_fft=400, hop_length=160, center=False, n_mels=64, htk=scale == "htk"
    )
    assert_close_to_the_loudest(run(spec, samples), wanted)
    log = run(dataclasses.replace(spec, features="log_mel"), samples)
    loud = wanted > 100 * spec.floor
    assert loud.mean() > 0.99
    np.testing.assert_allclose(log[loud], np.log(wanted[loud]), atol=LOG)


def test_silence_lies_on_the_floor():
    floor = math.log(1e-8)
    silence = np.zeros(4000, np.float32)
    np.testing.assert_allclose(run(spec_of("log_mel"), silence), floor, rtol=1e-6)
    np.testing.assert_allclose(run(spec_of("log_mel", floor=1e-3), silence), math.log(1e-3), rtol=1e-6)
    mfcc = run(spec_of("mfcc"), silence)
    np.testing.assert_allclose(mfcc[0], floor * math.sqrt(64), rtol=1e-5)
    np.testing.assert_allclose(mfcc[1:], 0.0, atol=1e-4)


def test_mfcc_is_the_dct_of_log_mel():
    samples = noise()
    log = run(spec_of("log_mel"), samples)
    wanted = scipy.fft.dct(log, type=2, norm="ortho", axis=0)[:20]
    np.testing.assert_allclose(run(spec_of("mfcc", coefficients=20), samples), wanted, atol=LOG)


def test_each_channel_has_features_of_its_own():
    spec = spec_of("log_mel", channels=2)
    left, right = noise(seed=1), noise(seed=2)
    both = FrontEnd(spec)(torch.from_numpy(np.stack([left, right]))[None])[0].numpy()
    np.testing.assert_allclose(both, np.stack([run(spec, left), run(spec, right)]), atol=LOG)


def test_a_waveform_is_the_samples():
    samples = noise(0.01)
    assert np.array_equal(run(spec_of("waveform"), samples), samples[None])


# CQT


def test_a_sine_of_amplitude_a_has_the_magnitude_half_a_in_its_bin():
    """To 1 %: the sine of the opposite frequency is not wholly outside a short kernel. Bins more than an octave away
    hear less than a thousandth of it."""
    spec = spec_of("cqt", sample_rate=8000, scale="magnitude", low_hertz=110.0, bins=60)
    for number, hertz in list(enumerate(features.cqt_frequencies(spec)))[::7]:
        got = run(spec, sine(hertz, 0.55, 8000, 0.6))
        assert got[number] == pytest.approx(np.full(got.shape[1], 0.3), rel=0.01)
        assert (got.argmax(axis=0) == number).all()
        far = np.abs(np.arange(60) - number) > 12
        assert got[far].max() < 0.3e-3


def wavelets_of(spec):
    """(bins, frame_samples): what the cosines and sines are of."""
    cosines, sines = features.cqt_kernels(spec).reshape(2, spec.bins, -1)
    return cosines + 1j * sines


@pytest.mark.parametrize("bins_per_octave", [1, 12, 24])
@pytest.mark.parametrize("frame", [8000, 8001])
def test_cqt_kernels_are_librosas_wavelets_in_the_middle_of_the_frame(frame, bins_per_octave):
    """But for a phase, which no power depends on."""
    spec = spec_of("cqt", low_hertz=110.3, bins=4 * bins_per_octave, bins_per_octave=bins_per_octave)
    spec = dataclasses.replace(spec, frame_seconds=frame / 16_000)
    wanted, lengths = librosa.filters.wavelet(
        freqs=features.cqt_frequencies(spec), sr=16_000, pad_fft=False, dtype=np.complex128
    )
    assert lengths.max() < frame
    got = wavelets_of(spec)
    places = [np.flatnonzero(row) for row in np.abs(got)]
    assert {int(place[0] + place[-1]) for place in places} == {frame - 1 + frame % 2}
    size = 2 * frame
    np.testing.assert_allclose(np.abs(np.fft.fft(got, size)), np.abs(np.fft.fft(wanted, size)), atol=1e-9)


def test_cqt_of_a_single_bin():
    one, two = (spec_of("cqt", low_hertz=440.0, bins=bins) for bins in (1, 2))
    np.testing.assert_allclose(wavelets_of(one)[0], wavelets_of(two)[0], atol=1e-15)


def test_a_wavelet_needs_three_samples():
    table = {"features": "cqt", "sample_rate": 8000, "low_hertz": 110.0, "bins": 24, "hop_seconds": 0.01}
    assert np.isfinite(wavelets_of(read_input(TomlTable({**table, "frame_seconds": 3 / 8000}, "x", SpecError)))).all()
    with pytest.raises(SpecError, match="2 samples is too short"):
        read_input(TomlTable({**table, "frame_seconds": 2 / 8000}, "x", SpecError))


def test_no_cqt_kernel_is_longer_than_the_frame():
    spec = spec_of("cqt", low_hertz=20.0, bins=24, frame_seconds=0.1)
    kernels = features.cqt_kernels(spec)
    assert kernels.shape == (48, 1600)
    assert np.isfinite(kernels).all()
    np.testing.assert_allclose(np.abs(np.fft.fft(kernels[:24] - 1j * kernels[24:], 32_000)).max(axis=1), 1.0, atol=0.02)


@pytest.mark.parametrize("rate", [1000, 8000, 16_000, 44_100, 96_000])
@pytest.mark.parametrize("kind", FEATURES)
def test_defaults_fit_every_rate(kind, rate):
    spec = read_input(TomlTable({"features": kind, "sample_rate": rate}, "x", SpecError))
    assert spec == default_input(kind, rate)
    samples = np.zeros(spec.frame_samples + 2 * spec.hop_samples, np.float32)
    if rate <= 16_000:
        got = run(spec, samples)
        assert got.shape == (spec.bands, 3)
        assert np.isfinite(got).all()


@pytest.mark.parametrize("kind", FEATURES)
def test_a_table_in_full_is_read_as_the_same_input(kind):
    spec = spec_of(kind, channels=2)
    table = spec.to_table()
    assert set(table) == {*COMMON_KEYS, *FEATURE_KEYS[kind]}
    assert read_input(TomlTable(table, "x", SpecError)) == spec


def test_bands_know_what_they_hear():
    """A tone inside a band is heard there loudest, or in the band beside it whose triangle it shares."""
    for kind in ("mel", "stft", "cqt"):
        more = {"bins": 60, "low_hertz": 55.0} if kind == "cqt" else {"mel_norm": "none"}
        spec = spec_of(kind, sample_rate=8000, scale="power", **more)
        edges = features.band_edges_hertz(spec)
        assert edges.shape == (spec.bands, 2)
        assert (edges[:, 0] < edges[:, 1]).all()
        for band in range(8, spec.bands - 1, 9):
            got = run(spec, sine(edges[band].mean(), 0.55, 8000))
            assert abs(int(got.mean(axis=1).argmax()) - band) <= (kind == "mel")
    assert features.band_edges_hertz(spec_of("mfcc")) is None
    assert features.band_edges_hertz(spec_of("waveform")) is None


def test_the_constants_of_the_design_are_the_defaults():
    spec = InputSpec("log_mel")
    assert (spec.frame_samples, spec.hop_samples, spec.fft_samples, spec.mels) == (400, 160, 400, 64)
    assert (spec.mel_scale, spec.mel_norm) == ("slaney", "slaney")
