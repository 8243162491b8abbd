"""The [data] table of a recipe: `data_settings`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from audiocnn.errors import RecipeError, show_name
from audiocnn.segments.segment import composed
from audiocnn.toml import TomlTable, repr_value

DEFAULT_SAMPLE_RATE = 16000
DEFAULT_GROUP = "group"
FILENAME_GROUP = "filename"  # every recording is a group of its own
_LABELS_PER_CLIP = ("one", "several")
_MOST_FOLDS = 1000
LABEL_SEPARATORS = (";", "|")  # between labels in one cell
COMMA = ","  # which may also be part of a name
_SHARED_KEYS = ("labels", "label_map", "labels_per_clip", "separator", "split", "sample_rate", "unsure")
TABLE_SUFFIXES = frozenset({".csv", ".tsv"})


@dataclass(frozen=True)
class WholeLabel:
    """A label for the whole of some recordings. where: column -> values, with wildcards * and ?; every column must
    match."""

    label: str
    where: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class DataSettings:
    """The recordings to use, and their labels.

    source: a folder or a table. recordings: a table with one row a recording. segments: a table in DCASE order; with
    it, every recording counts as annotated. keep, drop: column -> values. labels: the labels that count, in this order.
    label: the column with the label of the whole clip, or "folder". group: the column whose values, such as speakers,
    must stay in one part. whole: labels of whole recordings, of which the first match counts; if any are given, every
    recording counts as annotated. where: the beginning of messages.

    labels_per_clip: "one", or "several": a clip may have any number of labels, including none. separator: between
    labels in one cell of a table. group_pattern: a regular expression for file names, whose first group is the group.
    label_pattern: the same for the label of the whole clip, in a folder. corrections: tables of file names and their
    correct labels or segments; later tables take precedence. only_corrected: ignore recordings that no correction
    names, whatever their labels. fold: the column with the official folds. folds: how many to make if there are none.
    test_fold: the fold to test on. training_share: the share of the training part that is used. unsure: the label of
    segments whose content is unknown; "" if there are none. more: further sources, with the same labels. label_map: new
    names of labels, see `map_label`; they apply wherever labels are named.
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
    label_pattern: str | None = None
    corrections: Path | tuple[Path, ...] | None = None
    only_corrected: bool = False
    fold: str | None = None
    folds: int = 0
    test_fold: str | None = None
    training_share: float = 1.0
    unsure: str = ""
    more: tuple[DataSettings, ...] = ()
    label_map: Mapping[str, str] = field(default_factory=dict)

    @property
    def correction_tables(self) -> tuple[Path, ...]:
        given = self.corrections
        return () if given is None else (given,) if isinstance(given, Path) else given


def data_settings(table: object, base: Path, where: str, is_more: bool = False) -> DataSettings:
    """Read a [data] table. The path of `source` is relative to `base`, and those of tables to `source`; tables of
    recordings and segments may also be relative to `base`. is_more: the table is an entry of `more`. Raises
    RecipeError."""
    data = table if isinstance(table, TomlTable) else TomlTable(table, where, RecipeError)
    source = base / data.text("source", ".")
    root = source.parent if source.suffix.lower() in TABLE_SUFFIXES else source
    more = () if is_more else _more(data, base)
    recordings = data.text("recordings", None)
    segments = data.text("segments", None)
    corrections = _correction_tables(data, base)
    labels = data.texts("labels", None)
    if labels is not None and (not labels or "" in labels):
        raise data.wrong('"labels" must name at least one, as in ["speech"]; omit it to use all')
    settings = DataSettings(
        source=source,
        recordings=_find_table(recordings, root, base) if recordings is not None else None,
        segments=_find_table(segments, root, base) if segments is not None else None,
        keep=_choices(data, "keep"),
        drop=_choices(data, "drop"),
        split=data.text("split", None),
        labels=tuple(dict.fromkeys(map(composed, labels))) if labels is not None else None,
        label=data.text("label", None),
        group=data.text("group", DEFAULT_GROUP),
        whole=_whole(data),
        sample_rate=data.integer("sample_rate", DEFAULT_SAMPLE_RATE),
        where=where,
        labels_per_clip=data.text("labels_per_clip", "one", _LABELS_PER_CLIP),
        separator=data.text("separator", ""),
        group_pattern=data.text("group_pattern", None),
        label_pattern=data.text("label_pattern", None),
        corrections=corrections,
        only_corrected=data.flag("only_corrected", False),
        fold=data.text("fold", None),
        folds=data.integer("folds", 0, least=0, most=_MOST_FOLDS),
        test_fold=data.text("test_fold", None),
        training_share=data.number("training_share", 1.0, above=True, most=1.0),
        unsure=data.text("unsure", ""),
        more=more,
        label_map=_label_map(data),
    )
    data.close()
    _check(settings, data)
    return settings


def _correction_tables(data: TomlTable, base: Path) -> Path | tuple[Path, ...] | None:
    """`corrections`: the name of a table, or a list of names."""
    if isinstance(data.values.get("corrections"), list):
        return tuple(base / name for name in data.texts("corrections"))
    name = data.text("corrections", None)
    return None if name is None else base / name


def _find_table(name: str, root: Path, base: Path) -> Path:
    """A table in the source, or if it does not exist there, the one beside the recipe."""
    beside = base / name
    return beside if beside.is_file() and not (root / name).exists() else root / name


