"""Label formats: what is read is what stands there, and an error names the file, the line and what was expected."""

from __future__ import annotations

import gzip
import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from audiocnn.errors import LabelError
from audiocnn.labels import formats
from audiocnn.labels.formats import LABEL_SUFFIXES, READERS, label_format, read_labelled_recordings, read_labels
from audiocnn.labels.formats.text import read_table, read_text
from audiocnn.segments.segment import Annotation

RTTM = """\
;; a comment
SPKR-INFO a 1 <NA> <NA> <NA> unknown ann <NA> <NA>
SPEAKER a 1 0.500 1.250 <NA> <NA> ann <NA> <NA>

SPEAKER a 1 1.000 0.250 <NA> <NA> bob <NA> <NA>
SPEAKER b 1 2 1 <NA> <NA> ann
"""

DCASE = "filename\tonset\toffset\tevent_label\n./d/a.wav\t0.5\t1\tdog\nd/a.wav\t2\t3\tcat\nb.wav\t\t\t\n"
QUOTED = 'label,filename,offset,onset,other\n"dog, small","a ""b"".wav",1,0.5,z\n'

ROWS = 'file,channel,start,end,label,score\na.wav,0,0.5,1,dog,0.5\na.wav,1,2,3,,\n" b\n.wav",,0,1,dog,1\n'
RECORDS = """\
{"schema":1,"type":"segment","file":"a.wav","channel":1,"start":0.5,"end":1,"label":"dog"}
{"schema":1,"type":"onset","file":"a.wav","channel":1,"start":2,"label":"dog"}
{"schema":1,"type":"error","file":"c.wav","error":"gone"}
{"schema":1,"type":"file","file":"b.wav","status":"ok"}
"""
GRID = """\
File type = "ooTextFile"
Object class = "TextGrid" ! 3 <exists> "no"

0 2 <exists> 2 "IntervalTier" "t" 0 2 3 0 0.5 "" 0.5 1 "a ""b\"\"" 1 2 " "
"TextTier" "p" 0 2 1 1.5 "here"
"""
SRT = "1\n00:00:01,250 --> 00:00:03,500 X1:1\n<i>two</i>\nlines\n\n\n01:01:01.0 --> 1:01:02,5\n\n"
VTT = """WEBVTT - talk
Kind: captions

NOTE
no cue

STYLE
::cue { color: red }

intro
00:01.250 --> 00:03.500 align:start
<v Ann>hello &amp; &lt;you&gt;</v>

01:01:01.000 --> 01:01:02.500
"""

# As YouTube writes it, with lines of one blank inside cues.
TUBE = """WEBVTT
Kind: captions
Language: en

00:00:00.160 --> 00:00:02.310 align:start position:0%
 
hello<00:00:00.480><c> world</c>

00:00:02.310 --> 00:00:02.320 align:start position:0%
hello world
 

00:00:02.320 --> 00:00:03.000
and
 
more
"""  # noqa: W293
HEADLESS = "WEBVTT\nKind: captions\n00:01.000 --> 00:02.000\nfirst\n\n00:03.000 --> 00:04.000\nsecond\n"
BLANKS = "1\n00:00:01,000 --> 00:00:02,000\na\n \nb\n \n2\n00:00:03,000 --> 00:00:04,000\nc\n\n \n\n"
BLANKS += " \n\t\n00:00:05,000 --> 00:00:06,000\nd\n \n00:00:07,000 --> 00:00:08,000\n \n"
TAGS = '1\n00:00:01,000 --> 00:00:02,000\n<font color="#ff0000"><B>I</B></font> <3 <u>%3Cb></u> <x>\n'

