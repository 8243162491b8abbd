"""Recordings to segments: one (`detect`), many (`detect_many`), or a live stream (`follow`).

    recording -> samples -> windows -> features -> network -> scores -> segments

Everything is streamed: memory does not grow with the recording. In a stream, an onset is reported as soon as its
segment can no longer be dropped, with the final start. The segment is reported when no further sound can change it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from audiocnn.audio.arrays import AnyArray
from audiocnn.audio.pcm import RawFormat
from audiocnn.audio.recording import Selection
from audiocnn.errors import RecordingError
from audiocnn.inference.batcher import Scores
from audiocnn.inference.engine import Engine, engine_of, load_engine
from audiocnn.inference.frames import data_frame
from audiocnn.inference.scores import (
    RecordingLike,
    RecordingResult,
    ScoreBlock,
    ScoredRecording,
    follow_results,
    map_many,
    scoring,
)
from audiocnn.model.model import (
    DEFAULT_LIVE_MODEL,
    DEFAULT_MODEL,
    Model,
    ModelLike,
    Thresholds,
    find_model,
    threshold_of_each,
)
from audiocnn.progress import ProgressCallback
from audiocnn.segments.finder import SegmentFinder, SegmentRule
from audiocnn.segments.segment import Segment
from audiocnn.units import round_seconds

if TYPE_CHECKING:
    import pandas

_NO_VALUES = ("channel", "sensitivity", "threshold")  # of `DetectSettings`; the others override values of every rule


@dataclass(frozen=True)
class DetectSettings:
    """Settings that override a model. With None, the setting of the model applies, or the default of `SegmentRule`.

    - `sensitivity`: an operating point of the model, "balanced", "sensitive" or "precise". Other settings take
      precedence.
    - `threshold`: for all labels, or by label, as in {"dog": 0.6}. Other labels keep the threshold of the model, or get
      the value of the key None.
    - `pad_seconds`: extends segments at the start, and at the end too unless `end_pad_seconds` is set.
    - `channel`: "mix" (the mean of all), "each", or a channel number. A network with several channels always uses all.
    """

    threshold: Thresholds = None
    neg_threshold: float | None = None
    min_speech_seconds: float | None = None
    min_silence_seconds: float | None = None
    pad_seconds: float | None = None
    max_speech_seconds: float | None = None
    end_pad_seconds: float | None = None
    channel: str | int = "mix"
    sensitivity: str | None = None

    def rules(self, model: Model) -> dict[str, SegmentRule]:
        """The rule for each label. Raises UsageError for an invalid value."""
        changes = {name: value for name, value in vars(self).items() if name not in _NO_VALUES}
        thresholds = zip(model.labels, threshold_of_each(self.threshold, model.labels), strict=True)
        return {
            label: model.rule(label, self.sensitivity, threshold=threshold, **changes)
            for label, threshold in thresholds
        }


@dataclass(frozen=True)
class Detection(RecordingResult):
    """The segments found in one recording. Times are in seconds; `tracks` has the segments of each channel that was
    read.

    - `note`: that the recording is damaged or cut short, and how far it could be read.
    - `remarks`: other observations about a recording that was read completely.
    """

    thresholds: dict[str, float]
    tracks: dict[int, tuple[Segment, ...]] = field(default_factory=dict)
    note: str | None = None
    remarks: tuple[str, ...] = ()

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The segments of all channels, ordered by channel."""
        return tuple(segment for track in self.tracks.values() for segment in track)

    def __iter__(self) -> Iterator[Segment]:
        return iter(self.segments)

    def to_dataframe(self) -> pandas.DataFrame:
        """One row per segment: file, channel, start, end, label, score. Raises UsageError without pandas."""
        rows = [(channel, one) for channel, track in self.tracks.items() for one in track]
        return data_frame(
            {
                "file": [self.file] * len(rows),
                "channel": [channel for channel, _ in rows],
                "start": [one.start for _, one in rows],
                "end": [one.end for _, one in rows],
                "label": [one.label for _, one in rows],
                "score": [one.score for _, one in rows],
            }
        )

    def seconds(self) -> dict[str, float]:
        """Total duration of each label, over all channels."""
        totals = dict.fromkeys(self.thresholds, 0.0)
        for segment in self:
            totals[segment.label] += segment.end - segment.start
        return totals


