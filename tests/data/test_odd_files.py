"""One odd file spoils nothing: notes, features, folders of systems and forms of names beside clips in label folders."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from sounds import write

from audiocnn.audio.find import find_recordings, is_hidden
from audiocnn.data.sources import read_source
from audiocnn.data.sources.settings import data_settings
from audiocnn.data.writer import Item
from audiocnn.segments.segment import Annotation

TEXT_GRID = (
    'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\nxmax = 1\ntiers? <exists>\nsize = 0\nitem []:\n'
)


@pytest.fixture
def folders(tmp_path):
    """Twelve clips in folders a label."""
    for label in ("rain", "wind"):
        for number in range(6):
            write(tmp_path / label / f"{number}.wav", np.zeros(100, np.float32), 8000)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("0.txt", "", False),
        ("0.txt", "0.0\t0.1\tdrop\n", True),
        ("0.csv", "", False),
        ("0.csv", "mfcc_1,mfcc_2\n0.1,0.2\n", True),
        ("0.TextGrid", TEXT_GRID, True),
        ("0.json", "", False),
        ("notes.txt", "a\tb\n", False),
        ("0.txt", "recorded on Tuesday\n", False),
    ],
)
def test_an_odd_file_beside_a_clip_is_named_and_all_clips_are_taken(folders, name, content, said):
    (folders / "rain" / name).write_text(content)
    found = read_source(folders)
    assert [(item.filename, item.label, item.annotated) for item in found.items] == [
        (f"{label}/{number}.wav", label, False) for label in ("rain", "wind") for number in range(6)
    ]
    assert [filename for filename, _ in found.refused] == ([f"rain/{name}"] if said else [])
    assert all("but others have none" in reason for _, reason in found.refused)


def test_files_of_labels_beside_most_clips_are_labels(folders):
    for label in ("rain", "wind"):
        for number in range(4):
            (folders / label / f"{number}.txt").write_text("0.0\t0.01\tdrop\n")
    found = read_source(folders)
    assert len(found.items) == 8
    assert {note.label for item in found.items for note in item.annotations} == {"drop"}
    assert {reason for _, reason in found.refused} == {
        "no label file beside it, but others have one; add one, which may be empty"
    }


@pytest.mark.parametrize(
    "name", ["@eaDir", "$RECYCLE.BIN", "#recycle", "System Volume Information", "__MACOSX", ".git"]
)
def test_folders_of_systems_are_not_looked_into(folders, name):
    assert is_hidden(name)
    write(folders / name / "deleted.wav", np.zeros(100, np.float32), 8000)
    write(folders / "rain" / name / "deleted.wav", np.zeros(100, np.float32), 8000)
    (folders / name / "empty").mkdir()
    assert len(list(find_recordings([folders]))) == 12
    found = read_source(folders)
    assert (len(found.items), found.refused) == (12, [])


def test_a_label_in_two_forms_of_unicode_is_one(tmp_path):
    for form in ("NFC", "NFD"):
        write(tmp_path / unicodedata.normalize(form, "café") / f"{form}.wav", np.zeros(100, np.float32), 8000)
    write(tmp_path / "street" / "a.wav", np.zeros(100, np.float32), 8000)
    found = read_source(tmp_path)
    assert {item.label for item in found.items} == {unicodedata.normalize("NFC", "café"), "street"}
    decomposed = unicodedata.normalize("NFD", "é")
    item = Item(
        tmp_path, "a", decomposed, annotations=(Annotation(0, 1, decomposed),), whole=decomposed, more=(decomposed,)
    )
    assert {item.label, item.whole, *item.more, item.annotations[0].label} == {"é"}
    (tmp_path / "t.csv").write_text(f"filename,label\nstreet/a.wav,{decomposed}\n")
    settings = data_settings({"source": ".", "recordings": "t.csv", "labels": [decomposed]}, tmp_path, "test")
    assert settings.labels == ("é",)
    assert [item.label for item in read_source(settings).items] == ["é"]
