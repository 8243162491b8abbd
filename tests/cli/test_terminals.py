"""`detect` on various terminals: wide and narrow, without colour, ASCII only, without cursor movement."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest
from fixtures_cli import CODE, PATH, RATE, audiocnn, tone, tone_model  # noqa: F401
from sounds import write

from audiocnn_cli.app import progress
from audiocnn_cli.app.progress import _shorten_name
from audiocnn_cli.app.terminal import _in_ascii, _says_ascii

NAME = "zwei \u2603 T\xf6ne.wav"
ESCAPED = "zwei \\u2603 T\\xf6ne.wav"
COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-7](;[0-9;]*)?m|\x1b\[38;5;")
SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# What the environment of each says.
KINDS = {
    "usual": {"LC_ALL": "C.UTF-8"},
    "no colour": {"LC_ALL": "C.UTF-8", "NO_COLOR": "1"},
    "dumb": {"LC_ALL": "C.UTF-8", "TERM": "dumb"},
    "ascii": {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "ascii"},
    "C": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "LC_ALL": {"LC_ALL": "C"},
    "LANG": {"LC_ALL": "", "LANG": "C"},
}
IN_ASCII = ("ascii", "C", "LC_ALL", "LANG")
# Progress at once, however short the work.
EAGER = CODE.replace(
    "import sys;", "import sys; from audiocnn_cli.app import progress; progress._PATIENCE_SECONDS = 0.0;"
)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recordings")
    write(folder / NAME, tone((0.3, 0.8), (1.2, 1.9)), RATE)
    write(folder / "none.wav", tone(), RATE)
    return folder


def on_terminal(folder, columns, environ, *args):
    """(exit code, what came) of a command on a pseudo-terminal of so many columns."""
    control, line = pty.openpty()
    fcntl.ioctl(line, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = {"PYTHONPATH": PATH, "PATH": "/usr/bin:/bin", "TERM": "xterm-256color", **environ}
    command = [sys.executable, "-c", EAGER, *args]
    with subprocess.Popen(command, stdin=line, stdout=line, stderr=line, env=env, cwd=folder) as process:
        os.close(line)
        came = b""
        while True:
            try:
                part = os.read(control, 65536)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            came += part
        status = process.wait(60)
    os.close(control)
    return status, came


def shown_on(recordings, columns, kind, *args):
    """The lines that `detect` shows, without colours and what moves; all fit but the last, which a terminal wraps."""
    status, came = on_terminal(recordings, columns, KINDS[kind], "detect", *args)
    assert status == 0, came
    text = came.decode("ascii" if kind in IN_ASCII else "utf-8")
    assert bool(COLOUR.search(text)) == (kind not in ("no colour", "dumb")), text
    assert ("\x1b" in text) == (kind != "dumb")
    lines = [SEQUENCE.sub("", line) for line in re.split(r"[\r\n]+", text)]
    assert [line for line in lines if len(line) > columns and "real time on" not in line] == []
    return lines


@pytest.mark.parametrize("columns", [20, *(pytest.param(width, marks=pytest.mark.long) for width in (40, 200)), 80])
@pytest.mark.parametrize("kind", KINDS)
def test_detect_of_one_recording_fits_every_terminal(recordings, tone_model, kind, columns):  # noqa: F811
    lines = shown_on(recordings, columns, kind, NAME, "-m", str(tone_model))
    plain = "\n".join(lines)
    assert ("█" in plain) == (kind in ("usual", "no colour"))
    words = " ".join(plain.split())
    headline = re.sub(r"\s", "", ESCAPED if kind in IN_ASCII else NAME) + "2.0s,8000Hz,mono"
    joined = re.sub(r"\s", "", plain)
    assert re.search(r"zwei\S+ne\.wav2\.0s,8000Hz,mono", joined) if kind == "C" else headline in joined
    rows = re.findall(r"^ *(\d\.\d\d)[ |]+(\d\.\d\d).*\btone\b", plain, re.MULTILINE)
    assert rows == [("0.27", "0.83"), ("1.17", "1.93")]
    assert "2 segments of tone, 1.3 s (66 %)" in words
    timeline = next(number for number, line in enumerate(lines) if re.match(r" *tone [│|]", line))
    assert timeline > max(number for number, line in enumerate(lines) if "1.17" in line)


@pytest.mark.parametrize("columns", [20, *(pytest.param(width, marks=pytest.mark.long) for width in (40, 200)), 80])
@pytest.mark.parametrize("kind", KINDS)
def test_detect_of_several_recordings_is_a_line_each(recordings, tone_model, kind, columns):  # noqa: F811
    lines = shown_on(recordings, columns, kind, NAME, "none.wav", "-m", str(tone_model))
    found = [line for line in lines if re.search(r"wav +([│|].*[│|] *)?(1\.3 s +66|0\.0 s +0) %$", line)]
    assert [line.split()[-2] for line in found] == ["66", "0"], lines
    assert bool(re.search(r"[│|].*[▁-█.:=#].*[│|]", found[0])) == (columns >= 40)
    assert len({line.rstrip().rfind("%") for line in found}) == 1
    words = " ".join("\n".join(lines).split())
    assert "2 recordings, 4.0 s: 2 segments of tone, 1.3 s (33 %); no segment in 1 of them" in words


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
def test_progress_shows_how_much_and_how_long(recordings, tone_model, columns):  # noqa: F811
    _, came = on_terminal(recordings, columns, KINDS["usual"], "detect", *[NAME] * 3, "-m", str(tone_model))
    bars = [SEQUENCE.sub("", line) for line in re.split(r"[\r\n]+", came.decode()) if "left" in line]
    assert bars and all(re.search(r"\d+% .*\d\.\d s left", bar) for bar in bars), bars
    assert all(("real time" in bar) == (columns >= progress._WIDE) for bar in bars)


def test_progress_is_not_shown_where_it_is_not_wanted(recordings, tone_model):  # noqa: F811
    for environ, more in (({"TERM": "dumb"}, []), ({}, ["--no-progress"]), ({}, ["-q"])):
        args = ("detect", NAME, "none.wav", "-m", str(tone_model), *more)
        _, came = on_terminal(recordings, 80, KINDS["usual"] | environ, *args)
        assert b"left" not in came and b"\x1b[?25l" not in came


@pytest.mark.parametrize(
    ("name", "room", "shown"),
    [("a.wav", 5, "a.wav"), ("long/a.wav", 6, "…a.wav"), ("a.wav", 1, ""), ("a.wav", 0, ""), ("a.wav", -3, "")],
)
def test_a_long_name_is_cut_at_its_beginning(name, room, shown):
    assert _shorten_name(name, room) == shown


def test_letters_that_a_terminal_has_not_are_told_apart():
    problem = UnicodeEncodeError("ascii", "a…\u2603", 1, 3, "no")
    assert _in_ascii(problem) == ("~\\u2603", 3)


@pytest.mark.parametrize(
    ("environ", "ascii_alone"),
    [
        ({}, False), ({"LC_ALL": "C"}, True), ({"LC_ALL": "POSIX"}, True), ({"LC_ALL": "", "LC_CTYPE": "C"}, True),
        ({"LANG": "C"}, True), ({"LC_CTYPE": "C.UTF-8", "LANG": "C"}, True), ({"LC_CTYPE": "C.UTF-8"}, False),
        ({"LC_ALL": "C.UTF-8", "LANG": "C"}, False), ({"LC_CTYPE": "de_DE.UTF-8", "LANG": "C"}, False),
        ({"LANG": "de_DE.UTF-8"}, False), ({"LC_ALL": "C", "PYTHONIOENCODING": "utf-8"}, False),
    ],
)  # fmt: skip
def test_the_locale_says_what_a_terminal_shows(environ, ascii_alone):
    assert _says_ascii(environ) == ascii_alone


@pytest.mark.parametrize("columns", [20, 40, 200])
@pytest.mark.parametrize("args", ["models", "describe speech_1d speech_2d", "describe speech_2d", "info"])
def test_other_tables_are_drawn_on_every_width(args, columns):
    done = audiocnn(*args.split(), terminal=True, COLUMNS=str(columns))
    assert (done.status, done.err) == (0, "") and done.out


@pytest.mark.parametrize("columns", ["9" * 14, "9" * 5000, "0", "00000000000080", "-5", "x", "٣٣"])
@pytest.mark.parametrize("args", ["detect a.wav -m tone", "models", "describe speech_1d", "info"])
def test_a_width_that_no_terminal_has_is_not_believed(tmp_path, monkeypatch, tone_model, columns, args):  # noqa: F811
    write(tmp_path / "a.wav", tone((0.2, 0.6), seconds=1.0), RATE)
    (tmp_path / "tone").symlink_to(tone_model)
    monkeypatch.chdir(tmp_path)
    done = audiocnn(*args.split(), terminal=True, COLUMNS=columns)
    assert done.status == 0 and len(done.out) < 100_000, done.err
