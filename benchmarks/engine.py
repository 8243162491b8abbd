"""The effect of choices in the engine: how spectra are computed, the length of chunks, how cores are shared.

python -m benchmarks.engine [--model speech_1d] [--seconds 1800] [--rounds 3]

Prints three Markdown tables. The rows of a table are measured in turn, and the median counts; speeds are multiples of
real time.

- spectra: the power spectra of a model's features in ONNX Runtime on one core, as a convolution with the plain kernels
  and folded as in `audiocnn.model.frontend`
- the network: the time of its parts on one core, from ONNX Runtime's profile of a chunk of 30 s
- chunks and cores: the warm engine on noise, for several lengths of chunks, and for workers x threads = cores
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiocnn.errors import AudiocnnError
from audiocnn.inference.engine import Engine, OnnxBackend
from audiocnn.model.model import ONNX, Model, find_model
from audiocnn.model.onnx import open_session
from audiocnn.spec.features import InputSpec, cqt_kernels, hann
from benchmarks.measuring import usable_cores

CHUNKS_SECONDS = (7.5, 15.0, 30.0, 60.0, 120.0)
SPECTRUM_SECONDS = 30
PROFILED = 20  # runs
SORTS = {
    "convolutions": ("Conv", "FusedConv"),
    "products of the spectra": ("MatMul",),
    "moving numbers about": ("Slice", "Concat", "Gather", "Transpose", "Pad", "Reshape", "Split"),
    "sums, products, logarithms one by one": ("Add", "Sub", "Mul", "Log", "Clip", "Max"),
}
OTHER = "all else"
Samples = NDArray[np.float32]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--model", default="speech_1d")
    parser.add_argument("--seconds", type=float, default=1800.0, help="seconds of sound")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args(arguments)
    try:
        model = find_model(given.model)
        if model.spec.input.features != "waveform":
            print(to_markdown(("spectra", "times real time, one core"), spectra(model.spec.input, 5 * given.rounds)))
            print()
        print(to_markdown(("the network", "share of its time", "ms a chunk"), profile(model)))
        print()
        heads = ("chunks", "workers x threads", "times real time")
        print(to_markdown(heads, chunks_and_cores(model, given.seconds, given.rounds)))
    except AudiocnnError as problem:
        print(f"engine: {problem}", file=sys.stderr)
        return 2
    return 0


def in_turn(contenders: dict[Any, Callable[[], object]], rounds: int) -> dict[Any, float]:
    """The median time of each in seconds, measured as A B A B after one round that is not counted."""
    taken: dict[Any, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, work in contenders.items():
            begin = time.perf_counter()
            work()
            if number:
                taken[name].append(time.perf_counter() - begin)
    return {name: statistics.median(times) for name, times in taken.items()}


def spectra(spec: InputSpec, rounds: int) -> list[tuple[str, ...]]:
    """The plain product and the folded one, on the same noise."""
    samples = noise(SPECTRUM_SECONDS * spec.sample_rate)
    sessions = {"plain kernels": open_session(plain_graph(spec), 1), "folded": open_session(folded_graph(spec), 1)}
    runs = {
        name: lambda session=session, shape=shape: session.run(None, {"samples": samples.reshape(shape)})
        for (name, session), shape in zip(sessions.items(), ((1, 1, -1), (1, -1)), strict=True)
    }
    return [(name, f"{SPECTRUM_SECONDS / taken:,.0f}") for name, taken in in_turn(runs, rounds).items()]


def dft_kernels(spec: InputSpec) -> np.ndarray:
    """(2 * bins, frame_samples): windowed cosines, then windowed sines, of the bins 0 ... fft_samples / 2."""
    spectra = np.fft.rfft(np.diag(hann(spec.frame_samples)), spec.fft_samples).T
    return np.concatenate([spectra.real, spectra.imag])


def plain_graph(spec: InputSpec) -> bytes:
    """(1, 1, samples) -> powers by a convolution with all kernels."""
    from onnx import TensorProto, helper, numpy_helper

    kernels = (cqt_kernels(spec) if spec.features == "cqt" else dft_kernels(spec)).astype(np.float32)
    node = helper.make_node
    nodes = [
        node("Conv", ["samples", "kernels"], ["parts"], strides=[spec.hop_samples]),
        node("Mul", ["parts", "parts"], ["squares"]),
        node("Split", ["squares"], ["real", "imaginary"], axis=1, num_outputs=2),
        node("Add", ["real", "imaginary"], ["powers"]),
    ]
    samples = helper.make_tensor_value_info("samples", TensorProto.FLOAT, [1, 1, "time"])
    powers = helper.make_tensor_value_info("powers", TensorProto.FLOAT, None)
    constants = [numpy_helper.from_array(kernels[:, None], "kernels")]
    graph = helper.make_graph(nodes, "plain", [samples], [powers], constants)
    content: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10
    ).SerializeToString()
    return content


def folded_graph(spec: InputSpec) -> bytes:
    """(1, samples) -> powers as the exported models compute them."""
    import torch

    from audiocnn.model.frontend import PowerSpectrum

    example = torch.zeros(2, 8 * spec.frame_samples + 3 * spec.hop_samples)
    shapes = {"samples": {0: torch.export.Dim("batch"), 1: torch.export.Dim("time", min=example.shape[1] // 2)}}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    quiet = io.StringIO()
    with redirect_stdout(quiet), redirect_stderr(quiet):
        program = torch.onnx.export(
            PowerSpectrum(spec).eval(), (example,), input_names=["samples"], dynamic_shapes=shapes, dynamo=True,
            verbose=False,
        )  # fmt: skip
    assert program is not None
    content: bytes = program.model_proto.SerializeToString()
    return content


def profile(model: Model) -> list[tuple[str, ...]]:
    """The time of each kind of operation."""
    geometry = model.geometry
    samples = noise(SPECTRUM_SECONDS * geometry.sample_rate + geometry.window_samples, model.channels)[None]
    with tempfile.TemporaryDirectory() as folder:
        prefix = str(Path(folder) / "profile")
        graph = model.part(ONNX).read_bytes()
        running = open_session(graph, 1, enable_profiling=True, profile_file_prefix=prefix)
        for _ in range(PROFILED):
            running.run(["scores"], {"samples": samples, "extend": np.zeros(2, np.int64)})
        events = json.loads(Path(running.end_profiling()).read_text(encoding="utf-8"))
    taken = dict.fromkeys((*SORTS, OTHER), 0.0)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("kernel_time"):
            name = event["args"]["op_name"]
            sort = next((sort for sort, names in SORTS.items() if name in names), OTHER)
            taken[sort] += event["dur"] / 1000 / PROFILED
    total = sum(taken.values())
    return [(sort, f"{part / total:.0%}", f"{part:.1f}") for sort, part in taken.items()]


def chunks_and_cores(model: Model, seconds: float, rounds: int) -> list[tuple[str, ...]]:
    """Every length of chunks with one worker per core, then every other way to share the cores."""
    cores, chunk = usable_cores(), 30.0
    shares = [(cores, 1)] + [(jobs, cores // jobs) for jobs in range(1, cores) if cores % jobs == 0] + [(2 * cores, 1)]
    cases = [(length, cores, 1) for length in CHUNKS_SECONDS] + [(chunk, *share) for share in shares[1:]]
    rate = model.geometry.sample_rate
    blocks = np.array_split(noise(round(seconds * rate), model.channels), max(1, round(seconds / 10)), axis=1)
    runs = {}
    for length, jobs, threads in cases:
        engine = Engine(model, OnnxBackend(model, threads), length, jobs)
        runs[length, jobs, threads] = lambda engine=engine: sum(1 for _ in engine.score_tracks(blocks))
    return [
        (f"{length:g} s", f"{jobs} x {threads}", f"{seconds / taken:,.0f}")
        for (length, jobs, threads), taken in in_turn(runs, rounds).items()
    ]


def noise(samples: int, channels: int = 1) -> Samples:
    """(channels, samples), the same each time."""
    return np.random.default_rng(0).normal(0, 0.05, (channels, samples)).astype(np.float32)


def to_markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, ["---"] * len(heads), *rows))


if __name__ == "__main__":
    sys.exit(main())
