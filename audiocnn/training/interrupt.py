"""Ctrl-C during a training: the first one stops it after the current step, with everything saved; the second at once.

Signals are handled only while steps are run. Before and after, their usual handlers apply.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

_ENDS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
_SAME_SECONDS = 2.0


class StopRequestedError(Exception):
    """Leaves work that changes no state, such as validation, before its end."""


class StopSignals:
    """Whether a signal asked the training to stop. numbers: the watched signals. several: `torchrun` forwards Ctrl-C to
    processes that may have received it already, so a second one within a short time counts as the same."""

    def __init__(self, numbers: Sequence[int] = _ENDS, several: bool = False) -> None:
        self.numbers, self.several = numbers, several
        self.first: int | None = None
        self.first_at = 0.0
        self.problem: BaseException | None = None

    @property
    def requested(self) -> bool:
        return self.first is not None or self.problem is not None

    def stop_for(self, problem: BaseException) -> None:
        """Stop as for a signal, because of an error in the calling program, which is raised after saving."""
        self.problem = problem

    def raise_if_requested(self) -> None:
        """StopRequestedError if a signal was received."""
        if self.requested:
            raise StopRequestedError

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Inside this context, the first signal is only recorded; a second one ends the process."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        ignored = (signal.SIG_IGN, None)  # as under nohup; or not set from Python
        before = {number: handler for number in self.numbers if (handler := signal.getsignal(number)) not in ignored}

        def note(number: int, frame: FrameType | None) -> None:
            if self.first is None:
                self.first, self.first_at = number, time.monotonic()
            elif not self.several or time.monotonic() - self.first_at > _SAME_SECONDS:
                signal.signal(number, signal.SIG_DFL)
                signal.raise_signal(number)

        for number in before:
            signal.signal(number, note)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def raise_first(self) -> None:
        """Apply the usual effect of the first signal, after everything was saved."""
        if self.problem is not None:
            raise self.problem
        signal.raise_signal(self.first or signal.SIGINT)
