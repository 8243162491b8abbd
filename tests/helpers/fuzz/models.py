"""Uses damaged model folders and specs: each is refused in one line or gives scores, without crash, hang or large
memory.

python -m tests.helpers.fuzz.models --count 1000 --seed 0

A child process uses the folders one after the other, so that a crash or hang is recognised and the next folder is used.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import re
import select
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = ROOT / "models" / "audiocnn_models"
PATH = ":".join(map(str, (ROOT, ROOT / "cli", ROOT / "models", ROOT / "tests")))
MOST_SECONDS, MOST_BYTES = 5.0, 1 << 30
START_SECONDS = 600.0  # for the imports of a process on a busy machine
NUMBERS = ("0", "-1", "1", "2", "3", "7", "1e9", "1e300", "nan", "inf", "2147483647", "9223372036854775807", "0.5")
NUMBERS += ("1" + "0" * 400, "true", '""', "[]", "{}", "16000.5", "1e-300")
SIZES = (0, 1, 2, 3, 5, 64, 255, 1000, 2**16, 2**20, 2**24, 2**31 - 1, 2**31, 2**40, 2**62, -1, -2, -(2**31), -(2**63))
OPERATORS = (
    "Add",
    "Mul",
    "Reshape",
    "Tile",
    "Expand",
    "ConstantOfShape",
    "Range",
    "Loop",
    "If",
    "Conv",
    "Gather",
    "Pad",
)
OPERATORS += ("Resize", "OneHot", "TopK", "NonZero", "Sequence", "LSTM", "Einsum", "Nothing", "Transpose", "Slice")
# Messages about the network in a file whose structure is intact.
LATER = re.compile(r"cannot be loaded|cannot be run|does not belong|does not fit|the network gives")

# The code of the process. It prints each folder before using it, and the outcome afterwards.
CHILD = """
import json, os, re, sys, tempfile, time
import numpy as np
from audiocnn.spec.spec import load_spec
from audiocnn.inference.engine import load_engine
from audiocnn.errors import AudiocnnError, ModelError
from audiocnn.model.model import find_model
from pathlib import Path

out = os.fdopen(os.dup(1), "w", buffering=1)
noise = tempfile.TemporaryFile()
os.dup2(noise.fileno(), 1)  # what a library writes there would lie among the data

sound = (0.1 * np.sin(np.arange(48000) * 0.3)).astype(np.float32)[None]

def use(what, path):
    if what == "spec":
        spec = load_spec(Path(path), 1)
        spec.geometry(), spec.parameters()
        return
    model = find_model(path)
    if what == "weights":
        from audiocnn.model.weights import load_networks
        load_networks(model)
        return
    engine = load_engine(model, "cpu", 1)
    try:
        engine.score(np.repeat(sound, engine.channels, axis=0))
    finally:
        engine.close()

for line in sys.stdin:
    what, path = json.loads(line)
    out.write(json.dumps(["begin", path]) + "\\n")
    began, said = time.monotonic(), ""
    try:
        use(what, path)
        end = "used"
    except AudiocnnError as problem:
        end, said = "refused", str(problem)
    except BaseException as problem:
        end, said = "wrong", f"{type(problem).__name__}: {problem}"
    # not ru_maxrss, which begins with that of who started the process
    peak = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
    if os.fstat(1).st_size:
        noise.seek(0)
        end, said = "wrong", f"on standard output: {noise.read()[:300]!r}"
        noise.truncate(0)
        noise.seek(0)
    out.write(json.dumps([end, path, said, time.monotonic() - began, peak]) + "\\n")
