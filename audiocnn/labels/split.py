"""Splitting of recordings at segments: which samples go into which file, and the single pass that writes all files.

A segment becomes the samples [start x rate, end x rate), both rounded to the nearest; a segment that reaches the end of
the recording gets all remaining samples. Samples outside all segments are the rest, cut at the same positions. The
segments and the rest of one recording, joined in order of time, give the recording.
"""

from __future__ import annotations

import heapq
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from audiocnn.audio.bit_depth import AnySamples, OwnSamples
from audiocnn.audio.recording import Selection
from audiocnn.audio.writer import FILE_KINDS, SoundWriter, check_kind, name_taken_error
from audiocnn.errors import LabelError, show_name
from audiocnn.files import fit_name
from audiocnn.segments.segment import END_TOLERANCE_SECONDS, Segment
from audiocnn.units import round_seconds, to_samples

REST = "rest"  # the label of samples outside all segments
ALL_CHANNELS: None = None  # in place of a channel number: all channels
MOST_OPEN = 100  # files that are open at the same time
_LEAST_DIGITS = 4
_MOST_LABEL_LETTERS = 60


@dataclass(frozen=True)
class SplitSettings:
    """How to split a recording. kind: one of `FILE_KINDS` in `audio/writer.py`. join: one file for all segments of a
    label, instead of a file for each. invert: use the samples outside all segments. only: the labels to use; all if
    empty."""

    kind: str = "wav"
    join: bool = False
    invert: bool = False
    only: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Span:
    """The samples [first, end) of a recording; end None: to its end. score: NaN if there is none."""

    first: int
    end: int | None
    label: str
    score: float = math.nan


@dataclass(frozen=True, slots=True)
class PieceFile:
    """A file to write: spans in order of time without overlap, of one channel or of all."""

    path: Path
    channel: int | None
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Cut:
    """A span that was written: `samples` samples from `first` on, stored from `place` on in the file. All are counted
    at the recording's own rate, per channel."""

    path: Path
    channel: int | None
    channels: int
    sample_rate: int
    label: str
    score: float
    first: int
    samples: int
    place: int = 0

    @property
    def start_seconds(self) -> float:
        return self.first / self.sample_rate

    @property
    def end_seconds(self) -> float:
        return (self.first + self.samples) / self.sample_rate


def make_spans(segments: Iterable[Segment], sample_rate: int, duration_seconds: float | None) -> list[Span]:
    """Segments in samples, in order of time; those shorter than a sample are dropped. Raises LabelError for an invalid
    segment.

    duration_seconds: the end of the recording, if known; a segment that reaches it extends to the last sample.
    """
    spans = []
    # Times of segments are rounded, so they may lie slightly before the end that they reach.
    known_end = math.inf if duration_seconds is None else round_seconds(duration_seconds)
    for one in segments:
        if not (math.isfinite(one.start) and one.start <= one.end):
            raise LabelError(f'"{one.label}" from {one.start:g} to {one.end:g} s is not a valid segment; correct it')
        last = one.end >= known_end
        first = max(0, to_samples(one.start, sample_rate))
        end = None if last else to_samples(one.end, sample_rate)
        if end is None or end > first:
            spans.append(Span(first, end, one.label, one.score))
    return sorted(spans, key=lambda span: (span.first, span.label))


def find_outside(segments: Iterable[Segment], sample_rate: int, duration_seconds: float) -> tuple[list[str], list[str]]:
    """Notes on segments outside the recording: those without any sample, and those that are cut off."""
    lost, cut = [], []
    for one in segments:
        what = f'"{show_name(one.label)}" {one.start:g} to {one.end:g} s'
        if to_samples(one.start, sample_rate) >= to_samples(duration_seconds, sample_rate):
            where = f"the end of the recording at {duration_seconds:.3f} s"
            lost.append(f"{what}: after {where}; check that the times are in seconds")
        elif math.isfinite(one.end) and to_samples(one.end, sample_rate) <= to_samples(one.start, sample_rate):
            lost.append(f"{what}: has no length, so nothing can be cut out; give it an end")
        elif math.isfinite(one.end) and one.end > duration_seconds + END_TOLERANCE_SECONDS:
            cut.append(f"{what}: cut off at {duration_seconds:.3f} s, the end of the recording")
    return lost, cut


