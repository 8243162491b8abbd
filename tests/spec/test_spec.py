"""Specs: read in full, refused with file, group and layer, and the geometry that follows from the sizes."""

from __future__ import annotations

import copy
import math
import time
import tomllib

import pytest
from fixtures_models import LOG_MEL, RATE, SPECS, WAVEFORM, network_of, shipped_specs, spec_named, table_of

from audiocnn.errors import SpecError
from audiocnn.model.model import spec_folders
from audiocnn.model.network import MOST_WEIGHTS, Network
from audiocnn.spec.layers import Conv, Dense, Global, Pool
from audiocnn.spec.spec import MOST_LAYERS, find_spec, load_spec, spec_from_table

# The spec that stands in the design, word for word.
SPEECH_2D = """
summary = "A, max-pool, B, max-pool, F on log-mel patches"

[input]
features = "log_mel"
sample_rate = 16000
channels = 1
frame_seconds = 0.025
hop_seconds = 0.010
fft_samples = 400
mels = 64

[defaults]                                     # for convolutions that do not say otherwise
norm = "batch"
activation = "relu"

[[groups]]
name = "A"
layers = [
    { conv = 16, kernel = [3, 3] },            # sizes in 2-D: [frequency, time]; in 1-D one number
    { conv = 16, kernel = [3, 3] },
    { pool = "max", size = [2, 2] },           # max | average | l2; stride = size unless given; padding
]

[[groups]]
name = "B"
layers = [
    { conv = 32, kernel = [3, 3] },
    { conv = 32, kernel = [3, 3] },
    { pool = "max", size = [4, 1] },
]

[f]
window_seconds = 0.6                           # wanted; `describe` prints what the sizes really give
hop_seconds = 0.02                             # wanted; a whole number of positions
layers = [{ dense = 64, dropout = 0.5 }]
output = "sigmoid"                             # sigmoid: labels stand alone; softmax: one of them
"""


def read(text, classes=None):
    return spec_from_table(tomllib.loads(text), "speech_2d.toml", classes)


def test_the_spec_of_the_design_is_read_in_full():
    spec = read(SPEECH_2D)
    assert (spec.name, spec.summary) == ("speech_2d", "A, max-pool, B, max-pool, F on log-mel patches")
    assert (spec.dims, spec.classes, [group.name for group in spec.groups]) == (2, 1, ["A", "B"])
    conv, _, pool = spec.groups[0].layers
    assert conv == Conv(16, (3, 3), (1, 1), ((0, 0), (0, 0)), (1, 1), norm="batch", activation="relu")
    assert pool == Pool("max", (2, 2), (2, 2), ((0, 0), (0, 0)))
    assert spec.f.layers == (Dense(64, "relu", 0.5),)
    assert spec.head == (Dense(64, "relu", 0.5), Dense(1))
    assert (spec.f.output, spec.f.output_dense) == ("sigmoid", True)


def test_the_sizes_of_the_spec_of_the_design_by_hand():
    """9,600 samples are wanted. Positions are 320 apart; 23 of them are 58 frames, 400 + 57 * 160 = 9,520 samples, and
    24 would be 9,840. 58 frames - 4 = 54, pooled 27, - 4 = 23; 64 bands - 4 = 60, pooled 30, - 4 = 26, pooled 6."""
    spec = read(SPEECH_2D)
    geometry = spec.geometry()
    assert (geometry.window_samples, geometry.hop_samples, geometry.positions) == (9520, 320, 23)
    assert spec.window_size().axes == (64, 58)
    a = (1 * 9 * 16 + 32) + (16 * 9 * 16 + 32)
    b = (16 * 9 * 32 + 64) + (32 * 9 * 32 + 64)
    assert spec.parameters() == a + b + (32 * 6 * 23 + 1) * 64 + 65


def test_the_constants_of_the_input_are_kept_in_full_and_a_spec_can_be_read_again():
    spec = read(SPEECH_2D, classes=3)
    assert spec.table["input"]["floor"] == 1e-8
    assert spec.table["input"]["mel_scale"] == "slaney"
    again = spec_from_table(spec.table, spec.name, 3)
    assert again == spec
    assert spec.with_classes(5).classes == 5
    assert spec.with_classes(5).parameters() == spec.parameters() + 2 * 65


