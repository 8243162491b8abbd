"""What is installed: the wheel is built and listed, for git-ignored and unnamed files drop out of it without a word."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import audiocnn

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {"audiocnn": ROOT, "audiocnn_cli": ROOT / "cli", "audiocnn_models": ROOT / "models"}
MODEL_PARTS = {"model.toml", "model.safetensors", "model.onnx", "README.md", "recipe.toml"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def built(folder, kind):
    """The file that hatchling makes of this checkout."""
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("needs hatchling, which `pip install -e '.[test]'` brings")
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.iterdir()
    return path


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    with zipfile.ZipFile(built(tmp_path_factory.mktemp("wheel"), "wheel")) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def expected():
    """Every file that belongs in the wheel: code, specs, released models."""
    for package, home in PACKAGES.items():
        for path in (home / package).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc":
                yield path.relative_to(home).as_posix()


def test_the_wheel_holds_every_file_of_the_packages_and_nothing_else(wheel):
    meta = f"audiocnn-{audiocnn.__version__}.dist-info/"
    assert {name for name in wheel if not name.startswith(meta)} == set(expected())


def test_the_wheel_holds_specs_and_whole_models(wheel):
    specs = {f"audiocnn_models/specs/{name}.toml" for name in ("speech_1d", "speech_2d", "speech_wave")}
    assert specs <= set(wheel)
    models = {name.split("/")[1] for name in wheel if name.endswith("/model.toml")}
    assert models == {path.parent.name for path in (ROOT / "models" / "audiocnn_models").glob("*/model.toml")}
    for model in models:
        for part in MODEL_PARTS:
            path = ROOT / "models" / "audiocnn_models" / model / part
            assert wheel[f"audiocnn_models/{model}/{part}"] == path.read_bytes()


def test_nothing_with_a_plain_name_reaches_site_packages(wheel):
    tops = {name.split("/")[0] for name in wheel}
    assert tops == {*PACKAGES, f"audiocnn-{audiocnn.__version__}.dist-info"}


def test_the_wheel_has_the_command_the_licence_and_the_types(wheel):
    meta = f"audiocnn-{audiocnn.__version__}.dist-info"
    assert b"audiocnn = audiocnn_cli.entry:start" in wheel[f"{meta}/entry_points.txt"]
    assert wheel[f"{meta}/licenses/LICENSE"] == (ROOT / "LICENSE").read_bytes()
    said = wheel[f"{meta}/METADATA"].decode()
    assert f"Requires-Python: {PROJECT['requires-python']}" in said
    for name in ("torch", "onnxruntime", "numpy", "soundfile", "soxr", "typer", "rich", "safetensors"):
        assert f"Requires-Dist: {name}>=" in said


def test_the_wheel_stays_small(wheel):
    assert sum(map(len, wheel.values())) < 60_000_000


def test_the_source_distribution_builds_and_leaves_data_out(tmp_path):
    with tarfile.open(built(tmp_path, "sdist")) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "audiocnn/__init__.py"} <= names
    assert {name for name in names if name.startswith(("data/", ".ci/"))} == set()
    assert set(expected()) <= {name.removeprefix("cli/").removeprefix("models/") for name in names}


def test_what_was_tested_together_covers_what_is_needed():
    """constraints.txt pins every direct dependency, those of the tests too."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {line.partition("==")[0].lower().replace("_", "-").replace(".", "-") for line in lines if "==" in line}
    wanted = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]
    names = {text.partition(">")[0].partition("[")[0].lower().replace("_", "-").replace(".", "-") for text in wanted}
    assert names <= pinned
