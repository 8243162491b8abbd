"""Explains a score of a recording: the parts in time and frequency that changed it (`occlusion.py`), the contribution
of each cell by gradients (`views.py`), and the maps of a group (`feature_maps.py`).

A score depends only on its window, so only the window is run again, however long the recording is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from audiocnn.audio.pcm import Samples
from audiocnn.audio.recording import Selection
from audiocnn.errors import UsageError, did_you_mean
from audiocnn.inference.engine import Engine, TorchBackend
from audiocnn.inference.pooling import clip_scores, count_rows, pool_of
from audiocnn.inference.scores import scoring
from audiocnn.inspection.feature_maps import FeatureMaps, check_group_name, feature_maps
from audiocnn.inspection.occlusion import CellAxes, Occlusion, occlude, patch_grid, probability
from audiocnn.inspection.settings import ExplainSettings
from audiocnn.inspection.views import FILL_LEVELS, Excerpt, ScoreWindow, frames_between, make_view, score_window
from audiocnn.model.network import Network
from audiocnn.model.weights import Ensemble, load_networks
from audiocnn.spec.features import Array

PatchProgress = Callable[[str, float, float | None], None]
_WHOLE_WINDOWS = 2  # the longest recording that is explained as a whole
_MOST_WHOLE_SECONDS = 60.0


@dataclass(frozen=True)
class Explanation:
    """Effects on the score of a label. Times are in seconds of the recording; the window may extend beyond its ends.

    scores (rows,) are those of the whole recording. The explained rows are [start, end), `score` is their mean score
    and `log_odds` is log(score / (1 - score)). quiet_score is the score with everything lowered. clip_score: the score
    of the whole recording in `classify`.
    frame_seconds (frames + 1,) and band_hertz (bands + 1,) are the borders of the cells of `decibels`, `occlusion.map`
    and `gradient`, each (bands, frames). features: the features with these bands.
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
    features: str
    decibels: Samples
    occlusion: Occlusion
    gradient: Array
    maps: FeatureMaps | None = None
    file: str = ""
    note: str | None = None
    remarks: tuple[str, ...] = ()
    clip_score: float = math.nan

    @property
    def whole(self) -> bool:
        """Whether the mean of several rows is explained, not a single row."""
        return self.end - self.start > 1.5 * self.hop_seconds

    @property
    def middle(self) -> float:
        return (self.start + self.end) / 2


def explain_recording(
    file: str | Path | BinaryIO,
    engine: Engine,
    settings: ExplainSettings | None = None,
    channel: str | int = "mix",
    progress: PatchProgress | None = None,
    track: int | None = None,
) -> Explanation:
    """Explain a score of a recording. The recording is read twice: to find the score, and for its window.

    `progress(what, done, total)` is called during the work. Raises RecordingError, UsageError.
    """
    settings, progress = settings or ExplainSettings(), progress or _no_progress
    network = _torch_network(engine)
    _check_settings(settings, engine, network)
    with scoring(file, engine, channel, excerpt=Selection(track=track)) as scored:
        rows = []
        for block in scored.blocks():
            rows.append(block.scores)
            progress("scores", scored.duration_seconds, scored.recording.info.duration_seconds)
        total, scores = scored.samples, np.concatenate(rows)
        window = _choose_window(engine, scores, total, settings)
        low, high = window.around(engine.geometry, total)
        parts, begin = [], 0
        for samples in scored.read():
            parts.append(samples[:, max(0, low - begin) : max(0, high - begin)])
            begin += samples.shape[1]
        sound = Excerpt(np.concatenate(parts, axis=1), low, total)
        found = _explain_window(engine, network, sound, window, scores, settings, progress)
        note, remarks = scored.recording.note, tuple(scored.recording.remarks)
        clip_score = float(clip_scores([scores], pool_of(engine.model))[window.column])
        return replace(found, file=scored.name, note=note, remarks=remarks, clip_score=clip_score)


def _no_progress(what: str, done: float, total: float | None) -> None:
    pass


def _torch_network(engine: Engine) -> Network | Ensemble:
    """The network of an engine, run by torch: gradients are not available from the exported file."""
    backend = engine.backend
    return backend.network if isinstance(backend, TorchBackend) else load_networks(engine.model).eval()


def _check_settings(settings: ExplainSettings, engine: Engine, network: Network | Ensemble) -> None:
    model = engine.model
    if settings.label is not None and settings.label not in model.labels:
        near = did_you_mean(settings.label, model.labels)
        raise UsageError(f'--label "{settings.label}": {model.name} has no such label; {near}')
    if settings.fill not in FILL_LEVELS:
        raise UsageError(f'--fill cannot be "{settings.fill}"; {did_you_mean(settings.fill, FILL_LEVELS)}')
    if settings.at_seconds is not None and settings.whole:
        raise UsageError("--at explains one score and --whole all of them; give only one")
    seconds = settings.patch_seconds
    if seconds is not None and not (math.isfinite(seconds) and seconds > 0):
        raise UsageError(f"--patch-seconds {seconds:g}: must be above 0; try {model.geometry.near_seconds / 16:.2g}")
    if settings.group is not None:
        check_group_name(network, model.name, settings.group)


