"""Kaldi, Lhotse, NeMo, Raven and ELAN: what is written is what readers of others read, and theirs is read here."""

from __future__ import annotations

import csv
import gzip
import json
import math
import re
import warnings
from pathlib import Path

import pytest

from audiocnn.data.sources.folders import read_folder
from audiocnn.errors import LabelError
from audiocnn.labels.formats import FORMATS, format_writer, label_format, read_labelled_recordings, read_labels
from audiocnn.labels.formats.base import NO_SCORE, LabelledRecording
from audiocnn.labels.formats.elan import file_url, media_urls, url_file
from audiocnn.labels.formats.text import escape_cell, escape_word, unescape
from audiocnn.segments.segment import Annotation, Segment

TOOLKITS = ("kaldi", "lhotse", "nemo", "raven", "elan")
HARD_NAMES = [
    "a.wav", "sub/b c.wav", "/abs/d.wav", "-e.wav", "--", 'f"g\'.wav', "tab\there.wav", "line\nend.wav", "cr\rlf.wav",
    "not\udcffutf\udc808.wav", "é·日本.wav", "100%.wav", "x%20y.wav", "x%0Ay.wav", "<&>.wav", " edge .wav", "#?;=:.wav",
    "u\u2028v\xa0w.wav", "\x1b[31m.wav", "a\\b.wav",
]  # fmt: skip
HARD_LABELS = [
    "speech",
    "two words",
    'quo"te',
    '"',
    "tab\there",
    "line\nend",
    "%41",
    "%20",
    "naïve 日本",
    "<&>",
    "-x",
    "NA",
]


def segments(*spans: tuple[float, float, str]) -> tuple[Segment, ...]:
    """Segments with a score that four digits hold."""
    return tuple(Segment(start, end, label, 0.9321) for start, end, label in spans)


TWO = segments((1.24, 3.5, "speech"), (4.0, 4.1234, "dog bark"))
STEREO = LabelledRecording("x/a b.wav", {0: TWO, 1: segments((0.0, 0.5, "speech"))}, 10.0, 44100, 2)


def write(path: Path, name: str, *founds: LabelledRecording) -> list[str]:
    """The file, and what the writer had to say."""
    writer = format_writer(name)
    text = writer.begin() + "".join(writer.recording(found) for found in founds) + writer.end()
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    return writer.notes


def base(name: str) -> str:
    """As a format without folders has it."""
    return name.rsplit("/", 1)[-1].removesuffix(".wav") or name


@pytest.mark.parametrize("name", TOOLKITS)
@pytest.mark.parametrize("file", HARD_NAMES)
def test_a_name_comes_back_byte_by_byte(tmp_path: Path, name: str, file: str) -> None:
    path = tmp_path / f"x{FORMATS[name].suffixes[0]}"
    assert write(path, name, LabelledRecording(file, {0: TWO}, 10.0, 16000, 1)) == []
    (found,) = read_labelled_recordings(path, name)
    assert found.file == (file if "file" in FORMATS[name].keeps else base(file))
    assert [(one.start, one.end, one.label) for one in found.segments] == [
        (1.24, 3.5, "speech"),
        (4.0, 4.123 if name == "elan" else 4.1234, "dog bark"),
    ]


@pytest.mark.parametrize("name", TOOLKITS)
@pytest.mark.parametrize("label", HARD_LABELS)
def test_a_label_comes_back(tmp_path: Path, name: str, label: str) -> None:
    path = tmp_path / f"x{FORMATS[name].suffixes[0]}"
    write(path, name, LabelledRecording("a.wav", {0: segments((1, 2, label))}, 10.0, 16000, 1))
    assert [one.label for one in read_labelled_recordings(path, name)[0].segments] == [label]


