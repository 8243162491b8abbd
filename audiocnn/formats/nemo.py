"""NeMo manifests: one JSON object a line, `audio_filepath`, `offset`, `duration` and `label`; times in seconds.

As NVIDIA's NeMo reads them for speech classification and voice activity (`ASRSpeechLabel` in
nemo/collections/common/parts/preprocessing/collections.py): a relative path is looked for beside the manifest, fields
that it does not know are left alone. Such are ours, each only where there is something to say: `score`, `channel`
(from 0; without it 0), and `audio_filepath_base64` with the bytes of a name that is not UTF-8. A recording without a
segment has no line.
"""

from __future__ import annotations

from pathlib import Path

from audiocnn.formats.found import NO_LABEL, NO_SCORE, Found, has_score
from audiocnn.formats.gathering import Gathered
from audiocnn.formats.jsonl import SEGMENT_SCORE_DIGITS, dumps
from audiocnn.formats.manifests import END_DIGITS, ManifestRecord, file_fields, read_manifest
from audiocnn.segments import Segment
from audiocnn.units import round_seconds

FILE_KEYS = ("audio_filepath", "audio_filename")  # NeMo takes both
LABEL_KEYS = ("label", "command")


class Writer:
    """A line for each segment."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def begin(self) -> str:
        """Nothing."""
        return ""

    def recording(self, found: Found) -> str:
        """Its segments, channel by channel."""
        name = file_fields("audio_filepath", found.file)
        return "".join(_line(name, channel, segment) for channel, track in found.tracks.items() for segment in track)

    def end(self) -> str:
        """Nothing."""
        return ""


def _line(name: dict[str, str], channel: int, segment: Segment) -> str:
    start, end = round_seconds(segment.start), round_seconds(segment.end)
    fields = {**name, "offset": start, "duration": round_seconds(end - start), "label": segment.label}
    if has_score(segment):
        fields["score"] = round(float(segment.score), SEGMENT_SCORE_DIGITS)
    if channel:
        fields["channel"] = channel
    return dumps(fields) + "\n"


def read_found(path: Path) -> list[Found]:
    """The recordings of a manifest; a segment without `label` is "speech", as in a manifest of transcripts."""
    found = Gathered()
    for record in read_manifest(path):
        key = next((key for key in FILE_KEYS if key in record.fields), FILE_KEYS[0])
        start = record.number("offset", 0.0)
        end = round(start + record.number("duration"), END_DIGITS)
        segment = Segment(start, end, _label(record), record.number("score", NO_SCORE))
        found.add(record.file(key), record.channels()[0], segment)
    return found.found()


def _label(record: ManifestRecord) -> str:
    """The label: a text, or a number where classes are numbers."""
    key = next((key for key in LABEL_KEYS if record.fields.get(key) not in (None, "")), None)
    if key is None:
        return NO_LABEL
    value = record.fields[key]
    return str(value) if type(value) is int else record.text(key)
