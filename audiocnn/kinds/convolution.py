"""Convolution."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from audiocnn.errors import SpecError
from audiocnn.kinds.reading import ACTIVATIONS, Context, read_padding
from audiocnn.layers import Layer
from audiocnn.sizes import Reach, Size
from audiocnn.tables import Table

if TYPE_CHECKING:
    from torch import nn


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
