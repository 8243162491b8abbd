"""Every kind of layer: read, refused where it is wrong, its arithmetic against torch, and what it computes by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from audiocnn.errors import SpecError
from audiocnn.model.modules import build
from audiocnn.spec.geometry import ReceptiveField, Size
from audiocnn.spec.layers import (
    ACTIVATIONS,
    LAYER_KINDS,
    MOST_NESTED,
    POOLS,
    Context,
    Layer,
    count_parameters,
    each_layer,
    read_layer,
    read_layers,
    receptive_field_of,
)

C3 = {"conv": 4, "kernel": 3}
P3 = {**C3, "padding": 1}
D3 = {"conv": 4, "kernel": [3, 3]}

# name: (dims, the layer as TOML has it). Every kind of layer and every option stands in one of them.
CASES = {
    "conv": (1, {"conv": 5, "kernel": 4}),
    "conv_bias": (1, {"conv": 5, "kernel": 4, "norm": "batch", "bias": True, "dropout": 0.5}),
    "conv_no_bias": (1, {"conv": 5, "kernel": 4, "bias": False}),
    "conv_strided": (1, {"conv": 5, "kernel": 4, "stride": 3, "dilation": 2, "norm": "batch"}),
    "conv_same": (1, {"conv": 5, "kernel": 4, "padding": "same"}),
    "conv_uneven": (1, {"conv": 5, "kernel": 4, "padding": [3, 0]}),
    "conv_split": (1, {"conv": 6, "kernel": 3, "split": 2}),
    "conv_separable": (1, {"conv": 5, "kernel": 3, "separable": True, "stride": 2}),
    "conv_labels": (1, {"conv": "labels", "kernel": 1, "activation": "none"}),
    "conv_2d": (2, {"conv": 5, "kernel": [2, 3], "stride": [1, 2], "dilation": [2, 1]}),
    "conv_2d_same": (2, {"conv": 5, "kernel": [4, 3], "padding": "same"}),
    "conv_2d_mixed": (2, {"conv": 6, "kernel": [4, 3], "padding": ["same", [2, 0]], "split": 3}),
    "conv_2d_separable": (2, {"conv": 6, "kernel": [3, 3], "padding": [1, 0], "separable": True, "bias": True}),
    "pool": (1, {"pool": "max", "size": 2}),
    "pool_overlapping": (1, {"pool": "average", "size": 3, "stride": 2}),
    "pool_padded": (1, {"pool": "max", "size": 3, "stride": 1, "padding": 1}),
    "pool_l2": (1, {"pool": "l2", "size": 4, "padding": [0, 3]}),
    "pool_2d": (2, {"pool": "max", "size": [2, 3], "stride": [1, 2]}),
    "pool_2d_same": (2, {"pool": "average", "size": 3, "stride": [1, 1], "padding": "same"}),
    "norm": (1, {"norm": "batch"}),
    "norm_2d": (2, {"norm": "batch"}),
    "norm_sub_spectral": (2, {"norm": "sub_spectral", "bands": 4}),
    "norm_sub_spectral_1d": (1, {"norm": "sub_spectral", "bands": 1}),
    "norm_local_response": (2, {"norm": "local_response", "neighbours": 3, "alpha": 0.1, "beta": 0.5, "k": 1.0}),
    "norm_level": (1, {"norm": "level", "positions": 5}),
    "norm_level_2d": (2, {"norm": "level", "positions": 3}),
    "norm_level_seconds": (1, {"norm": "level", "seconds": 5.0}),
    "norm_level_seconds_2d": (2, {"norm": "level", "seconds": 3.0}),
    "norm_level_power": (2, {"norm": "level", "seconds": 3.0, "mean": "power"}),
    "norm_level_range": (2, {"norm": "level", "seconds": 3.0, "range_db": 2.0}),
    "norm_level_to": (2, {"norm": "level", "seconds": 3.0, "to_db": -28.0}),
    "norm_level_least": (2, {"norm": "level", "seconds": 3.0, "least_db": -35.0}),
    "norm_level_ahead": (2, {"norm": "level", "seconds": 7.0, "ahead_seconds": 1.0}),
    "norm_level_padded": (1, {"norm": "level", "seconds": 6.0, "ahead_seconds": 0.0, "padding": "same"}),
    "norm_level_log": (1, {"norm": "level", "positions": 3, "mean": "log"}),
    "activation": (1, {"activation": "tanh"}),
    "dropout": (2, {"dropout": 0.3}),
    "residual": (1, {"residual": [C3, {**P3, "conv": 6, "activation": "none"}], "activation": "relu"}),
    "residual_same": (1, {"residual": [{**P3, "conv": 6}]}),
    "residual_strided": (2, {"residual": [{**D3, "stride": [1, 2]}, D3]}),
    "residual_in_residual": (1, {"residual": [C3, {"residual": [P3]}, {"pool": "max", "size": 2}]}),
    "residual_projected": (1, {"residual": [{**P3, "conv": 6}], "project": True}),
    "broadcast": (2, {"broadcast": [{"conv": 6, "kernel": [1, 3], "padding": [0, 1]}]}),
    "broadcast_valid": (
        2,
        {"broadcast": [{"conv": 6, "kernel": [1, 3], "split": 6, "dilation": [1, 2]}, {"conv": 6, "kernel": [1, 1]}]},
    ),
    "branches": (1, {"branches": [[{"conv": 2, "kernel": 1}], [{"conv": 2, "kernel": 1}, {**C3, "dilation": 2}], []]}),
    "branches_padded": (1, {"branches": [[{"conv": 2, "kernel": 5, "padding": 1}], [C3], [P3]]}),
    "branches_bands": (
        2,
        {"branches": [[{"norm": "sub_spectral", "bands": 3}], [{"conv": 2, "kernel": [3, 4]}], [{"residual": [D3]}]]},
    ),
    "branches_strided": (2, {"branches": [[{**D3, "stride": [2, 1]}], [{"pool": "max", "size": [2, 1]}]]}),
}
SIZES = {1: [Size(6, (n,)) for n in (8, 11, 20)], 2: [Size(6, axes) for axes in ((8, 9), (8, 20))]}
OF_F = {"dense", "recurrent", "global"}  # `network.Head` builds them: test_network has them


def read(dims, row, **context):
    return read_layer(row, "layer", Context(dims, 3, **context))


def built(layer, size):
    torch.manual_seed(0)
    return build(layer, size).eval()


def noise(size, batch=2):
    return torch.from_numpy(np.random.default_rng(0).normal(size=(batch, size.channels, *size.axes)).astype(np.float32))


def test_every_kind_has_a_case():
    kinds = {next(kind for kind in LAYER_KINDS if kind in row) for _, row in CASES.values()}
    assert kinds | OF_F == set(LAYER_KINDS)


@pytest.mark.parametrize("name", LAYER_KINDS)
def test_every_kind_but_those_of_f_has_a_builder(name):
    kind = LAYER_KINDS[name].__self__
    assert issubclass(kind, Layer)
    assert (build.dispatch(kind) is build.dispatch(object)) == (name in OF_F)


def test_a_kind_without_a_builder_is_refused_by_name():
    class Odd(Layer):
        """A kind that nobody wrote a builder for."""

    with pytest.raises(NotImplementedError, match=r"Odd.*@build\.register"):
        build(Odd(), Size(1, (8,)))


@pytest.mark.parametrize("name", CASES)
def test_sizes_and_parameters_are_those_of_torch(name):
    dims, row = CASES[name]
    layer = read(dims, row)
    for size in SIZES[dims]:
        module = built(layer, size)
        out = layer.out(size)
        assert tuple(module(noise(size)).shape) == (2, out.channels, *out.axes)
        assert count_parameters([layer], size) == sum(weight.numel() for weight in module.parameters())
        assert out.axes == tuple(layer.receptive_field(axis).out(n) for axis, n in enumerate(size.axes))


@pytest.mark.parametrize("name", CASES)
def test_the_reach_is_what_an_output_depends_on(name):
    """The inputs with a gradient lie inside the reach, and those at its two ends have one (in time)."""
    dims, row = CASES[name]
    layer, size = read(dims, row), SIZES[dims][-1]
    module, x = built(layer, size), noise(size).requires_grad_()
    reach, out = layer.receptive_field(dims - 1), layer.out(size)
    for output in (0, out.time // 2, out.time - 1):
        (gradient,) = torch.autograd.grad(module(x)[..., output].square().sum(), x)
        seen = np.flatnonzero(gradient.abs().sum(dim=tuple(range(gradient.dim() - 1))).numpy())
        first = output * reach.stride - reach.start
        assert first <= seen.min()
        assert seen.max() <= first + reach.kernel - 1
        if "activation" not in row and row.get("pool") != "max":  # a maximum looks at one of its inputs
            assert seen.min() == max(0, first)
            assert seen.max() == min(size.time - 1, first + reach.kernel - 1)


@pytest.mark.parametrize(
    "name", [name for name in CASES if name.startswith(("conv", "residual", "branches", "broadcast"))]
)
def test_multiply_adds_are_those_that_torch_counts(name):
    dims, row = CASES[name]
    layer, size = read(dims, row), SIZES[dims][-1]

    def count(layers, size):
        total = 0
        for each in layers:
            total += each.multiply_adds(size) + sum(map(count, each.inner(), each.inputs(size)))
            size = each.out(size)
        return total

    module = built(layer, size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(noise(size, batch=1))
    assert count([layer], size) == counter.get_total_flops() / 2


def test_same_keeps_the_length_at_stride_1():
    for kernel, dilation, length in itertools.product(range(1, 8), (1, 2, 3), (1, 5, 20)):
        row = {"conv": 2, "kernel": kernel, "dilation": dilation, "padding": "same"}
        assert read(1, row).out(Size(3, (length,))) == Size(2, (length,))
    assert read(1, {"conv": 2, "kernel": 4, "padding": "same"}).padding == ((1, 2),)


@pytest.mark.parametrize(
    ("padding", "wanted"),
    [
        (1, ((1, 1), (1, 1))),
        ("same", ((1, 1), (2, 2))),
        ([1, 2], ((1, 1), (2, 2))),
        ([0, "same"], ((0, 0), (2, 2))),
        ([[2, 0], [0, 4]], ((2, 0), (0, 4))),
        (["same", [4, 0]], ((1, 1), (4, 0))),
    ],
)
def test_the_forms_of_padding_in_2d(padding, wanted):
    assert read(2, {"conv": 1, "kernel": [3, 5], "padding": padding}).padding == wanted


@pytest.mark.parametrize(
    ("padding", "wanted"), [(2, ((2, 2),)), ("same", ((2, 2),)), ([0, 4], ((0, 4),)), ([4, 0], ((4, 0),))]
)
def test_the_forms_of_padding_in_1d(padding, wanted):
    assert read(1, {"conv": 1, "kernel": 5, "padding": padding}).padding == wanted


def test_defaults_are_those_of_the_context_and_bias_gives_way_to_batch_norm():
    layer = read(1, C3, norm="batch", activation="relu")
    assert (layer.norm, layer.activation, layer.bias) == ("batch", "relu", False)
    assert read(1, {**C3, "norm": "none"}, norm="batch").bias is True
    assert read(1, {**C3, "activation": "none"}, activation="relu").activation == "none"
    assert read(1, {"pool": "max", "size": 3}).stride == (3,)
    assert read(2, {"pool": "max", "size": 3}).size == (3, 3)
    assert read(1, {"conv": "labels", "kernel": 1}).maps == 3


# What the layers compute, by hand


def run(row, x, dims=1):
    x = torch.tensor(x, dtype=torch.float32)
    return built(read(dims, row), Size(x.shape[1], tuple(x.shape[2:])))(x)


def test_pools_by_hand():
    x = [[[3.0, -4.0, 0.0, 5.0]]]
    assert run({"pool": "max", "size": 2}, x).tolist() == [[[3.0, 5.0]]]
    assert run({"pool": "average", "size": 2}, x).tolist() == [[[-0.5, 2.5]]]
    torch.testing.assert_close(run({"pool": "l2", "size": 2}, x), torch.tensor([[[5.0, 5.0]]]), atol=1e-6, rtol=0)
    negative = [[[-3.0, -4.0]]]
    padded = {"size": 2, "stride": 1, "padding": [1, 0]}
    assert run({"pool": "max", **padded}, negative).tolist() == [[[-3.0, -3.0]]]  # what is padded never wins
    assert run({"pool": "average", **padded}, negative).tolist() == [[[-1.5, -3.5]]]


def test_an_l2_pool_of_silence_has_a_finite_gradient():
    x = torch.zeros(1, 1, 4, requires_grad=True)
    built(read(1, {"pool": "l2", "size": 2}), Size(1, (4,)))(x).sum().backward()
    assert torch.isfinite(x.grad).all()


def test_local_response_by_hand():
    """b = a / (k + alpha * sum over neighbours of a^2) ** beta, equation of section 3.3; the map itself counts."""
    row = {"norm": "local_response", "neighbours": 3, "alpha": 0.5, "beta": 0.75, "k": 2.0}
    got = run(row, [[[1.0], [2.0], [3.0], [4.0]]]).flatten()
    sums = [1 + 4, 1 + 4 + 9, 4 + 9 + 16, 9 + 16]
    wanted = [a / (2.0 + 0.5 * total) ** 0.75 for a, total in zip((1, 2, 3, 4), sums, strict=True)]
    assert got.tolist() == pytest.approx(wanted, abs=1e-6)


def test_level_norm_by_hand():
    """Less the logarithm of the mean power of all bands over three positions."""
    power = np.array([[1.0, 2.0, 3.0, 4.0], [5.0, 0.5, 1.0, 2.0]])
    got = run({"norm": "level", "positions": 3}, [np.log(power).tolist()])
    means = [power[:, k : k + 3].mean() for k in (0, 1)]
    np.testing.assert_allclose(got[0], np.log(power[:, 1:3] / means), atol=1e-6)


def test_level_norm_of_logarithms_by_hand():
    values = np.array([[1.0, 4.0, 2.0, 7.0, 1.0], [3.0, 0.0, 2.0, 3.0, 3.0]])
    got = run({"norm": "level", "seconds": 3.0}, [values.tolist()])
    means = [values[:, k : k + 3].mean() for k in range(3)]
    np.testing.assert_allclose(got[0], values[:, 1:4] - means, atol=1e-6)


def test_a_level_that_looks_back_further_than_ahead_by_hand():
    """At the ends of a padded one it is the level of what is there."""
    values = np.random.default_rng(3).normal(0.0, 2.0, (2, 9))
    row = {"norm": "level", "seconds": 5.0, "ahead_seconds": 1.0, "mean": "power"}  # 3 back, itself, 1 ahead
    means = [np.log(np.exp(values[:, max(0, k - 3) : k + 2]).mean()) for k in range(9)]
    np.testing.assert_allclose(run({**row, "padding": "same"}, [values.tolist()])[0], values - means, atol=1e-5)
    np.testing.assert_allclose(run(row, [values.tolist()])[0], (values - means)[:, 3:8], atol=1e-5)


@pytest.mark.parametrize("positions", [1, 2, 12, 13, 30, 100])
def test_a_long_level_is_a_mean_of_means(positions):
    x, size = noise(Size(1, (2, 120)), 1), Size(1, (2, 120))
    module = built(read(2, {"norm": "level", "seconds": positions, "ahead_seconds": 0, "mean": "log"}), size)
    whole = np.lib.stride_tricks.sliding_window_view(x.mean(dim=2)[0, 0].numpy(), positions).mean(axis=1)
    np.testing.assert_allclose(module(x)[0, 0].numpy(), x[0, 0, :, positions - 1 :].numpy() - whole, atol=1e-5)


@pytest.mark.parametrize("dims", [1, 2])
def test_a_level_norm_ends_so_many_decibels_below_the_level(dims):
    size = Size(2, (20,) if dims == 1 else (3, 20))
    x = noise(size, 1) * 5
    plain = built(read(dims, {"norm": "level", "seconds": 5.0}), size)(x)
    ended = built(read(dims, {"norm": "level", "seconds": 5.0, "range_db": 20.0}), size)(x)
    lowest = -2.0 * np.log(10.0)
    assert (plain < lowest).any()
    torch.testing.assert_close(ended, plain.clamp_min(lowest))


@pytest.mark.parametrize("dims", [1, 2])
def test_a_level_becomes_so_many_decibels(dims):
    size = Size(2, (20,) if dims == 1 else (3, 20))
    x, row = noise(size, 1), {"norm": "level", "seconds": 5.0, "range_db": 20.0}
    plain, moved = built(read(dims, row), size)(x), built(read(dims, {**row, "to_db": -30.0}), size)(x)
    torch.testing.assert_close(moved, plain - 3.0 * np.log(10.0))


@pytest.mark.parametrize("mean", ["log", "power"])
def test_a_level_is_no_lower_than_its_least(mean):
    """Louder sound is heard as before; what is quieter is less the least, and a gain matters there."""
    size, row = Size(2, (3, 20)), {"norm": "level", "seconds": 5.0, "mean": mean}
    x = noise(size, 1)
    plain, ended = built(read(2, row), size), built(read(2, {**row, "least_db": -40.0}), size)
    torch.testing.assert_close(ended(x + 5.0), plain(x + 5.0))
    least = -4.0 * np.log(10.0)
    torch.testing.assert_close(ended(x - 50.0), (x - 50.0 - least)[..., 2:-2] if plain(x).shape != x.shape else x)


@pytest.mark.parametrize("mean", ["log", "power"])
@pytest.mark.parametrize("change", [-50.0, 15.0])
def test_level_norm_over_seconds_does_not_hear_a_gain(mean, change):
    size = Size(2, (3, 20))
    module, x = built(read(2, {"norm": "level", "seconds": 5.0, "mean": mean}), size), noise(size, 1)
    gain = change / 10 * np.log(10)
    assert torch.allclose(module(x + gain), module(x), atol=1e-4)


@pytest.mark.parametrize(
    ("before", "hop_seconds", "positions"),
    [
        ([], 0.01, 199),
        ([{"conv": 2, "kernel": 3, "stride": 2}], 0.01, 99),
        ([{"conv": 2, "kernel": 3, "stride": 2}, {"pool": "max", "size": 5}], 0.01, 19),
        ([{"residual": [{"conv": 2, "kernel": 3, "stride": 2}], "project": True}], 0.01, 99),
        ([], 0.02, 99),
    ],
)
def test_seconds_of_a_level_are_positions_where_it_stands(before, hop_seconds, positions):
    rows = [*before, {"norm": "level", "seconds": 2.0}]
    layers = read_layers(rows, "here", Context(1, 3, position_seconds=hop_seconds))
    assert layers[-1].positions in (positions, positions + 2)  # of even numbers the nearest odd one, below or above
    assert "(2 s)" in layers[-1].text()


def test_level_norm_does_not_hear_a_gain():
    size = Size(2, (6, 9))
    module, x = built(read(2, {"norm": "level", "positions": 5}), size), noise(size, 1)
    torch.testing.assert_close(module(x + 7.0), module(x), atol=1e-5, rtol=0)
    assert module(x).shape == (1, 2, 6, 5)
    assert read(2, {"norm": "level", "positions": 5}).hears_all_bands


def test_sub_spectral_norm_is_a_batch_norm_for_each_band():
    size = Size(3, (4, 5))
    module = build(read(2, {"norm": "sub_spectral", "bands": 2}), size).train()
    x = noise(size, batch=3)
    halves = [torch.nn.BatchNorm2d(3)(x[:, :, half]) for half in (slice(0, 2), slice(2, 4))]
    torch.testing.assert_close(module(x), torch.cat(halves, dim=2), atol=1e-6, rtol=0)


def test_the_towers_of_a_split_do_not_see_each_other():
    size = Size(4, (6,))
    module, x = built(read(1, {"conv": 6, "kernel": 3, "split": 2}), size), noise(size, 1)
    before = module(x)
    x[:, 2:] += 1.0
    after = module(x)
    assert torch.equal(before[:, :3], after[:, :3])
    assert not torch.isclose(before[:, 3:], after[:, 3:]).any()


def test_a_causal_convolution_does_not_see_what_comes():
    size = Size(2, (8,))
    module, x = built(read(1, {"conv": 3, "kernel": 4, "padding": [3, 0]}), size), noise(size, 1)
    before = module(x)
    x[..., 5:] += 1.0
    assert torch.equal(before[..., :5], module(x)[..., :5])


def test_a_residual_adds_the_middle_of_its_input():
    layer, size = read(1, {"residual": [{"conv": 2, "kernel": 5, "bias": False}]}), Size(2, (9,))
    module, x = built(layer, size), noise(size, 1)
    wanted = functional.conv1d(x, module.inside[0][0].weight) + x[..., 2:-2]
    torch.testing.assert_close(module(x), wanted, atol=1e-6, rtol=0)
    assert list(module.around.parameters()) == []


def test_a_broadcast_adds_the_same_to_every_band():
    layer, size = read(2, {"broadcast": [{"conv": 2, "kernel": [1, 3], "bias": False}]}), Size(2, (4, 6))
    module = built(layer, size)
    weights = torch.tensor([[[[0.0, 0.0, 1.0]], [[0.0, 0.0, 0.0]]], [[[0.0, 0.0, 0.0]], [[1.0, 0.0, 0.0]]]])
    with torch.no_grad():
        module.inside[0][0].weight.copy_(weights)
        x = noise(size)
        means = x.mean(dim=2, keepdim=True)
        later, earlier = means[:, :1, :, 2:], means[:, 1:, :, :-2]  # of channel 0 and of channel 1
        wanted = x[..., 1:-1] + torch.cat([later, earlier], dim=1)
    assert torch.allclose(module(x), wanted, atol=1e-6)
    assert layer.hears_all_bands
    assert read(2, {"residual": [{"broadcast": [{**D3, "kernel": [1, 1], "conv": 6}]}]}).hears_all_bands
    assert not read(2, {"residual": [D3]}).hears_all_bands


def test_a_residual_with_other_sizes_goes_around_through_a_1x1_convolution():
    layer, size = read(1, {"residual": [{"conv": 3, "kernel": 3, "stride": 2, "padding": 1}]}), Size(2, (9,))
    module, x = built(layer, size), noise(size, 1)
    kernel = module.around[0].weight
    assert kernel.shape == (3, 2, 1)
    around = torch.einsum("oi,bit->bot", kernel[..., 0], x[..., ::2]) / np.sqrt(1 + 1e-5)
    torch.testing.assert_close(module(x), module.inside(x) + around, atol=1e-5, rtol=0)


def test_branches_are_joined_in_order_around_one_centre():
    layer = read(1, {"branches": [[], [{"pool": "average", "size": 5, "stride": 1}], [{"pool": "max", "size": 1}]]})
    x = torch.arange(9.0).reshape(1, 1, 9)
    assert built(layer, Size(1, (9,)))(x)[0].tolist() == [[2.0, 3.0, 4.0, 5.0, 6.0]] * 3


@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_activations_are_those_of_torch(kind):
    x = torch.linspace(-3, 3, 13)[None, None]
    wanted = x if kind == "none" else getattr(functional, kind if hasattr(functional, kind) else "")(x)
    assert torch.equal(built(read(1, {"activation": kind}), Size(1, (13,)))(x), wanted)


# What is refused


@pytest.mark.parametrize(
    ("dims", "row", "said"),
    [
        (1, {"cnv": 3}, '"cnv" is not a kind of layer; did you mean "conv"?'),
        (1, {}, '"" is not a kind of layer; known: activation, branches, broadcast'),
        (1, 3, "expected a table, not 3"),
        (1, {**C3, "strid": 2}, 'unknown key "strid"; did you mean "stride"?'),
        (1, {"conv": 3}, '"kernel" is missing; add it'),
        (1, {"conv": 0, "kernel": 3}, '"conv" must be a whole number from 1'),
        (1, {"conv": 10**7, "kernel": 3}, '"conv" must be a whole number from 1 to 1000000'),
        (1, {"conv": "label", "kernel": 3}, '"conv" must be a whole number'),
        (1, {"conv": 3, "kernel": 2.0}, '"kernel" must be one whole number, at least 1, not 2.0'),
        (1, {"conv": 3, "kernel": True}, "not True"),
        (1, {"conv": 3, "kernel": 0}, "not 0"),
        (1, {"conv": 3, "kernel": [3, 3]}, '"kernel" must be one whole number, at least 1, not [3, 3]'),
        (2, {"conv": 3, "kernel": 3}, '"kernel" is one number here and two elsewhere'),
        (2, {"conv": 3, "kernel": [3]}, '"kernel" must be two whole numbers, [frequency, time], at least 1, not [3]'),
        (1, {**C3, "stride": 0}, '"stride" must be one whole number, at least 1, not 0'),
        (1, {**C3, "dilation": "2"}, '"dilation" must be one whole number'),
        (1, {**C3, "padding": "valid"}, '"padding" must be a number, "same" or [start, end], not \'valid\''),
        (1, {**C3, "padding": -1}, '"padding" must be a number'),
        (1, {**C3, "padding": [1]}, '"padding" must be a number'),
        (1, {**C3, "padding": [1, 2.0]}, '"padding" must be a number'),
        (1, {**C3, "padding": 3}, '"padding" 3 is larger than the reach of the kernel; at most 2'),
        (2, {**D3, "padding": [1, 1, 1]}, '"padding" must have one entry for each axis, not [1, 1, 1]'),
        (1, {**C3, "split": 0}, '"split" must be a whole number from 1'),
        (1, {**C3, "bias": 1}, '"bias" must be true or false, not 1'),
        (1, {**C3, "norm": "sub_spectral"}, '"norm" cannot be "sub_spectral"; known: batch, none'),
        (1, {**C3, "activation": "ReLU"}, '"activation" cannot be "ReLU"; did you mean "relu"?'),
        (1, {**C3, "dropout": 1.0}, '"dropout" must be a number at least 0 and at most 0.99, not 1.0'),
        (1, {"pool": "mean", "size": 2}, '"pool" cannot be "mean"'),
        (1, {"pool": "max"}, '"size" is missing; add it'),
        (1, {"pool": "max", "size": 2, "padding": 2}, '"padding" 2 is larger than the reach of the kernel; at most 1'),
        (1, {"global": "mean"}, '"global" cannot be "mean"'),
        (1, {"norm": "layer"}, '"norm" cannot be "layer"'),
        (1, {"norm": "sub_spectral"}, '"bands" is missing; add it'),
        (1, {"norm": "batch", "bands": 2}, 'unknown key "bands"; known: norm'),
        (1, {"norm": "level"}, '"positions" is missing; add it'),
        (1, {"norm": "level", "positions": 5, "seconds": 2}, '"seconds" and "positions" both set the length'),
        (1, {"norm": "level", "seconds": 0}, '"seconds" must be'),
        (1, {"norm": "level", "seconds": 2, "mean": "max"}, '"mean"'),
        (1, {"norm": "level", "seconds": 2, "ahead_seconds": 3}, '"ahead_seconds" must be'),
        (1, {"norm": "level", "positions": 5, "ahead_seconds": 1}, 'unknown key "ahead_seconds"'),
        (1, {"norm": "level", "seconds": 2, "padding": 3}, '"padding" of a level must be 0 or "same", not 3'),
        (1, {"norm": "level", "positions": 4}, '"positions" must be odd, so that one is in the middle, not 4'),
        (1, {"norm": "local_response", "k": 0}, '"k" must be a number above 0, not 0'),
        (1, {"activation": "swish"}, '"activation" cannot be "swish"'),
        (1, {"dropout": -0.1}, '"dropout" must be a number at least 0'),
        (1, {"dense": 0}, '"dense" must be a whole number from 1'),
        (1, {"recurrent": 4, "kind": "rnn"}, '"kind" cannot be "rnn"; known: gru, lstm'),
        (1, {"recurrent": 4, "bidirectional": "yes"}, '"bidirectional" must be true or false'),
        (1, {"broadcast": [C3]}, '"broadcast" is for 2-D'),
        (2, {"broadcast": []}, "broadcast: a list of layers was expected"),
        (1, {"residual": []}, "residual: a list of layers was expected, not []"),
        (1, {"residual": [{"cnv": 1}]}, 'layer: residual: layer 1: "cnv" is not a kind of layer'),
        (1, {"residual": [C3], "norm": "batch"}, 'unknown key "norm"'),
        (1, {"branches": [[C3]]}, '"branches" must be a list of two or more lists of layers'),
        (1, {"branches": [[C3], C3]}, "layer: branch 2: a list of layers was expected"),
        (1, {"branches": [[C3], [C3, {"pool": "max"}]]}, 'layer: branch 2: layer 2: "size" is missing'),
    ],
)
def test_wrong_layers_are_refused(dims, row, said):
    with pytest.raises(SpecError) as caught:
        read(dims, row)
    assert str(caught.value).startswith("layer: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("dims", "row", "size", "said"),
    [
        (1, C3, Size(2, (2,)), "conv 4 3 needs at least 3 positions in time and gets 2 (input 2x2); make the input"),
        (2, D3, Size(2, (2, 9)), "needs at least 3 positions in frequency and gets 2 (input 2x2x9)"),
        (1, {"pool": "max", "size": 4}, Size(2, (3,)), "max-pool 4 needs at least 4 positions in time and gets 3"),
        (1, {**C3, "split": 3}, Size(6, (9,)), "split = 3 does not divide 6 channels in and 4 out"),
        (1, {**C3, "split": 2}, Size(3, (9,)), "split = 2 does not divide 3 channels in and 4 out"),
        (1, {**C3, "split": 2, "separable": True}, Size(4, (9,)), "separable and split exclude each other"),
        (2, {"norm": "sub_spectral", "bands": 3}, Size(2, (8, 9)), "bands = 3 does not divide the 8 positions"),
        (1, {"norm": "sub_spectral", "bands": 2}, Size(2, (8,)), "bands = 2 does not divide the 1 positions"),
        (
            2,
            {"broadcast": [{**D3, "kernel": [1, 3]}]},
            Size(6, (5, 9)),
            "6 channels of one band go in, but 4x1x7 come out",
        ),
        (
            2,
            {"broadcast": [D3]},
            Size(4, (5, 9)),
            "broadcast: layer 1: conv 4 3x3 needs at least 3 positions in frequency",
        ),
        (
            2,
            {"broadcast": [{**D3, "kernel": [1, 3], "padding": [0, 2]}]},
            Size(4, (5, 9)),
            "broadcast: the layers inside make",
        ),
        (1, {"residual": [P3, {**C3, "kernel": 12}]}, Size(4, (9,)), "residual: layer 2: conv 4 12 needs at least 12"),
        (1, {"residual": [{**P3, "padding": 2}]}, Size(4, (9,)), "residual: the layers inside make their input longer"),
        (1, {"residual": [{**C3, "padding": [2, 0]}]}, Size(4, (9,)), "cannot be aligned; give them paddings"),
        (
            1,
            {"branches": [[C3], [{**C3, "kernel": 12}]]},
            Size(4, (9,)),
            "branch 2: layer 1: conv 4 12 needs at least 12",
        ),
        (1, {"branches": [[C3], [{**C3, "stride": 2}]]}, Size(4, (9,)), "the branches have strides 1, 2"),
        (
            2,
            {"branches": [[D3], [{"norm": "sub_spectral", "bands": 4}]]},
            Size(2, (8, 9)),
            "branch 2: layer 1: bands = 4",
        ),
    ],
)
def test_inputs_that_do_not_fit_are_refused_with_the_sizes(dims, row, size, said):
    layer = read(dims, row)
    with pytest.raises(SpecError) as caught:
        layer.out(size)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_layers_inside_layers_end_somewhere():
    row = C3
    for _ in range(MOST_NESTED):
        row = {"residual": [row]}
    assert len(list(each_layer([read(1, row)]))) == MOST_NESTED + 1
    with pytest.raises(SpecError, match=f"layers are nested more than {MOST_NESTED} deep; use fewer levels$"):
        read(1, {"branches": [[row], []]})


@pytest.mark.parametrize("name", CASES)
def test_every_layer_says_what_it_is(name):
    layer = read(*CASES[name])
    for inside in each_layer([layer]):
        assert inside.text()
        assert "\n" not in inside.text()


def test_the_reach_of_layers_in_a_row_counts_dilation_pools_and_strides():
    rows = [C3, {"pool": "max", "size": 2}, {**C3, "dilation": 4}, {**P3, "stride": 3}]
    layers = [read(1, row) for row in rows]
    # 3, then 2 of them, then 8 steps of 2 more, then 2 steps of 2 more, of which padding gives half back.
    assert receptive_field_of(layers, 0) == ReceptiveField(3 + 1 + 16 + 4, 6, 2, 2)


def test_the_pools_are_those_of_the_design():
    assert POOLS == ("max", "average", "l2")
