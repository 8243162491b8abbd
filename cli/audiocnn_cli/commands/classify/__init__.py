"""`audiocnn classify`: assign a label to each recording."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from audiocnn.errors import as_argument
from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.app.options import (
    BASIC,
    RUNNING,
    ClassifyFormat,
    ClusterOptions,
    Device,
    Files,
    InputOptions,
    Jobs,
    RawOptions,
    Ray,
    RecordingOutputs,
    flag,
    format_option,
    option,
    read_thresholds,
    sensitivity_option,
)
from audiocnn_cli.app.terminal import Terminal
from audiocnn_cli.io.job import BatchJob, BlockProgress, run_job
from audiocnn_cli.io.results import Resume, choose_format, find_destination

if TYPE_CHECKING:
    from audiocnn.audio.pcm import RawFormat
    from audiocnn.audio.recording import Selection
    from audiocnn.inference.classify import ClassifySettings
    from audiocnn.inference.engine import Engine
    from audiocnn.inference.scores import ScoredRecording
    from audiocnn.labels.formats.base import Writer
    from audiocnn.model.model import Model
    from audiocnn_cli.commands.classify.writers import ClassifyResult
    from audiocnn_cli.io.output import Output
    from audiocnn_cli.io.resume import Provenance

_ANSWERS = "Answers"
_SUFFIXES = {"table": (".txt",), "jsonl": (".jsonl", ".ndjson", ".json"), "csv": (".csv",), "tsv": (".tsv",)}
ClassifierName = Annotated[
    str | None,
    option("--model", "MODEL", "A name from `audiocnn models`, or a model folder. [default: {classifier}]", short="-m"),
    BASIC,
]
_Top = Annotated[
    int,
    typer.Option(
        "--top", "-k", min=1, metavar="N", help="Number of labels to list, the best first.", rich_help_panel=_ANSWERS
    ),
    BASIC,
]
_Threshold = Annotated[
    str | None,
    option(
        "--threshold",
        "SCORE",
        "Lowest score of an answer; or dog=0.6,cat=0.4 for single labels. [default: the model's for sigmoid output, "
        "else none]",
        _ANSWERS,
    ),
    BASIC,
]
_Sensitivity = Annotated[str | None, sensitivity_option(_ANSWERS), BASIC]
_Every = Annotated[
    float | None,
    option(
        "--every",
        "SECONDS",
        "One answer for each stretch of this length instead of one for the whole recording.",
        _ANSWERS,
    ),
    BASIC,
]
_Format = Annotated[
    ClassifyFormat,
    format_option("jsonl, csv, tsv or table; auto: by the suffix of -o, a table on a terminal, else JSON Lines."),
    BASIC,
]
_ExitFlag = Annotated[bool, flag("--exit-status", "Exit with 1 if no recording has an answer.", RUNNING)]


def classify(
    terminal: Terminal,
    files: Files = None,
    model: ClassifierName = None,
    top: _Top = 5,
    sensitivity: _Sensitivity = None,
    threshold: _Threshold = None,
    every: _Every = None,
    given: InputOptions = InputOptions(),  # noqa: B008 - frozen
    samples: RawOptions = RawOptions(),  # noqa: B008
    format: _Format = ClassifyFormat.auto,
    output: RecordingOutputs = RecordingOutputs(),  # noqa: B008
    resume: Resume = False,
    device: Device = "auto",
    jobs: Jobs = None,
    ray: Ray = None,
    exit_status: _ExitFlag = False,
) -> ExitStatus:
    """The answer is the label with the highest score. A model whose labels can occur together (sigmoid output)
    answers with every label that reaches its threshold; a model whose labels exclude each other (softmax output)
    answers with one.

    \b
    audiocnn classify interview.wav
    audiocnn classify recordings/ -o answers.csv
    audiocnn classify interview.wav --every 1
    audiocnn classify archive/ -m speech_2d -k 1 | jq -r '[.file, .label] | @tsv'
    """
    from audiocnn.inference.classify import ClassifySettings
    from audiocnn.inference.engine import load_engine
    from audiocnn.model.model import DEFAULT_CLASSIFIER, find_model
    from audiocnn_cli.io.inputs import find_inputs, read_channel, read_excerpt, read_raw

    cluster = None if ray is None else ClusterOptions(ray, jobs, device)
    if cluster is None:
        destination = find_destination(output, resume)
    else:
        from audiocnn_cli.cluster.run import cluster_destination, run_on_cluster

        destination = cluster_destination(cluster, output, resume, format)
    kind = choose_format(destination, format, terminal, _SUFFIXES)
    settings = ClassifySettings(read_thresholds(threshold), every, read_channel(given.channel), sensitivity)
    raw, excerpt = read_raw(samples), read_excerpt(given)
    inputs = find_inputs(files, given, terminal, raw, destination.check)
    if destination.done:
        return destination.say_done(terminal)
    chosen = find_model(model or DEFAULT_CLASSIFIER)
    settings.rule(chosen)
    names = None
    if kind == "table" and given.files_from is None:
        known = list(inputs)
        inputs, names = iter(known), tuple(one.name for one in known)
    provenance = classify_provenance(chosen, settings, top, raw, excerpt) if kind == "jsonl" else None
    task = ClassifyTask(settings, kind, top, provenance.settings if provenance else "", names)
    job = BatchJob(task, inputs, given, destination, _SUFFIXES[kind][0], provenance)
    if cluster is not None:
        return run_on_cluster(job, chosen, cluster, terminal).status(exit_status)
    engine = load_engine(chosen, device, jobs)
    terminal.detail(f"model {chosen.folder} on {engine.device}, one score every {engine.hop_seconds:g} s")
    return run_job(job, engine, terminal).status(exit_status)


@dataclass(frozen=True)
class ClassifyTask:
    """Answers for whole recordings or for sections of them. top: number of labels to write per answer. digest: of the
    settings, for the last record of each recording. names: of all recordings, for a table, if known."""

    settings: ClassifySettings
    kind: str
    top: int
    digest: str
    names: tuple[str, ...] | None = None

    @property
    def channel(self) -> str | int:
        return self.settings.channel

    def writer(self, out: Output, engine: Engine, terminal: Terminal) -> Writer[ClassifyResult]:
        from audiocnn_cli.commands.classify.writers import AnswerLayout, classify_writer

        model = engine.model
        rule, pooling = self.settings.rule(model), model.clip_pooling
        layout = AnswerLayout(
            labels=model.labels,
            several_labels=rule.several,
            top=self.top,
            several_clips=has_several_clips(self.settings),
            model=model.name,
            settings=self.digest,
            background=rule.background,
            clip_seconds=pooling.clip_seconds if pooling else model.geometry.near_seconds,
            reference=as_argument(model.reference),
        )
        return classify_writer(self.kind, layout, out, terminal, self.names)

    def results(self, scored: ScoredRecording, progress: BlockProgress, live: bool) -> Iterator[ClassifyResult]:
        from audiocnn.inference.classify import classify_scored

        if live and has_several_clips(self.settings) and self.kind != "table":
            yield from classify_live(scored, self.settings, progress)
        else:
            yield classify_scored(scored, self.settings, progress)

    def count(self, result: ClassifyResult) -> int:
        from audiocnn.inference.classify import Classification, Clip

        if isinstance(result, Classification):
            return sum(clip.label is not None for clip in result)
        return isinstance(result, Clip) and result.label is not None


def has_several_clips(settings: ClassifySettings) -> bool:
    """Whether a recording may have more than one answer."""
    return settings.every_seconds is not None or settings.channel == "each"


def classify_live(
    scored: ScoredRecording, settings: ClassifySettings, progress: BlockProgress
) -> Iterator[ClassifyResult]:
    """Each answer for a stream as soon as it is final, and their number at the end."""
    from audiocnn.inference.classify import Classifier
    from audiocnn_cli.commands.classify.writers import StreamEnd

    classifier = Classifier(scored.engine, settings)
    yield from scored.results(classifier, progress)
    yield StreamEnd(classifier.classification(scored, ()), classifier.count)


def classify_provenance(
    model: Model, settings: ClassifySettings, top: int, raw: RawFormat | None, excerpt: Selection | None = None
) -> Provenance:
    from audiocnn.model.model import digest_settings
    from audiocnn_cli.io.resume import Provenance

    rule = settings.rule(model)
    facts = [
        rule.several,
        rule.thresholds,
        settings.every_seconds,
        settings.channel,
        top,
        raw and dataclasses.asdict(raw),
    ]
    facts += [] if excerpt is None else [dataclasses.asdict(excerpt)]
    kind = "clips" if has_several_clips(settings) else "clip"
    return Provenance(model.name, digest_settings(model, facts), kind)
