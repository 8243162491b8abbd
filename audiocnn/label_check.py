"""Whether every label can be learned, found out before any time is spent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from audiocnn.cutting import Division
from audiocnn.dataset import Dataset, Entry
from audiocnn.errors import DatasetError, did_you_mean

if TYPE_CHECKING:
    from audiocnn.recipe import Recipe


def check_labels(recipe: Recipe, dataset: Dataset, division: Division, labels: Sequence[str]) -> None:
    """DatasetError for a label that nothing to learn from has. Where parts are cut again and again, as for folds, a
    rare label may be in another one; and noise that is made needs no recording."""
    if recipe.data is not None and (recipe.data.test_fold is not None or recipe.data.training_share < 1.0):
        return
    learned = labels_in(dataset, division.train)
    for label in labels:
        if label in learned or label == recipe.mix.coloured_label:
            continue
        where = f'{dataset.folder}: nothing to learn from is labelled "{label}"'
        if label not in labels_in(dataset, dataset.entries):
            known = sorted(labels_in(dataset, dataset.entries))
            raise DatasetError(f"{where}, nor anything else; {did_you_mean(label, known)}")
        parts = {"stops the training": division.validation, "is tested on": division.test}
        other = next((name for name, part in parts.items() if label in labels_in(dataset, part)), "is left out")
        raise DatasetError(f"{where}, only what {other}; add recordings of it, or name the [data] labels without it")


def labels_in(dataset: Dataset, entries: Sequence[Entry]) -> set[str]:
    """The labels that these recordings have, as wholes or in stretches."""
    found = {label for entry in entries for label in entry.labels}
    return found | {note.label for entry in entries if entry.annotated for note in dataset.annotations(entry)}
