"""Recordings: any file or stream that can be decoded, read block by block at any sample rate.

Samples are float32 in [-1, 1] with shape (channels, samples). Each block is decoded, checked, mixed and resampled
before the next is read, so memory use depends neither on the length of a recording nor on its header.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from audiocnn.audio.arrays import AnyArray, ArrayDecoder
from audiocnn.audio.channels import mean_of_channels, select_channels
from audiocnn.audio.decoders import open_decoder
from audiocnn.audio.pcm import MOST_LEVEL, RawFormat, Samples, is_level
from audiocnn.audio.pcm_stream import PcmStream
from audiocnn.audio.resampling import LiveResampler
from audiocnn.audio.sndfile import CONVERT, describe_error
from audiocnn.audio.streams import Decoder
from audiocnn.errors import RecordingError, UsageError, show_name
from audiocnn.prefetch import PrefetchingIterator
from audiocnn.units import plural, to_samples


def concatenate_blocks(pieces: Iterable[Samples], least_frames: int) -> Iterator[Samples]:
    """Join (n, rows) pieces until each has at least `least_frames` frames; the last one holds the rest."""
    waiting, count = list[Samples](), 0
    for piece in pieces:
        waiting.append(piece)
        count += len(piece)
        if count >= least_frames:
            yield np.concatenate(waiting)
            waiting, count = [], 0
    if waiting:
        yield np.concatenate(waiting)


def cut_blocks(pieces: Iterable[Samples], block_samples: int) -> Iterator[Samples]:
    """(n, rows) pieces of any size -> (rows, block_samples) blocks; the last one holds the rest."""
    waiting, count = list[Samples](), 0
    for piece in pieces:
        waiting.append(piece)
        count += len(piece)
        if count < block_samples:
            continue
        together = np.concatenate(waiting)
        whole = count - count % block_samples
        for start in range(0, whole, block_samples):
            yield np.ascontiguousarray(together[start : start + block_samples].T)
        waiting = [together[whole:]]
        count -= whole
    if count:
        yield np.ascontiguousarray(np.concatenate(waiting).T)


_BLOCK_SECONDS = 10.0
_AHEAD_SECONDS = 30.0
_AHEAD_FRAMES = 1 << 16
_PARTS_AHEAD = 4
ARRAY_NAME = "array"  # name of an array in messages
# Floats may have any scale, as long as their power spectra are finite.


@dataclass(frozen=True, slots=True)
class RecordingInfo:
    """Facts from the header. frames (samples per channel) is None if the header does not state a length."""

    sample_rate: int
    channels: int
    frames: int | None

    @property
    def duration_seconds(self) -> float | None:
        """Length in seconds according to the header, or None."""
        return None if self.frames is None else self.frames / self.sample_rate


@dataclass(frozen=True, slots=True)
class Selection:
    """The excerpt and track of a recording to read. Raises UsageError for impossible values.

    end_seconds: None for the end of the recording. track: audio track of a container, from 0; None for the default
    track.
    """

    start_seconds: float = 0.0
    end_seconds: float | None = None
    track: int | None = None

    def __post_init__(self) -> None:
        start, end = self.start_seconds, self.end_seconds
        for option, seconds in (("--start", start), ("--end", 0.0 if end is None else end)):
            if not (math.isfinite(seconds) and seconds >= 0):
                raise UsageError(f"{option} {seconds:g}: not a time in a recording; give seconds, 0 or more")
        if end is not None and start >= end:
            raise UsageError(f"--start {start:g} --end {end:g}: ends before it begins; give an earlier --start")
        if self.track is not None and self.track < 0:
            raise UsageError(f"--track {self.track}: not an audio track; tracks are numbered from 0")

    def frames(self, sample_rate: int) -> tuple[int, int | None]:
        """The first sample, and the end (exclusive) or None."""
        end = self.end_seconds
        return to_samples(self.start_seconds, sample_rate), None if end is None else to_samples(end, sample_rate)


class Recording:
    """An open recording, or an excerpt of one, whose first sample is at `start_seconds`.

    After reading, `note` describes damage, such as a file that ends earlier than its header states. `remarks` lists
    other facts that a user should know, although nothing is lost. `is_short` is true if the recording ended before the
    excerpt.
    """

    def __init__(self, decoder: Decoder, name: str, excerpt: Selection | None = None) -> None:
        self.info = RecordingInfo(decoder.sample_rate, decoder.channels, decoder.frames)
        self.name = name
        self.note: str | None = None
        self.remarks: list[str] = []
        self.is_stream, self.is_short = decoder.is_stream, False
        self._decoder = self._current = decoder  # the current one may read a later recording in the file
        self._first, self._stop = (0, None) if excerpt is None else excerpt.frames(decoder.sample_rate)
        self.start_seconds = self._first / decoder.sample_rate
        self._read = self._stopped = False
        self._ahead: PrefetchingIterator[Samples] | None = None

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. A stream that the caller opened stays open."""
        self._leave_ahead()
        self._back_to_first()
        self._decoder.close()

    def _leave_ahead(self) -> None:
        if self._ahead is not None:
            self._ahead.close()

    @property
    def encoding(self) -> str | None:
        """The encoding of uncompressed samples, by its name in `pcm`; None for compressed files."""
        return self._decoder.encoding if isinstance(self._decoder, PcmStream) else None

    def keep_type(self) -> bool:
        """From now on, return 32-bit integers and doubles in their stored type, for all channels at their own rate.
        False if that is not supported."""
        return isinstance(self._decoder, PcmStream) and self._decoder.keep_type()

    def stop(self) -> None:
        """End the recording here, even if a reader is waiting for data. May be called from another thread or a signal
        handler."""
        self._stopped = True
        self._current.stop()

    @property
    def seconds_to_read(self) -> float | None:
        """Length of the excerpt according to the header, or None."""
        frames = self._stop if self.info.frames is None else min(self.info.frames, self._stop or self.info.frames)
        return None if frames is None else max(0, frames - self._first) / self.info.sample_rate

    def paused(self) -> bool:
        return not self._current.more()

    def blocks(
        self,
        sample_rate: int | None = None,
        channel: str | int = "mix",
        block_seconds: float = _BLOCK_SECONDS,
    ) -> Iterator[Samples]:
        """The samples of the excerpt, as float32 (channels, samples) blocks, which the caller may keep.

        sample_rate: None for the recording's own rate. channel: "mix" (one row, see `channels`), "each" (one row a
        channel) or a channel number from 0. Every block but the last lasts block_seconds. Raises RecordingError if the
        channel does not exist, nothing can be decoded, there are no samples, or a sample is NaN or infinite.
        """
        self._check_channel(channel)
        rate = self.info.sample_rate if sample_rate is None else sample_rate
        block_samples = max(1, round(block_seconds * rate))
        return cut_blocks(self._resampled(rate, channel, block_seconds), block_samples)

    def pieces(
        self, sample_rate: int | None = None, channel: str | int = "mix", live: bool = False
    ) -> Iterator[Samples]:
        """Like `blocks`, but returns data as soon as they arrive: pieces of any length, which may be empty. live:
        resample with the lowest delay."""
        self._check_channel(channel)
        rate = self.info.sample_rate if sample_rate is None else sample_rate
        return (np.ascontiguousarray(piece.T) for piece in self._resampled(rate, channel, _BLOCK_SECONDS, live))

    def _check_channel(self, channel: str | int) -> None:
        if channel not in ("mix", "each") and not (isinstance(channel, int) and 0 <= channel < self.info.channels):
            have = f"it has {self.info.channels}, numbered from 0"
            raise RecordingError(f'{self.name}: no channel {channel}; {have} ("mix" and "each" are valid too)')

    def _resampled(self, rate: int, channel: str | int, block_seconds: float, live: bool = False) -> Iterator[Samples]:
        """(frames, rows) pieces at the target rate."""
        own = self.info.sample_rate
        # A large piece at a low rate could become huge: at 1 Hz, 4096 frames would become 65 million samples.
        frames = max(1, min(self._decoder.piece_frames, math.ceil(block_seconds * own)))
        pieces: Generator[Samples] | PrefetchingIterator[Samples] = select_channels(self._decoded(frames), channel, own)
        if self._decoder.compressed and (self.info.duration_seconds or 0.0) > _AHEAD_SECONDS:
            # Decoding takes longer than all later steps, so it gets its own thread.
            self._leave_ahead()
            pieces = self._ahead = PrefetchingIterator(concatenate_blocks(pieces, _AHEAD_FRAMES), _PARTS_AHEAD)
        with closing(pieces):
            yield from self._at_rate(pieces, rate, channel, live)

    def _at_rate(self, pieces: Iterable[Samples], rate: int, channel: str | int, live: bool) -> Iterator[Samples]:
        """Resample (frames, rows) pieces from the recording's own rate."""
        own = self.info.sample_rate
        if rate == own:
            yield from pieces
            return
        rows = self.info.channels if channel == "each" else 1
        stream = _resampler(own, rate, rows, self.name, live)
        made = 0
        for piece in pieces:
            out = stream.resample_chunk(piece)
            made += len(out)
            yield out
        out = stream.resample_chunk(np.zeros((0, rows), np.float32), last=True)
        if made + len(out) == 0 and not self._stopped:
            raise RecordingError(f"{self.name}: shorter than one sample at {rate} Hz; leave it out")
        yield out

    def _decoded(self, most_frames: int) -> Iterator[Samples]:
        """Decoded (frames, channels) pieces of the first recording in the file and of any that follow it. All samples
        are checked."""
        self._rewind()
        if self._stop == self._first:
            raise RecordingError(f"{self.name}: no sample between --start and --end; give a later --end")
        done, began = self._decoder.skip(self._first) if self._first else 0, 0
        while True:
            trouble = None
            as_first = self._conversion()
            try:
                while not self._stopped and len(piece := self._current.read(most_frames)):
                    if as_first is not None:
                        self._check_levels(piece, done)
                        piece = as_first(piece, False)
                    if len(inside := self._within_excerpt(piece, done)):
                        self._check_levels(inside, max(self._first, done))
                        yield inside
                    done += len(piece)
                    if self._stop is not None and done >= self._stop:
                        return
            except OSError as error:
                trouble = describe_error(error)
            if as_first is not None:
                piece = as_first(np.empty((0, self._current.channels), np.float32), True)
                yield self._within_excerpt(piece, done)
                done += len(piece)
            if self._stopped:
                return
            following, trouble = self._look_behind(trouble)
            if following is None or not following.continues:
                self._judge_end(done, done - began, trouble, following is not None)
                began = done
            if following is None:
                return
            self._back_to_first()
            self._current = following

    def _within_excerpt(self, piece: Samples, begin: int) -> Samples:
        """The part of a piece inside the excerpt; the first frame of the piece is `begin`."""
        if begin >= self._first and (self._stop is None or begin + len(piece) <= self._stop):
            return piece
        return piece[max(0, self._first - begin) : None if self._stop is None else max(0, self._stop - begin)]

    def _rewind(self) -> None:
        self._back_to_first()
        self.note, self.remarks = None, []
        if self._read:
            try:
                self._decoder.rewind()
            except OSError as error:
                raise RecordingError(f"{self.name}: cannot be read twice ({describe_error(error)})") from None
        self._read = True

    def _look_behind(self, trouble: str | None) -> tuple[Decoder | None, str | None]:
        """The decoder for what follows the current one in the file, and an error message if there is one."""
        try:
            return self._current.following(), trouble
        except OSError as error:
            return None, trouble or describe_error(error)
        except RecordingError as error:
            return None, trouble or str(error).removeprefix(f"{self.name}: ")

    def _conversion(self) -> Callable[[Samples, bool], Samples] | None:
        """A function that converts pieces of the current decoder to the rate and channels of the first one. Its second
        argument marks the last piece. None if no conversion is needed."""
        rate, channels, current = self.info.sample_rate, self.info.channels, self._current
        if (current.sample_rate, current.channels) == (rate, channels):
            return None
        kind = f"{current.sample_rate} Hz, {plural(current.channels, 'channel')}"
        self._remark(
            f"one part has {kind} and is converted to the format of the first: {rate} Hz, {plural(channels, 'channel')}"
        )
        stream = None
        if current.sample_rate != rate:
            stream = _resampler(current.sample_rate, rate, channels, self.name)

        def convert(piece: Samples, last: bool) -> Samples:
            if current.channels != channels:
                piece = np.repeat(piece if current.channels == 1 else mean_of_channels(piece), channels, axis=1)
            converted: Samples = stream.resample_chunk(piece, last=last) if stream else piece
            return converted

        return convert

    def _remark(self, text: str) -> None:
        if (remark := f"{self.name}: {text}") not in self.remarks:
            self.remarks.append(remark)

    def _back_to_first(self) -> None:
        if self._current is not self._decoder:
            self._current.close()
            self._current = self._decoder

    def _check_levels(self, piece: Samples, done: int) -> None:
        if piece.max() <= MOST_LEVEL and piece.min() >= -MOST_LEVEL:  # false for NaN
            return
        row = int(np.argmin(is_level(piece).all(axis=1)))
        found = piece[row][~is_level(piece[row])][0]
        what = "NaN" if np.isnan(found) else "infinity" if np.isinf(found) else f"{found:.3g}"
        wrong = "out of range" if np.isfinite(found) else "not finite"
        again = "them" if isinstance(self._decoder, ArrayDecoder) else "the file"
        at = f"{what} at {(done + row) / self.info.sample_rate:.3f} s"
        raise RecordingError(f"{self.name}: a sample is {wrong} ({at}); write {again} again")

    def _judge_end(self, done: int, of_current: int, trouble: str | None, goes_on: bool) -> None:
        """Raise an error for a file without samples, and note one that is shorter than its header states."""
        current, rate = self._current, self.info.sample_rate
        if done == 0 and not goes_on and (trouble or self.info.frames):
            why = trouble or "it ends after the header"
            raise RecordingError(f"{self.name}: damaged: nothing in it can be decoded ({why}); copy it again")
        if done == 0 and not goes_on:
            raise RecordingError(f"{self.name}: contains no samples; record it again or leave it out")
        if current.remark and of_current:
            self._remark(current.remark)
        seconds, promised = of_current / rate, current.promised / current.sample_rate
        trouble = trouble or current.defect
        why, of = f" ({trouble})" if trouble else "", ""
        if promised > seconds:
            of = f" of {(done - of_current) / rate + promised:.2f} s"
        # Headers of compressed files include padding added by the encoder: 0.1 s, or two frames of MP3 at 8 kHz.
        is_short = seconds < promised - (max(0.1, 1152 / current.sample_rate) if current.compressed else 0.001)
        if (trouble or is_short) and goes_on:
            self.note = f"{self.name}: damaged at {done / rate:.2f} s{why}; reading continues after the damage"
        elif trouble or is_short:
            self.note = f"{self.name}: damaged or cut short: decoded up to {done / rate:.2f} s{of}{why}"
        self.is_short = self._stop is not None and not goes_on
        if not goes_on and done <= self._first > 0:
            where = self.note or f"{self.name}: {done / rate:.2f} s long"
            raise RecordingError(f"{where}, so it ends before --start {self.start_seconds:g}; give an earlier --start")


