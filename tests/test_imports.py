"""What starts fast stays fast: which packages a command brings along."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from fixtures_cli import PATH, RATE, tone, tone_model  # noqa: F401
from sounds import write

from audiocnn_cli.main import COMMANDS

ROOT = Path(PATH.split(":")[0])
HEAVY = {"torch", "librosa", "scipy", "matplotlib", "sklearn", "onnx", "onnxscript", "safetensors", "pydantic"}
HEAVY |= {"optuna", "tensorboard", "sqlalchemy"}
HEAVY |= {"ray", "fsspec", "pandas", "pyarrow"}
CODE = """
import json, sys
from audiocnn_cli.main import run
status = run(sys.argv[1:])
sys.stderr.write(json.dumps([int(status), sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def modules_of(*args):
    """The packages that a command has imported when it ends."""
    command = [sys.executable, "-c", CODE, *map(str, args)]
    done = subprocess.run(command, env={"PYTHONPATH": PATH}, capture_output=True, text=True, timeout=120, check=False)
    status, names = json.loads(done.stderr)
    assert status == 0, done.stderr
    return set(names)


def test_a_picture_needs_librosa_and_no_torch(tone_model, tmp_path):  # noqa: F811
    sound = write(tmp_path / "a.wav", tone((0.5, 1.0)), RATE)
    names = modules_of("plot", "--model", tone_model, sound, "-o", tmp_path / "a.png")
    assert {"librosa", "matplotlib"} <= names
    assert "torch" not in names


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_imports_next_to_nothing(option):
    assert not modules_of(option) & (HEAVY | {"numpy", "onnxruntime", "rich", "soundfile"})


@pytest.mark.parametrize("args", [["detect"], ["score"], ["classify"], ["detect", "-f", "csv"]], ids=" ".join)
def test_scoring_on_the_cpu_needs_onnx_runtime_alone(args, tone_model, tmp_path):  # noqa: F811
    names = modules_of(*args, "--model", tone_model, write(tmp_path / "a.wav", tone((0.5, 1.0)), RATE))
    assert "onnxruntime" in names
    assert not names & (HEAVY | {"rich"})


def test_nothing_is_written_at_home(tone_model, tmp_path):  # noqa: F811
    """ONNX Runtime keeps what it would tell its makers there, unless it is told not to."""
    home, sound = tmp_path / "home", write(tmp_path / "a.wav", tone((0.5, 1.0)), RATE)
    home.mkdir()
    command = [sys.executable, "-c", CODE, "detect", "--model", str(tone_model), str(sound)]
    env = {"PYTHONPATH": PATH, "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    assert subprocess.run(command, env=env, capture_output=True, timeout=120, check=False).returncode == 0
    assert list(home.rglob("*")) == []


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_needs_no_network(command):
    assert not modules_of(command, "--help") & (HEAVY | {"onnxruntime"})


@pytest.mark.parametrize(
    "args", [["models"], ["describe", "speech_2d", "conv_cqt"], ["info"], ["runs", ".", "-q"]], ids=" ".join
)
def test_looking_needs_no_network(args):
    assert not modules_of(*args) & (HEAVY | {"onnxruntime"})


def test_only_decoders_and_info_start_processes():
    """What they start is this Python or ffmpeg: nothing that lies in the folder that the command is called in."""
    starts = re.compile(r"\bsubprocess\b|\bos\.(system|popen|exec\w*|spawn\w*)\b")
    found = {
        path.relative_to(ROOT).as_posix()
        for folder in ("audiocnn", "cli")
        for path in (ROOT / folder).rglob("*.py")
        if starts.search(path.read_text(encoding="utf-8"))
    }
    known = {"audiocnn/audio/ffmpeg.py", "audiocnn/audio/sandbox.py", "cli/audiocnn_cli/commands/info/__init__.py"}
    assert found == known


def test_public_names_need_nothing_heavy():
    """Names alone, of functions and types; what is heavy comes when a function is called."""
    code = "import sys, audiocnn\nfor name in dir(audiocnn): getattr(audiocnn, name)\nprint(*sys.modules)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env={"PYTHONPATH": PATH}, capture_output=True, text=True, timeout=120, check=True)
    assert not {name.partition(".")[0] for name in done.stdout.split()} & (HEAVY | {"onnxruntime", "rich", "typer"})


def test_the_package_alone_imports_nothing():
    code = "import sys; before = set(sys.modules); import audiocnn; print(*set(sys.modules) - before)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env={"PYTHONPATH": PATH}, capture_output=True, text=True, timeout=120, check=True)
    assert {name for name in done.stdout.split() if name.startswith("audiocnn")} == {"audiocnn"}
    assert "numpy" not in done.stdout
