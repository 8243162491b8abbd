"""Edges of segments: a network that predicts them, compared with the same network with scores only.

python -m benchmarks.localising [--seeds 3] [--epochs N] [--count 150] [--json FILE] [-o FOLDER]

`data/recipes/commands_edges.toml` is trained unchanged, and with `output = "sigmoid"`: the same layers, data, batches
and steps. Both are evaluated on mixtures of words by other people (the `dev` part) in coloured noise, at 20, 10 and
0 dB in turn. The edges are known to within a millisecond of the labels. There are three ways to find segments:

    frames            scores of the network without onsets and offsets, hysteresis
    scores alone      scores of the network with them, hysteresis, without its edge outputs
    votes             the same scores, edges by votes (`audiocnn.segments.onset_offset`), as in `detect`

Each network uses the threshold that its training tuned on the held-out part, the default rule and no padding. Figures
and 95 % intervals (by resampling mixtures) are those of `audiocnn evaluate`; for several seeds the table shows means
and standard deviations.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np

from audiocnn.augment.mixture import Mixer
from audiocnn.data.dataset import Dataset
from audiocnn.data.ingest import IngestSettings, cached_dataset
from audiocnn.errors import AudiocnnError
from audiocnn.evaluation.segments import JudgedRecording, evaluate_scores
from audiocnn.inference.engine import load_engine
from audiocnn.model.model import Model, find_model, split_outputs
from audiocnn.recipe.recipe import Recipe, read_recipe
from audiocnn.segments.finder import SegmentRule, find_segments
from audiocnn.segments.segment import Annotation
from audiocnn.spec.spec import spec_from_table
from audiocnn.training.validate import true_runs

ROOT = Path(__file__).resolve().parents[1]
RECIPE = ROOT / "data/recipes/commands_edges.toml"
SNRS_DB = (20.0, 10.0, 0.0)
TRUTH_SECONDS = 0.001
FIGURES = (
    "onset_error_ms",
    "offset_error_ms",
    "edges_within_50ms",
    "segment_f1",
    "f1",
    "detection_error_rate",
    "auroc",
)
WAYS = ("frames", "scores alone", "votes")


def with_output(recipe: Recipe, output: str) -> Recipe:
    """The same recipe with another output."""
    table = recipe.spec.table | {"f": recipe.spec.table["f"] | {"output": output}}
    return replace(recipe, name=f"{recipe.name}_{output}", spec=spec_from_table(table, recipe.spec.name))


def trained(recipe: Recipe, dataset: Dataset, run: Path) -> Model:
    """The model of a run, trained unless it exists."""
    from audiocnn.training.train import train

    if not (run / "model/model.toml").exists():
        for report in train(recipe, dataset, run, resume=(run / "recipe.toml").exists()):
            if hasattr(report, "validation_loss"):
                print(f"{run.name}: epoch {report.epoch}, auroc {report.figure:.4f}", file=sys.stderr, flush=True)
    return find_model(run / "model")


def mixtures(recipe: Recipe, dataset: Dataset, count: int) -> Iterator[tuple[np.ndarray[Any, Any], list[Annotation]]]:
    """Samples (1, samples) of words that are not in the training, and their positions."""
    entries = [entry for entry in dataset.entries if entry.split == "dev"]
    labels = dataset.labels
    hop_samples = round(TRUTH_SECONDS * dataset.sample_rate)
    mixers = []
    for snr_db in SNRS_DB:
        mix = replace(recipe.mix, seconds=6.0, snr_db=(snr_db, snr_db))
        mixers.append(Mixer(dataset, entries, labels, mix, hop_samples, seed=1000))
    for number in range(count):
        example = mixers[number % len(mixers)].example(0, number)
        notes = [
            Annotation(start * TRUTH_SECONDS, stop * TRUTH_SECONDS, label)
            for column, label in enumerate(labels)
            for start, stop in true_runs(example.targets[:, column] > 0.5)
        ]
        yield example.samples, notes


def judged(
    model: Model, made: Sequence[tuple[np.ndarray[Any, Any], list[Annotation]]], way: str
) -> dict[str, dict[str, float | None]]:
    """Figure -> value, low, high."""
    engine = load_engine(model, "cpu", jobs=1)
    recordings = []
    for number, (samples, notes) in enumerate(made):
        scores, edges = split_outputs(engine.outputs(samples), len(model.labels))
        localiser = model.localiser
        find = localiser.find(edges, model.labels) if localiser and edges is not None and way == "votes" else None
        recordings.append(
            JudgedRecording(
                f"mixture {number}",
                scores,
                engine.hop_seconds,
                samples.shape[1] / engine.geometry.sample_rate,
                notes,
                find=find or find_segments,
            )
        )
    engine.close()
    rules = {label: SegmentRule(threshold=model.thresholds[label], pad_seconds=0.0) for label in model.labels}
    (label,) = model.labels
    figures = evaluate_scores(recordings, model.labels, rules).labels[label].figures
    return {
        name: {"value": figures[name].value, "low": figures[name].low, "high": figures[name].high} for name in FIGURES
    }


def measure(recipe: Recipe, folder: Path, seeds: int, count: int) -> dict[str, list[dict[str, Any]]]:
    """Way -> the figures of each seed."""
    assert recipe.data is not None
    settings = IngestSettings(sample_rate=recipe.spec.input.sample_rate)
    dataset = cached_dataset(replace(recipe.data, split=None), folder / "dataset", settings)
    made = list(mixtures(recipe, dataset, count))
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for seed in range(seeds):
        mine = replace(recipe, seed=seed)
        frames = trained(with_output(mine, "sigmoid"), dataset, folder / f"sigmoid-{seed}")
        edges = trained(mine, dataset, folder / f"onset_offset-{seed}")
        for way in WAYS:
            found[way].append(judged(frames if way == "frames" else edges, made, way))
    return found


def to_markdown(found: dict[str, list[dict[str, Any]]]) -> str:
    """A row per way: for one seed the value and its interval, for several the mean and the standard deviation."""
    lines = [f"| | {' | '.join(FIGURES)} |", "|" + "---|" * (len(FIGURES) + 1)]
    for way, rows in found.items():
        cells = []
        for name in FIGURES:
            values = [row[name]["value"] for row in rows]
            digits = 1 if name.endswith("_ms") else 3
            if None in values:
                cells.append("-")
            elif len(values) > 1:
                cells.append(f"{mean(values):.{digits}f} ± {stdev(values):.{digits}f}")
            else:
                low, high = rows[0][name]["low"], rows[0][name]["high"]
                cells.append(f"{values[0]:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]")
        lines.append(f"| {way} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Edges by votes, beside hysteresis on scores.")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="epochs [default: as in the recipe]")
    parser.add_argument("--count", type=int, default=150, help="number of mixtures to evaluate on")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/localising"), help="dataset and runs")
    options = parser.parse_args(arguments)
    if options.seeds < 1 or options.count < 1:
        parser.error("at least 1 seed and 1 mixture are needed")
    try:
        recipe = read_recipe(RECIPE)
        if options.epochs:
            recipe = replace(recipe, train=replace(recipe.train, epochs=options.epochs))
        found = measure(recipe, options.output, options.seeds, options.count)
    except AudiocnnError as problem:
        print(f"localising: {problem}", file=sys.stderr)
        return 2
    print(to_markdown(found))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
