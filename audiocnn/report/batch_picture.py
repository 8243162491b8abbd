"""A picture of a training batch: the network input after all augmentation, with labels and file names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from audiocnn.data.dataset import Dataset
from audiocnn.errors import show_name
from audiocnn.inspection.spectrogram import Spectrogram, band_borders_hertz
from audiocnn.recipe.recipe import Recipe
from audiocnn.report.figure import new_figure, save_figure, show_spectrogram
from audiocnn.report.style import LIGHT
from audiocnn.spec.features import InputSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BATCH_FILE = "batch.png"  # in the folder of a run
_MOST_EXAMPLES, _COLUMNS = 12, 4
_MOST_MADE = 32  # examples whose mean fills the masks
_RANGE_DECIBELS = 60.0
_NAME_LETTERS = 34
_SHOWN_TARGET = 0.05  # of a clip; lower targets come from label smoothing
_MADE = "synthetic sound, noise or silence"


@dataclass(frozen=True)
class SeenExample:
    """An example as given to the network. decibels: (bands, frames), from `start_seconds` on. targets: (rows, labels),
    NaN where unknown. span: position of the clip in it, in seconds. names: its recordings."""

    decibels: NDArray[np.floating[Any]]
    start_seconds: float
    targets: NDArray[np.floating[Any]]
    span: tuple[float, float]
    names: tuple[str, ...]


def draw_batch(recipe: Recipe, dataset: Dataset, path: Path) -> None:
    """Draw the first examples of the first batch of a training. recipe: with its defaults. DatasetError if the dataset
    does not fit it."""
    from audiocnn.training.batches import are_clips, make_training_set, select_entries

    recipe = recipe.with_defaults(are_clips(select_entries(recipe, dataset)))
    training_set = make_training_set(recipe, dataset, validates=False)
    seen = see_batch(recipe, training_set)
    features = recipe.spec.input
    shown = Spectrogram(features)
    hop_seconds = shown.hop / features.sample_rate
    rows = -(-len(seen) // _COLUMNS)
    columns = min(_COLUMNS, len(seen))
    figure = new_figure(3.2 * columns, 2.3 * rows + 0.6)
    figure.suptitle(f"{recipe.name}: examples of the first batch, as given to the network", fontsize="medium")
    axes = figure.subplots(rows, columns, squeeze=False)
    for one in axes.flat[len(seen) :]:
        one.set_axis_off()
    borders = band_borders_hertz(shown.spec)
    for number, (one, example) in enumerate(zip(axes.flat, seen, strict=False)):
        seconds = example.start_seconds + hop_seconds * np.arange(example.decibels.shape[1] + 1)
        top = float(example.decibels.max())
        colours = {"cmap": "magma", "vmin": top - _RANGE_DECIBELS, "vmax": top}
        show_spectrogram(one, example.decibels, seconds, borders, shown.spec.features, **colours)
        one.set_xlim(0.0, recipe.mix.seconds)
        one.tick_params(labelsize=7)
        one.set_ylabel("Hz" if number % columns == 0 else "", fontsize=8)
        one.set_xlabel("seconds" if number >= len(seen) - columns else "", fontsize=8)
        _mark_labels(one, example, training_set.labels, recipe.mix.seconds)
    save_figure(figure, path)


def see_batch(recipe: Recipe, training_set: Any) -> list[SeenExample]:
    """The first examples of a training set (`audiocnn.training.batches.TrainingSet`), as given to the network, with the
    masks and the equaliser that are applied to its features."""
    import torch

    from audiocnn.augment.spectral import augment_features
    from audiocnn.model.network import Network
    from audiocnn.training.batches import first_examples, recordings_of_examples
    from audiocnn.training.features import features_of

    spec = recipe.spec.with_classes(len(training_set.labels))
    network, features, rate = Network(spec).eval(), spec.input, spec.input.sample_rate
    count = min(recipe.train.batch_size or _MOST_MADE, _MOST_MADE)
    values, targets, spans = first_examples(recipe, training_set, count)
    with torch.no_grad():
        given = features_of(network, values)
        given = augment_features(given, recipe.mix, features, np.random.default_rng([recipe.seed, 0, 0, 1]))
    hop, start = spec.geometry().hop_samples / rate, -spec.geometry().extend_start / rate
    found = []
    for number in range(min(count, _MOST_EXAMPLES)):
        if features.features in ("waveform", "mfcc"):  # these have no bands: shown without masks
            decibels, begin = _decibels_of(values[number].numpy(), features), 0.0
        else:
            bands = given[number].reshape(features.channels, -1, given.shape[-1]).mean(dim=0).numpy()
            decibels = (10.0 / np.log(10.0)) * bands if features.logarithmic else _to_decibels(bands, features.floor)
            begin = start
        span = (float(spans[number][0]) * hop, float(spans[number][1]) * hop)
        names = tuple(recordings_of_examples(training_set.source, [(0, number)]))
        found.append(SeenExample(decibels, begin, targets[number].numpy(), span, names))
    return found


def _decibels_of(values: NDArray[np.float32], spec: InputSpec) -> NDArray[np.floating[Any]]:
    """(channels, samples), or powers (channels, bands, frames), as (bands, frames)."""
    if values.ndim == 3:
        return _to_decibels(values.mean(axis=0), spec.floor)
    shown = Spectrogram(spec)
    powers = np.concatenate([shown.push(values), shown.finish()], axis=1)
    return _to_decibels(powers.mean(axis=0).T, shown.floor)


def _to_decibels(powers: NDArray[Any], floor: float) -> NDArray[np.floating[Any]]:
    decibels: NDArray[np.floating[Any]] = 10.0 * np.log10(np.maximum(powers, max(floor, 1e-10)))
    return decibels


def _mark_labels(axes: Axes, example: SeenExample, labels: Sequence[str], seconds: float) -> None:
    """For a clip, its labels above it, and its start and end. For a mixture, a bar for each label where it occurs."""
    rows = len(example.targets)
    known = np.nan_to_num(example.targets)
    there = [column for column in range(len(labels)) if known[:, column].max(initial=0.0) > _SHOWN_TARGET]
    if rows == 1:
        shares = [float(known[0, column]) for column in there]
        mixed = any(share < 1.0 - _SHOWN_TARGET for share in shares) and len(shares) > 1
        said = [
            f"{show_name(labels[k])} {s:.2f}" if mixed else show_name(labels[k])
            for k, s in zip(there, shares, strict=True)
        ]
        begin, end = example.span
        for edge in (begin, end):
            if 0.0 < edge < seconds:
                axes.axvline(edge, color="white", linewidth=1.0, linestyle="--")
    else:
        said = [show_name(labels[column]) for column in there]
        hop = seconds / rows
        for place, column in enumerate(there):
            edges = np.flatnonzero(np.diff(known[:, column] >= 0.5, prepend=False, append=False)).reshape(-1, 2)
            spans = [(begin * hop, (end - begin) * hop) for begin, end in edges]
            colour = LIGHT[column % len(LIGHT)]
            bar: dict[str, Any] = {
                "transform": axes.get_xaxis_transform(),
                "facecolors": colour,
                "edgecolors": "white",
                "linewidth": 0.8,
            }
            axes.broken_barh(spans, (0.90 - 0.09 * place, 0.07), **bar)
    title = _shorten(" + ".join(said) or "none of the labels", _NAME_LETTERS)
    axes.set_title(f"{title}\n{_format_names(example.names)}", fontsize=8, loc="left")


def _format_names(names: Sequence[str]) -> str:
    if not names:
        return _MADE
    more = f" +{len(names) - 1}" if len(names) > 1 else ""
    return _shorten(show_name(names[0]), _NAME_LETTERS - len(more)) + more


def _shorten(text: str, letters: int) -> str:
    """Text shortened at its start, because the ends of names differ."""
    return text if len(text) <= letters else "…" + text[-letters + 1 :]
