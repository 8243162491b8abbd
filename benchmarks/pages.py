"""Pages of the manual that hold a table which a benchmark writes."""

from __future__ import annotations

from pathlib import Path

from audiocnn.errors import UsageError

BEGIN, END = "<!-- table -->", "<!-- end of table -->"


def around_table(page: Path, name: str = "") -> tuple[str, str]:
    """What stands before and after the place of the table, with the marks; of a page with several, the one of a name.

    Raises UsageError where there is no such page, or it has no such marks.
    """
    begin, end = (mark.replace("table", f"{name} table") if name else mark for mark in (BEGIN, END))
    try:
        text = page.read_text(encoding="utf-8")
    except OSError as problem:
        raise UsageError(f"{page}: cannot be read ({problem.strerror}); name a page that is there") from None
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise UsageError(f"{page}: has no place for the table; put a line {begin} and, below it, a line {end}")
    return text[: text.index(begin)] + begin + "\n", text[text.index(end) :]


def put_table(page: Path, table: str, name: str = "") -> None:
    """Put a table between its marks; what else has changed in the page meanwhile stays. UsageError as above."""
    before, after = around_table(page, name)
    page.write_text(before + table + after, encoding="utf-8")
