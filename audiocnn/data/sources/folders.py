"""Reading of folders of recordings whose labels come from label files beside them or from subfolders, and of label
files."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from audiocnn.audio.find import (
    AUDIO_SUFFIXES,
    EntryError,
    entry_path,
    find_recordings,
    is_folder,
    is_hidden,
    walk_folder,
)
from audiocnn.audio.remote import Remote, recordings_at
from audiocnn.data.parts import (
    PartFolders,
    PartNotes,
    UnusedPart,
    find_part_folders,
    find_wrapper,
    fold_named,
    name_list,
    part_named,
    parts_in_names,
    unused_part_folders,
)
from audiocnn.data.sources.lists import find_part_lists, read_tables
from audiocnn.data.sources.settings import DataSettings, find_by_pattern
from audiocnn.data.sources.tables import ReadTable, Refused, is_table
from audiocnn.data.writer import Item
from audiocnn.errors import DatasetError, LabelError, as_argument, format_command, show_name
from audiocnn.labels.formats import (
    FORMATS,
    READERS,
    SUBTITLES,
    TABLES,
    find_label_column,
    has_columns,
    label_format,
    read_labels,
    read_makers,
    recording_stem,
)
from audiocnn.labels.formats.base import base_name
from audiocnn.labels.formats.columns import LABEL_OPTION, LabelColumn
from audiocnn.labels.formats.kaldi import FILE_TABLE, LABEL_TABLE, SEGMENT_TABLE, read_pairs
from audiocnn.labels.formats.sniff import sniff_file
from audiocnn.labels.lookup import Recordings, from_windows
from audiocnn.segments.segment import Annotation
from audiocnn.units import count_noun

_LABEL_WORDS = 3  # words in a label; transcripts mostly have more
_LABELLED_SHARE = 0.5  # of the recordings; if fewer have a label file, folders give the labels
_JSON_SUFFIXES = (".json", ".jsonl", ".ndjson", ".gz")  # may contain anything, so the content is examined
_BESIDE_FORMATS = {kind: suffixes for kind, suffixes in READERS.items() if kind not in SUBTITLES}
_SUBTITLE_FORMATS = {kind: READERS[kind] for kind in SUBTITLES}  # read only if nothing else gives labels
_BESIDE_SUFFIXES = tuple(dict.fromkeys(suffix for suffixes in _BESIDE_FORMATS.values() for suffix in suffixes))


def holds_labels(path: Path) -> bool:
    """Whether a file is a label file, by its name and, if the name is ambiguous, by its beginning; tables are not."""
    if is_table(path) or not any(one.fits(path) for one in FORMATS.values()):
        return False
    return path.suffix.lower() not in _JSON_SUFFIXES or sniff_file(path) is not None


def is_kaldi(folder: Path) -> bool:
    """Whether a folder is a Kaldi data directory, with segments or labels of whole recordings."""
    return (folder / FILE_TABLE).is_file() and any((folder / name).is_file() for name in (SEGMENT_TABLE, LABEL_TABLE))


def read_kaldi(folder: Path) -> ReadTable:
    """Items of a Kaldi data directory: those in `segments` if it exists, otherwise whole recordings with labels."""
    if (folder / SEGMENT_TABLE).is_file():
        return read_label_file(folder / SEGMENT_TABLE)
    recordings, labels = Recordings(folder), read_pairs(folder / LABEL_TABLE, "utterance-id", "label")
    items: list[Item] = []
    refused: Refused = []
    for own, file in read_pairs(folder / FILE_TABLE, "recording-id", "file").items():
        found = None if file.endswith("|") else recordings.find(file, folder / FILE_TABLE)
        if found is None:
            why = (
                "it is the output of a command; write it to a file"
                if file.endswith("|")
                else "there is no such recording"
            )
            refused.append((show_name(own), f"listed in {show_name(folder / FILE_TABLE)}, but {why}"))
        elif own not in labels:
            refused.append((show_name(own), f"{show_name(folder / LABEL_TABLE)} has no label for it; add one"))
        else:
            items.append(Item(found, _name(found, folder), label=labels[own]))
    return ReadTable(items, refused)


def kaldi_folders(folder: Path) -> list[Path]:
    """At least two Kaldi data directories in a folder that is not one itself; otherwise empty."""
    if is_kaldi(folder):
        return []
    found = sorted(path for path in folder.iterdir() if is_folder(path) and is_kaldi(path))
    return found if len(found) > 1 else []


def read_kaldi_parts(root: Path, folders: Sequence[Path]) -> ReadTable:
    """Items of Kaldi data directories that are named like parts. Raises LabelError if they are not."""
    names = [path.name for path in folders]
    parts = parts_in_names(names)
    if not parts:
        fact = f"the Kaldi folders {name_list(names)} are not named like parts, such as train and test"
        raise LabelError(f"{show_name(root)}: {fact}; name one of them, or rename them")
    items: dict[str, Item] = {}
    refused: Refused = []
    notes = dict[str, None]()
    for path in folders:
        found = read_kaldi(path)
        notes |= dict.fromkeys(found.notes)
        refused += [(f"{path.name}/{name}", reason) for name, reason in found.refused]
        for item in found.items:
            name = item.filename if Path(item.filename).is_absolute() else f"{path.name}/{item.filename}"
            if name in items:
                refused.append((name, f"listed in {show_name(path)} and in {items[name].split}; keep it in one"))
                continue
            items[name] = replace(item, filename=name, split=parts[path.name])
    said = PartNotes((f"splits by the Kaldi folders {name_list(names)}",))
    return ReadTable(list(items.values()), refused, tuple(notes), parts=said)


def read_label_file(path: Path, label_column: str | None = None) -> ReadTable:
    """Items in the order of the file; recordings are searched for below its folder. Raises LabelError if it cannot be
    read."""
    recordings = Recordings(path.parent)
    known: dict[Path, list[Annotation]] = {}
    refused: Refused = []
    column = find_label_column(path, None, label_column)
    for name, found_in_it in read_labels(path, None, label_column).items():
        found = recordings.find(name, path)
        if found is None:
            why = "there is no such recording, or several; correct the name"
            refused.append((show_name(name), f"listed in {show_name(path)}, but {why}"))
            continue
        known.setdefault(found, []).extend(found_in_it)
    items = [
        Item(found, _name(found, path.parent), annotated=True, annotations=tuple(found_in_it))
        for found, found_in_it in known.items()
    ]
    return ReadTable(items, refused, (f"{show_name(path)}: {column.describe()}",) if column and column.told else ())


def _name(recording: Path, folder: Path) -> str:
    """The path of a recording relative to the folder, or its whole path if it is elsewhere."""
    inside = os.path.relpath(recording, folder)
    return recording.as_posix() if inside.startswith(os.pardir) else Path(inside).as_posix()


def read_folder(
    root: Path,
    left_out: Counter[str] | None = None,
    label_column: str | None = None,
    need_labels: bool = True,
    labels_per_clip: str = "one",
    separator: str = "",
) -> ReadTable:
    """Items sorted by name. Files that need ffmpeg are counted in `left_out` if ffmpeg is missing. need_labels:
    recordings without labels are refused; otherwise they become items without labels. labels_per_clip, separator: of
    tables in the folder. Raises RecordingError if there is no audio, LabelError if there are no labels, or if the label
    column of its tables is ambiguous."""
    audio, unread = recordings_in(root, left_out)
    tables = DataSettings(root, label=label_column, labels_per_clip=labels_per_clip, separator=separator)
    try:
        found = _with_labels(root, audio, tables)
    except LabelError:
        if need_labels or label_column is not None:
            raise
        found = ReadTable([], [])
    if not need_labels:
        names = {item.filename: item for item in found.items}
        every = {path.relative_to(root).as_posix(): path for path in audio}
        items = [names.get(name) or Item(path, name) for name, path in every.items()]
        left = [(name, reason) for name, reason in found.refused if name not in every]
        found = replace(found, items=items, refused=left)
    return replace(found, refused=unread + found.refused)


def read_folder_by_pattern(settings: DataSettings, left_out: Counter[str] | None = None) -> ReadTable:
    """Like `read_folder`, but `label_pattern` extracts the labels from file names. Raises RecipeError if it matches
    none."""
    root, pattern = settings.source, settings.label_pattern or ""
    audio, refused = recordings_in(root, left_out)
    names = [path.relative_to(root).as_posix() for path in audio]
    labels = find_by_pattern(names, pattern, settings.where, "label_pattern")
    parts = find_part_folders([name.split("/") for name in names])
    found = zip(audio, names, labels, strict=True)
    items = _in_parts([Item(path, name, label=label) for path, name, label in found if label], parts)
    why = f'label_pattern "{pattern}" does not match; correct it, or remove the file'
    refused += [(name, why) for name, label in zip(names, labels, strict=True) if not label]
    return _listed_in(root, ReadTable(items, refused, parts=parts.notes if parts else PartNotes()))


def recordings_in(root: Path, left_out: Counter[str] | None = None) -> tuple[list[Path], Refused]:
    """The recordings in a folder, and entries that look like recordings or folders but cannot be read. Raises
    RecordingError if there is no audio."""
    found = list(find_recordings([root], left_out))
    audio = [one for one in found if not isinstance(one, EntryError)]
    unread = [one for one in found if isinstance(one, EntryError)]
    if not audio:
        raise unread[0]
    return audio, [(one.path.relative_to(root).as_posix(), one.reason) for one in unread]


def _with_labels(root: Path, audio: list[Path], tables: DataSettings) -> ReadTable:
    """tables: how tables with labels are read."""
    label_column = tables.label
    beside = _LabelFiles(root, audio, label_column)
    files = list(_label_files(root, beside, _BESIDE_FORMATS)) or _files_apart(root, beside)
    paths = [path.relative_to(root).parts for path in audio]
    inside = [names for names in paths if len(names) > 1]
    parts = find_part_folders(paths)
    odd = _odd_files(files, beside) if len(inside) == len(paths) else []
    if len(odd) < len(files):
        return _of_parts(beside.read(files), parts)
    labels = {label for names in inside if (label := _label(names, parts)) is not None}
    if len(labels) < 2 and (found := read_tables(tables, audio)) is not None:
        return found if found.parts.parts else _listed_in(root, found)
    if label_column is not None:
        raise LabelError(f"{show_name(root)}: no table of labels beside the recordings; omit {LABEL_OPTION}")
    if not labels and (subtitles := list(_label_files(root, beside, _SUBTITLE_FORMATS))):
        return _of_parts(beside.read(subtitles), parts)
    if not labels:
        raise LabelError(_no_labels(root, parts))
    parts, notes = _noted_folders(root.resolve().name, paths, labels, parts)
    items, refused = _label_folders(zip(audio, paths, strict=True), parts)
    refused += _empty_folders(root, inside, parts) + _said_of_odd(root, odd) + beside.refused
    return _listed_in(root, ReadTable(items, refused, parts=notes))


def _of_parts(found: ReadTable, parts: PartFolders | None) -> ReadTable:
    """The result, with the parts that folders state."""
    return replace(found, items=_in_parts(found.items, parts), parts=parts.notes) if parts else found


def _label(names: Sequence[str], parts: PartFolders | None) -> str | None:
    return parts.label(names) if parts else names[0]


def _no_labels(root: Path, parts: PartFolders | None) -> str:
    table = "name a table, or put one with a row for each recording into the folder"
    if parts:
        fact = f"{parts.notes.understood[0]}, but no labels"
        return f"{show_name(root)}: {fact}; make a subfolder for each label in each of them, or {table}"
    beside = f"put a label file ({' '.join(_BESIDE_SUFFIXES)}) beside each recording"
    page = f"or listen and label with `{format_command(['audiocnn', 'review', as_argument(root)])}`"
    return f"{show_name(root)}: no labels; make a subfolder for each label, {beside}, {table}, {page}"


def _in_parts(items: Iterable[Item], parts: PartFolders | None) -> list[Item]:
    """The items with the parts that their folders state."""
    if parts is None:
        return list(items)
    named = [(item, tuple(item.filename.split("/"))) for item in items]
    return [replace(item, split=parts.split(names), tags=item.tags | parts.tags(names)) for item, names in named]


def _listed_in(root: Path, found: ReadTable) -> ReadTable:
    """The result, with the parts that lists in the folder state, unless other parts are defined."""
    notes = found.parts
    lists = find_part_lists(root, [item.filename for item in found.items])
    if lists is None:
        return found
    if notes.parts or notes.folds:
        files = name_list(show_name(path.relative_to(root)) for path in lists.files)
        fact = f"the lists {files} also look like parts, but are not used, because there are {notes.understood[-1]}"
        unused = (UnusedPart(f"{fact}; keep one"),) if lists.files else ()
        return replace(found, parts=notes + PartNotes(unused=unused))
    read = {path.relative_to(root).parts[0] + "/" for path in lists.files}  # these folders hold no labels
    refused = [one for one in found.refused if one[0] not in read]
    items = [_labelled_below(item, lists.below) for item in found.items] if lists.below else found.items
    return replace(found, items=lists.apply(items), refused=refused, parts=notes + lists.notes)


def _labelled_below(item: Item, below: str) -> Item:
    """The item with the folder after `below` as its label, if the first folder was its label."""
    names = item.filename.split("/")
    number = below.count("/") + 1
    inside = item.filename.startswith(f"{below}/") and len(names) > number + 1 and item.label == names[0]
    return replace(item, label=names[number]) if inside else item


def _files_apart(root: Path, beside: _LabelFiles) -> list[tuple[str, Path]]:
    """Label files in folders of their own, each named like one recording elsewhere below the root. Empty unless most of
    the recordings have one."""
    found = _label_files(root, beside, _BESIDE_FORMATS, apart=True)
    files = [(kind, file) for kind, file in found if kind not in TABLES or sniff_file(file) in TABLES]
    return files if len(files) >= _LABELLED_SHARE * len(beside.audio) else []


def _odd_files(files: Sequence[tuple[str, Path]], beside: _LabelFiles) -> list[Path]:
    """All label files, if only a few recordings have one and folders give the labels: then they are notes or features.
    Empty if they are labels."""
    named = {(file.parent, recording_stem(file, kind)) for kind, file in files}
    if any(key not in beside.here for key in named):  # it names recordings elsewhere
        return []
    return [file for _, file in files] if len(named) < _LABELLED_SHARE * len(beside.here) else []


def _said_of_odd(root: Path, files: Iterable[Path]) -> Refused:
    """Notes about files that are not read, except for empty ones."""
    why = "looks like a label file for the recording beside it, but others have none; not read: folders give the labels"
    return [(file.relative_to(root).as_posix(), why) for file in files if file.stat().st_size]


def read_folder_at(root: Remote, left_out: Counter[str] | None = None) -> ReadTable:
    """Like `read_folder` for an address, where labels can only be names of subfolders. Raises DatasetError if it is not
    a folder."""
    found = list(recordings_at(root.url, left_out=left_out))
    places = [(Remote(place.url), place.inside.parts) for place in found if place.inside is not None]
    if not places:
        what = "not a folder; name the folder with the recordings, or a local table, which may list addresses"
        raise DatasetError(f"{show_name(root)}: {what}")
    inside = [names for _, names in places if len(names) > 1]
    parts = find_part_folders(inside)
    labels = {label for names in inside if (label := _label(names, parts)) is not None}
    if not labels:
        what = "no labels; at an address, subfolders give the labels; otherwise name a local table"
        raise LabelError(f"{show_name(root)}: {what}")
    parts, notes = _noted_folders(root.place.name, [names for _, names in places], labels, parts)
    return ReadTable(*_label_folders(places, parts), parts=notes)


def _noted_folders(
    root_name: str, paths: Sequence[Sequence[str]], labels: set[str], parts: PartFolders | None
) -> tuple[PartFolders | None, PartNotes]:
    """The folders of parts, or of labels inside a single common folder; and notes about them."""
    if parts:
        return parts, parts.notes + _unlabelled([names for names in paths if len(names) > 1], parts)
    if len(labels) == 1 and (wrapper := find_wrapper(paths, root_name)):
        around = "/".join(paths[0][: wrapper.level + 1])
        inner = {names[wrapper.level + 1] for names in paths}
        said = (f'labels by the folders in "{show_name(around)}"',)
        return wrapper, PartNotes(said=said, unused=unused_part_folders(inner))
    return None, PartNotes(unused=unused_part_folders(labels))


def _unlabelled(inside: Iterable[Sequence[str]], parts: PartFolders) -> PartNotes:
    """Notes about folders of parts or folds without any labelled recording."""
    folders = {names[parts.level] for names in inside}
    labelled = {names[parts.level] for names in inside if parts.label(names) is not None}
    remedy = "sort them into folders of labels, or remove the folder"
    return PartNotes(
        unused=tuple(
            UnusedPart(f'the folder "{name}" looks like a part, but its recordings have no label; {remedy}')
            for name in sorted(folders - labelled)
        )
    )


def _label_folders(
    places: Iterable[tuple[Path | Remote, tuple[str, ...]]], parts: PartFolders | None
) -> tuple[list[Item], Refused]:
    """Items of recordings, given with the parts of their paths below the root. The label is the first folder, or the
    folder inside a part. Files of a part outside such folders are refused together."""
    items: list[Item] = []
    refused: Refused = []
    loose: Counter[str] = Counter()
    for path, names in places:
        if len(names) == 1:
            refused.append((names[0], "lies beside the label folders; move it into one of them"))
            continue
        label = _label(names, parts)
        if label is None:
            loose["/".join(names[:-1]) + "/"] += 1
            continue
        if not _is_utf8(label):
            refused.append(("/".join(names), "the name of its folder is not UTF-8, so it cannot be a label; rename it"))
            continue
        item = Item(path, "/".join(names), label=label)
        items += _in_parts([item], parts)
    for folder, count in sorted(loose.items()):
        which = f"{count_noun(count, 'recording')} without a label, while others are in label folders"
        refused.append((folder, f"{which}; sort them into such folders"))
    return items, refused


def _is_utf8(name: str) -> bool:
    """Whether a name is UTF-8; other bytes appear as lone surrogates in it."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _empty_folders(root: Path, inside: Sequence[tuple[str, ...]], parts: PartFolders | None) -> Refused:
    depth = parts.label_depth if parts else 1
    full = {names[:number] for names in inside for number in range(1, len(names))}
    # A part without recordings is reported as one folder, not once for each label in it.
    depths = sorted({parts.level + 1, depth}) if parts else [depth]
    found: Refused = []
    for number in depths:
        folders = filter(is_folder, root.glob("/".join("*" * number)))
        what = "label" if number == depth else "part"
        why = f"a {what} folder without recordings; add some, or remove it"
        for folder in sorted(path.relative_to(root).parts for path in folders):
            above = folder[:-1]
            if what == "part" and not (part_named(folder[-1]) or fold_named(folder[-1])):
                continue
            if folder not in full and (not above or above in full) and not any(map(is_hidden, folder)):
                found.append(("/".join(folder) + "/", why))
    return found