def _more(data: TomlTable, base: Path) -> tuple[DataSettings, ...]:
    """`more`: a list of tables like [data]. The keys that select recordings and labels are inherited from [data]."""
    listed = data.raw("more", [])
    if not isinstance(listed, list):
        raise data.wrong(f'"more" must be a list of tables, [[data.more]] one after another, not {repr_value(listed)}')
    shared = {key: data.values[key] for key in _SHARED_KEYS if key in data.values}
    found = []
    for number, values in enumerate(listed, 1):
        table = TomlTable(values, f"{data.place}: more {number}", RecipeError)
        if "source" not in table.values:
            raise table.wrong('"source" is missing; name a folder or a table')
        found.append(data_settings(shared | table.values, base, table.place, is_more=True))
    return tuple(found)


def _compile_pattern(pattern: str, where: str, key: str) -> re.Pattern[str]:
    """Raises RecipeError if this is not a regular expression, or has no group in parentheses."""
    try:
        found = re.compile(pattern)
    except re.error as problem:
        raise RecipeError(f'{where}: {key} "{pattern}" is not a regular expression ({problem}); correct it') from None
    if not found.groups:
        remedy = f"put parentheses around the {key.partition('_')[0]}, as in '^([^_]+)_'"
        raise RecipeError(f'{where}: {key} "{pattern}" has no group; {remedy}')
    return found


def find_by_pattern(names: Sequence[str], pattern: str, where: str, key: str = "group_pattern") -> list[str]:
    """For each file name, the first group of the pattern's match, or "" without a match. A pattern with a slash is
    matched against the path, any other against the name without its folders, which are labels more often than speakers.
    key: the pattern's name in a recipe.

    Raises RecipeError if the pattern matches none of the names.
    """
    wanted = _compile_pattern(pattern, where, key)
    seen = names if "/" in pattern else [name.rpartition("/")[2] for name in names]
    found = [wanted.search(name) for name in seen]
    groups = [(match.group(1) or "") if match else "" for match in found]
    if names and not any(groups):
        what = f'{key} "{pattern}" matches none of {len(names)} file names, such as {show_name(names[0])}'
        raise RecipeError(f"{where}: {what}; correct it")
    return groups


def _check(settings: DataSettings, data: TomlTable) -> None:
    """Raises RecipeError for keys that exclude each other."""
    if settings.unsure and settings.unsure in (settings.labels or ()):
        raise data.wrong(f'"unsure" and "labels" both name "{settings.unsure}"; keep one')
    if settings.separator and settings.labels_per_clip == "one":
        raise data.wrong('"separator" is for clips with several labels; add labels_per_clip = "several"')
    if settings.only_corrected and not settings.correction_tables:
        raise data.wrong('"only_corrected" needs "corrections"; name the table of the recordings to keep')
    if settings.group_pattern is not None:
        _compile_pattern(settings.group_pattern, data.place, "group_pattern")
        if settings.group != DEFAULT_GROUP:
            raise data.wrong('"group" and "group_pattern" both define groups; keep one')
    if settings.label_pattern is not None:
        _compile_pattern(settings.label_pattern, data.place, "label_pattern")
        if settings.recordings is not None or settings.segments is not None or settings.label is not None:
            raise data.wrong(
                '"label_pattern" is for a folder, but "recordings", "segments" and "label" already'
                " give labels; remove one"
            )
    if settings.fold is not None and settings.folds:
        raise data.wrong('"fold" names official folds, but "folds" makes new ones; keep one')
    if settings.folds == 1:
        raise data.wrong(
            '"folds" must be 2 or more, because each fold is tested on and the others are used for training'
        )


def _whole(data: TomlTable) -> tuple[WholeLabel, ...]:
    """`whole`: a list of tables { label, where }."""
    listed = data.raw("whole", [])
    if not isinstance(listed, list):
        raise data.wrong(f'"whole" must be a list of tables {{ label, where }}, not {repr_value(listed)}')
    found = []
    for number, values in enumerate(listed, 1):
        table = TomlTable(values, f"{data.place}: whole {number}", RecipeError)
        found.append(WholeLabel(table.text("label"), _choices(table, "where")))
        if not found[-1].label or not found[-1].where:
            raise table.wrong('"label" and "where" must not be empty, as in { label = "rain", where.kind = "rain" }')
        table.close()
    return tuple(found)


def _label_map(data: TomlTable) -> dict[str, str]:
    """`label_map`: label -> new name."""
    found = data.table("label_map").values
    if not all(isinstance(name, str) and name for name in found.values()):
        raise data.wrong('"label_map" must have a name for each label, as in { talk = "speech" }')
    return {composed(label): composed(name) for label, name in found.items()}


def _choices(data: TomlTable, key: str) -> dict[str, tuple[str, ...]]:
    """column -> values; a single value is a list of one."""
    chosen: dict[str, tuple[str, ...]] = {}
    for column, values in data.table(key).values.items():
        listed = values if isinstance(values, list) else [values]
        if not listed or not all(isinstance(value, str) for value in listed):
            what = f'"{key}.{column}" must be texts such as ["one", "two"], not {repr_value(values)}'
            raise data.wrong(what)
        chosen[column] = tuple(listed)
    return chosen
