"""Expansion of FILE... arguments: recordings, folders, lists of names, standard input."""

from __future__ import annotations

import codecs
import io
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, BinaryIO, cast

from audiocnn.audio.ffmpeg import left_out_line
from audiocnn.audio.find import (
    EntryError,
    entry_path,
    find_recordings,
    is_excluded,
    is_folder,
    is_url,
    matches_any,
    walk_folder,
)
from audiocnn.audio.remote import Remote, below_root, recordings_at
from audiocnn.errors import RecordingError, UsageError, show_name, show_names
from audiocnn.files import copy_stream, open_waiting, temporary_errors, temporary_file
from audiocnn_cli.app.options import (
    InputOptions,
    RawOptions,
)
from audiocnn_cli.app.terminal import Terminal
from audiocnn_cli.io.output import ExistsError

if TYPE_CHECKING:
    from audiocnn.audio.pcm import RawFormat
    from audiocnn.audio.recording import Selection

_MOST_DIGITS = 9  # of a channel or a shard
_MOST_NAME_BYTES = 1 << 16  # of a name in a list; file systems allow 4096, and URLs may be longer
_MOST_SKIPPED_BYTES = 1 << 30  # of one name; a list with a longer one is taken as endless
STDIN = "-"
STDIN_NAMES = (STDIN, "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")


@dataclass(frozen=True)
class Input:
    """One recording: its name in records, and the source to open. Or, with `problem`, the reason why there is none.

    inside: its path inside the given folder. target: its output, with --output-dir; redo: replace an existing output.
    existing: an output that exists and is not replaced, which is the problem.
    """

    name: str
    source: Path | BinaryIO | Remote | None = None
    problem: str = ""
    raw: RawFormat | None = None
    excerpt: Selection | None = None
    inside: Path | None = None
    target: Path | None = None
    redo: bool = False
    existing: Path | None = None
    changed_ns: int | None = None  # modification time of the file when it was assigned to an output

    @property
    def opened(self) -> Path | BinaryIO:
        """What to open. Raises RecordingError for an input with a problem."""
        if self.existing is not None:
            raise ExistsError(self.existing)
        if self.source is None:
            raise RecordingError(self.problem)
        return self.source.fetched() if isinstance(self.source, Remote) else self.source


def read_channel(text: str) -> str | int:
    if text in ("mix", "each"):
        return text
    if not _is_count(text):
        raise UsageError(f'--channel cannot be "{text}"; use mix, each, or a channel number, from 0')
    return int(text)


def read_raw(options: RawOptions) -> RawFormat | None:
    """The format given by --raw, --rate and --channels."""
    if options.raw is None:
        for name, value in (("--rate", options.rate), ("--channels", options.channels)):
            if value is not None:
                raise UsageError(
                    f"{name} applies to samples without a header; give their format too, as in --raw s16le"
                )
        return None
    from audiocnn.audio.pcm import DEFAULT_RAW_CHANNELS, RawFormat

    if options.rate is None:
        RawFormat(options.raw, 1)  # an unknown encoding is reported first
        raise UsageError(f"--raw {options.raw}: the sample rate is missing; give it, as in --rate 16000")
    channels = DEFAULT_RAW_CHANNELS if options.channels is None else options.channels
    return RawFormat(options.raw, options.rate, channels)


def read_excerpt(options: InputOptions) -> Selection | None:
    """The part selected by --start, --end and --track; None without these options."""
    if options.start is None and options.end is None and options.track is None:
        return None
    from audiocnn.audio.recording import Selection

    return Selection(options.start or 0.0, options.end, options.track)


def read_shard(text: str | None) -> tuple[int, int]:
    """Parse `2/8` as (1, 8): the part of the list, counted from 0, and the number of parts. None is (0, 1)."""
    if text is None:
        return 0, 1
    number, slash, total = text.partition("/")
    if not (slash and _is_count(number) and _is_count(total) and 1 <= int(number) <= int(total)):
        raise UsageError(f'--shard cannot be "{text}"; give part and number of parts, such as 1/8 to 8/8')
    return int(number) - 1, int(total)


def _is_count(text: str) -> bool:
    """Whether this is a whole number of reasonable size."""
    return text.isdecimal() and len(text) <= _MOST_DIGITS


def is_stream(name: str, terminal: Terminal) -> bool:
    """Whether this is standard input from a pipe, not from a file."""
    return name == STDIN and not terminal.stdin.seekable()


