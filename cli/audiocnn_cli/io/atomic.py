"""Unfinished outputs: each is written to a part file next to the target, by one process at a time.

The part file of `x.jsonl` is `.x.jsonl.audiocnn-part`. It is locked while it is written. A process that dies leaves the
part file without the lock. The part file is renamed to the target when it is complete, so that readers only see
complete files.
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
    """An open, locked part file, positioned at its start. A part file left by an earlier run keeps its content.

    Raises OSError if it cannot be created, BusyError if another process has locked it.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        with suppress(FileNotFoundError):
            target.lstat()  # fails early if the name is too long
        target.parent.mkdir(parents=True, exist_ok=True)
        self.path = part_path(target)
        self.file = open_locked(self.path, target)
        self.stays = False  # keep it for the next run, if this one does not finish

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
        """Replace the content atomically by these spans of a file, (start, end) in bytes."""
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
        """Rename the part file to `target`. Raises FileExistsError if the name is taken and `replace` is false.

        sync: also write the directory entry to disk. Without it, the file may be lost in a power failure, but it is
        never incomplete.
        """
        self.sync()
        if replace or not _link_as(self.path, target):
            self.path.replace(target)
        self.stays = True  # from now on another process may use the name of the part file
        if sync:
            sync_folder(target.parent)

    def close(self) -> None:
        """Remove the part file, unless `stays` is set."""
        if not self.stays:
            self.path.unlink(missing_ok=True)
        with suppress(OSError):  # write errors were reported earlier, or do not matter
            self.file.close()


def part_path(target: Path) -> Path:
    """The path of the part file of an output. If the name would be too long, a hash of it is used."""
    name = f".{target.name}{_ENDING}"
    if len(os.fsencode(name)) > _LONGEST_NAME:
        import hashlib

        name = f".audiocnn-{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:24]}{_ENDING}"
    return target.with_name(name)


def open_locked(path: Path, target: Path) -> BinaryIO:
    """Open or create a part file, and lock it. Raises OSError, without touching it, if it is not a regular file."""
    while True:
        file = os.fdopen(os.open(path, _OPEN_FLAGS, 0o666), "r+b")
        try:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError(errno.EEXIST, f"{path.name} exists and is not a regular file", str(path))
            if lock(file.fileno()) is False:
                raise BusyError(f"{show_name(target)}: another process is writing it; wait, or choose another file")
            if _is_current(file, path):
                return file
        except BaseException:
            file.close()
            raise
        file.close()


def _is_current(file: BinaryIO, path: Path) -> bool:
    """Whether the path of an open part file still refers to it, and no second name does. A process killed while
    publishing leaves a file with both names."""
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
    """Give a file a new name, which must be free. False: the file system has no hard links, and the name is free."""
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
    """Defer the first signal until the block ends. A second signal ends the process at once."""
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
