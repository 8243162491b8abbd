"""A network for live audio: samples of whole hops in, a row of scores a hop out, with every sample processed once.

A convolution over time needs the last positions of its earlier input. These tails are the state: each is an input and
an output of the step, (batch, ..., positions). The results equal those of the dense pass over the whole recording.

samples (batch, channels, rows * hop), tails -> scores (batch, rows, outputs), tails

Rows are delayed: the step gives row k when the last sample of its window has arrived. The samples of a recording are
therefore preceded by `StreamTiming.lead_samples` zeros, and the first `lead_rows` rows belong to no hop of it. The
initial tails are not zeros: they are the state after silence (`first_tails`).

A network can be used for streams if no layer pads in time, except for a level that only looks back and receives the
features first.

Steps are short: one or two positions, with all their bands and channels. Time is therefore not the last axis, along
which convolutions would run, but the second to last: (batch, channels, time, bands), and (batch, time, channels) in 1-D
and if one band is left. A convolution is then a matrix product, and a depthwise one multiplies the few positions in its
reach.
"""

from __future__ import annotations

import copy
import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from audiocnn.errors import SpecError
from audiocnn.model import modules
from audiocnn.model.frontend import Fold, FrontEnd, Indices, PowerSpectrum
from audiocnn.model.network import Head, Network, RecurrentOverWindow
from audiocnn.spec.geometry import Geometry

_ELEMENTWISE = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.Identity, nn.Dropout)
_TIME = -2  # the axis of time
_REMEDY = "use a Stream, which computes every window anew"
_SHORT_LEVEL = 512  # positions: the sums of longer levels are computed incrementally


