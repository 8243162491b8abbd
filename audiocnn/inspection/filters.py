"""The filters of the first layer of a network, and measures of each: read_filters, tower_figures.

The first layer is the first convolution of the spec; with `branches`, the first of every branch, numbered
consecutively. A network without a convolution has the first dense layer of F instead. Layers before it (norm, pool) are
not part of the kernels. Kernels are the weights as trained. Dilation is written out as zeros, and a separable
convolution is the product of its two halves.

A filter has one of three views:

- waveform: kernels on samples. The centre is the peak of the magnitude response. The bandwidth is that of a rectangle
  with the same peak and power (the equivalent rectangular bandwidth, as in Glasberg and Moore 1990).
- bands: kernels that see every band. The range is the shortest run of bands that holds half of the energy; the centre
  is its middle.
- patch: kernels that move over the bands, and therefore have no frequency of their own.

Bands and patches have energy shares, which add up to 1: the `level` (the mean), changes along `frequency` of the mean
over time, changes along `time` of the mean over frequency, and changes along `both`, such as slopes and corners. This
is the exact analysis of variance of a two-way table. With several input channels, `between_channels` is the share of
the energy in differences between them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from audiocnn.errors import ModelError
from audiocnn.spec.features import Array, InputSpec, band_edges_hertz
from audiocnn.spec.geometry import ReceptiveField
from audiocnn.spec.layers import Branches, Conv, Dense, Global, Layer, Residual, each_layer

if TYPE_CHECKING:
    from torch import nn

    from audiocnn.model.network import Network


SHARES = ("level", "frequency", "time", "both")
_FIGURES = ("centre_hertz", "bandwidth_hertz", *SHARES, "between_channels")  # those whose mean over a tower is given
_LEAST_FFT = 2**14  # points of a magnitude response
_SHUFFLES = 1000


@dataclass(frozen=True)
class FilterLayer:
    """A layer whose filters are shown: its module, and the receptive field of one position of its maps along each
    axis, (time,) or (frequency, time), in frames of the features. `group` is "F" for a dense layer."""

    group: str
    text: str
    module: nn.Module
    reach: tuple[ReceptiveField, ...]
    before: tuple[ReceptiveField, ...]  # of one position of the input of the module
    layer: Layer | None = None
    all_bands: bool = False  # the maps see every band at every position
    cropped: tuple[int, int] = (0, 0)  # frames cropped from the input of a branch at its two ends


@dataclass(frozen=True)
class Filter:
    """One filter. kernel: (channels, bands, taps), with 1 band on samples. strength: the square root of its energy.

    tower: 1, 2, ... if the maps are divided. figures: see the module docstring; empty if all weights are 0.
    """

    index: int
    tower: int | None
    kernel: Array
    strength: float
    figures: dict[str, float]


@dataclass(frozen=True)
class FilterBank:
    """All filters of a layer, sorted: by centre frequency, or patches from edges in time to edges in frequency.

    step_seconds: between two taps. edges_hertz: (bands, 2) of the features, if their bands are frequencies.
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
        """The filters of one tower, sorted. None: of all towers."""
        return tuple(one for one in self.filters if tower is None or one.tower == tower)

    def strongest(self, most: int) -> FilterBank:
        """The same bank with at most this many filters, those with the largest norm."""
        kept = {one.index for one in sorted(self.filters, key=lambda one: (-one.strength, one.index))[:most]}
        return dataclasses.replace(self, filters=tuple(one for one in self.filters if one.index in kept))


@dataclass(frozen=True)
class TowerFigures:
    """Means over one tower, weighted by the energy of the filters."""

    tower: int
    filters: int
    means: dict[str, float]


