"""Labelled recordings for an evaluation, and the evaluated models, for the commands and for `audiocnn.evaluate`."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from audiocnn.data.dataset import Dataset, is_dataset
from audiocnn.data.ingest import IngestSettings, IngestStep, cached_dataset
from audiocnn.data.sources.corrections import apply_settings
from audiocnn.data.sources.probe import with_several
from audiocnn.data.sources.settings import DataSettings
from audiocnn.errors import AudiocnnError, UsageError, did_you_mean, show_name
from audiocnn.evaluation.annotated import Scorer, engine_scorer, evaluate, find_unknown_labels
from audiocnn.evaluation.conditions import Conditions, is_conditions, read_conditions
from audiocnn.evaluation.results import BY_RECORDING, Evaluation, EvaluationSettings
from audiocnn.evaluation.testset import make_set
from audiocnn.inference.classify import thresholds_of_clips
from audiocnn.inference.detect import DetectSettings
from audiocnn.inference.engine import Engine
from audiocnn.model.model import Model, OperatingPoint
from audiocnn.recipe.division import divide
from audiocnn.recipe.recipe import Recipe, read_recipe
from audiocnn.units import format_speed, plural
from audiocnn.workflows.heard import check_part, say_learned, with_run_corrections
from audiocnn.workflows.label_place import NOWHERE, LabelPlace
from audiocnn.workflows.listener import FollowIngest, Listener
from audiocnn.workflows.sources import cache_beside, counting, refuse_label_options, with_label_options

_PARTS = ("train", "validation", "test")  # of a training
_MOST_UNKNOWN = 10  # to list
_REPORTED = "dev"  # the part to report, unless another is chosen


@dataclass(frozen=True)
class Candidate:
    """A model or a peer to evaluate. A model has a folder, a peer has a version."""

    name: str
    scorer: Scorer
    tuned_on: str
    thresholds: Mapping[str, float]
    folder: str | None = None
    version: str | None = None
    points: Mapping[str, Mapping[str, OperatingPoint]] = field(default_factory=dict)


def check_columns(dataset: Dataset, columns: Sequence[str], data: str) -> None:
    """UsageError for a column of --by that no recording has."""
    known = sorted({BY_RECORDING}.union(*(entry.tags for entry in dataset.entries)))
    for column in columns:
        if column not in known:
            raise UsageError(f'--by: no column "{column}" in {data}; {did_you_mean(column, known)}')


def find_example(dataset: Dataset) -> str:
    """The first recording of a dataset whose file still exists, relative to this folder if it is inside; "" if none."""
    folders = [path if path.is_dir() else path.parent for path in map(Path, dataset.moved_sources)]
    paths = (folder / entry.filename for entry in dataset.entries for folder in folders)
    found = next((path for path in paths if path.is_file()), None)
    if found is None:
        return ""
    here = Path.cwd()
    return str(found.relative_to(here) if found.is_relative_to(here) else found)


def resolve_split(data: str, split: str | None) -> str | None:
    """The meaning of `--split`: a part of conditions, if the data is a conditions file, else a split, or all."""
    return _REPORTED if split is None and is_conditions(data) else split


def _make_test_set(conditions: Conditions, dataset: Dataset, part: str, folder: Path, listener: Listener) -> Dataset:
    """The set, made from ingested recordings in `folder`, or found there."""
    with listener.stage("mix") as follow:
        return make_set(
            conditions, dataset, part, folder, lambda done, total, name: follow(done, total, f"{done} of {total}")
        )


def _select_part(dataset: Dataset, part: str | None, recipe: Recipe | None) -> tuple[Dataset, str | None]:
    """The split of this name or, if there is none, the part of this name that a training by the recipe makes."""
    if recipe is not None and part in _PARTS and all(entry.split != part for entry in dataset.entries):
        return _cut_part(dataset, recipe, part), None
    return dataset, part


def _cut_part(dataset: Dataset, recipe: Recipe, part: str) -> Dataset:
    """The part that a training by the recipe makes from data without such a split. UsageError if it makes none."""
    division = divide(dataset, recipe)
    entries = {"train": division.train, "validation": division.validation, "test": division.test}[part]
    if not entries:
        why = f": {'; '.join(division.notes)}" if division.notes else ""
        raise UsageError(f"--split {part}: the data has no such split, and the recipe makes none{why}; omit the option")
    return dataset.with_entries(entries)


def find_source(
    data: str,
    split: str | None,
    several: bool,
    labels: LabelPlace = NOWHERE,
) -> tuple[DataSettings, str | None, Recipe | None]:
    """The source to ingest, the split to use, and the recipe if the source is one; a recipe that names a split already
    leaves out others. several: the model allows several labels per clip, so a table may too."""
    if not Path(data).exists():
        raise UsageError(f"{data}: no such file or folder; check the name")
    if not data.endswith(".toml"):
        settings = with_label_options(DataSettings(Path(data), where=show_name(data)), labels)
        return with_several(settings, several), split, None
    recipe = read_recipe(Path(data))
    if recipe.data is None:
        raise UsageError(f"{data}: has no [data]; add it, or name the recordings")
    settings = with_label_options(recipe.data, labels)
    if settings.split is None and split in _PARTS:
        return settings, split, recipe  # if the data has no splits, use those that a training makes
    return dataclasses.replace(settings, split=split or settings.split), None, None


def model_candidate(model: Model, scorer: Scorer, sensitivity: str | None = None) -> Candidate:
    thresholds = {label: model.point_values(label, sensitivity)["threshold"] for label in model.labels}
    return Candidate(model.name, scorer, model.tuned_on, thresholds, folder=str(model.folder), points=model.points)


def judged_pads(model: Model, given: Mapping[str, float]) -> Mapping[str, float]:
    """The padding of segments in an evaluation, by the names of `DetectSettings`: none, unless it is given or set by
    the model's operating points."""
    return given if given or model.points else {"pad_seconds": 0.0}


