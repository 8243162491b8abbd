"""Progress of long operations: `Progress` is what `train`, `evaluate` and `detect_many` pass to the caller's
callback."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """The state of a long operation at one moment.

    stage: "ingest" (reading recordings), "survey" (inspecting them), "train", "test", "evaluate", "detect" or
    "classify". done, total: recordings, or steps over all epochs; total is None if unknown. text: a short text for
    people, such as the name of the recording. epoch, loss, figure: set during a training; figure is the score that
    selects the best epoch, known at the end of each epoch.
    """

    stage: str
    done: int
    total: int | None
    text: str = ""
    epoch: int | None = None
    loss: float | None = None
    figure: float | None = None


ProgressCallback = Callable[[Progress], object]
"""The return value is ignored. An exception raised by the callback stops the operation and reaches the caller."""
