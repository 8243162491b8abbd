"""Layers made of lists of layers: residual, branches, broadcast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from audiocnn.errors import SpecError
from audiocnn.kinds.reading import ACTIVATIONS, Context, read_layers
from audiocnn.layers import Layer, channels_of, line_up, reach_of, size_through
from audiocnn.sizes import Reach, Size
from audiocnn.tables import Table, shown

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Residual(Layer):
    """Layers whose output is added to their input (He et al. 2015): cropped to the middle where the layers are not
    padded, through a 1x1 convolution with batch norm where channels or strides differ, or where `project` asks."""

    layers: tuple[Layer, ...]
    activation: str = "none"
    dims: int = 1
    project: bool = False

    @classmethod
    def read(cls, table: Table, context: Context) -> Residual:
        """`residual`, a list of layers; `activation`, after the sum; `project`."""
        place, rows = table.place, table.raw("residual")
        layers = read_layers(rows, f"{place}: residual", context.inside(table))
        activation = table.text("activation", "none", ACTIVATIONS)
        return cls(layers, activation, context.dims, table.flag("project", False))

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
        return self.project or self.channels(size.channels) != size.channels or max(strides) > 1

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
        around = "a 1x1 projection of the input" if self.project else "the input"
        return f"residual, the sum of {around} and:" + (f" {self.activation}" if self.activation != "none" else "")

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
class Broadcast(Layer):
    """Layers over the mean of all bands; what comes out is added to every band (Kim et al. 2021, section 2.2)."""

    layers: tuple[Layer, ...]

    @classmethod
    def read(cls, table: Table, context: Context) -> Broadcast:
        """`broadcast`, a list of layers that see one band."""
        if context.dims == 1:
            raise table.wrong('"broadcast" is for 2-D, where there are bands to take the mean of; use residual')
        return cls(read_layers(table.raw("broadcast"), f"{table.place}: broadcast", context.inside(table)))

    def both(self, axis: int) -> list[Reach]:
        """The reach of the layers, and of the way around them."""
        return [reach_of(self.layers, axis), Reach()]

    def reach(self, axis: int) -> Reach:
        return line_up(self.both(axis))[0] if axis else Reach()

    @property
    def hears_all_bands(self) -> bool:
        return True

    def check(self, size: Size) -> None:
        after = size_through(self.layers, self.inputs(size)[0], "broadcast")
        if (after.channels, after.bands) != (size.channels, 1):
            raise SpecError(f"broadcast: {size.channels} channels of one band go in and {after} come out; keep both")
        if line_up(self.both(1))[1][0] != (0, 0):
            raise SpecError("broadcast: the layers inside make their input longer; use less padding")

    def inner(self) -> Sequence[Sequence[Layer]]:
        return (self.layers,)

    def inputs(self, size: Size) -> Sequence[Size]:
        """The mean of all bands."""
        return [Size(size.channels, (1, *size.axes[1:]))]

    def text(self) -> str:
        return "broadcast, added to every band: of the mean of all bands"

    def module(self, size: Size) -> nn.Module:
        from audiocnn import modules

        return modules.BroadcastSum(self, size)
