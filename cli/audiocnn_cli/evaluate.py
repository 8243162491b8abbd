"""`audiocnn evaluate`: a model and recordings whose segments are known in, figures out."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from audiocnn.addresses import refuse_urls
from audiocnn.errors import AudiocnnError, UsageError
from audiocnn_cli.clip_files import ClipOutputs, clip_paths, write_clip_files
from audiocnn_cli.exits import ExitStatus
from audiocnn_cli.options import Device, Jobs, OutputOptions, ReportFormat, SegmentOptions, Table, seconds_option
from audiocnn_cli.progress import Bar, rate
from audiocnn_cli.sets import check_columns, part_in, part_of, recordings_of, set_of, source_of
from audiocnn_cli.sides import Against, Html, Side, check_page, check_place, model_side, peer_sides, write_page
from audiocnn_cli.terminal import Terminal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from audiocnn.dataset import Dataset
    from audiocnn.engine import Engine
    from audiocnn.evaluation import Scorer
    from audiocnn.figures import Evaluation, EvaluationSettings
    from audiocnn.sources import DataSettings
    from audiocnn_cli.reports import Report

Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="A dataset, a source as for `ingest`, a recipe with [data], or one with [[conditions]].",
        show_default=False,
    ),
]
Models = Annotated[
    list[str] | None,
    typer.Option("--model", "-m", metavar="MODEL", help="Give it again to compare. [default: {model}]"),
]
Split = Annotated[
    str | None,
    typer.Option(
        "--split", metavar="NAME", help="One split of the data. [default: the recipe's, else all; of conditions dev]"
    ),
]


@dataclasses.dataclass(frozen=True)
class JudgeOptions:
    """How figures are made."""

    resamples: Annotated[
        int | None,
        typer.Option("--resamples", min=0, metavar="N", help="Draws for the intervals. [default: {resamples}]"),
    ] = None
    collar: Annotated[
        float | None,
        typer.Option(
            "--collar",
            metavar="SECONDS",
            help="Of the error rate that leaves out edges; no other figure does. [default: {collar_seconds}]",
        ),
    ] = None
    smooth: Annotated[
        list[float] | None,
        typer.Option(
            "--smooth",
            metavar="SECONDS",
            help="Curves of scores smoothed over so long, too. May be repeated. [default: {smoothing_seconds}]",
        ),
    ] = None
    by: Annotated[
        list[str] | None,
        typer.Option("--by", metavar="COLUMN", help="Figures for each value of a column, too. May be repeated."),
    ] = None
    seed: Annotated[int | None, typer.Option("--seed", min=0, metavar="N", help="[default: {seed}]")] = None


@dataclasses.dataclass(frozen=True)
class JudgedSegments(SegmentOptions):
    """How scores become segments that are judged: edges are as found."""

    pad: Annotated[float | None, seconds_option("--pad", "Widen segments on both sides. [default: 0]")] = 0.0


def evaluate(
    terminal: Terminal,
    data: Data,
    models: Models = None,
    against: Against = None,
    split: Split = None,
    judge: JudgeOptions = JudgeOptions(),
    rule: JudgedSegments = JudgedSegments(),
    format: Table = ReportFormat.auto,
    output: OutputOptions = OutputOptions(),  # noqa: B008
    html: Html = None,
    clips: ClipOutputs = ClipOutputs(),  # noqa: B008
    device: Device = "auto",
    jobs: Jobs = None,
) -> ExitStatus:
    """Figures are of 10 ms frames and of segments, with 95 % intervals from drawing groups of recordings anew; of
    several models the differences to the first, too, draw by draw. A source that is not a dataset is ingested
    first, beside the output, or into a temporary folder.

    \b
    audiocnn evaluate meetings/ -m speech_1d -m speech_2d
    audiocnn evaluate meetings/ --against silero,webrtc --html report.html
    audiocnn evaluate speech.toml --split test -o report.json
    audiocnn evaluate birds/ -m runs/birds --html report.html --doubtful 50
    """
    from audiocnn.engine import load_engine
    from audiocnn.model import DEFAULT_MODEL, find_model
    from audiocnn_cli.output import check_output, is_plain
    from audiocnn_cli.reports import Report, with_differences

    refuse_urls(data)
    path = check_output(output.output, output.force)
    if path is not None and is_plain(path):
        check_place("-o", path)
    page = check_page(html, path, output.force)
    files = clip_paths(clips, (path, page), len(models or [DEFAULT_MODEL]), output.force)
    settings, split = judge_settings(judge), part_of(data, split)
    engines = [load_engine(find_model(name), device, jobs) for name in models or [DEFAULT_MODEL]]
    sides = [*(model_side(engine.model, scorer_of(engine, rule)) for engine in engines), *peer_sides(against, rule)]
    counts = Counter[str]()
    with dataset_of(data, split, path, engines, sides, terminal, counts) as (dataset, part):
        check_columns(dataset, settings.group_by, data)
        for engine in engines:
            check_channels(dataset, engine)
        reports = []
        for side in sides:
            about = (side.name, side.folder, side.tuned_on, side.thresholds, data, split)
            found = judged(dataset, side.scorer, settings, part, side.name, terminal)
            reports.append(Report(*about, *found, version=side.version))
        reports = with_differences(reports, terminal)
        write_reports(reports, path, format, terminal)
        if page is not None:
            write_page(reports, page, dataset)
        write_clip_files(reports[0], dataset, files, terminal)
    failed = counts["refused"] or any(report.evaluation.failures for report in reports)
    return ExitStatus.SOME_FAILED if failed else ExitStatus.OK


def write_reports(reports: Sequence[Report], path: Path | None, format: ReportFormat, terminal: Terminal) -> None:
    """A file if one is named; besides, a table where it is wanted; without either, JSON Lines."""
    from audiocnn_cli.output import open_output
    from audiocnn_cli.reports import write_json, write_table

    if path is not None:
        with open_output(path, terminal) as out:
            write_json(reports, out.write, pretty=True)
    if terminal.wants_table(format):
        write_table(reports, terminal)
    elif path is None:
        write_json(reports, terminal.write, pretty=False)


def judge_settings(judge: JudgeOptions) -> EvaluationSettings:
    """The options as the library has them."""
    from audiocnn.figures import EvaluationSettings

    given = {"resamples": judge.resamples, "collar_seconds": judge.collar, "seed": judge.seed}
    values: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if judge.smooth:
        values["smoothing_seconds"] = tuple(dict.fromkeys(judge.smooth))
    return EvaluationSettings(**values, group_by=tuple(judge.by or ()))


def scorer_of(engine: Engine, rule: SegmentOptions) -> Scorer:
    """A model as `evaluation` wants it."""
    from audiocnn.evaluation import Scorer
    from audiocnn_cli.detect import detect_settings

    rules = detect_settings(rule).rules(engine.model)
    wanted = engine.channels

    def score(samples: NDArray[np.float32]) -> NDArray[np.float32]:
        if wanted == 1 and len(samples) > 1:
            samples = samples.mean(axis=0, keepdims=True)
        elif wanted > len(samples):
            samples = samples.repeat(wanted, axis=0)
        return engine.outputs(samples)

    # Twice as many as the network has threads: so clips of one length wait together, and are one batch.
    jobs = 2 * engine.jobs
    model = engine.model
    rate, hop_seconds = engine.geometry.sample_rate, engine.hop_seconds
    return Scorer(
        score,
        rate,
        hop_seconds,
        model.labels,
        rules,
        jobs,
        answer="several" if model.answer == "several" else "one",
        localiser=model.localiser,
    )


def check_channels(dataset: Dataset, engine: Engine) -> None:
    """UsageError where a network of several channels gets another number of them."""
    if engine.channels > 1 and dataset.channels not in (1, engine.channels):
        raise UsageError(
            f"{dataset.folder}: has {dataset.channels} channels and {engine.model.name} wants {engine.channels};"
            " ingest with that many"
        )


def judged(
    dataset: Dataset, scorer: Scorer, settings: EvaluationSettings, part: str | None, name: str, terminal: Terminal
) -> tuple[Evaluation, float, float]:
    """The evaluation, the seconds of sound that were scored, and the seconds that this took."""
    from audiocnn.evaluation import evaluate as steps_of

    began, sound, scored_in = time.monotonic(), 0.0, 0.0
    with Bar(terminal, name) as bar:
        for step in steps_of(dataset, scorer, settings, part):
            if step.evaluation is not None:
                return step.evaluation, sound, scored_in
            sound, scored_in = sound + step.seconds, time.monotonic() - began
            if step.error:
                terminal.error(f"{step.filename}: {step.error}")
            bar.update(step.done, step.total, f"{step.done} of {step.total}, {rate(sound, scored_in)}")
    raise AssertionError("evaluate ends with an evaluation")


@contextmanager
def dataset_of(
    data: str,
    split: str | None,
    output: Path | None,
    engines: list[Engine],
    sides: list[Side],
    terminal: Terminal,
    counts: Counter[str] | None = None,
) -> Iterator[tuple[Dataset, str | None]]:
    """The dataset, and which split of it to judge. What is no dataset is ingested beside the output, else for now;
    what has conditions is made into a set there. What was done is added to `counts`: files "refused", and so on."""
    from audiocnn.conditions import is_conditions, read_conditions
    from audiocnn.dataset import Dataset, is_dataset
    from audiocnn.ingest import IngestSettings, cached_dataset
    from audiocnn.sources import DataSettings, apply_settings
    from audiocnn_cli.following import IngestFollower
    from audiocnn_cli.training_data import cache_beside

    if is_dataset(data):
        yield Dataset.open(data), split
        return
    conditions = read_conditions(Path(data)) if split and is_conditions(data) else None
    source: Path | DataSettings
    if conditions and split:
        source, part, recipe = recordings_of(conditions, split), None, None
    else:
        several = any(engine.model.answer == "several" for engine in engines)
        source, part, recipe = source_of(data, split, several)
    if isinstance(source, DataSettings) and is_dataset(source.source):
        dataset = apply_settings(Dataset.open(source.source), source)
        yield part_in(dataset, source.split or part, recipe)
        return
    channels = max(engine.channels for engine in engines)
    settings = IngestSettings(sample_rate=max(side.scorer.sample_rate for side in sides), channels=channels)
    with tempfile.TemporaryDirectory(prefix="audiocnn-") as temporary, named_as(data, temporary):
        kept = cache_beside(output.with_suffix(""), source, settings) if output else None
        cache = kept or Path(temporary) / "dataset"
        with IngestFollower(terminal, "ingest") as follower:
            dataset = cached_dataset(source, cache, settings, follower)
        if counts is not None:
            counts.update(follower.counts)
        if conditions and split:
            dataset = set_of(conditions, dataset, split, cache.with_suffix(".set"), terminal)
        yield part_in(dataset, part, recipe)


@contextmanager
def named_as(data: str, temporary: str) -> Iterator[None]:
    """Errors name the data that were given where they would name a temporary folder."""
    try:
        yield
    except AudiocnnError as error:
        told = str(error).replace(str(Path(temporary) / "dataset"), data)
        if told == str(error):
            raise
        raise type(error)(told) from error
