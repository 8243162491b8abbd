"""Which recording labels are of: formats of labels often know less of its name than where it lies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from audiocnn.filenames import AUDIO_SUFFIXES, files_in
from audiocnn.formats.naming import base_name


@dataclass
class Recordings:
    """Finds the recordings that labels are of: by name, else by base name where that fits one alone.

    folder: where to look, at any depth; also looked at is the folder that the labels lie in.
    """

    folder: Path | None = None
    known: dict[tuple[Path, bool], dict[str, list[Path]]] = field(default_factory=dict)

    def find(self, file: str, labels: Path) -> Path | None:
        """The recording of this name; None for none, or several."""
        places = [labels.parent] if self.folder is None else [self.folder, labels.parent]
        for path in [Path(file), *(place / file for place in places)]:
            if _is_file(path):
                return path
        for place in places:
            found = self._by_base_name(place, deep=place == self.folder).get(base_name(file), [])
            if found:
                return found[0] if len(found) == 1 else None
        return None

    def _by_base_name(self, folder: Path, deep: bool) -> dict[str, list[Path]]:
        if (folder, deep) not in self.known:
            names: dict[str, list[Path]] = {}
            for path in _audio_in(folder, deep):
                names.setdefault(base_name(path.name), []).append(path)
            self.known[folder, deep] = names
        return self.known[folder, deep]


def _audio_in(folder: Path, deep: bool) -> Iterator[Path]:
    """Recordings in a folder; below it too, if asked for, and then it must be there."""
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
