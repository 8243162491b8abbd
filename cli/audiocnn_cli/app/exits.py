"""Exit codes of commands, which scripts can rely on."""

from __future__ import annotations

from enum import IntEnum

from audiocnn.errors import AudiocnnError


class ExitStatus(IntEnum):
    """Exit codes. Finding no segment in a recording is a valid result and ends with `OK`."""

    OK = 0
    NOTHING_FOUND = 1  # only with --exit-status
    USAGE = 2  # wrong usage, or no recording could be processed
    SOME_FAILED = 3
    BUG = 70
    INTERRUPTED = 130  # Ctrl-C
    TERMINATED = 143  # SIGTERM


class Terminated(BaseException):
    """Raised on SIGTERM, so that open files are closed and unfinished ones removed."""


class LostProcessError(AudiocnnError):
    """Another process of this training has ended. The command reports this and ends at once: torch can abort (SIGABRT)
    while it closes the connections to that process."""
