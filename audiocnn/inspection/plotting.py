"""What `plot` shows of a recording: waveform, spectrogram, scores and segments, in bounded memory.

Scores and segments are those of the whole recording, as `detect` finds them; a stretch only says what is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from audiocnn.detection import Detection, Detector, DetectSettings, ScoreBlock, ScoredRecording, name_of
from audiocnn.engine import Engine
from audiocnn.errors import UsageError
from audiocnn.inspection.pooling import Pool, average, highest, lowest
from audiocnn.recording import open_recording
from audiocnn.segments import Segment
from audiocnn.spectrogram import Spectrogram

Array = NDArray[np.float64]
Samples = NDArray[np.float32]

MOST_COLUMNS = 8192  # of a picture
MOST_TRACKS = 8  # drawn; more are told of
SHOWN_DECIBELS = 70.0  # below the loudest cell
LEAST_RANGE_DECIBELS = 30.0
DECIBELS_PER_POWER = 10.0

Progress = Callable[[float, float | None], object]
"""Seconds that are done, of how many."""


@dataclass(frozen=True)
class Stretch:
    """What is drawn, in seconds of the recording; None: from its start, to its end."""

    start: float | None = None
    end: float | None = None

    def check(self) -> None:
        """UsageError for a stretch that cannot be."""
        for name, seconds in (("--from", self.start), ("--to", self.end)):
            if seconds is not None and not (math.isfinite(seconds) and seconds >= 0):
                raise UsageError(f"{name} {seconds:g}: not a time in a recording; give seconds from 0")
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise UsageError(f"--from {self.start:g} --to {self.end:g}: ends before it begins; give an earlier --from")

    def within(self, duration_seconds: float) -> tuple[float, float]:
        """Start and end in a recording. UsageError where it begins behind its end."""
        start, end = self.start or 0.0, duration_seconds if self.end is None else self.end
        if start >= duration_seconds > 0:
            raise UsageError(f"--from {start:g}: the recording is {duration_seconds:.2f} s long; name a time in it")
        return start, min(end, duration_seconds)


@dataclass(frozen=True)
class Series:
    """Columns over time: column k is of [start + k * step, start + (k + 1) * step) seconds; the last may be shorter."""

    start: float
    step: float


@dataclass(frozen=True)
class Track:
    """What is drawn of one channel, or of all mixed.

    low, high (columns,): the range of the samples. decibels (bands, columns): the mean power. score_low, score_high
    (labels, columns): the range of the scores. segments: those that the stretch holds, or a part of.
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
class Plotted:
    """All that a picture of a recording needs. start, end: the stretch that is drawn, in seconds.

    waveform, spectrum, scores: where the columns of the tracks lie in time. band_hertz: (bands + 1,) borders.
    thresholds: (opening, closing) by label. more_tracks: how many channels are left out.
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

    @property
    def peak(self) -> float:
        """The largest sample that is drawn, without its sign; 0 where there is none."""
        return max((float(np.abs(side).max()) for t in self.tracks for side in (t.low, t.high) if side.size), default=0)

    @property
    def loudest(self) -> float:
        """The level in dB that pictures show as the brightest; well above the floor, so that silence stays dark."""
        cells = [track.decibels for track in self.tracks if track.decibels.size]
        if not cells:
            return 0.0
        return max(*(float(c.max()) for c in cells), min(float(c.min()) for c in cells) + LEAST_RANGE_DECIBELS)

    @property
    def segments(self) -> int:
        """How many segments are drawn."""
        return sum(len(track.segments) for track in self.tracks)


def plot_recording(
    file: str | Path | BinaryIO,
    engine: Engine,
    settings: DetectSettings | None = None,
    stretch: Stretch | None = None,
    progress: Progress | None = None,
    name: str | None = None,
) -> Plotted:
    """Read a recording once, score it, and keep what a picture of the stretch needs. Raises RecordingError, UsageError.

    `name` is what the recording is called; else what the file is.
    """
    settings, stretch = settings or DetectSettings(), stretch or Stretch()
    stretch.check()
    detector = Detector(engine, settings)
    sketch = Sketch(engine, stretch)
    name = name_of(file) if name is None else name
    with open_recording(file, name=name) as recording:
        scored = ScoredRecording(recording, name, engine, settings.channel)
        whole = recording.info.duration_seconds
        for block in scored.blocks_of(engine.score_tracks(sketch.seen(scored.read()))):
            detector.push(block)
            sketch.scored(block)
            if progress is not None:
                progress(scored.duration_seconds, whole)
        return sketch.finish(detector.finish(scored), detector, settings)


class Sketch:
    """Keeps columns of the stretch while a recording is scored."""

    def __init__(self, engine: Engine, stretch: Stretch) -> None:
        self.engine, self.stretch = engine, stretch
        self.rate, self.hop = engine.geometry.sample_rate, engine.geometry.hop_samples
        self.first = round((stretch.start or 0.0) * self.rate)
        self.stop = None if stretch.end is None else round(stretch.end * self.rate)
        self.spectrogram = Spectrogram(engine.model.specs[0].input)
        self.low, self.high = Pool(MOST_COLUMNS, lowest), Pool(MOST_COLUMNS, highest)
        self.power = Pool(MOST_COLUMNS, average)
        self.scores: dict[int, tuple[Pool, Pool]] = {}
        self.tracks = self.begun = 0

    def seen(self, blocks: Iterator[Samples]) -> Iterator[Samples]:
        """The blocks of the recording, looked at in passing."""
        for block in blocks:
            tracks = block if self.engine.channels == 1 else block.mean(axis=0, keepdims=True)
            self.tracks = len(tracks)
            stop = len(block[0]) if self.stop is None else max(0, self.stop - self.begun)
            inside = tracks[:MOST_TRACKS, max(0, self.first - self.begun) : stop]
            self.begun += block.shape[1]
            if inside.shape[1]:
                self.low.push(inside.T)
                self.high.push(inside.T)
                self.power.push(self.spectrogram.push(inside).transpose(1, 0, 2))
            yield block

    def scored(self, block: ScoreBlock) -> None:
        """Rows of one channel. Those whose middle lies in the stretch are kept."""
        if block.channel not in self.scores and len(self.scores) >= MOST_TRACKS:
            return
        pools = self.scores.setdefault(block.channel, (Pool(MOST_COLUMNS, lowest), Pool(MOST_COLUMNS, highest)))
        first = max(0, self.first_row - block.first_row)
        stop = len(block.scores)
        if self.stop is not None:
            stop = max(0, min(stop, -((self.hop // 2 - self.stop) // self.hop) - block.first_row))
        for pool in pools:
            pool.push(block.scores[first:stop])

    @property
    def first_row(self) -> int:
        """The first row whose middle lies in the stretch."""
        return max(0, -((self.hop // 2 - self.first) // self.hop))

    def decibels(self, powers: Samples) -> Samples:
        """(columns, bands) of power -> (bands, columns) in dB."""
        levels: Samples = np.log10(np.maximum(powers, np.float32(self.spectrogram.floor))).T
        return DECIBELS_PER_POWER * levels

    def finish(self, found: Detection, detector: Detector, settings: DetectSettings) -> Plotted:
        """All of it, when the recording has been read to its end."""
        start, end = self.stretch.within(found.duration_seconds)
        self.power.push(self.spectrogram.finish().transpose(1, 0, 2))
        labels, shape = len(self.engine.model.labels), (0, self.tracks)
        sides = [pool.columns(shape) for pool in (self.low, self.high)]
        powers = self.power.columns((*shape, len(self.spectrogram.band_hertz) - 1))
        rows = {channel: [pool.columns((0, labels)) for pool in pools] for channel, pools in self.scores.items()}
        factor = next(iter(self.scores.values()))[0].factor if self.scores else 1
        tracks = tuple(
            Track(
                name=name_of_track(channel, settings.channel, found.channels, self.engine.channels),
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
        return Plotted(
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


def name_of_track(channel: int, asked: str | int, channels: int, wanted: int) -> str:
    """What is said beside a track; nothing where there is one channel and no doubt."""
    if channels == 1 and asked != "each":
        return ""
    if wanted > 1:
        return f"{wanted} channels"
    return f"mix of {channels}" if asked == "mix" else f"channel {channel}"
