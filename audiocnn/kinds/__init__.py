"""The kinds of layer, one class each: what a TOML table may say, sizes, costs, the torch module.

A new kind is a class and a line in `KINDS`; docs/networks.md shows one being added.
"""

from __future__ import annotations

from audiocnn.kinds.combining import Branches, Broadcast, Residual
from audiocnn.kinds.convolution import Conv
from audiocnn.kinds.elementwise import Activation, Dropout, Norm
from audiocnn.kinds.head import Dense, Recurrent
from audiocnn.kinds.pooling import POOLS, Global, Pool
from audiocnn.kinds.reading import ACTIVATIONS, MOST_NESTED, Context, Reader, read_layer, read_layers

__all__ = [
    "ACTIVATIONS",
    "KINDS",
    "MOST_NESTED",
    "POOLS",
    "Activation",
    "Branches",
    "Broadcast",
    "Context",
    "Conv",
    "Dense",
    "Dropout",
    "Global",
    "Norm",
    "Pool",
    "Recurrent",
    "Residual",
    "read_layer",
    "read_layers",
]

# The first of these keys that stands in a table says what the layer is.
KINDS: dict[str, Reader] = {
    "conv": Conv.read,
    "pool": Pool.read,
    "global": Global.read,
    "residual": Residual.read,
    "branches": Branches.read,
    "broadcast": Broadcast.read,
    "dense": Dense.read,
    "recurrent": Recurrent.read,
    "norm": Norm.read,
    "activation": Activation.read,
    "dropout": Dropout.read,
}
