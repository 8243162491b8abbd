"""Short output of `detect`: `--summary`, a line per recording, and a long table that leaves the timeline visible."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fixtures_cli import RATE, audiocnn, tone, tone_model, write_tones  # noqa: F401
from sounds import write

from audiocnn.inference.detect import Detection
from audiocnn.segments.segment import Segment
from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.app.terminal import Terminal
from audiocnn_cli.commands.detect.writers import _LEAST_ROWS, SUMMARY_FORMATS, DetectionLines, labels_in_sight

SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
def here(tmp_path, monkeypatch, tone_model):  # noqa: F811
    write_tones(tmp_path)
    (tmp_path / "all").mkdir()
    for name in ("one", "two", "none"):
        (tmp_path / f"{name}.wav").rename(tmp_path / "all" / f"{name}.wav")
    (tmp_path / "tone").symlink_to(tone_model)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def detect(*args, **more):
    done = audiocnn("detect", *args, "-m", "tone", **more)
    return done.status, SEQUENCE.sub("", done.out).splitlines(), done.err


def test_a_summary_has_the_file_records_and_their_total(here):
    _, lines, _ = detect("all")
    whole = [record for record in map(json.loads, lines) if record["type"] == "file"]
    status, lines, said = detect("all", "--summary")
    *files, total = map(json.loads, lines)
    assert (status, said) == (ExitStatus.OK, "")
    assert files == whole and len(files) == 3
    assert total == {
        "schema": 1, "type": "summary", "files": 3, "damaged": 0, "failed": 0, "duration": 6.0,
        "segments": sum(one["segments"] for one in files),
        "seconds": {"tone": pytest.approx(sum(one["seconds"]["tone"] for one in files))}, "model": "tone",
    }  # fmt: skip


def test_a_summary_counts_what_failed_and_what_is_damaged(here):
    samples = tone((0.5, 1.0), seconds=20.0) + 0.01 * np.random.default_rng(0).standard_normal(20 * RATE, np.float32)
    content = write(Path("whole.flac"), samples, RATE).read_bytes()
    Path("cut.flac").write_bytes(content[: len(content) // 2])
    status, lines, _ = detect("all", "gone.wav", "cut.flac", "--summary")
    *records, total = map(json.loads, lines)
    assert status is ExitStatus.SOME_FAILED
    assert [one["type"] for one in records] == ["file"] * 3 + ["error", "file"]
    assert (total["files"], total["failed"], total["damaged"]) == (4, 1, 1)


def test_a_summary_of_channels_and_excerpts_counts_what_was_heard(here):
    write(Path("stereo.wav"), np.stack([tone((0.5, 1.0)), tone()], axis=1), RATE)
    _, lines, _ = detect("stereo.wav", "--summary", "--channel", "each", "--start", "0.5")
    file, total = map(json.loads, lines)
    assert (file["start"], file["duration"], total["duration"]) == (0.5, 2.0, 1.5)
    _, lines, _ = detect("stereo.wav", "--summary", "--channel", "each", "--start", "0.5", "-f", "table")
    assert lines[-1] == "1 recording, 1.5 s: 1 segment of tone, 0.5 s (18 %), by tone"


def test_a_summary_of_a_stream_is_one_of_a_file(here):
    _, lines, _ = detect("-", "--summary", stdin=Path("all/two.wav").read_bytes())
    assert [(one["type"], one["segments"]) for one in map(json.loads, lines)] == [("file", 2), ("summary", 2)]


def test_a_summary_is_no_result_to_go_on_with_and_converts_to_no_segment(here):
    assert detect("all", "--summary", "-o", "x.jsonl")[:2] == (ExitStatus.OK, [])
    assert json.loads(Path("x.jsonl").read_text().splitlines()[-1])["type"] == "summary"
    assert detect("all", "-o", "x.jsonl", "--resume")[0] is ExitStatus.USAGE
    assert audiocnn("convert", "x.jsonl", "--to", "csv").out.splitlines() == ["file,channel,start,end,label,score"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("-f srt", "--summary needs one of the formats jsonl, csv, tsv, table; omit -f srt or --summary"),
        ("-o x.rttm", "omit -f rttm or --summary"),
        ("--output-dir x", "--summary and --output-dir cannot be combined"),
        ("-o x.jsonl --resume", "--summary and --resume cannot be combined"),
        ("--ray local -o x", "--summary and --ray cannot be combined"),
    ],
)
def test_where_a_summary_has_no_place(here, args, said):
    status, _, error = detect("all", "--summary", *args.split())
    assert status is ExitStatus.USAGE and error.count("\n") == 1 and said in error
    assert not Path("x").exists() and SUMMARY_FORMATS == ("jsonl", "csv", "tsv", "table")


@pytest.mark.parametrize("terminal", [False, True])
def test_a_table_of_a_summary_is_a_line_a_recording_everywhere(here, terminal):
    _, lines, _ = detect("all/two.wav", "--summary", "-f", "table", terminal=terminal)
    assert len(lines) == 2 and re.fullmatch(r"all/two\.wav │.*│ +1\.3 s +66 %", lines[0])


def test_tables_in_a_pipe_or_a_file_have_everything(here):
    _, lines, _ = detect("all", "-f", "table")
    assert sum(bool(re.search(r"\btone +\d\.\d\d", line)) for line in lines) == 3
    detect("all", "-f", "table", "-o", "x.txt", terminal=True)
    assert Path("x.txt").read_text().splitlines() == lines


def test_a_folder_with_one_recording_is_shown_in_detail(here):
    (here / "alone").mkdir()
    (here / "all" / "one.wav").rename(here / "alone" / "one.wav")
    _, lines, _ = detect("alone", terminal=True)
    assert any("length" in line for line in lines) and lines[-1] == "1 segment of tone, 0.6 s (28 %), by tone"


def test_of_a_list_that_may_not_end_each_line_comes_as_it_is_done(here):
    _, lines, _ = detect("--files-from", "-", stdin=b"all/one.wav\nall/none.wav\n", terminal=True, COLUMNS="120")
    assert [line.split()[0] for line in lines] == ["all/one.wav", "all/none.wav", "2"]


@pytest.mark.parametrize("height", [10, 24, 60, 500])
def test_a_long_table_leaves_the_timeline_in_sight(here, height):
    write(here / "long.wav", np.tile(tone((0.5, 1.0)), 200), RATE)
    done = audiocnn("detect", "long.wav", "-m", "tone", "--no-progress", terminal=True, LINES=str(height))
    lines = SEQUENCE.sub("", done.out).splitlines()
    rows = [line for line in lines if re.search(r"\btone +\d\.\d\d$", line)]
    more = re.search(r"^\.\.\. (\d+) more; write all with -o segments\.csv$", "\n".join(lines), re.MULTILINE)
    assert len(rows) + (int(more[1]) if more else 0) == 200
    timeline = next(number for number, line in enumerate(lines) if line.startswith("tone │"))
    assert len(lines) - timeline < 4  # at the end, above the prompt
    if height >= _LEAST_ROWS + 10:
        assert len(lines) + len(done.err.splitlines()) < height
    assert bool(more) == (height < 200)
    assert len(detect("long.wav", "-f", "csv")[1]) == 201


@pytest.mark.parametrize("several", [True, False])
def test_where_no_label_is_found_that_is_said_without_a_list(here, several):
    """Of a model of several labels only those that are there have seconds."""
    labels = ("animal", "baby", "car") if several else ("tone",)
    lines = DetectionLines(Terminal(io.BytesIO(), io.StringIO(), io.StringIO(), {"COLUMNS": "100"}), labels, ["a.wav"])
    about = {
        "file": "a.wav",
        "duration_seconds": 2.0,
        "sample_rate": RATE,
        "channels": 1,
        "model": "m",
        "device": "cpu",
    }
    nothing = Detection(**about, tracks={0: []}, thresholds=dict.fromkeys(labels, 0.5))
    found = Detection(**about, tracks={0: [Segment(0.5, 1.0, labels[0], 0.9)]}, thresholds=dict.fromkeys(labels, 0.5))
    assert ("nothing found" in lines.line(nothing).plain) is several
    assert labels[0] in lines.line(found).plain or not several
    assert "baby" not in lines.line(nothing).plain + lines.line(found).plain


def test_a_table_of_a_summary_has_a_row_for_what_could_not_be_read(here):
    Path("all/bad.wav").write_bytes(b"nothing that is sound")
    status, lines, _ = detect("all", "--summary", "-f", "csv")
    assert status is ExitStatus.SOME_FAILED
    assert lines[0] == "file,duration,segments,tone,status"
    assert lines[1] == "all/bad.wav,,,,error"
    assert [line.split(",")[-1] for line in lines[2:]] == ["ok", "ok", "ok"]


def test_a_summary_of_several_folders_has_a_line_for_each(here):
    Path("all/more").mkdir()
    for name in ("one", "none"):
        Path(f"all/{name}.wav").rename(f"all/more/{name}.wav")
    Path("all/more/bad.wav").write_bytes(b"nothing that is sound")
    _, lines, _ = detect("all", "--summary", "-f", "table")
    folders = [line for line in lines if line.startswith(("all/:", "all/more/:"))]
    assert sorted(line.split(",")[0] for line in folders) == ["all/: 1 recording", "all/more/: 2 recordings"]
    assert re.search("all/more/: 2 [^/]*; 1 could not be read", " ".join(lines))
    assert any(line.startswith("3 recordings") for line in lines)
    _, lines, _ = detect("all/more", "--summary", "-f", "table")
    assert not any("/:" in line for line in lines)


def test_nothing_new_is_said_in_one_line(here):
    assert detect("all", "--output-dir", "out")[0] is ExitStatus.OK
    status, _, said = detect("all", "--output-dir", "out", "--skip-existing", terminal=True)
    assert status is ExitStatus.OK and SEQUENCE.sub("", said).splitlines()[-1] == "nothing new: 3 already done"


def test_of_many_labels_only_those_that_were_found_have_a_timeline():
    tracks = {0: (Segment(0.5, 1.0, "l3", 0.9), Segment(1.5, 2.0, "l17", 0.9))}
    about = {
        "file": "a.wav",
        "duration_seconds": 3.0,
        "sample_rate": RATE,
        "channels": 1,
        "model": "m",
        "device": "cpu",
    }
    many = Detection(**about, tracks=tracks, thresholds={f"l{k}": 0.5 for k in range(40)})
    assert labels_in_sight(many) == ["l3", "l17"]
    few = replace(many, thresholds={f"l{k}": 0.5 for k in range(12)})
    assert labels_in_sight(few) == [f"l{k}" for k in range(12)]
