"""Calibration: makes scores usable as probabilities.

Platt scaling (Platt 1999, "Probabilistic Outputs for Support Vector Machines", section 2): for each label, a gain and a
shift of the log-odds are fitted to held-out recordings by minimal cross-entropy. Softmax networks get one gain for all
labels, the temperature of Guo et al. 2017 (section 4.2). Both are folded into the last layer, so that engines need no
change, and the order of the scores of a label is kept.

`fit_calibration` fits the score of each position, `fit_clip_calibration` the mean score of a clip: all positions of a
clip have the same label, and their mean is less certain than each of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from audiocnn.model.network import Network

LEAST_GAIN, MOST_GAIN = 0.05, 20.0
_STEPS = 100


@dataclass(frozen=True)
class Calibration:
    """New logits = gain * logits + shift, for each label: (labels,) each."""

    gain: tuple[float, ...]
    shift: tuple[float, ...]

    def of(self, outputs: int) -> Calibration:
        """The calibration of the first outputs."""
        return Calibration(self.gain[:outputs], self.shift[:outputs])


def fit_calibration(
    logits: Sequence[Sequence[NDArray[np.float32]]], targets: Sequence[Sequence[NDArray[np.float32]]], softmax: bool
) -> Calibration:
    """(rows, outputs) logits and (rows, labels) targets in [0, 1] of each recording of each set -> the calibration.

    Sets have equal weight. Within a set, recordings are weighted by length, without rows whose targets are NaN. A label
    that is in no row, or in all, is left unchanged. So are the edges after the scores of a network that localises.
    """
    given = torch.from_numpy(np.concatenate([rows for own in logits for rows in own])).double()
    wanted = torch.from_numpy(np.concatenate([rows for own in targets for rows in own])).double()
    set_of = torch.cat([torch.full((sum(map(len, own)),), number) for number, own in enumerate(logits)])
    if softmax:
        carried = wanted.sum(dim=1) > 0
        shares = wanted[carried] / wanted[carried].sum(dim=1, keepdim=True)
        return _fit_temperature(given[carried], shares, _even_weights(set_of[carried]))
    pairs = []
    for column in range(wanted.shape[1]):
        known = ~wanted[:, column].isnan()
        pairs.append(_fit_scaling(given[known, column], wanted[known, column], _even_weights(set_of[known])))
    pairs += [(1.0, 0.0)] * (given.shape[1] - wanted.shape[1])
    return Calibration(tuple(gain for gain, _ in pairs), tuple(shift for _, shift in pairs))


def _even_weights(set_of: Tensor) -> Tensor:
    """(rows,) the set of each row -> (rows,) weights that give sets equal weight; their mean is 1."""
    counts = torch.bincount(set_of).double()
    weights = 1.0 / counts[set_of]
    return weights * (len(weights) / weights.sum()) if len(weights) else weights


def _fit_scaling(given: Tensor, wanted: Tensor, weights: Tensor) -> tuple[float, float]:
    """(rows,) logits, targets and weights of one label -> gain and shift.

    Targets are shrunk as by Platt (section 2.2), so that labels that are separated perfectly do not lead to an
    infinite gain. Log-odds are shifted around their middle, so that a limited gain leaves the shift right.
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
        moved = (given - middle) * _bound_gain(log_gain) + centre
        return functional.binary_cross_entropy_with_logits(moved, wanted, weights)

    _minimize(loss, [log_gain, centre])
    gain = float(_bound_gain(log_gain.detach()))
    return gain, float(centre.detach() - gain * middle)


def _fit_temperature(given: Tensor, wanted: Tensor, weights: Tensor) -> Calibration:
    """(rows, labels) logits and shares, (rows,) weights -> one gain for all labels, no shift."""
    labels = given.shape[1]
    if not len(given):
        return Calibration((1.0,) * labels, (0.0,) * labels)
    log_gain = torch.zeros((), dtype=torch.float64, requires_grad=True)

    def loss() -> Tensor:
        return (functional.cross_entropy(given * _bound_gain(log_gain), wanted, reduction="none") * weights).mean()

    _minimize(loss, [log_gain])
    return Calibration((float(_bound_gain(log_gain.detach())),) * labels, (0.0,) * labels)


def _bound_gain(log_gain: Tensor) -> Tensor:
    return log_gain.exp().clamp(LEAST_GAIN, MOST_GAIN)


def _minimize(loss: Callable[[], Tensor], parameters: list[Tensor]) -> None:
    optimizer = torch.optim.LBFGS(parameters, max_iter=_STEPS, line_search_fn="strong_wolfe")

    def step() -> Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(step)  # type: ignore[no-untyped-call]


