"""From a plain function to a command: options in dataclasses, plain help in sections, errors to exit codes.

    def detect(terminal: Terminal, files: Files, rule: SegmentOptions) -> ExitStatus: ...

The terminal comes from the context, a dataclass from the options that its fields declare, the rest as Typer has it.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterator
from enum import StrEnum
from functools import partial
from importlib import import_module
from typing import Any, get_type_hints

import typer
from typer.core import TyperCommand

from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.app.terminal import Terminal

_Function = Callable[..., ExitStatus]
_TYPE = re.compile(r" <[^<>]*>$")  # Typer shows the Python type beside an argument's name
_RANGE = re.compile(r"\s*\[x>=\d+\]$")
_DEFAULT_HOMES = (  # of defaults that help texts show
    "audiocnn.segments.finder:SegmentRule",
    "audiocnn.model.model:DEFAULT_MODEL",
    "audiocnn.model.model:DEFAULT_CLASSIFIER",
    "audiocnn.audio.pcm:DEFAULT_RAW_CHANNELS",
    "audiocnn.evaluation.results:EvaluationSettings",
    "audiocnn.data.sources.settings:DEFAULT_SAMPLE_RATE",
    "audiocnn.data.ingest:IngestSettings",
    "audiocnn.recipe.recipe:TrainSettings",
)
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def make_command(name: str, summary: str, function: _Function) -> TyperCommand:
    """A Typer command that calls `function`; its docstring stands below the summary in the help."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    text = f"{summary}\n\n{inspect.getdoc(function) or ''}"
    app.command(name, cls=SectionedCommand, help=text, context_settings=CONTEXT)(_spread_options(function))
    command = typer.main.get_command(app)
    assert isinstance(command, TyperCommand)
    return command


def skip_type_checks(params: list[Any]) -> list[Any]:
    """Parameters that take values of plain types past Typer's checks, which import pydantic: 70 ms of every start.

    Where Typer does not say of what type a value is, as older ones did not, nothing changes.
    """
    for param in params:
        if hasattr(param, "type_descriptor") and "process_value" not in vars(param):
            param.process_value = partial(_process_value, param, param.process_value)
    return params


def _process_value(param: Any, check: Callable[..., Any], context: Any, value: Any) -> Any:
    """Typer's value, checked by Typer only where that is needed."""
    if value is None and not param.required:
        value = () if getattr(param, "multiple", False) or param.nargs == -1 else None
    else:
        plain = _plain_value(param.type_descriptor, value)
        if plain is None:
            return check(context, value)
        value = plain
    return param.callback(context, param, value) if param.callback else value


def _plain_value(wanted: Any, value: Any) -> Any:
    """A value of the wanted type, if that is quickly told: words, one of some words, numbers; else None."""
    kind = wanted.annotation
    if kind == list[str]:
        return value if value and all(isinstance(word, str) for word in value) else None
    if not isinstance(kind, type) or isinstance(value, kind):
        return value if isinstance(kind, type) else None
    if issubclass(kind, StrEnum):
        return next((choice for choice in kind if choice == value), None)
    try:
        return float(value) if kind is float and not wanted.is_ranged else None
    except ValueError:
        return None


def _spread_options(function: _Function) -> _Function:
    """The function as Typer wants it: dataclass parameters as their fields, and the options that every command has."""
    from audiocnn_cli.app.options import Talk  # late: the list of commands needs no options

    hints = get_type_hints(function, include_extras=True)
    groups: dict[str, Any] = {
        name: hint for name, hint in hints.items() if dataclasses.is_dataclass(hint) and hint is not Terminal
    }
    defaults = {name: value.default for name, value in inspect.signature(function).parameters.items()}

    def called(context: typer.Context, **values: Any) -> ExitStatus:
        talk = _collect_options(Talk, values)
        terminal = context.obj
        terminal.verbosity = -1 if talk.quiet else int(talk.verbose)
        terminal.animate = not talk.no_progress
        filled = {name: _collect_options(group, values) for name, group in groups.items()}
        try:
            return function(terminal, **filled, **values)
        except BrokenPipeError:  # before Typer sees it, which would end with 1
            terminal.silence()
            return ExitStatus.OK

    def parameters() -> Iterator[inspect.Parameter]:
        yield inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
        for name, hint in hints.items():
            if name in groups:
                yield from _option_parameters(hint)
            elif name not in ("terminal", "return"):
                yield inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=hint, default=defaults[name])
        yield from _option_parameters(Talk)

    signature = inspect.Signature(list(parameters()))
    called.__signature__ = signature  # type: ignore[attr-defined]
    called.__annotations__ = {name: value.annotation for name, value in signature.parameters.items()}
    return called


def _option_parameters(group: Any) -> Iterator[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    for field in dataclasses.fields(group):
        kind = inspect.Parameter.KEYWORD_ONLY
        yield inspect.Parameter(field.name, kind, annotation=hints[field.name], default=field.default)


def _collect_options(group: Any, values: dict[str, Any]) -> Any:
    """An options dataclass from `values`, from which its fields are taken out."""
    return group(**{field.name: values.pop(field.name) for field in dataclasses.fields(group)})


class SectionedCommand(TyperCommand):
    """Plain help, in the order and the sections in which options are declared."""

    def get_params(self, ctx: Any) -> list[Any]:
        return skip_type_checks(super().get_params(ctx))

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Arguments by their bare names; Typer puts braces around them."""
        return [piece.replace("{", "").replace("}", "") for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is None:
                continue
            section = getattr(param, "rich_help_panel", None) or "Options"
            if param.param_type_name == "argument":
                section = "Arguments"
            elif param.name == "help":
                section = "Running"
            sections.setdefault(section, []).append((_TYPE.sub("", record[0]), _fill_in_defaults(record[1])))
        for title, rows in sections.items():
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


def _fill_in_defaults(text: str) -> str:
    """`{min_speech_seconds}` in a help text becomes the default that the library has."""
    return _RANGE.sub("", text).format_map(_Defaults())


class _Defaults(dict[str, Any]):
    """Defaults by name, looked for in the library one home after the other, so that help imports little."""

    def __missing__(self, name: str) -> Any:
        for home in _DEFAULT_HOMES:
            module, _, inside = home.partition(":")
            found = getattr(import_module(module), inside)
            if not dataclasses.is_dataclass(found):
                if inside == f"DEFAULT_{name.upper()}":
                    return found
                continue
            for field in dataclasses.fields(found):
                if field.name == name:
                    default: Any = field.default
                    return " and ".join(f"{x:g}" for x in default) if isinstance(default, tuple) else default
        raise KeyError(name)
