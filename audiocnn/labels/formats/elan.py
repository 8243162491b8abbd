"""ELAN annotation files (EAF 3.0 of the MPI for Psycholinguistics, schema EAFv3.0.xsd): one recording with tiers, in
XML.

A tier holds annotations between two time slots, in integer milliseconds; they may not overlap or have no length. Tiers
are named by label and, with several channels, also by channel (`speech, channel 2`, from 1), which is then also stored
in PARTICIPANT. Overlapping segments go to a further tier (`speech (2)`). The value of an annotation is the label.

The media is an absolute reference if the recording exists when the document is written, with bytes escaped as in any
URI (RFC 3986). If the name has no folder, a reference relative to the document is added. The original name is stored as
a property (`audiocnn.file`), which is used when the document is read, as long as the media has the same base name.

Characters that XML does not allow (XML 1.0, section 2.2) become U+FFFD. Scores are not stored.

Only independent tiers are read; tiers that depend on another one (PARENT_REF) add information about the same segments.
The label is the value, or the name of the tier if the value is empty.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from pathlib import Path, PurePosixPath
from typing import NoReturn
from urllib.parse import quote_from_bytes, unquote_to_bytes
from xml.parsers.expat import ExpatError, ParserCreate

from audiocnn.errors import LabelError, show_name
from audiocnn.labels.formats.base import (
    DEFAULT_LABEL,
    MOST_CHANNEL,
    NO_SCORE,
    LabelCollector,
    LabelFormat,
    LabelledRecording,
    free_name,
)
from audiocnn.labels.formats.text import read_text
from audiocnn.segments.segment import Segment

FILE_PROPERTY = "audiocnn.file"  # the original name of the recording, as a URL
_CHANNEL = re.compile(r"channel (\d{1,5})", re.ASCII)
_MILLISECONDS = re.compile(r"-?\d{1,15}", re.ASCII)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:(?://[^/]*)?")
_DRIVE = re.compile(r"/[A-Za-z]:")


@dataclass(frozen=True)
class EafAnnotation:
    """start, end: ids of time slots. line: in the document."""

    line: int
    start: str
    end: str
    channel: int
    label: str


def file_url(file: str) -> str:
    path = quote_from_bytes(os.fsencode(file), safe="/")
    return f"file://{path}" if file.startswith("/") else f"./{path}"


def media_urls(file: str) -> tuple[str, str]:
    """(MEDIA_URL, RELATIVE_MEDIA_URL) of a recording. The first is absolute, as ELAN expects, if the file exists here.
    The second, relative to the document, is empty for a name with a folder."""
    whole = os.path.abspath(file) if os.path.isfile(file) else file  # noqa: PTH100, PTH113 - any name, as it is
    return file_url(whole), "" if "/" in file else file_url(file)


def url_file(url: str) -> str:
    """The file of a reference; for a file on another machine, its path there."""
    scheme = _SCHEME.match(url)
    path = os.fsdecode(unquote_to_bytes(url[scheme.end() :] if scheme else url.removeprefix("./")))
    return path[1:] if scheme and _DRIVE.match(path) else path


def read_document(path: Path) -> Document:
    """Raises LabelError if this is not a valid EAF."""
    document = Document(show_name(path))
    try:
        document.parser.Parse(read_text(path), True)
    except ExpatError as error:
        raise document.error(error.lineno, f"not valid XML ({error})") from None
    return document


class Document:
    """Handlers for the XML parser.

    media: the first media file, or None; replaced by the original name if that has the same base name. origin: the
    position of its time 0 in milliseconds. times: of time slots in milliseconds; None if a slot is not aligned.
    annotations: of independent tiers.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.media: str | None = None
        self.origin = 0
        self.times: dict[str, int | None] = {}
        self.annotations: list[EafAnnotation] = []
        self.depth = 0
        self.tier = ("", 0)  # its name without the channel that our writer appends, and its channel, from 0
        self.alone = False  # whether the tier is independent
        self.slots: dict[str, str] = {}  # fields of the current annotation
        self.value: list[str] | None = None  # parts of the current value
        self.label = ""
        self.parser = ParserCreate()
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        self.parser.CharacterDataHandler = self.text
        self.parser.StartDoctypeDeclHandler = self.doctype

    def error(self, line: int, fact: str) -> LabelError:
        return LabelError(f"{self.name}:{line}: {fact}; open it in ELAN and save it again")

    def time_of(self, slot: str, line: int) -> int:
        """In milliseconds. Raises LabelError if the slot does not exist or is not aligned with the recording."""
        time = self.times.get(slot)
        if time is None:
            raise self.error(line, f'the time slot "{show_name(slot[:40])}" has no time')
        return time

    def wrong(self, fact: str) -> NoReturn:
        raise self.error(self.parser.CurrentLineNumber, fact)

    def doctype(self, *_: object) -> None:
        """Entities can expand a line to gigabytes, and no EAF has any."""
        self.wrong("found a DOCTYPE, which is not allowed in an EAF")

    def start(self, tag: str, fields: dict[str, str]) -> None:
        if self.depth == 0 and tag != "ANNOTATION_DOCUMENT":
            self.wrong(f"found <{show_name(tag[:40])}>, expected <ANNOTATION_DOCUMENT>")
        self.depth += 1
        if tag == "HEADER" and fields.get("TIME_UNITS", "milliseconds") != "milliseconds":
            self.wrong(f"times in {show_name(fields['TIME_UNITS'][:40])}, but only milliseconds are supported")
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
        """Text between tags; only the text of a value and of our property is used."""
        if self.value is not None:
            self.value.append(data)

    def end(self, tag: str) -> None:
        if tag == "ANNOTATION_VALUE" and self.value is not None:
            self.label, self.value = "".join(self.value), None
        elif tag == "PROPERTY" and self.value is not None:
            given, self.value = url_file("".join(self.value)), None
            if self.media is not None and PurePosixPath(given).name == PurePosixPath(self.media).name:
                self.media = self._whole(given)
        elif tag == "ALIGNABLE_ANNOTATION" and self.alone:
            name, channel = self.tier
            blank = not self.label.strip() and not (self.label and name.startswith(self.label))
            label = name or DEFAULT_LABEL if blank else self.label
            start, end = self.slots.get("TIME_SLOT_REF1", ""), self.slots.get("TIME_SLOT_REF2", "")
            self.annotations.append(EafAnnotation(self.parser.CurrentLineNumber, start, end, channel, label))

    def _media(self, fields: dict[str, str]) -> None:
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
            self.wrong(f'found "{show_name(word[:40])}", expected a time in integer milliseconds')
        return int(word)


