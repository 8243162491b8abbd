"""Groups: what must not be parted when a part of the data is held out, such as a speaker or a day of recording."""

from __future__ import annotations

import re
from collections.abc import Sequence

from audiocnn.errors import RecipeError
from audiocnn.filenames import show_name


def check_pattern(pattern: str, where: str) -> re.Pattern[str]:
    """The pattern, ready for use. RecipeError: no regular expression, or none with a group in parentheses."""
    try:
        found = re.compile(pattern)
    except re.error as problem:
        raise RecipeError(
            f'{where}: group_pattern "{pattern}" is no regular expression ({problem}); correct it'
        ) from None
    if not found.groups:
        remedy = "put parentheses around what is the group, as in '^([^_]+)_'"
        raise RecipeError(f'{where}: group_pattern "{pattern}" has no group; {remedy}')
    return found


def groups_by_pattern(names: Sequence[str], pattern: str, where: str) -> list[str]:
    """The group of each file name: what the pattern's first group found in it, "" where it fits not.

    RecipeError: it fits none of the names.
    """
    wanted = check_pattern(pattern, where)
    found = [wanted.search(name) for name in names]
    groups = [(match.group(1) or "") if match else "" for match in found]
    if names and not any(groups):
        what = f'group_pattern "{pattern}" fits none of {len(names)} file names, such as {show_name(names[0])}'
        raise RecipeError(f"{where}: {what}; correct it")
    return groups
