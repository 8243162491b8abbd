"""What `describe` says, against torch and against arithmetic by hand."""

from __future__ import annotations

import pytest
from fixtures_models import SPECS, network_of, shipped_specs, spec_named

from audiocnn.architecture import spec_from_table
from audiocnn.describing import describe
from audiocnn.errors import SpecError
from audiocnn.sizes import Size

EVERY = [*SPECS, *shipped_specs()]


@pytest.mark.parametrize("name", EVERY, ids=lambda name: getattr(name, "stem", name))
def test_weights_are_those_that_torch_makes(name):
    spec = spec_named(name)
    network = network_of(spec)
    found = describe(spec)
    assert found.parameters == sum(weights.numel() for weights in network.parameters())
    assert found.rows[-1].output.channels == spec.classes


@pytest.mark.parametrize("name", EVERY, ids=lambda name: getattr(name, "stem", name))
def test_what_is_heard_grows_up_to_the_window(name):
    found = describe(spec_named(name))
    outer = [row for row in found.rows if row.depth == 0]
    assert [row.reach for row in outer] == sorted(row.reach for row in outer)
    assert outer[-1].reach == pytest.approx(found.geometry.window_seconds)
    assert outer[-1].hop == pytest.approx(found.geometry.hop_seconds)


def test_every_number_of_a_small_spec_by_hand():
    # 100 Hz; conv of 3 maps over 5 samples, pool 2; a window of 20 samples leaves 8 positions for F.
    table = {
        "input": {"features": "waveform", "sample_rate": 100},
        "groups": [{"name": "A", "layers": [{"conv": 3, "kernel": 5}, {"pool": "max", "size": 2}]}],
        "f": {"window_seconds": 0.2, "layers": [{"dense": 4}]},
    }
    found = describe(spec_from_table(table, "small", 1))
    front, conv, pool, dense, last = found.rows
    assert (front.multiply_adds, front.reach, front.hop) == (0, 0.01, 0.01)
    assert (str(conv.output), conv.parameters, conv.multiply_adds) == ("3x16", 3 * 5 + 3, 3 * 5 * 16)
    assert (conv.reach, conv.hop, conv.kernel, conv.stride, conv.padding) == (0.05, 0.01, (5,), (1,), ((0, 0),))
    assert (str(pool.output), pool.parameters, pool.reach, pool.hop) == ("3x8", 0, 0.06, 0.02)
    assert (dense.group, dense.parameters, dense.multiply_adds) == ("F", 3 * 8 * 4 + 4, 3 * 8 * 4)
    assert (last.parameters, last.multiply_adds, last.reach) == (5, 4, 0.2)
    # A second: 100 positions of the convolution, 50 scores.
    assert found.multiply_adds_per_second == 100 * 15 + 50 * (96 + 4)
    assert found.dense_weights == 20 * 3 * 8
    assert found.first_group_weights == 18
    # Row k covers [2k, 2k + 2) and its window is centred on it: 9 samples come after.
    assert found.latency_seconds == 0.09


def test_layers_inside_layers_have_rows_of_their_own():
    rows = describe(spec_named("branches_valid")).rows
    branches = [row for row in rows if row.text.startswith("branch ")]
    assert [row.text for row in branches] == ["branch 1", "branch 2", "branch 3", "branch 4: the input"]
    assert all(row.depth == 1 and row.output is None for row in branches)
    assert {row.depth for row in rows} == {0, 1, 2}


def test_a_size_instead_of_features():
    # LeNet's first layers: 1x32x32 -> conv 6 5x5 -> 6x28x28 -> pool 2x2 -> 6x14x14.
    table = {
        "input": {"features": "stft", "fft_samples": 400},
        "groups": [{"name": "C", "layers": [{"conv": 6, "kernel": [5, 5]}, {"pool": "average", "size": [2, 2]}]}],
        "f": {"window_seconds": 1.0, "layers": [{"dense": 84}], "output": "softmax"},
    }
    spec = spec_from_table(table, "lenet", 10)
    found = describe(spec, Size(1, (32, 32)))
    assert [str(row.output) for row in found.rows] == ["6x28x28", "6x14x14", "84x1x1", "10x1x1"]
    assert [row.parameters for row in found.rows] == [156, 0, 6 * 14 * 14 * 84 + 84, 850]
    assert [(row.reach, row.bands) for row in found.rows] == [(5, 5), (6, 6), (32, 32), (32, 32)]
    assert found.geometry is None and found.multiply_adds_per_second is None
    with pytest.raises(SpecError, match="lenet: is 2-D; give the input as CxHxW"):
        describe(spec, Size(1, (32,)))
    with pytest.raises(
        SpecError, match=r'lenet: group "C": conv 6 5x5.* needs at least 5 positions in time and gets 3'
    ):
        describe(spec, Size(1, (32, 3)))
