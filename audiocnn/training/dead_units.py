"""Dead units: units after a relu that are 0 for every input. They cannot learn, because their gradient is 0.

A unit is a map of a convolution, over all positions, or a neuron of F. `watch_units` observes a network during
validation at almost no cost: one maximum over the output of each relu.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from audiocnn.model.network import Network
from audiocnn.units import plural

MANY_DEAD = 0.25  # of a layer: above this, a warning is given


@dataclass(frozen=True)
class LayerUnits:
    """A layer, numbered as in the spec, its number of units, and the number of dead ones."""

    name: str
    units: int
    dead: int

    @property
    def many(self) -> bool:
        return self.dead > MANY_DEAD * self.units

    def __str__(self) -> str:
        return f"{self.dead} of {self.units} units of {self.name}"


class UnitWatch:
    """Records the output of the relus of a network: the largest value of each unit."""

    def __init__(self) -> None:
        self.largest: dict[str, Tensor] = {}

    def see(self, name: str, module: nn.Module, inputs: Any, output: Tensor) -> None:
        """output: (batch, units, ...)."""
        values = output.detach().flatten(2).amax(dim=(0, 2)) if output.dim() > 2 else output.detach().amax(dim=0)
        self.largest[name] = torch.maximum(values, self.largest[name]) if name in self.largest else values

    def layers(self) -> tuple[LayerUnits, ...]:
        """The layers with dead units, in the order of the network."""
        counts = [(name, len(values), int((values <= 0.0).sum())) for name, values in self.largest.items()]
        return tuple(LayerUnits(name, units, dead) for name, units, dead in counts if dead)


@contextmanager
def watch_units(network: Network) -> Iterator[UnitWatch]:
    watch = UnitWatch()
    hooks = [relu.register_forward_hook(partial(watch.see, name)) for name, relu in relus_of(network).items()]
    try:
        yield watch
    finally:
        for hook in hooks:
            hook.remove()


def relus_of(network: Network) -> dict[str, nn.ReLU]:
    """By the name of their layer, numbered as in the spec."""
    found: dict[str, nn.ReLU] = {}
    for name, group in network.groups.items():
        assert isinstance(group, nn.Sequential)
        for number, layer in enumerate(group, 1):
            inside = [module for module in layer.modules() if isinstance(module, nn.ReLU)]
            for count, relu in enumerate(inside, 1):
                which = f", relu {count}" if len(inside) > 1 else ""
                found[f"group {name}, layer {number}{which}"] = relu
    number = 0
    for step in network.f.layers:
        number += any(True for _ in step.parameters())
        if isinstance(step, nn.ReLU):
            found[f"F, layer {number}"] = step
    return found


def warn_of_dead_units(layers: Sequence[LayerUnits], when: str, learning_rate: float) -> str:
    """One line on the layers with many dead units, with a remedy; "" if there are none."""
    many = [layer for layer in layers if layer.many]
    if not many:
        return ""
    worst = max(many, key=lambda layer: layer.dead / layer.units)
    others = f" (and many of {plural(len(many) - 1, 'other layer')})" if len(many) > 1 else ""
    remedy = f"lower the learning rate (--learning-rate {learning_rate / 3:.1g}), try another --seed, or use leaky_relu"
    return f"{when} {worst}{others} are 0 for every validation example and learn nothing; {remedy}"
