"""Streams on standard input: what is found is written as soon as it is certain; `detect --follow` tells onsets too."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Protocol

from audiocnn.errors import UsageError
from audiocnn_cli.exits import Terminated
from audiocnn_cli.inputs import STDIN
from audiocnn_cli.options import InputOptions
from audiocnn_cli.terminal import Terminal

if TYPE_CHECKING:
    from audiocnn.detection import DetectSettings, ScoredRecording
    from audiocnn.engine import Engine
    from audiocnn.formats.jsonl import FileSummary
    from audiocnn.live import Event, LiveDetector
    from audiocnn.parallel import Reading
    from audiocnn.pcm import RawFormat
    from audiocnn.recording import Recording
    from audiocnn.segments import Segment
    from audiocnn_cli.batch import Batch
    from audiocnn_cli.output import Output


class LiveFindings(Protocol):
    """Takes what is found one by one."""

    def begin(self) -> None:
        """Before everything."""

    def onset(self, file: str, channel: int, start_seconds: float, label: str) -> None:
        """A segment has begun."""

    def segment(self, file: str, channel: int, segment: Segment) -> None:
        """A segment is over."""

    def file(self, file: str, summary: FileSummary, note: str | None) -> None:
        """The stream was read to its end."""

    def failed(self, file: str, problem: str) -> None:
        """It could not be; stderr has it already."""


FOLLOW_FORMATS = ("table", "jsonl", "csv", "tsv")  # that take what is found one by one


def check_follow(files: list[str] | None, given: InputOptions, kind: str) -> None:
    """UsageError for anything but standard input, and for a format that is written when the recording is over."""
    if files != [STDIN] or given.files_from is not None:
        raise UsageError("--follow listens to standard input; name - and nothing else")
    if kind not in FOLLOW_FORMATS:
        raise UsageError(f"--follow writes {', '.join(FOLLOW_FORMATS)}; {kind} needs a recording that has an end")


def follow_stream(
    terminal: Terminal, engine: Engine, settings: DetectSettings, raw: RawFormat | None, kind: str, out: Output
) -> Batch:
    """Listen to standard input until it ends or a signal comes, which ends the command when all is written."""
    from audiocnn.detection import ScoredRecording
    from audiocnn.live import LiveDetector, live_events
    from audiocnn.recording import open_recording
    from audiocnn_cli.batch import Batch

    if terminal.watched:
        terminal.say("listening to standard input; Ctrl-C ends")
    writer = live_findings(kind, out, terminal)
    writer.begin()
    out.flush()
    batch = Batch(terminal, strict=True, failed=writer.failed)
    caught: list[BaseException] = []
    with (
        batch.attempt(STDIN),
        open_recording(terminal.stdin, raw, may_copy=False, name=STDIN) as recording,
        ended_by_signals(recording, caught),
    ):
        terminal.detail(f"{recording.info.sample_rate} Hz, channels: {recording.info.channels}")
        scored = ScoredRecording(recording, STDIN, engine, settings.channel)
        detector = LiveDetector(engine, settings)
        for event in live_events(scored, detector):
            write_event(writer, event, with_onsets=True)
            out.commit()
            out.flush()
        finish(writer, scored, detector, batch)
    out.commit()
    out.flush()
    if caught:
        raise caught[0]
    return batch


def found_at_once(
    reading: Reading, engine: Engine, settings: DetectSettings, writer: LiveFindings, batch: Batch
) -> None:
    """Each segment of a stream as soon as it is certain; the batch flushes before it waits for more."""
    from audiocnn.live import LiveDetector

    detector = LiveDetector(engine, settings)
    for block in reading.blocks():
        for event in detector.push(reading.scored, block):
            write_event(writer, event, with_onsets=False)
        batch.step(reading.scored, block)
    for event in detector.finish(reading.scored):
        write_event(writer, event, with_onsets=False)
    finish(writer, reading.scored, detector, batch)


def finish(writer: LiveFindings, scored: ScoredRecording, detector: LiveDetector, batch: Batch) -> None:
    """The stream is over."""
    from audiocnn.formats.jsonl import FileSummary

    info, note = scored.recording.info, scored.recording.note
    summary = FileSummary(
        duration_seconds=scored.duration_seconds,
        sample_rate=info.sample_rate,
        channels=info.channels,
        segments=detector.segments,
        seconds=detector.seconds,
        model=scored.engine.model.name,
        thresholds=detector.thresholds,
    )
    writer.file(scored.name, summary, note)
    batch.segments += detector.segments
    batch.finish(scored.duration_seconds, note)


def write_event(writer: LiveFindings, event: Event, *, with_onsets: bool) -> None:
    """An onset or a segment."""
    from audiocnn.live import Ending

    if isinstance(event, Ending):
        writer.segment(STDIN, event.channel, event.segment)
    elif with_onsets:
        writer.onset(STDIN, event.channel, event.start, event.label)


def live_findings(kind: str, out: Output, terminal: Terminal) -> LiveFindings:
    """The writer of a format."""
    from audiocnn.formats.rows import SEPARATORS
    from audiocnn_cli.findings import JsonLines, Rows
    from audiocnn_cli.live_lines import LiveLines

    write = terminal.write if out.path is None else out.write
    if kind == "table":
        return LiveLines(write, terminal, moving=out.path is None and terminal.shows_tables and terminal.animate)
    return JsonLines(write) if kind == "jsonl" else Rows(write, SEPARATORS[kind])


@contextmanager
def ended_by_signals(recording: Recording, caught: list[BaseException]) -> Iterator[None]:
    """The first signal that would end the command ends the recording instead, as if nothing more came; `caught` then
    has what to raise when all is written. The second one ends the command at once."""
    ends: dict[int, BaseException] = {signal.SIGINT: KeyboardInterrupt(), signal.SIGTERM: Terminated()}
    if hasattr(signal, "SIGHUP"):
        ends[signal.SIGHUP] = Terminated()
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in ends}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def end(number: int, frame: FrameType | None) -> None:
        for again in ends:
            signal.signal(again, signal.SIG_DFL)
        caught.append(ends[number])
        recording.stop()

    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, end)
    try:
        yield
    finally:
        restore()
