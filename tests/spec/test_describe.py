"""What `describe` says, against torch and against arithmetic by hand; and how the command shows it."""

from __future__ import annotations

import json
import time
import tracemalloc
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from fixtures_cli import audiocnn
from fixtures_models import LOG_MEL, SPECS, WAVEFORM, shipped_specs, spec_named, table_of

from audiocnn.errors import SpecError
from audiocnn.model.model import Member, Model, spec_folders, write_model
from audiocnn.model.network import Network
from audiocnn.spec.describe import describe
from audiocnn.spec.features import read_input
from audiocnn.spec.geometry import Size
from audiocnn.spec.layers import LAYER_KINDS
from audiocnn.spec.spec import find_spec, spec_from_table
from audiocnn.toml import TomlTable
from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.commands.describe.tables import align_groups

EVERY = [*SPECS, *shipped_specs()]


def shipped(name, classes=None):
    return find_spec(name, spec_folders(), classes)


@pytest.mark.parametrize("name", EVERY, ids=lambda name: getattr(name, "stem", name))
def test_weights_are_those_that_torch_makes(name):
    spec = spec_named(name)
    with torch.device("meta"):
        network = Network(spec)
    found = describe(spec)
    assert found.parameters == sum(weights.numel() for weights in network.parameters())
    assert found.rows[-1].output.channels == spec.outputs


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
    # 0.25 s of --min-duration are 13 rows.
    assert found.onset_latency_seconds == pytest.approx(13 * 0.02 + 0.09)


def test_layers_inside_layers_have_rows_of_their_own():
    rows = describe(spec_named("branches_valid")).rows
    branches = [row for row in rows if row.text.startswith("branch ")]
    assert {row.kind for row in branches} == {"branch"}
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
        SpecError, match=r'lenet: group "C": layer 1: conv 6 5x5.* needs at least 5 positions in time and gets 3'
    ):
        describe(spec, Size(1, (32, 3)))


def test_a_row_says_what_kind_of_layer_it_is_as_the_spec_does():
    rows = [row for name in EVERY for row in describe(spec_named(name)).rows]
    assert {row.kind for row in rows} == {"input", "branch", *LAYER_KINDS}
    assert all(row.output is None for row in rows if row.kind == "branch")
    assert all(len(row.kernel) == len(row.output.axes) for row in rows if row.kind in LAYER_KINDS)


def test_kernel_dilation_stride_and_padding_are_those_of_the_spec():
    layer = {"conv": 2, "kernel": [3, 5], "dilation": [1, 2], "stride": [2, 1], "padding": [1, [8, 0]]}
    row = describe(spec_from_table(table_of(LOG_MEL, [layer], {}), "x")).rows[1]
    assert (row.kernel, row.dilation, row.stride, row.padding) == ((3, 5), (1, 2), (2, 1), ((1, 1), (8, 0)))
    assert row.reach == pytest.approx(0.032 + 8 * 0.01)  # frames of 32 ms, 10 ms apart; 8 more under the kernel


def test_what_a_broadcast_gives_depends_on_all_bands_and_so_does_all_behind_it():
    inside = [{"conv": 4, "kernel": [1, 3], "padding": [0, 1]}]
    layers = [
        {"conv": 4, "kernel": [3, 1]},
        {"residual": [{"conv": 4, "kernel": [1, 1]}, {"broadcast": inside}, {"activation": "tanh"}]},
        {"conv": 2, "kernel": [1, 1]},
    ]
    spec = spec_from_table(table_of(LOG_MEL, layers, {}), "x")
    for size, bands in ((None, 8), (Size(1, (30, 20)), 30)):
        rows = [row for row in describe(spec, size).rows if row.group == "A"]
        texts = ["conv 4", "residual", "conv 4", "broadcast", "conv 4", "tanh", "conv 2"]
        assert all(row.text.startswith(text) for row, text in zip(rows, texts, strict=True))
        assert [row.bands for row in rows] == [3, bands, 3, bands, bands, bands, bands]
    edges = describe(spec).rows
    assert edges[2].hertz == edges[-1].hertz == 1000.0  # all of the spectrum at 2 kHz


def test_layers_are_counted_as_the_papers_do():
    counts = {
        "alexnet": 8,
        "vgg16": 16,
        "vgg19": 19,
        "resnet18": 18,
        "resnet34": 34,
        "resnet50": 50,
        "m5": 5,
        "m18": 18,
    }
    assert {name: describe(shipped(name)).layers for name in counts} == counts


# What the dense layer would cost


