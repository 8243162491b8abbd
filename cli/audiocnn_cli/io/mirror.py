"""--output-dir: the path of the output of each recording. Outputs have the same subfolders as the recordings.

A recording found in a given folder keeps its path inside that folder. A recording given by name, or in a list, keeps
its folders if it is below the working directory: `a/b.wav` gives `FOLDER/a/b.jsonl`. Any other recording keeps only its
file name, so that nothing is written outside of the folder. If two recordings differ only in their suffixes, as `b.wav`
and `b.flac`, the outputs keep them: `b.wav.jsonl` and `b.flac.jsonl`. The path therefore depends on the name and on
the other files in its folder, but not on the rest of the list, and is the same for shards and later runs. Two
recordings with the same output are an error before any work.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path, PurePath
from stat import S_ISREG
from typing import TYPE_CHECKING, overload

from audiocnn.audio.find import AUDIO_SUFFIXES
from audiocnn.errors import RecordingError, UsageError, show_name
from audiocnn.files import fit_name
from audiocnn_cli.io.inputs import STDIN_NAMES, Input
from audiocnn_cli.io.output import is_replaceable

if TYPE_CHECKING:
    from audiocnn_cli.io.resume import Provenance

_STDIN_STEM = "stdin"
_FOLDERS_KNOWN = 256


class Mirror:
    """Assigns each recording its target in a folder. The names of outputs end in `suffix`.

    update: make outdated outputs again. provenance: model and settings of the outputs, if these contain them.
    """

    def __init__(
        self,
        folder: Path,
        suffix: str,
        skip_existing: bool = False,
        force: bool = False,
        update: bool = False,
        provenance: Provenance | None = None,
    ) -> None:
        self.folder, self.suffix = folder, suffix
        self.skip_existing, self.force, self.update = skip_existing, force, update
        self.provenance = provenance
        self.left: dict[str, list[Path]] = {}  # outdated outputs, by reason
        self.taken: set[int] = set()  # hashes of targets; the names of a long list would need too much memory
        self.stems_in = lru_cache(_FOLDERS_KNOWN)(_count_stems)

    def wanted(self, inputs: Iterator[Input]) -> Iterator[Input]:
        """The recordings with their targets, except those to skip."""
        for one in inputs:
            if one.source is None:
                yield one
                continue
            target = self.target(one)
            key = hash(str(target))
            if os.path.isdir(target):  # noqa: PTH112 - Path.is_dir raises for a name that is too long
                yield refuse_input(one, _in_the_way(target))
            elif key in self.taken:
                yield refuse_input(
                    one, f"its output {show_name(target)} is also the output of another recording in the list"
                )
            elif not os.path.lexists(target) or self.force:
                yield replace(one, target=target, changed_ns=_changed_ns(one.source))
            elif not self.skip_existing:
                yield replace(one, source=None, existing=target)
            else:
                yield from self.again(one, target)
            self.taken.add(key)

    def again(self, one: Input, target: Path) -> Iterator[Input]:
        """A recording whose output exists: yielded again if the output is outdated and `update` is set."""
        try:
            reason = self.out_of_date(one, target)
        except UsageError as problem:  # not an output of this command
            if self.update:
                yield refuse_input(one, f"{problem}")
            return
        if reason and self.update:
            yield replace(one, target=target, redo=True, changed_ns=_changed_ns(one.source))
        elif reason:
            self.left.setdefault(reason, []).append(target)

    def out_of_date(self, one: Input, target: Path) -> str:
        """Why an output is outdated; empty if it is not. Raises UsageError for a file written by something else."""
        changed_ns = _changed_ns(one.source)
        if changed_ns is not None and _changed_ns(target, changed_ns) < changed_ns:
            return "older than the recording"
        if self.provenance is None or not target.is_file():
            return ""
        from audiocnn_cli.io.resume import OtherSettingsError, read_record_groups

        try:
            with target.open("rb") as file:
                whole = read_record_groups(file, show_name(target), self.provenance, torn=True)
        except OtherSettingsError:
            return "made with another model, other settings or another version"
        except OSError:
            return ""
        return "" if whole else "made from a damaged recording"

    def target(self, one: Input) -> Path:
        place = place_in_tree(one)
        return self.folder / place.with_name(fit_name(self.name(one, place), self.suffix))

    def name(self, one: Input, place: PurePath) -> str:
        """The name of an output without its suffix: the stem of the recording, or its full name if needed to tell it
        from others."""
        if not isinstance(one.source, Path):
            return place.name
        twins = self.stems_in(one.source.parent)[place.stem] - (place.suffix.lower() in AUDIO_SUFFIXES)
        return place.name if twins > 0 else place.stem


def place_in_tree(one: Input) -> PurePath:
    """The path of a recording relative to the output folder; always inside that folder."""
    if one.inside is not None:
        return one.inside
    if one.name in STDIN_NAMES:
        return PurePath(_STDIN_STEM)
    try:
        here = os.path.join(os.getcwd(), "")  # noqa: PTH109, PTH118 - strings are enough
    except FileNotFoundError:  # the working directory was deleted
        here = os.path.join(os.devnull, "")  # noqa: PTH118
    path = os.path.normpath(os.path.join(here, one.name))  # noqa: PTH118
    folder, name = os.path.split(path)
    if not path.startswith(here):
        path = os.path.join(os.path.realpath(folder), name)  # noqa: PTH118
    return PurePath((path.removeprefix(here) if path.startswith(here) else name) or _STDIN_STEM)


def check_places(inputs: Iterable[Input]) -> Iterator[Input]:
    """The inputs of a finite list. Raises UsageError, before any work, if two have the same output."""
    mirror, known, taken = Mirror(Path(), ""), list(inputs), dict[Path, str]()
    for one in known:
        if one.source is None:
            continue
        place = mirror.target(one)
        if place in taken:
            names = f"{show_name(taken[place])} and {show_name(one.name)} have the same output, {show_name(place)}"
            raise UsageError(f"--output-dir: {names}; give a folder that contains both, or process them separately")
        taken[place] = one.name
    return iter(known)


def _count_stems(folder: Path) -> Counter[str]:
    """The number of recordings of each stem in a folder."""
    try:
        names = map(PurePath, os.listdir(folder))  # noqa: PTH208 - names are enough
        return Counter(name.stem for name in names if name.suffix.lower() in AUDIO_SUFFIXES)
    except OSError:
        return Counter()


def check_inside(folder: Path, target: Path) -> None:
    """Raises RecordingError if a link in the folder leads out of it."""
    if not target.parent.resolve().is_relative_to(folder.resolve()):
        raise RecordingError(
            f"{show_name(target)}: a link leads out of {show_name(folder)}; remove the link or choose another folder"
        )


def check_plain(target: Path) -> None:
    """Raises RecordingError if the name of an output is taken by a folder, a device or a pipe."""
    if not is_replaceable(target):
        raise RecordingError(_in_the_way(target))


def mark_if_changed(one: Input) -> bool:
    """Whether a recording has changed since it was assigned to its output. If so, the output gets the earlier
    modification time of the recording, so that it counts as outdated."""
    before = one.changed_ns
    if before is None or one.target is None or _changed_ns(one.source, before) == before:
        return False
    with suppress(OSError):
        os.utime(one.target, ns=(before, before))
    return True


@overload
def _changed_ns(path: object) -> int | None: ...
@overload
def _changed_ns(path: object, fallback: int) -> int: ...
def _changed_ns(path: object, fallback: int | None = None) -> int | None:
    """The modification time of a file in nanoseconds; the fallback if unknown."""
    try:
        status = path.stat() if isinstance(path, Path) else None
    except OSError:
        return fallback
    return status.st_mtime_ns if status is not None and S_ISREG(status.st_mode) else fallback


def _in_the_way(target: Path) -> str:
    return f"its output {show_name(target)} already exists and is not a regular file; remove it"


def refuse_input(one: Input, why: str) -> Input:
    """The input with a problem instead of its source."""
    return replace(one, source=None, problem=f"{show_name(one.name)}: {why}")
