"""`audiocnn score`: write the score of each label at every hop."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray

from audiocnn.errors import UsageError
from audiocnn.inference.scores import ScoreBlock, ScoredRecording
from audiocnn.labels.formats import jsonl, table
from audiocnn.labels.formats.base import Writer
from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.app.options import (
    BASIC,
    Device,
    Files,
    InputOptions,
    Jobs,
    ModelName,
    RawOptions,
    RecordingOutputs,
    ScoreFormat,
    format_option,
)
from audiocnn_cli.app.terminal import Terminal
from audiocnn_cli.io.job import BatchJob, BlockProgress, run_job

if TYPE_CHECKING:
    from audiocnn.inference.engine import Engine
    from audiocnn_cli.io.inputs import Input
    from audiocnn_cli.io.output import Output

_SUFFIXES = {"csv": (".csv",), "tsv": (".tsv",), "jsonl": (".jsonl", ".ndjson", ".json"), "npz": (".npz",)}
_Format = Annotated[ScoreFormat, format_option("csv, tsv, jsonl or npz; auto: by the suffix of -o, else csv."), BASIC]


def score(
    terminal: Terminal,
    files: Files = None,
    model: ModelName = None,
    given: InputOptions = InputOptions(),  # noqa: B008 - frozen
    samples: RawOptions = RawOptions(),  # noqa: B008
    format: _Format = ScoreFormat.auto,
    output: RecordingOutputs = RecordingOutputs(),  # noqa: B008
    device: Device = "auto",
    jobs: Jobs = None,
) -> ExitStatus:
    """Rows are written while the recording is read: file, channel, start, end, and one column for each label. With
    --channel each, the channels alternate in blocks of about 30 s. An .npz file holds one recording: scores
    (channels, rows, labels), channels, hop_seconds, labels, recording.

    \b
    audiocnn score interview.wav > scores.csv
    audiocnn score interview.wav -o scores.npz
    audiocnn score archive/ --output-dir scores/ -f npz --skip-existing
    """
    from audiocnn.inference.engine import load_engine
    from audiocnn.model.model import DEFAULT_MODEL, find_model
    from audiocnn_cli.io.inputs import find_inputs, read_channel, read_raw
    from audiocnn_cli.io.output import format_of_output
    from audiocnn_cli.io.results import find_destination

    destination = find_destination(output)
    kind = format_of_output(destination.path, format.value, _SUFFIXES, "csv")
    task = ScoreTask(kind, read_channel(given.channel))
    inputs = find_inputs(files, given, terminal, read_raw(samples), destination.check)
    if kind == "npz" and destination.folder is None:
        inputs = only_one(inputs, destination.path)
    if destination.done:
        return destination.say_done(terminal)
    engine = load_engine(find_model(model or DEFAULT_MODEL), device, jobs)
    job = BatchJob(task, inputs, given, destination, _SUFFIXES[kind][0], needs_recording=kind == "npz")
    return run_job(job, engine, terminal).status()


@dataclass(frozen=True)
class ScoredBlock:
    scored: ScoredRecording
    block: ScoreBlock

    @property
    def edges(self) -> NDArray[np.float64]:
        """(rows + 1,) in seconds: the start of each row, and the end of the last, cut at the end of the recording."""
        first, rows = self.block.first_row, len(self.block.scores)
        times = np.arange(first, first + rows + 1, dtype=np.float64) * self.scored.engine.hop_seconds
        return self.block.start_seconds + np.minimum(times, self.scored.duration_seconds)


@dataclass(frozen=True)
class ScoreTask:
    kind: str
    channel: str | int

    def writer(self, out: Output, engine: Engine, terminal: Terminal) -> Writer[ScoredBlock]:
        labels = engine.model.labels
        if self.kind == "npz":
            return ScoreArrays(labels)
        return ScoreLines(labels) if self.kind == "jsonl" else ScoreRows(labels, table.CELL_SEPARATORS[self.kind])

    def results(self, scored: ScoredRecording, progress: BlockProgress, live: bool) -> Iterator[ScoredBlock]:
        for block in scored.blocks():
            yield ScoredBlock(scored, block)
            progress(scored, block)

    def count(self, result: ScoredBlock) -> int:
        return 0


def only_one(inputs: Iterator[Input], path: Path | None) -> Iterator[Input]:
    """The single recording of an .npz file. Raises UsageError for more, or without an output file."""
    if path is None:
        raise UsageError("-f npz: binary data is not written to stdout; use -o or --output-dir")
    known = list(islice(inputs, 2))
    if len(known) > 1:
        raise UsageError(f"-o {path}: an .npz file holds one recording; use --output-dir or csv")
    return iter(known)


# Text is generated for many hops at once, which is several times faster than row by row.


class ScoreRows(Writer[ScoredBlock]):
    def __init__(self, labels: Sequence[str], separator: str) -> None:
        super().__init__()
        self.labels, self.separator = labels, separator

    def begin(self) -> str:
        return table.table_row([*table.PLACE_COLUMNS, *self.labels], self.separator) + "\n"

    def recording(self, recording: ScoredBlock) -> str:
        scored, block = recording.scored, recording.block
        return table.score_rows(scored.name, block.channel, recording.edges, block.scores, self.separator)


class ScoreLines(Writer[ScoredBlock]):
    def __init__(self, labels: Sequence[str]) -> None:
        super().__init__()
        self.labels = labels

    def recording(self, recording: ScoredBlock) -> str:
        scored, block = recording.scored, recording.block
        return jsonl.score_lines(scored.name, block.channel, self.labels, recording.edges, block.scores)

    def failed(self, file: str, problem: str) -> str:
        return jsonl.dump_lines([jsonl.error_record(file, problem)])


class ScoreArrays(Writer[ScoredBlock]):
    """One recording as .npz: scores (channels, rows, labels) float32, channels, hop_seconds, labels, recording; with
    --start also start_seconds."""

    def __init__(self, labels: Sequence[str]) -> None:
        super().__init__()
        self.labels = labels
        self.blocks: dict[int, list[Any]] = {}
        self.name, self.hop_seconds, self.start_seconds = "", 0.0, 0.0

    def recording(self, recording: ScoredBlock) -> str:
        self.name, self.hop_seconds = recording.scored.name, recording.scored.engine.hop_seconds
        self.start_seconds = recording.block.start_seconds
        self.blocks.setdefault(recording.block.channel, []).append(recording.block.scores)
        return ""

    def end(self) -> bytes:
        if not self.blocks:
            return b""
        content, begins = io.BytesIO(), dict[str, Any]()
        if self.start_seconds:
            begins["start_seconds"] = np.array(self.start_seconds)
        np.savez_compressed(
            content,
            scores=np.stack([np.concatenate(blocks) for blocks in self.blocks.values()]),
            channels=np.array(list(self.blocks)),
            hop_seconds=np.array(self.hop_seconds),
            labels=np.array(self.labels),
            recording=np.array(self.name),
            **begins,
        )
        return content.getvalue()
