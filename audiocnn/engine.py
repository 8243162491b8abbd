"""Samples to scores: a model on a device, fed with a recording of any length in chunks, in constant memory."""

from __future__ import annotations

import os
import re
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from audiocnn.errors import ModelError, UsageError
from audiocnn.localising import apart, as_rows
from audiocnn.model import ONNX, Model
from audiocnn.onnx_check import MOST_BYTES, check_onnx
from audiocnn.onnx_session import open_session
from audiocnn.windows import ChunkPlan, Geometry
from audiocnn.workers import Workers

if TYPE_CHECKING:
    import torch

    from audiocnn.network import Network
    from audiocnn.weights import Ensemble

Scores = NDArray[np.float32]
Samples = NDArray[np.float32]
CHUNK_SECONDS = 30.0
DAMAGED = "its weights are damaged: copy the model folder again, or train again"
GPU_CHUNKS = 32  # in one batch; fewer where its memory is too small


class Backend(Protocol):
    """Runs the network on the samples given, without extending them."""

    device: str

    def run(self, samples: Samples) -> Scores:
        """(batch, channels, samples) -> (batch, rows, outputs): scores, and behind them edges where there are any."""
        ...


class OnnxBackend:
    """ONNX Runtime on the CPU."""

    device = "cpu"

    def __init__(self, model: Model, threads: int | None = None) -> None:
        path = model.part(ONNX)
        content = read_onnx(path)
        check_onnx(content, path)
        try:
            self.session = open_session(content, threads or usable_cores())
            names = {value.name for value in self.session.get_overridable_initializers()}
            parts = self.session.get_outputs()
            self.parts = ["scores", "edges"] if model.localises else ["scores"]
            fits = "extend" in names and parts[0].shape[-1] == len(model.labels)
            fits = fits and [part.name for part in parts] == self.parts
            said = self.session.get_modelmeta().custom_metadata_map
        except Exception as problem:  # noqa: BLE001 - onnxruntime raises many kinds; all mean a damaged file
            why = " ".join(str(problem).split())[:160]
            raise ModelError(f"{path}: cannot be loaded ({why}); make it again with `audiocnn export`") from None
        if not fits or not made_for(model, said):
            raise ModelError(
                f"{path}: does not belong to this model; make it again with `audiocnn export {model.folder}`"
            )
        self.path = path
        self.no_extension = np.zeros(2, dtype=np.int64)

    def run(self, samples: Samples) -> Scores:
        feeds = {"samples": samples, "extend": self.no_extension}
        try:
            found = self.session.run(self.parts, feeds)
        except Exception as problem:  # noqa: BLE001 - as above; what cannot be run may be known only now
            why = " ".join(str(problem).split())[:160]
            raise ModelError(f"{self.path}: cannot be run ({why}); make it again with `audiocnn export`") from None
        return as_rows(*found)


def read_onnx(path: Path) -> bytes:
    """A file of a size that it may have. ModelError."""
    try:
        size = path.stat().st_size
        if size <= MOST_BYTES:
            return path.read_bytes()
    except OSError as problem:
        raise ModelError(f"{path}: cannot be read ({problem.strerror}); check its rights") from None
    raise ModelError(f"{path}: {size} bytes are more than an ONNX file can have; copy the folder again")


def made_for(model: Model, said: Mapping[str, str]) -> bool:
    """Whether the metadata of a file tell of the network that `model.toml` describes. Scores would lie elsewhere."""
    geometry = model.geometry
    wanted = {name: getattr(geometry, name) for name in ("sample_rate", "hop_samples", "window_samples")}
    return all(name not in said or said[name] == str(value) for name, value in wanted.items())


