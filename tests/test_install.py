"""Installations as the manual and the Dockerfile have them, each in a new environment."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import pytest
from fixtures_cli import tone_model, write_tones  # noqa: F401
from light_commands import LIGHT, NEEDS, stdin_of

from audiocnn.packages import DISTRIBUTIONS
from audiocnn_cli.app.exits import ExitStatus

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "how-to" / "installing.md").read_text(encoding="utf-8")
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
MOST_LIGHT_BYTES = 250_000_000
SYSTEM = ("apt-get", "useradd")  # commands that change the system, which no test does
TARGETS = {"detect": "detect-build", "train": "train-build"}


def run(command, cwd, folder=None, **more):
    """A line of a shell; with the programs of an environment, if one is given."""
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    env["PATH"] = f"{folder / 'bin'}:{env['PATH']}" if folder else f"{Path(sys.executable).parent}:{env['PATH']}"
    settings = {"capture_output": True, "timeout": 1500, **more}
    settings["env"] = {**env, **more.get("env", {})}
    return subprocess.run(["sh", "-e", "-c", command], cwd=cwd, check=False, **settings)


def succeed(command, cwd, folder=None, **more):
    done = run(command, cwd, folder, **more)
    assert done.returncode == 0, done.stdout.decode()[-2000:] + done.stderr.decode()[-2000:]
    return done.stdout.decode()


def command_in_page(beginning):
    """The command of the page that begins so, without what is said behind it."""
    (line,) = (line.strip() for line in PAGE.splitlines() if line.startswith(f"    {beginning}"))
    return re.split(r"\s{2,}#", line)[0]


def size_on_disk(folder):
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*"))


@pytest.fixture(scope="module")
def light(tmp_path_factory):
    """An environment with the light installation."""
    folder = tmp_path_factory.mktemp("light") / "env"
    succeed(f"python -m venv {folder}", ROOT)
    succeed(command_in_page("pip install -r requirements-detect.txt"), ROOT, folder)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def here(tmp_path, monkeypatch, tone_model):  # noqa: F811
    write_tones(tmp_path)
    (tmp_path / "tone").symlink_to(tone_model)
    (tmp_path / "small.toml").write_text('base = "tone"\n')
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.long
def test_the_light_installation_is_small_and_has_what_was_tested_together(light):
    assert size_on_disk(light) <= MOST_LIGHT_BYTES
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    pins = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pins.items()}
    listed = json.loads(succeed("pip list --format json", ROOT, light))
    found = {re.sub(r"[-_.]+", "-", one["name"]).lower(): one["version"] for one in listed}
    tools = {"pip", "setuptools", "audiocnn"}
    assert {name: pins.get(name) for name in found if name not in tools} == {
        name: version for name, version in found.items() if name not in tools
    }


@pytest.mark.long
@pytest.mark.parametrize("line", LIGHT)
def test_a_light_command_works_in_it(light, here, line):
    succeed(f"audiocnn {line}", here, light, input=stdin_of(line))


@pytest.mark.long
@pytest.mark.parametrize("line", NEEDS)
def test_any_other_names_what_is_missing(light, here, line):
    done = run(f"audiocnn {line}", here, light)
    said = done.stderr.decode()
    assert done.returncode == ExitStatus.USAGE and said.count("\n") == 1, said
    assert shlex.split(said.partition("pip install ")[2]) == [DISTRIBUTIONS[module] for module in NEEDS[line]]


PYTHON = """
import numpy as np

import audiocnn
found = audiocnn.detect("one.wav", "tone")
assert [round(x.start, 1) for x in found] == [0.5], found
engine = audiocnn.load_engine(audiocnn.find_model("tone"))
assert len(audiocnn.score("one.wav", "tone").scores)
stream = audiocnn.Stream(sample_rate=8000)
stream.push(np.zeros(8000, np.float32))
try:
    audiocnn.load_engine(engine.model, "cuda")
except audiocnn.MissingPackageError as problem:
    print(problem)
