"""Base names of recordings, for formats that know no folders, and names of tiers."""

from __future__ import annotations

from pathlib import PurePath

from audiocnn.filenames import AUDIO_SUFFIXES


def base_name(file: str) -> str:
    """The name of a recording without its folder and without a suffix of audio; never empty."""
    name = PurePath(file).name
    path = PurePath(name)
    return (path.stem if path.suffix.lower() in AUDIO_SUFFIXES else name) or file


def free_name(wanted: str, names: dict[str, int]) -> str:
    """The name, or the first of `name (2)`, `name (3)`, ... that no other tier has; `names` keeps them."""
    name, number = wanted, names.get(wanted, 1)
    while name in names:
        number += 1
        name = f"{wanted} ({number})"
    names[name] = 1
    names[wanted] = number
    return name


class ShortNames:
    """Each recording gets its base name; where that is taken by another one, the whole name. `notes` says so."""

    def __init__(self, notes: list[str]) -> None:
        self.notes = notes
        self.taken: dict[str, str] = {}

    def of(self, file: str) -> str:
        """The name to write."""
        short = base_name(file)
        if self.taken.setdefault(short, file) == file:
            return short
        note = "recordings of different folders have the same name; all but the first stand with their whole name"
        if note not in self.notes:
            self.notes.append(note)
        whole = file
        while self.taken.setdefault(whole, file) != file:  # `a.flac`, where `a.flac.wav` is called so
            whole += "+"
        return whole
