"""Reading the XML of ELAN: what counts of a document, and the references to files in it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NoReturn
from urllib.parse import quote_from_bytes, unquote_to_bytes
from xml.parsers.expat import ExpatError, ParserCreate

from audiocnn.errors import LabelError
from audiocnn.filenames import show_name
from audiocnn.formats.found import NO_LABEL
from audiocnn.formats.text import read_text

FILE_PROPERTY = "audiocnn.file"  # the recording as it was named, as a URL
MOST_CHANNEL = 1 << 16  # more than any recording has
_CHANNEL = re.compile(r"channel (\d{1,5})", re.ASCII)
_MILLISECONDS = re.compile(r"-?\d{1,15}", re.ASCII)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:(?://[^/]*)?")
_DRIVE = re.compile(r"/[A-Za-z]:")


@dataclass(frozen=True)
class EafAnnotation:
    """start, end: ids of time slots. line: of the document."""

    line: int
    start: str
    end: str
    channel: int
    label: str


def file_url(file: str) -> str:
    """The reference to a file, whatever its bytes."""
    path = quote_from_bytes(os.fsencode(file), safe="/")
    return f"file://{path}" if file.startswith("/") else f"./{path}"


def media_urls(file: str) -> tuple[str, str]:
    """(MEDIA_URL, RELATIVE_MEDIA_URL) of a recording. The first is absolute, as ELAN has it, where there is such a file
    here; the second, which counts from the folder of the document, is empty for a name with a folder."""
    whole = os.path.abspath(file) if os.path.isfile(file) else file  # noqa: PTH100, PTH113 - any name, as it is
    return file_url(whole), "" if "/" in file else file_url(file)


def url_file(url: str) -> str:
    """The file of a reference; of one that is elsewhere, its path there."""
    scheme = _SCHEME.match(url)
    path = os.fsdecode(unquote_to_bytes(url[scheme.end() :] if scheme else url.removeprefix("./")))
    return path[1:] if scheme and _DRIVE.match(path) else path


def read_document(path: Path) -> Document:
    """What counts of a file. LabelError: not an EAF that can be read."""
    document = Document(show_name(path))
    try:
        document.parser.Parse(read_text(path, utf16=True), True)
    except ExpatError as error:
        raise document.error(error.lineno, f"not XML that can be read ({error})") from None
    return document


class Document:
    """Listens to the parser.

    media: the first file, None without one; by the name that was given to the writer, where it still has that base
    name. origin: where its time 0 lies, in milliseconds. times: of time slots, in milliseconds; None for one that is
    not aligned. annotations: of tiers that stand alone.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.media: str | None = None
        self.origin = 0
        self.times: dict[str, int | None] = {}
        self.annotations: list[EafAnnotation] = []
        self.depth = 0
        self.tier = ("", 0)  # its name, without the channel that we put there, and its channel, from 0
        self.alone = False  # whether the tier depends on no other
        self.slots: dict[str, str] = {}  # fields of the annotation at hand
        self.value: list[str] | None = None  # inside of a value, the parts of it
        self.label = ""
        self.parser = ParserCreate()
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        self.parser.CharacterDataHandler = self.text
        self.parser.StartDoctypeDeclHandler = self.doctype

    def error(self, line: int, fact: str) -> LabelError:
        """The error to raise."""
        return LabelError(f"{self.name}:{line}: {fact}; open it in ELAN and save it again")

    def time_of(self, slot: str, line: int) -> int:
        """Milliseconds. LabelError: no such slot, or not aligned with the recording."""
        time = self.times.get(slot)
        if time is None:
            raise self.error(line, f'the time slot "{show_name(slot[:40])}" has no time')
        return time

    def wrong(self, fact: str) -> NoReturn:
        """LabelError for the line at hand."""
        raise self.error(self.parser.CurrentLineNumber, fact)

    def doctype(self, *_: object) -> None:
        """Entities can make gigabytes of a line; no EAF has any."""
        self.wrong("found a DOCTYPE, which no EAF has")

    def start(self, tag: str, fields: dict[str, str]) -> None:
        """An element begins."""
        if self.depth == 0 and tag != "ANNOTATION_DOCUMENT":
            self.wrong(f"found <{show_name(tag[:40])}>, expected <ANNOTATION_DOCUMENT>")
        self.depth += 1
        if tag == "HEADER" and fields.get("TIME_UNITS", "milliseconds") != "milliseconds":
            self.wrong(f"times in {show_name(fields['TIME_UNITS'][:40])}, expected milliseconds")
        elif tag == "MEDIA_DESCRIPTOR":
            self._media(fields)
        elif tag == "TIME_SLOT":
            time = fields.get("TIME_VALUE")
            self.times[fields.get("TIME_SLOT_ID", "")] = None if time is None else self._milliseconds(time)
        elif tag == "TIER":
            channel = _CHANNEL.fullmatch(fields.get("PARTICIPANT", ""))
            number = int(channel[1]) if channel else 1  # from 1
            name = fields.get("TIER_ID", "")
            name = name.removesuffix(f", {channel[0]}") if channel else name
            self.tier = (name, number - 1 if 1 <= number <= MOST_CHANNEL else 0)
            self.alone = "PARENT_REF" not in fields
        elif tag == "ALIGNABLE_ANNOTATION":
            self.slots, self.label = fields, ""
        elif tag == "ANNOTATION_VALUE" or (tag == "PROPERTY" and fields.get("NAME") == FILE_PROPERTY):
            self.value = []

    def text(self, data: str) -> None:
        """Text between tags; only that of a value and of our own property counts."""
        if self.value is not None:
            self.value.append(data)

    def end(self, tag: str) -> None:
        """An element ends."""
        if tag == "ANNOTATION_VALUE" and self.value is not None:
            self.label, self.value = "".join(self.value), None
        elif tag == "PROPERTY" and self.value is not None:
            given, self.value = url_file("".join(self.value)), None
            if self.media is not None and PurePosixPath(given).name == PurePosixPath(self.media).name:
                self.media = self._whole(given)
        elif tag == "ALIGNABLE_ANNOTATION" and self.alone:
            name, channel = self.tier
            blank = not self.label.strip() and not (self.label and name.startswith(self.label))
            label = name or NO_LABEL if blank else self.label
            start, end = self.slots.get("TIME_SLOT_REF1", ""), self.slots.get("TIME_SLOT_REF2", "")
            self.annotations.append(EafAnnotation(self.parser.CurrentLineNumber, start, end, channel, label))

    def _media(self, fields: dict[str, str]) -> None:
        """The first media is the recording."""
        if self.media is not None:
            return
        self.media = self._whole(url_file(fields.get("MEDIA_URL", "")))
        self.origin = self._milliseconds(fields.get("TIME_ORIGIN", "0"))

    def _whole(self, file: str) -> str:
        if "\0" in file:
            self.wrong("a zero byte in the name of the media")
        return file

    def _milliseconds(self, word: str) -> int:
        if not _MILLISECONDS.fullmatch(word):
            self.wrong(f'found "{show_name(word[:40])}", expected a time in whole milliseconds')
        return int(word)
