"""Where a command reads and writes. It is passed in, so that tests can hand in streams of their own and look at them.

Data goes to `stdout`; messages, progress and tables that are no data to `stderr`. Rich is imported when something is
drawn, and never in a pipe.
"""

from __future__ import annotations

import codecs
import io
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO, cast

if TYPE_CHECKING:
    from rich.console import Console

NARROWEST = 20
PIPE_WIDTH = 100
COERCED = ("C.UTF-8", "C.utf8", "UTF-8")  # what Python makes of LC_CTYPE where the locale is C


@dataclass
class Terminal:
    """The streams of a command, what they can show, and how much the user wants to hear."""

    stdin: BinaryIO
    stdout: TextIO
    stderr: TextIO
    environ: Mapping[str, str]
    verbosity: int = 0  # -1 with -q, 1 with -v
    animate: bool = True  # False with --no-progress
    live: Any = field(default=None, repr=False)  # what is being animated, to be paused while others write

    @classmethod
    def of_process(cls) -> Terminal:
        """The streams of this process. Data is UTF-8, whatever the locale; names that are not keep their bytes.
        Messages that nobody takes are dropped; data that has nowhere to go is an error."""
        fill_gaps()
        sys.stdout = sys.stdout or cast(TextIO, Closed())
        sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                if is_terminal(stream):
                    encoding = "ascii" if says_ascii(os.environ) else stream.encoding
                    stream.reconfigure(encoding=encoding, errors="audiocnn")
                else:
                    stream.reconfigure(encoding="utf-8", errors="surrogateescape", newline="\n")
        try:
            raw = io.FileIO(0, closefd=False)
        except OSError:  # a process that was started without: nothing comes
            return cls(io.BytesIO(), sys.stdout, cast(TextIO, Messages(sys.stderr)), os.environ)
        raw.name = "-"
        return cls(io.BufferedReader(raw), sys.stdout, cast(TextIO, Messages(sys.stderr)), os.environ)

    @property
    def shows_tables(self) -> bool:
        """Whether a person is looking at stdout."""
        return is_terminal(self.stdout)

    def wants_table(self, format: str) -> bool:
        """Whether `table`, `json` or `auto` means a table here."""
        return self.shows_tables if format == "auto" else format == "table"

    @property
    def quiet(self) -> bool:
        """With -q: errors only."""
        return self.verbosity < 0

    @property
    def verbose(self) -> bool:
        """With -v."""
        return self.verbosity > 0

    @property
    def shows_progress(self) -> bool:
        """Whether something may move on stderr: never off a terminal, on a dumb one, or where it is not wanted."""
        return is_terminal(self.stderr) and self.animate and not self.quiet and not self.dumb

    @property
    def watched(self) -> bool:
        """Whether a person sees stderr."""
        return is_terminal(self.stderr)

    @property
    def dumb(self) -> bool:
        """A terminal that cannot move its cursor."""
        return self.environ.get("TERM", "").lower() in ("dumb", "unknown")

    @property
    def unicode(self) -> bool:
        """Whether blocks and lines can be drawn with more than ASCII."""
        encoding = (getattr(self.stdout, "encoding", None) or "utf-8").lower()
        return encoding.startswith("utf") and not self.dumb and not says_ascii(self.environ)

    @cached_property
    def out(self) -> Console:
        """Rich on stdout."""
        return self.console(self.stdout)

    @cached_property
    def err(self) -> Console:
        """Rich on stderr."""
        return self.console(self.stderr)

    def console(self, stream: TextIO) -> Console:
        """Rich on a stream. Colour only on a terminal, and not with NO_COLOR or TERM=dumb."""
        from rich.console import Console

        terminal = is_terminal(stream)
        plain = not terminal or self.dumb or bool(self.environ.get("NO_COLOR"))
        return Console(
            file=stream,
            force_terminal=terminal and not self.dumb,
            no_color=plain,
            color_system=None if plain else "auto",
            width=self.width(stream),
            markup=False,
            emoji=False,
            highlight=False,
            legacy_windows=False,
            _environ=self.environ,
        )

    def width(self, stream: TextIO) -> int:
        """Columns of a stream: those of the terminal, else of COLUMNS, else a fixed number."""
        if self.environ.get("COLUMNS", "").isdecimal():
            return max(NARROWEST, int(self.environ["COLUMNS"]))
        try:
            return max(NARROWEST, os.get_terminal_size(stream.fileno()).columns)
        except (OSError, ValueError, AttributeError):
            return shutil.get_terminal_size((PIPE_WIDTH, 24)).columns if is_terminal(stream) else PIPE_WIDTH

    def write(self, text: str) -> None:
        """Data to stdout."""
        with self.paused():
            self.stdout.write(text)

    def say(self, text: str) -> None:
        """A line for a person, on stderr; not with -q."""
        if not self.quiet:
            self.line(text)

    def detail(self, text: str) -> None:
        """A line on stderr with -v."""
        if self.verbose:
            self.line(text)

    def error(self, text: str, kind: str = "error") -> None:
        """What went wrong, as one line on stderr."""
        self.line(f"audiocnn: {kind}: {' '.join(str(text).split())}")

    def line(self, text: str) -> None:
        """A line on stderr, above what moves there."""
        with self.paused():
            self.stderr.write(printable(text) + "\n")
            self.stderr.flush()

    def silence(self) -> None:
        """Whoever read stdout has left. Python flushes at its end: let that go nowhere."""
        silence(self.stdout)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Take the progress bar away while something is written."""
        if self.live is None:
            yield
            return
        self.live.hide()
        try:
            yield
        finally:
            self.stdout.flush()
            self.live.show()


class Messages:
    """Stderr as it is; what cannot be written is dropped, so that the work goes on when whoever read it has left."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Words for a person."""
        try:
            return self.stream.write(text)
        except (OSError, ValueError):
            silence(self.stream)
            return len(text)

    def flush(self) -> None:
        """What was written is seen now."""
        try:
            self.stream.flush()
        except (OSError, ValueError):
            silence(self.stream)


