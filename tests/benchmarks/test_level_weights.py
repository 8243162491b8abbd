"""Weights behind a level norm: which network is made, and what lies between two."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fixtures_models import LOG_MEL, network_of, table_of, write_folder
from safetensors.torch import save_file

from audiocnn.spec.spec import spec_from_table
from benchmarks import level_weights

LEVEL = {"norm": "level", "seconds": 0.5, "ahead_seconds": 0.2, "padding": "same", "range_db": 30.0, "to_db": -28.0}
LAYERS = [{"norm": "batch"}, {"conv": 4, "kernel": 3}]


@pytest.fixture
def plain(tmp_path, monkeypatch):
    """A model without the norm; its spec with one is `leveled`."""
    spec = spec_from_table(table_of(LOG_MEL, LAYERS, {}), "plain", 1)
    leveled = spec_from_table(table_of(LOG_MEL, [LEVEL, *LAYERS], {}), "leveled", 1)
    monkeypatch.setattr(level_weights, "find_spec", lambda name, folders: leveled)
    network = network_of(spec, seed=3)
    write_folder(network, tmp_path / "plain", "plain", ("speech",))
    return network, tmp_path / "plain"


def test_the_level_is_the_one_that_is_asked_for_and_weights_are_those_of_the_model(plain):
    network, folder = plain
    made, level = level_weights.network_of("leveled", str(folder), None, 0.0, {"to_db": -20.0})
    assert (level["to_db"], level["range_db"]) == (-20.0, 30.0)
    wanted = sorted(tensor.numpy().tobytes() for tensor in network.state_dict().values())
    assert sorted(tensor.numpy().tobytes() for tensor in made.state_dict().values()) == wanted


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_weights_lie_between_those_of_the_model_and_those_of_a_run(plain, tmp_path, share):
    before, _ = level_weights.network_of("leveled", str(plain[1]), None, 0.0, {})
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    trained = {f"network.{key}": tensor + 1 for key, tensor in before.state_dict().items()}
    save_file(trained, tmp_path / "run" / "checkpoints" / "last.safetensors")
    made, _ = level_weights.network_of("leveled", str(plain[1]), tmp_path / "run", share, {})
    for key, tensor in before.state_dict().items():
        moved = tensor + share if tensor.is_floating_point() else tensor
        torch.testing.assert_close(made.state_dict()[key], moved)


def test_errors_are_misses_and_false_alarms_over_the_speech():
    speech, scores = np.array([True, True, False, False]), np.array([0.9, 0.3, 0.6, 0.1], np.float32)
    assert level_weights.error_at((speech, scores), 0.5) == 1.0
    assert level_weights.error_at((speech, scores), 0.2) == 0.5