def drop_overlaps(spans: Iterable[Span]) -> list[Span]:
    """The same samples, each once: if consecutive spans overlap, the later one begins where the earlier one ends."""
    found: list[Span] = []
    for span in spans:
        if found:
            reached = found[-1].end
            if reached is None:
                break
            span = replace(span, first=max(span.first, reached))
        if span.end is None or span.end > span.first:
            found.append(span)
    return found


def find_rests(spans: Sequence[Span]) -> list[Span]:
    """The samples outside all of the spans, which are sorted by time."""
    rests, reached = [], 0
    for span in drop_overlaps(spans):
        if span.first > reached:
            rests.append(Span(reached, span.first, REST))
        if span.end is None:
            return rests
        reached = span.end
    return [*rests, Span(reached, None, REST)]


def cut_spans(spans: Sequence[Span], first: int, stop: int | None) -> list[Span]:
    """The part of the spans in the samples [first, stop); stop None: to the end of the recording."""
    ends = [span.end if stop is None else stop if span.end is None else min(span.end, stop) for span in spans]
    cut = [replace(span, first=max(span.first, first), end=end) for span, end in zip(spans, ends, strict=True)]
    return [span for span in cut if span.end is None or span.end > span.first]


def plan_pieces(
    tracks: Mapping[int | None, Sequence[Segment]],
    sample_rate: int,
    duration_seconds: float | None,
    base: Path,
    settings: SplitSettings,
    excerpt: Selection | None = None,
) -> list[PieceFile]:
    """The files to write for one recording. `base` is their common path, to which a number and the label are appended.

    tracks: the segments of each channel to cut; those of the channel `ALL_CHANNELS` apply to all channels together.
    excerpt: limits what is cut.
    """
    pieces: list[PieceFile] = []
    first, stop = (excerpt or Selection()).frames(sample_rate)
    for channel, segments in tracks.items():
        meant = [one for one in segments if not settings.only or one.label in settings.only]
        spans = make_spans(meant, sample_rate, duration_seconds)
        if settings.invert:
            spans = find_rests(spans)
        spans = cut_spans(spans, first, stop)
        head = "" if channel is None else f"-channel{channel}"
        if settings.join:
            labels = dict.fromkeys(span.label for span in spans)
            groups = [tuple(drop_overlaps(span for span in spans if span.label == label)) for label in labels]
        else:
            groups = [(span,) for span in spans]
        names = name_pieces(groups, settings.join)
        suffix = FILE_KINDS[settings.kind].suffix
        for name, group in zip(names, groups, strict=True):
            pieces.append(PieceFile(base.with_name(fit_name(base.name, f"{head}-{name}{suffix}")), channel, group))
    return pieces


def name_pieces(groups: Sequence[tuple[Span, ...]], join: bool) -> list[str]:
    """The distinguishing part of the names of one channel's files: number and label, or only the label if there is one
    file for each label."""
    labels = [safe_name(group[0].label) for group in groups]
    if join and len(set(labels)) == len(labels):
        return labels
    digits = max(_LEAST_DIGITS, len(str(len(groups))))
    return [f"{number:0{digits}}-{label}" for number, label in enumerate(labels, 1)]


def safe_name(label: str) -> str:
    """A label as part of a file name: letters, digits and -_. are kept, and other characters become _."""
    kept = "".join(c if c.isalnum() or c in "-_." else "_" for c in label[:_MOST_LABEL_LETTERS])
    while len(kept.encode("utf-8", "replace")) > 2 * _MOST_LABEL_LETTERS:
        kept = kept[:-1]
    return kept.strip(".") or "_"


def check_free(pieces: Iterable[PieceFile], source: Path, force: bool) -> None:
    """Raises UsageError, before anything is written, if a file exists. The recording itself is never overwritten."""
    for piece in pieces:
        there = os.path.lexists(piece.path)
        if there and not (force and piece.path.is_file() and not piece.path.samefile(source)):
            raise name_taken_error(piece.path)


