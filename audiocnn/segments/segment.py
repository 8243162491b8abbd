"""The content of recordings, in seconds: detected segments, annotations by people, and intervals of time."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

EPSILON_SECONDS = 1e-9
# A label may exceed its recording by this much, because encoders and people are inexact.
END_TOLERANCE_SECONDS = 0.05
# Usual names for all sounds other than those of interest.
BACKGROUND_LABELS = frozenset({"other", "others", "noise", "background", "silence", "none", "_background_noise_"})
NONE_LABEL = "other"  # the one that is given to a clip with none of the labels
NONE_OF_THESE = "none of these"  # what is shown for a clip that has none of the labels
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
    """A labelled segment of a recording; onset and offset are in seconds from its start."""

    onset: float
    offset: float
    label: str


def composed(label: str) -> str:
    """A label in Unicode's composed form (NFC), so that equal text is one label."""
    return label if label.isascii() else unicodedata.normalize("NFC", label)


def is_background_label(label: str) -> bool:
    return label.casefold() in BACKGROUND_LABELS


def means_the_rest(label: str, labels: Iterable[str]) -> bool:
    """Whether a label means all sounds that have none of the other labels. If other labels name kinds of it, such as
    "white noise" beside "noise", it is a sound like any other."""
    if not is_background_label(label):
        return False
    return not any(label.casefold() in re.split(r"[\W_]+", other.casefold()) for other in labels if other != label)


def merge(intervals: Iterable[tuple[float, float]], duration_seconds: float = math.inf) -> Floats:
    """(start, end) pairs in any order -> (n, 2) in seconds, sorted and clipped to the recording. Empty intervals are
    dropped, and overlapping or touching ones are merged."""
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
