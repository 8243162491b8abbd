"""Many recordings one after the other: a bad one is told of and does not stop the others; progress for who waits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

from audiocnn.errors import AudiocnnError
from audiocnn.filenames import show_name
from audiocnn.units import clock
from audiocnn_cli.exits import ExitStatus, of_batch
from audiocnn_cli.progress import Bar, rate
from audiocnn_cli.terminal import Terminal

if TYPE_CHECKING:
    from audiocnn.detection import ScoredRecording
    from audiocnn_cli.inputs import Input


class Batch:
    """Goes over recordings and counts what became of them.

    with Batch(...) as batch:
        for one in batch.over(inputs):
            with batch.attempt(one):
                batch.finish(seconds, note)
    """

    def __init__(self, terminal: Terminal, strict: bool, failed: Callable[[str, str], None]) -> None:
        self.terminal, self.strict, self.tell = terminal, strict, failed
        self.done = self.failed = self.damaged = self.segments = 0
        self.audio_seconds = 0.0  # of what is finished
        self.began = time.monotonic()
        self.bar = Bar(terminal, "")
        self.total: int | None = None
        self.stopped = False

    def __enter__(self) -> Batch:
        self.bar.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.__exit__(kind, value, trace)

    def over(self, inputs: Iterable[Input]) -> Iterator[Input]:
        """Each recording; stops after a bad one if that is wanted."""
        for one in inputs:
            yield one
            if self.stopped:
                return
            self.show(0.0, 0.0)

    def count(self, inputs: Iterator[Input], endless: bool) -> Iterator[Input]:
        """Look ahead for how many there are, if somebody watches and the list has an end."""
        if endless or not self.terminal.shows_progress:
            return inputs
        known = list(inputs)
        self.total = len(known)
        return iter(known)

    @contextmanager
    def attempt(self, one: Input) -> Iterator[None]:
        """The work on one recording."""
        self.bar.what = show_name(one.name)[-30:]
        try:
            yield
        except AudiocnnError as problem:
            self.failed += 1
            self.stopped = self.strict
            self.terminal.error(str(problem))
            self.tell(one.name, str(problem))

    def finish(self, audio_seconds: float, note: str | None) -> None:
        """One more is done; `note` says what could not be read of it."""
        self.done += 1
        self.audio_seconds += audio_seconds
        self.terminal.stdout.flush()  # whoever reads the pipe need not wait for the next recording
        if note:
            self.damaged += 1
            self.stopped = self.strict
            self.terminal.error(f"{note}; copy it again", kind="warning")

    def step(self, scored: ScoredRecording) -> None:
        """A block of the recording in hand is scored."""
        whole = scored.recording.info.duration_seconds
        self.show(min(1.0, scored.duration_seconds / whole) if whole else 0.0, scored.duration_seconds)

    def show(self, share: float, audio_seconds: float) -> None:
        """Move the bar."""
        files = self.done + self.failed
        speed = rate(self.audio_seconds + audio_seconds, time.monotonic() - self.began)
        note = f"{files} of {self.total}, {speed}" if self.total and self.total > 1 else speed
        self.bar.update(files + share, self.total, note)

    @property
    def status(self) -> ExitStatus:
        """How the batch ends."""
        return of_batch(self.done, self.failed + self.damaged)

    def report(self, what: str) -> None:
        """A last line for who watches: how much, how fast."""
        if not (self.terminal.watched or self.terminal.verbose) or not self.done:
            return
        files = "1 recording" if self.done == 1 else f"{self.done} recordings"
        speed = rate(self.audio_seconds, time.monotonic() - self.began)
        bad = f", {self.failed} failed" if self.failed else ""
        self.terminal.say(f"{what}{files}, {clock(self.audio_seconds)} of sound, {speed}{bad}")
