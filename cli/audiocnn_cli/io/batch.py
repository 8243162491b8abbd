"""Processing of many recordings: a bad one is reported and does not stop the others; progress is shown."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from audiocnn.errors import AudiocnnError, show_name
from audiocnn.units import clock, format_speed
from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.app.progress import Bar
from audiocnn_cli.app.terminal import Terminal
from audiocnn_cli.io.inputs import Input
from audiocnn_cli.io.output import ExistsError, OutputError, PassedError, there_already

if TYPE_CHECKING:
    from audiocnn.audio.recording import Recording
    from audiocnn.inference.scores import RecordingSource, ScoreBlock, ScoredRecording


def batch_status(done: int, failed: int) -> ExitStatus:
    """The exit status of a batch, by the numbers of recordings that succeeded and failed."""
    if not failed:
        return ExitStatus.OK
    return ExitStatus.SOME_FAILED if done else ExitStatus.USAGE


_MOST_LISTED = 20


class ReadNotes(Protocol):
    """Notes about reading a recording: `note` if part of it could not be read, and other remarks."""

    @property
    def note(self) -> str | None: ...

    @property
    def remarks(self) -> Sequence[str]: ...


Wanted = Callable[[Iterator[Input]], Iterator[Input]]


class BatchRun:
    """Goes over recordings and counts the outcomes. `now` is the current recording.

    with BatchRun(...) as batch:
        for reading in batch.over(score_many(batch.sources(inputs, endless), engine, channel, batch.idle)):
            with batch.attempt(reading.name):
                batch.finish(seconds, reading.recording)
    """

    def __init__(self, terminal: Terminal, strict: bool, failed: Callable[[str, str], None]) -> None:
        self.terminal, self.strict, self.tell = terminal, strict, failed
        self.done = self.failed = self.damaged = self.segments = 0
        self.partly = False  # whether results of an unfinished stream were written
        self.segments_before = 0  # found by an earlier run
        self.audio_seconds = 0.0  # of finished recordings
        self.began = time.monotonic()
        self.bar = Bar(terminal, "")
        self.total: int | None = None
        self.stopped = False
        self.asked: deque[Input] = deque()  # recordings that are read ahead
        self.now = Input("")
        self.seen = self.given = 0  # recordings in the list; of these, to be processed now
        self.elsewhere = 0  # of these, processed by another process
        self.short = 0  # recordings that ended before --end
        self.existing: list[Path] = []  # outputs that already existed

    def __enter__(self) -> BatchRun:
        self.bar.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.__exit__(kind, value, trace)

    def over(self, readings: Iterable[ScoredRecording]) -> Iterator[ScoredRecording]:
        """The readings, up to the first bad one if that should stop the run."""
        for reading in readings:
            self.now = self.asked.popleft()
            yield reading
            if self.stopped:
                return
            self.show(0.0, 0.0)

    def sources(self, inputs: Iterator[Input], endless: bool, wanted: Wanted = iter) -> Iterator[RecordingSource]:
        """Sources for all inputs, or for those that `wanted` selects. If progress is shown and the list is not endless,
        the inputs are counted first."""
        known: Iterable[Input] = inputs
        if self.terminal.shows_progress and not endless:
            known = list(inputs)
            self.total = len(known)
        return self.opened(wanted(self.counted(known)))

    def opened(self, inputs: Iterator[Input]) -> Iterator[RecordingSource]:
        """Sources that open their inputs only when they are read."""
        from audiocnn.inference.scores import RecordingSource

        for one in inputs:
            self.given += 1
            self.asked.append(one)
            yield RecordingSource(one.name, partial(open_input, one))

    def counted(self, inputs: Iterable[Input]) -> Iterator[Input]:
        for one in inputs:
            self.seen += 1
            yield one

    @property
    def passed(self) -> int:
        """How many recordings of the list were done by an earlier run or another process."""
        return self.seen - self.given + self.elsewhere

    def idle(self) -> None:
        """Flush stdout before waiting for scores, so that a reader of the pipe gets all results so far."""
        self.terminal.stdout.flush()

    @contextmanager
    def attempt(self, name: str) -> Iterator[None]:
        """Context for the work on one recording: errors are reported and counted."""
        self.bar.what = show_name(name)
        try:
            yield
        except OutputError:
            raise  # nothing more can be written
        except PassedError:
            self.elsewhere += 1
        except AudiocnnError as problem:
            self.failed += 1
            self.stopped = self.stopped or self.strict
            if isinstance(problem, ExistsError):
                self.existing.append(problem.path)
            else:
                self.terminal.error(str(problem))
            self.tell(name, str(problem))

    def finish(self, audio_seconds: float, read: ReadNotes, is_short: bool = False) -> None:
        """Count a finished recording and print notes about reading it. is_short: it ends before --end."""
        self.done += 1
        self.short += is_short
        self.audio_seconds += audio_seconds
        for remark in read.remarks:
            self.terminal.note(remark)
        if read.note:
            self.damaged += 1
            self.stopped = self.strict
            self.terminal.error(f"{read.note}; copy it again", kind="warning")

    def tell_existing(self) -> None:
        """Print one line for all outputs that already existed."""
        if self.existing:
            self.terminal.error(there_already(self.existing, self.terminal.verbose))

    def left_out(self, lost: Sequence[str], cut: Sequence[str] = ()) -> None:
        """Report labels of a recording that were lost, and labels that were cut. A lost label counts as damage."""
        self.damaged += bool(lost)
        self.stopped = self.stopped or (self.strict and bool(lost))
        for number, line in enumerate([*lost, *cut]):
            if number < _MOST_LISTED or self.terminal.verbose:
                self.terminal.error(line, kind="warning")
            elif number == _MOST_LISTED:
                self.terminal.say(f"audiocnn: ... and {len(lost) + len(cut) - number} more; -v lists all")

    def step(self, scored: ScoredRecording, block: ScoreBlock) -> None:
        whole = scored.recording.seconds_to_read
        seconds = (block.first_row + len(block.scores)) * scored.engine.hop_seconds
        self.show(min(1.0, seconds / whole) if whole else 0.0, seconds)

    def show(self, share: float, audio_seconds: float) -> None:
        files = self.done + self.failed + self.passed
        speed = format_speed(self.audio_seconds + audio_seconds, time.monotonic() - self.began)
        note = f"{files} of {self.total}, {speed}" if self.total and self.total > 1 else speed
        self.bar.update(files + share, self.total, note)

    def status(self, exit_status: bool = False) -> ExitStatus:
        """The exit status of the batch. With --exit-status it also depends on whether anything was found."""
        status = batch_status(self.done + self.passed + self.partly, self.failed + self.damaged)
        if exit_status and status is ExitStatus.OK and not self.segments + self.segments_before:
            return ExitStatus.NOTHING_FOUND
        return status

    def report(self, what: str, device: str, place: str = "", is_told: bool = False) -> None:
        """Print a last line on a terminal: amount, speed, and where the results are. is_told: the amount was printed
        already."""
        if not (self.terminal.watched or self.terminal.verbose) or not (self.done or self.passed):
            return
        if not self.done:
            bad = f", {self.failed} failed" if self.failed else ""
            self.terminal.say(f"nothing new: {self.passed} already done{bad}")
            return
        files = "1 recording" if self.done == 1 else f"{self.done} recordings"
        speed = format_speed(self.audio_seconds, time.monotonic() - self.began)
        where = f" on {device}" if device else ""
        bad = f", {self.failed} failed" if self.failed else ""
        before = f"; {self.passed} already done" if self.passed else ""
        before += f"; {self.short} ended before --end" if self.short else ""
        place = f"; written to {place}" if place else ""
        amount = "" if is_told else f"{what}{files}, {clock(self.audio_seconds)} of sound, "
        self.terminal.say(f"{amount}{speed}{where}{'' if is_told else bad}{before}{place}")


def open_input(one: Input) -> Recording:
    """Open an input. Raises RecordingError."""
    from audiocnn.audio.recording import open_recording

    return open_recording(one.opened, one.raw, name=show_name(one.name), excerpt=one.excerpt)
