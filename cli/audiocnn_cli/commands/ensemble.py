"""`audiocnn ensemble`: average several models into one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audiocnn.errors import UsageError, printable
from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.app.options import Force, ReportFormat, TableFormat, option
from audiocnn_cli.app.terminal import Terminal

if TYPE_CHECKING:
    from audiocnn.model.model import Model

_Names = Annotated[
    list[str], typer.Argument(metavar="MODEL", help="Names from `audiocnn models`, or model folders; two or more.")
]
_Output = Annotated[str, typer.Option("--output", "-o", metavar="MODEL", help="Model folder to create.")]
_Weights = Annotated[
    str | None, option("--weights", "W,W,...", "Weight of each member, in their order. [default: equal]")
]


def ensemble(
    terminal: Terminal,
    names: _Names,
    output: _Output,
    weights: _Weights = None,
    force: Force = False,
    format: TableFormat = ReportFormat.auto,
) -> ExitStatus:
    """The ensemble is used like any other model; its scores are the mean of its members' scores. Labels, sample rate,
    channels and hop must be the same; windows may differ. Its thresholds are the mean of the members' thresholds:
    check them with `audiocnn evaluate`.

    \b
    audiocnn ensemble speech_1d speech_2d -o both
    audiocnn ensemble runs/a runs/b runs/c --weights 2,1,1 -o three
    """
    from audiocnn.model.model import find_model

    models = [find_model(name) for name in names]
    counts = parse_weights(weights)
    from audiocnn.model.ensemble import make_ensemble

    model, difference = make_ensemble(models, Path(output), counts, force)
    report_ensemble(model, difference, terminal, format)
    return ExitStatus.OK


def parse_weights(text: str | None) -> list[float]:
    try:
        return [] if text is None else [float(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f'--weights cannot be "{text}"; give a number for each model, such as 2,1') from None


def report_ensemble(model: Model, difference: float, terminal: Terminal, format: ReportFormat) -> None:
    pairs = list(zip(model.members, model.shares, strict=True))
    if not terminal.wants_table(format):
        members = [{"name": member.name, "share": round(share, 6)} for member, share in pairs]
        record = {"schema": 1, "type": "ensemble", "model": model.name, "folder": str(model.folder)}
        record |= {"members": members, "thresholds": model.thresholds, "difference": difference}
        terminal.write(json.dumps(record, ensure_ascii=False) + "\n")
        return
    from rich.text import Text

    grid = terminal.new_table()
    grid.add_column("member", no_wrap=True)
    for title in ("share", "window", "weights"):
        grid.add_column(title, justify="right", no_wrap=True)
    for member, share in pairs:
        window = f"{member.spec.geometry().window_seconds:.3g} s"
        grid.add_row(Text(printable(member.name)), f"{share:.3f}", window, f"{member.spec.parameters():,}")
    terminal.out.print(grid)
    thresholds = ", ".join(f"{label} {value:g}" for label, value in model.thresholds.items())
    lines = [
        f"thresholds: {thresholds} ({model.tuned_on})",
        f"model: {model.folder} (ONNX and PyTorch scores differ by at most {difference:.0e})",
        f"try it:  audiocnn detect --model {model.folder} FILE",
    ]
    terminal.write("".join(printable(line) + "\n" for line in lines))
