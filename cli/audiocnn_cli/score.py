"""`audiocnn score`: recordings in, a score for each label at every hop out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audiocnn.errors import UsageError
from audiocnn_cli.exits import ExitStatus
from audiocnn_cli.options import (
    OUTPUT,
    Device,
    Files,
    InputOptions,
    Jobs,
    ModelName,
    OutputOptions,
    RawOptions,
    ScoreFormat,
)
from audiocnn_cli.terminal import Terminal

if TYPE_CHECKING:
    from audiocnn_cli.inputs import Input
    from audiocnn_cli.output import Output
    from audiocnn_cli.scores import Scores

SUFFIXES = {"csv": (".csv",), "tsv": (".tsv",), "jsonl": (".jsonl", ".ndjson", ".json"), "npz": (".npz",)}

Format = Annotated[
    ScoreFormat,
    typer.Option(
        "--format",
        "-f",
        metavar="FORMAT",
        help="csv, tsv, jsonl or npz; auto: by the suffix of -o, else csv.",
        rich_help_panel=OUTPUT,
    ),
]


def score(
    terminal: Terminal,
    files: Files = None,
    model: ModelName = None,
    given: InputOptions = InputOptions(),  # noqa: B008 - frozen
    samples: RawOptions = RawOptions(),  # noqa: B008
    format: Format = ScoreFormat.auto,
    output: OutputOptions = OutputOptions(),  # noqa: B008
    device: Device = "auto",
    jobs: Jobs = None,
) -> ExitStatus:
    """Rows come as the recording is read: file, channel, start, end, and one column for each label. With --channel
    each, the channels take turns, some 30 s at a time. An .npz file holds one recording: scores (channels, rows,
    labels), channels, hop_seconds, labels, recording.

    \b
    audiocnn score interview.wav > scores.csv
    audiocnn score interview.wav -o scores.npz
    """
    from audiocnn.engine import load_engine
    from audiocnn.model import DEFAULT_MODEL, find_model
    from audiocnn.parallel import score_many
    from audiocnn_cli.batch import Batch
    from audiocnn_cli.inputs import find_inputs, read_channel, read_raw
    from audiocnn_cli.output import check_output, format_of_output, open_output

    path = check_output(output.output, output.force)
    kind = format_of_output(path, format.value, SUFFIXES, "csv")
    channel = read_channel(given.channel)
    inputs = find_inputs(files, given, terminal, read_raw(samples))
    if kind == "npz":
        inputs = only_one(inputs, path)
    engine = load_engine(find_model(model or DEFAULT_MODEL), device, jobs)
    with open_output(None if kind == "npz" else path, terminal) as out:
        writer = make_scores(kind, engine.model.labels, path, out, terminal)
        writer.begin()
        batch = Batch(terminal, given.strict, writer.failed)
        sources = batch.sources(inputs, given.files_from is not None)
        with batch, closing(score_many(sources, engine, channel, batch.idle)) as readings:
            for reading in batch.over(readings):
                with batch.attempt(reading.name):
                    for block in reading.blocks():
                        writer.block(reading.scored, block)
                        batch.step(reading.scored, block)
                    batch.finish(reading.scored.duration_seconds, reading.scored.recording.note)
        if batch.done:
            writer.end()
        out.drop = batch.failed > 0 and not batch.done
    batch.report("", engine.device)
    return batch.status


def make_scores(kind: str, labels: Sequence[str], path: Path | None, out: Output, terminal: Terminal) -> Scores:
    """The writer of a format."""
    from audiocnn.formats.rows import SEPARATORS
    from audiocnn_cli.scores import Arrays, JsonLines, Rows

    if kind == "npz":
        assert path is not None
        return Arrays(path, labels)
    write = terminal.write if out.path is None else out.write
    return JsonLines(write, labels) if kind == "jsonl" else Rows(write, labels, SEPARATORS[kind])


def only_one(inputs: Iterator[Input], path: Path | None) -> Iterator[Input]:
    """The one recording of an .npz file; UsageError for more, or without a file to write to."""
    if path is None:
        raise UsageError("-f npz: is no text; write it to a file with -o")
    known = list(islice(inputs, 2))
    if len(known) > 1:
        raise UsageError(f"-o {path}: an .npz file holds one recording; name one, or write csv or jsonl")
    return iter(known)
