"""`audiocnn ensemble`: several models in, one out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audiocnn.errors import UsageError
from audiocnn_cli.exits import ExitStatus
from audiocnn_cli.options import Force, ReportFormat, Table
from audiocnn_cli.terminal import Terminal, printable

if TYPE_CHECKING:
    from audiocnn.model import Model

Names = Annotated[
    list[str], typer.Argument(metavar="MODEL", help="Names from `audiocnn models`, or model folders; two or more.")
]
Target = Annotated[str, typer.Option("--output", "-o", metavar="MODEL", help="The model folder to make.")]
Weights = Annotated[
    str | None,
    typer.Option("--weights", metavar="W,W,...", help="How much each counts, in their order. [default: all the same]"),
]


def ensemble(
    terminal: Terminal,
    names: Names,
    output: Target,
    weights: Weights = None,
    force: Force = False,
    format: Table = ReportFormat.auto,
) -> ExitStatus:
    """The scores of what comes out are the mean of theirs; it is used like any other model. Labels, sample rate,
    channels and hop must be the same; windows may differ. Its thresholds are the mean of theirs: look at them with
    `audiocnn evaluate`.

    \b
    audiocnn ensemble speech_1d speech_2d -o both
    audiocnn ensemble runs/a runs/b runs/c --weights 2,1,1 -o three
    """
    from audiocnn.model import find_model

    models = [find_model(name) for name in names]
    counts = read_weights(weights)
    from audiocnn.ensemble import make_ensemble

    model, difference = make_ensemble(models, Path(output), counts, force)
    report(model, difference, terminal, format)
    return ExitStatus.OK


def read_weights(text: str | None) -> list[float]:
    """Numbers with commas between them."""
    try:
        return [] if text is None else [float(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f'--weights cannot be "{text}"; give a number for each model, such as 2,1') from None


def report(model: Model, difference: float, terminal: Terminal, format: ReportFormat) -> None:
    """What was made: a table of its members, or JSON."""
    pairs = list(zip(model.members, model.shares, strict=True))
    if not terminal.wants_table(format):
        members = [{"name": member.name, "share": round(share, 6)} for member, share in pairs]
        record = {"schema": 1, "type": "ensemble", "model": model.name, "folder": str(model.folder)}
        record |= {"members": members, "thresholds": model.thresholds, "difference": difference}
        terminal.write(json.dumps(record, ensure_ascii=False) + "\n")
        return
    from rich import box
    from rich.table import Table as Grid
    from rich.text import Text

    grid = Grid(box=box.SIMPLE_HEAD if terminal.unicode else box.ASCII, pad_edge=False, show_edge=False)
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
        f"model: {model.folder} (ONNX and torch at most {difference:.0e} apart)",
        f"try it:  audiocnn detect --model {model.folder} FILE",
    ]
    terminal.write("".join(printable(line) + "\n" for line in lines))
