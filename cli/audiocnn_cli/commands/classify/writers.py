"""What `classify` writes for each recording: JSON Lines, CSV, TSV, or bars for a person."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from typing import TYPE_CHECKING

from audiocnn.errors import printable
from audiocnn.inference.classify import Classification, Clip, LabelScore
from audiocnn.labels.formats.base import Writer, round_score
from audiocnn.labels.formats.jsonl import SCORE_DIGITS, JsonLinesWriter, Record, last_record, record_head, start_field
from audiocnn.labels.formats.table import CELL_SEPARATORS, SEGMENT_COLUMNS, Cells, TableWriter
from audiocnn.units import round_seconds
from audiocnn_cli.app.draw import draw_bar, format_moment, pad_label, pad_name, print_headline
from audiocnn_cli.app.terminal import Terminal, spell
from audiocnn_cli.io.inputs import STDIN

if TYPE_CHECKING:
    from rich.text import Text

    from audiocnn_cli.io.output import Output

_WIDE, _NARROW = 60, 40  # columns
_NO_ANSWER = "-"
_WORTH_NAMING = 0.005  # less is 0.00 in two digits


@dataclass(frozen=True)
class StreamEnd:
    """The end of a stream on standard input, whose clips have been written: how many, and the facts of the stream."""

    stream: Classification
    clips: int


ClassifyResult = Classification | Clip | StreamEnd  # a recording; of a stream each clip, and the end


@dataclass(frozen=True)
class AnswerLayout:
    """What is written of each clip: `top` labels, of those that the model has; and whether a recording may have several
    clips. settings: the digest that goes into the last record of a recording."""

    labels: tuple[str, ...]
    several_labels: bool
    top: int
    several_clips: bool
    model: str
    settings: str

    def records(self, result: ClassifyResult) -> Iterator[Record]:
        """A `clip` record each, and a `file` record behind those of a recording that may have several."""
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
        return [*SEGMENT_COLUMNS, *(["labels"] if self.several_labels else []), *best]

    def rows(self, result: ClassifyResult) -> Iterator[Cells]:
        """A row a clip. No label is an empty cell; several are joined by `;`, as a table to train on may have them."""
        if isinstance(result, StreamEnd):
            return
        file, clips = (STDIN, (result,)) if isinstance(result, Clip) else (result.file, result.clips)
        for clip in clips:
            cells: list[object] = [file, clip.channel, round_seconds(clip.start), round_seconds(clip.end)]
            cells += ["" if clip.label is None else clip.label, round_score(clip.score)]
            cells += [";".join(label for label, _ in clip.labels)] if self.several_labels else []
            cells += [cell for label, score in clip.top(self.top) for cell in (label, round_score(score))]
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
        return record | {"top": best, "model": self.model}

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
    """names: as for `ClipTables`."""
    if kind == "table":
        return ClipTables(terminal if out.path is None else replace(terminal, stdout=StringIO()), layout, names)
    if kind == "jsonl":
        return JsonLinesWriter(layout.records)
    return TableWriter(layout.columns(), layout.rows, CELL_SEPARATORS[kind])


class ClipTables(Writer[ClassifyResult]):
    """For one recording a bar a label; for several a line each; for several clips of one a line each, below its name.

    names: of all recordings, as far as they are known, so that columns stand below each other.
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
        longest = max(len(printable(label)) for label in layout.labels)
        self.label_width = max(1, min(longest, width // 4 if width >= _NARROW else width // 3))
        self.cells = width // 8 if width >= _WIDE else 0
        self.first = True

    def recording(self, recording: ClassifyResult) -> str:
        assert isinstance(recording, Classification)
        with self.console.capture() as drawn:
            if self.alone:
                print_headline(recording, self.console)
                self.bars(recording.clips[0])
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
        """A bar for each of the best labels, coloured where the label reaches its threshold."""
        from rich.text import Text

        reached = {answer.label for answer in clip.labels}
        thresholds = dict(zip(clip.rule.labels, clip.rule.thresholds, strict=True))
        told = self.layout.several_labels or any(clip.rule.thresholds)
        room = 8 if told and self.console.width >= _NARROW else 0
        cells = max(1, self.console.width - self.label_width - 6 - room)
        for label, score in clip.top(self.layout.top):
            style = "green" if label in reached else "dim"
            line = Text(f"{self.label_cell(label)} ", style="bold" if label in reached else "")
            line.append(draw_bar(score, cells, self.unicode).ljust(cells), style=style)
            line.append(f" {score:.2f}", style="not bold")
            if room:
                sign = ">=" if label in reached else "< "
                line.append(f" {sign} {thresholds[label]:.2f}", style="not bold dim")
            self.console.print(line, no_wrap=True, overflow="crop")
        if not reached:
            self.console.print(Text("no label reaches its threshold", style="yellow"))

    def clips(self, found: Classification) -> None:
        """A line for each clip: channel, from when, until when, and the answer."""
        several = len({clip.channel for clip in found}) > 1
        longest = found.duration_seconds
        width = len(format_moment(longest, longest))
        for clip in found:
            times = f"{format_moment(clip.start, longest):>{width}}  {format_moment(clip.end, longest):>{width}}"
            self.line(f"{clip.channel}  {times}" if several else times, clip)

    def line(self, place: str, clip: Clip) -> None:
        """One clip on one line: where it is, its label, a bar, its score, and what else it may be."""
        from rich.text import Text

        answered = clip.label is not None
        line = Text(f"{place}  ")
        line.append(self.label_cell(clip.label or _NO_ANSWER), style="bold green" if answered else "yellow")
        line.append(f" {clip.score:.2f}")
        if self.cells:
            bar = draw_bar(clip.score, self.cells, self.unicode)
            line.append(" " + bar.ljust(self.cells), style="green" if answered else "dim")
        reached = clip.labels[1:]
        others = [one for one in clip.top(self.layout.top) if one not in clip.labels and one.score >= _WORTH_NAMING]
        thresholds = dict(zip(clip.rule.labels, clip.rule.thresholds, strict=True))
        higher = {label: thresholds[label] for label, score in others if score >= clip.score and thresholds[label]}
        for answers, style in ((reached, "green"), (others, "dim")):
            self.add(line, answers, style, higher)
        self.console.print(line, no_wrap=True, overflow="crop")

    def add(
        self, line: Text, answers: tuple[LabelScore, ...] | list[LabelScore], style: str, higher: Mapping[str, float]
    ) -> None:
        """As many more labels as there is room for. higher: thresholds of those that have a higher score than the
        answer, and are none, since they do not reach them."""
        for label, score in answers:
            digits = 3 if label in higher and f"{score:.2f}" == f"{higher[label]:.2f}" else 2
            below = f" < {higher[label]:.{digits}f}" if label in higher else ""
            text = f"  {printable(label)} {score:.{digits}f}{below}"
            if len(line) + len(text) > self.console.width:
                break
            line.append(text, style=style)

    def label_cell(self, label: str) -> str:
        return pad_label(label, self.label_width, self.unicode)
