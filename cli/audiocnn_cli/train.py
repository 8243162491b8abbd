"""`audiocnn train`: sounds in, a model out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from audiocnn.errors import UsageError
from audiocnn_cli.exits import ExitStatus, Terminated
from audiocnn_cli.options import Device
from audiocnn_cli.repeating import PartOptions, repeat, with_parts
from audiocnn_cli.run_folder import check_folder, clear, going_on
from audiocnn_cli.terminal import Terminal
from audiocnn_cli.training_options import Data, LearningOptions, RunOptions

if TYPE_CHECKING:
    from audiocnn.recipe import Recipe


def train(
    terminal: Terminal,
    data: Data = None,
    run: RunOptions = RunOptions(),  # noqa: B008
    learning: LearningOptions = LearningOptions(),  # noqa: B008
    parts: PartOptions = PartOptions(),  # noqa: B008
    device: Device = "auto",
) -> ExitStatus:
    """Of a folder with a subfolder for each label it says what is in it, chooses network and settings that fit, trains,
    and judges the model by clips that were kept apart. Without DATA it does what ./audiocnn.toml says. The run is a
    folder: the model, a report, a log of the epochs, checkpoints and the recipe in full; interrupted, it goes on with
    --resume.

    \b
    audiocnn train sounds/
    audiocnn train --recipe recipes/speech.toml -o runs/speech
    audiocnn train -o runs/speech --resume
    audiocnn train words/ --from speech_1d --freeze A
    """
    from audiocnn_cli.training_data import dataset_for, fitted, tell_corrections, tell_notes
    from audiocnn_cli.training_recipe import changed, choose_recipe

    recipe, plain = choose_recipe(data, run)
    recipe = with_parts(changed(recipe, learning), parts)
    folder = Path(run.output or f"runs/{recipe.name}")
    repeated = bool(parts.folds or parts.learning_curve)
    check_folder(recipe, folder, run.resume, run.force, repeated)
    check_transfer(recipe, folder, run)
    if run.force:
        clear(folder)
    where = choose_device(device)
    counts = Counter[str]()
    if plain:
        recipe, dataset = fitted(recipe, folder, run, learning, terminal, counts)
    else:
        dataset = dataset_for(recipe, folder, terminal, counts)
    tell_corrections(recipe, terminal)
    from audiocnn.training import train as reports_of
    from audiocnn_cli.training_end import finish
    from audiocnn_cli.training_table import follow

    with told_how_to_go_on(lambda: going_on(folder, data, [run, learning, parts], repeated, device), terminal):
        if repeated:
            status = repeat(recipe, dataset, folder, where, run, parts, terminal)
        else:
            tell_notes(recipe, dataset, terminal)
            report = follow(reports_of(recipe, dataset, folder, where, run.resume), terminal, folder, where)
            status = finish(recipe, dataset, report, folder, terminal)
    return ExitStatus.SOME_FAILED if counts["refused"] else status


@contextmanager
def told_how_to_go_on(command: Callable[[], str], terminal: Terminal) -> Iterator[None]:
    """A line on how an interrupted run goes on."""
    try:
        yield
    except (KeyboardInterrupt, Terminated):
        terminal.say(f"audiocnn: interrupted; `{command()}` goes on")
        raise


def check_transfer(recipe: Recipe, folder: Path, run: RunOptions) -> None:
    """Refuse a model to begin from that does not fit, before recordings are read and before anything is removed."""
    if recipe.transfer is None:
        return
    from audiocnn.training import check_source

    if run.force and Path(recipe.transfer.model).is_relative_to(folder.resolve()):
        raise UsageError(f"{folder}: the model of --from lies in it; name another -o")
    check_source(recipe, folder, run.resume)


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
