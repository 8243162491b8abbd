"""One training at a time in the folder of a run."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from audiocnn.errors import AudiocnnError

try:
    import fcntl
except ImportError:  # a system without such locks
    fcntl = None  # type: ignore[assignment]

NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EBADF)  # file systems without locks


@contextmanager
def locked(run: Path, wanted: bool = True) -> Iterator[None]:
    """The folder itself is locked, and the lock ends with the process, however that ends. Folders that are made for it
    and stay empty go again. Not `wanted`: nothing is done. AudiocnnError: another process has it."""
    if not wanted:
        yield
        return
    made = [folder for folder in (run, *run.parents) if not folder.exists()]
    run.mkdir(parents=True, exist_ok=True)
    handle = os.open(run, os.O_RDONLY) if fcntl is not None else None
    try:
        if handle is not None and not _taken(handle):
            raise AudiocnnError(f"{run}: another process is training here; wait for it, or name another -o")
        yield
    finally:
        if handle is not None:
            os.close(handle)
        for folder in made:
            with suppress(OSError):  # it is not empty
                folder.rmdir()


def is_locked(run: Path) -> bool:
    """Whether a training is going on in a folder. Where there are no locks: False."""
    if fcntl is None or not run.is_dir():
        return False
    handle = os.open(run, os.O_RDONLY)
    try:
        return not _taken(handle)
    finally:
        os.close(handle)


def _taken(handle: int) -> bool:
    """Lock an open folder. False: another one has it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as problem:
        if problem.errno not in NO_LOCKS:
            raise
    return True
