"""What a layer is: sizes and costs by arithmetic, and the torch module. `kinds.py` has the kinds.

torch is imported only inside `module`, where a network is built.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from audiocnn.errors import SpecError
from audiocnn.sizes import Reach, Size, side_by_side

if TYPE_CHECKING:
    from torch import nn


MOST_NUMBERS = 2**29  # that a layer gives for one window: two gigabytes as float32; more is refused, not tried


class Layer:
    """One layer. A subclass states what differs from a layer that changes neither sizes nor channels."""

    def reach(self, axis: int) -> Reach:
        """What one output depends on along an axis (0 is the first)."""
        return Reach()

    def channels(self, channels: int) -> int:
        """Output channels for so many input channels."""
        return channels

    def parameters(self, size: Size) -> int:
        """Trainable weights, by arithmetic; layers inside others are counted by `inner`."""
        return 0

    def multiply_adds(self, size: Size) -> int:
        """Multiply-adds to process an input of this size once; layers inside others are counted by `inner`."""
        return 0

    def check(self, size: Size) -> None:
        """Raise SpecError, without the place, where this input cannot be processed."""

    def inner(self) -> Sequence[Sequence[Layer]]:
        """Lists of layers inside this one."""
        return ()

    def inputs(self, size: Size) -> Sequence[Size]:
        """What each of the lists inside gets of an input of this size."""
        return [size] * len(self.inner())

    @property
    def hears_all_bands(self) -> bool:
        """Whether one position depends on all bands, which `reach` cannot say."""
        return any(layer.hears_all_bands for inside in self.inner() for layer in inside)

    def text(self) -> str:
        """The layer in a few words, for `describe`."""
        raise NotImplementedError

    def module(self, size: Size) -> nn.Module:
        """The torch module for an input of this size."""
        raise NotImplementedError

    def out(self, size: Size) -> Size:
        """The size of the output. Raises SpecError where nothing would be left."""
        self.check(size)
        axes = tuple(self.reach(axis).out(n) for axis, n in enumerate(size.axes))
        if min(axes) < 1:
            axis = next(i for i, n in enumerate(axes) if n < 1)
            name = "time" if axis == len(axes) - 1 else "frequency"
            reach = self.reach(axis)
            raise SpecError(
                f"{self.text()} needs at least {reach.shrink} positions in {name} and gets {size.axes[axis]}"
                f" (input {size}); make the input longer, or kernel, pool or stride smaller"
            )
        return Size(self.channels(size.channels), axes)


def reach_of(layers: Sequence[Layer], axis: int) -> Reach:
    """The reach of layers in a row."""
    whole = Reach()
    for layer in layers:
        whole = whole.then(layer.reach(axis))
    return whole


def channels_of(layers: Sequence[Layer], channels: int) -> int:
    """Channels after layers in a row."""
    for layer in layers:
        channels = layer.channels(channels)
    return channels


def line_up(reaches: Sequence[Reach]) -> tuple[Reach, list[tuple[int, int]]]:
    """The joint reach of branches and their crops, or a SpecError without the place."""
    try:
        return side_by_side(reaches)
    except ValueError as problem:
        raise SpecError(str(problem)) from None


def size_through(layers: Sequence[Layer], size: Size, place: str) -> Size:
    """The size after layers in a row; a SpecError names the place and the layer."""
    try:
        return [size, *(after for _, after in sizes_through(layers, size))][-1]
    except SpecError as problem:
        raise SpecError(f"{place}: {problem}") from None


def count_parameters(layers: Sequence[Layer], size: Size) -> int:
    """Trainable weights of layers in a row, those inside others too."""
    total = 0
    for layer, after in sizes_through(layers, size):
        total += layer.parameters(size)
        total += sum(count_parameters(*pair) for pair in zip(layer.inner(), layer.inputs(size), strict=True))
        size = after
    return total


def sizes_through(layers: Sequence[Layer], size: Size) -> Iterator[tuple[Layer, Size]]:
    """Each layer with the size of its output; a SpecError names the layer."""
    for number, layer in enumerate(layers, 1):
        try:
            size = layer.out(size)
        except SpecError as problem:
            raise SpecError(f"layer {number}: {problem}") from None
        yield layer, size


def size_within(layers: Sequence[Layer], size: Size, place: str = "") -> Size:
    """The size after layers in a row. SpecError where one of them, or of those inside them, would fill gigabytes."""
    for number, (layer, after) in enumerate(sizes_through(layers, size), 1):
        try:
            refuse_large(after, layer.text())
            lists = layer.inner()
            for branch, (inside, given) in enumerate(zip(lists, layer.inputs(size), strict=True), 1):
                size_within(inside, given, f"branch {branch}: " if len(lists) > 1 else "inside: ")
        except SpecError as problem:
            raise SpecError(f"{place}layer {number}: {problem}") from None
        size = after
    return size


def refuse_large(size: Size, what: str) -> None:
    """SpecError, without the place, where so many numbers would fill gigabytes."""
    if (numbers := size.channels * size.positions) > MOST_NUMBERS:
        gigabytes = f"{what.rstrip(':')}: {size} numbers are {4e-9 * numbers:,.1f} GB as float32"
        raise SpecError(f"{gigabytes}, too large to compute; use fewer maps or a smaller input")


def each_layer(layers: Sequence[Layer]) -> Iterator[Layer]:
    """Every layer, those inside others too."""
    for layer in layers:
        yield layer
        for inside in layer.inner():
            yield from each_layer(inside)
