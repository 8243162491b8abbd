"""JSON Lines: one record a line, with its type and the file that it belongs to.

    {"schema":1,"type":"segment","file":...,"channel":...,"start":...,"end":...,"label":...,"score":...}
    {"schema":1,"type":"onset","file":...,"channel":...,"start":...,"label":...}
    {"schema":1,"type":"file","file":...,"status":"ok","duration":...,"sample_rate":...,"channels":...,
     "segments":...,"seconds":{LABEL:...},"model":...,"thresholds":{LABEL:...}}
    {"schema":1,"type":"error","file":...,"error":...}
    {"schema":1,"type":"clip","file":...,"channel":...,"start":...,"end":...,"label":...,"score":...,
     "labels":[{"label":...,"score":...,"threshold":...}],"top":[{"label":...,"score":...}],"model":...}
    {"schema":1,"type":"score","file":...,"channel":...,"start":...,"end":...,"scores":{LABEL:...}}

Seconds have four decimals; scores have four, or six in records of type score. Unknown values, such as the score of a
label that a person gave, are null. A file name that is not UTF-8 is written with replacement characters, followed by
`file_base64` with its bytes. Unicode line separators in names are escaped, so that any reader finds one record a line.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiocnn.errors import LabelError
from audiocnn.labels.formats.base import (
    MOST_CHANNEL,
    NO_SCORE,
    LabelCollector,
    LabelFormat,
    LabelledRecording,
    ResultT,
    Writer,
    file_fields,
    has_score,
    readable,
    round_score,
)
from audiocnn.labels.formats.manifest import ManifestRecord, read_manifest
from audiocnn.labels.formats.text import format_values, join_columns
from audiocnn.segments.segment import Segment
from audiocnn.units import SECONDS_DIGITS, round_seconds

SCHEMA = 1
SCORE_DIGITS = 6
# Characters outside ASCII that end a line for str.splitlines; JSON escapes those inside ASCII.
_LINE_ENDS = {ord(end): f"\\u{ord(end):04x}" for end in "\x85\u2028\u2029"}
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_DETECT_TYPES = ("segment", "file", "error")  # every output of `detect` contains one of these
FileName = str | bytes | os.PathLike[str]
Record = dict[str, Any]


class JsonLinesWriter(Writer[ResultT]):
    """Writes the `records` of each recording, one a line, and an `error` record for one that failed."""

    def __init__(self, records: Callable[[ResultT], Iterable[Record]]) -> None:
        super().__init__()
        self.records = records

    def recording(self, recording: ResultT) -> str:
        return dump_lines(self.records(recording))

    def failed(self, file: str, problem: str) -> str:
        return dump_lines([error_record(file, problem)])


def dump_lines(records: Iterable[Record]) -> str:
    return "".join(dumps(record) + "\n" for record in records)


def dumps(record: Record) -> str:
    """The record as one line, without a line end. Raises ValueError for NaN and infinity, which JSON does not
    support."""
    text = _ENCODER.encode(record)
    return text if text.isascii() else readable(text).translate(_LINE_ENDS)


def record_head(kind: str, file: FileName) -> Record:
    """The first fields of every record: schema, type, and the recording."""
    return {"schema": SCHEMA, "type": kind, **file_fields("file", os.fsdecode(file))}


def segment_record(file: FileName, channel: int, segment: Segment) -> Record:
    return {
        **record_head("segment", file),
        "channel": channel,
        "start": round_seconds(segment.start),
        "end": round_seconds(segment.end),
        "label": segment.label,
        "score": round_score(segment.score) if has_score(segment) else None,
    }


def onset_record(file: FileName, channel: int, start_seconds: float, label: str) -> Record:
    """The beginning of a segment in a live stream; its `segment` record follows later, with the same start and
    label."""
    return {**record_head("onset", file), "channel": channel, "start": round_seconds(start_seconds), "label": label}


@dataclass(frozen=True)
class FileSummary:
    """The fields of a record for a whole file; `seconds` holds the total of each label. None stands for unknown
    facts."""

    duration_seconds: float | None
    sample_rate: int | None
    channels: int | None
    segments: int
    seconds: Mapping[str, float]
    model: str | None
    thresholds: Mapping[str, float]
    note: str | None = None
    start_seconds: float = 0.0
    remarks: Sequence[str] = ()


def start_field(start_seconds: float) -> Record:
    """For the last record of a recording that was not read from its beginning: the start position."""
    return {"start": round_seconds(start_seconds)} if start_seconds else {}


def file_record(file: FileName, summary: FileSummary, settings: str = "") -> Record:
    """The record for a file that was read to its end, written after its segments."""
    record = {
        **record_head("file", file),
        "status": "ok",
        **start_field(summary.start_seconds),
        "duration": None if summary.duration_seconds is None else round_seconds(summary.duration_seconds),
        "sample_rate": summary.sample_rate,
        "channels": summary.channels,
        "segments": summary.segments,
        "seconds": {label: round_seconds(seconds) for label, seconds in summary.seconds.items()},
        "model": summary.model,
        "thresholds": {label: round(float(t), SCORE_DIGITS) for label, t in summary.thresholds.items()},
    }
    return last_record(record, summary.note, summary.remarks, settings)


def last_record(record: Record, note: str | None, remarks: Sequence[str], settings: str = "") -> Record:
    """The last record of a recording, with notes on damage, other remarks, and the digest of the settings."""
    damaged = {"status": "damaged", "note": note} if note else {}
    said = {"remarks": list(remarks)} if remarks else {}
    return record | damaged | said | ({"settings": settings} if settings else {})


def error_record(file: FileName, message: str) -> Record:
    """The record for a file that failed; the message gives the fact, the place and the remedy."""
    return {**record_head("error", file), "error": message}


def label_records(recording: LabelledRecording, settings: str = "") -> Iterator[Record]:
    """`segment` records, ordered by channel, then the `file` record."""
    seconds = dict.fromkeys(recording.thresholds, 0.0)
    for channel, track in recording.tracks.items():
        for segment in track:
            yield segment_record(recording.file, channel, segment)
            seconds[segment.label] = seconds.get(segment.label, 0.0) + (segment.end - segment.start)
    summary = FileSummary(
        duration_seconds=recording.duration_seconds,
        sample_rate=recording.sample_rate,
        channels=recording.channels,
        segments=len(recording.segments),
        seconds=seconds,
        model=recording.model or None,
        thresholds=recording.thresholds,
        note=recording.note,
        start_seconds=recording.start_seconds,
        remarks=recording.remarks,
    )
    yield file_record(recording.file, summary, settings)


def score_lines(
    file: FileName, channel: int, labels: Sequence[str], edges: NDArray[np.float64], scores: NDArray[np.float32]
) -> str:
    """The `score` records of many hops, each with its line end, as `dumps` would write them, but faster.

    edges: (rows + 1,) in seconds: the starts of all rows and the end of the last. scores: (rows, labels).
    """
    if not np.isfinite(scores).all():
        raise ValueError("scores are not finite")
    times = format_values(edges, SECONDS_DIGITS)
    head = dumps({**record_head("score", file), "channel": channel})[:-1]
    columns: list[str | list[str]] = [f'{head},"start":', times[:-1], ',"end":', times[1:], ',"scores":{']
    for label, values in zip(labels, scores.T, strict=True):
        columns += [dumps({label: 0})[1:-2], format_values(values, SCORE_DIGITS), ","]  # "label":0.5,
    return join_columns(len(scores), [*columns[:-1], "}}\n"])


class JsonLines(JsonLinesWriter[LabelledRecording], LabelFormat):
    """The output of `detect`. settings: the digest stored in `file` records, for --resume."""

    def __init__(self, settings: str = "") -> None:
        super().__init__(partial(label_records, settings=settings))

    @staticmethod
    def read(path: Path) -> list[LabelledRecording]:
        """Reads `segment` and `file` records and ignores other types. Raises LabelError if there are records, but none
        for a segment, a file or an error."""
        collector = LabelCollector()
        facts: dict[str, dict[str, Any]] = {}
        other: ManifestRecord | None = None
        from_detect = False
        for record in read_manifest(path):
            kind = record.fields.get("type")
            schema = record.fields.get("schema", SCHEMA)
            if type(schema) is not int or not 1 <= schema <= SCHEMA:
                raise record.wrong("schema", f"{SCHEMA}; newer records need a newer audiocnn")
            from_detect = from_detect or kind in _DETECT_TYPES
            if kind == "segment":
                collector.add(record.file("file"), _channel_in(record), _segment_in(record))
            elif kind == "file":
                collector.name(record.file("file"))
                facts.setdefault(record.file("file"), _facts_in(record))
            elif kind != "error":
                other = other or record
        if other is not None and not from_detect:
            raise other.wrong("type", '"segment" or "file", as `detect` writes them')
        return [replace(found, **facts.get(found.file, {})) for found in collector.recordings()]


def _segment_in(record: ManifestRecord) -> Segment:
    """The score, or NO_SCORE if it is null or missing."""
    score = record.number("score", NO_SCORE)
    return Segment(record.number("start"), record.number("end"), record.text("label"), score)


def _channel_in(record: ManifestRecord) -> int:
    value = record.fields.get("channel")
    if value is None:
        return 0
    if type(value) is not int or not 0 <= value < MOST_CHANNEL:
        raise record.wrong("channel", "a channel, from 0")
    return value


def _facts_in(record: ManifestRecord) -> dict[str, Any]:
    """The fields of the record of a whole file, by the attribute names of `LabelledRecording`."""
    duration = record.fields.get("duration")
    if duration is not None and not (math.isfinite(record.number("duration")) and record.number("duration") >= 0):
        raise record.wrong("duration", "seconds")
    counts = {}
    for key in ("sample_rate", "channels"):
        value = record.fields.get(key)
        if value is not None and (type(value) is not int or value < 1):
            raise record.wrong(key, "a number of 1 or more")
        counts[key] = value
    model, note = record.fields.get("model"), record.fields.get("note")
    return {
        "duration_seconds": None if duration is None else record.number("duration"),
        **counts,
        "model": record.text("model") if model else "",
        "thresholds": _thresholds_in(record),
        "note": record.text("note") if note else None,
    }


def _thresholds_in(record: ManifestRecord) -> dict[str, float]:
    given = record.fields.get("thresholds") or {}
    if not isinstance(given, dict):
        raise record.wrong("thresholds", 'labels and numbers, as in {"speech": 0.5}')
    inside = ManifestRecord(f'{record.where}: "thresholds"', given)
    found = {label: inside.number(label) for label in given}
    if not all(math.isfinite(value) for value in found.values()):
        raise LabelError(f"{inside.where}: a threshold is not finite; correct it")
    return found
