"""Parsing of the records of `audiocnn detect` and `classify` in existing files."""

from __future__ import annotations

import base64
import json
import os
from typing import IO, Any

SEGMENT_HEAD = b'{"schema":1,"type":"segment",'
_CLIP_HEAD = b'{"schema":1,"type":"clip",'
_HEADS = (SEGMENT_HEAD, _CLIP_HEAD, b'{"schema":1,"type":"file",', b'{"schema":1,"type":"error",')


def parse_record(line: bytes) -> dict[str, Any] | None:
    """A `file`, `clip` or `error` record; None for anything else."""
    if not line.endswith(b"\n"):
        return None
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or record.get("type") not in ("file", "clip", "error"):
        return None
    return record if record.get("schema") == 1 and isinstance(record.get("file"), str) else None


def parse_recording_name(record: dict[str, Any]) -> str:
    if isinstance(record.get("file_base64"), str):
        try:
            return os.fsdecode(base64.b64decode(record["file_base64"], validate=True))
        except ValueError:
            pass
    name: str = record["file"]
    return name


def is_torn(line: bytes) -> bool:
    """Whether this is the beginning of a record whose end was not written. After a power failure, the end may consist
    of zeros."""
    written = line.rstrip(b"\0")
    return not line.endswith(b"\n") and any(line.startswith(head) or head.startswith(written) for head in _HEADS)


def has_file_record(file: IO[bytes]) -> bool:
    """Whether a file contains a finished recording."""
    file.seek(0)
    if file.read(1) != b"{":
        return False
    file.seek(0)
    return any((record := parse_record(line)) is not None and record["type"] != "error" for line in file)
