"""What each format looks like, to the letter, and what readers that others wrote make of it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from praatio import textgrid
from pyannote.core import Segment as Stretch
from pyannote.database.util import load_rttm

from audiocnn.labels.formats import FORMATS, format_class, format_writer, read_labelled_recordings
from audiocnn.labels.formats.base import NO_SCORE, LabelFormat, LabelledRecording
from audiocnn.labels.formats.text import unescape
from audiocnn.segments.segment import Segment

SPEECH, MUSIC = Segment(0.5, 1.25, "speech", 0.75), Segment(2.0, 3661.5, 'loud "music"', NO_SCORE)
ONE = LabelledRecording("dir/two words.wav", {0: (SPEECH, MUSIC)}, 4000.0, 16000, 1, "m", {"speech": 0.5})
SILENT = LabelledRecording("none.wav", {0: ()}, 10.0, 16000, 1, "m", {"speech": 0.5})
STEREO = LabelledRecording("s.wav", {0: (SPEECH,), 1: (Segment(1.0, 2.0, "speech", 0.5),)}, 10.0, 8000, 2)

HARD_LABELS = [
    " dog ", "a\tb", "a\nb", "a\n\nb", "\nx\n", 'say "hi"', '"q', "-dash", "100%", "%20", "%2520", "a\r\nb", "x\x0cy",
    "a\u2028b", "é日本😀", "<NA>", "a --> b", "<b>x</b>", "&amp;", "  ", "\u3000", ";;x", "\\", "WEBVTT",
    "NOTE x", "!", "a,b",
]  # fmt: skip
HARD_NAMES = [
    "two words.wav", "dir/q\"uo'te.wav", "tab\t.wav", "new\nline.wav", "-dash.wav", "b\udcff\udce9.wav", "é/日本.wav",
    "%20.wav", " lead.wav", "a,b.wav", ";;x.wav",
]  # fmt: skip


def text_of(name: str, *found: LabelledRecording) -> str:
    writer = format_writer(name)
    return writer.begin() + "".join(writer.recording(one) for one in found) + writer.end()


def written(folder: Path, name: str, *found: LabelledRecording) -> Path:
    path = folder / f"x{FORMATS[name].suffixes[0]}"
    path.write_bytes(text_of(name, *found).encode("utf-8", "surrogateescape"))
    return path


JSONL = """\
{"schema":1,"type":"segment","file":"dir/two words.wav","channel":0,"start":0.5,"end":1.25,"label":"speech","score":0.75}
{"schema":1,"type":"segment","file":"dir/two words.wav","channel":0,"start":2.0,"end":3661.5,"label":"loud \\"music\\"","score":null}
{"schema":1,"type":"file","file":"dir/two words.wav","status":"ok","duration":4000.0,"sample_rate":16000,"channels":1,"segments":2,"seconds":{"speech":0.75,"loud \\"music\\"":3659.5},"model":"m","thresholds":{"speech":0.5}}
{"schema":1,"type":"file","file":"none.wav","status":"ok","duration":10.0,"sample_rate":16000,"channels":1,"segments":0,"seconds":{"speech":0.0},"model":"m","thresholds":{"speech":0.5}}
"""  # noqa: E501
TEXTS = {
    "jsonl": JSONL,
    "csv": "file,channel,start,end,label,score\ndir/two words.wav,0,0.5,1.25,speech,0.75\n"
    'dir/two words.wav,0,2.0,3661.5,"loud ""music""",\n',
    "tsv": "file\tchannel\tstart\tend\tlabel\tscore\ndir/two words.wav\t0\t0.5\t1.25\tspeech\t0.75\n"
    'dir/two words.wav\t0\t2.0\t3661.5\t"loud ""music"""\t\n',
    "rttm": "SPEAKER two%20words 1 0.5000 0.7500 <NA> <NA> speech 0.7500 <NA>\n"
    "SPEAKER two%20words 1 2.0000 3659.5000 <NA> <NA> loud%20%22music%22 <NA> <NA>\n",
    "dcase": "filename\tonset\toffset\tevent_label\ndir/two words.wav\t0.5\t1.25\tspeech\n"
    'dir/two words.wav\t2.0\t3661.5\t"loud ""music"""\nnone.wav\t\t\t\n',
}
ALONE = {
    "audacity": '0.500000\t1.250000\tspeech\n2.000000\t3661.500000\tloud "music"\n',
    "srt": '1\n00:00:00,500 --> 00:00:01,250\nspeech\n\n2\n00:00:02,000 --> 01:01:01,500\nloud "music"\n\n',
    "vtt": "WEBVTT\n\n00:00:00.500 --> 00:00:01.250\nspeech\n\n"
    '00:00:02.000 --> 01:01:01.500\nloud "music"\n\n',
}  # fmt: skip
TEXTGRID = """\
File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0 
xmax = 10 
tiers? <exists> 
size = 2 
item []: 
    item [1]:
        class = "IntervalTier" 
        name = "speech, channel 1" 
        xmin = 0 
        xmax = 10 
        intervals: size = 3 
        intervals [1]:
            xmin = 0 
            xmax = 0.5 
            text = "" 
        intervals [2]:
            xmin = 0.5 
            xmax = 1.25 
            text = "speech" 
        intervals [3]:
            xmin = 1.25 
            xmax = 10 
            text = "" 
    item [2]:
        class = "IntervalTier" 
        name = "speech, channel 2" 
        xmin = 0 
        xmax = 10 
        intervals: size = 3 
        intervals [1]:
            xmin = 0 
            xmax = 1 
            text = "" 
        intervals [2]:
            xmin = 1 
            xmax = 2 
            text = "speech" 
        intervals [3]:
            xmin = 2 
            xmax = 10 
            text = "" 
"""  # noqa: W291