@dataclass(frozen=True, slots=True)
class Onset:
    """The beginning of a segment, which will follow as an `Ending` with the same start and label. Times are in seconds
    from the beginning.

    - `known`: how much had been heard when the onset was certain.
    - `start_sample`: with a `Stream`, the start in samples at the rate of the stream.
    - `samples`: with a `Stream` and `pre_roll`, the sound from there on, in the form in which it was pushed: (samples,)
      or (channels, samples).
    """

    channel: int
    start: float
    label: str
    known: float | None = field(default=None, compare=False)
    start_sample: int | None = field(default=None, compare=False)
    samples: AnyArray | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Ending:
    """A segment in its final form. `known` is as in `Onset`. With a `Stream`, it also has its samples [start, end)."""

    channel: int
    segment: Segment
    known: float | None = field(default=None, compare=False)
    start_sample: int | None = field(default=None, compare=False)
    end_sample: int | None = field(default=None, compare=False)


Event = Onset | Ending


class Detector:
    """Turns the scores of one recording into onsets and segments, each reported as soon as it is certain.

    Results are not stored, so that a stream may be endless: `segments` is their number so far, `seconds` the duration
    of each label. finders: for each channel, one finder per label, in the order of the model's labels.
    """

    def __init__(self, model: Model, settings: DetectSettings) -> None:
        self.model, self.hop_seconds = model, model.geometry.hop_seconds
        self.rules = settings.rules(model)
        self.finders: dict[int, list[SegmentFinder]] = {}
        self.segments = 0
        self.seconds = dict.fromkeys(self.rules, 0.0)

    @property
    def thresholds(self) -> dict[str, float]:
        return {label: rule.threshold for label, rule in self.rules.items()}

    def push(self, block: ScoreBlock) -> list[Event]:
        """Add the next rows of a channel. Returns what is now certain, each onset before its segment."""
        channel = block.channel
        if channel not in self.finders:
            localiser = self.model.localiser
            finder = localiser.finder if localiser else SegmentFinder
            self.finders[channel] = [finder(label, self.hop_seconds, rule) for label, rule in self.rules.items()]
        certain = [
            segment for column, finder in enumerate(self.finders[channel]) for segment in finder.push(block.of(column))
        ]
        return self._events(channel, certain, block.heard_seconds, block.start_seconds)

    def passes(self, scores: Scores) -> bool:
        """Add the next rows (rows, 1) of channel 0 if they cause no event. Returns whether they were added. A fast path
        for live sound with a single label."""
        finders = self.finders.get(0)
        if not finders or scores.shape[1] > 1:
            return False
        return finders[0].passes(scores.ravel().tolist())

    def finish(self, scored: ScoredRecording) -> list[Event]:
        return self.finish_at(scored.duration_seconds, scored.start_seconds)

    def finish_at(self, duration_seconds: float, start_seconds: float = 0.0) -> list[Event]:
        """The remaining events at the end of the recording."""
        events: list[Event] = []
        for channel, finders in self.finders.items():
            left = [segment for finder in finders for segment in finder.finish(duration_seconds)]
            events += self._events(channel, left, duration_seconds, start_seconds)
        return events

    def earliest_onset(self) -> float:
        """No future onset starts before this time, in seconds of the sound read."""
        return min((one.earliest_onset() for own in self.finders.values() for one in own), default=0.0)

    def _events(self, channel: int, segments: list[Segment], heard_seconds: float, start_seconds: float) -> list[Event]:
        """New onsets and these segments, ordered by start. start_seconds: position in the recording from which the
        finders count."""
        timed: list[tuple[float, bool, Event]] = []
        known = start_seconds + heard_seconds
        for label, finder in zip(self.rules, self.finders[channel], strict=True):
            onsets = [round_seconds(start_seconds + start) for start in finder.onsets(heard_seconds)]
            timed += [(start, False, Onset(channel, start, label, known)) for start in onsets]
        for found in segments:
            start, end = round_seconds(start_seconds + found.start), round_seconds(start_seconds + found.end)
            segment = replace(found, start=start, end=end)
            timed.append((segment.start, True, Ending(channel, segment, known)))
            self.segments += 1
            self.seconds[segment.label] += segment.end - segment.start
        return [event for _, _, event in sorted(timed, key=lambda one: one[:2])]

    def detection(self, scored: ScoredRecording, events: Iterable[Event]) -> Detection:
        found = defaultdict[int, list[Segment]](list)
        for event in events:
            if isinstance(event, Ending):
                found[event.channel].append(event.segment)
        tracks = {channel: sorted(found[channel], key=lambda s: (s.start, s.label)) for channel in self.finders}
        return Detection(
            **scored.facts(),
            thresholds=self.thresholds,
            tracks={channel: tuple(track) for channel, track in tracks.items()},
        )


