"""What a step of training makes smaller: the loss of scores against marks, and marks with softened edges."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from audiocnn.edge_loss import localising_loss
from audiocnn.network import Network


@dataclass(frozen=True)
class ClipLoss:
    """What is otherwise in the loss of whole clips.

    smoothing: so much of each target is spread over all labels (Szegedy et al. 2016, "Rethinking the Inception
    Architecture", section 7). weights: (labels,) what an example of each counts, 1 in the mean over the training part.
    start: (labels,) added to the logits while training, so that the network need not learn how frequent a label is
    (logit adjustment: Menon et al. 2021, "Long-tail learning via logit adjustment", equation 10).
    """

    smoothing: float = 0.0
    weights: Tensor | None = None
    start: Tensor | None = None


def clip_loss(
    smoothing: float, balance: str, balance_power: float, counts: NDArray[np.int64], softmax: bool
) -> ClipLoss:
    """The loss for so many clips of each label, (labels,)."""
    seen = np.maximum(counts, 1).astype(np.float64)
    if balance == "loss":
        weights = seen**-balance_power
        weights *= seen.sum() / (weights * seen).sum()
        return ClipLoss(smoothing, weights=torch.from_numpy(weights).float())
    if balance == "prior":
        share = seen / seen.sum()
        log = np.log(share) if softmax else np.log(share / np.maximum(1.0 - share, 1.0 / (1.0 + seen.sum())))
        return ClipLoss(smoothing, start=torch.from_numpy(balance_power * log).float())
    return ClipLoss(smoothing)


def soften(targets: Tensor, rows: float) -> Tensor:
    """(batch, rows, labels) marks -> their centred mean over so many rows (the nearest odd number), at the ends of what
    is there: labels are smoothed at their edges alone. A step becomes a ramp, one half where the step was; a pause that
    is shorter than the ramp does not go down to 0. Clips with one row stay as they are."""
    reach = round((rows - 1.0) / 2.0)
    if reach < 1 or targets.shape[1] == 1:
        return targets
    size = 2 * reach + 1
    pooled = functional.avg_pool1d(targets.transpose(1, 2), size, 1, reach, count_include_pad=False)
    return pooled.transpose(1, 2)


def loss_of(
    network: Network, logits: Tensor, targets: Tensor, spans: Tensor | None = None, rule: ClipLoss | None = None
) -> Tensor:
    """Cross-entropy of (batch, positions, labels) against targets for each hop; against (batch, 1, labels) that of the
    mean score over the clip, by which `classify` answers. spans: (batch, 2), [first, stop) of the positions where each
    clip is; without, all."""
    softmax = network.spec.f.output == "softmax"
    if targets.shape[1] == 1:
        pooled = network.pooled(logits) if spans is None else pooled_in(logits, spans, softmax)
        return loss_of_clips(pooled, targets, softmax, rule or ClipLoss())
    if network.spec.localises:
        return localising_loss(network, logits, targets)
    if not softmax:
        return functional.binary_cross_entropy_with_logits(logits, targets)
    carried = targets.sum(dim=-1) > 0
    if not carried.any():
        return logits.sum() * 0.0
    wanted = targets[carried]
    return functional.cross_entropy(logits[carried], wanted / wanted.sum(dim=-1, keepdim=True))


def terms_of(network: Network, targets: Tensor) -> float:
    """What the loss of a part of a batch weighs in the mean over the whole: how many examples it has; with softmax, of
    positions (or clips) that have a label at all. Of edges, which are a mean of their own, it is near enough."""
    if network.spec.f.output != "softmax":
        return float(len(targets))
    return float((targets.sum(dim=-1) > 0).sum())


def loss_of_clips(pooled: Tensor, targets: Tensor, softmax: bool, rule: ClipLoss) -> Tensor:
    """The mean loss of pooled logits (batch, 1, labels) against the labels of whole clips."""
    logits, wanted = pooled[:, 0], targets[:, 0]
    labels = wanted.shape[1]
    carried = wanted.sum(dim=-1, keepdim=True)
    weights = torch.ones_like(carried[:, 0])
    if rule.weights is not None:
        of_labels = (wanted @ rule.weights.to(wanted)) / carried[:, 0].clamp_min(1e-6)
        weights = torch.where(carried[:, 0] > 0, of_labels, weights)
    if rule.start is not None:
        logits = logits + rule.start.to(logits)
    if softmax:
        there = carried[:, 0] > 0
        if not there.any():
            return logits.sum() * 0.0
        wanted = wanted[there] / carried[there]
        wanted = wanted * (1.0 - rule.smoothing) + rule.smoothing / labels
        losses, weights = functional.cross_entropy(logits[there], wanted, reduction="none"), weights[there]
    else:
        wanted = wanted * (1.0 - rule.smoothing) + rule.smoothing / max(2, labels)
        losses = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none").mean(dim=1)
    return (losses * weights).mean()


def pooled_in(logits: Tensor, spans: Tensor, softmax: bool) -> Tensor:
    """As `Network.pooled`, over the positions [first, stop) of each example: what is silence around a clip is not asked
    what the clip is."""
    place = torch.arange(logits.shape[1], device=logits.device)[None, :, None]
    spans = spans.to(logits.device)
    outside = (place < spans[:, :1, None]) | (place >= spans[:, 1:, None])
    if softmax:
        kept = logits.log_softmax(dim=-1).masked_fill(outside, -math.inf)
        return kept.logsumexp(dim=1, keepdim=True) - (spans[:, 1] - spans[:, 0])[:, None, None].log()
    yes = functional.logsigmoid(logits).masked_fill(outside, -math.inf)
    no = functional.logsigmoid(-logits).masked_fill(outside, -math.inf)
    return yes.logsumexp(dim=1, keepdim=True) - no.logsumexp(dim=1, keepdim=True)
