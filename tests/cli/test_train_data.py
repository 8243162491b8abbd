"""`train DATA --recipe`: data other than the recipe's, and the keys of its [data] that still apply."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from fixtures_models import RATE, mark, recipe_of, write_dataset

from audiocnn.data.sources.settings import DataSettings
from audiocnn.errors import UsageError
from audiocnn.training.batches import make_training_set
from audiocnn.workflows.plan import with_data


def recordings(splits):
    for number, split in enumerate(splits):
        sound = np.random.default_rng(number).normal(0, 0.1, RATE)
        yield f"tone{number}.wav", sound, {**mark("tone", 0.1, 0.7), "group": f"g{number}", "split": split}
        yield f"hiss{number}.wav", sound, {"annotated": True, "group": f"h{number}", "split": split}


def recipe_with(folder, split):
    return dataclasses.replace(recipe_of(), data=DataSettings(folder, split=split, labels=("tone",)))


def test_what_a_recipe_keeps_for_reports_is_not_learned_from(tmp_path):
    dataset = write_dataset(tmp_path / "d", recordings(["train"] * 8 + ["dev"] * 4))
    recipe = with_data(recipe_with(tmp_path, "train"), dataset.folder)
    assert (recipe.data.source, recipe.data.split, recipe.data.labels) == (dataset.folder, "train", ("tone",))
    assert sum(make_training_set(recipe, dataset).groups.values()) == 16


@pytest.mark.parametrize("splits", [[None] * 4, ["one", "two"] * 2])
def test_a_dataset_without_that_split_is_learned_from_as_a_whole(tmp_path, splits):
    dataset = write_dataset(tmp_path / "d", recordings(splits))
    recipe = with_data(recipe_with(tmp_path, "train"), dataset.folder)
    assert recipe.data.split is None
    assert sum(make_training_set(recipe, dataset).groups.values()) == 8


def test_other_data_must_be_there(tmp_path):
    with pytest.raises(UsageError, match="nowhere: no such file or folder"):
        with_data(recipe_with(tmp_path, "train"), tmp_path / "nowhere")
