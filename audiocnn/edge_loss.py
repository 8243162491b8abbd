"""What a network that localises learns: the marks, and how far each marked position is from the edges of its event.

The loss of the edges is the squared error, masked where there is no event ("You Only Hear Once", Venkatesh, Moffat,
Miranda 2022, section 2.4); that of the scores stays the cross-entropy of every other network.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from audiocnn.network import Network

EDGE_WEIGHT = 4.0  # of the squared error, in half windows, beside the cross-entropy: both then move alike


def edges_of_marks(marks: Tensor) -> Tensor:
    """(batch, rows, labels) marks -> (batch, rows, labels, 2): rows from the middle of each back to the onset of its
    event and on to its offset. Where there is no event, they mean nothing. An event that the example cuts off begins
    or ends there."""
    count = marks.shape[1]
    places = torch.arange(count, device=marks.device)[None, :, None].expand(marks.shape)
    silent = marks <= 0.5  # soft marks cross one half where the event begins and ends
    before = places.masked_fill(~silent, -1).cummax(dim=1).values
    behind = places.masked_fill(~silent, count).flip(1).cummin(dim=1).values.flip(1)
    middles = places + 0.5
    return torch.stack([middles - (before + 1), behind - middles], dim=-1)


def localising_loss(network: Network, logits: Tensor, marks: Tensor) -> Tensor:
    """Logits (batch, positions, outputs) against marks (batch, positions, labels)."""
    classes, furthest = network.spec.classes, network.spec.furthest_seconds
    presence = functional.binary_cross_entropy_with_logits(logits[..., :classes], marks)
    wanted = (edges_of_marks(marks) * (network.geometry.hop_seconds / furthest)).clamp(max=1.0)
    given = logits[..., classes:].sigmoid().reshape(wanted.shape)
    there = (marks > 0.5)[..., None].expand(wanted.shape)
    squares = (given - wanted).square().masked_fill(~there, 0.0)
    loss: Tensor = presence + EDGE_WEIGHT * squares.sum() / there.sum().clamp_min(1)
    return loss
