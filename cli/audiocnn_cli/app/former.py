"""Spellings that were before: they go on working, and each says once on stderr what it is called now."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

# Of an option that a command has: the name that it had, which no help page and no completion shows.
FORMER_OPTIONS = {"--min-speech": "--min-duration", "--max-speech": "--max-duration"}
_TUNE, _SEARCH, _RECIPE = "tune", "search", "--recipe"


def rename_options(args: Sequence[str], known: Iterable[str]) -> tuple[list[str], list[str]]:
    """The arguments of a command by their names of now, of options that it has, and what to say of it."""
    names = set(known)
    renamed = {old: new for old, new in FORMER_OPTIONS.items() if new in names and old not in names}
    found, said = list(args), dict[str, None]()
    for number, arg in enumerate(args):
        if arg == "--":
            break
        name, equals, value = arg.partition("=")
        if name in renamed:
            found[number] = renamed[name] + equals + value
            said[f"{name} is called {renamed[name]} now"] = None
    return found, list(said)


def rename_command(args: Sequence[str]) -> tuple[list[str], list[str]]:
    """The command and its arguments by their names of now, and what to say of it: `tune [DATA] --recipe FILE` is
    `search FILE [DATA]`."""
    end = args.index("--") if "--" in args else len(args)
    where = next((k for k in range(end) if args[k].partition("=")[0] == _RECIPE), None)
    if where is None or args[0] != _TUNE:
        return list(args), []
    _, equals, recipe = args[where].partition("=")
    given, rest = ([recipe], args[where + 1 :]) if equals else (args[where + 1 : where + 2], args[where + 2 :])
    said = f"`audiocnn {_TUNE} {_RECIPE} FILE` is called `audiocnn {_SEARCH} FILE` now"
    return [_SEARCH, *given, *args[1:where], *rest], [said]