@torch.no_grad()
def fold_calibration(network: Network, calibration: Calibration) -> bool:
    """Fold a calibration into the last layer, which gives one logit per label. Returns False, without a change, if
    there is no such layer, or if another layer follows it."""
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


MOST_CLIP_POSITIONS = 64  # per clip; long clips are thinned out


def fit_clip_calibration(
    logits: Sequence[NDArray[np.float32]], targets: NDArray[np.float32], softmax: bool
) -> Calibration:
    """(rows, labels) logits of each clip, (clips, labels) targets -> gains and shifts that calibrate the mean scores:
    one temperature for a softmax, else a gain and a shift for each label.

    Targets are shrunk by one clip in total (Platt 1999, section 2.2), so that a network without errors on few clips
    does not become more certain than they justify.
    """
    kept = [thin_rows(rows) for rows in logits]
    given = torch.zeros(len(kept), max(map(len, kept)), targets.shape[1], dtype=torch.float64)
    there = torch.zeros(given.shape[:2], dtype=torch.bool)
    for number, rows in enumerate(kept):
        given[number, : len(rows)], there[number, : len(rows)] = torch.from_numpy(rows).double(), True
    wanted = torch.from_numpy(targets).double()
    return _fit_clip_temperature(given, there, wanted) if softmax else _fit_clip_scalings(given, there, wanted)


def thin_rows(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """(rows, labels) -> some of the rows, evenly spaced, if there are more than are needed."""
    return rows[:: -(-len(rows) // MOST_CLIP_POSITIONS)]


def _fit_clip_temperature(given: Tensor, there: Tensor, wanted: Tensor) -> Calibration:
    labels = wanted.shape[1]
    carried = wanted.sum(dim=1) > 0
    given, there, wanted = given[carried], there[carried], wanted[carried]
    if not len(wanted) or labels == 1:
        return Calibration((1.0,) * labels, (0.0,) * labels)
    doubt = 1.0 / (len(wanted) + 2.0)
    wanted = wanted / wanted.sum(dim=1, keepdim=True) * (1.0 - doubt) + doubt / labels
    log_gain = torch.zeros((), dtype=torch.float64, requires_grad=True)

    def loss() -> Tensor:
        logs = (given * _bound_gain(log_gain)).log_softmax(dim=-1)
        return functional.cross_entropy(_log_mean(logs, there), wanted)

    _minimize(loss, [log_gain])
    return Calibration((float(_bound_gain(log_gain.detach())),) * labels, (0.0,) * labels)


def _fit_clip_scalings(given: Tensor, there: Tensor, wanted: Tensor) -> Calibration:
    """A gain and a shift for each label that some clips have and some do not."""
    gains, shifts = [], []
    for column in range(wanted.shape[1]):
        has = wanted[:, column]
        positives = float(has.sum())
        negatives = len(has) - positives
        if not positives or not negatives:
            gains.append(1.0)
            shifts.append(0.0)
            continue
        drawn_in = has * ((positives + 1) / (positives + 2)) + (1 - has) / (negatives + 2)
        gain, shift = _fit_clip_scaling(given[:, :, column], there, drawn_in)
        gains.append(gain)
        shifts.append(shift)
    return Calibration(tuple(gains), tuple(shifts))


def _fit_clip_scaling(given: Tensor, there: Tensor, wanted: Tensor) -> tuple[float, float]:
    """(clips, positions) logits of one label, (clips,) targets -> gain and shift."""
    middle = given[there].mean()
    log_gain = torch.zeros((), dtype=torch.float64, requires_grad=True)
    centre = torch.zeros((), dtype=torch.float64, requires_grad=True)

    def loss() -> Tensor:
        moved = (given - middle) * _bound_gain(log_gain) + centre
        yes = _log_mean(functional.logsigmoid(moved)[..., None], there)
        no = _log_mean(functional.logsigmoid(-moved)[..., None], there)
        return functional.binary_cross_entropy_with_logits((yes - no)[:, 0], wanted)

    _minimize(loss, [log_gain, centre])
    gain = float(_bound_gain(log_gain.detach()))
    return gain, float(centre.detach() - gain * middle)


def _log_mean(logs: Tensor, there: Tensor) -> Tensor:
    """(clips, positions, labels) log probabilities -> (clips, labels), the log of their means over valid positions."""
    kept = logs.masked_fill(~there[..., None], -math.inf)
    return kept.logsumexp(dim=1) - there.sum(dim=1, keepdim=True).log()
