"""`audiocnn describe`: show a network layer by layer."""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from audiocnn.errors import AudiocnnError, ModelError, SpecError, UsageError, printable
from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.app.options import ReportFormat, TableFormat, option
from audiocnn_cli.app.terminal import Terminal
from audiocnn_cli.io.batch import batch_status

if TYPE_CHECKING:
    from audiocnn.model.model import Model
    from audiocnn.spec.describe import Description
    from audiocnn.spec.geometry import Size
    from audiocnn.spec.spec import Spec

NetworkNames = Annotated[
    list[str],
    typer.Argument(metavar="SPEC|MODEL", help="Names from `audiocnn models`, TOML files, or model folders."),
]
Classes = Annotated[
    int | None,
    typer.Option(
        "--classes", min=1, max=10**6, metavar="N", help="Number of labels. [default: the model's, else 1 or 2]"
    ),
]
InputSize = Annotated[
    str | None,
    option("--input", "SIZE", "Size of the input instead of features: CxHxW for 2-D, CxN for 1-D, such as 3x224x224."),
]


def describe(
    terminal: Terminal,
    names: NetworkNames,
    classes: Classes = None,
    input: InputSize = None,
    format: TableFormat = ReportFormat.auto,
) -> ExitStatus:
    """Sizes, weights and costs are computed from the spec without building the network. "hears" is the receptive
    field of one position: in time, and for 2-D networks in Hz, measured in the middle of the spectrum. Several
    networks are shown side by side; for an ensemble, each member is described. A model with operating points lists
    them with their figures.

    \b
    audiocnn describe speech_1d
    audiocnn describe alexnet --input 3x227x227 --classes 1000
    audiocnn describe conv_a_2d conv_a_pool_b_2d
    """

    size = None if input is None else _read_size(input)
    found: list[Description] = []
    models: list[Model | None] = []  # for each description, its model if that has operating points
    failed = 0
    for name in names:
        try:
            model, described = _describe_all(name, classes, size)
            found += described
            models += [None] * (len(described) - 1) + [model if model and model.points else None]
        except AudiocnnError as problem:
            failed += 1
            terminal.error(str(problem))
    if terminal.wants_table(format):
        draw_descriptions(found, terminal, beside=len(names) > 1)
        for model in models:
            if model is not None:
                draw_operating_points(model, terminal)
    else:
        records = [
            description_record(one) | (operating_points_record(model) if model else {})
            for one, model in zip(found, models, strict=True)
        ]
        terminal.write("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))
    return batch_status(len(names) - failed, failed)


def _describe_all(name: str, classes: int | None, size: Size | None) -> tuple[Model | None, list[Description]]:
    """The model, if any, and the description of a spec or model; for an ensemble, the descriptions of its members."""
    from audiocnn.segments.finder import SegmentRule
    from audiocnn.spec.describe import describe as described

    model, specs = _specs_of(name, classes)
    rules = [model.rule(label) for label in model.labels] if model else [SegmentRule()]
    shortest = max(rule.min_speech_seconds for rule in rules)
    return model, [replace(described(spec, size, shortest), name=title) for title, spec in specs]


def draw_operating_points(model: Model, terminal: Terminal) -> None:
    from audiocnn_cli.app.draw import point_rows, print_table

    for label, own in model.points.items():
        rules = {name: model.rule(label, name) for name in own}
        rows = point_rows(rules, {name: point.figures for name, point in own.items()})
        print_table(f"{model.name}: {label}, --sensitivity", rows, list(rules), terminal)
        for origin in dict.fromkeys(point.measured_on for point in own.values() if point.measured_on):
            terminal.out.print(f"measured on {printable(origin)}", style="dim")


def operating_points_record(model: Model) -> dict[str, object]:
    """The operating points by label and name, in the format of `tune --operating-points`."""
    from audiocnn.evaluation.thresholds import rule_to_dict

    found = {}
    for label, own in model.points.items():
        rules = {name: model.rule(label, name) for name in own}
        found[label] = {
            name: rule_to_dict(rules[name])
            | {"pad": rules[name].pad_seconds, "figures": point.figures, "measured_on": point.measured_on}
            for name, point in own.items()
        }
    return {"operating_points": found}


def draw_descriptions(found: list[Description], terminal: Terminal, beside: bool) -> None:
    """Draw tables. beside: side by side."""
    from audiocnn_cli.commands.describe.tables import write_layers, write_side_by_side

    if beside and len(found) > 1:
        write_side_by_side(found, terminal)
        return
    for number, one in enumerate(found):
        terminal.write("\n" if number else "")
        write_layers(one, terminal)


def _specs_of(name: str, classes: int | None) -> tuple[Model | None, list[tuple[str, Spec]]]:
    """The model, if any, and (name, spec) of a spec, a model folder or a released model; for an ensemble, of each
    member."""
    from audiocnn.audio.find import is_folder
    from audiocnn.model.model import find_model, read_model, shipped_models, spec_folders
    from audiocnn.spec.spec import find_spec

    if not is_folder(name):
        try:
            spec = find_spec(name, spec_folders(), classes)
        except SpecError as problem:
            try:
                model = find_model(name)
            except ModelError:
                raise problem from None
        else:
            named = [read_model(folder) for folder in shipped_models() if folder.name == name]
            released = next((one for one in named if one.spec.table == spec.table), None)
            return released, [(spec.name, spec)]
    else:
        model = find_model(name)
    found = [(f"{model.name}/{member.name}", member.spec) for member in model.members] or [
        (model.spec.name, model.spec)
    ]
    return model, [(title, spec if classes is None else spec.with_classes(classes)) for title, spec in found]


def _read_size(text: str) -> Size:
    from audiocnn.spec.geometry import Size

    if not re.fullmatch(r"[1-9]\d{0,6}(x[1-9]\d{0,6}){1,2}", text):
        raise UsageError(f'--input cannot be "{text}"; give whole numbers as CxHxW or CxN, such as 3x224x224')
    channels, *axes = (int(number) for number in text.split("x"))
    return Size(channels, tuple(axes))


def description_record(found: Description) -> dict[str, object]:
    rows = [
        {
            key: str(value) if key == "output" and value is not None else value
            for key, value in _shallow_dict(row).items()
        }
        for row in found.rows
    ]
    geometry = found.geometry
    return {
        "schema": 1,
        "type": "description",
        "name": found.name,
        "summary": found.summary,
        "classes": found.classes,
        "input": None if found.size is None else str(found.size),
        "parameters": found.parameters,
        "weighted_layers": found.layers,
        "multiply_adds": found.multiply_adds,
        "multiply_adds_per_second": found.multiply_adds_per_second,
        "window": geometry.window_seconds if geometry else None,
        "hop": geometry.hop_seconds if geometry else None,
        "look_ahead": round(geometry.look_ahead_seconds, 6) if geometry else None,
        "latency": found.latency_seconds,
        "onset_latency": found.onset_latency_seconds,
        "shift_exact": geometry.shift_exact if geometry else None,
        "first_group": found.first_group,
        "first_group_weights": found.first_group_weights,
        "dense_weights": found.dense_weights,
        "train": found.hints,
        "layers": rows,
    }


def _shallow_dict(row: object) -> dict[str, object]:
    return {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}  # type: ignore[arg-type]
