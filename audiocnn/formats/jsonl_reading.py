"""What `detect` wrote as JSON Lines, read back: `segment` and `file` records; those of other types are left out."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from audiocnn.errors import LabelError
from audiocnn.formats.found import NO_SCORE, Found
from audiocnn.formats.gathering import Gathered
from audiocnn.formats.manifests import MOST_CHANNEL, ManifestRecord, read_manifest
from audiocnn.segments import Segment

SCHEMA = 1
TOLD_TYPES = ("segment", "file", "error")  # one of these is in every output of `detect`


def read_found(path: Path) -> list[Found]:
    """Recordings in the order in which they are first named. LabelError: records, but none of a segment or a file."""
    gathered = Gathered()
    facts: dict[str, dict[str, Any]] = {}
    others: ManifestRecord | None = None
    told = False
    for record in read_manifest(path):
        kind = record.fields.get("type")
        schema = record.fields.get("schema", SCHEMA)
        if type(schema) is not int or not 1 <= schema <= SCHEMA:
            raise record.wrong("schema", f"{SCHEMA}; newer records need a newer audiocnn")
        told = told or kind in TOLD_TYPES
        if kind == "segment":
            gathered.add(record.file("file"), channel_in(record), segment_in(record))
        elif kind == "file":
            gathered.name(record.file("file"))
            facts.setdefault(record.file("file"), facts_in(record))
        elif kind != "error":
            others = others or record
    if others is not None and not told:
        raise others.wrong("type", '"segment" or "file", as `detect` writes them')
    return [replace(found, **facts.get(found.file, {})) for found in gathered.found()]


def segment_in(record: ManifestRecord) -> Segment:
    """The segment of a record; a score that is null or missing is not known."""
    score = record.number("score", NO_SCORE)
    return Segment(record.number("start"), record.number("end"), record.text("label"), score)


def channel_in(record: ManifestRecord) -> int:
    """One channel, from 0."""
    value = record.fields.get("channel")
    if value is None:
        return 0
    if type(value) is not int or not 0 <= value < MOST_CHANNEL:
        raise record.wrong("channel", "a channel, from 0")
    return value


def facts_in(record: ManifestRecord) -> dict[str, Any]:
    """What the record of a whole file says, by the names of `Found`."""
    duration = record.fields.get("duration")
    if duration is not None and not (math.isfinite(record.number("duration")) and record.number("duration") >= 0):
        raise record.wrong("duration", "seconds")
    counts = {}
    for key in ("sample_rate", "channels"):
        value = record.fields.get(key)
        if value is not None and (type(value) is not int or value < 1):
            raise record.wrong(key, "a number from 1")
        counts[key] = value
    model, note = record.fields.get("model"), record.fields.get("note")
    return {
        "duration_seconds": None if duration is None else record.number("duration"),
        **counts,
        "model": record.text("model") if model else "",
        "thresholds": thresholds_in(record),
        "note": record.text("note") if note else None,
    }


def thresholds_in(record: ManifestRecord) -> dict[str, float]:
    """Label -> threshold."""
    given = record.fields.get("thresholds") or {}
    if not isinstance(given, dict):
        raise record.wrong("thresholds", 'labels and numbers, as in {"speech": 0.5}')
    inside = ManifestRecord(f'{record.where}: "thresholds"', given)
    found = {label: inside.number(label) for label in given}
    if not all(math.isfinite(value) for value in found.values()):
        raise LabelError(f"{inside.where}: a threshold that is no number; correct it")
    return found
