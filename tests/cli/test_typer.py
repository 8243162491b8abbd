"""The parts of Typer that `app/typer_internals.py` uses exist in the pinned version and work as expected."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path

import pytest
import typer
from fixtures_cli import audiocnn

from audiocnn_cli.app import typer_internals
from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.main import COMMANDS, command_of

ROOT = Path(__file__).resolve().parents[2]
PARAMS = [(name, param) for name in COMMANDS for param in command_of(name).params]


def test_these_tests_run_on_the_pinned_version():
    pinned = re.search(r"^typer==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)[1]
    assert version("typer") == pinned


def test_nothing_else_reaches_past_the_interface():
    inside = re.compile(r"type_descriptor|process_value|__mro__|\"option_name\"|typer\._|get_help_record|NoSuchOption")
    found = {path.name for path in (ROOT / "cli").rglob("*.py") if inside.search(path.read_text(encoding="utf-8"))}
    assert found == {"typer_internals.py"}


@pytest.mark.parametrize(("name", "param"), PARAMS, ids=[f"{name} {param.name}" for name, param in PARAMS])
def test_every_value_is_what_typer_makes_of_it(name, param):
    """The short way gives the same value as Typer's own check, or none."""
    context = typer.Context(command_of(name))
    words = [*typer_internals.choices_of(param), "7", "0.5", "x"]
    for word in words:
        value = [word] if param.type_descriptor.annotation == list[str] else word
        short = typer_internals._plain_value(param.type_descriptor, value)
        if short is not None:
            assert short == param.get_runtime_param().coerce(value, param=param, ctx=context)


@pytest.mark.parametrize(
    ("args", "line"),
    [
        ("detect --treshold 1", 'unknown option --treshold; did you mean "--threshold"?; see `audiocnn detect --help`'),
        ("detect --threshold", "Option '--threshold' requires an argument; see `audiocnn detect --help`"),
        ("models extra", "Got unexpected extra argument(s) (extra); see `audiocnn models --help`"),
        ("describe", "Missing argument 'SPEC|MODEL'; see `audiocnn describe --help`"),
    ],
)
def test_errors_of_usage_are_one_line(args, line):
    done = audiocnn(*args.split())
    assert (done.status, done.err) == (ExitStatus.USAGE, f"audiocnn: error: {line}\n")


def test_errors_of_usage_are_of_the_class_that_click_has():
    assert typer_internals.CLICK_USAGE_ERROR.__name__ == "UsageError"
    assert issubclass(typer.BadParameter, typer_internals.CLICK_USAGE_ERROR)


def test_help_has_no_types_of_python(capsys):
    for name in COMMANDS:
        audiocnn(name, "--help-all")
    text = capsys.readouterr().out
    assert "--help-all" in text and not re.search(r"<\w+>|\[x>=|\{[A-Z]", text)


SINGLE = [
    (name, param.opts[0], [] if param.is_flag else ["1"])
    for name in COMMANDS
    for param in command_of(name).params
    if param.param_type_name == "option" and not param.multiple and (not param.is_flag or param.secondary_opts)
]


@pytest.mark.parametrize(("name", "option", "value"), SINGLE)
def test_an_option_that_counts_once_is_refused_twice(name, option, value):
    done = audiocnn(name, option, *value, option, *value)
    assert done.status is ExitStatus.USAGE and done.err.count("\n") == 1
    assert "can be given only once" in done.err
