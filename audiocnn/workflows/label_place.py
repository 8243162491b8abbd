"""The place of the labels of recordings, as given by options: `LabelPlace`, the same as words of a command, and the
names of tables of corrections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from audiocnn.errors import as_argument

DOUBTFUL_TABLE = "doubtful.tsv"  # what `doubtful` writes by default
CORRECTED = "-corrected"  # added to its name by the page, which makes a corrected table
REVIEW_TABLE = "corrections.csv"  # what `review` writes by default


class LabelPlace(Protocol):
    """The place of the labels, if it cannot be found from the recordings. label_column: of a table. labels: a file of
    labels for all recordings, or a folder."""

    @property
    def label_column(self) -> str | None: ...

    @property
    def label_map(self) -> str | None: ...

    @property
    def labels(self) -> str | None: ...


@dataclass(frozen=True)
class GivenLabels:
    """A `LabelPlace`."""

    label_column: str | None = None
    label_map: str | None = None
    labels: str | None = None


NOWHERE = GivenLabels()  # only with the recordings


def label_words(labels: LabelPlace) -> list[str]:
    """The options that give the place of the labels, as words of a command."""
    given = {"--labels": labels.labels, "--label-column": labels.label_column, "--label-map": labels.label_map}
    return [word for name, value in given.items() if value is not None for word in (name, as_argument(value))]
