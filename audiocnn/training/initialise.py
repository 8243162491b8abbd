"""Initial weights: `initialise` draws them again, or fits them to examples."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from audiocnn.model.network import Network

_DRAWN: dict[str, Callable[[Tensor], Tensor]] = {
    "glorot": nn.init.xavier_uniform_,
    "orthogonal": nn.init.orthogonal_,
}


def initialise(network: Network, kind: str, features: Callable[[], Tensor]) -> None:
    """Change the initial weights of convolutions and dense layers, which are built with "he".

    "glorot": uniform, with variance 2 / (inputs + outputs) (Glorot and Bengio 2010, eq. 16), and "orthogonal" (Saxe et
    al. 2013), both with biases of 0. "data": He's weights, scaled and shifted so that over `features()`, (batch,
    [channels,] bands, frames), each unit that is not followed by a norm has mean 0 and variance 1 (Salimans and Kingma
    2016, section 3). Without this, a unit whose inputs have a large mean would be always 0, or never.
    """
    layers = [module for module in network.modules() if isinstance(module, (nn.Conv1d, nn.Conv2d))]
    if draw := _DRAWN.get(kind):
        for layer in layers:
            with torch.no_grad():
                layer.weight.copy_(draw(torch.empty(layer.weight.shape)))  # independent of its memory layout
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    if kind == "data":
        output = layers[-1]  # the logits
        fitted = [layer for layer in layers if layer.bias is not None and layer is not output]
        hooks = [layer.register_forward_hook(partial(_fit, layer)) for layer in fitted]
        training = network.training
        with torch.no_grad():
            network.eval().logits_of(features())
        network.train(training)
        for hook in hooks:
            hook.remove()


def _fit(layer: nn.Conv1d | nn.Conv2d, module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    """output: (batch, units, ...) of the layer. Returns the output of the fitted layer."""
    axes = [axis for axis in range(output.dim()) if axis != 1]
    shape = [1, -1] + [1] * (output.dim() - 2)
    mean, scale = output.mean(axes), 1.0 / output.std(axes).clamp_min(1e-3)
    assert layer.bias is not None
    layer.weight.mul_(scale.view(-1, *[1] * (layer.weight.dim() - 1)))
    layer.bias.copy_((layer.bias - mean) * scale)
    return (output - mean.view(shape)) * scale.view(shape)
