"""Import librosa late, because it takes a second, and with a cache for numba that can be written: import_librosa."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from audiocnn.errors import UsageError

_CACHE_VARIABLE = "NUMBA_CACHE_DIR"


def import_librosa() -> ModuleType:
    """librosa. Its import compiles functions with numba, which fails where their cache cannot be written; the cache
    then lies in the folder for temporary files. UsageError: that cannot be written either."""
    if "numba" not in sys.modules:  # numba reads the variable once
        folder = numba_cache_folder(os.environ, _default_caches())
        if folder is not None:
            os.environ[_CACHE_VARIABLE] = str(folder)
    import librosa

    return librosa


def numba_cache_folder(environ: Mapping[str, str], defaults: Iterable[Path]) -> Path | None:
    """The folder that NUMBA_CACHE_DIR must name; None where the one it names, or a default of numba, can be written."""
    given = environ.get(_CACHE_VARIABLE)
    if (given and _can_write(Path(given))) or any(map(_can_write, defaults)):
        return None
    if given:
        raise UsageError(f"{_CACHE_VARIABLE}={given}: cannot be written; name a folder for what librosa compiles")
    try:
        return _own_temporary_folder()
    except OSError:
        what = "no folder can be written for what librosa compiles"
        raise UsageError(f"{what}; name one in the environment variable {_CACHE_VARIABLE}") from None


def _default_caches() -> list[Path]:
    """Where numba caches by itself: beside the source, else below the home folder."""
    librosa = find_spec("librosa")
    beside = [Path(librosa.origin).parent / "util" / "__pycache__"] if librosa and librosa.origin else []
    home = "~/Library/Caches" if sys.platform == "darwin" else os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return [*beside, Path(os.path.expanduser(home)) / "numba"]  # noqa: PTH111 - never raises, as in numba


def _can_write(folder: Path) -> bool:
    """Whether a folder can be made and written, found out as numba does it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


def _own_temporary_folder() -> Path:
    """A folder that nobody else can write: what numba caches is code."""
    user = getattr(os, "getuid", lambda: 0)()
    folder = Path(tempfile.gettempdir()) / f"audiocnn-numba-{user}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    own = stat.S_ISDIR(found.st_mode) and found.st_uid == user and not found.st_mode & 0o022
    return folder if own or os.name == "nt" else Path(tempfile.mkdtemp(prefix="audiocnn-numba-"))
