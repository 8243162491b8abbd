"""Finding recordings in folders, by suffix or by patterns such as `*.flac` and `2024/**/mic1.wav`."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path, PurePath

from audiocnn.audio.ffmpeg import FFMPEG_SUFFIXES, find_program, left_out_line
from audiocnn.errors import RecordingError, show_name

SNDFILE_SUFFIXES = frozenset(
    {".wav", ".w64", ".rf64", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".mp1", ".aif", ".aiff", ".aifc"}
    | {".au", ".snd", ".caf", ".sph", ".nist", ".voc", ".avr", ".htk", ".paf", ".pvf", ".sf", ".ircam", ".iff", ".8svx"}
    | {".svx", ".xi", ".wve", ".sds"}
)
_OF_SYSTEMS = {"@eadir", "#recycle", "$recycle.bin", "system volume information", "lost+found", "__macosx"}
AUDIO_SUFFIXES = SNDFILE_SUFFIXES | FFMPEG_SUFFIXES


class EntryError(RecordingError):
    """An entry of a folder that cannot be read. is_folder: it is or may be a folder, whose content is missed."""

    def __init__(self, path: Path, reason: str, is_folder: bool) -> None:
        super().__init__(f"{show_name(path)}: {reason}")
        self.path, self.reason, self.is_folder = path, reason, is_folder


def find_recordings(paths: Iterable[str | Path], left_out: Counter[str] | None = None) -> Iterator[Path | EntryError]:
    """Named files as they are; for folders, all recordings inside, selected by suffix, sorted, without hidden files. A
    recording or folder that cannot be read yields an EntryError in its place.

    Without ffmpeg, files that only ffmpeg reads are skipped and counted by suffix in `left_out`. Raises RecordingError
    for a folder without recordings.
    """
    for path in paths:
        if not is_folder(path):
            yield Path(path)
            continue
        wanted = AUDIO_SUFFIXES if find_program() else SNDFILE_SUFFIXES
        found, missed = False, Counter[str]()
        for entry in walk_folder(Path(path)):
            suffix = entry_path(entry).suffix.lower()
            if suffix in wanted or (isinstance(entry, EntryError) and entry.is_folder):
                found = True
                yield entry
            elif suffix in AUDIO_SUFFIXES:
                missed[suffix] += 1
        if found and left_out is not None:
            left_out.update(missed)
        if not found and missed:
            raise RecordingError(f"{show_name(path)}: no readable recordings in this folder; {left_out_line(missed)}")
        if not found:
            known = " ".join(sorted(wanted))
            raise RecordingError(f"{show_name(path)}: no recordings in this folder; they must end in {known}")


def is_folder(path: str | Path) -> bool:
    """Whether a name is that of an existing folder; False if it is too long or otherwise invalid."""
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):
        return False


def is_hidden(name: str) -> bool:
    """Whether a file or folder is hidden by its name, or was created by the operating system."""
    return name.startswith(".") or name.casefold() in _OF_SYSTEMS


def entry_path(entry: Path | EntryError) -> Path:
    return entry.path if isinstance(entry, EntryError) else entry


def files_in(folder: Path) -> Iterator[Path]:
    """The visible files under a folder, in the order of `walk_folder`."""
    return (entry for entry in walk_folder(folder) if not isinstance(entry, EntryError))


def walk_folder(folder: Path) -> Iterator[Path | EntryError]:
    """Visible files under a folder, sorted. A folder that several links lead to is read once. An entry that is neither
    a file nor a folder, or that cannot be read, yields an EntryError, and the walk continues."""
    seen: set[tuple[int, int]] = set()
    open_folders = [_entries(folder, seen)]  # no recursion: trees may be deeper than Python's limit
    while open_folders:
        entry = next(open_folders[-1], None)
        if entry is None:
            open_folders.pop()
        elif isinstance(entry, os.DirEntry):
            open_folders.append(_entries(Path(entry), seen))
        else:
            yield entry


def _entries(folder: Path, seen: set[tuple[int, int]]) -> Iterator[Path | os.DirEntry[str] | EntryError]:
    """The sorted content of a folder; subfolders as directory entries. Yields nothing if the folder is in `seen`."""
    listed: list[os.DirEntry[str]] = []
    try:
        status = folder.stat()
        if (status.st_dev, status.st_ino) in seen:
            return
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as entries:
            listed.extend(entry for entry in entries if not is_hidden(entry.name))
    except OSError as error:
        yield EntryError(folder, _unread(error), is_folder=True)
    for entry in sorted(listed, key=lambda entry: entry.name):
        try:
            if entry.is_dir():
                yield entry
            elif entry.is_file():
                yield Path(entry)
            else:
                what = next(what for is_kind, what in _KINDS if is_kind(entry.stat().st_mode))
                yield EntryError(Path(entry), f"{what}, not a regular file; leave it out", is_folder=False)
        except OSError as error:
            reason = _DANGLING if _is_dangling(entry, error) else _unread(error)
            yield EntryError(Path(entry), reason, is_folder=not Path(entry).suffix)


_DANGLING = "a broken link; repair or remove it"
_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (lambda _: True, "a device"),
)
_REMEDIES = {
    errno.EMFILE: "raise the limit with ulimit -n",
    errno.ENFILE: "close other programs",
    errno.ENAMETOOLONG: "use a folder further down",
    errno.ENOENT: "it was removed in the meantime",
}


def _unread(error: OSError) -> str:
    return f"cannot be read ({error.strerror}); {_REMEDIES.get(error.errno or 0, 'check its permissions')}"


def _is_dangling(entry: os.DirEntry[str], error: OSError) -> bool:
    return entry.is_symlink() and error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)


def matches_any(inside: PurePath, patterns: Sequence[str]) -> bool:
    return any(matches(inside, pattern) for pattern in patterns)


def is_excluded(path: PurePath, patterns: Sequence[str]) -> bool:
    """Whether a path or one of its parent folders equals a pattern, or matches one by the rules of `matches`."""
    places = [path, *path.parents]
    return any(pattern == str(place) or matches(place, pattern) for place in places for pattern in patterns)


def matches(inside: PurePath, pattern: str) -> bool:
    """A pattern without a slash is compared with the file name, at any depth. A pattern with a slash is compared with
    the whole path inside the folder; `*` does not cross slashes, and `**` stands for any number of folders. Case
    matters."""
    if "/" not in pattern:
        return fnmatchcase(inside.name, pattern)
    return _parts_match(inside.parts, tuple(part for part in pattern.split("/") if part not in ("", ".")))


def _parts_match(parts: tuple[str, ...], patterns: tuple[str, ...]) -> bool:
    @cache  # bounds the running time
    def rest_matches(part: int, pattern: int) -> bool:
        if pattern == len(patterns):
            return part == len(parts)
        if patterns[pattern] == "**":
            return rest_matches(part, pattern + 1) or (part < len(parts) and rest_matches(part + 1, pattern))
        return part < len(parts) and fnmatchcase(parts[part], patterns[pattern]) and rest_matches(part + 1, pattern + 1)

    return rest_matches(0, 0)


URL_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+(::[a-z][a-z0-9+.-]+)*://", re.IGNORECASE)  # a single letter is a drive


def is_url(name: str) -> bool:
    return URL_SCHEME.match(name) is not None
