"""`audiocnn detect`: recordings in, segments out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from audiocnn_cli.exits import ExitStatus
from audiocnn_cli.options import (
    INPUT,
    OUTPUT,
    RUNNING,
    DetectFormat,
    Device,
    Files,
    InputOptions,
    Jobs,
    ModelName,
    OutputOptions,
    RawOptions,
    SegmentOptions,
)
from audiocnn_cli.terminal import Terminal

if TYPE_CHECKING:
    from audiocnn.detection import DetectSettings
    from audiocnn.engine import Engine
    from audiocnn.parallel import Reading
    from audiocnn_cli.batch import Batch
    from audiocnn_cli.findings import Findings
    from audiocnn_cli.output import Output

SUFFIXES = {"jsonl": (".jsonl", ".ndjson", ".json"), "csv": (".csv",), "tsv": (".tsv",), "table": (".txt",)}

Format = Annotated[
    DetectFormat,
    typer.Option(
        "--format",
        "-f",
        metavar="FORMAT",
        help="jsonl, csv, tsv or table; auto: by the suffix of -o, a table on a terminal, else JSON Lines.",
        rich_help_panel=OUTPUT,
    ),
]
ExitFlag = Annotated[
    bool,
    typer.Option("--exit-status", help="End with 1 if there is no segment anywhere.", rich_help_panel=RUNNING),
]
Follow = Annotated[
    bool,
    typer.Option(
        "--follow",
        help="Listen to a live stream on standard input: each onset and segment as soon as it is certain.",
        rich_help_panel=INPUT,
    ),
]


def detect(
    terminal: Terminal,
    files: Files = None,
    model: ModelName = None,
    rule: SegmentOptions = SegmentOptions(),  # noqa: B008 - frozen
    given: InputOptions = InputOptions(),  # noqa: B008
    samples: RawOptions = RawOptions(),  # noqa: B008
    follow: Follow = False,
    format: Format = DetectFormat.auto,
    output: OutputOptions = OutputOptions(),  # noqa: B008
    device: Device = "auto",
    jobs: Jobs = None,
    exit_status: ExitFlag = False,
) -> ExitStatus:
    """Off a terminal every segment is a line of JSON, and so is every file; on a terminal you get a table and a
    timeline. A bad file does not stop the others.

    \b
    audiocnn detect interview.wav
    audiocnn detect recordings/ -o segments.csv
    sox in.mp3 -t wav - | audiocnn detect - | jq .
    arecord -q -f S16_LE -r 16000 | audiocnn detect --follow -
    """
    from audiocnn.engine import load_engine
    from audiocnn.model import DEFAULT_MODEL, find_model
    from audiocnn.parallel import score_many
    from audiocnn_cli.batch import Batch
    from audiocnn_cli.findings import plural
    from audiocnn_cli.follow import check_follow, follow_stream
    from audiocnn_cli.inputs import find_inputs, read_channel, read_raw
    from audiocnn_cli.output import check_output, format_of_output, open_output

    path = check_output(output.output, output.force)
    fallback = "table" if path is None and terminal.shows_tables else "jsonl"
    kind = format_of_output(path, format.value, SUFFIXES, fallback)
    settings = detect_settings(rule, read_channel(given.channel))
    raw = read_raw(samples)
    if follow:
        check_follow(files, given)
    inputs = find_inputs(files, given, terminal, raw)
    chosen = find_model(model or DEFAULT_MODEL)
    settings.rules(chosen)
    engine = load_engine(chosen, device, jobs)
    terminal.detail(f"model {chosen.folder} on {engine.device}, one score each {engine.hop_seconds:g} s")
    with open_output(path, terminal) as out:
        if follow:
            return status_of(follow_stream(terminal, engine, settings, raw, kind, out), exit_status)
        findings = findings_for(kind, out, terminal)
        findings.begin()
        batch = Batch(terminal, given.strict, findings.failed)
        sources = batch.sources(inputs, given.files_from is not None)
        with batch, closing(score_many(sources, engine, settings.channel, batch.idle)) as readings:
            detect_each(batch.over(readings), batch, engine, settings, findings, out)
        out.drop = batch.failed > 0 and not batch.done  # errors alone are on stderr
    batch.report(f"{plural(batch.segments, 'segment')} in ", engine.device)
    return status_of(batch, exit_status)


def detect_each(
    readings: Iterator[Reading], batch: Batch, engine: Engine, settings: DetectSettings, findings: Findings, out: Output
) -> None:
    """Write what is found in each recording. What is written to a file is whole recordings; on stdout the segments of a
    stream come as they become certain."""
    from audiocnn.parallel import detect_reading
    from audiocnn_cli.findings import JsonLines, Rows
    from audiocnn_cli.follow import found_at_once
    from audiocnn_cli.inputs import is_stream

    for reading in readings:
        with batch.attempt(reading.name):
            live = out.path is None and is_stream(reading.name, batch.terminal)
            if live and isinstance(findings, JsonLines | Rows):
                found_at_once(reading, engine, settings, findings, batch)
                continue
            found = detect_reading(reading, engine, settings, batch.step)
            findings.found(found)
            out.keep = True  # whole recordings are worth keeping, whatever happens to the next
            batch.segments += len(found.segments)
            batch.finish(found.duration_seconds, found.note)


def status_of(batch: Batch, exit_status: bool) -> ExitStatus:
    """How it ends; with --exit-status it matters whether anything was found."""
    if exit_status and batch.status is ExitStatus.OK and not batch.segments:
        return ExitStatus.NOTHING_FOUND
    return batch.status


def detect_settings(rule: SegmentOptions, channel: str | int = "mix") -> DetectSettings:
    """The options as the library has them."""
    from audiocnn.detection import DetectSettings

    return DetectSettings(
        threshold=rule.threshold,
        neg_threshold=rule.neg_threshold,
        min_speech_seconds=rule.min_speech,
        min_silence_seconds=rule.min_silence,
        pad_seconds=rule.pad,
        max_speech_seconds=rule.max_speech,
        channel=channel,
    )


def findings_for(kind: str, out: Output, terminal: Terminal) -> Findings:
    """The writer of a format; what goes to the terminal goes past the progress bar."""
    from audiocnn.formats.rows import SEPARATORS
    from audiocnn_cli.findings import JsonLines, Rows, Tables

    write = terminal.write if out.path is None else out.write
    if kind == "table":
        return Tables(write, terminal)
    return JsonLines(write) if kind == "jsonl" else Rows(write, SEPARATORS[kind])
