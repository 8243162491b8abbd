"""Distillation: a network learns the scores of a larger one, or of several, in addition to the marks.

The targets of a step are `(1 - share) * marks + share * teacher`, where the teacher's scores are probabilities (Hinton
et al. 2015, "Distilling the Knowledge in a Neural Network", section 2, at temperature 1). The teacher gets the mixture
unchanged; equalisers and masks apply only to the student.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from audiocnn.errors import ModelError, RecipeError
from audiocnn.model.model import find_model
from audiocnn.model.network import Network
from audiocnn.model.weights import Ensemble, load_networks
from audiocnn.recipe.recipe import Recipe


@dataclass(frozen=True)
class Teacher:
    """A trained model that scores each mixture. order: the columns of the recipe's labels in its output."""

    name: str
    network: Network | Ensemble
    order: list[int]
    share: float
    bfloat16: bool

    def mix_targets(self, samples: Tensor, targets: Tensor) -> Tensor:
        """(batch, channels, samples), marks (batch, rows, labels) -> targets of the same shape. For clips with one row,
        the mean score is used."""
        with torch.no_grad():
            scores = self.scores(self.network.extended(samples))[..., self.order]
        if targets.shape[1] == 1:
            scores = scores.mean(dim=1, keepdim=True)
        return (1.0 - self.share) * targets + self.share * scores

    def scores(self, samples: Tensor) -> Tensor:
        """(batch, channels, samples) -> (batch, rows, outputs), scores first."""
        if isinstance(self.network, Ensemble):
            return self.network.mean(samples, self.found_by)
        return self.found_by(self.network, samples)

    def found_by(self, network: Network, samples: Tensor) -> Tensor:
        """The same for one network: groups and F in bfloat16 if wanted, features in single precision."""
        values = network.laid_out(network.features(samples))
        with torch.autocast(samples.device.type, torch.bfloat16, enabled=self.bfloat16):
            logits = network.logits_of(values)
        return network.found_of(logits.float())


def find_teacher(
    recipe: Recipe, labels: tuple[str, ...], device: torch.device, bfloat16: bool = False
) -> Teacher | None:
    """The teacher of a recipe, if it names one. bfloat16: the precision of its network. RecipeError if there is no such
    model, or if its labels, sample rate, hop or number of channels do not match."""
    settings = recipe.train
    if not settings.teacher:
        return None
    try:
        model = find_model(settings.teacher)
    except ModelError as problem:
        raise RecipeError(f"[train] teacher (paths are relative to the recipe): {problem}") from None
    mine = recipe.spec.geometry()
    if missing := [label for label in labels if label not in model.labels]:
        has = ", ".join(model.labels)
        raise RecipeError(f'[train] teacher: {model.name} has no label "{missing[0]}", only {has}; use another model')
    theirs = model.geometry
    if (theirs.sample_rate, theirs.hop_samples, model.channels) != (
        mine.sample_rate,
        mine.hop_samples,
        recipe.spec.input.channels,
    ):
        raise RecipeError(
            f"[train] teacher: {model.name} gives one score every {theirs.hop_seconds:g} s at {theirs.sample_rate} Hz"
            f" from {model.channels} channel(s), {recipe.spec.name} every {mine.hop_seconds:g} s at {mine.sample_rate}"
            f" Hz from {recipe.spec.input.channels}; use a model that matches"
        )
    network = load_networks(model).to(device)
    order = [model.labels.index(label) for label in labels]
    return Teacher(model.name, network.requires_grad_(False), order, settings.teacher_share, bfloat16)
