"""Calibration: scores that can be read as probabilities.

Platt scaling (Platt 1999, "Probabilistic Outputs for Support Vector Machines", section 2): for each label a gain and
a shift of the log-odds, fitted on recordings that were held out, by the least cross-entropy. Softmax networks get one
gain for all, the temperature of Guo et al. 2017 (section 4.2). Both are folded into the last layer: nothing
is added that an engine would have to know, and the order of the scores of a label stays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
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
    """(rows, outputs) logits and (rows, labels) targets in [0, 1] of each recording -> what makes them probabilities.

    Every recording counts as long as it is. A label that is nowhere, or everywhere, is left as it is; so are the edges
    behind the scores of a network that localises.
    """
    given = torch.from_numpy(np.concatenate(logits)).double()
    wanted = torch.from_numpy(np.concatenate(targets)).double()
    if softmax:
        carried = wanted.sum(dim=1) > 0
        given, wanted = given[carried], wanted[carried] / wanted[carried].sum(dim=1, keepdim=True)
        return temperature(given, wanted)
    pairs = [scaling(given[:, column], wanted[:, column]) for column in range(wanted.shape[1])]
    pairs += [(1.0, 0.0)] * (given.shape[1] - wanted.shape[1])
    return Calibration(tuple(gain for gain, _ in pairs), tuple(shift for _, shift in pairs))


def scaling(given: Tensor, wanted: Tensor) -> tuple[float, float]:
    """(rows,) logits and targets of one label -> gain and shift.

    Targets are drawn in as by Platt (section 2.2), so that labels which the logits tell apart without a fault do not
    want an endless gain; log-odds are shifted around their middle, so that a bound of the gain leaves the shift right.
    """
    positives = float(wanted.sum())
    negatives = len(wanted) - positives
    if positives == 0 or negatives == 0:
        return 1.0, 0.0
    wanted = wanted * ((positives + 1) / (positives + 2)) + (1 - wanted) / (negatives + 2)
    middle = given.mean()
    log_gain = torch.zeros((), dtype=torch.float64, requires_grad=True)
    centre = torch.zeros((), dtype=torch.float64, requires_grad=True)

    def loss() -> Tensor:
        moved = (given - middle) * bounded(log_gain) + centre
        return functional.binary_cross_entropy_with_logits(moved, wanted)

    least(loss, [log_gain, centre])
    gain = float(bounded(log_gain.detach()))
    return gain, float(centre.detach() - gain * middle)


def temperature(given: Tensor, wanted: Tensor) -> Calibration:
    """(rows, labels) logits and shares -> one gain for all labels, no shift."""
    labels = given.shape[1]
    if not len(given):
        return Calibration((1.0,) * labels, (0.0,) * labels)
    log_gain = torch.zeros((), dtype=torch.float64, requires_grad=True)

    def loss() -> Tensor:
        return functional.cross_entropy(given * bounded(log_gain), wanted)

    least(loss, [log_gain])
    return Calibration((float(bounded(log_gain.detach())),) * labels, (0.0,) * labels)


def bounded(log_gain: Tensor) -> Tensor:
    """The gain, between its bounds."""
    return log_gain.exp().clamp(LEAST_GAIN, MOST_GAIN)


def least(loss: Callable[[], Tensor], parameters: list[Tensor]) -> None:
    """Move parameters to where the loss is least."""
    optimizer = torch.optim.LBFGS(parameters, max_iter=STEPS, line_search_fn="strong_wolfe")

    def step() -> Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(step)  # type: ignore[no-untyped-call]


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
