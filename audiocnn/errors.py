"""What a user can cause. Every message is one line that gives the fact, the place and the remedy.

The library raises these and nothing else on purpose; the command prints the line and picks the exit code.
"""

from __future__ import annotations

import difflib
import os
import re
import shlex
from collections.abc import Iterable, Sequence
from typing import TypeVar

MOST_CHOICES = 20  # that one line can name
_MOST_NAMES = 10  # of files, which are longer


class AudiocnnError(Exception):
    """Base of all errors that a user can cause. Its message is one line."""


class UsageError(AudiocnnError):
    """A wrong option, argument or combination of them."""


class MissingPackageError(UsageError, ImportError):
    """A Python package that is required here is not installed."""


class RecordingError(AudiocnnError):
    """A recording that cannot be found, opened, decoded or scored."""


class LabelError(AudiocnnError):
    """A file of labels that cannot be read, or that says what cannot be."""


class SpecError(AudiocnnError):
    """A network spec with a wrong key, value or size."""


class RecipeError(AudiocnnError):
    """A recipe with a wrong key or value."""


class DatasetError(AudiocnnError):
    """A dataset folder that is missing, damaged or unfit for what is asked."""


class ModelError(AudiocnnError):
    """A model folder that is missing, damaged, too new or unfit for what is asked."""


Raised = TypeVar("Raised", bound=BaseException)


def bare(problem: Raised) -> Raised:
    """An error to be kept or handed on, without the frames that it came through: they hold recordings open."""
    problem.__context__ = None
    return problem.with_traceback(None)


def check_not_forked(pid: int, what: str) -> None:
    """UsageError where this process was forked off the one of that id, with which threads and decoders have stayed."""
    if pid != os.getpid():
        raise UsageError(f"{what}: begun before this process was forked, and cannot go on in it; begin it here again")


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """The end of a message about an unknown word: the nearest choice, or all of them where they are not too many."""
    known = sorted(choices)
    folded = {choice.casefold(): choice for choice in known}
    near = difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=0.6)
    if near:
        return f'did you mean "{folded[near[0]]}"?'
    shown = (
        known if len(known) <= MOST_CHOICES else [*known[: MOST_CHOICES - 1], f"{len(known) - MOST_CHOICES + 1} more"]
    )
    return "known: " + ", ".join(shown) if known else "nothing may stand here"


_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def show_controls(text: str) -> str:
    """Text of several lines as it can stand on a terminal, in a page or a card: line ends and tabs stay, and of other
    control characters, which a terminal obeys, their code."""
    return _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text)


def show_name(path: object) -> str:
    """A file's name as it can stand in a message: one line, printable, whatever its bytes."""
    text = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else str(path)
    return printable(text)


def show_names(paths: Sequence[object], every: bool = False) -> str:
    """Several names as they can stand in one line: the first ones, and how many more there are, or every one."""
    most = len(paths) if every or len(paths) <= _MOST_NAMES else _MOST_NAMES - 1
    more = f" and {len(paths) - most} more" if most < len(paths) else ""
    return ", ".join(map(show_name, paths[:most])) + more


def printable(text: str) -> str:
    """One line that any terminal can take, whatever bytes a file name in it has."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def as_argument(path: object) -> str:
    """A file's name as an argument of a command, which takes a leading - for an option."""
    name = os.fspath(path) if isinstance(path, os.PathLike) else str(path)
    return f"./{name}" if name.startswith("-") and name != "-" else name


def format_command(words: Sequence[object]) -> str:
    """A command as a person can paste it into a shell, whatever is in its words: one printable line."""
    return " ".join(_quote(str(word)) for word in words)


def _quote(word: str) -> str:
    if word.isprintable():
        return shlex.quote(word)
    plain = (chr(one) if 32 <= one < 127 and chr(one) not in "'\\" else f"\\x{one:02x}" for one in os.fsencode(word))
    return "$'" + "".join(plain) + "'"  # of bash, zsh and ksh


def export_command(folder: object) -> str:
    """The command that makes the ONNX file of a model folder again."""
    return format_command(["audiocnn", "export", as_argument(folder)])
