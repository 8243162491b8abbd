"""Former names of options and commands. They still work; a note on stderr gives the current name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

# Former name to current name. Help pages and completion do not show former names.
FORMER_OPTIONS = {"--min-speech": "--min-duration", "--max-speech": "--max-duration"}
_TUNE, _SEARCH, _RECIPE = "tune", "search", "--recipe"


def rename_options(args: Sequence[str], known: Iterable[str]) -> tuple[list[str], list[str]]:
    """The arguments with current option names, and the notes to print. known: the options of the command."""
    names = set(known)
    renamed = {old: new for old, new in FORMER_OPTIONS.items() if new in names and old not in names}
    found, said = list(args), dict[str, None]()
    for number, arg in enumerate(args):
        if arg == "--":
            break
        name, equals, value = arg.partition("=")
        if name in renamed:
            found[number] = renamed[name] + equals + value
            said[f"{name} is now called {renamed[name]}"] = None
    return found, list(said)


def rename_command(args: Sequence[str]) -> tuple[list[str], list[str]]:
    """The command and its arguments with current names, and the notes to print: `tune [DATA] --recipe FILE` is now
    `search FILE [DATA]`."""
    end = args.index("--") if "--" in args else len(args)
    where = next((k for k in range(end) if args[k].partition("=")[0] == _RECIPE), None)
    if where is None or args[0] != _TUNE:
        return list(args), []
    _, equals, recipe = args[where].partition("=")
    given, rest = ([recipe], args[where + 1 :]) if equals else (args[where + 1 : where + 2], args[where + 2 :])
    said = f"`audiocnn {_TUNE} {_RECIPE} FILE` is now called `audiocnn {_SEARCH} FILE`"
    return [_SEARCH, *given, *args[1:where], *rest], [said]
