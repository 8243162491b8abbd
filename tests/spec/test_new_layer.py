"""The manual's example of a new kind of layer, as it stands there: read, described, built, trained a step, exported."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import torch
from fixtures_models import LOG_MEL, noise, table_of, write_folder

from audiocnn.errors import SpecError
from audiocnn.model.export import TOLERANCE, export_onnx
from audiocnn.model.network import Network
from audiocnn.spec.describe import describe
from audiocnn.spec.layers import LAYER_KINDS
from audiocnn.spec.spec import spec_from_table

PAGE = Path(__file__).resolve().parents[2] / "docs" / "background" / "networks.md"


@pytest.fixture
def layers(monkeypatch):
    """The TOML of the manual, once its Python has run. After the test no spec can name the new kind; its builder stays
    registered, for a class that nothing else has."""
    page = PAGE.read_text(encoding="utf-8")
    (python,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (toml,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    before = dict(LAYER_KINDS)
    exec(compile(python, "networks.md", "exec"), {"__name__": "networks"})
    (name,) = LAYER_KINDS.keys() - before.keys()
    yield tomllib.loads(toml)["layers"]
    del LAYER_KINDS[name]
    assert before == LAYER_KINDS


def test_the_kind_of_the_manual_is_a_layer_like_any_other(layers, tmp_path):
    spec = spec_from_table(table_of(LOG_MEL, layers, {"layers": [{"dense": 5}]}), "gated", 2)
    found = describe(spec)
    assert [row.output.channels for row in found.rows][1:3] == [32, 16]
    assert "gate" in found.rows[2].text
    torch.manual_seed(0)
    network = Network(spec)
    assert sum(weight.numel() for weight in network.parameters()) == spec.parameters() == found.parameters
    logits = network.logits_of(network.features(torch.from_numpy(noise(spec, 2, network.geometry.window_samples))))
    logits.square().sum().backward()
    assert all(weight.grad.abs().max() > 0 for weight in network.parameters())
    network.eval()
    assert export_onnx(write_folder(network, tmp_path / "model"), network) <= TOLERANCE


def test_it_refuses_what_does_not_fit(layers):
    odd = [{**layers[0], "conv": 7}, layers[1]]
    with pytest.raises(SpecError, match=r'odd: group "A": layer 2: gate: 7 maps .*; use an even number'):
        spec_from_table(table_of(LOG_MEL, odd, {}), "odd", 2)
