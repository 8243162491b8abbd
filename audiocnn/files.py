"""Files of our own: written whole, so that a reader sees what was there, or what is there now, and never half of it;
read with a limit, whatever stands under their name."""

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

PIPE_SECONDS = 10.0  # that somebody has to begin writing into a named pipe
_COPY_BYTES = 1 << 20
_MOST_NAME_BYTES = 255

RUN_FILE = "run.json"  # in the folder of a run: when and where it was begun
MOST_BYTES = 100_000_000  # of a file of our own that is read at once: no run or report comes near


def read_regular(path: Path, most_bytes: int = MOST_BYTES) -> bytes:
    """All of a plain file of our own, or one that a link leads to. OSError; ValueError, with the fact, for a pipe or
    device, which may have no end, and for a file that is too large to be ours."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ValueError("is no plain file")
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise ValueError(f"is larger than {most_bytes // 1_000_000} MB")
    return content


def parse_json(text: str | bytes) -> Any:
    """`json.loads`, whose errors are all ValueError: what is nested too deep, too."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("is nested too deep") from None


def read_json(path: Path) -> Any:
    """The value in a JSON file of our own. OSError, ValueError."""
    return parse_json(read_regular(path))


def is_file_name(text: str) -> bool:
    """Whether a file can have this name, which is no path to elsewhere."""
    return Path(text).name == text and text not in ("", "..") and "\0" not in text and len(os.fsencode(text)) <= 255


def path_beside(folder: Path, before: str, path: str) -> str | None:
    """A path that lies to `folder` as `path` did when the folder was at `before`; None where nothing is there, or
    nothing has moved."""
    if not before or not Path(path).is_absolute() or before == str(folder.resolve()):
        return None
    try:
        there = Path(os.path.normpath(folder.resolve() / os.path.relpath(path, before)))
        return str(there) if there.exists() else None
    except (ValueError, OSError):  # another drive; no name of a file
        return None


def settled(path: Path) -> Path:
    """A path whose meaning stays when folders of it are made or removed: `q/../x` without `q` is `x`."""
    return path.resolve() if ".." in path.parts else path


def write_whole(path: Path, content: bytes) -> None:
    """Write beside, flush to the disk, rename: a reader sees the old file or the new one, never half."""
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
    """The names in a folder are on the disk, too, where the system can do that."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def fit_name(stem: str, ending: str) -> str:
    """A file name of both. Where that is longer than file systems take, the stem is cut between two characters, and
    gets a sum of what it was, so that two stems stay apart."""
    if len(os.fsencode(stem + ending)) <= _MOST_NAME_BYTES:
        return stem + ending
    import hashlib

    ending = f"~{hashlib.sha256(os.fsencode(stem)).hexdigest()[:8]}{ending}"
    while stem and len(os.fsencode(stem + ending)) > _MOST_NAME_BYTES:
        stem = stem[:-1]
    return stem + ending


# Temporary files, and what is kept in them.


def temporary_file() -> tuple[BinaryIO, Path]:
    """A new file, and a path that opens it once more while it is open. Where the system can do that, it has no name: it
    goes with this process, however that ends."""
    if Path("/proc/self/fd").is_dir():
        file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by whoever asked
        return cast(BinaryIO, file), Path(f"/proc/{os.getpid()}/fd/{file.fileno()}")
    named = tempfile.NamedTemporaryFile(prefix="audiocnn-")  # noqa: SIM115
    return cast(BinaryIO, named), Path(named.name)


@contextmanager
def temporary_errors(name: str, error: type[AudiocnnError]) -> Iterator[None]:
    """What the system says about a temporary file, as an error about `name` that names the folder, too."""
    try:
        yield
    except OSError as problem:
        folder = show_name(tempfile.tempdir) if tempfile.tempdir else "no folder for temporary files"
        what = f"{name}: cannot be kept in a file ({folder}: {problem.strerror})"
        raise error(f"{what}; make room there, or name another folder in TMPDIR") from None


def copy_stream(source: BinaryIO, copy: BinaryIO, name: str, error: type[AudiocnnError]) -> None:
    """What a stream still brings, into a temporary file. OSError: the stream cannot be read."""
    while part := source.read(_COPY_BYTES):
        with temporary_errors(name, error):
            copy.write(part)
    with temporary_errors(name, error):
        copy.flush()


def open_waiting(path: Path, name: str, error: type[AudiocnnError]) -> BinaryIO:
    """A file, unbuffered. A named pipe has a writer by then, or there is an error about `name`. OSError."""
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
        with suppress(OSError):  # the thread waits no longer
            os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
        what = f"{name}: a named pipe into which nobody has written for {PIPE_SECONDS:g} s"
        raise error(f"{what}; start what writes it, or leave it out") from None
    if isinstance(found, OSError):
        raise found
    return found


# Locks of files and folders, which end with the process that has them, however that ends.

try:
    import fcntl
except ImportError:  # a system without such locks
    fcntl = None  # type: ignore[assignment]
LOCKS_EXIST = fcntl is not None
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EBADF)  # file systems without locks


def lock(handle: int) -> bool | None:
    """Lock an open file or folder until it is closed. False: another process has it; None: there are no locks here."""
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
    return AudiocnnError(f"{folder}: cannot be written ({why}); name another folder with -o, or change its permissions")


def check_run_writable(folder: Path) -> None:
    """AudiocnnError, before any work, where a folder cannot be made, or nothing can be written in it."""
    place = next((path for path in (folder, *folder.absolute().parents) if path.exists()), Path("/"))
    if place == folder and not place.is_dir():
        raise AudiocnnError(f"{folder}: is no folder; name another one with -o")
    if not place.is_dir():
        raise unwritable(folder, f"{place} is no folder")
    if not os.access(place, os.W_OK | os.X_OK):
        raise unwritable(folder, os.strerror(errno.EACCES))


@contextmanager
def locked(run: Path, wanted: bool = True) -> Iterator[None]:
    """One training at a time in the folder of a run: the folder itself is locked, and the lock ends with the process,
    however that ends. Folders that are made for it and stay empty go again. Not `wanted`: nothing is done.
    AudiocnnError: another process has it."""
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
    if not LOCKS_EXIST or not run.is_dir():
        return False
    handle = os.open(run, os.O_RDONLY)
    try:
        return lock(handle) is False
    finally:
        os.close(handle)


def free_path(path: Path, suffix: str = "", beside: str = "") -> Path:
    """The path, or where something is there the first of `NAME-2`, `NAME-3`, ... that is free; a suffix stays last.
    beside: another suffix under which nothing may lie there, too."""
    name = path.name.removesuffix(suffix)
    names = (path.with_name(f"{name}-{number}{suffix}") for number in count(2))
    return next(
        one
        for one in chain((path,), names)
        if not os.path.lexists(one) and not (beside and os.path.lexists(one.with_suffix(beside)))
    )