# suffix, text: what comes out of a file "x" with this suffix
GOOD: list[tuple[str, str, dict[str, list[tuple[float, float, str]]]]] = [
    (".rttm", RTTM, {"a": [(0.5, 1.75, "speech"), (1.0, 1.25, "speech")], "b": [(2, 3, "speech")]}),
    (".rttm", "", {}),
    (".txt", "0.5\t1.75\tdog bark\r\n\\\t100\t200\r\n2\t3\t\r\n", {"x": [(0.5, 1.75, "dog bark"), (2, 3, "speech")]}),
    (".txt", "4\t5", {"x": [(4, 5, "speech")]}),
    (".txt", "", {"x": []}),
    (".txt", "0\t1\ta\x0cb c\n", {"x": [(0, 1, "a\x0cb c")]}),
    (".tsv", DCASE, {"d/a.wav": [(0.5, 1, "dog"), (2, 3, "cat")], "b.wav": []}),
    (".tsv", "onset\toffset\tevent_label\n0.5\t1\tdog\n", {"x": [(0.5, 1, "dog")]}),
    (".tsv", "0.5\t1\tdog\n2\t3\tcat\n", {"x": [(0.5, 1, "dog"), (2, 3, "cat")]}),
    (".tsv", "a.wav\t0.5\t1\tdog\n", {"a.wav": [(0.5, 1, "dog")]}),
    (".tsv", "\ufefffilename\tonset\toffset\tevent_label\n", {"x": []}),
    (".tsv", "", {"x": []}),
    (".csv", QUOTED, {'a "b".wav': [(0.5, 1, "dog, small")]}),
    (".csv", ROWS, {"a.wav": [(0.5, 1, "dog"), (2, 3, "speech")], " b\n.wav": [(0, 1, "dog")]}),
    (".csv", "start,file,end\n0,a.wav,1\n", {"a.wav": [(0, 1, "speech")]}),
    (".csv", "file,channel,start,end,label,score\n", {}),
    (".jsonl", RECORDS, {"a.wav": [(0.5, 1, "dog")], "b.wav": []}),
    (".ndjson", '{"type":"error","file":"a.wav","error":"gone"}\n', {}),
    (".rttm", "SPEAKER two%20words A 1 1 <NA> <NA> <NA>", {"two words": [(1, 2, "speech")]}),
    (".TextGrid", GRID, {"x": [(0.5, 1, 'a "b"')]}),
    (".srt", SRT, {"x": [(1.25, 3.5, "two\nlines"), (3661, 3662.5, "speech")]}),
    (".srt", "", {"x": []}),
    (".srt", BLANKS, {"x": [(1, 2, "a\n \nb"), (3, 4, "c"), (5, 6, "d"), (7, 8, "speech")]}),
    (".srt", TAGS, {"x": [(1, 2, "I <3 <b> <x>")]}),
    (".vtt", TUBE, {"x": [(0.16, 2.31, "hello world"), (2.31, 2.32, "hello world"), (2.32, 3, "and\n \nmore")]}),
    (".vtt", HEADLESS, {"x": [(1, 2, "first"), (3, 4, "second")]}),
    (".vtt", "WEBVTT\n \n00:01.000 --> 00:02.000\nfirst", {"x": [(1, 2, "first")]}),
    (".vtt", VTT, {"x": [(1.25, 3.5, "hello & <you>"), (3661, 3662.5, "speech")]}),
]  # fmt: skip


@pytest.mark.parametrize(("suffix", "text", "expected"), GOOD)
def test_reading(tmp_path: Path, suffix: str, text: str, expected: dict[str, list[tuple[float, float, str]]]) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_text(text, encoding="utf-8", newline="")
    assert read_labels(path) == {name: [Annotation(*one) for one in all_] for name, all_ in expected.items()}


