"""Tables as people have them: other names of columns, separators, encodings, paths; and labels in manifests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from corpora import text
from sounds import noise, write

from audiocnn.data.sources import SourceItems, read_source
from audiocnn.data.sources.probe import with_several
from audiocnn.data.sources.settings import DataSettings
from audiocnn.errors import LabelError
from audiocnn.labels.formats import FORMATS, SUBTITLES, format_writer
from audiocnn.labels.formats.base import LabelledRecording
from audiocnn.labels.formats.columns import FILE_COLUMNS, LABEL_COLUMNS, choose_label_column, find_roles
from audiocnn.labels.lookup import Recordings
from audiocnn.segments.segment import Segment

LABELS = {"one.wav": "dog", "two.wav": "cat", "in/three.wav": "dog", "in/four.wav": "cat"}
TIMES = {
    "one.wav": ("0,25", "0,75"),
    "two.wav": ("0", "1"),
    "in/three.wav": ("0,5", "0,625"),
    "in/four.wav": ("0", "1"),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number, name in enumerate(LABELS):
        write(tmp_path / name, noise(1, 8000, number), 8000)
    return tmp_path


def found(source: SourceItems) -> dict[str, str | None]:
    assert source.refused == []
    return {item.filename: item.label for item in source.items}


def times(source: SourceItems) -> dict[str, list[tuple[float, float, str]]]:
    return {item.filename: [(a.onset, a.offset, a.label) for a in item.annotations] for item in source.items}


def rows(separator: str, names: dict[str, str] = LABELS) -> list[str]:
    return [f"{file}{separator}{label}" for file, label in names.items()]


@pytest.mark.parametrize("written", [str.lower, str.upper, str.title, lambda name: name.replace("_", " ")])
@pytest.mark.parametrize("column", FILE_COLUMNS)
def test_the_column_of_files_under_any_name(root: Path, column: str, written) -> None:  # type: ignore[no-untyped-def]
    assert found(read_source(text(root / "t.csv", f"{written(column)},label", *rows(",")))) == LABELS


@pytest.mark.parametrize("column", LABEL_COLUMNS)
def test_the_column_of_labels_under_any_name_is_taken_and_said(root: Path, column: str) -> None:
    source = read_source(text(root / "t.csv", f"filename,{column.upper()}", *rows(",")))
    assert found(source) == LABELS
    assert f'column "{column.upper()}"' in source.notes[0]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".txt"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_separators_and_encodings(root: Path, separator: str, encoding: str, suffix: str, end: str) -> None:
    mark = "\ufeff" if encoding in ("utf-16-le", "utf-16-be") else ""
    path = root / f"t{suffix}"
    lines = [f"path{separator}label", *rows(separator, LABELS | {"one.wav": "Käuzchen"})]
    path.write_bytes((mark + end.join(lines) + end).encode(encoding))
    assert found(read_source(path))["one.wav"] == "Käuzchen"


def test_a_line_that_says_the_separator(root: Path) -> None:
    assert found(read_source(text(root / "t.csv", "sep=;", "filename;label", *rows(";")))) == LABELS


@pytest.mark.parametrize(
    "header", ["filename;onset;offset;label", "File;Start (s);End (s);Species", "wav;begin;end;class"]
)
def test_decimal_commas(root: Path, header: str) -> None:
    lines = [f"{file};{onset};{offset};{LABELS[file]}" for file, (onset, offset) in TIMES.items()]
    source = read_source(text(root / "t.csv", header, *lines))
    assert times(source)["one.wav"] == [(0.25, 0.75, "dog")]
    assert times(source)["in/three.wav"] == [(0.5, 0.625, "dog")]
    assert all(item.annotated and item.label is None for item in source.items)


@pytest.mark.parametrize(
    "header", ["filename,onset,duration,label", "path,offset,duration,label", "file,start,length,tag"]
)
def test_durations(root: Path, header: str) -> None:
    source = read_source(text(root / "t.csv", header, "one.wav,0.25,0.5,dog", "two.wav,0,1,cat"))
    assert times(source) == {"one.wav": [(0.25, 0.75, "dog")], "two.wav": [(0.0, 1.0, "cat")]}


def test_a_duration_alone_is_no_time(root: Path) -> None:
    source = read_source(text(root / "t.csv", "filename,duration,label", "one.wav,1.0,dog", "two.wav,1.0,cat"))
    assert found(source) == {"one.wav": "dog", "two.wav": "cat"}
    assert source.items[0].tags == {"duration": "1.0"}


@pytest.mark.parametrize("written", ["{}", ".\\{}", "D:\\study\\sounds\\{}", "C:/study/{}", "/home/me/sounds/{}"])
def test_paths_of_other_machines(root: Path, written: str) -> None:
    windows = "\\" in written
    names = {written.format(file.replace("/", "\\") if windows else file): label for file, label in LABELS.items()}
    source = read_source(text(root / "t.csv", "filename,label", *rows(",", names)))
    assert source.refused == []
    assert {item.path.relative_to(root).as_posix(): item.label for item in source.items} == LABELS  # type: ignore[union-attr]


def test_a_backslash_that_is_part_of_a_name(root: Path) -> None:
    write(root / "a\\b.wav", noise(1, 8000), 8000)
    assert found(read_source(text(root / "t.csv", "filename,label", "a\\b.wav,dog"))) == {"a\\b.wav": "dog"}


def test_a_recording_of_another_folder_is_not_taken(root: Path) -> None:
    source = read_source(text(root / "t.csv", "filename,label", "one.wav,dog", "out/three.wav,cat"))
    assert [name for name, _ in source.refused] == ["out/three.wav"]


def test_names_without_suffix_or_folder(root: Path) -> None:
    names = {"one": "dog", "two": "cat", "three": "dog", "four": "cat"}
    source = read_source(text(root / "t.csv", "fname,labels", *rows(",", names)))
    assert {item.path.name: item.label for item in source.items} == {f"{k}.wav": v for k, v in names.items()}


def test_rows_of_one_file_under_two_names(root: Path) -> None:
    lines = ["one.wav,0,0.5,dog", ".\\one.wav,0.5,1,cat", "C:\\x\\one.wav,0.6,0.7,dog"]
    source = read_source(text(root / "t.csv", "filename,onset,offset,label", *lines))
    assert times(source) == {"one.wav": [(0.0, 0.5, "dog"), (0.5, 1.0, "cat"), (0.6, 0.7, "dog")]}


@pytest.mark.parametrize("cells", [("1", "0"), ("1.0", "0.0"), ("1", "")])
def test_one_hot_columns(root: Path, cells: tuple[str, str]) -> None:
    yes, no = cells
    lines = [f"{file},{yes if one == 'dog' else no},{yes if one == 'cat' else no}" for file, one in LABELS.items()]
    source = read_source(text(root / "t.csv", "filename,dog,cat", *lines))
    assert found(source) == LABELS
    assert not source.several
    assert "dog, cat" in source.notes[0]


def test_one_hot_columns_of_which_several_are_set(root: Path) -> None:
    lines = ["one.wav,1,0,1", "two.wav,0,0,0", "in/three.wav,0,1,0", "in/four.wav,1,0,0"]
    path = text(root / "t.csv", "filename,dog,cat,owl", *lines)
    source = read_source(path)
    assert {item.filename: item.labels for item in source.items} == {
        "one.wav": ("dog", "owl"), "two.wav": (), "in/three.wav": ("cat",), "in/four.wav": ("dog",),
    }  # fmt: skip
    assert source.several
    assert "several labels" in source.notes[0]
    assert with_several(DataSettings(path)).labels_per_clip == "several"


def test_one_hot_columns_with_times(root: Path) -> None:
    source = read_source(text(root / "t.csv", "filename,start,end,dog,cat", "one.wav,0,0.5,1,1", "two.wav,0,1,0,1"))
    assert times(source) == {"one.wav": [(0.0, 0.5, "dog"), (0.0, 0.5, "cat")], "two.wav": [(0.0, 1.0, "cat")]}


@pytest.mark.parametrize(
    ("columns", "cells", "wanted"),
    [
        ("word speaker", ["dog ann", "cat ben", "dog ben"], "word"),
        ("class category", ["a x", "a y", "b y"], "category"),
        ("word tone", ["wren song", "robin call", "wren song"], "word"),  # alike by chance
    ],
)
def test_several_columns_that_may_be_labels_are_asked_about(
    root: Path, columns: str, cells: list[str], wanted: str
) -> None:
    lines = [f"{file},{cell.replace(' ', ',')}" for file, cell in zip(LABELS, cells, strict=False)]
    path = text(root / "t.csv", f"filename,{columns.replace(' ', ',')}", *lines)
    with pytest.raises(LabelError, match="--label-column") as caught:
        read_source(path)
    assert all(f'"{column}"' in str(caught.value) for column in columns.split())
    source = read_source(DataSettings(path, label=wanted.upper()))
    place = columns.split().index(wanted)
    assert list(found(source).values()) == [cell.split()[place] for cell in cells]


@pytest.mark.parametrize(
    ("header", "cells", "wanted"),
    [
        ("target,category", ["0,dog", "1,cat", "0,dog"], "category"),  # ESC-50: a number and the word for it
        ("target,word", ["0,dog", "1,cat", "0,dog"], "word"),
        (
            "common_name,species_code",
            ["Great Tit,gretit1", "Eurasian Wren,eurwre1", "Great Tit,gretit1"],
            "common_name",
        ),
        ("category,speaker", ["dog,ann", "cat,ben", "dog,ben"], "category"),
        ("label,category", ["dog,pet", "cat,pet", "dog,pet"], "label"),
        ("species,dog,cat", ["x,1,0", "y,0,1", "x,1,1"], "species"),
        ("speaker,size", ["ann,3", "ben,4", "ben,5"], "speaker"),
    ],
)
def test_which_column_says_the_label(header: str, cells: list[str], wanted: str) -> None:
    columns = ["filename", *header.split(",")]
    table = [dict(zip(columns, [f"{k}.wav", *row.split(",")], strict=True)) for k, row in enumerate(cells)]
    assert choose_label_column("t.csv", columns, table, taken=["filename"]).name == wanted


@pytest.mark.parametrize("columns", [("filename", "start", "label"), ("filename", "offset", "label"), ("a", "b"), ()])
def test_times_are_taken_together_or_not_at_all(columns: tuple[str, ...]) -> None:
    roles = find_roles(columns)
    assert not roles.timed
    assert roles.onset is roles.offset is roles.duration is None


def test_a_list_of_events_without_a_header(root: Path) -> None:
    source = read_source(text(root / "t.tsv", "one.wav\t0.25\t0.5\tdog", "two.wav\t0\t1\tcat"))
    assert times(source) == {"one.wav": [(0.25, 0.5, "dog")], "two.wav": [(0.0, 1.0, "cat")]}


def test_other_columns_of_our_own_tables_count(root: Path) -> None:
    lines = ["one.wav,0,0.1,0.5,dog,0.9,train,ann", "two.wav,0,0.2,0.6,cat,0.8,test,ben"]
    source = read_source(text(root / "t.csv", "file,channel,start,end,label,score,split,group", *lines))
    assert [(item.split, item.group, item.tags) for item in source.items] == [("train", "ann", {}), ("test", "ben", {})]


@pytest.mark.parametrize("name", ["a100%20.wav", "a.wav"])
def test_labels_of_our_own_tables_stand_as_they_are(root: Path, name: str) -> None:
    write(root / name, noise(1, 8000), 8000)
    source = read_source(text(root / "t.csv", "file,channel,start,end,label,score", f"{name},0,0.1,0.5,100%20,"))
    assert times(source) == {name: [(0.1, 0.5, "100%20")]}


# Folders


@pytest.mark.parametrize("kind", [name for name in FORMATS if name not in SUBTITLES])
def test_labels_in_a_folder_beside_that_of_the_sound(tmp_path: Path, kind: str) -> None:
    for number in range(3):
        write(tmp_path / f"d/audio/a{number}.wav", noise(1, 8000, number), 8000)
        one = LabelledRecording(f"a{number}.wav", {0: (Segment(0.25, 0.5, "dog", 0.5),)}, 1.0, 8000, 1)
        writer = format_writer(kind)
        path = text(tmp_path / f"d/labels/a{number}{FORMATS[kind].suffixes[0]}")
        end = (writer.begin(), writer.recording(one), writer.end())
        path.write_bytes(b"".join(part if isinstance(part, bytes) else part.encode() for part in end))
    source = read_source(tmp_path / "d")
    assert source.refused == []
    assert times(source) == {f"audio/a{number}.wav": [(0.25, 0.5, "dog")] for number in range(3)}


def test_features_apart_from_the_recordings_are_no_labels(tmp_path: Path) -> None:
    for number in range(4):
        write(tmp_path / f"d/{'dog' if number % 2 else 'cat'}/a{number}.wav", noise(1, 8000, number), 8000)
        text(tmp_path / f"d/features/a{number}.csv", "0.1,0.2,0.3,0.4,0.5", "0.1,0.2,0.3,0.4,0.5")
    assert {item.label for item in read_source(tmp_path / "d").items} == {"dog", "cat"}


def test_notes_apart_from_a_few_recordings_are_no_labels(tmp_path: Path) -> None:
    for number in range(4):
        write(tmp_path / f"d/dog/a{number}.wav", noise(1, 8000, number), 8000)
        write(tmp_path / f"d/cat/b{number}.wav", noise(1, 8000, number), 8000)
    text(tmp_path / "d/notes/a0.txt", "0.1\t0.2\tspoiled")
    assert {item.label for item in read_source(tmp_path / "d").items} == {"dog", "cat"}


def test_subtitles_of_what_is_said_are_no_labels(tmp_path: Path) -> None:
    write(tmp_path / "d/a.wav", noise(1, 8000), 8000)
    cue = ["1", "00:00:00,100 --> 00:00:00,900"]
    text(tmp_path / "d/a.srt", *cue, "and then we all went home")
    with pytest.raises(LabelError, match="no labels"):
        read_source(tmp_path / "d")
    text(tmp_path / "d/a.srt", *cue, "bird song")
    assert times(read_source(tmp_path / "d")) == {"a.wav": [(0.1, 0.9, "bird song")]}


# Manifests


def test_kaldi_with_labels_of_utterances(root: Path) -> None:
    text(root / "wav.scp", "r1 one.wav", "r2 two.wav", "r3 sox x.wav -t wav - |")
    text(root / "utt2label", "u1 dog", "u2 cat", "r1 long bark", "r2 miaow")
    text(root / "segments", "u1 r1 0.25 0.5", "u2 r2 0 1")
    assert times(read_source(root)) == {"one.wav": [(0.25, 0.5, "dog")], "two.wav": [(0.0, 1.0, "cat")]}
    (root / "segments").unlink()
    source = read_source(root)
    assert {item.filename: item.label for item in source.items} == {"one.wav": "long bark", "two.wav": "miaow"}
    assert [name for name, _ in source.refused] == ["r3"]


def test_cuts_of_lhotse(root: Path) -> None:
    inside = {
        "id": "s",
        "recording_id": "one",
        "start": 0.125,
        "duration": 0.25,
        "channel": 0,
        "custom": {"label": "dog"},
    }
    recording = {"id": "one", "sources": [{"type": "file", "channels": [0], "source": str(root / "one.wav")}]}
    cut = {"id": "c", "start": 0.25, "duration": 0.5, "channel": 0, "supervisions": [inside], "recording": recording}
    path = text(root / "cuts.jsonl", json.dumps(cut | {"type": "MonoCut"}))
    assert times(read_source(path)) == {"one.wav": [(0.375, 0.625, "dog")]}
    text(path, json.dumps(cut | {"supervisions": 3}))
    with pytest.raises(LabelError, match='"supervisions" is 3, expected a list'):
        read_source(path)


def test_recordings_of_one_name_are_told_by_their_folders(tmp_path: Path) -> None:
    for folder in ("x", "y/z"):
        write(tmp_path / folder / "a.wav", noise(1, 8000), 8000)
    known = Recordings(tmp_path)
    assert known.find("E:\\data\\y\\z\\a.wav", tmp_path / "t.txt") == tmp_path / "y/z/a.wav"
    assert known.find("/data/x/a.mp3", tmp_path / "t.txt") == tmp_path / "x/a.wav"
    assert known.find("a.wav", tmp_path / "t.txt") is None
    assert known.below("q/a.wav") is None
    assert known.below("data/x/a.wav") == tmp_path / "x/a.wav"
