"""What a user can cause. Every message is one line that gives the fact, the place and the remedy.

The library raises these and nothing else on purpose; the command prints the line and picks the exit code.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TypeVar

MOST_CHOICES = 20  # that one line can name


class AudiocnnError(Exception):
    """Base of every error that a user can cause. The text is one line."""


class UsageError(AudiocnnError):
    """A wrong option, argument or combination of them."""


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
