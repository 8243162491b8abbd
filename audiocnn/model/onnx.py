"""Validation of `model.onnx` before ONNX Runtime reads it: only graphs of plain operators and their constants are
accepted.

The file is parsed by the wire format of Protocol Buffers and the field numbers of onnx.proto3; none of it is executed,
and no other file is opened. The check rejects false lengths, constants whose data do not match their sizes, data in
other files, operators of other domains than ONNX, functions, and graphs inside operators, which can form loops.

An exported file carries the SHA-256 hash of its graph, by which damaged files are recognised.
"""

from __future__ import annotations

import hashlib
import math
import os
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from audiocnn.errors import ModelError, export_command
from audiocnn.spec.geometry import Geometry

if TYPE_CHECKING:
    import onnxruntime

GRAPH_DIGEST = "graph_sha256"  # a key of the metadata
CUT_AT = "cut_at"  # a key of the metadata: the value at which the graph may be split
CUT_VALUE = "features"  # the name of the input of the level, in a network whose first layer is a level
MOST_ONNX_BYTES = 2**31  # limit of a Protocol Buffers message
_DOMAINS = ("", "ai.onnx")  # of operators: both names stand for ONNX itself
# onnx.proto3: TensorProto.DataType -> bytes of an element, and the field that holds it if there are no raw bytes.
_ELEMENTS = {1: (4, 4), 6: (4, 5), 7: (8, 7), 9: (1, 5), 11: (8, 10)}  # float, int32, int64, bool, double
# (number of the input, least, most) of constants that set an axis, a step or a size. ONNX Runtime creates lists of this
# length when it loads a graph: a number of 2^24 kept it busy for more than a minute.
_AXES, _SIZES = (-8, 8), (-1, 1 << 20)
_BOUNDS: dict[str, tuple[tuple[int, int, int], ...]] = {
    "Slice": ((3, *_AXES), (4, -(1 << 20), 1 << 20)),
    "Squeeze": ((1, *_AXES),),
    "Unsqueeze": ((1, *_AXES),),
    "Reshape": ((1, *_SIZES),),
    "Expand": ((1, *_SIZES),),
    "Tile": ((1, *_SIZES),),
    "ConstantOfShape": ((0, *_SIZES),),
}
_FEW = 16  # constants that set sizes; longer ones are weights or lookup tables
_FIXED = {1: 8, 5: 4}  # wire types of fixed length
Value = int | memoryview
_SESSIONS: WeakSet[onnxruntime.InferenceSession] = WeakSet()


class _BadError(Exception):
    """The file is not valid."""


def fields(data: memoryview) -> Iterator[tuple[int, Value]]:
    """(number, value) of each field of a message: an integer, or the bytes of any other type."""
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        kind, number = key & 7, key >> 3
        if kind == 0:
            value: Value
            value, at = _varint(data, at)
        else:
            if kind == 2:
                size, at = _varint(data, at)
            elif kind in _FIXED:
                size = _FIXED[kind]
            else:
                raise _BadError(f"an invalid field type ({kind})")
            if size > end - at:
                raise _BadError(f"a field states {size} bytes, but {end - at} are left")
            value = data[at : at + size]
            at += size
        yield number, value


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """A variable-length integer with seven bits a byte, and the position after it."""
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (2**64 - 1), at
        shift += 7
    raise _BadError("it ends within a number")


def check_onnx(content: bytes, path: Path) -> None:
    """Raises ModelError, in one line, if a file is not a graph of plain operators, or not the one that was exported."""
    try:
        _check_model(memoryview(content))
    except _BadError as problem:
        remedy = f"make it again with `{export_command(path.parent)}`"
        raise ModelError(f"{path}: damaged, or not written by audiocnn: {problem}; {remedy}") from None


def graph_digest(content: bytes) -> str:
    """SHA-256 hash of the graph in a file, as hexadecimal digits."""
    return _digest(next(value for number, value in fields(memoryview(content)) if number == 7))


def _digest(graph: Value) -> str:
    return hashlib.sha256(_bytes(graph)).hexdigest()


