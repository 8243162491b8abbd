"""Uncompressed samples and their encodings, which have ffmpeg's names.

Values are exactly those that libsndfile reads: float32 in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from audiocnn.errors import UsageError, did_you_mean

Samples = NDArray[np.float32]
MOST_LEVEL = 1e12  # of a sample; full scale is 1
Decode = Callable[[bytes], Samples]
DEFAULT_RAW_CHANNELS = 1
_MOST_CHANNELS = 1024  # the limit of libsndfile


def is_level(samples: Samples) -> NDArray[np.bool_]:
    """Which samples are valid audio: not NaN, not infinite and not absurdly large."""
    found: NDArray[np.bool_] = np.abs(samples) <= MOST_LEVEL
    return found


def from_int16(samples: NDArray[np.int16], scale: float = 1.0) -> Samples:
    """int16 -> float32 in [-scale, scale], any shape."""
    floats: Samples = samples.astype(np.float32)
    floats *= np.float32(scale / 32768.0)
    return floats


@cache
def _mulaw() -> Samples:
    """The 256 values of G.711 mu-law."""
    code = ~np.arange(256) & 0xFF
    size = ((((code & 15) << 3) + 0x84) << (code >> 4 & 7)) - 0x84
    return (np.where(code & 0x80, -size, size) / 32768).astype(np.float32)


@cache
def _alaw() -> Samples:
    """The 256 values of G.711 A-law."""
    code = np.arange(256) ^ 0x55
    exponent, low = code >> 4 & 7, (code & 15) << 4
    size = np.where(exponent == 0, low + 8, (low + 0x108) << np.maximum(exponent - 1, 0))
    return (np.where(code & 0x80, size, -size) / 32768).astype(np.float32)


def _numbers(kind: str, full_scale: float = 1.0, middle: float = 0.0) -> Decode:
    def decode(data: bytes) -> Samples:
        with np.errstate(over="ignore", invalid="ignore"):
            values = np.frombuffer(data, kind).astype(np.float32)
        if middle:
            values -= np.float32(middle)
        if full_scale != 1.0:
            values *= np.float32(1 / full_scale)
        return values

    return decode


def _three_bytes(little: bool) -> Decode:
    """24-bit integers, as the upper three bytes of 32-bit integers."""

    def decode(data: bytes) -> Samples:
        given = np.frombuffer(data, np.uint8).reshape(-1, 3)
        wide = np.zeros((len(given), 4), np.uint8)
        wide[:, 1:] = given if little else given[:, ::-1]
        values = wide.view("<i4")[:, 0].astype(np.float32)
        values *= np.float32(2.0**-31)
        return values

    return decode


def _table(make: Callable[[], Samples]) -> Decode:
    return lambda data: make()[np.frombuffer(data, np.uint8)]


# ffmpeg's names -> bytes a sample, and the conversion to float32 in [-1, 1].
ENCODINGS: dict[str, tuple[int, Decode]] = {
    "s8": (1, _numbers("i1", 128)),
    "u8": (1, _numbers("u1", 128, middle=128)),
    "s16le": (2, _numbers("<i2", 2.0**15)),
    "s16be": (2, _numbers(">i2", 2.0**15)),
    "s24le": (3, _three_bytes(little=True)),
    "s24be": (3, _three_bytes(little=False)),
    "s32le": (4, _numbers("<i4", 2.0**31)),
    "s32be": (4, _numbers(">i4", 2.0**31)),
    "s64le": (8, _numbers("<i8", 2.0**63)),
    "s64be": (8, _numbers(">i8", 2.0**63)),
    "f32le": (4, _numbers("<f4")),
    "f32be": (4, _numbers(">f4")),
    "f64le": (8, _numbers("<f8")),
    "f64be": (8, _numbers(">f8")),
    "mulaw": (1, _table(_mulaw)),
    "alaw": (1, _table(_alaw)),
}


# Types of encodings that float32 does not represent exactly.
STORED_TYPES = {"s32le": "<i4", "s32be": ">i4", "f64le": "<f8", "f64be": ">f8"}


@dataclass(frozen=True, slots=True)
class RawFormat:
    """The format of samples without a header. Raises UsageError, naming the option, for invalid values."""

    encoding: str
    sample_rate: int
    channels: int = DEFAULT_RAW_CHANNELS

    def __post_init__(self) -> None:
        if self.encoding not in ENCODINGS:
            raise UsageError(f'--raw cannot be "{self.encoding}"; {did_you_mean(self.encoding, ENCODINGS)}')
        if not 1 <= self.sample_rate < 2**31:
            raise UsageError(f"--rate {self.sample_rate}: not a sample rate; give it in Hz, such as 16000")
        if not 1 <= self.channels <= _MOST_CHANNELS:
            raise UsageError(f"--channels {self.channels}: not supported; give a number from 1 to {_MOST_CHANNELS}")


@dataclass(frozen=True, slots=True)
class Layout:
    """The layout of samples in a stream. data_bytes is None if the length is unknown.

    align: data after the samples begin at a multiple of this many bytes. is_aiff: they are AIFF chunks.
    """

    format: RawFormat
    data_bytes: int | None = None
    align: int = 1
    is_aiff: bool = False

    @property
    def frame_bytes(self) -> int:
        return ENCODINGS[self.format.encoding][0] * self.format.channels