def detect_scored(
    scored: ScoredRecording,
    settings: DetectSettings,
    progress: Callable[[ScoredRecording, ScoreBlock], object] | None = None,
) -> Detection:
    """The segments of every label in an open recording, with constant memory. Raises RecordingError.

    `progress` is called after each block of scores.
    """
    detector = Detector(scored.engine.model, settings)
    return detector.detection(scored, scored.results(detector, progress))


def detect_recording(
    file: str | Path | BinaryIO | AnyArray,
    engine: Engine,
    settings: DetectSettings | None = None,
    excerpt: Selection | None = None,
    sample_rate: int | None = None,
) -> Detection:
    """`detect` with an engine that is already loaded."""
    settings = settings or DetectSettings()
    settings.rules(engine.model)  # refuse invalid settings before the file is opened
    with scoring(file, engine, settings.channel, excerpt=excerpt, sample_rate=sample_rate) as scored:
        return detect_scored(scored, settings)


def detect(
    file: str | Path | BinaryIO | AnyArray,
    model: ModelLike = DEFAULT_MODEL,
    settings: DetectSettings | None = None,
    device: str = "auto",
    *,
    sample_rate: int | None = None,
    start_seconds: float = 0.0,
    end_seconds: float | None = None,
    track: int | None = None,
) -> Detection:
    """Find the labels of a model, speech by default, in one recording or an excerpt of it. Raises RecordingError.

    - `file`: a name, an open file, or an array with a `sample_rate`: (samples,) or (channels, samples), floats in [-1,
      1] or int16.
    - `track`: audio track of a video file, from 0; None is its default track.

    >>> for segment in audiocnn.detect("interview.wav"):
    ...     print(segment.start, segment.end, segment.score)
    """
    excerpt = Selection(start_seconds, end_seconds, track)
    return detect_recording(file, load_engine(find_model(model), device), settings, excerpt, sample_rate)


def detect_many(
    files: Iterable[RecordingLike],
    engine: Engine | ModelLike = DEFAULT_MODEL,
    settings: DetectSettings | None = None,
    idle: Callable[[], object] = lambda: None,
    progress: ProgressCallback | None = None,
) -> Generator[Detection | RecordingError]:
    """Detect in many files: returns the detection of each, or the error that stopped it, in order. A bad file does not
    stop the others.

    - `engine`: the result of `load_engine`, to reuse it; or a model.
    - `files`: may be endless.
    - `idle`: called before waiting for a file or for scores.
    - `progress`: called with a `Progress` after each file.
    """
    settings, engine = settings or DetectSettings(), engine_of(engine)
    settings.rules(engine.model)  # refuse invalid settings before a file is opened
    found = map_many(lambda scored: detect_scored(scored, settings), files, engine, settings.channel, idle)
    yield from follow_results(found, files, "detect", progress)


def follow(
    stream: str | Path | BinaryIO,
    model: ModelLike = DEFAULT_LIVE_MODEL,
    settings: DetectSettings | None = None,
    device: str = "auto",
    raw: RawFormat | None = None,
) -> Iterator[Event]:
    """Process a stream of WAV or AU, or of samples described by `raw`, until it ends. Raises RecordingError.

    >>> for event in audiocnn.follow(sys.stdin.buffer):
    ...     if isinstance(event, audiocnn.Onset):
    ...         print("begins at", event.start)
    """
    yield from follow_with(stream, load_engine(find_model(model), device), settings or DetectSettings(), raw)


def follow_with(
    stream: str | Path | BinaryIO, engine: Engine, settings: DetectSettings, raw: RawFormat | None = None
) -> Iterator[Event]:
    """`follow` with an engine that is already loaded."""
    detector = Detector(engine.model, settings)
    with scoring(stream, engine, settings.channel, raw, live=True) as scored:
        yield from scored.results(detector)
