"""Which recordings went into an example, found out when it is needed: the example is made once more, and watched."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

from audiocnn.dataset import Dataset, Entry
from audiocnn.filenames import show_name

MOST_NAMES = 5


class Watched:
    """A dataset that remembers whose samples were read."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset, self.read = dataset, dict[str, None]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.dataset, name)

    def samples(self, entry: Entry) -> Any:
        """As those of the dataset."""
        self.read[entry.filename] = None
        return self.dataset.samples(entry)


def recordings_in(source: Any, keys: Iterable[tuple[int, int]]) -> list[str]:
    """The names of the recordings that examples (epoch, index) are made of; none where a source has no dataset."""
    if not isinstance(getattr(source, "dataset", None), Dataset):
        return []
    watched, again = Watched(source.dataset), copy.copy(source)
    again.dataset = watched
    if hasattr(again, "backgrounds"):
        again.backgrounds = copy.copy(again.backgrounds)
        again.backgrounds.dataset = watched
    for key in keys:
        again.example(*key)
    return list(watched.read)


def named(names: Sequence[str]) -> str:
    """A few of them, and how many more."""
    shown = ", ".join(show_name(name) for name in names[:MOST_NAMES])
    return shown + (f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else "")
