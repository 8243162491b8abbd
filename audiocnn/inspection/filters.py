"""The filters of a network's first layer as numbers: what each listens for, and how strongly.

The first layer is the first convolution in the order of the spec; where that stands in `branches`, the first of every
branch, their maps numbered on. A network without one has the first dense layer of F instead. What stands before it
(norm, pool) is not part of the kernels: they are the weights as trained, dilation written out as zeros, and of a
separable convolution the product of its two halves.

A filter is looked at as a `waveform` (it is on samples), as `bands` (it sees every band of the features) or as a
`patch` (it moves over the bands, so that it has no frequency of its own). `filter_figures.py` has the numbers of each.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from audiocnn.errors import ModelError
from audiocnn.features import InputSpec, band_edges_hertz
from audiocnn.inspection.filter_figures import FIGURES, figures_of, tower_means
from audiocnn.kinds import Branches, Conv, Dense, Global, Residual
from audiocnn.layers import Layer, each_layer
from audiocnn.sizes import Reach

if TYPE_CHECKING:
    from torch import nn

    from audiocnn.network import Network

Array = NDArray[np.float64]

SHUFFLES = 1000


@dataclass(frozen=True)
class Place:
    """Maps inside a network: the module that gives them, and what one of their positions hears along each axis,
    (time,) or (frequency, time), in frames of the features. `group` is "F" for a dense layer."""

    group: str
    text: str
    module: nn.Module
    reach: tuple[Reach, ...]
    before: tuple[Reach, ...]  # of what stands between the features and the module
    layer: Layer | None = None
    all_bands: bool = False  # the maps hear every band, wherever they stand
    cropped: tuple[int, int] = (0, 0)  # frames that a branch is not given at the two ends


@dataclass(frozen=True)
class Filter:
    """One filter. kernel: (channels, bands, taps); bands is 1 on samples. strength: the root of its energy.

    tower: 1, 2, ... where the maps are divided. figures: those of `filter_figures.figures_of`.
    """

    index: int
    tower: int | None
    kernel: Array
    strength: float
    figures: dict[str, float]


@dataclass(frozen=True)
class FilterBank:
    """All filters of a layer, sorted: by centre frequency, patches from edges in time to edges in frequency.

    step_seconds: between two taps. edges_hertz: (bands, 2) of the features, where bands are frequencies.
    """

    model: str
    group: str
    layer: str
    view: str  # waveform, bands or patch
    features: str
    step_seconds: float
    edges_hertz: Array | None
    channels: int
    towers: int
    filters: tuple[Filter, ...]

    def of_tower(self, tower: int | None) -> tuple[Filter, ...]:
        """The filters of one tower, sorted; of all for None."""
        return tuple(one for one in self.filters if tower is None or one.tower == tower)

    def strongest(self, most: int) -> FilterBank:
        """The same with at most so many filters, those of the largest norm."""
        kept = {one.index for one in sorted(self.filters, key=lambda one: (-one.strength, one.index))[:most]}
        return dataclasses.replace(self, filters=tuple(one for one in self.filters if one.index in kept))


@dataclass(frozen=True)
class TowerFigures:
    """What the filters of one tower are like: means, each filter counting by its energy."""

    tower: int
    filters: int
    means: dict[str, float]


def read_filters(network: Network) -> FilterBank:
    """The filters of the first layer. ModelError where nothing sees the features through weights of its own."""
    spec, settings = network.spec, network.spec.input
    places = first_layers(network)
    kernels = [kernel for place in places for kernel in kernels_of(place, settings, spec.dims)]
    view = view_of(kernels, places, settings.features == "waveform", settings.bands)
    step = places[0].before[-1].stride * settings.hop_samples / settings.sample_rate
    edges, towers = band_edges_hertz(settings), towers_of(list(each_layer(spec.body)), places)
    found = []
    for index, kernel in enumerate(kernels):
        tower = index * towers // len(kernels) + 1 if towers > 1 else None
        strength = float(np.sqrt((kernel**2).sum()))
        found.append(Filter(index, tower, kernel, strength, figures_of(kernel, view, step, edges)))
    return FilterBank(
        model=spec.name,
        group=places[0].group,
        layer=" | ".join(place.text for place in places),
        view=view,
        features=settings.features,
        step_seconds=step,
        edges_hertz=edges,
        channels=len(kernels[0]),
        towers=towers,
        filters=tuple(sorted(found, key=sort_key)),
    )


def sort_key(one: Filter) -> tuple[float, int]:
    """By frequency; without one by band; patches from changes in time to changes in frequency. Zeros come last."""
    found = one.figures
    if "centre_hertz" in found:
        return found["centre_hertz"], one.index
    if "low_band" in found:
        return (found["low_band"] + found["high_band"]) / 2, one.index
    return found["frequency"] - found["time"] if "time" in found else np.inf, one.index


def first_layers(network: Network) -> list[Place]:
    """The first convolution; of every branch where it stands in some; else the first dense layer of F."""
    before = (Reach(),) * network.spec.dims
    modules = iter(network.groups.values())
    for group in network.spec.groups:
        for _ in range(group.repeat):
            layers = network_layers(group.layers)
            module: Any = next(modules)
            if found := convolutions(layers, list(module), before, group.name):
                return found
            before = after(before, layers)
    head, geometry = network.spec.head, network.geometry
    if not (head and isinstance(head[0], Dense)):
        what = f"has no convolution, and F begins with {head[0].text() if head else 'nothing'}"
        raise ModelError(f"{network.spec.name}: {what}; there are no filters to draw")
    window = Reach(geometry.positions, geometry.hop_positions)
    reach = (*before[:-1], before[-1].then(window))
    steps: Any = network.f.layers
    return [Place("F", head[0].text(), steps[0], reach, before, all_bands=True)]


def network_layers(layers: Sequence[Layer]) -> list[Layer]:
    """The layers of a group that have a module there; a `global` is F's."""
    return [layer for layer in layers if not isinstance(layer, Global)]


