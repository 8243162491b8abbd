"""Weight updates: the optimizer, the learning rate at each step, and the exponential moving average of weights.

The learning rate is a function of the position in the training, without state, so that a resumed run has the same rate
as an uninterrupted one.
"""

from __future__ import annotations

import math
from collections.abc import Collection

import torch
from torch import nn

from audiocnn.recipe.settings import TrainSettings

# "Super-Convergence" (Smith and Topin 2018), with the shares of torch's OneCycleLR.
_CYCLE_START, _CYCLE_END = 25.0, 25.0 * 1e4
_LEAST_WARM = 1e-3  # of the rate, at the first step of a warm-up


def make_optimizer(network: nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    """The optimizer of the trainable weights. Without `decay_norms`, biases and norms do not decay."""
    learned = [weight for weight in network.parameters() if weight.requires_grad]
    groups = [{"params": learned}]
    if not settings.decay_norms:
        matrices = [weight for weight in learned if weight.dim() > 1]
        groups = [{"params": matrices}, {"params": [weight for weight in learned if weight.dim() <= 1]}]
        groups[1]["weight_decay"] = 0.0  # type: ignore[assignment]
    rate, decay = settings.learning_rate, settings.weight_decay
    if settings.optimizer == "sgd":
        momentum, nesterov = settings.momentum, settings.nesterov and settings.momentum > 0.0
        return torch.optim.SGD(groups, lr=rate, momentum=momentum, nesterov=nesterov, weight_decay=decay)
    kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, lr=rate, weight_decay=decay)


def learning_rate_at(settings: TrainSettings, epoch: int, step: int, steps: int, drops: int = 0) -> float:
    """The learning rate of step `step` of `steps` in an epoch, both from 0. drops: number of reductions at a
    plateau."""
    top, number, total = settings.learning_rate, epoch * steps + step, settings.epochs * steps
    if settings.schedule == "one_cycle":
        return _one_cycle(top, number, total, settings.warmup_share)
    done, warm = number / total, settings.warmup_share
    if done < warm:
        return top * (done / warm + _LEAST_WARM)
    if settings.schedule == "step":
        return top * settings.schedule_factor ** (epoch // settings.schedule_epochs)
    if settings.schedule == "plateau":
        return top * settings.schedule_factor**drops
    if settings.schedule == "constant":
        return top
    return top * 0.5 * (1.0 + math.cos(math.pi * (done - warm) / max(1e-9, 1.0 - warm)))


def _one_cycle(top: float, number: int, total: int, rising: float) -> float:
    """Half a cosine up from top / 25 during the share `rising` of all steps, then half a cosine down to nearly 0."""
    turn, last = max(0.0, rising * total - 1.0), max(1.0, total - 1.0)
    begin, end = (top / _CYCLE_START, top) if number <= turn and turn else (top, top / _CYCLE_END)
    share = number / turn if number <= turn and turn else (number - turn) / max(1e-9, last - turn)
    return end + (begin - end) / 2.0 * (1.0 + math.cos(math.pi * min(1.0, share)))


@torch.no_grad()
def update_ema(ema: nn.Module, network: nn.Module, decay: float, frozen: Collection[str]) -> None:
    """decay * old + (1 - decay) * new for weights and statistics. Those named in `frozen`, and counts, are copied."""
    means = ema.state_dict()
    for name, new in network.state_dict().items():
        if new.dtype.is_floating_point and name not in frozen:
            means[name].lerp_(new, 1.0 - decay)
        else:
            means[name].copy_(new)
