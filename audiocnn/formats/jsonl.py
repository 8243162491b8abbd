"""JSON Lines: one record a line, each of which says what it is and of which file.

    {"schema":1,"type":"segment","file":...,"channel":...,"start":...,"end":...,"label":...,"score":...}
    {"schema":1,"type":"onset","file":...,"channel":...,"start":...,"label":...}
    {"schema":1,"type":"file","file":...,"status":"ok","duration":...,"sample_rate":...,"channels":...,
     "segments":...,"seconds":{LABEL:...},"model":...,"thresholds":{LABEL:...}}
    {"schema":1,"type":"error","file":...,"error":...}
    {"schema":1,"type":"clip","file":...,"channel":...,"start":...,"end":...,"label":...,"score":...,
     "labels":[{"label":...,"score":...,"threshold":...}],"top":[{"label":...,"score":...}],"model":...}
    {"schema":1,"type":"score","file":...,"channel":...,"start":...,"end":...,"scores":{LABEL:...}}

Seconds have four digits behind the point; scores have four, in records of type score six. What is not known, as the
score of a label that a person gave, is null. A file name that
is not UTF-8 is shown with replacement characters, and `file_base64` behind it holds its bytes. However a
reader splits lines, it gets one record a line: also where a name holds a line separator of Unicode.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiocnn.formats.columns import side_by_side, texts
from audiocnn.formats.found import Found, has_score
from audiocnn.segments import Segment
from audiocnn.units import SECONDS_DIGITS, round_seconds

SCHEMA = 1
SEGMENT_SCORE_DIGITS = 4
SCORE_DIGITS = 6
# Outside ASCII, these end a line for str.splitlines; those inside ASCII are escaped by JSON.
LINE_ENDS = {ord(end): f"\\u{ord(end):04x}" for end in "\x85\u2028\u2029"}

ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))

FileName = str | bytes | os.PathLike[str]
Record = dict[str, Any]


@dataclass(frozen=True)
class FileSummary:
    """What the record of a whole file says; `seconds` holds how much of each label was found. None is not known."""

    duration_seconds: float | None
    sample_rate: int | None
    channels: int | None
    segments: int
    seconds: Mapping[str, float]
    model: str | None
    thresholds: Mapping[str, float]


def segment_record(file: FileName, channel: int, segment: Segment) -> Record:
    """One segment that was found."""
    return {
        **_head("segment", file),
        "channel": channel,
        "start": round_seconds(segment.start),
        "end": round_seconds(segment.end),
        "label": segment.label,
        "score": round(float(segment.score), SEGMENT_SCORE_DIGITS) if has_score(segment) else None,
    }


def onset_record(file: FileName, channel: int, start_seconds: float, label: str) -> Record:
    """A segment that has begun in a live stream; it comes later, with the same start and label."""
    return {**_head("onset", file), "channel": channel, "start": round_seconds(start_seconds), "label": label}


def file_record(file: FileName, summary: FileSummary) -> Record:
    """A file that was read to its end; what was found in it comes before."""
    return {
        **_head("file", file),
        "status": "ok",
        "duration": None if summary.duration_seconds is None else round_seconds(summary.duration_seconds),
        "sample_rate": summary.sample_rate,
        "channels": summary.channels,
        "segments": summary.segments,
        "seconds": {label: round_seconds(seconds) for label, seconds in summary.seconds.items()},
        "model": summary.model,
        "thresholds": {label: round(float(t), SCORE_DIGITS) for label, t in summary.thresholds.items()},
    }


def error_record(file: FileName, message: str) -> Record:
    """A file that could not be done; the message says what, where, and what to do."""
    return {**_head("error", file), "error": message}


@dataclass(frozen=True)
class ClipAnswer:
    """The answer for a stretch of one channel, in seconds; label is None where no score reached a threshold.

    labels: (label, score, threshold) of all that reached theirs, where several can; None where there is one answer.
    """

    channel: int
    start: float
    end: float
    label: str | None
    score: float
    labels: Sequence[tuple[str, float, float]] | None = None


def clip_record(
    file: FileName, top: Sequence[tuple[str, float]], model: str, answer: ClipAnswer | None = None
) -> Record:
    """One answer: `top` holds (label, score), the best first, at least one. Without more it is the first of these."""
    best = [{"label": name, "score": round(float(score), SEGMENT_SCORE_DIGITS)} for name, score in top]
    if answer is None:
        return {**_head("clip", file), **best[0], "top": best, "model": model}
    place = {"channel": answer.channel, "start": round_seconds(answer.start), "end": round_seconds(answer.end)}
    said: Record = {"label": answer.label, "score": round(float(answer.score), SEGMENT_SCORE_DIGITS)}
    if answer.labels is not None:
        said["labels"] = [
            {"label": label, "score": round(float(score), SEGMENT_SCORE_DIGITS), "threshold": round(threshold, 6)}
            for label, score, threshold in answer.labels
        ]
    return {**_head("clip", file), **place, **said, "top": best, "model": model}


def clips_record(
    file: FileName, duration_seconds: float, sample_rate: int, channels: int, clips: int, model: str
) -> Record:
    """A file that was read to its end, behind its clips, where there may be several."""
    facts = {"duration": round_seconds(duration_seconds), "sample_rate": sample_rate, "channels": channels}
    return {**_head("file", file), "status": "ok", **facts, "clips": clips, "model": model}


def score_record(file: FileName, channel: int, start: float, end: float, scores: Mapping[str, float]) -> Record:
    """The scores of one hop, [start, end) in seconds."""
    return {
        **_head("score", file),
        "channel": channel,
        "start": round_seconds(start),
        "end": round_seconds(end),
        "scores": {label: round(float(score), SCORE_DIGITS) for label, score in scores.items()},
    }


def score_text(
    file: FileName, channel: int, labels: Sequence[str], edges: NDArray[np.float64], scores: NDArray[np.float32]
) -> str:
    """`dumps(score_record(...))` of many hops, each with its end of line, for less time.

    edges: (rows + 1,) in seconds, where each row starts and the last one ends. scores: (rows, labels).
    """
    if not np.isfinite(scores).all():
        raise ValueError("scores that are not numbers")
    times = texts(edges, SECONDS_DIGITS)
    head = dumps({**_head("score", file), "channel": channel})[:-1]
    columns: list[str | list[str]] = [f'{head},"start":', times[:-1], ',"end":', times[1:], ',"scores":{']
    for label, values in zip(labels, scores.T, strict=True):
        columns += [dumps({label: 0})[1:-2], texts(values, SCORE_DIGITS), ","]  # "label":0.5,
    return side_by_side(len(scores), [*columns[:-1], "}}\n"])


def dumps(record: Record) -> str:
    """The record as one line, without its end. ValueError for NaN and infinity, which JSON does not have."""
    text = ENCODER.encode(record)
    return text if text.isascii() else _utf8(text).translate(LINE_ENDS)


def _head(kind: str, file: FileName) -> Record:
    return {"schema": SCHEMA, "type": kind, **name_as("file", file)}


def name_as(key: str, file: FileName) -> Record:
    """A file name under a key of its own; where it is not UTF-8, `KEY_base64` has its bytes."""
    name = os.fsdecode(file)
    shown = _utf8(name)
    if shown == name:
        return {key: shown}
    return {key: shown, f"{key}_base64": base64.b64encode(os.fsencode(name)).decode("ascii")}


def piece_record(file: FileName, output: FileName, facts: Mapping[str, Any]) -> Record:
    """A stretch of a recording that was cut out, and the file that holds it now."""
    return {**_head("piece", file), **name_as("output", output), **facts}


def cut_record(file: FileName, facts: Mapping[str, Any], note: str | None) -> Record:
    """A recording that was cut, behind its pieces."""
    status = {"status": "damaged", **facts, "note": note} if note else {"status": "ok", **facts}
    return {**_head("file", file), **status}


def _utf8(text: str) -> str:
    """The text with replacement characters for what is not UTF-8, as names of files may hold it."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return text


class Writer:
    """`segment` records, then the `file` record."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def begin(self) -> str:
        """Nothing: every line says what it is."""
        return ""

    def recording(self, found: Found) -> str:
        """The records of one recording."""
        records = [segment_record(found.file, channel, s) for channel, track in found.tracks.items() for s in track]
        seconds = dict.fromkeys(found.thresholds, 0.0)
        for segment in found.segments:
            seconds[segment.label] = seconds.get(segment.label, 0.0) + segment.end - segment.start
        summary = FileSummary(
            duration_seconds=found.duration_seconds,
            sample_rate=found.sample_rate,
            channels=found.channels,
            segments=len(found.segments),
            seconds=seconds,
            model=found.model or None,
            thresholds=found.thresholds,
        )
        last = file_record(found.file, summary)
        if found.note:
            last |= {"status": "damaged", "note": found.note}
        return "".join(dumps(record) + "\n" for record in [*records, last])

    def end(self) -> str:
        """Nothing."""
        return ""


def read_found(path: Path) -> list[Found]:
    """What `detect` wrote: see `jsonl_reading.py`."""
    from audiocnn.formats import jsonl_reading

    return jsonl_reading.read_found(path)