def test_without_labels_there_is_one_class_or_two_with_softmax():
    assert spec_from_table(table_of(LOG_MEL, [], {}), "x").classes == 1
    assert spec_from_table(table_of(LOG_MEL, [], {"output": "softmax"}), "x").classes == 2


def test_axes_are_counted_by_the_first_kernel_or_pool():
    residual = {
        "residual": [{"norm": "batch"}, {"branches": [[{"activation": "relu"}], [{"pool": "max", "size": [1, 1]}]]}]
    }
    assert spec_from_table(table_of(LOG_MEL, [residual], {}), "x").dims == 2
    assert spec_from_table(table_of(LOG_MEL, [{"norm": "batch"}], {}), "x").dims == 1


def test_a_group_is_repeated_as_written_out():
    layers = [{"conv": 8, "kernel": 3, "activation": "none"}]
    repeated = table_of(LOG_MEL, [], {}, groups=[{"name": "A", "layers": layers, "repeat": 3}])
    assert spec_from_table(repeated, "x").layers == spec_from_table(table_of(LOG_MEL, layers * 3, {}), "x").layers


def test_a_global_at_the_end_belongs_to_f():
    spec = spec_named("global_l2")
    assert spec.head == (Global("l2"),)
    assert Global("l2") not in spec.body


@pytest.mark.parametrize("name", [*SPECS, *shipped_specs()], ids=str)
def test_parameters_by_arithmetic_are_those_of_torch(name):
    spec = spec_named(name)
    assert spec.parameters() == sum(weight.numel() for weight in Network(spec).parameters())


# Geometry


@pytest.mark.parametrize("name", [*SPECS, *shipped_specs()], ids=str)
def test_the_geometry_keeps_its_promises(name):
    spec = spec_named(name)
    geometry = spec.geometry()
    pads = geometry.pad_start + geometry.pad_end
    core = geometry.window_samples - pads  # the fewest samples that give one score
    step = geometry.hop_samples // geometry.hop_positions
    wanted = spec.f.window_seconds * geometry.sample_rate
    assert abs(core - wanted) <= step / 2 or geometry.positions == 1
    assert geometry.hop_samples == step * geometry.hop_positions
    assert geometry.shift_exact == (pads == 0)
    assert (
        geometry.extend_start + geometry.extend_end + geometry.pad_start + geometry.pad_end
        == geometry.window_samples - 1
    )
    # The centre of the first window, and that of the first hop, are the same to half a sample.
    centre = (geometry.window_samples - 1 + geometry.skew) / 2 - geometry.pad_start - geometry.extend_start
    assert abs(centre - (geometry.hop_samples - 1) / 2) <= 0.5
    for samples in (0, 1, geometry.hop_samples - 1, geometry.hop_samples, geometry.hop_samples + 1, 10**7):
        assert geometry.rows(samples) == math.ceil(samples / geometry.hop_samples)
        if samples:
            whole = spec.input.receptive_field.then(spec.receptive_field())
            positions = whole.out(samples + geometry.extend_start + geometry.extend_end)
            rows = (positions - geometry.positions) // geometry.hop_positions + 1
            assert rows == geometry.rows(samples)


@pytest.mark.parametrize(
    ("wanted", "hop", "rows"), [(0.02, 40, 1), (0.05, 80, 2), (0.051, 120, 3), (0.1, 200, 5), (9.0, 18000, 450)]
)
def test_a_hop_is_the_nearest_whole_number_of_positions(wanted, hop, rows):
    layers = [{"pool": "max", "size": 2}]
    geometry = spec_from_table(table_of(LOG_MEL, layers, {"hop_seconds": wanted}), "x").geometry()
    assert (geometry.hop_samples, geometry.hop_positions) == (hop, rows)
    assert geometry.hop_seconds == hop / RATE


def test_a_window_is_never_less_than_one_position():
    layers = [{"conv": 2, "kernel": 31}]
    geometry = spec_from_table(table_of(LOG_MEL, layers, {"window_seconds": 1e-6}), "x").geometry()
    assert (geometry.positions, geometry.window_samples) == (1, 64 + 30 * 20)
    assert geometry.window_seconds == 664 / RATE


