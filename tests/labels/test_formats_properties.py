"""What holds of every label format, whatever the names, labels, times and bytes are (tests by hypothesis)."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audiocnn.errors import LabelError
from audiocnn.labels.convert import read_checked
from audiocnn.labels.formats import FORMATS, format_writer, label_format, read_labelled_recordings, read_labels
from audiocnn.labels.formats.base import NO_SCORE, LabelledRecording, base_name, has_score
from audiocnn.labels.formats.text import escape_cell, escape_word, unescape
from audiocnn.segments.segment import Segment

QUICK = settings(
    max_examples=15, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
MILLISECONDS = ("elan", "srt", "vtt")  # the others have four digits
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

SPECIAL = "\t\n\r\x01\x0b\x0c\x1c\x1f\x7f\x85\xa0\u2028\u2029\ufeff\ufffe \"'%,;:<>&\\/|#=?*!{}[]()-.09AFé日𝄞"
characters = st.one_of(st.sampled_from(SPECIAL), st.characters(exclude_categories=("Cs",), exclude_characters="\0"))
WORDS = ["speech", "NA", "nan", "<NA>", "-->", "%20", "%2520", "<b>", "&amp;", "&#9;", "1", "null", '""', "\\", "\r\n"]
labels = st.one_of(st.sampled_from(WORDS), st.text(characters, min_size=1, max_size=10))
file_names = st.one_of(
    st.binary(min_size=1, max_size=12).map(os.fsdecode),
    st.text(characters, min_size=1, max_size=12),
    st.sampled_from(["a.wav", "b/a.wav", "/c/a b.wav", "-", "--help.wav", "~/x.wav", "100%25.wav", '"q".wav']),
).filter(lambda name: "\0" not in name and name.rpartition("/")[2].strip(".") != "")


@st.composite
def segments(draw: st.DrawFn, unit: int, shortest: int) -> Segment:
    """Times are whole numbers of `unit` tenths of a millisecond."""
    start = draw(st.one_of(st.integers(0, 300), st.integers(0, 10**8)))
    length = draw(st.one_of(st.integers(shortest, 300), st.integers(shortest, 10**7)))
    score = draw(st.one_of(st.just(NO_SCORE), st.integers(0, 10**4).map(lambda one: one / 10**4)))
    return Segment(start * unit / 10**4, (start + length) * unit / 10**4, draw(labels), score)


@st.composite
def recordings(draw: st.DrawFn, name: str) -> list[LabelledRecording]:
    """Several, where a file may hold them; no two of the same name, with or without the folder."""
    keeps = FORMATS[name].keeps
    unit, shortest = 10 if name in MILLISECONDS else 1, 0 if "point" in keeps else 1
    some = st.lists(segments(unit, shortest), max_size=4).map(tuple)
    tracks = st.dictionaries(st.sampled_from([0, 1, 5, 63]), some, max_size=3)
    most = 3 if FORMATS[name].many else 1
    files = draw(st.lists(file_names, min_size=1, max_size=most, unique_by=base_name))
    rates = st.one_of(st.none(), st.sampled_from([8000, 44100]))
    return [LabelledRecording(file, draw(tracks), None, draw(rates), None) for file in files]


def write(path: Path, name: str, found: list[LabelledRecording]) -> None:
    """As the command writes it."""
    writer = format_writer(name)
    text = writer.begin() + "".join(writer.recording(one) for one in found) + writer.end()
    path.write_bytes(text.encode("utf-8", "surrogateescape"))


def facts(found: list[LabelledRecording], name: str) -> dict[str, list[tuple[object, ...]]]:
    """recording -> its segments as the format has them, in one order."""
    keeps = FORMATS[name].keeps
    told: dict[str, list[tuple[object, ...]]] = {}
    for one in found:
        rows = [
            (
                channel if "channel" in keeps else 0,
                round(segment.start, 5),
                round(segment.end, 5),
                NOT_XML.sub("\ufffd", segment.label) if name == "elan" else segment.label,
                round(segment.score, 5) if "score" in keeps and has_score(segment) else None,
            )
            for channel, track in one.tracks.items()
            for segment in track
        ]
        file = one.file if "file" in keeps else base_name(one.file) if FORMATS[name].many else ""
        if rows or "empty" in keeps:
            told[file] = sorted(rows, key=repr)
    return told


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_written_is_read_back(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"x{FORMATS[name].suffixes[0]}"

    @QUICK
    @given(recordings(name))
    def comes_back(found: list[LabelledRecording]) -> None:
        write(path, name, found)
        assert facts(read_labelled_recordings(path, name), name) == facts(found, name)

    comes_back()


@pytest.mark.parametrize("name", FORMATS)
def test_the_format_of_what_is_written_is_recognized(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"x{FORMATS[name].suffixes[0]}"

    @QUICK
    @given(recordings(name).filter(lambda found: any(one.segments for one in found)))
    def recognized(found: list[LabelledRecording]) -> None:
        write(path, name, found)
        assert label_format(path) == name

    recognized()


@pytest.mark.parametrize("name", FORMATS)
def test_thousands_of_segments_at_one_time(tmp_path: Path, name: str) -> None:
    """With work that grows with the square of their number, this would not end."""
    path, number = tmp_path / "x", 10_000
    same = (Segment(1.0, 2.0, "speech", 0.5),) * number
    write(path, name, [LabelledRecording("a.wav", {0: same}, 3.0, 8000, 1)])
    assert [len(found.segments) for found in read_labelled_recordings(path, name)] == [number]


NUMBERS = ["0", "1", "-1", "1.5", "1e999", "nan", "inf", "٣", "1_0", "0x1", "9" * 30, "", "+1", " 1", "1,5"]
TOKENS = [
    *NUMBERS, *WORDS, *'\t\n\r ,;"{}[]:<>/', "\n\n", "\t\t", "SPEAKER", ";;", "SPKR-INFO", "a.wav", "WEBVTT", "NOTE",
    "00:00:01,250 --> 00:00:03,500", "00:01.250 --> 00:03.500", "file,channel,start,end,label,score", "onset\toffset",
    "filename\tonset\toffset\tevent_label", "Begin Time (s)\tEnd Time (s)", "Channel", "Begin Path", "File Offset (s)",
    '"start":', '"duration":', '"recording_id":', '"audio_filepath":', '"type":"segment"', '"type":"file"',
    '"file":"a"',
    '"schema":1', '"label":"x"', '"channel":', '"custom":{', "true", "null", 'File type = "ooTextFile"',
    'Object class = "TextGrid"', "xmin = 0", "xmax = 1", "tiers? <exists>", "size = 1", '"IntervalTier"', "item []:",
    "<ANNOTATION_DOCUMENT>", "</ANNOTATION_DOCUMENT>", '<TIER TIER_ID="a">', "</TIER>", "<ALIGNABLE_ANNOTATION/>",
    '<TIME_SLOT TIME_SLOT_ID="ts1" TIME_VALUE="1"/>', "&#0;", "\\u0000", "\\ud800", "\x00", "\ufeff", "\xff",
]  # fmt: skip
contents = st.one_of(
    st.binary(max_size=60),
    st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.lists(st.sampled_from(TOKENS), max_size=30).map(lambda parts: "".join(parts).encode("utf-8", "replace")),
    st.lists(st.sampled_from(TOKENS), max_size=12).map(lambda parts: "\t".join(parts).encode("utf-16")),
)


def check_sane(found: list[LabelledRecording]) -> None:
    """What every reader promises, whatever it was given."""
    for one in found:
        assert one.file
        assert "\0" not in one.file
        os.fsencode(one.file)
        for channel, track in one.tracks.items():
            assert type(channel) is int
            assert channel >= 0
            for segment in track:
                assert isinstance(segment.start, float)
                assert isinstance(segment.end, float)
                assert isinstance(segment.score, float)
                assert segment.label
                segment.label.encode("utf-8")


@pytest.mark.parametrize("name", FORMATS)
def test_a_reader_gives_labels_or_a_label_error(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"x{FORMATS[name].suffixes[0]}"
    beginnings = [b"", *BEGINNINGS.get(name, [])]

    @settings(QUICK, max_examples=50)
    @given(st.sampled_from(beginnings), contents)
    def sane(beginning: bytes, content: bytes) -> None:
        path.write_bytes(beginning + content)
        try:
            check_sane(read_labelled_recordings(path, name))
            read_labels(path, name)
        except LabelError as problem:
            assert str(problem).isprintable()  # one line
            assert str(path) in str(problem)

    sane()


# How files of these begin, so that what comes behind is looked at.
BEGINNINGS = {
    "csv": [b"file,channel,start,end,label,score\n", b"file,start,end\n"],
    "tsv": [b"file\tchannel\tstart\tend\tlabel\tscore\n"],
    "dcase": [b"filename\tonset\toffset\tevent_label\n"],
    "vtt": [b"WEBVTT\n\n", b"WEBVTT\n\n00:01.250 --> 00:03.500\n"],
    "srt": [b"1\n00:00:01,250 --> 00:00:03,500\n"],
    "raven": [b"Begin Time (s)\tEnd Time (s)\n", b"Channel\tBegin Time (s)\tEnd Time (s)\tBegin Path\tScore\n"],
    "textgrid": [b'File type = "ooTextFile"\nObject class = "TextGrid"\n\n0 1 <exists> 1 '],
    "elan": [b"<ANNOTATION_DOCUMENT>", b'<?xml version="1.0"?><ANNOTATION_DOCUMENT><TIER>'],
    "rttm": [b"SPEAKER a 1 "],
    "jsonl": [b'{"schema":1,"type":"segment","file":"a",', b'{"schema":1,"type":"file","file":"a",'],
    "lhotse": [b'{"recording_id":"a",', b'[{"recording_id":"a","start":0,"duration":1,'],
    "nemo": [b'{"audio_filepath":"a",', b'{"audio_filepath":"a","duration":1,'],
}


def test_any_bytes_under_any_name_are_labels_or_a_label_error(tmp_path: Path) -> None:
    ends = sorted({suffix for one in FORMATS.values() for suffix in one.suffixes} | {"", ".xyz"})

    @settings(QUICK, max_examples=100)
    @given(st.sampled_from(ends), contents)
    def sane(end: str, content: bytes) -> None:
        path = tmp_path / f"x{end}"
        path.write_bytes(content)
        try:
            check_sane(read_checked(path))
        except LabelError as problem:
            assert str(problem).isprintable()

    sane()


@pytest.mark.parametrize("name", FORMATS)
def test_what_was_read_can_be_written_in_every_format(tmp_path: Path, name: str) -> None:
    """Labels go between any two formats, and come out in order where the second one has a place for them."""
    path = tmp_path / "x"

    @settings(QUICK, max_examples=6)
    @given(recordings(name))
    def goes_on(found: list[LabelledRecording]) -> None:
        for other, one in FORMATS.items():
            write(path, name, found)
            read = read_checked(path, name)
            read = read if one.many else read[:1] or [LabelledRecording("x")]
            write(path, other, read)
            back = read_labelled_recordings(path, other)
            assert sum(len(two.segments) for two in back) <= sum(len(two.segments) for two in read)
            if "point" in one.keeps:
                assert sum(len(two.segments) for two in back) == sum(len(two.segments) for two in read)

    goes_on()


@QUICK
@given(st.one_of(labels, file_names, st.text(st.sampled_from("%2050A\t é\udcff"), max_size=8)))
def test_escapes_are_undone(text: str) -> None:
    text = os.fsdecode(os.fsencode(text))  # a name as the system gives it
    assert unescape(escape_word(text)) == text
    assert unescape(escape_cell(text)) == text
    assert len(escape_word(text).split()) == (1 if text else 0)
    assert escape_cell(text).isprintable() or not text.isprintable() or not text.isascii()


@QUICK
@given(st.text())
def test_what_others_wrote_is_unescaped_to_a_name_that_can_be_written(text: str) -> None:
    text = text.encode("utf-8", "ignore").decode()
    name = unescape(text)
    assert os.fsdecode(os.fsencode(name)) == name
    assert not math.isnan(len(name))
