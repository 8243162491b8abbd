"""Receives the output of a workflow: `Listener`, which the command displays, and `ProgressListener` for a callback."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from audiocnn.errors import show_name
from audiocnn.progress import Progress, ProgressCallback

if TYPE_CHECKING:
    from audiocnn.data.ingest import IngestStep

FollowIngest = Callable[["IngestStep"], None]
FollowStage = Callable[[int, int, str], None]
"""done, total, and a short text."""


class Listener:
    """Receives the output of a workflow; this class ignores it."""

    def say(self, text: str) -> None:
        """A line for the user."""

    def warn(self, text: str, kind: str = "warning") -> None:
        """A line about a problem; kind "error" for work that failed."""

    def say_block(self, title: str, lines: Sequence[str]) -> None:
        """A title, and lines below it."""
        for line in lines:
            self.say(f"{title}: {line}")

    @contextmanager
    def ingesting(self, what: str = "ingest") -> Iterator[FollowIngest]:
        """Gives a function to call with each step of an ingest."""
        yield lambda step: None

    @contextmanager
    def stage(self, what: str, title: str = "") -> Iterator[FollowStage]:
        """Gives a function to call with each step of some work; title: its name for the user."""
        yield lambda done, total, text: None


class ProgressListener(Listener):
    """Stores the lines, and passes the steps to a callback."""

    def __init__(self, progress: ProgressCallback | None = None) -> None:
        self.progress: ProgressCallback = progress or (lambda moment: None)
        self.notes: list[str] = []
        self.warnings: list[str] = []

    def say(self, text: str) -> None:
        self.notes.append(text)

    def warn(self, text: str, kind: str = "warning") -> None:
        self.warnings.append(text)

    @contextmanager
    def ingesting(self, what: str = "ingest") -> Iterator[FollowIngest]:
        def follow(step: IngestStep) -> None:
            for problem in ([step.reason] if step.reason else []) + list(step.notes):
                name = show_name(step.filename)
                self.warn(problem if problem.startswith(name) else f"{name}: {problem}")
            self.progress(Progress(what, step.done, step.total, show_name(step.filename)))

        yield follow

    @contextmanager
    def stage(self, what: str, title: str = "") -> Iterator[FollowStage]:
        def follow(done: int, total: int, text: str) -> None:
            self.progress(Progress(what, done, total, text))

        yield follow
