"""Reads damaged runs and datasets: each is read or refused in one line, without other errors or large memory.

python -m tests.helpers.fuzz.run_folders --count 2000 --seed 0
"""

from __future__ import annotations

import argparse
import collections
import copy
import json
import random
import shutil
import sqlite3
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from audiocnn.data.dataset import INDEX_NAME, Dataset
from audiocnn.data.writer import DatasetWriter, Item
from audiocnn.errors import AudiocnnError
from audiocnn.report.folds import LEARNING_CURVE_FILE, find_learning_curve, render_folds
from audiocnn.segments.segment import Annotation
from audiocnn.training.log import write_facts
from audiocnn.training.runs import read_run

DEEP = "[" * 50_000 + "]" * 50_000
VALUES: tuple[Any, ...] = (None, True, -1, 0, 1.5, 2**63, 10**400, "", "x", "\x1b]0;x\x07", [], {}, [[1]], {"a": None})
FIGURE = {"value": 0.5, "low": 0.4, "high": 0.6}
ROW = {"epoch": 1, "epochs": 3, "loss": 1.0, "validation_loss": 0.5, "figure_name": "auroc", "figure": 0.5,
       "best": True, "learning_rate": 0.1, "seconds": 2.0, "waiting": 0.01,
       "audio_seconds_per_second": 9.0}  # fmt: skip
FILES: dict[str, Any] = {
    "run.json": {
        "git": {"revision": "a", "changed": True},
        "labels": ["a"],
        "spec": "s",
        "parameters": 3,
        "resumed": [],
    },
    "metrics.jsonl": ROW,
    "report.json": [{"clip": {"figures": {"accuracy": FIGURE}}, "labels": {"a": {"figures": {"f1": FIGURE}}}}],
    LEARNING_CURVE_FILE: {
        "type": "learning_curve",
        "points": [{"clips": 10, "share": 0.5, "figures": {"accuracy": FIGURE}}],
    },
}
RECIPE = '[train]\nepochs = 3\n[data]\nsource = "/sounds"\n[spec.input]\nfeatures = "waveform"\n'
TABLES = {
    "recordings": (
        "filename",
        "samples",
        "shard",
        "start",
        "label",
        "annotated",
        "split",
        "tags",
        "labels",
        "file_rate",
    ),
    "annotations": ("recording", "onset", "offset", "label"),
    "meta": ("value",),
    "labels": ("label", "position"),
    "refused": ("filename", "reason"),
    "shards": ("kind", "number", "length"),
}


def spoiled(value: Any, chance: random.Random) -> str:
    """JSON with a replaced value, truncated text, or very deep nesting."""
    value = copy.deepcopy(value)
    places: list[tuple[Any, Any]] = []

    def walk(inside: Any) -> None:
        for key in inside if isinstance(inside, dict) else range(len(inside)) if isinstance(inside, list) else ():
            places.append((inside, key))
            walk(inside[key])

    walk(value)
    container, key = chance.choice(places)
    container[key] = "@deep@" if chance.random() < 0.1 else chance.choice(VALUES)
    text = json.dumps(value).replace('"@deep@"', DEEP)
    return text[: chance.randrange(len(text))] if chance.random() < 0.2 else text


def spoil_run(folder: Path, chance: random.Random) -> str:
    """Damage a run, read it, and return the state that was read."""
    folder.mkdir()
    (folder / "recipe.toml").write_text(RECIPE)
    name = chance.choice(list(FILES))
    for file, value in FILES.items():
        (folder / file).write_text(spoiled(value, chance) if file == name else json.dumps(value))
    row = read_run(folder, "run")
    json.dumps([row.to_dict(), sorted([row, row], key=lambda one: one.sort_keys["figure"])[0].name])
    write_facts(folder, {})
    if (curve := find_learning_curve(folder)) is not None:
        render_folds(curve)
    return row.state


def spoil_dataset(folder: Path, chance: random.Random) -> str:
    with DatasetWriter(folder, 16000, 1) as writer:
        item = Item(Path("/x/a"), "a", "b", True, (Annotation(0.0, 0.001, "b"),), tags={"t": "u"})
        number, _ = writer.add(item, (1, 2), [np.zeros((1, 100), np.int16)])
        writer.describe(number, item, item.digest())
        writer.finish(["b"], ["/x"])
    index = sqlite3.connect(folder / INDEX_NAME)
    table = chance.choice(list(TABLES))
    value = chance.choice((None, -1, 0, 1.5, 2**62, "", "x", "1", b"\xff", "[1]", '{"a":1}', DEEP, 1e300))
    try:
        index.execute(f"UPDATE {table} SET {chance.choice(TABLES[table])} = ?", (value,))
        index.commit()
    except sqlite3.Error:
        return "impossible"
    finally:
        index.close()
    dataset = Dataset.open(folder)
    for entry in dataset.entries:
        dataset.samples(entry), dataset.annotations(entry), dataset.duration_seconds(entry)
    with DatasetWriter(folder, 16000, 1) as writer:
        writer.stored()
    return "used"


def fuzz(count: int, seed: int, place: Path) -> tuple[dict[str, int], list[str]]:
    """Counts of each outcome, and failures: errors that are not a single line of audiocnn."""
    counts, wrong = collections.Counter[str](), list[str]()
    for number in range(count):
        chance, folder = random.Random(f"{seed} {number}"), place / str(number)
        kind = chance.choice((spoil_run, spoil_dataset))
        try:
            end = kind(folder, chance)
        except AudiocnnError as problem:
            end = "refused"
            if "\n" in str(problem) or len(str(problem)) > 500 + len(str(folder)):
                wrong.append(f"{number}: {str(problem)[:200]}")
        except Exception as problem:  # noqa: BLE001 - what is looked for
            end = "wrong"
            wrong.append(f"{number}: {type(problem).__name__}: {str(problem)[:200]}")
        counts[f"{kind.__name__}: {end}"] += 1
        shutil.rmtree(folder)
    return dict(counts), wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        counts, wrong = fuzz(given.count, given.seed, Path(place))
    print(counts, *wrong, sep="\n")  # noqa: T201
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