def find_inputs(
    files: list[str] | None,
    options: InputOptions,
    terminal: Terminal,
    raw: RawFormat | None = None,
    check: Callable[[Iterable[Input]], Iterator[Input]] | None = None,
) -> Iterator[Input]:
    """The given recordings, in order; with N shards, each shard gets every N-th. Raises UsageError at once if none was
    given. check: called on the whole list, unless the list comes from a pipe."""
    names = list(files or ())
    listed = options.files_from
    if not names and listed is None:
        raise UsageError("no recording given; give files, folders, or - for standard input")
    if sum(name in STDIN_NAMES for name in names) > 1:
        raise UsageError("standard input is given twice; it can be read only once")
    if listed == STDIN and STDIN in names:
        raise UsageError("- and --files-from - both read standard input; use one of them")
    if (STDIN in names or listed == STDIN) and terminal.stdin.isatty():
        raise UsageError("standard input is a terminal; pipe data into it or give a file")
    if options.null and listed is None:
        raise UsageError("-0 applies to --files-from; give --files-from too")
    folders = [name for name in names if is_folder(name)]
    if raw is not None and folders and not options.glob:
        raise UsageError(f"{folders[0]}: is a folder; with --raw, give each file or select files with --glob")
    if options.glob and not folders and listed is None and not any(map(is_url, names)):
        raise UsageError("--glob selects files in a folder; give a folder")
    if options.settled is not None and not options.settled > 0:
        raise UsageError(f"--settled cannot be {options.settled:g}; give a number of minutes, such as 5")
    patterns = read_patterns(options.exclude)
    first, step = read_shard(options.shard)
    list_file = _open_list(listed, terminal)
    found = _expand_names(names, list_file, options, terminal)
    if patterns:
        found = (one for one in found if not _is_excluded(one, patterns))
    if check is not None and (list_file is None or list_file.seekable()):
        found = check(found)
    found = islice(found, first, None, step)
    if options.settled is not None:
        found = _leave_out_fresh(found, options.settled, terminal)
    excerpt = read_excerpt(options)
    if raw is None and excerpt is None:
        return found
    return (replace(one, raw=raw, excerpt=excerpt) for one in found)


def read_patterns(given: Sequence[str] | None) -> list[str]:
    """The patterns of --exclude. @FILE stands for the non-empty lines of that file. Raises UsageError if the file
    cannot be read or a pattern is empty."""
    patterns: list[str] = []
    for one in given or ():
        if not one.startswith("@"):
            patterns.append(one)
            continue
        try:
            with open_waiting(Path(one[1:]), f"--exclude {one}", UsageError) as file:
                for name in split_names(file, b"\n"):
                    if isinstance(name, RecordingError):
                        raise UsageError(f"--exclude {one}: {name}")
                    patterns.append(os.fsdecode(name))
        except OSError as problem:
            raise UsageError(f"--exclude {one}: cannot be read ({problem.strerror}); check the name") from None
    if not all(pattern.strip("/") for pattern in patterns):
        raise UsageError('--exclude "": the pattern is empty; give a name, or a pattern such as "*.tmp.wav"')
    return [pattern.rstrip("/") for pattern in patterns]


def _is_excluded(one: Input, patterns: Sequence[str]) -> bool:
    """Whether a pattern matches its path inside the given folder, or its name as shown in messages."""
    if one.name in STDIN_NAMES:
        return False
    if one.name in patterns or is_excluded(one.inside or PurePath(os.path.normpath(one.name)), patterns):
        return True
    paths = [pattern for pattern in patterns if "/" in pattern]
    return one.inside is not None and is_excluded(PurePath(one.name), paths)


def _leave_out_fresh(inputs: Iterable[Input], minutes: float, terminal: Terminal) -> Iterator[Input]:
    """The inputs without files whose content or metadata changed in the last minutes."""
    fresh: list[str] = []
    others = False
    for one in inputs:
        if isinstance(one.source, Path) and _seconds_unchanged(one.source) < minutes * 60:
            fresh.append(one.name)
        else:
            others = True
            yield one
    if fresh:
        changed = f"changed in the last {minutes:g} min; skipped because of --settled"
        said = f"{show_names(fresh, terminal.verbose)}: {changed}"
        if others:
            terminal.say(f"audiocnn: {said}")
        else:  # also with -q: a first try on fresh copies would otherwise do nothing without a word
            terminal.error(f"{said}; nothing else was found", kind="warning")


def _seconds_unchanged(path: Path) -> float:
    """Seconds since the last change; infinite if unknown."""
    try:
        status = path.stat()
    except OSError:
        return math.inf
    return time.time() - max(status.st_mtime, status.st_ctime)


def _open_list(path: str | None, terminal: Terminal) -> BinaryIO | None:
    if path is None or path == STDIN:
        return None if path is None else terminal.stdin
    try:
        return open_waiting(Path(path), f"--files-from {path}", UsageError)
    except OSError as problem:
        raise UsageError(f"--files-from {path}: cannot be read ({problem.strerror}); check the name") from None


def _expand_names(
    names: list[str], listed: BinaryIO | None, options: InputOptions, terminal: Terminal
) -> Iterator[Input]:
    """The recordings that each name stands for. A name without any is yielded as an input with a problem."""
    left_out = Counter[str]()
    for name in names:
        if name == STDIN:
            yield Input(STDIN, terminal.stdin)
        else:
            yield from expand_name(name, options.glob or (), left_out)
    if listed is not None:
        for raw in split_names(listed, b"\0" if options.null else b"\n"):
            if isinstance(raw, RecordingError):
                yield Input(str(options.files_from), problem=f"--files-from {options.files_from}: {raw}")
            else:
                yield from expand_name(os.fsdecode(raw), options.glob or (), left_out)
    if left_out:
        terminal.error(left_out_line(left_out), kind="warning")


