"""The runs that evaluated models come from: their training data and corrections, and the commands that evaluate on
other data, or train again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from audiocnn.errors import UsageError, as_argument, format_command, show_name
from audiocnn.files import free_path
from audiocnn.recipe.recipe import RECIPE_FILE
from audiocnn.workflows.listener import Listener

if TYPE_CHECKING:
    from audiocnn.data.dataset import Dataset
    from audiocnn.data.sources.settings import DataSettings
    from audiocnn.model.model import Model
    from audiocnn.recipe.heard import RunParts

FOLDS = 5  # number to suggest


def parts_of_run(model: Model) -> RunParts | None:
    """The parts recorded by the run of a model. None for a model outside of a run."""
    from audiocnn.recipe.heard import find_run, read_parts

    run = find_run(model.folder)
    return None if run is None else read_parts(run)


def folds_command(run: Path) -> str:
    """The command that trains as a run did, with its data, corrections and settings, but so that each clip is evaluated
    by a model that was not trained on it."""
    recipe = as_argument(run / RECIPE_FILE)
    return format_command(
        ["audiocnn", "train", "--recipe", recipe, "--folds", FOLDS, "-o", as_argument(_folds_of(run))]
    )


def _folds_of(run: Path) -> Path:
    return free_path(run.with_name(f"{run.name}-folds"))


def part_command(command: str, parts: RunParts, part: str) -> str:
    """The command that evaluates a part of a run."""
    run = as_argument(parts.run)
    return format_command(["audiocnn", command, f"{run}/recipe.toml", "-m", run, "--split", part])


def unheard_command(command: str, parts: RunParts) -> str:
    """The command that evaluates clips that a run was not trained on."""
    from audiocnn.recipe.heard import TEST

    return part_command(command, parts, TEST) if parts.has(TEST) else folds_command(parts.run)


def say_learned(command: str, dataset: Dataset, part: str | None, model: Model, listener: Listener) -> None:
    """Warn if a model was trained on the data to evaluate: its results are too good, and it doubts too few labels."""
    from audiocnn.data.parts import is_of_split
    from audiocnn.recipe.heard import TEST, TRAIN

    if (parts := parts_of_run(model)) is None:
        return
    entries = [entry for entry in dataset.entries if part is None or is_of_split(entry.split, part)]
    if learned := parts.count(dataset, entries)[TRAIN]:
        noun = "recording" if any(entry.annotated for entry in entries) else "clip"
        them = f"all {len(entries):,}" if learned == len(entries) else f"{learned:,} of these {len(entries):,}"
        fact = f"{model.name} was trained on {them} {noun}s"
        if command == "doubtful":
            turns = folds_command(parts.run)
            judges = format_command(["audiocnn", "doubtful", as_argument(_folds_of(parts.run))])
            better = (
                "wrong labels that it has memorised are not found; for models that each judge only clips they were not"
            )
            better += f" trained on: {turns} && {judges}"
        elif noun == "recording" and not parts.has(TEST):  # there are no folds with segments
            better = "evaluate it on other recordings to be sure"
        else:
            better = f"for {noun}s that it was not trained on: {unheard_command(command, parts)}"
        listener.warn(f"{fact}; {better}")


def check_part(command: str, dataset: Dataset, part: str | None, models: Sequence[Model], data: str) -> None:
    """UsageError if the data has no such split, but a run that was trained on it made such a part."""
    for parts in filter(None, map(parts_of_run, models)):
        if part is None or not parts.has(part) or any(entry.split == part for entry in dataset.entries):
            continue
        if parts.count(dataset, dataset.entries):
            remedy = f"for that part of {show_name(parts.run)}: {part_command(command, parts, part)}"
            raise UsageError(f'{data}: has no split "{part}"; {remedy}')


def with_run_corrections(
    settings: DataSettings, models: Sequence[Model], listener: Listener, dataset: Dataset | None = None
) -> DataSettings:
    """The settings with the corrections that a model was trained with, if the data is that of its run and has no
    corrections of its own; this is reported. dataset: the one that was made from the data, if any."""
    if settings.correction_tables:
        return settings
    for run, trained in _corrected_runs(settings.source, models, dataset):
        tables = ", ".join(show_name(show_path(path)) for path in trained.correction_tables)
        if not all(path.is_file() for path in trained.correction_tables):
            what = f"was trained with {tables}, which cannot be found: the labels are used without the corrections"
            listener.warn(f"{show_name(run)}: {what}")
            continue
        listener.say(f"labels are those that {show_name(run)} was trained on, with the corrections in {tables}")
        return replace(settings, corrections=trained.corrections, only_corrected=trained.only_corrected)
    return settings


def tables_of_run(model: Model, source: Path, dataset: Dataset) -> tuple[Path, ...]:
    """The correction tables that a model was trained with on this data."""
    found = next(_corrected_runs(source, [model], dataset), None)
    return found[1].correction_tables if found else ()


def _corrected_runs(
    source: Path, models: Sequence[Model], dataset: Dataset | None
) -> Iterator[tuple[Path, DataSettings]]:
    """The runs of models that were trained on this data with corrections."""
    from audiocnn.recipe.heard import comes_from, find_run, run_recipe

    for run in filter(None, (find_run(model.folder) for model in models)):
        recipe = run_recipe(run)
        trained = recipe.data if recipe else None
        if trained is None or not trained.correction_tables:
            continue
        if trained.source.resolve() == source.resolve() or (dataset and comes_from(dataset, trained.source)):
            yield run, trained


def fold_runs(folder: Path) -> list[Path]:
    """The runs of `train --folds` in a folder, in order; empty if there are none."""
    found = [path.parent for path in folder.glob("fold-*/recipe.toml")]
    return sorted(found, key=lambda run: (len(run.name), run.name))


def show_path(path: Path) -> Path:
    """The shortest name from the current folder."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def train_again_command(
    data: str, tables: Sequence[Path], only_corrected: bool = False, more: Sequence[str] = ()
) -> str:
    """The command that trains with correction tables, into a new folder. tables: later ones take precedence. more:
    further words of the command."""
    words = ["audiocnn", "train", as_argument(data)]
    for table in dict.fromkeys(show_path(path) for path in tables):
        words += ["--corrections", as_argument(table)]
    words += ["--only-corrected"] if only_corrected else []
    place = Path(data).resolve()
    place = place.parent if place.name == "recipe.toml" else place
    run = Path("runs") / ((place.stem if place.is_file() else place.name.removesuffix(".dataset")) or "sounds")
    words += ["-o", as_argument(free_path(run))] if run.exists() or data.endswith(".toml") else []
    return format_command([*words, *more])
