"""`split --labels` with recordings that the annotations do not name."""

from __future__ import annotations

from pathlib import Path

import pytest
from fixtures_cli import RATE, audiocnn, tone, tone_model  # noqa: F401
from sounds import write

from audiocnn_cli.app.exits import ExitStatus


@pytest.fixture
def here(tmp_path, monkeypatch, tone_model):  # noqa: F811
    for name, spans in {"a": [(0.5, 1.0)], "silent": [], "z": [(0.5, 1.0)]}.items():
        write(tmp_path / "in" / f"{name}.wav", tone(*spans), RATE)
    (tmp_path / "tone").symlink_to(tone_model)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def split(*args):
    return audiocnn("split", "in", "--output-dir", "cuts", *args)


@pytest.mark.parametrize("kind", ["csv", "tsv", "rttm"])
def test_a_recording_without_a_segment_is_no_error(here, kind):
    audiocnn("detect", "in", "-m", "tone", "-f", kind, "-o", f"x.{kind}")
    done = split("--labels", f"x.{kind}")
    assert done.status is ExitStatus.OK
    assert done.err == f"audiocnn: x.{kind} has no segments for in/silent.wav: nothing to cut\n"
    assert sorted(path.name for path in Path("cuts").iterdir()) == ["a-0001-tone.wav", "z-0001-tone.wav"]
    done = split("--labels", f"x.{kind}", "--invert", "--force")
    assert Path("cuts/silent-0001-rest.wav").exists() and done.status is ExitStatus.OK


def test_a_format_that_names_silent_recordings_has_all(here):
    audiocnn("detect", "in/a.wav", "in/silent.wav", "-m", "tone", "-o", "x.jsonl")
    done = split("--labels", "x.jsonl")
    assert done.status is ExitStatus.SOME_FAILED and "does not contain in/z.wav" in done.err
    assert "silent" not in done.err


def test_names_that_do_not_agree_at_all_are_an_error(here):
    Path("x.csv").write_text("file,start,end,label\nother.wav,0.5,1.0,tone\n")
    done = split("--labels", "x.csv")
    assert done.status is ExitStatus.USAGE
    assert "x.csv: does not name in/a.wav, in/silent.wav, in/z.wav; check the names in it" in done.err
    done = audiocnn("split", "in/a.wav", "--output-dir", "one", "--labels", "x.csv")
    assert done.status is ExitStatus.USAGE and "does not contain in/a.wav" in done.err


@pytest.mark.parametrize("labels", [[], ["--labels", "x.csv"]])
def test_the_last_line_says_where_the_network_ran(here, labels):
    audiocnn("detect", "in", "-m", "tone", "-o", "x.csv")
    done = split("-v", *labels, *([] if labels else ["-m", "tone"]))
    (line,) = [line for line in done.err.splitlines() if "real time" in line]
    assert "2 pieces of 3 recordings" in line and " on on " not in line
    assert line.endswith(" on cpu") == (not labels) and line == line.rstrip()
