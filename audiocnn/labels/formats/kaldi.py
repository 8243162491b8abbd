"""Kaldi segments: `utterance-id recording-id start end [channel]`, times in seconds, sorted by utterance-id.

The format follows Kaldi's extract-segments.cc and utils/validate_data_dir.sh: ids contain no spaces, are unique and
sorted by bytes (`LC_ALL=C sort`), and every segment has a length. Recordings keep the order of the caller; a note
reports if this is not the order of their ids. The recording-id is the stem of the file. The utterance-id is
`RECORDING-START-END-LABEL` with times in milliseconds, and with `.2` after the times of a second segment with the same
times. The channel, from 0, is written unless it is the first or only one, because tools that expect four columns take a
mono recording. Characters that an id cannot contain are escaped (see `text.py`). Scores are not stored.

For other ids, the labels are in `utt2label` beside the file (`utterance-id label`); without it, segments are "speech".
If `wav.scp` is beside the file, recordings get their file names from there.
"""

from __future__ import annotations

import re
from pathlib import Path

from audiocnn.errors import LabelError, show_name
from audiocnn.labels.formats.base import (
    DEFAULT_LABEL,
    MOST_CHANNEL,
    NO_SCORE,
    LabelCollector,
    LabelFormat,
    LabelledRecording,
    ShortNames,
)
from audiocnn.labels.formats.text import escape_word, read_lines, read_seconds, unescape, wrong_line
from audiocnn.segments.segment import Segment
from audiocnn.units import round_seconds

SEGMENT_TABLE, FILE_TABLE, LABEL_TABLE = "segments", "wav.scp", "utt2label"
_TO_THE_END = -1.0  # stands for the end of the recording
_EXPECTED = "utterance-id recording-id start end"
_OWN_ID = re.compile(r"-\d{8,}-\d{8,}(?:\.\d+)?-(.+)")


class Kaldi(LabelFormat):
    """A line for each segment, sorted within each recording."""

    def __init__(self) -> None:
        super().__init__()
        self.names = ShortNames(self)
        self.used: dict[str, int] = {}  # recording-id -> the highest number used in its utterance-ids
        self.last = b""  # the last utterance-id written

    def recording(self, recording: LabelledRecording) -> str:
        name = escape_word(self.names.of(recording.file))
        first = self.used.get(name, 0) + 1
        alone = set(recording.tracks) <= {0}
        lines: dict[bytes, str] = {}  # by utterance-id
        numbers: dict[str, int] = {}  # utterance-id without a number -> the last number given to it
        for channel, track in recording.tracks.items():
            for segment in track:
                start, end = round_seconds(segment.start), round_seconds(segment.end)
                if end <= start:
                    self.note("segments without length are omitted, because Kaldi does not support them")
                    continue
                plain = _own_id(name, segment, 1)
                number = numbers[plain] = numbers.get(plain, first - 1) + 1
                own = _own_id(name, segment, number)
                self.used[name] = max(number, self.used.get(name, 0))
                place = f"{name} {start:.4f} {end:.4f}" + ("" if alone else f" {channel}")
                lines[own.encode()] = f"{own} {place}\n"
        return self._in_order(lines)

    def _in_order(self, lines: dict[bytes, str]) -> str:
        order = sorted(lines)
        if order and order[0] < self.last:
            self.note("recordings are not in the order of their ids; sort the file with `LC_ALL=C sort`")
        self.last = order[-1] if order else self.last
        return "".join(lines[own] for own in order)

    @staticmethod
    def read(path: Path) -> list[LabelledRecording]:
        """The recordings, by id or by their name in `wav.scp`. Raises LabelError for a line in another format."""
        files, labels = _files_beside(path), read_pairs(path.with_name(LABEL_TABLE), "utterance-id", "label")
        collector = LabelCollector()
        for number, line in read_lines(path):
            words = line.split()
            if len(words) not in (4, 5) or (len(words) == 5 and not _is_channel(words[4])):
                raise wrong_line(
                    path, number, line, f"{_EXPECTED} separated by spaces, and optionally a channel from 0"
                )
            start = read_seconds(words[2], path, number, "start")
            end = read_seconds(words[3], path, number, "end")
            if end == _TO_THE_END:
                raise wrong_line(path, number, words[3], "the end in seconds; write the length of the recording there")
            segment = Segment(start, end, labels.get(words[0]) or _label(words[0], words[1]), NO_SCORE)
            file = files.get(words[1]) or _name(unescape(words[1]), path, number)
            collector.add(file, int(words[4]) if len(words) == 5 else 0, segment)
        return collector.recordings()


def _own_id(recording: str, segment: Segment, number: int) -> str:
    times = f"{round(1000 * segment.start):08d}-{round(1000 * segment.end):08d}"
    return f"{recording}-{times}{f'.{number}' if number > 1 else ''}-{escape_word(segment.label)}"


def _label(utterance: str, recording: str) -> str:
    """The label in an id that this program wrote."""
    own = _OWN_ID.fullmatch(utterance, len(recording)) if utterance.startswith(recording) else None
    return unescape(own[1]) if own else DEFAULT_LABEL


def _is_channel(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) < 6 and int(word) < MOST_CHANNEL


def _name(name: str, path: Path, number: int) -> str:
    if "\0" in name:
        raise wrong_line(path, number, name, "the id of a recording, without a zero byte")
    return name


def _files_beside(path: Path) -> dict[str, str]:
    """recording-id -> file, from `wav.scp` in the same folder; a command in it (`... |`) is not a file."""
    files = read_pairs(path.with_name(FILE_TABLE), "recording-id", "file")
    return {own: file for own, file in files.items() if not file.endswith("|")}


def read_pairs(table: Path, key: str, what: str) -> dict[str, str]:
    """id -> the rest of the line; empty without such a table. key, what: names of both for messages. Raises LabelError
    for an id without a value."""
    if not table.is_file():
        return {}
    found: dict[str, str] = {}
    for number, line in read_lines(table):
        words = line.split(maxsplit=1)
        if len(words) != 2:
            raise LabelError(f"{show_name(table)}:{number}: no {what} after the {key}; correct the line")
        found[words[0]] = words[1].rstrip()
    return found