@dataclass(frozen=True)
class StreamTiming:
    """How the rows of a step lie in a recording. Row 0 of the recording is row `lead_rows` of the steps, which begin
    with `lead_samples` zeros before the recording."""

    lead_samples: int
    lead_rows: int

    @classmethod
    def of(cls, geometry: Geometry) -> StreamTiming:
        rows = -(-geometry.known_samples // geometry.hop_samples)
        return cls(rows * geometry.hop_samples - geometry.known_samples, rows - 1)


class Tails:
    """The tails of one step: those that are given, and those for the next step, in the order in which layers use
    them."""

    def __init__(self, given: Sequence[Tensor]) -> None:
        self.given: Iterator[Tensor] = iter(given)
        self.left: list[Tensor] = []

    def take(self, x: Tensor, count: int) -> Tensor:
        """x (..., time, last) preceded by the last `count` earlier positions. With a negative count, its first
        positions are dropped, because a stride skips them."""
        if count <= 0:
            return x[..., -count:, :] if count else x
        longer = torch.cat([next(self.given), x], dim=_TIME)
        self.left.append(longer[..., -count:, :])
        return longer

    def delay(self, x: Tensor, count: int) -> Tensor:
        """x, delayed by this number of positions."""
        return self.take(x, count)[..., : x.shape[_TIME], :] if count else x

    def take_count(self) -> Tensor:
        """The number of positions that a level has received, (batch, 1, 1); `leave_count` sets the next value."""
        return next(self.given)

    def leave_count(self, count: Tensor) -> None:
        self.left.append(count)


class _Measuring(Tails):
    """Tails that do not exist yet: zeros, used to find their sizes. counts: the indices of counts among them."""

    def __init__(self) -> None:
        super().__init__([])
        self.counts: list[int] = []

    def take(self, x: Tensor, count: int) -> Tensor:
        if count > 0:
            self.given = iter([x.new_zeros(*x.shape[:_TIME], count, x.shape[-1])])
        return super().take(x, count)

    def take_count(self) -> Tensor:
        return torch.zeros(1, 1, 1)

    def leave_count(self, count: Tensor) -> None:
        self.counts.append(len(self.left))
        super().leave_count(count)


@functools.singledispatch
def step(module: nn.Module, x: Tensor, tails: Tails) -> Tensor:
    """The output of a module for the next positions. Raises SpecError for a module that cannot continue from its
    earlier input."""
    if isinstance(module, _ELEMENTWISE):
        return _called(module, x)
    raise SpecError(f"{type(module).__name__} cannot process audio piece by piece")


def _called(module: nn.Module, x: Tensor) -> Tensor:
    found: Tensor = module(x)
    return found


def _one_band(x: Tensor) -> Tensor:
    """(batch, channels, time, 1) as (batch, time, channels); other shapes unchanged."""
    return x.squeeze(-1).transpose(1, 2) if x.dim() == 4 and x.shape[-1] == 1 else x


@step.register
def step_sequence(module: nn.Sequential, x: Tensor, tails: Tails) -> Tensor:
    for inside in module:
        x = step(inside, x, tails)
    return x


@step.register(nn.BatchNorm1d)
@step.register(nn.BatchNorm2d)
def step_batch_norm(module: nn.BatchNorm1d | nn.BatchNorm2d, x: Tensor, tails: Tails) -> Tensor:
    scale, shift = _affine(module)
    return x * scale[:, None, None] + shift[:, None, None] if x.dim() == 4 else x * scale + shift


def _affine(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """The factor and offset of a batch norm in evaluation mode."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    return scale, norm.bias - norm.running_mean * scale


@step.register
def step_sub_spectral(module: modules.SubSpectralNorm, x: Tensor, tails: Tails) -> Tensor:
    if x.dim() == 3:
        return step_batch_norm(module.norm, x, tails)
    each = x.shape[-1] // module.bands
    scale, shift = (values.reshape(-1, 1, module.bands).repeat_interleave(each, -1) for values in _affine(module.norm))
    return x * scale + shift


@step.register
def step_local_response(module: modules.LocalResponseNorm, x: Tensor, tails: Tails) -> Tensor:
    return _called(module, x) if x.dim() == 4 else _called(module, x.transpose(1, 2)).transpose(1, 2)


@step.register(nn.Conv1d)
@step.register(nn.Conv2d)
def step_convolution(module: nn.Conv1d | nn.Conv2d, x: Tensor, tails: Tails) -> Tensor:
    if module.padding[-1] != 0:
        raise SpecError("a convolution pads in time")
    stride, dilation, taps = module.stride[-1], module.dilation[-1], module.kernel_size[-1]
    x = tails.take(x, (taps - 1) * dilation + 1 - stride)
    if x.dim() == 4:
        moves = {
            name: tuple(reversed(getattr(module, name))) for name in ("stride", "padding", "dilation")
        }  # the spec has frequency first
        weight = module.weight.transpose(2, 3)
        return _one_band(functional.conv2d(x, weight, module.bias, groups=module.groups, **moves))
    weight = module.weight.reshape(module.out_channels, -1, taps)  # one band: the first of two axes has length 1
    if taps == stride == module.groups == 1:
        return _with_bias(x @ weight[..., 0].T, module.bias)
    depthwise = module.groups == module.in_channels == module.out_channels
    if not depthwise and module.groups > 1:
        found = functional.conv1d(x.transpose(1, 2), weight, module.bias, stride, 0, dilation, module.groups)
        return found.transpose(1, 2)
    rows = (x.shape[1] - (taps - 1) * dilation - 1) // stride + 1
    places = torch.arange(rows, device=x.device)[:, None] * stride + torch.arange(taps, device=x.device) * dilation
    heard = x.index_select(1, places.flatten()).reshape(x.shape[0], rows, taps, -1)  # (batch, rows, taps, channels)
    if depthwise:
        return _with_bias((heard * weight[:, 0].T).sum(dim=2), module.bias)
    return _with_bias(heard.flatten(2) @ weight.permute(2, 1, 0).flatten(0, 1), module.bias)


def _with_bias(x: Tensor, bias: Tensor | None) -> Tensor:
    return x if bias is None else x + bias


@step.register
def step_zero_pad(module: modules.ZeroPad, x: Tensor, tails: Tails) -> Tensor:
    if any(module.pads[:2]):
        raise SpecError("a convolution pads in time")
    return functional.pad(x, module.pads[2:])


@step.register
def step_pooling(module: modules.Pooling, x: Tensor, tails: Tails) -> Tensor:
    if any(module.pads[:2]):
        raise SpecError("a pool pads in time")
    x = tails.take(x, module.size[-1] - module.stride[-1])
    flat = x.dim() == 3
    x = x.transpose(1, 2)[..., None] if flat else x
    if any(module.pads):
        x = functional.pad(x, module.pads[2:], value=-torch.inf if module.kind == "max" else 0.0)
    turned = modules.Pooling(module.kind, (module.size[1], module.size[0]), (module.stride[1], module.stride[0]), ())
    turned.taps = module.taps
    x = turned.pooled(x)
    return x.squeeze(-1).transpose(1, 2) if flat else _one_band(x)


@step.register
def step_level(module: modules.LevelNorm, x: Tensor, tails: Tails) -> Tensor:
    """A padded level keeps the powers of a number of positions, and how many have been received."""
    if module.padded and module.ahead:
        raise SpecError("a level looks ahead, for which a live detector does not wait")
    time = x.shape[_TIME]
    if module.padded:
        heard = tails.take_count()  # negative before the beginning
        there = heard + torch.arange(1, time + 1, device=x.device, dtype=heard.dtype)[:, None]
        tails.leave_count((heard + time).clamp(max=float(module.back + 1)))
        values = tails.take(_level_values(module, x) * (there > 0), module.back)
        positions = there.clamp(min=1.0, max=float(module.back + 1))
    else:
        values = tails.take(_level_values(module, x), module.back + module.ahead)
        x = tails.delay(x, module.ahead)
        positions = torch.full((1, 1, 1), float(module.back + 1 + module.ahead), device=x.device)
    level = _window_sums(module, values.squeeze(-1), time)[..., None] / positions
    return module.relative(x, level.clamp_min(torch.finfo(torch.float32).tiny) if module.of_power else level)


def _window_sums(module: modules.LevelNorm, values: Tensor, time: int) -> Tensor:
    """(batch, kept + time) -> the sums over all positions of a level, (batch, time)."""
    positions = module.back + 1 + module.ahead
    if positions <= _SHORT_LEVEL:
        return module.sums(values[:, None])[:, 0]
    # All windows share their middle part. To it are added the oldest values that are still inside a window, and the
    # newest ones. Nothing is subtracted, so a loud sound leaves no rounding errors behind. At most one level length at
    # a time.
    middle = values[:, time:positions].sum(dim=1, keepdim=True)
    oldest = values[:, :time].flip(1).cumsum(dim=1).flip(1)
    newest = functional.pad(values[:, positions:].cumsum(dim=1), (1, 0))
    return oldest + middle + newest


def _level_values(module: modules.LevelNorm, x: Tensor) -> Tensor:
    """(batch, time, 1): the values whose mean is the level."""
    values = x.exp() if module.of_power else x
    return values.mean(dim=-1, keepdim=True) if x.dim() == 3 else values.mean(dim=(1, 3))[..., None]


def _crop(x: Tensor, crops: Sequence[tuple[int, int]]) -> Tensor:
    """Drop (start, end) bands. Crops in time, the last ones, become delays."""
    if x.dim() == 3 or len(crops) == 1:
        return x
    start, end = crops[0]
    return x[..., start : x.shape[-1] - end] if start or end else x


@step.register
def step_branches(module: modules.JoinedBranches, x: Tensor, tails: Tails) -> Tensor:
    parts = []
    for branch, crops in zip(module.branches, module.crops, strict=True):
        late = tails.delay(_crop(x, crops), crops[-1][1])
        parts.append(step(branch, _one_band(late), tails))
    return torch.cat(parts, dim=1 if parts[0].dim() == 4 else 2)


@step.register
def step_residual(module: modules.ResidualSum, x: Tensor, tails: Tails) -> Tensor:
    start, end = module.crops[-1]
    if _reaching(module.inside) == 1:  # its tail contains that of the path around it
        x = tails.take(x, start + end)
        time = x.shape[_TIME] - start - end
        around, inside = x[..., start : start + time, :], step(module.inside, x, _Whole())
    else:
        around, inside = tails.delay(x, end), step(module.inside, x, tails)
    around = step(module.around, _one_band(_crop(around, module.crops)), tails)
    return _called(module.activation, inside + around)


class _Whole(Tails):
    """For layers whose tail is already part of the input."""

    def __init__(self) -> None:
        super().__init__([])

    def take(self, x: Tensor, count: int) -> Tensor:
        return x


def _reaching(module: nn.Module) -> int:
    """The number of convolutions or pools inside that see more than one position; more than 1 if one has a stride or
    padding."""
    reaching = 0
    for inside in module.modules():
        if isinstance(inside, (nn.Conv1d, nn.Conv2d)):
            if inside.stride[-1] > 1 or inside.padding[-1] != 0:
                return 2
            reaching += inside.kernel_size[-1] > 1
        elif isinstance(inside, (modules.Pooling, modules.LevelNorm, modules.ZeroPad, modules.JoinedBranches)):
            return 2
    return reaching


@step.register
def step_broadcast(module: modules.BroadcastSum, x: Tensor, tails: Tails) -> Tensor:
    over_bands = step(module.inside, _one_band(x.mean(dim=-1, keepdim=True)) if x.dim() == 4 else x, tails)
    late = tails.delay(x, module.crop[1])
    return late + (over_bands.transpose(1, 2)[..., None] if late.dim() == 4 else over_bands)


def step_features(module: FrontEnd, samples: Tensor, tails: Tails) -> Tensor:
    """(batch, channels, samples) -> (batch, channels, frames, bands)."""
    spec = module.spec
    if spec.features == "waveform":
        return samples[..., None]
    reach, hop = spec.receptive_field.kernel, spec.hop_samples
    samples = tails.take(samples[..., None], reach - hop).squeeze(-1)
    batch, channels, time = samples.shape
    powers = step_powers(module.powers, samples.reshape(batch * channels, time))
    if spec.features in ("mel", "log_mel", "mfcc"):
        powers = powers @ module.mel[..., 0].T
    powers = module.scaled(powers)
    if spec.features == "mfcc":
        powers = powers @ module.dct[..., 0].T
    return powers.reshape(batch, channels, powers.shape[1], powers.shape[2])


def step_powers(module: PowerSpectrum, samples: Tensor) -> Tensor:
    """(batch, samples) -> (batch, frames, bins)."""
    rows = -(-module.frame // module.hop)  # hops that a frame covers
    count = (samples.shape[1] - module.frame) // module.hop + 1
    samples = samples[:, : (count - 1) * module.hop + module.frame]
    samples = functional.pad(samples, (0, rows * module.hop - module.frame))
    hops = samples.reshape(samples.shape[0], count + rows - 1, module.hop)
    frames = torch.cat([hops[:, row : row + count, : module.frame - row * module.hop] for row in range(rows)], dim=2)
    if module.plan.window is not None:
        frames = frames * module.window[:, 0]
    even, odd = _folded(module.plan.first, frames)
    if module.plan.second is None:
        return _power(module, 0, even, odd)
    even_sum, even_difference = _folded(module.plan.second, even)
    odd_sum, odd_difference = _folded(module.plan.second, odd)
    parts = [_power(module, 0, even_sum, odd_difference), _power(module, 1, even_difference, odd_sum)]
    joined = torch.cat(parts, dim=2)
    return joined if module.in_order else joined.index_select(2, module.order)


def _folded(fold: Fold, frames: Tensor) -> tuple[Tensor, Tensor]:
    here, there = _picked(frames, fold.here), _picked(frames, fold.there)
    return here + there, here - there


def _picked(frames: Tensor, places: Indices) -> Tensor:
    """These indices of the last axis, which form ascending or descending runs."""
    parts: list[Tensor] = []
    wanted = places.tolist()
    begin = 0
    while begin < len(wanted):
        end, turn = begin + 1, 1
        if end < len(wanted) and abs(wanted[end] - wanted[begin]) == 1:
            turn = wanted[end] - wanted[begin]
            while end < len(wanted) and wanted[end] - wanted[end - 1] == turn:
                end += 1
        low = min(wanted[begin], wanted[end - 1])
        run = frames[..., low : low + end - begin]
        parts.append(run if turn == 1 else run.flip(-1))
        begin = end
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)


def _power(module: PowerSpectrum, number: int, for_cosines: Tensor, for_sines: Tensor) -> Tensor:
    real = for_cosines @ getattr(module, f"cosines_{number}").T
    imaginary = for_sines @ getattr(module, f"sines_{number}").T
    power: Tensor = real * real + imaginary * imaginary
    return power


@step.register
def step_recurrent(module: RecurrentOverWindow, x: Tensor, tails: Tails) -> Tensor:
    return _called(module, tails.take(x, module.width - module.hop).transpose(1, 2)).transpose(1, 2)


@step.register
def step_head(module: Head, x: Tensor, tails: Tails) -> Tensor:
    x = step(module.pool, x, tails)
    return step(module.layers, x.transpose(1, 2).flatten(2) if x.dim() == 4 else x, tails)


def _fused(network: Network) -> Network:
    """A copy in which batch norms are merged into the convolutions before them."""
    network = copy.deepcopy(network)
    for inside in list(network.modules()):
        if isinstance(inside, nn.Sequential):
            for place, (conv, norm) in enumerate(itertools.pairwise(list(inside))):
                if isinstance(conv, (nn.Conv1d, nn.Conv2d)) and isinstance(norm, (nn.BatchNorm1d, nn.BatchNorm2d)):
                    inside[place], inside[place + 1] = fuse_conv_bn_eval(conv, norm), nn.Identity()
    return network


class StreamNetwork(nn.Module):
    """The step of a network. Raises SpecError, naming network and cause, if it has none."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.spec, self.geometry = network.spec, network.geometry
        self.timing = StreamTiming.of(self.geometry)
        self.dense: Network = network.eval()
        with torch.no_grad():
            self.fused = _fused(network)
        self._check_level()
        measuring = _Measuring()
        try:
            with torch.no_grad():
                self._run(self.silence(1), measuring)
        except SpecError as problem:
            raise SpecError(
                f"{network.spec.name}: {problem}, so results for earlier audio cannot be reused; {_REMEDY}"
            ) from None
        self.shapes = [tuple(tail.shape[1:]) for tail in measuring.left]
        self.counts = measuring.counts

    def _check_level(self) -> None:
        first = next(iter(self.dense.groups.values()), None)
        steps = list(first) if isinstance(first, nn.Sequential) else []
        for module in self.dense.modules():
            if isinstance(module, modules.LevelNorm) and module.padded and (not steps or module is not steps[0]):
                what = (
                    f"a padded level is not the first layer, so results for earlier audio cannot be reused; {_REMEDY}"
                )
                raise SpecError(f"{self.spec.name}: {what}")

    @property
    def most_rows(self) -> int:
        """The maximum number of rows in a step: the sums of a long level cover at most its own length at a time."""
        levels = [module for module in self.dense.modules() if isinstance(module, modules.LevelNorm)]
        positions = [one.back + 1 + one.ahead for one in levels if one.back + 1 + one.ahead > _SHORT_LEVEL]
        return min(positions) * self.spec.input.hop_samples // self.geometry.hop_samples if positions else 1 << 16

    def silence(self, rows: int) -> Tensor:
        return torch.zeros(1, self.spec.input.channels, rows * self.geometry.hop_samples)

    def first_tails(self) -> list[Tensor]:
        """The tails at the start of a recording, (1, ..., time, last): the state after the zeros before it."""
        geometry, field = self.geometry, self.spec.input.receptive_field
        rows = -(-geometry.core_samples // geometry.hop_samples)
        # Steps end where windows end, so the first step begins before the zeros do; a level does not count those
        # frames.
        early = rows * geometry.hop_samples - geometry.core_samples
        uncounted = (early + field.kernel - field.stride) // field.stride
        tails = [torch.zeros(1, *shape) for shape in self.shapes]
        with torch.no_grad():
            for place in self.counts:
                tails[place] -= uncounted
            for _ in range(rows - self.timing.lead_rows - 1):
                _, *tails = self(self.silence(1), *tails)
        return tails

    def forward(self, samples: Tensor, *tails: Tensor) -> tuple[Tensor, ...]:
        """(batch, channels, rows * hop) and the previous tails -> scores (batch, rows, outputs), and the next tails."""
        state = Tails(tails)
        scores = self._run(samples, state)
        return scores, *state.left

    def _run(self, samples: Tensor, tails: Tails) -> Tensor:
        network = self.fused
        values = step_features(network.front_end, samples, tails)
        values = network.normalised(values.transpose(1, 2).flatten(2) if self.spec.dims == 1 else _one_band(values))
        for group in network.groups.values():
            values = step(group, values, tails)
        return self.dense.found_of(step(network.f, values, tails))