def make_scorer(engine: Engine, settings: DetectSettings | None = None) -> Scorer:
    """A scorer for a model with these settings."""
    settings = settings or DetectSettings()
    pads = {"pad_seconds": settings.pad_seconds, "end_pad_seconds": settings.end_pad_seconds}
    given = {name: seconds for name, seconds in pads.items() if seconds is not None}
    settings = dataclasses.replace(settings, **judged_pads(engine.model, given))  # type: ignore[arg-type]
    rules = settings.rules(engine.model)
    thresholds = thresholds_of_clips(engine.model, settings.threshold, settings.sensitivity)
    return engine_scorer(engine, rules, thresholds)


def check_channels(dataset: Dataset, engine: Engine) -> None:
    """UsageError if a network of several channels gets another number of channels."""
    if engine.channels > 1 and dataset.channels not in (1, engine.channels):
        raise UsageError(
            f"{dataset.folder}: has {dataset.channels} channels, but {engine.model.name} expects {engine.channels};"
            " ingest with that number of channels"
        )


def say_unknown_labels(dataset: Dataset, part: str | None, side: Candidate, data: str, listener: Listener) -> None:
    """Report the labels of the recordings that a model or a peer does not know, before the evaluation. DatasetError if
    it knows none of them."""
    unknown = find_unknown_labels(dataset, side.scorer, part, side.name)
    if unknown:
        names = ", ".join(f'"{show_name(label)}" ({count:,})' for label, count in [*unknown.items()][:_MOST_UNKNOWN])
        more = f" and {len(unknown) - _MOST_UNKNOWN} more" if len(unknown) > _MOST_UNKNOWN else ""
        what = f"{plural(len(unknown), 'label')} unknown to {side.name}, not evaluated: {names}{more}"
        listener.warn(f"{data}: {what}", "note")


def check_judged(
    dataset: Dataset,
    part: str | None,
    engines: Sequence[Engine],
    candidates: Sequence[Candidate],
    columns: Sequence[str],
    data: str,
    listener: Listener,
) -> None:
    """Checks before an evaluation: UsageError for columns or channels that do not fit. Reports the data that a model
    was trained on, and the labels that it does not know."""
    check_columns(dataset, columns, data)
    for engine in engines:
        check_channels(dataset, engine)
    for engine in engines:
        say_learned("evaluate", dataset, part, engine.model, listener)
    for one in candidates:
        say_unknown_labels(dataset, part, one, data, listener)


