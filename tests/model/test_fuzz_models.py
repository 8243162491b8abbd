"""A few of the spoiled models and specs; all of them by `python -m tests.helpers.fuzz.models`."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from fixtures_cli import audiocnn, audiocnn_process, tone_model  # noqa: F401
from fuzz.models import SHIPPED, fuzz, spoil_graph

from audiocnn.errors import ModelError
from audiocnn.model.model import ONNX
from audiocnn.model.onnx import GRAPH_DIGEST, check_onnx, graph_digest
from audiocnn_cli.app.exits import ExitStatus


def test_spoiled_models_and_specs_are_refused_or_of_use(tmp_path):
    counts, wrong, _, _ = fuzz(60, 0, [SHIPPED / "speech_1d"], tmp_path, specs=30, weights=False)
    assert wrong == [] and sum(counts.values()) > 60
    ends = {end for _, end in counts}
    assert {"used", "refused", "refused later"} <= ends


def graph_of(path, change):
    """The ONNX file of a shipped model with something changed in its graph."""
    import onnx

    model = onnx.load(SHIPPED / "speech_1d" / ONNX)
    kept = [one for one in model.metadata_props if one.key != GRAPH_DIGEST]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    change(onnx, model)
    path.write_bytes(model.SerializeToString())
    return path


def outside(onnx, model):
    constant = model.graph.initializer[0]
    constant.ClearField("raw_data")
    constant.data_location = onnx.TensorProto.EXTERNAL
    constant.external_data.add(key="location", value="../../../etc/passwd")


def huge(onnx, model):
    model.graph.initializer[0].dims[:] = [2**30, 2**30]


def loop(onnx, model):
    model.graph.node[0].attribute.add(name="body", type=onnx.AttributeProto.GRAPH).g.CopyFrom(onnx.GraphProto(name="x"))


def foreign(onnx, model):
    model.graph.node[0].domain = "com.microsoft"


def functions(onnx, model):
    model.functions.add(name="f", domain="x")


def signed(onnx, model):
    model.metadata_props.add(key=GRAPH_DIGEST, value="0" * 64)


def endless(onnx, model):
    """A size that kept ONNX Runtime busy for minutes, while it loaded the graph."""
    shapes = {node.input[1] for node in model.graph.node if node.op_type == "Reshape"}
    constant = next(one for one in model.graph.initializer if one.name in shapes)
    constant.raw_data = np.array([2**24], np.int64).tobytes()


CASES = {
    outside: r'the data of constant "[\w.]+" are in another file',
    huge: r"has the shape 1073741824 x 1073741824, but holds \d+ numbers",
    loop: r"its operator \w+ contains a graph",
    foreign: r'operators of "com\.microsoft" are not supported',
    functions: r"it contains functions",
    endless: r'its operator \w+ uses "[\w.]+", which is 16777216',
    signed: r"its graph differs from the one that was exported",
}


@pytest.mark.parametrize("change", CASES, ids=lambda change: change.__name__)
def test_a_graph_that_lies_is_refused_before_it_is_loaded(tmp_path, change):
    path = graph_of(tmp_path / ONNX, change)
    with pytest.raises(ModelError, match=CASES[change]) as caught:
        check_onnx(path.read_bytes(), path)
    assert "make it again with `audiocnn export" in str(caught.value) and "\n" not in str(caught.value)


def test_what_was_exported_knows_its_graph(tone_model, tmp_path):  # noqa: F811
    content = (tone_model / ONNX).read_bytes()
    check_onnx(content, tone_model / ONNX)
    assert GRAPH_DIGEST.encode() in content and graph_digest(content).encode() in content
    weight = content.index(b"raw") if b"raw" in content else len(content) // 2
    for at in np.linspace(weight, len(content) - 1, 40).astype(int):
        spoiled = bytearray(content)
        spoiled[at] ^= 1
        if graph_digest_or_none(spoiled) == graph_digest(content):
            continue  # in what stands around the graph
        with pytest.raises(ModelError, match=r"model\.onnx: damaged, or not written by audiocnn"):
            check_onnx(bytes(spoiled), tone_model / ONNX)


def graph_digest_or_none(content):
    try:
        return graph_digest(bytes(content))
    except Exception:  # noqa: BLE001 - it is damaged
        return None


def test_a_model_that_says_another_window_is_refused(tone_model, tmp_path):  # noqa: F811
    shutil.copytree(tone_model, tmp_path / "lies")
    toml = tmp_path / "lies" / "model.toml"
    toml.write_text(toml.read_text().replace("window_seconds = 0.1", "window_seconds = 0.3"))
    done = audiocnn("detect", SHIPPED / "none.wav", "-m", tmp_path / "lies")
    assert done.status is ExitStatus.USAGE
    assert "does not belong to this model; make it again with `audiocnn export" in done.err


def test_weights_that_are_no_numbers_are_no_scores(tmp_path):
    def nan(onnx, model):
        for constant in model.graph.initializer:
            if constant.name.endswith("f.layers.3.bias"):
                constant.raw_data = np.array([np.nan], np.float32).tobytes()

    shutil.copytree(SHIPPED / "speech_1d", tmp_path / "nan")
    graph_of(tmp_path / "nan" / ONNX, nan)
    sample = SHIPPED.parents[1] / "data" / "samples" / "greeting.flac"
    done = audiocnn("detect", sample, "-m", tmp_path / "nan")
    assert done.status is ExitStatus.USAGE
    assert "returned scores that are not finite; the weights are damaged" in done.err


def test_what_onnx_runtime_says_is_kept_off_standard_output(tmp_path):
    """It repeats names in its errors; where they are no text, Python's side of it prints what it then tries."""
    shutil.copytree(SHIPPED / "speech_1d", tmp_path / "named")
    path = tmp_path / "named" / ONNX
    content = path.read_bytes()
    assert b"\x22\x04Relu" in content
    path.write_bytes(content.replace(b"\x22\x04Relu", b"\x22\x04Re\xe5u", 1))
    done = audiocnn_process(
        "detect", SHIPPED.parents[1] / "data" / "samples" / "greeting.flac", "-m", tmp_path / "named"
    )
    assert (done.returncode, done.stdout) == (ExitStatus.USAGE, b"")
    assert done.stderr.startswith(b"audiocnn: error: ") and done.stderr.count(b"\n") == 1


@pytest.mark.long
def test_an_onnx_file_that_is_too_large_is_not_read(tmp_path):
    shutil.copytree(SHIPPED / "speech_1d", tmp_path / "large")
    with (tmp_path / "large" / ONNX).open("r+b") as file:
        file.truncate(2**31 + 1)  # takes no room on the disk
    done = audiocnn("detect", "gone.wav", "-m", tmp_path / "large")
    assert done.status is ExitStatus.USAGE and "too large for an ONNX file (2147483649 bytes)" in done.err


def test_the_same_seed_spoils_the_same():
    content = (SHIPPED / "speech_1d" / ONNX).read_bytes()
    one, other = (spoil_graph(content, np.random.default_rng(5)) for _ in range(2))
    assert one == other != content
