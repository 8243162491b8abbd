"""What a training says while it runs, and what it must know to go on."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from audiocnn.model import Model


@dataclass(frozen=True)
class EpochReport:
    """One epoch. Losses are means over examples; `waiting` is the share of time the loop waited for data. Where nothing
    is held out, there is neither `validation_loss` nor `figure`, and no name of it."""

    epoch: int
    epochs: int
    loss: float
    validation_loss: float | None
    figure_name: str
    figure: float | None
    best: bool
    learning_rate: float
    audio_seconds_per_second: float
    waiting: float
    seconds: float
    seconds_left: float


@dataclass(frozen=True)
class StepReport:
    """A step inside an epoch, for a progress bar."""

    epoch: int
    step: int
    steps: int
    loss: float


@dataclass(frozen=True)
class Note:
    """What a person should know: where a run goes on, with how many threads, what could not be had."""

    text: str


@dataclass(frozen=True)
class StopReport:
    """The training was asked to stop; all of it up to here is saved, and it goes on from here."""

    epoch: int
    step: int
    steps: int


@dataclass(frozen=True)
class TrainReport:
    """The end: the model, and how it came about. `figure` is None where nothing was held out: the last weights stay."""

    model: Model
    epochs: int
    best_epoch: int
    figure_name: str
    figure: float | None
    seconds: float
    export_difference: float
    stopped_early: bool


@dataclass
class State:
    """What changes while training, besides the weights; saved with each checkpoint as JSON.

    The position is (epoch, step): every draw follows from the seed and these two, so that no generator has a state that
    would have to be kept. threads, processes: what the sums were made with; with others they differ in the last bit.
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    best: float = -math.inf
    best_loss: float = math.inf  # of equal figures the lower loss is better
    best_epoch: int = 0
    seconds: float = 0.0
    division: str = ""  # a digest of what is learned from, stops the training, and is tested on
    origin: dict[str, Any] = field(default_factory=dict)
    log: list[dict[str, Any]] = field(default_factory=list)
    drops: int = 0  # of the learning rate, with the schedule "plateau"
    dropped_at: int = 0  # the epoch of the last one
    scaler: dict[str, Any] = field(default_factory=dict)  # of gradients in half precision
    threads: int = 0
    processes: int = 1
