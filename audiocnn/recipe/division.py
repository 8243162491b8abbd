"""The parts of a dataset for training, validation and testing. No group is in two parts.

The parts depend only on the names of the groups, so that all trainings on the same data have the same parts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from audiocnn.data.dataset import Dataset, Entry, describe_lost
from audiocnn.data.duplicates import DisjointSets, duplicates_within
from audiocnn.data.parts import (
    STOP_PARTS,
    TEST_PARTS,
    fold_column,
    fold_in_cell,
    fold_line,
    is_learned_split,
    name_list,
    ordered_folds,
    part_named,
)
from audiocnn.data.splits import GroupOf, assign_folds, hold_out_clips, hold_out_groups, stratum_by, take_share
from audiocnn.errors import DatasetError, RecipeError, did_you_mean, show_name
from audiocnn.segments.segment import is_background_label

if TYPE_CHECKING:
    from audiocnn.recipe.recipe import Recipe

_LEAST_CLIPS = 40  # fewer clips give too little to test on, and are needed for training
FEW_GROUPS = 4  # with fewer, a part of whole groups would be half of the data
NOTHING_HELD_OUT = (
    "validation_share = 0: all recordings are used for training, the weights of the last epoch are kept, scores are not"
    " calibrated, and thresholds are 0.5"
)
TEST_GROUPS = 3  # of a label that is tested: one each for testing, validation and training


@dataclass(frozen=True)
class Division:
    """The parts of a dataset. tested_on: a description of the test part, "" if there is none. notes: further remarks.
    understood: how the data itself names its parts or folds, and how they are used. cut: the parts of clips that were
    split here, "test" or "stop"; the others are those of the data."""

    train: list[Entry]
    validation: list[Entry]
    test: list[Entry]
    tested_on: str = ""
    notes: tuple[str, ...] = ()
    understood: tuple[str, ...] = ()
    cut: tuple[str, ...] = ()

    def digest(self) -> str:
        """Equal if the same recordings with the same labels are in the same parts."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        said = sorted((e.filename, sorted(e.labels), name) for name, entries in parts.items() for e in entries)
        return hashlib.blake2b(json.dumps(said).encode(), digest_size=16).hexdigest()


def divide(dataset: Dataset, recipe: Recipe) -> Division:
    """The parts that a recipe asks for. DatasetError, RecipeError: too little data, no such fold, or no test part
    although something looks like one.

    The test part is, in this order: the fold that the recipe names; nothing, if the recipe names the split for
    training; a split with such a name; the last official fold of the data, the one before it being used for validation;
    for clips, a share of the groups, if there are enough. Clips with the same sound count as one group.
    """
    division = _divide(dataset, recipe)
    wanted = (
        recipe.evaluate.test_share and recipe.evaluate.conditions is None and not (recipe.data and recipe.data.split)
    )
    if not division.test and wanted and (unused := _unused(dataset, recipe)):
        raise DatasetError(f"{dataset.folder}: nothing is left for testing: {unused[0]}")
    return replace(division, understood=_understood(dataset, recipe, division))


def _divide(dataset: Dataset, recipe: Recipe) -> Division:
    notes: list[str] = []
    entries, test, tested_on = _tested(dataset, recipe, notes)
    clips = not any(entry.annotated for entry in (*entries, *test))
    given = bool(test) and not (recipe.data and recipe.data.folds)
    if not clips:
        kind = stratum_by(dataset, learned_labels(dataset, recipe), recipe.mix.balance)
        stop = [] if test and tested_on in STOP_PARTS else [e for e in entries if e.split in STOP_PARTS]
        if not recipe.train.validation_share:
            train, stop = entries, []
            notes += [] if recipe.evaluate.conditions else [NOTHING_HELD_OUT]
        elif (recipe.data and recipe.data.split) or not 0 < len(stop) < len(entries):
            train, stop = hold_out_groups(entries, recipe.train.validation_share, kind, bool(recipe.mix.balance))
        else:
            train = [entry for entry in entries if entry.split not in STOP_PARTS]
        notes += _groups_between(_given_parts(train, stop, test)) if given else []
        return Division(_share_of(train, recipe), stop, test, tested_on, tuple(notes))
    _check_clips(dataset, entries, recipe)
    group_of = merge_groups(dataset, entries)
    share, cut = recipe.evaluate.test_share, ["test"] if test and not given else []
    if not tested_on and share and not (recipe.data and recipe.data.split):
        kept, test = _cut_test(entries, share, group_of, notes)
        entries, tested_on = (kept, f"{100 * share:.0f} % held out") if test else (entries, "")
        cut += ["test"] if test else []
    train, stop = _cut_stop(entries, recipe, group_of, notes)
    cut += ["stop"] if stop is not entries and any(entry.split not in STOP_PARTS for entry in stop) else []
    if given:
        parts = _given_parts(train, stop, test)
        notes += [*_copies_between(dataset, parts), *_groups_between(parts)]
    return Division(_share_of(train, recipe), stop, test, tested_on, tuple(notes), cut=tuple(cut))


