"""Where the results of many recordings go: all into one output, or with --output-dir each into its own."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from audiocnn.errors import RecordingError, UsageError
from audiocnn.filenames import show_name
from audiocnn_cli.exits import ExitStatus, Terminated
from audiocnn_cli.options import ManyOutputs
from audiocnn_cli.output import (
    AppearedError,
    Output,
    OutputError,
    PassedError,
    check_output,
    is_plain,
    open_output,
)
from audiocnn_cli.terminal import Terminal

if TYPE_CHECKING:
    from audiocnn_cli.batch import Batch
    from audiocnn_cli.inputs import Input
    from audiocnn_cli.mirror import Mirror
    from audiocnn_cli.resuming import Journal, Made

OWN_FAULT = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.EINVAL, errno.EILSEQ, errno.EACCES)


class Writer(Protocol):
    """What writes results in some format."""

    def begin(self) -> None:
        """Before the first recording."""

    def end(self) -> None:
        """After the last one."""

    def failed(self, file: str, problem: str) -> None:
        """A recording that could not be read; stderr has it already."""


W = TypeVar("W", bound=Writer)
Make = Callable[[Output], W]


@dataclass(frozen=True)
class Place:
    """Where the results go, as it was asked for. Neither: to stdout. done: it is there, and is to be left."""

    path: Path | None = None
    folder: Path | None = None
    done: bool = False
    resume: bool = False

    def say_done(self, terminal: Terminal) -> ExitStatus:
        """There is nothing to do."""
        assert self.path is not None
        terminal.say(f"audiocnn: {show_name(self.path)} is there already")
        return ExitStatus.OK


def check_place(options: ManyOutputs, resume: bool = False) -> Place:
    """Where to write. UsageError for what does not go together, and where something is there already."""
    if options.output is not None and options.output_dir is not None:
        raise UsageError("-o is one file and --output-dir a file for each recording; name one of them")
    if options.skip_existing and options.force:
        raise UsageError("--skip-existing leaves what is there and --force overwrites it; name one of them")
    if options.output_dir is not None:
        if resume:
            raise UsageError("--resume goes on with one file; with --output-dir say --skip-existing")
        if not options.output_dir:
            raise UsageError('--output-dir "": an empty name; name a folder, or . for this one')
        folder = Path(options.output_dir)
        if os.path.exists(folder) and not os.path.isdir(folder):  # noqa: PTH110, PTH112
            raise UsageError(f"--output-dir {options.output_dir}: is a file; name a folder")
        return Place(folder=folder)
    path = check_output(options.output, options.force or resume or options.skip_existing)
    if path is None and (resume or options.skip_existing):
        raise UsageError(f"{'--resume' if resume else '--skip-existing'} needs -o FILE, which says what is done")
    if path is not None and resume:
        if options.force or options.skip_existing:
            raise UsageError("--resume goes on with what is there; leave out --force and --skip-existing")
        if not is_plain(path):
            raise UsageError(f"-o {options.output}: is no plain file; --resume cannot read from it what is done")
    done = options.skip_existing and path is not None and os.path.exists(path)  # noqa: PTH110
    return Place(path, done=done, resume=resume)


def check_alone(place: Place, what: str) -> None:
    """UsageError where a single stream is to go on with something, or into a folder."""
    if place.folder is not None or place.resume:
        raise UsageError(f"{what} is one stream, with nothing to go on from; write it to stdout or to -o FILE")


class OneOutput(Generic[W]):
    """All into one: stdout, or a file, which may go on with what an earlier run finished."""

    def __init__(self, out: Output, writer: W, journal: Journal | None = None) -> None:
        self.out, self.writer, self.journal = out, writer, journal
        self.to_stdout = out.path is None
        out.ending = self.end
        writer.begin()
        out.whole = out.length

    def wanted(self, inputs: Iterator[Input]) -> Iterator[Input]:
        """The recordings that are to be done."""
        return self.journal.wanted(inputs) if self.journal else inputs

    def turn(self) -> None:
        """It is the turn of the next one."""
        if self.journal:
            self.journal.turn()

    @contextmanager
    def writing(self, one: Input) -> Iterator[W]:
        """Write what was found in a recording; without an error it is then whole."""
        start = self.out.whole
        yield self.writer
        self.commit(start)
        if self.journal:
            self.journal.supersede(one.name)

    def failed(self, file: str, problem: str) -> None:
        """A recording that could not be read."""
        self.out.rollback()
        start, kept = self.out.whole, self.out.keep
        self.writer.failed(file, problem)
        self.commit(start)
        self.out.keep = kept  # errors alone are not worth it

    def commit(self, start: int) -> None:
        """What was written since is whole."""
        self.out.commit()
        if self.journal:
            self.journal.place(start, self.out.whole)

    def close(self, batch: Batch, needed: bool = False) -> None:
        """There is no more to come. Errors alone are not worth an output: they are on stderr. needed: nor is an output
        of no recording at all."""
        nothing = not (batch.done or batch.passed or (self.journal and self.journal.unnamed))
        self.out.drop = (batch.failed > 0 or needed) and nothing
        if self.journal:
            batch.segments_before = self.journal.segments
            if self.journal.unnamed and not batch.stopped:
                was = "recording was" if self.journal.unnamed == 1 else "recordings were"
                batch.terminal.say(
                    f"audiocnn: {self.journal.unnamed} {was} done before and not named this time: kept at the end"
                )

    def end(self) -> None:
        """All is written."""
        if self.journal:
            self.journal.finish()
        self.writer.end()


class ManyFiles(Generic[W]):
    """Each recording into a file of its own, in a tree as that of the recordings."""

    to_stdout = False
    writer: W | None = None  # each recording has its own

    def __init__(self, mirror: Mirror, make: Make[W], terminal: Terminal) -> None:
        self.mirror, self.make, self.terminal = mirror, make, terminal
        self.written = 0

    def wanted(self, inputs: Iterator[Input]) -> Iterator[Input]:
        """The recordings that are to be done, with their targets."""
        return self.mirror.wanted(inputs)

    def turn(self) -> None:
        """It is the turn of the next one."""

    @contextmanager
    def writing(self, one: Input) -> Iterator[W]:
        """Write what was found in a recording. RecordingError: it has a name that cannot be written here; PassedError:
        another process does it."""
        from audiocnn_cli.mirror import check_inside, check_plain

        assert one.target is not None
        with cannot_be_made(one.target, self.mirror.skip_existing):
            check_inside(self.mirror.folder, one.target)
            check_plain(one.target)
            with open_output(one.target, self.terminal, replace=self.mirror.force, spare=False) as out:
                writer = self.make(out)
                out.ending = writer.end
                writer.begin()
                yield writer
                out.commit()
        self.written += 1

    def failed(self, file: str, problem: str) -> None:
        """A recording that could not be read has no output, so that a later run tries it again."""

    def close(self, batch: Batch, needed: bool = False) -> None:
        """There is no more to come."""


@contextmanager
def cannot_be_made(target: Path, skip_existing: bool) -> Iterator[None]:
    """An output whose name is at fault fails alone; where nothing can be written any more, the command ends.

    skip_existing: it is no fault that another process writes it, or has."""
    from audiocnn_cli.parts import BusyError

    try:
        yield
    except (AppearedError, BusyError) as problem:
        if skip_existing:
            raise PassedError(f"{show_name(target)}: another process writes it") from None
        if isinstance(problem, BusyError):
            raise RecordingError(str(problem)) from None
        raise RecordingError(f"{show_name(target)}: has appeared meanwhile; another process writes here, too") from None
    except OutputError:
        raise
    except UsageError as problem:
        cause = problem.__context__
        if isinstance(cause, OSError) and cause.errno not in OWN_FAULT:
            raise OutputError(str(problem)) from None
        raise RecordingError(str(problem).removeprefix("-o ")) from None


Results = OneOutput[W] | ManyFiles[W]


@contextmanager
def open_results(
    place: Place, suffix: str, options: ManyOutputs, make: Make[W], terminal: Terminal, made: Made | None = None
) -> Iterator[Results[W]]:
    """Where the results go. made: they say what is done, and with what it was made, so that a later run can go on."""
    if place.folder is not None:
        with many_files(place.folder, suffix, options, make, terminal) as files:
            yield files
        return
    path = place.path
    resumable = made is not None and path is not None and is_plain(path)
    with open_output(path, terminal, replace=options.force, resumable=resumable) as out:
        journal = None
        if resumable:
            from audiocnn_cli.resuming import open_journal

            assert made is not None and path is not None
            journal = open_journal(out, path, made, place.resume, options.force)
        yield OneOutput(out, make(out), journal)


@contextmanager
def many_files(
    folder: Path, suffix: str, options: ManyOutputs, make: Make[W], terminal: Terminal
) -> Iterator[ManyFiles[W]]:
    """Outputs in a folder."""
    from audiocnn_cli.mirror import Mirror

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise UsageError(
            f"--output-dir {show_name(folder)}: cannot be made ({problem.strerror}); name another folder"
        ) from None
    files = ManyFiles(Mirror(folder, suffix, options.skip_existing, options.force), make, terminal)
    try:
        yield files
        if older := files.mirror.older:
            is_older = "is" if len(older) == 1 else f"and {len(older) - 1} more are"
            remedy = "left as it was; take it away, or use --force"
            terminal.error(f"{show_name(older[0])} {is_older} older than the recording and {remedy}", kind="warning")
    except (KeyboardInterrupt, Terminated):
        if files.written:
            terminal.say(f"audiocnn: interrupted; {show_name(folder)} holds what was finished")
        raise
