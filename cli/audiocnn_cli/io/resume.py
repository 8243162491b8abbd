"""--resume: finished recordings are taken from the output of an earlier run, and the rest is processed.

The part file of the output is a journal: complete recordings in the order in which any number of runs finished them.
When all are done, they are sorted into the order of the list, so that the output equals that of a single run.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from audiocnn.errors import UsageError, show_name
from audiocnn_cli.io.inputs import STDIN_NAMES, Input
from audiocnn_cli.io.records import SEGMENT_HEAD, has_file_record, is_torn, parse_record, parse_recording_name

if TYPE_CHECKING:
    from audiocnn_cli.io.output import Output


@dataclass(frozen=True, slots=True)
class RecordGroup:
    """The records of a finished recording: start and end in the file, in bytes, and the number of segments, or of clips
    with a label."""

    start: int
    end: int
    segments: int


class OtherSettingsError(UsageError):
    """Results were made with another model or other settings."""


@dataclass(frozen=True)
class Provenance:
    """Model and settings of results, which must be the same for all records of an output. settings: a digest of
    everything that the results depend on, except the recording and the name of the model.

    kind: the results of a recording. A `file` record follows "segments" and "clips"; a "clip" is a single record.
    """

    model: str
    settings: str
    kind: str = "segments"

    @property
    def command(self) -> str:
        return "detect" if self.kind == "segments" else "classify"

    @property
    def types(self) -> tuple[str, ...]:
        """The types of records that the command writes, besides `segment`."""
        return {"segments": ("file", "error"), "clip": ("clip", "error"), "clips": ("clip", "file", "error")}[self.kind]

    def is_part(self, record: dict[str, Any]) -> bool:
        """Whether more records of the same recording follow."""
        return self.kind == "clips" and record["type"] == "clip" and "settings" not in record

    def is_whole(self, record: dict[str, Any], parts: int) -> bool:
        """Whether this record, after `parts` others, completes a recording."""
        if record["type"] == "clip":
            return bool(record.get("status", "ok") == "ok")
        return bool(record["type"] == "file" and record.get("status") == "ok" and record.get(self.kind) == parts)

    def check(self, record: dict[str, Any], place: str) -> None:
        """Raises UsageError for a record made with another model or other settings."""
        told = record.get("model"), record.get("settings")
        if told == (self.model, self.settings):
            return
        if told[0] != self.model:
            why = f"was made with the model {told[0]}, not {self.model}"
        elif told[1] is None:
            why = "does not record the settings it was made with"
        else:
            why = "was made with another model file, other thresholds or other options"
        raise OtherSettingsError(f"{place}: {why}; use the same model and options, or start again with --force")


def read_record_groups(
    file: IO[bytes], place: str, provenance: Provenance, torn: bool
) -> dict[str, deque[RecordGroup]]:
    """The complete recordings in a JSON Lines file, by name, in file order. Failed or damaged recordings do not count.
    Raises UsageError if the file contains other records, or was made with other settings. torn: the last record may be
    truncated.
    """
    groups: dict[str, deque[RecordGroup]] = {}
    start = at = parts = found = 0
    for number, line in enumerate(file, 1):
        at += len(line)
        if provenance.kind == "segments" and line.startswith(SEGMENT_HEAD) and line.endswith(b"}\n"):
            parts, found = parts + 1, found + 1
            continue
        record = parse_record(line)
        if record is None or record["type"] not in provenance.types:
            if torn and is_torn(line):
                break
            raise UsageError(
                f"{place}: line {number} is not a record of `audiocnn {provenance.command}`; choose another file, or "
                "start again with --force"
            )
        found += record["type"] == "clip" and record.get("label") is not None
        if provenance.is_part(record):
            parts += 1
            continue
        if provenance.is_whole(record, parts):
            provenance.check(record, place)
            groups.setdefault(parse_recording_name(record), deque()).append(RecordGroup(start, at, found))
        start, parts, found = at, 0, 0
    return groups


class Journal:
    """The finished recordings and their places in the part file. The reader calls `wanted`, the writer the rest."""

    def __init__(self, output: Output, groups: dict[str, deque[RecordGroup]]) -> None:
        self.output, self.groups = output, groups
        self.segments = sum(group.segments for same in groups.values() for group in same)
        self.waiting: deque[RecordGroup | None] = deque()  # in the order of the list; None: still to be done
        self.order = array("q")  # start and end of each recording, in the order of the list

    def wanted(self, inputs: Iterable[Input]) -> Iterator[Input]:
        for one in inputs:
            same = self.groups.get(one.name) if one.name not in STDIN_NAMES else None
            if same:
                self.waiting.append(same.popleft())
            else:
                self.waiting.append(None)
                yield one

    def supersede(self, name: str) -> None:
        """Drop earlier results of standard input, which come from another recording."""
        if name in STDIN_NAMES:
            self.groups.pop(name, None)

    @property
    def unnamed(self) -> int:
        """The number of finished recordings that are not in the list."""
        return sum(map(len, self.groups.values()))

    def turn(self) -> None:
        """Called before a recording is written: places the kept recordings before it in the list."""
        while (group := self.waiting.popleft()) is not None:
            self.place(group.start, group.end)

    def place(self, start: int, end: int) -> None:
        """Store the span of the next recording of the list."""
        self.order.extend((start, end))

    def finish(self) -> None:
        """Sort everything into the order of the list. Kept recordings that are not in the list are put at the end."""
        unnamed = sorted((group for same in self.groups.values() for group in same), key=lambda group: group.start)
        for group in [*(group for group in self.waiting if group is not None), *unnamed]:
            self.place(group.start, group.end)
        self.waiting.clear()
        self.groups.clear()
        spans = merge_spans(self.order)
        if spans != [(0, self.output.whole)]:
            self.output.rearrange(spans)


def merge_spans(order: array[int]) -> list[tuple[int, int]]:
    """(start, end) of each span; adjacent spans are merged."""
    spans: list[tuple[int, int]] = []
    for start, end in zip(order[::2], order[1::2], strict=True):
        if spans and spans[-1][1] == start:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
    return spans


def open_journal(output: Output, path: Path, provenance: Provenance, resume: bool, force: bool) -> Journal:
    """The journal in the part file of an output. With --resume, it starts with the results in the part file or in the
    output; otherwise it is empty. Raises UsageError if an earlier run left results and neither --resume nor --force is
    given."""
    part = output.part
    assert part is not None
    groups: dict[str, deque[RecordGroup]] = {}
    if resume:
        groups = _read_both(output, path, provenance)
    else:
        if part.size and not force and has_file_record(part.file):
            raise UsageError(
                f"-o {show_name(path)}: an interrupted run has left finished results; "
                "continue with --resume, or start again with --force"
            )
        output.cut(0)
    output.keep = bool(groups)
    return Journal(output, groups)


def _read_both(output: Output, path: Path, provenance: Provenance) -> dict[str, deque[RecordGroup]]:
    """The finished recordings in the part file, or in the output if there is no part file. Raises UsageError if one of
    them is not ours, or if the output has recordings that the part file lacks."""
    part = output.part
    assert part is not None
    left = part.size > 0
    groups = read_record_groups(part.file, show_name(part.path), provenance, torn=True) if left else {}
    if path.is_file():
        with path.open("rb") as file:
            there = read_record_groups(file, show_name(path), provenance, torn=False)
            if left:
                _check_both(groups, there, show_name(path), show_name(part.path))
            else:
                groups = there
                part.refill(file, [(0, _end_of(there))])
                output.moved()
        output.replace = True
    if left:
        output.cut(_end_of(groups))
    return groups


def _check_both(
    groups: dict[str, deque[RecordGroup]], there: dict[str, deque[RecordGroup]], path: str, part: str
) -> None:
    """Raises UsageError if an output has recordings that the part file lacks: they come from different runs."""
    if any(len(same) > len(groups.get(name, ())) for name, same in there.items() if name not in STDIN_NAMES):
        raise UsageError(
            f"{path}: has recordings that are missing from {part}, left by another run; rename one of them"
        )


def _end_of(groups: dict[str, deque[RecordGroup]]) -> int:
    return max((group.end for same in groups.values() for group in same), default=0)