def judge_dataset(
    dataset: Dataset,
    scorer: Scorer,
    settings: EvaluationSettings,
    part: str | None,
    name: str,
    listener: Listener,
    stage: str = "evaluate",
) -> tuple[Evaluation, float, float]:
    """The evaluation, the seconds of sound that were scored, and the time that this took. name: of the model."""
    began, sound, scored_in = time.monotonic(), 0.0, 0.0
    with listener.stage(stage, name) as follow:
        for step in evaluate(dataset, scorer, settings, part):
            if step.evaluation is not None:
                return step.evaluation, sound, scored_in
            sound, scored_in = sound + step.seconds, time.monotonic() - began
            if step.error:
                listener.warn(f"{step.filename}: {step.error}", "error")
            follow(step.done, step.total, f"{step.done} of {step.total}, {format_speed(sound, scored_in)}")
    raise AssertionError("evaluate ends with an evaluation")


@contextmanager
def open_judged_dataset(
    data: str,
    split: str | None,
    output: Path | None,
    engines: list[Engine],
    candidates: list[Candidate],
    listener: Listener,
    counts: Counter[str] | None = None,
    labels: LabelPlace = NOWHERE,
    command: str = "evaluate",
) -> Iterator[tuple[Dataset, str | None]]:
    """The dataset, and the split of it to evaluate. For data that a model was trained on, the corrections of its run
    apply, and the message on a missing split suggests the part that the run made; command: the one that evaluates. Data
    that is not a dataset is ingested beside the output, or temporarily; conditions are made into a set there. Results
    are added to `counts`: files "refused", and so on."""
    models = [engine.model for engine in engines]
    if is_dataset(data):
        refuse_label_options(labels, data)
        dataset = Dataset.open(data)
        corrected = with_run_corrections(DataSettings(Path(data), where=data), models, listener, dataset)
        dataset = apply_settings(dataset, corrected) if corrected.correction_tables else dataset
        check_part(command, dataset, split, models, data)
        yield dataset, split
        return
    conditions = read_conditions(Path(data)) if split and is_conditions(data) else None
    if conditions and split:
        refuse_label_options(labels, data)
        # Only recordings in the split of this part are ingested.
        source = dataclasses.replace(conditions.data, split=conditions.part(split).split)
        part = recipe = None
    else:
        several = any(engine.model.answer == "several" for engine in engines)
        source, part, recipe = find_source(data, split, several, labels)
        source = with_run_corrections(source, models, listener)
    if is_dataset(source.source):
        refuse_label_options(labels, data)
        dataset = apply_settings(Dataset.open(source.source), source)
        yield _select_part(dataset, source.split or part, recipe)
        return
    channels = max(engine.channels for engine in engines)
    sample_rate = max(candidate.scorer.sample_rate for candidate in candidates)
    settings = IngestSettings(sample_rate=sample_rate, channels=channels)
    with tempfile.TemporaryDirectory(prefix="audiocnn-") as temporary, name_data(data, temporary):
        kept = cache_beside(output.with_suffix(""), source, settings) if output else None
        cache = kept or Path(temporary) / "dataset"
        seen = _LabelOrigin()
        with listener.ingesting() as follow:
            dataset = cached_dataset(source, cache, settings, seen.noting(counting(follow, counts)))
        if recipe is None:
            check_part(command, dataset, part, models, data)
        seen.tell(data, listener)
        if conditions and split:
            dataset = _make_test_set(conditions, dataset, split, cache.with_suffix(".set"), listener)
        yield _select_part(dataset, part, recipe)


class _LabelOrigin:
    """Where the labels of recordings were found, and which models made them."""

    def __init__(self) -> None:
        self.origin = ""
        self.makers: tuple[str, ...] = ()

    def noting(self, follow: FollowIngest) -> FollowIngest:
        def followed(step: IngestStep) -> None:
            self.origin, self.makers = step.origin or self.origin, step.makers or self.makers
            follow(step)

        return followed

    def tell(self, data: str, listener: Listener) -> None:
        """Report it. Warn if a model made the labels, because results then only compare two models."""
        if self.origin:
            listener.say(f"{data}: labels from {self.origin}")
        if self.makers:
            fact = f"the labels were made by {' and '.join(self.makers)}, not by a person"
            listener.warn(f"{data}: {fact}; correct them first, or evaluate on other labels")


@contextmanager
def name_data(data: str, temporary: str) -> Iterator[None]:
    """Make errors name the given data instead of a temporary folder."""
    try:
        yield
    except AudiocnnError as error:
        message = str(error).replace(str(Path(temporary) / "dataset"), data)
        if message == str(error):
            raise
        raise type(error)(message) from error
