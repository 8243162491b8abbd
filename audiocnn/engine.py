"""Samples to scores: a model on a device, fed with a recording of any length in chunks, in constant memory."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from audiocnn.errors import ModelError, UsageError
from audiocnn.model import ONNX, Model
from audiocnn.windows import ChunkPlan, Geometry

if TYPE_CHECKING:
    import torch

    from audiocnn.network import Network
    from audiocnn.weights import Ensemble

Scores = NDArray[np.float32]
Samples = NDArray[np.float32]
CHUNK_SECONDS = 30.0


class Backend(Protocol):
    """Runs the network on the samples given, without extending them."""

    device: str

    def run(self, samples: Samples) -> Scores:
        """(batch, channels, samples) -> (batch, rows, classes)."""
        ...


class OnnxBackend:
    """ONNX Runtime on the CPU."""

    device = "cpu"

    def __init__(self, model: Model, threads: int | None = None) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or usable_cores()
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        path = model.part(ONNX)
        try:
            content = path.read_bytes()
            self.session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
            names = {value.name for value in self.session.get_overridable_initializers()}
            fits = "extend" in names and self.session.get_outputs()[0].shape[-1] == len(model.labels)
        except Exception as problem:  # noqa: BLE001 - onnxruntime raises many kinds; all mean a damaged file
            said = " ".join(str(problem).split())[:160]
            raise ModelError(f"{path}: cannot be loaded ({said}); make it again with `audiocnn export`") from None
        if not fits:
            raise ModelError(
                f"{path}: does not belong to this model; make it again with `audiocnn export {model.folder}`"
            )
        self.no_extension = np.zeros(2, dtype=np.int64)

    def run(self, samples: Samples) -> Scores:
        feeds = {"samples": samples, "extend": self.no_extension}
        scores: Scores = self.session.run(["scores"], feeds)[0]
        return scores


class TorchBackend:
    """torch on any device."""

    def __init__(self, network: Network | Ensemble, device: torch.device) -> None:
        self.network, self.device = network.to(device).eval(), str(device)

    def run(self, samples: Samples) -> Scores:
        import torch

        with torch.inference_mode():
            scores: Scores = self.network(torch.from_numpy(samples).to(self.device)).float().cpu().numpy()
        return scores


class Engine:
    """Scores recordings with one model on one device."""

    def __init__(self, model: Model, backend: Backend, chunk_seconds: float = CHUNK_SECONDS) -> None:
        self.model, self.backend = model, backend
        self.geometry: Geometry = model.geometry
        self.channels = model.channels
        wanted = max(chunk_seconds, 4 * self.geometry.window_seconds)
        self.chunk_rows = max(1, round(wanted / self.geometry.hop_seconds))

    @property
    def hop_seconds(self) -> float:
        """The distance between two rows of scores."""
        return self.geometry.hop_seconds

    @property
    def device(self) -> str:
        """Where the network runs."""
        return self.backend.device

    def score(self, samples: Samples) -> Scores:
        """(channels, samples) of a whole recording at the model's rate -> (rows, classes)."""
        parts = list(self.score_blocks([samples]))
        return np.concatenate(parts) if parts else np.zeros((0, len(self.model.labels)), dtype=np.float32)

    def score_blocks(self, blocks: Iterable[Samples]) -> Iterator[Scores]:
        """Blocks (channels, samples) of one recording, in order -> blocks of rows (rows, classes), in order."""
        for tracks in self.score_tracks(blocks):
            yield tracks[0]

    def score_tracks(self, blocks: Iterable[Samples]) -> Iterator[Scores]:
        """Blocks (channels, samples) -> (tracks, rows, classes): for a network of one channel, each channel of the
        recording is a track of its own; otherwise all channels together are one track."""
        chunks: ChunkPlan | None = None
        for block in blocks:
            chunks = chunks or ChunkPlan(self.geometry, self.chunk_rows, len(block))
            chunks.push(block)
            while (ready := chunks.next_chunk(last=False)) is not None:
                yield self.run_chunk(*ready)
        while chunks and (ready := chunks.next_chunk(last=True)) is not None:
            yield self.run_chunk(*ready)

    def run_chunk(self, samples: Samples, drop: int, rows: int) -> Scores:
        """One chunk: (channels, samples) -> (tracks, rows, classes), less the rows that only carried context."""
        batch = samples[:, None] if self.channels == 1 else samples[None]
        return self.backend.run(batch)[:, drop : drop + rows]


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load_engine(model: Model, device: str = "auto", threads: int | None = None) -> Engine:
    """An engine for a model. `auto` and `cpu` run ONNX Runtime; `cuda[:N]` and `mps` run torch."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?|mps", device):
        raise UsageError(f'--device cannot be "{device}"; use auto, cpu, cuda, cuda:N or mps')
    if device in ("auto", "cpu"):
        return Engine(model, OnnxBackend(model, threads))
    import torch

    from audiocnn.weights import load_networks

    there = torch.backends.mps.is_available() if device == "mps" else torch.cuda.is_available()
    count = torch.cuda.device_count() if device.startswith("cuda") else 1
    if not there or int(device.partition(":")[2] or 0) >= count:
        raise UsageError(f"--device {device}: there is no such device here; use --device cpu")
    return Engine(model, TorchBackend(load_networks(model), torch.device(device)))
