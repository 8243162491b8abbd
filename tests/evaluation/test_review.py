"""A review: which clip comes first, what is saved, what two pages and two programs may do at once."""

from __future__ import annotations

import csv
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from fixtures_cli import PATH
from sounds import noise, sine, write

from audiocnn.data.ingest import cached_dataset
from audiocnn.data.sources import read_source
from audiocnn.data.sources.correction_table import ChangedElsewhereError, CorrectionTable
from audiocnn.data.sources.corrections import Correction, apply_settings
from audiocnn.data.sources.settings import DataSettings
from audiocnn.errors import LabelError, RecordingError, UsageError
from audiocnn.evaluation.review import LABEL_KEYS, ConflictError, Review, check_label, read_review_source
from audiocnn.evaluation.review_order import ReviewOrder, embed_clip
from audiocnn.segments.segment import Annotation

RATE = 8000
DOG, CAT = Correction(("dog",)), Correction(("cat",))
MARKED = Correction((), (Annotation(0.1, 0.5, "dog"), Annotation(1.0, 2.0, "<script>")))
SILENT = Correction((), ())


def rows(path):
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.reader(file, delimiter="\t" if path.suffix == ".tsv" else ","))


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


# The table


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
@pytest.mark.parametrize("right", [DOG, None, MARKED, SILENT], ids=["label", "left out", "segments", "none"])
@pytest.mark.parametrize("name", ["a.wav", 'd e/"x",\ty\n.wav', "caf\udce9.wav", "-", "日本.wav"])
def test_what_was_said_comes_back(tmp_path, suffix, right, name):
    table = CorrectionTable(tmp_path / f"t{suffix}", timed=right in (MARKED, SILENT))
    table.set("first.wav", None)
    table.set(name, right)
    assert CorrectionTable(tmp_path / f"t{suffix}").rows == {"first.wav": None, name: right}
    table.set(name, "", right)
    assert CorrectionTable(tmp_path / f"t{suffix}").rows == {"first.wav": None}


def test_other_rows_and_columns_stay(tmp_path):
    path = tmp_path / "doubtful.tsv"
    path.write_text("filename\tlabel\tdoubt\n./a.wav\tcat\t3\nb.wav\t-\t2\n")
    table = CorrectionTable(path)
    table.set("a.wav", DOG, CAT)
    table.set("c.wav", CAT)
    assert rows(path) == [
        ["filename", "label", "doubt"],
        ["a.wav", "dog", "3"],
        ["b.wav", "-", "2"],
        ["c.wav", "cat", ""],
    ]


def test_what_changed_elsewhere_is_not_overwritten(tmp_path):
    one, other = (CorrectionTable(tmp_path / "t.csv") for _ in range(2))
    one.set("a.wav", DOG)
    with pytest.raises(ChangedElsewhereError) as change:
        other.set("a.wav", CAT)
    assert change.value.now == DOG
    other.set("b.wav", CAT)
    assert one.of("b.wav") == "" and CorrectionTable(one.path).rows == {"a.wav": DOG, "b.wav": CAT}
    other.set("a.wav", CAT, DOG)
    with pytest.raises(ChangedElsewhereError):
        one.set("a.wav", "", DOG)


