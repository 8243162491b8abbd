"""`audiocnn convert` and `detect -f`: any format to any other; losses are reported; nothing is written elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from fixtures_cli import RATE, audiocnn, audiocnn_process, tone, tone_model, write_tones  # noqa: F401
from sounds import write

from audiocnn.data.dataset import Dataset
from audiocnn.data.ingest import ingest
from audiocnn.data.sources import read_source
from audiocnn.errors import LabelError
from audiocnn.labels.convert import merge_recordings, read_checked
from audiocnn.labels.formats import FORMATS, READERS, format_writer, read_labelled_recordings
from audiocnn.labels.formats.base import NO_SCORE, LabelledRecording
from audiocnn.segments.segment import Segment
from audiocnn_cli.app.options import DetectFormat
from audiocnn_cli.io.results import OUTPUT_SUFFIXES

SPANS = {"one": [(0.5, 1.0)], "two": [(0.3, 0.8), (1.2, 1.9)], "none": []}
MANY = [name for name, one in FORMATS.items() if one.many]
ALONE = [name for name, one in FORMATS.items() if not one.many]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Recordings of tones, and the table of what is in them."""
    write_tones(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def spans_of(found):
    """Base name -> spans."""
    return {Path(one.file).stem: [(s.start, s.end) for s in one.segments] for one in found}


def test_detect_and_convert_know_every_format():
    assert [one.value for one in DetectFormat] == ["auto", "table", *FORMATS]
    assert set(READERS) == set(FORMATS) == set(OUTPUT_SUFFIXES)


@pytest.mark.parametrize("name", FORMATS)
def test_from_a_format_and_back(here, name):
    there = ["--output-dir", "there"] if name in ALONE else ["-o", f"there{FORMATS[name].suffixes[0]}"]
    done = audiocnn("convert", "tones.tsv", "--to", name, *there)
    assert done.status == 0, done.err
    files = sorted(Path("there").iterdir()) if name in ALONE else [there[1]]
    done = audiocnn("convert", *files, "--from", name, "--to", "jsonl", "-q")
    assert (done.status, done.err) == (0, "")
    records = [json.loads(line) for line in done.out.splitlines()]
    segments = {stem: [] for stem in SPANS}
    for record in records:
        if record["type"] == "segment":
            segments[Path(record["file"]).stem].append((record["start"], record["end"]))
            # Ids of Kaldi that were made here have the label in them.
            assert (record["label"], record["score"]) == ("tone", None)
    assert segments == SPANS
    files = {record["file"]: record for record in records if record["type"] == "file"}
    wanted = {stem for stem in SPANS if SPANS[stem] or "empty" in FORMATS[name].keeps}
    assert {Path(file).stem for file in files} == wanted
    if name in MANY:  # beside the recordings, whose names and durations are found
        assert {(Path(file).suffix, record["duration"]) for file, record in files.items()} == {(".wav", 2.0)}


@pytest.mark.parametrize("name", FORMATS)
def test_detect_writes_every_format(here, tone_model, name):  # noqa: F811
    path = here / f"found{FORMATS[name].suffixes[0]}"
    done = audiocnn("detect", "two.wav", "-m", tone_model, "--pad", "0", "-f", name, "-o", path)
    assert (done.status, done.err) == (0, "")
    (found,) = read_labelled_recordings(path, name)
    assert [s.label for s in found.segments] == ["tone", "tone"]
    ends = [time for s in found.segments for time in (s.start, s.end)]
    assert ends == pytest.approx([0.3, 0.8, 1.2, 1.9], abs=0.011)
    assert audiocnn("detect", "two.wav", "-m", tone_model, "--pad", "0", "-f", name).out.encode() == path.read_bytes()


@pytest.mark.parametrize("name", ALONE)
def test_a_format_of_one_recording_gets_a_file_for_each(here, tone_model, name):  # noqa: F811
    done = audiocnn("detect", "one.wav", "two.wav", "none.wav", "-m", tone_model, "-f", name, "--output-dir", "out")
    assert (done.status, done.err) == (0, "")
    suffix = FORMATS[name].suffixes[0]
    assert sorted(path.name for path in Path("out").iterdir()) == [f"{s}{suffix}" for s in ("none", "one", "two")]
    assert {stem: len(read_labelled_recordings(Path(f"out/{stem}{suffix}"))[0].segments) for stem in SPANS} == {
        stem: len(spans) for stem, spans in SPANS.items()
    }


def test_what_gets_lost_is_said_once(here):
    tracks = {0: (Segment(0.5, 1.0, "dog", 0.5),), 1: (Segment(0.6, 1.0, "dog", 0.5),)}
    found = [
        LabelledRecording("d/a.wav", tracks),
        LabelledRecording("d/b.wav", tracks),
        LabelledRecording("none.wav", {}),
    ]
    Path("x.jsonl").write_text("".join(map(format_writer("jsonl").recording, found)))
    said = {name: audiocnn("convert", "x.jsonl", "--to", name).err.splitlines() for name in MANY}
    empty = "audiocnn: {0} cannot store a recording without segments; omitted: 1"
    base = "audiocnn: {0} stores base names of recordings; folders and suffixes are omitted"
    score = "audiocnn: {0} cannot store scores; they are omitted"
    channel = "audiocnn: {0} cannot store channels; the segments of all channels are merged"
    assert said["jsonl"] == []
    assert said["csv"] == [empty.format("csv")]
    assert said["rttm"] == [empty.format("rttm"), base.format("rttm")]
    assert said["kaldi"] == [score.format("kaldi"), empty.format("kaldi"), base.format("kaldi")]
    assert said["dcase"] == [score.format("dcase"), channel.format("dcase")]
    assert audiocnn("convert", "x.jsonl", "--to", "dcase", "-q").err == ""
    alone = audiocnn("convert", "x.jsonl", "--to", "textgrid", "--output-dir", "grids").err.splitlines()
    assert alone == [
        score.format("textgrid"),
        "audiocnn: unknown duration, replaced by the end of the last segment: 2",
    ]
    assert read_labelled_recordings(Path("grids/none.TextGrid"))[0].duration_seconds == 2.0, "the recording lies beside"


def test_detect_says_once_that_channels_are_lost(here, tone_model):  # noqa: F811
    both = tone((0.5, 1.0))
    write(here / "both.wav", np.stack([both, both], axis=1), RATE)
    for name, lines in (("srt", 2), ("rttm", 2)):
        done = audiocnn("detect", "both.wav", "-m", tone_model, "--channel", "each", "-f", name)
        assert len(read_text(done.out, name)) == lines
        what = "audiocnn: srt cannot store channels; the segments of all channels are merged\n"
        assert done.err == (what if name == "srt" else "")


def read_text(text, name):
    """The segments in a text."""
    Path(f"text{FORMATS[name].suffixes[0]}").write_text(text)
    return read_labelled_recordings(Path(f"text{FORMATS[name].suffixes[0]}"), name)[0].segments


def test_names_and_durations_come_from_the_recordings(here):
    write(here / "deep/er/three.wav", tone(seconds=3.0), RATE)
    Path("labels/three.txt").write_text("0.5\t1\tdog\n")
    (found,) = json_files(audiocnn("convert", "labels/three.txt").out)
    assert (found["file"], found["duration"]) == ("three", None), "none lies beside it"
    (found,) = json_files(audiocnn("convert", "labels/three.txt", "--recordings", "deep").out)
    assert found["file"] == "deep/er/three.wav"
    assert (found["duration"], found["sample_rate"], found["channels"]) == (3.0, RATE, 1)
    write(here / "deep/three.wav", tone(), RATE)
    (found,) = json_files(audiocnn("convert", "labels/three.txt", "--recordings", "deep").out)
    assert found["file"] == "three", "two recordings of this name: neither is taken"


def json_files(text):
    """The records of files."""
    return [record for record in map(json.loads, text.splitlines()) if record["type"] == "file"]


def test_standard_input(here):
    table = Path("tones.tsv").read_bytes()
    assert (
        audiocnn("convert", "-", "--to", "csv", stdin=table).out == audiocnn("convert", "tones.tsv", "--to", "csv").out
    )
    done = audiocnn("convert", "-", "--from", "rttm", stdin=b"SPEAKER a 1 x 1 <NA> <NA> a")
    assert (done.status, done.err) == (
        2,
        'audiocnn: error: -:1: found "x", expected the onset in seconds, such as 1.25\n',
    )
    done = audiocnn("convert", "-", "--from", "audacity", "--to", "srt", stdin=b"0.5\t1\tdog\n")
    assert done.out == "1\n00:00:00,500 --> 00:00:01,000\ndog\n\n"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
@pytest.mark.parametrize("more", [[], ["--from", "jsonl"]], ids=["auto", "named"])
def test_a_pipe_with_a_name_is_read_once(here, more):
    """It brings what it has one time; a second reading would find nothing, or wait for ever."""
    audiocnn("convert", "tones.tsv", "-o", "tones.jsonl")
    wanted = audiocnn("convert", "tones.jsonl", "--to", "csv").out
    assert len(wanted.splitlines()) == 4
    os.mkfifo("pipe")
    with subprocess.Popen(["cp", "/dev/stdin", "pipe"], stdin=Path("tones.jsonl").open("rb")) as writer:
        done = audiocnn_process("convert", "pipe", "--to", "csv", "-q", *more, timeout=60)
        writer.wait(timeout=60)
    assert (done.returncode, done.stdout.decode(), done.stderr) == (0, wanted, b"")
    done = audiocnn_process("convert", "/dev/stdin", "--to", "csv", "-q", *more, input=Path("tones.jsonl").read_bytes())
    assert (done.returncode, done.stdout.decode(), done.stderr) == (0, wanted, b"")
    done = audiocnn_process("convert", "/dev/stdin", "--from", "rttm", input=b"SPEAKER a 1 x 1 <NA> <NA> a")
    assert done.stderr.startswith(b'audiocnn: error: /dev/stdin:1: found "x"') and done.returncode == 2
    done = audiocnn("convert", "-", "/dev/stdin", "--to", "csv")
    assert (done.status, "given twice" in done.err) == (2, True)


def test_what_detect_writes_for_kaldi_is_told_on_standard_input(here):
    segments = b"a-00000500-00001000-x a 0.5000 1.0000 1\na-00001000-00002000-x a 1.0000 2.0000 0\n"
    done = audiocnn("convert", "-", "--to", "csv", stdin=segments)
    assert done.out.splitlines()[1:] == ["a,0,1.0,2.0,x,", "a,1,0.5,1.0,x,"]
    done = audiocnn("convert", "-", "--to", "csv", stdin=b"hello\n")
    assert (done.status, done.out) == (2, "")
    assert "-: neither its name nor its beginning is that of a label format" in done.err
    assert "with `convert`, use --from FORMAT: rttm" in done.err


def test_folders_and_bad_files(here):
    Path("labels/a.rttm").write_text("SPEAKER one 1 0.5 0.5 <NA> <NA> x\n")
    Path("labels/b.srt").write_text("no cue\n")
    Path("labels/c.rttm").write_text("SPEAKER two 1 0.5 -0.5 <NA> <NA> x\n")
    Path("labels/d.csv").write_text("file,start,end,label\ntwo.wav,1.2,1.9,y\n")
    done = audiocnn("convert", "labels", "--to", "csv", "--recordings", ".")
    assert done.status == 3
    assert done.out == "file,channel,start,end,label,score\none.wav,0,0.5,1.0,x,\ntwo.wav,0,1.2,1.9,y,\n"
    assert done.err.splitlines() == [
        'audiocnn: error: labels/b.srt:1: found "no cue", expected a cue such as 00:00:01,250 --> 00:00:03,500',
        "audiocnn: error: labels/c.rttm: two: 0.5 to 0 s: ends before it begins; correct it",
    ]
    done = audiocnn("convert", "labels", "--from", "rttm", "--to", "csv")
    assert done.status == 3 and done.out.splitlines()[1:] == ["one,0,0.5,1.0,x,"]


BAD_TIMES = [
    ("nan\t1\ta", "nan to 1 s: not finite times; correct it"),
    ("0\tinf\ta", "0 to inf s: not finite times; correct it"),
    ("0\t1e308\ta", r"0 to 1e\+308 s: later than the longest supported recording; correct it"),
    ("-1\t1\ta", "-1 to 1 s: begins before the recording; correct it"),
    ("2\t1\ta", "2 to 1 s: ends before it begins; correct it"),
]


@pytest.mark.parametrize(("line", "message"), BAD_TIMES)
def test_times_that_cannot_be(tmp_path, line, message):
    (tmp_path / "x.txt").write_text(line)
    with pytest.raises(LabelError, match=f": x: {message}$"):
        read_checked(tmp_path / "x.txt")


def test_one_recording_in_several_files_is_joined():
    a, b = Segment(0, 1, "a", NO_SCORE), Segment(1, 2, "b", 0.5)
    first = LabelledRecording("x", {0: (a,)}, None, 8000, thresholds={"a": 0.5})
    second = LabelledRecording("x", {0: (b,), 1: (a,)}, 3.0, 16000, 2, "m", {"a": 0.1, "b": 0.2})
    assert merge_recordings([first, LabelledRecording("y"), second]) == [
        LabelledRecording("x", {0: (a, b), 1: (a,)}, 3.0, 8000, 2, "m", {"a": 0.5, "b": 0.2}), LabelledRecording("y")
    ]  # fmt: skip


def test_a_copied_file_of_labels_adds_no_segment():
    one = LabelledRecording("x", {0: (Segment(0, 1, "a", 0.5), Segment(1, 2, "b", 0.5))})
    assert merge_recordings([one, one]) == [one]


@pytest.mark.parametrize("name", ["../out.wav", "/etc/out.wav", "a/../../out.wav", "..", "/", "..\\out.wav", ".", "-"])
def test_nothing_is_written_outside_of_the_folder(here, name):
    Path("x.csv").write_text(f"file,start,end,label\n{name},0,1,a\n")
    before = {path for path in here.rglob("*") if "grids" not in path.parts}
    done = audiocnn("convert", "x.csv", "--to", "audacity", "--output-dir", "grids", "-q")
    assert done.status in (0, 2)
    assert {path for path in here.rglob("*") if "grids" not in path.parts} == before
    assert len(list(Path("grids").rglob("*.txt"))) == (done.status == 0)
    assert not Path("/etc/out.txt").exists()


def test_names_that_differ_in_their_endings_have_outputs_of_their_own(here):
    Path("x.csv").write_text(
        "file,start,end,label\n" + "".join(f"{n},0,1,a\n" for n in ("d/a.wav", "d/a.flac", "b.1", "b.2"))
    )
    assert audiocnn("convert", "x.csv", "--to", "srt", "--output-dir", "out").status == 0
    made = sorted(path.relative_to("out").as_posix() for path in Path("out").rglob("*.srt"))
    assert made == ["b.1.srt", "b.2.srt", "d/a.flac.srt", "d/a.wav.srt"]


def test_what_is_there_stays(here):
    Path("out").mkdir()
    Path("out/one.txt").write_text("mine")
    args = ("convert", "tones.tsv", "--to", "audacity", "--output-dir", "out")
    done = audiocnn(*args)
    assert done.status == 3 and Path("out/one.txt").read_text() == "mine"
    assert "out/one.txt already exists" in done.err
    assert (Path("out/two.txt").read_text(), Path("out/none.txt").read_text()) != ("", "mine")
    assert audiocnn(*args, "--skip-existing").status == 0 and Path("out/one.txt").read_text() == "mine"
    assert audiocnn(*args, "--force").status == 0 and Path("out/one.txt").read_text().startswith("0.5")


def test_names_of_any_bytes_go_through_a_process(here):
    name = b"caf\xe9 \n.wav"
    Path(os.fsdecode(name)).write_bytes(Path("one.wav").read_bytes())
    Path("x.csv").write_bytes(b'file,start,end,label\n"' + name + b'",0.5,1,dog\n')
    for kind in ("csv", "dcase", "jsonl", "raven"):
        packed = audiocnn_process("convert", "x.csv", "--to", kind, cwd=here)
        assert packed.returncode == 0, packed.stderr
        again = audiocnn_process("convert", "-", "--from", kind, "--to", "csv", input=packed.stdout, cwd=here)
        assert again.stdout.splitlines()[1:] == [b'"caf\xe9 ', b'.wav",0,0.5,1.0,dog,'], (kind, again.stderr)


# Files of labels as sources


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "dcase"])
def test_ingest_takes_a_file_of_labels(here, name):
    there = ["--output-dir", "."] if name in ALONE else ["-o", f"there{FORMATS[name].suffixes[0]}"]
    assert audiocnn("convert", "tones.tsv", "--to", name, *there, "-q").status == 0
    file = here / (f"two{FORMATS[name].suffixes[0]}" if name in ALONE else there[1])
    list(ingest([file], here / "set"))
    dataset = Dataset.open(here / "set")
    known = {
        entry.filename: [(a.onset, a.offset, a.label) for a in dataset.annotations(entry)] for entry in dataset.entries
    }
    label = "speech" if name == "rttm" else "tone"  # RTTM says who speaks
    assert known["two.wav"] == [(0.3, 0.8, label), (1.2, 1.9, label)]
    wanted = {"two"} if name in ALONE else {stem for stem in SPANS if SPANS[stem] or "empty" in FORMATS[name].keeps}
    assert set(known) == {f"{stem}.wav" for stem in wanted}