# What is refused


def changed(**parts):
    """A table that is right but for these parts."""
    table = {
        "input": dict(LOG_MEL),
        "groups": [
            {"name": "A", "layers": [{"conv": 4, "kernel": 3}]},
            {"name": "B", "layers": [{"pool": "max", "size": 2}]},
        ],
        "f": {"window_seconds": 0.4, "layers": [{"dense": 4}]},
    }
    return copy.deepcopy(table | parts)


def group(layers, **more):
    return [{"name": "A", "layers": [{"conv": 4, "kernel": 3}]}, {"name": "B", "layers": layers, **more}]


def f(**parts):
    return {"window_seconds": 0.4, **parts}


CONV = {"conv": 4, "kernel": 3}
IN_B = 'my.toml: group "B": '
REFUSED = {
    "unknown_part": (changed(grups=[]), 'my.toml: unknown key "grups"; did you mean "groups"?'),
    "summary": (changed(summary=3), 'my.toml: "summary" must be a string, not 3'),
    "no_input": ({"f": f()}, 'my.toml: [input]: "features" is missing'),
    "input_text": (changed(input="log_mel"), "my.toml: [input]: expected a table"),
    "features": (changed(input={"features": "logmel"}), '"features" cannot be "logmel"; did you mean "log_mel"?'),
    "input_key": (changed(input={**LOG_MEL, "chanels": 1}), '[input]: unknown key "chanels"; did you mean "channels"?'),
    "waveform_mels": (changed(input={**WAVEFORM, "mels": 8}), 'my.toml: [input]: unknown key "mels"; known: '),
    "rate": (
        changed(input={**LOG_MEL, "sample_rate": 400_000}),
        '"sample_rate" must be a whole number from 1 to 384000',
    ),
    "rate_1": (
        changed(input={"features": "log_mel", "sample_rate": 1}),
        "less than one sample at 1 Hz; make it longer",
    ),
    "fft": (changed(input={**LOG_MEL, "fft_samples": 63}), '"fft_samples" must be a whole number from 64 to'),
    "mel_range": (changed(input={**LOG_MEL, "low_hertz": 900, "high_hertz": 800}), '"low_hertz" 900 must be below'),
    "mel_above": (
        changed(input={**LOG_MEL, "high_hertz": 1001}),
        '"high_hertz" must be a number above 0 and at most 1000',
    ),
    "mfcc": (
        changed(input={**LOG_MEL, "features": "mfcc", "coefficients": 9}),
        '"coefficients" 9 must be at most "mels" 8',
    ),
    "cqt_above": (
        changed(input={"features": "cqt", "sample_rate": RATE, "bins": 84}),
        "must lie between 0 and 1000 Hz",
    ),
    "huge_frame": (
        changed(input={"features": "stft", "sample_rate": 384_000, "frame_seconds": 0.3, "hop_seconds": 0.1}),
        "my.toml: [input]: 57601 bins over 115200 samples are too many; use a shorter frame or fewer",
    ),
    "groups_text": (changed(groups="A"), 'my.toml: "groups" must be written as [[groups]] tables'),
    "group_text": (changed(groups=["A"]), "my.toml: group 1: expected a table, not 'A'"),
    "misspelt": (changed(groups=group([{"conv": 4, "kernal": 3}])), 'unknown key "kernal"; did you mean "kernel"?'),
    "group_f": (changed(groups=[{"name": "F", "layers": [CONV]}]), '"F" is the name of the part after all groups'),
    "group_name": (changed(groups=[{"layers": [CONV]}]), 'my.toml: group 1: "name" is missing'),
    "group_dot": (
        changed(groups=[{"name": "A.B", "layers": [CONV]}]),
        "\"name\" must be letters, digits, _ or -, not 'A.B'",
    ),
    "group_empty": (changed(groups=[{"name": "", "layers": [CONV]}]), '"name" must be letters, digits, _ or -'),
    "group_twice": (changed(groups=group([CONV])[:1] * 2), 'my.toml: group "A": two groups have this name; rename one'),
    "group_layers": (changed(groups=[{"name": "A"}]), 'my.toml: group "A": "layers" is missing'),
    "group_none": (changed(groups=group([])), IN_B + "a list of layers was expected, not []"),
    "group_key": (changed(groups=group([CONV], repeats=2)), IN_B + 'unknown key "repeats"; did you mean "repeat"?'),
    "repeat": (changed(groups=group([CONV], repeat=0)), IN_B + '"repeat" must be a whole number from 1 to 1000'),
    "layer_key": (
        changed(groups=group([CONV, {"conv": 4, "kernal": 3}])),
        IN_B + 'layer 2: unknown key "kernal"; did you mean "kernel"?',
    ),
    "layer_unknown": (
        changed(groups=group([CONV, {**CONV, "dilution": 2}])),
        IN_B + 'layer 2: unknown key "dilution"; did you mean "dilation"?',
    ),
    "layer_inside": (
        changed(groups=group([{"residual": [CONV, {**CONV, "strides": 1}]}])),
        IN_B + 'layer 1: residual: layer 2: unknown key "strides"; did you mean "stride"?',
    ),
    "mixed_axes": (
        changed(groups=group([{"conv": 4, "kernel": [3, 3]}])),
        IN_B + 'layer 1: "kernel" must be one whole number',
    ),
    "mixed_axes_2d": (
        changed(groups=[{"name": "A", "layers": [{"conv": 4, "kernel": [3, 3]}, CONV]}]),
        'my.toml: group "A": layer 2: "kernel" is one number here and two elsewhere in this spec',
    ),
    "dense_in_group": (changed(groups=group([{"dense": 4}])), IN_B + "layer 1: dense 4, relu belongs in [f]"),
    "dense_deep": (changed(groups=group([{"branches": [[{"dense": 4}], [CONV]]}])), "dense 4, relu belongs in [f]"),
    "recurrent_in_group": (changed(groups=group([{"recurrent": 4}])), IN_B + "layer 1: gru 4 belongs in [f]"),
    "global_first": (
        changed(groups=group([{"global": "max"}, CONV])),
        IN_B + "layer 1: global max-pool must be the last layer of the last group",
    ),
    "global_earlier": (
        changed(groups=[{"name": "A", "layers": [{"global": "max"}]}, *group([CONV])[1:]]),
        'my.toml: group "A": layer 1: global max-pool must be the last layer',
    ),
    "global_inside": (
        changed(groups=group([{"residual": [{"global": "max"}]}])),
        "global max-pool must be the last layer",
    ),
    "global_repeated": (
        changed(groups=group([CONV, {"global": "max"}], repeat=2)),
        "global max-pool must be the last layer",
    ),
    "kernel": (
        changed(groups=[{"name": "A", "layers": [{"conv": 4, "kernel": [3, 1]}, {"conv": 4, "kernel": [7, 1]}]}]),
        'my.toml: group "A": layer 2: conv 4 7x1, relu needs at least 7 positions in frequency and gets 6 (input 4x6x',
    ),
    "pooled_away": (
        changed(groups=[{"name": "A", "layers": [{"pool": "max", "size": [4, 1]}], "repeat": 2}]),
        'group "A": layer 1: max-pool 4x1 needs at least 4 positions in frequency and gets 2 (input 1x2x',
    ),
    "split": (
        changed(groups=group([{"conv": 6, "kernel": 3, "split": 3}])),
        IN_B + "layer 1: split = 3 does not divide 4 channels in and 6 out",
    ),
    "bands": (
        changed(
            groups=[{"name": "A", "layers": [{"norm": "sub_spectral", "bands": 3}, {"conv": 4, "kernel": [3, 3]}]}]
        ),
        'group "A": layer 1: bands = 3 does not divide the 8 positions in frequency',
    ),
    "strides": (
        changed(groups=group([{"branches": [[CONV], [{**CONV, "stride": 2}]]}])),
        IN_B + "layer 1: the branches have strides 1, 2; they must be equal",
    ),
    "align_branches": (
        changed(groups=group([{"residual": [{**CONV, "padding": [2, 0]}]}])),
        IN_B + "layer 1: the branches cannot be aligned; give them paddings",
    ),
    "f_missing": ({"input": LOG_MEL}, 'my.toml: [f]: "window_seconds" is missing'),
    "window_zero": (changed(f=f(window_seconds=0)), '[f]: "window_seconds" must be a number above 0'),
    "window_nan": (
        changed(f=f(window_seconds=math.nan)),
        '"window_seconds" must be a number above 0 and at most 3600, not nan',
    ),
    "hop_negative": (changed(f=f(hop_seconds=-1)), '[f]: "hop_seconds" must be a number above 0'),
    "f_key": (changed(f=f(window=1)), '[f]: unknown key "window"; did you mean "window_seconds"?'),
    "f_output": (changed(f=f(output="soft")), '"output" cannot be "soft"; did you mean "softmax"?'),
    "f_conv": (changed(f=f(layers=[CONV])), "belongs in a group; F takes dense, recurrent, dropout, activation"),
    "f_norm": (changed(f=f(layers=[{"norm": "local_response"}])), "local_response norm belongs in a group"),
    "f_pool": (changed(f=f(layers=[{"pool": "max", "size": 1}])), "max-pool 1 belongs in a group"),
    "f_global": (changed(f=f(layers=[{"dense": 3}, {"global": "max"}])), "global max-pool belongs in a group"),
    "f_recurrent": (changed(f=f(layers=[{"dense": 3}, {"recurrent": 4}])), "gru 4 must be the first layer of F"),
    "f_recurrent_global": (
        changed(groups=group([{"global": "max"}]), f=f(layers=[{"recurrent": 4}])),
        "gru 4 must be the first layer of F, and cannot follow a global",
    ),
    "f_nothing": (changed(f=f(output_dense=False)), "[f]: no layer combines the positions of a window"),
    "f_scores": (
        changed(f=f(layers=[{"dense": 7}], output_dense=False)),
        "my.toml: [f] gives 7 scores for 1 labels; drop output_dense = false",
    ),
    "defaults": (
        changed(defaults={"norms": "batch"}),
        'my.toml: [defaults]: unknown key "norms"; did you mean "norm"?',
    ),
    "defaults_norm": (changed(defaults={"norm": "layer"}), '[defaults]: "norm" cannot be "layer"; known: batch, none'),
    "padding_alone": (
        changed(groups=[{"name": "A", "layers": [{**CONV, "kernel": 9, "padding": 8}]}], f=f(window_seconds=0.001)),
        "the window consists of padding only; use less padding or a longer window_seconds",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_wrong_specs_are_refused_with_file_group_and_layer(name):
    table, said = REFUSED[name]
    with pytest.raises(SpecError) as caught:
        spec_from_table(table, "somewhere/my.toml")
    assert str(caught.value).startswith("my.toml: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_table_that_the_refused_ones_change_is_right():
    assert spec_from_table(changed(), "my.toml").parameters() > 0


HUGE = {
    "window": changed(input={**WAVEFORM, "sample_rate": 384_000}, f=f(window_seconds=3600)),
    "maps": changed(
        input={**LOG_MEL, "mels": 512},
        groups=[{"name": "A", "layers": [{"conv": 10**6, "kernel": [1, 1]}] * 2}],
        f=f(window_seconds=60.0),
    ),
    "layers": changed(
        groups=[{"name": "A", "layers": [{"activation": "relu"}] * (MOST_LAYERS // 1000 + 1), "repeat": 1000}]
    ),
    "inside": changed(groups=group([{"branches": [[{"activation": "relu"}] * 99, []]}], repeat=1000)),
}


@pytest.mark.parametrize("name", HUGE)
def test_gigabytes_are_refused_at_once_and_not_tried(name):
    begin = time.perf_counter()
    with pytest.raises(SpecError, match=r"too (large|many)"):
        spec_from_table(HUGE[name], "my.toml")
    assert time.perf_counter() - begin < 2.0


@pytest.mark.parametrize(
    "table",
    [
        changed(groups=[], f=f(layers=[{"dense": 10**6}, {"dense": 10**6}])),
        changed(groups=group([{"conv": 10**6, "kernel": 1}, {"conv": 10**6, "kernel": 1}])),
        changed(f=f(layers=[{"recurrent": 10**5}])),
    ],
    ids=["dense", "conv", "recurrent"],
)
def test_weights_of_gigabytes_can_be_counted_but_are_not_made(table):
    begin = time.perf_counter()
    spec = spec_from_table(table, "my.toml")
    assert spec.parameters() > 10**10
    with pytest.raises(
        SpecError, match=rf"^my: [\d,]+ weights are too many \(at most {MOST_WEIGHTS:,}\); use fewer maps$"
    ):
        Network(spec)
    assert time.perf_counter() - begin < 2.0


def test_layers_that_are_nested_without_end_are_refused(tmp_path):
    deep = "[{ residual = " * 60 + "[{ conv = 2, kernel = 1 }]" + " }]" * 60
    path = tmp_path / "deep.toml"
    path.write_text(
        f'[input]\nfeatures = "log_mel"\n[[groups]]\nname = "A"\nlayers = {deep}\n[f]\nwindow_seconds = 1\n'
    )
    with pytest.raises(SpecError, match=r"layers are nested more than 16 deep; use fewer levels$"):
        load_spec(path)


def test_a_file_of_5_mb_is_refused(tmp_path):
    path = tmp_path / "large.toml"
    path.write_bytes(b"#" * 5_000_000)
    with pytest.raises(SpecError, match=r"large\.toml: too large .*\(5000000 bytes\)"):
        load_spec(path)


# How specs are found


def test_a_spec_is_found_by_name_or_by_file(tmp_path):
    for path in shipped_specs():
        assert find_spec(path.stem, spec_folders()) == find_spec(str(path), []) == load_spec(path)
    mine = tmp_path / "mine.toml"
    mine.write_text(SPEECH_2D)
    assert find_spec(str(mine), spec_folders(), classes=4).classes == 4
    assert find_spec(str(mine), spec_folders()).name == "mine"


def test_a_spec_that_is_not_there_gets_the_nearest_name(tmp_path):
    with pytest.raises(
        SpecError,
        match=r'^no spec is called "speech1d"; did you mean "speech_1d"\?; see `audiocnn models`, or name a TOML file$',
    ):
        find_spec("speech1d", spec_folders())
    with pytest.raises(SpecError, match=r"none\.toml: cannot be read \(No such file or directory\)"):
        find_spec("none.toml", spec_folders())
    with pytest.raises(SpecError, match=r'^no spec is called "xxx'):
        find_spec("x" * 5000, spec_folders())
    with pytest.raises(SpecError, match=r"cannot be read \(Is a directory\)"):
        find_spec(str(tmp_path), spec_folders())


def test_groups_may_have_any_name_that_is_a_word():
    """Also one that torch has a method of, and one that a repeated group makes."""
    layers = [{"conv": 3, "kernel": 3}]
    groups = [{"name": name, "layers": layers} for name in ("keys", "train", "A_1", "größe", "3a")]
    groups.append({"name": "A", "repeat": 2, "layers": layers})
    spec = spec_from_table(table_of(LOG_MEL, [], {}, groups=groups), "x")
    assert len(network_of(spec).groups) == 7


# Look-ahead


@pytest.mark.parametrize("look_ahead", [0.005, 0.02, 0.05, 0.095])
def test_what_lies_behind_the_middle_of_a_row_is_the_look_ahead(look_ahead):
    f = {"window_seconds": 0.1, "hop_seconds": 0.01, "look_ahead_seconds": look_ahead}
    geometry = spec_from_table(table_of(WAVEFORM, [], f), "x").geometry()
    assert geometry.look_ahead_seconds == pytest.approx(look_ahead, abs=1 / RATE)
    assert geometry.back_samples + geometry.hop_samples + geometry.extend_end >= geometry.window_samples - 1
    # Where it is not said, half of the window does.
    del f["look_ahead_seconds"]
    assert spec_from_table(table_of(WAVEFORM, [], f), "x").geometry().look_ahead_seconds == pytest.approx(0.05)


@pytest.mark.parametrize("look_ahead", [0.0, 0.004, 0.097, 3.0])
def test_a_window_that_does_not_hear_its_row_is_refused(look_ahead):
    f = {"window_seconds": 0.1, "hop_seconds": 0.01, "look_ahead_seconds": look_ahead}
    with pytest.raises(SpecError, match=r'\[f\]: "look_ahead_seconds" .* give 0\.005 to 0\.095$'):
        spec_from_table(table_of(WAVEFORM, [], f), "x")