class TorchBackend:
    """torch on any device, in half precision if that is wanted: scores then differ by less than 1e-2."""

    def __init__(self, network: Network | Ensemble, device: torch.device, half: bool = False) -> None:
        self.network, self.device, self.half = network.to(device).eval(), str(device), half

    def run(self, samples: Samples) -> Scores:
        scores = self.run_with(samples, self.half)
        if self.half and not np.isfinite(scores).all():
            # Half precision ends at 65,504: powers, and floats of a large scale, may lie above.
            scores = self.run_with(samples, False)
        return scores

    def run_with(self, samples: Samples, half: bool) -> Scores:
        """(batch, channels, samples) -> (batch, rows, outputs); a batch that is too large in two parts."""
        import torch

        try:
            with torch.inference_mode():
                found = self.network(torch.from_numpy(samples).to(self.device), half)
                scores: Scores = found.float().cpu().numpy()
        except RuntimeError as problem:
            if not isinstance(problem, torch.OutOfMemoryError) and "out of memory" not in str(problem):  # MPS says so
                raise
            if len(samples) == 1:
                raise ModelError(f"{self.device}: not enough memory for this model; use --device cpu") from None
        else:
            return scores
        torch.cuda.empty_cache()
        middle = len(samples) // 2
        return np.concatenate([self.run_with(samples[:middle], half), self.run_with(samples[middle:], half)])


class Engine:
    """Scores recordings with one model on one device.

    The network runs in `jobs` threads (`Workers`), some chunks ahead of whoever takes the scores.
    """

    def __init__(
        self, model: Model, backend: Backend, chunk_seconds: float = CHUNK_SECONDS, jobs: int = 1, batch_chunks: int = 1
    ) -> None:
        self.model, self.backend, self.jobs = model, backend, jobs
        self.geometry: Geometry = model.geometry
        self.channels = model.channels
        wanted = max(chunk_seconds, 4 * self.geometry.window_seconds)
        self.chunk_rows = max(1, round(wanted / self.geometry.hop_seconds))
        chunk_samples = self.chunk_rows * self.geometry.hop_samples + self.geometry.window_samples
        self.chunks_ahead = jobs + 2 * batch_chunks
        self.workers = Workers(backend.run, jobs, batch_chunks * chunk_samples * self.channels)
        weakref.finalize(self, self.workers.dismiss).atexit = False  # they hold the backend, not the engine

    @property
    def hop_seconds(self) -> float:
        """The distance between two rows of scores."""
        return self.geometry.hop_seconds

    @property
    def device(self) -> str:
        """Where the network runs."""
        return self.backend.device

    def close(self) -> None:
        """End the threads at once. They also end when nobody has the engine any more."""
        self.workers.close()

    def score(self, samples: Samples) -> Scores:
        """(channels, samples) of a whole recording at the model's rate -> (rows, classes)."""
        return apart(self.outputs(samples), len(self.model.labels))[0]

    def outputs(self, samples: Samples) -> Scores:
        """As `score`, but (rows, outputs): the edges behind the scores, where the model localises."""
        empty = np.zeros((0, self.model.specs[0].outputs), dtype=np.float32)
        return np.concatenate([empty, *self.score_blocks([samples])])

    def score_blocks(self, blocks: Iterable[Samples]) -> Iterator[Scores]:
        """Blocks (channels, samples) of one recording, in order -> blocks of rows (rows, outputs), in order."""
        for tracks in self.score_tracks(blocks):
            yield tracks[0]

    def score_tracks(self, blocks: Iterable[Samples]) -> Iterator[Scores]:
        """Blocks (channels, samples) -> (tracks, rows, outputs): for a network of one channel, each channel of the
        recording is a track of its own; otherwise all channels together are one track."""
        ahead: deque[ChunkScores] = deque()
        try:
            for scores in self.submitted(blocks):
                ahead.append(scores)
                while len(ahead) > self.chunks_ahead or (ahead and ahead[0].done()):
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for scores in ahead:
                scores.cancel()

    def score_live(self, blocks: Iterable[Samples]) -> Iterator[Scores]:
        """As `score_tracks`, but every row comes as soon as its samples are there, computed in the calling thread."""
        for samples, drop, rows in self.chunks(blocks, paused=lambda: True):
            yield kept_rows(self.backend.run(self.as_tracks(samples)), drop, rows)

    def submitted(self, blocks: Iterable[Samples], paused: Callable[[], bool] | None = None) -> Iterator[ChunkScores]:
        """One `ChunkScores` for each chunk, in order. Going on reads blocks and hands them to the workers; it never
        waits for scores. How far to go ahead is the caller's choice. For a stream, `paused` says after each block
        whether nothing more is there for now: then all rows that have their samples go as a smaller chunk."""
        for samples, drop, rows in self.chunks(blocks, paused):
            tracks = self.as_tracks(samples)
            if rows < self.chunk_rows and self.geometry.shift_exact:
                # Short ones of nearly the same length get the same: so they fit in one batch. The rows that zeros
                # after the end add are dropped; no other row sees them.
                length = tracks.shape[-1]
                longer = np.zeros((*tracks.shape[:2], length + -length % bucket(length)), np.float32)
                longer[..., :length] = tracks
                tracks = longer
            yield ChunkScores(self.workers.submit(tracks), drop, rows)

    def chunks(
        self, blocks: Iterable[Samples], paused: Callable[[], bool] | None = None
    ) -> Iterator[tuple[Samples, int, int]]:
        """Blocks (channels, samples) -> (samples of a chunk, rows to drop at its start, rows to keep)."""
        plan: ChunkPlan | None = None
        for block in blocks:
            plan = plan or ChunkPlan(self.geometry, self.chunk_rows, len(block))
            plan.push(block)
            live = paused is not None and paused()
            while (ready := plan.next_chunk(last=False, live=live)) is not None:
                yield ready
        while plan and (ready := plan.next_chunk(last=True)) is not None:
            yield ready

    def as_tracks(self, samples: Samples) -> Samples:
        """(channels of the recording, samples) -> (tracks, channels of the network, samples)."""
        return samples[:, None] if self.channels == 1 else samples[None]