def expand_name(name: str, patterns: Sequence[str] = (), left_out: Counter[str] | None = None) -> Iterator[Input]:
    """The inputs for a name: a file itself; for a folder, its recordings or its files that match a pattern; URLs
    likewise. Files that need ffmpeg are counted in `left_out` if ffmpeg is not installed."""
    if not name.strip():
        yield Input(name, problem=f'"{name}": the name is empty; check the list or script that produced it')
        return
    try:
        if is_url(name):
            for place in recordings_at(name, patterns, left_out):
                yield Input(place.url, Remote(place.url), inside=place.inside or below_root(place.url))
            return
        folder = Path(name) if is_folder(name) else None
        for path in (
            find_recordings([name], left_out) if folder is None or not patterns else _find_matching(folder, patterns)
        ):
            if isinstance(path, EntryError):
                yield Input(str(path.path), problem=str(path))
                continue
            shown = f"./{path}" if str(path) == STDIN else str(path)  # a file called "-" is not standard input
            yield Input(shown, path, inside=path.relative_to(folder) if folder else None)
    except RecordingError as problem:
        yield Input(name, problem=str(problem))


def _find_matching(folder: Path, patterns: Sequence[str]) -> Iterator[Path | EntryError]:
    """Files in a folder that match a pattern, and unreadable entries. Raises RecordingError if there are none."""
    found = False
    for entry in walk_folder(folder):
        is_lost_folder = isinstance(entry, EntryError) and entry.is_folder
        if is_lost_folder or matches_any(entry_path(entry).relative_to(folder), patterns):
            found = True
            yield entry
    if not found:
        raise RecordingError(f"{show_name(folder)}: no file in this folder matches {' or '.join(patterns)}")


def split_names(file: BinaryIO, end: bytes) -> Iterator[bytes | RecordingError]:
    """Names as they arrive, so that a slow pipe is followed. Empty names are skipped. Lists from Windows may begin with
    a byte order mark and end lines with CR LF. An entry that is too long for a name is an error."""
    for number, name in enumerate(_split_at(file, end)):
        if len(name) > _MOST_NAME_BYTES:
            what = f"entry {number + 1} is longer than {_MOST_NAME_BYTES} bytes, too long for a name"
            yield RecordingError(f"{what}; check that this is a list of names")
            continue
        if end == b"\n":
            name = name.removesuffix(b"\r")
            name = name.removeprefix(codecs.BOM_UTF8) if number == 0 else name
        if name:
            yield name


def _split_at(file: BinaryIO, end: bytes) -> Iterator[bytes]:
    """The parts of a file between separators, and the rest after the last one unless it is only a newline. Entries that
    are too long for a name are truncated to one byte above the limit."""
    rest, skipped = b"", 0
    read = getattr(file, "read1", file.read)
    while part := read(1 << 16):
        *names, rest = (rest + part).split(end)
        yield from names
        if len(rest) > _MOST_NAME_BYTES:
            skipped = 0 if names else skipped + len(part)
            rest = rest[: _MOST_NAME_BYTES + 1]
            if skipped > _MOST_SKIPPED_BYTES:
                break
    if rest.strip(b"\r\n"):
        yield rest


def _opened_stream(source: Path | BinaryIO, name: str) -> AbstractContextManager[BinaryIO]:
    if not isinstance(source, Path):
        return nullcontext(source)
    return io.BufferedReader(cast(io.RawIOBase, open_waiting(source, name, RecordingError)))


def keep_stream(source: Path | BinaryIO, name: str, has_header: bool = True) -> tuple[BinaryIO, Path]:
    """Copy a stream, or a named pipe, to a temporary file, so that it can be read more than once. Returns the file and
    a path that opens it. Raises RecordingError if its header is not audio, or if it cannot be copied."""
    from audiocnn.audio.decoders import EARLY_LOOK_BYTES, check_beginning

    with temporary_errors(name, RecordingError):
        copy, path = temporary_file()
    try:
        with _opened_stream(source, name) as stream:
            head = stream.read(EARLY_LOOK_BYTES)
            if has_header and len(head) == EARLY_LOOK_BYTES:
                check_beginning(head, name)
            with temporary_errors(name, RecordingError):
                copy.write(head)
            copy_stream(stream, copy, name, RecordingError)
    except BaseException as problem:
        with suppress(OSError):  # closing writes buffered data
            copy.close()
        if isinstance(problem, OSError):
            raise RecordingError(
                f"{name}: cannot be read ({problem.strerror}); check the program that writes it"
            ) from None
        raise
    return copy, path


def only_recording(file: str, terminal: Terminal) -> Input:
    from itertools import islice

    known = list(islice(find_inputs([file], InputOptions(), terminal), 2))
    if len(known) != 1:
        raise UsageError(f"{file}: contains several recordings; give one of them")
    return known[0]
