"""Recordings: any file or stream that libsndfile decodes, read block by block at any rate.

Samples are float32 in [-1, 1] with shape (channels, samples). A block is decoded, checked, mixed and
resampled before the next is touched: memory depends neither on the length of a recording nor on its header.
"""

from __future__ import annotations

import math
import os
import re
import stat
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from audiocnn.errors import RecordingError
from audiocnn.filenames import AUDIO_SUFFIXES, find_recordings, show_name

__all__ = [
    "AUDIO_SUFFIXES",
    "Recording",
    "RecordingInfo",
    "find_recordings",
    "open_recording",
    "read_info",
    "read_samples",
    "show_name",
]

Samples = NDArray[np.float32]

BLOCK_SECONDS = 10.0
# What a damaged file can lose before the damage; small beside a window, large beside the cost of a call.
_DECODE_FRAMES = 4096
_COPY_BYTES = 1 << 20
# libsndfile says "unknown" with the largest count it has.
_MOST_FRAMES = 1 << 60
_UNKNOWN_BYTES = 0x7FFFF000
_SIZES = re.compile(r": (\d+) \(should be (\d+)\)")
_CONVERT = "convert it first, for example with `ffmpeg -i FILE FILE.wav`"


@dataclass(frozen=True, slots=True)
class RecordingInfo:
    """What the header says; frames (samples per channel) is None where it says nothing."""

    sample_rate: int
    channels: int
    frames: int | None

    @property
    def duration_seconds(self) -> float | None:
        """Length by the header, in seconds; None where it does not say."""
        return None if self.frames is None else self.frames / self.sample_rate


