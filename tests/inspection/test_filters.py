"""The filters of a first layer: numbers and pictures of kernels that are known, because the test made them."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from fixtures_cli import audiocnn
from fixtures_models import shipped_specs

from audiocnn.errors import ModelError
from audiocnn.inspection.filters import (
    SHARES,
    band_range,
    energy_shares,
    first_layers,
    kernel_figures,
    read_filters,
    tower_figures,
)
from audiocnn.model.model import WEIGHTS, Model, write_model
from audiocnn.model.network import Network
from audiocnn.model.weights import save_weights
from audiocnn.report.figure import save_figure
from audiocnn.report.filter_picture import (
    RESPONSE_FLOOR_DB,
    RESPONSE_MEL_STEPS,
    CellGrid,
    draw_filters,
    pad_kernels,
    plain_text,
    response_decibels,
)
from audiocnn.spec.features import band_edges_hertz
from audiocnn.spec.spec import load_spec, spec_from_table
from audiocnn_cli.app.exits import ExitStatus

RATE = 8000
WAVEFORM = {"features": "waveform", "sample_rate": RATE}
LOG_MEL = {"features": "log_mel", "sample_rate": RATE, "mels": 20}
MFCC = {"features": "mfcc", "sample_rate": RATE, "mels": 20, "coefficients": 10}
HERTZ = (1000, 250, 2000, 440)


def network_of(settings, layers, head=()):
    groups = [{"name": "A", "layers": layers}] if layers else []
    table = {"input": settings, "groups": groups, "f": {"window_seconds": 0.2, "layers": list(head)}}
    torch.manual_seed(0)
    return Network(spec_from_table(table, "net", 2)).eval()


def set_kernels(network, values, place=0):
    """The weights of the first convolution (or dense layer) of a network."""
    module = first_layers(network)[place].module
    conv = module if hasattr(module, "weight") else next(step for step in module if hasattr(step, "groups"))
    with torch.no_grad():
        conv.weight.copy_(torch.as_tensor(np.asarray(values)).reshape(conv.weight.shape))
    return network


def tones(*hertz, taps=160):
    """(filters, 1, taps): sines under a Hann window."""
    return np.array([[np.hanning(taps) * np.sin(2 * np.pi * f * np.arange(taps) / RATE)] for f in hertz])


def saved(network, folder):
    """A model folder, as far as `filters` needs one."""
    labels = tuple(f"label{number}" for number in range(network.spec.classes))
    write_model(Model("net", folder, network.spec, labels, dict.fromkeys(labels, 0.5)))
    save_weights(network, folder / WEIGHTS)
    return folder


def tone_bank():
    return read_filters(set_kernels(network_of(WAVEFORM, [{"conv": 4, "kernel": 160}]), tones(*HERTZ)))


def colours_in(path):
    """How many colours a picture has, and its size."""
    from matplotlib.image import imread

    pixels = (imread(path)[..., :3] * 255).astype(int).reshape(-1, 3)
    return len(np.unique(pixels @ [65536, 256, 1]))


def test_sines_are_sorted_by_their_frequency():
    bank = tone_bank()
    assert (bank.view, bank.step_seconds, bank.towers) == ("waveform", 1 / RATE, 1)
    assert [one.index for one in bank.filters] == [1, 3, 0, 2]
    found = [one.figures["centre_hertz"] for one in bank.filters]
    assert found == pytest.approx(sorted(HERTZ), abs=RATE / 4096)
    # The equivalent rectangle of a Hann window is 1.5 bins of its length wide.
    widths = [one.figures["bandwidth_hertz"] for one in bank.filters]
    assert widths == pytest.approx([1.5 * RATE / 160] * 4, rel=0.02)
    assert bank.filters[0].strength == pytest.approx(np.sqrt((tones(250) ** 2).sum()), rel=1e-6)


def test_the_spectrum_of_a_picture_has_its_peak_where_the_centre_is():
    one = tone_bank().filters[2]
    levels = response_decibels(one.kernel, 1 / RATE)
    assert levels.shape == (1, RESPONSE_MEL_STEPS)
    assert (levels.max(), levels.min()) == (0.0, RESPONSE_FLOOR_DB)
    # 1000 Hz is 15 mel of Slaney's scale, half the rate 35.16.
    assert levels[0].argmax() == pytest.approx(15 / 35.16 * RESPONSE_MEL_STEPS, abs=1)


def test_a_filter_of_zeros_has_no_frequency_and_comes_last():
    bank = read_filters(
        set_kernels(network_of(WAVEFORM, [{"conv": 2, "kernel": 160}]), [np.zeros((1, 160)), tones(500)[0]])
    )
    assert [(one.index, one.figures == {}) for one in bank.filters] == [(1, False), (0, True)]
    assert bank.filters[1].strength == 0


def test_norm_and_pool_before_the_first_convolution():
    layers = [{"norm": "batch"}, {"pool": "average", "size": 4}, {"conv": 1, "kernel": 80}]
    bank = read_filters(set_kernels(network_of(WAVEFORM, layers), tones(1000, taps=80)))
    assert bank.step_seconds == 4 / RATE
    assert bank.filters[0].figures["centre_hertz"] == pytest.approx(250, abs=2)  # 1000 Hz at a quarter of the rate


def test_the_first_convolution_may_stand_in_a_residual():
    layers = [{"residual": [{"conv": 1, "kernel": 9, "padding": 4}]}, {"conv": 3, "kernel": 5}]
    bank = read_filters(set_kernels(network_of(WAVEFORM, layers), [np.arange(9)]))
    assert len(bank.filters) == 1
    np.testing.assert_array_equal(bank.filters[0].kernel[0, 0], np.arange(9))


def test_of_branches_the_first_convolution_of_each():
    layers = [{"branches": [[{"conv": 2, "kernel": 40}], [{"conv": 1, "kernel": 160}], []]}]
    network = set_kernels(network_of(WAVEFORM, layers), tones(2000, 1000, taps=40))
    bank = read_filters(set_kernels(network, tones(500), place=1))
    assert [(one.index, one.kernel.shape[-1]) for one in bank.filters] == [(2, 160), (1, 40), (0, 40)]
    assert bank.layer == "conv 2 40, relu | conv 1 160, relu"
    # Both branches are lined up around the same sample: (160 - 40) / 2 are cropped before the shorter.
    assert [place.reach[0].start for place in first_layers(network)] == [-60, 0]


def test_stereo_kernels_and_how_far_their_channels_differ():
    same, apart = tones(500, taps=80)[0], tones(500, taps=80)[0]
    kernels = [np.concatenate([same, same]), np.concatenate([apart, -apart]), np.concatenate([apart, 0 * apart])]
    bank = read_filters(set_kernels(network_of({**WAVEFORM, "channels": 2}, [{"conv": 3, "kernel": 80}]), kernels))
    assert bank.channels == 2
    found = {one.index: one.figures["between_channels"] for one in bank.filters}
    assert found == pytest.approx({0: 0.0, 1: 1.0, 2: 0.5}, abs=1e-6)
    assert [one.figures["centre_hertz"] for one in bank.filters] == pytest.approx([500] * 3, abs=20)


def test_both_halves_of_a_separable_convolution_make_one_kernel():
    network = network_of({**WAVEFORM, "channels": 2}, [{"conv": 2, "kernel": 3, "separable": True}])
    depth, point = (step for step in first_layers(network)[0].module if hasattr(step, "groups"))
    with torch.no_grad():
        depth.weight.copy_(torch.tensor([[[1.0, 2.0, 3.0]], [[0.0, 1.0, 0.0]]]))
        point.weight.copy_(torch.tensor([[[2.0], [1.0]], [[0.0], [-1.0]]]))
    kernels = {one.index: one.kernel[:, 0].tolist() for one in read_filters(network).filters}
    assert kernels == {0: [[2, 4, 6], [0, 1, 0]], 1: [[0, 0, 0], [0, -1, 0]]}


@pytest.mark.parametrize("settings", [{"separable": True}, {"split": 2}, {"dilation": 3}, {}], ids=str)
def test_the_kernel_does_what_the_convolution_does(settings):
    layer = {"conv": 4, "kernel": 5, "activation": "none", "bias": False, **settings}
    network = network_of({**WAVEFORM, "channels": 2}, [layer])
    samples = torch.randn(1, 2, 60)
    with torch.no_grad():
        wanted = first_layers(network)[0].module(samples)[0].numpy()
    for one in read_filters(network).filters:
        found = sum(np.correlate(samples[0, c].numpy(), one.kernel[c, 0], "valid") for c in range(2))
        np.testing.assert_allclose(found, wanted[one.index], atol=1e-5)


def test_bands_have_a_range_in_hertz():
    kernel = np.zeros((2, 20, 5))
    kernel[0, 4:6], kernel[1, 15] = 1.0, -1.0
    network = set_kernels(network_of(LOG_MEL, [{"conv": 2, "kernel": 5}]), kernel)
    bank = read_filters(network)
    edges = band_edges_hertz(network.spec.input)
    assert (bank.view, bank.step_seconds, bank.filters[0].kernel.shape) == ("bands", 0.01, (1, 20, 5))
    low, high = (one.figures for one in bank.filters)
    # Half of the energy of bands 4 and 5 lies in the first of them.
    assert (low["low_band"], low["high_band"], low["low_hertz"], low["high_hertz"]) == (4, 4, *edges[4])
    assert (high["low_hertz"], high["centre_hertz"], high["high_hertz"]) == (
        edges[15, 0],
        edges[15].mean(),
        edges[15, 1],
    )


def test_the_shortest_run_with_half_of_the_energy():
    assert band_range(np.array([1.0, 0, 0, 2, 2, 1]), None) == {"low_band": 3, "high_band": 4}
    assert band_range(np.ones(4), None) == {"low_band": 0, "high_band": 1}


def test_bands_that_are_no_frequencies():
    bank = read_filters(network_of(MFCC, [{"conv": 3, "kernel": 3}]))
    assert (bank.view, bank.edges_hertz) == ("bands", None)
    assert all("centre_hertz" not in one.figures and "low_band" in one.figures for one in bank.filters)
    middles = [one.figures["low_band"] + one.figures["high_band"] for one in bank.filters]
    assert middles == sorted(middles)


EDGE_IN_TIME = [[-1, 0, 1]] * 3
KNOWN = {
    "level": [[1, 1, 1]] * 3,
    "time": EDGE_IN_TIME,
    "frequency": np.transpose(EDGE_IN_TIME),
    "both": [[1, 0, -1], [0, 0, 0], [-1, 0, 1]],
}


@pytest.mark.parametrize("name", SHARES)
def test_shares_of_patches_that_are_known(name):
    kernel = np.array([KNOWN[name]], float)
    found = energy_shares(kernel, float((kernel**2).sum()))
    assert found == {share: pytest.approx(float(share == name)) for share in SHARES}


def test_shares_add_up_and_a_blend_is_shared():
    blend = np.array([np.array(KNOWN["time"]) + KNOWN["frequency"]], float)
    found = kernel_figures(blend, "patch", 0.01, None)
    assert found == pytest.approx({"level": 0, "time": 0.5, "frequency": 0.5, "both": 0})
    random = np.random.default_rng(0).normal(size=(2, 5, 7))
    assert sum(energy_shares(random, float((random**2).sum())).values()) == pytest.approx(1)


def test_patches_are_sorted_from_time_to_frequency():
    network = network_of(LOG_MEL, [{"conv": 3, "kernel": [3, 3]}])
    bank = read_filters(set_kernels(network, [KNOWN["frequency"], KNOWN["level"], KNOWN["time"]]))
    assert (bank.view, [one.index for one in bank.filters]) == ("patch", [2, 1, 0])
    assert bank.filters[0].kernel.tolist() == [KNOWN["time"]]


def test_a_2d_kernel_over_all_bands_has_a_range():
    assert read_filters(network_of(LOG_MEL, [{"conv": 2, "kernel": [20, 3]}])).view == "bands"


def towers_network(first, split=2, **conv):
    layers = [{"conv": len(first), "kernel": 160}, {"pool": "max", "size": 2}, {"norm": "local_response"}]
    return set_kernels(network_of(WAVEFORM, [*layers, {"conv": 4, "kernel": 3, "split": split, **conv}]), first)


def test_towers_that_specialise():
    network = towers_network(tones(*range(200, 440, 20), *range(2000, 2240, 20)))
    bank = read_filters(network)
    assert bank.towers == 2
    assert [one.index for one in bank.of_tower(1)] == list(range(12))
    towers, chance = tower_figures(bank)
    assert [(tower.tower, tower.filters) for tower in towers] == [(1, 12), (2, 12)]
    assert [tower.means["centre_hertz"] for tower in towers] == pytest.approx([310, 2110], abs=10)
    assert chance["centre_hertz"] < 0.01


def test_towers_that_do_not():
    network = towers_network(np.repeat(tones(300, 700, 1500), 8, axis=0)[[8 * (i % 3) for i in range(24)]])
    towers, chance = tower_figures(read_filters(network))
    assert towers[0].means == pytest.approx(towers[1].means)
    assert chance["centre_hertz"] > 0.9


def test_three_towers_and_none():
    four = tones(*HERTZ)
    assert read_filters(towers_network(np.concatenate([four, four, four]), split=3, conv=6)).towers == 3
    assert read_filters(towers_network(four, split=1)).towers == 1
    assert tower_figures(read_filters(towers_network(four, split=1))) == ([], {})


def test_without_a_convolution_the_first_dense_layer():
    network = network_of(WAVEFORM, [], [{"dense": 3}])
    bank = read_filters(set_kernels(network, tones(500, 250, 1000, taps=1600)))
    assert (bank.group, bank.layer, [one.index for one in bank.filters]) == ("F", "dense 3, relu", [1, 0, 2])
    bands = read_filters(network_of({**LOG_MEL, "channels": 2}, [], [{"dense": 3}]))
    assert (bands.view, bands.filters[0].kernel.shape) == ("bands", (2, 20, network_of(LOG_MEL, []).geometry.positions))


@pytest.mark.parametrize("layer", [{"recurrent": 4}])
def test_nothing_to_draw(layer):
    with pytest.raises(ModelError, match=r"^net: has no convolution, and F starts with gru 4; there are no filters"):
        read_filters(network_of(LOG_MEL, [], [layer]))


SMALL = 3_000_000  # weights that a test can make


@pytest.mark.parametrize("path", shipped_specs(), ids=lambda path: path.stem)
def test_every_spec_has_filters(path):
    spec = load_spec(path)
    if spec.parameters() > SMALL:
        with torch.device("meta"):
            places = first_layers(Network(spec))
        assert all(place.module is not None and place.text.startswith(("conv", "dense")) for place in places)
        return
    bank = read_filters(Network(spec))
    assert len(bank.filters) >= 1
    assert all(np.isfinite(one.kernel).all() and one.strength > 0 for one in bank.filters)
    assert all(np.isfinite(list(one.figures.values())).all() and one.figures for one in bank.filters)


def test_cells_fit_into_the_picture():
    for count in (1, 2, 4, 16, 96, 128, 1000):
        grid = CellGrid.of(count, 0.85)
        assert grid.columns * grid.rows >= count > grid.columns * (grid.rows - 1)
        assert grid.columns * grid.width <= 12.01
        left, right, bottom, top = grid.box(count - 1)
        assert 0 < left < right < grid.columns
        assert grid.rows - 1 < top < bottom < grid.rows


def test_kernels_of_several_sizes_get_a_frame():
    bank = read_filters(
        network_of(LOG_MEL, [{"branches": [[{"conv": 1, "kernel": [3, 3]}], [{"conv": 1, "kernel": [5, 1]}]]}])
    )
    shapes = [one.kernel.shape for one in pad_kernels(bank.filters)]
    assert shapes == [(1, 5, 3)] * 2
    assert np.isnan(next(one.kernel for one in pad_kernels(bank.filters) if one.index == 1)[0, :, [0, 2]]).all()


def test_names_that_a_font_lacks():
    assert plain_text("a$b") == "a\\$b"
    assert plain_text("語\n") == "??"


PICTURES = {
    "waveform": (WAVEFORM, [{"conv": 5, "kernel": 64}], ()),
    "two_taps": (WAVEFORM, [{"conv": 1, "kernel": 2}], ()),
    "stereo": ({**WAVEFORM, "channels": 2}, [{"conv": 3, "kernel": 64}], ()),
    "bands": (LOG_MEL, [{"conv": 40, "kernel": 5}], ()),
    "stereo_bands": ({**LOG_MEL, "channels": 2}, [{"conv": 4, "kernel": 1}], ()),
    "mfcc": (MFCC, [{"conv": 4, "kernel": 3}], ()),
    "patch": (LOG_MEL, [{"conv": 16, "kernel": [3, 3]}], ()),
    "towers": (LOG_MEL, [{"conv": 16, "kernel": [3, 3]}, {"conv": 4, "kernel": [3, 3], "split": 4}], ()),
    "dense": (WAVEFORM, [], [{"dense": 4}]),
    "branches": (LOG_MEL, [{"branches": [[{"conv": 2, "kernel": [3, 3]}], [{"conv": 1, "kernel": [5, 1]}]]}], ()),
}


@pytest.mark.parametrize("name", PICTURES)
def test_pictures(name, tmp_path):
    settings, layers, head = PICTURES[name]
    save_figure(draw_filters(read_filters(network_of(settings, layers, head)), 128), tmp_path / "a.png")
    assert colours_in(tmp_path / "a.png") > 10


def test_responses_lie_at_the_frequencies_of_the_filters():
    bank = tone_bank()
    overview = draw_filters(bank, 128).axes[0]
    assert overview.get_yscale() == "symlog"
    (mesh,) = overview.collections
    corners, levels = mesh.get_coordinates(), mesh.get_array()
    for column, one in enumerate(bank.filters):
        band = int(levels[:, column].argmax())
        assert corners[band, 0, 1] <= one.figures["centre_hertz"] <= corners[band + 1, 0, 1]
    assert overview.lines[0].get_ydata() == pytest.approx([one.figures["centre_hertz"] for one in bank.filters])


def test_zeros_can_be_drawn(tmp_path):
    network = set_kernels(network_of(LOG_MEL, [{"conv": 2, "kernel": [3, 3]}]), np.zeros((2, 3, 3)))
    save_figure(draw_filters(read_filters(network), 128), tmp_path / "a.png")
    assert colours_in(tmp_path / "a.png") > 10


def test_of_more_than_most_the_strongest_are_drawn():
    bank = read_filters(
        set_kernels(network_of(WAVEFORM, [{"conv": 3, "kernel": 160}]), tones(500, 250, 1000) * [[[1]], [[3]], [[2]]])
    )
    assert [one.index for one in bank.strongest(2).filters] == [1, 2]
    assert "the 2 strongest of 3 filters" in draw_filters(bank, 2).get_suptitle()
    assert "3 filters, sorted" in draw_filters(bank, 3).get_suptitle()


def test_the_title_of_a_tower_says_its_mean():
    figure = draw_filters(read_filters(towers_network(tones(*range(200, 440, 20), *range(2000, 2240, 20)))), 128)
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert [title.partition(",")[0] for title in titles] == ["tower 1: 12 filters", "tower 2: 12 filters"]
    assert "mean centre 2" in titles[1]


@pytest.fixture
def tone_filters(tmp_path):
    return saved(set_kernels(network_of(WAVEFORM, [{"conv": 4, "kernel": 160}]), tones(*HERTZ)), tmp_path / "model")


def test_the_command_writes_a_picture_and_a_row_a_filter(tone_filters, tmp_path):
    done = audiocnn("filters", tone_filters, "-o", tmp_path / "a.png")
    assert (done.status, done.err) == (ExitStatus.OK, "")
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert [row["filter"] for row in rows] == [1, 3, 0, 2]
    assert rows[1] | {"strength": 0, "bandwidth_hertz": 0} == {
        "schema": 1, "type": "filter", "model": "net", "group": "A", "filter": 3, "strength": 0,
        "centre_hertz": pytest.approx(440, abs=1), "bandwidth_hertz": 0,
    }  # fmt: skip
    assert colours_in(tmp_path / "a.png") > 10


def test_without_o_there_are_only_numbers(tone_filters, tmp_path):
    assert audiocnn("filters", tone_filters).status is ExitStatus.OK
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_table_on_a_terminal(tmp_path):
    folder = saved(towers_network(tones(*range(200, 440, 20), *range(2000, 2240, 20))), tmp_path / "model")
    done = audiocnn("filters", folder, terminal=True, NO_COLOR="1", TERM="dumb")
    lines = [line.replace("|", " ").split() for line in done.out.splitlines()]
    assert ["filter", "tower", "centre", "bandwidth", "strength"] in lines
    assert any(line[:4] == ["23", "2", "2220", "Hz"] for line in lines)
    assert "centre: the towers specialise; 0.0% of random divisions differ as much" in done.out


def test_a_row_a_tower(tmp_path):
    folder = saved(towers_network(tones(*HERTZ)), tmp_path / "model")
    rows = [json.loads(line) for line in audiocnn("filters", folder).out.splitlines()]
    assert [row.get("tower") for row in rows if row["type"] == "filter"] == [1, 2, 1, 2]
    assert [(row["tower"], row["filters"]) for row in rows if row["type"] == "tower"] == [(1, 2), (2, 2)]


def test_nothing_is_overwritten_unasked(tone_filters, tmp_path):
    (tmp_path / "a.png").write_bytes(b"mine")
    done = audiocnn("filters", tone_filters, "-o", tmp_path / "a.png")
    assert (done.status, done.out) == (ExitStatus.USAGE, "")
    assert (
        done.err
        == f"audiocnn: error: {tmp_path / 'a.png'}: already exists; overwrite it with --force, or give another -o\n"
    )
    assert (tmp_path / "a.png").read_bytes() == b"mine"
    assert audiocnn("filters", tone_filters, "-o", tmp_path / "a.png", "--force").status is ExitStatus.OK
    assert colours_in(tmp_path / "a.png") > 10


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["speech_3d"], r'no model is called "speech_3d"; did you mean "speech_[12]d"\?'),
        (["MODEL", "-o", "a.jpg"], r"a\.jpg: .*\.png, \.svg, \.pdf"),
        (["MODEL", "--group", "A"], r"--group applies to --strongest; give --strongest DATA too"),
        (["MODEL", "--top", "3"], r"--top applies to --strongest"),
        (["MODEL", "--strongest", "DATA", "--around", "nan"], r"--around cannot be nan; use seconds from 0 to 60"),
        (["MODEL", "--most", "0"], r"--most: give 1 or more"),
    ],
)  # fmt: skip
def test_wrong_usage(args, message, tone_filters):
    done = audiocnn("filters", *[tone_filters if arg == "MODEL" else arg for arg in args])
    assert (done.status, done.out) == (ExitStatus.USAGE, "")
    assert len(done.err.splitlines()) == 1
    assert re.search(message, done.err), done.err


def test_a_model_without_filters(tmp_path):
    folder = saved(network_of(LOG_MEL, [], [{"recurrent": 4}]), tmp_path / "model")
    done = audiocnn("filters", folder, "-o", tmp_path / "a.png")
    assert done.status is ExitStatus.USAGE
    assert "has no convolution" in done.err
    assert not (tmp_path / "a.png").exists()
