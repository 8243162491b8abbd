"""The ONNX file: the same scores as torch whatever the batch and the length, for every mechanism a spec can use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from fixtures_models import SPECS, network_of, noise, spec_named, write_folder

from audiocnn.errors import ModelError
from audiocnn.inference.engine import OnnxBackend
from audiocnn.model import export
from audiocnn.model.export import OPSET, TOLERANCE, export_onnx
from audiocnn.model.model import CARD, ONNX, TOML, WEIGHTS, join_outputs

# test_engine scores others through their files, recurrent ones among them.
QUICK = ("waveform", "onset_offset")
EVERY_SPEC = [pytest.param(name, marks=[] if name in QUICK else pytest.mark.long) for name in SPECS]


@pytest.mark.parametrize("name", EVERY_SPEC)
def test_onnx_agrees_with_torch_at_other_batches_and_lengths(name, exported):
    model, network, difference = exported(name)
    geometry = network.geometry
    assert difference <= TOLERANCE
    backend = OnnxBackend(model, threads=1)
    lengths = (1, 2, geometry.hop_samples, geometry.window_samples - 1, geometry.window_samples, 4567)
    for items, samples in [(1, n) for n in lengths] + [(5, 3333), (2, 10_001)]:
        sound = noise(network.spec, items, samples)
        with torch.no_grad():
            wanted = network(network.extended(torch.from_numpy(sound))).numpy()
        got = join_outputs(*backend.file.session.run(backend.parts, {"samples": sound}))
        assert got.shape == wanted.shape == (items, geometry.rows(samples), network.spec.outputs)
        assert np.max(np.abs(got - wanted)) <= TOLERANCE


@pytest.mark.parametrize("name", EVERY_SPEC)
def test_without_its_extension_the_file_scores_just_the_samples_given(name, exported):
    model, network, _ = exported(name)
    geometry = network.geometry
    core = geometry.window_samples - geometry.pad_start - geometry.pad_end
    for items, rows in ((1, 1), (3, 4)):
        sound = noise(network.spec, items, core + (rows - 1) * geometry.hop_samples)
        with torch.no_grad():
            wanted = network(torch.from_numpy(sound)).numpy()
        got = OnnxBackend(model, threads=1).run(sound)
        assert got.shape == (items, rows, network.spec.outputs)
        assert np.max(np.abs(got - wanted)) <= TOLERANCE


def test_the_file_says_what_it_is(exported):
    model, network, _ = exported("two_channels")
    content = (model.folder / ONNX).read_bytes()
    graph = onnx.load_from_string(content)
    onnx.checker.check_model(graph, full_check=True)
    said = {entry.key: entry.value for entry in graph.metadata_props}
    assert said["audiocnn"] == (model.folder / TOML).read_text(encoding="utf-8")
    assert said["labels"] == "label0\nlabel1\nlabel2"
    assert (said["sample_rate"], said["hop_samples"]) == ("2000", str(network.geometry.hop_samples))
    assert said["window_samples"] == str(network.geometry.window_samples)
    assert [entry.version for entry in graph.opset_import if not entry.domain] == [OPSET]
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (samples,), (scores,) = session.get_inputs(), session.get_outputs()
    assert (samples.name, samples.shape) == ("samples", ["batch", 2, "time"])
    assert (scores.name, scores.shape) == ("scores", ["batch", "positions", 3])
    assert [value.name for value in session.get_overridable_initializers()] == ["extend"]
    assert {path.name for path in model.folder.iterdir()} == {CARD, TOML, ONNX, WEIGHTS}


def test_a_file_that_differs_is_not_written(tmp_path, monkeypatch):
    network = network_of(spec_named("short_window"))
    model = write_folder(network, tmp_path / "tiny")
    (model.folder / ONNX).write_bytes(b"the one before")
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    with pytest.raises(ModelError, match=r"tiny/model\.onnx: differs from PyTorch by .*so it was not written$"):
        export_onnx(model, network)
    assert (model.folder / ONNX).read_bytes() == b"the one before"
    monkeypatch.undo()
    network.train()  # exported as it is used, whatever it was doing
    assert export_onnx(model, network) <= TOLERANCE
    assert OnnxBackend(model, threads=1).run(noise(network.spec, 1, 8)).shape == (1, 1, 2)


def test_a_score_that_is_not_a_number_is_a_difference(tmp_path):
    network = network_of(spec_named("short_window"))
    model = write_folder(network, tmp_path / "tiny")
    with torch.no_grad():
        next(iter(network.parameters())).fill_(torch.nan)
    with pytest.raises(ModelError, match="differs from PyTorch by nan"):
        export_onnx(model, network)


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[2] / "models").rglob("model.onnx")), ids=lambda path: path.parent.name
)
def test_a_released_file_does_not_tell_where_it_was_made(path):
    content = path.read_bytes()
    assert b"network.py" not in content
    assert b"site-packages" not in content
