"""Folders with unreadable parts, with every command that takes a folder: each part is reported in one line and counted,
and the rest is processed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from fixtures_cli import RATE, audiocnn, tone, tone_model  # noqa: F401
from sounds import write

from audiocnn_cli.app.exits import ExitStatus
from tests.helpers.fuzz.folders import WITHOUT_RIGHTS, run_without_rights

BAD = ("in/label/forbidden", "in/label/pipe.wav", "in/label/dangling.flac")


@pytest.fixture
def here(tmp_path, monkeypatch, tone_model):  # noqa: F811
    """A folder with two recordings, and with entries before and behind them that cannot be read."""
    for name in ("a", "z"):
        write(tmp_path / "in" / "label" / f"{name}.wav", tone((0.2, 0.6), seconds=1.0), RATE)
    (tmp_path / "in/label/dangling.flac").symlink_to("/nowhere/b.flac")
    os.mkfifo(tmp_path / "in/label/pipe.wav")
    (tmp_path / "in/label/forbidden").mkdir()
    scandir = os.scandir

    def forbid(folder):
        if str(folder).endswith("forbidden"):
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", forbid)
    (tmp_path / "tone").symlink_to(tone_model)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("how", [("in",), ("in", "--glob", "*.*"), ("--files-from", "list")])
@pytest.mark.parametrize("command", ["detect", "score", "classify"])
def test_what_cannot_be_read_in_a_folder_is_told_of(here, command, how):
    Path("list").write_text("in\n")
    done = audiocnn(command, *how, "-m", "tone", "-f", "jsonl")
    assert done.status is ExitStatus.SOME_FAILED
    records = [json.loads(line) for line in done.out.splitlines()]
    assert {one["file"] for one in records if one["type"] == "error"} == set(BAD)
    assert {one["file"] for one in records if one["type"] != "error"} == {"in/label/a.wav", "in/label/z.wav"}
    assert len(done.err.splitlines()) == len(BAD)
    assert "Permission denied" in done.err and "a broken link" in done.err and "a named pipe" in done.err


def test_a_pattern_says_which_entries_are_meant_but_not_which_folders(here):
    done = audiocnn("detect", "in", "--glob", "*.wav", "-m", "tone")
    assert [line.split(": ")[2] for line in done.err.splitlines()] == ["in/label/forbidden", "in/label/pipe.wav"]


def test_split_does_the_others(here):
    done = audiocnn("split", "in", "--output-dir", "cuts", "-m", "tone")
    assert done.status is ExitStatus.SOME_FAILED and len(done.err.splitlines()) == len(BAD)
    assert {path.name[0] for path in Path("cuts").rglob("*.wav")} == {"a", "z"}


def test_ingest_counts_what_cannot_be_read(here):
    done = audiocnn("ingest", "in", "-o", "dataset")
    assert done.status is ExitStatus.SOME_FAILED
    assert json.loads(done.out)["done"] | {"removed": 0} == {
        "added": 2, "updated": 0, "kept": 0, "removed": 0, "refused": len(BAD)
    }  # fmt: skip
    assert all(re.search(rf"refused: {name.removeprefix('in/')}: ", done.err) for name in BAD), done.err


def test_folders_of_labels(here):
    Path("in/a.rttm").write_text("SPEAKER a 1 0.5 1 <NA> <NA> ann <NA> <NA>\n")
    Path("in/b.rttm").symlink_to("/nowhere")
    done = audiocnn("convert", "in", "-f", "csv")
    assert done.status is ExitStatus.SOME_FAILED
    assert "a,0,0.5,1.5,ann" in done.out
    assert "in/b.rttm: a broken link" in done.err and "in/label/forbidden: cannot be read" in done.err


@pytest.mark.parametrize(
    "command",
    [("train", "in", "--dry-run", "--device", "cpu"), ("evaluate", "in", "-m", "tone"), ("tune", "in", "-m", "tone")],
)
def test_what_learns_and_judges_names_what_cannot_be_read(here, command):
    for name in ("a", "z"):
        Path(f"in/label/{name}.txt").write_text("0.2\t0.6\ttone\n")
    Path("in/label/b.txt").symlink_to("/nowhere.txt")
    done = audiocnn(*command)
    names = [name.removeprefix("in/") for name in (*BAD, "in/label/b.txt")]
    assert all(re.search(rf"refused: {name}: ", done.err) for name in names), done.err


@pytest.mark.parametrize("kind", [".txt", ".csv", ".TextGrid", ".rttm", ".eaf", ".selections.txt", ".jsonl"])
@pytest.mark.parametrize("labels", ["beside", "folders"])
def test_a_dangling_file_of_labels_is_named(here, kind, labels):
    """Where folders say the labels, and where files beside the recordings do."""
    if labels == "beside":
        for name in ("a", "z"):
            Path(f"in/label/{name}.txt").write_text("0.2\t0.6\ttone\n")
    Path(f"in/label/b{kind}").symlink_to("/nowhere")
    done = audiocnn("ingest", "in", "-o", "dataset")
    assert f"refused: label/b{kind}: a broken link" in done.err


def test_filters_search_the_others(here):
    done = audiocnn("filters", "tone", "--strongest", "in", "-f", "json")
    assert done.status is ExitStatus.SOME_FAILED, done.err
    assert all(name in done.err for name in BAD)


def test_a_folder_of_nothing_else_is_an_error(here):
    shutil.rmtree("in/label")
    Path("in/x.wav").symlink_to("/nowhere")
    for args in (("detect", "in", "-m", "tone"), ("ingest", "in", "-o", "dataset")):
        done = audiocnn(*args)
        assert done.status is ExitStatus.USAGE
        assert "in/x.wav: a broken link" in done.err and len(done.err.splitlines()) == 1


@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="root may read all, without setpriv")
@pytest.mark.parametrize("count", [20, pytest.param(400, marks=pytest.mark.long)])
def test_random_folders_with_forbidden_parts(count):
    if os.geteuid() == 0 and subprocess.run([*WITHOUT_RIGHTS, "true"], check=False).returncode:
        pytest.skip("this container may not take rights away")
    done = run_without_rights(count, seed=1)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r": 0 wrong$", done.stdout)
