"""Segments of a live stream for a person: one line each, which on a terminal is there from the onset on."""

from __future__ import annotations

from collections.abc import Callable

from audiocnn.formats.jsonl import FileSummary
from audiocnn.segments import Segment
from audiocnn.units import clock
from audiocnn_cli.findings import COLOURS, plural
from audiocnn_cli.terminal import Terminal, printable
from audiocnn_cli.timeline import moment

HOUR_SECONDS = 3600.0  # nobody knows how long it will be: times have hours from the start
ERASE_LINE = "\r\x1b[2K"
Write = Callable[[str], object]


class LiveLines:
    """`moving`: a line may be drawn again; otherwise an onset is a line of its own."""

    def __init__(self, write: Write, terminal: Terminal, moving: bool) -> None:
        self.write, self.terminal, self.moving = write, terminal, moving and not terminal.dumb
        self.open: dict[tuple[int, str], float] = {}  # onsets without their segment
        self.colours: dict[str, str] = {}
        self.shown = False  # whether a line stands there that will be drawn again

    def begin(self) -> None:
        """The heads of the columns."""
        self.line(f"{'start':>12}  {'end':>12}  {'length':>8}  score  label", "bold")

    def onset(self, file: str, channel: int, start_seconds: float, label: str) -> None:
        """A line without an end."""
        self.open[channel, label] = start_seconds
        if self.moving:
            self.draw()
        else:
            self.line(self.begun(channel, start_seconds, label))

    def segment(self, file: str, channel: int, segment: Segment) -> None:
        """The whole line."""
        if self.open.get((channel, segment.label)) == segment.start:
            del self.open[channel, segment.label]
        times = f"{moment(segment.start, HOUR_SECONDS):>12}  {moment(segment.end, HOUR_SECONDS):>12}"
        length = f"{segment.end - segment.start:8.2f}"
        self.line(f"{times}  {length}  {segment.score:5.2f}  {self.name(channel, segment.label)}", segment.label)
        self.draw()

    def file(self, file: str, summary: FileSummary, note: str | None) -> None:
        """How much there was of each label."""
        found = ", ".join(f"{printable(label)} {clock(seconds)}" for label, seconds in summary.seconds.items())
        self.line(f"{clock(summary.duration_seconds or 0.0)} heard, {plural(summary.segments, 'segment')}: {found}")

    def failed(self, file: str, problem: str) -> None:
        """stderr has it; the line that stands is left as it is."""
        if self.shown:
            self.write("\n")
            self.shown = False

    def begun(self, channel: int, start_seconds: float, label: str) -> str:
        """A line whose end is not known."""
        return f"{moment(start_seconds, HOUR_SECONDS):>12}  {'...':>12}  {'':8}  {'':5}  {self.name(channel, label)}"

    def name(self, channel: int, label: str) -> str:
        """The label, with the channel where it is not the first."""
        return printable(label) if channel == 0 else f"{printable(label)}, channel {channel}"

    def draw(self) -> None:
        """The line that stands: the onset that is open longest."""
        if not self.moving or not self.open:
            return
        (channel, label), start = min(self.open.items(), key=lambda one: one[1])
        erase = ERASE_LINE if self.shown else ""
        self.write(erase + self.coloured(self.begun(channel, start, label), label))
        self.shown = True

    def line(self, text: str, style: str = "") -> None:
        """A line that stays, in place of the one that stands."""
        self.write((ERASE_LINE if self.shown else "") + self.coloured(text, style) + "\n")
        self.shown = False

    def coloured(self, text: str, style: str) -> str:
        """The text as wide as the terminal at most, in the colour of a label."""
        from rich.text import Text

        console = self.terminal.out
        if style and style != "bold":
            style = self.colours.setdefault(style, COLOURS[len(self.colours) % len(COLOURS)])
        with console.capture() as drawn:
            console.print(Text(text, style=style), end="", no_wrap=True, overflow="ellipsis", crop=True)
        return drawn.get()
