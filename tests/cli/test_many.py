"""Many recordings on the command line: the output and its order do not depend on how they are processed."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from fixtures_cli import CODE, PATH, RATE, audiocnn, tone, tone_model  # noqa: F401
from sounds import write

from audiocnn_cli.app.exits import ExitStatus

NUMBER = re.compile(r"\d+\.\d+(?:e-\d+)?|\d+e-\d+")


@pytest.fixture
def here(tmp_path, monkeypatch, tone_model):  # noqa: F811
    """A working folder with recordings of all lengths, and a model."""
    for number in range(60):
        begin = 0.1 + number % 7 / 10
        seconds = 70.0 if number == 30 else 1.0 + number % 5 / 8
        write(tmp_path / "many" / f"{number:02d}.wav", tone((begin, begin + 0.4), seconds=seconds), RATE)
    write(tmp_path / "stereo.wav", np.stack([tone((0.5, 1.0)), tone((1.2, 1.6))], axis=1), RATE)
    (tmp_path / "text.wav").write_text("no audio at all\n" * 100)
    (tmp_path / "tone").symlink_to(tone_model)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def start(*args):
    """A command that gets names from a pipe."""
    settings = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(
        [sys.executable, "-c", CODE, *args, "-m", "tone", "--files-from", "-"],
        env={"PYTHONPATH": PATH},
        **settings,
    )


def name(process, file):
    process.stdin.write(file.encode() + b"\n")
    process.stdin.flush()


def files(text):
    return [record["file"] for record in map(json.loads, text.splitlines()) if record["type"] in ("file", "error")]


@pytest.mark.parametrize("command", [("detect",), ("score", "-f", "csv"), ("score", "-f", "jsonl")])
def test_the_number_of_jobs_changes_nothing(here, command):
    args = [*command, "many", "stereo.wav", "--channel", "each", "-m", "tone"]
    wanted, *others = (audiocnn(*args, "-j", jobs) for jobs in (1, 2, 5))
    assert wanted.status is ExitStatus.OK
    assert wanted.out.count("\n") > 60
    for done in others:
        assert (done.status, done.err) == (wanted.status, wanted.err)
        assert NUMBER.sub("", done.out) == NUMBER.sub("", wanted.out)
        numbers = [np.array(NUMBER.findall(text), dtype=float) for text in (done.out, wanted.out)]
        assert np.max(np.abs(numbers[0] - numbers[1])) <= 1.01e-4  # of four digits, the last may be rounded otherwise


def test_names_are_in_order_and_errors_among_them(here):
    names = ["many/30.wav", "text.wav", "many/01.wav", "gone.wav", "many", "many/02.wav"]
    done = audiocnn("detect", *names, "-m", "tone", "-j", 3)
    inside = [f"many/{number:02d}.wav" for number in range(60)]
    assert done.status is ExitStatus.SOME_FAILED
    assert files(done.out) == [*names[:4], *inside, names[5]]
    assert [line.split(": ")[2] for line in done.err.splitlines()] == ["text.wav", "gone.wav"]


def test_strict_says_nothing_of_what_was_read_ahead(here):
    done = audiocnn("detect", "many/30.wav", "text.wav", "gone.wav", "many", "-m", "tone", "--strict")
    assert done.status is ExitStatus.SOME_FAILED
    assert files(done.out) == ["many/30.wav", "text.wav"]
    assert len(done.err.splitlines()) == 1


def test_results_come_while_the_list_of_names_is_written(here):
    with start("detect") as process:
        for file in ("many/00.wav", "text.wav", "many/30.wav"):
            name(process, file)
            lines = iter(process.stdout.readline, b"")
            record = next(record for record in map(json.loads, lines) if record["type"] != "segment")
            assert record["file"] == file
        out, err = process.communicate(timeout=60)
    assert out == b""
    assert err.startswith(b"audiocnn: error: text.wav: ")
    assert process.returncode == ExitStatus.SOME_FAILED


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_a_command_that_waits_for_names(here, number, status):
    with start("detect") as process:
        name(process, "many/00.wav")
        assert b'"segment"' in process.stdout.readline()
        process.send_signal(number)
        assert process.wait(60) == status
        assert process.stderr.read() == b""


def test_a_reader_that_leaves_ends_a_command_that_has_many_files_in_hand(here):
    with start("score") as process:
        for _ in range(40):
            name(process, "many/30.wav")  # whose scores are more than a pipe holds
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(60) == 0
        assert process.stderr.read() == b""


def test_what_is_finished_is_kept_when_a_command_is_interrupted(here):
    with start("detect", "-v", "-o", "found.csv") as process:
        name(process, "many/00.wav")
        name(process, "text.wav")
        lines = iter(process.stderr.readline, b"")
        assert any(b"text.wav" in line for line in lines)  # what comes before it is written by then
        process.send_signal(signal.SIGINT)
        assert b"interrupted; finished results are in found.csv.unfinished" in process.communicate(timeout=60)[1]
    assert process.returncode == ExitStatus.INTERRUPTED
    rows = (here / "found.csv.unfinished").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["file", "many/00.wav"]
    assert not (here / "found.csv").exists(), "what has the name has all"


@pytest.mark.parametrize("command", [("detect",), ("score",)])
def test_what_is_there_is_not_touched_when_a_command_is_interrupted(here, command):
    (here / "found.csv").write_text("older")
    (here / "found.csv.unfinished").write_text("mine")
    with start(*command, "-v", "-o", "found.csv", "--force") as process:
        name(process, "many/00.wav")
        name(process, "text.wav")
        lines = iter(process.stderr.readline, b"")
        assert any(b"text.wav" in line for line in lines)
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == ExitStatus.TERMINATED
    assert b"interrupted; finished results are in .found.csv.audiocnn-part" in said
    assert (here / "found.csv").read_text() == "older"
    assert (here / "found.csv.unfinished").read_text() == "mine"
    assert "many/00.wav" in (here / ".found.csv.audiocnn-part").read_text()


def test_what_was_interrupted_is_not_taken_as_done(here):
    with start("detect", "-v", "-o", "found.csv") as process:
        name(process, "many/00.wav")
        name(process, "text.wav")
        lines = iter(process.stderr.readline, b"")
        assert any(b"text.wav" in line for line in lines)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    done = audiocnn("detect", "many/00.wav", "many/01.wav", "-m", "tone", "-o", "found.csv", "--skip-existing")
    assert done.status is ExitStatus.OK
    assert {row.split(",")[0] for row in (here / "found.csv").read_text().splitlines()[1:]} == {
        "many/00.wav",
        "many/01.wav",
    }


def test_an_empty_name_is_told_of_and_lists_from_windows_are_read(here):
    (here / "list.txt").write_bytes(b"many/01.wav\r\n\r\n\nmany/02.wav\r\n")
    done = audiocnn("detect", "--files-from", "list.txt", "-m", "tone")
    assert (done.status, files(done.out)) == (ExitStatus.OK, ["many/01.wav", "many/02.wav"])
    done = audiocnn("detect", "", "many/01.wav", "-m", "tone")
    assert (done.status, files(done.out)) == (ExitStatus.SOME_FAILED, ["", "many/01.wav"])
    assert '"": the name is empty; check the list or script' in done.err


def test_a_list_may_begin_with_a_mark_and_a_name_may_end_in_a_newline(here):
    (here / "trail.wav\n").write_bytes((here / "many/01.wav").read_bytes())
    (here / "list").write_bytes(b"many/01.wav\0trail.wav\n")
    done = audiocnn("detect", "-0", "--files-from", "list", "-m", "tone")
    assert (done.status, files(done.out)) == (ExitStatus.OK, ["many/01.wav", "trail.wav\n"])
    (here / "list").write_bytes(b"many/01.wav\0\n")  # the newline of who wrote the list
    assert files(audiocnn("detect", "-0", "--files-from", "list", "-m", "tone").out) == ["many/01.wav"]
    (here / "list").write_bytes(b"\xef\xbb\xbfmany/01.wav\r\nmany/02.wav\r\n")
    done = audiocnn("detect", "--files-from", "list", "-m", "tone")
    assert (done.status, files(done.out)) == (ExitStatus.OK, ["many/01.wav", "many/02.wav"])


@pytest.mark.parametrize("command", ["detect", "score"])
def test_an_output_of_nothing_but_errors_is_not_left_behind(here, command):
    done = audiocnn(command, "text.wav", "gone.wav", "-m", "tone", "-o", "out.csv")
    assert done.status is ExitStatus.USAGE
    assert not (here / "out.csv").exists()
    done = audiocnn(command, "text.wav", "many/01.wav", "-m", "tone", "-o", "out.csv")
    assert done.status is ExitStatus.SOME_FAILED
    assert (here / "out.csv").read_text().startswith("file,channel,start,end")


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs a signal that is told when a terminal closes")
def test_nohup_is_obeyed(here):
    settings = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, "detect", "-m", "tone", "--files-from", "-"],
        env={"PYTHONPATH": PATH},
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),  # noqa: PLW1509
        **settings,
    )
    name(process, "many/01.wav")
    assert process.stdout.readline()
    process.send_signal(signal.SIGHUP)
    name(process, "many/02.wav")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"")
    assert b"many/02.wav" in out


BOTH_AT_ONCE = """
import os, signal, sys, time
from audiocnn_cli import main
main._take_signals()
both = [getattr(signal, name) for name in sys.argv[1:]]
signal.pthread_sigmask(signal.SIG_BLOCK, both)
for number in both:
    os.kill(os.getpid(), number)
try:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, both)
    time.sleep(10)
except (KeyboardInterrupt, main.Terminated):
    print("puts things in order", flush=True)  # which looks for the second one
    sys.exit(main._signalled["status"])
"""


@pytest.mark.parametrize("names", [("SIGINT", "SIGTERM"), ("SIGTERM", "SIGINT"), ("SIGHUP", "SIGTERM")], ids=" ".join)
def test_two_signals_at_once_are_no_traceback(names):
    settings = {"capture_output": True, "timeout": 60, "env": {"PYTHONPATH": PATH}}
    done = subprocess.run([sys.executable, "-c", BOTH_AT_ONCE, *names], check=False, **settings)
    assert done.stderr == b""
    assert done.returncode in (ExitStatus.INTERRUPTED, ExitStatus.TERMINATED)
