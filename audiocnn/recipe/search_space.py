"""The `[tune]` table of a recipe: the values to search, and their ranges. Keys are those of the recipe, with dots.

    [tune]
    "train.learning_rate" = { low = 3e-4, high = 1e-2, log = true }
    "train.batch_size" = { choices = [16, 32, 64] }
    "spec.groups.A.layers.0.conv" = { low = 8, high = 32, step = 8 }

A member of a list is named by its index from 0. A group can also be named by its name.
"""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from audiocnn.errors import RecipeError, did_you_mean
from audiocnn.toml import TomlTable, is_number

_PARTS = ("mix", "train", "spec")
_DATES = (datetime.date, datetime.time)
# Keys that change the recordings that trials are judged by.
_JUDGED_BY = ("train.validation_share", "train.validation_examples", "spec.input.sample_rate", "spec.input.channels")
MIXED = "mix."  # mixtures are judged as well, unless the recipe names conditions


@dataclass(frozen=True)
class Parameter:
    """One searched value: between low and high (a whole number if both are), or one of several choices."""

    key: str
    low: float | int = 0
    high: float | int = 0
    log: bool = False
    step: float | int | None = None
    choices: tuple[Any, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether values are whole numbers; not with fractional steps."""
        return isinstance(self.low, int) and isinstance(self.high, int) and float(self.step or 1).is_integer()

    @property
    def first(self) -> Any:
        return self.choices[0] if self.choices else self.low

    @property
    def ends(self) -> tuple[Any, ...]:
        """All choices, or the smallest and largest number tried."""
        if self.choices:
            return self.choices
        step = self.step or 0
        last = self.low + math.floor((self.high - self.low) / step + 1e-9) * step if step else self.high
        return (int(self.low), int(last)) if self.whole else (float(self.low), float(last))

    def holds(self, value: Any) -> bool:
        if self.choices:
            return any(value == choice and type(value) is type(choice) for choice in self.choices)
        if not is_number(value) or (self.whole and not isinstance(value, int)):
            return False
        away = float(value - self.low) / self.step if self.step else 0.0
        return bool(self.low <= value <= self.high and abs(away - round(away)) < 1e-9)

    def to_dict(self) -> dict[str, Any]:
        if self.choices:
            return {"choices": list(self.choices)}
        more = ({"log": True} if self.log else {}) | ({"step": self.step} if self.step else {})
        return {"low": self.low, "high": self.high, **more}


Space = tuple[Parameter, ...]


def read_space(values: Any, place: str) -> Space:
    """`[tune]` from TOML. Keys may be quoted, or nested tables. RecipeError with place, key and remedy."""
    if not isinstance(values, Mapping):
        raise RecipeError(f"{place}: expected a table")
    parameters = []
    for key, value in flatten_keys(values, ""):
        part = key.split(".")[0]
        if part not in _PARTS or key == part != "spec":
            raise RecipeError(f'{place}: "{key}" cannot be searched; start keys with {", ".join(_PARTS)} and a dot')
        if key in _JUDGED_BY:
            raise RecipeError(f'{place}: "{key}" cannot be searched: it changes what trials are judged by')
        parameters.append(read_parameter(key, value, f'{place}: "{key}"'))
    return tuple(parameters)


def flatten_keys(values: Mapping[str, Any], before: str) -> list[tuple[str, Any]]:
    """Dotted keys, down to the tables that define the values."""
    found = []
    for key, value in values.items():
        whole = f"{before}{key}"
        inner = isinstance(value, Mapping) and not {"choices", "low", "high"} & value.keys()
        found += flatten_keys(value, f"{whole}.") if inner else [(whole, value)]
    return found


def read_parameter(key: str, value: Any, place: str) -> Parameter:
    """`{ choices = [...] }`, or `{ low, high, log, step }`."""
    table = TomlTable(value, place, RecipeError)
    choices = table.raw("choices", None)
    if choices is not None:
        if not isinstance(choices, list) or len(choices) < 2:
            raise table.wrong('"choices" must be a list of at least two values')
        if any(isinstance(choice, _DATES) for choice in choices):
            raise table.wrong('"choices" cannot be dates or times: no recipe key takes them')
        table.close()
        return Parameter(key, choices=tuple(choices))
    low, high, step = table.raw("low"), table.raw("high"), table.raw("step", None)
    log = table.flag("log", False)
    table.close()
    if not is_number(low) or not is_number(high) or not low < high:
        raise table.wrong('"low" and "high" must be numbers, and "low" must be less than "high"')
    if log and (low <= 0 or step is not None):
        raise table.wrong('"log" needs "low" above 0, and excludes "step"')
    if step is not None and not (is_number(step) and 0 < step <= high - low):
        raise table.wrong('"step" must be above 0 and at most "high" minus "low"')
    return Parameter(key, low, high, log, step)


def default_space(table: Mapping[str, Any]) -> Space:
    """The search space of a recipe without `[tune]`: learning rate, weight decay and batch size around its values, and
    the dropout of layers that have any."""
    train = table["train"]
    rate = float(train["learning_rate"])
    parameters = [
        Parameter("train.learning_rate", rate / 8, rate * 4, log=True),
        Parameter("train.weight_decay", 1e-4, 1e-1, log=True),
    ]
    if isinstance(train.get("batch_size"), int):
        size = train["batch_size"]
        parameters.append(Parameter("train.batch_size", choices=tuple(sorted({max(1, size // 2), size, size * 2}))))
    for number, layer in enumerate(table["spec"].get("f", {}).get("layers", [])):
        if isinstance(layer, Mapping) and layer.get("dropout"):
            parameters.append(Parameter(f"spec.f.layers.{number}.dropout", 0.0, 0.6, step=0.1))
    return tuple(parameters)


def set_value(table: dict[str, Any], key: str, value: Any, place: str) -> None:
    """Set a value in the table of a recipe. RecipeError if there is no such place."""
    *way, last = key.split(".")
    inside: Any = table
    for depth, name in enumerate(way):
        inside = descend(inside, name, f'{place}: "{key}"', ".".join(way[: depth + 1]))
    if isinstance(inside, list):
        check_position(inside, last, f'{place}: "{key}"', key)
        inside[int(last)] = value
    elif isinstance(inside, dict):
        if way and way[0] in ("mix", "train") and last not in inside:
            raise RecipeError(f'{place}: "{key}": unknown key "{last}"; {did_you_mean(last, inside)}')
        inside[last] = value
    else:
        raise RecipeError(f'{place}: "{key}": {".".join(way)} is neither a table nor a list')


def get_value(table: Mapping[str, Any], key: str) -> Any:
    inside: Any = table
    for name in key.split("."):
        try:
            inside = descend(inside, name, "", key)
        except RecipeError:
            return None
    return inside


def descend(inside: Any, name: str, place: str, way: str) -> Any:
    """The member of a table or a list. In a list of groups, also by name."""
    if isinstance(inside, Mapping) and name in inside:
        return inside[name]
    if isinstance(inside, list):
        named = [one for one in inside if isinstance(one, Mapping) and one.get("name") == name]
        if named:
            return named[0]
        check_position(inside, name, place, way)
        return inside[int(name)]
    known = did_you_mean(name, inside) if isinstance(inside, Mapping) and inside else "its parent is not a table"
    raise RecipeError(f'{place}: "{way}" does not exist; {known}')


def check_position(inside: list[Any], name: str, place: str, way: str) -> None:
    """RecipeError if the name is not a valid index."""
    if not name.isdecimal() or int(name) >= len(inside):
        raise RecipeError(f'{place}: "{way}" does not exist; the list has {len(inside)} members, counted from 0')


def to_param(value: Any) -> Any:
    """A choice as stored in a study: lists and tables as JSON."""
    return json.dumps(value) if isinstance(value, (list, dict)) else value


def from_param(parameter: Parameter, value: Any) -> Any:
    return next((choice for choice in parameter.choices if to_param(choice) == value), value)
