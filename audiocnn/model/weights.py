"""The weights of a model folder, as safetensors: plain tensors without code; and the networks that they belong to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from audiocnn.errors import ModelError
from audiocnn.files import write_whole
from audiocnn.model.model import TOML, WEIGHTS, Model, order_outputs
from audiocnn.model.network import Network, extended
from audiocnn.spec.geometry import joint_geometry


class Ensemble(nn.Module):
    """Networks in parallel on the same samples; the mean of their scores (and edges) for each label.

    Probabilities are averaged, not log-odds. The result equals the average of the members' printed scores, rows of a
    softmax still sum to 1, and a confidently wrong member has one vote but no veto.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.geometry = joint_geometry([spec.geometry() for spec in model.specs])
        self.members = nn.ModuleList(Network(spec) for spec in model.specs)
        self.shares = model.shares
        self.orders = [[member.labels.index(label) for label in model.labels] for member in model.members]
        self.localises = model.localises

    @property
    def networks(self) -> list[Network]:
        return [network for network in self.members if isinstance(network, Network)]

    def extended(self, samples: Tensor) -> Tensor:
        return extended(samples, self.geometry)

    def forward(self, samples: Tensor, half: bool = False) -> Tensor:
        """(batch, channels, samples) -> scores (batch, positions, classes) of these samples without extension; `half`
        as for a `Network`."""
        return self.mean(samples, lambda network, part: network(part, half))

    def mean(self, samples: Tensor, found_by: Callable[[Network, Tensor], Tensor]) -> Tensor:
        """The mean of the results of `found_by` for each network and its samples, as in `Network.forward`."""
        orders = [order_outputs(order) if self.localises else order for order in self.orders]
        parts = zip(self.networks, self.shares, orders, self.geometry.crops, strict=True)
        found = [
            share * found_by(network, samples[..., start : samples.shape[-1] - end])[..., order]
            for network, share, order, (start, end) in parts
        ]
        return torch.stack(found).sum(dim=0)


def load_network(model: Model) -> Network:
    """The network of a model with its weights, in evaluation mode. Raises ModelError if they do not fit, and for an
    ensemble, which has several networks."""
    if model.members:
        names = ", ".join(dict.fromkeys(member.name for member in model.members))
        raise ModelError(
            f"{model.folder}: is an ensemble of several networks ({names}); name a model with a single network"
        )
    network = Network(model.spec)
    _load_into(network, model)
    return network.eval()


def load_networks(model: Model) -> Network | Ensemble:
    """The module that computes the scores of a model: its network, or all those of an ensemble. Raises the errors of
    `load_network`."""
    if not model.members:
        return load_network(model)
    ensemble = Ensemble(model)
    _load_into(ensemble, model)
    return ensemble.eval()


def _load_into(module: nn.Module, model: Model) -> None:
    """Load the weights of a folder into a module. Raises ModelError if they do not fit."""
    path = model.part(WEIGHTS)
    try:
        module.load_state_dict(load_file(path))
    except (SafetensorError, OSError, ValueError) as problem:
        raise ModelError(f"{path}: damaged: {_one_line(problem)}; copy the folder again") from None
    except RuntimeError as problem:
        raise ModelError(
            f"{path}: does not fit the spec in {TOML}: {_one_line(problem)}; copy the folder again"
        ) from None


def _one_line(problem: BaseException) -> str:
    return " ".join(str(problem).split())[:160]


def save_weights(module: nn.Module, path: Path) -> None:
    """Weights as safetensors, written atomically. The constants of the front end follow from the spec and are not
    stored."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    write_whole(path, save(state, metadata={"format": "pt"}))
