"""Specs that do not fit, that are huge, and that mean harm: refused with one line, before a weight is made.

Every one is read from a file in a process where torch cannot be imported, and where each file that is opened and each
program that is started is written down.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tomli_w
import torch
from fixtures_cli import PATH, audiocnn
from fixtures_models import LOG_MEL, STFT, WAVEFORM, network_of, table_of

from audiocnn.errors import SpecError
from audiocnn.model.network import Network
from audiocnn.spec.spec import load_spec, spec_from_table
from audiocnn_cli.app.exits import ExitStatus

CONV = {"conv": 4, "kernel": [3, 3]}
WIDE, NARROW = {"conv": 10**6, "kernel": 1}, {"conv": 1, "kernel": 1}
FAST = {**WAVEFORM, "sample_rate": 384_000}


def groups(*rows, **f):
    """A spec on 8 mel bands with these lists of layers as groups A, B, ..."""
    named = [{"name": name, "layers": layers} for name, layers in zip("ABC", rows, strict=False)]
    return {"input": LOG_MEL, "groups": named, "f": {"window_seconds": 0.4, **f}}


def pool(*size):
    return {"pool": "max", "size": list(size)}


# name -> (spec, what the message says behind the name of the file); what starts with ^ is that, and nothing before it
DOES_NOT_FIT = {
    "kernel": (
        groups([CONV], [CONV, {"conv": 2, "kernel": [5, 1]}]),
        r'^group "B": layer 2: conv 2 5x1, relu needs at least 5 positions in frequency and gets 4 \(input 4x4x\d+\)',
    ),
    "kernel, dilated": (
        groups([{**CONV, "dilation": [4, 1]}]),
        r'^group "A": layer 1: conv 4 3x3, dilation 4x1, relu needs at least 9 positions in frequency and gets 8 \(inp',
    ),
    "kernel, in a residual": (
        groups([{"residual": [CONV, {**CONV, "kernel": [7, 1]}]}]),
        r'^group "A": layer 1: residual: layer 2: conv 4 7x1, relu needs at least 7 .* and gets 6 \(input 4x6x\d+\)',
    ),
    "kernel, in a branch": (
        groups([{"branches": [[CONV], [{**CONV, "kernel": [9, 1]}]]}]),
        r'^group "A": layer 1: branch 2: layer 1: conv 4 9x1, relu needs at least 9 .* and gets 8 \(input 1x8x\d+\)',
    ),
    "kernel, over the mean of bands": (
        groups([{"broadcast": [{"conv": 1, "kernel": [2, 1]}]}]),
        r'^group "A": layer 1: broadcast: layer 1: conv 1 2x1, relu needs at least 2 .* and gets 1 \(input 1x1x\d+\)',
    ),
    "pooled to nothing": (
        groups([CONV, pool(3, 2)], [pool(3, 1)]),
        r'^group "B": layer 1: max-pool 3x1 needs at least 3 positions in frequency and gets 2 \(input 4x2x\d+\)',
    ),
    "pooled to nothing, in a repeat": (
        {"input": LOG_MEL, "groups": [{"name": "A", "layers": [pool(2, 1)], "repeat": 4}], "f": {"window_seconds": 1}},
        r'^group "A": layer 1: max-pool 2x1 needs at least 2 positions in frequency and gets 1 \(input 1x1x\d+\)',
    ),
    "split of what comes in": (
        groups([{**CONV, "conv": 6, "split": 2}]),
        r'^group "A": layer 1: split = 2 does not divide 1 channels in and 6 out$',
    ),
    "split of what goes out": (
        groups([CONV, {**CONV, "conv": 6, "split": 4}]),
        r'^group "A": layer 2: split = 4 does not divide 4 channels in and 6 out$',
    ),
    "bands of a norm": (
        groups([CONV, {"norm": "sub_spectral", "bands": 4}]),
        r'^group "A": layer 2: bands = 4 does not divide the 6 positions in frequency$',
    ),
    "broadcast to other channels": (
        groups([CONV, {"broadcast": [{"conv": 3, "kernel": [1, 1]}]}]),
        r'^group "A": layer 2: broadcast: 4 channels of one band go in, but 3x1x\d+ come out; keep both the same$',
    ),
    "branches of other lengths": (
        groups([{"branches": [[CONV], [pool(2, 2)]]}]),
        r'^group "A": layer 1: the branches have strides 1, 2; they must be equal$',
    ),
    "a window of zero": (groups([CONV], window_seconds=0), r'^\[f\]: "window_seconds" must be a number above 0 .* 0$'),
    "a window below zero": (groups([CONV], window_seconds=-1.0), r'^\[f\]: "window_seconds" must be a number above 0'),
    "a window that is no number": (groups([CONV], window_seconds=float("nan")), r'"window_seconds" .*, not nan$'),
    "a window without end": (groups([CONV], window_seconds=float("inf")), r'"window_seconds" .*, not inf$'),
    "a window of padding": (
        groups([{**CONV, "kernel": [1, 9], "padding": [0, 8]}], window_seconds=0.001),
        r"^the window consists of padding only; use less padding or a longer window_seconds$",
    ),
    "no neuron in F": (
        groups([CONV], layers=[{"dense": 0}]),
        r'^\[f\]: layer 1: "dense" must be a whole number from 1',
    ),
    "nothing in F": (groups([CONV], output_dense=False), r"^\[f\]: no layer combines the positions of a window;"),
}

# Two gigabytes as float32 are 2**29 numbers
HUGE = {
    "samples": (table_of(FAST, [], {"window_seconds": 3600.0}), r"^one window of 1x1382400000 numbers is too large"),
    "channels": (
        table_of({**WAVEFORM, "channels": 64, "sample_rate": 8000}, [], {"window_seconds": 3600.0}),
        r"^one window of 64x28800000 numbers is too large; shorten window_seconds or the input$",
    ),
    "bands": (
        table_of({**LOG_MEL, "mels": 4096}, [CONV], {"window_seconds": 3600.0}),
        r"^one window of 1x4096x\d+ numbers is too large",
    ),
    "the samples under few frames": (
        table_of({"features": "mel", "sample_rate": 384_000, "hop_seconds": 1.0}, [], {"window_seconds": 3600.0}),
        r"^one window of 1x1382\d+ samples is too large; use smaller kernels or window_seconds$",
    ),
    "the spectrum under few bands": (
        table_of({**LOG_MEL, "mels": 1, "hop_seconds": 0.0005, "fft_samples": 2**15}, [], {"window_seconds": 600.0}),
        r"^one window of 1x\d+ numbers is too large",
    ),
    "one frame": (
        table_of({**STFT, "sample_rate": 384_000, "frame_seconds": 60.0, "fft_samples": 2**25}, [], {}),
        r"^\[input\]: 16777217 bins over 23040000 samples are too many; use a shorter frame or fewer bins$",
    ),
    "maps": (
        table_of(WAVEFORM, [WIDE, WIDE], {"window_seconds": 2.0}),
        r'^group "A": layer 1: conv 1000000 1, relu: 1000000x4000 numbers are 16\.0 GB as float32, too large to comp',
    ),
    "maps in a residual": (
        table_of(WAVEFORM, [{"residual": [WIDE, NARROW]}], {}),
        r'^group "A": layer 1: inside: layer 1: conv 1000000 1, relu: 1000000x800 numbers are 3\.2 GB as float32',
    ),
    "maps in a branch": (
        table_of(WAVEFORM, [{"branches": [[NARROW], [NARROW, WIDE, NARROW]]}], {}),
        r'^group "A": layer 1: branch 2: layer 2: conv 1000000 1, relu: 1000000x800 numbers are 3\.2 GB as float32',
    ),
    "branches joined": (
        table_of(WAVEFORM, [{"branches": [[{**WIDE, "conv": 500_000}]] * 3}], {}),
        r'^group "A": layer 1: 3 branches, channels joined: 1500000x800 numbers are 4\.8 GB as float32, too large',
    ),
    "a kernel": (
        table_of(WAVEFORM, [{"conv": 1, "kernel": 10**7 - 1, "dilation": 10**7 - 1}], {}),
        r"^one window of 1x999999\d+ numbers is too large",
    ),
    "padding": (
        table_of(WAVEFORM, [{"conv": 1, "kernel": 10**6, "dilation": 10**6, "padding": "same"}], {}),
        r"^one window of 1x9999990\d+ samples is too large; use smaller kernels or window_seconds$",
    ),
    "strides": (
        {
            "input": WAVEFORM,
            "groups": [{"name": "A", "layers": [{"pool": "max", "size": 10**6}] * 3, "repeat": 1000}],
            "f": {"window_seconds": 1.0},
        },
        r"^one window of 1x10\^1[78]\d{3} numbers is too large",  # a number of 18,000 digits is not printed
    ),
    "neighbours": (
        table_of(WAVEFORM, [{"norm": "local_response", "neighbours": 10**9}], {}),
        r'^group "A": layer 1: "neighbours" must be a whole number from 1 to 1000, not 1000000000$',
    ),
    "layers": (
        {
            "input": WAVEFORM,
            "groups": [{"name": "A", "layers": [NARROW] * 11, "repeat": 1000}],
            "f": {"window_seconds": 1.0},
        },
        r'^group "A": more than 10000 layers, including repeats, are too many; use fewer$',
    ),
    "a file": ("#" * 5_000_000, r"^too large for a TOML file of this kind \(5000000 bytes\); check the name$"),
}

RIGHT = """
[input]
features = "log_mel"
[[groups]]
name = "A"
layers = [{ conv = 4, kernel = 3 }]
[f]
window_seconds = 0.5
"""


def changed(old, new):
    assert old in RIGHT
    return RIGHT.replace(old, new)


CODE = """__import__('os').system('touch touched')"""
MEANS_HARM = {
    "code for maps": (
        changed("conv = 4", f'conv = "{CODE}"'),
        r'layer 1: "conv" must be a whole number from 1 to 1000000',
    ),
    "code for a kernel": (changed("kernel = 3", f'kernel = "{CODE}"'), r'layer 1: "kernel" must be one whole number'),
    "code for a padding": (
        changed("kernel = 3", f'kernel = 3, padding = "{CODE}"'),
        r'"padding" must be a number, "same"',
    ),
    "code for seconds": (changed("0.5", f'"{CODE}"'), r'^\[f\]: "window_seconds" must be a number above 0'),
    "code for the file": (f"import os; {CODE}", r"^not valid TOML: "),
    "code behind it": (RIGHT + CODE, r"^not valid TOML: "),
    "a python object": ("!!python/object/apply:os.system ['touch touched']", r"^not valid TOML: "),
    "an attribute as activation": (
        changed("kernel = 3", 'kernel = 3, activation = "__class__"'),
        r'layer 1: "activation" cannot be "__class__"; known: elu, gelu',
    ),
    "an attribute as pool": (changed("conv = 4, kernel", 'pool = "__init__", size'), r'"pool" cannot be "__init__"'),
    "an attribute as kind": (changed("conv = 4", '"__class__" = 4'), r'"__class__" is not a kind of layer'),
    "an attribute as features": (changed("log_mel", "__class__"), r'^\[input\]: "features" cannot be "__class__"'),
    "a dotted attribute": (changed("[f]", "[f.__class__.__init__]\nx = 1\n[f]"), r'^\[f\]: unknown key "__class__"'),
    "a dotted key": ("input.features.__class__ = 'x'\n", r'^\[input\]: "features" must be a string, not \{'),
    "a table of attributes": (RIGHT + "[__class__]\n", r'^unknown key "__class__"; known: defaults, f, groups, input'),
    "a path as features": (changed("log_mel", "../../etc/passwd"), r'"features" cannot be "\.\./\.\./etc/passwd"'),
    "an address as features": (changed("log_mel", "file:///etc/passwd"), r'"features" cannot be "file:///etc/passwd"'),
    "a path as a group": (changed('"A"', '"../../etc/passwd"'), r'"name" must be letters, digits, _ or -, not '),
    "an empty byte in a group": (changed('"A"', r'"A\u0000B"'), r'"name" must be letters, digits, _ or -, not '),
    "a path as layers": (
        changed("[{ conv = 4, kernel = 3 }]", '"other.toml"'),
        r"a list of layers was expected, not '",
    ),
    "a path as a layer": (
        changed("{ conv = 4, kernel = 3 }", '"other.toml"'),
        r"layer 1: expected a table, not 'o",
    ),
    "another spec": ('spec = "other.toml"\n' + RIGHT, r'^unknown key "spec"; known: '),
    "another file": (changed("[f]", '[f]\nfile = "other.toml"'), r'^\[f\]: unknown key "file"; '),
    "another base": (changed("[input]", 'extends = "other.toml"\n[input]'), r'^unknown key "extends"; '),
    "a whole number without end": (changed("conv = 4", "conv = " + "9" * 5000), r"^not valid TOML: "),
    "a whole number of 30 digits": (
        changed("conv = 4", "conv = " + "9" * 30),
        r'"conv" must be a whole number .*9{30}$',
    ),
    "a number as text": (changed("kernel = 3", 'kernel = "3"'), r"\"kernel\" must be one whole number, .*, not '3'$"),
    "a switch as a number": (
        changed("kernel = 3", "kernel = true"),
        r'"kernel" must be one whole number, .*, not True$',
    ),
    "colours in a key": (changed("[f]", '[f]\n"\\u001b[31mred" = 1'), r"^\[f\]: unknown key "),
    "lists without end": (changed("[{ conv = 4, kernel = 3 }]", "[" * 5000 + "]" * 5000), r"^not valid TOML: "),
}
EVERY = {f"{name}": case for cases in (DOES_NOT_FIT, HUGE, MEANS_HARM) for name, case in cases.items()}

READ = """
import json, sys, time, tracemalloc
sys.modules["torch"] = None  # importing it fails
from pathlib import Path
from audiocnn.spec.spec import load_spec
from audiocnn.spec.describe import describe
from audiocnn.errors import SpecError

