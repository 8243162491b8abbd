"""The torch side of the layers that are more than one torch module."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from audiocnn.sizes import Size, side_by_side

if TYPE_CHECKING:
    from audiocnn.kinds import Branches, Broadcast, Conv, Norm, Residual
    from audiocnn.layers import Layer

Pads = tuple[tuple[int, int], ...]

ACTIVATION_MODULES: dict[str, type[nn.Module]] = {
    "none": nn.Identity,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}
RELU_LIKE = ("relu", "leaky_relu", "elu", "gelu", "silu")


def activation(kind: str) -> nn.Module:
    """The module of an activation."""
    return ACTIVATION_MODULES[kind]()


def start_for_relu(layer: nn.Module, kind: str) -> None:
    """First weights that keep the spread of values from layer to layer where a relu or its like follows and no norm
    would mend it: normal, of variance 2 / inputs (He et al. 2015, "Delving Deep into Rectifiers", eq. 10)."""
    if kind in RELU_LIKE and isinstance(layer, (nn.Conv1d, nn.Conv2d)):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def uneven(padding: Pads) -> list[int]:
    """Padding as `functional.pad` takes it: the last axis first; empty where the two ends are alike."""
    if all(start == end for start, end in padding):
        return []
    return [amount for pair in reversed(padding) for amount in pair]


class ZeroPad(nn.Module):
    """Zeros at the ends of the last axes; [start, end] of the last axis first."""

    def __init__(self, pads: Sequence[int]) -> None:
        super().__init__()
        self.pads = list(pads)

    def forward(self, x: Tensor) -> Tensor:
        return functional.pad(x, self.pads)


def convolution(layer: Conv, channels: int) -> nn.Sequential:
    """Padding, convolution(s), norm, activation, dropout, as far as the layer has them."""
    kinds: tuple[type[nn.Module], type[nn.Module]] = (
        (nn.Conv1d, nn.BatchNorm1d) if len(layer.kernel) == 1 else (nn.Conv2d, nn.BatchNorm2d)
    )
    conv, norm = kinds
    pads = uneven(layer.padding)
    steps: list[nn.Module] = [ZeroPad(pads)] if pads else []
    moves = {
        "stride": layer.stride,
        "padding": 0 if pads else tuple(start for start, _ in layer.padding),
        "dilation": layer.dilation,
    }
    if layer.separable:
        steps.append(conv(channels, channels, layer.kernel, groups=channels, bias=False, **moves))
        steps.append(conv(channels, layer.maps, 1, bias=layer.bias))
    else:
        steps.append(conv(channels, layer.maps, layer.kernel, groups=layer.split, bias=layer.bias, **moves))
        if layer.norm == "none":
            start_for_relu(steps[-1], layer.activation)
    if layer.norm == "batch":
        steps.append(norm(layer.maps))
    if layer.activation != "none":
        steps.append(activation(layer.activation))
    if layer.dropout:
        steps.append(nn.Dropout(layer.dropout))
    return nn.Sequential(*steps)


class Pooling(nn.Module):
    """Max, average, or l2: the root of the sum of squares (Nielsen, chapter 6)."""

    def __init__(self, kind: str, size: tuple[int, ...], stride: tuple[int, ...], padding: Pads) -> None:
        super().__init__()
        # One axis is treated as two: the exporter freezes the length of what goes through a 1-D max-pool.
        self.flat = len(size) == 1
        self.kind, self.taps = kind, math.prod(size)
        self.size, self.stride = [1, *size][-2:], [1, *stride][-2:]
        self.pads = [amount for pair in reversed(padding) for amount in pair]

    def forward(self, x: Tensor) -> Tensor:
        if any(self.pads):
            x = functional.pad(x, self.pads, value=-torch.inf if self.kind == "max" else 0.0)
        if self.flat:
            return self.pooled(x.unsqueeze(-2)).squeeze(-2)
        return self.pooled(x)

    def pooled(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width), padded, pooled."""
        if self.kind == "max":
            return functional.max_pool2d(x, self.size, self.stride)
        if self.kind == "average":
            return functional.avg_pool2d(x, self.size, self.stride)
        # The small number keeps the gradient of the root finite at zero.
        return torch.sqrt(functional.avg_pool2d(x * x, self.size, self.stride) * self.taps + 1e-12)


