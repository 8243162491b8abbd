"""ingest --ray: the workers of a cluster decode, and one process writes the dataset, which is that of one machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiocnn.addresses import Remote, absolute
from audiocnn.decoding import Carried, Decoded, Job, decode, reason_of
from audiocnn.errors import RecordingError, UsageError
from audiocnn_cli.cluster import deal, joined
from audiocnn_cli.cluster_worker import DEADLY, Worker
from audiocnn_cli.terminal import Terminal

# What has more is decoded by who writes, block by block: here a recording is in memory whole, several times.
MOST_SAMPLES = 1 << 26

DecodeAll = Callable[[Iterable[Job], int, int, int], Iterator[tuple[Job, Decoded | str | None]]]


@dataclass(frozen=True)
class Wanted:
    """A file to decode. deadly: its worker has died of it."""

    path: Path | Remote
    deadly: bool = False


@dataclass(frozen=True)
class Brought:
    """int16 (channels, n) blocks of a recording, and what is told of it. Without blocks it is too long for that."""

    blocks: list[NDArray[np.int16]]
    recording: Carried


class DecodeWorker(Worker[Wanted, "Brought | str"]):
    """Decodes files: one a work."""

    def __init__(self, ledger: Any, workers: int, version: str, sample_rate: int, channels: int) -> None:
        from audiocnn import __version__

        if version != __version__:
            raise UsageError(f"a worker has audiocnn {__version__}, not {version}; install the same everywhere")
        super().__init__(ledger, workers)
        self.sample_rate, self.channels = sample_rate, channels

    def do(self, items: Sequence[Wanted]) -> Brought | str:
        """The samples of a file, or why there are none."""
        (item,) = items
        return DEADLY if item.deadly else bring(item.path, self.sample_rate, self.channels)

    def refused(self, item: Wanted) -> Wanted:
        """Not to be opened again."""
        return Wanted(item.path, deadly=True)


def bring(path: Path | Remote, sample_rate: int, channels: int) -> Brought | str:
    """A file to its end."""
    decoded = decode(path, sample_rate, channels)
    if isinstance(decoded, str):
        return decoded
    blocks: list[NDArray[np.int16]] = []
    samples = 0
    with decoded.recording as recording:
        try:
            for block in decoded.blocks():
                samples += block.size
                if samples > MOST_SAMPLES:
                    blocks = []
                    break
                blocks.append(block)
        except RecordingError as error:
            return reason_of(error, path)
        return Brought(blocks, Carried(recording.info, recording.name, recording.note))


def decoder_on(address: str, workers: int | None, terminal: Terminal) -> DecodeAll:
    """What decodes in the place of `decode_ahead`."""

    def decode_all(
        work: Iterable[Job], sample_rate: int, channels: int, threads: int
    ) -> Iterator[tuple[Job, Decoded | str | None]]:
        jobs = list(work)
        fresh = [Wanted(from_anywhere(job.item.path)) for job in jobs if job.fresh]
        if not fresh:
            yield from ((job, None) for job in jobs)
            return
        from audiocnn import __version__

        with joined(address, workers, "cpu", terminal) as cluster:
            works = [[one] for one in fresh]
            dealt = deal(cluster, works, DecodeWorker, __version__, sample_rate, channels, ordered=True)
            with closing(dealt):
                for job in jobs:
                    yield job, decoded_of(next(dealt)[1], job, sample_rate, channels) if job.fresh else None

    return decode_all


def from_anywhere(path: Path | Remote) -> Path | Remote:
    """As another machine can open it."""
    if isinstance(path, Remote):
        return Remote(absolute(path.url))
    return Path(os.path.abspath(path))  # noqa: PTH100 - links stay


def decoded_of(brought: Brought | str, job: Job, sample_rate: int, channels: int) -> Decoded | str:
    """As the writer takes it."""
    if isinstance(brought, str):
        return brought
    if not brought.blocks:
        return decode(job.item.path, sample_rate, channels)
    return Decoded(brought.blocks, iter(()), brought.recording)
