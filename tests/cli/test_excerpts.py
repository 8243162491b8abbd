"""`--start` and `--end`: the same results as for the excerpt alone, at the times of the recording."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import soundfile
from fixtures_cli import RATE, audiocnn, tone, tone_model  # noqa: F401
from sounds import as_bytes, write

import audiocnn as library
from audiocnn.units import parse_clock
from audiocnn_cli.app.exits import ExitStatus

START, END = 1.0, 3.5
EXCERPT = ("--start", START, "--end", END)
SOUND = tone((0.5, 1.3), (1.7, 2.2), (3.0, 4.0), seconds=5.0)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The recording, and its excerpt as a file of its own."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.wav", SOUND, RATE)
    write(tmp_path / "part.wav", SOUND[round(START * RATE) : round(END * RATE)], RATE)
    return tmp_path


def rows(done):
    assert done.status is ExitStatus.OK, done.err
    return [{k: v for k, v in row.items() if k != "file"} for row in csv.DictReader(done.out.splitlines())]


def later(found, seconds=START):
    return [row | {k: str(round(float(row[k]) + seconds, 4)) for k in ("start", "end")} for row in found]


@pytest.mark.parametrize("command", ["detect", "score", "classify", "classify --every 0.5", "detect --channel each"])
def test_what_an_excerpt_holds_is_found_at_the_times_of_the_recording(here, tone_model, command):  # noqa: F811
    task = (*command.split(), "-f", "csv", "-m", tone_model)
    alone = later(rows(audiocnn(*task, "part.wav")))
    assert len(alone) > ("score" in command)
    assert rows(audiocnn(*task, "a.wav", *EXCERPT)) == alone
    assert rows(audiocnn(*task, "-", *EXCERPT, stdin=(here / "a.wav").read_bytes())) == alone
    flac = as_bytes(SOUND, RATE, "FLAC")
    assert rows(audiocnn(*task, "-", *EXCERPT, stdin=flac)) == later(
        rows(audiocnn(*task, "-", stdin=as_bytes(SOUND[RATE : round(END * RATE)], RATE, "FLAC")))
    )


def test_a_stream_that_is_followed_ends_there(here, tone_model):  # noqa: F811
    done = audiocnn("detect", "--follow", "-", "-m", tone_model, *EXCERPT, stdin=(here / "a.wav").read_bytes())
    found = [json.loads(line) for line in done.out.splitlines()]
    segments = [(one["start"], one["end"]) for one in found if one["type"] == "segment"]
    assert np.allclose(segments, [(1.0, 1.3), (1.7, 2.2), (3.0, 3.5)], atol=0.06)
    assert [one["start"] for one in found if one["type"] == "onset"] == [start for start, _ in segments]
    assert (found[-1]["start"], found[-1]["duration"]) == (START, END)


def test_records_say_what_was_read(here, tone_model):  # noqa: F811
    def last(*options):
        return json.loads(audiocnn("detect", "a.wav", "-m", tone_model, *options).out.splitlines()[-1])

    whole, part = last(), last(*EXCERPT)
    assert "start" not in whole and whole["duration"] == 5.0
    assert (part["start"], part["duration"]) == (START, END)
    assert part["seconds"]["tone"] == pytest.approx(1.3, abs=0.15)
    assert len({one["settings"] for one in (whole, part, last("--start", START), last("--end", END))}) == 4
    assert last("--end", 9)["duration"] == 5.0


def test_resume_does_not_mix_excerpts(here, tone_model):  # noqa: F811
    task = ("detect", "a.wav", "-m", tone_model, "-o", "x.jsonl")
    assert audiocnn(*task, *EXCERPT).status is ExitStatus.OK
    assert audiocnn(*task, "--resume", *EXCERPT).status is ExitStatus.OK
    assert audiocnn(*task, "--resume").status is ExitStatus.USAGE
    assert audiocnn(*task, "--resume", "--start", START).status is ExitStatus.USAGE


@pytest.mark.parametrize("kind", ["textgrid", "rttm", "elan", "table"])
def test_formats_that_tell_a_length_take_an_excerpt(here, tone_model, kind):  # noqa: F811
    done = audiocnn("detect", "a.wav", "-m", tone_model, "-f", kind, *EXCERPT)
    assert (done.status, done.err) == (ExitStatus.OK, "")


@pytest.mark.parametrize("source", [(), ("--labels", "a.txt")])
@pytest.mark.parametrize("options", [(), ("--join",), ("--channel", "each")])
def test_split_cuts_nothing_outside_of_an_excerpt(here, tone_model, source, options):  # noqa: F811
    (here / "a.txt").write_text("0.5\t1.3\ttone\n1.7\t2.2\ttone\n3\t4\ttone\n4.5\tinf\ttone\n")
    asked = (*options, *(source or ("-m", tone_model)), *EXCERPT)
    whole = SOUND[round(START * RATE) : round(END * RATE)]
    covered = np.zeros(len(whole), int)
    for name, more in (("cuts", ()), ("rests", ("--invert",))):
        done = audiocnn("split", "a.wav", "--output-dir", name, *asked, *more)
        assert done.status is ExitStatus.OK, done.err
        for piece in map(json.loads, done.out.splitlines()):
            if piece["type"] == "piece":
                first, stop = (piece["first_sample"] - RATE + at for at in (0, piece["samples"]))
                assert 0 <= first < stop <= len(whole)
                covered[first:stop] += 1
                there = soundfile.read(piece["output"])[0][piece["output_sample"] :][: stop - first]
                assert np.allclose(there, whole[first:stop], atol=1e-4)
    assert (covered == 1).all()


def test_score_arrays_say_where_they_begin(here, tone_model):  # noqa: F811
    for options, start in (((), None), (EXCERPT, START)):
        assert audiocnn("score", "a.wav", "-m", tone_model, "-o", "a.npz", "--force", *options).status is ExitStatus.OK
        with np.load(here / "a.npz") as arrays:
            assert arrays.get("start_seconds") == start


@pytest.mark.parametrize("command", ["detect", "score", "classify", "split --output-dir cuts"])
@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (("--start", 5), ExitStatus.USAGE, "5.00 s long"),
        (("--start", 2, "--end", 1), ExitStatus.USAGE, "ends before it begins"),
        (("--start", -1), ExitStatus.USAGE, "not a time in a recording; give seconds"),
        (("--end", "nan"), ExitStatus.USAGE, "not a time in a recording; give seconds"),
    ],
)
def test_an_excerpt_that_is_not_there_is_an_error(here, tone_model, command, options, status, words):  # noqa: F811
    done = audiocnn(*command.split(), "a.wav", "-m", tone_model, *options)
    assert (done.status, done.err.count("\n")) == (status, 1)
    assert words in done.err


def test_of_many_recordings_one_that_is_too_short_fails_alone(here, tone_model):  # noqa: F811
    done = audiocnn("detect", "part.wav", "a.wav", "-m", tone_model, "--start", 3)
    assert done.status is ExitStatus.SOME_FAILED
    assert [json.loads(line)["file"] for line in done.out.splitlines()] == ["part.wav", "a.wav", "a.wav"]


def test_a_person_is_told_how_many_recordings_end_before_the_excerpt(here, tone_model):  # noqa: F811
    def last(*options):
        return audiocnn("detect", "part.wav", "a.wav", "-m", tone_model, *options, terminal=True).err.splitlines()[-1]

    assert "1 ended before --end" in last("--end", 4)
    assert "2 ended before --end" in last("--start", 1, "--end", 40)
    assert "before" not in last("--end", 2)


def test_plot_takes_start_and_end_for_from_and_to(here, tone_model):  # noqa: F811
    told = []
    for options in (("--from", START, "--to", END), EXCERPT):
        done = audiocnn("plot", "a.wav", "-m", tone_model, "-o", "a.html", "--force", *options)
        assert done.status is ExitStatus.OK, done.err
        told.append(json.loads(done.out))
    assert told[0] == told[1] and (told[0]["start"], told[0]["end"]) == (START, END)


def test_the_library_takes_an_excerpt(here, tone_model):  # noqa: F811
    part = {"start_seconds": START, "end_seconds": END}
    found = library.detect("a.wav", tone_model, **part)
    alone = library.detect("part.wav", tone_model)
    assert [one.start for one in found] == [round(START + one.start, 4) for one in alone]
    assert (found.start_seconds, found.duration_seconds) == (START, END)
    clip = library.classify("a.wav", tone_model, **part).clips[0]
    assert (clip.start, clip.end) == (START, END)
    assert np.array_equal(clip.scores, library.classify("part.wav", tone_model).clips[0].scores)
    with pytest.raises(library.AudiocnnError, match="ends before it begins"):
        library.detect("a.wav", tone_model, start_seconds=2, end_seconds=1)


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("1:30", 90), ("0:00.5", 0.5), ("1:02:03.25", 3723.25)])
def test_times_are_seconds_or_minutes_and_seconds(text, seconds):
    assert parse_clock(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "a", "1:60", "1:-2", "1:2:3:4", "1.5:00", ":30", "1:", "1:61:00", "1:nan", "1:inf"]
)
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ValueError):
        parse_clock(text)
