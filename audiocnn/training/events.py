"""The reports that a training yields while it runs."""

from __future__ import annotations

from dataclasses import dataclass

from audiocnn.model.model import Model


@dataclass(frozen=True)
class EpochReport:
    """One epoch. Losses are means over examples; `waiting` is the share of time spent waiting for data. If nothing is
    held out, `validation_loss`, `figure` and `dead_units` are None and `figure_name` is empty. dead_units: number of
    units after a relu that are 0 for all validation examples; dead_layers: their layers, as text."""

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
    dead_units: int | None = None
    dead_layers: str = ""


@dataclass(frozen=True)
class StepReport:
    """One step of an epoch, for a progress bar. loss: the mean over the epoch so far."""

    epoch: int
    step: int
    steps: int
    loss: float


@dataclass(frozen=True)
class Note:
    """A message to the user, such as where a run is resumed, with how many threads, or what is not available. warning:
    something is wrong, and the text gives a remedy."""

    text: str
    warning: bool = False


@dataclass(frozen=True)
class StopReport:
    """A signal stopped the training. Everything is saved, and it can be resumed."""

    epoch: int
    step: int
    steps: int


@dataclass(frozen=True)
class TrainReport:
    """The end: the model and how it was made. `figure`, that of the best epoch, is None if nothing was held out; the
    last weights are then used. For clips, `validation` in the model's training has the results after calibration."""

    model: Model
    epochs: int
    best_epoch: int
    figure_name: str
    figure: float | None
    seconds: float
    export_difference: float
    stopped_early: bool
