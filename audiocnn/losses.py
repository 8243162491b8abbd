"""What a step of training makes smaller: the loss of scores against marks, and marks with softened edges."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from audiocnn.network import Network


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


def loss_of(network: Network, logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of (batch, positions, labels) against targets for each hop; against (batch, 1, labels) that of the
    mean score over the clip, by which `classify` answers."""
    if targets.shape[1] == 1:
        logits = network.pooled(logits)
    if network.spec.f.output == "sigmoid":
        return functional.binary_cross_entropy_with_logits(logits, targets)
    carried = targets.sum(dim=-1) > 0
    if not carried.any():
        return logits.sum() * 0.0
    wanted = targets[carried]
    return functional.cross_entropy(logits[carried], wanted / wanted.sum(dim=-1, keepdim=True))
