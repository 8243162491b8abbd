"""Pages of the manual that hold a table which a benchmark writes."""

from __future__ import annotations

from pathlib import Path

from audiocnn.errors import UsageError

BEGIN, END = "<!-- table -->", "<!-- end of table -->"


def around_table(page: Path) -> tuple[str, str]:
    """What stands before and after the place of the table, with the marks.

    Raises UsageError where there is no such page, or it has no such marks.
    """
    try:
        text = page.read_text(encoding="utf-8")
    except OSError as problem:
        raise UsageError(f"{page}: cannot be read ({problem.strerror}); name a page that is there") from None
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise UsageError(f"{page}: has no place for the table; put a line {BEGIN} and, below it, a line {END}")
    return text[: text.index(BEGIN)] + BEGIN + "\n", text[text.index(END) :]