"""


def pick(random, choices):
    return choices[int(random.integers(len(choices)))]


def spoil_text(text, random):
    """A TOML file with a changed value, key or line."""
    lines = text.split("\n")
    for _ in range(int(random.integers(1, 4))):
        at = int(random.integers(len(lines)))
        change = pick(random, ("number", "number", "number", "drop", "twice", "swap", "word", "bytes", "cut", "deep"))
        if change == "number":
            spots = [(k, m) for k, line in enumerate(lines) for m in re.finditer(r"(?<=[= \[])-?\d[\d.e+-]*", line)]
            if spots:
                k, found = pick(random, spots)
                lines[k] = lines[k][: found.start()] + pick(random, NUMBERS) + lines[k][found.end() :]
        elif change == "drop":
            del lines[at]
        elif change == "twice":
            lines.insert(at, pick(random, lines))
        elif change == "swap":
            other = int(random.integers(len(lines)))
            lines[at], lines[other] = lines[other], lines[at]
        elif change == "word":
            lines[at] = re.sub(
                r"\w+", pick(random, ("x", "conv", "stft", "cqt", "same", "é" * 50, "repeat")), lines[at], count=1
            )
        elif change == "bytes":
            lines[at] += random.bytes(4).decode("latin-1")
        elif change == "cut":
            lines = lines[: at + 1]
        else:
            lines.insert(at, f"layers = {'[' * 900}")
        lines = lines or [""]
    return "\n".join(lines).encode("utf-8", "replace")


def spoil_bytes(content, random):
    """A file with changed bytes, or a truncated file."""
    data = bytearray(content)
    for _ in range(int(random.integers(1, 5))):
        at = int(random.integers(min(len(data), pick(random, (64, 4096, len(data))))))
        change = pick(random, ("flip", "more", "cut", "zeros"))
        if change == "flip":
            data[at] ^= 1 << int(random.integers(8))
        elif change == "more":
            data[at:at] = random.bytes(int(random.integers(1, 9)))
        elif change == "zeros":
            data[at : at + 64] = bytes(64)
        elif random.integers(4) == 0:
            data = data[: max(1, at)]
    return bytes(data)


def spoil_weights(content, random):
    """A safetensors file with a wrong header."""
    size = struct.unpack("<Q", content[:8])[0]
    header, rest = json.loads(content[8 : 8 + size]), content[8 + size :]
    for _ in range(int(random.integers(1, 3))):
        names = [name for name in header if name != "__metadata__"]
        one = header[pick(random, names)]
        change = pick(random, ("shape", "offset", "type", "drop", "name", "swap"))
        if change == "shape" and one["shape"]:
            one["shape"][int(random.integers(len(one["shape"])))] = pick(random, SIZES)
        elif change == "offset":
            one["data_offsets"][int(random.integers(2))] = pick(random, SIZES)
        elif change == "type":
            one["dtype"] = pick(random, ("F64", "F16", "I8", "BOOL", "BF16", "X", "F8_E4M3"))
        elif change == "drop":
            del header[pick(random, names)]
        elif change == "name":
            header["a" * int(random.integers(1, 300))] = dict(one)
        else:
            first, second = pick(random, names), pick(random, names)
            header[first], header[second] = header[second], header[first]
    text = json.dumps(header).encode()
    size = len(text) if random.integers(4) else abs(int(pick(random, SIZES)))
    return struct.pack("<Q", min(size, 2**64 - 1)) + text + rest


def spoil_graph(content, random):
    """An ONNX file with a changed graph: sizes, constants, operators, attributes, names, nodes."""
    import onnx

    model = onnx.load_model_from_string(content)
    graph = model.graph
    for _ in range(int(random.integers(1, 4))):
        node, constant = pick(random, graph.node), pick(random, graph.initializer)
        whole = [one for one in graph.initializer if one.data_type == onnx.TensorProto.INT64 and len(one.raw_data) >= 8]
        change = pick(
            random, ("index", "index", "index", "dim", "operator", "input", "attribute", "drop", "twice", "data")
        )
        change = pick(random, (change, change, change, "outside", "loop", "type", "domain", "shape"))
        if change == "index" and whole:
            one = pick(random, whole)
            at = 8 * int(random.integers(len(one.raw_data) // 8))
            one.raw_data = one.raw_data[:at] + struct.pack("<q", pick(random, SIZES)) + one.raw_data[at + 8 :]
        elif change == "dim" and constant.dims:
            constant.dims[int(random.integers(len(constant.dims)))] = pick(random, SIZES)
        elif change == "operator":
            node.op_type = pick(random, OPERATORS)
        elif change == "input" and node.input:
            names = ["", "samples", "extend", *(name for other in graph.node for name in other.output)]
            node.input[int(random.integers(len(node.input)))] = pick(random, names)
        elif change == "attribute" and node.attribute:
            one = pick(random, node.attribute)
            one.i = pick(random, SIZES)
            one.ints[:] = [pick(random, SIZES) for _ in one.ints]
            one.s = random.bytes(4) if one.s else b""
        elif change == "drop":
            graph.node.remove(node)
        elif change == "twice":
            graph.node.append(node)
        elif change == "data" and len(constant.raw_data):
            constant.raw_data = random.bytes(len(constant.raw_data))
        elif change == "outside":
            constant.ClearField("raw_data")
            constant.data_location = onnx.TensorProto.EXTERNAL
            place = pick(random, ("../../../etc/passwd", "/dev/zero", "model.safetensors", "/proc/self/mem"))
            constant.external_data.add(key="location", value=place)
        elif change == "loop":
            node.attribute.add(name="body", type=onnx.AttributeProto.GRAPH).g.CopyFrom(onnx.GraphProto(name="x"))
        elif change == "type":
            constant.data_type = int(random.integers(24))
        elif change == "domain":
            node.domain = pick(random, ("com.microsoft", "ai.onnx.ml", "x"))
        elif change == "shape":
            value = pick(random, [*graph.input, *graph.output])
            for dim in value.type.tensor_type.shape.dim:
                dim.dim_value = pick(random, SIZES)
    kept = [
        one for one in model.metadata_props if one.key != "graph_sha256"
    ]  # an attacker could also replace the digest
    if random.integers(4):
        del model.metadata_props[:]
        model.metadata_props.extend(kept)
    return model.SerializeToString()


def spoil_folder(folder, source, random):
    """Copy a model folder and damage one part. Returns how to use it and how it was damaged."""
    shutil.copytree(source, folder)
    how = pick(random, ("toml", "toml", "graph", "graph", "graph", "onnx bytes", "weights", "weights bytes", "missing"))
    part = {"toml": "model.toml", "graph": "model.onnx", "onnx bytes": "model.onnx"}.get(how, "model.safetensors")
    path = folder / part
    content = path.read_bytes()
    if how == "toml":
        path.write_bytes(spoil_text(content.decode(), random))
    elif how == "missing":
        path = folder / pick(random, ("model.toml", "model.onnx", "model.safetensors"))
        path.unlink()
        if random.integers(2):
            path.mkdir()
    else:
        spoil = {"graph": spoil_graph, "weights": spoil_weights}.get(how, spoil_bytes)
        path.write_bytes(spoil(content, random))
    return ("weights" if part == "model.safetensors" else "scores"), how


class Child:
    """The process that uses the damaged folders."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": PATH, "OMP_NUM_THREADS": "1"}, bufsize=0,
        )  # fmt: skip

    def use(self, what, path, seconds):
        """(end, message, seconds, peak memory). The end is crashed or hung if the process did not answer."""
        self.process.stdin.write(json.dumps([what, str(path)]).encode() + b"\n")
        self.process.stdin.flush()
        began, data = time.monotonic(), b""
        while not data.endswith(b"]\n") or data.count(b"\n") < 2:
            if not select.select([self.process.stdout], [], [], max(0, began + seconds - time.monotonic()))[0]:
                self.close()
                return "hung", f"no answer in {seconds:g} s", seconds, 0
            more = os.read(self.process.stdout.fileno(), 1 << 16)
            if not more:
                self.process.wait()
                return "crashed", f"status {self.process.returncode}", time.monotonic() - began, 0
            data += more
        end, _, *figures = json.loads(data.splitlines()[1])
        return (end, *figures)

    def close(self):
        self.process.kill()
        self.process.communicate()


