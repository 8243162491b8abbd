"""Transfer learning: start from the groups of a trained model instead of from random weights.

    a model, a recipe -> do the groups fit? -> weights of the groups, of F if the labels are the same -> training

A frozen group does not change at all: no gradient, batch statistics, dropout or averaging. Frozen groups at the start
cost only a forward pass: if neither samples nor weights need a gradient, torch records nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from audiocnn.errors import RecipeError, SpecError, did_you_mean
from audiocnn.model.model import Model
from audiocnn.model.network import Network
from audiocnn.model.weights import load_network
from audiocnn.recipe.recipe import Recipe, source_model
from audiocnn.spec.spec import Group, Spec

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
Shapes = dict[str, tuple[int, ...]]  # of the weights of one layer, by name


@dataclass(frozen=True)
class Origin:
    """The start of a training: the groups whose weights were copied, those of them that are frozen, the new groups, and
    whether F is `kept` or `new`."""

    model: str
    groups: tuple[str, ...]
    frozen: tuple[str, ...]
    new: tuple[str, ...]
    f: str

    def to_table(self) -> dict[str, Any]:
        """In the form of `model.toml`."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


@dataclass(frozen=True)
class Frozen:
    """Parts that are not trained: modules, and the names of their weights and statistics in the state of the
    network."""

    modules: tuple[nn.Module, ...] = ()
    names: frozenset[str] = frozenset()

    def __add__(self, other: Frozen) -> Frozen:
        return Frozen(self.modules + other.modules, self.names | other.names)

    def set_evaluation_mode(self) -> None:
        """Call this after the network was put into training mode."""
        for module in self.modules:
            module.eval()


def check_transfer(recipe: Recipe) -> Model:
    """The model that a recipe starts from. Raises, before time is spent, if its groups do not fit the spec (with group
    and layer), if there is nothing to freeze, or if all groups are frozen."""
    assert recipe.transfer is not None
    model, spec = source_model(recipe.transfer.model), recipe.spec
    theirs = {group.name: group for group in model.spec.groups}
    shared = [group.name for group in spec.groups if group.name in theirs]
    if not shared:
        names = ", ".join(theirs) or "none"
        raise RecipeError(f"{spec.name}: has no group of {model.name} ({names}); use its group names, or omit --spec")
    if spec.groups[0].name in theirs:  # groups after a new group do not see the features
        check_same_input(spec, model)
    spec = spec.with_classes(len(model.labels))
    mine, others = shapes_of(spec), shapes_of(model.spec)
    for group in spec.groups:
        if group.name in theirs:
            place = f'{spec.name}: group "{group.name}"'
            if problem := find_misfit(group, theirs[group.name], mine[group.name], others[group.name], model.name):
                raise RecipeError(f"{place}: {problem}; use the same layers, or rename the group")
    check_frozen(spec, shared, recipe.transfer.freeze, model)
    return model


def find_misfit(group: Group, other: Group, mine: Sequence[Shapes], theirs: Sequence[Shapes], model: str) -> str | None:
    """Why the weights of a group cannot be copied to another; None if they can."""
    if group.repeat != other.repeat:
        return f"repeat is {group.repeat}, but {other.repeat} in {model}"
    for (layer, one), (layer_there, two) in itertools.zip_longest(
        with_weights(group, mine), with_weights(other, theirs), fillvalue=(-1, {})
    ):
        if one != two:
            here = f"{describe_layer(group, layer)} has weights {_first_other_shape(one, two)}"
            there = f"{describe_layer(other, layer_there)} {_first_other_shape(two, one)}"
            return f"layer {max(layer, layer_there) + 1}: {here}, but in {model} {there}"
    return None


def with_weights(group: Group, layers: Sequence[Shapes]) -> list[tuple[int, Shapes]]:
    """The layers with weights, each with its place in the group, from 0. Pools and level normalisation have none, so a
    group may differ in them from its origin."""
    return [(number % len(group.layers), shapes) for number, shapes in enumerate(layers) if shapes]


def describe_layer(group: Group, layer: int) -> str:
    return f"({group.layers[layer].text().rstrip(':')})" if layer >= 0 else "(nothing)"


def check_same_input(spec: Spec, model: Model) -> None:
    """Refuse other features, on which the groups would not work. The floor may differ: it only says where silence
    ends."""
    mine, theirs = spec.input.to_table(), model.spec.input.to_table()
    for key in sorted((mine.keys() | theirs.keys()) - {"floor"}):
        if mine.get(key) != theirs.get(key):
            fact = f"[input]: {key} is {mine.get(key, 'not set')}, but {theirs.get(key, 'not set')} in {model.name}"
            raise RecipeError(f"{spec.name}: {fact}; its groups work on its own features only: use the same [input]")


