"""The names that people give the parts of their data, in folders and in columns called `split`."""

from __future__ import annotations

from collections.abc import Iterable

TEST_PARTS = ("test", "eval")
STOP_PARTS = ("dev", "val", "valid", "validation")  # of what stops a training
# As people write them -> as the rest of the code knows them.
_PARTS = {name: name for name in ("train", *STOP_PARTS, *TEST_PARTS)} | {
    "trn": "train",
    "training": "train",
    "devel": "dev",
    "development": "dev",
    "validate": "validation",
    "validating": "validation",
    "tst": "test",
    "testing": "test",
    "evaluate": "eval",
    "evaluation": "eval",
}


def part_named(name: str) -> str | None:
    """The part that a name means, however it is written: "Train" and "training" are "train"; None for any other."""
    return _PARTS.get(name.strip().lower())


def parts_named(names: Iterable[str]) -> dict[str, str]:
    """What each of the names means, where all of them are parts; else nothing."""
    found = {name: part_named(name) for name in names}
    known = {name: part for name, part in found.items() if part is not None}
    return known if len(known) == len(found) else {}
