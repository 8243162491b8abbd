"""What `detect` says of many recordings: a line each and one of all for a person, `file` records and their total for a
program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from audiocnn.errors import UsageError, printable
from audiocnn.inference.detect import Detection
from audiocnn.labels.formats.base import Writer
from audiocnn.labels.formats.jsonl import SCHEMA, Record, dump_lines, error_record
from audiocnn.segments.segment import Segment, merge
from audiocnn.units import clock, plural, round_seconds
from audiocnn_cli.app.draw import draw_track, fit_label, fit_name, format_share
from audiocnn_cli.app.terminal import Terminal, spell
from audiocnn_cli.commands.detect.writers import COLOURS, DetectResult, detect_records

if TYPE_CHECKING:
    from rich.text import Text

    from audiocnn_cli.io.results import Destination

SUMMARY_FORMATS = ("jsonl", "table")
_LEAST_BAR = 6  # cells; where there is no room for so many there is no bar
_TIME_WIDTH, _SHARE_WIDTH = len("9:59:59"), len("100 %")
_EDGES = 3  # a space, and both ends of the bar


def check_summary(kind: str, destination: Destination, follow: bool, ray: str | None) -> None:
    """UsageError where there is no place for records of files alone."""
    if kind not in SUMMARY_FORMATS:
        raise UsageError(f"--summary is for {' and '.join(SUMMARY_FORMATS)}; leave out -f {kind}, or --summary")
    others = {"--ray": ray, "--output-dir": destination.folder, "--resume": destination.resume, "--follow": follow}
    if taken := next((name for name, value in others.items() if value), None):
        raise UsageError(f"--summary says what is in all recordings together; leave out {taken}, or --summary")


@dataclass
class DetectTotal:
    """What was found in all recordings so far; seconds of sound count once for each channel that was read."""

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

    def line(self) -> str:
        """`3 recordings, 1:02: 9 segments of speech, 19.3 s (31 %); nothing in 1 of them`."""
        parts = [
            f"{plural(count, 'segment')} of {printable(label)}, {clock(self.seconds[label])}"
            f" ({format_share(self.seconds[label], self.channel_seconds)})"
            for label, count in self.segments.items()
            if count
        ] or ["no segment"]
        parts += [f"nothing in {self.silent} of them"] if 0 < self.silent < self.recordings else []
        parts += [f"{self.failed} could not be read"] if self.failed else []
        return f"{plural(self.recordings, 'recording')}, {clock(self.sound_seconds)}: {'; '.join(parts)}"


class SummaryRecords(Writer[DetectResult]):
    """JSON Lines: the record of each file without those of its segments, and at the end the total."""

    def __init__(self) -> None:
        super().__init__()
        self.total = DetectTotal()

    def recording(self, recording: DetectResult) -> str:
        assert isinstance(recording, Detection)
        self.total.add(recording)
        *_, last = detect_records(recording)
        return dump_lines([last])

    def failed(self, file: str, problem: str) -> str:
        self.total.failed += 1
        return dump_lines([error_record(file, problem)])

    def end(self) -> str:
        return dump_lines([self.total.record()])


class DetectionLines(Writer[DetectResult]):
    """For a person: a line a recording, with a bar of its time, seconds and share of each label; then the total.

    names: of all recordings, as far as they are known, so that columns stand below each other.
    """

    drawn = True

    def __init__(self, terminal: Terminal, labels: Sequence[str], names: Sequence[str] | None) -> None:
        super().__init__()
        self.terminal, self.console = terminal, terminal.out
        self.total = DetectTotal()
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
        with self.console.capture() as drawn:
            self.console.print(self.line(recording), no_wrap=True, overflow="crop")
        return drawn.get()

    def failed(self, file: str, problem: str) -> str:
        self.total.failed += 1
        return ""

    def end(self) -> str:
        from rich.text import Text

        with self.console.capture() as drawn:
            self.console.print(Text(self.total.line(), style="bold"))
        return drawn.get()

    def line(self, found: Detection) -> Text:
        from rich.text import Text

        line = Text(fit_name(found.file, self.name_width, self.terminal))
        several = len(self.colours) > 1
        if self.cells >= _LEAST_BAR:
            edge = "│" if self.terminal.unicode else "|"
            colour = "" if several else next(iter(self.colours.values()))
            line.append(f" {edge}").append(self.bar(found), style=colour).append(edge)
        heard = (found.duration_seconds - found.start_seconds) * max(1, len(found.tracks))
        for label, seconds in sorted(found.seconds().items(), key=lambda pair: -pair[1])[: self.shown]:
            name = f" {fit_label(label, self.label_width - 1, self.terminal.unicode)}" if several else ""
            numbers = f" {clock(seconds):>{_TIME_WIDTH}} {format_share(seconds, heard):>{_SHARE_WIDTH}}"
            line.append(name + numbers, style=self.colours[label] if seconds else "dim")
        return line

    def bar(self, found: Detection) -> str:
        """How much of each moment is covered, by any label in any channel."""
        covered = merge((one.start, one.end) for one in found.segments)
        spans = [Segment(float(start), float(end), "", 1.0) for start, end in covered]
        start, end = found.start_seconds, found.duration_seconds
        return draw_track(spans, end, self.cells, self.terminal.unicode, start_seconds=start)
