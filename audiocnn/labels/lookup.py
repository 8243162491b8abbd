"""Matching of labels and recordings: `LabelFile` finds the labels of a recording, `Recordings` the recording of labels.

Label formats often store no more of a recording's name than its stem.
"""

from __future__ import annotations

import codecs
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePath, PureWindowsPath
from typing import BinaryIO

from audiocnn.audio.find import AUDIO_SUFFIXES, files_in
from audiocnn.errors import AudiocnnError, LabelError, show_name
from audiocnn.files import open_waiting, temporary_errors, temporary_file
from audiocnn.labels.formats import FORMATS, label_format, read_labelled_recordings
from audiocnn.labels.formats.base import LabelledRecording, base_name

_COPY_BYTES = 1 << 20
_MOST_LABEL_BYTES = 1 << 30  # of a stream: about ten million segments
_NOT_PLAIN = (
    codecs.BOM_UTF16_LE,
    codecs.BOM_UTF16_BE,
    b"\x1f\x8b",
)  # first bytes of files with zero bytes


class UnnamedError(LabelError):
    """A label file that does not name a recording."""


class LabelFile:
    """A label file. `of` finds a recording in it by the parts of the name that both have."""

    def __init__(self, path: Path, label_column: str | None = None) -> None:
        """label_column: see `find_label_column`. Raises LabelError."""
        self.path = path
        with rereadable_file(path) as file:
            kind = label_format(file)
            self.found: list[LabelledRecording] = read_labelled_recordings(file, kind, label_column)
        self.keeps = FORMATS[kind].keeps
        self.nameless = not FORMATS[kind].many  # it holds one recording, whatever its name

    @property
    def names_silent(self) -> bool:
        """Whether it also names recordings without segments."""
        return "empty" in self.keeps

    @property
    def has_channels(self) -> bool:
        """Whether it states channels."""
        return "channel" in self.keeps

    def of(self, name: str, alone: bool) -> LabelledRecording:
        """The labels of a recording. `alone`: it is the only recording requested, so a file that names none applies to
        it. Raises UnnamedError if it is not in the file, LabelError if it matches several entries."""
        for fits in (is_same_name, has_same_end, has_same_stem):
            fitting = [one for one in self.found if fits(name, one.file) or fits(name, from_windows(one.file))]
            if len(fitting) > 1 and len({one.file for one in fitting}) > 1:
                names = ", ".join(show_name(one.file) for one in fitting[:3])
                where, shown = show_name(self.path), show_name(name)
                raise LabelError(f"{where}: several entries match {shown}: {names}; rename the right one to {shown}")
            if fitting:
                return merge_entries(fitting)
        if alone and self.nameless and self.found:
            return merge_entries(self.found)
        raise UnnamedError(f"{show_name(self.path)}: does not contain {show_name(name)}; check the names in it")


@contextmanager
def rereadable_file(path: Path, kind: str | None = None) -> Iterator[Path]:
    """A label file as it is; a named pipe is copied to a file, because labels are read more than once. kind: the
    format, if known. Raises LabelError."""
    if path.is_file() or path.is_dir() or not path.exists():
        yield path
        return
    try:
        stream = open_waiting(path, show_name(path), LabelError)
    except OSError as problem:
        raise LabelError(f"{show_name(path)}: cannot be read ({problem.strerror}); check its permissions") from None
    with stream, save_stream(stream, path, kind) as file:
        yield file


@contextmanager
def save_stream(stream: BinaryIO, shown: Path, kind: str | None = None) -> Iterator[Path]:
    """The content of a stream as a file of the same name, because the name may determine the format; messages use the
    original name. If its beginning is not a label file, the rest, which may be endless, is not read."""
    name = show_name(shown)
    with temporary_errors(name, LabelError):
        folder = tempfile.TemporaryDirectory(prefix="audiocnn-")
        copy, content = temporary_file()
    with folder, copy:
        path = Path(folder.name) / shown.name
        path.symlink_to(content)  # only a link would remain if this process were killed
        try:
            _copy_labels(stream, copy, path, kind)
            yield path
        except AudiocnnError as problem:
            raise type(problem)(str(problem).replace(str(path), name)) from None


