"""Sources as datasets: `dataset_for` a recipe, stored beside its run; and labels from the place given by the caller."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path

from audiocnn.audio.ffmpeg import left_out_line
from audiocnn.data.dataset import Dataset, is_dataset
from audiocnn.data.ingest import IngestSettings, IngestStep, cached_dataset
from audiocnn.data.sources.corrections import apply_settings
from audiocnn.data.sources.settings import DataSettings
from audiocnn.errors import DatasetError, RecipeError, UsageError
from audiocnn.labels.mapping import read_label_map
from audiocnn.recipe.recipe import Recipe
from audiocnn.units import clock, plural
from audiocnn.workflows.label_place import LabelPlace
from audiocnn.workflows.listener import FollowIngest, Listener


def with_label_options(settings: DataSettings, given: LabelPlace) -> DataSettings:
    """The settings with labels from the place given by the options. UsageError if it does not exist."""
    if given.labels is not None and not Path(given.labels).exists():
        raise UsageError(f"--labels {given.labels}: no such file or folder; check the name")
    segments = settings.segments if given.labels is None else Path(given.labels)
    settings = replace(settings, label=given.label_column or settings.label, segments=segments)
    if given.label_map is None:
        return settings
    label_map = {**settings.label_map, **read_label_map(given.label_map)}
    more = tuple(replace(one, label_map=label_map) for one in settings.more)
    return replace(settings, label_map=label_map, more=more)


def refuse_label_options(given: LabelPlace, data: str | Path) -> None:
    """UsageError for options that give the place of labels, if the data already has labels."""
    options = {"--label-column": given.label_column, "--label-map": given.label_map, "--labels": given.labels}
    for name, value in options.items():
        if value is not None:
            raise UsageError(f"{name}: {data} already has labels; omit the option, or ingest the recordings with it")


def dataset_for(
    recipe: Recipe,
    run: Path,
    listener: Listener,
    counts: Counter[str] | None = None,
    kept: bool = True,
    moved: bool = False,
) -> Dataset:
    """The dataset of a recipe. Other sources are first ingested into a folder beside the run; the results are added to
    `counts`: files "refused", and so on. kept: that folder is kept. moved: it may have the same recordings from a place
    that no longer exists."""
    if recipe.data is None:
        raise RecipeError(f"{recipe.name}: the recipe has no [data]; add it, or name the data: `audiocnn train DATA`")
    if is_dataset(recipe.data.source):
        if recipe.data.more:
            fact = f'{recipe.data.where}: "more" adds sources, but {recipe.data.source} is a dataset'
            raise RecipeError(f"{fact}; ingest all of them into one dataset, or remove the key")
        return apply_settings(Dataset.open(recipe.data.source), recipe.data)
    rate, channels = recipe.spec.input.sample_rate, recipe.spec.input.channels
    settings = IngestSettings(sample_rate=rate, channels=channels, replace=moved)
    cache = cache_beside(run, recipe.data, settings)
    left_out = Counter[str]()
    with listener.ingesting() as follow:
        dataset = cached_dataset(recipe.data, cache, settings, counting(follow, counts), left_out)
    if left_out:
        listener.warn(left_out_line(left_out))
    hours = sum(dataset.duration_seconds(entry) for entry in dataset.entries)
    many = f"{plural(len(dataset.entries), 'recording')}, {clock(hours)}"
    listener.say(f"{cache}: {many}, kept for next time" if kept else f"{recipe.data.source}: {many}")
    return dataset


def counting(follow: FollowIngest, counts: Counter[str] | None) -> FollowIngest:
    """The same function, which also counts the results of files."""

    def followed(step: IngestStep) -> None:
        if counts is not None:
            counts[step.outcome] += 1
        follow(step)

    return followed


def cache_beside(run: Path, source: Path | DataSettings, settings: IngestSettings) -> Path:
    """The folder for samples beside a run or a report. If it is used for other sources, sample rates or channels,
    another folder, so that nothing is replaced."""
    first = run.parent / f"{run.name}.dataset"
    if _suits(first, source, settings):
        return first
    base = f"{run.name}-{settings.sample_rate}-{settings.channels}"
    names = (base if number == 1 else f"{base}-{number}" for number in count(1))
    folders = (run.parent / f"{name}.dataset" for name in names)
    return next(folder for folder in folders if _suits(folder, source, settings))


def _suits(cache: Path, source: Path | DataSettings, settings: IngestSettings) -> bool:
    """Whether samples of this source can be stored there: it is new, or was used for them before."""
    if not is_dataset(cache):
        return True
    with suppress(DatasetError):  # the ingest reports the problem
        kept = Dataset.open(cache, unfinished=True)
        path = source if isinstance(source, Path) else source.source
        places = zip(kept.sources, kept.moved_sources, strict=True) if kept.entries else ()
        others = [one for one, now in places if str(path.resolve()) not in (one, now)]
        if settings.replace:
            others = [one for one in others if Path(one).exists()]
        return not others and (kept.sample_rate, kept.channels) == (settings.sample_rate, settings.channels)
    return True
