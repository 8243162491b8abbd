"""Label formats: what is read is what stands there, and an error names the file, the line and what was expected."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from audiocnn.errors import LabelError
from audiocnn.formats import LABEL_SUFFIXES, READERS, label_format, label_reader, read_labels, rttm
from audiocnn.formats.delimited import read_table
from audiocnn.labels import Annotation

RTTM = """\
;; a comment
SPKR-INFO a 1 <NA> <NA> <NA> unknown ann <NA> <NA>
SPEAKER a 1 0.500 1.250 <NA> <NA> ann <NA> <NA>

SPEAKER a 1 1.000 0.250 <NA> <NA> bob <NA> <NA>
SPEAKER b 1 2 1 <NA> <NA> ann
"""

DCASE = "filename\tonset\toffset\tevent_label\n./d/a.wav\t0.5\t1\tdog\nd/a.wav\t2\t3\tcat\nb.wav\t\t\t\n"
QUOTED = 'label,filename,offset,onset,other\n"dog, small","a ""b"".wav",1,0.5,z\n'

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
    assert [a.label for a in rttm.read(path, speakers=True)["a"]] == ["ann", "bob"]


# suffix, bytes: what the message says behind the name of the file
BAD: list[tuple[str, bytes, str]] = [
    (".rttm", b"SPEAKER a 1 0 1 <NA> <NA> ann\nspeaker a 1 0 1\n", r':2: found "speaker a 1 0 1", expected SPEAKER'),
    (".rttm", b"SPEAKER a 1 0.5\n", r':1: found "SPEAKER a 1 0.5", expected SPEAKER file channel onset duration'),
    (".rttm", b"SPEAKER a 1 zero 1 <NA> <NA> ann\n", r':1: found "zero", expected the onset in seconds, such as 1.25'),
    (".rttm", b"SPEAKER a 1 0 <NA> <NA> <NA> ann\n", r':1: found "<NA>", expected the duration in seconds'),
    (".rttm", b"\xff\xfe\x00\x00", r":1: not UTF-8 text; save it as UTF-8"),
    (".txt", b"0\t1\ta\n0.5 1 b\n", r':2: found "0.5 1 b", expected onset, offset and label between tabs'),
    (".txt", b"0\t1\ta\tb\n", r":1: found .*, expected onset, offset and label between tabs"),
    (".txt", b"0\t1,5\ta\n", r':1: found "1,5", expected the offset in seconds, such as 1.25'),
    (".txt", b"0\t\ta\n", r":1: found nothing, expected the offset in seconds"),
    (".txt", b"0\t1\ta\n\x00\n", r":2: a zero byte, expected text; check that this is a file of labels"),
    (".tsv", b"name\tstart\tend\tclass\n", r':1: found "name start end class", expected the columns filename onset'),
    (".tsv", b"filename\tonset\toffset\tevent_label\na.wav\t0\t1\n", r":2: found 3 cells, expected 4 \(filename onset"),
    (".tsv", b"a.wav\t0\t1\tdog\nb.wav\t0\tx\tdog\n", r':2: found "x", expected the offset in seconds'),
    (".tsv", b"onset\toffset\tevent_label\n0\t1\t\n", r":2: found nothing, expected a label"),
    (".tsv", b"onset\toffset\tevent_label\n\t\tdog\n", r":2: found nothing, expected the onset in seconds"),
    (".csv", b'filename,onset,offset,label\n"a.wav,0,1,dog\n', r":2: not a table that can be read .*; check the"),
    (".csv", "filename,onset,offset,label\na.wav,0,1,größe\n".encode("latin-1"), r":2: not UTF-8 text; save it"),
    (".csv", b"filename,onset,offset,label\na.wav,1e,2," + b"x" * 200 + b"\n", r':2: found "1e", expected the onset'),
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
        assert label_format(path) == name
        with pytest.raises(LabelError, match=r"gone\.[A-Z]+: no such file; check the name"):
            label_reader(name)(path)
        with pytest.raises(LabelError, match=r": cannot be read \(Is a directory\)"):
            label_reader(name)(tmp_path)


def test_unknown_formats() -> None:
    with pytest.raises(LabelError, match='unknown label format "rtm"; did you mean "rttm"'):
        label_reader("rtm")
    with pytest.raises(LabelError, match=r"a\.lab: no label format ends in \.lab; known: \.rttm"):
        label_format(Path("a.lab"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty; expected a header such as filename,label"),
        ("\n \n", "empty; expected a header"),
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
