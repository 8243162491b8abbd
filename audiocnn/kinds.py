"""The kinds of layer, one class each: what a TOML table may say, sizes, costs, the torch module.

A new kind is a class here and a line in `KINDS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from audiocnn.errors import SpecError, did_you_mean
from audiocnn.layers import Layer, channels_of, line_up, reach_of, size_through
from audiocnn.sizes import Reach, Size
from audiocnn.tables import REQUIRED, Table, shown

if TYPE_CHECKING:
    from torch import nn

ACTIVATIONS = ("none", "relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid")
POOLS = ("max", "average", "l2")
MOST_NESTED = 16  # lists of layers inside layers


@dataclass(frozen=True)
class Context:
    """What a layer must know of its spec while it is read."""

    dims: int  # 1 or 2 axes
    classes: int  # what `conv = "labels"` stands for
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


@dataclass(frozen=True)
class Conv(Layer):
    """A convolution, then norm, activation and dropout if asked for."""

    maps: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    split: int = 1
    bias: bool = False
    separable: bool = False
    norm: str = "none"
    activation: str = "none"
    dropout: float = 0.0

    @classmethod
    def read(cls, table: Table, context: Context) -> Conv:
        """`conv`, `kernel`; `stride`, `padding`, `dilation`, `split`, `bias`, `separable`, `norm`, ..."""
        maps = context.classes if table.values.get("conv") == "labels" else table.integer("conv", most=10**6)
        table.raw("conv", None)
        if context.dims == 2 and type(table.values.get("kernel")) is int:
            raise table.wrong('"kernel" is one number here and two elsewhere in this spec; state [frequency, time]')
        kernel = context.axis_values(table, "kernel")
        dilation = context.axis_values(table, "dilation", 1)
        norm = table.text("norm", context.norm, ("batch", "none"))
        return cls(
            maps=maps,
            kernel=kernel,
            stride=context.axis_values(table, "stride", 1),
            padding=read_padding(table, [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]),
            dilation=dilation,
            split=table.integer("split", 1),
            bias=table.flag("bias", norm == "none"),
            separable=table.flag("separable", False),
            norm=norm,
            activation=table.text("activation", context.activation, ACTIVATIONS),
            dropout=table.number("dropout", 0.0, most=0.99),
        )

    def reach(self, axis: int) -> Reach:
        start, end = self.padding[axis]
        return Reach(self.dilation[axis] * (self.kernel[axis] - 1) + 1, self.stride[axis], start, end)

    def channels(self, channels: int) -> int:
        return self.maps

    def check(self, size: Size) -> None:
        if size.channels % self.split or self.maps % self.split:
            raise SpecError(f"split = {self.split} does not divide {size.channels} channels in and {self.maps} out")
        if self.separable and self.split > 1:
            raise SpecError("separable and split exclude each other; drop one of the two")

    def weights(self, size: Size) -> int:
        """Weights of the kernels alone."""
        taps = math.prod(self.kernel)
        if self.separable:
            return size.channels * taps + size.channels * self.maps
        return size.channels // self.split * taps * self.maps

    def parameters(self, size: Size) -> int:
        return self.weights(size) + self.maps * self.bias + 2 * self.maps * (self.norm == "batch")

    def multiply_adds(self, size: Size) -> int:
        return self.weights(size) * self.out(size).positions

    def text(self) -> str:
        words = [f"conv {self.maps} " + "x".join(map(str, self.kernel))]
        words += ["separable"] * self.separable + [f"split {self.split}"] * (self.split > 1)
        for name, values in (("stride", self.stride), ("dilation", self.dilation)):
            if max(values) > 1:
                words.append(f"{name} " + "x".join(map(str, values)))
        words += [name for name in (self.norm, self.activation) if name != "none"]
        words += [f"dropout {self.dropout:g}"] * (self.dropout > 0)
        return ", ".join(words)

    def module(self, size: Size) -> nn.Module:
        from audiocnn import modules

        return modules.convolution(self, size.channels)


@dataclass(frozen=True)
class Pool(Layer):
    """The largest, the mean, or the root of the sum of squares over a stretch."""

    kind: str
    size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]

    @classmethod
    def read(cls, table: Table, context: Context) -> Pool:
        """`pool`, `size`; `stride` (the size unless given), `padding`."""
        kind = table.text("pool", choices=POOLS)
        size = context.axis_values(table, "size")
        stride = context.axis_values(table, "stride", 1) if "stride" in table.values else size
        return cls(kind, size, stride, read_padding(table, [k - 1 for k in size]))

    def reach(self, axis: int) -> Reach:
        return Reach(self.size[axis], self.stride[axis], *self.padding[axis])

    def text(self) -> str:
        stride = "" if self.stride == self.size else " stride " + "x".join(map(str, self.stride))
        return f"{self.kind}-pool " + "x".join(map(str, self.size)) + stride

    def module(self, size: Size) -> nn.Module:
        from audiocnn import modules

        return modules.Pooling(self.kind, self.size, self.stride, self.padding)


@dataclass(frozen=True)
class Global(Layer):
    """Pooling over what is left: all bands and the whole window. It stands last and takes the place of F's width."""

    kind: str

    @classmethod
    def read(cls, table: Table, context: Context) -> Global:
        """`global` = max, average or l2."""
        return cls(table.text("global", choices=POOLS))

    def out(self, size: Size) -> Size:
        return Size(size.channels, (1,) * len(size.axes))

    def text(self) -> str:
        return f"global {self.kind}-pool"


