"""The worked examples of the essays, courses and papers, with their numbers worked out by hand.

- Olah, "Conv Nets: A Modular Perspective" and "Understanding Convolutions" (both 2014)
- Nielsen, "Neural Networks and Deep Learning" (2015), chapter 6
- the University of Queensland's deep learning course, the chapter on convolutional networks
- LeCun et al. 1998; Krizhevsky et al. 2012; Lin et al. 2013; Simonyan, Zisserman 2014; Szegedy et al. 2014; He et al.
  2015

A convolution of the networks does not turn its kernel around; where mathematics does, the kernel is written backwards.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from fixtures_models import LOG_MEL, RATE, WAVEFORM, network_of, noise, table_of

from audiocnn.model.model import spec_folders
from audiocnn.model.modules import build_layers
from audiocnn.model.network import Network
from audiocnn.spec.describe import describe
from audiocnn.spec.geometry import Size
from audiocnn.spec.layers import Context, read_layers, size_through
from audiocnn.spec.spec import find_spec, spec_from_table

PLAIN = {"activation": "none", "bias": False}
NINE = [1, 2, 3, 1, 2, 3, 1, 2, 3]


def backwards(values):
    """As mathematics has a kernel."""
    return np.flip(values).copy()


def passed(layers, values, *weights):
    """The output of layers, as TOML has them, for an input of (channels, ...) with these weights, in float64."""
    values = torch.as_tensor(np.asarray(values, float))
    size = Size(values.shape[0], tuple(values.shape[1:]))
    network = build_layers(read_layers(layers, "here", Context(len(size.axes), 1)), size).double().eval()
    wanted = list(network.parameters())
    assert len(wanted) == len(weights)
    with torch.no_grad():
        for parameter, given in zip(wanted, weights, strict=True):
            parameter.copy_(torch.as_tensor(np.asarray(given, float)).reshape(parameter.shape))
        got = network(values[None])[0]
    assert got.shape == (size_after(layers, size).channels, *size_after(layers, size).axes)
    return got.numpy()


def size_after(layers, size):
    """The same by arithmetic."""
    return size_through(read_layers(layers, "here", Context(len(size.axes), 1)), size, "here")


def convolved(values, kernel, **more):
    """One map over one channel."""
    kernel = np.asarray(kernel)
    size = int(kernel.size) if kernel.ndim == 1 else list(kernel.shape)
    return passed([{"conv": 1, "kernel": size, **PLAIN, **more}], np.asarray(values)[None], kernel)[0]


def shipped(name, classes):
    return find_spec(name, spec_folders(), classes)


# What a convolution is


@pytest.mark.parametrize(
    ("padding", "stride", "wanted"),
    [
        (2, 1, [1 / 3, 1, 2, 2, 2, 2, 2, 2, 2, 5 / 3, 1]),
        (0, 1, [2, 2, 2, 2, 2, 2, 2]),
        (1, 2, [1, 2, 2, 2, 5 / 3]),
    ],
)
def test_the_moving_average_has_11_7_and_5_outputs(padding, stride, wanted):
    """The UQ course: [1 2 3 1 2 3 1 2 3] under three thirds."""
    got = convolved(NINE, [1 / 3] * 3, padding=padding, stride=stride)
    np.testing.assert_allclose(got, wanted, atol=1e-12)
    assert len(got) == len(wanted) == (9 + 2 * padding - 3) // stride + 1
    padded = np.pad(np.array(NINE, float), padding)
    np.testing.assert_allclose(got, np.convolve(padded, [1 / 3] * 3, "valid")[::stride], atol=1e-12)


def test_numpy_knows_the_same_three_as_full_valid_and_every_second_of_same():
    third = [1 / 3] * 3
    np.testing.assert_allclose(convolved(NINE, third, padding=2), np.convolve(NINE, third, "full"), atol=1e-12)
    np.testing.assert_allclose(convolved(NINE, third), np.convolve(NINE, third, "valid"), atol=1e-12)
    half = convolved(NINE, third, padding="same", stride=2)
    np.testing.assert_allclose(half, np.convolve(NINE, third, "same")[::2], atol=1e-12)


def matrix_of(kernel, inputs, **more):
    """(outputs, inputs): column i is what the layer makes of a one at position i."""
    return np.stack([convolved(unit, kernel, **more) for unit in np.eye(inputs)], axis=1)


def test_a_convolution_is_a_toeplitz_matrix():
    """Olah: a matrix like any layer's, but most of it is zero, and the rest the same few weights again and again."""
    matrix = matrix_of([1, 2, 3], 6)
    assert matrix.tolist() == [
        [1, 2, 3, 0, 0, 0],
        [0, 1, 2, 3, 0, 0],
        [0, 0, 1, 2, 3, 0],
        [0, 0, 0, 1, 2, 3],
    ]
    full = matrix_of([1, 2, 3], 6, padding=2)
    assert full.shape == (8, 6)
    assert (full[1:, 1:] == full[:-1, :-1]).all()  # constant along its diagonals
    values = np.array([2.0, -1, 0, 3, 5, -4])
    for more in ({}, {"padding": 2}, {"padding": 1, "stride": 2}, {"dilation": 2}, {"padding": [2, 0]}):
        given = matrix_of([1, 2, 3], 6, **more)
        np.testing.assert_allclose(given @ values, convolved(values, [1, 2, 3], **more), atol=1e-12)
    assert (matrix_of([1, 2, 3], 6, stride=2) == matrix[::2]).all()  # a stride leaves rows out


