"""What `ingest` does, followed on stderr: a bar, the refused files with their reasons, and counts."""

from __future__ import annotations

import time
from collections import Counter
from types import TracebackType
from typing import TYPE_CHECKING

from audiocnn_cli.findings import plural
from audiocnn_cli.progress import Bar, rate
from audiocnn_cli.terminal import Terminal, printable

if TYPE_CHECKING:
    from audiocnn.ingest import IngestStep

MOST_LISTED = 20


class IngestFollower:
    """Called with each step; used as a context, so that the bar goes away."""

    def __init__(self, terminal: Terminal, what: str) -> None:
        self.terminal = terminal
        self.bar = Bar(terminal, what)
        self.counts: Counter[str] = Counter()
        self.listed = self.problems = 0
        self.seconds = 0.0
        self.began = time.monotonic()

    def __enter__(self) -> IngestFollower:
        self.bar.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.__exit__(kind, value, trace)
        if self.problems > self.listed and kind is None:
            rest = plural(self.problems - self.listed, "more problem")
            self.terminal.say(f"audiocnn: ... and {rest}; -v lists all, and the dataset keeps them")

    def __call__(self, step: IngestStep) -> None:
        self.counts[step.outcome] += 1
        self.seconds += step.seconds if step.outcome in ("added", "updated") else 0.0
        for problem in ([step.reason] if step.reason else []) + list(step.notes):
            self.tell(step.filename, problem, "refused" if step.reason else "note")
        speed = rate(self.seconds, time.monotonic() - self.began)
        self.bar.update(step.done, step.total, f"{step.done} of {step.total}" + (f", {speed}" if self.seconds else ""))

    def tell(self, filename: str, problem: str, kind: str) -> None:
        """One line for each of the first problems."""
        self.problems += 1
        if self.listed < MOST_LISTED or self.terminal.verbose:
            self.listed += 1
            name = printable(filename)
            self.terminal.error(problem if problem.startswith(name) else f"{name}: {problem}", kind=kind)
