"""`audiocnn info --bundle`: a zip file with the data that a bug report needs, without secrets."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import sys
import traceback
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audiocnn.audio.find import is_url
from audiocnn.audio.recording import open_recording
from audiocnn.errors import AudiocnnError, UsageError, show_name
from audiocnn.files import read_regular
from audiocnn.model.model import ONNX, STREAM_ONNX, TOML, WEIGHTS, find_model, read_model

# Only these variables are included; others may contain passwords and keys.
VARIABLES = (
    "LANG", "LC_ALL", "LC_CTYPE", "TERM", "COLUMNS", "NO_COLOR", "PYTHONPATH", "PYTHONUTF8", "PYTHONIOENCODING",
    "PYTHONOPTIMIZE", "VIRTUAL_ENV", "CONDA_PREFIX", "TMPDIR", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR", "OMP_NUM_THREADS",
    "OMP_WAIT_POLICY", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "CUDA_VISIBLE_DEVICES",
    "PYTORCH_ENABLE_MPS_FALLBACK", "WORLD_SIZE", "RANK", "LOCAL_RANK",
)  # fmt: skip
_MODEL_FILES = (TOML, ONNX, STREAM_ONNX, WEIGHTS, "recipe.toml", "README.md")
_MAGIC_BYTES = 12  # at the beginning of a file, which identify its format
_MOST_LOG_BYTES = 1_000_000
_PASSWORD = re.compile(r"(\w+://)[^/\s@]+@")
_QUERY = re.compile(r"(\w+://[^\s?]+\?)[^\s\"']+")  # the query of a URL, which may contain signatures
_Hide = Callable[[str], str]


@dataclass(frozen=True)
class BundleFile:
    """A file of the bundle. about: a short description."""

    name: str
    about: str
    content: bytes


def collect_bundle(
    facts: Mapping[str, Any], environ: Mapping[str, str], model: str | None, recording: str | None, log: str | None
) -> list[BundleFile]:
    """The files of a bundle. facts: from `collect_facts`. Raises UsageError if a given file or model does not exist."""
    hide = _hide_home(environ)
    files = [
        _json_file("info.json", "versions, devices and folders", {**facts, **_process_facts()}, hide),
        _json_file(
            "environment.json",
            f"those of {len(VARIABLES)} environment variables that are set",
            {name: environ[name] for name in VARIABLES if name in environ},
            hide,
        ),
    ]
    if model is not None:
        files += _describe_model(model, hide)
    if recording is not None:
        files.append(_json_file("recording.json", "the header of the recording", _describe_recording(recording), hide))
    if log is not None:
        files.append(_read_log(log, hide))
    return files


def pack(files: list[BundleFile]) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.writestr(file.name, file.content)
    return memory.getvalue()


def _hide_home(environ: Mapping[str, str]) -> _Hide:
    """A function that replaces the home folder by `~`, and passwords in URLs by asterisks."""
    given = {environ.get("HOME", ""), os.path.expanduser("~")}  # noqa: PTH111 - never raises
    homes = {path.rstrip("/\\") for home in given if home for path in (home, os.path.realpath(home))}
    homes -= {"", "~"}
    patterns = [re.compile(rf"(?<![\w.~-]){re.escape(home)}(?![\w.-])") for home in sorted(homes, key=len)[::-1]]

    def hide(text: str) -> str:
        for pattern in patterns:
            text = pattern.sub("~", text)
        return _QUERY.sub(r"\1***", _PASSWORD.sub(r"\1***@", text))

    return hide


def _hidden(value: Any, hide: _Hide) -> Any:
    """The value with `hide` applied to all text in it, including keys."""
    if isinstance(value, str):
        return hide(value)
    if isinstance(value, Mapping):
        return {hide(str(key)): _hidden(inside, hide) for key, inside in value.items()}
    if isinstance(value, list | tuple):
        return [_hidden(inside, hide) for inside in value]
    return value


def _json_file(name: str, about: str, value: Mapping[str, Any], hide: _Hide) -> BundleFile:
    text = json.dumps(_hidden(value, hide), ensure_ascii=False, indent=1)
    return BundleFile(name, about, text.encode("utf-8", "backslashreplace") + b"\n")


def _process_facts() -> dict[str, Any]:
    return {
        "executable": sys.executable,
        "python build": sys.version,
        "file system encoding": sys.getfilesystemencoding(),
        "stdout encoding": getattr(sys.stdout, "encoding", None),
        "folder": os.getcwd(),  # noqa: PTH109 - as reported by the system
        "load": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
    }


def _describe_model(name: str, hide: _Hide) -> list[BundleFile]:
    """The metadata of a model and checksums of its files. If it cannot be read, the error is included."""
    given = Path(name)
    folder = next((path for path in (given, given / "model") if (path / TOML).is_file()), None)
    folder = folder or find_model(name).folder
    facts: dict[str, Any] = {"folder": str(folder), "files": {}}
    try:
        facts["labels"] = list(read_model(folder).labels)
    except AudiocnnError as problem:
        facts["error"] = str(problem)
    for part in _MODEL_FILES:
        if (folder / part).is_file():
            facts["files"][part] = _sum_file(folder / part)
    files = [_json_file("model.json", "sizes and SHA-256 of the model files", facts, hide)]
    try:
        text = read_regular(folder / TOML).decode("utf-8", "backslashreplace")
    except (OSError, ValueError):  # model.json contains the reason
        return files
    return [*files, BundleFile(TOML, "the metadata of the model", hide(text).encode())]


def _sum_file(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
    except OSError as problem:
        return {"error": problem.strerror}


def _describe_recording(name: str) -> dict[str, Any]:
    """The header of a recording, and errors when it is read. No samples are included."""
    path = Path(name)
    if is_url(name):
        raise UsageError(f"{show_name(name)}: is not a local file; copy the recording to this machine first")
    if path.is_dir():
        raise UsageError(f"{show_name(name)}: is a folder; give the recording that the problem occurs with")
    if not path.is_file():
        raise UsageError(f"{show_name(name)}: no such file; check the name")
    facts: dict[str, Any] = {"file": show_name(name), "bytes": path.stat().st_size}
    try:
        with path.open("rb") as file:
            facts["first bytes"] = file.read(_MAGIC_BYTES).hex(" ")
        with open_recording(path) as recording:
            info = recording.info
            facts |= {"sample_rate": info.sample_rate, "channels": info.channels, "frames": info.frames}
            facts |= {"seconds": info.duration_seconds, "encoding": recording.encoding}
    except (AudiocnnError, OSError) as problem:
        facts["error"] = str(problem)
    except Exception as problem:  # noqa: BLE001 - the bundle serves to report errors of decoders
        facts |= {"error": f"{type(problem).__name__}: {problem}", "traceback": traceback.format_exc()}
    return facts


def _read_log(name: str, hide: _Hide) -> BundleFile:
    try:
        content = read_regular(Path(name))[-_MOST_LOG_BYTES:]
    except OSError as problem:
        raise UsageError(f"--log {show_name(name)}: cannot be read ({problem.strerror}); check the name") from None
    except ValueError as problem:
        raise UsageError(f"--log {show_name(name)}: {problem}; give the file with the output of the command") from None
    return BundleFile("log.txt", "output of the command", hide(content.decode("utf-8", "backslashreplace")).encode())
