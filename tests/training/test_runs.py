"""What a run tells: its rows, where it came from, its curves; and the table of all runs in a folder."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fixtures_cli import PATH, audiocnn, audiocnn_process
from matplotlib import image

from audiocnn.errors import AudiocnnError
from audiocnn.files import locked, read_regular
from audiocnn.report.train_picture import draw_training_curves
from audiocnn.training.log import (
    TENSORBOARD_FOLDER,
    best_row,
    git_revision,
    log_path,
    mark_pruned,
    read_facts,
    read_log,
    write_facts,
    write_log,
)
from audiocnn.training.runs import find_runs, read_run, read_runs
from audiocnn_cli.app.exits import ExitStatus

RECIPE = '[train]\nepochs = 3\nlearning_rate = 0.01\n[data]\nsource = "/sounds"\n[spec.input]\nfeatures = "waveform"\n'


def row_of(epoch, figure, best, **more):
    row = {"epoch": epoch, "epochs": 3, "loss": 1.0 / epoch, "validation_loss": 0.5, "figure_name": "auroc"}
    row |= {"figure": figure, "best": best, "learning_rate": 0.1, "seconds": 2.0, "waiting": 0.01}
    return row | {"audio_seconds_per_second": 100.0, "seconds_left": 1.0} | more


ROWS = [row_of(1, 0.5, True), row_of(2, 0.75, True), row_of(3, 0.7, False)]


def plain(line):
    return re.sub(r"\x1b\[[0-9;]*m", "", line)


def run_of(folder, rows=ROWS, facts=None):
    """A run as a training leaves it, without its weights."""
    folder.mkdir(parents=True)
    (folder / "recipe.toml").write_text(f'name = "{folder.name}"\n{RECIPE}')
    if facts is not None:
        (folder / "run.json").write_text(json.dumps(facts))
    if rows:
        write_log(folder, rows)
    return folder


@pytest.fixture
def repository(tmp_path):
    """A git repository with one commit, and what git says of it."""
    if shutil.which("git") is None:
        pytest.skip("needs git")
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "a.txt").write_text("a")
    name = ["-c", "user.name=x", "-c", "user.email=x@y"]
    for words in (["init", "-q"], ["add", "a.txt"], [*name, "commit", "-q", "-m", "x"]):
        subprocess.run(["git", "-C", folder, *words], check=True)
    done = subprocess.run(["git", "-C", folder, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    return folder, done.stdout.strip()


# Rows


def test_rows_are_written_twice_and_read_again(tmp_path):
    rows = [*ROWS, row_of(4, None, True, validation_loss=None, seconds_left=float("nan"))]
    write_log(tmp_path, rows)
    assert read_log(tmp_path) == [*ROWS, {**rows[3], "seconds_left": None}]
    found = list(csv.DictReader(io.StringIO((tmp_path / "metrics.csv").read_text())))
    assert [list(row) for row in found] == [list(ROWS[0])] * 4
    assert [row["figure"] for row in found] == ["0.5", "0.75", "0.7", ""]
    assert best_row(ROWS) == ROWS[1] and best_row([]) is None


def test_the_log_of_an_older_run_is_read(tmp_path):
    assert log_path(tmp_path) is None and read_log(tmp_path) == []
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    assert read_log(tmp_path) == ROWS


DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize(
    "line",
    ["{", "[]", '{"epoch": 1}', json.dumps(row_of(1, "x", True)), json.dumps({"a": 1}), DEEP, '{"a":' * 9000]
    + [json.dumps(row_of(1, 0.5, True) | {"epoch": value}) for value in ("1", 1.5, -1, 10**30, None, [1])]
    + [json.dumps(row_of(1, 0.5, True, loss=value)) for value in ("0.1", None, 10**400, {})],
    ids=lambda line: line[:20],
)
def test_a_damaged_log_says_in_which_line(tmp_path, line):
    (tmp_path / "metrics.jsonl").write_text(json.dumps(ROWS[0]) + "\n" + line + "\n")
    with pytest.raises(AudiocnnError, match=r"metrics\.jsonl:2: not a row of a training log"):
        read_log(tmp_path)


def test_a_run_keeps_the_git_revision_of_its_start(tmp_path, repository, monkeypatch):
    folder, revision = repository
    monkeypatch.chdir(folder)
    write_facts(tmp_path, {"spec": "a"})
    first = read_facts(tmp_path)
    assert (first["git"], first["spec"]) == ({"revision": revision}, "a")
    mark_pruned(tmp_path)
    assert read_facts(tmp_path)["pruned"] is True
    write_facts(tmp_path, {"spec": "b"})
    again = read_facts(tmp_path)
    assert (again["git"], again["spec"], again["started"]) == (first["git"], "a", first["started"])
    assert [one["git"]["revision"] for one in again["resumed"]] == [revision] and "pruned" not in again


def test_the_revision_is_what_git_says_of_folders_packed_branches_and_worktrees(tmp_path, repository):
    folder, revision = repository

    def git(*words):
        subprocess.run(["git", "-C", folder, *words], check=True, capture_output=True)

    (folder / "inside/deeper").mkdir(parents=True)
    assert git_revision(folder / "inside/deeper") == {"revision": revision}
    git("pack-refs", "--all")
    assert git_revision(folder) == {"revision": revision}
    git("worktree", "add", "-q", "-b", "other/branch", str(tmp_path / "tree"))
    assert git_revision(tmp_path / "tree") == {"revision": revision}
    git("checkout", "-q", "--detach")
    assert git_revision(folder) == {"revision": revision}


def test_nothing_that_a_repository_names_is_run(tmp_path, repository):
    folder, revision = repository
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch '{tmp_path}/ran'\ncat\n")
    program.chmod(0o755)
    settings = {"core.fsmonitor": program, "core.pager": program, "filter.x.clean": program, "diff.external": program}
    for name, value in settings.items():
        subprocess.run(["git", "-C", folder, "config", name, str(value)], check=True)
    (folder / ".gitattributes").write_text("* filter=x\n")
    (folder / "a.txt").write_text("b")
    (tmp_path / "ran").unlink(missing_ok=True)  # by git itself, above
    assert git_revision(folder) == {"revision": revision}
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "head", ["", "ref: refs/heads/none", "ref: ../../secret", "ref: refs/../../secret", "0" * 39, "\0"]
)
def test_a_repository_that_cannot_be_read_has_no_revision(tmp_path, head):
    (tmp_path / ".git").mkdir()
    (tmp_path / "secret").write_text("0" * 40)
    (tmp_path / ".git/HEAD").write_text(head)
    assert git_revision(tmp_path) is None
    for target in (tmp_path / "none", Path("/dev/zero")):
        (tmp_path / ".git/HEAD").unlink()
        (tmp_path / ".git/HEAD").symlink_to(target)
        assert git_revision(tmp_path) is None


def test_without_a_repository_there_is_no_revision(tmp_path):
    assert git_revision(tmp_path) is None


WRONG_FACTS = {"git": 3, "labels": 3, "spec": [], "parameters": "x", "started": 1, "resumed": 5, "pruned": {}}
BAD_JSON = [
    *("", "{", DEEP, "null", "3", '"x"', "[[]]", "1" * 5000, "\0", "\u00e9"),
    *('{"labels": 3, "clip": []}', '{"clip": {"figures": []}}', json.dumps(WRONG_FACTS)),
    '{"clip": {"figures": {"accuracy": {"value": 1%s}}}}' % ("0" * 400),
]


@pytest.mark.parametrize("name", ["run.json", "report.json", "metrics.jsonl"])
@pytest.mark.parametrize("content", BAD_JSON, ids=lambda text: text[:20])
def test_a_run_whose_json_is_damaged_is_a_row_that_says_so(tmp_path, name, content):
    run_of(tmp_path / "run", facts={})
    (tmp_path / "run" / name).write_text(content)
    done = audiocnn("runs", tmp_path, "--format", "json")
    assert done.status in (ExitStatus.OK, ExitStatus.USAGE, ExitStatus.SOME_FAILED), done.err
    assert len(done.out.splitlines()) == 1
    write_facts(tmp_path / "run", {})


@pytest.mark.parametrize("name", ["run.json", "report.json", "metrics.jsonl"])
@pytest.mark.parametrize("kind", ["device", "pipe", "folder"])
def test_a_run_whose_json_has_no_end_is_a_row(tmp_path, name, kind):
    run_of(tmp_path / "run", facts={})
    path = tmp_path / "run" / name
    path.unlink(missing_ok=True)
    if kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    done = audiocnn_process("runs", tmp_path, "--format", "json", timeout=60)
    assert done.returncode in (ExitStatus.OK, ExitStatus.USAGE), done.stderr
    assert len(done.stdout.splitlines()) == 1


def test_a_file_of_our_own_has_a_limit(tmp_path):
    (tmp_path / "large").write_bytes(b"x" * 11)
    assert read_regular(tmp_path / "large", 11) == b"x" * 11
    with pytest.raises(ValueError, match="larger"):
        read_regular(tmp_path / "large", 10)


# Pictures and TensorBoard


def test_curves_are_drawn(tmp_path):
    draw_training_curves(ROWS, tmp_path / "curves.png", "run")
    one = image.imread(tmp_path / "curves.png")
    draw_training_curves([*ROWS[:2], row_of(3, 0.9, True)], tmp_path / "other.png", "run")
    other = image.imread(tmp_path / "other.png")
    assert one.shape == other.shape == (720, 1080, 4) and (one != other).any()
    draw_training_curves([row_of(1, None, True, validation_loss=None, figure_name="")], tmp_path / "alone.png", "run")
    assert image.imread(tmp_path / "alone.png").shape == one.shape


def test_tensorboard_has_the_rows_and_a_run_that_goes_on_continues_them(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from audiocnn.training.events import EpochReport
    from audiocnn.training.log import log_to_tensorboard

    run = run_of(tmp_path / "run")
    reports = [EpochReport(**row) for row in ROWS]
    assert list(log_to_tensorboard(reports, run, wanted=False)) == reports and not (run / TENSORBOARD_FOLDER).exists()
    assert list(log_to_tensorboard(reports, run, wanted=True)) == reports
    again = [EpochReport(**row_of(3, 0.9, True))]
    assert list(log_to_tensorboard(again, run, wanted=True)) == again
    found = EventAccumulator(str(run / TENSORBOARD_FOLDER)).Reload()
    assert [(x.step, round(x.value, 4)) for x in found.Scalars("figure/auroc")] == [(1, 0.5), (2, 0.75), (3, 0.9)]
    assert [x.step for x in found.Scalars("loss/training")] == [1, 2, 3]


def test_tensorboard_that_is_missing_is_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    (tmp_path / "small.toml").write_text('[data]\nsource = "labels"\n')
    (tmp_path / "labels").mkdir()
    done = audiocnn("train", "small.toml", "--tensorboard")
    assert done.status is ExitStatus.USAGE
    assert "pip install tensorboard" in done.err
    assert not (tmp_path / "runs").exists()


# The table


@pytest.fixture
def many(tmp_path):
    """A folder of runs in every state."""
    git = {"revision": "0123456789abcdef", "changed": True}
    facts = {"spec": "net", "parameters": 1234, "git": git, "started": "2026-01-02T03:04:05+00:00", "labels": ["a"]}
    run_of(tmp_path / "good", facts=facts)
    run_of(tmp_path / "deep" / "better", [row_of(1, 0.9, True)])
    run_of(tmp_path / "deep" / "better" / "fold-1", [row_of(1, 0.6, True, seconds=50.0)])
    run_of(tmp_path / "begun", [], {"spec": "net"})
    run_of(tmp_path / "early", facts={"pruned": True})
    (run_of(tmp_path / "bad") / "metrics.jsonl").write_text("{")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "recipe.toml").write_text("a = 1")  # somebody's recipe, and no run
    inside = tmp_path / "good" / "checkpoints" / "x"
    run_of(inside)
    return tmp_path


def test_runs_are_found_at_any_depth_and_nowhere_else(many):
    found = [path.relative_to(many).as_posix() for path in find_runs(many)]
    assert found == ["bad", "begun", "deep/better", "deep/better/fold-1", "early", "good"]
    assert [path.name for path in find_runs(many / "good")] == ["good"]


def test_a_run_is_a_row(many):
    runs = {run.name: run for run in read_runs(many)}
    good = runs["good"]
    assert (good.model, good.spec, good.data, good.labels) == ("good", "net", "/sounds", ("a",))
    assert (good.epochs, good.wanted, good.best_epoch, good.figure_name, good.figure) == (3, 3, 2, "auroc", 0.75)
    assert (good.seconds, good.parameters, good.revision) == (6.0, 1234, "0123456789abcdef+")
    states = {name: run.state for name, run in runs.items()}
    assert states == {
        "bad": "damaged", "begun": "interrupted", "deep/better": "interrupted", "deep/better/fold-1": "interrupted",
        "early": "pruned", "good": "interrupted",
    }  # fmt: skip
    assert "metrics.jsonl:1: not a row" in runs["bad"].error


def test_a_run_that_is_being_written_is_running(many):
    with locked(many / "good"):
        code = f"from audiocnn.training.runs import *; print(read_run(Path({str(many / 'good')!r}), 'good').state)"
        environ = {**os.environ, "PYTHONPATH": PATH}
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    assert done.stdout == "running\n"


def clip_report(name, value):
    return {"clip": {"figures": {name: {"value": value}}}, "labels": {}}


def segment_report(**values):
    return {"clip": None, "labels": {label: {"figures": {"f1": {"value": value}}} for label, value in values.items()}}


@pytest.mark.parametrize(
    ("report", "wanted"),
    [
        (clip_report("accuracy", 0.75), ("accuracy", 0.75)),
        (clip_report("mean_average_precision", 0.5), ("mean_average_precision", 0.5)),
        (segment_report(a=0.4, b=0.8), ("f1", 0.6)),
        (segment_report(a=None), (None, None)),
        ([clip_report("accuracy", 1)], ("accuracy", 1.0)),
    ],
)
def test_the_test_of_a_run_is_in_its_row(tmp_path, report, wanted):
    (run_of(tmp_path / "run") / "report.json").write_text(json.dumps(report))
    found = read_run(tmp_path / "run", "run")
    assert (found.tested_name, found.tested) == (wanted[0], wanted[1] and pytest.approx(wanted[1]))


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"clip": 3}', '{"clip": null, "labels": {"a": 1}}'])
def test_a_damaged_report_is_told(tmp_path, content):
    (run_of(tmp_path / "run") / "report.json").write_text(content)
    assert "report.json: not a report" in read_run(tmp_path / "run", "run").error


@pytest.mark.parametrize(
    ("sort", "wanted"),
    [
        ("figure", ["deep/better", "early", "good", "deep/better/fold-1", "bad", "begun"]),
        ("time", ["deep/better/fold-1", "early", "good", "deep/better", "bad", "begun"]),
        ("weights", ["good", "bad", "begun", "deep/better", "deep/better/fold-1", "early"]),
        ("started", ["good", "bad", "begun", "deep/better", "deep/better/fold-1", "early"]),
        ("name", ["bad", "begun", "deep/better", "deep/better/fold-1", "early", "good"]),
    ],
)
def test_runs_are_sorted_and_a_damaged_one_ends_with_some_failed(many, sort, wanted):
    done = audiocnn("runs", many, "--sort", sort, "--format", "json")
    assert done.status is ExitStatus.SOME_FAILED
    assert "metrics.jsonl:1: not a row of a training log" in done.err
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert [row["name"] for row in rows] == wanted
    assert {(row["schema"], row["type"]) for row in rows} == {(1, "run")}
    back = audiocnn("runs", many, "--sort", sort, "--format", "csv", "--reverse").out
    assert [row["name"] for row in csv.DictReader(io.StringIO(back))] == wanted[::-1]


@pytest.mark.parametrize("sort", ["weights", "started"])
def test_facts_that_are_none_are_not_known(many, sort):
    (many / "good" / "run.json").write_text('{"spec": ["x"], "parameters": "many", "started": 5}')
    done = audiocnn("runs", many, "--sort", sort, "--format", "json")
    assert done.status is ExitStatus.SOME_FAILED, done.err  # for the one that is damaged
    row = next(row for row in map(json.loads, done.out.splitlines()) if row["name"] == "good")
    assert (row["spec"], row["parameters"], row["started"]) == (None, None, None)


def test_the_table_fits_the_window(many):
    for columns in ("60", "80", "160"):
        done = audiocnn("runs", many, terminal=True, COLUMNS=columns, NO_COLOR="1")
        assert max(len(plain(line)) for line in done.out.splitlines()) <= int(columns)
        assert "auroc 0.9000" in done.out and "deep/better" in done.out
    assert "01234567+" in done.out and "1,234" in done.out and "2026-01-02 03:04" in done.out


def test_no_run_is_an_empty_list(tmp_path):
    done = audiocnn("runs", tmp_path)
    assert (done.status, done.out) == (ExitStatus.OK, "")
    assert "no runs in" in done.err and "audiocnn train" in done.err
