"""Conversion of labels between formats: read with all details, completed from the recordings, checked and written."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from audiocnn.audio.find import AUDIO_SUFFIXES, EntryError, entry_path, is_folder, walk_folder
from audiocnn.audio.recording import read_info
from audiocnn.errors import LabelError, RecordingError, show_name
from audiocnn.labels.formats import FORMATS, LABEL_SUFFIXES, label_format, read_labelled_recordings
from audiocnn.labels.formats.base import DEFAULT_LABEL, LabelledRecording, base_name, has_score
from audiocnn.labels.lookup import Recordings
from audiocnn.segments.segment import Segment

# What a format stores about a whole recording besides its segments.
_FACTS = {
    "jsonl": ("duration_seconds", "sample_rate", "channels"),
    "textgrid": ("duration_seconds",),
    "raven": ("duration_seconds", "sample_rate"),
}
_MOST_SECONDS = 1e9  # thirty years
_NEED_DURATION = ("textgrid", "raven")  # used if the duration is unknown: the end of the last segment
_KALDI_TABLE = "segments"


def find_label_files(path: Path, kind: str | None = None) -> Iterator[Path | EntryError]:
    """A file as it is named; for a folder, the files inside with suffixes of label files, and errors for unreadable
    ones. Raises LabelError if there are none."""
    if not is_folder(path):
        yield path
        return
    suffixes = FORMATS[kind].suffixes if kind else LABEL_SUFFIXES
    wanted = tuple(suffix.lower() for suffix in suffixes)
    found = False
    for entry in walk_folder(path):
        name = entry_path(entry).name
        is_lost_folder = isinstance(entry, EntryError) and entry.is_folder
        if is_lost_folder or name.lower().endswith(wanted) or (name == _KALDI_TABLE and kind in (None, "kaldi")):
            found = True
            yield entry
    if not found:
        known = " ".join(suffixes)
        raise LabelError(f"{show_name(path)}: no label files in this folder; they must end in {known}")


def read_checked(path: Path, kind: str | None = None, label_column: str | None = None) -> list[LabelledRecording]:
    """The recordings in a label file. Raises LabelError if it cannot be read, or contains impossible times."""
    found = read_labelled_recordings(path, kind or label_format(path), label_column)
    for one in found:
        for segment in one.segments:
            why = segment_problem(segment)
            if why:
                times = f"{segment.start:g} to {segment.end:g} s"
                raise LabelError(f"{show_name(path)}: {show_name(one.file)}: {times}: {why}; correct it")
    return found


def segment_problem(segment: Segment) -> str:
    """The reason why a segment is impossible; empty if it is valid."""
    if not (math.isfinite(segment.start) and math.isfinite(segment.end)):
        return "not finite times"
    if segment.start < 0:
        return "begins before the recording"
    if segment.end < segment.start:
        return "ends before it begins"
    if segment.end > _MOST_SECONDS:
        return "later than the longest supported recording"
    return "an infinite score" if math.isinf(segment.score) else ""


def complete_recording(found: LabelledRecording, labels: Path, kind: str, recordings: Recordings) -> LabelledRecording:
    """The labels with the name of their recording, if they lack its folder or suffix, and with the facts about it that
    the target format needs."""
    path = recordings.find(found.file, labels)
    if path is None:
        return found
    if Path(found.file).suffix.lower() not in AUDIO_SUFFIXES:
        found = replace(found, file=str(path))
    missing = [name for name in _FACTS.get(kind, ()) if getattr(found, name) is None]
    if not missing:
        return found
    try:
        info = read_info(path)
    except RecordingError:
        return found
    return replace(found, **{name: getattr(info, name) for name in missing})


def merge_recordings(found: Iterable[LabelledRecording]) -> list[LabelledRecording]:
    """Each recording once, in the order of first occurrence; the first known fact about it counts."""
    named: dict[str, LabelledRecording] = {}
    for one in found:
        before = named.get(one.file)
        named[one.file] = one if before is None else _both(before, one)
    return list(named.values())


def _both(first: LabelledRecording, second: LabelledRecording) -> LabelledRecording:
    tracks = {channel: tuple(track) for channel, track in first.tracks.items()}
    for channel, track in second.tracks.items():
        tracks[channel] = tuple(dict.fromkeys((*tracks.get(channel, ()), *track)))  # a copied file adds nothing
    facts = ("duration_seconds", "sample_rate", "channels", "model", "note")
    changes = {name: getattr(first, name) or getattr(second, name) for name in facts}
    return replace(first, tracks=tracks, thresholds={**second.thresholds, **first.thresholds}, **changes)


def find_losses(found: Iterable[LabelledRecording], kind: str) -> list[str]:
    """One line for each kind of information in these recordings that the format cannot store."""
    counts = Counter(what for one in found for what in _carried(one, kind) if what not in FORMATS[kind].keeps)
    lines = {
        "score": f"{kind} cannot store scores; they are omitted",
        "channel": f"{kind} cannot store channels; the segments of all channels are merged",
        "label": f"{kind} cannot store labels; they are omitted",
        "empty": f"{kind} cannot store a recording without segments; omitted: {counts['empty']}",
        "file": f"{kind} stores base names of recordings; folders and suffixes are omitted",
        "duration": f"unknown duration, replaced by the end of the last segment: {counts['duration']}",
    }
    return [line for what, line in lines.items() if counts[what]]


def _carried(found: LabelledRecording, kind: str) -> Iterator[str]:
    """The kinds of information in a recording, in the terms of `Format.keeps`; and whether its duration is missing."""
    if any(has_score(segment) for segment in found.segments):
        yield "score"
    if any(channel and track for channel, track in found.tracks.items()):
        yield "channel"
    if any(segment.label != DEFAULT_LABEL for segment in found.segments):
        yield "label"
    if not found.segments:
        yield "empty"
    if FORMATS[kind].many and base_name(found.file) != found.file:
        yield "file"
    if found.duration_seconds is None and kind in _NEED_DURATION:
        yield "duration"
