"""Where numba caches what librosa compiles, if nothing of its own can be written."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from audiocnn.errors import UsageError
from audiocnn.spec.librosa_import import numba_cache_folder

NOWHERE = Path("/dev/null/cache")  # not a folder, for root too


def test_what_can_be_written_is_left_alone(tmp_path: Path) -> None:
    assert numba_cache_folder({}, [NOWHERE, tmp_path / "not" / "made" / "yet"]) is None
    assert numba_cache_folder({"NUMBA_CACHE_DIR": str(tmp_path)}, [NOWHERE]) is None


def test_else_a_folder_for_temporary_files_that_is_only_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = numba_cache_folder({}, [NOWHERE])
    assert folder is not None and folder.parent == tmp_path and folder.stat().st_mode & 0o077 == 0
    assert numba_cache_folder({"NUMBA_CACHE_DIR": ""}, [NOWHERE]) == folder
    folder.chmod(0o777)
    assert numba_cache_folder({}, [NOWHERE]) not in (None, folder)


def test_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="NUMBA_CACHE_DIR=/dev/null/cache"):
        numba_cache_folder({"NUMBA_CACHE_DIR": str(NOWHERE)}, [NOWHERE])
    monkeypatch.setattr(tempfile, "tempdir", str(NOWHERE))
    with pytest.raises(UsageError, match="NUMBA_CACHE_DIR"):
        numba_cache_folder({}, [NOWHERE])


def test_librosa_comes_with_the_folder(tmp_path: Path) -> None:
    script = (
        "import os, pathlib, sys\n"
        "from audiocnn.spec import librosa_import\n"
        "librosa_import._default_caches = lambda: [pathlib.Path('/dev/null/cache')]\n"
        "librosa_import.import_librosa()\n"
        "assert os.environ['NUMBA_CACHE_DIR'].startswith(sys.argv[1])\n"
    )
    environ = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], env={**environ, "TMPDIR": str(tmp_path)}, check=True)
