"""Lhotse supervisions: one JSON object a line, `id`, `recording_id`, `start`, `duration`, `channel`; times in seconds.

As `SupervisionSegment` of Lhotse has it (lhotse/supervision.py). `recording_id` is the stem of the file, as
`RecordingSet.from_dir` gives it; where two files share a stem, the later one has its whole name. What Lhotse has no
field for stands in `custom`: `label`, `score`, and `file` with the name (`file_base64`: its bytes, where they are not
UTF-8). A recording without a segment has no line. Also read: a list in one JSON file, and both in gzip.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from audiocnn.formats.found import NO_LABEL, NO_SCORE, Found, has_score
from audiocnn.formats.gathering import Gathered
from audiocnn.formats.jsonl import SEGMENT_SCORE_DIGITS, dumps
from audiocnn.formats.manifests import END_DIGITS, ManifestRecord, file_fields, read_manifest, readable
from audiocnn.formats.naming import ShortNames
from audiocnn.segments import Segment
from audiocnn.units import round_seconds


class Writer:
    """A line for each segment; the segments of a recording are `ID-0000` and on."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.names = ShortNames(self.notes)
        self.counts: dict[str, int] = {}  # recording_id -> segments

    def begin(self) -> str:
        """Nothing."""
        return ""

    def recording(self, found: Found) -> str:
        """Its segments, channel by channel."""
        own = readable(self.names.of(found.file))
        lines: list[str] = []
        for channel, track in found.tracks.items():
            for segment in track:
                number = self.counts.setdefault(own, 0)
                self.counts[own] += 1
                lines.append(_line(f"{own}-{number:04d}", own, found.file, channel, segment))
        return "".join(lines)

    def end(self) -> str:
        """Nothing."""
        return ""


def _line(own: str, recording: str, file: str, channel: int, segment: Segment) -> str:
    start, end = round_seconds(segment.start), round_seconds(segment.end)
    custom: dict[str, Any] = {"label": segment.label}
    if has_score(segment):
        custom["score"] = round(float(segment.score), SEGMENT_SCORE_DIGITS)
    fields = {"id": own, "recording_id": recording, "start": start, "duration": round_seconds(end - start)}
    return dumps({**fields, "channel": channel, "custom": {**custom, **file_fields("file", file)}}) + "\n"


def read_found(path: Path) -> list[Found]:
    """Recordings by the name in `custom`, else by their id; a segment without a label in `custom` is "speech".

    A supervision of several channels is a segment in each of them.
    """
    found = Gathered()
    for record in read_manifest(path):
        start = record.number("start")
        end = round(start + record.number("duration"), END_DIGITS)
        custom = _custom(record)
        label = custom.text("label") if custom.fields.get("label") else NO_LABEL
        segment = Segment(start, end, label, custom.number("score", NO_SCORE))
        named = "file" in custom.fields or "file_base64" in custom.fields
        file = custom.file("file") if named else record.file("recording_id")
        for channel in record.channels():
            found.add(file, channel, segment)
    return found.found()


def _custom(record: ManifestRecord) -> ManifestRecord:
    custom = record.fields.get("custom")
    if custom is None:
        return ManifestRecord(record.where, {})
    if not isinstance(custom, dict):
        raise record.wrong("custom", "an object")
    return ManifestRecord(f'{record.where}: "custom"', custom)
