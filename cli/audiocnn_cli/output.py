"""-o FILE: written beside and renamed, so that what a reader can see is whole; nothing is overwritten unasked."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from audiocnn.errors import UsageError, did_you_mean
from audiocnn.filenames import show_name
from audiocnn_cli.exits import Terminated
from audiocnn_cli.terminal import Terminal

if TYPE_CHECKING:
    from audiocnn_cli.parts import Part

STDOUT = "-"
SYNC_SECONDS = 5.0  # so much work is lost at most when the power fails


class OutputError(UsageError):
    """The output cannot be written any more: the end of the command, whatever else there was to do."""


class AppearedError(OutputError):
    """Something else has got the name of the output meanwhile."""


@dataclass
class Output:
    """An open output. `commit` says that what was written so far is whole; the rest is dropped when the command is
    interrupted. `keep`: something is whole. `drop`: it is not worth keeping, not even when the command ends.
    `spare`: it is all there is, so that it is told of, and left beside where something else has got its name meanwhile.
    """

    file: IO[Any]
    path: Path | None = None  # None: stdout
    part: Part | None = None  # None: stdout, or something that is written where it stands
    keep: bool = field(default=False)
    drop: bool = field(default=False)
    spare: bool = field(default=True)
    ending: Callable[[], object] = field(default=lambda: None)  # writes what belongs at the end of all that is whole
    length: int = 0  # bytes written to a file
    whole: int = 0  # of them, how many are known to be whole
    synced: float = field(default_factory=time.monotonic)

    def write(self, data: str | bytes) -> None:
        """Data."""
        if self.path is None:
            self.file.write(data)
            return
        content = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
        with told(self.path):
            self.file.write(content)
        self.length += len(content)

    def commit(self) -> None:
        """What was written so far is whole, and worth keeping, whatever happens to the next."""
        self.keep, self.whole = True, self.length
        if self.part is not None:
            self.flush()
            if time.monotonic() - self.synced >= SYNC_SECONDS:
                with told(self.path):
                    self.part.sync()
                self.synced = time.monotonic()

    def rollback(self) -> None:
        """Forget what was written to a file since the last commit."""
        if self.part is not None and self.length > self.whole:
            self.flush()
            self.cut(self.whole)

    def cut(self, size: int) -> None:
        """Leave the first so many bytes, which are whole, and go on behind them."""
        self.file.seek(size)
        self.file.truncate()
        self.length = self.whole = size

    def rearrange(self, spans: Iterable[tuple[int, int]]) -> None:
        """Make the file anew of these stretches of it, (start, end) in bytes."""
        assert self.part is not None
        self.flush()
        with told(self.path), self.part.path.open("rb") as source:
            self.part.refill(source, spans)
        self.moved()

    def moved(self) -> None:
        """The part is a new file, all of it whole; go on behind it."""
        assert self.part is not None
        self.file = self.part.file
        self.length = self.whole = self.part.size

    def flush(self) -> None:
        """Hand on what was written."""
        with told(self.path):
            self.file.flush()


@contextmanager
def told(path: Path | None) -> Iterator[None]:
    """What the system says about an output as an OutputError; of stdout `main` tells."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as problem:
        if path is None:
            raise
        place = f"-o {show_name(path)}: cannot be written"
        raise OutputError(f"{place} ({problem.strerror}); make room, or write elsewhere") from None


def check_output(path: str | None, force: bool) -> Path | None:
    """The path to write to, None for stdout. UsageError where something is there already, before any work is done."""
    if path is None or path == STDOUT:
        return None
    target = Path(path)
    if os.path.isdir(target):  # noqa: PTH112 - which raises for a name that is too long
        raise UsageError(f"-o {path}: is a folder; name a file")
    if os.path.lexists(target) and is_plain(target) and not force:
        raise UsageError(f"-o {path}: is there already; overwrite it with --force, or name another file")
    return target


def format_of_output(path: Path | None, given: str, formats: dict[str, tuple[str, ...]], fallback: str) -> str:
    """The format asked for with -f; else by the suffix of the output; else the fallback."""
    if given != "auto":
        return given
    if path is None or not is_plain(path):
        return fallback
    for name, suffixes in formats.items():
        if path.suffix.lower() in suffixes:
            return name
    known = [suffix for suffixes in formats.values() for suffix in suffixes]
    ending = path.suffix or "nothing"
    raise UsageError(f"-o {path}: no format ends in {ending}; {did_you_mean(ending, known)}; or say which with -f")


@contextmanager
def open_output(
    path: Path | None, terminal: Terminal, *, replace: bool = True, resumable: bool = False
) -> Iterator[Output]:
    """Stdout, or a file that appears under its name when all is written. On an error it disappears; interrupted, what
    is whole of it is kept.

    resumable: the part that an earlier run left is still in it, and is to be read or cleared; and what is whole of this
    one stays beside, for the next run, when an error ends the command.
    """
    if path is None:
        yield from to_stdout(terminal)
    elif not is_plain(path):
        with path.open("wb") as file:
            output = Output(file, path)
            yield output
            output.ending()
    else:
        yield from to_part(path, terminal, replace, resumable)


def to_stdout(terminal: Terminal) -> Iterator[Output]:
    """Standard output, whose end is written also when the command is interrupted."""
    output = Output(terminal.stdout)
    try:
        yield output
    except (KeyboardInterrupt, Terminated):
        if output.keep:
            output.ending()
        raise
    output.ending()
    terminal.stdout.flush()


def to_part(path: Path, terminal: Terminal, replace: bool, resumable: bool) -> Iterator[Output]:
    """A file beside, which gets its name in the end."""
    part = open_part(path)
    output = Output(part.file, path, part)
    try:
        if resumable:
            output.length = output.whole = part.size
        else:
            part.clear()
        try:
            yield output
        except (KeyboardInterrupt, Terminated):
            if output.keep:
                output.rollback()
                put_in_place(output, replace)
                if output.spare:
                    terminal.say(f"audiocnn: interrupted; {show_name(path)} holds what was finished")
            raise
        if not output.drop:
            put_in_place(output, replace)
    except BaseException as problem:
        part.stays |= resumable and output.whole > 0
        if part.stays and output.keep and isinstance(problem, Exception):
            terminal.say(f"audiocnn: what was finished is kept in {show_name(part.path)}")
        raise
    finally:
        part.close()


def open_part(path: Path) -> Part:
    """The part of an output. UsageError where it cannot be made."""
    from audiocnn_cli.parts import Part

    try:
        return Part(path)
    except OSError as problem:
        raise UsageError(f"-o {show_name(path)}: cannot be written ({problem.strerror}); name another file") from None


def put_in_place(output: Output, replace: bool) -> None:
    """Rename the part. What has appeared under the name meanwhile is left as it is, and so is the part."""
    path, part = output.path, output.part
    assert path is not None and part is not None
    output.ending()
    with told(path):
        try:
            part.publish(replace, sync=output.spare)
        except FileExistsError:
            part.stays = output.spare
            found = f"; what was found is in {show_name(part.path)}: give that another name" if output.spare else ""
            raise AppearedError(f"-o {show_name(path)}: has appeared meanwhile and is left as it is{found}") from None


def is_plain(path: Path) -> bool:
    """Whether a name stands for a file that may be replaced; not for /dev/null or a named pipe."""
    return os.path.isfile(path) or not os.path.exists(path)  # noqa: PTH110, PTH113 - Path's raise for long names
