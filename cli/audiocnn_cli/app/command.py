"""Builds a command from a plain function: options in dataclasses, plain help in sections, errors as exit codes.

    def detect(terminal: Terminal, files: Files, rule: SegmentOptions) -> ExitStatus: ...

The terminal is taken from the context. A dataclass is filled from the options that its fields declare. Typer handles
all other parameters.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer
from typer.core import TyperCommand

from audiocnn.errors import show_name
from audiocnn.packages import check_packages, explain_import_error
from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.app.former import rename_options
from audiocnn_cli.app.packages import packages_of
from audiocnn_cli.app.terminal import Terminal
from audiocnn_cli.app.typer_internals import (
    bare_pieces,
    help_record,
    keep_hyphens,
    plain_hyphens,
    refuse_repeated,
    skip_type_checks,
    told_where,
    write_rows,
)

_Function = Callable[..., ExitStatus]
MOST_SHOWN = 8  # options in --help, besides --help itself
_ALL_OPTIONS = "audiocnn_cli.all_options"  # key in the context: --help-all was given
_HELP_ALL = "help_all"
FORMER_SPELLINGS = "audiocnn_cli.former_spellings"  # key in the context: notes on renamed options
_LAST_SECTION = "Running"  # section of the options that every command has
_DEFAULT_HOMES = (  # where to look up defaults that help texts show
    "audiocnn.segments.finder:SegmentRule",
    "audiocnn.segments.finder:CLOSING_DROP",
    "audiocnn.segments.finder:LEAST_CLOSING",
    "audiocnn.model.model:SOFTMAX_CLOSING",
    "audiocnn.model.model:DEFAULT_MODEL",
    "audiocnn.model.model:DEFAULT_CLASSIFIER",
    "audiocnn.audio.pcm:DEFAULT_RAW_CHANNELS",
    "audiocnn.evaluation.results:EvaluationSettings",
    "audiocnn.data.sources.settings:DEFAULT_SAMPLE_RATE",
    "audiocnn.data.ingest:IngestSettings",
    "audiocnn.data.decode:DEFAULT_DECODE_THREADS",
    "audiocnn.inspection.settings:ExplainSettings",
    "audiocnn.inspection.strongest:RECORDINGS_A_FILTER",
    "audiocnn.inspection.strongest:CONTEXT_SECONDS",
    "audiocnn.recipe.recipe:TrainSettings",
)
CONTEXT = {"help_option_names": ["-h", "--help"]}


def make_command(name: str, summary: str, function: _Function) -> TyperCommand:
    """A Typer command that calls `function`. The help shows the function's docstring below the summary."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    text = keep_hyphens(f"{summary}\n\n{inspect.getdoc(function) or ''}")
    spread = _spread_options(name, function)
    app.command(name, cls=SectionedCommand, help=text, context_settings=CONTEXT)(spread)
    command = typer.main.get_command(app)
    assert isinstance(command, SectionedCommand)
    command.shown = _choose_shown(command, spread)
    return command


def _choose_shown(command: TyperCommand, spread: _Function) -> frozenset[str]:
    """The options that --help shows: all options specific to the command if they are few, else those marked BASIC."""
    from audiocnn_cli.app.options import BASIC, Talk

    common = {field.name for field in dataclasses.fields(Talk)} | {_HELP_ALL}
    options = [param for param in command.params if param.param_type_name == "option" and not param.hidden]  # type: ignore[attr-defined]
    own = [param.name for param in options if param.name not in common]
    marked = [name for name in own if BASIC in getattr(spread.__annotations__[name], "__metadata__", ())]
    return frozenset(own if len(own) <= MOST_SHOWN else marked)


def _show_all_options(context: typer.Context, value: bool) -> None:
    if value and not context.resilient_parsing:
        context.meta[_ALL_OPTIONS] = True
        typer.echo(context.get_help())
        raise typer.Exit()


_HelpAll = Annotated[
    bool,
    typer.Option(
        "--help-all",
        help="Show all options and exit.",
        is_eager=True,
        callback=_show_all_options,
        rich_help_panel=_LAST_SECTION,
    ),
]


