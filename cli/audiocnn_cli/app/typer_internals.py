"""Code that uses undocumented parts of Typer and Click; `tests/cli/test_typer.py` checks the pinned version.

Typer checks values with pydantic, which adds 70 ms to every start. It does not export its error classes. Its help shows
Python types in the names of arguments and breaks words at hyphens. If another version of Typer lacks an attribute used
here, Typer's own behaviour applies.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from typing import Any

import typer

from audiocnn.errors import did_you_mean

# Click's UsageError; newer versions of Typer contain their own copy.
CLICK_USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]
_NO_SUCH_OPTION = "NoSuchOption"
_FROM_PYDANTIC = "Value error, "
# Messages of pydantic, and what the user should give instead.
_WRONG_VALUES = (
    (re.compile(r"Input should be a valid number.*"), "give a number, such as 0.5"),  # keep "give": see _WRONG_OPTION
    (re.compile(r"Input should be a valid integer.*"), "give a whole number"),
    (re.compile(r"Input should be greater than or equal to (\S+)"), r"give \1 or more"),
)
_WRONG_OPTION = re.compile(r"Invalid value for '(--[\w-]+)'(?: / '-\w')?: (?=give )")
_TYPE = re.compile(r" <[^<>]*>$")  # the Python type beside an argument's name
_UNBROKEN = "\N{NON-BREAKING HYPHEN}"
_RANGE = re.compile(r"\s*\[x>=\d+\]$")


def skip_type_checks(params: list[Any]) -> list[Any]:
    """Let values of plain types bypass Typer's checks, which import pydantic."""
    for param in params:
        if hasattr(param, "type_descriptor") and "process_value" not in vars(param):
            param.process_value = partial(_process_value, param, param.process_value)
    return params


def _process_value(param: Any, check: Callable[..., Any], context: Any, value: Any) -> Any:
    """The value of a parameter, checked by Typer only if needed."""
    if value is None and not param.required:
        value = () if getattr(param, "multiple", False) or param.nargs == -1 else None
    else:
        plain = _plain_value(param.type_descriptor, value)
        if plain is None:
            return check(context, value)
        value = plain
    return param.callback(context, param, value) if param.callback else value


def _plain_value(wanted: Any, value: Any) -> Any:
    """A value of the wanted type if the type is simple (strings, enums, numbers); else None."""
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


def choices_of(param: Any) -> list[str]:
    """The choices of a parameter that takes one of a fixed set of words; else empty."""
    kind = getattr(getattr(param, "type_descriptor", None), "annotation", None)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return [str(choice) for choice in kind]
    choices = getattr(getattr(param, "type", None), "choices", None) or ()
    return [str(getattr(choice, "value", choice)) for choice in choices]


def help_record(param: Any, context: Any) -> tuple[str, str] | None:
    """Names and text of a parameter in the help, without Python type and range; None for a hidden parameter."""
    record = param.get_help_record(context)
    return record and (_TYPE.sub("", record[0]), _RANGE.sub("", record[1]))


def write_rows(formatter: Any, title: str, rows: list[tuple[str, str]]) -> None:
    """Write a section of a help page with names and texts. In a narrow window the texts get two thirds of the width."""
    with formatter.section(title):
        formatter.write_dl([(name, keep_hyphens(text)) for name, text in rows], col_max=min(30, formatter.width // 3))


def keep_hyphens(text: str) -> str:
    """Text that Click does not break at hyphens. `plain_hyphens` reverts the replacement on the finished page."""
    return text.replace("-", _UNBROKEN)


def plain_hyphens(page: str) -> str:
    return page.replace(_UNBROKEN, "-")


def bare_pieces(pieces: list[str]) -> list[str]:
    """Arguments in the usage line without the braces that Typer adds."""
    return [piece.replace("{", "").replace("}", "") for piece in pieces]


def refuse_repeated(command: Any, context: Any, args: list[str]) -> None:
    """Raise a usage error if an option with a single value is repeated; Click would silently use the last value."""
    if context.resilient_parsing:
        return
    _, _, order = command.make_parser(context).parse_args(args=list(args))
    for param, times in Counter(order).items():
        if param.param_type_name != "option" or param.multiple or param.count:
            continue
        if times > 1 and (not param.is_flag or param.secondary_opts):
            name = "/".join([max(param.opts, key=len), *param.secondary_opts])
            raise CLICK_USAGE_ERROR(f"{name} can be given only once", context)


@contextmanager
def told_where(context: Any) -> Iterator[None]:
    """Add the command to usage errors; the parser omits it."""
    try:
        yield
    except CLICK_USAGE_ERROR as problem:
        problem.ctx = getattr(problem, "ctx", None) or context  # type: ignore[attr-defined]
        raise


def usage_line(problem: Exception) -> str:
    """Click's message about a wrong option or argument as one line, with the nearest option and the help command."""
    context: Any = getattr(problem, "ctx", None)
    path = context.command_path if context else "audiocnn"
    option = getattr(problem, "option_name", None)
    text = str(getattr(problem, "format_message", problem.__str__)()).rstrip(".").replace(_FROM_PYDANTIC, "")
    for wrong, right in _WRONG_VALUES:
        text = wrong.sub(right, text)
    text = _WRONG_OPTION.sub(r"\1: ", text)
    if option is not None and type(problem).__name__ == _NO_SUCH_OPTION:
        params = [param for param in context.command.params if not param.hidden] if context else []
        known = [name for param in params for name in param.opts]
        text = f"unknown option {option}; {did_you_mean(option, known)}"
    return f"{text}; see `{path} --help`"
