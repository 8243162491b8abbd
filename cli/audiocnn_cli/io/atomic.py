"""Half-written outputs: each in a file of its own beside the target, which one process at a time may write.

The part of `x.jsonl` is `.x.jsonl.audiocnn-part`, a name that nobody else gives. It is locked while it is written; a
process that dies leaves the part and no lock. It gets the name of the target when all is written, so that what a reader
can see is whole.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import stat
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import BinaryIO

from audiocnn.errors import UsageError, show_name
from audiocnn.files import lock, sync_folder

_ENDING = ".audiocnn-part"
_LONGEST_NAME = 255  # bytes, in most file systems
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES, errno.EMLINK)
_OPEN_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


class BusyError(UsageError):
    """Another process is writing this output."""


class PartFile:
    """An open, locked part, positioned at its start: a new one is empty, one that was left behind is as it was left.

    OSError where it cannot be made, BusyError where another process has it.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        with suppress(FileNotFoundError):
            target.lstat()  # a name that is too long is told of before any work is done
        target.parent.mkdir(parents=True, exist_ok=True)
        self.path = part_path(target)
        self.file = open_locked(self.path, target)
        self.stays = False  # for the next run, where this one does not come to its end

    @property
    def size(self) -> int:
        return os.fstat(self.file.fileno()).st_size

    def clear(self) -> None:
        self.file.seek(0)
        self.file.truncate()

    def sync(self) -> None:
        self.file.flush()
        os.fsync(self.file.fileno())

    def refill(self, source: BinaryIO, spans: Iterable[tuple[int, int]]) -> None:
        """Put these stretches, (start, end) in bytes, of a file into the place of what is there, all at once."""
        path = part_path(self.path)
        new = open_locked(path, self.target)
        try:
            new.truncate()
            for start, end in spans:
                source.seek(start)
                copy_bytes(source, new, end - start)
            new.flush()
            os.fsync(new.fileno())
            path.replace(self.path)
        except BaseException:
            path.unlink(missing_ok=True)
            new.close()
            raise
        self.file.close()
        self.file = new

    def publish(self, target: Path, replace: bool, sync: bool = True) -> None:
        """Give it a name, beside. FileExistsError where something has that name and is not to be replaced.

        sync: the name, too, is on the disk; without, the power may fail and the file be gone, but not be half there.
        """
        self.sync()
        if replace or not _link_as(self.path, target):
            self.path.replace(target)
        self.stays = True  # the name of the part is free for others from now on
        if sync:
            sync_folder(target.parent)

    def close(self) -> None:
        """Remove the part, unless it is to stay."""
        if not self.stays:
            self.path.unlink(missing_ok=True)
        with suppress(OSError):  # what could not be written was told of, or does not matter
            self.file.close()


def part_path(target: Path) -> Path:
    """Where the part of an output lies; of names that are too long for that, under a sum of the name."""
    name = f".{target.name}{_ENDING}"
    if len(os.fsencode(name)) > _LONGEST_NAME:
        import hashlib

        name = f".audiocnn-{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:24]}{_ENDING}"
    return target.with_name(name)


def open_locked(path: Path, target: Path) -> BinaryIO:
    """Open or make a part, and lock it. What is no plain file of ours is not touched: OSError."""
    while True:
        file = os.fdopen(os.open(path, _OPEN_FLAGS, 0o666), "r+b")
        try:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError(errno.EEXIST, f"{path.name} is in the way and is no file", str(path))
            if lock(file.fileno()) is False:
                raise BusyError(f"{show_name(target)}: another process is writing it; wait for it, or name another")
            if _is_current(file, path):
                return file
        except BaseException:
            file.close()
            raise
        file.close()


def _is_current(file: BinaryIO, path: Path) -> bool:
    """Whether an open part is still what its name leads to, and has no other name: a process that was killed while it
    published leaves one that has both."""
    mine = os.fstat(file.fileno())
    try:
        if not os.path.samestat(mine, path.lstat()):
            return False
    except FileNotFoundError:
        return False
    if mine.st_nlink > 1:
        path.unlink()
        return False
    return True


def _link_as(path: Path, target: Path) -> bool:
    """Give a file a new name, which must be free. False: links cannot be made here, and the name is free."""
    try:
        os.link(path, target, follow_symlinks=False)
    except FileExistsError:
        raise
    except (OSError, NotImplementedError) as problem:
        if isinstance(problem, OSError) and problem.errno not in _NO_LINKS:
            raise
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
        return False
    path.unlink()
    return True


def copy_bytes(source: BinaryIO, target: BinaryIO, number: int) -> None:
    while number > 0 and (block := source.read(min(number, shutil.COPY_BUFSIZE))):  # type: ignore[attr-defined]
        target.write(block)
        number -= len(block)


_END_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


@contextmanager
def hold_signals() -> Iterator[None]:
    """The first signal is obeyed when all is done; a second one ends the process as it is."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: handler for number in _END_SIGNALS if callable(handler := signal.getsignal(number))}
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
