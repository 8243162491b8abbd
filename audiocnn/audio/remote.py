"""Remote recordings: s3://, gs://, https:// and other addresses that fsspec reads. They are copied to a temporary file
without a name, which disappears when it is closed. Records and datasets store the address."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, TypeVar, cast

from audiocnn.audio.ffmpeg import find_program
from audiocnn.audio.find import AUDIO_SUFFIXES, SNDFILE_SUFFIXES, URL_SCHEME, is_url, matches_any
from audiocnn.errors import MissingPackageError, RecordingError, UsageError, show_name
from audiocnn.files import copy_stream, temporary_errors
from audiocnn.packages import check_packages

_BARE_SCHEME = re.compile("[a-z]+")  # after ::
_PROTOCOLS_OF_QUERIES = ("http", "https")  # in which ? and [ are not wildcards
_PACKAGES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "http": "aiohttp requests",
    "https": "aiohttp requests",
    "az": "adlfs",
    "abfs": "adlfs",
    "hf": "huggingface_hub",
    "sftp": "paramiko",
    "smb": "smbprotocol",
}
_S = TypeVar("_S")
_T = TypeVar("_T")


class NotThereError(RecordingError):
    """The server reports that nothing exists at an address. Other errors may be temporary."""


@dataclass(frozen=True)
class Remote:
    url: str

    def __str__(self) -> str:
        return self.url

    @property
    def place(self) -> PurePosixPath:
        """The path without the scheme, for names of files and folders."""
        return PurePosixPath(URL_SCHEME.sub("", self.url.partition("::")[0]))

    def identity(self) -> tuple[int, int]:
        """The size in bytes, and a number that changes with the file, as far as the server reports its time, digest or
        version. Raises RecordingError."""
        system, path = _file_system_of(self.url)
        size, key = _attempt(self.url, lambda: (system.size(path), str(system.ukey(path))))
        digest = hashlib.blake2b(key.encode(), digest_size=7).digest()
        return size or 0, int.from_bytes(digest)

    def fetched(self) -> BinaryIO:
        """An open temporary copy, named after the address. Raises RecordingError."""
        system, path = _file_system_of(self.url)

        def fetch() -> BinaryIO:
            import tempfile  # slow to import and rarely needed

            name = show_name(self.url)
            with temporary_errors(name, RecordingError):
                copied = tempfile.TemporaryFile(prefix="audiocnn-")  # noqa: SIM115 - closed with the recording
            copied.raw.name = self.url  # type: ignore[attr-defined]
            with system.open(path, "rb") as source:
                copy_stream(source, cast(BinaryIO, copied), name, RecordingError)
            copied.seek(0)
            return cast(BinaryIO, copied)

        return _attempt(self.url, fetch)


@dataclass(frozen=True)
class RemoteFile:
    """A recording at an address. inside: its path inside the folder that was named, if any."""

    url: str
    inside: Path | None = None


def openable(source: _S | Remote) -> _S | BinaryIO:
    """An object that can be opened: a copy for an address, anything else unchanged. Raises RecordingError."""
    return source.fetched() if isinstance(source, Remote) else source


def refuse_urls(*names: str) -> None:
    """Raises UsageError for an address where a local dataset or table is required."""
    for name in filter(is_url, names):
        raise UsageError(
            f"{show_name(name)}: addresses are accepted for recordings only; ingest it, or copy it here first"
        )


def recordings_at(url: str, patterns: Sequence[str] = (), left_out: Counter[str] | None = None) -> Iterator[RemoteFile]:
    """A file as it is; for a folder, all recordings inside, or those that match a pattern; for an address with `*`, the
    matching files. Raises RecordingError if there are none, or if access is denied."""
    system, path = _file_system_of(url)
    if _is_pattern(url):
        found = _attempt(url, lambda: sorted(name for name in _files_of(system.glob(path, detail=True))))
        if not found:
            raise RecordingError(f"{show_name(url)}: no file matches; check the address")
        yield from (RemoteFile(_url_of(name, url)) for name in found)
    elif PurePosixPath(path).suffix.lower() in AUDIO_SUFFIXES or not _attempt(url, lambda: system.isdir(path)):
        yield RemoteFile(url)
    else:
        yield from _in_folder(url, system, path, patterns, left_out)


def _in_folder(
    url: str, system: Any, path: str, patterns: Sequence[str], left_out: Counter[str] | None
) -> Iterator[RemoteFile]:
    """The files in a folder, sorted, without hidden ones."""
    root, own = path.rstrip("/"), AUDIO_SUFFIXES if find_program() else SNDFILE_SUFFIXES
    found = False
    for name in _attempt(url, lambda: sorted(_files_of(system.find(path, detail=True)))):
        part = Path(name.removeprefix(root).lstrip("/"))
        if any(word.startswith(".") for word in part.parts):
            continue
        suffix = part.suffix.lower()
        if matches_any(part, patterns) if patterns else suffix in own:
            found = True
            yield RemoteFile(_url_of(name, url), part)
        elif not patterns and suffix in AUDIO_SUFFIXES and left_out is not None:
            left_out[suffix] += 1
    if not found:
        what = f"matches {' or '.join(patterns)}" if patterns else "has an audio suffix"
        raise RecordingError(f"{show_name(url)}: no file in this folder {what}; check the address")


def _files_of(found: dict[str, Any]) -> Iterator[str]:
    return (name for name, facts in found.items() if facts.get("type") != "directory")


def _is_pattern(url: str) -> bool:
    plain = url.partition("://")[0].lower() in _PROTOCOLS_OF_QUERIES
    return "*" in url or (not plain and any(sign in url for sign in "?["))


def _url_of(name: str, url: str) -> str:
    """The address of a file that was found. The part after `::` says where its archive is."""
    first, chained, rest = url.partition("::")
    return (name if is_url(name) else first.partition("://")[0] + "://" + name) + chained + rest


def absolute(url: str) -> str:
    """The address with absolute paths for the local files in it: those after `::`, whose scheme may be omitted (but
    fsspec reads a single word of letters as a scheme), and those of file://."""
    parts = url.split("::")
    for number, part in enumerate(parts):
        scheme, _, rest = part.rpartition("://")
        if scheme == "file" or (number and not scheme and not _BARE_SCHEME.fullmatch(part)):
            parts[number] = f"{scheme}://{os.path.abspath(rest)}" if scheme else os.path.abspath(rest)  # noqa: PTH100
    return "::".join(parts)


