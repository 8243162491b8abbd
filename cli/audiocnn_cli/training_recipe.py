"""Which recipe `audiocnn train` follows: one that was named, that of a run to resume, ./audiocnn.toml, or none yet."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from audiocnn.addresses import refuse_urls
from audiocnn.errors import UsageError
from audiocnn_cli.training_options import LearningOptions, RunOptions

if TYPE_CHECKING:
    from audiocnn.architecture import Spec
    from audiocnn.recipe import Recipe, Transfer


def choose_recipe(data: str | None, run: RunOptions) -> tuple[Recipe, bool]:
    """The recipe that was named; that of the run to resume; ./audiocnn.toml; or the defaults, for the data that was
    named, and then True: what fits the data is still to be chosen."""
    from audiocnn.recipe import DEFAULT_RECIPE, read_recipe

    if data is not None:
        refuse_urls(data)
    if data is not None and data.endswith(".toml"):
        if run.recipe is not None:
            raise UsageError(f"{data} and --recipe {run.recipe} are both recipes; name one")
        data, run = None, dataclasses.replace(run, recipe=data)
    kept = kept_recipe(data, run)
    if run.recipe is not None:
        recipe = read_recipe(Path(run.recipe))
    elif run.resume and kept is not None and kept.exists():
        recipe = read_recipe(kept)
    elif data is None and run.resume and run.output:
        raise UsageError(f"{run.output}: there is no run to resume; name the data to begin one, without --resume")
    elif data is None and Path(DEFAULT_RECIPE).exists():
        recipe = read_recipe(Path(DEFAULT_RECIPE))
    elif data is None:
        raise UsageError(
            f"nothing to train on: no DATA was named, and there is no {DEFAULT_RECIPE} here. Begin with"
            " `audiocnn train FOLDER`, where FOLDER has one subfolder of recordings for each label"
        )
    else:
        return plain_recipe(Path(data), run), True
    transfer = transfer_of(run, recipe.transfer)
    recipe = dataclasses.replace(recipe, transfer=transfer, spec=spec_of(run, transfer) or recipe.spec)
    return (recipe if data is None else with_data(recipe, Path(data))), False


def kept_recipe(data: str | None, run: RunOptions) -> Path | None:
    """Where the run that is made of this data keeps its recipe; None where neither says which run."""
    if run.output is None and data is None:
        return None
    return Path(run.output or f"runs/{name_of(Path(data or ''))}") / "recipe.toml"


def name_of(data: Path) -> str:
    """What a model of this data is called: as the folder, or the table."""
    whole = data.resolve()
    return whole.stem if whole.is_file() else whole.name.removesuffix(".dataset")


def plain_recipe(data: Path, run: RunOptions) -> Recipe:
    """The defaults, for data without a recipe."""
    from audiocnn.mixing import MixSettings
    from audiocnn.model import DEFAULT_MODEL
    from audiocnn.recipe import Recipe, TrainSettings, keys_unsaid

    transfer = transfer_of(run, None)
    network = spec_of(run, transfer) or spec_named(DEFAULT_MODEL)
    name = (Path(run.output).resolve().name if run.output else name_of(data)) or network.name
    unsaid = keys_unsaid({})
    return with_data(
        Recipe(name, network, None, MixSettings(), TrainSettings(), transfer=transfer, unsaid=unsaid), data
    )


def transfer_of(run: RunOptions, before: Transfer | None) -> Transfer | None:
    """--from and --freeze, over what the recipe says."""
    from audiocnn.recipe import Transfer, model_at

    model = model_at(Path(), run.source) if run.source is not None else before.model if before else None
    if model is None and run.freeze is not None:
        raise UsageError(f"--freeze {run.freeze}: needs --from MODEL, whose groups stay as they are")
    freeze = before.freeze if before else ()
    if run.freeze is not None:
        freeze = tuple(dict.fromkeys(name.strip() for name in run.freeze.split(",")))
    return None if model is None else Transfer(model, freeze)


def spec_of(run: RunOptions, transfer: Transfer | None) -> Spec | None:
    """The spec of --spec; without it that of --from; None where the options name none."""
    from audiocnn.recipe import source_spec

    if run.spec is not None:
        return spec_named(run.spec)
    return source_spec(transfer.model) if transfer and run.source is not None else None


def spec_named(name: str) -> Spec:
    """A spec by name or file."""
    from audiocnn.architecture import find_spec
    from audiocnn.model import spec_folders

    return find_spec(name, spec_folders())


def with_data(recipe: Recipe, data: Path) -> Recipe:
    """The recipe with other data; which labels count stays, and which split, where a dataset has one of that name: what
    a recipe keeps for reports is not learned from."""
    from audiocnn.dataset import Dataset, is_dataset
    from audiocnn.sources import DataSettings

    if not data.exists():
        raise UsageError(f"{data}: no such file or folder; check the name")
    if recipe.data and recipe.data.source.resolve() == data.resolve():
        return recipe
    labels = recipe.data.labels if recipe.data else None
    split = recipe.data.split if recipe.data else None
    if split and not (is_dataset(data) and any(entry.split == split for entry in Dataset.open(data).entries)):
        split = None
    rate = recipe.spec.input.sample_rate
    settings = DataSettings(data, split=split, labels=labels, sample_rate=rate, where=str(data))
    return dataclasses.replace(recipe, data=settings)


def batch_size_of(text: str) -> int:
    """A number, or "auto". UsageError for anything else."""
    from audiocnn.recipe import AUTO

    if text == "auto":
        return AUTO
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f'--batch-size cannot be "{text}"; give a number from 1 on, or auto')
    return int(text)


def changed(recipe: Recipe, learning: LearningOptions) -> Recipe:
    """The recipe with what the options say otherwise."""
    from audiocnn.own_sounds import at_rate

    settings = dataclasses.replace(
        recipe.train,
        epochs=learning.epochs or recipe.train.epochs,
        batch_size=recipe.train.batch_size if learning.batch_size is None else batch_size_of(learning.batch_size),
    )
    seed = recipe.seed if learning.seed is None else learning.seed
    recipe = dataclasses.replace(recipe, train=settings, seed=seed)
    return at_rate(recipe, learning.sample_rate) if learning.sample_rate else recipe