def _tested(dataset: Dataset, recipe: Recipe, notes: list[str]) -> tuple[list[Entry], list[Entry], str]:
    """The entries that may be used for training, and those that the data or the recipe sets aside for testing."""
    data, entries = recipe.data, list(dataset.entries)
    if data and data.split:
        entries = [entry for entry in entries if is_learned_split(entry.split, data.split)]
    if official_folds(dataset, recipe):
        # Entries outside the folds whose split has the name of another part are not used.
        fold_of = choose_folds(dataset, entries, recipe)
        entries = [entry for entry in entries if entry.id in fold_of or entry.split not in (*TEST_PARTS, *STOP_PARTS)]
        test_fold, stop_fold = _official_roles(fold_of, recipe)
        test = [entry for entry in entries if fold_of.get(entry.id) == test_fold]
        rest = [entry for entry in entries if fold_of.get(entry.id) != test_fold]
        stops = {entry.id for entry in rest if stop_fold is not None and fold_of.get(entry.id) == stop_fold}
        rest = [replace(entry, split=STOP_PARTS[-1] if entry.id in stops else None) for entry in rest]
        return rest, test, f"fold {test_fold}"
    if data and data.test_fold is not None:
        fold_of = choose_folds(dataset, entries, recipe)
        if data.test_fold not in fold_of.values():
            raise _no_fold(data.where, data.test_fold, fold_of)
        test = [entry for entry in entries if fold_of.get(entry.id) == data.test_fold]
        rest = [entry for entry in entries if fold_of.get(entry.id) != data.test_fold]
        return [replace(entry, split=None) for entry in rest], test, f"fold {data.test_fold}"
    if data and data.split:
        return entries, [], ""
    name = _test_part(entries)
    if name is None:
        return entries, [], ""
    found = {entry.split for entry in entries}
    test = [entry for entry in entries if entry.split == name]
    learned = [entry for entry in entries if entry.split not in (name, *TEST_PARTS)]
    if not learned:  # all of it is named test or eval
        return [entry for entry in entries if entry.split != name], test, name
    notes += [f'the split "{one}" is not used' for one in TEST_PARTS if one in found - {name}]
    return learned, test, name


def _test_part(entries: Sequence[Entry]) -> str | None:
    """The split to test on. None if there is none, or if all entries are in it and nothing would be left to train
    on."""
    found = {entry.split for entry in entries}
    name = next((one for one in (*TEST_PARTS, *STOP_PARTS) if one in found), None)
    return None if len(found) == 1 else name


def official_folds(dataset: Dataset, recipe: Recipe) -> str | None:
    """The column with the official folds of the data, if they define the parts: the recipe names no column and no
    number of folds, and either names one of the folds or has nothing else to test on. RecipeError if it names a fold
    and there are none."""
    data = recipe.data
    if data and (data.fold is not None or data.folds):
        return None
    asked = data is not None and data.test_fold is not None
    if not asked and ((data and data.split) or _test_part(dataset.entries)):
        return None
    column = fold_column(entry.tags for entry in dataset.entries)
    if column is None and data and asked:
        what = f'fold "{data.test_fold}" was chosen for testing, but the data has no folds'
        remedy = 'name their column ("fold" in a recipe), or create folds (--folds 5)'
        raise RecipeError(f"{data.where}: {what}; {remedy}")
    return column


