"""RTTM of NIST (Rich Transcription 2009 evaluation plan, appendix A), times in seconds, channels from 1:

    SPEAKER file channel onset duration <NA> <NA> name confidence <NA>

`file` is the base name of the recording, without folder and suffix, as that plan and the toolkits have it; a second
recording of the same base name stands with its whole name. Words may hold no blanks: see `escapes.py`. A quote, which
readers of tables take for the beginning of a text, is escaped too. The score is the confidence.
"""

from __future__ import annotations

from pathlib import Path

from audiocnn.formats.escapes import escape_word, unescape
from audiocnn.formats.found import NO_LABEL, NO_SCORE, Found, has_score
from audiocnn.formats.gathering import Gathered
from audiocnn.formats.naming import ShortNames
from audiocnn.formats.text import read_lines, read_seconds, wrong_line
from audiocnn.labels import Annotation
from audiocnn.segments import Segment
from audiocnn.units import round_seconds

_EXPECTED = "SPEAKER file channel onset duration <NA> <NA> name"
_NONE = "<NA>"
MOST_CHANNEL = 1 << 16  # more than any recording has


class Writer:
    """One line a segment; a recording without one leaves no trace."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.names = ShortNames(self.notes)

    def begin(self) -> str:
        """Nothing."""
        return ""

    def recording(self, found: Found) -> str:
        """Its segments, channel by channel."""
        file = _word(self.names.of(found.file))
        lines = []
        for channel, track in found.tracks.items():
            for segment in track:
                start, end = round_seconds(segment.start), round_seconds(segment.end)
                score = f"{segment.score:.4f}" if has_score(segment) else _NONE
                place = f"{file} {channel + 1} {start:.4f} {end - start:.4f}"
                lines.append(f"SPEAKER {place} {_NONE} {_NONE} {_word(segment.label)} {score} {_NONE}\n")
        return "".join(lines)

    def end(self) -> str:
        """Nothing."""
        return ""


def read_found(path: Path) -> list[Found]:
    """Every SPEAKER line; lines of other types and comments (`;;`) are left out, overlapping turns stay as they are."""
    gathered = Gathered()
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
        label = NO_LABEL if words[7] == _NONE else unescape(words[7])
        segment = Segment(onset, onset + duration, label, _score(words))
        gathered.add(unescape(words[1]), _channel(words[2]), segment)
    return gathered.found()


def read(path: Path, speakers: bool = False) -> dict[str, list[Annotation]]:
    """Base name of a recording -> its annotations, labelled "speech" or, with `speakers`, by who speaks."""
    return {
        one.file: [Annotation(s.start, s.end, s.label if speakers else NO_LABEL) for s in one.segments]
        for one in read_found(path)
    }


def _word(text: str) -> str:
    """A word that is not empty, and is none of those that mean nothing."""
    return escape_word(text).replace('"', "%22") if text != _NONE else text.replace("<", "%3C")


def _channel(word: str) -> int:
    """From 0; many leave the field out or give it a name of their own."""
    number = int(word) if word.isascii() and word.isdecimal() and len(word) < 6 else 1
    return min(max(number, 1), MOST_CHANNEL) - 1


def _score(words: list[str]) -> float:
    try:
        return float(words[8]) if len(words) > 8 else NO_SCORE
    except ValueError:
        return NO_SCORE