def test_many_writers_lose_nothing(tmp_path):
    def write_some(number):
        table = CorrectionTable(tmp_path / "t.csv")
        for k in range(10):
            table.set(f"{number}-{k}.wav", DOG)

    threads = [threading.Thread(target=write_some, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(CorrectionTable(tmp_path / "t.csv").rows) == 40
    assert names_in(tmp_path) == ["t.csv"]


@pytest.mark.parametrize("at", ["os.fsync", "pathlib.Path.replace", "audiocnn.files.sync_folder"])
def test_killed_in_the_middle_of_a_save(tmp_path, at):
    """Whichever step it dies at, the table is the old or the new one, and the next one cleans up."""
    path = tmp_path / "t.csv"
    CorrectionTable(path).set("a.wav", DOG)
    code = (
        "import os, sys, pathlib, unittest.mock as mock\n"
        "from audiocnn.data.sources.correction_table import CorrectionTable\n"
        "from audiocnn.data.sources.corrections import Correction\n"
        "table = CorrectionTable(pathlib.Path(sys.argv[1]))\n"
        f"with mock.patch({at!r}, lambda *_: os._exit(9)): table.set('b.wav', Correction(('cat',)))"
    )
    done = subprocess.run([sys.executable, "-c", code, path], env={"PYTHONPATH": PATH}, timeout=60, check=False)
    assert done.returncode == 9
    new = {"b.wav": CAT} if at == "audiocnn.files.sync_folder" else {}
    assert names_in(tmp_path) != ["t.csv"]
    assert CorrectionTable(path).rows == {"a.wav": DOG} | new
    assert names_in(tmp_path) == ["t.csv"]


@pytest.mark.parametrize(
    ("name", "text", "error", "said"),
    [
        ("t.txt", None, UsageError, ".csv or .tsv"),
        ("no/t.csv", None, UsageError, "no does not exist"),
        ("t.csv", "file,start\nx,1\n", LabelError, 'no column "filename"'),
        ("t.csv", b"\xff\xfe\x00", LabelError, "t.csv"),
        ("t.csv", 'filename,label\n"a,b\n', LabelError, "quotes"),
        ("t.csv", "filename,onset,offset,label\na.wav,x,1,dog\n", LabelError, "onset in seconds"),
    ],
)
def test_a_table_that_cannot_be_is_left_as_it_is(tmp_path, name, text, error, said):
    path = tmp_path / name
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(error, match=said):
        CorrectionTable(path)
    assert text is None or path.read_bytes() == (text if isinstance(text, bytes) else text.encode())


def test_a_full_disk_is_said_and_the_table_stays(tmp_path, monkeypatch):
    table = CorrectionTable(tmp_path / "t.csv")
    table.set("a.wav", DOG)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UsageError, match="No space left"):
        table.set("b.wav", CAT)
    monkeypatch.undo()
    assert CorrectionTable(table.path).rows == {"a.wav": DOG} and names_in(tmp_path) == ["t.csv"]


# What train makes of it


@pytest.fixture
def sounds(tmp_path):
    """Twelve clips without a label, of two pitches: even ones are low."""
    for k in range(12):
        write(tmp_path / "sounds" / f"{k:02d}.wav", sine(400 if k % 2 == 0 else 2000, 0.3, RATE) + noise_of(k), RATE)
    return tmp_path / "sounds"


def noise_of(seed):
    return (noise(0.3, RATE, seed) / 3e6).astype(np.float32)


def items(folder, table, **more):
    return {item.filename: item for item in read_source(DataSettings(folder, corrections=table, **more)).items}


def test_clips_without_a_label_are_learned_from_once_a_table_has_some(sounds, tmp_path):
    table = CorrectionTable(tmp_path / "t.csv")
    for name, right in (("00.wav", DOG), ("01.wav", CAT), ("02.wav", None)):
        table.set(name, right)
    found = items(sounds, table.path)
    assert {name: item.label for name, item in found.items()} == {"00.wav": "dog", "01.wav": "cat"}
    with pytest.raises(LabelError, match="no labels"):
        read_source(sounds)


def test_folders_that_are_no_labels(sounds, tmp_path):
    (sounds / "monday").mkdir()
    for name in ("00.wav", "01.wav"):
        (sounds / name).rename(sounds / "monday" / name)
    table = CorrectionTable(tmp_path / "t.csv")
    table.set("monday/00.wav", DOG)
    table.set("03.wav", CAT)
    both = items(sounds, table.path)
    assert {name: item.label for name, item in both.items()} == {
        "monday/00.wav": "dog",
        "monday/01.wav": "monday",
        "03.wav": "cat",
    }
    assert set(items(sounds, table.path, only_corrected=True)) == {"monday/00.wav", "03.wav"}


def test_segments_replace_those_of_the_data(sounds, tmp_path):
    (sounds / "00.txt").write_text("0.0\t0.1\tcat\n")
    (sounds / "01.txt").write_text("0.0\t0.1\tcat\n")
    table = CorrectionTable(tmp_path / "t.csv", timed=True)
    table.set("00.wav", MARKED)
    table.set("02.wav", SILENT)
    found = items(sounds, table.path)
    assert {name: item.annotations for name, item in found.items()} == {
        "00.wav": MARKED.annotations,
        "01.wav": (Annotation(0.0, 0.1, "cat"),),
        "02.wav": (),
    }
    assert all(item.annotated for item in found.values())


def test_labels_and_segments_of_a_dataset_are_replaced(sounds, tmp_path):
    first, second = (CorrectionTable(tmp_path / name, timed=True) for name in ("a.csv", "b.csv"))
    for name in ("00.wav", "01.wav", "02.wav"):
        first.set(name, Correction((), (Annotation(0.0, 0.2, "cat"),)))
    dataset = cached_dataset(DataSettings(sounds, corrections=first.path), tmp_path / "d")
    second.set("00.wav", Correction((), (Annotation(0.2, 0.3, "owl"), Annotation(0.0, 0.1, "dog"))))
    second.set("01.wav", None)
    found = apply_settings(dataset, DataSettings(dataset.folder, corrections=second.path))
    marks = {entry.filename: [note.label for note in found.annotations(entry)] for entry in found.entries}
    assert marks == {"00.wav": ["dog", "owl"], "02.wav": ["cat"]} and found.labels == ("cat", "dog", "owl")
    alone = apply_settings(dataset, DataSettings(dataset.folder, corrections=second.path, only_corrected=True))
    assert [entry.filename for entry in alone.entries] == ["00.wav"] and alone.labels == ("dog", "owl")
    assert [note.label for note in dataset.annotations(dataset.entries[0])] == ["cat"]


@pytest.mark.parametrize("name", ["t.csv", "t.tsv"])
def test_a_table_of_segments_is_a_source_of_its_own(sounds, name):
    table = CorrectionTable(sounds / name, timed=True)
    table.set("00.wav", MARKED)
    table.set("02.wav", SILENT)
    found = {item.filename: item.annotations for item in read_source(table.path).items}
    assert found == {"00.wav": MARKED.annotations, "02.wav": ()}


# The order


def test_every_kind_of_sound_is_heard_soon(sounds):
    """Of 30 clips of three kinds, of which one is rare, the first three are one of each."""
    hertz = [400] * 14 + [1500] * 13 + [3000] * 3
    order = ReviewOrder(30)
    for k, one in enumerate(hertz):
        order.add(k, embed_clip(sine(one, 0.3, RATE) + noise_of(k), RATE))
    heard: dict[int, str] = {}
    for _ in range(3):
        order.adopt(order.fit(heard))
        found = order.next({}, heard)
        heard[found.index] = str(hertz[found.index])
    assert set(heard.values()) == {"400", "1500", "3000"}
    order.adopt(order.fit(heard))
    guessed = [order.suggestion(k)[0] for k in range(30) if k not in heard]
    assert guessed == [str(one) for k, one in enumerate(hertz) if k not in heard]


def test_what_a_model_is_least_sure_of_and_what_is_doubtful_come_first():
    order = ReviewOrder(6, ("cat", "dog"))
    scores = [(0.9, 0.1), (0.5, 0.49), (0.1, 0.9), (0.02, 0.98), (0.8, 0.1), (0.7, 0.2)]
    for k, one in enumerate(scores):
        order.add(k, np.arange(8.0) + k, np.array(one))
    order.adopt(order.fit({}))
    given, found, heard = dict.fromkeys(range(6), "cat"), [], set()
    for _ in range(6):
        found.append(order.next(given, heard))
        heard.add(found[-1].index)
    assert (found[0].index, found[0].reason, found[0].suggested) == (3, "doubtful", "dog")
    assert (found[1].index, found[1].reason) == (1, "uncertain")
    assert found[2].reason == "new"
    assert heard == set(range(6)) and order.next(given, heard) is None


def test_a_wrong_label_of_a_folder_is_doubted_without_any_model(tmp_path):
    order, given = ReviewOrder(40), {}
    for k in range(40):
        order.add(k, embed_clip(sine(400 if k % 2 == 0 else 2000, 0.3, RATE) + noise_of(k), RATE))
        given[k] = "low" if k % 2 == 0 else "high"
    given[7] = "low"
    order.adopt(order.fit(given))
    first = [order.next(given, set()) for _ in range(2)]
    assert (7, "doubtful", "high") in {(one.index, one.reason, one.suggested) for one in first}


@pytest.mark.parametrize("samples", [np.zeros(0), np.zeros(1), np.zeros(4000), np.ones(10)], ids=len)
def test_silence_has_an_embedding(samples):
    assert np.isfinite(embed_clip(samples.astype(np.float32), RATE)).all()


# A review


def reviewed(folder, tmp_path, **how):
    source = read_review_source(folder)
    return Review(source.clips, CorrectionTable(tmp_path / "corrections.csv", **how))


def listened(review):
    """As the thread in the background leaves it."""
    stop = threading.Event()
    stop.set()
    review._rate = RATE
    for index in range(len(review.clips)):
        try:
            review.listen(index)
        except RecordingError as problem:
            review._problems[index] = str(problem)
    return review


def test_answers_are_saved_undone_and_gone_on_with(sounds, tmp_path):
    review = listened(reviewed(sounds, tmp_path))
    names = []
    for number in range(4):
        index = review.next("page")
        clip = review.describe(index)
        names.append(clip["name"])
        review.answer("page", index, None if number == 3 else f"label {number % 2}", clip["revision"])
        assert len(rows(tmp_path / "corrections.csv")) == number + 2
    assert [row[1] for row in rows(tmp_path / "corrections.csv")] == ["label", "label 0", "label 1", "label 0", "-"]
    assert review.summary()["labels"][0] == {"name": "label 0", "key": "1", "count": 2}
    assert review.clips[review.undo("page")].filename == names[3]
    assert review.undo("other page") is None
    again = listened(reviewed(sounds, tmp_path))
    assert again.summary()["done"] == 3
    assert again.clips[again.next("page")].filename not in names[:3]


def test_two_pages_get_different_clips_and_overwrite_nothing(sounds, tmp_path):
    review = listened(reviewed(sounds, tmp_path))
    one, two = review.next("one"), review.next("two")
    assert one != two
    review.answer("one", one, "dog", 0)
    with pytest.raises(ConflictError):
        review.answer("two", one, "cat", 0)
    review.answer("two", one, "cat", review.describe(one)["revision"])
    with pytest.raises(ConflictError):
        review.undo("one")
    assert CorrectionTable(review.table.path).rows == {review.clips[one].filename: CAT}


def test_two_programs_on_one_table(sounds, tmp_path):
    one, two = (listened(reviewed(sounds, tmp_path)) for _ in range(2))
    one.answer("page", 0, "dog", 0)
    with pytest.raises(ConflictError):
        two.answer("page", 0, "cat", 0)
    assert two.describe(0)["answer"] == "dog"
    two.answer("page", 1, "cat", 0)
    assert CorrectionTable(one.table.path).rows == {"00.wav": DOG, "01.wav": CAT}
    assert two.summary()["done"] == 2


def test_what_is_put_off_comes_last_and_what_cannot_be_heard_after_it(sounds, tmp_path):
    (sounds / "05.wav").write_bytes(b"no sound")
    review = listened(reviewed(sounds, tmp_path))
    first = review.next("page")
    review.skip("page", first)
    order = []
    while (index := review.next("page")) is not None:
        order.append(index)
        review.answer("page", index, "dog", review.describe(index)["revision"])
    assert order[-2:] == [first, 5] and sorted(order) == list(range(12))
    assert "audio format" in review.describe(5)["problem"] and str(sounds) not in review.describe(5)["problem"]


def test_segments_are_checked_and_sorted(sounds, tmp_path):
    review = reviewed(sounds, tmp_path, timed=True)
    segments = [Annotation(0.2, 9.0, " a  b "), Annotation(-1.0, 0.1, "x"), Annotation(0.15, 0.15, "none")]
    review.mark("page", 0, segments, 0)
    assert review.describe(0)["segments"] == [[0.0, 0.1, "x"], [0.2, 0.3, "a b"]]
    assert rows(tmp_path / "corrections.csv")[1:] == [["00.wav", "0.0", "0.1", "x"], ["00.wav", "0.2", "0.3", "a b"]]
    with pytest.raises(UsageError):
        review.mark("page", 0, [Annotation(0.0, float("nan"), "x")], 1)


@pytest.mark.parametrize("text", ["", "  ", "-", " - ", "a\x00b", "\x1b[31m", "x" * 101, "\ud800"])
def test_what_is_no_label(text):
    with pytest.raises(UsageError):
        check_label(text)


@pytest.mark.parametrize(
    ("text", "label"), [(" a \n b ", "a b"), ("<script>", "<script>"), ("café", "café"), ("--", "--"), ("a;b", "a;b")]
)
def test_what_is_a_label(text, label):
    assert check_label(text) == label


def test_keys_do_one_thing():
    assert len(set(LABEL_KEYS)) == len(LABEL_KEYS) and not set(LABEL_KEYS) & set("nstux")


# What is reviewed


def test_a_folder_with_labels_and_one_whose_folders_are_none(corpus):
    known = read_review_source(corpus)
    assert {clip.label for clip in known.clips if clip.annotations is None} or known.timed
    plain = read_review_source(corpus, labelled=False)
    assert {clip.label for clip in plain.clips} == {None} and len(plain.clips) == len(known.clips)


def test_links_that_lead_out_of_the_folder_are_refused(sounds, tmp_path):
    outside = write(tmp_path / "secret" / "x.wav", sine(400, 0.1, RATE), RATE)
    (sounds / "link.wav").symlink_to(outside)
    (sounds / "inside.wav").symlink_to(sounds / "00.wav")
    (sounds / "folder").symlink_to(outside.parent)
    source = read_review_source(sounds)
    assert {name for name, _ in source.refused} == {"link.wav", "folder/x.wav"}
    assert "inside.wav" in {clip.filename for clip in source.clips}


def test_long_recordings_have_segments(tmp_path):
    write(tmp_path / "long.wav", np.zeros(61 * 800, np.int16), 800)
    assert read_review_source(tmp_path).timed
    write(tmp_path / "a.wav", np.zeros(800, np.int16), 800)
    write(tmp_path / "b.wav", np.zeros(800, np.int16), 800)
    assert not read_review_source(tmp_path).timed
    for name in ("a", "b", "long"):
        (tmp_path / f"{name}.txt").write_text("0.0\t0.1\tcat\n")
    assert read_review_source(tmp_path).timed


@pytest.mark.parametrize("name", ["missing", "notes.pdf", "empty"])
def test_what_is_nothing_to_review(tmp_path, name):
    (tmp_path / "notes.pdf").write_text("x")
    (tmp_path / "empty").mkdir()
    with pytest.raises((UsageError, RecordingError), match=name):
        read_review_source(Path(tmp_path / name))
