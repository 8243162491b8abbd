"""`audiocnn tune`: find the best thresholds and durations of the segment rule for a model."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from audiocnn.audio.remote import refuse_urls
from audiocnn.errors import UsageError
from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.app.options import Device, Force, Jobs, LabelOptions, ModelName, ReportFormat, TableFormat, flag_of
from audiocnn_cli.app.terminal import Terminal
from audiocnn_cli.commands.tune.options import RuleOptions, SweepOptions

_Data = Annotated[
    list[str],
    typer.Argument(
        metavar="DATA",
        help="A folder of annotated recordings, a table, a dataset, or a recipe; several for operating points.",
        show_default=False,
    ),
]


def tune(
    terminal: Terminal,
    data: _Data,
    model: ModelName = None,
    labels: LabelOptions = LabelOptions(),  # noqa: B008 - frozen
    sweep: SweepOptions = SweepOptions(),  # noqa: B008
    rule: RuleOptions = RuleOptions(),  # noqa: B008
    format: TableFormat = ReportFormat.auto,
    force: Force = False,
    device: Device = "auto",
    jobs: Jobs = None,
) -> ExitStatus:
    """Finds the threshold, shortest segment and shortest pause that suit DATA best: DATA is scored once, then
    hundreds of settings are tried on the scores. The model is only changed with --save; --save-as writes a copy.

    With --operating-points, it tunes the three settings that --sensitivity selects; several DATA have equal weight.

    \b
    audiocnn tune meetings/ -m runs/speech
    audiocnn tune meetings/ -m speech_1d --save-as my_speech
    audiocnn tune meetings/ -m runs/speech --for segment_f1 --plot f1.png --save
    audiocnn tune meetings/ mixtures/ -m runs/speech --operating-points --save
    """
    for one in data:
        refuse_urls(one)
    if sweep.save and sweep.save_as is not None:
        raise UsageError("--save changes the model and --save-as writes a copy; use one of them")
    if sweep.operating_points:
        from audiocnn_cli.commands.tune.points import run_points

        check_rule_free(rule)
        return run_points(data, model, labels, sweep, format, device, jobs, terminal)
    if sweep.cross_fit:
        raise UsageError("--cross-fit applies to --operating-points; give --operating-points too, or omit it")
    if len(data) > 1:
        raise UsageError(f"{data[1]}: several DATA need --operating-points; give one, or add --operating-points")
    from audiocnn_cli.commands.tune.thresholds import run_sweep

    return run_sweep(data[0], model, labels, sweep, rule, format, force, device, jobs, terminal)


def check_rule_free(rule: RuleOptions) -> None:
    """Raises UsageError for options of the rule, all of which are tuned."""
    for field in dataclasses.fields(rule):
        if getattr(rule, field.name) is not None:
            raise UsageError(f"{flag_of(field.name)} is tuned for each operating point; omit it")
