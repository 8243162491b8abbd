"""Results as tables of pandas, which is not needed for anything else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from audiocnn.errors import UsageError

if TYPE_CHECKING:
    import pandas


def data_frame(columns: Mapping[str, Sequence[Any]]) -> pandas.DataFrame:
    """A table of these columns. UsageError where pandas is not installed."""
    try:
        import pandas
    except ImportError:
        raise UsageError("to_dataframe() needs pandas, which is not installed: pip install pandas") from None
    return pandas.DataFrame(columns)
