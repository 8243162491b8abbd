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
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO

if TYPE_CHECKING:
    from rich.console import Console

NARROWEST = 20
PIPE_WIDTH = 100


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
        """The streams of this process. Data is UTF-8, whatever the locale; names that are not keep their bytes."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                if is_terminal(stream):
                    stream.reconfigure(errors="audiocnn")
                else:
                    stream.reconfigure(encoding="utf-8", errors="surrogateescape", newline="\n")
        try:
            raw = io.FileIO(0, closefd=False)
        except OSError:  # a process that was started without: nothing comes
            return cls(io.BytesIO(), sys.stdout, sys.stderr, os.environ)
        raw.name = "-"
        return cls(io.BufferedReader(raw), sys.stdout, sys.stderr, os.environ)

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
        return encoding.startswith("utf") and not self.dumb

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
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stdout.fileno())
        except (OSError, ValueError, AttributeError):
            return

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
