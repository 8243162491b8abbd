"""Where the labels of recordings are, as options say: `LabelPlace`, the words of a command that say so, and the names
of tables of corrections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from audiocnn.errors import as_argument

DOUBTFUL_TABLE = "doubtful.tsv"  # what `doubtful` writes by default
CORRECTED = "-corrected"  # added to its name by the page, which makes a corrected table
REVIEW_TABLE = "corrections.csv"  # what `review` writes by default


class LabelPlace(Protocol):
    """Where the labels of recordings stand, where these alone do not tell. label_column: of a table. labels: a file of
    them for all recordings, or a folder."""

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


NOWHERE = GivenLabels()  # but with the recordings


def label_words(labels: LabelPlace) -> list[str]:
    """The options that say where labels are, as words of a command."""
    given = {"--labels": labels.labels, "--label-column": labels.label_column, "--label-map": labels.label_map}
    return [word for name, value in given.items() if value is not None for word in (name, as_argument(value))]
