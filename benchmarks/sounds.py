"""The gain from `sounds` with few clips: five tasks that it was not trained on, from scratch and from its groups.

    python -m benchmarks.sounds ../shared -o FOLDER [--clips 10] [--seeds 1,2,3] [--task NAME]... [--model sounds]

The table data/marks/sounds.tsv (`benchmarks.sounds_labels`) reserves the recordings of five tasks: words, digits,
voices, noises of things, drums. A number of clips of each label is used for training, and all clips of other groups for
the test. The settings are those that `audiocnn train FOLDER` chooses. Trainings in FOLDER are not repeated.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

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


def _defaults() -> tuple[object, object]:
    from audiocnn.augment.settings import MixSettings
    from audiocnn.recipe.settings import TrainSettings

    return MixSettings(), TrainSettings()


def accuracy(task: str, dataset: Dataset, folder: Path, how: tuple[str, bool, int, int]) -> float:
    """Of one training, made unless it exists. how: model, whether to start from it, clips per label, seed."""
    model, begins, clips, seed = how
    parts = parts_of(TASKS[task], dataset, clips, seed)
    name = f"{task}-{clips}-{Path(model).name if begins else 'nothing'}-{seed}"
    kept = folder / f"{name}.json"
    if not kept.exists():
        run = folder / name
        recipe = trained_recipe(name, parts, model, begins, seed)
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


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("shared", type=Path, help="the folder with `data` and `more`")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--clips", type=int, default=10, help="clips per label")
    parser.add_argument("--seeds", type=lambda text: [int(seed) for seed in text.split(",")], default=[1, 2, 3])
    parser.add_argument("--task", action="append", choices=list(TASKS), help="run one task; may be repeated")
    parser.add_argument("--model", default="sounds")
    given = parser.parse_args(arguments)
    given.output.mkdir(parents=True, exist_ok=True)
    tasks = given.task or list(TASKS)
    rows = [f"| task | {FROM_NOTHING} | {FROM_MODEL.format(Path(given.model).name)} | gain |", "|---|---|---|---|"]
    gains, means = [], []
    try:
        for task in tasks:
            dataset = task_dataset(task, given.shared, given.output)
            pairs = []
            for seed in given.seeds:
                pair = [
                    accuracy(task, dataset, given.output, (given.model, begins, given.clips, seed))
                    for begins in (False, True)
                ]
                print(f"{task}, seed {seed}: {pair[0]:.3f} {pair[1]:.3f}", file=sys.stderr, flush=True)
                pairs.append(pair)
            before, after = np.mean(pairs, axis=0)
            gains += [b - a for a, b in pairs]
            means.append((before, after))
            rows.append(f"| {task} | {before:.3f} | {after:.3f} | {after - before:+.3f} |")
    except AudiocnnError as problem:
        print(f"sounds: {problem}", file=sys.stderr)
        return 2
    before, after = np.mean(means, axis=0)
    rows.append(f"| mean | {before:.3f} | {after:.3f} | {after - before:+.3f} |")
    print("\n".join(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
