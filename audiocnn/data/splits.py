"""Splitting of clips into parts and folds, which keeps groups whole and stratifies by label.

The method follows Sechidis et al. (2011, "On the stratification of multi-label data"): rare labels are assigned first.
Groups are ordered by a hash of their names, so that the same data are always split in the same way.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from audiocnn.data.dataset import Dataset, Entry
from audiocnn.errors import DatasetError

_SALT = "1"
_NO_LABEL = ("",)
GroupOf = Mapping[int, str]
"""The group of each recording, by its id."""


def _hash_rank(group: str, salt: str = _SALT) -> str:
    return hashlib.sha256(f"{salt} {group}".encode("utf-8", "surrogateescape")).hexdigest()


def _labels_or_none(entry: Entry) -> tuple[str, ...]:
    """The labels of a clip; clips without a label share an extra label."""
    return entry.labels or _NO_LABEL


def hold_out_clips(
    entries: Sequence[Entry], share: float, group_of: GroupOf, least_groups: int = 2
) -> tuple[list[Entry], list[Entry]]:
    """Clips to train on, and clips to hold out: a share of each label's clips, in whole groups.

    A label with fewer than `least_groups` groups gives none. Any other label gives at least one and keeps at least one,
    so the second list may be empty. All labels of a held-out group are held out with it.
    """
    members = _count_by_group(entries, group_of)
    groups: dict[str, list[str]] = {}
    for group in sorted(members, key=_hash_rank):
        for label in members[group]:
            groups.setdefault(label, []).append(group)
    left = {label: len(mine) for label, mine in groups.items()}
    totals = _count_in_all(members)
    taken: Counter[str] = Counter()
    held_out: set[str] = set()

    def hold(label: str, wanted: int, most: float) -> None:
        for group in groups[label]:
            size = members[group][label]
            too_many = taken[label] + size - wanted > wanted - taken[label] if taken[label] else size > most
            if taken[label] >= wanted or too_many or group in held_out or any(left[one] < 2 for one in members[group]):
                continue
            held_out.add(group)
            taken.update(members[group])
            for one in members[group]:
                left[one] -= 1

    for label in sorted(groups, key=lambda each: (len(groups[each]), _hash_rank(each))):
        if len(groups[label]) >= least_groups:
            wanted = max(1, round(share * totals[label]))
            hold(label, wanted, 2.0 * wanted)  # first without a group that is far too large
            if not taken[label]:
                hold(label, wanted, float("inf"))
    return (
        [entry for entry in entries if group_of[entry.id] not in held_out],
        [entry for entry in entries if group_of[entry.id] in held_out],
    )


def _count_by_group(entries: Sequence[Entry], group_of: GroupOf) -> dict[str, Counter[str]]:
    """The number of clips of each label in each group."""
    members: dict[str, Counter[str]] = {}
    for entry in entries:
        members.setdefault(group_of[entry.id], Counter()).update(_labels_or_none(entry))
    return members


def _count_in_all(members: Mapping[str, Counter[str]]) -> Counter[str]:
    totals: Counter[str] = Counter()
    for counts in members.values():
        totals.update(counts)
    return totals


def assign_folds(entries: Sequence[Entry], folds: int, group_of: GroupOf) -> dict[int, str]:
    """The fold, "1" to "folds", of each recording by its id. There must be at least as many groups as folds.

    The largest groups are assigned first. Each goes to the fold where its labels are rarest, and among equal folds to
    the smallest.
    """
    members = _count_by_group(entries, group_of)
    totals = _count_in_all(members)
    inside = [Counter[str]() for _ in range(folds)]
    sizes = [0] * folds
    fold_of: dict[str, str] = {}
    for group in sorted(members, key=lambda each: (-members[each].total(), _hash_rank(each))):
        counts = members[group]
        crowded = [
            (sum(count * fold[label] / totals[label] for label, count in counts.items()), sizes[number], number)
            for number, fold in enumerate(inside)
        ]
        chosen = min(crowded)[2]
        inside[chosen].update(counts)
        sizes[chosen] += counts.total()
        fold_of[group] = str(chosen + 1)
    return {entry.id: fold_of[group_of[entry.id]] for entry in entries}


def take_share(entries: Sequence[Entry], share: float) -> list[Entry]:
    """A share of the clips of each label, at least one; a smaller share is a subset of a larger one."""
    by_label: dict[str, list[Entry]] = {}
    for entry in entries:
        for label in _labels_or_none(entry):
            by_label.setdefault(label, []).append(entry)
    kept: set[int] = set()
    for mine in by_label.values():
        ranked = sorted(mine, key=lambda entry: _hash_rank(entry.filename, "share"))
        kept |= {entry.id for entry in ranked[: max(1, round(share * len(mine)))]}
    return [entry for entry in entries if entry.id in kept]


def hold_out_groups(
    entries: Sequence[Entry], share: float, stratum_of: Callable[[Entry], str], balanced: bool
) -> tuple[list[Entry], list[Entry]]:
    """Entries to train on, and entries for early stopping and tuning. No group is in both.

    A share of the groups in each stratum is held out: those whose hash comes first, whatever the seed of the training,
    so that repeated trainings are judged by the same recordings. A single group is split by recording. balanced: there
    are many strata, and small ones may hold nothing out; otherwise every stratum holds out at least one group, and
    keeps one. Raises DatasetError for a single recording.
    """
    by_recording = len({entry.group for entry in entries}) < 2
    strata: dict[str, set[str]] = {}
    for entry in entries:
        strata.setdefault(stratum_of(entry), set()).add(entry.filename if by_recording else entry.group)
    ranked = {name: sorted(groups, key=_hash_rank) for name, groups in strata.items()}
    held_out: set[str] = set()
    for groups in ranked.values():
        count = round(share * len(groups))
        if not balanced:  # every label counts for early stopping
            count = min(max(count, 1), len(groups) - 1)
        held_out |= set(groups[:count])
    if not held_out:
        held_out = {min((group for groups in ranked.values() for group in groups), key=_hash_rank)}

    def is_held_out(entry: Entry) -> bool:
        return (entry.filename if by_recording else entry.group) in held_out

    train = [entry for entry in entries if not is_held_out(entry)]
    if not train:
        raise DatasetError(
            "one recording is too few: some are needed for training, others for early stopping; add more"
        )
    return train, [entry for entry in entries if is_held_out(entry)]


def stratum_by(dataset: Dataset, labels: Sequence[str], balance: str) -> Callable[[Entry], str]:
    """The stratum of an entry: its value in the column `balance`, or its labels."""

    def stratum(entry: Entry) -> str:
        if balance:
            return entry.tags.get(balance, "")
        return str(sorted({note.label for note in dataset.annotations(entry)} & set(labels)))

    return stratum
