"""The data of a training: ingested first if need be, looked at, and what was found and chosen, said in a few lines."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from audiocnn.errors import AudiocnnError, DatasetError, RecipeError
from audiocnn.units import clock
from audiocnn_cli.findings import plural
from audiocnn_cli.progress import Bar
from audiocnn_cli.terminal import Terminal, printable
from audiocnn_cli.training_options import LearningOptions, RunOptions

if TYPE_CHECKING:
    from audiocnn.choosing import Keep
    from audiocnn.dataset import Dataset
    from audiocnn.ingest import IngestSettings
    from audiocnn.recipe import Recipe


def fitted(
    recipe: Recipe, folder: Path, run: RunOptions, learning: LearningOptions, terminal: Terminal
) -> tuple[Recipe, Dataset]:
    """A recipe that nobody wrote, with what fits its data. Segments in recordings are for a detector, whose recipe has
    its defaults; a network that was named keeps its sizes."""
    from audiocnn.choosing import SPEC, choose, reasons
    from audiocnn.cutting import divide
    from audiocnn.dataset import Dataset, is_dataset
    from audiocnn.originals import originals_of, with_several
    from audiocnn.own_sounds import at_rate, facts_of, part_lines, rate_for
    from audiocnn.sources import apply_settings
    from audiocnn.survey import findings, survey
    from audiocnn_cli.training_recipe import changed, spec_named

    assert recipe.data is not None
    source = recipe.data.source
    known = apply_settings(Dataset.open(source), recipe.data) if is_dataset(source) else None
    several = known.several if known else None
    data = dataclasses.replace(recipe.data, labels_per_clip="several") if several else with_several(recipe.data)
    recipe = dataclasses.replace(recipe, data=data)
    originals = None if known else originals_of(data)
    if originals.timed if originals else known is not None and any(entry.annotated for entry in known.entries):
        return recipe, dataset_for(recipe, folder, terminal)
    keep: Keep = "all" if recipe.transfer else "sizes" if run.spec else "nothing"
    given = keep != "nothing"
    recipe = recipe if given else dataclasses.replace(recipe, spec=spec_named(SPEC))
    recipe = at_rate(recipe, learning.sample_rate or rate_for(recipe, originals, known, given))
    dataset = known or dataset_for(recipe, folder, terminal)
    facts = facts_of(dataset, recipe)
    with Bar(terminal, "look") as bar:
        found = survey(dataset, lambda done, total: bar.update(done, total, f"{done} of {total}"))
    tell("found", findings(found), terminal)
    choice = choose(facts, recipe.spec, keep)
    recipe = changed(choice.recipe(recipe), learning)
    tell("chosen", [*reasons(facts, recipe), *part_lines(divide(dataset, recipe), dataset)], terminal)
    for line in choice.warnings:
        terminal.error(line, "warning")
    return recipe, dataset


def tell_notes(recipe: Recipe, dataset: Dataset, terminal: Terminal) -> None:
    """What is so about the parts, before a training: leaks, and why there is no test."""
    from audiocnn.cutting import divide

    with suppress(AudiocnnError):  # the training says what is wrong
        if notes := divide(dataset, recipe).notes:
            tell("parts", notes, terminal)


def dataset_for(recipe: Recipe, run: Path, terminal: Terminal) -> Dataset:
    """The dataset of a recipe; another source is first ingested, into a folder beside the run."""
    from audiocnn.dataset import Dataset, is_dataset
    from audiocnn.ffmpeg import left_out_line
    from audiocnn.ingest import IngestSettings, cached_dataset
    from audiocnn.sources import apply_settings
    from audiocnn_cli.following import IngestFollower

    if recipe.data is None:
        raise RecipeError(f"{recipe.name}: the recipe has no [data]; add it, or name the data: `audiocnn train DATA`")
    if is_dataset(recipe.data.source):
        return apply_settings(Dataset.open(recipe.data.source), recipe.data)
    settings = IngestSettings(sample_rate=recipe.spec.input.sample_rate, channels=recipe.spec.input.channels)
    cache = cache_beside(run, settings)
    left_out = Counter[str]()
    with IngestFollower(terminal, "ingest") as follower:
        dataset = cached_dataset(recipe.data, cache, settings, follower, left_out)
    if left_out:
        terminal.error(left_out_line(left_out), kind="warning")
    hours = sum(dataset.duration_seconds(entry) for entry in dataset.entries)
    terminal.say(f"{cache}: {plural(len(dataset.entries), 'recording')}, {clock(hours)}, kept for the next time")
    return dataset


def cache_beside(run: Path, settings: IngestSettings) -> Path:
    """The folder beside a run for its samples; another one where they were kept at another rate, or in other channels,
    before: a run that is there still goes on with its own."""
    from audiocnn.dataset import Dataset, is_dataset

    cache = run.parent / f"{run.name}.dataset"
    if is_dataset(cache):
        with suppress(DatasetError):  # ingest says what is wrong with it
            kept = Dataset.open(cache, unfinished=True)
            if (kept.sample_rate, kept.channels) != (settings.sample_rate, settings.channels):
                return run.parent / f"{run.name}-{settings.sample_rate}-{settings.channels}.dataset"
    return cache


def tell(title: str, lines: Sequence[str], terminal: Terminal) -> None:
    """A title and lines below each other, on stderr."""
    indent = " " * (len(title) + 2)
    for number, line in enumerate(lines):
        terminal.say((f"{title}: " if number == 0 else indent) + printable(line))
