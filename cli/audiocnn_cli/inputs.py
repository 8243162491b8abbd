"""What FILE... stands for: recordings, folders, lists of names, standard input."""

from __future__ import annotations

import codecs
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from audiocnn.addresses import Remote, below_root, is_url, openable, recordings_at
from audiocnn.errors import RecordingError, UsageError
from audiocnn.ffmpeg import left_out_line
from audiocnn.filenames import files_in, find_recordings, is_folder, show_name
from audiocnn.globs import matches_any
from audiocnn_cli.options import InputOptions, RawOptions
from audiocnn_cli.terminal import Terminal

if TYPE_CHECKING:
    from audiocnn.pcm import RawFormat

MOST_DIGITS = 9  # of a channel or a shard
STDIN = "-"
STDIN_NAMES = (STDIN, "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")


@dataclass(frozen=True)
class Input:
    """One recording: its name in records, and what to open. Or, with `problem`, why it is none.

    inside: where it lies in the folder that was named. target: what is to be written for it, with --output-dir.
    """

    name: str
    source: Path | BinaryIO | Remote | None = None
    problem: str = ""
    raw: RawFormat | None = None
    inside: Path | None = None
    target: Path | None = None

    @property
    def opened(self) -> Path | BinaryIO:
        """What to open. RecordingError for one with a problem."""
        if self.source is None:
            raise RecordingError(self.problem)
        return openable(self.source)


def read_channel(text: str) -> str | int:
    """mix, each, or a number from 0."""
    if text in ("mix", "each"):
        return text
    if not is_count(text):
        raise UsageError(f'--channel cannot be "{text}"; use mix, each, or a number from 0')
    return int(text)


def read_raw(options: RawOptions) -> RawFormat | None:
    """What --raw, --rate and --channels say together."""
    if options.raw is None:
        for name, value in (("--rate", options.rate), ("--channels", options.channels)):
            if value is not None:
                raise UsageError(f"{name} is for samples without a header; say what they are with --raw, as in s16le")
        return None
    from audiocnn.pcm import DEFAULT_RAW_CHANNELS, RawFormat

    if options.rate is None:
        RawFormat(options.raw, 1)  # an unknown encoding is the worse mistake
        raise UsageError(f"--raw {options.raw}: say how many samples there are a second, as in --rate 16000")
    channels = DEFAULT_RAW_CHANNELS if options.channels is None else options.channels
    return RawFormat(options.raw, options.rate, channels)


def read_shard(text: str | None) -> tuple[int, int]:
    """`2/8` as (1, 8): which of how many parts of the list, counted from 0; all of it is the first of one."""
    if text is None:
        return 0, 1
    number, slash, total = text.partition("/")
    if not (slash and is_count(number) and is_count(total) and 1 <= int(number) <= int(total)):
        raise UsageError(f'--shard cannot be "{text}"; give which part of how many, from 1/8 to 8/8')
    return int(number) - 1, int(total)


def is_count(text: str) -> bool:
    """Whether this is a whole number of a size that makes sense."""
    return text.isdecimal() and len(text) <= MOST_DIGITS


def is_stream(name: str, terminal: Terminal) -> bool:
    """Whether this is standard input, and comes from a pipe rather than a file."""
    return name == STDIN and not terminal.stdin.seekable()


def find_inputs(
    files: list[str] | None, options: InputOptions, terminal: Terminal, raw: RawFormat | None = None
) -> Iterator[Input]:
    """The recordings that were named, in that order; of N shards each has every N-th. UsageError at once where
    nothing was named."""
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
    first, step = read_shard(options.shard)
    found = expand(names, open_list(listed, terminal), options, terminal)
    found = islice(found, first, None, step)
    return found if raw is None else (replace(one, raw=raw) for one in found)


def open_list(path: str | None, terminal: Terminal) -> BinaryIO | None:
    """The list of names."""
    if path is None or path == STDIN:
        return None if path is None else terminal.stdin
    try:
        return Path(path).open("rb")
    except OSError as problem:
        raise UsageError(f"--files-from {path}: cannot be read ({problem.strerror}); check the name") from None


def expand(names: list[str], listed: BinaryIO | None, options: InputOptions, terminal: Terminal) -> Iterator[Input]:
    """Each name as the recordings it stands for; a name that stands for none is an input with a problem."""
    left_out = Counter[str]()
    for name in names:
        if name == STDIN:
            yield Input(STDIN, terminal.stdin)
        else:
            yield from recordings_of(name, options.glob or (), left_out)
    if listed is not None:
        for raw in split_names(listed, b"\0" if options.null else b"\n"):
            yield from recordings_of(os.fsdecode(raw), options.glob or (), left_out)
    if left_out:
        terminal.error(left_out_line(left_out), kind="warning")


def recordings_of(name: str, patterns: Sequence[str] = (), left_out: Counter[str] | None = None) -> Iterator[Input]:
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
        for path in find_recordings([name], left_out) if folder is None or not patterns else fitting(folder, patterns):
            shown = f"./{path}" if str(path) == STDIN else str(path)  # a file of that name is no standard input
            yield Input(shown, path, inside=path.relative_to(folder) if folder else None)
    except RecordingError as problem:
        yield Input(name, problem=str(problem))


def fitting(folder: Path, patterns: Sequence[str]) -> Iterator[Path]:
    """Files under a folder that fit a pattern. RecordingError where there is none."""
    found = False
    for path in files_in(folder):
        if matches_any(path.relative_to(folder), patterns):
            found = True
            yield path
    if not found:
        raise RecordingError(f"{show_name(folder)}: nothing in this folder fits {' or '.join(patterns)}")


def split_names(file: BinaryIO, end: bytes) -> Iterator[bytes]:
    """Names as they come, so that a slow pipe is followed; empty ones are left out. Lists that Windows made may begin
    with a mark of their encoding, and end their lines in two signs."""
    for number, name in enumerate(ended(file, end)):
        if end == b"\n":
            name = name.removesuffix(b"\r")
            name = name.removeprefix(codecs.BOM_UTF8) if number == 0 else name
        if name:
            yield name


def ended(file: BinaryIO, end: bytes) -> Iterator[bytes]:
    """What stands before each end, and behind the last one: there a newline alone is the end of the list."""
    rest = b""
    read = getattr(file, "read1", file.read)
    while part := read(1 << 16):
        *names, rest = (rest + part).split(end)
        yield from names
    if rest.strip(b"\r\n"):
        yield rest
