"""Write what the reference takes from the code: `python docs/generate.py` after a change of commands, keys or names.

Whole pages (`GENERATED`) are commands.md and python.md. In other pages a comment says what stands below it: after
`<!-- keys: mix -->` the columns of defaults and values of a table are those of the code, and what a key means is
written by hand; after `<!-- table: layers -->` a table is the code's altogether.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import typer

import audiocnn
from audiocnn.augment.settings import CLIP_MIX, read_mix
from audiocnn.data.sources.settings import data_settings
from audiocnn.errors import AudiocnnError, RecipeError
from audiocnn.evaluation.conditions import MixtureSettings, read_mixtures
from audiocnn.recipe.recipe import read_evaluate, read_transfer
from audiocnn.recipe.settings import CLIP_TRAIN, read_train
from audiocnn.spec.features import FEATURES, read_input
from audiocnn.spec.layers import LAYER_KINDS, Context
from audiocnn.toml import REQUIRED, TomlTable
from audiocnn_cli.app.command import fill_defaults
from audiocnn_cli.app.options import Talk
from audiocnn_cli.app.typer_internals import help_record
from audiocnn_cli.main import COMMANDS, command_of

DOCS = Path(__file__).resolve().parent
REFERENCE = DOCS / "reference"
_NOTHING = Path()


@dataclasses.dataclass(frozen=True)
class Key:
    """A key of a TOML table: its default (REQUIRED: none), and which values it takes, in words."""

    default: Any
    values: str


class _Asked(dict[str, Any]):
    """Values, and the keys that somebody asks after with `in`."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.asked: set[str] = set()

    def __contains__(self, key: object) -> bool:
        self.asked.add(str(key))
        return super().__contains__(key)


class KeyRecorder(TomlTable):
    """A table without values that keeps which keys are asked for, with their defaults and ranges."""

    def __init__(self, given: Mapping[str, Any] | None = None) -> None:
        super().__init__({}, "", RecipeError)
        self.values: _Asked = _Asked(given or {})
        self.keys: dict[str, Key] = {}

    def _keep(self, key: str, default: Any, values: str, example: Any) -> Any:
        self.keys.setdefault(key, Key(default, values))
        if key in self.values.keys():  # noqa: SIM118 - which does not count as asked
            return self.values[key]
        return example if default is REQUIRED else default

    def raw(self, key: str, default: Any = REQUIRED) -> Any:
        return self._keep(key, default, "", 1)

    def text(self, key: str, default: Any = REQUIRED, choices: Sequence[str] = ()) -> Any:
        words = ", ".join(f"`{choice}`" for choice in choices) or "text"
        return self._keep(key, default, words, choices[0] if choices else "x")

    def integer(self, key: str, default: Any = REQUIRED, least: int = 1, most: int = 10**9) -> Any:
        return self._keep(key, default, "integer, " + _between(least, most if most < 10**9 else math.inf), least)

    def number(
        self, key: str, default: Any = REQUIRED, least: float = 0.0, most: float = math.inf, above: bool = False
    ) -> Any:
        bound = next((f"`{name}`" for name, value in self.values.items() if value == most and name != key), most)
        return self._keep(key, default, _between(least, bound, above), 1.0)

    def pair(self, key: str, default: Any = REQUIRED, least: float = 0.0, most: float = math.inf) -> Any:
        return self._keep(key, default, "[from, to], each " + _between(least, most), (least, least))

    def flag(self, key: str, default: Any = REQUIRED) -> Any:
        return self._keep(key, default, "`true`, `false`", False)

    def texts(self, key: str, default: Any = REQUIRED) -> Any:
        return self._keep(key, default, "list of texts", ())

    def table(self, key: str) -> TomlTable:
        self._keep(key, {}, "table", {})
        return TomlTable({}, "", RecipeError)

    def close(self) -> None:
        pass


def _between(least: float, most: float | str, above: bool = False) -> str:
    if above:
        return f"above {_show(least)}" + ("" if most == math.inf else f", up to {_show(most)}")
    return f"{_show(least)} or more" if most == math.inf else f"{_show(least)} to {_show(most)}"


def _show(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:g}"


def record_keys(read: Callable[[Any], object], given: Mapping[str, Any] | None = None) -> dict[str, Key]:
    """The keys that `read` asks a table for. Of what it checks itself, the values are as its refusal words them."""
    recorder = KeyRecorder(given)
    with suppress(AudiocnnError):  # a check of several keys together, after all were read
        read(recorder)
    found = dict(recorder.keys)
    for key in sorted(recorder.values.asked - found.keys()):  # those that are only read where they are given
        once_more = KeyRecorder({**(given or {}), key: 1})
        with suppress(AudiocnnError):
            read(once_more)
        if key in once_more.keys:
            values = once_more.keys[key].values or _refused_values(read, dict(once_more.values), key)
            found[key] = Key(None, values)
    for key, value in found.items():
        if not value.values:
            found[key] = Key(value.default, _refused_values(read, dict(given or {}), key))
    return found


