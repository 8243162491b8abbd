"""`audiocnn describe`: a network layer by layer."""

from __future__ import annotations

import dataclasses
import json
import re
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
    typer.Option("--classes", min=1, metavar="N", help="How many labels. [default: the model's, else 1 or 2]"),
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
    one position: in time, and in 2-D in Hz, in the middle of the spectrum.

    \b
    audiocnn describe speech_1d
    audiocnn describe net.toml --classes 10 --input 1x64x100
    """
    from audiocnn.describing import describe as described

    size = None if input is None else read_size(input)
    tables = terminal.wants_table(format)
    failed = 0
    for number, name in enumerate(names):
        try:
            found = described(spec_of(name, classes), size)
        except AudiocnnError as problem:
            failed += 1
            terminal.error(str(problem))
            continue
        if tables:
            from audiocnn_cli.layer_table import write_layers

            terminal.write("\n" if number else "")
            write_layers(found, terminal)
        else:
            terminal.write(json.dumps(to_dict(found), ensure_ascii=False) + "\n")
    return of_batch(len(names) - failed, failed)


def spec_of(name: str, classes: int | None) -> Spec:
    """The spec of a model folder, of a released model, or by itself."""
    from pathlib import Path

    from audiocnn.architecture import find_spec
    from audiocnn.model import find_model, spec_folders

    if Path(name).is_dir():
        spec = find_model(name).spec
        return spec if classes is None else spec.with_classes(classes)
    try:
        return find_spec(name, spec_folders(), classes)
    except SpecError as problem:
        try:
            spec = find_model(name).spec
        except ModelError:
            raise problem from None
    return spec if classes is None else spec.with_classes(classes)


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
        "parameters": found.parameters,
        "multiply_adds": found.multiply_adds,
        "multiply_adds_per_second": found.multiply_adds_per_second,
        "window": geometry.window_seconds if geometry else None,
        "hop": geometry.hop_seconds if geometry else None,
        "latency": found.latency_seconds,
        "shift_exact": geometry.shift_exact if geometry else None,
        "dense_weights": found.dense_weights,
        "layers": rows,
    }


def vars_of(row: object) -> dict[str, object]:
    """The fields of a row, shallow."""
    return {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}  # type: ignore[arg-type]
