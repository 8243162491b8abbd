"""Trains one recipe several times: on every fold in turn, or on growing shares of the training part."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from audiocnn.data.dataset import Dataset
from audiocnn.data.parts import fold_column, is_learned_split, ordered_folds
from audiocnn.errors import DatasetError, UsageError
from audiocnn.evaluation.results import Figure, figures_to_dict
from audiocnn.recipe.division import choose_folds, divide
from audiocnn.recipe.recipe import Recipe

FOLD_REPEATS, CURVE_REPEATS = "folds", "learning_curve"


@dataclass(frozen=True)
class Repeat:
    """name: of its folder. value: the fold, or the share of the training part."""

    name: str
    value: str | float
    recipe: Recipe


@dataclass(frozen=True)
class RepeatResult:
    """clips: the numbers of training, validation and test clips. figures: of the test."""

    repeat: Repeat
    clips: tuple[int, int, int]
    figures: Mapping[str, Figure]

    def to_dict(self, kind: str) -> dict[str, Any]:
        """As JSON. `clips` is the number of test clips of a fold, or of training clips of a share."""
        learned, stopped, tested = self.clips
        key, clips = ("fold", tested) if kind == FOLD_REPEATS else ("share", learned)
        said = {key: self.repeat.value, "run": self.repeat.name, "clips": clips}
        said |= {"train": learned, "validation": stopped, "test": tested}
        return said | {"figures": figures_to_dict(self.figures)}

    def value(self, name: str) -> float | None:
        return self.figures[name].value if name in self.figures else None


def fold_repeats(recipe: Recipe, dataset: Dataset, count: int) -> list[Repeat]:
    """One training per fold, which is tested on that fold and trained on the others. Official folds, in the recipe's
    column or the data's own, must be `count` in number.

    UsageError: segments, or another number of folds. RecipeError: fewer groups than folds.
    """
    _check(recipe, dataset, "--folds")
    assert recipe.data is not None
    data = dataclasses.replace(recipe.data, test_fold=None)
    column = data.fold or (None if data.folds else fold_column(entry.tags for entry in dataset.entries))
    data = dataclasses.replace(data, folds=count if column is None else 0)
    recipe = dataclasses.replace(recipe, data=data)
    entries = [entry for entry in dataset.entries if is_learned_split(entry.split, data.split)]
    whole = dataclasses.replace(recipe, data=dataclasses.replace(data, fold=column))
    values = ordered_folds(set(choose_folds(dataset, entries, whole).values()))
    if len(values) != count:
        remedy = f"ask for {len(values)}" + ("" if data.fold else f", or set folds = {count} in a recipe to replace it")
        raise UsageError(f'--folds {count}: the column "{column}" has {len(values)} folds; {remedy}')
    return [
        Repeat(f"fold-{number}", value, _with(recipe, f"fold-{number}", test_fold=value))
        for number, value in enumerate(values, 1)
    ]


def curve_repeats(recipe: Recipe, dataset: Dataset, shares: Sequence[float]) -> list[Repeat]:
    """One training on each share of the training part. All use the same clips for validation and testing."""
    _check(recipe, dataset, "--learning-curve")
    check_shares(shares)
    if not divide(dataset, recipe).test:
        raise DatasetError(
            f"{dataset.folder}: no recordings are set aside for testing; add a split named test, or more recordings"
        )
    ordered = sorted(set(shares))
    return [
        Repeat(f"share-{share:g}", share, _with(recipe, f"share-{share:g}", training_share=share)) for share in ordered
    ]


def check_shares(shares: Sequence[float]) -> None:
    """UsageError for an invalid share."""
    if not all(0.0 < share <= 1.0 for share in shares):
        raise UsageError("--learning-curve: shares must be above 0 and at most 1, such as 0.1,0.3,1")


def summarize_repeats(kind: str, results: Sequence[RepeatResult]) -> dict[str, Any]:
    """The contents of folds.json and learning_curve.json. For folds, also the mean and sample standard deviation."""
    rows = [result.to_dict(kind) for result in results]
    if kind == CURVE_REPEATS:
        return {"schema": 1, "type": kind, "points": rows}
    figures: dict[str, dict[str, float]] = {}
    for name in results[0].figures:
        values = [value for result in results if (value := result.value(name)) is not None]
        if len(values) == len(results):
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            figures[name] = {"mean": round(statistics.fmean(values), 6), "spread": round(spread, 6)}
    return {"schema": 1, "type": kind, "folds": rows, "figures": figures}


def _with(recipe: Recipe, name: str, **values: Any) -> Recipe:
    assert recipe.data is not None
    data = dataclasses.replace(recipe.data, **values)
    return dataclasses.replace(recipe, name=f"{recipe.name}-{name}", data=data)


def _check(recipe: Recipe, dataset: Dataset, option: str) -> None:
    if recipe.data is None or any(entry.annotated for entry in dataset.entries):
        raise UsageError(f"{option} is for whole clips, but these recordings have segments; test on another --split")