@pytest.mark.parametrize("name", TEXTS)
def test_the_text_of_several_recordings(name: str) -> None:
    assert text_of(name, ONE, SILENT) == TEXTS[name]


@pytest.mark.parametrize("name", ALONE)
def test_the_text_of_one_recording(name: str) -> None:
    assert text_of(name, ONE) == ALONE[name]
    assert text_of(name, SILENT) == ("WEBVTT\n\n" if name == "vtt" else "")


def test_the_text_of_a_textgrid() -> None:
    assert text_of("textgrid", STEREO) == TEXTGRID


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_of_several_recordings_is_whole_after_each(name: str) -> None:
    writer = format_writer(name)
    writer.begin()
    writer.recording(ONE)
    assert writer.end() == "" or not FORMATS[name].many


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("label", HARD_LABELS)
def test_every_label_comes_back(tmp_path: Path, name: str, label: str) -> None:
    found = LabelledRecording(
        "a.wav", {0: (Segment(0.5, 1.25, label, 0.75), Segment(2.0, 3.5, label, 0.5))}, 10.0, 8000, 1
    )
    (read,) = read_labelled_recordings(written(tmp_path, name, found), name)
    wanted = label.replace("\x0c", "\ufffd") if name == "elan" else label  # XML has no such character
    assert [(s.start, s.end, s.label) for s in read.segments] == [(0.5, 1.25, wanted), (2.0, 3.5, wanted)]
    scores = [s.score for s in read.segments]
    assert scores == [0.75, 0.5] if "score" in FORMATS[name].keeps else all(map(math.isnan, scores))


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("file", HARD_NAMES)
def test_every_name_comes_back(tmp_path: Path, name: str, file: str) -> None:
    (read,) = read_labelled_recordings(
        written(tmp_path, name, LabelledRecording(file, {0: (SPEECH,)}, 10.0, 8000, 1)), name
    )
    if "file" in FORMATS[name].keeps:
        assert read.file == file
    else:
        assert read.file == (Path(file).stem if FORMATS[name].many else "x")


