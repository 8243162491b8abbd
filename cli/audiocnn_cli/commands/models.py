"""`audiocnn models`: a table of the models and the specs that come with the package."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from audiocnn.errors import AudiocnnError, printable
from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.app.options import ReportFormat, TableFormat
from audiocnn_cli.app.terminal import Terminal

if TYPE_CHECKING:
    from audiocnn.spec.geometry import Geometry


def models(terminal: Terminal, format: TableFormat = ReportFormat.auto) -> ExitStatus:
    """Models are trained, for `--model`; specs are networks without weights, for `train --spec` and `describe`. A model
    of your own is named by its folder, wherever it lies.

    \b
    audiocnn models
    audiocnn models --format json | jq -r .name
    """
    found, problems = _read_models()
    specs, more = _read_specs()
    for problem in problems + more:
        terminal.error(problem)
    if terminal.wants_table(format):
        draw_rows("models", found, terminal, "none; train one with `audiocnn train`")
        terminal.write("\n")
        draw_rows("specs", specs, terminal, "none")
    else:
        terminal.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found + specs))
    return ExitStatus.SOME_FAILED if problems or more else ExitStatus.OK


def _read_models() -> tuple[list[dict[str, Any]], list[str]]:
    """The released models, and the problems of those that cannot be read."""
    from audiocnn.model.model import DEFAULT_MODEL, read_model, shipped_models

    rows, problems = [], []
    for folder in shipped_models():
        try:
            model = read_model(folder)
        except AudiocnnError as problem:
            problems.append(str(problem))
            continue
        row = {"schema": 1, "type": "model", "name": model.name, "default": model.name == DEFAULT_MODEL}
        facts = {"labels": list(model.labels), "weights": model.parameters, "folder": str(folder)}
        rows.append(row | _geometry_facts(model.geometry) | facts | {"summary": model.summary})
    return rows, problems


def _read_specs() -> tuple[list[dict[str, Any]], list[str]]:
    """The specs, and the problems of those that cannot be read."""
    from audiocnn.model.model import spec_folders
    from audiocnn.spec.spec import load_spec

    rows, problems = [], []
    for path in sorted(path for folder in spec_folders() for path in folder.glob("*.toml")):
        try:
            spec = load_spec(path)
        except AudiocnnError as problem:
            problems.append(str(problem))
            continue
        row = {"schema": 1, "type": "spec", "name": spec.name} | _geometry_facts(spec.geometry())
        rows.append(row | {"weights": spec.parameters(), "file": str(path), "summary": spec.summary})
    return rows, problems


def _geometry_facts(geometry: Geometry) -> dict[str, Any]:
    return {
        "sample_rate": geometry.sample_rate,
        "window": round(geometry.window_seconds, 6),
        "hop": round(geometry.hop_seconds, 6),
    }


def draw_rows(title: str, rows: list[dict[str, Any]], terminal: Terminal, nothing: str) -> None:
    from rich.text import Text

    console = terminal.out
    if not rows:
        console.print(f"{title}: {nothing}", soft_wrap=True)
        return
    wide = console.width >= 80
    table = terminal.new_table()
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
