"""ELAN annotation files (EAF 3.0 of the MPI for Psycholinguistics, schema EAFv3.0.xsd): one recording, tiers, in XML.

A tier holds annotations between two time slots, in whole milliseconds, which neither overlap nor have no length. Ours
are named by label, and where there are several channels by these (`speech, channel 2`, from 1), which then stand in
PARTICIPANT too; what overlaps goes to a further tier (`speech (2)`). The value of an annotation is the label.

The media is an absolute reference where the recording is there when the document is written, with bytes escaped as in
every URI (RFC 3986); a relative one, which counts from the folder of the document, stands beside it where the name has
no folder. The name as it was given is a property (`audiocnn.file`), which counts when the document is read, as long as
the media has the same base name.

Characters that XML does not know (XML 1.0, section 2.2) become U+FFFD. Scores have no place.

What is read are the tiers that stand alone; those that depend on another one (PARENT_REF) say more about the same
stretches. The label is the value, and the name of the tier where there is none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from heapq import heappop, heappush
from pathlib import Path

from audiocnn.formats.eaf import FILE_PROPERTY, file_url, media_urls, read_document
from audiocnn.formats.found import NO_SCORE, Found
from audiocnn.formats.gathering import Gathered
from audiocnn.formats.naming import free_name
from audiocnn.segments import Segment

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
    """What becomes a tier: spans are (start, end) in milliseconds, in order, none into the next.

    who: the channel, from 1, where there are several; else nothing.
    """

    name: str
    who: str
    label: str
    spans: list[tuple[int, int]] = field(default_factory=list)


class Writer:
    """One document. The date in it is always the same, so that the same segments give the same bytes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def begin(self) -> str:
        """Nothing; the header says which recording it is."""
        return ""

    def recording(self, found: Found) -> str:
        """The whole document."""
        tiers = make_tiers(found, self.notes)
        moments = sorted(
            (time, which, number, side)
            for which, tier in enumerate(tiers)
            for number, span in enumerate(tier.spans)
            for side, time in enumerate(span)
        )
        slots = {moment[1:]: f"ts{number}" for number, moment in enumerate(moments, 1)}
        body = [*_header(found.file, len(moments) // 2), *_time_order([moment[0] for moment in moments])]
        annotations = 0
        for which, tier in enumerate(tiers):
            body += [f'<TIER LINGUISTIC_TYPE_REF="default-lt"{_participant(tier)} TIER_ID="{_escaped(tier.name)}">']
            for number in range(len(tier.spans)):
                annotations += 1
                body += _annotation(annotations, slots[which, number, 0], slots[which, number, 1], tier.label)
            body += ["</TIER>"]
        return _HEAD + "".join(f"    {line}\n" for line in body) + _TAIL

    def end(self) -> str:
        """Nothing."""
        return ""


def make_tiers(found: Found, notes: list[str]) -> list[Tier]:
    """A tier for each label of each channel, and more where its segments overlap."""
    tiers: list[Tier] = []
    names: dict[str, int] = {}  # of tiers, and the last number behind each
    ends: dict[tuple[str, str], list[tuple[int, int]]] = {}  # (who, label) -> (last end, tier), the earliest first
    several = len(found.tracks) > 1 or any(channel > 0 for channel in found.tracks)
    for channel, track in found.tracks.items():
        who = f"channel {channel + 1}" if several else ""
        for segment in sorted(track, key=lambda one: (one.start, one.end)):
            start, end = round(1000 * segment.start), round(1000 * segment.end)
            if end < start + SHORTEST_MS:
                note = f"segments shorter than a millisecond are {SHORTEST_MS} ms long: ELAN has none of no length"
                notes += [] if note in notes else [note]
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


def _participant(tier: Tier) -> str:
    return f' PARTICIPANT="{tier.who}"' if tier.who else ""


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
    """For an attribute in double quotes, and for text."""
    return "".join(_ESCAPES.get(character, character) for character in text)


def read_found(path: Path) -> list[Found]:
    """The recording that is the first media of the document; without one it has the stem of the document."""
    document = read_document(path)
    found = Gathered()
    file = document.media or path.stem
    found.name(file)
    for one in document.annotations:
        start, end = ((document.origin + document.time_of(slot, one.line)) / 1000 for slot in (one.start, one.end))
        found.add(file, one.channel, Segment(start, end, one.label, NO_SCORE))
    return found.found()
