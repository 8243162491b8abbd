"""`audiocnn models`: what there is to detect with, and what there is to train."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from audiocnn.errors import AudiocnnError
from audiocnn_cli.exits import ExitStatus
from audiocnn_cli.options import ReportFormat, Table
from audiocnn_cli.terminal import Terminal, printable

if TYPE_CHECKING:
    from audiocnn.windows import Geometry


def models(terminal: Terminal, format: Table = ReportFormat.auto) -> ExitStatus:
    """Models are trained, for `--model`; specs are networks without weights, for `train --spec` and `describe`. A model
    of your own is named by its folder, wherever it lies.

    \b
    audiocnn models
    audiocnn models --format json | jq -r .name
    """
    found, problems = read_models()
    specs, more = read_specs()
    for problem in problems + more:
        terminal.error(problem)
    if terminal.wants_table(format):
        draw("models", found, terminal, "none; train one with `audiocnn train`")
        terminal.write("\n")
        draw("specs", specs, terminal, "none")
    else:
        terminal.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found + specs))
    return ExitStatus.SOME_FAILED if problems or more else ExitStatus.OK


def read_models() -> tuple[list[dict[str, Any]], list[str]]:
    """The released models, and what is wrong with those that cannot be read."""
    from audiocnn.model import DEFAULT_MODEL, read_model, shipped_models

    rows, problems = [], []
    for folder in shipped_models():
        try:
            model = read_model(folder)
        except AudiocnnError as problem:
            problems.append(str(problem))
            continue
        row = {"schema": 1, "type": "model", "name": model.name, "default": model.name == DEFAULT_MODEL}
        facts = {"labels": list(model.labels), "weights": model.parameters, "folder": str(folder)}
        rows.append(row | place_of(model.geometry) | facts | {"summary": model.summary})
    return rows, problems


def read_specs() -> tuple[list[dict[str, Any]], list[str]]:
    """The specs, and what is wrong with those that cannot be read."""
    from audiocnn.architecture import load_spec
    from audiocnn.model import spec_folders

    rows, problems = [], []
    for path in sorted(path for folder in spec_folders() for path in folder.glob("*.toml")):
        try:
            spec = load_spec(path)
        except AudiocnnError as problem:
            problems.append(str(problem))
            continue
        row = {"schema": 1, "type": "spec", "name": spec.name} | place_of(spec.geometry())
        rows.append(row | {"weights": spec.parameters(), "file": str(path), "summary": spec.summary})
    return rows, problems


def place_of(geometry: Geometry) -> dict[str, Any]:
    """Window and hop in seconds, and the rate."""
    return {
        "sample_rate": geometry.sample_rate,
        "window": round(geometry.window_seconds, 6),
        "hop": round(geometry.hop_seconds, 6),
    }


def draw(title: str, rows: list[dict[str, Any]], terminal: Terminal, nothing: str) -> None:
    """A table, or a line that there is nothing."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    console = terminal.out
    if not rows:
        console.print(f"{title}: {nothing}", soft_wrap=True)
        return
    wide = console.width >= 80
    table = Table(box=box.SIMPLE_HEAD if terminal.unicode else box.ASCII, pad_edge=False, show_edge=False)
    table.add_column(title, no_wrap=True)
    for name in ["labels"] * ("labels" in rows[0]) + ["weights"] + ["window", "hop"] * wide:
        table.add_column(name, justify="left" if name == "labels" else "right")
    table.add_column("")
    for row in rows:
        cells = [Text(row["name"], style="bold" if row.get("default") else "")]
        cells += [Text(printable(", ".join(row["labels"])))] if "labels" in row else []
        cells += [Text(f"{row['weights']:,}")]
        cells += [Text(f"{row['window']:.3g} s"), Text(f"{row['hop']:.3g} s")] if wide else []
        table.add_row(*cells, Text(printable(row["summary"]) + (" (default)" if row.get("default") else "")))
    console.print(table)
