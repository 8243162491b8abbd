"""The contents of a plot of a recording: waveform, spectrogram, scores and segments, with bounded memory:
plot_recording.

Scores and segments are those of the whole recording, as in `detect`. A time range only limits what is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from audiocnn.audio.pcm import Samples
from audiocnn.audio.recording import Selection, open_recording
from audiocnn.errors import UsageError
from audiocnn.inference.detect import Detection, Detector, DetectSettings
from audiocnn.inference.engine import Engine
from audiocnn.inference.scores import ScoreBlock, ScoredRecording, recording_name
from audiocnn.inspection.spectrogram import Spectrogram
from audiocnn.segments.segment import Segment
from audiocnn.spec.features import Array

MOST_COLUMNS = 8192  # of a picture
MOST_TRACKS = 8  # drawn; the others are counted
DYNAMIC_RANGE_DECIBELS = 70.0  # below the loudest cell
_LEAST_RANGE_DECIBELS = 30.0
_DECIBELS_PER_POWER = 10.0


@dataclass(frozen=True)
class TimeRange:
    """A part of a recording, in seconds. None means its start, or its end."""

    start: float | None = None
    end: float | None = None

    def check(self) -> None:
        """UsageError for an invalid range."""
        for name, seconds in (("--from", self.start), ("--to", self.end)):
            if seconds is not None and not (math.isfinite(seconds) and seconds >= 0):
                raise UsageError(f"{name} {seconds:g}: not a time in a recording; give seconds from 0 upwards")
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise UsageError(f"--from {self.start:g} --to {self.end:g}: ends before it starts; give an earlier --from")

    def within(self, duration_seconds: float) -> tuple[float, float]:
        """Start and end in a recording. UsageError if it starts after the end of the recording."""
        start, end = self.start or 0.0, duration_seconds if self.end is None else self.end
        if start >= duration_seconds > 0:
            raise UsageError(f"--from {start:g}: the recording is {duration_seconds:.2f} s long; give a time within it")
        return start, min(end, duration_seconds)


@dataclass(frozen=True)
class Series:
    """Columns over time. Column k covers [start + k * step, start + (k + 1) * step) seconds; the last may be
    shorter."""

    start: float
    step: float


@dataclass(frozen=True)
class Track:
    """One channel, or the mix of all.

    low, high (columns,): the range of the samples. decibels (bands, columns): the mean power. score_low, score_high
    (labels, columns): the range of the scores. segments: those that overlap the time range.
    """

    name: str
    channel: int
    low: Samples
    high: Samples
    decibels: Samples
    score_low: Samples
    score_high: Samples
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class PlotData:
    """The data for a picture of a recording. start, end: of the drawn range, in seconds.

    waveform, spectrum, scores: the positions of the columns of the tracks in time. band_hertz: (bands + 1,) borders.
    thresholds: (opening, closing) by label. more_tracks: number of channels that are not drawn.
    """

    detection: Detection
    start: float
    end: float
    tracks: tuple[Track, ...]
    waveform: Series
    spectrum: Series
    scores: Series
    band_hertz: Array
    features: str
    thresholds: dict[str, tuple[float, float]]
    more_tracks: int = 0
    track: int | None = None  # the audio track of the file

    @property
    def peak(self) -> float:
        """The largest absolute sample that is drawn; 0 if there is none."""
        return max((float(np.abs(side).max()) for t in self.tracks for side in (t.low, t.high) if side.size), default=0)

    @property
    def loudest(self) -> float:
        """The level in dB that pictures show brightest. It is well above the floor, so that silence stays dark."""
        cells = [track.decibels for track in self.tracks if track.decibels.size]
        if not cells:
            return 0.0
        return max(*(float(c.max()) for c in cells), min(float(c.min()) for c in cells) + _LEAST_RANGE_DECIBELS)

    @property
    def segments(self) -> int:
        return sum(len(track.segments) for track in self.tracks)


class ColumnPool:
    """Takes values (n, ...) in order; gives at most `most` columns of `factor` values each, the last possibly of fewer.

    The length of the series is not known before its end. Whenever there are too many columns, neighbours are joined in
    pairs, and a column then covers twice as many values. join: np.min, np.max or np.mean.
    """

    def __init__(self, most: int, join: Callable[..., Any], factor: int = 1) -> None:
        self.most, self.factor = most, factor
        self._join = join
        self._columns: list[Samples] = []
        self._count = 0  # of complete columns
        self._rest: Samples | None = None  # values of the next column

    def push(self, values: Samples) -> None:
        if self._rest is not None and len(self._rest):
            values = np.concatenate([self._rest, values])
        whole = len(values) // self.factor
        self._rest = values[whole * self.factor :].copy()
        if whole:
            inside = values[: whole * self.factor].reshape(whole, self.factor, *values.shape[1:])
            self._columns.append(self._join(inside, axis=1))
            self._count += whole
        while self._count > self.most:
            self._halve()

    def columns(self, empty: tuple[int, ...] = (0,)) -> Samples:
        """(columns, ...) of all values; `empty` is the shape if there are none. Ends the series."""
        last = [self._join(self._rest[None], axis=1)] if self._rest is not None and len(self._rest) else []
        self._rest = None
        return np.concatenate([*self._columns, *last]) if self._columns or last else np.zeros(empty, np.float32)

    def _halve(self) -> None:
        """Join pairs. A column without a neighbour becomes waiting values again, repeated `factor` times."""
        columns = np.concatenate(self._columns)
        pairs = len(columns) // 2
        joined = self._join(columns[: 2 * pairs].reshape(pairs, 2, *columns.shape[1:]), axis=1)
        alone = np.repeat(columns[2 * pairs :], self.factor, axis=0)
        self._rest = alone if self._rest is None else np.concatenate([alone, self._rest])
        self.factor *= 2
        self._columns, self._count = [joined], pairs


def plot_recording(
    file: str | Path | BinaryIO,
    engine: Engine,
    settings: DetectSettings | None = None,
    time_range: TimeRange | None = None,
    progress: Callable[[float, float | None], object] | None = None,
    name: str | None = None,
    track: int | None = None,
) -> PlotData:
    """Read a recording once, score it, and keep the data for a picture. Raises RecordingError, UsageError.

    progress(seconds done, seconds in total). name: of the recording in messages; None for the file name. track: the
    audio track of a film, counted from 0; None selects the default track.
    """
    settings, time_range = settings or DetectSettings(), time_range or TimeRange()
    time_range.check()
    detector = Detector(engine.model, settings)
    builder = _PlotBuilder(engine, time_range)
    name = recording_name(file) if name is None else name
    with open_recording(file, name=name, excerpt=Selection(track=track)) as recording:
        scored = ScoredRecording(recording, name, engine, settings.channel, seen=builder.add_samples)

        def step(scored: ScoredRecording, block: ScoreBlock) -> None:
            builder.add_scores(block)
            if progress is not None:
                progress(scored.duration_seconds, recording.info.duration_seconds)

        drawn = builder.finish(detector.detection(scored, scored.results(detector, step)), detector, settings)
        return replace(drawn, track=track)


class _PlotBuilder:
    def __init__(self, engine: Engine, time_range: TimeRange) -> None:
        self.engine, self.time_range = engine, time_range
        self.rate, self.hop = engine.geometry.sample_rate, engine.geometry.hop_samples
        self.first = round((time_range.start or 0.0) * self.rate)
        self.stop = None if time_range.end is None else round(time_range.end * self.rate)
        self.spectrogram = Spectrogram(engine.model.specs[0].input)
        self.low, self.high = ColumnPool(MOST_COLUMNS, np.min), ColumnPool(MOST_COLUMNS, np.max)
        self.power = ColumnPool(MOST_COLUMNS, np.mean)
        self.scores: dict[int, tuple[ColumnPool, ColumnPool]] = {}
        self.tracks = self.begun = 0

    def add_samples(self, block: Samples) -> None:
        """Add the next samples (channels, samples) of the recording."""
        tracks = block if self.engine.channels == 1 else block.mean(axis=0, keepdims=True)
        self.tracks = len(tracks)
        stop = len(block[0]) if self.stop is None else max(0, self.stop - self.begun)
        inside = tracks[:MOST_TRACKS, max(0, self.first - self.begun) : stop]
        self.begun += block.shape[1]
        if inside.shape[1]:
            self.low.push(inside.T)
            self.high.push(inside.T)
            self.power.push(self.spectrogram.push(inside).transpose(1, 0, 2))

    def add_scores(self, block: ScoreBlock) -> None:
        """Keep the rows whose middle is in the time range."""
        if block.channel not in self.scores and len(self.scores) >= MOST_TRACKS:
            return
        pools = self.scores.setdefault(
            block.channel, (ColumnPool(MOST_COLUMNS, np.min), ColumnPool(MOST_COLUMNS, np.max))
        )
        first = max(0, self.first_row - block.first_row)
        stop = len(block.scores)
        if self.stop is not None:
            stop = max(0, min(stop, -((self.hop // 2 - self.stop) // self.hop) - block.first_row))
        for pool in pools:
            pool.push(block.scores[first:stop])

    @property
    def first_row(self) -> int:
        return max(0, -((self.hop // 2 - self.first) // self.hop))

    def decibels(self, powers: Samples) -> Samples:
        """(columns, bands) of power -> (bands, columns) in dB."""
        levels: Samples = np.log10(np.maximum(powers, np.float32(self.spectrogram.floor))).T
        return _DECIBELS_PER_POWER * levels

    def finish(self, found: Detection, detector: Detector, settings: DetectSettings) -> PlotData:
        start, end = self.time_range.within(found.duration_seconds)
        self.power.push(self.spectrogram.finish().transpose(1, 0, 2))
        labels, shape = len(self.engine.model.labels), (0, self.tracks)
        sides = [pool.columns(shape) for pool in (self.low, self.high)]
        powers = self.power.columns((*shape, len(self.spectrogram.band_hertz) - 1))
        rows = {channel: [pool.columns((0, labels)) for pool in pools] for channel, pools in self.scores.items()}
        factor = next(iter(self.scores.values()))[0].factor if self.scores else 1
        tracks = tuple(
            Track(
                name=_track_name(channel, settings.channel, found.channels, self.engine.channels),
                channel=channel,
                low=sides[0][:, number],
                high=sides[1][:, number],
                decibels=self.decibels(powers[:, number]),
                score_low=rows[channel][0].T,
                score_high=rows[channel][1].T,
                segments=tuple(s for s in found.tracks[channel] if s.end > start and s.start < end),
            )
            for number, channel in enumerate(rows)
        )
        return PlotData(
            detection=found,
            start=start,
            end=end,
            tracks=tracks,
            waveform=Series(start, self.low.factor / self.rate),
            spectrum=Series(start, self.power.factor * self.spectrogram.hop / self.rate),
            scores=Series(self.first_row * self.hop / self.rate, factor * self.hop / self.rate),
            band_hertz=self.spectrogram.band_hertz,
            features=self.spectrogram.spec.features,
            thresholds={label: (rule.threshold, rule.closing_threshold) for label, rule in detector.rules.items()},
            more_tracks=self.tracks - len(tracks),
        )


def _track_name(channel: int, asked: str | int, channels: int, wanted: int) -> str:
    if channels == 1 and asked != "each":
        return ""
    if wanted > 1:
        return f"{wanted} channels"
    return f"mix of {channels}" if asked == "mix" else f"channel {channel}"
