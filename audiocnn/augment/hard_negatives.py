"""Hard negatives: segments of backgrounds that a model mistook for a label and that are drawn more often.

A table has one row a segment: `filename onset offset weight`, in seconds. `[mix] hard_negatives` names it. Segments of
recordings that are not used for training, such as held-out ones, are ignored.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from audiocnn.augment.effects import Random
from audiocnn.data.dataset import Dataset, Entry
from audiocnn.errors import RecipeError, did_you_mean, show_name
from audiocnn.labels.formats.text import read_table
from audiocnn.units import to_samples

HARD_COLUMNS = ("filename", "onset", "offset", "weight")


@dataclass(frozen=True)
class HardNegative:
    """onset, offset: in samples at the dataset's rate."""

    entry: Entry
    onset: int
    offset: int
    weight: float


class HardNegativeSampler:
    """Draws segments in proportion to their weights."""

    def __init__(self, stretches: Sequence[HardNegative]) -> None:
        self.stretches = list(stretches)
        self.cumulative = np.cumsum([stretch.weight for stretch in stretches])

    def draw(self, random: Random) -> HardNegative:
        at = int(np.searchsorted(self.cumulative, random.random() * self.cumulative[-1], "right"))
        return self.stretches[min(at, len(self.stretches) - 1)]


def read_hard_negatives(path: Path, dataset: Dataset, entries: Iterable[Entry]) -> list[HardNegative]:
    """The segments of a table that lie in the given entries of a dataset. Raises RecipeError for a missing table, an
    invalid row, or a recording that the dataset does not contain."""
    if not path.is_file():
        raise RecipeError(f'[mix] "hard_negatives": no such file {show_name(path)}; its path is relative to the recipe')
    table = read_table(path)
    for column in HARD_COLUMNS:
        if column not in table.columns:
            raise RecipeError(f'{show_name(path)}:1: no column "{column}"; {did_you_mean(column, table.columns)}')
    known = {entry.filename for entry in dataset.entries}
    wanted = {entry.filename: entry for entry in entries}
    found = []
    for line, row in table.rows:
        name = row["filename"]
        if name not in known:
            remedy = "make the table from these recordings, or remove hard_negatives"
            raise RecipeError(
                f"{show_name(path)}:{line}: {dataset.folder} does not contain {show_name(name)}; {remedy}"
            )
        try:
            onset, offset, weight = (float(row[column]) for column in HARD_COLUMNS[1:])
        except ValueError:
            onset = offset = weight = math.nan
        if not (0 <= onset < offset < math.inf and 0 < weight < math.inf):
            cells = " ".join(row[column] for column in HARD_COLUMNS[1:])
            what = f'expected an onset, a later offset and a weight above 0, not "{show_name(cells)}"'
            raise RecipeError(f"{show_name(path)}:{line}: {what}; correct the row")
        if name in wanted:
            rate = dataset.sample_rate
            found.append(HardNegative(wanted[name], to_samples(onset, rate), to_samples(offset, rate), weight))
    return found