def test_the_dense_layers_of_the_course_have_ten_billion_weights():
    """The University of Queensland's course: a million samples, 125 s at 8 kHz, through 10^4 and 10^3 neurons."""
    f = {"window_seconds": 125.0, "layers": [{"dense": 10_000}, {"dense": 1000}], "output_dense": False}
    found = describe(spec_from_table(table_of({**WAVEFORM, "sample_rate": 8000}, [], f), "dense", 1000))
    samples = 10**6
    assert found.geometry.window_samples == found.dense_inputs == samples
    assert [row.parameters for row in found.rows] == [0, samples * 10**4 + 10**4, 10**4 * 10**3 + 10**3]
    assert found.parameters == 10**10 + 10**7 + 11_000
    assert found.multiply_adds == 10**10 + 10**7
    assert (found.first_group, found.dense_weights) == (None, None)


def test_a_convolution_in_place_of_them_shares_its_weights():
    """On the same million samples: 10 maps of 800 samples, 100 ms, each 100 samples, 9,993 positions."""
    layers = [{"conv": 10, "kernel": 800, "stride": 100}]
    spec = spec_from_table(table_of({**WAVEFORM, "sample_rate": 8000}, layers, {"window_seconds": 125.0}), "conv")
    found = describe(spec)
    assert found.rows[1].output == Size(10, (9993,))
    assert (found.first_group, found.first_group_weights) == ("A", 10 * 801)
    assert (found.dense_inputs, found.dense_outputs) == (10**6, 99_930)
    assert found.dense_weights == 99_930_000_000


def test_with_a_size_the_dense_layer_is_from_that():
    found = describe(shipped("alexnet", 1000), Size(3, (227, 227)))
    assert (found.first_group, found.first_group_weights) == ("A", 96 * (3 * 11 * 11 + 1))
    assert (found.dense_inputs, found.dense_outputs) == (3 * 227 * 227, 96 * 27 * 27)


# --input


@contextmanager
def measured():
    """What stands inside takes less than a second and a few megabytes."""
    tracemalloc.start()
    begin = time.perf_counter()
    try:
        yield
        assert time.perf_counter() - begin < 1.0
        assert tracemalloc.get_traced_memory()[1] < 8e6
    finally:
        tracemalloc.stop()


def test_a_spec_without_any_kernel_takes_a_size_of_any_axes():
    """784 -> 200 -> 100 -> 10."""
    spec = shipped("dense_200_100", 10)
    for size in (Size(1, (28, 28)), Size(1, (784,)), Size(28, (28,)), Size(784, (1, 1))):
        found = describe(spec, size)
        assert [row.parameters for row in found.rows] == [784 * 200 + 200, 200 * 100 + 100, 100 * 10 + 10]
        assert found.parameters == 178_110


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (
            Size(3, (20_000, 20_000)),
            r"^x: the input: 3x20000x20000 numbers are 4\.8 GB as float32, too large to compute;",
        ),
        (Size(1, (9_999_999, 9_999_999)), r"^x: the input: 1x9999999x9999999 numbers are 399,999\.9 GB as float32"),
        (Size(1, (1000, 1000)), r'^x: group "A": layer 2: conv 999 1x1, relu: 999x1000x1000 numbers are 4\.0 GB as'),
        (Size(1, (700, 800)), r'^x: group "A": layer 1: conv 999 1x1, relu: 999x700x800 numbers are 2\.2 GB as'),
    ],
    ids=str,
)
def test_two_gigabytes_are_refused_and_not_tried(size, said):
    """The input, what a layer gives, and what one inside another gives."""
    wide, narrow = ({"conv": maps, "kernel": [1, 1]} for maps in (999, 1))
    inside = {"residual": [wide, narrow]}
    layers = [inside] if size.time == 800 else [narrow, wide]
    spec = spec_from_table(table_of(LOG_MEL, layers, {}), "x")
    with measured(), pytest.raises(SpecError, match=said) as caught:
        describe(spec, size)
    assert "\n" not in str(caught.value)


def test_a_size_of_just_less_is_described():
    spec = spec_from_table(table_of(LOG_MEL, [{"conv": 1, "kernel": [1, 1]}], {}), "x")
    assert describe(spec, Size(1, (2**14, 2**15))).rows[0].multiply_adds == 2**29
    with pytest.raises(SpecError, match=r"too large to compute; use fewer maps or a smaller input$"):
        describe(spec, Size(1, (2**14, 2**15 + 1)))


@pytest.mark.parametrize("name", ["alexnet", "vgg16", "vgg19", "googlenet", "resnet50", "resnet152"])
def test_a_large_network_is_described_at_once(name):
    spec = shipped(name, 1000)
    begin = time.perf_counter()
    assert describe(spec, Size(3, (227, 227))).parameters > 5e6
    assert time.perf_counter() - begin < 1.0


# The command


def described(*args, **more):
    done = audiocnn("describe", *args, **more)
    assert (done.status, done.err) == (ExitStatus.OK, "")
    return done.out


