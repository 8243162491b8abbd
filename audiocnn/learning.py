"""One step of training: a batch in, weights a little better, its loss out.

    samples -> features (no gradient) -> other microphone, masks -> logits -> loss -> gradients -> weights, their mean

Every draw in a step is keyed by the seed, the epoch and the step; nothing else is random, so that a run that goes on
does what it would have done.
"""

from __future__ import annotations

import contextlib
import copy
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from audiocnn.batches import ALONE, Material, Rows, varied
from audiocnn.distilling import find_teacher
from audiocnn.errors import RecipeError
from audiocnn.losses import clip_loss, loss_of, soften, terms_of
from audiocnn.network import Network
from audiocnn.optimizing import average, make_optimizer
from audiocnn.ranks import Ranks
from audiocnn.recipe import Recipe
from audiocnn.transfer import freeze_groups

KINDS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class NotFiniteError(RecipeError):
    """A loss, or a gradient, that is no number. bad: which examples of this process's batch it came from."""

    def __init__(self, what: str, bad: list[int]) -> None:
        super().__init__(what)
        self.what, self.bad = what, bad


class Logits(nn.Module):
    """Features -> logits, as a module of its own: what is compiled, and what several processes share."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, values: Tensor) -> Tensor:
        """(batch, [channels,] bands, frames) -> (batch, positions, outputs)."""
        return self.network.logits_of(values)


class Learner:
    """A network, what it learns with, and how. `network` changes with each step, `averaged` is the mean over steps."""

    def __init__(self, recipe: Recipe, material: Material, device: torch.device, ranks: Ranks = ALONE) -> None:
        self.recipe, self.settings, self.device, self.ranks = recipe, recipe.train, device, ranks
        check_precision(self.settings.precision, device)
        spec = recipe.spec.with_classes(len(material.labels))
        self.network = Network(spec).to(device)
        if spec.dims == 2:  # three times as fast on the CPU
            self.network = self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.averaged = copy.deepcopy(self.network)
        self.teacher = find_teacher(recipe, material.labels, device)
        self.frozen = freeze_groups(self.network, recipe.transfer.freeze if recipe.transfer else ())
        self.optimizer = make_optimizer(self.network, self.settings)
        half = self.settings.precision == "float16"
        self.scaler = torch.amp.GradScaler(device.type, enabled=half)  # small gradients would be 0 in half precision
        t, softmax = self.settings, spec.f.output == "softmax"
        counts = np.array(material.counts or (1,) * len(material.labels))
        self.clip_loss = clip_loss(t.label_smoothing, t.balance, t.balance_power, counts, softmax)
        self.notes: list[str] = []
        self.logits = ranks.together(self.compiled(Logits(self.network)), device)

    def compiled(self, module: nn.Module) -> nn.Module:
        """The module, compiled where the recipe wants it and a compiler is there. A step on silence shows that it can
        be, gradients too; nothing is left of it. Each size of a batch is compiled for itself: of sizes left open, the
        compiler of torch 2.13 fails on some nets."""
        if not self.settings.compile:
            return module
        size = math.ceil(self.settings.batch_size / self.ranks.world / self.settings.accumulate)
        before, random = copy.deepcopy(self.network.state_dict()), torch.get_rng_state()
        try:
            made: Any = torch.compile(module, dynamic=False)
            self.network.train()
            with torch.no_grad():
                values = self.features(torch.zeros(size, self.recipe.spec.input.channels, self.example_samples))
            precision = self.settings.precision
            with torch.autocast(self.device.type, KINDS[precision], enabled=precision != "float32"):
                made(values).sum().backward()
        except Exception as problem:  # noqa: BLE001 - whatever a compiler says: training works without
            said = " ".join(str(problem).split())[:100]
            self.notes.append(f"[train] compile: cannot be had here ({said}); training goes on without")
            return module
        finally:
            self.network.load_state_dict(before)
            self.network.zero_grad()
            torch.set_rng_state(random)
        return made  # type: ignore[no-any-return]

    @property
    def example_samples(self) -> int:
        """The length of an example."""
        return round(self.recipe.mix.seconds * self.recipe.spec.input.sample_rate)

    def features(self, samples: Tensor) -> Tensor:
        """(batch, channels, samples) -> what the first convolution sees, in as many parts as the step."""
        found = [
            self.network.features(self.network.extended(part.to(self.device)))
            for part in torch.split(samples, self.part(samples))
        ]
        return self.network.laid_out(found[0] if len(found) == 1 else torch.cat(found))

    def part(self, batch: Tensor) -> int:
        """How many examples at a time."""
        return math.ceil(len(batch) / self.settings.accumulate)

    def learn(
        self,
        samples: Tensor,
        targets: Tensor,
        spans: Tensor | None = None,
        *,
        place: tuple[int, int] = (0, 0),
        rate: float,
        total: int | None = None,
    ) -> float:
        """One step on a batch (batch, channels, samples), (batch, rows, labels), and the positions of each clip
        (batch, 2), at (epoch, step); returns the loss. total: examples in the batches of all processes together.

        NotFiniteError: the loss or its gradients are no numbers; the weights are then as they were.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.network.train()
        self.frozen.rest()
        seed, (epoch, step), rank = self.recipe.seed, place, self.ranks.rank
        torch.manual_seed(
            int(np.random.SeedSequence([seed, epoch, step, 2, rank]).generate_state(1, np.uint64)[0] >> 1)
        )
        mine = self.ranks.rows(total) if total is not None else range(len(samples))
        rows = Rows(mine or range(1), total or len(samples), lambda v: self.ranks.mean(v if mine else v[:0]))
        with torch.no_grad():
            values = varied(self.features(samples), self.recipe, np.random.default_rng([seed, epoch, step, 1]), rows)
            targets = self.wanted(samples, targets)
        self.optimizer.zero_grad()
        loss = self.gradients(self.network.laid_out(values), targets, spans, 1.0 if mine else 0.0)
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.gradient_clip)
        if not math.isfinite(loss) or not (self.scaler.is_enabled() or torch.isfinite(norm)):
            what = "loss is" if not math.isfinite(loss) else "gradients are"
            raise NotFiniteError(f"the {what} not finite", self.blamed(values))
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss

    def wanted(self, samples: Tensor, targets: Tensor) -> Tensor:
        """The targets as they are learned: softened, and mixed with what the teacher says."""
        targets = soften(targets.to(self.device), self.settings.edge_seconds / self.network.geometry.hop_seconds)
        return targets if self.teacher is None else self.teacher.taught(samples.to(self.device), targets)

    def gradients(self, values: Tensor, targets: Tensor, spans: Tensor | None, counts: float) -> float:
        """Add the gradients of the mean loss over the batches of all processes; returns that loss."""
        size = self.part(values)
        whole = self.ranks.total(counts * terms_of(self.network, targets))[0] or 1.0
        loss, parts = 0.0, range(0, len(values), size)
        for first in parts:
            part = slice(first, first + size)
            alone = self.ranks.world > 1 and first != parts[-1]
            with self.logits.no_sync() if alone else contextlib.nullcontext():  # type: ignore[operator]
                mean = self.loss(values[part], targets[part], None if spans is None else spans[part])
                partial = mean * (counts * terms_of(self.network, targets[part]) / whole)
                self.scaler.scale(partial * self.ranks.world).backward()  # type: ignore[no-untyped-call]
            loss += float(partial.detach())
        return self.ranks.total(loss)[0]

    def loss(self, values: Tensor, targets: Tensor, spans: Tensor | None) -> Tensor:
        """The mean loss of features against targets."""
        precision = self.settings.precision
        with torch.autocast(self.device.type, KINDS[precision], enabled=precision != "float32"):
            logits = self.logits(values)
        return loss_of(self.network, logits.float(), targets, spans, self.clip_loss)

    @torch.no_grad()
    def blamed(self, values: Tensor) -> list[int]:
        """The examples whose scores are no numbers; where that is none of them, or all, all."""
        self.network.eval()
        size = self.part(values)
        finite = torch.cat(
            [self.network.logits_of(part).isfinite().flatten(1).all(dim=1) for part in torch.split(values, size)]
        )
        bad = (~finite).nonzero().flatten().tolist()
        return bad or list(range(len(values)))

    def average(self, steps: int) -> None:
        """Move the mean of the weights, after so many steps; less patient at first, when all is new."""
        average(self.averaged, self.network, min(self.settings.averaging, steps / (steps + 10)), self.frozen.names)


def check_precision(precision: str, device: torch.device) -> None:
    """RecipeError where a device cannot have it."""
    if precision == "float16" and device.type != "cuda":
        raise RecipeError(f'[train] precision = "float16" is for GPUs, and this is {device.type}; take "bfloat16"')
