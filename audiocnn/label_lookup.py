"""Which labels of a file of labels are those of a recording."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import BinaryIO

from audiocnn.errors import AudiocnnError, LabelError
from audiocnn.filenames import show_name
from audiocnn.formats import FORMATS, label_format, read_found
from audiocnn.formats.found import Found


class LabelFile:
    """A file of labels. `of` finds a recording in it by its name, as much of it as both have."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with rereadable(path) as file:
            kind = label_format(file)
            self.found: list[Found] = read_found(file, kind)
        self.keeps = FORMATS[kind].keeps
        self.nameless = not FORMATS[kind].many  # of one recording, whatever that is called

    @property
    def has_channels(self) -> bool:
        """Whether it says in which channel something is."""
        return "channel" in self.keeps

    def of(self, name: str, alone: bool) -> Found:
        """The labels of a recording. `alone`: it is the only one that is asked for, so a file that names none is meant
        for it. LabelError: it is not in the file, or more than once under names that do not tell."""
        for fits in (same_name, ends_alike, same_stem):
            fitting = [one for one in self.found if fits(name, one.file)]
            if len(fitting) > 1 and len({one.file for one in fitting}) > 1:
                names = ", ".join(show_name(one.file) for one in fitting[:3])
                raise LabelError(f"{show_name(self.path)}: which is {show_name(name)}: {names}? Give it the same name")
            if fitting:
                return together(fitting)
        if alone and self.nameless and self.found:
            return together(self.found)
        raise LabelError(f"{show_name(self.path)}: says nothing of {show_name(name)}; check the names in it")


@contextmanager
def rereadable(path: Path) -> Iterator[Path]:
    """A file of labels as it is; a pipe with a name as a file, since labels are read more than once. LabelError."""
    if path.is_file() or path.is_dir() or not path.exists():
        yield path
        return
    try:
        stream = path.open("rb")
    except OSError as problem:
        raise LabelError(f"{show_name(path)}: cannot be read ({problem.strerror}); check the rights") from None
    with stream, saved(stream, path) as file:
        yield file


@contextmanager
def saved(stream: BinaryIO, shown: Path) -> Iterator[Path]:
    """What a stream brings as a file of the same name, which may tell its format; messages name it as it was named."""
    with tempfile.TemporaryDirectory(prefix="audiocnn-") as folder:
        path = Path(folder) / shown.name
        try:
            with path.open("wb") as file:
                shutil.copyfileobj(stream, file)
        except OSError as problem:
            raise LabelError(f"{show_name(shown)}: cannot be kept in a file ({problem.strerror}); make room") from None
        try:
            yield path
        except AudiocnnError as problem:
            raise type(problem)(str(problem).replace(str(path), show_name(shown))) from None


def same_name(name: str, listed: str) -> bool:
    """Whether two names are one, `./` and double slashes apart."""
    return os.path.normpath(name) == os.path.normpath(listed)


def ends_alike(name: str, listed: str) -> bool:
    """Whether one is the end of the other, folder by folder."""
    one, other = PurePath(os.path.normpath(name)).parts, PurePath(os.path.normpath(listed)).parts
    count = min(len(one), len(other))
    return one[-count:] == other[-count:]


def same_stem(name: str, listed: str) -> bool:
    """Whether they are one file without folder and suffix; many formats know no more."""
    return PurePath(name).stem == PurePath(listed).name or PurePath(name).stem == PurePath(listed).stem


def together(found: Sequence[Found]) -> Found:
    """What one file says of a recording in several places."""
    if len(found) == 1:
        return found[0]
    tracks = {
        channel: sorted((s for one in found for s in one.tracks.get(channel, ())), key=lambda s: (s.start, s.end))
        for channel in sorted({channel for one in found for channel in one.tracks})
    }
    return Found(found[0].file, tracks)