def read_filters(network: Network) -> FilterBank:
    """The filters of the first layer. ModelError if the network has neither a convolution nor a dense layer."""
    spec, settings = network.spec, network.spec.input
    first_layer = first_layers(network)
    kernels = [kernel for part in first_layer for kernel in _kernels_of(part, settings, spec.dims)]
    view = _kernel_view(kernels, first_layer, settings.features == "waveform", settings.bands)
    step = first_layer[0].before[-1].stride * settings.hop_samples / settings.sample_rate
    edges, towers = band_edges_hertz(settings), _count_towers(list(each_layer(spec.body)), first_layer)
    found = []
    for index, kernel in enumerate(kernels):
        tower = index * towers // len(kernels) + 1 if towers > 1 else None
        strength = float(np.sqrt((kernel**2).sum()))
        found.append(Filter(index, tower, kernel, strength, kernel_figures(kernel, view, step, edges)))
    return FilterBank(
        model=spec.name,
        group=first_layer[0].group,
        layer=" | ".join(part.text for part in first_layer),
        view=view,
        features=settings.features,
        step_seconds=step,
        edges_hertz=edges,
        channels=len(kernels[0]),
        towers=towers,
        filters=tuple(sorted(found, key=_sort_key)),
    )


def _sort_key(one: Filter) -> tuple[float, int]:
    """By frequency, or else by band; patches from changes in time to changes in frequency. Zero filters come last."""
    found = one.figures
    if "centre_hertz" in found:
        return found["centre_hertz"], one.index
    if "low_band" in found:
        return (found["low_band"] + found["high_band"]) / 2, one.index
    return found["frequency"] - found["time"] if "time" in found else np.inf, one.index


def first_layers(network: Network) -> list[FilterLayer]:
    """The first convolution, or that of every branch if it is in branches; else the first dense layer of F."""
    before = (ReceptiveField(),) * network.spec.dims
    modules = iter(network.groups.values())
    for group in network.spec.groups:
        for _ in range(group.repeat):
            layers = network_layers(group.layers)
            module: Any = next(modules)
            if found := _first_convolutions(layers, list(module), before, group.name):
                return found
            before = receptive_field_after(before, layers)
    head, geometry = network.spec.head, network.geometry
    if not (head and isinstance(head[0], Dense)):
        what = f"has no convolution, and F starts with {head[0].text() if head else 'nothing'}"
        raise ModelError(f"{network.spec.name}: {what}; there are no filters to draw")
    window = ReceptiveField(geometry.positions, geometry.hop_positions)
    reach = (*before[:-1], before[-1].then(window))
    steps: Any = network.f.layers
    return [FilterLayer("F", head[0].text(), steps[0], reach, before, all_bands=True)]


def network_layers(layers: Sequence[Layer]) -> list[Layer]:
    """The layers of a group that are modules of the group. `global` belongs to F."""
    return [layer for layer in layers if not isinstance(layer, Global)]


def receptive_field_after(before: tuple[ReceptiveField, ...], layers: Sequence[Layer]) -> tuple[ReceptiveField, ...]:
    """The receptive field of one position after more layers, along each axis."""
    for layer in layers:
        before = tuple(reach.then(layer.receptive_field(axis)) for axis, reach in enumerate(before))
    return before


def _first_convolutions(
    layers: Sequence[Layer],
    steps: Sequence[Any],
    before: tuple[ReceptiveField, ...],
    group: str,
    cropped: tuple[int, int] = (0, 0),
) -> list[FilterLayer]:
    """The first convolution in a sequence of layers with these modules; several if it is in branches."""
    for layer, module in zip(layers, steps, strict=True):
        if isinstance(layer, Conv):
            return [
                FilterLayer(
                    group, layer.text(), module, receptive_field_after(before, [layer]), before, layer, cropped=cropped
                )
            ]
        found = []
        if isinstance(layer, Residual):
            found = _first_convolutions(layer.layers, list(module.inside), before, group, cropped)
        elif isinstance(layer, Branches):
            for branch, inside, crops in zip(layer.branches, module.branches, module.crops, strict=True):
                # A crop removes inputs at both ends: negative padding.
                less = tuple(
                    field.then(ReceptiveField(1, 1, -crop[0], -crop[1]))
                    for field, crop in zip(before, crops, strict=True)
                )
                more = (cropped[0] + crops[-1][0] * before[-1].stride, cropped[1] + crops[-1][1] * before[-1].stride)
                found += _first_convolutions(branch, list(inside), less, group, more)
        if found:
            return found
        before = receptive_field_after(before, [layer])
    return []


