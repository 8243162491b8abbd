"""Locks of files and folders, which end with the process that has them, however that ends."""

from __future__ import annotations

import errno

try:
    import fcntl
except ImportError:  # a system without such locks
    fcntl = None  # type: ignore[assignment]

HERE = fcntl is not None
NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EBADF)  # file systems without locks


def lock(handle: int) -> bool | None:
    """Lock an open file or folder until it is closed. False: another process has it; None: there are no locks here."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as problem:
        if problem.errno not in NO_LOCKS:
            raise
        return None
    return True