class _LabelFiles:
    """The recordings below a folder, which get their annotations from label files."""

    def __init__(self, root: Path, audio: list[Path], label_column: str | None = None) -> None:
        self.root, self.audio, self.label_column = root, audio, label_column
        self.here: dict[tuple[Path, str], list[Path]] = {}
        self.anywhere: dict[str, list[Path]] = {}
        for path in audio:
            self.here.setdefault((path.parent, path.stem), []).append(path)
            self.anywhere.setdefault(path.stem, []).append(path)
        # recording -> format of its labels, annotations; the first format that names a recording counts
        self.found: dict[Path, tuple[str, list[Annotation]]] = {}
        self.broken: set[Path] = set()
        self.refused: Refused = []
        self.columns: dict[str, LabelColumn] = {}  # ambiguous columns that labels are read from
        self.makers: dict[str, str] = {}  # models that made labels, and the format of these

    def read(self, files: list[tuple[str, Path]]) -> ReadTable:
        if self.label_column is not None:
            files = self._with_column(files)
        for kind, file in files:
            stem = recording_stem(file, kind)
            try:
                self._note_column(kind, file)
                labels = read_labels(file, kind, self.label_column)
                self.makers |= dict.fromkeys(read_makers(file, kind), kind)
            except LabelError as error:
                self.refused.append((file.relative_to(self.root).as_posix(), str(error)))
                apart = self.anywhere[stem] if self.is_only(stem) else ()
                self.broken.update(self.here.get((file.parent, stem), apart))
                continue
            if (file.parent, stem) in self.here or self.is_only(stem):
                if not FORMATS[kind].many:  # of the recording beside it, whatever media it names, such as a video
                    labels = {stem: [one for known in labels.values() for one in known]}
                labels.setdefault(stem, [])  # an empty file: no annotation
            for name, known in labels.items():
                self._give(kind, file, name, known)
        items: list[Item] = []
        for path in self.audio:
            name = path.relative_to(self.root).as_posix()
            if path in self.broken:
                self.refused.append((name, "the label file beside it cannot be read; correct it"))
            elif path in self.found:
                items.append(Item(path, name, annotated=True, annotations=tuple(self.found[path][1])))
            else:
                why = "no label file beside it, but others have one; add one, which may be empty"
                self.refused.append((name, why))
        notes = (f"{show_name(self.root)}: {column.describe()}" for column in self.columns.values())
        read = {kind for kind, _ in self.found.values()}
        about = (self._origin(files), tuple(maker for maker, kind in self.makers.items() if kind in read))
        return ReadTable(items, self.refused, tuple(notes), False, PartNotes(), *about)

    def _origin(self, files: Sequence[tuple[str, Path]]) -> str:
        """The number of label files of each format that is used, and of the others."""
        read = Counter(kind for kind, _ in self.found.values())
        count = Counter(kind for kind, _ in files)
        said = [f"{kind} of {count_noun(number, 'recording')}" for kind, number in read.items()]
        left = [f"{count_noun(count[kind], 'file')} of {kind}" for kind in count if kind not in read]
        return ", ".join(said) + (
            f"; not read, because each recording already has labels: {', '.join(left)}" if left else ""
        )

    def is_only(self, stem: str) -> bool:
        """Whether exactly one recording has this base name."""
        return len(self.anywhere.get(stem, ())) == 1

    def _with_column(self, files: list[tuple[str, Path]]) -> list[tuple[str, Path]]:
        """The files whose formats have columns. Raises LabelError if there are none."""
        held = [(kind, file) for kind, file in files if has_columns(kind)]
        if not held:
            where = f"{show_name(self.root)}: {files[0][0]} has no columns"
            raise LabelError(f"{where}, but {LABEL_OPTION} names one; omit it")
        return held

    def _note_column(self, kind: str, file: Path) -> None:
        """Raises LabelError if the label column is ambiguous, or differs between tables."""
        column = find_label_column(file, kind, self.label_column)
        if column is None or not column.told:
            return
        first = next(iter(self.columns), column.name)
        if first != column.name:
            what = f'labels are in the column "{show_name(column.name)}", but in other tables in "{show_name(first)}"'
            raise LabelError(f"{show_name(file)}: {what}; choose with {LABEL_OPTION} NAME")
        self.columns[column.name] = column

    def _give(self, kind: str, file: Path, name: str, annotations: list[Annotation]) -> None:
        """Give annotations to the recording of this name: the one beside the file, or else the only one anywhere."""
        stem = Path(name).stem if Path(name).suffix.lower() in AUDIO_SUFFIXES else name
        if "\\" in name and stem not in self.anywhere:
            stem = base_name(from_windows(name))
        targets = self.here.get((file.parent, stem), [])
        if not targets:
            targets = self.anywhere.get(stem, [])
            if len(targets) != 1:
                count = f"{len(targets)} recordings have this name" if targets else "there is no such recording"
                self.refused.append((name, f"listed in {show_name(file)}, but {count}; correct the name"))
                return
        for path in targets:
            known = self.found.setdefault(path, (kind, []))
            if known[0] == kind:
                known[1].extend(annotations)