@dataclass(frozen=True)
class Norm(Layer):
    """Normalisation on its own: `batch`, `sub_spectral` (batch norm of each channel in so many bands; Chang et al.
    2021, eq. 1), or `local_response` (Krizhevsky et al. 2012, section 3.3)."""

    kind: str
    bands: int = 1
    neighbours: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 2.0

    @classmethod
    def read(cls, table: Table, context: Context) -> Norm:
        """`norm`; with sub_spectral `bands`; with local_response `neighbours`, `alpha`, `beta`, `k`."""
        kind = table.text("norm", choices=("batch", "sub_spectral", "local_response"))
        if kind == "sub_spectral":
            return cls(kind, bands=table.integer("bands"))
        if kind == "local_response":
            return cls(
                kind,
                neighbours=table.integer("neighbours", cls.neighbours),
                alpha=table.number("alpha", cls.alpha),
                beta=table.number("beta", cls.beta),
                k=table.number("k", cls.k, above=True),
            )
        return cls(kind)

    def check(self, size: Size) -> None:
        if size.bands % self.bands:
            raise SpecError(f"bands = {self.bands} does not divide the {size.bands} positions in frequency")

    def parameters(self, size: Size) -> int:
        return 0 if self.kind == "local_response" else 2 * size.channels * self.bands

    def text(self) -> str:
        return f"{self.kind} norm" + (f" in {self.bands} bands" if self.bands > 1 else "")

    def module(self, size: Size) -> nn.Module:
        from audiocnn import modules

        return modules.normalisation(self, size)


@dataclass(frozen=True)
class Activation(Layer):
    """A nonlinearity on its own."""

    kind: str

    @classmethod
    def read(cls, table: Table, context: Context) -> Activation:
        """`activation`."""
        return cls(table.text("activation", choices=ACTIVATIONS))

    def text(self) -> str:
        return self.kind

    def module(self, size: Size) -> nn.Module:
        from audiocnn import modules

        return modules.activation(self.kind)


@dataclass(frozen=True)
class Dropout(Layer):
    """Zeroes a share of the values while training."""

    share: float

    @classmethod
    def read(cls, table: Table, context: Context) -> Dropout:
        """`dropout`, the share."""
        return cls(table.number("dropout", most=0.99))

    def text(self) -> str:
        return f"dropout {self.share:g}"

    def module(self, size: Size) -> nn.Module:
        from torch import nn

        return nn.Dropout(self.share)


