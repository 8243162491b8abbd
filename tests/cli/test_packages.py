"""Missing packages: before it begins, each command names them and how to install them."""

from __future__ import annotations

import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from fixtures_cli import PATH, audiocnn, tone_model, write_tones  # noqa: F401
from light_commands import LIGHT, NEEDS, stdin_of

import audiocnn as library
from audiocnn.errors import AudiocnnError
from audiocnn.packages import (
    DETECT_PACKAGES,
    DISTRIBUTIONS,
    OPTIONAL_PACKAGES,
    TRAIN_PACKAGES,
    check_packages,
    explain_import_error,
)
from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture
def here(tmp_path, monkeypatch, tone_model):  # noqa: F811
    write_tones(tmp_path)
    (tmp_path / "tone").symlink_to(tone_model)
    (tmp_path / "small.toml").write_text('base = "tone"\n')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def hide(monkeypatch, *modules):
    """`import` of them raises ModuleNotFoundError, and `find_spec` finds none."""
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)


def test_every_command_is_light_or_says_what_it_needs():
    assert {line.split()[0] for line in [*NEEDS, *LIGHT]} == set(COMMANDS)


@pytest.mark.parametrize(("line", "module"), [(line, module) for line in NEEDS for module in NEEDS[line]])
def test_a_missing_package_is_one_line_with_its_pip_install(here, monkeypatch, line, module):
    hide(monkeypatch, module)
    done = audiocnn(*line.split())
    assert done.status is ExitStatus.USAGE
    said = done.err.splitlines()
    assert len(said) == 1 and said[0].endswith(f"not installed: pip install {shlex.quote(DISTRIBUTIONS[module])}")
    assert not list(here.glob("made*"))


@pytest.mark.parametrize("line", NEEDS)
def test_all_that_is_missing_is_said_at_once(here, monkeypatch, line):
    hide(monkeypatch, *TRAIN_PACKAGES, *OPTIONAL_PACKAGES)
    said = audiocnn(*line.split()).err
    assert said.count("\n") == 1
    assert shlex.split(said.partition("pip install ")[2]) == [DISTRIBUTIONS[module] for module in NEEDS[line]]


@pytest.mark.parametrize("line", LIGHT)
def test_a_light_command_works_without_them(here, monkeypatch, line):
    hide(monkeypatch, *TRAIN_PACKAGES, *OPTIONAL_PACKAGES)
    done = audiocnn(*line.split(), stdin=stdin_of(line))
    assert done.status is ExitStatus.OK, done.err


@pytest.mark.parametrize("module", [*TRAIN_PACKAGES, *OPTIONAL_PACKAGES])
def test_a_package_that_a_command_did_not_foresee_is_named_all_the_same(monkeypatch, module):
    def surprised(terminal):
        __import__(module)

    monkeypatch.setattr("audiocnn_cli.commands.info.info", surprised)
    hide(monkeypatch, module)
    done = audiocnn("info")
    assert done.status is ExitStatus.USAGE
    assert done.err.endswith(f"pip install {shlex.quote(DISTRIBUTIONS[module])}\n") and done.err.count("\n") == 1


def test_a_module_that_nobody_publishes_is_a_bug_and_gets_no_pip_install(monkeypatch):
    def broken(terminal):
        import audiocnn.no_such_file  # noqa: F401

    monkeypatch.setattr("audiocnn_cli.commands.info.info", broken)
    done = audiocnn("info")
    assert done.status is ExitStatus.BUG and "pip install" not in done.err
    assert explain_import_error("x", ImportError("broken", name="torch")) is None


def test_the_library_raises_an_error_of_its_own(monkeypatch, tone_model):  # noqa: F811
    hide(monkeypatch, "torch")
    with pytest.raises(library.MissingPackageError, match=r"pip install torch$") as caught:
        library.load_engine(library.find_model(tone_model), "cuda")
    assert isinstance(caught.value, AudiocnnError) and isinstance(caught.value, ImportError)
    check_packages("nothing", [])


def test_the_packages_are_those_of_the_project():
    named = [text.partition(">")[0] for text in PROJECT["dependencies"]]
    assert sorted(named) == sorted([*DETECT_PACKAGES.values(), *TRAIN_PACKAGES.values()])
    extras = PROJECT["optional-dependencies"]
    optional = {text.partition(">")[0] for extra in ("tune", "tensorboard", "ray") for text in extras[extra]}
    assert optional <= set(OPTIONAL_PACKAGES.values())
    assert len(DISTRIBUTIONS) == len(DETECT_PACKAGES) + len(TRAIN_PACKAGES) + len(OPTIONAL_PACKAGES)


# Who imports what: files of audiocnn alone are asked, since packages try others that they can do without.
TRACE = """
import builtins, sys
wanted, seen, real = set(sys.argv.pop(1).split(",")), set(), builtins.__import__
def traced(name, globals=None, locals=None, fromlist=(), level=0):
    if globals and str(globals.get("__name__")).startswith("audiocnn"):
        seen.add(name.partition(".")[0])
    return real(name, globals, locals, fromlist, level)
builtins.__import__ = traced
from audiocnn_cli.main import run
status = run(sys.argv[1:])
print("\\nSEEN", int(status), *sorted(wanted & seen), file=sys.stderr)
"""


def imported_by(line):
    known = ",".join(DISTRIBUTIONS)
    command = [sys.executable, "-c", TRACE, known, *line.split()]
    done = subprocess.run(command, env={"PYTHONPATH": PATH}, capture_output=True, text=True, timeout=300, check=False)
    status, *seen = done.stderr.rpartition("SEEN ")[2].split()
    return int(status), set(seen), done.stderr


ELSEWHERE = ("cuda", "silero", "review", "search", "s3:", "--ray")  # a device, a server, an hour


@pytest.mark.long
@pytest.mark.parametrize("line", [line for line in NEEDS if not any(word in line for word in ELSEWHERE)])
def test_what_a_command_imports_is_what_it_says_that_it_needs(here, line):
    """Trainings name all: what of it they use depends on the recipe."""
    if "--tensorboard" in line:
        pytest.importorskip("tensorboard")
    more = " --epochs 1 --device cpu" if line.startswith("train") else ""
    status, seen, err = imported_by(line + more)
    assert status == 0 or line.startswith(("doubtful", "train")), err
    brought = {"scipy"} if "sklearn" in NEEDS[line] else set()  # by scikit-learn
    assert seen <= {*NEEDS[line], *DETECT_PACKAGES, *brought}, err


def test_the_light_commands_import_just_what_requirements_detect_lists(here):
    lines = (ROOT / "requirements-detect.txt").read_text(encoding="utf-8").splitlines()
    listed = {line for line in lines if line and line[0] not in "#-"}
    assert listed == set(DETECT_PACKAGES.values()) and "-c constraints.txt" in lines
    seen = set()
    for line in ("detect one.wav -m speech_1d -f table", "split one.wav -m tone --output-dir made", "info"):
        status, names, err = imported_by(line)
        assert status == 0, err
        seen |= names
    assert {DISTRIBUTIONS[name] for name in seen} == listed
