"""Labels from one format to another: read with all that is known, completed from the recordings, checked, written."""

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

# What a format says of a whole recording beside its segments.
_FACTS = {
    "jsonl": ("duration_seconds", "sample_rate", "channels"),
    "textgrid": ("duration_seconds",),
    "raven": ("duration_seconds", "sample_rate"),
}
_MOST_SECONDS = 1e9  # thirty years
_NEED_DURATION = ("textgrid", "raven")  # where the end of the last segment stands in for it
_KALDI_TABLE = "segments"


def find_label_files(path: Path, kind: str | None = None) -> Iterator[Path | EntryError]:
    """A file as it is named; of a folder those inside whose names end as files of labels do, and what cannot be read.
    LabelError: none."""
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
        raise LabelError(f"{show_name(path)}: no labels in this folder; looked for names that end in {known}")


def read_checked(path: Path, kind: str | None = None, label_column: str | None = None) -> list[LabelledRecording]:
    """The recordings in a file of labels. LabelError: it cannot be read, or has times that cannot be."""
    found = read_labelled_recordings(path, kind or label_format(path), label_column)
    for one in found:
        for segment in one.segments:
            why = segment_problem(segment)
            if why:
                times = f"{segment.start:g} to {segment.end:g} s"
                raise LabelError(f"{show_name(path)}: {show_name(one.file)}: {times}: {why}; correct it")
    return found


def segment_problem(segment: Segment) -> str:
    """Why a segment cannot be right; empty for one that can."""
    if not (math.isfinite(segment.start) and math.isfinite(segment.end)):
        return "no times"
    if segment.start < 0:
        return "begins before the recording"
    if segment.end < segment.start:
        return "ends before it begins"
    if segment.end > _MOST_SECONDS:
        return "later than any recording lasts"
    return "a score that is no number" if math.isinf(segment.score) else ""


def complete_recording(found: LabelledRecording, labels: Path, kind: str, recordings: Recordings) -> LabelledRecording:
    """With the name of its recording where the labels have less, and what the format to be written says of it."""
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
    """Each recording once, in the order in which they come; what is known of it first counts."""
    named: dict[str, LabelledRecording] = {}
    for one in found:
        before = named.get(one.file)
        named[one.file] = one if before is None else _both(before, one)
    return list(named.values())


def _both(first: LabelledRecording, second: LabelledRecording) -> LabelledRecording:
    tracks = {channel: tuple(track) for channel, track in first.tracks.items()}
    for channel, track in second.tracks.items():
        tracks[channel] = (*tracks.get(channel, ()), *track)
    facts = ("duration_seconds", "sample_rate", "channels", "model", "note")
    changes = {name: getattr(first, name) or getattr(second, name) for name in facts}
    return replace(first, tracks=tracks, thresholds={**second.thresholds, **first.thresholds}, **changes)


def find_losses(found: Iterable[LabelledRecording], kind: str) -> list[str]:
    """A line for each kind of thing that the format cannot hold of these recordings."""
    counts = Counter(what for one in found for what in _carried(one, kind) if what not in FORMATS[kind].keeps)
    lines = {
        "score": f"{kind} has no place for scores; they are left out",
        "channel": f"{kind} has no place for channels; the segments of all of them stand together",
        "label": f"{kind} has no place for labels; they are left out",
        "empty": f"{kind} has no place for a recording without a segment; left out: {counts['empty']}",
        "file": f"{kind} has base names of recordings; folders and suffixes are left out",
        "duration": f"the duration is not known; taken for it is the end of the last segment: {counts['duration']}",
    }
    return [line for what, line in lines.items() if counts[what]]


def _carried(found: LabelledRecording, kind: str) -> Iterator[str]:
    """What there is to keep of a recording, in the words of `Format.keeps`; and whether its duration is missing."""
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
