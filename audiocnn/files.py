"""Files that audiocnn writes and reads itself. Writes are atomic: a reader sees the old content or the new, never a
part of it. Reads are limited in size."""

from __future__ import annotations

import errno
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain, count
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, BinaryIO, cast

from audiocnn.errors import AudiocnnError, show_name

PIPE_SECONDS = 10.0  # to wait for a writer to open a named pipe
_COPY_BYTES = 1 << 20
_MOST_NAME_BYTES = 255

RUN_FILE = "run.json"  # in the folder of a run: when and where it was started
MOST_BYTES = 100_000_000  # of a file that is read in one piece; no run or report comes near it


def read_regular(path: Path, most_bytes: int = MOST_BYTES) -> bytes:
    """The content of a regular file; symbolic links are followed. Raises OSError, or ValueError for a pipe or device,
    which may never end, and for a file larger than `most_bytes`."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ValueError("is not a regular file")
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise ValueError(f"is larger than {most_bytes // 1_000_000} MB")
    return content


def parse_json(text: str | bytes) -> Any:
    """`json.loads`, except that nesting that is too deep also raises ValueError."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("is nested too deeply") from None


def read_json(path: Path) -> Any:
    """The value in a JSON file that audiocnn wrote. Raises OSError or ValueError."""
    return parse_json(read_regular(path))


def is_file_name(text: str) -> bool:
    """Whether `text` is a valid name of a single file, not a path."""
    return Path(text).name == text and text not in ("", "..") and "\0" not in text and len(os.fsencode(text)) <= 255


def path_beside(folder: Path, before: str, path: str) -> str | None:
    """Translate `path` after `folder` was moved from `before` together with its surroundings. None if nothing exists at
    the new place, or if the folder has not moved."""
    if not before or not Path(path).is_absolute() or before == str(folder.resolve()):
        return None
    try:
        there = Path(os.path.normpath(folder.resolve() / os.path.relpath(path, before)))
        return str(there) if there.exists() else None
    except (ValueError, OSError):  # another drive, or not a valid file name
        return None


def settled(path: Path) -> Path:
    """The path, resolved if it contains "..", so that its meaning does not change when folders are created or removed:
    without the folder `q`, `q/../x` would become `x`."""
    return path.resolve() if ".." in path.parts else path


def write_whole(path: Path, content: bytes) -> None:
    """Write atomically: write a temporary file in the same folder, flush it to disk and rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
        sync_folder(path.parent)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Flush the directory entry to disk, where the system supports that."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def fit_name(stem: str, ending: str) -> str:
    """The file name `stem` + `ending`. If it is longer than file systems allow, the stem is shortened at a character
    boundary and gets a hash of the original stem, so that different stems stay different."""
    if len(os.fsencode(stem + ending)) <= _MOST_NAME_BYTES:
        return stem + ending
    import hashlib

    ending = f"~{hashlib.sha256(os.fsencode(stem)).hexdigest()[:8]}{ending}"
    while stem and len(os.fsencode(stem + ending)) > _MOST_NAME_BYTES:
        stem = stem[:-1]
    return stem + ending


# Temporary files.


def temporary_file() -> tuple[BinaryIO, Path]:
    """A new temporary file, and a path under which it can be opened again while it is open. Where the system allows it,
    the file has no name, so it disappears with this process in any case."""
    if Path("/proc/self/fd").is_dir():
        file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by whoever asked
        return cast(BinaryIO, file), Path(f"/proc/{os.getpid()}/fd/{file.fileno()}")
    named = tempfile.NamedTemporaryFile(prefix="audiocnn-")  # noqa: SIM115
    return cast(BinaryIO, named), Path(named.name)


@contextmanager
def temporary_errors(name: str, error: type[AudiocnnError]) -> Iterator[None]:
    """Turn an OSError about a temporary file into an error about `name` that also states the temporary folder."""
    try:
        yield
    except OSError as problem:
        folder = show_name(tempfile.tempdir) if tempfile.tempdir else "no temporary folder"
        what = f"{name}: cannot be stored in a temporary file ({folder}: {problem.strerror})"
        raise error(f"{what}; free some space there, or set TMPDIR to another folder") from None


def copy_stream(source: BinaryIO, copy: BinaryIO, name: str, error: type[AudiocnnError]) -> None:
    """Copy the rest of a stream into a temporary file. Raises OSError if the stream cannot be read."""
    while part := source.read(_COPY_BYTES):
        with temporary_errors(name, error):
            copy.write(part)
    with temporary_errors(name, error):
        copy.flush()


def open_waiting(path: Path, name: str, error: type[AudiocnnError]) -> BinaryIO:
    """Open a file unbuffered. For a named pipe, wait for a writer; without one, raise an error about `name`. May raise
    OSError."""
    if not stat.S_ISFIFO(path.stat().st_mode):
        return path.open("rb", buffering=0)
    opened = SimpleQueue[BinaryIO | OSError]()

    def wait() -> None:
        try:
            opened.put(path.open("rb", buffering=0))
        except OSError as problem:
            opened.put(problem)

    Thread(target=wait, daemon=True).start()
    try:
        found = opened.get(timeout=PIPE_SECONDS)
    except Empty:
        with suppress(OSError):  # releases the waiting thread
            os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
        what = f"{name}: a named pipe that no process has opened for writing within {PIPE_SECONDS:g} s"
        raise error(f"{what}; start the program that writes to it, or leave it out") from None
    if isinstance(found, OSError):
        raise found
    return found


# Locks of files and folders. The system releases them when the process ends, however it ends.

try:
    import fcntl
except ImportError:  # a system without such locks
    fcntl = None  # type: ignore[assignment]
LOCKS_EXIST = fcntl is not None
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EBADF)  # file systems without locks


def lock(handle: int) -> bool | None:
    """Lock an open file or folder until it is closed. Returns True, False if another process holds the lock, or None if
    locks are not supported here."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as problem:
        if problem.errno not in _NO_LOCKS:
            raise
        return None
    return True


