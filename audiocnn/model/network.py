"""A spec as a PyTorch network: samples in, one row of scores for every hop out.

samples -> front end -> groups -> F -> logits -> scores

F over a window of T positions is a convolution of width T over the groups' output, which gives the scores of all
windows of a recording in one pass.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from audiocnn.errors import SpecError
from audiocnn.model import modules
from audiocnn.model.frontend import FrontEnd
from audiocnn.spec.geometry import Geometry, Size
from audiocnn.spec.layers import Activation, Dense, Dropout, Global, Recurrent
from audiocnn.spec.spec import Spec

MOST_WEIGHTS = 2**29  # two gigabytes as float32


class RecurrentOverWindow(nn.Module):
    """(batch, channels, positions) -> (batch, units, windows): every window separately, from its first position to its
    last. Windows are processed as a batch, and no state is carried from one to the next."""

    def __init__(self, layer: Recurrent, channels: int, width: int, hop: int) -> None:
        super().__init__()
        self.width, self.hop = width, hop
        kind: type[nn.GRU] | type[nn.LSTM] = nn.GRU if layer.kind == "gru" else nn.LSTM
        self.cell = kind(channels, layer.units, batch_first=True, bidirectional=layer.bidirectional)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, positions = x.shape
        count = (positions - self.width) // self.hop + 1
        starts = torch.arange(count, device=x.device) * self.hop
        index = starts[:, None] + torch.arange(self.width, device=x.device)[None, :]
        windows = x[:, :, index].permute(0, 2, 3, 1).reshape(batch * count, self.width, channels)
        outputs, _ = self.cell(windows)
        half = self.cell.hidden_size
        # The forward direction ends at the last position, the backward direction at the first.
        last: Tensor = outputs[:, -1, :half]
        if self.cell.bidirectional:
            last = torch.cat([last, outputs[:, 0, half:]], dim=1)
        return last.reshape(batch, count, -1).transpose(1, 2)


class Head(nn.Module):
    """F. (batch, channels, bands, positions) or (batch, channels, positions) -> (batch, windows, outputs), logits."""

    def __init__(self, spec: Spec, size: Size) -> None:
        super().__init__()
        geometry = spec.geometry()
        width, hop = geometry.positions, geometry.hop_positions
        steps: list[nn.Module] = []
        self.pool: nn.Module = nn.Identity()
        layers = spec.head
        if layers and isinstance(layers[0], Global):
            window = (*size.axes[:-1], width)
            self.pool = modules.Pooling(layers[0].kind, window, (*size.axes[:-1], hop), ((0, 0),) * len(window))
            size, width, hop, layers = Size(size.channels, (1,)), 1, 1, layers[1:]
        channels = size.channels * size.bands
        for layer in layers:
            if isinstance(layer, Recurrent):
                steps.append(RecurrentOverWindow(layer, channels, width, hop))
                channels, width, hop = layer.units * layer.ways, 1, 1
            elif isinstance(layer, Dense):
                steps.append(nn.Conv1d(channels, layer.neurons, width, stride=hop))
                modules.start_for_relu(steps[-1], layer.activation)
                steps += [modules.activation(layer.activation)] if layer.activation != "none" else []
                steps += [nn.Dropout(layer.dropout)] if layer.dropout else []
                channels, width, hop = layer.neurons, 1, 1
            elif isinstance(layer, (Activation, Dropout)):
                steps.append(modules.build(layer, size))
        self.layers = nn.Sequential(*steps)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(x).flatten(1, -2)
        logits: Tensor = self.layers(x)
        return logits.transpose(1, 2)


def extended(samples: Tensor, geometry: Geometry) -> Tensor:
    """(batch, channels, samples) of whole recordings -> the same with zeros at both ends, as `geometry` requires."""
    start, end = geometry.extend_start, geometry.extend_end
    longer = functional.pad(samples, (max(start, 0), max(end, 0)))
    # A window shorter than a hop leaves samples unused; they are dropped after padding, because there may be too few
    # before.
    return longer[..., max(-start, 0) : longer.shape[-1] - max(-end, 0)]


class Network(nn.Module):
    """The whole network of a spec. Raises SpecError, before creating weights, if they would fill gigabytes."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        if (weights := spec.parameters()) > MOST_WEIGHTS:
            raise SpecError(f"{spec.name}: {weights:,} weights are too many (at most {MOST_WEIGHTS:,}); use fewer maps")
        self.spec, self.geometry = spec, spec.geometry()
        self.front_end = FrontEnd(spec.input)
        self.groups = nn.ModuleDict()
        size = spec.window_size()
        for group in spec.groups:
            for number in range(group.repeat):
                layers = [layer for layer in group.layers if not isinstance(layer, Global)]
                name = group.name + (f"_{number + 1}" if group.repeat > 1 else "")
                while hasattr(self.groups, name):  # it may equal a method of ModuleDict or the name of another group
                    name += "_"
                self.groups[name] = modules.build_layers(layers, size)
                for layer in layers:
                    size = layer.out(size)
        self.f = Head(spec, size)

    def features(self, samples: Tensor) -> Tensor:
        """(batch, channels, samples) -> (batch, channels * bands, frames); in 2-D (batch, channels, bands, frames)."""
        values: Tensor = self.front_end(samples)
        return values.flatten(1, 2) if self.spec.dims == 1 else values

    def features_of_powers(self, powers: Tensor) -> Tensor:
        """(batch, channels, bands, frames) of `FrontEnd.band_powers` -> the same features."""
        values = self.front_end.of_powers(powers.flatten(0, 1))
        values = values.reshape(*powers.shape[:2], *values.shape[1:])
        return values.flatten(1, 2) if self.spec.dims == 1 else values

    @property
    def localises(self) -> bool:
        return self.spec.localises

    @staticmethod
    def laid_out(values: Tensor) -> Tensor:
        """Features of a 2-D network in a memory layout with which convolutions on the CPU are three times as fast."""
        return values.contiguous(memory_format=torch.channels_last) if values.dim() == 4 else values

    def logits_of(self, values: Tensor, crop: tuple[int, int] = (0, 0)) -> Tensor:
        """Features -> (batch, positions, outputs), before the output's sigmoid or softmax. The score of each class
        comes first, then, in a network that localises, its onset and offset. crop: see `forward`."""
        if not any(crop):
            return self.logits_behind(self.normalised(values), 0)
        values = self.leveled(values)
        return self.logits_behind(values[..., crop[0] : values.shape[-1] - crop[1]], 1)

    def normalised(self, values: Tensor) -> Tensor:
        """Features normalised with the mean and deviation of the spec."""
        settings = self.spec.input
        if (settings.mean, settings.deviation) == (0.0, 1.0):
            return values
        return (values - settings.mean) / settings.deviation

    def leveled(self, values: Tensor) -> Tensor:
        """Features after the level, if that is the first layer."""
        group = next(iter(self.groups.values()))
        assert isinstance(group, nn.Sequential)
        first: Tensor = group[0](self.normalised(values))
        return first

    def logits_behind(self, values: Tensor, layers: int) -> Tensor:
        """The output of the layers after the first `layers` ones."""
        for group in self.groups.values():
            assert isinstance(group, nn.Sequential)
            values = (group[layers:] if layers else group)(values)
            layers = 0
        logits: Tensor = self.f(values)
        return logits

    def extended(self, samples: Tensor) -> Tensor:
        """The samples of whole recordings with zeros at both ends, which give ceil(samples / hop) scores."""
        return extended(samples, self.geometry)

    def scores_of(self, logits: Tensor) -> Tensor:
        """Logits (..., outputs) -> probabilities (..., classes)."""
        logits = logits[..., : self.spec.classes]
        if self.spec.f.background:
            return append_background(logits).softmax(dim=-1)[..., :-1]
        return logits.softmax(dim=-1) if self.spec.f.output == "softmax" else logits.sigmoid()

    def edges_of(self, logits: Tensor) -> Tensor:
        """Logits (..., outputs) of a network that localises -> (..., 2 * classes): for each class, the seconds from its
        onset to the middle of the position, and from there to its offset."""
        return logits[..., self.spec.classes :].sigmoid() * self.spec.furthest_seconds

    def found_of(self, logits: Tensor) -> Tensor:
        """Logits (..., outputs) -> scores, then edges if the network localises, (..., outputs)."""
        scores = self.scores_of(logits)
        return torch.cat([scores, self.edges_of(logits)], dim=-1) if self.spec.localises else scores

    def pooled(self, logits: Tensor) -> Tensor:
        """(batch, positions, outputs) -> (batch, 1, classes): the logits of the mean score over a clip. The mean of the
        logits is not used: a network trained only on that may be confidently wrong at most positions."""
        logits = logits[..., : self.spec.classes]
        if self.spec.f.background:
            together = append_background(logits).log_softmax(dim=-1).logsumexp(dim=1, keepdim=True)
            return together[..., :-1] - together[..., -1:]
        if self.spec.f.output == "softmax":
            return logits.log_softmax(dim=-1).logsumexp(dim=1, keepdim=True) - math.log(logits.shape[1])
        yes, no = functional.logsigmoid(logits), functional.logsigmoid(-logits)
        return yes.logsumexp(dim=1, keepdim=True) - no.logsumexp(dim=1, keepdim=True)

    def forward(self, samples: Tensor, half: bool = False, crop: tuple[int, int] = (0, 0)) -> Tensor:
        """(batch, channels, samples) -> scores (batch, positions, classes) of these samples without extension; for a
        network that localises (batch, positions, outputs), with the edges after the scores. crop: frames after a level
        (`Geometry.crop`), at both ends, that only served to measure the level; the scores that need them are left out.

        `half` runs groups and F in half precision where that is safe (PyTorch's autocast). Features stay in single
        precision, because the powers of quiet bands are below the range of half precision.
        """
        values = self.features(samples)
        if not half:
            return self.found_of(self.logits_of(values, crop))
        with torch.autocast(samples.device.type, torch.float16):
            logits = self.logits_of(values, crop)
        return self.found_of(logits.float())