class ClosedError(OSError):
    """The end of the command, whatever else there is to do."""


class Closed(io.TextIOBase):
    """The stdout of a process that was started without one."""

    def write(self, text: str) -> int:
        """ClosedError: there is nowhere to write to."""
        if text:
            raise ClosedError("standard output is closed; leave it open, or write to a file with -o")
        return 0


def fill_gaps() -> None:
    """Streams that the process was started without lead nowhere: else the first files that it opens get their numbers,
    and what libraries print ends up in them."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)


def silence(stream: TextIO) -> None:
    """Let all that is still to be written to a stream go nowhere."""
    try:
        null = os.open(os.devnull, os.O_WRONLY)
    except OSError:
        return
    try:
        os.dup2(null, stream.fileno())
    except (OSError, ValueError, AttributeError):
        return
    finally:
        os.close(null)


def says_ascii(environ: Mapping[str, str]) -> bool:
    """Whether the locale was set to that of ASCII, which Python takes for UTF-8 (PEP 538 and 540)."""
    first = next(filter(None, map(environ.get, ("LC_ALL", "LC_CTYPE", "LANG"))), "")
    if first in COERCED and not environ.get("LC_ALL"):  # Python may have put it there
        first = environ.get("LANG", "")
    return first in ("C", "POSIX") and not environ.get("PYTHONIOENCODING")


def in_ascii(problem: UnicodeError) -> tuple[str, int]:
    """What a terminal shows for letters that its encoding does not have: a name can still be told from others."""
    assert isinstance(problem, UnicodeEncodeError)
    letters = problem.object[problem.start : problem.end]
    return "".join("~" if letter == "…" else ascii(letter)[1:-1] for letter in letters), problem.end


codecs.register_error("audiocnn", in_ascii)


def is_terminal(stream: TextIO) -> bool:
    """Whether a person sees this stream."""
    try:
        return stream.isatty()
    except (AttributeError, ValueError):
        return False


def printable(text: str) -> str:
    """One line that any terminal can take, whatever bytes a file name in it has."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
