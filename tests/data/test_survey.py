"""A look at data, corrections by a person, groups from file names, and trainings that are repeated."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from corpora import run, text
from fixtures_models import RATE, TASK_MIX, TINY, mark, recipe_of, write_dataset
from sounds import noise, sine, write

from audiocnn.data.dataset import FORMAT_VERSION, Dataset
from audiocnn.data.ingest import IngestSettings, ingest
from audiocnn.data.sources import corrections_line
from audiocnn.data.sources.corrections import apply_settings
from audiocnn.data.sources.settings import DataSettings, data_settings, find_by_pattern
from audiocnn.data.survey import describe_survey, labels_written_alike, survey
from audiocnn.data.writer import DatasetWriter
from audiocnn.errors import DatasetError, LabelError, RecipeError, UsageError
from audiocnn.evaluation.results import Figure
from audiocnn.recipe.folds import RepeatResult, curve_repeats, fold_repeats, summarize_repeats
from audiocnn.training.batches import make_training_set


def sound(seed, level=0.1):
    return np.random.default_rng(seed).normal(0, level, RATE // 2)


def test_a_survey_counts_and_finds(tmp_path):
    rows = [(f"a/{n}.wav", sound(n), {"label": "dog", "group": "rex", "split": "train"}) for n in range(6)]
    rows += [
        ("b/1.wav", sound(10), {"label": "Dog", "split": "train"}),
        ("b/copy.wav", sound(1), {"label": "Dog", "split": "test"}),
        ("b/rex.wav", sound(12), {"label": "Dog", "group": "rex", "split": "test"}),
        ("b/silent.wav", np.zeros(400), {"label": "Dog"}),
        ("b/empty.wav", np.zeros(0), {"label": "Dog"}),
        ("b/loud.wav", np.tile([1.0, 1.0, -1.0, -1.0], RATE // 8), {"label": "cat"}),
        ("b/offset.wav", sound(14) + 0.1, {"label": "cat"}),
        ("b/none.wav", sound(15), {}),
    ]
    found = survey(write_dataset(tmp_path / "d", rows))
    assert {label: (c.recordings, c.groups) for label, c in found.labels.items()} == {
        "dog": (6, 1), "Dog": (5, 5), "cat": (2, 2)
    }  # fmt: skip
    assert (found.recordings, found.unevenness, found.durations[2]) == (14, 3.0, 0.5)
    assert found.alike == (("Dog", "dog"),)
    assert (found.silent, found.empty, found.clipped) == (("b/silent.wav",), ("b/empty.wav",), ("b/loud.wav",))
    assert (found.offset, found.unlabelled, found.parted_groups) == (("b/offset.wav",), ("b/none.wav",), ("rex",))
    (same,) = found.same_sound
    assert (same.files, same.exact, same.labels, same.splits) == (
        ("a/1.wav", "b/copy.wav"), True, ("Dog", "dog"), ("test", "train")
    )  # fmt: skip
    assert found.leaks == found.contradictions == (same,)
    assert json.loads(json.dumps(found.to_dict()))["same_sound"][0]["files"] == ["a/1.wav", "b/copy.wav"]
    said = "\n".join(describe_survey(found))
    for part in (
        "14 recordings, 6.2 s, 3 labels", 'labels "Dog" and "dog" differ only', '"cat" has fewer than 3 recordings',
        "3 times as many recordings as the rarest", "1 exactly (such as a/1.wav, b/copy.wav)",
            "1 sound with different labels", "leak: 1 sound in",
        "leak: 1 group, such as rex", "(b/silent.wav) is silent", "(b/loud.wav) is clipped", "(b/none.wav) has no",
    ):  # fmt: skip
        assert part in said


def test_files_are_known_by_rate_and_channels_and_broken_ones_are_said(tmp_path):
    write(tmp_path / "c/a/1.wav", noise(0.3, 8000, 1), 8000)
    write(tmp_path / "c/a/2.flac", np.stack([noise(0.3, 44100, 2)] * 2, axis=1), 44100)
    write(tmp_path / "c/b/3.wav", sine(440, 0.3, 8000), 8000)
    text(tmp_path / "c/b/broken.wav", "no sound")
    (tmp_path / "c/nothing").mkdir()
    run(tmp_path / "c", tmp_path / "d")
    found = survey(Dataset.open(tmp_path / "d"))
    assert (found.rates, found.channels) == ({8000: 2, 44100: 1}, {1: 2, 2: 1})
    assert (found.formats, [name for name, _ in found.refused]) == (
        {".wav": 2, ".flac": 1},
        ["b/broken.wav", "nothing/"],
    )
    assert "refused: 2 files" in "\n".join(describe_survey(found))


NEW_COLUMNS = {1: ("labels", "file_rate", "file_channels", "scale"), 2: ("scale",)}


@pytest.mark.parametrize("version", range(1, FORMAT_VERSION))
def test_a_dataset_of_an_older_format_is_read_and_gone_on_with(tmp_path, version):
    dataset = write_dataset(tmp_path / "d", [("a.wav", sound(1), {"label": "x"})])
    with DatasetWriter(tmp_path / "d", RATE, 1) as writer:
        index = writer._index
        for column in NEW_COLUMNS[version]:
            index.execute(f"ALTER TABLE recordings DROP COLUMN {column}")
        index.execute(f"UPDATE meta SET value='{version}' WHERE key='format_version'")
    old = Dataset.open(tmp_path / "d")
    assert old.entries == dataset.entries
    assert np.array_equal(old.waveform(old.entries[0]), dataset.waveform(dataset.entries[0]))
    with DatasetWriter(tmp_path / "d", RATE, 1) as writer:
        assert writer.meta["format_version"] == str(FORMAT_VERSION)
    assert Dataset.open(tmp_path / "d").entries == dataset.entries


def test_alike():
    assert labels_written_alike(["dog", "Dog ", "cat", "STRASSE", "straße"]) == (("dog", "Dog "), ("STRASSE", "straße"))


# Labels in tables, corrections, groups


@pytest.fixture
def clips(tmp_path):
    for n in range(4):
        write(tmp_path / f"c/ann_{n}.wav", noise(0.1, 8000, n), 8000)
    return tmp_path / "c"


def read(folder, table, **data):
    settings = data_settings({"source": table.name, **data}, table.parent, "[data]")
    list(ingest([settings], folder))
    dataset = Dataset.open(folder)
    return dataset, {entry.filename: entry.labels for entry in dataset.entries}


def test_several_labels_a_clip(clips, tmp_path):
    table = text(
        clips / "t.csv", "filename,label", "ann_0.wav,a; b", "ann_1.wav,b", "ann_1.wav,c", "ann_2.wav,", "ann_3.wav,a"
    )
    dataset, labels = read(tmp_path / "d", table, labels_per_clip="several", separator=";")
    assert labels == {"ann_0.wav": ("a", "b"), "ann_1.wav": ("b", "c"), "ann_2.wav": (), "ann_3.wav": ("a",)}
    assert (dataset.several, dataset.labels) == (True, ("a", "b", "c"))
    _, labels = read(tmp_path / "e", table, labels_per_clip="several", separator=";", labels=["b"])
    assert labels == {"ann_0.wav": ("b",), "ann_1.wav": ("b",), "ann_2.wav": (), "ann_3.wav": ()}


def test_corrections_take_the_place_of_labels(clips, tmp_path):
    table = text(clips / "t.csv", "filename,label", *(f"ann_{n}.wav,a" for n in range(4)))
    text(clips / "fixed.tsv", "filename\tlabel\tscore", "ann_1.wav\tb\t0.9", "ann_2.wav\t-\t0.1", "gone.wav\tb\t0.5")
    dataset, labels = read(tmp_path / "d", table, corrections="fixed.tsv")
    assert labels == {"ann_0.wav": ("a",), "ann_1.wav": ("b",), "ann_3.wav": ("a",)}
    assert dataset.refused == [
        ("gone.wav", f"listed in {clips / 'fixed.tsv'}, but there is no such recording; correct the name")
    ]
    text(clips / "fixed.tsv", "filename,label", "ann_1.wav,b", "ann_1.wav,c")
    with pytest.raises(LabelError, match=r"fixed\.tsv:1: no column|ann_1\.wav has 2 labels; keep one"):
        read(tmp_path / "d", table, corrections="fixed.tsv")


def test_what_corrections_did_is_said(clips, tmp_path):
    text(clips / "t.csv", "filename,label", *(f"ann_{n}.wav,{'ab'[n % 2]}" for n in range(4)))
    text(clips / "fixed.tsv", "filename\tlabel", "ann_0.wav\tleftt", "ann_1.wav\ta", "ann_2.wav\t-", "ann_3.wav\tb")
    settings = DataSettings(clips / "t.csv", corrections=clips / "fixed.tsv")
    said = "corrections: 2 clips relabelled, 1 clip excluded, 1 new label: leftt"
    assert corrections_line(settings) == said
    dataset, _ = read(tmp_path / "d", clips / "t.csv")
    assert corrections_line(dataclasses.replace(settings, source=dataset.folder)) == said
    assert corrections_line(dataclasses.replace(settings, corrections=None)) == ""
    text(clips / "fixed.tsv", "filename\tlabel", "ann_0.wav\t")
    assert corrections_line(settings) == "corrections: 1 clip excluded"
    text(clips / "fixed.tsv", "filename\tlabel", "ann_1.wav\tb")
    assert corrections_line(settings) == "corrections: 0 clips relabelled"


def test_a_row_without_a_file_name_is_told_by_its_line(clips, tmp_path):
    table = text(clips / "t.csv", "filename,label", "ann_0.wav,a", ",b", " ,c", "ann_1.wav,b")
    dataset, labels = read(tmp_path / "d", table)
    assert labels == {"ann_0.wav": ("a",), "ann_1.wav": ("b",)}
    assert dataset.refused == [(f"{table}:{line}", "no file name; add it") for line in (3, 4)]
    text(clips / "fixed.csv", "filename,label", ",b")
    with pytest.raises(LabelError, match=r"fixed\.csv:2: no file name; add it, or remove the row"):
        read(tmp_path / "d", table, corrections="fixed.csv")


def test_a_label_that_looks_like_several_is_said(tmp_path):
    labels = ["left", "loud", "left;loud", "a|b"]
    rows = [(f"{n}.wav", sound(n), {"label": label}) for n, label in enumerate(labels * 3)]
    said = "\n".join(describe_survey(survey(write_dataset(tmp_path / "d", rows))))
    assert 'label "a|b" contains a "|" (so do 1 more), and counts as one label; if it is several labels, ' in said
    assert 'separator = "|" in a recipe' in said


def test_corrections_where_clips_have_several_labels(clips, tmp_path):
    """As `doubtful` writes them: ; between labels, nothing for none of them, - to leave out."""
    table = text(clips / "t.csv", "filename,label", "ann_0.wav,a|b", "ann_1.wav,b", "ann_2.wav,a", "ann_3.wav,a")
    text(clips / "fixed.tsv", "filename\tlabel", "ann_0.wav\tb;c", "ann_1.wav\t", "ann_2.wav\t-")
    wanted = {"ann_0.wav": ("b", "c"), "ann_1.wav": (), "ann_3.wav": ("a",)}
    both = {"labels_per_clip": "several", "separator": "|"}
    dataset, labels = read(tmp_path / "d", table, **both, corrections="fixed.tsv")
    assert (labels, dataset.labels) == (wanted, ("a", "b", "c"))
    # A dataset that was made before says by itself that clips have several.
    dataset, _ = read(tmp_path / "e", table, **both)
    changed = apply_settings(dataset, DataSettings(tmp_path / "e", corrections=clips / "fixed.tsv"))
    assert {entry.filename: entry.labels for entry in changed.entries} == wanted
    assert [entry.label for entry in changed.entries] == ["b", None, "a"]
    assert changed.labels == ("a", "b", "c")


def test_a_label_that_corrections_remove_is_no_class_any_more(tmp_path):
    rows = [(f"{n}.wav", sound(n), {"label": "cat" if n % 2 else "cta"}) for n in range(4)]
    rows.append(("marked.wav", sound(9), mark("bird", 0.1, 0.2)))
    dataset = write_dataset(tmp_path / "d", rows)
    dataset.labels = (*dataset.labels, "unheard")
    fixed = text(tmp_path / "fixed.csv", "filename,label", "0.wav,cat", "2.wav,dog")
    changed = apply_settings(dataset, DataSettings(tmp_path, corrections=fixed))
    assert changed.labels == ("bird", "cat", "unheard", "dog")
    assert dataset.labels == ("bird", "cat", "cta", "unheard")


def test_some_labels_of_a_folder_can_be_learned(tmp_path):
    """Clips stay clips, those of other labels too: where labels stand alone they have none, else they are left out."""
    for n in range(8):
        for seed, label in enumerate(("dog", "cat", "car")):
            write(tmp_path / f"c/{label}/{n}.wav", noise(0.2, RATE, 20 * seed + n), RATE)
    settings = data_settings({"source": "c", "labels": ["dog", "cat"]}, tmp_path, "[data]")
    list(ingest([settings], tmp_path / "d", IngestSettings(sample_rate=RATE)))
    dataset = Dataset.open(tmp_path / "d")
    assert not any(entry.annotated for entry in dataset.entries)
    for output, clips in (("softmax", 16), ("sigmoid", 24)):
        table = {**TINY, "f": {**TINY["f"], "output": output}}
        training_set = make_training_set(dataclasses.replace(recipe_of(table, TASK_MIX), data=settings), dataset)
        assert (training_set.clips, training_set.labels) == (True, ("dog", "cat"))
        assert len(training_set.source.entries) + len(training_set.validation) == clips


def test_settings_change_a_dataset_that_was_made_before(tmp_path):
    rows = [
        (f"{who}_{n}.wav", sound(n), {"label": "a", "tags": {"who": who}}) for who in ("ann", "bob") for n in range(2)
    ]
    dataset = write_dataset(tmp_path / "d", rows)
    fixed = text(tmp_path / "fixed.csv", "filename,label", "ann_0.wav,z", "bob_1.wav,")
    changed = apply_settings(dataset, DataSettings(tmp_path, corrections=fixed, group_pattern="^([a-z]+)_"))
    assert [(e.filename, e.labels, e.group) for e in changed.entries] == [
        ("ann_0.wav", ("z",), "ann"), ("ann_1.wav", ("a",), "ann"), ("bob_0.wav", ("a",), "bob")
    ]  # fmt: skip
    assert (changed.labels, len(dataset.entries), dataset.labels) == (("a", "z"), 4, ("a",))
    assert [e.group for e in apply_settings(dataset, DataSettings(tmp_path, group="who")).entries] == ["ann"] * 2 + [
        "bob"
    ] * 2
    with pytest.raises(RecipeError, match='has no column "hwo"; did you mean "who"'):
        apply_settings(dataset, DataSettings(tmp_path, group="hwo"))
    text(tmp_path / "fixed.csv", "filename,label", "nan_0.wav,z")
    with pytest.raises(RecipeError, match=r"names nan_0\.wav, which is not in .*; did you mean"):
        apply_settings(dataset, DataSettings(tmp_path, corrections=fixed))


@pytest.mark.parametrize(
    ("pattern", "groups"),
    [
        ("^([a-z]+)_", ["anna", "bob", "anna", "bob"]),  # not the label folder
        ("^([^_]+)_", ["anna", "bob", "anna", "bob"]),
        ("/([a-z]+)_", ["anna", "bob", "anna", "bob"]),
        ("^([a-z]+)/", ["dog", "dog", "cat", "cat"]),
        ("_([0-9])", ["1", "2", "1", "3"]),
    ],
)
def test_a_pattern_sees_the_file_name_and_with_a_slash_the_path(pattern, groups):
    names = ["dog/anna_1.wav", "dog/bob_2.wav", "cat/anna_1.wav", "cat/bob_3.wav"]
    assert find_by_pattern(names, pattern, "here") == groups


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"group_pattern": "(["}, "is not a regular expression"),
        ({"group_pattern": "abc"}, "has no group; put parentheses around"),
        ({"group_pattern": "(a)", "group": "who"}, "both define groups; keep one"),
        ({"separator": ";"}, 'add labels_per_clip = "several"'),
        ({"labels_per_clip": "many"}, "labels_per_clip"),
        ({"folds": 1}, '"folds" must be 2 or more'),
        ({"folds": 3, "fold": "part"}, "keep one"),
        ({"training_share": 0}, "training_share"),
    ],
)
def test_keys_that_do_not_fit_are_refused(tmp_path, values, message):
    with pytest.raises(RecipeError, match=message):
        data_settings(values, tmp_path, "[data]")


def test_a_pattern_that_fits_nothing_is_refused(tmp_path):
    dataset = write_dataset(tmp_path / "d", [("a.wav", sound(1), {"label": "a"})])
    with pytest.raises(RecipeError, match=r"matches none of 1 file names, such as a\.wav; correct it"):
        apply_settings(dataset, DataSettings(tmp_path, group_pattern="^([0-9]+)_"))


# Repeats


def labelled(folder, **fields):
    rows = [
        (f"{label}/{n:02}.wav", sound(50 * label + n), {"label": str(label), **{k: f(n) for k, f in fields.items()}})
        for label in range(2)
        for n in range(24)
    ]
    return write_dataset(folder / "d", rows)


def recipe(**values):
    return dataclasses.replace(recipe_of(), data=DataSettings("x", **values))


def test_folds_and_shares_as_recipes(tmp_path):
    dataset = labelled(tmp_path, group=lambda n: f"g{n % 4}", tags=lambda n: {"fold": str(10 * (n % 3))})
    made = fold_repeats(recipe(folds=4), dataset, 4)
    assert [(each.name, each.recipe.data.folds, each.recipe.data.test_fold) for each in made] == [
        (f"fold-{n}", 4, str(n)) for n in range(1, 5)
    ]
    assert [each.value for each in fold_repeats(recipe(fold="fold"), dataset, 3)] == ["0", "10", "20"]
    with pytest.raises(UsageError, match='--folds 4: the column "fold" has 3 folds; ask for 3'):
        fold_repeats(recipe(fold="fold"), dataset, 4)
    shares = curve_repeats(recipe(), dataset, [1.0, 0.1])
    assert [(each.name, each.recipe.data.training_share) for each in shares] == [("share-0.1", 0.1), ("share-1", 1.0)]
    with pytest.raises(UsageError, match="shares must be above 0 and at most 1"):
        curve_repeats(recipe(), dataset, [0.1, 2.0])
    with pytest.raises(DatasetError, match="no recordings are set aside for testing"):
        curve_repeats(recipe(split="train"), dataset, [0.5])


def test_a_summary_has_mean_and_sample_deviation(tmp_path):
    folds = fold_repeats(recipe(), labelled(tmp_path), 3)
    results = [
        RepeatResult(each, (30, 4, 14), {"accuracy": Figure(value)})
        for each, value in zip(folds, (0.5, 0.7, 0.9), strict=True)
    ]
    said = summarize_repeats("folds", results)
    assert said["figures"] == {"accuracy": {"mean": 0.7, "spread": 0.2}}
    assert [(row["fold"], row["clips"], row["figures"]["accuracy"]["value"]) for row in said["folds"]] == [
        ("1", 14, 0.5), ("2", 14, 0.7), ("3", 14, 0.9)
    ]  # fmt: skip
    (point,) = summarize_repeats("learning_curve", results[:1])["points"]
    assert point["clips"] == 30