@dataclass(frozen=True)
class Residual(Layer):
    """Layers whose output is added to their input (He et al. 2015): cropped to the middle where the layers are not
    padded, through a 1x1 convolution with batch norm where channels or strides differ."""

    layers: tuple[Layer, ...]
    activation: str = "none"
    dims: int = 1

    @classmethod
    def read(cls, table: Table, context: Context) -> Residual:
        """`residual`, a list of layers; `activation`, after the sum."""
        place, rows = table.place, table.raw("residual")
        layers = read_layers(rows, f"{place}: residual", context.inside(table))
        return cls(layers, table.text("activation", "none", ACTIVATIONS), context.dims)

    def reach(self, axis: int) -> Reach:
        return line_up(self.both(axis))[0]

    def both(self, axis: int) -> list[Reach]:
        """The reach of the layers, and of the way around them."""
        inside = reach_of(self.layers, axis)
        return [inside, Reach(stride=inside.stride)]

    def channels(self, channels: int) -> int:
        return channels_of(self.layers, channels)

    def projects(self, size: Size) -> bool:
        """Whether the way around needs a convolution."""
        strides = [reach_of(self.layers, axis).stride for axis in range(self.dims)]
        return self.channels(size.channels) != size.channels or max(strides) > 1

    def check(self, size: Size) -> None:
        size_through(self.layers, size, "residual")
        for axis in range(self.dims):
            if line_up(self.both(axis))[1][0] != (0, 0):
                raise SpecError("residual: the layers inside make their input longer; use less padding")

    def parameters(self, size: Size) -> int:
        maps = self.channels(size.channels)
        return (size.channels + 2) * maps if self.projects(size) else 0

    def multiply_adds(self, size: Size) -> int:
        maps = self.channels(size.channels)
        return size.channels * maps * self.out(size).positions if self.projects(size) else 0

    def inner(self) -> Sequence[Sequence[Layer]]:
        return (self.layers,)

    def text(self) -> str:
        return "residual, the sum of the input and:" + (f" {self.activation}" if self.activation != "none" else "")

    def module(self, size: Size) -> nn.Module:
        from audiocnn import modules

        return modules.ResidualSum(self, size)


@dataclass(frozen=True)
class Branches(Layer):
    """Lists of layers side by side; their channels are joined (Szegedy et al. 2014)."""

    branches: tuple[tuple[Layer, ...], ...]

    @classmethod
    def read(cls, table: Table, context: Context) -> Branches:
        """`branches`, a list of lists of layers; an empty list hands the input on."""
        rows = table.raw("branches")
        if not isinstance(rows, list) or len(rows) < 2:
            raise table.wrong(f'"branches" must be a list of two or more lists of layers, not {shown(rows)}')
        places = (f"{table.place}: branch {i}" for i in range(1, len(rows) + 1))
        deeper = context.inside(table)
        return cls(tuple(read_layers(row, place, deeper, True) for row, place in zip(rows, places, strict=True)))

    def both(self, axis: int) -> list[Reach]:
        """The reach of each branch."""
        return [reach_of(branch, axis) for branch in self.branches]

    def reach(self, axis: int) -> Reach:
        return line_up(self.both(axis))[0]

    def channels(self, channels: int) -> int:
        return sum(channels_of(branch, channels) for branch in self.branches)

    def check(self, size: Size) -> None:
        for number, (branch, part) in enumerate(zip(self.branches, self.inputs(size), strict=True), 1):
            size_through(branch, part, f"branch {number}")

    def inner(self) -> Sequence[Sequence[Layer]]:
        return self.branches

    def inputs(self, size: Size) -> Sequence[Size]:
        """The branch that shrinks its input most gets all of it; the others less, around the same centre."""
        joined = [line_up(self.both(axis)) for axis in range(len(size.axes))]
        if any(whole.out(n) < 1 for n, (whole, _) in zip(size.axes, joined, strict=True)):
            return [size] * len(self.branches)  # too short: the branch for which it is will say so
        cut = [[n - sum(crop) for crop in crops] for n, (_, crops) in zip(size.axes, joined, strict=True)]
        return [Size(size.channels, axes) for axes in zip(*cut, strict=True)]

    def text(self) -> str:
        return f"{len(self.branches)} branches, channels joined:"

    def module(self, size: Size) -> nn.Module:
        from audiocnn import modules

        return modules.JoinedBranches(self, size)


