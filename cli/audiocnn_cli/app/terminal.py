"""The streams of a command. They are passed in, so that tests can use their own streams.

Data goes to `stdout`. Messages, progress and tables that are not data go to `stderr`. Rich is imported only when
something is drawn, and never in a pipe.
"""

from __future__ import annotations

import codecs
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import IO, TYPE_CHECKING, Any, BinaryIO, TextIO, cast

from audiocnn.errors import printable, show_controls

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

STALL_SECONDS = 0.3  # after a signal, a write that takes longer is assumed to have no reader
_NARROWEST = 20
_MOST_DIGITS = 4  # of a width: rich draws every column
_PIPE_WIDTH = 100
_USUAL_HEIGHT = 24
_HELP_WIDTHS = (80, 100)  # of a help page: if the width is unknown, and at most
_COERCED = ("C.UTF-8", "C.utf8", "UTF-8")  # values to which Python sets LC_CTYPE in the C locale


@dataclass
class Terminal:
    """The streams of a command, their capabilities, and the verbosity."""

    stdin: BinaryIO
    stdout: TextIO
    stderr: TextIO
    environ: Mapping[str, str]
    verbosity: int = 0  # -1 with -q, 1 with -v
    animate: bool = True  # False with --no-progress
    words: Sequence[str] = ()  # the command line as given
    live: Any = field(default=None, repr=False)  # the progress display, hidden while other text is written

    @classmethod
    def of_process(cls) -> Terminal:
        """The streams of this process. Data is UTF-8 regardless of the locale; file names that are not UTF-8 keep their
        bytes. Messages that cannot be written are dropped. Data that cannot be written is an error."""
        _fill_gaps()
        sys.stdout = sys.stdout or cast(TextIO, _Closed())
        sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                if is_terminal(stream):
                    encoding = "ascii" if _says_ascii(os.environ) else stream.encoding
                    stream.reconfigure(encoding=encoding, errors="audiocnn")
                else:
                    stream.reconfigure(encoding="utf-8", errors="surrogateescape", newline="\n")
        try:
            raw = io.FileIO(0, closefd=False)
        except OSError:  # the process was started without stdin: treat it as empty
            return cls(io.BytesIO(), sys.stdout, cast(TextIO, _Messages(sys.stderr)), os.environ)
        raw.name = "-"
        return cls(io.BufferedReader(raw), sys.stdout, cast(TextIO, _Messages(sys.stderr)), os.environ)

    @property
    def shows_tables(self) -> bool:
        return is_terminal(self.stdout)

    def wants_table(self, format: str) -> bool:
        """Whether this format (`table`, `json` or `auto`) means a table on this terminal."""
        return self.shows_tables if format == "auto" else format == "table"

    @property
    def quiet(self) -> bool:
        return self.verbosity < 0

    @property
    def verbose(self) -> bool:
        return self.verbosity > 0

    @property
    def shows_progress(self) -> bool:
        """Whether to animate stderr: only on a terminal that is not dumb, and not with -q or --no-progress."""
        return is_terminal(self.stderr) and self.animate and not self.quiet and not self.dumb

    @property
    def watched(self) -> bool:
        return is_terminal(self.stderr)

    @property
    def dumb(self) -> bool:
        return self.environ.get("TERM", "").lower() in ("dumb", "unknown")

    @property
    def unicode(self) -> bool:
        encoding = (getattr(self.stdout, "encoding", None) or "utf-8").lower()
        return encoding.startswith("utf") and not self.dumb and not _says_ascii(self.environ)

    @cached_property
    def out(self) -> Console:
        return self.console(self.stdout)

    @cached_property
    def err(self) -> Console:
        return self.console(self.stderr)

    def console(self, stream: TextIO) -> Console:
        """A Rich console on a stream. Colour only on a terminal, and not with NO_COLOR or TERM=dumb."""
        from rich.console import Console
        from rich.segment import Segment

        class SafeConsole(Console):
            """Removes control characters, except those that Rich generates."""

            def render(self, renderable: Any, options: Any = None) -> Iterator[Segment]:
                for segment in super().render(renderable, options):
                    shown = segment.text if segment.control else show_controls(segment.text)
                    yield segment if shown == segment.text else Segment(shown, segment.style)

        terminal = is_terminal(stream)
        plain = not terminal or self.dumb or bool(self.environ.get("NO_COLOR"))
        return SafeConsole(
            file=stream,
            force_terminal=terminal and not self.dumb,
            no_color=plain,
            color_system=None if plain else "auto",
            width=self.width(stream),
            markup=False,
            emoji=False,
            highlight=False,
            legacy_windows=False,
            _environ={name: value for name, value in self.environ.items() if name not in ("COLUMNS", "LINES")},
        )

    def new_table(self, **style: Any) -> Table:
        """An empty table in the common style."""
        from rich import box
        from rich.table import Table

        return Table(box=box.SIMPLE_HEAD if self.unicode else box.ASCII, pad_edge=False, show_edge=False, **style)

    def width(self, stream: TextIO) -> int:
        """Width in columns: from COLUMNS, else from the terminal, else a fixed number."""
        given = self.environ.get("COLUMNS", "")
        if given.isdecimal() and len(given) <= _MOST_DIGITS:
            return max(_NARROWEST, int(given))
        try:
            return max(_NARROWEST, os.get_terminal_size(stream.fileno()).columns)
        except (OSError, ValueError, AttributeError):
            return _PIPE_WIDTH

    def height(self, stream: TextIO) -> int:
        """Number of lines: from LINES, else from the terminal, else a fixed number."""
        given = self.environ.get("LINES", "")
        if given.isdecimal() and 0 < len(given) <= _MOST_DIGITS:
            return int(given)
        try:
            return os.get_terminal_size(stream.fileno()).lines or _USUAL_HEIGHT
        except (OSError, ValueError, AttributeError):
            return _USUAL_HEIGHT

    def help_width(self) -> int:
        """Width of a help page in columns, with a margin of two."""
        known = self.shows_tables or self.environ.get("COLUMNS")
        usual, most = _HELP_WIDTHS
        return min(self.width(self.stdout) if known else usual, most) - 2

    def write(self, text: str, drawn: bool = False) -> None:
        """Write data to stdout, above the progress on stderr. drawn: text with control sequences for the terminal. In
        all other text, control characters in names and labels are made visible."""
        with self.paused():
            self.stdout.write(text if drawn else self.safe(text))

    def safe(self, text: str) -> str:
        """Data for stdout: unchanged, but with control characters made visible on a terminal."""
        return show_controls(text) if self.shows_tables else text

    def say(self, text: str) -> None:
        """Print a line to stderr; not with -q."""
        if not self.quiet:
            self.line(text)

    def say_block(self, title: str, lines: Sequence[str]) -> None:
        """Print lines to stderr below a title, aligned; not with -q."""
        for number, line in enumerate(lines):
            self.say((f"{title}: " if number == 0 else " " * (len(title) + 2)) + line)

    def note(self, text: str) -> None:
        """Print a note, which is not an error, as one line to stderr; not with -q."""
        if not self.quiet:
            self.error(text, kind="note")

    def detail(self, text: str) -> None:
        if self.verbose:
            self.line(text)

    def error(self, text: str, kind: str = "error") -> None:
        """Print an error or warning as one line to stderr."""
        self.line(f"audiocnn: {kind}: {' '.join(str(text).split())}")

    def line(self, text: str) -> None:
        """Print a line to stderr, above the progress."""
        with self.paused():
            self.stderr.write(printable(text) + "\n")
            self.stderr.flush()

    def silence(self, stream: IO[Any] | None = None) -> None:
        """Redirect stdout, or another stream whose reader has gone, to the null device: Python flushes it at exit."""
        _silence(stream or self.stdout)

    @contextmanager
    def drop_if_stalled(self) -> Iterator[None]:
        """Write to stdout after a signal. If nobody reads for `STALL_SECONDS`, the data is dropped, so that the command
        ends."""
        if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
            yield
            return
        # A waiting write is retried when the handler has returned.
        before = signal.signal(signal.SIGALRM, lambda *_: self.silence())
        signal.setitimer(signal.ITIMER_REAL, STALL_SECONDS)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before or signal.SIG_DFL)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Hide the progress bar while something is written."""
        if self.live is None:
            yield
            return
        self.live.hide()
        try:
            yield
        finally:
            self.stdout.flush()
            self.live.show()


class _Messages:
    """Stderr, except that text that cannot be written is dropped, so that work continues without a reader."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        try:
            return self.stream.write(text)
        except (OSError, ValueError):
            _silence(self.stream)
            return len(text)

    def flush(self) -> None:
        try:
            self.stream.flush()
        except (OSError, ValueError):
            _silence(self.stream)


