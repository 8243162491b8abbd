"""What moved a score: which stretch of time and which band (`occlusion.py`), which cells by their slopes
(`views.py`), and what the maps of a group did there.

A score depends on its window alone, so only the window is run again, however long the recording.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from audiocnn.detection import scoring
from audiocnn.engine import Engine, TorchBackend
from audiocnn.errors import RecordingError, UsageError, did_you_mean
from audiocnn.inspection.feature_maps import FeatureMaps, check_group, feature_maps
from audiocnn.inspection.occlusion import Axes, Occlusion, grid_of, occlude, probability
from audiocnn.inspection.stretches import Place, Sound, between, place_of
from audiocnn.inspection.views import LEVELS, Array, Samples, Target, View, view_of
from audiocnn.network import Network
from audiocnn.weights import Ensemble, load_networks

Progress = Callable[[str, float, float | None], None]

WHOLE_WINDOWS = 2  # a recording of at most so many is explained as a whole
MOST_WHOLE_SECONDS = 60.0


@dataclass(frozen=True)
class ExplainSettings:
    """What is asked.

    label: None for the one with the highest score where we look. at_seconds: the row there; else, and without `whole`,
    the row with the highest score, or all rows of a recording of at most two windows. patch_seconds, patch_bands: None
    for a 16th of the window and an 8th of the bands. fill: what a patch is turned down to, one of `LEVELS`. points:
    where slopes are taken between the background and the sound; 1: at the sound. top: patches to name. group: whose
    maps to keep, at most `maps`.
    """

    label: str | None = None
    at_seconds: float | None = None
    whole: bool = False
    patch_seconds: float | None = None
    patch_bands: int | None = None
    fill: str = "background"
    points: int = 16
    top: int = 5
    group: str | None = None
    maps: int = 16


@dataclass(frozen=True)
class Explanation:
    """What moved the score of a label. Times in seconds of the recording; the window may reach past its ends.

    scores (rows,) are those of the whole recording; [start, end) are the rows that are explained, their mean score is
    `score` and log(score / (1 - score)) `log_odds`; quiet_score is what is left with everything turned down.
    frame_seconds (frames + 1,) and band_hertz (bands + 1,) are the borders of the cells of `decibels`, of
    `occlusion.map` and of `gradient`, each (bands, frames).
    """

    model: str
    label: str
    threshold: float
    duration_seconds: float
    hop_seconds: float
    scores: NDArray[np.float32]
    start: float
    end: float
    window: tuple[float, float]
    score: float
    log_odds: float
    quiet_score: float
    settings: ExplainSettings
    frame_seconds: Array
    band_hertz: Array
    decibels: Samples
    occlusion: Occlusion
    gradient: Array
    maps: FeatureMaps | None = None
    file: str = ""
    note: str | None = None

    @property
    def whole(self) -> bool:
        """Whether all rows are explained, and not one."""
        return self.end - self.start > 1.5 * self.hop_seconds


def explain_recording(
    file: str | Path | BinaryIO,
    engine: Engine,
    settings: ExplainSettings | None = None,
    channel: str | int = "mix",
    progress: Progress | None = None,
) -> Explanation:
    """Explain a score of a recording, which is read twice: to find where, then for what is there.

    `progress(what, done, of how much)` is called as the work goes on. Raises RecordingError, UsageError.
    """
    settings, progress = settings or ExplainSettings(), progress or nobody
    network = networks_of(engine)
    check_settings(settings, engine, network)
    with scoring(file, engine, channel) as scored:
        rows = []
        for block in scored.blocks():
            rows.append(block.scores)
            progress("scores", scored.duration_seconds, scored.recording.info.duration_seconds)
        total, scores = scored.samples, np.concatenate(rows)
        place = find_place(engine, scores, total, settings)
        low, high = place.around(engine.geometry, total)
        parts, begin = [], 0
        for samples in scored.read():
            parts.append(samples[:, max(0, low - begin) : max(0, high - begin)])
            begin += samples.shape[1]
        sound = Sound(np.concatenate(parts, axis=1), low, total)
        found = explain_place(engine, network, sound, place, (scores, settings, progress))
        return replace(found, file=scored.name, note=scored.recording.note)


def explain(
    engine: Engine, samples: Samples, settings: ExplainSettings | None = None, progress: Progress | None = None
) -> Explanation:
    """Explain a score of a whole recording (channels, samples) at the model's rate. Raises as explain_recording."""
    settings, network = settings or ExplainSettings(), networks_of(engine)
    check_settings(settings, engine, network)
    if not samples.shape[1]:
        raise RecordingError("a recording without samples has no score to explain; give one that has some")
    scores = engine.score(samples)
    place = find_place(engine, scores, samples.shape[1], settings)
    sound = Sound(samples, 0, samples.shape[1])
    return explain_place(engine, network, sound, place, (scores, settings, progress or nobody))


def nobody(what: str, done: float, total: float | None) -> None:
    """Nobody watches."""


def networks_of(engine: Engine) -> Network | Ensemble:
    """The network of an engine, which torch must run: slopes cannot be had from the exported file."""
    backend = engine.backend
    return backend.network if isinstance(backend, TorchBackend) else load_networks(engine.model).eval()


