"""What `detect` writes for each recording: JSON Lines, CSV, TSV, or a table with a timeline for a person."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from audiocnn.detection import Detection
from audiocnn.errors import UsageError
from audiocnn.formats import FORMATS, format_writer, jsonl, rows
from audiocnn.formats.found import Found
from audiocnn.segments import Segment
from audiocnn.units import clock
from audiocnn_cli.terminal import Terminal, printable
from audiocnn_cli.timeline import draw_ruler, draw_track, moment

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from audiocnn_cli.inputs import Input

COLOURS = ("green", "cyan", "magenta", "yellow", "blue", "red")
Write = Callable[[str], object]


class Findings(Protocol):
    """Takes each recording as it is done."""

    def begin(self) -> None:
        """Before the first recording."""

    def found(self, detection: Detection) -> None:
        """A recording that was read."""

    def failed(self, file: str, problem: str) -> None:
        """A recording that could not be; stderr has it already."""

    def end(self) -> None:
        """After the last recording."""


class JsonLines:
    """`segment` records, then the `file` record; or an `error` record. settings: the sum in `file` records."""

    def __init__(self, write: Write, settings: str = "") -> None:
        self.write, self.settings = write, settings

    def begin(self) -> None:
        """Nothing: every line says what it is."""

    def found(self, detection: Detection) -> None:
        for channel, track in detection.tracks.items():
            for segment in track:
                self.segment(detection.file, channel, segment)
        summary = jsonl.FileSummary(
            duration_seconds=detection.duration_seconds,
            sample_rate=detection.sample_rate,
            channels=detection.channels,
            segments=len(detection.segments),
            seconds=detection.seconds(),
            model=detection.model,
            thresholds=detection.thresholds,
        )
        self.file(detection.file, summary, detection.note)

    def onset(self, file: str, channel: int, start_seconds: float, label: str) -> None:
        """A segment of a live stream has begun."""
        self.record(jsonl.onset_record(file, channel, start_seconds, label))

    def segment(self, file: str, channel: int, segment: Segment) -> None:
        """One segment."""
        self.record(jsonl.segment_record(file, channel, segment))

    def file(self, file: str, summary: jsonl.FileSummary, note: str | None) -> None:
        """The record of a whole recording, behind its segments."""
        record = jsonl.file_record(file, summary)
        if note:
            record |= {"status": "damaged", "note": printable(note)}
        if self.settings:
            record["settings"] = self.settings
        self.record(record)

    def failed(self, file: str, problem: str) -> None:
        self.record(jsonl.error_record(file, problem))

    def end(self) -> None:
        """Nothing."""

    def record(self, record: jsonl.Record) -> None:
        """One line."""
        self.write(jsonl.dumps(record) + "\n")


class Rows:
    """CSV or TSV: one row a segment. Errors are on stderr alone."""

    def __init__(self, write: Write, separator: str) -> None:
        self.write, self.separator = write, separator

    def begin(self) -> None:
        self.write(rows.segment_header(self.separator) + "\n")

    def found(self, detection: Detection) -> None:
        for channel, track in detection.tracks.items():
            for segment in track:
                self.segment(detection.file, channel, segment)

    def onset(self, file: str, channel: int, start_seconds: float, label: str) -> None:
        """A row is a segment."""

    def segment(self, file: str, channel: int, segment: Segment) -> None:
        """One row."""
        self.write(rows.segment_row(file, channel, segment, self.separator) + "\n")

    def file(self, file: str, summary: jsonl.FileSummary, note: str | None) -> None:
        """A row is a segment."""

    def failed(self, file: str, problem: str) -> None:
        """A table has no place for it."""

    def end(self) -> None:
        """Nothing."""


class Written:
    """Any other format of `audiocnn.formats`. Errors are on stderr alone; so is what the format cannot hold, once."""

    def __init__(self, write: Write, kind: str, terminal: Terminal) -> None:
        self.write, self.kind, self.terminal = write, kind, terminal
        self.writer = format_writer(kind)
        self.told: set[str] = set()

    def begin(self) -> None:
        self.write(self.writer.begin())

    def found(self, detection: Detection) -> None:
        self.write(self.writer.recording(found_in(detection)))
        if len(detection.tracks) > 1 and "channel" not in FORMATS[self.kind].keeps:
            self.tell(f"{self.kind} has no place for channels; the segments of all of them stand together")
        for note in self.writer.notes:
            self.tell(note)

    def tell(self, what: str) -> None:
        """Say it once."""
        if what not in self.told:
            self.told.add(what)
            self.terminal.say(f"audiocnn: {what}")

    def failed(self, file: str, problem: str) -> None:
        """A file of labels has no place for it."""

    def end(self) -> None:
        self.write(self.writer.end())


class Tables:
    """A headline, a timeline and a table for each recording, as wide as the terminal."""

    def __init__(self, write: Write, terminal: Terminal) -> None:
        self.write, self.terminal, self.console = write, terminal, terminal.out
        self.colours: dict[str, str] = {}
        self.first = True

    def begin(self) -> None:
        """Nothing."""

    def failed(self, file: str, problem: str) -> None:
        """stderr has it."""

    def end(self) -> None:
        """Nothing."""

    def found(self, detection: Detection) -> None:
        for label in detection.thresholds:
            self.colours.setdefault(label, COLOURS[len(self.colours) % len(COLOURS)])
        with self.console.capture() as drawn:
            if not self.first:
                self.console.print()
            self.headline(detection)
            self.timeline(detection)
            if detection.segments:
                self.console.print(self.table(detection))
            self.console.print(self.summary(detection), soft_wrap=True)
        self.first = False
        self.write(drawn.get())

    def headline(self, detection: Detection) -> None:
        """The file, and what it is."""
        from rich.text import Text

        channels = {1: "mono", 2: "stereo"}.get(detection.channels, f"{detection.channels} channels")
        facts = f"{clock(detection.duration_seconds)}, {detection.sample_rate} Hz, {channels}"
        line = Text(printable(detection.file), style="bold")
        line.append(f"  {facts}", style="not bold dim")
        self.console.print(line, soft_wrap=True)

    def timeline(self, detection: Detection) -> None:
        """One line for each label of each channel, and the ruler."""
        from rich.text import Text

        several = len(detection.tracks) > 1
        names = {
            (channel, label): f"{channel} {label}" if several else label
            for channel in detection.tracks
            for label in detection.thresholds
        }
        room = max(8, self.console.width // 4)
        width = min(room, max((len(printable(name)) for name in names.values()), default=0))
        cells = self.console.width - width - 4
        edge = "│" if self.terminal.unicode else "|"
        for (channel, label), name in names.items():
            mine = [segment for segment in detection.tracks[channel] if segment.label == label]
            line = Text(f"{printable(name)[:width]:>{width}} {edge}")
            line.append(
                draw_track(mine, detection.duration_seconds, cells, self.terminal.unicode), style=self.colours[label]
            )
            self.console.print(line.append(edge), no_wrap=True, overflow="crop")
        ruler = draw_ruler(detection.duration_seconds, cells)
        self.console.print(Text(" " * (width + 2) + ruler, style="dim"), no_wrap=True, overflow="crop")

    def table(self, detection: Detection) -> Table:
        """One row a segment."""
        from rich import box
        from rich.table import Table
        from rich.text import Text

        several, narrow = len(detection.tracks) > 1, self.console.width < 50
        narrowest = self.console.width < 40
        table = Table(box=box.SIMPLE_HEAD if self.terminal.unicode else box.ASCII, pad_edge=False, show_edge=False)
        if narrowest:
            table.box, table.padding = None, (0, 1, 0, 0)
        names = ["" if narrowest else "channel"] * several + ["start", "end"] + ["length"] * (not narrow)
        names += ["label"] + ["score"] * (not narrowest)
        for name in names:
            table.add_column(name, justify="left" if name == "label" else "right", no_wrap=True)
        longest = detection.duration_seconds
        for channel, track in detection.tracks.items():
            for segment in track:
                cells: list[str | Text] = [str(channel)] if several else []
                cells += [moment(segment.start, longest), moment(segment.end, longest)]
                cells += [] if narrow else [f"{segment.end - segment.start:.2f}"]
                label = Text(printable(segment.label), style=self.colours[segment.label], overflow="ellipsis")
                table.add_row(*cells, label, *([] if narrowest else [f"{segment.score:.2f}"]))
        return table

    def summary(self, detection: Detection) -> Text:
        """How much of each label there is."""
        from rich.text import Text

        if not detection.segments:
            wanted = " or ".join(f'"{label}" >= {value:g}' for label, value in detection.thresholds.items())
            return Text(f"no segment ({wanted})", style="yellow")
        of = detection.duration_seconds * max(1, len(detection.tracks))
        parts = []
        for label, seconds in detection.seconds().items():
            mine = [segment for segment in detection.segments if segment.label == label]
            parts.append(f"{plural(len(mine), 'segment')} of {label}, {clock(seconds)} ({share(seconds, of)})")
        return Text("; ".join(parts))


def check_number(inputs: Iterator[Input], kind: str) -> Iterator[Input]:
    """The inputs again. UsageError: more than one, for a format whose files hold one recording."""
    if kind not in FORMATS or FORMATS[kind].many:
        return inputs
    first = list(islice(inputs, 2))
    if len(first) > 1:
        raise UsageError(
            f"-f {kind}: a file holds one recording, and there are several; write each to its own with --output-dir"
        )
    return iter(first)


def found_in(detection: Detection) -> Found:
    """What was found, as formats take it."""
    return Found(
        file=detection.file,
        tracks=detection.tracks,
        duration_seconds=detection.duration_seconds,
        sample_rate=detection.sample_rate,
        channels=detection.channels,
        model=detection.model,
        thresholds=detection.thresholds,
        note=detection.note,
    )


def plural(number: int, word: str) -> str:
    """`1 segment`, `2 segments`."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def share(part: float, whole: float) -> str:
    """A share in percent."""
    return f"{100 * part / whole:.0f} %" if whole > 0 else "0 %"
