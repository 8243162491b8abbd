"""JSON objects, one a line or in one list, as in `jsonl.py` and the manifests of Lhotse and NeMo."""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audiocnn.errors import LabelError, show_name
from audiocnn.labels.formats.base import MOST_CHANNEL, is_utf8
from audiocnn.labels.formats.text import MOST_LABEL_BYTES, read_bytes, read_text

END_DIGITS = 8  # of start + duration, as Lhotse rounds it
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class ManifestRecord:
    """One object, and its place: `supervisions.jsonl:3`."""

    where: str
    fields: dict[str, Any]

    def wrong(self, key: str, expected: str) -> LabelError:
        return LabelError(f'{self.where}: "{key}" is {_shown(self.fields.get(key))}, expected {expected}')

    def text(self, key: str) -> str:
        """A string that is not empty. Raises LabelError if it is missing or cannot be encoded as UTF-8."""
        value = self.fields.get(key)
        if not isinstance(value, str) or not value or not is_utf8(value):
            raise self.wrong(key, "a string")
        return value

    def number(self, key: str, missing: float | None = None) -> float:
        """A number, such as a time in seconds; `missing` if there is none. Whether it makes sense is checked
        elsewhere."""
        value = self.fields.get(key)
        if value is None and missing is not None:
            return missing
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wrong(key, "a number")
        try:
            return float(value)
        except OverflowError:
            raise self.wrong(key, "a number within the range of floats") from None

    def channels(self, key: str = "channel") -> list[int]:
        """Channels, from 0: one, a list of them, or by default 0."""
        value = self.fields.get(key)
        given = [0] if value is None else value if isinstance(value, list) else [value]
        if not given or any(type(one) is not int or not 0 <= one < MOST_CHANNEL for one in given):
            raise self.wrong(key, "a channel, from 0, or a list of them")
        return sorted(set(given))

    def file(self, key: str) -> str:
        """A file name; `KEY_base64` has its bytes if they are not text."""
        packed = self.fields.get(f"{key}_base64")
        if packed is None:
            name = self.text(key)
        else:
            try:
                name = os.fsdecode(base64.b64decode(packed, validate=True))
            except (binascii.Error, TypeError, ValueError):
                raise self.wrong(f"{key}_base64", "a file name in base64") from None
        if not name or "\0" in name:
            raise self.wrong(key, "a file name")
        return name


def read_manifest(path: Path) -> Iterator[ManifestRecord]:
    """The objects of a manifest, which may be gzipped. Raises LabelError if it cannot be read, is not JSON, or has
    items that are not objects."""
    text = _unpacked(path) if _is_packed(path) else read_text(path)
    name = show_name(path)
    if text.lstrip().startswith("["):
        for number, value in enumerate(_parsed(text, name, 1), 1):
            yield _record(f"{name}: item {number}", value)
        return
    number, seen = 1, 0
    for found in re.finditer(r"\S[^\n]*", text):
        number, seen = number + text.count("\n", seen, found.start()), found.start()
        yield _record(f"{name}:{number}", _parsed(found[0], name, number))


def _record(where: str, value: object) -> ManifestRecord:
    if not isinstance(value, dict):
        raise LabelError(f"{where}: found {_shown(value)}, expected a JSON object such as {{...}}")
    return ManifestRecord(where, value)


def _shown(value: object) -> str:
    if value is None:
        return "not given"
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _parsed(text: str, name: str, first_line: int) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = f"{name}:{first_line + error.lineno - 1}"
        raise LabelError(f"{where}: not JSON ({error.msg}, column {error.colno}); check the line") from None
    except (RecursionError, ValueError):  # nested too deeply, or an integer with thousands of digits
        raise LabelError(
            f"{name}:{first_line}: JSON is nested too deeply or contains a number that is too long"
        ) from None


def _is_packed(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_GZIP)) == _GZIP
    except OSError:
        return False  # `read_text` reports the error


def _unpacked(path: Path) -> str:
    """The text in a gzip file, limited in size whatever its header states."""
    name = show_name(path)
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        data = unpacker.decompress(read_bytes(path), MOST_LABEL_BYTES)
    except (OSError, zlib.error) as error:
        raise LabelError(f"{name}: not a valid gzip file ({error}); unpack it by hand") from None
    if not unpacker.eof:
        why = f"it contains more than {MOST_LABEL_BYTES >> 20} MiB" if unpacker.unconsumed_tail else "it is cut short"
        raise LabelError(f"{name}: cannot be unpacked: {why}; unpack it by hand")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise LabelError(f"{name}: its content is not UTF-8 text; save it as UTF-8") from None