def append_background(logits: Tensor) -> Tensor:
    """(..., labels) logits of a softmax with a background -> (..., labels + 1), with the logit of "none of these", 0,
    as the last. One logit of a softmax may be fixed, because adding a number to all of them changes nothing."""
    return functional.pad(logits, (0, 1))


class TwoOutputs(nn.Module):
    """A network that localises, for graphs: scores (batch, positions, classes); edges, with a last axis of 2."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        return two_outputs(self.network(samples), self.network.spec.classes)


def two_outputs(found: Any, classes: int) -> tuple[Tensor, Tensor]:
    """(..., 3 * classes) -> scores (..., classes) and edges (..., classes, 2)."""
    return found[..., :classes], found[..., classes:].unflatten(-1, (classes, 2))


class FeaturesPart(nn.Module):
    """The fixed part of a network, for graphs: samples -> features."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, samples: Tensor) -> Tensor:
        return self.network.features(samples)


class LevelPart(nn.Module):
    """The level that is the first layer, for graphs: features -> features minus their level."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, values: Tensor) -> Tensor:
        return self.network.leveled(values)


class BehindLevel(nn.Module):
    """The part after that level, for graphs: scores, and for a network that localises edges as in `TwoOutputs`."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, values: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        found: Any = self.network.found_of(self.network.logits_behind(values, 1))
        return two_outputs(found, self.network.spec.classes) if self.network.localises else found
