"""Input features of a network: `waveform`, `log_mel`, `mel`, `stft`, `mfcc`, `cqt`, as constants.

Each is a strided convolution with fixed kernels, followed by fixed matrices, so that training, detection and the
exported file compute the same values. The constants come from librosa, which is imported on demand;
`frontend.FrontEnd` applies them.

- stft: windowed cosines and sines; the power of each bin
- mel, log_mel: triangular filters over those bins (Slaney's or O'Shaughnessy's scale, as in librosa)
- mfcc: the orthonormal DCT-II of log_mel
- cqt: one wavelet a bin, a windowed complex exponential whose length follows from its quality, up to `frame_seconds`

Logarithms are natural logarithms of the power, which is at least `floor`. The groups receive (value - mean) /
deviation, with two constants, for networks that were published for inputs of mean 0 and deviation 1.
"""

from __future__ import annotations

import dataclasses
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiocnn.spec.geometry import ReceptiveField
from audiocnn.spec.librosa_import import import_librosa
from audiocnn.toml import TomlTable
from audiocnn.units import to_samples

FEATURES = ("waveform", "log_mel", "mel", "stft", "mfcc", "cqt")
_SCALES = ("log", "power", "magnitude")
_MOST_SAMPLE_RATE = 384_000
Array = NDArray[np.float64]


