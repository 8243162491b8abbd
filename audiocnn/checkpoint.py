"""Checkpoints: everything a training needs to go on, in one safetensors file that is whole at every moment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from audiocnn.errors import ModelError
from audiocnn.model import write_whole

FORMAT = 1


def save_checkpoint(
    path: Path, parts: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer, progress: Mapping[str, Any]
) -> None:
    """Write the weights of the parts, the optimizer, torch's random state and `progress` (JSON values)."""
    tensors: dict[str, Tensor] = {"random": torch.get_rng_state()}
    for name, module in parts.items():
        tensors |= {f"{name}.{key}": value for key, value in module.state_dict().items()}
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{key}": torch.as_tensor(value) for key, value in state.items()}
    # Two names may share one tensor; safetensors wants each its own.
    content = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    header = {"format": str(FORMAT), "progress": json.dumps(progress)}
    write_whole(path, save(content, metadata=header))


def load_checkpoint(
    path: Path, parts: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer | None = None
) -> dict[str, Any]:
    """Put a checkpoint back and return its progress. ModelError where the file is damaged or of another network."""
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            if int(header.get("format", 0)) != FORMAT:
                raise ModelError(f"{path}: is not a checkpoint of this version; start again with --force")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        for name, module in parts.items():
            module.load_state_dict(starting(tensors, f"{name}."))
        if optimizer is not None:
            restore_optimizer(optimizer, starting(tensors, "optimizer."))
            torch.set_rng_state(tensors["random"])
        progress: dict[str, Any] = json.loads(header["progress"])
    except (OSError, SafetensorError, RuntimeError, ValueError, KeyError) as problem:
        said = " ".join(str(problem).split())[:120]
        raise ModelError(f"{path}: cannot be resumed ({said}); start again with --force") from None
    return progress


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
