"""One training at a time in the folder of a run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from audiocnn import locks
from audiocnn.errors import AudiocnnError


@contextmanager
def locked(run: Path, wanted: bool = True) -> Iterator[None]:
    """The folder itself is locked, and the lock ends with the process, however that ends. Folders that are made for it
    and stay empty go again. Not `wanted`: nothing is done. AudiocnnError: another process has it."""
    if not wanted:
        yield
        return
    made = [folder for folder in (run, *run.parents) if not folder.exists()]
    run.mkdir(parents=True, exist_ok=True)
    handle = os.open(run, os.O_RDONLY) if locks.HERE else None
    try:
        if handle is not None and locks.lock(handle) is False:
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
    if not locks.HERE or not run.is_dir():
        return False
    handle = os.open(run, os.O_RDONLY)
    try:
        return locks.lock(handle) is False
    finally:
        os.close(handle)
