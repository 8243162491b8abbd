"""`audiocnn train`: sounds in, a model out."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audiocnn.errors import RecipeError, UsageError
from audiocnn.units import clock
from audiocnn_cli.exits import ExitStatus, Terminated
from audiocnn_cli.findings import plural
from audiocnn_cli.options import Device
from audiocnn_cli.terminal import Terminal

if TYPE_CHECKING:
    from audiocnn.architecture import Spec
    from audiocnn.dataset import Dataset
    from audiocnn.recipe import Recipe, Transfer

RUN_PARTS = ("recipe.toml", "log.jsonl", "checkpoints", "model")  # what a run makes, and what --force may remove

Data = Annotated[
    str | None,
    typer.Argument(metavar="DATA", help="A dataset, a source as for `ingest`, or a recipe.", show_default=False),
]


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """What to make, from what, and where."""

    recipe: Annotated[
        str | None, typer.Option("--recipe", metavar="FILE", help="How the model is made. [default: ./audiocnn.toml]")
    ] = None
    spec: Annotated[
        str | None,
        typer.Option(
            "--spec", metavar="SPEC", help="A name from `audiocnn models`, or a TOML file. [default: {model}]"
        ),
    ] = None
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="MODEL", help="Begin with the groups of this model; F is new for new labels."),
    ] = None
    freeze: Annotated[
        str | None, typer.Option("--freeze", metavar="A,B", help="Groups of that model that stay as they are.")
    ] = None
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="RUN", help="The folder to make. [default: runs/NAME]")
    ] = None
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was interrupted.")] = False
    force: Annotated[bool, typer.Option("--force", help="Remove what an earlier run made there, and begin anew.")] = (
        False
    )


@dataclasses.dataclass(frozen=True)
class LearningOptions:
    """What overrides the recipe."""

    epochs: Annotated[
        int | None, typer.Option("--epochs", min=1, metavar="N", help="[default: the recipe's, else {epochs}]")
    ] = None
    batch_size: Annotated[
        int | None,
        typer.Option("--batch-size", "-b", min=1, metavar="N", help="[default: the recipe's, else {batch_size}]"),
    ] = None
    seed: Annotated[int | None, typer.Option("--seed", min=0, metavar="N", help="[default: the recipe's, else 0]")] = (
        None
    )


def train(
    terminal: Terminal,
    data: Data = None,
    run: RunOptions = RunOptions(),
    learning: LearningOptions = LearningOptions(),
    device: Device = "auto",
) -> ExitStatus:
    """Without DATA it does what ./audiocnn.toml says. The run is a folder: the model, a log of the epochs, checkpoints
    and the recipe in full; interrupted, it goes on with --resume.

    \b
    audiocnn train sounds/
    audiocnn train --recipe recipes/speech.toml -o runs/speech
    audiocnn train -o runs/speech --resume
    audiocnn train words/ --from speech_1d --freeze A
    """
    recipe = changed(choose_recipe(data, run), learning)
    folder = Path(run.output or f"runs/{recipe.name}")
    check_transfer(recipe, folder, run)
    if run.force and not run.resume:
        clear(folder)
    elif (folder / "recipe.toml").exists() and not run.resume:
        raise UsageError(
            f"{folder}: there is a run already; go on with --resume, begin anew with --force, or name another -o"
        )
    where = choose_device(device)
    dataset = dataset_for(recipe, folder, terminal)
    from audiocnn.training import train as reports_of
    from audiocnn_cli.training_table import follow

    with told_how_to_go_on(folder, terminal):
        follow(reports_of(recipe, dataset, folder, where, run.resume), terminal, folder, where)
    return ExitStatus.OK


@contextmanager
def told_how_to_go_on(folder: Path, terminal: Terminal) -> Iterator[None]:
    """A line on how an interrupted run goes on."""
    try:
        yield
    except (KeyboardInterrupt, Terminated):
        terminal.say(f"audiocnn: interrupted; `audiocnn train -o {folder} --resume` goes on")
        raise


def check_transfer(recipe: Recipe, folder: Path, run: RunOptions) -> None:
    """Refuse a model to begin from that does not fit, before recordings are read and before anything is removed."""
    if recipe.transfer is None:
        return
    from audiocnn.training import check_source

    if run.force and not run.resume and Path(recipe.transfer.model).is_relative_to(folder.resolve()):
        raise UsageError(f"{folder}: the model of --from lies in it; name another -o")
    check_source(recipe, folder, run.resume)


def choose_recipe(data: str | None, run: RunOptions) -> Recipe:
    """The recipe that was named; that of the run to resume; ./audiocnn.toml; or the defaults, for the data that was."""
    from audiocnn.recipe import DEFAULT_RECIPE, read_recipe

    if data is not None and data.endswith(".toml"):
        if run.recipe is not None:
            raise UsageError(f"{data} and --recipe {run.recipe} are both recipes; name one")
        data, run = None, dataclasses.replace(run, recipe=data)
    kept = Path(run.output or "") / "recipe.toml"
    if run.recipe is not None:
        recipe = read_recipe(Path(run.recipe))
    elif run.resume and run.output and kept.exists():
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
        return plain_recipe(Path(data), run)
    transfer = transfer_of(run, recipe.transfer)
    recipe = dataclasses.replace(recipe, transfer=transfer, spec=spec_of(run, transfer) or recipe.spec)
    return with_data(recipe, Path(data)) if data is not None else recipe


def plain_recipe(data: Path, run: RunOptions) -> Recipe:
    """The defaults, for data without a recipe."""
    from audiocnn.mixing import MixSettings
    from audiocnn.model import DEFAULT_MODEL
    from audiocnn.recipe import Recipe, TrainSettings

    transfer = transfer_of(run, None)
    network = spec_of(run, transfer) or spec_named(DEFAULT_MODEL)
    name = (Path(run.output) if run.output else data).resolve().name or network.name
    return with_data(Recipe(name, network, None, MixSettings(), TrainSettings(), transfer=transfer), data)


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
    labels = recipe.data.labels if recipe.data else None
    split = recipe.data.split if recipe.data else None
    if split and not (is_dataset(data) and any(entry.split == split for entry in Dataset.open(data).entries)):
        split = None
    rate = recipe.spec.input.sample_rate
    settings = DataSettings(data, split=split, labels=labels, sample_rate=rate, where=str(data))
    return dataclasses.replace(recipe, data=settings)


def changed(recipe: Recipe, learning: LearningOptions) -> Recipe:
    """The recipe with what the options say otherwise."""
    settings = dataclasses.replace(
        recipe.train,
        epochs=learning.epochs or recipe.train.epochs,
        batch_size=learning.batch_size or recipe.train.batch_size,
    )
    seed = recipe.seed if learning.seed is None else learning.seed
    return dataclasses.replace(recipe, train=settings, seed=seed)


def dataset_for(recipe: Recipe, run: Path, terminal: Terminal) -> Dataset:
    """The dataset of a recipe; another source is first ingested, into a folder beside the run."""
    from audiocnn.dataset import Dataset, is_dataset
    from audiocnn.ingest import IngestSettings, cached_dataset
    from audiocnn_cli.following import IngestFollower

    if recipe.data is None:
        raise RecipeError(f"{recipe.name}: the recipe has no [data]; add it, or name the data: `audiocnn train DATA`")
    if is_dataset(recipe.data.source):
        return Dataset.open(recipe.data.source)
    cache = run.parent / f"{run.name}.dataset"
    settings = IngestSettings(sample_rate=recipe.spec.input.sample_rate, channels=recipe.spec.input.channels)
    with IngestFollower(terminal, "ingest") as follower:
        dataset = cached_dataset(recipe.data, cache, settings, follower)
    hours = sum(dataset.duration_seconds(entry) for entry in dataset.entries)
    terminal.say(f"{cache}: {plural(len(dataset.entries), 'recording')}, {clock(hours)}, kept for the next time")
    return dataset


def choose_device(name: str) -> str:
    """A device that is there: `auto` takes a GPU if there is one."""
    import torch

    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return next(kind for kind, there in found.items() if there)
    kind, _, number = name.partition(":")
    if kind not in found or (number and not (kind == "cuda" and number.isdecimal())):
        raise UsageError(f'--device cannot be "{name}"; use auto, cpu, cuda, cuda:N or mps')
    if not found[kind] or (number and int(number) >= torch.cuda.device_count()):
        raise UsageError(f"--device {name}: there is no such device here; use --device cpu")
    return name


def clear(run: Path) -> None:
    """Remove what a run makes, and nothing else."""
    for part in RUN_PARTS:
        path = run / part
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
