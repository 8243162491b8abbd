"""Checkpoints: everything needed to resume a training, in one safetensors file that is replaced atomically."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from audiocnn.errors import AudiocnnError, ModelError
from audiocnn.files import parse_json, write_whole
from audiocnn.training.dead_units import LayerUnits

_FORMAT = 1
LAST_CHECKPOINT = Path("checkpoints/last.safetensors")  # in the folder of a run
BEST_CHECKPOINT = Path("checkpoints/best.safetensors")
_TEMPORARY = re.compile(
    r"\.(recipe\.toml|run\.json|clips\.tsv|metrics\.(csv|jsonl)|curves\.png|(last|best)\.safetensors)\.[a-z0-9_]{8}"
)


@dataclass
class TrainingState:
    """The state of a training besides weights and optimizer, saved with each checkpoint as JSON.

    The position is (epoch, step). Every random draw depends on the seed and these two, so that no random state has to
    be stored. threads, processes: those used so far; with other numbers, sums differ in the last bit.
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    best: float = -math.inf
    best_loss: float = math.inf  # for equal results, the lower loss is better
    best_epoch: int = 0
    seconds: float = 0.0
    division: str = ""  # a digest of the training, validation and test parts
    origin: dict[str, Any] = field(default_factory=dict)
    log: list[dict[str, Any]] = field(default_factory=list)
    drops: int = 0  # of the learning rate, with the schedule "plateau"
    dropped_at: int = 0  # the epoch of the last one
    scaler: dict[str, Any] = field(default_factory=dict)  # of the gradient scaler in half precision
    threads: int = 0
    processes: int = 1
    dead: list[dict[str, Any]] = field(default_factory=list)  # `LayerUnits` of the best epoch
    epochs: int = 0  # number of epochs wanted; 0: unknown
    extended_at: int = 0  # the epoch at which the number was last increased; patience counts from it

    def check(self) -> None:
        """TypeError, ValueError or KeyError for values that no training writes."""
        whole = [self.epoch, self.step, self.best_epoch, self.drops, self.dropped_at, self.threads, self.processes]
        whole += [self.epochs, self.extended_at]
        if not all(type(number) is int and 0 <= number < 2**31 for number in whole):
            raise ValueError(whole)
        for number in (self.loss_sum, self.best, self.best_loss, self.seconds):
            if not isinstance(number, int | float):
                raise TypeError(number)
        if not isinstance(self.origin, dict) or not isinstance(self.scaler, dict):
            raise TypeError(self.origin)
        if not all(isinstance(row["figure_name"], str) and type(row["epoch"]) is int for row in self.log):
            raise ValueError(self.log)
        for row in self.dead:
            LayerUnits(**row)


class Checkpoint(NamedTuple):
    tensors: dict[str, Tensor]
    progress: dict[str, Any]


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
    # Two names may share one tensor, but safetensors needs one tensor for each.
    content = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    header = {"format": str(_FORMAT), "progress": json.dumps(progress)}
    with explain_write_errors(path):
        write_whole(path, save(content, metadata=header))


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a complete checkpoint. ModelError if the file is damaged."""
    with _explain_read_errors(path), safe_open(path, framework="pt") as file:
        header = file.metadata() or {}
        if int(header.get("format", 0)) != _FORMAT:
            raise ModelError(f"{path}: not a checkpoint of this version; start again with --force")
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return Checkpoint(tensors, parse_json(header["progress"]))


def restore_checkpoint(
    checkpoint: Checkpoint, parts: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer | None, path: Path
) -> None:
    """Restore the state of networks and optimizer. ModelError if it belongs to another network."""
    with _explain_read_errors(path):
        for name, module in parts.items():
            module.load_state_dict(_with_prefix(checkpoint.tensors, f"{name}."))
        if optimizer is not None:
            _restore_optimizer(optimizer, _with_prefix(checkpoint.tensors, "optimizer."))
            torch.set_rng_state(checkpoint.tensors["random"])


@contextmanager
def _explain_read_errors(path: Path) -> Iterator[None]:
    """Report reading errors as one line with the remedy."""
    try:
        yield
    except (OSError, SafetensorError, RuntimeError, ValueError, KeyError) as problem:
        said = " ".join(str(problem).split())[:120]
        raise ModelError(f"{path}: cannot be resumed ({said}); start again with --force") from None


@contextmanager
def explain_write_errors(path: Path) -> Iterator[None]:
    """Report a full disk or a read-only folder as one line with the remedy. Earlier files stay intact."""
    try:
        yield
    except OSError as problem:
        said = problem.strerror or str(problem)
        remedy = "free space there, then continue with --resume: the last checkpoint is intact"
        raise AudiocnnError(f"{path}: cannot be written ({said}); {remedy}") from None


def clear_temporaries(folder: Path) -> None:
    """Remove files left by a process that was killed while writing: `.NAME.` and eight letters, beside NAME."""
    for path in folder.glob(".*"):
        if _TEMPORARY.fullmatch(path.name) and path.is_file():
            path.unlink()


def read_progress(path: Path) -> dict[str, Any]:
    """The progress in a checkpoint, without the weights. Empty if it cannot be read."""
    try:
        with safe_open(path, framework="pt") as file:
            progress = parse_json((file.metadata() or {}).get("progress", "{}"))
    except (OSError, SafetensorError, ValueError):
        return {}
    return progress if isinstance(progress, dict) else {}


def _with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        number, _, key = name.partition(".")
        state.setdefault(int(number), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