def _kernels_of(part: FilterLayer, settings: InputSpec, dims: int) -> list[Array]:
    """(channels, bands, taps) of each map. In 1-D the bands are among the channels."""
    if part.layer is None:  # dense: (neurons, channels * bands, positions)
        weight = to_array(part.module.weight)
        return list(weight.reshape(len(weight), settings.channels, -1, weight.shape[-1]))
    assert isinstance(part.layer, Conv)
    steps: Any = part.module
    weights = [to_array(step.weight) for step in steps if hasattr(step, "groups")]
    kernel = _dilate_kernel(_compose_kernel(weights, part.layer), part.layer.dilation)
    if dims == 1:
        kernel = kernel.reshape(len(kernel), -1, settings.bands, kernel.shape[-1])
    return list(kernel)


def to_array(weight: Any) -> Array:
    values: Array = weight.detach().cpu().double().numpy()
    return values


def _compose_kernel(weights: list[Array], layer: Conv) -> Array:
    """(maps, channels, *kernel): the product of a separable convolution, with zeros between split channels."""
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


def _dilate_kernel(kernel: Array, dilation: tuple[int, ...]) -> Array:
    """Insert zeros between the taps of the last axes."""
    sizes = [d * (k - 1) + 1 for k, d in zip(kernel.shape[2:], dilation, strict=True)]
    whole = np.zeros((*kernel.shape[:2], *sizes))
    spread: tuple[Any, ...] = (..., *(slice(None, None, d) for d in dilation))
    whole[spread] = kernel
    return whole


def _kernel_view(kernels: list[Array], first_layer: list[FilterLayer], on_samples: bool, bands: int) -> str:
    if on_samples and all(kernel.shape[1] == 1 for kernel in kernels):
        return "waveform"
    whole = all(
        part.before[0] == ReceptiveField() and part.reach[0].start == 0 for part in first_layer if len(part.reach) == 2
    )
    return "bands" if whole and all(kernel.shape[1] == bands for kernel in kernels) else "patch"


def _count_towers(layers: list[Layer], first_layer: list[FilterLayer]) -> int:
    """The number of towers: the `split` of the next convolution, else of the first one itself."""
    first = first_layer[0].layer
    if len(first_layer) > 1 or not isinstance(first, Conv):
        return 1
    later = layers[next(i for i, layer in enumerate(layers) if layer is first) + 1 :]
    following = next((layer for layer in later if isinstance(layer, Conv)), None)
    if following is not None and following.split > 1 and first.maps % following.split == 0:
        return following.split
    return first.split


def kernel_figures(kernel: Array, view: str, step_seconds: float, edges: Array | None) -> dict[str, float]:
    """The measures of one kernel (channels, bands, taps); none for a kernel of zeros."""
    energy = float((kernel**2).sum())
    if energy == 0.0:
        return {}
    found: dict[str, float] = {}
    if len(kernel) > 1:
        found["between_channels"] = 1.0 - len(kernel) * float((kernel.mean(axis=0) ** 2).sum()) / energy
    if view == "waveform":
        return found | _tuning(kernel, step_seconds)
    if view == "bands":
        found |= band_range((kernel**2).sum(axis=(0, 2)), edges)
    return found | energy_shares(kernel, energy)


def frequency_response(kernel: Array, step_seconds: float) -> tuple[Array, Array]:
    """Hertz (points,) and magnitude (channels, points) of a kernel (channels, 1, taps)."""
    points = max(_LEAST_FFT, 1 << (4 * kernel.shape[-1] - 1).bit_length())
    hertz = np.fft.rfftfreq(points, step_seconds)
    magnitude: Array = np.abs(np.fft.rfft(kernel[:, 0], points))
    return hertz.astype(np.float64), magnitude