@pytest.mark.parametrize("name", [name for name in FORMATS if name not in ("srt", "vtt")])
def test_ingest_takes_files_of_labels_beside_the_recordings(here, name):
    Path("corpus").mkdir()
    for stem in SPANS:
        Path(f"{stem}.wav").rename(f"corpus/{stem}.wav")
    args = ("--to", name, "--output-dir", "corpus", "--recordings", "corpus", "-q")
    assert audiocnn("convert", "tones.tsv", *args).status == 0
    source = read_source(here / "corpus")
    assert source.refused == []
    label = "speech" if name == "rttm" else "tone"
    assert {item.filename: [(a.onset, a.offset) for a in item.annotations] for item in source.items} == {
        f"{stem}.wav": spans for stem, spans in SPANS.items()
    }
    assert {a.label for item in source.items for a in item.annotations} == {label}


def test_subtitles_and_other_json_beside_recordings_are_no_labels(here):
    for stem in ("0", "1"):
        Path(f"labels/tone/{stem}.srt").write_text("1\n00:00:01,000 --> 00:00:02,000\nhello\n")
        Path(f"labels/tone/{stem}.json").write_text('{"title": "a song"}')
    assert {item.label for item in read_source(here / "labels").items} == {"tone", "none"}


def test_a_folder_of_kaldi(here):
    Path("data").mkdir()
    Path("data/segments").write_text("u1 rec1 0.5 1.0\nu2 rec2 0.5 1.0\n")
    Path("data/wav.scp").write_text("rec1 one.wav\nrec2 gone.wav\n")
    source = read_source(Path("data"))
    assert [(item.path, [(a.onset, a.offset, a.label) for a in item.annotations]) for item in source.items] == [
        (Path("one.wav"), [(0.5, 1.0, "speech")])
    ]
    why = "listed in data/segments, but there is no such recording, or several; correct the name"
    assert source.refused == [("gone.wav", why)]