class Recording:
    """An open recording. `note` tells, after reading, that the file ended before its header said."""

    def __init__(self, file: Any, name: str, held: BinaryIO | None = None) -> None:
        # soundfile seeks after each read of a seekable file, and that resets the Opus decoder: reading in
        # blocks then differs from reading whole by up to 0.06. Without the seek the two are equal bit by bit.
        file.seekable = lambda: False
        frames = int(file.frames)
        self.info = RecordingInfo(
            int(file.samplerate), int(file.channels), frames if 0 < frames < _MOST_FRAMES else None
        )
        self._promised = _promised_frames(file, frames)
        self.name = name
        self.note: str | None = None
        self._file = file
        self._held = held
        self._read = False

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; a stream that the caller opened stays open."""
        self._file.close()
        if self._held is not None:
            self._held.close()

    def blocks(
        self,
        sample_rate: int | None = None,
        channel: str | int = "mix",
        block_seconds: float = BLOCK_SECONDS,
    ) -> Iterator[Samples]:
        """The samples from the start, as float32 (channels, samples) blocks that the caller may keep.

        sample_rate None keeps the recording's own. channel: "mix" (the mean, 1 row), "each" (a row a channel)
        or a number from 0. Every block but the last holds block_seconds. RecordingError: no such channel,
        nothing that can be decoded, no samples, NaN or infinity.
        """
        if channel not in ("mix", "each") and not (isinstance(channel, int) and 0 <= channel < self.info.channels):
            have = f"it has {self.info.channels}, numbered from 0"
            raise RecordingError(f'{self.name}: no channel {channel}; {have} ("mix" and "each" work too)')
        rate = self.info.sample_rate if sample_rate is None else sample_rate
        block_samples = max(1, round(block_seconds * rate))
        return _in_blocks(self._resampled(rate, channel, block_seconds), block_samples)

    def _resampled(self, rate: int, channel: str | int, block_seconds: float) -> Iterator[Samples]:
        """(frames, rows) pieces at the wanted rate."""
        own = self.info.sample_rate
        # At 1 Hz, 4096 frames would become 65 million samples.
        frames = max(1, min(_DECODE_FRAMES, math.ceil(block_seconds * own)))
        pieces = (_pick(piece, channel) for piece in self._decoded(frames))
        if rate == own:
            yield from pieces
            return
        rows = self.info.channels if channel == "each" else 1
        stream = _resampler(own, rate, rows, self.name)
        made = 0
        for piece in pieces:
            out = stream.resample_chunk(piece)
            made += len(out)
            yield out
        out = stream.resample_chunk(np.zeros((0, rows), np.float32), last=True)
        if made + len(out) == 0:
            raise RecordingError(f"{self.name}: too short for one sample at {rate} Hz; leave it out")
        yield out

    def _decoded(self, frames_a_piece: int) -> Iterator[Samples]:
        """(frames, channels) pieces as they come from the file, each checked to be finite."""
        from soundfile import SoundFileError

        self._rewind()
        done = 0
        trouble: str | None = None
        while True:
            buffer = np.empty((frames_a_piece, self.info.channels), np.float32)
            try:
                piece: Samples = self._file.read(out=buffer)
            except (SoundFileError, OSError) as error:
                trouble = _reason(error)
                break
            if not len(piece):
                break
            self._check_finite(piece, done)
            done += len(piece)
            yield piece
        self._judge_end(done, trouble)

    def _rewind(self) -> None:
        from soundfile import SoundFileError

        if self._read:
            try:
                self._file.seek(0)
            except (SoundFileError, OSError) as error:
                raise RecordingError(f"{self.name}: cannot be read twice ({_reason(error)})") from None
        self._read = True

    def _check_finite(self, piece: Samples, done: int) -> None:
        if not np.isfinite(piece).all():
            row = int(np.argmax(~np.isfinite(piece).all(axis=1)))
            what = "NaN" if np.isnan(piece[row]).any() else "infinity"
            at = f"{what} at {(done + row) / self.info.sample_rate:.3f} s"
            raise RecordingError(f"{self.name}: not a number among the samples ({at}); write the file again")

    def _judge_end(self, done: int, trouble: str | None) -> None:
        """Refuse a file that gave nothing; note one that gave less than it promised."""
        if done == 0 and (trouble or self.info.frames):
            why = trouble or "it ends after the header"
            raise RecordingError(f"{self.name}: damaged: nothing in it can be decoded ({why}); copy it again")
        if done == 0:
            raise RecordingError(f"{self.name}: holds no samples; record it again or leave it out")
        promised = self._promised
        rate = self.info.sample_rate
        if trouble or done < promised - rate // 10:
            why = f" ({trouble})" if trouble else ""
            of = f" of {promised / rate:.2f} s" if promised > done else ""
            self.note = f"{self.name}: damaged or cut short: decoded as far as {done / rate:.2f} s{of}{why}"


def open_recording(path: str | Path | BinaryIO) -> Recording:
    """Open a file, a pipe or a binary stream. What cannot be sought in is copied to a temporary file first.

    RecordingError: missing, a folder, empty, not audio, damaged from its first byte on.
    """
    if not isinstance(path, str | os.PathLike):
        name = show_name(getattr(path, "name", "stream"))
        return _open(path, name, None) if path.seekable() else _open_copy(path, name)
    name = show_name(path)
    try:
        status = Path(path).stat()
        if stat.S_ISREG(status.st_mode):
            if status.st_size == 0:
                raise RecordingError(f"{name}: empty file (0 bytes); copy it again or leave it out")
            return _open(os.fsencode(path), name, None)
        if stat.S_ISDIR(status.st_mode):
            raise RecordingError(f"{name}: a folder where a recording is expected; name a file in it")
        with Path(path).open("rb") as pipe:
            return _open_copy(pipe, name)
    except FileNotFoundError:
        raise RecordingError(f"{name}: no such file; check the name") from None
    except (OSError, ValueError) as error:
        raise RecordingError(f"{name}: cannot be opened ({_reason(error)}); check its rights") from None


def read_info(path: str | Path | BinaryIO) -> RecordingInfo:
    """Rate, channels and length as the header has them; RecordingError as in open_recording."""
    with open_recording(path) as recording:
        return recording.info


def read_samples(
    path: str | Path | BinaryIO, sample_rate: int | None = None, channel: str | int = "mix"
) -> tuple[Samples, int]:
    """A whole recording: float32 (channels, samples), and its rate in Hz; RecordingError as in blocks."""
    with open_recording(path) as recording:
        blocks = list(recording.blocks(sample_rate, channel))
        return np.concatenate(blocks, axis=1), sample_rate or recording.info.sample_rate


def _open_copy(stream: BinaryIO, name: str) -> Recording:
    """A pipe cannot be sought in, and containers ask for it: keep it on disk, not in memory."""
    copy = tempfile.TemporaryFile()  # noqa: SIM115 - closed by the Recording
    while part := stream.read(_COPY_BYTES):
        copy.write(part)
    copy.seek(0)
    return _open(copy, name, copy)


def _open(source: bytes | BinaryIO, name: str, held: BinaryIO | None) -> Recording:
    from soundfile import SoundFile, SoundFileError

    try:
        if not isinstance(source, bytes):
            if not source.read(1):
                raise RecordingError(f"{name}: empty (0 bytes); check the command that writes it")
            source.seek(-1, os.SEEK_CUR)
        return Recording(SoundFile(source), name, held)
    except (SoundFileError, OSError, TypeError, ValueError) as error:
        if held is not None:
            held.close()
        raise RecordingError(f"{name}: {_why_not(error)}") from None


def _why_not(error: Exception) -> str:
    """What is wrong with a file that libsndfile will not open, and what to do."""
    reason = _reason(error)
    if "samplerate must be specified" in reason:
        return f"raw samples, which say neither rate nor channels; {_CONVERT}"
    if "annel count is zero" in reason:
        return "the header says 0 channels; write the file again"
    # What libsndfile says of a file that looks like MP3 and is none is about pipes.
    if "not recognised" in reason or "possibly a pipe" in reason:
        return f"not audio that can be read here; {_CONVERT}"
    return f"damaged or cut short, or a format that is not read here ({reason}); copy it again, or {_CONVERT}"


def _reason(error: Exception) -> str:
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    return " ".join(str(text).split()).rstrip(".")


def _promised_frames(file: Any, frames: int) -> int:
    """Frames by the header's word. libsndfile counts what the file of a cut WAV, AIFF or AU still has, and only its log
    tells that more was promised; the largest counts stand for "unknown", as pipes write them."""
    sizes = [(int(said), int(there)) for said, there in _SIZES.findall(file.extra_info)]
    shares = [said / there for said, there in sizes if 0 < there < said < _UNKNOWN_BYTES]
    return int(frames * max(shares, default=1.0)) if 0 < frames < _MOST_FRAMES else 0


def _resampler(rate_in: int, rate_out: int, channels: int, name: str) -> Any:
    import soxr

    try:
        return soxr.ResampleStream(rate_in, rate_out, channels, dtype="float32", quality="HQ")
    except (ValueError, RuntimeError) as error:
        what = f"{rate_in} Hz, {channels} channels to {rate_out} Hz"
        raise RecordingError(f"{name}: {what} cannot be resampled ({_reason(error)}); {_CONVERT}") from None


def _pick(piece: Samples, channel: str | int) -> Samples:
    """(frames, channels) -> (frames, rows)."""
    if channel == "each" or piece.shape[1] == 1:
        return piece
    if channel == "mix":
        mean: Samples = piece.mean(axis=1, keepdims=True, dtype=np.float32)
        return mean
    return np.ascontiguousarray(piece[:, [int(channel)]])


def _in_blocks(pieces: Iterable[Samples], block_samples: int) -> Iterator[Samples]:
    """(n, rows) pieces of any size -> (rows, block_samples) blocks; the last one is what is left."""
    waiting, count = list[Samples](), 0
    for piece in pieces:
        waiting.append(piece)
        count += len(piece)
        if count < block_samples:
            continue
        joined = np.concatenate(waiting)
        whole = count - count % block_samples
        for start in range(0, whole, block_samples):
            yield np.ascontiguousarray(joined[start : start + block_samples].T)
        waiting = [joined[whole:]]
        count -= whole
    if count:
        yield np.ascontiguousarray(np.concatenate(waiting).T)
