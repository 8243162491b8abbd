"""Which recordings are held out: a share of the groups, the same ones in every training of the same data."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from audiocnn.dataset import Dataset, Entry
from audiocnn.errors import DatasetError

SALT = "1"


def cut_by_group(
    entries: Sequence[Entry], share: float, part: Callable[[Entry], str], balanced: bool
) -> tuple[list[Entry], list[Entry]]:
    """Entries to train on and entries to stop early and to tune on; no group in both.

    A share of the groups of every part (a source, a label, what has labels and what has none) is held out: those whose
    hash comes first, whatever the seed of a training, so that its repetitions are judged by the same recordings. Where
    there is but one group, it is cut by recording. `balanced`: the parts are many, and small ones may stay out of what
    is held out; else every part gives one group at least, and keeps one. Raises DatasetError for a single recording.
    """
    by_recording = len({entry.group for entry in entries}) < 2
    parts: dict[str, set[str]] = {}
    for entry in entries:
        parts.setdefault(part(entry), set()).add(entry.filename if by_recording else entry.group)
    ranked = {name: sorted(groups, key=rank) for name, groups in parts.items()}
    held_out: set[str] = set()
    for groups in ranked.values():
        count = round(share * len(groups))
        if not balanced:  # no label without a voice in when to stop
            count = min(max(count, 1), len(groups) - 1)
        held_out |= set(groups[:count])
    if not held_out:
        held_out = {min((group for groups in ranked.values() for group in groups), key=rank)}

    def is_held_out(entry: Entry) -> bool:
        return (entry.filename if by_recording else entry.group) in held_out

    train = [entry for entry in entries if not is_held_out(entry)]
    if not train:
        raise DatasetError("one recording is too few: some are needed to train on, others to stop early on; add more")
    return train, [entry for entry in entries if is_held_out(entry)]


def kind_by(dataset: Dataset, labels: Sequence[str], balance: str, clips: bool = False) -> Callable[[Entry], str]:
    """What part of the data an entry belongs to, of which each gives a share: its value in the column `balance`, or
    which of the labels it carries."""

    def kind(entry: Entry) -> str:
        if balance:
            return entry.tags.get(balance, "")
        if clips:
            return str(entry.label)
        return str(sorted({note.label for note in dataset.annotations(entry)} & set(labels)))

    return kind


def rank(group: str) -> str:
    """A place in an order that has nothing to do with names."""
    return hashlib.sha256(f"{SALT} {group}".encode("utf-8", "surrogateescape")).hexdigest()
