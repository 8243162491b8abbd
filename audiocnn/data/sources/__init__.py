"""Reading of a source of recordings and labels (a folder, a table, a label file or a recipe) as items:
`read_source`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import chain, count
from pathlib import Path

from audiocnn.audio.find import AUDIO_SUFFIXES
from audiocnn.audio.remote import Remote
from audiocnn.data.dataset import Dataset, is_dataset
from audiocnn.data.parts import FOLD_COLUMN, PartNotes, name_list
from audiocnn.data.sources.corrections import apply_settings, correct_items, describe_changes, regroup_items
from audiocnn.data.sources.folders import (
    holds_labels,
    is_kaldi,
    kaldi_folders,
    read_folder,
    read_folder_at,
    read_folder_by_pattern,
    read_kaldi,
    read_kaldi_parts,
    read_label_file,
    recordings_in,
)
from audiocnn.data.sources.lists import parts_of_names, tables_beside
from audiocnn.data.sources.settings import (
    DEFAULT_GROUP,
    FILENAME_GROUP,
    DataSettings,
    data_settings,
)
from audiocnn.data.sources.tables import ReadTable, Refused, is_table, read_recordings, with_segments
from audiocnn.data.writer import Item
from audiocnn.errors import DatasetError, RecipeError, show_name
from audiocnn.labels.formats import read_makers
from audiocnn.labels.mapping import describe_unmapped, map_label
from audiocnn.toml import read_toml


@dataclass(frozen=True)
class SourceItems:
    """The items of a source in a fixed order, the refused files, and the settings of its recipe."""

    path: Path | Remote
    items: list[Item]
    refused: Refused
    labels: tuple[str, ...] | None = None
    sample_rate: int | None = None
    several: bool = False  # a clip may have several labels
    unsure: str = ""  # label of segments whose content is unknown
    parts: PartNotes = field(default_factory=PartNotes)
    notes: tuple[str, ...] = ()  # how it was interpreted, if that is ambiguous
    one_hot: bool = False  # its labels are columns of 0 and 1, and a clip has several of them
    origin: str = ""  # where the labels come from
    makers: tuple[str, ...] = ()  # models that made the labels

    @property
    def name(self) -> str:
        """The last part of the path, without a file suffix."""
        if isinstance(self.path, Remote):
            return self.path.place.name or "address"
        path = self.path.resolve()
        return path.stem if path.is_file() else path.name


def read_source(source: Path | Remote | DataSettings, left_out: Counter[str] | None = None) -> SourceItems:
    """Read a folder (local or at an address), a table, a label file, a recipe (.toml) or the [data] settings of a
    recipe. Files in folders that need ffmpeg are counted by suffix in `left_out` if ffmpeg is missing.

    Raises DatasetError, RecordingError, LabelError or RecipeError if the source is missing, empty, or has no labels.
    """
    if isinstance(source, DataSettings):
        return _read_settings(source, left_out)
    if isinstance(source, Remote):
        found = read_folder_at(source, left_out)
        return SourceItems(source, found.items, found.refused, parts=found.parts, notes=found.notes)
    name = show_name(source)
    if not source.exists():
        raise DatasetError(f"{name}: no such file or folder; check the name")
    if is_dataset(source):
        raise DatasetError(f"{name}: already a dataset; use it as it is, or name its source")
    if source.is_file() and source.suffix.lower() == ".toml":
        return replace(_read_settings(recipe_settings(source), left_out), path=source)
    return replace(_read_settings(DataSettings(source, where=name), left_out), sample_rate=None)


def corrections_line(settings: DataSettings) -> str:
    """One line about the changes that corrections made to a source or a dataset; "" without corrections."""
    if not settings.correction_tables:
        return ""
    if is_dataset(settings.source):
        dataset = Dataset.open(settings.source)
        return describe_changes(dataset.entries, apply_settings(dataset, settings).entries)
    items = _read_items(settings, None).items
    return describe_changes(items, correct_items(items, settings)[0])


def merge_items(sources: list[SourceItems]) -> tuple[list[Item], Refused, PartNotes]:
    """The items of all sources. With several sources, each file name begins with the name of its source, which may be
    that of a part."""
    if len(sources) == 1:
        return sources[0].items, sources[0].refused, sources[0].parts
    parts = parts_of_names([source.name for source in sources])
    notes = PartNotes()
    if parts:
        notes = PartNotes((f"splits by the sources {name_list(source.name for source in sources)}",))
        sources = [
            replace(
                source,
                items=[replace(item, split=item.split or part) for item in source.items],
                parts=replace(source.parts, said=()),  # of tables beside it
            )
            for source, part in zip(sources, parts, strict=True)
        ]
    items, refused = _named_after_sources(sources)
    return items, refused, sum((source.parts for source in sources), notes)


def _named_after_sources(sources: list[SourceItems]) -> tuple[list[Item], Refused]:
    """The items of sources, whose file names begin with the name of the source."""
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


def ordered_labels(sources: list[SourceItems]) -> list[str]:
    """The labels of recipes in their order, then all others in alphabetical order, without those that mean "unsure"."""
    given = list(dict.fromkeys(label for source in sources for label in source.labels or ()))
    items = [item for source in sources for item in source.items]
    used = {name for item in items for name in (*item.labels, item.whole) if name}
    used |= {a.label for item in items for a in item.annotations} - {source.unsure for source in sources}
    return given + sorted(used - set(given))


def recipe_settings(path: Path) -> DataSettings:
    """The [data] table of a recipe. Raises RecipeError if it has none."""
    recipe = read_toml(path, RecipeError)
    if "data" not in recipe:
        raise RecipeError(f"{show_name(path)}: no [data] table; add one that names the recordings")
    return data_settings(recipe["data"], path.parent, f"{show_name(path)}: [data]")


def _read_settings(settings: DataSettings, left_out: Counter[str] | None = None) -> SourceItems:
    read = _read_items(settings, left_out)
    items, refused, notes, several, parts = read.items, read.refused, read.notes, read.several, read.parts
    items, uncorrected = correct_items(items, settings)
    items, refused = regroup_items(items, settings), refused + uncorrected
    if settings.more:
        more = [_read_settings(one, left_out) for one in settings.more]
        further, unread = _named_after_sources(more)
        items, refused = items + further, refused + unread
        notes += tuple(note for one in more for note in one.notes)
        parts = sum((one.parts for one in more), parts)
    if not items:
        first = f"; the first error is: {refused[0][0]}: {refused[0][1]}" if refused else ""
        raise DatasetError(f"{settings.where}: none of its recordings can be read{first}")
    if settings.labels is not None:
        timed = any(item.annotated for item in items)
        items = [_keep_labels(item, settings, timed) for item in items]
    about = (settings.labels, settings.sample_rate, several or settings.labels_per_clip == "several", settings.unsure)
    origin = (read.origin, read.makers)
    return SourceItems(settings.source, items, refused, *about, parts, notes, several, *origin)


def _read_items(settings: DataSettings, left_out: Counter[str] | None) -> ReadTable:
    """The single entry point for reading recordings and their labels."""
    found = _read_labelled(settings, left_out)
    found = replace(found, origin=found.origin or _origin(settings))
    if not settings.label_map:
        return found
    notes = describe_unmapped(settings.label_map, {label for item in found.items for label in item.all_labels()})
    items = [_map_labels(item, settings.label_map) for item in found.items]
    return replace(found, items=items, notes=(*found.notes, *notes))


def _origin(settings: DataSettings) -> str:
    """Where the labels of recordings come from, if not from files beside them."""
    if settings.label_pattern is not None:
        return "the names of files"
    table = settings.segments or settings.recordings or settings.source
    return show_name(table) if table != settings.source or table.is_file() or is_kaldi(table) else "names of folders"


def _map_labels(item: Item, label_map: Mapping[str, str]) -> Item:
    """The item with its labels renamed by the label map."""
    first, *more = dict.fromkeys(map_label(label, label_map) for label in item.labels) or [None]
    return replace(
        item,
        label=first,
        more=tuple(filter(None, more)),
        whole=None if item.whole is None else map_label(item.whole, label_map),
        annotations=tuple(replace(one, label=map_label(one.label, label_map)) for one in item.annotations),
    )


def _read_labelled(settings: DataSettings, left_out: Counter[str] | None) -> ReadTable:
    """The same, with the original labels."""
    source = settings.source
    if not source.exists():
        what = f"no such file or folder {show_name(source)}"
        raise RecipeError(f'{settings.where}: "source": {what}; its path is relative to the recipe')
    if settings.recordings is not None:
        return read_recordings(settings)
    if settings.label_pattern is not None and source.is_file():
        raise RecipeError(
            f"{settings.where}: label_pattern is for a folder, but the source is a file; name its label column"
        )
    if source.is_file() and is_table(source):
        found = read_recordings(settings)
        return replace(found, parts=found.parts + _said_of_tables_beside(source))
    _check_without_table(settings)
    if source.is_file():
        if not holds_labels(source):
            what = "a single recording" if source.suffix.lower() in AUDIO_SUFFIXES else "not a source"
            remedy = "name a folder, a table (.csv, .tsv), a label file or a recipe (.toml)"
            raise DatasetError(f"{show_name(source)}: {what}; {remedy}")
        return replace(read_label_file(source, settings.label), makers=tuple(read_makers(source)))
    if settings.label_pattern is not None:
        return read_folder_by_pattern(settings, left_out)
    if settings.segments is not None:
        files, unread = recordings_in(source, left_out)
        items = [Item(path, path.relative_to(source).as_posix()) for path in files]
        found = with_segments(items, settings.segments, {item.filename for item in items}, settings.label)
        makers = () if settings.segments.is_dir() else tuple(read_makers(settings.segments))
        return replace(found, refused=unread + found.refused, makers=makers)
    if is_kaldi(source):
        return read_kaldi(source)
    if folders := kaldi_folders(source):
        return read_kaldi_parts(source, folders)
    cells = (settings.labels_per_clip, settings.separator)
    return read_folder(source, left_out, settings.label, not settings.correction_tables, *cells)


def _said_of_tables_beside(table: Path) -> PartNotes:
    others = tables_beside(table)
    if not others:
        return PartNotes()
    names = name_list(show_name(path.name) for path in others)
    what = f"{names} beside {show_name(table.name)} {'look' if others[1:] else 'looks'} like other parts"
    return PartNotes(said=(f"{what} and are not read; name the folder to read all",))


def _check_without_table(settings: DataSettings) -> None:
    """Raises RecipeError for keys that need a table."""
    if settings.keep or settings.drop or settings.split is not None or settings.whole or settings.label == "folder":
        what = 'keep, drop, split, whole and label = "folder" need a table'
        raise RecipeError(f'{settings.where}: {what}; name it in "recordings"')
    if settings.group not in (DEFAULT_GROUP, FILENAME_GROUP):
        what = f'group = "{settings.group}" names a column, but there is no table'
        raise RecipeError(f'{settings.where}: {what}; name it in "recordings", or use group_pattern')
    if settings.fold not in (None, FOLD_COLUMN):  # folders of folds also set this
        what = f'fold = "{settings.fold}" names a column, but there is no table'
        raise RecipeError(f'{settings.where}: {what}; name it in "recordings", or use folds')


def _keep_labels(item: Item, settings: DataSettings, timed: bool) -> Item:
    """The item with only the labels that count. If the data have annotations (`timed`), a clip with another label
    counts as a negative; otherwise it keeps its label, and training uses it as a negative or omits it."""
    labels, several = settings.labels or (), settings.labels_per_clip == "several"
    kept = tuple(a for a in item.annotations if a.label in labels or a.label == settings.unsure)
    item = replace(item, whole=item.whole if item.whole in labels else None)
    left = tuple(label for label in item.labels if label in labels)
    if several:
        return replace(item, annotations=kept, label=left[0] if left else None, more=left[1:])
    if item.label is None or item.label in labels or not timed:
        return replace(item, annotations=kept)
    return replace(item, annotations=kept, label=None, annotated=True)
