"""From samples to scores: a model on a device, run on a recording of any length in chunks, with constant memory.

Score k is centred on its window and stands for one hop, the samples [k * hop, (k + 1) * hop); the rows tile the
recording. Row k needs the samples [k * hop - before, k * hop - before + core), with zeros outside the recording. Each
chunk of rows gets exactly the samples that its rows need. For a network that pads in time, extra rows are added on both
sides and dropped from the result. The scores therefore equal those of the whole recording at once.
"""

from __future__ import annotations

import functools
import os
import re
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from audiocnn.audio.arrays import AnyArray, as_floats, channels_of
from audiocnn.audio.pcm import Samples
from audiocnn.errors import ModelError, UsageError, check_not_forked, export_command
from audiocnn.inference.batcher import Backend, Batcher, Scores
from audiocnn.inference.chunks import Chunk, ChunkPlan, FrameSizes, kept_rows
from audiocnn.inference.steps import ChunkStepper, Stepper, StepSession, TailStepper
from audiocnn.model.model import ONNX, STREAM_ONNX, Model, ModelLike, find_model, join_outputs, split_outputs
from audiocnn.model.onnx import CUT_AT, CUT_VALUE, OnnxFile, cut_graph, says_geometry
from audiocnn.packages import TORCH_PACKAGES, check_packages
from audiocnn.spec.geometry import NO_CROP, Crop, Geometry

if TYPE_CHECKING:
    import onnxruntime
    import torch

    from audiocnn.model.network import Network
    from audiocnn.model.weights import Ensemble

CHUNK_SECONDS = 20.0
_PIECE_SECONDS = 8.0  # of features computed at once, so that the intermediate values fit into the cache of a core
_GPU_CHUNKS = 32  # in one batch; fewer if the memory of the GPU is too small


