"""Pooling, over a stretch or over all that is left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from audiocnn.kinds.reading import Context, read_padding
from audiocnn.layers import Layer
from audiocnn.sizes import Reach, Size
from audiocnn.tables import Table

if TYPE_CHECKING:
    from torch import nn

POOLS = ("max", "average", "l2")


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
        stride = "" if self.stride == self.size else ", stride " + "x".join(map(str, self.stride))
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
