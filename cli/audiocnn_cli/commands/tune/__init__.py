"""`audiocnn tune`: what suits best, of thresholds and times for a model, or with --recipe of what a training can be."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import typer

from audiocnn.audio.remote import refuse_urls
from audiocnn.errors import UsageError
from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.app.options import Device, Force, Jobs, LabelOptions, ModelName, ReportFormat, TableFormat, flag_of
from audiocnn_cli.app.terminal import Terminal
from audiocnn_cli.commands.tune.options import RuleOptions, SearchOptions, SweepOptions

_Data = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="DATA",
        help="A dataset, a source as for `ingest`, a recipe with [data], or one with [[conditions]]; "
        "for operating points several.",
        show_default=False,
    ),
]


def tune(
    terminal: Terminal,
    data: _Data = None,
    model: ModelName = None,
    labels: LabelOptions = LabelOptions(),  # noqa: B008 - frozen
    sweep: SweepOptions = SweepOptions(),  # noqa: B008
    rule: RuleOptions = RuleOptions(),  # noqa: B008
    search: SearchOptions = SearchOptions(),  # noqa: B008
    format: TableFormat = ReportFormat.auto,
    force: Force = False,
    device: Device = "auto",
    jobs: Jobs = None,
) -> ExitStatus:
    """Of a model, the threshold and the times of its segments: DATA is scored once, then hundreds of rules are tried on
    the scores. Nothing is changed without --save.

    With --operating-points, the three rules that --sensitivity chooses from; of several DATA each counts the same.

    With --recipe, what a recipe leaves open: trainings with other values of what its [tune] names, each a run; those
    that fall behind are ended early. The study goes on with --resume, and several processes may share it.

    \b
    audiocnn tune meetings/ -m runs/speech
    audiocnn tune meetings/ -m runs/speech --for segment_f1 --plot f1.png --save
    audiocnn tune meetings/ mixtures/ -m runs/speech --operating-points --save
    audiocnn tune --recipe speech.toml --trials 40 -o tuned
    audiocnn tune --recipe speech.toml --trials 40 -o tuned --resume
    """
    for one in data or []:
        refuse_urls(one)
    if search.recipe is None:
        refuse_options(search, SearchOptions(), "is for --recipe FILE, which says what to train")
        if not data:
            raise UsageError("nothing to tune on: name recordings whose segments or labels are known, or --recipe")
        if sweep.operating_points:
            from audiocnn_cli.commands.tune.points import run_points

            refuse_options(rule, RuleOptions(), "is tuned for each operating point; leave it out")
            return run_points(data, model, labels, sweep, format, device, jobs, terminal)
        if sweep.cross_fit:
            raise UsageError("--cross-fit is for --operating-points; give that, too, or leave it out")
        if len(data) > 1:
            raise UsageError(f"{data[1]}: thresholds are tuned on one DATA; several are for --operating-points")
        from audiocnn_cli.commands.tune.thresholds import run_sweep

        return run_sweep(data[0], model, labels, sweep, rule, format, force, device, jobs, terminal)
    refuse_options(sweep, SweepOptions(), "is for a model, and --recipe trains new ones")
    refuse_options(rule, RuleOptions(), "is for a model, and --recipe trains new ones")
    if model is not None or jobs is not None:
        name = "--model" if model is not None else "--jobs"
        raise UsageError(f"{name} is for a model to tune, and --recipe trains new ones; name one of the two")
    from audiocnn_cli.commands.tune.search import run_search

    if len(data or []) > 1:
        raise UsageError(f"{(data or [])[1]}: --recipe trains on one DATA; name one")
    return run_search(data[0] if data else None, labels, search, format, force, device, terminal)


def refuse_options(given: Any, plain: Any, why: str) -> None:
    """UsageError for an option of the other kind of tuning."""
    for field in dataclasses.fields(given):
        if getattr(given, field.name) != getattr(plain, field.name):
            raise UsageError(f"{flag_of(field.name)} {why}")
