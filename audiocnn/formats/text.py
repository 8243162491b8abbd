"""What the readers of text share: lines, numbers, and errors that say where."""

from __future__ import annotations

from pathlib import Path

from audiocnn.errors import LabelError
from audiocnn.filenames import show_name

MOST_BYTES = 1 << 27  # of a file of labels, in memory several times as much
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def read_text(path: Path, *, utf16: bool = False, any_bytes: bool = False) -> str:
    """The whole file as UTF-8, without a byte order mark. LabelError: missing, unreadable, too large, not text.

    utf16: UTF-16 with a byte order mark is text too. any_bytes: what is not UTF-8 comes as `os.fsdecode` has it, for
    names of files.
    """
    name = show_name(path)
    try:
        data = read_bytes(path)
        if utf16 and data.startswith(_UTF16):
            text = data.decode("utf-16")
        else:
            text = data.decode("utf-8-sig", "surrogateescape" if any_bytes else "strict")
    except FileNotFoundError:
        raise LabelError(f"{name}: no such file; check the name") from None
    except OSError as error:
        raise LabelError(f"{name}: cannot be read ({error.strerror}); check the name and its rights") from None
    except UnicodeDecodeError as error:
        raise not_utf8(path, error.object[: error.start].count(b"\n") + 1) from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise LabelError(f"{name}:{line}: a zero byte, expected text; check that this is a file of labels")
    return text


def read_bytes(path: Path) -> bytes:
    """The whole file. OSError; LabelError: more than MOST_BYTES, whatever the file says of its size."""
    with path.open("rb") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        most = f"more than {MOST_BYTES >> 20} MiB"
        raise LabelError(f"{show_name(path)}: {most}; check that these are labels, or cut the file into several")
    return data


def read_lines(path: Path) -> list[tuple[int, str]]:
    """(number from 1, text) of the lines that are not blank."""
    # Not splitlines(): that also cuts at form feeds and at Unicode separators, which a label may hold.
    lines = read_text(path).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return [(number, line) for number, line in enumerate(lines, 1) if line.strip()]


def not_utf8(path: Path, line: int) -> LabelError:
    """The error to raise for bytes that are no text."""
    return LabelError(f"{show_name(path)}:{line}: not UTF-8 text; save it as UTF-8")


def wrong_line(path: Path, line: int, found: str, expected: str) -> LabelError:
    """The error to raise: where, what was found there, what was expected."""
    shown = show_name(found.strip())
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    return LabelError(
        f"{show_name(path)}:{line}: found " + (f'"{shown}"' if shown else "nothing") + f", expected {expected}"
    )


def read_seconds(word: str, path: Path, line: int, what: str) -> float:
    """A time in seconds. LabelError: no number. NaN and infinity are judged with the recording at hand."""
    try:
        return float(word)
    except ValueError:
        raise wrong_line(path, line, word, f"the {what} in seconds, such as 1.25") from None
