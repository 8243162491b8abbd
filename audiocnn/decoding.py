"""Decoding for ingest: threads that run a bounded number of files ahead of the writer, in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audiocnn.addresses import Remote, openable
from audiocnn.dataset import as_int16
from audiocnn.dataset_writer import Item, Stored
from audiocnn.errors import RecordingError
from audiocnn.recording import Recording, RecordingInfo, open_recording, show_name

# What one recording has beyond this is streamed by the writer, so that memory does not follow its length.
_AHEAD_SAMPLES = 1 << 21
_FILES_AHEAD = 4


@dataclass(frozen=True)
class Job:
    """An item, what the dataset holds of it, and by what its file is known to have changed."""

    item: Item
    stored: Stored | None
    identity: tuple[int, int]

    @property
    def fresh(self) -> bool:
        """Whether the samples have to be read."""
        return self.stored is None or (self.stored.size, self.stored.mtime_ns) != self.identity


@dataclass(frozen=True)
class Carried:
    """What is told of a recording that another process has read."""

    info: RecordingInfo
    name: str
    note: str | None

    def __enter__(self) -> Carried:
        return self

    def __exit__(self, *_: object) -> None:
        """It is closed."""


@dataclass(frozen=True)
class Decoded:
    """The first int16 (channels, n) blocks of a recording, and the recording, from which the rest comes."""

    head: list[NDArray[np.int16]]
    rest: Iterator[NDArray[np.int16]]
    recording: Recording | Carried

    def blocks(self) -> Iterator[NDArray[np.int16]]:
        """All blocks; RecordingError as in Recording.blocks."""
        return chain(self.head, self.rest)


def decode_ahead(
    work: Iterable[Job], sample_rate: int, channels: int, threads: int
) -> Iterator[tuple[Job, Decoded | str | None]]:
    """Each job in order with its samples, or the reason why there are none, or None: its file is known."""
    waiting: deque[tuple[Job, Future[Decoded | str] | None]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
    try:
        for job in work:
            waiting.append((job, pool.submit(decode, job.item.path, sample_rate, channels) if job.fresh else None))
            if len(waiting) > _FILES_AHEAD * threads:
                yield _next(waiting)
        while waiting:
            yield _next(waiting)
    finally:
        pool.shutdown(cancel_futures=True)


def default_threads() -> int:
    """Two, where there are two cores: the writer and the disk are the limit from there on."""
    return min(2, os.cpu_count() or 1)


def decode(path: Path | Remote, sample_rate: int, channels: int) -> Decoded | str:
    """The recording with its first blocks; the reason if it cannot be read, or has not that many channels.

    channels 1 is the mean of all that the recording has; for more, a mono recording is repeated.
    """
    try:
        recording = open_recording(openable(path))
    except RecordingError as error:
        return reason_of(error, path)
    try:
        have = recording.info.channels
        if have > 1 and channels not in (1, have):
            raise RecordingError(f"{have} channels, and this dataset keeps {channels}; convert it or leave it out")
        blocks = recording.blocks(sample_rate, "mix" if channels == 1 else "each")
        rest = (np.repeat(as_int16(block), channels if have == 1 else 1, axis=0) for block in blocks)
        head: list[NDArray[np.int16]] = []
        samples = 0
        for block in rest:
            head.append(block)
            samples += block.shape[1]
            if samples > _AHEAD_SAMPLES:
                break
    except RecordingError as error:
        recording.close()
        return reason_of(error, path)
    return Decoded(head, rest, recording)


def reason_of(error: RecordingError, path: Path | Remote) -> str:
    """The message without the name, which stands beside it."""
    return str(error).removeprefix(f"{show_name(path)}: ")


def _next(waiting: deque[tuple[Job, Future[Decoded | str] | None]]) -> tuple[Job, Decoded | str | None]:
    job, future = waiting.popleft()
    return job, future.result() if future is not None else None