def _label_files(
    root: Path, beside: _LabelFiles, formats: Mapping[str, Sequence[str]], apart: bool = False
) -> Iterator[tuple[str, Path]]:
    """Pairs (format, file), ordered by format: every RTTM file, because these name recordings, and other files beside a
    recording with the same base name; with `apart`, those named like exactly one recording anywhere."""
    wanted = tuple(suffix.lower() for suffixes in formats.values() for suffix in suffixes)
    found: dict[str, list[Path]] = {kind: [] for kind in formats}
    for path in walk_folder(root):
        if not entry_path(path).name.lower().endswith(wanted):
            continue
        if isinstance(path, EntryError):
            refusal = (path.path.relative_to(root).as_posix(), path.reason)
            # False where access is denied
            if os.path.islink(path.path) and refusal not in beside.refused:  # noqa: PTH114
                beside.refused.append(refusal)
        else:
            kind = label_format(path)
            if kind not in formats:
                continue
            stem = recording_stem(path, kind)
            named = beside.is_only(stem) if apart else (path.parent, stem) in beside.here
            if kind == "rttm" or (named and _has_labels(kind, path)):
                found[kind].append(path)
    for kind, paths in found.items():
        yield from ((kind, path) for path in paths)


def _are_labels(path: Path, kind: str) -> bool:
    """Whether subtitles are labels of a few words each, and not transcripts."""
    try:
        known = read_labels(path, kind)
    except LabelError:
        return True  # reading the file later reports the error
    return all(len(one.label.split()) <= _LABEL_WORDS for own in known.values() for one in own)


def _has_labels(kind: str, path: Path) -> bool:
    """Whether a file may contain labels. JSON is examined, and a .txt file without a tab in its first line is a
    transcript or a note. An empty file counts: it states that there are no labels."""
    try:
        if path.suffix.lower() in _JSON_SUFFIXES:
            return path.stat().st_size == 0 or sniff_file(path) is not None
        if kind in SUBTITLES:
            return _are_labels(path, kind)
        if kind != "audacity":
            return True
        with path.open("rb") as file:
            first = file.readline(4096)
    except OSError:
        return True  # reading the file later reports the error
    return not first.strip() or b"\t" in first
