"""Labelled recordings to judge on, and the models and detectors that are judged: `evaluate` and `tune` share them."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from audiocnn.errors import AudiocnnError, UsageError, did_you_mean
from audiocnn.units import plural
from audiocnn_cli.app.options import JudgedPad, LabelOptions, SegmentOptions, SegmentRuleOptions, read_pads
from audiocnn_cli.app.progress import Bar, format_speed
from audiocnn_cli.app.terminal import Terminal
from audiocnn_cli.io.ingest import IngestFollower, cache_beside, refuse_label_options, with_label_options

if TYPE_CHECKING:
    from audiocnn.data.dataset import Dataset
    from audiocnn.data.sources.settings import DataSettings
    from audiocnn.evaluation.annotated import Scorer
    from audiocnn.evaluation.conditions import Conditions
    from audiocnn.evaluation.results import ClipEvaluation, Evaluation, EvaluationSettings
    from audiocnn.inference.engine import Engine
    from audiocnn.model.model import Model
    from audiocnn.recipe.recipe import Recipe
    from audiocnn.segments.finder import SegmentRule

_PARTS = ("train", "validation", "test")  # of a training
_MOST_UNKNOWN = 10  # that are named
_REPORTED = "dev"  # the part that figures are of, unless another is asked for


@dataclass(frozen=True)
class Candidate:
    """A model or a peer that is judged. A model has a folder, a peer a version."""

    name: str
    scorer: Scorer
    tuned_on: str
    thresholds: Mapping[str, float]
    folder: str | None = None
    version: str | None = None


def check_columns(dataset: Dataset, columns: Sequence[str], data: str) -> None:
    """UsageError for a column of --by that no recording has."""
    known = sorted({name for entry in dataset.entries for name in entry.tags})
    for column in columns:
        if column not in known:
            there = did_you_mean(column, known) if known else "it has none; leave --by out"
            raise UsageError(f'--by: no column "{column}" in {data}; {there}')


def resolve_split(data: str, split: str | None) -> str | None:
    """The meaning of `--split`: a part of conditions, if the data are such, else a split, or all."""
    from audiocnn.evaluation.conditions import is_conditions

    return _REPORTED if split is None and is_conditions(data) else split


def _make_test_set(conditions: Conditions, dataset: Dataset, part: str, folder: Path, terminal: Terminal) -> Dataset:
    """The set, made of ingested recordings into `folder`, or found there."""
    from audiocnn.evaluation.testset import make_set

    with Bar(terminal, "mix") as bar:

        def follow(done: int, total: int, name: str) -> None:
            bar.update(done, total, f"{done} of {total}")

        return make_set(conditions, dataset, part, folder, follow)


def _select_part(dataset: Dataset, part: str | None, recipe: Recipe | None) -> tuple[Dataset, str | None]:
    """The split of this name; where there is none, the part of this name that a training by the recipe cuts."""
    if recipe is not None and part in _PARTS and all(entry.split != part for entry in dataset.entries):
        return _cut_part(dataset, recipe, part), None
    return dataset, part


def _cut_part(dataset: Dataset, recipe: Recipe, part: str) -> Dataset:
    """The part that a training by the recipe cuts from data without such a split. UsageError where it cuts none."""
    from audiocnn.recipe.division import divide

    division = divide(dataset, recipe)
    entries = {"train": division.train, "validation": division.validation, "test": division.test}[part]
    if not entries:
        why = f": {'; '.join(division.notes)}" if division.notes else ""
        raise UsageError(f"--split {part}: the data has no such split, and the recipe cuts none{why}; leave it out")
    return dataset.with_entries(entries)


def find_source(
    data: str,
    split: str | None,
    several: bool,
    labels: LabelOptions = LabelOptions(),  # noqa: B008
) -> tuple[DataSettings, str | None, Recipe | None]:
    """The source to ingest, the split to ask of the dataset, and the recipe where it is one: one that names a split
    leaves others out by itself. several: a model gives clips several labels, and a table may, too."""
    from audiocnn.data.sources.probe import with_several
    from audiocnn.data.sources.settings import DataSettings
    from audiocnn.errors import show_name

    if not Path(data).exists():
        raise UsageError(f"{data}: no such file or folder; check the name")
    if not data.endswith(".toml"):
        settings = with_label_options(DataSettings(Path(data), where=show_name(data)), labels)
        return with_several(settings, several), split, None
    from audiocnn.recipe.recipe import read_recipe

    recipe = read_recipe(Path(data))
    if recipe.data is None:
        raise UsageError(f"{data}: has no [data]; add it, or name the recordings")
    settings = with_label_options(recipe.data, labels)
    if settings.split is None and split in _PARTS:
        return settings, split, recipe  # maybe the data has no splits, and a training cuts its own
    return dataclasses.replace(settings, split=split or settings.split), None, None


def model_candidate(model: Model, scorer: Scorer, sensitivity: str | None = None) -> Candidate:
    thresholds = {label: model.point_values(label, sensitivity)["threshold"] for label in model.labels}
    return Candidate(model.name, scorer, model.tuned_on, thresholds, folder=str(model.folder))


def peer_candidates(against: str | None, given: SegmentRuleOptions) -> list[Candidate]:
    """The peers named in --against, each once, in order."""
    from audiocnn.evaluation.peers import PEER_LABEL, load_peer

    names = dict.fromkeys(name.strip() for name in against.split(",")) if against is not None else []
    if names and "end_pad_seconds" in read_pads(given.pad):
        raise UsageError(f"--pad {given.pad}: with --against segments are widened alike at both ends; give one number")
    found = []
    for peer in map(load_peer, names):
        rule = dataclasses.replace(peer.rule, pad_seconds=0.0)
        scorer, thresholds = peer.scorer(peer_rule(rule, given)), {PEER_LABEL: rule.threshold}
        found.append(Candidate(peer.name, scorer, peer.origin, thresholds, version=peer.version))
    return found


def peer_rule(rule: SegmentRule, given: SegmentRuleOptions) -> SegmentRule:
    """The rule of a peer: given lengths hold for all, given thresholds for models alone."""
    lengths = {
        "min_speech_seconds": given.min_duration,
        "min_silence_seconds": given.min_silence,
        **read_pads(given.pad),
        "max_speech_seconds": given.max_duration,
    }
    return dataclasses.replace(rule, **{name: seconds for name, seconds in lengths.items() if seconds is not None})


@dataclass(frozen=True)
class JudgedSegments(SegmentOptions):
    """How scores become segments that are judged: not widened unless asked for, by an option or by a model whose
    operating points say how far."""

    pad: JudgedPad = None


def judged_pad(model: Model, pad: str | None) -> str | None:
    """By how much segments that are judged are widened, as in --pad; None is left to the model."""
    return "0" if pad is None and not model.points else pad


def make_scorer(engine: Engine, rule: SegmentRuleOptions) -> Scorer:
    """What evaluates a model by these options."""
    from audiocnn.evaluation.annotated import engine_scorer
    from audiocnn.inference.classify import thresholds_of_clips
    from audiocnn_cli.app.options import detect_settings

    rule = dataclasses.replace(rule, pad=judged_pad(engine.model, rule.pad))
    settings = detect_settings(rule)
    rules = settings.rules(engine.model)
    thresholds = thresholds_of_clips(engine.model, settings.threshold, settings.sensitivity)
    return engine_scorer(engine, rules, thresholds)


def check_channels(dataset: Dataset, engine: Engine) -> None:
    """UsageError where a network of several channels gets another number of them."""
    if engine.channels > 1 and dataset.channels not in (1, engine.channels):
        raise UsageError(
            f"{dataset.folder}: has {dataset.channels} channels and {engine.model.name} wants {engine.channels};"
            " ingest with that many"
        )


def say_unknown_labels(dataset: Dataset, part: str | None, side: Candidate, data: str, terminal: Terminal) -> None:
    """Name the labels of the recordings that a model or a peer does not know, before anything is judged. DatasetError
    where it knows none of them."""
    from audiocnn.errors import show_name
    from audiocnn.evaluation.annotated import find_unknown_labels

    unknown = find_unknown_labels(dataset, side.scorer, part, side.name)
    if unknown:
        names = ", ".join(f'"{show_name(label)}" ({count:,})' for label, count in [*unknown.items()][:_MOST_UNKNOWN])
        more = f" and {len(unknown) - _MOST_UNKNOWN} more" if len(unknown) > _MOST_UNKNOWN else ""
        what = f"{plural(len(unknown), 'label')} that {side.name} does not know, not judged: {names}{more}"
        terminal.error(f"{data}: {what}", "note")


def judge_dataset(
    dataset: Dataset, scorer: Scorer, settings: EvaluationSettings, part: str | None, name: str, terminal: Terminal
) -> tuple[Evaluation, float, float]:
    """The evaluation, the seconds of sound that were scored, and the seconds that this took."""
    from audiocnn.evaluation.annotated import evaluate

    began, sound, scored_in = time.monotonic(), 0.0, 0.0
    with Bar(terminal, name) as bar:
        for step in evaluate(dataset, scorer, settings, part):
            if step.evaluation is not None:
                return step.evaluation, sound, scored_in
            sound, scored_in = sound + step.seconds, time.monotonic() - began
            if step.error:
                terminal.error(f"{step.filename}: {step.error}")
            bar.update(step.done, step.total, f"{step.done} of {step.total}, {format_speed(sound, scored_in)}")
    raise AssertionError("evaluate ends with an evaluation")


def clips_of(evaluation: Evaluation, option: str, data: str) -> ClipEvaluation:
    """What was found of clips. UsageError where no clip has labels; option: what needs them, "" for the command."""
    if evaluation.clip is None:
        prefix = f"{option}: " if option else ""
        raise UsageError(f"{prefix}needs clips that have a label as a whole, and {data} has segments alone")
    return evaluation.clip


@contextmanager
def open_judged_dataset(
    data: str,
    split: str | None,
    output: Path | None,
    engines: list[Engine],
    candidates: list[Candidate],
    terminal: Terminal,
    counts: Counter[str] | None = None,
    labels: LabelOptions = LabelOptions(),  # noqa: B008 - frozen
) -> Iterator[tuple[Dataset, str | None]]:
    """The dataset, and which split of it to judge. What is no dataset is ingested beside the output, else for now;
    what has conditions is made into a set there. What was done is added to `counts`: files "refused", and so on."""
    from audiocnn.data.dataset import Dataset, is_dataset
    from audiocnn.data.ingest import IngestSettings, cached_dataset
    from audiocnn.data.sources.corrections import apply_settings
    from audiocnn.evaluation.conditions import is_conditions, read_conditions

    if is_dataset(data):
        refuse_label_options(labels, data)
        yield Dataset.open(data), split
        return
    conditions = read_conditions(Path(data)) if split and is_conditions(data) else None
    if conditions and split:
        refuse_label_options(labels, data)
        # Of the recordings only those of the split of this part are ingested.
        source = dataclasses.replace(conditions.data, split=conditions.part(split).split)
        part = recipe = None
    else:
        several = any(engine.model.answer == "several" for engine in engines)
        source, part, recipe = find_source(data, split, several, labels)
    if is_dataset(source.source):
        refuse_label_options(labels, data)
        dataset = apply_settings(Dataset.open(source.source), source)
        yield _select_part(dataset, source.split or part, recipe)
        return
    channels = max(engine.channels for engine in engines)
    sample_rate = max(candidate.scorer.sample_rate for candidate in candidates)
    settings = IngestSettings(sample_rate=sample_rate, channels=channels)
    with tempfile.TemporaryDirectory(prefix="audiocnn-") as temporary, _naming_data(data, temporary):
        kept = cache_beside(output.with_suffix(""), source, settings) if output else None
        cache = kept or Path(temporary) / "dataset"
        with IngestFollower(terminal, "ingest") as follower:
            dataset = cached_dataset(source, cache, settings, follower)
        if counts is not None:
            counts.update(follower.counts)
        if conditions and split:
            dataset = _make_test_set(conditions, dataset, split, cache.with_suffix(".set"), terminal)
        yield _select_part(dataset, part, recipe)


@contextmanager
def _naming_data(data: str, temporary: str) -> Iterator[None]:
    """Errors name the data that were given instead of a temporary folder."""
    try:
        yield
    except AudiocnnError as error:
        message = str(error).replace(str(Path(temporary) / "dataset"), data)
        if message == str(error):
            raise
        raise type(error)(message) from error