def _check_model(data: memoryview) -> None:
    graphs, said = [], ""
    for number, value in fields(data):
        if number == 7:
            graphs.append(_bytes(value))
        elif number in (20, 25):
            raise _BadError("it contains functions or training information")
        elif number == 14:
            entry = dict(fields(_bytes(value)))
            if _text(entry.get(1, memoryview(b""))) == GRAPH_DIGEST:
                said = _text(entry.get(2, memoryview(b"")))
        elif number == 8:
            _check_domain(dict(fields(_bytes(value))).get(1))
    if len(graphs) != 1:
        raise _BadError(f"it contains {len(graphs)} graphs")
    if said and _digest(graphs[0]) != said:
        raise _BadError("its graph differs from the one that was exported")
    _check_graph(graphs[0])


def _check_graph(graph: memoryview) -> None:
    nodes: list[tuple[str, list[str]]] = []
    numbers: dict[str, list[int]] = {}
    for number, value in fields(graph):
        if number == 1:
            nodes.append(_check_node(_bytes(value)))
        elif number == 5:
            name, small = _check_tensor(_bytes(value))
            numbers[name] = small
        elif number == 15:
            raise _BadError("it contains sparse constants")
    for operator, inputs in nodes:
        for place, least, most in _BOUNDS.get(operator, ()):
            name = inputs[place] if place < len(inputs) else ""
            wrong = next((value for value in numbers.get(name, ()) if not least <= value <= most), None)
            if wrong is not None:
                raise _BadError(f'its operator {operator} uses "{name[:60]}", which is {wrong}')


def _check_node(node: memoryview) -> tuple[str, list[str]]:
    """The operator of a node, and the names of its inputs."""
    name, inputs = "", list[str]()
    for number, value in fields(node):
        if number == 1:
            inputs.append(_text(value))
        elif number == 4:
            name = _text(value)
        elif number == 7:
            _check_domain(value)
        elif number == 5:
            for inside, content in fields(_bytes(value)):
                if inside in (6, 11, 22, 23):
                    raise _BadError(f"its operator {name or '?'} contains a graph or a sparse constant")
                if inside in (5, 10):
                    _check_tensor(_bytes(content))
    return name, inputs


def _check_domain(domain: Value | None) -> None:
    if domain is not None and _text(domain) not in _DOMAINS:
        raise _BadError(f'operators of "{_text(domain)[:40]}" are not supported')


def _check_tensor(tensor: memoryview) -> tuple[str, list[int]]:
    """The name of a constant, and its integers if there are few."""
    dims: list[int] = []
    kind, name = 0, "?"
    raw: memoryview | None = None
    few: list[int] = []
    sizes: dict[int, int] = {}
    for number, value in fields(tensor):
        if number == 1:
            dims += [value] if isinstance(value, int) else _varints(value)
        elif number == 2 and isinstance(value, int):
            kind = value
        elif number == 8:
            name = _text(value)
        elif number == 9:
            raw = _bytes(value)
        elif number == 13 or (number == 14 and value != 0):
            raise _BadError(f'the data of constant "{name[:60]}" are in another file')
        elif number in (4, 5, 7, 10):
            sizes[number] = sizes.get(number, 0) + _count(number, value)
            if number == 7 and sizes[number] <= _FEW:
                numbers = [value] if isinstance(value, int) else _varints(value)
                few += [one - 2**64 if one >= 2**63 else one for one in numbers]  # signed 64-bit integers
    if kind not in _ELEMENTS:
        raise _BadError(f'the type of constant "{name[:60]}" is not supported ({kind})')
    size, field = _ELEMENTS[kind]
    held: float = sizes.get(field, 0) if raw is None else len(raw) / size
    if any(dim >= 2**31 for dim in dims) or math.prod(dims) != held:
        shape = " x ".join(map(str, dims[:8])) or "one number"
        raise _BadError(f'the constant "{name[:60]}" has the shape {shape}, but holds {held:g} numbers')
    if raw is not None and kind == 7 and held <= _FEW:
        few = list(struct.unpack(f"<{int(held)}q", raw))
    return name, few