def below_root(url: str) -> Path:
    """The path of the results for an address inside an output folder: without its scheme, and never above the root."""
    parts = Remote(url).place.parts
    return Path(*[part for part in parts if part not in ("/", "..", ".")] or ["recording"])


def _file_system_of(url: str) -> tuple[Any, str]:
    """fsspec's file system for an address, and the path in it. Raises RecordingError if the scheme is not supported."""
    try:
        check_packages(f"{show_name(url)}: an address", ["fsspec"])
    except MissingPackageError as problem:
        raise RecordingError(str(problem)) from None
    from fsspec.core import url_to_fs

    system, path = _attempt(url, lambda: url_to_fs(url))
    return system, str(path)


def _attempt(url: str, work: Callable[[], _T]) -> _T:
    """Call `work`, and turn any exception into RecordingError: each kind of address has its own exceptions."""
    name = show_name(url)
    try:
        return work()
    except RecordingError:
        raise
    except ImportError as problem:
        raise RecordingError(f"{name}: {_missing_package(url, problem)}") from None
    except ValueError as problem:
        if "Protocol not known" not in str(problem):
            raise _unreadable(name, problem) from None
        raise RecordingError(f"{name}: not an address that fsspec knows; check its scheme") from None
    except FileNotFoundError:
        raise NotThereError(f"{name}: no such file; check the address") from None
    except PermissionError:
        raise RecordingError(f"{name}: access denied; check the address and your credentials") from None
    except Exception as problem:  # noqa: BLE001 - of any package: a network, a bucket, credentials
        raise _unreadable(name, problem) from None


def _unreadable(name: str, problem: Exception) -> RecordingError:
    why = " ".join(f"{type(problem).__name__}: {problem}".split())[:200]
    return RecordingError(f"{name}: cannot be read ({why}); check the address, the network and your credentials")


def _missing_package(url: str, problem: ImportError) -> str:
    scheme = url.partition("://")[0].lower()
    package = _PACKAGES.get(scheme)
    if package is None:
        return f"{scheme}:// needs a package that is not installed ({' '.join(str(problem).split())})"
    return f"{scheme}:// needs {package}, which is not installed: pip install {package}"
