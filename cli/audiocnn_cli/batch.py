"""Many recordings: a bad one is told of and does not stop the others; progress for who waits."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING

from audiocnn.errors import AudiocnnError
from audiocnn.filenames import show_name
from audiocnn.units import clock
from audiocnn_cli.exits import ExitStatus, of_batch
from audiocnn_cli.inputs import Input
from audiocnn_cli.output import OutputError, PassedError
from audiocnn_cli.progress import Bar, rate
from audiocnn_cli.terminal import Terminal

if TYPE_CHECKING:
    from audiocnn.detection import ScoreBlock, ScoredRecording
    from audiocnn.parallel import Reading, Source
    from audiocnn.recording import Recording

Wanted = Callable[[Iterator[Input]], Iterator[Input]]


class Batch:
    """Goes over recordings and counts what became of them. `now` is the one whose turn it is.

    with Batch(...) as batch:
        for reading in batch.over(score_many(batch.sources(inputs, endless), engine, channel, batch.idle)):
            with batch.attempt(reading.name):
                batch.finish(seconds, note)
    """

    def __init__(self, terminal: Terminal, strict: bool, failed: Callable[[str, str], None]) -> None:
        self.terminal, self.strict, self.tell = terminal, strict, failed
        self.done = self.failed = self.damaged = self.segments = 0
        self.segments_before = 0  # in what was done before, by another run
        self.audio_seconds = 0.0  # of what is finished
        self.began = time.monotonic()
        self.bar = Bar(terminal, "")
        self.total: int | None = None
        self.stopped = False
        self.asked: deque[Input] = deque()  # those that are read ahead
        self.now = Input("")
        self.seen = self.given = 0  # in the list; of them to be done now
        self.elsewhere = 0  # of these, what another process did

    def __enter__(self) -> Batch:
        self.bar.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.__exit__(kind, value, trace)

    def over(self, readings: Iterable[Reading]) -> Iterator[Reading]:
        """Each recording; stops after a bad one if that is wanted."""
        for reading in readings:
            self.now = self.asked.popleft()
            yield reading
            if self.stopped:
                return
            self.show(0.0, 0.0)

    def sources(self, inputs: Iterator[Input], endless: bool, wanted: Wanted = iter) -> Iterator[Source]:
        """What to open of the inputs: all, or those that are `wanted`. Looks ahead for how many there are, if somebody
        watches and the list has an end."""
        known: Iterable[Input] = inputs
        if self.terminal.shows_progress and not endless:
            known = list(inputs)
            self.total = len(known)
        return self.opened(wanted(self.counted(known)))

    def opened(self, inputs: Iterator[Input]) -> Iterator[Source]:
        """What to open, when somebody has time for it."""
        from audiocnn.parallel import Source

        for one in inputs:
            self.given += 1
            self.asked.append(one)
            yield Source(one.name, partial(open_input, one))

    def counted(self, inputs: Iterable[Input]) -> Iterator[Input]:
        """These, one by one."""
        for one in inputs:
            self.seen += 1
            yield one

    @property
    def passed(self) -> int:
        """How many of the list were done before, by another run."""
        return self.seen - self.given + self.elsewhere

    def idle(self) -> None:
        """The next scores are not there yet: whoever reads the pipe gets what is."""
        self.terminal.stdout.flush()

    @contextmanager
    def attempt(self, name: str) -> Iterator[None]:
        """The work on one recording."""
        self.bar.what = show_name(name)
        try:
            yield
        except OutputError:
            raise  # there is nowhere to write to
        except PassedError:
            self.elsewhere += 1
        except AudiocnnError as problem:
            self.failed += 1
            self.stopped = self.strict
            self.terminal.error(str(problem))
            self.tell(name, str(problem))

    def finish(self, audio_seconds: float, note: str | None) -> None:
        """One more is done; `note` says what could not be read of it."""
        self.done += 1
        self.audio_seconds += audio_seconds
        if note:
            self.damaged += 1
            self.stopped = self.strict
            self.terminal.error(f"{note}; copy it again", kind="warning")

    def step(self, scored: ScoredRecording, block: ScoreBlock) -> None:
        """A block of the recording in hand is scored."""
        whole = scored.recording.info.duration_seconds
        seconds = (block.first_row + len(block.scores)) * scored.engine.hop_seconds
        self.show(min(1.0, seconds / whole) if whole else 0.0, seconds)

    def show(self, share: float, audio_seconds: float) -> None:
        """Move the bar."""
        files = self.done + self.failed + self.passed
        speed = rate(self.audio_seconds + audio_seconds, time.monotonic() - self.began)
        note = f"{files} of {self.total}, {speed}" if self.total and self.total > 1 else speed
        self.bar.update(files + share, self.total, note)

    @property
    def status(self) -> ExitStatus:
        """How the batch ends."""
        return of_batch(self.done + self.passed, self.failed + self.damaged)

    def report(self, what: str, device: str) -> None:
        """A last line for who watches: how much, how fast, where."""
        if not (self.terminal.watched or self.terminal.verbose) or not (self.done or self.passed):
            return
        files = "1 recording" if self.done == 1 else f"{self.done} recordings"
        speed = rate(self.audio_seconds, time.monotonic() - self.began)
        bad = f", {self.failed} failed" if self.failed else ""
        before = f"; {self.passed} done before" if self.passed else ""
        self.terminal.say(f"{what}{files}, {clock(self.audio_seconds)} of sound, {speed} on {device}{bad}{before}")


def open_input(one: Input) -> Recording:
    """Open what was named. Raises RecordingError."""
    from audiocnn.recording import open_recording

    return open_recording(one.opened, one.raw, name=show_name(one.name))