def _copy_labels(stream: BinaryIO, copy: BinaryIO, path: Path, kind: str | None) -> None:
    """All of a stream. Raises LabelError if its first part is not a label file, or if it is too large."""
    size = 0
    try:
        while part := stream.read(_COPY_BYTES):
            with temporary_errors(str(path), LabelError):
                copy.write(part)
                copy.flush()
            if not size:
                if b"\0" in part and not part.startswith(_NOT_PLAIN):
                    raise LabelError(
                        f"{path}: not a label file (contains zero bytes); check the program that writes it"
                    )
                kind = kind or label_format(path)
            size += len(part)
            if size > _MOST_LABEL_BYTES:
                what = f"more than {_MOST_LABEL_BYTES >> 20} MiB of labels"
                raise LabelError(
                    f"{path}: {what}; check that the program that writes it ends, or save the labels to a file"
                )
    except OSError as problem:
        raise LabelError(f"{path}: cannot be read ({problem.strerror}); check the program that writes it") from None


def is_same_name(name: str, listed: str) -> bool:
    """Whether two names are equal except for `./` and double slashes."""
    return os.path.normpath(name) == os.path.normpath(listed)


def has_same_end(name: str, listed: str) -> bool:
    """Whether one path ends with the other, folder by folder."""
    one, other = PurePath(os.path.normpath(name)).parts, PurePath(os.path.normpath(listed)).parts
    count = min(len(one), len(other))
    return one[-count:] == other[-count:]


def has_same_stem(name: str, listed: str) -> bool:
    """Whether the names are equal without folder and suffix, which is all that many formats store."""
    return PurePath(name).stem == PurePath(listed).name or PurePath(name).stem == PurePath(listed).stem


def merge_entries(found: Sequence[LabelledRecording]) -> LabelledRecording:
    if len(found) == 1:
        return found[0]
    tracks = {
        channel: sorted((s for one in found for s in one.tracks.get(channel, ())), key=lambda s: (s.start, s.end))
        for channel in sorted({channel for one in found for channel in one.tracks})
    }
    return LabelledRecording(found[0].file, tracks)


@dataclass
class Recordings:
    """Finds the recordings that labels belong to: by name, or else by a base name that only one has.

    folder: searched at any depth, in addition to the folder of the labels.
    """

    folder: Path | None = None
    known: dict[tuple[Path, bool], dict[str, list[Path]]] = field(default_factory=dict)

    def find(self, file: str, labels: Path) -> Path | None:
        """The recording of this name; None if there are none or several."""
        if "\\" in file:
            return self._find(file, labels) or self._find(from_windows(file), labels)
        return self._find(file, labels)

    def _find(self, file: str, labels: Path) -> Path | None:
        places = [labels.parent] if self.folder is None else [self.folder, labels.parent]
        for path in [Path(file), *(place / file for place in places)]:
            if _is_file(path):
                return path
        for place in places:
            found = self._by_base_name(place, deep=place == self.folder).get(base_name(file), [])
            if len(found) > 1:  # several with this name: the one in folders of the same names, if there is only one
                found = [one for one in found if _has_end(one, place, file)]
            if found:
                return found[0] if len(found) == 1 else None
        return None

    def below(self, file: str) -> Path | None:
        """The only recording below the folder for which its path ends with this one or the reverse, without suffixes;
        None if there are none or several. This finds recordings that were moved with their folder. A name without
        folders matches any recording of that name."""
        if self.folder is None:
            return None
        named = self._by_base_name(self.folder, deep=True).get(base_name(file), [])
        found = [one for one in named if _has_end(one, self.folder, file)]
        return found[0] if len(found) == 1 else None

    def _by_base_name(self, folder: Path, deep: bool) -> dict[str, list[Path]]:
        if (folder, deep) not in self.known:
            names: dict[str, list[Path]] = {}
            for path in _audio_in(folder, deep):
                names.setdefault(base_name(path.name), []).append(path)
            self.known[folder, deep] = names
        return self.known[folder, deep]


def from_windows(name: str) -> str:
    """A Windows path with forward slashes."""
    return PureWindowsPath(name).as_posix()


def _has_end(recording: Path, folder: Path, file: str) -> bool:
    """Whether the path of a recording below a folder ends with `file`, or the reverse, ignoring audio suffixes."""
    return has_same_end(without_suffix(str(recording.relative_to(folder))), without_suffix(file))


def without_suffix(file: str) -> str:
    """A path without an audio suffix."""
    return str(PurePath(file).parent / base_name(file))


def _audio_in(folder: Path, deep: bool) -> Iterator[Path]:
    """The recordings in a folder; with `deep` also in its subfolders."""
    try:
        paths = files_in(folder) if deep else sorted(folder.iterdir())
        yield from (path for path in paths if path.suffix.lower() in AUDIO_SUFFIXES)
    except OSError:
        return


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
