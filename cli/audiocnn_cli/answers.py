"""What `classify` writes for each recording: JSON Lines, CSV, TSV, or bars for a person."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from audiocnn.classification import Answer, Classification, Clip
from audiocnn.formats import jsonl, rows
from audiocnn.units import clock
from audiocnn_cli.terminal import Terminal, printable
from audiocnn_cli.timeline import draw_bar, moment

if TYPE_CHECKING:
    from rich.text import Text

Write = Callable[[str], object]
WIDE, NARROW = 60, 40  # columns
NO_ANSWER = "-"
WORTH_NAMING = 0.005  # less is 0.00 in two digits


class Answers(Protocol):
    """Takes each recording as it is done."""

    def begin(self) -> None:
        """Before the first recording."""

    def found(self, found: Classification) -> None:
        """A recording that was read."""

    def failed(self, file: str, problem: str) -> None:
        """A recording that could not be; stderr has it already."""

    def end(self) -> None:
        """After the last recording."""


@dataclass(frozen=True)
class Shown:
    """What is to be shown of each clip: so many labels, of those that the model has; and whether a recording may have
    several clips."""

    labels: tuple[str, ...]
    several_labels: bool
    top: int
    several_clips: bool = False


class JsonLines:
    """A `clip` record each, and a `file` record behind those of a recording that may have several; or an `error`."""

    def __init__(self, write: Write, shown: Shown, model: str, settings: str) -> None:
        self.write, self.shown, self.model, self.settings = write, shown, model, settings

    def begin(self) -> None:
        """Nothing: every line says what it is."""

    def found(self, found: Classification) -> None:
        if not self.shown.several_clips:
            self.record(self.whole(clip_of(found.file, found.clips[0], self.shown.top, self.model), found.note))
            return
        for clip in found:
            self.clip(found.file, clip)
        self.file(found, len(found.clips))

    def clip(self, file: str, clip: Clip) -> None:
        """One of several."""
        self.record(clip_of(file, clip, self.shown.top, self.model))

    def file(self, found: Classification, clips: int) -> None:
        """The record of a whole recording, behind its clips."""
        facts = found.duration_seconds, found.sample_rate, found.channels
        self.record(self.whole(jsonl.clips_record(found.file, *facts, clips, found.model), found.note))

    def whole(self, record: jsonl.Record, note: str | None) -> jsonl.Record:
        """The last record of a recording: whether it could be read to its end, and with what it was made."""
        damaged = {"status": "damaged", "note": printable(note)} if note else {}
        return record | damaged | {"settings": self.settings}

    def failed(self, file: str, problem: str) -> None:
        self.record(jsonl.error_record(file, problem))

    def end(self) -> None:
        """Nothing."""

    def record(self, record: jsonl.Record) -> None:
        """One line."""
        self.write(jsonl.dumps(record) + "\n")


class Rows:
    """CSV or TSV: one row a clip. Errors are on stderr alone."""

    def __init__(self, write: Write, shown: Shown, separator: str) -> None:
        self.write, self.shown, self.separator = write, shown, separator

    def begin(self) -> None:
        most = min(self.shown.top, len(self.shown.labels))
        self.write(rows.clip_header(most, self.shown.several_labels, self.separator) + "\n")

    def found(self, found: Classification) -> None:
        for clip in found:
            self.clip(found.file, clip)

    def clip(self, file: str, clip: Clip) -> None:
        """One row."""
        self.write(rows.clip_row(file, answer_of(clip), clip.top(self.shown.top), self.separator) + "\n")

    def file(self, found: Classification, clips: int) -> None:
        """A row is a clip."""

    def failed(self, file: str, problem: str) -> None:
        """A table has no place for it."""

    def end(self) -> None:
        """Nothing."""


class Tables:
    """For one recording a bar a label; for several a line each; for several clips of one a line each, below its name.

    names: of all recordings, as far as they are known, so that columns stand below each other.
    """

    def __init__(self, write: Write, terminal: Terminal, shown: Shown, names: list[str] | None) -> None:
        self.write, self.console, self.unicode, self.shown = write, terminal.out, terminal.unicode, shown
        width = self.console.width
        most = width * 2 // 5
        self.alone = names is not None and len(names) == 1 and not shown.several_clips
        self.name_width = most if names is None else min(most, max((len(printable(name)) for name in names), default=0))
        longest = max(len(printable(label)) for label in shown.labels)
        self.label_width = max(1, min(longest, width // 4 if width >= NARROW else width // 3))
        self.cells = width // 8 if width >= WIDE else 0
        self.first = True

    def begin(self) -> None:
        """Nothing."""

    def failed(self, file: str, problem: str) -> None:
        """stderr has it."""

    def end(self) -> None:
        """Nothing."""

    def found(self, found: Classification) -> None:
        with self.console.capture() as drawn:
            if self.alone:
                self.headline(found)
                self.bars(found.clips[0])
            elif self.shown.several_clips:
                if not self.first:
                    self.console.print()
                self.headline(found)
                self.stretches(found)
            else:
                self.line(self.name_of(found.file), found.clips[0])
        self.first = False
        self.write(drawn.get())

    def headline(self, found: Classification) -> None:
        """The file, and what it is."""
        from rich.text import Text

        channels = {1: "mono", 2: "stereo"}.get(found.channels, f"{found.channels} channels")
        line = Text(printable(found.file), style="bold")
        line.append(f"  {clock(found.duration_seconds)}, {found.sample_rate} Hz, {channels}", style="not bold dim")
        self.console.print(line, soft_wrap=True)

    def bars(self, clip: Clip) -> None:
        """A bar for each of the best labels; those that are in it in colour."""
        from rich.text import Text

        reached = {answer.label for answer in clip.labels}
        thresholds = dict(zip(clip.rule.labels, clip.rule.thresholds, strict=True))
        told = self.shown.several_labels or any(clip.rule.thresholds)
        room = 8 if told and self.console.width >= NARROW else 0
        cells = max(1, self.console.width - self.label_width - 6 - room)
        for label, score in clip.top(self.shown.top):
            style = "green" if label in reached else "dim"
            line = Text(f"{self.label_cell(label)} ", style="bold" if label in reached else "")
            line.append(draw_bar(score, cells, self.unicode).ljust(cells), style=style)
            line.append(f" {score:.2f}", style="not bold")
            if room:
                sign = ">=" if label in reached else "< "
                line.append(f" {sign} {thresholds[label]:.2f}", style="not bold dim")
            self.console.print(line, no_wrap=True, overflow="crop")
        if not reached:
            self.console.print(Text("no label reaches its threshold", style="yellow"), soft_wrap=True)

    def stretches(self, found: Classification) -> None:
        """A line for each clip: channel, from when, until when, and the answer."""
        several = len({clip.channel for clip in found}) > 1
        longest = found.duration_seconds
        width = len(moment(longest, longest))
        for clip in found:
            times = f"{moment(clip.start, longest):>{width}}  {moment(clip.end, longest):>{width}}"
            self.line(f"{clip.channel}  {times}" if several else times, clip)

    def line(self, place: str, clip: Clip) -> None:
        """One clip on one line: where it is, its label, a bar, its score, and what else it may be."""
        from rich.text import Text

        answered = clip.label is not None
        line = Text(f"{place}  ")
        line.append(self.label_cell(clip.label or NO_ANSWER), style="bold green" if answered else "yellow")
        line.append(f" {clip.score:.2f}")
        if self.cells:
            bar = draw_bar(clip.score, self.cells, self.unicode)
            line.append(" " + bar.ljust(self.cells), style="green" if answered else "dim")
        reached = clip.labels[1:]
        others = [one for one in clip.top(self.shown.top) if one not in clip.labels and one.score >= WORTH_NAMING]
        for answers, style in ((reached, "green"), (others, "dim")):
            self.add(line, answers, style)
        self.console.print(line, no_wrap=True, overflow="crop")

    def add(self, line: Text, answers: tuple[Answer, ...] | list[Answer], style: str) -> None:
        """As many more labels as have room."""
        for label, score in answers:
            text = f"  {printable(label)} {score:.2f}"
            if len(line) + len(text) > self.console.width:
                break
            line.append(text, style=style)

    def label_cell(self, label: str) -> str:
        """A label in its column."""
        shown = printable(label)
        if len(shown) > self.label_width:
            shown = shown[: self.label_width - 1] + ("…" if self.unicode else "~")
        return f"{shown:<{self.label_width}}"

    def name_of(self, file: str) -> str:
        """The name of a recording in its column; of a long one the end."""
        shown = printable(file)
        if len(shown) > self.name_width:
            shown = ("…" if self.unicode else "~") + shown[len(shown) - self.name_width + 1 :]
        return f"{shown:<{self.name_width}}"


def answer_of(clip: Clip) -> jsonl.ClipAnswer:
    """A clip as formats take it."""
    thresholds = dict(zip(clip.rule.labels, clip.rule.thresholds, strict=True))
    labels = [(label, score, thresholds[label]) for label, score in clip.labels] if clip.rule.several else None
    return jsonl.ClipAnswer(clip.channel, clip.start, clip.end, clip.label, clip.score, labels)


def clip_of(file: str, clip: Clip, top: int, model: str) -> jsonl.Record:
    """The record of a clip."""
    return jsonl.clip_record(file, clip.top(top), model, answer_of(clip))