class SubSpectralNorm(nn.Module):
    """Batch norm of every channel in so many bands of frequency. 1-D input has one position in frequency."""

    def __init__(self, channels: int, bands: int) -> None:
        super().__init__()
        self.bands = bands
        self.norm = nn.BatchNorm2d(channels * bands)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, time = x.shape
        split = x.reshape(batch, channels * self.bands, height // self.bands, time)
        normed: Tensor = self.norm(split)
        return normed.reshape(batch, channels, height, time)


class LocalResponseNorm(nn.Module):
    """b = a / (k + alpha * sum over neighbouring maps of a^2) ** beta (Krizhevsky et al. 2012, section 3.3)."""

    def __init__(self, neighbours: int, alpha: float, beta: float, k: float) -> None:
        super().__init__()
        self.neighbours, self.alpha, self.beta, self.k = neighbours, alpha, beta, k

    def forward(self, x: Tensor) -> Tensor:
        # torch divides alpha by the neighbours; the paper does not.
        scale = self.alpha * self.neighbours
        return functional.local_response_norm(x, self.neighbours, scale, self.beta, self.k)


class LevelNorm(nn.Module):
    """Logarithms of power less that of their mean power, over all channels and bands and so many positions around: what
    an automatic gain control does, for every position anew. (batch, channels, [bands,] time), time grows shorter."""

    def __init__(self, positions: int) -> None:
        super().__init__()
        self.positions = positions

    def forward(self, x: Tensor) -> Tensor:
        power = x.float().exp().flatten(1, -2).mean(dim=1)[:, None, None]
        level = functional.avg_pool2d(power, (1, self.positions), 1).log()
        half = self.positions // 2
        return crop(x, [(half, half)]) - (level.squeeze(1) if x.dim() == 3 else level)


def normalisation(layer: Norm, size: Size) -> nn.Module:
    """The module of a norm layer."""
    if layer.kind == "level":
        return LevelNorm(layer.positions)
    if layer.kind == "local_response":
        return LocalResponseNorm(layer.neighbours, layer.alpha, layer.beta, layer.k)
    if layer.kind == "sub_spectral" and len(size.axes) == 2:
        return SubSpectralNorm(size.channels, layer.bands)
    return nn.BatchNorm1d(size.channels) if len(size.axes) == 1 else nn.BatchNorm2d(size.channels)


def in_a_row(layers: Sequence[Layer], size: Size) -> nn.Sequential:
    """Layers one after the other, built for an input of this size."""
    steps = []
    for layer in layers:
        steps.append(layer.module(size))
        size = layer.out(size)
    return nn.Sequential(*steps)


def crop(x: Tensor, crops: Sequence[tuple[int, int]]) -> Tensor:
    """Drop (start, end) positions of each of the last axes."""
    for axis, (start, end) in enumerate(crops):
        if start or end:
            x = x.narrow(axis - len(crops), start, x.shape[axis - len(crops)] - start - end)
    return x


class JoinedBranches(nn.Module):
    """Branches side by side, lined up around the same centre, channels joined."""

    def __init__(self, layer: Branches, size: Size) -> None:
        super().__init__()
        parts = zip(layer.branches, layer.inputs(size), strict=True)
        self.branches = nn.ModuleList(in_a_row(branch, part) for branch, part in parts)
        per_axis = [side_by_side(layer.both(axis))[1] for axis in range(len(size.axes))]
        self.crops = [[axis[branch] for axis in per_axis] for branch in range(len(self.branches))]

    def forward(self, x: Tensor) -> Tensor:
        parts = [branch(crop(x, crops)) for branch, crops in zip(self.branches, self.crops, strict=True)]
        return torch.cat(parts, dim=1)


class ResidualSum(nn.Module):
    """The sum of the layers and of the way around them."""

    def __init__(self, layer: Residual, size: Size) -> None:
        super().__init__()
        dims = len(size.axes)
        self.inside = in_a_row(layer.layers, size)
        self.activation = activation(layer.activation)
        self.crops = [side_by_side(layer.both(axis))[1][1] for axis in range(dims)]
        self.around: nn.Module = nn.Identity()
        if layer.projects(size):
            maps, stride = layer.channels(size.channels), [layer.both(axis)[0].stride for axis in range(dims)]
            kinds: tuple[type[nn.Module], type[nn.Module]] = (
                (nn.Conv1d, nn.BatchNorm1d) if dims == 1 else (nn.Conv2d, nn.BatchNorm2d)
            )
            conv, norm = kinds
            self.around = nn.Sequential(conv(size.channels, maps, 1, stride=stride, bias=False), norm(maps))

    def forward(self, x: Tensor) -> Tensor:
        total: Tensor = self.activation(self.inside(x) + self.around(crop(x, self.crops)))
        return total


class BroadcastSum(nn.Module):
    """(batch, channels, bands, time): layers over the mean of all bands, added to every band."""

    def __init__(self, layer: Broadcast, size: Size) -> None:
        super().__init__()
        self.inside = in_a_row(layer.layers, layer.inputs(size)[0])
        self.crop = side_by_side(layer.both(1))[1][1]

    def forward(self, x: Tensor) -> Tensor:
        over_bands: Tensor = self.inside(x.mean(dim=-2, keepdim=True))
        return crop(x, [(0, 0), self.crop]) + over_bands
