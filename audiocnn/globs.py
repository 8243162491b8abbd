"""--glob: which files of a folder are wanted, by patterns such as `*.flac` or `2024/**/mic1.wav`."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

ANY_FOLDERS = "**"


def matches_any(inside: Path, patterns: Sequence[str]) -> bool:
    """Whether a path inside a folder fits one of the patterns."""
    return any(matches(inside, pattern) for pattern in patterns)


def matches(inside: Path, pattern: str) -> bool:
    """A pattern without a slash is one of names, at any depth; one with a slash is one of the whole path inside the
    folder, in which `*` stays between slashes and `**` is any number of folders. Large and small letters differ."""
    if "/" not in pattern:
        return fnmatchcase(inside.name, pattern)
    return parts_match(inside.parts, tuple(part for part in pattern.split("/") if part not in ("", ".")))


def parts_match(parts: tuple[str, ...], patterns: tuple[str, ...]) -> bool:
    """Whether each part fits its pattern. Keeps the set of patterns that may come next, so that time is bounded."""
    states = after_folders({0}, patterns)
    for part in parts:
        states = after_folders({at for state in states for at in steps(part, state, patterns)}, patterns)
    return len(patterns) in states


def steps(part: str, state: int, patterns: tuple[str, ...]) -> list[int]:
    """Where a part leads from a state, which is the number of patterns that are used up."""
    if state == len(patterns):
        return []
    if patterns[state] == ANY_FOLDERS:
        return [state]
    return [state + 1] if fnmatchcase(part, patterns[state]) else []


def after_folders(states: set[int], patterns: tuple[str, ...]) -> set[int]:
    """With the states behind a `**`, which may be no folder at all."""
    found = set(states)
    for state in sorted(states):
        while state < len(patterns) and patterns[state] == ANY_FOLDERS:
            state += 1
            found.add(state)
    return found