def test_a_convolution_in_2d_is_a_matrix_of_such_matrices():
    """The UQ course: 3x3 under 2x2, flattened: 4 rows of 9."""
    units = np.eye(9).reshape(9, 3, 3)
    matrix = np.stack([convolved(unit, [[1, 2], [3, 4]]).ravel() for unit in units], axis=1)
    assert matrix.tolist() == [
        [1, 2, 0, 3, 4, 0, 0, 0, 0],
        [0, 1, 2, 0, 3, 4, 0, 0, 0],
        [0, 0, 0, 1, 2, 0, 3, 4, 0],
        [0, 0, 0, 0, 1, 2, 0, 3, 4],
    ]


def test_a_convolution_is_a_product_of_polynomials():
    """The UQ course: (1 + 2x + 3x^2)(4 + 5x) = 4 + 13x + 22x^2 + 15x^3."""
    assert convolved([1, 2, 3], backwards([4, 5]), padding=1).tolist() == [4, 13, 22, 15]
    random = np.random.default_rng(0)
    for inputs, taps in itertools.product((1, 2, 7), (1, 2, 5)):
        a, b = random.integers(-9, 9, inputs) + 20, random.integers(-9, 9, taps) + 20
        got = convolved(a, backwards(b), padding=taps - 1)
        np.testing.assert_allclose(got, backwards(np.polymul(backwards(a), backwards(b))), rtol=1e-12)


def test_a_convolution_is_how_probabilities_of_sums_come_about():
    """Olah, "Understanding Convolutions", of a ball that is dropped twice: the chance of each distance in all is the
    sum over all ways to come there. With two dice: 6 ways of 36 to throw 7."""
    die = np.full(6, 1 / 6)
    total = convolved(die, backwards(die), padding=5)
    np.testing.assert_allclose(36 * total, [1, 2, 3, 4, 5, 6, 5, 4, 3, 2, 1], atol=1e-12)


# Kernels made by hand


def test_a_smoothing_kernel_keeps_what_is_flat_and_flattens_what_is_not():
    quarter = [1 / 4, 1 / 2, 1 / 4]
    assert convolved([5] * 6, quarter).tolist() == [5] * 4
    assert convolved([1, -1, 1, -1, 1, -1], quarter).tolist() == [0] * 4
    assert convolved([0, 0, 0, 4, 4, 4], quarter).tolist() == [0, 1, 3, 4]
    picture = np.zeros((5, 5))
    picture[2, 2] = 9
    assert convolved(picture, np.full((3, 3), 1 / 9)) == pytest.approx(np.ones((3, 3)))  # Olah: the average blurs


def test_an_edge_kernel_is_zero_where_nothing_changes_and_finds_the_edge():
    """Olah: -1 beside 1."""
    assert convolved([2, 2, 2, 7, 7, 7], [-1, 1]).tolist() == [0, 0, 5, 0, 0]
    assert convolved([7, 7, 2, 2, 2, 2], [-1, 1]).tolist() == [0, -5, 0, 0, 0]


SOBEL_TIME = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])  # [frequency, time]
SOBEL_FREQUENCY = SOBEL_TIME.T