def _tuning(kernel: Array, step_seconds: float) -> dict[str, float]:
    """Centre and bandwidth in Hz, with all channels combined."""
    hertz, magnitude = frequency_response(kernel, step_seconds)
    power = (magnitude**2).sum(axis=0)
    peak = int(power.argmax())
    return {"centre_hertz": float(hertz[peak]), "bandwidth_hertz": float(power.sum() / power[peak] * hertz[1])}


def band_range(energy: Array, edges: Array | None) -> dict[str, float]:
    """The shortest run of bands with half of the energy (bands,); the first one if there are several."""
    sums = np.concatenate([[0.0], np.cumsum(energy)])
    stops = np.searchsorted(sums, sums[:-1] + sums[-1] / 2 * (1 - 1e-12))
    inside = stops < len(sums)
    starts = np.flatnonzero(inside)
    first = int(starts[np.argmin(stops[inside] - starts)])
    last = int(stops[first]) - 1
    middle = (first + last) / 2
    found = {"low_band": float(first), "high_band": float(last)}
    if edges is None:
        return found
    low, high = float(edges[first, 0]), float(edges[last, 1])
    centre = float(np.interp(middle, np.arange(len(edges)), edges.mean(axis=1)))
    range_hertz = {"low_hertz": low, "high_hertz": high, "bandwidth_hertz": high - low}
    return found | {"centre_hertz": centre} | range_hertz


def energy_shares(kernel: Array, energy: float) -> dict[str, float]:
    """The energy shares of the level and of changes along frequency, along time, and along both."""
    mean = kernel.mean(axis=(1, 2), keepdims=True)
    along_frequency, along_time = kernel.mean(axis=2, keepdims=True) - mean, kernel.mean(axis=1, keepdims=True) - mean
    rest = kernel - mean - along_frequency - along_time
    parts = (np.broadcast_to(part, kernel.shape) for part in (mean, along_frequency, along_time, rest))
    return {name: float((part**2).sum()) / energy for name, part in zip(SHARES, parts, strict=True)}


def tower_figures(bank: FilterBank) -> tuple[list[TowerFigures], dict[str, float]]:
    """Means of each tower, and a p-value for each measure: the share of 1,000 random divisions of the same filters
    whose largest and smallest mean are at least as far apart. Near 0 the towers specialise; near 0.5 they do not."""
    if bank.towers == 1:
        return [], {}
    live = [one for one in bank.filters if one.strength > 0]
    names = [name for name in _FIGURES if live and all(name in one.figures for one in live)]
    values = np.array([[one.figures[name] for name in names] for one in live]).reshape(len(live), len(names))
    weights, towers = np.array([one.strength**2 for one in live]), np.array([(one.tower or 1) - 1 for one in live])
    means = _tower_means(values, weights, towers, bank.towers)
    draw, wider = np.random.default_rng(0), np.zeros(len(names))
    for _ in range(_SHUFFLES):
        wider += np.ptp(_tower_means(values, weights, draw.permutation(towers), bank.towers), axis=0) >= np.ptp(
            means, 0
        )
    figures = [
        TowerFigures(i + 1, len(bank.of_tower(i + 1)), dict(zip(names, map(float, row), strict=True)))
        for i, row in enumerate(means)
    ]
    return figures, dict(zip(names, map(float, wider / _SHUFFLES), strict=True))


def _tower_means(values: Array, weights: Array, towers: NDArray[np.int64], count: int) -> Array:
    """(filters, figures) -> (towers, figures), weighted. A tower of zero filters gives zeros."""
    means: Array = np.zeros((count, values.shape[1]))
    for tower in range(count):
        mine = towers == tower
        total = weights[mine].sum()
        if total > 0:
            means[tower] = weights[mine] @ values[mine] / total
    return means
