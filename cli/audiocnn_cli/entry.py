"""Where the command begins: signals are taken before anything is imported, and again when all is done.

Python would show a traceback for Ctrl-C while it imports. Nothing is open then, so that the process can end at once.
"""

from __future__ import annotations

import os
import signal
from types import FrameType

STATUS = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 143}  # as in `exits.py`
ENDS = {getattr(signal, name): status for name, status in STATUS.items() if hasattr(signal, name)}


def run() -> int:
    """The command, as the process that it is."""
    take_signals()
    from audiocnn_cli.main import run as run_command

    status = run_command()
    take_signals()
    return status


def take_signals() -> None:
    """Signals end the process at once, without a word; but one that is ignored, as nohup has it, stays so."""
    for number in ENDS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, leave)


def leave(number: int, frame: FrameType | None) -> None:
    """End here."""
    os._exit(ENDS[number])
