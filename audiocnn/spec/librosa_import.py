"""Import of librosa on demand, because it takes a second, with a writable cache for numba: `import_librosa`."""

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
    """The module librosa. Its import compiles functions with numba, which fails if its cache cannot be written; then a
    cache in the temporary folder is used. Raises UsageError if that cannot be written either."""
    if "numba" not in sys.modules:  # numba reads the variable only once
        folder = numba_cache_folder(os.environ, _default_caches())
        if folder is not None:
            os.environ[_CACHE_VARIABLE] = str(folder)
    import librosa

    return librosa


def numba_cache_folder(environ: Mapping[str, str], defaults: Iterable[Path]) -> Path | None:
    """A new value for NUMBA_CACHE_DIR; None if its value, or a default folder of numba, is writable."""
    given = environ.get(_CACHE_VARIABLE)
    if (given and _can_write(Path(given))) or any(map(_can_write, defaults)):
        return None
    if given:
        raise UsageError(
            f"{_CACHE_VARIABLE}={given}: cannot be written; choose another folder for librosa's compiled functions"
        )
    try:
        return _own_temporary_folder()
    except OSError:
        what = "no writable folder for librosa's compiled functions"
        raise UsageError(f"{what}; name one in the environment variable {_CACHE_VARIABLE}") from None


def _default_caches() -> list[Path]:
    """numba's default caches: beside the source, or below the home folder."""
    librosa = find_spec("librosa")
    beside = [Path(librosa.origin).parent / "util" / "__pycache__"] if librosa and librosa.origin else []
    home = "~/Library/Caches" if sys.platform == "darwin" else os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return [*beside, Path(os.path.expanduser(home)) / "numba"]  # noqa: PTH111 - never raises, as in numba


def _can_write(folder: Path) -> bool:
    """Whether a folder can be created and written, checked in the same way as numba does."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


def _own_temporary_folder() -> Path:
    """A folder that only this user can write, because numba caches code."""
    user = getattr(os, "getuid", lambda: 0)()
    folder = Path(tempfile.gettempdir()) / f"audiocnn-numba-{user}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    own = stat.S_ISDIR(found.st_mode) and found.st_uid == user and not found.st_mode & 0o022
    return folder if own or os.name == "nt" else Path(tempfile.mkdtemp(prefix="audiocnn-numba-"))
