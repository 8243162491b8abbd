"""The weights of a model folder, as safetensors: plain tensors, nothing that runs."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save

from audiocnn.errors import ModelError
from audiocnn.model import TOML, WEIGHTS, Model, write_whole
from audiocnn.network import Network


def load_network(model: Model) -> Network:
    """The network of a model with its weights, in evaluation mode. Raises ModelError where they do not fit."""
    network = Network(model.spec)
    path = model.part(WEIGHTS)
    try:
        network.load_state_dict(load_file(path))
    except (SafetensorError, OSError, ValueError) as problem:
        raise ModelError(f"{path}: is damaged: {first_line(problem)}; copy the folder again") from None
    except RuntimeError as problem:
        raise ModelError(
            f"{path}: does not fit the spec in {TOML}: {first_line(problem)}; copy the folder again"
        ) from None
    return network.eval()


def first_line(problem: BaseException) -> str:
    """What a library says, on one line and not too long."""
    return " ".join(str(problem).split())[:160]


def save_weights(network: Network, path: Path) -> None:
    """Weights as safetensors, whole or not at all; the front end's constants follow from the spec and stay out."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    write_whole(path, save(state, metadata={"format": "pt"}))
