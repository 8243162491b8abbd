"""Decoding of recordings for ingest, in threads but in order, a bounded number of files ahead of the writer:
`decode_ahead`.

Samples are stored as int16 with one scale a recording. For a recording longer than what is read ahead, the scale is
certain only at the end. If the provisional scale was wrong, the recording is read again (`read_decoded`).
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from audiocnn.audio.arrays import ArraySource
from audiocnn.audio.pcm import Samples
from audiocnn.audio.recording import Recording, RecordingInfo, open_recording
from audiocnn.audio.remote import Remote, openable
from audiocnn.data.dataset import ScaleFinder, as_int16
from audiocnn.data.writer import Item, StoredRecording
from audiocnn.errors import RecordingError, show_name

# The writer streams the rest of a longer recording, so that memory does not grow with its length.
_AHEAD_SAMPLES = 1 << 21
_FILES_AHEAD = 4
DEFAULT_DECODE_THREADS = 2  # beyond that, the writer and the disk are the limit
_Read = TypeVar("_Read")
SourceLike = Path | Remote | ArraySource


class ScaleError(Exception):
    """Raised at the end of a recording: the right scale is `scale`, not the provisional one."""

    def __init__(self, scale: float) -> None:
        super().__init__(f"scale {scale:g}")
        self.scale = scale


@dataclass(frozen=True)
class DecodeJob:
    item: Item
    stored: StoredRecording | None
    identity: tuple[int, int]

    @property
    def fresh(self) -> bool:
        return self.stored is None or (self.stored.size, self.stored.mtime_ns) != self.identity


@dataclass(frozen=True)
class ReceivedRecording:
    """Facts about a recording that another process has read."""

    info: RecordingInfo
    name: str
    note: str | None
    remarks: list[str]

    def __enter__(self) -> ReceivedRecording:
        return self

    def __exit__(self, *_: object) -> None:
        pass


@dataclass(frozen=True)
class Decoded:
    """The first int16 (channels, n) blocks of a recording; the rest is read from `recording`. scale: see `Entry`."""

    head: list[NDArray[np.int16]]
    rest: Iterator[NDArray[np.int16]]
    recording: Recording | ReceivedRecording
    scale: float

    def blocks(self) -> Iterator[NDArray[np.int16]]:
        """All blocks. Raises RecordingError like Recording.blocks, and ScaleError after the last block."""
        return chain(self.head, self.rest)


def decode_ahead(
    work: Iterable[DecodeJob], sample_rate: int, channels: int, threads: int
) -> Iterator[tuple[DecodeJob, Decoded | str | None]]:
    """Each job in order with its samples, the reason for a refusal, or None for an unchanged file."""
    waiting: deque[tuple[DecodeJob, Future[Decoded | str] | None]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
    try:
        for job in work:
            waiting.append(
                (job, pool.submit(decode_recording, job.item.path, sample_rate, channels) if job.fresh else None)
            )
            if len(waiting) > _FILES_AHEAD * threads:
                yield _next(waiting)
        while waiting:
            yield _next(waiting)
    finally:
        pool.shutdown(cancel_futures=True)


def default_threads() -> int:
    return min(DEFAULT_DECODE_THREADS, os.cpu_count() or 1)


def read_decoded(
    decoded: Decoded, read: Callable[[Decoded], _Read], path: SourceLike, sample_rate: int, channels: int
) -> _Read:
    """The result of `read` for all blocks of a recording at the right scale; `read` may be called a second time. Raises
    RecordingError, also if the recording cannot be reopened."""
    with decoded.recording:
        try:
            return read(decoded)
        except ScaleError as other:
            again = decode_recording(path, sample_rate, channels, other.scale)
    if isinstance(again, str):
        raise RecordingError(again)
    with again.recording:
        return read(again)


def decode_recording(path: SourceLike, sample_rate: int, channels: int, scale: float | None = None) -> Decoded | str:
    """The recording with its first blocks, or the reason why it cannot be read or does not fit `channels`.

    channels: 1 for the mean of all channels; with more, a mono recording is repeated. scale: if known; None to find it.
    """
    try:
        if isinstance(path, ArraySource):
            recording = open_recording(path.samples, name=path.name, sample_rate=path.sample_rate)
        else:
            recording = open_recording(openable(path))
    except RecordingError as error:
        return reason_without_name(error, path)
    try:
        have = recording.info.channels
        if have > 1 and channels not in (1, have):
            raise RecordingError(f"has {have} channels, but this dataset has {channels}; convert it or leave it out")
        blocks = recording.blocks(sample_rate, "mix" if channels == 1 else "each")
        copies, found = channels if have == 1 else 1, ScaleFinder()
        first: list[Samples] = []
        samples, is_whole = 0, True
        for block in blocks:
            found.add(block)
            first.append(block)
            samples += block.shape[1] * copies
            if samples > _AHEAD_SAMPLES:
                is_whole = False
                break
    except RecordingError as error:
        recording.close()
        return reason_without_name(error, path)
    taken = scale or (found.scale if is_whole else found.likely_scale)

    def rest() -> Iterator[NDArray[np.int16]]:
        for block in blocks:
            found.add(block)
            yield np.repeat(as_int16(block, taken), copies, axis=0)
        if scale is None and not found.fits(taken):
            raise ScaleError(found.scale)

    head = [np.repeat(as_int16(block, taken), copies, axis=0) for block in first]
    return Decoded(head, rest(), recording, taken)


def reason_without_name(error: RecordingError, path: SourceLike) -> str:
    """The message without the name of the recording, which is printed next to it."""
    return str(error).removeprefix(f"{show_name(path)}: ")


def _next(waiting: deque[tuple[DecodeJob, Future[Decoded | str] | None]]) -> tuple[DecodeJob, Decoded | str | None]:
    job, future = waiting.popleft()
    return job, future.result() if future is not None else None
