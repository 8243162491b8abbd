"""Validation: loss and main metric of a network on held-out examples, and logits for calibration and thresholds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from audiocnn.augment.clips import ValidationClips
from audiocnn.augment.mixture import Example
from audiocnn.errors import RecipeError
from audiocnn.evaluation.segments import JudgedRecording
from audiocnn.model.model import split_outputs
from audiocnn.model.network import Network, append_background
from audiocnn.segments.finder import find_segments
from audiocnn.segments.onset_offset import Localiser
from audiocnn.segments.segment import Annotation
from audiocnn.training.batches import TrainingSet, values_tensor
from audiocnn.training.calibrate import thin_rows
from audiocnn.training.dead_units import LayerUnits, watch_units
from audiocnn.training.features import features_of
from audiocnn.training.losses import known_cross_entropy, with_rest

_FEW_CLIPS = 200
_MOST_SAMPLES = 2**21  # at a time: 32 mixtures of 4 s at 16 kHz


@dataclass(frozen=True)
class ValidationResult:
    """The mean loss, and the metric for early stopping: `auroc` of hops. For clips it is `accuracy`; if labels are
    balanced, `balanced_accuracy` (the mean recall over labels); if a clip may have several labels, or there is only one
    label, `average_precision` (the mean over labels).

    coarse: there are so few clips that a single one decides the metric; epochs are then compared by loss. dead: layers
    with units that are 0 for all validation examples.
    """

    loss: float
    name: str
    figure: float
    coarse: bool = False
    dead: tuple[LayerUnits, ...] = ()

    def is_better_than(self, figure: float, loss: float) -> bool:
        """Than another epoch of the same training."""
        return self.loss < loss if self.coarse else (self.figure, -self.loss) > (figure, -loss)


def example_logits(
    network: Network, examples: Sequence[Example], batch_size: int, between: Callable[[], None] = lambda: None
) -> list[NDArray[np.float32]]:
    """(rows, labels) logits of each example, in evaluation mode."""
    found: dict[int, NDArray[np.float32]] = {}
    for numbers, logits in logits_by_batch(network, examples, batch_size):
        between()
        found |= zip(numbers, logits.numpy(), strict=True)
    return [found[number] for number in range(len(examples))]


@torch.no_grad()
def logits_by_batch(
    network: Network, examples: Sequence[Example], batch_size: int
) -> Iterator[tuple[list[int], Tensor]]:
    """Indexes of examples with equal numbers of rows, and their logits (examples, rows, outputs) in evaluation mode.
    Shorter ones are padded to the longest with the same number, which has no effect, as recordings end in zeros."""
    network.eval()
    device, hop = next(network.parameters()).device, network.geometry.hop_samples
    lengths, channels = lengths_of(examples), network.spec.input.channels
    rows = [-(-length // hop) for length in lengths]
    order = sorted(range(len(examples)), key=rows.__getitem__)
    for count, alike in groupby(order, key=rows.__getitem__):
        for numbers in batched(alike, max(1, min(batch_size, _MOST_SAMPLES // (count * hop)))):
            longest = max(lengths[number] for number in numbers)
            values = [padded_values(examples, number, longest) for number in numbers]
            batch = torch.stack([values_tensor(each, channels) for each in values])
            features = features_of(network, batch.to(device))
            yield numbers, network.logits_of(network.laid_out(features)).float().cpu()


def padded_values(examples: Sequence[Example], number: int, length: int) -> NDArray[np.float32]:
    """The network input of an example, padded with silence to this many samples."""
    if isinstance(examples, ValidationClips):
        return examples.values(number, length)
    samples = examples[number].samples
    return np.pad(samples, ((0, 0), (0, length - samples.shape[1])))


def lengths_of(examples: Sequence[Example]) -> list[int]:
    """Number of samples in each; held-out clips are not read for it."""
    if isinstance(examples, ValidationClips):
        return examples.lengths()
    return [example.samples.shape[1] for example in examples]


def batched(numbers: Iterator[int], most: int) -> Iterator[list[int]]:
    while batch := list(islice(numbers, most)):
        yield batch


def validate(
    network: Network, training_set: TrainingSet, batch_size: int, between: Callable[[], None] = lambda: None
) -> ValidationResult:
    """Evaluate the network on the validation examples. RecipeError if a score is not finite. between: called before
    each batch; it may raise an exception to stop."""
    from sklearn.metrics import roc_auc_score

    softmax, background = network.spec.f.output == "softmax", network.spec.f.background
    if training_set.clips:
        with watch_units(network) as watch:
            pooled = clip_logits(network, training_set.validation, batch_size, between)
        targets = clip_targets(training_set)
        check_finite([pooled])
        figure = clip_figure(pooled, targets, training_set.several, training_set.balanced, background)
        coarse = len(targets) < _FEW_CLIPS
        loss = cross_entropy(pooled, targets, softmax, background)
        return ValidationResult(loss, *figure, coarse, watch.layers())
    with watch_units(network) as watch:
        logits = example_logits(network, training_set.validation, batch_size, between)
    check_finite(logits)
    rows, targets = np.concatenate(logits), np.concatenate([example.targets for example in training_set.validation])
    rows = rows[:, : targets.shape[1]]
    areas = []
    for column in range(rows.shape[1]):
        known = ~np.isnan(targets[:, column])
        if known.any() and 0.0 < targets[known, column].mean() < 1.0:
            areas.append(float(roc_auc_score(targets[known, column], rows[known, column])))
    loss = cross_entropy(rows, targets, softmax, background)
    return ValidationResult(loss, "auroc", float(np.mean(areas)) if areas else 0.0, dead=watch.layers())


def check_finite(logits: Sequence[NDArray[np.float32]]) -> None:
    """RecipeError if a score is not finite."""
    if not all(np.isfinite(rows).all() for rows in logits):
        raise RecipeError("the scores at the end of an epoch are not finite; lower [train] learning_rate")


def clip_logits(
    network: Network, clips: Sequence[Example], batch_size: int, between: Callable[[], None] = lambda: None
) -> NDArray[np.float32]:
    """(clips, labels) logits of the mean scores. Each clip is read once, and only its mean is kept."""
    found = np.empty((len(clips), network.spec.classes), np.float32)
    for numbers, logits in logits_by_batch(network, clips, batch_size):
        between()
        found[numbers] = network.pooled(logits)[:, 0].numpy()
    return found


def thinned_logits(network: Network, clips: Sequence[Example], batch_size: int) -> list[NDArray[np.float32]]:
    """(rows, labels) logits of each clip at some of its positions, as many as a calibration uses. Otherwise only one
    batch is in memory."""
    found: dict[int, NDArray[np.float32]] = {}
    for numbers, logits in logits_by_batch(network, clips, batch_size):
        found |= zip(numbers, (thin_rows(rows).copy() for rows in logits.numpy()), strict=True)
    return [found[number] for number in range(len(clips))]


def clip_targets(training_set: TrainingSet) -> NDArray[np.float32]:
    """(clips, labels) of the held-out clips."""
    if isinstance(training_set.validation, ValidationClips):
        return training_set.validation.targets()
    return np.stack([example.targets[0] for example in training_set.validation])


def clip_figure(
    pooled: NDArray[np.float32],
    targets: NDArray[np.float32],
    several: bool,
    balanced: bool,
    background: bool = False,
) -> tuple[str, float]:
    """Name and value of the metric for clips: (clips, labels) logits against targets. Clips with none of the labels
    count only for the average precision, which is also used for a single label, where accuracy would always be 1.
    background: a clip without any logit above 0, that of none of the labels, has no answer, which counts as wrong."""
    from sklearn.metrics import average_precision_score

    there = [column for column in range(targets.shape[1]) if 0.0 < targets[:, column].mean() < 1.0]
    if several or targets.shape[1] == 1 or not targets.any(axis=1).any():
        areas = [float(average_precision_score(targets[:, column], pooled[:, column])) for column in there]
        return "average_precision", float(np.mean(areas)) if areas else 0.0
    known = targets.any(axis=1)
    wanted = targets[known].argmax(axis=1)
    right = pooled[known].argmax(axis=1) == wanted
    if background:
        right &= pooled[known].max(axis=1) >= 0.0
    if not balanced:
        return "accuracy", float(np.mean(right))
    return "balanced_accuracy", float(np.mean([right[wanted == label].mean() for label in np.unique(wanted)]))


def cross_entropy(
    logits: NDArray[np.float32], targets: NDArray[np.float32], softmax: bool, background: bool = False
) -> float:
    """The mean loss of (rows, labels), without NaN targets."""
    wanted, given = torch.from_numpy(targets), torch.from_numpy(logits)
    if background:
        wanted, given = with_rest(wanted), append_background(given)
    if softmax:
        known = ~wanted.isnan().any(dim=1)
        return float(functional.cross_entropy(given[known], wanted[known]))
    return float(known_cross_entropy(given, wanted))


def scored_recordings(
    network: Network, labels: Sequence[str], examples: Sequence[Example], logits: Sequence[NDArray[np.float32]]
) -> list[JudgedRecording]:
    """Examples with their (rows, outputs) logits as scored recordings, for tuning thresholds."""
    geometry, localiser = network.geometry, Localiser(network.spec.furthest_seconds)
    found = []
    for number, rows in enumerate(logits):
        example = examples[number]
        scores, edges = split_outputs(network.found_of(torch.from_numpy(rows)).numpy(), len(labels))
        seconds = example.samples.shape[1] / geometry.sample_rate
        notes = [
            Annotation(start * geometry.hop_seconds, min(stop * geometry.hop_seconds, seconds), label)
            for column, label in enumerate(labels)
            for start, stop in true_runs(example.targets[:, column] > 0.5)
        ]
        unsure = [
            (start * geometry.hop_seconds, min(stop * geometry.hop_seconds, seconds))
            for start, stop in true_runs(np.asarray(np.isnan(example.targets).any(axis=1)))
        ]
        find = find_segments if edges is None else localiser.find(edges, labels)
        found.append(
            JudgedRecording(f"{number:04}", scores, geometry.hop_seconds, seconds, notes, find=find, unsure=unsure)
        )
    return found


def true_runs(active: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """[start, stop) of each run of true rows."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], active.astype(np.int8), [0]])))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]
