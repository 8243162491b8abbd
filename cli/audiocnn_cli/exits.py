"""How a command ends, as a number that scripts can rely on."""

from __future__ import annotations

from enum import IntEnum


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


def of_batch(done: int, failed: int) -> ExitStatus:
    """The status of a batch: one bad file is not the end of the others, but it does not pass in silence."""
    if not failed:
        return ExitStatus.OK
    return ExitStatus.SOME_FAILED if done else ExitStatus.USAGE