def test_an_edge_in_time_is_an_onset_and_one_in_frequency_a_band():
    picture = np.zeros((6, 7))
    picture[:, 4:] = 1  # from position 4 on, in all bands
    assert convolved(picture, SOBEL_TIME).tolist() == [[0, 0, 4, 4, 0]] * 4
    assert not convolved(picture, SOBEL_FREQUENCY).any()
    picture = np.zeros((6, 7))
    picture[3:] = 1  # from band 3 on, all the time
    assert convolved(picture, SOBEL_FREQUENCY).tolist() == [[0] * 5, [4] * 5, [4] * 5, [0] * 5]
    assert not convolved(picture, SOBEL_TIME).any()


def test_the_edge_kernels_find_the_onset_and_the_pitch_of_a_tone():
    """Silence, then 500 Hz from 0.5 s on: the strongest onset is there, the edges above and below its band."""
    spec = spec_from_table(table_of({**LOG_MEL, "floor": 1e-4}, [{"conv": 2, "kernel": [3, 3], **PLAIN}], {}), "edges")
    network = Network(spec)
    with torch.no_grad():
        network.groups["A"][0][0].weight.copy_(torch.from_numpy(np.stack([SOBEL_TIME, SOBEL_FREQUENCY])[:, None]))
        times = np.arange(RATE) / RATE
        samples = np.where(times >= 0.5, 0.5 * np.sin(2 * np.pi * 500 * times), 0.0)
        bands = network.features(torch.from_numpy(samples).float()[None, None])
        onset, pitch = network.groups["A"](bands)[0].numpy()
    frames = np.abs(onset).sum(axis=0)
    middle = (np.argmax(frames) + 1) * 0.01 + 0.016  # of the kernel's middle frame, which is 32 ms long
    assert middle == pytest.approx(0.5, abs=0.02)
    assert frames[:40].max() == pytest.approx(0.0, abs=1e-4)
    steady = pitch[:, -5:].mean(axis=1)
    loudest = int(bands[0, 0, :, -1].argmax())
    assert steady[: loudest - 1].max() > 1.0  # louder and louder up to the band
    assert steady[loudest:].min() < -1.0
    assert np.abs(onset[:, -5:]).max() < 0.1 * np.abs(onset).max()


# Sizes


def test_stride_3_does_not_fit_7_inputs_and_the_last_is_not_read():
    """The UQ course: (7 - 3) // 3 + 1 = 2 outputs; a third would begin at input 6 and need two more."""
    values = [1, 2, 3, 4, 5, 6, 1000]
    assert convolved(values, [1, 1, 1], stride=3).tolist() == [6, 15]
    assert convolved([*values[:6], -7], [1, 1, 1], stride=3).tolist() == [6, 15]
    assert matrix_of([1, 1, 1], 7, stride=3)[:, 6].tolist() == [0, 0]
    assert convolved(values, [1, 1, 1], stride=3, padding=[0, 2]).tolist() == [6, 15, 1000]  # who wants it read, pads
    assert passed([{"pool": "max", "size": 3}], [values])[0].tolist() == [3, 6]


def test_a_dense_network_reads_the_same_inputs_whatever_the_recording():
    """In a network nothing is lost for long: rows are one hop apart, and the next window begins where they say."""
    spec = spec_from_table(table_of(WAVEFORM, [{"conv": 1, "kernel": 3, "stride": 3, **PLAIN}], {}), "x")
    network = network_of(spec)
    samples = torch.from_numpy(noise(spec, 1, 1000)).double().requires_grad_()
    network.double().logits_of(network.features(network.extended(samples))).sum().backward()
    assert (samples.grad != 0).all()


def test_nielsen_3_maps_of_5x5_on_28x28():
    conv, pool, out = describe(shipped("nielsen_3", 10), Size(1, (28, 28))).rows
    assert (str(conv.output), str(pool.output), str(out.output)) == ("3x24x24", "3x12x12", "10x1x1")
    assert conv.parameters == 3 * 26


def test_nielsen_20_maps_cost_520_weights_where_30_dense_neurons_cost_23550():
    maps, dense = describe(shipped("nielsen", 10), Size(1, (28, 28))).rows[0], {"dense": 30}
    assert maps.parameters == 20 * (5 * 5 + 1) == 520
    table = table_of(LOG_MEL, [], {"layers": [dense]})
    assert describe(spec_from_table(table, "x"), Size(1, (28, 28))).rows[0].parameters == 28 * 28 * 30 + 30 == 23_550