class ChunkScores:
    """The scores of one chunk, which a worker is to compute."""

    def __init__(self, future: Future[Scores], drop: int, rows: int) -> None:
        self.future, self.drop, self.rows = future, drop, rows

    def done(self) -> bool:
        """Whether `result` would come at once."""
        return self.future.done()

    def result(self) -> Scores:
        """(tracks, rows, outputs), less the rows that only carried context. Waits for it."""
        return kept_rows(self.future.result(), self.drop, self.rows)

    def cancel(self) -> None:
        """Nobody wants it any more."""
        self.future.cancel()


def kept_rows(scores: Scores, drop: int, rows: int) -> Scores:
    """(tracks, rows, outputs) less what only carried context. ModelError for what no network gives that is whole."""
    kept = scores[:, drop : drop + rows]
    if kept.shape[1] != rows:
        raise ModelError(f"the network gives {kept.shape[1]} scores where {rows} belong; {DAMAGED}")
    if not np.isfinite(kept).all():
        raise ModelError(f"the network gives scores that are no numbers; {DAMAGED}")
    return kept


def bucket(samples: int) -> int:
    """Lengths are rounded up to a multiple of this: a power of two, at most a sixteenth of the length."""
    return 1 << max(0, samples.bit_length() - 5)


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load_engine(model: Model, device: str = "auto", jobs: int | None = None) -> Engine:
    """An engine for a model. `auto` and `cpu` run ONNX Runtime, `jobs` chunks at a time, by default one a core; threads
    for one chunk x jobs = cores. `cuda[:N]` and `mps` run torch."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?|mps", device):
        raise UsageError(f'--device cannot be "{device}"; use auto, cpu, cuda, cuda:N or mps')
    if device in ("auto", "cpu"):
        jobs = jobs or usable_cores()
        return Engine(model, OnnxBackend(model, max(1, usable_cores() // jobs)), jobs=jobs)
    import torch

    from audiocnn.weights import load_networks

    there = torch.backends.mps.is_available() if device == "mps" else torch.cuda.is_available()
    count = torch.cuda.device_count() if device.startswith("cuda") else 1
    if not there or int(device.partition(":")[2] or 0) >= count:
        raise UsageError(f"--device {device}: there is no such device here; use --device cpu")
    cuda = device.startswith("cuda")
    backend = TorchBackend(load_networks(model), torch.device(device), half=cuda)
    # Two threads, so that one batch is copied while another is computed.
    return Engine(model, backend, jobs=2 if cuda else 1, batch_chunks=GPU_CHUNKS)
