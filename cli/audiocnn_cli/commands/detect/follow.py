"""Streams on standard input: segments are written as soon as they are final; `detect --follow` also writes onsets."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Any

from audiocnn.errors import UsageError, printable
from audiocnn.inference.detect import Detector, Ending, Onset
from audiocnn.labels.formats.base import Writer
from audiocnn.labels.formats.jsonl import FileSummary
from audiocnn.segments.segment import Segment
from audiocnn.units import clock, plural
from audiocnn_cli.app.draw import format_moment
from audiocnn_cli.app.exits import Terminated
from audiocnn_cli.app.options import InputOptions
from audiocnn_cli.app.terminal import STALL_SECONDS, Terminal
from audiocnn_cli.commands.detect.writers import COLOURS, LIVE_FORMATS, DetectResult, live_writer
from audiocnn_cli.io.inputs import STDIN
from audiocnn_cli.io.output import open_output
from audiocnn_cli.io.results import Destination, ResultWriter

if TYPE_CHECKING:
    from audiocnn.audio.pcm import RawFormat
    from audiocnn.audio.recording import Recording, Selection
    from audiocnn.inference.detect import DetectSettings
    from audiocnn.inference.engine import Engine
    from audiocnn.inference.scores import ScoredRecording
    from audiocnn_cli.io.batch import BatchRun
    from audiocnn_cli.io.job import BlockProgress

_HOUR_SECONDS = 3600.0  # the length is unknown, so times are formatted with hours from the start
_ERASE_LINE = "\r\x1b[2K"
_FOLLOW_FORMATS = ("table", *LIVE_FORMATS)


def check_follow(files: list[str] | None, given: InputOptions, kind: str) -> None:
    """Raises UsageError for other inputs than standard input, and for formats that are written at the end of a
    recording."""
    if files != [STDIN] or given.files_from is not None:
        raise UsageError("--follow reads standard input; give - and no other file")
    if kind not in _FOLLOW_FORMATS:
        fact = f"--follow cannot write {kind}, which is written at the end of a recording"
        raise UsageError(f"{fact}; use {', '.join(_FOLLOW_FORMATS)}")


def follow_stream(
    terminal: Terminal,
    engine: Engine,
    settings: DetectSettings,
    raw: RawFormat | None,
    excerpt: Selection | None,
    kind: str,
    destination: Destination,
) -> BatchRun:
    """Process standard input until it ends or a signal arrives. After a signal, remaining output is still written."""
    from audiocnn.audio.recording import open_recording
    from audiocnn.inference.scores import ScoredRecording
    from audiocnn_cli.io.batch import BatchRun

    with open_output(destination.path, terminal, replace=destination.force) as out:
        if terminal.watched:
            terminal.say("listening to standard input; press Ctrl-C to stop")
        moving = out.path is None and terminal.shows_tables and terminal.animate
        writer = ResultWriter(LiveLines(terminal, moving) if kind == "table" else live_writer(kind), out, terminal)
        writer.begin()
        out.flush()
        batch = BatchRun(terminal, strict=True, failed=writer.failed)
        caught: list[BaseException] = []
        with (
            batch.attempt(STDIN),
            open_recording(terminal.stdin, raw, may_copy=False, name=STDIN, excerpt=excerpt) as recording,
            _EndingSignals(recording, partial(terminal.silence, out.file), caught) as signals,
        ):
            terminal.detail(f"{recording.info.sample_rate} Hz, channels: {recording.info.channels}")
            scored = ScoredRecording(recording, STDIN, engine, settings.channel, live=True)
            detector = Detector(engine.model, settings)
            for event in scored.results(detector):
                with signals.writing():
                    writer.recording(event)
                    out.commit()
                    out.flush()
                batch.partly = True
            with signals.writing():
                writer.recording(_summary(scored, detector))
                out.commit()
                out.flush()
            batch.segments += detector.segments
            batch.finish(scored.duration_seconds, recording)
        out.commit()
        out.flush()
        if caught:
            raise caught[0]
    return batch


def detect_live(
    scored: ScoredRecording, settings: DetectSettings, progress: BlockProgress
) -> Iterator[Ending | FileSummary]:
    """The segments of a stream as soon as they are final, and a summary at the end."""
    detector = Detector(scored.engine.model, settings)
    yield from (event for event in scored.results(detector, progress) if isinstance(event, Ending))
    yield _summary(scored, detector)


def _summary(scored: ScoredRecording, detector: Detector) -> FileSummary:
    info, note = scored.recording.info, scored.recording.note
    return FileSummary(
        start_seconds=scored.start_seconds,
        duration_seconds=scored.start_seconds + scored.duration_seconds,
        sample_rate=info.sample_rate,
        channels=info.channels,
        segments=detector.segments,
        seconds=detector.seconds,
        model=scored.engine.model.name,
        thresholds=detector.thresholds,
        note=printable(note) if note else None,
        remarks=[printable(remark) for remark in scored.recording.remarks],
    )


class _EndingSignals:
    """The first signal ends the recording instead of the command, as if the stream had ended. `caught` then contains
    the exception to raise when all output is written, or when nobody reads it. A second signal ends the command at
    once."""

    def __init__(self, recording: Recording, give_up: Callable[[], object], caught: list[BaseException]) -> None:
        """give_up: discards all output that is still to be written."""
        self.recording, self.give_up, self.caught = recording, give_up, caught
        self.ends: dict[int, BaseException] = {signal.SIGINT: KeyboardInterrupt(), signal.SIGTERM: Terminated()}
        if hasattr(signal, "SIGHUP"):
            self.ends[signal.SIGHUP] = Terminated()
        self.before: dict[int, Any] = {}
        self.since: float | None = None  # when the current write began

    def __enter__(self) -> _EndingSignals:
        if threading.current_thread() is threading.main_thread():
            self.before = {number: signal.getsignal(number) for number in self.ends}
        for number, handler in self.before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, self.end)
        return self

    def __exit__(self, *_: object) -> None:
        if self.caught and hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self.before.items():
            signal.signal(number, handler)

    @contextmanager
    def writing(self) -> Iterator[None]:
        self.since = time.monotonic()
        try:
            yield
        finally:
            self.since = None

    def end(self, number: int, frame: FrameType | None) -> None:
        for again in self.ends:
            signal.signal(again, signal.SIG_DFL)
        self.caught.append(self.ends[number])
        self.recording.stop()
        if hasattr(signal, "setitimer"):
            self.before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self.check_writing) or signal.SIG_DFL
            signal.setitimer(signal.ITIMER_REAL, STALL_SECONDS, STALL_SECONDS)

    def check_writing(self, number: int, frame: FrameType | None) -> None:
        if self.since is not None and time.monotonic() - self.since >= STALL_SECONDS:
            self.give_up()


class LiveLines(Writer[DetectResult]):
    """Live output to read: a line for each segment, which on a terminal appears at the onset.

    moving: lines may be redrawn; otherwise an onset is written as a separate line.
    """

    drawn = True

    def __init__(self, terminal: Terminal, moving: bool) -> None:
        super().__init__()
        self.terminal, self.moving = terminal, moving and not terminal.dumb
        self.open: dict[tuple[int, str], float] = {}  # onsets without their segment
        self.colours: dict[str, str] = {}
        self.standing = False  # whether the current line will be redrawn

    def begin(self) -> str:
        return self.line(f"{'start':>12}  {'end':>12}  {'length':>8}  score  label", "bold")

    def recording(self, recording: DetectResult) -> str:
        if isinstance(recording, Onset):
            return self.onset(recording)
        if isinstance(recording, Ending):
            return self.segment(recording.channel, recording.segment)
        assert isinstance(recording, FileSummary)
        found = ", ".join(f"{printable(label)} {clock(seconds)}" for label, seconds in recording.seconds.items())
        heard = clock(recording.duration_seconds or 0.0)
        return self.line(f"{heard} processed, {plural(recording.segments, 'segment')}: {found}")

    def onset(self, onset: Onset) -> str:
        self.open[onset.channel, onset.label] = onset.start
        return self.draw() if self.moving else self.line(self.begun(onset.channel, onset.start, onset.label))

    def segment(self, channel: int, segment: Segment) -> str:
        if self.open.get((channel, segment.label)) == segment.start:
            del self.open[channel, segment.label]
        times = f"{format_moment(segment.start, _HOUR_SECONDS):>12}  {format_moment(segment.end, _HOUR_SECONDS):>12}"
        length = f"{segment.end - segment.start:8.2f}"
        name = self.name(channel, segment.label)
        return self.line(f"{times}  {length}  {segment.score:5.2f}  {name}", segment.label) + self.draw()

    def failed(self, file: str, problem: str) -> str:
        """End the current line, which stays as it is."""
        ended, self.standing = "\n" if self.standing else "", False
        return ended

    def begun(self, channel: int, start_seconds: float, label: str) -> str:
        """The line of a segment whose end is not known yet."""
        start = format_moment(start_seconds, _HOUR_SECONDS)
        return f"{start:>12}  {'...':>12}  {'':8}  {'':5}  {self.name(channel, label)}"

    def name(self, channel: int, label: str) -> str:
        """The label, with the channel unless it is the first."""
        return printable(label) if channel == 0 else f"{printable(label)}, channel {channel}"

    def draw(self) -> str:
        """The line to be redrawn: the onset that has been open longest."""
        if not self.moving or not self.open:
            return ""
        (channel, label), start = min(self.open.items(), key=lambda one: one[1])
        erase, self.standing = _ERASE_LINE if self.standing else "", True
        return erase + self.coloured(self.begun(channel, start, label), label)

    def line(self, text: str, style: str = "") -> str:
        """A permanent line, which replaces the one to be redrawn."""
        erase, self.standing = _ERASE_LINE if self.standing else "", False
        return erase + self.coloured(text, style) + "\n"

    def coloured(self, text: str, style: str) -> str:
        """The text in the colour of a label, cut to the width of the terminal."""
        from rich.text import Text

        console = self.terminal.out
        if style and style != "bold":
            style = self.colours.setdefault(style, COLOURS[len(self.colours) % len(COLOURS)])
        with console.capture() as drawn:
            console.print(Text(text, style=style), end="", no_wrap=True, overflow="ellipsis", crop=True)
        return drawn.get()