@pytest.mark.parametrize("name", TOOLKITS)
def test_channels_and_scores_come_back_where_there_is_a_place_for_them(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"x{FORMATS[name].suffixes[0]}"
    write(path, name, STEREO)
    (found,) = read_labelled_recordings(path)
    assert {channel: len(track) for channel, track in found.tracks.items()} == {0: 2, 1: 1}
    scores = {one.score for one in found.segments}
    assert scores == {0.9321} if "score" in FORMATS[name].keeps else all(map(math.isnan, scores))


@pytest.mark.parametrize("name", ["lhotse", "nemo", "raven"])
def test_a_score_that_is_not_known_stays_unknown(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"x{FORMATS[name].suffixes[0]}"
    write(path, name, LabelledRecording("a.wav", {0: (Segment(1, 2, "speech", NO_SCORE),)}, 3, 16000, 1))
    assert math.isnan(read_labelled_recordings(path)[0].segments[0].score)


@pytest.mark.parametrize("name", [name for name in TOOLKITS if FORMATS[name].many])
def test_several_recordings_in_one_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"x{FORMATS[name].suffixes[0]}"
    write(
        path,
        name,
        STEREO,
        LabelledRecording("y.wav", {}, 3.0, 8000, 1),
        LabelledRecording("z.wav", {0: TWO}, 9.0, 8000, 1),
    )
    found = read_labelled_recordings(path)
    assert [base(one.file) for one in found] == ["a b", "z"]
    assert [one.start for one in found[1].segments] == [1.24, 4.0]


# Kaldi

UTTERANCES = "rec-00001240-00003500-speech rec 1.2400 3.5000\nrec-00004000-00004123-dog%20bark rec 4.0000 4.1234\n"


def test_kaldi_lines(tmp_path: Path) -> None:
    path = tmp_path / "x.segments"
    write(path, "kaldi", LabelledRecording("d/rec.wav", {0: TWO}, 10.0, 16000, 1))
    assert path.read_text() == UTTERANCES


def test_kaldi_ids_are_unique_and_sorted_by_their_bytes(tmp_path: Path) -> None:
    path = tmp_path / "x.segments"
    same = segments((1, 2, "speech"), (1, 2, "speech"), (0, 1, "é"), (0, 1, "z"))
    one = LabelledRecording("a.wav", {0: same, 1: same}, 9, 8000, 2)
    assert write(path, "kaldi", one, one, LabelledRecording("b.wav", {0: same}, 9, 8000, 1)) != []
    lines = path.read_bytes().splitlines()
    ids = [line.split()[0] for line in lines]
    assert len(set(ids)) == len(ids) == 20
    assert ids[:8] == sorted(ids[:8])
    assert all(len(line.split()) == (5 if line.startswith(b"a") else 4) for line in lines)


def test_kaldi_says_what_is_not_in_order_or_left_out(tmp_path: Path) -> None:
    notes = write(
        tmp_path / "x.segments",
        "kaldi",
        LabelledRecording("b.wav", {0: segments((1, 1, "speech"), (1, 2, "speech"))}),
        LabelledRecording("a.wav", {0: TWO}),
    )
    assert [note.partition(";")[0].partition(":")[0] for note in notes] == [
        "segments without length are omitted, because Kaldi does not support them",
        "recordings are not in the order of their ids",
    ]


def test_kaldi_of_others(tmp_path: Path) -> None:
    path = tmp_path / "segments"
    path.write_text("utt1 rec1 0.5 1.25\nrec1-0000124-0000350  rec1\t1.24 3.5\nu rec2 2 3 1\n")
    speech = [Annotation(0.5, 1.25, "speech"), Annotation(1.24, 3.5, "speech")]
    assert label_format(path) == "kaldi"
    assert read_labels(path) == {"rec1": speech, "rec2": [Annotation(2, 3, "speech")]}
    (tmp_path / "wav.scp").write_text("rec1 /corpus/with space/a.wav\nrec2 sph2pipe -f wav b.sph |\n")
    found = read_labelled_recordings(path)
    assert [one.file for one in found] == ["/corpus/with space/a.wav", "rec2"]
    assert list(found[1].tracks) == [1]


def test_lhotse_reads_our_kaldi_files(tmp_path: Path) -> None:
    lhotse = pytest.importorskip("lhotse.kaldi")
    names = ["a.wav", "b c.wav", 'd"%20\t.wav', "-e\xa0f.wav"]
    write(tmp_path / "segments", "kaldi", *(LabelledRecording(name, {0: TWO}, 10.0, 16000, 1) for name in names))
    ids = [escape_word(base(name)) for name in names]
    (tmp_path / "wav.scp").write_text("".join(f"{one} {number}.wav\n" for number, one in enumerate(ids)))
    (tmp_path / "reco2dur").write_text("".join(f"{one} 10.0\n" for one in ids))
    utterances = [line.split()[0] for line in (tmp_path / "segments").read_text(encoding="utf-8").splitlines()]
    (tmp_path / "text").write_text("".join(f"{one} hello\n" for one in utterances))
    supervisions = list(lhotse.load_kaldi_data_dir(tmp_path, sampling_rate=16000)[1])
    assert [one.recording_id for one in supervisions] == [own for own in ids for _ in TWO]
    for read, segment in zip(supervisions, TWO * len(ids), strict=True):  # times in whole samples
        assert (read.start, read.end) == pytest.approx((segment.start, segment.end), abs=1 / 16000)


# Lhotse


def test_lhotse_reads_our_supervisions(tmp_path: Path) -> None:
    lhotse = pytest.importorskip("lhotse")
    path = tmp_path / "x.jsonl"
    hard = [LabelledRecording(f"d{number}/{name}", {0: TWO}, 10.0, 16000, 1) for number, name in enumerate(HARD_NAMES)]
    write(path, "lhotse", STEREO, *hard)
    supervisions = lhotse.SupervisionSet.from_jsonl(path)
    lhotse.validate(supervisions)
    found = list(supervisions)
    assert len({one.id for one in found}) == len(found) == 3 + 2 * len(hard)
    first = found[0]
    assert (first.recording_id, first.start, first.end, first.channel) == ("a b", 1.24, 3.5, 0)
    assert (first.label, first.score, first.file) == ("speech", 0.9321, "x/a b.wav")
    assert [one.channel for one in found[:3]] == [0, 0, 1]


def test_supervisions_of_lhotse_are_read(tmp_path: Path) -> None:
    lhotse = pytest.importorskip("lhotse")
    made = [
        lhotse.SupervisionSegment("s1", "rec", 0.5, 1.25, channel=[0, 1], text="hello", speaker="ann"),
        lhotse.SupervisionSegment("s2", "rec", 2.0, 0.5, custom={"label": "dog"}),
    ]
    expected = {0: [(0.5, 1.75, "speech"), (2.0, 2.5, "dog")], 1: [(0.5, 1.75, "speech")]}
    for name in ("x.jsonl", "x.jsonl.gz", "x.json"):
        lhotse.SupervisionSet.from_segments(made).to_file(tmp_path / name)
        assert label_format(tmp_path / name) == "lhotse"
        (found,) = read_labelled_recordings(tmp_path / name)
        assert found.file == "rec"
        assert {c: [(s.start, s.end, s.label) for s in track] for c, track in found.tracks.items()} == expected


def test_two_recordings_of_one_stem_stay_apart_in_lhotse(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    notes = write(path, "lhotse", LabelledRecording("x/a.wav", {0: TWO}), LabelledRecording("y/a.wav", {0: TWO}))
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert [one["recording_id"] for one in records] == ["a", "a", "y/a.wav", "y/a.wav"]
    assert len(notes) == 1
    assert [found.file for found in read_labelled_recordings(path)] == ["x/a.wav", "y/a.wav"]


def test_a_whole_name_is_not_the_short_one_of_another(tmp_path: Path) -> None:
    path = tmp_path / "x.segments"
    write(path, "kaldi", *(LabelledRecording(name, {0: TWO}) for name in ("a.flac.wav", "a.wav", "a.flac")))
    assert [found.file for found in read_labelled_recordings(path)] == ["a.flac", "a", "a.flac+"]


def test_a_gzip_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audiocnn.labels.formats.manifest.MOST_LABEL_BYTES", 1 << 20)
    path = tmp_path / "x.jsonl.gz"
    path.write_bytes(gzip.compress(b" " * (4 << 20)))
    with pytest.raises(LabelError, match=r"more than 1 MiB; unpack it by hand"):
        read_labelled_recordings(path, "lhotse")
    path.write_bytes(gzip.compress(b"{}" * 1000)[:-9])
    with pytest.raises(LabelError, match="it is cut short"):
        read_labelled_recordings(path, "lhotse")


# NeMo


def test_nemo_lines_have_what_its_reader_takes(tmp_path: Path) -> None:
    """`ASRSpeechLabel` takes audio_filepath, duration, label and offset from each line (NeMo, collections.py)."""
    path = tmp_path / "x.json"
    write(path, "nemo", STEREO)
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(r["audio_filepath"], r["offset"], r["duration"], r["label"]) for r in records] == [
        ("x/a b.wav", 1.24, 2.26, "speech"),
        ("x/a b.wav", 4.0, 0.1234, "dog bark"),
        ("x/a b.wav", 0.0, 0.5, "speech"),
    ]
    assert [r.get("channel") for r in records] == [None, None, 1]


def test_nemo_of_others(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(
        '{"audio_filepath": "a.wav", "offset": 1.5, "duration": 0.63, "label": "background", "text": "_"}\n'
        '{"audio_filename": "b.wav", "duration": 2, "command": "seven"}\n{"audio_filepath": "a.wav", "duration": 1}\n'
        '{"audio_filepath": "a.wav", "duration": 1, "label": 7}\n'
    )
    assert label_format(path) == "nemo"
    assert read_labels(path) == {
        "a.wav": [Annotation(1.5, 2.13, "background"), Annotation(0, 1, "speech"), Annotation(0, 1, "7")],
        "b.wav": [Annotation(0, 2, "seven")],
    }


# Raven


def test_a_reader_of_tables_reads_our_selections(tmp_path: Path) -> None:
    path = tmp_path / "x.selections.txt"
    hard = [
        LabelledRecording(name, {0: segments((1, 2, label))}, 3.0, 8000, 1)
        for name, label in zip(HARD_NAMES, HARD_LABELS, strict=False)
    ]
    write(path, "raven", STEREO, *hard)
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [row["Selection"] for row in rows] == [str(number) for number in range(1, 4 + len(hard))]
    assert [row["Channel"] for row in rows[:4]] == ["1", "1", "2", "1"]
    assert rows[0] == {
        "Selection": "1", "View": "Spectrogram 1", "Channel": "1", "Begin Time (s)": "1.2400", "End Time (s)": "3.5000",
        "Low Freq (Hz)": "0", "High Freq (Hz)": "22050", "Begin Path": "x/a b.wav", "File Offset (s)": "1.2400",
        "Annotation": "speech", "Score": "0.9321",
    }  # fmt: skip
    # The second file begins where the first one ends, and so on.
    assert [float(row["Begin Time (s)"]) for row in rows[3:]] == [10 + 3 * n + 1 for n in range(len(hard))]
    assert [unescape(row["Begin Path"]) for row in rows[3:]] == [one.file for one in hard]
    assert [unescape(row["Annotation"]) for row in rows[3:]] == [one.segments[0].label for one in hard]


def test_pandas_reads_our_selections(tmp_path: Path) -> None:
    """As crowsetta, opensoundscape and others of the field do."""
    pandas = pytest.importorskip("pandas")
    path = tmp_path / "x.selections.txt"
    write(
        path,
        "raven",
        LabelledRecording("a.wav", {0: segments((1, 2, '"un'), (3, 4, 'a"b'), (5, 6, "speech"))}, 9.0, 16000, 1),
    )
    table = pandas.read_csv(path, sep="\t")
    assert list(table["Begin Time (s)"]) == [1, 3, 5]
    assert list(table["High Freq (Hz)"]) == [8000, 8000, 8000]
    assert [unescape(cell) for cell in table["Annotation"]] == ['"un', 'a"b', "speech"]


def test_a_rate_that_is_not_known_is_said_once(tmp_path: Path) -> None:
    found = LabelledRecording("a.wav", {0: TWO})
    (note,) = write(tmp_path / "x.selections.txt", "raven", found, found)
    assert note == "unknown sample rate: selections reach from 0 to 24000 Hz"


def test_raven_of_others(tmp_path: Path) -> None:
    path = tmp_path / "a.Table.1.selections.txt"
    head = "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)"
    path.write_text(
        f"{head}\tSpecies\n1\tWaveform 1\t2\t0.5\t1.5\t\t\tEATO\n1\tSpectrogram 1\t2\t0.5\t1.5\t100\t2000\tEATO\n"
        "2\tSpectrogram 1\t1\t3\t4\t100\t2000\tHOFI\n"
    )
    assert label_format(path) == "raven"
    (found,) = read_labelled_recordings(path)
    assert found.file == "a"
    assert [(c, one.start, one.end, one.label) for c, track in found.tracks.items() for one in track] == [
        (0, 3, 4, "HOFI"),
        (1, 0.5, 1.5, "EATO"),
    ]
    birdnet = tmp_path / "BirdNET_SelectionTable.txt"
    birdnet.write_text(
        f"{head}\tCommon Name\tSpecies Code\tConfidence\tBegin Path\tFile Offset (s)\n"
        "1\tSpectrogram 1\t1\t63.0\t66.0\t0\t15000\tGreat Tit\tgretit1\t0.8123\t/d/b.wav\t3.0\n"
    )
    (found,) = read_labelled_recordings(birdnet)
    assert (found.file, found.segments) == ("/d/b.wav", (Segment(3.0, 6.0, "Great Tit", 0.8123),))


# ELAN


def test_pympi_reads_our_documents(tmp_path: Path) -> None:
    elan = pytest.importorskip("pympi.Elan")
    path = tmp_path / "x.eaf"
    overlapping = segments((0, 2, "speech"), (1, 3, "speech"), (2.0004, 4, 'a "b" <&>\n'))
    write(path, "elan", LabelledRecording("/d/é %.wav", {0: overlapping, 1: TWO}, 10.0, 16000, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        document = elan.Eaf(str(path))
    tiers = {name: document.get_annotation_data_for_tier(name) for name in document.get_tier_names()}
    assert tiers == {
        "speech, channel 1": [(0, 2000, "speech")],
        "speech, channel 1 (2)": [(1000, 3000, "speech")],
        'a "b" <&>\n, channel 1': [(2000, 4000, 'a "b" <&>\n')],
        "speech, channel 2": [(1240, 3500, "speech")],
        "dog bark, channel 2": [(4000, 4123, "dog bark")],
    }
    assert document.tiers["dog bark, channel 2"][2]["PARTICIPANT"] == "channel 2"
    assert document.media_descriptors[0]["MEDIA_URL"] == "file:///d/%C3%A9%20%25.wav"
    assert list(document.timeslots.values()) == sorted(document.timeslots.values())


def test_documents_of_pympi_are_read(tmp_path: Path) -> None:
    elan = pytest.importorskip("pympi.Elan")
    path = tmp_path / "y.eaf"
    document = elan.Eaf(author="")
    document.add_linked_file("file:///data/rec 1.wav", mimetype="audio/x-wav")
    document.add_tier("ann")
    document.add_annotation("ann", 500, 1750, "speech")
    document.add_annotation("ann", 2000, 2500, "")
    document.add_linguistic_type("words", "Symbolic_Association", timealignable=False)
    document.add_tier("words", "words", "ann")
    document.add_ref_annotation("words", "ann", 600, "hello")
    document.remove_tier("default")
    document.to_file(str(path))
    (found,) = read_labelled_recordings(path)
    assert found.file == "/data/rec 1.wav"
    assert [(one.start, one.end, one.label) for one in found.segments] == [(0.5, 1.75, "speech"), (2.0, 2.5, "ann")]


def test_a_document_of_a_video_counts_for_the_recording_beside_it(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    write(tmp_path / "a.eaf", "elan", LabelledRecording("/elsewhere/a.mp4", {0: TWO}))
    found = read_folder(tmp_path)
    items = found.items
    assert found.refused == []
    assert [(one.onset, one.offset, one.label) for one in items[0].annotations] == [
        (1.24, 3.5, "speech"),
        (4.0, 4.123, "dog bark"),
    ]


def test_a_segment_shorter_than_a_millisecond_is_kept_and_said(tmp_path: Path) -> None:
    path = tmp_path / "x.eaf"
    notes = write(path, "elan", LabelledRecording("a.wav", {0: segments((1, 1, "tick"), (1, 1.0002, "tick"))}))
    assert len(notes) == 1
    assert "shorter than a millisecond" in notes[0]
    assert [(one.start, one.end) for one in read_labelled_recordings(path)[0].segments] == [(1.0, 1.001), (1.0, 1.001)]


def test_characters_that_xml_does_not_know(tmp_path: Path) -> None:
    path = tmp_path / "x.eaf"
    write(path, "elan", LabelledRecording("a\x01.wav", {0: segments((1, 2, "b\x02\ufffe\ud800"))}))
    (found,) = read_labelled_recordings(path)
    assert (found.file, found.segments[0].label) == ("a\x01.wav", "b\ufffd\ufffd\ufffd")


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("file:///C:/d/a%20b.wav", "C:/d/a b.wav"), ("file:///d/a.wav", "/d/a.wav"), ("./a.wav", "a.wav"),
        ("a b.wav", "a b.wav"), ("http://x.org/d/a.wav", "/d/a.wav"), ("../a.wav", "../a.wav"),
        ("file:/d/a.wav", "/d/a.wav"),
    ],
)  # fmt: skip
def test_media_of_others(url: str, file: str) -> None:
    assert url_file(url) == file


@pytest.mark.parametrize("file", [*HARD_NAMES, "./a.wav", "a:b.wav", "file:///x", "../x.wav"])
def test_media_urls_come_back(file: str) -> None:
    assert url_file(file_url(file)) == file
    assert re.fullmatch(r"[A-Za-z0-9_.~%/:-]+", file_url(file))


def test_media_are_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RELATIVE_MEDIA_URL counts from the folder of the document, which the writer does not know."""
    monkeypatch.chdir(tmp_path)
    for name in ("recs/a b.wav", "c.wav"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    here = file_url(str(tmp_path))
    for name, urls in {
        "recs/a b.wav": (f"{here}/recs/a%20b.wav", ""),
        "./recs/../recs/a b.wav": (f"{here}/recs/a%20b.wav", ""),
        str(tmp_path / "c.wav"): (f"{here}/c.wav", ""),
        "c.wav": (f"{here}/c.wav", "./c.wav"),
        "gone.wav": ("./gone.wav", "./gone.wav"),
        "recs/gone.wav": ("./recs/gone.wav", ""),
    }.items():
        assert media_urls(name) == urls
        path = tmp_path / "x.eaf"
        write(path, "elan", LabelledRecording(name, {0: TWO}))
        text = path.read_text()
        assert f' MEDIA_URL="{urls[0]}"' in text
        assert re.findall(' RELATIVE_MEDIA_URL="(.*)"', text) == ([urls[1]] if urls[1] else [])
        assert read_labelled_recordings(path)[0].file == name
    write(path, "elan", LabelledRecording("c.wav", {0: TWO}))
    for moved, name in ((f"{here}/d.wav", str(tmp_path / "d.wav")), ("file:///d/c.wav", "c.wav")):
        path.write_text(path.read_text().replace(f'"{here}/c.wav"', f'"{moved}"'))  # as ELAN does with another media
        assert read_labelled_recordings(path)[0].file == name
        write(path, "elan", LabelledRecording("c.wav", {0: TWO}))


EAF = '<?xml version="1.0"?>\n<ANNOTATION_DOCUMENT>{}</ANNOTATION_DOCUMENT>'
ONE = '<TIER TIER_ID="t"><ANNOTATION><ALIGNABLE_ANNOTATION TIME_SLOT_REF1="a" TIME_SLOT_REF2="b"/></ANNOTATION></TIER>'
SLOT = '<TIME_SLOT TIME_SLOT_ID="a" TIME_VALUE="{}"/>'
RAVEN_HEAD = "Begin Time (s)\tEnd Time (s)\tChannel\tScore\tAnnotation\n"
# format, text of the file: what the message says
BAD = [
    ("kaldi", "utt rec 1\n", r"x:1: found .utt rec 1., expected utterance-id recording-id start end"),
    ("kaldi", "utt rec 1 2 x\n", r"x:1: found .utt rec 1 2 x., expected .* a channel from 0"),
    ("kaldi", "utt rec 1 two\n", r"x:1: found .two., expected the end in seconds"),
    ("kaldi", "utt rec 1 -1\n", r"x:1: found .-1., expected the end in seconds; write the length"),
    ("kaldi", "utt a%00 1 2\n", r"x:1: found .*zero byte"),
    ("lhotse", "{\n", r"x:1: not JSON \(Expecting property name.*column 2\); check the line"),
    ("lhotse", "\n\n7\n", r"x:3: found 7, expected a JSON object"),
    ("lhotse", "[{}, 7]", r'x: item 1: "start" is not given, expected a number'),
    ("lhotse", "[" * 5000, r"x:1: (JSON is nested too deeply|not JSON)"),
    ("lhotse", "[1" + "0" * 5000 + "]", r"x:1: .*number that is too long"),
    ("lhotse", '{"recording_id":"a","start":true,"duration":1}', r'x:1: "start" is true, expected a number'),
    ("lhotse", '{"recording_id":"a","start":1' + "0" * 400 + ',"duration":1}', r'x:1: "start" is 10+\.\.\., expected'),
    ("lhotse", '{"recording_id":"","start":0,"duration":1}', r'x:1: "recording_id" is "", expected a string'),
    ("lhotse", '{"recording_id":"a","start":0,"duration":1,"channel":-1}', r'x:1: "channel" is -1, expected a channel'),
    ("lhotse", '{"recording_id":"a","start":0,"duration":1,"custom":[]}', r'x:1: "custom" is a list, expected an obj'),
    ("lhotse", '{"recording_id":"a","start":0,"duration":1,"custom":{"label":7}}', r'"custom": "label" is 7, expected'),
    ("lhotse", '{"recording_id":"\\ud800","start":0,"duration":1}', r'x:1: "recording_id" is "\\ud800", expected a st'),
    ("nemo", '{"duration":1}', r'x:1: "audio_filepath" is not given, expected a string'),
    ("nemo", '{"audio_filepath":"a\\u0000","duration":1}', r'x:1: "audio_filepath" is .*, expected a file name'),
    ("nemo", '{"audio_filepath":"a","audio_filepath_base64":"?","duration":1}', r'"audio_filepath_base64" is "\?", e'),
    ("nemo", '{"audio_filepath":"a"}', r'x:1: "duration" is not given, expected a number'),
    ("nemo", '{"audio_filepath":"a","duration":1,"label":["0","1"]}', r'x:1: "label" is a list, expected a string'),
    ("raven", "a\tb\n", r'x:1: found "a.tb", expected a header with "Begin Time \(s\)"'),
    ("raven", RAVEN_HEAD + "1\t2\t1\n", r"x:2: found 3 cells, expected 5 as in the header"),
    ("raven", RAVEN_HEAD + "1\tx\t1\t\ta\n", r"x:2: found .x., expected the End Time \(s\) in seconds"),
    ("raven", RAVEN_HEAD + "1\t2\t0\t\ta\n", r"x:2: found .0., expected a channel, from 1"),
    ("raven", RAVEN_HEAD + "1\t2\t1\thigh\ta\n", r"x:2: found .high., expected a score, such as 0.93"),
    ("raven", RAVEN_HEAD + "1\t2\t1\t%00\ta\n", r"x:2: found .*, expected text without a zero byte"),
    ("elan", "", r"x:1: not valid XML \(no element found.*; open it in ELAN and save it again"),
    ("elan", "<html/>", r"x:1: found <html>, expected <ANNOTATION_DOCUMENT>"),
    ("elan", EAF.format("<TIER>"), r"x:2: not valid XML \(mismatched tag"),
    ("elan", "<!DOCTYPE a [<!ENTITY b 'c'>]><ANNOTATION_DOCUMENT/>", r"x:1: found a DOCTYPE"),
    ("elan", EAF.format('<HEADER TIME_UNITS="PAL-frames"/>'), r"x:2: times in PAL-frames"),
    ("elan", EAF.format(SLOT.format("1.5")), r'x:2: found "1.5", expected a time in integer milliseconds'),
    ("elan", EAF.format(SLOT.format("9" * 400)), r'x:2: found "9+", expected a time in integer milliseconds'),
    ("elan", EAF.format(SLOT.format("1") + ONE), r'x:2: the time slot "b" has no time'),
    (
        "elan",
        EAF.format('<MEDIA_DESCRIPTOR MEDIA_URL="./a"/><PROPERTY NAME="audiocnn.file">./%00/a</PROPERTY>'),
        r"x:2: a zero byte in the name of the media",
    ),
    ("elan", EAF.format('<MEDIA_DESCRIPTOR MEDIA_URL="./%00"/>'), r"x:2: a zero byte in the name of the media"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "message"), BAD)
def test_a_file_that_cannot_be_read_says_where_and_why(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = tmp_path / "x"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(LabelError, match=message) as problem:
        read_labelled_recordings(path, name)
    assert str(problem.value).isprintable()


def test_a_bad_table_of_files_beside_kaldi_segments(tmp_path: Path) -> None:
    (tmp_path / "segments").write_text("utt rec 1 2\n")
    (tmp_path / "wav.scp").write_text("rec\n")
    with pytest.raises(LabelError, match=r"wav.scp:1: no file after the recording-id"):
        read_labelled_recordings(tmp_path / "segments")


@pytest.mark.parametrize("text", [*HARD_NAMES, *HARD_LABELS, "%", "%2", "%2525", "%%20", "%C2%A0", "\xff\ufeff"])
def test_escapes(text: str) -> None:
    word, cell = escape_word(text), escape_cell(text)
    assert len(word.split()) == len(cell.splitlines()) == 1
    assert cell.strip() == cell
    for escaped in (word, cell):
        assert "\t" not in escaped
        escaped.encode("utf-8")
        assert unescape(escaped) == text


def test_what_needs_no_escape_stays() -> None:
    assert escape_word("sub/a-100%_(1)é.wav") == "sub/a-100%_(1)é.wav"
    assert escape_cell("two words%") == "two words%"
    assert unescape("a%3Db%2Fc") == "a%3Db%2Fc"


def test_half_a_surrogate_pair_can_be_written() -> None:
    assert escape_word("\ud800") == "%ED%A0%80"
