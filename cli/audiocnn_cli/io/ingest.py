"""Progress of `ingest` on stderr: a bar, refused files with the reasons, and counts."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from audiocnn.errors import printable
from audiocnn.units import format_speed, plural
from audiocnn_cli.app.progress import Bar
from audiocnn_cli.app.terminal import Terminal

if TYPE_CHECKING:
    from audiocnn.data.dataset import Dataset
    from audiocnn.data.ingest import IngestStep
    from audiocnn.data.survey import Survey

_MOST_LISTED = 20


class IngestFollower:
    """Follows an ingest. It is called with each step, and is a context manager that removes the bar at the end."""

    def __init__(self, terminal: Terminal, what: str) -> None:
        self.terminal = terminal
        self.bar = Bar(terminal, what)
        self.counts: Counter[str] = Counter()
        self.listed = self.problems = 0
        self.seconds = 0.0
        self.origin = ""  # where the labels come from
        self.makers: tuple[str, ...] = ()  # models that made the labels
        self.began = time.monotonic()

    def __enter__(self) -> IngestFollower:
        self.bar.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.bar.__exit__(kind)
        if self.problems > self.listed and kind is None:
            rest = plural(self.problems - self.listed, "more problem")
            self.terminal.say(f"audiocnn: ... and {rest}; -v lists all, and the dataset records them")

    def __call__(self, step: IngestStep) -> None:
        self.counts[step.outcome] += 1
        self.origin, self.makers = step.origin or self.origin, step.makers or self.makers
        self.seconds += step.seconds if step.outcome in ("added", "updated") else 0.0
        for problem in ([step.reason] if step.reason else []) + list(step.notes):
            self.tell(step.filename, problem, "refused" if step.reason else "note")
        speed = format_speed(self.seconds, time.monotonic() - self.began)
        self.bar.update(step.done, step.total, f"{step.done} of {step.total}" + (f", {speed}" if self.seconds else ""))

    def tell(self, filename: str, problem: str, kind: str) -> None:
        """Report a problem, if it is one of the first."""
        self.problems += 1
        if self.listed < _MOST_LISTED or self.terminal.verbose:
            self.listed += 1
            name = printable(filename)
            self.terminal.error(problem if problem.startswith(name) else f"{name}: {problem}", kind=kind)


def run_survey(dataset: Dataset, terminal: Terminal) -> Survey:
    from audiocnn.data.survey import survey

    with Bar(terminal, "survey") as bar:
        return survey(dataset, lambda done, total: bar.update(done, total, f"{done} of {total}"))