def test_times_that_make_no_sense_are_not_judged_here(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("nan\t1\ta\n3\t2\tb\n0\tinf\tc\n")
    first, second, third = read_labels(path)["x"]
    assert math.isnan(first.onset)
    assert second == Annotation(3, 2, "b")
    assert third.offset == math.inf


def test_speakers_can_be_the_labels(tmp_path: Path) -> None:
    path = tmp_path / "x.rttm"
    path.write_text(RTTM)
    assert [s.label for s in read_labelled_recordings(path)[0].segments] == ["ann", "bob"]


# suffix, bytes: what the message says behind the name of the file
BAD: list[tuple[str, bytes, str]] = [
    (".rttm", b"SPEAKER a 1 0 1 <NA> <NA> ann\nspeaker a 1 0 1\n", r':2: found "speaker a 1 0 1", expected SPEAKER'),
    (".rttm", b"SPEAKER a 1 0.5\n", r':1: found "SPEAKER a 1 0.5", expected SPEAKER file channel onset duration'),
    (".rttm", b"SPEAKER a 1 zero 1 <NA> <NA> ann\n", r':1: found "zero", expected the onset in seconds, such as 1.25'),
    (".rttm", b"SPEAKER a 1 0 <NA> <NA> <NA> ann\n", r':1: found "<NA>", expected the duration in seconds'),
    (".rttm", b"a\xff\xfe\x00", r":1: not UTF-8 text; save it as UTF-8"),
    (".txt", b"0\t1\ta\n0.5 1 b\n", r':2: found "0.5 1 b", expected onset, offset and label separated by tabs'),
    (".txt", b"0\t1\ta\tb\n", r":1: found .*, expected onset, offset and label separated by tabs"),
    (".txt", b"0\t1,5,2\ta\n", r':1: found "1,5,2", expected the offset in seconds, such as 1.25'),
    (".txt", b"0\t\ta\n", r":1: found nothing, expected the offset in seconds"),
    (".txt", b"0\t1\ta\n\x00\n", r":2: contains a zero byte; check that this is a label file"),
    (".tsv", b"name\tstart\tclass\n", r':1: found "name start class", expected the columns filename onset'),
    (".tsv", b"filename\tonset\toffset\tevent_label\na.wav\t0\t1\n", r":2: found 3 cells, expected 4 \(filename onset"),
    (".tsv", b"a.wav\t0\t1\tdog\nb.wav\t0\tx\tdog\n", r':2: found "x", expected the offset in seconds'),
    (".tsv", b"onset\toffset\tevent_label\n0\t1\t\n", r":2: found nothing, expected a label"),
    (".tsv", b"onset\toffset\tevent_label\n\t\tdog\n", r":2: found nothing, expected the onset in seconds"),
    (".csv", b'filename,onset,offset,label\n"a.wav,0,1,dog\n', r":2: not a valid table .*; check the"),
    (".csv", "filename,onset,offset,label\na.wav,0,1,größe\n".encode("latin-1"), r":2: not UTF-8 text; save it"),
    (".csv", b"filename,onset,offset,label\na.wav,1e,2," + b"x" * 200 + b"\n", r':2: found "1e", expected the onset'),
    (".csv", b"file,start,end,label\na.wav,0,1,gr\xf6\n", r":2: not UTF-8 text; save it"),
    (".csv", b"file,channel,start,end,speech\na.wav,0,0,0.02,0.5\n", r':1: no column "label"; if these are scores'),
    (".csv", b"file,start,end,label\n,0,1,a\n", r":2: found nothing, expected a file name"),
    (".csv", b"file,channel,start,end,label\na,-1,0,1,a\n", r':2: found "-1", expected a channel, from 0'),
    (".csv", b"file,start,end,label,score\na,0,1,a,high\n", r':2: found "high", expected a score'),
    (".csv", b"file,start,end,label\na,0,x,a\n", r':2: found "x", expected the end in seconds'),
    (".jsonl", b'{"schema":2,"type":"file"}\n', r':1: "schema" is 2, expected 1; newer records need a newer'),
    (".jsonl", b'{"schema":1,"type":"score","file":"a"}\n', r':1: "type" is "score", expected "segment" or "file"'),
    (".jsonl", b'{"type":"segment","file":"a","start":"0","end":1}', r':1: "start" is "0", expected a number'),
    (".jsonl", b'{"type":"segment","file":"a","start":0,"end":1,"label":""}', r':1: "label" is "", expected a string'),
    (".jsonl", b'{"type":"segment","file":"a","channel":1.5}', r':1: "channel" is 1\.5, expected a channel, from 0'),
    (".jsonl", b'{"type":"file","file":"a","duration":-1}', r':1: "duration" is -1, expected seconds'),
    (".jsonl", b'{"type":"file","file":"a","channels":0}', r':1: "channels" is 0, expected a number of 1 or more'),
    (".jsonl", b'{"type":"file","file":"a","thresholds":{"a":NaN}}', r':1: "thresholds": a threshold is not finite'),
    (".jsonl", b'{"type":"file","file":"a","thresholds":3}', r':1: "thresholds" is 3, expected labels and numbers'),
    (".TextGrid", b"", r": not a Praat text file; save it as a text file or short text file"),
    (".TextGrid", b'"ooTextFile" "Sound"', r':1: found "another Praat object", expected a TextGrid'),
    (".TextGrid", b'"ooTextFile"\n"TextGrid"\n0', r':3: found "the end of the file", expected the xmax in seconds'),
    (".TextGrid", b'"ooTextFile" "TextGrid"\n0 1e400x <exists>', r':2: found "1e400x", expected the xmax in seconds'),
    (".TextGrid", b'"ooTextFile" "TextGrid" 0 1 2', r':1: found "2", expected <exists>'),
    (".TextGrid", b'"ooTextFile" "TextGrid" 0 1 <exists> 1.5', r':1: found "1\.5", expected a count'),
    (".TextGrid", b'"ooTextFile" "TextGrid" 0 1 <exists> 999999999', r':1: found "the end of the file", expected'),
    (".TextGrid", b'"ooTextFile" "TextGrid" 0 1 <exists> 1 "Tier"', r':1: found "Tier", expected IntervalTier'),
    (".TextGrid", b'"ooTextFile" "TextGrid" 0 1 <exists> 1 7', r':1: found "7", expected the class of a tier'),
    (".TextGrid", b"\xff\xfeF\x00i\x00", r": not a Praat text file"),
    (".TextGrid", b"\xff\xfe\x00", r":1: not UTF-8 text"),
    (".srt", b"hello\n", r':1: found "hello", expected a cue such as 00:00:01,250 --> 00:00:03,500'),
    (".srt", b"1\n00:00:01,000 --> 00:00:02,000\na\n\nb\n", r':5: found "b", expected a cue'),
    (".srt", b"1\n00:61:01,000 --> 00:00:02,000\na\n", r':1: found "1", expected a cue'),
    (".vtt", b"1\n", r':1: found "1", expected WEBVTT at the start of the file'),
    (".vtt", b"WEBVTT\nKind: captions\n00:61.000 --> 00:62.000\n", r':3: found "00:61.000 --> 00:62.000", expected a'),
    (".vtt", b"WEBVTT\n\n00:00.000 -> 00:01.000\na\n", r':3: found "00:00\.000 -> 00:01\.000", expected a cue'),
]  # fmt: skip


@pytest.mark.parametrize(("suffix", "data", "message"), BAD)
def test_errors_say_where_and_what_was_expected(tmp_path: Path, suffix: str, data: bytes, message: str) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(data)
    with pytest.raises(LabelError, match=f"^{re.escape(str(path))}{message}") as caught:
        read_labels(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < len(str(path)) + 200


@pytest.mark.parametrize("name", READERS)
def test_every_format_is_found_by_its_suffix_and_refuses_what_is_missing(tmp_path: Path, name: str) -> None:
    for suffix in READERS[name]:
        assert suffix in LABEL_SUFFIXES
        path = tmp_path / f"gone{suffix.upper()}"
        # Of a file that is not there, the first format of those with this ending.
        fitting = [one for one in READERS if formats.FORMATS[one].fits(path)]
        assert name in fitting and label_format(path) == fitting[0]
        with pytest.raises(LabelError, match=r"gone\.[A-Z.]+: no such file; check the name"):
            read_labels(path, name)
        with pytest.raises(LabelError, match=r": cannot be read \(Is a directory\)"):
            read_labels(tmp_path, name)


@pytest.mark.parametrize("reader", [formats.format_class, formats.format_writer])
def test_formats_that_are_not_there(reader: Callable[[str], object]) -> None:
    with pytest.raises(LabelError, match='unknown label format "textgird"; did you mean "textgrid"'):
        reader("textgird")


# name and beginning of a file: its format
BEGINS = [
    ("a.csv", "file,channel,start,end,label,score\n", "csv"),
    ("a.tsv", '"start"\tend\tfile\n', "tsv"),
    ("a.csv", "filename,onset,offset,event_label\n", "dcase"),
    ("a.csv", "a.wav,0,1,dog\n", "dcase"),
    ("a.tsv", "0\t1\tdog\n", "dcase"),
    ("a.txt", "0\t1\tdog\n", "audacity"),
    ("a.txt", "", "audacity"),
    ("a.txt", "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\n", "raven"),
    ("a.json", '{"audio_filepath":"a.wav","duration":1}\n', "nemo"),
    ("a.jsonl", '{"audio_filepath":"a.wav","duration":1}\n', "nemo"),
    ("a.json", '{"schema":1,"type":"segment"}\n', "jsonl"),
    ("a.jsonl", '{"id":"1","recording_id":"}","start":0}\n', "lhotse"),
    ("a.json", ' [\n {\n "id": "1",\n "recording_id": "a"', "lhotse"),
    ("a.lab", ";; by hand\nSPKR-INFO a 1 <NA>\n", "rttm"),
    ("a", "\ufeffWEBVTT - talk\n\n", "vtt"),
    ("a", "\n1\n00:00:01,000 --> 00:00:02,000\n", "srt"),
    ("a", 'File type = "ooTextFile"\n', "textgrid"),
    ("a.xml", '<?xml version="1.0"?>\n<ANNOTATION_DOCUMENT AUTHOR="">', "elan"),
    ("a", "u1 r1 0.5 1.5\n", "kaldi"),
    ("a", "u1 r1 0.5 1.5 0\n", "kaldi"),
    ("segments", "", "kaldi"),
    ("A.TEXTGRID", "", "textgrid"),
]


@pytest.mark.parametrize(("name", "text", "kind"), BEGINS)
def test_the_format_is_told_by_the_name_or_the_beginning(tmp_path: Path, name: str, text: str, kind: str) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8", newline="")
    assert label_format(path) == kind


def test_beginnings_in_utf16_and_gzip(tmp_path: Path) -> None:
    grid = tmp_path / "grid"
    grid.write_bytes('File type = "ooTextFile"\n'.encode("utf-16"))
    packed = tmp_path / "cuts.jsonl.gz"
    packed.write_bytes(gzip.compress(b'{"recording_id":"a"}\n'))
    torn = tmp_path / "torn.lab"
    torn.write_bytes(gzip.compress(b'{"recording_id":"a"}\n')[:15])
    assert (label_format(grid), label_format(packed)) == ("textgrid", "lhotse")
    with pytest.raises(LabelError, match=r"torn\.lab: \.lab is not the suffix of a label format"):
        label_format(torn)


def test_unknown_formats() -> None:
    with pytest.raises(LabelError, match='unknown label format "rtm"; did you mean "rttm"'):
        read_labels(Path("x"), "rtm")
    with pytest.raises(LabelError, match=r"a\.lab: \.lab is not the suffix of a label format; known: \.rttm"):
        label_format(Path("a.lab"))
    with pytest.raises(
        LabelError, match=r"-: neither its name nor its beginning is .*; with `convert`, use --from FORMAT: rttm "
    ):
        label_format(Path("-"))


def test_a_file_of_any_size_takes_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(LabelError, match=r"x\.txt: more than 128 MiB; check that this is a label file, or split it"):
        read_labels(path)


@pytest.mark.parametrize("name", READERS)
def test_every_reader_has_a_largest_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"    ")
    monkeypatch.setattr("audiocnn.labels.formats.text.MOST_LABEL_BYTES", 3)
    with pytest.raises(LabelError, match=r"x: more than"):
        read_labels(path, name)
    path.write_bytes(b"   ")
    assert read_text(path) == "   "
    path.write_bytes(gzip.compress(b""))
    with pytest.raises(LabelError, match=r"x: more than"):
        read_labels(path, name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty; it needs a header such as filename,label"),
        ("\n \n", "empty; it needs a header"),
        ("filename,label,filename\n", '1: two columns are named "filename"; rename one'),
        ("filename,label\na.wav,dog\nb.wav\n", r"3: found 1 cells, expected 2 \(filename label\)"),
        ("filename,label\na.wav,dog,cat\n", r"2: found 3 cells, expected 2 \(filename label\)"),
    ],
)
def test_tables_are_strict(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(LabelError, match=rf"t\.csv: ?{message}"):
        read_table(path)


def test_only_the_names_of_files_keep_spaces_at_their_ends(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("filename , label\n a.wav, dog \n")
    assert read_table(path).rows == [(2, {"filename": " a.wav", "label": "dog"})]
