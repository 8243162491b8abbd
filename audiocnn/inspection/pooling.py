"""Long series as a bounded number of columns, whatever their length, which nobody knows before the end.

When there are twice as many columns as wanted, neighbours are joined two by two; a column then stands for twice as
many values. Memory does not grow.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float32]
Join = Callable[[Values], Values]
"""(columns, n, ...) -> (columns, ...)."""


def lowest(values: Values) -> Values:
    """The smallest of each column."""
    joined: Values = values.min(axis=1)
    return joined


def highest(values: Values) -> Values:
    """The largest of each column."""
    joined: Values = values.max(axis=1)
    return joined


def average(values: Values) -> Values:
    """The mean of each column."""
    joined: Values = values.mean(axis=1)
    return joined


class Pool:
    """Takes values (n, ...) in order; gives at most `most` columns of `factor` values each, the last maybe of fewer."""

    def __init__(self, most: int, join: Join, factor: int = 1) -> None:
        self.most, self.join, self.factor = most, join, factor
        self._columns: list[Values] = []
        self._count = 0  # of whole columns
        self._rest: Values | None = None  # values of the next column

    def push(self, values: Values) -> None:
        """The next values."""
        if self._rest is not None and len(self._rest):
            values = np.concatenate([self._rest, values])
        whole = len(values) // self.factor
        self._rest = values[whole * self.factor :].copy()
        if whole:
            self._columns.append(
                self.join(values[: whole * self.factor].reshape(whole, self.factor, *values.shape[1:]))
            )
            self._count += whole
        while self._count > self.most:
            self._halve()

    def columns(self, empty: tuple[int, ...] = (0,)) -> Values:
        """(columns, ...) of all values; of none, `empty` is the shape. Ends the series."""
        last = [self.join(self._rest[None])] if self._rest is not None and len(self._rest) else []
        self._rest = None
        return np.concatenate([*self._columns, *last]) if self._columns or last else np.zeros(empty, np.float32)

    def _halve(self) -> None:
        """Joins pairs. A column without a neighbour goes back to the values that wait, as so many like it."""
        columns = np.concatenate(self._columns)
        pairs = len(columns) // 2
        joined = self.join(columns[: 2 * pairs].reshape(pairs, 2, *columns.shape[1:]))
        alone = np.repeat(columns[2 * pairs :], self.factor, axis=0)
        self._rest = alone if self._rest is None else np.concatenate([alone, self._rest])
        self.factor *= 2
        self._columns, self._count = [joined], pairs
