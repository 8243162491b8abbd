"""--output-dir: where in a folder the output of each recording belongs. The tree of the recordings is kept.

A recording of a folder that was named has its place inside that folder; one that was named itself, or in a list, has
the folders that its name has: `a/b.wav` gives `FOLDER/a/b.jsonl`. `/` and `..` at the start of a name are left out, so
that nothing is written outside. Where two recordings differ in their endings alone, as `b.wav` and `b.flac`, these
are kept: `b.wav.jsonl` and `b.flac.jsonl`. So a place depends on the name, and on what lies beside the recording, but
not on the rest of the list: shards and later runs have the same.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path, PurePath

from audiocnn.errors import RecordingError
from audiocnn.filenames import AUDIO_SUFFIXES, show_name
from audiocnn_cli.inputs import STDIN_NAMES, Input
from audiocnn_cli.output import is_plain

STDIN_STEM = "stdin"
FOLDERS_KNOWN = 256


class Mirror:
    """Gives each recording its target in a folder, whose name for outputs ends in `suffix`."""

    def __init__(self, folder: Path, suffix: str, skip_existing: bool, force: bool) -> None:
        self.folder, self.suffix = folder, suffix
        self.skip_existing, self.force = skip_existing, force
        self.older: list[Path] = []  # outputs that were left, and whose recordings have changed since
        self.taken: set[int] = set()  # hashes of targets: a long list of names would fill the memory
        self.stems_in = lru_cache(FOLDERS_KNOWN)(stems_in)

    def wanted(self, inputs: Iterator[Input]) -> Iterator[Input]:
        """The recordings with their targets, without those that are to be skipped."""
        for one in inputs:
            if one.source is None:
                yield one
                continue
            target = self.target(one)
            key = hash(str(target))
            if os.path.isdir(target):  # noqa: PTH112 - which raises for a name that is too long
                yield refused(one, in_the_way(target))
            elif key in self.taken:
                yield refused(one, f"its output {show_name(target)} is that of another recording of this list")
            elif not os.path.lexists(target) or self.force:
                yield replace(one, target=target)
            elif not self.skip_existing:
                yield refused(
                    one, f"its output {show_name(target)} is there already; leave it with --skip-existing, or --force"
                )
            elif is_older(target, one.source):
                self.older.append(target)
            self.taken.add(key)

    def target(self, one: Input) -> Path:
        """The output of a recording."""
        place = place_of(one)
        return self.folder / place.with_name(self.name(one, place) + self.suffix)

    def name(self, one: Input, place: PurePath) -> str:
        """The name of an output without its suffix: that of the recording, with its ending where it needs it."""
        if not isinstance(one.source, Path):
            return place.name
        twins = self.stems_in(one.source.parent)[place.stem] - (place.suffix.lower() in AUDIO_SUFFIXES)
        return place.name if twins > 0 else place.stem


def place_of(one: Input) -> PurePath:
    """Where a recording lies in the tree that is kept; always below its root."""
    if one.inside is not None:
        return one.inside
    if one.name in STDIN_NAMES:
        return PurePath(STDIN_STEM)
    named = PurePath(os.path.normpath(one.name))
    parts = [part for part in named.parts if part not in (named.anchor, os.pardir, os.curdir)]
    return PurePath(*parts) if parts else PurePath(STDIN_STEM)


def stems_in(folder: Path) -> Counter[str]:
    """How many recordings of each stem a folder holds."""
    try:
        names = map(PurePath, os.listdir(folder))  # noqa: PTH208 - names are enough
        return Counter(name.stem for name in names if name.suffix.lower() in AUDIO_SUFFIXES)
    except OSError:
        return Counter()


def check_inside(folder: Path, target: Path) -> None:
    """RecordingError where a link in the folder leads out of it."""
    if not target.parent.resolve().is_relative_to(folder.resolve()):
        raise RecordingError(
            f"{show_name(target)}: a link leads out of {show_name(folder)}; take the link away, or name another folder"
        )


def check_plain(target: Path) -> None:
    """RecordingError where a folder, a device or a pipe has the name of an output."""
    if not is_plain(target):
        raise RecordingError(in_the_way(target))


def is_older(target: Path, source: object) -> bool:
    """Whether a recording has changed since its output was written; what cannot be told has not."""
    try:
        return isinstance(source, Path) and target.stat().st_mtime_ns < source.stat().st_mtime_ns
    except OSError:
        return False


def in_the_way(target: Path) -> str:
    """What is said of it."""
    return f"its output {show_name(target)} is there already and is no plain file; take that away"


def refused(one: Input, why: str) -> Input:
    """A recording that is not to be done."""
    return replace(one, source=None, problem=f"{show_name(one.name)}: {why}")