@pytest.mark.parametrize("name", FORMATS)
def test_channels_come_back_where_there_is_a_place(tmp_path: Path, name: str) -> None:
    (read,) = read_labelled_recordings(written(tmp_path, name, STEREO), name)
    spans = {channel: [(s.start, s.end) for s in track] for channel, track in read.tracks.items()}
    both = {0: [(0.5, 1.25), (1.0, 2.0)]}
    assert spans == ({0: [(0.5, 1.25)], 1: [(1.0, 2.0)]} if "channel" in FORMATS[name].keeps else both)


@pytest.mark.parametrize("name", FORMATS)
def test_a_recording_without_a_segment_comes_back_where_there_is_a_place(tmp_path: Path, name: str) -> None:
    (tmp_path / "x").mkdir()
    read = read_labelled_recordings(written(tmp_path / "x", name, SILENT), name)
    assert [one.segments for one in read] == ([()] if "empty" in FORMATS[name].keeps else [])


def test_what_a_recording_is_comes_back_from_json_lines(tmp_path: Path) -> None:
    damaged = LabelledRecording(
        "b.wav", {1: (SPEECH,)}, 3.25, 44100, 2, "m", {"speech": 0.5, "x": 0.25}, "b.wav: cut short"
    )
    unknown = LabelledRecording("c.wav", {0: (Segment(0, 1, "x", NO_SCORE),)})
    assert read_labelled_recordings(written(tmp_path, "jsonl", damaged, unknown), "jsonl") == [damaged, unknown]


def test_what_overlaps_in_a_tier_goes_to_a_second_one(tmp_path: Path) -> None:
    spans = [(0.0, 2.0), (1.0, 3.0), (1.5, 2.5), (2.0, 4.0), (5.0, 5.0)]
    found = LabelledRecording("a.wav", {0: tuple(Segment(a, b, "dog", NO_SCORE) for a, b in spans)})
    writer = format_writer("textgrid")
    path = tmp_path / "x.TextGrid"
    path.write_text(writer.recording(found))
    assert writer.notes == ["segments without length are omitted, because a tier cannot contain them"]
    grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=False)
    assert grid.tierNames == ("dog", "dog (2)", "dog (3)")
    assert [[(e.start, e.end) for e in grid.getTier(name).entries] for name in grid.tierNames] == [
        [(0, 2), (2, 4)], [(1, 3)], [(1.5, 2.5)]
    ]  # fmt: skip
    assert grid.maxTimestamp == 5.0
    assert [(s.start, s.end) for s in read_labelled_recordings(path)[0].segments] == spans[:4]


def test_no_two_tiers_have_one_name(tmp_path: Path) -> None:
    spans = [(0.0, 2.0, "dog"), (1.0, 3.0, "dog"), (1.5, 2.5, "dog (2)")]
    path = written(
        tmp_path, "textgrid", LabelledRecording("a.wav", {0: tuple(Segment(*one, NO_SCORE) for one in spans)})
    )
    grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=False)
    assert grid.tierNames == ("dog", "dog (2)", "dog (2) (2)")
    assert sorted((s.start, s.end, s.label) for s in read_labelled_recordings(path)[0].segments) == spans


def test_a_tag_in_a_label_is_none_in_subtitles() -> None:
    found = LabelledRecording("a.wav", {0: (Segment(0.5, 1.25, "<b>%3C\n<3", NO_SCORE),)})
    assert text_of("srt", found) == "1\n00:00:00,500 --> 00:00:01,250\n%3Cb>%253C\n%3C3\n\n"


def test_recordings_of_one_base_name_stay_apart(tmp_path: Path) -> None:
    writer = format_writer("rttm")
    names = ["a/x.wav", "b/x.wav", "a/x.wav", "b/x.flac"]
    text = "".join(writer.recording(LabelledRecording(name, {0: (SPEECH,)})) for name in names)
    assert [line.split()[1] for line in text.splitlines()] == ["x", "b/x.wav", "x", "b/x.flac"]
    assert writer.notes == [
        "recordings in different folders have the same base name; all but the first are written with their whole name"
    ]


