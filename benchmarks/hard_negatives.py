"""Hard negatives: where a model mistakes the backgrounds of a recipe for a label; the table for `[mix] hard_negatives`.

    python -m benchmarks.hard_negatives data/recipes/speech_1d.toml -m speech_1d -o data/marks/hard_negatives.tsv

The model scores every recording without a label in the training part of the recipe; held-out recordings are not used.
The table has every stretch of 0.1 s or more in which the scores reach `--threshold`, with their mean as weight:
`filename onset offset weight`.
With --dataset the recordings are ingested into that folder and kept for later runs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from audiocnn.augment.hard_negatives import HARD_COLUMNS
from audiocnn.data.dataset import Dataset, Entry
from audiocnn.data.ingest import IngestSettings, cached_dataset
from audiocnn.errors import AudiocnnError, DatasetError, RecipeError
from audiocnn.evaluation.annotated import Scorer, score_entries
from audiocnn.evaluation.segments import JudgedRecording
from audiocnn.files import write_whole
from audiocnn.inference.engine import load_engine
from audiocnn.labels.formats.table import table_row
from audiocnn.model.model import find_model
from audiocnn.recipe.division import divide
from audiocnn.recipe.recipe import Recipe, read_recipe
from audiocnn.segments.segment import EPSILON_SECONDS

THRESHOLD = 0.3
LEAST_SECONDS = 0.1


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("-m", "--model", default="speech_1d", help="a model or a run")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the table")
    parser.add_argument("--threshold", type=float, default=THRESHOLD)
    parser.add_argument("--dataset", type=Path, help="folder for the ingested recordings")
    given = parser.parse_args(arguments)
    try:
        recipe = read_recipe(given.recipe)
        with tempfile.TemporaryDirectory(prefix="audiocnn-") as folder:
            rows = list(find_hard_negatives(recipe, given.dataset or Path(folder), given.model, given.threshold))
        given.output.parent.mkdir(parents=True, exist_ok=True)
        write_whole(given.output, "".join([row_text(HARD_COLUMNS), *map(row_text, rows)]).encode())
    except AudiocnnError as problem:
        print(f"hard negatives: {problem}", file=sys.stderr)
        return 2
    print(f"{len(rows)} stretches in {len({row[0] for row in rows})} recordings", file=sys.stderr)
    return 0


def row_text(cells: Sequence[object]) -> str:
    return table_row(list(cells), "\t") + "\n"


def find_hard_negatives(recipe: Recipe, folder: Path, model: str, threshold: float) -> Iterator[tuple[object, ...]]:
    """(filename, onset, offset, weight) of each stretch. DatasetError if the recipe has no backgrounds."""
    if recipe.data is None:
        raise RecipeError(f"{recipe.name}: the recipe has no [data]; add it")
    engine = load_engine(find_model(model), "cpu", None)
    labels = engine.model.labels
    settings = IngestSettings(sample_rate=recipe.spec.input.sample_rate, channels=recipe.spec.input.channels)
    dataset = cached_dataset(recipe.data, folder, settings)
    entries = backgrounds_of(dataset, divide(dataset, recipe).train, recipe.data.labels or dataset.labels)
    if not entries:
        raise DatasetError(f"{recipe.name}: every training recording has a label; add some without one")
    rules = {label: engine.model.rule(label) for label in labels}
    scorer = Scorer(engine.score, engine.geometry.sample_rate, engine.hop_seconds, labels, rules)
    columns = [labels.index(label) for label in recipe.data.labels or dataset.labels if label in labels]
    for step, scored in score_entries(dataset.with_entries(entries), scorer):
        if isinstance(scored, JudgedRecording):
            yield from hard_stretches(step.filename, scored, columns, threshold)


def backgrounds_of(dataset: Dataset, entries: Sequence[Entry], labels: Sequence[str]) -> list[Entry]:
    """The entries that certainly have none of the labels."""
    said = {*labels, dataset.unsure}
    return [e for e in entries if e.annotated and not any(note.label in said for note in dataset.annotations(e))]


def hard_stretches(
    filename: str, recording: JudgedRecording, columns: Sequence[int], threshold: float
) -> Iterator[tuple[object, ...]]:
    """Where the highest score of these columns reaches the threshold for long enough; weight: its mean there."""
    highest = recording.scores[:, columns].max(axis=1, initial=0.0)
    edges = np.flatnonzero(np.diff(highest >= threshold, prepend=False, append=False)).reshape(-1, 2)
    for start, stop in edges.tolist():
        onset, offset = (min(row * recording.hop_seconds, recording.duration_seconds) for row in (start, stop))
        if offset - onset > LEAST_SECONDS - EPSILON_SECONDS:
            yield filename, round(onset, 3), round(offset, 3), round(float(highest[start:stop].mean()), 3)


if __name__ == "__main__":
    sys.exit(main())
