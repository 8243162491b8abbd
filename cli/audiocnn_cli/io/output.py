"""-o FILE: written to a part file and renamed, so that readers see complete files. Nothing is overwritten unasked."""

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
_UNFINISHED = ".unfinished"  # appended to the name of an incomplete output
_SYNC_SECONDS = 5.0  # maximum amount of work lost in a power failure


class OutputError(UsageError):
    """The output can no longer be written. This ends the command."""


class AppearedError(OutputError):
    """The name of the output was taken while it was being written."""


class ExistsError(RecordingError):
    """The output of a recording already exists. path: the path of the output."""

    def __init__(self, path: Path) -> None:
        super().__init__(there_already([path]))
        self.path = path


def there_already(outputs: Sequence[Path], every: bool = False) -> str:
    """The message for outputs that already exist. every: list all of their names."""
    one = len(outputs) == 1
    fact = f"{show_names(outputs, every)} already exist{'s' if one else ''}"
    return f"{fact}; skip {'it' if one else 'them'} with --skip-existing or overwrite with --force"


class PassedError(RecordingError):
    """Another process does this recording; this is not a failure."""


@dataclass
class Output:
    """An open output. `commit` marks everything written so far as complete; the rest is dropped if the command is
    interrupted. `keep`: something is complete. `drop`: do not keep the output, even if the command ends normally.
    `replace`: an existing file of this name may be overwritten. `spare`: this is the only output, so that its part file
    is reported and kept if its name is taken meanwhile.
    """

    file: IO[Any]
    path: Path | None = None  # None: stdout
    part: PartFile | None = None  # None: stdout, or an output written in place
    keep: bool = field(default=False)
    drop: bool = field(default=False)
    replace: bool = field(default=True)
    spare: bool = field(default=True)
    ending: Callable[[], object] = field(default=lambda: None)  # writes the end of the output
    length: int = 0  # bytes written to a file
    whole: int = 0  # of these, bytes that are committed
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
        """Mark everything written so far as complete. It is kept, whatever happens later."""
        self.keep, self.whole = True, self.length
        if self.part is not None:
            self.flush()
            if time.monotonic() - self.synced >= _SYNC_SECONDS:
                with output_errors(self.path):
                    self.part.sync()
                self.synced = time.monotonic()

    def rollback(self) -> None:
        """Discard everything written to a file since the last commit."""
        if self.part is not None and self.length > self.whole:
            self.flush()
            self.cut(self.whole)

    def cut(self, size: int) -> None:
        """Keep the first `size` bytes, which are complete, and continue after them."""
        self.file.seek(size)
        self.file.truncate()
        self.length = self.whole = size

    def rearrange(self, spans: Iterable[tuple[int, int]]) -> None:
        """Rebuild the file from these spans of it, (start, end) in bytes."""
        assert self.part is not None
        self.flush()
        with output_errors(self.path), self.part.path.open("rb") as source:
            self.part.refill(source, spans)
        self.moved()

    def moved(self) -> None:
        """Continue at the end of a new part file, all of which is complete."""
        assert self.part is not None
        self.file = self.part.file
        self.length = self.whole = self.part.size

    def flush(self) -> None:
        with output_errors(self.path):
            self.file.flush()


@contextmanager
def output_errors(path: Path | None) -> Iterator[None]:
    """Turn OSError on an output into OutputError; errors on stdout are handled in `main`."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as problem:
        if path is None:
            raise
        place = f"-o {show_name(path)}: cannot be written"
        raise OutputError(f"{place} ({problem.strerror}); free some space or write elsewhere") from None


def check_output(path: str | None, force: bool) -> Path | None:
    """The path to write to, None for stdout. Raises UsageError, before any work, if it already exists."""
    if path is None or path == _STDOUT:
        return None
    target = Path(path)
    if os.path.isdir(target):  # noqa: PTH112 - Path.is_dir raises for a name that is too long
        raise UsageError(f"-o {path}: is a folder; give a file name")
    if os.path.lexists(target) and is_replaceable(target) and not force:
        raise UsageError(f"-o {path}: already exists; overwrite it with --force or choose another name")
    return target


def format_of_output(path: Path | None, given: str, formats: dict[str, tuple[str, ...]], fallback: str) -> str:
    """The format given with -f; else from the suffix of the output; else the fallback."""
    if given != "auto":
        return given
    if path is None or not is_replaceable(path):
        return fallback
    for name, suffixes in formats.items():
        if path.suffix.lower() in suffixes:
            return name
    known = {suffix for suffixes in formats.values() for suffix in suffixes if suffix.count(".") == 1}
    fact = f'no format has the suffix "{path.suffix}"' if path.suffix else "the name has no suffix"
    raise UsageError(f"-o {path}: {fact}; {did_you_mean(path.suffix, known)}; or give the format with -f")


@contextmanager
def open_output(
    path: Path | None, terminal: Terminal, *, replace: bool = True, resumable: bool = False, spare: bool = True
) -> Iterator[Output]:
    """Stdout, or a file that gets its name when it is complete. On an error the file is removed. If the command is
    interrupted, the complete part is kept under a name that marks it as unfinished.

    resumable: the output starts with the content of the part file of an earlier run, which is to be read or cleared. If
    an error or a signal ends the command, the part file is kept for the next run.
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
    """Open an output that is written in place, such as a named pipe. Raises UsageError if that fails."""
    try:
        return path.open("wb")
    except OSError as problem:
        raise UsageError(f"-o {show_name(path)}: cannot be written ({problem.strerror}); choose another file") from None


