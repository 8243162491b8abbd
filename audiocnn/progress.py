"""Progress of long operations: `Progress` is what `train`, `evaluate` and `detect_many` pass to the caller's
callback."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a long operation.

    - `stage`: "ingest" (recordings are read), "survey" (they are checked), "train", "test", "evaluate", "detect" or
      "classify".
    - `done`, `total`: recordings, or steps of all epochs; `total` is None if unknown.
    - `text`: a short description, such as the name of the recording.
    - `epoch`, `loss`, `figure`: of a training. `figure` chooses the best epoch, and is set after the first epoch.
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