def _refused_values(read: Callable[[Any], object], given: dict[str, Any], key: str) -> str:
    class Wrong(KeyRecorder):
        def raw(self, name: str, default: Any = REQUIRED) -> Any:
            return "?" if name == key else super().raw(name, default)

    try:
        read(Wrong(given))
    except AudiocnnError as problem:
        found = re.search(rf'"{key}"[^"]* must be (?:a )?(.+?), not', str(problem)) or re.search(
            r"a (list of layers) was expected", str(problem)
        )
        return found[1] if found else ""
    return ""


def _read_all_inputs() -> dict[str, Key]:
    """`[input]`, whose defaults depend on the features: of all, and of those that differ."""
    found: dict[str, Key] = {}
    defaults: dict[str, dict[str, Any]] = {}
    for features in FEATURES:
        for key, value in record_keys(read_input, {"features": features}).items():
            found.setdefault(key, value)
            defaults.setdefault(key, {})[features] = value.default
    for key, by_features in defaults.items():
        common = by_features.get("log_mel", next(iter(by_features.values())))
        others = {name: value for name, value in by_features.items() if value != common}
        if others and common is not REQUIRED:
            words = ", ".join(f"{name}: {show_default(value)}" for name, value in others.items())
            found[key] = Key(f"{show_default(common)} ({words})", found[key].values)
    return found


def recipe_keys() -> dict[str, Callable[[], dict[str, Key]]]:
    """What `<!-- keys: NAME -->` may name."""

    def read_data(table: Any) -> object:
        return data_settings(table, _NOTHING, "")

    def train_and_transfer() -> dict[str, Key]:
        both = record_keys(lambda table: read_train(table, _NOTHING))
        return both | record_keys(lambda table: read_transfer(table, _NOTHING))

    return {
        "data": lambda: record_keys(read_data),
        "mix": lambda: record_keys(lambda table: read_mix(table, _NOTHING)),
        "train": train_and_transfer,
        "evaluate": lambda: record_keys(lambda table: read_evaluate(table, _NOTHING)),
        "mixtures": lambda: record_keys(lambda table: read_mixtures(table, MixtureSettings())),
        "input": _read_all_inputs,
    }


def show_default(value: Any) -> str:
    if value is REQUIRED:
        return "required"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple) and value:
        return "[" + ", ".join(map(show_default, value)) + "]"
    if isinstance(value, int | float):
        return f"{value:g}" if value else "0"
    return str(value) if value else "none"


def fill_keys(page: str, sources: Mapping[str, Callable[[], dict[str, Key]]]) -> str:
    """The page with the columns of defaults and values of each table after `<!-- keys: NAME -->` anew."""

    def filled(found: re.Match[str]) -> str:
        keys = sources[found["name"]]()
        head, _, *rows = found["table"].splitlines()
        lines = [f"| {head.split('|')[1].strip()} | default | values | meaning |", "|---|---|---|---|"]
        for row in rows:
            cells = re.split(r"(?<!\\)\|", row)
            names = re.findall(r"`(\w+)`", cells[1])
            if missing := [name for name in names if name not in keys]:
                raise KeyError(f"{found['name']}: there is no key {missing[0]}")
            default = ", ".join(show_default(keys[name].default) for name in names)
            values = "; ".join(dict.fromkeys(keys[name].values for name in names))
            lines.append(f"|{cells[1]}| {default} | {values} | {cells[-2].strip()} |")
        return found["mark"] + "\n".join(lines) + "\n"

    return re.sub(r"(?P<mark><!-- keys: (?P<name>\w+) -->\n\n)(?P<table>(?:\|.*\n)+)", filled, page)


def fill_tables(page: str, tables: Mapping[str, Callable[[], str]]) -> str:
    """The page with each table after `<!-- table: NAME -->` anew."""
    return re.sub(r"(<!-- table: (\w+) -->\n\n)(?:\|.*\n)*\n*", lambda found: f"{found[1]}{tables[found[2]]()}\n", page)


def clip_table(part: str, values: Mapping[str, Any]) -> str:
    rows = [f"| `{key}` | {show_default(value)} |" for key, value in values.items()]
    return "\n".join([f"| of `[{part}]` | clips |", "|---|---|", *rows]) + "\n"


def layer_table() -> str:
    """The keys of every kind of layer, in 1-D; of `norm` for each of its kinds."""
    rows: dict[str, str] = {}
    for kind, read in LAYER_KINDS.items():
        context = Context(dims=2 if kind == "broadcast" else 1, classes=1)
        variants: list[dict[str, Any]] = [{}]
        if kind in ("residual", "branches", "broadcast"):
            variants = [{kind: [{"norm": "batch"}]}]
        if kind == "norm":
            variants = [{kind: name} for name in _choices_of(read, kind, context)]
            variants += [{kind: "level", "seconds": 2.0}]
        for given in variants:
            keys = record_keys(lambda table, read=read, context=context: read(table, context), given)
            choice = given.get(kind)
            name = f'`{kind} = "{choice}"`' if isinstance(choice, str) else f"`{kind}`"
            for key, value in sorted(keys.items(), key=lambda item: item[0] != kind):
                if key == kind and isinstance(choice, str) and len(keys) > 1:
                    continue
                values = "" if key == kind and isinstance(choice, str) else value.values
                default = "" if key == kind else show_default(value.default)
                rows[f"| {name} | `{key}` |"] = f" {default} | {values} |"
    return (
        "\n".join(
            [
                "| layer | key | default | values |",
                "|---|---|---|---|",
                *(f"{start}{rest}" for start, rest in rows.items()),
            ]
        )
        + "\n"
    )