def _choose_window(engine: Engine, scores: Samples, total: int, settings: ExplainSettings) -> ScoreWindow:
    """The label and the rows of the scores (rows, classes) to explain."""
    geometry, labels = engine.geometry, engine.model.labels
    duration, at = total / geometry.sample_rate, settings.at_seconds
    column = None if settings.label is None else labels.index(settings.label)
    if at is not None:
        if not 0 <= at <= duration:
            raise UsageError(f"--at {at:g}: the recording is {duration:.2f} s long; give a time within it")
        row = min(int(at * geometry.sample_rate) // geometry.hop_samples, len(scores) - 1)
        rows, there = 1, scores[row]
    elif settings.whole or duration <= _WHOLE_WINDOWS * geometry.near_seconds:
        if duration > _MOST_WHOLE_SECONDS:
            limit = f"--whole explains at most {_MOST_WHOLE_SECONDS:g} s"
            raise UsageError(f"--whole: the recording is {duration:.1f} s long, and {limit}; give --at, or cut it")
        row, rows, there = 0, len(scores), scores.mean(axis=0)
    elif engine.model.clip_pooling is not None:
        row, rows, there = _answering_rows(engine, scores, column, duration)
    else:
        best = scores.max(axis=1) if column is None else scores[:, column]
        row, rows, there = int(best.argmax()), 1, scores[int(best.argmax())]
    return score_window(geometry, int(there.argmax()) if column is None else column, row, rows, total)


def _answering_rows(
    engine: Engine, scores: Samples, column: int | None, duration_seconds: float
) -> tuple[int, int, Samples]:
    """The rows (rows, classes) whose mean classifies the recording: the first of them, their number, and the scores of
    the recording (classes,). These are all rows, or the loudest stretch if that decides or all would be too many."""
    pooling, hop = engine.model.clip_pooling, engine.geometry.hop_seconds
    assert pooling is not None
    pooled, mean = clip_scores([scores], pool_of(engine.model)), scores.mean(axis=0)
    length = min(count_rows(pooling.pool_seconds, hop), len(scores))
    if np.allclose(pooled, mean, atol=1e-6) and duration_seconds <= _MOST_WHOLE_SECONDS:
        return 0, len(scores), pooled
    sums = np.cumsum(np.pad(scores.astype(np.float64), ((1, 0), (0, 0))), axis=0)
    means = (sums[length:] - sums[:-length]) / length
    best = means[:, int(pooled.argmax()) if column is None else column]
    return int(best.argmax()), length, pooled


def _explain_window(
    engine: Engine,
    network: Network | Ensemble,
    sound: Excerpt,
    window: ScoreWindow,
    scores: Samples,
    settings: ExplainSettings,
    progress: PatchProgress,
) -> Explanation:
    """Lower patches and take gradients. scores: (rows, classes) of the whole recording."""
    model, geometry, rate = engine.model, engine.geometry, engine.geometry.sample_rate
    view = make_view(network, window)
    view.look(sound.cut(window.first, window.stop), sound.samples, settings.fill)
    log_odds, quiet = view.sound_and_quiet()
    middles = window.first + view.middle + view.hop * np.arange(view.frames)
    shown = frames_between(middles, window.begin, window.end)
    heard = frames_between(middles, max(window.begin, 0), min(window.end, sound.total))
    borders = (window.first + view.middle + view.hop * (np.arange(view.frames + 1) - 0.5)) / rate
    axes = CellAxes(borders, view.hertz, sound.total / rate)
    grid = patch_grid(view, heard, geometry.near_samples, settings.patch_seconds, settings.patch_bands)
    occlusion = occlude(view, grid, axes, log_odds, settings.top, _StepCounter(progress, "occlusion", grid.count))
    gradient = view.gradient(settings.points, _StepCounter(progress, "gradient", settings.points))
    maps = None
    if settings.group is not None and isinstance(network, Network):
        maps = feature_maps(network, sound, window, settings.group, settings.maps)
    return Explanation(
        model=model.name,
        label=model.labels[window.column],
        threshold=model.rule(model.labels[window.column]).threshold,
        duration_seconds=sound.total / rate,
        hop_seconds=geometry.hop_seconds,
        scores=scores[:, window.column],
        start=window.row * geometry.hop_seconds,
        end=min((window.row + window.rows) * geometry.hop_samples, sound.total) / rate,
        window=(window.begin / rate, window.end / rate),
        score=probability(log_odds),
        log_odds=log_odds,
        quiet_score=probability(quiet),
        settings=settings,
        frame_seconds=borders[shown.start : shown.stop + 1],
        band_hertz=view.hertz,
        features=view.shown_features,
        decibels=view.decibels()[:, shown],
        occlusion=occlusion.cut(shown),
        gradient=gradient[:, shown],
        maps=maps,
    )


class _StepCounter:
    def __init__(self, progress: PatchProgress, what: str, total: int) -> None:
        self.progress, self.what, self.total, self.done = progress, what, total, 0

    def __call__(self, more: int) -> None:
        self.done += more
        self.progress(self.what, self.done, self.total)
