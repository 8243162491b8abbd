"""The list of pieces that `split` writes: a record or row for each piece, with its path."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from audiocnn.errors import printable
from audiocnn.labels.formats.base import Writer, file_fields, round_score
from audiocnn.labels.formats.jsonl import JsonLinesWriter, Record, last_record, record_head
from audiocnn.labels.formats.table import CELL_SEPARATORS, Cells, TableWriter
from audiocnn.labels.split import Cut
from audiocnn.units import clock, plural, round_seconds

_COLUMNS = (
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
class WrittenCut:
    """A section of a recording whose file is complete."""

    file: str
    cut: Cut


@dataclass(frozen=True)
class CutRecording:
    file: str
    duration_seconds: float | None
    sample_rate: int
    channels: int
    note: str | None
    remarks: Sequence[str]
    cuts: Sequence[Cut]

    def label_seconds(self) -> dict[str, float]:
        totals: dict[str, float] = {}
        for cut in self.cuts:
            totals[cut.label] = totals.get(cut.label, 0.0) + cut.samples / cut.sample_rate
        return totals


SplitResult = WrittenCut | CutRecording


def split_writer(kind: str) -> Writer[SplitResult]:
    if kind == "table":
        return PieceTable()
    return JsonLinesWriter(_records) if kind == "jsonl" else TableWriter(_COLUMNS, _rows, CELL_SEPARATORS[kind])


def _records(result: SplitResult) -> Iterator[Record]:
    """`piece` records, then the `file` record."""
    if isinstance(result, WrittenCut):
        piece = record_head("piece", result.file) | file_fields("output", str(result.cut.path))
        yield piece | _cut_facts(result.cut)
        return
    record = record_head("file", result.file) | {"status": "ok"}
    if result.duration_seconds is not None:
        record["duration"] = round_seconds(result.duration_seconds)
    record |= {"sample_rate": result.sample_rate, "channels": result.channels, "pieces": len(result.cuts)}
    record["seconds"] = {label: round_seconds(seconds) for label, seconds in result.label_seconds().items()}
    note = printable(result.note) if result.note else None
    yield last_record(record, note, [printable(remark) for remark in result.remarks])


def _rows(result: SplitResult) -> Iterator[Cells]:
    if isinstance(result, WrittenCut):
        cells = {"output": str(result.cut.path), "file": result.file, **_cut_facts(result.cut)}
        yield ["" if cells[name] is None else cells[name] for name in _COLUMNS]


def _cut_facts(cut: Cut) -> dict[str, Any]:
    """The values of a cut by column name; None for no score, and for all channels."""
    return {
        "channel": cut.channel,
        "channels": cut.channels,
        "start": round_seconds(cut.start_seconds),
        "end": round_seconds(cut.end_seconds),
        "label": cut.label,
        "score": None if math.isnan(cut.score) else round_score(cut.score),
        "first_sample": cut.first,
        "samples": cut.samples,
        "sample_rate": cut.sample_rate,
        "output_sample": cut.place,
    }


class PieceTable(Writer[SplitResult]):
    """Output to read: a headline for each recording, and a line for each piece."""

    def __init__(self) -> None:
        super().__init__()
        self.between = ""

    def recording(self, recording: SplitResult) -> str:
        if isinstance(recording, WrittenCut):
            return ""
        between, self.between = self.between, "\n"
        length = "" if recording.duration_seconds is None else f"  {clock(recording.duration_seconds)}"
        text = f"{between}{printable(recording.file)}{length}\n"
        if not recording.cuts:
            return text + "nothing to cut out\n"
        lines = [("start", "end", "length", "file")]
        for cut in recording.cuts:
            times = (cut.start_seconds, cut.end_seconds, cut.samples / cut.sample_rate)
            start, end, seconds = (f"{time:.2f}" for time in times)
            lines.append((start, end, seconds, printable(str(cut.path))))
        wide = [max(len(line[column]) for line in lines) for column in range(3)]
        for start, end, seconds, name in lines:
            text += f"{start:>{wide[0]}}  {end:>{wide[1]}}  {seconds:>{wide[2]}}   {name}\n"
        totals = ", ".join(f"{clock(time)} of {printable(label)}" for label, time in recording.label_seconds().items())
        return text + f"{plural(len({cut.path for cut in recording.cuts}), 'file')}, {totals}\n"
