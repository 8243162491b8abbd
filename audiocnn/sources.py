"""Sources: where recordings and their labels come from. A folder, a table or a recipe becomes a list of items."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from audiocnn.dataset import is_dataset
from audiocnn.dataset_writer import Item
from audiocnn.errors import DatasetError, LabelError, RecipeError, RecordingError, did_you_mean
from audiocnn.formats import READERS, dcase, label_reader
from audiocnn.formats.tables import Row, Table, read_table
from audiocnn.labels import Annotation
from audiocnn.recording import AUDIO_SUFFIXES, find_recordings, show_name

DEFAULT_SAMPLE_RATE = 16000
SPLIT_FOLDERS = frozenset({"train", "dev", "val", "valid", "validation", "test", "eval"})
_TABLE_SUFFIXES = frozenset({".csv", ".tsv"})
_OWN_COLUMNS = frozenset({"filename", "label", "event_label", "onset", "offset", "split", "group"})


@dataclass(frozen=True)
class DataSettings:
    """The [data] table of a recipe: which recordings, with which labels.

    source: a folder (or a table). recordings: a table with one row a recording. segments: a table in DCASE order; with it
    every recording counts as annotated. keep, drop: column -> values. labels: which, in this order; all others are "none
    of them". label: the column with the label of the whole clip, or "folder".
    """

    source: Path
    recordings: Path | None = None
    segments: Path | None = None
    keep: dict[str, tuple[str, ...]] = field(default_factory=dict)
    drop: dict[str, tuple[str, ...]] = field(default_factory=dict)
    split: str | None = None
    labels: tuple[str, ...] | None = None
    label: str | None = None
    sample_rate: int = DEFAULT_SAMPLE_RATE
    where: str = "[data]"


@dataclass(frozen=True)
class Source:
    """What a source says: items in a fixed order, what it names in vain, and what its recipe asks for."""

    path: Path
    items: list[Item]
    refused: list[tuple[str, str]]
    labels: tuple[str, ...] | None = None
    sample_rate: int | None = None


def data_settings(table: dict[str, Any], base: Path, where: str) -> DataSettings:
    """Check the [data] table of a recipe. Paths: source from `base`, the tables from source. RecipeError."""
    kinds: dict[str, type] = {
        "source": str, "recordings": str, "segments": str, "keep": dict, "drop": dict,
        "split": str, "labels": list, "label": str, "sample_rate": int,
    }  # fmt: skip
    for key, value in table.items():
        if key not in kinds:
            raise RecipeError(f'{where}: unknown key "{key}"; {did_you_mean(key, kinds)}')
        if not isinstance(value, kinds[key]) or isinstance(value, bool):
            kind = {str: "a text", dict: "a table", list: "a list", int: "a whole number"}[kinds[key]]
            raise RecipeError(f'{where}: "{key}" is {value!r}; expected {kind}')
    source = base / table.get("source", ".")
    root = source.parent if source.suffix.lower() in _TABLE_SUFFIXES else source
    rate = table.get("sample_rate", DEFAULT_SAMPLE_RATE)
    if rate < 1:
        raise RecipeError(f'{where}: "sample_rate" is {rate}; expected a rate in Hz such as {DEFAULT_SAMPLE_RATE}')
    labels = table.get("labels")
    if labels is not None and not (labels and all(isinstance(x, str) and x for x in labels)):
        raise RecipeError(f'{where}: "labels" is {labels!r}; expected names such as ["speech"], or leave it out for all')
    return DataSettings(
        source=source,
        recordings=root / table["recordings"] if "recordings" in table else None,
        segments=root / table["segments"] if "segments" in table else None,
        keep=_choices(table, "keep", where),
        drop=_choices(table, "drop", where),
        split=table.get("split"),
        labels=tuple(dict.fromkeys(labels)) if labels is not None else None,
        label=table.get("label"),
        sample_rate=rate,
        where=where,
    )


def read_source(source: Path | DataSettings) -> Source:
    """Read a folder, a table, a recipe (.toml) or the settings of one. DatasetError, RecordingError, LabelError or
    RecipeError: nothing there, nothing in it, nothing that says the labels."""
    if isinstance(source, DataSettings):
        return _settings_source(source)
    name = show_name(source)
    if not source.exists():
        raise DatasetError(f"{name}: no such file or folder; check the name")
    if is_dataset(source):
        raise DatasetError(f"{name}: a dataset already; use it as it is, or name the recordings it was made from")
    if source.is_dir():
        items, refused = _folder(source)
        return Source(source, items, refused)
    suffix = source.suffix.lower()
    if suffix == ".toml":
        return replace(_settings_source(_recipe_settings(source)), path=source)
    if suffix in _TABLE_SUFFIXES:
        return _settings_source(DataSettings(source, where=name))
    what = "a recording alone" if suffix in AUDIO_SUFFIXES else "no source"
    raise DatasetError(f"{name}: {what}; name a folder, a table (.csv, .tsv) or a recipe (.toml)")


def _recipe_settings(path: Path) -> DataSettings:
    import tomllib

    name = show_name(path)
    try:
        recipe = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecipeError(f"{name}: not a recipe that can be read ({error})") from None
    data = recipe.get("data")
    if not isinstance(data, dict):
        raise RecipeError(f"{name}: no [data] table; it says where the recordings are")
    return data_settings(data, path.parent, f"{name}: [data]")


def _choices(table: dict[str, Any], key: str, where: str) -> dict[str, tuple[str, ...]]:
    """column -> allowed values; a single value stands for a list of one."""
    chosen: dict[str, tuple[str, ...]] = {}
    for column, values in table.get(key, {}).items():
        listed = values if isinstance(values, list) else [values]
        if not listed or not all(isinstance(value, str) for value in listed):
            raise RecipeError(f'{where}: "{key}.{column}" is {values!r}; expected texts such as ["one", "two"]')
        chosen[column] = tuple(listed)
    return chosen


def _settings_source(settings: DataSettings) -> Source:
    if not settings.source.exists():
        raise RecipeError(f"{settings.where}: no folder {show_name(settings.source)}; correct `source`")
    table_path = settings.recordings or (settings.source if settings.source.is_file() else None)
    if table_path is not None:
        items, refused = _table(settings, read_table(table_path))
    elif settings.keep or settings.drop or settings.split:
        raise RecipeError(f"{settings.where}: keep, drop and split choose rows; name the table in `recordings`")
    elif settings.segments is not None:
        files = find_recordings([settings.source])
        bare = [Item(path, path.relative_to(settings.source).as_posix(), annotated=True) for path in files]
        items, refused = _with_segments(bare, settings.segments, {item.filename for item in bare})
    else:
        items, refused = _folder(settings.source)
    if not items:
        first = f", for example {refused[0][0]}: {refused[0][1]}" if refused else ""
        raise DatasetError(f"{settings.where}: not one of the recordings it names can be read{first}")
    if settings.labels is not None:
        items = [_only(item, settings.labels) for item in items]
    return Source(settings.source, items, refused, settings.labels, settings.sample_rate)


def _only(item: Item, labels: tuple[str, ...]) -> Item:
    """The item with the labels that count; a clip of any other label is known to hold none of them."""
    kept = tuple(a for a in item.annotations if a.label in labels)
    if item.label is None or item.label in labels:
        return replace(item, annotations=kept)
    return replace(item, annotations=kept, label=None, annotated=True)


# Tables


def _table(settings: DataSettings, table: Table) -> tuple[list[Item], list[tuple[str, str]]]:
    table.need("filename")
    _check_columns(settings, table)
    root = settings.source if settings.source.is_dir() else table.path.parent
    rows: dict[str, list[tuple[int, Row]]] = {}
    for number, row in table.rows:
        rows.setdefault(dcase.normal_name(row["filename"]), []).append((number, row))
    kept = {name: found for name, found in rows.items() if _chosen(found[0][1], settings)}
    if not kept:
        raise RecipeError(f"{settings.where}: no row of {show_name(table.path)} is left by keep, drop and split")
    items: list[Item] = []
    refused: list[tuple[str, str]] = []
    for name, found in kept.items():
        try:
            items.append(_row_item(settings, table, root / name, name, found))
        except RecordingError as error:
            refused.append((name, str(error)))
    if settings.segments is not None:
        items, more = _with_segments(items, settings.segments, set(rows))
        refused += more
    return items, refused


def _check_columns(settings: DataSettings, table: Table) -> None:
    asked = [*settings.keep, *settings.drop]
    asked += ["split"] if settings.split is not None else []
    asked += [settings.label] if settings.label not in (None, "folder") else []
    for column in asked:
        if column not in table.columns:
            hint = did_you_mean(str(column), table.columns)
            raise RecipeError(f'{settings.where}: {show_name(table.path)} has no column "{column}"; {hint}')
    says_label = settings.label or settings.segments or set(dcase.LABEL_COLUMNS) & set(table.columns)
    if not says_label:
        raise LabelError(
            f"{show_name(table.path)}:1: no column label; found {', '.join(table.columns)}; add it, or name another"
            " one in a recipe (`label = ...` or `segments = ...`)"
        )


def _chosen(row: Row, settings: DataSettings) -> bool:
    if settings.split is not None and row["split"] != settings.split:
        return False
    kept = all(row[column] in values for column, values in settings.keep.items())
    return kept and not any(row[column] in values for column, values in settings.drop.items())


def _row_item(settings: DataSettings, table: Table, path: Path, name: str, rows: list[tuple[int, Row]]) -> Item:
    if not path.is_file():
        raise RecordingError(f"no such file, but line {rows[0][0]} of {show_name(table.path)} names it")
    timed = "onset" in table.columns and settings.segments is None
    annotations: list[Annotation] = []
    labels: set[str] = set()
    for number, row in rows:
        annotation = None
        if timed and (row.get("onset") or row.get("offset") or not dcase.label_in(row)):
            annotation = dcase.annotation_of(row, table.path, number)
        elif label := _clip_label(settings, row, path):
            labels.add(label)
        if annotation is not None:
            annotations.append(annotation)
    if len(labels) > 1:
        both = ", ".join(sorted(labels))
        raise RecordingError(f"more than one label for the whole clip ({both}) in {show_name(table.path)}; keep one")
    first = rows[0][1]
    label = next(iter(labels), None)
    return Item(
        path=path,
        filename=name,
        label=label,
        annotated=settings.segments is not None or (timed and label is None),
        annotations=tuple(annotations),
        group=first.get("group", ""),
        split=first.get("split") or None,
        tags={key: value for key, value in first.items() if key not in _OWN_COLUMNS and value},
    )


def _clip_label(settings: DataSettings, row: Row, path: Path) -> str:
    if settings.label == "folder":
        return path.parent.name
    if settings.label is not None:
        return row[settings.label]
    return dcase.label_in(row) if settings.segments is None else ""


def _with_segments(
    items: list[Item], segments: Path, known: set[str]
) -> tuple[list[Item], list[tuple[str, str]]]:
    found = dcase.read(segments)
    strangers = [(name, f"{show_name(segments)} names it, but there is no such recording") for name in found.keys() - known]
    return [replace(item, annotations=tuple(found.get(item.filename, ()))) for item in items], sorted(strangers)


# Folders


def _folder(root: Path) -> tuple[list[Item], list[tuple[str, str]]]:
    """Labels beside the recordings if there is a file of them, else one folder a label."""
    audio = list(find_recordings([root]))
    files = list(_label_files(root, audio))
    if files:
        return _labels_beside(root, audio, files)
    parts = {path: path.relative_to(root).parts for path in audio}
    inside = [names for names in parts.values() if len(names) > 1]
    if not inside:
        beside = " ".join(suffix for suffixes in READERS.values() for suffix in suffixes)
        raise LabelError(
            f"{show_name(root)}: no labels; make one subfolder a label, put a file of labels ({beside}) beside each"
            " recording, or name a table"
        )
    split_first = all(names[0] in SPLIT_FOLDERS and len(names) > 2 for names in inside)
    items: list[Item] = []
    refused: list[tuple[str, str]] = []
    for path, names in parts.items():
        name = "/".join(names)
        if len(names) == 1:
            refused.append((name, "lies beside the folders that say the label; move it into one of them"))
        else:
            label, split = (names[1], names[0]) if split_first else (names[0], None)
            items.append(Item(path, name, label=label, split=split))
    return items, refused


def _labels_beside(
    root: Path, audio: list[Path], files: list[tuple[str, Path]]
) -> tuple[list[Item], list[tuple[str, str]]]:
    beside: dict[tuple[Path, str], list[Path]] = {}
    anywhere: dict[str, list[Path]] = {}
    for path in audio:
        beside.setdefault((path.parent, path.stem), []).append(path)
        anywhere.setdefault(path.stem, []).append(path)
    found: dict[Path, tuple[str, list[Annotation]]] = {}
    refused: list[tuple[str, str]] = []
    broken: set[Path] = set()
    for kind, file in files:
        try:
            labels = label_reader(kind)(file)
        except LabelError as error:
            refused.append((file.relative_to(root).as_posix(), str(error)))
            broken.update(beside.get((file.parent, file.stem), ()))
            continue
        if (file.parent, file.stem) in beside:
            labels.setdefault(file.stem, [])
        for name, annotations in labels.items():
            stem = Path(name).stem if Path(name).suffix.lower() in AUDIO_SUFFIXES else name
            targets = beside.get((file.parent, stem)) or anywhere.get(stem, [])
            if len(targets) != 1 and (file.parent, stem) not in beside:
                why = "there is no such recording" if not targets else f"{len(targets)} recordings have this name"
                refused.append((name, f"{show_name(file)} names it, but {why}"))
                continue
            for path in targets:
                known = found.setdefault(path, (kind, []))
                if known[0] == kind:
                    known[1].extend(annotations)
    items = []
    for path in audio:
        name = path.relative_to(root).as_posix()
        if path in found and path not in broken:
            items.append(Item(path, name, annotated=True, annotations=tuple(found[path][1])))
        elif path not in broken:
            refused.append((name, "no labels beside it, while others have them; add a file of labels, empty if need be"))
    return items, refused


def _label_files(root: Path, audio: Iterable[Path]) -> Iterator[tuple[str, Path]]:
    """(format, file): every RTTM file, and others where a recording of the same stem lies beside them."""
    stems = {(path.parent, path.stem) for path in audio}
    files = sorted(path for path in root.rglob("*") if not path.name.startswith(".") and path.is_file())
    for kind, suffixes in READERS.items():
        for path in files:
            if path.suffix.lower() not in suffixes:
                continue
            if kind == "rttm" or ((path.parent, path.stem) in stems and (kind != "audacity" or _has_tab(path))):
                yield kind, path


def _has_tab(path: Path) -> bool:
    """A .txt without a tab in its first line is a transcript or a note, not a label track; an empty one has no labels."""
    with path.open("rb") as file:
        first = file.readline(4096)
    return not first.strip() or b"\t" in first
