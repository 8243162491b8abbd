"""Results as pandas tables. pandas is not needed for anything else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from audiocnn.packages import check_packages

if TYPE_CHECKING:
    import pandas


def data_frame(columns: Mapping[str, Sequence[Any]]) -> pandas.DataFrame:
    """A table of these columns. MissingPackageError if pandas is not installed."""
    check_packages("to_dataframe()", ["pandas"])
    import pandas

    return pandas.DataFrame(columns)
