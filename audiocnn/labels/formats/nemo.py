"""NeMo manifests: one JSON object a line, `audio_filepath`, `offset`, `duration` and `label`; times in seconds.

The format is that of NVIDIA's NeMo for speech classification and voice activity (`ASRSpeechLabel` in
nemo/collections/common/parts/preprocessing/collections.py): relative paths count from the manifest, and unknown fields
are ignored. We add such fields only where needed: `score`, `channel` (from 0; by default 0), and
`audio_filepath_base64` with the bytes of a name that is not UTF-8. A recording without segments has no line.
"""

from __future__ import annotations

from pathlib import Path

from audiocnn.labels.formats.base import (
    DEFAULT_LABEL,
    NO_SCORE,
    LabelCollector,
    LabelFormat,
    LabelledRecording,
    file_fields,
    has_score,
    round_score,
)
from audiocnn.labels.formats.jsonl import dumps
from audiocnn.labels.formats.manifest import END_DIGITS, ManifestRecord, read_manifest
from audiocnn.segments.segment import Segment
from audiocnn.units import round_seconds

_FILE_KEYS = ("audio_filepath", "audio_filename")  # NeMo accepts both
_LABEL_KEYS = ("label", "command")


class Nemo(LabelFormat):
    def recording(self, recording: LabelledRecording) -> str:
        name = file_fields("audio_filepath", recording.file)
        tracks = recording.tracks.items()
        return "".join(_line(name, channel, segment) for channel, track in tracks for segment in track)

    @staticmethod
    def read(path: Path) -> list[LabelledRecording]:
        """The recordings of a manifest; a segment without `label`, as in manifests of transcripts, is "speech"."""
        collector = LabelCollector()
        for record in read_manifest(path):
            key = next((key for key in _FILE_KEYS if key in record.fields), _FILE_KEYS[0])
            start = record.number("offset", 0.0)
            end = round(start + record.number("duration"), END_DIGITS)
            segment = Segment(start, end, _label(record), record.number("score", NO_SCORE))
            collector.add(record.file(key), record.channels()[0], segment)
        return collector.recordings()


def _line(name: dict[str, str], channel: int, segment: Segment) -> str:
    start, end = round_seconds(segment.start), round_seconds(segment.end)
    fields = {**name, "offset": start, "duration": round_seconds(end - start), "label": segment.label}
    if has_score(segment):
        fields["score"] = round_score(segment.score)
    if channel:
        fields["channel"] = channel
    return dumps(fields) + "\n"


def _label(record: ManifestRecord) -> str:
    """The label: a string, or a number if classes are numbers."""
    key = next((key for key in _LABEL_KEYS if record.fields.get(key) not in (None, "")), None)
    if key is None:
        return DEFAULT_LABEL
    value = record.fields[key]
    return str(value) if type(value) is int else record.text(key)
