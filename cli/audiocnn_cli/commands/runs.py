"""`audiocnn runs`: list training runs, their results and their states."""

from __future__ import annotations

import csv
import io
import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audiocnn.errors import UsageError, printable
from audiocnn.units import clock
from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.app.options import format_option
from audiocnn_cli.app.terminal import Terminal
from audiocnn_cli.io.batch import batch_status

if TYPE_CHECKING:
    from audiocnn.training.runs import Run

_RUNS = "runs"
_REVISION_LETTERS = 8
_SEPARATORS = {"csv": ",", "tsv": "\t"}
_FIELDS = (
    "name", "folder", "state", "model", "spec", "data", "labels", "epochs", "wanted", "best_epoch", "figure", "value",
    "tested", "tested_value", "parameters", "seconds", "started", "revision", "error",
)  # fmt: skip
# Columns of the table in order, and their ranks: in a narrow window, the highest rank is left out first.
_TITLES = ("run", "state", "spec", "data", "epochs", "test", "validation", "weights", "time", "begun", "git")
_RANKS = (0, 2, 5, 6, 4, 1, 1, 5, 4, 7, 8)


class RunSort(StrEnum):
    figure = "figure"
    tested = "tested"
    name = "name"
    state = "state"
    epochs = "epochs"
    weights = "weights"
    time = "time"
    started = "started"


class RunsFormat(StrEnum):
    auto = "auto"
    table = "table"
    json = "json"
    csv = "csv"
    tsv = "tsv"


_Folder = Annotated[str, typer.Argument(metavar="FOLDER", help="Folder that contains runs, at any depth.")]
_SortBy = Annotated[
    RunSort,
    typer.Option(
        "--sort",
        metavar="COLUMN",
        help="tested (result on the test part, the best first), figure (on the validation part, by which the epoch was "
        "chosen), name, state, epochs, weights, time or started.",
    ),
]
_Reverse = Annotated[bool, typer.Option("--reverse", help="Reverse the order.")]
_Format = Annotated[
    RunsFormat, format_option("table, json (one line per run), csv or tsv; auto: a table on a terminal, else JSON.")
]


def runs(
    terminal: Terminal,
    folder: _Folder = _RUNS,
    sort: _SortBy = RunSort.tested,
    reverse: _Reverse = False,
    format: _Format = RunsFormat.auto,
) -> ExitStatus:
    """Shows each run with its spec, data, best figures, number of weights, duration and git revision. A damaged run
    is reported in its row.

    \b
    audiocnn runs
    audiocnn runs runs/ --sort time
    audiocnn runs experiments/ --format json | jq -r .name
    """
    from audiocnn.training.runs import read_runs

    place = Path(folder)
    if not place.is_dir():
        what = "not a folder" if place.exists() else "no such folder"
        raise UsageError(f"{folder}: {what}; give a folder that `audiocnn train` created, or a parent of it")
    found = sorted(read_runs(place), key=lambda run: run.sort_keys[sort.value], reverse=reverse)
    damaged = [run for run in found if run.error]
    for run in damaged:
        terminal.error(str(run.error))
    if not found:
        terminal.say(f"no runs in {folder}; create one with `audiocnn train`")
    if terminal.wants_table(format.value):
        draw_runs(found, terminal)
    else:
        write_runs(found, format.value, terminal)
    return batch_status(len(found) - len(damaged), len(damaged))


def write_runs(found: list[Run], format: str, terminal: Terminal) -> None:
    rows = [run.to_dict() for run in found]
    if format not in _SEPARATORS:
        terminal.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        return
    text = io.StringIO()
    out = csv.DictWriter(
        text, _FIELDS, restval="", extrasaction="ignore", delimiter=_SEPARATORS[format], lineterminator="\n"
    )
    out.writeheader()
    out.writerows(row | {"labels": " ".join(row["labels"])} for row in rows)
    terminal.write(text.getvalue())


def draw_runs(found: list[Run], terminal: Terminal) -> None:
    from rich.text import Text

    if not found:
        return
    rows = [[printable(cell) for cell in _run_cells(run)] for run in found]
    used = [i for i in range(len(_TITLES)) if any(row[i] for row in rows)]
    widths = [max(len(_TITLES[i]), *(len(row[i]) for row in rows)) for i in range(len(_TITLES))]
    filled = [sum(map(bool, column)) for column in zip(*rows, strict=True)]
    for i in sorted(used, key=lambda i: (-_RANKS[i], filled[i], -i)):
        if sum(widths[k] + 3 for k in used) - 3 <= terminal.out.width or _RANKS[i] == 0:
            break
        used.remove(i)
    table = terminal.new_table()
    for i in used:
        right = _TITLES[i] in ("epochs", "weights", "time")
        table.add_column(_TITLES[i], justify="right" if right else "left", no_wrap=_TITLES[i] != "run", overflow="fold")
    for row, run in zip(rows, found, strict=True):
        style = "red" if run.error else "dim" if run.state != "ended" else ""
        table.add_row(*(Text(row[i], style=style) for i in used))
    terminal.out.print(table)


def _run_cells(run: Run) -> list[str]:
    revision = run.revision or ""
    changed = "+" * revision.endswith("+")
    return [
        run.name,
        run.state,
        run.spec or "",
        Path(run.data).name if run.data else "",
        f"{run.epochs}/{run.wanted}" if run.wanted else str(run.epochs),
        _format_named_figure(run.figure_name, run.figure),
        _format_named_figure(run.tested_name, run.tested),
        "" if run.parameters is None else f"{run.parameters:,}",
        clock(run.seconds) if run.epochs else "",
        (run.started or "")[:16].replace("T", " "),
        revision.removesuffix("+")[:_REVISION_LETTERS] + changed,
    ]


def _format_named_figure(name: str | None, value: float | None) -> str:
    return "" if name is None or value is None else f"{name.replace('_', ' ')} {value:.4f}"