def _official_roles(fold_of: GroupOf, recipe: Recipe) -> tuple[str, str | None]:
    """The fold to test on (the last, unless the recipe names one), and the one before it for validation if a third is
    left for training. RecipeError if there is no such fold."""
    folds = ordered_folds(set(fold_of.values()))
    wanted = recipe.data.test_fold if recipe.data else None
    if wanted is None:
        number = len(folds) - 1
    else:
        same = [fold for fold in folds if wanted == fold] or [
            fold for fold in folds if fold_in_cell(wanted) == fold_in_cell(fold)
        ]
        if not same:
            raise _no_fold(recipe.data.where if recipe.data else "", wanted, fold_of)
        number = folds.index(same[0])
    stops = len(folds) > 2 and recipe.train.validation_share
    return folds[number], folds[number - 1] if stops else None


def _no_fold(where: str, wanted: str, fold_of: GroupOf) -> RecipeError:
    near = did_you_mean(wanted, sorted(set(fold_of.values())))
    return RecipeError(f'{where}: no recording is in fold "{wanted}"; {near}')


def _understood(dataset: Dataset, recipe: Recipe, division: Division) -> tuple[str, ...]:
    """The parts and folds that the data names, with the use of each, and those that are not used."""
    notes, data = dataset.parts, recipe.data
    said = [*notes.said]
    folds = [*notes.folds] or _fold_lines(dataset)
    if official_folds(dataset, recipe):
        test_fold, stop_fold = _official_roles(choose_folds(dataset, dataset.entries, recipe), recipe)
        stops = f", {stop_fold} for validation" if stop_fold is not None else ""
        said += [f"{line}: {test_fold} is used for testing{stops}" for line in folds]
        said += [f"{line}: not used, because a fold is used for testing" for line in notes.parts]
    elif not (data and (data.fold is not None or data.folds or data.split)):
        tested = division.tested_on in (*TEST_PARTS, *STOP_PARTS)
        test = f'"{division.tested_on}" is used for testing' if tested else "none of them is used for testing"
        stopping = sorted({entry.split or "" for entry in division.validation} & set(STOP_PARTS))
        stopped = name_list(stopping) if stopping else "a share of the rest"
        roles = f"{test}, {stopped} for validation" if division.validation else test
        said += [f"{line}: {roles}" for line in notes.parts]
        reason = f'not used, because "{division.tested_on}" is used for testing (--fold chooses a fold instead)'
        said += [f"{line}: {reason}" for line in folds if tested]
    return (*said, *_unused(dataset, recipe))


def _unused(dataset: Dataset, recipe: Recipe) -> list[str]:
    """Things that look like a part and are not used, except for labels that the recipe names."""
    named = set(recipe.data.labels or ()) if recipe.data else set()
    return [one.line for one in dataset.parts.unused if not one.labels or not set(one.labels) <= named]


def _fold_lines(dataset: Dataset) -> list[str]:
    """The folds of a dataset that does not record how they were found."""
    column = fold_column(entry.tags for entry in dataset.entries)
    folds = {entry.tags[column] for entry in dataset.entries if entry.tags.get(column)} if column else set()
    return [fold_line(folds, f'column "{column}"')] if folds else []


def _given_parts(train: list[Entry], stop: list[Entry], test: list[Entry]) -> list[list[Entry]]:
    """The parts set aside by the data itself. Validation is one of them only if it is a split of its own."""
    if stop and all(entry.split in STOP_PARTS for entry in stop):
        return [train, stop, test]
    return [[*train, *stop], test]


def _copies_between(dataset: Dataset, parts: Sequence[Sequence[Entry]]) -> Iterator[str]:
    place_of = {entry.id: (place, entry.filename) for place, part in enumerate(parts) for entry in part}
    sets = duplicates_within(dataset, [entry for part in parts for entry in part])
    across = [twins.ids for twins in sets if len({place_of[one][0] for one in twins.ids}) > 1]
    if across:
        one = across[0][0]
        other = next(each for each in across[0] if place_of[each][0] != place_of[one][0])
        files = f"{show_name(place_of[one][1])}, {show_name(place_of[other][1])}"
        what = f"{len(across)} {'sound occurs' if len(across) == 1 else 'sounds occur'} in several parts ({files})"
        yield f"leak: {what}: results will be too good; remove the copies"