def after(before: tuple[Reach, ...], layers: Sequence[Layer]) -> tuple[Reach, ...]:
    """The reach behind more layers, along each axis."""
    for layer in layers:
        before = tuple(reach.then(layer.reach(axis)) for axis, reach in enumerate(before))
    return before


def convolutions(
    layers: Sequence[Layer],
    steps: Sequence[Any],
    before: tuple[Reach, ...],
    group: str,
    cropped: tuple[int, int] = (0, 0),
) -> list[Place]:
    """The first convolution of layers in a row and of their modules; several where it stands in branches."""
    for layer, module in zip(layers, steps, strict=True):
        if isinstance(layer, Conv):
            return [Place(group, layer.text(), module, after(before, [layer]), before, layer, cropped=cropped)]
        found = []
        if isinstance(layer, Residual):
            found = convolutions(layer.layers, list(module.inside), before, group, cropped)
        elif isinstance(layer, Branches):
            for branch, inside, crops in zip(layer.branches, module.branches, module.crops, strict=True):
                # A crop takes inputs away at both ends: padding with a minus.
                less = tuple(reach.then(Reach(1, 1, -c[0], -c[1])) for reach, c in zip(before, crops, strict=True))
                more = (cropped[0] + crops[-1][0] * before[-1].stride, cropped[1] + crops[-1][1] * before[-1].stride)
                found += convolutions(branch, list(inside), less, group, more)
        if found:
            return found
        before = after(before, [layer])
    return []


