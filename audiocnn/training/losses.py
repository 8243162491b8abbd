"""The training losses, and targets with softened edges.

NaN targets are unknown and do not contribute to the loss.

`training_loss` selects the loss for the network and its targets: cross-entropy of each hop, or of whole clips. For a
network that localises, it is cross-entropy plus the squared error of the distances from each marked position to the
edges of its event, masked outside of events ("You Only Hear Once", Venkatesh, Moffat, Miranda 2022, section 2.4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from audiocnn.model.network import Network, append_background
from audiocnn.recipe.settings import TrainSettings

WORST_SHARE = 0.25  # of the positions, for examples with none of the labels
EDGE_WEIGHT = 4.0  # of the squared error, in half windows, relative to the cross-entropy: both then have similar size


def edge_targets(marks: Tensor) -> Tensor:
    """(batch, rows, labels) marks -> (batch, rows, labels, 2): rows from the middle of each back to the onset of its
    event, and forward to its offset. They are undefined outside of events. An event that is cut off by the example
    starts or ends there."""
    count = marks.shape[1]
    places = torch.arange(count, device=marks.device)[None, :, None].expand(marks.shape)
    silent = marks <= 0.5  # soft marks cross one half where the event starts and ends
    before = places.masked_fill(~silent, -1).cummax(dim=1).values
    behind = places.masked_fill(~silent, count).flip(1).cummin(dim=1).values.flip(1)
    middles = places + 0.5
    return torch.stack([middles - (before + 1), behind - middles], dim=-1)


def localising_loss(network: Network, logits: Tensor, marks: Tensor) -> Tensor:
    """Logits (batch, positions, outputs) against marks (batch, positions, labels)."""
    classes, furthest = network.spec.classes, network.spec.furthest_seconds
    presence = known_cross_entropy(logits[..., :classes], marks)
    wanted = (edge_targets(marks.nan_to_num(0.0)) * (network.geometry.hop_seconds / furthest)).clamp(max=1.0)
    given = logits[..., classes:].sigmoid().reshape(wanted.shape)
    there = (marks > 0.5)[..., None].expand(wanted.shape)  # not where it is NaN
    squares = (given - wanted).square().masked_fill(~there, 0.0)
    loss: Tensor = presence + EDGE_WEIGHT * squares.sum() / there.sum().clamp_min(1)
    return loss


def known_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """The mean over targets in [0, 1], without those that are NaN."""
    unknown = targets.isnan()
    if not unknown.any():
        return functional.binary_cross_entropy_with_logits(logits, targets)
    weights = (~unknown).to(logits)
    losses = functional.binary_cross_entropy_with_logits(logits, targets.nan_to_num(0.0), weights, reduction="sum")
    return losses / weights.sum().clamp_min(1.0)


@dataclass(frozen=True)
class ClipLoss:
    """Changes to the plain cross-entropy of whole clips.

    smoothing: the share of each target that is spread over all labels (Szegedy et al. 2016, "Rethinking the Inception
    Architecture", section 7). weights: (labels,) the weight of an example of each, with mean 1 over the training part.
    start: (labels,) added to the logits during training, so that the network need not learn label frequencies (logit
    adjustment: Menon et al. 2021, "Long-tail learning via logit adjustment", equation 10).
    """

    smoothing: float = 0.0
    weights: Tensor | None = None
    start: Tensor | None = None


def with_rest(targets: Tensor) -> Tensor:
    """(..., labels) targets in [0, 1] -> (..., labels + 1): "none of these" gets the remainder to 1."""
    rest = 1.0 - targets.sum(dim=-1, keepdim=True)
    return torch.cat([targets, rest.clamp_min(0.0)], dim=-1)


def make_clip_loss(
    settings: TrainSettings, counts: NDArray[np.int64], softmax: bool, background_share: float | None = None
) -> ClipLoss:
    """counts: (labels,) number of clips with each label. background_share: for a softmax with a background, the share
    of examples with none of the labels. The network need not learn it, and treats it as being as frequent as a label.
    """
    rule = _label_loss(settings, counts, softmax)
    if background_share is None:
        return rule
    weights = None if rule.weights is None else torch.cat([rule.weights, rule.weights.mean()[None]])
    labels = torch.zeros(len(counts)) if rule.start is None else rule.start
    odds = max(background_share, 1e-3) * len(counts) / max(1.0 - background_share, 1e-3)
    return replace(rule, weights=weights, start=torch.cat([labels, labels.mean()[None] + math.log(odds)]))


def _label_loss(settings: TrainSettings, counts: NDArray[np.int64], softmax: bool) -> ClipLoss:
    smoothing, balance, balance_power = settings.label_smoothing, settings.balance, settings.balance_power
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


def soften_targets(targets: Tensor, rows: float) -> Tensor:
    """(batch, rows, labels) marks -> their centred mean over this many rows (rounded to an odd number), at the ends
    over the existing rows: labels are smoothed at their edges only. A step becomes a ramp with one half at the step. A
    pause that is shorter than the ramp does not reach 0. Clips with one row are unchanged. The mean is over known
    values, and unknown ones (NaN) stay unknown."""
    reach = round((rows - 1.0) / 2.0)
    if reach < 1 or targets.shape[1] == 1:
        return targets
    known = (~targets.isnan()).to(targets)

    def mean_around(values: Tensor) -> Tensor:
        pooled = functional.avg_pool1d(values.transpose(1, 2), 2 * reach + 1, 1, reach, count_include_pad=False)
        return pooled.transpose(1, 2)

    if bool(known.all()):
        return mean_around(targets)
    soft = mean_around(targets.nan_to_num(0.0)) / mean_around(known).clamp_min(1e-6)
    return soft.masked_fill(known == 0.0, math.nan)


def training_loss(
    network: Network, logits: Tensor, targets: Tensor, spans: Tensor | None = None, rule: ClipLoss | None = None
) -> Tensor:
    """Cross-entropy of (batch, positions, labels) against targets for each hop or, against (batch, 1, labels), of the
    mean score over the clip, which `classify` uses. Examples with none of the labels must have none at any position,
    because `detect` takes positions one by one. Their loss is that of the positions most like a label (`pool_worst`).
    spans: (batch, 2), [first, stop) of the positions of each clip; by default all positions."""
    softmax = network.spec.f.output == "softmax"
    if network.spec.f.background:
        logits, targets = append_background(logits), with_rest(targets)
    if targets.shape[1] == 1:
        if spans is None:
            spans = torch.tensor([[0, logits.shape[1]]]).expand(len(logits), 2)
        pooled = pool_spans(logits, spans, softmax)
        if network.spec.f.background:
            none = targets[:, 0, -1] >= 1.0
            pooled = torch.where(none[:, None, None], pool_worst(logits), pooled)
        return clip_cross_entropy(pooled, targets, softmax, rule or ClipLoss())
    if network.spec.localises:
        return localising_loss(network, logits, targets)
    if not softmax:
        return known_cross_entropy(logits, targets)
    carried = targets.sum(dim=-1) > 0  # not where one is NaN
    if not carried.any():
        return logits.sum() * 0.0
    wanted = targets[carried]
    return functional.cross_entropy(logits[carried], wanted / wanted.sum(dim=-1, keepdim=True))


def count_terms(network: Network, targets: Tensor) -> float:
    """The weight of a part of a batch in the mean loss of the whole: its number of examples, reduced by the unknown
    share; with softmax, the number of positions (or clips) that have a label. For the loss of edges, which has its own
    mean, this is an approximation."""
    if network.spec.f.output != "softmax" or network.spec.f.background:
        return len(targets) * (1.0 - float(targets.isnan().float().mean()))
    return float((targets.sum(dim=-1) > 0).sum())


def clip_cross_entropy(pooled: Tensor, targets: Tensor, softmax: bool, rule: ClipLoss) -> Tensor:
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


def pool_worst(logits: Tensor) -> Tensor:
    """(batch, positions, labels + 1) logits -> (batch, 1, labels + 1), the logs of the mean scores over the share
    `WORST_SHARE` of positions at which "none of these" is least likely."""
    count = max(1, round(WORST_SHARE * logits.shape[1]))
    logs = logits.log_softmax(dim=-1)
    worst = logs[..., -1].topk(count, dim=1, largest=False).indices
    kept = logs.gather(1, worst[..., None].expand(-1, -1, logs.shape[-1]))
    return kept.logsumexp(dim=1, keepdim=True) - math.log(count)


def pool_spans(logits: Tensor, spans: Tensor, softmax: bool) -> Tensor:
    """As `Network.pooled`, over the positions [first, stop) of each example, (batch, 2): the silence around a clip does
    not count."""
    place = torch.arange(logits.shape[1], device=logits.device)[None, :, None]
    spans = spans.to(logits.device)
    outside = (place < spans[:, :1, None]) | (place >= spans[:, 1:, None])
    if softmax:
        kept = logits.log_softmax(dim=-1).masked_fill(outside, -math.inf)
        return kept.logsumexp(dim=1, keepdim=True) - (spans[:, 1] - spans[:, 0])[:, None, None].log()
    yes = functional.logsigmoid(logits).masked_fill(outside, -math.inf)
    no = functional.logsigmoid(-logits).masked_fill(outside, -math.inf)
    return yes.logsumexp(dim=1, keepdim=True) - no.logsumexp(dim=1, keepdim=True)
