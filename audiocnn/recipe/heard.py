"""The recordings that a run was trained on: `clips.tsv` in its folder has a row for each, with its part and a digest of
its sound. `write_parts` writes it, `read_parts` reads it, and `find_run` finds the run of a model.

With this, a person who evaluates a model can be warned that it was trained on these recordings, wherever they are now.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from audiocnn.data.dataset import Dataset, Entry
from audiocnn.errors import AudiocnnError
from audiocnn.files import RUN_FILE, read_regular, write_whole
from audiocnn.labels.formats.text import escape_cell, unescape
from audiocnn.recipe.division import Division
from audiocnn.recipe.recipe import RECIPE_FILE, Recipe, read_recipe

PARTS_FILE = "clips.tsv"
TRAIN, VALIDATION, TEST = PARTS = ("train", "validation", "test")
_COLUMNS = ("filename", "part", "digest")
_DIGEST_SECONDS = 60  # from the start, because reading all of a long recording would take long


@dataclass(frozen=True)
class RunParts:
    """The recordings of a run. sounds, names: digest, and file name, -> part. source: of the data; None if the recipe
    has none."""

    run: Path
    source: Path | None
    sounds: Mapping[str, str]
    names: Mapping[str, str]

    def has(self, part: str) -> bool:
        return part in self.names.values()

    def count(self, dataset: Dataset, entries: Iterable[Entry]) -> Counter[str]:
        """The number of these recordings in each part of the run. Others are not counted. They are identified by their
        sound or, if that was read at another rate, by the source of the data and their name."""
        same = self.source is not None and comes_from(dataset, self.source)
        found = Counter[str]()
        for entry in entries:
            part = self.sounds.get(_digest(dataset, entry)) or (self.names.get(entry.filename) if same else None)
            if part is not None:
                found[part] += 1
        return found


def comes_from(dataset: Dataset, source: Path) -> bool:
    """Whether a dataset was made from this source, or is this source."""
    return str(source.resolve()) in {*dataset.sources, *dataset.moved_sources, str(dataset.folder.resolve())}


def _digest(dataset: Dataset, entry: Entry) -> str:
    """A digest of the sound: its length, and its first minute as stored."""
    samples = dataset.samples(entry)[:, : _DIGEST_SECONDS * dataset.sample_rate]
    about = f"{dataset.sample_rate} {entry.samples} {entry.scale} ".encode()
    return hashlib.blake2b(about + samples.tobytes(), digest_size=8).hexdigest()


def write_parts(dataset: Dataset, division: Division, run: Path) -> None:
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow(_COLUMNS)
    for part, entries in zip(PARTS, (division.train, division.validation, division.test), strict=True):
        writer.writerows([escape_cell(entry.filename), part, _digest(dataset, entry)] for entry in entries)
    write_whole(run / PARTS_FILE, text.getvalue().encode("utf-8", "surrogateescape"))


def find_run(model_folder: Path) -> Path | None:
    """The run that contains a model. None for a model that was copied elsewhere, or not trained here."""
    run = model_folder.parent
    return run if (run / RECIPE_FILE).is_file() and (run / RUN_FILE).is_file() else None


def run_recipe(run: Path) -> Recipe | None:
    """The recipe of a run. None if it cannot be read."""
    with suppress(AudiocnnError):
        return read_recipe(run / RECIPE_FILE)
    return None


def read_parts(run: Path) -> RunParts | None:
    """None for a run of a version that did not write them, or whose table cannot be read."""
    path, recipe = run / PARTS_FILE, run_recipe(run)
    if recipe is None or not path.is_file():
        return None
    try:
        lines = read_regular(path).decode("utf-8", "surrogateescape").splitlines()
    except (OSError, ValueError):
        return None
    rows = [row for row in csv.reader(lines[1:], delimiter="\t") if len(row) == len(_COLUMNS) and row[1] in PARTS]
    source = recipe.data.source if recipe.data else None
    names = {unescape(name): part for name, part, _ in rows}
    return RunParts(run, source, {digest: part for _, part, digest in rows}, names)
