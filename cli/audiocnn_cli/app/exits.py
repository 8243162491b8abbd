"""How a command ends, as a number that scripts can rely on."""

from __future__ import annotations

from enum import IntEnum

from audiocnn.errors import AudiocnnError


class ExitStatus(IntEnum):
    """Exit codes. Silence is a result: a recording without a segment ends with `OK`."""

    OK = 0
    NOTHING_FOUND = 1  # only with --exit-status
    USAGE = 2  # wrong usage, or nothing at all could be done
    SOME_FAILED = 3
    BUG = 70
    INTERRUPTED = 130  # Ctrl-C
    TERMINATED = 143  # SIGTERM


class Terminated(BaseException):
    """SIGTERM came; raised so that what is open is closed and what is half written is removed."""


class LostProcessError(AudiocnnError):
    """Another process of this training is gone. The command ends at once when it has said so: torch, taking down the
    connections to a process that is gone, can abort (SIGABRT)."""
