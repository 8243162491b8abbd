"""Sources: where recordings and their labels come from: a folder, a table or a recipe becomes items."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import Path

from audiocnn.addresses import Remote
from audiocnn.dataset import Dataset, is_dataset
from audiocnn.dataset_writer import Item
from audiocnn.errors import DatasetError, RecipeError
from audiocnn.filenames import AUDIO_SUFFIXES, find_recordings, show_name
from audiocnn.sources.corrections import apply_settings, changes_line, correct_items, regroup_items
from audiocnn.sources.folders import read_folder, read_folder_at
from audiocnn.sources.label_files import KALDI_TABLES, holds_labels, is_kaldi, read_label_file
from audiocnn.sources.settings import (
    DEFAULT_GROUP,
    DEFAULT_SAMPLE_RATE,
    FILENAME_GROUP,
    TABLE_SUFFIXES,
    DataSettings,
    data_settings,
)
from audiocnn.sources.tables import Refused, read_recordings, with_segments
from audiocnn.tables import read_toml

__all__ = [
    "DEFAULT_SAMPLE_RATE",
    "DataSettings",
    "Source",
    "apply_settings",
    "corrections_line",
    "data_settings",
    "labels_of",
    "named_apart",
    "read_source",
]


@dataclass(frozen=True)
class Source:
    """What a source says: items in a fixed order, what it names in vain, and what its recipe asks for."""

    path: Path | Remote
    items: list[Item]
    refused: Refused
    labels: tuple[str, ...] | None = None
    sample_rate: int | None = None
    several: bool = False  # labels a clip

    @property
    def name(self) -> str:
        """Without folders, and without a suffix where it is a file."""
        if isinstance(self.path, Remote):
            return self.path.place.name or "address"
        path = self.path.resolve()
        return path.stem if path.is_file() else path.name


def read_source(source: Path | Remote | DataSettings, left_out: Counter[str] | None = None) -> Source:
    """Read a folder (here or at an address), a table, a file of labels, a recipe (.toml) or the [data] settings of one.
    Files in folders that only ffmpeg reads are counted by suffix in `left_out` where there is none.

    DatasetError, RecordingError, LabelError, RecipeError: nothing there, nothing in it, nothing with labels.
    """
    if isinstance(source, DataSettings):
        return _read_settings(source, left_out)
    if isinstance(source, Remote):
        return Source(source, *read_folder_at(source, left_out))
    name = show_name(source)
    if not source.exists():
        raise DatasetError(f"{name}: no such file or folder; check the name")
    if is_dataset(source):
        raise DatasetError(f"{name}: a dataset already; use it as it is, or name what it was made from")
    if source.is_dir():
        if is_kaldi(source):
            return Source(source, *read_label_file(source / KALDI_TABLES[0]))
        return Source(source, *read_folder(source, left_out))
    suffix = source.suffix.lower()
    if holds_labels(source):
        return Source(source, *read_label_file(source))
    if suffix == ".toml":
        return replace(_read_settings(_recipe_settings(source), left_out), path=source)
    if suffix in TABLE_SUFFIXES:
        return replace(_read_settings(DataSettings(source, where=name)), sample_rate=None)
    what = "a recording alone" if suffix in AUDIO_SUFFIXES else "no source"
    raise DatasetError(f"{name}: {what}; name a folder, a table (.csv, .tsv), a file of labels or a recipe (.toml)")


def corrections_line(settings: DataSettings) -> str:
    """What the corrections of a source, or of a dataset that was made before, change; "" where there are none."""
    if settings.corrections is None:
        return ""
    plain = replace(settings, corrections=None)
    if is_dataset(settings.source):
        dataset = Dataset.open(settings.source)
        return changes_line(dataset.entries, apply_settings(dataset, settings).entries)
    return changes_line(read_source(plain).items, read_source(settings).items)


def named_apart(sources: list[Source]) -> tuple[list[Item], Refused]:
    """The items of all sources; of several, each name begins with the name of its source."""
    if len(sources) == 1:
        return sources[0].items, sources[0].refused
    items: list[Item] = []
    refused: Refused = []
    taken: set[str] = set()
    for source in sources:
        numbered = (f"{source.name}-{number}" for number in count(2))
        name = next(name for name in chain([source.name], numbered) if name not in taken)
        taken.add(name)
        items += [replace(item, filename=f"{name}/{item.filename}") for item in source.items]
        refused += [(f"{name}/{filename}", reason) for filename, reason in source.refused]
    return items, refused


def labels_of(sources: list[Source]) -> list[str]:
    """The labels that recipes give, in their order; after them all others that occur, sorted."""
    given = list(dict.fromkeys(label for source in sources for label in source.labels or ()))
    items = [item for source in sources for item in source.items]
    used = {name for item in items for name in (*item.labels, item.whole) if name}
    used |= {a.label for item in items for a in item.annotations}
    return given + sorted(used - set(given))


def _recipe_settings(path: Path) -> DataSettings:
    recipe = read_toml(path, RecipeError)
    if "data" not in recipe:
        raise RecipeError(f"{show_name(path)}: no [data] table; it says where the recordings are")
    return data_settings(recipe["data"], path.parent, f"{show_name(path)}: [data]")


def _read_settings(settings: DataSettings, left_out: Counter[str] | None = None) -> Source:
    items, refused = _read_items(settings, left_out)
    items, uncorrected = correct_items(items, settings)
    items, refused = regroup_items(items, settings), refused + uncorrected
    if not items:
        first = f"; the first is {refused[0][0]}: {refused[0][1]}" if refused else ""
        raise DatasetError(f"{settings.where}: not one of the recordings it names can be taken{first}")
    if settings.labels is not None:
        timed = any(item.annotated for item in items)
        items = [_only(item, settings.labels, settings.labels_per_clip == "several", timed) for item in items]
    several = settings.labels_per_clip == "several"
    return Source(settings.source, items, refused, settings.labels, settings.sample_rate, several)


def _read_items(settings: DataSettings, left_out: Counter[str] | None) -> tuple[list[Item], Refused]:
    if not settings.source.exists():
        what = f"no such file or folder {show_name(settings.source)}"
        raise RecipeError(f'{settings.where}: "source": {what}; it is looked for beside the recipe')
    if settings.recordings is not None or settings.source.is_file():
        return read_recordings(settings)
    _check_folder(settings)
    if settings.segments is None:
        return read_folder(settings.source, left_out)
    files = find_recordings([settings.source], left_out)
    items = [Item(path, path.relative_to(settings.source).as_posix(), annotated=True) for path in files]
    return with_segments(items, settings.segments, {item.filename for item in items})


def _check_folder(settings: DataSettings) -> None:
    """RecipeError: what only a table can say."""
    if settings.keep or settings.drop or settings.split is not None or settings.label is not None or settings.whole:
        what = "keep, drop, split, label and whole need a table"
        raise RecipeError(f'{settings.where}: {what}; name it in "recordings"')
    if settings.group not in (DEFAULT_GROUP, FILENAME_GROUP):
        what = f'group = "{settings.group}" is a column of a table, and there is none'
        raise RecipeError(f'{settings.where}: {what}; name it in "recordings", or use group_pattern')
    if settings.fold is not None:
        what = f'fold = "{settings.fold}" is a column of a table, and there is none'
        raise RecipeError(f'{settings.where}: {what}; name it in "recordings", or use folds')


def _only(item: Item, labels: tuple[str, ...], several: bool, timed: bool) -> Item:
    """The item with the labels that count. A clip of any other label is known to hold none of them: beside recordings
    with marks (`timed`) it has none, among clips it keeps its own, and the training counts it or leaves it out."""
    kept = tuple(a for a in item.annotations if a.label in labels)
    item = replace(item, whole=item.whole if item.whole in labels else None)
    left = tuple(label for label in item.labels if label in labels)
    if several:
        return replace(item, annotations=kept, label=left[0] if left else None, more=left[1:])
    if item.label is None or item.label in labels or not timed:
        return replace(item, annotations=kept)
    return replace(item, annotations=kept, label=None, annotated=True)
