"""Recordings that lie elsewhere: s3://, gs://, https:// and whatever else fsspec reads. They are copied to a temporary
file, which has no name and goes when it is closed; records and datasets carry the address."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, TypeVar, cast

from audiocnn.errors import RecordingError, UsageError
from audiocnn.ffmpeg import find_program
from audiocnn.filenames import AUDIO_SUFFIXES, OWN_SUFFIXES, show_name
from audiocnn.globs import matches_any

SCHEME = re.compile(r"[a-z][a-z0-9+.-]+(::[a-z][a-z0-9+.-]+)*://", re.IGNORECASE)  # one letter is a drive
BARE_SCHEME = re.compile("[a-z]+")  # behind ::
PROTOCOLS_OF_QUERIES = ("http", "https")  # in which ? and [ are no pattern
COPY_BYTES = 1 << 20
PACKAGES = {
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
NO_FSSPEC = "needs the package fsspec; pip install 'audiocnn[ray]'"

S = TypeVar("S")
T = TypeVar("T")


class NotThereError(RecordingError):
    """Nothing lies at an address, as its place says; anything else may be over in a minute."""


@dataclass(frozen=True)
class Remote:
    """A recording at an address."""

    url: str

    def __str__(self) -> str:
        return self.url

    @property
    def place(self) -> PurePosixPath:
        """Where it lies, without what kind of address it is: names of files and folders."""
        return PurePosixPath(SCHEME.sub("", self.url.partition("::")[0]))

    def identity(self) -> tuple[int, int]:
        """Its size in bytes, and a number that is another one when it has changed, as far as that place tells: its
        time, its digest or its version. RecordingError."""
        system, path = system_of(self.url)
        size, key = told(self.url, lambda: (system.size(path), str(system.ukey(path))))
        digest = hashlib.blake2b(key.encode(), digest_size=7).digest()
        return size or 0, int.from_bytes(digest)

    def fetched(self) -> BinaryIO:
        """A copy of it, open, with its address as its name. RecordingError."""
        system, path = system_of(self.url)

        def fetch() -> BinaryIO:
            import tempfile  # which takes long to import, and is rarely needed

            copied = tempfile.TemporaryFile(prefix="audiocnn-")  # noqa: SIM115 - closed with the recording
            copied.raw.name = self.url  # type: ignore[attr-defined]
            with system.open(path, "rb") as source:
                shutil.copyfileobj(source, copied, COPY_BYTES)
            copied.seek(0)
            return cast(BinaryIO, copied)

        return told(self.url, fetch)


@dataclass(frozen=True)
class Place:
    """A recording that an address stands for, and where it lies in the folder that was named, if one was."""

    url: str
    inside: Path | None = None


def openable(source: S | Remote) -> S | BinaryIO:
    """What can be opened: a copy of what lies at an address; anything else as it is. RecordingError."""
    return source.fetched() if isinstance(source, Remote) else source


def is_url(name: str) -> bool:
    """Whether a name is an address."""
    return SCHEME.match(name) is not None


def refuse_urls(*names: str) -> None:
    """UsageError for an address where a dataset or a table is wanted, which must lie here."""
    for name in filter(is_url, names):
        raise UsageError(f"{show_name(name)}: addresses are for recordings; ingest it, or copy it here first")


def recordings_at(url: str, patterns: Sequence[str] = (), left_out: Counter[str] | None = None) -> Iterator[Place]:
    """A file as it is; of a folder all recordings inside, or the files that fit a pattern; of an address with `*` the
    files that fit it. RecordingError where there is none, or nobody may look."""
    system, path = system_of(url)
    if is_pattern(url):
        found = told(url, lambda: sorted(name for name in listed(system.glob(path, detail=True))))
        if not found:
            raise RecordingError(f"{show_name(url)}: no file fits; check the address")
        yield from (Place(address(name, url)) for name in found)
    elif PurePosixPath(path).suffix.lower() in AUDIO_SUFFIXES or not told(url, lambda: system.isdir(path)):
        yield Place(url)
    else:
        yield from inside(url, system, path, patterns, left_out)


def inside(url: str, system: Any, path: str, patterns: Sequence[str], left_out: Counter[str] | None) -> Iterator[Place]:
    """What lies in a folder, sorted, without hidden files."""
    root, own = path.rstrip("/"), AUDIO_SUFFIXES if find_program() else OWN_SUFFIXES
    found = False
    for name in told(url, lambda: sorted(listed(system.find(path, detail=True)))):
        part = Path(name.removeprefix(root).lstrip("/"))
        if any(word.startswith(".") for word in part.parts):
            continue
        suffix = part.suffix.lower()
        if matches_any(part, patterns) if patterns else suffix in own:
            found = True
            yield Place(address(name, url), part)
        elif not patterns and suffix in AUDIO_SUFFIXES and left_out is not None:
            left_out[suffix] += 1
    if not found:
        what = f"fits {' or '.join(patterns)}" if patterns else "ends as audio does"
        raise RecordingError(f"{show_name(url)}: nothing in this folder {what}; check the address")


def listed(found: dict[str, Any]) -> Iterator[str]:
    """The files of a listing."""
    return (name for name, facts in found.items() if facts.get("type") != "directory")


def is_pattern(url: str) -> bool:
    """Whether an address is a pattern."""
    plain = url.partition("://")[0].lower() in PROTOCOLS_OF_QUERIES
    return "*" in url or (not plain and any(sign in url for sign in "?["))


def address(name: str, url: str) -> str:
    """The address of a file that was found; what stands behind `::` is where its archive lies."""
    first, chained, rest = url.partition("::")
    return (name if is_url(name) else first.partition("://")[0] + "://" + name) + chained + rest


def absolute(url: str) -> str:
    """The address with the files of this machine that it names as paths from the root on: those behind `::`, which
    need no scheme (a word of letters alone is one, as fsspec reads it), and those of file://."""
    parts = url.split("::")
    for number, part in enumerate(parts):
        scheme, _, rest = part.rpartition("://")
        if scheme == "file" or (number and not scheme and not BARE_SCHEME.fullmatch(part)):
            parts[number] = f"{scheme}://{os.path.abspath(rest)}" if scheme else os.path.abspath(rest)  # noqa: PTH100
    return "::".join(parts)


