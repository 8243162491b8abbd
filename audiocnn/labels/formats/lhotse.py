"""Lhotse supervisions: one JSON object a line, `id`, `recording_id`, `start`, `duration`, `channel`; times in seconds.

The format is that of `SupervisionSegment` in Lhotse (lhotse/supervision.py). `recording_id` is the stem of the file, as
in `RecordingSet.from_dir`; if two files share a stem, the later one has its whole name. Fields that Lhotse lacks are in
`custom`: `label`, `score`, and `file` with the name (`file_base64`: its bytes, if they are not UTF-8). A recording
without segments has no line. Manifests of cuts, a list in one JSON file, and gzipped files of both are also read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from audiocnn.labels.formats.base import (
    DEFAULT_LABEL,
    NO_SCORE,
    LabelCollector,
    LabelFormat,
    LabelledRecording,
    ShortNames,
    file_fields,
    has_score,
    readable,
    round_score,
)
from audiocnn.labels.formats.jsonl import dumps
from audiocnn.labels.formats.manifest import END_DIGITS, ManifestRecord, read_manifest
from audiocnn.segments.segment import Segment
from audiocnn.units import round_seconds


class Lhotse(LabelFormat):
    """A line for each segment; the ids of a recording's segments are `ID-0000` and so on."""

    def __init__(self) -> None:
        super().__init__()
        self.names = ShortNames(self)
        self.counts: dict[str, int] = {}  # recording_id -> segments

    def recording(self, recording: LabelledRecording) -> str:
        own = readable(self.names.of(recording.file))
        lines: list[str] = []
        for channel, track in recording.tracks.items():
            for segment in track:
                number = self.counts.setdefault(own, 0)
                self.counts[own] += 1
                lines.append(_line(f"{own}-{number:04d}", own, recording.file, channel, segment))
        return "".join(lines)

    @staticmethod
    def read(path: Path) -> list[LabelledRecording]:
        """Recordings by the name in `custom`, or else by their id; a segment without a label in `custom` is "speech".

        A supervision of several channels becomes a segment in each of them.
        """
        collector = LabelCollector()
        for record, cut_seconds, cut_file in _supervisions(read_manifest(path)):
            start = cut_seconds + record.number("start")
            end = round(start + record.number("duration"), END_DIGITS)
            custom = _custom(record)
            label = custom.text("label") if custom.fields.get("label") else DEFAULT_LABEL
            segment = Segment(start, end, label, custom.number("score", NO_SCORE))
            named = "file" in custom.fields or "file_base64" in custom.fields
            file = custom.file("file") if named else cut_file or record.file("recording_id")
            for channel in record.channels():
                collector.add(file, channel, segment)
        return collector.recordings()


def _supervisions(records: Iterable[ManifestRecord]) -> Iterator[tuple[ManifestRecord, float, str]]:
    """Supervisions, the offset in seconds of their times, and the file of the recording if known. In a manifest of
    cuts, supervisions are inside the cuts, and their times count from the start of the cut."""
    for record in records:
        inside = record.fields.get("supervisions")
        if inside is None:
            yield record, 0.0, ""
            continue
        if not isinstance(inside, list) or not all(isinstance(one, dict) for one in inside):
            raise record.wrong("supervisions", "a list of objects")
        recording = record.fields.get("recording")
        sources = recording.get("sources") if isinstance(recording, dict) else None
        first = sources[0] if isinstance(sources, list) and sources and isinstance(sources[0], dict) else {}
        file = first.get("source") if first.get("type") == "file" else None
        for one in inside:
            yield ManifestRecord(record.where, one), record.number("start", 0.0), file if isinstance(file, str) else ""


def _line(own: str, recording: str, file: str, channel: int, segment: Segment) -> str:
    start, end = round_seconds(segment.start), round_seconds(segment.end)
    custom: dict[str, Any] = {"label": segment.label}
    if has_score(segment):
        custom["score"] = round_score(segment.score)
    fields = {"id": own, "recording_id": recording, "start": start, "duration": round_seconds(end - start)}
    return dumps({**fields, "channel": channel, "custom": {**custom, **file_fields("file", file)}}) + "\n"


def _custom(record: ManifestRecord) -> ManifestRecord:
    custom = record.fields.get("custom")
    if custom is None:
        return ManifestRecord(record.where, {})
    if not isinstance(custom, dict):
        raise record.wrong("custom", "an object")
    return ManifestRecord(f'{record.where}: "custom"', custom)
