"""How far long work is: `Progress`, which `train`, `evaluate` and `detect_many` hand to a callback of the caller."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """One moment of long work.

    stage: "ingest" (recordings are read), "survey" (they are looked at), "train", "test", "evaluate", "detect" or
    "classify". done, total: recordings, or steps of all epochs; total is None where nobody knows. text: a few words for
    a person, such as the name of the recording. epoch, loss, figure: of a training; figure is what the best epoch is
    chosen by, once an epoch has ended.
    """

    stage: str
    done: int
    total: int | None
    text: str = ""
    epoch: int | None = None
    loss: float | None = None
    figure: float | None = None


ProgressCallback = Callable[[Progress], object]
"""What it returns is ignored; an exception that it raises ends the work, and reaches the caller."""
