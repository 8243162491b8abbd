"""Parts and folds of data as people name them: in folders, in columns of tables and in names of files.

`find_part_folders` examines folders and `find_part_column` a table; `part_named` and `fold_named` interpret single
names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields

TEST_PARTS = ("test", "eval")
STOP_PARTS = ("dev", "val", "valid", "validation")  # of the part that early stopping uses
# Names that people use -> names that the code uses.
_PARTS = {name: name for name in ("train", *STOP_PARTS, *TEST_PARTS)} | {
    "trn": "train",
    "training": "train",
    "devel": "dev",
    "development": "dev",
    "validate": "validation",
    "validating": "validation",
    "tst": "test",
    "testing": "test",
    "holdout": "test",
    "heldout": "test",
    "evaluate": "eval",
    "evaluation": "eval",
}
_WITHOUT = re.compile(r"[\s_-]+|(?<=[a-z])(?:set|data|split)$")  # "Test set", "train_data", "hold-out"
_FOLD = re.compile(r"(?:(?:k|cv)[\s_-]*)?fold[\s_-]*0*(\d+|[a-z])", re.IGNORECASE)
_FOLD_CELL = re.compile(r"0*(\d+|[a-z])(?:\.0+)?", re.IGNORECASE)  # tables contain 3.0 if a cell of the column is empty
_SPLIT_COLUMNS = ("split", "subset", "set", "part", "partition")
_TEST_COLUMNS = ("test", "is_test")
_FOLD_COLUMNS = ("fold", "folds", "kfold", "cv_fold", "fold_id")
FOLD_COLUMN = _FOLD_COLUMNS[0]  # the tag for folders of folds
_FLAG_COLUMNS = frozenset({"split", *_TEST_COLUMNS})  # 0 and 1 are parts here; in a column of folds, two folds
_FLAGS = {"0": "train", "false": "train", "no": "train", "1": "test", "true": "test", "yes": "test"}
_HELD_OUT = re.compile(r"h[oe]ld[\s_-]+out")
_PLAIN_WORDS = frozenset({"list", "lists", "file", "files", "filelist", "filtered", "set", "split", "data", "metadata"})
_MOST_NAMED = 6
AUDIO_FOLDERS = ("audio", "wav", "wavs", "clips", "sounds", "recordings")  # common names of folders with recordings
WRAPPERS = frozenset({*AUDIO_FOLDERS, "data", "dataset", "datasets", "files", "samples", "sound"})


@dataclass(frozen=True)
class UnusedPart:
    """Something that looks like a part of the data but is not used as one. line: fact and remedy. labels: the labels
    that it became."""

    line: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class PartNotes:
    """How the parts of a source were interpreted, as lines for people. parts, folds: how they are recognised. said:
    other facts. unused: things that look like parts but are not used."""

    parts: tuple[str, ...] = ()
    folds: tuple[str, ...] = ()
    said: tuple[str, ...] = ()
    unused: tuple[UnusedPart, ...] = ()

    def __add__(self, other: PartNotes) -> PartNotes:
        """The notes of two sources; equal lines appear once."""
        pairs = ((getattr(self, one.name), getattr(other, one.name)) for one in fields(self))
        return PartNotes(*(tuple(dict.fromkeys(mine + others)) for mine, others in pairs))

    @property
    def understood(self) -> tuple[str, ...]:
        return (*self.said, *self.parts, *self.folds)


def part_named(name: str) -> str | None:
    """The part that a name stands for in any spelling: "Train" and "training set" are "train"; None for other names."""
    plain = name.strip().lower()
    return _PARTS.get(plain) or _PARTS.get(_WITHOUT.sub("", _WITHOUT.sub("", plain)))


def parts_named(names: Iterable[str]) -> dict[str, str]:
    """The part of each name, if all of them are parts; otherwise empty."""
    found = {name: part_named(name) for name in names}
    known = {name: part for name, part in found.items() if part is not None}
    return known if len(known) == len(found) else {}


def part_in_name(name: str) -> tuple[str, tuple[str, ...]] | None:
    """The part that one word of a name stands for, and the other words: "birds_train" is "train" of "birds"."""
    words = [word for word in re.split(r"[\s_.-]+", _HELD_OUT.sub("holdout", name.lower())) if word]
    parts = [part for word in words if (part := part_named(word)) is not None]
    rest = tuple(word for word in words if part_named(word) is None and word not in _PLAIN_WORDS)
    return (parts[0], rest) if len(parts) == 1 else None


def parts_in_names(names: Iterable[str]) -> dict[str, str]:
    """The part of each name, if all of them are parts, or all contain one among other words, such as "train-clean" and
    "test-clean"; otherwise empty."""
    known = list(names)
    if plain := parts_named(known):
        return plain
    said = {name: found[0] for name in known if (found := part_in_name(name)) is not None}
    return said if len(said) == len(known) and len(set(said.values())) > 1 else {}


def names_recordings(name: str) -> bool:
    """Whether a folder of this name holds recordings, judged by a word in it: `audio`, `FSD50K.dev_audio`."""
    return any(word in AUDIO_FOLDERS for word in re.split(r"[\W_]+", name.lower()))


def is_of_split(split: str | None, wanted: str) -> bool:
    """Whether a recording with this split is selected; `wanted` may have any spelling."""
    return split is not None and split in (wanted, part_named(wanted))


def is_learned_split(split: str | None, wanted: str | None) -> bool:
    """Whether a recording with this split is trained on: it has the wanted split or none."""
    return wanted is None or split is None or is_of_split(split, wanted)


def fold_named(name: str) -> str | None:
    """The fold of a name such as "fold1" or "Fold_01": its number without leading zeros. A bare number does not
    count."""
    found = _FOLD.fullmatch(name.strip())
    return found[1].lower() if found else None


def fold_in_cell(cell: str) -> str | None:
    """The fold of a cell in a column of folds: as in `fold_named`, or a bare number or letter."""
    found = _FOLD_CELL.fullmatch(cell.strip())
    return found[1].lower() if found else fold_named(cell)


def ordered_folds(folds: Iterable[str]) -> list[str]:
    """Folds in numerical order: 2 before 10."""
    return sorted(folds, key=lambda fold: (len(fold_in_cell(fold) or fold), fold_in_cell(fold) or fold))


def fold_range(folds: Iterable[str]) -> str:
    """Folds for display: "1 to 5" if none in between is missing, otherwise their names."""
    known = ordered_folds(folds)
    numbers = [int(fold) for name in known if (fold := fold_in_cell(name) or "").isdecimal()]
    whole = len(numbers) == len(known) > 2 and numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    return f"{known[0]} to {known[-1]}" if whole else ", ".join(known)


def fold_line(folds: Iterable[str], where: str) -> str:
    return f"folds {fold_range(set(folds))} by {where}"


def name_list(names: Iterable[str]) -> str:
    """Some names in quotes, and the number of the others."""
    known = list(names)
    more = f" and {len(known) - _MOST_NAMED} more" if len(known) > _MOST_NAMED else ""
    return ", ".join(f'"{name}"' for name in known[:_MOST_NAMED]) + more


def fold_column(tags: Iterable[Mapping[str, str]]) -> str | None:
    """The column with the official folds, among the other columns of recordings: it has a usual name, and at least two
    values, all of which are numbers, letters or like "fold1". None if there is none."""
    values: dict[str, set[str]] = {}
    for columns in tags:
        for column, cell in columns.items():
            if column.strip().lower() in _FOLD_COLUMNS and part_named(cell) is None:
                values.setdefault(column, set()).add(cell)
    fitting = [column for column, cells in values.items() if len(cells) > 1 and all(map(fold_in_cell, cells))]
    return min(fitting, key=lambda column: _FOLD_COLUMNS.index(column.strip().lower()), default=None)


# Folders.


@dataclass(frozen=True)
class PartFolders:
    """The level of folders that are parts or folds, and the meaning of each.

    level: 0 for the first folder. inside: whether they contain folders for labels. Otherwise the first folder is the
    label, if there are several above.
    """

    level: int
    parts: Mapping[str, str]
    folds: Mapping[str, str]
    inside: bool
    above: bool

    def split(self, names: Sequence[str]) -> str | None:
        return self.parts.get(names[self.level]) if len(names) > self.level + 1 else None

    def tags(self, names: Sequence[str]) -> dict[str, str]:
        fold = self.folds.get(names[self.level]) if len(names) > self.level + 1 else None
        return {FOLD_COLUMN: fold} if fold else {}

    def label(self, names: Sequence[str]) -> str | None:
        """The folder that is the label of a recording; None if there is none."""
        if self.inside:
            return names[self.level + 1] if len(names) > self.level + 2 else None
        return names[0] if self.above and len(names) > self.level + 1 else None

    @property
    def label_depth(self) -> int:
        """The depth of the label folders."""
        return self.level + 2 if self.inside else 1

    @property
    def notes(self) -> PartNotes:
        parts = f"splits by the folders {name_list(sorted(self.parts))}"
        folders = f"the folders {name_list(ordered_folds(self.folds))}"
        folds = (fold_line(self.folds.values(), folders),) if self.folds else ()
        return PartNotes((parts,) if self.parts else (), folds)


def find_part_folders(paths: Sequence[Sequence[str]]) -> PartFolders | None:
    """The folders that are parts or folds, for recordings with these paths (folders and name) below a root.

    They count only if all sibling folders have names of parts, or all of folds. At least two are needed, except that
    one part is enough if it contains folders. Files next to the top folders are ignored.
    """
    paths = [path for path in paths if len(path) > 1]
    depth = min(map(len, paths), default=0) - 1
    for level in range(depth):
        names = dict.fromkeys(path[level] for path in paths)
        folds = {name: fold for name in names if (fold := fold_named(name)) is not None}
        others = [name for name in names if name not in folds]
        parts = parts_in_names(others)
        inside = any(len(path) > level + 2 for path in paths)
        above = level > 0 and len({path[0] for path in paths}) > 1
        whole = len(parts) == len(others)
        if whole and (len(names) > 1 or (parts and inside and not above)):
            return PartFolders(level, parts, folds, inside and not above, above)
    return None


def find_wrapper(paths: Sequence[Sequence[str]], root_name: str) -> PartFolders | None:
    """Where the label folders are, if all recordings are in a single folder named `data`, `audio` or similar, or like
    the root (an unpacked archive), which therefore is not a label. None if there is no such folder. Such folders may be
    nested."""
    wrappers = {*WRAPPERS, root_name.lower()}
    depth = min(map(len, paths), default=0) - 1
    for level in range(1, depth):
        around = {path[level - 1].lower() for path in paths}
        if len(around) > 1 or not around <= wrappers:
            return None
        if len({path[level] for path in paths}) > 1:
            return PartFolders(level - 1, {}, {}, inside=True, above=False)
    return None


def unused_part_folders(labels: Iterable[str]) -> tuple[UnusedPart, ...]:
    """Notes about folders that are named like parts or folds, but next to others that are not, so that they are labels.
    A sound may be called "train"."""
    names = sorted(set(labels))
    like = [name for name in names if part_named(name) or fold_named(name)]
    if like in ([], names) or all(part_named(name) == "train" for name in like):
        return ()
    others = name_list(name for name in names if name not in like)
    if len(like) == 1:
        fact = f'the folder "{like[0]}" looks like a part, but {others} beside it do not, so it is used as a label'
        remedy = "sort all into folders train and test, or rename it (if it is a label, use --keep-label)"
    else:
        fact = (
            f"the folders {name_list(like)} look like parts, but {others} beside them do not, so all are used as labels"
        )
        remedy = "move the others into them, or rename them (if they are labels, use --keep-label)"
    return (UnusedPart(f"{fact}; {remedy}", tuple(like)),)


# Tables.


@dataclass(frozen=True)
class PartColumn:
    """The column that states the part of a row, and the meaning of its cells; other cells are kept as they are."""

    column: str
    meaning: Mapping[str, str]


def find_part_column(columns: Mapping[str, set[str]]) -> tuple[PartColumn | None, PartNotes]:
    """The column of parts among the columns of a table, given with all their values; and notes on it and on others.

    A column named `split` counts if one of its values is a part; `subset`, `set`, `part` and `partition` if all are; a
    column of folds if some are; `test` if it contains 0 and 1. In `split`, too, 0 is train and 1 is test.
    """
    found: list[PartColumn] = []
    unused: list[UnusedPart] = []
    for column, cells in sorted(columns.items(), key=lambda item: _rank(item[0])):
        values = {cell for cell in cells if cell.strip()}
        meaning = _meanings(column, values)
        if meaning:
            found.append(PartColumn(column, meaning))
        elif values and (line := _unused_column(column, values)):
            unused.append(UnusedPart(line))
    for other in found[1:]:
        fact = f'column "{other.column}" also looks like parts, but is not used, because "{found[0].column}" is'
        unused.append(UnusedPart(f"{fact}; keep one"))
    if not found:
        return None, PartNotes(unused=tuple(unused))
    first = found[0]
    strangers = sorted({cell for cell in columns[first.column] if cell.strip()} - set(first.meaning))
    if strangers and not all(map(fold_in_cell, strangers)):
        fact = f'column "{first.column}": {name_list(strangers)} is not a part; such rows are used for training'
        unused.append(UnusedPart(f"{fact}; write train, validation or test"))
    return first, PartNotes((f'splits by column "{first.column}"',), unused=tuple(unused))


def _rank(column: str) -> int:
    known = (*_SPLIT_COLUMNS, *_FOLD_COLUMNS, *_TEST_COLUMNS)
    name = column.strip().lower()
    return known.index(name) if name in known else len(known)


def _meanings(column: str, values: set[str]) -> dict[str, str]:
    """cell -> part, if the column counts; otherwise empty."""
    name = column.strip().lower()
    if name in _FLAG_COLUMNS and len(values) > 1 and (flags := _flags(values)):
        return flags
    known = {value: part for value in values if (part := part_named(value)) is not None}
    if name in ("split", *_FOLD_COLUMNS):
        return known or parts_in_names(values)
    return known if name in _SPLIT_COLUMNS and len(known) == len(values) > 1 else {}


def _flags(values: Iterable[str]) -> dict[str, str]:
    """The meaning of cells with yes or no; empty if there are other values."""
    found = {value: _FLAGS.get(value.strip().lower().removesuffix(".0")) for value in values}
    known = {value: part for value, part in found.items() if part is not None}
    return known if len(known) == len(found) else {}


def _unused_column(column: str, values: set[str]) -> str:
    """A note about a column that looks like parts but is not used; "" for any other column."""
    name = column.strip().lower()
    if name in _FOLD_COLUMNS:
        if len(values) > 1 and all(map(fold_in_cell, values)):
            return ""  # official folds
        few = "one fold" if len(values) == 1 else f"{name_list(sorted(values))}, which are not numbers"
        return (
            f'column "{column}" is named like a column of folds, but holds {few}, so it is not'
            " used; number the folds from 1"
        )
    if name == "split":
        fact = f'column "{column}" holds {name_list(sorted(values))}, which are not parts, so it is not used'
        return f"{fact}; write train, validation and test, or name the training split in a recipe"
    if name in _TEST_COLUMNS:
        return ""  # a single value, or a test part that was generated
    bare = name.removeprefix("is_")
    if len(values) > 1 and part_named(bare) and (name != bare or part_named(bare) != "train") and _flags(values):
        return f'column "{column}" looks like a part, but is not used; add a column "split" with train and test'
    parts = parts_named(values)
    if len(parts) > 1 and set(parts.values()) != {"train"}:
        return (
            f'column "{column}" holds {name_list(sorted(values))}, but is not used; if these are parts, name it "split"'
        )
    return ""
