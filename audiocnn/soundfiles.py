"""Files that libsndfile decodes: any container and codec that it knows, by name or in a stream with a way back."""

from __future__ import annotations

import re
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from audiocnn.errors import RecordingError

Samples = NDArray[np.float32]

# libsndfile says "unknown" with the largest count it has.
_MOST_FRAMES = 1 << 60
_UNKNOWN_BYTES = 0x7F000000  # from here on: what pipes write, sox for AIFF exactly this
# What a damaged file can lose before the damage; small beside a window, large beside the cost of a call.
_DECODE_FRAMES = 4096
# Numbers that stand in a file as they are lose nothing: then a call costs more than what it reads.
_PLAIN_SAMPLES = 1 << 15
_PLAIN_FORMATS = frozenset({"WAV", "WAVEX", "W64", "RF64", "AIFF", "AU"})
_PLAIN_SUBTYPES = frozenset({"PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"})
_PLAIN_CODES = (0x010000, 0x020000, 0x030000, 0x0B0000, 0x130000, 0x220000)  # WAV AIFF AU W64 WAVEX RF64
_SIZES = re.compile(r": (\d+) \(should be (\d+)\)")
CONVERT = "convert it first, for example with `ffmpeg -i FILE FILE.wav`"
COPY_OR_CONVERT = f"copy it again, or {CONVERT}"


class RefusedError(Exception):
    """libsndfile will not open it; the text is its reason."""


class SoundFile:
    """An open file: a `Decoder`."""

    is_stream = False

    def __init__(self, file: Any, held: BinaryIO | None = None) -> None:
        # soundfile seeks after each read of a seekable file, and that resets the Opus decoder: reading in
        # blocks then differs from reading whole by up to 0.06. Without the seek the two are equal bit by bit.
        file.seekable = lambda: False
        frames = int(file.frames)
        self.sample_rate, self.channels = int(file.samplerate), int(file.channels)
        self.frames = frames_known(frames)
        plain = file.format in _PLAIN_FORMATS and file.subtype in _PLAIN_SUBTYPES
        self.compressed = not plain
        self.piece_frames = max(_DECODE_FRAMES, _PLAIN_SAMPLES // self.channels if plain else 0)
        self.promised = promised_frames(file.extra_info, frames)
        self._file, self._held = file, held

    def read(self, most_frames: int) -> Samples:
        """The next (frames, channels); none at the end. OSError: cannot be decoded from here on."""
        from soundfile import SoundFileError

        try:
            piece: Samples = self._file.read(out=np.empty((most_frames, self.channels), np.float32))
        except SoundFileError as error:
            raise OSError(reason_of(error)) from None
        return piece

    def more(self) -> bool:
        """A file never keeps its reader waiting."""
        return True

    def stop(self) -> None:
        """Nobody waits for a file."""

    def rewind(self) -> None:
        """Back to the start; OSError."""
        from soundfile import SoundFileError

        try:
            self._file.seek(0)
        except SoundFileError as error:
            raise OSError(reason_of(error)) from None

    def close(self) -> None:
        """Close the file, and the stream that was opened for it."""
        self._file.close()
        if self._held is not None:
            self._held.close()


def open_file(source: bytes | BinaryIO, held: BinaryIO | None = None) -> SoundFile:
    """Open a name, or a stream with a way back, in this process; RefusedError. `held` is closed with it."""
    import soundfile

    try:
        return SoundFile(soundfile.SoundFile(source), held)
    except (soundfile.SoundFileError, OSError, TypeError, ValueError) as error:
        raise RefusedError(reason_of(error)) from None


def check_not_empty(first: bytes, name: str) -> None:
    """RecordingError for a stream without a byte."""
    if not first:
        raise RecordingError(f"{name}: empty (0 bytes); check the command that writes it")


def reason_of(error: Exception) -> str:
    """What libsndfile or the system says, as part of a line."""
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    return as_reason(str(text))


def as_reason(text: str) -> str:
    """What others say, as part of a line."""
    return " ".join(text.split()).rstrip(".")


def frames_known(frames: int) -> int | None:
    """What a header says, or None where it does not say."""
    return frames if 0 < frames < _MOST_FRAMES else None


def promised_frames(log: str, frames: int) -> int:
    """Frames by the header's word. libsndfile counts what the file of a cut WAV, AIFF or AU still has, and only its log
    tells that more was promised; the largest counts stand for "unknown", as pipes write them."""
    sizes = [(int(said), int(there)) for said, there in _SIZES.findall(log)]
    shares = [said / there for said, there in sizes if 0 < there < said < _UNKNOWN_BYTES]
    return int(frames * max(shares, default=1.0)) if 0 < frames < _MOST_FRAMES else 0


def is_plain(code: int) -> bool:
    """Whether a format, as libsndfile numbers them, is plain samples behind a header (sndfile.h)."""
    return code & 0x0FFF0000 in _PLAIN_CODES and 1 <= code & 0xFFFF <= 7
