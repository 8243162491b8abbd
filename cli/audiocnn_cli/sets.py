"""What `evaluate` judges on: a source, a part of it, or the set that a file of conditions makes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from audiocnn.errors import UsageError, did_you_mean
from audiocnn_cli.progress import Bar
from audiocnn_cli.terminal import Terminal

if TYPE_CHECKING:
    from audiocnn.conditions import Conditions
    from audiocnn.dataset import Dataset
    from audiocnn.recipe import Recipe
    from audiocnn.sources import DataSettings

PARTS = ("train", "validation", "test")  # of a training
REPORTED = "dev"  # the part that figures are of, unless another is asked for


def check_columns(dataset: Dataset, columns: Sequence[str], data: str) -> None:
    """UsageError for a column of --by that no recording has."""
    known = sorted({name for entry in dataset.entries for name in entry.tags})
    for column in columns:
        if column not in known:
            there = did_you_mean(column, known) if known else "it has none; leave --by out"
            raise UsageError(f'--by: no column "{column}" in {data}; {there}')


def part_of(data: str, split: str | None) -> str | None:
    """What `--split` means: a part of conditions, if data are such, and else a split, or all."""
    from audiocnn.conditions import is_conditions

    return REPORTED if split is None and is_conditions(data) else split


def recordings_of(conditions: Conditions, part: str) -> DataSettings:
    """What to ingest for the set of a part: the recordings of its split, no others."""
    return dataclasses.replace(conditions.data, split=conditions.part(part).split)


def set_of(conditions: Conditions, dataset: Dataset, part: str, folder: Path, terminal: Terminal) -> Dataset:
    """The set, made of ingested recordings into `folder`, or found there."""
    from audiocnn.condition_sets import make_set

    with Bar(terminal, "mix") as bar:
        return make_set(
            conditions,
            dataset,
            part,
            folder,
            lambda done, total, name: bar.update(done, total, f"{done} of {total}"),
        )


def part_in(dataset: Dataset, part: str | None, recipe: Recipe | None) -> tuple[Dataset, str | None]:
    """The split of this name; where there is none, the part of this name that a training by the recipe cuts."""
    if recipe is not None and part in PARTS and all(entry.split != part for entry in dataset.entries):
        return cut_out(dataset, recipe, part), None
    return dataset, part


def cut_out(dataset: Dataset, recipe: Recipe, part: str) -> Dataset:
    """The part that a training by the recipe cuts from data without such a split. UsageError where it cuts none."""
    from audiocnn.cutting import divide

    division = divide(dataset, recipe)
    entries = {"train": division.train, "validation": division.validation, "test": division.test}[part]
    if not entries:
        why = f": {'; '.join(division.notes)}" if division.notes else ""
        raise UsageError(f"--split {part}: the data has no such split, and the recipe cuts none{why}; leave it out")
    return dataset.with_entries(entries)


def source_of(data: str, split: str | None, several: bool) -> tuple[Path | DataSettings, str | None, Recipe | None]:
    """The source to ingest, the split to ask of the dataset, and the recipe where it is one: one that names a split
    leaves others out by itself. several: a model gives clips several labels, and a table may, too."""
    from audiocnn.filenames import show_name
    from audiocnn.originals import with_several
    from audiocnn.sources import DataSettings
    from audiocnn.sources.label_files import holds_labels
    from audiocnn.sources.settings import TABLE_SUFFIXES

    if not Path(data).exists():
        raise UsageError(f"{data}: no such file or folder; check the name")
    if Path(data).suffix.lower() in TABLE_SUFFIXES and not holds_labels(Path(data)):
        return with_several(DataSettings(Path(data), where=show_name(data)), several), split, None
    if not data.endswith(".toml"):
        return Path(data), split, None
    from audiocnn.recipe import read_recipe

    recipe = read_recipe(Path(data))
    settings = recipe.data
    if settings is None:
        raise UsageError(f"{data}: has no [data]; add it, or name the recordings")
    if settings.split is None and split in PARTS:
        return settings, split, recipe  # maybe the data has no splits, and a training cuts its own
    return dataclasses.replace(settings, split=split or settings.split), None, None
