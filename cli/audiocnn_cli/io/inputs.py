"""What FILE... stands for: recordings, folders, lists of names, standard input."""

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
_MOST_NAME_BYTES = 1 << 16  # in a list; systems take 4096, and addresses may have more
_MOST_SKIPPED_BYTES = 1 << 30  # of one name: such a list has no end
STDIN = "-"
STDIN_NAMES = (STDIN, "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")


@dataclass(frozen=True)
class Input:
    """One recording: its name in records, and what to open. Or, with `problem`, why it is none.

    inside: where it lies in the folder that was named. target: the output of it, with --output-dir; with redo
    in place of what is there. existing: an output that is there and stays, which is the problem.
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
    changed_ns: int | None = None  # when the file was changed last, as it was taken for an output

    @property
    def opened(self) -> Path | BinaryIO:
        """What to open. RecordingError for one with a problem."""
        if self.existing is not None:
            raise ExistsError(self.existing)
        if self.source is None:
            raise RecordingError(self.problem)
        return self.source.fetched() if isinstance(self.source, Remote) else self.source


def read_channel(text: str) -> str | int:
    if text in ("mix", "each"):
        return text
    if not _is_count(text):
        raise UsageError(f'--channel cannot be "{text}"; use mix, each, or a number from 0')
    return int(text)


def read_raw(options: RawOptions) -> RawFormat | None:
    """What --raw, --rate and --channels say together."""
    if options.raw is None:
        for name, value in (("--rate", options.rate), ("--channels", options.channels)):
            if value is not None:
                raise UsageError(f"{name} is for samples without a header; say what they are with --raw, as in s16le")
        return None
    from audiocnn.audio.pcm import DEFAULT_RAW_CHANNELS, RawFormat

    if options.rate is None:
        RawFormat(options.raw, 1)  # an unknown encoding is the worse mistake
        raise UsageError(f"--raw {options.raw}: say how many samples there are a second, as in --rate 16000")
    channels = DEFAULT_RAW_CHANNELS if options.channels is None else options.channels
    return RawFormat(options.raw, options.rate, channels)


def read_excerpt(options: InputOptions) -> Selection | None:
    """What --start, --end and --track say; None where they say nothing."""
    if options.start is None and options.end is None and options.track is None:
        return None
    from audiocnn.audio.recording import Selection

    return Selection(options.start or 0.0, options.end, options.track)


def read_shard(text: str | None) -> tuple[int, int]:
    """`2/8` as (1, 8): which of how many parts of the list, counted from 0; all of it is the first of one."""
    if text is None:
        return 0, 1
    number, slash, total = text.partition("/")
    if not (slash and _is_count(number) and _is_count(total) and 1 <= int(number) <= int(total)):
        raise UsageError(f'--shard cannot be "{text}"; give which part of how many, from 1/8 to 8/8')
    return int(number) - 1, int(total)


def _is_count(text: str) -> bool:
    """Whether this is a whole number of a sensible size."""
    return text.isdecimal() and len(text) <= _MOST_DIGITS


def is_stream(name: str, terminal: Terminal) -> bool:
    """Whether this is standard input, and comes from a pipe rather than a file."""
    return name == STDIN and not terminal.stdin.seekable()


def find_inputs(
    files: list[str] | None,
    options: InputOptions,
    terminal: Terminal,
    raw: RawFormat | None = None,
    check: Callable[[Iterable[Input]], Iterator[Input]] | None = None,
) -> Iterator[Input]:
    """The recordings that were named, in that order; of N shards each has every N-th. UsageError at once where
    nothing was named. check: of the list as a whole, where that is not still being written."""
    names = list(files or ())
    listed = options.files_from
    if not names and listed is None:
        raise UsageError("no recording: name files, folders, or - for standard input")
    if sum(name in STDIN_NAMES for name in names) > 1:
        raise UsageError("standard input is named twice; it can be read once")
    if listed == STDIN and STDIN in names:
        raise UsageError("- and --files-from - both read standard input; name one of them")
    if (STDIN in names or listed == STDIN) and terminal.stdin.isatty():
        raise UsageError("standard input is the keyboard; pipe something into it, or name a file")
    if options.null and listed is None:
        raise UsageError("-0 says how names in --files-from end; name that list")
    folders = [name for name in names if is_folder(name)]
    if raw is not None and folders and not options.glob:
        raise UsageError(f"{folders[0]}: is a folder; with --raw name each file itself, or say which with --glob")
    if options.glob and not folders and listed is None and not any(map(is_url, names)):
        raise UsageError("--glob says which files of a folder are wanted; name a folder")
    if options.settled is not None and not options.settled > 0:
        raise UsageError(f"--settled cannot be {options.settled:g}; give minutes, as 5")
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
    """The patterns of --exclude: each as it is, or, of @FILE, the lines of it that are not empty. UsageError: there is
    no such file, or no pattern."""
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
        raise UsageError('--exclude "": an empty pattern; give a name, or a pattern such as "*.tmp.wav"')
    return [pattern.rstrip("/") for pattern in patterns]


def _is_excluded(one: Input, patterns: Sequence[str]) -> bool:
    """By its place inside the folder that was named, or by its name as messages have it."""
    if one.name in STDIN_NAMES:
        return False
    if one.name in patterns or is_excluded(one.inside or PurePath(os.path.normpath(one.name)), patterns):
        return True
    paths = [pattern for pattern in patterns if "/" in pattern]
    return one.inside is not None and is_excluded(PurePath(one.name), paths)


def _leave_out_fresh(inputs: Iterable[Input], minutes: float, terminal: Terminal) -> Iterator[Input]:
    """The inputs without files that changed in the last minutes, by their contents or by their names and times."""
    fresh: list[str] = []
    for one in inputs:
        if isinstance(one.source, Path) and _seconds_unchanged(one.source) < minutes * 60:
            fresh.append(one.name)
        else:
            yield one
    if fresh:
        changed = f"changed in the last {minutes:g} min, and left for a later run by --settled"
        terminal.say(f"audiocnn: {show_names(fresh, terminal.verbose)}: {changed}")


def _seconds_unchanged(path: Path) -> float:
    """What cannot be told has never changed."""
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
    """Each name as the recordings it stands for; a name that stands for none is an input with a problem."""
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
    """A file as it is, a folder as the recordings in it, or as the files in it that fit a pattern; addresses likewise.
    What only ffmpeg reads is counted in `left_out` where there is none."""
    if not name.strip():
        yield Input(name, problem=f'"{name}": an empty name; check what the list or the script was to put there')
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
            shown = f"./{path}" if str(path) == STDIN else str(path)  # a file of that name is no standard input
            yield Input(shown, path, inside=path.relative_to(folder) if folder else None)
    except RecordingError as problem:
        yield Input(name, problem=str(problem))


def _find_matching(folder: Path, patterns: Sequence[str]) -> Iterator[Path | EntryError]:
    """Files under a folder that fit a pattern, and what cannot be read. RecordingError where there is neither."""
    found = False
    for entry in walk_folder(folder):
        is_lost_folder = isinstance(entry, EntryError) and entry.is_folder
        if is_lost_folder or matches_any(entry_path(entry).relative_to(folder), patterns):
            found = True
            yield entry
    if not found:
        raise RecordingError(f"{show_name(folder)}: nothing in this folder fits {' or '.join(patterns)}")


def split_names(file: BinaryIO, end: bytes) -> Iterator[bytes | RecordingError]:
    """Names as they come, so that a slow pipe is followed; empty ones are left out. Lists that Windows made may begin
    with a mark of their encoding, and end their lines in two signs. What is too long for a name is an error."""
    for number, name in enumerate(_split_at(file, end)):
        if len(name) > _MOST_NAME_BYTES:
            what = f"entry {number + 1} is longer than {_MOST_NAME_BYTES} bytes, which no name is"
            yield RecordingError(f"{what}; is this a list of names?")
            continue
        if end == b"\n":
            name = name.removesuffix(b"\r")
            name = name.removeprefix(codecs.BOM_UTF8) if number == 0 else name
        if name:
            yield name


def _split_at(file: BinaryIO, end: bytes) -> Iterator[bytes]:
    """What stands before each end, and behind the last one: there a newline alone is the end of the list. Of what is
    too long for a name, no more than shows that."""
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
    """A stream, or a pipe by its name, as a temporary file and a path that opens it: it can be read more than once.
    RecordingError: it is no audio by its header, or cannot be kept."""
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
        with suppress(OSError):  # of what is still to be written
            copy.close()
        if isinstance(problem, OSError):
            raise RecordingError(f"{name}: cannot be read ({problem.strerror}); check what writes it") from None
        raise
    return copy, path


def only_recording(file: str, terminal: Terminal) -> Input:
    from itertools import islice

    known = list(islice(find_inputs([file], InputOptions(), terminal), 2))
    if len(known) != 1:
        raise UsageError(f"{file}: holds several recordings; name one of them")
    return known[0]
