"""Detection of the format of a label file from its beginning."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from pathlib import Path

from audiocnn.labels.formats.columns import find_roles
from audiocnn.labels.formats.text import cell_separator
from audiocnn.units import is_numeric

_HEAD_BYTES = 8192  # to be read
_GZIP = b"\x1f\x8b"
_ROW_COLUMNS = {"file", "start", "end"}
_JSON_KEYS = (
    ("audio_filepath", "nemo"),
    ("supervisions", "lhotse"),
    ("recording_id", "lhotse"),
    ("schema", "jsonl"),
    ("type", "jsonl"),
)
_CUE_TIMES = re.compile(r"^\s*(\d+:)?\d+:\d\d[.,]\d+\s*-->")
_RTTM_TYPES = frozenset({"SPEAKER", "SPKR-INFO", "SEGMENT", "NOSCORE", "NO_RT_METADATA", "LEXEME", "NON-LEX"}) | {
    *("NON-SPEECH", "FILLER", "EDIT", "IP", "SU", "CB", "A/P")
}


def sniff_file(path: Path) -> str | None:
    """The format of a file; None if it is unknown or the file cannot be read."""
    head = _read_head(path)
    return None if head is None else sniff(head)


def _read_head(path: Path) -> str | None:
    """The beginning of a file as text; None if it cannot be read."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
            if head.startswith(_GZIP):
                file.seek(0)
                with gzip.open(file) as inside:
                    head = inside.read(_HEAD_BYTES)
    except (OSError, EOFError, ValueError, zlib.error):
        return None
    return _decoded(head)


def sniff(head: str) -> str | None:
    lines = [line for line in re.split(r"\r\n|\r|\n", head) if line.strip()][:4]
    if not lines:
        return None
    first = lines[0].strip()
    if first[0] in "{[":
        return _json_format(head)
    if first.startswith("WEBVTT"):
        return "vtt"
    if re.match(r'(File type = )?"ooTextFile', first):
        return "textgrid"
    if first.startswith("<") and "<ANNOTATION_DOCUMENT" in head:
        return "elan"
    if any(_CUE_TIMES.match(line) for line in lines[:2]):
        return "srt"
    return _rows_format(lines)


def _rows_format(lines: list[str]) -> str | None:
    """The format of lines with cells, judged by the first line that is not a comment."""
    words = next((line.split() for line in lines if not line.lstrip().startswith(";;")), [])
    if words[:1] == [] or words[0] in _RTTM_TYPES:
        return "rttm"
    cells = [cell.strip().strip('"') for cell in split_line(lines[0])]
    tabs = "\t" in lines[0]
    if "Begin Time (s)" in cells:
        return "raven"
    if set(cells) >= _ROW_COLUMNS:
        return "tsv" if tabs else "csv"
    if find_roles(cells).timed:
        return "dcase"
    if tabs and len(cells) in (2, 3) and _are_numbers(cells[:2]):
        return "audacity"
    if len(cells) == 4 and _are_numbers(cells[1:3]):
        return "dcase"
    return "kaldi" if len(words) in (4, 5) and _are_numbers(words[2:]) else None


def lists_recordings(path: Path) -> bool:
    """Whether a file begins like a table that names recordings, whatever else it contains."""
    head = _read_head(path)
    lines = [line for line in re.split(r"\r\n|\r|\n", head or "") if line.strip()]
    return bool(lines) and find_roles([cell.strip().strip('"') for cell in split_line(lines[0])]).file is not None


def split_line(line: str) -> list[str]:
    return line.split(cell_separator(line))


def _json_format(head: str) -> str | None:
    """The first key of a record in each format."""
    text = head.lstrip().removeprefix("[").lstrip()
    try:
        first = json.JSONDecoder().raw_decode(text)[0]
    except (ValueError, RecursionError):  # broken, or longer than what was read
        line = text if head.lstrip().startswith("[") else text.split("\n", 1)[0]
        return next((name for key, name in _JSON_KEYS if re.search(rf'"{key}"\s*:', line)), None)
    return next((name for key, name in _JSON_KEYS if isinstance(first, dict) and key in first), None)


def _are_numbers(words: list[str]) -> bool:
    return all(map(is_numeric, words))


def _decoded(head: bytes) -> str:
    """Decode to text in any encoding: Praat writes UTF-16 if it must."""
    encoding = "utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    return head.decode(encoding, "replace")
