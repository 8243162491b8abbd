"""`audiocnn evaluate`: measure a model on annotated recordings."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from audiocnn.audio.remote import refuse_urls
from audiocnn.errors import as_argument, format_command
from audiocnn.workflows.label_place import label_words
from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.app.options import (
    BASIC,
    Device,
    Jobs,
    JudgedData,
    LabelOptions,
    OutputOptions,
    ReportFormat,
    SplitName,
    TableFormat,
    flag,
    option,
)
from audiocnn_cli.app.terminal import Terminal
from audiocnn_cli.commands.evaluate.outputs import (
    ClipOutputs,
    Html,
    check_clip_outputs,
    check_page,
    write_clip_files,
    write_page,
)
from audiocnn_cli.io.judge import JudgedSegments, peer_candidates, scorer_by_options
from audiocnn_cli.io.listener import TerminalListener

if TYPE_CHECKING:
    from audiocnn.evaluation.advice import Subject
    from audiocnn.evaluation.report import EvaluationReport
    from audiocnn.evaluation.results import EvaluationSettings

_Models = Annotated[
    list[str] | None,
    option(
        "--model", "MODEL", "Model to evaluate; repeat the option to compare several. [default: {model}]", short="-m"
    ),
    BASIC,
]
_Against = Annotated[
    str | None,
    option(
        "--against", "NAME[,NAME]", "Also evaluate other detectors: silero, webrtc, firered, with their own thresholds."
    ),
    BASIC,
]


@dataclasses.dataclass(frozen=True)
class _JudgeOptions:
    resamples: Annotated[
        int | None, option("--resamples", "N", "Bootstrap draws for the intervals. [default: {resamples}]", least=0)
    ] = None
    collar: Annotated[
        float | None,
        option(
            "--collar",
            "SECONDS",
            "Collar around boundaries for the error rate with a collar. [default: {collar_seconds}]",
        ),
    ] = None
    smooth: Annotated[
        list[float] | None,
        option(
            "--smooth",
            "SECONDS",
            "Also compute figures of scores smoothed over this time. May be repeated. [default: {smoothing_seconds}]",
        ),
    ] = None
    by: Annotated[
        list[str] | None,
        option("--by", "COLUMN", "Also compute figures for each value of a column, or `recording`. May be repeated."),
    ] = None
    all_figures: Annotated[
        bool, flag("--all-figures", "Show every figure, not only the main ones; JSON always has all.")
    ] = False
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, metavar="N", help="Seed of the bootstrap. [default: {seed}]")
    ] = None


def evaluate(
    terminal: Terminal,
    data: JudgedData,
    models: _Models = None,
    against: _Against = None,
    split: SplitName = None,
    labels: LabelOptions = LabelOptions(),  # noqa: B008
    judge: _JudgeOptions = _JudgeOptions(),
    rule: JudgedSegments = JudgedSegments(),  # noqa: B008
    format: TableFormat = ReportFormat.auto,
    output: OutputOptions = OutputOptions(),  # noqa: B008
    html: Html = None,
    clips: ClipOutputs = ClipOutputs(),  # noqa: B008
    device: Device = "auto",
    jobs: Jobs = None,
) -> ExitStatus:
    """Figures are computed on 10 ms frames and on segments, with 95 % confidence intervals from a bootstrap over
    groups of recordings. With several models, the paired differences to the first model are shown, too. A source that
    is not a dataset is first converted to one, next to the output or in a temporary folder.

    \b
    audiocnn evaluate meetings/ -m speech_1d -m speech_2d
    audiocnn evaluate meetings/ --against silero,webrtc --html report.html
    audiocnn evaluate speech.toml --split test -o report.json
    audiocnn evaluate birds/ -m runs/birds --html report.html
    """
    from audiocnn.evaluation.advice import advise
    from audiocnn.evaluation.report import EvaluationReport
    from audiocnn.inference.engine import load_engine
    from audiocnn.model.model import DEFAULT_MODEL, find_model
    from audiocnn.workflows.judge import (
        check_judged,
        find_example,
        judge_dataset,
        model_candidate,
        open_judged_dataset,
        resolve_split,
    )
    from audiocnn_cli.commands.evaluate.tables import warn_of_no_error, with_differences
    from audiocnn_cli.io.output import check_folder_writable, check_output, is_replaceable

    refuse_urls(data)
    if clips.doubtful is not None:
        words = ["audiocnn", "doubtful", as_argument(data), "--top", clips.doubtful]
        terminal.note(f"--doubtful N is now called `{format_command(words)}`")
    path = check_output(output.output, output.force)
    if path is not None and is_replaceable(path):
        check_folder_writable("-o", path)
    page = check_page(html, path, output.force)
    files = check_clip_outputs(clips, (path, page), len(models or [DEFAULT_MODEL]), output.force)
    settings, split = _judge_settings(judge), resolve_split(data, split)
    engines = [load_engine(find_model(name), device, jobs) for name in models or [DEFAULT_MODEL]]
    candidates = [
        model_candidate(engine.model, scorer_by_options(engine, rule), rule.sensitivity) for engine in engines
    ]
    candidates += peer_candidates(against, rule)
    counts, listener = Counter[str](), TerminalListener(terminal)
    with open_judged_dataset(data, split, path, engines, candidates, listener, counts, labels) as (dataset, part):
        check_judged(dataset, part, engines, candidates, settings.group_by, data, listener)
        reports = []
        for one in candidates:
            about = (one.name, one.folder, one.tuned_on, one.thresholds, data, split)
            found = judge_dataset(dataset, one.scorer, settings, part, one.name, listener)
            reports.append(EvaluationReport(*about, *found, version=one.version, points=one.points))
        warn_of_no_error(reports, terminal)
        reports = with_differences(reports, terminal)
        subject = _subject(data, (models or [DEFAULT_MODEL])[0], split, labels, find_example(dataset))
        reports[0] = dataclasses.replace(reports[0], advice=advise(reports[0].evaluation, subject))
        every = judge.all_figures or bool(judge.smooth) or judge.collar is not None  # these ask for more figures
        _write_reports(reports, path, format, every, terminal)
        if page is not None:
            write_page(reports, page, dataset)
        write_clip_files(reports[0], dataset, files, terminal)
        if terminal.wants_table(format) or path is not None:  # JSON on stdout contains the advice
            terminal.say_block("next", [one.line for one in reports[0].advice])
    failed = counts["refused"] or any(report.evaluation.failures for report in reports)
    return ExitStatus.SOME_FAILED if failed else ExitStatus.OK


def _write_reports(
    reports: Sequence[EvaluationReport], path: Path | None, format: ReportFormat, every: bool, terminal: Terminal
) -> None:
    """Write JSON to a file if one is given, and a table if wanted; with neither, JSON Lines to stdout."""
    from audiocnn.evaluation.report import write_json
    from audiocnn_cli.commands.evaluate.tables import write_table
    from audiocnn_cli.io.output import open_output

    if path is not None:
        with open_output(path, terminal) as out:
            write_json(reports, out.write, pretty=True)
    if terminal.wants_table(format):
        write_table(reports, terminal, every)
    elif path is None:
        write_json(reports, terminal.write, pretty=False)


def _subject(data: str, model: str, split: str | None, labels: LabelOptions, example: str) -> Subject:
    from audiocnn.evaluation.advice import Subject

    options = [*(["--split", split] if split else []), *label_words(labels)]
    return Subject(model, data, tuple(options), example=example)


def _judge_settings(judge: _JudgeOptions) -> EvaluationSettings:
    from audiocnn.evaluation.results import EvaluationSettings

    given = {"resamples": judge.resamples, "collar_seconds": judge.collar, "seed": judge.seed}
    values: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if judge.smooth:
        values["smoothing_seconds"] = tuple(dict.fromkeys(judge.smooth))
    return EvaluationSettings(**values, group_by=tuple(judge.by or ()))
