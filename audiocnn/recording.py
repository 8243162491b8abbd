"""Recordings: any file or stream that libsndfile decodes, read block by block at any rate.

Samples are float32 in [-1, 1] with shape (channels, samples). A block is decoded, checked, mixed and
resampled before the next is touched: memory depends neither on the length of a recording nor on its header.
"""

from __future__ import annotations

import math
import os
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from audiocnn.ahead import Ahead
from audiocnn.errors import RecordingError
from audiocnn.filenames import AUDIO_SUFFIXES, find_recordings, show_name
from audiocnn.opening import open_decoder
from audiocnn.pcm import RawFormat
from audiocnn.pieces import in_blocks, joined, pick
from audiocnn.soundfiles import CONVERT, reason_of
from audiocnn.streams import Decoder

__all__ = [
    "AUDIO_SUFFIXES",
    "RawFormat",
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
AHEAD_SECONDS = 30.0
AHEAD_FRAMES = 1 << 16
PARTS_AHEAD = 4
# Floats may have any scale, but the powers of their spectra must have a number.
MOST_LEVEL = 1e12


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

    def __init__(self, decoder: Decoder, name: str) -> None:
        self.info = RecordingInfo(decoder.sample_rate, decoder.channels, decoder.frames)
        self.name = name
        self.note: str | None = None
        self.is_stream = decoder.is_stream
        self._decoder = decoder
        self._read = self._stopped = False
        self._ahead: Ahead[Samples] | None = None

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; a stream that the caller opened stays open."""
        self._leave_ahead()
        self._decoder.close()

    def _leave_ahead(self) -> None:
        """Nobody but the caller reads from the decoder after this."""
        if self._ahead is not None:
            self._ahead.close()

    def stop(self) -> None:
        """End the recording here, whoever waits for more of it: from another thread, or a handler of signals."""
        self._stopped = True
        self._decoder.stop()

    def paused(self) -> bool:
        """Whether a stream has nothing more to give right now."""
        return not self._decoder.more()

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
        self._check_channel(channel)
        rate = self.info.sample_rate if sample_rate is None else sample_rate
        block_samples = max(1, round(block_seconds * rate))
        return in_blocks(self._resampled(rate, channel, block_seconds), block_samples)

    def pieces(self, sample_rate: int | None = None, channel: str | int = "mix") -> Iterator[Samples]:
        """As `blocks`, but of a stream whatever is there, at once: pieces of any length, also without a sample."""
        self._check_channel(channel)
        rate = self.info.sample_rate if sample_rate is None else sample_rate
        return (np.ascontiguousarray(piece.T) for piece in self._resampled(rate, channel, BLOCK_SECONDS))

    def _check_channel(self, channel: str | int) -> None:
        if channel not in ("mix", "each") and not (isinstance(channel, int) and 0 <= channel < self.info.channels):
            have = f"it has {self.info.channels}, numbered from 0"
            raise RecordingError(f'{self.name}: no channel {channel}; {have} ("mix" and "each" work too)')

    def _resampled(self, rate: int, channel: str | int, block_seconds: float) -> Iterator[Samples]:
        """(frames, rows) pieces at the wanted rate."""
        own = self.info.sample_rate
        # At 1 Hz, 4096 frames would become 65 million samples.
        frames = max(1, min(self._decoder.piece_frames, math.ceil(block_seconds * own)))
        pieces: Generator[Samples] | Ahead[Samples] = (pick(piece, channel) for piece in self._decoded(frames))
        if self._decoder.compressed and (self.info.duration_seconds or 0.0) > AHEAD_SECONDS:
            # The decoder gets a thread of its own: it takes longer than all that follows.
            self._leave_ahead()
            pieces = self._ahead = Ahead(joined(pieces, AHEAD_FRAMES), PARTS_AHEAD)
        with closing(pieces):
            yield from self._at_rate(pieces, rate, channel)

    def _at_rate(self, pieces: Iterable[Samples], rate: int, channel: str | int) -> Iterator[Samples]:
        """(frames, rows) pieces from the recording's own rate to another."""
        own = self.info.sample_rate
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
        if made + len(out) == 0 and not self._stopped:
            raise RecordingError(f"{self.name}: too short for one sample at {rate} Hz; leave it out")
        yield out

    def _decoded(self, frames_a_piece: int) -> Iterator[Samples]:
        """(frames, channels) pieces as they come from the file, each checked to be finite."""
        self._rewind()
        done = 0
        trouble: str | None = None
        while not self._stopped:
            try:
                piece = self._decoder.read(frames_a_piece)
            except OSError as error:
                trouble = reason_of(error)
                break
            if not len(piece):
                break
            self._check_levels(piece, done)
            done += len(piece)
            yield piece
        self._judge_end(done, trouble)

    def _rewind(self) -> None:
        if self._read:
            try:
                self._decoder.rewind()
            except OSError as error:
                raise RecordingError(f"{self.name}: cannot be read twice ({reason_of(error)})") from None
        self._read = True

    def _check_levels(self, piece: Samples, done: int) -> None:
        if piece.max() <= MOST_LEVEL and piece.min() >= -MOST_LEVEL:  # NaN is neither
            return
        row = int(np.argmax(~(np.abs(piece) <= MOST_LEVEL).all(axis=1)))
        found = piece[row][~(np.abs(piece[row]) <= MOST_LEVEL)][0]
        what = "NaN" if np.isnan(found) else "infinity" if np.isinf(found) else f"{found:.3g}"
        wrong = "not a level of sound" if np.isfinite(found) else "not a number"
        at = f"{what} at {(done + row) / self.info.sample_rate:.3f} s"
        raise RecordingError(f"{self.name}: {wrong} among the samples ({at}); write the file again")

    def _judge_end(self, done: int, trouble: str | None) -> None:
        """Refuse a file that gave nothing; note one that gave less than it promised."""
        if self._stopped:
            return
        if done == 0 and (trouble or self.info.frames):
            why = trouble or "it ends after the header"
            raise RecordingError(f"{self.name}: damaged: nothing in it can be decoded ({why}); copy it again")
        if done == 0:
            raise RecordingError(f"{self.name}: holds no samples; record it again or leave it out")
        promised = self._decoder.promised
        rate = self.info.sample_rate
        # Headers of compressed files count what their encoder added at the ends.
        if trouble or done < promised - rate // (10 if self._decoder.compressed else 1000):
            why = f" ({trouble})" if trouble else ""
            of = f" of {promised / rate:.2f} s" if promised > done else ""
            self.note = f"{self.name}: damaged or cut short: decoded as far as {done / rate:.2f} s{of}{why}"


def open_recording(
    path: str | Path | BinaryIO, raw: RawFormat | None = None, may_copy: bool = True, name: str | None = None
) -> Recording:
    """Open a file, a pipe or a binary stream. `raw` says what samples without a header are; they need no way back.

    In a pipe WAV and AU are decoded while they come; what else there is, is copied to a temporary file first, or with
    may_copy False refused. RecordingError: missing, a folder, empty, not audio, damaged from its first byte on.
    """
    if name is None:
        name = show_name(path if isinstance(path, str | os.PathLike) else getattr(path, "name", "stream"))
    return Recording(open_decoder(path, name, raw, may_copy), name)


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


def _resampler(rate_in: int, rate_out: int, channels: int, name: str) -> Any:
    import soxr

    try:
        return soxr.ResampleStream(rate_in, rate_out, channels, dtype="float32", quality="HQ")
    except (ValueError, RuntimeError) as error:
        what = f"{rate_in} Hz, {channels} channels to {rate_out} Hz"
        raise RecordingError(f"{name}: {what} cannot be resampled ({reason_of(error)}); {CONVERT}") from None