def open_recording(
    path: str | Path | BinaryIO | AnyArray,
    raw: RawFormat | None = None,
    may_copy: bool = True,
    name: str | None = None,
    excerpt: Selection | None = None,
    sample_rate: int | None = None,
) -> Recording:
    """Open a file, a pipe, a binary stream, or an array with a sample_rate. `raw` gives the format of samples without a
    header. The source need not be seekable.

    In a pipe, WAV, AIFF, AU and W64 are decoded as they arrive. Other formats are copied to a temporary file first, or
    raise an error if may_copy is false. Raises RecordingError if the source is missing, a folder, empty, not audio, or
    damaged from the first byte.
    """
    if isinstance(path, np.ndarray) or not (isinstance(path, str | os.PathLike) or hasattr(path, "read")):
        return Recording(ArrayDecoder(path, sample_rate), name or ARRAY_NAME, excerpt)
    if sample_rate is not None:
        raise UsageError("sample_rate is valid only for arrays; omit it, because a recording states its own")
    if name is None:
        name = show_name(path if isinstance(path, str | os.PathLike) else getattr(path, "name", "stream"))
    if isinstance(path, io.TextIOBase):
        raise UsageError(f'{name}: opened in text mode; open it with "rb", or pass its buffer')
    return Recording(open_decoder(path, name, raw, may_copy, excerpt.track if excerpt else None), name, excerpt)


def read_info(path: str | Path | BinaryIO) -> RecordingInfo:
    """Rate, channels and length according to the header. Raises RecordingError like `open_recording`."""
    with open_recording(path) as recording:
        return recording.info


def read_samples(
    path: str | Path | BinaryIO, sample_rate: int | None = None, channel: str | int = "mix"
) -> tuple[Samples, int]:
    """A whole recording as float32 (channels, samples), and its rate in Hz. Raises RecordingError like `blocks`."""
    with open_recording(path) as recording:
        blocks = list(recording.blocks(sample_rate, channel))
        return np.concatenate(blocks, axis=1), sample_rate or recording.info.sample_rate


def _resampler(rate_in: int, rate_out: int, channels: int, name: str, live: bool = False) -> Any:
    import soxr

    try:
        if live:
            return LiveResampler(rate_in, rate_out, channels)
        return soxr.ResampleStream(rate_in, rate_out, channels, dtype="float32", quality="HQ")
    except (ValueError, RuntimeError) as error:
        what = f"{rate_in} Hz, {channels} channels to {rate_out} Hz"
        raise RecordingError(f"{name}: cannot be resampled from {what} ({describe_error(error)}); {CONVERT}") from None