def test_the_json_has_all_that_the_table_has_and_more():
    (line,) = described("alexnet", "--input", "3x227x227", "--classes", "1000").splitlines()
    found = json.loads(line)
    assert (found["input"], found["classes"], found["parameters"]) == ("3x227x227", 1000, 60_965_224)
    assert (found["first_group"], found["first_group_weights"], found["weighted_layers"]) == ("A", 34_944, 8)
    assert found["dense_weights"] == 3 * 227 * 227 * 96 * 27 * 27
    first, *_, last = found["layers"]
    assert first == {
        "group": "A", "depth": 0, "kind": "conv", "text": "conv 96 11x11, stride 4x4, relu", "output": "96x55x55",
        "kernel": [11, 11], "dilation": [1, 1], "stride": [4, 4], "padding": [[0, 0], [0, 0]],
        "parameters": 34_944, "multiply_adds": 96 * 3 * 11 * 11 * 55 * 55, "reach": 11.0, "hop": 4.0, "bands": 11,
        "hertz": None,
    }  # fmt: skip
    assert (last["group"], last["parameters"], last["reach"], last["bands"]) == ("F", 4_097_000, 227, 227)
    (line,) = described("speech_2d").splitlines()
    found = json.loads(line)
    assert found["input"] is None
    assert found["window"] > found["hop"] > 0
    assert {row["kind"] for row in found["layers"]} >= {"input", "conv", "pool", "dense"}
    assert all(row["hertz"] > 0 for row in found["layers"])


@pytest.mark.parametrize("columns", [60, 80, 100, 140])
@pytest.mark.parametrize("path", shipped_specs(), ids=lambda path: path.stem)
def test_a_table_keeps_to_the_width_of_the_terminal(path, columns):
    out = described(path, terminal=True, COLUMNS=str(columns), NO_COLOR="1")
    title, *lines = out.splitlines()
    assert title.startswith(path.stem)
    assert max(map(len, lines)) <= columns
    assert f"weights    {spec_named(path).parameters():,} in " in out
    assert "if dense" in out
    wanted = {60: [], 80: ["hears"], 100: ["hears", "mult-adds"], 140: ["hears", "mult-adds", "hop"]}[columns]
    header = next(line for line in lines if line.split()[:1] == ["layer"])  # behind the title, which may take two lines
    assert all(title in header.split() for title in ["layer", "output", "weights", *wanted])


def test_two_networks_stand_side_by_side_group_by_group():
    out = described("conv_a_1d", "conv_a_pool_b_1d", terminal=True, COLUMNS="150", NO_COLOR="1")
    totals, layers = out.split("\n\n", 1)
    rows = {line[:20].strip(): line[20:].split() for line in totals.splitlines()}
    wanted = [describe(shipped(name)) for name in ("conv_a_1d", "conv_a_pool_b_1d")]
    assert rows[""] == ["conv_a_1d", "conv_a_pool_b_1d"]
    assert rows["weights"] == [f"{one.parameters:,}" for one in wanted]
    assert rows["layers"] == ["3", "4"]
    assert rows["shift-exact"] == ["yes", "yes"]
    assert rows["window"][::2] == [f"{one.geometry.window_seconds:.3g}" for one in wanted]
    assert set(rows) >= {
        "input",
        "if dense",
        "mult-adds per window",
        "per second of sound",
        "one score every",
        "score available",
        "onset after",
    }
    lines = [line for line in layers.splitlines() if line.strip()]
    beside = lines[0].index("conv_a_pool_b_1d") - 7  # where the names of the second network's groups stand
    groups = [(line[:6].strip(), line[beside : beside + 6].strip()) for line in lines[2:]]
    assert [pair for pair in groups if any(pair)] == [("input", "input"), ("A", "A"), ("", "B"), ("F", "F")]
    assert max(map(len, lines)) <= 150


def test_where_the_terminal_is_too_narrow_they_follow_each_other():
    out = described("conv_a_1d", "conv_a_pool_b_1d", terminal=True, COLUMNS="70", NO_COLOR="1")
    lines = out.splitlines()
    assert max(len(line) for line in lines if "A on raw" not in line) <= 70
    assert [line.split("  ")[0] for line in lines if line.startswith("conv_a")] == ["conv_a_1d", "conv_a_pool_b_1d"]
    assert "shift-exact" in lines[12]  # the totals still fit
    assert out.count("if dense") == 3


def test_several_names_off_a_terminal_are_a_line_each():
    names = ["conv_a_1d", "m5", "crnn"]
    assert [json.loads(line)["name"] for line in described(*names).splitlines()] == names
    assert described(*names, "--format", "json", terminal=True) == described(*names)


