"""A model with known answers, and functions that run commands and capture their streams."""

from __future__ import annotations

import io
import math
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from sounds import sine, write

from audiocnn.model.export import export_onnx
from audiocnn.model.model import TOML, WEIGHTS, Model, write_model
from audiocnn.model.network import Network
from audiocnn.model.weights import save_weights
from audiocnn.segments.finder import SegmentRule
from audiocnn.spec.spec import spec_from_table
from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.app.terminal import Terminal
from audiocnn_cli.main import run

ROOT = Path(__file__).resolve().parents[2]
RATE = 8000
HERTZ = 1000
PATH = ":".join(map(str, (ROOT, ROOT / "cli", ROOT / "models")))


def small_spec(window_seconds: float, rate: int | None = None) -> str:
    """The TOML of a network that learns clips of tones in seconds. rate: in Hz; by default that of the recordings."""
    lines = ["[input]", 'features = "log_mel"', *([f"sample_rate = {rate}"] if rate else []), "mels = 16"]
    lines += ["[[groups]]", 'name = "A"', 'layers = [{ conv = 4, kernel = 3 }, { global = "average" }]']
    return "\n".join([*lines, "[f]", f"window_seconds = {window_seconds}", ""])


# One spectrum bin through a steep sigmoid, averaged over 0.1 s: detects 1 kHz above half of the amplitude 0.3.
TONE = {
    "summary": "hears 1 kHz",
    "input": {"features": "stft", "scale": "log", "sample_rate": RATE, "frame_seconds": 0.025, "fft_samples": 200},
    "groups": [{"name": "A", "layers": [{"conv": 1, "kernel": 1, "activation": "sigmoid"}]}],
    "f": {"window_seconds": 0.1},
}


def tone_network():
    """The network, with weights set by hand."""
    network = Network(spec_from_table(TONE, "tone", 1)).eval()
    half = math.log((0.3 * 200 / 4) ** 2 / 4)  # the power of the bin under a Hann window, at half the amplitude
    with torch.no_grad():
        conv, dense = (module for module in network.modules() if isinstance(module, torch.nn.Conv1d))
        conv.weight.zero_()
        conv.weight[0, HERTZ * 200 // RATE] = 4.0
        conv.bias.fill_(-4.0 * half)
        dense.weight.fill_(20.0 / dense.weight.shape[-1])
        dense.bias.fill_(-10.0)
    return network


@cache  # a fixture that is imported is a separate fixture in each file
def _tone_folder(make_folder):
    network = tone_network()
    model = Model("tone", make_folder("models") / "tone", network.spec, ("tone",), {"tone": 0.5}, "paper")
    write_model(model)
    save_weights(network, model.folder / WEIGHTS)
    export_onnx(model, network)
    return model.folder


@pytest.fixture(scope="session")
def tone_model(tmp_path_factory):
    """The folder of a model that detects a sine of 1 kHz, with its ONNX file. Made once, and only read."""
    return _tone_folder(tmp_path_factory.mktemp)


# Operating points for model.toml, and the rules that they stand for.
POINTS = """
[segments.tone]
neg_threshold = 0.3
min_speech = 0.2
min_silence = 0.4
pad = 0.05

[operating_points.tone.balanced]
detection_error_rate = 0.2
miss_rate = 0.15
measured_on = "ten meetings"

[operating_points.tone.sensitive]
threshold = 0.1
neg_threshold = 0.05
min_speech = 0.1
min_silence = 0.5
pad = 0.1
miss_rate = 0.03

[operating_points.tone.precise]
threshold = 0.9
neg_threshold = 0.8
min_silence = 0.02
pad = 0.0
false_segment_share = 0.005
"""
RULES = {
    "balanced": SegmentRule(0.5, 0.3, 0.2, 0.4, 0.05),
    "sensitive": SegmentRule(0.1, 0.05, 0.1, 0.5, 0.1),
    "precise": SegmentRule(0.9, 0.8, 0.25, 0.02, 0.0),
}


def copy_with_points(model, folder):
    """A copy of the tone model with operating points."""
    shutil.copytree(model, folder)
    text = (folder / TOML).read_text().replace("format = 1", "format = 3")
    (folder / TOML).write_text(text + POINTS)
    return folder


def tone(*spans, seconds=2.0, amplitude=0.3, sample_rate=RATE):
    """Silence with a tone of 1 kHz in each (start, end)."""
    samples = np.zeros(round(seconds * sample_rate), np.float32)
    for start, end in spans:
        first, last = round(start * sample_rate), round(end * sample_rate)
        samples[first:last] = sine(HERTZ, seconds, sample_rate, amplitude)[first:last]
    return samples


class Stream(io.StringIO):
    """A text stream that can claim to be a terminal."""

    def __init__(self, terminal):
        super().__init__()
        self.terminal = terminal

    def isatty(self):
        return self.terminal


@dataclass(frozen=True)
class Done:
    """The exit status and the output of a command."""

    status: ExitStatus
    out: str
    err: str


def audiocnn(*args, terminal=False, stdin=b"", **environ):
    """Run a command in this process."""
    given = io.BytesIO(stdin)
    given.name = "-"
    streams = Terminal(
        given, Stream(terminal), Stream(terminal), {"TERM": "xterm-256color", "COLUMNS": "80", **environ}
    )
    status = run([str(arg) for arg in args], streams)
    return Done(status, streams.stdout.getvalue(), streams.stderr.getvalue())


CODE = "import sys; from audiocnn_cli.main import run; sys.exit(run())"


def audiocnn_process(*args, **more):
    """Run a command in a separate process, with bytes on its streams."""
    settings = {"capture_output": True, "timeout": 120, **more}
    settings["env"] = {"PYTHONPATH": PATH, "PATH": "/usr/bin:/bin", **more.get("env", {})}
    return subprocess.run([sys.executable, "-c", CODE, *map(str, args)], check=False, **settings)


def write_tones(folder):
    """Three recordings, a table of their segments, and a folder of clips for each label."""
    write(folder / "one.wav", tone((0.5, 1.0)), RATE)
    write(folder / "two.wav", tone((0.3, 0.8), (1.2, 1.9)), RATE)
    write(folder / "none.wav", tone(), RATE)
    rows = ["filename\tonset\toffset\tevent_label", "one.wav\t0.5\t1.0\ttone", "two.wav\t0.3\t0.8\ttone"]
    (folder / "tones.tsv").write_text("\n".join([*rows, "two.wav\t1.2\t1.9\ttone", "none.wav\t\t\t"]) + "\n")
    for number in range(4):
        write(folder / "labels" / "tone" / f"{number}.wav", tone((0.0, 0.5 + number / 10), seconds=1.0), RATE)
        write(folder / "labels" / "none" / f"{number}.wav", tone(seconds=0.8 + number / 10), RATE)
    return folder
