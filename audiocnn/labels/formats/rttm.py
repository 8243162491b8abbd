"""RTTM of NIST (Rich Transcription 2009 evaluation plan, appendix A), times in seconds, channels from 1:

    SPEAKER file channel onset duration <NA> <NA> name confidence <NA>

`file` is the base name of the recording, without folder and suffix, as in the plan and in toolkits; a second recording
with the same base name has its whole name. Words may not contain spaces: see `text.py`. A quote, which readers of
tables take for the start of a quoted text, is escaped too. The score is the confidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from audiocnn.errors import LabelError, show_name
from audiocnn.labels.formats.base import (
    DEFAULT_LABEL,
    MOST_CHANNEL,
    NO_SCORE,
    ColumnFormat,
    LabelCollector,
    LabelledRecording,
    Labels,
    ShortNames,
    annotations_of,
    has_score,
)
from audiocnn.labels.formats.columns import LabelColumn
from audiocnn.labels.formats.text import escape_word, read_lines, read_seconds, unescape, wrong_line
from audiocnn.segments.segment import Segment
from audiocnn.units import round_seconds

_EXPECTED = "SPEAKER file channel onset duration <NA> <NA> name"
_NONE = "<NA>"
_NAME = "name"  # the speaker field in the plan


class Rttm(ColumnFormat):
    def __init__(self) -> None:
        super().__init__()
        self.names = ShortNames(self)

    def recording(self, recording: LabelledRecording) -> str:
        file = _word(self.names.of(recording.file))
        lines = []
        for channel, track in recording.tracks.items():
            for segment in track:
                start, end = round_seconds(segment.start), round_seconds(segment.end)
                score = f"{segment.score:.4f}" if has_score(segment) else _NONE
                place = f"{file} {channel + 1} {start:.4f} {end - start:.4f}"
                lines.append(f"SPEAKER {place} {_NONE} {_NONE} {_word(segment.label)} {score} {_NONE}\n")
        return "".join(lines)

    @staticmethod
    def read(path: Path, label_column: str | None = None) -> list[LabelledRecording]:
        """Every SPEAKER line. Other types and comments (`;;`) are ignored, and overlapping turns are kept."""
        collector = LabelCollector()
        for number, line in read_lines(path):
            words = line.split()
            if words[0].startswith(";;"):
                continue
            if not words[0].replace("-", "").isupper() or (words[0] == "SPEAKER" and len(words) < 8):
                raise wrong_line(path, number, line, _EXPECTED)
            if words[0] != "SPEAKER":
                continue
            onset = read_seconds(words[3], path, number, "onset")
            duration = read_seconds(words[4], path, number, "duration")
            label = DEFAULT_LABEL if words[7] == _NONE else unescape(words[7])
            segment = Segment(onset, onset + duration, label, _score(words))
            collector.add(unescape(words[1]), _channel(words[2]), segment)
        return collector.recordings()

    @classmethod
    def read_annotations(cls, path: Path, label_column: str | None = None) -> Labels:
        """Names become labels if `label_column` names their column; otherwise everything is "speech", because the
        identity of speakers is not learned."""
        found = cls.read(path)
        labels = annotations_of(found)
        if _names_labels(path, found, label_column):
            return labels
        return {file: [replace(one, label=DEFAULT_LABEL) for one in known] for file, known in labels.items()}

    @staticmethod
    def label_column(path: Path, label_column: str | None = None) -> LabelColumn | None:
        found = Rttm.read(path)
        speakers = {segment.label for one in found for segment in one.segments} - {DEFAULT_LABEL}
        return (
            None
            if _names_labels(path, found, label_column) or not speakers
            else LabelColumn(_NAME, told=True, speech=True)
        )


def _names_labels(path: Path, found: Sequence[LabelledRecording], wanted: str | None) -> bool:
    """Whether names are labels: they are in the output of a detector, which has scores. In other files they are
    speakers, unless they are `wanted`."""
    if wanted is not None and wanted.casefold() != _NAME:
        raise LabelError(f'{show_name(path)}: no column "{show_name(wanted)}" in RTTM; labels can only be in "{_NAME}"')
    scored = any(has_score(segment) for one in found for segment in one.segments)
    return wanted is not None or scored


def _word(text: str) -> str:
    """A word that is not empty and differs from the placeholders."""
    return escape_word(text).replace('"', "%22") if text != _NONE else text.replace("<", "%3C")


def _channel(word: str) -> int:
    """The channel, from 0. Many programs omit the field or write another value."""
    number = int(word) if word.isascii() and word.isdecimal() and len(word) < 6 else 1
    return min(max(number, 1), MOST_CHANNEL) - 1


def _score(words: list[str]) -> float:
    try:
        return float(words[8]) if len(words) > 8 else NO_SCORE
    except ValueError:
        return NO_SCORE