@dataclass(frozen=True)
class Dense(Layer):
    """A fully connected layer of F: over a window of T positions it is a convolution of width T."""

    neurons: int
    activation: str = "none"
    dropout: float = 0.0

    @classmethod
    def read(cls, table: Table, context: Context) -> Dense:
        """`dense`, the neurons; `activation`, `dropout`."""
        activation = table.text("activation", context.activation, ACTIVATIONS)
        neurons = table.integer("dense", most=10**6)
        return cls(neurons, activation, table.number("dropout", 0.0, most=0.99))

    def out(self, size: Size) -> Size:
        return Size(self.neurons, (1,) * len(size.axes))

    def parameters(self, size: Size) -> int:
        return (size.channels * size.positions + 1) * self.neurons

    def multiply_adds(self, size: Size) -> int:
        return size.channels * size.positions * self.neurons

    def text(self) -> str:
        words = [f"dense {self.neurons}"] + [self.activation] * (self.activation != "none")
        return ", ".join(words + [f"dropout {self.dropout:g}"] * (self.dropout > 0))


@dataclass(frozen=True)
class Recurrent(Layer):
    """A GRU or LSTM over the positions of one window, from the first to the last; its final state goes on."""

    units: int
    kind: str = "gru"
    bidirectional: bool = False

    @classmethod
    def read(cls, table: Table, context: Context) -> Recurrent:
        """`recurrent`, the units; `kind` = gru or lstm; `bidirectional`."""
        kind = table.text("kind", cls.kind, ("gru", "lstm"))
        return cls(table.integer("recurrent", most=10**5), kind, table.flag("bidirectional", False))

    @property
    def ways(self) -> int:
        """1, or 2 if it runs in both directions."""
        return 1 + self.bidirectional

    @property
    def gates(self) -> int:
        """Weight matrices in a cell."""
        return 3 if self.kind == "gru" else 4

    def out(self, size: Size) -> Size:
        return Size(self.units * self.ways, (1,) * len(size.axes))

    def parameters(self, size: Size) -> int:
        return self.ways * self.gates * self.units * (size.channels * size.bands + self.units + 2)

    def multiply_adds(self, size: Size) -> int:
        return self.ways * self.gates * self.units * (size.channels * size.bands + self.units) * size.time

    def text(self) -> str:
        return f"{self.kind} {self.units}" + (" in both directions" if self.bidirectional else "")


KINDS: dict[str, Callable[[Table, Context], Layer]] = {
    "conv": Conv.read,
    "pool": Pool.read,
    "global": Global.read,
    "residual": Residual.read,
    "branches": Branches.read,
    "dense": Dense.read,
    "recurrent": Recurrent.read,
    "norm": Norm.read,
    "activation": Activation.read,
    "dropout": Dropout.read,
}


def read_layers(rows: object, place: str, context: Context, empty: bool = False) -> tuple[Layer, ...]:
    """A TOML list of tables as layers. Raises SpecError naming the place, the fact and the remedy."""
    if not isinstance(rows, list) or not (rows or empty):
        raise SpecError(f"{place}: a list of layers was expected, not {shown(rows)}")
    return tuple(read_layer(row, f"{place}: layer {i}", context) for i, row in enumerate(rows, 1))


def read_layer(row: object, place: str, context: Context) -> Layer:
    """One layer: the first key of `KINDS` that stands in the table says what it is."""
    table = Table(row, place, SpecError)
    kind = next((name for name in KINDS if name in table.values), None)
    if kind is None:
        first = next(iter(table.values), "")
        raise table.wrong(f'"{first}" names no kind of layer; {did_you_mean(first, KINDS)}')
    layer = KINDS[kind](table, context)
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
