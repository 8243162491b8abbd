"""Checkpoints: everything comes back bit by bit, and what is damaged or of another network says so."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from audiocnn.errors import ModelError
from audiocnn.training.checkpoint import _FORMAT, read_checkpoint, restore_checkpoint, save_checkpoint


def parts_of(seed, width=4):
    """Two networks and an optimizer that has made two steps."""
    torch.manual_seed(seed)
    parts = {name: nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width)) for name in ("network", "averaged")}
    optimizer = torch.optim.AdamW(parts["network"].parameters(), lr=0.1)
    step(parts, optimizer)
    step(parts, optimizer)
    return parts, optimizer


def step(parts, optimizer):
    optimizer.zero_grad()
    parts["network"](torch.rand(5, 3)).square().sum().backward()
    optimizer.step()


def states(parts, optimizer):
    tensors = [value for part in parts.values() for value in part.state_dict().values()]
    kept = optimizer.state_dict()["state"]
    return tensors + [kept[number][key] for number in sorted(kept) for key in sorted(kept[number])]


PROGRESS = {"epoch": 3, "best": 0.1 + 0.2, "log": [{"loss": 1e-30}], "name": "größe"}


def load_checkpoint(path, parts, optimizer=None):
    checkpoint = read_checkpoint(path)
    restore_checkpoint(checkpoint, parts, optimizer, path)
    return checkpoint.progress


def test_everything_comes_back_bit_by_bit(tmp_path):
    parts, optimizer = parts_of(1)
    save_checkpoint(tmp_path / "x", parts, optimizer, PROGRESS)
    random_after = torch.rand(4)
    other, other_optimizer = parts_of(2)
    assert load_checkpoint(tmp_path / "x", other, other_optimizer) == PROGRESS
    assert torch.equal(torch.rand(4), random_after)
    assert all(map(torch.equal, states(parts, optimizer), states(other, other_optimizer)))
    # And what is learned next is the same.
    for pair in ((parts, optimizer), (other, other_optimizer)):
        torch.manual_seed(9)
        step(*pair)
    assert all(map(torch.equal, states(parts, optimizer), states(other, other_optimizer)))


def test_one_part_can_be_read_alone_and_leaves_the_random_state(tmp_path):
    parts, optimizer = parts_of(1)
    save_checkpoint(tmp_path / "x", parts, optimizer, PROGRESS)
    other, _ = parts_of(2)
    before = torch.get_rng_state()
    load_checkpoint(tmp_path / "x", {"averaged": other["averaged"]})
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(other["averaged"][0].weight, parts["averaged"][0].weight)
    assert not torch.equal(other["network"][0].weight, parts["network"][0].weight)


def test_parts_may_share_their_weights(tmp_path):
    parts, optimizer = parts_of(1)
    parts["averaged"] = parts["network"]
    save_checkpoint(tmp_path / "x", parts, optimizer, {})
    other, _ = parts_of(2)
    load_checkpoint(tmp_path / "x", other)
    assert torch.equal(other["network"][0].weight, other["averaged"][0].weight)


def test_a_checkpoint_is_whole_at_every_moment(tmp_path, monkeypatch):
    parts, optimizer = parts_of(1)
    save_checkpoint(tmp_path / "x", parts, optimizer, {"epoch": 1})
    whole = (tmp_path / "x").read_bytes()

    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(tmp_path / "x", parts, optimizer, {"epoch": 2})
    assert (tmp_path / "x").read_bytes() == whole
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_it_is_plain_tensors_and_json(tmp_path):
    parts, optimizer = parts_of(1)
    save_checkpoint(tmp_path / "x", parts, optimizer, PROGRESS)
    with safe_open(tmp_path / "x", framework="pt") as file:
        assert json.loads(file.metadata()["progress"]) == PROGRESS
        assert file.metadata()["format"] == str(_FORMAT)
        names = set(file.keys())
    assert {"random", "network.0.weight", "averaged.1.running_mean", "optimizer.0.exp_avg", "optimizer.3.step"} <= names


def damaged(path, how):
    content = path.read_bytes()
    if how == "missing":
        path.unlink()
    elif how == "metadata":
        save_file(load_file(path), path)
    elif how == "format":
        with safe_open(path, framework="pt") as file:
            header = file.metadata() | {"format": str(_FORMAT + 1)}
        save_file(load_file(path), path, header)
    elif how == "progress":
        save_file(load_file(path), path, {"format": str(_FORMAT), "progress": "{"})
    else:
        path.write_bytes({"empty": b"", "text": b"no tensors", "cut": content[: len(content) // 2]}[how])


@pytest.mark.parametrize("how", ["missing", "empty", "text", "cut", "metadata", "format", "progress"])
def test_what_is_damaged_is_refused_with_the_remedy(tmp_path, how):
    parts, optimizer = parts_of(1)
    path = tmp_path / "last.safetensors"
    save_checkpoint(path, parts, optimizer, PROGRESS)
    damaged(path, how)
    with pytest.raises(ModelError, match=r"start again with --force$") as caught:
        load_checkpoint(path, parts, optimizer)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    parts, optimizer = parts_of(1, width=4)
    save_checkpoint(tmp_path / "x", parts, optimizer, PROGRESS)
    other, other_optimizer = parts_of(1, width=5)
    with pytest.raises(ModelError, match=r"x: cannot be resumed \(.*\); start again with --force$"):
        load_checkpoint(tmp_path / "x", other, other_optimizer)