"""


@pytest.mark.long
def test_python_works_in_it(light, here):
    (here / "try.py").write_text(PYTHON)
    assert "pip install torch" in succeed("python try.py", here, light)


@pytest.mark.long
def test_the_commands_for_machines_without_a_network(light, tmp_path):
    """pip fetches nothing where it installs: `--no-index`."""
    for name in ("requirements-detect.txt", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    wheels, folder = tmp_path / "wheels", tmp_path / "env"
    succeed(command_in_page("pip wheel -w wheels").replace("-w wheels", f"-w {wheels}"), ROOT, light)
    succeed(f"python -m venv {folder}", tmp_path)
    offline = [line.strip() for line in PAGE.splitlines() if line.startswith("    pip install --no-index")]
    assert len(offline) == 2
    for line in offline:
        succeed(line, tmp_path, folder, env={"PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull})
    assert "segment" in succeed(f"audiocnn detect {ROOT / 'data' / 'samples' / 'greeting.flac'}", tmp_path, folder)


@dataclass
class Stage:
    base: str
    lines: list[tuple[str, str]]  # an instruction and what stands behind it


def read_stages():
    """The stages of the Dockerfile by name."""
    stages = {}
    text = re.sub(r"\\\n\s*", "", DOCKERFILE)
    for line in text.splitlines():
        word, _, rest = line.partition(" ")
        if word == "FROM":
            base, name = re.fullmatch(r"(\S+) AS (\S+)", rest).groups()
            current = stages[name] = Stage(base, [])
        elif word and word != "#" and not (word == "ARG" and not stages):
            current.lines.append((word, rest.strip()))
    return stages


def lines_of(stages, name):
    """What a stage does, that of the stage that it begins with first."""
    stage = stages[name]
    return [*(lines_of(stages, stage.base) if stage.base in stages else []), *stage.lines]


def test_the_dockerfile_copies_files_that_there_are_and_that_are_sent():
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    sent = {line[1:] for line in ignored if line.startswith("!")}
    assert "*" in ignored
    copied = set()
    for stage in read_stages().values():
        for word, rest in stage.lines:
            if word == "COPY" and not rest.startswith("--from="):
                copied.update(shlex.split(rest)[:-1])
    assert copied == sent
    assert all((ROOT / name).exists() for name in copied)
    assert not any(fnmatch(name, pattern) for name in copied for pattern in ignored if pattern[0] not in "*!#")


def test_the_dockerfile_has_both_targets_and_no_root():
    stages = read_stages()
    assert set(TARGETS) <= set(stages) and list(stages)[-1] == "train"
    for target, build in TARGETS.items():
        lines = lines_of(stages, target)
        assert ("USER", "audiocnn") in lines and ("ENTRYPOINT", '["audiocnn"]') in lines
        assert ("COPY", f"--from={build} /opt/audiocnn /opt/audiocnn") in lines
        users = [number for number, (word, _) in enumerate(lines) if word == "USER"]
        assert not any(word == "RUN" for word, _ in lines[users[0] :])
        for word, rest in lines_of(stages, target):
            assert word != "RUN" or any(name in rest for name in SYSTEM)
        assert {word for word, _ in lines_of(stages, build)} == {"WORKDIR", "COPY", "RUN", "ENV"} | (
            {"ARG"} if target == "train" else set()
        )


@pytest.mark.long
@pytest.mark.parametrize("target", TARGETS)
def test_the_commands_of_the_dockerfile_make_an_environment_that_works(target, tmp_path, here):
    source, env = tmp_path / "src", tmp_path / "opt"
    source.mkdir()
    # The index of torch for processors cannot be everywhere; any other has the same version.
    arguments = {"TORCH_INDEX": os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple")}
    for word, rest in lines_of(read_stages(), TARGETS[target]):
        if word == "COPY":
            *names, place = shlex.split(rest)
            for name in names:
                to = source / place / (name if place.endswith("/") else "")
                (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, to)
        elif word == "RUN":
            succeed(rest.replace("/opt/audiocnn", str(env)), source, env, env=arguments)
    shutil.rmtree(source)
    assert succeed("audiocnn --help", here, env)
    for line in LIGHT:
        if "made" not in line:
            succeed(f"audiocnn {line}", here, env, input=stdin_of(line))
    if target == "train":
        assert succeed("pip check", here, env)
        succeed("audiocnn filters tone", here, env)
    shutil.rmtree(env)
