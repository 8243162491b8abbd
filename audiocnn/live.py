"""Live sound: what is found in a stream is told as soon as it is certain, in constant memory, for days.

An onset is told when its segment cannot be dropped any more, with the start that the segment will have; the segment,
when nothing that may come can change it. Times are seconds from the start of the stream.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from audiocnn.detection import Detector, DetectSettings, ScoreBlock, ScoredRecording, name_of
from audiocnn.engine import Engine, load_engine
from audiocnn.model import DEFAULT_MODEL, find_model
from audiocnn.recording import RawFormat, open_recording
from audiocnn.segments import Segment


@dataclass(frozen=True, slots=True)
class Onset:
    """A segment has begun, and will come as an `Ending` with the same start and label."""

    channel: int
    start: float
    label: str


@dataclass(frozen=True, slots=True)
class Ending:
    """A segment is over."""

    channel: int
    segment: Segment


Event = Onset | Ending


class LiveDetector:
    """Scores of a stream in, events out. Of what was found only counts are kept, `segments` and `seconds` a label."""

    def __init__(self, engine: Engine, settings: DetectSettings) -> None:
        self.detector = Detector(engine, settings)
        self.segments = 0
        self.seconds = dict.fromkeys(self.detector.rules, 0.0)

    @property
    def thresholds(self) -> dict[str, float]:
        """Of each label."""
        return {label: rule.threshold for label, rule in self.detector.rules.items()}

    def push(self, scored: ScoredRecording, block: ScoreBlock) -> list[Event]:
        """Takes the next rows of a channel; returns what is certain now."""
        certain = [segment for _, segment in self.detector.push(block)]
        self.detector.found[block.channel].clear()
        return self.events(block.channel, certain, scored.duration_seconds)

    def finish(self, scored: ScoredRecording) -> list[Event]:
        """What is left at the end of the stream."""
        found: list[Event] = []
        for channel, finders in self.detector.finders.items():
            left = [segment for finder in finders for segment in finder.finish(scored.duration_seconds)]
            found += self.events(channel, left, scored.duration_seconds)
        return found

    def events(self, channel: int, segments: list[Segment], heard_seconds: float) -> list[Event]:
        """New onsets and these segments, in the order of their starts; each onset before its segment."""
        timed: list[tuple[float, bool, Event]] = []
        for label, finder in zip(self.seconds, self.detector.finders[channel], strict=True):
            timed += [(start, False, Onset(channel, start, label)) for start in finder.onsets(heard_seconds)]
        for segment in segments:
            timed.append((segment.start, True, Ending(channel, segment)))
            self.segments += 1
            self.seconds[segment.label] += segment.end - segment.start
        return [event for _, _, event in sorted(timed, key=lambda one: one[:2])]


def live_events(scored: ScoredRecording, detector: LiveDetector) -> Iterator[Event]:
    """All events of an open recording, each as soon as it is certain. RecordingError: it cannot be read on."""
    for block in scored.blocks_of(scored.engine.score_live(scored.read())):
        yield from detector.push(scored, block)
    yield from detector.finish(scored)


def follow(
    stream: str | Path | BinaryIO,
    model: str | Path = DEFAULT_MODEL,
    settings: DetectSettings | None = None,
    device: str = "auto",
    raw: RawFormat | None = None,
) -> Iterator[Event]:
    """Listen to a stream of WAV or AU, or of samples that `raw` describes, until it ends. Raises RecordingError.

    >>> for event in audiocnn.follow(sys.stdin.buffer):
    ...     if isinstance(event, audiocnn.Onset):
    ...         print("begins at", event.start)
    """
    settings = settings or DetectSettings()
    engine = load_engine(find_model(model), device)
    yield from follow_with(stream, engine, settings, raw)


def follow_with(
    stream: str | Path | BinaryIO, engine: Engine, settings: DetectSettings, raw: RawFormat | None = None
) -> Iterator[Event]:
    """`follow` with an engine that is there already."""
    detector = LiveDetector(engine, settings)
    with open_recording(stream, raw, may_copy=False) as recording:
        yield from live_events(ScoredRecording(recording, name_of(stream), engine, settings.channel), detector)
