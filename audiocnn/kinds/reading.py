"""How layers are read from TOML: what a layer must know of its spec, lists of layers, padding."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from audiocnn.errors import SpecError, did_you_mean
from audiocnn.layers import Layer
from audiocnn.tables import REQUIRED, Table, shown

ACTIVATIONS = ("none", "relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid")
MOST_NESTED = 16  # lists of layers inside layers


Reader = Callable[[Table, "Context"], Layer]


@dataclass(frozen=True)
class Context:
    """What a layer must know of its spec while it is read."""

    dims: int  # 1 or 2 axes
    classes: int  # what `conv = "labels"` stands for: all that F gives for a window
    kinds: Mapping[str, Reader]  # of layer, by the key that says what a table is
    norm: str = "none"
    activation: str = "none"
    depth: int = 0

    def inside(self, table: Table) -> Context:
        """The context of a list of layers inside a layer."""
        if self.depth == MOST_NESTED:
            raise table.wrong(f"layers stand inside layers more than {MOST_NESTED} deep; use fewer")
        return replace(self, depth=self.depth + 1)

    def axis_values(self, table: Table, key: str, default: Any = REQUIRED, least: int = 1) -> tuple[int, ...]:
        """A whole number for each axis; one number stands for all, but not for a kernel in 2-D."""
        value = table.raw(key, default)
        values = [value] * self.dims if type(value) is int else value
        whole = isinstance(values, list) and all(type(x) is int and least <= x < 10**7 for x in values)
        if not whole or len(values) != self.dims:
            wanted = "one whole number" if self.dims == 1 else "two whole numbers, [frequency, time]"
            raise table.wrong(f'"{key}" must be {wanted}, at least {least}, not {shown(value)}')
        return tuple(values)


def read_layers(rows: object, place: str, context: Context, empty: bool = False) -> tuple[Layer, ...]:
    """A TOML list of tables as layers. Raises SpecError naming the place, the fact and the remedy."""
    if not isinstance(rows, list) or not (rows or empty):
        raise SpecError(f"{place}: a list of layers was expected, not {shown(rows)}")
    return tuple(read_layer(row, f"{place}: layer {i}", context) for i, row in enumerate(rows, 1))


def read_layer(row: object, place: str, context: Context) -> Layer:
    """One layer: the first of the known keys that stands in the table says what it is."""
    table = Table(row, place, SpecError)
    kind = next((name for name in context.kinds if name in table.values), None)
    if kind is None:
        first = next(iter(table.values), "")
        raise table.wrong(f'"{first}" names no kind of layer; {did_you_mean(first, context.kinds)}')
    layer = context.kinds[kind](table, context)
    table.close()
    return layer


def read_padding(table: Table, same: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """`padding` for each axis as (start, end). `same` is what keeps each axis its length at stride 1.

    1-D: a number, "same" or [start, end]. 2-D: a number or "same" for both axes, or a list [frequency, time] of those.
    """
    value = table.raw("padding", 0)
    per_axis = value if isinstance(value, list) and len(same) == 2 else [value] * len(same)
    if len(per_axis) != len(same):
        raise table.wrong(f'"padding" must have one entry for each axis, not {shown(value)}')
    pads = []
    for entry, total in zip(per_axis, same, strict=True):
        pad = [total // 2, total - total // 2] if entry == "same" else [entry] * 2 if type(entry) is int else entry
        if not (isinstance(pad, list) and len(pad) == 2 and all(type(x) is int and x >= 0 for x in pad)):
            raise table.wrong(f'"padding" must be a number, "same" or [start, end], not {shown(value)}')
        if max(pad) > total:
            raise table.wrong(f'"padding" {shown(value)} is more than the kernel reaches over; at most {total}')
        pads.append((pad[0], pad[1]))
    return tuple(pads)
