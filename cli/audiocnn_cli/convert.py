"""`audiocnn convert`: labels from one format to another."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated

import typer

from audiocnn.errors import AudiocnnError, RecordingError, UsageError
from audiocnn.formats import FORMATS
from audiocnn_cli.exits import ExitStatus, of_batch
from audiocnn_cli.options import INPUT, OUTPUT, DetectFormat, ManyOutputs
from audiocnn_cli.terminal import Terminal

if TYPE_CHECKING:
    from audiocnn.formats.found import Found
    from audiocnn.locating import Recordings
    from audiocnn_cli.inputs import Input
    from audiocnn_cli.output import Output
    from audiocnn_cli.outputs import Place

# The first that fits a name has it; formats that share an ending with one above are asked for with -f.
SUFFIXES = {name: tuple(suffix.lower() for suffix in one.suffixes) for name, one in FORMATS.items() if one.writes}

Labels = Annotated[
    list[str],
    typer.Argument(
        metavar="LABELS", help="Files of labels, folders of them, or - for standard input.", show_default=False
    ),
]
To = Annotated[
    DetectFormat,
    typer.Option(
        "--to",
        "--format",
        "-f",
        metavar="FORMAT",
        help=f"What to write: {', '.join(FORMATS)}; auto: by the suffix of -o, else JSON Lines.",
        rich_help_panel=OUTPUT,
    ),
]
From = Annotated[
    DetectFormat,
    typer.Option(
        "--from",
        metavar="FORMAT",
        help="What LABELS are; auto: by their names, and by how they begin.",
        rich_help_panel=INPUT,
    ),
]
Beside = Annotated[
    str | None,
    typer.Option(
        "--recordings",
        metavar="FOLDER",
        help="Where the recordings are, for their names and durations. [default: beside the labels]",
        show_default=False,
        rich_help_panel=INPUT,
    ),
]


def convert(
    terminal: Terminal,
    labels: Labels,
    to: To = DetectFormat.auto,
    source: From = DetectFormat.auto,
    recordings: Beside = None,
    output: ManyOutputs = ManyOutputs(),  # noqa: B008 - frozen
) -> ExitStatus:
    """What a format cannot hold, such as scores, is said on standard error. A bad file does not stop the others.

    \b
    audiocnn convert found.jsonl -o found.rttm
    audiocnn convert found.jsonl --to textgrid --output-dir tiers
    audiocnn convert meeting.rttm --to audacity -o meeting.txt
    audiocnn detect interview.wav | audiocnn convert - --to srt -o interview.srt
    """
    from audiocnn.converting import joined, losses
    from audiocnn.locating import Recordings
    from audiocnn_cli.output import format_of_output
    from audiocnn_cli.outputs import check_place

    place = check_place(output)
    for option, chosen in (("--to", to), ("--from", source)):
        if chosen is DetectFormat.table:
            raise UsageError(f"{option} table: a table is for people to read; name one of {', '.join(FORMATS)}")
    kind = format_of_output(place.path, to.value, SUFFIXES, "jsonl")
    if recordings is not None and not Path(recordings).is_dir():
        raise UsageError(f"--recordings {recordings}: no such folder; check the name")
    if place.done:
        return ExitStatus.OK
    reading = Reading(terminal, kind, Recordings(None if recordings is None else Path(recordings)))
    found = joined(reading.all(labels, None if source is DetectFormat.auto else source.value))
    if not reading.done:
        return of_batch(0, reading.failed)
    for line in losses(found, kind):
        terminal.say(f"audiocnn: {line}")
    done, failed = write(found, kind, place, output, terminal)
    if terminal.watched:
        from audiocnn_cli.findings import plural

        segments = sum(len(one.segments) for one in found)
        terminal.say(f"{plural(segments, 'segment')} in {plural(len(found), 'recording')}")
    return of_batch(done, reading.failed + failed)


class Reading:
    """Reads files of labels; a bad one is told of and counted."""

    def __init__(self, terminal: Terminal, kind: str, recordings: Recordings) -> None:
        self.terminal, self.kind, self.recordings = terminal, kind, recordings
        self.done = self.failed = 0

    def all(self, names: list[str], source: str | None) -> Iterator[Found]:
        """What all of them say; a file that names no recording counts as one without a segment, named by its stem."""
        from audiocnn.converting import find_label_files
        from audiocnn.label_lookup import rereadable, saved
        from audiocnn_cli.inputs import STDIN, STDIN_NAMES

        if sum(name in STDIN_NAMES for name in names) > 1:
            raise UsageError("standard input is named twice; it can be read once")
        for name in names:
            with self.attempt():
                if name == STDIN:
                    if self.terminal.stdin.isatty():
                        raise UsageError("standard input is the keyboard; pipe something into it, or name a file")
                    with saved(self.terminal.stdin, Path(STDIN)) as path:
                        yield from self.one(path, Path(STDIN), source)
                    continue
                for path in find_label_files(Path(name), source):
                    with self.attempt(), rereadable(path) as file:
                        yield from self.one(file, path, source)

    def one(self, path: Path, shown: Path, source: str | None) -> list[Found]:
        """What one file says. LabelError: it cannot be read."""
        from audiocnn.converting import completed, read_checked

        found = read_checked(path, source)
        if not found and not FORMATS[self.kind].many:
            raise UsageError(f"{shown}: names no recording, and {self.kind} needs one; leave it out")
        self.done += 1
        return [completed(one, shown, self.kind, self.recordings) for one in found]

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """The work on one file."""
        try:
            yield
        except AudiocnnError as problem:
            self.failed += 1
            self.terminal.error(str(problem))


class LabelOutput:
    """Writes recordings in a format, and tells what it had to change, once."""

    def __init__(self, out: Output, kind: str, terminal: Terminal, told: set[str]) -> None:
        from audiocnn.formats import format_writer

        self.out, self.terminal, self.told = out, terminal, told
        self.writer = format_writer(kind)

    def begin(self) -> None:
        """What stands before the first recording."""
        self.out.write(self.writer.begin())

    def recording(self, found: Found) -> None:
        """One recording."""
        self.out.write(self.writer.recording(found))
        for note in self.writer.notes:
            if note not in self.told:
                self.told.add(note)
                self.terminal.say(f"audiocnn: {note}")

    def end(self) -> None:
        """What stands after the last one."""
        self.out.write(self.writer.end())

    def failed(self, file: str, problem: str) -> None:
        """A file of labels has no place for it."""


def write(found: list[Found], kind: str, place: Place, options: ManyOutputs, terminal: Terminal) -> tuple[int, int]:
    """Write all into one output, or each into its own; how many are done, and how many could not be."""
    from audiocnn_cli.output import PassedError
    from audiocnn_cli.outputs import open_results

    if place.folder is None and not FORMATS[kind].many and len(found) > 1:
        what = f"a file of it holds one recording, and there are {len(found)}"
        raise UsageError(f"--to {kind}: {what}; write each to a file of its own with --output-dir")
    told: set[str] = set()
    named = {one.file: one for one in sorted_for(kind, found)}
    failed = 0
    suffix = FORMATS[kind].suffixes[0]
    with open_results(place, suffix, options, lambda out: LabelOutput(out, kind, terminal, told), terminal) as results:
        for one in results.wanted(inputs_of(named)):
            try:
                one.opened  # noqa: B018 - an error, where its output is there already
                with results.writing(one) as writer:
                    writer.recording(named[one.name])
            except PassedError:
                continue
            except RecordingError as problem:
                failed += 1
                terminal.error(str(problem))
    return max(len(named), 1) - failed, failed  # no recording at all is a result


def sorted_for(kind: str, found: list[Found]) -> list[Found]:
    """In the order that a format asks for: Kaldi wants that of the ids, byte by byte."""
    from audiocnn.formats.naming import base_name

    if kind != "kaldi":
        return found
    return sorted(found, key=lambda one: base_name(one.file).encode("utf-8", "surrogatepass"))


def inputs_of(found: dict[str, Found]) -> Iterator[Input]:
    """The recordings as --output-dir takes them: those that differ in their endings alone, and those that have no
    ending of audio, keep their whole names."""
    from audiocnn.formats.naming import base_name
    from audiocnn_cli.inputs import Input

    places = {file: (PurePath(file).parent, base_name(file)) for file in found}
    count = Counter(places.values())
    for file, place in places.items():
        alone = count[place] == 1 and place[1] != PurePath(file).name
        yield Input(file, Path(file) if alone else io.BytesIO())
