"""Pages of the manual with tables written by benchmarks."""

from __future__ import annotations

from pathlib import Path

from audiocnn.errors import UsageError

BEGIN, END = "<!-- table -->", "<!-- end of table -->"


def around_table(page: Path, name: str = "") -> tuple[str, str]:
    """The text before and after a table, including the marks. `name` selects one of several tables.

    Raises UsageError if the page does not exist or has no such marks.
    """
    begin, end = (mark.replace("table", f"{name} table") if name else mark for mark in (BEGIN, END))
    try:
        text = page.read_text(encoding="utf-8")
    except OSError as problem:
        raise UsageError(f"{page}: cannot be read ({problem.strerror}); name an existing page") from None
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise UsageError(f"{page}: has no place for the table; add a line {begin} and, below it, a line {end}")
    return text[: text.index(begin)] + begin + "\n", text[text.index(end) :]


def put_table(page: Path, table: str, name: str = "") -> None:
    """Replace a table between its marks; other changes of the page in the meantime are kept. UsageError as above."""
    before, after = around_table(page, name)
    page.write_text(before + table + after, encoding="utf-8")
