"""Ctrl-C in a training: the first one ends it after the step in hand, when all is saved; the second one at once.

Signals are watched only while steps are made. Before and after, they do what they did.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ENDS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
SAME_SECONDS = 2.0


class StopAskedError(Exception):
    """Out of the middle of something that changes nothing, such as the figures of an epoch."""


class Stopping:
    """Whether a signal has asked the training to stop. several: `torchrun` hands on to its processes the Ctrl-C that
    they may have got already; what comes that soon is the same one."""

    def __init__(self, several: bool = False) -> None:
        self.several = several
        self.first: int | None = None
        self.at = 0.0

    @property
    def asked(self) -> bool:
        """Whether one came."""
        return self.first is not None

    def check(self) -> None:
        """StopAskedError where one came."""
        if self.asked:
            raise StopAskedError

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Signals are counted in here; a second one ends the process."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        ignored = (signal.SIG_IGN, None)  # as nohup has it; or not set from Python
        before = {number: handler for number in ENDS if (handler := signal.getsignal(number)) not in ignored}

        def count(number: int, frame: FrameType | None) -> None:
            if self.first is None:
                self.first, self.at = number, time.monotonic()
            elif not self.several or time.monotonic() - self.at > SAME_SECONDS:
                signal.signal(number, signal.SIG_DFL)
                signal.raise_signal(number)

        for number in before:
            signal.signal(number, count)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def obey(self) -> None:
        """What the first signal would have done, now that all is saved."""
        signal.raise_signal(self.first or signal.SIGINT)


class Unstopped(Stopping):
    """Nothing is watched: signals do what they do."""

    @contextmanager
    def watched(self) -> Iterator[None]:
        """As it is."""
        yield
