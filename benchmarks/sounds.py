"""The gain from `sounds` with few clips: five tasks that it was not trained on, from scratch and from its groups.

    python -m benchmarks.sounds ../shared -o FOLDER [--clips 10] [--seeds 1,2,3] [--task NAME]... [--model sounds]
    python -m benchmarks.sounds ../shared -o FOLDER --augment [--only NAME]...

The table data/marks/sounds.tsv (`benchmarks.sounds_labels`) reserves the recordings of five tasks: words, digits,
voices, noises of things, drums. A number of clips of each label is used for training, and all clips of other groups for
the test. The settings are those that `audiocnn train FOLDER` chooses. Trainings in FOLDER are not repeated.

--augment starts from the model and compares the augmentation that `train FOLDER` chooses with one change at a time,
from `AUGMENTATIONS`: between-class mixing, mixup, no gain, no masks and so on. Each row gives the mean difference
on the same tasks and seeds, and its standard error.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from audiocnn.data.dataset import Dataset
from audiocnn.data.ingest import IngestSettings, cached_dataset
from audiocnn.data.sources.settings import DataSettings
from audiocnn.errors import AudiocnnError
from audiocnn.model.model import find_model
from audiocnn.model.weights import load_network
from audiocnn.recipe.choose import choose_settings, collect_clip_facts
from audiocnn.recipe.recipe import EvaluateSettings, Recipe, Transfer, source_spec
from audiocnn.training.events import TrainReport
from audiocnn.training.train import train
from benchmarks.small_data import figures_of, scores_of
from benchmarks.small_sets import Parts, parts_of

TABLE = Path(__file__).parent.parent / "data" / "marks" / "sounds.tsv"
RATE = 16_000
# How clips are grouped: voices are the labels, some drums share a group, six people speak all digits.
TASKS = {
    "words": {"test_share": 0.3},
    "digits": {"test_groups": 1},
    "voices": {"test_share": 0.3},
    "things": {"test_share": 0.3},
    "drums": {"test_share": 0.3},
}
BY_CLIP = ("voices", "drums")
FROM_NOTHING, FROM_MODEL = "from nothing", "from {}"
# Changes of `[mix]` and `[train]`, each alone.
AUGMENTATIONS: dict[str, dict[str, dict[str, Any]]] = {
    "between-class mixing": {"mix": {"between_share": 0.5}},
    "mixup": {"mix": {"mixup": 0.3}},
    "no speed": {"mix": {"speed": (1.0, 1.0)}},
    "no gain": {"mix": {"gain_db": (0.0, 0.0)}},
    "no noise": {"mix": {"background_share": 0.0}},
    "no masks": {"mix": {"band_masks": 0, "time_masks": 0}},
    "no equaliser": {"mix": {"equaliser_db": 0.0}},
    "no moving average of weights": {"train": {"averaging": 0.0}},
}


def task_dataset(task: str, shared: Path, folder: Path) -> Dataset:
    """All recordings of a task, ingested once; their `split` is not used."""
    group = "filename" if task in BY_CLIP else "group"
    data = DataSettings(shared, TABLE, keep={"task": (task,)}, label="label", group=group)
    found = cached_dataset(data, folder / f"{task}.dataset", IngestSettings(sample_rate=RATE, channels=1))
    return found.with_entries(replace(entry, split=None) for entry in found.entries)


def trained_recipe(name: str, parts: Parts, model: str, begins: bool, seed: int) -> Recipe:
    """The recipe of `audiocnn train FOLDER`, with or without the groups of a model, and without a test set."""
    recipe = Recipe(name, source_spec(model), None, *_defaults(), seed=seed)
    recipe = choose_settings(collect_clip_facts(parts.train, recipe), recipe.spec).recipe(recipe)
    return replace(recipe, transfer=Transfer(model) if begins else None, evaluate=EvaluateSettings(test_share=0.0))


def changed_recipe(recipe: Recipe, changes: Mapping[str, Mapping[str, Any]]) -> Recipe:
    """The recipe with some of its values changed."""
    for part, values in changes.items():
        recipe = replace(recipe, **{part: replace(getattr(recipe, part), **values)})
    return recipe


def _defaults() -> tuple[object, object]:
    from audiocnn.augment.settings import MixSettings
    from audiocnn.recipe.settings import TrainSettings

    return MixSettings(), TrainSettings()


def accuracy(task: str, dataset: Dataset, folder: Path, how: tuple[str, bool, int, int], change: str = "") -> float:
    """Of one training, made unless it exists. how: model, whether to start from it, clips per label, seed. change: a
    name from AUGMENTATIONS."""
    model, begins, clips, seed = how
    parts = parts_of(TASKS[task], dataset, clips, seed)
    name = f"{task}-{clips}-{Path(model).name if begins else 'nothing'}-{seed}"
    name += f"-{change.replace(' ', '-')}" if change else ""
    kept = folder / f"{name}.json"
    if not kept.exists():
        run = folder / name
        recipe = changed_recipe(trained_recipe(name, parts, model, begins, seed), AUGMENTATIONS.get(change, {}))
        for report in train(recipe, parts.train, run, resume=(run / "recipe.toml").exists()):
            if isinstance(report, TrainReport):
                break
        found = find_model(run)
        columns = {label: column for column, label in enumerate(found.labels)}
        scores = scores_of(load_network(found), dataset, parts, {})
        kept.write_text(
            json.dumps(figures_of(scores, np.array([columns[str(entry.label)] for entry in parts.test]))) + "\n"
        )
    return float(json.loads(kept.read_text())["accuracy"])


def compare_starts(given: argparse.Namespace) -> list[str]:
    """A row for each task: accuracy from nothing and from the model, mean of the seeds."""
    rows = [f"| task | {FROM_NOTHING} | {FROM_MODEL.format(Path(given.model).name)} | gain |", "|---|---|---|---|"]
    means = []
    for task in given.task or TASKS:
        dataset = task_dataset(task, given.shared, given.output)
        pairs = []
        for seed in given.seeds:
            how = [(given.model, begins, given.clips, seed) for begins in (False, True)]
            pair = [accuracy(task, dataset, given.output, one) for one in how]
            print(f"{task}, seed {seed}: {pair[0]:.3f} {pair[1]:.3f}", file=sys.stderr, flush=True)
            pairs.append(pair)
        means.append((task, *np.mean(pairs, axis=0)))
    means.append(("mean", *np.mean([pair for _, *pair in means], axis=0)))
    return rows + [f"| {task} | {before:.3f} | {after:.3f} | {after - before:+.3f} |" for task, before, after in means]


def compare_augmentations(given: argparse.Namespace) -> list[str]:
    """A row for each change: the difference that it makes to each task and to all, mean of the seeds."""
    tasks = given.task or list(TASKS)
    changes = given.only or list(AUGMENTATIONS)
    found: dict[str, list[list[float]]] = {change: [] for change in ("", *changes)}  # a list of seeds for each task
    for task in tasks:
        dataset = task_dataset(task, given.shared, given.output)
        for change, figures in found.items():
            how = [(given.model, True, given.clips, seed) for seed in given.seeds]
            figures.append([accuracy(task, dataset, given.output, one, change) for one in how])
            said = " ".join(f"{figure:.3f}" for figure in figures[-1])
            print(f"{task}, {change or 'as chosen'}: {said}", file=sys.stderr, flush=True)
    base = np.array(found.pop(""))
    rows = [f"| | {' | '.join(tasks)} | mean |", "|---|" + "---|" * (len(tasks) + 1)]
    rows.append(f"| as chosen | {' | '.join(f'{figure:.3f}' for figure in base.mean(axis=1))} | {base.mean():.3f} |")
    for change, figures in found.items():
        gains = np.array(figures) - base
        error = gains.mean(axis=0).std(ddof=1) / np.sqrt(len(given.seeds)) if len(given.seeds) > 1 else np.nan
        cells = " | ".join(f"{gain:+.3f}" for gain in gains.mean(axis=1))
        rows.append(f"| {change} | {cells} | {gains.mean():+.3f} ± {error:.3f} |")
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("shared", type=Path, help="the folder with `data` and `more`")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--clips", type=int, default=10, help="clips per label")
    parser.add_argument("--seeds", type=lambda text: [int(seed) for seed in text.split(",")], default=[1, 2, 3])
    parser.add_argument("--task", action="append", choices=list(TASKS), help="run one task; may be repeated")
    parser.add_argument("--model", default="sounds")
    parser.add_argument("--augment", action="store_true", help="compare augmentations instead")
    parser.add_argument("--only", action="append", choices=list(AUGMENTATIONS), help="with --augment; may be repeated")
    given = parser.parse_args(arguments)
    given.output.mkdir(parents=True, exist_ok=True)
    try:
        rows = compare_augmentations(given) if given.augment else compare_starts(given)
    except AudiocnnError as problem:
        print(f"sounds: {problem}", file=sys.stderr)
        return 2
    print("\n".join(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