# Readers that others wrote


@pytest.mark.parametrize(
    ("file", "label"), [*(("a.wav", label) for label in HARD_LABELS), *((file, "speech") for file in HARD_NAMES)]
)
def test_pyannote_reads_our_rttm(tmp_path: Path, file: str, label: str) -> None:
    found = LabelledRecording(file, {0: (Segment(0.5, 1.25, label, 0.75), Segment(1.0, 3.5, "b", NO_SCORE))})
    ((name, annotation),) = load_rttm(written(tmp_path, "rttm", found, SILENT)).items()
    assert unescape(name) == Path(file).stem
    turns = [(stretch, unescape(who)) for stretch, _, who in annotation.itertracks(yield_label=True)]
    assert turns == [(Stretch(0.5, 1.25), label), (Stretch(1.0, 3.5), "b")]


def test_we_read_the_rttm_of_pyannote(tmp_path: Path) -> None:
    path = written(tmp_path, "rttm", LabelledRecording("a.wav", {0: (SPEECH, Segment(1.0, 3.5, "b", NO_SCORE))}))
    again = tmp_path / "again.rttm"
    with again.open("w") as file:
        load_rttm(path)["a"].write_rttm(file)
    (read,) = read_labelled_recordings(again)
    assert [(s.start, s.end, s.label) for s in read.segments] == [(0.5, 1.25, "speech"), (1.0, 3.5, "b")]


@pytest.mark.parametrize("label", HARD_LABELS)
def test_praatio_reads_our_textgrids(tmp_path: Path, label: str) -> None:
    found = LabelledRecording("a.wav", {0: (Segment(0.5, 1.25, label, 0.75), Segment(2.0, 3.5, label, 0.5))}, 10.0)
    path = written(tmp_path, "textgrid", found)
    grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=False)
    (tier,) = (grid.getTier(name) for name in grid.tierNames)
    assert (tier.minTimestamp, tier.maxTimestamp) == (0, 10)
    assert [(e.start, e.end) for e in tier.entries] == [(0.5, 1.25), (2.0, 3.5)]
    # praatio itself takes blanks off the ends.
    assert unescape(tier.entries[0].label) in (label, label.strip(" "))


@pytest.mark.parametrize("form", ["short_textgrid", "long_textgrid"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_we_read_the_textgrids_of_praatio(tmp_path: Path, form: str, encoding: str) -> None:
    grid = textgrid.Textgrid()
    grid.addTier(textgrid.IntervalTier("words", [(0.5, 1.25, 'say "hi"'), (2, 3.5, "é 日本 <exists> 7")], 0, 10))
    grid.addTier(textgrid.PointTier("points", [(4.0, "here")], 0, 10))
    grid.addTier(textgrid.IntervalTier("noise, channel 2", [(0.25, 0.75, "two\nlines")], 0, 10))
    path = tmp_path / "talk.TextGrid"
    grid.save(str(path), form, includeBlankSpaces=True)
    path.write_bytes(path.read_text(encoding="utf-8").encode(encoding))
    (read,) = read_labelled_recordings(path)
    assert (read.file, read.duration_seconds) == ("talk", 10)
    assert {channel: [(s.start, s.end, s.label) for s in track] for channel, track in read.tracks.items()} == {
        0: [(0.5, 1.25, 'say "hi"'), (2, 3.5, "é 日本 <exists> 7")], 1: [(0.25, 0.75, "two\nlines")]
    }  # fmt: skip


def test_every_format_has_its_file() -> None:
    for name, one in FORMATS.items():
        assert issubclass(format_class(name), LabelFormat)
        assert one.suffixes[0].startswith(".")
