"""Output formats of `detect`: any annotation format, or a table with a timeline to read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from io import StringIO
from itertools import islice
from typing import TYPE_CHECKING

from audiocnn.errors import UsageError, printable
from audiocnn.inference.detect import Detection, Ending, Event, Onset
from audiocnn.labels.formats import FORMATS, format_writer
from audiocnn.labels.formats.base import LabelledRecording, Writer
from audiocnn.labels.formats.jsonl import (
    SCHEMA,
    FileSummary,
    JsonLinesWriter,
    Record,
    dump_lines,
    error_record,
    file_record,
    label_records,
    onset_record,
    segment_record,
)
from audiocnn.labels.formats.table import (
    CELL_SEPARATORS,
    SEGMENT_COLUMNS,
    Cells,
    TableWriter,
    segment_cells,
    segment_rows,
    table_row,
)
from audiocnn.model.model import DEFAULT_MODEL
from audiocnn.segments.segment import Segment, merge
from audiocnn.units import clock, plural, round_seconds
from audiocnn_cli.app.draw import (
    draw_ruler,
    draw_track,
    format_moment,
    format_share,
    pad_label,
    pad_name,
    print_headline,
)
from audiocnn_cli.app.terminal import Terminal, spell
from audiocnn_cli.io.inputs import STDIN

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from audiocnn_cli.io.inputs import Input
    from audiocnn_cli.io.output import Output
    from audiocnn_cli.io.results import Destination

LIVE_FORMATS = ("jsonl", "csv", "tsv")  # formats that can be written segment by segment
_LEAST_ROWS = 10  # minimum for a table that is cut to fit the terminal
_OTHER_LINES = 9  # headline, two lines of column heads, "more", ruler, summary, a message on stderr, two for the prompt
SUMMARY_FORMATS = ("jsonl", "csv", "tsv", "table")
_LEAST_BAR = 6  # cells; with less room, no bar is drawn
_TIME_WIDTH, _SHARE_WIDTH = len("9:59:59"), len("100 %")
_EDGES = 3  # a space, and both ends of the bar
_MOST_TIMELINES = 12  # of a model with more labels, only those that were found have one
_MOST_FOLDERS = 20  # with more, a total for each is no summary
COLOURS = ("green", "cyan", "magenta", "yellow", "blue", "red")
# The result of a recording; for a stream on standard input, each event and the summary at the end.
DetectResult = Detection | Event | FileSummary


@dataclass(frozen=True)
class DetectLayout:
    """kind: the format. settings: the digest in `file` records. summary: one line or record per recording, without
    segments. names: of all recordings, if known."""

    kind: str
    settings: str = ""
    summary: bool = False
    names: tuple[str, ...] | None = None


def detect_writer(layout: DetectLayout, labels: Sequence[str], out: Output, terminal: Terminal) -> Writer[DetectResult]:
    kind, settings = layout.kind, layout.settings
    if kind == "table":
        to_terminal = out.path is None and terminal.shows_tables
        alone = layout.names is not None and len(layout.names) == 1
        drawing = terminal if out.path is None else replace(terminal, stdout=StringIO())
        if layout.summary or (to_terminal and not alone):
            return DetectionLines(drawing, labels, layout.names)
        return DetectionTables(drawing, fits=to_terminal)
    if layout.summary and kind in CELL_SEPARATORS:
        return SummaryTable(labels, CELL_SEPARATORS[kind])
    if layout.summary:
        return SummaryRecords(settings)
    return live_writer(kind, settings) if kind in LIVE_FORMATS else DetectionLabels(kind)


def live_writer(kind: str, settings: str = "") -> Writer[DetectResult]:
    """A writer for one of `LIVE_FORMATS`."""
    if kind == "jsonl":
        return JsonLinesWriter(partial(detect_records, settings=settings))
    return TableWriter(SEGMENT_COLUMNS, detect_rows, CELL_SEPARATORS[kind])


def detect_records(result: DetectResult, settings: str = "") -> Iterator[Record]:
    """`segment` records, then the `file` record; for a live stream, the record of one event."""
    if isinstance(result, Detection):
        yield from label_records(labelled_recording(result), settings)
    elif isinstance(result, Ending):
        yield segment_record(STDIN, result.channel, result.segment)
    elif isinstance(result, Onset):
        yield onset_record(STDIN, result.channel, result.start, result.label)
    else:
        yield file_record(STDIN, result, settings)


def detect_rows(result: DetectResult) -> Iterator[Cells]:
    if isinstance(result, Detection):
        yield from segment_rows(labelled_recording(result))
    elif isinstance(result, Ending):
        yield segment_cells(STDIN, result.channel, result.segment)


def labelled_recording(detection: Detection) -> LabelledRecording:
    return LabelledRecording(
        file=detection.file,
        tracks=detection.tracks,
        duration_seconds=detection.duration_seconds,
        sample_rate=detection.sample_rate,
        channels=detection.channels,
        model=detection.model,
        thresholds=detection.thresholds,
        note=printable(detection.note) if detection.note else None,
        remarks=[printable(remark) for remark in detection.remarks],
        start_seconds=detection.start_seconds,
    )


class DetectionLabels(Writer[DetectResult]):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.format = kind, format_writer(kind)
        self.notes = self.format.notes

    def begin(self) -> str:
        return self.format.begin()

    def recording(self, recording: DetectResult) -> str:
        assert isinstance(recording, Detection)
        if len(recording.tracks) > 1 and "channel" not in FORMATS[self.kind].keeps:
            self.note(f"{self.kind} cannot store channels; the segments of all channels are merged")
        return self.format.recording(labelled_recording(recording))

    def end(self) -> str | bytes:
        return self.format.end()


class DetectionTables(Writer[DetectResult]):
    """A headline, a table and a timeline for each recording, as wide as the terminal. The timeline comes last, so that
    it stays visible. fits: cut a long table so that everything fits on the screen."""

    drawn = True

    def __init__(self, terminal: Terminal, fits: bool = False) -> None:
        super().__init__()
        self.terminal, self.console, self.fits = terminal, terminal.out, fits
        self.colours: dict[str, str] = {}
        self.first = True

    def recording(self, recording: DetectResult) -> str:
        assert isinstance(recording, Detection)
        for label in recording.thresholds:
            self.colours.setdefault(label, COLOURS[len(self.colours) % len(COLOURS)])
        with self.console.capture() as drawn:
            if not self.first:
                self.console.print()
            print_headline(recording, self.console)
            if recording.segments:
                self.rows(recording)
            self.timeline(recording)
            self.console.print(self.summary(recording))
        self.first = False
        return drawn.get()

    def timeline(self, detection: Detection) -> None:
        """Print a line for each label of each channel, and the ruler."""
        from rich.text import Text

        several = len(detection.tracks) > 1
        names = {
            (channel, label): f"{channel} {label}" if several else label
            for channel in detection.tracks
            for label in labels_in_sight(detection)
        }
        room = max(8, self.console.width // 4)
        width = min(room, max((len(printable(name)) for name in names.values()), default=0))
        cells = self.console.width - width - 4
        edge = "│" if self.terminal.unicode else "|"
        for (channel, label), name in names.items():
            mine = [segment for segment in detection.tracks[channel] if segment.label == label]
            line = Text(f"{printable(name)[:width]:>{width}} {edge}")
            line.append(
                draw_track(
                    mine,
                    detection.duration_seconds,
                    cells,
                    self.terminal.unicode,
                    start_seconds=detection.start_seconds,
                ),
                style=self.colours[label],
            )
            self.console.print(line.append(edge), no_wrap=True, overflow="crop")
        ruler = draw_ruler(detection.duration_seconds, cells, detection.start_seconds)
        self.console.print(Text(" " * (width + 2) + ruler, style="dim"), no_wrap=True, overflow="crop")

    def rows(self, detection: Detection) -> None:
        """Print the table, or its beginning and the number of remaining rows."""
        from rich.text import Text

        count = len(detection.segments)
        others = _OTHER_LINES + len(detection.tracks) * len(labels_in_sight(detection))
        room = max(_LEAST_ROWS, self.terminal.height(self.terminal.stdout) - others) if self.fits else count
        most = room if count > room else count
        self.console.print(self.table(detection, most))
        if count > most:
            self.console.print(Text(f"... {count - most} more; write all with -o segments.csv", style="dim"))

    def table(self, detection: Detection, most: int) -> Table:
        """The table of the first `most` segments."""
        from rich.text import Text

        several, narrow = len(detection.tracks) > 1, self.console.width < 50
        narrowest = self.console.width < 40
        table = self.terminal.new_table()
        if narrowest:
            table.box, table.padding = None, (0, 1, 0, 0)
        names = ["" if narrowest else "channel"] * several + ["start", "end"] + ["length"] * (not narrow)
        names += ["label"] + ["score"] * (not narrowest)
        for name in names:
            table.add_column(name, justify="left" if name == "label" else "right", no_wrap=True)
        longest = detection.duration_seconds
        rows = ((channel, segment) for channel, track in detection.tracks.items() for segment in track)
        for channel, segment in islice(rows, most):
            cells: list[str | Text] = [str(channel)] if several else []
            cells += [format_moment(segment.start, longest), format_moment(segment.end, longest)]
            cells += [] if narrow else [f"{segment.end - segment.start:.2f}"]
            label = Text(printable(segment.label), style=self.colours[segment.label], overflow="ellipsis")
            table.add_row(*cells, label, *([] if narrowest else [f"{segment.score:.2f}"]))
        return table

    def summary(self, detection: Detection) -> Text:
        from rich.text import Text

        if not detection.segments:
            wanted = " or ".join(f'"{label}" >= {value:g}' for label, value in detection.thresholds.items())
            return Text(f"no segment ({wanted}){by_model(detection.model)}", style="yellow")
        of = (detection.duration_seconds - detection.start_seconds) * max(1, len(detection.tracks))
        parts = []
        for label, seconds in detection.seconds().items():
            mine = [segment for segment in detection.segments if segment.label == label]
            if not mine:
                continue
            parts.append(f"{plural(len(mine), 'segment')} of {label}, {clock(seconds)} ({format_share(seconds, of)})")
        return Text("; ".join(parts) + by_model(detection.model))


def labels_in_sight(detection: Detection) -> list[str]:
    """The labels with a timeline: all labels of the model, or, of many, those that were found."""
    found = {segment.label for segment in detection.segments}
    labels = list(detection.thresholds)
    return labels if len(labels) <= _MOST_TIMELINES else [label for label in labels if label in found]


def by_model(name: str) -> str:
    """The name of the model, unless it is the default model."""
    return "" if name in (DEFAULT_MODEL, "") else f", by {printable(name)}"


def check_summary(kind: str, destination: Destination, follow: bool, ray: str | None) -> None:
    """Raises UsageError for a format or an option that does not allow a summary."""
    if kind not in SUMMARY_FORMATS:
        raise UsageError(
            f"--summary needs one of the formats {', '.join(SUMMARY_FORMATS)}; omit -f {kind} or --summary"
        )
    others = {"--ray": ray, "--output-dir": destination.folder, "--resume": destination.resume, "--follow": follow}
    if taken := next((name for name, value in others.items() if value), None):
        raise UsageError(f"--summary and {taken} cannot be combined; omit one of them")


@dataclass
class DetectTotal:
    """Totals over all recordings so far. `channel_seconds` counts the duration once for each channel processed."""

    recordings: int = 0
    damaged: int = 0
    failed: int = 0
    silent: int = 0  # recordings without a segment
    sound_seconds: float = 0.0
    channel_seconds: float = 0.0
    model: str = ""
    segments: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def add(self, found: Detection) -> None:
        heard = found.duration_seconds - found.start_seconds
        self.recordings += 1
        self.damaged += found.note is not None
        self.silent += not found.segments
        self.sound_seconds += heard
        self.channel_seconds += heard * max(1, len(found.tracks))
        self.model = found.model
        for label, seconds in found.seconds().items():
            self.segments[label] = self.segments.get(label, 0) + sum(one.label == label for one in found.segments)
            self.seconds[label] = self.seconds.get(label, 0.0) + seconds

    def record(self) -> Record:
        return {
            "schema": SCHEMA,
            "type": "summary",
            "files": self.recordings,
            "damaged": self.damaged,
            "failed": self.failed,
            "duration": round_seconds(self.sound_seconds),
            "segments": sum(self.segments.values()),
            "seconds": {label: round_seconds(seconds) for label, seconds in self.seconds.items()},
            "model": self.model or None,
        }

    def line(self, named: bool = True) -> str:
        """`3 recordings, 1:02: 9 segments of speech, 19.3 s (31 %); no segment in 1 of them`. named: with the model."""
        parts = [
            f"{plural(count, 'segment')} of {printable(label)}, {clock(self.seconds[label])}"
            f" ({format_share(self.seconds[label], self.channel_seconds)})"
            for label, count in self.segments.items()
            if count
        ] or ["no segment"]
        parts += [f"no segment in {self.silent} of them"] if 0 < self.silent < self.recordings else []
        parts += [f"{self.failed} could not be read"] if self.failed else []
        found = "; ".join(parts) + (by_model(self.model) if named else "")
        return f"{plural(self.recordings, 'recording')}, {clock(self.sound_seconds)}: {found}"


class SummaryTable(TableWriter[DetectResult]):
    """One row per recording: its duration, number of segments, seconds of each label, and its status. A recording that
    could not be read has empty cells."""

    def __init__(self, labels: Sequence[str], separator: str) -> None:
        super().__init__(["file", "duration", "segments", *labels, "status"], self.row, separator)
        self.labels = labels

    def row(self, result: DetectResult) -> Iterator[Cells]:
        assert isinstance(result, Detection)
        seconds = result.seconds()
        yield [
            result.file,
            round_seconds(result.duration_seconds - result.start_seconds),
            len(result.segments),
            *(round_seconds(seconds.get(label, 0.0)) for label in self.labels),
            "ok" if result.note is None else "damaged",
        ]

    def failed(self, file: str, problem: str) -> str:
        return table_row([file, *[""] * (2 + len(self.labels)), "error"], self.separator) + "\n"


class SummaryRecords(Writer[DetectResult]):
    """JSON Lines: a record for each file, without its segments, and a total at the end."""

    def __init__(self, settings: str = "") -> None:
        super().__init__()
        self.settings = settings
        self.total = DetectTotal()

    def recording(self, recording: DetectResult) -> str:
        assert isinstance(recording, Detection)
        self.total.add(recording)
        *_, last = detect_records(recording, self.settings)
        return dump_lines([last])

    def failed(self, file: str, problem: str) -> str:
        self.total.failed += 1
        return dump_lines([error_record(file, problem)])

    def end(self) -> str:
        return dump_lines([self.total.record()])


class DetectionLines(Writer[DetectResult]):
    """Output to read: one line per recording, with a timeline, and seconds and share of each label; then the total.

    names: of all recordings, if known, to align the columns.
    """

    drawn = tells_total = True

    def __init__(self, terminal: Terminal, labels: Sequence[str], names: Sequence[str] | None) -> None:
        super().__init__()
        self.terminal, self.console = terminal, terminal.out
        self.total = DetectTotal()
        self.folders: dict[str, DetectTotal] = {}
        self.colours = {label: COLOURS[number % len(COLOURS)] for number, label in enumerate(labels)}
        width, several = self.console.width, len(labels) > 1
        self.label_width = min(width // 4, max(len(printable(label)) for label in labels)) + 1 if several else 0
        self.numbers_width = self.label_width + 1 + _TIME_WIDTH + 1 + _SHARE_WIDTH
        most = max(1, min(width // 3 if several else width * 2 // 5, width - self.numbers_width))
        longest = max((len(spell(printable(name), terminal.stdout)) for name in names or ()), default=0)
        self.name_width = most if names is None else min(most, longest)
        room = width - self.name_width - _EDGES
        self.shown = max(1, min(len(labels), (room - _LEAST_BAR) // self.numbers_width))
        self.cells = room - self.shown * self.numbers_width

    def recording(self, recording: DetectResult) -> str:
        assert isinstance(recording, Detection)
        self.total.add(recording)
        self.folder_of(recording.file).add(recording)
        with self.console.capture() as drawn:
            self.console.print(self.line(recording), no_wrap=True, overflow="crop")
        return drawn.get()

    def failed(self, file: str, problem: str) -> str:
        self.total.failed += 1
        self.folder_of(file).failed += 1
        return ""

    def folder_of(self, file: str) -> DetectTotal:
        """The totals of the folder of a recording, as far as folders are counted."""
        folder = file.rpartition("/")[0]
        return self.folders.setdefault(folder if len(self.folders) <= _MOST_FOLDERS else "", DetectTotal())

    def end(self) -> str:
        from rich.text import Text

        with self.console.capture() as drawn:
            if 1 < len(self.folders) <= _MOST_FOLDERS:
                for name, total in self.folders.items():
                    self.console.print(Text(f"{printable(name) or '.'}/: {total.line(named=False)}"))
            self.console.print(Text(self.total.line(), style="bold"))
        return drawn.get()

    def line(self, found: Detection) -> Text:
        from rich.text import Text

        line = Text(pad_name(found.file, self.name_width, self.terminal))
        several = len(self.colours) > 1
        if self.cells >= _LEAST_BAR:
            edge = "│" if self.terminal.unicode else "|"
            colour = "" if several else next(iter(self.colours.values()))
            line.append(f" {edge}").append(self.bar(found), style=colour).append(edge)
        heard = (found.duration_seconds - found.start_seconds) * max(1, len(found.tracks))
        loudest = sorted(found.seconds().items(), key=lambda pair: -pair[1])
        if several and not any(seconds for _, seconds in loudest):
            line.append(" nothing found", style="dim")
            return line
        for label, seconds in [pair for pair in loudest if pair[1] or not several][: self.shown]:
            name = f" {pad_label(label, self.label_width - 1, self.terminal.unicode)}" if several else ""
            numbers = f" {clock(seconds):>{_TIME_WIDTH}} {format_share(seconds, heard):>{_SHARE_WIDTH}}"
            line.append(name + numbers, style=self.colours[label] if seconds else "dim")
        return line

    def bar(self, found: Detection) -> str:
        """The coverage over time, by any label in any channel."""
        covered = merge((one.start, one.end) for one in found.segments)
        spans = [Segment(float(start), float(end), "", 1.0) for start, end in covered]
        start, end = found.start_seconds, found.duration_seconds
        return draw_track(spans, end, self.cells, self.terminal.unicode, start_seconds=start)


def check_number(inputs: Iterator[Input], kind: str) -> Iterator[Input]:
    """The inputs. Raises UsageError for more than one, with a format whose files hold a single recording."""
    if kind not in FORMATS or FORMATS[kind].many:
        return inputs
    first = list(islice(inputs, 2))
    if len(first) > 1:
        raise UsageError(
            f"-f {kind}: a file in this format holds one recording; write one file per recording with --output-dir"
        )
    return iter(first)
