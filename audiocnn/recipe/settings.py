"""The `[train]` table of a recipe: length, steps and update rule of a training."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audiocnn.model.model import TOML
from audiocnn.spec.hints import read_optimisation
from audiocnn.toml import TomlTable

AUTO_BATCH_SIZE = 0  # as batch_size: the largest that fits
BALANCES = ("none", "sampling", "loss", "prior")
AUTO_PRECISION = "auto"
PRECISIONS = (AUTO_PRECISION, "float32", "bfloat16", "float16")
LEAST_BATCHES = 10  # in an epoch that uses each clip once


@dataclass(frozen=True)
class TrainSettings:
    """An epoch is a number of examples, made on demand. A step uses a batch of them, over all processes."""

    epochs: int = 40
    examples_per_epoch: int = 3000
    batch_size: int = 32
    accumulate: int = 1  # parts of a batch that are computed in sequence; only one part needs memory
    learning_rate: float = 2e-3
    optimizer: str = "adamw"
    weight_decay: float = 1e-2
    decay_norms: bool = True  # False: neither biases nor norms decay
    momentum: float = 0.9  # of "sgd"
    nesterov: bool = True
    schedule: str = "cosine"
    schedule_epochs: int = 10  # "step": epochs between reductions; "plateau": epochs without improvement before one
    schedule_factor: float = 0.3  # multiplies the rate at each reduction
    warmup_share: float = 0.05
    gradient_clip: float = 5.0
    initialisation: str = "he"  # of the initial weights
    averaging: float = 0.998  # of the weights, an exponential mean over steps; 0 turns it off
    validation_share: float = 0.1
    validation_examples: int = 400
    patience: int = 10
    workers: int = 1
    precision: str = "float32"  # of activations; bfloat16 is two to three times as fast, if the CPU supports it
    compile: bool = False  # by torch.compile, if a compiler is available
    teacher: str = ""  # a trained model (or ensemble) whose scores are learned in addition to the marks
    teacher_share: float = 0.5
    edge_seconds: float = 0.0  # marks are averaged over this time around each hop; 0 leaves them at 0 and 1
    label_smoothing: float = 0.0  # of clips: the share of each target that is spread over all labels
    balance: str = "none"  # of clips: rare labels are drawn more often, weigh more, or get an offset
    balance_power: float = 0.5  # of their counts; 1 gives all labels equal weight


# Defaults that differ for whole clips; `CLIP_MIX` has those of `[mix]`.
CLIP_TRAIN: dict[str, Any] = {"examples_per_epoch": 0, "patience": 20, "precision": AUTO_PRECISION}


def read_train(table: TomlTable, folder: Path) -> TrainSettings:
    """`[train]`. The folder of a teacher is relative to the recipe."""
    base = TrainSettings()
    teacher = table.text("teacher", base.teacher)
    whole = ("epochs", "accumulate", "validation_examples", "patience", "schedule_epochs")
    settings = dataclasses.replace(
        base,
        decay_norms=table.flag("decay_norms", base.decay_norms),
        nesterov=table.flag("nesterov", base.nesterov),
        schedule_factor=table.number("schedule_factor", base.schedule_factor, above=True, most=1.0),
        batch_size=read_batch_size(table, base.batch_size),
        examples_per_epoch=table.integer("examples_per_epoch", base.examples_per_epoch, least=0),
        label_smoothing=table.number("label_smoothing", base.label_smoothing, most=0.9),
        balance=table.text("balance", base.balance, BALANCES),
        balance_power=table.number("balance_power", base.balance_power, most=1.0),
        averaging=table.number("averaging", base.averaging, most=0.99999),
        validation_share=table.number("validation_share", base.validation_share, most=0.9),
        workers=table.integer("workers", base.workers, least=0, most=256),
        precision=table.text("precision", base.precision, PRECISIONS),
        compile=table.flag("compile", base.compile),
        teacher=resolve_model(folder, teacher) if teacher else "",
        teacher_share=table.number("teacher_share", base.teacher_share, most=1.0),
        edge_seconds=table.number("edge_seconds", base.edge_seconds, most=10.0),
        **{key: table.integer(key, getattr(base, key)) for key in whole},
        **read_optimisation(table, lambda key: getattr(base, key)),
    )
    if settings.schedule == "plateau" and not settings.validation_share:
        raise table.wrong('schedule = "plateau" needs a validation part; set validation_share, or use another schedule')
    table.close()
    return settings


def read_batch_size(table: TomlTable, default: int) -> int:
    if table.values.get("batch_size") == "auto":
        table.text("batch_size")
        return AUTO_BATCH_SIZE
    size: int = table.integer("batch_size", default)
    return size


def resolve_model(folder: Path, name: str) -> str:
    """The full path of a model (or run) in a folder, if there is one of this name; else the name, of a released
    model."""
    path = folder / name
    return str(path.resolve()) if any((path / part).is_file() for part in (TOML, f"model/{TOML}")) else name
