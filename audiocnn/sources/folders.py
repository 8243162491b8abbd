"""A folder of recordings: labels in files beside them, or one subfolder a label; the latter at addresses too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from audiocnn.addresses import Remote, recordings_at
from audiocnn.dataset_writer import Item
from audiocnn.errors import DatasetError, LabelError
from audiocnn.filenames import AUDIO_SUFFIXES, files_in, find_recordings, show_name
from audiocnn.formats import FORMATS, READERS, SUBTITLES, label_format, label_reader, raven
from audiocnn.formats.sniffing import sniff_file
from audiocnn.labels import Annotation
from audiocnn.sources.label_files import RECORDS
from audiocnn.sources.tables import Refused

# Where every recording lies in one of these, the label is the folder inside.
SPLIT_FOLDERS = frozenset({"train", "dev", "val", "valid", "validation", "test", "eval"})
BESIDE = {kind: suffixes for kind, suffixes in READERS.items() if kind not in SUBTITLES}
SUFFIXES = tuple(dict.fromkeys(suffix for suffixes in BESIDE.values() for suffix in suffixes))


def read_folder(root: Path, left_out: Counter[str] | None = None) -> tuple[list[Item], Refused]:
    """Items sorted by name; what only ffmpeg reads is counted in `left_out` where there is none. RecordingError: no
    audio; LabelError: nothing that says the labels."""
    audio = list(find_recordings([root], left_out))
    beside = _Beside(root, audio)
    files = list(_label_files(root, beside))
    if files:
        return beside.read(files)
    parts = [path.relative_to(root).parts for path in audio]
    inside = [names for names in parts if len(names) > 1]
    if not inside:
        raise LabelError(
            f"{show_name(root)}: no labels; make a subfolder for each label, put a file of labels"
            f" ({' '.join(SUFFIXES)}) beside each recording, or name a table"
        )
    items, refused = _label_folders(zip(audio, parts, strict=True), splits_first(inside))
    return items, refused + _empty_folders(root, inside)


def read_folder_at(root: Remote, left_out: Counter[str] | None = None) -> tuple[list[Item], Refused]:
    """As `read_folder` of a folder at an address, in which only subfolders say the labels; DatasetError: no folder."""
    found = list(recordings_at(root.url, left_out=left_out))
    places = [(Remote(place.url), place.inside.parts) for place in found if place.inside is not None]
    if not places:
        what = "no folder; name the folder they lie in, or a table of this machine, which may name addresses"
        raise DatasetError(f"{show_name(root)}: {what}")
    inside = [names for _, names in places if len(names) > 1]
    if not inside:
        what = "no labels; at an address they are the names of subfolders, or name a table of this machine"
        raise LabelError(f"{show_name(root)}: {what}")
    return _label_folders(places, splits_first(inside))


def _label_folders(
    places: Iterable[tuple[Path | Remote, tuple[str, ...]]], split_first: bool
) -> tuple[list[Item], Refused]:
    """Recordings with the names of what they lie in below the root: the first, or behind a part the second, is the
    label."""
    items: list[Item] = []
    refused: Refused = []
    for path, names in places:
        if len(names) == 1:
            refused.append((names[0], "lies beside the folders that say the label; move it into one of them"))
            continue
        split, label = names[:2] if split_first else (None, names[0])
        if not is_text(label):
            refused.append(("/".join(names), "the folder's name is not UTF-8, and no label; rename it"))
            continue
        items.append(Item(path, "/".join(names), label=label, split=split))
    return items, refused


def splits_first(inside: Iterable[tuple[str, ...]]) -> bool:
    """Whether the folders say which part a recording belongs to, and those inside them the label."""
    return all(names[0] in SPLIT_FOLDERS and len(names) > 2 for names in inside)


def is_text(name: str) -> bool:
    """Whether a name is UTF-8: bytes that are not are lone surrogates in it."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _empty_folders(root: Path, inside: Sequence[tuple[str, ...]]) -> Refused:
    """Folders where a label is meant and no recording lies."""
    depth = 2 if splits_first(inside) else 1
    full = {names[:depth] for names in inside}
    return [
        ("/".join(folder) + "/", "a folder for a label without a recording; put some into it, or remove it")
        for folder in sorted(path.relative_to(root).parts for path in root.glob("/".join("*" * depth)) if path.is_dir())
        if folder not in full and not any(name.startswith(".") for name in folder)
    ]


