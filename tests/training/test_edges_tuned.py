"""The tuning set of a recipe: made of what training holds out, with the truth for each hop."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from fixtures_models import RATE, mark, recipe_of, tone_of, tone_task, write_dataset

from audiocnn.data.sources.settings import DataSettings
from audiocnn.errors import DatasetError, RecipeError
from audiocnn.evaluation.conditions import read_conditions
from audiocnn.evaluation.testset import part_entries
from audiocnn.recipe.recipe import EvaluateSettings, read_recipe
from audiocnn.segments.segment import Annotation
from audiocnn.training.batches import make_targets, make_training_set
from audiocnn.training.train import train

TEXT = """
seed = 3
[data]
source = "."
labels = ["tone"]
[parts.tune]
split = "train"
held_out = {share}
[parts.seen]
split = "train"
[mix]
seconds = 4.0
gap_seconds = [0.1, 0.5]
[[conditions]]
name = "clean"
mixtures = 3
[[conditions]]
name = "noisy"
mixtures = 2
snr_db = 10
[[conditions]]
name = "whole"
as_they_are = {{ filename = [{names}] }}
"""
NAMES = ", ".join(f'"noise{number:02}.wav"' for number in range(12))


def recipe_with(folder, share=0.25, part="tune", **train_settings):
    path = folder / "conditions.toml"
    path.write_text(TEXT.format(share=share, names=NAMES))
    recipe = recipe_of(**train_settings)
    return dataclasses.replace(recipe, evaluate=EvaluateSettings(conditions=path, part=part))


def test_what_is_held_out_is_what_one_tunes_on(tmp_path):
    training_set = make_training_set(recipe_with(tmp_path), tone_task(tmp_path / "d"))
    lengths = [example.samples.shape[1] for example in training_set.validation]
    assert lengths == [4 * RATE] * 5 + [3 * RATE] * 3  # of 12 noises a quarter is held out
    spoken = [bool(example.targets.any()) for example in training_set.validation]
    assert spoken == [True] * 5 + [False] * 3
    hop = recipe_of().spec.geometry().hop_samples
    assert all(len(e.targets) == -(-e.samples.shape[1] // hop) for e in training_set.validation)
    tone, rest = (
        np.concatenate(
            [e.samples[0, : len(e.targets) * hop][np.repeat(e.targets[:, 0], hop)[: e.samples.shape[1]] == value]
             for e in training_set.validation[:3]]
        )
        for value in (1, 0)
    )  # fmt: skip
    assert np.std(tone) > 10 * np.std(rest)


@pytest.mark.long
def test_a_training_is_tuned_and_calibrated_on_it(tmp_path):
    dataset = tone_task(tmp_path / "d")
    *_, last = train(recipe_with(tmp_path), dataset, tmp_path / "run")
    assert last.model.tuned_on == 'part "tune" of conditions.toml (8 recordings), detection error'
    assert 'part "tune" of conditions.toml' in (tmp_path / "run" / "model" / "README.md").read_text()
    kept = read_recipe(tmp_path / "run" / "recipe.toml")
    assert kept.evaluate.conditions == tmp_path / "conditions.toml"


@pytest.mark.long
def test_it_is_tuned_and_calibrated_on_other_recordings_too(tmp_path):
    """Each source counts as much; the figures of operating points are then of what they were not tuned on."""
    wide = mark("tone", 0.4, 1.6)
    marked = [(f"{number}.wav", tone_of(2.0, 0.5, 1.0, 440.0), {**wide, "group": f"{number}"}) for number in range(4)]
    write_dataset(tmp_path / "marked", marked)
    dataset, plain = tone_task(tmp_path / "d"), recipe_with(tmp_path)
    recipe = dataclasses.replace(plain, evaluate=dataclasses.replace(plain.evaluate, also=(tmp_path / "marked",)))
    assert [len(own) for own in make_training_set(recipe, dataset).also.values()] == [4]
    *_, alone = train(plain, dataset, tmp_path / "alone")
    *_, last = train(recipe, dataset, tmp_path / "run")
    assert (
        last.model.tuned_on == 'part "tune" of conditions.toml (8 recordings), marked (4 recordings), detection error'
    )
    points, before = last.model.points["tone"], alone.model.points["tone"]
    assert points["balanced"].measured_on.endswith("tuned on one half of each, measured on the other")
    assert points["balanced"].values != before["balanced"].values  # people mark wider than the sound
    kept = read_recipe(tmp_path / "run" / "recipe.toml")
    assert kept.evaluate.also == (tmp_path / "marked",)


def test_what_it_is_tuned_on_besides_has_every_label(tmp_path):
    write_dataset(tmp_path / "other", [("a.wav", np.zeros(RATE), {"annotated": True, "annotations": ()})])
    recipe = recipe_with(tmp_path)
    recipe = dataclasses.replace(recipe, evaluate=dataclasses.replace(recipe.evaluate, also=(tmp_path / "other",)))
    with pytest.raises(
        RecipeError, match=r'other: no segment is labelled "tone"; add some, or remove \[evaluate\] "also"'
    ):
        make_training_set(recipe, tone_task(tmp_path / "d"))


def test_what_it_is_tuned_on_besides_has_names_of_its_own(tmp_path):
    for folder in ("a", "b"):
        write_dataset(tmp_path / folder / "marked", [("x.wav", tone_of(2.0, 0.5, 1.0, 440.0), mark("tone", 0.4, 1.6))])
    also = tuple(tmp_path / folder / "marked" for folder in ("a", "b"))
    recipe = recipe_with(tmp_path)
    recipe = dataclasses.replace(recipe, evaluate=dataclasses.replace(recipe.evaluate, also=also))
    with pytest.raises(RecipeError, match=r'b/marked: \[evaluate\] "also" lists another file of this name; rename'):
        make_training_set(recipe, tone_task(tmp_path / "d"))


def groups_of(entries):
    return {entry.group for entry in entries}


@pytest.mark.parametrize("balance", ["", "source"])
def test_nothing_that_is_learned_from_is_in_the_tuning_set(tmp_path, balance):
    recipe, dataset = recipe_with(tmp_path), tone_task(tmp_path / "d")
    text = recipe.evaluate.conditions.read_text().replace("[mix]", f'[mix]\nbalance = "{balance}"')
    recipe.evaluate.conditions.write_text(text)
    recipe = dataclasses.replace(recipe, mix=dataclasses.replace(recipe.mix, balance=balance))
    source = make_training_set(recipe, dataset).source
    learned = groups_of(source.foreground.entries) | groups_of(source.background.entries)
    held_out = groups_of(part_entries(read_conditions(recipe.evaluate.conditions), dataset, "tune"))
    assert held_out
    assert not learned & held_out
    assert learned | held_out == groups_of(dataset.entries)


def test_what_was_learned_from_is_refused(tmp_path):
    dataset = tone_task(tmp_path / "d")
    learned = r'part "tune" shares \d+ group\(s\) with the training part, such as \w+; set "held_out"'
    with pytest.raises(RecipeError, match=learned):
        make_training_set(recipe_with(tmp_path, share=0.5), dataset)
    with pytest.raises(DatasetError, match='has no recording for part "seen"'):
        make_training_set(recipe_with(tmp_path, part="seen"), dataset)
    with pytest.raises(RecipeError, match='no part "tuning"'):
        make_training_set(recipe_with(tmp_path, part="tuning"), dataset)


def test_a_label_without_a_threshold_to_be_found_is_refused_before_the_training(tmp_path):
    dataset = tone_task(tmp_path / "d")
    recipe = recipe_with(tmp_path)
    text = recipe.evaluate.conditions.read_text().replace('labels = ["tone"]', 'labels = ["tone", "hum"]')
    recipe.evaluate.conditions.write_text(text)
    data = DataSettings(tmp_path, labels=("tone", "hum"))
    with pytest.raises(RecipeError, match='part "tune" has no recording of "hum"'):
        make_training_set(dataclasses.replace(recipe, data=data), dataset)


def test_clips_have_no_conditions(tmp_path):
    recordings = [
        (f"{label}{i}.wav", np.zeros(RATE), {"label": label, "group": f"{i}"}) for label in "ab" for i in range(4)
    ]
    with pytest.raises(RecipeError, match="conditions needs segments, but the data is whole clips"):
        make_training_set(recipe_with(tmp_path), write_dataset(tmp_path / "d", recordings))


def test_the_middle_of_a_hop_decides():
    notes = [Annotation(0.011, 0.03, "a"), Annotation(0.0, 0.009, "b"), Annotation(0.02, 0.03, "other")]
    targets = make_targets(notes, ("a", "b"), 450, 100, 10_000)
    assert targets.tolist() == [[0, 1], [1, 0], [1, 0], [0, 0], [0, 0]]


def test_a_recipe_names_its_conditions(tmp_path):
    (tmp_path / "some.toml").write_text("")
    path = tmp_path / "recipe.toml"
    path.write_text(
        '[evaluate]\nconditions = "some.toml"\npart = "other"\nalso = ["people", "b.tsv"]\ncalibrate = false\n'
    )
    here = tmp_path.resolve()
    assert read_recipe(path).evaluate == EvaluateSettings(
        "detection_error", here / "some.toml", "other", (here / "people", here / "b.tsv"), False
    )


def test_conditions_that_are_not_there_are_said_to_be_missing(tmp_path):
    recipe = dataclasses.replace(recipe_of(), evaluate=EvaluateSettings(conditions=tmp_path / "none.toml"))
    with pytest.raises(RecipeError, match=r"none\.toml: "):
        make_training_set(recipe, tone_task(tmp_path / "d"))
