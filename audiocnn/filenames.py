"""Names of recordings: how they are found in folders, and how they stand in messages."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from audiocnn.errors import RecordingError
from audiocnn.ffmpeg import OUTSIDE_SUFFIXES, find_program, left_out_line

OWN_SUFFIXES = frozenset(
    {".wav", ".w64", ".rf64", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".mp1", ".aif", ".aiff", ".aifc"}
    | {".au", ".snd", ".caf", ".sph", ".nist", ".voc", ".avr", ".htk", ".paf", ".pvf", ".sf", ".ircam", ".iff", ".8svx"}
    | {".svx", ".xi", ".wve", ".sds"}
)
AUDIO_SUFFIXES = OWN_SUFFIXES | OUTSIDE_SUFFIXES


def find_recordings(paths: Iterable[str | Path], left_out: Counter[str] | None = None) -> Iterator[Path]:
    """Files as they are named; of folders all recordings inside, by suffix, sorted, without hidden ones.

    Those that only ffmpeg reads are left out where there is none, and counted by suffix in `left_out`.
    RecordingError: a folder without a recording, or one that cannot be read.
    """
    for path in paths:
        if not is_folder(path):
            yield Path(path)
            continue
        wanted = AUDIO_SUFFIXES if find_program() else OWN_SUFFIXES
        found, missed = False, Counter[str]()
        for file in files_in(Path(path)):
            suffix = file.suffix.lower()
            if suffix in wanted:
                found = True
                yield file
            elif suffix in AUDIO_SUFFIXES:
                missed[suffix] += 1
        if found and left_out is not None:
            left_out.update(missed)
        if not found and missed:
            raise RecordingError(f"{show_name(path)}: no audio that can be read here; {left_out_line(missed)}")
        if not found:
            known = " ".join(sorted(wanted))
            raise RecordingError(f"{show_name(path)}: no audio in this folder; looked for names that end in {known}")


def is_folder(path: str | Path) -> bool:
    """Whether a name is that of a folder; one that cannot be a name, being too long, is none."""
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):
        return False


def files_in(folder: Path, seen: set[tuple[int, int]] | None = None) -> Iterator[Path]:
    """Files under a folder, sorted, no hidden ones; a folder that links lead to twice is taken once."""
    seen = set() if seen is None else seen
    try:
        status = folder.stat()
        inside = sorted(folder.iterdir())
    except OSError as error:
        raise RecordingError(f"{show_name(folder)}: cannot be read ({error.strerror}); check the rights") from None
    if (status.st_dev, status.st_ino) in seen:
        return
    seen.add((status.st_dev, status.st_ino))
    for path in inside:
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from files_in(path, seen)
        elif path.is_file():
            yield path


def show_name(path: object) -> str:
    """A file's name as it can stand in a message: one line, printable, whatever its bytes."""
    text = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else str(path)
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