class _Beside:
    """Recordings that get their annotations from files of labels."""

    def __init__(self, root: Path, audio: list[Path]) -> None:
        self.root, self.audio = root, audio
        self.here: dict[tuple[Path, str], list[Path]] = {}
        self.anywhere: dict[str, list[Path]] = {}
        for path in audio:
            self.here.setdefault((path.parent, path.stem), []).append(path)
            self.anywhere.setdefault(path.stem, []).append(path)
        # recording -> format of its labels, annotations; the first format that names a recording has it
        self.found: dict[Path, tuple[str, list[Annotation]]] = {}
        self.broken: set[Path] = set()
        self.refused: Refused = []

    def read(self, files: list[tuple[str, Path]]) -> tuple[list[Item], Refused]:
        for kind, file in files:
            stem = _stem(kind, file)
            try:
                labels = label_reader(kind)(file)
            except LabelError as error:
                self.refused.append((file.relative_to(self.root).as_posix(), str(error)))
                self.broken.update(self.here.get((file.parent, stem), ()))
                continue
            if (file.parent, stem) in self.here:
                if not FORMATS[kind].many:  # of the recording beside it, whatever media it names, such as a video
                    labels = {stem: [one for known in labels.values() for one in known]}
                labels.setdefault(stem, [])  # an empty file says: none
            for name, known in labels.items():
                self._give(kind, file, name, known)
        items: list[Item] = []
        for path in self.audio:
            name = path.relative_to(self.root).as_posix()
            if path in self.broken:
                self.refused.append((name, "the file of labels beside it cannot be read; correct it"))
            elif path in self.found:
                items.append(Item(path, name, annotated=True, annotations=tuple(self.found[path][1])))
            else:
                why = "no labels beside it, where others have them; add a file of them, empty if need be"
                self.refused.append((name, why))
        return items, self.refused

    def _give(self, kind: str, file: Path, name: str, annotations: list[Annotation]) -> None:
        """Annotations to the recording of this name: beside the file, else the only one anywhere."""
        stem = Path(name).stem if Path(name).suffix.lower() in AUDIO_SUFFIXES else name
        targets = self.here.get((file.parent, stem), [])
        if not targets:
            targets = self.anywhere.get(stem, [])
            if len(targets) != 1:
                count = f"{len(targets)} recordings have this name" if targets else "there is no such recording"
                self.refused.append((name, f"{show_name(file)} names it, but {count}; correct the name"))
                return
        for path in targets:
            known = self.found.setdefault(path, (kind, []))
            if known[0] == kind:
                known[1].extend(annotations)


def _label_files(root: Path, beside: _Beside) -> Iterator[tuple[str, Path]]:
    """(format, file), format by format: every RTTM file, which names recordings; others beside a recording of their
    own base name."""
    wanted = tuple(suffix.lower() for suffix in SUFFIXES)
    found: dict[str, list[Path]] = {kind: [] for kind in BESIDE}
    for path in files_in(root):
        if path.name.lower().endswith(wanted):
            kind = label_format(path)
            if kind == "rttm" or ((path.parent, _stem(kind, path)) in beside.here and _has_labels(kind, path)):
                found[kind].append(path)
    for kind, paths in found.items():
        yield from ((kind, path) for path in paths)


def _stem(kind: str, path: Path) -> str:
    """The base name of the recording that a file lies beside."""
    if kind == "raven":
        return raven.own_stem(path)
    suffixes = sorted(FORMATS[kind].suffixes, key=len, reverse=True)
    return next((path.name[: -len(end)] for end in suffixes if path.name.lower().endswith(end.lower())), path.stem)


def _has_labels(kind: str, path: Path) -> bool:
    """A .txt without a tab in its first line is a transcript or a note, and JSON may be about anything; an empty file
    has no labels."""
    if path.suffix.lower() in RECORDS:
        return path.stat().st_size == 0 or sniff_file(path) is not None
    if kind != "audacity":
        return True
    with path.open("rb") as file:
        first = file.readline(4096)
    return not first.strip() or b"\t" in first
