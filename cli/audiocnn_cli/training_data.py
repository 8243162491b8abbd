"""The data of a training: ingested first if need be, looked at, and what was found and chosen, said in a few lines."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
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
    from audiocnn.sources import DataSettings


def fitted(
    recipe: Recipe,
    folder: Path,
    run: RunOptions,
    learning: LearningOptions,
    terminal: Terminal,
    counts: Counter[str] | None = None,
    kept: bool = True,
) -> tuple[Recipe, Dataset]:
    """A recipe that nobody wrote, with what fits its data. Segments in recordings are for a detector, whose recipe has
    its defaults; a network that was named keeps its sizes. counts, kept: as in `dataset_for`."""
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
        return recipe, dataset_for(recipe, folder, terminal, counts, kept)
    keep: Keep = "all" if recipe.transfer else "sizes" if run.spec else "nothing"
    given = keep != "nothing"
    recipe = recipe if given else dataclasses.replace(recipe, spec=spec_named(SPEC))
    recipe = at_rate(recipe, learning.sample_rate or rate_for(recipe, originals, known, given))
    dataset = known or dataset_for(recipe, folder, terminal, counts, kept)
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


def tell_corrections(recipe: Recipe, terminal: Terminal) -> None:
    """What a table of corrections changed."""
    from audiocnn.sources import corrections_line

    if recipe.data and (line := corrections_line(recipe.data)):
        terminal.say(printable(line))


def tell_notes(recipe: Recipe, dataset: Dataset, terminal: Terminal) -> None:
    """What is so about the parts, before a training: leaks, and why there is no test."""
    from audiocnn.cutting import divide

    with suppress(AudiocnnError):  # the training says what is wrong
        if notes := divide(dataset, recipe).notes:
            tell("parts", notes, terminal)


def dataset_for(
    recipe: Recipe, run: Path, terminal: Terminal, counts: Counter[str] | None = None, kept: bool = True
) -> Dataset:
    """The dataset of a recipe; another source is first ingested, into a folder beside the run. What that did is added
    to `counts`: files "refused", and so on. kept: that folder stays."""
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
    cache = cache_beside(run, recipe.data, settings)
    left_out = Counter[str]()
    with IngestFollower(terminal, "ingest") as follower:
        dataset = cached_dataset(recipe.data, cache, settings, follower, left_out)
    if counts is not None:
        counts.update(follower.counts)
    if left_out:
        terminal.error(left_out_line(left_out), kind="warning")
    hours = sum(dataset.duration_seconds(entry) for entry in dataset.entries)
    many = f"{plural(len(dataset.entries), 'recording')}, {clock(hours)}"
    terminal.say(f"{cache}: {many}, kept for the next time" if kept else f"{recipe.data.source}: {many}")
    return dataset


def cache_beside(run: Path, source: Path | DataSettings, settings: IngestSettings) -> Path:
    """The folder beside a run, or a report, for its samples; another one where it holds those of other sources, at
    another rate or in other channels: nothing that somebody made is replaced."""
    first = run.parent / f"{run.name}.dataset"
    if suits(first, source, settings):
        return first
    base = f"{run.name}-{settings.sample_rate}-{settings.channels}"
    names = (base if number == 1 else f"{base}-{number}" for number in count(1))
    folders = (run.parent / f"{name}.dataset" for name in names)
    return next(folder for folder in folders if suits(folder, source, settings))


def suits(cache: Path, source: Path | DataSettings, settings: IngestSettings) -> bool:
    """Whether samples of this source can be kept there: there is nothing, or they were before."""
    from audiocnn.dataset import Dataset, is_dataset

    if not is_dataset(cache):
        return True
    with suppress(DatasetError):  # ingest says what is wrong with it
        kept = Dataset.open(cache, unfinished=True)
        path = source if isinstance(source, Path) else source.source
        others = set(kept.sources) - {str(path.resolve())} if kept.entries else set()
        return not others and (kept.sample_rate, kept.channels) == (settings.sample_rate, settings.channels)
    return True


def tell(title: str, lines: Sequence[str], terminal: Terminal) -> None:
    """A title and lines below each other, on stderr."""
    indent = " " * (len(title) + 2)
    for number, line in enumerate(lines):
        terminal.say((f"{title}: " if number == 0 else indent) + printable(line))
