"""PyTorch modules of layers: `build` makes the module of one layer, `build_layers` that of a list of layers."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from audiocnn.spec.geometry import Size, align_branches
from audiocnn.spec.layers import Activation, Branches, Broadcast, Conv, Dropout, Layer, Norm, Pool, Residual

Pads = tuple[tuple[int, int], ...]
_ACTIVATION_MODULES: dict[str, type[nn.Module]] = {
    "none": nn.Identity,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}
_CONV_AND_NORM: dict[int, tuple[type[nn.Module], type[nn.Module]]] = {
    1: (nn.Conv1d, nn.BatchNorm1d),
    2: (nn.Conv2d, nn.BatchNorm2d),
}
_RELU_LIKE = ("relu", "leaky_relu", "elu", "gelu", "silu")


@functools.singledispatch
def build(layer: Layer, size: Size) -> nn.Module:
    """The module of a layer for an input of this size, including nested layers.

    Each kind of layer needs a function marked `@build.register`; without one, NotImplementedError is raised. The kinds
    that occur only in F (dense, recurrent, global) have none, because they depend on the window and its hop;
    `network.Head` builds them.
    """
    kind = type(layer).__name__
    raise NotImplementedError(f"{kind} layers have no PyTorch module; write a function marked @build.register")


def activation(kind: str) -> nn.Module:
    return _ACTIVATION_MODULES[kind]()


@build.register
def build_activation(layer: Activation, size: Size) -> nn.Module:
    return activation(layer.kind)


@build.register
def build_dropout(layer: Dropout, size: Size) -> nn.Module:
    return nn.Dropout(layer.share)


def start_for_relu(layer: nn.Module, kind: str) -> None:
    """Initial weights that keep the variance of values from layer to layer if a relu or similar follows and there is no
    norm: normal, of variance 2 / inputs (He et al. 2015, "Delving Deep into Rectifiers", eq. 10)."""
    if kind in _RELU_LIKE and isinstance(layer, (nn.Conv1d, nn.Conv2d)):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def _uneven(padding: Pads) -> list[int]:
    """Padding in the form of `functional.pad`, the last axis first; empty if both ends are equal."""
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


@build.register
def build_conv(layer: Conv, size: Size) -> nn.Module:
    conv, norm = _CONV_AND_NORM[len(layer.kernel)]
    channels, pads = size.channels, _uneven(layer.padding)
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
        # One axis is treated as two, because the exporter fixes the length of the input of a 1-D max-pool.
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


@build.register
def build_pool(layer: Pool, size: Size) -> nn.Module:
    return Pooling(layer.kind, layer.size, layer.stride, layer.padding)


class SubSpectralNorm(nn.Module):
    """Batch norm of every channel in separate groups of bands. 1-D input has a single position in frequency."""

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
        # PyTorch divides alpha by the number of neighbours; the paper does not.
        scale = self.alpha * self.neighbours
        return functional.local_response_norm(x, self.neighbours, scale, self.beta, self.k)


class LevelNorm(nn.Module):
    """Logarithms of power minus that of their mean power, or minus their own mean, over all channels and bands and a
    number of positions back and ahead: an automatic gain control computed for every position. (batch, channels,
    [bands,] time). padded: the length in time is kept, and at the ends the mean uses the positions that exist;
    otherwise it shrinks. range_db: lower limit of values below the level, a floor that moves with it; 0 for none.
    to_db: the value to which the level is moved. least_db: lower limit of the level."""

    def __init__(
        self,
        back: int,
        ahead: int,
        of_power: bool,
        range_db: float = 0.0,
        padded: bool = False,
        to_db: float = 0.0,
        least_db: float | None = None,
    ) -> None:
        super().__init__()
        self.back, self.ahead, self.of_power, self.padded = back, ahead, of_power, padded
        self.lowest = -range_db / 10.0 * math.log(10.0) if range_db else None
        self.becomes = to_db / 10.0 * math.log(10.0)
        self.least = None if least_db is None else least_db / 10.0 * math.log(10.0)
        # A sum over many positions is computed as a sum over every n-th sum of n, which needs two short kernels.
        positions = back + 1 + ahead
        self.step = max(n for n in range(1, math.isqrt(positions) + 1) if positions % n == 0)

    def forward(self, x: Tensor) -> Tensor:
        values = self.values(x)
        if self.padded:
            edges = (self.back, self.ahead)
            there = self.sums(functional.pad(torch.ones_like(values[:1]), edges))
            return self.relative(x, self.sums(functional.pad(values, edges)) / there)
        return self.relative(crop(x, [(self.back, self.ahead)]), self.sums(values) / (self.back + 1 + self.ahead))

    def values(self, x: Tensor) -> Tensor:
        """(batch, channels, [bands,] time) -> (batch, 1, time): the values whose mean is the level."""
        return (x.float().exp() if self.of_power else x.float()).flatten(1, -2).mean(dim=1, keepdim=True)

    def relative(self, x: Tensor, level: Tensor) -> Tensor:
        """Values minus their level, the mean of the result of `values`. Both have time on the same axis. The level has
        no axis for bands, and its other axis has length 1: (batch, 1, time), or (batch, time, 1)."""
        level = level.log() if self.of_power else level
        level = level if self.least is None else level.clamp_min(self.least)
        relative = x - (level if x.dim() == 3 else level[:, None])
        relative = relative if self.lowest is None else relative.clamp_min(self.lowest)
        return relative + self.becomes if self.becomes else relative

    def sums(self, values: Tensor) -> Tensor:
        """(batch, 1, time) -> the sums over all positions of a level, at every place."""
        many = (self.back + 1 + self.ahead) // self.step
        short = functional.conv1d(values, values.new_ones(1, 1, self.step))
        return functional.conv1d(short, values.new_ones(1, 1, many), dilation=self.step)


@build.register
def build_norm(layer: Norm, size: Size) -> nn.Module:
    if layer.kind == "level":
        of_power = layer.mean == "power"
        return LevelNorm(
            layer.back, layer.ahead, of_power, layer.range_db, layer.padded, layer.to_db, least_db=layer.least_db
        )
    if layer.kind == "local_response":
        return LocalResponseNorm(layer.neighbours, layer.alpha, layer.beta, layer.k)
    if layer.kind == "sub_spectral" and len(size.axes) == 2:
        return SubSpectralNorm(size.channels, layer.bands)
    return _CONV_AND_NORM[len(size.axes)][1](size.channels)


def build_layers(layers: Sequence[Layer], size: Size) -> nn.Sequential:
    steps = []
    for layer in layers:
        steps.append(build(layer, size))
        size = layer.out(size)
    return nn.Sequential(*steps)


def crop(x: Tensor, crops: Sequence[tuple[int, int]]) -> Tensor:
    """Drop (start, end) positions of each of the last axes."""
    for axis, (start, end) in enumerate(crops):
        if start or end:
            x = x.narrow(axis - len(crops), start, x.shape[axis - len(crops)] - start - end)
    return x


class JoinedBranches(nn.Module):
    """Parallel branches, aligned around the same centre, with their channels concatenated."""

    def __init__(self, layer: Branches, size: Size) -> None:
        super().__init__()
        parts = zip(layer.branches, layer.inputs(size), strict=True)
        self.branches = nn.ModuleList(build_layers(branch, part) for branch, part in parts)
        per_axis = [align_branches(layer.branch_fields(axis))[1] for axis in range(len(size.axes))]
        self.crops = [[axis[branch] for axis in per_axis] for branch in range(len(self.branches))]

    def forward(self, x: Tensor) -> Tensor:
        parts = [branch(crop(x, crops)) for branch, crops in zip(self.branches, self.crops, strict=True)]
        return torch.cat(parts, dim=1)


@build.register
def build_branches(layer: Branches, size: Size) -> nn.Module:
    return JoinedBranches(layer, size)


class ResidualSum(nn.Module):
    def __init__(self, layer: Residual, size: Size) -> None:
        super().__init__()
        dims = len(size.axes)
        self.inside = build_layers(layer.layers, size)
        self.activation = activation(layer.activation)
        self.crops = [align_branches(layer.branch_fields(axis))[1][1] for axis in range(dims)]
        self.around: nn.Module = nn.Identity()
        if layer.projects(size):
            maps, stride = layer.channels(size.channels), [layer.branch_fields(axis)[0].stride for axis in range(dims)]
            conv, norm = _CONV_AND_NORM[dims]
            self.around = nn.Sequential(conv(size.channels, maps, 1, stride=stride, bias=False), norm(maps))

    def forward(self, x: Tensor) -> Tensor:
        total: Tensor = self.activation(self.inside(x) + self.around(crop(x, self.crops)))
        return total


@build.register
def build_residual(layer: Residual, size: Size) -> nn.Module:
    return ResidualSum(layer, size)


class BroadcastSum(nn.Module):
    """(batch, channels, bands, time): layers applied to the mean of all bands, and added to every band."""

    def __init__(self, layer: Broadcast, size: Size) -> None:
        super().__init__()
        self.inside = build_layers(layer.layers, layer.inputs(size)[0])
        self.crop = align_branches(layer.branch_fields(1))[1][1]

    def forward(self, x: Tensor) -> Tensor:
        over_bands: Tensor = self.inside(x.mean(dim=-2, keepdim=True))
        return crop(x, [(0, 0), self.crop]) + over_bands


@build.register
def build_broadcast(layer: Broadcast, size: Size) -> nn.Module:
    return BroadcastSum(layer, size)
