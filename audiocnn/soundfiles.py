"""Files that libsndfile decodes: any container and codec that it knows, by name or in a stream with a way back."""

from __future__ import annotations

import os
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
_SIZES = re.compile(r": (\d+) \(should be (\d+)\)")
RAW = "`detect` and `score` take them with --raw and --rate"
RAW_STREAM = "if these are samples without a header, say with --raw what they are"
CONVERT = "convert it first, for example with `ffmpeg -i FILE FILE.wav`"


class SoundFile:
    """An open file: a `Decoder`."""

    is_stream = False

    def __init__(self, file: Any, held: BinaryIO | None = None) -> None:
        # soundfile seeks after each read of a seekable file, and that resets the Opus decoder: reading in
        # blocks then differs from reading whole by up to 0.06. Without the seek the two are equal bit by bit.
        file.seekable = lambda: False
        frames = int(file.frames)
        self.sample_rate, self.channels = int(file.samplerate), int(file.channels)
        self.frames = frames if 0 < frames < _MOST_FRAMES else None
        plain = file.format in _PLAIN_FORMATS and file.subtype in _PLAIN_SUBTYPES
        self.compressed = not plain
        self.piece_frames = max(_DECODE_FRAMES, _PLAIN_SAMPLES // self.channels if plain else 0)
        self.promised = _promised_frames(file, frames)
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


def open_file(source: bytes | BinaryIO, name: str, held: BinaryIO | None = None) -> SoundFile:
    """Open a name, or a stream with a way back; RecordingError. `held` is closed with it."""
    import soundfile

    try:
        if not isinstance(source, bytes):
            check_not_empty(source.read(1), name)
            source.seek(-1, os.SEEK_CUR)
        return SoundFile(soundfile.SoundFile(source), held)
    except (soundfile.SoundFileError, OSError, TypeError, ValueError, RecordingError) as error:
        if held is not None:
            held.close()
        if isinstance(error, RecordingError):
            raise
        raise RecordingError(f"{name}: {_why_not(error, is_stream=held is not None)}") from None


def check_known(file: BinaryIO, name: str) -> None:
    """RecordingError where the beginning of a file is that of no audio; the place in it stays."""
    import soundfile

    place = file.tell()
    file.seek(0)
    try:
        soundfile.SoundFile(file).close()
    except soundfile.SoundFileError as error:
        if _no_audio(reason_of(error)):
            raise RecordingError(f"{name}: {_why_not(error, is_stream=True)}") from None
    finally:
        file.seek(place)


def check_not_empty(first: bytes, name: str) -> None:
    """RecordingError for a stream without a byte."""
    if not first:
        raise RecordingError(f"{name}: empty (0 bytes); check the command that writes it")


def _why_not(error: Exception, *, is_stream: bool) -> str:
    """What is wrong with a file that libsndfile will not open, and what to do."""
    reason = reason_of(error)
    if "samplerate must be specified" in reason:
        return f"raw samples, which say neither rate nor channels; {RAW}, or {CONVERT}"
    if "annel count is zero" in reason:
        return "the header says 0 channels; write the file again"
    if _no_audio(reason):
        return f"not audio that can be read here; {CONVERT}" + (f", or {RAW_STREAM}" if is_stream else "")
    return f"damaged or cut short, or a format that is not read here ({reason}); copy it again, or {CONVERT}"


def _no_audio(reason: str) -> bool:
    """What libsndfile says of a file that looks like MP3 and is none is about pipes."""
    return "not recognised" in reason or "possibly a pipe" in reason


def reason_of(error: Exception) -> str:
    """What libsndfile or the system says, as part of a line."""
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    return " ".join(str(text).split()).rstrip(".")


def _promised_frames(file: Any, frames: int) -> int:
    """Frames by the header's word. libsndfile counts what the file of a cut WAV, AIFF or AU still has, and only its log
    tells that more was promised; the largest counts stand for "unknown", as pipes write them."""
    sizes = [(int(said), int(there)) for said, there in _SIZES.findall(file.extra_info)]
    shares = [said / there for said, there in sizes if 0 < there < said < _UNKNOWN_BYTES]
    return int(frames * max(shares, default=1.0)) if 0 < frames < _MOST_FRAMES else 0