def _groups_between(parts: Sequence[Sequence[Entry]]) -> Iterator[str]:
    places: dict[str, set[int]] = {}
    for place, part in enumerate(parts):
        for entry in part:
            places.setdefault(entry.group, set()).add(place)
    across = sorted(group for group, inside in places.items() if len(inside) > 1)
    if across:
        what = f"{len(across)} {'group' if len(across) == 1 else 'groups'} (such as {show_name(across[0])})"
        yield f"leak: {what} in several parts: results will be too good; keep each group in one part"


def choose_folds(dataset: Dataset, entries: Sequence[Entry], recipe: Recipe) -> dict[int, str]:
    """The fold of each recording by its id: from the recipe's column, from the data's own column, or newly assigned. A
    recording without a value has no fold.

    RecipeError: no such column, fewer groups than folds, or no label that occurs in two folds.
    """
    data = recipe.data
    where = data.where if data else str(dataset.folder)
    column = data.fold if data and data.fold is not None else official_folds(dataset, recipe)
    if column is not None:
        named = {entry.id: entry.tags[column] for entry in entries if entry.tags.get(column)}
        if not (data and data.fold is not None):  # the column may also name parts
            named = {number: cell for number, cell in named.items() if part_named(cell) is None}
        if len(set(named.values())) < 2:
            columns = sorted({column for entry in entries for column in entry.tags})
            near = did_you_mean(column, columns) if columns and not named else "at least two are needed"
            raise RecipeError(f'{where}: the column "{column}" names {len(set(named.values()))} folds; {near}')
        learned = [entry for entry in entries if entry.id in named]
        if not any(entry.annotated for entry in learned) and not _returns(learned, named):
            raise RecipeError(f'{where}: no label occurs in two folds of the column "{column}"; correct the column')
        return named
    assert data is not None
    group_of = merge_groups(dataset, entries)
    if data.folds > len(set(group_of.values())):
        have = len(set(group_of.values()))
        raise RecipeError(f"{data.where}: {data.folds} folds, but only {have} groups; ask for at most {have}")
    if not _returns(entries, group_of):
        what = f"{data.where}: {data.folds} folds, but no label occurs in two groups, for training and for testing"
        raise RecipeError(f"{what}; {_more(entries, group_of)}")
    return assign_folds(entries, data.folds, group_of)


def _cut_test(
    entries: list[Entry], share: float, group_of: GroupOf, notes: list[str]
) -> tuple[list[Entry], list[Entry]]:
    if len(entries) < _LEAST_CLIPS:
        remedy = "use --folds to test on each fold in turn" if _returns(entries, group_of) else _more(entries, group_of)
        notes.append(f"{len(entries)} clips are too few to set some aside for testing: {remedy}")
        return entries, []
    groups = len(set(group_of.values()))
    if groups < FEW_GROUPS:
        remedy = f"use --folds {groups}" if _returns(entries, group_of) else _more(entries, group_of)
        few = "1 group is" if groups == 1 else f"{groups} groups are"
        notes.append(f"{few} too few to set one aside for testing: {remedy}")
        return entries, []
    kept, test = hold_out_clips(entries, share, group_of, TEST_GROUPS)
    untested = {entry.label for entry in entries} - {entry.label for entry in test}
    if test and untested:
        notes.append(f"{_count(untested, 'label')} in fewer than {TEST_GROUPS} groups: trained on, but not tested")
    return kept, test


def _cut_stop(
    entries: list[Entry], recipe: Recipe, group_of: GroupOf, notes: list[str]
) -> tuple[list[Entry], list[Entry]]:
    """Clips for training and for validation: a split with such a name, else a share. With a share of 0 all are trained
    on."""
    if not recipe.train.validation_share:
        notes.append(NOTHING_HELD_OUT)
        return entries, []
    named = [entry for entry in entries if entry.split in STOP_PARTS]
    if named and len(named) < len(entries) and not (recipe.data and recipe.data.split):
        return [entry for entry in entries if entry.split not in STOP_PARTS], named
    if len(set(group_of.values())) < FEW_GROUPS:
        group_of = {entry.id: entry.filename for entry in entries}
    train, stop = hold_out_clips(entries, recipe.train.validation_share, group_of)
    if not stop:
        notes.append("no label has two recordings: the training recordings are also used for validation")
        return entries, entries
    return train, stop


