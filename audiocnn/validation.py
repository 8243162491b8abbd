"""How good a network is on held-out examples, while it trains and for the thresholds afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from audiocnn.batches import Material, as_tensors
from audiocnn.errors import RecipeError
from audiocnn.evaluation import ScoredRecording
from audiocnn.labels import Annotation
from audiocnn.mixing import Example
from audiocnn.network import Network


@dataclass(frozen=True)
class Figures:
    """The mean loss, and the figure that training is stopped by: `auroc` of hops, or `accuracy` of clips."""

    loss: float
    name: str
    figure: float


def scores_of(network: Network, examples: list[Example], batch_size: int) -> list[NDArray[np.float32]]:
    """(rows, labels) logits of each example, in evaluation mode; those of one length are batched."""
    network.eval()
    device = next(network.parameters()).device
    found: dict[int, NDArray[np.float32]] = {}
    lengths = [example.samples.shape[1] for example in examples]
    order = sorted(range(len(examples)), key=lengths.__getitem__)
    with torch.no_grad():
        for _, alike in groupby(order, key=lengths.__getitem__):
            for numbers in batched(alike, batch_size):
                pairs = [as_tensors(examples[number], network.spec.input.channels) for number in numbers]
                samples = torch.stack([samples for samples, _ in pairs]).to(device)
                values = network.features(network.extended(samples))
                values = network.laid_out(values)
                found |= zip(numbers, network.logits_of(values).float().cpu().numpy(), strict=True)
    return [found[number] for number in range(len(examples))]


def batched(numbers: Iterator[int], most: int) -> Iterator[list[int]]:
    """Lists of so many at most."""
    while batch := list(islice(numbers, most)):
        yield batch


def validate(network: Network, material: Material, batch_size: int) -> Figures:
    """Judge the network on the validation examples. RecipeError where a score is not a number."""
    from sklearn.metrics import roc_auc_score

    logits = scores_of(network, material.validation, batch_size)
    if not all(np.isfinite(rows).all() for rows in logits):
        raise RecipeError("scores are not finite at the end of an epoch; lower [train] learning_rate")
    softmax = network.spec.f.output == "softmax"
    if material.clips:
        pooled = np.stack([network.pooled(torch.from_numpy(rows)[None])[0, 0].numpy() for rows in logits])
        targets = np.stack([example.targets[0] for example in material.validation])
        figure = float(np.mean(pooled.argmax(axis=1) == targets.argmax(axis=1)))
        return Figures(cross_entropy(pooled, targets, softmax), "accuracy", figure)
    rows, targets = np.concatenate(logits), np.concatenate([example.targets for example in material.validation])
    columns = [column for column in range(rows.shape[1]) if 0.0 < targets[:, column].mean() < 1.0]
    areas = [float(roc_auc_score(targets[:, column], rows[:, column])) for column in columns]
    return Figures(cross_entropy(rows, targets, softmax), "auroc", float(np.mean(areas)) if areas else 0.0)


def cross_entropy(logits: NDArray[np.float32], targets: NDArray[np.float32], softmax: bool) -> float:
    """The mean loss of (rows, labels)."""
    wanted, given = torch.from_numpy(targets), torch.from_numpy(logits)
    if softmax:
        return float(functional.cross_entropy(given, wanted))
    return float(functional.binary_cross_entropy_with_logits(given, wanted))


def as_recordings(network: Network, material: Material, logits: Sequence[NDArray[np.float32]]) -> list[ScoredRecording]:
    """The validation examples with their (rows, labels) logits as scored recordings, to tune thresholds on."""
    geometry = network.geometry
    found = []
    for number, rows in enumerate(logits):
        example = material.validation[number]
        scores = network.scores_of(torch.from_numpy(rows)).numpy()
        seconds = example.samples.shape[1] / geometry.sample_rate
        notes = [
            Annotation(start * geometry.hop_seconds, min(stop * geometry.hop_seconds, seconds), label)
            for column, label in enumerate(material.labels)
            for start, stop in runs(example.targets[:, column] > 0.5)
        ]
        found.append(ScoredRecording(f"mixture {number}", scores, geometry.hop_seconds, seconds, notes))
    return found


def runs(active: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """[start, stop) of each stretch of true rows."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], active.astype(np.int8), [0]])))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]