def unwritable(folder: Path, why: str | None) -> AudiocnnError:
    return AudiocnnError(
        f"{folder}: cannot be written ({why}); choose another folder with -o, or change its permissions"
    )


def check_run_writable(folder: Path) -> None:
    """Check before any work that the folder can be created and written. Raises AudiocnnError."""
    place = next((path for path in (folder, *folder.absolute().parents) if path.exists()), Path("/"))
    if place == folder and not place.is_dir():
        raise AudiocnnError(f"{folder}: not a folder; choose another one with -o")
    if not place.is_dir():
        raise unwritable(folder, f"{place} is not a folder")
    if not os.access(place, os.W_OK | os.X_OK):
        raise unwritable(folder, os.strerror(errno.EACCES))


@contextmanager
def locked(run: Path, wanted: bool = True) -> Iterator[None]:
    """Lock the folder of a run, so that only one training works in it at a time. The lock ends with the process.
    Folders that were created for it and stay empty are removed. With `wanted` false, nothing is done. Raises
    AudiocnnError if another process holds the lock."""
    if not wanted:
        yield
        return
    try:
        made = [folder for folder in (run, *run.parents) if not folder.exists()]
        run.mkdir(parents=True, exist_ok=True)
        handle = os.open(run, os.O_RDONLY) if LOCKS_EXIST else None
    except OSError as problem:
        raise unwritable(run, problem.strerror) from None
    try:
        if handle is not None and lock(handle) is False:
            raise AudiocnnError(
                f"{run}: another process is training here; wait for it, or choose another folder with -o"
            )
        yield
    finally:
        if handle is not None:
            os.close(handle)
        for folder in made:
            with suppress(OSError):  # it is not empty
                folder.rmdir()


def is_locked(run: Path) -> bool:
    """Whether a training is running in a folder. False where locks are not supported."""
    if not LOCKS_EXIST or not run.is_dir():
        return False
    handle = os.open(run, os.O_RDONLY)
    try:
        return lock(handle) is False
    finally:
        os.close(handle)


def free_path(path: Path, suffix: str = "", beside: str = "") -> Path:
    """The path, or if it exists the first free path of `NAME-2`, `NAME-3` and so on, with the suffix kept at the end.
    beside: another suffix under which no file may exist either."""
    name = path.name.removesuffix(suffix)
    names = (path.with_name(f"{name}-{number}{suffix}") for number in count(2))
    return next(
        one
        for one in chain((path,), names)
        if not os.path.lexists(one) and not (beside and os.path.lexists(one.with_suffix(beside)))
    )