NOTED = ("open", "exec", "compile", "os.", "subprocess.", "socket.", "ctypes.", "shutil.", "urllib.")
seen, noting = [], False

def note(event, arguments):
    if noting and event.startswith(NOTED):
        seen.append([event, str(arguments[0])])

sys.addaudithook(note)
describe(load_spec(Path("right.toml")))
tracemalloc.start()
for path in sorted(Path(".").glob("*.toml")):
    tracemalloc.reset_peak()
    seen.clear()
    begin, said = time.perf_counter(), None
    noting = True
    try:
        describe(load_spec(path))
    except SpecError as problem:
        said = str(problem)
    noting = False
    done = {"said": said, "seconds": time.perf_counter() - begin, "events": list(seen)}
    print(json.dumps({"file": path.name, "bytes": tracemalloc.get_traced_memory()[1], **done}))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Every bad spec as a file, and two that are right."""
    folder = tmp_path_factory.mktemp("specs")
    for number, (spec, _) in enumerate(EVERY.values()):
        text = spec if isinstance(spec, str) else tomli_w.dumps(spec)
        (folder / f"bad{number}.toml").write_text(text, encoding="utf-8")
    (folder / "right.toml").write_text(RIGHT)
    (folder / "other.toml").write_text('summary = "../../etc/passwd; $(touch touched)"\n' + RIGHT)
    return folder


@pytest.fixture(scope="module")
def read(folder):
    """file -> what reading it came to."""
    done = subprocess.run(
        [sys.executable, "-c", READ], cwd=folder, env={"PYTHONPATH": PATH}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return {row["file"]: row for row in rows}


def file_of(name):
    return f"bad{list(EVERY).index(name)}.toml"


@pytest.mark.parametrize("name", EVERY)
def test_it_is_refused_with_one_line_before_torch_is_imported(name, read):
    said = read[file_of(name)]["said"]
    assert said is not None, "it was read as if it were right"
    place, _, fact = said.partition(": ")
    assert place == file_of(name)
    assert re.search(EVERY[name][1], fact), said
    assert "\n" not in said
    assert len(said) < 300


@pytest.mark.parametrize("name", EVERY)
def test_it_is_refused_at_once_and_costs_no_memory(name, read):
    """No more than the 5 MB of the largest file, twice."""
    assert read[file_of(name)]["seconds"] < 1.0
    assert read[file_of(name)]["bytes"] < 10e6


@pytest.mark.parametrize("name", [*EVERY, "right.toml", "other.toml"])
def test_no_file_but_itself_is_opened_and_nothing_is_run(name, read, folder):
    file = file_of(name) if name in EVERY else name
    assert read[file]["events"] == [["open", file]]
    assert not list(folder.rglob("touched"))


def test_what_a_spec_says_of_itself_is_text_and_no_more(read, folder):
    assert read["right.toml"]["said"] is read["other.toml"]["said"] is None
    assert load_spec(folder / "other.toml").summary == "../../etc/passwd; $(touch touched)"


@pytest.mark.parametrize("name", EVERY)
def test_the_command_says_the_same_in_one_line(name, folder, monkeypatch):
    monkeypatch.chdir(folder)
    done = audiocnn("describe", file_of(name), terminal=True)
    assert (done.status, done.out) == (ExitStatus.USAGE, "")
    assert done.err.startswith(f"audiocnn: error: {file_of(name)}: ")
    assert done.err.count("\n") == 1
    assert done.err.rstrip("\n").isprintable()


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs /dev/zero")
def test_a_file_that_never_ends_is_not_read_to_its_end():
    with pytest.raises(
        SpecError, match=r"^/dev/zero: too large for a TOML file of this kind \(4000001 bytes\); check the name$"
    ):
        load_spec(Path("/dev/zero"))


@pytest.mark.parametrize(
    ("table", "weights"),
    [
        (table_of(WAVEFORM, [WIDE, WIDE], {"window_seconds": 0.0005}), 10**12),
        (table_of(LOG_MEL, [{"conv": 10**4, "kernel": [8, 1]}, {"conv": 10**4, "kernel": [1, 31]}], {}), 3 * 10**9),
        (table_of(WAVEFORM, [], {"layers": [{"dense": 10**6}, {"dense": 10**6}]}), 10**12),
        (table_of(WAVEFORM, [], {"layers": [{"recurrent": 10**5}]}), 3 * 10**10),
        (table_of(WAVEFORM, [], {"window_seconds": 500.0, "layers": [{"dense": 1000}]}), 10**9),
    ],
    ids=["1-D", "2-D", "dense", "recurrent", "dense on a long window"],
)
def test_weights_of_gigabytes_are_counted_and_refused_before_the_first_is_made(table, weights, monkeypatch):
    def make(*_, **__):
        raise AssertionError("a tensor was made")

    spec = spec_from_table(table, "my.toml")
    assert weights <= spec.parameters() <= 1.1 * weights
    for name in ("empty", "zeros", "ones", "from_numpy", "tensor"):
        monkeypatch.setattr(torch, name, make)
    with pytest.raises(SpecError, match=r"^my: [\d,]+ weights are too many \(at most 536,870,912\); use fewer maps$"):
        Network(spec)


@pytest.mark.parametrize("name", ["forward", "__init__", "__class__", "state_dict", "keys", "training", "_modules"])
def test_a_group_may_have_the_name_of_anything(name):
    """It stays a name: the network is built, runs, and saves its weights under it."""
    table = {"input": LOG_MEL, "groups": [{"name": name, "layers": [{"conv": 2, "kernel": 3}]}], "f": groups()["f"]}
    network = network_of(spec_from_table(table, "named"))
    samples = torch.zeros(1, 1, network.geometry.window_samples)
    assert network(samples).shape == (1, 1, 1)
    assert any(key.startswith(f"groups.{name}") for key in network.state_dict())
