"""`audiocnn describe`: a network layer by layer."""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from audiocnn.errors import AudiocnnError, ModelError, SpecError, UsageError
from audiocnn_cli.exits import ExitStatus, of_batch
from audiocnn_cli.options import ReportFormat, Table
from audiocnn_cli.terminal import Terminal

if TYPE_CHECKING:
    from audiocnn.architecture import Spec
    from audiocnn.describing import Description
    from audiocnn.sizes import Size

Names = Annotated[
    list[str],
    typer.Argument(metavar="SPEC|MODEL", help="Names from `audiocnn models`, TOML files, or model folders."),
]
Classes = Annotated[
    int | None,
    typer.Option(
        "--classes", min=1, max=10**6, metavar="N", help="How many labels. [default: the model's, else 1 or 2]"
    ),
]
Input = Annotated[
    str | None,
    typer.Option("--input", metavar="SIZE", help="Instead of features: CxHxW in 2-D, CxN in 1-D, such as 3x224x224."),
]


def describe(
    terminal: Terminal,
    names: Names,
    classes: Classes = None,
    input: Input = None,
    format: Table = ReportFormat.auto,
) -> ExitStatus:
    """Sizes, weights and costs follow from arithmetic on the spec; no weight is made. "hears" is the receptive field of
    one position: in time, and in 2-D in Hz, in the middle of the spectrum. Several networks are set side by side; of an
    ensemble each member is described.

    \b
    audiocnn describe speech_1d
    audiocnn describe alexnet --input 3x227x227 --classes 1000
    audiocnn describe conv_a_2d conv_a_pool_b_2d
    """

    size = None if input is None else read_size(input)
    found: list[Description] = []
    failed = 0
    for name in names:
        try:
            found += describe_all(name, classes, size)
        except AudiocnnError as problem:
            failed += 1
            terminal.error(str(problem))
    if terminal.wants_table(format):
        draw(found, terminal, beside=len(names) > 1)
    else:
        terminal.write("".join(json.dumps(to_dict(one), ensure_ascii=False) + "\n" for one in found))
    return of_batch(len(names) - failed, failed)


def describe_all(name: str, classes: int | None, size: Size | None) -> list[Description]:
    """The description of a spec or model; of an ensemble those of its members."""
    from audiocnn.describing import describe as described

    return [replace(described(spec, size), name=title) for title, spec in specs_of(name, classes)]


def draw(found: list[Description], terminal: Terminal, beside: bool) -> None:
    """Tables, side by side where several were asked for."""
    from audiocnn_cli.layer_table import write_layers
    from audiocnn_cli.side_by_side import write_side_by_side

    if beside and len(found) > 1:
        write_side_by_side(found, terminal)
        return
    for number, one in enumerate(found):
        terminal.write("\n" if number else "")
        write_layers(one, terminal)


def specs_of(name: str, classes: int | None) -> list[tuple[str, Spec]]:
    """The name and spec of a spec, of a model folder or of a released model; of an ensemble those of each member."""
    from audiocnn.architecture import find_spec
    from audiocnn.filenames import is_folder
    from audiocnn.model import find_model, spec_folders

    if not is_folder(name):
        try:
            spec = find_spec(name, spec_folders(), classes)
        except SpecError as problem:
            try:
                model = find_model(name)
            except ModelError:
                raise problem from None
        else:
            return [(spec.name, spec)]
    else:
        model = find_model(name)
    found = [(f"{model.name}/{member.name}", member.spec) for member in model.members] or [
        (model.spec.name, model.spec)
    ]
    return [(title, spec if classes is None else spec.with_classes(classes)) for title, spec in found]


def read_size(text: str) -> Size:
    """CxHxW or CxN."""
    from audiocnn.sizes import Size

    if not re.fullmatch(r"[1-9]\d{0,6}(x[1-9]\d{0,6}){1,2}", text):
        raise UsageError(f'--input cannot be "{text}"; give whole numbers as CxHxW or CxN, such as 3x224x224')
    channels, *axes = (int(number) for number in text.split("x"))
    return Size(channels, tuple(axes))


def to_dict(found: Description) -> dict[str, object]:
    """The description as JSON has it."""
    rows = [
        {key: str(value) if key == "output" and value is not None else value for key, value in vars_of(row).items()}
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
        "latency": found.latency_seconds,
        "onset_latency": found.onset_latency_seconds,
        "shift_exact": geometry.shift_exact if geometry else None,
        "first_group": found.first_group,
        "first_group_weights": found.first_group_weights,
        "dense_weights": found.dense_weights,
        "layers": rows,
    }


def vars_of(row: object) -> dict[str, object]:
    """The fields of a row, shallow."""
    return {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}  # type: ignore[arg-type]