def test_nielsen_one_hidden_neuron_by_hand():
    """Equation 125: sigma(b + sum over l, m of w[l, m] a[j + l, k + m]), the same weights for every j, k."""
    random = np.random.default_rng(1)
    values, weights, bias = random.normal(size=(28, 28)), random.normal(size=(5, 5)) / 5, 0.3
    got = passed([{"conv": 1, "kernel": [5, 5], "activation": "sigmoid"}], values[None], weights, bias)[0]
    assert got.shape == (24, 24)
    for j, k in ((0, 0), (3, 17), (23, 23)):
        total = bias + sum(weights[i, m] * values[j + i, k + m] for i in range(5) for m in range(5))
        assert got[j, k] == pytest.approx(1 / (1 + np.exp(-total)), abs=1e-12)


def test_uq_the_two_models():
    dense = describe(shipped("dense_200_100", 10), Size(1, (28, 28)))
    assert dense.parameters == (784 + 1) * 200 + 201 * 100 + 101 * 10 == 178_110
    assert [row.text for row in dense.rows] == ["dense 200, relu", "dense 100, tanh", "dense 10"]
    conv = describe(shipped("conv_8_16", 10), Size(1, (28, 28)))
    assert [row.parameters for row in conv.rows if row.parameters] == [8 * 26, 16 * (8 * 9 + 1), (16 * 5 * 5 + 1) * 10]
    assert conv.parameters == 208 + 1168 + 4010 == 5386


def test_lecun_the_connections_of_lenet():
    """LeCun et al. 1998, section II.B: C1 has 122,304 connections (a bias is one), C5 48,120, F6 10,164."""
    c1, _, _, _, c5, f6, _ = describe(shipped("lenet5", 10), Size(1, (32, 32))).rows
    assert (c1.parameters, c1.multiply_adds + 6 * 28 * 28) == (156, 122_304)
    assert (c5.parameters, f6.parameters) == (48_120, 10_164)


def test_krizhevsky_the_neurons_of_each_layer():
    """Krizhevsky et al. 2012, figure 2, has 253,440 in the first layer, which 96x55x55 are not; the others fit."""
    rows = describe(shipped("alexnet", 1000), Size(3, (227, 227))).rows
    neurons = [row.output.channels * row.output.positions for row in rows if row.kind in ("conv", "dense")]
    assert neurons == [290_400, 186_624, 64_896, 64_896, 43_264, 4096, 4096, 1000]


def test_simonyan_three_3x3_see_7x7_with_27_in_place_of_49_weights():
    """Simonyan, Zisserman 2014, section 2.3: 3 (3^2 C^2) = 27 C^2 against 7^2 C^2 = 49 C^2."""
    maps = 10

    def last(layers):
        table = table_of(LOG_MEL, [{"conv": maps, "kernel": [1, 1]}, *layers], {})
        rows = [row for row in describe(spec_from_table(table, "x"), Size(1, (20, 20))).rows if row.group == "A"]
        return rows[-1].reach, rows[-1].bands, rows[-1].output, sum(row.parameters for row in rows[1:])

    three = last([{"conv": maps, "kernel": [3, 3], "bias": False}] * 3)
    one = last([{"conv": maps, "kernel": [7, 7], "bias": False}])
    assert three == (7, 7, Size(maps, (14, 14)), 27 * maps**2)
    assert one == (7, 7, Size(maps, (14, 14)), 49 * maps**2)


@pytest.mark.parametrize(("name", "billions"), [("resnet18", 1.8), ("resnet34", 3.6), ("resnet152", 11.3)])
def test_he_the_multiply_adds_of_the_residual_networks(name, billions):
    """He et al. 2015, table 1, to 2 %: the paper has the stride in another convolution of each block."""
    assert describe(shipped(name, 1000), Size(3, (224, 224))).multiply_adds == pytest.approx(billions * 1e9, rel=0.02)


# Layers by hand


def test_pools_by_hand():
    """Nielsen: the largest of each 2x2; and the root of the sum of their squares, 1 + 4 + 4 + 16 = 5^2."""
    values = [[[1, 2, 0, 3], [2, 4, 4, 0]]]
    for kind, wanted in {"max": [[[4, 4]]], "l2": [[[5, 5]]], "average": [[[2.25, 1.75]]]}.items():
        assert passed([{"pool": kind, "size": [2, 2]}], values) == pytest.approx(np.array(wanted), abs=1e-9)
    overlapping = passed([{"pool": "max", "size": 3, "stride": 2}], [[1, 5, 2, 0, 7, 3, 4]])
    assert overlapping.tolist() == [[5, 7, 7]]  # Krizhevsky et al.: size 3, stride 2


