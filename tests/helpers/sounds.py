"""Synthetic sounds and audio files. Used by several tests."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray


def sine(hertz: float, seconds: float, sample_rate: int, amplitude: float = 0.5) -> NDArray[np.float32]:
    """A sine from phase 0, float32 (samples,)."""
    times = np.arange(round(seconds * sample_rate)) / sample_rate
    return (amplitude * np.sin(2 * np.pi * hertz * times)).astype(np.float32)


def noise(seconds: float, sample_rate: int, seed: int = 0) -> NDArray[np.int16]:
    """White noise, int16 (samples,), over the full scale."""
    samples = np.random.default_rng(seed).integers(-32768, 32768, round(seconds * sample_rate))
    return samples.astype(np.int16)


def write(path: Path, samples: NDArray[np.generic], sample_rate: int, subtype: str | None = None) -> Path:
    """Write samples (n,) or (n, channels) to a file. The suffix selects the format; folders are created."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, sample_rate, subtype=subtype)
    return path


def as_bytes(samples: NDArray[np.generic], sample_rate: int, kind: str, subtype: str | None = None) -> bytes:
    """Samples as the bytes of an audio file. kind: WAV, FLAC, OGG, MP3."""
    file = io.BytesIO()
    soundfile.write(file, samples, sample_rate, format=kind, subtype=subtype)
    return file.getvalue()


def wav_bytes(data: bytes, sample_rate: int = 8000, channels: int = 1, says_bytes: int | None = None) -> bytes:
    """A 16-bit WAV file written field by field, so that its header can be made wrong."""
    says = len(data) if says_bytes is None else says_bytes
    fields = (16, 1, channels, sample_rate, sample_rate * 2 * channels, 2 * max(channels, 1), 16)
    head = b"RIFF" + struct.pack("<I", (36 + says) % 2**32) + b"WAVEfmt " + struct.pack("<IHHIIHH", *fields)
    return head + b"data" + struct.pack("<I", says) + data
