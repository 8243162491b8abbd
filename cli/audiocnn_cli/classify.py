"""`audiocnn classify`: recordings in, one answer each out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from io import StringIO
from typing import TYPE_CHECKING, Annotated

import typer

from audiocnn_cli.detect import Resume, cluster_place, kind_of, status_of
from audiocnn_cli.exits import ExitStatus
from audiocnn_cli.options import (
    ANSWERS,
    OUTPUT,
    RUNNING,
    ClassifyFormat,
    Device,
    Files,
    InputOptions,
    Jobs,
    ManyOutputs,
    RawOptions,
    Ray,
)
from audiocnn_cli.terminal import Terminal

if TYPE_CHECKING:
    from audiocnn.classification import ClassifySettings
    from audiocnn.engine import Engine
    from audiocnn.model import Model
    from audiocnn.parallel import Reading
    from audiocnn.pcm import RawFormat
    from audiocnn_cli.answers import Answers, JsonLines, Rows, Shown
    from audiocnn_cli.batch import Batch
    from audiocnn_cli.inputs import Input
    from audiocnn_cli.output import Output
    from audiocnn_cli.outputs import Place, Results
    from audiocnn_cli.resuming import Made

SUFFIXES = {"table": (".txt",), "jsonl": (".jsonl", ".ndjson", ".json"), "csv": (".csv",), "tsv": (".tsv",)}
DEFAULT_TOP = 5

ClassifierName = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        help="A name from `audiocnn models`, or a model folder. [default: {classifier}]",
        show_default=False,
    ),
]
Top = Annotated[
    int,
    typer.Option("--top", "-k", min=1, metavar="N", help="So many labels, the best first.", rich_help_panel=ANSWERS),
]
Threshold = Annotated[
    float | None,
    typer.Option(
        "--threshold",
        metavar="SCORE",
        help="A lower score is no answer. [default: of labels that stand alone the model's, else none]",
        show_default=False,
        rich_help_panel=ANSWERS,
    ),
]
Every = Annotated[
    float | None,
    typer.Option(
        "--every",
        metavar="SECONDS",
        help="An answer for each stretch of this length, not one for the whole.",
        show_default=False,
        rich_help_panel=ANSWERS,
    ),
]
Format = Annotated[
    ClassifyFormat,
    typer.Option(
        "--format",
        "-f",
        metavar="FORMAT",
        help="jsonl, csv, tsv or table; auto: by the suffix of -o, a table on a terminal, else JSON Lines.",
        rich_help_panel=OUTPUT,
    ),
]
ExitFlag = Annotated[
    bool, typer.Option("--exit-status", help="End with 1 if there is no answer anywhere.", rich_help_panel=RUNNING)
]


def classify(
    terminal: Terminal,
    files: Files = None,
    model: ClassifierName = None,
    top: Top = DEFAULT_TOP,
    threshold: Threshold = None,
    every: Every = None,
    given: InputOptions = InputOptions(),  # noqa: B008 - frozen
    samples: RawOptions = RawOptions(),  # noqa: B008
    format: Format = ClassifyFormat.auto,
    output: ManyOutputs = ManyOutputs(),  # noqa: B008
    resume: Resume = False,
    device: Device = "auto",
    jobs: Jobs = None,
    ray: Ray = None,
    exit_status: ExitFlag = False,
) -> ExitStatus:
    """The answer is the label with the highest mean score over the clip. Of a model whose labels stand alone it is all
    labels that reach their thresholds; one whose labels exclude each other answers with one.

    \b
    audiocnn classify interview.wav
    audiocnn classify recordings/ -o answers.csv
    audiocnn classify interview.wav --every 1
    audiocnn classify archive/ -m speech_2d -k 1 | jq -r '[.file, .label] | @tsv'
    """
    from audiocnn.classification import ClassifySettings
    from audiocnn.engine import load_engine
    from audiocnn.model import DEFAULT_CLASSIFIER, find_model
    from audiocnn_cli.inputs import find_inputs, read_channel, read_raw
    from audiocnn_cli.outputs import check_place

    place = check_place(output, resume) if ray is None else cluster_place(ray, device, output, resume, format.value)
    kind = kind_of(place, format.value, terminal, SUFFIXES)
    settings = ClassifySettings(threshold, every, read_channel(given.channel))
    raw = read_raw(samples)
    inputs = find_inputs(files, given, terminal, raw)
    if place.done:
        return place.say_done(terminal)
    chosen = find_model(model or DEFAULT_CLASSIFIER)
    settings.rule(chosen)
    if ray is not None:
        from audiocnn_cli.cluster_run import ClusterJob, run_on_cluster

        asked = Asked(settings, raw, place, "jsonl", output, top, None)
        made = made_with(asked, chosen)
        job = ClusterJob(
            ray, jobs, device, output.force, given.strict, chosen, ClassifyTask(asked, made.settings), made
        )
        return status_of(run_on_cluster(job, place, inputs, terminal), exit_status)
    engine = load_engine(chosen, device, jobs)
    terminal.detail(f"model {chosen.folder} on {engine.device}, one score each {engine.hop_seconds:g} s")
    names = None
    if kind == "table" and given.files_from is None:
        known = list(inputs)
        inputs, names = iter(known), [one.name for one in known]
    asked = Asked(settings, raw, place, kind, output, top, names)
    return status_of(classify_into(asked, inputs, given, engine, terminal), exit_status)


@dataclass(frozen=True)
class Asked:
    """What is to be told of each recording, and where it goes. names: of all, where they are known and matter."""

    settings: ClassifySettings
    raw: RawFormat | None
    place: Place
    kind: str
    output: ManyOutputs
    top: int
    names: list[str] | None

    @property
    def several_clips(self) -> bool:
        """Whether a recording may have more than one answer."""
        return self.settings.every_seconds is not None or self.settings.channel == "each"


def classify_into(
    asked: Asked, inputs: Iterator[Input], given: InputOptions, engine: Engine, terminal: Terminal
) -> Batch:
    """Go over the recordings."""
    from audiocnn.parallel import score_many
    from audiocnn_cli.batch import Batch
    from audiocnn_cli.outputs import open_results

    made = made_with(asked, engine.model)
    make = partial(answers_for, asked, engine, made.settings, terminal)
    suffix, journal = SUFFIXES[asked.kind][0], made if asked.kind == "jsonl" else None
    with open_results(asked.place, suffix, asked.output, make, terminal, journal) as results:
        batch = Batch(terminal, given.strict, results.failed)
        sources = batch.sources(inputs, given.files_from is not None, results.wanted)
        with batch, closing(score_many(sources, engine, asked.settings.channel, batch.idle)) as readings:
            classify_each(batch.over(readings), batch, engine, asked, results)
        results.close(batch)
    batch.report("", engine.device)
    return batch


@dataclass(frozen=True)
class ClassifyTask:
    """The same in a worker of a cluster. sum: as in `clip` and `file` records."""

    asked: Asked
    sum: str

    @property
    def channel(self) -> str | int:
        """Of the recordings."""
        return self.asked.settings.channel

    def writer(self, out: Output, engine: Engine, terminal: Terminal) -> Answers:
        """JSON Lines."""
        return answers_for(self.asked, engine, self.sum, terminal, out)

    def each(self, readings: Iterator[Reading], batch: Batch, engine: Engine, results: Results[Answers]) -> None:
        """As on one machine."""
        classify_each(readings, batch, engine, self.asked, results)


def classify_each(
    readings: Iterator[Reading], batch: Batch, engine: Engine, asked: Asked, results: Results[Answers]
) -> None:
    """Write the answers for each recording."""
    for reading in readings:
        results.turn()
        with batch.attempt(reading.name):
            classify_one(reading, engine, asked, results, batch)


def classify_one(reading: Reading, engine: Engine, asked: Asked, results: Results[Answers], batch: Batch) -> None:
    """Write the answers for a recording. Those for a stream on stdout come as they become certain."""
    from audiocnn.classification import classify_reading
    from audiocnn_cli.answers import JsonLines, Rows
    from audiocnn_cli.inputs import is_stream

    live = results.to_stdout and asked.several_clips and is_stream(reading.name, batch.terminal)
    if live and isinstance(results.writer, JsonLines | Rows):
        answer_at_once(reading, engine, asked.settings, results.writer, batch)
        return
    found = classify_reading(reading, engine, asked.settings, batch.step)
    with results.writing(batch.now) as answers:
        answers.found(found)
    batch.segments += sum(clip.label is not None for clip in found)
    batch.finish(found.duration_seconds, found.note)


def answer_at_once(
    reading: Reading, engine: Engine, settings: ClassifySettings, writer: JsonLines | Rows, batch: Batch
) -> None:
    """Each answer for a stream as soon as it is certain; the batch flushes before it waits for more."""
    from audiocnn.classification import Classifier

    classifier = Classifier(engine, settings)
    for block in reading.blocks():
        for clip in classifier.push(block):
            writer.clip(reading.name, clip)
            batch.segments += clip.label is not None
        batch.step(reading.scored, block)
    for clip in classifier.finish(reading.scored):
        writer.clip(reading.name, clip)
        batch.segments += clip.label is not None
    found = classifier.classification(reading.scored, ())
    writer.file(found, classifier.count)
    batch.finish(found.duration_seconds, found.note)


def made_with(asked: Asked, model: Model) -> Made:
    """What the answers are made with."""
    from audiocnn_cli.resuming import Made, sum_of_settings

    settings, rule = asked.settings, asked.settings.rule(model)
    facts = [rule.several, rule.thresholds, settings.every_seconds, settings.channel, asked.top]
    total = sum_of_settings(model, facts, asked.raw)
    return Made(model.name, total, "clips" if asked.several_clips else "clip")


def shown_of(asked: Asked, engine: Engine) -> Shown:
    """What is to be shown of each clip."""
    from audiocnn_cli.answers import Shown

    several = asked.settings.rule(engine.model).several
    return Shown(engine.model.labels, several, asked.top, asked.several_clips)


def answers_for(asked: Asked, engine: Engine, settings: str, terminal: Terminal, out: Output) -> Answers:
    """The writer of a format; what goes to the terminal goes past the progress bar. settings: the sum in records."""
    from audiocnn.formats.rows import SEPARATORS
    from audiocnn_cli.answers import JsonLines, Rows, Tables

    write = terminal.write if out.path is None else out.write
    shown = shown_of(asked, engine)
    if asked.kind == "table":
        drawn = terminal if out.path is None else replace(terminal, stdout=StringIO())
        return Tables(write, drawn, shown, asked.names)
    if asked.kind == "jsonl":
        return JsonLines(write, shown, engine.model.name, settings)
    return Rows(write, shown, SEPARATORS[asked.kind])