def _count(number: int, value: Value) -> int:
    """Numbers in a field of a constant: one, or a packed list."""
    if isinstance(value, int):
        return 1
    return len(value) // {4: 4, 10: 8}[number] if number in (4, 10) else len(_varints(value))


def _varints(data: memoryview) -> list[int]:
    found, at = [], 0
    while at < len(data):
        value, at = _varint(data, at)
        found.append(value)
    return found


def _bytes(value: Value) -> memoryview:
    if isinstance(value, int):
        raise _BadError("a number in place of a part of the file")
    return value


def _text(value: Value) -> str:
    return bytes(_bytes(value)).decode("utf-8", "replace")


def cut_graph(content: bytes, begin: Mapping[str, Sequence[int | str]], end: Sequence[str]) -> bytes:
    """A file with the part of a graph between some of its values. Those of `begin`, with these sizes (a name stands for
    a variable one), become inputs of single precision, and those of `end` become outputs. Other inputs that are needed
    stay.

    content: has passed `check_onnx`. Raises KeyError if a value of `end`, or one that it needs, does not exist.
    """
    model = list(fields(memoryview(content)))
    graph = list(fields(_bytes(next(value for number, value in model if number == 7))))
    nodes = [(value, [_text(name) for n, name in fields(_bytes(value)) if n == 1]) for k, value in graph if k == 1]
    makers = {_text(name): place for place, (node, _) in enumerate(nodes) for n, name in fields(_bytes(node)) if n == 2}
    given = {_name_of(value, 8): value for number, value in graph if number == 5}  # constants, defaults of inputs
    inputs = {_name_of(value, 1): value for number, value in graph if number == 11}
    wanted, seen, kept = list(end), set[str](begin), set[int]()
    while wanted:
        name = wanted.pop()
        if name in seen or not name:
            continue
        seen.add(name)
        if name in makers:
            kept.add(makers[name])
            wanted += nodes[makers[name]][1]
        elif name not in given and name not in inputs:
            raise KeyError(name)
    parts = [_field(1, _bytes(nodes[place][0])) for place in sorted(kept)]
    parts += [_field(2, b"part")]
    parts += [_field(5, _bytes(value)) for name, value in given.items() if name in seen]
    parts += [_field(11, _value_info(name, sizes)) for name, sizes in begin.items()]
    parts += [_field(11, _bytes(value)) for name, value in inputs.items() if name in seen and name not in begin]
    parts += [_field(12, _value_info(name, None)) for name in end]
    versions = [(number, value) for number, value in model if number in (1, 8)]  # format and operator versions
    whole = [_number(n, v) if isinstance(v, int) else _field(n, v) for n, v in versions]
    return b"".join([*whole, _field(7, b"".join(parts))])


def _name_of(message: Value, field: int) -> str:
    return next(_text(value) for number, value in fields(_bytes(message)) if number == field)


def _value_info(name: str, sizes: Sequence[int | str] | None) -> bytes:
    """A ValueInfoProto: single precision, with these sizes, or of any size."""
    kind = _number(1, 1)
    if sizes is not None:
        dims = [_number(1, size) if isinstance(size, int) else _field(2, size.encode()) for size in sizes]
        kind += _field(2, b"".join(_field(1, dim) for dim in dims))
    return _field(1, name.encode()) + _field(2, _field(1, kind))


def _field(number: int, content: bytes | memoryview) -> bytes:
    return _varint_bytes(number << 3 | 2) + _varint_bytes(len(content)) + bytes(content)


def _number(number: int, value: int) -> bytes:
    return _varint_bytes(number << 3) + _varint_bytes(value)


def _varint_bytes(value: int) -> bytes:
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def _read_onnx(path: Path) -> bytes:
    """Read a file of permitted size. Raises ModelError."""
    try:
        size = path.stat().st_size
        if size <= MOST_ONNX_BYTES:
            return path.read_bytes()
    except OSError as problem:
        raise ModelError(f"{path}: cannot be read ({problem.strerror}); check its permissions") from None
    raise ModelError(f"{path}: too large for an ONNX file ({size} bytes); copy the folder again")


