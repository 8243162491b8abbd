"""Every spec file that ships: built, run, trained a step, saved, loaded, exported, and the same however it is read.

A spec that is added to the folder is tested from that day on. Networks of more than `LARGE` weights are built without
their memory (on torch's meta device), which shows their sizes and no more.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fixtures_models import network_of, noise, shipped_specs, torch_engine, write_folder

from audiocnn.architecture import load_spec
from audiocnn.describing import describe
from audiocnn.engine import OnnxBackend
from audiocnn.export import TOLERANCE
from audiocnn.model import read_model, spec_folders
from audiocnn.network import Network
from audiocnn.weights import load_network

LARGE = 3_000_000
ALL = shipped_specs()
SMALL = [path for path in ALL if load_spec(path).parameters() <= LARGE]
SHIFT_EXACT = [path for path in SMALL if load_spec(path).geometry().shift_exact]


def name_of(path):
    return path.stem


def every(paths):
    return pytest.mark.parametrize("path", paths, ids=name_of)


def test_the_specs_of_the_design_ship():
    assert {"speech_1d", "speech_2d", "speech_wave"} <= {path.stem for path in ALL}
    assert all(path.parent in spec_folders() for path in ALL)


@every(ALL)
def test_it_says_what_it_is(path):
    spec = load_spec(path)
    assert spec.name == path.stem
    assert 10 <= len(spec.summary) <= 100
    assert spec.groups or spec.f.layers


@every(ALL)
def test_its_sizes_are_those_of_torch(path):
    spec = load_spec(path, classes=3)
    with torch.device("meta"):
        network = Network(spec)
    network = network.to("meta").eval()
    weights = sum(weight.numel() for weight in network.parameters())
    assert spec.parameters() == describe(spec).parameters == weights
    values = torch.empty(2, *(spec.window_size().channels, *spec.window_size().axes), device="meta")
    assert network.logits_of(values).shape == (2, 1, 3)
    geometry = spec.geometry()
    core = geometry.window_samples - geometry.pad_start - geometry.pad_end
    assert network(torch.empty(2, spec.input.channels, core, device="meta")).shape == (2, 1, 3)


@every(SMALL)
def test_it_scores_1_and_7_items_of_any_length(path):
    network = network_of(load_spec(path, classes=2))
    geometry = network.geometry
    lengths = (1, geometry.hop_samples, geometry.window_samples, geometry.window_samples + 5 * geometry.hop_samples + 1)
    for items, samples in [(1, n) for n in lengths] + [(7, lengths[-1])]:
        with torch.no_grad():
            got = network(network.extended(torch.from_numpy(noise(network.spec, items, samples))))
        assert got.shape == (items, geometry.rows(samples), 2)
        assert torch.isfinite(got).all()
        assert ((got >= 0) & (got <= 1)).all()


@every(SMALL)
def test_every_weight_gets_a_gradient_that_is_finite_and_not_zero(path):
    torch.manual_seed(0)
    network = Network(load_spec(path, classes=2)).train()
    samples = torch.from_numpy(noise(network.spec, 7, network.geometry.window_samples))
    logits = network.logits_of(network.features(network.extended(samples)))
    targets = (torch.rand_like(logits) > 0.5).float()
    torch.nn.functional.binary_cross_entropy_with_logits(logits, targets).backward()
    for key, weight in network.named_parameters():
        assert weight.grad is not None, key
        assert torch.isfinite(weight.grad).all(), key
        assert weight.grad.abs().max() > 0, key


@every(SMALL)
def test_it_is_the_same_after_saving_and_loading(path, tmp_path):
    network = network_of(load_spec(path, classes=2))
    write_folder(network, tmp_path / "model", path.stem)
    model = read_model(tmp_path / "model")
    assert model.spec == network.spec
    loaded = load_network(model)
    samples = torch.from_numpy(noise(network.spec, 1, network.geometry.window_samples))
    with torch.no_grad():
        assert torch.equal(loaded(loaded.extended(samples)), network(network.extended(samples)))


@every(SMALL)
def test_its_onnx_file_agrees_with_torch_at_other_batches_and_lengths(path, exported):
    model, network, difference = exported(path)
    assert difference <= TOLERANCE
    session = OnnxBackend(model, threads=1).session
    for items, samples in ((1, 1), (5, network.geometry.window_samples + 3333)):
        sound = noise(network.spec, items, samples)
        with torch.no_grad():
            wanted = network(network.extended(torch.from_numpy(sound))).numpy()
        (got,) = session.run(["scores"], {"samples": sound})
        assert got.shape == wanted.shape
        assert np.max(np.abs(got - wanted)) <= TOLERANCE


@every(SHIFT_EXACT)
def test_its_dense_scores_are_those_of_a_sliding_window(path):
    network = network_of(load_spec(path))
    geometry = network.geometry
    extended = network.extended(torch.from_numpy(noise(network.spec, 1, 12 * geometry.hop_samples + 1)))
    windows = extended[0].unfold(-1, geometry.window_samples, geometry.hop_samples).transpose(0, 1)
    with torch.no_grad():
        dense, each = network(extended)[0], network(windows)[:, 0]
    assert dense.shape == each.shape == (13, 1)
    assert torch.max(torch.abs(dense - each)) <= 1e-4


@every(SMALL)
def test_its_scores_do_not_depend_on_how_a_recording_is_read(path):
    network = network_of(load_spec(path, classes=2))
    samples = noise(network.spec, 1, 2 * network.geometry.window_samples + 1234)[0]
    with torch.no_grad():
        whole = network(network.extended(torch.from_numpy(samples)[None]))[0].numpy()
    engine = torch_engine(network)
    for rows in (17, 40):
        engine.chunk_rows = rows
        blocks = np.split(samples, [1, 2, 5000, 5001, 12_345], axis=1)
        got = np.concatenate(list(engine.score_blocks(blocks)))
        assert got.shape == whole.shape
        assert np.max(np.abs(got - whole)) <= 1e-4
