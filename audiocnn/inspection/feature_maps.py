"""The maps of a group: what its filters answered to a stretch of sound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from audiocnn.errors import UsageError, did_you_mean
from audiocnn.inspection.stretches import Place, Samples, Sound, between, place_of
from audiocnn.kinds import Global
from audiocnn.layers import reach_of
from audiocnn.network import Network
from audiocnn.sizes import Reach
from audiocnn.weights import Ensemble


@dataclass(frozen=True)
class FeatureMaps:
    """The strongest of the `of` maps of a group, over the time of the window: those of the largest mean absolute value
    where the score sees them, between `seen` in seconds; the largest first.

    values (maps, bands, positions); in 1-D one band. Position p is centred on start_seconds + p * hop_seconds. In 2-D
    row b is centred on first_band + b * band_hop of the features' bands.
    """

    group: str
    of: int
    numbers: tuple[int, ...]  # from 0, as the network has them
    strengths: tuple[float, ...]
    values: Samples
    start_seconds: float
    hop_seconds: float
    seen: tuple[float, float]
    first_band: float = 0.0
    band_hop: float = 1.0
    in_hertz: bool = False


def group_names(network: Network) -> dict[str, list[str]]:
    """What each group of the spec is called among the network's modules, a name for each repeat."""
    modules = iter(network.groups)
    return {group.name: [next(modules) for _ in range(group.repeat)] for group in network.spec.groups}


def check_group(network: Network | Ensemble, model: str, group: str) -> None:
    """UsageError for a group that there is not."""
    if isinstance(network, Ensemble):
        raise UsageError(f"--group {group}: {model} is an ensemble of several networks; explain one of its members")
    names = group_names(network)
    known = {*names, *(name for repeats in names.values() for name in repeats)}
    if group not in known:
        raise UsageError(f'--group "{group}": {model} has no such group; {did_you_mean(group, known)}')


def feature_maps(network: Network, sound: Sound, place: Place, group: str, most: int) -> FeatureMaps:
    """The maps of a group at a place. Of a group that repeats the last; `A_1` is the first.

    A window leaves a late group few positions; so the network is run on a window more on both sides, and the maps fill
    the time of the window.
    """
    names, geometry = group_names(network), network.geometry
    key = names[group][-1] if group in names else group
    more = -(-geometry.window_samples // geometry.hop_samples)
    from_row = max(0, place.row - more)
    rows = min(place.row + place.rows + more, geometry.rows(sound.total)) - from_row
    wide = place_of(geometry, place.column, from_row, rows, sound.total)
    values = activations(network, key, sound.stretch(wide.first, wide.stop))
    layers, dims, rate = layers_up_to(network, key), network.spec.dims, geometry.sample_rate
    time = network.spec.input.reach.then(reach_of(layers, dims - 1))
    middles = wide.first + time.centre + 0.5 + time.stride * np.arange(values.shape[-1])
    shown = between(middles, place.begin, place.end)
    # What F sees of the window is what itself sees nothing else.
    half = time.kernel / 2
    seen = between(middles[shown], place.begin + half, place.end - half + 0.5)
    values, middles = values[..., shown], middles[shown]
    strengths = np.abs(values[..., seen]).mean(axis=(1, 2))
    chosen = np.argsort(-strengths, kind="stable")[:most]
    frequency = reach_of(layers, 0) if dims == 2 else Reach()
    return FeatureMaps(
        group=key,
        of=len(values),
        numbers=tuple(int(number) for number in chosen),
        strengths=tuple(float(strengths[number]) for number in chosen),
        values=values[chosen],
        start_seconds=float(middles[0]) / rate,
        hop_seconds=time.stride / rate,
        seen=(
            float(middles[seen][0] - time.stride / 2) / rate,
            float(middles[seen][-1] + time.stride / 2) / rate,
        ),
        first_band=frequency.centre,
        band_hop=float(frequency.stride),
        in_hertz=dims == 2 and network.spec.input.features not in ("mfcc", "waveform"),
    )


def activations(network: Network, key: str, samples: Samples) -> Samples:
    """(maps, bands, positions): what a group gives for samples (channels, samples)."""
    caught = []
    handle = network.groups[key].register_forward_hook(lambda _module, _given, result: caught.append(result))
    device = next(iter(network.parameters())).device
    try:
        with torch.no_grad():
            network(torch.from_numpy(samples).to(device)[None])
    finally:
        handle.remove()
    values: Samples = caught[0][0].float().cpu().numpy()
    return values[:, None] if values.ndim == 2 else values


def layers_up_to(network: Network, key: str) -> list[Any]:
    """The layers of the groups as far as one, repeats written out."""
    layers: list[Any] = []
    for group in network.spec.groups:
        for name in group_names(network)[group.name]:
            layers += [layer for layer in group.layers if not isinstance(layer, Global)]
            if name == key:
                return layers
    return layers
