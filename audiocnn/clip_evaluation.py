"""What an evaluation says of whole clips, as plain data: figures, labels, confusions, and the answer of each clip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from audiocnn.confusion import Confusion
from audiocnn.figures import Figure, figures_to_dict
from audiocnn.intervals import Floats

Answer = Literal["one", "several"]
"""One of the labels is the answer, the one with the highest score; or each label is one that reaches its threshold."""

EXAMPLES_WRONG, EXAMPLES_RIGHT = 20, 10
MOST_HEARD_PAIRS = 10


@dataclass(frozen=True)
class ClipLabel:
    """How well one label was told from the others. clips: that have it. threshold: None where none is used."""

    clips: int
    figures: dict[str, Figure]
    threshold: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """A part of report.json."""
        return {"clips": self.clips, "threshold": self.threshold, "figures": figures_to_dict(self.figures)}


@dataclass(frozen=True, eq=False)
class ClipAnswer:
    """One clip. labels: that it has. answers: that it was given. scores: (classes,), in the order of the labels.

    score: of the answer (of several the least sure one); own_score: of the label that it has (of several the least).
    right: None where the model does not know the label.
    """

    filename: str
    labels: tuple[str, ...]
    answers: tuple[str, ...]
    scores: NDArray[np.floating[Any]]
    score: float
    own_score: float
    right: bool | None

    def to_dict(self) -> dict[str, Any]:
        """A part of report.json."""
        return {
            "file": self.filename,
            "labels": list(self.labels),
            "answers": list(self.answers),
            "score": round(self.score, 6),
            "own_score": round(self.own_score, 6),
        }


@dataclass(frozen=True)
class ClipGroup:
    """The clips that have one value in a column."""

    clips: int
    figures: dict[str, Figure]

    def to_dict(self) -> dict[str, Any]:
        """A part of report.json."""
        return {"clips": self.clips, "figures": figures_to_dict(self.figures)}


@dataclass(frozen=True)
class ClipEvaluation:
    """How well whole clips were told apart, by their mean score.

    reliability: for each of 15 bins that hold an answer its mean score, the share that is right, and how many it holds.
    groups: by tag and value. answers: one a clip, in the order in which draws count them. drawn: the group of each.
    """

    clips: int
    figures: dict[str, Figure]
    labels: dict[str, ClipLabel]
    answer: Answer = "one"
    confusion: Confusion | None = None
    reliability: tuple[Floats, Floats, Floats] | None = field(default=None, repr=False, compare=False)
    groups: Mapping[str, Mapping[str, ClipGroup]] = field(default_factory=dict)
    answers: tuple[ClipAnswer, ...] = field(default=(), repr=False, compare=False)
    drawn: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def accuracy(self) -> Figure:
        """The share of right answers; not defined where clips have several labels."""
        return self.figures.get("accuracy", Figure(None))

    def examples(self) -> tuple[list[ClipAnswer], list[ClipAnswer]]:
        """Those to listen to: the wrong answers that were surest, then right ones, the least sure half of them first
        and last the surest."""
        wrong = [answer for answer in self.answers if answer.right is False]
        wrong.sort(key=lambda answer: (answer.own_score - answer.score, answer.filename))
        right = sorted((a for a in self.answers if a.right), key=lambda answer: (answer.score, answer.filename))
        unsure = right[: EXAMPLES_RIGHT // 2]
        return wrong[:EXAMPLES_WRONG], unsure + right[len(unsure) :][-(EXAMPLES_RIGHT - len(unsure)) :]

    def files_to_hear(self) -> list[str]:
        """The clips that the page plays, those first that matter most."""
        wrong, right = self.examples()
        pairs = self.confusion.pairs if self.confusion else ()
        confused = [file for pair in pairs[:MOST_HEARD_PAIRS] for file in pair.files]
        return list(dict.fromkeys([*(a.filename for a in wrong), *(a.filename for a in right), *confused]))

    def to_dict(self) -> dict[str, Any]:
        """A part of report.json."""
        wrong, right = self.examples()
        means, shares, counts = self.reliability or (np.zeros(0),) * 3
        return {
            "clips": self.clips,
            "answer": self.answer,
            "figures": figures_to_dict(self.figures),
            "labels": {label: found.to_dict() for label, found in self.labels.items()},
            "confusion": self.confusion.to_dict() if self.confusion else None,
            "pairs": [pair.to_dict() for pair in self.confusion.pairs] if self.confusion else [],
            "reliability": [
                [round(value, 6) for value in means.tolist()],
                [round(value, 6) for value in shares.tolist()],
                [round(count) for count in counts.tolist()],
            ],
            "groups": {
                tag: {value: found.to_dict() for value, found in values.items()} for tag, values in self.groups.items()
            },
            "examples": {
                "wrong": [answer.to_dict() for answer in wrong],
                "right": [answer.to_dict() for answer in right],
            },
            "notes": list(self.notes),
        }
