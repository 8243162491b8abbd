"""`audiocnn models`: list the models of the package with their purposes, and on request the specs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

from audiocnn.errors import MOST_CHOICES, AudiocnnError, printable
from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.app.options import ReportFormat, TableFormat, flag
from audiocnn_cli.app.terminal import Terminal

if TYPE_CHECKING:
    from audiocnn.spec.geometry import Geometry


_MOST_LABELS = 3  # listed in the table; of more, only the number is shown
_WIDE, _WIDEST = 60, 110  # columns; narrower tables omit labels, and weights, window and hop
_AllLabels = Annotated[bool, flag("--all-labels", "List all labels in JSON, not only the first 20.")]
_Specs = Annotated[bool, flag("--specs", "Also list the specs: networks without weights, to train.")]


def models(
    terminal: Terminal,
    specs: _Specs = False,
    all_labels: _AllLabels = False,
    format: TableFormat = ReportFormat.auto,
) -> ExitStatus:
    """Models are trained networks, for `--model`; your own models are named by their folders. Specs are networks
    without weights, for `train --spec` and `describe`.

    \b
    audiocnn models
    audiocnn models --specs
    audiocnn models --format json | jq -r .name
    """
    found, problems = _read_models()
    if not all_labels:
        found = [row | {"labels": row["labels"][:MOST_CHOICES]} for row in found]
    networks: list[dict[str, Any]] = []
    if specs:
        networks, more = _read_specs()
        problems += more
    for problem in problems:
        terminal.error(problem)
    if not terminal.wants_table(format):
        terminal.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found + networks))
    else:
        draw_models(found, terminal, "none; train one with `audiocnn train`")
        terminal.write("\n")
        if specs:
            draw_specs(networks, terminal, "none")
        else:
            terminal.write("networks to train: audiocnn models --specs\n")
    return ExitStatus.SOME_FAILED if problems else ExitStatus.OK


def _read_models() -> tuple[list[dict[str, Any]], list[str]]:
    """The released models, and error messages for those that cannot be read."""
    from audiocnn.model.model import DEFAULT_MODEL, read_model, read_purposes, shipped_models

    rows, problems = [], []
    purposes = read_purposes()
    for folder in shipped_models():
        try:
            model = read_model(folder)
        except AudiocnnError as problem:
            problems.append(str(problem))
            continue
        row = {"schema": 1, "type": "model", "name": model.name, "default": model.name == DEFAULT_MODEL}
        row["purpose"] = purposes.get(model.name, model.summary)
        facts = {
            "label_count": len(model.labels),
            "labels": list(model.labels),
            "weights": model.parameters,
            "folder": str(folder),
        }
        rows.append(row | _geometry_facts(model.geometry) | facts | {"summary": model.summary})
    return rows, problems


def _read_specs() -> tuple[list[dict[str, Any]], list[str]]:
    """The specs, and error messages for those that cannot be read."""
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


def draw_models(rows: list[dict[str, Any]], terminal: Terminal, nothing: str) -> None:
    """Print the purpose of each model, and if there is room its labels, weights, window and hop."""
    columns = {
        "models": [row["name"] for row in rows],
        "for": [row["purpose"] + (" (default)" if row["default"] else "") for row in rows],
    }
    if terminal.out.width >= _WIDE:
        counts = [f"{row['label_count']} labels" for row in rows]
        columns["labels"] = [
            ", ".join(row["labels"]) if row["label_count"] <= _MOST_LABELS else count
            for row, count in zip(rows, counts, strict=True)
        ]
    _draw(columns, _numbers(rows) if terminal.out.width >= _WIDEST else {}, terminal, f"models: {nothing}")


def draw_specs(rows: list[dict[str, Any]], terminal: Terminal, nothing: str) -> None:
    """Print the summary of each spec, and if there is room its weights, window and hop."""
    columns = {"specs": [row["name"] for row in rows], "": [row["summary"] for row in rows]}
    numbers = _numbers(rows)
    shown = list(numbers)[: len(numbers) if terminal.out.width >= _WIDEST else terminal.out.width >= _WIDE]
    _draw(columns, {title: numbers[title] for title in shown}, terminal, f"specs: {nothing}")


def _numbers(rows: list[dict[str, Any]]) -> dict[str, list[str]]:
    return {
        "weights": [f"{row['weights']:,}" for row in rows],
        "window": [f"{row['window']:.3g} s" for row in rows],
        "hop": [f"{row['hop']:.3g} s" for row in rows],
    }


def _draw(texts: dict[str, list[str]], numbers: dict[str, list[str]], terminal: Terminal, nothing: str) -> None:
    """Print a table. The first column contains the names."""
    from rich.text import Text

    console = terminal.out
    if not next(iter(texts.values())):
        console.print(nothing)
        return
    table = terminal.new_table()
    for number, title in enumerate(texts):
        table.add_column(title, no_wrap=number == 0)
    for title in numbers:
        table.add_column(title, justify="right", no_wrap=True)
    for row in zip(*texts.values(), *numbers.values(), strict=True):
        table.add_row(*(Text(printable(cell)) for cell in row))
    console.print(table)
