"""From a folder of one's own sounds to a recipe: what is known of the clips, and the rate that they are learned at."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np

from audiocnn.choosing import Facts, choose_rate
from audiocnn.cutting import Division
from audiocnn.dataset import Dataset
from audiocnn.errors import DatasetError
from audiocnn.fitting import spec_at_rate
from audiocnn.originals import Originals
from audiocnn.recipe import Recipe


def facts_of(dataset: Dataset, recipe: Recipe) -> Facts:
    """The facts of a dataset of whole clips. DatasetError where no clip has a label."""
    wanted = recipe.data.labels if recipe.data else None
    several = recipe.data is not None and recipe.data.labels_per_clip == "several"
    clips = [entry for entry in dataset.entries if entry.labels and entry.samples]
    counts = Counter(label for entry in clips for label in entry.labels if not wanted or label in wanted)
    if not counts:
        raise DatasetError(f"{dataset.folder}: no recording has a label; put each into a folder of its label")
    shortest, median, most, longest = np.quantile(
        [dataset.duration_seconds(entry) for entry in clips], [0.0, 0.5, 0.9, 1.0]
    )
    seconds = (float(shortest), float(median), float(most), float(longest))
    return Facts(dict(counts), seconds, dataset.sample_rate, several)


def rate_for(recipe: Recipe, originals: Originals | None, dataset: Dataset | None, given: bool) -> int:
    """The rate in Hz to learn at: that of a dataset; that of a network that was named; else what recordings have."""
    if dataset is not None and recipe.transfer is None:
        return dataset.sample_rate
    if given or originals is None:
        return recipe.spec.input.sample_rate
    return choose_rate(originals.rates)


def at_rate(recipe: Recipe, rate: int) -> Recipe:
    """The recipe with network and data at a rate in Hz. Groups of another model know no other rate than theirs."""
    data = None if recipe.data is None else dataclasses.replace(recipe.data, sample_rate=rate)
    return dataclasses.replace(recipe, data=data, spec=spec_at_rate(recipe.spec, rate))


def part_lines(division: Division, dataset: Dataset) -> list[str]:
    """How many clips are for what, and whether what belongs together is known to be."""
    counts = [f"{len(division.train)} to learn from", f"{len(division.validation)} to stop by"]
    counts += [f"{len(division.test)} to test on ({division.tested_on})"] if division.test else []
    alone = len({entry.group for entry in dataset.entries}) == len(dataset.entries)
    kept = "each clip on its own; --group-pattern keeps a speaker or a session in one part" if alone else "by group"
    return [f"parts: {', '.join(counts)}", f"cut: {kept}"]
