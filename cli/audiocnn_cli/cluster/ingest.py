"""ingest --ray: the workers of a cluster decode, and one process writes the dataset, as on a single machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiocnn.audio.remote import Remote, absolute
from audiocnn.data.decode import (
    Decoded,
    DecodeJob,
    ReceivedRecording,
    decode_recording,
    read_decoded,
    reason_without_name,
)
from audiocnn.errors import RecordingError, UsageError
from audiocnn_cli.app.terminal import Terminal
from audiocnn_cli.cluster.ray import connect_ray, deal_out
from audiocnn_cli.cluster.worker import DEADLY, Worker

# Longer recordings are decoded block by block in the writing process: a worker holds several copies in memory.
_MOST_SAMPLES = 1 << 26
DecodeAll = Callable[[Iterable[DecodeJob], int, int, int], Iterator[tuple[DecodeJob, Decoded | str | None]]]


@dataclass(frozen=True)
class FileToDecode:
    """A file to decode. deadly: it has crashed its worker."""

    path: Path | Remote
    deadly: bool = False


@dataclass(frozen=True)
class DecodedFile:
    """int16 (channels, n) blocks of a recording, and its metadata. Without blocks, the recording is too long for a
    worker. scale: see `Entry`."""

    blocks: list[NDArray[np.int16]]
    recording: ReceivedRecording
    scale: float


class DecodeWorker(Worker[FileToDecode, "DecodedFile | str"]):
    def __init__(self, ledger: Any, workers: int, version: str, sample_rate: int, channels: int) -> None:
        from audiocnn import __version__

        if version != __version__:
            raise UsageError(f"a worker has audiocnn {__version__}, not {version}; install one version everywhere")
        super().__init__(ledger, workers)
        self.sample_rate, self.channels = sample_rate, channels

    def do(self, items: Sequence[FileToDecode]) -> DecodedFile | str:
        (item,) = items
        return DEADLY if item.deadly else decode_whole(item.path, self.sample_rate, self.channels)

    def refused(self, item: FileToDecode) -> FileToDecode:
        return FileToDecode(item.path, deadly=True)


def decode_whole(path: Path | Remote, sample_rate: int, channels: int) -> DecodedFile | str:
    """The samples of a file, or the reason why it cannot be decoded."""
    decoded = decode_recording(path, sample_rate, channels)
    if isinstance(decoded, str):
        return decoded
    try:
        return read_decoded(decoded, _gather_blocks, path, sample_rate, channels)
    except RecordingError as error:
        return reason_without_name(error, path)


def _gather_blocks(decoded: Decoded) -> DecodedFile:
    blocks: list[NDArray[np.int16]] = []
    samples, recording = 0, decoded.recording
    for block in decoded.blocks():
        samples += block.size
        if samples > _MOST_SAMPLES:
            blocks = []
            break
        blocks.append(block)
    received = ReceivedRecording(recording.info, recording.name, recording.note, recording.remarks)
    return DecodedFile(blocks, received, decoded.scale)


def decoder_on(address: str, workers: int | None, terminal: Terminal) -> DecodeAll:
    """A function to use in place of `decode_ahead`."""

    def decode_all(
        work: Iterable[DecodeJob], sample_rate: int, channels: int, threads: int
    ) -> Iterator[tuple[DecodeJob, Decoded | str | None]]:
        jobs = list(work)
        fresh = [FileToDecode(from_anywhere(job.item.path)) for job in jobs if job.fresh]
        if not fresh:
            yield from ((job, None) for job in jobs)
            return
        from audiocnn import __version__

        with connect_ray(address, workers, "cpu", terminal) as cluster:
            works = [[one] for one in fresh]
            dealt = deal_out(cluster, works, DecodeWorker, __version__, sample_rate, channels, ordered=True)
            with closing(dealt):
                for job in jobs:
                    yield job, decoded_of(next(dealt)[1], job, sample_rate, channels) if job.fresh else None

    return decode_all


def from_anywhere(path: Path | Remote) -> Path | Remote:
    """The path as another machine can open it."""
    if isinstance(path, Remote):
        return Remote(absolute(path.url))
    return Path(os.path.abspath(path))  # noqa: PTH100 - links stay


def decoded_of(brought: DecodedFile | str, job: DecodeJob, sample_rate: int, channels: int) -> Decoded | str:
    if isinstance(brought, str):
        return brought
    if not brought.blocks:
        return decode_recording(job.item.path, sample_rate, channels)
    return Decoded(brought.blocks, iter(()), brought.recording, brought.scale)