def fuzz(count, seed, sources, folder, specs=0, report=lambda line: None, weights=True):
    """Use `count` damaged folders and `specs` damaged specs: counts by (how, end), failures, slowest, most memory."""
    random = np.random.default_rng(seed)
    counts, wrong = collections.Counter(), []
    slowest, most, child = 0.0, 0, None
    shipped = sorted((SHIPPED / "specs").glob("*.toml"))
    for number in range(count + specs):
        path = folder / f"m{number}"
        if number < count:
            what, how = spoil_folder(path, pick(random, sources), random)
            if what == "weights" and not weights:  # weights need torch, which is slow to import
                shutil.rmtree(path)
                continue
        else:
            what, how, path = "spec", "spec", path.with_suffix(".toml")
            path.write_bytes(spoil_text(pick(random, shipped).read_text(encoding="utf-8"), random))
        fresh = child is None
        child = child or Child()
        end, said, seconds, peak = child.use(
            what, path, START_SECONDS if fresh or what == "weights" else 4 * MOST_SECONDS
        )
        if end == "refused" and LATER.search(said):
            end = "refused later"
        counts[how, end] += 1
        slowest, most = max(slowest, 0.0 if fresh or what == "weights" else seconds), max(most, peak)
        bad = end not in ("used", "refused", "refused later") or "\n" in said or "Traceback" in said
        if bad or (seconds > MOST_SECONDS and not fresh and what != "weights") or peak > MOST_BYTES:
            wrong.append(f"{number} {how}: {end} in {seconds:.1f} s, {peak >> 20} MB: {said[:300]}")
            report(wrong[-1])
        elif path.is_dir():
            shutil.rmtree(path)
        if end in ("crashed", "hung") or peak > MOST_BYTES:
            child.close()
            child = None
    if child is not None:
        child.close()
    return counts, wrong, slowest, most


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--specs", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    sources = [SHIPPED / name for name in ("speech_1d", "speech_2d")]
    with tempfile.TemporaryDirectory(prefix="audiocnn-fuzz-") as folder:
        out = sys.stdout.write
        counts, wrong, slowest, most = fuzz(
            given.count, given.seed, sources, Path(folder), given.specs, lambda line: out(f"wrong: {line}\n")
        )
    for (how, end), number in sorted(counts.items()):
        out(f"{how:>14} {end:>14} {number:6}\n")
    used = sum(number for (how, end), number in counts.items() if end == "used")
    used += sum(number for (how, end), number in counts.items() if end == "refused later")
    total = sum(counts.values())
    out(
        f"{total} spoiled, {used} past the structure, slowest {slowest:.1f} s, most memory {most >> 20} MB, "
        f"{len(wrong)} wrong\n"
    )
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
