"""The help pages: few options by default, all with --help-all, and no broken words."""

from __future__ import annotations

import inspect
import re
from typing import Annotated

import pytest
from fixtures_cli import audiocnn

from audiocnn_cli.app.command import MOST_SHOWN, make_command
from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.app.options import BASIC, Talk, option
from audiocnn_cli.main import COMMANDS, command_of

WIDTHS = (44, 60, 80)
HELP = {"--help", "-h", "--help-all"}


@pytest.fixture
def page(capsys):
    """Shows a help page, which Click writes."""

    def shown(*args, columns=80):
        done = audiocnn(*args, COLUMNS=str(columns))
        assert (done.status, done.out, done.err) == (ExitStatus.OK, "", "")
        return capsys.readouterr().out

    return shown


def options_on(text):
    """The long names of the options that a page explains."""
    rows = re.findall(r"^  (?:-\w, )?(--[\w-]+(?:[,;/ ]+--?[\w-]+)*)", text, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"--[\w-]+", row)}


def declared(name):
    """Each option that a command declares and does not hide, as the set of its long names."""
    params = [p for p in command_of(name).params if p.param_type_name == "option" and not p.hidden]
    return [{word for word in (*p.opts, *p.secondary_opts) if word.startswith("--")} for p in params]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_few_options_and_help_all_every_one(page, name):
    short, whole = page(name, "--help"), page(name, "--help-all")
    shown = [names for names in declared(name) if names & options_on(short)]
    assert len(shown) <= MOST_SHOWN and shown
    assert options_on(whole) == set().union({"--help"}, *declared(name))
    hidden = len(declared(name)) - len(shown) - 1  # less --help-all itself
    assert short.rstrip().endswith(f"{hidden} more with --help-all") and "more with --help-all" not in whole
    assert (
        short.split("Options:")[0].split()
        == whole.split("\n\nOptions:")[0].split("\n\nOutput:")[0].split()[: len(short.split("Options:")[0].split())]
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_with_many_options_says_which_matter_most(name):
    command, common = command_of(name), {field.replace("_", "-") for field in Talk.__dataclass_fields__}
    own = [names for names in declared(name) if not names & {*HELP, *(f"--{field}" for field in common)}]
    assert len(command.shown) == len(own) if len(own) <= MOST_SHOWN else 3 <= len(command.shown) <= MOST_SHOWN


def test_an_option_is_advanced_unless_it_is_marked():
    few = {f"a{number}": Annotated[str | None, option(f"--a{number}", "X", "Text.")] for number in range(MOST_SHOWN)}
    many = {**few, "b": Annotated[str | None, option("--b", "X", "Text."), BASIC]}
    for hints, shown in ((few, set(few)), (many, {"b"})):

        def made(terminal, **values):
            return ExitStatus.OK

        made.__annotations__ = hints
        made.__signature__ = inspect.Signature(
            [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None) for name in hints]
        )
        assert make_command("made", "Text.", made).shown == shown


@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.parametrize("option", ["--help", "--help-all"])
@pytest.mark.parametrize("name", [*COMMANDS, ""])
def test_help_breaks_no_word(page, name, option, columns):
    if not name and option == "--help-all":
        return
    args = [name, option] if name else [option]
    text = page(*args, columns=columns)
    assert text.split() == page(*args, columns=1000).split()
    most = {line: max(columns, 80) for line in text.splitlines() if "audiocnn " in line}  # lines of a shell stay whole
    assert [line for line in text.splitlines() if len(line) > most.get(line, columns)] == []
