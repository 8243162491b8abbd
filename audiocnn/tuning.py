"""What a training stops by, tunes its thresholds on and calibrates by: the tuning set of a file of conditions."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from audiocnn.condition_sets import make_set
from audiocnn.conditions import read_conditions
from audiocnn.dataset import Dataset, Entry
from audiocnn.errors import RecipeError
from audiocnn.labels import Annotation
from audiocnn.mixing import Example, Targets
from audiocnn.recipe import Recipe


def tuning_examples(recipe: Recipe, dataset: Dataset) -> list[Example]:
    """Every recording of the part that the recipe's conditions name, whole, with targets for each hop.

    RecipeError where the part holds out less than the training does, or draws from another balance: then it would be
    tuned on what it has learned from.
    """
    settings = recipe.evaluate
    assert settings.conditions is not None
    conditions = read_conditions(settings.conditions)
    part = conditions.part(settings.part)
    learned = (recipe.train.validation_share, recipe.mix.balance)
    if part.held_out and (part.held_out, conditions.balance) != learned:
        raise RecipeError(
            f'{settings.conditions}: part "{settings.part}" holds out {part.held_out:g} balanced by'
            f' "{conditions.balance}", the recipe {learned[0]:g} by "{learned[1]}"; make them the same'
        )
    if not part.held_out and recipe.data and part.split == recipe.data.split:
        raise RecipeError(f'{settings.conditions}: part "{settings.part}" is learned from; give it "held_out"')
    labels = (recipe.data.labels if recipe.data else None) or dataset.labels
    hop_samples = recipe.spec.geometry().hop_samples
    with tempfile.TemporaryDirectory(prefix="audiocnn-") as folder:
        made = make_set(conditions, dataset, settings.part, Path(folder) / "set")
        return [example_of(made, entry, labels, hop_samples) for entry in made.entries]


def example_of(dataset: Dataset, entry: Entry, labels: tuple[str, ...], hop_samples: int) -> Example:
    """A whole recording, mono, as training has examples."""
    samples = dataset.samples(entry)[:1].astype(np.float32) / np.float32(32768.0)
    rate = dataset.sample_rate
    return Example(samples, targets_of(dataset.annotations(entry), labels, samples.shape[1], hop_samples, rate))


def targets_of(
    annotations: list[Annotation], labels: tuple[str, ...], samples: int, hop_samples: int, sample_rate: int
) -> Targets:
    """(rows, labels): 1 where the middle of the hop lies in an annotation of the label."""
    middles = (np.arange(-(-samples // hop_samples)) + 0.5) * hop_samples / sample_rate
    targets = np.zeros((len(middles), len(labels)), dtype=np.float32)
    for note in annotations:
        if note.label in labels:
            inside = (note.onset <= middles) & (middles < note.offset)
            targets[inside, labels.index(note.label)] = 1.0
    return targets
