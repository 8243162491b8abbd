"""The main path: recording -> samples -> windows -> features -> network -> scores -> segments.

Everything here streams: memory does not grow with the recording.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from audiocnn.engine import Engine, load_engine
from audiocnn.errors import RecordingError
from audiocnn.localising import apart
from audiocnn.model import DEFAULT_MODEL, Model, find_model
from audiocnn.recording import Recording, open_recording, show_name
from audiocnn.segments import Segment, SegmentFinder, SegmentRule

Scores = NDArray[np.float32]


@dataclass(frozen=True)
class DetectSettings:
    """What overrides a model: None leaves its own threshold, or the default of `SegmentRule`.

    channel: "mix" (their mean), "each", or the number of one. A network of several channels takes them all.
    """

    threshold: float | None = None
    neg_threshold: float | None = None
    min_speech_seconds: float | None = None
    min_silence_seconds: float | None = None
    pad_seconds: float | None = None
    max_speech_seconds: float | None = None
    channel: str | int = "mix"

    def rules(self, model: Model) -> dict[str, SegmentRule]:
        """The rule for each label. Raises UsageError for a value that cannot be."""
        changes = {name: value for name, value in vars(self).items() if name != "channel"}
        return {label: model.rule(label, **changes) for label in model.labels}


@dataclass(frozen=True)
class ScoreBlock:
    """Rows of scores (rows, classes) of one channel; row k of the recording covers [k * hop, (k + 1) * hop).

    edges: (rows, classes, 2) in seconds before and after the middle of a row, of a model that localises.
    """

    channel: int
    first_row: int
    scores: Scores
    edges: Scores | None = None

    def of(self, column: int) -> Scores:
        """What is known about one label: its scores (rows,), or score, onset, offset (rows, 3)."""
        scores = self.scores[:, column]
        return scores if self.edges is None else np.column_stack([scores, self.edges[:, column]])


@dataclass(frozen=True)
class Detection:
    """What was found in one recording. Times in seconds; `tracks` has the segments of each channel that was read.

    note: that the recording is damaged or cut short, and how far it could be read.
    """

    file: str
    duration_seconds: float
    sample_rate: int
    channels: int
    model: str
    device: str
    thresholds: dict[str, float]
    tracks: dict[int, tuple[Segment, ...]] = field(default_factory=dict)
    note: str | None = None

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The segments of all channels, channel by channel."""
        return tuple(segment for track in self.tracks.values() for segment in track)

    def __iter__(self) -> Iterator[Segment]:
        return iter(self.segments)

    def seconds(self) -> dict[str, float]:
        """How long each label lasts, over all channels."""
        totals = dict.fromkeys(self.thresholds, 0.0)
        for segment in self:
            totals[segment.label] += segment.end - segment.start
        return totals


class ScoredRecording:
    """An open recording and its scores, block by block. What the file is stands in `.recording.info`."""

    def __init__(self, recording: Recording, name: str, engine: Engine, channel: str | int) -> None:
        self.recording, self.name, self.engine = recording, name, engine
        self.channel = "each" if engine.channels > 1 else channel
        self.samples = 0  # read so far, at the model's rate

    @property
    def duration_seconds(self) -> float:
        """The length of what was read so far."""
        return self.samples / self.engine.geometry.sample_rate

    def blocks(self) -> Iterator[ScoreBlock]:
        """Scores of all channels, in order of time."""
        return self.blocks_of(self.engine.score_tracks(self.read()))

    def blocks_of(self, chunks: Iterable[Scores]) -> Iterator[ScoreBlock]:
        """What the engine gave, (tracks, rows, outputs) in order of time, as blocks of one channel each."""
        row, classes = 0, len(self.engine.model.labels)
        for tracks in chunks:
            for track, rows in enumerate(tracks):
                yield ScoreBlock(self.channel if isinstance(self.channel, int) else track, row, *apart(rows, classes))
            row += tracks.shape[1]

    def read(self) -> Iterator[NDArray[np.float32]]:
        """The samples as the network wants them."""
        wanted = self.engine.channels
        take = self.recording.pieces if self.recording.is_stream else self.recording.blocks
        for block in take(self.engine.geometry.sample_rate, self.channel):
            self.samples += block.shape[1]
            if wanted > 1 and len(block) not in (1, wanted):
                raise RecordingError(
                    f"{self.name}: has {len(block)} channels and {self.engine.model.name} wants {wanted};"
                    " use a model of one channel, or convert the file"
                )
            yield np.repeat(block, wanted, axis=0) if len(block) < wanted else block