class ClosedError(OSError):
    """There is no standard output."""


class _Closed(io.TextIOBase):
    """Stdout of a process that was started without one."""

    def write(self, text: str) -> int:
        if text:
            raise ClosedError("standard output is closed; leave it open or write to a file with -o")
        return 0


def _fill_gaps() -> None:
    """Point missing standard streams to the null device. Otherwise the first files opened would get their descriptors,
    and output of libraries would end up in these files."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)


def _silence(stream: IO[Any]) -> None:
    """Redirect all further output of a stream to the null device."""
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


def _says_ascii(environ: Mapping[str, str]) -> bool:
    """Whether the locale was set to ASCII, which Python replaces by UTF-8 (PEP 538 and 540)."""
    first = next(filter(None, map(environ.get, ("LC_ALL", "LC_CTYPE", "LANG"))), "")
    if first in _COERCED and not environ.get("LC_ALL"):  # Python may have set it
        first = environ.get("LANG", "")
    return first in ("C", "POSIX") and not environ.get("PYTHONIOENCODING")


def _in_ascii(problem: UnicodeError) -> tuple[str, int]:
    """Escapes for characters missing from the encoding of a terminal, so that names stay distinguishable."""
    assert isinstance(problem, UnicodeEncodeError)
    letters = problem.object[problem.start : problem.end]
    return "".join("~" if letter == "…" else ascii(letter)[1:-1] for letter in letters), problem.end


codecs.register_error("audiocnn", _in_ascii)


def spell(text: str, stream: TextIO) -> str:
    """Text in the encoding of a stream. Missing characters are written as escapes, which are longer."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "audiocnn").decode(encoding)


def is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except (AttributeError, ValueError):
        return False
