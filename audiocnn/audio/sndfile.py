"""Decoding with libsndfile in this process."""

from __future__ import annotations

import os
import re
from typing import Any, BinaryIO

import numpy as np

from audiocnn.audio.pcm import Samples
from audiocnn.audio.sandbox_worker import FilePart
from audiocnn.audio.streams import FileDecoder
from audiocnn.audio.tails import Part

# libsndfile reports an unknown length as its largest number.
_MOST_FRAMES = 1 << 60
_UNKNOWN_BYTES = 0x7F000000  # data sizes from here on mean unknown, as in pipes; sox writes exactly this for AIFF
# Frames that damage can take with it before the damaged place: few relative to a window, many relative to the cost of a
# call.
_DECODE_FRAMES = 4096
# Uncompressed samples lose nothing to damage, and reading them costs less than a call.
_PLAIN_SAMPLES = 1 << 15
_PLAIN_FORMATS = frozenset({"WAV", "WAVEX", "W64", "RF64", "AIFF", "AU"})
_PLAIN_SUBTYPES = frozenset({"PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"})
_PLAIN_CODES = (0x010000, 0x020000, 0x030000, 0x0B0000, 0x130000, 0x220000)  # WAV AIFF AU W64 WAVEX RF64
# Stated and actual sizes of the samples. Other sizes, and byte rates, may be wrong in intact files.
_SIZES = (
    re.compile(r"^ *(?:riff|data|SSND|BODY|Data Size) *: (?P<said>\d+) \(should be (?P<there>\d+)\)", re.MULTILINE),
    re.compile(r"^Data length (?P<said>\d+) should be (?P<there>\d+)", re.MULTILINE),  # Psion
    re.compile(r"truncated\. (?P<there>\d+) <--> (?P<said>\d+)"),  # MATLAB 4
)
_COUNTS = re.compile(r"^ *(?:Frames *:|Rows *: \d+ +Cols *:| Cols *:) (\d+)$", re.MULTILINE)  # AVR, MPC2000, MATLAB
_WORDS = ("should be", "<-->", "Frames", "Cols")
CONVERT = "convert it first, for example with `ffmpeg -i FILE FILE.wav`"
COPY_OR_CONVERT = f"copy it again, or {CONVERT}"


class SndfileError(Exception):
    """libsndfile cannot open the file; the text gives its reason."""


class SoundFile(FileDecoder):
    """An open file."""

    def __init__(self, file: Any, held: BinaryIO) -> None:
        # soundfile seeks after each read of a seekable file. That resets the Opus decoder, so that reading in blocks
        # would differ from reading at once by up to 0.06. Without the seek, both are identical.
        file.seekable = lambda: False
        frames = int(file.frames)
        self.sample_rate, self.channels = int(file.samplerate), int(file.channels)
        self.frames = frames_known(frames)
        plain = file.format in _PLAIN_FORMATS and file.subtype in _PLAIN_SUBTYPES
        self.compressed = not plain
        self.piece_frames = max(_DECODE_FRAMES, _PLAIN_SAMPLES // self.channels if plain else 0)
        self.promised = promised_frames(file.extra_info, frames)
        self._file, self.file = file, held
        self.done, self.trouble = 0, ""  # frames read, and the reason for stopping

    def read(self, most_frames: int) -> Samples:
        from soundfile import SoundFileError

        try:
            piece: Samples = self._file.read(out=np.empty((most_frames, self.channels), np.float32))
        except SoundFileError as error:
            self.trouble = describe_error(error)
            raise OSError(self.trouble) from None
        self.done += len(piece)
        return piece

    def skip(self, frames: int) -> int:
        if self.compressed or self.frames is None:
            return 0
        return int(self._file.seek(min(frames, self.frames)))

    def drop(self, frames: int) -> None:
        """Skip frames by decoding them."""
        while frames and (count := len(self.read(min(frames, self.piece_frames)))):
            frames -= count

    def rewind(self) -> None:
        from soundfile import SoundFileError

        try:
            self._file.seek(0)
            self.done, self.trouble = 0, ""
        except SoundFileError as error:
            raise OSError(describe_error(error)) from None

    def close(self) -> None:
        self._file.close()
        self.file.close()

    @property
    def place(self) -> int:
        """The position in the file."""
        return os.lseek(self.file.fileno(), 0, os.SEEK_CUR)


def open_sndfile(file: BinaryIO, part: Part | None = None) -> SoundFile:
    """Open a file on disk that is already open, from its beginning or in part. It is closed with this object. Raises
    SndfileError."""
    import soundfile

    file.seek(0)
    source = FilePart(file.fileno(), part.start, part.end, part.zeros_at) if part else os.dup(file.fileno())
    try:
        return SoundFile(soundfile.SoundFile(source), file)
    except (soundfile.SoundFileError, OSError, TypeError, ValueError) as error:
        raise SndfileError(describe_error(error)) from None


def describe_error(error: Exception) -> str:
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    return as_reason(str(text))


def as_reason(text: str) -> str:
    return " ".join(text.split()).rstrip(".")


def frames_known(frames: int) -> int | None:
    return frames if 0 < frames < _MOST_FRAMES else None


def promised_frames(log: str, frames: int) -> int:
    """The number of frames that the header states. For a file that was cut short, libsndfile reports only the frames
    that exist, and the stated number is found in its log. The largest values, written by pipes, mean "unknown"."""
    if not 0 < frames < _MOST_FRAMES:
        return 0
    if not any(word in log for word in _WORDS):  # the usual case
        return frames
    counts = [int(said) for said in _COUNTS.findall(log)]
    sizes = [(int(found["said"]), int(found["there"])) for kind in _SIZES for found in kind.finditer(log)]
    shares = [said / there for said, there in sizes if 0 < there < said < _UNKNOWN_BYTES]
    return max([frames, *counts, int(frames * max(shares, default=1.0))])


def is_pcm_format(code: int) -> bool:
    """Whether a format, by libsndfile's number, is uncompressed samples with a header (sndfile.h)."""
    return code & 0x0FFF0000 in _PLAIN_CODES and 1 <= code & 0xFFFF <= 7
