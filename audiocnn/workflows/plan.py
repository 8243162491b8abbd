"""The recipe of a training, and its data: `plan_training`, for the command and for `audiocnn.train`.

The recipe is the given one, that of the run to resume, or ./audiocnn.toml (`choose_recipe`); options override it.
Without a recipe, the data is ingested if necessary, and fitting settings are chosen (`fit_recipe`).
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audiocnn.audio.remote import refuse_urls
from audiocnn.errors import AudiocnnError, UsageError, did_you_mean
from audiocnn.files import check_run_writable, is_locked, settled
from audiocnn.packages import check_packages
from audiocnn.recipe.recipe import RECIPE_FILE
from audiocnn.workflows.label_place import CORRECTED, LabelPlace
from audiocnn.workflows.listener import Listener
from audiocnn.workflows.run_folder import REPORT_FILE, check_run_folder, clear_run
from audiocnn.workflows.sources import dataset_for, refuse_label_options, with_label_options

if TYPE_CHECKING:
    from audiocnn.data.dataset import Dataset
    from audiocnn.recipe.choose import KeepSpec
    from audiocnn.recipe.recipe import Recipe, Transfer
    from audiocnn.spec.spec import Spec

FROM_NONE = "none"  # of --from: start with random weights


@dataclass(frozen=True)
class TrainingRequest:
    """A requested training, with the options of `audiocnn train`. None leaves a value to the recipe, or to the
    automatic choice.

    data: a dataset, a source as in `ingest`, or a recipe. source: the model to start from, or "none". moved: the new
    place of the data of a run to resume.
    """

    data: str | None = None
    recipe: str | None = None
    spec: str | None = None
    source: str | None = None
    freeze: str | None = None
    output: str | None = None
    tensorboard: bool = False
    resume: bool = False
    moved: str | None = None
    force: bool = False
    minutes: float | None = None
    epochs: int | None = None
    batch_size: str | None = None
    learning_rate: float | None = None
    sample_rate: int | None = None
    seed: int | None = None
    threads: int | None = None
    group: str | None = None
    group_pattern: str | None = None
    label_pattern: str | None = None
    keep_label: Sequence[str] | None = None
    corrections: Sequence[str] | None = None
    only_corrected: bool = False
    folds: int | None = None
    fold: str | None = None
    learning_curve: str | None = None
    label_column: str | None = None
    label_map: str | None = None
    labels: str | None = None
    device: str = "auto"

    @property
    def repeated(self) -> bool:
        """Whether several models are trained, in folders of their own."""
        return bool(self.folds or self.learning_curve)


@dataclass(frozen=True)
class TrainingPlan:
    """refused: number of files that could not be read. budget_seconds: the part of `minutes` for the epochs."""

    recipe: Recipe
    dataset: Dataset
    folder: Path
    device: str
    refused: int
    budget_seconds: float | None = None
    threads: int | None = None


def run_to_resume(request: TrainingRequest) -> TrainingRequest:
    """If `data` is a run, it is the run to resume: `train runs/x --resume`."""
    data, output = request.data, request.output
    if request.resume and output is None and data is not None and (Path(data) / RECIPE_FILE).is_file():
        data, output = None, data
    return dataclasses.replace(request, data=data, output=str(settled(Path(output))) if output else None)


class FinishedError(AudiocnnError):
    """There is nothing to continue: the run has its model, and was tested."""


def plan_training(
    request: TrainingRequest,
    listener: Listener,
    scratch: Path | None = None,
    beside: Callable[[Path], str] | None = None,
    again: bool = True,
) -> TrainingPlan:
    """Check, read and remove everything before a training. scratch: a folder for the samples of recordings that are not
    a dataset yet, if nothing else may be written; the run is then ignored. beside: gives the same command for another
    folder. again: a finished run to resume exports its model again; otherwise FinishedError."""
    from audiocnn.training.threads import check_threads

    check_minutes(request)
    check_threads(request.threads)
    recipe, plain = choose_recipe(request)
    recipe = with_part_options(with_learning_options(recipe, request), request)
    recipe = with_recipe_labels(recipe, request)
    folder = Path(request.output or f"runs/{recipe.name}")
    if scratch is not None:
        folder = scratch / folder.name
    if scratch is None:
        check_run_writable(folder)
    check_unlocked(folder)
    resume = request.resume and scratch is None
    check_run_folder(recipe, folder, resume, request.force, request.moved is not None, request.repeated, beside)
    check_source_model(recipe, folder, request)
    goes_on = request.resume and request.moved is None and not request.repeated and scratch is None
    if goes_on and not again and (ended := describe_end(recipe, folder)):
        raise FinishedError(ended)
    if request.tensorboard:
        check_packages("tensorboard", ["tensorboard"])
    where = choose_device(request.device)
    if request.force:
        clear_run(folder)
    counts = Counter[str]()
    if plain:
        recipe, dataset = fit_recipe(recipe, folder, request, listener, counts, scratch is None)
    else:
        dataset = dataset_for(recipe, folder, listener, counts, scratch is None, request.moved is not None)
        recipe = keep_labels(recipe, dataset, request.keep_label)
    say_corrections(recipe, listener)
    budget, threads = None, request.threads
    if request.minutes is not None:
        recipe, budget, threads = plan_minutes(recipe, dataset, where, request.minutes, listener, request.threads)
    return TrainingPlan(recipe, dataset, folder, where, counts["refused"], budget, threads)


def describe_end(recipe: Recipe, folder: Path) -> str | None:
    """One line on a run that has all epochs of the recipe, its model and its test; None for other runs."""
    from audiocnn.recipe.heard import TEST, read_parts
    from audiocnn.recipe.recipe import read_recipe
    from audiocnn.training.checkpoint import LAST_CHECKPOINT, read_progress
    from audiocnn.training.runs import LAST_MADE

    if not all((folder / name).is_file() for name in LAST_MADE):
        return None
    if read_recipe(folder / RECIPE_FILE).transfer != recipe.transfer:  # the training reports the difference
        return None
    parts, state = read_parts(folder), read_progress(folder / LAST_CHECKPOINT)
    epochs, wanted = state.get("epoch", 0), recipe.train.epochs
    since = max(state.get("best_epoch", 0), state.get("extended_at", 0))
    stopped = epochs - since >= recipe.train.patience and state.get("epochs", wanted) == wanted
    if (epochs < wanted and not stopped) or (parts and parts.has(TEST) and not (folder / REPORT_FILE).is_file()):
        return None
    best = f"best epoch {state.get('best_epoch', 0)} of {epochs}"
    return f"{folder}: is finished ({best}); --epochs with more than {max(epochs, wanted)} continues it"


def check_unlocked(folder: Path) -> None:
    """Refuse a folder that another process is training in, before recordings are read and anything is removed. Removes
    files that a killed process left half written."""
    from audiocnn.training.checkpoint import clear_temporaries

    if is_locked(folder):
        raise UsageError(f"{folder}: another process is training here; wait for it, or choose another -o")
    for place in (folder, *folder.glob("fold-*"), *folder.glob("share-*")):
        clear_temporaries(place)


def check_source_model(recipe: Recipe, folder: Path, request: TrainingRequest) -> None:
    """Refuse a model to start from that does not fit, and a model to start or learn from that would be removed, before
    recordings are read and anything is removed."""
    source = recipe.transfer.model if recipe.transfer else ""
    for model, what in ((source, "--from"), (recipe.train.teacher, "teacher")):
        if request.force and model and Path(model).resolve().is_relative_to(folder.resolve()):
            raise UsageError(f"{folder}: contains the model given by {what}; choose another -o")
    if recipe.transfer is None:
        return
    from audiocnn.training.train import check_source

    check_source(recipe, folder, request.resume)


def choose_device(name: str, local: int = 0) -> str:
    """An available device; `auto` uses a GPU if there is one. local: number of this process on its machine, which
    selects its GPU."""
    import torch

    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind, there in found.items() if there)
    if name == "cuda" and local:
        name = f"cuda:{local}"
    kind, _, number = name.partition(":")
    if kind not in found or (number and not (kind == "cuda" and number.isdecimal())):
        raise UsageError(f'--device: "{name}" is not a device name; use auto, cpu, cuda, cuda:N or mps')
    if not found[kind] or (number and int(number) >= torch.cuda.device_count()):
        raise UsageError(f"--device {name}: not available on this machine; use --device cpu")
    return name


def choose_recipe(request: TrainingRequest) -> tuple[Recipe, bool]:
    """The given recipe; that of the run to resume; ./audiocnn.toml; or the defaults for the given data, together with
    True: fitting settings must still be chosen."""
    from audiocnn.recipe.recipe import DEFAULT_RECIPE, read_recipe

    run, data = request, request.data
    if data is not None:
        refuse_urls(data)
    if data is not None and data.endswith(".toml"):
        if run.recipe is not None:
            raise UsageError(f"{data} and --recipe {run.recipe} are both recipes; give only one")
        data, run = None, dataclasses.replace(run, recipe=data)
    kept = find_run_recipe(data, run)
    if run.recipe is not None:
        recipe = read_recipe(Path(run.recipe))
    elif run.resume and kept is not None and kept.exists():
        recipe = find_data(read_recipe(kept), kept, data, run)
    elif run.moved is not None:
        raise UsageError(f"--data {run.moved}: applies to a run to resume; name the run with -o and --resume")
    elif data is None and run.resume and run.output:
        raise UsageError(f"{run.output}: contains no run to resume; name the data to start one, without --resume")
    elif data is None and Path(DEFAULT_RECIPE).exists():
        recipe = read_recipe(Path(DEFAULT_RECIPE))
    elif data is None:
        raise UsageError(
            f"nothing to train on: no DATA was given, and there is no {DEFAULT_RECIPE} here. Start with"
            " `audiocnn train FOLDER`, where FOLDER has one subfolder of recordings for each label"
        )
    else:
        return make_default_recipe(Path(data), run), True
    transfer = choose_transfer(run, recipe.transfer)
    recipe = dataclasses.replace(recipe, transfer=transfer, spec=choose_spec(run, transfer) or recipe.spec)
    return (recipe if data is None else with_data(recipe, Path(data))), False


def find_data(recipe: Recipe, kept: Path, data: str | None, run: TrainingRequest) -> Recipe:
    """The recipe of a run to resume, with the present place of its data: that of --data, or DATA if they are gone from
    the old place. UsageError if they are not there, or given twice."""
    from audiocnn.recipe.recipe import move_data

    if recipe.data is None:
        return recipe
    place = run.moved if run.moved is not None or recipe.data.source.exists() else data
    if run.moved is not None and data is not None:
        raise UsageError(f"{data} and --data {run.moved} both name the data; give only one")
    if place is not None and not Path(place).exists():
        raise UsageError(f"{place}: no such file or folder; check the name")
    if place is not None:
        return dataclasses.replace(recipe, data=move_data(recipe.data, Path(place)))
    if not recipe.data.source.exists():
        what = f"{kept}: the data is no longer at {recipe.data.source}"
        cache = kept.parent.with_name(f"{kept.parent.name}.dataset")
        stored = f" (their samples are in {cache})" if cache.is_dir() else ""
        raise UsageError(f"{what}{stored}; give its new place with --data PLACE")
    return recipe


def find_run_recipe(data: str | None, run: TrainingRequest) -> Path | None:
    """The recipe file of the run on this data. None if nothing tells which run."""
    if run.output is None and data is None:
        return None
    return Path(run.output or f"runs/{name_after_data(Path(data or ''))}") / RECIPE_FILE


def name_after_data(data: Path) -> str:
    """The name of a model of this data: that of the folder or table."""
    whole = data.resolve()
    return whole.stem if whole.is_file() else whole.name.removesuffix(".dataset")


def make_default_recipe(data: Path, run: TrainingRequest) -> Recipe:
    from audiocnn.augment.settings import MixSettings
    from audiocnn.model.model import DEFAULT_MODEL
    from audiocnn.recipe.recipe import Recipe, find_unset_keys
    from audiocnn.recipe.settings import TrainSettings

    transfer = choose_transfer(run, None)
    network = choose_spec(run, transfer) or find_named_spec(DEFAULT_MODEL)
    name = (Path(run.output).resolve().name if run.output else name_after_data(data)) or network.name
    unset = find_unset_keys({})
    return with_data(Recipe(name, network, None, MixSettings(), TrainSettings(), transfer=transfer, unset=unset), data)


def choose_transfer(run: TrainingRequest, before: Transfer | None) -> Transfer | None:
    """--from and --freeze, which override the recipe."""
    from audiocnn.recipe.recipe import Transfer
    from audiocnn.recipe.settings import resolve_model

    if run.source == FROM_NONE:
        before = None
    given = run.source if run.source != FROM_NONE else None
    model = resolve_model(Path(), given) if given is not None else before.model if before else None
    if model is None and run.freeze is not None:
        raise UsageError(f"--freeze {run.freeze}: needs --from MODEL, whose groups stay unchanged")
    freeze = before.freeze if before else ()
    if run.freeze is not None:
        freeze = tuple(dict.fromkeys(name.strip() for name in run.freeze.split(",")))
    return None if model is None else Transfer(model, freeze)


def choose_spec(run: TrainingRequest, transfer: Transfer | None) -> Spec | None:
    """The spec of --spec, else that of --from; None without these options."""
    from audiocnn.recipe.recipe import source_spec

    if run.spec is not None:
        return find_named_spec(run.spec)
    return source_spec(transfer.model) if transfer and run.source not in (None, FROM_NONE) else None


def find_named_spec(name: str) -> Spec:
    from audiocnn.model.model import spec_folders
    from audiocnn.spec.spec import find_spec

    return find_spec(name, spec_folders())


def with_data(recipe: Recipe, data: Path) -> Recipe:
    """The recipe with other data. Its labels are kept, and its split if the new dataset has one of that name, so that
    recordings reserved for tests are not trained on."""
    from audiocnn.data.dataset import Dataset, is_dataset
    from audiocnn.data.parts import is_of_split
    from audiocnn.data.sources.settings import DataSettings

    if not data.exists():
        raise UsageError(f"{data}: no such file or folder; check the name")
    if recipe.data and recipe.data.source.resolve() == data.resolve():
        return recipe
    labels = recipe.data.labels if recipe.data else None
    split = recipe.data.split if recipe.data else None
    if split and not (is_dataset(data) and any(is_of_split(one.split, split) for one in Dataset.open(data).entries)):
        split = None
    rate = recipe.spec.input.sample_rate
    settings = DataSettings(data, split=split, labels=labels, sample_rate=rate, where=str(data))
    return dataclasses.replace(recipe, data=settings)


def with_recipe_labels(recipe: Recipe, labels: LabelPlace) -> Recipe:
    """The recipe with labels from the place given by the options. UsageError if its data already has labels."""
    from audiocnn.data.dataset import is_dataset

    if recipe.data is None:
        return recipe
    if is_dataset(recipe.data.source):
        refuse_label_options(labels, recipe.data.source)
    return dataclasses.replace(recipe, data=with_label_options(recipe.data, labels))


def parse_batch_size(text: str) -> int:
    """A number, or "auto". UsageError for anything else."""
    from audiocnn.recipe.settings import AUTO_BATCH_SIZE

    if text == "auto":
        return AUTO_BATCH_SIZE
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f'--batch-size: "{text}" is not a batch size; give a number from 1 upwards, or auto')
    return int(text)


def check_learning_rate(rate: float | None) -> float | None:
    """UsageError for a value that is invalid in a recipe."""
    from audiocnn.spec.hints import read_optimisation
    from audiocnn.toml import TomlTable

    if rate is not None:
        read_optimisation(TomlTable({"learning_rate": rate}, "--learning-rate", UsageError), lambda key: None)
    return rate


def with_learning_options(recipe: Recipe, learning: TrainingRequest) -> Recipe:
    from audiocnn.recipe.choose import recipe_at_rate

    batch_size = None if learning.batch_size is None else parse_batch_size(learning.batch_size)
    rate = check_learning_rate(learning.learning_rate)
    recipe = recipe.with_options(epochs=learning.epochs, batch_size=batch_size, learning_rate=rate)
    recipe = recipe if learning.seed is None else dataclasses.replace(recipe, seed=learning.seed)
    return recipe_at_rate(recipe, learning.sample_rate) if learning.sample_rate else recipe


def with_part_options(recipe: Recipe, parts: TrainingRequest) -> Recipe:
    if parts.folds and parts.learning_curve:
        raise UsageError("--folds and --learning-curve each train several times; give only one")
    if parts.folds and parts.fold:
        raise UsageError("--folds tests on each fold in turn and --fold on a single one; give only one")
    if parts.learning_curve is not None:
        parse_shares(parts.learning_curve)
    if parts.group and parts.group_pattern:
        raise UsageError("--group and --group-pattern both say which clips belong together; give only one")
    values: dict[str, Any] = {}
    if parts.group:
        values |= {"group": parts.group, "group_pattern": None}
    if parts.group_pattern:
        values |= {"group_pattern": parts.group_pattern, "group": "group"}
    if parts.label_pattern:
        values["label_pattern"] = parts.label_pattern
    if parts.fold:
        values["test_fold"] = parts.fold
    if parts.corrections:
        tables = tuple(map(check_corrections, dict.fromkeys(parts.corrections)))
        values["corrections"] = tables if tables[1:] else tables[0]
    if parts.only_corrected:
        if not parts.corrections and (recipe.data is None or not recipe.data.correction_tables):
            raise UsageError("--only-corrected keeps the clips listed in a table; name the table with --corrections")
        values["only_corrected"] = True
    if not values or recipe.data is None:
        return recipe
    return dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, **values))


def check_corrections(name: str) -> Path:
    """UsageError if the table does not exist, with another remedy for a table that a page of `doubtful` creates."""
    path, made = Path(name), Path(name.replace(CORRECTED, ""))
    if path.is_file():
        return path
    if made != path and made.is_file():
        page = made.with_suffix(".html")
        where = f"{page} creates it (press its download button); or edit {made} and give that"
        raise UsageError(f"--corrections {name}: no such file; {where}")
    raise UsageError(f"--corrections {name}: no such file; check the name")


def parse_shares(text: str) -> list[float]:
    """0.1,0.3,1 as numbers. UsageError if one is invalid."""
    from audiocnn.recipe.folds import check_shares

    try:
        shares = [float(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"--learning-curve {text}: not a list of shares; give shares such as 0.1,0.3,1") from None
    check_shares(shares)
    return shares


def fit_recipe(
    recipe: Recipe,
    folder: Path,
    request: TrainingRequest,
    listener: Listener,
    counts: Counter[str] | None = None,
    kept: bool = True,
) -> tuple[Recipe, Dataset]:
    """A default recipe, fitted to its data; recordings with segments get a detector. A network chosen by the user keeps
    its sizes. counts, kept: as in `dataset_for`."""
    from audiocnn.data.dataset import Dataset, is_dataset
    from audiocnn.data.sources.corrections import apply_settings
    from audiocnn.data.sources.probe import originals_of, with_several
    from audiocnn.recipe.choose import (
        BACKBONE,
        DEFAULT_CLIP_SPEC,
        choose_recipe_rate,
        choose_settings,
        collect_clip_facts,
        describe_parts,
        explain_choice,
        recipe_at_rate,
        wants_backbone,
    )
    from audiocnn.recipe.division import divide
    from audiocnn.recipe.recipe import Transfer, source_spec

    assert recipe.data is not None
    source = recipe.data.source
    known = apply_settings(Dataset.open(source), recipe.data) if is_dataset(source) else None
    several = known.several if known else None
    data = dataclasses.replace(recipe.data, labels_per_clip="several") if several else with_several(recipe.data)
    recipe = dataclasses.replace(recipe, data=data)
    originals = None if known else originals_of(data)
    timed = originals.timed if originals else known is not None and any(entry.annotated for entry in known.entries)
    keep: KeepSpec = "all" if recipe.transfer else "sizes" if request.spec else "nothing"
    given = keep != "nothing"
    if not given and not timed:
        recipe = dataclasses.replace(recipe, spec=find_named_spec(DEFAULT_CLIP_SPEC))
    recipe = recipe_at_rate(recipe, request.sample_rate or choose_recipe_rate(recipe, originals, known, given))
    dataset = known or dataset_for(recipe, folder, listener, counts, kept)
    recipe = keep_labels(recipe, dataset, request.keep_label)
    if timed:
        return fit_detector(recipe, dataset, request, listener), dataset
    facts = collect_clip_facts(dataset, recipe)
    if not given and request.source is None and wants_backbone(facts):
        backbone = source_spec(BACKBONE)
        if backbone.input.sample_rate == recipe.spec.input.sample_rate:
            recipe = dataclasses.replace(recipe, transfer=Transfer(BACKBONE), spec=backbone)
    say_survey(dataset, listener)
    choice = choose_settings(facts, recipe.spec, keep)
    recipe = with_learning_options(choice.recipe(recipe), request)
    listener.say_block("chosen", [*explain_choice(facts, recipe), *describe_parts(divide(dataset, recipe), dataset)])
    for line in choice.warnings:
        listener.warn(line)
    if originals is not None and max(originals.rates, default=0) > recipe.spec.input.sample_rate:
        say_lost_power(recipe, listener)
    return recipe, dataset


def fit_detector(recipe: Recipe, dataset: Dataset, request: TrainingRequest, listener: Listener) -> Recipe:
    """The recipe fitted to recordings with segments; the choice is reported."""
    from audiocnn.recipe.choose import choose_segment_settings, collect_segment_facts, explain_segment_choice
    from audiocnn.recipe.division import divide

    choice = choose_segment_settings(collect_segment_facts(dataset, recipe), recipe.spec)
    say_survey(dataset, listener)
    recipe = with_learning_options(choice.recipe(recipe), request)
    listener.say_block("chosen", explain_segment_choice(recipe, divide(dataset, recipe)))
    for line in choice.warnings:
        listener.warn(line)
    return recipe


def say_survey(dataset: Dataset, listener: Listener) -> None:
    from audiocnn.data.survey import describe_survey, survey

    with listener.stage("survey", "look") as follow:
        found = survey(dataset, lambda done, total: follow(done, total, f"{done} of {total}"))
    listener.say_block("found", describe_survey(found))


def check_minutes(request: TrainingRequest) -> None:
    """UsageError for a budget that is invalid, or conflicts with another option."""
    minutes = request.minutes
    if minutes is None:
        return
    if not 0.0 < minutes < math.inf:
        raise UsageError(f"--minutes {minutes:g}: not a valid duration; give a number of minutes above 0, such as 3")
    if request.epochs is not None:
        raise UsageError("--minutes and --epochs both set the training length; give only one")
    if request.repeated:
        raise UsageError("--minutes plans one training, but --folds and --learning-curve run several; give --epochs")
    if request.resume:
        raise UsageError("--minutes plans a new training, but a resumed run already has a plan; omit the option")


def plan_minutes(
    recipe: Recipe, dataset: Dataset, device: str, minutes: float, listener: Listener, threads: int | None = None
) -> tuple[Recipe, float, int | None]:
    """The recipe that takes this number of minutes on this machine, the seconds of them that are left for its epochs,
    and the number of threads used for measuring."""
    from audiocnn.training.budget import fit_minutes, measure

    recipe, pace, clips = measure(recipe, dataset, device, threads)
    recipe = fit_minutes(recipe, pace, clips, minutes)
    noun = "minute" if minutes == 1 else "minutes"
    budget = f"{recipe.train.epochs} epochs of {recipe.train.examples_per_epoch:,} examples fit into {minutes:g} {noun}"
    listener.say_block("minutes", [f"{budget}: a step takes {pace.step_seconds:.2g} s on this machine"])
    return recipe, 60.0 * minutes - pace.end_seconds, pace.threads


def say_lost_power(recipe: Recipe, listener: Listener) -> None:
    """Warn if recordings have sound above the frequencies that the network gets."""
    from audiocnn.data.sources.probe import lost_power

    rate = recipe.spec.input.sample_rate
    if recipe.data is not None and (lost := lost_power(recipe.data, rate)) is not None:
        fact = f"{lost.share:.0%}".replace("%", " %") + f' of the power of "{lost.label}" lies above {rate // 2} Hz'
        listener.warn(f"{fact}, where the network hears nothing; to include it: --sample-rate {lost.rate}")


def keep_labels(recipe: Recipe, dataset: Dataset, names: Sequence[str] | None) -> Recipe:
    """The recipe with all trained labels and these, which would otherwise mean "none of them". UsageError for a label
    that no recording has."""
    from audiocnn.segments.segment import is_background_label

    if not names or recipe.data is None:
        return recipe
    for name in names:
        if name not in dataset.labels:
            raise UsageError(f"--keep-label {name}: no recording has this label; {did_you_mean(name, dataset.labels)}")
    labels = recipe.data.labels or tuple(one for one in dataset.labels if not is_background_label(one))
    kept = tuple(one for one in dataset.labels if one in (*labels, *names))
    return dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, labels=kept))


def say_corrections(recipe: Recipe, listener: Listener) -> None:
    from audiocnn.data.sources import corrections_line

    if recipe.data and (line := corrections_line(recipe.data)):
        listener.say(line)


def say_notes(recipe: Recipe, dataset: Dataset, listener: Listener) -> None:
    """Report on the parts before a training: how the data names them, leaks, and why there is no test part."""
    from audiocnn.recipe.division import divide

    with suppress(AudiocnnError):  # the training reports the problem
        division = divide(dataset, recipe)
        if lines := (*division.understood, *division.notes):
            listener.say_block("parts", lines)
