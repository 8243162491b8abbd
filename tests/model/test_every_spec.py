"""Every spec file that ships: built, run, trained a step, saved, loaded, exported, and the same however it is read.

A spec that is added to the folder is tested from that day on. Networks of more than `LARGE` weights are built without
their memory (on torch's meta device), which shows their sizes and no more; `pytest -m long` does all the rest with them
too, exports all, and wants some gigabytes.
"""

from __future__ import annotations

import tomllib

import numpy as np
import pytest
import torch
from fixtures_models import network_of, noise, shipped_specs, torch_engine, write_folder

from audiocnn.inference.engine import OnnxBackend
from audiocnn.model.export import TOLERANCE
from audiocnn.model.model import read_model, spec_folders
from audiocnn.model.network import Network
from audiocnn.model.weights import load_network
from audiocnn.spec.describe import describe
from audiocnn.spec.geometry import Size
from audiocnn.spec.spec import find_spec, load_spec, spec_from_table

LARGE = 3_000_000
ALL = shipped_specs()
SMALL = [path for path in ALL if load_spec(path).parameters() <= LARGE]
SHIFT_EXACT = [path for path in ALL if load_spec(path).geometry().shift_exact]


def every(paths, long=()):
    """A test for each spec; the large ones are long, and those that are named."""
    quick = [path for path in SMALL if path.stem not in long]
    cases = [pytest.param(path, marks=[] if path in quick else [pytest.mark.long]) for path in paths]
    return pytest.mark.parametrize("path", cases, ids=[path.stem for path in paths])


each = pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)  # also the large ones, always


# What was published: spec -> (input, classes, weights), as the papers, the courses and the common ports have them
PUBLISHED = {
    "lenet5": ("1x32x32", 10, 61_706),
    "nielsen_3": ("1x28x28", 10, 3 * 26 + (3 * 12 * 12 + 1) * 10),
    "nielsen": ("1x28x28", 10, 520 + 40 * (20 * 25 + 1) + (40 * 4 * 4 + 1) * 100 + 1010),
    "nielsen_l2": ("1x28x28", 10, 520 + 40 * (20 * 25 + 1) + (40 * 4 * 4 + 1) * 100 + 1010),
    "dense_200_100": ("1x28x28", 10, 178_110),
    "conv_8_16": ("1x28x28", 10, 5_386),
    "mlpconv": ("3x32x32", 10, 966_986),
    "alexnet": ("3x227x227", 1000, 60_965_224),
    "vgg16": ("3x224x224", 1000, 138_357_544),
    "vgg19": ("3x224x224", 1000, 143_667_240),
    "googlenet": ("3x224x224", 1000, 7_005_832),
    "resnet18": ("3x224x224", 1000, 11_689_512),
    "resnet34": ("3x224x224", 1000, 21_797_672),
    "resnet50": ("3x224x224", 1000, 25_557_032),
    "resnet152": ("3x224x224", 1000, 60_192_808),
    "m5": ("1x32000", 10, 559_114),
    "m18": ("1x32000", 10, 3_683_786),
    "matchbox": ("64x100", 35, 93_411),  # "93 k"
    "bc_resnet_1": ("1x40x101", 12, 9_232),  # "9.2 k"
}
WITHOUT_A_COUNT = {
    "speech_1d", "speech_2d", "speech_bands", "speech_wave", "fully_connected", "conv_a_1d", "conv_a2_1d", "conv_a3_1d",
    "conv_ab_1d", "conv_a_pool_b_1d", "conv_a_2d", "conv_ab_2d", "conv_a_pool_b_2d", "stereo_8_4", "crnn", "conv_cqt",
}  # fmt: skip


def size_of(text):
    channels, *axes = map(int, text.split("x"))
    return Size(channels, tuple(axes))


def test_the_specs_of_the_textbooks_ship():
    assert PUBLISHED.keys() | WITHOUT_A_COUNT <= {path.stem for path in ALL}
    assert all(path.parent in spec_folders() for path in ALL)


@pytest.mark.parametrize("name", PUBLISHED)
def test_its_weights_are_as_many_as_were_published(name):
    size, classes, weights = PUBLISHED[name]
    assert describe(find_spec(name, spec_folders(), classes), size_of(size)).parameters == weights


def rows_of(name):
    """The rows of `describe` by what they say, at the published size."""
    size, classes, _ = PUBLISHED[name]
    return list(describe(find_spec(name, spec_folders(), classes), size_of(size)).rows)


def test_its_layers_are_those_of_the_papers():
    """Sizes that the texts give."""

    def outputs(name):
        return [str(row.output) for row in rows_of(name)]

    assert outputs("lenet5") == ["6x28x28", "6x14x14", "16x10x10", "16x5x5", "120x1x1", "84x1x1", "10x1x1"]
    assert outputs("nielsen_3") == ["3x24x24", "3x12x12", "10x1x1"]
    assert [row.parameters for row in rows_of("nielsen")][:1] == [520]
    assert [row.parameters for row in rows_of("conv_8_16") if row.parameters] == [208, 1168, 4010]
    assert [row.parameters for row in rows_of("dense_200_100")] == [157_000, 20_100, 1010]
    alexnet = [row for row in outputs("alexnet") if row.startswith(("96", "256", "384"))]
    assert alexnet[0] == "96x55x55"
    assert alexnet[2] == "96x27x27"
    assert alexnet[-1] == "256x6x6"
    vgg = rows_of("vgg16")
    assert str(next(row for row in reversed(vgg) if row.group == "E").output) == "512x7x7"
    first_dense = next(row for row in vgg if row.group == "F")
    assert first_dense.parameters == (25_088 + 1) * 4096
    for name in ("googlenet", "resnet18", "resnet50"):
        last = [row for row in rows_of(name) if row.depth == 0 and row.group != "F"][-1]
        assert last.output.axes == (7, 7)
    assert outputs("m5")[:3] == ["128x8000", "128x2000", "128x2000"]