def kernels_of(place: Place, settings: InputSpec, dims: int) -> list[Array]:
    """(channels, bands, taps) of each map; in 1-D the bands lie among the channels."""
    if place.layer is None:  # dense: (neurons, channels * bands, positions)
        weight = array(place.module.weight)
        return list(weight.reshape(len(weight), settings.channels, -1, weight.shape[-1]))
    assert isinstance(place.layer, Conv)
    steps: Any = place.module
    weights = [array(step.weight) for step in steps if hasattr(step, "groups")]
    kernel = dilated(composed(weights, place.layer), place.layer.dilation)
    if dims == 1:
        kernel = kernel.reshape(len(kernel), -1, settings.bands, kernel.shape[-1])
    return list(kernel)


def array(weight: Any) -> Array:
    """A tensor as float64."""
    values: Array = weight.detach().cpu().double().numpy()
    return values


def composed(weights: list[Array], layer: Conv) -> Array:
    """(maps, channels, *kernel): both halves of a separable convolution as one, and zeros between split channels."""
    if layer.separable:
        depth, point = weights
        return point * depth[None, :, 0]
    weight = weights[0]
    if layer.split == 1:
        return weight
    maps, channels = len(weight), weight.shape[1] * layer.split
    whole = np.zeros((maps, channels, *weight.shape[2:]))
    for tower in range(layer.split):
        rows = slice(tower * maps // layer.split, (tower + 1) * maps // layer.split)
        whole[rows, tower * weight.shape[1] : (tower + 1) * weight.shape[1]] = weight[rows]
    return whole


def dilated(kernel: Array, dilation: tuple[int, ...]) -> Array:
    """Zeros between the taps of the last axes."""
    sizes = [d * (k - 1) + 1 for k, d in zip(kernel.shape[2:], dilation, strict=True)]
    whole = np.zeros((*kernel.shape[:2], *sizes))
    spread: tuple[Any, ...] = (..., *(slice(None, None, d) for d in dilation))
    whole[spread] = kernel
    return whole


def view_of(kernels: list[Array], places: list[Place], on_samples: bool, bands: int) -> str:
    """How the kernels are to be looked at."""
    if on_samples and all(kernel.shape[1] == 1 for kernel in kernels):
        return "waveform"
    whole = all(place.before[0] == Reach() and place.reach[0].start == 0 for place in places if len(place.reach) == 2)
    return "bands" if whole and all(kernel.shape[1] == bands for kernel in kernels) else "patch"


def towers_of(layers: list[Layer], places: list[Place]) -> int:
    """Into how many towers the maps go: the `split` of the next convolution, else that of the first one itself."""
    first = places[0].layer
    if len(places) > 1 or not isinstance(first, Conv):
        return 1
    later = layers[next(i for i, layer in enumerate(layers) if layer is first) + 1 :]
    following = next((layer for layer in later if isinstance(layer, Conv)), None)
    if following is not None and following.split > 1 and first.maps % following.split == 0:
        return following.split
    return first.split


def tower_figures(bank: FilterBank) -> tuple[list[TowerFigures], dict[str, float]]:
    """Means of each tower, and for each figure in how many of 1,000 random divisions of the same filters the largest
    and the smallest mean lie at least as far apart: near 0 the towers specialise, near 0.5 they do not."""
    if bank.towers == 1:
        return [], {}
    live = [one for one in bank.filters if one.strength > 0]
    names = [name for name in FIGURES if live and all(name in one.figures for one in live)]
    values = np.array([[one.figures[name] for name in names] for one in live]).reshape(len(live), len(names))
    weights, towers = np.array([one.strength**2 for one in live]), np.array([(one.tower or 1) - 1 for one in live])
    means = tower_means(values, weights, towers, bank.towers)
    draw, wider = np.random.default_rng(0), np.zeros(len(names))
    for _ in range(SHUFFLES):
        wider += np.ptp(tower_means(values, weights, draw.permutation(towers), bank.towers), axis=0) >= np.ptp(means, 0)
    figures = [
        TowerFigures(i + 1, len(bank.of_tower(i + 1)), dict(zip(names, map(float, row), strict=True)))
        for i, row in enumerate(means)
    ]
    return figures, dict(zip(names, map(float, wider / SHUFFLES), strict=True))