def check_settings(settings: ExplainSettings, engine: Engine, network: Network | Ensemble) -> None:
    """Refuse, before any work, what cannot be."""
    model = engine.model
    if settings.label is not None and settings.label not in model.labels:
        near = did_you_mean(settings.label, model.labels)
        raise UsageError(f'--label "{settings.label}": {model.name} has no such label; {near}')
    if settings.fill not in LEVELS:
        raise UsageError(f'--fill cannot be "{settings.fill}"; {did_you_mean(settings.fill, LEVELS)}')
    if settings.at_seconds is not None and settings.whole:
        raise UsageError("--at is for one score and --whole for all; give one of them")
    seconds = settings.patch_seconds
    if seconds is not None and not (math.isfinite(seconds) and seconds > 0):
        raise UsageError(
            f"--patch-seconds {seconds:g}: must be more than 0; try {model.geometry.window_seconds / 16:.2g}"
        )
    if settings.group is not None:
        check_group(network, model.name, settings.group)


def find_place(engine: Engine, scores: Samples, total: int, settings: ExplainSettings) -> Place:
    """Which label and which rows of the scores (rows, classes) to explain."""
    geometry, labels = engine.geometry, engine.model.labels
    duration, at = total / geometry.sample_rate, settings.at_seconds
    column = None if settings.label is None else labels.index(settings.label)
    if at is not None:
        if not 0 <= at <= duration:
            raise UsageError(f"--at {at:g}: not in the recording, which is {duration:.2f} s long; name a time in it")
        row = min(int(at * geometry.sample_rate) // geometry.hop_samples, len(scores) - 1)
        rows, there = 1, scores[row]
    elif settings.whole or duration <= WHOLE_WINDOWS * geometry.window_seconds:
        if duration > MOST_WHOLE_SECONDS:
            limit = f"{MOST_WHOLE_SECONDS:g} s at most are explained as a whole"
            raise UsageError(f"--whole: the recording is {duration:.1f} s long, and {limit}; give --at, or cut it")
        row, rows, there = 0, len(scores), scores.mean(axis=0)
    else:
        best = scores.max(axis=1) if column is None else scores[:, column]
        row, rows, there = int(best.argmax()), 1, scores[int(best.argmax())]
    return place_of(geometry, int(there.argmax()) if column is None else column, row, rows, total)


def explain_place(
    engine: Engine,
    network: Network | Ensemble,
    sound: Sound,
    place: Place,
    given: tuple[Samples, ExplainSettings, Progress],
) -> Explanation:
    """Turn patches down, take slopes. `given`: the scores (rows, classes), what is asked, who is told how far it is."""
    scores, settings, progress = given
    model, geometry, rate = engine.model, engine.geometry, engine.geometry.sample_rate
    view = view_of(network, Target(place.column, place.drop, place.rows))
    view.look(sound.stretch(place.first, place.stop), sound.samples, settings.fill)
    log_odds, quiet = view.sound_and_quiet()
    shown, heard = frames_of(view, place, sound.total)
    borders = (place.first + view.middle + view.hop * (np.arange(view.frames + 1) - 0.5)) / rate
    axes = Axes(borders, view.hertz, sound.total / rate)
    grid = grid_of(view, heard, geometry.window_samples, settings.patch_seconds, settings.patch_bands)
    occlusion = occlude(view, grid, axes, log_odds, settings.top, Steps(progress, "occlusion", grid.count))
    gradient = view.gradient(settings.points, Steps(progress, "gradient", settings.points))
    return Explanation(
        model=model.name,
        label=model.labels[place.column],
        threshold=model.rule(model.labels[place.column]).threshold,
        duration_seconds=sound.total / rate,
        hop_seconds=geometry.hop_seconds,
        scores=scores[:, place.column],
        start=place.row * geometry.hop_seconds,
        end=min((place.row + place.rows) * geometry.hop_samples, sound.total) / rate,
        window=(place.begin / rate, place.end / rate),
        score=probability(log_odds),
        log_odds=log_odds,
        quiet_score=probability(quiet),
        settings=settings,
        frame_seconds=borders[shown.start : shown.stop + 1],
        band_hertz=view.hertz,
        decibels=view.decibels()[:, shown],
        occlusion=occlusion.cut(shown),
        gradient=gradient[:, shown],
        maps=maps_of(network, sound, place, settings),
    )


def maps_of(network: Network | Ensemble, sound: Sound, place: Place, settings: ExplainSettings) -> FeatureMaps | None:
    """The maps of the chosen group; an ensemble has none, and was refused before."""
    if settings.group is None or not isinstance(network, Network):
        return None
    return feature_maps(network, sound, place, settings.group, settings.maps)


def frames_of(view: View, place: Place, total: int) -> tuple[slice, slice]:
    """The frames that are shown, those of the window, and the frames among them that are the recording's."""
    middles = place.first + view.middle + view.hop * np.arange(view.frames)
    shown = between(middles, place.begin, place.end)
    return shown, between(middles, max(place.begin, 0), min(place.end, total))


class Steps:
    """Counts steps, and tells who watches."""

    def __init__(self, progress: Progress, what: str, total: int) -> None:
        self.progress, self.what, self.total, self.done = progress, what, total, 0

    def __call__(self, more: int) -> None:
        self.done += more
        self.progress(self.what, self.done, self.total)
