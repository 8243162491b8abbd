"""What is in a recording: segments that were found, annotations by a person, and intervals of time, in seconds."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

EPSILON_SECONDS = 1e-9
# A label may reach so far past its recording: encoders and people are inexact.
END_TOLERANCE_SECONDS = 0.05
# What people call the sounds that are none of those which they want to tell apart.
BACKGROUND_LABELS = frozenset({"other", "others", "noise", "background", "silence", "none", "_background_noise_"})
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Segment:
    """Start and end in seconds, the label, and the mean score over the segment."""

    start: float
    end: float
    label: str
    score: float


@dataclass(frozen=True, slots=True)
class Annotation:
    """One labelled stretch of a recording; onset and offset in seconds from its start."""

    onset: float
    offset: float
    label: str


def composed(label: str) -> str:
    """A label in Unicode's composed form (NFC), so that the same letters are one label."""
    return label if label.isascii() else unicodedata.normalize("NFC", label)


def is_background_label(label: str) -> bool:
    return label.casefold() in BACKGROUND_LABELS


def means_the_rest(label: str, labels: Iterable[str]) -> bool:
    """Whether a label is that of all sounds which are none of the others. Where others name kinds of it, as "white
    noise" beside "noise" does, it is one sound among many."""
    if not is_background_label(label):
        return False
    return not any(label.casefold() in re.split(r"[\W_]+", other.casefold()) for other in labels if other != label)


def merge(intervals: Iterable[tuple[float, float]], duration_seconds: float = math.inf) -> Floats:
    """(start, end) pairs in any order -> (n, 2), in seconds, sorted, clipped to the recording; empty ones are left out,
    and those that overlap or touch are merged."""
    pairs = np.array(sorted(intervals), dtype=np.float64).reshape(-1, 2).clip(0.0, duration_seconds)
    pairs = pairs[pairs[:, 1] > pairs[:, 0]]
    if not len(pairs):
        return pairs
    ends = np.maximum.accumulate(pairs[:, 1])
    first = np.concatenate(([True], pairs[1:, 0] > ends[:-1] + EPSILON_SECONDS))
    last = np.concatenate((first[1:], [True]))
    return np.stack((pairs[first, 0], ends[last]), axis=1)


def inside(intervals: Floats, times: Floats) -> Bools:
    """Whether each of `times` lies in one of the merged intervals."""
    odd: Bools = np.searchsorted(intervals.ravel(), times, side="right") % 2 == 1
    return odd
