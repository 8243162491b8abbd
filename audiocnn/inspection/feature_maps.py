"""The maps of a group: the responses of its filters to a part of a recording."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from audiocnn.audio.pcm import Samples
from audiocnn.errors import UsageError, did_you_mean
from audiocnn.inspection.filters import network_layers
from audiocnn.inspection.views import Excerpt, ScoreWindow, frames_between, score_window
from audiocnn.model.network import Network
from audiocnn.model.weights import Ensemble
from audiocnn.spec.geometry import ReceptiveField
from audiocnn.spec.layers import receptive_field_of


@dataclass(frozen=True)
class FeatureMaps:
    """The strongest of the `of` maps of a group over the window, strongest first. Strength is the mean absolute value
    over the positions that the score sees, between `seen` in seconds.

    values (maps, bands, positions); in 1-D there is one band. Position p is centred on start_seconds + p * hop_seconds.
    In 2-D, row b is centred on band first_band + b * band_hop of the features.
    """

    group: str
    of: int
    numbers: tuple[int, ...]  # from 0, in the order of the network
    strengths: tuple[float, ...]
    values: Samples
    start_seconds: float
    hop_seconds: float
    seen: tuple[float, float]
    first_band: float = 0.0
    band_hop: float = 1.0
    in_hertz: bool = False


def _module_names(network: Network) -> dict[str, list[str]]:
    """The module names of each group of the spec, one for each repeat."""
    modules = iter(network.groups)
    return {group.name: [next(modules) for _ in range(group.repeat)] for group in network.spec.groups}


def check_group_name(network: Network | Ensemble, model: str, group: str) -> None:
    """UsageError if there is no such group."""
    if isinstance(network, Ensemble):
        raise UsageError(f"--group {group}: {model} is an ensemble of several networks; explain one of its members")
    names = _module_names(network)
    known = {*names, *(name for repeats in names.values() for name in repeats)}
    if group not in known:
        raise UsageError(f'--group "{group}": {model} has no such group; {did_you_mean(group, known)}')


def feature_maps(network: Network, sound: Excerpt, window: ScoreWindow, group: str, most: int) -> FeatureMaps:
    """The maps of a group over a window. For a repeated group, those of the last repeat; `A_1` selects the first.

    A late group has few positions inside a window, so the network is run on one more window on each side.
    """
    names, geometry = _module_names(network), network.geometry
    key = names[group][-1] if group in names else group
    more = -(-geometry.window_samples // geometry.hop_samples)
    from_row = max(0, window.row - more)
    rows = min(window.row + window.rows + more, geometry.rows(sound.total)) - from_row
    wide = score_window(geometry, window.column, from_row, rows, sound.total)
    values = activations(network, network.groups[key], sound.cut(wide.first, wide.stop)).float().cpu().numpy()
    layers, dims, rate = _layers_up_to(network, key), network.spec.dims, geometry.sample_rate
    time = network.spec.input.receptive_field.then(receptive_field_of(layers, dims - 1))
    middles = wide.first + time.centre + 0.5 + time.stride * np.arange(values.shape[-1])
    shown = frames_between(middles, window.begin, window.end)
    # F sees the positions that depend on nothing but the window.
    half = time.kernel / 2
    seen = frames_between(middles[shown], window.begin + half, window.end - half + 0.5)
    values, middles = values[..., shown], middles[shown]
    strengths = np.abs(values[..., seen]).mean(axis=(1, 2))
    chosen = np.argsort(-strengths, kind="stable")[:most]
    frequency = receptive_field_of(layers, 0) if dims == 2 else ReceptiveField()
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


class _Done(Exception):  # noqa: N818 - not an error: what follows the wanted maps is not computed
    """Raised by a hook to leave the network."""


def activations(network: Network, module: nn.Module, samples: Samples) -> Tensor:
    """(maps, bands, positions): the output of a module for samples (channels, samples) alone. In 1-D there is one
    band."""
    caught: list[Tensor] = []

    def hook(_module: nn.Module, _given: Any, output: Tensor) -> None:
        caught.append(output[0] if output.dim() == 4 else output[0].unsqueeze(1))
        raise _Done

    handle = module.register_forward_hook(hook)
    device = next(iter(network.parameters())).device
    try:
        with torch.inference_mode(), contextlib.suppress(_Done):
            network.logits_of(network.features(torch.from_numpy(samples).to(device)[None]))
    finally:
        handle.remove()
    return caught[0]


def _layers_up_to(network: Network, key: str) -> list[Any]:
    """The layers of all groups up to and including one, with repeats written out."""
    layers: list[Any] = []
    for group in network.spec.groups:
        for name in _module_names(network)[group.name]:
            layers += network_layers(group.layers)
            if name == key:
                return layers
    return layers
