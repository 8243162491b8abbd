"""Ctrl-C in a training: the first one ends it after the current step, when all is saved; the second one at once.

Signals are watched only while steps are made. Before and after, they keep their usual handlers.
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
    """Leaves something that changes no state, such as validation, before its end."""


class StopSignals:
    """Whether a signal has asked the training to stop. numbers: the signals that are watched. several: `torchrun`
    passes on to its processes the Ctrl-C that they may have got already; what comes that soon is the same one."""

    def __init__(self, numbers: Sequence[int] = _ENDS, several: bool = False) -> None:
        self.numbers, self.several = numbers, several
        self.first: int | None = None
        self.first_at = 0.0
        self.problem: BaseException | None = None

    @property
    def requested(self) -> bool:
        return self.first is not None or self.problem is not None

    def stop_for(self, problem: BaseException) -> None:
        """Stop as a signal would, for an error of the program that trains, which is raised when all is saved."""
        self.problem = problem

    def raise_if_requested(self) -> None:
        """StopRequestedError where a signal came."""
        if self.requested:
            raise StopRequestedError

    @contextmanager
    def watched(self) -> Iterator[None]:
        """In here the first signal is only noted; a second one ends the process."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        ignored = (signal.SIG_IGN, None)  # as nohup has it; or not set from Python
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
        """Do what the first signal would have done, now that all is saved."""
        if self.problem is not None:
            raise self.problem
        signal.raise_signal(self.first or signal.SIGINT)