@contextmanager
def scoring(file: str | Path | BinaryIO, engine: Engine, channel: str | int = "mix") -> Iterator[ScoredRecording]:
    """Open a recording to score it. Raises RecordingError: what, where, and what to do."""
    with open_recording(file) as recording:
        yield ScoredRecording(recording, name_of(file), engine, channel)


class Detector:
    """Scores of one recording in, segments out: each as soon as it is certain, and all of them at the end.

    finders: for each channel that was heard of, one finder a label, in the order of the model's labels.
    """

    def __init__(self, engine: Engine, settings: DetectSettings) -> None:
        self.engine = engine
        self.rules = settings.rules(engine.model)
        self.finders: dict[int, list[SegmentFinder]] = {}
        self.found: dict[int, list[Segment]] = {}

    def push(self, block: ScoreBlock) -> list[tuple[int, Segment]]:
        """Takes the next rows of a channel; returns (channel, segment) of what is now certain."""
        channel = block.channel
        if channel not in self.finders:
            hop, localiser = self.engine.hop_seconds, self.engine.model.localiser
            finder = localiser.finder if localiser else SegmentFinder
            self.finders[channel] = [finder(label, hop, rule) for label, rule in self.rules.items()]
            self.found[channel] = []
        certain = [
            segment for column, finder in enumerate(self.finders[channel]) for segment in finder.push(block.of(column))
        ]
        self.found[channel] += certain
        return [(channel, segment) for segment in certain]

    def finish(self, scored: ScoredRecording) -> Detection:
        """What was found in the whole recording, which was read to its end."""
        duration = scored.duration_seconds
        for channel, finders in self.finders.items():
            for finder in finders:
                self.found[channel] += finder.finish(duration)
        tracks = {channel: sorted(track, key=lambda s: (s.start, s.label)) for channel, track in self.found.items()}
        info = scored.recording.info
        return Detection(
            file=scored.name,
            duration_seconds=duration,
            sample_rate=info.sample_rate,
            channels=info.channels,
            model=self.engine.model.name,
            device=self.engine.device,
            thresholds={label: rule.threshold for label, rule in self.rules.items()},
            tracks={channel: tuple(track) for channel, track in tracks.items()},
            note=scored.recording.note,
        )


def detect_recording(
    file: str | Path | BinaryIO,
    engine: Engine,
    settings: DetectSettings | None = None,
    progress: Callable[[ScoredRecording], None] | None = None,
) -> Detection:
    """Find the segments of every label in one recording, in constant memory. Raises RecordingError.

    `progress` is called after each block of scores.
    """
    settings = settings or DetectSettings()
    detector = Detector(engine, settings)
    with scoring(file, engine, settings.channel) as scored:
        for block in scored.blocks():
            detector.push(block)
            if progress is not None:
                progress(scored)
        return detector.finish(scored)


def detect(
    file: str | Path | BinaryIO,
    model: str | Path = DEFAULT_MODEL,
    settings: DetectSettings | None = None,
    device: str = "auto",
) -> Detection:
    """Find speech, or what the model was trained on, in one recording.

    >>> for segment in audiocnn.detect("interview.wav"):
    ...     print(segment.start, segment.end, segment.score)
    """
    return detect_recording(file, load_engine(find_model(model), device), settings)


def name_of(file: object) -> str:
    """A recording's name in records and messages."""
    return str(file) if isinstance(file, (str, Path)) else show_name(getattr(file, "name", "-"))