def _check_clips(dataset: Dataset, entries: Sequence[Entry], recipe: Recipe) -> None:
    """DatasetError: there is nothing to distinguish, or a clip has several labels where only one is allowed."""
    several = recipe.data is not None and recipe.data.labels_per_clip == "several"
    many = next((entry for entry in entries if len(entry.labels) > 1), None)
    if many and not several:
        remedy = 'set labels_per_clip = "several" in [data] of a recipe'
        raise DatasetError(f"{dataset.folder}: {many.filename} has {len(many.labels)} labels; {remedy}")
    kinds = {entry.labels for entry in entries}
    if len(kinds) == 1 and () not in kinds:
        label = ", ".join(next(iter(kinds)))
        what = f'every recording has the label "{label}", so there is nothing to distinguish'
        mend = f"{describe_lost(dataset.lost)}; repair them, or " if dataset.lost else ""
        remedy = f"{mend}add recordings of other sounds, in a folder of their own"
        raise DatasetError(f"{dataset.folder}: {what}; {remedy}")
    if len(entries) < 2:
        raise DatasetError("one recording is too few: training and validation need at least one each; add more")


def _share_of(train: list[Entry], recipe: Recipe) -> list[Entry]:
    share = recipe.data.training_share if recipe.data else 1.0
    return train if share >= 1.0 else take_share(train, share)


def learned_labels(dataset: Dataset, recipe: Recipe) -> tuple[str, ...]:
    """The labels that a recipe names, without those whose files were all refused. Else all labels of the dataset; a
    network with a background leaves out those that mean the same as that."""
    if recipe.data and recipe.data.labels:
        return tuple(label for label in recipe.data.labels if label not in dataset.lost)
    labels = tuple(dataset.labels)
    wanted = tuple(label for label in labels if not is_background_label(label))
    return wanted if recipe.spec.f.background and wanted else labels


def _returns(entries: Sequence[Entry], group_of: GroupOf) -> bool:
    """Whether a label occurs in two groups, so that one can be trained on and the other tested on."""
    place: dict[str, str] = {}
    return any(place.setdefault(label, group_of[e.id]) != group_of[e.id] for e in entries for label in e.labels)


def _more(entries: Sequence[Entry], group_of: GroupOf) -> str:
    parted = len({*group_of.values()}) < len(entries)
    return "add more recordings of each label" + (", in other groups" if parted else "")


def _count(labels: set[str | None], what: str) -> str:
    return f'1 {what} ("{next(iter(labels))}") is' if len(labels) == 1 else f"{len(labels)} {what}s are"


def merge_groups(dataset: Dataset, entries: Sequence[Entry]) -> dict[int, str]:
    """The group of each recording by its id. Groups that share a sound are merged."""
    numbers: dict[str, int] = {}
    for entry in entries:
        numbers.setdefault(entry.group, len(numbers))
    number_of = {entry.id: numbers[entry.group] for entry in entries}
    sets, names = DisjointSets(len(numbers)), list(numbers)
    for twins in duplicates_within(dataset, entries):
        for other in twins.ids[1:]:
            sets.join(number_of[twins.ids[0]], number_of[other])
    return {entry.id: names[sets.top(number_of[entry.id])] for entry in entries}


def check_labels(recipe: Recipe, dataset: Dataset, division: Division, labels: Sequence[str]) -> None:
    """DatasetError for a label without any recording in the training part, before time is spent. Exceptions are folds,
    where a rare label may be in another one, and synthetic noise, which needs no recording."""
    if recipe.data is not None and (recipe.data.test_fold is not None or recipe.data.training_share < 1.0):
        return
    learned = labels_of_entries(dataset, division.train)
    for label in labels:
        if label in learned or label == recipe.mix.coloured_label:
            continue
        where = f'{dataset.folder}: no recording in the training part has the label "{label}"'
        if label not in labels_of_entries(dataset, dataset.entries):
            known = sorted(labels_of_entries(dataset, dataset.entries))
            raise DatasetError(f"{where}, nor does any other; {did_you_mean(label, known)}")
        parts = {"in the validation part": division.validation, "in the test part": division.test}
        other = next((name for name, part in parts.items() if label in labels_of_entries(dataset, part)), "left out")
        raise DatasetError(f"{where}, only ones {other}; add recordings of it, or list the [data] labels without it")


def labels_of_entries(dataset: Dataset, entries: Sequence[Entry]) -> set[str]:
    found = {label for entry in entries for label in entry.labels}
    return found | {note.label for entry in entries if entry.annotated for note in dataset.annotations(entry)}
