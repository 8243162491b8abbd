"""--ray: a cluster writes the same records as one machine, even if its workers die; finished results are kept.

All tests share one cluster of two workers. A worker is killed by its decoder: an `ffmpeg` that ends its caller.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from fixtures_cli import PATH, RATE, audiocnn, tone, tone_model  # noqa: F401
from sounds import write

from audiocnn.data.dataset import Dataset
from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.cluster.worker import DEADLY

pytest.importorskip("ray.data")

FILES = 20
M4A = b"\0\0\0\x18ftypM4A \0\0\0\0M4A mp42isom" + b"\0" * 40
# It kills who called it each time, of a file whose name has "deadly"; of one with "once" the first time.
FFMPEG = """#!/bin/sh
for word in "$@"; do case "$word" in *dev/fd/*) file=$(readlink -f "${word#file:}");; esac; done
case "$file" in
*deadly*) kill -9 $PPID;;
*once*) mkdir "%s" 2>/dev/null && kill -9 $PPID;;
esac
exec cat "%s"
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory, tone_model):  # noqa: F811
    """Recordings, some bad, a model, and an ffmpeg."""
    place = tmp_path_factory.mktemp("cluster")
    for number in range(FILES):
        begin = 0.1 + number % 7 / 10
        write(place / "many" / f"{number:02d}.wav", tone((begin, begin + 0.5), seconds=1.3), RATE)
    (place / "many" / "07.wav").write_text("no audio at all")
    (place / "deadly.m4a").write_bytes(M4A)
    decoded = write(place / "decoded" / "float.wav", tone((0.2, 0.9), seconds=1.2), RATE, "FLOAT")
    (place / "bin").mkdir()
    (place / "bin" / "ffmpeg").write_text(FFMPEG % (place / "died", decoded))
    (place / "bin" / "ffmpeg").chmod(0o755)
    (place / "labelled").mkdir()
    (place / "labelled" / "tone").symlink_to(place / "many")
    (place / "tone").symlink_to(tone_model)
    return place


@pytest.fixture(scope="module")
def cluster(place):
    """Two workers' worth of Ray, in this process; commands find it there."""
    import ray

    before = {name: os.environ.get(name) for name in ("PATH", "PYTHONPATH", "RAY_USAGE_STATS_ENABLED")}
    os.environ |= {"PATH": f"{place / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": PATH, "RAY_USAGE_STATS_ENABLED": "0"}
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="CRITICAL")
    yield place
    ray.shutdown()
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})


@pytest.fixture
def here(cluster, monkeypatch):
    monkeypatch.chdir(cluster)
    return cluster


def parts(folder):
    return sorted(path.name for path in Path(folder).glob("part-*"))


def records(folder):
    return b"".join((Path(folder) / name).read_bytes() for name in parts(folder))


@pytest.mark.long
def test_workers_die_and_the_records_are_those_of_one_machine(here):
    done = audiocnn("detect", "deadly.m4a", "many", "-m", "tone", "-o", "found", "--ray", "auto")
    assert done.status == ExitStatus.SOME_FAILED, done.err
    plain = audiocnn("detect", "many", "-m", "tone")
    deadly, rest = records("found").split(b"\n", 1)
    assert json.loads(deadly)["error"] == f"deadly.m4a: {DEADLY}"
    assert rest == plain.out.encode()
    assert done.out == ""
    assert sorted(done.err.splitlines()) == sorted([f"audiocnn: error: deadly.m4a: {DEADLY}", *plain.err.splitlines()])
    summary = json.loads((here / "found" / "summary.json").read_text())
    assert (summary["recordings"], summary["ok"], summary["failed"]) == (FILES + 1, FILES - 1, 2)
    assert summary["parts"] == [{"file": name, "recordings": FILES + 1} for name in parts("found")]


@pytest.mark.long
def test_a_worker_that_is_killed_once_leaves_no_trace(here):
    (here / "many" / "11-once.m4a").write_bytes(M4A)
    done = audiocnn("classify", "many", "-m", "tone", "-o", "answers", "--ray", "auto", "--jobs", "1")
    assert (here / "died").exists()
    assert records("answers") == audiocnn("classify", "many", "-m", "tone").out.encode()
    assert done.err.count("\n") == 1, "the bad recording"
    (here / "many" / "11-once.m4a").unlink()


def test_only_versions_of_ray_that_know_tokens_are_allowed():
    bounds = re.findall(r"ray\[data\]>=(\d+)\.(\d+)", (Path(PATH.split(":")[0]) / "pyproject.toml").read_text())
    assert bounds and all((int(major), int(minor)) >= (2, 52) for major, minor in bounds)


@pytest.mark.long
def test_ray_that_is_started_here_listens_on_this_machine_alone():
    """In a process of its own, since Ray finds out once."""
    code = """
import io, os, sys
from audiocnn_cli.app.terminal import Terminal
from audiocnn_cli.cluster.ray import connect_ray
with connect_ray("local", 1, "cpu", Terminal(io.BytesIO(), sys.stdout, sys.stderr, os.environ)):
    import psutil  # Ray brings it
    me = psutil.Process()
    found = {
        place.laddr.ip
        for process in [me, *me.children(recursive=True)]
        for place in process.net_connections(kind="inet")
        if place.status == psutil.CONN_LISTEN
    }
os.write(1, " ".join(sorted(found)).encode())
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        timeout=120,
        env=os.environ | {"PYTHONPATH": PATH},
        check=False,
    )
    assert done.stdout, done.stderr
    assert set(done.stdout.decode().split()) <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


@pytest.mark.long
def test_workers_of_another_version_are_one_line(here, monkeypatch):
    monkeypatch.setattr("audiocnn.__version__", "0.0.0")
    done = audiocnn("detect", "many", "-m", "tone", "-o", "other", "--ray", "auto")
    assert (done.status, done.err.count("\n")) == (ExitStatus.USAGE, 1)
    assert "not 0.0.0; install one version" in done.err


@pytest.mark.long
def test_two_thousand_recordings_and_a_worker_that_is_killed(tmp_path):
    from benchmarks.cluster import compare, make_recordings

    make_recordings(tmp_path / "many", 2000, 1.0)
    rows = compare(tmp_path, 2000, 2)
    assert [(row["same"], row["killed"], row["said"]) for row in rows] == [(True, 0, ""), (True, 0, ""), (True, 1, "")]


@pytest.mark.long
def test_a_dataset_is_that_of_one_machine(here):
    done = audiocnn("ingest", "labelled", "-o", "theirs", "--ray", "auto")
    own = audiocnn("ingest", "labelled", "-o", "own")
    assert (done.status, own.status) == (ExitStatus.SOME_FAILED, ExitStatus.SOME_FAILED), done.err
    theirs, own = Dataset.open("theirs"), Dataset.open("own")
    assert [entry.filename for entry in theirs.entries] == [entry.filename for entry in own.entries]
    assert all(
        (theirs.samples(one) == own.samples(other)).all()
        for one, other in zip(theirs.entries, own.entries, strict=True)
    )
    assert theirs.refused == own.refused
    again = audiocnn("ingest", "labelled", "-o", "theirs", "--ray", "auto", "-f", "json")
    assert json.loads(again.out)["done"]["kept"] == len(own.entries), "and no cluster is asked for that"
