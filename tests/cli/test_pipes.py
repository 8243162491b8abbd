"""Input without end, writer or space: pipes, endless streams, and the folder for temporary files."""

from __future__ import annotations

import errno
import io
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from threading import Thread

import pytest
from fixtures_cli import CODE, PATH, RATE, audiocnn, audiocnn_process, tone, tone_model  # noqa: F401
from sounds import as_bytes, noise, write

from audiocnn import files
from audiocnn.labels import lookup
from audiocnn_cli.app.exits import ExitStatus

SEGMENT = "SPEAKER a 1 0.5 1 <NA> <NA> ann <NA> <NA>\n"


@pytest.fixture
def here(tmp_path, monkeypatch, tone_model):  # noqa: F811
    write(tmp_path / "a.wav", tone((0.2, 0.6), seconds=1.0), RATE)
    (tmp_path / "tone").symlink_to(tone_model)
    monkeypatch.chdir(tmp_path)
    return tmp_path


# Named pipes


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(files, "PIPE_SECONDS", 0.2)


@pytest.mark.parametrize(
    "args", [("detect", "-m", "tone"), ("score", "-m", "tone", "-f", "jsonl"), ("classify", "-m", "tone"), ("split",)]
)
def test_a_pipe_into_which_nobody_writes_does_not_hold_up_a_list(here, impatient, args):
    os.mkfifo("p.wav")
    Path("list").write_text("p.wav\na.wav\n")
    more = ("-m", "tone", "--output-dir", "out", "--invert") if args == ("split",) else ()
    done = audiocnn(*args, *more, "--files-from", "list")
    assert done.status is ExitStatus.SOME_FAILED
    assert (
        "p.wav: a named pipe that no process has opened for writing within 0.2 s; start the program that writes to it"
        in done.err
    )
    assert {json.loads(line)["file"] for line in done.out.splitlines()} == {"p.wav", "a.wav"}


@pytest.mark.parametrize(
    "args",
    [
        ("convert", "p", "-f", "rttm"),
        ("split", "a.wav", "--labels", "p", "--output-dir", "out"),
        ("plot", "p", "-o", "x.png", "-m", "tone"),
        ("detect", "--files-from", "p", "-m", "tone"),
    ],
)
def test_no_command_waits_for_ever(here, impatient, args):
    os.mkfifo("p")
    done = audiocnn(*args)
    assert done.status is ExitStatus.USAGE
    assert "a named pipe that no process has opened for writing" in done.err and len(done.err.splitlines()) == 1


def test_a_pipe_whose_writer_comes_late_is_read(here):
    os.mkfifo("p.wav")

    def later():
        time.sleep(0.3)
        Path("p.wav").write_bytes(Path("a.wav").read_bytes())

    writer = Thread(target=later)
    writer.start()
    done = audiocnn("detect", "p.wav", "-m", "tone")
    writer.join()
    assert done.status is ExitStatus.OK and '"segments":1' in done.out


# Lists of names


@pytest.mark.parametrize("length", [70_000, 5_000_000])
def test_a_line_that_is_no_name_is_one_error(here, length):
    Path("list").write_text(f"a.wav\n{'x' * length}\na.wav\n{'y' * length}")
    done = audiocnn("detect", "--files-from", "list", "-m", "tone")
    assert done.status is ExitStatus.SOME_FAILED
    assert [json.loads(line)["file"] for line in done.out.splitlines() if '"segment"' not in line] == [
        "a.wav", "list", "a.wav", "list"
    ]  # fmt: skip
    assert "entry 2 is longer than 65536 bytes" in done.err and "entry 4" in done.err and len(done.err) < 500


def test_a_list_without_an_end_is_given_up(here):
    done = audiocnn_process("detect", "--files-from", "/dev/zero", "-m", "tone", cwd=here, timeout=60)
    assert done.returncode == ExitStatus.USAGE and b"entry 1 is longer than" in done.stderr


# Streams without an end


@pytest.mark.parametrize(
    ("device", "piped"),
    [
        ("/dev/zero", True),
        ("/dev/urandom", False),
        *(pytest.param(*more, marks=pytest.mark.long) for more in (("/dev/zero", False), ("/dev/urandom", True))),
    ],
)
@pytest.mark.parametrize(
    "args",
    [
        ("detect", "-m", "tone"),
        ("split", "--output-dir", "out", "-m", "tone"),
        ("plot", "-o", "x.png", "-m", "tone"),
        ("convert", "-f", "rttm"),
        ("convert", "-f", "rttm", "--from", "csv"),
    ],
    ids=" ".join,
)
def test_an_endless_stream_is_refused_by_its_beginning(here, tmp_path, device, args, piped):
    folder = tmp_path / "tmp"
    folder.mkdir()
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (1 << 25, 1 << 25))
    with subprocess.Popen(["cat", device], stdout=subprocess.PIPE) as cat, Path(device).open("rb") as opened:
        done = audiocnn_process(
            args[0], "-", *args[1:], cwd=here, stdin=cat.stdout if piped else opened, env={"TMPDIR": str(folder)},
            preexec_fn=limit, timeout=60,
        )  # fmt: skip
        cat.kill()
    assert done.returncode == ExitStatus.USAGE, done.stderr
    assert len(done.stderr.splitlines()) == 1 and b"free some space" not in done.stderr
    assert list(folder.iterdir()) == []


