"""Conditions: one TOML file that describes the test sets for tuning and evaluating a detector.

    seed, [data]       the recordings, as in a recipe
    [parts.NAME]       which of them a set is made from: one of their splits, or a held-out share of its groups
    [mix]              settings that all conditions share
    [[conditions]]     mixtures of one kind (clean, at 5 dB, over the telephone), or unmixed recordings

`testset.make_set` makes a dataset from it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audiocnn.data.sources.settings import DataSettings, data_settings
from audiocnn.errors import AudiocnnError, RecipeError, did_you_mean
from audiocnn.toml import TomlTable, is_number, read_toml, repr_value

TagFilter = Mapping[str, tuple[str, ...]]
"""Column -> values. An entry passes if, in each column, it has one of the values."""


@dataclass(frozen=True)
class Subset:
    """The recordings that a set is made from: those of a split or, with `held_out`, only the share of its groups that a
    training with the same share holds out.

    same_as: the part whose sound it shares, sample by sample. judge: a table of segments with the reference for the
    recordings that it lists, in place of the annotations that the mixtures are made by."""

    split: str
    held_out: float = 0.0
    same_as: str = ""
    judge: Path | None = None


@dataclass(frozen=True)
class MixtureSettings:
    """How the mixtures of a condition are made. Values are drawn uniformly from ranges; levels are in dB.

    A range of None skips the step. snr_db None: nothing is mixed in. floor_db: the level of a floor of coloured noise
    below the voices, which avoids digital zeros; None: no floor. `background`: the recordings that may be mixed in, by
    column; by default all that have none of the labels.
    """

    mixtures: int = 40
    seconds: float = 8.0
    piece_seconds: tuple[float, float] = (1.0, 4.0)
    gap_seconds: tuple[float, float] = (0.3, 2.0)
    level_db: tuple[float, float] = (-3.0, 3.0)
    gain_db: tuple[float, float] = (-12.0, 0.0)
    floor_db: float | None = 45.0
    snr_db: float | None = None
    background: TagFilter = field(default_factory=dict)
    coloured_share: float = 0.0
    room_seconds: tuple[float, float] | None = None
    direct_db: tuple[float, float] = (-3.0, 6.0)
    band_hertz: tuple[float, float] | None = None
    clip_peak: tuple[float, float] | None = None


@dataclass(frozen=True)
class Condition:
    """Mixtures made with `mix` or, with `as_they_are`, every recording that passes this filter, unchanged, from the
    part or from another `source` (a path, or settings as in [data]). parts: those that have the condition; empty means
    all."""

    name: str
    mix: MixtureSettings
    as_they_are: TagFilter | None = None
    source: Path | DataSettings | None = None
    parts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Conditions:
    """balance: the column whose values are drawn by the square root of their durations. where: the file, for
    messages."""

    seed: int
    data: DataSettings
    parts: Mapping[str, Subset]
    balance: str
    conditions: tuple[Condition, ...]
    where: str = "conditions"

    def part(self, name: str) -> Subset:
        if name not in self.parts:
            raise RecipeError(f'{self.where}: there is no part "{name}"; {did_you_mean(name, self.parts)}')
        return self.parts[name]

    def sounding_part(self, name: str) -> str:
        """The part whose sound `name` uses: itself, or another."""
        return self.part(name).same_as or name


def is_conditions(path: str | Path) -> bool:
    """Whether this is a TOML file with conditions, and not a recipe, a spec or something else."""
    path = Path(path)
    if path.suffix.lower() != ".toml" or not path.is_file():
        return False
    try:
        return "conditions" in read_toml(path, RecipeError)
    except AudiocnnError:
        return False


def read_conditions(path: Path) -> Conditions:
    """Read a conditions file. Paths in it are relative to it. Raises RecipeError with file, key and remedy."""
    table = TomlTable(read_toml(path, RecipeError), str(path), RecipeError)
    seed = table.integer("seed", 0, least=0, most=2**31)
    data = data_settings(table.raw("data"), path.parent, f"{path}: [data]")
    if data.labels is None:
        raise RecipeError(f'{path}: [data]: "labels" is missing; list the labels of the mixtures, such as ["speech"]')
    parts = table.table("parts")
    named = {name: _read_subset(parts.table(name), path.parent) for name in list(parts.values)}
    for name, part in named.items():
        if part.same_as and (part.same_as not in named or named[part.same_as].same_as):
            known = [other for other, subset in named.items() if not subset.same_as]
            raise parts.wrong(f'"{name}.same_as" names "{part.same_as}"; {did_you_mean(part.same_as, known)}')
    named = {
        name: dataclasses.replace(named[part.same_as], same_as=part.same_as, judge=part.judge) if part.same_as else part
        for name, part in named.items()
    }
    if not named:
        raise table.wrong('has no part; add one, such as [parts.dev] with split = "dev"')
    mix = table.table("mix")
    balance = mix.text("balance", "")
    shared = read_mixtures(mix, MixtureSettings())
    mix.close()
    listed = table.raw("conditions")
    if not isinstance(listed, list) or not listed:
        raise table.wrong('"conditions" must be an array of tables; write each as [[conditions]]')
    conditions = tuple(
        _read_condition(TomlTable(one, f"{path}: condition {number}", RecipeError), shared, path.parent, named)
        for number, one in enumerate(listed, start=1)
    )
    names = [condition.name for condition in conditions]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise table.wrong(f'two conditions are named "{twice[0]}"; rename one')
    table.close()
    return Conditions(seed, data, named, balance, conditions, str(path))


def _read_subset(table: TomlTable, base: Path) -> Subset:
    """A part. With `same_as`, `split` and `held_out` are those of the other part."""
    same_as, judge = table.text("same_as", ""), table.text("judge", None)
    split = "" if same_as else table.text("split")
    held_out = 0.0 if same_as else table.number("held_out", Subset.held_out, most=0.9)
    table.close()
    return Subset(split, held_out, same_as, None if judge is None else base / judge)


def _read_condition(table: TomlTable, shared: MixtureSettings, base: Path, known: Mapping[str, Subset]) -> Condition:
    """One of `[[conditions]]`: a name, and the keys that differ from `[mix]`."""
    name = table.file_name("name")
    table.place += f' "{name}"'
    parts = table.texts("parts", ())
    for part in parts:
        if part not in known:
            raise table.wrong(f'"parts" names "{part}"; {did_you_mean(part, known)}')
    whole, source = _read_filter(table, "as_they_are", None), _read_source(table, base)
    if source is not None and whole is None:
        raise table.wrong('"source" applies to unmixed recordings; add as_they_are = {}')
    mix = shared if whole is not None else read_mixtures(table, shared)
    table.close()
    return Condition(name, mix, whole, source, parts)


def _read_source(table: TomlTable, base: Path) -> Path | DataSettings | None:
    """`source`: a folder or table beside the file, or a table of settings as in [data]."""
    if isinstance(table.values.get("source"), Mapping):
        return data_settings(table.raw("source"), base, f"{table.place}: source")
    name = table.text("source", None)
    return None if name is None else base / name


def read_mixtures(table: TomlTable, base: MixtureSettings) -> MixtureSettings:
    """The keys of mixtures, in `[mix]` or in a condition. `base` has the default values."""
    settings = dataclasses.replace(
        base,
        mixtures=table.integer("mixtures", base.mixtures, most=100_000),
        seconds=table.number("seconds", base.seconds, above=True, most=600.0),
        piece_seconds=table.pair("piece_seconds", base.piece_seconds, most=600.0),
        gap_seconds=table.pair("gap_seconds", base.gap_seconds, most=600.0),
        level_db=table.pair("level_db", base.level_db, least=-60.0, most=60.0),
        gain_db=table.pair("gain_db", base.gain_db, least=-100.0, most=40.0),
        floor_db=_read_decibels(table, "floor_db", base.floor_db),
        snr_db=_read_decibels(table, "snr_db", base.snr_db),
        background=_read_filter(table, "background", base.background),
        coloured_share=table.number("coloured_share", base.coloured_share, most=1.0),
        room_seconds=table.pair("room_seconds", base.room_seconds, most=10.0),
        direct_db=table.pair("direct_db", base.direct_db, least=-60.0, most=60.0),
        band_hertz=table.pair("band_hertz", base.band_hertz, least=1.0),
        clip_peak=table.pair("clip_peak", base.clip_peak, least=0.001, most=1.0),
    )
    if settings.gap_seconds[1] + 1.0 > settings.seconds:
        raise table.wrong('"seconds" must be at least a second longer than the longest of "gap_seconds"')
    return settings


def _read_decibels(table: TomlTable, key: str, base: float | None) -> float | None:
    """A single number, not a range, so that a condition has one meaning."""
    value = table.raw(key, base)
    if value is None or (is_number(value) and -60.0 <= value <= 120.0):
        return None if value is None else float(value)
    raise table.wrong(f'"{key}" must be a number from -60 to 120, not {repr_value(value)}')


def _read_filter(table: TomlTable, key: str, base: Any) -> Any:
    """Column -> values, as a TagFilter. A single value is read as a list of one."""
    values = table.raw(key, None)
    if values is None:
        return base
    chosen: dict[str, tuple[str, ...]] = {}
    for column, allowed in TomlTable(values, f"{table.place}: {key}", table.error).values.items():
        listed = allowed if isinstance(allowed, list) else [allowed]
        if not listed or not all(isinstance(value, str) for value in listed):
            raise table.wrong(f'"{key}.{column}" must be strings such as ["one", "two"], not {repr_value(allowed)}')
        chosen[column] = tuple(listed)
    return chosen