def test_googlenet_with_3x3_in_place_of_5x5_is_the_common_port():
    (path,) = [path for path in ALL if path.stem == "googlenet"]
    table = tomllib.loads(path.read_text(encoding="utf-8").replace("kernel = [5, 5], padding = 2", "kernel = [3, 3]"))
    port = spec_from_table(padded_again(table), "port", 1000)
    assert describe(port, Size(3, (224, 224))).parameters == 6_624_904


def padded_again(table):
    """3x3 convolutions keep their input's size with a padding of 1."""
    if isinstance(table, dict):
        changed = {key: padded_again(value) for key, value in table.items()}
        return changed | {"padding": 1} if changed.get("kernel") == [3, 3] else changed
    return [padded_again(value) for value in table] if isinstance(table, list) else table


@each
def test_it_says_what_it_is(path):
    spec = load_spec(path)
    assert spec.name == path.stem
    assert 10 <= len(spec.summary) <= 100
    assert spec.groups or spec.f.layers


@each
def test_its_sizes_are_those_of_torch(path):
    spec = load_spec(path, classes=3)
    with torch.device("meta"):
        network = Network(spec)
    network = network.to("meta").eval()
    weights = sum(weight.numel() for weight in network.parameters())
    assert spec.parameters() == describe(spec).parameters == weights
    values = torch.empty(2, *(spec.window_size().channels, *spec.window_size().axes), device="meta")
    assert network.logits_of(values).shape == (2, 1, spec.outputs)
    geometry = spec.geometry()
    core = geometry.window_samples - geometry.pad_start - geometry.pad_end
    assert network(torch.empty(2, spec.input.channels, core, device="meta")).shape == (2, 1, spec.outputs)


@every(ALL)
def test_it_scores_1_and_7_items_of_any_length(path):
    network = network_of(load_spec(path, classes=2))
    geometry = network.geometry
    lengths = (1, geometry.hop_samples, geometry.window_samples, geometry.window_samples + 5 * geometry.hop_samples + 1)
    for items, samples in [(1, n) for n in lengths] + [(7, lengths[-1])]:
        with torch.no_grad():
            got = network(network.extended(torch.from_numpy(noise(network.spec, items, samples))))
        assert got.shape == (items, geometry.rows(samples), network.spec.outputs)
        assert torch.isfinite(got).all()
        assert ((got[..., :2] >= 0) & (got[..., :2] <= 1)).all()


@every(ALL)
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


@every(ALL)
def test_it_is_the_same_after_saving_and_loading(path, tmp_path):
    network = network_of(load_spec(path, classes=2))
    write_folder(network, tmp_path / "model", path.stem)
    model = read_model(tmp_path / "model")
    assert model.spec == network.spec
    loaded = load_network(model)
    samples = torch.from_numpy(noise(network.spec, 1, network.geometry.window_samples))
    with torch.no_grad():
        assert torch.equal(loaded(loaded.extended(samples)), network(network.extended(samples)))


@pytest.mark.long  # test_export has every kind of layer, always
@every(ALL)
def test_its_onnx_file_agrees_with_torch_at_other_batches_and_lengths(path, exported):
    model, network, difference = exported(path)
    assert difference <= TOLERANCE
    session = OnnxBackend(model, threads=1).file.session
    for items, samples in ((1, 1), (5, network.geometry.window_samples + 3333)):
        sound = noise(network.spec, items, samples)
        with torch.no_grad():
            wanted = network(network.extended(torch.from_numpy(sound))).numpy()[..., : network.spec.classes]
        (got,) = session.run(["scores"], {"samples": sound})
        assert got.shape == wanted.shape
        assert np.max(np.abs(got - wanted)) <= TOLERANCE


@every(SHIFT_EXACT)
def test_its_dense_scores_are_those_of_a_sliding_window(path):
    network = network_of(load_spec(path, classes=2))
    geometry = network.geometry
    extended = network.extended(torch.from_numpy(noise(network.spec, 1, 12 * geometry.hop_samples + 1)))
    windows = extended[0].unfold(-1, geometry.window_samples, geometry.hop_samples).transpose(0, 1)
    with torch.no_grad():
        dense, each = network(extended)[0], network(windows)[:, 0]
    assert dense.shape == each.shape == (13, network.spec.outputs)
    assert torch.max(torch.abs(dense - each)) <= 1e-4


@every(ALL, long=("speech_1d", "speech_2d"))
def test_its_scores_do_not_depend_on_how_a_recording_is_read(path):
    network = network_of(load_spec(path, classes=2))
    samples = noise(network.spec, 1, 2 * network.geometry.window_samples + 1234)[0]
    with torch.no_grad():
        whole = network(network.extended(torch.from_numpy(samples)[None]))[0].numpy()
    engine = torch_engine(network)
    for rows in (17, 40):
        engine.chunk_rows = rows
        blocks = np.split(samples, [1, 2, 5000, 5001, 12_345], axis=1)
        got = np.concatenate(list(engine.score_tracks(blocks)), axis=1)[0]
        assert got.shape == whole.shape
        assert np.max(np.abs(got - whole)) <= 1e-4
