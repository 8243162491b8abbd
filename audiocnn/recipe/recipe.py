"""The recipe, which defines how a model is trained: one TOML file with `[data]`, `[mix]`, `[train]` and the spec.

Defaults are in the dataclasses. A run stores its recipe in full, so that every value it used is recorded.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from audiocnn.augment.settings import CLIP_MIX, MixSettings, check_backgrounds, read_mix
from audiocnn.data.dataset import is_dataset
from audiocnn.data.sources.settings import TABLE_SUFFIXES, DataSettings, data_settings
from audiocnn.errors import AudiocnnError, ModelError, RecipeError, SpecError, UsageError
from audiocnn.evaluation.thresholds import MEASURES, Measure
from audiocnn.files import RUN_FILE, path_beside, read_json
from audiocnn.model.model import DEFAULT_MODEL, Model, find_model, spec_folders
from audiocnn.recipe.search_space import Space, read_space
from audiocnn.recipe.settings import AUTO_BATCH_SIZE, CLIP_TRAIN, TrainSettings, read_train, resolve_model
from audiocnn.spec.hints import HINT_KEYS
from audiocnn.spec.spec import Spec, find_spec, spec_at_rate, spec_from_table, spec_with_window, with_background
from audiocnn.toml import TomlTable, read_toml

DEFAULT_RECIPE = "audiocnn.toml"
RECIPE_FILE = "recipe.toml"  # in the folder of a run
GivenBy = Literal["option", "recipe", "spec", "default"]
_DATA_PATHS, _TABLES = ("source", "corrections"), ("recordings", "segments")  # of [data]
_PATHS = (("mix", "hard_negatives"), ("evaluate", "conditions"), ("train", "teacher"), ("train", "from"))


@dataclass(frozen=True)
class Transfer:
    """`from`, `freeze` and `freeze_norms` of `[train]`: the model to start from, by name or folder, the groups that are
    kept unchanged, and whether the statistics of all norms are kept too."""

    model: str
    freeze: tuple[str, ...] = ()
    freeze_norms: bool = False


@dataclass(frozen=True)
class EvaluateSettings:
    """The `[evaluate]` table of a recipe: what thresholds are tuned for, and on which data. That is the part `part` of
    a conditions file or, without one, mixtures made as for the training. `calibrate`: calibrate scores to probabilities
    on it. `also`: folders or tables of annotated recordings, each of which counts as much as that part in both."""

    tune_for: Measure = "detection_error"
    conditions: Path | None = None
    part: str = "tune"
    also: tuple[Path, ...] = ()
    calibrate: bool = True
    test_share: float = 0.15  # of the groups of clips without a split: not used for training or validation


@dataclass(frozen=True)
class Recipe:
    name: str
    spec: Spec
    data: DataSettings | None
    mix: MixSettings
    train: TrainSettings
    evaluate: EvaluateSettings = EvaluateSettings()
    seed: int = 0
    card: str = ""  # text by the user for the model card: data, licences, limits
    transfer: Transfer | None = None  # without it, the weights are initialised at random
    tune: Space = ()  # searched by `audiocnn tune`; not part of a single training
    unset: frozenset[str] = frozenset()  # keys without a value, such as "mix.speed": clips have other defaults
    options: frozenset[str] = frozenset()  # keys of [train] that were set by an option of the command

    def with_options(self, **train: Any) -> Recipe:
        """The recipe with values of `[train]` set by options of the command. None means not given."""
        given = {key: value for key, value in train.items() if value is not None}
        named = {f"train.{key}" for key in given}
        settings = dataclasses.replace(self.train, **given)
        return dataclasses.replace(self, train=settings, unset=self.unset - named, options=self.options | given.keys())

    def with_defaults(self, clips: bool) -> Recipe:
        """The recipe with the values that its spec asks for, and with the defaults of whole clips, or of segments, for
        the keys in `unset`. Options take precedence over the recipe, then the spec, then defaults."""
        changed: dict[str, dict[str, Any]] = {"mix": {}, "train": {}}
        for part, values in (
            ("mix", CLIP_MIX if clips else {}),
            ("train", (CLIP_TRAIN if clips else {}) | self.used_hints()),
        ):
            now, plainly = getattr(self, part), MixSettings() if part == "mix" else TrainSettings()
            for key, value in values.items():
                if f"{part}.{key}" in self.unset and getattr(now, key) == getattr(plainly, key):
                    changed[part][key] = value
        mix, train = (
            dataclasses.replace(self.mix, **changed["mix"]),
            dataclasses.replace(self.train, **changed["train"]),
        )
        return dataclasses.replace(self, mix=mix, train=train, unset=frozenset())

    def used_hints(self) -> dict[str, Any]:
        """The values set by the spec, where neither an option nor the recipe sets them."""
        return {key: value for key, value in self.spec.hints.items() if f"train.{key}" in self.unset}

    def given_by(self) -> dict[str, GivenBy]:
        """The source of each key of `[train]` that a spec may set, as long as `unset` lists the keys without a
        value."""
        found: dict[str, GivenBy] = {}
        for key in HINT_KEYS:
            if f"train.{key}" in self.unset:
                found[key] = "spec" if key in self.spec.hints else "default"
            else:
                found[key] = "option" if key in self.options else "recipe"
        return found

    def to_table(self) -> dict[str, Any]:
        """The complete recipe as TOML values, with absolute paths."""
        table: dict[str, Any] = {"name": self.name, "seed": self.seed, "card": self.card}
        if self.data:
            table["data"] = without_where(to_toml_values(dataclasses.asdict(self.data)))
        table["mix"] = to_toml_values(dataclasses.asdict(self.mix))
        table["train"] = to_toml_values(dataclasses.asdict(self.train))
        if self.train.batch_size == AUTO_BATCH_SIZE:
            table["train"]["batch_size"] = "auto"
        if self.transfer:
            table["train"] |= {"from": self.transfer.model, "freeze": list(self.transfer.freeze)}
            table["train"] |= {"freeze_norms": True} if self.transfer.freeze_norms else {}
        table["evaluate"] = to_toml_values(dataclasses.asdict(self.evaluate))
        table["spec"] = {"name": self.spec.name} | self.spec.table
        return table


def map_paths(table: Mapping[str, Any], change: Callable[[str, str], str]) -> dict[str, Any]:
    """A complete recipe whose paths are replaced by `change(path, source)`. source: of [data], for tables that may be
    inside it, else ""."""
    changed = {part: dict(values) if isinstance(values, Mapping) else values for part, values in table.items()}
    if isinstance(changed.get("data"), dict):
        changed["data"] = _map_data_paths(changed["data"], change)
    for part, key in _PATHS:
        if isinstance(changed.get(part), dict) and changed[part].get(key):
            changed[part][key] = change(changed[part][key], "")
    also = changed["evaluate"].get("also") if isinstance(changed.get("evaluate"), dict) else None
    if isinstance(also, list | tuple):
        changed["evaluate"]["also"] = [change(name, "") for name in also]
    return changed


def _map_data_paths(data: Mapping[str, Any], change: Callable[[str, str], str]) -> dict[str, Any]:
    changed = dict(data)
    changed |= {key: change(data[key], "") for key in _DATA_PATHS if data.get(key) and not isinstance(data[key], list)}
    if isinstance(data.get("corrections"), list):
        changed["corrections"] = [change(name, "") for name in data["corrections"]]
    changed |= {key: change(data[key], data.get("source", "")) for key in _TABLES if data.get(key)}
    if isinstance(data.get("more"), list | tuple) and all(isinstance(one, Mapping) for one in data["more"]):
        changed["more"] = [_map_data_paths(one, change) for one in data["more"]]
    return changed


def move_paths(table: Mapping[str, Any], run: Path, folder: str) -> dict[str, Any]:
    """The complete recipe of a run that was made in `folder` and is now in `run`. Paths inside the folder are changed
    to its new place; other paths are kept."""
    return map_paths(table, lambda path, _: (isinstance(path, str) and path_beside(run, folder, path)) or path)


def move_data(data: DataSettings, source: Path) -> DataSettings:
    """The same data at another place, with the tables that were stored beside it. For a table, source may also be the
    folder that contains it."""
    old, new = data.source, source
    if old.suffix.lower() in TABLE_SUFFIXES:
        source = source / old.name if source.is_dir() and not is_dataset(source) else source
        old, new = old.parent, source.parent

    def moved(path: Path | None) -> Path | None:
        return new / path.relative_to(old) if path is not None and path.is_relative_to(old) else path

    return dataclasses.replace(data, source=source, recordings=moved(data.recordings), segments=moved(data.segments))


def without_where(data: dict[str, Any]) -> dict[str, Any]:
    """A `[data]` table, and those of `more` in it, without the place that starts error messages."""
    kept = {key: value for key, value in data.items() if key not in ("where", "more")}
    return kept | ({"more": [without_where(one) for one in data["more"]]} if data.get("more") else {})


def to_toml_values(value: Any) -> Any:
    """Dataclass values as TOML values: no None, lists for tuples, strings for paths."""
    if isinstance(value, Mapping):
        return {key: to_toml_values(inside) for key, inside in value.items() if inside is not None}
    if isinstance(value, tuple):
        return [to_toml_values(inside) for inside in value]
    return str(value.resolve()) if isinstance(value, Path) else value


def read_recipe(path: Path) -> Recipe:
    """Read a recipe file. Relative paths start from its folder; those of a run move with the run. RecipeError or
    SpecError with file, key and remedy."""
    values = read_toml(path, RecipeError)
    if (folder := _folder_of_run(path.parent)) is not None:
        values = move_paths(values, path.parent, folder)
    table = TomlTable(values, str(path), RecipeError)
    if "conditions" in table.values:
        remedy = "evaluate a part of it (`audiocnn evaluate --split NAME`), or name it in a recipe"
        raise table.wrong(f"is a conditions file; {remedy}")
    unset = find_unset_keys(table.values)
    space = read_space(table.raw("tune", {}), f"{path}: [tune]")
    train = table.table("train")
    transfer = read_transfer(train, path.parent)
    spec = read_recipe_spec(table, path, transfer)
    data = table.raw("data", None)
    recipe = Recipe(
        name=table.file_name("name", spec.name),
        spec=spec,
        data=None if data is None else data_settings(data, path.parent, f"{path}: [data]"),
        mix=read_mix(table.table("mix"), path.parent),
        train=read_train(train, path.parent),
        evaluate=read_evaluate(table.table("evaluate"), path.parent),
        seed=table.integer("seed", 0, least=0, most=2**31),
        card=table.text("card", ""),
        transfer=transfer,
        tune=space,
        unset=unset,
    )
    table.close()
    if recipe.data and recipe.data.labels:
        check_backgrounds(recipe.mix, recipe.data.labels, f"{path}: [mix]")
    return recipe


def _folder_of_run(run: Path) -> str | None:
    """The folder of a run when its recipe was written. None if that is unknown, or is still its folder."""
    try:
        facts = read_json(run / RUN_FILE)
    except (OSError, ValueError):
        return None
    folder = facts.get("folder") if isinstance(facts, dict) else None
    return folder if isinstance(folder, str) else None


def find_unset_keys(table: Mapping[str, Any]) -> frozenset[str]:
    """The keys of `[mix]` and `[train]` without a value in a table."""
    found = set()
    for part, kind in (("mix", MixSettings), ("train", TrainSettings)):
        given = table.get(part)
        stated = given.keys() if isinstance(given, Mapping) else ()
        found |= {f"{part}.{field.name}" for field in dataclasses.fields(kind) if field.name not in stated}
    return frozenset(found)


def read_recipe_spec(table: TomlTable, path: Path, transfer: Transfer | None) -> Spec:
    """`spec`: a name, a file beside the recipe, { base, sample_rate, window_seconds, floor, background } (another spec,
    adapted), or a spec as a table, optionally with its `name` (default: that of the recipe). Without it, the spec of
    the model in `from`."""
    value = table.raw("spec", None if transfer else DEFAULT_MODEL)
    if value is None and transfer:
        return source_spec(transfer.model)
    if isinstance(value, dict) and "base" in value:
        return read_fitted(TomlTable(value, f"{path}: [spec]", RecipeError), path)
    if isinstance(value, dict):
        name = value.get("name", table.values.get("name", "spec"))
        try:
            return spec_from_table({key: value[key] for key in value if key != "name"}, str(name))
        except SpecError as problem:
            raise SpecError(f"{path}: [spec]: {problem}") from None
    if not isinstance(value, str):
        raise table.wrong('"spec" must be a name, a file, or a table')
    return find_spec_beside(path, value)


def find_spec_beside(path: Path, name: str) -> Spec:
    """The spec of this name, or in this file beside the recipe."""
    beside = path.parent / name
    return find_spec(str(beside) if beside.is_file() else name, spec_folders())


def read_fitted(table: TomlTable, path: Path) -> Spec:
    """`base`, the name or file of another spec, and the values to change: `sample_rate`, `window_seconds`, `floor`,
    `background`."""
    spec = find_spec_beside(path, table.text("base"))
    rate, window = table.integer("sample_rate", None), table.number("window_seconds", None, above=True, most=600.0)
    floor, background = table.number("floor", None, above=True), table.flag("background", False)
    table.close()
    if background:
        spec = with_background(spec)
    if floor is not None:
        spec = spec_from_table(spec.table | {"input": spec.table["input"] | {"floor": floor}}, spec.name)
    spec = spec if rate is None else spec_at_rate(spec, rate)
    return spec if window is None else spec_with_window(spec, window)


def read_transfer(table: TomlTable, folder: Path) -> Transfer | None:
    """`from` and `freeze` of `[train]`. A folder is relative to the recipe."""
    model, freeze = table.text("from", None), table.texts("freeze", ())
    freeze_norms = table.flag("freeze_norms", False)
    if model is None and (freeze or freeze_norms):
        key, kept = ("freeze", "groups") if freeze else ("freeze_norms", "norms")
        raise table.wrong(f'"{key}" needs "from", the model whose {kept} stay unchanged')
    return None if model is None else Transfer(resolve_model(folder, model), freeze, freeze_norms)


def source_model(name: str) -> Model:
    """A model to start from, which must have a single network. Raises ModelError."""
    model = find_model(name)
    if model.members:
        names = ", ".join(member.name for member in model.members)
        raise ModelError(f"{model.folder}: is an ensemble; start from one of its members ({names})")
    return model


def source_spec(name: str) -> Spec:
    """The spec of a model to start from, for any number of labels."""
    spec = source_model(name).spec
    return spec_from_table(spec.table, spec.name)


def read_evaluate(table: TomlTable, folder: Path) -> EvaluateSettings:
    """`[evaluate]`. The conditions file and `also` are relative to the recipe."""
    base = EvaluateSettings()
    conditions = table.text("conditions", "")
    settings = EvaluateSettings(
        table.text("tune_for", base.tune_for, tuple(MEASURES)),
        (folder / conditions).resolve() if conditions else None,
        table.text("part", base.part),
        tuple((folder / name).resolve() for name in table.texts("also", ())),
        table.flag("calibrate", base.calibrate),
        table.number("test_share", base.test_share, most=0.9),
    )
    table.close()
    return settings


def check_run(
    recipe: Recipe, run: Path, resume: bool, parts: Collection[str] | None = None, moved: bool = False
) -> None:
    """Refuse a non-empty folder that is not a run, and a run of another recipe. parts: of the recipe, to compare; None
    for all. moved: the data may have another place, as it also may if it is gone from the old one. The number of epochs
    may change."""
    kept, table = run / RECIPE_FILE, recipe.to_table()
    if not kept.exists():
        if run.exists() and any(run.iterdir()):
            raise UsageError(f"{run}: contains other files; choose a new folder with -o")
        return  # also with --resume: a run that was killed before it wrote anything starts from the beginning
    if not resume:
        raise UsageError(
            f"{run}: already contains a run; continue it with --resume, start again with --force, or choose another -o"
        )
    old = read_recipe(kept)
    if old.data and recipe.data and (moved or not old.data.source.exists()):
        old = dataclasses.replace(old, data=move_data(old.data, recipe.data.source))
    before = old.to_table()  # with the current defaults, for keys that are newer than the run
    before["train"]["epochs"] = table["train"]["epochs"]
    for part in sorted(table.keys() | before.keys() if parts is None else parts):
        if json.dumps(table.get(part), sort_keys=True) != json.dumps(before.get(part), sort_keys=True):
            what = f"[{part}] differs from this recipe{first_difference(before.get(part), table.get(part))}"
            raise AudiocnnError(f"{kept}: {what}; continue with the old recipe, or choose another -o")


def first_difference(there: Any, here: Any) -> str:
    """The first key that differs between two tables with both values, in brackets. Empty if the values are long."""
    if not isinstance(there, Mapping) or not isinstance(here, Mapping):
        return ""
    key = next((key for key in sorted(there.keys() | here.keys()) if there.get(key) != here.get(key)), "")
    values = [json.dumps(table.get(key), default=str) for table in (there, here)]
    return f" ({key}: {values[0]} there, {values[1]} here)" if key and sum(map(len, values)) < 80 else ""
