"""`audiocnn tune`: what suits best, of thresholds and times for a model, or with --recipe of what a training can be."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from audiocnn.addresses import refuse_urls
from audiocnn.errors import UsageError
from audiocnn_cli.exits import ExitStatus
from audiocnn_cli.options import Device, Force, Jobs, ModelName, ReportFormat, Table
from audiocnn_cli.terminal import Terminal
from audiocnn_cli.tune_options import RuleOptions, SearchOptions, SweepOptions

Data = Annotated[
    str | None,
    typer.Argument(
        metavar="DATA",
        help="A dataset, a source as for `ingest`, a recipe with [data], or one with [[conditions]].",
        show_default=False,
    ),
]


def tune(
    terminal: Terminal,
    data: Data = None,
    model: ModelName = None,
    sweep: SweepOptions = SweepOptions(),  # noqa: B008 - frozen
    rule: RuleOptions = RuleOptions(),  # noqa: B008
    search: SearchOptions = SearchOptions(),  # noqa: B008
    format: Table = ReportFormat.auto,
    force: Force = False,
    device: Device = "auto",
    jobs: Jobs = None,
) -> ExitStatus:
    """Of a model, the threshold and the times of its segments: DATA is scored once, then hundreds of rules are tried on
    the scores. Nothing is changed without --save.

    With --recipe, what a recipe leaves open: trainings with other values of what its [tune] names, each a run; those
    that fall behind are ended early. The study goes on with --resume, and several processes may share it.

    \b
    audiocnn tune meetings/ -m runs/speech
    audiocnn tune meetings/ -m runs/speech --for detection_cost --plot sweep.png --save
    audiocnn tune --recipe speech.toml --trials 40 -o tuned
    audiocnn tune --recipe speech.toml --trials 40 -o tuned --resume
    """
    if data is not None:
        refuse_urls(data)
    if search.recipe is None:
        refuse(search, SearchOptions(), "is for --recipe FILE, which says what to train")
        if data is None:
            raise UsageError("nothing to tune on: name recordings whose segments or labels are known, or --recipe")
        from audiocnn_cli.tune_sweep import run_sweep

        return run_sweep(data, model, sweep, rule, format, force, device, jobs, terminal)
    refuse(sweep, SweepOptions(), "is for a model, and --recipe trains new ones")
    refuse(rule, RuleOptions(), "is for a model, and --recipe trains new ones")
    if model is not None or jobs is not None:
        name = "--model" if model is not None else "--jobs"
        raise UsageError(f"{name} is for a model to tune, and --recipe trains new ones; name one of the two")
    from audiocnn_cli.tune_search import run_search

    return run_search(data, search, format, force, device, terminal)


def refuse(given: Any, plain: Any, why: str) -> None:
    """UsageError for an option of the other kind of tuning."""
    for field in fields_of(given):
        if getattr(given, field.name) != getattr(plain, field.name):
            raise UsageError(f"{flag_of(field.name)} {why}")


def fields_of(given: Any) -> Iterable[dataclasses.Field[Any]]:
    """The options of a group."""
    return dataclasses.fields(given)


def flag_of(name: str) -> str:
    """min_speech -> --min-speech."""
    return {"goal": "--for"}.get(name, "--" + name.replace("_", "-"))
