"""`audiocnn detect`: recordings in, segments out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from io import StringIO
from typing import TYPE_CHECKING, Annotated

import typer

from audiocnn.errors import UsageError
from audiocnn.formats import FORMATS
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
    ManyOutputs,
    ModelName,
    RawOptions,
    Ray,
    SegmentOptions,
)
from audiocnn_cli.terminal import Terminal

if TYPE_CHECKING:
    from audiocnn.detection import DetectSettings
    from audiocnn.engine import Engine
    from audiocnn.parallel import Reading
    from audiocnn.pcm import RawFormat
    from audiocnn_cli.batch import Batch
    from audiocnn_cli.findings import Findings
    from audiocnn_cli.inputs import Input
    from audiocnn_cli.output import Output
    from audiocnn_cli.outputs import Place, Results

# The first that fits a name has it; formats that share an ending with one above are asked for with -f.
SUFFIXES = {"table": (".txt",)} | {
    name: tuple(suffix.lower() for suffix in one.suffixes) for name, one in FORMATS.items() if one.writes
}

Format = Annotated[
    DetectFormat,
    typer.Option(
        "--format",
        "-f",
        metavar="FORMAT",
        help=f"{', '.join(FORMATS)} or table; auto: by the suffix of -o, a table on a terminal, else JSON Lines.",
        rich_help_panel=OUTPUT,
    ),
]
ExitFlag = Annotated[
    bool,
    typer.Option("--exit-status", help="End with 1 if there is no segment anywhere.", rich_help_panel=RUNNING),
]
Resume = Annotated[
    bool,
    typer.Option("--resume", help="Go on with what a run that was cut off has finished of -o.", rich_help_panel=OUTPUT),
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
    output: ManyOutputs = ManyOutputs(),  # noqa: B008
    resume: Resume = False,
    device: Device = "auto",
    jobs: Jobs = None,
    ray: Ray = None,
    exit_status: ExitFlag = False,
) -> ExitStatus:
    """Off a terminal every segment is a line of JSON, and so is every file; on a terminal you get a table and a
    timeline. A bad file does not stop the others.

    \b
    audiocnn detect interview.wav
    audiocnn detect recordings/ -o segments.csv
    audiocnn detect archive/ -o found.jsonl --resume
    audiocnn detect archive/ --output-dir labels/ -f textgrid --skip-existing
    sox in.wav -t wav - | audiocnn detect - | jq .
    arecord -q -f S16_LE -r 16000 | audiocnn detect --follow -
    """
    from audiocnn.engine import load_engine
    from audiocnn.model import DEFAULT_MODEL, find_model
    from audiocnn_cli.findings import check_number
    from audiocnn_cli.follow import check_follow
    from audiocnn_cli.inputs import find_inputs, read_channel, read_raw
    from audiocnn_cli.outputs import check_alone, check_place

    place = check_place(output, resume) if ray is None else cluster_place(ray, device, output, resume, format.value)
    kind = kind_of(place, format.value, terminal)
    settings = detect_settings(rule, read_channel(given.channel))
    raw = read_raw(samples)
    if follow:
        check_follow(files, given, kind)
        check_alone(place, "--follow")
    inputs = find_inputs(files, given, terminal, raw)
    if place.folder is None:
        inputs = check_number(inputs, kind)
    if place.done:
        return place.say_done(terminal)
    chosen = find_model(model or DEFAULT_MODEL)
    settings.rules(chosen)
    if ray is not None:
        from audiocnn_cli.cluster_run import ClusterJob, run_on_cluster
        from audiocnn_cli.resuming import made_with

        made = made_with(chosen, settings, raw)
        job = ClusterJob(
            ray, jobs, device, output.force, given.strict, chosen, DetectTask(settings, made.settings), made
        )
        return status_of(run_on_cluster(job, place, inputs, terminal), exit_status)
    engine = load_engine(chosen, device, jobs)
    terminal.detail(f"model {chosen.folder} on {engine.device}, one score each {engine.hop_seconds:g} s")
    asked = Asked(settings, raw, place, kind, output)
    batch = follow_into(asked, engine, terminal) if follow else detect_into(asked, inputs, given, engine, terminal)
    return status_of(batch, exit_status)


@dataclass(frozen=True)
class Asked:
    """What is to be found, and where it goes."""

    settings: DetectSettings
    raw: RawFormat | None
    place: Place
    kind: str
    output: ManyOutputs


def detect_into(
    asked: Asked, inputs: Iterator[Input], given: InputOptions, engine: Engine, terminal: Terminal
) -> Batch:
    """Go over the recordings."""
    from audiocnn.parallel import score_many
    from audiocnn_cli.batch import Batch
    from audiocnn_cli.findings import plural
    from audiocnn_cli.outputs import open_results
    from audiocnn_cli.resuming import made_with

    kind, settings = asked.kind, asked.settings
    made = made_with(engine.model, settings, asked.raw) if kind == "jsonl" else None
    make = partial(findings_for, kind, terminal=terminal, settings=made.settings if made else "")
    with open_results(asked.place, suffix_of(kind), asked.output, make, terminal, made) as results:
        batch = Batch(terminal, given.strict, results.failed)
        sources = batch.sources(inputs, given.files_from is not None, results.wanted)
        with batch, closing(score_many(sources, engine, settings.channel, batch.idle)) as readings:
            detect_each(batch.over(readings), batch, engine, settings, results)
        results.close(batch)
    batch.report(f"{plural(batch.segments, 'segment')} in ", engine.device)
    return batch


@dataclass(frozen=True)
class DetectTask:
    """The same in a worker of a cluster. sum: as in `file` records."""

    settings: DetectSettings
    sum: str

    @property
    def channel(self) -> str | int:
        """Of the recordings."""
        return self.settings.channel

    def writer(self, out: Output, engine: Engine, terminal: Terminal) -> Findings:
        """JSON Lines."""
        return findings_for("jsonl", out, terminal, self.sum)

    def each(self, readings: Iterator[Reading], batch: Batch, engine: Engine, results: Results[Findings]) -> None:
        """As on one machine."""
        detect_each(readings, batch, engine, self.settings, results)


def follow_into(asked: Asked, engine: Engine, terminal: Terminal) -> Batch:
    """Listen to standard input."""
    from audiocnn_cli.follow import follow_stream
    from audiocnn_cli.output import open_output

    with open_output(asked.place.path, terminal, replace=asked.output.force) as out:
        return follow_stream(terminal, engine, asked.settings, asked.raw, asked.kind, out)


def detect_each(
    readings: Iterator[Reading], batch: Batch, engine: Engine, settings: DetectSettings, results: Results[Findings]
) -> None:
    """Write what is found in each recording. What is written to a file is whole recordings; on stdout the segments of a
    stream come as they become certain."""
    from audiocnn.parallel import detect_reading
    from audiocnn_cli.findings import JsonLines, Rows
    from audiocnn_cli.follow import found_at_once
    from audiocnn_cli.inputs import is_stream

    for reading in readings:
        results.turn()
        with batch.attempt(reading.name):
            live = results.to_stdout and is_stream(reading.name, batch.terminal)
            if live and isinstance(results.writer, JsonLines | Rows):
                found_at_once(reading, engine, settings, results.writer, batch)
                continue
            found = detect_reading(reading, engine, settings, batch.step)
            with results.writing(batch.now) as findings:
                findings.found(found)
            batch.segments += len(found.segments)
            batch.finish(found.duration_seconds, found.note)


def kind_of(place: Place, given: str, terminal: Terminal, suffixes: dict[str, tuple[str, ...]] = SUFFIXES) -> str:
    """The format to write. UsageError for one that cannot be gone on with, where that is wanted."""
    from audiocnn_cli.output import format_of_output

    to_stdout = place.path is None and place.folder is None
    kind = format_of_output(place.path, given, suffixes, "table" if to_stdout and terminal.shows_tables else "jsonl")
    if place.resume and kind != "jsonl":
        raise UsageError(f"--resume: {kind} does not say which recordings are done; write jsonl, and convert that")
    return kind


def cluster_place(address: str, device: str, output: ManyOutputs, resume: bool, format: str) -> Place:
    """Where the results go with --ray. UsageError, before Ray is started, for what it cannot do."""
    from audiocnn_cli.cluster import check_address
    from audiocnn_cli.cluster_parts import check_folder

    if format not in ("auto", "jsonl"):
        raise UsageError(f"--ray writes JSON Lines; leave out -f {format}, and convert them")
    check_address(address, device)
    return check_folder(output, resume)


def suffix_of(kind: str) -> str:
    """How names of files of a format end."""
    return FORMATS[kind].suffixes[0] if kind in FORMATS else SUFFIXES[kind][0]


def status_of(batch: Batch, exit_status: bool) -> ExitStatus:
    """How it ends; with --exit-status it matters whether anything was found."""
    if exit_status and batch.status is ExitStatus.OK and not batch.segments + batch.segments_before:
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


def findings_for(kind: str, out: Output, terminal: Terminal, settings: str = "") -> Findings:
    """The writer of a format; what goes to the terminal goes past the progress bar. settings: as in `file` records."""
    from audiocnn.formats.rows import SEPARATORS
    from audiocnn_cli.findings import JsonLines, Rows, Tables, Written

    write = terminal.write if out.path is None else out.write
    if kind == "table":
        return Tables(write, terminal if out.path is None else replace(terminal, stdout=StringIO()))
    if kind not in ("jsonl", *SEPARATORS):
        return Written(write, kind, terminal)
    return JsonLines(write, settings) if kind == "jsonl" else Rows(write, SEPARATORS[kind])