SHORTEST_MS = 1
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MIME_TYPES = {".wav": "audio/x-wav", ".mp3": "audio/mpeg", ".flac": "audio/flac", ".ogg": "audio/ogg"}
_HEAD = """\
<?xml version="1.0" encoding="UTF-8"?>
<ANNOTATION_DOCUMENT AUTHOR="" DATE="1970-01-01T00:00:00+00:00" FORMAT="3.0" VERSION="3.0"\
 xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"\
 xsi:noNamespaceSchemaLocation="http://www.mpi.nl/tools/elan/EAFv3.0.xsd">
"""
_TAIL = """\
    <LINGUISTIC_TYPE GRAPHIC_REFERENCES="false" LINGUISTIC_TYPE_ID="default-lt" TIME_ALIGNABLE="true"/>
</ANNOTATION_DOCUMENT>
"""


@dataclass
class Tier:
    """A tier to write: spans are (start, end) in milliseconds, ordered and without overlap.

    who: the channel, from 1, if there are several; otherwise empty.
    """

    name: str
    who: str
    label: str
    spans: list[tuple[int, int]] = field(default_factory=list)


class Elan(LabelFormat):
    """One document. Its date is constant, so that the same segments give the same bytes."""

    def recording(self, recording: LabelledRecording) -> str:
        tiers = make_tiers(recording, self.note)
        moments = sorted(
            (time, which, number, side)
            for which, tier in enumerate(tiers)
            for number, span in enumerate(tier.spans)
            for side, time in enumerate(span)
        )
        slots = {moment[1:]: f"ts{number}" for number, moment in enumerate(moments, 1)}
        body = [*_header(recording.file, len(moments) // 2), *_time_order([moment[0] for moment in moments])]
        annotations = 0
        for which, tier in enumerate(tiers):
            who = f' PARTICIPANT="{tier.who}"' if tier.who else ""
            body += [f'<TIER LINGUISTIC_TYPE_REF="default-lt"{who} TIER_ID="{_escaped(tier.name)}">']
            for number in range(len(tier.spans)):
                annotations += 1
                body += _annotation(annotations, slots[which, number, 0], slots[which, number, 1], tier.label)
            body += ["</TIER>"]
        return _HEAD + "".join(f"    {line}\n" for line in body) + _TAIL

    @staticmethod
    def read(path: Path) -> list[LabelledRecording]:
        """The recording that is the first media of the document, or else one named after the document."""
        document = read_document(path)
        collector = LabelCollector()
        file = document.media or path.stem
        collector.name(file)
        for one in document.annotations:
            start, end = ((document.origin + document.time_of(slot, one.line)) / 1000 for slot in (one.start, one.end))
            collector.add(file, one.channel, Segment(start, end, one.label, NO_SCORE))
        return collector.recordings()


def make_tiers(recording: LabelledRecording, note: Callable[[str], None]) -> list[Tier]:
    """A tier for each label of each channel, and more if its segments overlap."""
    tiers: list[Tier] = []
    names: dict[str, int] = {}  # names of tiers, and the last number appended to each
    ends: dict[tuple[str, str], list[tuple[int, int]]] = {}  # (who, label) -> (last end, tier), the earliest first
    several = len(recording.tracks) > 1 or any(channel > 0 for channel in recording.tracks)
    for channel, track in recording.tracks.items():
        who = f"channel {channel + 1}" if several else ""
        for segment in sorted(track, key=lambda one: (one.start, one.end)):
            start, end = round(1000 * segment.start), round(1000 * segment.end)
            if end < start + SHORTEST_MS:
                note(
                    f"segments shorter than a millisecond are extended to {SHORTEST_MS} ms, because"
                    " ELAN has none without length"
                )
                end = start + SHORTEST_MS
            mine = ends.setdefault((who, segment.label), [])
            if mine and mine[0][0] <= start:
                which = heappop(mine)[1]
            else:
                name = _xml(segment.label) + (f", {who}" if who else "")
                which = len(tiers)
                tiers.append(Tier(free_name(name, names), who, segment.label))
            tiers[which].spans.append((start, end))
            heappush(mine, (end, which))
    return tiers


def _header(file: str, annotations: int) -> list[str]:
    url, relative = media_urls(file)
    near = f' RELATIVE_MEDIA_URL="{relative}"' if relative else ""
    named = [f'    <PROPERTY NAME="{FILE_PROPERTY}">{file_url(file)}</PROPERTY>'] if url != file_url(file) else []
    mime = _MIME_TYPES.get(Path(file).suffix.lower(), "audio/x-wav")
    return [
        '<HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">',
        f'    <MEDIA_DESCRIPTOR MEDIA_URL="{url}" MIME_TYPE="{mime}"{near}/>',
        f'    <PROPERTY NAME="lastUsedAnnotationId">{annotations}</PROPERTY>',
        *named,
        "</HEADER>",
    ]


def _time_order(times: list[int]) -> list[str]:
    slots = [f'    <TIME_SLOT TIME_SLOT_ID="ts{number}" TIME_VALUE="{time}"/>' for number, time in enumerate(times, 1)]
    return ["<TIME_ORDER>", *slots, "</TIME_ORDER>"] if slots else ["<TIME_ORDER/>"]


def _annotation(number: int, start: str, end: str, label: str) -> list[str]:
    refs = f'ANNOTATION_ID="a{number}" TIME_SLOT_REF1="{start}" TIME_SLOT_REF2="{end}"'
    return [
        "    <ANNOTATION>",
        f"        <ALIGNABLE_ANNOTATION {refs}>",
        f"            <ANNOTATION_VALUE>{_escaped(_xml(label))}</ANNOTATION_VALUE>",
        "        </ALIGNABLE_ANNOTATION>",
        "    </ANNOTATION>",
    ]


def _xml(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)


def _escaped(text: str) -> str:
    """For attributes in double quotes and for text."""
    return "".join(_ESCAPES.get(character, character) for character in text)
