"""`[train]` of a spec: training settings of a network, used if neither an option nor the recipe sets them.

This is a separate file because a recipe reads the same keys with the same ranges (`read_optimisation`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from audiocnn.errors import SpecError
from audiocnn.toml import TomlTable

OPTIMIZERS = ("adamw", "adam", "sgd")
HINTED_SCHEDULES = ("cosine", "one_cycle", "constant")  # schedules that adapt to the length of any training
SCHEDULES = (*HINTED_SCHEDULES, "step", "plateau")
INITIALISATIONS = ("he", "data", "glorot", "orthogonal")


def read_optimisation(
    table: TomlTable, default: Callable[[str], Any], schedules: tuple[str, ...] = SCHEDULES
) -> dict[str, Any]:
    """The keys that specs and recipes share, each with its value, or with `default(key)`."""
    return {
        "optimizer": table.text("optimizer", default("optimizer"), OPTIMIZERS),
        "learning_rate": table.number("learning_rate", default("learning_rate"), above=True, most=100.0),
        "weight_decay": table.number("weight_decay", default("weight_decay"), most=100.0),
        "momentum": table.number("momentum", default("momentum"), most=0.9999),
        "schedule": table.text("schedule", default("schedule"), schedules),
        "warmup_share": table.number("warmup_share", default("warmup_share"), most=1.0),
        "gradient_clip": table.number("gradient_clip", default("gradient_clip"), above=True),
        "initialisation": table.text("initialisation", default("initialisation"), INITIALISATIONS),
    }


HINT_KEYS = tuple(read_optimisation(TomlTable({}, "[train]", SpecError), lambda key: None))


def read_hints(table: TomlTable) -> dict[str, Any]:
    """The keys that a spec sets, with their values."""
    found = read_optimisation(table, lambda key: None, HINTED_SCHEDULES)
    table.close()
    return {key: value for key, value in found.items() if value is not None}


def format_setting(value: object) -> str:
    """`0.0003`, `adamw`."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def format_hints(hints: Mapping[str, Any]) -> str:
    """`learning_rate 0.0003, schedule one_cycle`."""
    return ", ".join(f"{key} {format_setting(value)}" for key, value in hints.items())
