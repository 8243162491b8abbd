"""The torch network of a spec: where scores sit, what they depend on, and nets whose outputs are computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fixtures_models import LOG_MEL, SPECS, WAVEFORM, network_of, noise, spec_named, table_of, torch_engine

from audiocnn.model.network import Network
from audiocnn.spec.spec import spec_from_table

TOLERANCE = 1e-4  # of scores
SHIFT_EXACT = [name for name in SPECS if spec_named(name).geometry().shift_exact]


def windows_of(network, samples):
    """The extended samples (batch, channels, n), cut into the window of every row: (rows, channels, window)."""
    geometry = network.geometry
    extended = network.extended(torch.from_numpy(samples))[0]
    return extended.unfold(-1, geometry.window_samples, geometry.hop_samples).transpose(0, 1)


def scores(network, samples):
    """(batch, rows, outputs) of whole recordings."""
    with torch.no_grad():
        return network(network.extended(torch.from_numpy(samples)))


# What a score depends on


@pytest.mark.parametrize("name", SPECS)
def test_rows_tile_a_recording_of_any_length(name):
    network = network_of(spec_named(name))
    geometry, outputs = network.geometry, network.spec.outputs
    for samples in (1, 2, geometry.hop_samples, geometry.hop_samples + 1, geometry.window_samples, 997, 2 * 997):
        got = scores(network, noise(network.spec, 2, samples))
        assert got.shape == (2, geometry.rows(samples), outputs)
        assert torch.isfinite(got).all()


@pytest.mark.parametrize("name", SHIFT_EXACT)
def test_dense_scores_are_those_of_a_sliding_window(name):
    network = network_of(spec_named(name))
    samples = noise(network.spec, 1, 2 * network.geometry.window_samples + 3 * network.geometry.hop_samples + 1)
    dense = scores(network, samples)[0]
    with torch.no_grad():
        each = network(windows_of(network, samples))
    assert each.shape == (len(dense), 1, network.spec.outputs)
    assert torch.max(torch.abs(dense - each[:, 0])) <= TOLERANCE


@pytest.mark.parametrize("name", SPECS)
def test_a_score_depends_on_its_window_and_on_nothing_else(name):
    """The samples with a gradient. A maximum looks at one of its inputs, so the ends are checked where there is none;
    the last samples of a frame lie under the end of the Hann window, where float32 sees next to nothing."""
    network = network_of(spec_named(name))
    geometry = network.geometry
    rows = 2 * sum(geometry.margin_rows) + 5
    samples = torch.from_numpy(noise(network.spec, 1, rows * geometry.hop_samples)).double().requires_grad_()
    row = rows // 2
    network = network.double()
    (gradient,) = torch.autograd.grad(network(network.extended(samples))[0, row].square().sum(), samples)
    seen = np.flatnonzero(gradient.abs().sum(dim=1)[0].numpy())
    first = row * geometry.hop_samples - geometry.extend_start - geometry.pad_start
    last = first + geometry.window_samples - 1
    assert first <= seen.min()
    assert seen.max() <= last
    if '"max"' not in repr(network.spec.table).replace("'", '"'):
        edge = 2 if network.spec.input.features != "waveform" else 0
        if network.spec.input.features != "cqt":  # the kernels of high bins are shorter than the frame
            assert seen.min() <= max(0, first) + edge
            assert seen.max() >= min(samples.shape[-1] - 1, last) - edge


@pytest.mark.parametrize("name", SPECS)
def test_recordings_of_a_batch_do_not_see_each_other(name):
    network = network_of(spec_named(name))
    samples = noise(network.spec, 7, 3 * network.geometry.window_samples // 2)
    together = scores(network, samples)
    alone = torch.cat([scores(network, samples[i : i + 1]) for i in range(7)])
    assert torch.max(torch.abs(together - alone)) <= 1e-5


@pytest.mark.parametrize("name", SPECS)
def test_every_weight_gets_a_gradient_that_is_finite_and_not_zero(name):
    network = network_of(spec_named(name)).train()
    samples = torch.from_numpy(noise(network.spec, 4, 3 * network.geometry.window_samples))
    logits = network.logits_of(network.features(network.extended(samples)))
    torch.nn.functional.binary_cross_entropy_with_logits(logits, (torch.rand_like(logits) > 0.5).float()).backward()
    for key, weight in network.named_parameters():
        assert weight.grad is not None, key
        assert torch.isfinite(weight.grad).all(), key
        assert weight.grad.abs().max() > 0, key


@pytest.mark.parametrize("name", SPECS)
def test_scores_are_probabilities(name):
    network = network_of(spec_named(name))
    got = scores(network, noise(network.spec, 2, 3000))[..., : network.spec.classes]
    assert (got >= 0).all()
    assert (got <= 1).all()
    if network.spec.f.output == "softmax":
        torch.testing.assert_close(got.sum(dim=-1), torch.ones(got.shape[:2]), atol=1e-6, rtol=0)


def test_the_constants_of_the_front_end_are_not_saved_with_the_weights():
    network = network_of(spec_named("same_2d"))
    assert not [key for key in network.state_dict() if key.startswith("front_end")]
    assert not list(network.front_end.parameters())


def test_bands_are_channels_in_1d_channel_by_channel():
    flat = Network(spec_from_table(table_of({**LOG_MEL, "channels": 2}, [], {}), "x"))
    picture = Network(spec_from_table(table_of({**LOG_MEL, "channels": 2}, [{"pool": "max", "size": [1, 1]}], {}), "x"))
    samples = torch.from_numpy(noise(flat.spec, 3, 400))
    one, two = flat.features(samples), picture.features(samples)
    assert (one.shape[1], two.shape[1:3]) == (16, (2, 8))
    assert torch.equal(one.reshape(two.shape), two)


# Nets whose outputs are computed by hand


def moving_average(taps, hop_samples=1, sample_rate=1000):
    """No groups: F alone takes the mean of a window of so many samples."""
    f = {"window_seconds": taps / sample_rate, "hop_seconds": hop_samples / sample_rate}
    network = Network(spec_from_table(table_of({**WAVEFORM, "sample_rate": sample_rate}, [], f), "average"))
    (layer,) = network.f.layers
    torch.nn.init.constant_(layer.weight, 1.0 / taps)
    torch.nn.init.zeros_(layer.bias)
    return network.eval()


def logits(network, samples):
    """(rows,) of one mono recording."""
    with torch.no_grad():
        x = network.extended(torch.tensor(samples, dtype=torch.float32)[None, None])
        return network.logits_of(network.features(x))[0, :, 0]


def test_the_moving_average_of_the_essays_as_a_network():
    """[1 2 3 1 2 3 1 2 3] under three thirds, extended with a zero at both ends: as many scores as samples."""
    got = logits(moving_average(3), [1, 2, 3, 1, 2, 3, 1, 2, 3])
    assert got.tolist() == pytest.approx([1, 2, 2, 2, 2, 2, 2, 2, 5 / 3], abs=1e-6)


@pytest.mark.parametrize(("taps", "hop"), [(5, 1), (10, 2), (9, 3), (40, 8), (41, 8), (4, 4), (3, 10), (1, 7)])
def test_row_k_is_the_mean_around_the_middle_of_its_hop(taps, hop):
    network = moving_average(taps, hop)
    samples = np.random.default_rng(taps).normal(size=203)
    # The middle of the window is that of the hop, or half a sample before it.
    first = -((taps - hop) // 2)
    padded = np.pad(samples, 300)
    wanted = [padded[300 + k * hop + first :][:taps].mean() for k in range(-(-203 // hop))]
    assert logits(network, samples).tolist() == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("name", [name for name in SHIFT_EXACT if name not in ("crnn", "short_window")])
def test_a_click_moves_the_rows_around_it_alike_on_both_sides(name):
    """The rows that a click at the middle of hop k moves are k - n ... k + n, give or take one; later ones where a
    score looks back further than ahead."""
    network = network_of(spec_named(name))
    geometry = network.geometry
    hop, row = geometry.hop_samples, 2 * geometry.window_samples // geometry.hop_samples
    silence = np.zeros((1, network.spec.input.channels, (2 * row + 1) * hop), np.float32)
    click = silence.copy()
    click[..., row * hop + hop // 2 - 1 : row * hop + hop // 2 + 1] = 0.9
    moved = (scores(network, click) - scores(network, silence)).abs().sum(dim=-1)[0].numpy()
    rows = np.flatnonzero(moved > 0)
    assert abs((rows.min() + rows.max()) / 2 - row - geometry.skew / 2 / hop) <= 1.0
    assert len(rows) <= geometry.window_samples / hop + 2


def test_a_tone_in_silence_is_where_it_is():
    """The loudest row of an untrained sum of log-mel bands is the middle of a tone; both edges are half as far."""
    f = {"window_seconds": 0.1, "hop_seconds": 0.01}
    network = Network(spec_from_table(table_of({**LOG_MEL, "features": "mel"}, [], f), "loudness"))
    (layer,) = network.f.layers
    torch.nn.init.constant_(layer.weight, 1.0)
    samples = np.zeros(4000)
    samples[1600:2400] = np.sin(np.arange(800) * 0.5)  # from 0.8 to 1.2 s
    got = logits(network, samples).numpy()
    got = got - got.min()
    above = np.flatnonzero(got > got.max() / 2)
    assert (above[0] * 0.01, (above[-1] + 1) * 0.01) == pytest.approx((0.8, 1.2), abs=0.011)
    np.testing.assert_allclose(got[90:110], got[90:110][::-1], rtol=0.02)


@pytest.mark.parametrize("kind", ["max", "average", "l2"])
def test_a_global_pool_takes_the_whole_window_and_all_bands(kind):
    layers = [{"conv": 2, "kernel": [1, 1], "activation": "none"}, {"global": kind}]
    f = {"output_dense": False, "hop_seconds": 0.03}
    network = network_of(spec_from_table(table_of(LOG_MEL, layers, f), "x", 2))
    samples = noise(network.spec, 1, 3000)
    with torch.no_grad():
        values = network.groups["A"](network.features(network.extended(torch.from_numpy(samples))))
        windows = values.unfold(-1, network.geometry.positions, network.geometry.hop_positions)
        pooled = {
            "max": windows.amax(dim=(2, 4)),
            "average": windows.mean(dim=(2, 4)),
            "l2": windows.square().sum(dim=(2, 4)).sqrt(),
        }[kind]
        got = network.logits_of(network.features(network.extended(torch.from_numpy(samples))))
    torch.testing.assert_close(got, pooled.transpose(1, 2), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("kind", ["gru", "lstm"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_recurrent_layer_hands_on_its_last_state_of_every_window(kind, bidirectional):
    layer = {"recurrent": 5, "kind": kind, "bidirectional": bidirectional}
    network = network_of(spec_from_table(table_of(LOG_MEL, [], {"layers": [layer], "hop_seconds": 0.02}), "x"))
    assert network.spec.parameters() == sum(weight.numel() for weight in network.parameters())
    x = torch.randn(3, 8, network.geometry.positions + 2 * 4)
    over = network.f.layers[0]
    with torch.no_grad():
        got = over(x)
        for number in range(5):
            window = x[..., 2 * number : 2 * number + network.geometry.positions]
            _, state = over.cell(window.transpose(1, 2))
            state = state[0] if kind == "lstm" else state
            torch.testing.assert_close(got[..., number], torch.cat(list(state), dim=1), atol=1e-6, rtol=0)


def test_the_engine_without_a_folder_gives_the_scores_of_the_network():
    network = network_of(spec_named("valid_2d"))
    samples = noise(network.spec, 1, 5000)
    np.testing.assert_allclose(torch_engine(network).score(samples[0]), scores(network, samples)[0], atol=1e-6)


def test_gradients_are_those_of_finite_differences_through_conv_max_pool_and_f():
    layers = [{"conv": 3, "kernel": 5, "activation": "tanh"}, {"pool": "max", "size": 3}]
    spec = spec_from_table(table_of({**WAVEFORM, "sample_rate": 100}, layers, {"window_seconds": 0.2}), "x")
    network = network_of(spec).double()
    samples = torch.from_numpy(noise(spec, 2, 30)).double()

    def loss():
        return network.logits_of(network.features(network.extended(samples))).square().sum()

    loss().backward()
    step = 1e-6
    for weight in network.parameters():
        flat, slopes = weight.data.view(-1), weight.grad.view(-1)
        for index in range(0, len(flat), 7):
            kept, sums = float(flat[index]), []
            for change in (step, -step):
                flat[index] = kept + change
                sums.append(loss().item())
            flat[index] = kept
            assert (sums[0] - sums[1]) / (2 * step) == pytest.approx(float(slopes[index]), abs=1e-6, rel=1e-6)


@pytest.mark.parametrize("gain_db", [-50, -20, 15])
@pytest.mark.parametrize("name", ["level_seconds_2d", "level_1d", "level_2d"])
def test_behind_a_level_norm_a_gain_changes_no_score(name, gain_db):
    """Of sound that lies above the floor at every level."""
    table = SPECS[name]
    spec = spec_from_table({**table, "input": {**table["input"], "floor": 1e-16}}, name)
    network = network_of(spec)
    sound = torch.from_numpy(noise(spec, 1, 4000))
    with torch.no_grad():
        found = [network(network.extended(sound * 10 ** (gain / 20))) for gain in (0, gain_db)]
    inside = slice(20, -20)  # at the ends there are zeros, which no gain moves
    assert (found[0] - found[1])[:, inside].abs().max() < 1e-3
