"""Names and labels in formats that cannot hold them: what breaks a line into words stands as `%` and two hex digits.

As in URIs (RFC 3986, section 2.1) byte by byte of UTF-8, but only where it must be: a name without blanks, control
characters and bytes that are no text stays as it is, and of others' files only what looks like such a byte is changed
back. A `%` is escaped where it would be taken for one of ours.
"""

from __future__ import annotations

import re

_OURS = "(?:[01][0-9A-F]|2[025]|3C|7F|[89A-F][0-9A-F])"  # bytes that are ever escaped: 00-20, quote, "%", "<", 7F-FF
_ESCAPED = re.compile(f"(?:%{_OURS})+")
_PERCENT = re.compile(f"%(?={_OURS})")
_NOT_IN_A_WORD = re.compile(r"[\s\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_NOT_IN_A_CELL = re.compile(r'[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]|^[\s"]|\s$')
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def escape_word(text: str) -> str:
    """One word, whatever a reader takes for blanks. The empty text stays empty."""
    return _NOT_IN_A_WORD.sub(_as_bytes, _PERCENT.sub("%25", text))


def escape_cell(text: str) -> str:
    """A cell of a table without quotes: tabs, ends of lines, and at the edges blanks and a quote would be lost."""
    return _NOT_IN_A_CELL.sub(_as_bytes, _PERCENT.sub("%25", text))


def escape_controls(text: str) -> str:
    """A text that may have several lines and tabs, but no other control characters."""
    return _CONTROLS.sub(_as_bytes, _PERCENT.sub("%25", text))


def unescape(text: str) -> str:
    """What `escape_word` or `escape_cell` was given; bytes that are no UTF-8 as `os.fsdecode` has them."""
    return _ESCAPED.sub(lambda found: _decoded(found[0]), text)


def _as_bytes(found: re.Match[str]) -> str:
    # A half of a surrogate pair, which JSON can smuggle in, becomes three bytes that are no UTF-8.
    character = found[0]
    error = "surrogateescape" if "\udc80" <= character <= "\udcff" else "surrogatepass"
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", error))


def _decoded(escaped: str) -> str:
    return bytes.fromhex(escaped.replace("%", "")).decode("utf-8", "surrogateescape")
