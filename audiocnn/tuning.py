"""What a training stops by, tunes its thresholds on and calibrates by: the tuning set of a file of conditions."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from audiocnn.condition_sets import make_set, part_entries
from audiocnn.conditions import read_conditions
from audiocnn.dataset import Dataset, Entry
from audiocnn.errors import RecipeError
from audiocnn.filenames import show_name
from audiocnn.labels import Annotation
from audiocnn.mixing import Example, Targets
from audiocnn.recipe import Recipe


def tuning_examples(recipe: Recipe, dataset: Dataset, learned: Sequence[Entry]) -> list[Example]:
    """Every recording of the part that the recipe's conditions name, whole, with targets for each hop.

    RecipeError where it holds a group that is `learned` from, or lacks a label that thresholds are wanted for.
    """
    settings = recipe.evaluate
    assert settings.conditions is not None
    conditions = read_conditions(settings.conditions)
    own = {group_of(entry) for entry in learned}
    if shared := sorted(own & {group_of(entry) for entry in part_entries(conditions, dataset, settings.part)}):
        raise RecipeError(
            f'{settings.conditions}: part "{settings.part}" has {len(shared)} group(s) that the training learns from,'
            f' such as {show_name(shared[0])}; "held_out", "balance" and [data] must be those of the recipe'
        )
    labels = (recipe.data.labels if recipe.data else None) or dataset.labels
    hop_samples = recipe.spec.geometry().hop_samples
    with tempfile.TemporaryDirectory(prefix="audiocnn-") as folder:
        made = make_set(conditions, dataset, settings.part, Path(folder) / "set")
        examples = [example_of(made, entry, labels, hop_samples) for entry in made.entries]
    for column, label in enumerate(labels):
        if not any(example.targets[:, column].any() for example in examples):
            raise RecipeError(f'{settings.conditions}: nothing in part "{settings.part}" is labelled "{label}"; add it')
    return examples


def group_of(entry: Entry) -> str:
    """What must not be in two parts: the group, or the recording that stands alone."""
    return entry.group or entry.filename


def example_of(dataset: Dataset, entry: Entry, labels: tuple[str, ...], hop_samples: int) -> Example:
    """A whole recording, mono, as training has examples."""
    samples = dataset.samples(entry).astype(np.float32).mean(axis=0, keepdims=True) / np.float32(32768.0)
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
