"""-o FILE: written beside and renamed, so that what a reader can see is whole; nothing is overwritten unasked."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from audiocnn.errors import UsageError, did_you_mean
from audiocnn_cli.exits import Terminated
from audiocnn_cli.terminal import Terminal

STDOUT = "-"


@dataclass
class Output:
    """An open output. `keep`: it is worth keeping when the command is interrupted. `drop`: not even when it ends."""

    file: TextIO
    path: Path | None = None  # None: stdout
    keep: bool = field(default=False)
    drop: bool = field(default=False)

    def write(self, text: str) -> None:
        """Data."""
        self.file.write(text)


def check_output(path: str | None, force: bool) -> Path | None:
    """The path to write to, None for stdout. UsageError where something is there already, before any work is done."""
    if path is None or path == STDOUT:
        return None
    target = Path(path)
    if target.is_dir():
        raise UsageError(f"-o {path}: is a folder; name a file")
    if target.is_file() and not force:
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
def open_output(path: Path | None, terminal: Terminal) -> Iterator[Output]:
    """Stdout, or a file that appears under its name when all is written. On an error it disappears; interrupted, it
    is kept if the command says that what it holds is whole."""
    if path is None:
        yield Output(terminal.stdout)
        terminal.stdout.flush()
        return
    if not is_plain(path):
        with path.open("w", encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            yield Output(file, path)
        return
    with beside(path) as (temporary, file):
        output = Output(file, path)
        try:
            yield output
        except (KeyboardInterrupt, Terminated):
            if output.keep:
                publish(temporary, file, path)
                terminal.say(f"audiocnn: interrupted; {path} holds what was finished")
            raise
        if not output.drop:
            publish(temporary, file, path)


@contextmanager
def beside(path: Path) -> Iterator[tuple[Path, TextIO]]:
    """A temporary file in the folder of `path`; removed if it was not renamed."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as problem:
        raise UsageError(f"-o {path}: cannot be written ({problem.strerror}); name another file") from None
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            yield temporary, file
    finally:
        temporary.unlink(missing_ok=True)


def publish(temporary: Path, file: TextIO, path: Path) -> None:
    """Flush to the disk and rename."""
    file.flush()
    os.fsync(file.fileno())
    temporary.chmod(0o644)
    temporary.replace(path)


def is_plain(path: Path) -> bool:
    """Whether a name stands for a file that may be replaced; not for /dev/null or a named pipe."""
    return path.is_file() or not path.exists()
