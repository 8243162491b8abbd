"""Which answers the clips of each label got, and which two labels are taken for each other most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_LABELS = 200  # of more, report.json has the pairs alone: the matrix grows with the square
MOST_PAIRS = 20
FILES_A_PAIR = 5


@dataclass(frozen=True)
class Pair:
    """Clips that have `label` and got `answer`: how many, what share of the clips of the label, and some of them, those
    with the surest wrong answer first."""

    label: str
    answer: str
    clips: int
    share: float
    files: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """A part of report.json."""
        about = {"label": self.label, "answer": self.answer, "clips": self.clips, "share": round(self.share, 6)}
        return {**about, "files": list(self.files)}


@dataclass(frozen=True)
class Confusion:
    """cells: (label, answer), as numbers of `labels`, -> how many clips; those of none are left out."""

    labels: tuple[str, ...]
    cells: dict[tuple[int, int], int]
    pairs: tuple[Pair, ...]

    def counts(self) -> NDArray[np.int64]:
        """(labels, answers)."""
        found = np.zeros((len(self.labels), len(self.labels)), np.int64)
        for (row, column), clips in self.cells.items():
            found[row, column] = clips
        return found

    def to_dict(self) -> dict[str, Any] | None:
        """A part of report.json; None for more labels than a matrix is good for."""
        if len(self.labels) > MOST_LABELS:
            return None
        return {"labels": list(self.labels), "counts": self.counts().tolist()}


def confuse(
    labels: Sequence[str],
    truth: NDArray[np.int64],
    answer: NDArray[np.int64],
    filenames: Sequence[str],
    sureness: NDArray[np.floating[Any]],
) -> Confusion:
    """Of clips, by number of the label, (clips,) each. sureness: by how much a clip's answer is above its label."""
    counted, cells = np.unique(truth * len(labels) + answer, return_counts=True)
    found = {divmod(int(cell), len(labels)): int(clips) for cell, clips in zip(counted, cells, strict=True)}
    totals = np.bincount(truth, minlength=len(labels))
    wrong = sorted(
        ((row, column, clips, clips / totals[row]) for (row, column), clips in found.items() if row != column),
        key=lambda cell: (-cell[2], -cell[3], cell[0], cell[1]),
    )
    pairs = []
    for row, column, clips, share in wrong[:MOST_PAIRS]:
        held = np.flatnonzero((truth == row) & (answer == column))
        held = held[np.argsort(-sureness[held], kind="stable")][:FILES_A_PAIR]
        files = tuple(filenames[int(k)] for k in held)
        pairs.append(Pair(labels[row], labels[column], clips, float(share), files))
    return Confusion(tuple(labels), found, tuple(pairs))
