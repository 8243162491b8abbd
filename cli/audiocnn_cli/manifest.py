"""What `split` tells: a record or a row for each stretch that was written, and where it lies."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from audiocnn.formats import jsonl, rows
from audiocnn.splitting import Cut
from audiocnn.units import clock, round_seconds
from audiocnn_cli.terminal import Terminal, printable

Write = Callable[[str], object]

COLUMNS = (
    "output",
    "file",
    "channel",
    "channels",
    "start",
    "end",
    "label",
    "score",
    "first_sample",
    "samples",
    "sample_rate",
    "output_sample",
)


@dataclass(frozen=True)
class Source:
    """A recording that was cut."""

    file: str
    duration_seconds: float | None
    sample_rate: int
    channels: int
    note: str | None = None


class Manifest(Protocol):
    """Takes each stretch as soon as its file has its name, then the recording."""

    def begin(self) -> None:
        """Before the first recording."""

    def cut(self, file: str, cut: Cut) -> None:
        """A stretch of a recording was written."""

    def done(self, source: Source, cuts: Sequence[Cut]) -> None:
        """All of a recording was."""

    def failed(self, file: str, problem: str) -> None:
        """A recording could not be done, or not all of it; stderr has it already."""


def facts_of(cut: Cut) -> dict[str, Any]:
    """A stretch, by the names of the columns; None for no score, and for all channels."""
    return {
        "channel": cut.channel,
        "channels": cut.channels,
        "start": round_seconds(cut.start_seconds),
        "end": round_seconds(cut.end_seconds),
        "label": cut.label,
        "score": None if math.isnan(cut.score) else round(float(cut.score), jsonl.SEGMENT_SCORE_DIGITS),
        "first_sample": cut.first,
        "samples": cut.samples,
        "sample_rate": cut.sample_rate,
        "output_sample": cut.place,
    }


class JsonLines:
    """`piece` records, then the `file` record; or an `error` record."""

    def __init__(self, write: Write) -> None:
        self.write = write

    def begin(self) -> None:
        """Nothing: every line says what it is."""

    def cut(self, file: str, cut: Cut) -> None:
        self.record(jsonl.piece_record(file, str(cut.path), facts_of(cut)))

    def done(self, source: Source, cuts: Sequence[Cut]) -> None:
        facts: dict[str, Any] = {}
        if source.duration_seconds is not None:
            facts["duration"] = round_seconds(source.duration_seconds)
        facts |= {"sample_rate": source.sample_rate, "channels": source.channels, "pieces": len(cuts)}
        facts["seconds"] = {label: round_seconds(seconds) for label, seconds in seconds_of(cuts).items()}
        record = jsonl.cut_record(source.file, facts, printable(source.note) if source.note else None)
        self.record(record)

    def failed(self, file: str, problem: str) -> None:
        self.record(jsonl.error_record(file, problem))

    def record(self, record: jsonl.Record) -> None:
        """One line."""
        self.write(jsonl.dumps(record) + "\n")


class Rows:
    """CSV or TSV: one row a stretch. Errors are on stderr alone."""

    def __init__(self, write: Write, separator: str) -> None:
        self.write, self.separator = write, separator

    def begin(self) -> None:
        self.write(rows.row(COLUMNS, self.separator) + "\n")

    def cut(self, file: str, cut: Cut) -> None:
        cells = {"output": str(cut.path), "file": file, **facts_of(cut)}
        self.write(rows.row(["" if cells[name] is None else cells[name] for name in COLUMNS], self.separator) + "\n")

    def done(self, source: Source, cuts: Sequence[Cut]) -> None:
        """A row is a stretch."""

    def failed(self, file: str, problem: str) -> None:
        """A table has no place for it."""


class Table:
    """For a person: a headline for each recording, and a line for each stretch."""

    def __init__(self, write: Write, terminal: Terminal) -> None:
        self.write, self.terminal = write, terminal
        self.first = True

    def begin(self) -> None:
        """Nothing."""

    def cut(self, file: str, cut: Cut) -> None:
        """Shown when the recording is done."""

    def done(self, source: Source, cuts: Sequence[Cut]) -> None:
        self.write("" if self.first else "\n")
        self.first = False
        length = f"  {clock(source.duration_seconds)}" if source.duration_seconds is not None else ""
        self.write(f"{printable(source.file)}{length}\n")
        if not cuts:
            self.write("nothing to cut out\n")
            return
        lines = [("start", "end", "length", "file")]
        for cut in cuts:
            times = (cut.start_seconds, cut.end_seconds, cut.samples / cut.sample_rate)
            start, end, seconds = (f"{time:.2f}" for time in times)
            lines.append((start, end, seconds, printable(str(cut.path))))
        wide = [max(len(line[column]) for line in lines) for column in range(3)]
        for start, end, seconds, name in lines:
            self.write(f"{start:>{wide[0]}}  {end:>{wide[1]}}  {seconds:>{wide[2]}}   {name}\n")
        totals = ", ".join(f"{clock(seconds)} of {printable(label)}" for label, seconds in seconds_of(cuts).items())
        files = len({cut.path for cut in cuts})
        self.write(f"{files} {'file' if files == 1 else 'files'}, {totals}\n")

    def failed(self, file: str, problem: str) -> None:
        """stderr has it."""


def seconds_of(cuts: Sequence[Cut]) -> dict[str, float]:
    """How long the stretches of each label are together."""
    totals: dict[str, float] = {}
    for cut in cuts:
        totals[cut.label] = totals.get(cut.label, 0.0) + cut.samples / cut.sample_rate
    return totals


def manifest_for(kind: str, write: Write, terminal: Terminal) -> Manifest:
    """The writer of a format."""
    if kind == "table":
        return Table(write, terminal)
    return JsonLines(write) if kind == "jsonl" else Rows(write, rows.SEPARATORS[kind])
