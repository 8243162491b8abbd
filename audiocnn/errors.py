"""Errors that a user can cause. Every message is one line that gives the fact, the place and the remedy.

The library raises no other errors on purpose. The command prints the line and chooses the exit code.
"""

from __future__ import annotations

import difflib
import os
import re
import shlex
from collections.abc import Iterable, Sequence
from typing import TypeVar

MOST_CHOICES = 20  # that are listed in one line
_MOST_NAMES = 10  # fewer, because file names are longer


class AudiocnnError(Exception):
    """Base of all errors that a user can cause. Its message is one line."""


class UsageError(AudiocnnError):
    """A wrong option, argument or combination of them."""


class MissingPackageError(UsageError, ImportError):
    """A Python package that is required here is not installed."""


class RecordingError(AudiocnnError):
    """A recording that cannot be found, opened, decoded or scored."""


class LabelError(AudiocnnError):
    """A label file that cannot be read, or that contains impossible values."""


class SpecError(AudiocnnError):
    """A network spec with a wrong key, value or size."""


class RecipeError(AudiocnnError):
    """A recipe with a wrong key or value."""


class DatasetError(AudiocnnError):
    """A dataset folder that is missing, damaged or unsuitable for the operation."""


class ModelError(AudiocnnError):
    """A model folder that is missing, damaged, too new or unsuitable for the operation."""


Raised = TypeVar("Raised", bound=BaseException)


def bare(problem: Raised) -> Raised:
    """Strip traceback and context from an error that is kept or passed on: the frames would keep recordings open."""
    problem.__context__ = None
    return problem.with_traceback(None)


def check_not_forked(pid: int, what: str) -> None:
    """Raise UsageError if this process was forked from process `pid`, which keeps the threads and decoders."""
    if pid != os.getpid():
        raise UsageError(
            f"{what}: started before this process was forked, and cannot continue in the fork; start it again here"
        )


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """The end of a message about an unknown word: the nearest choice, or the list of choices, shortened if long."""
    known = sorted(choices)
    folded = {choice.casefold(): choice for choice in known}
    near = difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=0.6)
    if near:
        return f'did you mean "{folded[near[0]]}"?'
    shown = (
        known if len(known) <= MOST_CHOICES else [*known[: MOST_CHOICES - 1], f"{len(known) - MOST_CHOICES + 1} more"]
    )
    return "known: " + ", ".join(shown) if known else "none is allowed here"


_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def show_controls(text: str) -> str:
    """Make text of several lines safe for a terminal, a page or a model card: line ends and tabs stay, other control
    characters become escape codes."""
    return _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text)


def show_name(path: object) -> str:
    """A file name for a message: one printable line, whatever bytes the name has."""
    text = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else str(path)
    return printable(text)


def show_names(paths: Sequence[object], every: bool = False) -> str:
    """Several file names for a one-line message: the first few and the number of others, or with `every` all of
    them."""
    most = len(paths) if every or len(paths) <= _MOST_NAMES else _MOST_NAMES - 1
    more = f" and {len(paths) - most} more" if most < len(paths) else ""
    return ", ".join(map(show_name, paths[:most])) + more


def printable(text: str) -> str:
    """Text as one printable line for any terminal; other characters become escape codes."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def as_argument(path: object) -> str:
    """A file name as a command-line argument. A leading "-" would be taken for an option, so "./" is put before it."""
    name = os.fspath(path) if isinstance(path, os.PathLike) else str(path)
    return f"./{name}" if name.startswith("-") and name != "-" else name


def format_command(words: Sequence[object]) -> str:
    """A command that can be pasted into a shell, whatever its words contain, as one printable line."""
    return " ".join(_quote(str(word)) for word in words)


def _quote(word: str) -> str:
    if word.isprintable():
        return shlex.quote(word)
    plain = (chr(one) if 32 <= one < 127 and chr(one) not in "'\\" else f"\\x{one:02x}" for one in os.fsencode(word))
    return "$'" + "".join(plain) + "'"  # quoting of bash, zsh and ksh


def export_command(folder: object) -> str:
    """The command that rebuilds the ONNX file of a model folder."""
    return format_command(["audiocnn", "export", as_argument(folder)])