def check_frozen(spec: Spec, shared: Sequence[str], freeze: Sequence[str], model: Model) -> None:
    """Refuse to freeze a group that does not exist, that is new, or that has a map for each label."""
    for name in freeze:
        if name not in {group.name for group in spec.groups}:
            hint = did_you_mean(name, (group.name for group in spec.groups))
            raise RecipeError(f'freeze: {spec.name} has no group "{name}"; {hint}')
        if name not in shared:
            raise RecipeError(f'freeze: group "{name}" is not in {model.name}; freeze only {", ".join(shared)}')
    for name, number in sorted(label_layers(spec)):
        if name in freeze:
            raise RecipeError(
                f'freeze: group "{name}": layer {number + 1} has a map for each label and must be trained; omit {name}'
            )
    with torch.device("meta"):
        network = Network(spec)
    freeze_groups(network, freeze)
    if not any(weight.requires_grad for weight in network.parameters()):
        raise RecipeError(f"freeze: no trainable weights of {spec.name} are left; freeze fewer groups")


def begin_from(model: Model, labels: Sequence[str], freeze: Sequence[str], network: Network) -> Origin:
    """Copy the weights of a model's groups into a network, and those of F if labels, layers and output are the same.

    `check_transfer` must have confirmed that they fit.
    """
    source, same = load_network(model), tuple(labels) == model.labels
    mine, theirs = modules_of(network), modules_of(source)
    of_labels = label_layers(network.spec)
    shared = [name for name in mine if name in theirs]
    for name in shared:
        layers = [(number, layer) for number, layer in enumerate(layers_of(mine[name])) if layer.state_dict()]
        donors = [layer for layer in layers_of(theirs[name]) if layer.state_dict()]
        for (number, layer), donor in zip(layers, donors, strict=True):
            if same or (name, number) not in of_labels:
                layer.load_state_dict(donor.state_dict())
    outputs = network.spec.f.output == source.spec.f.output
    kept = same and outputs and shapes_in(network.f) == shapes_in(source.f)
    if kept:
        network.f.load_state_dict(source.f.state_dict())
    return Origin(
        model=model.name,
        groups=tuple(shared),
        frozen=tuple(name for name in shared if name in freeze),
        new=tuple(name for name in mine if name not in theirs),
        f="kept" if kept else "new",
    )


def freeze_groups(network: Network, freeze: Sequence[str]) -> Frozen:
    """Exclude the weights of these groups, with all their repeats, from training."""
    modules = tuple(module for name, found in modules_of(network).items() if name in freeze for module in found)
    for module in modules:
        module.requires_grad_(False)
    mine = {id(module) for module in modules}
    prefixes = tuple(f"groups.{name}." for name, module in network.groups.items() if id(module) in mine)
    return Frozen(modules, frozenset(name for name in network.state_dict() if prefixes and name.startswith(prefixes)))


def freeze_norms(network: Network) -> Frozen:
    """Batch norms whose statistics are frozen; their gains and shifts are still trained."""
    norms = {name: module for name, module in network.named_modules() if isinstance(module, _BATCH_NORMS)}
    statistics = frozenset(f"{name}.{key}" for name, module in norms.items() for key, _ in module.named_buffers())
    return Frozen(tuple(norms.values()), statistics)


def modules_of(network: Network) -> dict[str, list[nn.Module]]:
    """Group -> its modules, one for each repeat."""
    modules = iter(network.groups.values())
    return {group.name: [next(modules) for _ in range(group.repeat)] for group in network.spec.groups}


def layers_of(modules: Sequence[nn.Module]) -> list[nn.Module]:
    return [layer for module in modules for layer in module.children()]


def shapes_in(module: nn.Module) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def shapes_of(spec: Spec) -> dict[str, list[Shapes]]:
    """Group -> the shapes in each of its layers, with repeats written out. No weights are allocated."""
    with torch.device("meta"):
        network = Network(spec)
    return {name: [shapes_in(layer) for layer in layers_of(found)] for name, found in modules_of(network).items()}


def label_layers(spec: Spec) -> set[tuple[str, int]]:
    """(group, layer from 0) of the layers whose size depends on the number of labels: they belong to F."""
    one = shapes_of(spec)
    try:
        more = shapes_of(spec.with_classes(spec.classes + 1))
    except SpecError:  # a network that supports only some numbers of labels
        return set()
    return {(name, n) for name in one for n, pair in enumerate(pairs_of(one[name], more[name])) if pair[0] != pair[1]}


def pairs_of(one: Sequence[Shapes], two: Sequence[Shapes]) -> list[tuple[Shapes, Shapes]]:
    """Layers in pairs; a missing layer has no weights."""
    count = max(len(one), len(two))
    return [(one[n] if n < len(one) else {}, two[n] if n < len(two) else {}) for n in range(count)]


def _first_other_shape(shapes: Shapes, other: Shapes) -> str:
    """The first shape that the other does not have, such as `16x1x3x3`."""
    for name, shape in shapes.items():
        if other.get(name) != shape:
            return "x".join(map(str, shape)) or "of one number"
    return "none" if not shapes else "fewer"
