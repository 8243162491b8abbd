"""Samples of a recording without loss: at its own rate, channel count and bit depth.

float32 represents 24-bit integers exactly. Only 32-bit integers and doubles need a wider type, which is available for
uncompressed files.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiocnn.audio.pcm import RawFormat
from audiocnn.audio.recording import Selection, open_recording
from audiocnn.audio.sndfile import describe_error
from audiocnn.errors import RecordingError, show_name

AnySamples = NDArray[Any]  # full-scale int16 or int32, or floats in [-1, 1]
_BLOCK_SAMPLES = 1 << 20  # over all channels, in one block
_LOOK_BYTES = 64
# First bytes of uncompressed containers: WAV, AIFF, AU, W64, CAF. libsndfile reads their headers in this process.
_PLAIN = (b"RIFF", b"RIFX", b"RF64", b"FORM", b".snd", b"dns.", b"riff", b"caff")
_WIDE = {"PCM_32": "int32", "ALAC_32": "int32", "DOUBLE": "float64"}
# libsndfile's subtype -> the depth that keeps it without loss. Subtypes that are not listed are lossy; 16 bits are
# enough for them.
_KEPT = {"ALAC_16": "PCM_16", "ALAC_20": "PCM_24", "ALAC_24": "PCM_24", "ALAC_32": "PCM_32"} | {
    name: name for name in ("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")
}
_RAW = {"s8": "PCM_S8", "u8": "PCM_U8", "s16": "PCM_16", "s24": "PCM_24", "s32": "PCM_32", "f32": "FLOAT"} | {
    "f64": "DOUBLE"
}


def depth_of(path: Path, encoding: str | None = None) -> str:
    """The bit depth of a file, by libsndfile's name, such as PCM_24. PCM_16 if it is unknown or if the codec is lossy.
    encoding: the encoding of uncompressed samples, see `pcm.ENCODINGS`."""
    if encoding is not None:
        return _RAW.get(encoding[:-2] if encoding[-2:] in ("le", "be") else encoding, "PCM_16")
    with suppress(OSError), path.open("rb") as file:
        start = file.read(_LOOK_BYTES)
        if b"fLaC" in start:
            return _flac_depth(start[start.index(b"fLaC") :])
        if start.startswith(_PLAIN):
            return _KEPT.get(_subtype(path), "PCM_16")
    return "PCM_16"


def _flac_depth(start: bytes) -> str:
    """Read from STREAMINFO, the first metadata block of a FLAC stream: RFC 9639, section 8.2."""
    if len(start) < 22:
        return "PCM_16"
    bits = ((start[20] & 1) << 4 | start[21] >> 4) + 1
    return "PCM_S8" if bits <= 8 else "PCM_16" if bits <= 16 else "PCM_24"


def _subtype(path: Path) -> str:
    import soundfile

    with suppress(soundfile.SoundFileError, OSError, TypeError, ValueError):
        return str(soundfile.info(path).subtype)
    return ""


class OwnSamples:
    """A file on disk that can be read in blocks, without loss, more than once.

    depth: see `depth_of`. frames: the number that the header states, or None.
    """

    def __init__(
        self, path: Path, raw: RawFormat | None = None, name: str | None = None, track: int | None = None
    ) -> None:
        self.path, self.raw, self.name = path, raw, name or show_name(path)
        self._whole = Selection(track=track)
        with open_recording(path, raw, name=self.name, excerpt=self._whole) as recording:
            info, encoding = recording.info, recording.encoding
        self.sample_rate, self.channels, self.frames = info.sample_rate, info.channels, info.frames
        self.depth = depth_of(path, encoding)
        self.note: str | None = None
        self.remarks: list[str] = []

    @property
    def most_frames(self) -> int:
        """An upper bound, from the header if it states a length. Otherwise the samples are uncompressed, with at least
        one byte each."""
        return max(self.frames or 0, self.path.stat().st_size // self.channels)

    def blocks(self) -> Generator[AnySamples]:
        """Blocks (frames, channels) from start to end. Raises RecordingError. Afterwards, `note` states where the file
        is damaged."""
        frames = max(1, _BLOCK_SAMPLES // self.channels)
        with open_recording(self.path, self.raw, name=self.name, excerpt=self._whole) as recording:
            done = 0
            if self.depth in _WIDE and not recording.keep_type() and self.frames is not None:
                for wide in self._wide(frames):
                    done += len(wide)
                    yield wide
            # Needed in wide mode too: it reports damage, and continues with what follows the first recording in the
            # file.
            for block in recording.blocks(None, "each", frames / self.sample_rate):
                if block.shape[1] > done:
                    yield block[:, done:].T
                done = max(0, done - block.shape[1])
            self.note, self.remarks = recording.note, recording.remarks

    def _wide(self, frames: int) -> Generator[AnySamples]:
        import soundfile

        try:
            with closing(soundfile.SoundFile(self.path)) as file:
                while len(block := file.read(frames, dtype=_WIDE[self.depth], always_2d=True)):
                    yield block
        except (soundfile.SoundFileError, OSError) as problem:
            why = f"cannot be read to the end ({describe_error(problem)}); copy it again"
            raise RecordingError(f"{self.name}: {why}") from None


def at_depth(samples: AnySamples, depth: str) -> AnySamples:
    """Samples in the type that libsndfile writes unchanged at this depth.

    Integers that fit are kept exactly; other values are rounded and clipped at full scale.
    """
    wanted = {"FLOAT": np.float32, "DOUBLE": np.float64}.get(depth)
    if wanted is not None:
        return unit(samples).astype(wanted, copy=False)
    if depth == "PCM_32" and samples.dtype == np.int32:
        return samples
    bits = 8 if depth in ("PCM_S8", "PCM_U8") else int(depth.removeprefix("PCM_"))
    full = 2.0 ** (bits - 1)
    whole = np.clip(np.rint(unit(samples).astype(np.float64) * full), -full, full - 1)
    if bits <= 16:
        return whole.astype(np.int16) << np.int16(16 - bits)
    return whole.astype(np.int32) << np.int32(32 - bits)


def unit(samples: AnySamples) -> AnySamples:
    """Floats in [-1, 1]: integers are converted to doubles, floats are kept."""
    if samples.dtype == np.int32:
        scaled: AnySamples = samples / 2.0**31
        return scaled
    return samples
