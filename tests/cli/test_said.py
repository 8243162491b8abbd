"""The last lines of commands, and messages about invalid values: short, and printed once."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from fixtures_cli import RATE, Stream, audiocnn, tone, tone_model  # noqa: F401
from sounds import write

from audiocnn.inference.classify import AnswerRule, Clip
from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.app.terminal import Terminal
from audiocnn_cli.commands.classify.writers import AnswerLayout, ClipTables


@pytest.fixture
def here(tmp_path, monkeypatch, tone_model):  # noqa: F811
    write(tmp_path / "in" / "a.wav", tone((0.5, 1.0)), RATE)
    write(tmp_path / "in" / "b.wav", tone(), RATE)
    (tmp_path / "tone").symlink_to(tone_model)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "args",
    ["detect -o x.csv", "detect --output-dir out", "classify -o x.csv", "score -o x.csv", "score --output-dir out"],
)
def test_the_last_line_says_where_the_results_lie(here, args):
    command, *where = args.split()
    done = audiocnn(command, "in", "-m", "tone", *where, terminal=True)
    assert done.err.splitlines()[-1].endswith(f"; written to {where[-1]}")


def test_what_the_table_says_is_not_said_again(here):
    done = audiocnn("detect", "in", "-m", "tone", terminal=True)
    assert done.out.count("2 recordings") == 1 and "2 recordings" not in done.err
    assert "real time on cpu" in done.err
    assert "2 recordings" in audiocnn("detect", "in", "-m", "tone", "-v", "-f", "csv").err


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ("detect a.wav --min-duration 1s", "--min-duration: give a number, such as 0.5"),
        ("detect a.wav --start x", "--start: give seconds or minutes:seconds"),
        ("detect a.wav --jobs 2.5", "--jobs: give a whole number"),
        ("detect a.wav --jobs 0", "--jobs: give 1 or more"),
        ("classify a.wav -k 0", "--top: give 1 or more"),
        ("evaluate x --resamples=-1", "--resamples: give 0 or more"),
        ("train x --epochs many", "--epochs: give a whole number"),
    ],
)
def test_a_value_of_the_wrong_kind_is_one_plain_line(here, args, told):
    done = audiocnn(*args.split())
    assert done.status is ExitStatus.USAGE and len(done.err.splitlines()) == 1
    assert told in done.err and "Input should" not in done.err and "parse string" not in done.err


@pytest.mark.parametrize(("kind", "separator"), [("csv", ","), ("tsv", "\t")])
def test_the_summary_is_a_table_for_a_spreadsheet(here, kind, separator):
    done = audiocnn("detect", "in", "-m", "tone", "--summary", "-f", kind)
    rows = list(csv.DictReader(io.StringIO(done.out), delimiter=separator))
    assert [row["file"] for row in rows] == ["in/a.wav", "in/b.wav"]
    assert [row["segments"] for row in rows] == ["1", "0"] and [row["duration"] for row in rows] == ["2.0", "2.0"]
    assert float(rows[0]["tone"]) == pytest.approx(0.5, abs=0.2) and float(rows[1]["tone"]) == 0
    assert audiocnn("detect", "in", "-m", "tone", "--summary", "-o", f"x.{kind}").status is ExitStatus.OK
    assert Path(f"x.{kind}").read_text() == done.out


def test_records_of_the_summary_have_the_settings_of_the_others(here):
    def settings(*more):
        found = [json.loads(line) for line in audiocnn("detect", "in", "-m", "tone", *more).out.splitlines()]
        return [one["settings"] for one in found if one["type"] == "file"]

    assert settings() == settings("--summary") and len(settings()) == 2
    assert settings("--summary", "--threshold", "0.4") != settings("--summary")


@pytest.mark.parametrize("content", [bytes(range(256)) * 20, b"hello\n" * 100])
@pytest.mark.parametrize("ffmpeg", [True, False])
def test_what_is_no_audio_is_not_to_be_converted_by_what_is_missing(here, monkeypatch, content, ffmpeg):
    Path("x.wav").write_bytes(content)
    Path("x.dat").write_bytes(content)
    if not ffmpeg:
        monkeypatch.setattr("audiocnn.audio.decoders.find_program", lambda: None)
    done = audiocnn("detect", "x.dat", "-m", "tone")
    assert "check the file" in done.err
    assert ffmpeg or ("install ffmpeg" in done.err and "ffmpeg -i" not in done.err)
    done = audiocnn("detect", "x.wav", "-m", "tone")  # by its name, no other program is needed
    assert "check the file, or copy it again" in done.err and "ffmpeg" not in done.err


def test_a_label_with_a_higher_score_than_the_answer_shows_why_it_is_none():
    terminal = Terminal(io.BytesIO(), Stream(True), Stream(True), {"COLUMNS": "100"})
    layout = AnswerLayout(("noise", "music", "speech"), True, 3, False, "m", "")
    table = ClipTables(terminal, layout, ["a", "b"])
    rule = AnswerRule(("noise", "music", "speech"), (0.5, 0.7, 0.5), True)
    with table.console.capture() as drawn:
        table.line("a", Clip(rule, 0, 0.0, 1.0, np.array([0.52, 0.68, 0.01])))
        table.line("b", Clip(rule, 0, 0.0, 1.0, np.array([0.4998, 0.1, 0.01])))
    first, second = drawn.get().splitlines()
    assert "noise" in first and "music 0.68 < 0.70" in first and "speech 0.01" in first and "0.01 <" not in first
    assert "noise 0.500 < 0.500" in second and "music 0.10" in second and "0.10 <" not in second


def test_a_table_for_people_is_not_mistaken_for_labels(here):
    assert "-f audacity" in audiocnn("detect", "in/a.wav", "-m", "tone", "-o", "x.txt").err
    assert "-f audacity" not in audiocnn("detect", "in/a.wav", "-m", "tone", "-o", "y.txt", "-f", "table").err


@pytest.mark.parametrize(("kind", "told"), [("csv", True), ("rttm", True), ("jsonl", False)])
def test_convert_says_that_silent_recordings_get_no_file(here, kind, told):
    audiocnn("detect", "in", "-m", "tone", "-o", f"x.{kind}")
    done = audiocnn("convert", f"x.{kind}", "--to", "textgrid", "--output-dir", "out")
    assert ("without segments" in done.err) == told
    assert len(list(Path("out").rglob("*.TextGrid"))) == (1 if told else 2)
