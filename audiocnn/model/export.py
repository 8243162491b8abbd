"""Export of a trained network as one ONNX file: samples (batch, channels, time) -> scores (batch, positions, classes).

A network that localises has a second output, `edges` (batch, positions, classes, 2): onset and offset of each class, in
seconds before and after the middle of the position.

The graph itself extends a recording at its ends, as `detect` does, so that there are ceil(time / hop) scores. The
optional input `extend`, two numbers [before, after], sets the extension; a caller that feeds chunks surrounded by real
audio passes [0, 0]. For an ensemble, every network is traced separately, and the graphs are joined.

`stream.onnx` is one step of a network for live audio (`streaming`): samples (batch, channels, rows * hop) and the tails
`tail.0`, `tail.1`, ... -> `scores` (batch, rows, outputs), and the tails `next.0`, ... for the next step. Its outputs
`first.0`, ... are the initial tails of one stream. Its metadata state how rows lie in a recording.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from audiocnn.errors import ModelError, SpecError
from audiocnn.files import write_whole
from audiocnn.model.model import ONNX, STREAM_ONNX, TOML, Model, join_outputs
from audiocnn.model.onnx import CUT_AT, CUT_VALUE, GRAPH_DIGEST, check_onnx, graph_digest, open_session
from audiocnn.spec.geometry import Geometry

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from audiocnn.model.network import Network
    from audiocnn.model.streaming import StreamNetwork
    from audiocnn.model.weights import Ensemble
    from audiocnn.spec.spec import Spec

OPSET = 18
TOLERANCE = 1e-4
_MOST_COMPARED_ROWS = 4096


def export_onnx(model: Model, network: Network | Ensemble) -> float:
    """Write `model.onnx` and return the largest difference to PyTorch, measured at another batch size and length than
    those of the trace.

    Raises ModelError if the difference is above 1e-4; the file is then not written.
    """
    graph = _file_graph(network)
    toml = (model.folder / TOML).read_text(encoding="utf-8")
    more = {"audiocnn": toml} | ({CUT_AT: CUT_VALUE} if network.geometry.level_hop else {})
    content = _content(graph, model, network.geometry, more)
    return _write_equal(model.folder / ONNX, content, _largest_difference(content, network))


def untrained_onnx(spec: Spec) -> bytes:
    """The graph of an untrained network, as `export_onnx` makes it, for timing."""
    from audiocnn.model.network import Network

    content: bytes = _file_graph(Network(spec)).SerializeToString()
    return content


def _file_graph(network: Network | Ensemble) -> Any:
    """The graph, with named sizes, which extends a recording itself."""
    graph = _trace(network)
    _name_dimensions(graph)
    _add_extension(graph, network.geometry)
    return graph


def export_stream(model: Model, network: Network | Ensemble) -> float:
    """Write `stream.onnx` and return the largest difference to PyTorch's dense pass, for pieces of several sizes.

    Raises ModelError if the difference is above 1e-4, and SpecError for a network that cannot continue from earlier
    audio.
    """
    from audiocnn.model.streaming import StreamNetwork
    from audiocnn.model.weights import Ensemble

    if isinstance(network, Ensemble):
        raise SpecError(f"{model.name}: is an ensemble; export its members for streams one by one")
    stream = StreamNetwork(network.cpu())
    timing = {
        "lead_samples": str(stream.timing.lead_samples),
        "lead_rows": str(stream.timing.lead_rows),
        "most_rows": str(stream.most_rows),
    }
    content = _content(_trace_stream(stream), model, network.geometry, timing)
    return _write_equal(model.folder / STREAM_ONNX, content, _stream_difference(content, stream))


def _content(graph: Any, model: Model, geometry: Geometry, more: dict[str, str]) -> bytes:
    """A graph as a file, with its metadata."""
    for key, value in {
        **more,
        "labels": "\n".join(model.labels),
        "sample_rate": str(geometry.sample_rate),
        "hop_samples": str(geometry.hop_samples),
        "window_samples": str(geometry.window_samples),
        "look_ahead_seconds": f"{geometry.look_ahead_seconds:g}",
    }.items():
        graph.metadata_props.add(key=key, value=value)
    # Readers recognise damaged files by this hash.
    graph.metadata_props.add(key=GRAPH_DIGEST, value=graph_digest(graph.SerializeToString()))
    content: bytes = graph.SerializeToString()
    return content


def _write_equal(path: Path, content: bytes, difference: float) -> float:
    """Write a file with the same results as PyTorch. Raises ModelError if they differ."""
    check_onnx(content, path)
    if not difference <= TOLERANCE:
        raise ModelError(
            f"{path}: differs from PyTorch by {difference:.1e} (at most {TOLERANCE} is allowed), so it was not written"
        )
    write_whole(path, content)
    return difference


def _trace(network: Network | Ensemble) -> Any:
    """The graph from PyTorch's exporter, in evaluation mode on the CPU."""
    import torch

    from audiocnn.model.network import TwoOutputs
    from audiocnn.model.weights import Ensemble

    if isinstance(network, Ensemble):
        return _join_graphs(network)
    network = network.eval().cpu()
    spec, geometry = network.spec, network.geometry
    # With an example batch of 1, the exporter fixed the batch size; a little more than two windows keep the time
    # variable.
    time = 2 * geometry.window_samples + 3 * geometry.hop_samples
    example = torch.zeros(2, spec.input.channels, time)
    shapes = {"samples": {0: torch.export.Dim("batch"), 2: torch.export.Dim("time", min=time // 2 + 1)}}
    if geometry.level_hop:
        return _trace_parts(network, example, shapes)
    traced = TwoOutputs(network) if spec.localises else network
    return _traced(traced, (example,), ["samples"], _output_names(network), shapes)


def _trace_parts(network: Network, example: Tensor, shapes: Any) -> Any:
    """A network whose first layer is a level, as three graphs. The value between them is named `CUT_VALUE`, so that a
    reader can split the graph there. The level is followed by a crop, an input with a default, in frames at the two
    ends: frames that only serve to measure the level go no further."""
    import torch
    from onnx import TensorProto, compose, helper, numpy_helper

    from audiocnn.model.network import BehindLevel, FeaturesPart, LevelPart

    with torch.no_grad():
        values = FeaturesPart(network)(example)
        leveled = LevelPart(network)(values)
    frames = {0: torch.export.Dim("batch"), values.dim() - 1: torch.export.Dim("frames", min=values.shape[-1] // 2 + 1)}
    traced = {
        "front.": _traced(FeaturesPart(network), (example,), ["samples"], ["values"], shapes),
        "level.": _traced(LevelPart(network), (values,), ["values"], ["leveled"], {"values": frames}),
        "rest.": _traced(BehindLevel(network), (leveled,), ["cropped"], _output_names(network), {"values": frames}),
    }
    parts = {prefix: compose.add_prefix(graph, prefix) for prefix, graph in traced.items()}
    front, level, rest = (part.graph for part in parts.values())
    zeros = np.zeros(values.dim() - 1, dtype=np.int64)
    constants = {"no_crop": zeros, "crop": np.zeros(2, np.int64), "one_of_each": np.array([1, 1], np.int64)}
    first_node = helper.make_node("Identity", ["samples"], [front.input[0].name])
    between = [
        helper.make_node("Identity", ["front.values"], [CUT_VALUE]),
        helper.make_node("Identity", [CUT_VALUE], ["level.values"]),
    ]
    crop_nodes = [
        helper.make_node("Neg", ["crop"], ["less"]),
        helper.make_node("Split", ["less", "one_of_each"], ["less_before", "less_after"], axis=0),
        helper.make_node("Concat", ["no_crop", "less_before", "no_crop", "less_after"], ["crops"], axis=0),
        helper.make_node("Pad", ["level.leveled", "crops"], ["rest.cropped"], mode="constant"),
    ]
    names = _output_names(network)
    last_nodes = [helper.make_node("Identity", [f"rest.{name}"], [name]) for name in names]
    outputs = list(rest.output)
    for output, name in zip(outputs, names, strict=True):
        output.name = name
    samples = front.input[0]
    samples.name = "samples"
    crop = helper.make_tensor_value_info("crop", TensorProto.INT64, [2])
    weights = [weight for part in (front, level, rest) for weight in part.initializer]
    weights += [numpy_helper.from_array(value, name) for name, value in constants.items()]
    nodes = [first_node, *front.node, *between, *level.node, *crop_nodes, *rest.node, *last_nodes]
    graph = helper.make_graph(nodes, "network", [samples, crop], outputs, weights)
    return helper.make_model(graph, opset_imports=parts["front."].opset_import, ir_version=parts["front."].ir_version)


def _traced(module: nn.Module, example: tuple[Tensor, ...], inputs: list[str], outputs: list[str], shapes: Any) -> Any:
    import torch

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    quiet = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            example,
            input_names=inputs,
            output_names=outputs,
            dynamic_shapes=shapes,
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    return program.model_proto


def _trace_stream(stream: StreamNetwork) -> Any:
    """The graph of a step, whose initial tails are separate outputs."""
    import torch
    from onnx import helper, numpy_helper

    numbers = range(len(stream.shapes))
    batch, rows = torch.export.Dim("batch"), torch.export.Dim("rows", min=1, max=1 << 16)
    time = {0: batch, 2: stream.geometry.hop_samples * rows}
    example = (stream.silence(3).repeat(2, 1, 1), *(torch.zeros(2, *shape) for shape in stream.shapes))
    names = ["samples", *(f"tail.{n}" for n in numbers)], ["scores", *(f"next.{n}" for n in numbers)]
    # Without memory there are no tails, and PyTorch then accepts no names for them.
    shapes = {"samples": time} | ({"tails": tuple({0: batch} for _ in numbers)} if stream.shapes else {})
    graph = _traced(stream, example, *names, shapes)
    graph.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "time"
    _name_dimensions(graph)
    for number, tail in enumerate(stream.first_tails()):
        value = numpy_helper.from_array(tail.numpy(), f"beginning.{number}")
        graph.graph.initializer.append(value)
        graph.graph.node.append(helper.make_node("Identity", [value.name], [f"first.{number}"]))
        graph.graph.output.append(helper.make_tensor_value_info(f"first.{number}", value.data_type, tail.shape))
    return graph


def _output_names(network: Network | Ensemble) -> list[str]:
    return ["scores", "edges"] if network.localises else ["scores"]


def _join_graphs(ensemble: Ensemble) -> Any:
    """The graphs of all members as one, for the same samples; the scores and edges are weighted sums of theirs."""
    from onnx import TensorProto, compose, helper

    members = [compose.add_prefix(_trace(network), f"{n}.") for n, network in enumerate(ensemble.networks)]
    nodes, constants = [], []
    for number, member in enumerate(members):
        more, values = _member_nodes(ensemble, number)
        nodes += [more[0], *member.graph.node, *more[1:]]
        constants += [*member.graph.initializer, *values]
    outputs = []
    for part in _output_names(ensemble):
        nodes.append(helper.make_node("Sum", [f"{n}.{part}_part" for n in range(len(members))], [part]))
        sizes: list[str | int | None] = ["batch", "positions", len(ensemble.orders[0]), *[2] * (part == "edges")]
        outputs.append(helper.make_tensor_value_info(part, TensorProto.FLOAT, sizes))
    channels = members[0].graph.input[0].type.tensor_type.shape.dim[1].dim_value
    samples = helper.make_tensor_value_info("samples", TensorProto.FLOAT, ["batch", channels, "time"])
    graph = helper.make_graph(nodes, "ensemble", [samples], outputs, constants)
    return helper.make_model(graph, opset_imports=members[0].opset_import, ir_version=members[0].ir_version)


def _member_nodes(ensemble: Ensemble, number: int) -> tuple[list[Any], list[Any]]:
    """The nodes around a member, and their constants: before it, a crop of the samples; after it, the labels in the
    order of the ensemble, and its share."""
    from onnx import helper, numpy_helper

    start, end = ensemble.geometry.crops[number]
    last = -end or np.iinfo(np.int64).max  # a slice to -0 would be empty
    values: dict[str, NDArray[Any]] = {
        "start": np.array([start], dtype=np.int64),
        "end": np.array([last], dtype=np.int64),
        "axis": np.array([2], dtype=np.int64),
        "order": np.array(ensemble.orders[number], dtype=np.int64),
        "share": np.array(ensemble.shares[number], dtype=np.float32),
    }
    mine = {name: f"{number}.{name}" for name in (*values, "samples")}
    nodes = [helper.make_node("Slice", ["samples", mine["start"], mine["end"], mine["axis"]], [mine["samples"]])]
    for part in (f"{number}.{name}" for name in _output_names(ensemble)):
        nodes += [
            helper.make_node("Gather", [part, mine["order"]], [f"{part}_ordered"], axis=2),
            helper.make_node("Mul", [f"{part}_ordered", mine["share"]], [f"{part}_part"]),
        ]
    return nodes, [numpy_helper.from_array(value, mine[name]) for name, value in values.items()]


def _name_dimensions(graph: Any) -> None:
    """Name the variable sizes of the outputs, which the exporter leaves as formulas, and remove its notes."""
    for output in graph.graph.output:
        free = ("batch",) if output.name.startswith("next.") else ("batch", "positions")
        for dimension, name in zip(output.type.tensor_type.shape.dim, free, strict=False):
            dimension.Clear()
            dimension.dim_param = name
    del graph.graph.value_info[:]
    # The exporter records source paths for each node, which are private.
    del graph.graph.metadata_props[:]
    for node in graph.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for value in [*graph.graph.input, *graph.graph.output, *graph.graph.initializer]:
        del value.metadata_props[:]


def _add_extension(graph: Any, geometry: Geometry) -> None:
    """Insert a Pad at the beginning, whose amounts are an input with a default: the recording's own extension."""
    from onnx import TensorProto, helper, numpy_helper

    for node in graph.graph.node:
        for index, name in enumerate(node.input):
            if name == "samples":
                node.input[index] = "extended"
    # Pad needs its amounts for every axis, starts first; `extend` has those of the last axis.
    zeros = numpy_helper.from_array(np.zeros(2, dtype=np.int64), "no_extension")
    amounts = np.array([geometry.extend_start, geometry.extend_end], dtype=np.int64)
    graph.graph.initializer.extend([zeros, numpy_helper.from_array(amounts, "extend")])
    graph.graph.input.append(helper.make_tensor_value_info("extend", TensorProto.INT64, [2]))
    ends = ["extend_before", "extend_after"]
    halves = numpy_helper.from_array(np.array([1, 1], dtype=np.int64), "one_each")
    graph.graph.initializer.append(halves)
    nodes = [
        helper.make_node("Split", ["extend", "one_each"], ends, axis=0),
        helper.make_node("Concat", ["no_extension", ends[0], "no_extension", ends[1]], ["pads"], axis=0),
        helper.make_node("Pad", ["samples", "pads"], ["extended"], mode="constant"),
    ]
    rest = list(graph.graph.node)
    del graph.graph.node[:]
    graph.graph.node.extend(nodes + rest)


def _largest_difference(content: bytes, network: Network | Ensemble) -> float:
    """The largest absolute difference between the results of PyTorch and of the ONNX graph, for seeded noise."""
    import torch

    session = open_session(content)
    geometry, channels = network.geometry, session.get_inputs()[0].shape[1]
    random = np.random.default_rng(0)
    worst = 0.0
    for batch, samples in (
        (1, 1),
        (3, geometry.window_samples + 5 * geometry.hop_samples + 1),
        (1, 4 * geometry.window_samples),
    ):
        sound = random.normal(0, 0.1, (batch, channels, samples)).astype(np.float32)
        with torch.no_grad():
            wanted = network(network.extended(torch.from_numpy(sound))).numpy()
        got = join_outputs(*session.run(_output_names(network), {"samples": sound}))
        if got.shape != wanted.shape:
            return float("inf")
        # numpy's maximum propagates NaN, while Python's would drop it.
        worst = float(np.maximum(worst, np.max(np.abs(got - wanted), initial=0.0)))
    if geometry.level_hop:
        crop = np.array([3, 2], dtype=np.int64) * geometry.level_hop
        got = join_outputs(*session.run(_output_names(network), {"samples": sound, "crop": crop}))
        worst = float(np.maximum(worst, np.max(np.abs(got - wanted[:, 3:-2]))))
    return worst


def _stream_difference(content: bytes, stream: StreamNetwork) -> float:
    """The largest absolute difference between the steps, for pieces, and PyTorch's dense pass, for seeded noise: two
    streams at a time, one of which becomes quiet."""
    import torch

    session, network, hop = open_session(content), stream.dense, stream.geometry.hop_samples
    numbers, lead = range(len(stream.shapes)), stream.timing
    window_rows = -(-stream.geometry.window_samples // hop)
    rows = min(window_rows, _MOST_COMPARED_ROWS) + 40
    sound = np.random.default_rng(0).normal(0, 0.1, (2, network.spec.input.channels, rows * hop)).astype(np.float32)
    sound[1, :, sound.shape[2] // 2 :] *= 1e-3
    with torch.no_grad():
        wanted = network(network.extended(torch.from_numpy(sound))).numpy()
    heard = np.pad(sound, ((0, 0), (0, 0), (lead.lead_samples, 0)))
    first = [f"first.{n}" for n in numbers]  # an empty list would mean all outputs
    beginning = session.run(first, _feeds(heard[:1, :, :hop], stream.first_tails())) if first else []
    tails = [np.repeat(tail, 2, axis=0) for tail in beginning]
    names, got, row, random = ["scores", *(f"next.{n}" for n in numbers)], [], 0, np.random.default_rng(1)
    while (count := min(int(random.integers(1, 12)), heard.shape[2] // hop - row)) > 0:
        piece = np.ascontiguousarray(heard[:, :, row * hop : (row + count) * hop])
        scores, *tails = session.run(names, _feeds(piece, tails))
        got.append(scores)
        row += count
    found = np.concatenate(got, axis=1)[:, lead.lead_rows :]
    return float(np.max(np.abs(found - wanted[:, : found.shape[1]])))


def _feeds(samples: NDArray[np.float32], tails: Sequence[Any]) -> dict[str, NDArray[np.float32]]:
    return {"samples": samples, **{f"tail.{n}": np.asarray(tail) for n, tail in enumerate(tails)}}
