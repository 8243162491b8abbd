"""Calibration: scores that can be read as probabilities.

Platt scaling (Platt 1999, "Probabilistic Outputs for Support Vector Machines", section 2): for each label a gain and
a shift of the log-odds, fitted on recordings that were held out, by the least cross-entropy. Softmax networks get one
gain for all, the temperature of Guo et al. 2017 (section 4.2). Both are folded into the last layer: nothing
is added that an engine would have to know, and the order of the scores of a label stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from audiocnn.network import Network

LEAST_GAIN, MOST_GAIN = 0.05, 20.0
STEPS = 100


@dataclass(frozen=True)
class Calibration:
    """New logits = gain * logits + shift, label by label: (labels,) each."""

    gain: tuple[float, ...]
    shift: tuple[float, ...]


def fit_calibration(
    logits: Sequence[NDArray[np.float32]], targets: Sequence[NDArray[np.float32]], softmax: bool
) -> Calibration:
    """(rows, labels) logits and targets in [0, 1] of each recording -> what makes them probabilities.

    Every recording counts as long as it is. A label that is nowhere, or everywhere, is left as it is.
    """
    given = torch.from_numpy(np.concatenate(logits)).double()
    wanted = torch.from_numpy(np.concatenate(targets)).double()
    labels = given.shape[1]
    log_gain = torch.zeros(1 if softmax else labels, dtype=torch.float64, requires_grad=True)
    shift = torch.zeros(labels, dtype=torch.float64, requires_grad=not softmax)
    shares = wanted.mean(dim=0)
    known = (shares > 0) & (shares < 1) if not softmax else torch.ones(labels, dtype=torch.bool)
    if softmax:
        carried = wanted.sum(dim=1) > 0
        given, wanted = given[carried], wanted[carried] / wanted[carried].sum(dim=1, keepdim=True)
    if not len(given) or not known.any():
        return Calibration((1.0,) * labels, (0.0,) * labels)
    optimizer = torch.optim.LBFGS(
        [log_gain] if softmax else [log_gain, shift], max_iter=STEPS, line_search_fn="strong_wolfe"
    )

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        moved = given * log_gain.exp() + shift
        if softmax:
            value = functional.cross_entropy(moved, wanted)
        else:
            value = functional.binary_cross_entropy_with_logits(moved[:, known], wanted[:, known])
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    gain = log_gain.detach().exp().clamp(LEAST_GAIN, MOST_GAIN).expand(labels)
    gains = [float(value) if told else 1.0 for value, told in zip(gain, known, strict=True)]
    shifts = [float(value) if told else 0.0 for value, told in zip(shift.detach(), known, strict=True)]
    return Calibration(tuple(gains), tuple(shifts))


@torch.no_grad()
def fold_calibration(network: Network, calibration: Calibration) -> bool:
    """Put it into the last layer, which gives one logit a label. False, and nothing is changed, where there is no such
    layer, or where something follows on it."""
    layers = [module for module in network.f.modules() if isinstance(module, (nn.Conv1d, nn.Conv2d))]
    last = layers[-1] if layers else None
    steps = list(network.f.layers)
    if last is None or last.bias is None or last.out_channels != len(calibration.gain) or steps[-1] is not last:
        return False
    gain = torch.tensor(calibration.gain, dtype=last.weight.dtype)
    shift = torch.tensor(calibration.shift, dtype=last.weight.dtype)
    last.weight.mul_(gain.reshape(-1, *[1] * (last.weight.dim() - 1)))
    last.bias.mul_(gain).add_(shift)
    return True