def test_groups_are_align_groups_by_their_names_else_by_their_places():
    def lines(*networks):
        return [[name for name, _ in line] for line in align_groups([[(x, []) for x in names] for names in networks])]

    assert lines(["input", "A", "F"], ["input", "A", "B", "F"]) == [
        ["input", "input"], ["A", "A"], ["", "B"], ["F", "F"],
    ]  # fmt: skip
    assert lines(["A", "B.1", "B.2", "C", "F"], ["A", "B.1", "B.2", "B.3", "C", "F"]) == [
        ["A", "A"], ["B.1", "B.1"], ["B.2", "B.2"], ["", "B.3"], ["C", "C"], ["F", "F"],
    ]  # fmt: skip
    assert lines(["C1", "S2", "F"], ["A", "B", "C", "F"]) == [["C1", "A"], ["S2", "B"], ["", "C"], ["F", "F"]]
    assert lines(["F"], ["A", "F"], ["A", "B", "F"]) == [["", "A", "A"], ["", "", "B"], ["F", "F", "F"]]
    assert lines(["A", "F"], ["F"]) == [["A", ""], ["F", "F"]]


def test_each_member_of_an_ensemble_is_described(tmp_path):
    specs = {name: shipped(name, 2) for name in ("conv_a_1d", "conv_ab_1d")}
    members = tuple(Member(name, spec, ("a", "b")) for name, spec in specs.items())
    folder = tmp_path / "both"
    write_model(Model("both", folder, members[0].spec, ("a", "b"), {"a": 0.5, "b": 0.5}, members=members))
    lines = [json.loads(line) for line in described(folder).splitlines()]
    assert [line["name"] for line in lines] == ["both/conv_a_1d", "both/conv_ab_1d"]
    assert [line["parameters"] for line in lines] == [spec.parameters() for spec in specs.values()]
    (one, two) = (json.loads(line) for line in described(folder, "--classes", "5").splitlines())
    assert one["classes"] == two["classes"] == 5
    out = described(folder, "conv_a_2d", terminal=True, COLUMNS="200", NO_COLOR="1")
    assert out.split("\n")[0].split() == ["both/conv_a_1d", "both/conv_ab_1d", "conv_a_2d"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (
            "alexnet --input 3x99999x99999",
            "alexnet: the input: 3x99999x99999 numbers are 120.0 GB as float32, too large",
        ),
        ("vgg16 --input 3x30x224", 'vgg16: group "E": layer 4: max-pool 2x2 needs at least 2 positions in frequency'),
        ("alexnet --input 3x227", "alexnet: is 2-D; give the input as CxHxW"),
        ("m5 --input 1x40x40", "m5: is 1-D; give the input as CxN"),
        ("m5 --input 0x40", '--input cannot be "0x40"; give whole numbers as CxHxW or CxN, such as 3x224x224'),
    ],
)
def test_a_size_that_does_not_fit_is_one_line(args, said):
    done = audiocnn("describe", *args.split())
    assert (done.status, done.out) == (ExitStatus.USAGE, "")
    assert done.err.startswith(f"audiocnn: error: {said}")
    assert done.err.count("\n") == 1


def test_the_numbers_of_the_front_end_follow_from_its_kernels():
    """100 ms at 1 kHz with an FFT of 128 are 65 bins: each a cosine and a sine of 100 samples and two squares; then 8
    bands of 65 bins."""
    table = {"features": "mel", "sample_rate": 1000, "frame_seconds": 0.1, "fft_samples": 128, "mels": 8}
    settings = read_input(TomlTable(dict(table), "x", SpecError))
    assert settings.kernels == 130
    front = describe(spec_from_table(table_of(table, [], {"window_seconds": 0.1}), "x")).rows[0]
    assert front.multiply_adds == 130 * 100 + 130 + 8 * 65
    assert read_input(TomlTable(dict(WAVEFORM), "x", SpecError)).kernels == 0


def test_the_manual_shows_what_the_command_prints():
    docs = Path(__file__).parents[2] / "docs"
    page = (docs / "how-to" / "describing.md").read_text(encoding="utf-8")
    fields = (docs / "reference" / "records.md").read_text(encoding="utf-8").partition("### `description`")[2]
    shown = page.split("```text\n")[1].split("```")[0]
    out = described("conv_a_pool_b_2d", "--format", "table", COLUMNS="98")
    assert "".join(line.rstrip() + "\n" for line in out.splitlines()) == shown
    (record,) = map(json.loads, described("conv_a_pool_b_2d").splitlines())
    assert [key for key in {*record} - {"schema", "type"} if f"| `{key}` " not in fields.partition("\n### ")[0]] == []
    assert [key for key in record["layers"][0] if f"`{key}`" not in page] == []
