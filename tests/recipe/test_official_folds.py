"""Folds and parts that the data itself has: what they are used for, what is said of them, and when there is no test."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from corpora import run, text
from fixtures_models import RATE, mark, recipe_of, write_dataset
from sounds import noise, write

from audiocnn.data.dataset import Dataset
from audiocnn.data.sources.settings import DataSettings
from audiocnn.errors import DatasetError, RecipeError, UsageError
from audiocnn.recipe.division import divide
from audiocnn.recipe.folds import fold_repeats


def dataset_with(folder, folds, count=4, column="fold", timed=False, split=lambda fold: None):
    """So many recordings of two labels in each fold; "" for none."""
    rows = []
    for fold in folds:
        for number in range(count):
            label = "ab"[number % 2]
            fields = mark(label, 0.0, 0.1) if timed else {"label": label}
            fields |= {"tags": {column: fold} if fold else {}, "split": split(fold)}
            samples = np.random.default_rng(len(rows)).normal(0, 0.1, RATE // 4)
            rows.append((f"{fold or 'none'}-{number}.wav", samples, fields))
    return write_dataset(folder / "d", rows)


def recipe(train=None, **values):
    return dataclasses.replace(recipe_of(**(train or {})), data=DataSettings(Path("x"), **values))


def folds_of(entries, column="fold"):
    return Counter(entry.tags.get(column) for entry in entries)


FIVE, TEN = tuple("12345"), tuple(str(number) for number in range(1, 11))


@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize(
    ("folds", "asked", "test", "stop"),
    [
        (FIVE, None, "5", "4"),
        (FIVE, "1", "1", "5"),
        (FIVE, "fold3", "3", "2"),
        (TEN, None, "10", "9"),
        (TEN, "10", "10", "9"),
        (("fold1", "fold2", "fold10"), None, "fold10", "fold2"),
        (("fold1", "fold2", "fold10"), "2", "fold2", "fold1"),
        (("1.0", "2.0", "3.0"), "2", "2.0", "1.0"),
        (("0", "1"), None, "1", None),
        (("a", "b", "c"), None, "c", "b"),
    ],
)
def test_the_last_official_fold_is_tested_on_and_the_one_before_stops(tmp_path, folds, asked, test, stop, timed):
    dataset = dataset_with(tmp_path, folds, timed=timed)
    division = divide(dataset, recipe(test_fold=asked))
    assert (set(folds_of(division.test)), division.tested_on) == ({test}, f"fold {test}")
    assert test not in folds_of([*division.train, *division.validation])
    if stop is not None:
        assert folds_of(division.validation) == {stop: 4}
        assert set(folds_of(division.train)) == set(folds) - {test, stop}
    else:
        assert set(folds_of(division.validation)) == set(folds) - {test}
    (line,) = division.understood
    assert 'by column "fold"' in line
    assert f": {test} is used for testing" in line
    assert (f", {stop} for validation" in line) == (stop is not None)


def test_nothing_stops_where_all_shall_be_learned(tmp_path):
    division = divide(dataset_with(tmp_path, FIVE), recipe({"validation_share": 0.0}))
    assert (len(division.train), len(division.validation), len(division.test)) == (16, 0, 4)
    assert division.understood == ('folds 1 to 5 by column "fold": 5 is used for testing',)


def test_recordings_without_a_fold_are_learned_from(tmp_path):
    division = divide(dataset_with(tmp_path, (*FIVE, "")), recipe())
    assert folds_of(division.train)[None] == 4


def test_a_fold_that_is_asked_for_goes_before_a_split_and_a_split_before_folds(tmp_path):
    dataset = dataset_with(tmp_path, (*FIVE, ""), split=lambda fold: "train" if fold else "test")
    by_split = divide(dataset, recipe())
    assert (by_split.tested_on, folds_of(by_split.test)) == ("test", {None: 4})
    assert "not used" in by_split.understood[0]
    by_fold = divide(dataset, recipe(test_fold="2"))
    assert folds_of(by_fold.test) == {"2": 4}
    assert None not in folds_of([*by_fold.train, *by_fold.validation]), "the test of the data is not learned from"


def test_a_part_in_the_column_of_folds_is_no_fold(tmp_path):
    dataset = dataset_with(tmp_path, ("1", "2", "3", "test"), split=lambda fold: "test" if fold == "test" else None)
    assert divide(dataset, recipe()).tested_on == "test"
    division = divide(dataset, recipe(test_fold="3"))
    assert set(folds_of([*division.train, *division.validation, *division.test])) == {"1", "2", "3"}


@pytest.mark.parametrize("values", [{"fold": "fold", "test_fold": "2"}, {"folds": 3, "test_fold": "1"}])
def test_what_a_recipe_says_of_folds_stays_as_it_is(tmp_path, values):
    division = divide(dataset_with(tmp_path, FIVE, 8), recipe(**values))
    assert division.understood == ()
    assert len(folds_of(division.validation)) > 1, "a share of the rest stops"


def test_a_recipe_that_names_the_split_to_learn_from_has_no_test(tmp_path):
    dataset = dataset_with(tmp_path, FIVE, split=lambda fold: "train")
    assert divide(dataset, recipe(split="Training")).test == []
    assert len(divide(dataset, recipe(split="Training")).train) + 4 >= 16


def test_a_fold_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(RecipeError, match='no recording is in fold "9"; known: 1, 2, 3, 4, 5'):
        divide(dataset_with(tmp_path, FIVE), recipe(test_fold="9"))
    (tmp_path / "none").mkdir()
    with pytest.raises(RecipeError, match=r"the data has no folds; .* or create folds"):
        divide(dataset_with(tmp_path / "none", ("",), 30), recipe(test_fold="1"))


def test_official_folds_are_tested_on_in_turn(tmp_path):
    dataset = dataset_with(tmp_path, TEN)
    repeats = fold_repeats(recipe(), dataset, 10)
    assert [each.value for each in repeats] == list(TEN)
    for number, each in enumerate(repeats):
        division = divide(dataset, each.recipe)
        assert folds_of(division.test) == {TEN[number]: 4}
        assert folds_of(division.validation) == {TEN[number - 1]: 4}
    with pytest.raises(UsageError, match=r"--folds 5: .* has 10 folds; ask for 10, or set folds = 5 in a recipe"):
        fold_repeats(recipe(), dataset, 5)
    assert [each.recipe.data.folds for each in fold_repeats(recipe(folds=5), dataset, 5)] == [5] * 5


# What looks like a part and is not used


def folder_of(root, folders, clips):
    for folder in folders:
        for number in range(clips):
            write(root / folder / f"{number}.wav", noise(0.1, 8000, 1000 * len(folder) + number), 8000)
    run(root, root.parent / "ds")
    return Dataset.open(root.parent / "ds")


def test_no_test_beside_what_looks_like_one_is_an_error(tmp_path):
    dataset = folder_of(tmp_path / "sounds", ("cat", "bird", "Test"), 4)
    with pytest.raises(DatasetError, match=r'nothing is left for testing: the folder "Test" looks like a part.*; sort'):
        divide(dataset, recipe())
    as_label = divide(dataset, recipe(labels=("cat", "bird", "Test")))
    assert (as_label.test, as_label.understood) == ([], ())
    unasked = dataclasses.replace(recipe(), evaluate=dataclasses.replace(recipe().evaluate, test_share=0.0))
    assert divide(dataset, unasked).test == []


def test_what_looks_like_a_part_is_said_where_something_else_is_tested_on(tmp_path):
    division = divide(folder_of(tmp_path / "sounds", ("cat", "bird", "Test"), 20), recipe())
    assert division.tested_on == "15 % held out"
    assert 'the folder "Test" looks like a part' in division.understood[0]


@pytest.mark.parametrize("column", ["usage", "split"])
def test_a_column_of_unknown_parts_is_an_error_where_nothing_else_is_tested_on(tmp_path, column):
    cells = ("train", "test") if column == "usage" else ("mine", "yours")
    rows = [f"{n}.wav,{'ab'[n % 2]},{cells[n > 4]}" for n in range(8)]
    for number in range(8):
        write(tmp_path / f"{number}.wav", noise(0.1, 8000, number), 8000)
    run(text(tmp_path / "t.csv", f"filename,label,{column}", *rows), tmp_path / "ds")
    with pytest.raises(DatasetError, match=f'nothing is left for testing: column "{column}"'):
        divide(Dataset.open(tmp_path / "ds"), recipe())
    assert divide(Dataset.open(tmp_path / "ds"), recipe(split="mine")).test == []


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("Train", "Valid", "Test"), '"test" is used for testing, "valid" for validation'),
        (("training", "testing"), '"test" is used for testing, a share of the rest for validation'),
        (("train", "dev"), '"dev" is used for testing, a share of the rest for validation'),
    ],
)
def test_what_parts_are_used_for_is_said(tmp_path, names, said):
    folders = [f"{name}/{label}" for name in names for label in ("cat", "bird")]
    division = divide(folder_of(tmp_path / "sounds", folders, 4), recipe())
    shown = ", ".join(f'"{name}"' for name in sorted(names))
    assert division.understood == (f"splits by the folders {shown}: {said}",)