class OnnxBackend:
    device = "cpu"

    def __init__(self, model: Model, threads: int = 1) -> None:
        self.model, self.parts = model, ["scores", "edges"] if model.localises else ["scores"]
        self.no_extension = np.zeros(2, dtype=np.int64)
        self.crops = self.in_parts = False
        self.open = functools.partial(OnnxFile, model.part(ONNX), export_command(model.folder), threads)
        self.file = self.open(self._is_for_model)
        self.front_and_rest: tuple[OnnxFile, OnnxFile] | None = None  # opened for the first long recording
        self.opening = threading.Lock()

    def _is_for_model(self, session: onnxruntime.InferenceSession) -> bool:
        names = {value.name for value in session.get_overridable_initializers()}
        self.crops = "crop" in names
        self.in_parts = session.get_modelmeta().custom_metadata_map.get(CUT_AT) == CUT_VALUE
        parts = session.get_outputs()
        fits = "extend" in names and parts[0].shape[-1] == len(self.model.labels)
        return fits and [part.name for part in parts] == self.parts and says_geometry(session, self.model.geometry)

    def _halves(self) -> tuple[OnnxFile, OnnxFile]:
        """For a network with level normalisation: the part that computes its features, and the rest."""
        with self.opening:
            if self.front_and_rest is None:
                window = self.model.specs[0].window_size()
                sizes: list[int | str] = ["batch", window.channels, *window.axes[:-1], "frames"]
                front = functools.partial(cut_graph, begin={}, end=[CUT_VALUE])
                rest = functools.partial(cut_graph, begin={CUT_VALUE: sizes}, end=self.parts)
                self.front_and_rest = self.open(_fits, front), self.open(_fits, rest)
            return self.front_and_rest

    def run(self, samples: Samples, crop: Crop = NO_CROP) -> Scores:
        feeds = {"samples": samples, "extend": self.no_extension}
        if any(crop) and self.crops:
            feeds["crop"] = np.array(crop, dtype=np.int64)
        # Copied, because the result is in memory of ONNX Runtime. A process forked while another thread holds the lock
        # of that memory could not release it.
        scores = join_outputs(*self.file.run(self.parts, feeds)).copy()
        if any(crop) and not self.crops:  # the file was exported before crops existed
            hop = self.model.geometry.level_hop
            scores = scores[:, crop[0] // hop : scores.shape[1] - crop[1] // hop]
        return scores

    def features(self, samples: Samples) -> Scores:
        """(batch, channels, samples) -> (batch, channels, bands, frames), if `in_parts`. In 1-D there are no bands."""
        feeds = {"samples": samples, "extend": self.no_extension}
        found: Scores = self._halves()[0].run([CUT_VALUE], feeds)[0].copy()
        return found

    def run_on(self, features: Scores, crop: Crop = NO_CROP) -> Scores:
        """The result of `run`, computed from the features of the samples."""
        feeds = {CUT_VALUE: features, "crop": np.array(crop, dtype=np.int64)}
        return join_outputs(*self._halves()[1].run(self.parts, feeds)).copy()


class TorchBackend:
    """torch on any device, optionally in half precision, which changes scores by less than 1e-2."""

    def __init__(self, network: Network | Ensemble, device: torch.device, half: bool = False) -> None:
        self.network, self.device, self.half = network.to(device).eval(), str(device), half
        self.pid = os.getpid()

    def run(self, samples: Samples, crop: Crop = NO_CROP) -> Scores:
        if self.pid != os.getpid() and self.device != "cpu":  # GPU drivers do not work in a forked process
            raise UsageError(
                f"{self.device}: an engine on a GPU cannot be used after a fork; start processes by spawn or"
                " forkserver, and load the engine in each"
            )
        scores = self.run_with(samples, self.half, crop)
        if self.half and not np.isfinite(scores).all():
            # Half precision ends at 65,504. Powers, and float samples of a large scale, may exceed it.
            scores = self.run_with(samples, False, crop)
        return scores

    def run_with(self, samples: Samples, half: bool, crop: Crop = NO_CROP) -> Scores:
        """(batch, channels, samples) -> (batch, rows, outputs). A batch that is too large is split in two."""
        import torch

        try:
            with torch.inference_mode():
                cropped = {"crop": crop} if any(crop) else {}
                found = self.network(torch.from_numpy(samples).to(self.device), half, **cropped)
                scores: Scores = found.float().cpu().numpy()
        except RuntimeError as problem:
            if not isinstance(problem, torch.OutOfMemoryError) and "out of memory" not in str(problem):  # on MPS
                raise
            if len(samples) == 1:
                raise ModelError(f"{self.device}: not enough memory for this model; use --device cpu") from None
        else:
            return scores
        torch.cuda.empty_cache()
        middle = len(samples) // 2
        parts = samples[:middle], samples[middle:]
        return np.concatenate([self.run_with(part, half, crop) for part in parts])


class Engine:
    """Scores recordings with one model on one device.

    The network runs in `jobs` threads, a few chunks ahead of the scores that are taken.
    """

    def __init__(
        self, model: Model, backend: Backend, chunk_seconds: float = CHUNK_SECONDS, jobs: int = 1, batch_chunks: int = 1
    ) -> None:
        self.model, self.backend, self.jobs = model, backend, jobs
        self.geometry: Geometry = model.geometry
        self.channels = model.channels
        self.steps: StepSession | None = None  # for live sound, opened on demand
        # If features are computed once, chunks overlap only by the context of a score. Otherwise they also overlap by
        # the context of the level normalisation; longer chunks would take more memory without being faster.
        self.cut_backend = backend if isinstance(backend, OnnxBackend) and backend.in_parts else None
        self.frames = _frames_of(model) if self.cut_backend else None
        overlap = self.geometry.near_seconds if self.frames else self.geometry.window_seconds
        wanted = max(chunk_seconds, 4 * self.geometry.near_seconds, 2 * overlap)
        self.chunk_rows = max(1, round(wanted / self.geometry.hop_seconds))
        chunk_samples = self.chunk_rows * self.geometry.hop_samples + self.geometry.window_samples
        self.chunks_ahead = jobs + 2 * batch_chunks
        self.batcher = Batcher(backend.run, jobs, batch_chunks * chunk_samples * self.channels)
        weakref.finalize(self, self.batcher.dismiss).atexit = False  # the threads hold the backend, not the engine

    @property
    def hop_seconds(self) -> float:
        return self.geometry.hop_seconds

    @property
    def device(self) -> str:
        return self.backend.device

    def close(self) -> None:
        """End the threads now. Otherwise they end when the engine is no longer referenced."""
        self.batcher.close()

    def score(self, samples: AnyArray) -> Scores:
        """Score a whole recording: (channels, samples) at the rate of the model, floats in [-1, 1] or int16 -> (rows,
        classes). Raises UsageError for an invalid array."""
        rows = channels_of(samples)
        if len(rows) != self.channels:
            wanted = f"{self.model.name} expects {self.channels}; select some, or pass array.T if samples come first"
            raise UsageError(f"samples: {len(rows)} channels, but {wanted}")
        return split_outputs(self.outputs(as_floats(rows)), len(self.model.labels))[0]

    def outputs(self, samples: Samples) -> Scores:
        """Like `score`, but returns (rows, outputs): for a model that localises, the edges follow the scores."""
        empty = np.zeros((0, self.model.specs[0].outputs), dtype=np.float32)
        return np.concatenate([empty, *(tracks[0] for tracks in self.score_tracks([samples]))])

    def score_tracks(self, blocks: Iterable[Samples]) -> Iterator[Scores]:
        """Score blocks (channels, samples) -> (tracks, rows, outputs). With a network of one channel, each channel of
        the recording is a separate track; otherwise all channels together are one track."""
        ahead: deque[ChunkScores] = deque()
        pid = os.getpid()
        try:
            for scores in self.submitted(blocks):
                ahead.append(scores)
                while len(ahead) > self.chunks_ahead or (ahead and ahead[0].future.done()):
                    yield ahead.popleft().result()
                    check_not_forked(pid, "scoring")  # before any future, whose lock a thread may have held
            while ahead:
                yield ahead.popleft().result()
                check_not_forked(pid, "scoring")
        finally:
            for scores in ahead if pid == os.getpid() else ():
                scores.cancel()

    def score_live(self, blocks: Iterable[Samples]) -> Iterator[Scores]:
        """Like `score_tracks`, but each row is computed in the calling thread as soon as its samples are available. A
        level that looks ahead is computed without the sound ahead."""
        stepper: Stepper | None = None
        for block in blocks:
            tracks = self._as_tracks(block)
            stepper = stepper or self.stepper(len(tracks))
            if (scores := stepper.push(tracks)).shape[1]:
                yield scores
        if stepper is not None and (scores := stepper.finish()).shape[1]:
            yield scores

    def stepper(self, tracks: int = 1) -> Stepper:
        """An object that scores live sound with this number of parallel tracks."""
        if self.device != "cpu" or not (self.model.folder / STREAM_ONNX).is_file():
            return ChunkStepper(self.model, self.backend, tracks)
        self.steps = self.steps or StepSession(self.model)
        return TailStepper(self.steps, tracks)

    def submitted(self, blocks: Iterable[Samples], paused: Callable[[], bool] | None = None) -> Iterator[ChunkScores]:
        """One `ChunkScores` per chunk, in order. Iterating reads blocks and passes them to the workers without waiting
        for scores; the caller decides how far to go ahead. For a stream, `paused` is called after each block and
        returns whether no more sound is available for now. Then all rows whose samples are there are processed as a
        smaller chunk."""
        pieces: deque[_Piece] = deque()
        for chunk in self._chunks(blocks, paused):
            samples, crop, drop, rows, _ = chunk
            tracks = self._as_tracks(samples)
            if chunk.frames is not None:
                future = self._submit_parts(tracks, chunk, pieces)
                yield ChunkScores(future, drop, rows, [piece.features for piece in pieces])
                continue
            if rows < self.chunk_rows and self.geometry.shift_exact:
                # Short recordings of similar length are extended to the same length, a multiple of a power of two that
                # is at most a sixteenth of it, so that they fit into one batch. The rows of the added zeros are
                # dropped, and no other row sees these zeros.
                length = tracks.shape[-1]
                step = 1 << max(0, length.bit_length() - 5)
                longer = np.zeros((*tracks.shape[:2], length + -length % step), np.float32)
                longer[..., :length] = tracks
                tracks = longer
            yield ChunkScores(self.batcher.submit(tracks, crop), drop, rows)

    def _submit_parts(self, tracks: Samples, chunk: Chunk, pieces: deque[_Piece]) -> Future[Scores]:
        """Submit the features of new frames, piece by piece, and the rest of the network on all that the chunk needs.
        pieces: those of this recording that exist already."""
        backend = self.cut_backend
        assert backend is not None and self.frames is not None and chunk.frames is not None
        first, stop = chunk.frames
        length, hop = self.frames
        most = max(1, round(_PIECE_SECONDS * self.geometry.sample_rate / hop))
        start = pieces[-1].stop if pieces else first
        for new in range(start, stop, most):
            end = min(new + most, stop)
            samples = tracks[..., (new - start) * hop : (end - 1 - start) * hop + length]
            compute = functools.partial(backend.features, np.ascontiguousarray(samples))
            pieces.append(_Piece(new, end, self.batcher.submit_call(compute)))
        while pieces[0].stop <= first:
            pieces.popleft()
        there, needed = first - pieces[0].start, [piece.features for piece in pieces]

        def run() -> Scores:
            found = [future.result() for future in needed]
            found[0] = found[0][..., there:]
            return backend.run_on(np.concatenate(found, axis=-1)[..., : stop - first], chunk.crop)

        return self.batcher.submit_call(run)

    def _chunks(self, blocks: Iterable[Samples], paused: Callable[[], bool] | None = None) -> Iterator[Chunk]:
        """Blocks (channels, samples) of a recording -> the chunks to run the network on."""
        plan: ChunkPlan | None = None
        for block in blocks:
            plan = plan or ChunkPlan(self.geometry, self.chunk_rows, len(block), self.frames)
            plan.push(block)
            partial = paused is not None and paused()
            while (ready := plan.next_chunk(last=False, partial=partial)) is not None:
                yield ready
        while plan and (ready := plan.next_chunk(last=True)) is not None:
            yield ready

    def _as_tracks(self, samples: Samples) -> Samples:
        """(channels of the recording, samples) -> (tracks, channels of the network, samples)."""
        return samples[:, None] if self.channels == 1 else samples[None]


class _Piece(NamedTuple):
    """Features of the frames [start, stop) of a recording."""

    start: int
    stop: int
    features: Future[Scores]


class ChunkScores:
    """The scores of one chunk, computed by a thread of the batcher."""

    def __init__(self, future: Future[Scores], drop: int, rows: int, needs: Sequence[Future[Scores]] = ()) -> None:
        self.future, self.drop, self.rows, self.needs = future, drop, rows, needs
        self.pid = os.getpid()

    def cancel(self) -> None:
        """Cancel the work of a recording that is no longer wanted: chunks and features that have not started."""
        for future in (*self.needs, self.future):
            future.cancel()

    def result(self) -> Scores:
        """(tracks, rows, outputs) without the rows that only gave context. Waits for them."""
        check_not_forked(self.pid, "scoring")
        return kept_rows(self.future.result(), self.drop, self.rows)


def _frames_of(model: Model) -> FrameSizes:
    frame = model.specs[0].input.receptive_field
    return FrameSizes(frame.kernel, frame.stride)


def _fits(_: onnxruntime.InferenceSession) -> bool:
    """A part of a file that only its complete form identifies."""
    return True


def usable_cores() -> int:
    """Number of cores that this process may use, according to its affinity."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load_engine(model: Model, device: str = "auto", jobs: int | None = None) -> Engine:
    """Load a model for scoring. The devices `auto` and `cpu` use ONNX Runtime with `jobs` chunks in parallel, one
    thread each, by default one per core. `cuda[:N]` and `mps` use PyTorch."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?|mps", device):
        raise UsageError(f'--device: "{device}" is not a device name; use auto, cpu, cuda, cuda:N or mps')
    if device in ("auto", "cpu"):
        jobs = jobs or usable_cores()
        return Engine(model, OnnxBackend(model), jobs=jobs)
    check_packages(f"--device {device}", TORCH_PACKAGES)
    import torch

    from audiocnn.model.weights import load_networks

    there = torch.backends.mps.is_available() if device == "mps" else torch.cuda.is_available()
    count = torch.cuda.device_count() if device.startswith("cuda") else 1
    if not there or int(device.partition(":")[2] or 0) >= count:
        raise UsageError(f"--device {device}: not available on this machine; use --device cpu")
    cuda = device.startswith("cuda")
    backend = TorchBackend(load_networks(model), torch.device(device), half=cuda)
    # Two threads, so that one batch can be copied while the other is computed.
    return Engine(model, backend, jobs=2 if cuda else 1, batch_chunks=_GPU_CHUNKS)


def engine_of(model: Engine | ModelLike) -> Engine:
    """The engine itself, or a new engine for a model given by name or folder."""
    return model if isinstance(model, Engine) else load_engine(find_model(model))
