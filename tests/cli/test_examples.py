"""Every example in the help texts and in `docs/how-to/pipelines.md` is run, in a folder with a few recordings.

Examples that train or take long are checked word by word instead: each option must be one of the command's.
"""

from __future__ import annotations

import inspect
import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import soundfile
from fixtures_cli import CODE, PATH, audiocnn

from audiocnn.model.model import DEFAULT_MODEL, shipped_folder
from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.main import COMMANDS, command_of

ROOT = Path(__file__).resolve().parents[2]
RUN = ("detect", "score", "classify", "convert", "split", "models", "describe", "info")
TOOLS = ("sox", "ffmpeg", "jq", "parallel", "make", "curl", "find", "arecord")
CRON = re.compile(r"^(?:[\d*/,-]+ ){5}(.+)$")


def examples(name):
    """The lines of a help text that are examples."""
    function = getattr(import_module(f"audiocnn_cli.commands.{name}"), name)
    _, _, block = (inspect.getdoc(function) or "").partition("\b\n")
    return [line.strip() for line in block.splitlines() if line.strip()]


def blocks(page):
    """The blocks of a page that are indented, blank lines inside them included."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.findall(r"(?m)^(?: {4}.*\n(?:[ \t]*\n(?= {4}))?)+", text)
    return [re.sub(r"(?m)^ {4}", "", block).rstrip("\n") for block in found]


LINES = [(name, line) for name in COMMANDS for line in examples(name)]
PIPELINES = blocks("docs/how-to/pipelines.md")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with what the examples name, and the command on the PATH."""
    samples, rate = soundfile.read(ROOT / "data" / "samples" / "greeting.flac")
    for name in ("interview.wav", "in.wav", "interview.mp3", "archive/a b.wav", "archive/x/c.wav", "recordings/d.flac"):
        path = tmp_path / "work" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, samples, rate)
    program = tmp_path / "bin" / "audiocnn"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\n{CODE}\n")
    program.chmod(0o755)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "recordings").symlink_to(tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    shutil.copy("in.wav", "recording.wav")
    shutil.copytree(shipped_folder() / DEFAULT_MODEL, "runs/mine/model")
    Path("error.txt").write_text("audiocnn: error: it does not work\n")
    audiocnn("detect", "interview.wav", "-o", "found.jsonl")
    audiocnn("detect", "interview.wav", "-f", "textgrid", "-o", "interview.TextGrid")
    audiocnn("detect", "interview.wav", "-f", "rttm", "-o", "meeting.rttm")
    return tmp_path


def shell(here, script, *command):
    """Run a script as a user would."""
    missing = [tool for tool in TOOLS if re.search(rf"(?<![\w./-]){tool} ", script) and shutil.which(tool) is None]
    if missing:
        pytest.skip(f"needs {' and '.join(missing)}")
    environ = {"PATH": f"{here / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": PATH, "HOME": str(here / "home")}
    command = command or ("bash", "-euo", "pipefail", "-c", script)
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=300, check=False)


def check_words(line):
    """Every command that a line calls has the options that it is called with."""
    for piped, part in itertools.groupby(shlex.split(line), lambda word: word == "|"):
        words = list(part)
        if piped or words[:1] != ["audiocnn"]:
            continue
        options = {option for param in command_of(words[1]).params for option in param.opts} | {"--help"}
        used = {word for word in words[2:] if re.match(r"--?[a-zA-Z]", word)}
        assert used <= options, f"{used - options} in {line}"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_examples(name):
    assert examples(name)


@pytest.mark.long
@pytest.mark.parametrize(("name", "line"), LINES, ids=[line for _, line in LINES])
def test_examples_of_the_help_texts(here, name, line):
    assert any("audiocnn " + name in one for _, one in LINES if _ == name)
    check_words(line)
    if name not in RUN:
        return
    if "arecord" in line:
        pytest.skip("needs a microphone")
    done = shell(here, line)
    assert done.returncode == ExitStatus.OK, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("block", PIPELINES, ids=[block.splitlines()[0] for block in PIPELINES])
def test_pipelines(here, block):
    Path("interview.TextGrid").unlink()
    if ":=" in block:
        Path("Makefile").write_text(block + "\n")
        Path("archive/a b.wav").rename("archive/a.wav")  # make has no words for names with spaces
        done = shell(here, "make -j 2")
        assert sorted(path.name for path in Path("archive").rglob("*.rttm")) == ["a.rttm"], done.stderr
        assert "is up to date" in shell(here, "make ").stdout or "Nothing to be done" in shell(here, "make ").stdout
        return
    cron = CRON.match(block)
    command = ("sh", "-c", cron[1].replace("\\%", "%").replace("--settled 5", "--settled 0.0001")) if cron else ()
    if cron:
        assert "%" not in cron[1], "cron takes a bare % for the end of a line"
    done = shell(here, block, *command)
    assert (done.returncode, "Traceback" in done.stderr) == (ExitStatus.OK, False), done.stderr
    if cron:
        assert (done.stdout, done.stderr) == ("", "")
        assert sorted(path.name for path in Path("labels").rglob("*.jsonl")) == ["a b.jsonl", "c.jsonl"]
    if block.startswith("parallel"):
        whole = audiocnn("detect", "archive/").out
        assert sorted(Path("all.jsonl").read_text().splitlines()) == sorted(whole.splitlines())


def test_the_page_has_what_people_look_for():
    page = (ROOT / "docs" / "how-to" / "pipelines.md").read_text(encoding="utf-8")
    for wanted in (
        "-print0 | audiocnn detect -0 --files-from -", "sox ", "--raw s16le", "| jq", "parallel ", "--shard {}/",
        "audiocnn split ", "%.rttm: %.wav", "5 3 * * *", "--resume",
    ):  # fmt: skip
        assert wanted in page, wanted
