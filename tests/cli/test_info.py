"""`info --bundle`: the file has what a bug report needs, and no secrets."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from fixtures_cli import RATE, audiocnn, tone, tone_model  # noqa: F401
from sounds import write

from audiocnn import __version__
from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.commands.info import DEFAULT_BUNDLE
from audiocnn_cli.commands.info.bundle import VARIABLES


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(path=DEFAULT_BUNDLE):
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name).decode() for name in archive.namelist()}


def bundle(*args, **environ):
    done = audiocnn("info", "--bundle", *args, **environ)
    assert done.status is ExitStatus.OK, done.err
    return done


def test_a_bundle_lists_what_is_in_it_and_sends_nothing(here):
    done = bundle()
    record = json.loads(done.out)
    files = contents()
    assert (record["type"], record["file"]) == ("bundle", DEFAULT_BUNDLE)
    assert {one["file"]: one["bytes"] for one in record["files"]} == {k: len(v.encode()) for k, v in files.items()}
    assert all(one["about"] for one in record["files"]) and "nothing was sent" in done.err
    facts = json.loads(files["info.json"])
    assert facts["packages"]["numpy"] == np.__version__
    shown = audiocnn("info", "--bundle", "-o", "shown.zip", terminal=True, NO_COLOR="1").out
    assert all(name in shown for name in files)


@pytest.mark.parametrize(
    "name",
    ["AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "HTTPS_PROXY", "MY_PASSWORD", "PATH", "SSH_AUTH_SOCK", "RAY_TOKEN"],
)
def test_what_the_environment_hides_stays_hidden(here, name):
    bundle(**{name: "hush-hush"})
    assert not any("hush-hush" in text or name in text for text in contents().values())


@pytest.mark.parametrize("name", [name for name in VARIABLES if name not in ("TERM", "COLUMNS")])
def test_variables_that_matter_are_told(here, name):
    bundle(**{name: "7"})
    assert json.loads(contents()["environment.json"])[name] == "7"


def test_the_home_folder_is_a_tilde_everywhere(here, tone_model):  # noqa: F811
    home = here / "jane"
    shutil.copytree(tone_model, home / "tone")
    sound = write(home / "a.wav", tone(), RATE)
    (home / "log").write_text(f"{home}/x {home}2 see https://me:pw@host/a.wav?Signature=abc\n/mnt{home}/y\n")
    bundle(sound, "-m", home / "tone", "--log", home / "log", HOME=str(home), TMPDIR=f"{home}/tmp")
    files = contents()
    assert json.loads(files["recording.json"])["file"] == "~/a.wav"
    assert json.loads(files["model.json"])["folder"] == "~/tone"
    assert json.loads(files["environment.json"])["TMPDIR"] == "~/tmp"
    said = files["log.txt"]
    assert said == f"~/x {home}2 see https://***@host/a.wav?***\n/mnt{home}/y\n"
    assert not any(f"{home}/" in text for name, text in files.items() if name != "log.txt")


def test_a_model_is_told_by_its_metadata_and_sums(here, tone_model):  # noqa: F811
    bundle("-m", tone_model)
    files = contents()
    facts = json.loads(files["model.json"])
    assert facts["labels"] == ["tone"] and files["model.toml"] == (tone_model / "model.toml").read_text()
    for part, found in facts["files"].items():
        content = (tone_model / part).read_bytes()
        assert found == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert {"model.toml", "model.onnx", "model.safetensors"} <= set(facts["files"])


def test_a_damaged_model_is_what_a_report_is_about(here, tone_model):  # noqa: F811
    shutil.copytree(tone_model, here / "broken")
    (here / "broken" / "model.toml").write_bytes(b"format = \xff")
    bundle("-m", "broken")
    facts = json.loads(contents()["model.json"])
    assert facts["error"] and set(facts["files"]) >= {"model.toml", "model.onnx"}


def test_of_a_recording_the_header_and_no_sample(here):
    sound = write(here / "a.wav", tone((0.5, 1.0)), RATE)
    bundle(sound)
    facts = json.loads(contents()["recording.json"])
    assert (facts["sample_rate"], facts["channels"], facts["seconds"]) == (RATE, 1, 2.0)
    assert bytes.fromhex(facts["first bytes"]) == Path(sound).read_bytes()[:12]
    assert facts["bytes"] == Path(sound).stat().st_size
    assert Path(DEFAULT_BUNDLE).stat().st_size < 6000 < facts["bytes"]


@pytest.mark.parametrize("content", [b"", b"RIFF\0\0", b"no sound at all, but some text", bytes(500)])
def test_a_recording_that_cannot_be_opened_says_why(here, content):
    (here / "bad.wav").write_bytes(content)
    bundle("bad.wav")
    assert json.loads(contents()["recording.json"])["error"]


def test_nothing_is_overwritten_unasked(here):
    bundle("-o", "mine.zip")
    before = (here / "mine.zip").read_bytes()
    done = audiocnn("info", "--bundle", "-o", "mine.zip")
    assert done.status is ExitStatus.USAGE and "--force" in done.err
    assert (here / "mine.zip").read_bytes() == before
    bundle("-o", "mine.zip", "--force", "-m", "speech_1d")
    assert "model.toml" in contents("mine.zip")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--bundle", "none.wav"], "none.wav: no such file"),
        (["--bundle", "https://host/a.wav"], "copy the recording"),
        (["--bundle", "-m", "none"], 'no model is called "none"'),
        (["--bundle", "--log", "none.txt"], "--log none.txt: cannot be read"),
        (["--bundle", "--log", "."], "--log .: "),
        (["--bundle", "-o", "."], "-o .: is a folder"),
        (["--bundle", "-o", "file/x.zip"], "-o file/x.zip: file is not a folder"),
        (["a.wav"], "give --bundle too"),
        (["-m", "speech_1d"], "give --bundle too"),
        (["-o", "x.zip"], "give --bundle too"),
        (["--log", "x.txt"], "give --bundle too"),
    ],
)
def test_wrong_use_is_one_line_and_makes_nothing(here, args, words):
    (here / "file").write_text("")
    done = audiocnn("info", *args)
    assert done.status is ExitStatus.USAGE
    assert words in done.err and done.err.count("\n") == 1 and "Traceback" not in done.err
    assert sorted(path.name for path in here.iterdir()) == ["file"]


def test_a_folder_is_no_recording(here):
    done = audiocnn("info", "--bundle", str(here))
    assert done.status is ExitStatus.USAGE and "is a folder; give the recording" in done.err


def test_the_table_has_the_version_as_it_is_written():
    rows = [line.split() for line in audiocnn("info", terminal=True, NO_COLOR="1").out.splitlines()]
    assert ["audiocnn", __version__] in rows
