"""The kinds of layer, one class each: their TOML keys, sizes and costs, by arithmetic and without torch.

A new kind consists of a class, a line in `LAYER_KINDS`, and a builder in `modules`; docs/background/networks.md shows
an example.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from audiocnn.errors import SpecError, did_you_mean
from audiocnn.spec.geometry import ReceptiveField, Size, align_branches
from audiocnn.toml import REQUIRED, TomlTable, repr_value

MOST_NUMBERS = 2**29  # limit of a layer's output for one window: two gigabytes as float32; more is rejected
ACTIVATIONS = ("none", "relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid")
POOLS = ("max", "average", "l2")
MOST_NESTED = 16  # lists of layers inside layers
_MOST_LEVEL_POSITIONS = 100_000


class Layer:
    """One layer. A subclass states its differences from a layer that changes neither sizes nor channels."""

    def receptive_field(self, axis: int) -> ReceptiveField:
        """The receptive field of one output along an axis (0 is the first; the last is time)."""
        return ReceptiveField()

    def channels(self, channels: int) -> int:
        return channels

    def parameters(self, size: Size) -> int:
        """The number of trainable weights; nested layers are counted by `inner`."""
        return 0

    def multiply_adds(self, size: Size) -> int:
        """Multiply-adds for one input of this size; nested layers are counted by `inner`."""
        return 0

    def check(self, size: Size) -> None:
        """Raises SpecError, without the place, if this input cannot be processed."""

    def inner(self) -> Sequence[Sequence[Layer]]:
        return ()

    def inputs(self, size: Size) -> Sequence[Size]:
        """The input size of each nested list, for an input of this size."""
        return [size] * len(self.inner())

    @property
    def hears_all_bands(self) -> bool:
        """Whether one position depends on all bands, which a receptive field cannot express."""
        return any(layer.hears_all_bands for inside in self.inner() for layer in inside)

    def text(self) -> str:
        """The layer in a few words, for `describe`."""
        raise NotImplementedError

    def out(self, size: Size) -> Size:
        """The size of the output. Raises SpecError if nothing would remain."""
        self.check(size)
        axes = tuple(self.receptive_field(axis).out(n) for axis, n in enumerate(size.axes))
        if min(axes) < 1:
            axis = next(i for i, n in enumerate(axes) if n < 1)
            name = "time" if axis == len(axes) - 1 else "frequency"
            reach = self.receptive_field(axis)
            raise SpecError(
                f"{self.text()} needs at least {reach.shrink} positions in {name} and gets {size.axes[axis]}"
                f" (input {size}); make the input longer, or kernel, pool or stride smaller"
            )
        return Size(self.channels(size.channels), axes)


def receptive_field_of(layers: Sequence[Layer], axis: int) -> ReceptiveField:
    whole = ReceptiveField()
    for layer in layers:
        whole = whole.then(layer.receptive_field(axis))
    return whole


def _channels_of(layers: Sequence[Layer], channels: int) -> int:
    for layer in layers:
        channels = layer.channels(channels)
    return channels


def size_through(layers: Sequence[Layer], size: Size, place: str) -> Size:
    """The size after layers in sequence. Its SpecError names the place and the layer."""
    try:
        return [size, *(after for _, after in sizes_through(layers, size))][-1]
    except SpecError as problem:
        raise SpecError(f"{place}: {problem}") from None


def count_parameters(layers: Sequence[Layer], size: Size) -> int:
    """Trainable weights of layers in sequence, including nested layers."""
    total = 0
    for layer, after in sizes_through(layers, size):
        total += layer.parameters(size)
        total += sum(count_parameters(*pair) for pair in zip(layer.inner(), layer.inputs(size), strict=True))
        size = after
    return total


def sizes_through(layers: Sequence[Layer], size: Size) -> Iterator[tuple[Layer, Size]]:
    """Each layer with the size of its output. Its SpecError names the layer."""
    for number, layer in enumerate(layers, 1):
        try:
            size = layer.out(size)
        except SpecError as problem:
            raise SpecError(f"layer {number}: {problem}") from None
        yield layer, size


def checked_size_through(layers: Sequence[Layer], size: Size, place: str = "") -> Size:
    """The size after layers in sequence. Raises SpecError if the output of a layer, also a nested one, would fill
    gigabytes."""
    for number, (layer, after) in enumerate(sizes_through(layers, size), 1):
        try:
            refuse_large(after, layer.text())
            lists = layer.inner()
            for branch, (inside, given) in enumerate(zip(lists, layer.inputs(size), strict=True), 1):
                checked_size_through(inside, given, f"branch {branch}: " if len(lists) > 1 else "inside: ")
        except SpecError as problem:
            raise SpecError(f"{place}layer {number}: {problem}") from None
        size = after
    return size


def refuse_large(size: Size, what: str) -> None:
    """Raises SpecError, without the place, if this many numbers would fill gigabytes."""
    if (numbers := size.channels * size.positions) > MOST_NUMBERS:
        gigabytes = f"{what.rstrip(':')}: {size} numbers are {4e-9 * numbers:,.1f} GB as float32"
        raise SpecError(f"{gigabytes}, too large to compute; use fewer maps or a smaller input")


def each_layer(layers: Sequence[Layer]) -> Iterator[Layer]:
    """Every layer, including nested ones."""
    for layer in layers:
        yield layer
        for inside in layer.inner():
            yield from each_layer(inside)


@dataclass(frozen=True)
class Context:
    """Facts about the spec that are needed to read a layer."""

    dims: int  # 1 or 2 axes
    classes: int  # meaning of `conv = "labels"`: the number of outputs of F for a window
    norm: str = "none"
    activation: str = "none"
    depth: int = 0
    position_seconds: float = 1.0  # between adjacent inputs

    def inside(self, table: TomlTable) -> Context:
        if self.depth == MOST_NESTED:
            raise table.wrong(f"layers are nested more than {MOST_NESTED} deep; use fewer levels")
        return replace(self, depth=self.depth + 1)

    def behind(self, layer: Layer) -> Context:
        """The context of the layer after this one."""
        with suppress(SpecError):  # branches that cannot be aligned are reported elsewhere
            stride = layer.receptive_field(self.dims - 1).stride
            return replace(self, position_seconds=self.position_seconds * stride) if stride > 1 else self
        return self

    def axis_values(self, table: TomlTable, key: str, default: Any = REQUIRED, least: int = 1) -> tuple[int, ...]:
        """An integer for each axis. A single number applies to all axes, except for a kernel in 2-D."""
        value = table.raw(key, default)
        values = [value] * self.dims if type(value) is int else value
        whole = isinstance(values, list) and all(type(x) is int and least <= x < 10**7 for x in values)
        if not whole or len(values) != self.dims:
            wanted = "one whole number" if self.dims == 1 else "two whole numbers, [frequency, time]"
            raise table.wrong(f'"{key}" must be {wanted}, at least {least}, not {repr_value(value)}')
        return tuple(values)


def _read_padding(table: TomlTable, same: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """`padding` for each axis as (start, end). `same` keeps the length of each axis at stride 1.

    1-D: a number, "same" or [start, end]. 2-D: a number or "same" for both axes, or a list [frequency, time] of those.
    """
    value = table.raw("padding", 0)
    per_axis = value if isinstance(value, list) and len(same) == 2 else [value] * len(same)
    if len(per_axis) != len(same):
        raise table.wrong(f'"padding" must have one entry for each axis, not {repr_value(value)}')
    pads = []
    for entry, total in zip(per_axis, same, strict=True):
        pad = [total // 2, total - total // 2] if entry == "same" else [entry] * 2 if type(entry) is int else entry
        if not (isinstance(pad, list) and len(pad) == 2 and all(type(x) is int and x >= 0 for x in pad)):
            raise table.wrong(f'"padding" must be a number, "same" or [start, end], not {repr_value(value)}')
        if max(pad) > total:
            raise table.wrong(f'"padding" {repr_value(value)} is larger than the reach of the kernel; at most {total}')
        pads.append((pad[0], pad[1]))
    return tuple(pads)


@dataclass(frozen=True)
class Conv(Layer):
    """A convolution, optionally followed by norm, activation and dropout."""

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
    def read(cls, table: TomlTable, context: Context) -> Conv:
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
            padding=_read_padding(table, [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]),
            dilation=dilation,
            split=table.integer("split", 1),
            bias=table.flag("bias", norm == "none"),
            separable=table.flag("separable", False),
            norm=norm,
            activation=table.text("activation", context.activation, ACTIVATIONS),
            dropout=table.number("dropout", 0.0, most=0.99),
        )

    def receptive_field(self, axis: int) -> ReceptiveField:
        start, end = self.padding[axis]
        return ReceptiveField(self.dilation[axis] * (self.kernel[axis] - 1) + 1, self.stride[axis], start, end)

    def channels(self, channels: int) -> int:
        return self.maps

    def check(self, size: Size) -> None:
        if size.channels % self.split or self.maps % self.split:
            raise SpecError(f"split = {self.split} does not divide {size.channels} channels in and {self.maps} out")
        if self.separable and self.split > 1:
            raise SpecError("separable and split exclude each other; drop one of the two")

    def weights(self, size: Size) -> int:
        """Weights of the kernels only."""
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


@dataclass(frozen=True)
class Pool(Layer):
    """The maximum, the mean, or the root of the sum of squares of a window."""

    kind: str
    size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]

    @classmethod
    def read(cls, table: TomlTable, context: Context) -> Pool:
        """`pool`, `size`; `stride` (by default the size), `padding`."""
        kind = table.text("pool", choices=POOLS)
        size = context.axis_values(table, "size")
        stride = context.axis_values(table, "stride", 1) if "stride" in table.values else size
        return cls(kind, size, stride, _read_padding(table, [k - 1 for k in size]))

    def receptive_field(self, axis: int) -> ReceptiveField:
        return ReceptiveField(self.size[axis], self.stride[axis], *self.padding[axis])

    def text(self) -> str:
        stride = "" if self.stride == self.size else ", stride " + "x".join(map(str, self.stride))
        return f"{self.kind}-pool " + "x".join(map(str, self.size)) + stride


@dataclass(frozen=True)
class Global(Layer):
    """Pooling over all that is left: all bands and the whole window. It is the last layer and takes the place of F's
    width."""

    kind: str

    @classmethod
    def read(cls, table: TomlTable, context: Context) -> Global:
        """`global` = max, average or l2."""
        return cls(table.text("global", choices=POOLS))

    def out(self, size: Size) -> Size:
        return Size(size.channels, (1,) * len(size.axes))

    def text(self) -> str:
        return f"global {self.kind}-pool"


@dataclass(frozen=True)
class Norm(Layer):
    """Normalisation as a separate layer. `batch`; `sub_spectral`: batch norm of each channel in groups of bands (Chang
    et al. 2021, eq. 1); `local_response` (Krizhevsky et al. 2012, section 3.3); or `level`, for values that are
    logarithms of power. It subtracts the level of all bands over a number of surrounding positions: the logarithm of
    their mean power, or the mean of the logarithms. A gain of the whole input then changes nothing. The level may look
    less far ahead than back. With padding, it is computed at both ends of a recording from the positions that exist."""

    kind: str
    bands: int = 1
    neighbours: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 2.0
    positions: int = 1
    dims: int = 1
    mean: str = "power"
    seconds: float = 0.0  # if seconds were given instead of positions
    range_db: float = 0.0  # lower limit of values below the level; 0: none
    ahead: int = 0  # how many of the positions lie ahead
    padded: bool = False
    to_db: float = 0.0  # the value to which the level is moved
    least_db: float | None = None  # lower limit of the level

    @classmethod
    def read(cls, table: TomlTable, context: Context) -> Norm:
        """`norm`; with sub_spectral `bands`; with local_response `neighbours`, `alpha`, `beta`, `k`; with level
        `positions`, an odd number, or `seconds`, `ahead_seconds`, `mean`, `range_db`, `to_db`, `least_db` and
        `padding`."""
        kind = table.text("norm", choices=("batch", "sub_spectral", "local_response", "level"))
        if kind == "level":
            return cls._read_level(table, context)
        if kind == "sub_spectral":
            return cls(kind, bands=table.integer("bands"))
        if kind == "local_response":
            return cls(
                kind,
                neighbours=table.integer("neighbours", cls.neighbours, most=1000),
                alpha=table.number("alpha", cls.alpha),
                beta=table.number("beta", cls.beta),
                k=table.number("k", cls.k, above=True),
            )
        return cls(kind)

    @classmethod
    def _read_level(cls, table: TomlTable, context: Context) -> Norm:
        seconds = table.number("seconds", 0.0, above=True, most=600.0)
        mean = table.text("mean", "log" if seconds else "power", ("log", "power"))
        range_db, to_db = (
            table.number("range_db", 0.0, most=300.0),
            table.number("to_db", 0.0, least=-300.0, most=300.0),
        )
        least_db = table.number("least_db", None, least=-300.0, most=300.0)
        if seconds and "positions" in table.values:
            raise table.wrong('"seconds" and "positions" both set the length of the level; keep one')
        padding = table.raw("padding", 0)
        if padding not in (0, "same"):
            raise table.wrong(f'"padding" of a level must be 0 or "same", not {repr_value(padding)}')
        padded = padding == "same"
        if not seconds:
            positions = table.integer("positions", most=_MOST_LEVEL_POSITIONS)
            if positions % 2 == 0:
                raise table.wrong(f'"positions" must be odd, so that one is in the middle, not {positions}')
            return cls("level", 1, positions=positions, dims=context.dims, mean=mean, range_db=range_db,
                       ahead=positions // 2, padded=padded, to_db=to_db, least_db=least_db)  # fmt: skip
        positions = 2 * round((seconds / context.position_seconds - 1.0) / 2.0) + 1  # one is in the middle
        ahead = positions // 2
        if "ahead_seconds" in table.values:
            ahead_seconds = table.number("ahead_seconds", most=seconds)
            positions = max(1, round(seconds / context.position_seconds))
            ahead = min(positions - 1, round(ahead_seconds / context.position_seconds))
        if positions > _MOST_LEVEL_POSITIONS:
            raise table.wrong(f'"seconds" {seconds:g} are {positions} positions here; use fewer seconds')
        return cls("level", 1, positions=positions, dims=context.dims, mean=mean, seconds=seconds, range_db=range_db,
                   ahead=ahead, padded=padded, to_db=to_db, least_db=least_db)  # fmt: skip

    @property
    def back(self) -> int:
        """How many positions a level looks back."""
        return self.positions - 1 - self.ahead

    def check(self, size: Size) -> None:
        if size.bands % self.bands:
            raise SpecError(f"bands = {self.bands} does not divide the {size.bands} positions in frequency")

    def receptive_field(self, axis: int) -> ReceptiveField:
        if self.kind != "level" or axis != self.dims - 1:
            return ReceptiveField()
        start, end = (self.back, self.ahead) if self.padded else (0, 0)
        return ReceptiveField(self.positions, 1, start, end, self.back - self.ahead, spare=end, spare_start=start)

    @property
    def hears_all_bands(self) -> bool:
        return self.kind == "level"

    def parameters(self, size: Size) -> int:
        return 0 if self.kind in ("local_response", "level") else 2 * size.channels * self.bands

    def text(self) -> str:
        if self.kind == "level":
            seconds = f" ({self.seconds:g} s)" if self.seconds else ""
            words = [f"level norm over {self.positions}{seconds}"]
            words += [f"{self.ahead} ahead"] * (self.back != self.ahead) + ["mean of logarithms"] * (self.mean == "log")
            words += ["padded"] * self.padded
            words += [f"{self.range_db:g} dB"] * (self.range_db > 0) + [f"to {self.to_db:g} dB"] * (self.to_db != 0)
            words += [] if self.least_db is None else [f"at least {self.least_db:g} dB"]
            return ", ".join(words)
        return f"{self.kind} norm" + (f" in {self.bands} bands" if self.bands > 1 else "")


@dataclass(frozen=True)
class Activation(Layer):
    kind: str

    @classmethod
    def read(cls, table: TomlTable, context: Context) -> Activation:
        return cls(table.text("activation", choices=ACTIVATIONS))

    def text(self) -> str:
        return self.kind


@dataclass(frozen=True)
class Dropout(Layer):
    share: float

    @classmethod
    def read(cls, table: TomlTable, context: Context) -> Dropout:
        """`dropout`, the share of values that are dropped."""
        return cls(table.number("dropout", most=0.99))

    def text(self) -> str:
        return f"dropout {self.share:g}"


@dataclass(frozen=True)
class Dense(Layer):
    """A fully connected layer of F: over a window of T positions it is a convolution of width T."""

    neurons: int
    activation: str = "none"
    dropout: float = 0.0

    @classmethod
    def read(cls, table: TomlTable, context: Context) -> Dense:
        """`dense`, the number of neurons; `activation`, `dropout`."""
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
    """A GRU or LSTM over the positions of one window, from the first to the last; its final state is the output."""

    units: int
    kind: str = "gru"
    bidirectional: bool = False

    @classmethod
    def read(cls, table: TomlTable, context: Context) -> Recurrent:
        """`recurrent`, the number of units; `kind` = gru or lstm; `bidirectional`."""
        kind = table.text("kind", cls.kind, ("gru", "lstm"))
        return cls(table.integer("recurrent", most=10**5), kind, table.flag("bidirectional", False))

    @property
    def ways(self) -> int:
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


@dataclass(frozen=True)
class Residual(Layer):
    """Layers whose output is added to their input (He et al. 2015). If the layers are not padded, the input is cropped
    around its middle. If channels or strides differ, or with `project`, it passes through a 1x1 convolution with batch
    norm."""

    layers: tuple[Layer, ...]
    activation: str = "none"
    dims: int = 1
    project: bool = False

    @classmethod
    def read(cls, table: TomlTable, context: Context) -> Residual:
        """`residual`, a list of layers; `activation`, after the sum; `project`."""
        place, rows = table.place, table.raw("residual")
        layers = read_layers(rows, f"{place}: residual", context.inside(table))
        activation = table.text("activation", "none", ACTIVATIONS)
        return cls(layers, activation, context.dims, table.flag("project", False))

    def receptive_field(self, axis: int) -> ReceptiveField:
        return align_branches(self.branch_fields(axis))[0]

    def branch_fields(self, axis: int) -> list[ReceptiveField]:
        inside = receptive_field_of(self.layers, axis)
        return [inside, ReceptiveField(stride=inside.stride)]

    def channels(self, channels: int) -> int:
        return _channels_of(self.layers, channels)

    def projects(self, size: Size) -> bool:
        strides = [receptive_field_of(self.layers, axis).stride for axis in range(self.dims)]
        return self.project or self.channels(size.channels) != size.channels or max(strides) > 1

    def check(self, size: Size) -> None:
        size_through(self.layers, size, "residual")
        for axis in range(self.dims):
            if align_branches(self.branch_fields(axis))[1][0] != (0, 0):
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
        around = "a 1x1 projection of the input" if self.project else "the input"
        return f"residual, the sum of {around} and:" + (f" {self.activation}" if self.activation != "none" else "")


@dataclass(frozen=True)
class Branches(Layer):
    """Lists of layers side by side; their channels are joined (Szegedy et al. 2014)."""

    branches: tuple[tuple[Layer, ...], ...]

    @classmethod
    def read(cls, table: TomlTable, context: Context) -> Branches:
        """`branches`, a list of lists of layers; an empty list passes its input on."""
        rows = table.raw("branches")
        if not isinstance(rows, list) or len(rows) < 2:
            raise table.wrong(f'"branches" must be a list of two or more lists of layers, not {repr_value(rows)}')
        places = (f"{table.place}: branch {i}" for i in range(1, len(rows) + 1))
        deeper = context.inside(table)
        return cls(tuple(read_layers(row, place, deeper, True) for row, place in zip(rows, places, strict=True)))

    def branch_fields(self, axis: int) -> list[ReceptiveField]:
        return [receptive_field_of(branch, axis) for branch in self.branches]

    def receptive_field(self, axis: int) -> ReceptiveField:
        return align_branches(self.branch_fields(axis))[0]

    def channels(self, channels: int) -> int:
        return sum(_channels_of(branch, channels) for branch in self.branches)

    def check(self, size: Size) -> None:
        for number, (branch, part) in enumerate(zip(self.branches, self.inputs(size), strict=True), 1):
            size_through(branch, part, f"branch {number}")

    def inner(self) -> Sequence[Sequence[Layer]]:
        return self.branches

    def inputs(self, size: Size) -> Sequence[Size]:
        """The branch that shrinks its input most gets all of it; the others get less, around the same centre."""
        joined = [align_branches(self.branch_fields(axis)) for axis in range(len(size.axes))]
        if any(whole.out(n) < 1 for n, (whole, _) in zip(size.axes, joined, strict=True)):
            return [size] * len(self.branches)  # too short: the branch that it is too short for reports this
        cut = [[n - sum(crop) for crop in crops] for n, (_, crops) in zip(size.axes, joined, strict=True)]
        return [Size(size.channels, axes) for axes in zip(*cut, strict=True)]

    def text(self) -> str:
        return f"{len(self.branches)} branches, channels joined:"


@dataclass(frozen=True)
class Broadcast(Layer):
    """Layers that process the mean of all bands; their output is added to every band (Kim et al. 2021, section 2.2)."""

    layers: tuple[Layer, ...]

    @classmethod
    def read(cls, table: TomlTable, context: Context) -> Broadcast:
        """`broadcast`, a list of layers that see a single band."""
        if context.dims == 1:
            raise table.wrong('"broadcast" is for 2-D, because it uses the mean of bands; in 1-D, use residual')
        return cls(read_layers(table.raw("broadcast"), f"{table.place}: broadcast", context.inside(table)))

    def branch_fields(self, axis: int) -> list[ReceptiveField]:
        return [receptive_field_of(self.layers, axis), ReceptiveField()]

    def receptive_field(self, axis: int) -> ReceptiveField:
        return align_branches(self.branch_fields(axis))[0] if axis else ReceptiveField()

    @property
    def hears_all_bands(self) -> bool:
        return True

    def check(self, size: Size) -> None:
        after = size_through(self.layers, self.inputs(size)[0], "broadcast")
        if (after.channels, after.bands) != (size.channels, 1):
            raise SpecError(
                f"broadcast: {size.channels} channels of one band go in, but {after} come out; keep both the same"
            )
        if align_branches(self.branch_fields(1))[1][0] != (0, 0):
            raise SpecError("broadcast: the layers inside make their input longer; use less padding")

    def inner(self) -> Sequence[Sequence[Layer]]:
        return (self.layers,)

    def inputs(self, size: Size) -> Sequence[Size]:
        return [Size(size.channels, (1, *size.axes[1:]))]

    def text(self) -> str:
        return "broadcast, added to every band: of the mean of all bands"


_Reader = Callable[[TomlTable, Context], Layer]
# The first of these keys that a table contains determines the kind of layer.
LAYER_KINDS: dict[str, _Reader] = {
    "conv": Conv.read,
    "pool": Pool.read,
    "global": Global.read,
    "residual": Residual.read,
    "branches": Branches.read,
    "broadcast": Broadcast.read,
    "dense": Dense.read,
    "recurrent": Recurrent.read,
    "norm": Norm.read,
    "activation": Activation.read,
    "dropout": Dropout.read,
}


def read_layers(rows: object, place: str, context: Context, empty: bool = False) -> tuple[Layer, ...]:
    """Layers from a TOML list of tables. Raises SpecError naming the place, the fact and the remedy."""
    if not isinstance(rows, list) or not (rows or empty):
        raise SpecError(f"{place}: a list of layers was expected, not {repr_value(rows)}")
    layers = []
    for number, row in enumerate(rows, 1):
        layers.append(read_layer(row, f"{place}: layer {number}", context))
        context = context.behind(layers[-1])
    return tuple(layers)


def read_layer(row: object, place: str, context: Context) -> Layer:
    """One layer, whose kind is determined by the first known key in the table."""
    table = TomlTable(row, place, SpecError)
    kind = next((name for name in LAYER_KINDS if name in table.values), None)
    if kind is None:
        first = next(iter(table.values), "")
        raise table.wrong(f'"{first}" is not a kind of layer; {did_you_mean(first, LAYER_KINDS)}')
    layer = LAYER_KINDS[kind](table, context)
    table.close()
    return layer
