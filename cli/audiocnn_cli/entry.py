"""Where the command begins: signals are taken before anything is imported, and again when all is done.

Python would show a traceback for Ctrl-C while it imports. Nothing is open then, so that the process can end at once.
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
    """Signals end the process at once, without a word; but one that is ignored, as nohup has it, stays so."""
    for number in _ENDS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _leave)


def _leave(number: int, frame: FrameType | None) -> None:
    os._exit(_ENDS[number])
