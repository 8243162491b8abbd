"""How far long work is: `Progress`, which `train`, `evaluate` and `detect_many` hand to a callback of the caller."""

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
"""What it returns is ignored; an exception that it raises ends the work, and reaches the caller."""