def _spread_options(command: str, function: _Function) -> _Function:
    """The function in Typer's form: dataclass parameters are replaced by their fields, and common options are added."""
    from audiocnn_cli.app.options import Talk  # imported late: the list of commands does not need options

    hints = get_type_hints(function, include_extras=True)
    groups: dict[str, Any] = {
        name: hint for name, hint in hints.items() if dataclasses.is_dataclass(hint) and hint is not Terminal
    }
    defaults = {name: value.default for name, value in inspect.signature(function).parameters.items()}

    def called(context: typer.Context, **values: Any) -> ExitStatus:
        del values[_HELP_ALL]
        talk = _collect_options(Talk, values)
        terminal = context.obj
        terminal.verbosity = -1 if talk.quiet else int(talk.verbose)
        terminal.animate = not talk.no_progress
        for said in context.meta[FORMER_SPELLINGS]:
            terminal.note(said)
        filled = {name: _collect_options(group, values) for name, group in groups.items()}
        flat = values | {key: value for group in filled.values() for key, value in vars(group).items()}
        check_packages(command, packages_of(command, flat))
        _note_namesakes(flat.get("model") or flat.get("models"), terminal)
        try:
            return function(terminal, **filled, **values)
        except BrokenPipeError:  # Typer would exit with status 1
            terminal.silence()
            return ExitStatus.OK
        except ModuleNotFoundError as problem:
            raise explain_import_error(command, problem) or problem from None

    def parameters() -> Iterator[inspect.Parameter]:
        yield inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
        for name, hint in hints.items():
            if name in groups:
                yield from _option_parameters(hint)
            elif name not in ("terminal", "return"):
                yield inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=hint, default=defaults[name])
        yield from _option_parameters(Talk)
        yield inspect.Parameter(_HELP_ALL, inspect.Parameter.KEYWORD_ONLY, annotation=_HelpAll, default=False)

    signature = inspect.Signature(list(parameters()))
    called.__signature__ = signature  # type: ignore[attr-defined]
    called.__annotations__ = {name: value.annotation for name, value in signature.parameters.items()}
    return called


def _note_namesakes(models: str | list[str] | None, terminal: Terminal) -> None:
    """Say so where the name of a released model is also that of a run."""
    for name in [models] if isinstance(models, str) else models or ():
        if not Path("runs", name).is_dir():
            continue
        from audiocnn.model.model import find_namesake

        if run := find_namesake(name):
            terminal.note(f"{name} is the released model of this name; your own is {show_name(run)}")


def _option_parameters(group: Any) -> Iterator[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    for field in dataclasses.fields(group):
        kind = inspect.Parameter.KEYWORD_ONLY
        yield inspect.Parameter(field.name, kind, annotation=hints[field.name], default=field.default)


def _collect_options(group: Any, values: dict[str, Any]) -> Any:
    """An options dataclass filled from `values`. Its fields are removed from `values`."""
    return group(**{field.name: values.pop(field.name) for field in dataclasses.fields(group)})


class SectionedCommand(TyperCommand):
    """Plain help: --help shows a few options, --help-all shows all of them, grouped by their declared section."""

    shown: frozenset[str] = frozenset()

    def get_params(self, ctx: Any) -> list[Any]:
        return skip_type_checks(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        args, said = rename_options(args, (name for param in self.params for name in param.opts))
        ctx.meta.setdefault(FORMER_SPELLINGS, []).extend(said)
        with told_where(ctx):
            refuse_repeated(self, ctx, args)
            return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return bare_pieces(super().collect_usage_pieces(ctx))

    def get_help(self, ctx: Any) -> str:
        return plain_hyphens(super().get_help(ctx))

    def format_options(self, ctx: Any, formatter: Any) -> None:
        everything = _ALL_OPTIONS in ctx.meta
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        left_out = 0
        for param in self.get_params(ctx):
            record = help_record(param, ctx)
            if record is None:
                continue
            section = "Options"
            if param.param_type_name == "argument":
                section = "Arguments"
            elif everything:
                section = _LAST_SECTION if param.name == "help" else param.rich_help_panel or section
            elif param.name not in self.shown and param.name != "help":
                left_out += param.name != _HELP_ALL
                continue
            sections.setdefault(section, []).append((record[0], fill_defaults(record[1])))
        for title, rows in sections.items():
            if rows:
                write_rows(formatter, title, rows)
        if left_out:
            formatter.write_paragraph()
            formatter.write_text(f"{left_out} more with --help-all")


def fill_defaults(text: str) -> str:
    """A help text with names in braces replaced by the defaults of the library."""
    return text.format_map(_Defaults())


class _Defaults(dict[str, Any]):
    """Defaults by name. The modules in `_DEFAULT_HOMES` are searched in turn, so that help imports few of them."""

    def __missing__(self, name: str) -> Any:
        for home in _DEFAULT_HOMES:
            module, _, inside = home.partition(":")
            found = getattr(import_module(module), inside)
            if not dataclasses.is_dataclass(found):
                if inside.removeprefix("DEFAULT_") == name.upper():
                    return found
                continue
            for field in dataclasses.fields(found):
                if field.name == name:
                    default: Any = field.default
                    return " and ".join(f"{x:g}" for x in default) if isinstance(default, tuple) else default
        raise KeyError(name)
