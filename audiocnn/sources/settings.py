"""The [data] table of a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from audiocnn.errors import RecipeError
from audiocnn.tables import Table, shown

DEFAULT_SAMPLE_RATE = 16000
DEFAULT_GROUP = "group"
TABLE_SUFFIXES = frozenset({".csv", ".tsv"})


@dataclass(frozen=True)
class WholeLabel:
    """A label that whole recordings carry wherever they sound. where: column -> values, with * and ? as in file names;
    every column must fit."""

    label: str
    where: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class DataSettings:
    """Which recordings, with which labels.

    source: a folder, or a table. recordings: a table with a row for each recording. segments: a table in
    DCASE order; with it every recording counts as annotated. keep, drop: column -> values. labels: the ones
    that count, in this order. label: the column with the label of the whole clip, or "folder". group: the column
    of what must not be parted, such as a speaker. whole: labels of whole recordings, of which the first that fits
    counts; with any, every recording counts as annotated. where: begins messages.
    """

    source: Path
    recordings: Path | None = None
    segments: Path | None = None
    keep: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    drop: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    split: str | None = None
    labels: tuple[str, ...] | None = None
    label: str | None = None
    group: str = DEFAULT_GROUP
    whole: tuple[WholeLabel, ...] = ()
    sample_rate: int = DEFAULT_SAMPLE_RATE
    where: str = "[data]"


def data_settings(table: object, base: Path, where: str) -> DataSettings:
    """Check a [data] table. `source` is looked for from `base`, the tables from `source`; RecipeError."""
    data = Table(table, where, RecipeError)
    source = base / data.text("source", ".")
    root = source.parent if source.suffix.lower() in TABLE_SUFFIXES else source
    recordings = data.text("recordings", None)
    segments = data.text("segments", None)
    labels = data.texts("labels", None)
    if labels is not None and (not labels or "" in labels):
        raise data.wrong('"labels" must name at least one, as in ["speech"]; leave it out for all')
    settings = DataSettings(
        source=source,
        recordings=root / recordings if recordings is not None else None,
        segments=root / segments if segments is not None else None,
        keep=_choices(data, "keep"),
        drop=_choices(data, "drop"),
        split=data.text("split", None),
        labels=tuple(dict.fromkeys(labels)) if labels is not None else None,
        label=data.text("label", None),
        group=data.text("group", DEFAULT_GROUP),
        whole=_whole(data),
        sample_rate=data.integer("sample_rate", DEFAULT_SAMPLE_RATE),
        where=where,
    )
    data.close()
    return settings


def _whole(data: Table) -> tuple[WholeLabel, ...]:
    """`whole`: a list of tables { label, where }."""
    listed = data.raw("whole", [])
    if not isinstance(listed, list):
        raise data.wrong(f'"whole" must be a list of tables {{ label, where }}, not {shown(listed)}')
    found = []
    for number, values in enumerate(listed, 1):
        table = Table(values, f"{data.place}: whole {number}", RecipeError)
        found.append(WholeLabel(table.text("label"), _choices(table, "where")))
        if not found[-1].label or not found[-1].where:
            raise table.wrong('"label" and "where" must not be empty, as in { label = "rain", where.kind = "rain" }')
        table.close()
    return tuple(found)


def _choices(data: Table, key: str) -> dict[str, tuple[str, ...]]:
    """column -> values; a single value stands for a list of one."""
    chosen: dict[str, tuple[str, ...]] = {}
    for column, values in data.table(key).values.items():
        listed = values if isinstance(values, list) else [values]
        if not listed or not all(isinstance(value, str) for value in listed):
            what = f'"{key}.{column}" must be texts such as ["one", "two"], not {shown(values)}'
            raise data.wrong(what)
        chosen[column] = tuple(listed)
    return chosen
