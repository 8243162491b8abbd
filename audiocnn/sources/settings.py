"""The [data] table of a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from audiocnn.errors import RecipeError
from audiocnn.sources.grouping import check_pattern
from audiocnn.tables import Table, shown

DEFAULT_SAMPLE_RATE = 16000
DEFAULT_GROUP = "group"
FILENAME_GROUP = "filename"  # every recording stands alone
LABELS_PER_CLIP = ("one", "several")
MOST_FOLDS = 1000
SEPARATORS = (";", "|")  # that stand between labels in one cell; a comma may belong to a name
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

    labels_per_clip: "one", or "several": a clip may have none of the labels, or more than one. separator: of labels
    in one cell of a table. group_pattern: a regular expression for file names, whose first group is the group.
    corrections: a table of file names and the labels that they have instead. fold: the column with the official
    folds; folds: how many are made where there are none; test_fold: the one that this training is tested on.
    training_share: how much of what could be learned from is.
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
    labels_per_clip: str = "one"
    separator: str = ""
    group_pattern: str | None = None
    corrections: Path | None = None
    fold: str | None = None
    folds: int = 0
    test_fold: str | None = None
    training_share: float = 1.0


def data_settings(table: object, base: Path, where: str) -> DataSettings:
    """Check a [data] table. `source` is looked for from `base`, the tables from `source`; RecipeError."""
    data = Table(table, where, RecipeError)
    source = base / data.text("source", ".")
    root = source.parent if source.suffix.lower() in TABLE_SUFFIXES else source
    recordings = data.text("recordings", None)
    segments = data.text("segments", None)
    corrections = data.text("corrections", None)
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
        labels_per_clip=data.text("labels_per_clip", "one", LABELS_PER_CLIP),
        separator=data.text("separator", ""),
        group_pattern=data.text("group_pattern", None),
        corrections=base / corrections if corrections is not None else None,
        fold=data.text("fold", None),
        folds=data.integer("folds", 0, least=0, most=MOST_FOLDS),
        test_fold=data.text("test_fold", None),
        training_share=data.number("training_share", 1.0, above=True, most=1.0),
    )
    data.close()
    _check(settings, data)
    return settings


def _check(settings: DataSettings, data: Table) -> None:
    """RecipeError: keys that do not go together."""
    if settings.separator and settings.labels_per_clip == "one":
        raise data.wrong('"separator" is for clips with several labels; add labels_per_clip = "several"')
    if settings.group_pattern is not None:
        check_pattern(settings.group_pattern, data.place)
        if settings.group != DEFAULT_GROUP:
            raise data.wrong('"group" and "group_pattern" both say what is kept together; keep one')
    if settings.fold is not None and settings.folds:
        raise data.wrong('"fold" names official folds and "folds" makes others; keep one')
    if settings.folds == 1:
        raise data.wrong('"folds" must be 2 or more: each is tested on once, and learned from in the others')
    if settings.test_fold is not None and settings.fold is None and not settings.folds:
        raise data.wrong('"test_fold" needs "fold", the column with folds, or "folds", how many to make')


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