def test_endless_labels_come_to_an_end(here, monkeypatch):
    monkeypatch.setattr(lookup, "_MOST_LABEL_BYTES", 10 * lookup._COPY_BYTES)
    Path("long.rttm").write_text(SEGMENT * (11 * lookup._COPY_BYTES // len(SEGMENT)))
    with Path("long.rttm").open("rb") as file:
        done = audiocnn("convert", "-", "-f", "csv", stdin=file.read())
    assert done.status is ExitStatus.USAGE
    assert "-: more than 10 MiB of labels; check that the program that writes it ends" in done.err


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere temporary files have names")
@pytest.mark.parametrize(
    ("args", "content"),
    [
        (("convert", "-", "-f", "csv"), SEGMENT.encode() * 40_000),
        (("split", "-", "--output-dir", "out", "-m", "tone"), as_bytes(noise(200, 8000), 8000, "FLAC", "PCM_16")),
        (("plot", "-", "-o", "x.png", "-m", "tone"), as_bytes(noise(200, 8000), 8000, "FLAC", "PCM_16")),
        (("detect", "-", "-m", "tone"), as_bytes(noise(200, 8000), 8000, "FLAC", "PCM_16")),
    ],
)
def test_a_kill_leaves_nothing_of_a_stream(here, tmp_path, args, content):
    folder = tmp_path / "tmp"
    folder.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, *args],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, cwd=here,
        env={"PYTHONPATH": PATH, "TMPDIR": str(folder), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    process.stdin.write(content)  # more than a pipe holds: some of it is kept by then
    process.stdin.flush()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdin.close()
    assert sum(path.stat(follow_symlinks=False).st_size for path in folder.rglob("*") if not path.is_dir()) < 1000


# The folder for temporary files

KEPT = [
    ("detect", "-", "-m", "tone"),
    ("split", "-", "--output-dir", "out", "-m", "tone"),
    ("plot", "-", "-o", "x.png", "-m", "tone"),
    ("convert", "-", "-f", "csv"),
]


@pytest.mark.parametrize("args", KEPT, ids=lambda args: args[0])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_folder_for_temporary_files_is_named(here, monkeypatch, args, number):
    class Full(io.BufferedRandom):
        def write(self, data):
            raise OSError(number, os.strerror(number))

    monkeypatch.setenv("TMPDIR", str(here))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: Full(io.FileIO(os.memfd_create("full"), "r+")))
    tempfile.gettempdir()
    sound = as_bytes(noise(1, 8000), 8000, "FLAC", "PCM_16")
    done = audiocnn(*args, stdin=SEGMENT.encode() if args[0] == "convert" else sound)
    assert done.status is ExitStatus.USAGE and len(done.err.splitlines()) == 1
    assert f"-: cannot be stored in a temporary file ({here}: {os.strerror(number)}); free some space there" in done.err
    assert "TMPDIR" in done.err


@pytest.mark.parametrize("args", KEPT, ids=lambda args: args[0])
def test_no_folder_for_temporary_files(here, monkeypatch, args):
    def none(*_):
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_get_default_tempdir", none)
    sound = as_bytes(noise(1, 8000), 8000, "FLAC", "PCM_16")
    done = audiocnn(*args, stdin=SEGMENT.encode() if args[0] == "convert" else sound)
    assert done.status is ExitStatus.USAGE and len(done.err.splitlines()) == 1
    assert "no temporary folder" in done.err and "TMPDIR" in done.err


def test_two_processes_at_one_folder_for_temporary_files(here, tmp_path):
    folder = tmp_path / "tmp"
    folder.mkdir()
    sound = as_bytes(tone((0.2, 0.6), seconds=1.0), RATE, "FLAC", "PCM_16")
    running = [
        subprocess.Popen(
            [sys.executable, "-c", CODE, "split", "-", "--output-dir", f"out{number}", "-m", "tone"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=here,
            env={"PYTHONPATH": PATH, "TMPDIR": str(folder), "PATH": "/usr/bin:/bin"},
        )
        for number in range(2)
    ]  # fmt: skip
    for process in running:
        process.stdin.write(sound)
        process.stdin.flush()
    for process in running:
        out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, b"") and b'"piece"' in out
    assert list(folder.iterdir()) == []
