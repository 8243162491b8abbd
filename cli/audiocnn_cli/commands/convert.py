"""`audiocnn convert`: convert annotations from one format to another."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated

import typer

from audiocnn.errors import AudiocnnError, RecordingError, UsageError
from audiocnn.labels.formats import FORMATS
from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.app.options import (
    BASIC,
    INPUT,
    OUTPUT,
    DetectFormat,
    LabelColumnName,
    LabelMapText,
    ManyOutputs,
    option,
)
from audiocnn_cli.app.terminal import Terminal
from audiocnn_cli.io.batch import batch_status

if TYPE_CHECKING:
    from audiocnn.labels.formats.base import LabelledRecording
    from audiocnn.labels.lookup import Recordings
    from audiocnn_cli.io.inputs import Input
    from audiocnn_cli.io.results import Destination

_LabelFiles = Annotated[
    list[str],
    typer.Argument(
        metavar="LABELS", help="Files of labels, folders of them, or - for standard input.", show_default=False
    ),
]
_To = Annotated[
    DetectFormat,
    typer.Option(
        "--to",
        "--format",
        "-f",
        metavar="FORMAT",
        help=f"Output format: {', '.join(FORMATS)}; auto: by the suffix of -o, else JSON Lines.",
        rich_help_panel=OUTPUT,
    ),
    BASIC,
]
_From = Annotated[
    DetectFormat,
    typer.Option(
        "--from",
        metavar="FORMAT",
        help="Input format; auto: detect it by file name and content.",
        rich_help_panel=INPUT,
    ),
    BASIC,
]
_Recordings = Annotated[
    str | None,
    option(
        "--recordings",
        "FOLDER",
        "Folder of the recordings, for their names and durations. [default: beside the labels]",
        INPUT,
    ),
    BASIC,
]


def convert(
    terminal: Terminal,
    labels: _LabelFiles,
    to: _To = DetectFormat.auto,
    source: _From = DetectFormat.auto,
    recordings: _Recordings = None,
    label_column: LabelColumnName = None,
    label_map: LabelMapText = None,
    output: ManyOutputs = ManyOutputs(),  # noqa: B008 - frozen
) -> ExitStatus:
    """What the target format cannot represent, such as scores, is reported on standard error. A file that cannot be
    read does not stop the others.

    \b
    audiocnn convert found.jsonl -o found.rttm
    audiocnn convert found.jsonl --to textgrid --output-dir tiers
    audiocnn convert meeting.rttm --to audacity -o meeting.txt
    audiocnn detect interview.wav | audiocnn convert - --to srt -o interview.srt
    """
    from audiocnn.labels.convert import find_losses, merge_recordings
    from audiocnn.labels.lookup import Recordings
    from audiocnn.labels.mapping import describe_unmapped, map_recordings, read_label_map
    from audiocnn_cli.io.output import format_of_output
    from audiocnn_cli.io.results import OUTPUT_SUFFIXES, find_destination

    destination = find_destination(output)
    for flag, chosen in (("--to", to), ("--from", source)):
        if chosen is DetectFormat.table:
            raise UsageError(f"{flag} table: not an annotation format; use one of {', '.join(FORMATS)}")
    kind = format_of_output(destination.path, to.value, OUTPUT_SUFFIXES, "jsonl")
    renamed = {} if label_map is None else read_label_map(label_map)
    if recordings is not None and not Path(recordings).is_dir():
        raise UsageError(f"--recordings {recordings}: no such folder; check the name")
    if destination.done:
        return ExitStatus.OK
    places = Recordings(None if recordings is None else Path(recordings))
    reading = LabelReader(terminal, kind, places, label_column)
    found = merge_recordings(reading.all(labels, None if source is DetectFormat.auto else source.value))
    if not reading.done:
        return batch_status(0, reading.failed)
    if label_map is not None:
        for line in describe_unmapped(renamed, {segment.label for one in found for segment in one.segments}):
            terminal.error(line, "note")
        found = map_recordings(found, renamed)
    for line in find_losses(found, kind):
        terminal.say(f"audiocnn: {line}")
    if destination.folder is not None and reading.nameless:
        fact = f"{', '.join(reading.nameless)} does not list recordings without segments, so they get no file"
        terminal.say(f"audiocnn: {fact}; the jsonl format of `detect` lists all")
    done, failed = write_recordings(found, kind, destination, terminal)
    if terminal.watched:
        from audiocnn.units import plural

        segments = sum(len(one.segments) for one in found)
        terminal.say(f"{plural(segments, 'segment')} in {plural(len(found), 'recording')}")
    return batch_status(done, reading.failed + failed)


class LabelReader:
    """Reads annotation files. A bad one is reported and counted."""

    def __init__(self, terminal: Terminal, kind: str, recordings: Recordings, label_column: str | None = None) -> None:
        self.terminal, self.kind, self.recordings, self.label_column = terminal, kind, recordings, label_column
        self.done = self.failed = 0
        self.nameless: dict[str, None] = {}  # formats for several recordings that omit those without a segment

    def all(self, names: list[str], source: str | None) -> Iterator[LabelledRecording]:
        """The annotations in all files. A file that names no recording counts as one recording without a segment, named
        by the stem of the file."""
        from audiocnn.audio.find import EntryError
        from audiocnn.labels.convert import find_label_files
        from audiocnn.labels.lookup import rereadable_file, save_stream
        from audiocnn_cli.io.inputs import STDIN, STDIN_NAMES

        if sum(name in STDIN_NAMES for name in names) > 1:
            raise UsageError("standard input is given twice; it can be read only once")
        for name in names:
            with self.attempt():
                if name == STDIN:
                    if self.terminal.stdin.isatty():
                        raise UsageError("standard input is a terminal; pipe data into it or give a file")
                    with save_stream(self.terminal.stdin, Path(STDIN), source) as path:
                        yield from self.one(path, Path(STDIN), source)
                    continue
                for entry in find_label_files(Path(name), source):
                    with self.attempt():
                        if isinstance(entry, EntryError):
                            raise entry
                        with rereadable_file(entry, source) as file:
                            yield from self.one(file, entry, source)

    def one(self, path: Path, shown: Path, source: str | None) -> list[LabelledRecording]:
        """The annotations in one file. Raises LabelError if it cannot be read."""
        from audiocnn.labels.convert import complete_recording, read_checked
        from audiocnn.labels.formats import find_label_column, label_format

        found = read_checked(path, source, self.label_column)
        column = find_label_column(path, source, self.label_column)
        if column is not None and column.told and not column.speech:  # speaker names are kept anyway
            self.terminal.error(f"{shown}: {column.describe()}", "note")
        if not found and not FORMATS[self.kind].many:
            raise UsageError(f"{shown}: names no recording, and {self.kind} needs one; remove it from the list")
        format = source or label_format(path)
        if FORMATS[format].many and "empty" not in FORMATS[format].keeps:
            self.nameless[format] = None
        self.done += 1
        return [complete_recording(one, shown, self.kind, self.recordings) for one in found]

    @contextmanager
    def attempt(self) -> Iterator[None]:
        try:
            yield
        except AudiocnnError as problem:
            self.failed += 1
            self.terminal.error(str(problem))


def write_recordings(
    found: list[LabelledRecording], kind: str, destination: Destination, terminal: Terminal
) -> tuple[int, int]:
    """Write all recordings to one output, or each to its own. Returns the numbers written and failed."""
    from audiocnn.labels.formats import format_writer
    from audiocnn_cli.io.output import ExistsError, PassedError, there_already
    from audiocnn_cli.io.results import open_results

    if destination.folder is None and not FORMATS[kind].many and len(found) > 1:
        what = f"a file in this format holds one recording, and there are {len(found)}"
        raise UsageError(f"--to {kind}: {what}; write one file per recording with --output-dir")
    named = {one.file: one for one in _sort_for(kind, found)}
    inputs = _inputs_of(named) if destination.check is None else destination.check(_inputs_of(named))
    failed, existing = 0, list[Path]()
    suffix, said = FORMATS[kind].suffixes[0], set[str]()
    with open_results(destination, suffix, lambda _: format_writer(kind), terminal, said=said) as results:
        for one in results.wanted(inputs):
            try:
                one.opened  # noqa: B018 - raises if the output already exists
                with results.writing(one) as writer:
                    writer.recording(named[one.name])
            except PassedError:
                continue
            except ExistsError as problem:
                existing.append(problem.path)
            except RecordingError as problem:
                failed += 1
                terminal.error(str(problem))
    if existing:
        terminal.error(there_already(existing, terminal.verbose))
        failed += len(existing)
    return max(len(named), 1) - failed, failed  # an empty list is a valid result


def _sort_for(kind: str, found: list[LabelledRecording]) -> list[LabelledRecording]:
    """The recordings in the order that a format requires: Kaldi requires bytewise order of the ids."""
    from audiocnn.labels.formats.base import base_name

    if kind != "kaldi":
        return found
    return sorted(found, key=lambda one: base_name(one.file).encode("utf-8", "surrogatepass"))


def _inputs_of(found: dict[str, LabelledRecording]) -> Iterator[Input]:
    """The recordings as inputs for --output-dir. Recordings that differ only in their suffixes, and those without an
    audio suffix, keep their full names."""
    from audiocnn.labels.formats.base import base_name
    from audiocnn_cli.io.inputs import Input

    places = {file: (PurePath(file).parent, base_name(file)) for file in found}
    count = Counter(places.values())
    for file, place in places.items():
        alone = count[place] == 1 and place[1] != PurePath(file).name
        yield Input(file, Path(file) if alone else io.BytesIO())
