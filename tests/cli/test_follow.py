"""`detect` and `score` on standard input: results while data arrives, raw samples, signals, terminals."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from fixtures_cli import CODE, PATH, RATE, Stream, audiocnn, audiocnn_process, tone, tone_model  # noqa: F401
from sounds import as_bytes, noise, wav_bytes, write

from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.app.terminal import Terminal
from audiocnn_cli.main import run

SPANS = (0.5, 1.0), (1.5, 2.2)


def int16(samples):
    return np.round(samples * 32767).astype("<i2").tobytes()


def endless_wav(samples):
    return wav_bytes(int16(samples), RATE, says_bytes=0xFFFFFFFF)


def records_of(text):
    return [json.loads(line) for line in text.splitlines()]


def kinds(records):
    return [record["type"] for record in records]


@contextmanager
def listening(*args, **more):
    """A command whose standard input is a pipe that stays open."""
    settings = {"env": {"PYTHONPATH": PATH, "PATH": "/usr/bin:/bin"}, "stdout": subprocess.PIPE, **more}
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, *map(str, args)],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **settings,
    )
    try:
        with process:
            yield process
    finally:
        process.kill()


def say(process, data):
    process.stdin.write(data)
    process.stdin.flush()


def test_follow_tells_onsets_and_segments_while_the_stream_goes_on(tone_model):  # noqa: F811
    with listening("detect", "--follow", "-", "-m", tone_model) as process:
        say(process, endless_wav(tone((0.5, 1.0), seconds=1.0)))
        onset = json.loads(process.stdout.readline())
        say(process, int16(tone(seconds=0.5)))
        segment = json.loads(process.stdout.readline())
        assert onset == {
            "schema": 1, "type": "onset", "file": "-", "channel": 0, "start": segment["start"], "label": "tone",
        }  # fmt: skip
        assert (segment["type"], segment["end"]) == ("segment", pytest.approx(1.03, abs=0.011))
        process.stdin.close()
        (file,) = records_of(process.stdout.read())
        assert (file["type"], file["status"], file["segments"], file["duration"]) == ("file", "ok", 1, 1.5)
        assert process.wait(timeout=60) == 0
        assert process.stderr.read() == b""


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 143)])
def test_a_signal_closes_the_segment_that_is_open(tone_model, name, status):  # noqa: F811
    with listening("detect", "--follow", "-", "-m", tone_model) as process:
        say(process, endless_wav(tone((0.5, 2.0))))
        assert json.loads(process.stdout.readline())["type"] == "onset"
        process.send_signal(getattr(signal, name))
        segment, file = records_of(process.stdout.read())
        assert (segment["type"], segment["end"], file["type"]) == ("segment", 2.0, "file")
        assert (file["segments"], file["duration"], file["status"]) == (1, 2.0, "ok")
        assert process.wait(timeout=60) == status
        assert process.stderr.read() == b""


def test_a_file_that_was_being_written_is_kept(tone_model, tmp_path):  # noqa: F811
    path = tmp_path / "found.csv"
    with listening("detect", "--follow", "-", "-m", tone_model, "-o", path) as process:
        say(process, endless_wav(tone(*SPANS, seconds=60.0)))
        process.stdin.close()
        assert process.wait(timeout=60) == 0
    assert len(path.read_text().splitlines()) == 3
    with listening("detect", "--follow", "-", "-m", tone_model, "-f", "csv") as process:
        say(process, endless_wav(tone((0.5, 1.0), seconds=2.0)))
        header, row = process.stdout.readline(), process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
    assert header == b"file,channel,start,end,label,score\n"
    assert row.startswith(b"-,0,0.47,")


def test_a_reader_that_leaves_ends_it_quietly(tone_model):  # noqa: F811
    with listening("detect", "--follow", "-", "-m", tone_model) as process:
        say(process, endless_wav(tone((0.5, 2.0))))
        process.stdout.readline()
        process.stdout.close()
        say(process, int16(tone(seconds=1.0)))
        assert process.wait(timeout=60) == 0
        assert process.stderr.read() == b""


@pytest.mark.parametrize("args", [["detect", "--follow"], ["detect"], ["score"]])
@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_ends_a_command_whose_reader_does_not_read(tone_model, args, name, status):  # noqa: F811
    data = endless_wav(np.tile(tone((0.1, 0.3), seconds=0.4), 300))
    short = [] if args == ["score"] else ["--min-duration", "0", "--min-silence", "0"]
    read_end, write_end = os.pipe()
    fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, 4096)
    try:
        with listening(*args, "-", "-m", tone_model, "-f", "csv", *short, stdout=write_end) as process:
            writer = threading.Thread(target=say_until_it_ends, args=(process, data))
            writer.start()
            try:
                wait_until_full(write_end)
                process.send_signal(getattr(signal, name))
                assert process.wait(timeout=20) == status
            finally:
                process.kill()
                writer.join()
            assert b"Traceback" not in process.stderr.read()
    finally:
        os.close(read_end)
        os.close(write_end)


def say_until_it_ends(process, data):
    with contextlib.suppress(BrokenPipeError):
        say(process, data)


def wait_until_full(write_end):
    """Wait until nothing more can be written into a pipe, for a moment."""
    full_since = None
    for _ in range(1000):
        full = not select.select([], [write_end], [], 0)[1]
        full_since = (full_since or time.monotonic()) if full else None
        if full_since is not None and time.monotonic() - full_since > 0.4:
            return
        time.sleep(0.02)
    raise AssertionError("the pipe is not filled")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_each_onset_has_its_segment_where_samples_are_no_numbers(tone_model, value):  # noqa: F811
    samples = tone((0.5, 2.0)).astype("<f4").tobytes()
    raw = ["--raw", "f32le", "--rate", RATE]
    with listening("detect", "--follow", "-", "-m", tone_model, *raw) as process:
        say(process, samples)
        onset = json.loads(process.stdout.readline())
        say(process, np.full(10, value, "<f4").tobytes())
        process.stdin.close()
        segment, error = records_of(process.stdout.read())
        assert (onset["type"], segment["type"], error["type"]) == ("onset", "segment", "error")
        assert (segment["start"], segment["end"]) == (onset["start"], pytest.approx(2.0, abs=0.05))
        assert process.wait(timeout=60) == ExitStatus.SOME_FAILED


@pytest.mark.parametrize("args", [["detect", "-f", "jsonl"], ["detect", "-f", "csv"], ["score"]])
def test_what_was_written_before_an_error_is_not_nothing(tone_model, args):  # noqa: F811
    samples = np.tile(tone((0.5, 1.0)), 30)
    samples[-100] = np.nan
    raw = ["--raw", "f32le", "--rate", RATE]
    done = audiocnn_process(*args, "-", "-m", tone_model, *raw, input=samples.astype("<f4").tobytes())
    assert (done.returncode, len(done.stdout.splitlines()) > 2) == (ExitStatus.SOME_FAILED, True)
    nothing = audiocnn_process(*args, "-", "-m", tone_model, *raw, input=samples[-101:].astype("<f4").tobytes())
    assert nothing.returncode == ExitStatus.USAGE


@pytest.mark.parametrize("kind", ["jsonl", "csv", "tsv"])
def test_detect_writes_segments_of_a_stream_while_it_comes(tone_model, kind):  # noqa: F811
    with listening("detect", "-", "-m", tone_model, "-f", kind) as process:
        say(process, endless_wav(tone((0.5, 1.0), seconds=1.5)))
        lines = [process.stdout.readline() for _ in range(1 if kind == "jsonl" else 2)]
        assert b"tone" in lines[-1]
        say(process, int16(tone((0.5, 1.0), seconds=1.5)))
        assert b"tone" in process.stdout.readline()
        process.stdin.close()
        rest = process.stdout.read()
        assert process.wait(timeout=60) == 0
    assert kind != "jsonl" or records_of(rest)[0]["segments"] == 2
    assert kind == "jsonl" or rest == b""


def test_score_writes_rows_of_a_stream_while_it_comes(tone_model):  # noqa: F811
    with listening("score", "-", "-m", tone_model) as process:
        say(process, endless_wav(tone((0.5, 1.0), seconds=1.0)))
        # A row is known half a window behind it: of 100 rows these are there while nothing more comes.
        rows = [process.stdout.readline() for _ in range(1 + 93)]
        assert rows[0] == b"file,channel,start,end,tone\n"
        assert rows[93].startswith(b"-,0,0.92,0.93,")
        process.stdin.close()
        assert len(process.stdout.read().splitlines()) == 7
        assert process.wait(timeout=60) == 0


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
@pytest.mark.parametrize("command", ["detect", "score"])
def test_a_signal_ends_a_command_that_waits_for_a_stream(tone_model, command, name, status):  # noqa: F811
    with listening(command, "-", "-m", tone_model, "-f", "csv") as process:
        say(process, endless_wav(tone((0.5, 1.0), seconds=1.5)))
        process.stdout.readline(), process.stdout.readline()
        process.send_signal(getattr(signal, name))
        assert process.wait(timeout=60) == status
        assert process.stderr.read() == b""


def test_a_fast_pipe_gives_what_the_file_gives(tone_model, tmp_path):  # noqa: F811
    samples = np.tile(tone(*SPANS, seconds=3.0), 60)
    path = write(tmp_path / "long.wav", samples, RATE)
    for command in ("detect", "score"):
        given = path.read_bytes()
        piped = audiocnn_process(command, "-", "-m", tone_model, "-f", "jsonl", input=given)
        disk = audiocnn_process(command, path, "-m", tone_model, "-f", "jsonl")
        assert (piped.returncode, piped.stderr) == (0, b"")
        expected = [dict(record, file="-") for record in records_of(disk.stdout)]
        found = records_of(piped.stdout)
        assert len(found) == len(expected) > 100
        for one, other in zip(found, expected, strict=True):
            assert one.pop("score", 0) == pytest.approx(other.pop("score", 0), abs=2e-4)
            assert one.pop("scores", {}) == pytest.approx(other.pop("scores", {}), abs=2e-4)
            assert one == other
    followed = records_of(audiocnn_process("detect", "--follow", "-", "-m", tone_model, input=given).stdout)
    assert kinds(followed).count("onset") == kinds(followed).count("segment") == 120


RAW = {
    "s16le": lambda x: np.round(x * 32767).astype("<i2"),
    "s24be": lambda x: np.round(x * 8388607).astype(">i4").view("u1").reshape(-1, 4)[:, 1:],
    "f32le": lambda x: x.astype("<f4"),
    "u8": lambda x: np.round(x * 127 + 128).astype("u1"),
}


@pytest.mark.parametrize("encoding", RAW)
def test_raw_samples_on_standard_input_and_in_files(tone_model, tmp_path, encoding):  # noqa: F811
    both = np.stack([np.zeros(3 * RATE, np.float32), tone(*SPANS, seconds=3.0)], axis=1)
    data = RAW[encoding](both.ravel()).tobytes()
    path = tmp_path / "samples.raw"
    path.write_bytes(data)
    options = ["--raw", encoding, "--rate", RATE, "--channels", 2, "--channel", 1, "-m", tone_model]
    named = audiocnn("detect", path, *options)
    piped = audiocnn_process("detect", "-", *options, input=data)
    records, streamed = records_of(named.out), records_of(piped.stdout)
    assert kinds(records) == kinds(streamed) == ["segment", "segment", "file"]
    assert (records[2]["duration"], records[2]["channels"]) == (3.0, 2)
    assert (
        [r["start"] for r in records[:2]]
        == [r["start"] for r in streamed[:2]]
        == pytest.approx([0.47, 1.47], abs=0.011)
    )
    rows = audiocnn("score", path, *options).out.splitlines()
    assert len(rows) == 301
    assert audiocnn_process("score", "-", *options, input=data).stdout.decode().splitlines()[1:] != []


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("--rate 16000", r"--rate applies to samples without a header; give their format too, as in --raw s16le"),
        ("--channels 2", r"--channels applies to samples without a header"),
        ("--raw s16le", r"--raw s16le: the sample rate is missing; give it, as in --rate 16000"),
        ("--raw s16", r'--raw cannot be "s16"; did you mean "s16[bl]e"\?'),
        ("--raw pcm --rate 8000", r'--raw cannot be "pcm"; known: alaw'),
        ("--raw s16le --rate 0", r"--rate 0: not a sample rate; give it in Hz"),
        ("--raw s16le --rate x", r"--rate: give a whole number"),
        ("--raw s16le --rate 8000 --channels 0", r"--channels 0: .*give a number from 1 to 1024"),
    ],
)
def test_raw_options_that_cannot_be(tone_model, tmp_path, args, message):  # noqa: F811
    path = tmp_path / "a.raw"
    path.write_bytes(bytes(100))
    for command in ("detect", "score"):
        done = audiocnn(command, path, "-m", tone_model, *args.split())
        assert done.status is ExitStatus.USAGE
        assert re.search(message, done.err), done.err
        assert done.err.count("\n") == 1 and done.out == ""


def test_raw_samples_without_raw_say_what_to_do(tone_model, tmp_path):  # noqa: F811
    path = tmp_path / "a.raw"
    path.write_bytes(bytes(1000))
    assert "`detect` and `score` read them with --raw and --rate" in audiocnn("detect", path, "-m", tone_model).err
    done = audiocnn_process("detect", "-", "-m", tone_model, input=noise(0.1, RATE).tobytes())
    assert done.returncode == ExitStatus.USAGE
    assert re.search(rb"not a supported audio format; .* give their encoding with --raw", done.stderr)


@pytest.mark.parametrize(
    "args", ["--follow one.wav", "--follow", "--follow - one.wav", "--follow - -", "--follow - --files-from list"]
)
def test_follow_is_for_standard_input(tone_model, args):  # noqa: F811
    done = audiocnn("detect", *args.split(), "-m", tone_model)
    assert (done.status, done.out) == (ExitStatus.USAGE, "")
    assert "--follow reads standard input; give - and no other file" in done.err


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"-: empty \(0 bytes\); check the program that writes it"),
        (
            as_bytes(noise(1.0, RATE), RATE, "FLAC"),
            r"-: cannot be read as a live stream; send uncompressed WAV, AIFF, AU, or raw samples",
        ),
        (noise(1.0, RATE).tobytes(), r"-: cannot be read as a live stream; .* --raw and --rate"),
        (wav_bytes(b"", RATE), r"-: contains no samples"),
    ],
)
def test_follow_what_cannot_be_followed(tone_model, data, message):  # noqa: F811
    done = audiocnn_process("detect", "--follow", "-", "-m", tone_model, input=data)
    assert done.returncode == ExitStatus.USAGE
    assert re.search(message, done.stderr.decode())
    assert kinds(records_of(done.stdout)) == ["error"]


def test_a_process_without_standard_input():
    closed = subprocess.run(
        f"{sys.executable} -c '{CODE}' detect - <&-",
        shell=True,
        check=False,
        capture_output=True,
        env={"PYTHONPATH": PATH},
    )
    assert closed.returncode == ExitStatus.USAGE
    assert re.fullmatch(rb"audiocnn: error: .*: empty \(0 bytes\); check the program that writes it\n", closed.stderr)


def test_follow_a_stream_that_is_cut_or_silent(tone_model):  # noqa: F811
    cut = wav_bytes(int16(tone((0.5, 1.0))), RATE, says_bytes=10**6)
    done = audiocnn_process("detect", "--follow", "-", "-m", tone_model, input=cut)
    assert done.returncode == ExitStatus.SOME_FAILED
    assert records_of(done.stdout)[-1]["status"] == "damaged"
    assert b"warning: -: damaged or cut short: decoded up to 2.00 s" in done.stderr
    silent = ["detect", "--follow", "-", "-m", tone_model]
    assert audiocnn(*silent, stdin=wav_bytes(bytes(RATE), RATE)).status is ExitStatus.OK
    assert audiocnn(*silent, "--exit-status", stdin=wav_bytes(bytes(RATE), RATE)).status is ExitStatus.NOTHING_FOUND


def follow_on_terminal(model, samples, *args, **environ):
    stdin = io.BytesIO(wav_bytes(int16(samples), RATE))
    stdin.name = "-"
    streams = Terminal(stdin, Stream(True), Stream(True), {"TERM": "xterm-256color", "COLUMNS": "80", **environ})
    status = run(["detect", "--follow", "-", "-m", str(model), *args], streams)
    return status, streams.stdout.getvalue(), streams.stderr.getvalue()


def as_shown(text):
    """What a terminal shows in the end: lines that were drawn again are gone."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    return [line.rsplit("\r\x1b[2K", 1)[-1].rstrip() for line in plain.split("\n")]


def test_a_person_sees_a_line_a_segment_from_its_onset_on(tone_model):  # noqa: F811
    status, out, err = follow_on_terminal(tone_model, tone(*SPANS, seconds=3.0), "--pad", "0")
    assert status is ExitStatus.OK
    lines = as_shown(out)
    assert lines[0].split() == ["start", "end", "length", "score", "label"]
    assert [line.split()[4] for line in lines[1:3]] == ["tone", "tone"]
    assert re.match(r" +0:00:00\.\d\d +0:00:0[01]\.\d\d +0\.\d\d +[01]\.\d\d  tone$", lines[1])
    assert lines[3].startswith("3.0 s processed, 2 segments: tone 1.")
    assert out.count("...") == 2, "each stood there without its end before"
    assert "\x1b[32m" in out
    assert err == "listening to standard input; press Ctrl-C to stop\n"
    narrow = as_shown(follow_on_terminal(tone_model, tone(*SPANS, seconds=3.0), COLUMNS="40")[1])
    assert max(map(len, narrow)) <= 40


@pytest.mark.parametrize(("args", "environ"), [(["--no-progress"], {}), ([], {"TERM": "dumb"})])
def test_without_animation_an_onset_is_a_line(tone_model, args, environ):  # noqa: F811
    out = follow_on_terminal(tone_model, tone((0.5, 1.0)), *args, **environ)[1]
    plain = re.sub(r"\x1b\[[0-9;]*m", "", out)
    assert "\r" not in plain and "\x1b" not in plain
    assert [len(line.split()) for line in plain.splitlines()[:3]] == [5, 3, 5]


def test_follow_in_this_process_leaves_signals_as_they_were(tone_model):  # noqa: F811
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    done = audiocnn("detect", "--follow", "-", "-m", tone_model, stdin=wav_bytes(int16(tone((0.5, 1.0))), RATE))
    assert kinds(records_of(done.out)) == ["onset", "segment", "file"]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_the_manual_names_every_encoding_and_option():
    from audiocnn.audio.pcm import ENCODINGS

    page = (Path(__file__).parents[2] / "docs" / "how-to" / "streams.md").read_text(encoding="utf-8")
    for word in (*ENCODINGS, "--raw", "--rate", "--channels", "--follow", "arecord", "ffmpeg", "sox"):
        assert f"`{word}`" in page or word in ("arecord", "ffmpeg", "sox", "--follow"), word
        assert word in page
    help_text = audiocnn_process("detect", "--help-all").stdout.decode()
    assert all(option in help_text for option in ("--follow", "--raw", "--rate", "--channels"))
