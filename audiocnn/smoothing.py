"""Scores smoothed over time, so that detectors whose answers last differently long can be compared on one footing."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LEAST_PROBABILITY = 1e-6


def smooth_scores(scores: NDArray[Any], row_seconds: float, over_seconds: float) -> NDArray[np.float32]:
    """(rows,) in [0, 1] -> (rows,) in (0, 1): the centred mean of the log-odds over so many seconds.

    Each row counts for as much of it as lies inside: of 60 rows around a middle, 59 count in full and two by half. At
    the ends of a recording it is the mean of what is there. Less than a row is a row. Probabilities are first held
    between 1e-6 and 1 - 1e-6.
    """
    if not len(scores):
        return scores.astype(np.float32)
    held = scores.astype(np.float64).clip(LEAST_PROBABILITY, 1.0 - LEAST_PROBABILITY)
    log_odds = np.log(held) - np.log1p(-held)
    # The integral of the log-odds at the borders of rows, straight between them; times are in rows.
    integral, borders = np.append(0.0, np.cumsum(log_odds)), np.arange(len(held) + 1.0)
    middles, half = np.arange(len(held)) + 0.5, max(over_seconds / row_seconds, 1.0) / 2
    begins, ends = (middles - half).clip(0.0), (middles + half).clip(None, len(held))
    sums = np.interp(ends, borders, integral) - np.interp(begins, borders, integral)
    smoothed: NDArray[np.float32] = (1.0 / (1.0 + np.exp(-sums / (ends - begins)))).astype(np.float32)
    return smoothed
