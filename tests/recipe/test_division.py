"""Which recordings are held out."""

from __future__ import annotations

import numpy as np
import pytest

from audiocnn.data.dataset import Entry
from audiocnn.data.splits import hold_out_groups
from audiocnn.errors import DatasetError

RATE = 2000


def entry(number, group, label=None, source=""):
    return Entry(number, f"{number}.wav", RATE, label, True, group, None, {"source": source})


def cut(entries, balance="", share=0.2):
    return hold_out_groups(
        entries, share, lambda each: each.tags["source"] if balance else str(each.label), bool(balance)
    )


@pytest.mark.parametrize("balance", ["", "source"])
@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9])
def test_no_group_is_in_both_parts(balance, share):
    random = np.random.default_rng(0)
    entries = [
        entry(i, f"g{random.integers(30)}", str(random.integers(3)), str(random.integers(4))) for i in range(300)
    ]
    train, held_out = cut(entries, balance, share)
    assert sorted(each.id for each in train + held_out) == list(range(300))
    assert train
    assert held_out
    assert not {each.group for each in train} & {each.group for each in held_out}


def test_a_share_of_the_groups_of_every_part_is_held_out():
    entries = [entry(i, f"{i % 2}-{i // 4}", str(i % 2)) for i in range(400)]  # 2 labels of 100 groups
    _, held_out = cut(entries, share=0.2)
    for label in "01":
        assert len({each.group for each in held_out if each.label == label}) == 20


def test_every_label_has_a_group_to_stop_by_where_it_has_two():
    entries = [entry(i, f"g{i}", "many") for i in range(20)]
    entries += [entry(20, "few1", "few"), entry(21, "few2", "few"), entry(22, "one", "one")]
    train, held_out = cut(entries, share=0.1)
    assert {each.label for each in held_out} == {"many", "few"}
    assert {each.label for each in train} == {"many", "few", "one"}


def test_small_sources_may_stay_in_the_training():
    entries = [entry(i, f"g{i}", source="large") for i in range(20)] + [
        entry(20 + i, f"s{i}", source="small") for i in range(3)
    ]
    _, held_out = cut(entries, "source", share=0.1)
    assert [each.tags["source"] for each in held_out] == ["large"] * 2


def test_the_cut_follows_from_the_names_alone():
    entries = [entry(i, f"g{i}") for i in range(50)]
    one = {each.id for each in cut(entries)[1]}
    assert {each.id for each in cut(entries[::-1])[1]} == one
    # More recordings of the same groups do not move them.
    more = entries + [entry(100 + i, f"g{i}") for i in range(50)]
    assert {each.group for each in cut(more)[1]} == {f"g{i}" for i in one}


def test_one_group_alone_is_cut_by_recording():
    train, held_out = cut([entry(i, "same") for i in range(10)])
    assert (len(train), len(held_out)) == (8, 2)


def test_names_that_are_no_text_can_be_groups():
    train, held_out = cut([entry(i, f"g\udcff{i}") for i in range(10)])
    assert (len(train), len(held_out)) == (8, 2)


@pytest.mark.parametrize("balance", ["", "source"])
def test_one_recording_is_too_few(balance):
    with pytest.raises(DatasetError, match=r"one recording is too few: .* for training, .* early stopping"):
        cut([entry(0, "g")], balance)
