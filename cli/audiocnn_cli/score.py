"""`audiocnn score`: recordings in, a score for each label at every hop out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
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
    ManyOutputs,
    ModelName,
    RawOptions,
    ScoreFormat,
)
from audiocnn_cli.terminal import Terminal

if TYPE_CHECKING:
    from audiocnn.parallel import Reading
    from audiocnn_cli.batch import Batch
    from audiocnn_cli.inputs import Input
    from audiocnn_cli.output import Output
    from audiocnn_cli.outputs import Results
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
    output: ManyOutputs = ManyOutputs(),  # noqa: B008
    device: Device = "auto",
    jobs: Jobs = None,
) -> ExitStatus:
    """Rows come as the recording is read: file, channel, start, end, and one column for each label. With --channel
    each, the channels take turns, some 30 s at a time. An .npz file holds one recording: scores (channels, rows,
    labels), channels, hop_seconds, labels, recording.

    \b
    audiocnn score interview.wav > scores.csv
    audiocnn score interview.wav -o scores.npz
    audiocnn score archive/ --output-dir scores/ -f npz --skip-existing
    """
    from audiocnn.engine import load_engine
    from audiocnn.model import DEFAULT_MODEL, find_model
    from audiocnn.parallel import score_many
    from audiocnn_cli.batch import Batch
    from audiocnn_cli.inputs import find_inputs, read_channel, read_raw
    from audiocnn_cli.output import format_of_output
    from audiocnn_cli.outputs import check_place, open_results

    place = check_place(output)
    kind = format_of_output(place.path, format.value, SUFFIXES, "csv")
    channel = read_channel(given.channel)
    inputs = find_inputs(files, given, terminal, read_raw(samples))
    if kind == "npz" and place.folder is None:
        inputs = only_one(inputs, place.path)
    if place.done:
        return place.say_done(terminal)
    engine = load_engine(find_model(model or DEFAULT_MODEL), device, jobs)
    make = partial(make_scores, kind, engine.model.labels, terminal=terminal)
    with open_results(place, SUFFIXES[kind][0], output, make, terminal) as results:
        batch = Batch(terminal, given.strict, results.failed)
        sources = batch.sources(inputs, given.files_from is not None, results.wanted)
        with batch, closing(score_many(sources, engine, channel, batch.idle)) as readings:
            for reading in batch.over(readings):
                score_one(reading, batch, results)
        results.close(batch, needed=kind == "npz")
    batch.report("", engine.device)
    return batch.status


def score_one(reading: Reading, batch: Batch, results: Results[Scores]) -> None:
    """Write the scores of a recording."""
    results.turn()
    with batch.attempt(reading.name):
        batch.now.opened  # noqa: B018 - an error, where it has no output
        with results.writing(batch.now) as writer:
            for block in reading.blocks():
                writer.block(reading.scored, block)
                batch.step(reading.scored, block)
        batch.finish(reading.scored.duration_seconds, reading.scored.recording.note)


def make_scores(kind: str, labels: Sequence[str], out: Output, terminal: Terminal) -> Scores:
    """The writer of a format."""
    from audiocnn.formats.rows import SEPARATORS
    from audiocnn_cli.scores import Arrays, JsonLines, Rows

    write = terminal.write if out.path is None else out.write
    if kind == "npz":
        return Arrays(out.write, labels)
    return JsonLines(write, labels) if kind == "jsonl" else Rows(write, labels, SEPARATORS[kind])


def only_one(inputs: Iterator[Input], path: Path | None) -> Iterator[Input]:
    """The one recording of an .npz file; UsageError for more, or without a file to write to."""
    if path is None:
        raise UsageError("-f npz: is no text; write it to a file with -o, or to several with --output-dir")
    known = list(islice(inputs, 2))
    if len(known) > 1:
        raise UsageError(f"-o {path}: an .npz file holds one recording; write each with --output-dir, or csv")
    return iter(known)
