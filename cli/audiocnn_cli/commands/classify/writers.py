"""Output formats of `classify`: JSON Lines, CSV, TSV, or bars on a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from typing import TYPE_CHECKING

from audiocnn.errors import as_argument, format_command, printable
from audiocnn.inference.classify import Classification, Clip, LabelScore
from audiocnn.labels.formats.base import Writer, round_score
from audiocnn.labels.formats.jsonl import SCORE_DIGITS, JsonLinesWriter, Record, last_record, record_head, start_field
from audiocnn.labels.formats.table import CELL_SEPARATORS, SEGMENT_COLUMNS, Cells, TableWriter
from audiocnn.segments.segment import NONE_OF_THESE
from audiocnn.units import round_seconds
from audiocnn_cli.app.draw import draw_bar, format_moment, pad_label, pad_name, print_headline
from audiocnn_cli.app.terminal import Terminal, spell
from audiocnn_cli.io.inputs import STDIN

if TYPE_CHECKING:
    from rich.text import Text

    from audiocnn_cli.io.output import Output

_WIDE, _NARROW = 60, 40  # columns
_NO_ANSWER = "-"
_UNSURE = 0.1  # the answer is marked unsure if another label scores less than this below it
_LONG_CLIPS = 4  # a recording as long as this many clips may contain several sounds
_LEAST_LONG_SECONDS = 10.0
_WORTH_NAMING = 0.005  # lower scores would be shown as 0.00


@dataclass(frozen=True)
class StreamEnd:
    """The end of a stream on standard input: the number of clips written, and the metadata of the stream."""

    stream: Classification
    clips: int


ClassifyResult = Classification | Clip | StreamEnd  # a recording; for a stream, each clip and the end


@dataclass(frozen=True)
class AnswerLayout:
    """What is written for each clip: the `top` labels of the model; and whether a recording may have several clips.
    settings: the digest for the last record of a recording. background: the model also scores "none of the labels".
    clip_seconds: length of the clips that the model was trained on. reference: the model as `--model` takes it."""

    labels: tuple[str, ...]
    several_labels: bool
    top: int
    several_clips: bool
    model: str
    settings: str
    background: bool = False
    clip_seconds: float = math.inf
    reference: str = ""

    def records(self, result: ClassifyResult) -> Iterator[Record]:
        """One `clip` record per clip, followed by a `file` record if a recording may have several clips."""
        if isinstance(result, Clip):
            yield self._clip_record(STDIN, result)
        elif isinstance(result, StreamEnd):
            yield self._file_record(result.stream, result.clips)
        elif self.several_clips:
            yield from (self._clip_record(result.file, clip) for clip in result)
            yield self._file_record(result, len(result.clips))
        else:
            yield self._last(self._clip_record(result.file, result.clips[0]), result)

    def columns(self) -> list[str]:
        numbers = range(1, min(self.top, len(self.labels)) + 1)
        best = [name for number in numbers for name in (f"top_{number}", f"score_{number}")]
        several = ["labels"] if self.several_labels else []
        return [*SEGMENT_COLUMNS, *several, *best, *(["none_of_these"] if self.background else [])]

    def rows(self, result: ClassifyResult) -> Iterator[Cells]:
        """One row per clip. No label is an empty cell; several labels are joined by `;`, as in tables for training."""
        if isinstance(result, StreamEnd):
            return
        file, clips = (STDIN, (result,)) if isinstance(result, Clip) else (result.file, result.clips)
        for clip in clips:
            cells: list[object] = [file, clip.channel, round_seconds(clip.start), round_seconds(clip.end)]
            cells += ["" if clip.label is None else clip.label, round_score(clip.score)]
            cells += [";".join(label for label, _ in clip.labels)] if self.several_labels else []
            cells += [cell for label, score in clip.top(self.top) for cell in (label, round_score(score))]
            cells += [] if clip.none_score is None else [round_score(clip.none_score)]
            yield cells

    def _clip_record(self, file: str, clip: Clip) -> Record:
        record = record_head("clip", file) | {
            "channel": clip.channel,
            "start": round_seconds(clip.start),
            "end": round_seconds(clip.end),
            "label": clip.label,
            "score": round_score(clip.score),
        }
        if self.several_labels:
            thresholds = dict(zip(clip.rule.labels, clip.rule.thresholds, strict=True))
            record["labels"] = [
                {"label": label, "score": round_score(score), "threshold": round(thresholds[label], SCORE_DIGITS)}
                for label, score in clip.labels
            ]
        best = [{"label": label, "score": round_score(score)} for label, score in clip.top(self.top)]
        none = {} if clip.none_score is None else {"none_of_these": round_score(clip.none_score)}
        return record | {"top": best, **none, "model": self.model}

    def _file_record(self, found: Classification, clips: int) -> Record:
        record = record_head("file", found.file) | {
            "status": "ok",
            **start_field(found.start_seconds),
            "duration": round_seconds(found.duration_seconds),
            "sample_rate": found.sample_rate,
            "channels": found.channels,
            "clips": clips,
            "model": found.model,
        }
        return self._last(record, found)

    def _last(self, record: Record, found: Classification) -> Record:
        note = printable(found.note) if found.note else None
        return last_record(record, note, [printable(remark) for remark in found.remarks], self.settings)


def classify_writer(
    kind: str, layout: AnswerLayout, out: Output, terminal: Terminal, names: Sequence[str] | None
) -> Writer[ClassifyResult]:
    """The writer for a format. names: as for `ClipTables`."""
    if kind == "table":
        return ClipTables(terminal if out.path is None else replace(terminal, stdout=StringIO()), layout, names)
    if kind == "jsonl":
        return JsonLinesWriter(layout.records)
    return TableWriter(layout.columns(), layout.rows, CELL_SEPARATORS[kind])


class ClipTables(Writer[ClassifyResult]):
    """A single recording is shown with one bar per label, several recordings with one line each, and the clips of a
    recording with one line each below its name.

    names: of all recordings, if known, to align the columns.
    """

    drawn = True

    def __init__(self, terminal: Terminal, layout: AnswerLayout, names: Sequence[str] | None) -> None:
        super().__init__()
        self.terminal, self.console, self.unicode, self.layout = terminal, terminal.out, terminal.unicode, layout
        width = self.console.width
        most = width * 2 // 5
        self.alone = names is not None and len(names) == 1 and not layout.several_clips
        lengths = [len(spell(printable(name), terminal.stdout)) for name in names or ()]
        self.name_width = most if names is None else min(most, max(lengths, default=0))
        longest = max(len(printable(label)) for label in (*layout.labels, *([NONE_OF_THESE] * layout.background)))
        self.label_width = max(1, min(longest, width // 4 if width >= _NARROW else width // 3))
        self.cells = width // 8 if width >= _WIDE else 0
        self.first = True

    def recording(self, recording: ClassifyResult) -> str:
        assert isinstance(recording, Classification)
        with self.console.capture() as drawn:
            if self.alone:
                print_headline(recording, self.console)
                self.bars(recording.clips[0])
                self.hint(recording)
            elif self.layout.several_clips:
                if not self.first:
                    self.console.print()
                print_headline(recording, self.console)
                self.clips(recording)
            else:
                self.line(pad_name(recording.file, self.name_width, self.terminal), recording.clips[0])
        self.first = False
        return drawn.get()

    def bars(self, clip: Clip) -> None:
        """Print a bar for each of the best labels, coloured if the label reaches its threshold."""
        from rich.text import Text

        reached = {answer.label for answer in clip.labels}
        thresholds = dict(zip(clip.rule.labels, clip.rule.thresholds, strict=True))
        told = self.layout.several_labels or any(clip.rule.thresholds)
        room = 8 if told and self.console.width >= _NARROW else 0
        cells = max(1, self.console.width - self.label_width - 6 - room)
        if clip.none_score is not None and not reached:
            reached = {NONE_OF_THESE}
        for label, score in self.best(clip):
            style = "green" if label in reached else "dim"
            line = Text(f"{self.label_cell(label)} ", style="bold" if label in reached else "")
            line.append(draw_bar(score, cells, self.unicode).ljust(cells), style=style)
            line.append(f" {score:.2f}", style="not bold")
            if room and label in thresholds:
                sign = ">=" if label in reached else "< "
                line.append(f" {sign} {thresholds[label]:.2f}", style="not bold dim")
            self.console.print(line, no_wrap=True, overflow="crop")
        self.console.print(self.answer(clip))

    def answer(self, clip: Clip) -> Text:
        """The answer in words: `answer: door 0.82`."""
        from rich.text import Text

        if clip.labels:
            said = ", ".join(f"{printable(label)} {score:.2f}" for label, score in clip.labels)
            rival = self.rival(clip)
            unsure = f" (unsure: {printable(rival.label)} {rival.score:.2f})" if rival else ""
            return Text(f"answer: {said}{unsure}", style="bold" if rival is None else "yellow")
        if clip.none_score is not None and self.best(clip)[0].label == NONE_OF_THESE:
            return Text(f"answer: {NONE_OF_THESE} {clip.none_score:.2f}", style="yellow")
        return Text("no label reaches its threshold", style="yellow")

    def best(self, clip: Clip) -> list[LabelScore]:
        """The labels to show, including "none of these", the highest score first."""
        found = list(clip.top(self.layout.top))
        if clip.none_score is not None:
            found.append(LabelScore(NONE_OF_THESE, clip.none_score))
        return sorted(found, key=lambda one: -one.score)

    def rival(self, clip: Clip) -> LabelScore | None:
        """A label that scores nearly as high as the single answer; None if there is none, or if a clip can have several
        labels."""
        if self.layout.several_labels or not clip.labels:
            return None
        others = [LabelScore(NONE_OF_THESE, clip.none_score)] if clip.none_score is not None else []
        others += [one for one in clip.top(2) if one.label != clip.label]
        near = max(others, key=lambda one: one.score, default=None)
        return near if near is not None and clip.score - near.score < _UNSURE else None

    def hint(self, found: Classification) -> None:
        """Print a hint about several answers, if the recording is much longer than the clips in training."""
        from rich.text import Text

        if found.duration_seconds < max(_LEAST_LONG_SECONDS, _LONG_CLIPS * self.layout.clip_seconds):
            return
        detect = format_command(["audiocnn", "detect", "-m", self.layout.reference, as_argument(found.file)])
        more = f"for several sounds: --every 5 gives an answer for every 5 s; start and end of each: {detect}"
        self.console.print(Text(more, style="dim"))

    def clips(self, found: Classification) -> None:
        """Print a line for each clip: channel, start, end, and the answer."""
        several = len({clip.channel for clip in found}) > 1
        longest = found.duration_seconds
        width = len(format_moment(longest, longest))
        for clip in found:
            times = f"{format_moment(clip.start, longest):>{width}}  {format_moment(clip.end, longest):>{width}}"
            self.line(f"{clip.channel}  {times}" if several else times, clip)

    def line(self, place: str, clip: Clip) -> None:
        """Print a clip on one line: its name or time, label, score, a bar, and other labels."""
        from rich.text import Text

        best = self.best(clip)
        none = not clip.labels and best[0].label == NONE_OF_THESE
        first = clip.labels[0] if clip.labels else best[0] if none else LabelScore(_NO_ANSWER, 0.0)
        line = Text(f"{place}  ")
        line.append(self.label_cell(first.label), style="bold green" if clip.labels else "yellow")
        line.append(f" {first.score:.2f}" if clip.labels or none else " " * 5)
        if self.cells:
            bar = draw_bar(first.score, self.cells, self.unicode)
            line.append(" " + bar.ljust(self.cells), style="green" if clip.labels else "dim")
        if self.rival(clip) is not None:
            line.append(" ?", style="yellow")
        reached = clip.labels[1:]
        told = (first, *reached)
        others = [one for one in best if one not in told and one.score >= _WORTH_NAMING]
        thresholds = dict(zip(clip.rule.labels, clip.rule.thresholds, strict=True))
        higher = {label: thresholds[label] for label, score in others if score >= clip.score and thresholds.get(label)}
        for answers, style in ((reached, "green"), (others, "dim")):
            self.add(line, answers, style, higher)
        self.console.print(line, no_wrap=True, overflow="crop")

    def add(
        self, line: Text, answers: tuple[LabelScore, ...] | list[LabelScore], style: str, higher: Mapping[str, float]
    ) -> None:
        """Append as many more labels as fit. higher: thresholds of labels that score higher than the answer but do not
        reach their thresholds."""
        for label, score in answers:
            digits = 3 if label in higher and f"{score:.2f}" == f"{higher[label]:.2f}" else 2
            below = f" < {higher[label]:.{digits}f}" if label in higher else ""
            text = f"  {printable(label)} {score:.{digits}f}{below}"
            if len(line) + len(text) > self.console.width:
                break
            line.append(text, style=style)

    def label_cell(self, label: str) -> str:
        return pad_label(label, self.label_width, self.unicode)
