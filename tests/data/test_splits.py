"""Parts and folds of clips, and what a recipe makes of a dataset."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest
from fixtures_models import RATE, mark, recipe_of, write_dataset

from audiocnn.data.dataset import Dataset, Entry
from audiocnn.data.duplicates import duplicates_of
from audiocnn.data.sources.settings import DataSettings
from audiocnn.data.splits import assign_folds, hold_out_clips, take_share
from audiocnn.errors import DatasetError, RecipeError
from audiocnn.recipe.division import divide, merge_groups


def clips(*counts, groups=0, more=()):
    """So many clips of each label; with `groups`, each group has some of every label."""
    rows = [(str(label), number) for label, count in enumerate(counts) for number in range(count)]
    return [
        Entry(
            i,
            f"{label}-{n}",
            100,
            label,
            False,
            f"g{n % groups}" if groups else f"{label}-{n}",
            None,
            {},
            (label, *more),
        )
        for i, (label, n) in enumerate(rows)
    ]


def own(entries):
    return {entry.id: entry.group for entry in entries}


def per_label(entries):
    return Counter(entry.label for entry in entries)


@pytest.mark.parametrize("share", [0.05, 0.15, 0.5])
def test_each_label_gives_its_share(share):
    entries = clips(200, 60, 20)
    kept, held = hold_out_clips(entries, share, own(entries))
    assert per_label(held) == {"0": round(200 * share), "1": round(60 * share), "2": max(1, round(20 * share))}
    assert len(kept) + len(held) == 280


@pytest.mark.parametrize("groups", [2, 3, 6, 40])
def test_groups_stay_whole_and_each_label_is_in_both_parts(groups):
    entries = clips(80, 80, 81, groups=groups)
    kept, held = hold_out_clips(entries, 0.15, own(entries))
    assert not {e.group for e in kept} & {e.group for e in held}
    assert per_label(kept).keys() == per_label(held).keys() == {"0", "1", "2"}
    assert len(held) < len(entries) * max(0.25, 1.01 / groups)


def test_no_label_loses_its_last_group():
    # Found by search: labels share groups, and what one label gives may be all that another one has.
    for seed in range(200):
        random = np.random.default_rng(seed)
        entries = [
            Entry(i, str(i), 1, str(random.integers(4)), False, f"g{random.integers(5)}", None) for i in range(14)
        ]
        kept, held = hold_out_clips(entries, 0.4, own(entries))
        assert per_label(kept).keys() == per_label(entries).keys(), seed
        assert not {e.group for e in kept} & {e.group for e in held}


def test_one_clip_a_label_cannot_be_cut():
    entries = clips(1, 1, 1)
    assert hold_out_clips(entries, 0.2, own(entries)) == (entries, [])


def test_ten_thousand_labels():
    entries = clips(*[3] * 10_000)
    kept, held = hold_out_clips(entries, 0.15, own(entries), 3)
    assert (len(kept), len(held)) == (20_000, 10_000)
    assert set(Counter(assign_folds(entries[:3000], 3, own(entries)).values()).values()) == {1000}


def test_folds_have_each_label_and_each_group_once():
    entries = clips(50, 30, 21, groups=0)
    fold_of = assign_folds(entries, 5, own(entries))
    for label, count in (("0", 50), ("1", 30), ("2", 21)):
        sizes = Counter(fold_of[e.id] for e in entries if e.label == label)
        assert set(sizes) == set("12345")
        assert max(sizes.values()) - count / 5 < 1
    grouped = clips(60, 60, groups=6)
    fold_of = assign_folds(grouped, 6, own(grouped))
    assert len({(e.group, fold_of[e.id]) for e in grouped}) == 6
    assert len(set(fold_of.values())) == 6


def test_smaller_shares_are_parts_of_larger_ones():
    entries = clips(100, 10)
    some, more = ({e.id for e in take_share(entries, share)} for share in (0.1, 0.3))
    assert some < more
    assert (len(some), len(more)) == (11, 33)


# What a recipe makes of a dataset


def sound(seed):
    return np.random.default_rng(seed).normal(0, 0.1, RATE // 4)


def dataset_of(folder, *counts, copies=0, **fields):
    rows = [
        (f"{label}/{n:03}.wav", sound(1000 * label + n), {"label": str(label), **{k: f(n) for k, f in fields.items()}})
        for label, count in enumerate(counts)
        for n in range(count)
    ]
    rows += [(f"0/copy{n}.wav", sound(0) * 0.5, {"label": "0"}) for n in range(copies)]
    return write_dataset(folder / "d", rows)


def recipe(**values):
    return dataclasses.replace(recipe_of(), data=DataSettings("x", **values))


def sizes(division):
    return len(division.train), len(division.validation), len(division.test)


def test_clips_without_splits_give_a_test_part(tmp_path):
    dataset = dataset_of(tmp_path, 40, 40)
    division = divide(dataset, recipe())
    assert division.tested_on == "15 % held out"
    assert per_label(division.test) == {"0": 6, "1": 6}
    parts = [{e.id for e in part} for part in (division.train, division.validation, division.test)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 80
    assert divide(dataset, recipe(split="train")).test == []


def test_copies_are_never_in_two_parts(tmp_path):
    dataset = dataset_of(tmp_path, 30, 30, copies=6)
    division = divide(dataset, recipe())
    same = {"0/000.wav", *(f"0/copy{n}.wav" for n in range(6))}
    inside = [{e.filename for e in part} & same for part in (division.train, division.validation, division.test)]
    assert sorted(map(len, inside)) == [0, 0, 7]


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["train"] * 8 + ["dev"] * 4, "dev"),
        (["train"] * 6 + ["dev"] * 3 + ["test"] * 3, "test"),
        ([None] * 8 + ["eval"] * 4, "eval"),
    ],
)
def test_given_splits_are_kept(tmp_path, names, wanted):
    division = divide(dataset_of(tmp_path, 12, 12, split=lambda n: names[n]), recipe())
    assert division.tested_on == wanted
    assert {e.split for e in division.test} == {wanted}
    assert wanted not in {e.split for e in (*division.train, *division.validation)}
    if "test" in names:
        assert {e.split for e in division.validation} == {"dev"}


def test_nothing_is_learned_from_either_of_two_tests(tmp_path):
    names = ["train"] * 6 + ["eval"] * 3 + ["test"] * 3
    division = divide(dataset_of(tmp_path, 12, 12, split=lambda n: names[n]), recipe())
    assert {e.split for e in (*division.train, *division.validation)} == {"train"}
    assert {e.split for e in division.test} == {"test"}
    assert division.notes == ('the split "eval" is not used',)


def copies_in(folder, **fields):
    """24 sounds, each twice, first as o, then as c; each of them with what `fields` give it."""
    rows = [
        (f"{name}{n:02}.wav", sound(n), {"label": "ab"[n % 2], **{key: of(name, n) for key, of in fields.items()}})
        for n in range(24)
        for name in "oc"
    ]
    return write_dataset(folder / "d", rows)


def test_copies_and_groups_in_two_given_parts_are_said(tmp_path):
    told = "leak: 24 sounds occur in several parts (c00.wav, o00.wav): results will be too good; remove the copies"
    folds = copies_in(tmp_path, tags=lambda name, n: {"fold": name})
    assert divide(folds, recipe(fold="fold", test_fold="o")).notes == (told,)
    assert divide(folds, recipe(folds=3, test_fold="1")).notes == ()
    (tmp_path / "splits").mkdir()
    splits = copies_in(
        tmp_path / "splits",
        split=lambda name, n: ("test" if n < 12 else "train") if name == "o" else "dev" if n < 12 else "train",
        group=lambda name, n: "both" if n in (0, 20) else f"{name}{n}",
    )
    division = divide(splits, recipe())
    assert division.notes == (
        "leak: 12 sounds occur in several parts (c00.wav, o00.wav): results will be too good; remove the copies",
        "leak: 1 group (such as both) in several parts: results will be too good; keep each group in one part",
    )
    assert len(division.validation) == 12


def test_the_cut_is_the_same_whether_all_was_looked_at_before_or_not(tmp_path):
    """Two pieces of a long recording that have nothing in common are one group where it is there, too."""
    long = [np.concatenate([sound(100 + n), sound(200 + n)]) for n in range(24)]
    rows = []
    for n, whole in enumerate(long):
        label, half = "ab"[n % 2], len(whole) // 2
        rows.append((f"{n:02}whole.wav", whole, {"label": label, "split": "test"}))
        rows += [
            (f"{n:02}{name}.wav", piece, {"label": label, "split": "train"})
            for name, piece in (("one", whole[:half]), ("two", whole[half:]))
        ]
    write_dataset(tmp_path / "d", rows)
    fresh, seen = Dataset.open(tmp_path / "d"), Dataset.open(tmp_path / "d")
    duplicates_of(seen, seen.entries)
    assert divide(fresh, recipe()).digest() == divide(seen, recipe()).digest()
    groups = merge_groups(fresh, [entry for entry in fresh.entries if entry.split == "train"])
    assert len(set(groups.values())) < 48  # as many as pieces, if the pieces alone were compared


def test_a_division_is_known_by_its_digest(tmp_path):
    dataset = dataset_of(tmp_path, 30, 30)
    digest = divide(dataset, recipe()).digest()
    assert digest == divide(Dataset.open(tmp_path / "d"), recipe()).digest()
    first, *others = dataset.entries
    assert divide(dataset.with_entries(others), recipe()).digest() != digest
    relabelled = dataclasses.replace(first, label="1", labels=("1",))
    assert divide(dataset.with_entries([relabelled, *others]), recipe()).digest() != digest
    assert divide(dataset, recipe(training_share=0.5)).digest() != digest


def test_a_dataset_that_is_all_of_one_split_is_learned_from(tmp_path):
    division = divide(dataset_of(tmp_path, 6, 6, split=lambda n: "dev"), recipe())
    assert (division.test, len(division.train) + len(division.validation)) == ([], 12)


def test_segments_keep_given_splits_too(tmp_path):
    rows = [(f"{n}.wav", sound(n), {**mark("a", 0.0, 0.1), "split": "test" if n > 8 else None}) for n in range(12)]
    division = divide(write_dataset(tmp_path / "d", rows), recipe())
    assert (division.tested_on, len(division.test)) == ("test", 3)


def test_few_clips_and_few_groups_are_not_tested_and_it_is_said(tmp_path):
    division = divide(dataset_of(tmp_path, 6, 6), recipe())
    assert (division.test, division.notes[0][:21]) == ([], "12 clips are too few ")
    (tmp_path / "two").mkdir()
    division = divide(dataset_of(tmp_path / "two", 30, 30, group=lambda n: f"g{n % 2}"), recipe())
    assert (division.test, division.notes[0]) == (
        [], "2 groups are too few to set one aside for testing: use --folds 2"
    )  # fmt: skip


def test_folds_are_offered_and_made_only_where_a_label_is_in_two(tmp_path):
    dataset = dataset_of(tmp_path, 1, 1, 1)
    assert divide(dataset, recipe()).notes[0] == (
        "3 clips are too few to set some aside for testing: add more recordings of each label"
    )
    with pytest.raises(RecipeError, match=r"3 folds, but no label .*; add more recordings of each label$"):
        divide(dataset, recipe(folds=3, test_fold="1"))
    for name, groups, said in (
        ("one", lambda n: "g", "1 group is too few to set one aside for testing: "),
        ("two", lambda n: "g" + str(n >= 30), "2 groups are too few to set one aside for testing: "),
    ):
        rows = [(f"{n:02}.wav", sound(n), {"label": "ab"[n >= 30], "group": groups(n)}) for n in range(60)]
        found = divide(write_dataset(tmp_path / name, rows), recipe())
        assert found.notes[0] == said + "add more recordings of each label, in other groups"
    rows = [(f"{n}.wav", sound(n), {"label": "ab"[n % 2], "tags": {"fold": str(n % 2)}}) for n in range(4)]
    with pytest.raises(RecipeError, match='no label occurs in two folds of the column "fold"'):
        divide(write_dataset(tmp_path / "given", rows), recipe(fold="fold", test_fold="1"))


def test_one_file_a_label_is_learned_from_as_it_is(tmp_path):
    division = divide(dataset_of(tmp_path, 1, 1, 1), recipe())
    assert sizes(division) == (3, 3, 0)
    assert division.notes[-1] == "no label has two recordings: the training recordings are also used for validation"


def test_one_label_is_refused(tmp_path):
    with pytest.raises(DatasetError, match='every recording has the label "0", so there is nothing'):
        divide(dataset_of(tmp_path, 5), recipe())


def test_several_labels_must_be_asked_for(tmp_path):
    rows = [(f"{n}.wav", sound(n), {"label": "a", "more": ("b",) if n % 2 else ()}) for n in range(8)]
    dataset = write_dataset(tmp_path / "d", rows)
    assert dataset.entries[1].labels == ("a", "b")
    with pytest.raises(DatasetError, match=r'1\.wav has 2 labels; set labels_per_clip = "several"'):
        divide(dataset, recipe())
    assert sizes(divide(dataset, recipe(labels_per_clip="several"))) == (6, 2, 0)


def test_a_fold_is_tested_on_and_not_learned_from(tmp_path):
    dataset = dataset_of(tmp_path, 12, 12, group=lambda n: f"g{n % 4}", tags=lambda n: {"fold": str(n % 3)})
    made = divide(dataset, recipe(folds=4, test_fold="2"))
    assert (made.tested_on, len(made.test), len({e.group for e in made.test})) == ("fold 2", 6, 1)
    assert not {e.group for e in made.test} & {e.group for e in (*made.train, *made.validation)}
    given = divide(dataset, recipe(fold="fold", test_fold="0"))
    assert {e.tags["fold"] for e in given.test} == {"0"}
    assert len(given.test) == 8
    with pytest.raises(RecipeError, match=r'no recording is in fold "9"'):
        divide(dataset, recipe(fold="fold", test_fold="9"))
    with pytest.raises(RecipeError, match="5 folds, but only 4 groups; ask for at most 4"):
        divide(dataset, recipe(folds=5, test_fold="1"))


def test_a_share_of_the_training_leaves_the_other_parts(tmp_path):
    dataset = dataset_of(tmp_path, 40, 40)
    whole, part = divide(dataset, recipe()), divide(dataset, recipe(training_share=0.25))
    assert (part.validation, part.test) == (whole.validation, whole.test)
    assert len(part.train) == pytest.approx(len(whole.train) / 4, abs=1)