def _choices_of(read: Callable[[Any, Context], object], key: str, context: Context) -> list[str]:
    found = record_keys(lambda table: read(table, context))
    return re.findall(r"`(\w+)`", found[key].values)


def fill_page(page: str) -> str:
    tables = {
        "layers": layer_table,
        "clip_mix": lambda: clip_table("mix", CLIP_MIX),
        "clip_train": lambda: clip_table("train", CLIP_TRAIN),
    }
    return fill_tables(fill_keys(page, recipe_keys()), tables)


def commands_page() -> str:
    common = {field.name for field in dataclasses.fields(Talk)} | {"help_all", "help"}
    parts = [
        "# Commands and options\n",
        "What `audiocnn COMMAND --help-all` prints, for every command. `--help` shows only the options in **bold**.\n",
        "| command | |\n|---|---|",
        *(f"| [`{name}`](#{name}) | {summary} |" for name, summary in COMMANDS.items()),
        "\n## Options of every command\n",
        *_option_tables(command_of("info"), lambda param: param.name in common, frozenset()),
    ]
    for name, summary in COMMANDS.items():
        command = command_of(name)
        function = getattr(importlib.import_module(f"audiocnn_cli.commands.{name}"), name)
        prose, _, examples = (inspect.getdoc(function) or "").partition("\b\n")
        parts += [f"## {name}\n", f"{summary}\n"]
        parts += [f"{prose.strip()}\n"] if prose.strip() else []
        parts += ["\n".join(f"    {line.strip()}" for line in examples.splitlines() if line.strip()) + "\n"]
        parts += _option_tables(command, lambda param: param.name not in common, command.shown)
    return "\n".join(parts).rstrip("\n") + "\n"


def _option_tables(command: Any, wanted: Callable[[Any], bool], basic: frozenset[str]) -> Iterator[str]:
    """The arguments and options of a command, a table a section."""
    context = typer.Context(command, info_name=command.name)
    sections: dict[str, list[str]] = {}
    for param in command.get_params(context):
        record = help_record(param, context)
        if record is None or not wanted(param):
            continue
        is_argument = param.param_type_name == "argument"
        names = _code(record[0])
        section = "Arguments" if is_argument else param.rich_help_panel or "Options"
        text = fill_defaults(record[1])
        text = re.sub(r"\s*\[(default: [^\]]+)\]", r" *\1*", text).replace("|", "\\|").replace("<", "&lt;")
        sections.setdefault(section, []).append(f"| {f'**{names}**' if param.name in basic else names} | {text} |")
    for section, rows in sections.items():
        yield f"| {section} | |\n|---|---|"
        yield "\n".join(rows) + "\n"


def _code(text: str) -> str:
    """Text as code in a table; a bar in it would end the cell, on one host or the other."""
    return f"<code>{text.replace('|', '&#124;')}</code>" if "|" in text else f"`{text}`"


def python_page() -> str:
    parts = [
        "# Python API\n",
        "The public names of `import audiocnn`. [Inside other programs](../how-to/python.md) shows how to use them.",
        "On the site, the signature and docstring of each follow below the table.\n",
        "| name | |\n|---|---|",
    ]
    homes: dict[str, str] = {}
    for name in sorted(audiocnn.__all__, key=str.lower):
        if not name.startswith("__"):
            thing = getattr(audiocnn, name)
            homes[name] = f"{thing.__module__}.{name}"
            text = inspect.getdoc(thing) or ""
            parts.append(f"| [`{name}`](#{homes[name]}) | {_first_sentence(text)} |")
    parts.append("")
    parts += [f"::: {home}\n    options:\n      heading_level: 2\n" for home in homes.values()]
    return "\n".join(parts).rstrip("\n") + "\n"


def _first_sentence(text: str) -> str:
    plain = " ".join(text.split("\n\n")[0].split()).replace("|", "\\|")
    return re.split(r"(?<=[a-z)`\]])\. (?=[A-Z`])", plain)[0].rstrip(".") + "." if plain else ""


GENERATED = {"commands.md": commands_page, "python.md": python_page}
FILLED = ("recipes.md", "specs.md")


def pages() -> Iterator[tuple[Path, str]]:
    """Every page that has something of the code in it, with what it should say."""
    for name, make in GENERATED.items():
        yield REFERENCE / name, make()
    for name in FILLED:
        yield REFERENCE / name, fill_page((REFERENCE / name).read_text(encoding="utf-8"))


if __name__ == "__main__":
    for path, text in pages():
        path.write_text(text, encoding="utf-8")