def _to_stdout(terminal: Terminal) -> Iterator[Output]:
    """Standard output. Its end is written even if the command is interrupted."""
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
    """Write to a part file, which is renamed to the output at the end."""
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
                terminal.say(f"audiocnn: finished results are kept in {show_name(part.path)}")
        raise
    finally:
        part.close()


def _begin_anew(output: Output) -> None:
    """Clear a part file. Raises UsageError if it contains finished recordings of `audiocnn detect`."""
    part = output.part
    assert part is not None
    if part.size and output.spare and not output.replace:
        from audiocnn_cli.io.records import has_file_record

        if has_file_record(part.file):
            part.stays = True
            raise UsageError(
                f"-o {show_name(part.target)}: an interrupted run has left finished results in "
                f"{show_name(part.path)}; continue with its command and --resume, or start again with --force"
            )
    part.clear()


def _leave(output: Output, terminal: Terminal, resumable: bool) -> None:
    """After an interrupt, keep the complete part of the output, under another name than a complete output."""
    path, part = output.path, output.part
    assert path is not None and part is not None
    output.rollback()
    if not output.spare:
        _put_in_place(output)  # it is for one recording, which is complete
        return
    if resumable:
        part.stays = True
        kept = f"finished results are kept in {show_name(part.path)}; continue with --resume"
    else:
        kept = f"finished results are in {show_name(_set_aside(output, path))}"
    terminal.say(f"audiocnn: interrupted; {kept}")


def _set_aside(output: Output, path: Path) -> Path:
    """Rename the part file to a name that marks it as unfinished; if that fails, keep the part file."""
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
    """Open the part file of an output. Raises UsageError if that fails."""
    from audiocnn_cli.io.atomic import PartFile

    try:
        return PartFile(path)
    except OSError as problem:
        raise UsageError(f"-o {show_name(path)}: cannot be written ({problem.strerror}); choose another file") from None


def _put_in_place(output: Output) -> None:
    """Rename the part file to the output. If the name was taken meanwhile, both files are left as they are."""
    from audiocnn_cli.io.atomic import hold_signals

    path, part = output.path, output.part
    assert path is not None and part is not None
    with hold_signals(), output_errors(path):
        output.ending()
        try:
            part.publish(path, output.replace, sync=output.spare)
        except FileExistsError:
            part.stays = output.spare
            found = f"; the results are in {show_name(part.path)}: rename that file" if output.spare else ""
            fact = "another process created this file meanwhile, so it was not overwritten"
            raise AppearedError(f"-o {show_name(path)}: {fact}{found}") from None


def is_replaceable(path: Path) -> bool:
    """Whether a path is free or a regular file, which may be replaced; not /dev/null or a named pipe."""
    return os.path.isfile(path) or not os.path.exists(path)  # noqa: PTH110, PTH113 - Path raises for long names


def check_new_file(option: str, path: Path, force: bool) -> None:
    """Raises UsageError, before any work, if this file cannot be created."""
    if path.exists() and not force:
        raise UsageError(f"{option} {path}: already exists; overwrite it with --force or choose another name")
    check_folder_writable(option, path)


def check_folder_writable(option: str, path: Path) -> None:
    """Raises UsageError if a new file cannot be created in the folder of this path."""
    there = next((folder for folder in path.parents if folder.exists()), path.parent)
    if not there.is_dir():
        raise UsageError(f"{option} {path}: {there} is not a folder; choose another file")
    if not os.access(there, os.W_OK):
        raise UsageError(f"{option} {path}: the folder {there} is not writable; choose another file")


def check_table(option: str, path: Path, suffixes: Sequence[str], taken: list[Path], force: bool) -> None:
    """As `check_new_file`, for an additional table, whose suffix must be one of `suffixes`. taken: absolute paths given
    with other options, to which this one is added."""
    if path.suffix.lower() not in suffixes:
        raise UsageError(f"{option} {path}: not the name of a table; use a name that ends in {' or '.join(suffixes)}")
    if path.is_dir():
        raise UsageError(f"{option} {path}: is a folder; give a file in it")
    check_new_file(option, path, force)
    if path.absolute() in taken:
        raise UsageError(f"{option} {path}: another option already writes to this file; choose another name")
    taken.append(path.absolute())


def write_text(option: str, path: Path, text: str) -> None:
    """Write a file atomically. Raises UsageError if that fails."""
    from audiocnn.files import write_whole

    try:
        write_whole(path, text.encode("utf-8", "surrogateescape"))
    except OSError as problem:
        raise UsageError(f"{option} {path}: cannot be written ({problem.strerror}); choose another file") from None
