"""-o FILE: written beside and renamed, so that what a reader can see is whole; nothing is overwritten unasked."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from audiocnn.errors import RecordingError, UsageError, did_you_mean, show_name, show_names
from audiocnn_cli.app.exits import Terminated
from audiocnn_cli.app.terminal import Terminal

if TYPE_CHECKING:
    from audiocnn_cli.io.atomic import PartFile

_STDOUT = "-"
_UNFINISHED = ".unfinished"  # behind the name of an output that does not have all
_SYNC_SECONDS = 5.0  # so much work is lost at most when the power fails


class OutputError(UsageError):
    """The output cannot be written any more: the end of the command, whatever else there was to do."""


class AppearedError(OutputError):
    """Something else has taken the name of the output meanwhile."""


class ExistsError(RecordingError):
    """The output of a recording is there already. path: that of the output."""

    def __init__(self, path: Path) -> None:
        super().__init__(there_already([path]))
        self.path = path


def there_already(outputs: Sequence[Path], every: bool = False) -> str:
    """What is said of outputs that are there and were to be made; every: with all of their names."""
    one = len(outputs) == 1
    fact = f"{show_names(outputs, every)} {'is' if one else 'are'} there already"
    return f"{fact}; leave {'it' if one else 'them'} with --skip-existing, or overwrite with --force"


class PassedError(RecordingError):
    """Another process does this recording, which is as good."""


@dataclass
class Output:
    """An open output. `commit` says that what was written so far is whole; the rest is dropped when the command is
    interrupted. `keep`: something is whole. `drop`: it is not worth keeping, not even when the command ends.
    `replace`: what has its name may be overwritten. `spare`: it is all there is, so that it is told of, and left beside
    where something else has got its name meanwhile.
    """

    file: IO[Any]
    path: Path | None = None  # None: stdout
    part: PartFile | None = None  # None: stdout, or something that is written where it stands
    keep: bool = field(default=False)
    drop: bool = field(default=False)
    replace: bool = field(default=True)
    spare: bool = field(default=True)
    ending: Callable[[], object] = field(default=lambda: None)  # writes what belongs at the end of all that is whole
    length: int = 0  # bytes written to a file
    whole: int = 0  # of them, how many are known to be whole
    synced: float = field(default_factory=time.monotonic)

    def write(self, data: str | bytes) -> None:
        if self.path is None:
            self.file.write(data)
            return
        content = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
        with output_errors(self.path):
            self.file.write(content)
        self.length += len(content)

    def commit(self) -> None:
        """What was written so far is whole, and worth keeping, whatever happens to the next."""
        self.keep, self.whole = True, self.length
        if self.part is not None:
            self.flush()
            if time.monotonic() - self.synced >= _SYNC_SECONDS:
                with output_errors(self.path):
                    self.part.sync()
                self.synced = time.monotonic()

    def rollback(self) -> None:
        """Forget what was written to a file since the last commit."""
        if self.part is not None and self.length > self.whole:
            self.flush()
            self.cut(self.whole)

    def cut(self, size: int) -> None:
        """Keep the first `size` bytes, which are whole, and go on behind them."""
        self.file.seek(size)
        self.file.truncate()
        self.length = self.whole = size

    def rearrange(self, spans: Iterable[tuple[int, int]]) -> None:
        """Make the file anew of these parts of it, (start, end) in bytes."""
        assert self.part is not None
        self.flush()
        with output_errors(self.path), self.part.path.open("rb") as source:
            self.part.refill(source, spans)
        self.moved()

    def moved(self) -> None:
        """Go on behind the end of a new part, all of which is whole."""
        assert self.part is not None
        self.file = self.part.file
        self.length = self.whole = self.part.size

    def flush(self) -> None:
        with output_errors(self.path):
            self.file.flush()


@contextmanager
def output_errors(path: Path | None) -> Iterator[None]:
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
    if path is None or path == _STDOUT:
        return None
    target = Path(path)
    if os.path.isdir(target):  # noqa: PTH112 - which raises for a name that is too long
        raise UsageError(f"-o {path}: is a folder; name a file")
    if os.path.lexists(target) and is_replaceable(target) and not force:
        raise UsageError(f"-o {path}: is there already; overwrite it with --force, or name another file")
    return target


def format_of_output(path: Path | None, given: str, formats: dict[str, tuple[str, ...]], fallback: str) -> str:
    """The format asked for with -f; else by the suffix of the output; else the fallback."""
    if given != "auto":
        return given
    if path is None or not is_replaceable(path):
        return fallback
    for name, suffixes in formats.items():
        if path.suffix.lower() in suffixes:
            return name
    known = {suffix for suffixes in formats.values() for suffix in suffixes if suffix.count(".") == 1}
    ending = path.suffix or "nothing"
    raise UsageError(f"-o {path}: no format ends in {ending}; {did_you_mean(ending, known)}; or say which with -f")


@contextmanager
def open_output(
    path: Path | None, terminal: Terminal, *, replace: bool = True, resumable: bool = False, spare: bool = True
) -> Iterator[Output]:
    """Stdout, or a file that appears under its name when all is written. On an error it disappears; interrupted, what
    is whole of it is kept under a name that says so.

    resumable: the part that an earlier run left is still in it, and is to be read or cleared; and what is whole of this
    one stays beside, for the next run, when an error or a signal ends the command.
    """
    if path is None:
        yield from _to_stdout(terminal)
    elif not is_replaceable(path):
        with _open_in_place(path) as file:
            output = Output(file, path)
            yield output
            output.ending()
    else:
        yield from _to_part(path, terminal, replace, resumable, spare)


def _open_in_place(path: Path) -> IO[bytes]:
    """What is written where it stands, as a named pipe. UsageError where it cannot be."""
    try:
        return path.open("wb")
    except OSError as problem:
        raise UsageError(f"-o {show_name(path)}: cannot be written ({problem.strerror}); name another file") from None


def _to_stdout(terminal: Terminal) -> Iterator[Output]:
    """Standard output, whose end is written also when the command is interrupted."""
    output = Output(terminal.stdout)
    try:
        yield output
    except (KeyboardInterrupt, Terminated):
        with terminal.drop_if_stalled():
            if output.keep:
                output.ending()
            terminal.stdout.flush()
        raise
    output.ending()
    terminal.stdout.flush()


def _to_part(path: Path, terminal: Terminal, replace: bool, resumable: bool, spare: bool) -> Iterator[Output]:
    """Write to a part beside, which gets the name of the output at the end."""
    part = open_part(path)
    output = Output(part.file, path, part, replace=replace, spare=spare)
    try:
        if resumable:
            output.length = output.whole = part.size
        else:
            _begin_anew(output)
        try:
            yield output
        except (KeyboardInterrupt, Terminated):
            if output.keep:
                _leave(output, terminal, resumable)
            raise
        if output.drop:
            part.stays = resumable and output.keep
        else:
            _put_in_place(output)
    except BaseException as problem:
        if not part.stays:
            interrupted = isinstance(problem, KeyboardInterrupt | Terminated)
            part.stays = (resumable and output.whole > 0) or (interrupted and output.keep and spare)
            if part.stays and output.keep:
                terminal.say(f"audiocnn: what was finished is kept in {show_name(part.path)}")
        raise
    finally:
        part.close()


def _begin_anew(output: Output) -> None:
    """Clear a part. UsageError where `audiocnn detect` has left in it what it finished."""
    part = output.part
    assert part is not None
    if part.size and output.spare and not output.replace:
        from audiocnn_cli.io.records import has_file_record

        if has_file_record(part.file):
            part.stays = True
            raise UsageError(
                f"-o {show_name(part.target)}: a run that was cut off has left what it finished in "
                f"{show_name(part.path)}; go on with its command and --resume, or begin anew with --force"
            )
    part.clear()


def _leave(output: Output, terminal: Terminal, resumable: bool) -> None:
    """Interrupted: what is whole stays, and is not under the name of what has all."""
    path, part = output.path, output.part
    assert path is not None and part is not None
    output.rollback()
    if not output.spare:
        _put_in_place(output)  # the one recording that it is to hold
        return
    if resumable:
        part.stays = True
        kept = f"go on with --resume; what was finished is kept in {show_name(part.path)}"
    else:
        kept = f"what was finished is in {show_name(_set_aside(output, path))}"
    terminal.say(f"audiocnn: interrupted; {kept}")


def _set_aside(output: Output, path: Path) -> Path:
    """Give what is whole a name that says that it is not all; where that cannot be, it stays in the part."""
    part = output.part
    assert part is not None
    target = path.with_name(path.name + _UNFINISHED)
    part.stays = True
    try:
        output.ending()
        part.publish(target, replace=False)
    except (OSError, OutputError):
        return part.path
    return target


def open_part(path: Path) -> PartFile:
    """UsageError where the part of an output cannot be made."""
    from audiocnn_cli.io.atomic import PartFile

    try:
        return PartFile(path)
    except OSError as problem:
        raise UsageError(f"-o {show_name(path)}: cannot be written ({problem.strerror}); name another file") from None


def _put_in_place(output: Output) -> None:
    """Rename the part. What has appeared under the name meanwhile is left as it is, and so is the part."""
    from audiocnn_cli.io.atomic import hold_signals

    path, part = output.path, output.part
    assert path is not None and part is not None
    with hold_signals(), output_errors(path):
        output.ending()
        try:
            part.publish(path, output.replace, sync=output.spare)
        except FileExistsError:
            part.stays = output.spare
            found = f"; what was found is in {show_name(part.path)}: give that another name" if output.spare else ""
            raise AppearedError(f"-o {show_name(path)}: has appeared meanwhile and is left as it is{found}") from None


def is_replaceable(path: Path) -> bool:
    """Whether a name stands for a file that may be replaced; not for /dev/null or a named pipe."""
    return os.path.isfile(path) or not os.path.exists(path)  # noqa: PTH110, PTH113 - Path's raise for long names


def check_new_file(option: str, path: Path, force: bool) -> None:
    """UsageError, before any work, where a whole file of this name cannot be made."""
    if path.exists() and not force:
        raise UsageError(f"{option} {path}: is there already; overwrite it with --force, or name another file")
    check_folder_writable(option, path)


def check_folder_writable(option: str, path: Path) -> None:
    """UsageError where a new file of this name cannot be made in its folder."""
    there = next((folder for folder in path.parents if folder.exists()), path.parent)
    if not there.is_dir():
        raise UsageError(f"{option} {path}: {there} is no folder; name another file")
    if not os.access(there, os.W_OK):
        raise UsageError(f"{option} {path}: {there} cannot be written to; name another file")


def check_table(option: str, path: Path, suffixes: Sequence[str], taken: list[Path], force: bool) -> None:
    """The same for a table besides the output, whose name ends in one of the suffixes. taken: absolute paths that
    other options name, to which this one is added."""
    if path.suffix.lower() not in suffixes:
        raise UsageError(f"{option} {path}: is no table; end its name in {' or '.join(suffixes)}")
    if path.is_dir():
        raise UsageError(f"{option} {path}: is a folder; name a file in it")
    check_new_file(option, path, force)
    if path.absolute() in taken:
        raise UsageError(f"{option} {path}: another option names it, too; name another file")
    taken.append(path.absolute())


def write_text(option: str, path: Path, text: str) -> None:
    """A whole file. UsageError where it cannot be written."""
    from audiocnn.files import write_whole

    try:
        write_whole(path, text.encode("utf-8", "surrogateescape"))
    except OSError as problem:
        raise UsageError(f"{option} {path}: cannot be written ({problem.strerror}); name another file") from None
