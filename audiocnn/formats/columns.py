"""Rows of numbers as text, many at a time: the digits of Python's `round` and `repr`, for a fraction of the time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

NEAR_TIE = 1e-3  # far above what the product below is off, for any time and any score


def rounded(values: ArrayLike, digits: int) -> list[float]:
    """`round(value, digits)` of each of (n,) numbers."""
    exact = np.asarray(values, dtype=np.float64)
    scaled = exact * 10.0**digits
    whole = np.rint(scaled)
    found: list[float] = (whole / 10.0**digits).tolist()
    # Python rounds the number itself; its product with a power of ten may lie on the other side of a half.
    for k in np.flatnonzero(np.abs(scaled - whole) > 0.5 - NEAR_TIE).tolist():
        found[k] = round(float(exact[k]), digits)
    return found


def texts(values: ArrayLike, digits: int) -> list[str]:
    """The same as text."""
    return list(map(repr, rounded(values, digits)))


def side_by_side(rows: int, columns: Sequence[str | list[str]]) -> str:
    """So many rows; a column is a list with a text a row, or one text for all of them."""
    parts = [""] * (rows * len(columns))
    for k, column in enumerate(columns):
        parts[k :: len(columns)] = [column] * rows if isinstance(column, str) else column
    return "".join(parts)