def below_root(url: str) -> Path:
    """Where the results for an address lie in a tree: without its scheme, and never above the root."""
    parts = Remote(url).place.parts
    return Path(*[part for part in parts if part not in ("/", "..", ".")] or ["recording"])


def system_of(url: str) -> tuple[Any, str]:
    """What reads such addresses, and what it calls this one. RecordingError for an address that nothing here reads."""
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise RecordingError(f"{show_name(url)}: {NO_FSSPEC}") from None
    system, path = told(url, lambda: url_to_fs(url))
    return system, str(path)


def told(url: str, work: Callable[[], T]) -> T:
    """What the work gives. RecordingError for whatever goes wrong in it: each kind of address has errors of its own."""
    name = show_name(url)
    try:
        return work()
    except RecordingError:
        raise
    except ImportError as problem:
        raise RecordingError(f"{name}: {missing(url, problem)}") from None
    except ValueError as problem:
        if "Protocol not known" not in str(problem):
            raise unreadable(name, problem) from None
        raise RecordingError(f"{name}: fsspec knows no such kind of address; check how it begins") from None
    except FileNotFoundError:
        raise NotThereError(f"{name}: no such file; check the address") from None
    except PermissionError:
        raise RecordingError(f"{name}: no access; check the address, and who you are there") from None
    except Exception as problem:  # noqa: BLE001 - of any package: a network, a bucket, credentials
        raise unreadable(name, problem) from None


def unreadable(name: str, problem: Exception) -> RecordingError:
    """What is said where a package says something of its own."""
    why = " ".join(f"{type(problem).__name__}: {problem}".split())[:200]
    return RecordingError(f"{name}: cannot be read ({why}); check the address, the network, and who you are there")


def missing(url: str, problem: ImportError) -> str:
    """Which package reads such addresses."""
    scheme = url.partition("://")[0].lower()
    package = PACKAGES.get(scheme)
    if package is None:
        return f"{scheme}:// needs a package that is not here ({' '.join(str(problem).split())})"
    return f"{scheme}:// needs {package}; pip install {package}"
