"""A network for live sound: samples of whole hops in, a row of scores a hop out, and every sample computed once.

A convolution over time needs the last positions of what it heard before. These tails are the state: each is an input
and an output of the step, (batch, ..., positions). What it gives is what the dense pass over the whole recording does.

    samples (batch, channels, rows * hop), tails -> scores (batch, rows, outputs), tails

Rows are late: the step gives row k when the last sample of its window is there. So the samples of a recording begin
`StreamTiming.lead_samples` zeros late, and the first `lead_rows` rows are of no hop of it. The tails at the beginning
are not zeros: they are what silence before it leaves (`first_tails`).

A network streams where no layer pads in time, but for a level that looks back alone and hears the features first.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from audiocnn.errors import SpecError
from audiocnn.model import modules
from audiocnn.model.frontend import FrontEnd
from audiocnn.model.network import Head, Network, RecurrentOverWindow
from audiocnn.spec.geometry import Geometry

_POINTWISE: tuple[type[nn.Module], ...] = (
    *(nn.Identity, nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.Dropout),
    *(nn.BatchNorm1d, nn.BatchNorm2d, modules.SubSpectralNorm, modules.LocalResponseNorm),
)


@dataclass(frozen=True)
class StreamTiming:
    """How the rows of a step lie in a recording. Row 0 of the recording is row `lead_rows` of the steps, where
    `lead_samples` zeros are heard before the recording."""

    lead_samples: int
    lead_rows: int

    @classmethod
    def of(cls, geometry: Geometry) -> StreamTiming:
        known = geometry.window_samples - geometry.pad_start - geometry.pad_end - geometry.extend_start
        rows = -(-known // geometry.hop_samples)
        return cls(rows * geometry.hop_samples - known, rows - 1)


class Tails:
    """The tails of one step: those that came in, and those that go out, in the order in which layers ask for them."""

    def __init__(self, given: Sequence[Tensor]) -> None:
        self.given: Iterator[Tensor] = iter(given)
        self.left: list[Tensor] = []

    def take(self, x: Tensor, count: int) -> Tensor:
        """x (..., time) behind the last `count` positions before it."""
        if count <= 0:
            return x[..., -count:] if count else x
        longer = torch.cat([next(self.given), x], dim=-1)
        self.left.append(longer[..., -count:])
        return longer

    def delay(self, x: Tensor, count: int) -> Tensor:
        """x (..., time), so many positions late."""
        return self.take(x, count)[..., : x.shape[-1]] if count else x

    def swap(self, new: Tensor) -> None:
        """Leaves another value in place of the one that `peek` gave."""
        self.left.append(new)

    def peek(self) -> Tensor:
        return next(self.given)


class _Measuring(Tails):
    """Tails that are not there yet: zeros; their sizes are what is wanted."""

    def __init__(self) -> None:
        super().__init__([])

    def take(self, x: Tensor, count: int) -> Tensor:
        if count > 0:
            self.given = iter([x.new_zeros(*x.shape[:-1], count)])
        return super().take(x, count)

    def peek(self) -> Tensor:
        return torch.zeros(1, 1, 1)


@functools.singledispatch
def step(module: nn.Module, x: Tensor, tails: Tails) -> Tensor:
    """What a module makes of the next positions. SpecError for one that cannot go on from where it was."""
    if isinstance(module, _POINTWISE):
        return _called(module, x)
    raise SpecError(f"{type(module).__name__} has no way to go on from the sound before")


@step.register
def step_sequence(module: nn.Sequential, x: Tensor, tails: Tails) -> Tensor:
    for inside in module:
        x = step(inside, x, tails)
    return x


@step.register(nn.Conv1d)
@step.register(nn.Conv2d)
def step_convolution(module: nn.Conv1d | nn.Conv2d, x: Tensor, tails: Tails) -> Tensor:
    if module.padding[-1] != 0:
        raise SpecError("a convolution pads in time")
    reach = (module.kernel_size[-1] - 1) * module.dilation[-1] + 1
    return _called(module, tails.take(x, reach - module.stride[-1]))


@step.register
def step_zero_pad(module: modules.ZeroPad, x: Tensor, tails: Tails) -> Tensor:
    if any(module.pads[:2]):
        raise SpecError("a convolution pads in time")
    return _called(module, x)


@step.register
def step_pooling(module: modules.Pooling, x: Tensor, tails: Tails) -> Tensor:
    if any(module.pads[:2]):
        raise SpecError("a pool pads in time")
    return _called(module, tails.take(x, module.size[-1] - module.stride[-1]))


@step.register
def step_level(module: modules.LevelNorm, x: Tensor, tails: Tails) -> Tensor:
    """A padded level keeps the powers of so many positions, and how many there were."""
    if not module.padded:
        return _called(module, tails.take(x, module.back + module.ahead))
    if module.ahead:
        raise SpecError("a level looks ahead over what a live detector does not wait for")
    heard = tails.peek()  # (batch, 1, 1); below 0 before the beginning
    there = heard + torch.arange(1, x.shape[-1] + 1, device=x.device, dtype=heard.dtype)
    tails.swap((heard + x.shape[-1]).clamp(max=float(module.back + 1)))
    values = tails.take(module.values(x) * (there > 0), module.back).double()
    new, old = values[..., module.back :], values[..., : x.shape[-1]]
    # The sum over a window is that of the tail, and what came in since, less what went out.
    sums = values[..., : module.back].sum(dim=-1, keepdim=True) + new.cumsum(dim=-1) - (old.cumsum(dim=-1) - old)
    level = sums.float() / there.clamp(min=1.0, max=float(module.back + 1))
    return module.relative(x, level.clamp_min(torch.finfo(torch.float32).tiny) if module.of_power else level)


@step.register
def step_branches(module: modules.JoinedBranches, x: Tensor, tails: Tails) -> Tensor:
    parts = []
    for branch, crops in zip(module.branches, module.crops, strict=True):
        late = tails.delay(modules.crop(x, [*crops[:-1], (0, 0)]), crops[-1][1])
        parts.append(step(branch, late, tails))
    return torch.cat(parts, dim=1)


@step.register
def step_residual(module: modules.ResidualSum, x: Tensor, tails: Tails) -> Tensor:
    shrink = sum(module.crops[-1])
    if _reaching(module.inside) == 1:  # its tail is that of what goes around it, too
        return _called(module, tails.take(x, shrink))
    around = tails.delay(modules.crop(x, [*module.crops[:-1], (0, 0)]), module.crops[-1][1])
    return _called(module.activation, step(module.inside, x, tails) + step(module.around, around, tails))


def _reaching(module: nn.Module) -> int:
    """How many convolutions or pools inside hear more than one position; where they have a stride, too many."""
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
    over_bands = step(module.inside, x.mean(dim=-2, keepdim=True), tails)
    return tails.delay(x, module.crop[1]) + over_bands


@step.register
def step_front_end(module: FrontEnd, x: Tensor, tails: Tails) -> Tensor:
    if module.spec.features == "waveform":
        return _called(module, x)
    return _called(module, tails.take(x, module.spec.receptive_field.kernel - module.spec.hop_samples))


@step.register
def step_recurrent(module: RecurrentOverWindow, x: Tensor, tails: Tails) -> Tensor:
    return _called(module, tails.take(x, module.width - module.hop))


@step.register
def step_head(module: Head, x: Tensor, tails: Tails) -> Tensor:
    flat = step(module.pool, x, tails).flatten(1, -2)
    return step(module.layers, flat, tails).transpose(1, 2)


def _called(module: nn.Module, x: Tensor) -> Tensor:
    found: Tensor = module(x)
    return found


class StreamNetwork(nn.Module):
    """The step of a network. SpecError, naming network and cause, where it cannot be."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network, self.geometry = network.eval(), network.geometry
        self.timing = StreamTiming.of(self.geometry)
        self._check_level()
        measuring = _Measuring()
        try:
            with torch.no_grad():
                self._run(self.silence(1), measuring)
        except SpecError as problem:
            raise SpecError(f"{network.spec.name}: {problem}: it cannot go on from the sound before") from None
        self.shapes = [tuple(tail.shape[1:]) for tail in measuring.left]

    def _check_level(self) -> None:
        first = next(iter(self.network.groups.values()), None)
        steps = list(first) if isinstance(first, nn.Sequential) else []
        for module in self.network.modules():
            if isinstance(module, modules.LevelNorm) and module.padded and (not steps or module is not steps[0]):
                what = "a padded level is not the first layer: it cannot go on from the sound before"
                raise SpecError(f"{self.network.spec.name}: {what}")

    def silence(self, rows: int) -> Tensor:
        return torch.zeros(1, self.network.spec.input.channels, rows * self.geometry.hop_samples)

    def first_tails(self) -> list[Tensor]:
        """The tails where a recording begins, (1, ..., positions): what the zeros before it leave."""
        geometry, spec = self.geometry, self.network.spec
        core = geometry.window_samples - geometry.pad_start - geometry.pad_end
        rows = -(-core // geometry.hop_samples)
        # Steps end where windows end, so the first begins before the zeros do: those frames a level does not count.
        early = rows * geometry.hop_samples - core
        field = spec.input.receptive_field
        uncounted = (early + field.kernel - field.stride) // field.stride
        tails = [torch.zeros(1, *shape) for shape in self.shapes]
        with torch.no_grad():
            for place in self._counts():
                tails[place] -= uncounted
            for _ in range(rows - self.timing.lead_rows - 1):
                _, *tails = self(self.silence(1), *tails)
        return tails

    def _counts(self) -> list[int]:
        """Which of the tails say how many positions a level has heard."""
        found = _Counting(self.shapes)
        with torch.no_grad():
            self._run(self.silence(1), found)
        return found.places

    def forward(self, samples: Tensor, *tails: Tensor) -> tuple[Tensor, ...]:
        """(batch, channels, rows * hop) and the tails before -> scores (batch, rows, outputs), and the tails behind."""
        state = Tails(tails)
        scores = self._run(samples, state)
        return scores, *state.left

    def _run(self, samples: Tensor, tails: Tails) -> Tensor:
        network = self.network
        values = step(network.front_end, samples, tails)
        values = values.flatten(1, 2) if network.spec.dims == 1 else values
        settings = network.spec.input
        if (settings.mean, settings.deviation) != (0.0, 1.0):
            values = (values - settings.mean) / settings.deviation
        for group in network.groups.values():
            values = step(group, values, tails)
        return network.found_of(step(network.f, values, tails))


class _Counting(Tails):
    """Notes which tails are swapped."""

    def __init__(self, shapes: Sequence[tuple[int, ...]]) -> None:
        super().__init__([torch.zeros(1, *shape) for shape in shapes])
        self.places: list[int] = []

    def swap(self, new: Tensor) -> None:
        self.places.append(len(self.left))
        super().swap(new)
