"""Writing the results of many recordings: all to one output, or with --output-dir each to its own."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Generic

from audiocnn.errors import RecordingError, UsageError, show_name, show_names
from audiocnn.labels.formats import FORMATS
from audiocnn.labels.formats.base import ResultT, Writer
from audiocnn_cli.app.exits import ExitStatus, Terminated
from audiocnn_cli.app.options import OUTPUT, ManyOutputs, RecordingOutputs, flag
from audiocnn_cli.app.terminal import Terminal
from audiocnn_cli.io.output import (
    AppearedError,
    Output,
    OutputError,
    PassedError,
    check_output,
    is_replaceable,
    open_output,
)

if TYPE_CHECKING:
    from audiocnn_cli.io.batch import BatchRun
    from audiocnn_cli.io.inputs import Input
    from audiocnn_cli.io.mirror import Mirror
    from audiocnn_cli.io.resume import Journal, Provenance

# The first format that matches a suffix is used; later formats with the same suffix need -f.
OUTPUT_SUFFIXES = {name: tuple(suffix.lower() for suffix in one.suffixes) for name, one in FORMATS.items()}
_TABLE_SUFFIXES = {"table": (".txt",)}  # a table to read
# Errors that concern a single name and not the whole destination.
_NAME_FAULTS = frozenset(
    {errno.ENAMETOOLONG, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.EINVAL, errno.EILSEQ, errno.EACCES}
)
Resume = Annotated[bool, flag("--resume", "Continue an interrupted batch: keep the finished results of -o.", OUTPUT)]


@dataclass(frozen=True)
class Destination:
    """Where the results go: to a file, to files in a folder, or, with neither, to stdout. done: the output exists and
    is to be skipped. The rest is as in `ManyOutputs`."""

    path: Path | None = None
    folder: Path | None = None
    done: bool = False
    resume: bool = False
    force: bool = False
    skip_existing: bool = False
    update: bool = False
    can_update: bool = False  # whether the command has --update

    @property
    def check(self) -> Callable[[Iterable[Input]], Iterator[Input]] | None:
        """A check of the whole list of recordings before any work, if one is needed."""
        if self.folder is None:
            return None
        from audiocnn_cli.io.mirror import check_places

        return check_places

    def say_done(self, terminal: Terminal) -> ExitStatus:
        assert self.path is not None
        terminal.say(f"audiocnn: {show_name(self.path)} already exists")
        return ExitStatus.OK


def find_destination(options: ManyOutputs, resume: bool = False) -> Destination:
    """The destination given by the options. Raises UsageError for conflicting options and for existing outputs."""
    if options.output is not None and options.output_dir is not None:
        raise UsageError("-o writes one file and --output-dir one file per recording; use one of them")
    check_existing(options)
    can_update = isinstance(options, RecordingOutputs)
    update = isinstance(options, RecordingOutputs) and options.update
    if update and options.output_dir is None:
        raise UsageError("--update needs --output-dir FOLDER; to continue a single file, use --resume")
    if options.output_dir is not None:
        if resume:
            raise UsageError("--resume continues a single file; with --output-dir, use --skip-existing")
        if not options.output_dir:
            raise UsageError('--output-dir "": the name is empty; give a folder, or . for the current one')
        folder = Path(options.output_dir)
        if os.path.exists(folder) and not os.path.isdir(folder):  # noqa: PTH110, PTH112
            raise UsageError(f"--output-dir {options.output_dir}: is a file; give a folder")
        skip_existing = options.skip_existing or update
        return Destination(None, folder, False, False, options.force, skip_existing, update, can_update)
    path = check_output(options.output, options.force or resume or options.skip_existing)
    if path is None and (resume or options.skip_existing):
        raise UsageError(f"{'--resume' if resume else '--skip-existing'} needs an output file; give one with -o FILE")
    if path is not None and resume:
        if options.force or options.skip_existing:
            raise UsageError("--resume continues an existing output; omit --force and --skip-existing")
        if not is_replaceable(path):
            raise UsageError(f"-o {options.output}: not a regular file, which --resume needs; choose another file")
    done = options.skip_existing and path is not None and os.path.exists(path)  # noqa: PTH110
    return Destination(path, None, done, resume, options.force, options.skip_existing)


def check_existing(options: ManyOutputs) -> None:
    """Raises UsageError for conflicting options about existing outputs."""
    if not options.force:
        return
    if options.skip_existing:
        raise UsageError("--skip-existing keeps existing outputs and --force overwrites them; use one of them")
    if isinstance(options, RecordingOutputs) and options.update:
        raise UsageError("--update keeps current outputs and --force overwrites all; use one of them")


def check_single_stream(destination: Destination, what: str) -> None:
    """Raises UsageError if a single stream is to be resumed or written to a folder."""
    if destination.folder is not None or destination.resume:
        raise UsageError(f"{what} is a single stream and cannot be resumed; write it to stdout or to -o FILE")


def suffix_of(kind: str) -> str:
    return FORMATS[kind].suffixes[0] if kind in FORMATS else _TABLE_SUFFIXES[kind][0]


def choose_format(
    destination: Destination,
    given: str,
    terminal: Terminal,
    suffixes: dict[str, tuple[str, ...]] = _TABLE_SUFFIXES | OUTPUT_SUFFIXES,
) -> str:
    """The format to write. Raises UsageError for --resume with a format that cannot be resumed."""
    from audiocnn_cli.io.output import format_of_output

    path, to_stdout = destination.path, destination.path is None and destination.folder is None
    kind = format_of_output(path, given, suffixes, "table" if to_stdout and terminal.shows_tables else "jsonl")
    if given == "auto" and kind == "table" and path is not None:
        labels = [name for name, endings in suffixes.items() if name != kind and path.suffix.lower() in endings]
        if labels:
            terminal.note(f"-o {show_name(path)}: writing a table to read; for labels in this file, use -f {labels[0]}")
    if destination.resume and kind != "jsonl":
        raise UsageError(f"--resume: {kind} does not record which recordings are done; write jsonl and convert it")
    return kind


class ResultWriter(Generic[ResultT]):
    """A writer and its output; on a terminal, text is written above the progress bar. Notes about data that the format
    cannot hold are printed to stderr, unless they are in `said` already."""

    def __init__(self, writer: Writer[ResultT], out: Output, terminal: Terminal, said: set[str] | None = None) -> None:
        self.writer, self.out, self.terminal = writer, out, terminal
        self.said = set() if said is None else said

    def begin(self) -> None:
        self._write(self.writer.begin())

    def recording(self, recording: ResultT) -> None:
        self._write(self.writer.recording(recording))
        for note in self.writer.notes:
            if note not in self.said:
                self.said.add(note)
                self.terminal.say(f"audiocnn: {note}")

    def failed(self, file: str, problem: str) -> None:
        """Write a recording that could not be read. The error was printed to stderr already."""
        self._write(self.writer.failed(file, problem))

    def end(self) -> None:
        self._write(self.writer.end())

    def _write(self, text: str | bytes) -> None:
        if text and self.out.path is None and isinstance(text, str):
            self.terminal.write(text, self.writer.drawn)
        elif text:
            self.out.write(text)


class OneOutput(Generic[ResultT]):
    """One output for all recordings: stdout, or a file, which may continue an earlier run."""

    def __init__(self, out: Output, writer: ResultWriter[ResultT], journal: Journal | None = None) -> None:
        self.out, self.writer, self.journal = out, writer, journal
        self.to_stdout = out.path is None
        self.tells_total = self.to_stdout and writer.writer.tells_total and writer.terminal.shows_tables
        out.ending = self.end
        writer.begin()
        out.whole = out.length

    def wanted(self, inputs: Iterator[Input]) -> Iterator[Input]:
        return self.journal.wanted(inputs) if self.journal else inputs

    def turn(self) -> None:
        if self.journal:
            self.journal.turn()

    @contextmanager
    def writing(self, one: Input) -> Iterator[ResultWriter[ResultT]]:
        """Context to write the results of a recording. Without an error they are then committed."""
        start = self.out.whole
        yield self.writer
        self.commit(start)
        if self.journal:
            self.journal.supersede(one.name)

    def failed(self, file: str, problem: str) -> None:
        self.out.rollback()
        start, kept = self.out.whole, self.out.keep
        self.writer.failed(file, problem)
        self.commit(start)
        self.out.keep = kept  # an output with errors alone is not kept

    def commit(self, start: int) -> None:
        """Mark what was written since `start` as complete."""
        self.out.commit()
        if self.journal:
            self.journal.place(start, self.out.whole)

    def close(self, batch: BatchRun, needed: bool = False) -> None:
        """Called at the end. An output with errors alone is dropped, since they are on stderr. needed: an output
        without any recording is dropped too."""
        nothing = not (batch.done or batch.passed or (self.journal and self.journal.unnamed))
        self.out.drop = (batch.failed > 0 or needed) and nothing
        if self.journal:
            batch.segments_before = self.journal.segments
            if self.journal.unnamed and not batch.stopped:
                was = "recording was" if self.journal.unnamed == 1 else "recordings were"
                fact = "already in the output but not given this time; kept at the end"
                batch.terminal.say(f"audiocnn: {self.journal.unnamed} {was} {fact}")

    def end(self) -> None:
        if self.journal:
            self.journal.finish()
        self.writer.end()


class ManyFiles(Generic[ResultT]):
    """One file per recording, in the same subfolders as the recordings."""

    to_stdout = tells_total = False

    def __init__(self, mirror: Mirror, make: Callable[[Output], ResultWriter[ResultT]], terminal: Terminal) -> None:
        self.mirror, self.make, self.terminal = mirror, make, terminal
        self.written = 0

    def wanted(self, inputs: Iterator[Input]) -> Iterator[Input]:
        return self.mirror.wanted(inputs)

    def turn(self) -> None:
        pass

    @contextmanager
    def writing(self, one: Input) -> Iterator[ResultWriter[ResultT]]:
        """Context to write the results of a recording. Raises RecordingError if its output cannot be written under this
        name, PassedError if another process does it."""
        from audiocnn_cli.io.mirror import check_inside, check_plain, mark_if_changed

        assert one.target is not None
        with _output_faults(one.target, self.mirror.skip_existing):
            check_inside(self.mirror.folder, one.target)
            check_plain(one.target)
            replaces = self.mirror.force or one.redo
            with open_output(one.target, self.terminal, replace=replaces, spare=False) as out:
                writer = self.make(out)
                out.ending = writer.end
                writer.begin()
                yield writer
                out.commit()
            if mark_if_changed(one):
                fact = "was modified while it was read"
                self.terminal.error(f"{show_name(one.name)}: {fact}; process it again", "warning")
        self.written += 1

    def failed(self, file: str, problem: str) -> None:
        """Write nothing: a recording that could not be read has no output, so that a later run tries it again."""

    def close(self, batch: BatchRun, needed: bool = False) -> None:
        batch.tell_existing()


@contextmanager
def _output_faults(target: Path, skip_existing: bool) -> Iterator[None]:
    """Turn errors that concern one name into RecordingError, which does not end the command, and others into
    OutputError, which does.

    skip_existing: it is not an error if another process writes or has written the output."""
    from audiocnn_cli.io.atomic import BusyError

    try:
        yield
    except (AppearedError, BusyError) as problem:
        if skip_existing:
            raise PassedError(f"{show_name(target)}: another process is writing it") from None
        if isinstance(problem, BusyError):
            raise RecordingError(str(problem)) from None
        fact = "another process created this file meanwhile"
        raise RecordingError(f"{show_name(target)}: {fact}; run only one process per folder") from None
    except OutputError:
        raise
    except UsageError as problem:
        cause = problem.__context__
        if isinstance(cause, OSError) and cause.errno not in _NAME_FAULTS:
            raise OutputError(str(problem)) from None
        raise RecordingError(str(problem).removeprefix("-o ")) from None


Results = OneOutput[ResultT] | ManyFiles[ResultT]


@contextmanager
def open_results(
    destination: Destination,
    suffix: str,
    make: Callable[[Output], Writer[ResultT]],
    terminal: Terminal,
    provenance: Provenance | None = None,
    said: set[str] | None = None,
) -> Iterator[Results[ResultT]]:
    """Open the destination.

    suffix: of the names of files in a folder. make: creates a writer for an output. provenance: stored in the results,
    so that a later run can resume. said: as for `ResultWriter`.
    """

    def make_writer(out: Output) -> ResultWriter[ResultT]:
        return ResultWriter(make(out), out, terminal, said)

    if destination.folder is not None:
        with _open_folder(destination.folder, suffix, destination, make_writer, terminal, provenance) as files:
            yield files
        return
    path, force = destination.path, destination.force
    resumable = provenance is not None and path is not None and is_replaceable(path)
    with open_output(path, terminal, replace=force, resumable=resumable) as out:
        journal = None
        if provenance is not None and path is not None and resumable:
            from audiocnn_cli.io.resume import open_journal

            journal = open_journal(out, path, provenance, destination.resume, force)
        yield OneOutput(out, make_writer(out), journal)


@contextmanager
def _open_folder(
    folder: Path,
    suffix: str,
    destination: Destination,
    make: Callable[[Output], ResultWriter[ResultT]],
    terminal: Terminal,
    provenance: Provenance | None,
) -> Iterator[ManyFiles[ResultT]]:
    from audiocnn_cli.io.mirror import Mirror

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise UsageError(
            f"--output-dir {show_name(folder)}: cannot be created ({problem.strerror}); choose another folder"
        ) from None
    told = destination.skip_existing, destination.force, destination.update, provenance
    files = ManyFiles(Mirror(folder, suffix, *told), make, terminal)
    try:
        yield files
        remedy = "--update processes these again" if destination.can_update else "--force instead overwrites them"
        for reason, left in files.mirror.left.items():
            fact = f"{show_names(left, terminal.verbose)}: {reason}, but skipped because of --skip-existing"
            terminal.error(f"{fact}; {remedy}", kind="warning")
    except (KeyboardInterrupt, Terminated):
        if files.written:
            terminal.say(f"audiocnn: interrupted; finished results are in {show_name(folder)}")
        raise