def cut_pieces(source: OwnSamples, pieces: Sequence[PieceFile], kind: str, force: bool = False) -> Iterator[Cut]:
    """Write the files, in one pass over the recording, and report each one when it is complete.

    A file without any sample of the recording is not created. After RecordingError or UsageError, complete files
    remain.
    """
    check_kind(
        kind, source.sample_rate, max((count_channels(piece, source) for piece in pieces), default=1), source.name
    )
    for some in divide_into_passes(pieces):
        yield from cut_in_one_pass(source, some, kind, force)


def count_channels(piece: PieceFile, source: OwnSamples) -> int:
    return source.channels if piece.channel is None else 1


def divide_into_passes(pieces: Sequence[PieceFile]) -> list[list[PieceFile]]:
    """Pieces in order of time, divided into as many lists as needed so that at most `MOST_OPEN` files of a list are
    open at once. Without overlapping segments, one list is enough."""
    turns: list[list[PieceFile]] = []
    open_ends: list[list[float]] = []  # for each list, a heap of the ends of its open files
    for piece in sorted(pieces, key=lambda piece: piece.spans[0].first):
        first, last = piece.spans[0].first, piece.spans[-1].end
        for ends in open_ends:
            while ends and ends[0] <= first:
                heapq.heappop(ends)
        turn = next((number for number, ends in enumerate(open_ends) if len(ends) < MOST_OPEN), len(turns))
        if turn == len(turns):
            turns.append([])
            open_ends.append([])
        turns[turn].append(piece)
        heapq.heappush(open_ends[turn], math.inf if last is None else last)
    return turns


def cut_in_one_pass(source: OwnSamples, pieces: Sequence[PieceFile], kind: str, force: bool) -> Iterator[Cut]:
    """Write pieces, which are ordered by their starts, in one pass."""
    waiting, at = list(reversed(pieces)), 0
    writing: list[_Writing] = []
    try:
        with closing(source.blocks()) as blocks:
            for block in blocks:
                while waiting and waiting[-1].spans[0].first < at + len(block):
                    writing.append(_Writing(waiting.pop(), source, kind))
                for one in list(writing):
                    if one.take(block, at):
                        yield from one.finish(force)
                        writing.remove(one)
                at += len(block)
                if not (writing or waiting):
                    return
        for one in list(writing):
            yield from one.finish(force)
            writing.remove(one)
    finally:
        for one in writing:
            one.writer.discard()


class _Writing:
    def __init__(self, piece: PieceFile, source: OwnSamples, kind: str) -> None:
        self.piece, self.source = piece, source
        end = piece.spans[-1].end
        most = source.most_frames if end is None else end
        self.channels = count_channels(piece, source)
        self.writer = SoundWriter(
            piece.path, kind, source.depth, source.sample_rate, self.channels, max(0, most - piece.spans[0].first)
        )
        self.taken = [0] * len(piece.spans)
        self.span = 0  # the span in progress

    def take(self, block: AnySamples, at: int) -> bool:
        """The samples of a block (frames, channels) beginning at `at` that belong to the piece; and whether it is
        complete."""
        channel = self.piece.channel
        while self.span < len(self.piece.spans):
            span = self.piece.spans[self.span]
            part = block[max(0, span.first - at) : None if span.end is None else max(0, span.end - at)]
            self.writer.write(part if channel is None else part[:, channel : channel + 1])
            self.taken[self.span] += len(part)
            if span.end is None or span.end > at + len(block):
                return False
            self.span += 1
        return True

    def finish(self, force: bool) -> Iterator[Cut]:
        self.writer.publish(force)
        place = 0
        for span, samples in zip(self.piece.spans, self.taken, strict=True):
            if samples:
                facts = (self.channels, self.source.sample_rate, span.label, span.score, span.first, samples)
                yield Cut(self.piece.path, self.piece.channel, *facts, place)
                place += samples
