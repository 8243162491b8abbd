"""What helps a speech detector, and what does not: the same short training with one thing changed, with several seeds.

python -m benchmarks.trials benchmarks/trials.toml -o FOLDER [--seeds 1,2,3] [--only NAME]... [--dataset DATASET]

The file has a recipe, changes common to all trials, and the trials, each with a name and its own changes. Every
training is evaluated on the `tune` part of the recipe's conditions, which is held out from all trainings, and on the
recordings of `also`. Runs in FOLDER are not repeated. The result is a table of means and standard deviations over the
seeds.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from audiocnn.data.dataset import Dataset
from audiocnn.data.ingest import IngestSettings, cached_dataset
from audiocnn.errors import AudiocnnError, RecipeError, UsageError
from audiocnn.evaluation.annotated import Scorer, evaluate
from audiocnn.evaluation.conditions import read_conditions
from audiocnn.evaluation.results import Evaluation, EvaluationSettings
from audiocnn.evaluation.testset import make_set
from audiocnn.inference.engine import load_engine
from audiocnn.model.model import Model, find_model
from audiocnn.recipe.recipe import Recipe, read_recipe
from audiocnn.toml import read_toml
from audiocnn.training.events import EpochReport, TrainReport
from audiocnn.training.train import train

LABEL, KEPT = "speech", "figures.json"
LOUD = ("noise_0db", "noise_-5db")
FIGURES = ("tune auroc", "tune 0 dB", "tune -5 dB", "tune fpr at 5 % miss", "tune false clips", "also auroc")


def changed(table: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A table updated with the values of another one, recursively."""
    out = dict(table)
    for key, value in changes.items():
        out[key] = changed(out.get(key, {}), value) if isinstance(value, Mapping) else value
    return out


def recipe_with(base: Path, changes: Mapping[str, Any]) -> Recipe:
    """The recipe with some values changed; its paths stay relative to its folder."""
    table = changed(read_toml(base, RecipeError), changes)
    with tempfile.NamedTemporaryFile("wb", suffix=".toml", dir=base.parent, prefix=".trial-") as file:
        file.write(tomli_w.dumps(table).encode())
        file.flush()
        return read_recipe(Path(file.name))


def trained(recipe: Recipe, dataset: Dataset, run: Path) -> Model:
    """The model of a run, trained unless it exists, or resumed if it was interrupted."""
    if not (run / "model" / "model.toml").exists():
        for report in train(recipe, dataset, run, resume=(run / "recipe.toml").exists()):
            if isinstance(report, EpochReport):
                say = f"  {run.name} epoch {report.epoch}/{report.epochs}: {report.figure_name} {report.figure:.4f}"
                print(say, file=sys.stderr, flush=True)
            elif isinstance(report, TrainReport):
                return report.model
    return find_model(run)


def judged(model: Model, dataset: Dataset) -> Evaluation:
    """The evaluation of a model on a dataset, by condition."""
    engine = load_engine(model)
    pads = {} if model.points else {"pad_seconds": 0.0}  # as in `audiocnn evaluate`
    rules = {label: model.rule(label, **pads) for label in model.labels}
    scorer = Scorer(engine.score, engine.geometry.sample_rate, engine.hop_seconds, model.labels, rules)
    *_, last = evaluate(dataset, scorer, EvaluationSettings(resamples=0, group_by=("condition",), smoothing_seconds=()))
    engine.close()
    assert last.evaluation is not None
    return last.evaluation


def figures_of(model: Model, tune: Dataset, also: Dataset) -> dict[str, float | None]:
    """The figures of one run in the table."""
    on_tune, on_also = judged(model, tune), judged(model, also)
    whole, by = on_tune.labels[LABEL].figures, on_tune.groups["condition"]
    values = [
        whole["auroc"],
        *[by[name][LABEL].figures["auroc"] for name in LOUD],
        whole["fpr_at_5pct_miss"],
        whole["false_segment_share"],
        on_also.labels[LABEL].figures["auroc"],
    ]
    return {name: figure.value for name, figure in zip(FIGURES, values, strict=True)}


def to_markdown(found: Mapping[str, Mapping[str, Any]]) -> str:
    """A row per trial: mean and standard deviation over its seeds."""
    lines = [f"| trial | seeds | {' | '.join(FIGURES)} |", "|" + "---|" * (len(FIGURES) + 2)]
    for trial, runs in found.items():
        cells = []
        for name in FIGURES:
            values = [figures[name] for figures in runs.values() if figures[name] is not None]
            spread = f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
            cells.append(f"{np.mean(values):.4f}{spread}" if values else "-")
        lines.append(f"| {trial} | {len(runs)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def run(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Trial -> seed -> figures."""
    plan = read_toml(options.trials, RecipeError)
    base = (options.trials.parent / plan["recipe"]).resolve()
    recipe = read_recipe(base)
    if recipe.data is None or recipe.evaluate.conditions is None:
        raise UsageError(f"{base}: trials need [data] and [evaluate] conditions")
    rate = IngestSettings(sample_rate=recipe.spec.input.sample_rate, channels=1)
    everything = dataclasses.replace(recipe.data, split=None)
    made = Dataset.open(options.dataset) if options.dataset else None
    dataset = made or cached_dataset(everything, options.output / "dataset", rate)
    conditions = read_conditions(recipe.evaluate.conditions)
    tune = make_set(conditions, dataset, recipe.evaluate.part, options.output / "tune")
    also = cached_dataset((options.trials.parent / plan["also"]).resolve(), options.output / "also", rate)
    names = [trial["name"] for trial in plan["trials"]]
    if unknown := sorted(set(options.only) - set(names)):
        raise UsageError(f"--only {unknown[0]}: no such trial; there are {', '.join(names)}")
    for seed in options.seeds:  # seed by seed, so that all trials have the same number of seeds, or one more
        for trial in plan["trials"]:
            name, folder = trial["name"], options.output / f"{trial['name']}-{seed}"
            kept = folder / KEPT
            if not kept.exists() and name in (options.only or names):
                changes = changed(plan.get("change", {}), trial.get("change", {})) | {"seed": seed}
                model = trained(recipe_with(base, changes), dataset, folder)
                kept.write_text(json.dumps(figures_of(model, tune, also)) + "\n")
                print(f"{folder.name}: {kept.read_text().strip()}", file=sys.stderr, flush=True)
    return figures_in(options.output, names, options.seeds)


def figures_in(folder: Path, names: Iterable[str], seeds: Sequence[int]) -> dict[str, dict[str, Any]]:
    """Trial -> seed -> figures, for the finished runs in a folder."""
    found: dict[str, dict[str, Any]] = {}
    for name, seed in itertools.product(names, seeds):
        if (kept := folder / f"{name}-{seed}" / KEPT).exists():
            found.setdefault(name, {})[str(seed)] = json.loads(kept.read_text())
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="The same training with one thing changed, from several seeds.")
    parser.add_argument("trials", type=Path, help="a TOML file: recipe, also, change, [[trials]]")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--seeds", type=lambda text: [int(seed) for seed in text.split(",")], default=[1, 2, 3])
    parser.add_argument("--only", action="append", default=[], help="one trial; may be repeated")
    parser.add_argument("--dataset", type=Path, help="the ingested [data] of the recipe")
    options = parser.parse_args(arguments)
    try:
        found = run(options)
    except AudiocnnError as error:
        print(f"trials: {error}", file=sys.stderr)
        return 2
    print(to_markdown(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