def open_session(graph: bytes, threads: int | None = None, **options: Any) -> onnxruntime.InferenceSession:
    """A session for a graph, with this number of threads for one run (None: ONNX Runtime decides), and other
    `SessionOptions` by name. Raises various errors for an invalid graph."""
    # From version 1.31 on, ONNX Runtime reports every session to its vendor. According to its Privacy.md, this
    # variable, set before the import, prevents it from writing events and a machine id to the home folder, and from
    # sending them.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    if threads is not None:
        settings.intra_op_num_threads, settings.inter_op_num_threads = threads, 1
    for name, value in options.items():
        setattr(settings, name, value)
    # Its fallback, from the CPU to the CPU, prints a message on standard output, which is for data.
    session = onnxruntime.InferenceSession(graph, settings, providers=["CPUExecutionProvider"], enable_fallback=0)
    _SESSIONS.add(session)
    return session


class OnnxFile:
    """An ONNX file of a model, which is checked, opened and run. Raises ModelError, with `command` as the remedy, if
    that fails.

    fits: checks, when the file is opened, that it belongs to the model. part: extracts the part that is needed from the
    content. A forked process opens the file again, because the threads of the old session exist only in the parent.
    """

    def __init__(
        self,
        path: Path,
        command: str,
        threads: int,
        fits: Callable[[onnxruntime.InferenceSession], bool],
        part: Callable[[bytes], bytes] | None = None,
    ) -> None:
        self.path, self.threads, self.fits, self.part = path, threads, fits, part
        self.remedy = f"make it again with `{command}`"
        self.opened = os.getpid(), self._open()

    def _open(self) -> onnxruntime.InferenceSession:
        content = _read_onnx(self.path)
        check_onnx(content, self.path)
        try:
            if self.part is None:
                session = open_session(content, self.threads)
            else:  # for long recordings: a planned block of memory for a whole chunk is larger, and not faster
                session = open_session(self.part(content), self.threads, enable_mem_pattern=False)
            fits = self.fits(session)
        except Exception as problem:  # noqa: BLE001 - onnxruntime raises many kinds; all mean a damaged file
            raise self.error(f"cannot be loaded ({_in_short(problem)})") from None
        if not fits:
            raise self.error("does not belong to this model")
        return session

    @property
    def session(self) -> onnxruntime.InferenceSession:
        """The session of this process."""
        pid, session = self.opened
        if pid != os.getpid():
            session = self._open()
            self.opened = os.getpid(), session
        return session

    def run(self, outputs: Sequence[str], feeds: Mapping[str, Any]) -> list[Any]:
        """The outputs of these names, in memory owned by ONNX Runtime."""
        session = self.session
        try:
            return list(session.run(outputs, feeds))
        except Exception as problem:  # noqa: BLE001 - as above; what cannot be run may be known only now
            raise self.error(f"cannot be run ({_in_short(problem)})") from None

    def error(self, what: str) -> ModelError:
        return ModelError(f"{self.path}: {what}; {self.remedy}")


def _in_short(problem: Exception) -> str:
    return " ".join(str(problem).split())[:160]


def says_geometry(session: onnxruntime.InferenceSession, geometry: Geometry) -> bool:
    """Whether the metadata of a file agree with this geometry. Otherwise scores would be at other times."""
    said = session.get_modelmeta().custom_metadata_map
    wanted = {name: getattr(geometry, name) for name in ("sample_rate", "hop_samples", "window_samples")}
    return all(name not in said or said[name] == str(value) for name, value in wanted.items())


def _keep_sessions() -> None:
    """After a fork, keep sessions alive: closing one would wait for its threads, which exist only in the parent."""
    if _SESSIONS:
        import ctypes

        for session in list(_SESSIONS):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(session))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_keep_sessions)
