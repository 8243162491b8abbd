"""Entry point of the command: signal handlers are set before anything is imported, and again at the end.

Without them, Ctrl-C during imports would print a traceback. No files are open at that time, so the process can end at
once.
"""

from __future__ import annotations

import os
import signal
from types import FrameType

_STATUS = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 143}  # as in `exits.py`
_ENDS = {getattr(signal, name): status for name, status in _STATUS.items() if hasattr(signal, name)}


def start() -> int:
    _take_signals()
    from audiocnn_cli.main import run as run_command

    status = run_command()
    _take_signals()
    return status


def _take_signals() -> None:
    """Make signals end the process at once without a message. Ignored signals, as under nohup, stay ignored."""
    for number in _ENDS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _leave)


def _leave(number: int, frame: FrameType | None) -> None:
    os._exit(_ENDS[number])
