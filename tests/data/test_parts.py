"""Parts and folds of data by every name that people give them, in every layout; and the layouts of public data sets."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from corpora import run, text
from sounds import noise, write

from audiocnn.audio.remote import Remote
from audiocnn.data.dataset import Dataset
from audiocnn.data.parts import (
    find_part_folders,
    fold_column,
    fold_in_cell,
    fold_named,
    fold_range,
    is_of_split,
    ordered_folds,
    part_named,
    unused_part_folders,
)
from audiocnn.data.sources import SourceItems, merge_items, read_source
from audiocnn.data.sources.probe import with_several
from audiocnn.data.sources.settings import DataSettings
from audiocnn.errors import LabelError, RecipeError

RATE = 8000
LABELS = ("cat", "dog")
# As people write them -> as they are known.
SPELLINGS = {
    ("train", "test"): ("train", "test"),
    ("Train", "Test"): ("train", "test"),
    ("TRAIN", "VALID", "TEST"): ("train", "valid", "test"),
    ("training", "testing", "validation"): ("train", "test", "validation"),
    ("Training Set", "Test Set"): ("train", "test"),
    ("train_data", "val_data", "test_data"): ("train", "val", "test"),
    ("trainset", "devset", "testset"): ("train", "dev", "test"),
    ("Development", "Evaluation"): ("dev", "eval"),
    ("trn", "tst"): ("train", "test"),
    ("train", "hold-out"): ("train", "test"),
}


def sound(path: Path) -> Path:
    """A short sound of its own."""
    return write(path, noise(0.02, RATE, sum(map(ord, str(path)))), RATE)


def table(path: Path, *rows: tuple[Any, ...]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def labels_below(root: Path, parts: tuple[str, ...]) -> SourceItems:
    for part in parts:
        for label in LABELS:
            sound(root / part / label / "1.wav")
    return read_source(root)


def labels_above(root: Path, parts: tuple[str, ...]) -> SourceItems:
    for part in parts:
        for label in LABELS:
            sound(root / label / part / "1.wav")
    return read_source(root)


def labels_below_in_one_folder(root: Path, parts: tuple[str, ...]) -> SourceItems:
    labels_below(root / "audio", parts)
    return read_source(root)


def flat_with_a_table(root: Path, parts: tuple[str, ...]) -> SourceItems:
    rows = [(f"{part}/{label}1.wav", label) for part in parts for label in LABELS]
    for name, _ in rows:
        sound(root / name)
    return read_source(table(root / "labels.csv", ("filename", "label"), *rows))


def flat_with_a_table_in_the_folder(root: Path, parts: tuple[str, ...]) -> SourceItems:
    flat_with_a_table(root, parts)
    return read_source(root)


def flat_with_labels_beside(root: Path, parts: tuple[str, ...]) -> SourceItems:
    for part in parts:
        for label in LABELS:
            text(sound(root / part / f"{label}1.wav").with_suffix(".txt"), f"0\t0.01\t{label}")
    return read_source(root)


def flat_with_labels_in_names(root: Path, parts: tuple[str, ...]) -> SourceItems:
    for part in parts:
        for label in LABELS:
            sound(root / part / f"{label}_1.wav")
    return read_source(DataSettings(root, label_pattern="^([a-z]+)_"))


def a_column(root: Path, parts: tuple[str, ...], name: str = "split") -> SourceItems:
    rows = [(f"{label}{number}.wav", label, part) for number, part in enumerate(parts) for label in LABELS]
    for file, *_ in rows:
        sound(root / file)
    return read_source(table(root / "table.csv", ("filename", "label", name), *rows))


def a_table_for_each(root: Path, parts: tuple[str, ...]) -> SourceItems:
    for part in parts:
        rows = [(f"{part} {label}.wav", label) for label in LABELS]
        for file, _ in rows:
            sound(root / "clips" / file)
        table(root / f"{part}.csv", ("filename", "label"), *rows)
    return read_source(root)


def a_list_for_each(root: Path, parts: tuple[str, ...]) -> SourceItems:
    for part in parts:
        names = [f"{label}/{part} 1.wav" for label in LABELS]
        for name in names:
            sound(root / name)
        text(root / f"{part}_list.txt", *names)
    return read_source(root)


def a_source_for_each(root: Path, parts: tuple[str, ...]) -> SourceItems:
    sources = []
    for part in parts:
        for label in LABELS:
            sound(root / part / label / "1.wav")
        sources.append(read_source(root / part))
    items, refused, notes = merge_items(sources)
    return SourceItems(root, items, refused, parts=notes)


def found(source: SourceItems) -> set[tuple[str, str | None]]:
    """The labels of the recordings with their splits."""
    return {(label, item.split) for item in source.items for label in _labels(item)}


def _labels(item: Any) -> list[str]:
    return [item.label] if item.label else [note.label for note in item.annotations]


@pytest.mark.parametrize("parts", SPELLINGS, ids="-".join)
@pytest.mark.parametrize(
    "layout",
    [
        labels_below,
        labels_above,
        labels_below_in_one_folder,
        flat_with_a_table,
        flat_with_a_table_in_the_folder,
        flat_with_labels_beside,
        flat_with_labels_in_names,
        a_column,
        a_table_for_each,
        a_list_for_each,
        a_source_for_each,
    ],
)
def test_parts_are_known_in_every_spelling_and_layout(tmp_path: Path, layout: Any, parts: tuple[str, ...]) -> None:
    source = layout(tmp_path / "data", parts)
    assert found(source) == {(label, part) for label in LABELS for part in SPELLINGS[parts]}
    assert len(source.items) == len(LABELS) * len(parts)
    assert source.refused == []
    assert source.parts.unused == ()
    (line,) = source.parts.parts
    assert line.startswith("splits by")


FOLDS = {
    tuple(f"fold{n}" for n in range(1, 6)): [str(n) for n in range(1, 6)],
    tuple(f"fold{n}" for n in range(1, 11)): [str(n) for n in range(1, 11)],
    tuple(f"Fold_{n:02}" for n in range(1, 4)): ["1", "2", "3"],
    ("FOLD 0", "FOLD 1"): ["0", "1"],
    ("fold-a", "fold-b", "fold-c"): ["a", "b", "c"],
}


@pytest.mark.parametrize("folds", FOLDS, ids=lambda folds: folds[0])
@pytest.mark.parametrize(
    "layout",
    [
        labels_below,
        labels_above,
        labels_below_in_one_folder,
        flat_with_a_table,
        flat_with_a_table_in_the_folder,
        flat_with_labels_beside,
        flat_with_labels_in_names,
    ],
)
def test_folds_are_known_in_every_layout(tmp_path: Path, layout: Any, folds: tuple[str, ...]) -> None:
    source = layout(tmp_path / "data", folds)
    pairs = {(label, item.tags["fold"]) for item in source.items for label in _labels(item)}
    assert pairs == {(label, fold) for label in LABELS for fold in FOLDS[folds]}
    assert {item.split for item in source.items} == {None}
    (line,) = source.parts.folds
    assert fold_range(FOLDS[folds]) in line
    assert folds[0] in line


@pytest.mark.parametrize(
    "cells", [("1", "2", "3"), ("1.0", "2.0", "10.0"), ("fold1", "fold2", "fold10"), ("A", "B", "C"), ("0", "1")]
)
@pytest.mark.parametrize("column", ["fold", "Fold", "kfold"])
def test_a_column_of_folds(tmp_path: Path, column: str, cells: tuple[str, ...]) -> None:
    source = a_column(tmp_path, cells, column)
    assert fold_column(item.tags for item in source.items) == column
    assert {item.tags[column] for item in source.items} == set(cells)
    assert {item.split for item in source.items} == {None}
    assert source.parts.folds == (f'folds {fold_range(cells)} by column "{column}"',)
    assert source.parts.unused == ()


@pytest.mark.parametrize(
    ("column", "cells", "splits"),
    [
        ("split", ("0", "1"), ["train", "test"]),
        ("Split", ("train", "TEST"), ["train", "test"]),
        ("split", ("1.0", "0.0"), ["test", "train"]),
        ("split", ("train", "mine"), ["train", "mine"]),
        ("split", ("train", "test", ""), ["train", "test", None]),
        ("test", ("0", "1"), ["train", "test"]),
        ("test", ("False", "True"), ["train", "test"]),
        ("is_test", ("no", "yes"), ["train", "test"]),
        ("fold", ("train", "test"), ["train", "test"]),
        ("fold", ("1", "2", "test"), ["", "", "test"]),
        ("subset", ("training", "testing"), ["train", "test"]),
        ("set", ("Train", "Val", "Test"), ["train", "val", "test"]),
        ("partition", ("dev", "eval"), ["dev", "eval"]),
        # These are none.
        ("subset", ("small", "large"), [None, None]),
        ("set", ("0", "1"), [None, None]),
        ("speaker", ("0", "1"), [None, None]),
        ("test", ("blood", "urine"), [None, None]),
        ("usage", ("train", "test"), [None, None]),
        ("fold", ("left", "right"), [None, None]),
    ],
)
def test_what_a_column_says(tmp_path: Path, column: str, cells: tuple[str, ...], splits: list[str | None]) -> None:
    items = a_column(tmp_path, cells, column).items
    assert [item.split for item in items[:: len(LABELS)]] == [split or None for split in splits]


@pytest.mark.parametrize("name", ["label", "class", "category", "event_label"])
def test_digits_in_a_column_of_labels_are_labels(tmp_path: Path, name: str) -> None:
    rows = [(f"{number}.wav", number % 2) for number in range(4)]
    for file, _ in rows:
        sound(tmp_path / file)
    source = read_source(table(tmp_path / "table.csv", ("filename", name), *rows))
    assert [item.label for item in source.items] == ["0", "1", "0", "1"]
    assert {item.split for item in source.items} == {None}
    assert source.parts.understood == ()


@pytest.mark.parametrize("names", [tuple(map(str, range(10))), ("0", "1"), ("1", "2", "3")])
def test_folders_of_digits_are_labels(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        sound(tmp_path / name / "deep" / "1.wav")
        sound(tmp_path / name / "1.wav")
    source = read_source(tmp_path)
    assert {item.label for item in source.items} == set(names)
    assert {item.split for item in source.items} == {None}
    assert (source.parts.understood, source.parts.unused) == ((), ())


@pytest.mark.parametrize(
    ("column", "cells"),
    [
        ("usage", ("train", "test")),
        ("stage", ("Training", "Validation")),
        ("is_train", ("0", "1")),
        ("validation", ("True", "False")),
        ("split", ("mine", "yours")),
        ("split", ("train", "mine")),
        ("fold", ("left", "right")),
        ("fold", ("1", "1")),
    ],
)
def test_a_column_that_looks_like_a_part_is_said(tmp_path: Path, column: str, cells: tuple[str, str]) -> None:
    (unused,) = a_column(tmp_path, cells, column).parts.unused
    assert f'column "{column}"' in unused.line
    assert "; " in unused.line  # the remedy


@pytest.mark.parametrize(
    ("column", "cells"),
    [("speaker", ("anna", "bob")), ("vehicle", ("train", "car")), ("take", ("0", "1")), ("train", ("0", "1"))],
)
def test_other_columns_are_not_mentioned(tmp_path: Path, column: str, cells: tuple[str, str]) -> None:
    assert a_column(tmp_path, cells, column).parts.unused == ()


def test_a_column_that_the_recipe_uses_is_not_said_to_be_unused(tmp_path: Path) -> None:
    a_column(tmp_path, ("train", "test"), "usage")
    settings = DataSettings(tmp_path / "table.csv", keep={"usage": ("train",)})
    source = read_source(settings)
    assert (len(source.items), source.parts.unused) == (2, ())


def test_of_two_columns_of_parts_one_is_used_and_the_other_said(tmp_path: Path) -> None:
    for name in ("a", "b"):
        sound(tmp_path / f"{name}.wav")
    rows = [("a.wav", "x", "test", "train", 1), ("b.wav", "y", "train", "test", 2)]
    source = read_source(table(tmp_path / "t.csv", ("filename", "label", "set", "split", "fold"), *rows))
    assert [item.split for item in source.items] == ["train", "test"]
    assert source.parts.parts == ('splits by column "split"',)
    assert source.parts.folds == ('folds 1, 2 by column "fold"',)
    (unused,) = source.parts.unused
    assert '"set"' in unused.line


@pytest.mark.parametrize(
    ("folders", "like"),
    [
        (("cat", "dog", "Test"), ("Test",)),
        (("Train", "Test", "other"), ("Test", "Train")),
        (("fold1", "fold2", "extra"), ("fold1", "fold2")),
        (("dog", "validation"), ("validation",)),
    ],
)
def test_folders_that_look_like_parts_among_others_are_labels_and_said(
    tmp_path: Path, folders: tuple[str, ...], like: tuple[str, ...]
) -> None:
    source = labels_below(tmp_path, folders)
    assert {item.label for item in source.items} == set(folders)
    (unused,) = source.parts.unused
    assert unused.labels == like
    assert all(f'"{name}"' in unused.line for name in folders)


@pytest.mark.parametrize("folders", [("car", "train", "plane"), ("dog", "cat"), ("trainer", "tester")])
def test_a_sound_of_a_train_is_no_part(folders: tuple[str, ...]) -> None:
    assert unused_part_folders(folders) == ()


def test_a_part_may_hold_loose_files_and_empty_folders(tmp_path: Path) -> None:
    labels_below(tmp_path, ("train", "test"))
    for name in ("train/x.wav", "test/1.wav", "test/2.wav", "readme.wav"):
        sound(tmp_path / name)
    (tmp_path / "valid").mkdir()
    (tmp_path / "train/bird").mkdir()
    source = read_source(tmp_path)
    assert found(source) == {(label, part) for label in LABELS for part in ("train", "test")}
    refused = dict(source.refused)
    assert refused.keys() == {"train/", "test/", "readme.wav", "valid/", "train/bird/"}
    assert refused["test/"].startswith("2 recordings without a label")
    assert "a part folder without recordings" in refused["valid/"]


def test_flat_parts_without_labels_are_refused_and_not_taken_for_labels(tmp_path: Path) -> None:
    for part in ("Train", "Test"):
        sound(tmp_path / part / "1.wav")
    with pytest.raises(LabelError, match='splits by the folders "Test", "Train", but no labels; make a subfolder'):
        read_source(tmp_path)


def test_one_folder_called_train_is_a_part_only_above_labels(tmp_path: Path) -> None:
    sound(tmp_path / "sounds/train/1.wav")
    assert [(item.label, item.split) for item in read_source(tmp_path / "sounds").items] == [("train", None)]
    labels_below(tmp_path / "data", ("train",))
    assert found(read_source(tmp_path / "data")) == {("cat", "train"), ("dog", "train")}


@pytest.mark.parametrize(
    ("paths", "level"),
    [
        (["train/dog/1.wav", "test/dog/1.wav"], 0),
        (["audio/train/dog/1.wav", "audio/test/dog/1.wav"], 1),
        (["a/b/fold1/1.wav", "a/b/fold2/1.wav"], 2),
        (["dog/train/1.wav", "cat/test/1.wav"], 1),
        (["dog/train/1.wav", "cat/1.wav"], None),
        (["dog/train/1.wav", "cat/train/1.wav"], None),
        (["fold1/dog/1.wav"], None),
        (["1.wav", "2.wav"], None),
        ([], None),
    ],
)
def test_where_the_folders_of_parts_are(paths: list[str], level: int | None) -> None:
    parts = find_part_folders([path.split("/") for path in paths])
    assert (parts.level if parts else None) == level


def test_parts_at_an_address(tmp_path: Path) -> None:
    labels_below(tmp_path / "data", ("Training", "Testing"))
    source = read_source(Remote((tmp_path / "data").as_uri()))
    assert found(source) == {(label, part) for label in LABELS for part in ("train", "test")}
    assert len(source.parts.parts) == 1


@pytest.mark.parametrize("wrapper", ["data", "Audio", "recordings", "birds", "birds/data", "wav/birds"])
def test_one_folder_around_all_is_no_label(tmp_path: Path, wrapper: str) -> None:
    root = tmp_path / "birds"
    for label in LABELS:
        for number in range(2):
            sound(root / wrapper / label / f"{number}.wav")
    for source in (root, Remote(root.as_uri())):
        read = read_source(source)
        assert found(read) == {(label, None) for label in LABELS}
        assert read.refused == []
        assert read.parts.said == (f'labels by the folders in "{wrapper}"',)
        assert sorted(item.filename for item in read.items)[0] == f"{wrapper}/cat/0.wav"


@pytest.mark.parametrize(
    "layout", [("robin/day1/a.wav", "robin/day2/b.wav"), ("data/a.wav", "data/b.wav"), ("data/robin/a.wav",)]
)
def test_one_label_stays_one(tmp_path: Path, layout: tuple[str, ...]) -> None:
    for name in layout:
        sound(tmp_path / "birds" / name)
    assert {label for label, _ in found(read_source(tmp_path / "birds"))} == {layout[0].split("/")[0]}


def test_parts_in_a_folder_around_all(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for label in LABELS:
            sound(tmp_path / "birds/data" / part / label / "a.wav")
    read = read_source(tmp_path / "birds")
    assert found(read) == {(label, part) for label in LABELS for part in ("train", "test")}
    assert read.parts.said == ()


def kaldi(folder: Path, *rows: tuple[str, str, str]) -> None:
    """A data directory of Kaldi: name, recording, label."""
    text(folder / "wav.scp", *(f"{name} {path}" for name, path, _ in rows))
    text(folder / "utt2label", *(f"{name} {label}" for name, _, label in rows))


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (("train", "test"), {"train", "test"}),
        (("train", "dev", "test"), {"train", "dev", "test"}),
        (("train_clean_5", "dev_clean_2"), {"train", "dev"}),
    ],
)
@pytest.mark.parametrize("inside", [True, False])
def test_kaldi_folders_beside_each_other_are_parts(tmp_path: Path, names: Any, splits: set[str], inside: bool) -> None:
    for part in names:
        place = tmp_path / "data" / part if inside else tmp_path / "audio" / part
        rows = [(f"{label}1", str(sound(place / f"{label}.wav")), label) for label in LABELS]
        kaldi(tmp_path / "data" / part, *rows)
    (tmp_path / "data/local").mkdir()
    read = read_source(tmp_path / "data")
    assert found(read) == {(label, part) for label in LABELS for part in splits}
    assert len({item.filename for item in read.items}) == 2 * len(names)
    assert read.refused == []
    assert len(read.parts.parts) == 1


def test_a_recording_in_two_kaldi_folders_is_in_the_first(tmp_path: Path) -> None:
    path = str(sound(tmp_path / "a.wav"))
    for part in ("train", "test"):
        kaldi(tmp_path / "data" / part, ("a", path, "dog"), ("b", str(sound(tmp_path / f"{part}.wav")), "cat"))
    read = read_source(tmp_path / "data")
    assert len(read.items) == 3
    assert [name for name, _ in read.refused] == [path]


def test_kaldi_folders_that_are_no_parts_are_refused(tmp_path: Path) -> None:
    for name in ("train", "train_sp"):
        kaldi(tmp_path / "data" / name, ("a", str(sound(tmp_path / "a.wav")), "dog"))
    with pytest.raises(LabelError, match=r'"train", "train_sp" are not named like parts.*; name one of them'):
        read_source(tmp_path / "data")


@pytest.mark.parametrize("name", ["", "FSD50K.ground_truth/dev.csv"])
def test_fsd50k(tmp_path: Path, name: str) -> None:
    root = tmp_path / "FSD50K"
    sets = ("Bark,Dog,Animal", "Meow,Cat,Animal", "Rain,Water", "Bell")
    for part, count in (("dev", 8), ("eval", 4)):
        rows = [(f"{count}{n}", sets[n % 4], "/m/1,/m/2", "val" if n > 5 else "train") for n in range(count)]
        for row in rows:
            sound(root / f"FSD50K.{part}_audio" / f"{row[0]}.wav")
        columns = ("fname", "labels", "mids", "split")[: 4 if part == "dev" else 3]
        table(root / f"FSD50K.ground_truth/{part}.csv", columns, *(row[: len(columns)] for row in rows))
    table(root / "FSD50K.ground_truth/vocabulary.csv", (0, "Bark", "/m/1"), (1, "Dog", "/m/2"))
    settings = with_several(DataSettings(root / name))
    assert (settings.labels_per_clip, settings.separator) == ("several", ",")
    read = read_source(settings)
    assert read.refused == []
    assert {item.labels for item in read.items} == {tuple(one.split(",")) for one in sets}
    assert {item.split for item in read.items} == ({"train", "val"} if name else {"train", "val", "eval"})


@pytest.mark.parametrize(
    ("cells", "separator"),
    [
        (("dog,animal", "cat,animal", "rain"), ","),
        (("dog;animal", "cat;animal", "rain"), ";"),
        (("Speech, synthesised", "Speech, whispered", "Rain"), ""),  # names
        (("left,right", "up", "down"), ""),
        (("dog,", "cat,", "rain"), ""),
        (("dog", "cat", "rain"), ""),
    ],
)
@pytest.mark.parametrize("folder", [True, False])
def test_what_separates_labels_in_the_cells_of_a_table(
    tmp_path: Path, cells: Any, separator: str, folder: bool
) -> None:
    for number in range(3):
        sound(tmp_path / "d" / f"{number}.wav")
    path = table(tmp_path / "d/t.csv", ("filename", "label"), *((f"{n}.wav", cell) for n, cell in enumerate(cells)))
    found = with_several(DataSettings(path.parent if folder else path))
    assert (found.labels_per_clip, found.separator) == ("several" if separator else "one", separator)


def test_signs_in_the_names_of_folders_separate_nothing(tmp_path: Path) -> None:
    for label in ("dog,animal", "cat,animal", "a;b"):
        sound(tmp_path / "d" / label / "a.wav")
    assert with_several(DataSettings(tmp_path / "d")) == DataSettings(tmp_path / "d")


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("Train", "train"),
        (" test ", "test"),
        ("VALID", "valid"),
        ("held_out", "test"),
        ("dog", None),
        ("0", None),
        ("trainer", None),
        ("data", None),
        ("dataset", None),
        ("", None),
        ("contest", None),
        ("set", None),
    ],
)
def test_names_of_parts(name: str, part: str | None) -> None:
    assert part_named(name) == part


@pytest.mark.parametrize(("split", "wanted", "same"), [("test", "Testing", True), ("a", "a", True), ("a", "b", False)])
def test_a_split_is_asked_for_in_any_spelling(split: str, wanted: str, same: bool) -> None:
    assert is_of_split(split, wanted) is same
    assert not is_of_split(None, wanted)


def test_names_of_folds() -> None:
    assert [fold_named(name) for name in ("fold1", "Fold_010", "cv-fold 3", "1", "manifold2", "fold12b")] == [
        "1", "10", "3", None, None, None
    ]  # fmt: skip
    assert [fold_in_cell(cell) for cell in ("7", "03", "2.0", "b", "fold4", "x1", "1.5", "")] == [
        "7", "3", "2", "b", "4", None, None, None
    ]  # fmt: skip
    assert ordered_folds(["fold10", "fold2", "fold1"]) == ["fold1", "fold2", "fold10"]
    assert [fold_range(folds) for folds in ("132", "12", "135", "ab")] == ["1 to 3", "1, 2", "1, 3, 5", "a, b"]


# Layouts of public data sets, a few short sounds each


def test_esc50(tmp_path: Path) -> None:
    root = tmp_path / "ESC-50"
    rows = []
    for fold in range(1, 6):
        for target, category in ((0, "dog"), (14, "chirping_birds")):
            name = f"{fold}-1000{fold}-A-{target}.wav"
            sound(root / "audio" / name)
            rows.append((name, fold, target, category, target == 0, f"1000{fold}", "A"))
    meta = ("filename", "fold", "target", "category", "esc10", "src_file", "take")
    table(root / "meta/esc50.csv", meta, *rows)
    for source in (root, root / "meta/esc50.csv"):
        read = read_source(source)
        assert {(item.label, item.tags["fold"]) for item in read.items} == {
            (label, str(fold)) for label in ("dog", "chirping_birds") for fold in range(1, 6)
        }
        assert read.refused == []
        assert read.parts.folds == ('folds 1 to 5 by column "fold"',)
        assert read.parts.unused == ()


def test_urbansound8k(tmp_path: Path) -> None:
    root, rows = tmp_path / "UrbanSound8K", []
    for fold in range(1, 11):
        for number, name in ((3, "dog_bark"), (8, "siren")):
            file = f"{100 + fold}-{number}-0-0.wav"
            sound(root / f"audio/fold{fold}/{file}")
            rows.append((file, 100 + fold, 0.0, 4.0, 1, fold, number, name))
    meta = ("slice_file_name", "fsID", "start", "end", "salience", "fold", "classID", "class")
    table(root / "metadata/UrbanSound8K.csv", meta, *rows)
    for source in (root, root / "metadata/UrbanSound8K.csv"):
        read = read_source(source)
        assert {(item.label, item.tags["fold"], Path(str(item.path)).parent.name) for item in read.items} == {
            (label, str(fold), f"fold{fold}") for label in ("dog_bark", "siren") for fold in range(1, 11)
        }
        assert (read.refused, read.parts.folds) == ([], ('folds 1 to 10 by column "fold"',))
    with pytest.raises(LabelError, match=r"folds 1 to 10 by the folders .* but no labels"):
        read_source(root / "audio")


def test_speech_commands(tmp_path: Path) -> None:
    names = [f"{word}/{who}_nohash_{n}.wav" for word in ("yes", "no") for who in "abc" for n in (0, 1)]
    for name in (*names, "_background_noise_/rain.wav"):
        sound(tmp_path / name)
    text(tmp_path / "validation_list.txt", *(name for name in names if "/b_" in name))
    text(tmp_path / "testing_list.txt", *(name for name in names if "/c_" in name))
    text(tmp_path / "README.md", "words")
    read = read_source(tmp_path)
    splits = {item.filename: item.split for item in read.items}
    assert splits == {name: {"a": "train", "b": "validation", "c": "test"}[name.split("/")[1][0]] for name in names} | {
        "_background_noise_/rain.wav": "train"
    }
    assert read.parts.parts == ('splits by the lists "testing_list.txt", "validation_list.txt"',)


@pytest.mark.parametrize("inside", ["", "genres"])
def test_gtzan(tmp_path: Path, inside: str) -> None:
    root = tmp_path / "gtzan"
    names = [f"{genre}/{genre}.{n:05}.wav" for genre in ("blues", "rock") for n in range(5)]
    for name in names:
        sound(root / inside / name)
    for part, numbers in (("train", "01"), ("valid", "2"), ("test", "3")):
        text(root / f"{part}_filtered.txt", *(name for name in names if name[-5] in numbers))
    read = read_source(root)
    assert {(item.label, item.split) for item in read.items} == {
        (genre, part) for genre in ("blues", "rock") for part in ("train", "valid", "test")
    }
    assert read.parts.said == ("2 recordings not listed in any list: ignored",)
    assert len(read.items) == 8


def test_gtzan_with_a_table_of_features(tmp_path: Path) -> None:
    rows = []
    for genre in ("blues", "rock"):
        for number in range(3):
            sound(tmp_path / f"genres_original/{genre}/{genre}.{number:05}.wav")
            rows.append((f"{genre}.{number:05}.wav", 661794, 0.35, genre))
    table(tmp_path / "features_30_sec.csv", ("filename", "length", "chroma_stft_mean", "label"), *rows)
    short = [(name.replace(".wav", ".0.wav"), *rest) for name, *rest in rows]
    table(tmp_path / "features_3_sec.csv", ("filename", "length", "chroma_stft_mean", "label"), *short)
    read = read_source(tmp_path)
    assert {item.label for item in read.items} == {"blues", "rock"}
    assert read.parts.said == ('labels from the table "features_30_sec.csv"',)


def test_fsdd(tmp_path: Path) -> None:
    for digit in range(10):
        for who in ("jackson", "nicolas"):
            sound(tmp_path / f"recordings/{digit}_{who}_0.wav")
    settings = DataSettings(tmp_path, label_pattern="^([0-9])_", group_pattern="_([a-z]+)_")
    read = read_source(settings)
    assert {(item.label, item.group) for item in read.items} == {
        (str(digit), who) for digit in range(10) for who in ("jackson", "nicolas")
    }
    sound(tmp_path / "recordings/odd.wav")
    assert dict(read_source(settings).refused).keys() == {"recordings/odd.wav"}
    with pytest.raises(RecipeError, match=r"label_pattern .* matches none of 21 file names"):
        read_source(DataSettings(tmp_path, label_pattern="^([A-Z]{9})"))


def test_tau_urban_scenes(tmp_path: Path) -> None:
    names = [f"audio/{('airport', 'bus')[n % 2]}-lyon-{n}.wav" for n in range(6)]
    rows = [f"{sound(tmp_path / name).relative_to(tmp_path)}\t{name[6:].split('-')[0]}" for name in names]
    text(tmp_path / "meta.csv", "filename\tscene_label", *rows)
    text(tmp_path / "evaluation_setup/fold1_train.csv", "filename\tscene_label", *rows[:4])
    text(tmp_path / "evaluation_setup/fold1_test.csv", "filename", *names[4:])
    read = read_source(tmp_path)
    assert [(item.label, item.split) for item in read.items] == [
        (("airport", "bus")[n % 2], "train" if n < 4 else "test") for n in range(6)
    ]
    assert read.refused == []
    text(tmp_path / "evaluation_setup/fold2_train.csv", "filename", *names[2:])
    text(tmp_path / "evaluation_setup/fold2_test.csv", "filename", *names[:2])
    read = read_source(tmp_path)
    assert {item.split for item in read.items} == {None}
    (unused,) = read.parts.unused
    assert "to several divisions" in unused.line


@pytest.mark.parametrize(
    ("folders", "splits"),
    [
        (("nsynth-train", "nsynth-valid", "nsynth-test"), {"train", "valid", "test"}),
        (("train-clean-100", "train-other", "dev-clean", "test-clean"), {"train", "dev", "test"}),
        (("steam train", "train horn"), {None}),
        (("test tone", "dog"), {None}),
    ],
)
def test_parts_among_other_words_of_folders(tmp_path: Path, folders: tuple[str, ...], splits: set[str | None]) -> None:
    assert {item.split for item in labels_below(tmp_path, folders).items} == splits


def test_an_unlabelled_test_is_no_test_and_said(tmp_path: Path) -> None:
    labels_below(tmp_path, ("train",))
    for number in range(3):
        sound(tmp_path / f"test/{number}.wav")
    read = read_source(tmp_path)
    assert found(read) == {("cat", "train"), ("dog", "train")}
    assert [name for name, _ in read.refused] == ["test/"]
    (unused,) = read.parts.unused
    assert 'the folder "test" looks like a part, but its recordings have no label' in unused.line


def test_folds_beside_a_test(tmp_path: Path) -> None:
    read = labels_below(tmp_path, ("fold1", "fold2", "test"))
    assert {(item.split, item.tags.get("fold")) for item in read.items} == {(None, "1"), (None, "2"), ("test", None)}
    assert (len(read.parts.parts), len(read.parts.folds)) == (1, 1)


def test_folders_of_other_things_are_not_mentioned_beside_parts(tmp_path: Path) -> None:
    labels_below(tmp_path, ("train", "test"))
    text(tmp_path / "docs/readme.txt", "hello")
    assert read_source(tmp_path).refused == []


def test_three_tables_beside_each_other(tmp_path: Path) -> None:
    read = a_table_for_each(tmp_path, ("train", "test", "valid"))
    assert read.parts.parts == ('splits by the tables "test.csv", "train.csv", "valid.csv"',)
    alone = read_source(tmp_path / "train.csv")
    assert {item.split for item in alone.items} == {None}
    assert alone.parts.said == (
        '"test.csv", "valid.csv" beside train.csv look like other parts and are not read; name the folder to read all',
    )
    table(tmp_path / "valid.csv", ("filename", "label"), ("test cat.wav", "cat"), ("valid dog.wav", "dog"))
    again = read_source(tmp_path)
    assert [name for name, _ in again.refused] == ["test cat.wav"]
    assert {item.filename: item.split for item in again.items}["test cat.wav"] == "test"


def test_several_tables_that_are_no_parts_are_refused(tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav"):
        sound(tmp_path / "audio" / name)
    for name in ("mine.csv", "yours.csv"):
        table(tmp_path / name, ("filename", "label"), ("a.wav", "x"), ("b.wav", "y"))
    with pytest.raises(LabelError, match=r'the tables "mine\.csv", "yours\.csv" all list its recordings'):
        read_source(tmp_path)


def test_a_table_of_other_things_is_left_alone(tmp_path: Path) -> None:
    labels_below(tmp_path, ("train", "test"))
    table(tmp_path / "weather.csv", ("day", "label"), ("monday", "rain"))
    table(tmp_path / "elsewhere.csv", ("filename", "label"), ("x.wav", "rain"), ("y.wav", "sun"))
    text(tmp_path / "test_notes.txt", "recorded in the rain", "by Anna")
    source = read_source(tmp_path)
    assert found(source) == {(label, part) for label in LABELS for part in ("train", "test")}
    assert source.parts.unused == ()


def test_a_list_of_other_recordings_is_said(tmp_path: Path) -> None:
    for name in ("dog/1.wav", "cat/1.wav"):
        sound(tmp_path / name)
    text(tmp_path / "testing_list.txt", "bird/7.wav", "bird/8.wav")
    source = read_source(tmp_path)
    assert {item.split for item in source.items} == {None}
    (unused,) = source.parts.unused
    assert "testing_list.txt looks like a part" in unused.line


def test_a_recording_is_looked_for_by_all_of_its_name(tmp_path: Path) -> None:
    """A name with a folder is never that of another folder, and one that two have is none."""
    for name in ("deep/dog/1.wav", "deep/cat/2.wav", "one/same.wav", "two/same.wav", "x/only.flac"):
        sound(tmp_path / name)
    rows = [("dog/1.wav", "d"), ("dog/2.wav", "d"), ("same.wav", "s"), ("only.wav", "o")]
    read = read_source(table(tmp_path / "t.csv", ("filename", "label"), *rows))
    assert [item.filename for item in read.items] == ["dog/1.wav", "only.wav"]
    assert [name for name, _ in read.refused] == ["dog/2.wav", "same.wav"]


def test_a_dataset_keeps_what_was_understood(tmp_path: Path) -> None:
    labels_below(tmp_path / "data", ("Train", "Test", "more"))
    run(tmp_path / "data", tmp_path / "ds")
    source, dataset = read_source(tmp_path / "data"), Dataset.open(tmp_path / "ds")
    assert dataset.parts == source.parts
    assert dataset.parts.unused[0].labels == ("Test", "Train")
    a_column(tmp_path / "table", ("1", "2", "3"), "fold")
    run(tmp_path / "table/table.csv", tmp_path / "folds")
    assert Dataset.open(tmp_path / "folds").parts.folds == ('folds 1 to 3 by column "fold"',)