@dataclass(frozen=True)
class InputSpec:
    """The `[input]` table of a spec. Fields that the features do not use keep their defaults."""

    features: str
    sample_rate: int = 16_000
    channels: int = 1
    frame_seconds: float = 0.025
    hop_seconds: float = 0.010
    fft_samples: int = 400
    mels: int = 64
    low_hertz: float = 0.0
    high_hertz: float = 8_000.0
    mel_scale: str = "slaney"
    mel_norm: str = "slaney"
    coefficients: int = 40
    bins: int = 84
    bins_per_octave: int = 12
    scale: str = "log"
    floor: float = 1e-8
    mean: float = 0.0
    deviation: float = 1.0

    @property
    def frame_samples(self) -> int:
        """Samples of one frame; 1 for a waveform."""
        return 1 if self.features == "waveform" else to_samples(self.frame_seconds, self.sample_rate)

    @property
    def hop_samples(self) -> int:
        """Samples between frames; 1 for a waveform."""
        return 1 if self.features == "waveform" else to_samples(self.hop_seconds, self.sample_rate)

    @property
    def receptive_field(self) -> ReceptiveField:
        """Samples that one frame depends on."""
        return ReceptiveField(self.frame_samples, self.hop_samples)

    @property
    def bands(self) -> int:
        """Bands of one frame of one channel; 1 for a waveform."""
        counts = {"waveform": 1, "stft": self.fft_samples // 2 + 1, "mfcc": self.coefficients, "cqt": self.bins}
        return counts.get(self.features, self.mels)

    @property
    def kernels(self) -> int:
        """Kernels with which a frame of one channel is convolved, a cosine and a sine for each bin; 0 for a
        waveform."""
        if self.features == "waveform":
            return 0
        return 2 * (self.bins if self.features == "cqt" else self.fft_samples // 2 + 1)

    @property
    def logarithmic(self) -> bool:
        return self.features == "log_mel" or (self.features in ("stft", "cqt") and self.scale == "log")

    @property
    def powers(self) -> InputSpec:
        """The settings that determine the power of each band, with the features `mel`, `stft` or `cqt`. All that is
        applied later (scale, floor, DCT, mean, deviation) has its default, and so has the number of channels, which are
        treated alike."""
        kind = "mel" if self.features in ("log_mel", "mfcc") else self.features
        kept = {key: getattr(self, key) for key in FEATURE_KEYS[kind] if key not in ("scale", "floor")}
        return InputSpec(kind, self.sample_rate, **kept)

    def to_table(self) -> dict[str, Any]:
        """Every constant that the features use, as a TOML table."""
        return {key: getattr(self, key) for key in (*COMMON_KEYS, *FEATURE_KEYS[self.features])}


COMMON_KEYS = ("features", "sample_rate", "channels", "mean", "deviation")
_FRAME = ("frame_seconds", "hop_seconds")
_MEL = (*_FRAME, "fft_samples", "mels", "low_hertz", "high_hertz", "mel_scale", "mel_norm")
FEATURE_KEYS: dict[str, tuple[str, ...]] = {
    "waveform": (),
    "stft": (*_FRAME, "fft_samples", "scale", "floor"),
    "mel": _MEL,
    "log_mel": (*_MEL, "floor"),
    "mfcc": (*_MEL, "floor", "coefficients"),
    "cqt": (*_FRAME, "low_hertz", "bins", "bins_per_octave", "scale", "floor"),
}


def read_input(table: TomlTable) -> InputSpec:
    """The checked `[input]` table. Raises SpecError naming the key and the remedy."""
    base = default_input(
        table.text("features", choices=FEATURES),
        table.integer("sample_rate", InputSpec.sample_rate, most=_MOST_SAMPLE_RATE),
    )
    frame = table.number("frame_seconds", base.frame_seconds, above=True, most=60) if base.features != "waveform" else 0
    least_fft = max(1, to_samples(frame, base.sample_rate))
    readers = {
        "hop_seconds": lambda: table.number("hop_seconds", base.hop_seconds, above=True, most=60),
        "fft_samples": lambda: table.integer("fft_samples", least_fft, least=least_fft, most=max(2**17, 2 * least_fft)),
        "mels": lambda: table.integer("mels", base.mels, most=4096),
        "low_hertz": lambda: table.number("low_hertz", base.low_hertz, most=base.sample_rate / 2),
        "high_hertz": lambda: table.number("high_hertz", base.high_hertz, above=True, most=base.sample_rate / 2),
        "mel_scale": lambda: table.text("mel_scale", base.mel_scale, ("slaney", "htk")),
        "mel_norm": lambda: table.text("mel_norm", base.mel_norm, ("slaney", "none")),
        "coefficients": lambda: table.integer("coefficients", base.coefficients),
        "bins": lambda: table.integer("bins", base.bins, most=4096),
        "bins_per_octave": lambda: table.integer("bins_per_octave", base.bins_per_octave, most=960),
        "scale": lambda: table.text("scale", base.scale, _SCALES),
        "floor": lambda: table.number("floor", base.floor, above=True),
    }
    values: dict[str, Any] = {key: readers[key]() for key in FEATURE_KEYS[base.features] if key != "frame_seconds"}
    if base.features != "waveform":
        values["frame_seconds"] = frame
    values["channels"] = table.integer("channels", 1, most=64)
    values["mean"] = table.number("mean", 0.0, least=-1e6, most=1e6)
    values["deviation"] = table.number("deviation", 1.0, above=True, most=1e6)
    table.close()
    spec = dataclasses.replace(base, **values)
    _refuse_large(spec, table)
    _check_input(spec, table)
    return spec


def default_input(features: str, sample_rate: int) -> InputSpec:
    """Default constants for features at a rate."""
    base = InputSpec(features, sample_rate, high_hertz=sample_rate / 2)
    base = dataclasses.replace(base, fft_samples=max(1, to_samples(base.frame_seconds, sample_rate)))
    if features == "cqt":  # seven octaves from C1, with kernels limited to half a second
        octaves = max(1, min(7, int(np.log2(max(2.0, sample_rate / 2.2 / 32.7)))))
        return dataclasses.replace(base, low_hertz=32.7, frame_seconds=0.5, bins=12 * octaves)
    return base


def _check_input(spec: InputSpec, table: TomlTable) -> None:
    if spec.frame_samples < 1 or spec.hop_samples < 1:
        raise table.wrong(f"a frame or hop of less than one sample at {spec.sample_rate} Hz; make it longer")
    if spec.features in ("log_mel", "mel", "mfcc"):
        if spec.low_hertz >= spec.high_hertz:
            raise table.wrong(f'"low_hertz" {spec.low_hertz:g} must be below "high_hertz" {spec.high_hertz:g}')
        if spec.features == "mfcc" and spec.coefficients > spec.mels:
            raise table.wrong(f'"coefficients" {spec.coefficients} must be at most "mels" {spec.mels}')
    if spec.features == "cqt":
        if spec.frame_samples < 3:
            raise table.wrong(f"a frame of {spec.frame_samples} samples is too short for a wavelet; make it longer")
        top = float(cqt_frequencies(spec)[-1])
        if spec.low_hertz <= 0 or top >= spec.sample_rate / 2:
            raise table.wrong(
                f"bins from {spec.low_hertz:g} to {top:.0f} Hz must lie between 0 and {spec.sample_rate / 2:g} Hz;"
                ' change "low_hertz" or "bins"'
            )


def hann(samples: int) -> Array:
    """(samples,) the periodic Hann window."""
    return np.asarray(import_librosa().filters.get_window("hann", samples, fftbins=True), np.float64)


def hz_to_mel(hertz: Array, scale: str) -> Array:
    """librosa's formulas, for `describe`, which should not have to wait for librosa to be imported.

    Slaney: linear to 1 kHz, 27 log steps to 6.4 kHz above (Auditory Toolbox, 1998); htk: 2595 log10(1 + f / 700).
    """
    if scale == "htk":
        return 2595.0 * np.log10(1.0 + hertz / 700.0)
    return np.where(
        hertz < 1000.0, hertz * 3 / 200, 15.0 + 27.0 * np.log(np.maximum(hertz, 1.0) / 1000.0) / np.log(6.4)
    )


def mel_to_hz(mel: Array, scale: str) -> Array:
    if scale == "htk":
        return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    return np.where(mel < 15.0, mel * 200 / 3, 1000.0 * np.exp((mel - 15.0) * np.log(6.4) / 27.0))


def mel_edges(spec: InputSpec) -> Array:
    """(mels + 2,) the corners of the triangles in Hz: band b extends from edge b over b + 1 to b + 2."""
    low, high = hz_to_mel(np.array([spec.low_hertz, spec.high_hertz]), spec.mel_scale)
    return mel_to_hz(np.linspace(low, high, spec.mels + 2), spec.mel_scale)


def mel_matrix(spec: InputSpec) -> Array:
    """(mels, bins): triangles over the bins' frequencies; with `slaney` norm, all have the same area."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Empty filters")  # a band between two bins stays at the floor
        matrix: Array = import_librosa().filters.mel(
            sr=spec.sample_rate,
            n_fft=spec.fft_samples,
            n_mels=spec.mels,
            fmin=spec.low_hertz,
            fmax=spec.high_hertz,
            htk=spec.mel_scale == "htk",
            norm=None if spec.mel_norm == "none" else "slaney",
            dtype=np.float64,
        )
    return matrix


def dct_matrix(coefficients: int, bands: int) -> Array:
    """(coefficients, bands): the orthonormal DCT-II."""
    from scipy import fft

    matrix: Array = fft.dct(np.eye(bands), axis=0, type=2, norm="ortho")
    return matrix[:coefficients]


def cqt_frequencies(spec: InputSpec) -> Array:
    """(bins,) in Hz, with `bins_per_octave` bins an octave from `low_hertz`."""
    frequencies: Array = spec.low_hertz * 2.0 ** (np.arange(spec.bins) / spec.bins_per_octave)
    return frequencies


def cqt_kernels(spec: InputSpec) -> Array:
    """(2 * bins, frame_samples): the real, then the imaginary parts of librosa's wavelets, centred in the frame and
    limited to its length. The absolute values of each wavelet sum to 1, so a sine of amplitude a gives the magnitude a
    / 2.

    Time is counted from the middle of the window, around which real parts are even and imaginary parts odd.
    """
    librosa = import_librosa()
    width, rate = spec.frame_samples, spec.sample_rate
    # One extra bin, because the bandwidth of a single frequency is not defined.
    above = librosa.cqt_frequencies(spec.bins + 1, fmin=spec.low_hertz, bins_per_octave=spec.bins_per_octave)
    lengths, frequencies = librosa.filters.wavelet_lengths(freqs=above, sr=rate)[0][:-1], above[:-1]
    # For a length that is not an even number, librosa makes 2 * floor(length / 2) + 1 samples. For the next lower
    # number and a half it makes as many, and also for even ones, so that all wavelets have the same middle.
    lengths = 2 * np.minimum(lengths // 2, (width - 1) // 2) + 0.5
    wavelets, _ = librosa.filters.wavelet(
        freqs=frequencies, sr=rate, alpha=rate / (frequencies * lengths), pad_fft=False, dtype=np.complex128
    )
    wavelets *= np.exp(1j * np.pi * frequencies / rate)[:, None]  # the phase is 0 half a sample after the middle
    wavelets = librosa.util.pad_center(wavelets, size=width)
    return np.concatenate([wavelets.real, wavelets.imag])


def band_edges_hertz(spec: InputSpec) -> Array | None:
    """(bands, 2) the lowest and highest frequency of each band in Hz; None if bands are not frequencies."""
    if spec.features in ("log_mel", "mel"):
        edges = mel_edges(spec)
        return np.stack([edges[:-2], edges[2:]], axis=1)
    if spec.features == "stft":
        step = spec.sample_rate / spec.fft_samples
        centres = np.arange(spec.bands) * step
    elif spec.features == "cqt":
        centres = cqt_frequencies(spec)
        step = centres * (2.0 ** (1.0 / spec.bins_per_octave) - 1.0)
    else:
        return None
    return np.clip(np.stack([centres - step / 2, centres + step / 2], axis=1), 0.0, spec.sample_rate / 2)


def _refuse_large(spec: InputSpec, table: TomlTable, most_numbers: int = 2**27) -> None:
    """Raises SpecError for constants of gigabytes, which must be a mistake, before they are computed."""
    if spec.kernels * spec.frame_samples > most_numbers:
        many = f"{spec.kernels // 2} bins over {spec.frame_samples} samples"
        raise table.wrong(f"{many} are too many; use a shorter frame or fewer bins")
