"""Checkpoints: everything a training needs to go on, in one safetensors file that is whole at every moment."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from audiocnn.errors import AudiocnnError, ModelError
from audiocnn.whole_files import write_whole

FORMAT = 1
LAST, BEST = Path("checkpoints/last.safetensors"), Path("checkpoints/best.safetensors")  # in the folder of a run
TEMPORARY = re.compile(r"\.(recipe\.toml|[a-z_]+\.(safetensors|jsonl|json|csv|png))\.[a-z0-9_]{8}")


def save_checkpoint(
    path: Path, parts: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer, progress: Mapping[str, Any]
) -> None:
    """Write the weights of the parts, the optimizer, torch's random state and `progress` (JSON values)."""
    tensors: dict[str, Tensor] = {"random": torch.get_rng_state()}
    for name, module in parts.items():
        tensors |= {f"{name}.{key}": value for key, value in module.state_dict().items()}
    for number, state in optimizer.state_dict()["state"].items():
        there = {key: value for key, value in state.items() if value is not None}
        tensors |= {f"optimizer.{number}.{key}": torch.as_tensor(value) for key, value in there.items()}
    # Two names may share one tensor; safetensors wants each its own.
    content = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    header = {"format": str(FORMAT), "progress": json.dumps(progress)}
    with writing(path):
        write_whole(path, save(content, metadata=header))


class Kept(NamedTuple):
    """What a checkpoint holds."""

    tensors: dict[str, Tensor]
    progress: dict[str, Any]


def load_checkpoint(
    path: Path, parts: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer | None = None
) -> dict[str, Any]:
    """Put a checkpoint back and return its progress. ModelError where the file is damaged or of another network."""
    return put_back(read_checkpoint(path), parts, optimizer, path)


def read_checkpoint(path: Path) -> Kept:
    """All of a checkpoint. ModelError where the file is damaged."""
    with resuming(path), safe_open(path, framework="pt") as file:
        header = file.metadata() or {}
        if int(header.get("format", 0)) != FORMAT:
            raise ModelError(f"{path}: is not a checkpoint of this version; start again with --force")
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return Kept(tensors, json.loads(header["progress"]))


def put_back(
    kept: Kept, parts: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer | None, path: Path
) -> dict[str, Any]:
    """Give networks and optimizer what they had; returns the progress. ModelError where they are others."""
    with resuming(path):
        for name, module in parts.items():
            module.load_state_dict(starting(kept.tensors, f"{name}."))
        if optimizer is not None:
            restore_optimizer(optimizer, starting(kept.tensors, "optimizer."))
            torch.set_rng_state(kept.tensors["random"])
    return kept.progress


@contextmanager
def resuming(path: Path) -> Iterator[None]:
    """What goes wrong with a checkpoint, as one line with the remedy."""
    try:
        yield
    except (OSError, SafetensorError, RuntimeError, ValueError, KeyError) as problem:
        said = " ".join(str(problem).split())[:120]
        raise ModelError(f"{path}: cannot be resumed ({said}); start again with --force") from None


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """A full disk, or a folder that may not be written in, as one line: what was there is as it was."""
    try:
        yield
    except OSError as problem:
        said = problem.strerror or str(problem)
        remedy = "make room there, then go on with --resume: what was saved before is whole"
        raise AudiocnnError(f"{path}: cannot be written ({said}); {remedy}") from None


def clear_temporaries(folder: Path) -> None:
    """Remove what a process that was killed while it wrote has left: `.NAME.` and eight letters, beside NAME."""
    for path in folder.glob(".*"):
        if TEMPORARY.fullmatch(path.name) and path.is_file():
            path.unlink()


def progress_in(path: Path) -> dict[str, Any]:
    """The progress in a checkpoint, without the weights; empty where it cannot be read, as `load_checkpoint` says."""
    try:
        with safe_open(path, framework="pt") as file:
            progress: dict[str, Any] = json.loads((file.metadata() or {}).get("progress", "{}"))
    except (OSError, SafetensorError, ValueError):
        return {}
    return progress


def starting(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors under a prefix, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put the optimizer's state back."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        number, _, key = name.partition(".")
        state.setdefault(int(number), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
