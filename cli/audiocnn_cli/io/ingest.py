"""What `ingest` does, followed on stderr: a bar, the refused files with their reasons, and counts."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from audiocnn.errors import DatasetError, RecipeError, UsageError, printable
from audiocnn.units import clock, plural
from audiocnn_cli.app.options import LabelOptions
from audiocnn_cli.app.progress import Bar, format_speed
from audiocnn_cli.app.terminal import Terminal

if TYPE_CHECKING:
    from audiocnn.data.dataset import Dataset
    from audiocnn.data.ingest import IngestSettings, IngestStep
    from audiocnn.data.sources.settings import DataSettings
    from audiocnn.data.survey import Survey
    from audiocnn.recipe.recipe import Recipe

_MOST_LISTED = 20


class IngestFollower:
    """Called with each step; used as a context, so that the bar goes away."""

    def __init__(self, terminal: Terminal, what: str) -> None:
        self.terminal = terminal
        self.bar = Bar(terminal, what)
        self.counts: Counter[str] = Counter()
        self.listed = self.problems = 0
        self.seconds = 0.0
        self.began = time.monotonic()

    def __enter__(self) -> IngestFollower:
        self.bar.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.bar.__exit__(kind)
        if self.problems > self.listed and kind is None:
            rest = plural(self.problems - self.listed, "more problem")
            self.terminal.say(f"audiocnn: ... and {rest}; -v lists all, and the dataset keeps them")

    def __call__(self, step: IngestStep) -> None:
        self.counts[step.outcome] += 1
        self.seconds += step.seconds if step.outcome in ("added", "updated") else 0.0
        for problem in ([step.reason] if step.reason else []) + list(step.notes):
            self.tell(step.filename, problem, "refused" if step.reason else "note")
        speed = format_speed(self.seconds, time.monotonic() - self.began)
        self.bar.update(step.done, step.total, f"{step.done} of {step.total}" + (f", {speed}" if self.seconds else ""))

    def tell(self, filename: str, problem: str, kind: str) -> None:
        """Report a problem, if it is one of the first."""
        self.problems += 1
        if self.listed < _MOST_LISTED or self.terminal.verbose:
            self.listed += 1
            name = printable(filename)
            self.terminal.error(problem if problem.startswith(name) else f"{name}: {problem}", kind=kind)


def with_label_options(settings: DataSettings, given: LabelOptions) -> DataSettings:
    """The settings with labels from where the options say. UsageError: there is nothing."""
    if given.labels is not None and not Path(given.labels).exists():
        raise UsageError(f"--labels {given.labels}: no such file or folder; check the name")
    segments = settings.segments if given.labels is None else Path(given.labels)
    return replace(settings, label=given.label_column or settings.label, segments=segments)


def refuse_label_options(given: LabelOptions, data: str | Path) -> None:
    """UsageError for options that say where labels are, of data that has them already."""
    for name, value in (("--label-column", given.label_column), ("--labels", given.labels)):
        if value is not None:
            raise UsageError(f"{name}: {data} has its labels already; leave it out, or ingest the recordings with it")


def run_survey(dataset: Dataset, terminal: Terminal) -> Survey:
    from audiocnn.data.survey import survey

    with Bar(terminal, "survey") as bar:
        return survey(dataset, lambda done, total: bar.update(done, total, f"{done} of {total}"))


def dataset_for(
    recipe: Recipe,
    run: Path,
    terminal: Terminal,
    counts: Counter[str] | None = None,
    kept: bool = True,
    moved: bool = False,
) -> Dataset:
    """The dataset of a recipe; another source is first ingested, into a folder beside the run. What that did is added
    to `counts`: files "refused", and so on. kept: that folder stays. moved: it may hold the same recordings from a
    place that is no more."""
    from audiocnn.audio.ffmpeg import left_out_line
    from audiocnn.data.dataset import Dataset, is_dataset
    from audiocnn.data.ingest import IngestSettings, cached_dataset
    from audiocnn.data.sources.corrections import apply_settings

    if recipe.data is None:
        raise RecipeError(f"{recipe.name}: the recipe has no [data]; add it, or name the data: `audiocnn train DATA`")
    if is_dataset(recipe.data.source):
        if recipe.data.more:
            fact = f'{recipe.data.where}: "more" is for sources, and {recipe.data.source} is a dataset'
            raise RecipeError(f"{fact}; ingest all of them into one, or leave it out")
        return apply_settings(Dataset.open(recipe.data.source), recipe.data)
    rate, channels = recipe.spec.input.sample_rate, recipe.spec.input.channels
    settings = IngestSettings(sample_rate=rate, channels=channels, replace=moved)
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
    if _suits(first, source, settings):
        return first
    base = f"{run.name}-{settings.sample_rate}-{settings.channels}"
    names = (base if number == 1 else f"{base}-{number}" for number in count(1))
    folders = (run.parent / f"{name}.dataset" for name in names)
    return next(folder for folder in folders if _suits(folder, source, settings))


def _suits(cache: Path, source: Path | DataSettings, settings: IngestSettings) -> bool:
    """Whether samples of this source can be kept there: there is nothing, or they were before."""
    from audiocnn.data.dataset import Dataset, is_dataset

    if not is_dataset(cache):
        return True
    with suppress(DatasetError):  # ingest says what is wrong with it
        kept = Dataset.open(cache, unfinished=True)
        path = source if isinstance(source, Path) else source.source
        places = zip(kept.sources, kept.moved_sources, strict=True) if kept.entries else ()
        others = [one for one, now in places if str(path.resolve()) not in (one, now)]
        if settings.replace:
            others = [one for one in others if Path(one).exists()]
        return not others and (kept.sample_rate, kept.channels) == (settings.sample_rate, settings.channels)
    return True
