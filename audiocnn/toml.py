"""Strict reading of TOML tables: every value is checked, and an unknown key is an error."""

from __future__ import annotations

import difflib
import math
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from audiocnn.errors import AudiocnnError, did_you_mean
from audiocnn.files import is_file_name

_MOST_BYTES = 4_000_000  # specs and recipes are written by people; anything larger is a mistake or an attack
REQUIRED: Any = object()


class TomlTable:
    """One TOML table. Each reading method removes a key; `close` raises an error for the remaining keys.

    `place` begins every message, as in `speech.toml: group "A": layer 2`.
    """

    def __init__(self, values: object, place: str, error: type[AudiocnnError]) -> None:
        self.place, self.error = place, error
        if not isinstance(values, Mapping):
            raise self.wrong(f"expected a table, not {repr_value(values)}")
        self.values = dict(values)
        self.known: set[str] = set()

    def wrong(self, fact: str) -> AudiocnnError:
        return self.error(f"{self.place}: {fact}")

    def raw(self, key: str, default: Any = REQUIRED) -> Any:
        self.known.add(key)
        if key in self.values:
            return self.values.pop(key)
        if default is REQUIRED:
            near = difflib.get_close_matches(key, self.values, n=1, cutoff=0.75)
            raise self.wrong(
                f'unknown key "{near[0]}"; did you mean "{key}"?' if near else f'"{key}" is missing; add it'
            )
        return default

    def _checked(self, key: str, default: Any, expected: str, fits: Callable[[Any], bool]) -> Any:
        value = self.raw(key, default)
        if value is not default and not fits(value):
            raise self.wrong(f'"{key}" must be {expected}, not {repr_value(value)}')
        return value

    def text(self, key: str, default: Any = REQUIRED, choices: Sequence[str] = ()) -> Any:
        """A string, restricted to `choices` if given."""
        value = self._checked(key, default, "a string", lambda value: isinstance(value, str))
        if choices and value is not default and value not in choices:
            raise self.wrong(f'"{key}" cannot be "{value}"; {did_you_mean(value, choices)}')
        return value

    def file_name(self, key: str, default: Any = REQUIRED) -> Any:
        """A string that is a valid name of a file or folder, not a path."""
        value = self.text(key, default)
        if not is_file_name(value):
            raise self.wrong(f'"{key}" must be a valid folder name, without slashes, not {repr_value(value)}')
        return value

    def integer(self, key: str, default: Any = REQUIRED, least: int = 1, most: int = 10**9) -> Any:
        """An integer in [least, most]."""
        expected = f"a whole number from {least} to {most}"
        return self._checked(key, default, expected, lambda value: type(value) is int and least <= value <= most)

    def number(
        self, key: str, default: Any = REQUIRED, least: float = 0.0, most: float = math.inf, above: bool = False
    ) -> Any:
        """A finite number in [least, most], or in (least, most] with `above`."""
        bound = f"{'above' if above else 'at least'} {least:g}" + ("" if math.isinf(most) else f" and at most {most:g}")

        def fits(value: Any) -> bool:
            return is_number(value) and least <= value <= most and not (above and value == least)

        value = self._checked(key, default, f"a number {bound}", fits)
        return value if value is default else float(value)

    def pair(self, key: str, default: Any = REQUIRED, least: float = 0.0, most: float = math.inf) -> Any:
        """Two finite numbers [from, to] in [least, most], in ascending order."""
        bound = f" from {least:g}" if math.isinf(most) else f" from {least:g} to {most:g}"

        def fits(value: Any) -> bool:
            are_two = isinstance(value, list) and len(value) == 2 and all(is_number(x) for x in value)
            return are_two and least <= value[0] <= value[1] <= most

        value = self._checked(key, default, f"two numbers [from, to]{bound}", fits)
        return value if value is default else (float(value[0]), float(value[1]))

    def flag(self, key: str, default: Any = REQUIRED) -> Any:
        return self._checked(key, default, "true or false", lambda value: isinstance(value, bool))

    def texts(self, key: str, default: Any = REQUIRED) -> Any:
        def fits(value: Any) -> bool:
            return isinstance(value, list) and all(isinstance(x, str) for x in value)

        value = self._checked(key, default, "a list of strings", fits)
        return value if value is default else tuple(value)

    def table(self, key: str) -> TomlTable:
        """A nested table; empty if absent."""
        return TomlTable(self.raw(key, {}), f"{self.place}: [{key}]", self.error)

    def close(self) -> None:
        """Raise an error if a key is left that was never read."""
        for key in self.values:
            raise self.wrong(f'unknown key "{key}"; {did_you_mean(key, self.known)}')


def is_number(value: object) -> bool:
    """Whether a value is a finite number that fits a float: TOML also allows integers of any length, inf and nan."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) <= sys.float_info.max


def repr_value(value: object) -> str:
    """A value for a message: short, on one line."""
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def read_toml(path: Path, error: type[AudiocnnError]) -> dict[str, Any]:
    """A TOML file as a dictionary. A file that is missing, too large, not UTF-8 or not TOML raises `error`, in one
    line."""
    try:
        with path.open("rb") as file:  # it may be a pipe, or a device that never ends
            content = file.read(_MOST_BYTES + 1)
        if (size := max(len(content), path.stat().st_size)) > _MOST_BYTES:
            raise error(f"{path}: too large for a TOML file of this kind ({size} bytes); check the name")
        return tomllib.loads(content.decode("utf-8-sig"))
    except OSError as problem:
        raise error(f"{path}: cannot be read ({problem.strerror}); check the name") from None
    except UnicodeDecodeError:
        raise error(f"{path}: not UTF-8 text; save it as UTF-8") from None
    except (ValueError, RecursionError) as problem:  # TOMLDecodeError, or an integer with thousands of digits
        raise error(f"{path}: not valid TOML: {' '.join(str(problem).split())}") from None
