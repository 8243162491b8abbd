"""What all readers of text share: lines with numbers, numbers with an error that says where."""

from __future__ import annotations

from pathlib import Path

from audiocnn.errors import LabelError

Lines = list[tuple[int, str]]


def read_text(path: Path) -> str:
    """The whole file as UTF-8, a byte order mark left out; LabelError: missing, unreadable, not text."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise LabelError(f"{path}: no such file; check the name") from None
    except OSError as error:
        raise LabelError(f"{path}: cannot be read ({error.strerror}); check the name and the rights") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise LabelError(f"{path}:{line}: not UTF-8 text; save it as UTF-8") from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise LabelError(f"{path}:{line}: a zero byte where text is expected; check that this is a file of labels")
    return text


def read_lines(path: Path) -> Lines:
    """(number from 1, text) of the lines that are not blank."""
    # Not splitlines(): that also cuts at form feeds and at Unicode separators, which a label may hold.
    lines = read_text(path).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return [(number, line) for number, line in enumerate(lines, 1) if line.strip()]


def seconds(word: str, path: Path, line: int, what: str) -> float:
    """A time in seconds; LabelError where it is no number. NaN and infinity are judged with the recording at hand."""
    try:
        return float(word)
    except ValueError:
        found = f'"{word.strip()}"' if word.strip() else "nothing"
        raise LabelError(f"{path}:{line}: {what}: found {found}, expected seconds such as 1.25") from None
