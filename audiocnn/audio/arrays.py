"""Arrays in memory, read as a recording: `ArrayDecoder`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiocnn.audio.pcm import Samples
from audiocnn.audio.streams import FileDecoder
from audiocnn.errors import UsageError

AnyArray = NDArray[np.float32] | NDArray[np.float64] | NDArray[np.int16]
_MOST_CHANNELS = 1024
_MOST_RATE = 2**31
_FULL_SCALE = {"i2": 2.0**15, "f4": 1.0, "f8": 1.0}
_TYPES = "numpy's float32 or float64 in [-1, 1], or int16"


def channels_of(array: Any) -> NDArray[Any]:
    """The array as (channels, samples), not copied. Raises UsageError if it cannot be audio."""
    if not isinstance(array, np.ndarray):
        raise UsageError(
            f"{type(array).__name__} is not a recording; give a file name, an open file, or an array: {_TYPES}"
        )
    if array.dtype.str[1:] not in _FULL_SCALE:
        hint = f"; divide integers of another size by {_whole_scale(array)}" if array.dtype.kind in "iu" else ""
        raise UsageError(f"samples: unsupported type {array.dtype}; give {_TYPES}{hint}")
    if array.ndim not in (1, 2):
        raise UsageError(f"samples: unsupported shape {array.shape}; give (samples,) or (channels, samples)")
    return array[None] if array.ndim == 1 else array


def as_floats(rows: NDArray[Any]) -> Samples:
    """float32 in [-1, 1], with the values that libsndfile reads from a file of the same type. Other types are
    copied."""
    if rows.dtype == np.float32:
        return rows
    floats: Samples = rows.astype(np.float32, copy=False)
    scale = _FULL_SCALE[rows.dtype.str[1:]]
    return floats if scale == 1 else floats * np.float32(1 / scale)


def check_rate(sample_rate: Any) -> int:
    """Raises UsageError if the value is not a sample rate."""
    if sample_rate is None:
        raise UsageError("sample_rate is missing: an array does not state its sample rate; give it in Hz")
    is_number = isinstance(sample_rate, Real | np.number) and not isinstance(sample_rate, bool)
    if not is_number or not (math.isfinite(sample_rate) and 1 <= sample_rate < _MOST_RATE and sample_rate % 1 == 0):
        raise UsageError(f"sample_rate {sample_rate!r}: not a sample rate; give an integer in Hz, such as 16000")
    return int(sample_rate)


def _whole_scale(array: NDArray[Any]) -> str:
    return f"2**{8 * array.itemsize - 1}" + (" and subtract 1" if array.dtype.kind == "u" else "")


class ArrayDecoder(FileDecoder):
    """Samples of shape (samples,) or (channels, samples). Raises UsageError if they cannot be audio."""

    compressed = False
    piece_frames = 1 << 16

    def __init__(self, array: Any, sample_rate: Any) -> None:
        self._rows, self._done = channels_of(array), 0
        self.sample_rate = check_rate(sample_rate)
        self.channels, self.promised = self._rows.shape
        self.frames: int | None = self.promised
        if self.channels > min(self.promised, _MOST_CHANNELS) and self.frames:
            shape = f"{self.channels} channels of {self.promised} samples"
            raise UsageError(f"samples: {shape}; give (channels, samples), for example array.T")
        if not self.frames:
            raise UsageError("samples: the array is empty; leave it out")

    def read(self, most_frames: int) -> Samples:
        begin, self._done = self._done, min(self._done + most_frames, self.promised)
        # A copy: the array belongs to the caller, and the reader may keep the block.
        return as_floats(np.array(self._rows[:, begin : self._done].T, order="C"))

    def skip(self, frames: int) -> int:
        self._done = min(frames, self.promised)
        return self._done

    def rewind(self) -> None:
        self._done = 0

    def close(self) -> None:
        pass


@dataclass(frozen=True, eq=False)
class ArraySource:
    """Samples that `ArrayDecoder` accepts in place of a file; as text, their name."""

    samples: AnyArray
    sample_rate: int
    name: str

    def __str__(self) -> str:
        return self.name