def test_local_response_normalisation_by_hand():
    """Krizhevsky et al. 2012, section 3.3: b_i = a_i / (k + alpha * sum of a_j^2 over j = max(0, i - n / 2) ...
    min(N - 1, i + n / 2)) ^ beta."""
    n, alpha, beta, k = 5, 0.5, 0.75, 2.0
    values = np.random.default_rng(2).normal(size=(7, 3))
    got = passed([{"norm": "local_response", "neighbours": n, "alpha": alpha, "beta": beta, "k": k}], values)
    for i, x in itertools.product(range(7), range(3)):
        around = sum(values[j, x] ** 2 for j in range(max(0, i - n // 2), min(6, i + n // 2) + 1))
        assert got[i, x] == pytest.approx(values[i, x] / (k + alpha * around) ** beta, abs=1e-12)


def test_a_1x1_convolution_is_a_dense_layer_at_every_position():
    """Lin et al. 2013: a small dense network slides over the input."""
    random = np.random.default_rng(3)
    values, one, two = random.normal(size=(3, 4, 5)), random.normal(size=(6, 3)), random.normal(size=(2, 6))
    layers = [{"conv": 6, "kernel": [1, 1], **PLAIN, "activation": "relu"}, {"conv": 2, "kernel": [1, 1], **PLAIN}]
    got = passed(layers, values, one, two)
    for y, x in itertools.product(range(4), range(5)):
        np.testing.assert_allclose(got[:, y, x], two @ np.maximum(0, one @ values[:, y, x]), atol=1e-12)


def test_two_towers_do_not_see_each_other():
    """Krizhevsky et al.: with `split = 2`, the first half of the maps comes from the first half of the channels."""
    got = passed([{"conv": 2, "kernel": 1, "split": 2, **PLAIN}], [[1, 2], [3, 4], [10, 20], [30, 40]], [1, 2, 3, 4])
    assert got.tolist() == [[1 + 6, 2 + 8], [30 + 120, 60 + 160]]


def test_branches_are_joined_by_hand():
    """Szegedy et al. 2014: 1x1, 3x3, pool and the input side by side. Unpadded, all line up with the middle."""
    branches = [
        [{"conv": 1, "kernel": 1, **PLAIN}],
        [{"conv": 1, "kernel": 3, **PLAIN}],
        [{"pool": "max", "size": 3, "stride": 1}],
        [],
    ]
    got = passed([{"branches": branches}], [[1, 2, 3, 4, 5]], [10], [1, 1, 1])
    assert got.tolist() == [[20, 30, 40], [6, 9, 12], [3, 4, 5], [2, 3, 4]]
    branches[1][0]["padding"] = branches[2][0]["padding"] = 1
    got = passed([{"branches": branches}], [[1, 2, 3, 4, 5]], [10], [1, 1, 1])
    assert got.tolist() == [[10, 20, 30, 40, 50], [3, 6, 9, 12, 9], [2, 3, 4, 5, 5], [1, 2, 3, 4, 5]]


def test_a_residual_is_the_input_and_its_layers_by_hand():
    """He et al. 2015, equation 1: y = F(x) + x; here F = x[i] - x[i + 2], around the middle of three inputs."""
    layers = [{"conv": 1, "kernel": 3, **PLAIN}]
    assert passed([{"residual": layers}], [[1, 2, 3, 7, 5]], [1, 0, -1]).tolist() == [[0, -2, 5]]
    assert passed([{"residual": layers, "activation": "relu"}], [[1, 2, 3, 7, 5]], [1, 0, -1]).tolist() == [[0, 0, 5]]
    layers[0]["padding"] = 1
    assert passed([{"residual": layers}], [[1, 2, 3]], [0, 0, 0]).tolist() == [[1, 2, 3]]  # F = 0: the input itself


# Olah's networks: A, A then B, A and max-pool and B, then F, on raw samples

RISE_FALL = [[[-1, 1]], [[1, -1]]]  # two maps of A on 2 points: rectified, how much it rises, and how much it falls
A = {"conv": 2, "kernel": 2, "bias": False}
HAND = {
    # 1 3 2 2 5 4: rises 2 0 0 3 0, falls 0 1 0 0 1; F counts rises as 1 and falls as 10
    "A on 2 points": ([A], 6, [RISE_FALL, [[1] * 5, [10] * 5], 0.5], 2 + 3 + 10 + 10 + 0.5),
    # x[i] - 2 x[i + 1] + x[i + 2] is -3 1 3 -4, rectified 0 1 3 0
    "A on 3 points": ([{"conv": 1, "kernel": 3, "bias": False}], 6, [[1, -2, 1], [1, 2, 3, 4], -1], 2 + 9 - 1),
    # B: a rise and a fall behind it, less 1: 2 + 1 - 1, 0 + 0 - 1, 0 + 0 - 1, 3 + 1 - 1, rectified 2 0 0 3
    "A, B": ([A, {"conv": 1, "kernel": 2}], 6, [RISE_FALL, [[1, 0], [0, 1]], -1, [1] * 4, 0.25], 2 + 3 + 0.25),
    # Of 1 3 2 2 5: rises 2 0 0 3, falls 0 1 0 0; the larger of each two 2 3 and 1 0; B: 1 * 2 + 2 * 3 + 3 * 1 + 4 * 0
    "A, max-pool, B": (
        [A, {"pool": "max", "size": 2}, {"conv": 1, "kernel": 2, "bias": False}],
        5,
        [RISE_FALL, [[1, 2], [3, 4]], 2, -1],
        2 * 11 - 1,
    ),
}


@pytest.mark.parametrize("name", HAND)
def test_olah_networks_by_hand(name):
    layers, samples, weights, wanted = HAND[name]
    spec = spec_from_table(table_of(WAVEFORM, layers, {"window_seconds": samples / RATE}), "olah")
    network = Network(spec).eval()
    assert network.geometry.window_samples == samples
    with torch.no_grad():
        for parameter, given in zip(network.parameters(), weights, strict=True):
            parameter.copy_(torch.as_tensor(given, dtype=torch.float32).reshape(parameter.shape))
        got = network.logits_of(network.features(torch.tensor([[[1.0, 3, 2, 2, 5, 4][:samples]]])))
    assert got.tolist() == [[[pytest.approx(wanted, abs=1e-6)]]]


def test_olah_what_a_finds_it_finds_wherever_it_lies():
    """The same weights at every position: a sound that comes later moves what A gives, and changes nothing in it."""
    sound = [0, 0, 3, -1, 2, 0, 0, 0, 0, 0]
    for later in range(4):
        moved = np.roll(sound, later)
        assert convolved(moved, [1, -2, 3]).tolist() == np.roll(convolved(sound, [1, -2, 3]), later).tolist()


def test_olah_max_pooling_does_not_mind_where_exactly():
    """A click anywhere in a stretch of 4 gives the same."""
    for where in range(4):
        assert passed([{"pool": "max", "size": 4}], [np.eye(8)[where]]).tolist() == [[1, 0]]


def by_loops(values, weights, bias, stride):
    """A convolution as it is written in a book: (channels, n) -> (maps, positions), rectified."""
    maps, _, taps = weights.shape
    positions = (values.shape[1] - taps) // stride + 1
    got = np.zeros((maps, positions))
    for o, x in itertools.product(range(maps), range(positions)):
        got[o, x] = bias[o] + (weights[o] * values[:, x * stride : x * stride + taps]).sum()
    return np.maximum(0.0, got)


@pytest.mark.parametrize(
    ("name", "kernel", "stride", "pool", "b"),
    [
        ("conv_a2_1d", 2, 1, 1, None),
        ("conv_a3_1d", 3, 1, 1, None),
        ("conv_a_1d", 64, 16, 1, None),
        ("conv_ab_1d", 64, 16, 1, 5),
        ("conv_a_pool_b_1d", 64, 16, 4, 5),
    ],
)
def test_olah_the_shipped_networks_by_loops(name, kernel, stride, pool, b):
    """With random weights, by loops over positions: A, the largest of each `pool`, B, F of two layers."""
    network = network_of(shipped(name, 2))
    samples = noise(network.spec, 1, network.geometry.window_samples)
    weights = [parameter.detach().double().numpy() for parameter in network.parameters()]
    assert weights[0].shape[2] == kernel
    values = by_loops(samples[0].astype(float) / 0.1, *weights[:2], stride)
    if pool > 1:
        usable = values.shape[1] // pool * pool
        values = values[:, :usable].reshape(len(values), -1, pool).max(axis=2)
    if b is not None:
        assert weights[2].shape[2] == b
        values = by_loops(values, *weights[2:4], 1)
    hidden = by_loops(values, *weights[-4:-2], 1)
    assert hidden.shape[1] == 1
    wanted = weights[-2][:, :, 0] @ hidden[:, 0] + weights[-1]
    with torch.no_grad():
        got = network.logits_of(network.features(torch.from_numpy(samples)))[0, 0].numpy()
    np.testing.assert_allclose(got, wanted, atol=1e-4)


# Gradients


def gradient_network(layers, settings, f):
    """In float64, with the features that go in and a number that comes out."""
    spec = spec_from_table(table_of(settings, layers, {"window_seconds": 0.1, **f}), "gradients", 2)
    network = network_of(spec).double()
    size = spec.window_size()
    values = torch.from_numpy(np.random.default_rng(5).normal(size=(2, size.channels, *size.axes)))
    return network, values


CASES = {
    "conv, max-pool, conv, F": (
        [{"conv": 3, "kernel": 4, "activation": "tanh"}, {"pool": "max", "size": 3}, {"conv": 2, "kernel": 3}],
        {**WAVEFORM, "sample_rate": 400},
        {"layers": [{"dense": 4, "activation": "sigmoid"}]},
    ),
    "2-D: conv, max-pool, residual, l2-pool, F": (
        [
            {"conv": 2, "kernel": [3, 2], "activation": "silu"},
            {"pool": "max", "size": [2, 2]},
            {"residual": [{"conv": 2, "kernel": [2, 2], "activation": "tanh"}]},
            {"pool": "l2", "size": [2, 1]},
        ],
        LOG_MEL,
        {"layers": [{"dense": 3, "activation": "elu"}]},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_finite_differences(name):
    """Of every weight and every input, by central differences: (f(w + h) - f(w - h)) / 2h."""
    network, values = gradient_network(*CASES[name])
    values.requires_grad_()
    mix = torch.tensor([1.0, -2.0], dtype=torch.float64)

    def loss():
        return (network.logits_of(values) * mix).sum()

    numbers = [*network.parameters(), values]
    slopes = torch.autograd.grad(loss(), numbers)
    step = 1e-6
    for number, slope in zip(numbers, slopes, strict=True):
        flat = number.data.view(-1)
        wanted = np.empty(len(flat))
        for index in range(len(flat)):
            kept, sums = float(flat[index]), []
            for change in (step, -step):
                flat[index] = kept + change
                sums.append(loss().item())
            flat[index] = kept
            wanted[index] = (sums[0] - sums[1]) / (2 * step)
        np.testing.assert_allclose(slope.flatten().numpy(), wanted, atol=1e-7, rtol=1e-6)
        assert np.abs(wanted).max() > 1e-3


@pytest.mark.parametrize("name", CASES)
def test_gradients_of_all_outputs_by_torchs_own_check(name):
    network, values = gradient_network(*CASES[name])
    assert torch.autograd.gradcheck(network.logits_of, values.requires_grad_(), eps=1e-6, atol=1e-7)


def test_the_gradient_of_a_max_pool_goes_to_the_largest_alone():
    values = torch.tensor([[[1.0, 5.0, 2.0, 7.0, 3.0, 4.0]]], requires_grad=True)
    pool = build_layers(read_layers([{"pool": "max", "size": 3}], "here", Context(1, 1)), Size(1, (6,)))
    (pool(values) * torch.tensor([2.0, 3.0])).sum().backward()
    assert values.grad.tolist() == [[[0, 2, 0, 3, 0, 0]]]


def test_the_gradient_of_a_shared_weight_is_the_sum_over_its_positions():
    """Kernel [a, b] over 1 2 3 4, summed: a gets 1 + 2 + 3 and b 2 + 3 + 4."""
    conv = build_layers(read_layers([{"conv": 1, "kernel": 2, **PLAIN}], "here", Context(1, 1)), Size(1, (4,)))
    conv(torch.tensor([[[1.0, 2.0, 3.0, 4.0]]])).sum().backward()
    (weight,) = conv.parameters()
    assert weight.grad.tolist() == [[[6, 9]]]
