"""Parts and folds of clips: no group is parted, and every part has its share of every label, as far as that goes.

After Sechidis et al. (2011, "On the stratification of multi-label data"): rare labels choose first. The order of the
groups is that of a hash of their names, so that the same data is always parted the same way.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence

from audiocnn.dataset import Entry

SALT = "1"
NO_LABEL = ("",)

GroupOf = Mapping[int, str]
"""The group of a recording, by its id."""


def rank(group: str, salt: str = SALT) -> str:
    """A place in an order that has nothing to do with names."""
    return hashlib.sha256(f"{salt} {group}".encode("utf-8", "surrogateescape")).hexdigest()


def labels_in(entry: Entry) -> tuple[str, ...]:
    """The labels that a clip counts for; one without any is of a kind of its own."""
    return entry.labels or NO_LABEL


def cut_clips(
    entries: Sequence[Entry], share: float, group_of: GroupOf, least_groups: int = 2
) -> tuple[list[Entry], list[Entry]]:
    """Clips that stay, and a share of each label's clips in whole groups.

    A label of fewer than `least_groups` groups gives none, any other at least one, and each keeps at least one: so
    nothing may be held out at all. What other labels share of a group is held out with it.
    """
    members = label_counts(entries, group_of)
    groups: dict[str, list[str]] = {}
    for group in sorted(members, key=rank):
        for label in members[group]:
            groups.setdefault(label, []).append(group)
    left = {label: len(mine) for label, mine in groups.items()}
    totals = total_counts(members)
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

    for label in sorted(groups, key=lambda each: (len(groups[each]), rank(each))):
        if len(groups[label]) >= least_groups:
            wanted = max(1, round(share * totals[label]))
            hold(label, wanted, 2.0 * wanted)  # first without a group that is far too large
            if not taken[label]:
                hold(label, wanted, float("inf"))
    return (
        [entry for entry in entries if group_of[entry.id] not in held_out],
        [entry for entry in entries if group_of[entry.id] in held_out],
    )


def label_counts(entries: Sequence[Entry], group_of: GroupOf) -> dict[str, Counter[str]]:
    """How many clips of each label a group has."""
    members: dict[str, Counter[str]] = {}
    for entry in entries:
        members.setdefault(group_of[entry.id], Counter()).update(labels_in(entry))
    return members


def total_counts(members: Mapping[str, Counter[str]]) -> Counter[str]:
    """How many clips of each label there are in all groups."""
    totals: Counter[str] = Counter()
    for counts in members.values():
        totals.update(counts)
    return totals


def folds_of(entries: Sequence[Entry], folds: int, group_of: GroupOf) -> dict[int, str]:
    """The fold, "1" to "folds", of each recording by its id. There must be as many groups as folds, at least.

    The largest groups come first; each goes where its labels are rarest so far, of equal folds to the smallest.
    """
    members = label_counts(entries, group_of)
    totals = total_counts(members)
    inside = [Counter[str]() for _ in range(folds)]
    sizes = [0] * folds
    fold_of: dict[str, str] = {}
    for group in sorted(members, key=lambda each: (-members[each].total(), rank(each))):
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


def smaller(entries: Sequence[Entry], share: float) -> list[Entry]:
    """A share of the clips of each label, at least one; a smaller share is part of a larger one."""
    by_label: dict[str, list[Entry]] = {}
    for entry in entries:
        for label in labels_in(entry):
            by_label.setdefault(label, []).append(entry)
    kept: set[int] = set()
    for mine in by_label.values():
        ranked = sorted(mine, key=lambda entry: rank(entry.filename, "share"))
        kept |= {entry.id for entry in ranked[: max(1, round(share * len(mine)))]}
    return [entry for entry in entries if entry.id in kept]
