"""What is to be whole is not left half done: a signal that would end the command waits until it is."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ENDS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


@contextmanager
def held_back() -> Iterator[None]:
    """The first signal is obeyed when all is done; a second one ends the process as it is."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: handler for number in ENDS if callable(handler := signal.getsignal(number))}
    came: list[int] = []

    def hold(number: int, frame: FrameType | None) -> None:
        came.append(number)
        for again in before:
            signal.signal(again, signal.SIG_DFL)

    try:
        for number in before:
            signal.signal(number, hold)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])
